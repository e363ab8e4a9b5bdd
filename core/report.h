/* SPDX-License-Identifier: BSD-2-Clause */
/* Records for the host command: postern/report.h. Boot processor only. */
#ifndef CORE_REPORT_H
#define CORE_REPORT_H

#include "postern/account.h"

struct machine;
struct vm;

void report_hello(struct machine *machine, const char *cpu);
void report_status(struct vm *vm, u8 phase);
/* One record per vCPU, and the VM's acceleration; whoever runs them may be counting meanwhile. */
void report_account(struct vm *vm);
/* To a frame of the host command: `wrong` is what is wrong with it, "" if nothing is. */
void report_answer(u16 sequence, const char *wrong);
void report_end(struct vm *vm);
/* A VM that never came to run. */
void report_end_early(enum ending ending, s32 code);
/* Sum of a vCPU's injected interrupts, over all routes. */
u64 report_injected(const struct account *account);

#endif
