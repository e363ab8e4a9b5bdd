/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mmu_zap() in three wrong forms, made of mmu/nested.c's own parts: the file once more, under other names,
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
