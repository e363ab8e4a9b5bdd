/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The run loop. One vCPU's turn on one processor:
 *
 *   requests -> timers -> interrupts -> force_immediate_exit -> interrupts blocked, last look at
 * the requests -> activation check -> enter -> interrupts open -> exit -> account
 *
 * There is no per-vCPU stack in the hypervisor: a turn is a function call that returns when the
 * vCPU blocks, its slice ends, or its VM does.
 */
#include "core/cpu.h"
#include "core/debug.h"
#include "core/machine.h"
#include "core/main.h"
#include "core/sched.h"
#include "irq/accel_check.h"
#include "irq/irq_window.h"
#include "postern/port.h"

/*
 * Enter the guest once. false: something came after it was prepared, and nothing was entered.
 * `chores`: they have just been done, so the physical timer may have to be set anew; what a handler has noted since for
 * others than this vCPU is a reason not to enter. `step`: for a debugger, core/debugger.h.
 *
 * force_immediate_exit lives here and nowhere else (requirement S4.1).
 */
static __inlined bool enter_as(struct cpu *cpu, struct vcpu *vcpu, bool chores, bool step)
{
	bool force_immediate_exit = step ? debugger_prepare(vcpu) : intr_prepare_entry(vcpu);
	u64 cr8 = lapic_cr8(vcpu);

	vcpu->regs.cr8 = cr8;
	if (chores)
		backend_op(pause_exits)(vcpu, port_machine()->pause_yield && sched_contended(cpu));

	backend_op(host_irqs_block)();
	/* Only now: a timer interrupt taken after it was found armed would leave none armed. */
	if (chores)
		sched_arm_timer(cpu);
	atomic32_set(&vcpu->mode, VCPU_IN_GUEST);
	smp_mb();
	if (atomic32_read(&vcpu->requests) ||
	    (chores ? !step && sched_is_told(cpu) : sched_has_chores(cpu)) ||
	    (accel_is_wrong(vcpu) && accel_last_look(vcpu))) {
		atomic32_set_release(&vcpu->mode, VCPU_OUTSIDE);
		backend_op(host_irqs_unblock)();
		return false;
	}
	backend_op(run)(vcpu, force_immediate_exit);
	atomic32_set_release(&vcpu->mode, VCPU_OUTSIDE);
	backend_op(host_irqs_unblock)();

	vcpu_count(vcpu, COUNTER_ENTRIES);
	if (force_immediate_exit)
		vcpu_count(vcpu, COUNTER_FORCED_EXITS);
	/* Where the processor keeps the page, it has done so already, and knows the subclass. */
	if (vcpu->regs.cr8 != cr8 && !accel_is_on(&vcpu->accel))
		lapic_set_cr8(vcpu, (u8)vcpu->regs.cr8);
	return true;
}

static __inlined bool enter(struct cpu *cpu, struct vcpu *vcpu, bool chores)
{
	return enter_as(cpu, vcpu, chores, false);
}

/* The physical timer, whose expiry may have to wait until the step has been done. */
static __noinline void step(struct cpu *cpu, struct vcpu *vcpu)
{
	bool on_entry = vcpu->lapic.timer_on_entry, entered;

	lapic_timer_on_entry(vcpu, false);
	entered = enter_as(cpu, vcpu, true, true);
	lapic_timer_on_entry(vcpu, on_entry);
	if (entered)
		exit_handle(vcpu);
	debugger_after(vcpu, entered);
}

/* The vCPU leaves for good: its VM has ended. */
static void retire(struct cpu *cpu, struct vcpu *vcpu)
{
	vcpu_count_n(vcpu, COUNTER_RUN_NS, timer_tsc_to_ns(port_tsc() - vcpu->state_since));
	/* What was injected and will not be delivered is not counted. */
	intr_before_switch(vcpu);
	irq_window_close(vcpu);
	accel_running(vcpu, NULL);
	if (cpu->loaded == vcpu)
		sched_unload(cpu);
	cpu->current = NULL;
	atomic32_set(&vcpu->sched_state, VCPU_DEAD);
	atomic32_fetch_sub(&vcpu->vm->live_vcpus, 1);
	cpu_kick(&port_machine()->cpu[0]);
}

/* Run-state of a vCPU that wants to run: true if it may enter the guest. */
static bool is_active(struct vcpu *vcpu)
{
	if (vcpu->activity == VCPU_HALTED && intr_has_deliverable(vcpu))
		vcpu->activity = VCPU_ACTIVE;
	return vcpu->activity == VCPU_ACTIVE;
}

static void note_first_entry(struct vm *vm)
{
	if (!atomic64_read_relaxed(&vm->first_entry))
		atomic64_cmpxchg(&vm->first_entry, 0, port_tsc());
}

/* What a processor does between any two things. Returns the time. */
static u64 run_chores(struct cpu *cpu)
{
	u64 now;

	/* Cleared first: an interrupt from here on brings us here again. */
	atomic32_set_relaxed(&cpu->interrupted, 0);
	now = port_tsc();
	timer_run(cpu, now);
	if (atomic32_read_relaxed(&cpu->wakeups))
		accel_wake(cpu);
	if (atomic32_read_relaxed(&cpu->devices))
		assigned_deliver(cpu);
	if (cpu->index == 0 && now >= main_housekeeping_due())
		main_housekeeping(now);
	return now;
}

