/* SPDX-License-Identifier: BSD-2-Clause */
/* SynIC: registers, message slots, event flags, AutoEOI and whom it inhibits. */
#include "tests/unit/hv_guest.h"

#include "irq/inhibit.h"

#define HYPERV   INHIBIT_BIT(HYPERV)
#define AUTO_EOI (HV_SINT_AUTO_EOI | SINT_VECTOR)
#define TYPE     0x1234
#define PORT     0x77

static int set_up(void **state)
{
	(void)state;
	hv_fake_create(2);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	hv_fake_destroy();
	return 0;
}

static enum hv_status post(u32 i, u8 sint, u8 first)
{
	u8 payload[HV_MESSAGE_PAYLOAD] = {first};

	return synic_post(cpu(i), sint, TYPE, PORT, payload, sizeof(payload));
}

static void posted(u32 i, u8 sint, u8 first)
{
	assert_int_equal(post(i, sint, first), HV_STATUS_SUCCESS);
}

/* The slot has the message that begins with this byte. */
static void slot_has(u32 i, u32 sint, u8 first, bool pending)
{
	const struct hv_message *slot = hv_slot(i, sint);

	assert_int_equal(slot->type, TYPE);
	assert_int_equal(slot->size_flags, HV_MESSAGE_PAYLOAD | (pending ? HV_MESSAGE_PENDING : 0));
	assert_int_equal(slot->origin, PORT);
	assert_int_equal(slot->payload[0], first);
}

static void empty_slot(u32 i, u32 sint)
{
	hv_slot(i, sint)->type = HV_MESSAGE_NONE;
}

/* ---- registers ---- */

static void test_synic_reset_values(void **state)
{
	(void)state;
	assert_int_equal(hv_rd(0, MSR_HV_SCONTROL), 0);
	assert_int_equal(hv_rd(0, MSR_HV_SVERSION), 1);
	assert_int_equal(hv_rd(0, MSR_HV_SIEFP), 0);
	assert_int_equal(hv_rd(0, MSR_HV_SIMP), 0);
	assert_int_equal(hv_rd(0, MSR_HV_EOM), 0);
	for (u32 i = 0; i < HV_SINTS; i++)
		assert_int_equal(hv_rd(0, MSR_HV_SINT0 + i), 0x10000);
}

static void test_synic_reserved_bits(void **state)
{
	static const u32 kept[] = {MSR_HV_SCONTROL, MSR_HV_SIEFP, MSR_HV_SIMP};

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(kept); i++) {
		hv_wr(0, kept[i], ~1ull);
		assert_int_equal(hv_rd(0, kept[i]), ~1ull);
	}
	hv_wr(0, MSR_HV_SINT0 + SINT, ~0ull);
	assert_int_equal(hv_rd(0, MSR_HV_SINT0 + SINT), ~0ull);
	hv_refused_write(0, MSR_HV_SVERSION, 1);
	hv_refused_write(0, MSR_HV_EOM, 1);
	hv_refused_write(0, MSR_HV_EOM, BIT64(63));
	hv_wr(0, MSR_HV_EOM, 0);
}

static void test_synic_illegal_vectors(void **state)
{
	(void)state;
	for (u32 vector = 0; vector < 16; vector++) {
		hv_refused_write(0, MSR_HV_SINT0, vector);
		hv_refused_write(0, MSR_HV_SINT15, vector | HV_SINT_AUTO_EOI);
		hv_refused_write(0, MSR_HV_SINT15, vector | HV_SINT_POLLING);
		hv_wr(0, MSR_HV_SINT0, vector | HV_SINT_MASKED);
	}
	assert_int_equal(hv_rd(0, MSR_HV_SINT15), HV_SINT_RESET);
	hv_wr(0, MSR_HV_SINT15, 16);
	hv_wr(0, MSR_HV_SINT15, 255);
}

static void test_synic_registers_are_each_vcpus_own(void **state)
{
	(void)state;
	hv_wr(0, MSR_HV_SINT0 + SINT, SINT_VECTOR);
	hv_wr(0, MSR_HV_SCONTROL, 1);
	assert_int_equal(hv_rd(1, MSR_HV_SINT0 + SINT), HV_SINT_RESET);
	assert_int_equal(hv_rd(1, MSR_HV_SCONTROL), 0);
}

/* ---- pages ---- */

