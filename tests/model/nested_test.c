/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * NESTED, with a guest of the guest that is one: a second VMCB or VMCS, a second nested root, a script of its own
 * (nested_guest.h).
 *
 * vCPU 1's L2 is seen from vCPU 0: who is accelerated, whose interrupts arrive how, whose APIC accesses
 * exit. vCPU 0's L2 is for windows: LVT0 takes ExtINT there.
 */
#include "tests/model/nested_guest.h"

/* --- L1 intercepts interrupts --- */

static void expect_nested(u32 v, u32 sets, u32 clears)
{
	for (u32 i = 0; i < VCPUS; i++)
		expect_account(&vcpu(i)->accel.account[INHIBIT_NESTED], i == v ? sets : 0,
		               i == v ? clears : 0, v);
	expect_account(account_of(INHIBIT_NESTED), 0, 0, 0);
	expect_mask(0);
	expect_changes(0, 0);
}

static void ask_cpuid(void)
{
	struct cpuid_regs r;

	g_cpuid(0x40000000, 0, &r);
	G_CHECK(r.eax);
}

static void script_intercepted(void)
{
	const struct inhibit_account *account = &vcpu(1)->accel.account[INHIBIT_NESTED];

	expect_accelerated(ALL);
	for (u32 i = 0; i < 2; i++) {
		u32 sets = (u32)account->sets;

		note();
		begin_l2(1);
		await_l2(1);
		expect_nested(1, sets + 1, sets);
		expect_second(1);
		if (!l2[1].asks.masks)
			in_l2(1, g_sti);
		exchange_with_l1(ROUNDS);
		expect_nested(1, sets + 1 + ROUNDS, sets + ROUNDS);
		in_l2(1, halt);
		G_CHECK_EQUAL(l2[1].exits[L2_HLT], i + 1);
		in_l2(1, ask_cpuid);
		G_CHECK_EQUAL(l2[1].exits[L2_CPUID], on_vmx() ? i + 1 : 0);
		await_l2(1);
		expect_second(1);
		end_l2(1);
		sets = (u32)account->sets;
		expect_nested(1, sets, sets);
		G_CHECK_EQUAL(l2[1].exits[L2_CALL], i + 1);
		expect_accelerated(ALL);
		expect_first(1);
	}
}

/* --- L1 does not --- */

static void send_to_closed(void)
{
	listen();
	apic_icr(1, APIC_LEVEL_ASSERT | PING);
	while (!vcpu(1)->intr.window_open)
		g_pause();
	G_CHECK(vendor()->has_window(vcpu(1), true));
	G_CHECK(!vendor()->has_window(vcpu(1), false));
	G_CHECK_EQUAL(vcpu(1)->accel.window, 0);
	G_CHECK_EQUAL(atomic32_read(&harness_vm->inhibit.windows), 0);
	G_CHECK_EQUAL(seat[1].pinged, pinged[1]);
	expect_mask(0);
}

/* L2 takes them, by injection into the second VMCB, and its accesses to L1's APIC all exit. */
static void script_not_intercepted(void)
{
	u64 faults;
	u32 before_pings;

	expect_accelerated(ALL);
	for (u32 i = 0; i < 2; i++) {
		note();
		begin_l2(1);
		await_l2(1);
		in_l2(1, g_sti);
		faults = exits(1, EXIT_MEMORY);
		before_pings = seat[1].pinged;
		expect_only(ALL & ~BIT(1), ALL, true);
		expect_second(1);
		/* ICR2, ICR and EOI; the last one may not be yet. */
		while (exits(1, EXIT_MEMORY) < faults + (seat[1].pinged - before_pings) * 3)
			g_pause();
		G_CHECK_EQUAL(exits(1, EXIT_MEMORY), faults + (seat[1].pinged - before_pings) * 3);
		in_l2(1, g_cli);
		send_to_closed();
		in_l2(1, g_sti);
		expect_heard(BIT(1));
		end_l2(1);
		expect_accelerated(ALL);
		expect_first(1);
	}
	G_CHECK_EQUAL(l2[1].exits[L2_INTR], 0);
	G_CHECK_EQUAL(vcpu(1)->accel.account[INHIBIT_NESTED].sets, 2);
	G_CHECK_EQUAL(harness_counter(COUNTER_IRQ_WINDOWS), 0);
}

