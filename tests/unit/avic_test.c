/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * AVIC's core: consistency checks of VMRUN, priorities, when the page is looked at, delivery, EOI. APM
 * volume 2, "Advanced Virtual Interrupt Controller".
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "postern/port.h"
#include "tests/unit/avic_fake.h"

/* --- VMRUN --- */

static const char *vmrun(u32 max_index)
{
	return avic_check(&fake.control, &fake.avic.memory, max_index);
}

static void test_vmrun_takes_avic(void **state __unused)
{
	avic_fake_create(false);
	assert_null(vmrun(0));
	assert_null(vmrun(AVIC_X2APIC_MAX));
}

static void test_vmrun_takes_x2avic(void **state __unused)
{
	avic_fake_create(true);
	assert_null(vmrun(AVIC_X2APIC_MAX));
}

static void test_vmrun_refuses_x2avic_without_avic(void **state __unused)
{
	avic_fake_create(true);
	fake.control.int_ctl = SVM_X2AVIC_ENABLE;
	assert_non_null(vmrun(AVIC_X2APIC_MAX));
}

static void test_vmrun_refuses_x2avic_on_a_processor_without(void **state __unused)
{
	avic_fake_create(true);
	assert_non_null(vmrun(0));
}

static void test_vmrun_refuses_avic_without_nested_paging(void **state __unused)
{
	avic_fake_create(false);
	fake.control.np_control = 0;
	assert_non_null(vmrun(0));
}

static void set_max_index(u32 index)
{
	fake.control.avic_physical_table = ptr_to_hpa(fake.ids).v | index;
}

static void test_vmrun_refuses_an_index_above_255_in_xavic(void **state __unused)
{
	avic_fake_create(false);
	set_max_index(255);
	assert_null(vmrun(AVIC_X2APIC_EXT_MAX));
	set_max_index(256);
	assert_non_null(vmrun(AVIC_X2APIC_EXT_MAX));
}

static void test_vmrun_refuses_an_index_above_511_in_x2avic(void **state __unused)
{
	avic_fake_create(true);
	set_max_index(511);
	assert_null(vmrun(AVIC_X2APIC_MAX));
	set_max_index(512);
	assert_non_null(vmrun(AVIC_X2APIC_MAX));
}

static void test_vmrun_takes_an_index_above_511_with_the_extension(void **state __unused)
{
	avic_fake_create(true);
	set_max_index(512);
	assert_null(vmrun(AVIC_X2APIC_EXT_MAX));
}

static void test_vmrun_refuses_a_physical_table_that_ends_outside_of_memory(void **state __unused)
{
	avic_fake_create(true);
	/* Eight pages from here are more than there is. */
	set_max_index(4095);
	assert_non_null(vmrun(AVIC_X2APIC_EXT_MAX));
}

static void test_vmrun_refuses_a_backing_page_outside_of_memory(void **state __unused)
{
	avic_fake_create(false);
	fake.control.avic_backing_page = avic_fake_nowhere();
	assert_non_null(vmrun(0));
	fake.control.avic_backing_page = 0;
	assert_non_null(vmrun(0));
	fake.control.avic_backing_page = AVIC_POINTER;
	assert_non_null(vmrun(0));
}

static void test_vmrun_refuses_a_physical_table_outside_of_memory(void **state __unused)
{
	avic_fake_create(false);
	fake.control.avic_physical_table = avic_fake_nowhere() | 3;
	assert_non_null(vmrun(0));
}

static void test_vmrun_refuses_a_logical_table_outside_of_memory(void **state __unused)
{
	avic_fake_create(false);
	fake.control.avic_logical_table = avic_fake_nowhere();
	assert_non_null(vmrun(0));
}

static void test_vmrun_of_x2avic_needs_no_logical_table(void **state __unused)
{
	avic_fake_create(true);
	fake.control.avic_logical_table = avic_fake_nowhere();
	assert_null(vmrun(AVIC_X2APIC_MAX));
	avic_fake_enter();
}

static void test_vmrun_without_avic_touches_no_page(void **state __unused)
{
	avic_fake_create(false);
	fake.control.int_ctl = 5;
	fake.control.avic_backing_page = avic_fake_nowhere();
	assert_int_equal(avic_enter(&fake.avic, &fake.control), 5);
	assert_false(fake.avic.enabled);
	assert_int_equal(fake.avic.pending, -1);
}

