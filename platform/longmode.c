/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * 64-bit mode without the way there. APM volume 2, "Processor Initialization and Long Mode
 * Activation": LME, PAE and PG together make LMA; CS.L selects 64-bit code; TR must be a busy TSS
 * for processors that check it at VM entry.
 */
#include "platform/longmode.h"

#include "core/vm.h"
#include "platform/irqchip.h"
#include "platform/layout.h"
#include "postern/backend.h"
#include "postern/string.h"

#define GDT_ENTRIES 4
#define GDT_CODE64  0x00af9b000000ffffull /* accessed, execute and read, L, 4 GiB */
#define GDT_DATA    0x00cf93000000ffffull /* accessed, read and write, D/B, 4 GiB */

#define TABLE_ENTRIES 512
#define MAP_GIB       4
#define TABLE_PAGES   (2 + MAP_GIB)

_Static_assert(LAYOUT_PAGE_TABLES + TABLE_PAGES * PAGE_SIZE == LAYOUT_TABLES_END, "layout");

static bool longmode_write_gdt(struct vm *vm)
{
	static const u64 gdt[GDT_ENTRIES] = {
	        [LONGMODE_CS / 8] = GDT_CODE64,
	        [LONGMODE_DS / 8] = GDT_DATA,
	};

	return vm_write(vm, GPA(LAYOUT_GDT), gdt, sizeof(gdt));
}

/* One level-4 entry, MAP_GIB level-3 entries, then that many tables of 2 MiB pages. */
static bool longmode_write_tables(struct vm *vm)
{
	u64 *level4 = vm_memory(vm, GPA(LAYOUT_PAGE_TABLES), TABLE_PAGES * PAGE_SIZE);
	u64 *level3, *level2;

	if (!level4)
		return false;
	level3 = level4 + TABLE_ENTRIES;
	level2 = level3 + TABLE_ENTRIES;
	memset(level4, 0, TABLE_PAGES * PAGE_SIZE);
	level4[0] = (LAYOUT_PAGE_TABLES + PAGE_SIZE) | PTE_P | PTE_W;
	for (u64 i = 0; i < MAP_GIB; i++)
		level3[i] = (LAYOUT_PAGE_TABLES + (2 + i) * PAGE_SIZE) | PTE_P | PTE_W;
	for (u64 i = 0; i < MAP_GIB * TABLE_ENTRIES; i++)
		level2[i] = i * PAGE_SIZE_2M | PTE_P | PTE_W | PTE_PS;
	return true;
}

static void longmode_set_segments(struct vcpu_state *state)
{
	const struct x86_segment data = {
	        .selector = LONGMODE_DS,
	        .attr = 0x3 | SEG_ATTR_S | SEG_ATTR_P | SEG_ATTR_DB | SEG_ATTR_G,
	        .limit = 0xffffffff,
	};

	for (u32 i = SEG_ES; i <= SEG_GS; i++)
		state->seg[i] = data;
	state->seg[SEG_CS] = (struct x86_segment){
	        .selector = LONGMODE_CS,
	        .attr = 0xb | SEG_ATTR_S | SEG_ATTR_P | SEG_ATTR_L | SEG_ATTR_G,
	        .limit = 0xffffffff,
	};
	state->seg[SEG_LDTR] = (struct x86_segment){.attr = 0x2 | SEG_ATTR_P, .limit = 0xffff};
	state->seg[SEG_TR] = (struct x86_segment){.attr = 0xb | SEG_ATTR_P, .limit = 0xffff};
}

bool longmode_start(struct vm *vm, u64 rip)
{
	struct vcpu *vcpu = vm->vcpu[0];
	struct vcpu_state state;

	if (!longmode_write_gdt(vm) || !longmode_write_tables(vm))
		return false;
	backend_op(get_state)(vcpu, &state);
	longmode_set_segments(&state);
	state.gdt_base = LAYOUT_GDT;
	state.gdt_limit = GDT_ENTRIES * 8 - 1;
	state.idt_base = 0; /* no handler: any fault before the guest has its own ends it */
	state.idt_limit = 0;
	state.cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
	state.cr3 = LAYOUT_PAGE_TABLES;
	state.cr4 = CR4_PAE;
	state.efer = EFER_LME | EFER_LMA;
	state.cpl = 0;
	backend_op(set_state)(vcpu, &state);
	memset(vcpu->regs.gpr, 0, sizeof(vcpu->regs.gpr));
	vcpu->regs.rip = rip;
	vcpu->regs.rflags = RFLAGS_RES1;
	irqchip_hand_over(vm);
	return true;
}