/* --- a reason of the VM's comes and goes meanwhile, by L2's own doing: L1's ID --- */

static void script_other_reason(void)
{
	expect_accelerated(ALL);
	begin_l2(1);
	await_l2(1);
	in_l2(1, g_sti);
	for (u32 i = 0; i < 2; i++) {
		note();
		in_l2(1, take_id_alone);
		expect_mask(MODIFIED);
		expect_changes(1, 1);
		expect_only(0, ALL, false);
		in_l2(1, take_id_1);
		await_no_windows();
		expect_mask(0);
		expect_only(ALL & ~BIT(1), ALL, true);
		expect_second(1);
	}
	end_l2(1);
	expect_accelerated(ALL);
	set_and_undo(INHIBIT_APIC_ID_MODIFIED, 1, take_id_alone, take_id_1);
	expect_first(1);
}

/* --- wrong code: L2 on L1's root --- */

static void read_version(void)
{
	G_CHECK(g_mmio_read(APIC_BASE_DEFAULT + APIC_VERSION));
}

static void use_first_root(void)
{
	vendor()->use_first_root(self());
	g_in(0x40, 1); /* an exit: the next entry has it */
}

static void script_wrong_root(void)
{
	u64 faults;

	expect_accelerated(ALL);
	begin_l2(1);
	await_l2(1);
	faults = exits(1, EXIT_MEMORY);
	in_l2(1, read_version);
	G_CHECK_EQUAL(exits(1, EXIT_MEMORY), faults + 1);
	in_l2(1, use_first_root);
	in_l2(1, read_version);
	g_exit(0);
}

/* --- windows, in vCPU 0's own L2 --- */

#define TICK 0x30

static u32 ticks, ticks_in_l2;

static void on_tick(u8 vector __unused, u32 error __unused)
{
	ticks++;
	ticks_in_l2 += vcpu(0)->guest_mode;
	G_CHECK(!accel_is_on(&vcpu(0)->accel) || !takes_away(INHIBIT_IRQWIN));
	g_out(0x20, 0x20, 1);
}

/* The first 8259 passes IRQ 0 to the guest that unmasks it. */
static void init_pic(void)
{
	static const u8 words[] = {TICK, 0x04, 0x01, 0xfe};

	ticks = ticks_in_l2 = 0;
	g_out(0x20, 0x11, 1);
	for (u32 i = 0; i < ARRAY_SIZE(words); i++)
		g_out(0x21, words[i], 1);
	g_set_handler(TICK, on_tick);
	apic_write(APIC_LVT0, APIC_DM_EXTINT);
}

static void mask_pic(void)
{
	g_out(0x21, 0xff, 1);
}

static void unmask_pic(void)
{
	g_out(0x21, 0xfe, 1);
}

/* Mode 0: one edge when the count is out. */
static void one_tick(void)
{
	g_out(0x43, 0x30, 1);
	g_out(0x40, 100, 1);
	g_out(0x40, 0, 1);
}

/* Requirement S0.1: count = flags, and IRQWIN with them, as nothing else stands here. */
static void expect_windows(u32 flags)
{
	u32 set = 0;

	for (u32 v = 0; v < VCPUS; v++)
		set += vcpu(v)->accel.window;
	G_CHECK_EQUAL(vcpu(0)->accel.window, flags);
	G_CHECK_EQUAL(set, flags);
	G_CHECK_EQUAL(atomic32_read(&harness_vm->inhibit.windows), flags);
	expect_mask(flags ? INHIBIT_BIT(IRQWIN) : 0);
}

