/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory types by MTRRs and CR0.CD, what nested pages make of them, and how zapped memory comes back. */
#include "mmu/memory_type.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/vm.h"
#include "postern/backend.h"
#include "postern/port.h"

#define MIB   (1ull << 20)
#define GIB   (1ull << 30)
#define RWX   (MMU_READ | MMU_WRITE | MMU_EXEC)
#define PAGES 512u
#define WIDTH 0xfffffffff000ull

#define UC MEMORY_TYPE_UC
#define WC MEMORY_TYPE_WC
#define WT MEMORY_TYPE_WT
#define WP MEMORY_TYPE_WP
#define WB MEMORY_TYPE_WB

#define ON    MTRR_DEFTYPE_ENABLE
#define FIXED MTRR_DEFTYPE_FIXED

/* Leaves: what selects from a PAT as it is after reset: WB, WT, UC-, UC. */
#define LEAF_WB 0
#define LEAF_WT PTE_PWT
#define LEAF_UC (PTE_PCD | PTE_PWT)
#define LEAF    (PTE_PCD | PTE_PWT)

struct backend backend_table = {.mmu_format = &mmu_format_long_mode};
static struct vm *vm;
static struct vcpu *boot, *other;
static u32 flushes;

void port_panic(const char *fmt, ...)
{
	mock_assert(false, fmt, __FILE__, __LINE__);
	abort();
}

void *port_alloc(u64 size, u64 align)
{
	void *p = aligned_alloc(align, size);

	memset(p, 0, size);
	return p;
}

void port_free(void *p, u64 size)
{
	(void)size;
	free(p);
}

void *hpa_to_ptr(hpa_t hpa)
{
	return (void *)hpa.v;
}

hpa_t ptr_to_hpa(const void *p)
{
	return HPA(p);
}

/* Whoever zaps holds both locks, and what it zaps for is stored. */
u32 vcpu_request_all(struct vm *of, u32 requests)
{
	assert_int_equal(requests, VCPU_REQUEST_FLUSH);
	assert_int_equal(atomic32_read(&of->mmu.lock.state), RWLOCK_WRITER);
	flushes++;
	return 0;
}

static int setup(void **state)
{
	(void)state;
	vm = port_alloc(ALIGN_UP(sizeof(*vm), 64), 64);
	boot = port_alloc(ALIGN_UP(sizeof(*boot), 64), 64);
	other = port_alloc(ALIGN_UP(sizeof(*other), 64), 64);
	boot->vm = other->vm = vm;
	other->index = 1;
	flushes = 0;
	vm->config.memory = 16 * MIB;
	memory_type_create(vm);
	boot->msrs.mtrr.deftype = other->msrs.mtrr.deftype = memory_type_first_deftype(vm);
	assert_true(mmu_create(vm));
	assert_true(mmu_map(vm, GPA(0), HPA(GIB), 16 * MIB, RWX));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	mmu_destroy(vm);
	free(other);
	free(boot);
	free(vm);
	return 0;
}

/* --- types --- */

static void set_range(u32 n, u64 base, u64 size, u64 type)
{
	boot->msrs.mtrr.base[n] = base | type;
	boot->msrs.mtrr.mask[n] = size ? (WIDTH & ~(size - 1)) | MTRR_MASK_VALID : 0;
}

static void set_deftype(u64 value)
{
	boot->msrs.mtrr.deftype = value;
	memory_type_mtrrs_changed(boot);
}

static void expect_type(u64 gpa, u64 size, u32 type)
{
	assert_int_equal(memory_type_of(vm, gpa, size), type);
}

static void test_types_as_loaded(void **state)
{
	(void)state;
	for (u64 gpa = 0; gpa < 16 * GIB; gpa += 2 * MIB)
		expect_type(gpa, 2 * MIB, WB);
	assert_int_equal(memory_type_first_deftype(vm), ON | WB);
	vm->config.firmware = "";
	assert_int_equal(memory_type_first_deftype(vm), 0);
	memory_type_create(vm);
	expect_type(0, 2 * MIB, UC);
	expect_type(GIB, PAGE_SIZE, UC);
}

