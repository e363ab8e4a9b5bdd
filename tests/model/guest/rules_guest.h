/* SPDX-License-Identifier: BSD-2-Clause */
/* Rules on the processor model: the scripted guest's operations are what they are written in. */
#ifndef TESTS_MODEL_RULES_GUEST_H
#define TESTS_MODEL_RULES_GUEST_H

#include "tests/model/harness.h"

#include "irq/ioapic.h"
#include "platform/testdev.h"

/* Time is exact: it runs with the guest's instructions and stands still between them. */
static inline bool rules_exact(void)
{
	return true;
}

/* Guest TSC that passes in so many nanoseconds: no less than it, no more than it. */
static inline u64 rules_tsc_at_least(u64 ns)
{
	return ns * (POSIX_TSC_KHZ / 1000000);
}

static inline u64 rules_tsc_at_most(u64 ns)
{
	return ns * (POSIX_TSC_KHZ / 1000000);
}

/* Of so many ticks of the 8254. */
static inline u64 rules_tsc_of_ticks(u64 ticks)
{
	return ticks * (POSIX_TSC_KHZ * 1000) / PIT_HZ;
}

/* Counts of the 8254 are this much longer than those that the rules name, ... */
#define RULES_TICKS_SCALE 1
/* ... and what a few instructions take, in ticks. */
#define RULES_TICKS_SLACK 6

/* Sleep with interrupts on until one has come, or none is lost on the way. */
static inline void rules_wait(void)
{
	g_sti();
	g_hlt();
	g_cli();
}

/* Interrupts on for a few instructions. */
static inline void rules_window(void)
{
	g_sti();
	for (u32 i = 0; i < 8; i++)
		g_nop();
	g_cli();
}

#endif
