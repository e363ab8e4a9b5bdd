/* SPDX-License-Identifier: BSD-2-Clause */
/* platform/rtc.c: the MC146818's time, formats, interrupts and memory. */
#include "platform_fake.h"

#define IRQ 8
#define MS  1000000ull

static u8 rtc_get(u8 index)
{
	fake_out(0x70, 1, index);
	return (u8)fake_in(0x71, 1);
}

static void rtc_put(u8 index, u8 value)
{
	fake_out(0x70, 1, index);
	fake_out(0x71, 1, value);
}

static void expect_date(u8 century, u8 year, u8 month, u8 day, u8 weekday)
{
	assert_int_equal(rtc_get(0x32), century);
	assert_int_equal(rtc_get(9), year);
	assert_int_equal(rtc_get(8), month);
	assert_int_equal(rtc_get(7), day);
	assert_int_equal(rtc_get(6), weekday);
}

static void expect_time(u8 hour, u8 minute, u8 second)
{
	assert_int_equal(rtc_get(4), hour);
	assert_int_equal(rtc_get(2), minute);
	assert_int_equal(rtc_get(0), second);
}

static void set_bcd(u16 century_year, u8 month, u8 day, u8 hour, u8 minute, u8 second)
{
	rtc_put(0x0b, rtc_get(0x0b) | 0x80);
	rtc_put(0x32, (u8)(century_year >> 8));
	rtc_put(9, (u8)century_year);
	rtc_put(8, month);
	rtc_put(7, day);
	rtc_put(4, hour);
	rtc_put(2, minute);
	rtc_put(0, second);
	rtc_put(0x0b, rtc_get(0x0b) & 0x7f);
}

static void test_rtc_power_on_time(void **state)
{
	(void)state;
	assert_int_equal(rtc_get(0x0a), 0x26);
	assert_int_equal(rtc_get(0x0b), 0x02);
	assert_int_equal(rtc_get(0x0d), 0x80);
	expect_date(0x20, 0x24, 0x02, 0x29, 5);
	expect_time(0x12, 0x00, 0x00);
}

static void test_rtc_runs(void **state)
{
	(void)state;
	fake_advance(12 * 3600 * FAKE_SECOND - 1);
	expect_date(0x20, 0x24, 0x02, 0x29, 5);
	expect_time(0x23, 0x59, 0x59);
	fake_advance(1);
	expect_date(0x20, 0x24, 0x03, 0x01, 6);
	expect_time(0, 0, 0);
	fake_advance(306 * 86400 * FAKE_SECOND);
	expect_date(0x20, 0x25, 0x01, 0x01, 4);
	assert_int_equal(fake->armed, 0); /* nobody asked for an interrupt */
}

static void test_rtc_formats(void **state)
{
	(void)state;
	rtc_put(0x0b, 0x06); /* binary, 24 h */
	fake_advance(3723 * FAKE_SECOND);
	expect_date(20, 24, 2, 29, 5);
	expect_time(13, 2, 3);
	rtc_put(0x0b, 0x04); /* binary, 12 h */
	expect_time(0x81, 2, 3);
	rtc_put(0x0b, 0x00); /* BCD, 12 h */
	expect_time(0x81, 0x02, 0x03);
	fake_advance(11 * 3600 * FAKE_SECOND);
	expect_time(0x12, 0x02, 0x03); /* midnight is 12 AM */
	fake_advance(12 * 3600 * FAKE_SECOND);
	expect_time(0x92, 0x02, 0x03); /* noon is 12 PM */
}

static void test_rtc_set_holds_time(void **state)
{
	(void)state;
	rtc_put(0x0b, 0x92);
	assert_int_equal(rtc_get(0x0b), 0x82); /* SET switches the update interrupt off */
	rtc_put(0, 0x30);
	fake_advance(100 * FAKE_SECOND);
	assert_int_equal(rtc_get(0), 0x30);
	assert_int_equal(rtc_get(0x0a) & 0x80, 0);
	rtc_put(0x0b, 0x02);
	fake_advance(2 * FAKE_SECOND);
	expect_time(0x12, 0x00, 0x32);
}

static void test_rtc_set_time(void **state)
{
	(void)state;
	set_bcd(0x1999, 0x12, 0x31, 0x23, 0x59, 0x58);
	expect_date(0x19, 0x99, 0x12, 0x31, 6);
	fake_advance(2 * FAKE_SECOND);
	expect_date(0x20, 0x00, 0x01, 0x01, 7);
	expect_time(0, 0, 0);
	rtc_put(2, 0x45); /* without SET, while it runs */
	fake_advance(FAKE_SECOND);
	expect_time(0, 0x45, 0x01);
}

