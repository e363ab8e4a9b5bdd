/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * IPI virtualization: what goes that way, the table, the descriptor, the notification. SDM volume
 * 3, "APIC Virtualization and Virtual Interrupts": "IPI Virtualization". Those tests whose name has
 * "worked" go through an example by its figures.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/vapic_fake.h"

#define IPIV    (FAKE_SHADOW | FAKE_VID | FAKE_REGS | FAKE_IPIV | FAKE_POSTED)
#define MSR_ICR 0x830
#define VECTOR  0x81

static struct vapic_result wrmsr(u32 dest, u32 icr)
{
	return vapic_msr_write(&fake.vapic, MSR_ICR, (u64)dest << 32 | icr);
}

static struct vapic_result write_memory(u8 dest, u32 icr)
{
	vapic_fake_set(APIC_ICR2, (u32)dest << 24);
	assert_int_equal(vapic_page_write(&fake.vapic, VAPIC_DATA, APIC_ICR, 4, icr).action,
	                 VAPIC_DONE);
	return vapic_emulate_write(&fake.vapic);
}

static void expect_done(struct vapic_result result)
{
	assert_int_equal(result.action, VAPIC_DONE);
	assert_int_equal(result.reason, 0);
}

/* The write is in the page, and nothing has been sent. */
static void expect_exit(struct vapic_result result)
{
	assert_int_equal(result.action, VAPIC_AFTER);
	assert_int_equal(result.reason, VMX_EXIT_APIC_WRITE);
	assert_int_equal(result.qualification, 0x300);
	assert_int_equal(fake.notices, 0);
	assert_int_equal(fake.vapic.counts[HW_REQUESTS], 0);
	for (u32 i = 0; i < FAKE_VCPUS; i++)
		for (u32 word = 0; word < 4; word++)
			assert_int_equal(fake.desc[i].pir[word].v, 0);
}

static void expect_notice(u32 host_id, u8 vector)
{
	assert_int_equal(fake.notices, 1);
	assert_int_equal(fake.notice[0].host_id, host_id);
	assert_int_equal(fake.notice[0].vector, vector);
}

/* --- one that is sent --- */

static void test_worked_ipi_by_msr(void **state __unused)
{
	vapic_fake_create(IPIV | FAKE_X2);
	expect_done(wrmsr(2, VECTOR));
	assert_true(vapic_fake_is_posted(2, VECTOR));
	assert_int_equal(fake.desc[2].control.v, PI_TO(FAKE_NV, FAKE_HOST + 2) | PI_ON);
	expect_notice(FAKE_HOST + 2, FAKE_NV);
	assert_int_equal(vapic_fake_get(APIC_ICR), VECTOR);
	assert_int_equal(vapic_fake_get(APIC_ICR + 4), 2);
	assert_int_equal(fake.vapic.counts[HW_IPI], 1);
	assert_int_equal(fake.vapic.counts[HW_REQUESTS], 1);
	assert_int_equal(fake.vapic.counts[HW_DOORBELLS], 1);
	/* The sender's own state is as it was. */
	assert_int_equal(fake.vapic.rvi, 0);
	assert_false(fake.vapic.recognized);
}

static void test_worked_ipi_with_sn_notifies_nobody(void **state __unused)
{
	vapic_fake_create(IPIV | FAKE_X2);
	fake.desc[2].control.v |= PI_SN;
	expect_done(wrmsr(2, VECTOR));
	assert_true(vapic_fake_is_posted(2, VECTOR));
	assert_int_equal(fake.desc[2].control.v, PI_TO(FAKE_NV, FAKE_HOST + 2) | PI_SN);
	assert_int_equal(fake.notices, 0);
}

static void test_worked_ipi_with_on_notifies_nobody(void **state __unused)
{
	vapic_fake_create(IPIV | FAKE_X2);
	fake.desc[2].control.v |= PI_ON;
	expect_done(wrmsr(2, VECTOR));
	assert_true(vapic_fake_is_posted(2, VECTOR));
	assert_int_equal(fake.desc[2].control.v, PI_TO(FAKE_NV, FAKE_HOST + 2) | PI_ON);
	assert_int_equal(fake.notices, 0);
}

