/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * platform/acpi.c: the tables, found and read the way a guest does it, by offsets of the ACPI
 * specification and not by the structures that wrote them. iasl reads the DSDT back.
 */
#include "platform_fake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static u64 get(u64 gpa, u32 size)
{
	u64 value = 0;

	memcpy(&value, fake->memory + gpa, size);
	return value;
}

static void expect_sum(u64 gpa, u64 size)
{
	u8 sum = 0;

	for (u64 i = 0; i < size; i++)
		sum += fake->memory[gpa + i];
	assert_int_equal(sum, 0);
}

static u64 find_rsdp(void)
{
	for (u64 gpa = 0xe0000; gpa < 0x100000; gpa += 16)
		if (!memcmp(fake->memory + gpa, "RSD PTR ", 8))
			return gpa;
	fail_msg("no RSDP");
	return 0;
}

static void expect_table(u64 gpa, const char *signature)
{
	assert_memory_equal(fake->memory + gpa, signature, 4);
	assert_in_range(gpa, 0xe0000, 0xfffff);
	assert_in_range(gpa + get(gpa + 4, 4), 0xe0000, 0x100000);
	expect_sum(gpa, get(gpa + 4, 4));
}

/* By the XSDT; the RSDT must agree. */
static u64 find_table(const char *signature)
{
	u64 rsdp = find_rsdp();
	u64 rsdt = get(rsdp + 16, 4), xsdt = get(rsdp + 24, 8);
	u64 count = (get(xsdt + 4, 4) - 36) / 8;

	expect_table(rsdt, "RSDT");
	expect_table(xsdt, "XSDT");
	assert_int_equal((get(rsdt + 4, 4) - 36) / 4, count);
	for (u64 i = 0; i < count; i++) {
		u64 gpa = get(xsdt + 36 + 8 * i, 8);

		assert_int_equal(get(rsdt + 36 + 4 * i, 4), gpa);
		if (!memcmp(fake->memory + gpa, signature, 4)) {
			expect_table(gpa, signature);
			return gpa;
		}
	}
	fail_msg("no table %s", signature);
	return 0;
}

static void test_acpi_rsdp(void **state)
{
	u64 rsdp = find_rsdp();

	(void)state;
	assert_int_equal(rsdp, LAYOUT_RSDP);
	assert_int_equal(get(rsdp + 15, 1), 2);
	assert_int_equal(get(rsdp + 20, 4), 36);
	expect_sum(rsdp, 20);
	expect_sum(rsdp, 36);
}

static void test_acpi_fadt(void **state)
{
	u64 fadt = find_table("FACP");
	u64 facs = get(fadt + 36, 4);

	(void)state;
	assert_int_equal(get(fadt + 4, 4), 268);
	assert_int_equal(get(fadt + 46, 2), 9);     /* SCI_INT */
	assert_int_equal(get(fadt + 48, 4), 0);     /* SMI_CMD: ACPI is on */
	assert_int_equal(get(fadt + 56, 4), 0x600); /* PM1a_EVT_BLK */
	assert_int_equal(get(fadt + 64, 4), 0x604); /* PM1a_CNT_BLK */
	assert_int_equal(get(fadt + 76, 4), 0x608); /* PM_TMR_BLK */
	assert_int_equal(get(fadt + 80, 4), 0);     /* GPE0_BLK */
	assert_int_equal(get(fadt + 88, 4), 0x04000204);
	assert_int_equal(get(fadt + 108, 1), 0x32);        /* CENTURY */
	assert_int_equal(get(fadt + 109, 2) & 0x27, 0x05); /* legacy, no 8042, no VGA, RTC */
	assert_int_equal(get(fadt + 112, 4) & BIT(20), 0); /* not hardware-reduced */
	assert_int_equal(get(fadt + 112, 4) & (BIT(10) | BIT(8)), BIT(10) | BIT(8));
	assert_int_equal(get(fadt + 116, 4), 0x01000801); /* RESET_REG: I/O, 8 bits */
	assert_int_equal(get(fadt + 120, 8), 0xcf9);
	assert_int_equal(get(fadt + 128, 1), 0x06);
	assert_int_equal(get(fadt + 140, 8), get(fadt + 40, 4)); /* X_DSDT */
	assert_int_equal(get(fadt + 148 + 4, 8), 0x600);
	assert_int_equal(get(fadt + 172 + 4, 8), 0x604);
	assert_int_equal(get(fadt + 208 + 4, 8), 0x608);
	expect_table(get(fadt + 40, 4), "DSDT");
	assert_memory_equal(fake->memory + facs, "FACS", 4);
	assert_int_equal(facs % 64, 0);
	assert_int_equal(get(facs + 4, 4), 64);
}

/* What the FADT promises is what the ports do. */
static void test_acpi_fadt_reset_works(void **state)
{
	u64 fadt = find_table("FACP");

	(void)state;
	fake_out((u16)get(fadt + 120, 8), 1, get(fadt + 128, 1));
	assert_int_equal(fake->ended, ENDED_RESET);
}

