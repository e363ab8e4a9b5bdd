/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The physical processor, as far as both vendors have it alike: CPUID, and the guest state that no
 * control block holds (FPU, XCR0, debug registers, TSC_AUX). Goes through insn.h, so it runs on the
 * modelled processor too. core/ may include this header, never insn.h.
 */
#ifndef HOST_HOST_H
#define HOST_HOST_H

#include "x86/regs.h"

struct machine;
struct vcpu;

/* CPUID of the processor that executes the caller. */
void host_cpuid(u32 leaf, u32 subleaf, struct cpuid_regs *r);
/* Feature test by leaf (subleaf 0): bits of ECX / EDX. */
bool host_has_ecx(u32 leaf, u32 bit);
bool host_has_edx(u32 leaf, u32 bit);
u32 host_cpuid_max(u32 base);

/* Fill in machine->xcr0_supported and machine->fpu_size. Boot processor, once. */
void host_probe_fpu(struct machine *machine);
/* XCR0 to its maximum on the calling processor: its state whenever no vCPU is loaded. */
void host_cpu_init(struct machine *machine);
/* Architectural reset values into a vCPU's FPU area. */
void host_reset_fpu(struct vcpu *vcpu);

/*
 * Bring the vCPU's state into the processor, or back into the vCPU. Called by the back ends'
 * vcpu_load and vcpu_put, own processor.
 */
void host_load_guest(struct vcpu *vcpu);
void host_put_guest(struct vcpu *vcpu);

/* The loaded vCPU's XCR0 or TSC_AUX changes (value already checked). */
void host_set_xcr0(struct vcpu *vcpu, u64 value);
/* The loaded vCPU's XCR0. */
u64 host_guest_xcr0(struct vcpu *vcpu);
void host_set_tsc_aux(struct vcpu *vcpu, u64 value);

/*
 * Forced immediate exit (requirement S4.2), interrupts blocked: an IPI to itself, seen pending in the physical
 * APIC before the entry, so that the exit cannot come late.
 */
void host_force_exit(void);

#endif
