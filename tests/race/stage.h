/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the stages of many scenarios have in common: a machine and what runs on it, a guest for scenarios with the whole
 * run loop, and parts of the run loop for those without, so that all orders can be explored. avic.h, posted.h and
 * inhibit.h have what belongs to one kind of acceleration.
 */
#ifndef TESTS_RACE_STAGE_H
#define TESTS_RACE_STAGE_H

#include "core/vm.h"
#include "cpu_model/guest.h"

#define STAGE_EXIT_PORT 0x80 /* to read it is an exit */

struct accel_ops;
struct pi_desc;

/* --- creation --- */

/*
 * A VM, on a machine of `cpus` processors with `features` (enum model_feature), of which the caller is number 0. No timer
 * of the hypervisor's own repairs what is lost.
 */
struct vm *stage_vm(u32 cpus, u32 features, const struct vm_config *config);
/* Its APIC is enabled, in x2APIC mode. */
void stage_enable_x2apic(struct vcpu *vcpu);
/* It runs on `cpu`, loaded there, outside of the guest just now: accelerated, nothing requested. */
void stage_run_on(struct vcpu *vcpu, u32 cpu);
/* From now on these are the back end's operations: a copy of those it had, to be changed. */
struct accel_ops *stage_accel_ops(void);
/* Accepted by its APIC, as from a device. */
void stage_accept(struct vcpu *vcpu, u8 vector);

/* Before each execution: of what is counted and noted here. */
void stage_begin(void);

/* --- with the whole run loop --- */

/* vCPU 0 of `vm` starts with `script`; what follows is about this VM. */
void stage_guest(struct vm *vm, guest_script script);
/*
 * A VM of one vCPU, which waits in processor 0's queue, its APIC in x2APIC mode; any acceleration that the processors
 * have, from its first entry on. Its handler of `vector` is stage_handler().
 */
struct vm *stage_loop(u32 features, guest_script script, u8 vector);
/* The same, accelerated before it runs. */
struct vm *stage_loop_accelerated(u32 features, guest_script script, u8 vector);

/* Scripts: with interrupts on it spins; the same behind an exit; it sleeps in HLT. */
void stage_spin(void *arg);
void stage_spin_behind_exit(void *arg);
void stage_sleep(void *arg);
/* A handler: counts, and ends the VM. */
void stage_handler(u8 vector, u32 error);
/* In a script or handler: the VM ends. */
void stage_finish(void);

/* Actors: a processor of the hypervisor's; who switches acceleration off, on, and both. */
void stage_processor(void);
void stage_off(void);
void stage_on(void);
void stage_off_and_on(void);

/* NULL, or what is wrong: the VM has ended, and no vCPU of it has entered in a wrong state; ... by stage_handler(), once. */
const char *stage_check_ended(void);
const char *stage_check_handled(void);

/* --- parts of the run loop --- */

/* core/run.c, enter(), to the last look. false: a request, and the entry starts over. */
bool stage_enter(struct vcpu *vcpu);
/* The end of its turn, here, because this processor has something better to do; processor 0 may take it. */
void stage_end_turn(struct vcpu *vcpu);
/* The same in two parts, without the queue between them: this processor gives it away, that one begins a turn. */
void stage_give(struct vcpu *vcpu);
void stage_take(struct vcpu *vcpu);
/*
 * Behind an HLT exit of `vcpu`: until it is found to have work, or sleeps. `block`: sched_block() or a wrong one. With the
 * processor: that sleeps, too, until it has a vCPU to run.
 */
void stage_fall_asleep(struct vcpu *vcpu, bool (*block)(struct vcpu *vcpu));
void stage_fall_asleep_with_processor(struct vcpu *vcpu, bool (*block)(struct vcpu *vcpu));
/* After that: NULL, or what is wrong. `vector` or a higher one is pending, and the vCPU runs or was woken. */
const char *stage_check_sleep(struct vcpu *vcpu, u8 vector);
/* sched_block() in the wrong order: the back end is told behind the last look. */
bool stage_block_tells_last(struct vcpu *vcpu);

/* After an execution: nothing is posted. */
bool stage_pir_is_empty(const struct pi_desc *desc);

#endif
