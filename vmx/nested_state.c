/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * State between a guest hypervisor's block and the second VMCS. SDM volume 3, "Loading Guest State", "Saving Guest
 * State", "Recording VM-Exit Information and Updating VM-entry Control Fields", "Loading Host State".
 *
 * - What an entry or exit control leaves where it is, L1 and L2 share: PAT, EFER, DR7. So are CR0.CD and NW, which
 *   neither of the two loads.
 * - Behind an exit L1 runs in the state of the block's host-state area, with RFLAGS clear, in 64-bit code or in that
 *   of 32 bits, at the RIP that the area names.
 * - Of a halted L2 that gets no event the block says that it is active.
 */
#include "core/vm.h"
#include "insn.h"
#include "postern/port.h"
#include "vmx/nested_priv.h"
#include "x86/apic.h"

#define CR0_SHARED (CR0_ET | CR0_CD | CR0_NW)
#define EFER_LONG  (EFER_LMA | EFER_LME)
#define DR7_RESET  0x400ull

/* Fields of the guest-state area that are moved as they are. What else there is: struct vcpu_state. */
#define PLAIN(X)                                                                                   \
	X(GUEST_DEBUGCTL)                                                                          \
	X(GUEST_PENDING_DEBUG)                                                                     \
	X(GUEST_SYSENTER_CS)                                                                       \
	X(GUEST_SYSENTER_ESP)                                                                      \
	X(GUEST_SYSENTER_EIP)

#define PDPTES(X) X(GUEST_PDPTE0) X(GUEST_PDPTE1) X(GUEST_PDPTE2) X(GUEST_PDPTE3)

#define EXIT_FIELDS(X)                                                                             \
	X(QUALIFICATION)                                                                           \
	X(EXIT_INFO)                                                                               \
	X(EXIT_ERROR)                                                                              \
	X(IDT_INFO)                                                                                \
	X(IDT_ERROR)                                                                               \
	X(EXIT_LENGTH)                                                                             \
	X(EXIT_INSN_INFO)                                                                          \
	X(GUEST_LINEAR)                                                                            \
	X(GUEST_PHYSICAL)                                                                          \
	X(IO_RCX)                                                                                  \
	X(IO_RSI)                                                                                  \
	X(IO_RDI)                                                                                  \
	X(IO_RIP)

/* --- L2's --- */

static struct x86_segment segment_of(const struct vmx_block *block, u32 n)
{
	return (struct x86_segment){
	        .selector = (u16)block->field[VMX_BLOCK_GUEST_ES_SELECTOR + n],
	        .attr = vmx_attr_of((u32)block->field[VMX_BLOCK_GUEST_ES_RIGHTS + n]),
	        .limit = (u32)block->field[VMX_BLOCK_GUEST_ES_LIMIT + n],
	        .base = block->field[VMX_BLOCK_GUEST_ES_BASE + n],
	};
}

static void note_segment(struct vmx_block *block, u32 n, const struct x86_segment *segment)
{
	block->field[VMX_BLOCK_GUEST_ES_SELECTOR + n] = segment->selector;
	block->field[VMX_BLOCK_GUEST_ES_RIGHTS + n] = vmx_rights_of(segment->attr);
	block->field[VMX_BLOCK_GUEST_ES_LIMIT + n] = segment->limit;
	block->field[VMX_BLOCK_GUEST_ES_BASE + n] = segment->base;
}

static u64 efer_of(u64 efer, bool long_mode)
{
	return (efer & ~EFER_LONG) | (long_mode ? EFER_LONG : 0);
}

/* `l1`: the state in which L1 enters. */
static void state_of(const struct vmx_block *block, const struct vcpu_state *l1,
                     struct vcpu_state *state)
{
	u64 entry = vmx_block_of(block, ENTRY_CONTROLS);

	*state = (struct vcpu_state){
	        .gdt_base = vmx_block_of(block, GUEST_GDTR_BASE),
	        .gdt_limit = (u32)vmx_block_of(block, GUEST_GDTR_LIMIT),
	        .idt_base = vmx_block_of(block, GUEST_IDTR_BASE),
	        .idt_limit = (u32)vmx_block_of(block, GUEST_IDTR_LIMIT),
	        .cr0 = (vmx_block_of(block, GUEST_CR0) & ~CR0_SHARED) | (l1->cr0 & CR0_SHARED),
	        .cr2 = insn_read_cr2(),
	        .cr3 = vmx_block_of(block, GUEST_CR3),
	        .cr4 = vmx_block_of(block, GUEST_CR4),
	        .dr6 = insn_read_dr6(),
	        .dr7 = entry & VMX_ENTRY_CTL_LOAD_DEBUG ? vmx_block_of(block, GUEST_DR7) : l1->dr7,
	        .pat = entry & VMX_ENTRY_CTL_LOAD_PAT ? vmx_block_of(block, GUEST_PAT) : l1->pat,
	        .efer = entry & VMX_ENTRY_CTL_LOAD_EFER
	                        ? vmx_block_of(block, GUEST_EFER)
	                        : efer_of(l1->efer, entry & VMX_ENTRY_CTL_GUEST_64),
	};
	for (u32 i = 0; i < SEG_COUNT; i++)
		state->seg[i] = segment_of(block, i);
	state->cpl = (u8)((state->seg[SEG_SS].attr & SEG_ATTR_DPL) >> 5);
}

