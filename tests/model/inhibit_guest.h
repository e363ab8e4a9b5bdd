/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Three vCPUs that run and send each other interrupts while something inhibits acceleration, for
 * inhibit_test.c (by the host) and inhibit_apic_test.c (by the guest).
 *
 * Scripts run on the stepper, in one thread with the hypervisor, and so look at its state between two
 * operations. Who is accelerated is told by what is not injected: each vCPU's interrupts are counted where
 * they are handled and where software injects them.
 */
#ifndef TESTS_MODEL_INHIBIT_GUEST_H
#define TESTS_MODEL_INHIBIT_GUEST_H

#include "core/machine.h"
#include "irq/inhibit.h"
#include "tests/model/harness.h"

#define VCPUS  3
#define ALL    (BIT(VCPUS) - 1)
#define PING   0x61
#define PONG   0x71 /* and the number of who answers */
#define ROUNDS 4
#define ALONE  9 /* an ID that nobody has */

#define MODE_XAPIC  ACCEL_MODE(ACCEL_XAPIC)
#define MODES_BOTH  (MODE_XAPIC | ACCEL_MODE(ACCEL_X2APIC))
#define ALL_REASONS (BIT(INHIBIT_COUNT) - 1)
/*
 * On VMX no interrupt window is in the way of the processor's own delivery (requirement S0.6), an EOI that somebody
 * waits for exits by its bitmap, x2APIC mode comes with the feature, and no table goes by logical IDs.
 */
#define NOT_ON_VMX                                                                                 \
	(INHIBIT_BIT(IRQWIN) | INHIBIT_BIT(PIT_REINJ) | INHIBIT_BIT(X2APIC) |                      \
	 INHIBIT_BIT(LOGICAL_ID_ALIASED) | INHIBIT_BIT(PHYSICAL_ID_TOO_BIG))

/* What each is to accelerate, and which reasons against it it is to have. A new one is a row. */
static const struct processor {
	const char *name;
	u32 modes; /* 0: none; then DISABLED stands, and nothing is to change ever */
	u32 reasons;
} processors[] = {
        {"rome", MODE_XAPIC, ALL_REASONS},
        {"milan", MODE_XAPIC, ALL_REASONS},
        {"genoa", MODES_BOTH, ALL_REASONS},
        {"assist-milan", MODE_XAPIC, ALL_REASONS},
        {"assist-genoa", MODES_BOTH, ALL_REASONS},
        {"broadwell", MODES_BOTH, ALL_REASONS & ~NOT_ON_VMX},
        {"barcelona", 0, ALL_REASONS},
        {"westmere", 0, ALL_REASONS & ~NOT_ON_VMX},
};

/* --- the vCPUs --- */

/* By vCPU. */
static struct seat {
	u64 base;            /* where its script finds its APIC; 0: in MSRs */
	u32 pinged, ponged;  /* interrupts it has handled; answers of it that vCPU 0 has */
	void (*order)(void); /* what it is to do; NULL when it has done it */
	bool up;
} seat[VCPUS];

/* By code area, which go by who started first; of guests of guests, too. */
static u32 vcpu_of[2 * VCPUS];

/* What a test adds to a run: between creation and start. */
static void (*on_create)(void);

static struct {
	struct mmu_counts mmu;
	u64 rounds, injected[VCPUS];
	u32 handled[VCPUS];
} before;

static struct seat *mine(void)
{
	return &seat[vcpu_of[g_index()]];
}

static void apic_write(u32 reg, u32 value)
{
	if (mine()->base)
		g_mmio_write(mine()->base + reg, value);
	else
		g_wrmsr(MSR_X2APIC_FIRST + reg / 16, value);
}

static void apic_icr(u32 dest, u32 low)
{
	if (mine()->base) {
		apic_write(APIC_ICR2, dest << 24);
		apic_write(APIC_ICR, low);
	} else {
		g_wrmsr(MSR_X2APIC_FIRST + APIC_ICR / 16, (u64)dest << 32 | low);
	}
}

static void on_ping(u8 vector __unused, u32 error __unused)
{
	struct seat *self = mine();

	self->pinged++;
	if (self != seat)
		apic_icr(0, APIC_LEVEL_ASSERT | (PONG + (u32)(self - seat)));
	apic_write(APIC_EOI, 0);
}

static void on_pong(u8 vector, u32 error __unused)
{
	seat[vector - PONG].ponged++;
	apic_write(APIC_EOI, 0);
}

/* Where it says that the APIC is: as it was found, or in MSRs. */
static void enable(void)
{
	mine()->base = harness.xapic ? APIC_BASE_DEFAULT : 0;
	g_apic_enable();
}

static void other(void *arg __unused)
{
	u32 number = harness.xapic ? g_mmio_read(APIC_BASE_DEFAULT + APIC_ID) >> 24 : 0;
	struct seat *self;

	if (!harness.xapic) {
		g_wrmsr(MSR_APIC_BASE, g_rdmsr(MSR_APIC_BASE) | APIC_BASE_EXTD);
		number = (u32)g_rdmsr(MSR_X2APIC_FIRST + APIC_ID / 16);
	}
	vcpu_of[g_index()] = number;
	self = &seat[number];
	enable();
	g_sti();
	for (self->up = true;; g_pause()) {
		if (!self->order)
			continue;
		self->order();
		self->order = NULL;
	}
}

