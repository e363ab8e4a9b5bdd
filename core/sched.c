/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The scheduler. Locks: one run-queue lock at a time, innermost but for nothing; see
 * docs/locking.md. States and hand-over: core/sched.h.
 */
#include "core/sched.h"
#include "core/machine.h"
#include "core/main.h"
#include "postern/port.h"

/* --- run queues --- */

/* true: nothing else was in it. */
static bool queue_append(struct run_queue *rq, struct vcpu *vcpu)
{
	bool first;

	spin_lock(&rq->lock);
	vcpu->rq_next = NULL;
	if (rq->tail)
		rq->tail->rq_next = vcpu;
	else
		rq->head = vcpu;
	rq->tail = vcpu;
	first = !atomic32_fetch_add(&rq->length, 1);
	spin_unlock(&rq->lock);
	return first;
}

/*
 * First vCPU of `rq` that `cpu` may run: one that is loaded elsewhere is left to its processor. `cpu` may
 * be another one than this (balance()), and unload meanwhile: then too it may run the vCPU.
 */
static struct vcpu *queue_take(struct run_queue *rq, struct cpu *cpu)
{
	struct vcpu *previous = NULL;
	struct vcpu *vcpu;

	if (!atomic32_read(&rq->length))
		return NULL;
	spin_lock(&rq->lock);
	for (vcpu = rq->head; vcpu; previous = vcpu, vcpu = vcpu->rq_next)
		if (ptr_read(&cpu->loaded) == vcpu || !atomic32_read_acquire(&vcpu->on_cpu))
			break;
	if (vcpu) {
		if (previous)
			previous->rq_next = vcpu->rq_next;
		else
			rq->head = vcpu->rq_next;
		if (rq->tail == vcpu)
			rq->tail = previous;
		vcpu->rq_next = NULL;
		atomic32_fetch_sub(&rq->length, 1);
	}
	spin_unlock(&rq->lock);
	return vcpu;
}

static struct vcpu *steal(struct cpu *cpu)
{
	struct machine *machine = port_machine();

	for (u32 i = 1; i < machine->cpu_count; i++) {
		struct cpu *other = &machine->cpu[(cpu->index + i) % machine->cpu_count];
		/* A processor that runs no vCPU has an empty queue. */
		struct vcpu *vcpu = queue_take(&other->rq, cpu);

		if (vcpu)
			return vcpu;
	}
	return NULL;
}

struct vcpu *sched_pick(struct cpu *cpu)
{
	struct vcpu *vcpu = queue_take(&cpu->rq, cpu);
	u64 now = port_tsc();

	if (!vcpu)
		vcpu = steal(cpu);
	if (!vcpu)
		return NULL;
	vcpu_count_n(vcpu, COUNTER_WAIT_NS, timer_tsc_to_ns(now - vcpu->state_since));
	vcpu->state_since = now;
	if (ptr_read(&vcpu->cpu) != cpu) {
		ptr_set(&vcpu->cpu, cpu);
		vcpu_count(vcpu, COUNTER_MIGRATIONS);
	}
	atomic32_set(&vcpu->sched_state, VCPU_RUNNING);
	cpu->current = vcpu;
	cpu->slice_end = now + port_machine()->slice_tsc;
	return vcpu;
}

/* How many vCPUs a processor has on its hands. A hint: it may change at any time. */
static u32 load(struct cpu *cpu)
{
	return atomic32_read(&cpu->rq.length) + !atomic32_read(&cpu->idle);
}

static struct cpu *least_loaded(struct cpu *best)
{
	struct machine *machine = port_machine();

	for (u32 i = machine->first_cpu; i < machine->cpu_count; i++)
		if (load(&machine->cpu[i]) < load(best))
			best = &machine->cpu[i];
	return best;
}

/*
 * Where a runnable vCPU should wait: on its last processor while it is still loaded there; else on
 * the one with the least to do, on the last one if that is as good.
 */
static struct cpu *place(struct vcpu *vcpu)
{
	struct cpu *last = ptr_read(&vcpu->cpu);

	return atomic32_read_acquire(&vcpu->on_cpu) ? last : least_loaded(last);
}

static void enqueue_at(struct cpu *cpu, struct vcpu *vcpu)
{
	bool first = queue_append(&cpu->rq, vcpu);

	/*
	 * The append is before, the read of idle after a full barrier (the atomics themselves). An idle
	 * processor must wake; one that ran alone had no end to its turn and must start its slice. Who has
	 * appended first says so, whatever the length is by now: of two that look at it behind their
	 * appends each may find the other's there, too.
	 */
	if (first || atomic32_read(&cpu->idle))
		cpu_kick(cpu);
}

void sched_enqueue(struct vcpu *vcpu)
{
	enqueue_at(place(vcpu), vcpu);
}

/*
 * Processors that all have something to do steal nothing. One that has two more than another gives it
 * one that waits; never the one that is still loaded here, of which the other would not be told.
 */
