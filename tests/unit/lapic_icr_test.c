/* SPDX-License-Identifier: BSD-2-Clause */
/* Interrupt commands, signals (NMI, INIT, SIPI) and the local vector table's pins. */
#include "tests/unit/lapic_guest.h"

/* ---- interrupt commands ---- */

static void test_lapic_ipi_fixed_physical(void **state)
{
	(void)state;
	wr(0, APIC_ICR2, 2u << 24);
	wr(0, APIC_ICR, APIC_LEVEL_ASSERT | 0x81);
	assert_int_equal(lapic_deliverable(cpu(2)), 0x81);
	assert_false(vector_bit(2, APIC_TMR, 0x81));
	assert_int_equal(lapic_ack(cpu(2), 0x81), IRQ_SOURCE_IPI);
	assert_int_equal(lapic_deliverable(cpu(0)), -1);
	assert_int_equal(lapic_deliverable(cpu(1)), -1);
	assert_int_equal(counter(0, COUNTER_IPI_SENT_UNICAST), 1);
	assert_int_equal(counter(2, COUNTER_IPI_SENT_UNICAST), 0);
}

static void test_lapic_ipi_is_edge_whatever_its_trigger_mode(void **state)
{
	(void)state;
	wr(0, APIC_ICR2, 2u << 24);
	wr(0, APIC_ICR, APIC_LEVEL_ASSERT | APIC_TRIGGER_LEVEL | 0x81);
	assert_int_equal(lapic_deliverable(cpu(2)), 0x81);
	assert_false(vector_bit(2, APIC_TMR, 0x81));
}

static void test_lapic_ipi_shorthands(void **state)
{
	static const struct {
		u32 shorthand;
		bool reached[4];
		enum counter_id id;
	} rows[] = {
	        {APIC_DEST_SELF, {0, 1, 0, 0}, COUNTER_IPI_SENT_SELF},
	        {APIC_DEST_ALL, {1, 1, 1, 1}, COUNTER_IPI_SENT_MULTI},
	        {APIC_DEST_OTHERS, {1, 0, 1, 1}, COUNTER_IPI_SENT_MULTI},
	};

	(void)state;
	for (u32 row = 0; row < ARRAY_SIZE(rows); row++) {
		u8 vector = (u8)(0x40 + row * 16);
		u64 before = counter(1, rows[row].id);

		wr(1, APIC_ICR, rows[row].shorthand | APIC_LEVEL_ASSERT | vector);
		for (u32 i = 0; i < 4; i++)
			assert_int_equal(vector_bit(i, APIC_IRR, vector), rows[row].reached[i]);
		assert_int_equal(counter(1, rows[row].id), before + 1);
	}
}

static void test_lapic_ipi_invalid_combinations_not_sent(void **state)
{
	static const u32 commands[] = {
	        APIC_DEST_SELF | APIC_DM_NMI,
	        APIC_DEST_SELF | APIC_DM_INIT,
	        APIC_DEST_SELF | APIC_DM_LOWEST,
	        APIC_DEST_ALL | APIC_DM_NMI,
	        APIC_DEST_ALL | APIC_DM_SIPI,
	        APIC_DEST_ALL | APIC_DM_INIT,
	        APIC_DM_EXTINT,
	        3u << 8,
	};

	(void)state;
	for (u32 i = 0; i < 4; i++)
		fake_take_requests(cpu(i));
	for (u32 c = 0; c < ARRAY_SIZE(commands); c++) {
		wr(1, APIC_ICR, commands[c] | APIC_LEVEL_ASSERT | 0x40);
		for (u32 i = 0; i < 4; i++)
			assert_int_equal(fake_take_requests(cpu(i)), 0);
	}
	assert_int_equal(counter(1, COUNTER_IPI_SENT_OTHER), ARRAY_SIZE(commands));
}

static void test_lapic_ipi_smi_ignored_and_counted(void **state)
{
	(void)state;
	fake_take_requests(cpu(2));
	wr(0, APIC_ICR2, 2u << 24);
	wr(0, APIC_ICR, APIC_DM_SMI | APIC_LEVEL_ASSERT);
	assert_int_equal(fake_take_requests(cpu(2)), 0);
	assert_int_equal(counter(0, COUNTER_IPI_SENT_OTHER), 1);
}

