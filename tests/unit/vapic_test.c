/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * APIC virtualization's core: priorities, recognition, delivery, end of interrupt, CR8, guest
 * interrupt status, posted interrupts. SDM volume 3, "APIC Virtualization and Virtual Interrupts".
 * Those tests whose name has "worked" go through an example by its figures.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/vapic_fake.h"

#define VID (FAKE_SHADOW | FAKE_VID)

static void expect_done(struct vapic_result result)
{
	assert_int_equal(result.action, VAPIC_DONE);
	assert_int_equal(result.reason, 0);
	assert_int_equal(result.qualification, 0);
}

static void expect_after(struct vapic_result result, u32 reason, u64 qualification)
{
	assert_int_equal(result.action, VAPIC_AFTER);
	assert_int_equal(result.reason, reason);
	assert_int_equal(result.qualification, qualification);
}

static void expect_status(u8 rvi, u8 svi)
{
	assert_int_equal(fake.vapic.rvi, rvi);
	assert_int_equal(fake.vapic.svi, svi);
}

static struct vapic_result write_page(u32 offset, u32 value)
{
	struct vapic_result result = vapic_page_write(&fake.vapic, VAPIC_DATA, offset, 4, value);

	assert_int_equal(result.action, VAPIC_DONE);
	return vapic_emulate_write(&fake.vapic);
}

/* A request as it is outside of the guest: VIRR and RVI. */
static void request(u8 vector)
{
	vapic_fake_put(APIC_IRR, vector);
	vapic_fake_enter(vector > fake.vapic.rvi ? vector : fake.vapic.rvi, fake.vapic.svi);
}

/* Taken by the guest: there has to be one. */
static void deliver(u8 expected)
{
	assert_true(vapic_can_deliver(&fake.vapic, true));
	assert_int_equal(vapic_deliver(&fake.vapic), expected);
}

/* --- PPR --- */

static void expect_ppr(u8 tpr, u8 svi, u32 ppr)
{
	vapic_fake_create(VID);
	vapic_fake_set(APIC_TPR, tpr);
	vapic_fake_enter(0, svi);
	assert_int_equal(vapic_fake_get(APIC_PPR), ppr);
}

static void test_worked_ppr_is_tpr_if_its_class_is_that_in_service(void **state __unused)
{
	expect_ppr(0x35, 0x31, 0x35);
}

static void test_worked_ppr_is_the_class_in_service_if_above_tpr(void **state __unused)
{
	expect_ppr(0x25, 0x31, 0x30);
}

static void test_ppr_of_nothing_in_service_is_tpr_with_its_subclass(void **state __unused)
{
	expect_ppr(0x0f, 0, 0x0f);
	expect_ppr(0, 0, 0);
	expect_ppr(0xff, 0xff, 0xff);
	expect_ppr(0xef, 0xff, 0xf0);
}

static void test_ppr_leaves_the_rest_of_tpr_alone(void **state __unused)
{
	vapic_fake_create(VID);
	vapic_fake_set(APIC_TPR, 0x12345678);
	vapic_fake_enter(0, 0);
	assert_int_equal(vapic_fake_get(APIC_PPR), 0x78);
	assert_int_equal(vapic_fake_get(APIC_TPR), 0x12345678);
}

static void test_ppr_goes_by_svi_and_not_by_visr(void **state __unused)
{
	vapic_fake_create(VID);
	vapic_fake_put(APIC_ISR, 0x91);
	vapic_fake_enter(0, 0x41);
	assert_int_equal(vapic_fake_get(APIC_PPR), 0x40);
}

/* --- VM entry and exit --- */

static void test_entry_without_vid_touches_no_page(void **state __unused)
{
	vapic_fake_create(FAKE_SHADOW | FAKE_REGS);
	vapic_fake_set(APIC_TPR, 0x55);
	vapic_fake_put(APIC_IRR, 0x91);
	vapic_fake_remember();
	vapic_fake_enter(0x91, 0x31);
	assert_true(vapic_fake_is_untouched());
	assert_false(fake.vapic.recognized);
}