static void balance(struct cpu *cpu)
{
	struct cpu *best = least_loaded(cpu);
	struct vcpu *vcpu;

	/* This one runs none just now: all that it has wait. */
	if (best == cpu || load(best) + 1 >= atomic32_read(&cpu->rq.length))
		return;
	vcpu = queue_take(&cpu->rq, best);
	if (vcpu)
		enqueue_at(best, vcpu);
}

/* --- turns --- */

void sched_end_turn(struct cpu *cpu, struct vcpu *vcpu)
{
	u64 now = port_tsc();

	vcpu_count_n(vcpu, COUNTER_RUN_NS, timer_tsc_to_ns(now - vcpu->state_since));
	vcpu_count(vcpu, COUNTER_PREEMPTED);
	vcpu->state_since = now;
	cpu->current = NULL;
	accel_running(vcpu, NULL);
	atomic32_set(&vcpu->sched_state, VCPU_RUNNABLE);
	queue_append(&cpu->rq, vcpu);
	balance(cpu);
}

bool sched_slice_over(struct cpu *cpu, u64 now)
{
	return sched_contended(cpu) && now >= cpu->slice_end;
}

/* --- blocking and waking --- */

void sched_block_publish(struct vcpu *vcpu)
{
	atomic32_xchg(&vcpu->sched_state, VCPU_BLOCKED);
}

/*
 * The look may collect what has been posted (irq/lapic_accel.c), though a waker may have the vCPU on a queue by now: it is
 * still loaded here, so nobody else runs it. What is posted behind that finds ON clear, and wakes it.
 */
bool sched_block_recheck(struct vcpu *vcpu)
{
	return vcpu_has_work(vcpu) &&
	       atomic32_cmpxchg(&vcpu->sched_state, VCPU_BLOCKED, VCPU_RUNNING);
}

bool sched_block(struct vcpu *vcpu)
{
	struct cpu *cpu = this_cpu();
	u64 now = port_tsc();

	vcpu_count_n(vcpu, COUNTER_RUN_NS, timer_tsc_to_ns(now - vcpu->state_since));
	vcpu->state_since = now;
	/*
	 * From the publication on a waker may hand the vCPU to a queue: nothing of it is touched, but by the
	 * recheck.
	 */
	cpu->current = NULL;
	accel_sleeps(vcpu);
	sched_block_publish(vcpu);
	if (sched_block_recheck(vcpu)) {
		cpu->current = vcpu;
		accel_running(vcpu, cpu);
		return false;
	}
	return true;
}

bool sched_wake(struct vcpu *vcpu)
{
	u64 now;

	if (atomic32_read(&vcpu->sched_state) != VCPU_BLOCKED ||
	    !atomic32_cmpxchg(&vcpu->sched_state, VCPU_BLOCKED, VCPU_RUNNABLE))
		return false;
	/* The winner of the exchange owns the vCPU until it is on a queue. */
	now = port_tsc();
	if (vcpu->activity == VCPU_HALTED)
		vcpu_count_n(vcpu, COUNTER_HLT_NS, timer_tsc_to_ns(now - vcpu->state_since));
	vcpu_count(vcpu, COUNTER_WAKEUPS);
	vcpu->state_since = now;
	sched_enqueue(vcpu);
	return true;
}

/* --- loading --- */

void sched_unload(struct cpu *cpu)
{
	struct vcpu *vcpu = cpu->loaded;

	if (!vcpu)
		return;
	backend_op(vcpu_put)(vcpu);
	ptr_set(&cpu->loaded, NULL);
	atomic32_set_release(&vcpu->on_cpu, 0);
}

void sched_load(struct cpu *cpu, struct vcpu *vcpu)
{
	if (cpu->loaded == vcpu)
		return;
	sched_unload(cpu);
	ASSERT(!atomic32_xchg(&vcpu->on_cpu, 1));
	ptr_set(&cpu->loaded, vcpu);
	backend_op(vcpu_load)(vcpu, cpu);
}

/* --- idling --- */

void sched_arm_timer(struct cpu *cpu)
{
	u64 deadline = atomic64_read_relaxed(&cpu->timers.next_deadline);

	cpu->armed_timers = deadline;
	if (cpu->current && sched_contended(cpu))
		deadline = min_u64(deadline, cpu->slice_end);
	if (cpu->index == 0)
		deadline = min_u64(deadline, main_housekeeping_due());
	if (deadline != cpu->armed_deadline) {
		cpu->armed_deadline = deadline;
		port_timer_arm(deadline);
	}
}

static bool idle_has_work(struct cpu *cpu)
{
	struct machine *machine = port_machine();

	if (atomic32_read(&machine->stopping) || atomic32_read(&cpu->rq.length) ||
	    sched_is_told(cpu))
		return true;
	return atomic64_read_relaxed(&cpu->timers.next_deadline) <= port_tsc();
}

void sched_idle(struct cpu *cpu)
{
	atomic32_set(&cpu->idle, 1);
	/* Published first, looked second: whoever enqueues after the look sends the IPI. */
	port_irqs_block();
	sched_arm_timer(cpu);
	if (idle_has_work(cpu))
		port_irqs_unblock();
	else
		port_idle();
	atomic32_set(&cpu->idle, 0);
}
