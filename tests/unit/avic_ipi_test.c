/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * IPIs by AVIC: every form, every cause of an incomplete one. APM volume 2, "Interprocessor
 * Interrupts", "AVIC IPI Delivery Not Completed".
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "postern/port.h"
#include "tests/unit/avic_fake.h"

#define VECTOR 0x51u
#define FIXED  (APIC_LEVEL_ASSERT | VECTOR)

static struct avic_result send_to(u32 icr, u32 dest)
{
	if (fake.avic.x2)
		return avic_msr_write(&fake.avic, 0x830, (u64)dest << 32 | icr);
	avic_page_write(&fake.avic, APIC_ICR2, 4, dest << 24);
	return avic_page_write(&fake.avic, APIC_ICR, 4, icr);
}

static void expect_incomplete(struct avic_result result, u32 id, u32 index)
{
	assert_int_equal(result.action, AVIC_AFTER);
	assert_int_equal(result.exit_code, SVM_EXIT_AVIC_INCOMPLETE_IPI);
	assert_int_equal(result.info_2 >> 32, id);
	assert_int_equal((u32)result.info_2, index);
}

static void expect_info_1(struct avic_result result, u32 icr, u32 dest)
{
	u64 high = fake.avic.x2 ? dest : dest << 24;

	if (!fake.avic.x2 && (fake.avic.switches & AVIC_BUSY_ON_EXIT))
		icr |= APIC_ICR_BUSY;
	assert_int_equal(result.info_1, high << 32 | icr);
}

/* Exactly these processors got the vector: `set` has a bit for each of the first 64. */
static void expect_targets(u64 set)
{
	for (u32 i = 0; i < FAKE_VCPUS; i++) {
		bool wanted = i < 64 && (set >> i & 1);

		assert_int_equal(avic_fake_has(i, APIC_IRR, VECTOR), wanted);
	}
}

/* One doorbell for each of these, in order, to the processor where it runs. */
static void expect_rings(u64 set)
{
	u32 n = 0;

	for (u32 i = 0; i < 64; i++) {
		if (!(set >> i & 1))
			continue;
		assert_true(n < fake.rings);
		assert_int_equal(fake.ring[n++], FAKE_HOST + i);
	}
	assert_int_equal(fake.rings, n);
}

static void expect_sent(struct avic_result result, u64 targets)
{
	assert_int_equal(result.action, AVIC_DONE);
	expect_targets(targets);
	expect_rings(targets & ~1ull);
	if (targets & 1)
		assert_int_equal(fake.avic.pending, VECTOR);
	assert_int_equal(fake.avic.counts[HW_DOORBELLS], fake.rings);
}

/* Both modes, unless a test is about one. */
static void in_both(void (*test)(void))
{
	for (u32 x2 = 0; x2 < 2; x2++) {
		avic_fake_create(x2);
		test();
	}
}

