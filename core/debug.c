/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The three ways to a panic: a check in the code (port_panic), an exception on the stack in use, and
 * an exception that finds no stack and so becomes a double fault, on a stack of its own. And timer
 * interrupts that do not come, as on an emulator that loses them.
 */
#include "core/debug.h"
#include "core/machine.h"
#include "postern/port.h"

/* Canonical and far above all memory: no port maps it. */
#define DEBUG_UNMAPPED 0x7ffffffff000ull

static __attribute__((noinline)) void debug_assertion(void)
{
	port_panic("asked for by debug.panic");
}

static __attribute__((noinline)) void debug_fault(void)
{
	(void)*(const volatile u8 *)DEBUG_UNMAPPED;
}

/* What it adds up keeps the compiler from turning it into a loop, or taking it for endless. */
static __attribute__((noinline)) u64 debug_stack(const volatile u64 *above)
{
	volatile u64 here[32] = {0};

	if (*above)
		return *above;
	return debug_stack(here) + here[1];
}

void debug_panic(enum setting_debug_panic how)
{
	const volatile u64 bottom = 0;

	switch (how) {
	case DEBUG_PANIC_ASSERTION:
		debug_assertion();
		break;
	case DEBUG_PANIC_FAULT:
		debug_fault();
		break;
	case DEBUG_PANIC_STACK:
		debug_stack(&bottom);
		break;
	case DEBUG_PANIC_OFF:
		break;
	}
}

bool debug_loses_tick(const struct cpu *cpu)
{
	u32 n = port_machine()->debug_lose_ticks;

	return n && counter_read(&cpu->ticks) % n == 0;
}
