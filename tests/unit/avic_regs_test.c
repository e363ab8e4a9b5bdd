/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * AVIC's access tables, a test for each row and direction: APM volume 2, "Virtual APIC Register
 * Accesses" and "x2AVIC". The list of names is the table.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "postern/port.h"
#include "tests/unit/avic_fake.h"
#include "x86/msr.h"

#define VALUE 0x00000051u /* no reserved bit of any register that takes a vector */

enum expectation {
	allowed,
	traps,
	faults,
	gp,
};

static void expect_exit(struct avic_result result, enum avic_action action, u32 offset, bool write)
{
	assert_int_equal(result.action, action);
	assert_int_equal(result.exit_code, SVM_EXIT_AVIC_NOACCEL);
	assert_int_equal(result.info_1, (write ? BIT64(32) : 0) | offset);
	assert_int_equal(result.info_2, 0);
}

static void check(struct avic_result result, enum expectation expected, u32 offset, bool write)
{
	switch (expected) {
	case allowed:
		assert_int_equal(result.action, AVIC_DONE);
		break;
	case traps:
		expect_exit(result, AVIC_AFTER, offset, write);
		break;
	case faults:
		expect_exit(result, AVIC_BEFORE, offset, write);
		break;
	default:
		assert_int_equal(result.action, AVIC_GP);
		break;
	}
}

/* --- xAVIC: the page --- */

#define PAGE_ROWS(X)                                                                               \
	X(reserved_000, 0x000, allowed, allowed)                                                   \
	X(reserved_010, 0x010, allowed, allowed)                                                   \
	X(id, 0x020, allowed, traps)                                                               \
	X(version, 0x030, allowed, faults)                                                         \
	X(reserved_040, 0x040, allowed, allowed)                                                   \
	X(reserved_070, 0x070, allowed, allowed)                                                   \
	X(tpr, 0x080, allowed, allowed)                                                            \
	X(apr, 0x090, faults, faults)                                                              \
	X(ppr, 0x0a0, allowed, faults)                                                             \
	X(eoi, 0x0b0, allowed, allowed)                                                            \
	X(remote_read, 0x0c0, allowed, traps)                                                      \
	X(ldr, 0x0d0, allowed, traps)                                                              \
	X(dfr, 0x0e0, allowed, traps)                                                              \
	X(svr, 0x0f0, allowed, traps)                                                              \
	X(isr_first, 0x100, allowed, faults)                                                       \
	X(isr_last, 0x170, allowed, faults)                                                        \
	X(tmr_first, 0x180, allowed, faults)                                                       \
	X(tmr_last, 0x1f0, allowed, faults)                                                        \
	X(irr_first, 0x200, allowed, faults)                                                       \
	X(irr_last, 0x270, allowed, faults)                                                        \
	X(esr, 0x280, allowed, traps)                                                              \
	X(reserved_290, 0x290, allowed, allowed)                                                   \
	X(reserved_2f0, 0x2f0, allowed, allowed)                                                   \
	X(icr_low, 0x300, allowed, allowed)                                                        \
	X(icr_high, 0x310, allowed, allowed)                                                       \
	X(lvt_timer, 0x320, allowed, traps)                                                        \
	X(lvt_thermal, 0x330, allowed, traps)                                                      \
	X(lvt_counter, 0x340, allowed, traps)                                                      \
	X(lvt_lint0, 0x350, allowed, traps)                                                        \
	X(lvt_lint1, 0x360, allowed, traps)                                                        \
	X(lvt_error, 0x370, allowed, traps)                                                        \
	X(timer_initial_count, 0x380, allowed, traps)                                              \
	X(timer_current_count, 0x390, faults, faults)                                              \
	X(reserved_3a0, 0x3a0, allowed, allowed)                                                   \
	X(reserved_3d0, 0x3d0, allowed, allowed)                                                   \
	X(timer_divide, 0x3e0, allowed, traps)                                                     \
	X(reserved_3f0, 0x3f0, allowed, allowed)                                                   \
	X(extended_feature, 0x400, faults, faults)                                                 \
	X(extended_control, 0x410, faults, faults)                                                 \
	X(specific_eoi, 0x420, faults, faults)                                                     \
	X(reserved_430, 0x430, allowed, allowed)                                                   \
	X(reserved_470, 0x470, allowed, allowed)                                                   \
	X(interrupt_enable_first, 0x480, faults, faults)                                           \
	X(interrupt_enable_last, 0x4f0, faults, faults)                                            \
	X(extended_lvt_first, 0x500, faults, faults)                                               \
	X(extended_lvt_last, 0x530, faults, faults)                                                \
	X(beyond_540, 0x540, faults, faults)                                                       \
	X(beyond_580, 0x580, faults, faults)                                                       \
	X(beyond_ff0, 0xff0, faults, faults)

