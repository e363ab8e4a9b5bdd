/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest whose exits are known: what a processor's virtual APIC does without the hypervisor, and what not,
 * step by step, in xAPIC and in x2APIC mode. SDM volume 3, "APIC Virtualization and Virtual Interrupts".
 *
 * One script and one table, for the processor model (tests/model/apicv_exits_test.c) and, as the micro guest
 * guests/micro/apicv.c, for an emulated machine (tests/system/bochs.sh). Which operations they are is chosen
 * by the include path, as for tests/model/rules.h. The table gives the exits of one round of each step on each
 * processor; whoever runs the guest compares the sums with the account, kind by kind, exactly.
 *
 * Of a machine it needs one vCPU, the test device's lines (testdev=on) and x2APIC. Kinds that are not compared:
 * physical interrupts, and what a micro guest's console takes.
 */
#ifndef TESTS_MODEL_APICV_GUEST_H
#define TESTS_MODEL_APICV_GUEST_H

#include "rules_guest.h"

#include "postern/account.h"

/* What a micro guest has to bring, and a scripted one has: interrupts on and off. */
void g_sti(void);
void g_cli(void);

#define APICV_LINE   5
#define APICV_VECTOR 0x51
#define APICV_LEVEL  0x61
#define APICV_CLASS  (APICV_VECTOR >> 4)

enum apicv_processor {
	APICV_WESTMERE,
	APICV_BROADWELL,
	APICV_PROCESSORS,
};

struct apicv_step {
	const char *name;
	u32 rounds;
	void (*round)(void);
	u32 interrupts; /* taken in one round */
	/* In one round, on each processor. */
	u8 westmere[EXIT_KIND_COUNT];
	u8 broadwell[EXIT_KIND_COUNT];
};

static volatile u32 apicv_taken;
static bool apicv_x2;

/* The kinds that are compared. */
static const u8 apicv_kinds[] = {EXIT_INTR_WINDOW, EXIT_TPR,        EXIT_RDMSR,
                                 EXIT_WRMSR,       EXIT_MEMORY,     EXIT_CR,
                                 EXIT_EOI,         EXIT_APIC_WRITE, EXIT_APIC_ACCESS};

static void apicv_write(u32 reg, u32 value)
{
	if (apicv_x2)
		g_wrmsr(MSR_X2APIC_FIRST + reg / 16, value);
	else
		g_mmio_write(APIC_BASE_DEFAULT + reg, value);
}

static void apicv_read(u32 reg)
{
	if (apicv_x2)
		g_rdmsr(MSR_X2APIC_FIRST + reg / 16);
	else
		g_mmio_read(APIC_BASE_DEFAULT + reg);
}

/* Of every vector. */
static void apicv_interrupt(u8 vector)
{
	apicv_taken++;
	if (vector == APICV_LEVEL)
		g_out(TESTDEV_LINES_PORT + APICV_LINE, 0, 1);
	apicv_write(APIC_EOI, 0);
}

/* --- the steps; interrupts are on --- */

static void apicv_enable(void)
{
	apicv_write(APIC_SVR, APIC_SVR_ENABLE | 0xff);
}

static void apicv_enter_x2apic(void)
{
	g_wrmsr(MSR_APIC_BASE, g_rdmsr(MSR_APIC_BASE) | APIC_BASE_EXTD);
	apicv_x2 = true;
}

/* The register of its own that x2APIC mode has for it. */
static void apicv_self_ipi(void)
{
	apicv_write(APIC_SELF, APICV_VECTOR);
	g_nop();
}

static void apicv_send(u32 low)
{
	apicv_write(APIC_ICR, low | APIC_LEVEL_ASSERT | APICV_VECTOR);
	g_nop();
}

static void apicv_shorthand(void)
{
	apicv_send(APIC_DEST_SELF);
}

/* The destination is the sender's ID, 0. */
static void apicv_own_id(void)
{
	apicv_send(0);
}

static void apicv_cr8_idle(void)
{
	g_write_cr8(APICV_CLASS);
	g_nop();
	g_write_cr8(0);
}

