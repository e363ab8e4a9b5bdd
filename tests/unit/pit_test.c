/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The 8254 against the datasheet's mode definitions. Tests move the clock by ticks of the chip. A
 * count written at tick T is in the counting element from T + 1 on.
 */
#include "tests/unit/pit_guest.h"

static void test_pit_quiet_after_reset(void **state)
{
	(void)state;
	pass(1000000);
	assert_int_equal(irq_rises, 0);
	assert_int_equal(status(0), 0x70); /* OUT low, no count, mode 0 */
	assert_int_equal(in(CONTROL), 0xff);
}

static void test_pit_mode_0_terminal_count(void **state)
{
	(void)state;
	load(1, 0, 1000);
	assert_int_equal(status(1), 0x70); /* low, null count */
	pass(1);
	assert_int_equal(status(1), 0x30);
	assert_int_equal(read_both(1), 1000);
	pass(999);
	assert_int_equal(read_both(1), 1);
	assert_false(out_of(1));
	pass(1);
	assert_true(out_of(1));
	assert_int_equal(read_both(1), 0);
	pass(1);
	assert_int_equal(read_both(1), 0xffff); /* counts on, OUT stays */
	pass(200000);
	assert_true(out_of(1));
	/* Half a new count pulls OUT low and stops the counting. */
	out(0x41, 10);
	assert_false(out_of(1));
	pass(70000);
	assert_false(out_of(1));
	out(0x41, 0);
	pass(10);
	assert_false(out_of(1));
	pass(1);
	assert_true(out_of(1));
}

static void test_pit_mode_0_interrupts_once(void **state)
{
	u64 start;

	(void)state;
	start = tick_now();
	load(0, 0, 5000);
	pass(200000);
	assert_int_equal(irq_rises, 1);
	assert_true(irq_level);
	assert_in_range(irq_last_rise, tick_tsc(start + 5001), tick_tsc(start + 5001) + 2);
	out(CONTROL, BINARY_BOTH(0, 0));
	assert_false(irq_level);
	assert_int_equal(fake_timer_deadline(&fake.vm->pit.timer), TSC_NEVER);
}

static void test_pit_mode_0_gate_stops(void **state)
{
	(void)state;
	gate2(true);
	load(2, 0, 1000);
	pass(101);
	gate2(false);
	pass(5000);
	assert_int_equal(read_both(2), 900);
	gate2(true);
	pass(899);
	assert_false(in(0x61) & BIT(5));
	pass(1);
	assert_true(in(0x61) & BIT(5));
	/* A count written while the gate is low is loaded, and waits. */
	gate2(false);
	load(2, 0, 50);
	pass(1000);
	assert_int_equal(read_both(2), 50);
	gate2(true);
	pass(50);
	assert_true(in(0x61) & BIT(5));
}

static void test_pit_mode_1_one_shot(void **state)
{
	(void)state;
	gate2(false);
	load(2, 1, 100);
	pass(1000);
	assert_int_equal(status(2), 0xf2); /* high, null count: nothing triggered it */
	gate2(true);
	assert_true(out_of(2));
	pass(1);
	assert_int_equal(status(2), 0x32);
	gate2(false); /* the level does not matter */
	pass(60);
	assert_int_equal(read_both(2), 40);
	gate2(true); /* triggers anew */
	pass(100);
	assert_false(out_of(2));
	pass(1);
	assert_true(out_of(2));
	/* A channel whose gate is tied high never gets a trigger. */
	load(0, 1, 100);
	pass(100000);
	assert_int_equal(irq_rises, 1); /* OUT went high with the control word */
	assert_true(irq_level);
}

static void test_pit_mode_2_rate(void **state)
{
	(void)state;
	load(1, 2, 10);
	pass(1);
	for (u32 period = 0; period < 3; period++) {
		for (u32 i = 10; i >= 1; i--) {
			assert_int_equal(read_both(1), i);
			assert_int_equal(out_of(1), i != 1);
			pass(1);
		}
	}
}

static void test_pit_mode_2_reload_at_period_end(void **state)
{
	(void)state;
	load(1, 2, 100);
	pass(31);
	out(0x41, 7);
	out(0x41, 0);
	assert_int_equal(status(1), 0xf4); /* null count: not yet */
	assert_int_equal(read_both(1), 70);
	pass(69);
	assert_int_equal(read_both(1), 1);
	assert_false(out_of(1));
	pass(1);
	assert_int_equal(status(1), 0xb4);
	assert_int_equal(read_both(1), 7);
	pass(7);
	assert_int_equal(read_both(1), 7);
}