/* Nobody waits for a window: without acceleration that happens, and is a reason of its own. */
static void await_no_windows(void)
{
	while (atomic32_read(&harness_vm->inhibit.windows))
		g_in(0x40, 1); /* an exit */
}

static void do_on(u32 vcpu, void (*order)(void))
{
	await_no_windows();
	if (vcpu == 0) {
		order();
		return;
	}
	seat[vcpu].order = order;
	while (seat[vcpu].order)
		g_pause();
}

static void await(const u32 *count, u32 value)
{
	while (*count < value)
		g_pause();
	G_CHECK_EQUAL(*count, value);
}

/* What all have handled so far, and what each has answered. */
static u32 pinged[VCPUS], ponged[VCPUS];

static void listen(void)
{
	for (u32 v = 0; v < VCPUS; v++) {
		pinged[v] = seat[v].pinged;
		ponged[v] = seat[v].ponged;
	}
}

/* Since listen() those in `targets` have been sent one, and answer; nobody else hears anything of it. */
static void expect_heard(u32 targets)
{
	for (u32 v = 0; v < VCPUS; v++) {
		await(&seat[v].pinged, pinged[v] + (targets >> v & 1));
		await(&seat[v].ponged, ponged[v] + (v && targets >> v & 1));
	}
}

/* vCPU 0 sends to itself and to the others, at once or to each by its ID. */
static void exchange(u32 targets, bool by_id)
{
	listen();
	apic_icr(0, APIC_DEST_SELF | APIC_LEVEL_ASSERT | PING);
	if (!by_id)
		apic_icr(0, APIC_DEST_OTHERS | APIC_LEVEL_ASSERT | PING);
	for (u32 v = 1; by_id && v < VCPUS; v++)
		apic_icr(v, APIC_LEVEL_ASSERT | PING);
	expect_heard(targets);
}

/* --- what there is to see --- */

static struct vcpu *vcpu(u32 v)
{
	return harness_vm->vcpu[v];
}

static u32 handled(u32 v)
{
	u32 sum = seat[v].pinged;

	for (u32 i = 1; v == 0 && i < VCPUS; i++)
		sum += seat[i].ponged;
	return sum;
}

static u64 injected(u32 v)
{
	return counter_read(&vcpu(v)->account.counters[COUNTER_INJ_IPI]);
}

static void note(void)
{
	before.mmu = harness_vm->mmu.counts;
	before.rounds = harness_vm->inhibit.rounds;
	for (u32 v = 0; v < VCPUS; v++) {
		before.injected[v] = injected(v);
		before.handled[v] = handled(v);
	}
}

/* Anybody can be accelerated here at all. */
static bool can_accelerate(void)
{
	return harness_vm->accel.modes;
}

/* This processor has that reason; else it is ignored. */
static bool has_reason(u32 reason)
{
	return harness_vm->inhibit.needed & BIT(reason);
}

/* It takes acceleration from the VM that stands. */
static __unused bool takes_away(u32 reason)
{
	return can_accelerate() && has_reason(reason);
}

/*
 * Since note(): one update of all for each change between none and some, one zap if it was to some. Where nobody
 * is accelerated anyway, none.
 */
static void expect_changes(u32 rounds, u32 zaps)
{
	if (!can_accelerate())
		rounds = zaps = 0;
	G_CHECK_EQUAL(harness_vm->inhibit.rounds - before.rounds, rounds);
	G_CHECK_EQUAL(harness_vm->mmu.counts.zaps - before.mmu.zaps, zaps);
	G_CHECK(harness_vm->mmu.counts.remote_flushes - before.mmu.remote_flushes <= zaps);
}

/* Those of `mask` that this processor has. IRQWIN may have come and gone while others stood: then nobody looks. */
static void expect_mask(u32 mask)
{
	u32 ignored = mask & ~INHIBIT_BIT(IRQWIN) ? INHIBIT_BIT(IRQWIN) : 0;

	mask &= harness_vm->inhibit.needed;
	if (!can_accelerate())
		mask |= INHIBIT_BIT(DISABLED);
	G_CHECK_EQUAL(atomic32_read(&harness_vm->inhibit.mask) & ~ignored, mask);
}

/* Those in `accelerated` are, if anybody can, the others are not; all in `targets` take part. */
static void expect_only(u32 accelerated, u32 targets, bool by_id)
{
	accelerated = can_accelerate() ? accelerated : 0;
	exchange(targets, by_id); /* whoever was outside of the guest has entered since */
	note();
	for (u32 i = 0; i < ROUNDS; i++)
		exchange(targets, by_id && i & 1);
	for (u32 v = 0; v < VCPUS; v++) {
		u32 count = handled(v) - before.handled[v];
		bool on = accelerated >> v & 1;

		G_CHECK_EQUAL(accel_is_on(&vcpu(v)->accel), on);
		G_CHECK_EQUAL(injected(v) - before.injected[v], on ? 0 : count);
	}
}

