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

/*
 * Note by which masks the mode is wrong; the mode or local_mode has changed. A mask is a number here: 0, or any that
 * is not, but never ~0. A vCPU that is not accelerated and whose requests are apart is wrong by all of them: so
 * accel_last_look() sees to those, too. Own processor, or before it runs.
 */
static inline void accel_note_wrong(struct accel_vcpu *accel)
{
	u32 mode = atomic32_read_relaxed(&accel->mode);

	_Static_assert(INHIBIT_COUNT < 32, "no mask is ~0");
	accel->wrong_from = mode != ACCEL_OFF && mode == accel->local_mode;
	if (mode != ACCEL_OFF || accel->looks)
		accel->wrong_count = ~0u;
	else
		accel->wrong_count = accel->local_mode != ACCEL_OFF;
}

/*
 * The mode is not the one demanded. Behind the last look at the requests: irq/inhibit.h says why it cannot be, and
 * accel_last_look() is for then. It is on the way of every entry, so what can be decided before has been: six
 * instructions, which bench/irqwin.c counts. Own processor.
 */
static inline bool accel_is_wrong(const struct vcpu *vcpu)
{
	const struct accel_vcpu *accel = &vcpu->accel;
	u32 mask = atomic32_read_relaxed(&vcpu->vm->inhibit.mask) | accel->window;

	return mask - accel->wrong_from < accel->wrong_count;
}

#endif
