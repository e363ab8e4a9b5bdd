/* SPDX-License-Identifier: BSD-2-Clause */
/* platform/pci.c: configuration mechanism 1 and the reset register. */
#include "platform_fake.h"

#define ADDRESS 0xcf8
#define DATA    0xcfc

static u32 config_read(u32 bus, u32 devfn, u32 reg)
{
	fake_out(ADDRESS, 4, 0x80000000u | bus << 16 | devfn << 8 | (reg & 0xfc));
	return (u32)fake_in(DATA, 4);
}

static void test_pci_mechanism_is_found(void **state)
{
	(void)state;
	/* As Linux probes for it. */
	fake_out(0xcfb, 1, 0x01);
	assert_int_equal(fake_in(ADDRESS, 4), 0);
	fake_out(ADDRESS, 4, 0x80000000u);
	assert_int_equal(fake_in(ADDRESS, 4), 0x80000000u);
}

static void test_pci_host_bridge(void **state)
{
	(void)state;
	assert_int_equal(config_read(0, 0, 0x00), 0x12378086);
	assert_int_equal(config_read(0, 0, 0x08) >> 8, 0x060000);
	assert_int_equal(config_read(0, 0, 0x0c), 0); /* one function, plain header */
	assert_int_equal(fake_in(DATA + 2, 1), 0);
	config_read(0, 0, 0x00);
	assert_int_equal(fake_in(DATA + 2, 2), 0x1237); /* byte lanes */
	assert_int_equal(fake_in(DATA + 1, 1), 0x80);
}

static void test_pci_absent_reads_ones(void **state)
{
	(void)state;
	assert_int_equal(config_read(0, PCI_DEVFN(1, 0), 0), 0xffffffff);
	assert_int_equal(config_read(0, PCI_DEVFN(0, 1), 0), 0xffffffff);
	assert_int_equal(config_read(1, 0, 0), 0xffffffff);
	fake_out(ADDRESS, 4, 0); /* disabled */
	assert_int_equal(fake_in(DATA, 4), 0xffffffff);
	assert_int_equal(fake_in(DATA + 3, 1), 0xff);
	fake_out(DATA, 4, 0x1234);
}

static void test_pci_write_masks(void **state)
{
	struct platform *platform = fake->vm.platform;
	struct pci_function *function;

	(void)state;
	function = pci_add(&platform->pci, PCI_DEVFN(3, 1), 0x1af4, 0x1000, 0x020000);
	function->config[0x10] = 0x01; /* an I/O BAR of 256 ports */
	function->writable[0x11] = function->writable[0x12] = function->writable[0x13] = 0xff;
	assert_int_equal(config_read(0, PCI_DEVFN(3, 1), 0), 0x10001af4);
	fake_out(DATA, 4, 0);
	assert_int_equal(config_read(0, PCI_DEVFN(3, 1), 0), 0x10001af4);
	config_read(0, PCI_DEVFN(3, 1), 0x10);
	fake_out(DATA, 4, 0xffffffff);
	assert_int_equal(fake_in(DATA, 4), 0xffffff01);
	fake_out(DATA + 1, 1, 0x10);
	assert_int_equal(fake_in(DATA, 4), 0xffff1001);
	config_read(0, PCI_DEVFN(3, 1), 0x04);
	fake_out(DATA, 2, 0xffff);
	assert_int_equal(fake_in(DATA, 4), 0x0007);
	/* The host bridge's command register is fixed. */
	config_read(0, 0, 0x04);
	fake_out(DATA, 2, 0);
	assert_int_equal(fake_in(DATA, 2), 0x0006);
}

static void test_pci_table_is_bounded(void **state)
{
	struct platform *platform = fake->vm.platform;
	u32 added = 0;

	(void)state;
	while (added < 100 && pci_add(&platform->pci, (u8)(8 + added), 1, 2, 3))
		added++;
	assert_int_equal(added, PCI_MAX_FUNCTIONS - 1);
}

/* Every address and width a guest can form stays inside the 256 bytes. */
static void test_pci_odd_accesses(void **state)
{
	(void)state;
	for (u32 reg = 0; reg < 0x100; reg++)
		for (u32 size = 1; size <= 4; size *= 2)
			for (u32 lane = 0; lane + size <= 4; lane++) {
				fake_out(ADDRESS, 4, 0xff000000u | reg);
				fake_in((u16)(DATA + lane), size);
				fake_out((u16)(DATA + lane), size, 0xffffffff);
			}
	assert_int_equal(config_read(0, 0, 0), 0x12378086);
	assert_int_equal(fake_in(ADDRESS + 2, 4), 0xffffffff); /* half address, half data */
	fake_out(ADDRESS + 2, 4, 0);
	fake_out(ADDRESS, 4, 0xff000003);
	assert_int_equal(fake_in(ADDRESS, 4), 0x80000000); /* reserved bits are zero */
}

static void test_pci_reset_register(void **state)
{
	(void)state;
	fake_out(ADDRESS, 4, 0x80000600u); /* a dword is CONFIG_ADDRESS, not CF9h */
	fake_out(0xcf9, 1, 0x02);
	assert_int_equal(fake_in(0xcf9, 1), 0x02);
	assert_int_equal(fake_in(ADDRESS, 4), 0x80000600u);
	assert_int_equal(fake->ends, 0);
	fake_out(0xcf9, 1, 0x06);
	assert_int_equal(fake->ends, 1);
	assert_int_equal(fake->ended, ENDED_RESET);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(test_pci_mechanism_is_found), TEST(test_pci_host_bridge),
	        TEST(test_pci_absent_reads_ones),  TEST(test_pci_write_masks),
	        TEST(test_pci_table_is_bounded),   TEST(test_pci_odd_accesses),
	        TEST(test_pci_reset_register),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
