/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest of the guest on VMX (core/nested.h): the second VMCS. SDM volume 3, "VM Entries", "VM Exits",
 * "Non-Maskable Interrupts", "Operations that Invalidate Cached Mappings". Which exits are L1's:
 * vmx/nested_asked.c. What is moved between L1's block and this VMCS: vmx/nested_state.c.
 *
 * - The second VMCS has L2's state and makes L2 exit for what L1 asks besides what Postern needs. Physical
 *   interrupts and nested paging are Postern's alone. The general registers but RSP are L1's when L2 begins and
 *   L2's when L1 goes on, and so are CR2, DR0 to DR3, DR6 and the MSRs that no VMCS has, as with VM entry itself.
 * - Its EPT root is the one without the APIC's page, so that L1's page is never reached: an access exits, and goes
 *   to L1's registers like any that is not accelerated. It has a VPID of its own. Each switch, in either direction,
 *   gives up what is kept of the one that goes on: L1 has no VPIDs, and so expects that of entry and exit.
 * - Both VMCSs may be active on the vCPU's processor, and are cleared together (vmx/vmcs.c).
 * - L1 that wants exits for external interrupts gets them whatever RFLAGS.IF is, and finds the interrupt pending:
 *   its exit acknowledges none. Behind the exit IF is clear. Otherwise L2's flag gates L1's interrupts.
 * - L1 that wants exits for NMIs: the exit is the NMI, and L1 is in blocking by NMI behind it. With virtual NMIs L2's
 *   blocking is L2's affair alone; without them it is the processor's, and L1's behind any exit.
 * - L2 has a task priority of its own if L1 gives it a virtual-APIC page. A copy: what L1's other processors write
 *   there must not make this entry fail.
 * - An event for L1 that finds the slot of this entry taken waits for one forced exit, so that nothing that
 *   L1 has injected is lost.
 */
#include "vmx/nested_priv.h"

#include "core/vm.h"
#include "insn.h"
#include "postern/port.h"
#include "x86/apic.h"

static const struct vmx_asked nothing;

/* --- what irq/intr.c asks, while L2 runs --- */

bool vmx_nested_gets(struct vcpu *vcpu, enum intr_class class)
{
	const struct vmx_vcpu *vmx = vmx_of(vcpu);
	const struct intr_event *exception = &vcpu->intr.exception;

	if (class == INTR_CLASS_EXCEPTION)
		return exception->valid && !vcpu->intr.again.valid &&
		       vmx_asked_exception(vmx, exception->vector, exception->error);
	return vmx->asked.pin & (class == INTR_CLASS_NMI ? VMX_PIN_NMI : VMX_PIN_EXTERNAL);
}

enum intr_block vmx_nested_blocked(struct vcpu *vcpu, enum intr_class class)
{
	const struct vmx_vcpu *vmx = vmx_of(vcpu);
	const struct vmx_controls *want = &vmx->vmcs->want;

	if (want->entry_info & VMX_EVENT_VALID)
		return INTR_BLOCK_SLOT;
	if (class == INTR_CLASS_NMI && want->interruptibility & VMX_BLOCKED_NMI &&
	    !(vmx->asked.pin & VMX_PIN_VIRTUAL_NMI))
		return INTR_BLOCK_NMI;
	return INTR_BLOCK_NESTED;
}

bool vmx_nested_threshold(struct vmx_vcpu *vmx, u32 *threshold)
{
	const struct vmx_nested *nested = vmx->nested;
	u32 class = nested->page[APIC_TPR] >> 4;

	if (!(vmx->asked.primary & VMX_PROC_TPR_SHADOW))
		return false;
	/* Above the class itself entry refuses it. */
	*threshold = nested->threshold < class ? nested->threshold : class;
	return true;
}

/* --- entry --- */

static void build_controls(struct vcpu *vcpu, const struct vmx_block *block)
{
	struct vmx_vcpu *vmx = vmx_of(vcpu);
	struct vmx_controls *want = &vmx->second->want;
	const struct vmx_asked *asked = &vmx->asked;

	vmx_base_controls(vcpu, want);
	want->primary |= vmx->own.want.primary & VMX_PROC_PAUSE;
	/* Ports and MSRs exit by Postern's own controls. */
	want->primary |= asked->primary & ~VMX_PROC_IO_BITMAPS;
	want->secondary |= asked->secondary;
	want->primary &= vmx_features.primary.may;
	want->secondary &= vmx_features.secondary.may;
	want->eptp = vmx_eptp(mmu_root_without_apic(vcpu->vm));
	want->entry_info = (u32)vmx_block_of(block, ENTRY_INFO);
	want->entry_error = (u32)vmx_block_of(block, ENTRY_ERROR);
	want->entry_length = (u32)vmx_block_of(block, ENTRY_LENGTH);
	want->interruptibility = (u32)vmx_block_of(block, GUEST_INTERRUPTIBILITY);
}

/* vmx/run.c enters as if the instruction of a software event were right before RIP. */
static void load_regs(struct vcpu *vcpu, const struct vmx_block *block)
{
	struct vcpu_regs *regs = &vcpu->regs;

	regs->rip = vmx_block_of(block, GUEST_RIP) + vmx_intr_length(vcpu);
	regs->gpr[GPR_RSP] = vmx_block_of(block, GUEST_RSP);
	regs->rflags = vmx_block_of(block, GUEST_RFLAGS);
}

