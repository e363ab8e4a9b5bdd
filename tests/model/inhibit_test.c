/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reasons of postern/inhibits.h that the host or a device brings about: each seen to take acceleration
 * from whom it should, and to give it back, or not. Those of the guest's APICs: inhibit_apic_test.c.
 * BLOCKIRQ: debugger_test.c; PHYSICAL_ID_TOO_BIG: apic_ids_test.c.
 */
#include "tests/model/inhibit_guest.h"
#include "x86/hyperv.h"

/* --- a device's side, which sets and clears by itself --- */

static u32 wanted, standing;

static void device(void)
{
	for (; !vm_has_ended(harness_vm); race_relax()) {
		if (wanted == standing)
			continue;
		inhibit_change(harness_vm, wanted | standing, wanted);
		standing = wanted;
	}
}

static void from_outside(u32 reasons)
{
	wanted = reasons;
	while (standing != wanted)
		g_pause();
}

/* --- ABSENT --- */

static void script_absent(void)
{
	/* That of the creation; a second time as nobody does, for a look at what it does. */
	expect_mask(0);
	expect_account(account_of(INHIBIT_ABSENT), 1, 1, INHIBIT_BY_HOST);
	G_CHECK_EQUAL(harness_vm->inhibit.rounds, 2);
	G_CHECK_EQUAL(harness_vm->inhibit.kicked, 0);
	expect_accelerated(ALL);
	note();
	from_outside(INHIBIT_BIT(ABSENT));
	expect_mask(INHIBIT_BIT(ABSENT));
	expect_changes(1, 1);
	expect_accelerated(0);
	note();
	from_outside(0);
	expect_changes(1, 0);
	expect_accelerated(ALL);
	expect_account(account_of(INHIBIT_ABSENT), 2, 2, INHIBIT_BY_HOST);
}

static void test_absent_until_created(void **state __unused)
{
	on_each((struct harness){.device = device}, script_absent);
}

/* --- DISABLED --- */

static void script_disabled(void)
{
	for (u32 i = 0; i < 2; i++) {
		expect_mask(INHIBIT_BIT(DISABLED));
		expect_account(account_of(INHIBIT_DISABLED), 1, 0, INHIBIT_BY_HOST);
		expect_accelerated(0);
		/* From ABSENT on something has always stood. */
		G_CHECK_EQUAL(harness_vm->inhibit.rounds, 1);
		G_CHECK_EQUAL(harness_vm->mmu.counts.zaps, 0);
	}
}

static void test_disabled_for_good(void **state __unused)
{
	on_each((struct harness){.no_accel = true}, script_disabled);
	run((struct harness){.processor = "barcelona", .xapic = true}, script_disabled);
	run((struct harness){.processor = "barcelona"}, script_disabled);
	run((struct harness){.processor = "genoa", .no_accel = true}, script_disabled);
}

/* --- IRQWIN --- */

#define TICK  0x30
#define TICKS 3

static u32 ticks;

static void on_tick(u8 vector __unused, u32 error __unused)
{
	ticks++;
	/* It comes by injection, and so to nobody who is accelerated. */
	G_CHECK(!accel_is_on(&vcpu(0)->accel));
	g_out(0x20, 0x20, 1);
}

/* The pair passes IRQ 0 only, the 8254 is to tick when told. */
static void init_pics(void)
{
	static const u8 master[] = {TICK, 0x04, 0x01, 0xfe}, slave[] = {TICK + 8, 0x02, 0x01, 0xff};

	g_out(0x20, 0x11, 1);
	g_out(0xa0, 0x11, 1);
	for (u32 i = 0; i < ARRAY_SIZE(master); i++) {
		g_out(0x21, master[i], 1);
		g_out(0xa1, slave[i], 1);
	}
	g_set_handler(TICK, on_tick);
	apic_write(APIC_LVT0, APIC_DM_EXTINT);
}

/* Mode 0: one edge when the count is out. */
static void one_tick(void)
{
	g_out(0x43, 0x30, 1);
	g_out(0x40, 100, 1);
	g_out(0x40, 0, 1);
}