static void test_synic_page_is_zeroed_where_it_is_put(void **state)
{
	(void)state;
	memset(hv_ram(MESSAGES(0)), 0xff, PAGE_SIZE);
	hv_synic_on(0);
	assert_int_equal(hv_slot(0, 15)->type, 0);
	posted(0, SINT, 1);
	/* Written again as it is, it stays. */
	hv_wr(0, MSR_HV_SIMP, MESSAGES(0) | HV_PAGE_ENABLE);
	slot_has(0, SINT, 1, false);
}

static void test_synic_page_outside_memory(void **state)
{
	static const u64 pages[] = {NO_RAM, HV_RAM + HV_RAM_SIZE, HV_RAM - PAGE_SIZE,
	                            ~0ull & PAGE_MASK, 0};

	(void)state;
	hv_synic_on(0);
	hv_wr(0, MSR_HV_SINT0 + SINT, SINT_VECTOR);
	for (u32 i = 0; i < ARRAY_SIZE(pages); i++) {
		hv_wr(0, MSR_HV_SIMP, pages[i] | HV_PAGE_ENABLE);
		hv_wr(0, MSR_HV_SIEFP, pages[i] | HV_PAGE_ENABLE);
		assert_int_equal(hv_rd(0, MSR_HV_SIMP), pages[i] | HV_PAGE_ENABLE);
		hv_wr(0, MSR_HV_EOM, 0);
		assert_int_equal(synic_signal(cpu(0), SINT, 0), HV_STATUS_INVALID_SYNIC_STATE);
	}
	/* The page is enabled and nobody has it: what is posted waits. */
	posted(0, SINT, 1);
	assert_int_equal(hv_take(0), -1);
	hv_wr(0, MSR_HV_SIMP, MESSAGES(0) | HV_PAGE_ENABLE);
	hv_wr(0, MSR_HV_EOM, 0);
	slot_has(0, SINT, 1, false);
	assert_int_equal(hv_take(0), SINT_VECTOR);
}

/* ---- messages ---- */

static void test_synic_message_interrupts(void **state)
{
	(void)state;
	hv_synic_on(0);
	hv_wr(0, MSR_HV_SINT0 + SINT, SINT_VECTOR);
	posted(0, SINT, 5);
	slot_has(0, SINT, 5, false);
	assert_int_equal(hv_slot(0, SINT - 1)->type, 0);
	assert_int_equal(hv_slot(0, SINT + 1)->type, 0);
	assert_int_equal(hv_take(0), SINT_VECTOR);
	assert_true(vector_bit(0, APIC_ISR, SINT_VECTOR));
	assert_false(vector_bit(0, APIC_TMR, SINT_VECTOR));
	assert_int_equal(counter(0, COUNTER_SYNIC_MESSAGES), 1);
	wr(0, APIC_EOI, 0);
	assert_int_equal(hv_take(0), -1);
}

static void test_synic_short_message_has_no_rest(void **state)
{
	u8 payload[4] = {1, 2, 3, 4};

	(void)state;
	hv_synic_on(0);
	memset(hv_slot(0, SINT)->payload, 0xee, HV_MESSAGE_PAYLOAD);
	assert_int_equal(synic_post(cpu(0), SINT, TYPE, PORT, payload, sizeof(payload)), 0);
	assert_memory_equal(hv_slot(0, SINT)->payload, payload, sizeof(payload));
	assert_int_equal(hv_slot(0, SINT)->size_flags, sizeof(payload));
	assert_int_equal(hv_slot(0, SINT)->payload[4], 0);
}

static void test_synic_full_slot_waits_for_eom(void **state)
{
	(void)state;
	hv_synic_on(0);
	hv_wr(0, MSR_HV_SINT0 + SINT, SINT_VECTOR);
	posted(0, SINT, 1);
	assert_int_equal(hv_take(0), SINT_VECTOR);
	posted(0, SINT, 2);
	posted(0, SINT, 3);
	slot_has(0, SINT, 1, true); /* MessagePending */
	hv_wr(0, MSR_HV_EOM, 0);    /* not emptied: nothing happens */
	slot_has(0, SINT, 1, true);
	wr(0, APIC_EOI, 0);
	slot_has(0, SINT, 1, true);
	assert_int_equal(hv_take(0), -1);
	empty_slot(0, SINT);
	assert_int_equal(hv_take(0), -1); /* nobody looks before the guest says so */
	hv_wr(0, MSR_HV_EOM, 0);
	slot_has(0, SINT, 2, true); /* the third one waits */
	assert_int_equal(hv_take(0), SINT_VECTOR);
	empty_slot(0, SINT);
	hv_wr(0, MSR_HV_EOM, 0);
	slot_has(0, SINT, 3, false);
}

