/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From a source to local APICs: line numbers (GSIs) to the 8259 pair and the I/O APIC, MSI, and the
 * delivery of one interrupt message to its destination set through the published APIC-ID map.
 */
#ifndef IRQ_ROUTE_H
#define IRQ_ROUTE_H

#include "irq/intr.h"
#include "postern/sync.h"

struct vcpu;
struct vm;

/* An interrupt message, from an ICR, an I/O APIC entry or an MSI. */
struct irq_message {
	u32 dest;      /* APIC ID or logical destination, as wide as the sender's format */
	u32 delivery;  /* APIC_DM_* */
	u32 shorthand; /* APIC_DEST_* (ICR only) */
	u8 vector;
	bool logical;
	bool level;         /* trigger mode */
	bool assert;        /* ICR level bit */
	bool x2apic_format; /* dest has 32 bits; else 8, 0xff broadcast */
	enum irq_source source;
	struct vcpu *sender; /* of an IPI; NULL otherwise */
};

/*
 * Deliver to every destination. Returns how many local APICs accepted. Any processor, no locks
 * held or the I/O APIC's; takes none; O(1) for unicast.
 */
u32 irq_deliver(struct vm *vm, const struct irq_message *message);

/* The published APIC-ID map (irq/apic_map.c). Rebuilt on ID, LDR, DFR, mode or enable change. */
struct apic_map;
#define APIC_MAP_COPIES 3
struct apic_map_slot {
	struct atomic32 current; /* [a] 1 + index of the published copy, 0: none yet; no lock */
	struct spinlock rebuild; /* one builder at a time */
	struct apic_map *copy[APIC_MAP_COPIES]; /* (i) storage, built ahead: no allocation later */
	struct atomic32 readers[APIC_MAP_COPIES]; /* [a] who looks at which copy now */
};
/* After the last vCPU has been created. false: out of memory. */
bool apic_map_create(struct vm *vm);
void apic_map_destroy(struct vm *vm);
/* Any processor; takes `rebuild`. A reader that started before sees the old map to its end. */
void apic_map_rebuild(struct vm *vm);

/* Sets of vCPUs are bit masks by vcpu->index. Both: any processor, no locks, never blocks. */
/* Whom the message's destination and shorthand name. APICs disabled by hardware are in no set. */
u64 apic_map_destinations(struct vm *vm, const struct irq_message *message);
/* Those whose APIC is enabled by software (SVR), as of the last rebuild. */
u64 apic_map_software_enabled(struct vm *vm);

#define ROUTE_GSIS 24
struct route_table {
	u8 ioapic_pin[ROUTE_GSIS]; /* (i) pin of a GSI; 0xff: none */
	u8 pic_irq[ROUTE_GSIS];    /* (i) 8259 input 0..15; 0xff: none */
};
/* ISA wiring: IRQ 0 to I/O APIC pin 2 and 8259 input 0; the rest one to one. */
void route_init_isa(struct vm *vm);

/*
 * Level of a device's line (true: it wants service), ISA numbering (0: PIT). Any processor; the
 * device may hold its own lock, which is how it keeps the changes of its line in order. As on a
 * board, an edge must stay high until it is served, or the 8259 forgets it.
 */
void irq_set_line(struct vm *vm, u32 gsi, bool level);
/* Low and high again at once, for strobes too short to be seen: leaves the line high. */
void irq_pulse_line(struct vm *vm, u32 gsi);

/* A message-signalled interrupt (compatibility format). Any processor, no locks held. */
void msi_deliver(struct vm *vm, u64 address, u32 data);

#endif
