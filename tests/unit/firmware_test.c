/* SPDX-License-Identifier: BSD-2-Clause */
/* platform/firmware.c, piix.c, debugcon.c: ROM and RAM by the host bridge's registers; what it is told. */
#include "platform_fake.h"

#include "platform/firmware.h"

#define ADDRESS 0xcf8
#define DATA    0xcfc
#define PAM0    0x59
#define PAGES   (VM_SHADOW_SIZE / PAGE_SIZE)
#define ROM_END 0xffffffffull

#define RO (MMU_READ | MMU_EXEC)
#define RW (MMU_READ | MMU_WRITE | MMU_EXEC)

enum shows {
	NOTHING, /* nobody answers */
	ROM,
	RAM_RO,
	RAM_RW,
};

static const struct {
	u64 start;
	u32 reg, shift;
} segments[FIRMWARE_SEGMENTS] = {
        {0xc0000, 0x5a, 0}, {0xc4000, 0x5a, 4}, {0xc8000, 0x5b, 0}, {0xcc000, 0x5b, 4},
        {0xd0000, 0x5c, 0}, {0xd4000, 0x5c, 4}, {0xd8000, 0x5d, 0}, {0xdc000, 0x5d, 4},
        {0xe0000, 0x5e, 0}, {0xe4000, 0x5e, 4}, {0xe8000, 0x5f, 0}, {0xec000, 0x5f, 4},
        {0xf0000, 0x59, 4},
};

static void config_select(u32 devfn, u32 reg)
{
	fake_out(ADDRESS, 4, 0x80000000u | devfn << 8 | (reg & 0xfc));
}

static u32 config_read(u32 devfn, u32 reg)
{
	config_select(devfn, reg);
	return (u32)fake_in(DATA, 4);
}

static u8 pam_read(u32 reg)
{
	config_select(0, reg);
	return (u8)fake_in((u16)(DATA + reg % 4), 1);
}

static void pam_write(u32 reg, u8 value)
{
	config_select(0, reg);
	fake_out((u16)(DATA + reg % 4), 1, value);
}

static void set_attributes(u32 segment, u32 attributes)
{
	u32 shift = segments[segment].shift;
	u8 old = pam_read(segments[segment].reg);

	pam_write(segments[segment].reg, (u8)((old & ~(3u << shift)) | attributes << shift));
}

static u64 end_of(u32 segment)
{
	return segment == FIRMWARE_SEGMENTS - 1 ? VM_SHADOW_END : segments[segment + 1].start;
}

static void check_page(u64 gpa, enum shows shows)
{
	u64 page = (gpa - VM_SHADOW) / PAGE_SIZE;
	const u8 *host = fake->map[page].host;

	switch (shows) {
	case NOTHING:
		assert_null(host);
		break;
	case ROM:
		assert_ptr_equal(host, fake->rom + fake->vm.rom.size - (VM_SHADOW_END - gpa));
		assert_int_equal(fake->map[page].access, RO);
		break;
	default:
		assert_ptr_equal(host, fake->memory + gpa);
		assert_int_equal(fake->map[page].access, shows == RAM_RW ? RW : RO);
		break;
	}
}

static void check_segment(u32 segment, enum shows shows)
{
	for (u64 gpa = segments[segment].start; gpa < end_of(segment); gpa += PAGE_SIZE)
		check_page(gpa, shows);
}

/* What a segment shows that is not RAM. */
static enum shows outside(u32 segment)
{
	return segments[segment].start < 0xe0000 ? NOTHING : ROM;
}

static void test_firmware_begins_in_its_rom(void **state)
{
	(void)state;
	for (u32 i = 0; i < FIRMWARE_SEGMENTS; i++)
		check_segment(i, outside(i));
	for (u32 reg = PAM0; reg <= 0x5f; reg++)
		assert_int_equal(pam_read(reg), 0);
	/* The reset vector's bytes, in both places. */
	assert_int_equal(fake_load(ROM_END - 15, 1), fake_rom_byte(16));
	assert_int_equal(fake_load(0xffff0, 1), fake_rom_byte(16));
	assert_int_equal(fake_load(0xe0000, 1), fake_rom_byte(0x20000));
	assert_int_equal(fake_load(ROM_END + 1 - FAKE_ROM, 1), fake_rom_byte(FAKE_ROM));
	/* No part of what a kernel would be given lies about, and no table. */
	assert_int_equal(fake->memory[0x413], 0xa5);
	assert_int_equal(fake->memory[LAYOUT_RSDP], 0xa5);
}

/* Each segment alone, each value of its two bits. */
static void test_firmware_segments_are_switched_one_by_one(void **state)
{
	(void)state;
	for (u32 i = 0; i < FIRMWARE_SEGMENTS; i++) {
		for (u32 attributes = 0; attributes < 4; attributes++) {
			set_attributes(i, attributes);
			if (!(attributes & FIRMWARE_READ))
				check_segment(i, outside(i));
			else
				check_segment(i, attributes & FIRMWARE_WRITE ? RAM_RW : RAM_RO);
			for (u32 other = 0; other < FIRMWARE_SEGMENTS; other++)
				if (other != i)
					check_segment(other, outside(other));
		}
		set_attributes(i, 0);
	}
}