static void test_lapic_ipi_with_illegal_vector_sets_senders_esr(void **state)
{
	(void)state;
	wr(0, APIC_ICR2, 2u << 24);
	wr(0, APIC_ICR, APIC_LEVEL_ASSERT | 0x0f);
	wr(0, APIC_ICR, APIC_LEVEL_ASSERT | APIC_DM_LOWEST | 0x0f);
	wr(0, APIC_ESR, 0);
	assert_int_equal(rd(0, APIC_ESR), APIC_ESR_SEND_ILLEGAL);
	wr(2, APIC_ESR, 0);
	assert_int_equal(rd(2, APIC_ESR), 0);
	assert_int_equal(counter(0, COUNTER_IPI_SENT_OTHER), 2);
}

static void test_lapic_ipi_to_nobody(void **state)
{
	(void)state;
	wr(0, APIC_ICR2, 99u << 24);
	wr(0, APIC_ICR, APIC_LEVEL_ASSERT | 0x81);
	assert_int_equal(counter(0, COUNTER_IPI_SENT_OTHER), 1);
}

static void test_lapic_ipi_lowest_priority_picks_by_vector(void **state)
{
	u32 hits[4] = {0};

	(void)state;
	wr(2, APIC_SVR, 0xff); /* disabled by software: no candidate */
	wr(0, APIC_ICR2, 0xffu << 24);
	for (u32 v = 0x40; v < 0x40 + 9; v++) {
		wr(0, APIC_ICR, APIC_DM_LOWEST | APIC_LEVEL_ASSERT | v);
		wr(0, APIC_ICR, APIC_DM_LOWEST | APIC_LEVEL_ASSERT | v);
		for (u32 i = 0; i < 4; i++)
			hits[i] += vector_bit(i, APIC_IRR, (u8)v);
	}
	assert_int_equal(hits[0], 3);
	assert_int_equal(hits[1], 3);
	assert_int_equal(hits[2], 0);
	assert_int_equal(hits[3], 3);
	assert_int_equal(counter(0, COUNTER_IPI_SENT_LOWEST), 18);
}

static void test_lapic_ipi_x2apic_destination_has_32_bits(void **state)
{
	static const u32 ids[] = {0, 1, 0x101};

	(void)state;
	fake_destroy();
	fake_create_with_ids(3, ids);
	for (u32 i = 0; i < 3; i++) {
		to_x2apic(i);
		wrmsr(i, X2MSR(APIC_SVR), SVR_ON);
	}
	wrmsr(0, X2MSR(APIC_ICR), 0x101ull << 32 | 0x81);
	assert_int_equal(lapic_deliverable(cpu(1)), -1);
	assert_int_equal(lapic_deliverable(cpu(2)), 0x81);
	wrmsr(0, X2MSR(APIC_ICR), 0xffffffffull << 32 | 0x91);
	for (u32 i = 0; i < 3; i++)
		assert_int_equal(lapic_deliverable(cpu(i)), 0x91);
	wrmsr(0, X2MSR(APIC_ICR), 0x00100002ull << 32 | APIC_DEST_LOGICAL | 0xa1);
	assert_int_equal(lapic_deliverable(cpu(1)), 0x91);
	assert_int_equal(lapic_deliverable(cpu(2)), 0xa1);
}

static void test_lapic_self_ipi_register(void **state)
{
	(void)state;
	to_x2apic(0);
	wrmsr(0, X2MSR(APIC_SELF), 0x66);
	assert_int_equal(lapic_deliverable(cpu(0)), 0x66);
	assert_int_equal(counter(0, COUNTER_IPI_SENT_SELF), 1);
	wrmsr(0, X2MSR(APIC_SELF), 5);
	wrmsr(0, X2MSR(APIC_ESR), 0);
	assert_int_equal(rdmsr(0, X2MSR(APIC_ESR)), APIC_ESR_SEND_ILLEGAL);
}

/* ---- signals ---- */

