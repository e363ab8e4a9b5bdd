/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Deadlines in TSC units, kept per physical processor and served by its run loop (never from an
 * interrupt handler: the physical timer's handler only makes the guest exit).
 *
 * A timer is a hint: fire() re-checks, under its owner's own lock, that the deadline it was armed
 * for still stands. So cancelling never has to wait for a fire() that is already under way.
 */
#ifndef CORE_TIMER_H
#define CORE_TIMER_H

#include "postern/sync.h"

struct cpu;
struct timer_queue;

struct timer {
	struct timer *next;        /* [queue->lock] by deadline */
	struct timer_queue *queue; /* [atomic] the queue it is on, NULL: idle */
	u64 deadline;              /* [queue->lock] */
	/* (i) Called on the processor that serves the queue, interrupts open, no locks held. */
	void (*fire)(struct timer *timer);
};

struct timer_queue {
	struct spinlock lock;          /* protects the list; innermost, see docs/locking.md */
	struct timer *head;            /* [lock] */
	struct atomic64 next_deadline; /* [lock] to write; TSC_NEVER when empty */
};

void timer_queue_init(struct timer_queue *queue);
void timer_init(struct timer *timer, void (*fire)(struct timer *timer));

/*
 * Arm (or re-arm) `timer` on the calling processor's queue. TSC_NEVER cancels. Callers serialise
 * arm and cancel of one timer among themselves (the vCPU that owns it, or its device's lock).
 */
void timer_arm(struct timer *timer, u64 deadline);
void timer_cancel(struct timer *timer);

/* Fire what is due on the calling processor; returns the next deadline, TSC_NEVER if none. */
u64 timer_run(struct cpu *cpu, u64 now);

/* Unit conversions; `tsc` differences below 2^63. */
u64 timer_ns_to_tsc(u64 ns);
u64 timer_tsc_to_ns(u64 tsc);

#endif
