/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The apicv fuzzer: irq/'s hardware delivery with requests apart from the page, vmx/'s descriptors, table and exits, and
 * APIC virtualization's microcode. delivery_fuzz.h has what it shares with its twin, the accel fuzzer.
 *
 * apicv.c        the operations of an input
 * apicv_world.c  the processors
 * apicv_check.c  what has to hold of descriptors and table after each
 */
#ifndef TESTS_FUZZ_APICV_FUZZ_H
#define TESTS_FUZZ_APICV_FUZZ_H

#include "cpu_model/vapic.h"
#include "tests/fuzz/delivery_fuzz.h"
#include "vmx/vmx.h"

#define FIELDS 24 /* of a VMCS that are used here */

/* A processor: physical interrupts that are on their way to it, as it takes them. */
struct processor {
	struct vmx_cpu vmx;
	bool notified, woken, kicked;
};
extern struct processor processor[CPUS];

/* What a vCPU has of its processor. */
struct hw {
	struct vmx_vcpu vmx;
	struct vapic vapic;
	struct {
		u32 name;
		u64 value;
	} field[FIELDS];
};
extern struct hw hw[VCPUS];
extern struct vmx_vm *vmx_vm;
extern u64 lost; /* requests that have ended by a reset */

static inline struct pi_desc *desc_of(u32 i)
{
	return (struct pi_desc *)(void *)&cpu(i)->accel.apart;
}

/* --- apicv_world.c --- */
extern u32 sent; /* physical interrupts, by software */

/* `choice`: what the processors have, how they end, APIC IDs. `switches`: of the microcode. */
void apicv_begin(u8 choice, u32 switches);
void apicv_end(void);

/* Ends of interrupt exit from now on, of some vectors, or none does. */
void change_ends(bool exit);

/* A request from elsewhere: of a processor whose guest sends, or of software. At once, or before some access. */
void intrude(u32 how);
void intrude_after(u32 accesses, u8 how);
void intrude_no_more(void);

/* --- apicv_check.c --- */
/* Requests that were accepted and are in no account. */
u64 unaccounted(void);
/* All of it, after an operation of vCPU `i`. */
void apicv_check(u32 i);

#endif
