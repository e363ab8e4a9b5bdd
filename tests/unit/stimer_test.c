/* SPDX-License-Identifier: BSD-2-Clause */
/* Synthetic timers: modes, messages and direct interrupts, what is late, what is refused. */
#include "tests/unit/hv_guest.h"

#define CONFIG(i) (MSR_HV_STIMER0 + 2 * (i))
#define COUNT(i)  (CONFIG(i) + 1)
#define DIRECT    0x61
#define TO_SINT   ((u64)SINT << HV_STIMER_SINT_SHIFT)
#define TO_DIRECT (HV_STIMER_DIRECT | (u64)DIRECT << HV_STIMER_VECTOR_SHIFT)
#define SOME      1000 /* units */
#define ROUNDED   3    /* a signal may come that many units late */

static int set_up(void **state)
{
	(void)state;
	hv_fake_create(1);
	hv_synic_on(0);
	hv_wr(0, MSR_HV_SINT0 + SINT, SINT_VECTOR);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	hv_fake_destroy();
	return 0;
}

static u64 now(void)
{
	return hv_rd(0, MSR_HV_TIME_REF);
}

static bool enabled(u32 timer)
{
	return hv_rd(0, CONFIG(timer)) & HV_STIMER_ENABLED;
}

static const struct hv_timer_payload *payload(void)
{
	return (const void *)hv_slot(0, SINT)->payload;
}

/* The message of an expiry at `time` is there: take it, and its interrupt. */
static void took_message(u32 timer, u64 time)
{
	const struct hv_message *slot = hv_slot(0, SINT);

	assert_int_equal(slot->type, 0x80000010);
	assert_int_equal(slot->size_flags & 0xff, 24);
	assert_int_equal(payload()->timer, timer);
	assert_int_equal(payload()->expiration, time);
	assert_in_range(payload()->delivery, time, now());
	hv_slot(0, SINT)->type = HV_MESSAGE_NONE;
	assert_int_equal(hv_take(0), SINT_VECTOR);
	wr(0, APIC_EOI, 0);
}

static bool took_direct(void)
{
	if (hv_take(0) != DIRECT)
		return false;
	wr(0, APIC_EOI, 0);
	return true;
}

static u64 ticks(void)
{
	return counter(0, COUNTER_STIMER_TICKS);
}

static void test_stimer_reset_values(void **state)
{
	(void)state;
	for (u32 i = 0; i < HV_STIMERS; i++) {
		assert_int_equal(hv_rd(0, CONFIG(i)), 0);
		assert_int_equal(hv_rd(0, COUNT(i)), 0);
	}
}

static void test_stimer_reserved_bits(void **state)
{
	(void)state;
	for (u32 bit = 0; bit < 64; bit++) {
		if (HV_STIMER_VALID & BIT64(bit)) {
			hv_wr(0, CONFIG(1), BIT64(bit));
			continue;
		}
		hv_refused_write(0, CONFIG(1), BIT64(bit));
		hv_refused_write(0, CONFIG(1), BIT64(bit) | HV_STIMER_ENABLED | TO_SINT);
	}
	hv_wr(0, COUNT(1), ~0ull);
	assert_int_equal(hv_rd(0, COUNT(1)), ~0ull);
}

static void test_stimer_one_shot(void **state)
{
	u64 time = now() + SOME;

	(void)state;
	hv_wr(0, COUNT(3), time);
	hv_wr(0, CONFIG(3), HV_STIMER_ENABLED | TO_SINT);
	hv_advance(SOME - 1);
	assert_int_equal(hv_slot(0, SINT)->type, 0); /* not early */
	assert_true(enabled(3));
	hv_advance(1 + ROUNDED);
	took_message(3, time);
	assert_false(enabled(3));
	assert_int_equal(hv_rd(0, COUNT(3)), time);
	hv_advance(10 * SOME);
	assert_int_equal(hv_slot(0, SINT)->type, 0);
	assert_int_equal(ticks(), 1);
}

