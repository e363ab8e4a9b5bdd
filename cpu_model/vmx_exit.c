/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * VM exits: what is noted, stored and loaded. SDM volume 3, "Recording VM-Exit Information and Updating VM-entry
 * Control Fields", "Saving Guest State", "Loading Host State".
 *
 * Fields that the manual leaves undefined for an exit are filled with something that nobody can take for a value.
 */
#include "cpu_model/guest.h"
#include "cpu_model/vmx.h"
#include "postern/port.h"

#define UNDEFINED 0xdeaddeaddeaddeadull

void vmx_exit(struct model_cpu *cpu, u32 reason, u64 qualification)
{
	cpu->vmx.reason = reason;
	vmx_set_field(cpu, VMCS_EXIT_REASON, reason);
	vmx_set_field(cpu, VMCS_QUALIFICATION, qualification);
	if (reason & VMX_EXIT_ENTRY_FAILED)
		return;
	vmx_set_field(cpu, VMCS_EXIT_INFO, 0);
	vmx_set_field(cpu, VMCS_IDT_INFO, 0);
	vmx_set_field(cpu, VMCS_EXIT_ERROR, (u32)UNDEFINED);
	vmx_set_field(cpu, VMCS_IDT_ERROR, (u32)UNDEFINED);
	vmx_set_field(cpu, VMCS_EXIT_LENGTH, (u32)UNDEFINED);
	vmx_set_field(cpu, VMCS_EXIT_INSN_INFO, (u32)UNDEFINED);
	vmx_set_field(cpu, VMCS_GUEST_PHYSICAL, UNDEFINED);
	vmx_set_field(cpu, VMCS_GUEST_LINEAR, UNDEFINED);
}

bool vmx_exit_insn(struct model_cpu *cpu, const struct guest_insn *insn, u32 reason,
                   u64 qualification)
{
	vmx_exit(cpu, reason, qualification);
	vmx_set_field(cpu, VMCS_EXIT_LENGTH, insn->length);
	return true;
}

/* --- the guest's state --- */

static void store_segment(struct model_cpu *cpu, u32 seg, const struct x86_segment *from)
{
	u32 rights = (from->attr & 0xffu) | (u32)(from->attr & 0xf00u) << 4;

	if (!(from->attr & SEG_ATTR_P))
		rights |= VMX_RIGHTS_UNUSABLE;
	vmx_set_field(cpu, (u32)VMCS_GUEST_SELECTOR(seg), from->selector);
	vmx_set_field(cpu, (u32)VMCS_GUEST_RIGHTS(seg), rights);
	vmx_set_field(cpu, (u32)VMCS_GUEST_LIMIT(seg), from->limit);
	vmx_set_field(cpu, (u32)VMCS_GUEST_BASE(seg), from->base);
}

static void store_segments(struct model_cpu *cpu)
{
	const struct model_regs *regs = &cpu->regs;
	const struct model_hidden *hidden = &cpu->hidden;

	store_segment(cpu, SEG_ES, &regs->es);
	store_segment(cpu, SEG_CS, &regs->cs);
	store_segment(cpu, SEG_SS, &regs->ss);
	store_segment(cpu, SEG_DS, &regs->ds);
	store_segment(cpu, SEG_FS, &hidden->fs);
	store_segment(cpu, SEG_GS, &hidden->gs);
	store_segment(cpu, SEG_LDTR, &hidden->ldtr);
	store_segment(cpu, SEG_TR, &hidden->tr);
	vmx_set_field(cpu, VMCS_GUEST_GDTR_BASE, regs->gdtr.base);
	vmx_set_field(cpu, VMCS_GUEST_GDTR_LIMIT, regs->gdtr.limit);
	vmx_set_field(cpu, VMCS_GUEST_IDTR_BASE, regs->idtr.base);
	vmx_set_field(cpu, VMCS_GUEST_IDTR_LIMIT, regs->idtr.limit);
}

