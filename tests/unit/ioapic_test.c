/* SPDX-License-Identifier: BSD-2-Clause */
/* The I/O APIC against the rules in irq/ioapic.c. Accesses go through the bus, as a guest's do. */
#include "tests/unit/irq_fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "x86/apic.h"

#define LEVEL   APIC_TRIGGER_LEVEL
#define MASKED  ((u32)IOAPIC_RTE_MASKED)
#define REG_ID  0
#define REG_VER 1
#define REG_ARB 2

/* What arrived at the local APICs, and whether they accept. */
static u32 sent;
static struct irq_message last;
static u32 accepted;

u32 irq_deliver(struct vm *vm, const struct irq_message *message)
{
	assert_ptr_equal(vm, fake.vm);
	sent++;
	last = *message;
	return accepted;
}

static int setup(void **state)
{
	(void)state;
	fake_create(2);
	ioapic_init(fake.vm);
	sent = 0;
	accepted = 1;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	ioapic_reset(fake.vm);
	fake_destroy();
	return 0;
}

static void page_write(u64 offset, u32 size, u64 value)
{
	assert_true(
	        bus_write(&fake.vm->memory, fake.vm->vcpu[0], IOAPIC_BASE + offset, size, value));
}

static u64 page_read(u64 offset, u32 size)
{
	u64 value;

	assert_true(
	        bus_read(&fake.vm->memory, fake.vm->vcpu[0], IOAPIC_BASE + offset, size, &value));
	return value;
}

static void reg_write(u8 index, u32 value)
{
	page_write(0x00, 4, index);
	page_write(0x10, 4, value);
}

static u32 reg_read(u8 index)
{
	page_write(0x00, 4, index);
	return page_read(0x10, 4);
}

static void entry_write(u32 pin, u32 low)
{
	reg_write(0x10 + 2 * pin, low);
}

static bool remote_irr(u32 pin)
{
	return reg_read(0x10 + 2 * pin) & IOAPIC_RTE_REMOTE_IRR;
}

static void line(u32 pin, bool level)
{
	ioapic_set_line(fake.vm, pin, level);
}

static void test_ioapic_registers_after_reset(void **state)
{
	(void)state;
	assert_int_equal(reg_read(REG_ID), 0);
	assert_int_equal(reg_read(REG_VER), 0x00170020);
	for (u32 pin = 0; pin < IOAPIC_PINS; pin++) {
		assert_int_equal(reg_read(0x10 + 2 * pin), MASKED);
		assert_int_equal(reg_read(0x11 + 2 * pin), 0);
	}
	assert_int_equal(reg_read(0x05), 0);
	assert_int_equal(reg_read(0x10 + 2 * IOAPIC_PINS), 0xffffffff);
	assert_int_equal(reg_read(0xff), 0xffffffff);
	assert_int_equal(page_read(0x20, 4), 0);
}

static void test_ioapic_id_loads_arbitration(void **state)
{
	(void)state;
	reg_write(REG_ID, 0xf5ffffff);
	assert_int_equal(reg_read(REG_ID), 0x05000000);
	assert_int_equal(reg_read(REG_ARB), 0x05000000);
	reg_write(REG_VER, 0);
	assert_int_equal(reg_read(REG_VER), 0x00170020);
}

static void test_ioapic_entry_read_only_bits(void **state)
{
	(void)state;
	reg_write(0x10, 0xffffffff);
	reg_write(0x11, 0xffffffff);
	assert_int_equal(reg_read(0x10), 0x0001afff); /* not 12 and 14, nor reserved ones */
	assert_int_equal(reg_read(0x11), 0xff000000);
	reg_write(0x10 + 2 * IOAPIC_PINS, 0x31); /* beyond the table */
	reg_write(0xff, 0x31);
	assert_int_equal(sent, 0);
}

/* Of a VM with large IDs: bits 55:49 are bits 14:8 of the destination; without them it has 8 bits. */
static void test_ioapic_extended_destination(void **state)
{
	(void)state;
	fake.vm->large_ids = true;
	reg_write(0x11, 0xffffffff);
	assert_int_equal(reg_read(0x11), 0xfffe0000);
	reg_write(0x11, 0x2c020000);
	reg_write(0x10, 0x31);
	ioapic_set_line(fake.vm, 0, true);
	assert_int_equal(sent, 1);
	assert_int_equal(last.dest, 0x12c);
	assert_true(last.x2apic_format);
	ioapic_set_line(fake.vm, 0, false);
	reg_write(0x11, 0x2c000000);
	ioapic_set_line(fake.vm, 0, true);
	assert_int_equal(sent, 2);
	assert_int_equal(last.dest, 0x2c);
	assert_false(last.x2apic_format);
}

