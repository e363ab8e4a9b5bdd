/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The apicv fuzzer: irq/'s hardware delivery with requests apart from the page, vmx/'s descriptors, table and exits, and
 * APIC virtualization's microcode. The twin of the accel fuzzer.
 *
 * apicv.c        what a guest and its hypervisor do, the operations of an input
 * apicv_world.c  the processors, and what core/ does
 * apicv_check.c  what has to hold after each
 */
#ifndef TESTS_FUZZ_APICV_FUZZ_H
#define TESTS_FUZZ_APICV_FUZZ_H

#include "cpu_model/vapic.h"
#include "irq/accel.h"
#include "tests/fuzz/irq_fuzz.h"
#include "vmx/vmx.h"

#define CPUS    3     /* that run vCPUs; one more runs devices */
#define HOST_ID 0x20u /* APIC ID of the first */
#define FIELDS  24    /* of a VMCS that are used here */
#define NOBODY  (~0u) /* in place of a vCPU */

/* A processor: physical interrupts that are on their way to it, as it takes them. */
struct processor {
	struct vmx_cpu vmx;
	bool notified, woken, kicked;
};
extern struct processor processor[CPUS];

/* A vCPU, and where it is. */
struct seat {
	struct vmx_vcpu vmx;
	struct vapic vapic;
	struct {
		u32 name;
		u64 value;
	} field[FIELDS];
	u32 on;      /* the processor of its last turn, or of the next */
	bool turn;   /* it has one */
	bool inside; /* in the guest */
	bool due;    /* outside, and enters before it executes anything else */
	struct model_vectors
	        wanted; /* requests that it has to have, in the page or apart from it */
};
extern struct seat seat[VCPUS];
extern struct vmx_vm *vmx_vm;
extern const char *operation; /* the present one */
extern bool mapped;           /* the guest's APIC page is */
extern u64 lost;              /* requests that have ended by a reset */
extern u64 delivered;

static inline struct pi_desc *desc_of(u32 i)
{
	return (struct pi_desc *)(void *)&cpu(i)->accel.apart;
}
static inline bool is_asleep(u32 i)
{
	return cpu(i)->sched_state.v == VCPU_BLOCKED;
}

/* --- apicv_world.c --- */
extern u32 sent; /* physical interrupts, by software */

/* `choice`: what the processors have, how they end, APIC IDs. `switches`: of the microcode. */
void machine_begin(u8 choice, u32 switches);
void machine_end(void);
/* The VMCS field of a vCPU. */
u64 *field_of(u32 i, u32 name);
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
/* What follows is done by the processor that runs devices. */
void act_as_devices(void);

/* Ends of interrupt exit from now on, of some vectors, or none does. */
void change_ends(bool exit);

/* A vector is requested of the vCPU, by whatever way. */
void want(u32 i, u8 vector);
u8 vector_of(u8 choice);
/* A request from elsewhere: of a processor whose guest sends, or of software. At once, or before some access. */
void intrude(u32 how);
void intrude_after(u32 accesses, u8 how);
void intrude_no_more(void);

/* --- apicv_check.c --- */
bool is_xapic(u32 i);
bool is_x2apic(u32 i);
/* What is requested of a vCPU: in its page, and with what is apart from it. */
void load_page(struct model_vectors *request, u32 i);
void load_requests(struct model_vectors *request, u32 i);
/* Requests that were accepted and are in no account. */
u64 unaccounted(void);
/* The vector that a vCPU has deliverable by these requests, -1: none. */
int deliverable(u32 i, const struct model_vectors *request);
/* All of it, after an operation of vCPU `i`. */
void apicv_check(u32 i);

#endif