static void test_entry_goes_by_rvi_and_not_by_virr(void **state __unused)
{
	vapic_fake_create(VID);
	vapic_fake_put(APIC_IRR, 0x91);
	vapic_fake_enter(0, 0);
	assert_false(fake.vapic.recognized);
	/* The highest is found when something else has been delivered. */
	vapic_fake_put(APIC_IRR, 0x31);
	vapic_fake_enter(0x31, 0);
	deliver(0x31);
	expect_status(0x91, 0x31);
}

static void test_entry_forgets_what_the_last_turn_left(void **state __unused)
{
	vapic_fake_create(VID);
	request(0x51);
	assert_int_equal(vapic_page_write(&fake.vapic, VAPIC_DATA, APIC_TPR, 4, 0x10).action,
	                 VAPIC_DONE);
	vapic_fake_set(APIC_TPR, 0);
	vapic_fake_enter(0, 0);
	assert_false(fake.vapic.recognized);
	assert_false(fake.vapic.written);
}

static void test_exit_saves_the_status(void **state __unused)
{
	vapic_fake_create(VID);
	vapic_fake_put(APIC_IRR, 0x51);
	vapic_fake_enter(0x51, 0x41);
	assert_int_equal(vapic_leave(&fake.vapic), 0x4151);
	assert_false(fake.vapic.recognized);
	/* The same again is recognized again. */
	vapic_enter(&fake.vapic, 0x4151);
	assert_true(fake.vapic.recognized);
}

static void test_exit_loses_the_effect_of_a_write(void **state __unused)
{
	vapic_fake_create(VID);
	vapic_fake_put(APIC_ISR, 0x41);
	vapic_fake_enter(0, 0x41);
	vapic_page_write(&fake.vapic, VAPIC_DATA, APIC_EOI, 4, 0);
	assert_int_equal(vapic_leave(&fake.vapic), 0x4100);
	expect_done(vapic_emulate_write(&fake.vapic));
	assert_true(vapic_fake_has(APIC_ISR, 0x41));
}

/* --- recognition and delivery --- */

static void test_worked_the_class_of_ppr_is_not_recognized(void **state __unused)
{
	vapic_fake_create(VID);
	vapic_fake_set(APIC_TPR, 0x20);
	request(0x2f);
	assert_false(fake.vapic.recognized);
}

static void test_worked_a_class_above_ppr_is_delivered(void **state __unused)
{
	vapic_fake_create(VID);
	vapic_fake_set(APIC_TPR, 0x20);
	request(0x30);
	deliver(0x30);
	assert_true(vapic_fake_has(APIC_ISR, 0x30));
	assert_false(vapic_fake_has(APIC_IRR, 0x30));
	assert_int_equal(vapic_fake_get(APIC_PPR), 0x30);
}

/* RVI 51, SVI 41, on from there by `then`. */
static void enter_worked(void)
{
	vapic_fake_create(VID | FAKE_POSTED);
	vapic_fake_put(APIC_IRR, 0x51);
	vapic_fake_put(APIC_ISR, 0x41);
	vapic_fake_enter(0x51, 0x41);
	assert_int_equal(vapic_fake_get(APIC_PPR), 0x40);
	assert_true(fake.vapic.recognized);
	assert_false(vapic_can_deliver(&fake.vapic, false));
	deliver(0x51);
	assert_true(vapic_fake_has(APIC_ISR, 0x51));
	assert_true(vapic_fake_has(APIC_ISR, 0x41));
	assert_int_equal(vapic_fake_get(APIC_PPR), 0x50);
	expect_status(0, 0x51);
}

static void test_worked_entry_and_delivery(void **state __unused)
{
	enter_worked();
	assert_false(fake.vapic.recognized);
	assert_int_equal(fake.vapic.counts[HW_DELIVERED], 1);
}

