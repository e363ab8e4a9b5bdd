/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Rules as a micro guest: one after the other on one machine, which is brought back to its state
 * after power-on before each: all in xAPIC mode, then, if the processor has it, all in x2APIC mode.
 * Prints "ok RULE: MODE" for each, "na RULE: MODE (why)" for those that this machine cannot show,
 * and how many there were of either. At the first check that fails it prints "not ok RULE: MODE" and
 * the place, and the guest ends with status 1, since a script cannot be left in the middle.
 *
 * Wants the test device, and as many vCPUs as the rules have; those that a rule has no use for wait
 * for a start-up IPI.
 */
#include "tests/model/rules.h"

#define MOST_VCPUS    RULES_VCPUS
#define STACK         0x4000 /* as in rules_ap.S */
#define GATES         256
#define GATE          0x8e
#define SELECTOR      0x08
#define STUB_SIZE     16
#define RESET_SIPI    0x60u
#define X2APIC        BIT(21) /* CPUID.1:ECX */
#define TSC_DEADLINE  BIT(24)
#define WRMSR_LENGTH  2
#define MEASUREMENTS  40
#define MEASURE_TICKS 2400 /* 2 ms: shorter than a turn on a busy machine */
#define MSIDEV        0x4d535053u

#define REINJECT_PERIOD 1000 /* ticks */
#define NO_REGISTER     0x3a0
#define SOME_VECTOR     0x40u

struct gate {
	u16 offset_low;
	u16 selector;
	u8 ist;
	u8 type;
	u16 offset_middle;
	u32 offset_high;
	u32 reserved;
};

struct table {
	u16 limit;
	u64 base;
} __packed;

/* At rules_ap_data. */
struct ap_data {
	u64 script, arg, cr3;
	u8 gdt[16];
};

extern const char rules_ap_begin[], rules_ap_data[], rules_ap_end[], rules_stubs[];
extern struct table rules_idtr;
extern char rules_stacks[];
void rules_interrupt(u64 vector);
int main(void);

struct harness harness;
struct rules rules;
struct table rules_idtr;
char rules_stacks[(MOST_VCPUS + 1) * STACK] __aligned(16);

static struct gate idt[GATES] __aligned(16);
static u32 depth[MOST_VCPUS];
static u32 vcpus;
static u64 tsc_hz;
static bool reinjects; /* looked at if a rule is about it */
static struct {
	bool plain_page;    /* xAPIC: what is no register keeps what is written (AVIC) */
	bool narrow_writes; /* xAPIC: a byte is written as such (AVIC, APICv) */
	bool checks_status; /* x2APIC: ICR's delivery status is reserved (x2AVIC) */
} apic;

/* --- what the compiler may call --- */

void *memset(void *to, int value, size_t length)
{
	void *at = to;

	__asm__ volatile("rep stosb" : "+D"(at), "+c"(length) : "a"(value) : "memory");
	return to;
}

void *memcpy(void *to, const void *from, size_t length)
{
	void *at = to;

	__asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(length) : : "memory");
	return to;
}

/* --- checks --- */

/* The mode that this pass of the rules is in; a script may be in the other one for a while. */
static bool pass_xapic;

static void say(const char *result, const char *name, const char *why)
{
	micro_print(result);
	micro_print(name);
	micro_print(pass_xapic ? ": xAPIC" : ": x2APIC");
	if (why) {
		micro_print(" (");
		micro_print(why);
		micro_print(")");
	}
	micro_print("\n");
}

static void print_number(u64 n)
{
	char text[21];
	u32 at = sizeof(text);

	text[--at] = 0;
	do {
		text[--at] = (char)('0' + n % 10);
		n /= 10;
	} while (n);
	micro_print(text + at);
}

static void print_place(const char *file, int line, const char *what)
{
	say("not ok ", rules.rule->name, NULL);
	micro_print("# ");
	micro_print(file);
	micro_print(":");
	print_number((u64)line);
	micro_print(": ");
	micro_print(what);
}

void g_fail(const char *file, int line, const char *what)
{
	print_place(file, line, what);
	micro_print("\n");
	micro_power_off(1);
}

void g_check_equal(const char *file, int line, const char *what, u64 a, u64 b)
{
	if (a == b)
		return;
	print_place(file, line, what);
	micro_print(" (");
	micro_print_hex(a);
	micro_print(", ");
	micro_print_hex(b);
	micro_print(")\n");
	micro_power_off(1);
}

