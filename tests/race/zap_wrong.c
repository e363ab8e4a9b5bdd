/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mmu_zap() in three wrong forms and mmu_fault() in two, made of mmu/nested.c's own parts: the file once more, under other names,
 * for the sake of what it shares with nobody.
 */
#define mmu_format_long_mode  zap_format_long_mode
#define mmu_pool_pages        zap_pool_pages
#define mmu_create            zap_create
#define mmu_destroy           zap_destroy
#define mmu_root              zap_root
#define mmu_root_without_apic zap_root_without_apic
#define mmu_map               zap_map
#define mmu_zap               zap_right
#define mmu_zap_until_fault   zap_until_fault
#define mmu_fault             zap_fault
#define mmu_invalidate_seq    zap_invalidate_seq
#define mmu_install           zap_install
#define mmu_lookup            zap_lookup
#include "mmu/nested.c"

#include "tests/race/inhibit_wrong.h"
#include "tests/race/zap_wrong.h"

/* No fault that has decided before sees that anything has happened. */
void zap_without_sequence(struct vm *vm)
{
	bool narrowed = false;

	write_lock(&vm->mmu.lock);
	unmap_locked(&vm->mmu, APIC_PAGE, APIC_PAGE + PAGE_SIZE, &narrowed);
	if (narrowed)
		vcpu_request_all(vm, VCPU_REQUEST_FLUSH);
	write_unlock(&vm->mmu.lock);
}

/* Processors that hold the translation go on using it. */
void zap_without_flush(struct vm *vm)
{
	bool narrowed = false;

	write_lock(&vm->mmu.lock);
	begin_zap(&vm->mmu);
	unmap_locked(&vm->mmu, APIC_PAGE, APIC_PAGE + PAGE_SIZE, &narrowed);
	end_zap(vm, false);
	write_unlock(&vm->mmu.lock);
}

/* A fault may be between its look at the sequence and its store. */
void zap_shared(struct vm *vm)
{
	bool narrowed = false;

	read_lock(&vm->mmu.lock);
	begin_zap(&vm->mmu);
	unmap_locked(&vm->mmu, APIC_PAGE, APIC_PAGE + PAGE_SIZE, &narrowed);
	end_zap(vm, narrowed);
	read_unlock(&vm->mmu.lock);
}

/* Of memory that is there. */
static bool install_refault(struct mmu *mmu, bool (*holds)(struct mmu *, u32), u32 seq,
                            const struct refault *refault)
{
	read_lock(&mmu->lock);
	if (holds(mmu, seq))
		for (u32 i = 0; i < refault->count; i++)
			change_entry(mmu, refault->entry[i], refault->leaf[i]);
	read_unlock(&mmu->lock);
	return true;
}

bool zap_fault_types_first(struct vm *vm, gpa_t gpa, u32 access)
{
	struct refault refault;
	u32 level = 1;

	find_entry(&vm->mmu, gpa.v, &level);
	decide_refault(vm, gpa.v, level, &refault);
	return access && install_refault(&vm->mmu, still_holds, mmu_invalidate_seq(vm), &refault);
}

static bool always(struct mmu *mmu, u32 seq)
{
	(void)mmu;
	(void)seq;
	return true;
}

bool zap_fault_unchecked(struct vm *vm, gpa_t gpa, u32 access)
{
	struct refault refault;
	u32 level = 1;

	find_entry(&vm->mmu, gpa.v, &level);
	decide_refault(vm, gpa.v, level, &refault);
	return access && install_refault(&vm->mmu, always, 0, &refault);
}