static void test_synic_eoi_delivers_what_waits(void **state)
{
	(void)state;
	hv_synic_on(0);
	hv_wr(0, MSR_HV_SINT0 + SINT, SINT_VECTOR);
	posted(0, SINT, 1);
	posted(0, SINT, 2);
	assert_int_equal(hv_take(0), SINT_VECTOR);
	empty_slot(0, SINT);
	wr(0, APIC_EOI, 0);
	slot_has(0, SINT, 2, false);
	assert_int_equal(hv_take(0), SINT_VECTOR);
	empty_slot(0, SINT);
	wr(0, APIC_EOI, 0);
	assert_int_equal(hv_slot(0, SINT)->type, 0);
}

/* The fast way of an EOI looks at no messages: it does not go when some wait. */
static void test_synic_fast_eoi_leaves_waiting_messages_to_the_slow_one(void **state)
{
	(void)state;
	to_x2apic(0);
	hv_synic_on(0);
	hv_wr(0, MSR_HV_SINT0 + SINT, SINT_VECTOR);
	posted(0, SINT, 1);
	posted(0, SINT, 2);
	assert_int_equal(hv_take(0), SINT_VECTOR);
	assert_false(lapic_fast_eoi(cpu(0)));
	empty_slot(0, SINT);
	hv_wr(0, MSR_HV_EOM, 0);
	lapic_ack(cpu(0), SINT_VECTOR);
	assert_true(lapic_fast_eoi(cpu(0)));
}

static void test_synic_another_message_delivers_what_waits(void **state)
{
	(void)state;
	hv_synic_on(0);
	posted(0, SINT, 1);
	posted(0, SINT, 2);
	empty_slot(0, SINT);
	posted(0, SINT, 3);
	slot_has(0, SINT, 2, true); /* in their order */
}

static void test_synic_sints_do_not_wait_for_each_other(void **state)
{
	(void)state;
	hv_synic_on(0);
	posted(0, SINT, 1);
	posted(0, SINT, 2);
	posted(0, 0, 3);
	posted(0, 15, 4);
	slot_has(0, 0, 3, false);
	slot_has(0, 15, 4, false);
	/* And another vCPU's are another's. */
	hv_synic_on(1);
	posted(1, SINT, 5);
	slot_has(1, SINT, 5, false);
	slot_has(0, SINT, 1, true);
}

static void test_synic_guest_buffers_run_out(void **state)
{
	(void)state;
	hv_synic_on(0);
	posted(0, SINT, 0);
	for (u8 i = 1; i <= SYNIC_GUEST_BUFFERS; i++)
		posted(0, SINT, i);
	assert_int_equal(post(0, SINT, 99), HV_STATUS_INSUFFICIENT_BUFFERS);
	assert_int_equal(post(0, 3, 99), HV_STATUS_INSUFFICIENT_BUFFERS);
	for (u8 i = 1; i <= SYNIC_GUEST_BUFFERS; i++) {
		empty_slot(0, SINT);
		hv_wr(0, MSR_HV_EOM, 0);
		slot_has(0, SINT, i, i < SYNIC_GUEST_BUFFERS);
	}
	posted(0, 3, 99);
}

static void test_synic_masked_and_polled_sints_get_messages(void **state)
{
	(void)state;
	hv_synic_on(0);
	hv_wr(0, MSR_HV_SINT0 + SINT, SINT_VECTOR | HV_SINT_MASKED);
	hv_wr(0, MSR_HV_SINT0 + 3, SINT_VECTOR | HV_SINT_POLLING);
	posted(0, SINT, 1);
	posted(0, 3, 2);
	slot_has(0, SINT, 1, false);
	slot_has(0, 3, 2, false);
	assert_int_equal(hv_take(0), -1);
	/* What was lost is not made up for. */
	hv_wr(0, MSR_HV_SINT0 + SINT, SINT_VECTOR);
	assert_int_equal(hv_take(0), -1);
}