/* Whoever is to be, is, and goes on to be. */
static void await_others(bool accelerated)
{
	for (u32 v = 1; v < VCPUS; v++)
		while (accel_is_on(&vcpu(v)->accel) != accelerated)
			g_pause();
}

/* An exit at which a window that nobody needs is closed. */
static void await_closed(void)
{
	while (vcpu(0)->accel.window)
		g_in(0x40, 1);
	expect_windows(0);
	await_others(true);
}

static void open_in_l1(void)
{
	g_cli();
	one_tick();
	while (!vcpu(0)->accel.window || !inhibit_stands(harness_vm, INHIBIT_IRQWIN))
		g_pause();
	expect_windows(1);
	await_others(false);
}

static void run_own_l2(u32 what, bool masks, void (*order)(void))
{
	l2[0].asks = (struct l2_asks){.what = what, .masks = masks};
	l2[0].order = order;
	l2[0].fresh = true;
	run_l2();
}

static void look_and_end(void)
{
	expect_windows(1);
	g_in(0x40, 1);
	expect_windows(1);
	await_others(false);
	G_CHECK_EQUAL(vcpu(0)->accel.local, INHIBIT_BIT(NESTED));
	g_vmmcall();
}

/* Open, enter, leave, close. */
static void script_kept(void)
{
	u32 before_ticks = ticks;

	open_in_l1();
	run_own_l2(KVM_LIKE, true, look_and_end);
	expect_windows(1);
	G_CHECK_EQUAL(ticks, before_ticks);
	g_sti();
	await(&ticks, before_ticks + 1);
	await_closed();
}

static void close_and_end(void)
{
	expect_windows(1);
	seat[1].order = mask_pic;
	while (seat[1].order)
		g_pause();
	await_closed();
	g_vmmcall();
}

/* Open, enter, close. */
static void script_closed_in_l2(void)
{
	u32 before_ticks = ticks;
	u64 clears = account_of(INHIBIT_IRQWIN)->clears;

	open_in_l1();
	run_own_l2(KVM_LIKE, true, close_and_end);
	expect_windows(0);
	G_CHECK_EQUAL(account_of(INHIBIT_IRQWIN)->clears, clears + 1);
	G_CHECK_EQUAL(ticks, before_ticks);
	unmask_pic();
	g_sti();
	await(&ticks, before_ticks + 1);
	await_closed();
}

static void take_and_end(void)
{
	u32 before_ticks = ticks;

	expect_windows(1);
	g_sti();
	await(&ticks, before_ticks + 1);
	await_closed();
	g_vmmcall();
}

/* The same where L2 takes the interrupt. */
static void script_taken_in_l2(void)
{
	u32 before_ticks = ticks, before_l2 = ticks_in_l2;

	open_in_l1();
	run_own_l2(0, false, take_and_end);
	expect_windows(0);
	G_CHECK_EQUAL(ticks, before_ticks + 1);
	G_CHECK_EQUAL(ticks_in_l2, before_l2 + 1);
	g_sti();
}

static void open_and_end(void)
{
	u64 windows = harness_counter(COUNTER_WINDOWS);
	u32 before_ticks = ticks;

	expect_windows(0);
	one_tick();
	while (harness_counter(COUNTER_WINDOWS) == windows)
		g_pause();
	G_CHECK(vcpu(0)->intr.window_open);
	expect_windows(0);
	await_others(true);
	g_sti();
	await(&ticks, before_ticks + 1);
	expect_windows(0);
	g_vmmcall();
}

/* A window that is opened in L2 does not count. */
static void script_opened_in_l2(void)
{
	u64 opened = harness_counter(COUNTER_IRQ_WINDOWS);

	run_own_l2(0, false, open_and_end);
	G_CHECK_EQUAL(harness_counter(COUNTER_IRQ_WINDOWS), opened);
	expect_windows(0);
}

static void tick_and_end(void)
{
	u32 before_ticks = ticks;

	g_cli();
	one_tick();
	if (!l2[0].asks.masks)
		g_sti(); /* it is L2's flag that gates L1's interrupts */
	await(&ticks, before_ticks + 1);
	g_vmmcall();
}