static void test_pit_mode_2_gate(void **state)
{
	(void)state;
	gate2(true);
	load(2, 2, 100);
	pass(100);
	assert_int_equal(in(0x61) & BIT(5), 0);
	gate2(false); /* OUT goes high at once */
	assert_int_equal(in(0x61) & BIT(5), BIT(5));
	pass(12345);
	gate2(true);
	pass(1);
	assert_int_equal(read_both(2), 100);
	pass(30);
	assert_int_equal(read_both(2), 70);
}

static void test_pit_mode_2_count_1_is_inert(void **state)
{
	(void)state;
	load(0, 2, 1);
	pass(100000);
	assert_int_equal(irq_rises, 1); /* the control word's */
	assert_true(out_of(0));
	assert_int_equal(fake_timer_deadline(&fake.vm->pit.timer), TSC_NEVER);
}

static void test_pit_mode_3_even(void **state)
{
	static const u16 value[] = {8, 6, 4, 2, 8, 6, 4, 2};

	(void)state;
	load(1, 3, 8);
	pass(1);
	for (u32 i = 0; i < 16; i++) {
		assert_int_equal(read_both(1), value[i % 8]);
		assert_int_equal(out_of(1), i % 8 < 4);
		pass(1);
	}
}

static void test_pit_mode_3_odd(void **state)
{
	static const u16 value[] = {6, 4, 2, 0, 6, 4, 2};

	(void)state;
	load(1, 7, 7); /* mode 7 is 3; the status shows it as written */
	pass(1);
	assert_int_equal(status(1), 0xbe);
	for (u32 i = 0; i < 14; i++) {
		assert_int_equal(read_both(1), value[i % 7]);
		assert_int_equal(out_of(1), i % 7 < 4);
		pass(1);
	}
}

static void test_pit_mode_3_reload_at_half(void **state)
{
	(void)state;
	load(1, 3, 100);
	pass(11);
	out(0x41, 20);
	out(0x41, 0);
	pass(39);
	assert_true(out_of(1)); /* last tick of the old high half */
	pass(1);
	assert_false(out_of(1));
	assert_int_equal(read_both(1), 20);
	pass(9);
	assert_false(out_of(1));
	pass(1);
	assert_true(out_of(1));
	pass(15); /* in the low half: at its end */
	out(0x41, 40);
	out(0x41, 0);
	pass(5);
	assert_int_equal(read_both(1), 40);
	pass(19);
	assert_true(out_of(1));
	pass(1);
	assert_false(out_of(1));
}

static void test_pit_mode_3_line_follows_out(void **state)
{
	(void)state;
	load(0, 3, 10000);
	assert_true(irq_level);
	irq_rises = 0;
	pass(5000);
	assert_true(irq_level);
	pass(1);
	assert_false(irq_level);
	pass(4999);
	assert_false(irq_level);
	pass(1);
	assert_true(irq_level);
	assert_int_equal(irq_rises, 1);
	/* A new count takes over at a half, and no edge is made up or lost. */
	out(0x40, 0xa0);
	out(0x40, 0x0f); /* 4000 */
	pass(5000);
	assert_false(irq_level);
	pass(2000);
	assert_true(irq_level);
	pass(4000 * 9);
	assert_int_equal(irq_rises, 11);
}

static void test_pit_mode_4_strobe(void **state)
{
	(void)state;
	load(0, 4, 1000);
	irq_rises = 0; /* the control word raised OUT */
	pass(1000);
	assert_int_equal(irq_rises, 0);
	assert_true(out_of(0));
	pass(1);
	assert_int_equal(irq_rises, 0);
	assert_false(out_of(0));
	pass(1);
	assert_true(out_of(0));
	assert_int_equal(irq_rises, 1);
	pass(500000);
	assert_int_equal(irq_rises, 1);
	out(0x40, 100); /* the next shot needs a count only */
	out(0x40, 0);
	pass(102);
	assert_int_equal(irq_rises, 2);
}

static void test_pit_mode_5_triggered_strobe(void **state)
{
	(void)state;
	load(2, 5, 10);
	pass(100);
	assert_true(out_of(2));
	gate2(true);
	pass(10);
	assert_true(out_of(2));
	pass(1);
	assert_false(out_of(2));
	pass(1);
	assert_true(out_of(2));
}

static void test_pit_bcd(void **state)
{
	(void)state;
	out(CONTROL, 0x75); /* channel 1, mode 2, decimal */
	out(0x41, 0x00);
	out(0x41, 0x10);
	pass(2);
	assert_int_equal(read_both(1), 0x0999);
	out(CONTROL, 0x71);
	out(0x41, 0);
	out(0x41, 0); /* 10000 */
	pass(1);
	assert_int_equal(read_both(1), 0x0000);
	pass(1);
	assert_int_equal(read_both(1), 0x9999);
	pass(9999);
	assert_true(out_of(1));
	out(0x41, 0xff); /* illegal digits do no harm */
	out(0x41, 0xff);
	pass(17000);
	assert_true(out_of(1));
}

