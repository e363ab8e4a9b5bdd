/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Explore every scenario, print how much that was, and say whether it came out as it should.
 * Usage: explorer [PREEMPTIONS [PART]]   (default: unbounded, all; PART: of a scenario's name)
 */
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
        {&race_kick, NULL},
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
        {&race_inhibit_set, NULL},
        {&race_inhibit_clear, NULL},
        {&race_inhibit_toggle, NULL},
        {&race_inhibit_set_two, NULL},
        {&race_inhibit_callers_set, NULL},
        {&race_inhibit_callers, NULL},
        {&race_inhibit_callers_clear, NULL},
        {&race_window_storm, NULL},
        {&race_window_storm_kept, NULL},
        {&race_window_rising, NULL},
        {&race_window_falling, NULL},
        {&race_window_two, NULL},
        {&race_window_two_kept, NULL},
        {&race_window_two_storm, NULL},
        {&race_page_fault, NULL},
        {&race_page_mapped, NULL},
        {&race_page_again, NULL},
        {&race_page_off_on_off, NULL},
        {&race_page_caller, NULL},
        {&race_page_two, NULL},
        {&race_loop_page, NULL},
        {&race_loop_page_again, NULL},
        {&race_loop_window, NULL},
        {&race_loop_window_again, NULL},
        {&race_hand_over_level, NULL},
        {&race_hand_over_level_again, NULL},
        {&race_hand_over_level_sleep, NULL},
        {&race_hand_over_ipi, NULL},
        {&race_hand_over_ipi_sleep, NULL},
        {&race_hand_over_post, NULL},
        {&race_hand_over_all, NULL},
};

static bool run(u32 i, struct race_limits limits)
{
	static struct race_result result;
	const struct race_scenario *scenario = table[i].scenario;
	const char *expected = table[i].failure;
	char bound[32] = "";
	bool ok;

	if (scenario->preemptions && scenario->preemptions < limits.preemptions)
		limits.preemptions = scenario->preemptions + !!getenv("POSTERN_TEST_FULL");
	if (limits.preemptions != RACE_UNBOUNDED)
		snprintf(bound, sizeof(bound), " up to %u preemptions", limits.preemptions);
	race_explore(scenario, &limits, &result);
	if (expected)
		ok = result.failure && strstr(result.failure, expected);
	else
		ok = !result.failure && result.complete;
	printf("# %s: %llu interleavings, %llu equivalent ones pruned, %llu states, depth %u, "
	       "%u shared addresses, %s%s\n",
	       scenario->name, (unsigned long long)result.executions,
	       (unsigned long long)result.pruned, (unsigned long long)result.states, result.depth,
	       result.shared, result.complete ? "complete" : "stopped", bound);
	if (result.failure)
		printf("#   %s: %s\n", expected ? "found, as it must be" : "FAILURE",
		       result.failure);
	if (result.failure && !expected)
		printf("%s", result.trace);
	printf("%s race: %s\n", ok ? "ok" : "not ok", scenario->name);
	return ok;
}

int main(int argc, char **argv)
{
	struct race_limits limits = {.preemptions = RACE_UNBOUNDED};
	bool ok = true;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 1)
		limits.preemptions = (u32)strtoul(argv[1], NULL, 0);
	for (u32 i = 0; i < ARRAY_SIZE(table); i++)
		if (argc <= 2 || strstr(table[i].scenario->name, argv[2]))
			ok &= run(i, limits);
	return ok ? 0 : 1;
}