#define BOTH(name)                                                                                 \
	static void check_##name(void);                                                            \
	static void test_##name(void **state __unused)                                             \
	{                                                                                          \
		in_both(check_##name);                                                             \
	}                                                                                          \
	static void check_##name(void)

/* --- forms --- */

BOTH(physical_destination)
{
	expect_sent(send_to(FIXED, 5), BIT64(5));
}

BOTH(physical_destination_of_itself_needs_no_doorbell)
{
	expect_sent(send_to(FIXED, 0), BIT64(0));
}

BOTH(self_shorthand)
{
	/* Whether it runs, the processor knows by itself. */
	avic_fake_running(0, false);
	expect_sent(send_to(APIC_DEST_SELF | FIXED, 5), BIT64(0));
}

BOTH(all_shorthand_takes_those_that_are_there)
{
	fake.ids[3].v = 0;
	for (u32 i = 64; i < FAKE_VCPUS; i++)
		fake.ids[i].v = 0;
	expect_sent(send_to(APIC_DEST_ALL | FIXED, 5), ~BIT64(3));
}

BOTH(others_shorthand_leaves_out_the_sender)
{
	for (u32 i = 8; i < FAKE_VCPUS; i++)
		fake.ids[i].v = 0;
	expect_sent(send_to(APIC_DEST_OTHERS | FIXED, 5), 0xfe);
}

BOTH(shorthand_logical_bit_means_nothing)
{
	expect_sent(send_to(APIC_DEST_SELF | APIC_DEST_LOGICAL | FIXED, 0xff), BIT64(0));
}

BOTH(broadcast_destination)
{
	for (u32 i = 4; i < FAKE_VCPUS; i++)
		fake.ids[i].v = 0;
	expect_sent(send_to(FIXED, fake.avic.x2 ? ~0u : 0xff), 0xf);
}

static void test_x2_broadcast_destination_is_an_index_if_switched_so(void **state __unused)
{
	avic_fake_create(true);
	fake.avic.switches |= AVIC_X2_BROADCAST_INDEX;
	expect_incomplete(send_to(FIXED, ~0u), AVIC_IPI_INVALID_TARGET, 0x1ff);
	expect_targets(0);
}

static void test_x2_destination_255_is_an_index(void **state __unused)
{
	avic_fake_create(true);
	expect_incomplete(send_to(FIXED, 255), AVIC_IPI_INVALID_TARGET, 255);
}

static void test_flat_logical_destination(void **state __unused)
{
	avic_fake_create(false);
	expect_sent(send_to(APIC_DEST_LOGICAL | FIXED, 0x86), 0x86);
}

static void test_flat_logical_entry_names_a_physical_one(void **state __unused)
{
	avic_fake_create(false);
	fake.logical[7].v = AVIC_LOGICAL_VALID | 42;
	expect_sent(send_to(APIC_DEST_LOGICAL | FIXED, 0x80), BIT64(42));
}

static void test_cluster_logical_destination(void **state __unused)
{
	avic_fake_create(false);
	avic_fake_cluster();
	/* Cluster 2, members 0 and 1: entries 8 and 9. */
	expect_sent(send_to(APIC_DEST_LOGICAL | FIXED, 0x23), BIT64(8) | BIT64(9));
}

static void test_cluster_14_is_the_last(void **state __unused)
{
	avic_fake_create(false);
	avic_fake_cluster();
	expect_sent(send_to(APIC_DEST_LOGICAL | FIXED, 0xe8), BIT64(59));
}

static void test_cluster_15_is_left_to_the_hypervisor(void **state __unused)
{
	avic_fake_create(false);
	avic_fake_cluster();
	expect_incomplete(send_to(APIC_DEST_LOGICAL | FIXED, 0xf1), AVIC_IPI_INVALID_TARGET, 60);
	expect_targets(0);
}

static void leave(u32 vcpus)
{
	for (u32 i = vcpus; i < FAKE_VCPUS; i++)
		fake.ids[i].v = 0;
}

static void test_flat_logical_destination_ff_is_broadcast(void **state __unused)
{
	avic_fake_create(false);
	leave(12);
	fake.logical[3].v = 0;
	expect_sent(send_to(APIC_DEST_LOGICAL | FIXED, 0xff), 0xfff);
}

static void test_cluster_logical_destination_ff_is_broadcast(void **state __unused)
{
	avic_fake_create(false);
	avic_fake_cluster();
	leave(12);
	expect_sent(send_to(APIC_DEST_LOGICAL | FIXED, 0xff), 0xfff);
}

static void test_logical_destination_ff_is_looked_up_if_switched_so(void **state __unused)
{
	avic_fake_create(false);
	fake.avic.switches |= AVIC_LOGICAL_FF_LOOKUP;
	expect_sent(send_to(APIC_DEST_LOGICAL | FIXED, 0xff), 0xff);
	fake.logical[3].v = 0;
	expect_incomplete(send_to(APIC_DEST_LOGICAL | FIXED, 0xff), AVIC_IPI_INVALID_TARGET, 3);
	avic_fake_cluster();
	expect_incomplete(send_to(APIC_DEST_LOGICAL | FIXED, 0xff), AVIC_IPI_INVALID_TARGET, 60);
	/* The physical one is broadcast whatever the switch. */
	leave(3);
	expect_incomplete(send_to(APIC_DEST_LOGICAL | FIXED, 0xff), AVIC_IPI_INVALID_TARGET, 60);
	assert_int_equal(send_to(FIXED, 0xff).action, AVIC_DONE);
}

static void test_xavic_entry_255_is_reserved(void **state __unused)
{
	avic_fake_create(false);
	fake.control.avic_physical_table = ptr_to_hpa(fake.ids).v | 255;
	avic_fake_enter();
	leave(3);
	fake.ids[255].v = AVIC_PHYSICAL_VALID | AVIC_PHYSICAL_RUNNING | ptr_to_hpa(fake.page[9]).v;
	expect_sent(send_to(FIXED, 0xff), 0x7);
	fake.logical[1].v = AVIC_LOGICAL_VALID | 255;
	expect_incomplete(send_to(APIC_DEST_LOGICAL | FIXED, 2), AVIC_IPI_INVALID_TARGET, 1);
	assert_false(avic_fake_has(9, APIC_IRR, VECTOR));
}

static void test_logical_destination_without_members_is_nobody(void **state __unused)
{
	avic_fake_create(false);
	expect_sent(send_to(APIC_DEST_LOGICAL | FIXED, 0), 0);
	avic_fake_create(true);
	expect_sent(send_to(APIC_DEST_LOGICAL | FIXED, 0x30000), 0);
}

static void test_x2_logical_destination_is_cluster_and_bits(void **state __unused)
{
	avic_fake_create(true);
	expect_sent(send_to(APIC_DEST_LOGICAL | FIXED, 0x00030005), BIT64(0x30) | BIT64(0x32));
}

BOTH(ipi_of_an_edge_clears_tmr)
{
	avic_fake_put(5, APIC_TMR, VECTOR);
	avic_fake_put(5, APIC_TMR, VECTOR + 1);
	send_to(FIXED, 5);
	assert_false(avic_fake_has(5, APIC_TMR, VECTOR));
	assert_true(avic_fake_has(5, APIC_TMR, VECTOR + 1));
}

BOTH(ipi_leaves_tmr_if_switched_so)
{
	fake.avic.switches |= AVIC_IPI_KEEPS_TMR;
	avic_fake_put(5, APIC_TMR, VECTOR);
	send_to(FIXED, 5);
	assert_true(avic_fake_has(5, APIC_TMR, VECTOR));
}

BOTH(ipi_rings_though_the_bit_was_set)
{
	avic_fake_put(5, APIC_IRR, VECTOR);
	expect_sent(send_to(FIXED, 5), BIT64(5));
}

BOTH(icr_keeps_what_was_written)
{
	send_to(FIXED, 5);
	assert_int_equal(avic_fake_get(0, APIC_ICR), FIXED);
	assert_int_equal(avic_fake_get(0, APIC_ICR2), fake.avic.x2 ? 5 : 5 << 24);
}

/* --- incomplete: invalid type --- */

BOTH(delivery_modes_but_fixed_are_an_invalid_type)
{
	for (u32 mode = 1; mode < 8; mode++) {
		u32 icr = APIC_LEVEL_ASSERT | mode << 8 | VECTOR;
		struct avic_result result = send_to(icr, 5);

		expect_incomplete(result, AVIC_IPI_INVALID_TYPE, 0);
		expect_info_1(result, icr, 5);
	}
	expect_targets(0);
	expect_rings(0);
}

BOTH(level_trigger_is_an_invalid_type)
{
	expect_incomplete(send_to(APIC_TRIGGER_LEVEL | FIXED, 5), AVIC_IPI_INVALID_TYPE, 0);
	expect_targets(0);
}

BOTH(shorthand_with_nmi_is_an_invalid_type)
{
	expect_incomplete(send_to(APIC_DEST_OTHERS | APIC_DM_NMI | APIC_LEVEL_ASSERT, 0),
	                  AVIC_IPI_INVALID_TYPE, 0);
}

/* --- incomplete: invalid vector --- */

BOTH(vector_below_16_is_invalid)
{
	expect_incomplete(send_to(APIC_LEVEL_ASSERT | 15, 5), AVIC_IPI_INVALID_VECTOR, 0);
	assert_int_equal(avic_fake_get(5, APIC_IRR), 0);
	assert_int_equal(send_to(APIC_LEVEL_ASSERT | 16, 5).action, AVIC_DONE);
}

BOTH(vector_below_16_is_an_invalid_type_if_switched_so)
{
	fake.avic.switches |= AVIC_LOW_VECTOR_TYPE;
	expect_incomplete(send_to(APIC_LEVEL_ASSERT | 15, 5), AVIC_IPI_INVALID_TYPE, 0);
}

BOTH(self_shorthand_with_vector_below_16_is_invalid)
{
	expect_incomplete(send_to(APIC_DEST_SELF | APIC_LEVEL_ASSERT | 3, 0),
	                  AVIC_IPI_INVALID_VECTOR, 0);
}

static void test_x2_self_ipi_register(void **state __unused)
{
	avic_fake_create(true);
	expect_sent(avic_msr_write(&fake.avic, 0x83f, VECTOR), BIT64(0));
	expect_incomplete(avic_msr_write(&fake.avic, 0x83f, 15), AVIC_IPI_INVALID_VECTOR, 0);
}

/* --- incomplete: target not running --- */

BOTH(target_that_does_not_run_has_its_interrupt_and_exits)
{
	struct avic_result result;

	avic_fake_running(5, false);
	result = send_to(FIXED, 5);
	expect_incomplete(result, AVIC_IPI_NOT_RUNNING, 5);
	expect_info_1(result, FIXED, 5);
	expect_targets(BIT64(5));
	expect_rings(0);
}

BOTH(those_that_run_are_rung_before_the_exit_for_those_that_do_not)
{
	for (u32 i = 8; i < FAKE_VCPUS; i++)
		fake.ids[i].v = 0;
	avic_fake_running(2, false);
	avic_fake_running(6, false);
	expect_incomplete(send_to(APIC_DEST_OTHERS | FIXED, 0), AVIC_IPI_NOT_RUNNING, 6);
	expect_targets(0xfe);
	expect_rings(0xfe & ~(BIT64(2) | BIT64(6)));
}

BOTH(sender_marked_as_not_running_exits)
{
	/* What the workaround for the erratum makes of every entry. */
	avic_fake_running(0, false);
	expect_incomplete(send_to(FIXED, 0), AVIC_IPI_NOT_RUNNING, 0);
	expect_targets(BIT64(0));
}

/* --- incomplete: invalid target --- */

BOTH(index_beyond_the_table_is_an_invalid_target)
{
	expect_incomplete(send_to(FIXED, FAKE_VCPUS), AVIC_IPI_INVALID_TARGET, FAKE_VCPUS);
	expect_targets(0);
}

BOTH(entry_that_is_not_valid_is_an_invalid_target)
{
	fake.ids[5].v &= ~AVIC_PHYSICAL_VALID;
	expect_incomplete(send_to(FIXED, 5), AVIC_IPI_INVALID_TARGET, 5);
	expect_targets(0);
}

static void test_flat_logical_entry_that_is_not_valid_is_an_invalid_target(void **state __unused)
{
	avic_fake_create(false);
	fake.logical[3].v = 0;
	expect_incomplete(send_to(APIC_DEST_LOGICAL | FIXED, 0x08), AVIC_IPI_INVALID_TARGET, 3);
	expect_targets(0);
}

static void test_cluster_logical_entry_that_is_not_valid_is_an_invalid_target(void **state __unused)
{
	avic_fake_create(false);
	avic_fake_cluster();
	fake.logical[9].v = 0;
	expect_incomplete(send_to(APIC_DEST_LOGICAL | FIXED, 0x22), AVIC_IPI_INVALID_TARGET, 9);
	expect_targets(0);
}

static void test_an_invalid_target_exits_before_any_has_its_interrupt(void **state __unused)
{
	avic_fake_create(false);
	fake.logical[3].v = 0;
	expect_incomplete(send_to(APIC_DEST_LOGICAL | FIXED, 0x0a), AVIC_IPI_INVALID_TARGET, 3);
	expect_targets(0);
	expect_rings(0);
	expect_sent(send_to(APIC_DEST_LOGICAL | FIXED, 0x06), 0x06);
	avic_fake_create(true);
	fake.ids[0x32].v = 0;
	expect_incomplete(send_to(APIC_DEST_LOGICAL | FIXED, 0x00030005), AVIC_IPI_INVALID_TARGET,
	                  0x32);
	expect_targets(0);
	expect_rings(0);
}

static void test_those_before_an_invalid_target_have_theirs_if_switched_so(void **state __unused)
{
	avic_fake_create(false);
	fake.avic.switches &= ~(u32)AVIC_CHECK_FIRST;
	fake.logical[3].v = 0;
	expect_incomplete(send_to(APIC_DEST_LOGICAL | FIXED, 0x0a), AVIC_IPI_INVALID_TARGET, 3);
	expect_targets(BIT64(1));
	expect_rings(BIT64(1));
}

static void test_logical_entry_beyond_the_physical_table_is_an_invalid_target(void **state __unused)
{
	avic_fake_create(false);
	fake.logical[3].v = AVIC_LOGICAL_VALID | 0xfe;
	expect_incomplete(send_to(APIC_DEST_LOGICAL | FIXED, 0x08), AVIC_IPI_INVALID_TARGET, 3);
}

static void test_logical_entry_to_an_invalid_physical_one_is_an_invalid_target(
        void **state __unused)
{
	avic_fake_create(false);
	fake.logical[3].v = AVIC_LOGICAL_VALID | 42;
	fake.ids[42].v = 0;
	expect_incomplete(send_to(APIC_DEST_LOGICAL | FIXED, 0x08), AVIC_IPI_INVALID_TARGET, 3);
}

static void test_x2_logical_member_beyond_the_table_is_an_invalid_target(void **state __unused)
{
	avic_fake_create(true);
	expect_incomplete(send_to(APIC_DEST_LOGICAL | FIXED, 0x00048000), AVIC_IPI_INVALID_TARGET,
	                  0x4f);
}

static void test_x2_logical_cluster_does_not_wrap(void **state __unused)
{
	avic_fake_create(true);
	expect_incomplete(send_to(APIC_DEST_LOGICAL | FIXED, 0xf0000001), AVIC_IPI_INVALID_TARGET,
	                  0xf0000u & 0x1ff);
	expect_targets(0);
}

/* Every cause that has an index: of the table in which the destination was looked up. */
static void check_index(u32 cause, u32 logical, u32 physical)
{
	bool is_logical = !(fake.avic.switches & AVIC_INDEX_PHYSICAL);

	expect_incomplete(send_to(APIC_DEST_LOGICAL | FIXED, BIT(logical)), cause,
	                  is_logical ? logical : physical);
	expect_incomplete(send_to(FIXED, physical), cause, physical);
}

static void check_indexes(u32 switches)
{
	avic_fake_create(false);
	fake.avic.switches |= switches;
	fake.logical[3].v = AVIC_LOGICAL_VALID | 42;
	avic_fake_running(42, false);
	check_index(AVIC_IPI_NOT_RUNNING, 3, 42);
	fake.ids[42].v = AVIC_PHYSICAL_VALID | avic_fake_nowhere();
	check_index(AVIC_IPI_INVALID_PAGE, 3, 42);
	fake.ids[42].v = 0;
	check_index(AVIC_IPI_INVALID_TARGET, 3, 42);
}

static void test_index_of_a_logical_target_is_the_logical_tables(void **state __unused)
{
	check_indexes(0);
}

static void test_index_of_a_logical_target_is_the_physical_tables_if_switched_so(
        void **state __unused)
{
	check_indexes(AVIC_INDEX_PHYSICAL);
}

static void test_x2_index_of_a_logical_target_is_the_physical_tables(void **state __unused)
{
	avic_fake_create(true);
	avic_fake_running(0x32, false);
	expect_incomplete(send_to(APIC_DEST_LOGICAL | FIXED, 0x00030004), AVIC_IPI_NOT_RUNNING,
	                  0x32);
}

static void test_index_has_12_bits_where_the_table_is_of_several_pages(void **state __unused)
{
	avic_fake_create(true);
	fake.control.avic_physical_table = ptr_to_hpa(fake.ids).v | 600;
	avic_fake_enter();
	expect_incomplete(send_to(FIXED, 0x345), AVIC_IPI_INVALID_TARGET, 0x345);
	expect_incomplete(send_to(FIXED, 0x1345), AVIC_IPI_INVALID_TARGET, 0x345);
}

static void test_index_has_8_bits_in_xavic_and_9_in_x2avic(void **state __unused)
{
	avic_fake_create(true);
	expect_incomplete(send_to(FIXED, 0x345), AVIC_IPI_INVALID_TARGET, 0x145);
	fake.avic.switches |= AVIC_INDEX_12;
	expect_incomplete(send_to(FIXED, 0x345), AVIC_IPI_INVALID_TARGET, 0x345);
}

/* --- incomplete: invalid page --- */

BOTH(page_that_is_no_memory_is_invalid)
{
	fake.ids[5].v = AVIC_PHYSICAL_VALID | AVIC_PHYSICAL_RUNNING | avic_fake_nowhere();
	expect_incomplete(send_to(FIXED, 5), AVIC_IPI_INVALID_PAGE, 5);
	fake.ids[5].v = AVIC_PHYSICAL_VALID | AVIC_PHYSICAL_RUNNING;
	expect_incomplete(send_to(FIXED, 5), AVIC_IPI_INVALID_PAGE, 5);
	expect_rings(0);
}

BOTH(broadcast_exits_for_a_page_that_is_no_memory)
{
	fake.ids[5].v = AVIC_PHYSICAL_VALID | AVIC_POINTER;
	expect_incomplete(send_to(APIC_DEST_OTHERS | FIXED, 0), AVIC_IPI_INVALID_PAGE, 5);
}

/* --- delivery status --- */

static void test_xavic_busy_after_an_incomplete_ipi(void **state __unused)
{
	avic_fake_create(false);
	avic_fake_running(5, false);
	send_to(FIXED, 5);
	assert_int_equal(avic_fake_get(0, APIC_ICR), FIXED | APIC_ICR_BUSY);
	fake.avic.switches &= ~(u32)AVIC_BUSY_ON_EXIT;
	send_to(FIXED, 5);
	assert_int_equal(avic_fake_get(0, APIC_ICR), FIXED);
}

static void test_xavic_busy_is_in_exitinfo1_too(void **state __unused)
{
	struct avic_result result;

	avic_fake_create(false);
	avic_fake_running(5, false);
	result = send_to(FIXED, 5);
	assert_int_equal((u32)result.info_1, FIXED | APIC_ICR_BUSY);
	fake.avic.switches &= ~(u32)AVIC_BUSY_ON_EXIT;
	result = send_to(FIXED, 5);
	assert_int_equal((u32)result.info_1, FIXED);
}

static void test_xavic_busy_is_not_for_the_guest_to_set(void **state __unused)
{
	avic_fake_create(false);
	expect_sent(send_to(APIC_ICR_BUSY | FIXED, 5), BIT64(5));
	assert_int_equal(avic_fake_get(0, APIC_ICR), FIXED);
}

static void test_x2_busy_is_reserved(void **state __unused)
{
	avic_fake_create(true);
	assert_int_equal(send_to(APIC_ICR_BUSY | FIXED, 5).action, AVIC_GP);
	expect_targets(0);
	assert_int_equal(avic_fake_get(0, APIC_ICR), 0);
	assert_int_equal(avic_fake_get(0, APIC_ICR2), 0);
}

static void test_x2_busy_is_ignored_if_switched_so(void **state __unused)
{
	avic_fake_create(true);
	fake.avic.switches |= AVIC_X2_BUSY_IGNORED;
	expect_sent(send_to(APIC_ICR_BUSY | FIXED, 5), BIT64(5));
	assert_int_equal(avic_fake_get(0, APIC_ICR), FIXED);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_physical_destination),
	        cmocka_unit_test(test_physical_destination_of_itself_needs_no_doorbell),
	        cmocka_unit_test(test_self_shorthand),
	        cmocka_unit_test(test_all_shorthand_takes_those_that_are_there),
	        cmocka_unit_test(test_others_shorthand_leaves_out_the_sender),
	        cmocka_unit_test(test_shorthand_logical_bit_means_nothing),
	        cmocka_unit_test(test_broadcast_destination),
	        cmocka_unit_test(test_x2_broadcast_destination_is_an_index_if_switched_so),
	        cmocka_unit_test(test_x2_destination_255_is_an_index),
	        cmocka_unit_test(test_flat_logical_destination),
	        cmocka_unit_test(test_flat_logical_entry_names_a_physical_one),
	        cmocka_unit_test(test_cluster_logical_destination),
	        cmocka_unit_test(test_cluster_14_is_the_last),
	        cmocka_unit_test(test_cluster_15_is_left_to_the_hypervisor),
	        cmocka_unit_test(test_flat_logical_destination_ff_is_broadcast),
	        cmocka_unit_test(test_cluster_logical_destination_ff_is_broadcast),
	        cmocka_unit_test(test_logical_destination_ff_is_looked_up_if_switched_so),
	        cmocka_unit_test(test_xavic_entry_255_is_reserved),
	        cmocka_unit_test(test_logical_destination_without_members_is_nobody),
	        cmocka_unit_test(test_x2_logical_destination_is_cluster_and_bits),
	        cmocka_unit_test(test_ipi_of_an_edge_clears_tmr),
	        cmocka_unit_test(test_ipi_leaves_tmr_if_switched_so),
	        cmocka_unit_test(test_ipi_rings_though_the_bit_was_set),
	        cmocka_unit_test(test_icr_keeps_what_was_written),
	        cmocka_unit_test(test_delivery_modes_but_fixed_are_an_invalid_type),
	        cmocka_unit_test(test_level_trigger_is_an_invalid_type),
	        cmocka_unit_test(test_shorthand_with_nmi_is_an_invalid_type),
	        cmocka_unit_test(test_vector_below_16_is_invalid),
	        cmocka_unit_test(test_vector_below_16_is_an_invalid_type_if_switched_so),
	        cmocka_unit_test(test_self_shorthand_with_vector_below_16_is_invalid),
	        cmocka_unit_test(test_x2_self_ipi_register),
	        cmocka_unit_test(test_target_that_does_not_run_has_its_interrupt_and_exits),
	        cmocka_unit_test(
	                test_those_that_run_are_rung_before_the_exit_for_those_that_do_not),
	        cmocka_unit_test(test_sender_marked_as_not_running_exits),
	        cmocka_unit_test(test_index_beyond_the_table_is_an_invalid_target),
	        cmocka_unit_test(test_entry_that_is_not_valid_is_an_invalid_target),
	        cmocka_unit_test(test_flat_logical_entry_that_is_not_valid_is_an_invalid_target),
	        cmocka_unit_test(test_cluster_logical_entry_that_is_not_valid_is_an_invalid_target),
	        cmocka_unit_test(test_an_invalid_target_exits_before_any_has_its_interrupt),
	        cmocka_unit_test(test_those_before_an_invalid_target_have_theirs_if_switched_so),
	        cmocka_unit_test(test_logical_entry_beyond_the_physical_table_is_an_invalid_target),
	        cmocka_unit_test(
	                test_logical_entry_to_an_invalid_physical_one_is_an_invalid_target),
	        cmocka_unit_test(test_x2_logical_member_beyond_the_table_is_an_invalid_target),
	        cmocka_unit_test(test_x2_logical_cluster_does_not_wrap),
	        cmocka_unit_test(test_index_of_a_logical_target_is_the_logical_tables),
	        cmocka_unit_test(
	                test_index_of_a_logical_target_is_the_physical_tables_if_switched_so),
	        cmocka_unit_test(test_x2_index_of_a_logical_target_is_the_physical_tables),
	        cmocka_unit_test(test_index_has_12_bits_where_the_table_is_of_several_pages),
	        cmocka_unit_test(test_index_has_8_bits_in_xavic_and_9_in_x2avic),
	        cmocka_unit_test(test_page_that_is_no_memory_is_invalid),
	        cmocka_unit_test(test_broadcast_exits_for_a_page_that_is_no_memory),
	        cmocka_unit_test(test_xavic_busy_after_an_incomplete_ipi),
	        cmocka_unit_test(test_xavic_busy_is_in_exitinfo1_too),
	        cmocka_unit_test(test_xavic_busy_is_not_for_the_guest_to_set),
	        cmocka_unit_test(test_x2_busy_is_reserved),
	        cmocka_unit_test(test_x2_busy_is_ignored_if_switched_so),
	};

	return cmocka_run_group_tests_name("avic_ipi", tests, NULL, NULL);
}
