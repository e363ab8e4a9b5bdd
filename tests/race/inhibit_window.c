/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Windows against other reasons and against each other (irq/irq_window.h): vCPUs that open a window,
 * enter the guest with it, and close it or not, while another reason comes and goes.
 *
 * A vCPU with a window enters unaccelerated; the count is that of the flags, and never beyond that of the
 * vCPUs, as one below 0 would be; afterwards IRQWIN stands if a window is open.
 */
#include "tests/race/inhibit.h"
#include "tests/race/scenarios.h"

#include "posix.h"

static const char *look(struct vcpu *vcpu)
{
	if (vcpu->accel.window && accel_is_on(&vcpu->accel))
		return "a vCPU is in the guest, and its window is ignored";
	if (atomic32_read(&vcpu->vm->inhibit.windows) > vcpu->vm->vcpu_count)
		return "the count of windows is negative";
	return inhibit_look(vcpu);
}

/* Its window opens at one exit and closes at a later one. */
static void window(bool and_close)
{
	struct vcpu *vcpu = inhibit_own();

	inhibit_code->window_open(vcpu);
	inhibit_turn(vcpu, look);
	if (!and_close)
		return;
	inhibit_code->window_close(vcpu);
	inhibit_turn(vcpu, look);
}

static void closer(void)
{
	window(true);
}

static void keeper(void)
{
	window(false);
}

/* The same from the guest on. */
static void entered_closer(void)
{
	inhibit_turn(inhibit_own(), look);
	window(true);
}

static void entered_keeper(void)
{
	inhibit_turn(inhibit_own(), look);
	window(false);
}

static void storm(void)
{
	inhibit_stand(INHIBIT_STORM, true);
	inhibit_stand(INHIBIT_STORM, false);
}

static void rising(void)
{
	inhibit_stand(INHIBIT_STORM, true);
}

static void falling(void)
{
	inhibit_stand(INHIBIT_STORM, false);
}

/* --- */

static void setup(void)
{
	inhibit_stage_create();
}

static void setup_storm(void)
{
	inhibit_stage_create();
	inhibit_set(inhibit_vm, INHIBIT_STORM);
}

static const char *check_none(void)
{
	return inhibit_check(0);
}

static const char *check_window(void)
{
	return inhibit_check(INHIBIT_BIT(IRQWIN));
}

/* IRQWIN follows late while another reason stands. */
static const char *check_storm(void)
{
	u32 irqwin = atomic32_read(&inhibit_vm->inhibit.mask) & INHIBIT_BIT(IRQWIN);

	return inhibit_check(INHIBIT_BIT(STORM) | irqwin);
}

INHIBIT_SCENARIO(race_window_storm, "windows: one meets a reason that comes and goes", 2, setup,
                 check_none, INHIBIT_OTHER_CPU, closer, storm);
INHIBIT_SCENARIO(race_window_storm_kept,
                 "windows: one that stays meets a reason that comes and goes", 2, setup,
                 check_window, INHIBIT_OTHER_CPU, keeper, storm);
INHIBIT_SCENARIO(race_window_rising, "windows: one meets a reason that comes", 2, setup,
                 check_storm, INHIBIT_OTHER_CPU, closer, rising);
INHIBIT_SCENARIO(race_window_falling, "windows: one that stays meets a reason that goes", 0,
                 setup_storm, check_window, INHIBIT_OTHER_CPU, keeper, falling);
INHIBIT_SCENARIO(race_window_two, "windows: two open and close", 2, setup, check_none, 1, closer,
                 closer);
INHIBIT_SCENARIO(race_window_two_kept, "windows: two open, one closes", 2, setup, check_window, 1,
                 entered_closer, keeper);
INHIBIT_SCENARIO(race_window_two_storm, "windows: two meet a reason that comes and goes", 1, setup,
                 check_window, 1, closer, entered_keeper, storm);
