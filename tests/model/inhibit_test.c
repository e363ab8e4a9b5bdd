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
	G_CHECK_EQUAL(harness_vm->inhibit.rounds, can_accelerate() ? 2 : 1);
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
	for (u32 i = 0; i < ARRAY_SIZE(processors); i++)
		run((struct harness){.processor = processors[i].name, .no_accel = true},
		    script_disabled);
}

/* --- IRQWIN --- */

#define TICK  0x30
#define TICKS 3

static u32 ticks;

/* The window takes acceleration from the VM for as long as it is open. */
static bool windows_count(void)
{
	return takes_away(INHIBIT_IRQWIN);
}

/* ExtINT is injected, on SVM to nobody who is accelerated. */
static void on_tick(u8 vector __unused, u32 error __unused)
{
	ticks++;
	if (windows_count())
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

static bool window_is_open(void)
{
	return windows_count() ? inhibit_stands(harness_vm, INHIBIT_IRQWIN)
	                       : vcpu(0)->intr.window_open;
}

/*
 * vCPU 0 cannot take its interrupt: the window stays open. Where that counts all others do without acceleration;
 * else nobody notices, vCPU 0 itself included.
 */
static void hold_window(u32 tick)
{
	u32 one = windows_count();
	bool on = can_accelerate() && !one;
	u64 others[VCPUS];

	note();
	g_cli();
	one_tick();
	while (!window_is_open())
		g_pause();
	G_CHECK_EQUAL(atomic32_read(&harness_vm->inhibit.windows), one);
	G_CHECK_EQUAL(ticks, tick);
	expect_mask(one ? INHIBIT_BIT(IRQWIN) : 0);
	expect_changes(one, one);
	expect_account(account_of(INHIBIT_IRQWIN), one * (tick + 1), one * tick, 0);
	for (u32 v = 1; v < VCPUS; v++)
		others[v] = injected(v);
	listen();
	apic_icr(0, APIC_DEST_OTHERS | APIC_LEVEL_ASSERT | PING);
	for (u32 v = 1; v < VCPUS; v++) {
		await(&seat[v].pinged, pinged[v] + 1);
		G_CHECK_EQUAL(injected(v), others[v] + !on);
		G_CHECK_EQUAL(accel_is_on(&vcpu(v)->accel), on);
	}
	G_CHECK_EQUAL(accel_is_on(&vcpu(0)->accel), on);
	G_CHECK_EQUAL(ticks, tick);
	expect_changes(one, one);
}

static void script_window(void)
{
	u32 one = windows_count();

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
		expect_changes(2 * one, one);
		expect_account(account_of(INHIBIT_IRQWIN), one * (i + 1), one * (i + 1), 0);
		expect_accelerated(ALL);
	}
	G_CHECK_EQUAL(harness_counter(COUNTER_IRQ_WINDOWS), one * TICKS);
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
		G_CHECK(!accel_is_on(&vcpu(0)->accel));
		g_sti();
		await(&ticks, i + 1);
	}
	expect_mask(0);
	expect_account(account_of(INHIBIT_IRQWIN), 0, 0, 0);
	G_CHECK_EQUAL(harness_counter(COUNTER_IRQ_WINDOWS), 0);
}

/* Without its APIC the processor has INTR for itself. */
static void script_window_of_disabled(void)
{
	g_wrmsr(MSR_APIC_BASE, g_rdmsr(MSR_APIC_BASE) & ~(u64)APIC_BASE_EN);
	script_window_of_unaccelerated();
	for (u32 v = 1; v < VCPUS; v++)
		G_CHECK_EQUAL(accel_is_on(&vcpu(v)->accel), can_accelerate());
}