static void test_ioapic_narrow_and_wide_access(void **state)
{
	(void)state;
	page_write(0x00, 1, 0x10);
	page_write(0x10, 8, 0xffffffff00010055ull);
	assert_int_equal(page_read(0x10, 8), 0x00010055);
	assert_int_equal(page_read(0x10, 2), 0x0055);
	page_write(0x10, 2, 0xabcd0066);
	assert_int_equal(page_read(0x10, 4), 0x0066);
}

static void test_ioapic_message_fields(void **state)
{
	(void)state;
	reg_write(0x11 + 2 * 3, 0xa5000000);
	entry_write(3, 0x41 | APIC_DM_LOWEST | APIC_DEST_LOGICAL | LEVEL);
	line(3, true);
	assert_int_equal(sent, 1);
	assert_int_equal(last.dest, 0xa5);
	assert_int_equal(last.vector, 0x41);
	assert_int_equal(last.delivery, APIC_DM_LOWEST);
	assert_int_equal(last.shorthand, APIC_DEST_FIELD);
	assert_true(last.logical);
	assert_true(last.level);
	assert_true(last.assert);
	assert_false(last.x2apic_format);
	assert_int_equal(last.source, IRQ_SOURCE_IOAPIC);
	assert_null(last.sender);
}

static void test_ioapic_edge_sends_on_rise_only(void **state)
{
	(void)state;
	entry_write(4, 0x34);
	line(4, true);
	line(4, true);
	assert_int_equal(sent, 1);
	assert_false(last.level);
	assert_false(last.logical);
	assert_false(remote_irr(4));
	line(4, false);
	assert_int_equal(sent, 1);
	line(4, true);
	assert_int_equal(sent, 2);
	line(IOAPIC_PINS, true);
	line(~0u, true);
	assert_int_equal(sent, 2);
}

static void test_ioapic_masked_edge_is_not_replayed(void **state)
{
	(void)state;
	entry_write(4, 0x34 | MASKED);
	line(4, true);
	entry_write(4, 0x34);
	assert_int_equal(sent, 0);
	line(4, false);
	line(4, true);
	assert_int_equal(sent, 1);
}

static void test_ioapic_polarity_is_stored_only(void **state)
{
	(void)state;
	entry_write(9, 0x39 | LEVEL | (u32)IOAPIC_RTE_POLARITY);
	assert_int_equal(sent, 0);
	line(9, true);
	assert_int_equal(sent, 1);
	assert_true(reg_read(0x10 + 2 * 9) & IOAPIC_RTE_POLARITY);
}

/* Worked vector: pin high, vector 55h, EOI 55h while high: remote IRR 0, sent again, 1. */
static void test_ioapic_level_redelivered_on_eoi(void **state)
{
	(void)state;
	entry_write(10, 0x55 | LEVEL);
	line(10, true);
	assert_int_equal(sent, 1);
	assert_true(remote_irr(10));
	ioapic_eoi(fake.vm, 0x54);
	assert_int_equal(sent, 1);
	ioapic_eoi(fake.vm, 0x55);
	assert_int_equal(sent, 2);
	assert_true(remote_irr(10));
	line(10, false);
	assert_true(remote_irr(10)); /* only an EOI clears it */
	ioapic_eoi(fake.vm, 0x55);
	assert_int_equal(sent, 2);
	assert_false(remote_irr(10));
}

static void test_ioapic_remote_irr_holds_back_a_new_rise(void **state)
{
	(void)state;
	entry_write(10, 0x55 | LEVEL);
	line(10, true);
	line(10, false);
	line(10, true);
	assert_int_equal(sent, 1);
	ioapic_eoi(fake.vm, 0x55);
	assert_int_equal(sent, 2);
}

static void test_ioapic_eoi_reaches_all_pins_of_the_vector(void **state)
{
	(void)state;
	entry_write(10, 0x55 | LEVEL);
	entry_write(11, 0x55 | LEVEL);
	line(10, true);
	line(11, true);
	ioapic_eoi(fake.vm, 0x55);
	assert_int_equal(sent, 4);
}

