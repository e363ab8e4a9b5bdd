/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * VM entry. SDM volume 3, "VM Entries": what is checked (vmx_checks.c), what is loaded from the guest-state
 * area, and how entries fail: for controls and host state with VMfailValid, for guest state as an exit with
 * bit 31 of the reason, that loads the host's state and leaves the event to be injected where it is.
 */
#include "cpu_model/guest.h"
#include "cpu_model/vmx.h"
#include "postern/port.h"

u64 vmx_field(const struct model_cpu *cpu, u32 encoding)
{
	return vmcs_store_get(cpu->vmx.current, encoding);
}

void vmx_set_field(struct model_cpu *cpu, u32 encoding, u64 value)
{
	vmcs_store_set(cpu->vmx.current, encoding, value);
}

/* Attributes as x86_segment has them; unusable is not present. */
static struct x86_segment load_segment(const struct model_cpu *cpu, u32 seg)
{
	u32 rights = (u32)vmx_field(cpu, (u32)VMCS_GUEST_RIGHTS(seg));
	u16 attr = (u16)((rights & 0xff) | (rights >> 4 & 0xf00));

	if (rights & VMX_RIGHTS_UNUSABLE)
		attr &= (u16)~SEG_ATTR_P;
	return (struct x86_segment){
	        .selector = (u16)vmx_field(cpu, (u32)VMCS_GUEST_SELECTOR(seg)),
	        .attr = attr,
	        .limit = (u32)vmx_field(cpu, (u32)VMCS_GUEST_LIMIT(seg)),
	        .base = vmx_field(cpu, (u32)VMCS_GUEST_BASE(seg)),
	};
}

static void load_segments(struct model_cpu *cpu)
{
	struct model_regs *regs = &cpu->regs;
	struct model_hidden *hidden = &cpu->hidden;

	regs->es = load_segment(cpu, SEG_ES);
	regs->cs = load_segment(cpu, SEG_CS);
	regs->ss = load_segment(cpu, SEG_SS);
	regs->ds = load_segment(cpu, SEG_DS);
	hidden->fs = load_segment(cpu, SEG_FS);
	hidden->gs = load_segment(cpu, SEG_GS);
	hidden->ldtr = load_segment(cpu, SEG_LDTR);
	hidden->tr = load_segment(cpu, SEG_TR);
	regs->gdtr = (struct x86_segment){.base = vmx_field(cpu, VMCS_GUEST_GDTR_BASE),
	                                  .limit = (u32)vmx_field(cpu, VMCS_GUEST_GDTR_LIMIT)};
	regs->idtr = (struct x86_segment){.base = vmx_field(cpu, VMCS_GUEST_IDTR_BASE),
	                                  .limit = (u32)vmx_field(cpu, VMCS_GUEST_IDTR_LIMIT)};
	regs->cpl = (u8)((regs->ss.attr & SEG_ATTR_DPL) >> 5);
}

/*
 * "Loading Guest Control Registers, Debug Registers, and MSRs". CR0.ET, CD and NW stay as they are, the model's
 * host has the latter two clear. Without the control, EFER.LMA and LME follow "IA-32e mode guest".
 */
static void load_registers(struct model_cpu *cpu)
{
	struct model_regs *regs = &cpu->regs;
	u32 entry = (u32)vmx_field(cpu, VMCS_ENTRY_CONTROLS);

	regs->rip = vmx_field(cpu, VMCS_GUEST_RIP);
	regs->gpr[GPR_RSP] = vmx_field(cpu, VMCS_GUEST_RSP);
	regs->rflags = vmx_field(cpu, VMCS_GUEST_RFLAGS);
	regs->cr0 = (vmx_field(cpu, VMCS_GUEST_CR0) & ~(CR0_CD | CR0_NW)) | CR0_ET;
	regs->cr3 = vmx_field(cpu, VMCS_GUEST_CR3);
	regs->cr4 = vmx_field(cpu, VMCS_GUEST_CR4);
	if (entry & VMX_ENTRY_CTL_LOAD_DEBUG)
		regs->dr7 = vmx_field(cpu, VMCS_GUEST_DR7);
	regs->pat = entry & VMX_ENTRY_CTL_LOAD_PAT ? vmx_field(cpu, VMCS_GUEST_PAT) : cpu->pat;
	regs->efer = cpu->efer & ~(EFER_LMA | EFER_LME);
	if (entry & VMX_ENTRY_CTL_LOAD_EFER)
		regs->efer = vmx_field(cpu, VMCS_GUEST_EFER);
	else if (entry & VMX_ENTRY_CTL_GUEST_64)
		regs->efer |= EFER_LMA | EFER_LME;
	cpu->hidden.sysenter_cs = vmx_field(cpu, VMCS_GUEST_SYSENTER_CS);
	cpu->hidden.sysenter_esp = vmx_field(cpu, VMCS_GUEST_SYSENTER_ESP);
	cpu->hidden.sysenter_eip = vmx_field(cpu, VMCS_GUEST_SYSENTER_EIP);
}