static void test_worked_a_higher_one_is_posted_and_nests(void **state __unused)
{
	enter_worked();
	vapic_fake_post(0, 0x61);
	assert_true(vapic_process_posted(&fake.vapic, FAKE_NV));
	expect_status(0x61, 0x51);
	deliver(0x61);
	assert_int_equal(vapic_fake_get(APIC_PPR), 0x60);
}

static void test_worked_eoi(void **state __unused)
{
	enter_worked();
	fake.vapic.eoi_exit[0x41 / 64] = ~BIT64(0x51 % 64);
	expect_done(write_page(APIC_EOI, 0));
	assert_false(vapic_fake_has(APIC_ISR, 0x51));
	assert_true(vapic_fake_has(APIC_ISR, 0x41));
	expect_status(0, 0x41);
	assert_int_equal(vapic_fake_get(APIC_PPR), 0x40);
	assert_int_equal(fake.vapic.counts[HW_EOI], 1);
}

static void test_worked_eoi_that_exits(void **state __unused)
{
	enter_worked();
	/* One that the EOI makes deliverable: found by the next entry, not before. */
	vapic_fake_put(APIC_IRR, 0x53);
	fake.vapic.rvi = 0x53;
	fake.vapic.eoi_exit[0x51 / 64] = BIT64(0x51 % 64);
	expect_after(write_page(APIC_EOI, 0), VMX_EXIT_EOI, 0x51);
	assert_false(vapic_fake_has(APIC_ISR, 0x51));
	expect_status(0x53, 0x41);
	assert_int_equal(vapic_fake_get(APIC_PPR), 0x40);
	assert_int_equal(fake.vapic.counts[HW_EOI], 0);
	assert_false(fake.vapic.recognized);
	vapic_enter(&fake.vapic, vapic_leave(&fake.vapic));
	deliver(0x53);
}

static void test_delivery_waits_for_if_and_is_still_recognized(void **state __unused)
{
	vapic_fake_create(VID);
	request(0x51);
	assert_false(vapic_can_deliver(&fake.vapic, false));
	assert_true(fake.vapic.recognized);
	assert_true(vapic_can_deliver(&fake.vapic, true));
}

static void test_interrupt_window_exiting_forbids_recognition(void **state __unused)
{
	vapic_fake_create(VID | FAKE_POSTED);
	fake.vapic.intr_window = true;
	request(0x51);
	assert_false(fake.vapic.recognized);
	vapic_fake_post(0, 0x61);
	assert_true(vapic_process_posted(&fake.vapic, FAKE_NV));
	assert_false(fake.vapic.recognized);
	assert_false(vapic_can_deliver(&fake.vapic, true));
	/* Closed again, it is there. */
	fake.vapic.intr_window = false;
	vapic_enter(&fake.vapic, vapic_leave(&fake.vapic));
	deliver(0x61);
	expect_status(0x51, 0x61);
}

static void test_a_change_of_memory_is_not_looked_at(void **state __unused)
{
	vapic_fake_create(VID);
	vapic_fake_put(APIC_IRR, 0x91);
	vapic_fake_set(APIC_PPR, 0);
	assert_false(vapic_can_deliver(&fake.vapic, true));
	/* Nor does it take back what has been recognized. */
	request(0x51);
	vapic_fake_set(APIC_TPR, 0xf0);
	vapic_fake_set(APIC_PPR, 0xf0);
	deliver(0x51);
}

static void test_ppr_behind_delivery_is_the_class_whatever_tpr_is(void **state __unused)
{
	vapic_fake_create(VID);
	vapic_fake_set(APIC_TPR, 0x4f);
	request(0x5a);
	vapic_fake_set(APIC_TPR, 0x5c); /* would be PPR, were it asked */
	deliver(0x5a);
	assert_int_equal(vapic_fake_get(APIC_PPR), 0x50);
}

