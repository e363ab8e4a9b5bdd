/* SPDX-License-Identifier: BSD-2-Clause */
/* The walk of the guest's page tables: modes, permissions, reserved bits, hostile tables. */
#include "mmu/mmu.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/vm.h"
#include "postern/backend.h"
#include "postern/port.h"

#define RAM_SIZE   (1u << 20)
#define FULL       (PTE_P | PTE_W | PTE_U)
#define LONG_CR4   CR4_PAE
#define LONG_EFER  (EFER_LME | EFER_LMA | EFER_NXE)
#define PAGING_CR0 (CR0_PE | CR0_PG | CR0_WP)

struct backend backend_table;

static u8 *ram;
static struct vm vm;
static struct vcpu vcpu;
static struct vcpu_state state;

void *vm_memory(struct vm *of, gpa_t gpa, u64 len)
{
	assert_ptr_equal(of, &vm);
	return gpa.v < RAM_SIZE && len <= RAM_SIZE - gpa.v ? ram + gpa.v : NULL;
}

bool vm_read(struct vm *of, gpa_t gpa, void *to, u64 len)
{
	void *from = vm_memory(of, gpa, len);

	if (from)
		memcpy(to, from, len);
	return from;
}

bool vm_write(struct vm *of, gpa_t gpa, const void *from, u64 len)
{
	void *to = vm_memory(of, gpa, len);

	if (to)
		memcpy(to, from, len);
	return to;
}

/* Above RAM: a page of ROM, and one of a device, which is not executable. */
#define ROM_PAGE    0x200000u
#define DEVICE_PAGE 0x201000u
static u8 rom[PAGE_SIZE], device[PAGE_SIZE];

bool mmu_lookup(struct vm *of, gpa_t gpa, hpa_t *hpa, u32 *access)
{
	bool is_rom = (gpa.v & PAGE_MASK) == ROM_PAGE;

	assert_ptr_equal(of, &vm);
	if (!is_rom && (gpa.v & PAGE_MASK) != DEVICE_PAGE)
		return false;
	*hpa = HPA((uintptr_t)(is_rom ? rom : device) + (gpa.v & ~PAGE_MASK));
	*access = MMU_READ | (is_rom ? MMU_EXEC : MMU_WRITE);
	return true;
}

void *hpa_to_ptr(hpa_t hpa)
{
	return (void *)(uintptr_t)hpa.v;
}

static void get_state(struct vcpu *of, struct vcpu_state *to)
{
	assert_ptr_equal(of, &vcpu);
	*to = state;
}

static int setup(void **unused)
{
	(void)unused;
	backend_table.get_state = get_state;
	ram = aligned_alloc(4096, RAM_SIZE);
	memset(ram, 0, RAM_SIZE);
	memset(&vm, 0, sizeof(vm));
	memset(&vcpu, 0, sizeof(vcpu));
	memset(&state, 0, sizeof(state));
	vcpu.vm = &vm;
	return 0;
}

static int teardown(void **unused)
{
	(void)unused;
	free(ram);
	return 0;
}

static void set64(u64 gpa, u64 value)
{
	memcpy(ram + gpa, &value, 8);
}

static void set32(u64 gpa, u32 value)
{
	memcpy(ram + gpa, &value, 4);
}

static void use_long_mode(void)
{
	state.cr0 = PAGING_CR0;
	state.cr4 = LONG_CR4;
	state.efer = LONG_EFER;
	state.cr3 = 0x1000;
}

static void expect_gpa(u64 gva, u32 access, u64 wanted)
{
	gpa_t gpa = GPA(0);
	u32 error = 0;

	assert_int_equal(mmu_walk(&vcpu, GVA(gva), access, &gpa, &error), MMU_WALK_OK);
	assert_int_equal(gpa.v, wanted);
}

static void expect_fault(u64 gva, u32 access, u32 wanted)
{
	gpa_t gpa;
	u32 error = 0;

	assert_int_equal(mmu_walk(&vcpu, GVA(gva), access, &gpa, &error), MMU_WALK_FAULT);
	assert_int_equal(error, wanted);
}

