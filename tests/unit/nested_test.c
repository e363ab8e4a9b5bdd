/* SPDX-License-Identifier: BSD-2-Clause */
/* Nested page tables: what they translate, the size of their pool, and when they ask for flushes.
 */
#include "mmu/mmu.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/vm.h"
#include "postern/backend.h"
#include "postern/port.h"

#define MIB (1ull << 20)
#define GIB (1ull << 30)
#define RWX (MMU_READ | MMU_WRITE | MMU_EXEC)

struct backend backend_table = {.mmu_format = &mmu_format_long_mode};
static u32 flushes;
static bool locked;

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

u32 vcpu_request_all(struct vm *vm, u32 requests)
{
	assert_int_equal(requests, VCPU_REQUEST_FLUSH);
	assert_int_equal(atomic32_read(&vm->mmu.invalidate_count), 1);
	flushes++;
	locked = atomic32_read(&vm->mmu.lock.state) == RWLOCK_WRITER;
	return 0;
}

static struct vm *new_vm(u64 memory)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	flushes = 0;
	vm->config.memory = memory;
	memory_type_create(vm);
	assert_true(mmu_create(vm));
	return vm;
}

static void free_vm(struct vm *vm)
{
	mmu_destroy(vm);
	free(vm);
}

static void expect_mapped(struct vm *vm, u64 gpa, u64 hpa, u32 access)
{
	hpa_t got_hpa;
	u32 got_access;

	assert_true(mmu_lookup(vm, GPA(gpa), &got_hpa, &got_access));
	assert_int_equal(got_hpa.v, hpa);
	assert_int_equal(got_access, access);
}

static void expect_unmapped(struct vm *vm, u64 gpa)
{
	hpa_t hpa;
	u32 access;

	assert_false(mmu_lookup(vm, GPA(gpa), &hpa, &access));
}

/* An independent walk of the raw entries, as the processor does it. */
static u64 hardware_walk_from(hpa_t root, u64 gpa, u32 *level)
{
	u64 *table = hpa_to_ptr(root);
	u64 entry;

	for (*level = 4;; --*level) {
		entry = table[gpa >> (12 + 9 * (*level - 1)) & 511];
		if (!(entry & PTE_P) || *level == 1 || (*level == 2 && entry & PTE_PS))
			return entry;
		assert_true(entry & PTE_U);
		assert_true(entry & PTE_W);
		assert_false(entry & PTE_NX);
		table = hpa_to_ptr(HPA(entry & PTE_ADDR));
	}
}

static u64 hardware_walk(struct vm *vm, u64 gpa, u32 *level)
{
	return hardware_walk_from(mmu_root(vm), gpa, level);
}

static void test_nested_entries_have_the_long_mode_format(void **state)
{
	struct vm *vm = new_vm(16 * MIB);
	u32 level;
	u64 entry;

	(void)state;
	assert_true(mmu_map(vm, GPA(2 * MIB), HPA(64 * MIB), 2 * MIB, RWX));
	entry = hardware_walk(vm, 2 * MIB + 0x1234, &level);
	assert_int_equal(level, 2);
	assert_int_equal(entry & PTE_ADDR, 64 * MIB);
	assert_true((entry & (PTE_P | PTE_W | PTE_U | PTE_PS)) == (PTE_P | PTE_W | PTE_U | PTE_PS));
	assert_false(entry & PTE_NX);

	assert_true(mmu_map(vm, GPA(0x1000), HPA(0x555000), 0x1000, MMU_READ));
	entry = hardware_walk(vm, 0x1fff, &level);
	assert_int_equal(level, 1);
	assert_int_equal(entry & PTE_ADDR, 0x555000);
	assert_true((entry & (PTE_P | PTE_U | PTE_NX)) == (PTE_P | PTE_U | PTE_NX));
	assert_false(entry & (PTE_W | PTE_PS));
	assert_int_equal(flushes, 0);
	free_vm(vm);
}

