/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The deterministic stepper: one thread, a coroutine for each processor, virtual time. Whose turn
 * is next comes from the seed. When all processors sleep, time jumps to the next physical timer;
 * when none is armed either, nothing can ever happen again, which is a failure.
 */
#include "posix.h"
#include "core/main.h"
#include "cpu_model/model.h"

#define GUEST_STEP_COST                                                                            \
	400 /* virtual ticks of a guest instruction, its share of exits included                   \
	     */

static char stacks[POSIX_MAX_CPUS][POSIX_CPU_STACK] __aligned(64);

static void processor(void *arg)
{
	struct model_cpu *cpu = arg;

	if (cpu->index == 0 && posix.config.boot)
		posix.config.boot();
	else
		cpu_main(cpu->cpu);
	posix.cpu_done[cpu->index] = true;
	coro_switch(posix.main);
}

static bool can_step(struct model_cpu *cpu)
{
	if (posix.cpu_done[cpu->index] || (cpu->index && !posix.released))
		return false;
	return !posix.cpu_idle[cpu->index] || model_apic_pending(cpu) >= 0;
}

/* A processor that can step, from a random one on; NULL: none. */
static struct model_cpu *pick(void)
{
	u32 count = model()->cpu_count;
	u32 first = posix_random() % count;

	for (u32 i = 0; i < count; i++) {
		struct model_cpu *cpu = &model()->cpu[(first + i) % count];

		if (can_step(cpu))
			return cpu;
	}
	return NULL;
}

static bool all_done(void)
{
	for (u32 i = 0; i < model()->cpu_count; i++)
		if (!posix.cpu_done[i])
			return false;
	return true;
}

/* Time goes on to the earliest timer. false: there is none. */
static bool jump(void)
{
	u64 deadline = TSC_NEVER;

	for (u32 i = 0; i < model()->cpu_count; i++)
		if (!posix.cpu_done[i])
			deadline = min_u64(deadline, model()->cpu[i].timer_deadline);
	if (deadline == TSC_NEVER)
		return false;
	posix.tsc = max_u64(posix.tsc, deadline);
	return true;
}

static void step_all(void)
{
	while (!posix.failed && !all_done()) {
		struct model_cpu *cpu = pick();

		if (!cpu) {
			if (jump())
				continue;
			posix.failed = true;
			__builtin_strcpy(posix.failure,
			                 "deadlock: every processor sleeps and no timer is armed");
			return;
		}
		posix.cpu_idle[cpu->index] = false;
		posix_set_current(cpu);
		coro_switch(&posix.cpu_coro[cpu->index]);
	}
}

bool posix_run_stepper(void)
{
	posix.mode = POSIX_STEPPER;
	posix.main = coro_self();
	posix.released = !posix.config.boot;
	for (u32 i = 0; i < model()->cpu_count; i++)
		coro_init(&posix.cpu_coro[i], stacks[i], POSIX_CPU_STACK, processor,
		          &model()->cpu[i]);
	step_all();
	posix.mode = POSIX_OUTSIDE;
	posix_set_current(&model()->cpu[0]);
	return !posix.failed;
}

void posix_yield(void)
{
	if (posix.mode != POSIX_STEPPER)
		return;
	if (++posix.steps > posix.config.max_steps)
		posix_fail("%llu steps and no end: something hangs",
		           (unsigned long long)posix.steps);
	if (model()->cpu_count > 1)
		coro_switch(posix.main);
}

void model_elapse(struct model_cpu *cpu)
{
	if (posix.mode == POSIX_THREADS)
		return;
	posix.tsc += GUEST_STEP_COST;
	if (posix.mode == POSIX_EXPLORER)
		posix_explorer_elapse(cpu);
	posix_yield();
}

void posix_stepper_idle(struct model_cpu *cpu)
{
	posix.cpu_idle[cpu->index] = true;
	coro_switch(posix.main);
}
