/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A witness's script for one vCPU: operations on its local APIC at random, by numbers that depend on the
 * seed alone. What an operation needs to be determined it looks up by reads without an entry; these
 * give the same on all processors, or an entry will show that they did not.
 *
 * Interrupts that come from outside of the vCPU, from the timer and from a line, are waited for, with
 * interrupts off, until IRR has them.
 */
#include "tests/model/witness.h"

#include "irq/ioapic.h"
#include "irq/lapic.h"
#include "platform/testdev.h"

#define TIMER_VECTOR  0x95
#define LINE_VECTOR   0x4d /* and one class higher for each further line */
#define LINE_GSI      20
#define TIMER_COUNT   2000
#define DEEPEST       6
#define ICR_BITS      (0xffu | APIC_DEST_LOGICAL | APIC_LEVEL_ASSERT | APIC_TRIGGER_LEVEL)
#define LVT_LIKELY    (0xffu | APIC_LVT_MASKED)
#define LVT_BITS      (LVT_LIKELY | APIC_DM_MASK | APIC_LVT_POLARITY | APIC_LVT_LEVEL)
#define NEVER         (1ull << 60) /* a TSC that nobody lives to see */
#define RANDOM_VECTOR (16 + w_random(240))

static u8 line_vector(u32 line)
{
	return (u8)(LINE_VECTOR + 16 * line);
}

static void set_line(u32 line, bool level)
{
	g_out((u16)(TESTDEV_LINES_PORT + LINE_GSI + line), level, 1);
}

static u32 pin_read(u32 index)
{
	g_mmio_write(IOAPIC_BASE, index);
	return g_mmio_read(IOAPIC_BASE + 0x10);
}

static void pin_write(u32 index, u32 value)
{
	g_mmio_write(IOAPIC_BASE, index);
	g_mmio_write(IOAPIC_BASE + 0x10, value);
}

static u32 entry_of(u32 line)
{
	return 0x10 + 2 * (LINE_GSI + line);
}

static bool software_enabled(void)
{
	return w_raw_read(APIC_SVR) & APIC_SVR_ENABLE;
}

/* Highest class requested, or 0. */
static u32 requested_class(void)
{
	for (s32 i = 7; i >= 0; i--) {
		u32 word = (u32)w_raw_read(APIC_IRR + (u32)i * 16);

		if (word)
			return ((u32)i * 32 + 31 - (u32)__builtin_clz(word)) >> 4;
	}
	return 0;
}

/* --- steps --- */

/* A processor would make this request, and the plan does without. */
static bool is_spared(u32 vector)
{
	return witness_plan.spares_tmr && vector < 256 && w_raw_bit(APIC_TMR, (u8)vector);
}

static void self_shorthand(void)
{
	u32 dest = w_random(256), vector = RANDOM_VECTOR;

	if (!is_spared(vector))
		w_icr(dest, APIC_DEST_SELF | APIC_LEVEL_ASSERT | vector);
}

static void self_physical(void)
{
	w_icr(w_raw_id(), APIC_LEVEL_ASSERT | RANDOM_VECTOR);
}

static void self_all(void)
{
	w_icr(0, APIC_DEST_ALL | APIC_LEVEL_ASSERT | RANDOM_VECTOR);
}

static void self_logical(void)
{
	u32 dest = (u32)w_raw_read(APIC_LDR);
	u32 mode = w_random(4) ? APIC_DM_FIXED : APIC_DM_LOWEST;

	if (!w_in_x2apic())
		dest >>= 24;
	if (!w_random(3))
		dest = w_random(256);
	w_icr(dest, APIC_DEST_LOGICAL | APIC_LEVEL_ASSERT | mode | RANDOM_VECTOR);
}

/* In xAPIC mode it is a place without a register. */
static void self_msr(void)
{
	u32 vector;

	if (!w_in_x2apic()) {
		self_shorthand();
		return;
	}
	vector = w_random(8) ? RANDOM_VECTOR : w_random(0x200);
	if (!is_spared(vector))
		w_write(APIC_SELF, vector);
}

/*
 * Any bits that are ICR's, but no INIT, which would be the end, and no ExtINT, which asks the 8259 pair
 * for a vector.
 */
static void any_icr(void)
{
	static const u16 modes[] = {APIC_DM_FIXED, APIC_DM_LOWEST, APIC_DM_SMI,
	                            3u << 8,       APIC_DM_NMI,    APIC_DM_SIPI};
	u32 dest = w_random(4) ? w_raw_id() : w_random(256);
	u32 low = w_random(0x10000) & ICR_BITS;

	low |= modes[w_random(ARRAY_SIZE(modes))] | w_random(4) << 18;
	if (!w_random(4))
		low &= ~0xf0u;
	if ((low & APIC_DEST_SHORTHAND) != APIC_DEST_SELF || !is_spared(low & 0xff))
		w_icr(dest, low);
}

