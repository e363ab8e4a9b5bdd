/* SPDX-License-Identifier: BSD-2-Clause */
/* platform/fw_cfg.c: selector and data ports, items, directory. */
#include "platform_fake.h"

#include <string.h>

#include "platform/fw_cfg.h"

#define SELECT FW_CFG_PORT
#define DATA   (FW_CFG_PORT + 1)

static void read_item(u16 key, void *to, u32 size)
{
	u8 *bytes = to;

	fake_out(SELECT, 2, key);
	for (u32 i = 0; i < size; i++)
		bytes[i] = (u8)fake_in(DATA, 1);
}

static u64 number(u16 key)
{
	u64 value;

	read_item(key, &value, 8);
	return value;
}

static void test_fw_cfg_signature_and_id(void **state)
{
	char signature[4];

	(void)state;
	read_item(0, signature, 4);
	assert_memory_equal(signature, "QEMU", 4);
	assert_int_equal(number(1), 1); /* traditional interface, no DMA */
}

static void test_fw_cfg_counts_and_memory(void **state)
{
	(void)state;
	assert_int_equal(number(0x05), 4);
	assert_int_equal(number(0x0f), 4);
	fake->vm.config.memory = 5ull << 30;
	assert_int_equal(number(0x03), 5ull << 30);
	fake->vm.vcpu_count = 17;
	assert_int_equal(number(0x05), 17);
}

static void test_fw_cfg_absent_items_and_ends_read_zero(void **state)
{
	(void)state;
	assert_int_equal(number(0x11), 0);
	assert_int_equal(number(0xffff), 0);
	read_item(0, (char[4]){0}, 4);
	for (u32 i = 0; i < 1000; i++)
		assert_int_equal(fake_in(DATA, 1), 0);
	/* Selecting starts again; other sizes and writes of data do nothing. */
	fake_out(SELECT, 2, 0);
	fake_out(DATA, 1, 0x55);
	fake_out(SELECT, 1, 5);
	assert_int_equal(fake_in(SELECT, 2), 0);
	assert_int_equal(fake_in(DATA, 1), 'Q');
}

static void test_fw_cfg_directory_leads_to_the_memory_map(void **state)
{
	struct {
		u32 count, size;
		u16 key, reserved;
		char name[56];
	} __packed directory;
	struct layout_range map[LAYOUT_RANGES], expected[LAYOUT_RANGES];
	u32 count = layout_memory_map(&fake->vm, expected);

	(void)state;
	read_item(0x19, &directory, sizeof(directory));
	assert_int_equal(__builtin_bswap32(directory.count), 1);
	assert_string_equal(directory.name, "etc/e820");
	assert_int_equal(__builtin_bswap32(directory.size), count * sizeof(map[0]));
	assert_in_range(__builtin_bswap16(directory.key), 0x20, 0x3fff);
	read_item(__builtin_bswap16(directory.key), map, count * (u32)sizeof(map[0]));
	assert_memory_equal(map, expected, count * sizeof(map[0]));
	assert_true(count >= 4);
	assert_int_equal(map[count - 1].base, 0x100000);
}

struct directory {
	u32 count;
	struct {
		u32 size;
		u16 key, reserved;
		char name[56];
	} file[4];
} __packed;

/* Contents of the file of that name, as a number; its size. */
static u64 file(const char *name, u32 *size)
{
	struct directory directory;
	u64 value = 0;

	read_item(0x19, &directory, sizeof(directory));
	*size = 0;
	for (u32 i = 0; i < __builtin_bswap32(directory.count); i++) {
		if (strcmp(directory.file[i].name, name))
			continue;
		*size = __builtin_bswap32(directory.file[i].size);
		read_item(__builtin_bswap16(directory.file[i].key), &value,
		          (u32)min_u64(*size, sizeof(value)));
	}
	return value;
}

static void test_fw_cfg_files_for_firmware(void **state)
{
	struct layout_range map[2];
	struct directory directory;
	u32 size;

	(void)state;
	read_item(0x19, &directory, sizeof(directory));
	assert_int_equal(__builtin_bswap32(directory.count), 3);
	for (u32 i = 1; i < 3; i++)
		assert_true(strcmp(directory.file[i - 1].name, directory.file[i].name) < 0);
	assert_int_equal(file("etc/sercon-port", &size), 0x3f8);
	assert_int_equal(size, 2);
	assert_int_equal(file("etc/boot-fail-wait", &size), 0xffffffff);
	assert_int_equal(size, 4);
	/* Its memory map is RAM alone: what of it is reserved it says itself. */
	file("etc/e820", &size);
	assert_int_equal(size, sizeof(map[0]));
	read_item(__builtin_bswap16(directory.file[1].key), map, sizeof(map));
	assert_int_equal(map[0].base, 0);
	assert_int_equal(map[0].size, FAKE_MEMORY);
	assert_int_equal(map[0].type, LAYOUT_RANGE_RAM);
	assert_int_equal(map[1].base | map[1].size, 0); /* behind its end */
	assert_int_equal(number(0x23), 0);              /* behind the last file */
	assert_int_equal(number(0x0e), 0);              /* no boot menu */
}

static void test_fw_cfg_memory_above_4g_for_firmware(void **state)
{
	struct layout_range map[2];
	u32 size;

	(void)state;
	fake->vm.region[fake->vm.region_count++] =
	        (struct vm_region){GPA(4ull << 30), 1ull << 30, NULL};
	file("etc/e820", &size);
	assert_int_equal(size, sizeof(map));
	read_item(0x21, map, sizeof(map));
	assert_int_equal(map[1].base, 4ull << 30);
	assert_int_equal(map[1].size, 1ull << 30);
	assert_int_equal(map[1].type, LAYOUT_RANGE_RAM);
}

/* Firmware's files are nobody else's, not even by their selectors. */
static void test_fw_cfg_hides_firmware_files(void **state)
{
	u32 size;

	(void)state;
	file("etc/sercon-port", &size);
	assert_int_equal(size, 0);
	assert_int_equal(number(0x20), 0);
	assert_int_equal(number(0x22), 0);
}

#define FIRMWARE_TEST(name)                                                                        \
	cmocka_unit_test_setup_teardown(name, fake_setup_firmware, fake_teardown)
#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(test_fw_cfg_signature_and_id),
	        TEST(test_fw_cfg_counts_and_memory),
	        TEST(test_fw_cfg_absent_items_and_ends_read_zero),
	        TEST(test_fw_cfg_directory_leads_to_the_memory_map),
	        FIRMWARE_TEST(test_fw_cfg_files_for_firmware),
	        FIRMWARE_TEST(test_fw_cfg_memory_above_4g_for_firmware),
	        TEST(test_fw_cfg_hides_firmware_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