static void page_read(u32 offset, enum expectation expected)
{
	u64 value = 0;
	struct avic_result result;

	avic_fake_create(false);
	avic_fake_set(0, offset, 0xa5b6c7d8);
	result = avic_page_read(&fake.avic, offset, 4, &value);
	check(result, expected, offset, false);
	assert_int_equal(value, expected == allowed ? 0xa5b6c7d8 : 0);
}

/* A trap has written the page, a fault has not. What each write of `allowed` does has tests below. */
static void page_write(u32 offset, enum expectation expected)
{
	u32 before;
	struct avic_result result;

	avic_fake_create(false);
	before = avic_fake_get(0, offset);
	result = avic_page_write(&fake.avic, offset, 4, VALUE);
	check(result, expected, offset, true);
	if (expected == faults)
		assert_int_equal(avic_fake_get(0, offset), before);
	else if (offset != APIC_EOI)
		assert_int_equal(avic_fake_get(0, offset), VALUE);
	assert_int_equal(fake.rings, 0);
}

#define X(name, offset, read, write)                                                               \
	static void test_xavic_read_of_##name##_is_##read(void **state __unused)                   \
	{                                                                                          \
		page_read(offset, read);                                                           \
	}                                                                                          \
	static void test_xavic_write_of_##name##_is_##write(void **state __unused)                 \
	{                                                                                          \
		page_write(offset, write);                                                         \
	}
PAGE_ROWS(X)
#undef X

/* Every offset of the page, against the rows: what no row names is like its neighbours. */
static void test_xavic_table_covers_the_page(void **state __unused)
{
	static const struct {
		u32 first, last;
		enum expectation read, write;
	} ranges[] = {
	        {0x000, 0x010, allowed, allowed}, {0x040, 0x070, allowed, allowed},
	        {0x100, 0x270, allowed, faults},  {0x290, 0x2f0, allowed, allowed},
	        {0x320, 0x380, allowed, traps},   {0x3a0, 0x3d0, allowed, allowed},
	        {0x400, 0x420, faults, faults},   {0x430, 0x470, allowed, allowed},
	        {0x480, 0xff0, faults, faults},
	};

	for (u32 i = 0; i < ARRAY_SIZE(ranges); i++) {
		for (u32 at = ranges[i].first; at <= ranges[i].last; at += 16) {
			page_read(at, ranges[i].read);
			page_write(at, ranges[i].write);
		}
	}
}

static void expect_fault_at(u32 offset, u32 size)
{
	u64 value = 0;

	avic_fake_create(false);
	expect_exit(avic_page_read(&fake.avic, offset, size, &value), AVIC_BEFORE, offset & 0xff0,
	            false);
	expect_exit(avic_page_write(&fake.avic, offset, size, 1), AVIC_BEFORE, offset & 0xff0,
	            true);
}

static void test_xavic_access_of_eight_bytes_faults(void **state __unused)
{
	expect_fault_at(APIC_TPR, 8);
}

static void test_xavic_access_behind_the_first_dword_faults(void **state __unused)
{
	for (u32 byte = 4; byte < 16; byte += 4)
		expect_fault_at(APIC_TPR + byte, 4);
}

