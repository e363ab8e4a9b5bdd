/* SPDX-License-Identifier: BSD-2-Clause */
/* See irq_window.h. */
#include "irq/irq_window.h"

#include "core/vm.h"
#include "irq/inhibit.h"

/*
 * The count goes one up or down and the mask need not follow: another reason stands. What this takes is what a
 * window costs while acceleration is off for whatever reason, so it is all there is on that way. Lock shared.
 */
static __inlined bool count_under_another(struct inhibit_vm *inhibit, u32 step)
{
	if (!(atomic32_read(&inhibit->mask) & ~INHIBIT_BIT(IRQWIN)))
		return false;
	atomic32_fetch_add(&inhibit->windows, step);
	return true;
}

/* The same if the count neither leaves 0 nor comes back there. false: the mask has to follow at once. Lock shared. */
static bool count_among_windows(struct inhibit_vm *inhibit, u32 step)
{
	u32 count;

	do {
		count = atomic32_read(&inhibit->windows);
		if (!count || !(count + step))
			return false;
	} while (!atomic32_cmpxchg(&inhibit->windows, count, count + step));
	return true;
}

/* No other reason stands, or somebody changes that at this moment. */
static __noinline void count_with_care(struct vm *vm, u32 step)
{
	struct inhibit_vm *inhibit = &vm->inhibit;
	bool counted;

	inhibit_lock_shared(vm);
	counted = count_under_another(inhibit, step) || count_among_windows(inhibit, step);
	inhibit_unlock_shared(vm);
	if (counted)
		return;
	inhibit_lock(vm);
	atomic32_fetch_add(&inhibit->windows, step);
	inhibit_change_locked(vm, 0, 0);
	inhibit_unlock(vm);
}

static __inlined void count_window(struct vm *vm, u32 step)
{
	struct inhibit_vm *inhibit = &vm->inhibit;
	bool counted = false;

	if (inhibit_trylock_shared(inhibit)) {
		counted = count_under_another(inhibit, step);
		read_unlock(&inhibit->lock);
	}
	if (!counted)
		count_with_care(vm, step);
}

void irq_window_open(struct vcpu *vcpu)
{
	struct accel_vcpu *accel = &vcpu->accel;

	if (accel->window || accel->local || !vcpu->vm->accel.modes ||
	    !(vcpu->vm->inhibit.needed & INHIBIT_BIT(IRQWIN)))
		return;
	accel->window = 1;
	vcpu_count(vcpu, COUNTER_IRQ_WINDOWS);
	count_window(vcpu->vm, 1);
}

void irq_window_close(struct vcpu *vcpu)
{
	struct accel_vcpu *accel = &vcpu->accel;

	if (!accel->window)
		return;
	accel->window = 0;
	count_window(vcpu->vm, ~0u);
}