static void test_types_disabled_is_uncached(void **state)
{
	(void)state;
	set_range(0, 2 * MIB, 2 * MIB, WB);
	boot->msrs.mtrr.fixed[0] = 0x0606060606060606;
	set_deftype(FIXED | WB);
	expect_type(0, PAGE_SIZE, UC);
	expect_type(2 * MIB, 2 * MIB, UC);
	set_deftype(ON | FIXED | UC);
	expect_type(0, PAGE_SIZE, WB);
	expect_type(2 * MIB, 2 * MIB, WB);
	expect_type(4 * MIB, 2 * MIB, UC);
}

/* All 88 ranges, one after the other, by the manual's table; only its own pages have its type. */
static void test_types_fixed_ranges(void **state)
{
	u64 start = 0;

	(void)state;
	set_deftype(ON | FIXED | WT);
	for (u32 range = 0; range < 88; range++) {
		u64 size = range < 8 ? 64 << 10 : range < 24 ? 16 << 10 : 4 << 10;

		boot->msrs.mtrr.fixed[range / 8] = (u64)WP << range % 8 * 8;
		memory_type_mtrrs_changed(boot);
		for (u64 gpa = 0; gpa < MIB; gpa += PAGE_SIZE)
			expect_type(gpa, PAGE_SIZE, gpa >= start && gpa < start + size ? WP : UC);
		boot->msrs.mtrr.fixed[range / 8] = 0;
		start += size;
	}
	assert_int_equal(start, MIB);
	expect_type(MIB, PAGE_SIZE, WT);
	expect_type(0, 2 * MIB, MEMORY_TYPE_MIXED);
	/* Fixed ranges come first; disabled, they are none. */
	set_range(0, 0, MIB, WB);
	set_deftype(ON | FIXED | WT);
	expect_type(0x9f000, PAGE_SIZE, UC);
	set_deftype(ON | WT);
	expect_type(0x9f000, PAGE_SIZE, WB);
}

static void test_types_overlaps(void **state)
{
	static const struct {
		u32 a, b, both;
	} table[] = {
	        {UC, UC, UC}, {UC, WB, UC}, {WC, UC, UC}, {UC, WT, UC}, {WP, UC, UC},
	        {WB, WB, WB}, {WT, WB, WT}, {WB, WT, WT}, {WT, WT, WT}, {WC, WC, WC},
	        {WC, WB, UC}, {WP, WB, UC}, {WC, WT, UC}, {WP, WC, UC}, {WP, WP, WP},
	};

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(table); i++) {
		set_range(1, 4 * MIB, 4 * MIB, table[i].a);
		set_range(6, 6 * MIB, 2 * MIB, table[i].b);
		set_deftype(ON | WP);
		expect_type(2 * MIB, 2 * MIB, WP);
		expect_type(4 * MIB, 2 * MIB, table[i].a);
		expect_type(6 * MIB, 2 * MIB, table[i].both);
		expect_type(7 * MIB, PAGE_SIZE, table[i].both);
		expect_type(8 * MIB, 2 * MIB, WP);
	}
	/* Three; and one that is not valid. */
	set_range(0, 0, 8 * MIB, WB);
	set_range(1, 4 * MIB, 4 * MIB, WT);
	set_range(6, 6 * MIB, 2 * MIB, WB);
	set_range(7, 6 * MIB, 0, UC);
	set_deftype(ON | UC);
	expect_type(6 * MIB, 2 * MIB, WT);
	expect_type(2 * MIB, 2 * MIB, WB);
	set_range(2, 0, 16 * MIB, UC);
	set_deftype(ON | UC);
	expect_type(6 * MIB, 2 * MIB, UC);
}

static void test_types_within_a_large_page(void **state)
{
	(void)state;
	set_range(0, 6 * MIB + 64 * PAGE_SIZE, 16 * PAGE_SIZE, UC);
	set_deftype(ON | WB);
	expect_type(4 * MIB, 2 * MIB, WB);
	expect_type(6 * MIB, 2 * MIB, MEMORY_TYPE_MIXED);
	for (u32 i = 0; i < PAGES; i++)
		expect_type(6 * MIB + i * PAGE_SIZE, PAGE_SIZE, i >= 64 && i < 80 ? UC : WB);
	expect_type(8 * MIB, 2 * MIB, WB);
	/* A mask with a hole: every other page, everywhere. */
	boot->msrs.mtrr.base[0] = UC;
	boot->msrs.mtrr.mask[0] = PAGE_SIZE | MTRR_MASK_VALID;
	memory_type_mtrrs_changed(boot);
	expect_type(8 * MIB, 2 * MIB, MEMORY_TYPE_MIXED);
	expect_type(9 * MIB, PAGE_SIZE, UC);
	expect_type(9 * MIB + PAGE_SIZE, PAGE_SIZE, WB);
}

