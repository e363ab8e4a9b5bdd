/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Threads mode: each processor is a thread, time is real. A processor that idles waits on a
 * condition variable until its physical APIC has something or its timer is due. Failures abort the
 * program: there is no way back out of other threads.
 */
#define _GNU_SOURCE
#include "posix.h"
#include "core/main.h"
#include "cpu_model/model.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define TICKS_PER_US (POSIX_TSC_KHZ / 1000)
/* Look again at least so often: a guest's timer may have been armed by nobody's wake-up. */
#define IDLE_LIMIT_NS 50000000ull

static struct {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
} waiting[POSIX_MAX_CPUS];

u64 posix_real_tsc(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (u64)now.tv_sec * POSIX_TSC_KHZ * 1000 + (u64)now.tv_nsec * TICKS_PER_US / 1000;
}

static struct timespec from_tsc(u64 tsc)
{
	u64 second = POSIX_TSC_KHZ * 1000;

	return (struct timespec){.tv_sec = (time_t)(tsc / second),
	                         .tv_nsec = (long)(tsc % second * 1000 / TICKS_PER_US)};
}

void posix_threads_wake(struct model_cpu *target)
{
	pthread_mutex_lock(&waiting[target->index].lock);
	pthread_cond_signal(&waiting[target->index].wake);
	pthread_mutex_unlock(&waiting[target->index].lock);
}

void posix_threads_idle(struct model_cpu *cpu)
{
	u32 i = cpu->index;

	pthread_mutex_lock(&waiting[i].lock);
	while (model_apic_pending(cpu) < 0) {
		u64 limit = posix_real_tsc() + IDLE_LIMIT_NS * TICKS_PER_US / 1000;
		struct timespec until = from_tsc(min_u64(cpu->timer_deadline, limit));

		pthread_cond_timedwait(&waiting[i].wake, &waiting[i].lock, &until);
	}
	pthread_mutex_unlock(&waiting[i].lock);
}

static void *processor(void *arg)
{
	struct model_cpu *cpu = arg;

	posix_set_current(cpu);
	if (cpu->index == 0 && posix.config.boot)
		posix.config.boot();
	else
		cpu_main(cpu->cpu);
	return NULL;
}

static void start(u32 i)
{
	if (pthread_create(&waiting[i].thread, NULL, processor, &model()->cpu[i]) != 0)
		abort();
}

void posix_threads_release(void)
{
	for (u32 i = 1; i < model()->cpu_count; i++)
		start(i);
}

static void join(u32 i, const struct timespec *until)
{
	int error = pthread_timedjoin_np(waiting[i].thread, NULL, until);

	if (error == ETIMEDOUT) {
		fprintf(stderr, "processor %u has not come back in time\n", i);
		abort();
	}
}

bool posix_run_threads(u32 timeout_ms)
{
	pthread_condattr_t attr;
	struct timespec until;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	for (u32 i = 0; i < model()->cpu_count; i++) {
		pthread_mutex_init(&waiting[i].lock, NULL);
		pthread_cond_init(&waiting[i].wake, &attr);
	}
	posix.mode = POSIX_THREADS;
	start(0);
	if (!posix.config.boot)
		posix_threads_release();
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += timeout_ms / 1000 + 1;
	for (u32 i = 0; i < model()->cpu_count; i++)
		join(i, &until);
	posix.mode = POSIX_OUTSIDE;
	return !posix.failed;
}
