/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Instructions of a function, counted: each that is executed under the trap flag is a SIGTRAP. The same call for all, so
 * that what is around them is that of a function that does nothing.
 */
#ifndef BENCH_TRAP_H
#define BENCH_TRAP_H

#include <signal.h>

#include "postern/types.h"

#define TRAP_STACK  (64u << 10)
#define TRAP_RFLAGS "0x100"

static volatile u64 trap_steps;

static void trap_on_step(int signal __unused)
{
	trap_steps++;
}

/* On a stack of its own. false: errno says why. */
static bool trap_begin(void)
{
	static char stack[TRAP_STACK];
	stack_t alternate = {.ss_sp = stack, .ss_size = sizeof(stack)};
	struct sigaction action = {.sa_handler = trap_on_step, .sa_flags = SA_ONSTACK};

	return !sigaltstack(&alternate, NULL) && !sigaction(SIGTRAP, &action, NULL);
}

static __noinline u64 trap_count(void (*act)(u32 index), u32 index)
{
	trap_steps = 0;
	__asm__ volatile("pushfq; orq $" TRAP_RFLAGS ", (%%rsp); popfq" ::: "cc", "memory");
	act(index);
	__asm__ volatile("pushfq; andq $~" TRAP_RFLAGS ", (%%rsp); popfq" ::: "cc", "memory");
	return trap_steps;
}

#endif
