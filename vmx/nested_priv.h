/* SPDX-License-Identifier: BSD-2-Clause */
/* Between the files that make up a guest of the guest on VMX: vmx/nested.c and its parts. */
#ifndef VMX_NESTED_PRIV_H
#define VMX_NESTED_PRIV_H

#include "vmx/nested.h"
#include "vmx/vmx.h"

/* What a vCPU has for it; made at the first entry, kept until the vCPU ends. All [o]. */
struct vmx_nested {
	u8 msr_bitmap[VMX_BITMAP_SIZE] __aligned(
	        PAGE_SIZE);                      /* what it exits for: Postern's or L1's */
	u8 page[PAGE_SIZE] __aligned(PAGE_SIZE); /* virtual APIC: a task priority of its own */
	u8 asked_msrs[VMX_BITMAP_SIZE];          /* L1's */
	u64 io_bitmap[2];                        /* L1's, guest-physical */
	u32 pf_mask, pf_match;                   /* L1's */
	u32 threshold;                           /* L1's, for its guest's own task priority */
	struct vmx_block *block;
	struct vmx_vmcs vmcs;
};

/* DR6's causes as a #DB's exit qualification has them: B0 to B3, BD, BS. */
#define VMX_DR6_CAUSES (0xfull | BIT64(13) | BIT64(14))

/* --- vmx/nested_asked.c --- */

/* Note what the block asks for. */
void vmx_nested_ask(struct vcpu *vcpu, const struct vmx_block *block);
/* L1 wants exits for this exception of its guest's. */
bool vmx_asked_exception(const struct vmx_vcpu *vmx, u8 vector, u32 error);

/* --- vmx/nested_state.c --- */

/* L2's state from the block to the second VMCS, which is the current one; L1's has been fetched. */
void vmx_nested_load(struct vcpu *vcpu, const struct vmx_block *block);
/* And back. */
void vmx_nested_store(struct vcpu *vcpu, struct vmx_block *block);
/* The exit that has just been. */
void vmx_nested_tell_exit(struct vcpu *vcpu, struct vmx_block *block);
/* The block's host-state area becomes L1's state: before the switch, which knows L2's, and behind it. */
void vmx_nested_host_state(struct vcpu *vcpu, const struct vmx_block *block);
void vmx_nested_load_host(struct vcpu *vcpu, const struct vmx_block *block);

#endif
