/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Architectural state in and out of the VMCS. SDM volume 3, "Guest-State Area", "Checks on Guest Segment
 * Registers", "Guest/Host Masks and Read Shadows for CR0 and CR4", "VM Exits and PDPTEs".
 *
 * - CR0.NE and CR4.VMXE are 1 while VMX is on, whatever the guest sets; CR0.CD and NW are neither loaded by an
 *   entry nor by an exit, and what a guest puts there would stay with the host. So these are the hypervisor's,
 *   and the guest reads a shadow. All of CR4 exits: what may be set depends on what CPUID shows.
 * - EFER.LMA and the entry control "IA-32e mode guest" go together; the processor keeps both up to date.
 * - A segment register with a null selector is unusable, rather than not present.
 */
#include "insn.h"
#include "postern/port.h"
#include "vmx/vmx.h"
#include "x86/msr.h"

#define PAT_RESET 0x0007040600070406ull
#define DR6_RESET 0xffff0ff0ull
#define DR7_RESET 0x400ull

#define PDPTE_RESERVED (~0x000ffffffffff000ull & ~(PTE_P | PTE_PWT | PTE_PCD | 0xe00))

#define CR0_OWNED      (CR0_NE | CR0_CD | CR0_NW)
#define CR4_OWNED      (~0ull)
#define ENTRY_CONTROLS (VMX_ENTRY_CTL_LOAD_DEBUG | VMX_ENTRY_CTL_LOAD_PAT | VMX_ENTRY_CTL_LOAD_EFER)

/* Attributes of the reset state: present, accessed, read/write data or read/execute code. */
#define ATTR_CODE (SEG_ATTR_P | SEG_ATTR_S | 0xb)
#define ATTR_DATA (SEG_ATTR_P | SEG_ATTR_S | 0x3)
#define ATTR_LDT  (SEG_ATTR_P | 0x2)
#define ATTR_TSS  (SEG_ATTR_P | 0xb)

/* AVL, L, D/B and G are four bits higher in a VMCS than in struct x86_segment. */
#define ATTR_LOW  0xffu
#define ATTR_HIGH 0xf00u

u32 vmx_rights_of(u16 attr)
{
	u32 rights = (attr & ATTR_LOW) | (u32)(attr & ATTR_HIGH) << 4;

	return attr & SEG_ATTR_P ? rights : rights | VMX_RIGHTS_UNUSABLE;
}

u16 vmx_attr_of(u32 rights)
{
	u16 attr = (u16)((rights & ATTR_LOW) | (rights >> 4 & ATTR_HIGH));

	return rights & VMX_RIGHTS_UNUSABLE ? attr & (u16)~SEG_ATTR_P : attr;
}

static void store_segment(u32 n, const struct x86_segment *segment)
{
	vmcs_write(VMCS_GUEST_SELECTOR(n), segment->selector);
	vmcs_write(VMCS_GUEST_LIMIT(n), segment->limit);
	vmcs_write(VMCS_GUEST_RIGHTS(n), vmx_rights_of(segment->attr));
	vmcs_write(VMCS_GUEST_BASE(n), segment->base);
}

static void fetch_segment(u32 n, struct x86_segment *segment)
{
	*segment = (struct x86_segment){
	        .selector = (u16)vmcs_read(VMCS_GUEST_SELECTOR(n)),
	        .attr = vmx_attr_of((u32)vmcs_read(VMCS_GUEST_RIGHTS(n))),
	        .limit = (u32)vmcs_read(VMCS_GUEST_LIMIT(n)),
	        .base = vmcs_read(VMCS_GUEST_BASE(n)),
	};
}

static bool has_pdptes(const struct vcpu_state *state)
{
	return state->cr0 & CR0_PG && state->cr4 & CR4_PAE && !(state->efer & EFER_LMA);
}

/*
 * As MOV to CR3 would have loaded them; until the next one they are the processor's, whatever memory says.
 * Entries that are not to be had are not present, nor are those with reserved bits, which entry refuses.
 */