static void test_firmware_registers_keep_what_they_have(void **state)
{
	u32 maps;

	(void)state;
	for (u32 reg = PAM0; reg <= 0x5f; reg++) {
		pam_write(reg, 0xff);
		assert_int_equal(pam_read(reg), reg == PAM0 ? 0x30 : 0x33);
	}
	for (u32 i = 0; i < FIRMWARE_SEGMENTS; i++)
		check_segment(i, RAM_RW);
	/* Nothing new: nothing is mapped again. */
	maps = fake->maps;
	pam_write(0x5c, 0x33);
	pam_write(0x3c, 0x12);
	assert_int_equal(fake->maps, maps);
	/* All of them by two dwords, as firmware does; and the registers beside them stay. */
	config_select(0, 0x58);
	fake_out(DATA, 4, 0);
	config_select(0, 0x5c);
	fake_out(DATA, 4, 0);
	for (u32 i = 0; i < FIRMWARE_SEGMENTS; i++)
		check_segment(i, outside(i));
	assert_int_equal(config_read(0, 0x58), 0);
	assert_int_equal(config_read(0, 0x60), 0);
}

/* The accesses that exit, by each of the four values. */
static void test_firmware_answers_what_exits(void **state)
{
	const u64 at = 0xf1234;
	u8 *ram = fake->memory + at;
	u8 rom = fake_rom_byte(VM_SHADOW_END - at);

	(void)state;
	fake_store(at, 1, 0x11); /* to ROM */
	assert_int_equal(*ram, 0xa5);
	assert_int_equal(fake_load(at, 1), rom);
	set_attributes(12, FIRMWARE_WRITE);
	fake_store(at, 1, 0x22); /* to RAM, and still ROM is read */
	assert_int_equal(*ram, 0x22);
	assert_int_equal(fake_load(at, 1), rom);
	set_attributes(12, FIRMWARE_READ);
	fake_store(at, 1, 0x33);
	assert_int_equal(*ram, 0x22);
	assert_int_equal(fake_load(at, 1), 0x22);
	set_attributes(12, FIRMWARE_READ | FIRMWARE_WRITE);
	fake_store(at, 8, 0x8877665544332211ull);
	assert_int_equal(fake_load(at, 8), 0x8877665544332211ull);
	assert_int_equal(fake_load(at + 4, 2), 0x6655);
	/* ROM has not changed by any of it. */
	assert_int_equal(fake_load(ROM_END + 1 - (VM_SHADOW_END - at), 1), rom);
	/* Where no ROM is, ones are read, and RAM can be filled unseen. */
	fake_store(0xc0000, 4, 0x12345678);
	assert_int_equal(fake_load(0xc0000, 4), 0xffffffff);
	assert_int_equal(fake->memory[0xc0000], 0xa5);
	set_attributes(0, FIRMWARE_WRITE);
	fake_store(0xc0000, 4, 0x12345678);
	assert_int_equal(fake_load(0xc0000, 4), 0xffffffff);
	assert_int_equal(fake->memory[0xc0000], 0x78);
	/* An access that crosses segments: each byte by its own. */
	set_attributes(0, 0);
	set_attributes(1, FIRMWARE_READ | FIRMWARE_WRITE);
	fake_store(0xc3ffe, 4, 0xddccbbaa);
	assert_int_equal(fake_load(0xc3ffe, 4), 0xddccffff);
}

static void test_firmware_rom_is_not_written(void **state)
{
	(void)state;
	for (u64 at = ROM_END + 1 - FAKE_ROM; at < ROM_END; at += 0x1003) {
		u64 before = fake_load(at, 1);

		for (u32 size = 1; size <= 4; size *= 2)
			fake_store(at, size, ~before);
		assert_int_equal(fake_load(at, 1), before);
	}
	for (u32 i = 0; i < FAKE_ROM; i++)
		assert_int_equal(fake->rom[i], fake_rom_byte(FAKE_ROM - i));
}

/* A ROM shorter than its window below 1 MiB, down to a page, and one that is much longer. */
static void test_firmware_of_any_size(void **state)
{
	static const u64 sizes[] = {PAGE_SIZE, 0x3000,  64 << 10, 124 << 10,
	                            128 << 10, 4 << 20, 16 << 20};

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(sizes); i++) {
		u64 start = VM_SHADOW_END - min_u64(sizes[i], 128 << 10);

		fake_setup_bare(state);
		fake_set_rom(sizes[i]);
		assert_true(platform_create(&fake->vm));
		for (u64 gpa = VM_SHADOW; gpa < VM_SHADOW_END; gpa += PAGE_SIZE)
			check_page(gpa, gpa < start ? NOTHING : ROM);
		assert_int_equal(fake_load(start - 1, 1), 0xff);
		assert_int_equal(fake_load(start, 1), fake_rom_byte(VM_SHADOW_END - start));
		set_attributes(12, FIRMWARE_READ | FIRMWARE_WRITE);
		set_attributes(12, 0);
		for (u64 gpa = VM_SHADOW; gpa < VM_SHADOW_END; gpa += PAGE_SIZE)
			check_page(gpa, gpa < start ? NOTHING : ROM);
		fake_teardown(state);
	}
}