static void test_walk_paging_off(void **unused)
{
	(void)unused;
	state.cr0 = CR0_PE;
	expect_gpa(0x12345678, PF_WRITE | PF_USER, 0x12345678);
	expect_gpa(0x1ffffffffull, 0, 0xffffffff);
}

static void test_walk_32_bit(void **unused)
{
	(void)unused;
	state.cr0 = PAGING_CR0;
	state.cr3 = 0x1018; /* PCD, PWT and the low bits are no address */
	set32(0x1000 + 4 * 0x300, 0x2000 | FULL);
	set32(0x2000 + 4 * 0x155, 0xabcde000 | FULL);
	expect_gpa(0xc0155678, PF_USER | PF_WRITE, 0xabcde678);
	expect_gpa(0xffffffffc0155678ull, 0, 0xabcde678);
	expect_fault(0xc0156678, PF_WRITE, PF_WRITE);
	expect_fault(0x00155678, PF_USER, PF_USER);
	/* Bit 7 is ignored without CR4.PSE, a 4 MiB page with it. */
	set32(0x1000 + 4 * 1, 0x2000 | FULL | PTE_PS);
	expect_gpa(0x00555123, 0, 0xabcde123);
	state.cr4 = CR4_PSE;
	set32(0x1000 + 4 * 1, 0x40000000 | FULL | PTE_PS | 0x5a << 13);
	expect_gpa(0x00555123, 0, 0x5a40155123ull);
	set32(0x1000 + 4 * 1, 0x40000000 | FULL | PTE_PS | BIT(21));
	expect_fault(0x00555123, 0, PF_PRESENT | PF_RSVD);
}

static void test_walk_pae(void **unused)
{
	(void)unused;
	state.cr0 = PAGING_CR0;
	state.cr4 = CR4_PAE;
	state.cr3 = 0x1020;
	set64(0x1020 + 8 * 3, 0x2000 | PTE_P); /* no U, no W at this level */
	set64(0x2000 + 8 * 5, 0x3000 | FULL);
	set64(0x3000 + 8 * 6, 0x123456000ull | FULL);
	set64(0x2000 + 8 * 7, 0x80000000ull | FULL | PTE_PS);
	expect_gpa(0xc0a06777, PF_USER | PF_WRITE, 0x123456777ull);
	expect_gpa(0xc0e12345, PF_USER, 0x80012345);
	/* A level-3 entry has no page size; its bit 7 and others are reserved. */
	set64(0x1020, 0x2000 | PTE_P | PTE_PS);
	expect_fault(0x1000, 0, PF_PRESENT | PF_RSVD);
	set64(0x1020, 0x2000 | PTE_P | PTE_W);
	expect_fault(0x1000, 0, PF_PRESENT | PF_RSVD);
	/* NX is reserved without EFER.NXE. */
	set64(0x3000 + 8 * 6, 0x123456000ull | FULL | PTE_NX);
	expect_fault(0xc0a06777, 0, PF_PRESENT | PF_RSVD);
	state.efer = EFER_NXE;
	expect_gpa(0xc0a06777, 0, 0x123456777ull);
	expect_fault(0xc0a06777, PF_FETCH, PF_PRESENT | PF_FETCH);
	set64(0x3000 + 8 * 6, 0x123456000ull | FULL | BIT64(55));
	expect_fault(0xc0a06777, 0, PF_PRESENT | PF_RSVD);
}

