/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A test of the processor itself, as an image of its own: the parts of the hypervisor's image that boot a
 * machine, and in the hypervisor's place what is here. It enters VMX operation by itself and compares what the
 * processor does with what the processor model's pure parts say (cpu_model/vmx_checks.c, vapic*.c). One
 * processor, interrupts off, no memory given back.
 *
 * What it says goes to an emulator's debug console at port E9h, or else to the first serial port. It begins behind
 * the line "hwtest: begin"; a line that begins with "not ok" is a failure, and the last line is "hwtest: ok" or
 * "hwtest: failed".
 */
#ifndef TESTS_HW_HW_H
#define TESTS_HW_HW_H

#include "tests/model/vmx_words.h"

void hw_say(const char *fmt, ...) __printf(1, 2);

/* A number of the command line, "name=123", or `otherwise`. */
u64 hw_option(const char *name, u64 otherwise);

/* vmx.c */
/* VMX operation; fills in `caps`. False: the processor has not what is needed, which has been said. */
bool hw_turn_on(struct vmx_caps *caps);
/* Fresh memory whose first bytes are what VMXON, VMCLEAR and VMPTRLD ask for. */
u8 *hw_region(void);
/* What the current VMCS has, as the model's checks read it. `features`: of the fields that exist. */
void hw_copy_vmcs(struct model_vmcs *copy);
/* 0 in each field that exists and can be written. */
void hw_clear_vmcs(void);
/* VMLAUNCH or VMRESUME, until the first exit. False: VM entry fails with an error of the instruction. */
bool hw_enter(u64 *gpr, bool launched);

/* checks.c: entry checks. Where processor and model differ is said in lines "differs". False: not run. */
bool hw_checks(void);
/* apicv.c: APIC virtualization, `ops` entries from `seed` on. False: something differs. */
bool hw_apicv(u64 ops, u64 seed);

#endif
