/* SPDX-License-Identifier: BSD-2-Clause */
/* Ordering of a device's interrupt levels: the rules are in line.h. */
#include "platform/line.h"

#include "irq/route.h"

#define LINE_ROUNDS 16

void line_init(struct irq_line *line, struct vm *vm, u32 gsi)
{
	*line = (struct irq_line){.vm = vm, .gsi = gsi};
}

void line_want(struct irq_line *line, bool level)
{
	if (!level && line->applied)
		line->dropped = true;
	line->wanted = level;
}

bool line_is_settled(const struct irq_line *line)
{
	return line->busy || (line->applied == line->wanted && !line->dropped);
}

void line_unlock(struct irq_line *line, struct spinlock *lock)
{
	if (line_is_settled(line)) {
		spin_unlock(lock);
		return;
	}
	line->busy = true;
	for (u32 i = 0; i < LINE_ROUNDS; i++) {
		bool level = line->wanted && !line->dropped;

		line->dropped = false;
		if (level != line->applied) {
			line->applied = level;
			spin_unlock(lock);
			irq_set_line(line->vm, line->gsi, level);
			spin_lock(lock);
		}
		if (line->applied == line->wanted && !line->dropped)
			break;
	}
	line->busy = false;
	spin_unlock(lock);
}