/* --- interrupts and exceptions --- */

void rules_interrupt(u64 vector)
{
	u32 me = rules_me();

	depth[me]++;
	rules_note((u8)vector, 0);
	depth[me]--;
}

u32 g_depth(void)
{
	return depth[rules_me()];
}

/* The common part's gates for exceptions stay, but for the NMI's. */
static void set_up_gates(void)
{
	struct table old;

	__asm__ volatile("sidt %0" : "=m"(old));
	for (u32 i = 0; i < GATES; i++) {
		uintptr_t stub = (uintptr_t)rules_stubs + i * STUB_SIZE;

		idt[i] = (struct gate){.offset_low = (u16)stub,
		                       .selector = SELECTOR,
		                       .type = GATE,
		                       .offset_middle = (u16)(stub >> 16),
		                       .offset_high = (u32)((u64)stub >> 32)};
		if (i < 32 && i != VECTOR_NMI)
			idt[i] = ((struct gate *)(uintptr_t)old.base)[i];
	}
	rules_idtr = (struct table){sizeof(idt) - 1, (uintptr_t)idt};
	__asm__ volatile("lidt %0" : : "m"(rules_idtr));
}

static u8 trapped(void)
{
	int vector = micro_trap_taken();

	return vector == MICRO_NO_VECTOR ? 0 : (u8)vector;
}

u8 g_rdmsr_safe(u32 msr, u64 *value)
{
	u32 low = 0, high = 0;

	micro_trap_expect(MICRO_GP, WRMSR_LENGTH);
	__asm__ volatile("rdmsr" : "+a"(low), "+d"(high) : "c"(msr) : "memory");
	*value = low | (u64)high << 32;
	return trapped();
}

u8 g_wrmsr_safe(u32 msr, u64 value)
{
	micro_trap_expect(MICRO_GP, WRMSR_LENGTH);
	g_wrmsr(msr, value);
	return trapped();
}

/* --- local APIC --- */

u32 g_apic_read(u32 reg)
{
	if (harness.xapic)
		return g_mmio_read(APIC_BASE_DEFAULT + reg);
	return (u32)g_rdmsr(MSR_X2APIC_FIRST + reg / 16);
}

void g_apic_write(u32 reg, u32 value)
{
	if (harness.xapic)
		g_mmio_write(APIC_BASE_DEFAULT + reg, value);
	else
		g_wrmsr(MSR_X2APIC_FIRST + reg / 16, value);
}

void g_apic_eoi(void)
{
	g_apic_write(APIC_EOI, 0);
}

void g_apic_icr(u32 dest, u32 low)
{
	if (harness.xapic) {
		g_apic_write(APIC_ICR2, dest << 24);
		g_apic_write(APIC_ICR, low);
	} else {
		g_wrmsr(MSR_X2APIC_FIRST + APIC_ICR / 16, (u64)dest << 32 | low);
	}
}

void g_apic_enable(void)
{
	u64 base = g_rdmsr(MSR_APIC_BASE);

	G_CHECK(base & APIC_BASE_EN);
	if (!harness.xapic)
		g_wrmsr(MSR_APIC_BASE, base | APIC_BASE_EXTD);
	g_apic_write(APIC_SVR, APIC_SVR_ENABLE | 0xff);
}

void g_start_aps(void)
{
	for (u32 id = 1; id < harness.vcpus; id++) {
		g_apic_icr(id, APIC_DM_INIT | APIC_LEVEL_ASSERT);
		g_apic_icr(id, APIC_DM_SIPI | APIC_LEVEL_ASSERT | HARNESS_SIPI);
	}
}

void guest_bind(u64 entry, guest_script script, void *arg)
{
	char *to = (char *)(uintptr_t)entry;
	struct ap_data *data = (void *)(to + (rules_ap_data - rules_ap_begin));

	memcpy(to, rules_ap_begin, (size_t)(rules_ap_end - rules_ap_begin));
	data->script = (uintptr_t)script;
	data->arg = (uintptr_t)arg;
	__asm__ volatile("mov %%cr3, %0" : "=r"(data->cr3));
	__asm__ volatile("sgdt %0" : "=m"(data->gdt) : : "memory");
}

/* --- time --- */

