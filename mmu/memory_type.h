/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The memory types of a guest: what its MTRRs and CR0.CD make of its physical memory, and when nested
 * paging has to follow (mmu/memory_type.c).
 */
#ifndef MMU_MEMORY_TYPE_H
#define MMU_MEMORY_TYPE_H

#include "postern/sync.h"

struct vcpu;
struct vm;

/* As MTRRs and PAT encode them; 2 and 3 are reserved. */
enum memory_type {
	MEMORY_TYPE_UC = 0,
	MEMORY_TYPE_WC = 1,
	MEMORY_TYPE_WT = 4,
	MEMORY_TYPE_WP = 5,
	MEMORY_TYPE_WB = 6,
	MEMORY_TYPE_MIXED /* no one type for all of a range */
};
#define MEMORY_TYPES MEMORY_TYPE_MIXED

#define MTRR_FIXED    11
#define MTRR_VARIABLE 8

/* MTRRs of one processor. `fixed`: by address, that is, by number. */
struct mtrrs {
	u64 deftype;
	u64 fixed[MTRR_FIXED];
	u64 base[MTRR_VARIABLE];
	u64 mask[MTRR_VARIABLE];
};

#define MTRR_DEFTYPE_FIXED  BIT64(10)
#define MTRR_DEFTYPE_ENABLE BIT64(11)
#define MTRR_MASK_VALID     BIT64(11)
#define MTRR_TYPE           0xffull

/* What the types of a VM follow from. */
struct memory_types {
	struct spinlock lock; /* a change, and the zap that it takes */
	u64 cache_disabled;   /* [lock] vCPUs, by bit, that were seen with CR0.CD set */
	/* [a; lock to write] the boot processor's, without what is not enabled, and whether any has CD. */
	struct atomic32 uncached;
	struct atomic64 deftype;
	struct atomic64 fixed[MTRR_FIXED];
	struct atomic64 base[MTRR_VARIABLE];
	struct atomic64 mask[MTRR_VARIABLE];
};

/* What the vCPUs of `vm` find in their MTRRs when they begin. Before anything is mapped. */
void memory_type_create(struct vm *vm);
u64 memory_type_first_deftype(const struct vm *vm);

/* The type of [gpa, gpa+size), a page of some size. Any processor; against changes see memory_type.c. */
enum memory_type memory_type_of(const struct vm *vm, u64 gpa, u64 size);

static inline bool memory_type_is_valid(u64 type)
{
	return type <= MEMORY_TYPE_WB && type != 2 && type != 3;
}

/*
 * The vCPU's MTRRs have changed; it has CR0.CD set or clear. If that changes the types of the VM, all of its
 * memory is zapped. Own processor, outside of the guest, no lock that a vCPU may want on its way out.
 */
void memory_type_mtrrs_changed(struct vcpu *vcpu);
void memory_type_cache_disabled(struct vcpu *vcpu, bool disabled);

#endif
