/* SPDX-License-Identifier: BSD-2-Clause */
/* Whom a message reaches: the APIC-ID map, against the manual's rules and against a plain scan. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "irq/inhibit.h"
#include "irq/lapic_priv.h"
#include "tests/unit/irq_fake.h"
#include "x86/apic.h"
#include "x86/msr.h"

#define X2MSR(offset) (MSR_X2APIC_FIRST + (offset) / 16)
#define FLAT          0xffffffffu
#define CLUSTER       0x0fffffffu
#define EVERYBODY     0xffffffffu

/* Reasons that the map has given, and those of them that stand. */
static u32 given, standing;

void inhibit_change(struct vm *vm, u32 reasons, u32 stand)
{
	assert_ptr_equal(vm, fake.vm);
	given |= stand;
	standing = (standing & ~reasons) | (stand & reasons);
}

static struct vcpu *cpu(u32 i)
{
	return fake.vm->vcpu[i];
}

static void wr(u32 i, u32 offset, u32 value)
{
	lapic_mmio_write(cpu(i), offset, 4, value);
}

static void set_base(u32 i, u64 bits)
{
	assert_true(lapic_msr_write(cpu(i), MSR_APIC_BASE, APIC_BASE_DEFAULT | bits));
}

static void to_x2apic(u32 i)
{
	set_base(i, APIC_BASE_EN | APIC_BASE_EXTD);
}

static void set_logical(u32 i, u32 dfr, u8 ldr)
{
	wr(i, APIC_DFR, dfr);
	wr(i, APIC_LDR, (u32)ldr << 24);
}

static u64 find(u32 dest, bool logical, bool x2apic_format)
{
	struct irq_message message = {
	        .dest = dest,
	        .logical = logical,
	        .x2apic_format = x2apic_format,
	};

	return apic_map_destinations(fake.vm, &message);
}

static u64 physical8(u32 dest)
{
	return find(dest, false, false);
}

static u64 physical32(u32 dest)
{
	return find(dest, false, true);
}

static u64 logical8(u32 dest)
{
	return find(dest, true, false);
}

static u64 logical32(u32 dest)
{
	return find(dest, true, true);
}

static int setup(void **state)
{
	(void)state;
	fake_create(8);
	given = standing = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_destroy();
	return 0;
}

static void test_lapic_map_physical_xapic(void **state)
{
	(void)state;
	for (u32 id = 0; id < 0xff; id++)
		assert_true(physical8(id) == (id < 8 ? BIT64(id) : 0));
	assert_true(physical8(0xff) == 0xff);
	assert_true(physical32(EVERYBODY) == 0xff);
}

static void test_lapic_map_follows_a_changed_id(void **state)
{
	(void)state;
	wr(3, APIC_ID, 0x42000000);
	assert_true(physical8(3) == 0);
	assert_true(physical8(0x42) == BIT64(3));
	wr(4, APIC_ID, 0x42000000); /* two with one ID: both */
	assert_true(physical8(0x42) == (BIT64(3) | BIT64(4)));
}

static void test_lapic_map_logical_flat(void **state)
{
	(void)state;
	for (u32 i = 0; i < 8; i++)
		set_logical(i, FLAT, (u8)BIT(i));
	for (u32 mda = 0; mda < 256; mda++)
		assert_true(logical8(mda) == mda);
	set_logical(7, FLAT, 0x81);
	assert_true(logical8(0x01) == 0x81);
}

static void test_lapic_map_logical_cluster(void **state)
{
	(void)state;
	for (u32 i = 0; i < 8; i++)
		set_logical(i, CLUSTER, (u8)(i / 4 << 4 | BIT(i % 4)));
	assert_true(logical8(0x03) == 0x03);
	assert_true(logical8(0x15) == 0x50);
	assert_true(logical8(0x2f) == 0);
	assert_true(logical8(0x10) == 0);
	assert_true(logical8(0xff) == 0xff);
}

static void test_lapic_map_undefined_dfr_is_unreachable(void **state)
{
	(void)state;
	set_logical(0, 0x7fffffff, 0x01);
	assert_true(logical8(0x01) == 0);
	assert_true(physical8(0) == 1);
}

