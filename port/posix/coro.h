/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Coroutines: a stack each, one runs at a time per thread, switched by name. AddressSanitizer is
 * told about every switch. A coroutine that is no longer wanted is simply never switched to again;
 * its stack may be given to a new one.
 */
#ifndef POSIX_CORO_H
#define POSIX_CORO_H

#include "postern/types.h"

struct coro {
	void *sp;
	void *stack; /* lowest address */
	size_t size;
	void (*fn)(void *arg); /* must not return: its last act is a switch */
	void *arg;
	void *fake_stack; /* AddressSanitizer's */
};

/* The coroutine that the caller is; a thread's first stack is one, too. */
struct coro *coro_self(void);
void coro_init(struct coro *co, void *stack, size_t size, void (*fn)(void *arg), void *arg);
/* Suspend the caller and continue `to`. Returns when somebody continues the caller. */
void coro_switch(struct coro *to);

#endif