/* TSC ticks of MEASURE_TICKS of the 8254: the shortest try, since a vCPU may be late to look. */
static void measure_tsc(void)
{
	u64 best = ~0ull;

	for (u32 i = 0; i < MEASUREMENTS; i++) {
		u64 from, ticks;

		g_out(0x61, 1, 1);
		g_out(0x43, 0xb0, 1);
		g_out(0x42, MEASURE_TICKS & 0xff, 1);
		from = g_rdtsc();
		g_out(0x42, MEASURE_TICKS >> 8, 1);
		while (!(g_in(0x61, 1) & 0x20))
			;
		ticks = g_rdtsc() - from;
		if (ticks < best)
			best = ticks;
	}
	tsc_hz = best * PIT_HZ / MEASURE_TICKS;
}

u64 rules_tsc_of_ticks(u64 ticks)
{
	return ticks * tsc_hz / PIT_HZ;
}

u64 rules_tsc_at_least(u64 ns)
{
	return ns * (tsc_hz / 1000000) / 1000 / 2;
}

u64 rules_tsc_at_most(u64 ns)
{
	return ns * (tsc_hz / 1000000) / 1000 * 2;
}

/* --- back to power-on --- */

static void reset_own_apic(void)
{
	u64 base = APIC_BASE_DEFAULT | (g_rdmsr(MSR_APIC_BASE) & APIC_BASE_BSP);

	g_wrmsr(MSR_APIC_BASE, base);
	g_wrmsr(MSR_APIC_BASE, base | APIC_BASE_EN);
	g_write_cr8(0);
}

static void reset_ap(void *arg)
{
	u32 me = rules_me();

	(void)arg;
	reset_own_apic();
	depth[me] = 0;
	rules.up[me] = true;
}

static void reset_apics(void)
{
	bool xapic = harness.xapic;

	reset_own_apic();
	harness.xapic = true;
	memset(rules.up, 0, sizeof(rules.up));
	g_apic_icr(0, APIC_DM_INIT | APIC_LEVEL_ASSERT | APIC_DEST_OTHERS);
	g_apic_icr(0, APIC_DM_SIPI | APIC_LEVEL_ASSERT | APIC_DEST_OTHERS | RESET_SIPI);
	for (u32 id = 1; id < vcpus; id++)
		while (!rules.up[id])
			g_pause();
	g_apic_icr(0, APIC_DM_INIT | APIC_LEVEL_ASSERT | APIC_DEST_OTHERS);
	g_apic_write(APIC_ICR2, 0);
	reset_own_apic();
	harness.xapic = xapic;
}

static void reset_chips(void)
{
	for (u32 line = 0; line < IOAPIC_PINS; line++)
		rules_line(line, false);
	for (u32 pin = 0; pin < IOAPIC_PINS; pin++)
		rules_entry(pin, 0, (u32)IOAPIC_RTE_MASKED);
	rules_ioapic_write(0, 0);
	g_out(0x4d0, 0, 1);
	g_out(0x4d1, 0, 1);
	rules_pic_chip(0x20, RULES_PIC, 0x04, 0x01);
	rules_pic_chip(0xa0, RULES_PIC + 8, 0x02, 0x01);
	g_out(0x21, 0xff, 1);
	g_out(0xa1, 0xff, 1);
	g_out(0x43, 0x30, 1);
	g_out(0x43, 0xb0, 1);
	g_out(0x61, 0, 1);
}

/* --- the rules --- */

static bool has_feature(u32 ecx_bit)
{
	struct cpuid_regs r;

	g_cpuid(1, 0, &r);
	return r.ecx & ecx_bit;
}

static bool has_msidev(void)
{
	g_out(0xcf8, 0x80000000u | RULES_MSIDEV_SLOT << 11, 4);
	return g_in(0xcfc, 4) == MSIDEV;
}

/*
 * No feature bit tells it. A tick is in service when many more are due: with reinjection the 8259 is
 * not asked for the next one before the end of the first.
 */
static bool detect_reinjection(void)
{
	u64 from;

	harness.xapic = true;
	reset_chips();
	g_apic_enable();
	rules_pic(0xfe, 0xff);
	g_out(0x43, 0x34, 1);
	g_out(0x40, REINJECT_PERIOD & 0xff, 1);
	g_out(0x40, REINJECT_PERIOD >> 8, 1);
	do
		g_out(0x20, 0x0c, 1); /* poll: acknowledges */
	while (!(g_in(0x20, 1) & 0x80));
	from = g_rdtsc();
	while (g_rdtsc() - from < rules_tsc_of_ticks(20 * REINJECT_PERIOD))
		g_pause();
	return !(rules_pic_irr(0x20) & 1);
}

