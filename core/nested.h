/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest of the guest (L2), on the vCPU of the guest hypervisor (L1) that runs it: what is the same for both
 * vendors. The back end has a second control block for it and a nested-paging root that never maps L1's APIC
 * page; L1's own control block rests meanwhile, as it was.
 *
 * - The local APIC is L1's, and so are windows and their count (requirement S0.2). L1 runs unaccelerated
 *   before L2 is entered, and is accelerated again after the return, if nothing else stands: NESTED, a
 *   reason of this vCPU alone.
 * - intr_state describes the control block in use. A switch leaves it empty in either direction: what was in
 *   the slot for the local APIC waits in IRR again, and windows are closed in the block that is left. What
 *   they were opened for is still pending, so the next preparation opens them in the other block, or not. The
 *   flag and the count of a window that L1 opened are no part of that: they stay until the reason for
 *   the window is gone, whichever runs then.
 * - What L1 asked for is L1's: an exit, or an event that becomes deliverable while L2 runs and that
 *   the back end calls blocked by INTR_BLOCK_NESTED. Then L2 is left, and the event taken in L1 in the ordinary way.
 *   For an L1 that did not ask, it is delivered to L2, by the second control block.
 *
 * All own processor, outside of the guest, interrupts open, no locks held.
 */
#ifndef CORE_NESTED_H
#define CORE_NESTED_H

#include "postern/types.h"

struct vcpu;

/* What L1 is told that it got control back for. */
enum nested_why {
	NESTED_EXIT,      /* the exit that has just been, as the processor put it */
	NESTED_INTERRUPT, /* an external interrupt is deliverable */
	NESTED_NMI,       /* on VMX that takes it; on SVM it is pending behind the exit */
	NESTED_INIT,
	NESTED_EXCEPTION, /* vcpu->intr.exception, which that takes */
};

/*
 * L1, whose instruction for that has been completed, runs the L2 that the vendor's control block `block`
 * describes, with nested paging as L1's own, whatever it says of that: on SVM a VMCB in L1's view, on VMX a
 * struct vmx_block (vmx/nested.h), which has passed the checks that L1's instruction makes. The
 * block is read here and written by nested_leave(), and the caller's in between; nobody else changes it
 * while one of the two runs. false: out of memory, or the back end runs none; nothing has changed.
 */
bool nested_enter(struct vcpu *vcpu, void *block);

/* Back to L1, on SVM behind that instruction, on VMX where the block says; the block has L2's state and the reason. */
void nested_leave(struct vcpu *vcpu, enum nested_why why);

#endif