/* vCPU 0 cannot take its interrupt: the window stays open, and all others do without acceleration. */
static void hold_window(u32 tick)
{
	u64 others[VCPUS];

	note();
	g_cli();
	one_tick();
	while (!inhibit_stands(harness_vm, INHIBIT_IRQWIN))
		g_pause();
	G_CHECK_EQUAL(atomic32_read(&harness_vm->inhibit.windows), 1);
	G_CHECK_EQUAL(ticks, tick);
	expect_mask(INHIBIT_BIT(IRQWIN));
	expect_changes(1, 1);
	expect_account(account_of(INHIBIT_IRQWIN), tick + 1, tick, 0);
	for (u32 v = 1; v < VCPUS; v++)
		others[v] = injected(v);
	listen();
	apic_icr(0, APIC_DEST_OTHERS | APIC_LEVEL_ASSERT | PING);
	for (u32 v = 1; v < VCPUS; v++) {
		await(&seat[v].pinged, pinged[v] + 1);
		G_CHECK_EQUAL(injected(v), others[v] + 1);
		G_CHECK(!accel_is_on(&vcpu(v)->accel));
	}
	expect_changes(1, 1);
}

static void script_window(void)
{
	ticks = 0;
	init_pics();
	expect_accelerated(ALL);
	for (u32 i = 0; i < TICKS; i++) {
		hold_window(i);
		g_sti();
		await(&ticks, i + 1);
		expect_heard(ALL & ~BIT(0));
		while (inhibit_stands(harness_vm, INHIBIT_IRQWIN))
			g_in(0x40, 1); /* an exit, on the way from which it is closed */
		expect_mask(0);
		expect_changes(2, 1);
		expect_account(account_of(INHIBIT_IRQWIN), i + 1, i + 1, 0);
		expect_accelerated(ALL);
	}
	G_CHECK_EQUAL(harness_counter(COUNTER_IRQ_WINDOWS), TICKS);
	G_CHECK_EQUAL(harness_counter(COUNTER_INJ_EXTINT), TICKS);
}

/* Who has a reason of its own waits for it without: nobody else is to notice. */
static void script_window_of_unaccelerated(void)
{
	ticks = 0;
	init_pics();
	for (u32 i = 0; i < TICKS; i++) {
		u64 windows = harness_counter(COUNTER_WINDOWS);

		g_cli();
		one_tick();
		while (harness_counter(COUNTER_WINDOWS) == windows)
			g_pause();
		G_CHECK_EQUAL(ticks, i);
		G_CHECK_EQUAL(atomic32_read(&harness_vm->inhibit.windows), 0);
		g_sti();
		await(&ticks, i + 1);
	}
	expect_mask(0);
	expect_account(account_of(INHIBIT_IRQWIN), 0, 0, 0);
	G_CHECK_EQUAL(harness_counter(COUNTER_IRQ_WINDOWS), 0);
}

static void test_irq_window(void **state __unused)
{
	for (u32 split = 0; split < 2; split++) {
		on_each((struct harness){.split = split}, script_window);
		run((struct harness){.split = split, .processor = "genoa"}, script_window);
		run((struct harness){.split = split, .processor = "milan"},
		    script_window_of_unaccelerated);
	}
}

/* --- PIT_REINJ --- */

static void switch_reinjection(void)
{
	for (; !vm_has_ended(harness_vm); race_relax()) {
		if (wanted == standing)
			continue;
		pit_set_reinject(harness_vm, wanted);
		standing = wanted;
	}
}

static void script_reinjection(void)
{
	expect_accelerated(ALL);
	for (u32 i = 0; i < 2; i++) {
		note();
		from_outside(INHIBIT_BIT(PIT_REINJ));
		expect_mask(INHIBIT_BIT(PIT_REINJ));
		expect_changes(1, 1);
		expect_account(account_of(INHIBIT_PIT_REINJ), i + 1, i, INHIBIT_BY_HOST);
		expect_accelerated(0);
		note();
		from_outside(0);
		expect_mask(0);
		expect_changes(1, 0);
		expect_accelerated(ALL);
	}
}

/* On from the start, as the library has it, and never off. */
static void script_always_reinjected(void)
{
	expect_mask(INHIBIT_BIT(PIT_REINJ));
	expect_account(account_of(INHIBIT_PIT_REINJ), 1, 0, INHIBIT_BY_HOST);
	expect_accelerated(0);
	expect_mask(INHIBIT_BIT(PIT_REINJ));
	G_CHECK_EQUAL(harness_vm->mmu.counts.zaps, 0);
}

/* The end of the VM, when its devices fall silent, is no end of it: what is told then is how it was. */
static void expect_reinjection_at_end(void)
{
	const struct inhibit_account *account = account_of(INHIBIT_PIT_REINJ);

	assert_true(harness_vm->quiet);
	assert_true(inhibit_stands(harness_vm, INHIBIT_PIT_REINJ));
	assert_int_equal(account->sets, 1);
	assert_int_equal(account->clears, 0);
	assert_int_equal(inhibit_active_ns(harness_vm), 0);
}

static void test_pit_reinjection(void **state __unused)
{
	on_each((struct harness){.device = switch_reinjection}, script_reinjection);
	afterwards = expect_reinjection_at_end;
	on_each((struct harness){.reinject = true}, script_always_reinjected);
	afterwards = NULL;
}

