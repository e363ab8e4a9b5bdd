/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Registers that a guest reaches by RDMSR and WRMSR when the access is not intercepted: those that
 * entry and exit, or the hypervisor, switch, and the time stamp counter. Any other would be the host's own:
 * the hypervisor has left a hole, and the run ends.
 */
#include "cpu_model/virt.h"
#include "postern/port.h"
#include "x86/msr.h"

static u64 *guest_msr(struct model_cpu *cpu, u32 msr)
{
	switch (msr) {
	case MSR_EFER:
		return &cpu->regs.efer;
	case MSR_PAT:
		return &cpu->regs.pat;
	case MSR_FS_BASE:
		return &cpu->hidden.fs.base;
	case MSR_GS_BASE:
		return &cpu->hidden.gs.base;
	case MSR_KERNEL_GS_BASE:
		return &cpu->hidden.kernel_gs_base;
	case MSR_STAR:
		return &cpu->hidden.star;
	case MSR_LSTAR:
		return &cpu->hidden.lstar;
	case MSR_CSTAR:
		return &cpu->hidden.cstar;
	case MSR_SFMASK:
		return &cpu->hidden.sfmask;
	case MSR_SYSENTER_CS:
		return &cpu->hidden.sysenter_cs;
	case MSR_SYSENTER_ESP:
		return &cpu->hidden.sysenter_esp;
	case MSR_SYSENTER_EIP:
		return &cpu->hidden.sysenter_eip;
	case MSR_TSC_AUX:
		return &cpu->tsc_aux;
	default:
		return NULL;
	}
}

bool model_guest_rdmsr(struct model_cpu *cpu, u32 msr, u64 *value)
{
	u64 *reg = guest_msr(cpu, msr);

	if (msr == MSR_TSC) {
		*value = model_time() + model_virt()->tsc_offset(cpu);
		return true;
	}
	if (!reg)
		port_panic("guest reads the host's register %x", msr);
	*value = *reg;
	return true;
}

bool model_guest_wrmsr(struct model_cpu *cpu, u32 msr, u64 value)
{
	u64 *reg = guest_msr(cpu, msr);

	if (!reg)
		port_panic("guest writes the host's register %x", msr);
	*reg = value;
	return true;
}
