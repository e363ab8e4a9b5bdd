/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From a source to local APICs: line numbers (GSIs) to the 8259 pair and the I/O APIC, MSI, and the
 * delivery of one interrupt message to its destination set through the published APIC-ID map.
 */
#ifndef IRQ_ROUTE_H
#define IRQ_ROUTE_H

#include "irq/inhibit.h"
#include "irq/intr.h"
#include "irq/publish.h"

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
 * Bits 14:8 of a destination that had 8 (KVM_FEATURE_MSI_EXT_DEST_ID): what they name is what a sender
 * in x2APIC mode names. 0: all is as without them.
 */
static inline void irq_extend_destination(struct irq_message *message, u32 high)
{
	message->dest |= high << 8;
	message->x2apic_format = high != 0;
}

/*
 * Deliver to every destination. Returns how many local APICs accepted. Any processor, no locks
 * held or the I/O APIC's; takes none; O(1) for unicast.
 */
u32 irq_deliver(struct vm *vm, const struct irq_message *message);

/* The published APIC-ID map (irq/apic_map.c). Rebuilt on ID, LDR, DFR, mode or enable change. */
struct apic_map;
struct apic_map_slot {
	struct publish publish;
	struct apic_map *copy[PUBLISH_COPIES]; /* (i) storage, built ahead: no allocation later */
};
/* After the last vCPU has been created. false: out of memory. */
bool apic_map_create(struct vm *vm);
void apic_map_destroy(struct vm *vm);
/*
 * Any processor, outside of any guest, interrupts open; takes `publish.build`, and with that held the
 * activation lock. A reader that started before sees the old map to its end.
 */
void apic_map_rebuild(struct vm *vm);
/* The inhibits that follow from the map: IDs and addresses that a processor's tables cannot express. */
#define APIC_MAP_INHIBITS                                                                          \
	(INHIBIT_BIT(PHYSICAL_ID_ALIASED) | INHIBIT_BIT(APIC_ID_MODIFIED) |                        \
	 INHIBIT_BIT(APIC_BASE_MODIFIED) | INHIBIT_BIT(LOGICAL_ID_ALIASED))

/* Sets of vCPUs are bit masks by vcpu->index. Both: any processor, no locks, never blocks. */
/* Whom the message's destination and shorthand name. APICs disabled by hardware are in no set. */
u64 apic_map_destinations(struct vm *vm, const struct irq_message *message);
/* Those whose APIC is enabled by software (SVR), as of the last rebuild. */
u64 apic_map_software_enabled(struct vm *vm);

/*
 * The routing table: where an interrupt line (GSI) goes. Published like the APIC-ID map, so that it
 * can change while interrupts come: a device's change of its line goes entirely by the old table or
 * entirely by the new one.
 */
#define ROUTE_GSIS 256 /* those beyond the I/O APIC's pins are for MSI */

enum route_kind {
	ROUTE_PIC,    /* an input of the 8259 pair, 0..15 without the cascade */
	ROUTE_IOAPIC, /* a pin of the I/O APIC, without pin 0: that is the 8259s' INTR */
	ROUTE_MSI     /* a message, sent at each rise (not for one that came before the route) */
};

/* One destination of one GSI. A GSI may have one of each kind. */
struct route_entry {
	u32 gsi;
	enum route_kind kind;
	u32 input;   /* of the 8259 pair, or pin */
	u64 address; /* MSI */
	u32 data;
};

struct route_table;
struct route_slot {
	struct publish publish;
	struct route_table *copy[PUBLISH_COPIES]; /* (i) storage */
	struct atomic32 level[ROUTE_GSIS / 32];   /* [a] level of each GSI's line */
};

/* With the ISA wiring; false: out of memory. */
bool route_create(struct vm *vm);
void route_destroy(struct vm *vm);
/*
 * Replace the whole table. Lines that are high move along: the old destination falls, the new one
 * rises. When this returns nothing goes by the old table any more. false: an entry names a GSI,
 * input or pin that does not exist, or two entries name one destination or give one GSI two of a
 * kind; the table is as it was. Any processor; no locks held, not from within a device's callback.
 */
bool route_set(struct vm *vm, const struct route_entry *entries, u32 count);
/* ISA wiring: IRQ 0 to I/O APIC pin 2 and 8259 input 0; the rest one to one. */
void route_set_isa(struct vm *vm);
/* true and the destination if the GSI has one of that kind. Any processor, no locks. */
bool route_find(struct vm *vm, u32 gsi, enum route_kind kind, struct route_entry *entry);
/* Vectors of level-triggered MSI routes that may reach `vcpu`, into a set of 256. Pure. */
void route_level_vectors(struct vcpu *vcpu, u64 vectors[4]);

/*
 * Level of a device's line (true: it wants service), ISA numbering (0: PIT). Any processor; the
 * device may hold its own lock, which is how it keeps the changes of its line in order. As on a
 * board, an edge must stay high until it is served, or the 8259 forgets it.
 */
void irq_set_line(struct vm *vm, u32 gsi, bool level);
/* Low and high again at once, for strobes too short to be seen: leaves the line high. */
void irq_pulse_line(struct vm *vm, u32 gsi);
/*
 * true: the line's last edge is still on its way to a processor or in service there, at a
 * controller that somebody listens to. A snapshot: what it says may be over. Any processor; takes
 * the controllers' locks.
 */
bool irq_is_unserved(struct vm *vm, u32 gsi);

/* A message-signalled interrupt (compatibility format). Any processor; the device may hold its lock. */
void msi_deliver(struct vm *vm, u64 address, u32 data);
/* What an address and data stand for; false: nothing that is delivered. Pure. */
bool msi_decode(const struct vm *vm, u64 address, u32 data, struct irq_message *message);

#endif