/* --- HYPERV --- */

static void use_auto_eoi(void)
{
	g_wrmsr(MSR_HV_SINT0 + 2, 0x51 | HV_SINT_AUTO_EOI);
}

static void mask_it(void)
{
	g_wrmsr(MSR_HV_SINT0 + 2, 0x51 | HV_SINT_AUTO_EOI | HV_SINT_MASKED);
}

static void do_without(void)
{
	g_wrmsr(MSR_HV_SINT0 + 2, 0x51);
}

/* The SINT of one vCPU, for all; without AutoEOI it is nobody's. */
static void script_auto_eoi(void)
{
	do_on(1, do_without);
	expect_mask(0);
	for (u32 i = 0; i < 2; i++) {
		set_and_undo(INHIBIT_HYPERV, 1, use_auto_eoi, mask_it);
		set_and_undo(INHIBIT_HYPERV, 2, use_auto_eoi, do_without);
	}
}

static void test_auto_eoi(void **state __unused)
{
	on_each((struct harness){.hyperv = true}, script_auto_eoi);
}

/* --- STORM --- */

#define STORMS 50

static bool storming, calm;

/* As often as it can, until it is told to stop. */
static void storm(void)
{
	while (!vm_has_ended(harness_vm)) {
		calm = !storming;
		if (calm) {
			race_relax();
			continue;
		}
		inhibit_set(harness_vm, INHIBIT_STORM);
		for (u32 i = 0; i < 40; i++)
			race_relax();
		inhibit_clear(harness_vm, INHIBIT_STORM);
		for (u32 i = 0; i < 40; i++)
			race_relax();
	}
}

/*
 * Meanwhile a vCPU may wait for a window, as who is not accelerated does, and so IRQWIN stand beside the
 * storm or outlast it: then the mask is not 0 in between.
 */
static void script_storm(void)
{
	const struct inhibit_account *account = account_of(INHIBIT_STORM);
	u64 offs, sets, windows;

	expect_accelerated(ALL);
	note();
	storming = true;
	for (u32 i = 0; account->sets < STORMS; i++)
		exchange(ALL, i & 1);
	storming = false;
	for (u32 i = 0; !calm || atomic32_read(&harness_vm->inhibit.mask); i++)
		exchange(ALL, i & 1);
	sets = account->sets;
	windows = account_of(INHIBIT_IRQWIN)->sets;
	G_CHECK_EQUAL(account->clears, sets);
	G_CHECK_EQUAL(account->vcpu, INHIBIT_BY_HOST);
	G_CHECK_EQUAL(account_of(INHIBIT_IRQWIN)->clears, windows);
	offs = harness_vm->mmu.counts.zaps - before.mmu.zaps;
	G_CHECK_EQUAL(harness_vm->inhibit.rounds - before.rounds, 2 * offs);
	G_CHECK(offs >= STORMS / 2 && offs <= sets + windows);
	if (!windows)
		G_CHECK_EQUAL(offs, sets);
	expect_accelerated(ALL);
}

/* Changes among masks that are not 0 concern nobody. */
static void script_one_on_another(void)
{
	const u32 storms = INHIBIT_BIT(STORM);

	note();
	from_outside(storms);
	expect_mask(storms);
	expect_changes(1, 1);
	expect_accelerated(0);
	note();
	do_on(1, take_id_alone);
	expect_mask(storms | MODIFIED);
	from_outside(0);
	expect_mask(MODIFIED);
	from_outside(storms);
	do_on(1, take_id_1);
	expect_mask(storms);
	expect_changes(0, 0);
	expect_accelerated(0);
	note();
	from_outside(0);
	expect_mask(0);
	expect_changes(1, 0);
	expect_accelerated(ALL);
	expect_account(account_of(INHIBIT_STORM), 2, 2, INHIBIT_BY_HOST);
	expect_account(account_of(INHIBIT_APIC_ID_MODIFIED), 1, 1, 1);
}

static void test_storm(void **state __unused)
{
	on_each((struct harness){.device = storm}, script_storm);
	on_each((struct harness){.device = device}, script_one_on_another);
	run((struct harness){.device = storm, .processor = "genoa"}, script_storm);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_absent_until_created),
	        cmocka_unit_test(test_disabled_for_good),
	        cmocka_unit_test(test_irq_window),
	        cmocka_unit_test(test_pit_reinjection),
	        cmocka_unit_test(test_auto_eoi),
	        cmocka_unit_test(test_storm),
	};

	return cmocka_run_group_tests_name("inhibit", tests, NULL, NULL);
}