static void test_rtc_divider_release_is_half_a_second(void **state)
{
	(void)state;
	rtc_put(0x0a, 0x76);
	fake_advance(10 * FAKE_SECOND);
	expect_time(0x12, 0, 0);
	rtc_put(0x0a, 0x26);
	fake_advance(FAKE_SECOND / 2 - 1);
	expect_time(0x12, 0, 0);
	fake_advance(1);
	expect_time(0x12, 0, 1);
}

/* Whatever is written, the clock shows a date that exists and goes on. */
static void test_rtc_survives_nonsense(void **state)
{
	(void)state;
	for (u32 value = 0; value < 256; value++) {
		set_bcd((u16)(value << 8 | value), (u8)value, (u8)value, (u8)value, (u8)value,
		        (u8)value);
		rtc_put(0x0b, (u8)value);
		rtc_put(0x0a, (u8)value);
		fake_advance(3 * FAKE_SECOND);
		rtc_put(0x0a, 0x26);
		rtc_put(0x0b, 0x06);
		assert_in_range(rtc_get(8), 1, 12);
		assert_in_range(rtc_get(7), 1, 31);
		assert_in_range(rtc_get(4), 0, 23);
	}
}

static void test_rtc_update_in_progress(void **state)
{
	(void)state;
	fake_advance(FAKE_SECOND - 3 * MS);
	assert_int_equal(rtc_get(0x0a) & 0x80, 0);
	fake_advance(1 * MS);
	assert_int_equal(rtc_get(0x0a) & 0x80, 0x80);
	fake_advance(2 * MS);
	assert_int_equal(rtc_get(0x0a) & 0x80, 0);
	rtc_put(0x0a, 0xa6); /* UIP cannot be written */
	assert_int_equal(rtc_get(0x0a), 0x26);
}

static void test_rtc_update_interrupt(void **state)
{
	(void)state;
	rtc_put(0x0b, 0x12);
	fake_advance(FAKE_SECOND - 10);
	assert_false(fake->line[IRQ]);
	fake_advance(20);
	assert_true(fake->line[IRQ]);
	fake_advance(5 * FAKE_SECOND); /* not acknowledged: stays, and costs no timer */
	assert_int_equal(fake->rises[IRQ], 1);
	assert_int_equal(rtc_get(0x0c) & 0x90, 0x90);
	assert_false(fake->line[IRQ]);
	assert_int_equal(rtc_get(0x0c), 0);
	fake_advance(FAKE_SECOND);
	assert_int_equal(fake->rises[IRQ], 2);
	rtc_put(0x0b, 0x02); /* IRQF stands until C is read */
	assert_true(fake->line[IRQ]);
	assert_int_equal(rtc_get(0x0c) & 0x90, 0x90);
}

static void test_rtc_flags_without_enable(void **state)
{
	(void)state;
	fake_advance(2 * FAKE_SECOND);
	assert_int_equal(rtc_get(0x0c) & 0x90, 0x10); /* UF, but no IRQF */
	assert_int_equal(fake->rises[IRQ], 0);
}

static void test_rtc_periodic_interrupt(void **state)
{
	static const struct {
		u8 rate;
		u32 hz;
	} rates[] = {{3, 8192}, {6, 1024}, {15, 2}, {1, 256}, {2, 128}};

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(rates); i++) {
		u64 start = fake->tsc;
		u32 ticks = 0;

		rtc_put(0x0b, 0x02);
		rtc_get(0x0c);
		rtc_put(0x0a, 0x20 | rates[i].rate);
		rtc_put(0x0b, 0x42);
		while (fake->tsc - start < FAKE_SECOND) {
			fake_advance(FAKE_SECOND / 20000);
			if (fake->line[IRQ]) {
				assert_int_equal(rtc_get(0x0c) & 0xc0, 0xc0);
				ticks++;
			}
		}
		assert_in_range(ticks, rates[i].hz - 1, rates[i].hz + 1);
	}
	rtc_put(0x0a, 0x20); /* rate 0: none */
	rtc_get(0x0c);
	fake_advance(2 * FAKE_SECOND);
	assert_int_equal(rtc_get(0x0c) & 0xc0, 0);
}

