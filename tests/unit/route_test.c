/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The routing table: what it refuses, lines that move with it, and its change while devices change
 * their lines. The controllers are played: they remember the level of each input.
 */
#include "tests/unit/irq_fake.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static bool input_level[16], pin_level[IOAPIC_PINS];
static u32 input_rises[16], pin_rises[IOAPIC_PINS];

/* Also called by threads, but never by two for one input: that is the rule under test. */
static void drive(bool *level, u32 *rises, bool new)
{
	if (new && !*level)
		(*rises)++;
	*level = new;
}

void extint_set_line(struct vm *vm, u32 input, bool level)
{
	assert_ptr_equal(vm, fake.vm);
	drive(&input_level[input], &input_rises[input], level);
}

void extint_pulse_line(struct vm *vm, u32 input)
{
	extint_set_line(vm, input, false);
	extint_set_line(vm, input, true);
}

bool extint_is_unserved(struct vm *vm, u32 input)
{
	(void)vm;
	(void)input;
	return false;
}

bool ioapic_is_unserved(struct vm *vm, u32 pin)
{
	(void)vm;
	(void)pin;
	return false;
}

void ioapic_set_line(struct vm *vm, u32 pin, bool level)
{
	assert_ptr_equal(vm, fake.vm);
	drive(&pin_level[pin], &pin_rises[pin], level);
}

static bool race_on;

static int setup(void **state)
{
	(void)state;
	fake_create(1);
	for (u32 i = 0; i < IOAPIC_PINS; i++) {
		pin_level[i] = false;
		pin_rises[i] = 0;
		input_level[i % 16] = false;
		input_rises[i % 16] = 0;
	}
	assert_true(route_create(fake.vm));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	race_on = false;
	route_destroy(fake.vm);
	fake_destroy();
	return 0;
}

static struct route_entry pin(u32 gsi, u32 input)
{
	return (struct route_entry){.gsi = gsi, .kind = ROUTE_IOAPIC, .input = input};
}

static struct route_entry pic(u32 gsi, u32 input)
{
	return (struct route_entry){.gsi = gsi, .kind = ROUTE_PIC, .input = input};
}

static struct route_entry msi(u32 gsi, u64 address, u32 data)
{
	return (struct route_entry){
	        .gsi = gsi, .kind = ROUTE_MSI, .address = address, .data = data};
}

static void set_one(struct route_entry entry)
{
	assert_true(route_set(fake.vm, &entry, 1));
}

static void test_route_without_a_table_goes_nowhere(void **state)
{
	(void)state;
	route_destroy(fake.vm);
	irq_set_line(fake.vm, 4, true); /* no table: nowhere */
	irq_pulse_line(fake.vm, 4);
	assert_int_equal(pin_rises[4], 0);
	assert_false(irq_is_unserved(fake.vm, 4));
	assert_true(route_create(fake.vm));
}

static void test_route_find_tells_the_table(void **state)
{
	const struct route_entry entries[] = {pin(7, 9), pic(7, 3), msi(200, 0xfee01000, 0x55)};
	struct route_entry found;

	(void)state;
	assert_true(route_set(fake.vm, entries, ARRAY_SIZE(entries)));
	assert_true(route_find(fake.vm, 7, ROUTE_IOAPIC, &found));
	assert_int_equal(found.input, 9);
	assert_true(route_find(fake.vm, 7, ROUTE_PIC, &found));
	assert_int_equal(found.input, 3);
	assert_false(route_find(fake.vm, 7, ROUTE_MSI, &found));
	assert_true(route_find(fake.vm, 200, ROUTE_MSI, &found));
	assert_int_equal(found.address, 0xfee01000);
	assert_int_equal(found.data, 0x55);
	assert_false(
	        route_find(fake.vm, 4, ROUTE_IOAPIC, &found)); /* the whole table was replaced */
	assert_false(route_find(fake.vm, ROUTE_GSIS, ROUTE_MSI, &found));
}

static void test_route_refuses_what_does_not_exist(void **state)
{
	const struct route_entry bad[][2] = {
	        {pin(ROUTE_GSIS, 3), pin(1, 1)},  /* no such line */
	        {pin(3, IOAPIC_PINS), pin(1, 1)}, /* no such pin */
	        {pin(3, 0), pin(1, 1)},           /* INTR's pin */
	        {pic(3, 16), pin(1, 1)},          /* no such input */
	        {pic(3, 2), pin(1, 1)},           /* the cascade */
	        {pin(3, 5), pin(4, 5)},           /* a pin with two lines */
	        {pic(3, 5), pic(4, 5)},           /* an input with two lines */
	        {pin(3, 5), pin(3, 6)},           /* a line with two pins */
	        {msi(3, 0, 0), msi(3, 0, 1)},     /* a line with two messages */
	        {{.gsi = 3, .kind = ROUTE_MSI + 1}, pin(1, 1)},
	};

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_false(route_set(fake.vm, bad[i], 2));
		irq_set_line(fake.vm, 4, true); /* by the table that was there */
		assert_true(pin_level[4] && input_level[4]);
		irq_set_line(fake.vm, 4, false);
		assert_false(pin_level[4] || input_level[4]);
	}
	assert_int_equal(fake.eoi_exit_changes, 1); /* its creation */
}

