/* SPDX-License-Identifier: BSD-2-Clause */
/* What the guest's CPUID returns. */
#ifndef CORE_CPUID_H
#define CORE_CPUID_H

#include "core/vcpu.h"

/* Answers for eax/ecx in *r. Own processor, between exits. */
void cpuid_guest(struct vcpu *vcpu, u32 leaf, u32 subleaf, struct cpuid_regs *r);

/* Bits of CR4 and EFER that the guest may set, from the CPUID it sees. */
u64 cpuid_guest_cr4_mask(struct vcpu *vcpu);
u64 cpuid_guest_efer_mask(struct vcpu *vcpu);

static inline struct cpuid_answer *cpuid_slot(struct vcpu *vcpu, u32 leaf)
{
	return &vcpu->cpuid_known[(leaf ^ leaf >> 28) % VCPU_CPUID_KNOWN];
}

/*
 * The answer as it was last given, NULL: not at hand. Valid until vcpu_forget_cpuid(): what an
 * answer depends on (APIC_BASE, CR4) calls that when it changes; answers that depend on more
 * (XCR0: leaf Dh) are not kept. Own processor.
 */
static inline const struct cpuid_answer *cpuid_known(struct vcpu *vcpu, u32 leaf, u32 subleaf)
{
	const struct cpuid_answer *answer = cpuid_slot(vcpu, leaf);

	return answer->leaf == leaf && answer->subleaf == subleaf ? answer : NULL;
}

#endif