static void test_worked_ipi_beyond_the_table_exits(void **state __unused)
{
	vapic_fake_create(IPIV | FAKE_X2);
	expect_exit(wrmsr(0xffffffff, VECTOR));
	assert_int_equal(vapic_fake_get(APIC_ICR), VECTOR);
	assert_int_equal(vapic_fake_get(APIC_ICR + 4), 0xffffffff);
}

static void test_worked_ipi_by_logical_destination_exits(void **state __unused)
{
	vapic_fake_create(IPIV | FAKE_X2);
	expect_exit(wrmsr(2, VECTOR | APIC_DEST_LOGICAL));
	assert_int_equal(vapic_fake_get(APIC_ICR), VECTOR | APIC_DEST_LOGICAL);
}

static void test_ipi_by_memory(void **state __unused)
{
	vapic_fake_create(IPIV);
	expect_done(write_memory(3, VECTOR | APIC_LEVEL_ASSERT));
	assert_true(vapic_fake_is_posted(3, VECTOR));
	expect_notice(FAKE_HOST + 3, FAKE_NV);
	expect_done(write_memory(2, VECTOR));
	assert_true(vapic_fake_is_posted(2, VECTOR));
}

static void test_ipi_sets_pir_whether_its_target_is_told_or_not(void **state __unused)
{
	for (u32 vector = 16; vector < 256; vector++) {
		vapic_fake_create(IPIV | FAKE_X2);
		expect_done(wrmsr(1, vector));
		for (u32 word = 0; word < 4; word++)
			assert_int_equal(fake.desc[1].pir[word].v,
			                 word == vector / 64 ? BIT64(vector % 64) : 0);
	}
}

static void test_ipi_changes_nothing_else_of_the_descriptor(void **state __unused)
{
	vapic_fake_create(IPIV | FAKE_X2);
	fake.desc[1].control.v = ~(PI_ON | PI_SN);
	memset(fake.desc[1].reserved, 0xa5, sizeof(fake.desc[1].reserved));
	fake.desc[1].pir[0].v = 0x8000000000010000;
	vapic_fake_remember();
	expect_done(wrmsr(1, VECTOR));
	assert_int_equal(fake.desc[1].control.v, ~PI_SN);
	expect_notice(0xffffffff, 0xff);
	fake.desc[1].control.v &= ~PI_ON;
	fake.desc[1].pir[VECTOR / 64].v = 0;
	vapic_fake_set(APIC_ICR, 0);
	vapic_fake_set(APIC_ICR + 4, 0);
	assert_true(vapic_fake_is_untouched());
}

static void test_ndst_of_a_host_in_xapic_mode_is_one_byte(void **state __unused)
{
	vapic_fake_create(IPIV | FAKE_X2);
	fake.vapic.host_x2 = false;
	fake.desc[1].control.v = PI_TO(FAKE_NV, 0xffff00ff | PI_XAPIC_ID(0x25));
	expect_done(wrmsr(1, VECTOR));
	expect_notice(0x25, FAKE_NV);
}

static void test_ipi_that_is_there_already_notifies_all_the_same(void **state __unused)
{
	vapic_fake_create(IPIV | FAKE_X2);
	vapic_fake_post(1, VECTOR);
	expect_done(wrmsr(1, VECTOR));
	expect_notice(FAKE_HOST + 1, FAKE_NV);
	assert_int_equal(fake.vapic.counts[HW_COALESCED], 1);
}

static void test_ipi_that_is_there_already_is_silent_if_switched_so(void **state __unused)
{
	vapic_fake_create(IPIV | FAKE_X2);
	fake.vapic.switches |= VAPIC_COALESCED_SILENT;
	vapic_fake_post(1, VECTOR);
	expect_done(wrmsr(1, VECTOR));
	assert_int_equal(fake.notices, 0);
	assert_false(fake.desc[1].control.v & PI_ON);
	expect_done(wrmsr(1, VECTOR + 1));
	expect_notice(FAKE_HOST + 1, FAKE_NV);
}

