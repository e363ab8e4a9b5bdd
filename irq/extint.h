/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ExtINT: interrupts whose vector comes from a controller outside the APICs, the 8259 pair on a PC.
 * The local APICs and irq/intr.c know it only through this interface, so it may live anywhere: in
 * irq/ (vm->pic), or in whatever embeds the core (irqchip=split: the platform owns the pair).
 *
 * Its INTR is wired to every vCPU's LINT0 (virtual wire through LVT0; the INTR pin itself where
 * the local APIC is disabled) and to the I/O APIC's pin 0 (virtual wire through an entry of delivery
 * mode ExtINT).
 */
#ifndef IRQ_EXTINT_H
#define IRQ_EXTINT_H

#include "postern/sync.h"

struct vm;

struct extint_ops {
	/* INTR is asserted. Pure; any processor, no locks, asked before every entry. */
	bool (*has)(void *source);
	/* INTA cycle: commits, returns the vector. On the vCPU's processor; no locks held. */
	u8 (*ack)(void *source);
	/*
	 * Level of a line that the routing table sends here (input 0..15), and a fall and rise at
	 * once. Any processor; the caller may hold its device's lock.
	 */
	void (*set_line)(void *source, u32 input, bool level);
	void (*pulse_line)(void *source, u32 input);
	/* EXTINT_* of an input. Any processor. */
	u32 (*state)(void *source, u32 input);
};

#define EXTINT_REQUESTED  BIT(0) /* a request is latched and not masked */
#define EXTINT_IN_SERVICE BIT(1)

struct extint {
	const struct extint_ops *ops; /* (i) before vCPUs run; NULL: there is none */
	void *source;                 /* (i) */
	struct spinlock wire;         /* changes of pin 0, in order */
};

/* Before vCPUs run; with NULL, after the last one has left, before the source goes. */
void extint_attach(struct vm *vm, const struct extint_ops *ops, void *source);

/* --- for the source --- */
/*
 * INTR has changed, or has fallen and risen again. Tells whoever listens. Any processor; the source
 * holds no lock of its own, and what has() says is already the new state.
 */
void extint_changed(struct vm *vm);

/* --- for the core; as the operations of the same names. No source: nothing there --- */
bool extint_has(struct vm *vm);
u8 extint_ack(struct vm *vm);
void extint_set_line(struct vm *vm, u32 input, bool level);
void extint_pulse_line(struct vm *vm, u32 input);
/*
 * true: the input's request is in service, or waits and some vCPU would take it. One that waits
 * where nobody listens does not count: it may wait for ever.
 */
bool extint_is_unserved(struct vm *vm, u32 input);

#endif