static void test_walk_4_level(void **unused)
{
	u64 gva = 0xffff800000000000ull | 3ull << 30 | 4ull << 21 | 5ull << 12 | 0x678;

	(void)unused;
	use_long_mode();
	state.cr3 = 0x1000 | 0x18 | 0xfff0000000000000ull;
	set64(0x1000 + 8 * 256, 0x2000 | FULL);
	set64(0x2000 + 8 * 3, 0x3000 | FULL);
	set64(0x3000 + 8 * 4, 0x4000 | FULL);
	/* Bits 62:52 belong to the guest's software. */
	set64(0x4000 + 8 * 5, 0xfedcba9876000ull | FULL | BIT64(62) | BIT64(52));
	expect_gpa(gva, PF_USER | PF_WRITE | PF_FETCH, 0xfedcba9876678ull);
	set64(0x3000 + 8 * 4, 0x40000000 | FULL | PTE_PS | BIT64(12));
	expect_gpa(gva, 0, 0x40005678);
	set64(0x3000 + 8 * 4, 0x40000000 | FULL | PTE_PS | BIT64(13));
	expect_fault(gva, 0, PF_PRESENT | PF_RSVD);
	set64(0x2000 + 8 * 3, 0x1c0000000ull | FULL | PTE_PS);
	expect_gpa(gva, 0, 0x1c0805678ull);
	set64(0x2000 + 8 * 3, 0x1c0200000ull | FULL | PTE_PS);
	expect_fault(gva, 0, PF_PRESENT | PF_RSVD);
	set64(0x1000 + 8 * 256, 0x2000 | FULL | PTE_PS);
	expect_fault(gva, 0, PF_PRESENT | PF_RSVD);
}

static void test_walk_5_level(void **unused)
{
	u64 gva = 0xff00000000000000ull | 7ull << 39 | 0x123;

	(void)unused;
	use_long_mode();
	state.cr4 |= CR4_LA57;
	set64(0x1000 + 8 * 256, 0x2000 | FULL);
	set64(0x2000 + 8 * 7, 0x3000 | FULL);
	set64(0x3000, 0x4000 | FULL);
	set64(0x4000, 0x5000 | FULL);
	set64(0x5000, 0x77000 | FULL);
	expect_gpa(gva, 0, 0x77123);
	expect_fault(0x0100000000000000ull, 0, MMU_ERROR_NONCANONICAL);
	set64(0x1000 + 8 * 256, 0x2000 | FULL | PTE_PS);
	expect_fault(gva, 0, PF_PRESENT | PF_RSVD);
}

static void test_walk_noncanonical(void **unused)
{
	(void)unused;
	use_long_mode();
	expect_fault(0x0000800000000000ull, 0, MMU_ERROR_NONCANONICAL);
	expect_fault(0xffff7fffffffffffull, PF_WRITE, MMU_ERROR_NONCANONICAL);
	expect_fault(0x00007fffffffffffull, PF_WRITE, PF_WRITE);
	expect_fault(0xffff800000000000ull, 0, 0);
}

/*
 * The rules of access rights, written down as the manuals' text has them rather than as the walker
 * computes them.
 */
static bool may_access(bool user_page, bool writable, bool nx, u32 access, u64 cr0, u64 cr4,
                       bool ac, bool implicit)
{
	bool user = access & PF_USER;

	if (user && !user_page)
		return false;
	if (access & PF_FETCH) {
		if (nx)
			return false;
		return !(!user && user_page && cr4 & CR4_SMEP);
	}
	if (!user && user_page && cr4 & CR4_SMAP && (implicit || !ac))
		return false;
	if (access & PF_WRITE && !writable)
		return !user && !(cr0 & CR0_WP);
	return true;
}

static void check_rights(u32 page_bits, u32 level, u32 mode_bits, u32 access)
{
	bool u = page_bits & 1, w = page_bits & 2, nx = page_bits & 4;
	u64 limit = ~((u ? 0 : PTE_U) | (w ? 0 : PTE_W)), x = nx ? PTE_NX : 0;
	u64 gva = 0x5123, table;
	bool wp = mode_bits & 1, smep = mode_bits & 2, smap = mode_bits & 4, ac = mode_bits & 8;
	bool cpl3 = mode_bits & 16;
	u32 i, error;

	/* The restriction stands at one level, all others permit everything. */
	for (i = 4, table = 0x1000; i >= 1; i--, table += 0x1000) {
		u64 entry = (table + 0x1000) | FULL;

		set64(table + (i == 1 ? 8 * 5 : 0), i == level ? (entry & limit) | x : entry);
	}
	state.cr0 = CR0_PE | CR0_PG | (wp ? CR0_WP : 0);
	state.cr4 = CR4_PAE | (smep ? CR4_SMEP : 0) | (smap ? CR4_SMAP : 0);
	state.cpl = cpl3 ? 3 : 0;
	vcpu.regs.rflags = ac ? RFLAGS_AC : 0;
	if (may_access(u, w, nx, access, state.cr0, state.cr4, ac, cpl3)) {
		expect_gpa(gva, access, 0x5123);
	} else {
		error = PF_PRESENT | access;
		expect_fault(gva, access, error);
	}
}

