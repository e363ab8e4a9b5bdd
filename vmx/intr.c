/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The injection primitives on VMX. SDM volume 3, "Event Injection", "Guest Non-Register State",
 * "Interrupt-Window Exiting and Virtual-Interrupt Delivery", "NMI-Window Exiting", "TPR-Shadow and
 * TPR-Threshold".
 *
 * - Every event goes through the VM-entry interruption-information field, one per entry; an exit that
 *   interrupts its delivery tells so (vmx/exit.c), otherwise it has been delivered.
 * - Windows: the processor exits at the first instruction boundary at which the event could be delivered,
 *   behind an injected event too. So no class needs a forced exit, but while a guest of the guest runs
 *   (vmx/nested.c).
 * - INT3 and INT n push the address behind them, and RIP is there already: so the entry is made as if the
 *   instruction were right before it, which it is, but for what follows its opcode.
 * - In real mode no exception has an error code, and entry refuses one.
 * - Delivering #DB clears DR7.GD, or its handler could not look at DR6; an injected one leaves it ("Vectored-Event
 *   Injection").
 * - With virtual NMIs the processor knows whether an NMI handler runs.
 * - The task priority is in the virtual-APIC page, which is the local APIC's own. While something waits for it
 *   to drop, the guest exits when its class falls below the threshold, which may not be above the class itself
 *   (entry check). With a subclass, which a write of CR8 clears unseen, writes of CR8 exit.
 */
#include "insn.h"
#include "irq/lapic_priv.h"
#include "postern/port.h"
#include "vmx/vmx.h"
#include "x86/apic.h"

#define BLOCKED_SHADOW (VMX_BLOCKED_STI | VMX_BLOCKED_SS)

#define DR7_GD BIT64(13)

enum intr_block vmx_intr_blocked(struct vcpu *vcpu, enum intr_class class)
{
	const struct vmx_controls *want = &vmx_of(vcpu)->vmcs->want;

	if (vmx_in_nested(vmx_of(vcpu)) && vmx_nested_gets(vcpu, class))
		return vmx_nested_blocked(vcpu, class);
	if (want->entry_info & VMX_EVENT_VALID)
		return INTR_BLOCK_SLOT;
	if (class == INTR_CLASS_EXCEPTION)
		return INTR_BLOCK_NONE;
	if (class == INTR_CLASS_NMI && want->interruptibility & VMX_BLOCKED_NMI)
		return INTR_BLOCK_NMI;
	if (class == INTR_CLASS_EXTERNAL && !(vcpu->regs.rflags & RFLAGS_IF))
		return INTR_BLOCK_IF;
	/* Some processors want no STI blocking for an NMI either. */
	if (want->interruptibility & BLOCKED_SHADOW)
		return INTR_BLOCK_SHADOW;
	return INTR_BLOCK_NONE;
}

/* INT3 is a type of its own. */
static u32 event_type(const struct intr_event *event)
{
	switch (event->type) {
	case INTR_TYPE_NMI:
		return VMX_EVENT_NMI;
	case INTR_TYPE_EXCEPTION:
		return VMX_EVENT_EXCEPTION;
	case INTR_TYPE_SOFTWARE:
		return event->vector == VECTOR_BP ? VMX_EVENT_SOFT_EXC : VMX_EVENT_SOFTWARE;
	default:
		return VMX_EVENT_EXTERNAL;
	}
}

static void clear_general_detect(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = vmx_of(vcpu);
	u64 dr7 = vmx->vmcs->state_valid ? vmx->vmcs->state.dr7 : vmcs_read(VMCS_GUEST_DR7);
	struct vcpu_state state;

	if (!(dr7 & DR7_GD))
		return;
	vmx_get_state(vcpu, &state);
	state.dr7 &= ~DR7_GD;
	vmx_set_state(vcpu, &state);
}

void vmx_intr_inject(struct vcpu *vcpu, const struct intr_event *event)
{
	struct vmx_controls *want = &vmx_of(vcpu)->vmcs->want;

	ASSERT(!(want->entry_info & VMX_EVENT_VALID));
	want->entry_info = event->vector | event_type(event) | VMX_EVENT_VALID;
	want->entry_length = event->vector == VECTOR_BP ? 1 : 2;
	if (event->type == INTR_TYPE_EXCEPTION && event->vector == VECTOR_DB)
		clear_general_detect(vcpu);
	if (!event->has_error || !vmx_is_protected(vcpu))
		return;
	want->entry_info |= VMX_EVENT_ERROR;
	want->entry_error = event->error;
}

u32 vmx_intr_length(struct vcpu *vcpu)
{
	const struct vmx_controls *want = &vmx_of(vcpu)->vmcs->want;
	u32 type = want->entry_info & VMX_EVENT_TYPE;

	return type == VMX_EVENT_SOFTWARE || type == VMX_EVENT_SOFT_EXC ? want->entry_length : 0;
}

bool vmx_intr_retract(struct vcpu *vcpu)
{
	struct vmx_controls *want = &vmx_of(vcpu)->vmcs->want;

	if ((want->entry_info & (VMX_EVENT_VALID | VMX_EVENT_TYPE)) !=
	    (VMX_EVENT_VALID | VMX_EVENT_EXTERNAL))
		return false;
	want->entry_info = 0;
	return true;
}

static void set_primary(struct vcpu *vcpu, u32 bit, bool on)
{
	struct vmx_vcpu *vmx = vmx_of(vcpu);
	u32 *primary = &vmx->vmcs->want.primary;

	*primary = on ? *primary | bit : *primary & (~bit | vmx->asked.primary);
}

void vmx_intr_window(struct vcpu *vcpu, enum intr_class class, bool open)
{
	set_primary(vcpu, class == INTR_CLASS_NMI ? VMX_PROC_NMI_WINDOW : VMX_PROC_INTR_WINDOW,
	            open);
}

/* What is for a guest hypervisor comes behind an event of its guest's, whatever that blocks. */
bool vmx_intr_force(struct vcpu *vcpu, enum intr_class class)
{
	return vmx_in_nested(vmx_of(vcpu)) && vmx_nested_gets(vcpu, class);
}

void vmx_intr_tpr_exit(struct vcpu *vcpu, bool on)
{
	vmx_of(vcpu)->tpr_exit = on;
}

void vmx_intr_set_threshold(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = vmx_of(vcpu);
	struct vmx_controls *want = &vmx->vmcs->want;
	u32 tpr;

	if (vmx_in_nested(vmx) && vmx_nested_threshold(vmx, &want->tpr_threshold)) {
		set_primary(vcpu, VMX_PROC_CR8_LOAD, false);
		return;
	}
	want->tpr_threshold = 0;
	set_primary(vcpu, VMX_PROC_CR8_LOAD, false);
	if (!vmx->tpr_exit)
		return;
	tpr = lapic_get(&vcpu->lapic, APIC_TPR);
	if (tpr & 0xf)
		set_primary(vcpu, VMX_PROC_CR8_LOAD, true);
	else
		want->tpr_threshold = tpr >> 4;
}

void vmx_pause_exits(struct vcpu *vcpu, bool on)
{
	if (vmx_may(&vmx_features.primary, VMX_PROC_PAUSE))
		set_primary(vcpu, VMX_PROC_PAUSE, on);
}