/* --- CR0.CD, and whose registers count --- */

static void test_types_cache_disabled_by_anybody(void **state)
{
	u64 zaps = vm->mmu.counts.zaps;

	(void)state;
	memory_type_cache_disabled(other, true);
	assert_true(other->cache_disabled);
	expect_type(4 * MIB, 2 * MIB, UC);
	assert_int_equal(vm->mmu.counts.zaps, zaps + 1);
	memory_type_cache_disabled(boot, true);
	memory_type_cache_disabled(other, false);
	expect_type(4 * MIB, 2 * MIB, UC);
	assert_int_equal(vm->mmu.counts.zaps, zaps + 1);
	/* Without an effect while all is UC. */
	set_range(0, 4 * MIB, 4 * MIB, WT);
	set_deftype(ON | WB);
	assert_int_equal(vm->mmu.counts.zaps, zaps + 1);
	memory_type_cache_disabled(boot, false);
	expect_type(4 * MIB, 2 * MIB, WT);
	assert_int_equal(vm->mmu.counts.zaps, zaps + 2);
	assert_int_equal(spin_trylock(&vm->types.lock), true);
}

static void test_types_are_the_boot_processors(void **state)
{
	(void)state;
	other->msrs.mtrr.deftype = 0;
	memory_type_mtrrs_changed(other);
	expect_type(4 * MIB, 2 * MIB, WB);
	assert_int_equal(vm->mmu.counts.zaps, 0);
	set_deftype(ON | WT);
	assert_int_equal(vm->mmu.counts.zaps, 1);
	set_deftype(ON | WT);
	assert_int_equal(vm->mmu.counts.zaps, 1);
	expect_type(4 * MIB, 2 * MIB, WT);
}

/* --- nested pages --- */

static u64 walk_from(hpa_t root, u64 gpa, u32 *level)
{
	u64 *table = hpa_to_ptr(root);

	for (*level = 4;; --*level) {
		u64 entry = table[gpa >> (12 + 9 * (*level - 1)) & 511];

		if (!(entry & PTE_P) || *level == 1 || (*level == 2 && entry & PTE_PS))
			return entry;
		assert_false(entry & LEAF);
		table = hpa_to_ptr(HPA(entry & PTE_ADDR));
	}
}

/* What a processor finds, on either root. */
static void expect_leaf(u64 gpa, u32 level, u64 type)
{
	const hpa_t roots[] = {mmu_root(vm), mmu_root_without_apic(vm)};

	for (u32 i = 0; i < ARRAY_SIZE(roots); i++) {
		u32 got;
		u64 entry = walk_from(roots[i], gpa, &got);

		assert_int_equal(got, level);
		assert_true(entry & PTE_P);
		assert_int_equal(entry & LEAF, type);
		assert_int_equal(entry & PTE_ADDR, GIB + gpa);
		assert_int_equal(!!(entry & PTE_PS), level == 2);
		assert_int_equal(entry & (PTE_W | PTE_U | PTE_NX), PTE_W | PTE_U);
	}
}

static void expect_no_leaf(u64 gpa)
{
	u32 level, access;
	hpa_t hpa;

	assert_false(walk_from(mmu_root(vm), gpa, &level) & 7);
	assert_false(walk_from(mmu_root_without_apic(vm), gpa, &level) & 7);
	/* For the hypervisor it is there all the time. */
	assert_true(mmu_lookup(vm, GPA(gpa), &hpa, &access));
	assert_int_equal(hpa.v, GIB + gpa);
	assert_int_equal(access, RWX);
}