static void test_walk_access_rights(void **unused)
{
	static const u32 accesses[] = {0,       PF_WRITE,           PF_FETCH,
	                               PF_USER, PF_USER | PF_WRITE, PF_USER | PF_FETCH};
	u32 page, level, mode, i;

	(void)unused;
	use_long_mode();
	for (page = 0; page < 8; page++)
		for (level = 1; level <= 4; level++)
			for (mode = 0; mode < 32; mode++)
				for (i = 0; i < ARRAY_SIZE(accesses); i++)
					check_rights(page, level, mode, accesses[i]);
}

static void test_walk_fetch_bit_needs_nx_or_smep(void **unused)
{
	(void)unused;
	use_long_mode();
	expect_fault(0x1000, PF_FETCH, PF_FETCH);
	state.efer &= ~EFER_NXE;
	expect_fault(0x1000, PF_FETCH, 0);
	state.cr4 |= CR4_SMEP;
	expect_fault(0x1000, PF_FETCH, PF_FETCH);
}

static void test_walk_tables_outside_ram_are_not_present(void **unused)
{
	(void)unused;
	use_long_mode();
	state.cr3 = RAM_SIZE;
	expect_fault(0x1000, PF_WRITE, PF_WRITE);
	state.cr3 = 0xffffffffff000ull;
	expect_fault(0x1000, 0, 0);
	state.cr3 = 0x1000;
	set64(0x1000, PTE_ADDR | FULL);
	expect_fault(0x1000, 0, 0);
	/* A table that points to itself ends after four levels. */
	set64(0x1000, 0x1000 | FULL);
	expect_gpa(0x123, 0, 0x1123);
}

static void test_walk_survives_random_tables(void **unused)
{
	static const u64 cr4s[] = {0, CR4_PSE, CR4_PAE, CR4_PAE | CR4_LA57};
	u64 random = 0x2545f4914f6cdd1dull;
	u32 i, round, ok = 0;

	(void)unused;
	for (i = 0; i < RAM_SIZE; i += 8) {
		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		/* Half of the entries lead back into RAM. */
		set64(i, random & 1 ? random : (random & 0xff067) | 1);
	}
	for (round = 0; round < 200000; round++) {
		gpa_t gpa = GPA(0);
		u32 error = 0;

		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		state.cr0 = PAGING_CR0;
		state.cr4 = cr4s[random & 3];
		state.efer = state.cr4 & CR4_PAE && random & 4 ? LONG_EFER : 0;
		state.cr3 = random >> 20 & 0x1fffff;
		if (mmu_walk(&vcpu, GVA((s64)(random << 16) >> 17), random >> 8 & 0x16, &gpa,
		             &error) == MMU_WALK_OK) {
			assert_int_equal(gpa.v >> 52, 0);
			ok++;
		} else {
			assert_int_equal(error & ~(0x1fu | MMU_ERROR_NONCANONICAL), 0);
		}
	}
	assert_true(ok > 100);
}

static void map_pages(void)
{
	use_long_mode();
	set64(0x1000, 0x2000 | FULL);
	set64(0x2000, 0x3000 | FULL);
	set64(0x3000, 0x4000 | FULL);
	set64(0x4000 + 8 * 1, 0x81000 | FULL);
	set64(0x4000 + 8 * 2, 0x70000 | FULL);
	set64(0x4000 + 8 * 3, 0xfee00000 | FULL);
}

static void test_walk_copies_across_pages(void **unused)
{
	char text[8] = {0};
	gva_t fault;
	u32 error;

	(void)unused;
	map_pages();
	assert_true(mmu_write_linear(&vcpu, GVA(0x1ffd), 0, "abcdef", 6, &fault, &error));
	assert_memory_equal(ram + 0x81ffd, "abc", 3);
	assert_memory_equal(ram + 0x70000, "def", 3);
	assert_true(mmu_read_linear(&vcpu, GVA(0x1ffd), PF_USER, text, 6, &fault, &error));
	assert_string_equal(text, "abcdef");
}

