/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The EOI-exit bitmap: vectors whose end of interrupt software must see, for processors that end
 * the others by themselves (SDM volume 3 "EOI Virtualization"). In it, for one vCPU:
 *
 *  - the vector of every level-triggered I/O APIC entry that can reach it: by physical or logical
 *    destination, broadcast, or lowest priority, by the published APIC-ID map;
 *  - the vector of every entry whose end somebody listens to (irq/notify.h), edge or level;
 *  - its own LVT0 if that is Fixed and level-triggered;
 *  - level-triggered MSI: those in the routing table that can reach it, and every vector that has
 *    ever come as one (devices may send what is in no table);
 *  - what is stale: a vector that is pending or in service here as a level, or was in the bitmap and
 *    is still pending or in service, whatever has become of the entry it came from. It stays until
 *    it has been ended.
 *
 * It follows from the I/O APIC's entries, the routing table, the APIC-ID map and who listens. Each
 * change of these moves vm->eoi_exit.generation; a vCPU computes anew when it finds that its bitmap
 * is of an older one. Where a processor uses the bitmap (eoi_exit_require()), a change also makes the
 * request VCPU_REQUEST_EOI_EXIT of every vCPU, so that none runs on with an old bitmap. The change
 * itself does not wait for that: a back end whose guest could take and end a message of the new
 * entry before the request has made it exit must wait itself. Where requests are apart from the page
 * (irq/accel.h) it cannot: the message is moved there by the vCPU's own processor, behind the request, and the
 * processor has the bitmap before it enters again. One that collects in the guest (posted interrupts) has been sent
 * the request's interrupt before the message was posted, and so exits behind its delivery at the latest, before the
 * first instruction of the handler that is to end it.
 */
#ifndef IRQ_EOI_EXIT_H
#define IRQ_EOI_EXIT_H

#include "postern/sync.h"

struct vcpu;
struct vm;

#define EOI_EXIT_WORDS 4

struct eoi_exit_vm {
	struct atomic32 generation; /* [a] changes of what bitmaps follow from */
	struct atomic32 required;   /* [a] a processor uses the bitmaps: changes are requests */
	struct atomic64 level_msi[EOI_EXIT_WORDS]; /* [a] vectors that have come as level MSI */
};

struct eoi_exit_vcpu {
	u32 generation;             /* [o] of which `bitmap` is */
	bool valid;                 /* [o] computed at all */
	bool has_stale;             /* [o] some of it only until it has been ended */
	u64 bitmap[EOI_EXIT_WORDS]; /* [o] */
	u64 stale[EOI_EXIT_WORDS];  /* [o] that part */
};

/* The bitmap as of now. Own processor; takes the I/O APIC's lock if something has changed. */
void eoi_exit_bitmap(struct vcpu *vcpu, u64 out[EOI_EXIT_WORDS]);

/* From now on changes are requests; done by a back end that programs the bitmap. Any processor. */
void eoi_exit_require(struct vm *vm);

/* Something that bitmaps follow from has changed. Any processor, any locks. */
void eoi_exit_changed(struct vm *vm);
/* A level-triggered MSI of `vector` is about to be delivered. Any processor. */
void eoi_exit_note_level_msi(struct vm *vm, u8 vector);
/* This vCPU's own LVT0 has changed, or its APIC has been reset. Own processor. */
void eoi_exit_local_changed(struct vcpu *vcpu);
/* EOI of `vector`: a stale one leaves the bitmap. Own processor. */
void eoi_exit_ended(struct vcpu *vcpu, u8 vector);

#endif
