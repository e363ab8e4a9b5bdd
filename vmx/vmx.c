/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The VMX back end: enabling it on a processor, and its operation table. SDM volume 3, "Enabling and
 * Entering VMX Operation". What it requires: vmx/capability.c.
 */
#include "vmx/vmx.h"
#include "host/host.h"
#include "insn.h"
#include "postern/port.h"
#include "postern/string.h"
#include "x86/msr.h"

static bool vmx_probe(const char **why)
{
	return vmx_find_features(why);
}

static bool vmx_cpu_init(struct cpu *cpu)
{
	struct vmx_cpu *vmx = port_alloc(sizeof(*vmx), CACHE_LINE);
	u32 revision = (u32)(vmx_features.basic & VMX_BASIC_REVISION);
	u64 control;

	if (!vmx)
		return false;
	vmx->vmxon = port_alloc(VMX_REGION_SIZE, PAGE_SIZE);
	if (!vmx->vmxon)
		return false;
	cpu->arch = vmx;
	vmx_posted_cpu_init(cpu);
	host_cpu_init(port_machine());
	control = insn_rdmsr(MSR_FEATURE_CONTROL);
	if (!(control & FEATURE_CONTROL_LOCK))
		insn_wrmsr(MSR_FEATURE_CONTROL,
		           control | FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMXON);
	memcpy(vmx->vmxon, &revision, sizeof(revision));
	insn_write_cr4(insn_read_cr4() | CR4_VMXE);
	return insn_vmxon(ptr_to_hpa(vmx->vmxon));
}

static void vmx_cpu_exit(struct cpu *cpu)
{
	struct vmx_cpu *vmx = cpu->arch;

	insn_vmxoff();
	insn_write_cr4(insn_read_cr4() & ~CR4_VMXE);
	port_free(vmx->vmxon, VMX_REGION_SIZE);
	port_free(vmx, sizeof(*vmx));
	cpu->arch = NULL;
}

/* The processor delivers none. */
static u32 vmx_insn_bytes(struct vcpu *vcpu __unused, const u8 **bytes __unused)
{
	return 0;
}

/* Behind what is there, if it has room. */
static u32 append(char *text, u32 size, u32 used, const char *name)
{
	u32 length = (u32)strlen(name);

	if (used + length + 2 > size)
		return used;
	if (used)
		text[used++] = ' ';
	memcpy(text + used, name, length + 1);
	return used + length;
}

static void vmx_features_text(char *text, u32 size)
{
	static const struct {
		const struct vmx_capability *from;
		u32 bit;
		const char *name;
	} names[] = {
	        {&vmx_features.secondary, VMX_PROC2_EPT, "ept"},
	        {&vmx_features.secondary, VMX_PROC2_VPID, "vpid"},
	        {&vmx_features.secondary, VMX_PROC2_UNRESTRICTED, "unrestricted-guest"},
	        {&vmx_features.primary, VMX_PROC_TPR_SHADOW, "tpr-shadow"},
	        {&vmx_features.secondary, VMX_PROC2_APIC_ACCESS, "apic-access"},
	        {&vmx_features.secondary, VMX_PROC2_X2APIC, "x2apic-virtualization"},
	        {&vmx_features.secondary, VMX_PROC2_APIC_REGISTER, "apic-register"},
	        {&vmx_features.secondary, VMX_PROC2_VID, "virtual-interrupts"},
	        {&vmx_features.pin, VMX_PIN_POSTED, "posted-interrupts"},
	        {&vmx_features.pin, VMX_PIN_PREEMPTION_TIMER, "preemption-timer"},
	};
	u32 used = 0;

	text[0] = 0;
	for (u32 i = 0; i < ARRAY_SIZE(names); i++)
		if (vmx_may(names[i].from, names[i].bit))
			used = append(text, size, used, names[i].name);
	if (vmx_features.tertiary & VMX_PROC3_IPIV)
		append(text, size, used, "ipi-virtualization");
}

#define X(id, name, scope, needed, what, set_by, cleared_by, test)                                 \
	(INHIBIT_ON_##needed & INHIBIT_ON_VMX ? INHIBIT_BIT(id) : 0) |
#define VMX_INHIBITS (INHIBITS(X) 0)

const struct backend vmx_backend = {
        .name = "vmx",
        .vendor = "Intel",
        .signature = BACKEND_INTEL,
        .hypercall = {0x0f, 0x01, 0xc1}, /* VMCALL */
        .mmu_format = &vmx_mmu_format,
        .accel = &vmx_apicv_ops,
        .inhibits = VMX_INHIBITS,
        .probe = vmx_probe,
        .cpu_init = vmx_cpu_init,
        .cpu_exit = vmx_cpu_exit,
        .vm_init = vmx_vm_init,
        .vm_exit = vmx_vm_exit,
        .vcpu_init = vmx_vcpu_init,
        .vcpu_exit = vmx_vcpu_exit,
        .vcpu_load = vmx_vcpu_load,
        .vcpu_put = vmx_vcpu_put,
        .reset = vmx_reset,
        .get_state = vmx_get_state,
        .set_state = vmx_set_state,
        .host_irqs_block = vmx_host_irqs_block,
        .host_irqs_unblock = vmx_host_irqs_unblock,
        .run = vmx_run,
        .intr_blocked = vmx_intr_blocked,
        .intr_inject = vmx_intr_inject,
        .intr_retract = vmx_intr_retract,
        .intr_window = vmx_intr_window,
        .intr_force = vmx_intr_force,
        .intr_tpr_exit = vmx_intr_tpr_exit,
        .nested_enter = vmx_nested_enter,
        .nested_leave = vmx_nested_leave,
        .debug = vmx_debug,
        .pause_exits = vmx_pause_exits,
        .emulating = vmx_emulating,
        .flush = vmx_flush,
        .msr_intercept = vmx_msr_intercept,
        .insn_bytes = vmx_insn_bytes,
        .features = vmx_features_text,
        .floor = vmx_floor,
        .entry_timer = vmx_entry_timer,
};
