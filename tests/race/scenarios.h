/* SPDX-License-Identifier: BSD-2-Clause */
/* What the explorer explores. */
#ifndef TESTS_RACE_SCENARIOS_H
#define TESTS_RACE_SCENARIOS_H

#include "tests/race/explore.h"

/* sleep.c */
extern const struct race_scenario race_sleep;
extern const struct race_scenario race_sleep_processor;
extern const struct race_scenario race_sleep_wrong; /* must fail */
/* kick.c */
extern const struct race_scenario race_kick;
/* route.c */
extern const struct race_scenario race_route_fall;
extern const struct race_scenario race_route_rise;
/* account.c */
extern const struct race_scenario race_account;
extern const struct race_scenario race_account_neighbour;
extern const struct race_scenario race_account_wrong; /* must fail */

#endif
