/* SPDX-License-Identifier: BSD-2-Clause */
/* The I/O APIC: 24 pins. 82093AA datasheet; EOI register and version 20h as in later chipsets. */
#ifndef IRQ_IOAPIC_H
#define IRQ_IOAPIC_H

#include "core/timer.h"
#include "postern/sync.h"

struct vcpu;
struct vm;

#define IOAPIC_PINS 24
#define IOAPIC_BASE 0xfec00000ull
#define IOAPIC_SIZE 0x1000

#define IOAPIC_VERSION     0x11 /* 82093AA: no EOI register */
#define IOAPIC_VERSION_EOI 0x20 /* the first with an EOI register */

/* Redirection entry: the fields that are not those of the local APIC's ICR. */
#define IOAPIC_RTE_VECTOR     0xffull
#define IOAPIC_RTE_LOGICAL    BIT64(11)
#define IOAPIC_RTE_POLARITY   BIT64(13)
#define IOAPIC_RTE_REMOTE_IRR BIT64(14)
#define IOAPIC_RTE_LEVEL      BIT64(15)
#define IOAPIC_RTE_MASKED     BIT64(16)
#define IOAPIC_RTE_DEST_SHIFT 56

struct ioapic {
	struct spinlock lock;
	struct vm *vm;        /* (i) */
	u8 version;           /* (i) before the VM starts */
	u8 select;            /* [lock] IOREGSEL */
	u8 id;                /* [lock] 3:0 */
	u64 rte[IOAPIC_PINS]; /* [lock] redirection entries, architectural layout */
	u32 lines;            /* [lock] level of each pin's input; what "IRR" is on this chip */
	u32 eoi_again[IOAPIC_PINS]; /* [lock] re-deliveries in a row, livelock guard */
	u32 delayed;                /* [lock] pins whose re-delivery waits for `storm` */
	struct timer storm;         /* arm/cancel: [lock] */
	u64 storms;                 /* [lock] times that the livelock guard stepped in */
};

void ioapic_init(struct vm *vm);  /* registers its page on vm->memory */
void ioapic_reset(struct vm *vm); /* also cancels the timer: before the VM's memory is freed */
/* Any processor; the caller may hold its device's lock. */
void ioapic_set_line(struct vm *vm, u32 pin, bool level);
/* EOI message of a level interrupt, broadcast by a local APIC. Any processor, no locks held. */
void ioapic_eoi(struct vm *vm, u8 vector);
/* EOI of an edge-triggered vector at a local APIC: only for those who listen (irq/notify.h). */
void ioapic_eoi_edge(struct vm *vm, u8 vector);
/* The pin's message has not been ended: pending or in service somewhere. Any processor. */
bool ioapic_is_unserved(struct vm *vm, u32 pin);
/* Add to `set` the vectors of entries that can reach `vcpu` and are level or of one of `pins`. */
void ioapic_watched_vectors(struct vcpu *vcpu, u32 pins, u64 set[4]);
/* Guest accesses of the page. Any processor, no locks held. */
u64 ioapic_read(struct vm *vm, u64 offset, u32 size);
void ioapic_write(struct vm *vm, u64 offset, u32 size, u64 value);

#endif
