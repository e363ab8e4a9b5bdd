/* SPDX-License-Identifier: BSD-2-Clause */
/* Who answers at an address, and what happens at the borders. */
#include "core/bus.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "postern/port.h"

void port_panic(const char *fmt, ...)
{
	mock_assert(false, fmt, __FILE__, __LINE__);
	abort();
}

/* A device that holds bytes and remembers how it was accessed. */
struct device {
	u8 bytes[64];
	u32 reads, writes, last_size;
	u64 last_offset;
	struct vcpu *last_vcpu;
};

static u64 device_read(void *opaque, struct vcpu *vcpu, u64 offset, u32 size)
{
	struct device *d = opaque;
	u64 value = 0;

	d->reads++;
	d->last_size = size;
	d->last_offset = offset;
	d->last_vcpu = vcpu;
	assert_true(offset + size <= sizeof(d->bytes));
	memcpy(&value, d->bytes + offset, size);
	/* A device may leave rubbish above `size`. */
	return size < 8 ? value | ~0ull << (size * 8) : value;
}

static void device_write(void *opaque, struct vcpu *vcpu, u64 offset, u32 size, u64 value)
{
	struct device *d = opaque;

	d->writes++;
	d->last_size = size;
	d->last_offset = offset;
	d->last_vcpu = vcpu;
	assert_true(offset + size <= sizeof(d->bytes));
	if (size < 8)
		assert_true(value >> (size * 8) == 0);
	memcpy(d->bytes + offset, &value, size);
}

static const struct bus_ops ops = {device_read, device_write};
static struct vcpu *const vcpu = (struct vcpu *)0x1000;

static void test_bus_routes_to_the_range(void **state)
{
	struct device a = {.bytes = {1, 2, 3, 4}}, b = {.bytes = {5, 6, 7, 8}};
	struct bus bus = {0};
	u64 value;

	(void)state;
	bus_register(&bus, 0x100, 8, &ops, &b); /* in no order */
	bus_register(&bus, 0x20, 4, &ops, &a);
	assert_true(bus_read(&bus, vcpu, 0x20, 4, &value));
	assert_int_equal(value, 0x04030201);
	assert_true(bus_read(&bus, vcpu, 0x102, 2, &value));
	assert_int_equal(value, 0x0807);
	assert_int_equal(b.last_offset, 2);
	assert_ptr_equal(b.last_vcpu, vcpu);
	assert_true(bus_write(&bus, vcpu, 0x104, 4, 0xaabbccdd11223344));
	assert_int_equal(b.bytes[4], 0x44);
	assert_int_equal(b.last_size, 4);
}

static void test_bus_unclaimed_reads_ones(void **state)
{
	struct device a = {0};
	struct bus bus = {0};
	u64 value;

	(void)state;
	assert_false(bus_read(&bus, vcpu, 0, 1, &value));
	assert_int_equal(value, 0xff);
	bus_register(&bus, 0x20, 4, &ops, &a);
	assert_false(bus_read(&bus, vcpu, 0x24, 4, &value));
	assert_int_equal(value, 0xffffffff);
	assert_false(bus_read(&bus, vcpu, 0x1c, 4, &value));
	assert_false(bus_read(&bus, vcpu, ~0ull, 8, &value));
	assert_true(value == ~0ull);
	assert_false(bus_write(&bus, vcpu, 0x24, 4, 0));
	assert_int_equal(a.reads + a.writes, 0);
}

static void test_bus_splits_across_borders(void **state)
{
	struct device a = {.bytes = {1, 2, 3, 4}}, b = {.bytes = {5, 6, 7, 8}};
	struct bus bus = {0};
	u64 value;

	(void)state;
	bus_register(&bus, 0x20, 4, &ops, &a);
	bus_register(&bus, 0x24, 4, &ops, &b);
	assert_true(bus_read(&bus, vcpu, 0x22, 4, &value));
	assert_int_equal(value, 0x06050403);
	assert_int_equal(a.last_size, 1);
	assert_true(bus_read(&bus, vcpu, 0x26, 4, &value));
	assert_int_equal(value, 0xffff0807);
	assert_true(bus_write(&bus, vcpu, 0x1e, 4, 0x44332211));
	assert_int_equal(a.bytes[0], 0x33);
	assert_int_equal(a.bytes[1], 0x44);
	assert_int_equal(a.bytes[2], 3);
	assert_true(bus_write(&bus, vcpu, 0x23, 2, 0x9988));
	assert_int_equal(a.bytes[3], 0x88);
	assert_int_equal(b.bytes[0], 0x99);
}

static void test_bus_range_at_the_end_of_the_address_space(void **state)
{
	struct device a = {.bytes = {1, 2, 3, 4}};
	struct bus bus = {0};
	u64 value;

	(void)state;
	bus_register(&bus, ~0ull - 3, 4, &ops, &a);
	assert_true(bus_read(&bus, vcpu, ~0ull - 3, 4, &value));
	assert_int_equal(value, 0x04030201);
	/* Bytes beyond the end wrap to address 0, where nobody is. */
	assert_true(bus_read(&bus, vcpu, ~0ull, 2, &value));
	assert_int_equal(value, 0xff04);
}

static void test_bus_register_refuses_overlap(void **state)
{
	struct device a = {0};
	struct bus bus = {0};
	u32 i;

	(void)state;
	bus_register(&bus, 0x20, 4, &ops, &a);
	expect_assert_failure(bus_register(&bus, 0x23, 4, &ops, &a));
	expect_assert_failure(bus_register(&bus, 0x1e, 4, &ops, &a));
	expect_assert_failure(bus_register(&bus, 0x20, 4, &ops, &a));
	expect_assert_failure(bus_register(&bus, 0, 0x1000, &ops, &a));
	expect_assert_failure(bus_register(&bus, 0x40, 0, &ops, &a));
	expect_assert_failure(bus_register(&bus, ~0ull, 2, &ops, &a));
	assert_int_equal(bus.count, 1);
	for (i = 1; i < BUS_RANGES; i++)
		bus_register(&bus, 0x1000 - i * 16, 16, &ops, &a);
	expect_assert_failure(bus_register(&bus, 0x8000, 1, &ops, &a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_bus_routes_to_the_range),
	        cmocka_unit_test(test_bus_unclaimed_reads_ones),
	        cmocka_unit_test(test_bus_splits_across_borders),
	        cmocka_unit_test(test_bus_range_at_the_end_of_the_address_space),
	        cmocka_unit_test(test_bus_register_refuses_overlap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
