/* SPDX-License-Identifier: BSD-2-Clause */
/* See irq_window.h. */
#include "irq/irq_window.h"

#include "core/vm.h"
#include "irq/inhibit.h"

/* The count goes one up or down without the mask: false, the mask has to follow at once. Lock shared. */
static bool count_lazily(struct inhibit_vm *inhibit, u32 step)
{
	u32 count;

	if (atomic32_read(&inhibit->mask) & ~INHIBIT_BIT(IRQWIN)) {
		atomic32_fetch_add(&inhibit->windows, step);
		return true;
	}
	do {
		count = atomic32_read(&inhibit->windows);
		if (!count || !(count + step))
			return false;
	} while (!atomic32_cmpxchg(&inhibit->windows, count, count + step));
	return true;
}

static void count_window(struct vm *vm, u32 step)
{
	bool counted;

	inhibit_lock_shared(vm);
	counted = count_lazily(&vm->inhibit, step);
	inhibit_unlock_shared(vm);
	if (counted)
		return;
	inhibit_lock(vm);
	atomic32_fetch_add(&vm->inhibit.windows, step);
	inhibit_change_locked(vm, 0, 0);
	inhibit_unlock(vm);
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
