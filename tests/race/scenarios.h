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
/* avic_block.c */
extern const struct race_scenario race_avic_block;
extern const struct race_scenario race_avic_block_post;
extern const struct race_scenario race_avic_block_both;
extern const struct race_scenario race_avic_block_processor;
extern const struct race_scenario race_avic_block_erratum; /* must fail */
extern const struct race_scenario race_avic_block_workaround;
extern const struct race_scenario race_avic_block_workaround_processor;
extern const struct race_scenario race_avic_block_workaround_alone;
extern const struct race_scenario race_avic_block_running_last; /* must fail */
extern const struct race_scenario race_avic_block_blocked_last; /* must fail */
extern const struct race_scenario race_avic_off;
extern const struct race_scenario race_avic_off_post;
extern const struct race_scenario race_avic_off_both;
extern const struct race_scenario race_avic_off_workaround;
extern const struct race_scenario race_avic_off_looks_first;   /* must fail */
extern const struct race_scenario race_avic_off_asks_first;    /* must fail */
extern const struct race_scenario race_avic_off_sums_up_first; /* must fail */
/* avic_move.c */
extern const struct race_scenario race_avic_move;
extern const struct race_scenario race_avic_move_post;
extern const struct race_scenario race_avic_move_erratum; /* must fail */
extern const struct race_scenario race_avic_move_workaround;
extern const struct race_scenario race_avic_entry_writers;
/* avic_loop.c */
extern const struct race_scenario race_avic_entry;
extern const struct race_scenario race_avic_entry_post;
extern const struct race_scenario race_avic_entry_looks_first; /* must fail */
extern const struct race_scenario race_avic_entry_workaround;
extern const struct race_scenario race_avic_on;
extern const struct race_scenario race_avic_on_post;
extern const struct race_scenario race_avic_off_loop;
extern const struct race_scenario race_avic_off_loop_post;
extern const struct race_scenario race_avic_sleep;
extern const struct race_scenario race_avic_sleep_post;
extern const struct race_scenario race_avic_sleep_erratum; /* must fail */
extern const struct race_scenario race_avic_sleep_workaround;
extern const struct race_scenario race_avic_loop_move;
extern const struct race_scenario race_avic_loop_move_post;
extern const struct race_scenario race_avic_loop_move_erratum; /* must fail */
extern const struct race_scenario race_avic_loop_move_workaround;

#endif
