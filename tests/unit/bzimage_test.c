/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * platform/linux.c, elf.c, longmode.c: what the loaders put where, and what they say about files
 * that are not what they should be. Files are allocated to their exact size, so that the address
 * sanitizer sees every byte read beyond them. A real kernel is loaded too if POSTERN_TEST_KERNEL
 * names one.
 */
#include "platform_fake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SETUP_SECTS 4
#define SETUP_SIZE  ((SETUP_SECTS + 1) * 512)
#define BODY_SIZE   0x3000
#define PREF        0x1000000ull
#define INIT_SIZE   0x200000ull
#define ZP          LAYOUT_BOOT_PARAMS

struct file {
	u8 *data;
	u64 size;
};

static struct refusal refusal; /* of the last load */

static void put(u8 *at, u32 size, u64 value)
{
	memcpy(at, &value, size);
}

static u64 get(u64 gpa, u32 size)
{
	u64 value = 0;

	memcpy(&value, fake->memory + gpa, size);
	return value;
}

static struct file make_kernel(void)
{
	struct file k = {malloc(SETUP_SIZE + BODY_SIZE), SETUP_SIZE + BODY_SIZE};

	for (u64 i = 0; i < k.size; i++)
		k.data[i] = (u8)(i * 7 + (i >> 8));
	put(k.data + 0x1f1, 1, SETUP_SECTS);
	put(k.data + 0x1f4, 4, BODY_SIZE / 16);
	put(k.data + 0x1fe, 2, 0xaa55);
	put(k.data + 0x201, 1, 0x6a);
	memcpy(k.data + 0x202, "HdrS", 4);
	put(k.data + 0x206, 2, 0x020f);
	put(k.data + 0x22c, 4, 0x7fffffff);
	put(k.data + 0x230, 4, 0x200000);
	put(k.data + 0x234, 1, 1);
	put(k.data + 0x236, 2, 0x7f);
	put(k.data + 0x238, 4, 2047);
	put(k.data + 0x248, 4, 0x300);
	put(k.data + 0x24c, 4, 0x2000);
	put(k.data + 0x258, 8, PREF);
	put(k.data + 0x260, 4, INIT_SIZE);
	return k;
}

static const char *load(const struct file *k, const void *initrd, u64 initrd_size,
                        const char *cmdline)
{
	bool ok;

	refusal = REFUSED(CONFIG, "not set");
	ok = linux_load(&fake->vm, k->data, k->size, initrd, initrd_size, cmdline, &refusal);
	assert_true(ok == !refusal.why);
	return refusal.why;
}

static void expect_refusal(const struct file *k, const char *what)
{
	const char *why = load(k, NULL, 0, "");

	assert_non_null(why);
	if (!strstr(why, what))
		fail_msg("'%s' does not mention '%s'", why, what);
}

/* The linear address' translation by the tables that the vCPU starts with. */
static u64 walk(u64 address)
{
	u64 table = fake->state.cr3;

	for (u32 level = 4; level >= 2; level--) {
		u64 entry = get(table + (address >> (12 + 9 * (level - 1)) & 511) * 8, 8);

		assert_int_equal(entry & (PTE_P | PTE_W), PTE_P | PTE_W);
		table = entry & PTE_ADDR;
		if (entry & PTE_PS)
			return level == 2 ? table + address % PAGE_SIZE_2M : ~0ull;
	}
	return ~0ull;
}