static void test_synic_interrupt_is_lost_with_the_apic_disabled(void **state)
{
	(void)state;
	hv_synic_on(0);
	hv_wr(0, MSR_HV_SINT0 + SINT, SINT_VECTOR);
	wr(0, APIC_SVR, 0xff);
	posted(0, SINT, 1);
	wr(0, APIC_SVR, SVR_ON);
	slot_has(0, SINT, 1, false);
	assert_int_equal(hv_take(0), -1);
}

static void test_synic_disabled_takes_nothing(void **state)
{
	(void)state;
	assert_int_equal(post(0, SINT, 1), HV_STATUS_INVALID_SYNIC_STATE);
	assert_int_equal(synic_signal(cpu(0), SINT, 0), HV_STATUS_INVALID_SYNIC_STATE);
	hv_synic_on(0);
	hv_wr(0, MSR_HV_SINT0 + SINT, SINT_VECTOR);
	posted(0, SINT, 1);
	posted(0, SINT, 2);
	hv_wr(0, MSR_HV_SCONTROL, 0);
	assert_int_equal(post(0, SINT, 3), HV_STATUS_INVALID_SYNIC_STATE);
	assert_int_equal(synic_signal(cpu(0), SINT, 0), HV_STATUS_INVALID_SYNIC_STATE);
	/* What was queued stays so, and is delivered when it may be. */
	empty_slot(0, SINT);
	hv_wr(0, MSR_HV_EOM, 0);
	assert_int_equal(hv_slot(0, SINT)->type, 0);
	hv_wr(0, MSR_HV_SCONTROL, HV_SCONTROL_ENABLE);
	hv_wr(0, MSR_HV_SIMP, MESSAGES(0));
	hv_wr(0, MSR_HV_EOM, 0);
	assert_int_equal(hv_slot(0, SINT)->type, 0);
	assert_int_equal(post(0, SINT, 3), HV_STATUS_INVALID_SYNIC_STATE);
	hv_wr(0, MSR_HV_SIMP, MESSAGES(0) | HV_PAGE_ENABLE);
	hv_wr(0, MSR_HV_EOM, 0);
	slot_has(0, SINT, 2, false);
}

/* ---- event flags ---- */

