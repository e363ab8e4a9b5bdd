/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Exits that are completed before anything else is looked at, with GIF still clear: CPUID, from the
 * answers that core/cpuid.c keeps, an EOI that nothing waits for, and a self-IPI. The guest's FS, GS, TR and LDTR are still in the processor,
 * so nothing here may use this_cpu() or take a fault.
 *
 * Why the run loop's preparation can be left out: the vCPU stays VCPU_IN_GUEST, so whoever wants its
 * attention sends an IPI, as to a guest that runs; with GIF clear it is held, and the next VMRUN
 * exits for it at once. The same goes for timers. Nothing that was injected is
 * undelivered and nothing is stepped (svm->fast); what is completed here makes no interrupt
 * deliverable but the one that it decides upon, and ends the interrupt shadow.
 *
 * The length of the instruction: svm/next_rip.h.
 */
#include "core/cpuid.h"
#include "core/vm.h"
#include "postern/port.h"
#include "svm/next_rip.h"
#include "x86/msr.h"

#define CPUID_BYTES  0xa20f
#define CPUID_LENGTH 2
#define WRMSR_BYTES  0x300f
#define WRMSR_LENGTH 2

/* What was injected has been delivered: an instruction behind it exited. */
static bool note_delivery(struct svm_vcpu *svm)
{
	struct vmcb_control *control = &svm->vmcb->control;

	if (svm->step != SVM_STEP_NONE || control->exit_int_info & SVM_EVENT_VALID ||
	    (svm->virq && control->int_ctl & SVM_V_IRQ))
		return false;
	svm->virq = false;
	svm->fast = true;
	control->event_inj = 0;
	return true;
}

/*
 * To count a window, or to count it no longer, may mean to wait for the activation lock, and who holds that waits
 * for this vCPU to leave the guest: irq/irq_window.h. Then the run loop decides.
 */
static __inlined bool may_count_window(const struct vcpu *vcpu, u64 rflags)
{
	const struct accel_vcpu *accel = &vcpu->accel;

	return vcpu->vm->accel.modes && (accel->window || (!accel->local && !(rflags & RFLAGS_IF)));
}

/*
 * An interrupt to itself, at once decided upon as before any entry: intr_prepare_local(). What
 * could want the run loop or this_cpu() is left to the slow path, even if it comes meanwhile: NMIs (a forced exit),
 * ExtINT (a device). So is a task priority that the guest has changed through CR8 unseen.
 */
static bool self_ipi(struct vcpu *vcpu, struct svm_vcpu *svm, u64 value)
{
	struct vmcb *vmcb = svm->vmcb;

	if (value > 0xff || (vmcb->control.int_ctl & SVM_V_TPR) != lapic_cr8(vcpu) ||
	    intr_has_event(&vcpu->intr) || lapic_has_signal(vcpu) || extint_has(vcpu->vm) ||
	    may_count_window(vcpu, vmcb->save.rflags) || !lapic_fast_self_ipi(vcpu, (u8)value))
		return false;
	vmcb->control.int_state &= ~SVM_INT_SHADOW;
	vcpu->regs.rflags = vmcb->save.rflags;
	intr_prepare_local(vcpu);
	svm->fast = !svm->virq && !vmcb->control.event_inj;
	return true;
}

/* End of interrupt and self-IPI are half of all exits of a busy x2APIC guest. */
static __noinline bool fast_wrmsr(struct vcpu *vcpu, struct svm_vcpu *svm)
{
	struct vmcb *vmcb = svm->vmcb;
	const u64 *gpr = vcpu->regs.gpr;
	u64 value = gpr[GPR_RDX] << 32 | (u32)vmcb->save.rax;
	u32 msr = (u32)gpr[GPR_RCX];

	if (vmcb->control.exit_info_1 != 1 || (msr != MSR_X2APIC_EOI && msr != MSR_X2APIC_SELF) ||
	    vmcb->save.rflags & (RFLAGS_TF | RFLAGS_RF))
		return false;
	if (!svm->nrips && next_rip_bytes(vcpu, &vmcb->save) != WRMSR_BYTES)
		return false;
	if (!svm->fast && !note_delivery(svm))
		return false;
	if (msr == MSR_X2APIC_EOI ? value || !lapic_fast_eoi(vcpu) : !self_ipi(vcpu, svm, value))
		return false;
	vmcb->save.rip = svm->nrips ? vmcb->control.next_rip : vmcb->save.rip + WRMSR_LENGTH;
	vmcb->control.int_state &= ~SVM_INT_SHADOW;
	counter_add(&vcpu->account.exits[EXIT_WRMSR], 1);
	vcpu_count(vcpu, COUNTER_ENTRIES);
	return true;
}

bool svm_fast_exit(void *context)
{
	struct vcpu *vcpu = context;
	struct svm_vcpu *svm = svm_of(vcpu);
	struct vmcb *vmcb = svm->vmcb;
	const struct cpuid_answer *answer;
	u64 *gpr = vcpu->regs.gpr;

	if (vmcb->control.exit_code != SVM_EXIT_CPUID)
		return vmcb->control.exit_code == SVM_EXIT_MSR && fast_wrmsr(vcpu, svm);
	if (!svm->fast || vmcb->save.rflags & (RFLAGS_TF | RFLAGS_RF))
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