static void test_lapic_nmis_latch_up_to_two(void **state)
{
	(void)state;
	wr(0, APIC_ICR2, 1u << 24);
	for (u32 i = 0; i < 5; i++)
		wr(0, APIC_ICR, APIC_DM_NMI | APIC_LEVEL_ASSERT);
	assert_int_equal(counter(0, COUNTER_IPI_SENT_NMI), 5);
	assert_int_equal(lapic_take_nmi(cpu(1)), 2);
	assert_int_equal(lapic_take_nmi(cpu(1)), 0);
	assert_int_equal(fake_take_requests(cpu(1)) & VCPU_REQUEST_EVENT, VCPU_REQUEST_EVENT);
}

static void test_lapic_init_then_sipi_starts_an_ap(void **state)
{
	(void)state;
	cpu(1)->activity = VCPU_ACTIVE;
	cpu(1)->regs.rip = 0x1234;
	wr(1, APIC_ID, 0x71000000);
	wr(1, APIC_TPR, 0x42);
	fake_take_requests(cpu(1));
	wr(0, APIC_ICR2, 0x71u << 24);
	wr(0, APIC_ICR, APIC_DM_INIT | APIC_LEVEL_ASSERT | APIC_TRIGGER_LEVEL);
	assert_int_equal(fake_take_requests(cpu(1)), VCPU_REQUEST_SIGNAL);
	assert_true(lapic_has_signal(cpu(1)));
	lapic_take_signals(cpu(1));
	assert_int_equal(fake.resets, 1);
	assert_true(fake.reset_was_init);
	assert_int_equal(cpu(1)->activity, VCPU_WAIT_FOR_SIPI);
	assert_int_equal(rd(1, APIC_TPR), 0);
	assert_int_equal(rd(1, APIC_ID), 0x71000000); /* INIT keeps it */

	wr(0, APIC_ICR, APIC_DM_INIT | APIC_TRIGGER_LEVEL); /* de-assert: nothing */
	assert_false(lapic_has_signal(cpu(1)));

	wr(0, APIC_ICR, APIC_DM_SIPI | APIC_LEVEL_ASSERT | 0x9a);
	assert_int_equal(fake_take_requests(cpu(1)), VCPU_REQUEST_SIGNAL);
	lapic_take_signals(cpu(1));
	assert_int_equal(cpu(1)->activity, VCPU_ACTIVE);
	assert_int_equal(fake.state[1].seg[SEG_CS].selector, 0x9a00);
	assert_int_equal(fake.state[1].seg[SEG_CS].base, 0x9a000);
	assert_int_equal(cpu(1)->regs.rip, 0);
	assert_false(lapic_has_signal(cpu(1)));
	assert_int_equal(counter(0, COUNTER_IPI_SENT_INIT), 1);
	assert_int_equal(counter(0, COUNTER_IPI_SENT_SIPI), 1);
}

static void test_lapic_sipi_acts_only_in_wait_for_sipi(void **state)
{
	(void)state;
	cpu(1)->activity = VCPU_HALTED;
	cpu(1)->regs.rip = 0x1234;
	lapic_signal_sipi(&cpu(1)->lapic, 0x9a);
	lapic_take_signals(cpu(1));
	assert_int_equal(cpu(1)->activity, VCPU_HALTED);
	assert_int_equal(cpu(1)->regs.rip, 0x1234);
	assert_false(lapic_has_signal(cpu(1)));
}

static void test_lapic_init_voids_an_earlier_sipi(void **state)
{
	(void)state;
	lapic_signal_sipi(&cpu(1)->lapic, 0x9a);
	lapic_signal_init(&cpu(1)->lapic);
	lapic_take_signals(cpu(1));
	assert_int_equal(cpu(1)->activity, VCPU_WAIT_FOR_SIPI);
}

static void test_lapic_first_of_two_sipis_counts(void **state)
{
	(void)state;
	lapic_signal_init(&cpu(1)->lapic);
	lapic_signal_sipi(&cpu(1)->lapic, 0x10);
	lapic_signal_sipi(&cpu(1)->lapic, 0x20);
	lapic_take_signals(cpu(1));
	assert_int_equal(cpu(1)->activity, VCPU_ACTIVE);
	assert_int_equal(fake.state[1].seg[SEG_CS].base, 0x10000);
}