static void test_ipi_to_oneself_goes_by_the_descriptor(void **state __unused)
{
	vapic_fake_create(IPIV | FAKE_X2);
	expect_done(wrmsr(0, VECTOR));
	assert_true(vapic_fake_is_posted(0, VECTOR));
	assert_int_equal(fake.vapic.rvi, 0);
	expect_notice(FAKE_HOST, FAKE_NV);
	/* The notification arrives. */
	assert_true(vapic_process_posted(&fake.vapic, fake.notice[0].vector));
	assert_true(vapic_can_deliver(&fake.vapic, true));
	assert_int_equal(vapic_deliver(&fake.vapic), VECTOR);
	assert_int_equal(fake.desc[0].control.v, PI_TO(FAKE_NV, FAKE_HOST));
}

/* --- one that is not --- */

static void test_forms_by_memory(void **state __unused)
{
	/*
	 * Free: vector and level. Shorthand 1 is the self-IPI that is virtual-interrupt delivery's.
	 */
	for (u32 bit = 8; bit < 32; bit++) {
		vapic_fake_create(IPIV);
		if (bit == 14 || bit == 18)
			expect_done(write_memory(1, VECTOR | BIT(bit)));
		else
			expect_exit(write_memory(1, VECTOR | BIT(bit)));
		assert_int_equal(vapic_fake_is_posted(1, VECTOR), bit == 14);
	}
}

static void test_forms_by_msr(void **state __unused)
{
	for (u32 bit = 8; bit < 20; bit++) {
		vapic_fake_create(IPIV | FAKE_X2);
		if (bit == 13 || bit == 16 || bit == 17)
			assert_int_equal(wrmsr(1, VECTOR | BIT(bit)).action, VAPIC_GP);
		else if (bit == 14)
			expect_done(wrmsr(1, VECTOR | BIT(bit)));
		else
			expect_exit(wrmsr(1, VECTOR | BIT(bit)));
		assert_int_equal(vapic_fake_is_posted(1, VECTOR), bit == 14);
	}
}

static void test_self_form_by_msr_is_a_self_ipi_if_switched_so(void **state __unused)
{
	vapic_fake_create(IPIV | FAKE_X2);
	fake.vapic.switches |= VAPIC_X2_ICR_SELF;
	expect_done(wrmsr(1, VECTOR | APIC_DEST_SELF));
	assert_int_equal(fake.vapic.rvi, VECTOR);
	assert_true(fake.vapic.recognized);
	assert_int_equal(vapic_fake_get(APIC_ICR), VECTOR | APIC_DEST_SELF);
	vapic_fake_create(IPIV | FAKE_X2);
	fake.vapic.switches |= VAPIC_X2_ICR_SELF;
	expect_exit(wrmsr(1, 3 | APIC_DEST_SELF));
	expect_exit(wrmsr(1, VECTOR | APIC_DEST_ALL));
	fake.vapic.vid = false;
	expect_exit(wrmsr(1, VECTOR | APIC_DEST_SELF));
}

static void test_without_the_control_memory_exits(void **state __unused)
{
	vapic_fake_create(IPIV & ~FAKE_IPIV);
	expect_exit(write_memory(1, VECTOR));
}

static void test_ipiv_alone_writes_icr(void **state __unused)
{
	struct vapic_result result;

	vapic_fake_create(FAKE_SHADOW | FAKE_IPIV);
	expect_done(write_memory(1, VECTOR));
	assert_true(vapic_fake_is_posted(1, VECTOR));
	result = vapic_page_write(&fake.vapic, VAPIC_DATA, APIC_ICR + 1, 1, 0);
	assert_int_equal(result.action, VAPIC_BEFORE);
	result = vapic_page_write(&fake.vapic, VAPIC_DATA, APIC_EOI, 4, 0);
	assert_int_equal(result.action, VAPIC_BEFORE);
	fake.vapic.switches &= ~VAPIC_IPIV_WRITES_ICR;
	result = vapic_page_write(&fake.vapic, VAPIC_DATA, APIC_ICR, 4, VECTOR);
	assert_int_equal(result.action, VAPIC_BEFORE);
}

static void test_low_vectors_exit(void **state __unused)
{
	for (u32 vector = 0; vector < 16; vector++) {
		vapic_fake_create(IPIV | FAKE_X2);
		expect_exit(wrmsr(1, vector));
	}
	expect_done(wrmsr(1, 16));
}

