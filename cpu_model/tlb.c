/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The translation cache: guest-physical page to host frame. An entry lives until a flush that covers it.
 *
 * SVM tags with the ASID (APM volume 2, "TLB Control"): the nested root is not part of the tag, so an ASID
 * that is given to another guest without a flush shows that guest the first one's memory. VMX tags with the
 * EPT pointer's address (SDM volume 3, "Information That May Be Cached": guest-physical mappings); what
 * VPIDs tag besides is in vpid.c.
 */
#include "cpu_model/virt.h"
#include "postern/port.h"

#include <string.h>

static struct model_tlb_entry *slot(struct model_cpu *cpu, u64 tag, u64 page)
{
	return &cpu->tlb[(page ^ page >> 9 ^ tag * 37) % MODEL_TLB_SIZE];
}

struct model_tlb_entry *model_tlb_find(struct model_cpu *cpu, u64 tag, u64 page)
{
	struct model_tlb_entry *entry = slot(cpu, tag, page);

	return entry->tag == tag && entry->page == page ? entry : NULL;
}

void model_tlb_fill(struct model_cpu *cpu, u64 tag, u64 page, const struct model_walk *walk)
{
	*slot(cpu, tag, page) = (struct model_tlb_entry){.tag = tag,
	                                                 .page = page,
	                                                 .frame = walk->frame,
	                                                 .write = walk->write,
	                                                 .exec = walk->exec,
	                                                 .large = walk->large,
	                                                 .apic = walk->apic};
}

void model_tlb_flush_all(struct model_cpu *cpu)
{
	memset(cpu->tlb, 0, sizeof(cpu->tlb));
	cpu->tlb_flushes++;
}

void model_tlb_flush(struct model_cpu *cpu, u64 tag)
{
	for (u32 i = 0; i < MODEL_TLB_SIZE; i++)
		if (cpu->tlb[i].tag == tag)
			cpu->tlb[i].tag = 0;
	cpu->tlb_flushes++;
}

static bool permits(const struct model_tlb_entry *entry, enum model_access access)
{
	return access == MODEL_READ || (access == MODEL_WRITE ? entry->write : entry->exec);
}

u8 *model_translate(struct model_cpu *cpu, gpa_t gpa, enum model_access access)
{
	const struct model_virt *virt = model_virt();
	u64 page = gpa.v >> 12;
	u64 tag = virt->tlb_tag(cpu);
	struct model_tlb_entry *entry = model_tlb_find(cpu, tag, page);
	struct model_walk walk;

	if (entry && permits(entry, access)) {
		walk = virt->walk(cpu, gpa, access);
		if (!walk.ok || walk.frame != entry->frame)
			cpu->tlb_stale_uses++;
		return (u8 *)hpa_to_ptr(HPA(entry->frame << 12)) + (gpa.v & ~PAGE_MASK);
	}
	walk = virt->walk(cpu, gpa, access);
	if (!walk.ok) {
		virt->nested_fault(cpu, gpa, access, &walk);
		return NULL;
	}
	model_tlb_fill(cpu, tag, page, &walk);
	return (u8 *)hpa_to_ptr(HPA(walk.frame << 12)) + (gpa.v & ~PAGE_MASK);
}
