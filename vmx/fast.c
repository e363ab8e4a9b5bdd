/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Exits that are completed before anything else is looked at, with interrupts still blocked: CPUID, from the
 * answers that core/cpuid.c keeps, an EOI that nothing waits for, and a self-IPI. svm/fast.c is the twin.
 *
 * Why the run loop's preparation can be left out: the vCPU stays VCPU_IN_GUEST, so whoever wants its attention
 * sends an IPI, as to a guest that runs; it is pending at the next entry, and the guest exits for it at once. The
 * same goes for timers. What was injected has been delivered, as an instruction behind it has exited, and
 * nothing is stepped (vmx->fast). What is completed here makes no interrupt deliverable but the one that it
 * decides upon. So that it has no interrupt shadow to end, an instruction in one goes the long way, and so does
 * one that is to trap.
 *
 * No locks, as in all that runs between host_irqs_block() and host_irqs_unblock(). A window opened here takes
 * none: it is no reason against acceleration on this vendor's processors.
 */
#include "core/cpuid.h"
#include "core/vm.h"
#include "postern/port.h"
#include "vmx/vmx.h"
#include "x86/msr.h"

#define BLOCKED_SHADOW (VMX_BLOCKED_STI | VMX_BLOCKED_SS)

/* Without vmcs_read()'s check: these fields every processor has, and the long way reads them with it. */
static __inlined u64 get(u32 field)
{
	u64 value = 0;

	insn_vmread(field, &value);
	return value;
}

/* Nothing but the instruction itself stands between its exit and its completion. */
static __inlined bool is_plain(const struct vmx_vcpu *vmx, u32 rflags)
{
	return vmx->fast && !(rflags & (RFLAGS_TF | RFLAGS_RF)) &&
	       !(get(VMCS_GUEST_INTERRUPTIBILITY) & BLOCKED_SHADOW);
}

/*
 * The preemption timer starts anew with each entry. It need not be loaded anew if it is disabled, or only bounds
 * entries with IF clear (vmx/timer.c): as many as there are in a row by the same time, of which the lower half is
 * enough, and with IF set it may as well come for nothing. What is taken for bounded once around goes the long way the next time.
 */
static __inlined bool timer_holds(const struct vmx_vcpu *vmx, u32 rflags)
{
	if (rflags & RFLAGS_IF)
		return vmx->vmcs->have.timer == VMX_TIMER_DISABLED || vmx->deaf_alone;
	return (u32)insn_rdtsc() - vmx->deaf_since < vmx->deaf_alone;
}

static __inlined void complete(struct vcpu *vcpu, enum exit_kind kind)
{
	insn_vmwrite(VMCS_GUEST_RIP, get(VMCS_GUEST_RIP) + get(VMCS_EXIT_LENGTH));
	counter_add(&vcpu->account.exits[kind], 1);
	vcpu_count(vcpu, COUNTER_ENTRIES);
}

/*
 * An interrupt to itself, at once decided upon as before any entry: intr_prepare_local(). What could want the run
 * loop is left to it, even if it comes meanwhile: NMIs, ExtINT (a device). So is a task priority that the guest has
 * changed through CR8 unseen.
 */
static bool self_ipi(struct vcpu *vcpu, struct vmx_vcpu *vmx, u64 value, u32 rflags)
{
	if (value > 0xff || lapic_cr8(vcpu) != vcpu->regs.cr8 || intr_has_event(&vcpu->intr) ||
	    lapic_has_signal(vcpu) || extint_has(vcpu->vm) || !lapic_fast_self_ipi(vcpu, (u8)value))
		return false;
	vmx_note_injection(vmx);
	vmx->vmcs->want.interruptibility &= ~BLOCKED_SHADOW;
	vcpu->regs.rflags = rflags;
	intr_prepare_local(vcpu);
	vmx_intr_set_threshold(vcpu);
	vmx_sync_events(vmx);
	return true;
}

/* End of interrupt and self-IPI are half of all exits of a busy x2APIC guest. */
static __noinline bool fast_wrmsr(struct vcpu *vcpu, struct vmx_vcpu *vmx)
{
	const u64 *gpr = vcpu->regs.gpr;
	u64 value = gpr[GPR_RDX] << 32 | (u32)gpr[GPR_RAX];
	u32 msr = (u32)gpr[GPR_RCX];
	u32 rflags = (u32)get(VMCS_GUEST_RFLAGS);

	if ((msr != MSR_X2APIC_EOI && msr != MSR_X2APIC_SELF) || accel_is_on(&vcpu->accel) ||
	    !is_plain(vmx, rflags) || !(timer_holds(vmx, rflags) || vmx_timer_reload(vcpu, rflags)))
		return false;
	if (msr == MSR_X2APIC_EOI ? value || !lapic_fast_eoi(vcpu)
	                          : !self_ipi(vcpu, vmx, value, rflags))
		return false;
	complete(vcpu, EXIT_WRMSR);
	return true;
}

static __inlined bool fast_cpuid(struct vcpu *vcpu)
{
	u64 *gpr = vcpu->regs.gpr;
	const struct cpuid_answer *answer = cpuid_known(vcpu, (u32)gpr[GPR_RAX], (u32)gpr[GPR_RCX]);

	if (!answer)
		return false;
	gpr[GPR_RAX] = answer->regs.eax;
	gpr[GPR_RBX] = answer->regs.ebx;
	gpr[GPR_RCX] = answer->regs.ecx;
	gpr[GPR_RDX] = answer->regs.edx;
	complete(vcpu, EXIT_CPUID);
	return true;
}

/* Apart, so that the shorter way saves no registers. */
static __noinline bool fast_cpuid_and_timer(struct vcpu *vcpu, u32 rflags)
{
	return vmx_timer_reload(vcpu, rflags) && fast_cpuid(vcpu);
}

bool vmx_fast_exit(void *context)
{
	struct vcpu *vcpu = context;
	const struct vmx_vcpu *vmx = vmx_of(vcpu);
	u32 reason = (u32)get(VMCS_EXIT_REASON);
	u32 rflags;

	if (reason != VMX_EXIT_CPUID)
		return reason == VMX_EXIT_WRMSR && fast_wrmsr(vcpu, vmx_of(vcpu));
	rflags = (u32)get(VMCS_GUEST_RFLAGS);
	if (!is_plain(vmx, rflags))
		return false;
	return timer_holds(vmx, rflags) ? fast_cpuid(vcpu) : fast_cpuid_and_timer(vcpu, rflags);
}