static void task_priority(void)
{
	w_write(APIC_TPR, w_random(3) ? w_random(0x60) : w_random(0x100));
	if (w_random(2))
		w_read(APIC_PPR);
	w_read_cr8();
}

static void cr8(void)
{
	w_write_cr8(w_random(3) ? w_random(4) : w_random(16));
	w_read(APIC_TPR);
	w_read(APIC_PPR);
}

static void interrupts_on(void)
{
	g_sti();
	g_nop();
}

static void end_of_interrupt(void)
{
	w_write(APIC_EOI, w_random(8) ? 0 : w_random(0x100));
	w_read(APIC_PPR);
}

static u32 any_register(void)
{
	u32 reg;

	do {
		reg = w_random(0x100) * 16;
		if (w_random(4))
			reg %= 0x400;
	} while (!w_in_x2apic() && w_is_hole(reg));
	return reg;
}

static void any_read(void)
{
	for (u32 i = 0; i < 4; i++)
		w_read(any_register());
}

/* Registers that have steps of their own, since any value would mean too much. */
static bool is_special(u32 reg)
{
	return reg == APIC_ICR || reg == APIC_ICR2 || reg == APIC_SVR || reg == APIC_ID ||
	       reg == APIC_TMICT || reg == APIC_SELF;
}

static void any_write(void)
{
	u32 reg = any_register();
	u64 value = (u64)w_random(0x10000) << 16 | w_random(0x10000);

	if (is_special(reg))
		return;
	if (w_in_x2apic() && !w_random(8))
		value |= 1ull << (32 + w_random(32));
	if (reg == APIC_LVTT)
		value |= APIC_LVT_MASKED;
	if (reg == APIC_LVT0)
		value &= ~(u64)(3u << 9); /* neither NMI nor ExtINT from the 8259 pair */
	w_write(reg, value);
	w_read(reg);
}

/* Those bits that exist, and vectors that do not. */
static void local_vector(void)
{
	static const u16 regs[] = {APIC_LVTTHMR, APIC_LVTPC, APIC_LVT1, APIC_LVTERR};
	u32 reg = regs[w_random(ARRAY_SIZE(regs))];
	u32 value = w_random(0x20000) & (reg == APIC_LVTERR ? LVT_LIKELY : LVT_BITS);

	if (reg == APIC_LVTERR && w_random(2))
		value = w_random(3) ? RANDOM_VECTOR : w_random(16);
	w_write(reg, value);
	w_read(reg);
}

static void errors(void)
{
	w_read(APIC_ESR);
	w_write(APIC_ESR, 0);
	w_read(APIC_ESR);
}

/* Nothing is accelerated while there is another ID: not for long. */
static void identity(void)
{
	if (w_random(2)) {
		w_write(APIC_LDR, w_in_x2apic() ? 1 : w_random(256) << 24);
		self_logical();
	} else {
		w_write(APIC_ID, w_in_x2apic() ? 0 : w_random(256) << 24);
		self_physical();
		w_read(APIC_ID);
		w_window();
		self_logical();
		w_write(APIC_ID, 0);
	}
	if (w_random(2))
		w_logical();
	w_read(APIC_ID);
	w_read(APIC_LDR);
	if (!w_in_x2apic())
		w_read(APIC_DFR);
}

static void any_timer(void)
{
	w_write(APIC_LVTT, APIC_LVT_MASKED | w_random(3) << 17 | w_random(256));
	w_write(APIC_TDCR, w_random(16) & 0xb);
	w_write(APIC_TMICT, w_random(2) ? 0 : w_random(1000000));
	w_read(APIC_TMICT);
	w_wrmsr(MSR_TSC_DEADLINE, w_random(2) ? 0 : NEVER + w_random(1000));
	w_rdmsr(MSR_TSC_DEADLINE);
}

/* Until IRR has it; with interrupts off. */
static void await_request(u8 vector)
{
	while (!w_raw_bit(APIC_IRR, vector))
		g_pause();
}

static void timer(void)
{
	bool on = g_interrupts_enabled();

	if (!software_enabled() || w_raw_bit(APIC_IRR, TIMER_VECTOR))
		return;
	g_cli();
	w_write(APIC_LVTT, APIC_LVT_MASKED | APIC_LVTT_ONESHOT | TIMER_VECTOR);
	w_write(APIC_TMICT, 0);
	w_write(APIC_TDCR, 0xb);
	w_write(APIC_LVTT, APIC_LVTT_ONESHOT | TIMER_VECTOR);
	w_write(APIC_TMICT, TIMER_COUNT);
	await_request(TIMER_VECTOR);
	w_write(APIC_LVTT, APIC_LVT_MASKED | TIMER_VECTOR);
	w_read(APIC_TMCCT);
	if (on)
		g_sti();
	g_nop();
}

