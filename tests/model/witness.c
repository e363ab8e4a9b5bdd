/* SPDX-License-Identifier: BSD-2-Clause */
/* See witness.h. */
#include "tests/model/witness.h"

#define PAGE_END 0x600 /* everything from 540h on is the same */

struct witness_plan witness_plan;

static struct witness *now;
static bool x2apic[WITNESS_VCPUS];
static u64 random_state[WITNESS_VCPUS];

void witness_start(struct witness *into, const struct witness_plan *plan)
{
	now = into;
	witness_plan = *plan;
	for (u32 i = 0; i < WITNESS_VCPUS; i++) {
		into->vcpu[i].count = 0;
		x2apic[i] = false;
		random_state[i] = (plan->seed + 1) * 0x9e3779b97f4a7c15ull + i;
	}
}

/* --- entries --- */

static void add(enum witness_kind kind, u32 what, u64 value, u8 fault, const char *name)
{
	struct witness_trace *trace = &now->vcpu[g_index()];

	G_CHECK(trace->count < WITNESS_ENTRIES);
	trace->entry[trace->count++] = (struct witness_entry){
	        .kind = (u8)kind, .fault = fault, .what = what, .value = value, .name = name};
}

void w_step(const char *name, u64 number)
{
	add(WITNESS_STEP, 0, number, 0, name);
}

void w_interrupt(u8 vector)
{
	add(WITNESS_INTERRUPT, vector, 0, 0, NULL);
}

void w_value(const char *name, u64 value)
{
	add(WITNESS_VALUE, 0, value, 0, name);
}

/* --- registers --- */

static u32 msr_of(u32 reg)
{
	return MSR_X2APIC_FIRST + reg / 16;
}

bool w_in_x2apic(void)
{
	return x2apic[g_index()];
}

static u64 read_register(u32 reg, u8 *fault)
{
	u64 value = 0;

	*fault = 0;
	if (!w_in_x2apic())
		return g_mmio_read(APIC_BASE_DEFAULT + reg);
	*fault = g_rdmsr_safe(msr_of(reg), &value);
	return *fault ? 0 : value;
}

static u8 write_register(u32 reg, u64 value)
{
	if (w_in_x2apic())
		return g_wrmsr_safe(msr_of(reg), value);
	g_mmio_write(APIC_BASE_DEFAULT + reg, (u32)value);
	return 0;
}

u64 w_read(u32 reg)
{
	u8 fault;
	u64 value = read_register(reg, &fault);

	/* How far the timer has come is not determined. */
	add(WITNESS_READ, reg, reg == APIC_TMCCT ? 0 : value, fault, NULL);
	return value;
}

void w_write(u32 reg, u64 value)
{
	struct witness_trace *trace = &now->vcpu[g_index()];
	u32 place = trace->count;

	/* Before what follows from it, which may come before the exception is known. */
	add(WITNESS_WRITE, reg, value, 0, NULL);
	trace->entry[place].fault = write_register(reg, value);
}

u64 w_raw_read(u32 reg)
{
	u8 fault;

	return read_register(reg, &fault);
}

void w_raw_write(u32 reg, u64 value)
{
	G_CHECK_EQUAL(write_register(reg, value), 0);
}

void w_icr(u32 dest, u32 low)
{
	if (w_in_x2apic()) {
		w_write(APIC_ICR, (u64)dest << 32 | low);
		return;
	}
	w_write(APIC_ICR2, dest << 24);
	w_write(APIC_ICR, low);
}

void w_raw_icr(u32 dest, u32 low)
{
	if (w_in_x2apic()) {
		w_raw_write(APIC_ICR, (u64)dest << 32 | low);
		return;
	}
	w_raw_write(APIC_ICR2, dest << 24);
	w_raw_write(APIC_ICR, low);
}

u32 w_raw_id(void)
{
	u32 id = (u32)w_raw_read(APIC_ID);

	return w_in_x2apic() ? id : id >> 24;
}