static void expect_accelerated(u32 accelerated)
{
	expect_only(accelerated, ALL, true);
}

static const struct inhibit_account *account_of(u32 reason)
{
	return &harness_vm->inhibit.account[reason];
}

static void expect_account(const struct inhibit_account *account, u32 sets, u32 clears, u32 who)
{
	G_CHECK_EQUAL(account->sets, sets);
	G_CHECK_EQUAL(account->clears, clears);
	G_CHECK_EQUAL(account->since != 0, sets > clears);
	if (!sets)
		return;
	G_CHECK_EQUAL(account->vcpu, who);
	/* Where its instructions are, or nowhere for the host. */
	G_CHECK(who == INHIBIT_BY_HOST ? account->rip == 0 : account->rip >= GUEST_CODE);
}

/* --- a run --- */

static void (*scenario)(void);
static void (*afterwards)(void); /* when the VM has ended; NULL: nothing */

static void first(void *arg __unused)
{
	g_set_handler(PING, on_ping);
	for (u32 v = 1; v < VCPUS; v++)
		g_set_handler(PONG + v, on_pong);
	enable();
	g_start_aps();
	for (u32 v = 1; v < VCPUS; v++)
		while (!seat[v].up)
			g_pause();
	g_sti();
	scenario();
	g_exit(0);
}

/* The table has what the hypervisor has found. */
static void check_processor(const struct harness *config)
{
	for (u32 i = 0; config->processor && i < ARRAY_SIZE(processors); i++) {
		const struct processor *p = &processors[i];

		if (strcmp(p->name, config->processor))
			continue;
		assert_int_equal(harness_vm->accel.modes, config->no_accel ? 0 : p->modes);
		assert_int_equal(harness_vm->inhibit.needed, p->reasons);
	}
}

static void create(struct harness config, void (*script)(void))
{
	memset(seat, 0, sizeof(seat));
	memset(vcpu_of, 0, sizeof(vcpu_of));
	scenario = script;
	config.vcpus = VCPUS;
	config.cpus = (config.cpus ? config.cpus : VCPUS) + (config.device ? 1 : 0);
	harness_create(&config);
	check_processor(&config);
	if (on_create)
		on_create();
	guest_bind(HARNESS_BSP, first, NULL);
	guest_bind(HARNESS_AP, other, NULL);
}

static void run_once(struct harness config, void (*script)(void))
{
	create(config, script);
	harness_run_to_end(ENDED_DEBUG_EXIT);
	assert_int_equal(atomic32_read(&harness_vm->exit_code), 1);
	assert_int_equal(harness_counter(COUNTER_ACCEL_MISMATCHES), 0);
	assert_int_equal(atomic32_read(&harness_vm->inhibit.windows), 0);
	if (afterwards)
		afterwards();
	harness_destroy();
}

/* In several orders: processors take turns between operations, or at any atomic access of the hypervisor. */
static void run(struct harness config, void (*script)(void))
{
	u32 orders = harness_full() ? 40 : 4;

	for (u32 i = 0; i < orders; i++) {
		config.seed = i;
		config.switch_ppm = i ? 1000u << i % 9 : 0;
		run_once(config, script);
	}
}

/* In xAPIC mode, which all that accelerate have; `modes`: on those that accelerate one of these. */
static void on_some(u32 modes, struct harness config, void (*script)(void))
{
	config.xapic = true;
	for (u32 i = 0; i < ARRAY_SIZE(processors); i++) {
		if (modes && !(processors[i].modes & modes))
			continue;
		config.processor = processors[i].name;
		run(config, script);
	}
}

static __unused void on_each(struct harness config, void (*script)(void))
{
	on_some(0, config, script);
}

/* One reason of scope VM by a guest's own doing: off for all, and on again; or ignored. */
static __unused void set_and_undo(u32 reason, u32 who, void (*set)(void), void (*undo)(void))
{
	const struct inhibit_account *account = account_of(reason);
	u32 sets = (u32)account->sets, clears = (u32)account->clears, one = has_reason(reason);

	note();
	do_on(who, set);
	expect_mask(BIT(reason));
	expect_changes(one, one);
	expect_account(account, sets + one, clears, who);
	expect_only(one ? 0 : ALL, ALL, false);
	note();
	do_on(who, undo);
	expect_mask(0);
	expect_changes(one, 0);
	expect_account(account, sets + one, clears + one, who);
	expect_accelerated(ALL);
}

/* --- what a vCPU is told to do: an ID that is not its own, and its own --- */

static __unused void take_id_alone(void)
{
	apic_write(APIC_ID, ALONE << 24);
}

static __unused void take_id_1(void)
{
	apic_write(APIC_ID, 1u << 24);
}

#define MODIFIED INHIBIT_BIT(APIC_ID_MODIFIED)

#endif