static void test_lapic_init_of_the_bsp_runs_from_reset(void **state)
{
	(void)state;
	cpu(0)->activity = VCPU_HALTED;
	lapic_signal_nmi(&cpu(0)->lapic);
	lapic_signal_init(&cpu(0)->lapic);
	lapic_take_signals(cpu(0));
	assert_int_equal(cpu(0)->activity, VCPU_ACTIVE);
	assert_int_equal(lapic_take_nmi(cpu(0)), 0);
}

static void test_lapic_init_keeps_mode_and_base(void **state)
{
	(void)state;
	wrmsr(3, MSR_APIC_BASE, 0x1234567000 | APIC_BASE_EN);
	to_x2apic(3);
	wrmsr(3, X2MSR(APIC_SVR), SVR_ON);
	lapic_signal_init(&cpu(3)->lapic);
	lapic_take_signals(cpu(3));
	assert_true(rdmsr(3, MSR_APIC_BASE) == (0x1234567000 | APIC_BASE_EN | APIC_BASE_EXTD));
	assert_int_equal(rdmsr(3, X2MSR(APIC_LDR)), 8);
	assert_int_equal(rdmsr(3, X2MSR(APIC_SVR)), 0xff);
}

static void test_lapic_nmi_waits_for_sipi(void **state)
{
	(void)state;
	lapic_signal_nmi(&cpu(1)->lapic);
	assert_false(lapic_has_signal(cpu(1)));
	lapic_signal_sipi(&cpu(1)->lapic, 0x10);
	lapic_take_signals(cpu(1));
	assert_true(lapic_has_signal(cpu(1)));
	assert_int_equal(lapic_take_nmi(cpu(1)), 1);
}

/* ---- local vector table pins ---- */

static void test_lapic_extint_by_lvt0(void **state)
{
	(void)state;
	assert_false(lapic_accepts_extint(cpu(0))); /* masked after reset */
	wr(0, APIC_LVT0, APIC_DM_EXTINT);
	assert_true(lapic_accepts_extint(cpu(0)));
	fake_take_requests(cpu(0));
	lapic_local_interrupt(cpu(0), APIC_LVT0);
	assert_int_equal(fake_take_requests(cpu(0)), VCPU_REQUEST_EVENT);
	wr(0, APIC_LVT0, APIC_DM_EXTINT | APIC_LVT_MASKED);
	assert_false(lapic_accepts_extint(cpu(0)));
	wr(0, APIC_LVT0, APIC_DM_FIXED | 0x40);
	assert_false(lapic_accepts_extint(cpu(0)));
}

static void test_lapic_extint_opened_while_intr_is_up(void **state)
{
	(void)state;
	fake.pic_output = true;
	fake_take_requests(cpu(0));
	wr(0, APIC_LVT0, APIC_DM_EXTINT);
	assert_int_equal(fake_take_requests(cpu(0)), VCPU_REQUEST_EVENT);
}

static void test_lapic_extint_when_hardware_disabled(void **state)
{
	(void)state;
	wrmsr(0, MSR_APIC_BASE, APIC_BASE_DEFAULT);
	assert_true(lapic_accepts_extint(cpu(0)));
	lapic_local_interrupt(cpu(0), APIC_LVT1);
	assert_int_equal(lapic_take_nmi(cpu(0)), 1);
}

static void test_lapic_extint_message_asks_for_one_inta(void **state)
{
	struct irq_message message = {
	        .dest = 1, .delivery = APIC_DM_EXTINT, .assert = true, .source = IRQ_SOURCE_IOAPIC};

	(void)state;
	assert_int_equal(irq_deliver(fake.vm, &message), 1);
	assert_true(lapic_accepts_extint(cpu(1)));
	assert_false(lapic_accepts_extint(cpu(0)));
	lapic_ack_extint(cpu(1));
	assert_false(lapic_accepts_extint(cpu(1)));
}

