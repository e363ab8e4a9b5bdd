/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * IPI virtualization under the back end: an IPI to one vCPU exits on neither side, whether its target runs, waits
 * for a processor or sleeps; what is not virtualized is sent by software; and acceleration comes and goes meanwhile, for the
 * VM and for one vCPU. That the guest's ICR never reaches the APIC of the host is the processor model's to see: it
 * ends the run there.
 */
#include "tests/model/posted_guest.h"

#define SEVERAL 4

/* --- nothing exits --- */

static void script_running(void)
{
	u64 sent = hw(HW_IPI), notified = hw(HW_DOORBELLS), rung = counter_of(1, COUNTER_DOORBELLS);

	note();
	for (u32 i = 0; i < ROUNDS; i++)
		ping(1);
	expect_exits(0, 0);
	expect_exits(1, 0);
	G_CHECK_EQUAL(hw(HW_IPI) - sent, ROUNDS);
	G_CHECK_EQUAL(hw(HW_DOORBELLS) - notified, ROUNDS);
	G_CHECK_EQUAL(counter_of(1, COUNTER_DOORBELLS), rung);
}

static void test_running_target(void **state __unused)
{
	sleeps = false;
	run((struct harness){.processor = "sapphire-rapids"}, script_running);
	run((struct harness){.processor = "sapphire-rapids", .features = MODEL_XAPIC},
	    script_running);
}

static void script_itself(void)
{
	g_sti();
	note();
	for (u32 i = 0; i < ROUNDS; i++) {
		send(0);
		await_taken(0, i + 1);
	}
	expect_exits(0, 0);
	g_cli();
}

/* By its own ID: the processor notifies itself. */
static void test_sender_itself(void **state __unused)
{
	run((struct harness){.processor = "sapphire-rapids"}, script_itself);
}

static void script_sleeping(void)
{
	u64 woken, posted;

	await_asleep(1);
	woken = counter_of(1, COUNTER_WAKEUPS);
	posted = counter_of(1, COUNTER_POSTED_WAKEUPS);
	note();
	for (u32 i = 0; i < ROUNDS; i++) {
		await_asleep(1);
		G_CHECK_EQUAL(PI_NV(atomic64_read(&desc(1)->control)), CPU_VECTOR_WAKEUP);
		ping(1);
	}
	await_asleep(1);
	expect_exits(0, 0);
	expect_exits(1, ROUNDS); /* HLT */
	G_CHECK_EQUAL(counter_of(1, COUNTER_WAKEUPS) - woken, ROUNDS);
	G_CHECK_EQUAL(counter_of(1, COUNTER_POSTED_WAKEUPS) - posted, ROUNDS);
}

static void test_sleeping_target(void **state __unused)
{
	sleeps = true;
	run((struct harness){.processor = "sapphire-rapids"}, script_sleeping);
}

/* At any instant on the way to sleep and back. */
static void script_any_instant(void)
{
	for (u32 i = 0; i < 5 * ROUNDS; i++) {
		ping(1 + i % (SEVERAL - 1));
		for (u32 wait = 0; wait < i; wait++)
			g_nop();
	}
}

static void test_on_the_way_to_sleep(void **state __unused)
{
	struct harness config = {.vcpus = SEVERAL, .processor = "sapphire-rapids"};

	sleeps = true;
	for (config.cpus = 1; config.cpus <= SEVERAL; config.cpus++) {
		for (config.seed = 0; config.seed < 5; config.seed++) {
			config.switch_ppm = config.seed ? 50000 : 0;
			run(config, script_any_instant);
		}
	}
}

/* --- what it does not send --- */

static void expect_icr(u64 icr)
{
	u64 found;

	if (harness.xapic)
		found = (u64)g_apic_read(APIC_ICR2) << 32 | g_apic_read(APIC_ICR);
	else
		found = g_rdmsr(MSR_X2APIC_FIRST + APIC_ICR / 16);
	G_CHECK_EQUAL(found, icr);
}

static u64 icr_of(u32 dest, u32 low)
{
	return (u64)(harness.xapic ? dest << 24 : dest) << 32 | low;
}

static void send_other(u32 dest, u32 low)
{
	u64 before = exits_of(0);

	g_apic_icr(dest, low);
	G_CHECK_EQUAL(exits_of(0) - before, 1);
	expect_icr(icr_of(dest, low));
	/* Reading it is no exit. */
	G_CHECK_EQUAL(exits_of(0) - before, 1);
}

