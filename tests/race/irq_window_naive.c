/* SPDX-License-Identifier: BSD-2-Clause */
/* See irq_window_variants.h. */
#include "tests/race/irq_window_variants.h"

#include "core/vm.h"
#include "irq/inhibit.h"

static void count_window(struct vm *vm, u32 step)
{
	inhibit_lock(vm);
	atomic32_fetch_add(&vm->inhibit.windows, step);
	inhibit_change_locked(vm, 0, 0);
	inhibit_unlock(vm);
}

void irq_window_naive_open(struct vcpu *vcpu)
{
	struct accel_vcpu *accel = &vcpu->accel;

	if (accel->window || accel->local || !vcpu->vm->accel.modes ||
	    !(vcpu->vm->inhibit.needed & INHIBIT_BIT(IRQWIN)))
		return;
	accel->window = 1;
	vcpu_count(vcpu, COUNTER_IRQ_WINDOWS);
	count_window(vcpu->vm, 1);
}

void irq_window_naive_close(struct vcpu *vcpu)
{
	struct accel_vcpu *accel = &vcpu->accel;

	if (!accel->window)
		return;
	accel->window = 0;
	count_window(vcpu->vm, ~0u);
}