static void test_pages_have_the_types_bits(void **state)
{
	static const u64 bits[MEMORY_TYPES] = {
	        [UC] = LEAF_UC, [WC] = LEAF_UC, [WT] = LEAF_WT, [WP] = LEAF_WT, [WB] = LEAF_WB};

	(void)state;
	expect_leaf(6 * MIB, 2, LEAF_WB);
	for (u32 type = 0; type < MEMORY_TYPES; type++) {
		if (!memory_type_is_valid(type))
			continue;
		set_deftype(ON | type);
		assert_true(mmu_fault(vm, GPA(6 * MIB), MMU_READ));
		expect_leaf(6 * MIB, 2, bits[type]);
	}
	assert_false(memory_type_is_valid(2) || memory_type_is_valid(3) || memory_type_is_valid(7));
	/* What is mapped later is by type at once. */
	assert_true(mmu_map(vm, GPA(32 * MIB), HPA(GIB + 32 * MIB), 2 * MIB, RWX));
	expect_leaf(32 * MIB, 2, LEAF_WB);
	set_deftype(ON | UC);
	assert_true(mmu_map(vm, GPA(32 * MIB), HPA(GIB + 32 * MIB), 2 * MIB, RWX));
	expect_leaf(32 * MIB, 2, LEAF_UC);
}

static void test_pages_come_back_by_faults(void **state)
{
	struct mmu_counts *counts = &vm->mmu.counts;

	(void)state;
	set_deftype(ON | WT);
	assert_int_equal(flushes, 1);
	for (u64 gpa = 0; gpa < 16 * MIB; gpa += 2 * MIB)
		expect_no_leaf(gpa);
	assert_true(mmu_fault(vm, GPA(7 * MIB), MMU_WRITE));
	assert_int_equal(counts->installs, 8);
	for (u64 gpa = 0; gpa < 16 * MIB; gpa += 2 * MIB)
		expect_leaf(gpa, 2, LEAF_WT);
	/* Somebody was as fast. */
	assert_true(mmu_fault(vm, GPA(5 * MIB), MMU_EXEC));
	assert_int_equal(counts->installs, 8);
	/* Nothing there, neither before nor now. */
	assert_false(mmu_fault(vm, GPA(16 * MIB), MMU_READ));
	assert_false(mmu_fault(vm, GPA(1ull << 50), MMU_READ));
	assert_int_equal(counts->fault_retries, 0);
	assert_int_equal(flushes, 1);
	/* A second change before anybody came: nothing to flush. */
	set_deftype(ON | WB);
	set_deftype(ON | WT);
	assert_int_equal(flushes, 2);
	assert_int_equal(counts->zaps, 3);
	assert_int_equal(counts->remote_flushes, 2);
}

static void test_pages_read_only_stay_so(void **state)
{
	u32 level, access;
	hpa_t hpa;

	(void)state;
	assert_true(mmu_map(vm, GPA(0x5000), HPA(0x5000), 0x1000, MMU_READ | MMU_EXEC));
	assert_true(mmu_map(vm, GPA(0x7000), HPA(0x7000), 0x1000, MMU_READ));
	set_deftype(ON | WT);
	assert_false(mmu_fault(vm, GPA(0x5000), MMU_WRITE));
	assert_false(mmu_fault(vm, GPA(0x7000), MMU_EXEC));
	assert_true(mmu_lookup(vm, GPA(0x5000), &hpa, &access));
	assert_int_equal(access, MMU_READ | MMU_EXEC);
	assert_true(mmu_fault(vm, GPA(0x5000), MMU_EXEC));
	assert_false(mmu_fault(vm, GPA(0x5000), MMU_WRITE));
	assert_int_equal(walk_from(mmu_root(vm), 0x5000, &level) & (PTE_W | PTE_NX | LEAF),
	                 LEAF_WT);
	assert_int_equal(walk_from(mmu_root(vm), 0x7000, &level) & (PTE_W | PTE_NX), PTE_NX);
	/* Taken away for good meanwhile: it does not come back. */
	set_deftype(ON | WB);
	assert_true(mmu_zap(vm, GPA(0x5000), 0x1000));
	assert_false(mmu_fault(vm, GPA(0x5000), MMU_READ));
	assert_true(mmu_fault(vm, GPA(0x4000), MMU_READ));
	assert_false(mmu_lookup(vm, GPA(0x5000), &hpa, &access));
}

