/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The stage of the scenarios about posted interrupts and IPI virtualization: a VM of two vCPUs on processors with both.
 * vCPU 0 is the target; vCPU 1, on a processor of its own, sends. Who sends is one of three:
 *
 *   IPI        the processor of vCPU 1, by its microcode (cpu_model/vapic_ipi.c) and the VM's own table
 *   device     remapping hardware: the bit in PIR, then ON unless ON or SN is set. Real hardware does both at once,
 *              which is one of the orders of the two
 *   software   irq/lapic.c, as for a message that the hypervisor sends
 *
 * All accesses of all three are steps. A hypervisor that is wrong in one thing is the right one with one function of
 * its back end exchanged (stage_accel_ops()), or with a step of the target's left out.
 */
#ifndef TESTS_RACE_POSTED_H
#define TESTS_RACE_POSTED_H

#include "core/vm.h"
#include "postern/backend.h"
#include "x86/vmx_apic.h"

#define POSTED_VECTOR     0x41 /* whoever sends first */
#define POSTED_VECTOR_TOO 0x42 /* and who sends besides */
#define POSTED_OTHER_CPU  1
#define POSTED_SENDER_CPU 2 /* not a processor that the target runs on */

struct vapic;

struct posted_stage {
	bool xapic;
	bool inhibited; /* STORM stands */
};

extern struct vm *posted_vm;
extern struct vcpu *posted_target, *posted_sender;

/* Create it; both APICs are enabled, the sender is on its processor, accelerated unless inhibited. */
void posted_stage_create(const struct posted_stage *stage);
/* The back end's own operations, whatever stage_accel_ops() has been made to be. */
extern const struct accel_ops *posted_right;
/* Of all scenarios: before each execution. */
void posted_stage_begin(void);

struct pi_desc *posted_desc(struct vcpu *vcpu);
/* As the processor has loaded it: registers of `vcpu`, everything virtualized. */
void posted_stage_load(struct vapic *vapic, struct vcpu *vcpu);

/* Actors: each sends POSTED_VECTOR to the target, once. */
void posted_send_ipi(void);
void posted_send_device(void);
void posted_send_software(void);
/* The same with POSTED_VECTOR_TOO. */
void posted_send_device_too(void);
void posted_send_software_too(void);
/*
 * A turn of vCPU 1, which sends to `dest`: by its processor if it is accelerated, else by an exit. `inside`: called in
 * the guest before that; NULL. true: its processor has sent it.
 */
bool posted_send_in_turn(u32 dest, void (*inside)(void));
/* An actor: one to the target. */
void posted_send_turn(void);

#endif
