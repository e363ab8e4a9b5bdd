/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The translation cache: guest-physical page to host frame, tagged by ASID. APM volume 2, "TLB
 * Control": an entry lives until a flush that covers it. The nested root is not part of the tag, so
 * an ASID that is given to another guest without a flush shows that guest the first one's memory.
 */
#include "cpu_model/model.h"

#include <string.h>

static struct model_tlb_entry *slot(struct model_cpu *cpu, u32 asid, u64 page)
{
	return &cpu->tlb[(page ^ page >> 9 ^ (u64)asid * 37) % MODEL_TLB_SIZE];
}

struct model_tlb_entry *model_tlb_find(struct model_cpu *cpu, u32 asid, u64 page)
{
	struct model_tlb_entry *entry = slot(cpu, asid, page);

	return entry->asid == asid && entry->page == page ? entry : NULL;
}

void model_tlb_fill(struct model_cpu *cpu, u32 asid, u64 page, u64 frame, bool write, bool exec)
{
	*slot(cpu, asid, page) = (struct model_tlb_entry){asid, page, frame, write, exec};
}

void model_tlb_flush_all(struct model_cpu *cpu)
{
	memset(cpu->tlb, 0, sizeof(cpu->tlb));
	cpu->tlb_flushes++;
}

void model_tlb_flush_asid(struct model_cpu *cpu, u32 asid)
{
	for (u32 i = 0; i < MODEL_TLB_SIZE; i++)
		if (cpu->tlb[i].asid == asid)
			cpu->tlb[i].asid = 0;
	cpu->tlb_flushes++;
}
