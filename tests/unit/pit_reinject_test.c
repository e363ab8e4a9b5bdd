/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reinjection of the 8254's ticks, with the interrupt controllers played by the test: a tick's
 * request is unserved from its rise until the test ends it. With the real ones: irqchip_test.c.
 */
#include "irq/inhibit.h"
#include "tests/unit/pit_guest.h"

/* The guest ends the tick. */
static void end_tick(void)
{
	assert_true(unserved);
	unserved = false;
	assert_true(listening);
	fake.vm->pit.notifier.fire(&fake.vm->pit.notifier);
}

#define HZ_1000 1193

/* A guest that is kept from running for 20 ticks gets each of them, one for each EOI. */
static void test_pit_reinject_loses_no_tick(void **state)
{
	(void)state;
	taken = true;
	pit_set_reinject(fake.vm, true);
	assert_true(listening);
	load(0, 2, HZ_1000);
	irq_rises = 0;
	unserved = false;
	pass(HZ_1000 * 20 + 10);
	assert_int_equal(irq_rises, 1); /* the others wait for its end */
	for (u32 n = 2; n <= 20; n++) {
		end_tick();
		assert_in_range(irq_rises, n - 1, n); /* spacing: at once, or a moment later */
		pass(SPACING / 4);
		pass(SPACING);
		assert_true(irq_rises >= n);
	}
	/* 19 x 1.25 x 120 ticks have passed: the present ones have joined. */
	for (u32 i = 0; i < 10; i++) {
		if (unserved)
			end_tick();
		pass(SPACING + 1);
	}
	assert_int_equal(irq_rises, tick_now() / HZ_1000);
	assert_int_equal(atomic64_read(&fake.vm->pit.ticks), irq_rises + 1);
}

/* Off: what was not served in time melts into one, all the same. */
static void test_pit_without_reinjection_ticks_are_not_held_back(void **state)
{
	(void)state;
	taken = true;
	load(0, 2, HZ_1000);
	irq_rises = 0;
	pass(HZ_1000 * 20 + 10);
	assert_int_equal(irq_rises, 20); /* into the controllers, where they coalesce */
	assert_false(listening);
}

/* No EOI ever comes for a tick that nobody takes: none is kept, none blocks the next. */
static void test_pit_reinject_keeps_nothing_for_nobody(void **state)
{
	(void)state;
	pit_set_reinject(fake.vm, true);
	load(0, 2, HZ_1000);
	irq_rises = 0;
	pass(HZ_1000 * 5 + 10);
	assert_int_equal(irq_rises, 5);
	assert_int_equal(fake.vm->pit.owed, 0);
}

/* The end got lost (a reset of the controller, a mask): the next tick finds out. */
static void test_pit_reinject_survives_a_lost_end(void **state)
{
	(void)state;
	taken = true;
	pit_set_reinject(fake.vm, true);
	load(0, 2, HZ_1000);
	irq_rises = 0;
	unserved = false;
	pass(HZ_1000 * 3 + 10);
	assert_int_equal(irq_rises, 1);
	unserved = false; /* untold */
	pass(HZ_1000);
	assert_int_equal(irq_rises, 2);
}

static bool stands(void)
{
	return fake.vm->inhibit.mask.v == INHIBIT_BIT(PIT_REINJ);
}

/* The inhibit goes with it, however often it is asked for; a reset of the chip is no reason to end it. */
static void test_pit_reinject_inhibits(void **state)
{
	(void)state;
	assert_int_equal(fake.vm->inhibit.mask.v, 0);
	pit_set_reinject(fake.vm, false);
	assert_int_equal(fake.vm->inhibit.mask.v, 0);
	for (u32 i = 0; i < 2; i++) {
		pit_set_reinject(fake.vm, true);
		assert_true(stands());
	}
	pit_set_reinject(fake.vm, false);
	assert_int_equal(fake.vm->inhibit.mask.v, 0);
	pit_set_reinject(fake.vm, true);
	load(0, 2, HZ_1000);
	assert_true(stands());
	pit_reset(fake.vm);
	assert_true(stands());
	assert_true(listening);
	assert_true(fake.vm->pit.reinject);
	/* What is programmed anew ticks as it did. */
	taken = true;
	load(0, 2, HZ_1000);
	irq_rises = 0;
	unserved = false;
	pass(HZ_1000 * 3 + 10);
	assert_int_equal(irq_rises, 1);
	assert_int_equal(fake.vm->pit.owed, 2);
	pit_set_reinject(fake.vm, false);
	assert_int_equal(fake.vm->inhibit.mask.v, 0);
	assert_false(listening);
}

