/* SPDX-License-Identifier: BSD-2-Clause */
/* The exits of tests/model/apicv_guest.h on the processor model: each kind exactly as often as its table says. */
#include "tests/model/apicv_guest.h"

static const char *const kind_names[] = {
#define X(id, name, what) name,
        EXIT_KINDS(X)
#undef X
};

static u64 before[EXIT_KIND_COUNT]; /* those of the way into long mode */

static void on_interrupt(u8 vector, u32 error __unused)
{
	apicv_interrupt(vector);
}

static void script(void *arg __unused)
{
	g_set_handler(APICV_VECTOR, on_interrupt);
	g_set_handler(APICV_LEVEL, on_interrupt);
	g_long_mode();
	for (u32 kind = 0; kind < EXIT_KIND_COUNT; kind++)
		before[kind] = harness_exits(kind);
	apicv_run();
	g_exit(0);
}

static u32 compare(enum apicv_processor processor)
{
	u32 wrong = 0;

	for (u32 i = 0; i < ARRAY_SIZE(apicv_kinds); i++) {
		u64 expected = apicv_expected(processor, apicv_kinds[i]);
		u64 counted = harness_exits(apicv_kinds[i]) - before[apicv_kinds[i]];

		if (counted == expected)
			continue;
		print_error("%s: %llu exits, not %llu\n", kind_names[apicv_kinds[i]],
		            (unsigned long long)counted, (unsigned long long)expected);
		wrong++;
	}
	return wrong;
}

static void run(const char *name, enum apicv_processor processor)
{
	apicv_x2 = false;
	harness_create(&(struct harness){.processor = name, .testdev = true});
	guest_bind(HARNESS_BSP, script, NULL);
	harness_run_to_end(ENDED_DEBUG_EXIT);
	assert_int_equal(compare(processor), 0);
	harness_destroy();
}

static void test_westmere(void **state __unused)
{
	run("westmere", APICV_WESTMERE);
}

static void test_broadwell(void **state __unused)
{
	run("broadwell", APICV_BROADWELL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_westmere),
	        cmocka_unit_test(test_broadwell),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