static void expect_long_mode(u64 rip)
{
	const struct vcpu_state *s = &fake->state;
	static const u64 addresses[] = {0, 0x7123, 0x1000000, 0xbfffffff, 0xfee00300, 0xffffffff};

	assert_int_equal(s->cr0 & (CR0_PE | CR0_PG | CR0_CD | CR0_NW), CR0_PE | CR0_PG);
	assert_int_equal(s->cr4, CR4_PAE);
	assert_int_equal(s->efer, EFER_LME | EFER_LMA);
	assert_int_equal(s->seg[SEG_CS].selector, 0x10);
	assert_int_equal(s->seg[SEG_CS].attr & (SEG_ATTR_L | SEG_ATTR_DB | SEG_ATTR_P),
	                 SEG_ATTR_L | SEG_ATTR_P);
	assert_int_equal(s->seg[SEG_DS].selector, 0x18);
	assert_int_equal(s->seg[SEG_SS].selector, 0x18);
	assert_int_equal(s->seg[SEG_ES].selector, 0x18);
	assert_int_equal(get(s->gdt_base + 0x10, 8), 0x00af9b000000ffff);
	assert_int_equal(get(s->gdt_base + 0x18, 8), 0x00cf93000000ffff);
	assert_int_equal(s->gdt_limit, 31);
	assert_int_equal(fake->vcpu[0].regs.rip, rip);
	assert_int_equal(fake->vcpu[0].regs.rflags, RFLAGS_RES1); /* interrupts off */
	for (u32 i = 0; i < ARRAY_SIZE(addresses); i++)
		assert_int_equal(walk(addresses[i]), addresses[i]);
}

static void test_bzimage_is_loaded(void **state)
{
	struct file k = make_kernel();

	(void)state;
	assert_null(load(&k, NULL, 0, "console=ttyS0"));
	assert_memory_equal(fake->memory + PREF, k.data + SETUP_SIZE, BODY_SIZE);
	assert_int_equal(fake->memory[PREF + BODY_SIZE], 0xa5);
	expect_long_mode(PREF + 0x200);
	assert_int_equal(fake->vcpu[0].regs.gpr[GPR_RSI], ZP);
	/* The header is the file's, with the loader's fields. */
	assert_memory_equal(fake->memory + ZP + 0x1f1, k.data + 0x1f1, 0x210 - 0x1f1);
	assert_int_equal(get(ZP + 0x210, 1), 0xff);
	assert_int_equal(get(ZP + 0x258, 8), PREF);
	assert_int_equal(get(ZP + 0x1ef, 1), 0); /* sentinel */
	assert_int_equal(get(ZP + 0x26c, 4), 0); /* behind the header: zero */
	assert_int_equal(get(ZP + 0x070, 8), LAYOUT_RSDP);
	assert_int_equal(get(ZP + 0x218, 8), 0); /* no initrd */
	assert_string_equal((char *)fake->memory + get(ZP + 0x228, 4), "console=ttyS0");
	free(k.data);
}

static void expect_e820(u32 index, u64 base, u64 end, u32 type)
{
	u64 entry = ZP + 0x2d0 + index * 20;

	assert_int_equal(get(entry, 8), base);
	assert_int_equal(get(entry + 8, 8), end - base);
	assert_int_equal(get(entry + 16, 4), type);
}

static void test_bzimage_memory_map(void **state)
{
	struct file k = make_kernel();

	(void)state;
	/* Memory above 4 GiB: nothing is written there, so the host side may be anywhere. */
	fake->vm.region[2] = (struct vm_region){GPA(1ull << 32), 4096, fake->memory};
	fake->vm.region_count = 3;
	assert_null(load(&k, NULL, 0, NULL));
	assert_int_equal(get(ZP + 0x1e8, 1), 5);
	expect_e820(0, 0, 0x9fc00, 1);
	expect_e820(1, 0x9fc00, 0xa0000, 2);
	expect_e820(2, 0xe0000, 0x100000, 2);
	expect_e820(3, 0x100000, FAKE_MEMORY, 1);
	expect_e820(4, 1ull << 32, (1ull << 32) + 4096, 1);
	free(k.data);
}

