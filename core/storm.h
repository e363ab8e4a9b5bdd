/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A reason to inhibit hardware delivery that means nothing and comes and goes all the time, so that the
 * switch can be seen to lose nothing while a guest works: `inhibit-storm`.
 */
#ifndef CORE_STORM_H
#define CORE_STORM_H

#include "core/timer.h"

struct vm;

/* The boot processor's, between turns. */
struct storm {
	struct timer timer;
	u64 half;     /* TSC ticks between setting and clearing; 0: calm */
	u64 deadline; /* when the next change was to be: `timer` may be armed for later */
	bool stands;
};

/* Before storm_set(). */
void storm_init(struct vm *vm);
/*
 * Set and clear STORM `rate` times a second from now on, 0: no more, and it does not stand. Boot
 * processor, outside of any guest, no locks held. Ends by itself with the VM.
 */
void storm_set(struct vm *vm, u32 rate);
/* Before the VM's memory is freed; no processor serves its timers. */
void storm_destroy(struct vm *vm);

#endif