static void test_stimer_one_shot_in_the_past_is_now(void **state)
{
	(void)state;
	hv_advance(SOME);
	hv_wr(0, COUNT(0), 1);
	hv_wr(0, CONFIG(0), HV_STIMER_ENABLED | TO_SINT);
	took_message(0, 1);
	assert_false(enabled(0));
}

static void test_stimer_auto_enable(void **state)
{
	(void)state;
	hv_wr(0, CONFIG(0), HV_STIMER_AUTO_ENABLE | TO_SINT);
	assert_false(enabled(0));
	hv_wr(0, COUNT(0), now() + SOME);
	assert_true(enabled(0));
	/* A new count is a new timer. */
	hv_wr(0, COUNT(0), now() + 2 * SOME);
	hv_advance(SOME + ROUNDED);
	assert_int_equal(ticks(), 0);
	hv_advance(SOME);
	assert_int_equal(ticks(), 1);
	/* Without: the count alone starts nothing. */
	hv_wr(0, CONFIG(0), TO_SINT);
	hv_wr(0, COUNT(0), now() + SOME);
	assert_false(enabled(0));
	hv_advance(2 * SOME);
	assert_int_equal(ticks(), 1);
}

static void test_stimer_count_zero_disables(void **state)
{
	(void)state;
	hv_wr(0, CONFIG(0), HV_STIMER_AUTO_ENABLE | HV_STIMER_PERIODIC | TO_SINT);
	hv_wr(0, COUNT(0), SOME);
	hv_wr(0, COUNT(0), 0);
	assert_false(enabled(0));
	hv_advance(5 * SOME);
	/* Enabled with nothing to count. */
	hv_wr(0, CONFIG(0), HV_STIMER_ENABLED | TO_SINT);
	hv_advance(5 * SOME);
	assert_int_equal(ticks(), 0);
}

static void test_stimer_sint_0_is_not_permitted(void **state)
{
	(void)state;
	hv_wr(0, COUNT(0), now() + SOME);
	hv_wr(0, CONFIG(0), HV_STIMER_ENABLED);
	assert_false(enabled(0));
	hv_wr(0, CONFIG(1), HV_STIMER_AUTO_ENABLE);
	hv_wr(0, COUNT(1), now() + SOME);
	assert_false(enabled(1));
	hv_advance(5 * SOME);
	assert_int_equal(ticks(), 0);
	/* In direct mode it means nothing. */
	hv_wr(0, CONFIG(0), HV_STIMER_ENABLED | TO_DIRECT);
	assert_true(took_direct());
}

static void test_stimer_direct(void **state)
{
	(void)state;
	hv_wr(0, CONFIG(0), HV_STIMER_AUTO_ENABLE | TO_DIRECT);
	hv_wr(0, COUNT(0), now() + SOME);
	hv_advance(SOME + ROUNDED);
	assert_true(took_direct());
	for (u32 i = 0; i < HV_SINTS; i++)
		assert_int_equal(hv_slot(0, i)->type, 0);
	/* It needs no SynIC. */
	hv_wr(0, MSR_HV_SCONTROL, 0);
	hv_wr(0, COUNT(0), now() + SOME);
	hv_advance(SOME + ROUNDED);
	assert_true(took_direct());
	assert_int_equal(counter(0, COUNTER_STIMER_LOST), 0);
}

static void test_stimer_direct_illegal_vector(void **state)
{
	(void)state;
	hv_wr(0, COUNT(0), 1);
	hv_advance(SOME);
	hv_wr(0, CONFIG(0), HV_STIMER_ENABLED | HV_STIMER_DIRECT | 15 << HV_STIMER_VECTOR_SHIFT);
	assert_int_equal(hv_take(0), -1);
	wr(0, APIC_ESR, 0);
	assert_int_equal(rd(0, APIC_ESR), APIC_ESR_RECV_ILLEGAL);
	assert_int_equal(counter(0, COUNTER_STIMER_LOST), 1);
}

