/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * See irq_window_variants.h. The gap:
 *
 *      one vCPU                               another
 *      --------                               -------
 *      1 lock shared, count 0 -> 1,           a lock shared, count 1 -> 2,
 *        "I change the mask", unlock            "it has been done", unlock
 *      2 lock exclusively, mask, unlock       b enters, accelerated
 *
 * a and b between 1 and 2.
 */
#include "tests/race/irq_window_variants.h"

#include "core/vm.h"
#include "irq/inhibit.h"

static void count_window(struct vm *vm, u32 step)
{
	struct inhibit_vm *inhibit = &vm->inhibit;
	bool mine;
	u32 count;

	inhibit_lock_shared(vm);
	count = atomic32_fetch_add(&inhibit->windows, step);
	mine = (!count || !(count + step)) &&
	       !(atomic32_read(&inhibit->mask) & ~INHIBIT_BIT(IRQWIN));
	inhibit_unlock_shared(vm);
	if (!mine)
		return;
	inhibit_lock(vm);
	inhibit_change_locked(vm, 0, 0);
	inhibit_unlock(vm);
}

void irq_window_sketch_open(struct vcpu *vcpu)
{
	struct accel_vcpu *accel = &vcpu->accel;

	if (accel->window || accel->local || !vcpu->vm->accel.modes ||
	    !(vcpu->vm->inhibit.needed & INHIBIT_BIT(IRQWIN)))
		return;
	accel->window = 1;
	vcpu_count(vcpu, COUNTER_IRQ_WINDOWS);
	count_window(vcpu->vm, 1);
}

void irq_window_sketch_close(struct vcpu *vcpu)
{
	struct accel_vcpu *accel = &vcpu->accel;

	if (!accel->window)
		return;
	accel->window = 0;
	count_window(vcpu->vm, ~0u);
}
