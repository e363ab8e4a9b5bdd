/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Exits that are completed before anything else is looked at, with GIF still clear: today CPUID, from
 * the answers that core/cpuid.c keeps. The guest's FS, GS, TR and LDTR are still in the processor,
 * so nothing here may use this_cpu() or take a fault.
 *
 * Why the run loop's preparation can be left out: the vCPU stays VCPU_IN_GUEST, so whoever wants its
 * attention sends an IPI, as to a guest that runs; with GIF clear it is held, and the next VMRUN
 * exits for it at once. The same goes for timers. Nothing was injected and nothing is stepped
 * (svm->fast), CPUID changes nothing that decides about interrupts but the interrupt shadow, which
 * it ends.
 *
 * The length of the instruction: svm/next_rip.h.
 */
#include "core/cpuid.h"
#include "svm/next_rip.h"

#define CPUID_BYTES  0xa20f
#define CPUID_LENGTH 2

bool svm_fast_exit(void *context)
{
	struct vcpu *vcpu = context;
	struct svm_vcpu *svm = svm_of(vcpu);
	struct vmcb *vmcb = svm->vmcb;
	const struct cpuid_answer *answer;
	u64 *gpr = vcpu->regs.gpr;

	if (vmcb->control.exit_code != SVM_EXIT_CPUID || !svm->fast ||
	    vmcb->save.rflags & (RFLAGS_TF | RFLAGS_RF))
		return false;
	answer = cpuid_known(vcpu, (u32)vmcb->save.rax, (u32)gpr[GPR_RCX]);
	if (!answer)
		return false;
	if (svm->nrips)
		vmcb->save.rip = vmcb->control.next_rip;
	else if (next_rip_bytes(vcpu, &vmcb->save) == CPUID_BYTES)
		vmcb->save.rip += CPUID_LENGTH;
	else
		return false;
	vmcb->save.rax = answer->regs.eax;
	gpr[GPR_RBX] = answer->regs.ebx;
	gpr[GPR_RCX] = answer->regs.ecx;
	gpr[GPR_RDX] = answer->regs.edx;
	vmcb->control.int_state &= ~SVM_INT_SHADOW;
	counter_add(&vcpu->account.exits[EXIT_CPUID], 1);
	vcpu_count(vcpu, COUNTER_ENTRIES);
	return true;
}