static void test_vmrun_ignores_the_low_bits_of_pointers(void **state __unused)
{
	avic_fake_create(false);
	fake.control.avic_backing_page |= 0xfff;
	fake.control.avic_logical_table |= 0xfff;
	fake.control.avic_apic_bar |= 0xfff;
	assert_null(vmrun(0));
	avic_fake_enter();
	assert_ptr_equal(fake.avic.page, fake.page[0]);
	assert_int_equal(fake.avic.bar, FAKE_BAR);
}

/* --- priorities --- */

static void test_vmrun_evaluates_the_page(void **state __unused)
{
	avic_fake_create(false);
	avic_fake_put(0, APIC_IRR, 0x31);
	avic_fake_put(0, APIC_IRR, 0x61);
	avic_fake_enter();
	assert_int_equal(fake.avic.pending, 0x61);
}

static void test_vmrun_computes_ppr(void **state __unused)
{
	static const struct {
		u8 tpr, isr, ppr;
	} cases[] = {{0, 0, 0}, {0x35, 0x31, 0x35}, {0x25, 0x31, 0x30}, {0x42, 0x31, 0x42}};

	for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
		avic_fake_create(false);
		avic_fake_set(0, APIC_TPR, cases[i].tpr);
		if (cases[i].isr)
			avic_fake_put(0, APIC_ISR, cases[i].isr);
		avic_fake_enter();
		assert_int_equal(avic_fake_get(0, APIC_PPR), cases[i].ppr);
	}
}

static void test_vmrun_brings_v_tpr_in_step_with_the_page(void **state __unused)
{
	avic_fake_create(false);
	avic_fake_set(0, APIC_TPR, 0x70);
	fake.control.int_ctl |= 3;
	assert_int_equal(avic_enter(&fake.avic, &fake.control), 7);
	assert_int_equal(avic_fake_get(0, APIC_TPR), 0x70);
}

static void test_vmrun_takes_v_tpr_if_switched_so(void **state __unused)
{
	avic_fake_create(false);
	fake.avic.switches |= AVIC_TAKES_V_TPR;
	avic_fake_set(0, APIC_TPR, 0x7a);
	fake.control.int_ctl |= 3;
	assert_int_equal(avic_enter(&fake.avic, &fake.control), 3);
	assert_int_equal(avic_fake_get(0, APIC_TPR), 0x30);
	/* The same class: the subclass stays. */
	avic_fake_set(0, APIC_TPR, 0x3a);
	avic_fake_enter();
	assert_int_equal(avic_fake_get(0, APIC_TPR), 0x3a);
}

static void test_a_class_must_be_above_ppr(void **state __unused)
{
	avic_fake_create(false);
	avic_fake_set(0, APIC_TPR, 0x20);
	avic_fake_put(0, APIC_IRR, 0x2f);
	avic_fake_enter();
	assert_int_equal(fake.avic.pending, -1);
	avic_fake_put(0, APIC_IRR, 0x30);
	avic_evaluate(&fake.avic);
	assert_int_equal(fake.avic.pending, 0x30);
}

static void test_a_request_without_doorbell_waits(void **state __unused)
{
	avic_fake_create(false);
	avic_fake_put(0, APIC_IRR, 0x51);
	assert_int_equal(fake.avic.pending, -1);
	avic_evaluate(&fake.avic); /* what a doorbell does */
	assert_int_equal(fake.avic.pending, 0x51);
}

static void test_tpr_write_sets_tpr_ppr_and_evaluates(void **state __unused)
{
	avic_fake_create(false);
	avic_page_write(&fake.avic, APIC_TPR, 4, 0x62);
	avic_fake_put(0, APIC_IRR, 0x51);
	avic_evaluate(&fake.avic);
	assert_int_equal(fake.avic.pending, -1);
	assert_int_equal(avic_fake_get(0, APIC_PPR), 0x62);
	assert_int_equal(avic_read_cr8(&fake.avic), 6);
	avic_page_write(&fake.avic, APIC_TPR, 4, 0x4f);
	assert_int_equal(fake.avic.pending, 0x51);
}

static void test_cr8_write_is_a_tpr_write(void **state __unused)
{
	avic_fake_create(false);
	avic_fake_put(0, APIC_IRR, 0x51);
	avic_write_cr8(&fake.avic, 5);
	assert_int_equal(avic_fake_get(0, APIC_TPR), 0x50);
	assert_int_equal(avic_fake_get(0, APIC_PPR), 0x50);
	assert_int_equal(fake.avic.pending, -1);
	avic_write_cr8(&fake.avic, 4);
	assert_int_equal(fake.avic.pending, 0x51);
}

