/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * APIC virtualization as a user: the modes of a vCPU, and what the processor is told before an entry. SDM volume 3,
 * "APIC Virtualization and Virtual Interrupts": "Virtualizing Memory-Mapped APIC Accesses", "Virtualizing MSR-Based
 * APIC Accesses", "Evaluation and Delivery of Virtual Interrupts"; "Guest Non-Register State".
 *
 *  - The virtual-APIC page is the page of irq/lapic.c, which has the architectural layout, in all modes.
 *  - The processor delivers the highest vector of VIRR because RVI names it, and ends the one that SVI names: the
 *    guest interrupt status. It is the highest bits of the page's IRR and ISR at any exit; so whenever software has
 *    changed these, and when acceleration begins, both are written anew. VIRR and VISR are software's only while
 *    the vCPU is outside of the guest: requests come apart from them (irq/accel.h). PPR is the processor's: it
 *    follows from TPR and SVI at the entry.
 *  - TMR means nothing to the processor. Which ends of interrupts exit is in the EOI-exit bitmap. SVI is 0 while
 *    nothing is in service, and an EOI then asks for bit 0: no vector below 16 is ever in the bitmap.
 *  - "Virtualize APIC accesses" and "virtualize x2APIC mode" exclude each other; a vCPU whose APIC is in the latter
 *    mode, or that is not accelerated for a reason of its own, is on a root without the APIC-access page. What
 *    translations say of that page depends on the control and on the root: both go with a flush.
 *  - In x2APIC mode the processor answers any RDMSR that is let through with what the page has, and #GP never; so
 *    the bitmap lets through what the page answers rightly. ICR is among it only with vmx/ipiv.c.
 *  - TPR threshold: 0, since nothing of the local APIC waits for software.
 *  - Interrupt-window exiting suppresses the delivery while it is on, and an event is injected before a virtual
 *    interrupt is delivered: so what is not the local APIC's is injected as without acceleration.
 *  - All of it concerns the vCPU's own VMCS. A guest of the guest runs by another one, unaccelerated.
 */
#include "insn.h"
#include "irq/accel.h"
#include "irq/lapic_priv.h"
#include "postern/port.h"
#include "postern/string.h"
#include "vmx/vmx.h"
#include "x86/msr.h"
#include "x86/vmx_apic.h"

_Static_assert(sizeof(struct accel_requests) == sizeof(struct pi_desc) &&
                       _Alignof(struct accel_requests) == _Alignof(struct pi_desc) &&
                       offsetof(struct accel_requests, word) == offsetof(struct pi_desc, pir) &&
                       offsetof(struct accel_requests, control) ==
                               offsetof(struct pi_desc, control) &&
                       ACCEL_REQUESTS_ON == PI_ON,
               "requests that are apart are a posted-interrupt descriptor");

#define IN_BOTH_MODES (VMX_PROC2_APIC_REGISTER | VMX_PROC2_VID)
#define IN_XAPIC      (VMX_PROC2_APIC_ACCESS | IN_BOTH_MODES)
#define IN_X2APIC     (VMX_PROC2_X2APIC | IN_BOTH_MODES)

static u32 modes(void)
{
	if (!vmx_may(&vmx_features.secondary, IN_XAPIC | IN_X2APIC))
		return 0;
	return ACCEL_MODE(ACCEL_XAPIC) | ACCEL_MODE(ACCEL_X2APIC);
}

static bool vm_init(struct vm *vm)
{
	vmx_posted_vm_init(vm);
	return vmx_create_x2apic_bitmap(vm) && vmx_ipiv_vm_init(vm);
}

static void set(struct vcpu *vcpu, enum accel_mode mode, bool with_page)
{
	static const u32 controls[] = {
	        [ACCEL_OFF] = 0, [ACCEL_XAPIC] = IN_XAPIC, [ACCEL_X2APIC] = IN_X2APIC};
	struct vmx_vcpu *vmx = vmx_of(vcpu);
	hpa_t root = with_page ? mmu_root(vcpu->vm) : mmu_root_without_apic(vcpu->vm);

	vmx->own.want.secondary &= ~(IN_XAPIC | IN_X2APIC);
	vmx->own.want.secondary |= controls[mode];
	vmx->own.want.pin &= ~VMX_PIN_POSTED;
	vmx->own.want.pin |= vmx_posted_pin(mode);
	vmx->own.want.primary |= vmx_ipiv_primary();
	vmx->own.want.eptp = vmx_eptp(root);
	vmx->apicv.x2apic = mode == ACCEL_X2APIC;
	vmx->apicv.changed = true;
	vmx->flush = true;
}

static void eoi_exits(struct vcpu *vcpu, const u64 *bitmap)
{
	struct vmx_apicv *apicv = &vmx_of(vcpu)->apicv;

	for (u32 i = 0; i < EOI_EXIT_WORDS; i++)
		apicv->eoi_exit[i] = bitmap[i];
	apicv->eoi_exit[0] &= ~0xffffull;
	apicv->changed = true;
}

static enum vmx_bitmap bitmap_of(const struct vcpu *vcpu)
{
	const struct vmx_vcpu *vmx = vcpu->arch;

	if (!vmx->apicv.x2apic)
		return VMX_BITMAP_PLAIN;
	return vmx_ipiv_active(vcpu) ? VMX_BITMAP_IPIV : VMX_BITMAP_X2APIC;
}

static void store_controls(struct vcpu *vcpu)
{
	const struct vmx_apicv *apicv = &vmx_of(vcpu)->apicv;
	const struct vmx_vm *vm = vcpu->vm->arch;

	vmcs_write(VMCS_APIC_ACCESS, ptr_to_hpa(vcpu->vm->accel.page).v);
	vmcs_write(VMCS_MSR_BITMAP, ptr_to_hpa(vm->msr_bitmap[bitmap_of(vcpu)]).v);
	for (u32 i = 0; i < EOI_EXIT_WORDS; i++)
		vmcs_write(VMCS_EOI_EXIT(i), apicv->eoi_exit[i]);
	vmx_posted_store(vcpu);
	vmx_ipiv_store(vcpu);
}

void vmx_apicv_store(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = vmx_of(vcpu);
	u8 requested, in_service;

	if (vmx->apicv.changed)
		store_controls(vcpu);
	vmx->apicv.changed = false;
	lapic_status(vcpu, &requested, &in_service);
	if (!(vmx->own.want.secondary & VMX_PROC2_VID))
		requested = in_service = 0;
	vmcs_write(VMCS_GUEST_INTR_STATUS, VMX_INTR_STATUS(requested, in_service));
}

const struct accel_ops vmx_apicv_ops = {
        .modes = modes,
        .vm_init = vm_init,
        .set = set,
        .running = vmx_posted_running,
        .wake = vmx_posted_wake,
        .notify = vmx_posted_notify,
        .identify = vmx_ipiv_identify,
        .eoi_exits = eoi_exits,
        .requests_apart = true,
};
