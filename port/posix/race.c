/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What happens before each atomic access and in each turn of a wait, by mode. In every mode but the
 * explorer's a physical interrupt may come here: between any two steps of the hypervisor, as on
 * metal.
 */
#include "posix.h"
#include "cpu_model/model.h"

#include <sched.h>

#define STEP_COST 10 /* virtual ticks of an atomic access */

/* The hooks of a processor's own code: not of a handler's, nor of a script's. */
static struct model_cpu *stepping(void)
{
	struct model_cpu *cpu = posix_current();

	if (!cpu || cpu->in_handler || posix.mode == POSIX_OUTSIDE)
		return NULL;
	if (posix.mode == POSIX_STEPPER && coro_self() != &posix.cpu_coro[cpu->index])
		return NULL;
	return cpu;
}

void race_hook_point(const volatile void *addr, enum race_kind kind)
{
	struct model_cpu *cpu;

	if (posix.mode == POSIX_EXPLORER) {
		posix.explorer_point(addr, kind);
		return;
	}
	cpu = stepping();
	if (!cpu)
		return;
	/* Time passes everywhere, so that a timer may expire between any two steps. */
	if (posix.mode == POSIX_STEPPER)
		posix.tsc += STEP_COST;
	model_take_interrupts(cpu);
	if (posix.mode == POSIX_STEPPER && posix.config.switch_ppm &&
	    posix_random() % 1000000 < posix.config.switch_ppm)
		posix_yield();
}

void race_hook_relax(void)
{
	struct model_cpu *cpu;

	if (posix.mode == POSIX_EXPLORER) {
		posix.explorer_relax();
		return;
	}
	cpu = stepping();
	if (cpu)
		model_take_interrupts(cpu);
	if (posix.mode == POSIX_THREADS)
		sched_yield();
	else
		posix_yield();
}
