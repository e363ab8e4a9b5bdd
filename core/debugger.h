/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A debugger at the guest: what stands behind the debug channel (postern/debug.h). Debuggers' own
 * protocols are the host command's affair, and no text is read or made here: the image parses as little
 * as it can, and what parses what comes from outside is tested where sanitizers run.
 *
 * core/debugger.c is the boot processor's part: requests, and when all vCPUs stand still.
 * core/debugger_vcpu.c is what a vCPU does on its own processor: stop, answer about its state, step.
 *
 * A vCPU that is stopped has the activity VCPU_STOPPED, with the guest's own kept here, so nothing that
 * runs looks for a debugger: the run loop finds it inactive and lets it block. It is woken by requests
 * only. A step is one round of the run loop's for such a vCPU.
 *
 *      boot processor                        vCPU's processor
 *      --------------                        ----------------
 *      stop = 1                              (exit)
 *      request DEBUG: wakes or kicks         attend: park, parked + 1
 *      parked == all: STOPPED
 *      parked - those that are to move
 *      action = CONTINUE; request DEBUG      attend: take action, run
 *      stop = 1 again, if it must be         attend: park
 *
 * `stop` is stored before the request, and cleared before any action is: a vCPU that takes its action and
 * then sees `stop` has been asked to stop again, and does.
 *
 * Tags as in core/vcpu.h. [stopped]: changed only while all vCPUs are parked, by the one that executes a
 * request; any own processor reads.
 */
#ifndef CORE_DEBUGGER_H
#define CORE_DEBUGGER_H

#include "postern/debug.h"
#include "postern/sync.h"

struct machine;
struct vcpu;
struct vm;

enum debugger_run_state {
	DEBUGGER_RUNS,
	DEBUGGER_PARKED,
	DEBUGGER_STEPS,
};

struct debugger_vcpu {
	struct atomic32
	        action; /* [a] what it shall do: enum debug_action and flags; 0: nothing new */
	u8 state;       /* [o] enum debugger_run_state */
	u8 activity;    /* [o] the guest's own, while that is VCPU_STOPPED */
	u8 how;         /* [o] of the step: the action and its flags */
	bool injects;   /* [o] this entry of the step delivers an event */
	bool pushes;    /* [o] the stepped instruction pushes RFLAGS */
	bool saves;     /* [o] it keeps RFLAGS in R11 */
	bool guest_tf;  /* [o] RFLAGS.TF without our step */
	u64 before[17]; /* [o] GPRs and RIP before the step's entry */
	u32 deferred;   /* [o] requests that wait for the vCPU to go on */
};

/* One INT3 in guest memory. */
struct debugger_break {
	bool used;
	u8 original;
	u64 linear;
	u64 gpa;
};

enum debugger_state {
	DEBUGGER_DETACHED, /* nobody has asked for anything */
	DEBUGGER_RUNNING,
	DEBUGGER_STOPPING,
	DEBUGGER_STOPPED,
};

#define DEBUGGER_JOB_DONE 0xffff

/* Of a VM. */
struct debugger {
	struct atomic32 stop;   /* [a] vCPUs that run are to stop */
	struct atomic32 parked; /* [a] how many have */
	struct atomic32
	        trigger; /* [a] who stopped the others first, and why: vCPU << 8 | reason; 0: none */
	struct atomic32 job; /* [a] vCPU + 1: it is to execute the request below; DONE; 0: none */

	struct debug_request request; /* the boot processor's, or with `job` that vCPU's; as are */
	struct report_debug answer;
	u32 answer_length;
	u8 data[DEBUG_MAX_DATA]; /* of the request, then of the answer */

	struct debugger_break breakpoint[DEBUG_BREAKPOINTS]; /* [stopped] */
	u32 breakpoints;                                     /* [stopped] in use */

	/* Boot processor only. */
	u8 state;      /* enum debugger_state */
	bool steps;    /* inhibit BLOCKIRQ has been set */
	bool told_end; /* DEBUG_ENDED has been sent */
	u32 expected;  /* bytes of a request that are still to come */
	u32 fill;      /* bytes of it that have */
};

/* --- boot processor --- */

/* The VM's vCPUs stop before they execute anything. Before vm_start(). */
void debugger_stop_at_start(struct vm *vm);
/* Room for another byte from the command channel. */
bool debugger_is_ready(struct vm *vm);
/* REPORT_CMD_DEBUG has come: the bytes behind it are debugger_feed()'s while it wants them. */
void debugger_begin(struct vm *vm);
bool debugger_wants(const struct vm *vm);
void debugger_feed(struct vm *vm, u8 byte);
/* Look whether anything is to be told. Often; cheap while no debugger is there. */
void debugger_poll(struct vm *vm);
/* It is in a hurry: a request is under way, or somebody sits before a VM that stands still. */
bool debugger_is_busy(const struct vm *vm);

/* --- the vCPU's own processor, interrupts open, no locks --- */

/* VCPU_REQUEST_DEBUG. */
void debugger_attend(struct vcpu *vcpu);
/* `request` has come for a vCPU with activity VCPU_STOPPED; true: it waits until the vCPU goes on. */
bool debugger_defers(struct vcpu *vcpu, u32 request);
/*
 * A vCPU with activity VCPU_STOPPED: is it to be entered for a step? Then this is before the preparation
 * of the entry; debugger_prepare() stands for intr_prepare_entry(), and debugger_after() follows the
 * handling of the exit (`entered`), or its absence.
 */
bool debugger_steps(struct vcpu *vcpu);
bool debugger_prepare(struct vcpu *vcpu);
void debugger_after(struct vcpu *vcpu, bool entered);
/*
 * INT3 or INT n was intercepted, nothing of it is done: a breakpoint of ours stops the VM, any other is
 * delivered to the guest.
 */
void debugger_software_int(struct vcpu *vcpu);

/* --- between the two files --- */
void debugger_execute(struct vcpu *vcpu);

#endif