static void test_nested_uses_large_pages_only_where_aligned(void **state)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	u32 level;

	/* A region that is out of step makes the pool large enough for small pages anywhere. */
	vm->config.memory = 64 * MIB;
	vm->region[0] = (struct vm_region){GPA(0), 64 * MIB, (u8 *)0x1000};
	vm->region_count = 1;
	assert_true(mmu_create(vm));
	(void)state;
	assert_true(
	        mmu_map(vm, GPA(2 * MIB - 0x1000), HPA(32 * MIB - 0x1000), 2 * MIB + 0x2000, RWX));
	hardware_walk(vm, 2 * MIB - 1, &level);
	assert_int_equal(level, 1);
	hardware_walk(vm, 2 * MIB, &level);
	assert_int_equal(level, 2);
	hardware_walk(vm, 4 * MIB, &level);
	assert_int_equal(level, 1);
	expect_mapped(vm, 4 * MIB + 0xfff, 34 * MIB + 0xfff, RWX);
	expect_unmapped(vm, 4 * MIB + 0x1000);
	free_vm(vm);
}

static void test_nested_split_keeps_the_rest(void **state)
{
	struct vm *vm = new_vm(16 * MIB);
	u32 level;

	(void)state;
	assert_true(mmu_map(vm, GPA(0), HPA(1 * GIB), 16 * MIB, RWX));
	assert_int_equal(flushes, 0);
	assert_true(mmu_zap(vm, GPA(5 * MIB), 0x1000));
	assert_int_equal(flushes, 1);
	assert_true(locked); /* nobody installs what was decided on before */
	expect_unmapped(vm, 5 * MIB);
	expect_mapped(vm, 5 * MIB - 1, GIB + 5 * MIB - 1, RWX);
	expect_mapped(vm, 5 * MIB + 0x1000, GIB + 5 * MIB + 0x1000, RWX);
	hardware_walk(vm, 7 * MIB, &level);
	assert_int_equal(level, 2);
	/* In a small page the page-size bit means a memory type. */
	assert_false(hardware_walk(vm, 5 * MIB + 0x1000, &level) & PTE_PS);
	assert_int_equal(level, 1);
	/* Mapped back whole: the table stays, the translation is what was asked for. */
	assert_true(mmu_map(vm, GPA(4 * MIB), HPA(GIB + 4 * MIB), 2 * MIB, RWX));
	assert_int_equal(flushes, 1);
	expect_mapped(vm, 5 * MIB, GIB + 5 * MIB, RWX);
	free_vm(vm);
}

static void test_nested_flush_only_when_something_is_taken_away(void **state)
{
	struct vm *vm = new_vm(16 * MIB);

	(void)state;
	assert_true(mmu_map(vm, GPA(0x1000), HPA(0x5000), 0x1000, MMU_READ));
	assert_true(mmu_map(vm, GPA(0x1000), HPA(0x5000), 0x1000, RWX)); /* widened */
	assert_int_equal(flushes, 0);
	assert_true(mmu_map(vm, GPA(0x1000), HPA(0x5000), 0x1000, MMU_READ | MMU_EXEC));
	assert_int_equal(flushes, 1);
	assert_true(mmu_map(vm, GPA(0x1000), HPA(0x6000), 0x1000, RWX)); /* moved */
	assert_int_equal(flushes, 2);
	assert_true(mmu_zap(vm, GPA(0x1000), 0x1000));
	assert_int_equal(flushes, 3);
	assert_true(mmu_zap(vm, GPA(0x1000), 0x1000)); /* nothing there */
	assert_int_equal(flushes, 3);
	free_vm(vm);
}

static void test_nested_unmap_of_everything_is_quick_and_complete(void **state)
{
	struct vm *vm = new_vm(16 * MIB);

	(void)state;
	assert_true(mmu_map(vm, GPA(0), HPA(GIB), 16 * MIB, RWX));
	assert_true(mmu_zap(vm, GPA(0), 1ull << 48));
	assert_int_equal(flushes, 1);
	expect_unmapped(vm, 0);
	expect_unmapped(vm, 16 * MIB - 1);
	free_vm(vm);
}

