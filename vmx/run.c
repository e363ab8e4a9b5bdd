/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Entry and exit. SDM volume 3, "VM Entries", "VM Exits", "Operations that Invalidate Cached Mappings".
 *
 * Physical interrupts: with external-interrupt exiting they make the guest exit whatever RFLAGS.IF says, the
 * host's at the entry included. It is clear from host_irqs_block() on, so one that arrives after the last look
 * at the requests is pending at the entry and makes the guest exit at once; it is taken when the host sets IF
 * again. With posted interrupts (vmx/posted.c) the exit has to acknowledge it at the APIC, which tells the vector: then
 * the host takes it here. NMIs exit too, and are raised again for the host.
 *
 * Bochs 2.7 looks at them only once RFLAGS.IF has changed in the guest (docs/emulators.md): not in one that is
 * entered with IF clear, as the host's is. Such an entry ends by the preemption timer, where there is one
 * (vmx/timer.c); the interrupt that is pending then is taken like any other.
 *
 * Translations are tagged with the VPID, which the vCPU has for good, and with the EPT pointer. A flush, and
 * coming from another processor, invalidates both on this one: whoever runs here with the same EPT pointer
 * has had its own request, or comes from another processor.
 */
#include "host/host.h"
#include "insn.h"
#include "postern/port.h"
#include "vmx/vmx.h"

void vmx_host_irqs_block(void)
{
	insn_cli();
}

void vmx_host_irqs_unblock(void)
{
	insn_sti();
}

void vmx_flush(struct vcpu *vcpu)
{
	vmx_of(vcpu)->flush = true;
}

static void flush(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = vmx_of(vcpu);
	bool ok = insn_invvpid(INVVPID_SINGLE, vmx->vmcs->vpid) &&
	          insn_invept(INVEPT_SINGLE, vmx->vmcs->want.eptp);

	ASSERT(ok);
	vmx->flush = false;
	vcpu_count(vcpu, COUNTER_TLB_FLUSHES);
}

static void store_regs(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = vmx_of(vcpu);
	const struct vcpu_regs *regs = &vcpu->regs;
	struct vmx_controls *want = &vmx->vmcs->want;

	want->rip = regs->rip;
	if (want->entry_info & VMX_EVENT_VALID)
		want->rip -= vmx_intr_length(vcpu);
	want->rsp = regs->gpr[GPR_RSP];
	want->rflags = regs->rflags;
	want->tsc_offset = vcpu->tsc_offset + vmx->asked.tsc_offset;
}

static void load_regs(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = vmx_of(vcpu);
	struct vcpu_regs *regs = &vcpu->regs;
	struct vmx_controls *have = &vmx->vmcs->have;

	have->rip = vmcs_read(VMCS_GUEST_RIP);
	have->rsp = vmcs_read(VMCS_GUEST_RSP);
	have->rflags = vmcs_read(VMCS_GUEST_RFLAGS);
	have->interruptibility = (u32)vmcs_read(VMCS_GUEST_INTERRUPTIBILITY);
	vmx->vmcs->want.interruptibility = have->interruptibility;
	regs->rip = have->rip;
	regs->gpr[GPR_RSP] = have->rsp;
	regs->rflags = have->rflags;
	regs->cr8 = lapic_cr8(vcpu);
}

/*
 * In a shadow entry wants a pending debug trap if TF is set, and none if it is clear. What the processor leaves
 * agrees, but for a trap that exited and is reflected; and a debugger may have changed TF since.
 */
static void settle_shadow(struct vmx_vcpu *vmx)
{
	struct vmx_controls *want = &vmx->vmcs->want;
	u64 pending = vmcs_read(VMCS_GUEST_PENDING_DEBUG);

	if (!!(pending & VMX_DEBUG_BS) == !!(want->rflags & RFLAGS_TF))
		return;
	vmcs_write(VMCS_GUEST_PENDING_DEBUG, pending & ~VMX_DEBUG_BS);
	want->interruptibility &= ~(VMX_BLOCKED_STI | VMX_BLOCKED_SS);
}

/* The guest, until it exits. An entry that fails for what a guest hypervisor wanted injected is its guest's failure. */
static u32 run_guest(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = vmx_of(vcpu);
	u32 reason = VMX_EXIT_ENTRY_GUEST_STATE | VMX_EXIT_ENTRY_FAILED;

	if (insn_enter_vmx(vcpu->regs.gpr, vmx->vmcs->launched, vmx_fast_exit, vcpu))
		reason = (u32)vmcs_read(VMCS_EXIT_REASON);
	else if (!vmx_in_nested(vmx))
		port_panic("vCPU %u: VM entry fails: error %u", vcpu->index,
		           (u32)vmcs_read(VMCS_INSTRUCTION_ERROR));
	/* One that fails leaves the VMCS as it was. */
	vmx->vmcs->launched |= !(reason & VMX_EXIT_ENTRY_FAILED);
	return reason;
}

/* One entry. Returns the exit's reason. */
static u32 enter(struct vcpu *vcpu, bool force_immediate_exit)
{
	struct vmx_vcpu *vmx = vmx_of(vcpu);
	u32 reason;

	if (vmx->flush)
		flush(vcpu);
	store_regs(vcpu);
	if (vmx->vmcs->want.interruptibility & (VMX_BLOCKED_STI | VMX_BLOCKED_SS))
		settle_shadow(vmx);
	if (vmx->vmcs->state_dirty)
		vmx_store_state(vcpu);
	vmx_intr_set_threshold(vcpu);
	vmx_apicv_sync(vcpu);
	vmx_timer_load(vcpu, force_immediate_exit);
	vmx_sync_controls(vmx);
	/* An external interrupt comes behind an injected event, and before any instruction. */
	if (force_immediate_exit && !vmx_timer_is_usable())
		host_force_exit();
	vmx->vmcs->state_valid = false;
	vmx->fast = !force_immediate_exit && !vmx->steps && !vcpu->guest_mode;
	reason = run_guest(vcpu);
	if (!(reason & VMX_EXIT_ENTRY_FAILED))
		vmx_note_injection(vmx);
	load_regs(vcpu);
	return reason;
}

/* "Acknowledge interrupt on exit": nobody else will hear of it. */
static void take_interrupt(void)
{
	u32 info = (u32)vmcs_read(VMCS_EXIT_INFO);

	if (info & VMX_EVENT_VALID)
		insn_take_interrupt(info & VMX_EVENT_VECTOR);
}

static void decode(struct vcpu *vcpu, u32 reason)
{
	if (vmx_in_nested(vmx_of(vcpu)))
		vmx_nested_decode(vcpu, reason);
	else
		vmx_decode_exit(vcpu, reason);
}

void vmx_run(struct vcpu *vcpu, bool force_immediate_exit)
{
	enum vmx_timer_exit timer = VMX_TIMER_DONE;
	u32 reason;

	do {
		reason = enter(vcpu, force_immediate_exit);
		if (reason == VMX_EXIT_PREEMPTION_TIMER)
			timer = vmx_timer_exited(vcpu, force_immediate_exit);
	} while (reason == VMX_EXIT_PREEMPTION_TIMER && timer == VMX_TIMER_AGAIN);
	if (reason == VMX_EXIT_EXTERNAL && vmx_posted_usable())
		take_interrupt();
	if (vmx_of(vcpu)->steps)
		vmx_debug_exited(vmx_of(vcpu), reason);
	decode(vcpu, reason);
	if (reason == VMX_EXIT_PREEMPTION_TIMER && timer == VMX_TIMER_SLOW)
		vcpu->exit.kind = EXIT_TIMER;
}
