/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hardware delivery as a whole: what the fuzzers accel (AVIC) and apicv (APIC virtualization) have in common. Three vCPUs
 * run, sleep, are preempted and move on three processors; a fourth runs devices.
 *
 * delivery_world.c  the machine, turns, entries and exits as core/ makes them, and what is not linked in
 * delivery_guest.c  what a guest does with its APICs
 * delivery_check.c  what has to hold after each operation, whichever processor delivers
 *
 * The processor itself, which ways there are into its tables, and the operations of an input are each fuzzer's own.
 */
#ifndef TESTS_FUZZ_DELIVERY_FUZZ_H
#define TESTS_FUZZ_DELIVERY_FUZZ_H

#include "irq/accel.h"
#include "tests/fuzz/irq_fuzz.h"

#define CPUS            3     /* that run vCPUs */
#define DEVICES         CPUS  /* the processor that runs them */
#define HOST_ID         0x20u /* APIC ID of the first */
#define NOBODY          (~0u) /* in place of a vCPU */
#define MOST_OPERATIONS 40

/* Where a vCPU is. */
struct seat {
	u32 on;      /* the processor of its last turn, or of the next */
	bool turn;   /* it has one */
	bool inside; /* in the guest */
	struct model_vectors
	        wanted; /* requests that it has to have, in the page or apart from it */
};
extern struct seat seat[VCPUS];
extern struct fuzz_input in;
extern const char *operation; /* the present one */
extern bool mapped;           /* the guest's APIC page is */
extern u32 acting;            /* index of the present processor */
extern u64 delivered;         /* requests, to all vCPUs */

static inline bool is_asleep(u32 i)
{
	return cpu(i)->sched_state.v == VCPU_BLOCKED;
}

/* --- what each fuzzer has of its own --- */

/* VM entry, the last of it. true: the processor delivers. */
bool hw_enter(u32 i);
/* VM exit. */
void hw_leave(u32 i);
/* The guest's write, of 4 bytes in xAPIC mode and of 8 in x2APIC mode, and the exit that it causes. */
void hw_write(u32 i, u32 offset, u64 value);
/* What is on its way to the present processor arrives there. */
void hw_take_interrupts(void);
/* An interrupt that makes a guest leave, or look at what was posted, is on its way to a processor. */
bool hw_is_interrupted(u32 p);
/* One that wakes the vCPU is, where it will be found. */
bool hw_is_about_to_wake(u32 i);
/* What the processor has counted of a vCPU: HW_COUNT numbers. */
const u64 *hw_counts(u32 i);
/* The processor has found that the vector is deliverable. */
bool hw_knows(u32 i, u8 vector);

/* --- delivery_world.c --- */

/* The machine, and a VM with APICs but without acceleration. */
void machine_begin(const u32 *apic_ids, struct backend *backend, u32 inhibits);
void machine_accelerate(void);
/* Who has his turn on a processor; NOBODY. */
u32 vcpu_on(u32 p);
void begin_turn(u32 i);
/* It is preempted, if it has one. */
void end_turn(u32 i);
/* A VM exit, if it is in the guest. */
void leave(u32 i);
/* The vCPU executes something: what is on its way to its processor comes first, and then it is in the guest. */
void act(u32 i);
/* What is on its way to a processor arrives there. */
void let_interrupts_in(u32 p);
/* HLT, as the run loop and the scheduler do it. */
void halt(u32 i);
void migrate(u32 i);
void preempt(u32 i);

/* A vector is requested of the vCPU, by whatever way; of all in the set `reached`. */
void want(u32 i, u8 vector);
void want_all(u64 reached, u8 vector);
/* It has been delivered. */
void took(u32 i, u8 vector);
/* The APIC has begun anew: what it has is wanted from now on. */
void forget_requests(u32 i);

/* --- delivery_guest.c --- */

/* The APICs are enabled, and in x2APIC mode. */
void program(bool enabled, bool x2apic);
/* One of a few, in different words and classes. */
u8 vector_of(u8 choice);
u8 any_vector(void);
u32 any_offset(void);
u32 any_value(void);
void identity(u32 i);
void apic_base(u32 i);
void end_of_interrupt(u32 i);
void reset(u32 i);
/* An IPI of the delivery mode, whose vector is wanted if it is fixed. */
void send(u32 i, u32 delivery_mode);
/* The handler of the exit in vcpu->exit, which has to be that of a write to `offset`. */
void handle_exit(u32 i, u32 offset, u64 value);

/* --- delivery_check.c --- */
bool is_xapic(u32 i);
bool is_x2apic(u32 i);
/* What is requested of a vCPU: in its page, and with what is apart from it. */
void load_page(struct model_vectors *request, u32 i);
void load_requests(struct model_vectors *request, u32 i);
/* The vector that a vCPU has deliverable by these requests, -1: none. */
int deliverable(u32 i, const struct model_vectors *request);
/* It will look at what it has before it executes anything, or is about to be woken. */
bool is_told(u32 i);
/* After an operation of vCPU `i`. `inhibits`: those that follow from what only this processor's tables cannot say. */
void delivery_check(u32 i, u32 inhibits);

#endif