static void test_nested_exhausted_pool_is_reported(void **state)
{
	struct vm *vm = new_vm(16 * MIB);
	u64 i;

	(void)state;
	assert_true(mmu_map(vm, GPA(0), HPA(GIB), 16 * MIB, RWX));
	for (i = 0; i < 8 && mmu_zap(vm, GPA(i * 2 * MIB), 0x1000); i++)
		expect_unmapped(vm, i * 2 * MIB);
	assert_in_range(i, 1, 7);
	/* The one that failed is as it was. */
	expect_mapped(vm, i * 2 * MIB, GIB + i * 2 * MIB, RWX);
	assert_false(mmu_map(vm, GPA(1ull << 40), HPA(0), 0x1000, RWX));
	/* What needs no new table still works. */
	assert_true(mmu_zap(vm, GPA(i * 2 * MIB), 2 * MIB));
	expect_unmapped(vm, i * 2 * MIB);
	free_vm(vm);
}

static void test_nested_addresses_beyond_48_bits(void **state)
{
	struct vm *vm = new_vm(16 * MIB);

	(void)state;
	assert_false(mmu_map(vm, GPA(1ull << 48), HPA(0), 0x1000, RWX));
	assert_false(mmu_map(vm, GPA((1ull << 48) - 0x1000), HPA(0), 0x2000, RWX));
	assert_false(mmu_map(vm, GPA(0x1000), HPA(0), ~0xfffull, RWX));
	expect_unmapped(vm, 1ull << 48);
	expect_unmapped(vm, ~0ull);
	assert_true(mmu_zap(vm, GPA(~0xfffull), 0x1000));
	expect_assert_failure(mmu_map(vm, GPA(1), HPA(0), 0x1000, RWX));
	expect_assert_failure(mmu_map(vm, GPA(0), HPA(0), 0x1000, MMU_WRITE));
	free_vm(vm);
}

/* Map a machine's memory, the first 2 MiB in small pages, and one device page far from all RAM. */
static u32 map_whole_machine(u64 memory)
{
	struct vm *vm = new_vm(memory);
	u64 low = min_u64(memory, VM_LOW_RAM_END);
	u32 used, slack;
	u64 gpa;

	for (gpa = 0; gpa < 2 * MIB; gpa += 0x1000)
		assert_true(mmu_map(vm, GPA(gpa), HPA(64 * GIB + gpa), 0x1000, RWX));
	assert_true(mmu_map(vm, GPA(2 * MIB), HPA(64 * GIB + 2 * MIB), low - 2 * MIB, RWX));
	if (memory > low)
		assert_true(mmu_map(vm, GPA(4 * GIB), HPA(64 * GIB + low), memory - low, RWX));
	assert_true(mmu_map(vm, GPA(0xfee00000), HPA(0x1000), 0x1000, MMU_READ | MMU_WRITE));
	expect_mapped(vm, low - 1, 64 * GIB + low - 1, RWX);
	if (memory > low)
		expect_mapped(vm, 4 * GIB, 64 * GIB + low, RWX);
	used = vm->mmu.pool_used;
	slack = vm->mmu.pool_pages - used;
	assert_int_equal(vm->mmu.pool_pages, mmu_pool_pages(memory));
	free_vm(vm);
	return slack;
}

static void test_nested_pool_is_an_exact_bound(void **state)
{
	static const u64 sizes[] = {16 * MIB,          GIB,     GIB + 2 * MIB, 3 * GIB,
	                            3 * GIB + 2 * MIB, 4 * GIB, 8 * GIB,       700 * GIB};
	u32 i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		assert_int_equal(map_whole_machine(sizes[i]), 0);
}

static void test_nested_pool_covers_misaligned_regions(void **state)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	(void)state;
	vm->config.memory = 16 * MIB;
	vm->region[0] = (struct vm_region){GPA(0), 16 * MIB, (u8 *)(GIB + 0x1000)};
	vm->region[1] = (struct vm_region){GPA(0xfff80000), 512 << 10, (u8 *)(2 * GIB)};
	vm->region_count = 2;
	assert_true(mmu_create(vm));
	assert_true(mmu_map(vm, GPA(0), HPA(GIB + 0x1000), 16 * MIB, RWX));
	assert_true(mmu_map(vm, GPA(0xfff80000), HPA(2 * GIB), 512 << 10, MMU_READ | MMU_EXEC));
	assert_true(mmu_map(vm, GPA(0x700000000ull), HPA(0x1000), 0x1000, RWX));
	free_vm(vm);
}

