/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The accel fuzzer: irq/'s hardware delivery, svm/'s tables and exits, and AVIC's microcode.
 *
 * accel.c        the processors, what a guest and its hypervisor do, the operations of an input
 * accel_check.c  what has to hold after each
 */
#ifndef TESTS_FUZZ_ACCEL_FUZZ_H
#define TESTS_FUZZ_ACCEL_FUZZ_H

#include "cpu_model/avic.h"
#include "irq/accel.h"
#include "svm/svm.h"
#include "tests/fuzz/irq_fuzz.h"

#define HOST_ID 0x20u /* APIC ID of the processor of vCPU 0 */

/* The processor of a vCPU, and where the vCPU is. */
struct seat {
	struct vmcb vmcb;
	struct svm_vcpu svm;
	struct avic avic;
	bool turn;   /* it is the vCPU's */
	bool inside; /* in the guest */
	bool kicked; /* has to leave it */
	bool asleep;
};
extern struct seat seat[VCPUS];
extern struct svm_vm svm_vm;
extern const char *operation; /* the present one */
extern bool mapped;           /* the guest's APIC page is */

/* --- accel_check.c --- */
bool is_xapic(u32 i);
bool is_x2apic(u32 i);
/* The vector that a vCPU's APIC has deliverable, -1: none. */
int deliverable(u32 i);
void load_requests(struct model_vectors *request);
/* `reached` have the vector now, besides those who had it; everything else is as before. */
void check_reached(const struct model_vectors *before, u64 reached, u8 vector);
/* All of it, after an operation of vCPU `i`. */
void accel_check(u32 i);

#endif