static void test_xavic_unaligned_access_faults(void **state __unused)
{
	expect_fault_at(APIC_TPR + 1, 4);
	expect_fault_at(APIC_TPR + 1, 2);
	expect_fault_at(APIC_TPR + 3, 2);
}

static void test_xavic_access_of_a_part_of_a_register(void **state __unused)
{
	u64 value = 0;

	avic_fake_create(false);
	avic_fake_set(0, APIC_ICR2, 0x11223344);
	assert_int_equal(avic_page_read(&fake.avic, APIC_ICR2 + 3, 1, &value).action, AVIC_DONE);
	assert_int_equal(value, 0x11);
	assert_int_equal(avic_page_read(&fake.avic, APIC_ICR2 + 2, 2, &value).action, AVIC_DONE);
	assert_int_equal(value, 0x1122);
	assert_int_equal(avic_page_write(&fake.avic, APIC_ICR2 + 1, 1, 0x99).action, AVIC_DONE);
	assert_int_equal(avic_fake_get(0, APIC_ICR2), 0x11229944);
}

/* --- x2AVIC: the MSRs --- */

#define MSR_ROWS(X)                                                                                \
	X(reserved_800, 0x800, gp, gp)                                                             \
	X(reserved_801, 0x801, gp, gp)                                                             \
	X(id, 0x802, allowed, gp)                                                                  \
	X(version, 0x803, allowed, gp)                                                             \
	X(reserved_804, 0x804, gp, gp)                                                             \
	X(reserved_807, 0x807, gp, gp)                                                             \
	X(tpr, 0x808, allowed, allowed)                                                            \
	X(apr, 0x809, faults, gp)                                                                  \
	X(ppr, 0x80a, allowed, gp)                                                                 \
	X(remote_read, 0x80c, gp, gp)                                                              \
	X(ldr, 0x80d, allowed, gp)                                                                 \
	X(dfr, 0x80e, gp, gp)                                                                      \
	X(svr, 0x80f, allowed, traps)                                                              \
	X(isr_first, 0x810, allowed, gp)                                                           \
	X(isr_last, 0x817, allowed, gp)                                                            \
	X(tmr_first, 0x818, allowed, gp)                                                           \
	X(tmr_last, 0x81f, allowed, gp)                                                            \
	X(irr_first, 0x820, allowed, gp)                                                           \
	X(irr_last, 0x827, allowed, gp)                                                            \
	X(reserved_829, 0x829, gp, gp)                                                             \
	X(cmci, 0x82f, gp, gp)                                                                     \
	X(icr, 0x830, allowed, allowed)                                                            \
	X(icr_high, 0x831, gp, gp)                                                                 \
	X(lvt_timer, 0x832, allowed, traps)                                                        \
	X(lvt_thermal, 0x833, allowed, traps)                                                      \
	X(lvt_counter, 0x834, allowed, traps)                                                      \
	X(lvt_lint0, 0x835, allowed, traps)                                                        \
	X(lvt_lint1, 0x836, allowed, traps)                                                        \
	X(lvt_error, 0x837, allowed, traps)                                                        \
	X(timer_initial_count, 0x838, allowed, traps)                                              \
	X(timer_current_count, 0x839, faults, gp)                                                  \
	X(reserved_83a, 0x83a, gp, gp)                                                             \
	X(reserved_83d, 0x83d, gp, gp)                                                             \
	X(extended_feature, 0x840, faults, gp)                                                     \
	X(extended_control, 0x841, faults, faults)                                                 \
	X(specific_eoi, 0x842, faults, faults)                                                     \
	X(reserved_843, 0x843, gp, gp)                                                             \
	X(reserved_847, 0x847, gp, gp)                                                             \
	X(interrupt_enable_first, 0x848, faults, faults)                                           \
	X(interrupt_enable_last, 0x84f, faults, faults)                                            \
	X(extended_lvt_first, 0x850, faults, faults)                                               \
	X(extended_lvt_last, 0x853, faults, faults)                                                \
	X(reserved_854, 0x854, gp, gp)                                                             \
	X(last, 0x8ff, gp, gp)