static void test_lapic_lint1_nmi(void **state)
{
	(void)state;
	wr(0, APIC_LVT1, APIC_DM_NMI | APIC_LVT_LEVEL);
	lapic_local_interrupt(cpu(0), APIC_LVT1);
	assert_int_equal(lapic_take_nmi(cpu(0)), 1);
	wr(0, APIC_LVT1, APIC_DM_NMI | APIC_LVT_MASKED);
	lapic_local_interrupt(cpu(0), APIC_LVT1);
	assert_int_equal(lapic_take_nmi(cpu(0)), 0);
}

static void test_lapic_lint1_fixed_is_edge(void **state)
{
	(void)state;
	wr(0, APIC_LVT1, APIC_LVT_LEVEL | 0x50);
	lapic_local_interrupt(cpu(0), APIC_LVT1);
	assert_int_equal(lapic_deliverable(cpu(0)), 0x50);
	assert_false(vector_bit(0, APIC_TMR, 0x50));
	assert_false(rd(0, APIC_LVT1) & APIC_LVT_REMOTE_IRR);
}

static void test_lapic_lint0_level_holds_remote_irr_until_eoi(void **state)
{
	(void)state;
	wr(0, APIC_LVT0, APIC_LVT_LEVEL | 0x50);
	lapic_local_interrupt(cpu(0), APIC_LVT0);
	assert_true(rd(0, APIC_LVT0) & APIC_LVT_REMOTE_IRR);
	lapic_ack(cpu(0), 0x50);
	lapic_local_interrupt(cpu(0), APIC_LVT0); /* not again before EOI */
	assert_false(vector_bit(0, APIC_IRR, 0x50));
	wr(0, APIC_LVT0, APIC_LVT_LEVEL | APIC_LVT_MASKED | 0x50); /* masking keeps it */
	assert_true(rd(0, APIC_LVT0) & APIC_LVT_REMOTE_IRR);
	wr(0, APIC_LVT0, APIC_LVT_LEVEL | 0x50);
	fake.pic_output = true; /* the line is still up: EOI delivers again */
	wr(0, APIC_EOI, 0);
	assert_true(vector_bit(0, APIC_IRR, 0x50));
	lapic_ack(cpu(0), 0x50);
	fake.pic_output = false;
	wr(0, APIC_EOI, 0);
	assert_int_equal(lapic_deliverable(cpu(0)), -1);
	assert_false(rd(0, APIC_LVT0) & APIC_LVT_REMOTE_IRR);
}

#define T(name) cmocka_unit_test_setup_teardown(name, four_vcpus, no_vcpus)

int main(void)
{
	/* clang-format off */
	static const struct CMUnitTest tests[] = {
		T(test_lapic_ipi_fixed_physical),
		T(test_lapic_ipi_is_edge_whatever_its_trigger_mode),
		T(test_lapic_ipi_shorthands),
		T(test_lapic_ipi_invalid_combinations_not_sent),
		T(test_lapic_ipi_smi_ignored_and_counted),
		T(test_lapic_ipi_with_illegal_vector_sets_senders_esr),
		T(test_lapic_ipi_to_nobody),
		T(test_lapic_ipi_lowest_priority_picks_by_vector),
		T(test_lapic_ipi_x2apic_destination_has_32_bits),
		T(test_lapic_self_ipi_register),
		T(test_lapic_nmis_latch_up_to_two),
		T(test_lapic_init_then_sipi_starts_an_ap),
		T(test_lapic_sipi_acts_only_in_wait_for_sipi),
		T(test_lapic_init_voids_an_earlier_sipi),
		T(test_lapic_first_of_two_sipis_counts),
		T(test_lapic_init_of_the_bsp_runs_from_reset),
		T(test_lapic_init_keeps_mode_and_base),
		T(test_lapic_nmi_waits_for_sipi),
		T(test_lapic_extint_by_lvt0),
		T(test_lapic_extint_opened_while_intr_is_up),
		T(test_lapic_extint_when_hardware_disabled),
		T(test_lapic_extint_message_asks_for_one_inta),
		T(test_lapic_lint1_nmi),
		T(test_lapic_lint1_fixed_is_edge),
		T(test_lapic_lint0_level_holds_remote_irr_until_eoi),
	};
	/* clang-format on */

	return cmocka_run_group_tests(tests, NULL, NULL);
}
