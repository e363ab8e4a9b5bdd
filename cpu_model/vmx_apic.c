/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The virtual APIC, as far as this processor has one: the TPR shadow. SDM volume 3, "TPR Virtualization",
 * "Virtualizing CR8-Based TPR Accesses".
 *
 * This is also the place for APIC-access and x2APIC virtualization, register virtualization and virtual-interrupt
 * delivery, as functions over the virtual-APIC page: what entry evaluates (vmx_apic_enter()), writes of CR8, which
 * accesses are virtualized (vmx_apic_has_page(), vmx_apic_has_msr(), and the two members of struct model_virt that
 * carry them out), delivery at an instruction boundary (take_external() in vmx_virt.c), and RVI and SVI at the
 * exit (vmx_leave()). There is none of it yet: an entry with one of these controls ends the run.
 */
#include "cpu_model/execute.h"
#include "cpu_model/vmx.h"
#include "postern/port.h"
#include "x86/apic.h"

#define APIC_VIRTUALIZATION                                                                        \
	(VMX_PROC2_APIC_ACCESS | VMX_PROC2_X2APIC | VMX_PROC2_APIC_REGISTER | VMX_PROC2_VID)

static u32 *tpr(const struct model_cpu *cpu)
{
	if (!(cpu->vmx.primary & VMX_PROC_TPR_SHADOW))
		port_panic("the guest reaches the host's CR8");
	return (u32 *)hpa_to_ptr(HPA(vmx_field(cpu, VMCS_VIRTUAL_APIC) + APIC_TPR));
}

void vmx_apic_enter(struct model_cpu *cpu)
{
	if (cpu->vmx.secondary & APIC_VIRTUALIZATION)
		port_panic("APIC virtualization, which this processor model does not execute");
}

u64 vmx_apic_read_cr8(struct model_cpu *cpu)
{
	return __atomic_load_n(tpr(cpu), __ATOMIC_RELAXED) >> 4 & 0xf;
}

enum model_result vmx_apic_write_cr8(struct model_cpu *cpu, u64 value)
{
	__atomic_store_n(tpr(cpu), (u32)value << 4, __ATOMIC_RELAXED);
	if (value >= (vmx_field(cpu, VMCS_TPR_THRESHOLD) & 0xf))
		return MODEL_DONE;
	vmx_exit(cpu, VMX_EXIT_TPR_BELOW_THRESHOLD, 0);
	return MODEL_TRAP;
}

/* No access is virtualized without the controls that entry does not let pass. */
bool vmx_apic_has_page(const struct model_cpu *cpu __unused, gpa_t gpa __unused)
{
	return false;
}

bool vmx_apic_has_msr(const struct model_cpu *cpu __unused, u32 msr __unused, bool write __unused)
{
	return false;
}