static void msr_read(u32 msr, enum expectation expected)
{
	u32 offset = (msr - MSR_X2APIC_FIRST) * 16;
	u64 value = 0;

	avic_fake_create(true);
	if (offset < PAGE_SIZE)
		avic_fake_set(0, offset, 0xa5b6c7d8);
	check(avic_msr_read(&fake.avic, msr, &value), expected, offset, false);
	assert_int_equal(value, expected == allowed ? 0xa5b6c7d8 : 0);
}

static void msr_write(u32 msr, enum expectation expected)
{
	u32 offset = (msr - MSR_X2APIC_FIRST) * 16;
	u32 before;

	avic_fake_create(true);
	before = avic_fake_get(0, offset);
	check(avic_msr_write(&fake.avic, msr, VALUE), expected, offset, true);
	assert_int_equal(avic_fake_get(0, offset),
	                 expected == gp || expected == faults ? before : VALUE);
}

#define X(name, msr, read, write)                                                                  \
	static void test_x2avic_read_of_##name##_is_##read(void **state __unused)                  \
	{                                                                                          \
		msr_read(msr, read);                                                               \
	}                                                                                          \
	static void test_x2avic_write_of_##name##_is_##write(void **state __unused)                \
	{                                                                                          \
		msr_write(msr, write);                                                             \
	}
MSR_ROWS(X)
#undef X

static void expect_gp_on_write(u32 msr, u64 value)
{
	u32 offset = (msr - MSR_X2APIC_FIRST) * 16;
	u32 before;

	avic_fake_create(true);
	before = avic_fake_get(0, offset);
	assert_int_equal(avic_msr_write(&fake.avic, msr, value).action, AVIC_GP);
	assert_int_equal(avic_fake_get(0, offset), before);
}

static void test_x2avic_esr_takes_zero_only(void **state __unused)
{
	avic_fake_create(true);
	expect_exit(avic_msr_write(&fake.avic, 0x828, 0), AVIC_AFTER, APIC_ESR, true);
	expect_gp_on_write(0x828, 1);
}

static void test_x2avic_eoi_is_write_only_and_takes_zero_only(void **state __unused)
{
	u64 value;

	expect_gp_on_write(0x80b, 1);
	expect_gp_on_write(0x80b, BIT64(32));
	avic_fake_create(true);
	assert_int_equal(avic_msr_read(&fake.avic, 0x80b, &value).action, AVIC_GP);
	assert_int_equal(avic_msr_write(&fake.avic, 0x80b, 0).action, AVIC_DONE);
}

static void test_x2avic_self_ipi_is_write_only(void **state __unused)
{
	u64 value;

	avic_fake_create(true);
	assert_int_equal(avic_msr_read(&fake.avic, 0x83f, &value).action, AVIC_GP);
	expect_gp_on_write(0x83f, 0x100);
}

static void test_x2avic_divide_register_has_three_bits(void **state __unused)
{
	avic_fake_create(true);
	expect_exit(avic_msr_write(&fake.avic, 0x83e, 0xb), AVIC_AFTER, APIC_TDCR, true);
	assert_int_equal(avic_fake_get(0, APIC_TDCR), 0xb);
	expect_gp_on_write(0x83e, 4);
}

static void test_x2avic_reserved_bits_are_gp(void **state __unused)
{
	expect_gp_on_write(0x808, 0x100);   /* TPR */
	expect_gp_on_write(0x80f, BIT(10)); /* SVR */
	expect_gp_on_write(0x832, BIT(19)); /* LVT timer */
	expect_gp_on_write(0x833, BIT(13)); /* LVT thermal: no polarity */
	expect_gp_on_write(0x835, BIT(17)); /* LVT LINT0 */
	expect_gp_on_write(0x837, BIT(8));  /* LVT error: no delivery mode */
	expect_gp_on_write(0x830, BIT(13)); /* ICR */
	expect_gp_on_write(0x830, BIT(16));
	expect_gp_on_write(0x830, BIT(20));
}

