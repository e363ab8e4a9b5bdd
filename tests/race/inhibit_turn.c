/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The update of all vCPUs against their entries (irq/inhibit.h), and two who change the mask at one time.
 *
 *   runner     a vCPU that enters until the requesters are done, and then once more
 *   requester  a processor without a vCPU
 *   caller     a vCPU that changes a reason at an exit, and then is a runner
 *
 * At each entry and as long as a vCPU is in the guest its state is what the mask demands; afterwards the
 * mask is what stands. A requester that waited for somebody who waits for it would be a deadlock.
 */
#include "tests/race/inhibit.h"
#include "tests/race/scenarios.h"

#include "posix.h"

static void run_on(struct vcpu *vcpu)
{
	do {
		inhibit_turn(vcpu, inhibit_wait);
	} while (atomic32_read(&inhibit_over) != inhibit_expected);
	inhibit_turn(vcpu, inhibit_look);
}

static void runner(void)
{
	run_on(inhibit_own());
}

static void setter(void)
{
	inhibit_stand(INHIBIT_STORM, true);
	inhibit_done();
}

static void clearer(void)
{
	inhibit_stand(INHIBIT_STORM, false);
	inhibit_done();
}

static void toggler(void)
{
	inhibit_stand(INHIBIT_STORM, true);
	inhibit_stand(INHIBIT_STORM, false);
	inhibit_done();
}

/* --- vCPUs as requesters --- */

static void call(enum inhibit_reason reason, bool stands, bool and_back)
{
	struct vcpu *vcpu = inhibit_own();

	inhibit_turn(vcpu, inhibit_look);
	inhibit_stand(reason, stands);
	if (and_back) {
		inhibit_turn(vcpu, inhibit_look);
		inhibit_stand(reason, !stands);
	}
	inhibit_done();
	run_on(vcpu);
}

static void set_caller(void)
{
	call(INHIBIT_STORM, true, false);
}

static void clear_caller(void)
{
	call(INHIBIT_STORM, false, false);
}

static void other_set_caller(void)
{
	call(INHIBIT_BLOCKIRQ, true, false);
}

static void other_toggle_caller(void)
{
	call(INHIBIT_BLOCKIRQ, true, true);
}

/* --- */

static void setup(void)
{
	inhibit_stage_create();
}

static void setup_off(void)
{
	struct vcpu *vcpu;

	inhibit_stage_create();
	inhibit_set(inhibit_vm, INHIBIT_STORM);
	for_each_vcpu (vcpu, inhibit_vm)
		vcpu_handle_requests(vcpu);
}

static void setup_two_off(void)
{
	setup_off();
	inhibit_expected = 2;
}

static void setup_two(void)
{
	inhibit_stage_create();
	inhibit_expected = 2;
}

static const char *check_none(void)
{
	return inhibit_check(0);
}

static const char *check_storm(void)
{
	return inhibit_check(INHIBIT_BIT(STORM));
}

static const char *check_other(void)
{
	return inhibit_check(INHIBIT_BIT(BLOCKIRQ));
}

static const char *check_both(void)
{
	return inhibit_check(INHIBIT_BIT(STORM) | INHIBIT_BIT(BLOCKIRQ));
}

INHIBIT_SCENARIO(race_inhibit_set, "inhibit: switching off meets entry", 0, setup, check_storm,
                 INHIBIT_OTHER_CPU, runner, setter);
INHIBIT_SCENARIO(race_inhibit_clear, "inhibit: switching on meets entry", 0, setup_off, check_none,
                 INHIBIT_OTHER_CPU, runner, clearer);
INHIBIT_SCENARIO(race_inhibit_toggle, "inhibit: switching off and on meets entry", 3, setup,
                 check_none, INHIBIT_OTHER_CPU, runner, toggler);
INHIBIT_SCENARIO(race_inhibit_set_two, "inhibit: switching off meets the entries of two vCPUs", 1,
                 setup, check_storm, 1, runner, runner, setter);
INHIBIT_SCENARIO(race_inhibit_callers_set, "inhibit: two vCPUs each set a reason", 2, setup_two,
                 check_both, 1, set_caller, other_set_caller);
INHIBIT_SCENARIO(race_inhibit_callers, "inhibit: a vCPU sets a reason, another sets and clears one",
                 2, setup_two, check_storm, 1, set_caller, other_toggle_caller);
INHIBIT_SCENARIO(race_inhibit_callers_clear, "inhibit: a vCPU clears a reason, another sets one", 2,
                 setup_two_off, check_other, 1, clear_caller, other_set_caller);