/* Nor does one that L2 takes no part in, since L1 gets the interrupt: there it needs one that does. */
static void script_left_for_l1(bool masks)
{
	u32 left = l2[0].exits[L2_INTR], before_l2 = ticks_in_l2;
	u64 opened = harness_counter(COUNTER_IRQ_WINDOWS);

	run_own_l2(KVM_LIKE, masks, tick_and_end);
	G_CHECK_EQUAL(l2[0].exits[L2_INTR], left + 1);
	G_CHECK_EQUAL(ticks_in_l2, before_l2);
	G_CHECK_EQUAL(harness_counter(COUNTER_IRQ_WINDOWS), opened + 1);
	await_closed();
}

static void script_windows(void)
{
	init_pic();
	expect_accelerated(ALL);
	for (u32 i = 0; i < 2; i++) {
		script_kept();
		script_closed_in_l2();
		script_taken_in_l2();
		script_opened_in_l2();
		script_left_for_l1(true);
		script_left_for_l1(false);
	}
	expect_accelerated(ALL);
	G_CHECK_EQUAL(account_of(INHIBIT_IRQWIN)->sets, account_of(INHIBIT_IRQWIN)->clears);
}

/* --- windows that do not count: in the control block that is in use, and in that alone --- */

static void expect_window(bool first, bool second)
{
	G_CHECK_EQUAL(vcpu(0)->intr.window_open, first || second);
	G_CHECK_EQUAL(vendor()->has_window(vcpu(0), false), first);
	if (vcpu(0)->guest_mode)
		G_CHECK_EQUAL(vendor()->has_window(vcpu(0), true), second);
	G_CHECK_EQUAL(vcpu(0)->accel.window, 0);
	G_CHECK_EQUAL(atomic32_read(&harness_vm->inhibit.windows), 0);
}

static void await_tick(void)
{
	g_cli();
	one_tick();
	while (!vcpu(0)->intr.window_open)
		g_pause();
}

static void see_window_and_end(void)
{
	expect_window(false, true);
	g_in(0x40, 1);
	expect_window(false, true);
	g_vmmcall();
}

static void lose_window_and_end(void)
{
	expect_window(false, true);
	seat[1].order = mask_pic;
	while (seat[1].order)
		g_pause();
	while (vcpu(0)->intr.window_open)
		g_in(0x40, 1);
	expect_window(false, false);
	g_vmmcall();
}

static void await_tick_and_end(void)
{
	await_tick();
	expect_window(false, true);
	g_vmmcall();
}

static void take_in_l2_and_end(void)
{
	u32 before_ticks = ticks;

	if (!vcpu(0)->intr.window_open)
		await_tick();
	expect_window(false, true);
	g_sti();
	await(&ticks, before_ticks + 1);
	expect_window(false, false);
	g_cli();
	g_vmmcall();
}

/* L1's, which L2 keeps, closes, or takes the interrupt of; and L2's own, which may last until L1. */
static void script_plain_windows(void)
{
	u32 before_ticks, left;

	init_pic();
	l2[0].closed = true;
	for (u32 i = 0; i < 2; i++) {
		before_ticks = ticks;
		await_tick();
		expect_window(true, false);
		run_own_l2(0, false, see_window_and_end);
		expect_window(true, false);
		run_own_l2(0, false, lose_window_and_end);
		expect_window(false, false);
		unmask_pic();
		run_own_l2(0, false, take_in_l2_and_end);
		expect_window(false, false);
		G_CHECK_EQUAL(ticks, before_ticks + 1);
		G_CHECK_EQUAL(ticks_in_l2, i + 1);
		run_own_l2(0, false, await_tick_and_end);
		expect_window(true, false);
		g_sti();
		await(&ticks, before_ticks + 2);
		left = l2[0].exits[L2_INTR];
		l2[0].closed = false;
		run_own_l2(KVM_LIKE, true, tick_and_end);
		l2[0].closed = true;
		G_CHECK_EQUAL(l2[0].exits[L2_INTR], left + 1);
		G_CHECK_EQUAL(ticks, before_ticks + 3);
		G_CHECK_EQUAL(ticks_in_l2, i + 1);
		g_sti();
	}
}