static void test_lapic_map_flat_and_cluster_together(void **state)
{
	(void)state;
	set_logical(0, FLAT, 0x02);
	set_logical(1, CLUSTER, 0x02);
	set_logical(2, CLUSTER, 0x12);
	assert_true(logical8(0x02) == 0x3);
	assert_true(logical8(0x12) == 0x5);
}

static void test_lapic_map_x2apic_physical(void **state)
{
	static const u32 ids[] = {0, 5, 0xfe, 0xff, 0x100, 0x12345};

	(void)state;
	fake_destroy();
	fake_create_with_ids(ARRAY_SIZE(ids), ids);
	for (u32 i = 0; i < ARRAY_SIZE(ids); i++)
		to_x2apic(i);
	for (u32 i = 0; i < ARRAY_SIZE(ids); i++)
		assert_true(physical32(ids[i]) == BIT64(i));
	assert_true(physical32(0x101) == 0);
	assert_true(physical32(0x12300) == 0);
	assert_true(physical32(EVERYBODY) == 0x3f);
	assert_true(physical8(5) == BIT64(1));
	assert_true(physical8(0xff) == 0x3f); /* of 8 bits, FFh is the broadcast */
}

/* Cluster and bit are of bits 19:0: large IDs share them. By their IDs they are apart. */
static void test_lapic_map_x2apic_large_ids(void **state)
{
	static const u32 ids[] = {0, 0x100000, 300, 0xfff0012c, 0xfffffffe, 0xffffe};

	(void)state;
	fake_destroy();
	fake_create_with_ids(ARRAY_SIZE(ids), ids);
	for (u32 i = 0; i < ARRAY_SIZE(ids); i++)
		to_x2apic(i);
	for (u32 i = 0; i < ARRAY_SIZE(ids); i++) {
		assert_int_equal(find(ids[i], false, true), BIT64(i));
		assert_int_equal(find(lapic_register(&cpu(i)->lapic, APIC_LDR), true, true),
		                 BIT64(i) | BIT64(i ^ 1));
	}
	assert_int_equal(find(EVERYBODY, false, true), 0x3f);
	assert_int_equal(find(0xff, false, false), 0x3f);
}

/* In xAPIC mode the low 8 bits are all there is of an ID. */
static void test_lapic_map_xapic_large_ids(void **state)
{
	static const u32 ids[] = {0x2c, 300, 0xffffff01};

	(void)state;
	fake_destroy();
	fake_create_with_ids(ARRAY_SIZE(ids), ids);
	assert_int_equal(lapic_register(&cpu(1)->lapic, APIC_ID), 0x2c000000);
	assert_int_equal(find(0x2c, false, false), 3);
	assert_int_equal(find(1, false, false), 4);
}

static void test_lapic_map_x2apic_logical(void **state)
{
	static const u32 ids[] = {0x30, 0x32, 0x3f, 0x123, 0x124};

	(void)state;
	fake_destroy();
	fake_create_with_ids(ARRAY_SIZE(ids), ids);
	for (u32 i = 0; i < ARRAY_SIZE(ids); i++)
		to_x2apic(i);
	assert_true(logical32(0x00030005) == 0x03);
	assert_true(logical32(0x00038000) == 0x04);
	assert_true(logical32(0x00120018) == 0x18);
	assert_true(logical32(0x0003ffff) == 0x07);
	assert_true(logical32(0x00040001) == 0);
	assert_true(logical32(EVERYBODY) == 0x1f);
}

static void test_lapic_map_mixed_modes(void **state)
{
	(void)state;
	to_x2apic(0);
	to_x2apic(1);
	set_logical(2, FLAT, 0x01);
	assert_true(physical32(1) == BIT64(1));
	assert_true(physical32(2) == BIT64(2));
	assert_true(physical8(1) == BIT64(1));
	/* Cluster 0, bit 0 to those in x2APIC mode; the flat model's bit 0 to vCPU 2. */
	assert_true(logical8(0x01) == (BIT64(0) | BIT64(2)));
	assert_true(physical8(0xff) == 0xff);
	assert_true(physical32(EVERYBODY) == 0xff);
}