static void store_pdptes(struct vcpu *vcpu, u64 cr3)
{
	const u64 *table = vm_memory(vcpu->vm, GPA(cr3 & 0xffffffe0), 32);

	for (u32 i = 0; i < 4; i++) {
		u64 entry = table ? table[i] : 0;

		vmcs_write(VMCS_GUEST_PDPTE(i), entry & PDPTE_RESERVED ? 0 : entry);
	}
}

/* What loads the PDPTEs when a guest writes it: "PDPTE Registers". */
static bool changes_pdptes(const struct vcpu_state *from, const struct vcpu_state *to)
{
	return from->cr3 != to->cr3 || (from->cr0 ^ to->cr0) & (CR0_PG | CR0_CD | CR0_NW) ||
	       (from->cr4 ^ to->cr4) & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP) ||
	       (from->efer ^ to->efer) & EFER_LMA;
}

bool vmx_is_protected(struct vcpu *vcpu)
{
	const struct vmx_vcpu *vmx = vmx_of(vcpu);
	u64 cr0 = vmx->vmcs->state_valid ? vmx->vmcs->state.cr0 : vmcs_read(VMCS_GUEST_CR0);

	return cr0 & CR0_PE;
}

/* What the guest reads, of bits that its hypervisor owns (a guest of the guest) and of the others. */
static u64 shadow_of(u64 value, u64 mask, u64 shadow)
{
	return (value & ~mask) | (shadow & mask);
}

void vmx_store_state(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = vmx_of(vcpu);
	const struct vcpu_state *state = &vmx->vmcs->state;
	const struct vmx_asked *asked = &vmx->asked;
	u32 entry = ENTRY_CONTROLS | (state->efer & EFER_LMA ? VMX_ENTRY_CTL_GUEST_64 : 0);

	for (u32 i = 0; i < SEG_COUNT; i++)
		store_segment(i, &state->seg[i]);
	vmcs_write(VMCS_GUEST_GDTR_BASE, state->gdt_base);
	vmcs_write(VMCS_GUEST_GDTR_LIMIT, state->gdt_limit);
	vmcs_write(VMCS_GUEST_IDTR_BASE, state->idt_base);
	vmcs_write(VMCS_GUEST_IDTR_LIMIT, state->idt_limit);
	vmcs_write(VMCS_CR0_MASK, CR0_OWNED | asked->cr0_mask);
	vmcs_write(VMCS_CR0_SHADOW, shadow_of(state->cr0, asked->cr0_mask, asked->cr0_shadow));
	vmcs_write(VMCS_GUEST_CR0, (state->cr0 & ~CR0_OWNED) | CR0_NE);
	vmcs_write(VMCS_CR4_MASK, CR4_OWNED);
	vmcs_write(VMCS_CR4_SHADOW, shadow_of(state->cr4, asked->cr4_mask, asked->cr4_shadow));
	vmcs_write(VMCS_GUEST_CR4, state->cr4 | CR4_VMXE);
	vmcs_write(VMCS_GUEST_CR3, state->cr3);
	if (vmx->vmcs->load_pdptes && has_pdptes(state))
		store_pdptes(vcpu, state->cr3);
	vmx->vmcs->load_pdptes = false;
	if (vmx->vmcs->forget_trap)
		vmcs_write(VMCS_GUEST_PENDING_DEBUG, 0);
	vmx->vmcs->forget_trap = false;
	vmcs_write(VMCS_GUEST_EFER, state->efer);
	vmcs_write(VMCS_ENTRY_CONTROLS, (entry | vmx_features.entry.must) & vmx_features.entry.may);
	vmcs_write(VMCS_GUEST_DR7, state->dr7);
	vmcs_write(VMCS_GUEST_PAT, state->pat);
	insn_write_cr2(state->cr2);
	insn_write_dr6(state->dr6);
	vmx->vmcs->state_dirty = false;
}

