/* SPDX-License-Identifier: BSD-2-Clause */
/* platform/pm.c, exit.c, kbd.c: power, reset, exit ports, the PM timer. */
#include "platform_fake.h"

#define PM1_STS  0x600
#define PM1_EN   0x602
#define PM1_CNT  0x604
#define PM_TMR   0x608
#define SCI      9
#define CARRY_NS (((1ull << 31) * 1000000000ull) / PM_TIMER_HZ + 1)

static void expect_end(enum ending ending, u32 code)
{
	assert_int_equal(fake->ends, 1);
	assert_int_equal(fake->ended, ending);
	assert_int_equal(fake->end_code, code);
}

static void test_pm_timer_rate(void **state)
{
	(void)state;
	assert_int_equal(fake_in(PM_TMR, 4), 0);
	fake_advance(FAKE_SECOND);
	assert_int_equal(fake_in(PM_TMR, 4), 3579545);
	fake_advance(FAKE_SECOND / 2);
	assert_int_equal(fake_in(PM_TMR, 4), 3579545 * 3 / 2);
	fake_advance(2400 * FAKE_SECOND); /* wraps at 32 bits */
	assert_int_equal(fake_in(PM_TMR, 4), (3579545ull * 4803 / 2) & 0xffffffff);
	assert_int_equal(fake_in(PM_TMR + 2, 2), fake_in(PM_TMR, 4) >> 16);
	assert_int_equal(fake_in(PM_TMR + 3, 1), fake_in(PM_TMR, 4) >> 24);
}

static void test_pm_timer_carry(void **state)
{
	(void)state;
	fake_advance(CARRY_NS - 1000);
	assert_int_equal(fake_in(PM1_STS, 2), 0);
	fake_advance(2000);
	assert_int_equal(fake_in(PM1_STS, 2), 1);
	assert_false(fake->line[SCI]); /* not enabled */
	fake_out(PM1_EN, 2, 1);
	assert_true(fake->line[SCI]);
	fake_out(PM1_STS, 2, 0); /* only ones clear */
	assert_true(fake->line[SCI]);
	fake_out(PM1_STS, 2, 1);
	assert_false(fake->line[SCI]);
	assert_int_equal(fake_in(PM1_STS, 2), 0);
	fake_advance(CARRY_NS); /* now by timer */
	assert_true(fake->line[SCI]);
	fake_out(PM1_EN, 1, 0);
	assert_false(fake->line[SCI]);
}

static void test_pm_registers(void **state)
{
	(void)state;
	fake_out(PM1_EN, 2, 0xffff);
	assert_int_equal(fake_in(PM1_EN, 2), 0x0721);
	fake_out(PM1_EN, 1, 0); /* one byte of it */
	assert_int_equal(fake_in(PM1_EN, 2), 0x0700);
	assert_int_equal(fake_in(PM1_STS, 4), 0x07000000);
	assert_int_equal(fake_in(PM1_CNT, 2), 0x0001); /* SCI_EN */
	fake_out(PM1_CNT, 2, 0x1402);                  /* SLP_TYP without SLP_EN */
	assert_int_equal(fake_in(PM1_CNT, 2), 0x1403);
	fake_out(PM1_CNT, 2, 0);
	assert_int_equal(fake_in(PM1_CNT, 2), 0x0001);
	assert_int_equal(fake_in(0x606, 4), (fake_in(PM_TMR, 2) & 0xffff) << 16);
	assert_int_equal(fake_in(0x60c, 4), 0);
	assert_int_equal(fake->ends, 0);
}

static void test_pm_soft_off(void **state)
{
	(void)state;
	fake_out(PLATFORM_STATUS_PORT, 1, 42);
	assert_int_equal(fake_in(PLATFORM_STATUS_PORT, 1), 42);
	fake_out(PM1_CNT, 2, 0x2401); /* another sleep type */
	assert_int_equal(fake->ends, 0);
	fake_out(PM1_CNT, 2, 0x3401);
	expect_end(ENDED_POWEROFF, 42);
	assert_int_equal(fake_in(PM1_CNT, 2) & 0x2000, 0);
}

static void test_pm_soft_off_by_bytes(void **state)
{
	(void)state;
	fake_out(PM1_CNT, 1, 0x01);
	fake_out(PM1_CNT + 1, 1, 0x34);
	expect_end(ENDED_POWEROFF, 0);
}

static void test_exit_status_is_one_byte(void **state)
{
	(void)state;
	fake_out(PLATFORM_STATUS_PORT, 1, 0x1ff);
	assert_int_equal(atomic32_read(&fake->vm.exit_code), 0xff);
}

static void test_exit_debug_byte(void **state)
{
	(void)state;
	fake_out(PLATFORM_DEBUG_EXIT_PORT, 1, 0xff10);
	expect_end(ENDED_DEBUG_EXIT, 0x21);
}