/* --- delivery --- */

static void test_delivery_moves_irr_to_isr(void **state __unused)
{
	avic_fake_create(false);
	avic_fake_put(0, APIC_IRR, 0x51);
	avic_fake_put(0, APIC_IRR, 0x55);
	avic_fake_put(0, APIC_IRR, 0x31);
	avic_fake_enter();
	assert_int_equal(avic_take(&fake.avic), 0x55);
	assert_false(avic_fake_has(0, APIC_IRR, 0x55));
	assert_true(avic_fake_has(0, APIC_ISR, 0x55));
	assert_int_equal(avic_fake_get(0, APIC_PPR), 0x50);
	/* The rest is not above its class. */
	assert_int_equal(fake.avic.pending, -1);
	assert_true(avic_fake_has(0, APIC_IRR, 0x51));
}

static void test_delivery_takes_the_highest_of_the_moment(void **state __unused)
{
	avic_fake_create(false);
	avic_fake_put(0, APIC_IRR, 0x51);
	avic_fake_enter();
	avic_fake_put(0, APIC_IRR, 0x81); /* no doorbell yet */
	assert_int_equal(avic_take(&fake.avic), 0x81);
}

static void test_delivery_of_what_has_gone_is_none(void **state __unused)
{
	avic_fake_create(false);
	avic_fake_put(0, APIC_IRR, 0x51);
	avic_fake_enter();
	avic_fake_set(0, APIC_IRR + 0x51 / 32 * 16, 0);
	assert_int_equal(avic_take(&fake.avic), -1);
	assert_false(avic_fake_has(0, APIC_ISR, 0x51));
}

static void test_delivery_nests(void **state __unused)
{
	avic_fake_create(false);
	avic_fake_put(0, APIC_IRR, 0x41);
	avic_fake_enter();
	assert_int_equal(avic_take(&fake.avic), 0x41);
	avic_fake_put(0, APIC_IRR, 0x61);
	avic_evaluate(&fake.avic);
	assert_int_equal(avic_take(&fake.avic), 0x61);
	assert_int_equal(avic_fake_get(0, APIC_PPR), 0x60);
	avic_page_write(&fake.avic, APIC_EOI, 4, 0);
	assert_false(avic_fake_has(0, APIC_ISR, 0x61));
	assert_int_equal(avic_fake_get(0, APIC_PPR), 0x40);
}

/* --- end of interrupt --- */

static void serve(u8 vector, bool level)
{
	avic_fake_create(false);
	avic_fake_put(0, APIC_ISR, vector);
	if (level)
		avic_fake_put(0, APIC_TMR, vector);
	avic_fake_put(0, APIC_IRR, 0x22);
	avic_fake_enter();
	assert_int_equal(fake.avic.pending, -1);
}

static void test_eoi_of_an_edge_clears_isr_and_evaluates(void **state __unused)
{
	serve(0x51, false);
	assert_int_equal(avic_page_write(&fake.avic, APIC_EOI, 4, 7).action, AVIC_DONE);
	assert_false(avic_fake_has(0, APIC_ISR, 0x51));
	assert_int_equal(avic_fake_get(0, APIC_PPR), 0);
	assert_int_equal(fake.avic.pending, 0x22);
}

static void expect_eoi_exit(struct avic_result result, u8 vector)
{
	assert_int_equal(result.action, AVIC_AFTER);
	assert_int_equal(result.exit_code, SVM_EXIT_AVIC_NOACCEL);
	assert_int_equal(result.info_1, BIT64(32) | APIC_EOI);
	assert_int_equal(result.info_2, vector);
}

static void test_eoi_of_a_level_exits_with_its_vector(void **state __unused)
{
	serve(0x51, true);
	expect_eoi_exit(avic_page_write(&fake.avic, APIC_EOI, 4, 0), 0x51);
	assert_true(avic_fake_has(0, APIC_ISR, 0x51));
	assert_int_equal(fake.avic.pending, -1);
}

static void test_eoi_of_a_level_clears_isr_if_switched_so(void **state __unused)
{
	serve(0x51, true);
	fake.avic.switches |= AVIC_LEVEL_EOI_CLEARS;
	expect_eoi_exit(avic_page_write(&fake.avic, APIC_EOI, 4, 0), 0x51);
	assert_false(avic_fake_has(0, APIC_ISR, 0x51));
	assert_int_equal(fake.avic.pending, 0x22);
}

