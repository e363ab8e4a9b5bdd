/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Deadline queues, one per physical processor: a sorted list, since a processor serves at most a
 * few dozen timers (one per vCPU, a few per platform device).
 *
 * A timer may be on another processor's queue when its owner re-arms it (the vCPU has moved). Only
 * that queue's lock guards the move; timer->queue is read without it and re-checked under it:
 *
 *      owner (timer_cancel)                processor that serves the queue (timer_run)
 *      --------------------                -----------------------------------------
 *      q = timer->queue                    lock q
 *      lock q                              unlink, timer->queue = NULL
 *      timer->queue still q? no: done      unlock q
 *      unlock q                            timer->fire(): re-checks its owner's deadline
 */
#include "core/timer.h"
#include "core/cpu.h"
#include "postern/port.h"

void timer_queue_init(struct timer_queue *queue)
{
	queue->head = NULL;
	atomic64_set(&queue->next_deadline, TSC_NEVER);
}

void timer_init(struct timer *timer, void (*fire)(struct timer *timer))
{
	timer->next = NULL;
	timer->deadline = TSC_NEVER;
	timer->fire = fire;
	ptr_set(&timer->queue, NULL);
}

/* The head may have changed: publish its deadline. Queue lock held. */
static void publish_head(struct timer_queue *queue)
{
	atomic64_set(&queue->next_deadline, queue->head ? queue->head->deadline : TSC_NEVER);
}

static void unlink_locked(struct timer_queue *queue, struct timer *timer)
{
	struct timer **link = &queue->head;

	while (*link != timer)
		link = &(*link)->next;
	*link = timer->next;
	timer->next = NULL;
	ptr_set(&timer->queue, NULL);
}

static void insert_locked(struct timer_queue *queue, struct timer *timer)
{
	struct timer **link = &queue->head;

	while (*link && (*link)->deadline <= timer->deadline)
		link = &(*link)->next;
	timer->next = *link;
	*link = timer;
	ptr_set(&timer->queue, queue);
}

void timer_cancel(struct timer *timer)
{
	struct timer_queue *queue = ptr_read(&timer->queue);

	if (!queue)
		return;
	spin_lock(&queue->lock);
	if (ptr_read(&timer->queue) == queue) {
		unlink_locked(queue, timer);
		publish_head(queue);
	}
	spin_unlock(&queue->lock);
}

void timer_arm(struct timer *timer, u64 deadline)
{
	struct timer_queue *queue = &this_cpu()->timers;

	timer_cancel(timer);
	if (deadline == TSC_NEVER)
		return;
	spin_lock(&queue->lock);
	timer->deadline = deadline;
	insert_locked(queue, timer);
	publish_head(queue);
	spin_unlock(&queue->lock);
}

/* Take one due timer off the queue, NULL if none is due. */
static struct timer *take_due(struct timer_queue *queue, u64 now)
{
	struct timer *timer;

	spin_lock(&queue->lock);
	timer = queue->head;
	if (timer && timer->deadline <= now) {
		unlink_locked(queue, timer);
		publish_head(queue);
	} else {
		timer = NULL;
	}
	spin_unlock(&queue->lock);
	return timer;
}

u64 timer_run(struct cpu *cpu, u64 now)
{
	struct timer_queue *queue = &cpu->timers;
	struct timer *timer;

	while (atomic64_read_relaxed(&queue->next_deadline) <= now) {
		timer = take_due(queue, now);
		if (!timer)
			break;
		timer->fire(timer);
	}
	return atomic64_read_relaxed(&queue->next_deadline);
}

/*
 * tsc = ns * khz / 10^6, split so that no intermediate overflows for deadlines up to some
 * centuries.
 */
u64 timer_ns_to_tsc(u64 ns)
{
	u64 khz = port_tsc_khz();
	u64 ms = ns / 1000000;
	u64 rest = ns % 1000000;

	if (ms > (TSC_NEVER - 1) / khz - 1)
		return TSC_NEVER - 1;
	return ms * khz + rest * khz / 1000000;
}

u64 timer_tsc_to_ns(u64 tsc)
{
	u64 khz = port_tsc_khz();
	u64 ms = tsc / khz;
	u64 rest = tsc % khz;

	return ms * 1000000 + rest * 1000000 / khz;
}
