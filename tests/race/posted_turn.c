/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A vCPU's turn ends and another begins, or it falls asleep, and somebody posts to it meanwhile: the table and the
 * race drawn in vmx/posted.c. Entering is the last look of vmx/apicv.c, the microcode's part of VM entry, and
 * waiting for the notification; falling asleep is the run loop's, without what comes before and behind, and then its
 * processor's own sleep. So all orders can be explored. posted_loop.c has the same with the whole run loop.
 *
 *   preemption  the turn ends because others wait, and the next one begins on the same processor
 *   move        ... on another one; three actors, the queue between the two processors left out
 *   HLT         the vCPU sleeps, with the wakeup vector armed, and so does its processor
 *
 * Steps in the wrong order lose the interrupt. The explorer must find each of these, or it would prove nothing. One
 * order looks wrong and is right: on the list of sleepers behind the wakeup vector. The list belongs to the processor
 * on which they fall asleep, and no handler walks it, so it is complete by the time that somebody does.
 */
#include "tests/race/posted.h"
#include "tests/race/scenarios.h"
#include "tests/race/stage.h"

#include "core/machine.h"
#include "core/sched.h"
#include "cpu_model/model.h"
#include "cpu_model/vapic.h"
#include "irq/lapic_priv.h"
#include "posix.h"
#include "postern/port.h"
#include "vmx/vmx.h"

static u32 wanted; /* of POSTED_VECTOR and POSTED_VECTOR_TOO, 1 or 3 */
static u32 taken;
static bool twice;
static struct vapic receiver;

/* --- stages --- */

static void begin_one(void)
{
	posted_stage_begin();
	posted_stage_load(&receiver, posted_target);
	wanted = 1;
	taken = 0;
	twice = false;
}

static void begin_two(void)
{
	begin_one();
	wanted = 3;
}

static void run_on(u32 cpu)
{
	posted_stage_create(&(struct posted_stage){0});
	stage_run_on(posted_target, cpu);
	posted_target->regs.rflags |= RFLAGS_IF;
	/* As behind an entry: the processor knows what the page holds. */
	posted_target->lapic.status_changed = false;
}

static void setup(void)
{
	run_on(0);
}

static void setup_away(void)
{
	run_on(POSTED_OTHER_CPU);
	ASSERT(backend_op(cpu_init)(&port_machine()->cpu[0]));
}

/* As it is behind an HLT exit. */
static void setup_halted(void)
{
	run_on(0);
	posted_target->activity = VCPU_HALTED;
}

/* And the wakeup vector has come already, for somebody else. */
static void setup_marked(void)
{
	setup_halted();
	atomic32_set(&port_machine()->cpu[0].wakeups, 1);
}

/* --- the guest --- */

static void deliver_all(void)
{
	while (vapic_can_deliver(&receiver, true)) {
		u32 bit = BIT(vapic_deliver(&receiver) - POSTED_VECTOR);

		twice |= taken & bit;
		taken |= bit;
		vapic_end(&receiver);
	}
}

static struct atomic64 *physical_irr(void)
{
	return &model_current()->irr[CPU_VECTOR_NOTIFY / 64];
}

/* What is looked at before an entry, vmx_apicv_sync()'s condition: is something posted? */
static bool looks(void)
{
	return lapic_has_posted(&posted_target->lapic);
}

/* Guest interrupt status as it is in the VMCS, or brought up to date. */
static void enter_guest(bool (*look)(void))
{
	u8 requested = receiver.rvi, in_service = receiver.svi;

	if (look() || posted_target->lapic.status_changed)
		lapic_status(posted_target, &requested, &in_service);
	vapic_enter(&receiver, VMX_INTR_STATUS(requested, in_service));
}

/* Until everything is there: the guest does nothing else, and what is pending makes it collect. */
static void guest(bool (*look)(void))
{
	backend_op(host_irqs_block)();
	atomic32_set(&posted_target->mode, VCPU_IN_GUEST);
	smp_mb();
	enter_guest(look);
	deliver_all();
	while (taken != wanted) {
		wait_until(atomic64_read(physical_irr()) & BIT64(CPU_VECTOR_NOTIFY % 64));
		atomic64_fetch_and(physical_irr(), ~BIT64(CPU_VECTOR_NOTIFY % 64));
		vapic_process_posted(&receiver, CPU_VECTOR_NOTIFY);
		deliver_all();
	}
}

/* --- preemption and moves --- */

static void preempted_and_enters(bool (*look)(void))
{
	struct cpu *cpu = this_cpu();

	backend_op(host_irqs_unblock)();
	accel_running(posted_target, NULL);
	accel_running(posted_target, cpu);
	guest(look);
}