static void test_x2avic_upper_half_is_reserved(void **state __unused)
{
	static const u32 msrs[] = {0x808, 0x80f, 0x832, 0x835, 0x838, 0x83e, 0x83f};

	for (u32 i = 0; i < ARRAY_SIZE(msrs); i++)
		expect_gp_on_write(msrs[i], BIT64(32));
}

static void test_x2avic_icr_is_one_register_kept_in_two(void **state __unused)
{
	u64 value = 0;

	avic_fake_create(true);
	assert_int_equal(avic_msr_write(&fake.avic, 0x830, 5ull << 32 | 0x4051).action, AVIC_DONE);
	assert_int_equal(avic_fake_get(0, APIC_ICR), 0x4051);
	assert_int_equal(avic_fake_get(0, APIC_ICR2), 5);
	assert_int_equal(avic_msr_read(&fake.avic, 0x830, &value).action, AVIC_DONE);
	assert_int_equal(value, 5ull << 32 | 0x4051);
}

static void test_x2avic_write_of_a_read_only_register_goes_by_the_table_if_switched_so(
        void **state __unused)
{
	static const u32 faults_at[] = {0x803, 0x809, 0x80a, 0x810, 0x81f, 0x827, 0x839, 0x840};
	static const u32 traps_at[] = {0x802, 0x80d};

	avic_fake_create(true);
	fake.avic.switches |= AVIC_X2_READ_ONLY_EXITS;
	for (u32 i = 0; i < ARRAY_SIZE(faults_at); i++) {
		u32 offset = (faults_at[i] - MSR_X2APIC_FIRST) * 16;

		check(avic_msr_write(&fake.avic, faults_at[i], VALUE), faults, offset, true);
		assert_int_equal(avic_fake_get(0, offset), 0);
	}
	for (u32 i = 0; i < ARRAY_SIZE(traps_at); i++) {
		u32 offset = (traps_at[i] - MSR_X2APIC_FIRST) * 16;

		check(avic_msr_write(&fake.avic, traps_at[i], VALUE), traps, offset, true);
		assert_int_equal(avic_fake_get(0, offset), VALUE);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define X(name, at, read, write)                                                                   \
	cmocka_unit_test(test_xavic_read_of_##name##_is_##read),                                   \
	        cmocka_unit_test(test_xavic_write_of_##name##_is_##write),
	        PAGE_ROWS(X)
#undef X
	                cmocka_unit_test(test_xavic_table_covers_the_page),
	        cmocka_unit_test(test_xavic_access_of_eight_bytes_faults),
	        cmocka_unit_test(test_xavic_access_behind_the_first_dword_faults),
	        cmocka_unit_test(test_xavic_unaligned_access_faults),
	        cmocka_unit_test(test_xavic_access_of_a_part_of_a_register),
#define X(name, at, read, write)                                                                   \
	cmocka_unit_test(test_x2avic_read_of_##name##_is_##read),                                  \
	        cmocka_unit_test(test_x2avic_write_of_##name##_is_##write),
	        MSR_ROWS(X)
#undef X
	                cmocka_unit_test(test_x2avic_esr_takes_zero_only),
	        cmocka_unit_test(test_x2avic_eoi_is_write_only_and_takes_zero_only),
	        cmocka_unit_test(test_x2avic_self_ipi_is_write_only),
	        cmocka_unit_test(test_x2avic_divide_register_has_three_bits),
	        cmocka_unit_test(test_x2avic_reserved_bits_are_gp),
	        cmocka_unit_test(test_x2avic_upper_half_is_reserved),
	        cmocka_unit_test(test_x2avic_icr_is_one_register_kept_in_two),
	        cmocka_unit_test(
	                test_x2avic_write_of_a_read_only_register_goes_by_the_table_if_switched_so),
	};

	return cmocka_run_group_tests_name("avic_regs", tests, NULL, NULL);
}
