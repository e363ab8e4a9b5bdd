/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the rule tests share. A rule of the interrupt controllers is a script that shows it as a
 * guest sees it, in xAPIC and in x2APIC mode; docs/rules.md says which script shows which rule. Use:
 *
 *	static void some_rule(void) { rules_begin(); ... G_CHECK(...); }
 *	static const struct rule list[] = {RULE(some_rule, .vcpus = 2), ...};
 *	int main(void) { return rules_main(list, ARRAY_SIZE(list)); }
 *
 * The script runs on vCPU 0 with interrupts off, and its return is the end. The other vCPUs, once
 * started by rules_start_others(), sleep with interrupts on. Every vector's handler notes that it
 * came, and to whom; then it ends the interrupt, at the 8259 pair for vectors at RULES_PIC, at the
 * local APIC for the others.
 *
 * Where a rule means nothing in one mode, the script says so, with what holds there instead.
 *
 * There are two kinds of guest, and which one a script becomes is chosen by the include path, which
 * has the operations in rules_guest.h: a coroutine on the processor model (tests/model/guest/), each
 * rule on a machine of its own and with a clock that runs with the instructions; or a part of a
 * micro guest (guests/micro/), under the hypervisor on an emulated machine, where other vCPUs run at
 * any time and clocks say nothing but an order, unless instructions are counted there, too. What needs
 * the model's clock is behind rules_exact().
 */
#ifndef TESTS_MODEL_RULES_H
#define TESTS_MODEL_RULES_H

#include "rules_guest.h"

#define RULES_VCPUS 24
#define RULES_PIC   0x30 /* vectors of the 8259 pair: 30h to 3fh */
#define RULES_FENCE 0x21
#define RULES_LOG   64

#define RULES_MSIDEV_SLOT 4 /* of the PCI test device, on bus 0 */

struct rule {
	const char *name;
	void (*script)(void);
	/* Optional */
	void (*other)(u32 id); /* each other vCPU, before it sleeps */
	void (*prepare)(void); /* before anything runs; on the model, the VM exists */
	void (*check)(void);   /* on the model: it has ended */
	guest_script ap;       /* instead of sleeping: all of the others' script */
	int ending;            /* on the model: how it ends; 0: by the script's return */
	const char *guest;     /* a micro guest of its own shows it as well */
	u32 vcpus;
	bool both_pics; /* on the model again with the platform's 8259 pair (split) */
	bool msidev;    /* with the PCI test device */
	/*
	 * AVIC keeps what is written to places of the page that are no register, and to bits that are
	 * none: shown without it. docs/model.md, "What a guest sees".
	 */
	bool no_avic_page;
	bool no_x2avic; /* the same for x2AVIC, which checks ICR's bits as AMD has them */
	bool no_apicv;  /* nor is APICv's APIC in xAPIC mode the software's there */
	bool reinject, no_reinject, no_x2apic, no_tsc_deadline;
	bool needs_x2apic, needs_tsc_deadline; /* in xAPIC mode, too */
};
#define RULE(script_, ...)                                                                         \
	{                                                                                          \
		.name = #script_, .script = (script_), __VA_ARGS__                                 \
	}

struct rules {
	const struct rule *rule;
	u32 count[RULES_VCPUS][256]; /* by APIC ID and vector */
	u32 total[256];
	u8 log[RULES_LOG]; /* vectors in the order in which they came, to anybody; the last ones */
	u32 logged;
	bool hold[256]; /* the handler does not end this vector */
	bool hold_pic;  /* nor any of the 8259 pair's */
	bool up[RULES_VCPUS];
	/* What a handler does besides, before it ends the interrupt. */
	void (*hook)(u8 vector);
};
extern struct rules rules;

/* --- for scripts --- */

static inline bool rules_x2apic(void)
{
	return !harness.xapic;
}

/* The initial APIC ID, which names the vCPU. */
static inline u32 rules_me(void)
{
	struct cpuid_regs r;

	g_cpuid(1, 0, &r);
	return r.ebx >> 24;
}

static inline void rules_note(u8 vector, u32 error __unused)
{
	rules.count[rules_me()][vector]++;
	__atomic_fetch_add(&rules.total[vector], 1, __ATOMIC_SEQ_CST);
	rules.log[__atomic_fetch_add(&rules.logged, 1, __ATOMIC_SEQ_CST) % RULES_LOG] = vector;
	if (rules.hook)
		rules.hook(vector);
	if (vector < 32 || rules.hold[vector])
		return;
	if ((vector & 0xf0) != RULES_PIC) {
		g_apic_eoi();
	} else if (!rules.hold_pic) {
		if (vector >= RULES_PIC + 8)
			g_out(0xa0, 0x20, 1);
		g_out(0x20, 0x20, 1);
	}
}

/* Let everything in that may come, one after the other. */
static inline void rules_let_in(void)
{
	rules_window();
}

static inline void rules_forget(void)
{
	memset(rules.count, 0, sizeof(rules.count));
	memset(rules.total, 0, sizeof(rules.total));
	rules.logged = 0;
}

static inline void rules_sleep_for_ever(void *arg __unused)
{
	u32 me = rules_me();

	g_apic_enable();
	if (rules.rule->other)
		rules.rule->other(me);
	rules.up[me] = true;
	for (;;)
		rules_wait();
}