static void test_nothing_is_recognized_behind_a_delivery(void **state __unused)
{
	vapic_fake_create(VID);
	vapic_fake_put(APIC_IRR, 0x91); /* without RVI, so the lower one goes first */
	request(0x31);
	deliver(0x31);
	expect_status(0x91, 0x31);
	assert_false(vapic_can_deliver(&fake.vapic, true));
	/* TPR virtualization evaluates, though TPR is what it was. */
	expect_done(vapic_write_cr8(&fake.vapic, 0));
	deliver(0x91);
}

static void test_deliveries_nest_and_end_in_order(void **state __unused)
{
	static const u8 vectors[] = {0x31, 0x52, 0xef};

	vapic_fake_create(VID);
	for (u32 i = 0; i < ARRAY_SIZE(vectors); i++) {
		request(vectors[i]);
		deliver(vectors[i]);
		expect_status(0, vectors[i]);
	}
	for (u32 i = ARRAY_SIZE(vectors); i--;) {
		assert_int_equal(vapic_fake_get(APIC_PPR), vectors[i] & 0xf0);
		expect_done(write_page(APIC_EOI, 0));
		expect_status(0, i ? vectors[i - 1] : 0);
	}
	assert_int_equal(vapic_fake_get(APIC_PPR), 0);
	assert_int_equal(fake.vapic.counts[HW_DELIVERED], 3);
	assert_int_equal(fake.vapic.counts[HW_EOI], 3);
}

static void test_every_vector_has_its_own_bits(void **state __unused)
{
	for (u32 vector = 16; vector < 256; vector++) {
		u32 at = vector / 32 * 16;

		vapic_fake_create(VID);
		request((u8)vector);
		deliver((u8)vector);
		assert_int_equal(vapic_fake_get(APIC_ISR + at), BIT(vector % 32));
		assert_int_equal(vapic_fake_get(APIC_IRR + at), 0);
		expect_done(write_page(APIC_EOI, 0));
		vapic_fake_set(APIC_PPR, 0);
		vapic_fake_remember();
		vapic_fake_create(VID);
		assert_true(vapic_fake_is_untouched());
	}
}

static void test_vectors_of_one_class_come_one_after_the_other(void **state __unused)
{
	vapic_fake_create(VID);
	request(0x53);
	request(0x5e);
	deliver(0x5e);
	expect_status(0x53, 0x5e);
	expect_done(vapic_write_cr8(&fake.vapic, 0));
	assert_false(fake.vapic.recognized);
	expect_done(write_page(APIC_EOI, 0));
	deliver(0x53);
}

/* --- EOI --- */

static void test_eoi_of_an_empty_visr_ends_vector_0(void **state __unused)
{
	vapic_fake_create(VID);
	vapic_fake_put(APIC_ISR, 0);
	expect_done(write_page(APIC_EOI, 0));
	assert_false(vapic_fake_has(APIC_ISR, 0));
	fake.vapic.eoi_exit[0] = BIT64(0);
	expect_after(write_page(APIC_EOI, 0), VMX_EXIT_EOI, 0);
}

static void test_eoi_of_an_empty_visr_is_ignored_if_switched_so(void **state __unused)
{
	vapic_fake_create(VID);
	fake.vapic.switches |= VAPIC_EMPTY_EOI_IGNORED;
	fake.vapic.eoi_exit[0] = BIT64(0);
	vapic_fake_put(APIC_ISR, 0);
	expect_done(write_page(APIC_EOI, 0));
	assert_true(vapic_fake_has(APIC_ISR, 0));
	assert_int_equal(fake.vapic.counts[HW_EOI], 0);
}

static void test_eoi_ends_svi_and_then_goes_by_visr(void **state __unused)
{
	vapic_fake_create(VID);
	vapic_fake_put(APIC_ISR, 0x91);
	vapic_fake_put(APIC_ISR, 0x41);
	vapic_fake_enter(0, 0x41);
	expect_done(write_page(APIC_EOI, 0));
	assert_true(vapic_fake_has(APIC_ISR, 0x91));
	assert_false(vapic_fake_has(APIC_ISR, 0x41));
	expect_status(0, 0x91);
	assert_int_equal(vapic_fake_get(APIC_PPR), 0x90);
}

