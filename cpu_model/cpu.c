/* SPDX-License-Identifier: BSD-2-Clause */
/* State of a model processor as the port's boot code leaves it to the hypervisor. */
#include "cpu_model/vmx.h"
#include "x86/msr.h"

void model_cpu_init(struct model_cpu *cpu, struct cpu *host, u32 index)
{
	cpu->cpu = host;
	cpu->index = index;
	cpu->efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
	cpu->pat = PAT_RESET;
	cpu->gif = true;
	cpu->intr_flag = true;
	cpu->xcr0 = XCR0_X87;
	cpu->timer_deadline = TSC_NEVER;
	if (model_has(MODEL_SVM_LOCKED))
		cpu->vm_cr = VM_CR_SVMDIS | BIT64(3);
	if (model_has(MODEL_VMX_LOCKED))
		cpu->vmx.feature_control = FEATURE_CONTROL_LOCK;
	cpu->vmx.cr4 = CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT;
	/* Something to recognise: a host GS base that a missing VMLOAD of the host loses. */
	cpu->hidden.gs.base = 0xffff800000000000ull + index;
}
