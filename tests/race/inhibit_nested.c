/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A window that its vCPU keeps over entry to a guest of its guest and return from it (core/nested.h,
 * requirement S0.2), against another reason that comes and goes and against another vCPU's window. The back
 * end's second VMCB is real; the guests are functions, as on the whole stage.
 *
 * At each entry the count is that of the flags or about to be, a vCPU with a window or in L2 is not accelerated,
 * and afterwards both are what they would be without L2.
 */
#include "tests/race/inhibit.h"
#include "tests/race/scenarios.h"

#include "core/nested.h"
#include "postern/port.h"
#include "posix.h"
#include "x86/svm.h"

static struct vmcb *block; /* in the arena */

static const char *look(struct vcpu *vcpu)
{
	if (vcpu->accel.window && accel_is_on(&vcpu->accel))
		return "a vCPU is in the guest, and its window is ignored";
	if (vcpu->guest_mode && accel_is_on(&vcpu->accel))
		return "a guest's guest runs accelerated";
	if (atomic32_read(&vcpu->vm->inhibit.windows) > vcpu->vm->vcpu_count)
		return "the count of windows is negative";
	return inhibit_look(vcpu);
}

static void turn_in_l2(struct vcpu *vcpu)
{
	if (!inhibit_code->nested_enter(vcpu, block))
		port_panic("no memory for a guest's guest");
	inhibit_turn(vcpu, look);
}

static void leave_l2(struct vcpu *vcpu)
{
	nested_leave(vcpu, NESTED_EXIT);
	inhibit_turn(vcpu, look);
}

static void closes_in_l2(void)
{
	struct vcpu *vcpu = inhibit_own();

	inhibit_code->window_open(vcpu);
	turn_in_l2(vcpu);
	inhibit_code->window_close(vcpu);
	inhibit_turn(vcpu, look);
	leave_l2(vcpu);
}

static void closes_after_l2(void)
{
	struct vcpu *vcpu = inhibit_own();

	inhibit_code->window_open(vcpu);
	turn_in_l2(vcpu);
	leave_l2(vcpu);
	inhibit_code->window_close(vcpu);
	inhibit_turn(vcpu, look);
}

/* One that L2 alone has does not count. */
static void opens_in_l2(void)
{
	struct vcpu *vcpu = inhibit_own();

	turn_in_l2(vcpu);
	inhibit_code->window_open(vcpu);
	inhibit_turn(vcpu, look);
	inhibit_code->window_close(vcpu);
	leave_l2(vcpu);
}

static void keeper(void)
{
	struct vcpu *vcpu = inhibit_own();

	inhibit_code->window_open(vcpu);
	inhibit_turn(vcpu, look);
}

static void storm(void)
{
	inhibit_stand(INHIBIT_STORM, true);
	inhibit_stand(INHIBIT_STORM, false);
}

/* --- */

/* The second VMCB is there, so that its allocation is not part of what is explored. */
static void setup(void)
{
	struct vcpu *vcpu;

	inhibit_stage_create();
	vcpu = inhibit_vm->vcpu[0];
	block = port_alloc(sizeof(*block), PAGE_SIZE);
	if (!block || !nested_enter(vcpu, block))
		port_panic("no memory for a guest's guest");
	nested_leave(vcpu, NESTED_EXIT);
	vcpu_handle_requests(vcpu);
}

static const char *check_none(void)
{
	return inhibit_check(0);
}

static const char *check_window(void)
{
	return inhibit_check(INHIBIT_BIT(IRQWIN));
}

INHIBIT_SCENARIO(race_nested_in, "windows: one closed in L2 meets a reason that comes and goes", 2,
                 setup, check_none, INHIBIT_OTHER_CPU, closes_in_l2, storm);
INHIBIT_SCENARIO(race_nested_after, "windows: one kept over L2 meets a reason that comes and goes",
                 2, setup, check_none, INHIBIT_OTHER_CPU, closes_after_l2, storm);
INHIBIT_SCENARIO(race_nested_own, "windows: one of L2's own meets a reason that comes and goes", 2,
                 setup, check_none, INHIBIT_OTHER_CPU, opens_in_l2, storm);
INHIBIT_SCENARIO(race_nested_two, "windows: one closed in L2 meets another vCPU's", 2, setup,
                 check_window, 1, closes_in_l2, keeper);
