/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who runs where. Round robin on per-processor queues; a processor that runs dry takes from the
 * others; a woken vCPU goes to the one with the least to do, where it ran last if that is as good.
 *
 * A vCPU that stopped running stays loaded (its FPU and back-end state in the processor, on_cpu
 * set) until that processor loads another, so that HLT and wake-up on one processor move nothing.
 * While on_cpu is set only that processor may run it.
 */
#ifndef CORE_SCHED_H
#define CORE_SCHED_H

#include "core/cpu.h"

struct vcpu;
struct vm;

/* Next vCPU for `cpu` (its own queue, else another's), now VCPU_RUNNING and current; NULL: none. */
struct vcpu *sched_pick(struct cpu *cpu);

/* Sleep until an interrupt, unless there is work. Own processor, interrupts open, no locks. */
void sched_idle(struct cpu *cpu);

/* Put a vCPU on the queue of the processor that suits, and wake that one. Any processor. */
void sched_enqueue(struct vcpu *vcpu);

/* The turn is over: to the end of the own queue. Own processor. */
void sched_end_turn(struct cpu *cpu, struct vcpu *vcpu);

/* Others wait for this processor and the turn has lasted its slice. */
bool sched_slice_over(struct cpu *cpu, u64 now);

/*
 * The vCPU has nothing to do. true: it is blocked and no longer the caller's; false: work came in
 * the meantime, it still runs. In two steps, whose order is what makes it safe:
 *
 *      sleeper (own processor)             waker (any processor)
 *      -----------------------             ---------------------
 *      sched_block_publish:                set IRR bit, set request
 *        state = BLOCKED                   full barrier (the atomic OR)
 *        full barrier (the exchange)       state BLOCKED -> RUNNABLE? then enqueue
 *      sched_block_recheck:
 *        work? then BLOCKED -> RUNNING
 *
 * Whoever comes second sees the other's store; the compare-and-exchange makes sure that only one of
 * the two acts. Checking first and publishing afterwards loses the wake-up between the two.
 */
bool sched_block(struct vcpu *vcpu);
void sched_block_publish(struct vcpu *vcpu);
bool sched_block_recheck(struct vcpu *vcpu);

/* Wake a blocked vCPU; does nothing for others. Any processor. true: it was blocked. */
bool sched_wake(struct vcpu *vcpu);

/* Load `vcpu` on `cpu` unless it is; unload what is loaded there. Own processor. */
void sched_load(struct cpu *cpu, struct vcpu *vcpu);
void sched_unload(struct cpu *cpu);

/*
 * Between two entries of the same vCPU there is nothing to look at but its requests, unless a physical
 * interrupt was taken (the timer's, or a kick: something was queued here) or a timer has come first.
 */
static inline bool sched_has_chores(const struct cpu *cpu)
{
	return atomic32_read_relaxed(&cpu->interrupted) ||
	       atomic64_read_relaxed(&cpu->timers.next_deadline) != cpu->armed_timers;
}

/* An interrupt has come that says something of others than the vCPU that runs here, and nobody has seen to it yet. */
static inline bool sched_is_told(const struct cpu *cpu)
{
	return atomic32_read_relaxed(&cpu->wakeups) || atomic32_read_relaxed(&cpu->devices);
}

/* Set the physical timer for the earliest of slice end, timers and housekeeping. Own processor. */
void sched_arm_timer(struct cpu *cpu);

/* Others wait for this processor. */
static inline bool sched_contended(struct cpu *cpu)
{
	return atomic32_read_relaxed(&cpu->rq.length) != 0;
}

#endif
