/* SPDX-License-Identifier: BSD-2-Clause */
/* What the explorer explores. */
#ifndef TESTS_RACE_SCENARIOS_H
#define TESTS_RACE_SCENARIOS_H

#include "tests/race/explore.h"

/* sleep.c */
extern const struct race_scenario race_sleep;
extern const struct race_scenario race_sleep_processor;
extern const struct race_scenario race_sleep_wrong; /* must fail */
extern const struct race_scenario race_enqueue;
extern const struct race_scenario race_enqueue_wrong; /* must fail */
/* kick.c */
extern const struct race_scenario race_kick;
extern const struct race_scenario race_kick_vmx;
/* entry_timer.c */
extern const struct race_scenario race_deadline_cancel;
extern const struct race_scenario race_deadline_memory; /* must fail */
extern const struct race_scenario race_deadline_arms;   /* must fail */
extern const struct race_scenario race_deadline_expiry;
extern const struct race_scenario race_deadline_trusts; /* must fail */
extern const struct race_scenario race_deadline_run;
extern const struct race_scenario race_deadline_extint;
extern const struct race_scenario race_force;
extern const struct race_scenario race_force_field; /* must fail */
extern const struct race_scenario race_force_kept;  /* must fail */
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
/* apicv.c */
extern const struct race_scenario race_harvest;
extern const struct race_scenario race_harvest_drops;        /* must fail */
extern const struct race_scenario race_harvest_unmarks_last; /* must fail */
extern const struct race_scenario race_harvest_gap;          /* must fail */
extern const struct race_scenario race_apicv_entry;
extern const struct race_scenario race_apicv_on;
extern const struct race_scenario race_apicv_off;
extern const struct race_scenario race_apicv_sleep;
extern const struct race_scenario race_apicv_toggle;
extern const struct race_scenario race_apicv_held;
extern const struct race_scenario race_apicv_untold;      /* must fail */
extern const struct race_scenario race_apicv_marks_first; /* must fail */
extern const struct race_scenario race_apicv_tells_first; /* must fail */
extern const struct race_scenario race_apicv_no_mark;     /* must fail */
extern const struct race_scenario race_apicv_to_page;     /* must fail */
/* vapic.c */
extern const struct race_scenario race_posted;
extern const struct race_scenario race_posted_on_last;  /* must fail */
extern const struct race_scenario race_posted_on_first; /* must fail */
/* ipiv.c */
extern const struct race_scenario race_ipiv_spin;
extern const struct race_scenario race_ipiv_sleep;
extern const struct race_scenario race_ipiv_root;
extern const struct race_scenario race_ipiv_no_look; /* must fail */
/* inhibit_turn.c */
extern const struct race_scenario race_inhibit_set;
extern const struct race_scenario race_inhibit_clear;
extern const struct race_scenario race_inhibit_toggle;
extern const struct race_scenario race_inhibit_set_two;
extern const struct race_scenario race_inhibit_callers_set;
extern const struct race_scenario race_inhibit_callers;
extern const struct race_scenario race_inhibit_callers_clear;
/* inhibit_window.c */
extern const struct race_scenario race_window_storm;
extern const struct race_scenario race_window_storm_kept;
extern const struct race_scenario race_window_rising;
extern const struct race_scenario race_window_falling;
extern const struct race_scenario race_window_two;
extern const struct race_scenario race_window_two_kept;
extern const struct race_scenario race_window_two_storm;
/* inhibit_nested.c */
extern const struct race_scenario race_nested_in;
extern const struct race_scenario race_nested_after;
extern const struct race_scenario race_nested_own;
extern const struct race_scenario race_nested_two;
/* inhibit_page.c */
extern const struct race_scenario race_page_fault;
extern const struct race_scenario race_page_mapped;
extern const struct race_scenario race_page_again;
extern const struct race_scenario race_page_off_on_off;
extern const struct race_scenario race_page_caller;
extern const struct race_scenario race_page_two;
extern const struct race_scenario race_page_local;
extern const struct race_scenario race_page_ram;
/* memory_type.c */
extern const struct race_scenario race_types_fault;
extern const struct race_scenario race_types_back;
extern const struct race_scenario race_types_callers;
extern const struct race_scenario race_types_two;
extern const struct race_scenario race_types_first;
extern const struct race_scenario race_types_unchecked;
extern const struct race_scenario race_types_late;
extern const struct race_scenario race_types_unlocked;
/* inhibit_loop.c */
extern const struct race_scenario race_loop_page;
extern const struct race_scenario race_loop_page_again;
extern const struct race_scenario race_loop_window;
extern const struct race_scenario race_loop_window_again;
extern const struct race_scenario race_loop_extint;
extern const struct race_scenario race_loop_extint_again;
extern const struct race_scenario race_hand_over_level;
extern const struct race_scenario race_hand_over_level_again;
extern const struct race_scenario race_hand_over_level_sleep;
extern const struct race_scenario race_hand_over_ipi;
extern const struct race_scenario race_hand_over_ipi_sleep;
extern const struct race_scenario race_hand_over_post;
extern const struct race_scenario race_hand_over_all;

#endif