static void apicv_tpr_idle(void)
{
	apicv_write(APIC_TPR, APICV_CLASS << 4 | 0xf);
	g_nop();
	apicv_write(APIC_TPR, 0);
}

/* One that nothing lets in yet. */
static void apicv_pending(void)
{
	u32 before = apicv_taken;

	apicv_shorthand();
	G_CHECK_EQUAL(apicv_taken, before);
}

static void apicv_cr8_below(void)
{
	g_write_cr8(APICV_CLASS + 1);
	apicv_pending();
	g_write_cr8(0);
	g_nop();
}

/* The first write drops it to the interrupt's own class, which holds it back still. */
static void apicv_cr8_not_below(void)
{
	g_write_cr8(APICV_CLASS + 1);
	apicv_pending();
	g_write_cr8(APICV_CLASS);
	g_nop();
	g_write_cr8(APICV_CLASS - 1);
	g_nop();
	g_write_cr8(0);
}

static void apicv_tpr_below(void)
{
	apicv_write(APIC_TPR, APICV_CLASS << 4 | 0xf);
	apicv_pending();
	apicv_write(APIC_TPR, 0);
	g_nop();
}

/* A subclass, which CR8 does not show and clears. */
static void apicv_subclass(void)
{
	apicv_write(APIC_TPR, APICV_CLASS << 4 | 0xf);
	apicv_pending();
	g_write_cr8(APICV_CLASS);
	g_nop();
	g_write_cr8(0);
	g_nop();
}

static void apicv_interrupts_off(void)
{
	g_cli();
	apicv_pending();
	g_sti();
	g_nop();
	g_nop();
}

static void apicv_reads(void)
{
	apicv_read(APIC_ID);
	apicv_read(APIC_TPR);
	apicv_read(APIC_ISR);
	apicv_read(APIC_IRR);
}

static void apicv_ioapic(u8 index, u32 value)
{
	g_mmio_write(IOAPIC_BASE, index);
	g_mmio_write(IOAPIC_BASE + 0x10, value);
}

static void apicv_pin(void)
{
	apicv_ioapic(0x11 + 2 * APICV_LINE, 0);
	apicv_ioapic(0x10 + 2 * APICV_LINE, IOAPIC_RTE_LEVEL | APICV_LEVEL);
}

/* The EOI of a level-triggered interrupt has to reach the I/O APIC. */
static void apicv_line(void)
{
	g_out(TESTDEV_LINES_PORT + APICV_LINE, 1, 1);
	g_nop();
}

#define MEM(n)    [EXIT_MEMORY] = (n)
#define RDMSR(n)  [EXIT_RDMSR] = (n)
#define WRMSR(n)  [EXIT_WRMSR] = (n)
#define CR(n)     [EXIT_CR] = (n)
#define TPR(n)    [EXIT_TPR] = (n)
#define WINDOW(n) [EXIT_INTR_WINDOW] = (n)
#define EOI(n)    [EXIT_EOI] = (n)
#define WRITE(n)  [EXIT_APIC_WRITE] = (n)

/*
 * westmere: every access of a register exits, the EOI's among them, and none of CR8. While an interrupt waits for
 * the task priority, each write of CR8 exits that lowers it, or, with a subclass, any.
 *
 * broadwell: nothing exits but what is left to software: the EOI of a level-triggered interrupt, and ICR, unless it
 * is in xAPIC mode and says "self". Until the APIC is enabled by software it is not accelerated; then the first
 * access of its page exits once, to have it mapped. In x2APIC mode no IPI by ICR is the processor's ("Virtualizing
 * MSR-Based APIC Accesses").
 */
