/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ExtINT on the whole hypervisor: a scripted guest takes the 8254's ticks by the 8259 pair and LVT0,
 * with the pair in the core and with the platform's (irqchip=split), with and without reinjection,
 * in xAPIC and x2APIC mode. Ends with the timer running and its line high.
 */
#include "tests/model/harness.h"

#include "platform/devices.h"

#define BASE  0x30
#define TICKS 30
#define HZ    1193

static u32 taken;

static void tick(u8 vector __unused, u32 error __unused)
{
	taken++;
	g_out(0x20, 0x20, 1);
}

static void init_pics(void)
{
	g_out(0x20, 0x11, 1);
	g_out(0x21, BASE, 1);
	g_out(0x21, 0x04, 1);
	g_out(0x21, 0x01, 1);
	g_out(0x21, 0xfe, 1);
	g_out(0xa0, 0x11, 1);
	g_out(0xa1, BASE + 8, 1);
	g_out(0xa1, 0x02, 1);
	g_out(0xa1, 0x01, 1);
	g_out(0xa1, 0xff, 1);
}

static void bsp(void *arg __unused)
{
	g_set_handler(BASE, tick);
	g_apic_enable();
	g_apic_write(APIC_LVT0, APIC_DM_EXTINT);
	init_pics();
	g_out(0x43, 0x34, 1);
	g_out(0x40, HZ & 0xff, 1);
	g_out(0x40, HZ >> 8, 1);
	while (taken < TICKS) {
		g_sti();
		g_hlt();
		g_cli();
	}
	g_exit(0);
}

static void run(bool xapic, bool split, bool reinject)
{
	const struct harness config = {
	        .vcpus = 2, .cpus = 2, .xapic = xapic, .split = split, .reinject = reinject};
	struct platform *platform;

	taken = 0;
	harness_create(&config);
	guest_bind(HARNESS_BSP, bsp, NULL);
	harness_run_to_end(ENDED_DEBUG_EXIT);
	assert_int_equal(taken, TICKS);
	assert_true(harness_counter(COUNTER_INJ_EXTINT) >= TICKS);
	platform = harness_vm->platform;
	/* Whose pair was asked: every INTA cycle went to its owner. */
	assert_int_equal(atomic32_read(&platform->irqchip.acks) >= TICKS, split);
	assert_int_equal(harness_vm->pic.vm == NULL, split);
	harness_destroy();
}

static void test_extint_ticks_full(void **state __unused)
{
	run(false, false, false);
	run(true, false, false);
}

static void test_extint_ticks_split(void **state __unused)
{
	run(false, true, false);
	run(true, true, false);
}

static void test_extint_ticks_reinjected(void **state __unused)
{
	run(false, false, true);
	run(true, true, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_extint_ticks_full),
	        cmocka_unit_test(test_extint_ticks_split),
	        cmocka_unit_test(test_extint_ticks_reinjected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