static void test_ioapic_nobody_accepts(void **state)
{
	(void)state;
	accepted = 0;
	entry_write(10, 0x55 | LEVEL);
	line(10, true);
	assert_int_equal(sent, 1);
	assert_false(remote_irr(10));
	accepted = 1;
	entry_write(10, 0x55 | LEVEL);
	assert_int_equal(sent, 2);
	assert_true(remote_irr(10));
}

static void test_ioapic_unmask_delivers_pending_level(void **state)
{
	(void)state;
	entry_write(10, 0x55 | LEVEL | MASKED);
	line(10, true);
	assert_int_equal(sent, 0);
	entry_write(10, 0x55 | LEVEL);
	assert_int_equal(sent, 1);
	/* Masking takes nothing back; the EOI does not send while masked. */
	entry_write(10, 0x55 | LEVEL | MASKED);
	assert_true(remote_irr(10));
	ioapic_eoi(fake.vm, 0x55);
	assert_false(remote_irr(10));
	assert_int_equal(sent, 1);
}

static void test_ioapic_edge_clears_remote_irr(void **state)
{
	(void)state;
	entry_write(10, 0x55 | LEVEL);
	line(10, true);
	assert_true(remote_irr(10));
	entry_write(10, 0x55 | MASKED);
	assert_false(remote_irr(10));
	entry_write(10, 0x55 | LEVEL);
	assert_int_equal(sent, 2);
}

static void test_ioapic_special_modes_are_edges(void **state)
{
	static const u32 mode[] = {APIC_DM_SMI, APIC_DM_NMI, APIC_DM_INIT, APIC_DM_EXTINT};

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(mode); i++) {
		entry_write(0, mode[i] | LEVEL);
		assert_int_equal(sent, i);
		line(0, true);
		assert_int_equal(sent, i + 1);
		assert_int_equal(last.delivery, mode[i]);
		assert_false(last.level);
		assert_false(remote_irr(0));
		line(0, false);
	}
}

static void test_ioapic_reserved_modes_send_nothing(void **state)
{
	(void)state;
	entry_write(0, 3u << 8 | 0x40);
	entry_write(1, APIC_DM_SIPI | 0x40);
	line(0, true);
	line(1, true);
	assert_int_equal(sent, 0);
}

static void test_ioapic_eoi_register_by_version(void **state)
{
	(void)state;
	fake.vm->ioapic.version = IOAPIC_VERSION;
	assert_int_equal(reg_read(REG_VER), 0x00170011);
	entry_write(10, 0x55 | LEVEL);
	line(10, true);
	page_write(0x40, 4, 0x55);
	assert_int_equal(sent, 1); /* version 11h has none */
	fake.vm->ioapic.version = IOAPIC_VERSION_EOI;
	assert_int_equal(reg_read(REG_VER), 0x00170020);
	page_write(0x40, 4, 0x55);
	assert_int_equal(sent, 2);
	line(10, false);
	page_write(0x40, 4, 0x55);
	assert_false(remote_irr(10));
}

static void test_ioapic_livelock_guard(void **state)
{
	u64 armed_at;

	(void)state;
	entry_write(10, 0x55 | LEVEL);
	line(10, true);
	for (u32 i = 1; i < 10000; i++)
		ioapic_eoi(fake.vm, 0x55);
	assert_int_equal(sent, 10000);
	assert_int_equal(fake_timer_deadline(&fake.vm->ioapic.storm), TSC_NEVER);

	armed_at = fake.tsc;
	ioapic_eoi(fake.vm, 0x55);
	assert_int_equal(sent, 10000);
	assert_false(remote_irr(10));
	assert_int_equal(fake_timer_deadline(&fake.vm->ioapic.storm),
	                 armed_at + FAKE_TICKS(10000000));
	fake_advance_ns(9999999);
	assert_int_equal(sent, 10000);
	fake_advance_ns(1);
	assert_int_equal(sent, 10001);
	assert_true(remote_irr(10));
	assert_int_equal(fake.vm->ioapic.storms, 1);
	/* And the count begins anew. */
	ioapic_eoi(fake.vm, 0x55);
	assert_int_equal(sent, 10002);
}

static void test_ioapic_livelock_count_is_in_a_row(void **state)
{
	(void)state;
	entry_write(10, 0x55 | LEVEL);
	line(10, true);
	for (u32 i = 0; i < 9999; i++)
		ioapic_eoi(fake.vm, 0x55);
	line(10, false);
	ioapic_eoi(fake.vm, 0x55); /* served: starts over */
	line(10, true);
	sent = 0;
	for (u32 i = 0; i < 9999; i++)
		ioapic_eoi(fake.vm, 0x55);
	assert_int_equal(sent, 9999);
	assert_int_equal(fake.vm->ioapic.storms, 0);
}

