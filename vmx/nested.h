/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control block of a guest of the guest on VMX, as core/nested.h takes it: a VMCS in L1's view. A processor's
 * VMCS has a format of its own and this is Postern's, for the processor that L1 sees. Values are as VMREAD gives
 * them, addresses guest-physical.
 *
 * What an L1 may ask for are the controls below; others, and what belongs to them, have no effect, and its
 * capability registers are not to offer them. That leaves out a preemption timer, an interrupt that is
 * acknowledged by its exit, lists of MSRs, and virtual interrupts. Nested paging is L1's own, whatever the block
 * says of EPT and VPID.
 */
#ifndef VMX_NESTED_H
#define VMX_NESTED_H

#include "x86/vmx.h"

enum vmx_block_field {
#define X(name, encoding) VMX_BLOCK_##name,
	VMCS_FIELDS(X)
#undef X
	VMX_BLOCK_FIELDS
};

struct vmx_block {
	u64 field[VMX_BLOCK_FIELDS];
};

/* vmx_block_of(block, GUEST_RIP): that field. Those of segment registers are in the order of enum x86_seg. */
#define vmx_block_of(block, name) ((block)->field[VMX_BLOCK_##name])

#define VMX_NESTED_PIN (VMX_PIN_EXTERNAL | VMX_PIN_NMI | VMX_PIN_VIRTUAL_NMI)
#define VMX_NESTED_PRIMARY                                                                         \
	(VMX_PROC_INTR_WINDOW | VMX_PROC_TSC_OFFSET | VMX_PROC_HLT | VMX_PROC_INVLPG |             \
	 VMX_PROC_MWAIT | VMX_PROC_RDPMC | VMX_PROC_RDTSC | VMX_PROC_CR3_LOAD |                    \
	 VMX_PROC_CR3_STORE | VMX_PROC_CR8_LOAD | VMX_PROC_CR8_STORE | VMX_PROC_TPR_SHADOW |       \
	 VMX_PROC_NMI_WINDOW | VMX_PROC_MOV_DR | VMX_PROC_IO | VMX_PROC_IO_BITMAPS |               \
	 VMX_PROC_MTF | VMX_PROC_MSR_BITMAPS | VMX_PROC_MONITOR | VMX_PROC_PAUSE |                 \
	 VMX_PROC_SECONDARY)
#define VMX_NESTED_SECONDARY (VMX_PROC2_EPT | VMX_PROC2_DESC_TABLE | VMX_PROC2_WBINVD)

#endif