static void test_bzimage_initrd_goes_high(void **state)
{
	struct file k = make_kernel();
	u8 *initrd = malloc(10000);
	u64 at;

	(void)state;
	memset(initrd, 0x33, 10000);
	assert_null(load(&k, initrd, 10000, ""));
	at = get(ZP + 0x218, 4);
	assert_int_equal(at, (FAKE_MEMORY - 10000) & PAGE_MASK);
	assert_int_equal(get(ZP + 0x21c, 4), 10000);
	assert_memory_equal(fake->memory + at, initrd, 10000);
	put(k.data + 0x22c, 4, 0x1ffffff); /* the kernel's limit is lower */
	assert_null(load(&k, initrd, 10000, ""));
	assert_int_equal(get(ZP + 0x218, 4), (0x2000000 - 10000) & ~0xfffull);
	put(k.data + 0x22c, 4, PREF + INIT_SIZE); /* would overlap the kernel */
	assert_non_null(strstr(load(&k, initrd, 10000, ""), "initrd"));
	put(k.data + 0x22c, 4, 100);
	assert_non_null(strstr(load(&k, initrd, 10000, ""), "initrd"));
	free(initrd);
	free(k.data);
}

static void test_bzimage_initrd_too_large(void **state)
{
	struct file k = make_kernel();
	u8 *initrd = calloc(1, FAKE_MEMORY);

	(void)state;
	assert_non_null(strstr(load(&k, initrd, FAKE_MEMORY, ""), "initrd: too large"));
	assert_non_null(strstr(load(&k, initrd, FAKE_MEMORY - PREF, ""), "initrd: too large"));
	assert_int_equal(refusal.kind, REPORT_REFUSED_ROOM);
	assert_null(load(&k, initrd, FAKE_MEMORY - PREF - INIT_SIZE, ""));
	free(initrd);
	free(k.data);
}

static void test_bzimage_cmdline_limit(void **state)
{
	struct file k = make_kernel();
	char *long_line = malloc(0x10001);

	(void)state;
	memset(long_line, 'a', 0x10000);
	long_line[0x10000] = 0;
	put(k.data + 0x238, 4, 0xffffffff);
	assert_non_null(strstr(load(&k, NULL, 0, long_line), "command line"));
	assert_int_equal(refusal.kind, REPORT_REFUSED_CONFIG);
	put(k.data + 0x238, 4, 2047);
	long_line[2048] = 0;
	assert_non_null(strstr(load(&k, NULL, 0, long_line), "command line"));
	long_line[2047] = 0;
	assert_null(load(&k, NULL, 0, long_line));
	free(long_line);
	free(k.data);
}

static void test_bzimage_truncated(void **state)
{
	struct file k = make_kernel();

	(void)state;
	for (u64 size = 0; size < k.size; size += size < 0x400 ? 1 : 97) {
		struct file cut = {malloc(size), size};

		memcpy(cut.data, k.data, size);
		expect_refusal(&cut, size < 0x264 ? "too short" : "truncated");
		free(cut.data);
	}
	free(k.data);
}

static void test_bzimage_refusals(void **state)
{
	struct file k = make_kernel();

	(void)state;
	put(k.data + 0x202, 4, 0);
	expect_refusal(&k, "not a bzImage");
	assert_int_equal(refusal.kind, REPORT_REFUSED_FILE);
	memcpy(k.data + 0x202, "HdrS", 4);
	put(k.data + 0x1fe, 2, 0);
	expect_refusal(&k, "not a bzImage");
	put(k.data + 0x1fe, 2, 0xaa55);
	put(k.data + 0x206, 2, 0x020b);
	expect_refusal(&k, "too old");
	put(k.data + 0x206, 2, 0x020f);
	put(k.data + 0x236, 2, 0x7e);
	expect_refusal(&k, "64-bit entry");
	put(k.data + 0x236, 2, 0x7f);
	put(k.data + 0x260, 4, 0xffffffff);
	expect_refusal(&k, "too large");
	assert_int_equal(refusal.kind, REPORT_REFUSED_ROOM);
	put(k.data + 0x260, 4, FAKE_MEMORY - PREF);
	assert_null(load(&k, NULL, 0, ""));
	put(k.data + 0x260, 4, FAKE_MEMORY - PREF + 1);
	expect_refusal(&k, "too large");
	put(k.data + 0x260, 4, INIT_SIZE);
	put(k.data + 0x258, 8, ~0ull - 0x1000);
	expect_refusal(&k, "too large");
	put(k.data + 0x258, 8, 0x7000); /* onto the loader's tables */
	assert_null(load(&k, NULL, 0, ""));
	expect_long_mode(0x200000 + 0x200); /* relocatable: moved up */
	put(k.data + 0x234, 1, 0);
	expect_refusal(&k, "below 1 MiB");
	put(k.data + 0x258, 8, PREF);
	put(k.data + 0x248, 4, 0xfffffff0); /* the payload outside the file */
	expect_refusal(&k, "truncated");
	free(k.data);
}