static void preempted(void)
{
	preempted_and_enters(looks);
}

static bool never_looks(void)
{
	return false;
}

static void preempted_never_looks(void)
{
	preempted_and_enters(never_looks);
}

/* What is posted behind the look at PIR has its ON taken away. */
static bool clears_on_last(void)
{
	struct pi_desc *desc = posted_desc(posted_target);
	u64 bits;

	if (!looks())
		return false;
	bits = atomic64_xchg(&desc->pir[POSTED_VECTOR / 64], 0);
	atomic32_fetch_or(lapic_vector_word(&posted_target->lapic, APIC_IRR, POSTED_VECTOR),
	                  (u32)bits);
	atomic64_fetch_and(&desc->control, ~PI_ON);
	return true;
}

static void preempted_clears_on_last(void)
{
	preempted_and_enters(clears_on_last);
}

static void giver(void)
{
	stage_give(posted_target);
}

static void taker(void)
{
	backend_op(host_irqs_unblock)();
	stage_take(posted_target);
	guest(looks);
}

/* ON may be set for what has been collected before it was. */
static const char *check_taken(void)
{
	if (taken != wanted || twice)
		return "the guest has not taken each once";
	return stage_pir_is_empty(posted_desc(posted_target)) ? NULL : "PIR is not empty";
}

/* --- wrong beginnings of a turn --- */

static void change(u64 to)
{
	struct atomic64 *control = &posted_desc(posted_target)->control;
	u64 old;

	do {
		old = atomic64_read(control);
	} while (!atomic64_cmpxchg(control, old, (old & PI_ON) | to));
}

static void look_at_requests(void)
{
	struct pi_desc *desc = posted_desc(posted_target);
	u64 found = 0;

	for (u32 i = 0; i < ARRAY_SIZE(desc->pir); i++)
		found |= atomic64_read(&desc->pir[i]);
	if (found)
		atomic64_fetch_or(&desc->control, PI_ON);
}

static u64 to_us(u8 vector, const struct cpu *cpu)
{
	return PI_TO(vector, ((const struct vmx_cpu *)cpu->arch)->ndst);
}

/* SN is cleared, and what was posted under it is not told of. */
static void does_not_look(struct vcpu *vcpu, struct cpu *cpu, bool sleeps)
{
	if (cpu)
		change(to_us(CPU_VECTOR_NOTIFY, cpu));
	else
		posted_right->running(vcpu, cpu, sleeps);
}

/* ... unless it was there before. */
static void looks_first(struct vcpu *vcpu, struct cpu *cpu, bool sleeps)
{
	if (cpu)
		look_at_requests();
	does_not_look(vcpu, cpu, sleeps);
}

/* Who was notified before the turn began still is. */
static void stays_with_the_old(struct vcpu *vcpu, struct cpu *cpu, bool sleeps)
{
	if (!cpu) {
		posted_right->running(vcpu, cpu, sleeps);
		return;
	}
	atomic64_fetch_and(&posted_desc(vcpu)->control, ~PI_SN);
	look_at_requests();
}

static void setup_looks_first(void)
{
	setup();
	stage_accel_ops()->running = looks_first;
}

static void setup_does_not_look(void)
{
	setup();
	stage_accel_ops()->running = does_not_look;
}

static void setup_stays(void)
{
	setup_away();
	stage_accel_ops()->running = stays_with_the_old;
}

/* --- falling asleep --- */

static void chores(struct cpu *cpu)
{
	if (atomic32_read_relaxed(&cpu->wakeups))
		accel_wake(cpu);
}

/* The run loop's, until the interrupts are there. `block`: sched_block(), `idle`: sched_idle(), `look`: chores(). */
static void sleep_and_run(bool (*block)(struct vcpu *v), void (*idle)(struct cpu *cpu),
                          void (*look)(struct cpu *cpu))
{
	struct cpu *cpu = this_cpu();

	backend_op(host_irqs_unblock)();
	do {
		vcpu_handle_requests(posted_target);
		if (intr_has_deliverable(posted_target) || !block(posted_target))
			continue;
		for (look(cpu); sched_pick(cpu) != posted_target; look(cpu))
			idle(cpu);
		accel_running(posted_target, cpu);
	} while (!intr_has_deliverable(posted_target));
	guest(looks);
}

static void sleeper(void)
{
	sleep_and_run(sched_block, sched_idle, chores);
}

static void arm_wakeup(struct vcpu *vcpu)
{
	change(to_us(CPU_VECTOR_WAKEUP, ptr_read(&vcpu->cpu)));
}

/* Armed first; the right code puts it on the list, and arms once more. */
static void list_behind_vector(struct vcpu *vcpu, struct cpu *cpu, bool sleeps)
{
	if (!cpu && sleeps)
		arm_wakeup(vcpu);
	posted_right->running(vcpu, cpu, sleeps);
}