static void script_others(void)
{
	u32 logical = harness.xapic ? 0x02 : 0x2, got = 0;

	if (harness.xapic)
		do_on(1, NULL);
	/* Virtualized, and what ICR reads then. */
	note();
	ping(1);
	expect_icr(icr_of(1, APIC_LEVEL_ASSERT | (VECTOR + 1)));
	expect_exits(0, 0);
	got = 1;
	send_other(0, APIC_DEST_OTHERS | APIC_LEVEL_ASSERT | (VECTOR + 1));
	await_taken(1, ++got);
	if (!harness.xapic) {
		send_other(logical, APIC_DEST_LOGICAL | APIC_LEVEL_ASSERT | (VECTOR + 1));
		await_taken(1, ++got);
		send_other(0xffffffff, APIC_LEVEL_ASSERT | (VECTOR + 1));
		await_taken(1, ++got);
		G_CHECK_EQUAL(g_wrmsr_safe(MSR_X2APIC_FIRST + APIC_ICR / 16, BIT64(20)), VECTOR_GP);
	} else {
		/* Index 255 is everybody's, and no entry. */
		send_other(0xff, APIC_LEVEL_ASSERT | (VECTOR + 1));
		await_taken(1, ++got);
	}
	send_other(1, APIC_DM_LOWEST | APIC_LEVEL_ASSERT | (VECTOR + 1));
	await_taken(1, ++got);
	send_other(9, APIC_LEVEL_ASSERT | (VECTOR + 1)); /* nobody */
	send_other(0xfe, APIC_LEVEL_ASSERT | (VECTOR + 1));
	send_other(1, APIC_LEVEL_ASSERT | 5); /* no vector */
	G_CHECK_EQUAL(taken[1], got);
	ping(1);
	expect_icr(icr_of(1, APIC_LEVEL_ASSERT | (VECTOR + 1)));
}

static void test_others_are_sent_by_software(void **state __unused)
{
	sleeps = false;
	run((struct harness){.processor = "sapphire-rapids"}, script_others);
}

static void script_as_before(void)
{
	note();
	for (u32 i = 0; i < ROUNDS; i++)
		ping(1);
	expect_exits(0, ROUNDS);
	expect_exits(1, harness.no_posted ? ROUNDS : 0);
	G_CHECK_EQUAL(hw(HW_IPI), 0);
	expect_icr(icr_of(1, APIC_LEVEL_ASSERT | (VECTOR + 1)));
}

/* It is switched off, or what it needs is. */
static void test_switched_off_for_good(void **state __unused)
{
	sleeps = false;
	run((struct harness){.processor = "sapphire-rapids", .no_ipiv = true}, script_as_before);
	run((struct harness){.processor = "sapphire-rapids", .no_posted = true}, script_as_before);
}

/* --- targets that are not accelerated for a reason of their own --- */

static void disable(void)
{
	g_apic_write(APIC_SVR, 0xff);
}

static void enable(void)
{
	g_apic_write(APIC_SVR, APIC_SVR_ENABLE | 0xff);
}

static void script_disabled(void)
{
	ping(1);
	do_on(1, disable);
	G_CHECK(!is_on(1) && is_on(0));
	note();
	send(1);
	expect_exits(0, 1); /* the table does not have it */
	do_on(1, enable);
	G_CHECK(is_on(1));
	G_CHECK_EQUAL(taken[1], 1);
	note();
	ping(1);
	expect_exits(0, 0);
	expect_exits(1, 0);
}

static void test_disabled_target(void **state __unused)
{
	sleeps = false;
	run((struct harness){.processor = "sapphire-rapids"}, script_disabled);
}

/* --- acceleration goes and comes --- */

/* While it sleeps: found by the wakeup vector or by software, as it is at that time. */
static void script_off_while_asleep(void)
{
	for (u32 i = 0; i < ROUNDS; i++) {
		await_asleep(1);
		switch_off(true);
		G_CHECK_EQUAL(atomic32_read(&vcpu(1)->sched_state), VCPU_BLOCKED);
		note();
		ping(1);
		expect_exits(0, harness.xapic ? 2 : 1); /* both halves of ICR */
		switch_off(false);
	}
}