/* A change of mode is two stores: whoever builds a map between them takes none of it for another ID. */
static void test_lapic_map_in_the_midst_of_a_change_of_mode(void **state)
{
	struct lapic *lapic = &cpu(3)->lapic;

	(void)state;
	atomic64_set(&lapic->base, APIC_BASE_DEFAULT | APIC_BASE_EN | APIC_BASE_EXTD);
	apic_map_rebuild(fake.vm);
	assert_true(physical32(3) == BIT64(3));
	assert_true(physical32(3u << 24) == BIT64(0)); /* which sees 8 bits of it */
	lapic_load_identity(lapic);
	apic_map_rebuild(fake.vm);
	assert_true(physical32(3) == BIT64(3));
	assert_int_equal(given, 0);
	/* What is another ID is told. */
	wr(4, APIC_ID, 0x42000000);
	assert_int_equal(standing, INHIBIT_BIT(APIC_ID_MODIFIED));
	wr(4, APIC_ID, 0x05000000);
	assert_int_equal(standing,
	                 INHIBIT_BIT(APIC_ID_MODIFIED) | INHIBIT_BIT(PHYSICAL_ID_ALIASED));
	wr(4, APIC_ID, 0x04000000);
	assert_int_equal(standing, 0);
}

static void test_lapic_map_disabled_is_no_destination(void **state)
{
	struct irq_message all = {.shorthand = APIC_DEST_ALL};

	(void)state;
	set_base(5, 0);
	assert_true(physical8(5) == 0);
	assert_true(physical8(0xff) == 0xdf);
	assert_true(apic_map_destinations(fake.vm, &all) == 0xdf);
	set_base(5, APIC_BASE_EN);
	assert_true(physical8(5) == BIT64(5));
}

static void test_lapic_map_software_enabled(void **state)
{
	(void)state;
	assert_true(apic_map_software_enabled(fake.vm) == 0);
	wr(1, APIC_SVR, APIC_SVR_ENABLE | 0xff);
	wr(6, APIC_SVR, APIC_SVR_ENABLE | 0xff);
	assert_true(apic_map_software_enabled(fake.vm) == (BIT64(1) | BIT64(6)));
	wr(1, APIC_SVR, 0xff);
	assert_true(apic_map_software_enabled(fake.vm) == BIT64(6));
	assert_true(physical8(1) == BIT64(1)); /* a destination all the same: NMI, INIT */
}

static void test_lapic_map_shorthands(void **state)
{
	struct irq_message message = {.sender = cpu(3), .shorthand = APIC_DEST_SELF};

	(void)state;
	assert_true(apic_map_destinations(fake.vm, &message) == 0x08);
	message.shorthand = APIC_DEST_ALL;
	assert_true(apic_map_destinations(fake.vm, &message) == 0xff);
	message.shorthand = APIC_DEST_OTHERS;
	assert_true(apic_map_destinations(fake.vm, &message) == 0xf7);
}

static void test_lapic_map_64_vcpus(void **state)
{
	(void)state;
	fake_destroy();
	fake_create(MAX_VCPUS);
	assert_true(physical8(63) == BIT64(63));
	assert_true(physical8(0xff) == ~0ull);
	for (u32 i = 0; i < MAX_VCPUS; i++)
		to_x2apic(i);
	for (u32 c = 0; c < MAX_VCPUS / 16; c++)
		assert_true(logical32(c << 16 | 0xffff) == 0xffffull << (c * 16));
}

static void test_lapic_map_before_creation_reaches_nobody(void **state)
{
	(void)state;
	apic_map_destroy(fake.vm);
	assert_true(physical8(0) == 0);
	assert_true(apic_map_software_enabled(fake.vm) == 0);
	apic_map_rebuild(fake.vm);
	assert_true(physical8(0) == 0);
}

/* ---- against a scan of all APICs, each comparing as the manual says ---- */