static void test_walk_copy_outside_ram(void **unused)
{
	u8 bytes[4] = {0};
	gva_t fault;
	u32 error;

	(void)unused;
	map_pages();
	assert_true(mmu_read_linear(&vcpu, GVA(0x3010), 0, bytes, 4, &fault, &error));
	assert_memory_equal(bytes, "\xff\xff\xff\xff", 4);
	assert_true(mmu_write_linear(&vcpu, GVA(0x3010), 0, bytes, 4, &fault, &error));
}

/* Firmware runs in ROM, and may have its tables there. A device's page is mapped and is no memory. */
static void test_walk_rom_is_memory_and_devices_are_not(void **unused)
{
	gva_t fault;
	u8 bytes[8];
	u64 entry;
	u32 error;

	(void)unused;
	memset(rom, 0x5a, sizeof(rom));
	memset(device, 0x5a, sizeof(device));
	state.cr0 = CR0_PE;
	assert_true(
	        mmu_read_linear(&vcpu, GVA(ROM_PAGE + 0xff8), PF_FETCH, bytes, 8, &fault, &error));
	for (u32 i = 0; i < sizeof(bytes); i++)
		assert_int_equal(bytes[i], 0x5a);
	/* From ROM into the device: what is no memory is ones. */
	assert_true(mmu_read_linear(&vcpu, GVA(ROM_PAGE + 0xffc), 0, bytes, 8, &fault, &error));
	assert_int_equal(bytes[3], 0x5a);
	assert_int_equal(bytes[4], 0xff);
	use_long_mode();
	set64(0x1000, 0x2000 | FULL);
	set64(0x2000, 0x3000 | FULL);
	set64(0x3000, ROM_PAGE | FULL);
	entry = 0x7000 | FULL;
	memcpy(rom + 8, &entry, 8);
	memcpy(device + 8, &entry, 8);
	expect_gpa(0x1234, PF_WRITE, 0x7234);
	set64(0x3000, DEVICE_PAGE | FULL);
	expect_fault(0x1234, PF_WRITE, PF_WRITE);
}

static void test_walk_faulting_copy_names_the_page_and_writes_nothing(void **unused)
{
	u8 bytes[4] = {1, 2, 3, 4};
	gva_t fault;
	u32 error;

	(void)unused;
	map_pages();
	set64(0x4000 + 8 * 2, 0x70000 | PTE_P | PTE_U);
	assert_false(mmu_write_linear(&vcpu, GVA(0x1ffe), PF_USER, bytes, 4, &fault, &error));
	assert_int_equal(fault.v, 0x2000);
	assert_int_equal(error, PF_PRESENT | PF_WRITE | PF_USER);
	assert_memory_equal(ram + 0x81ffe, "\0\0", 2);
	assert_false(mmu_read_linear(&vcpu, GVA(0x3ffe), 0, bytes, 4, &fault, &error));
	assert_int_equal(fault.v, 0x4000);
	assert_int_equal(error, 0);
	assert_false(mmu_read_linear(&vcpu, GVA(0x7ffffffffffeull), 0, bytes, 4, &fault, &error));
	assert_int_equal(error, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	        TEST(test_walk_paging_off),
	        TEST(test_walk_32_bit),
	        TEST(test_walk_pae),
	        TEST(test_walk_4_level),
	        TEST(test_walk_5_level),
	        TEST(test_walk_noncanonical),
	        TEST(test_walk_access_rights),
	        TEST(test_walk_fetch_bit_needs_nx_or_smep),
	        TEST(test_walk_tables_outside_ram_are_not_present),
	        TEST(test_walk_survives_random_tables),
	        TEST(test_walk_copies_across_pages),
	        TEST(test_walk_copy_outside_ram),
	        TEST(test_walk_rom_is_memory_and_devices_are_not),
	        TEST(test_walk_faulting_copy_names_the_page_and_writes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
