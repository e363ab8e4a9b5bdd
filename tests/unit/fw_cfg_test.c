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

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(test_fw_cfg_signature_and_id),
	        TEST(test_fw_cfg_counts_and_memory),
	        TEST(test_fw_cfg_absent_items_and_ends_read_zero),
	        TEST(test_fw_cfg_directory_leads_to_the_memory_map),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