/*
 * Nor whose the APIC is, if not the software's. It is tried, at places where docs/model.md, "What a guest sees", has them
 * differ.
 */
static void detect_apic(void)
{
	u64 tpr = APIC_BASE_DEFAULT + APIC_TPR;
	u64 nobody = 0xfffffffeull << 32;

	harness.xapic = true;
	reset_apics();
	g_apic_enable();
	g_apic_write(NO_REGISTER, 1);
	apic.plain_page = g_apic_read(NO_REGISTER) != 0;
	g_apic_write(NO_REGISTER, 0);
	g_write(tpr, 0x20, 1);
	apic.narrow_writes = g_apic_read(APIC_TPR) != 0;
	g_apic_write(APIC_TPR, 0);
	if (!has_feature(X2APIC))
		return;
	harness.xapic = false;
	g_apic_enable();
	apic.checks_status = g_wrmsr_safe(MSR_X2APIC_FIRST + APIC_ICR / 16,
	                                  nobody | APIC_ICR_BUSY | SOME_VECTOR) != 0;
	reset_own_apic();
}

static bool is_about_reinjection(const struct rule *list, u32 count)
{
	for (u32 i = 0; i < count; i++)
		if (list[i].reinject || list[i].no_reinject)
			return true;
	return false;
}

/* NULL: this machine shows it. */
static const char *why_not(const struct rule *rule)
{
	if (rule->msidev && !has_msidev())
		return "needs the PCI test device";
	if (rule->reinject && !reinjects)
		return "needs reinjection of ticks";
	if (rule->no_reinject && reinjects)
		return "needs ticks that are not reinjected";
	if (rule->no_x2apic && has_feature(X2APIC))
		return "needs a processor without x2APIC";
	if (rule->needs_x2apic && !has_feature(X2APIC))
		return "needs a processor with x2APIC";
	if (rule->needs_tsc_deadline && !has_feature(TSC_DEADLINE))
		return "needs a processor with TSC-deadline mode";
	if (rule->no_tsc_deadline && has_feature(TSC_DEADLINE))
		return "needs a processor without TSC-deadline mode";
	if (rule->vcpus > vcpus)
		return "needs more vCPUs";
	if (pass_xapic &&
	    ((rule->no_avic_page && apic.plain_page) || (rule->no_apicv && apic.narrow_writes)))
		return "the APIC's page is the processor's";
	if (!pass_xapic && rule->no_x2avic && apic.checks_status)
		return "ICR is the processor's";
	return NULL;
}

/* false: not here. */
static bool run(const struct rule *rule)
{
	const char *why = why_not(rule);

	if (why) {
		say("na ", rule->name, why);
		return false;
	}
	rules.rule = rule;
	reset_apics();
	reset_chips();
	memset(&rules, 0, sizeof(rules));
	rules.rule = rule;
	harness.vcpus = rule->vcpus ? rule->vcpus : 1;
	harness.xapic = pass_xapic;
	guest_bind(HARNESS_AP, rule->ap ? rule->ap : rules_sleep_for_ever, NULL);
	if (rule->prepare)
		rule->prepare();
	rule->script();
	say("ok ", rule->name, NULL);
	return true;
}

int rules_main(const struct rule *list, u32 count)
{
	u32 modes = has_feature(X2APIC) ? 2 : 1;
	u32 shown = 0;

	if (is_about_reinjection(list, count))
		reinjects = detect_reinjection();
	detect_apic();
	for (u32 mode = 0; mode < modes; mode++) {
		pass_xapic = !mode;
		for (u32 i = 0; i < count; i++)
			shown += run(&list[i]);
	}
	micro_print("rules: ");
	print_number(shown);
	micro_print(" ok, ");
	print_number(modes * count - shown);
	micro_print(" na\n");
	return 0;
}

int micro_main(unsigned int count)
{
	if (count > MOST_VCPUS) {
		micro_print("not ok: too many vCPUs\n");
		return 1;
	}
	vcpus = count;
	set_up_gates();
	measure_tsc();
	guest_bind(RESET_SIPI << 12, reset_ap, NULL);
	return main();
}