static u32 next_random(u32 *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

/* No header makes the loader touch what it must not: the sanitizers and fake memory watch. */
static void test_bzimage_mutated_headers(void **state)
{
	struct file good = make_kernel();
	u32 seed = 1, loaded = 0, refused = 0;
	u8 initrd[5000] = {0};

	(void)state;
	for (u32 round = 0; round < 20000; round++) {
		static const u8 extremes[] = {0x00, 0xff, 0x7f, 0x80, 0x01};
		struct file k = {malloc(good.size), good.size};
		u32 changes = 1 + next_random(&seed) % 4;

		memcpy(k.data, good.data, good.size);
		for (u32 i = 0; i < changes; i++) {
			u32 at = 0x1f1 + next_random(&seed) % (0x268 - 0x1f1);
			u32 r = next_random(&seed);

			k.data[at] = r & 1 ? extremes[r / 2 % 5] : (u8)(r >> 1);
		}
		if (load(&k, initrd, next_random(&seed) % sizeof(initrd), "quiet"))
			refused++;
		else
			loaded++;
		free(k.data);
	}
	/* Both ends have been exercised. */
	assert_true(loaded > 1000 && refused > 1000);
	free(good.data);
}

static void test_bzimage_real_kernel(void **state)
{
	const char *name = getenv("POSTERN_TEST_KERNEL");
	FILE *file = name ? fopen(name, "rb") : NULL;
	struct file k = {NULL, 0};
	u64 at;

	(void)state;
	if (!file) {
		skip();
		return;
	}
	fseek(file, 0, SEEK_END);
	k.size = (u64)ftell(file);
	k.data = malloc(k.size);
	rewind(file);
	assert_int_equal(fread(k.data, 1, k.size, file), k.size);
	fclose(file);
	fake_set_memory(256ull << 20, 1);
	assert_null(load(&k, "initrd", 6, "console=ttyS0"));
	at = fake->vcpu[0].regs.rip - 0x200;
	assert_int_equal(at % 0x200000, 0);
	assert_memory_equal(fake->memory + at, k.data + (k.data[0x1f1] + 1) * 512, 0x100000);
	free(k.data);
}

/* --- ELF --- */

#define ELF_SIZE 0x1100

static struct file make_elf(u64 paddr)
{
	struct file e = {calloc(1, ELF_SIZE), ELF_SIZE};

	memcpy(e.data, "\177ELF\2\1\1", 7);
	put(e.data + 16, 2, 2);
	put(e.data + 18, 2, 62);
	put(e.data + 24, 8, paddr + 0x10);
	put(e.data + 32, 8, 64);
	put(e.data + 54, 2, 56);
	put(e.data + 56, 2, 1);
	put(e.data + 64, 4, 1);
	put(e.data + 64 + 8, 8, 0x1000);
	put(e.data + 64 + 24, 8, paddr);
	put(e.data + 64 + 32, 8, 0x100);
	put(e.data + 64 + 40, 8, 0x2000);
	memset(e.data + 0x1000, 0x90, 0x100);
	return e;
}

static const char *load_elf(const struct file *e)
{
	bool ok;

	refusal = REFUSED(CONFIG, "not set");
	ok = elf_load(&fake->vm, e->data, e->size, &refusal);
	assert_true(ok == !refusal.why);
	return refusal.why;
}

static void test_elf_is_loaded(void **state)
{
	struct file e = make_elf(0x200000);

	(void)state;
	assert_null(load_elf(&e));
	assert_memory_equal(fake->memory + 0x200000, e.data + 0x1000, 0x100);
	assert_int_equal(get(0x200100, 8), 0); /* bss */
	assert_int_equal(get(0x201fff, 1), 0);
	assert_int_equal(get(0x202000, 1), 0xa5);
	expect_long_mode(0x200010);
	assert_int_equal(fake->vcpu[0].regs.gpr[GPR_RSP], 0x7000);
	assert_int_equal(fake->vcpu[0].regs.gpr[GPR_RDI], 4);
	free(e.data);
}

static void test_elf_refusals(void **state)
{
	static const struct {
		u32 offset, size;
		u64 value;
		const char *what;
	} bad[] = {
	        {0, 1, 0, "not an ELF"},
	        {4, 1, 1, "x86-64"},
	        {18, 2, 3, "x86-64"},
	        {16, 2, 3, "x86-64"},
	        {32, 8, ~0ull, "program headers"},
	        {56, 2, 0xffff, "program headers"},
	        {54, 2, 8, "program headers"},
	        {64 + 8, 8, ~0ull, "outside the file"},
	        {64 + 8, 8, 0x1001, "outside the file"},
	        {64 + 32, 8, ~0ull, "outside the file"},
	        {64 + 40, 8, 0xff, "outside the file"},
	        {64 + 40, 8, ~0ull, "above 4 GiB"},
	        {64 + 24, 8, ~0ull, "above 4 GiB"},
	        {64 + 24, 8, 0xffffff00, "above 4 GiB"},
	        {64 + 24, 8, 0x8000, "overlaps"},
	        {64 + 24, 8, 0xdf000, "overlaps"},
	        {64 + 24, 8, 0x9f000, "outside the guest's memory"},
	        {64 + 24, 8, FAKE_MEMORY - 0x1000, "outside the guest's memory"},
	        {64, 4, 2, "nothing to load"},
	        {24, 8, 1ull << 32, "entry"},
	};

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
		struct file e = make_elf(0x200000);
		const char *why;

		put(e.data + bad[i].offset, bad[i].size, bad[i].value);
		why = load_elf(&e);
		if (!why || !strstr(why, bad[i].what))
			fail_msg("case %u: '%s'", i, why ? why : "loaded");
		free(e.data);
	}
}

