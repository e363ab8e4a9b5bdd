/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Remapping and posting of devices' interrupts, as microcode over plain memory: what an IOMMU does with a device's
 * message. Intel's specification of directed I/O, "Interrupt Remapping" and "Interrupt Posting". The twin of vapic.h:
 * used by the model machine and, on metal, where no machine with such a unit is at hand, by the port.
 *
 * No globals and no locks. Every touch of the table, of a descriptor or of the cache is one atomic step of
 * postern/sync.h. The one wait is that of the invalidation queue for messages under way.
 */
#ifndef CPU_MODEL_VTD_H
#define CPU_MODEL_VTD_H

#include "postern/sync.h"
#include "x86/vmx_apic.h"
#include "x86/vtd.h"

#define VTD_CACHED                                                                                 \
	256 /* entries that the interrupt-entry cache has room for: those of these indices */

enum vtd_count {
	VTD_POSTED,    /* messages put into descriptors */
	VTD_COALESCED, /* of them: the bit was set already */
	VTD_NOTIFIED,  /* of them: with a notification */
	VTD_REMAPPED,  /* messages that became interrupts of the host */
	VTD_PASSED,    /* messages that nobody remaps */
	VTD_REFUSED,   /* messages that came to nothing, by a fault */
	VTD_COUNTS
};

/* An interrupt for a physical processor. */
struct vtd_interrupt {
	u32 dest; /* APIC ID, physical or logical */
	u32 mode; /* delivery mode, 0: fixed */
	u8 vector;
	bool logical, redirect, level;
};
typedef void vtd_deliver_fn(void *context, const struct vtd_interrupt *interrupt);

struct vtd {
	/* (i) Of the unit: what it has, and where memory is. */
	u64 cap, ecap;
	u8 width; /* bits of a physical address */
	u64 memory_start, memory_end;
	vtd_deliver_fn *deliver; /* a posted interrupt's notification, too: fixed, edge, physical */
	void *context;

	/* Registers. Written by software that sees to it that only one processor does. */
	u64 irta; /* as written; `table` is what SIRTP has taken over */
	u64 iqa, iqh, iqt;
	struct atomic64 table;    /* [a] */
	struct atomic32 status;   /* [a] GSTS */
	struct atomic32 fsts;     /* [a] */
	struct atomic64 fault[2]; /* [a] the fault recording register */

	struct atomic32 under_way; /* [a] messages that may use what an invalidation is about */
	struct atomic128 cached[VTD_CACHED]; /* [a] low word 0: nothing. Only present entries are */
	u64 counts[VTD_COUNTS];              /* [a] */
};

/* A unit that has been reset. What is (i) there is the caller's to fill in, but `cap` and `ecap`. */
void vtd_reset(struct vtd *vtd);

/* Registers. One processor at a time. A write of IQT returns when the queue has been worked off. */
u64 vtd_read(const struct vtd *vtd, u32 reg);
void vtd_write(struct vtd *vtd, u32 reg, u64 value);

/*
 * A device, `source` (bus, device, function), writes `data` to FEExxxxxh. Returns the fault, if it came to nothing. Any
 * processor.
 */
enum vtd_fault vtd_message(struct vtd *vtd, u16 source, u64 address, u32 data);

#endif
