/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * "The interrupt of GSI n has been ended": for sources that have to know, such as a timer that does
 * not send a tick before the last one has been taken.
 *
 * An interrupt has been ended when its vector's EOI was written at a local APIC (edge-triggered pins
 * of the I/O APIC), reached the I/O APIC (level-triggered ones: broadcast or EOI register), or its
 * bit left the 8259's in-service register (EOI commands, automatic EOI, initialisation). It may be
 * told more often than it happened; whoever listens looks for himself (irq_is_unserved()).
 *
 * Who does not listen costs nothing: one load per EOI for all.
 */
#ifndef IRQ_NOTIFY_H
#define IRQ_NOTIFY_H

#include "postern/sync.h"

struct vm;

#define IRQ_NOTIFIERS 8

struct irq_notifier {
	u32 gsi; /* (i) */
	/* On any processor, no locks held, also some time after irq_notify_listen(false). */
	void (*fire)(struct irq_notifier *notifier);
};

struct irq_notify {
	struct irq_notifier *slot[IRQ_NOTIFIERS]; /* (i) before vCPUs run */
	u32 count;                                /* (i) */
	struct atomic32 listening;                /* [a] by slot */
};

/* Before vCPUs run; does not listen yet. The notifier lives as long as the VM. */
void irq_notify_add(struct vm *vm, struct irq_notifier *notifier);
/* Any processor, at any time; idempotent. */
void irq_notify_listen(struct vm *vm, struct irq_notifier *notifier, bool on);

/* --- for the interrupt controllers; no locks held --- */
/* Somebody listens. Pure. */
bool irq_notify_active(struct vm *vm);
/* I/O APIC pins that somebody listens to, by the present routing table. Pure. */
u32 irq_notify_pins(struct vm *vm);
/* Interrupts that came by these pins, by these 8259 inputs, have been ended. */
void irq_notify_ended_pins(struct vm *vm, u32 pins);
void irq_notify_ended_inputs(struct vm *vm, u32 inputs);

#endif