/* L2's own task priority, or L1's, which the local APIC has. */
static void load_page(struct vcpu *vcpu, const struct vmx_block *block)
{
	struct vmx_nested *nested = vmx_of(vcpu)->nested;
	const u8 *page = vcpu->lapic.page;

	if (vmx_of(vcpu)->asked.primary & VMX_PROC_TPR_SHADOW) {
		page = nested->page;
		vm_read(vcpu->vm, GPA(vmx_block_of(block, VIRTUAL_APIC) + APIC_TPR),
		        &nested->page[APIC_TPR], sizeof(u32));
	}
	vmcs_write(VMCS_VIRTUAL_APIC, ptr_to_hpa(page).v);
}

void vmx_nested_load(struct vcpu *vcpu, const struct vmx_block *block)
{
	struct vmx_vcpu *vmx = vmx_of(vcpu);
	struct vmx_vmcs *vmcs = vmx->vmcs;

	state_of(block, &vmx->own.state, &vmcs->state);
	vmcs->state_valid = true;
	vmcs->state_dirty = true;
	vmcs->forget_trap = false;
	vmcs->load_pdptes = !(vmx->asked.secondary & VMX_PROC2_EPT);
#define X(name) vmcs_write(VMCS_##name, vmx_block_of(block, name));
	PLAIN(X)
	if (!vmcs->load_pdptes) {
		PDPTES(X)
	}
#undef X
	vmcs_write(VMCS_PF_ERROR_MASK, vmx->nested->pf_mask);
	vmcs_write(VMCS_PF_ERROR_MATCH, vmx->nested->pf_match);
	vmcs_write(VMCS_MSR_BITMAP, ptr_to_hpa(vmx->nested->msr_bitmap).v);
	load_page(vcpu, block);
}

/* "Saving Control Registers, Debug Registers, and MSRs": what the exit controls do not want stays as it was. */
static void store_registers(struct vmx_block *block, const struct vcpu_state *state)
{
	u64 controls = vmx_block_of(block, EXIT_CONTROLS);

	vmx_block_of(block, GUEST_GDTR_BASE) = state->gdt_base;
	vmx_block_of(block, GUEST_GDTR_LIMIT) = state->gdt_limit;
	vmx_block_of(block, GUEST_IDTR_BASE) = state->idt_base;
	vmx_block_of(block, GUEST_IDTR_LIMIT) = state->idt_limit;
	vmx_block_of(block, GUEST_CR0) = state->cr0;
	vmx_block_of(block, GUEST_CR3) = state->cr3;
	vmx_block_of(block, GUEST_CR4) = state->cr4;
	if (controls & VMX_EXIT_CTL_SAVE_DEBUG)
		vmx_block_of(block, GUEST_DR7) = state->dr7;
	if (controls & VMX_EXIT_CTL_SAVE_PAT)
		vmx_block_of(block, GUEST_PAT) = state->pat;
	if (controls & VMX_EXIT_CTL_SAVE_EFER)
		vmx_block_of(block, GUEST_EFER) = state->efer;
	vmx_block_of(block, ENTRY_CONTROLS) &= ~(u64)VMX_ENTRY_CTL_GUEST_64;
	if (state->efer & EFER_LMA)
		vmx_block_of(block, ENTRY_CONTROLS) |= VMX_ENTRY_CTL_GUEST_64;
}

static void store_page(struct vcpu *vcpu, const struct vmx_block *block)
{
	if (vmx_of(vcpu)->asked.primary & VMX_PROC_TPR_SHADOW)
		vm_write(vcpu->vm, GPA(vmx_block_of(block, VIRTUAL_APIC) + APIC_TPR),
		         &vmx_of(vcpu)->nested->page[APIC_TPR], sizeof(u32));
}

void vmx_nested_store(struct vcpu *vcpu, struct vmx_block *block)
{
	const struct vmx_controls *want = &vmx_of(vcpu)->vmcs->want;
	struct vcpu_state state;

	vmx_get_state(vcpu, &state);
	store_registers(block, &state);
	for (u32 i = 0; i < SEG_COUNT; i++)
		note_segment(block, i, &state.seg[i]);
#define X(name) vmx_block_of(block, name) = vmcs_read(VMCS_##name);
	PLAIN(X)
	PDPTES(X)
#undef X
	vmx_block_of(block, GUEST_RIP) = vcpu->regs.rip;
	vmx_block_of(block, GUEST_RSP) = vcpu->regs.gpr[GPR_RSP];
	vmx_block_of(block, GUEST_RFLAGS) = vcpu->regs.rflags;
	vmx_block_of(block, GUEST_INTERRUPTIBILITY) = want->interruptibility;
	vmx_block_of(block, GUEST_ACTIVITY) = VMX_ACTIVE;
	vmx_block_of(block, ENTRY_INFO) &= ~(u64)VMX_EVENT_VALID;
	store_page(vcpu, block);
}