static bool scan_matches(u32 i, u32 dest, bool logical, bool x2apic_format)
{
	u64 base = cpu(i)->lapic.base.v;
	u32 ldr = lapic_register(&cpu(i)->lapic, APIC_LDR);
	u32 dfr = lapic_register(&cpu(i)->lapic, APIC_DFR);
	u32 mda = dest & 0xff;

	if (!(base & APIC_BASE_EN))
		return false;
	if (!x2apic_format && mda == 0xff)
		return true;
	if (x2apic_format && dest == EVERYBODY)
		return true;
	if (base & APIC_BASE_EXTD) {
		if (!logical)
			return dest == cpu(i)->apic_id;
		return dest >> 16 == ldr >> 16 && (dest & ldr & 0xffff);
	}
	if (mda == 0xff)
		return true;
	if (!logical)
		return mda == lapic_register(&cpu(i)->lapic, APIC_ID) >> 24;
	if (dfr >> 28 == 0xf)
		return mda & ldr >> 24;
	return dfr >> 28 == 0 && mda >> 4 == ldr >> 28 && (mda & ldr >> 24 & 0xf);
}

static u32 random_state;

static u32 random_below(u32 n)
{
	random_state = random_state * 1664525 + 1013904223;
	return (random_state >> 8) % n;
}

static void change_something(u32 vcpus)
{
	static const u32 models[] = {FLAT, CLUSTER, 0x5fffffff};
	u32 i = random_below(vcpus);

	switch (random_below(4)) {
	case 0:
		wr(i, APIC_ID, random_below(32) << 24);
		break;
	case 1:
		set_logical(i, models[random_below(3)], (u8)random_below(256));
		break;
	case 2:
		/* Any of the transitions; those that are not legal change nothing. */
		(void)!lapic_msr_write(cpu(i), MSR_APIC_BASE,
		                       APIC_BASE_DEFAULT | random_below(4) * APIC_BASE_EXTD);
		break;
	default:
		lapic_reset(cpu(i), random_below(2));
		break;
	}
}

static void test_lapic_map_equals_a_scan(void **state)
{
	static const u32 ids[] = {0, 1, 2, 3, 0x11, 0x1f, 0x20, 0xfe, 0x101, 0x10203};
	static const u32 highs[] = {0, 0, 0, 0x100, 0x10000, 0x100000, 0x10200000, 0xffffff00};

	(void)state;
	fake_destroy();
	fake_create_with_ids(ARRAY_SIZE(ids), ids);
	random_state = 1;
	for (u32 round = 0; round < 20000; round++) {
		u32 dest = random_below(256) | highs[random_below(ARRAY_SIZE(highs))];
		bool logical = random_below(2), wide = random_below(2);
		u64 expected = 0;

		change_something(ARRAY_SIZE(ids));
		if (!wide)
			dest &= 0xff;
		for (u32 i = 0; i < ARRAY_SIZE(ids); i++)
			expected |= scan_matches(i, dest, logical, wide) ? BIT64(i) : 0;
		assert_true(find(dest, logical, wide) == expected);
	}
}

/* ---- readers and builders at once ---- */

/*
 * Called before every atomic access (port/posix/race_point.h): threads that stop in the middle of
 * things meet states that they would not meet in years.
 */
static __thread u32 race_state;
static bool race_on;

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

static int setup_race(void **state)
{
	int result = setup(state);

	race_on = true;
	return result;
}

static int teardown_race(void **state)
{
	race_on = false;
	return teardown(state);
}

#define READERS 2
#define READS   20000
static struct atomic32 stop;

/* vCPU 1's ID is 41h or 42h at any time, and vCPU 2's always 2: a torn map would show neither. */
static void *read_map(void *unused)
{
	u64 wrong = 0;

	(void)unused;
	for (u32 i = 0; i < READS; i++) {
		wrong += physical8(2) != BIT64(2);
		wrong += physical8(0x43) != 0;
		wrong += physical8(0xff) != 0xff;
	}
	return (void *)(uintptr_t)wrong;
}

static void *change_id(void *unused)
{
	(void)unused;
	for (u32 i = 0; !atomic32_read(&stop); i++)
		wr(1, APIC_ID, i % 2 ? 0x41000000 : 0x42000000);
	return NULL;
}

static void *change_ldr(void *unused)
{
	(void)unused;
	for (u32 i = 0; !atomic32_read(&stop); i++)
		wr(4, APIC_LDR, i << 24);
	return NULL;
}