/* Another VMCS is in use. A step that is under way is one of the instruction that brought this about. */
static void switch_to(struct vcpu *vcpu, struct vmx_vmcs *vmcs)
{
	struct vmx_vcpu *vmx = vmx_of(vcpu);

	vmx->vmcs->want.primary &= ~VMX_PROC_MTF;
	vmx->steps = false;
	vmx_vmcs_use(vcpu, vmcs);
	vmcs->want.exceptions = vmx_exceptions(vmx);
	vmx->flush = true;
}

/* VPIDs from 1 on are the vCPUs' own, those behind them are for these. */
static bool create(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = vmx_of(vcpu);
	struct vmx_nested *nested = vmx->nested;

	if (nested)
		return true;
	nested = port_alloc(sizeof(*nested), PAGE_SIZE);
	if (!nested)
		return false;
	if (!vmx_vmcs_init(&nested->vmcs, (u16)(vmx->own.vpid + MAX_VMS * MAX_VCPUS))) {
		port_free(nested, sizeof(*nested));
		return false;
	}
	vmx->nested = nested;
	vmx->second = &nested->vmcs;
	return true;
}

bool vmx_nested_enter(struct vcpu *vcpu, void *of_l1)
{
	struct vmx_block *block = of_l1;
	struct vmx_vcpu *vmx = vmx_of(vcpu);

	ASSERT(vmx->own.active && !(vmx->own.want.entry_info & VMX_EVENT_VALID));
	if (!create(vcpu))
		return false;
	vmx->nested->block = block;
	vmx_fetch_state(vcpu);
	vmx_nested_ask(vcpu, block);
	build_controls(vcpu, block);
	switch_to(vcpu, vmx->second);
	load_regs(vcpu, block);
	vmx_nested_load(vcpu, block);
	return true;
}

/* --- return --- */

/* An exit that the processor has not made: as it would have. */
static void tell_event(struct vcpu *vcpu, struct vmx_block *block, u32 info)
{
	struct intr_event *exception = &vcpu->intr.exception;
	struct vcpu_state state;

	vmx_block_of(block, EXIT_REASON) = VMX_EXIT_EXCEPTION;
	vmx_block_of(block, EXIT_INFO) = info | VMX_EVENT_VALID;
	if (info == (VMX_EVENT_NMI | VECTOR_NMI)) {
		vcpu->intr.nmi_pending--;
		return;
	}
	vmx_get_state(vcpu, &state);
	if (exception->vector == VECTOR_PF)
		vmx_block_of(block, QUALIFICATION) = state.cr2;
	if (exception->vector == VECTOR_DB)
		vmx_block_of(block, QUALIFICATION) = state.dr6 & VMX_DR6_CAUSES;
	if (exception->has_error && vmx_is_protected(vcpu)) {
		vmx_block_of(block, EXIT_INFO) |= VMX_EVENT_ERROR;
		vmx_block_of(block, EXIT_ERROR) = exception->error;
	}
	exception->valid = false;
}

static void tell(struct vcpu *vcpu, struct vmx_block *block, enum nested_why why)
{
	vmx_block_of(block, QUALIFICATION) = 0;
	vmx_block_of(block, EXIT_INFO) = 0;
	vmx_block_of(block, IDT_INFO) = 0;
	switch (why) {
	case NESTED_INTERRUPT:
		vmx_block_of(block, EXIT_REASON) = VMX_EXIT_EXTERNAL;
		break;
	case NESTED_INIT:
		vmx_block_of(block, EXIT_REASON) = VMX_EXIT_INIT;
		break;
	case NESTED_NMI:
		tell_event(vcpu, block, VMX_EVENT_NMI | VECTOR_NMI);
		break;
	default:
		tell_event(vcpu, block, VMX_EVENT_EXCEPTION | vcpu->intr.exception.vector);
		break;
	}
}

/* "Updating Non-Register State": what L1 finds of blocking by NMI. */
static u32 nmi_blocking(const struct vmx_vcpu *vmx, enum nested_why why)
{
	if (why == NESTED_NMI)
		return VMX_BLOCKED_NMI;
	if (vmx->asked.pin & VMX_PIN_VIRTUAL_NMI)
		return 0;
	return vmx->vmcs->want.interruptibility & VMX_BLOCKED_NMI;
}

void vmx_nested_leave(struct vcpu *vcpu, enum nested_why why)
{
	struct vmx_vcpu *vmx = vmx_of(vcpu);
	struct vmx_block *block = vmx->nested->block;
	bool failed = why == NESTED_EXIT && vcpu->exit.raw[0] & VMX_EXIT_ENTRY_FAILED;

	if (why == NESTED_EXIT)
		vmx_nested_tell_exit(vcpu, block);
	else
		tell(vcpu, block, why);
	/* An entry that fails has stored nothing of a guest, and injected nothing. */
	if (!failed)
		vmx_nested_store(vcpu, block);
	vmx->own.want.interruptibility = nmi_blocking(vmx, why);
	/* Of an event that was interrupted L1 hears by the block, and does what it likes. */
	vcpu->intr.again.valid = false;
	vmx_nested_host_state(vcpu, block);
	vmx->asked = nothing;
	switch_to(vcpu, &vmx->own);
	vmx_nested_load_host(vcpu, block);
}

void vmx_nested_exit(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = vmx_of(vcpu);

	if (!vmx->nested)
		return;
	vmx_vmcs_exit(&vmx->nested->vmcs);
	port_free(vmx->nested, sizeof(*vmx->nested));
}
