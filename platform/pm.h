/* SPDX-License-Identifier: BSD-2-Clause */
/* ACPI fixed hardware: PM1a event and control registers and the PM timer. ACPI, "Fixed Hardware".
 */
#ifndef PLATFORM_PM_H
#define PLATFORM_PM_H

#include "core/timer.h"
#include "platform/line.h"
#include "postern/sync.h"

struct vm;

#define PM_TIMER_HZ 3579545ull

/* Offsets of the register blocks from LAYOUT_PM_BASE, as the FADT gives them. */
#define PM_EVENT   0x0
#define PM_CONTROL 0x4
#define PM_TIMER   0x8

/* SLP_TYP of the soft-off state; \_S5 in dsdt.asl says the same. */
#define PM_SLEEP_S5 5

struct pm {
	struct spinlock lock;
	struct vm *vm; /* (i) */
	u64 base_tsc;  /* (i) TSC when the timer was 0 */
	/* All [lock]. */
	struct irq_line line;
	u16 enable;       /* PM1 enable register */
	u16 control;      /* PM1 control register */
	u64 carries_seen; /* changes of the timer's top bit that the guest has acknowledged */
	u64 deadline;     /* what `timer` is armed for */
	struct timer timer;
};

void pm_init(struct pm *pm, struct vm *vm);
void pm_destroy(struct pm *pm);
/* Apply a line change that was left over. Any processor, no locks held. */
void pm_poll(struct pm *pm);

#endif
