/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a vCPU's acceleration has to be, and the look at each entry that it is so (requirement S3.3). Inline, since it
 * is on the way of every entry.
 */
#ifndef IRQ_ACCEL_CHECK_H
#define IRQ_ACCEL_CHECK_H

#include "core/vm.h"

/* enum accel_mode, by the VM's mask and the vCPU's own reasons. Its window is in the mask if it counts. Own processor. */
static inline u32 accel_demanded(const struct vcpu *vcpu)
{
	if (atomic32_read_relaxed(&vcpu->vm->inhibit.mask) | vcpu->accel.window)
		return ACCEL_OFF;
	return vcpu->accel.local_mode;
}

/* Behind the last look at the requests: irq/inhibit.h says why it cannot be true, and accel_mismatch() is for then. */
static inline bool accel_is_wrong(const struct vcpu *vcpu)
{
	return atomic32_read_relaxed(&vcpu->accel.mode) != accel_demanded(vcpu);
}

#endif