static void test_the_last_index_is_in_the_table(void **state __unused)
{
	vapic_fake_create(IPIV | FAKE_X2);
	expect_exit(wrmsr(FAKE_VCPUS, VECTOR));
	expect_exit(wrmsr(0x10001, VECTOR)); /* not its low 16 bits */
	expect_done(wrmsr(FAKE_VCPUS - 1, VECTOR));
	vapic_fake_create(IPIV | FAKE_X2);
	fake.vapic.last_index = PI_LAST_INDEX;
	fake.table[PI_LAST_INDEX].v = fake.table[1].v;
	expect_exit(wrmsr(PI_LAST_INDEX + 1, VECTOR));
	expect_done(wrmsr(PI_LAST_INDEX, VECTOR));
	assert_true(vapic_fake_is_posted(1, VECTOR));
}

/* The table is asked, whatever destination FFh means to an APIC. */
static void test_destination_ff_by_memory_is_an_index(void **state __unused)
{
	vapic_fake_create(IPIV);
	expect_exit(write_memory(0xff, VECTOR));
	fake.vapic.last_index = 0xff;
	expect_exit(write_memory(0xff, VECTOR));
	fake.table[0xff].v = fake.table[1].v;
	expect_done(write_memory(0xff, VECTOR));
	assert_true(vapic_fake_is_posted(1, VECTOR));
}

static void test_entries_that_are_none(void **state __unused)
{
	u64 address;

	vapic_fake_create(IPIV | FAKE_X2);
	address = vapic_fake_address(1);
	fake.table[1].v = 0;
	expect_exit(wrmsr(1, VECTOR));
	fake.table[1].v = address;
	expect_exit(wrmsr(1, VECTOR));
	for (u32 bit = 1; bit < 6; bit++) {
		fake.table[1].v = address | PI_ENTRY_VALID | BIT64(bit);
		expect_exit(wrmsr(1, VECTOR));
	}
	for (u32 bit = fake.vapic.width; bit < 64; bit++) {
		fake.table[1].v = address | PI_ENTRY_VALID | BIT64(bit);
		expect_exit(wrmsr(1, VECTOR));
	}
	fake.table[1].v = vapic_fake_nowhere() | PI_ENTRY_VALID;
	expect_exit(wrmsr(1, VECTOR));
	fake.table[1].v = PI_ENTRY_VALID;
	expect_exit(wrmsr(1, VECTOR));
	fake.table[1].v = address | PI_ENTRY_VALID;
	expect_done(wrmsr(1, VECTOR));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_worked_ipi_by_msr),
	        cmocka_unit_test(test_worked_ipi_with_sn_notifies_nobody),
	        cmocka_unit_test(test_worked_ipi_with_on_notifies_nobody),
	        cmocka_unit_test(test_worked_ipi_beyond_the_table_exits),
	        cmocka_unit_test(test_worked_ipi_by_logical_destination_exits),
	        cmocka_unit_test(test_ipi_by_memory),
	        cmocka_unit_test(test_ipi_sets_pir_whether_its_target_is_told_or_not),
	        cmocka_unit_test(test_ipi_changes_nothing_else_of_the_descriptor),
	        cmocka_unit_test(test_ndst_of_a_host_in_xapic_mode_is_one_byte),
	        cmocka_unit_test(test_ipi_that_is_there_already_notifies_all_the_same),
	        cmocka_unit_test(test_ipi_that_is_there_already_is_silent_if_switched_so),
	        cmocka_unit_test(test_ipi_to_oneself_goes_by_the_descriptor),
	        cmocka_unit_test(test_forms_by_memory),
	        cmocka_unit_test(test_forms_by_msr),
	        cmocka_unit_test(test_self_form_by_msr_is_a_self_ipi_if_switched_so),
	        cmocka_unit_test(test_without_the_control_memory_exits),
	        cmocka_unit_test(test_ipiv_alone_writes_icr),
	        cmocka_unit_test(test_low_vectors_exit),
	        cmocka_unit_test(test_the_last_index_is_in_the_table),
	        cmocka_unit_test(test_destination_ff_by_memory_is_an_index),
	        cmocka_unit_test(test_entries_that_are_none),
	};

	return cmocka_run_group_tests_name("vapic_ipi", tests, NULL, NULL);
}
