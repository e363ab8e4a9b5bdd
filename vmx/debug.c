/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a debugger wants of a vCPU. SDM volume 3, "Monitor Trap Flag", "Exception Bitmap".
 *
 * INT3 exits by its exception, with RIP at it. A step is an entry with the monitor trap flag, which exits behind
 * one instruction whatever it is, and which the guest cannot see. Meanwhile every exception exits: it would be
 * delivered before the flag makes the guest exit. A write of CR8 may exit for the task priority instead; that
 * exit comes behind its instruction, too.
 */
#include "vmx/vmx.h"

#define ALL_EXCEPTIONS 0xffffffffu

static void set_traps(struct vmx_vcpu *vmx, bool on)
{
	vmx->traps = on ? BIT(VECTOR_BP) : 0;
	vmx->vmcs->want.exceptions = vmx_exceptions(vmx);
}

void vmx_debug_exited(struct vmx_vcpu *vmx, u32 reason)
{
	vmx->stepped = reason == VMX_EXIT_MTF || reason == VMX_EXIT_TPR_BELOW_THRESHOLD;
}

static bool end(struct vmx_vcpu *vmx)
{
	bool stepped = vmx->stepped;

	vmx->stepped = false;
	vmx->steps = false;
	vmx->vmcs->want.primary &= ~VMX_PROC_MTF | vmx->asked.primary;
	vmx->vmcs->want.exceptions = vmx_exceptions(vmx);
	return stepped;
}

bool vmx_debug(struct vcpu *vcpu, enum backend_debug what)
{
	struct vmx_vcpu *vmx = vmx_of(vcpu);

	if (what == BACKEND_STEP_END)
		return end(vmx);
	if (what == BACKEND_TRAPS_OFF || what == BACKEND_TRAPS_ON) {
		set_traps(vmx, what == BACKEND_TRAPS_ON);
		return false;
	}
	vmx->stepped = false;
	vmx->steps = true;
	vmx->vmcs->want.primary |= VMX_PROC_MTF;
	vmx->vmcs->want.exceptions = ALL_EXCEPTIONS;
	return false;
}
