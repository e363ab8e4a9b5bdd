/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A debugger for model tests: a function on a coroutine of its own that sits at the other end of the
 * record channel, and goes on whenever the boot processor looks at its commands.
 */
#ifndef TESTS_MODEL_DEBUGGER_H
#define TESTS_MODEL_DEBUGGER_H

#include "postern/debug.h"
#include "postern/report.h"
#include "tests/model/harness.h"

/* After harness_create(). `script` ends by returning. */
void dbg_start(void (*script)(void));
bool dbg_has_ended(void);

/* --- inside of the script --- */

/* Let the guest run until the boot processor has looked `polls` times. */
void dbg_pass(u32 polls);
void dbg_byte(u8 byte);
void dbg_send(struct debug_request request, const void *data);
/* The next record of the debug channel; its data is dbg_data() for as long as nothing else is done. */
struct report_debug dbg_receive(void);
const u8 *dbg_data(u32 *length);
/* Send and receive the answer to it, which must be an answer. */
enum debug_result dbg_ask(struct debug_request request, const void *data);
struct report_debug dbg_stop(void);
/* Each vCPU's action; wait for the stop. */
void dbg_resume(const u8 actions[DEBUG_MAX_VCPUS]);
struct report_debug dbg_step(u32 vcpu, u8 flags);
void dbg_continue(void);
void dbg_detach(void);
struct debug_regs dbg_regs(u32 vcpu);
enum debug_result dbg_plant(u64 linear);
enum debug_result dbg_unplant(u64 linear);
u8 dbg_read(u64 linear);

#endif
