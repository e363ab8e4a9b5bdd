/* SPDX-License-Identifier: BSD-2-Clause */
/* platform/multiboot.c and platform/post.c: images good and bad, machine state, information. */
#include "platform_fake.h"

#include <stdlib.h>
#include <string.h>

#define HEADER_AT 0x100u
#define BODY_AT   0x1000u
#define IMAGE     0x1100u
#define MAGIC     0x1badb002u

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

static void put_header(struct file *f, u32 flags)
{
	put(f->data + HEADER_AT, 4, MAGIC);
	put(f->data + HEADER_AT + 4, 4, flags);
	put(f->data + HEADER_AT + 8, 4, (u32)(0 - (MAGIC + flags)));
}

/* One segment of 100h bytes and 2000h in memory. */
static struct file make_elf32(u32 paddr)
{
	struct file f = {calloc(1, IMAGE), IMAGE};

	memcpy(f.data, "\177ELF\1\1\1", 7);
	put(f.data + 16, 2, 2);
	put(f.data + 18, 2, 3);
	put(f.data + 24, 4, paddr + 0x18);
	put(f.data + 28, 4, 52);
	put(f.data + 42, 2, 32);
	put(f.data + 44, 2, 1);
	put(f.data + 52, 4, 1);
	put(f.data + 52 + 4, 4, BODY_AT);
	put(f.data + 52 + 12, 4, paddr);
	put(f.data + 52 + 16, 4, 0x100);
	put(f.data + 52 + 20, 4, 0x2000);
	memset(f.data + BODY_AT, 0x90, 0x100);
	put_header(&f, 0);
	return f;
}

/* No ELF; the header says that the file from BODY_AT - 100h on goes to `load`. */
static struct file make_flat(u32 load, u32 load_end, u32 bss_end)
{
	struct file f = {calloc(1, IMAGE), IMAGE};

	memset(f.data + BODY_AT, 0x91, 0x100);
	put_header(&f, 1u << 16);
	put(f.data + HEADER_AT + 12, 4, load + 0x80);
	put(f.data + HEADER_AT + 16, 4, load);
	put(f.data + HEADER_AT + 20, 4, load_end);
	put(f.data + HEADER_AT + 24, 4, bss_end);
	put(f.data + HEADER_AT + 28, 4, load + 0x40);
	return f;
}

static const char *load(const struct file *f, const void *initrd, u64 initrd_size,
                        const char *cmdline)
{
	bool ok;

	refusal = REFUSED(CONFIG, "not set");
	fake->chip_write_count = 0;
	ok = multiboot_load(&fake->vm, f->data, f->size, initrd, initrd_size, cmdline, &refusal);
	assert_true(ok == !refusal.why);
	return refusal.why;
}

static void test_multiboot_machine_state(void **state)
{
	struct file f = make_elf32(0x200000);
	const struct vcpu_state *s = &fake->state;
	const struct vcpu_regs *regs = &fake->vcpu[0].regs;

	(void)state;
	assert_null(load(&f, NULL, 0, "name arguments"));
	assert_int_equal(regs->rip, 0x200018);
	assert_int_equal(regs->gpr[GPR_RAX], 0x2badb002);
	assert_int_equal(regs->rflags, RFLAGS_RES1); /* IF and VM clear */
	assert_int_equal(s->cr0 & (CR0_PE | CR0_PG), CR0_PE);
	assert_int_equal(s->efer, 0);
	assert_int_equal(s->seg[SEG_CS].attr & (SEG_ATTR_DB | SEG_ATTR_L | 0x8), SEG_ATTR_DB | 0x8);
	for (u32 i = SEG_ES; i <= SEG_GS; i++) {
		assert_int_equal(s->seg[i].base, 0);
		assert_int_equal(s->seg[i].limit, 0xffffffff);
	}
	assert_memory_equal(fake->memory + 0x200000, f.data + BODY_AT, 0x100);
	assert_int_equal(get(0x200100, 8), 0);
	assert_int_equal(get(0x201fff, 1), 0);
	assert_int_equal(get(0x202000, 1), 0xa5);
	free(f.data);
}

static void test_multiboot_information(void **state)
{
	struct file f = make_elf32(0x200000);
	struct layout_range map[LAYOUT_RANGES];
	u32 count = layout_memory_map(&fake->vm, map);
	u64 info, at;

	(void)state;
	assert_null(load(&f, NULL, 0, "name arguments"));
	info = fake->vcpu[0].regs.gpr[GPR_RBX];
	assert_int_equal(get(info, 4), 1u << 0 | 1u << 2 | 1u << 6 | 1u << 9);
	assert_int_equal(get(info + 4, 4), 639);
	assert_int_equal(get(info + 8, 4), (FAKE_MEMORY >> 10) - 1024);
	assert_string_equal((char *)fake->memory + get(info + 16, 4), "name arguments");
	assert_string_equal((char *)fake->memory + get(info + 64, 4), "Postern");
	assert_int_equal(get(info + 44, 4), count * 24);
	at = get(info + 48, 4);
	for (u32 i = 0; i < count; i++, at += get(at, 4) + 4) {
		assert_int_equal(get(at + 4, 8), map[i].base);
		assert_int_equal(get(at + 12, 8), map[i].size);
		assert_int_equal(get(at + 20, 4), map[i].type);
	}
	free(f.data);
}