static void test_elf_truncated(void **state)
{
	struct file e = make_elf(0x200000);

	(void)state;
	for (u64 size = 0; size < e.size; size += size < 200 ? 1 : 31) {
		struct file cut = {malloc(size), size};

		memcpy(cut.data, e.data, size);
		assert_non_null(load_elf(&cut));
		free(cut.data);
	}
	free(e.data);
}

/* Of program headers and header, every byte in turn takes the values that hurt most. */
static void test_elf_mutated_headers(void **state)
{
	static const u8 extremes[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
	struct file good = make_elf(0x200000);
	u32 loaded = 0, refused = 0;

	(void)state;
	for (u32 at = 0; at < 64 + 56; at++) {
		for (u32 width = 1; width <= 8; width *= 2) {
			for (u32 i = 0; i < ARRAY_SIZE(extremes); i++) {
				struct file e = {malloc(good.size), good.size};

				memcpy(e.data, good.data, good.size);
				memset(e.data + at, extremes[i], width);
				if (load_elf(&e))
					refused++;
				else
					loaded++;
				free(e.data);
			}
		}
	}
	assert_true(loaded > 100 && refused > 100);
	free(good.data);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup_bare, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(test_bzimage_is_loaded),
	        TEST(test_bzimage_memory_map),
	        TEST(test_bzimage_initrd_goes_high),
	        TEST(test_bzimage_initrd_too_large),
	        TEST(test_bzimage_cmdline_limit),
	        TEST(test_bzimage_truncated),
	        TEST(test_bzimage_refusals),
	        TEST(test_bzimage_mutated_headers),
	        TEST(test_bzimage_real_kernel),
	        TEST(test_elf_is_loaded),
	        TEST(test_elf_refusals),
	        TEST(test_elf_truncated),
	        TEST(test_elf_mutated_headers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