static void test_pit_count_0_is_65536(void **state)
{
	(void)state;
	load(1, 2, 0);
	pass(1);
	assert_int_equal(read_both(1), 0);
	pass(1);
	assert_int_equal(read_both(1), 0xffff);
	pass(65534);
	assert_false(out_of(1));
	pass(1);
	assert_true(out_of(1));
}

static void test_pit_single_byte_access(void **state)
{
	(void)state;
	out(CONTROL, 0x54); /* channel 1, low byte, mode 2 */
	out(0x41, 200);
	pass(11);
	assert_int_equal(in(0x41), 190);
	assert_int_equal(in(0x41), 190);
	out(CONTROL, 0x64); /* high byte */
	out(0x41, 0x20);
	pass(2);
	assert_int_equal(in(0x41), 0x1f);
}

static void test_pit_latch_holds_until_read(void **state)
{
	(void)state;
	load(1, 2, 1000);
	pass(101);
	out(CONTROL, 0x40);
	pass(100);
	out(CONTROL, 0x40); /* not read yet: ignored */
	pass(1);
	assert_int_equal(in(0x41), 900 & 0xff);
	pass(100);
	assert_int_equal(in(0x41), 900 >> 8);
	assert_int_equal(read_both(1), 1000 - 301);
}

static void test_pit_read_back(void **state)
{
	(void)state;
	load(1, 2, 1000);
	load(2, 3, 0x4000);
	pass(1);
	out(CONTROL, 0xcc); /* status and count of channels 1 and 2 */
	pass(100);
	assert_int_equal(in(0x41), 0xb4); /* status first */
	assert_int_equal(read_both(1), 1000);
	assert_int_equal(in(0x42), 0xb6);
	assert_int_equal(read_both(2), 0x4000);
	assert_int_equal(read_both(1), 900);
}

static void test_pit_port_61(void **state)
{
	u32 toggles = 0;
	u8 before;

	(void)state;
	out(0x61, 0xff);
	assert_int_equal(in(0x61) & 0x0f, 0x0f);
	assert_int_equal(in(0x61) & 0xc0, 0);
	out(0x61, 0);
	assert_int_equal(in(0x61) & 0x0f, 0);
	before = in(0x61);
	for (u32 i = 0; i < 1800; i++) {
		pass(1);
		toggles += (in(0x61) ^ before) >> 4 & 1;
		before = in(0x61);
	}
	assert_int_equal(toggles, 100);
}

static void test_pit_wide_access_is_bytes(void **state)
{
	u64 value;

	(void)state;
	out(CONTROL, 0x54);
	out(CONTROL, 0x94);
	assert_true(bus_write(&fake.vm->io, fake.vm->vcpu[0], 0x41, 2, 0x3020));
	pass(1);
	gate2(true);
	pass(1);
	assert_true(bus_read(&fake.vm->io, fake.vm->vcpu[0], 0x40, 4, &value));
	assert_int_equal(value, 0xff301f00);
}

/* Minutes at 1000 Hz: the last edge is where arithmetic puts it, to the TSC tick. */
static void test_pit_rate_does_not_drift(void **state)
{
	const u64 edges = 200000;
	u64 start;

	(void)state;
	pass(12345);
	start = tick_now();
	load(0, 2, 1193);
	irq_rises = 0;
	pass(1 + 1193 * edges);
	assert_int_equal(irq_rises, edges);
	assert_in_range(irq_last_rise, tick_tsc(start + 1 + 1193 * edges),
	                tick_tsc(start + 1 + 1193 * edges) + 1);
	assert_int_equal(fake.vm->pit.skipped, 0);
	assert_true(irq_level);
}

static void test_pit_late_edges_are_caught_up_with(void **state)
{
	(void)state;
	load(0, 2, 1193);
	pass(1 + 1193);
	irq_rises = 0;
	sleep_ticks(3 * 1193);
	assert_int_equal(irq_rises, 0);
	pass(0);
	assert_int_equal(irq_rises, 1);
	pass(SPACING - 1);
	assert_int_equal(irq_rises, 1);
	pass(1);
	assert_int_equal(irq_rises, 2);
	pass(1193 - SPACING);
	assert_int_equal(irq_rises, 4);
	assert_int_equal(fake.vm->pit.skipped, 0);
}

static void test_pit_too_late_edges_are_skipped(void **state)
{
	(void)state;
	load(0, 2, 1193);
	pass(1 + 1193);
	irq_rises = 0;
	sleep_ticks(1000 * 1193);
	pass(0);
	pass(1192);
	assert_int_equal(irq_rises, 4);
	assert_int_equal(fake.vm->pit.skipped, 996);
	pass(1);
	assert_int_equal(irq_rises, 5);
}

