/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A vCPU that goes to sleep, or is no longer accelerated, meets those who send to it: the two races
 * drawn in irq/accel.c and the one in cpu_model/avic_ipi.c. The owner's steps are the run loop's,
 * without what comes before and behind; the senders are those of avic.h.
 *
 * Steps in the wrong order lose the interrupt, and so does the erratum without its workaround. The
 * explorer must find each of these, or it would prove nothing.
 */
#include "tests/race/avic.h"
#include "tests/race/scenarios.h"
#include "tests/race/stage.h"

#include "core/machine.h"
#include "core/sched.h"
#include "cpu_model/model.h"
#include "irq/lapic_priv.h"
#include "posix.h"
#include "postern/port.h"

/* Of who is switched off. */
static enum {
	UNDECIDED,
	FOUND, /* what is pending, before it entered */
	ENTERED,
} outcome;

static void begin(void)
{
	avic_stage_begin();
	stage_begin();
	outcome = UNDECIDED;
}

/* As it is behind an HLT exit: running, loaded, halted, interrupts on. */
static void halted(const struct avic_stage *stage)
{
	avic_stage_create(stage);
	stage_run_on(avic_target, 0);
	atomic32_set(&avic_vm->live_vcpus, 1);
	avic_target->activity = VCPU_HALTED;
	avic_target->regs.rflags |= RFLAGS_IF;
}

static void setup(void)
{
	halted(&(struct avic_stage){0});
}

static void setup_erratum(void)
{
	halted(&(struct avic_stage){.erratum = true});
}

static void setup_workaround(void)
{
	halted(&(struct avic_stage){.erratum = true, .workaround = true});
}

static void setup_workaround_alone(void)
{
	halted(&(struct avic_stage){.workaround = true});
}

/* --- going to sleep --- */

static void sleeper(void)
{
	stage_fall_asleep(avic_target, sched_block);
}

static void sleeper_and_processor(void)
{
	stage_fall_asleep_with_processor(avic_target, sched_block);
}

/* sched_block() that takes IsRunning back, looks, and only then can be found asleep. */
static bool looks_before_it_is_blocked(struct vcpu *v)
{
	struct cpu *cpu = this_cpu();

	cpu->current = NULL;
	accel_running(v, NULL);
	if (vcpu_has_work(v)) {
		cpu->current = v;
		accel_running(v, cpu);
		return false;
	}
	sched_block_publish(v);
	return true;
}

/* IsRunning is taken back last: it looks while senders still ring. */
static void sleeper_running_last(void)
{
	stage_fall_asleep(avic_target, stage_block_tells_last);
}

static void sleeper_blocked_last(void)
{
	stage_fall_asleep(avic_target, looks_before_it_is_blocked);
}

static const char *check_sleep(void)
{
	return stage_check_sleep(avic_target, AVIC_VECTOR);
}

#define SCENARIO(id, what, prepare, judge, ...)                                                    \
	const struct race_scenario id = {                                                          \
	        .name = what,                                                                      \
	        .setup = prepare,                                                                  \
	        .begin = begin,                                                                    \
	        .actor = {__VA_ARGS__},                                                            \
	        .cpu = {0, AVIC_SENDER_CPU, 1},                                                    \
	        .check = judge,                                                                    \
	}
#define SLEEP(id, what, prepare, ...) SCENARIO(id, what, prepare, check_sleep, __VA_ARGS__)
#define OFF(id, what, prepare, ...)   SCENARIO(id, what, prepare, check_off, __VA_ARGS__)

SLEEP(race_avic_block, "AVIC: IPI meets HLT: the vCPU runs or is woken", setup, sleeper,
      avic_send_ipi);
SLEEP(race_avic_block_post, "AVIC: a device's interrupt meets HLT", setup, sleeper, avic_post);
SLEEP(race_avic_block_both, "AVIC: IPI and a device's interrupt meet HLT", setup, sleeper,
      avic_send_ipi, avic_post);
SLEEP(race_avic_block_processor, "AVIC: IPI meets HLT and an idle processor: both wake", setup,
      sleeper_and_processor, avic_send_ipi);
SLEEP(race_avic_block_erratum, "AVIC: IPI meets HLT with the erratum, no workaround", setup_erratum,
      sleeper, avic_send_ipi);
SLEEP(race_avic_block_workaround, "AVIC: IPI meets HLT with the erratum and its workaround",
      setup_workaround, sleeper, avic_send_ipi);
SLEEP(race_avic_block_workaround_processor,
      "AVIC: IPI meets HLT and an idle processor with the erratum and its workaround",
      setup_workaround, sleeper_and_processor, avic_send_ipi);
SLEEP(race_avic_block_workaround_alone, "AVIC: IPI meets HLT with the workaround, no erratum",
      setup_workaround_alone, sleeper, avic_send_ipi);