static void test_eoi_of_a_level_by_msr_exits_too(void **state __unused)
{
	avic_fake_create(true);
	avic_fake_put(0, APIC_ISR, 0x51);
	avic_fake_put(0, APIC_TMR, 0x51);
	avic_fake_enter();
	expect_eoi_exit(avic_msr_write(&fake.avic, 0x80b, 0), 0x51);
}

static void test_eoi_of_nothing_does_nothing(void **state __unused)
{
	avic_fake_create(false);
	avic_fake_put(0, APIC_TMR, 0x51);
	assert_int_equal(avic_page_write(&fake.avic, APIC_EOI, 4, 0).action, AVIC_DONE);
}

static void test_eoi_ends_the_highest_in_service(void **state __unused)
{
	avic_fake_create(false);
	avic_fake_put(0, APIC_ISR, 0x41);
	avic_fake_put(0, APIC_TMR, 0x41);
	avic_fake_put(0, APIC_ISR, 0x91);
	avic_fake_enter();
	assert_int_equal(avic_page_write(&fake.avic, APIC_EOI, 4, 0).action, AVIC_DONE);
	assert_false(avic_fake_has(0, APIC_ISR, 0x91));
	expect_eoi_exit(avic_page_write(&fake.avic, APIC_EOI, 4, 0), 0x41);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_vmrun_takes_avic),
	        cmocka_unit_test(test_vmrun_takes_x2avic),
	        cmocka_unit_test(test_vmrun_refuses_x2avic_without_avic),
	        cmocka_unit_test(test_vmrun_refuses_x2avic_on_a_processor_without),
	        cmocka_unit_test(test_vmrun_refuses_avic_without_nested_paging),
	        cmocka_unit_test(test_vmrun_refuses_an_index_above_255_in_xavic),
	        cmocka_unit_test(test_vmrun_refuses_an_index_above_511_in_x2avic),
	        cmocka_unit_test(test_vmrun_takes_an_index_above_511_with_the_extension),
	        cmocka_unit_test(test_vmrun_refuses_a_physical_table_that_ends_outside_of_memory),
	        cmocka_unit_test(test_vmrun_refuses_a_backing_page_outside_of_memory),
	        cmocka_unit_test(test_vmrun_refuses_a_physical_table_outside_of_memory),
	        cmocka_unit_test(test_vmrun_refuses_a_logical_table_outside_of_memory),
	        cmocka_unit_test(test_vmrun_of_x2avic_needs_no_logical_table),
	        cmocka_unit_test(test_vmrun_without_avic_touches_no_page),
	        cmocka_unit_test(test_vmrun_ignores_the_low_bits_of_pointers),
	        cmocka_unit_test(test_vmrun_evaluates_the_page),
	        cmocka_unit_test(test_vmrun_computes_ppr),
	        cmocka_unit_test(test_vmrun_brings_v_tpr_in_step_with_the_page),
	        cmocka_unit_test(test_vmrun_takes_v_tpr_if_switched_so),
	        cmocka_unit_test(test_a_class_must_be_above_ppr),
	        cmocka_unit_test(test_a_request_without_doorbell_waits),
	        cmocka_unit_test(test_tpr_write_sets_tpr_ppr_and_evaluates),
	        cmocka_unit_test(test_cr8_write_is_a_tpr_write),
	        cmocka_unit_test(test_delivery_moves_irr_to_isr),
	        cmocka_unit_test(test_delivery_takes_the_highest_of_the_moment),
	        cmocka_unit_test(test_delivery_of_what_has_gone_is_none),
	        cmocka_unit_test(test_delivery_nests),
	        cmocka_unit_test(test_eoi_of_an_edge_clears_isr_and_evaluates),
	        cmocka_unit_test(test_eoi_of_a_level_exits_with_its_vector),
	        cmocka_unit_test(test_eoi_of_a_level_clears_isr_if_switched_so),
	        cmocka_unit_test(test_eoi_of_a_level_by_msr_exits_too),
	        cmocka_unit_test(test_eoi_of_nothing_does_nothing),
	        cmocka_unit_test(test_eoi_ends_the_highest_in_service),
	};

	return cmocka_run_group_tests_name("avic", tests, NULL, NULL);
}