static void line(void)
{
	u32 which = w_random(WITNESS_GSIS), entry = entry_of(which);
	u8 vector = line_vector(which);
	bool on = g_interrupts_enabled(), level = w_random(4);

	if (!software_enabled() || pin_read(entry) & IOAPIC_RTE_REMOTE_IRR ||
	    w_raw_bit(APIC_IRR, vector))
		return;
	g_cli();
	set_line(which, false);
	pin_write(entry + 1, w_raw_id() << 24);
	pin_write(entry, (level ? (u32)IOAPIC_RTE_LEVEL : 0) | vector);
	set_line(which, true);
	await_request(vector);
	if (!level)
		set_line(which, false);
	w_value("TMR's bit", w_raw_bit(APIC_TMR, vector));
	if (on)
		g_sti();
	g_nop();
}

/* Only where something is due, so that it wakes. */
static void sleep(void)
{
	bool on = g_interrupts_enabled();

	g_cli();
	if (software_enabled() && requested_class() > w_raw_read(APIC_PPR) >> 4) {
		g_sti();
		g_hlt();
	}
	if (on)
		g_sti();
	g_nop();
}

/* Off, with what is pending; then perhaps on again at once. */
static void software_disable(void)
{
	if (software_enabled() && w_random(3) == 0) {
		w_write(APIC_SVR, w_random(0x100));
		self_shorthand();
		w_read(APIC_LVTERR);
		w_window();
	}
	if (w_random(3))
		w_write(APIC_SVR, APIC_SVR_ENABLE | w_random(0x100) | w_random(2) << 9);
	w_read(APIC_SVR);
}

/* So that the run does not end up with everything held back. */
static void relax(void)
{
	w_write(APIC_TPR, 0);
	for (u32 i = 0; i < 8; i++)
		w_write(APIC_EOI, 0);
	w_window();
}

static const struct w_choice steps[] = {
        {"IPI to itself by shorthand", self_shorthand, 10},
        {"IPI to itself by ID", self_physical, 8},
        {"IPI by logical destination", self_logical, 8},
        {"IPI to all", self_all, 4},
        {"SELF IPI", self_msr, 8},
        {"any ICR", any_icr, 8},
        {"TPR", task_priority, 8},
        {"CR8", cr8, 6},
        {"STI", interrupts_on, 8},
        {"CLI", g_cli, 8},
        {"interrupts on for a while", w_window, 6},
        {"EOI", end_of_interrupt, 12},
        {"any read", any_read, 6},
        {"any write", any_write, 10},
        {"LVT", local_vector, 5},
        {"ESR", errors, 5},
        {"ID, LDR, DFR", identity, 4},
        {"timer's registers", any_timer, 2},
        {"timer", timer, 4},
        {"line", line, 8},
        {"HLT", sleep, 5},
        {"software disable", software_disable, 3},
        {"relax", relax, 4},
        {"all registers", w_dump, 1},
};

/* --- handlers --- */

static void lower(u8 vector)
{
	for (u32 i = 0; i < WITNESS_GSIS; i++)
		if (vector == line_vector(i) && w_random(2))
			set_line(i, false);
}

static void nest(void)
{
	if (w_random(2))
		self_shorthand();
	g_sti();
	g_nop();
	g_nop();
	g_cli();
}

static void handler(u8 vector, u32 error __unused)
{
	w_interrupt(vector);
	for (u32 reg = APIC_ISR; reg < APIC_ESR; reg += 0x80)
		w_read(reg + vector / 32 * 16u);
	w_read(APIC_TPR);
	w_read(APIC_PPR);
	w_read_cr8();
	/* NMIs are blocked until IRET: nothing else in between. */
	if (vector == VECTOR_NMI)
		return;
	lower(vector);
	if (g_depth() < DEEPEST && !w_random(3))
		nest();
	if (w_random(6))
		end_of_interrupt();
	if (g_depth() < DEEPEST && !w_random(8))
		nest();
}

void witness_one_prepare(void)
{
	g_set_handler(VECTOR_NMI, handler);
	for (u32 vector = 16; vector < 256; vector++)
		g_set_handler((u8)vector, handler);
}

/* --- the script --- */

/* A request that nobody has made: what a defect of a processor's would look like. */
static void plant(void)
{
	harness_vm->vcpu[0]->lapic.page[APIC_IRR + 7 * 16] |= 1;
}

void witness_one(void *arg __unused)
{
	g_out(0x21, 0xff, 1);
	g_out(0xa1, 0xff, 1);
	w_begin();
	for (u32 i = 1; i <= witness_plan.steps; i++) {
		const struct w_choice *step = w_pick(steps, ARRAY_SIZE(steps));

		w_step(step->name, i);
		if (i == witness_plan.plant)
			plant();
		step->act();
		g_nop();
		if (witness_plan.mode == WITNESS_SWITCH && i == witness_plan.steps / 2) {
			w_dump();
			w_switch();
			w_dump();
		}
	}
	relax();
	w_dump();
	g_exit(0);
}