/* A turn begins, or ends. The physical timer is armed before anybody else can take the vCPU. */
static void take_deadline_along(struct vcpu *vcpu, bool on)
{
	if (port_machine()->entry_timer)
		lapic_timer_on_entry(vcpu, on);
}

static void end_turn(struct cpu *cpu, struct vcpu *vcpu)
{
	intr_before_wait(vcpu);
	take_deadline_along(vcpu, false);
	sched_end_turn(cpu, vcpu);
}

/* Not inline, as wait_for_work(): the loop between exits keeps what it needs in registers. */
static __noinline void begin_turn(struct cpu *cpu, struct vcpu *vcpu)
{
	note_first_entry(vcpu->vm);
	sched_load(cpu, vcpu);
	accel_running(vcpu, cpu);
	take_deadline_along(vcpu, true);
}

/* true: it is blocked, and no longer the caller's. */
static __noinline bool wait_for_work(struct vcpu *vcpu)
{
	intr_before_wait(vcpu);
	take_deadline_along(vcpu, false);
	if (sched_block(vcpu))
		return true;
	take_deadline_along(vcpu, true);
	return false;
}

static void run_vcpu(struct cpu *cpu, struct vcpu *vcpu)
{
	bool chores = true;
	u64 now = 0;

	begin_turn(cpu, vcpu);
	for (;; chores = sched_has_chores(cpu)) {
		if (chores)
			now = run_chores(cpu);
		/* The end of the VM is a request, too. */
		if (chores || atomic32_read_relaxed(&vcpu->requests)) {
			vcpu_handle_requests(vcpu);
			if (vm_has_ended(vcpu->vm)) {
				retire(cpu, vcpu);
				return;
			}
		}
		if (!is_active(vcpu)) {
			if (debugger_steps(vcpu)) {
				step(cpu, vcpu);
				continue;
			}
			if (wait_for_work(vcpu))
				return;
			/* It goes on: enter() still has to do what belongs to these chores. */
			if (chores)
				cpu_kick(cpu);
			continue;
		}
		if (chores && sched_slice_over(cpu, now)) {
			end_turn(cpu, vcpu);
			return;
		}
		if (!enter(cpu, vcpu, chores))
			continue;
		if (exit_handle(vcpu) == EXIT_ACTION_YIELD && sched_contended(cpu)) {
			/* The guest's PAUSE did not reach the processor: say it in its place. */
			race_relax();
			end_turn(cpu, vcpu);
			return;
		}
	}
}

#define FLOOR_ROUNDS 1000

static void log_floor(struct cpu *cpu)
{
	port_log("floor: %u bare world switches in %llu TSC ticks", FLOOR_ROUNDS,
	         (unsigned long long)backend_op(floor)(cpu, FLOOR_ROUNDS));
}

void cpu_main(struct cpu *cpu)
{
	struct machine *machine = port_machine();
	bool runs_vcpus = cpu->index >= machine->first_cpu;

	if (runs_vcpus && !backend_op(cpu_init)(cpu))
		port_panic("cpu %u: virtualization cannot be enabled", cpu->index);
	if (machine->floor && cpu->index == machine->first_cpu)
		log_floor(cpu);
	atomic32_set(&cpu->online, 1);
	while (!atomic32_read(&machine->stopping)) {
		struct vcpu *vcpu = runs_vcpus ? sched_pick(cpu) : NULL;

		if (vcpu) {
			run_vcpu(cpu, vcpu);
			continue;
		}
		run_chores(cpu);
		if (!atomic32_read(&machine->stopping))
			sched_idle(cpu);
	}
	sched_unload(cpu);
	port_timer_arm(TSC_NEVER);
	if (runs_vcpus)
		backend_op(cpu_exit)(cpu);
	atomic32_set(&cpu->online, 0);
}

void cpu_handle_interrupt(struct cpu *cpu, u8 vector)
{
	switch (vector) {
	case CPU_VECTOR_DOORBELL:
	case CPU_VECTOR_NOTIFY:
		return;
	case CPU_VECTOR_TIMER:
		counter_add(&cpu->ticks, 1);
		if (debug_loses_tick(cpu))
			return;
		/* The one-shot timer has fired: the next sched_arm_timer() must program it again. */
		cpu->armed_deadline = TSC_NEVER;
		break;
	case CPU_VECTOR_WAKEUP:
		atomic32_set_relaxed(&cpu->wakeups, 1);
		break;
	case CPU_VECTOR_DEVICE ... CPU_VECTOR_DEVICE_LAST:
		atomic32_fetch_or(&cpu->devices, BIT(vector - CPU_VECTOR_DEVICE));
		break;
	default:
		break;
	}
	atomic32_set_relaxed(&cpu->interrupted, 1);
}

void cpu_kick(struct cpu *cpu)
{
	if (cpu != this_cpu())
		port_send_ipi(cpu->apic_id, CPU_VECTOR_KICK);
	else
		atomic32_set_relaxed(&cpu->interrupted, 1);
}