bool w_raw_bit(u32 reg, u8 vector)
{
	return w_raw_read(reg + vector / 32 * 16u) >> vector % 32 & 1;
}

u64 w_rdmsr(u32 msr)
{
	u64 value;
	u8 fault = g_rdmsr_safe(msr, &value);

	add(WITNESS_READ_MSR, msr, fault ? 0 : value, fault, NULL);
	return value;
}

void w_wrmsr(u32 msr, u64 value)
{
	add(WITNESS_WRITE_MSR, msr, value, g_wrmsr_safe(msr, value), NULL);
}

u64 w_read_cr8(void)
{
	u64 value = g_read_cr8();

	add(WITNESS_READ_CR8, 0, value, 0, NULL);
	return value;
}

void w_write_cr8(u64 value)
{
	add(WITNESS_WRITE_CR8, 0, value, 0, NULL);
	g_write_cr8(value);
}

bool w_is_hole(u32 offset)
{
	static const u16 holes[][2] = {{0x000, 0x010}, {0x040, 0x070}, {0x290, 0x2f0},
	                               {0x3a0, 0x3d0}, {0x3f0, 0x3f0}, {0x430, 0x470}};

	for (u32 i = 0; i < ARRAY_SIZE(holes); i++)
		if (offset >= holes[i][0] && offset <= holes[i][1])
			return true;
	return false;
}

void w_dump(void)
{
	w_rdmsr(MSR_APIC_BASE);
	w_read_cr8();
	for (u32 reg = 0; reg < PAGE_END; reg += 16)
		if (w_in_x2apic() || !w_is_hole(reg))
			w_read(reg);
}

void w_switch(void)
{
	w_wrmsr(MSR_APIC_BASE, g_rdmsr(MSR_APIC_BASE) | APIC_BASE_EXTD);
	x2apic[g_index()] = true;
}

void w_logical(void)
{
	u32 index = g_index();

	if (w_in_x2apic())
		return;
	if (witness_plan.mode == WITNESS_CLUSTER) {
		w_write(APIC_DFR, 0x0fffffff);
		w_write(APIC_LDR, (1 + index / 2) << 28 | BIT(24 + index % 2));
	} else {
		w_write(APIC_DFR, 0xffffffff);
		w_write(APIC_LDR, BIT(24 + index));
	}
}

void w_begin(void)
{
	w_dump();
	if (witness_plan.mode == WITNESS_X2APIC && !w_in_x2apic())
		w_switch();
	w_write(APIC_SVR, APIC_SVR_ENABLE | 0xff);
	w_logical();
}

void w_window(void)
{
	bool on = g_interrupts_enabled();

	g_sti();
	for (u32 i = 0; i < 6; i++)
		g_nop();
	if (!on)
		g_cli();
}

u32 w_random(u32 n)
{
	u64 *state = &random_state[g_index()];

	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return (u32)((*state >> 24) % n);
}

const struct w_choice *w_pick(const struct w_choice *choices, u32 count)
{
	u32 sum = 0, at;

	for (u32 i = 0; i < count; i++)
		sum += choices[i].weight;
	at = w_random(sum);
	while (at >= choices->weight)
		at -= choices++->weight;
	return choices;
}

/* --- comparison --- */

