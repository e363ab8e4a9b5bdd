/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The stage of the scenarios about inhibits: a VM of two vCPUs in xAPIC mode, accelerated, vCPU n on
 * processor n and outside of the guest; processor 2 is for those who run none. And what a scenario calls:
 * the real functions, or one wrong one among them (inhibit_wrong.c). The scenarios do not know which.
 *
 * A vCPU's turn is the run loop's order without what is not concerned: requests, mode, last look, the
 * check at entry, guest, out. inhibit_loop.c has the whole run loop. What the guest does is a function of the
 * scenario's; while it waits only a physical interrupt, or the end of all requesters, brings it out.
 *
 * What scenarios remember (atomics here, and counts) is not the hypervisor's, but a step like its accesses.
 */
#ifndef TESTS_RACE_INHIBIT_H
#define TESTS_RACE_INHIBIT_H

#include "core/vm.h"

#define INHIBIT_OTHER_CPU 2

struct model_cpu;

struct inhibit_code {
	const char *name;
	/* irq/inhibit.h */
	void (*change)(struct vm *vm, u32 reasons, u32 stand);
	/* irq/irq_window.h */
	void (*window_open)(struct vcpu *vcpu);
	void (*window_close)(struct vcpu *vcpu);
	/* core/nested.h */
	bool (*nested_enter)(struct vcpu *vcpu, void *block);
	/* irq/apic_page.h */
	bool (*fault)(struct vcpu *vcpu, gpa_t gpa);
	/* What is done besides whenever the back end has been told of a vCPU's mode; NULL: nothing. */
	void (*handed_over)(struct vcpu *vcpu, enum accel_mode mode);
};

extern const struct inhibit_code inhibit_right;
extern const struct inhibit_code *inhibit_code; /* in use */

extern struct vm *inhibit_vm;
extern struct atomic32 inhibit_over; /* requesters that are done */

/* Create it, accelerated. */
void inhibit_stage_create(void);
void inhibit_stage_begin(void);
/* Of any VM: from now on inhibit_code->handed_over() is asked. */
void inhibit_stage_hook(void);

/* The calling actor's vCPU. */
struct vcpu *inhibit_own(void);
/* One turn. `guest`: what it does inside; NULL, or what is wrong. */
void inhibit_turn(struct vcpu *vcpu, const char *(*guest)(struct vcpu *vcpu));
/* In the guest: is it there rightly? At a moment of the explorer's choice. */
const char *inhibit_look(struct vcpu *vcpu);
/* The same, and then until it is made to leave, or `inhibit_expected` requesters are done. */
const char *inhibit_wait(struct vcpu *vcpu);
extern u32 inhibit_expected;

/* Set or clear one by the code in use. */
void inhibit_stand(enum inhibit_reason reason, bool stands);
/* Of a requester: it is done. */
void inhibit_done(void);

/* VMRUN's part: control block and, where the hypervisor has asked for it, a flush. An ASID for each. */
struct model_cpu *inhibit_stage_load(struct vcpu *vcpu);

/* After an execution: windows, mask and all vCPUs' states fit each other; the mask is `mask`. NULL: so it is. */
const char *inhibit_check(u32 mask);

/* Actors: from INHIBIT's stage; the first on processor 0, the second on `last_cpu`. */
#define INHIBIT_SCENARIO(id, what, bound, prepare, judge, last_cpu, ...)                           \
	const struct race_scenario id = {                                                          \
	        .name = what,                                                                      \
	        .setup = prepare,                                                                  \
	        .begin = inhibit_stage_begin,                                                      \
	        .actor = {__VA_ARGS__},                                                            \
	        .cpu = {0, last_cpu, INHIBIT_OTHER_CPU},                                           \
	        .preemptions = bound,                                                              \
	        .check = judge,                                                                    \
	}

#endif