static void test_stimer_periodic(void **state)
{
	u64 start = now();

	(void)state;
	hv_wr(0, COUNT(2), SOME);
	hv_wr(0, CONFIG(2), HV_STIMER_ENABLED | HV_STIMER_PERIODIC | TO_SINT);
	for (u32 i = 1; i <= 10; i++) {
		hv_advance(SOME - 1 - (i > 1 ? ROUNDED : 0));
		assert_int_equal(hv_slot(0, SINT)->type, 0);
		hv_advance(1 + ROUNDED);
		took_message(2, start + i * SOME); /* no drift */
	}
	assert_true(enabled(2));
	hv_wr(0, CONFIG(2), HV_STIMER_PERIODIC | TO_SINT);
	hv_advance(10 * SOME);
	assert_int_equal(ticks(), 10);
}

/* Time passes in steps that no period is shorter than, with a look at requests after each. */
static u64 ticks_in(u64 units, u64 step)
{
	u64 before = ticks();

	for (u64 passed = 0; passed < units; passed += step) {
		hv_advance(step);
		hv_slot(0, SINT)->type = HV_MESSAGE_NONE;
		while (hv_take(0) >= 0)
			wr(0, APIC_EOI, 0);
	}
	return ticks() - before;
}

static void test_stimer_late_catches_up(void **state)
{
	(void)state;
	hv_wr(0, COUNT(0), SOME);
	hv_wr(0, CONFIG(0), HV_STIMER_ENABLED | HV_STIMER_PERIODIC | TO_SINT);
	/* The vCPU does not run for ten periods: at once there is one signal, then two in each period. */
	hv_advance(10 * SOME + ROUNDED);
	assert_int_equal(ticks(), 1);
	assert_in_range(ticks_in(9 * SOME, SOME / 20), 16, 18);
	/* As many as there were periods, in the end. */
	ticks_in(21 * SOME, SOME / 20);
	assert_in_range(ticks(), 39, 40);
}

static void test_stimer_very_late_skips(void **state)
{
	(void)state;
	hv_wr(0, COUNT(0), SOME);
	hv_wr(0, CONFIG(0), HV_STIMER_ENABLED | HV_STIMER_PERIODIC | TO_SINT);
	hv_advance(1000 * SOME + ROUNDED);
	ticks_in(50 * SOME, SOME / 20);
	assert_in_range(ticks(), 50 + 10, 50 + 20);
}

static void test_stimer_late_lazy_skips(void **state)
{
	u64 start = now();

	(void)state;
	hv_wr(0, COUNT(0), SOME);
	hv_wr(0, CONFIG(0), HV_STIMER_ENABLED | HV_STIMER_PERIODIC | HV_STIMER_LAZY | TO_SINT);
	hv_advance(10 * SOME + SOME / 4);
	took_message(0, start + SOME);
	assert_int_equal(ticks_in(10 * SOME, SOME / 20), 10);
	assert_int_equal(ticks(), 11);
}

/* No guest can keep its processor busy with nothing but expiries. */
static void test_stimer_shortest_period(void **state)
{
	(void)state;
	hv_wr(0, COUNT(0), 1);
	hv_wr(0, CONFIG(0), HV_STIMER_ENABLED | HV_STIMER_PERIODIC | TO_DIRECT);
	assert_in_range(ticks_in(UNITS(1), 1), 45, 51);
}

static void test_stimer_extreme_counts(void **state)
{
	static const u64 counts[] = {~0ull, ~0ull - 1, BIT64(63), ~0ull / 2, ~0ull - SOME};

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(counts); i++) {
		hv_wr(0, COUNT(0), counts[i]);
		hv_wr(0, CONFIG(0), HV_STIMER_ENABLED | TO_SINT);
		hv_advance(SOME);
		hv_wr(0, CONFIG(0), HV_STIMER_ENABLED | HV_STIMER_PERIODIC | TO_SINT);
		hv_advance(SOME);
		assert_true(enabled(0));
	}
	assert_int_equal(ticks(), 0);
}