static void test_eoi_evaluates(void **state __unused)
{
	vapic_fake_create(VID);
	request(0x53);
	deliver(0x53);
	vapic_fake_put(APIC_IRR, 0x51);
	fake.vapic.rvi = 0x51;
	assert_false(fake.vapic.recognized);
	expect_done(write_page(APIC_EOI, 0));
	deliver(0x51);
}

static void test_every_bit_of_the_eoi_exit_bitmap(void **state __unused)
{
	for (u32 vector = 0; vector < 256; vector++) {
		vapic_fake_create(VID);
		for (u32 i = 0; i < 4; i++)
			fake.vapic.eoi_exit[i] = ~0ull;
		fake.vapic.eoi_exit[vector / 64] &= ~BIT64(vector % 64);
		vapic_fake_enter(0, (u8)vector);
		expect_done(write_page(APIC_EOI, 0));
		for (u32 i = 0; i < 4; i++)
			fake.vapic.eoi_exit[i] = ~fake.vapic.eoi_exit[i];
		vapic_fake_enter(0, (u8)vector);
		expect_after(write_page(APIC_EOI, 0), VMX_EXIT_EOI, vector);
	}
}

/* --- TPR --- */

static void test_worked_tpr_below_threshold_exits(void **state __unused)
{
	vapic_fake_create(FAKE_SHADOW);
	fake.vapic.threshold = 5;
	expect_after(write_page(APIC_TPR, 0x40), VMX_EXIT_TPR_BELOW_THRESHOLD, 0);
	assert_int_equal(vapic_fake_get(APIC_TPR), 0x40);
	assert_int_equal(fake.vapic.counts[HW_TPR], 0);
	expect_done(write_page(APIC_TPR, 0x50));
	assert_int_equal(fake.vapic.counts[HW_TPR], 1);
}

static void test_tpr_threshold_is_a_class(void **state __unused)
{
	for (u32 threshold = 0; threshold < 16; threshold++)
		for (u32 tpr = 0; tpr < 256; tpr++) {
			vapic_fake_create(FAKE_SHADOW);
			fake.vapic.threshold = (u8)(threshold | (tpr & 1) << 6);
			if (tpr >> 4 < threshold)
				expect_after(write_page(APIC_TPR, tpr),
				             VMX_EXIT_TPR_BELOW_THRESHOLD, 0);
			else
				expect_done(write_page(APIC_TPR, tpr));
			assert_int_equal(vapic_is_below_threshold(&fake.vapic),
			                 tpr >> 4 < threshold);
		}
}

static void test_tpr_without_vid_changes_no_ppr(void **state __unused)
{
	vapic_fake_create(FAKE_SHADOW | FAKE_REGS);
	vapic_fake_set(APIC_PPR, 0x77);
	expect_done(write_page(APIC_TPR, 0x50));
	assert_int_equal(vapic_fake_get(APIC_PPR), 0x77);
	assert_false(fake.vapic.recognized);
}

static void test_tpr_with_vid_has_no_threshold(void **state __unused)
{
	vapic_fake_create(VID);
	fake.vapic.threshold = 0xf;
	assert_false(vapic_is_below_threshold(&fake.vapic));
	expect_done(write_page(APIC_TPR, 0));
}

static void test_threshold_without_tpr_shadow_is_none(void **state __unused)
{
	vapic_fake_create(0);
	fake.vapic.threshold = 0xf;
	assert_false(vapic_is_below_threshold(&fake.vapic));
}

static void test_tpr_with_vid_evaluates_both_ways(void **state __unused)
{
	vapic_fake_create(VID);
	request(0x51);
	assert_true(fake.vapic.recognized);
	expect_done(write_page(APIC_TPR, 0x5f));
	assert_int_equal(vapic_fake_get(APIC_PPR), 0x5f);
	assert_false(fake.vapic.recognized);
	expect_done(write_page(APIC_TPR, 0x4f));
	assert_true(fake.vapic.recognized);
}

