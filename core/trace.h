/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A trace of VM entries for the log (--set trace.entries=N), each as KVM's event of that name has it:
 *
 *	kvm_entry: vcpu 0, rip 0xffffffff81000000 [immediate exit]
 *
 * It stands between the run loop and the back end's run(), so that a run without it pays nothing. What a back end
 * completes by itself and enters again for is one entry here. It ends behind so many entries.
 */
#ifndef CORE_TRACE_H
#define CORE_TRACE_H

#include "postern/sync.h"

struct trace_entry;
struct vcpu;

/* The machine's. */
struct trace {
	struct trace_entry *entries;                               /* (i) NULL: nothing is traced */
	u64 size;                                                  /* (i) */
	struct atomic64 claimed;                                   /* [a] may be beyond the size */
	u64 logged;                                                /* boot processor */
	void (*run)(struct vcpu *vcpu, bool force_immediate_exit); /* (i) the back end's */
};

/* The first `entries` entries are noted; 0: none. Behind machine_init(). false: out of memory. */
bool trace_start(u64 entries);

/* Log what has been noted since the last call. Boot processor, interrupts open, no locks held. */
void trace_log(void);
void trace_end(void);

#endif