static const struct apicv_step apicv_steps[] = {
        {"xapic-enable", 1, apicv_enable, 0, {MEM(1)}, {MEM(1)}},
        {"xapic-pin", 1, apicv_pin, 0, {MEM(4)}, {MEM(4)}},
        {"xapic-first-access", 1, apicv_tpr_idle, 0, {MEM(2)}, {MEM(1)}},
        {"xapic-shorthand", 210, apicv_shorthand, 1, {MEM(2)}, {0}},
        {"xapic-own-id", 40, apicv_own_id, 1, {MEM(2)}, {WRITE(1)}},
        {"xapic-cr8-idle", 500, apicv_cr8_idle, 0, {0}, {0}},
        {"xapic-tpr-idle", 60, apicv_tpr_idle, 0, {MEM(2)}, {0}},
        {"xapic-cr8-below", 110, apicv_cr8_below, 1, {MEM(2), TPR(1)}, {0}},
        {"xapic-cr8-not-below", 120, apicv_cr8_not_below, 1, {MEM(2), TPR(2)}, {0}},
        {"xapic-tpr-below", 130, apicv_tpr_below, 1, {MEM(4)}, {0}},
        {"xapic-subclass", 140, apicv_subclass, 1, {MEM(3), CR(1), TPR(1)}, {0}},
        {"xapic-interrupts-off", 150, apicv_interrupts_off, 1, {MEM(2), WINDOW(1)}, {0}},
        {"xapic-reads", 70, apicv_reads, 0, {MEM(4)}, {0}},
        {"xapic-line", 80, apicv_line, 1, {MEM(1)}, {EOI(1)}},
        {"x2apic-enter", 1, apicv_enter_x2apic, 0, {RDMSR(1), WRMSR(1)}, {RDMSR(1), WRMSR(1)}},
        {"x2apic-self-ipi", 1000, apicv_self_ipi, 1, {WRMSR(2)}, {0}},
        {"x2apic-shorthand", 310, apicv_shorthand, 1, {WRMSR(2)}, {WRMSR(1)}},
        {"x2apic-own-id", 45, apicv_own_id, 1, {WRMSR(2)}, {WRMSR(1)}},
        {"x2apic-cr8-idle", 600, apicv_cr8_idle, 0, {0}, {0}},
        {"x2apic-tpr-idle", 65, apicv_tpr_idle, 0, {WRMSR(2)}, {0}},
        {"x2apic-cr8-below", 1000, apicv_cr8_below, 1, {WRMSR(2), TPR(1)}, {WRMSR(1)}},
        {"x2apic-cr8-not-below", 125, apicv_cr8_not_below, 1, {WRMSR(2), TPR(2)}, {WRMSR(1)}},
        {"x2apic-tpr-below", 135, apicv_tpr_below, 1, {WRMSR(4)}, {WRMSR(1)}},
        {"x2apic-subclass", 145, apicv_subclass, 1, {WRMSR(3), CR(1), TPR(1)}, {WRMSR(1)}},
        {"x2apic-interrupts-off", 155, apicv_interrupts_off, 1, {WRMSR(2), WINDOW(1)}, {WRMSR(1)}},
        {"x2apic-reads", 75, apicv_reads, 0, {RDMSR(4)}, {0}},
        {"x2apic-line", 85, apicv_line, 1, {WRMSR(1)}, {EOI(1)}},
};
#undef MEM
#undef RDMSR
#undef WRMSR
#undef CR
#undef TPR
#undef WINDOW
#undef EOI
#undef WRITE

static const u8 *apicv_exits(const struct apicv_step *step, enum apicv_processor processor)
{
	const u8 *const exits[APICV_PROCESSORS] = {
	        [APICV_WESTMERE] = step->westmere,
	        [APICV_BROADWELL] = step->broadwell,
	};

	return exits[processor];
}

/* What the account is to have of this kind in the end. */
static u64 apicv_expected(enum apicv_processor processor, enum exit_kind kind)
{
	u64 sum = 0;

	for (u32 i = 0; i < ARRAY_SIZE(apicv_steps); i++)
		sum += (u64)apicv_steps[i].rounds * apicv_exits(&apicv_steps[i], processor)[kind];
	return sum;
}

/* With handlers in place and interrupts off, as the APIC is after reset. */
static void apicv_run(void)
{
	g_sti();
	for (u32 i = 0; i < ARRAY_SIZE(apicv_steps); i++) {
		const struct apicv_step *step = &apicv_steps[i];

		apicv_taken = 0;
		for (u32 round = 0; round < step->rounds; round++)
			step->round();
		G_CHECK_EQUAL(apicv_taken, step->rounds * step->interrupts);
	}
	g_cli();
}

#endif
