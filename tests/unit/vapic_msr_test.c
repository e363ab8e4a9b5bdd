/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * APIC virtualization's MSRs: SDM volume 3, "Virtualizing MSR-Based APIC Accesses". Those of ICR
 * that send are in vapic_ipi_test.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/vapic_fake.h"

#define X2   (FAKE_SHADOW | FAKE_X2)
#define VID  FAKE_VID
#define REGS FAKE_REGS
#define BOTH (FAKE_VID | FAKE_REGS)

static void expect_exit(struct vapic_result result, enum vapic_action action, u32 reason,
                        u64 qualification)
{
	assert_int_equal(result.action, action);
	assert_int_equal(result.reason, reason);
	assert_int_equal(result.qualification, qualification);
}

static void expect_done(struct vapic_result result)
{
	expect_exit(result, VAPIC_DONE, 0, 0);
}

static void expect_ordinary(struct vapic_result result)
{
	expect_exit(result, VAPIC_ORDINARY, 0, 0);
}

static void expect_gp(struct vapic_result result)
{
	expect_exit(result, VAPIC_GP, 0, 0);
}

static void set_wide(u32 offset, u64 value)
{
	vapic_fake_set(offset, (u32)value);
	vapic_fake_set(offset + 4, (u32)(value >> 32));
}

static void test_rdmsr_with_registers_reads_eight_bytes_of_any(void **state __unused)
{
	for (u32 msr = 0x800; msr <= 0x8ff; msr++) {
		u64 value = 0;

		vapic_fake_create(X2 | REGS);
		set_wide((msr - 0x800) * 16, 0x1122334455667788);
		vapic_fake_remember();
		expect_done(vapic_msr_read(&fake.vapic, msr, &value));
		assert_int_equal(value, 0x1122334455667788);
		assert_true(vapic_fake_is_untouched());
	}
}

static void test_rdmsr_without_registers_reads_tpr_alone(void **state __unused)
{
	for (u32 msr = 0x800; msr <= 0x8ff; msr++) {
		u64 value = 3;

		vapic_fake_create(X2 | VID | FAKE_IPIV);
		set_wide((msr - 0x800) * 16, 0x1122334455667788);
		if (msr == 0x808) {
			expect_done(vapic_msr_read(&fake.vapic, msr, &value));
			assert_int_equal(value, 0x1122334455667788);
		} else {
			expect_ordinary(vapic_msr_read(&fake.vapic, msr, &value));
			assert_int_equal(value, 3);
		}
	}
}

static void test_other_msrs_and_modes_are_ordinary(void **state __unused)
{
	static const u32 msrs[] = {0x7ff, 0x900, 0x1b, 0xc0000808};
	u64 value = 0;

	vapic_fake_create(X2 | BOTH | FAKE_IPIV);
	vapic_fake_remember();
	for (u32 i = 0; i < ARRAY_SIZE(msrs); i++) {
		expect_ordinary(vapic_msr_read(&fake.vapic, msrs[i], &value));
		expect_ordinary(vapic_msr_write(&fake.vapic, msrs[i], 0));
	}
	fake.vapic.x2apic = false;
	for (u32 msr = 0x800; msr <= 0x8ff; msr++) {
		expect_ordinary(vapic_msr_read(&fake.vapic, msr, &value));
		expect_ordinary(vapic_msr_write(&fake.vapic, msr, 0));
	}
	assert_true(vapic_fake_is_untouched());
}

static void test_wrmsr_of_the_others_is_ordinary(void **state __unused)
{
	for (u32 msr = 0x800; msr <= 0x8ff; msr++) {
		bool special = msr == 0x808 || msr == 0x80b || msr == 0x830 || msr == 0x83f;

		vapic_fake_create(X2 | BOTH | FAKE_IPIV);
		vapic_fake_remember();
		if (special)
			continue;
		expect_ordinary(vapic_msr_write(&fake.vapic, msr, 0));
		expect_ordinary(vapic_msr_write(&fake.vapic, msr, ~0ull));
		assert_true(vapic_fake_is_untouched());
	}
}

static void test_wrmsr_without_its_control_is_ordinary(void **state __unused)
{
	vapic_fake_create(X2 | REGS | FAKE_IPIV);
	vapic_fake_remember();
	expect_ordinary(vapic_msr_write(&fake.vapic, 0x80b, 0));
	expect_ordinary(vapic_msr_write(&fake.vapic, 0x83f, 0x41));
	fake.vapic.vid = true;
	fake.vapic.ipiv = false;
	expect_ordinary(vapic_msr_write(&fake.vapic, 0x830, 0x41));
	assert_true(vapic_fake_is_untouched());
}

