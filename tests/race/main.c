/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Explore every scenario, print how much that was, and say whether it came out as it should.
 * Usage: explorer [PREEMPTIONS [PART]]   (default: unbounded, all; PART: of a scenario's name, or of a
 * wrong code's); explorer PREEMPTIONS matrix: which scenario finds which wrong code.
 */
#include "tests/race/inhibit_wrong.h"
#include "tests/race/scenarios.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const struct race_scenario *scenario;
	const char *failure; /* part of what must be found; NULL: nothing may be */
} table[] = {
        {&race_sleep, NULL},
        {&race_sleep_processor, NULL},
        {&race_sleep_wrong, "lost wake-up"},
        {&race_enqueue, NULL},
        {&race_enqueue_wrong, "nobody tells it"},
        {&race_kick, NULL},
        {&race_kick_vmx, NULL},
        {&race_deadline_cancel, NULL},
        {&race_deadline_memory, "armed that was cancelled"},
        {&race_deadline_arms, "armed that was cancelled"},
        {&race_deadline_expiry, NULL},
        {&race_deadline_trusts, "has come twice"},
        {&race_deadline_run, NULL},
        {&race_deadline_extint, NULL},
        {&race_force, NULL},
        {&race_force_field, "nobody asked for"},
        {&race_force_kept, "does not get ahead"},
        {&race_route_fall, NULL},
        {&race_route_rise, NULL},
        {&race_account, NULL},
        {&race_account_neighbour, NULL},
        {&race_account_wrong, "not in the summary"},
        {&race_avic_block, NULL},
        {&race_avic_block_post, NULL},
        {&race_avic_block_both, NULL},
        {&race_avic_block_processor, NULL},
        {&race_avic_block_erratum, "lost wake-up"},
        {&race_avic_block_workaround, NULL},
        {&race_avic_block_workaround_processor, NULL},
        {&race_avic_block_workaround_alone, NULL},
        {&race_avic_block_running_last, "lost wake-up"},
        {&race_avic_block_blocked_last, "lost wake-up"},
        {&race_avic_off, NULL},
        {&race_avic_off_post, NULL},
        {&race_avic_off_both, NULL},
        {&race_avic_off_workaround, NULL},
        {&race_avic_off_looks_first, "nobody will look"},
        {&race_avic_off_asks_first, "nobody will look"},
        {&race_avic_off_sums_up_first, "not in the summary"},
        {&race_avic_move, NULL},
        {&race_avic_move_post, NULL},
        {&race_avic_move_erratum, "deadlock"},
        {&race_avic_move_workaround, NULL},
        {&race_avic_entry_writers, NULL},
        {&race_avic_entry, NULL},
        {&race_avic_entry_post, NULL},
        {&race_avic_entry_looks_first, "deadlock"},
        {&race_avic_entry_workaround, NULL},
        {&race_avic_on, NULL},
        {&race_avic_on_post, NULL},
        {&race_avic_off_loop, NULL},
        {&race_avic_off_loop_post, NULL},
        {&race_avic_sleep, NULL},
        {&race_avic_sleep_post, NULL},
        {&race_avic_sleep_erratum, "deadlock"},
        {&race_avic_sleep_workaround, NULL},
        {&race_avic_loop_move, NULL},
        {&race_avic_loop_move_post, NULL},
        {&race_avic_loop_move_erratum, "deadlock"},
        {&race_avic_loop_move_workaround, NULL},
        {&race_types_fault, NULL},
        {&race_types_back, NULL},
        {&race_types_callers, NULL},
        {&race_types_two, NULL},
        {&race_types_first, "the type that it had before"},
        {&race_types_unchecked, "the type that it had before"},
        {&race_types_late, "the type that it had before"},
        {&race_types_unlocked, "the type that it had before"},
        {&race_harvest, NULL},
        {&race_harvest_drops, "was lost"},
        {&race_harvest_unmarks_last, "was lost"},
        {&race_harvest_gap, "seen nowhere"},
        {&race_apicv_entry, NULL},
        {&race_apicv_on, NULL},
        {&race_apicv_off, NULL},
        {&race_apicv_sleep, NULL},
        {&race_apicv_toggle, NULL},
        {&race_apicv_held, NULL},
        {&race_apicv_untold, "deadlock"},
        {&race_apicv_marks_first, "deadlock"},
        {&race_apicv_tells_first, "deadlock"},
        {&race_apicv_no_mark, "deadlock"},
        {&race_apicv_to_page, "deadlock"},
        {&race_posted, NULL},
        {&race_posted_on_last, "deadlock"},
        {&race_posted_on_first, "deadlock"},
        {&race_ipiv_spin, NULL},
        {&race_ipiv_sleep, NULL},
        {&race_ipiv_root, NULL},
        {&race_ipiv_no_look, "deadlock"},
};

/* Right code passes all of these; whatever is wrong with it, they are what finds it. */
static const struct race_scenario *const inhibits[] = {
        &race_inhibit_set,
        &race_inhibit_clear,
        &race_inhibit_toggle,
        &race_inhibit_set_two,
        &race_inhibit_callers_set,
        &race_inhibit_callers,
        &race_inhibit_callers_clear,
        &race_window_storm,
        &race_window_storm_kept,
        &race_window_rising,
        &race_window_falling,
        &race_window_two,
        &race_window_two_kept,
        &race_window_two_storm,
        &race_nested_in,
        &race_nested_after,
        &race_nested_own,
        &race_nested_two,
        &race_page_fault,
        &race_page_mapped,
        &race_page_again,
        &race_page_off_on_off,
        &race_page_caller,
        &race_page_two,
        &race_page_local,
        &race_page_ram,
        &race_loop_page,
        &race_loop_page_again,
        &race_loop_window,
        &race_loop_window_again,
        &race_loop_extint,
        &race_loop_extint_again,
        &race_hand_over_level,
        &race_hand_over_level_again,
        &race_hand_over_level_sleep,
        &race_hand_over_ipi,
        &race_hand_over_ipi_sleep,
        &race_hand_over_post,
        &race_hand_over_all,
};