static void test_irq_window(void **state __unused)
{
	for (u32 split = 0; split < 2; split++) {
		struct harness config = {.split = split};

		on_each(config, script_window);
		if (!split)
			on_each(config, script_window_of_disabled);
		for (u32 i = 0; i < ARRAY_SIZE(processors); i++) {
			bool x2apic = processors[i].modes & ACCEL_MODE(ACCEL_X2APIC);

			config.processor = processors[i].name;
			run(config, x2apic ? script_window : script_window_of_unaccelerated);
		}
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

/* Where it is no reason against acceleration nothing changes. */
static void script_reinjection(void)
{
	u32 one = has_reason(INHIBIT_PIT_REINJ);

	expect_accelerated(ALL);
	for (u32 i = 0; i < 2; i++) {
		note();
		from_outside(INHIBIT_BIT(PIT_REINJ));
		expect_mask(INHIBIT_BIT(PIT_REINJ));
		expect_changes(one, one);
		expect_account(account_of(INHIBIT_PIT_REINJ), one * (i + 1), one * i,
		               INHIBIT_BY_HOST);
		expect_accelerated(one ? 0 : ALL);
		note();
		from_outside(0);
		expect_mask(0);
		expect_changes(one, 0);
		expect_accelerated(ALL);
	}
}

/* On from the start, as the library has it, and never off. */
static void script_always_reinjected(void)
{
	u32 one = has_reason(INHIBIT_PIT_REINJ);

	expect_mask(INHIBIT_BIT(PIT_REINJ));
	expect_account(account_of(INHIBIT_PIT_REINJ), one, 0, INHIBIT_BY_HOST);
	expect_accelerated(one ? 0 : ALL);
	expect_mask(INHIBIT_BIT(PIT_REINJ));
	G_CHECK_EQUAL(harness_vm->mmu.counts.zaps, 0);
}

/* The end of the VM, when its devices fall silent, is no end of it: what is told then is how it was. */
static void expect_reinjection_at_end(void)
{
	const struct inhibit_account *account = account_of(INHIBIT_PIT_REINJ);
	u32 one = has_reason(INHIBIT_PIT_REINJ);

	assert_true(harness_vm->quiet);
	assert_int_equal(inhibit_stands(harness_vm, INHIBIT_PIT_REINJ), one);
	assert_int_equal(account->sets, one);
	assert_int_equal(account->clears, 0);
	assert_int_equal(inhibit_active_ns(harness_vm) > 0, can_accelerate() && !one);
}

#define PIN_TICK  0x59
#define PIT_PIN   2
#define PIT_COUNT 500
#define REINJECTS 20

static u32 pin_ticks;

static void on_pin_tick(u8 vector __unused, u32 error __unused)
{
	pin_ticks++;
	apic_write(APIC_EOI, 0);
}

/* Without the guest's doing anything that exits. */
static void pass_periods(u64 n)
{
	u64 until = g_rdtsc() + n * PIT_COUNT * POSIX_TSC_KHZ * 1000 / PIT_HZ;

	while (g_rdtsc() < until)
		g_pause();
}

/*
 * Ticks by the I/O APIC, where the end that reinjection waits for is the EOI of an edge. A processor that goes on
 * delivering tells of just those: none is lost while interrupts are off, and each EOI exits; then none does.
 */
static void script_reinjected_by_pin(void)
{
	u32 one = has_reason(INHIBIT_PIT_REINJ), before_ticks;
	bool tells = can_accelerate() && !one;
	u64 ends, begun;

	g_set_handler(PIN_TICK, on_pin_tick);
	pin_ticks = 0;
	from_outside(INHIBIT_BIT(PIT_REINJ));
	expect_accelerated(one ? 0 : ALL);
	ends = harness_exits(EXIT_EOI);
	g_mmio_write(IOAPIC_BASE, 0x10 + 2 * PIT_PIN);
	g_mmio_write(IOAPIC_BASE + 0x10, PIN_TICK);
	g_out(0x43, 0x34, 1);
	g_out(0x40, PIT_COUNT & 0xff, 1);
	g_out(0x40, PIT_COUNT >> 8, 1);
	begun = g_rdtsc();
	while (!pin_ticks)
		g_pause();
	g_cli();
	pass_periods(REINJECTS / 2);
	G_CHECK(pin_ticks <= 2);
	g_sti();
	while (pin_ticks < REINJECTS)
		g_pause();
	G_CHECK((g_rdtsc() - begun) * PIT_HZ / (PIT_COUNT * POSIX_TSC_KHZ * 1000) <= REINJECTS + 1);
	G_CHECK_EQUAL(accel_is_on(&vcpu(0)->accel), tells);
	/* Mode 4: no more of them. */
	g_out(0x43, 0x38, 1);
	pass_periods(1);
	before_ticks = pin_ticks;
	G_CHECK_EQUAL(harness_exits(EXIT_EOI) - ends, tells ? before_ticks : 0);
	from_outside(0);
	expect_accelerated(ALL);
	ends = harness_exits(EXIT_EOI);
	one_tick();
	await(&pin_ticks, before_ticks + 1);
	g_in(0x40, 1);
	G_CHECK_EQUAL(harness_exits(EXIT_EOI), ends);
}

static void test_pit_reinjection(void **state __unused)
{
	on_each((struct harness){.device = switch_reinjection}, script_reinjection);
	on_each((struct harness){.device = switch_reinjection}, script_reinjected_by_pin);
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
	for (u32 i = 0; !calm || atomic32_read(&harness_vm->inhibit.mask) & ~INHIBIT_BIT(DISABLED);
	     i++)
		exchange(ALL, i & 1);
	sets = account->sets;
	windows = account_of(INHIBIT_IRQWIN)->sets;
	G_CHECK_EQUAL(account->clears, sets);
	G_CHECK_EQUAL(account->vcpu, INHIBIT_BY_HOST);
	G_CHECK_EQUAL(account_of(INHIBIT_IRQWIN)->clears, windows);
	offs = harness_vm->mmu.counts.zaps - before.mmu.zaps;
	G_CHECK_EQUAL(harness_vm->inhibit.rounds - before.rounds, 2 * offs);
	if (!can_accelerate()) {
		G_CHECK_EQUAL(offs + windows, 0);
	} else {
		G_CHECK(offs >= STORMS / 2 && offs <= sets + windows);
		G_CHECK(has_reason(INHIBIT_IRQWIN) || !windows);
		if (!windows)
			G_CHECK_EQUAL(offs, sets);
	}
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
	for (u32 i = 0; i < ARRAY_SIZE(processors); i++)
		if (processors[i].modes & ACCEL_MODE(ACCEL_X2APIC))
			run((struct harness){.device = storm, .processor = processors[i].name},
			    script_storm);
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