static void script_on_while_asleep(void)
{
	for (u32 i = 0; i < ROUNDS; i++) {
		switch_off(true);
		ping(1);
		await_asleep(1);
		G_CHECK(atomic64_read(&desc(1)->control) & PI_SN);
		switch_off(false);
		while (!is_on(0))
			g_pause();
		g_apic_read(APIC_TPR); /* the page is mapped again */
		note();
		ping(1);
		expect_exits(0, 0);
	}
}

/* Without a pause in which it could fall asleep anew. */
static void script_on_at_once(void)
{
	for (u32 i = 0; i < ROUNDS; i++) {
		switch_off(true);
		ping(1);
		for (u32 wait = 0; wait < i; wait++)
			g_nop();
		switch_off(false);
		ping(1);
	}
}

static void test_switched_while_asleep(void **state __unused)
{
	struct harness config = {.device = switcher, .processor = "sapphire-rapids"};

	sleeps = true;
	run(config, script_off_while_asleep);
	run(config, script_on_while_asleep);
	for (config.seed = 0; config.seed < 10; config.seed++) {
		config.switch_ppm = config.seed ? 30000 : 0;
		run(config, script_on_at_once);
	}
}

/* Between any two instructions of any vCPU; and a vCPU that switches for itself. */
static void switch_locally(void)
{
	for (u32 i = 0; i < ROUNDS; i++) {
		disable();
		g_apic_icr(0, APIC_LEVEL_ASSERT | VECTOR);
		enable();
		g_apic_icr(0, APIC_LEVEL_ASSERT | VECTOR);
	}
}

static void script_toggled(void)
{
	g_sti();
	for (u32 i = 0; i < ROUNDS; i++) {
		u32 before = taken[1];

		g_apic_icr(1, APIC_LEVEL_ASSERT | (VECTOR + 1));
		g_apic_icr(1, APIC_DM_LOWEST | APIC_LEVEL_ASSERT | (VECTOR + 1));
		while (taken[1] == before)
			g_pause();
	}
	if (!sleeps)
		do_on(1, switch_locally);
	g_cli();
}

static void test_icr_never_reaches_the_host(void **state __unused)
{
	static const char *const every[] = {"toggled", "toggled/3", "toggled/7"};
	const char *before = getenv("POSTERN_TEST_INHIBIT");
	char *kept = before ? strdup(before) : NULL;

	for (u32 i = 0; i < ARRAY_SIZE(every); i++) {
		assert_int_equal(setenv("POSTERN_TEST_INHIBIT", every[i], 1), 0);
		for (u32 asleep = 0; asleep < 2; asleep++) {
			sleeps = asleep;
			run((struct harness){.processor = "sapphire-rapids"}, script_toggled);
			run((struct harness){.processor = "sapphire-rapids", .cpus = 1},
			    script_toggled);
		}
	}
	if (kept)
		setenv("POSTERN_TEST_INHIBIT", kept, 1);
	else
		unsetenv("POSTERN_TEST_INHIBIT");
	free(kept);
}

/* --- IDs --- */

static void script_ids(void)
{
	u32 v = harness_vm->vcpu_count - 1, id = vcpu(v)->apic_id;

	note();
	for (u32 i = 0; i < ROUNDS; i++) {
		u32 before = taken[v];

		g_apic_icr(id, APIC_LEVEL_ASSERT | (VECTOR + v));
		await_taken(v, before + 1);
	}
	expect_exits(0, id == 70000 ? ROUNDS : 0);
	expect_exits(v, 0);
	G_CHECK(is_on(0) && is_on(v));
}

/* Beyond the first page of the table; 255, which nobody in xAPIC mode is there for; and beyond what a table can have. */
static void test_large_ids(void **state __unused)
{
	static const u32 ids[] = {1, 255, 600, 0xffff, 70000};

	sleeps = false;
	for (u32 i = 0; i < ARRAY_SIZE(ids); i++) {
		create(&(struct harness){.processor = "sapphire-rapids",
		                         .apic_ids = {.count = 2, .id = {0, ids[i]}}},
		       false, script_ids);
		harness_run();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_running_target),
	        cmocka_unit_test(test_sender_itself),
	        cmocka_unit_test(test_sleeping_target),
	        cmocka_unit_test(test_on_the_way_to_sleep),
	        cmocka_unit_test(test_others_are_sent_by_software),
	        cmocka_unit_test(test_switched_off_for_good),
	        cmocka_unit_test(test_disabled_target),
	        cmocka_unit_test(test_switched_while_asleep),
	        cmocka_unit_test(test_icr_never_reaches_the_host),
	        cmocka_unit_test(test_large_ids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
