/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Senders against the whole run loop of an accelerated vCPU: one processor runs cpu_main() from the
 * scheduler's first choice on, with VMRUN, the evaluation of the page and doorbells as the model
 * processor has them; its guest spins with interrupts on, or sleeps in HLT, until its handler ends the
 * VM. No timer helps: an interrupt that is lost leaves all standing still, which the explorer calls a
 * deadlock.
 *
 * Where the vCPU comes from another stage_processor, that one ends its turn and gives it away.
 */
#include "tests/race/avic.h"
#include "tests/race/scenarios.h"
#include "tests/race/stage.h"

#include "core/machine.h"
#include "core/sched.h"
#include "posix.h"
#include "postern/port.h"

#define OTHER_CPU 1

static void create(const struct avic_stage *stage, guest_script script)
{
	avic_stage_create(stage);
	stage_guest(avic_vm, script);
	g_set_handler(AVIC_VECTOR, stage_handler);
	g_set_handler(AVIC_VECTOR_POST, stage_handler);
	/* vCPU 1 never starts: its processor is the sender. */
	atomic32_set(&avic_vm->live_vcpus, avic_vm->vcpu_count);
}

/* It waits in processor 0's queue; its first entry switches acceleration on. */
static void setup_on(void)
{
	create(&(struct avic_stage){0}, stage_spin);
	sched_wake(avic_target);
}

/* The same with acceleration on from the start. */
static void ready(const struct avic_stage *stage, guest_script script)
{
	create(stage, script);
	accel_update(avic_target);
	ASSERT(accel_is_on(&avic_target->accel));
	accel_running(avic_target, NULL);
	sched_wake(avic_target);
}

static void setup_spin(void)
{
	ready(&(struct avic_stage){0}, stage_spin);
}

static void setup_sleep(void)
{
	ready(&(struct avic_stage){0}, stage_sleep);
}

static void setup_sleep_erratum(void)
{
	ready(&(struct avic_stage){.erratum = true}, stage_sleep);
}

static void setup_sleep_workaround(void)
{
	ready(&(struct avic_stage){.erratum = true, .workaround = true}, stage_sleep);
}

static void setup_spin_workaround(void)
{
	ready(&(struct avic_stage){.erratum = true, .workaround = true}, stage_spin);
}

/* Something makes its first decision switch acceleration off. */
static void setup_off(void)
{
	ready(&(struct avic_stage){0}, stage_spin);
	stage_off();
}

static void away(const struct avic_stage *stage)
{
	create(stage, stage_spin);
	stage_run_on(avic_target, OTHER_CPU);
}

static void setup_move(void)
{
	away(&(struct avic_stage){0});
}

static void setup_move_erratum(void)
{
	away(&(struct avic_stage){.erratum = true});
}

static void setup_move_workaround(void)
{
	away(&(struct avic_stage){.erratum = true, .workaround = true});
}

static void begin(void)
{
	avic_stage_begin();
	stage_begin();
}

/* lapic_posted() in the wrong order: is it in the guest? Then the request, and the doorbell. */
static void post_looks_first(void)
{
	bool inside = atomic32_read(&avic_target->mode) == VCPU_IN_GUEST;

	if (!lapic_accept_own(&avic_target->lapic, AVIC_VECTOR_POST, IRQ_SOURCE_MSI))
		posix_fail("the interrupt was not accepted");
	if (inside)
		port_machine()->backend->accel->notify(avic_target, ptr_read(&avic_target->cpu));
}

static void other(void)
{
	stage_end_turn(avic_target);
}

#define LOOP(id, what, prepare, sender)                                                            \
	const struct race_scenario id = {                                                          \
	        .name = what,                                                                      \
	        .setup = prepare,                                                                  \
	        .begin = begin,                                                                    \
	        .actor = {stage_processor, sender},                                                \
	        .cpu = {0, AVIC_SENDER_CPU},                                                       \
	        .check = stage_check_handled,                                                      \
	}

LOOP(race_avic_entry, "AVIC: IPI meets VM entry: the guest takes it", setup_spin, avic_send_ipi);
LOOP(race_avic_entry_post, "AVIC: a device's interrupt meets VM entry: the guest takes it",
     setup_spin, avic_post);
LOOP(race_avic_entry_looks_first,
     "AVIC: a device looks at the vCPU before its interrupt is requested", setup_spin,
     post_looks_first);
LOOP(race_avic_entry_workaround, "AVIC: IPI meets VM entry with the erratum and its workaround",
     setup_spin_workaround, avic_send_ipi);
LOOP(race_avic_on, "AVIC: IPI meets switching on and VM entry", setup_on, avic_send_ipi);
LOOP(race_avic_on_post, "AVIC: a device's interrupt meets switching on and VM entry", setup_on,
     avic_post);
LOOP(race_avic_off_loop, "AVIC: IPI meets switching off and VM entry", setup_off, avic_send_ipi);
LOOP(race_avic_off_loop_post, "AVIC: a device's interrupt meets switching off and VM entry",
     setup_off, avic_post);
LOOP(race_avic_sleep, "AVIC: IPI meets the run loop of a vCPU that sleeps", setup_sleep,
     avic_send_ipi);
LOOP(race_avic_sleep_post, "AVIC: a device's interrupt meets the run loop of a vCPU that sleeps",
     setup_sleep, avic_post);
LOOP(race_avic_sleep_erratum,
     "AVIC: IPI meets the run loop of a vCPU that sleeps, erratum, no workaround",
     setup_sleep_erratum, avic_send_ipi);
LOOP(race_avic_sleep_workaround,
     "AVIC: IPI meets the run loop of a vCPU that sleeps, erratum and workaround",
     setup_sleep_workaround, avic_send_ipi);
/* Three actors, one of them a whole run loop: too much without a bound. */
#define MOVE(id, what, prepare, sender)                                                            \
	const struct race_scenario id = {                                                          \
	        .name = what,                                                                      \
	        .setup = prepare,                                                                  \
	        .begin = begin,                                                                    \
	        .actor = {stage_processor, sender, other},                                         \
	        .cpu = {0, AVIC_SENDER_CPU, OTHER_CPU},                                            \
	        .preemptions = 2,                                                                  \
	        .check = stage_check_handled,                                                      \
	}

MOVE(race_avic_loop_move, "AVIC: IPI meets the run loop that a vCPU moves to", setup_move,
     avic_send_ipi);
MOVE(race_avic_loop_move_post, "AVIC: a device's interrupt meets the run loop that a vCPU moves to",
     setup_move, avic_post);
MOVE(race_avic_loop_move_erratum,
     "AVIC: IPI meets the run loop that a vCPU moves to, erratum, no workaround",
     setup_move_erratum, avic_send_ipi);
MOVE(race_avic_loop_move_workaround,
     "AVIC: IPI meets the run loop that a vCPU moves to, erratum and workaround",
     setup_move_workaround, avic_send_ipi);