static void test_wrmsr_of_tpr(void **state __unused)
{
	vapic_fake_create(X2);
	fake.vapic.threshold = 5;
	set_wide(APIC_TPR, ~0ull);
	expect_done(vapic_msr_write(&fake.vapic, 0x808, 0x5f));
	assert_int_equal(vapic_fake_get(APIC_TPR), 0x5f);
	assert_int_equal(vapic_fake_get(APIC_TPR + 4), 0);
	expect_exit(vapic_msr_write(&fake.vapic, 0x808, 0x4f), VAPIC_AFTER,
	            VMX_EXIT_TPR_BELOW_THRESHOLD, 0);
	vapic_fake_create(X2 | VID);
	expect_done(vapic_msr_write(&fake.vapic, 0x808, 0x5f));
	assert_int_equal(vapic_fake_get(APIC_PPR), 0x5f);
}

static void test_wrmsr_of_eoi(void **state __unused)
{
	vapic_fake_create(X2 | VID);
	vapic_fake_put(APIC_ISR, 0x41);
	set_wide(APIC_EOI, ~0ull);
	vapic_fake_enter(0, 0x41);
	expect_done(vapic_msr_write(&fake.vapic, 0x80b, 0));
	assert_false(vapic_fake_has(APIC_ISR, 0x41));
	assert_int_equal(vapic_fake_get(APIC_EOI), 0);
	assert_int_equal(vapic_fake_get(APIC_EOI + 4), 0);
	fake.vapic.eoi_exit[1] = BIT64(1);
	vapic_fake_enter(0, 0x41);
	expect_exit(vapic_msr_write(&fake.vapic, 0x80b, 0), VAPIC_AFTER, VMX_EXIT_EOI, 0x41);
}

static void test_wrmsr_of_self_ipi(void **state __unused)
{
	vapic_fake_create(X2 | VID);
	set_wide(APIC_SELF, ~0ull);
	expect_done(vapic_msr_write(&fake.vapic, 0x83f, 0x41));
	assert_int_equal(vapic_fake_get(APIC_SELF), 0x41);
	assert_int_equal(vapic_fake_get(APIC_SELF + 4), 0);
	assert_int_equal(fake.vapic.rvi, 0x41);
	assert_true(fake.vapic.recognized);
	for (u32 vector = 0; vector < 16; vector++) {
		expect_exit(vapic_msr_write(&fake.vapic, 0x83f, vector), VAPIC_AFTER,
		            VMX_EXIT_APIC_WRITE, APIC_SELF);
		assert_int_equal(vapic_fake_get(APIC_SELF), vector);
	}
	assert_int_equal(fake.vapic.rvi, 0x41);
}

static void test_wrmsr_of_self_ipi_is_not_stored_if_switched_so(void **state __unused)
{
	vapic_fake_create(X2 | VID);
	fake.vapic.switches |= VAPIC_SELF_NOT_STORED;
	expect_done(vapic_msr_write(&fake.vapic, 0x83f, 0x41));
	assert_int_equal(vapic_fake_get(APIC_SELF), 0);
	expect_exit(vapic_msr_write(&fake.vapic, 0x83f, 3), VAPIC_AFTER, VMX_EXIT_APIC_WRITE,
	            APIC_SELF);
	assert_int_equal(vapic_fake_get(APIC_SELF), 3);
}

static void test_wrmsr_reserved_bits_are_gp(void **state __unused)
{
	for (u32 bit = 0; bit < 64; bit++) {
		u64 value = BIT64(bit) | 0x41;

		vapic_fake_create(X2 | BOTH | FAKE_IPIV);
		vapic_fake_put(APIC_ISR, 0x41);
		vapic_fake_enter(0, 0x41);
		vapic_fake_remember();
		expect_gp(vapic_msr_write(&fake.vapic, 0x80b, BIT64(bit)));
		if (bit >= 8) {
			expect_gp(vapic_msr_write(&fake.vapic, 0x808, value));
			expect_gp(vapic_msr_write(&fake.vapic, 0x83f, value));
		}
		if ((bit >= 20 && bit < 32) || bit == 17 || bit == 16 || bit == 13)
			expect_gp(vapic_msr_write(&fake.vapic, 0x830, value));
		assert_true(vapic_fake_is_untouched());
		assert_int_equal(fake.vapic.rvi, 0);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_rdmsr_with_registers_reads_eight_bytes_of_any),
	        cmocka_unit_test(test_rdmsr_without_registers_reads_tpr_alone),
	        cmocka_unit_test(test_other_msrs_and_modes_are_ordinary),
	        cmocka_unit_test(test_wrmsr_of_the_others_is_ordinary),
	        cmocka_unit_test(test_wrmsr_without_its_control_is_ordinary),
	        cmocka_unit_test(test_wrmsr_of_tpr),
	        cmocka_unit_test(test_wrmsr_of_eoi),
	        cmocka_unit_test(test_wrmsr_of_self_ipi),
	        cmocka_unit_test(test_wrmsr_of_self_ipi_is_not_stored_if_switched_so),
	        cmocka_unit_test(test_wrmsr_reserved_bits_are_gp),
	};

	return cmocka_run_group_tests_name("vapic_msr", tests, NULL, NULL);
}