/* --- CR8 --- */

static void test_cr8_is_the_class_of_tpr(void **state __unused)
{
	u64 value = 0;

	for (u32 class = 0; class < 16; class ++) {
		vapic_fake_create(FAKE_SHADOW);
		vapic_fake_set(APIC_TPR, 0xffffffff);
		expect_done(vapic_write_cr8(&fake.vapic, class));
		assert_int_equal(vapic_fake_get(APIC_TPR), class << 4);
		vapic_fake_set(APIC_TPR, 0xabcdef0f | class << 4);
		expect_done(vapic_read_cr8(&fake.vapic, &value));
		assert_int_equal(value, class);
	}
}

static void test_cr8_has_four_bits(void **state __unused)
{
	for (u32 bit = 4; bit < 64; bit++) {
		vapic_fake_create(FAKE_SHADOW);
		vapic_fake_remember();
		assert_int_equal(vapic_write_cr8(&fake.vapic, BIT64(bit) | 3).action, VAPIC_GP);
		assert_true(vapic_fake_is_untouched());
	}
}

static void test_cr8_virtualizes_tpr(void **state __unused)
{
	vapic_fake_create(FAKE_SHADOW);
	fake.vapic.threshold = 3;
	expect_after(vapic_write_cr8(&fake.vapic, 2), VMX_EXIT_TPR_BELOW_THRESHOLD, 0);
	expect_done(vapic_write_cr8(&fake.vapic, 3));
	vapic_fake_create(VID);
	request(0x51);
	expect_done(vapic_write_cr8(&fake.vapic, 5));
	assert_false(fake.vapic.recognized);
	assert_int_equal(vapic_fake_get(APIC_PPR), 0x50);
}

static void test_cr8_without_tpr_shadow_is_the_physical_one(void **state __unused)
{
	u64 value = 7;

	vapic_fake_create(0);
	vapic_fake_remember();
	assert_int_equal(vapic_write_cr8(&fake.vapic, 5).action, VAPIC_ORDINARY);
	assert_int_equal(vapic_write_cr8(&fake.vapic, 16).action, VAPIC_GP);
	assert_int_equal(vapic_read_cr8(&fake.vapic, &value).action, VAPIC_ORDINARY);
	assert_int_equal(value, 7);
	assert_true(vapic_fake_is_untouched());
}

/* --- posted interrupts --- */

static void test_another_vector_is_no_notification(void **state __unused)
{
	vapic_fake_create(VID | FAKE_POSTED);
	vapic_fake_post(0, 0x61);
	fake.desc[0].control.v |= PI_ON;
	vapic_fake_remember();
	for (u32 vector = 0; vector < 256; vector++)
		if (vector != FAKE_NV)
			assert_false(vapic_process_posted(&fake.vapic, (u8)vector));
	assert_true(vapic_fake_is_untouched());
	assert_int_equal(fake.eois, 0);
}

static void test_without_the_control_there_is_no_notification(void **state __unused)
{
	vapic_fake_create(VID);
	vapic_fake_post(0, 0x61);
	vapic_fake_remember();
	assert_false(vapic_process_posted(&fake.vapic, FAKE_NV));
	assert_true(vapic_fake_is_untouched());
}

static void test_a_notification_clears_on_and_nothing_else(void **state __unused)
{
	vapic_fake_create(VID | FAKE_POSTED);
	fake.desc[0].control.v = ~0ull;
	memset(fake.desc[0].reserved, 0xa5, sizeof(fake.desc[0].reserved));
	vapic_fake_remember();
	assert_true(vapic_process_posted(&fake.vapic, FAKE_NV));
	assert_int_equal(fake.desc[0].control.v, ~PI_ON);
	fake.desc[0].control.v |= PI_ON;
	assert_true(vapic_fake_is_untouched());
	assert_int_equal(fake.notices, 0);
}

