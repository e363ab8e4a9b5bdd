/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The look at each entry (irq/accel_check.h) is one comparison with what was noted before. It has to say the same
 * as the rule, for all modes, masks and windows, and as long as nobody has asked for anything.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "irq/accel_check.h"

static struct vm vm;
static struct vcpu vcpu;

/* No reason, each one, each two, and all. */
static void on_each_mask(void (*look)(u32 mask))
{
	look(0);
	look(BIT(INHIBIT_COUNT) - 1);
	for (u32 i = 0; i < INHIBIT_COUNT; i++)
		for (u32 j = 0; j <= i; j++)
			look(BIT(i) | BIT(j));
}

static void compare(u32 mask)
{
	atomic32_set(&vm.inhibit.mask, mask);
	for (u32 window = 0; window < 2; window++) {
		enum accel_mode demanded = mask || window ? ACCEL_OFF : vcpu.accel.local_mode;

		vcpu.accel.window = window;
		assert_int_equal(accel_demanded(&vcpu), demanded);
		assert_int_equal(accel_is_wrong(&vcpu),
		                 atomic32_read(&vcpu.accel.mode) != demanded);
	}
}

static void test_same_as_the_rule(void **state __unused)
{
	vcpu.vm = &vm;
	for (u32 mode = ACCEL_OFF; mode <= ACCEL_X2APIC; mode++) {
		for (u32 local = ACCEL_OFF; local <= ACCEL_X2APIC; local++) {
			atomic32_set(&vcpu.accel.mode, mode);
			vcpu.accel.local_mode = local;
			accel_note_wrong(&vcpu.accel);
			on_each_mask(compare);
		}
	}
}

static void right(u32 mask)
{
	atomic32_set(&vm.inhibit.mask, mask);
	assert_false(accel_is_wrong(&vcpu));
}

/* A VM that is never accelerated notes nothing. */
static void test_right_from_the_start(void **state __unused)
{
	vcpu = (struct vcpu){.vm = &vm};
	on_each_mask(right);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_right_from_the_start),
	        cmocka_unit_test(test_same_as_the_rule),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