static void test_pages_are_split_where_types_change(void **state)
{
	(void)state;
	set_range(0, 6 * MIB + 64 * PAGE_SIZE, 16 * PAGE_SIZE, UC);
	set_deftype(ON | WB);
	assert_int_equal(vm->mmu.splits, 1);
	assert_true(mmu_fault(vm, GPA(6 * MIB + 70 * PAGE_SIZE), MMU_READ));
	assert_true(mmu_fault(vm, GPA(8 * MIB), MMU_READ));
	for (u32 i = 64; i < 96; i++)
		expect_leaf(6 * MIB + i * PAGE_SIZE, 1, i < 80 ? LEAF_UC : LEAF_WB);
	expect_no_leaf(6 * MIB + 63 * PAGE_SIZE);
	expect_no_leaf(6 * MIB + 96 * PAGE_SIZE);
	expect_leaf(4 * MIB, 2, LEAF_WB);
	/* One type again: the table stays, 16 faults bring back all of it. */
	set_range(0, 0, 0, UC);
	set_deftype(ON | WT);
	for (u32 i = 0; i < PAGES; i += 32)
		assert_true(mmu_fault(vm, GPA(6 * MIB + (i + 5) * PAGE_SIZE), MMU_READ));
	for (u32 i = 0; i < PAGES; i++)
		expect_leaf(6 * MIB + i * PAGE_SIZE, 1, LEAF_WT);
	assert_int_equal(vm->mmu.splits, 1);
}

/* Ranges that move: what no table is left for is UC as a whole, and as large a page as before. */
static void test_pages_splits_are_bounded(void **state)
{
	u32 used = vm->mmu.pool_used;

	(void)state;
	assert_true(mmu_map(vm, GPA(64 * MIB), HPA(GIB + 64 * MIB), 64 * MIB, RWX));
	for (u32 i = 0; i < 40; i++) {
		u64 page = 64 * MIB + i % 32 * 2 * MIB;

		set_range(i % 8, page, PAGE_SIZE, UC);
		for (u32 n = 1; n < 8; n++)
			set_range((i + n) % 8, 0, 0, UC);
		set_deftype(ON | WB);
		assert_true(mmu_fault(vm, GPA(page + MIB), MMU_READ));
		assert_true(mmu_fault(vm, GPA(page), MMU_READ));
		if (i % 32 < 2 * MTRR_VARIABLE)
			expect_leaf(page + MIB, 1, LEAF_WB);
		else
			expect_leaf(page, 2, LEAF_UC);
	}
	assert_int_equal(vm->mmu.splits, 2 * MTRR_VARIABLE);
	assert_int_equal(vm->mmu.pool_used, used);
}

/* The local APIC's page is not memory: neither zapped with it, nor brought back by its faults. */
static void test_pages_not_the_apics(void **state)
{
	u32 seq = mmu_invalidate_seq(vm), level;

	(void)state;
	assert_true(mmu_install(vm, GPA(0xfee00000), HPA(0x9000), MMU_READ | MMU_WRITE, seq));
	set_deftype(ON | WT);
	assert_int_equal(walk_from(mmu_root(vm), 0xfee00000, &level) & PTE_ADDR, 0x9000);
	assert_int_equal(walk_from(mmu_root_without_apic(vm), 0xfee00000, &level), 0);
	assert_false(mmu_fault(vm, GPA(0xfee00000), MMU_READ));
	assert_true(mmu_zap(vm, GPA(0xfee00000), 0x1000));
	assert_false(mmu_fault(vm, GPA(0xfee00000), MMU_READ));
	assert_int_equal(walk_from(mmu_root(vm), 0xfee00000, &level), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(test_types_as_loaded, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_types_disabled_is_uncached, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_types_fixed_ranges, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_types_overlaps, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_types_within_a_large_page, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_types_cache_disabled_by_anybody, setup,
	                                        teardown),
	        cmocka_unit_test_setup_teardown(test_types_are_the_boot_processors, setup,
	                                        teardown),
	        cmocka_unit_test_setup_teardown(test_pages_have_the_types_bits, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_pages_come_back_by_faults, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_pages_read_only_stay_so, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_pages_are_split_where_types_change, setup,
	                                        teardown),
	        cmocka_unit_test_setup_teardown(test_pages_splits_are_bounded, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_pages_not_the_apics, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
