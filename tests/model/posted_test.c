/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Posted interrupts under the back end: software posts, and the processor of a target that runs collects without an
 * exit. What becomes of a descriptor while its vCPU runs, waits for a processor, moves and sleeps; and the same
 * without the feature.
 */
#include "tests/model/posted_guest.h"

#define PREEMPTION_VCPUS 4

/* --- a target that runs --- */

static void script_running(void)
{
	u64 rung = counter_of(1, COUNTER_DOORBELLS), kicked = counter_of(1, COUNTER_KICKS);

	note();
	for (u32 i = 0; i < ROUNDS; i++)
		ping(1);
	/* The sender's, one for each, and not its target's. */
	expect_exits(0, ROUNDS);
	expect_exits(1, 0);
	G_CHECK_EQUAL(counter_of(1, COUNTER_DOORBELLS) - rung, ROUNDS);
	G_CHECK_EQUAL(counter_of(1, COUNTER_KICKS), kicked);
	G_CHECK_EQUAL(counter_of(1, COUNTER_INJ_IPI), 0);
	G_CHECK(is_on(0) && is_on(1));
	/* Nothing is left to be told. */
	G_CHECK(!(atomic64_read(&desc(1)->control) & (PI_ON | PI_SN)));
}

static void test_running_target_does_not_exit(void **state __unused)
{
	sleeps = false;
	run((struct harness){.processor = "broadwell"}, script_running);
}

/* The processor lacks it, or it is switched off: what is posted is collected by software, behind an exit. */
static void script_unposted(void)
{
	u64 kicked = counter_of(1, COUNTER_KICKS);

	note();
	for (u32 i = 0; i < ROUNDS; i++)
		ping(1);
	expect_exits(0, ROUNDS);
	expect_exits(1, ROUNDS);
	G_CHECK_EQUAL(counter_of(1, COUNTER_KICKS) - kicked, ROUNDS);
	G_CHECK_EQUAL(counter_of(1, COUNTER_DOORBELLS), 0);
	G_CHECK(is_on(0) && is_on(1));
}

static void test_without_posted_interrupts(void **state __unused)
{
	sleeps = false;
	run((struct harness){.processor = "broadwell-unposted"}, script_unposted);
	run((struct harness){.processor = "broadwell", .no_posted = true}, script_unposted);
	run((struct harness){.processor = "sapphire-rapids", .no_posted = true}, script_unposted);
}

/* Several before it is looked at once: one notification, and none is lost. */
static void collect(void)
{
	/* Interrupts off: the processor collects all the same, and delivers none. */
	g_cli();
	up[1] = false;
	while (!up[1])
		g_pause();
	g_sti();
	g_nop();
}

static void script_masked(void)
{
	orders[1] = collect;
	while (up[1])
		g_pause();
	note();
	send(1);
	send(1);
	expect_exits(1, 0);
	G_CHECK_EQUAL(taken[1], 0);
	up[1] = true;
	await_taken(1, 1);
	G_CHECK_EQUAL(harness_counter(COUNTER_COALESCED) + hw(HW_COALESCED), 1);
	expect_exits(1, 0);
}

static void test_collected_with_interrupts_off(void **state __unused)
{
	sleeps = false;
	run((struct harness){.processor = "broadwell"}, script_masked);
}

/* --- a target that sleeps: software wakes it --- */

static void script_sleeping(void)
{
	u64 woken = counter_of(1, COUNTER_WAKEUPS);

	await_asleep(1);
	note();
	for (u32 i = 0; i < ROUNDS; i++) {
		await_asleep(1);
		/* Nobody else posts: it is not to be notified. */
		G_CHECK(atomic64_read(&desc(1)->control) & PI_SN);
		ping(1);
	}
	await_asleep(1);
	expect_exits(0, ROUNDS);
	expect_exits(1, ROUNDS); /* HLT */
	G_CHECK_EQUAL(counter_of(1, COUNTER_WAKEUPS) - woken, ROUNDS);
	G_CHECK_EQUAL(counter_of(1, COUNTER_POSTED_WAKEUPS), 0);
}

