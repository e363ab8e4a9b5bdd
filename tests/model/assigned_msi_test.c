/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest of msi_test.c with devices that are assigned: their messages come while it moves them between vCPUs and
 * vectors, and acceleration comes and goes. None is lost, none comes twice, whichever way each goes. Those that the
 * host's APIC has made one interrupt of are one from there on: what is accounted for is what software delivers, and
 * what the IOMMU posts.
 */
#include "tests/model/msi_guest.h"

#include "core/machine.h"
#include "irq/inhibit.h"
#include "platform/platform.h"

static const char *const processors[] = {"broadwell", "sapphire-rapids", "westmere"};

static u64 count_of(enum vtd_count which)
{
	return model()->vtd.counts[which];
}

static u64 delivered(void)
{
	const struct platform *platform = harness_vm->platform;
	u64 sum = 0;

	for (u32 i = 0; i < harness.msidevs; i++)
		sum += platform->msidev[i].function->assigned.delivered;
	return sum;
}

/* Every message is posted or remapped, and then as any other. */
static void check(struct msi_sum sum)
{
	assert_int_equal(count_of(VTD_REFUSED) + count_of(VTD_PASSED), 0);
	assert_int_equal(sum.sent, count_of(VTD_POSTED) + count_of(VTD_REMAPPED));
	assert_in_range(delivered(), count_of(VTD_REMAPPED) ? 1 : 0, count_of(VTD_REMAPPED));
	sum.sent = count_of(VTD_POSTED) + delivered();
	sum.coalesced += count_of(VTD_COALESCED);
	msi_check_messages(&sum);
}

static void run_one(struct harness config, struct msi_run run)
{
	config.assigned = true;
	config.vcpus = 3;
	for (u32 xapic = 0; xapic < 2; xapic++) {
		for (u32 seed = 0; seed < 6; seed++) {
			config.xapic = xapic;
			config.cpus = 1 + seed % 3;
			config.seed = run.seed = seed;
			config.switch_ppm = seed ? 20000 : 0;
			check(msi_execute(config, &run));
			harness_destroy();
		}
	}
}

static void test_moved_meanwhile(void **state __unused)
{
	const struct msi_run run = {.rounds = 60, .moves = true, .device = {0, 3}};

	for (u32 i = 0; i < ARRAY_SIZE(processors); i++)
		run_one((struct harness){.processor = processors[i]}, run);
	run_one((struct harness){.processor = "broadwell", .no_iommu_posting = true}, run);
}

static void test_one_target(void **state __unused)
{
	const struct msi_run run = {.rounds = 60, .device = {1, 1}};

	run_one((struct harness){.processor = "broadwell"}, run);
	assert_int_equal(count_of(VTD_REMAPPED), 0);
	assert_true(count_of(VTD_POSTED) > 0);
}

/* Acceleration is switched between any two instructions, and so the way that messages go. */
static void test_switched_meanwhile(void **state __unused)
{
	const struct msi_run run = {.rounds = 40, .moves = true, .device = {0, 3}};

	assert_int_equal(setenv("POSTERN_TEST_INHIBIT", "toggled/7", 1), 0);
	run_one((struct harness){.processor = "broadwell"}, run);
	assert_true(count_of(VTD_POSTED) && count_of(VTD_REMAPPED));
	run_one((struct harness){.processor = "sapphire-rapids"}, run);
	assert_int_equal(unsetenv("POSTERN_TEST_INHIBIT"), 0);
}

/* The pin is no message, and no business of the IOMMU's. */
static void test_pin(void **state __unused)
{
	const struct msi_run run = {.rounds = 20, .pin = true, .device = {0, 2}};
	struct harness config = {.processor = "broadwell", .assigned = true, .vcpus = 2, .cpus = 2};
	struct msi_sum sum = msi_execute(config, &run);

	msi_check_pin(&sum);
	assert_int_equal(count_of(VTD_POSTED) + count_of(VTD_REMAPPED) + count_of(VTD_PASSED), 0);
	harness_destroy();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_moved_meanwhile),
	        cmocka_unit_test(test_one_target),
	        cmocka_unit_test(test_switched_meanwhile),
	        cmocka_unit_test(test_pin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
