/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Exits of APIC virtualization. SDM volume 3, "Exit Qualification for APIC-Access VM Exits from Linear Accesses and
 * Guest-Physical Accesses", "APIC-Write Emulation", "EOI Virtualization".
 *
 *  - APIC access: before the instruction, which is emulated. That its bytes come from the page, or that the
 *    processor accesses it while it delivers an event or walks the guest's tables, is nothing that an APIC answers.
 *  - APIC write: behind the write of a register, with the value in the page; of ICR, the IPI is sent by software. In
 *    x2APIC mode only a self-IPI with an illegal vector comes here.
 *  - Virtualized EOI: behind the write of EOI. The processor has taken the vector out of service already; who
 *    waits for its end is still to be told.
 *  - An exit while a virtual interrupt is delivered: the IDT-vectoring information has it. Bochs 2.7 leaves that
 *    of the event before there. Told so (setting stale-vectoring), what SVI names is taken for the one if
 *    RFLAGS.IF, which an interrupt's gate would have cleared, is still set. That is wrong for a handler that has set
 *    it in front of its EOI, and then faults: a choice between a rare interrupt too many and one that is lost.
 */
#include "postern/port.h"
#include "vmx/vmx.h"
#include "x86/apic.h"
#include "x86/msr.h"

void vmx_apicv_access_exit(struct vcpu *vcpu, u64 qualification)
{
	u32 kind = VMX_APIC_KIND(qualification);

	vmx_emulating(vcpu);
	vcpu->exit.kind = EXIT_APIC_ACCESS;
	vcpu->exit.memory = (struct exit_memory){
	        .gpa = GPA(APIC_BASE_DEFAULT | VMX_APIC_OFFSET(qualification)),
	        .write = kind == VMX_APIC_WRITE,
	        .fetch = kind == VMX_APIC_FETCH,
	        .present = true,
	        .walk = kind == VMX_APIC_ACCESS_GPA,
	};
}

void vmx_apicv_write_exit(struct vcpu *vcpu, u64 qualification)
{
	vcpu->exit.kind = EXIT_APIC_WRITE;
	vcpu->exit.apic = (struct exit_apic){.offset = VMX_APIC_OFFSET(qualification)};
}

void vmx_apicv_eoi_exit(struct vcpu *vcpu, u64 qualification)
{
	vcpu->exit.kind = EXIT_EOI;
	vcpu->exit.apic = (struct exit_apic){.offset = APIC_EOI, .vector = (u8)qualification};
}

u32 vmx_apicv_cut_short(struct vcpu *vcpu, u32 info)
{
	const struct vmx_vcpu *vmx = vmx_of(vcpu);
	u8 in_service;

	if (!port_machine()->stale_vectoring || vmx_in_nested(vmx) ||
	    !(vmx->own.want.secondary & VMX_PROC2_VID) || !(vcpu->regs.rflags & RFLAGS_IF))
		return info;
	in_service = (u8)(vmcs_read(VMCS_GUEST_INTR_STATUS) >> 8);
	return in_service ? VMX_EVENT_VALID | VMX_EVENT_EXTERNAL | in_service : info;
}