static void test_synic_event_flag_interrupts_when_it_was_clear(void **state)
{
	const u32 *flags = hv_ram(FLAGS(0) + SINT * HV_EVENT_FLAGS_BYTES);

	(void)state;
	hv_synic_on(0);
	hv_wr(0, MSR_HV_SINT0 + SINT, SINT_VECTOR);
	assert_int_equal(synic_signal(cpu(0), SINT, 33), HV_STATUS_SUCCESS);
	assert_int_equal(flags[1], BIT(1));
	assert_int_equal(hv_take(0), SINT_VECTOR);
	wr(0, APIC_EOI, 0);
	assert_int_equal(synic_signal(cpu(0), SINT, 33), HV_STATUS_SUCCESS);
	assert_int_equal(hv_take(0), -1);
	assert_int_equal(synic_signal(cpu(0), SINT, HV_EVENT_FLAGS - 1), HV_STATUS_SUCCESS);
	assert_int_equal(flags[63], BIT(31));
	assert_int_equal(hv_take(0), SINT_VECTOR);
	assert_int_equal(synic_signal(cpu(0), SINT, HV_EVENT_FLAGS), HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(synic_signal(cpu(0), 15, HV_EVENT_FLAGS), HV_STATUS_INVALID_PARAMETER);
}

static void test_synic_event_of_a_masked_sint_is_refused(void **state)
{
	const u32 *flags = hv_ram(FLAGS(0) + SINT * HV_EVENT_FLAGS_BYTES);

	(void)state;
	hv_synic_on(0);
	assert_int_equal(synic_signal(cpu(0), SINT, 0), HV_STATUS_INVALID_SYNIC_STATE);
	assert_int_equal(flags[0], 0);
	hv_wr(0, MSR_HV_SINT0 + SINT, SINT_VECTOR | HV_SINT_POLLING);
	assert_int_equal(synic_signal(cpu(0), SINT, 0), HV_STATUS_SUCCESS);
	assert_int_equal(flags[0], 1);
	assert_int_equal(hv_take(0), -1);
}

/* ---- AutoEOI ---- */

static void test_synic_auto_eoi_is_never_in_service(void **state)
{
	(void)state;
	hv_synic_on(0);
	hv_wr(0, MSR_HV_SINT0 + SINT, AUTO_EOI);
	serve(0, 0x31);
	posted(0, SINT, 1);
	assert_int_equal(hv_take(0), SINT_VECTOR);
	assert_false(vector_bit(0, APIC_ISR, SINT_VECTOR));
	assert_int_equal(rd(0, APIC_PPR), 0x30); /* the other's, as before */
	assert_int_equal(counter(0, COUNTER_AUTO_EOI), 1);
	/* EOI ends the other one. */
	wr(0, APIC_EOI, 0);
	assert_int_equal(rd(0, APIC_PPR), 0);
	assert_false(vector_bit(0, APIC_ISR, 0x31));
}

/* Whoever sends the vector; a neighbour is not concerned. */
static void test_synic_auto_eoi_goes_by_vector(void **state)
{
	(void)state;
	hv_wr(0, MSR_HV_SINT0 + SINT, AUTO_EOI);
	serve(0, SINT_VECTOR);
	assert_false(vector_bit(0, APIC_ISR, SINT_VECTOR));
	serve(0, SINT_VECTOR + 32);
	assert_true(vector_bit(0, APIC_ISR, SINT_VECTOR + 32));
	serve(1, SINT_VECTOR);
	assert_true(vector_bit(1, APIC_ISR, SINT_VECTOR));
}

static void test_synic_auto_eoi_of_a_level_is_told(void **state)
{
	(void)state;
	hv_wr(0, MSR_HV_SINT0 + SINT, AUTO_EOI);
	accept(0, SINT_VECTOR, true);
	assert_int_equal(hv_take(0), SINT_VECTOR);
	assert_int_equal(fake.eoi_count, 1);
	assert_int_equal(fake.eoi_vector, SINT_VECTOR);
}

static void test_synic_auto_eoi_taken_back_comes_again(void **state)
{
	(void)state;
	hv_wr(0, MSR_HV_SINT0 + SINT, AUTO_EOI);
	accept(0, SINT_VECTOR, false);
	assert_int_equal(hv_take(0), SINT_VECTOR);
	lapic_unack(cpu(0), SINT_VECTOR);
	assert_int_equal(counter(0, COUNTER_AUTO_EOI), 0);
	assert_int_equal(rd(0, APIC_PPR), 0);
	assert_int_equal(hv_take(0), SINT_VECTOR);
	assert_int_equal(hv_take(0), -1);
}

static void test_synic_auto_eoi_has_no_fast_self_ipi(void **state)
{
	(void)state;
	to_x2apic(0);
	assert_true(lapic_fast_self_ipi(cpu(0), 0x41));
	hv_wr(0, MSR_HV_SINT0 + SINT, AUTO_EOI);
	assert_false(lapic_fast_self_ipi(cpu(0), 0x41));
}

static void test_synic_auto_eoi_delivers_what_waits(void **state)
{
	(void)state;
	hv_synic_on(0);
	hv_wr(0, MSR_HV_SINT0 + SINT, AUTO_EOI);
	posted(0, SINT, 1);
	empty_slot(0, SINT);
	posted(0, 3, 1);
	posted(0, 3, 2);
	empty_slot(0, 3);
	assert_int_equal(hv_take(0), SINT_VECTOR); /* an end of interrupt like any other */
	slot_has(0, 3, 2, false);
}

static void test_synic_alone_inhibits_nothing(void **state)
{
	(void)state;
	hv_synic_on(0);
	hv_wr(0, MSR_HV_SINT0 + SINT, SINT_VECTOR);
	hv_wr(0, MSR_HV_SINT0 + 3, AUTO_EOI | HV_SINT_MASKED);
	hv_wr(0, MSR_HV_SINT0 + 4, AUTO_EOI | HV_SINT_POLLING);
	hv_refused_write(0, MSR_HV_SINT0 + 5, HV_SINT_AUTO_EOI | 5);
	assert_int_equal(hv_fake.standing, 0);
	assert_int_equal(hv_fake.sets, 0);
}

static void test_synic_auto_eoi_inhibits_while_one_is_left(void **state)
{
	(void)state;
	hv_wr(0, MSR_HV_SINT0 + SINT, AUTO_EOI);
	assert_int_equal(hv_fake.standing, HYPERV);
	hv_wr(0, MSR_HV_SINT0 + 3, AUTO_EOI);
	hv_wr(1, MSR_HV_SINT0 + SINT, AUTO_EOI);
	assert_int_equal(atomic32_read(&fake.vm->hv.auto_eoi_users), 2);
	hv_wr(0, MSR_HV_SINT0 + SINT, HV_SINT_MASKED);
	assert_int_equal(atomic32_read(&fake.vm->hv.auto_eoi_users), 2);
	hv_wr(0, MSR_HV_SINT0 + 3, SINT_VECTOR);
	assert_int_equal(atomic32_read(&fake.vm->hv.auto_eoi_users), 1);
	assert_int_equal(hv_fake.standing, HYPERV);
	hv_wr(1, MSR_HV_SINT0 + SINT, AUTO_EOI | HV_SINT_MASKED);
	assert_int_equal(hv_fake.standing, 0);
	assert_int_equal(hv_fake.sets, 1);
	assert_int_equal(hv_fake.clears, 1);
	/* And again. */
	hv_wr(1, MSR_HV_SINT0 + SINT, AUTO_EOI);
	assert_int_equal(hv_fake.standing, HYPERV);
}

/* Somebody changes the inhibit and looks at the count again afterwards: nobody else need do it. */
static void test_synic_reset_does_not_wait_for_an_owner(void **state)
{
	(void)state;
	hv_wr(0, MSR_HV_SINT0 + SINT, AUTO_EOI);
	spin_lock(&fake.vm->hv.auto_eoi_lock);
	hv_reset(cpu(0));
	assert_int_equal(hv_fake.standing, HYPERV);
	assert_int_equal(atomic32_read(&fake.vm->hv.auto_eoi_users), 0);
	spin_unlock(&fake.vm->hv.auto_eoi_lock);
}

static void test_synic_reset(void **state)
{
	(void)state;
	hv_synic_on(0);
	hv_wr(0, MSR_HV_SINT0 + SINT, AUTO_EOI);
	hv_wr(1, MSR_HV_SINT0 + SINT, SINT_VECTOR);
	posted(0, SINT, 1);
	posted(0, SINT, 2);
	hv_reset(cpu(0));
	test_synic_reset_values(state);
	assert_int_equal(hv_fake.standing, 0);
	assert_int_equal(hv_rd(1, MSR_HV_SINT0 + SINT), SINT_VECTOR);
	/* No message waits any more. */
	assert_int_equal(atomic32_read(&cpu(0)->lapic.messages_wait), 0);
	hv_synic_on(0);
	hv_wr(0, MSR_HV_EOM, 0);
	assert_int_equal(hv_slot(0, SINT)->type, 0);
	serve(0, SINT_VECTOR + 16);
	assert_true(vector_bit(0, APIC_ISR, SINT_VECTOR + 16));
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_synic_##name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(reset_values),
	        TEST(reserved_bits),
	        TEST(illegal_vectors),
	        TEST(registers_are_each_vcpus_own),
	        TEST(page_is_zeroed_where_it_is_put),
	        TEST(page_outside_memory),
	        TEST(message_interrupts),
	        TEST(short_message_has_no_rest),
	        TEST(full_slot_waits_for_eom),
	        TEST(eoi_delivers_what_waits),
	        TEST(fast_eoi_leaves_waiting_messages_to_the_slow_one),
	        TEST(another_message_delivers_what_waits),
	        TEST(sints_do_not_wait_for_each_other),
	        TEST(guest_buffers_run_out),
	        TEST(masked_and_polled_sints_get_messages),
	        TEST(interrupt_is_lost_with_the_apic_disabled),
	        TEST(disabled_takes_nothing),
	        TEST(event_flag_interrupts_when_it_was_clear),
	        TEST(event_of_a_masked_sint_is_refused),
	        TEST(auto_eoi_is_never_in_service),
	        TEST(auto_eoi_goes_by_vector),
	        TEST(auto_eoi_of_a_level_is_told),
	        TEST(auto_eoi_taken_back_comes_again),
	        TEST(auto_eoi_has_no_fast_self_ipi),
	        TEST(auto_eoi_delivers_what_waits),
	        TEST(alone_inhibits_nothing),
	        TEST(auto_eoi_inhibits_while_one_is_left),
	        TEST(reset_does_not_wait_for_an_owner),
	        TEST(reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