void vmx_fetch_state(struct vcpu *vcpu)
{
	struct vmx_vcpu *vmx = vmx_of(vcpu);
	struct vcpu_state *state = &vmx->vmcs->state;

	if (vmx->vmcs->state_valid)
		return;
	for (u32 i = 0; i < SEG_COUNT; i++)
		fetch_segment(i, &state->seg[i]);
	state->gdt_base = vmcs_read(VMCS_GUEST_GDTR_BASE);
	state->gdt_limit = (u32)vmcs_read(VMCS_GUEST_GDTR_LIMIT);
	state->idt_base = vmcs_read(VMCS_GUEST_IDTR_BASE);
	state->idt_limit = (u32)vmcs_read(VMCS_GUEST_IDTR_LIMIT);
	/* The hypervisor's own bits: the guest cannot have changed them. That is all of CR4. */
	state->cr0 = (vmcs_read(VMCS_GUEST_CR0) & ~CR0_OWNED) | (state->cr0 & CR0_OWNED);
	state->cr3 = vmcs_read(VMCS_GUEST_CR3);
	state->efer = vmcs_read(VMCS_GUEST_EFER);
	state->dr7 = vmcs_read(VMCS_GUEST_DR7);
	state->pat = vmcs_read(VMCS_GUEST_PAT);
	state->cr2 = insn_read_cr2();
	state->dr6 = insn_read_dr6();
	state->cpl = (u8)((state->seg[SEG_SS].attr & SEG_ATTR_DPL) >> 5);
	vmx->vmcs->state_valid = true;
}

void vmx_get_state(struct vcpu *vcpu, struct vcpu_state *state)
{
	vmx_fetch_state(vcpu);
	*state = vmx_of(vcpu)->vmcs->state;
}

void vmx_set_state(struct vcpu *vcpu, const struct vcpu_state *state)
{
	struct vmx_vcpu *vmx = vmx_of(vcpu);

	vmx_fetch_state(vcpu);
	vmx->vmcs->load_pdptes |= changes_pdptes(&vmx->vmcs->state, state);
	vmx->vmcs->state = *state;
	vmx->vmcs->state_dirty = true;
}

static void reset_segments(struct vcpu_state *state)
{
	for (u32 i = 0; i < SEG_COUNT; i++)
		state->seg[i] = (struct x86_segment){0, ATTR_DATA, 0xffff, 0};
	state->seg[SEG_CS] = (struct x86_segment){0xf000, ATTR_CODE, 0xffff, 0xffff0000};
	state->seg[SEG_LDTR].attr = ATTR_LDT;
	state->seg[SEG_TR].attr = ATTR_TSS;
}

/* What irq/intr.c had asked for, and what was under way. */
static void forget_events(struct vmx_vcpu *vmx)
{
	vmx->vmcs->want.interruptibility = 0;
	vmx->vmcs->want.entry_info = 0;
	vmx->vmcs->want.primary &= ~(VMX_PROC_INTR_WINDOW | VMX_PROC_NMI_WINDOW);
	vmx->tpr_exit = false;
	vmx->vmcs->forget_trap = true;
}

/* INIT keeps what "Processor State Following Power-up, Reset, or INIT" says: the cache controls and PAT. */
void vmx_reset(struct vcpu *vcpu, bool init)
{
	struct vmx_vcpu *vmx = vmx_of(vcpu);
	u64 cache = CR0_CD | CR0_NW, pat = PAT_RESET;
	struct vcpu_state *state = &vmx->vmcs->state;

	if (init) {
		vmx_fetch_state(vcpu);
		cache = state->cr0 & (CR0_CD | CR0_NW);
		pat = state->pat;
	}
	*state = (struct vcpu_state){
	        .gdt_limit = 0xffff,
	        .idt_limit = 0xffff,
	        .cr0 = CR0_ET | cache,
	        .dr6 = DR6_RESET,
	        .dr7 = DR7_RESET,
	        .pat = pat,
	};
	reset_segments(state);
	vmx->vmcs->state_valid = true;
	vmx->vmcs->state_dirty = true;
	vmx->dr6 = DR6_RESET;
	vmx->cr2 = 0;
	forget_events(vmx);
	vmx->vmcs->load_pdptes = true;
	vmx->flush = true;
	for (u32 i = 0; i < ARRAY_SIZE(vcpu->dr); i++)
		vcpu->dr[i] = 0;
}
