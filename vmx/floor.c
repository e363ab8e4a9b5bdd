/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The floor under every exit: a world switch that does nothing (insn_vmx_floor), around a guest that does
 * nothing but CPUID. No bitmaps, no virtual interrupts, no hypervisor; what real exits cost is told in multiples
 * of this (docs/performance.md). Real mode needs extended page tables; theirs map one page.
 *
 * External interrupts wait, as IF is clear in the guest and they do not exit.
 */
#include "insn.h"
#include "postern/port.h"
#include "postern/string.h"
#include "vmx/vmx.h"

#define LEVELS 4
#define PAGES  (LEVELS + 2) /* code and VMCS */

/* CPUID, JMP to it. */
static const u8 code[] = {0x0f, 0xa2, 0xeb, 0xfc};

static void set_controls(const u64 *root)
{
	const struct vmx_features *f = &vmx_features;

	vmcs_write(VMCS_PIN, vmx_allowed(&f->pin, VMX_PIN_NMI));
	vmcs_write(VMCS_PRIMARY, vmx_allowed(&f->primary, VMX_PROC_SECONDARY));
	vmcs_write(VMCS_SECONDARY, vmx_allowed(&f->secondary, VMX_PROC2_EPT | VMX_PROC2_VPID |
	                                                              VMX_PROC2_UNRESTRICTED));
	vmcs_write(VMCS_EXIT_CONTROLS,
	           vmx_allowed(&f->exit, VMX_EXIT_CTL_HOST_64 | VMX_EXIT_CTL_LOAD_EFER |
	                                         VMX_EXIT_CTL_LOAD_PAT));
	vmcs_write(VMCS_ENTRY_CONTROLS, vmx_allowed(&f->entry, 0));
	vmcs_write(VMCS_EXCEPTIONS, 0);
	vmcs_write(VMCS_CR3_TARGETS, 0);
	vmcs_write(VMCS_EXIT_MSR_STORE_COUNT, 0);
	vmcs_write(VMCS_EXIT_MSR_LOAD_COUNT, 0);
	vmcs_write(VMCS_ENTRY_MSR_LOAD_COUNT, 0);
	vmcs_write(VMCS_ENTRY_INFO, 0);
	vmcs_write(VMCS_CR0_MASK, 0);
	vmcs_write(VMCS_CR4_MASK, 0);
	/* A vCPU's that has not run here yet: its first entry here flushes. */
	vmcs_write(VMCS_VPID, 1);
	vmcs_write(VMCS_EPTP, ptr_to_hpa(root).v | EPTP_WB | EPTP_4_LEVELS);
	vmcs_write(VMCS_LINK, ~0ull);
}

static void set_segment(u32 seg, u32 rights)
{
	vmcs_write(VMCS_GUEST_SELECTOR(seg), 0);
	vmcs_write(VMCS_GUEST_BASE(seg), 0);
	vmcs_write(VMCS_GUEST_LIMIT(seg), 0xffff);
	vmcs_write(VMCS_GUEST_RIGHTS(seg), rights);
}

/* Real mode, CS:IP 0:0. */
static void set_state(void)
{
	for (u32 seg = SEG_ES; seg <= SEG_GS; seg++)
		set_segment(seg, SEG_ATTR_P | SEG_ATTR_S | (seg == SEG_CS ? 0xb : 0x3));
	set_segment(SEG_LDTR, VMX_RIGHTS_UNUSABLE);
	set_segment(SEG_TR, SEG_ATTR_P | 0xb);
	vmcs_write(VMCS_GUEST_GDTR_BASE, 0);
	vmcs_write(VMCS_GUEST_GDTR_LIMIT, 0xffff);
	vmcs_write(VMCS_GUEST_IDTR_BASE, 0);
	vmcs_write(VMCS_GUEST_IDTR_LIMIT, 0xffff);
	vmcs_write(VMCS_GUEST_CR0, CR0_NE | CR0_ET);
	vmcs_write(VMCS_GUEST_CR3, 0);
	vmcs_write(VMCS_GUEST_CR4, CR4_VMXE);
	vmcs_write(VMCS_GUEST_RSP, 0);
	vmcs_write(VMCS_GUEST_RIP, 0);
	vmcs_write(VMCS_GUEST_RFLAGS, RFLAGS_RES1);
	vmcs_write(VMCS_GUEST_ACTIVITY, VMX_ACTIVE);
	vmcs_write(VMCS_GUEST_INTERRUPTIBILITY, 0);
	vmcs_write(VMCS_GUEST_PENDING_DEBUG, 0);
	vmcs_write(VMCS_GUEST_SYSENTER_CS, 0);
	vmcs_write(VMCS_GUEST_SYSENTER_ESP, 0);
	vmcs_write(VMCS_GUEST_SYSENTER_EIP, 0);
}

/* Guest-physical page 0 is `page`. */
static void map(u64 *table[LEVELS], const u8 *page)
{
	for (u32 level = LEVELS; --level;)
		table[level][0] = ptr_to_hpa(table[level - 1]).v | vmx_mmu_format.table;
	table[0][0] = ptr_to_hpa(page).v | EPT_READ | EPT_EXEC | vmx_mmu_format.leaf;
}

static u64 measure(u64 rounds)
{
	u64 gpr[GPR_COUNT] = {0};
	u64 start;
	bool ok;

	insn_cli();
	start = insn_rdtsc();
	ok = insn_vmx_floor(gpr, rounds);
	start = insn_rdtsc() - start;
	ASSERT(ok && vmcs_read(VMCS_EXIT_REASON) == VMX_EXIT_CPUID);
	insn_sti();
	return start;
}

u64 vmx_floor(struct cpu *cpu __unused, u64 rounds)
{
	u8 *memory = port_alloc(PAGES * PAGE_SIZE, PAGE_SIZE);
	u32 revision = (u32)(vmx_features.basic & VMX_BASIC_REVISION);
	u64 *table[LEVELS];
	u8 *page, *vmcs;
	u64 ticks;

	if (!memory)
		return 0;
	for (u32 level = 0; level < LEVELS; level++)
		table[level] = (u64 *)(void *)(memory + level * PAGE_SIZE);
	page = memory + LEVELS * PAGE_SIZE;
	vmcs = page + PAGE_SIZE;
	memcpy(page, code, sizeof(code));
	memcpy(vmcs, &revision, sizeof(revision));
	map(table, page);
	vmx_use_region(vmcs);
	set_controls(table[LEVELS - 1]);
	vmx_write_host();
	set_state();
	ticks = measure(rounds);
	vmx_release_region(vmcs);
	port_free(memory, PAGES * PAGE_SIZE);
	return ticks;
}
