/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who is accelerated, and the way of a request to a vCPU that may be accelerated. Two races, each
 * closed by a store before a look on either side:
 *
 *      a sender, in software                  the vCPU's processor
 *      ---------------------                  --------------------
 *      1 IRR bit in the page                  a mode = off
 *      2 mode? on: doorbell to who runs it,   b IRR summary from the page, look at it before entry
 *        off: request and kick
 *
 * 2 sees "on" only before a, so 1 is before b, which finds the bit. The other way round, switching on,
 * VMRUN itself looks at the page.
 *
 *      a sender's processor                   the vCPU's processor, its turn ends
 *      --------------------                   -----------------------------------
 *      1 IRR bit in the page                  a IsRunning = 0
 *      2 IsRunning? doorbell, else exit:      b asleep? IRR in the page? then not
 *        sched_wake()
 *
 * Where requests are apart from the page there is one way for all modes: irq/lapic_accel.c.
 */
#include "irq/accel.h"

#include "core/machine.h"
#include "core/sched.h"
#include "irq/accel_check.h"
#include "irq/lapic_priv.h"
#include "postern/port.h"

static const struct accel_ops *ops_of(const struct vm *vm)
{
	return vm->machine->backend->accel;
}

bool accel_create(struct vm *vm, u32 modes)
{
	const struct accel_ops *ops = ops_of(vm);
	struct vcpu *vcpu;

	modes &= ops ? ops->modes() : 0;
	if (!modes) {
		inhibit_set(vm, INHIBIT_DISABLED);
		return true;
	}
	vm->accel.notify = ops->notify;
	vm->accel.page = port_alloc(PAGE_SIZE, PAGE_SIZE);
	if (!vm->accel.page || !ops->vm_init(vm))
		return false;
	vm->accel.modes = modes;
	vm->accel.apart = ops->requests_apart;
	for_each_vcpu (vcpu, vm) {
		vcpu->accel.looks = ops->requests_apart;
		lapic_may_accelerate(vcpu, ops->requests_apart);
		if (vm->accel.icr_in_one)
			lapic_keep_icr_in_one(vcpu);
	}
	if (ops->eoi_exits)
		eoi_exit_require(vm);
	ops->identify(vm);
	for_each_vcpu (vcpu, vm)
		accel_local_changed(vcpu);
	return true;
}

void accel_destroy(struct vm *vm)
{
	if (!vm->accel.page)
		return;
	port_free(vm->accel.page, PAGE_SIZE);
	vm->accel.page = NULL;
}

/* --- a vCPU's own reasons --- */

static enum accel_mode apic_mode(struct vcpu *vcpu)
{
	const struct lapic *lapic = &vcpu->lapic;

	/* Disabled by software it accepts nothing new, of which the processor knows nothing. */
	if (!lapic_hardware_enabled(lapic) || !lapic_software_enabled(lapic))
		return ACCEL_OFF;
	return lapic_in_x2apic(lapic) ? ACCEL_X2APIC : ACCEL_XAPIC;
}

static u32 local_reasons(struct vcpu *vcpu, enum accel_mode mode)
{
	u32 reasons = vcpu->guest_mode ? INHIBIT_BIT(NESTED) : 0;

	if (mode == ACCEL_OFF)
		reasons |= INHIBIT_BIT(APIC_DISABLED);
	else if (!(vcpu->vm->accel.modes & ACCEL_MODE(mode)))
		reasons |= INHIBIT_BIT(X2APIC); /* all processors that accelerate have xAPIC mode */
	return reasons & vcpu->vm->inhibit.needed;
}

void accel_local_changed(struct vcpu *vcpu)
{
	struct accel_vcpu *accel = &vcpu->accel;
	enum accel_mode mode = apic_mode(vcpu);
	u32 reasons, changed;

	if (!vcpu->vm->accel.modes)
		return;
	reasons = local_reasons(vcpu, mode);
	for (changed = reasons ^ accel->local; changed; changed &= changed - 1) {
		u32 reason = (u32)__builtin_ctz(changed);

		inhibit_note(&accel->account[reason], reasons & BIT(reason), vcpu);
	}
	accel->local = reasons;
	accel->local_mode = reasons ? ACCEL_OFF : mode;
	accel_note_wrong(accel);
	atomic32_fetch_or(&vcpu->requests, VCPU_REQUEST_ACCEL);
}

/* --- the decision --- */

static void change_mode(struct vcpu *vcpu, enum accel_mode old, enum accel_mode mode)
{
	bool apart = vcpu->vm->accel.apart;

	if (mode == ACCEL_OFF && !apart)
		ops_of(vcpu->vm)->running(vcpu, NULL, false);
	vcpu_count(vcpu, COUNTER_ACCEL_CHANGES);
	atomic32_set(&vcpu->accel.mode, mode);
	accel_note_wrong(&vcpu->accel);
	lapic_accelerated(vcpu, mode != ACCEL_OFF);
	ops_of(vcpu->vm)->set(vcpu, mode, !vcpu->accel.without_page);
	if (old == ACCEL_OFF && !apart)
		ops_of(vcpu->vm)->running(vcpu, this_cpu(), false);
}

