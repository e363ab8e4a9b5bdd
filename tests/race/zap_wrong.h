/* SPDX-License-Identifier: BSD-2-Clause */
/* Faults that bring memory back, as mmu_fault(), and are wrong in one thing each (zap_wrong.c). */
#ifndef TESTS_RACE_ZAP_WRONG_H
#define TESTS_RACE_ZAP_WRONG_H

#include "mmu/mmu.h"

/* The sequence is taken when the types are known. */
bool zap_fault_types_first(struct vm *vm, gpa_t gpa, u32 access);
/* Nobody asks whether it still is the same. */
bool zap_fault_unchecked(struct vm *vm, gpa_t gpa, u32 access);

#endif