static void no_list(struct vcpu *vcpu, struct cpu *cpu, bool sleeps)
{
	if (!cpu && sleeps)
		arm_wakeup(vcpu);
	else
		posted_right->running(vcpu, cpu, sleeps);
}

static void setup_list_behind_vector(void)
{
	setup_halted();
	stage_accel_ops()->running = list_behind_vector;
}

static void setup_no_list(void)
{
	setup_halted();
	stage_accel_ops()->running = no_list;
}

/* The wakeup vector is armed by what the back end is told last. */
static void sleeper_arms_last(void)
{
	sleep_and_run(stage_block_tells_last, sched_idle, chores);
}

/* sched_block(), whose recheck knows requests and nothing else. */
static bool ignores_on(struct vcpu *v)
{
	struct cpu *cpu = this_cpu();

	cpu->current = NULL;
	accel_sleeps(v);
	sched_block_publish(v);
	if (atomic32_read(&v->requests) &&
	    atomic32_cmpxchg(&v->sched_state, VCPU_BLOCKED, VCPU_RUNNING)) {
		cpu->current = v;
		accel_running(v, cpu);
		return false;
	}
	return true;
}

static void sleeper_ignores_on(void)
{
	sleep_and_run(ignores_on, sched_idle, chores);
}

/* sched_idle(), whose last look does not see that the wakeup vector has come. */
static void idle_without_mark(struct cpu *cpu)
{
	atomic32_set(&cpu->idle, 1);
	port_irqs_block();
	if (atomic32_read(&cpu->rq.length))
		port_irqs_unblock();
	else
		port_idle();
	atomic32_set(&cpu->idle, 0);
}

static void sleeper_without_mark(void)
{
	sleep_and_run(sched_block, idle_without_mark, chores);
}

/* accel_wake(), which forgets what has come while it looked. */
static void clears_mark_last(struct cpu *cpu)
{
	if (!atomic32_read_relaxed(&cpu->wakeups))
		return;
	posted_right->wake(cpu);
	atomic32_set_relaxed(&cpu->wakeups, 0);
}

static void sleeper_clears_mark_last(void)
{
	sleep_and_run(sched_block, sched_idle, clears_mark_last);
}

/* --- asleep, and two processors idle --- */

static u32 runs; /* on how many it has */

static void begin_asleep(void)
{
	begin_two();
	runs = 0;
}

/* On the list of processor 0, which has forgotten it otherwise. */
static void setup_asleep(void)
{
	struct cpu *cpu;

	setup_halted();
	cpu = &port_machine()->cpu[0];
	cpu->current = NULL;
	accel_sleeps(posted_target);
	sched_block_publish(posted_target);
	sched_unload(cpu);
	posix_set_current(&model()->cpu[POSTED_OTHER_CPU]);
	ASSERT(backend_op(cpu_init)(&port_machine()->cpu[POSTED_OTHER_CPU]));
	posix_set_current(&model()->cpu[0]);
}

static void run_target(struct cpu *cpu)
{
	struct machine *machine = port_machine();

	runs++;
	sched_load(cpu, posted_target);
	accel_running(posted_target, cpu);
	guest(looks);
	atomic32_set(&machine->stopping, 1);
	cpu_kick(&machine->cpu[0]);
	cpu_kick(&machine->cpu[POSTED_OTHER_CPU]);
}

/* cpu_main(), until it has run on either. */
static void idles(void)
{
	struct cpu *cpu = this_cpu();

	backend_op(host_irqs_unblock)();
	while (!atomic32_read(&port_machine()->stopping)) {
		if (sched_pick(cpu)) {
			run_target(cpu);
			return;
		}
		chores(cpu);
		if (!atomic32_read(&port_machine()->stopping))
			sched_idle(cpu);
	}
}

static void send_ipi_and_software(void)
{
	posted_send_ipi();
	posted_send_software_too();
}

static const char *check_runs(void)
{
	if (runs != 1)
		return "the vCPU has not run once";
	if (vmx_of(posted_target)->sleeper.on)
		return "the vCPU runs and is on a list of sleepers";
	for (u32 i = 0; i <= POSTED_OTHER_CPU; i++)
		if (((const struct vmx_cpu *)port_machine()->cpu[i].arch)->sleepers)
			return "a list of sleepers is not empty";
	return check_taken();
}

static const char *check_awake(void)
{
	const struct cpu *cpu = &port_machine()->cpu[0];

	if (cpu->current != posted_target || cpu->rq.head)
		return "the vCPU runs, and is not marked so, or is on a queue as well";
	if (vmx_of(posted_target)->sleeper.on)
		return "the vCPU runs and is on a list of sleepers";
	return check_taken();
}

