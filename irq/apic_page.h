/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest's APIC page in its physical memory (requirement S2). What it is mapped to does not matter:
 * a processor that accelerates takes the access to the vCPU's own page, but wants a mapping to be there. One
 * that does not accelerate must not find any. So the page is mapped by the fault on it, while acceleration
 * is on, and zapped when it goes off; switching it on again maps nothing until somebody faults.
 *
 * A vCPU that is unaccelerated for a reason of its own runs on the root without the page (mmu/mmu.h), so
 * that the others keep it.
 */
#ifndef IRQ_APIC_PAGE_H
#define IRQ_APIC_PAGE_H

#include "postern/types.h"

struct vcpu;
struct vm;

/*
 * A nested page fault of `vcpu` at `gpa`. true: it concerned the APIC's page, which is mapped now, or a
 * zap was faster: let the guest access again. false: whatever it is, it is to be emulated, as is a second
 * fault of one instruction. Own processor, no locks held.
 */
bool apic_page_fault(struct vcpu *vcpu, gpa_t gpa);

/* Acceleration is off, by the mask, which is stored: no access goes past us from here on. Lock exclusive. */
void apic_page_zap(struct vm *vm);

#endif
