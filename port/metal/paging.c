/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One identity map for all processors: boot.S maps the first 4 GiB by 2 MiB pages; here the first
 * 4 MiB, where the image is, are mapped by single pages with the narrowest rights, and the map is
 * extended to the top of memory. Page 0 and the pages below each stack stay unmapped. Nothing but
 * the image's code is executable.
 *
 * After boot the map only changes while the application processors are started, at a page that
 * they alone use.
 */
#include "metal.h"

#define ENTRIES     512
#define FINE_TABLES 2 /* of 2 MiB each: image.ld keeps the image below their end */
#define TABLE       (PTE_P | PTE_W)

/* Filled in by boot.S. */
extern u64 paging_pml4[ENTRIES], paging_pdpt[ENTRIES], paging_pd[4 * ENTRIES];
u64 paging_pml4[ENTRIES] __aligned(PAGE_SIZE);
u64 paging_pdpt[ENTRIES] __aligned(PAGE_SIZE);
u64 paging_pd[4 * ENTRIES] __aligned(PAGE_SIZE);
static u64 paging_fine[FINE_TABLES * ENTRIES] __aligned(PAGE_SIZE);

bool paging_is_guard(u64 address)
{
	u64 page = ALIGN_DOWN(address, PAGE_SIZE);
	u64 within = (page - (uintptr_t)cpu_stacks) % sizeof(struct cpu_stacks);

	if (page < (uintptr_t)stacks_start || page >= (uintptr_t)stacks_end)
		return false;
	return within == offsetof(struct cpu_stacks, guard0) ||
	       within == offsetof(struct cpu_stacks, guard1) ||
	       within == offsetof(struct cpu_stacks, guard2);
}

static u64 fine_entry(u64 page)
{
	if (!page || paging_is_guard(page))
		return 0;
	if (page >= (uintptr_t)text_start && page < (uintptr_t)text_end)
		return page | PTE_P;
	if (page >= (uintptr_t)text_end && page < (uintptr_t)rodata_end)
		return page | PTE_P | PTE_NX;
	return page | PTE_P | PTE_W | PTE_NX;
}

static void flush(void)
{
	write_cr3(read_cr3());
}

/* End of the highest address that anything in the memory map has, at least 4 GiB. */
u64 paging_top(void)
{
	u64 top = 4ull << 30;
	struct cpuid_regs r;
	u32 bits = 36;

	insn_cpuid(0x80000000, 0, &r);
	if (r.eax >= 0x80000008) {
		insn_cpuid(0x80000008, 0, &r);
		bits = r.eax & 0xff;
	}
	for (u32 i = 0; i < boot_info.range_count; i++)
		if (boot_info.range[i].usable)
			top = max_u64(top, boot_info.range[i].end);
	/* Four levels of tables reach 2^47 on either side of the hole. */
	return min_u64(ALIGN_UP(top, 1ull << 30), BIT64(bits < 47 ? bits : 47));
}

static u64 *next_table(u64 *entry)
{
	u64 *table;

	if (*entry & PTE_P)
		return hpa_to_ptr(HPA(*entry & PTE_ADDR));
	table = port_alloc(PAGE_SIZE, PAGE_SIZE);
	if (!table)
		port_panic("no memory for the page tables");
	*entry = ptr_to_hpa(table).v | TABLE;
	return table;
}

static u64 *large_entry(u64 address)
{
	u64 *pdpt = next_table(&paging_pml4[address >> 39 & (ENTRIES - 1)]);
	u64 *pd = next_table(&pdpt[address >> 30 & (ENTRIES - 1)]);

	return &pd[address >> 21 & (ENTRIES - 1)];
}

void paging_init(void)
{
	u64 top = paging_top();

	for (u64 i = 0; i < ARRAY_SIZE(paging_fine); i++)
		paging_fine[i] = fine_entry(i * PAGE_SIZE);
	for (u64 at = FINE_TABLES * PAGE_SIZE_2M; at < top; at += PAGE_SIZE_2M)
		*large_entry(at) = at | PTE_P | PTE_W | PTE_PS | PTE_NX;
	for (u32 i = 0; i < FINE_TABLES; i++)
		paging_pd[i] = ptr_to_hpa(&paging_fine[i * ENTRIES]).v | TABLE;
	flush();
}

void paging_set_executable(u64 page, bool executable)
{
	u64 *entry = &paging_fine[page / PAGE_SIZE];

	ASSERT(page / PAGE_SIZE < ARRAY_SIZE(paging_fine));
	*entry = executable ? page | PTE_P | PTE_W : fine_entry(page);
	flush();
}

/* Device registers, in case the firmware's MTRRs do not say so already. */
void paging_set_uncached(u64 address)
{
	ASSERT(address >= FINE_TABLES * PAGE_SIZE_2M);
	*large_entry(address) = ALIGN_DOWN(address, PAGE_SIZE_2M) | PTE_P | PTE_W | PTE_PS |
	                        PTE_PCD | PTE_PWT | PTE_NX;
	flush();
}