static void test_ioapic_delayed_pin_served_meanwhile(void **state)
{
	(void)state;
	entry_write(10, 0x55 | LEVEL);
	line(10, true);
	for (u32 i = 0; i < 10000; i++)
		ioapic_eoi(fake.vm, 0x55);
	assert_int_equal(fake.vm->ioapic.storms, 1);
	line(10, false);
	sent = 0;
	fake_advance_ns(20000000);
	assert_int_equal(sent, 0);
}

static void test_ioapic_reset_keeps_lines(void **state)
{
	(void)state;
	entry_write(10, 0x55 | LEVEL);
	line(10, true);
	for (u32 i = 0; i < 10000; i++)
		ioapic_eoi(fake.vm, 0x55);
	ioapic_reset(fake.vm);
	assert_int_equal(fake_timer_deadline(&fake.vm->ioapic.storm), TSC_NEVER);
	assert_int_equal(reg_read(0x10 + 2 * 10), MASKED);
	sent = 0;
	entry_write(10, 0x66 | LEVEL);
	assert_int_equal(sent, 1);
	assert_int_equal(last.vector, 0x66);
}

/* Who listens to a pin is told of the EOI of its vector: level, edge, EOI register. */
static void test_ioapic_end_of_interrupt_is_told(void **state)
{
	(void)state;
	entry_write(10, 0x55 | LEVEL);
	entry_write(11, 0x55);
	entry_write(12, 0x56);
	ioapic_eoi(fake.vm, 0x55);
	ioapic_eoi_edge(fake.vm, 0x56);
	assert_int_equal(fake.ended_pins, 0); /* nobody listens */
	fake.listening = true;
	ioapic_eoi_edge(fake.vm, 0x56);
	assert_int_equal(fake.ended_pins, BIT(12));
	fake.ended_pins = 0;
	ioapic_eoi(fake.vm, 0x55);
	assert_int_equal(fake.ended_pins, BIT(10) | BIT(11));
	fake.ended_pins = 0;
	page_write(0x40, 4, 0x56);
	assert_int_equal(fake.ended_pins, BIT(12));
	fake.ended_pins = 0;
	ioapic_eoi(fake.vm, 0x57);
	assert_int_equal(fake.ended_pins, 0);
}

static void test_ioapic_unserved_by_remote_irr(void **state)
{
	(void)state;
	entry_write(10, 0x55 | LEVEL);
	assert_false(ioapic_is_unserved(fake.vm, 10));
	line(10, true);
	assert_true(ioapic_is_unserved(fake.vm, 10));
	line(10, false);
	assert_true(ioapic_is_unserved(fake.vm, 10));
	ioapic_eoi(fake.vm, 0x55);
	assert_false(ioapic_is_unserved(fake.vm, 10));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	        TEST(test_ioapic_registers_after_reset),
	        TEST(test_ioapic_id_loads_arbitration),
	        TEST(test_ioapic_entry_read_only_bits),
	        TEST(test_ioapic_extended_destination),
	        TEST(test_ioapic_narrow_and_wide_access),
	        TEST(test_ioapic_message_fields),
	        TEST(test_ioapic_edge_sends_on_rise_only),
	        TEST(test_ioapic_masked_edge_is_not_replayed),
	        TEST(test_ioapic_polarity_is_stored_only),
	        TEST(test_ioapic_level_redelivered_on_eoi),
	        TEST(test_ioapic_remote_irr_holds_back_a_new_rise),
	        TEST(test_ioapic_eoi_reaches_all_pins_of_the_vector),
	        TEST(test_ioapic_nobody_accepts),
	        TEST(test_ioapic_unmask_delivers_pending_level),
	        TEST(test_ioapic_edge_clears_remote_irr),
	        TEST(test_ioapic_special_modes_are_edges),
	        TEST(test_ioapic_reserved_modes_send_nothing),
	        TEST(test_ioapic_eoi_register_by_version),
	        TEST(test_ioapic_livelock_guard),
	        TEST(test_ioapic_livelock_count_is_in_a_row),
	        TEST(test_ioapic_delayed_pin_served_meanwhile),
	        TEST(test_ioapic_reset_keeps_lines),
	        TEST(test_ioapic_end_of_interrupt_is_told),
	        TEST(test_ioapic_unserved_by_remote_irr),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