static void test_sleeping_target(void **state __unused)
{
	sleeps = true;
	run((struct harness){.processor = "broadwell"}, script_sleeping);
}

/* --- one that waits for a processor, or goes to another one --- */

static void script_preempted(void)
{
	for (u32 i = 0; i < ROUNDS; i++)
		for (u32 v = 1; v < PREEMPTION_VCPUS; v++)
			send(v);
	for (u32 v = 1; v < PREEMPTION_VCPUS; v++)
		while (!taken[v] || lapic_holds(&vcpu(v)->lapic, (u8)(VECTOR + v)))
			g_pause();
	for (u32 i = 0; i < ROUNDS; i++)
		for (u32 v = 1; v < PREEMPTION_VCPUS; v++)
			ping(v);
	G_CHECK(sleeps || harness_counter(COUNTER_PREEMPTED) > 0);
}

static void test_preempted_target(void **state __unused)
{
	static const char *const processors[] = {"broadwell-unposted", "broadwell",
	                                         "sapphire-rapids"};

	for (u32 i = 0; i < ARRAY_SIZE(processors); i++) {
		for (u32 cpus = 1; cpus < 3; cpus++) {
			struct harness config = {.vcpus = PREEMPTION_VCPUS,
			                         .cpus = cpus,
			                         .processor = processors[i]};

			sleeps = false;
			run(config, script_preempted);
			sleeps = true;
			run(config, script_preempted);
		}
	}
}

/* NV, NDST and SN of one that runs, on whichever processor and whatever the mode of the physical APICs. */
static void expect_here(u32 v)
{
	u64 control = atomic64_read(&desc(v)->control);
	u32 id = ptr_read(&vcpu(v)->cpu)->apic_id;

	G_CHECK_EQUAL(PI_NV(control), CPU_VECTOR_NOTIFY);
	G_CHECK_EQUAL(PI_NDST(control), harness.features & MODEL_XAPIC ? id << 8 : id);
	G_CHECK(!(control & PI_SN));
}

static void look(void)
{
	expect_here(own_number());
}

static void script_moving(void)
{
	u64 moved = harness_counter(COUNTER_MIGRATIONS);

	/* All at once: more than there are processors for. */
	for (u32 i = 0; i < ROUNDS; i++) {
		for (u32 v = 1; v < PREEMPTION_VCPUS; v++) {
			orders[v] = look;
			send(v);
		}
		for (u32 v = 1; v < PREEMPTION_VCPUS; v++) {
			while (orders[v])
				g_pause();
			await_taken(v, i + 1);
		}
		expect_here(0);
	}
	G_CHECK(harness_counter(COUNTER_MIGRATIONS) > moved);
}

static void test_notifications_follow(void **state __unused)
{
	struct harness config = {.vcpus = PREEMPTION_VCPUS, .cpus = 3, .processor = "broadwell"};

	sleeps = true;
	run(config, script_moving);
	config.features = MODEL_XAPIC;
	run(config, script_moving);
}

/* --- switched off and on meanwhile --- */

static void script_switched(void)
{
	for (u32 i = 0; i < ROUNDS; i++) {
		ping(1);
		switch_off(true);
		G_CHECK(!is_on(0));
		ping(1);
		send(1);
		switch_off(false);
		await_taken(1, 3 * i + 3);
	}
	G_CHECK_EQUAL(harness_counter(COUNTER_ACCEL_MISMATCHES), 0);
}

static void test_switched(void **state __unused)
{
	struct harness config = {.device = switcher, .processor = "broadwell"};

	for (u32 i = 0; i < 2; i++) {
		sleeps = i;
		run(config, script_switched);
		for (config.seed = 1; config.seed < 5; config.seed++) {
			config.switch_ppm = 20000;
			run(config, script_switched);
		}
		config.switch_ppm = 0;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_running_target_does_not_exit),
	        cmocka_unit_test(test_without_posted_interrupts),
	        cmocka_unit_test(test_collected_with_interrupts_off),
	        cmocka_unit_test(test_sleeping_target),
	        cmocka_unit_test(test_preempted_target),
	        cmocka_unit_test(test_notifications_follow),
	        cmocka_unit_test(test_switched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
