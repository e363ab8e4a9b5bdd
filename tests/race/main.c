/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Explore every scenario, print how much that was, and say whether it came out as it should.
 * Usage: explorer [PREEMPTIONS]   (default: unbounded)
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
};

static bool run(u32 i, const struct race_limits *limits)
{
	static struct race_result result;
	const char *expected = table[i].failure;
	bool ok;

	race_explore(table[i].scenario, limits, &result);
	if (expected)
		ok = result.failure && strstr(result.failure, expected);
	else
		ok = !result.failure && result.complete;
	printf("# %s: %llu interleavings, %llu equivalent ones pruned, %llu states, depth %u, "
	       "%u shared addresses, %s\n",
	       table[i].scenario->name, (unsigned long long)result.executions,
	       (unsigned long long)result.pruned, (unsigned long long)result.states, result.depth,
	       result.shared, result.complete ? "complete" : "stopped");
	if (result.failure)
		printf("#   %s: %s\n", expected ? "found, as it must be" : "FAILURE",
		       result.failure);
	if (result.failure && !expected)
		printf("%s", result.trace);
	printf("%s race: %s\n", ok ? "ok" : "not ok", table[i].scenario->name);
	return ok;
}

int main(int argc, char **argv)
{
	struct race_limits limits = {.preemptions = RACE_UNBOUNDED};
	bool ok = true;

	if (argc > 1)
		limits.preemptions = (u32)strtoul(argv[1], NULL, 0);
	for (u32 i = 0; i < ARRAY_SIZE(table); i++)
		ok &= run(i, &limits);
	return ok ? 0 : 1;
}