static void test_multiboot_module(void **state)
{
	struct file f = make_elf32(0x200000);
	char *large = calloc(1, FAKE_MEMORY);
	u64 info, module, start;

	(void)state;
	assert_null(load(&f, "module", 6, NULL));
	info = fake->vcpu[0].regs.gpr[GPR_RBX];
	assert_true(get(info, 4) & 1u << 3);
	assert_int_equal(get(info + 20, 4), 1);
	module = get(info + 24, 4);
	start = get(module, 4);
	assert_int_equal(start % PAGE_SIZE, 0);
	assert_int_equal(get(module + 4, 4), start + 6);
	assert_memory_equal(fake->memory + start, "module", 6);
	/* The last page that is free, and one byte more. */
	assert_null(load(&f, large, FAKE_MEMORY - 0x202000, NULL));
	assert_non_null(strstr(load(&f, large, FAKE_MEMORY - 0x202000 + 1, NULL), "initrd"));
	assert_non_null(strstr(load(&f, large, FAKE_MEMORY, NULL), "initrd"));
	free(large);
	free(f.data);
}

static void test_multiboot_address_fields(void **state)
{
	struct file f = make_flat(0x300000, 0x301000, 0x302000);

	(void)state;
	assert_null(load(&f, NULL, 0, ""));
	assert_int_equal(fake->vcpu[0].regs.rip, 0x300040);
	/* The header is at 80h of what is loaded. */
	assert_int_equal(get(0x300080, 4), MAGIC);
	assert_int_equal(get(0x300000 + BODY_AT - HEADER_AT + 0x80 - 1, 1), 0);
	assert_int_equal(get(0x300000 + BODY_AT - HEADER_AT + 0x80, 1), 0x91);
	assert_int_equal(get(0x301fff, 1), 0);
	assert_int_equal(get(0x302000, 1), 0xa5);
	free(f.data);
	/* No end of load: the whole file; no bss. */
	f = make_flat(0x300000, 0, 0);
	assert_null(load(&f, NULL, 0, ""));
	assert_int_equal(get(0x300000 + IMAGE - HEADER_AT + 0x80 - 1, 1),
	                 0x91 * 0 + f.data[IMAGE - 1]);
	free(f.data);
}

static void test_multiboot_refusals(void **state)
{
	static const struct {
		u32 offset, size;
		u64 value;
		const char *what;
	} bad[] = {
	        {HEADER_AT, 4, 0, "no Multiboot header"},
	        {HEADER_AT + 8, 4, 0, "no Multiboot header"},
	        {0, 1, 0, "neither"},
	        {4, 1, 2, "32-bit"},
	        {18, 2, 62, "32-bit"},
	        {16, 2, 3, "32-bit"},
	        {28, 4, ~0u, "program headers"},
	        {44, 2, 0xffff, "program headers"},
	        {42, 2, 8, "program headers"},
	        {52 + 4, 4, ~0u, "outside the file"},
	        {52 + 4, 4, BODY_AT + 1, "outside the file"},
	        {52 + 16, 4, ~0u, "outside the file"},
	        {52 + 20, 4, 0xff, "outside the file"},
	        {52 + 20, 4, ~0u, "outside the guest's memory"},
	        {52 + 12, 4, 0xfffff000u, "outside the guest's memory"},
	        {52 + 12, 4, 0x8f000, "Multiboot information"},
	        {52 + 12, 4, 0xdf000, "firmware"},
	        {52, 4, 2, "nothing to load"},
	};

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
		struct file f = make_elf32(0x200000);
		const char *why;

		put(f.data + bad[i].offset, bad[i].size, bad[i].value);
		why = load(&f, NULL, 0, "");
		if (!why || !strstr(why, bad[i].what))
			fail_msg("case %u: '%s'", i, why ? why : "loaded");
		free(f.data);
	}
}

/* Too little memory is another matter than a file that is not right. */
static void test_multiboot_refusal_kinds(void **state)
{
	struct file f = make_elf32(0x200000);
	char *large = calloc(1, FAKE_MEMORY);

	(void)state;
	assert_non_null(load(&f, large, FAKE_MEMORY, NULL));
	assert_int_equal(refusal.kind, REPORT_REFUSED_ROOM);
	put(f.data + 52 + 12, 4, 0xfffff000u);
	assert_non_null(load(&f, NULL, 0, NULL));
	assert_int_equal(refusal.kind, REPORT_REFUSED_ROOM);
	put(f.data + HEADER_AT, 4, 0);
	assert_non_null(load(&f, NULL, 0, NULL));
	assert_int_equal(refusal.kind, REPORT_REFUSED_FILE);
	free(large);
	free(f.data);
}