/* One buffer for each timer: what comes while it waits is lost, and the timers do not share. */
static void test_stimer_full_slot(void **state)
{
	u64 start = now();

	(void)state;
	hv_wr(0, CONFIG(0), HV_STIMER_AUTO_ENABLE | HV_STIMER_PERIODIC | TO_SINT);
	hv_wr(0, CONFIG(1), HV_STIMER_AUTO_ENABLE | TO_SINT);
	hv_wr(0, COUNT(0), SOME);
	hv_wr(0, COUNT(1), start + 4 * SOME + SOME / 2);
	for (u32 i = 0; i < 5; i++)
		hv_advance(SOME + ROUNDED);
	assert_int_equal(ticks(), 6);
	assert_int_equal(counter(0, COUNTER_STIMER_LOST), 3);
	assert_int_equal(payload()->expiration, start + SOME);
	assert_true(hv_slot(0, SINT)->size_flags & HV_MESSAGE_PENDING);
	took_message(0, start + SOME);
	/* That was an EOI with the slot empty: the next one is there. */
	took_message(0, start + 2 * SOME);
	took_message(1, start + 4 * SOME + SOME / 2);
	assert_int_equal(hv_slot(0, SINT)->type, 0);
	assert_false(enabled(1));
}

static void test_stimer_without_synic_loses_its_messages(void **state)
{
	(void)state;
	hv_wr(0, MSR_HV_SCONTROL, 0);
	hv_wr(0, CONFIG(0), HV_STIMER_AUTO_ENABLE | TO_SINT);
	hv_wr(0, COUNT(0), now() + SOME);
	hv_advance(SOME + ROUNDED);
	assert_false(enabled(0));
	assert_int_equal(counter(0, COUNTER_STIMER_LOST), 1);
	hv_wr(0, MSR_HV_SCONTROL, HV_SCONTROL_ENABLE);
	hv_wr(0, MSR_HV_EOM, 0);
	assert_int_equal(hv_slot(0, SINT)->type, 0);
}

/* A callback that was under way when the guest disabled the timer does nothing. */
static void test_stimer_stale_callback(void **state)
{
	(void)state;
	hv_wr(0, CONFIG(0), HV_STIMER_AUTO_ENABLE | TO_SINT);
	hv_wr(0, COUNT(0), now() + SOME);
	fake_advance_ns((SOME + ROUNDED) * HV_TIME_NS);
	hv_wr(0, CONFIG(0), 0);
	hv_requests(0);
	assert_int_equal(ticks(), 0);
}

static void test_stimer_reset(void **state)
{
	(void)state;
	hv_wr(0, CONFIG(0), HV_STIMER_AUTO_ENABLE | HV_STIMER_PERIODIC | TO_DIRECT);
	hv_wr(0, COUNT(0), SOME);
	hv_reset(cpu(0));
	test_stimer_reset_values(state);
	hv_advance(10 * SOME);
	assert_int_equal(ticks(), 0);
	assert_int_equal(fake.timer_fires, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_stimer_##name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(reset_values),
	        TEST(reserved_bits),
	        TEST(one_shot),
	        TEST(one_shot_in_the_past_is_now),
	        TEST(auto_enable),
	        TEST(count_zero_disables),
	        TEST(sint_0_is_not_permitted),
	        TEST(direct),
	        TEST(direct_illegal_vector),
	        TEST(periodic),
	        TEST(late_catches_up),
	        TEST(very_late_skips),
	        TEST(late_lazy_skips),
	        TEST(shortest_period),
	        TEST(extreme_counts),
	        TEST(full_slot),
	        TEST(without_synic_loses_its_messages),
	        TEST(stale_callback),
	        TEST(reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