static void test_lapic_map_readers_survive_rebuilds(void **state)
{
	pthread_t reader[READERS], builder[2];

	(void)state;
	atomic32_set(&stop, 0);
	assert_int_equal(pthread_create(&builder[0], NULL, change_id, NULL), 0);
	assert_int_equal(pthread_create(&builder[1], NULL, change_ldr, NULL), 0);
	for (u32 i = 0; i < READERS; i++)
		assert_int_equal(pthread_create(&reader[i], NULL, read_map, NULL), 0);
	for (u32 i = 0; i < READERS; i++) {
		void *wrong;

		pthread_join(reader[i], &wrong);
		assert_null(wrong);
	}
	atomic32_set(&stop, 1);
	pthread_join(builder[0], NULL);
	pthread_join(builder[1], NULL);
	for (u32 i = 0; i < PUBLISH_COPIES; i++)
		assert_int_equal(atomic32_read(&fake.vm->apic_map.publish.readers[i]), 0);
	/* Whoever was last, both changes are in. */
	assert_true(physical8(lapic_register(&cpu(1)->lapic, APIC_ID) >> 24) == BIT64(1));
}

/*
 * A request is never left behind by the acknowledgement of the last one in its word: two senders of
 * one word each, both in the way of the owner's summary bit.
 */
#define REQUESTS 30000
#define PATIENCE 2000000

static void *send_requests(void *vector)
{
	struct lapic *lapic = &cpu(0)->lapic;
	u8 v = (u8)(uintptr_t)vector;
	struct atomic32 *irr = (struct atomic32 *)(void *)(lapic->page + APIC_IRR + v / 32 * 16);

	for (u32 i = 0; i < REQUESTS; i++) {
		/* The one before has been taken: so each has to be found for itself. */
		while (atomic32_read(irr) & BIT(v % 32))
			sched_yield();
		lapic_accept(lapic, v, false, IRQ_SOURCE_IPI);
	}
	return NULL;
}

static void test_lapic_no_request_is_lost_to_an_ack(void **state)
{
	pthread_t sender[2];
	u32 idle = 0;

	(void)state;
	wr(0, APIC_SVR, APIC_SVR_ENABLE | 0xff);
	for (uintptr_t i = 0; i < 2; i++)
		assert_int_equal(
		        pthread_create(&sender[i], NULL, send_requests, (void *)(0x41 + i)), 0);
	for (u32 taken = 0; taken < 2 * REQUESTS;) {
		int vector = lapic_deliverable(cpu(0));

		if (vector < 0) {
			sched_yield();
			assert_true(++idle < PATIENCE);
			continue;
		}
		idle = 0;
		lapic_ack(cpu(0), (u8)vector);
		wr(0, APIC_EOI, 0);
		taken++;
	}
	for (u32 i = 0; i < 2; i++)
		pthread_join(sender[i], NULL);
	assert_int_equal(lapic_deliverable(cpu(0)), -1);
}

#define R(name) cmocka_unit_test_setup_teardown(name, setup_race, teardown_race)
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	/* clang-format off */
	static const struct CMUnitTest tests[] = {
		T(test_lapic_map_physical_xapic),
		T(test_lapic_map_follows_a_changed_id),
		T(test_lapic_map_logical_flat),
		T(test_lapic_map_logical_cluster),
		T(test_lapic_map_undefined_dfr_is_unreachable),
		T(test_lapic_map_flat_and_cluster_together),
		T(test_lapic_map_x2apic_physical),
		T(test_lapic_map_x2apic_logical),
		T(test_lapic_map_x2apic_large_ids),
		T(test_lapic_map_xapic_large_ids),
		T(test_lapic_map_mixed_modes),
		T(test_lapic_map_in_the_midst_of_a_change_of_mode),
		T(test_lapic_map_disabled_is_no_destination),
		T(test_lapic_map_software_enabled),
		T(test_lapic_map_shorthands),
		T(test_lapic_map_64_vcpus),
		T(test_lapic_map_before_creation_reaches_nobody),
		T(test_lapic_map_equals_a_scan),
		R(test_lapic_map_readers_survive_rebuilds),
		R(test_lapic_no_request_is_lost_to_an_ack),
	};
	/* clang-format on */

	return cmocka_run_group_tests(tests, NULL, NULL);
}