static void check_madt(u32 vcpus)
{
	u64 madt = find_table("APIC");
	u64 end = madt + get(madt + 4, 4);
	u32 processors = 0, ioapics = 0, overrides = 0, nmis = 0, large_nmis = 0;

	assert_int_equal(get(madt + 36, 4), 0xfee00000);
	assert_int_equal(get(madt + 40, 4), 1);
	for (u64 e = madt + 44; e < end; e += get(e + 1, 1)) {
		assert_true(get(e + 1, 1) >= 6 && e + get(e + 1, 1) <= end);
		switch (get(e, 1)) {
		case 0:
			assert_true(fake->vcpu[processors].apic_id < 255);
			assert_int_equal(get(e + 2, 1), processors);
			assert_int_equal(get(e + 3, 1), fake->vcpu[processors].apic_id);
			assert_int_equal(get(e + 4, 4), 1);
			processors++;
			break;
		case 9:
			assert_true(fake->vcpu[processors].apic_id >= 255);
			assert_int_equal(get(e + 4, 4), fake->vcpu[processors].apic_id);
			assert_int_equal(get(e + 8, 4), 1);
			assert_int_equal(get(e + 12, 4), processors);
			processors++;
			break;
		case 1:
			assert_int_equal(get(e + 4, 4), 0xfec00000);
			assert_int_equal(get(e + 8, 4), 0);
			ioapics++;
			break;
		case 2:
			if (get(e + 3, 1) == 0) {
				assert_int_equal(get(e + 4, 4), 2);
				assert_int_equal(get(e + 8, 2), 0);
			} else {
				assert_int_equal(get(e + 3, 1), 9);
				assert_int_equal(get(e + 4, 4), 9);
				assert_int_equal(get(e + 8, 2), 0x0d);
			}
			overrides++;
			break;
		case 4:
			assert_int_equal(get(e + 2, 1), 0xff);
			assert_int_equal(get(e + 5, 1), 1);
			nmis++;
			break;
		case 10: /* the same for those of type 9 */
			assert_true(fake->vm.large_ids);
			assert_int_equal(get(e + 2, 2), 0);
			assert_int_equal(get(e + 4, 4), 0xffffffff);
			assert_int_equal(get(e + 8, 1), 1);
			large_nmis++;
			break;
		default:
			fail_msg("MADT entry of type %u", (u32)get(e, 1));
		}
	}
	assert_int_equal(processors, vcpus);
	assert_int_equal(ioapics, 1);
	assert_int_equal(overrides, 2);
	assert_int_equal(nmis, 1);
	assert_int_equal(large_nmis, fake->vm.large_ids);
}

static void test_acpi_madt(void **state)
{
	(void)state;
	check_madt(4);
}

static void test_acpi_madt_many_vcpus(void **state)
{
	(void)state;
	fake_set_memory(FAKE_MEMORY, MAX_VCPUS);
	fake->vcpu[1].apic_id = 254;
	fake->vcpu[2].apic_id = 255; /* needs the x2APIC structure, as do those below */
	fake->vcpu[3].apic_id = 256;
	fake->vcpu[63].apic_id = 0xfffffffe;
	fake->vm.large_ids = true;
	assert_true(platform_create(&fake->vm));
	check_madt(MAX_VCPUS);
}

static void test_acpi_bios_data(void **state)
{
	(void)state;
	assert_int_equal(get(0x40e, 2) << 4, 0x9fc00);
	assert_int_equal(get(0x413, 2) << 10, 0x9fc00);
}

static void test_acpi_needs_firmware_area(void **state)
{
	(void)state;
	fake->small_firmware = true;
	assert_false(platform_create(&fake->vm));
	assert_null(fake->vm.platform);
	assert_int_equal(fake->allocated, 0);
}

static void test_platform_out_of_memory(void **state)
{
	(void)state;
	fake->out_of_memory = true;
	assert_false(platform_create(&fake->vm));
}

static void expect_in_file(const char *text, const char *what)
{
	if (!strstr(text, what))
		fail_msg("the DSDT has no %s", what);
}

static void test_acpi_dsdt_reads_back(void **state)
{
	static char text[65536];
	char path[] = "/tmp/postern-dsdt-XXXXXX";
	u64 dsdt = get(find_table("FACP") + 40, 4);
	char command[256], dsl[64];
	size_t length;
	FILE *file;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, fake->memory + dsdt, get(dsdt + 4, 4)), get(dsdt + 4, 4));
	close(fd);
	snprintf(command, sizeof(command), "iasl -p %s -d %s >/dev/null 2>&1", path, path);
	assert_int_equal(system(command), 0);
	snprintf(dsl, sizeof(dsl), "%s.dsl", path);
	file = fopen(dsl, "r");
	unlink(path);
	unlink(dsl);
	assert_non_null(file);
	length = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[length] = 0;
	expect_in_file(text, "_S5");
	expect_in_file(text, "PNP0A03");
	expect_in_file(text, "PNP0501");
	expect_in_file(text, "PNP0B00");
	expect_in_file(text, "0xC0000000");
	expect_in_file(text, "0xFEBFFFFF");
}

#define TEST(name)      cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)
#define TEST_BARE(name) cmocka_unit_test_setup_teardown(name, fake_setup_bare, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(test_acpi_rsdp),
	        TEST(test_acpi_fadt),
	        TEST(test_acpi_fadt_reset_works),
	        TEST(test_acpi_madt),
	        TEST_BARE(test_acpi_madt_many_vcpus),
	        TEST(test_acpi_bios_data),
	        TEST_BARE(test_acpi_needs_firmware_area),
	        TEST_BARE(test_platform_out_of_memory),
	        TEST(test_acpi_dsdt_reads_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