#define MODEL_PAGES 8192u /* 32 MiB */

struct model_page {
	u64 hpa;
	u32 access; /* 0: not mapped */
};

static u64 random_state = 88172645463325252ull;

static u32 next_random(u32 below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (u32)(random_state >> 11) % below;
}

static bool model_map(struct model_page *model, u32 page, u32 count, u64 hpa, u32 access)
{
	bool narrowed = false;
	u32 i;

	for (i = page; i < page + count; i++, hpa += PAGE_SIZE) {
		if (model[i].access && (model[i].hpa != hpa || model[i].access & ~access))
			narrowed = true;
		model[i] = (struct model_page){hpa, access};
	}
	return narrowed;
}

static void test_nested_agrees_with_a_flat_model(void **state)
{
	struct model_page *model = calloc(MODEL_PAGES, sizeof(*model));
	struct vm *vm = calloc(1, sizeof(*vm));
	u32 round, i;

	(void)state;
	/* A region that is out of step makes the pool as large as all small pages need. */
	vm->config.memory = MODEL_PAGES * PAGE_SIZE;
	vm->region[0] = (struct vm_region){GPA(0), MODEL_PAGES * PAGE_SIZE, (u8 *)0x1000};
	vm->region_count = 1;
	assert_true(mmu_create(vm));
	for (round = 0; round < 400; round++) {
		static const u32 accesses[] = {MMU_READ, MMU_READ | MMU_WRITE, RWX,
		                               MMU_READ | MMU_EXEC};
		u32 page = next_random(MODEL_PAGES), access = accesses[next_random(4)];
		u32 count = 1 + next_random(next_random(2) ? 1500 : 4);
		u64 hpa = GIB + (u64)next_random(16) * 2 * MIB;
		bool expected;

		if (next_random(2))
			page &= ~511u;
		else
			hpa += next_random(512) * PAGE_SIZE;
		count = (u32)min_u64(count, MODEL_PAGES - page);
		flushes = 0;
		if (next_random(4)) {
			expected = model_map(model, page, count, hpa, access);
			assert_true(mmu_map(vm, GPA(page * PAGE_SIZE), HPA(hpa), count * PAGE_SIZE,
			                    access));
		} else {
			expected = false;
			for (i = page; i < page + count; i++) {
				expected |= model[i].access != 0;
				model[i].access = 0;
			}
			assert_true(mmu_zap(vm, GPA(page * PAGE_SIZE), count * PAGE_SIZE));
		}
		assert_int_equal(flushes, expected);
		for (i = 0; i < MODEL_PAGES; i++) {
			u64 gpa = i * PAGE_SIZE + 0x123;

			if (model[i].access)
				expect_mapped(vm, gpa, model[i].hpa + 0x123, model[i].access);
			else
				expect_unmapped(vm, gpa);
		}
	}
	free_vm(vm);
	free(model);
}

/* --- the second root, and faults --- */

static void expect_in_both(struct vm *vm, u64 gpa, u64 first, u64 second)
{
	u32 level;

	assert_int_equal(hardware_walk(vm, gpa, &level) & PTE_ADDR, first);
	assert_int_equal(hardware_walk_from(mmu_root_without_apic(vm), gpa, &level) & PTE_ADDR,
	                 second);
}