static void test_firmware_files(void **state)
{
	static const u64 good[] = {PAGE_SIZE, 128 << 10, 256 << 10, VM_ROM_MAX};
	static const u64 bad[] = {0,    1, PAGE_SIZE - 1, PAGE_SIZE + 1, VM_ROM_MAX + PAGE_SIZE,
	                          ~0ull};
	struct refusal refusal = {0};

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(firmware_accept(good[i], &refusal));
	assert_null(refusal.why);
	for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
		refusal = (struct refusal){0};
		assert_false(firmware_accept(bad[i], &refusal));
		assert_int_equal(refusal.kind, REPORT_REFUSED_FILE);
		assert_memory_equal(refusal.why, "firmware: ", 10);
	}
}

/* What SeaBIOS knows the machine by, and where it finds the PM timer. */
static void test_firmware_chips(void **state)
{
	(void)state;
	assert_int_equal(config_read(0, 0x00), 0x12378086);
	assert_int_equal(config_read(0, 0x2c), 0x11001af4);
	assert_int_equal(config_read(PCI_DEVFN(1, 0), 0x00), 0x70008086);
	assert_int_equal(config_read(PCI_DEVFN(1, 0), 0x08) >> 8, 0x060100);
	assert_int_equal(config_read(PCI_DEVFN(1, 0), 0x0c), 0x00800000); /* more functions */
	assert_int_equal(config_read(PCI_DEVFN(1, 0), 0x60), 0x80808080); /* nothing is routed */
	assert_int_equal(config_read(PCI_DEVFN(1, 3), 0x00), 0x71138086);
	assert_int_equal(config_read(PCI_DEVFN(1, 3), 0x08) >> 8, 0x068000);
	/* The block stays where it is, whatever is written. */
	fake_out(DATA, 4, 0);
	config_select(PCI_DEVFN(1, 3), 0x40);
	fake_out(DATA, 4, 0x1001);
	assert_int_equal(config_read(PCI_DEVFN(1, 3), 0x40), 0xb001);
	assert_int_equal(config_read(PCI_DEVFN(1, 3), 0x3c) & 0xffff, 0x0109);
	assert_true(config_read(PCI_DEVFN(1, 3), 0x58) & BIT(25));
	assert_true(fake_decodes(0xb008));
	assert_false(fake_decodes(0x608));
	fake_advance(FAKE_SECOND);
	assert_int_equal(fake_in(0xb008, 4) & 0xffffff, 3579545);
}

static void say(const char *text)
{
	for (; *text; text++)
		fake_out(0x402, 1, (u8)*text);
}

static void test_firmware_speaks_to_the_log(void **state)
{
	(void)state;
	assert_int_equal(fake_in(0x402, 1), 0xe9);
	say("one line\r\n");
	assert_int_equal(fake->logs, 1);
	assert_string_equal(fake->log, "vm 3: firmware: one line");
	say("\n\n");
	assert_int_equal(fake->logs, 1);
	say("\033[2J\007 %s\200\n"); /* nothing of it reaches a terminal, or a format */
	assert_string_equal(fake->log, "vm 3: firmware: .[2J. %s.");
	say("half");
	assert_int_equal(fake->logs, 2);
	/* Without an end it is cut. */
	for (u32 i = 0; i < 5 * DEBUGCON_LINE; i++)
		fake_out(0x402, 1, 'x');
	assert_int_equal(fake->logs, 2 + 5);
}

/* A machine with a kernel has none of this. */
static void test_firmware_absent(void **state)
{
	(void)state;
	assert_false(fake_decodes(0x402));
	assert_true(fake_decodes(0x608));
	assert_int_equal(config_read(0, 0x2c), 0);
	assert_int_equal(config_read(PCI_DEVFN(1, 0), 0), 0xffffffff);
	for (u32 reg = PAM0; reg <= 0x5f; reg++) {
		pam_write(reg, 0x33);
		assert_int_equal(pam_read(reg), 0);
	}
	assert_int_equal(fake->maps, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup_firmware, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(test_firmware_begins_in_its_rom),
	        TEST(test_firmware_segments_are_switched_one_by_one),
	        TEST(test_firmware_registers_keep_what_they_have),
	        TEST(test_firmware_answers_what_exits),
	        TEST(test_firmware_rom_is_not_written),
	        cmocka_unit_test(test_firmware_of_any_size),
	        cmocka_unit_test(test_firmware_files),
	        TEST(test_firmware_chips),
	        TEST(test_firmware_speaks_to_the_log),
	        cmocka_unit_test_setup_teardown(test_firmware_absent, fake_setup, fake_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
