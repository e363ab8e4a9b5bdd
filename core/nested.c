/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * See nested.h. Order on the way in: L1's control block is made unaccelerated while it is still the one in
 * use, so that whatever changes while L2 runs, it never says that L1 is accelerated when it is not.
 * On the way out a request does the rest, which no entry passes.
 */
#include "core/nested.h"

#include "core/machine.h"
#include "postern/backend.h"
#include "postern/port.h"

/* What is kept of the guest's code and of its answers of CPUID goes by control registers, which change. */
static void set_guest_mode(struct vcpu *vcpu, bool on)
{
	vcpu->guest_mode = on;
	vcpu->fetch_hint = (struct vcpu_fetch_hint){0};
	vcpu_forget_cpuid(vcpu);
	accel_local_changed(vcpu);
	/* Whatever has been prepared for an entry was for the other one. */
	atomic32_fetch_or(&vcpu->requests, VCPU_REQUEST_EVENT);
}

bool nested_enter(struct vcpu *vcpu, void *block)
{
	ASSERT(!vcpu->guest_mode);
	if (!backend_op(nested_enter))
		return false;
	intr_before_nested(vcpu);
	set_guest_mode(vcpu, true);
	accel_update(vcpu);
	if (backend_op(nested_enter)(vcpu, block))
		return true;
	set_guest_mode(vcpu, false);
	return false;
}

void nested_leave(struct vcpu *vcpu, enum nested_why why)
{
	ASSERT(vcpu->guest_mode);
	intr_before_nested(vcpu);
	backend_op(nested_leave)(vcpu, why);
	set_guest_mode(vcpu, false);
}