static void test_rtc_alarm(void **state)
{
	(void)state;
	rtc_put(5, 0x13);
	rtc_put(3, 0x01);
	rtc_put(1, 0x05);
	rtc_put(0x0b, 0x22);
	fake_advance(3664 * FAKE_SECOND);
	assert_false(fake->line[IRQ]);
	fake_advance(FAKE_SECOND + 100);
	assert_true(fake->line[IRQ]);
	assert_int_equal(rtc_get(0x0c) & 0xb0, 0xb0);
	rtc_put(5, 0xff); /* any hour, any minute */
	rtc_put(3, 0xc0);
	fake_advance(59 * FAKE_SECOND);
	assert_false(fake->line[IRQ]);
	fake_advance(FAKE_SECOND);
	assert_true(fake->line[IRQ]);
}

/* Found later, over a gap of days, without a timer; and one that never comes is not found. */
static void test_rtc_alarm_found_late(void **state)
{
	(void)state;
	rtc_put(5, 0x11);
	rtc_put(3, 0x59);
	rtc_put(1, 0x59);
	fake_advance(86398 * FAKE_SECOND);
	assert_int_equal(rtc_get(0x0c) & 0x20, 0);
	fake_advance(1 * FAKE_SECOND);
	assert_int_equal(rtc_get(0x0c) & 0x20, 0x20);
	fake_advance(200 * 86400 * FAKE_SECOND);
	assert_int_equal(rtc_get(0x0c) & 0x20, 0x20);
	rtc_put(1, 0x75);
	fake_advance(200 * 86400 * FAKE_SECOND);
	assert_int_equal(rtc_get(0x0c) & 0x20, 0);
}

static void test_rtc_memory(void **state)
{
	(void)state;
	assert_int_equal(rtc_get(0x15) | rtc_get(0x16) << 8, 640);
	assert_int_equal(rtc_get(0x17) | rtc_get(0x18) << 8, 63 * 1024);
	assert_int_equal(rtc_get(0x30) | rtc_get(0x31) << 8, 63 * 1024);
	assert_int_equal(rtc_get(0x34) | rtc_get(0x35) << 8, 48 * 16);
	assert_int_equal(rtc_get(0x5b) | rtc_get(0x5c) << 8 | rtc_get(0x5d) << 16, 0);
	assert_int_equal(rtc_get(0x5f), 3); /* processors beside the first */
	rtc_put(0x0f, 0x0a);                /* shutdown status, written by SMP kernels */
	assert_int_equal(rtc_get(0x0f), 0x0a);
	rtc_put(0x8e, 0x77); /* bit 7 gates NMIs, it is no address bit */
	assert_int_equal(rtc_get(0x0e), 0x77);
	rtc_put(0x0d, 0); /* read only */
	assert_int_equal(rtc_get(0x0d), 0x80);
	assert_int_equal(fake_in(0x70, 1), 0xff);
	fake_out(0x70, 2, 0x550e); /* two byte accesses */
	assert_int_equal(fake_in(0x70, 2), 0x55ff);
}

/* What lies above 4 GiB, in units of 64 KiB, and how many processors. */
static void test_rtc_high_memory(void **state)
{
	struct vm *vm;

	fake_setup_bare(state);
	vm = &fake->vm;
	vm->region[vm->region_count++] = (struct vm_region){GPA(4ull << 30), 61ull << 30, NULL};
	vm->vcpu_count = 1;
	assert_true(platform_create(vm));
	assert_int_equal(rtc_get(0x5b) | rtc_get(0x5c) << 8 | rtc_get(0x5d) << 16, 61 << 14);
	assert_int_equal(rtc_get(0x5f), 0);
	assert_int_equal(rtc_get(0x34) | rtc_get(0x35) << 8, 48 * 16);
	fake_teardown(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(test_rtc_power_on_time),
	        TEST(test_rtc_runs),
	        TEST(test_rtc_formats),
	        TEST(test_rtc_set_holds_time),
	        TEST(test_rtc_set_time),
	        TEST(test_rtc_divider_release_is_half_a_second),
	        TEST(test_rtc_survives_nonsense),
	        TEST(test_rtc_update_in_progress),
	        TEST(test_rtc_update_interrupt),
	        TEST(test_rtc_flags_without_enable),
	        TEST(test_rtc_periodic_interrupt),
	        TEST(test_rtc_alarm),
	        TEST(test_rtc_alarm_found_late),
	        TEST(test_rtc_memory),
	        cmocka_unit_test(test_rtc_high_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