static void test_route_msi_at_each_rise(void **state)
{
	(void)state;
	set_one(msi(255, 0xfee03000, 0x4077));
	irq_set_line(fake.vm, 255, true);
	irq_set_line(fake.vm, 255, true);
	assert_int_equal(fake.message_count, 1);
	assert_int_equal(fake.message[0].vector, 0x77);
	assert_int_equal(fake.message[0].dest, 3);
	irq_set_line(fake.vm, 255, false);
	assert_int_equal(fake.message_count, 1);
	irq_set_line(fake.vm, 255, true);
	irq_pulse_line(fake.vm, 255);
	assert_int_equal(fake.message_count, 3);
}

static void test_route_high_line_moves(void **state)
{
	(void)state;
	irq_set_line(fake.vm, 5, true);
	assert_true(pin_level[5] && input_level[5]);
	set_one(pin(5, 17));
	assert_false(pin_level[5] || input_level[5]);
	assert_true(pin_level[17]);
	irq_set_line(fake.vm, 5, false);
	assert_false(pin_level[17]);
	assert_int_equal(pin_rises[17], 1);
}

/* What stays as it was sees no edge. */
static void test_route_unchanged_line_is_left_alone(void **state)
{
	const struct route_entry entries[] = {pin(5, 5), pin(6, 18)};

	(void)state;
	irq_set_line(fake.vm, 5, true);
	assert_true(route_set(fake.vm, entries, ARRAY_SIZE(entries)));
	assert_true(pin_level[5]);
	assert_int_equal(pin_rises[5], 1);
	assert_false(input_level[5]); /* that one is gone */
	assert_int_equal(pin_rises[18], 0);
}

static void test_route_lines_that_change_places(void **state)
{
	const struct route_entry entries[] = {pin(5, 6), pin(6, 5), pin(7, 8), pin(8, 7)};

	(void)state;
	irq_set_line(fake.vm, 5, true);
	irq_set_line(fake.vm, 8, true);
	assert_true(route_set(fake.vm, entries, ARRAY_SIZE(entries)));
	assert_false(pin_level[5]);
	assert_true(pin_level[6]);
	assert_true(pin_level[7]);
	assert_false(pin_level[8]);
}

static void test_route_no_route_and_back(void **state)
{
	(void)state;
	irq_set_line(fake.vm, 9, true);
	assert_true(route_set(fake.vm, NULL, 0));
	assert_false(pin_level[9] || input_level[9]);
	irq_set_line(fake.vm, 9, false);
	irq_set_line(fake.vm, 9, true);
	assert_false(pin_level[9]);
	route_set_isa(fake.vm);
	assert_true(pin_level[9] && input_level[9]); /* the device still asks */
}

/* ---- devices and a changing table at once ---- */

/* As in apic_map_test.c: threads stop in the middle of things. */
static __thread u32 race_state;

void race_hook_point(const volatile void *addr, enum race_kind kind)
{
	(void)addr;
	(void)kind;
	if (!race_on)
		return;
	race_state = race_state * 1664525 + 1013904223;
	if (race_state >> 28 == 0)
		sched_yield();
}

#define DEVICES 3
#define ROUNDS  3000

/*
 * The real controllers have locks; here two threads may be in one input at a time, only briefly, and
 * its final level is what is looked at. Each device ends at a level of its own.
 */
static void *device(void *arg)
{
	u32 gsi = (u32)(uintptr_t)arg;

	for (u32 i = 0; i < ROUNDS; i++)
		irq_set_line(fake.vm, gsi, i % 2);
	irq_set_line(fake.vm, gsi, gsi % 2);
	return NULL;
}

static struct atomic32 stop;

static void *rewire(void *unused)
{
	u32 i = 0;

	(void)unused;
	do { /* once at least, however late this thread begins */
		struct route_entry entries[DEVICES];

		for (u32 gsi = 0; gsi < DEVICES; gsi++)
			entries[gsi] = pin(gsi, 3 + (gsi + i) % 5);
		assert_true(route_set(fake.vm, entries, DEVICES));
		i++;
	} while (!atomic32_read(&stop));
	return NULL;
}

/* Many changes, real threads; every order of a few steps: tests/race/route.c. */
static void test_route_change_against_delivery(void **state)
{
	(void)state;
	race_on = true;
	for (u32 round = 0; round < 20; round++) {
		pthread_t threads[DEVICES], other;
		u32 high = 0;

		atomic32_set(&stop, 0);
		assert_int_equal(pthread_create(&other, NULL, rewire, NULL), 0);
		for (u32 i = 0; i < DEVICES; i++)
			assert_int_equal(
			        pthread_create(&threads[i], NULL, device, (void *)(uintptr_t)i), 0);
		for (u32 i = 0; i < DEVICES; i++)
			pthread_join(threads[i], NULL);
		atomic32_set(&stop, 1);
		pthread_join(other, NULL);
		/* Each pin has the level of the line that is routed to it, others none. */
		for (u32 i = 0; i < DEVICES; i++) {
			struct route_entry entry;

			assert_true(route_find(fake.vm, i, ROUTE_IOAPIC, &entry));
			assert_int_equal(pin_level[entry.input], i % 2);
		}
		for (u32 i = 0; i < IOAPIC_PINS; i++)
			high += pin_level[i];
		assert_int_equal(high, DEVICES / 2);
	}
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	        TEST(test_route_without_a_table_goes_nowhere),
	        TEST(test_route_find_tells_the_table),
	        TEST(test_route_refuses_what_does_not_exist),
	        TEST(test_route_msi_at_each_rise),
	        TEST(test_route_high_line_moves),
	        TEST(test_route_unchanged_line_is_left_alone),
	        TEST(test_route_lines_that_change_places),
	        TEST(test_route_no_route_and_back),
	        TEST(test_route_change_against_delivery),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
