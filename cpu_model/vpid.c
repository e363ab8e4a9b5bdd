/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Linear translations, which VPIDs tag. SDM volume 3, "Information That May Be Cached", "Operations that
 * Invalidate Cached Mappings", "Guidelines for Use of the INVVPID Instruction".
 *
 * Scripts are mapped one to one, so no translation is kept; what is kept is whether the processor may have an old
 * one: of a VPID that ran elsewhere since, where the guest may have changed its tables and invalidated there
 * only, and of one whose paging registers the hypervisor has changed behind an exit, where the guest's own
 * write would have invalidated. An entry without INVVPID then ends the run.
 */
#include "cpu_model/vmx.h"
#include "postern/port.h"

#define CR0_PAGING (CR0_PG | CR0_WP)
#define CR4_PAGING (CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCIDE | CR4_SMEP | CR4_SMAP)

_Static_assert(MAX_CPUS <= 64, "struct model_vpid has a bit for each");

static u64 bit(const struct model_cpu *cpu)
{
	return BIT64(cpu->index);
}

static struct model_vpid *find(u16 vpid)
{
	if (vpid >= MODEL_VPIDS)
		port_panic("VPID %u: the model has room for %u", vpid, MODEL_VPIDS);
	return &model()->vpid[vpid];
}

/* None of these is a step of the hypervisor's. */
static u64 get(const u64 *mask)
{
	return __atomic_load_n(mask, __ATOMIC_SEQ_CST);
}

static void set(u64 *mask, u64 bits)
{
	__atomic_fetch_or(mask, bits, __ATOMIC_SEQ_CST);
}

static void clear(u64 *mask, u64 bits)
{
	__atomic_fetch_and(mask, ~bits, __ATOMIC_SEQ_CST);
}

static bool registers_changed(const struct model_vpid *v, const struct model_regs *regs)
{
	return ((v->cr0 ^ regs->cr0) & CR0_PAGING) || v->cr3 != regs->cr3 ||
	       ((v->cr4 ^ regs->cr4) & CR4_PAGING) || ((v->efer ^ regs->efer) & EFER_NXE);
}

void vmx_vpid_enter(struct model_cpu *cpu, u16 vpid)
{
	struct model_vpid *v = find(vpid);

	if (v->ran && registers_changed(v, &cpu->regs))
		set(&v->stale, get(&v->used));
	if (get(&v->stale) & bit(cpu))
		port_panic("VPID %u: translations may be old, and there was no INVVPID", vpid);
	/* From here on the guest may invalidate what other processors keep. */
	set(&v->used, bit(cpu));
	set(&v->stale, get(&v->used) & ~bit(cpu));
}

void vmx_vpid_leave(struct model_cpu *cpu, u16 vpid)
{
	struct model_vpid *v = find(vpid);

	v->cr0 = cpu->regs.cr0;
	v->cr3 = cpu->regs.cr3;
	v->cr4 = cpu->regs.cr4;
	v->efer = cpu->regs.efer;
	v->ran = true;
}

void vmx_vpid_invalidate(struct model_cpu *cpu, u16 vpid)
{
	u16 first = vpid ? vpid : 1;
	u16 last = vpid ? vpid : MODEL_VPIDS - 1;

	for (u16 i = first; i <= last; i++) {
		clear(&find(i)->used, bit(cpu));
		clear(&find(i)->stale, bit(cpu));
	}
}