/* --- scenarios --- */

#define SCENARIO(id, what, bound, prepare, start, judge, ...)                                      \
	const struct race_scenario id = {                                                          \
	        .name = what,                                                                      \
	        .setup = prepare,                                                                  \
	        .begin = start,                                                                    \
	        .actor = {__VA_ARGS__},                                                            \
	        .cpu = {0, POSTED_SENDER_CPU, POSTED_OTHER_CPU},                                   \
	        .preemptions = bound,                                                              \
	        .interrupts = true,                                                                \
	        .check = judge,                                                                    \
	}
#define TURN(id, what, prepare, ...)                                                               \
	SCENARIO(id, "posted: " what, 0, prepare, begin_one, check_taken, __VA_ARGS__)
#define SLEEP(id, what, prepare, ...)                                                              \
	SCENARIO(id, "posted: " what, 0, prepare, begin_one, check_awake, __VA_ARGS__)

TURN(race_posted_turn, "an IPI meets preemption", setup, preempted, posted_send_ipi);
TURN(race_posted_turn_device, "a device's interrupt meets preemption", setup, preempted,
     posted_send_device);
TURN(race_posted_turn_software, "software's interrupt meets preemption", setup, preempted,
     posted_send_software);
SCENARIO(race_posted_turn_two, "posted: a device's interrupt and software's meet preemption", 0,
         setup, begin_two, check_taken, preempted, posted_send_device, posted_send_software_too);
TURN(race_posted_turn_looks_first, "SN is cleared behind the last look at PIR", setup_looks_first,
     preempted, posted_send_ipi);
TURN(race_posted_turn_no_look, "SN is cleared, and nobody looks at PIR", setup_does_not_look,
     preempted, posted_send_device);
TURN(race_posted_turn_blind, "an entry without a look at ON", setup, preempted_never_looks,
     posted_send_ipi);
SCENARIO(race_posted_turn_on_last, "posted: ON is cleared behind the harvest", 0, setup, begin_two,
         check_taken, preempted_clears_on_last, posted_send_ipi, posted_send_device_too);
TURN(race_posted_move, "an IPI meets a move to another processor", setup_away, taker,
     posted_send_ipi, giver);
TURN(race_posted_move_device, "a device's interrupt meets a move to another processor", setup_away,
     taker, posted_send_device, giver);
TURN(race_posted_move_software, "software's interrupt meets a move to another processor",
     setup_away, taker, posted_send_software, giver);
TURN(race_posted_move_stays, "NDST stays behind when the vCPU moves", setup_stays, taker,
     posted_send_ipi, giver);

SLEEP(race_posted_sleep, "an IPI meets HLT and an idle processor", setup_halted, sleeper,
      posted_send_ipi);
SLEEP(race_posted_sleep_device, "a device's interrupt meets HLT and an idle processor",
      setup_halted, sleeper, posted_send_device);
SLEEP(race_posted_sleep_software, "software's interrupt meets HLT and an idle processor",
      setup_halted, sleeper, posted_send_software);
SLEEP(race_posted_sleep_marked, "an IPI meets HLT, and who sleeps is being looked at", setup_marked,
      sleeper, posted_send_ipi);
SCENARIO(race_posted_sleep_two, "posted: an IPI and software's interrupt meet HLT", 2, setup_halted,
         begin_two, check_awake, sleeper, posted_send_ipi, posted_send_software_too);
SLEEP(race_posted_sleep_list_last, "HLT: on the list behind the wakeup vector, still in time",
      setup_list_behind_vector, sleeper, posted_send_ipi);
SLEEP(race_posted_sleep_no_list, "HLT: the wakeup vector without the list", setup_no_list, sleeper,
      posted_send_ipi);
SLEEP(race_posted_sleep_arms_last, "HLT: the wakeup vector behind the last look at ON",
      setup_halted, sleeper_arms_last, posted_send_ipi);
SLEEP(race_posted_sleep_ignores_on, "HLT: the last look does not see ON", setup_halted,
      sleeper_ignores_on, posted_send_device);
SLEEP(race_posted_sleep_no_mark, "an idle processor's last look does not see the wakeup vector",
      setup_halted, sleeper_without_mark, posted_send_ipi);
SLEEP(race_posted_sleep_mark_last, "the wakeup vector is forgotten behind the look at who sleeps",
      setup_marked, sleeper_clears_mark_last, posted_send_ipi);

SCENARIO(race_posted_asleep,
         "posted: an IPI and software's interrupt meet two processors that idle", 1, setup_asleep,
         begin_asleep, check_runs, idles, send_ipi_and_software, idles);