static void test_nested_second_root_lacks_the_apic_page_only(void **state)
{
	struct vm *vm = new_vm(16 * MIB);
	static const u64 near[] = {0,          4 * MIB,    0xfee00000 - 0x1000, 0xfee00000 + 0x1000,
	                           0xfed00000, 0xfef00000, 0xc0000000,          0xffe00000};

	(void)state;
	assert_true(mmu_map(vm, GPA(0), HPA(GIB), 16 * MIB, RWX));
	for (u32 i = 2; i < ARRAY_SIZE(near); i++)
		if (near[i] / (2 * MIB) == 0xfee00000 / (2 * MIB))
			assert_true(mmu_map(vm, GPA(near[i]), HPA(2 * GIB + near[i]), 0x1000, RWX));
		else if (!(near[i] % (2 * MIB)))
			assert_true(
			        mmu_map(vm, GPA(near[i]), HPA(2 * GIB + near[i]), 2 * MIB, RWX));
	assert_true(mmu_map(vm, GPA(0xfee00000), HPA(0x7000), 0x1000, RWX));
	expect_in_both(vm, 0xfee00000, 0x7000, 0);
	expect_in_both(vm, 4 * MIB, GIB + 4 * MIB, GIB + 4 * MIB);
	expect_in_both(vm, 0xfee01000, 2 * GIB + 0xfee01000, 2 * GIB + 0xfee01000);
	expect_in_both(vm, 0xc0000000, 2 * GIB + 0xc0000000, 2 * GIB + 0xc0000000);
	assert_true(mmu_zap(vm, GPA(0xfee00000), 0x2000));
	expect_in_both(vm, 0xfee00000, 0, 0);
	expect_in_both(vm, 0xfee01000, 0, 0);
	/* What comes later comes to both. */
	assert_true(mmu_map(vm, GPA(0xfee02000), HPA(0x9000), 0x1000, RWX));
	expect_in_both(vm, 0xfee02000, 0x9000, 0x9000);
	free_vm(vm);
}

static void test_nested_a_zap_makes_a_decided_fault_void(void **state)
{
	struct vm *vm = new_vm(16 * MIB);
	u32 seq = mmu_invalidate_seq(vm);

	(void)state;
	assert_true(mmu_install(vm, GPA(0xfee00000), HPA(0x7000), MMU_READ | MMU_WRITE, seq));
	expect_mapped(vm, 0xfee00000, 0x7000, MMU_READ | MMU_WRITE);
	/* Another one was as fast. */
	assert_true(mmu_install(vm, GPA(0xfee00000), HPA(0x7000), MMU_READ | MMU_WRITE, seq));
	assert_int_equal(vm->mmu.counts.installs, 1);
	assert_true(mmu_zap(vm, GPA(0xfee00000), 0x1000));
	assert_int_equal(flushes, 1);
	assert_false(mmu_install(vm, GPA(0xfee00000), HPA(0x7000), MMU_READ | MMU_WRITE, seq));
	assert_int_equal(vm->mmu.counts.fault_retries, 1);
	expect_unmapped(vm, 0xfee00000);
	/* Nothing is there to be flushed; the decision is void all the same. */
	seq = mmu_invalidate_seq(vm);
	assert_true(mmu_zap(vm, GPA(0xfee00000), 0x1000));
	assert_int_equal(flushes, 1);
	assert_false(mmu_install(vm, GPA(0xfee00000), HPA(0x7000), MMU_READ | MMU_WRITE, seq));
	assert_int_equal(vm->mmu.counts.zaps, 2);
	assert_int_equal(vm->mmu.counts.remote_flushes, 1);
	free_vm(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_nested_entries_have_the_long_mode_format),
	        cmocka_unit_test(test_nested_uses_large_pages_only_where_aligned),
	        cmocka_unit_test(test_nested_split_keeps_the_rest),
	        cmocka_unit_test(test_nested_flush_only_when_something_is_taken_away),
	        cmocka_unit_test(test_nested_unmap_of_everything_is_quick_and_complete),
	        cmocka_unit_test(test_nested_exhausted_pool_is_reported),
	        cmocka_unit_test(test_nested_addresses_beyond_48_bits),
	        cmocka_unit_test(test_nested_pool_is_an_exact_bound),
	        cmocka_unit_test(test_nested_pool_covers_misaligned_regions),
	        cmocka_unit_test(test_nested_agrees_with_a_flat_model),
	        cmocka_unit_test(test_nested_second_root_lacks_the_apic_page_only),
	        cmocka_unit_test(test_nested_a_zap_makes_a_decided_fault_void),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
