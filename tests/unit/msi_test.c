/* SPDX-License-Identifier: BSD-2-Clause */
/* Message-signalled interrupts and the wiring of a PC's lines: irq/msi.c, irq/route.c. */
#include "tests/unit/irq_fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "x86/apic.h"

/* What reached the two controllers: '8' pair or 'A'PIC, input, level. */
struct change {
	char chip;
	u32 input;
	int level; /* 2: pulse */
};
static struct change change[8];
static u32 changes;
static u32 unserved_input, unserved_pin;

static void record(char chip, u32 input, int level)
{
	assert_in_range(changes, 0, ARRAY_SIZE(change) - 1);
	change[changes++] = (struct change){chip, input, level};
}

void extint_set_line(struct vm *vm, u32 irq, bool level)
{
	assert_ptr_equal(vm, fake.vm);
	record('8', irq, level);
}

void extint_pulse_line(struct vm *vm, u32 irq)
{
	assert_ptr_equal(vm, fake.vm);
	record('8', irq, 2);
}

bool extint_is_unserved(struct vm *vm, u32 input)
{
	(void)vm;
	return unserved_input == input;
}

bool ioapic_is_unserved(struct vm *vm, u32 pin)
{
	(void)vm;
	return unserved_pin == pin;
}

void ioapic_set_line(struct vm *vm, u32 pin, bool level)
{
	assert_ptr_equal(vm, fake.vm);
	record('A', pin, level);
}

static int setup(void **state)
{
	(void)state;
	fake_create(1);
	assert_true(route_create(fake.vm));
	changes = 0;
	unserved_input = unserved_pin = ~0u;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	route_destroy(fake.vm);
	fake_destroy();
	return 0;
}

static const struct irq_message *one_message(void)
{
	assert_int_equal(fake.message_count, 1);
	fake.message_count = 0;
	return &fake.message[0];
}

static void test_msi_fixed(void **state)
{
	const struct irq_message *m;

	(void)state;
	msi_deliver(fake.vm, 0xfee12000, 0x4a);
	m = one_message();
	assert_int_equal(m->dest, 0x12);
	assert_int_equal(m->vector, 0x4a);
	assert_int_equal(m->delivery, APIC_DM_FIXED);
	assert_int_equal(m->shorthand, APIC_DEST_FIELD);
	assert_int_equal(m->source, IRQ_SOURCE_MSI);
	assert_false(m->logical);
	assert_false(m->level);
	assert_false(m->x2apic_format);
	assert_null(m->sender);
}

static void test_msi_logical_without_hint(void **state)
{
	const struct irq_message *m;

	(void)state;
	msi_deliver(fake.vm, 0xfee03004, 0x4a);
	m = one_message();
	assert_true(m->logical);
	assert_int_equal(m->dest, 0x03);
	assert_int_equal(m->delivery, APIC_DM_FIXED);
}

static void test_msi_redirection_hint_is_lowest_priority(void **state)
{
	const struct irq_message *m;

	(void)state;
	msi_deliver(fake.vm, 0xfee0f00c, 0x4a);
	m = one_message();
	assert_true(m->logical);
	assert_int_equal(m->delivery, APIC_DM_LOWEST);
	msi_deliver(fake.vm, 0xfee0f008, 0x4a | APIC_DM_NMI);
	assert_int_equal(one_message()->delivery, APIC_DM_NMI);
}

static void test_msi_level_assert_and_deassert(void **state)
{
	(void)state;
	msi_deliver(fake.vm, 0xfee00000, 0x4a | APIC_TRIGGER_LEVEL | APIC_LEVEL_ASSERT);
	assert_true(one_message()->level);
	msi_deliver(fake.vm, 0xfee00000, 0x4a | APIC_TRIGGER_LEVEL);
	assert_int_equal(fake.message_count, 0);
	msi_deliver(fake.vm, 0xfee00000, 0x4a); /* edge: bit 14 does not matter */
	assert_false(one_message()->level);
}

static void test_msi_delivery_modes(void **state)
{
	static const u32 edge[] = {APIC_DM_SMI, APIC_DM_NMI, APIC_DM_INIT, APIC_DM_EXTINT};

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(edge); i++) {
		const struct irq_message *m;

		msi_deliver(fake.vm, 0xfee01000, edge[i] | APIC_TRIGGER_LEVEL);
		m = one_message();
		assert_int_equal(m->delivery, edge[i]);
		assert_false(m->level);
	}
	msi_deliver(fake.vm, 0xfee01000, APIC_DM_LOWEST | 0x31);
	assert_int_equal(one_message()->delivery, APIC_DM_LOWEST);
	msi_deliver(fake.vm, 0xfee01000, 3u << 8 | 0x31);
	msi_deliver(fake.vm, 0xfee01000, APIC_DM_SIPI | 0x31);
	assert_int_equal(fake.message_count, 0);
}

