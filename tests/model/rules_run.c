/* SPDX-License-Identifier: BSD-2-Clause */
/* Rules on the processor model: each on a machine of its own, in each mode a test. See rules.h. */
#include "tests/model/rules.h"

#define MOST_RULES 64

struct rules rules;

static void boot_processor(void *arg __unused)
{
	rules.rule->script();
	g_exit(0);
}

static void run(const struct rule *rule, bool xapic, bool split)
{
	memset(&rules, 0, sizeof(rules));
	rules.rule = rule;
	harness_create(&(struct harness){
	        .vcpus = rule->vcpus,
	        .cpus = rule->vcpus > 1 ? 2 : 1,
	        .max_steps = 20000000,
	        .xapic = xapic,
	        .split = split,
	        .testdev = true,
	        .msidevs = rule->msidev,
	        .reinject = rule->reinject,
	        .no_avic = xapic ? rule->no_avic_page : rule->no_x2avic,
	        .no_accel = xapic && rule->no_apicv,
	        .no_x2apic = rule->no_x2apic,
	        .no_tsc_deadline = rule->no_tsc_deadline,
	});
	guest_bind(HARNESS_BSP, boot_processor, NULL);
	guest_bind(HARNESS_AP, rule->ap ? rule->ap : rules_sleep_for_ever, NULL);
	g_set_handler(VECTOR_NMI, rules_note);
	for (u32 vector = 32; vector < 256; vector++)
		g_set_handler((u8)vector, rules_note);
	if (rule->prepare)
		rule->prepare();
	harness_run_to_end(rule->ending ? (enum ending)rule->ending : ENDED_DEBUG_EXIT);
	if (!rule->ending)
		assert_int_equal(atomic32_read(&harness_vm->exit_code), 1);
	if (rule->check)
		rule->check();
	harness_destroy();
}

static void run_xapic(void **state)
{
	const struct rule *rule = *state;

	run(rule, true, false);
	if (rule->both_pics)
		run(rule, true, true);
}

static void run_x2apic(void **state)
{
	const struct rule *rule = *state;

	/* Not offered: then the rule is about just that, and the guest stays in xAPIC mode. */
	run(rule, rule->no_x2apic, false);
	if (rule->both_pics)
		run(rule, rule->no_x2apic, true);
}

int rules_main(const struct rule *list, u32 count)
{
	static struct CMUnitTest tests[2 * MOST_RULES];
	static char names[2 * MOST_RULES][80];
	u32 n = 0;

	assert_true(count <= MOST_RULES);
	for (u32 i = 0; i < count; i++) {
		for (u32 mode = 0; mode < 2; mode++, n++) {
			snprintf(names[n], sizeof(names[n]), "%s: %s", list[i].name,
			         mode ? "x2APIC" : "xAPIC");
			tests[n] = (struct CMUnitTest){
			        .name = names[n],
			        .test_func = mode ? run_x2apic : run_xapic,
			        .initial_state = (void *)(uintptr_t)&list[i],
			};
		}
	}
	return _cmocka_run_group_tests("rules", tests, n, NULL, NULL);
}