static void test_a_notification_with_sn_is_processed(void **state __unused)
{
	vapic_fake_create(VID | FAKE_POSTED);
	fake.desc[0].control.v |= PI_SN;
	vapic_fake_post(0, 0x61);
	assert_true(vapic_process_posted(&fake.vapic, FAKE_NV));
	deliver(0x61);
}

static void test_a_notification_is_dismissed_between_on_and_pir(void **state __unused)
{
	vapic_fake_create(VID | FAKE_POSTED);
	vapic_fake_post(0, 0x61);
	fake.desc[0].control.v |= PI_ON;
	assert_true(vapic_process_posted(&fake.vapic, FAKE_NV));
	assert_int_equal(fake.eois, 1);
	assert_false(fake.eoi_control & PI_ON);
	assert_int_not_equal(fake.eoi_pir, 0);
}

static void test_all_of_pir_is_collected(void **state __unused)
{
	for (u32 vector = 0; vector < 256; vector++) {
		vapic_fake_create(VID | FAKE_POSTED);
		vapic_fake_post(0, (u8)vector);
		assert_true(vapic_process_posted(&fake.vapic, FAKE_NV));
		assert_false(vapic_fake_is_posted(0, (u8)vector));
		assert_true(vapic_fake_has(APIC_IRR, (u8)vector));
		expect_status((u8)vector, 0);
		assert_int_equal(fake.vapic.recognized, vector >= 16);
	}
	vapic_fake_create(VID | FAKE_POSTED);
	for (u32 i = 0; i < 4; i++)
		fake.desc[0].pir[i].v = ~0ull;
	assert_true(vapic_process_posted(&fake.vapic, FAKE_NV));
	for (u32 vector = 0; vector < 256; vector++)
		assert_true(vapic_fake_has(APIC_IRR, (u8)vector));
}

static void test_posted_interrupts_join_what_is_requested(void **state __unused)
{
	vapic_fake_create(VID | FAKE_POSTED);
	request(0x71);
	vapic_fake_put(APIC_IRR, 0x61);
	vapic_fake_post(0, 0x61);
	vapic_fake_post(0, 0x62);
	assert_true(vapic_process_posted(&fake.vapic, FAKE_NV));
	expect_status(0x71, 0);
	assert_true(vapic_fake_has(APIC_IRR, 0x71));
	assert_true(vapic_fake_has(APIC_IRR, 0x61));
	assert_true(vapic_fake_has(APIC_IRR, 0x62));
	assert_int_equal(fake.vapic.counts[HW_COALESCED], 1);
}

static void test_an_empty_pir_leaves_rvi_and_evaluates(void **state __unused)
{
	vapic_fake_create(VID | FAKE_POSTED);
	vapic_fake_put(APIC_IRR, 0x91); /* not RVI's */
	fake.vapic.rvi = 0x31;
	assert_false(fake.vapic.recognized);
	assert_true(vapic_process_posted(&fake.vapic, FAKE_NV));
	expect_status(0x31, 0);
	assert_true(fake.vapic.recognized);
}

static void test_rvi_goes_by_virr_if_switched_so(void **state __unused)
{
	vapic_fake_create(VID | FAKE_POSTED);
	fake.vapic.switches |= VAPIC_POSTED_BY_VIRR;
	vapic_fake_put(APIC_IRR, 0x91);
	vapic_fake_post(0, 0x31);
	assert_true(vapic_process_posted(&fake.vapic, FAKE_NV));
	expect_status(0x91, 0);
}