static void load_rest(struct model_cpu *cpu)
{
	struct model_vmx *vmx = &cpu->vmx;
	u32 blocked = (u32)vmx_field(cpu, VMCS_GUEST_INTERRUPTIBILITY);

	cpu->regs.shadow = blocked & (VMX_BLOCKED_STI | VMX_BLOCKED_SS);
	vmx->mov_ss = blocked & VMX_BLOCKED_SS;
	vmx->nmi_blocked = blocked & VMX_BLOCKED_NMI;
	cpu->trap_pending = vmx_field(cpu, VMCS_GUEST_PENDING_DEBUG) & VMX_DEBUG_BS;
	cpu->sti_shadow = false;
	cpu->halted = vmx_field(cpu, VMCS_GUEST_ACTIVITY) == VMX_HALTED;
	vmx->mtf_pending = false;
}

static void load_controls(struct model_cpu *cpu)
{
	struct model_vmx *vmx = &cpu->vmx;

	vmx->pin = (u32)vmx_field(cpu, VMCS_PIN);
	vmx->primary = (u32)vmx_field(cpu, VMCS_PRIMARY);
	vmx->secondary =
	        vmx->primary & VMX_PROC_SECONDARY ? (u32)vmx_field(cpu, VMCS_SECONDARY) : 0;
	vmx->tertiary = vmx->primary & VMX_PROC_TERTIARY ? vmx_field(cpu, VMCS_TERTIARY) : 0;
	vmx->exit_controls = (u32)vmx_field(cpu, VMCS_EXIT_CONTROLS);
	vmx->eptp = vmx_field(cpu, VMCS_EPTP);
	vmx->vpid = vmx->secondary & VMX_PROC2_VPID ? (u16)vmx_field(cpu, VMCS_VPID) : 0;
	if (!(vmx->secondary & VMX_PROC2_EPT))
		port_panic("VM entry without EPT: scripts have no page tables");
	if (vmx_field(cpu, VMCS_ENTRY_MSR_LOAD_COUNT) || vmx_field(cpu, VMCS_EXIT_MSR_LOAD_COUNT) ||
	    vmx_field(cpu, VMCS_EXIT_MSR_STORE_COUNT))
		port_panic("VM entry with MSR lists, which the model does not have");
}

static bool fail(struct model_cpu *cpu, u32 error)
{
	vmx_set_field(cpu, VMCS_INSTRUCTION_ERROR, error);
	return false;
}

static bool breaks(struct model_cpu *cpu, enum vmx_area area)
{
	struct vmx_caps caps = vmx_caps(model()->features);
	const struct vmx_rule *rule;

	caps.switches = model()->vapic_switches;
	rule = vmx_check(cpu->vmx.current, &caps, area);
	if (rule)
		port_log("VM entry refused: %s", rule->name);
	return rule;
}

/* "VM-Entry Failures During or After Loading Guest State" */
static void fail_late(struct model_cpu *cpu)
{
	cpu->vmx.exit_controls = (u32)vmx_field(cpu, VMCS_EXIT_CONTROLS);
	vmx_exit(cpu, VMX_EXIT_ENTRY_GUEST_STATE | VMX_EXIT_ENTRY_FAILED, 0);
	vmx_load_host(cpu);
}

bool vmx_enter(struct model_cpu *cpu, bool launched)
{
	struct model_vmcs *vmcs = cpu->vmx.current;

	if (!vmcs)
		return false;
	if (launched != !!vmcs->launched)
		return fail(cpu, launched ? VMX_ERROR_VMRESUME_NOT_LAUNCHED
		                          : VMX_ERROR_VMLAUNCH_NOT_CLEAR);
	if (breaks(cpu, VMX_AREA_CONTROLS))
		return fail(cpu, VMX_ERROR_ENTRY_CONTROLS);
	if (breaks(cpu, VMX_AREA_HOST))
		return fail(cpu, VMX_ERROR_ENTRY_HOST);
	if (breaks(cpu, VMX_AREA_GUEST)) {
		fail_late(cpu);
		return true;
	}
	vmcs->launched = 1;
	load_controls(cpu);
	load_segments(cpu);
	load_registers(cpu);
	load_rest(cpu);
	vmx_apic_enter(cpu);
	vmx_timer_start(cpu);
	if (cpu->vmx.vpid)
		vmx_vpid_enter(cpu, cpu->vmx.vpid);
	cpu->vmruns++;
	model_run_guest(cpu, ptr_to_hpa(vmcs));
	if (cpu->vmx.vpid)
		vmx_vpid_leave(cpu, cpu->vmx.vpid);
	vmx_leave(cpu);
	cpu->guest = NULL;
	return true;
}