static const char *register_name(u32 reg)
{
	static const struct {
		u16 reg;
		const char *name;
	} names[] = {{APIC_ID, "ID"},         {APIC_VERSION, "version"}, {APIC_TPR, "TPR"},
	             {APIC_APR, "APR"},       {APIC_PPR, "PPR"},         {APIC_EOI, "EOI"},
	             {APIC_RRD, "RRD"},       {APIC_LDR, "LDR"},         {APIC_DFR, "DFR"},
	             {APIC_SVR, "SVR"},       {APIC_ESR, "ESR"},         {APIC_ICR, "ICR"},
	             {APIC_ICR2, "ICR2"},     {APIC_LVTT, "LVTT"},       {APIC_LVTTHMR, "LVTTHMR"},
	             {APIC_LVTPC, "LVTPC"},   {APIC_LVT0, "LVT0"},       {APIC_LVT1, "LVT1"},
	             {APIC_LVTERR, "LVTERR"}, {APIC_TMICT, "TMICT"},     {APIC_TMCCT, "TMCCT"},
	             {APIC_TDCR, "TDCR"},     {APIC_SELF, "SELF IPI"}};

	for (u32 i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].reg == reg)
			return names[i].name;
	if (reg >= APIC_ISR && reg < APIC_TMR)
		return "ISR";
	if (reg >= APIC_TMR && reg < APIC_IRR)
		return "TMR";
	return reg >= APIC_IRR && reg < APIC_ESR ? "IRR" : "no register";
}

static void in_words(const struct witness_entry *e, char *text, size_t size)
{
	static const char *const access[] = {[WITNESS_READ] = "read of",
	                                     [WITNESS_WRITE] = "write of",
	                                     [WITNESS_READ_MSR] = "read of MSR",
	                                     [WITNESS_WRITE_MSR] = "write of MSR"};
	char fault[32] = "";

	if (e->fault)
		snprintf(fault, sizeof(fault), ": exception %u", e->fault);
	switch (e->kind) {
	case WITNESS_STEP:
		snprintf(text, size, "step %llu, %s", (unsigned long long)e->value, e->name);
		return;
	case WITNESS_INTERRUPT:
		snprintf(text, size, "handler of vector %02xh", e->what);
		return;
	case WITNESS_VALUE:
		snprintf(text, size, "%s is %llx", e->name, (unsigned long long)e->value);
		return;
	case WITNESS_READ_CR8:
	case WITNESS_WRITE_CR8:
		snprintf(text, size, "%s of CR8: %llx",
		         e->kind == WITNESS_READ_CR8 ? "read" : "write",
		         (unsigned long long)e->value);
		return;
	case WITNESS_READ:
	case WITNESS_WRITE:
		snprintf(text, size, "%s %s (%03x): %llx%s", access[e->kind],
		         register_name(e->what), e->what, (unsigned long long)e->value, fault);
		return;
	default:
		snprintf(text, size, "%s %x: %llx%s", access[e->kind], e->what,
		         (unsigned long long)e->value, fault);
	}
}

static bool same(const struct witness_entry *a, const struct witness_entry *b)
{
	return a->kind == b->kind && a->fault == b->fault && a->what == b->what &&
	       a->value == b->value && (a->name == b->name || !strcmp(a->name, b->name));
}

static void words_at(const struct witness_trace *trace, u32 i, char *text, size_t size)
{
	if (i < trace->count)
		in_words(&trace->entry[i], text, size);
	else
		snprintf(text, size, "the end");
}

/* The script's step that entry `i` belongs to. */
static void step_of(const struct witness_trace *trace, u32 i, char *text, size_t size)
{
	snprintf(text, size, "before the first step");
	for (u32 j = 0; j < i; j++)
		if (trace->entry[j].kind == WITNESS_STEP)
			in_words(&trace->entry[j], text, size);
}

bool witness_equal(const struct witness *expected, const struct witness *seen, char *why,
                   size_t size)
{
	char step[100], first[100], second[100];

	for (u32 vcpu = 0; vcpu < WITNESS_VCPUS; vcpu++) {
		const struct witness_trace *a = &expected->vcpu[vcpu], *b = &seen->vcpu[vcpu];
		u32 i = 0;

		while (i < a->count && i < b->count && same(&a->entry[i], &b->entry[i]))
			i++;
		if (i == a->count && i == b->count)
			continue;
		step_of(a, i, step, sizeof(step));
		words_at(a, i, first, sizeof(first));
		words_at(b, i, second, sizeof(second));
		snprintf(why, size, "vCPU %u, entry %u, in %s: expected %s; seen %s", vcpu, i, step,
		         first, second);
		return false;
	}
	return true;
}