/* The activation lock is held shared: the mask does not change. */
static void decide(struct vcpu *vcpu)
{
	struct accel_vcpu *accel = &vcpu->accel;
	enum accel_mode old = (enum accel_mode)atomic32_read_relaxed(&accel->mode);
	enum accel_mode mode = (enum accel_mode)accel_demanded(vcpu);
	bool without_page = accel->local_mode != ACCEL_XAPIC;
	bool moves = accel->without_page != without_page;

	accel->without_page = without_page;
	if (mode != old) {
		intr_before_switch(vcpu);
		change_mode(vcpu, old, mode);
	} else if (moves) {
		ops_of(vcpu->vm)->set(vcpu, mode, !without_page);
	}
}

void accel_update(struct vcpu *vcpu)
{
	if (!vcpu->vm->accel.modes)
		return;
	inhibit_lock_shared(vcpu->vm);
	decide(vcpu);
	inhibit_unlock_shared(vcpu->vm);
}

static void mismatch(struct vcpu *vcpu)
{
	struct accel_vcpu *accel = &vcpu->accel;

	vcpu_count(vcpu, COUNTER_ACCEL_MISMATCHES);
	if (accel->told)
		return;
	accel->told = true;
	port_log("error: vm %u: vCPU %u enters in acceleration mode %u: mask %x, own reasons %x, "
	         "window %u",
	         vcpu->vm->id, vcpu->index, atomic32_read(&accel->mode),
	         atomic32_read(&vcpu->vm->inhibit.mask), accel->local, accel->window);
}

bool accel_last_look(struct vcpu *vcpu)
{
	if (atomic32_read_relaxed(&vcpu->accel.mode) != accel_demanded(vcpu))
		mismatch(vcpu);
	return vcpu->lapic.by == LAPIC_BY_OWNER && lapic_harvest(&vcpu->lapic);
}

/* What the processor did by itself in this turn. Called when it begins and when it ends. */
static void account(struct vcpu *vcpu, bool begins)
{
	const u64 *counts = port_hw_counts();
	u64 *counted = vcpu->accel.counted;

	for (u32 i = 0; counts && i < HW_COUNT; i++) {
		if (!begins)
			vcpu_count_n(vcpu, (enum counter_id)(COUNTER_HW_DELIVERED + i),
			             counts[i] - counted[i]);
		counted[i] = counts[i];
	}
}

static __inlined void tell_running(struct vcpu *vcpu, struct cpu *cpu, bool sleeps)
{
	if (!vcpu->vm->accel.modes)
		return;
	account(vcpu, cpu);
	if (accel_is_on(&vcpu->accel) || vcpu->vm->accel.apart)
		ops_of(vcpu->vm)->running(vcpu, cpu, sleeps);
}

void accel_running(struct vcpu *vcpu, struct cpu *cpu)
{
	tell_running(vcpu, cpu, false);
}

void accel_sleeps(struct vcpu *vcpu)
{
	tell_running(vcpu, NULL, true);
}

void accel_wake(struct cpu *cpu)
{
	const struct accel_ops *ops = port_machine()->backend->accel;

	/* Cleared first: who has ON set from here on brings us here again. */
	atomic32_set_relaxed(&cpu->wakeups, 0);
	smp_mb();
	if (ops && ops->wake)
		ops->wake(cpu);
}

/*
 * bench/vapic.c counts it: nothing is called but what wakes or notifies. Nobody posts on the processor where the vCPU is in
 * the guest, but its own timer behind an exit, and that tells nobody (irq/lapic.c).
 */
void accel_posted(struct vcpu *vcpu)
{
	if (atomic32_read(&vcpu->sched_state) == VCPU_BLOCKED && sched_wake(vcpu))
		return;
	smp_mb();
	if (atomic32_read(&vcpu->mode) == VCPU_IN_GUEST)
		vcpu->vm->accel.notify(vcpu, ptr_read(&vcpu->cpu));
}

void accel_eoi_exits(struct vcpu *vcpu)
{
	u64 bitmap[EOI_EXIT_WORDS];

	if (!vcpu->vm->accel.modes || !ops_of(vcpu->vm)->eoi_exits)
		return;
	eoi_exit_bitmap(vcpu, bitmap);
	ops_of(vcpu->vm)->eoi_exits(vcpu, bitmap);
}

void accel_identify(struct vm *vm)
{
	if (vm->accel.modes)
		ops_of(vm)->identify(vm);
	assigned_follow(vm);
}
