/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The stage of the AVIC scenarios: a VM whose vCPU 0 is the target and whose vCPU 1, on another
 * processor, sends. The sender is the microcode itself (cpu_model/avic_ipi.c) with the hypervisor's
 * handling of the exit that it may take; all accesses of both are steps. x2AVIC, since there no change
 * of a mapping, with its requests to everybody, wakes what should have been lost.
 */
#ifndef TESTS_RACE_AVIC_H
#define TESTS_RACE_AVIC_H

#include "core/vm.h"

#define AVIC_VECTOR      0x41 /* by a sender's processor */
#define AVIC_VECTOR_POST 0x51 /* by software */
#define AVIC_SENDER_CPU  2    /* not a processor that the target runs on */

struct avic_stage {
	bool erratum;    /* the processor reads IsRunning too early */
	bool workaround; /* the hypervisor never says IsRunning */
};

extern struct vm *avic_vm;
extern struct vcpu *avic_target;

/* Create it; the target's APIC is enabled, it has not run. */
void avic_stage_create(const struct avic_stage *stage);
/* Of all scenarios: before each execution. */
void avic_stage_begin(void);
/* Actors: an IPI by the processor of vCPU 1, once; a message of a device. */
void avic_send_ipi(void);
void avic_post(void);

#endif