/* --- where nothing is accelerated, or in x2APIC mode: no root changes, and the control block does --- */

/* L2's own, since L1 masks; L1's is 0 all the while. */
static void raise_own_tpr(void)
{
	g_write_cr8(9);
}

static void script_plain(void)
{
	for (u32 i = 0; i < 3; i++) {
		begin_l2(1);
		await_l2(1);
		for (u32 r = 0; r < ROUNDS; r++) {
			exchange(ALL, r & 1);
			await_l2(1);
		}
		in_l2(1, halt);
		in_l2(1, ask_cpuid);
		await_l2(1);
		expect_second(1);
		G_CHECK_EQUAL(l2[1].exits[L2_INTR], (i + 1) * ROUNDS);
		G_CHECK_EQUAL(l2[1].exits[L2_HLT], i + 1);
		in_l2(1, raise_own_tpr);
		end_l2(1);
		exchange(ALL, true);
		G_CHECK_EQUAL(lapic_cr8(vcpu(1)), 0);
	}
}

/* --- from processor to processor: three on two, and halts that only Postern sees --- */

static u32 times_moved;

/* Between two operations of its script: it runs elsewhere from now on. */
static void note_place(void)
{
	static const struct cpu *last;
	const struct cpu *now = ptr_read(&self()->cpu);

	times_moved += now != last;
	last = now;
}

static void halt_open(void)
{
	g_sti();
	g_hlt();
	note_place();
}

static void script_moves(void)
{
	times_moved = 0;
	begin_l2(1);
	for (u32 r = 0; r < 4 * ROUNDS; r++) {
		await_l2(1);
		move_in_l2(1, r, halt_open);
		exchange(ALL, r & 1);
	}
	end_l2(1);
	exchange(ALL, true);
	expect_first(1);
	G_CHECK(times_moved >= 2 * ROUNDS);
}

/* --- the ends of an L2 that are not its own --- */

static void script_init(void)
{
	expect_l1();
	for (u32 i = 0; i < 2; i++) {
		begin_l2(1);
		await_l2(1);
		seat[1].order = NULL;
		for (u32 v = 1; v < VCPUS; v++)
			seat[v].up = false;
		l2[1].up = false;
		g_start_aps();
		for (u32 v = 1; v < VCPUS; v++)
			while (!seat[v].up)
				g_pause();
		G_CHECK_EQUAL(vendor()->why(&l2[1].block), L2_INIT);
		G_CHECK(!vcpu(1)->guest_mode);
		l2[1].fresh = true;
		expect_l1();
		expect_first(1);
	}
}

static void exit_with_window(void)
{
	if (takes_away(INHIBIT_IRQWIN))
		expect_windows(1);
	else
		expect_window(false, true);
	g_exit(0);
}

static void script_end(void)
{
	init_pic();
	expect_l1();
	begin_l2(1);
	if (takes_away(INHIBIT_IRQWIN))
		open_in_l1();
	else
		await_tick();
	run_own_l2(0, false, exit_with_window);
}

/* --- */

static void test_l1_intercepts(void **state __unused)
{
	run_nested(script_intercepted, KVM_LIKE, true);
	run_nested(script_intercepted, KVM_LIKE, false);
}

static void test_l1_does_not_intercept(void **state __unused)
{
	run_nested(script_not_intercepted, 0, false);
}

static void test_other_reason_meanwhile(void **state __unused)
{
	run_nested(script_other_reason, 0, false);
}

static void test_other_modes(void **state __unused)
{
	prepare_run(KVM_LIKE, true);
	run((struct harness){.processor = "genoa", .no_accel = true}, script_plain);
	run((struct harness){.processor = "broadwell", .no_accel = true}, script_plain);
	/* What the processor keeps of one VMCB is not the other's. */
	run((struct harness){.processor = "genoa", .xapic = true, .features = MODEL_CLEAN_BITS},
	    script_plain);
	run((struct harness){.processor = "barcelona", .features = MODEL_CLEAN_BITS}, script_plain);
}