/* To everybody else, and until all are up. */
static inline void rules_start_others(void)
{
	g_start_aps();
	for (u32 id = 1; id < harness.vcpus; id++)
		while (!rules.up[id])
			g_pause();
}

/* The usual beginning: own APIC on, everybody else up. */
static inline void rules_begin(void)
{
	g_apic_enable();
	if (harness.vcpus > 1)
		rules_start_others();
}

static inline void rules_fixed(u32 dest, u8 vector)
{
	g_apic_icr(dest, APIC_LEVEL_ASSERT | vector);
}

static inline void rules_self(u8 vector)
{
	g_apic_icr(0, APIC_LEVEL_ASSERT | APIC_DEST_SELF | vector);
}

/*
 * Everything sent to these vCPUs before has arrived: a fixed interrupt of a lower class than all
 * others has come behind it.
 */
static inline void rules_fence(u64 set)
{
	u32 before[RULES_VCPUS];

	rules_let_in();
	for (u32 id = 1; id < harness.vcpus; id++) {
		before[id] = rules.count[id][RULES_FENCE];
		if (set & BIT64(id))
			rules_fixed(id, RULES_FENCE);
	}
	for (u32 id = 1; id < harness.vcpus; id++)
		while ((set & BIT64(id)) && rules.count[id][RULES_FENCE] == before[id])
			g_pause();
}

#define RULES_ALL (BIT64(harness.vcpus) - 1)

/* Since rules_forget(), `vector` has come once to each of `set` that there is, and to nobody else. */
static inline void rules_check_reached(u8 vector, u64 set)
{
	rules_fence(RULES_ALL);
	for (u32 id = 0; id < harness.vcpus; id++)
		g_check_equal(__FILE__, (int)id, "interrupts of this vCPU", rules.count[id][vector],
		              set >> id & 1);
	rules_forget();
}

/* MSR of the register at `offset` of the page. */
static inline u32 rules_msr(u32 offset)
{
	return MSR_X2APIC_FIRST + offset / 16;
}

static inline bool rules_msr_reads(u32 offset)
{
	u64 value;

	return !g_rdmsr_safe(rules_msr(offset), &value);
}

static inline bool rules_msr_writes(u32 offset, u64 value)
{
	return !g_wrmsr_safe(rules_msr(offset), value);
}

/* The errors since last time: written, then read. */
static inline u32 rules_errors(void)
{
	g_apic_write(APIC_ESR, 0);
	return g_apic_read(APIC_ESR);
}

/* Bit of a vector in ISR, TMR or IRR. */
static inline bool rules_vector_bit(u32 reg, u8 vector)
{
	return g_apic_read(reg + vector / 32 * 16u) >> vector % 32 & 1;
}

/* --- I/O APIC and lines --- */

static inline u32 rules_ioapic_read(u8 index)
{
	g_mmio_write(IOAPIC_BASE, index);
	return g_mmio_read(IOAPIC_BASE + 0x10);
}

static inline void rules_ioapic_write(u8 index, u32 value)
{
	g_mmio_write(IOAPIC_BASE, index);
	g_mmio_write(IOAPIC_BASE + 0x10, value);
}

static inline void rules_entry(u32 pin, u8 dest, u32 low)
{
	rules_ioapic_write((u8)(0x11 + 2 * pin), (u32)dest << 24);
	rules_ioapic_write((u8)(0x10 + 2 * pin), low);
}

static inline u32 rules_entry_low(u32 pin)
{
	return rules_ioapic_read((u8)(0x10 + 2 * pin));
}

static inline bool rules_remote_irr(u32 pin)
{
	return rules_entry_low(pin) & IOAPIC_RTE_REMOTE_IRR;
}

/* The test device's line of that number. */
static inline void rules_line(u32 gsi, bool level)
{
	g_out((u16)(TESTDEV_LINES_PORT + gsi), level, 1);
}

/* --- 8259 pair --- */

static inline void rules_pic_chip(u16 port, u8 base, u8 icw3, u8 icw4)
{
	g_out(port, 0x11, 1);
	g_out(port + 1, base, 1);
	g_out(port + 1, icw3, 1);
	g_out(port + 1, icw4, 1);
}

/* Both chips at RULES_PIC with these masks, their INTR by LVT0. */
static inline void rules_pic(u8 master_mask, u8 slave_mask)
{
	rules_pic_chip(0x20, RULES_PIC, 0x04, 0x01);
	rules_pic_chip(0xa0, RULES_PIC + 8, 0x02, 0x01);
	g_out(0x21, master_mask, 1);
	g_out(0xa1, slave_mask, 1);
	g_apic_write(APIC_LVT0, APIC_DM_EXTINT);
}

static inline u8 rules_pic_irr(u16 port)
{
	g_out(port, 0x0a, 1);
	return (u8)g_in(port, 1);
}

static inline u8 rules_pic_isr(u16 port)
{
	g_out(port, 0x0b, 1);
	return (u8)g_in(port, 1);
}

/* --- the runner's: tests/model/rules_run.c, guests/micro/rules_run.c --- */

int rules_main(const struct rule *list, u32 count);

#endif