/* The Multiboot header, the ELF header and the program header, each byte in turn. */
static void test_multiboot_mutated_headers(void **state)
{
	static const u8 extremes[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
	const struct file good[2] = {make_elf32(0x200000), make_flat(0x300000, 0x301080, 0)};
	u32 loaded = 0, refused = 0;

	(void)state;
	for (u32 i = 0; i < 2 * (HEADER_AT + 32) * 3 * ARRAY_SIZE(extremes); i++) {
		const struct file *from = &good[i % 2];
		struct file f = {malloc(IMAGE), IMAGE};
		u32 at = i / 2 / 15, width = 1u << i / 2 % 3;

		memcpy(f.data, from->data, IMAGE);
		memset(f.data + at, extremes[i / 2 / 3 % 5], width);
		/* What is changed in the Multiboot header is not to be caught by its sum alone. */
		if (at >= HEADER_AT)
			put(f.data + HEADER_AT + 8, 4,
			    0 - (MAGIC + *(u32 *)(void *)(f.data + HEADER_AT + 4)));
		if (load(&f, NULL, 0, ""))
			refused++;
		else
			loaded++;
		free(f.data);
	}
	assert_true(loaded > 100 && refused > 100);
	free(good[0].data);
	free(good[1].data);
}

static void test_multiboot_refuses_impossible_addresses(void **state)
{
	struct file f = make_flat(0x300000, 0x2fffff, 0);

	(void)state;
	assert_non_null(strstr(load(&f, NULL, 0, ""), "impossible"));
	put(f.data + HEADER_AT + 20, 4, 0x300000); /* nothing */
	assert_non_null(strstr(load(&f, NULL, 0, ""), "nothing to load"));
	put(f.data + HEADER_AT + 12, 4, 0x2fffff); /* header below what is loaded */
	assert_non_null(strstr(load(&f, NULL, 0, ""), "impossible"));
	put(f.data + HEADER_AT + 12, 4, 0x300101); /* loading would begin before the file */
	assert_non_null(strstr(load(&f, NULL, 0, ""), "impossible"));
	put_header(&f, 1u << 16 | 1u << 2); /* a video mode */
	assert_non_null(strstr(load(&f, NULL, 0, ""), "unknown"));
	free(f.data);
}

static void test_multiboot_long_command_line(void **state)
{
	struct file f = make_elf32(0x200000);
	char *line = malloc(0x10000);

	(void)state;
	memset(line, 'x', 0xffff);
	line[0xffff] = 0;
	assert_non_null(strstr(load(&f, NULL, 0, line), "command line"));
	free(line);
	free(f.data);
}

static void test_multiboot_truncated(void **state)
{
	struct file f[2] = {make_elf32(0x200000), make_flat(0x300000, 0x301080, 0)};

	(void)state;
	for (u32 i = 0; i < 2; i++) {
		for (u64 size = 0; size < f[i].size; size += size < 300 ? 1 : 31) {
			struct file cut = {malloc(size), size};

			memcpy(cut.data, f[i].data, size);
			assert_non_null(load(&cut, NULL, 0, ""));
			free(cut.data);
		}
		free(f[i].data);
	}
}

static void test_post_real_mode_vectors(void **state)
{
	struct file f = make_elf32(0x200000);

	(void)state;
	assert_null(load(&f, NULL, 0, ""));
	for (u32 i = 0; i < 256; i++) {
		u64 at = get(i * 4 + 2, 2) * 16 + get(i * 4, 2);

		assert_in_range(at, LAYOUT_POST_CODE, LAYOUT_FIRMWARE_END - 1);
		if (i != 8 && !(i > 8 && i < 0x10) && !(i >= 0x70 && i < 0x78))
			assert_int_equal(get(at, 1), 0xcf);
	}
	free(f.data);
}

static void test_post_interrupt_chips(void **state)
{
	struct file f = make_elf32(0x200000);
	u8 master = 0, slave = 0;

	(void)state;
	assert_null(load(&f, NULL, 0, ""));
	for (u32 i = 0; i < fake->chip_write_count; i++) {
		u16 port = fake->chip_writes[i].port;
		u8 value = fake->chip_writes[i].value;

		master = port == 0x21 ? value : master;
		slave = port == 0xa1 ? value : slave;
	}
	assert_int_equal(master, 0xfa); /* the tick and the cascade are open */
	assert_int_equal(slave, 0xff);
	assert_int_equal(fake->virtual_wires, 1);
	assert_int_equal(fake->hand_overs, 1);
	free(f.data);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup_bare, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(test_multiboot_machine_state),
	        TEST(test_multiboot_information),
	        TEST(test_multiboot_module),
	        TEST(test_multiboot_address_fields),
	        TEST(test_multiboot_refusals),
	        TEST(test_multiboot_refusal_kinds),
	        TEST(test_multiboot_mutated_headers),
	        TEST(test_multiboot_refuses_impossible_addresses),
	        TEST(test_multiboot_long_command_line),
	        TEST(test_multiboot_truncated),
	        TEST(test_post_real_mode_vectors),
	        TEST(test_post_interrupt_chips),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
