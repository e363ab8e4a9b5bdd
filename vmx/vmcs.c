/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The VMCS: what an entry is controlled by, the host's state, and moving a vCPU from one processor to another.
 * SDM volume 3, "Software Use of Virtual-Machine Control Structures", "VM-Execution Control Fields",
 * "Host-State Area", "Algorithms for Determining VMX Capabilities".
 *
 * A VMCS is active on one processor at a time: it is cleared when its vCPU is put, so that any other may load
 * it. A vCPU may have two (vmx/nested.c). Then both may be active, one of them current; both are cleared.
 */
#include "host/host.h"
#include "insn.h"
#include "postern/port.h"
#include "postern/string.h"
#include "vmx/vmx.h"
#include "x86/msr.h"

#define PIN                                                                                        \
	(VMX_PIN_EXTERNAL | VMX_PIN_NMI | VMX_PIN_VIRTUAL_NMI |                                    \
	 VMX_PIN_PREEMPTION_TIMER) /* where possible */
#define PRIMARY                                                                                    \
	(VMX_PROC_HLT | VMX_PROC_MWAIT | VMX_PROC_MONITOR | VMX_PROC_RDPMC | VMX_PROC_IO |         \
	 VMX_PROC_TSC_OFFSET | VMX_PROC_TPR_SHADOW | VMX_PROC_MSR_BITMAPS | VMX_PROC_SECONDARY)
#define SECONDARY (VMX_PROC2_EPT | VMX_PROC2_VPID | VMX_PROC2_UNRESTRICTED | VMX_PROC2_WBINVD)
/* What the guest may use if CPUID shows it: without the control it would be #UD. */
#define SECONDARY_WHERE_POSSIBLE (VMX_PROC2_RDTSCP | VMX_PROC2_INVPCID)
#define EXIT_CONTROLS                                                                              \
	(VMX_EXIT_CTL_HOST_64 | VMX_EXIT_CTL_SAVE_DEBUG | VMX_EXIT_CTL_SAVE_PAT |                  \
	 VMX_EXIT_CTL_LOAD_PAT | VMX_EXIT_CTL_SAVE_EFER | VMX_EXIT_CTL_LOAD_EFER)

/* Moved with the vCPU: the VMCS has no place for them, and the hypervisor does not use them. */
static const u32 guest_msrs[VMX_GUEST_MSRS] = {
        MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_SFMASK, MSR_KERNEL_GS_BASE,
};

void vmcs_fail(u32 field)
{
	port_panic("VMREAD or VMWRITE of field %x fails", field);
}

u32 vmx_allowed(const struct vmx_capability *capability, u32 want)
{
	return (want | capability->must) & capability->may;
}

void vmx_base_controls(struct vcpu *vcpu, struct vmx_controls *want)
{
	*want = (struct vmx_controls){
	        .pin = vmx_allowed(&vmx_features.pin, PIN),
	        .primary = vmx_allowed(&vmx_features.primary, PRIMARY),
	        .secondary = vmx_allowed(
	                &vmx_features.secondary,
	                SECONDARY | (SECONDARY_WHERE_POSSIBLE & vmx_features.secondary.may)),
	        .exceptions = vmx_exceptions(vmx_of(vcpu)),
	        .eptp = vmx_eptp(mmu_root(vcpu->vm)),
	};
}