static void test_pit_guest_cannot_storm_the_host(void **state)
{
	(void)state;
	load(0, 2, 2);
	irq_rises = 0;
	pass(SPACING * 1000);
	assert_in_range(irq_rises, 990, 1000);
	load(0, 3, 2);
	irq_rises = 0;
	pass(SPACING * 1000);
	assert_in_range(irq_rises, 990, 1001);
	assert_int_equal(atomic64_read(&fake.vm->pit.ticks) > 1980, 1);
	/* Nor by making the chip look at its channel all the time. */
	irq_rises = 0;
	for (u32 i = 0; i < SPACING * 100; i++) {
		pass(1);
		in(0x40);
	}
	assert_in_range(irq_rises, 99, 100);
}

static void test_pit_polling_does_not_disturb_edges(void **state)
{
	(void)state;
	load(0, 2, 1000);
	irq_rises = 0;
	for (u32 i = 0; i < 10000; i++) {
		pass(1);
		in(0x40);
	}
	pass(1);
	assert_int_equal(irq_rises, 10);
}

static void test_pit_time_does_not_go_back(void **state)
{
	(void)state;
	load(0, 2, 1000);
	pass(1);
	assert_int_equal(read_both(0), 1000);
	irq_rises = 0;
	fake.tsc -= 5000; /* another processor's counter is behind */
	assert_int_equal(read_both(0), 1000);
	assert_int_equal(irq_rises, 0);
	assert_int_equal(fake.vm->pit.skipped, 0);
	fake.tsc = epoch - 1;
	assert_int_equal(read_both(0), 1000);
}

static void test_pit_reset_lowers_the_line(void **state)
{
	(void)state;
	load(0, 2, 1000);
	pass(5000);
	assert_true(irq_level);
	pit_reset(fake.vm);
	assert_false(irq_level);
	irq_rises = 0;
	pass(100000);
	assert_int_equal(irq_rises, 0);
}

/* Any sequence of bytes to the ports, at any pace: the sanitizers watch, and edges stay spaced. */
static void test_pit_survives_random_programming(void **state)
{
	u64 random = 0x9e3779b97f4a7c15ull;
	u64 first, rises;

	(void)state;
	first = tick_now();
	for (u32 i = 0; i < 200000; i++) {
		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		switch (random >> 60) {
		case 0:
			out(0x61, random >> 8);
			break;
		case 1:
			sleep_ticks(random >> 8 & 0xffff);
			break;
		case 2:
		case 3:
		case 4:
			pass(random >> 8 & 0x3ff);
			break;
		case 5:
		case 6:
			in(0x40 + (random >> 8 & 3));
			in(0x61);
			break;
		case 7:
		case 8:
		case 9:
			out(CONTROL, random >> 8);
			break;
		default:
			out(0x40 + (random >> 16) % 3, random >> 8 & (random >> 24 & 1 ? 0xff : 3));
			break;
		}
	}
	rises = atomic64_read(&fake.vm->pit.ticks);
	assert_in_range(rises, 1000, (tick_now() - first) / SPACING + 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	        TEST(test_pit_quiet_after_reset),
	        TEST(test_pit_mode_0_terminal_count),
	        TEST(test_pit_mode_0_interrupts_once),
	        TEST(test_pit_mode_0_gate_stops),
	        TEST(test_pit_mode_1_one_shot),
	        TEST(test_pit_mode_2_rate),
	        TEST(test_pit_mode_2_reload_at_period_end),
	        TEST(test_pit_mode_2_gate),
	        TEST(test_pit_mode_2_count_1_is_inert),
	        TEST(test_pit_mode_3_even),
	        TEST(test_pit_mode_3_odd),
	        TEST(test_pit_mode_3_reload_at_half),
	        TEST(test_pit_mode_3_line_follows_out),
	        TEST(test_pit_mode_4_strobe),
	        TEST(test_pit_mode_5_triggered_strobe),
	        TEST(test_pit_bcd),
	        TEST(test_pit_count_0_is_65536),
	        TEST(test_pit_single_byte_access),
	        TEST(test_pit_latch_holds_until_read),
	        TEST(test_pit_read_back),
	        TEST(test_pit_port_61),
	        TEST(test_pit_wide_access_is_bytes),
	        TEST(test_pit_rate_does_not_drift),
	        TEST(test_pit_late_edges_are_caught_up_with),
	        TEST(test_pit_too_late_edges_are_skipped),
	        TEST(test_pit_guest_cannot_storm_the_host),
	        TEST(test_pit_polling_does_not_disturb_edges),
	        TEST(test_pit_time_does_not_go_back),
	        TEST(test_pit_reset_lowers_the_line),
	        TEST(test_pit_survives_random_programming),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
