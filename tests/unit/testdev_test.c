/* SPDX-License-Identifier: BSD-2-Clause */
/* platform/testdev.c: lines, echo port, memory, flush port; absent unless asked for. */
#include "platform_fake.h"

#include "platform/testdev.h"

static int setup(void **state)
{
	fake_setup_bare(state);
	fake->vm.config.testdev = true;
	return platform_create(&fake->vm) ? 0 : -1;
}

static const struct bus_range *memory_range(void)
{
	for (u32 i = 0; i < fake->vm.memory.count; i++)
		if (fake->vm.memory.range[i].base == TESTDEV_MEMORY)
			return &fake->vm.memory.range[i];
	fail_msg("no device memory");
	return NULL;
}

static void test_testdev_lines(void **state)
{
	(void)state;
	fake_out(TESTDEV_LINES_PORT + 11, 1, 1);
	assert_true(fake->line[11]);
	assert_int_equal(fake_in(TESTDEV_LINES_PORT + 11, 1), 1);
	fake_out(TESTDEV_LINES_PORT + 20, 4, 1);
	assert_true(fake->line[20]);
	fake_out(TESTDEV_LINES_PORT + 11, 1, 2); /* bit 0 counts */
	assert_false(fake->line[11]);
	assert_true(fake->line[20]);
	assert_false(fake_decodes(TESTDEV_LINES_PORT + TESTDEV_LINES));
}

static void test_testdev_echo_port(void **state)
{
	(void)state;
	fake_out(TESTDEV_ECHO_PORT, 4, 0x12345678);
	assert_int_equal(fake_in(TESTDEV_ECHO_PORT, 4), 0x12345678);
	fake_out(TESTDEV_ECHO_PORT + 1, 2, 0xabcd);
	assert_int_equal(fake_in(TESTDEV_ECHO_PORT, 4), 0x12abcd78);
}

static void test_testdev_memory(void **state)
{
	const struct bus_range *range = memory_range();

	(void)state;
	assert_int_equal(range->size, TESTDEV_MEMORY_SIZE);
	range->ops->write(range->device, &fake->vcpu[0], 0, 8, 0x1122334455667788);
	range->ops->write(range->device, &fake->vcpu[0], range->size - 1, 1, 0x99);
	assert_int_equal(range->ops->read(range->device, &fake->vcpu[0], 0, 8), 0x1122334455667788);
	assert_int_equal(range->ops->read(range->device, &fake->vcpu[0], 3, 2), 0x4455);
	assert_int_equal(range->ops->read(range->device, &fake->vcpu[0], range->size - 1, 1), 0x99);
}

static void test_testdev_flush_port(void **state)
{
	(void)state;
	fake_out(TESTDEV_FLUSH_PORT, 4, 0x123000);
	assert_int_equal(fake->flushes_of_all, 1);
	assert_int_equal(fake_in(TESTDEV_FLUSH_PORT, 4), 0);
}

static void test_testdev_absent_unless_asked_for(void **state)
{
	(void)state;
	assert_false(fake_decodes(TESTDEV_LINES_PORT));
	assert_false(fake_decodes(TESTDEV_ECHO_PORT));
	assert_int_equal(fake->vm.memory.count, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(test_testdev_lines),
	        TEST(test_testdev_echo_port),
	        TEST(test_testdev_memory),
	        TEST(test_testdev_flush_port),
	        cmocka_unit_test_setup_teardown(test_testdev_absent_unless_asked_for, fake_setup,
	                                        fake_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