static const struct {
	const struct inhibit_code *code;
	const struct race_scenario *scenario; /* one of the above that finds it */
	const char *failure;                  /* as in the table; NULL: it is right */
} others[] = {
        {&inhibit_mask_first, &race_inhibit_set, "in the guest by an old mask"},
        {&inhibit_mask_after_zap, &race_page_fault, "not intercepted"},
        {&inhibit_waits_until_taken, &race_inhibit_callers_set, "deadlock"},
        {&inhibit_zap_without_sequence, &race_page_fault, "not intercepted"},
        {&inhibit_zap_without_flush, &race_page_mapped, "not intercepted"},
        {&inhibit_zap_shared, &race_page_fault, "not intercepted"},
        {&inhibit_fault_samples_late, &race_page_fault, "not intercepted"},
        {&inhibit_windows_naive, &race_window_two, NULL},
        {&inhibit_windows_naive, &race_window_storm, NULL},
        {&inhibit_windows_two_holds, &race_window_two, "a state that the mask does not demand"},
        {&inhibit_windows_unlocked, &race_window_falling, "the mask is not what stands"},
        {&inhibit_windows_clobber, &race_window_two_kept, "the mask is not what stands"},
        {&inhibit_nested_undoes, &race_nested_in, "the count of windows is negative"},
        {&inhibit_nested_skips, &race_nested_in, "the mask is not what stands"},
        {&inhibit_nested_flag, &race_nested_own, "a guest's guest runs accelerated"},
        {&inhibit_drops_eoi, &race_hand_over_level, "waits for an EOI"},
        {&inhibit_drops_request, &race_hand_over_level, "deadlock"},
};

/* What `code` is expected to do wrong under `scenario`: the bound goes down to the scenario's own. */
static bool run(const struct race_scenario *scenario, const struct inhibit_code *code,
                const char *expected, struct race_limits limits)
{
	static struct race_result result;
	char bound[32] = "", name[160];
	bool ok;

	snprintf(name, sizeof(name), code == &inhibit_right ? "%s" : "%s: %s", scenario->name,
	         code->name);
	if (scenario->preemptions && scenario->preemptions < limits.preemptions)
		limits.preemptions = scenario->preemptions + !!getenv("POSTERN_TEST_FULL");
	if (limits.preemptions != RACE_UNBOUNDED)
		snprintf(bound, sizeof(bound), " up to %u preemptions", limits.preemptions);
	inhibit_code = code;
	race_explore(scenario, &limits, &result);
	if (expected)
		ok = result.failure && strstr(result.failure, expected);
	else
		ok = !result.failure && result.complete;
	printf("# %s: %llu interleavings, %llu equivalent ones pruned, %llu states, depth %u, "
	       "%u shared addresses, %s%s\n",
	       name, (unsigned long long)result.executions, (unsigned long long)result.pruned,
	       (unsigned long long)result.states, result.depth, result.shared,
	       result.complete ? "complete" : "stopped", bound);
	if (result.failure)
		printf("#   %s: %s\n", ok ? "found, as it must be" : "FAILURE", result.failure);
	if (result.failure && !expected)
		printf("%s", result.trace);
	printf("%s race: %s\n", ok ? "ok" : "not ok", name);
	return ok;
}

/* Which scenarios find what: each other code under all. */
static void matrix(struct race_limits limits)
{
	static struct race_result result;

	for (u32 i = 0; i < ARRAY_SIZE(others); i++) {
		inhibit_code = others[i].code;
		if (i && others[i - 1].code == inhibit_code)
			continue;
		for (u32 j = 0; j < ARRAY_SIZE(inhibits); j++) {
			struct race_limits own = limits;

			if (inhibits[j]->preemptions && inhibits[j]->preemptions < own.preemptions)
				own.preemptions = inhibits[j]->preemptions;
			race_explore(inhibits[j], &own, &result);
			printf("%s | %s | %s\n", inhibit_code->name, inhibits[j]->name,
			       result.failure ? result.failure : "-");
		}
	}
}

int main(int argc, char **argv)
{
	struct race_limits limits = {.preemptions = RACE_UNBOUNDED};
	const char *part = argc > 2 ? argv[2] : "";
	bool ok = true;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 1)
		limits.preemptions = (u32)strtoul(argv[1], NULL, 0);
	if (!strcmp(part, "matrix")) {
		matrix(limits);
		return 0;
	}
	for (u32 i = 0; i < ARRAY_SIZE(table); i++)
		if (strstr(table[i].scenario->name, part))
			ok &= run(table[i].scenario, &inhibit_right, table[i].failure, limits);
	for (u32 i = 0; i < ARRAY_SIZE(inhibits); i++)
		if (strstr(inhibits[i]->name, part))
			ok &= run(inhibits[i], &inhibit_right, NULL, limits);
	for (u32 i = 0; i < ARRAY_SIZE(others); i++)
		if (strstr(others[i].scenario->name, part) || strstr(others[i].code->name, part))
			ok &= run(others[i].scenario, others[i].code, others[i].failure, limits);
	return ok ? 0 : 1;
}