#define SYNC(name, field, type)                                                                    \
	if (vmx->vmcs->want.name != vmx->vmcs->have.name) {                                        \
		vmcs_write(VMCS_##field, vmx->vmcs->want.name);                                    \
		vmx->vmcs->have.name = vmx->vmcs->want.name;                                       \
	}

void vmx_sync_controls(struct vmx_vcpu *vmx)
{
	VMX_CONTROLS(SYNC)
}

void vmx_sync_events(struct vmx_vcpu *vmx)
{
	VMX_EVENT_CONTROLS(SYNC)
}

bool vmx_vmcs_init(struct vmx_vmcs *vmcs, u16 vpid)
{
	u32 revision = (u32)(vmx_features.basic & VMX_BASIC_REVISION);

	vmcs->region = port_alloc(VMX_REGION_SIZE, PAGE_SIZE);
	if (!vmcs->region)
		return false;
	memcpy(vmcs->region, &revision, sizeof(revision));
	vmcs->vpid = vpid;
	return true;
}

void vmx_vmcs_exit(struct vmx_vmcs *vmcs)
{
	ASSERT(!vmcs->active);
	if (vmcs->region)
		port_free(vmcs->region, VMX_REGION_SIZE);
}

bool vmx_vcpu_init(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = port_alloc(sizeof(*vmx), CACHE_LINE);

	if (!vmx)
		return false;
	vcpu->arch = vmx;
	vmx->vmcs = &vmx->own;
	if (!vmx_vmcs_init(&vmx->own, (u16)(vcpu->vm->id * MAX_VCPUS + vcpu->index + 1)))
		return false;
	vmx_base_controls(vcpu, &vmx->own.want);
	host_reset_fpu(vcpu);
	return true;
}

void vmx_vcpu_exit(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = vmx_of(vcpu);

	vmx_nested_exit(vcpu);
	vmx_vmcs_exit(&vmx->own);
	port_free(vmx, sizeof(*vmx));
	vcpu->arch = NULL;
}

/* What never changes. The VMCS is loaded, for the first time. */
static void write_constants(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = vmx_of(vcpu);
	const struct vmx_vm *vm = vcpu->vm->arch;

	vmcs_write(VMCS_VPID, vmx->vmcs->vpid);
	vmcs_write(VMCS_EXIT_CONTROLS,
	           vmx_allowed(&vmx_features.exit,
	                       EXIT_CONTROLS | (vmx_posted_usable() ? VMX_EXIT_CTL_ACK_INTR : 0)));
	vmcs_write(VMCS_MSR_BITMAP, ptr_to_hpa(vm->msr_bitmap[VMX_BITMAP_PLAIN]).v);
	vmcs_write(VMCS_VIRTUAL_APIC, ptr_to_hpa(vcpu->lapic.page).v);
	vmcs_write(VMCS_LINK, ~0ull);
	vmcs_write(VMCS_PF_ERROR_MASK, 0);
	vmcs_write(VMCS_PF_ERROR_MATCH, 0);
	vmcs_write(VMCS_CR3_TARGETS, 0);
	vmcs_write(VMCS_EXIT_MSR_STORE_COUNT, 0);
	vmcs_write(VMCS_EXIT_MSR_LOAD_COUNT, 0);
	vmcs_write(VMCS_ENTRY_MSR_LOAD_COUNT, 0);
	vmcs_write(VMCS_GUEST_ACTIVITY, VMX_ACTIVE);
	vmcs_write(VMCS_GUEST_DEBUGCTL, 0);
	vmcs_write(VMCS_GUEST_PENDING_DEBUG, 0);
#define X(name, field, type) vmcs_write(VMCS_##field, vmx->vmcs->want.name);
	VMX_CONTROLS(X)
#undef X
	vmx->vmcs->have = vmx->vmcs->want;
	vmx_timer_reset(vmx);
	vmx->vmcs->initialised = true;
}

/* Of this processor: its own descriptor tables and GS, the others alike. */
void vmx_write_host(void)
{
	struct vmx_host host;

	insn_vmx_host(&host);
	vmcs_write(VMCS_HOST_CR0, host.cr0);
	vmcs_write(VMCS_HOST_CR3, host.cr3);
	vmcs_write(VMCS_HOST_CR4, host.cr4);
	vmcs_write(VMCS_HOST_EFER, host.efer);
	vmcs_write(VMCS_HOST_PAT, host.pat);
	vmcs_write(VMCS_HOST_CS_SELECTOR, host.cs);
	vmcs_write(VMCS_HOST_SS_SELECTOR, host.ss);
	vmcs_write(VMCS_HOST_DS_SELECTOR, host.ds);
	vmcs_write(VMCS_HOST_ES_SELECTOR, host.es);
	vmcs_write(VMCS_HOST_FS_SELECTOR, 0);
	vmcs_write(VMCS_HOST_GS_SELECTOR, 0);
	vmcs_write(VMCS_HOST_TR_SELECTOR, host.tr);
	vmcs_write(VMCS_HOST_FS_BASE, host.fs_base);
	vmcs_write(VMCS_HOST_GS_BASE, host.gs_base);
	vmcs_write(VMCS_HOST_TR_BASE, host.tr_base);
	vmcs_write(VMCS_HOST_GDTR_BASE, host.gdt_base);
	vmcs_write(VMCS_HOST_IDTR_BASE, host.idt_base);
	vmcs_write(VMCS_HOST_SYSENTER_CS, 0);
	vmcs_write(VMCS_HOST_SYSENTER_ESP, 0);
	vmcs_write(VMCS_HOST_SYSENTER_EIP, 0);
	vmcs_write(VMCS_HOST_RIP, host.rip);
}

/* One that holds nothing yet. */
void vmx_use_region(u8 *region)
{
	bool ok = insn_vmclear(ptr_to_hpa(region)) && insn_vmptrld(ptr_to_hpa(region));

	ASSERT(ok);
}

void vmx_release_region(u8 *region)
{
	bool ok = insn_vmclear(ptr_to_hpa(region));

	ASSERT(ok);
}

/* The current VMCS from now on. */
static void make_current(struct vcpu *vcpu, struct vmx_vmcs *vmcs)
{
	bool ok = true;

	if (vmcs->initialised)
		ok = insn_vmptrld(ptr_to_hpa(vmcs->region));
	else
		vmx_use_region(vmcs->region);
	ASSERT(ok);
	if (!vmcs->initialised)
		write_constants(vcpu);
	if (!vmcs->active)
		vmx_write_host();
	vmcs->active = true;
}

void vmx_vmcs_use(struct vcpu *vcpu, struct vmx_vmcs *vmcs)
{
	vmx_of(vcpu)->vmcs = vmcs;
	make_current(vcpu, vmcs);
}

void vmx_vcpu_load(struct vcpu *vcpu, struct cpu *cpu)
{
	struct vmx_vcpu *vmx = vmx_of(vcpu);

	make_current(vcpu, vmx->vmcs);
	if (vmx->flushed_on != cpu)
		vmx->flush = true;
	vmx->flushed_on = cpu;
	host_load_guest(vcpu);
	for (u32 i = 0; i < VMX_GUEST_MSRS; i++)
		insn_wrmsr(guest_msrs[i], vmx->msr[i]);
	insn_write_cr2(vmx->cr2);
	insn_write_dr6(vmx->dr6);
}

/* Any processor may load it; the next entry from it is the first one. */
static void deactivate(struct vmx_vmcs *vmcs)
{
	if (!vmcs->active)
		return;
	vmx_release_region(vmcs->region);
	vmcs->active = false;
	vmcs->launched = false;
}

void vmx_vcpu_put(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = vmx_of(vcpu);

	vmx_fetch_state(vcpu);
	vmx->cr2 = insn_read_cr2();
	vmx->dr6 = insn_read_dr6();
	for (u32 i = 0; i < VMX_GUEST_MSRS; i++)
		vmx->msr[i] = insn_rdmsr(guest_msrs[i]);
	host_put_guest(vcpu);
	deactivate(&vmx->own);
	if (vmx->second)
		deactivate(vmx->second);
}