static void test_posted_interrupts_change_no_ppr(void **state __unused)
{
	vapic_fake_create(VID | FAKE_POSTED);
	vapic_fake_set(APIC_TPR, 0x60);
	vapic_fake_post(0, 0x51);
	assert_true(vapic_process_posted(&fake.vapic, FAKE_NV));
	assert_int_equal(vapic_fake_get(APIC_PPR), 0); /* TPR was not written by the guest */
	assert_true(fake.vapic.recognized);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_worked_ppr_is_tpr_if_its_class_is_that_in_service),
	        cmocka_unit_test(test_worked_ppr_is_the_class_in_service_if_above_tpr),
	        cmocka_unit_test(test_ppr_of_nothing_in_service_is_tpr_with_its_subclass),
	        cmocka_unit_test(test_ppr_leaves_the_rest_of_tpr_alone),
	        cmocka_unit_test(test_ppr_goes_by_svi_and_not_by_visr),
	        cmocka_unit_test(test_entry_without_vid_touches_no_page),
	        cmocka_unit_test(test_entry_goes_by_rvi_and_not_by_virr),
	        cmocka_unit_test(test_entry_forgets_what_the_last_turn_left),
	        cmocka_unit_test(test_exit_saves_the_status),
	        cmocka_unit_test(test_exit_loses_the_effect_of_a_write),
	        cmocka_unit_test(test_worked_the_class_of_ppr_is_not_recognized),
	        cmocka_unit_test(test_worked_a_class_above_ppr_is_delivered),
	        cmocka_unit_test(test_worked_entry_and_delivery),
	        cmocka_unit_test(test_worked_a_higher_one_is_posted_and_nests),
	        cmocka_unit_test(test_worked_eoi),
	        cmocka_unit_test(test_worked_eoi_that_exits),
	        cmocka_unit_test(test_delivery_waits_for_if_and_is_still_recognized),
	        cmocka_unit_test(test_interrupt_window_exiting_forbids_recognition),
	        cmocka_unit_test(test_a_change_of_memory_is_not_looked_at),
	        cmocka_unit_test(test_ppr_behind_delivery_is_the_class_whatever_tpr_is),
	        cmocka_unit_test(test_nothing_is_recognized_behind_a_delivery),
	        cmocka_unit_test(test_deliveries_nest_and_end_in_order),
	        cmocka_unit_test(test_every_vector_has_its_own_bits),
	        cmocka_unit_test(test_vectors_of_one_class_come_one_after_the_other),
	        cmocka_unit_test(test_eoi_of_an_empty_visr_ends_vector_0),
	        cmocka_unit_test(test_eoi_of_an_empty_visr_is_ignored_if_switched_so),
	        cmocka_unit_test(test_eoi_ends_svi_and_then_goes_by_visr),
	        cmocka_unit_test(test_eoi_evaluates),
	        cmocka_unit_test(test_every_bit_of_the_eoi_exit_bitmap),
	        cmocka_unit_test(test_worked_tpr_below_threshold_exits),
	        cmocka_unit_test(test_tpr_threshold_is_a_class),
	        cmocka_unit_test(test_tpr_without_vid_changes_no_ppr),
	        cmocka_unit_test(test_tpr_with_vid_has_no_threshold),
	        cmocka_unit_test(test_threshold_without_tpr_shadow_is_none),
	        cmocka_unit_test(test_tpr_with_vid_evaluates_both_ways),
	        cmocka_unit_test(test_cr8_is_the_class_of_tpr),
	        cmocka_unit_test(test_cr8_has_four_bits),
	        cmocka_unit_test(test_cr8_virtualizes_tpr),
	        cmocka_unit_test(test_cr8_without_tpr_shadow_is_the_physical_one),
	        cmocka_unit_test(test_another_vector_is_no_notification),
	        cmocka_unit_test(test_without_the_control_there_is_no_notification),
	        cmocka_unit_test(test_a_notification_clears_on_and_nothing_else),
	        cmocka_unit_test(test_a_notification_with_sn_is_processed),
	        cmocka_unit_test(test_a_notification_is_dismissed_between_on_and_pir),
	        cmocka_unit_test(test_all_of_pir_is_collected),
	        cmocka_unit_test(test_posted_interrupts_join_what_is_requested),
	        cmocka_unit_test(test_an_empty_pir_leaves_rvi_and_evaluates),
	        cmocka_unit_test(test_rvi_goes_by_virr_if_switched_so),
	        cmocka_unit_test(test_posted_interrupts_change_no_ppr),
	};

	return cmocka_run_group_tests_name("vapic", tests, NULL, NULL);
}
