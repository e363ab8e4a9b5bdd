/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a debugger wants of a vCPU. APM volume 2, "Exception Intercepts", "Instruction Intercepts",
 * "Single Stepping"; volume 3, SYSCALL.
 *
 * - INT3 exits by the intercept of #BP, with RIP at it. QEMU 7.2 takes it for an INT n, so that is
 *   intercepted as well (docs/emulators.md); where it means INT n only, INT n is delivered to the guest.
 * - A step uses what svm/intr.c has for its own: RFLAGS.TF, #DB and all exceptions intercepted. If that
 *   needs a step meanwhile (IRET, the interrupt shadow), it is the same instruction.
 * - SYSCALL clears the flags of SFMASK, which operating systems have TF in, and then there is no trap:
 *   for the time of its step SFMASK is without TF, and TF afterwards as it would have been.
 * - SYSRET traps by the TF that it loads from R11, which has it for the time of its step. The guest's own
 *   there is the guest's trap, whatever its TF was before.
 */
#include "postern/backend.h"
#include "svm/svm.h"

static void set_traps(struct vcpu *vcpu, bool on)
{
	struct svm_vcpu *svm = svm_of(vcpu);
	struct vmcb_control *control = &svm->vmcb->control;

	svm->exceptions = SVM_EXCEPTIONS | (on ? BIT(VECTOR_BP) : 0) | svm->asked.exceptions;
	svm->traps = on ? SVM_MISC1(SVM_EXIT_SWINT) : 0;
	control->intercept_exceptions &= ~BIT(VECTOR_BP);
	control->intercept_exceptions |= svm->exceptions;
	control->intercept_misc1 &= ~SVM_MISC1(SVM_EXIT_SWINT);
	control->intercept_misc1 |= svm->traps | (svm->asked.misc1 & SVM_MISC1(SVM_EXIT_SWINT));
	svm_dirty(vcpu, SVM_CLEAN_INTERCEPTS);
}

static bool loads_flags(enum backend_debug how)
{
	return how == BACKEND_STEP_FLAGS || how == BACKEND_STEP_SYSRET;
}

static void step(struct vcpu *vcpu, enum backend_debug how)
{
	struct svm_vcpu *svm = svm_of(vcpu);
	struct vmcb_control *control = &svm->vmcb->control;

	if (svm->step == SVM_STEP_NONE)
		svm_intr_start_step(vcpu, loads_flags(how) ? SVM_STEP_DEBUG_FLAGS : SVM_STEP_DEBUG);
	control->intercept_exceptions |= BIT(VECTOR_BP);
	control->intercept_misc1 |= SVM_MISC1(SVM_EXIT_SWINT);
	svm_dirty(vcpu, SVM_CLEAN_INTERCEPTS);
	svm->debug_syscall = how == BACKEND_STEP_SYSCALL;
	svm->debug_sfmask = svm->vmcb->save.sfmask;
	if (svm->debug_syscall)
		svm->vmcb->save.sfmask &= ~RFLAGS_TF;
	svm->debug_sysret = how == BACKEND_STEP_SYSRET;
	svm->debug_r11 = vcpu->regs.gpr[GPR_R11];
	if (svm->debug_sysret)
		vcpu->regs.gpr[GPR_R11] |= RFLAGS_TF;
}

/* Of SYSCALL and SYSRET: flags and registers as they would be without a step. */
static void undo(struct vcpu *vcpu, bool stepped)
{
	struct svm_vcpu *svm = svm_of(vcpu);

	if (svm->debug_syscall) {
		svm->vmcb->save.sfmask = svm->debug_sfmask;
		if (stepped && svm->debug_sfmask & RFLAGS_TF)
			vcpu->regs.rflags &= ~RFLAGS_TF;
	}
	if (svm->debug_sysret) {
		vcpu->regs.gpr[GPR_R11] = svm->debug_r11;
		if (stepped) {
			vcpu->regs.rflags &= ~RFLAGS_TF;
			vcpu->regs.rflags |= svm->debug_r11 & RFLAGS_TF;
		}
	}
	svm->debug_syscall = svm->debug_sysret = false;
}

static bool end(struct vcpu *vcpu)
{
	struct svm_vcpu *svm = svm_of(vcpu);
	bool stepped = svm->stepped;

	svm->stepped = false;
	if (svm->step == SVM_STEP_DEBUG || svm->step == SVM_STEP_DEBUG_FLAGS)
		svm_intr_cancel_step(vcpu);
	undo(vcpu, stepped);
	if (!svm->traps)
		set_traps(vcpu, false);
	return stepped;
}

bool svm_debug(struct vcpu *vcpu, enum backend_debug what)
{
	if (what == BACKEND_STEP_END)
		return end(vcpu);
	if (what == BACKEND_TRAPS_OFF || what == BACKEND_TRAPS_ON)
		set_traps(vcpu, what == BACKEND_TRAPS_ON);
	else
		step(vcpu, what);
	return false;
}
