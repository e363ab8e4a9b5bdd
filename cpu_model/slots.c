/* SPDX-License-Identifier: BSD-2-Clause */
/* The slots as they are without an assist: the processor's own operations. */
#include "insn.h"
#include "x86/insn_slots.h"
#include "x86/msr.h"

static void native_doorbell(u64 value)
{
	insn_wrmsr(MSR_AVIC_DOORBELL, value);
}

static void native_capability(u32 leaf, u32 subleaf, struct cpuid_regs *r)
{
	insn_cpuid(leaf, subleaf, r);
}

#define NATIVE                                                                                     \
	{                                                                                          \
		.svm_run = insn_svm_run, .doorbell = native_doorbell,                              \
		.capability = native_capability                                                    \
	}
const struct insn_slots insn_native_slots = NATIVE;
struct insn_slots insn_slots = NATIVE;
