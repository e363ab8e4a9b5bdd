/* SPDX-License-Identifier: BSD-2-Clause */
/* The state in which a PC's firmware hands the machine over, for guests that count on it. */
#ifndef PLATFORM_POST_H
#define PLATFORM_POST_H

#include "postern/types.h"

struct vm;

/*
 * Real-mode interrupt vectors with handlers, the 8259 pair at 08h and 70h with the timer's line
 * open, 18.2 ticks a second, virtual-wire mode. After platform_create(), before vm_start(). false:
 * no memory where they go.
 */
bool post_leave_state(struct vm *vm);

#endif
