/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where host programs look into the hypervisor's steps: before each atomic access and in each turn
 * of a wait. The two hooks are weak references. A program that links neither (a unit test) pays one
 * comparison; the host port defines both and hands them to the stepper or to the explorer.
 */
#ifndef POSIX_RACE_POINT_H
#define POSIX_RACE_POINT_H

enum race_kind {
	RACE_READ,
	RACE_WRITE,
	RACE_RMW,
	RACE_FENCE, /* addr is NULL */
};

void race_hook_point(const volatile void *addr, enum race_kind kind) __attribute__((weak));
void race_hook_relax(void) __attribute__((weak));

static inline void race_point(const volatile void *addr, enum race_kind kind)
{
	if (race_hook_point)
		race_hook_point(addr, kind);
}

static inline void race_relax(void)
{
	if (race_hook_relax)
		race_hook_relax();
}

#endif