/* IA32_VMX_MISC bit 5: the entry control follows EFER.LMA. */
static void store_registers(struct model_cpu *cpu)
{
	const struct model_regs *regs = &cpu->regs;
	u32 controls = cpu->vmx.exit_controls;
	u64 entry = vmx_field(cpu, VMCS_ENTRY_CONTROLS) & ~(u64)VMX_ENTRY_CTL_GUEST_64;

	vmx_set_field(cpu, VMCS_GUEST_RIP, regs->rip);
	vmx_set_field(cpu, VMCS_GUEST_RSP, regs->gpr[GPR_RSP]);
	vmx_set_field(cpu, VMCS_GUEST_RFLAGS, regs->rflags);
	vmx_set_field(cpu, VMCS_GUEST_CR0, regs->cr0);
	vmx_set_field(cpu, VMCS_GUEST_CR3, regs->cr3);
	vmx_set_field(cpu, VMCS_GUEST_CR4, regs->cr4);
	if (controls & VMX_EXIT_CTL_SAVE_DEBUG)
		vmx_set_field(cpu, VMCS_GUEST_DR7, regs->dr7);
	if (controls & VMX_EXIT_CTL_SAVE_PAT)
		vmx_set_field(cpu, VMCS_GUEST_PAT, regs->pat);
	if (controls & VMX_EXIT_CTL_SAVE_EFER)
		vmx_set_field(cpu, VMCS_GUEST_EFER, regs->efer);
	if (controls & VMX_EXIT_CTL_SAVE_TIMER)
		vmx_set_field(cpu, VMCS_PREEMPTION_TIMER, vmx_timer_value(cpu));
	vmx_set_field(cpu, VMCS_ENTRY_CONTROLS,
	              entry | (regs->efer & EFER_LMA ? VMX_ENTRY_CTL_GUEST_64 : 0));
	vmx_set_field(cpu, VMCS_GUEST_SYSENTER_CS, cpu->hidden.sysenter_cs);
	vmx_set_field(cpu, VMCS_GUEST_SYSENTER_ESP, cpu->hidden.sysenter_esp);
	vmx_set_field(cpu, VMCS_GUEST_SYSENTER_EIP, cpu->hidden.sysenter_eip);
}

static void store_rest(struct model_cpu *cpu)
{
	const struct model_vmx *vmx = &cpu->vmx;
	u32 shadow = vmx->mov_ss ? VMX_BLOCKED_SS : VMX_BLOCKED_STI;

	vmx_set_field(cpu, VMCS_GUEST_INTERRUPTIBILITY,
	              (cpu->regs.shadow ? shadow : 0) | (vmx->nmi_blocked ? VMX_BLOCKED_NMI : 0));
	vmx_set_field(cpu, VMCS_GUEST_PENDING_DEBUG, cpu->trap_pending ? VMX_DEBUG_BS : 0);
	/* An event that exits by itself wakes nobody before the exit. */
	vmx_set_field(cpu, VMCS_GUEST_ACTIVITY, cpu->halted ? VMX_HALTED : VMX_ACTIVE);
	vmx_set_field(cpu, VMCS_ENTRY_INFO,
	              vmx_field(cpu, VMCS_ENTRY_INFO) & ~(u64)VMX_EVENT_VALID);
}

/* --- the host's --- */

/* A VMCS that has another processor's is found here; what would happen is that it runs on as that one. */
static void check_host(const struct model_cpu *cpu, const struct vmx_host *own)
{
	if (vmx_field(cpu, VMCS_HOST_GS_BASE) != own->gs_base ||
	    vmx_field(cpu, VMCS_HOST_TR_BASE) != own->tr_base ||
	    vmx_field(cpu, VMCS_HOST_GDTR_BASE) != own->gdt_base)
		port_panic("VM exit: the host state is not that of processor %u", cpu->index);
	if (vmx_field(cpu, VMCS_HOST_RIP) != own->rip)
		port_panic("VM exit to %llx, where nothing is",
		           (unsigned long long)vmx_field(cpu, VMCS_HOST_RIP));
}

void vmx_load_host(struct model_cpu *cpu)
{
	struct vmx_host own;

	vmx_own_host(cpu, &own);
	check_host(cpu, &own);
	cpu->vmx.cr4 = vmx_field(cpu, VMCS_HOST_CR4);
	if (cpu->vmx.exit_controls & VMX_EXIT_CTL_LOAD_EFER)
		cpu->efer = vmx_field(cpu, VMCS_HOST_EFER);
	if (cpu->vmx.exit_controls & VMX_EXIT_CTL_LOAD_PAT)
		cpu->pat = vmx_field(cpu, VMCS_HOST_PAT);
	cpu->hidden.fs = (struct x86_segment){.base = vmx_field(cpu, VMCS_HOST_FS_BASE)};
	cpu->hidden.gs = (struct x86_segment){.base = vmx_field(cpu, VMCS_HOST_GS_BASE)};
	cpu->hidden.tr =
	        (struct x86_segment){.base = vmx_field(cpu, VMCS_HOST_TR_BASE), .limit = 0x67};
	cpu->hidden.ldtr = (struct x86_segment){0};
	cpu->regs.dr7 = 0x400;
	cpu->intr_flag = false;
}

void vmx_leave(struct model_cpu *cpu)
{
	store_segments(cpu);
	store_registers(cpu);
	store_rest(cpu);
	vmx_apic_leave(cpu);
	vmx_load_host(cpu);
}