/* The one that the run names, or those without acceleration. */
static void run_plain(struct harness config, void (*script)(void))
{
	static const char *const names[] = {"barcelona", "westmere"};
	const char *only = getenv("POSTERN_TEST_CPU");

	for (u32 i = 0; i < (only ? 1 : ARRAY_SIZE(names)); i++) {
		config.processor = only ? only : names[i];
		run(config, script);
	}
}

static void test_unaccelerated(void **state __unused)
{
	run_x2apic(script_plain, KVM_LIKE, true);
	run_plain((struct harness){.xapic = true}, script_plain);
}

static void test_moves(void **state __unused)
{
	prepare_run(ASK_INTR, false);
	run_plain((struct harness){.cpus = 2}, script_moves);
	run_plain((struct harness){.cpus = 2, .xapic = true}, script_moves);
}

static void test_windows_unaccelerated(void **state __unused)
{
	prepare_run(0, false);
	run_plain((struct harness){.xapic = true, .no_accel = true}, script_plain_windows);
}

/* The processor model says when an access reaches what the APIC's page is mapped to. */
static void test_wrong_root_is_seen(void **state __unused)
{
	prepare_run(0, false);
	for (u32 i = 0; i < ARRAY_SIZE(processors); i++) {
		if (!processors[i].modes)
			continue;
		create((struct harness){.xapic = true, .processor = processors[i].name},
		       script_wrong_root);
		vm_start(harness_vm);
		assert_false(posix_run_stepper());
		assert_non_null(strstr(posix_failure(), "went past the hypervisor"));
		harness_vm = NULL;
	}
}

/* Where they do not count nobody notices that vCPU 0 waits for one, or that its L2 does. */
static void script_any_windows(void)
{
	if (takes_away(INHIBIT_IRQWIN)) {
		script_windows();
		return;
	}
	expect_accelerated(ALL);
	note();
	script_plain_windows();
	expect_changes(0, 0);
	expect_account(account_of(INHIBIT_IRQWIN), 0, 0, 0);
	G_CHECK_EQUAL(harness_counter(COUNTER_IRQ_WINDOWS), 0);
	for (u32 v = 1; v < VCPUS; v++)
		G_CHECK_EQUAL(vcpu(v)->accel.account[INHIBIT_NESTED].sets, 0);
	expect_accelerated(ALL);
}

static void test_windows(void **state __unused)
{
	run_nested(script_any_windows, 0, false);
}

static void test_init_in_l2(void **state __unused)
{
	run_nested(script_init, KVM_LIKE, true);
}

static void test_end_in_l2(void **state __unused)
{
	run_nested(script_end, KVM_LIKE, true);
}

int main(void)
{
	static const struct CMUnitTest accelerated[] = {
	        cmocka_unit_test(test_l1_intercepts),
	        cmocka_unit_test(test_l1_does_not_intercept),
	        cmocka_unit_test(test_other_reason_meanwhile),
	        cmocka_unit_test(test_windows),
	        cmocka_unit_test(test_other_modes),
	        cmocka_unit_test(test_wrong_root_is_seen),
	};
	static const struct CMUnitTest any[] = {
	        cmocka_unit_test(test_init_in_l2),    cmocka_unit_test(test_end_in_l2),
	        cmocka_unit_test(test_unaccelerated), cmocka_unit_test(test_windows_unaccelerated),
	        cmocka_unit_test(test_moves),
	};
	int failed = cmocka_run_group_tests_name("nested", any, NULL, NULL);

	/* Those name their processors. */
	if (!getenv("POSTERN_TEST_CPU"))
		failed +=
		        cmocka_run_group_tests_name("nested_accelerated", accelerated, NULL, NULL);
	return failed;
}