SLEEP(race_avic_block_running_last, "AVIC: blocking looks at IRR before it clears IsRunning", setup,
      sleeper_running_last, avic_send_ipi);
SLEEP(race_avic_block_blocked_last, "AVIC: blocking looks at IRR before it can be found asleep",
      setup, sleeper_blocked_last, avic_send_ipi);

/* --- switching off --- */

/* It runs; the next decision will switch acceleration off. */
static void switching_off(const struct avic_stage *stage)
{
	avic_stage_create(stage);
	stage_run_on(avic_target, 0);
	avic_target->regs.rflags |= RFLAGS_IF;
	inhibit_set(avic_vm, INHIBIT_STORM);
}

static void setup_off(void)
{
	switching_off(&(struct avic_stage){0});
}

static void setup_off_workaround(void)
{
	switching_off(&(struct avic_stage){.erratum = true, .workaround = true});
}

static bool enter(void)
{
	if (!stage_enter(avic_target))
		return false;
	outcome = ENTERED;
	return true;
}

static bool is_found(void)
{
	if (!atomic32_read(&avic_target->lapic.irr_summary) || !intr_has_deliverable(avic_target))
		return false;
	outcome = FOUND;
	return true;
}

/* Up to the entry, as the run loop goes: decide, look, enter. */
static void owner(void)
{
	do {
		vcpu_handle_requests(avic_target);
	} while (!is_found() && !enter());
}

/* Column 2 of irq/accel.c with a behind b: looks at the page, and then the mode is off. */
static void owner_looks_first(void)
{
	bool found;

	do {
		found = intr_has_deliverable(avic_target);
		vcpu_handle_requests(avic_target);
	} while (!found && !enter());
	if (found)
		outcome = FOUND;
}

/* accel_update() that sums up the page while senders' processors still ring. */
static void owner_sums_up_first(void)
{
	lapic_accelerated(avic_target, false);
	accel_running(avic_target, NULL);
	atomic32_set(&avic_target->accel.mode, ACCEL_OFF);
	owner();
}

/* Column 1 with 2 before 1: asks how to tell, and then there is something to be told. */
static void post_asks_first(void)
{
	bool on = atomic32_read(&avic_target->accel.mode) != ACCEL_OFF;

	if (!lapic_accept_own(&avic_target->lapic, AVIC_VECTOR_POST, IRQ_SOURCE_MSI))
		posix_fail("the interrupt was not accepted");
	if (!on)
		vcpu_request(avic_target, VCPU_REQUEST_EVENT);
	else if (atomic32_read(&avic_target->mode) == VCPU_IN_GUEST)
		port_machine()->backend->accel->notify(avic_target, ptr_read(&avic_target->cpu));
}

/* In the guest without acceleration, what is pending has to bring the vCPU out again. */
static const char *check_off(void)
{
	struct lapic *lapic = &avic_target->lapic;
	u32 summary = atomic32_read(&lapic->irr_summary);
	int vector = lapic_deliverable(avic_target);

	if (accel_is_on(&avic_target->accel))
		return "acceleration is still on";
	for (u32 offset = 0; offset < 8; offset++)
		if (lapic_get(lapic, APIC_IRR + offset * LAPIC_STRIDE) && !(summary & BIT(offset)))
			return "a request is pending and not in the summary: lost";
	if (vector < AVIC_VECTOR)
		return "the interrupt is no longer pending";
	if (outcome == FOUND)
		return NULL;
	if (outcome != ENTERED)
		return "the owner did not decide";
	if (!atomic32_read(&avic_target->requests) || model_apic_pending(&model()->cpu[0]) < 0)
		return "the guest runs, and nobody will look: lost";
	return NULL;
}

OFF(race_avic_off, "AVIC: IPI meets switching off", setup_off, owner, avic_send_ipi);
OFF(race_avic_off_post, "AVIC: a device's interrupt meets switching off", setup_off, owner,
    avic_post);
OFF(race_avic_off_both, "AVIC: IPI and a device's interrupt meet switching off", setup_off, owner,
    avic_send_ipi, avic_post);
OFF(race_avic_off_workaround, "AVIC: IPI meets switching off with the erratum and its workaround",
    setup_off_workaround, owner, avic_send_ipi);
OFF(race_avic_off_looks_first, "AVIC: switching off looks at IRR before the mode is off", setup_off,
    owner_looks_first, avic_post);
OFF(race_avic_off_sums_up_first, "AVIC: switching off sums up before it clears IsRunning",
    setup_off, owner_sums_up_first, avic_send_ipi);
OFF(race_avic_off_asks_first, "AVIC: a device asks for the mode before its interrupt is requested",
    setup_off, owner, post_asks_first);
