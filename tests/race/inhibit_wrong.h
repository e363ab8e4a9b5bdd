/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Other code for the scenarios of inhibit.h: wrong in one thing each, built of the same parts as the right
 * one (inhibit_wrong.c; zaps: zap_wrong.c), and one that is right and slow.
 */
#ifndef TESTS_RACE_INHIBIT_WRONG_H
#define TESTS_RACE_INHIBIT_WRONG_H

#include "tests/race/inhibit.h"

/* When the mask is stored, and what is waited for. */
extern const struct inhibit_code inhibit_mask_first;
extern const struct inhibit_code inhibit_mask_after_zap;
extern const struct inhibit_code inhibit_waits_until_taken;
/* The zap and the fault that it meets. */
extern const struct inhibit_code inhibit_zap_without_sequence;
extern const struct inhibit_code inhibit_zap_without_flush;
extern const struct inhibit_code inhibit_zap_shared;
extern const struct inhibit_code inhibit_fault_samples_late;
/* Windows. */
extern const struct inhibit_code inhibit_windows_naive; /* right */
extern const struct inhibit_code inhibit_windows_two_holds;
extern const struct inhibit_code inhibit_windows_unlocked;
extern const struct inhibit_code inhibit_windows_clobber;
/* A guest of the guest. */
extern const struct inhibit_code inhibit_nested_undoes;
extern const struct inhibit_code inhibit_nested_skips;
extern const struct inhibit_code inhibit_nested_flag;
/* Hand-over. */
extern const struct inhibit_code inhibit_drops_eoi;
extern const struct inhibit_code inhibit_drops_request;

/* zap_wrong.c: of the APIC's page. */
void zap_without_sequence(struct vm *vm);
void zap_without_flush(struct vm *vm);
void zap_shared(struct vm *vm);

#endif
