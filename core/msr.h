/* SPDX-License-Identifier: BSD-2-Clause */
/* RDMSR and WRMSR of the guest, and CPUID. Own processor, no locks held. */
#ifndef CORE_MSR_H
#define CORE_MSR_H

#include "postern/types.h"
#include "x86/regs.h"

struct vcpu;

/* false: the register does not exist or the value is refused: #GP for the guest, counted. */
bool msr_read(struct vcpu *vcpu, u32 msr, u64 *value);
bool msr_write(struct vcpu *vcpu, u32 msr, u64 value);

/* What the guest's CPUID returns for eax/ecx in *r. */
void cpuid_guest(struct vcpu *vcpu, u32 leaf, u32 subleaf, struct cpuid_regs *r);

/* Bits of CR4 and EFER that the guest may set, from the CPUID it sees. */
u64 cpuid_guest_cr4_mask(struct vcpu *vcpu);
u64 cpuid_guest_efer_mask(struct vcpu *vcpu);

#endif
