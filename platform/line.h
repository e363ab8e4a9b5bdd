/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A device's interrupt line. The level follows from state under the device's lock, but
 * irq_set_line() is called with no lock held; without care two processors could then apply their
 * levels in the wrong order, or swallow the pulse that an edge-triggered input waits for:
 *
 *      CPU 0                              CPU 1
 *      -----                              -----
 *      lock; level is 1; unlock
 *                                         lock; level is 0; unlock
 *                                         irq_set_line(0)
 *      irq_set_line(1)          <- the line stays up for ever
 *
 * So one processor at a time applies levels (`busy`); the others leave their wish and go. A line
 * that was down in between is seen to go down.
 */
#ifndef PLATFORM_LINE_H
#define PLATFORM_LINE_H

#include "postern/sync.h"

struct vm;

struct irq_line {
	struct vm *vm; /* (i) */
	u32 gsi;       /* (i) */
	/* All [the device's lock]. */
	bool wanted;  /* level by the device's state */
	bool applied; /* level last given to irq_set_line() */
	bool dropped; /* was wanted low since then */
	bool busy;    /* somebody applies */
};

void line_init(struct irq_line *line, struct vm *vm, u32 gsi);

/* Set the level that the device wants. Device's lock held. */
void line_want(struct irq_line *line, bool level);

/*
 * Bring the line to what is wanted and release the device's lock. A guest that changes the state
 * faster than lines can follow must not keep us here: the loop is bounded, and what is left over
 * is applied by the next call (line_is_settled() tells a poll whether there is one to make).
 */
void line_unlock(struct irq_line *line, struct spinlock *lock);

/* Device's lock held. Pure. */
bool line_is_settled(const struct irq_line *line);

#endif
