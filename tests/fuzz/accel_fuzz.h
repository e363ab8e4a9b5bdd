/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The accel fuzzer: irq/'s hardware delivery, svm/'s tables and exits, and AVIC's microcode. delivery_fuzz.h has what it
 * shares with its twin.
 *
 * accel.c        the processor, the operations of an input
 * accel_check.c  what has to hold of the tables after each
 */
#ifndef TESTS_FUZZ_ACCEL_FUZZ_H
#define TESTS_FUZZ_ACCEL_FUZZ_H

#include "cpu_model/avic.h"
#include "svm/svm.h"
#include "tests/fuzz/delivery_fuzz.h"

/* What a vCPU has of its processor. */
struct hw {
	struct vmcb vmcb;
	struct svm_vcpu svm;
	struct avic avic;
};
extern struct hw hw[VCPUS];
extern struct svm_vm svm_vm;

/* --- accel_check.c --- */
/* All of it, after an operation of vCPU `i`. */
void accel_check(u32 i);

#endif