static void test_pit_reinject_switched_while_running(void **state)
{
	(void)state;
	taken = true;
	pit_set_reinject(fake.vm, true);
	load(0, 2, HZ_1000);
	irq_rises = 0;
	unserved = false;
	pass(HZ_1000 * 20 + 10);
	assert_int_equal(irq_rises, 1);
	assert_int_equal(fake.vm->pit.owed, 19);
	/* Off: the backlog is given up but for the few that a late host catches up with. */
	pit_set_reinject(fake.vm, false);
	assert_false(listening);
	pass(HZ_1000 - 20);
	assert_int_equal(irq_rises, 5);
	pass(HZ_1000 * 3);
	assert_int_equal(irq_rises, 8);
	/* On again: the tick under way is waited for. */
	pit_set_reinject(fake.vm, true);
	pass(HZ_1000 * 3);
	assert_int_equal(irq_rises, 8);
	end_tick();
	assert_int_equal(irq_rises, 9);
}

static void test_pit_reinject_new_programming_drops_the_backlog(void **state)
{
	(void)state;
	taken = true;
	pit_set_reinject(fake.vm, true);
	load(0, 2, HZ_1000);
	unserved = false;
	pass(HZ_1000 * 20 + 10);
	assert_in_range(fake.vm->pit.owed, 19, 20);
	load(0, 0, 5000); /* one-shot: one tick, when it is due */
	irq_rises = 0;
	if (unserved)
		end_tick();
	pass(4000);
	assert_int_equal(irq_rises, 0);
	pass(2000);
	assert_int_equal(irq_rises, 1);
}

/* A square wave falls half way; under an unserved request it must not: the 8259 would forget it. */
static void test_pit_reinject_holds_the_line_until_served(void **state)
{
	(void)state;
	taken = true;
	pit_set_reinject(fake.vm, true);
	load(0, 3, HZ_1000);
	unserved = false;
	pass(HZ_1000 + 10);
	assert_true(unserved);
	pass(HZ_1000 * 3 / 4);
	assert_false(out_of(0));
	assert_true(irq_level);
	end_tick();
	assert_false(irq_level);
}

/* Ticks that wait are counted, not served: a short period must not cost a host timer for each. */
static void test_pit_reinject_counts_short_periods_cheaply(void **state)
{
	u64 fires;

	(void)state;
	taken = true;
	pit_set_reinject(fake.vm, true);
	load(0, 2, 2);
	unserved = false;
	pass(SPACING * 2);
	assert_true(unserved);
	fires = fake.timer_fires;
	pass(SPACING * 100);
	assert_in_range(fake.timer_fires - fires, 1, 101);
	pass(SPACING);
	assert_in_range(fake.vm->pit.owed, SPACING * 100 / 2, SPACING * 104 / 2);
	end_tick();
	assert_true(unserved); /* the next one comes at once */
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	        TEST(test_pit_reinject_loses_no_tick),
	        TEST(test_pit_without_reinjection_ticks_are_not_held_back),
	        TEST(test_pit_reinject_keeps_nothing_for_nobody),
	        TEST(test_pit_reinject_survives_a_lost_end),
	        TEST(test_pit_reinject_switched_while_running),
	        TEST(test_pit_reinject_inhibits),
	        TEST(test_pit_reinject_new_programming_drops_the_backlog),
	        TEST(test_pit_reinject_holds_the_line_until_served),
	        TEST(test_pit_reinject_counts_short_periods_cheaply),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
