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

static u64 native_vmx_capability(u32 msr)
{
	return insn_rdmsr(msr);
}

static bool native_vmread(u32 field, u64 *value)
{
	return insn_vmread(field, value);
}

static bool native_vmwrite(u32 field, u64 value)
{
	return insn_vmwrite(field, value);
}

#define NATIVE                                                                                     \
	{                                                                                          \
		.svm_run = insn_svm_run, .doorbell = native_doorbell,                              \
		.capability = native_capability, .vmx_run = insn_vmx_run,                          \
		.vmx_capability = native_vmx_capability, .vmread = native_vmread,                  \
		.vmwrite = native_vmwrite                                                          \
	}
const struct insn_slots insn_native_slots = NATIVE;
struct insn_slots insn_slots = NATIVE;