static void test_exit_debug_dword(void **state)
{
	(void)state;
	fake_out(PLATFORM_DEBUG_EXIT_PORT, 4, 0x12345678);
	expect_end(ENDED_DEBUG_EXIT, 0x2468acf1);
}

static void test_kbd_pulse_resets(void **state)
{
	(void)state;
	fake_out(0x64, 1, 0xff); /* pulses nothing */
	assert_int_equal(fake->ends, 0);
	fake_out(0x64, 1, 0xfe);
	expect_end(ENDED_RESET, 0);
}

static void test_kbd_output_port_resets(void **state)
{
	(void)state;
	fake_out(0x64, 1, 0xd1);
	fake_out(0x60, 1, 0xdf); /* A20 */
	assert_int_equal(fake->ends, 0);
	fake_out(0x64, 1, 0xd1);
	fake_out(0x60, 1, 0xfe);
	expect_end(ENDED_RESET, 0);
}

/* Enabling and disabling its ports is seen in the configuration byte, and nowhere else. */
static void test_kbd_ports_are_switched(void **state)
{
	static const struct {
		u8 command, config;
	} steps[] = {{0xae, 0x20}, {0xa8, 0x00}, {0xad, 0x10}, {0xa7, 0x30},
	             {0xa7, 0x30}, {0xae, 0x20}, {0x01, 0x20}, {0xaa, 0x30}};

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(steps); i++) {
		fake_out(0x64, 1, steps[i].command);
		assert_int_equal(fake_in(0x64, 1) & 1, steps[i].command == 0xaa);
		fake_in(0x60, 1);
		fake_out(0x64, 1, 0x20);
		assert_int_equal(fake_in(0x64, 1) & 1, 1);
		assert_int_equal(fake_in(0x60, 1), steps[i].config);
		assert_int_equal(fake_in(0x64, 1) & 1, 0);
	}
	assert_int_equal(fake->ends, 0);
}

static void test_kbd_port_a(void **state)
{
	(void)state;
	assert_int_equal(fake_in(0x92, 1), 0x02);
	fake_out(0x92, 1, 0x02);
	assert_int_equal(fake->ends, 0);
	fake_out(0x92, 1, 0x03);
	expect_end(ENDED_RESET, 0);
}

static void test_kbd_answers_at_once(void **state)
{
	(void)state;
	assert_int_equal(fake_in(0x64, 1) & 0x03, 0); /* nothing to read, ready for more */
	fake_out(0x64, 1, 0xaa);
	assert_int_equal(fake_in(0x64, 1) & 0x03, 0x01);
	assert_int_equal(fake_in(0x60, 1), 0x55);
	assert_int_equal(fake_in(0x64, 1) & 0x03, 0);
	fake_out(0x64, 1, 0x60);
	fake_out(0x60, 1, 0x47);
	fake_out(0x64, 1, 0x20);
	assert_int_equal(fake_in(0x60, 1), 0x47);
	fake_out(0x64, 1, 0xab);
	assert_int_not_equal(fake_in(0x60, 1), 0); /* the port is dead */
	fake_out(0x60, 1, 0xff);                   /* to a keyboard that is not there */
	assert_int_equal(fake_in(0x64, 1) & 0x03, 0);
	assert_int_equal(fake->ends, 0);
}

static void test_legacy_ports_are_quiet(void **state)
{
	static const u16 ports[] = {0x00, 0x0f, 0x80, 0x81, 0x8f, 0xc0, 0xdf};

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(ports); i++)
		assert_true(fake_decodes(ports[i]));
	fake_out(0x80, 1, 0xaa);
	assert_int_equal(fake_in(0x80, 1), 0xaa);
	fake_out(0x82, 2, 0x1234);
	assert_int_equal(fake_in(0x83, 1), 0x12);
	fake_out(0x0f, 1, 0xff);
	assert_int_equal(fake_in(0x08, 1), 0);
	assert_false(fake_decodes(0x2f8));
	assert_false(fake_decodes(0x20)); /* the interrupt controllers are elsewhere */
	assert_false(fake_decodes(0x61));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(test_pm_timer_rate),          TEST(test_pm_timer_carry),
	        TEST(test_pm_registers),           TEST(test_pm_soft_off),
	        TEST(test_pm_soft_off_by_bytes),   TEST(test_exit_status_is_one_byte),
	        TEST(test_exit_debug_byte),        TEST(test_exit_debug_dword),
	        TEST(test_kbd_pulse_resets),       TEST(test_kbd_output_port_resets),
	        TEST(test_kbd_ports_are_switched), TEST(test_kbd_port_a),
	        TEST(test_kbd_answers_at_once),    TEST(test_legacy_ports_are_quiet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