void vmx_nested_tell_exit(struct vcpu *vcpu, struct vmx_block *block)
{
	u32 reason = (u32)vcpu->exit.raw[0];

	vmx_block_of(block, EXIT_REASON) = reason;
	vmx_block_of(block, QUALIFICATION) = 0;
	if (reason & VMX_EXIT_ENTRY_FAILED)
		return;
#define X(name) vmx_block_of(block, name) = vmcs_read(VMCS_##name);
	EXIT_FIELDS(X)
#undef X
}

/* --- L1's --- */

#define ATTR_CODE (SEG_ATTR_P | SEG_ATTR_S | SEG_ATTR_G | 0xb)
#define ATTR_DATA (SEG_ATTR_P | SEG_ATTR_S | SEG_ATTR_G | SEG_ATTR_DB | 0x3)
#define ATTR_TSS  (SEG_ATTR_P | 0xb)

/* "Loading Host Segment and Descriptor-Table Registers" */
static void host_segments(const struct vmx_block *block, struct vcpu_state *state)
{
	u16 size = vmx_block_of(block, EXIT_CONTROLS) & VMX_EXIT_CTL_HOST_64 ? SEG_ATTR_L
	                                                                     : SEG_ATTR_DB;

	for (u32 i = SEG_ES; i <= SEG_GS; i++) {
		u16 selector = (u16)block->field[VMX_BLOCK_HOST_ES_SELECTOR + i];

		state->seg[i] = (struct x86_segment){
		        .selector = selector, .attr = selector ? ATTR_DATA : 0, .limit = ~0u};
	}
	state->seg[SEG_CS].attr = ATTR_CODE | size;
	state->seg[SEG_FS].base = vmx_block_of(block, HOST_FS_BASE);
	state->seg[SEG_GS].base = vmx_block_of(block, HOST_GS_BASE);
	state->seg[SEG_LDTR] = (struct x86_segment){0};
	state->seg[SEG_TR] = (struct x86_segment){
	        .selector = (u16)vmx_block_of(block, HOST_TR_SELECTOR),
	        .attr = ATTR_TSS,
	        .limit = 0x67,
	        .base = vmx_block_of(block, HOST_TR_BASE),
	};
	state->gdt_base = vmx_block_of(block, HOST_GDTR_BASE);
	state->idt_base = vmx_block_of(block, HOST_IDTR_BASE);
	state->gdt_limit = state->idt_limit = 0xffff;
	state->cpl = 0;
}

void vmx_nested_host_state(struct vcpu *vcpu, const struct vmx_block *block)
{
	struct vmx_vcpu *vmx = vmx_of(vcpu);
	u64 controls = vmx_block_of(block, EXIT_CONTROLS);
	struct vcpu_state *state = &vmx->own.state;
	struct vcpu_state l2;

	vmx_get_state(vcpu, &l2);
	host_segments(block, state);
	state->cr0 = (vmx_block_of(block, HOST_CR0) & ~CR0_SHARED) | (l2.cr0 & CR0_SHARED);
	state->cr2 = l2.cr2;
	state->cr3 = vmx_block_of(block, HOST_CR3);
	state->cr4 = vmx_block_of(block, HOST_CR4);
	state->dr6 = l2.dr6;
	state->dr7 = DR7_RESET;
	state->pat = controls & VMX_EXIT_CTL_LOAD_PAT ? vmx_block_of(block, HOST_PAT) : l2.pat;
	state->efer = controls & VMX_EXIT_CTL_LOAD_EFER
	                      ? vmx_block_of(block, HOST_EFER)
	                      : efer_of(l2.efer, controls & VMX_EXIT_CTL_HOST_64);
	vmx->own.state_valid = true;
	vmx->own.state_dirty = true;
	vmx->own.load_pdptes = true;
}

void vmx_nested_load_host(struct vcpu *vcpu, const struct vmx_block *block)
{
	vcpu->regs.rip = vmx_block_of(block, HOST_RIP);
	vcpu->regs.gpr[GPR_RSP] = vmx_block_of(block, HOST_RSP);
	vcpu->regs.rflags = RFLAGS_RES1;
	vmx_of(vcpu)->vmcs->forget_trap = true;
	vmcs_write(VMCS_GUEST_DEBUGCTL, 0);
	vmcs_write(VMCS_GUEST_SYSENTER_CS, vmx_block_of(block, HOST_SYSENTER_CS));
	vmcs_write(VMCS_GUEST_SYSENTER_ESP, vmx_block_of(block, HOST_SYSENTER_ESP));
	vmcs_write(VMCS_GUEST_SYSENTER_EIP, vmx_block_of(block, HOST_SYSENTER_EIP));
}