static void test_msi_other_addresses_are_memory(void **state)
{
	(void)state;
	msi_deliver(fake.vm, 0xfed00000, 0x31);
	msi_deliver(fake.vm, 0xfef00000, 0x31);
	msi_deliver(fake.vm, 0x1fee00000ull, 0x31);
	assert_int_equal(fake.message_count, 0);
	msi_deliver(fake.vm, 0xfee01ff3, 0xffff0031); /* reserved bits do not matter */
	assert_int_equal(one_message()->vector, 0x31);
}

/* Address bits 11:5 count in a VM with large IDs, and there only if they are not 0. */
static void test_msi_extended_destination(void **state)
{
	const struct irq_message *m;

	(void)state;
	msi_deliver(fake.vm, 0xfee2c020, 0x4a);
	m = one_message();
	assert_int_equal(m->dest, 0x2c);
	assert_false(m->x2apic_format);
	fake.vm->large_ids = true;
	msi_deliver(fake.vm, 0xfee2c020, 0x4a);
	m = one_message();
	assert_int_equal(m->dest, 0x12c);
	assert_true(m->x2apic_format);
	msi_deliver(fake.vm, 0xfeefffe0, 0x4a);
	assert_int_equal(one_message()->dest, 0x7fff);
	/* Bit 4 is interrupt remapping's, which there is not. */
	msi_deliver(fake.vm, 0xfeeff010, 0x4a);
	m = one_message();
	assert_int_equal(m->dest, 0xff);
	assert_false(m->x2apic_format);
	fake.vm->large_ids = false;
}

static void assert_change(u32 i, char chip, u32 input, int level)
{
	assert_int_equal(change[i].chip, chip);
	assert_int_equal(change[i].input, input);
	assert_int_equal(change[i].level, level);
}

static void test_route_timer_is_pin_2(void **state)
{
	(void)state;
	irq_set_line(fake.vm, 0, true);
	assert_int_equal(changes, 2);
	assert_change(0, '8', 0, 1);
	assert_change(1, 'A', 2, 1);
}

static void test_route_pulse_ends_high(void **state)
{
	(void)state;
	irq_pulse_line(fake.vm, 0);
	assert_int_equal(changes, 3);
	assert_change(0, '8', 0, 2);
	assert_change(1, 'A', 2, 0);
	assert_change(2, 'A', 2, 1);
}

static void test_route_isa_and_beyond(void **state)
{
	(void)state;
	irq_set_line(fake.vm, 4, false);
	assert_int_equal(changes, 2);
	assert_change(0, '8', 4, 0);
	assert_change(1, 'A', 4, 0);
	irq_set_line(fake.vm, 16, true);
	assert_int_equal(changes, 3);
	assert_change(2, 'A', 16, 1);
	irq_pulse_line(fake.vm, 23);
	assert_int_equal(changes, 5);
}

static void test_route_nowhere(void **state)
{
	(void)state;
	irq_set_line(fake.vm, 2, true); /* the cascade */
	irq_pulse_line(fake.vm, 2);
	irq_set_line(fake.vm, ROUTE_GSIS, true);
	irq_pulse_line(fake.vm, ~0u);
	assert_int_equal(changes, 0);
}

/* Asked of both controllers, by their own numbers. */
static void test_route_unserved(void **state)
{
	(void)state;
	assert_false(irq_is_unserved(fake.vm, 0));
	unserved_pin = 0;
	assert_false(irq_is_unserved(fake.vm, 0));
	unserved_pin = 2;
	assert_true(irq_is_unserved(fake.vm, 0));
	unserved_pin = ~0u;
	unserved_input = 0;
	assert_true(irq_is_unserved(fake.vm, 0));
	assert_false(irq_is_unserved(fake.vm, 1));
	assert_false(irq_is_unserved(fake.vm, ROUTE_GSIS));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	        TEST(test_msi_fixed),
	        TEST(test_msi_logical_without_hint),
	        TEST(test_msi_redirection_hint_is_lowest_priority),
	        TEST(test_msi_level_assert_and_deassert),
	        TEST(test_msi_delivery_modes),
	        TEST(test_msi_other_addresses_are_memory),
	        TEST(test_msi_extended_destination),
	        TEST(test_route_timer_is_pin_2),
	        TEST(test_route_pulse_ends_high),
	        TEST(test_route_isa_and_beyond),
	        TEST(test_route_nowhere),
	        TEST(test_route_unserved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
