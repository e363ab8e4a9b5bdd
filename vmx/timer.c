/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The preemption timer. SDM volume 3, "VMX-Preemption Timer", "VMX-Preemption Timer and Pending MTF VM Exits".
 *
 * It counts from the value of the VMCS down to 0, one for each change of the time stamp counter's bit that
 * IA32_VMX_MISC names, and makes the guest exit then. Of 0 it makes it exit behind the injection of an event and
 * before any instruction. The value is not saved by exits, so what was loaded last is still there.
 *
 * One entry may want it for three things, and the earliest is loaded:
 *  - a forced immediate exit (requirement S4): 0. The flag is the run loop's own; so is the deadline the local
 *    APIC's own, and neither is in here to be forgotten, or to be lost for the other;
 *  - the deadline of the local APIC timer (requirement S4.3), while it goes with the entry: rounded up, and
 *    as far away as the counter reaches if it is farther;
 *  - an entry with IF clear: there Bochs does not see physical interrupts (vmx/run.c).
 * With none of them it is disabled softly, by the largest value. It may still come, since it lasts no more than
 * minutes, and since some processors come early with large values: such an exit, and that of a deadline
 * that is not there yet, are no reason for anything but another entry.
 *
 * Without one, or told to do without, exits are forced by an interrupt to oneself, and the deadline is left to
 * the physical timer.
 */
#include "core/timer.h"
#include "core/vm.h"
#include "irq/extint.h"
#include "irq/lapic_priv.h"
#include "postern/port.h"
#include "vmx/vmx.h"

#define DISABLED VMX_TIMER_DISABLED
#define LONGEST  (DISABLED - 1)

/* The longest that an entry with IF clear may miss a physical interrupt. */
#define DEAF_NS 1000000ull

bool vmx_entry_timer(bool use)
{
	if (!use)
		vmx_features.pin.may &= ~VMX_PIN_PREEMPTION_TIMER;
	return vmx_timer_is_usable();
}

u32 vmx_timer_ticks(u64 now, u64 deadline)
{
	u32 rate = vmx_features.misc & VMX_MISC_TIMER_RATE;

	if (deadline <= now)
		return 0;
	return (u32)min_u64(((deadline - 1) >> rate) + 1 - (now >> rate), LONGEST);
}

static void load(struct vmx_vcpu *vmx, u32 value)
{
	if (vmx->vmcs->have.timer == value)
		return;
	vmcs_write(VMCS_PREEMPTION_TIMER, value);
	vmx->vmcs->have.timer = value;
}

void vmx_timer_reset(struct vmx_vcpu *vmx)
{
	vmx->vmcs->have.timer = DISABLED;
	if (vmx_timer_is_usable())
		vmcs_write(VMCS_PREEMPTION_TIMER, DISABLED);
}

/*
 * Entries with IF clear that follow on one another are bounded by one time, which begins with the first. An
 * interrupt's handler is a first one, behind an entry with IF set.
 */
static bool is_deaf_too_long(struct vmx_vcpu *vmx, u64 now)
{
	if (vmx->deaf_ticks)
		return (u32)now - vmx->deaf_since >= vmx->deaf_ticks;
	if (!vmx->deaf_most)
		vmx->deaf_most = (u32)timer_ns_to_tsc(DEAF_NS);
	vmx->deaf_since = (u32)now;
	vmx->deaf_ticks = vmx->deaf_most;
	return false;
}

bool vmx_timer_reload(struct vcpu *vcpu, u64 rflags)
{
	struct vmx_vcpu *vmx = vmx_of(vcpu);
	u64 deadline = lapic_timer_entry_deadline(&vcpu->lapic);
	bool deaf = !(rflags & RFLAGS_IF);
	u64 now;

	if (!vmx_timer_is_usable())
		return true;
	vmx->deaf_alone = 0;
	if (deadline == TSC_NEVER && !deaf) {
		load(vmx, DISABLED);
		return true;
	}
	now = port_tsc();
	if (deaf) {
		if (is_deaf_too_long(vmx, now))
			return false;
		if (deadline == TSC_NEVER)
			vmx->deaf_alone = vmx->deaf_ticks;
		deadline = min_u64(deadline, now + vmx->deaf_most);
	}
	load(vmx, vmx_timer_ticks(now, deadline));
	return true;
}

void vmx_timer_load(struct vcpu *vcpu, bool force_immediate_exit)
{
	struct vmx_vcpu *vmx = vmx_of(vcpu);

	if (!vmx_timer_is_usable())
		return;
	vmx->deaf_ticks = 0;
	if (force_immediate_exit)
		load(vmx, 0);
	else
		vmx_timer_reload(vcpu, vmx->vmcs->want.rflags);
}

/*
 * Interrupts are still blocked and the vCPU is still VCPU_IN_GUEST: whoever has a request sends an interrupt, as
 * to a guest that runs. It is looked for here all the same, so that what was asked for is not late.
 */
static bool is_wanted(struct vcpu *vcpu)
{
	return atomic32_read(&vcpu->requests);
}

static enum vmx_timer_exit again(struct vcpu *vcpu)
{
	if (is_wanted(vcpu))
		return VMX_TIMER_DONE;
	counter_add(&vcpu->account.exits[EXIT_TIMER], 1);
	vcpu_count(vcpu, COUNTER_ENTRIES);
	return VMX_TIMER_AGAIN;
}

/* Something that takes a lock, asks a device, or has to be looked at with interrupts open. */
static bool is_for_run_loop(struct vcpu *vcpu)
{
	/* A physical one may be pending that nobody sees: at the top. */
	if (!(vcpu->regs.rflags & RFLAGS_IF))
		return true;
	return extint_has(vcpu->vm) || lapic_has_signal(vcpu) || intr_has_event(&vcpu->intr) ||
	       vcpu->accel.window || vcpu->lapic.auto_eoi;
}

/*
 * What has come of the deadline is decided upon as before any entry, but by the local APIC's vectors alone: ExtINT
 * may come right behind the look for it, and its answer takes a lock. The request that expiry has made is taken, and
 * what is apart from the page goes there; if somebody else's request goes with it, his interrupt is pending, and the
 * entry ends at once. A deadline that is not this timer's (a debugger's step) is not looked at.
 */
static enum vmx_timer_exit expire(struct vcpu *vcpu)
{
	if (vcpu->lapic.timer_on_entry)
		lapic_timer_expired(vcpu);
	if (is_for_run_loop(vcpu))
		return VMX_TIMER_DONE;
	if (vcpu->lapic.by & LAPIC_BY_OWNER)
		lapic_harvest(&vcpu->lapic);
	atomic32_fetch_and(&vcpu->requests, ~(u32)VCPU_REQUEST_EVENT);
	if (is_wanted(vcpu))
		return VMX_TIMER_DONE;
	intr_prepare_local(vcpu);
	return again(vcpu);
}

/* Requirement S4.3: in this order. */
enum vmx_timer_exit vmx_timer_exited(struct vcpu *vcpu, bool force_immediate_exit)
{
	if (vmx_of(vcpu)->vmcs->have.timer == DISABLED)
		return again(vcpu);
	if (force_immediate_exit)
		return VMX_TIMER_DONE;
	if (vcpu->guest_mode)
		return VMX_TIMER_SLOW;
	return expire(vcpu);
}
