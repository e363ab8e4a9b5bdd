/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Remapping hardware: what a device's message becomes, by each field of its entry and of its descriptor; the faults; the
 * cache and the queue that invalidates it. Intel's specification of directed I/O, "Interrupt Remapping", "Interrupt
 * Posting".
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "cpu_model/vtd.h"
#include "postern/port.h"

#define BASE    0x340000000ull /* above 4 GiB: addresses have an upper half */
#define WIDTH   40
#define NOWHERE (BASE - PAGE_SIZE)
#define INDEX   5
#define SOURCE  0x0120u
#define VECTOR  0x91
#define NV      0xf4
#define HOST    0x123u
#define SIZE    4 /* of the table: 32 entries */
#define FAULT   0x200u

enum {
	TABLE_PAGE,
	DESC_PAGE,
	QUEUE_PAGE,
	STATUS_PAGE,
	PAGES
};

static u8 memory[PAGES][PAGE_SIZE] __aligned(4096);
static struct vtd vtd;
static struct vtd_interrupt sent[4];
static u32 sends;

void *hpa_to_ptr(hpa_t hpa)
{
	assert_in_range(hpa.v, BASE, BASE + sizeof(memory) - 1);
	return &memory[0][0] + (hpa.v - BASE);
}

static u64 page(u32 which)
{
	return BASE + which * PAGE_SIZE;
}

static void on_deliver(void *context, const struct vtd_interrupt *interrupt)
{
	assert_ptr_equal(context, &vtd);
	assert_true(sends < ARRAY_SIZE(sent));
	sent[sends++] = *interrupt;
}

static struct pi_desc *desc(void)
{
	return (void *)memory[DESC_PAGE];
}

static void put(u32 index, u64 low, u64 high)
{
	struct atomic128 *table = (void *)memory[TABLE_PAGE];

	table[index].v[0] = low;
	table[index].v[1] = high;
}

static u64 posted_low(void)
{
	return VTD_IRTE_PRESENT | VTD_IRTE_POSTED | VTD_IRTE_VECTOR(VECTOR) |
	       VTD_IRTE_DESC_LOW(page(DESC_PAGE));
}

static u64 posted_high(void)
{
	return VTD_IRTE_DESC_HIGH(page(DESC_PAGE)) | VTD_IRTE_VERIFY_ID | VTD_IRTE_SOURCE(SOURCE);
}

static u64 remapped_low(void)
{
	return VTD_IRTE_PRESENT | VTD_IRTE_VECTOR(VECTOR) | VTD_IRTE_DEST(HOST);
}

static int setup(void **state __unused)
{
	memset(memory, 0, sizeof(memory));
	memset(&vtd, 0, sizeof(vtd));
	vtd_reset(&vtd);
	vtd.width = WIDTH;
	vtd.memory_start = BASE;
	vtd.memory_end = BASE + sizeof(memory);
	vtd.deliver = on_deliver;
	vtd.context = &vtd;
	vtd_write(&vtd, VTD_IRTA, page(TABLE_PAGE) | VTD_IRTA_EIME | VTD_IRTA_SIZE(SIZE));
	vtd_write(&vtd, VTD_GCMD, VTD_SIRTP);
	vtd_write(&vtd, VTD_IQA, page(QUEUE_PAGE));
	vtd_write(&vtd, VTD_GCMD, VTD_QIE);
	vtd_write(&vtd, VTD_GCMD, VTD_QIE | VTD_IRE);
	desc()->control.v = PI_TO(NV, HOST);
	put(INDEX, posted_low(), posted_high());
	sends = 0;
	return 0;
}

static enum vtd_fault message(u32 index)
{
	return vtd_message(&vtd, SOURCE, VTD_MESSAGE_ADDRESS(index), 0);
}

static bool is_posted(u8 vector)
{
	return desc()->pir[vector / 64].v & BIT64(vector % 64);
}

static void expect_nothing(enum vtd_fault found, enum vtd_fault fault)
{
	assert_int_equal(found, fault);
	assert_int_equal(sends, 0);
	for (u32 i = 0; i < 4; i++)
		assert_int_equal(desc()->pir[i].v, 0);
	assert_int_equal(vtd.counts[VTD_POSTED] + vtd.counts[VTD_REMAPPED], 0);
}

/* And the record of it. */
static void expect_fault(u64 low, u64 high, enum vtd_fault fault)
{
	setup(NULL);
	put(INDEX, low, high);
	expect_nothing(message(INDEX), fault);
	assert_int_equal(vtd_read(&vtd, VTD_FSTS), VTD_FSTS_PENDING);
	assert_int_equal(vtd_read(&vtd, FAULT) >> 48, INDEX);
	assert_int_equal(VTD_FAULT_REASON(vtd_read(&vtd, FAULT + 8)), fault);
	assert_int_equal(VTD_FAULT_SOURCE_ID(vtd_read(&vtd, FAULT + 8)), SOURCE);
}

/* --- posting --- */

static void test_post(void **state __unused)
{
	assert_int_equal(message(INDEX), VTD_FAULT_NONE);
	assert_true(is_posted(VECTOR));
	assert_int_equal(sends, 1);
	/* By the descriptor, not by the entry. */
	assert_int_equal(sent[0].dest, HOST);
	assert_int_equal(sent[0].vector, NV);
	assert_int_equal(sent[0].mode, 0);
	assert_false(sent[0].logical || sent[0].redirect || sent[0].level);
	assert_int_equal(desc()->control.v, PI_TO(NV, HOST) | PI_ON);
	/* Nobody has looked yet: it is there, and nobody is told again. */
	assert_int_equal(message(INDEX), VTD_FAULT_NONE);
	assert_int_equal(sends, 1);
	assert_int_equal(vtd.counts[VTD_POSTED], 2);
	assert_int_equal(vtd.counts[VTD_COALESCED], 1);
	assert_int_equal(vtd.counts[VTD_NOTIFIED], 1);
}

/* The bit was there, ON was not: told all the same. */
static void test_post_again(void **state __unused)
{
	desc()->pir[VECTOR / 64].v = BIT64(VECTOR % 64);
	message(INDEX);
	assert_int_equal(sends, 1);
	assert_int_equal(vtd.counts[VTD_COALESCED], 1);
}

static void test_each_vector(void **state __unused)
{
	for (u32 vector = 0; vector < 256; vector++) {
		setup(NULL);
		put(INDEX, (posted_low() & ~VTD_IRTE_VECTOR(0xff)) | VTD_IRTE_VECTOR(vector),
		    posted_high());
		assert_int_equal(message(INDEX), VTD_FAULT_NONE);
		for (u32 other = 0; other < 256; other++)
			assert_int_equal(is_posted((u8)other), other == vector);
	}
}

static void test_suppressed(void **state __unused)
{
	desc()->control.v |= PI_SN;
	assert_int_equal(message(INDEX), VTD_FAULT_NONE);
	assert_true(is_posted(VECTOR));
	assert_int_equal(sends, 0);
	/* ON is not set either: whoever clears SN looks at PIR. */
	assert_int_equal(desc()->control.v, PI_TO(NV, HOST) | PI_SN);
}

static void test_urgent(void **state __unused)
{
	put(INDEX, posted_low() | VTD_IRTE_URGENT, posted_high());
	desc()->control.v |= PI_SN;
	message(INDEX);
	assert_int_equal(sends, 1);
	assert_int_equal(desc()->control.v, PI_TO(NV, HOST) | PI_SN | PI_ON);
	/* ON suppresses it all the same. */
	message(INDEX);
	assert_int_equal(sends, 1);
}

static void test_xapic_host(void **state __unused)
{
	vtd_write(&vtd, VTD_IRTA, page(TABLE_PAGE) | VTD_IRTA_SIZE(SIZE));
	vtd_write(&vtd, VTD_GCMD, VTD_SIRTP | VTD_QIE | VTD_IRE);
	desc()->control.v = PI_TO(NV, PI_XAPIC_ID(0x7e));
	message(INDEX);
	assert_int_equal(sent[0].dest, 0x7e);
	put(INDEX + 1, VTD_IRTE_PRESENT | VTD_IRTE_VECTOR(VECTOR) | VTD_IRTE_DEST(0x2a00), 0);
	message(INDEX + 1);
	assert_int_equal(sent[1].dest, 0x2a);
	/* Bits around an ID of 8 bits. */
	put(INDEX + 2, VTD_IRTE_PRESENT | VTD_IRTE_VECTOR(VECTOR) | VTD_IRTE_DEST(0x12a00), 0);
	assert_int_equal(message(INDEX + 2), VTD_FAULT_ENTRY);
	put(INDEX + 3, VTD_IRTE_PRESENT | VTD_IRTE_VECTOR(VECTOR) | VTD_IRTE_DEST(0x2a01), 0);
	assert_int_equal(message(INDEX + 3), VTD_FAULT_ENTRY);
}

static void test_descriptor_faults(void **state __unused)
{
	const u64 elsewhere = VTD_IRTE_PRESENT | VTD_IRTE_POSTED | VTD_IRTE_VECTOR(VECTOR);

	expect_fault(elsewhere | VTD_IRTE_DESC_LOW(NOWHERE), VTD_IRTE_DESC_HIGH(NOWHERE),
	             VTD_FAULT_DESCRIPTOR);
	expect_fault(posted_low(), posted_high() | VTD_IRTE_DESC_HIGH(BIT64(WIDTH)),
	             VTD_FAULT_DESCRIPTOR);
	for (u32 bit = 0; bit < 64; bit++) {
		bool reserved = (bit >= 2 && bit < 16) || (bit >= 24 && bit < 32);

		setup(NULL);
		desc()->control.v = BIT64(bit);
		assert_int_equal(message(INDEX), reserved ? VTD_FAULT_RESERVED : VTD_FAULT_NONE);
		assert_int_equal(is_posted(VECTOR), !reserved);
	}
}

/* --- remapping --- */

static void test_remap(void **state __unused)
{
	put(INDEX, remapped_low(), 0);
	assert_int_equal(message(INDEX), VTD_FAULT_NONE);
	assert_int_equal(sends, 1);
	assert_int_equal(sent[0].dest, HOST);
	assert_int_equal(sent[0].vector, VECTOR);
	assert_int_equal(sent[0].mode, 0);
	assert_false(sent[0].logical || sent[0].redirect || sent[0].level);
	assert_int_equal(desc()->control.v, PI_TO(NV, HOST));
	assert_int_equal(vtd.counts[VTD_REMAPPED], 1);
	put(INDEX + 1,
	    remapped_low() | VTD_IRTE_LOGICAL | VTD_IRTE_REDIRECT | VTD_IRTE_LEVEL | 1 << 5, 0);
	message(INDEX + 1);
	assert_int_equal(sent[1].mode, 1);
	assert_true(sent[1].logical && sent[1].redirect && sent[1].level);
}

/* --- the entry's checks --- */

static void test_reserved(void **state __unused)
{
	for (u32 bit = 0; bit < 128; bit++) {
		bool posted = (bit >= 2 && bit < 8) || bit == 12 || bit == 13 ||
		              (bit >= 24 && bit < 38) || (bit >= 84 && bit < 96);
		bool remapped = (bit >= 12 && bit < 15) || (bit >= 24 && bit < 32) || bit >= 84;
		u64 low = bit < 64 ? BIT64(bit) : 0, high = bit < 64 ? 0 : BIT64(bit - 64);

		if (posted)
			expect_fault(posted_low() | low, posted_high() | high, VTD_FAULT_ENTRY);
		if (remapped)
			expect_fault(remapped_low() | low, high, VTD_FAULT_ENTRY);
		/* AVAIL is nobody's business; the other fields have tests of their own. */
		if (bit < 8 || bit > 11)
			continue;
		setup(NULL);
		put(INDEX, posted_low() | low, posted_high());
		assert_int_equal(message(INDEX), VTD_FAULT_NONE);
	}
	expect_fault(remapped_low() | 3 << 5, 0, VTD_FAULT_ENTRY);
	expect_fault(remapped_low() | 6 << 5, 0, VTD_FAULT_ENTRY);
	expect_fault(remapped_low(), 3ull << 18, VTD_FAULT_ENTRY);
}

/* A unit that cannot post: the format's bit is a reserved one. */
static void test_without_posting(void **state __unused)
{
	assert_true(vtd_read(&vtd, VTD_CAP) & VTD_CAP_PI);
	assert_true(vtd_read(&vtd, VTD_ECAP) & VTD_ECAP_IR);
	vtd.cap &= ~VTD_CAP_PI;
	expect_nothing(message(INDEX), VTD_FAULT_ENTRY);
}

static void test_not_present(void **state __unused)
{
	expect_fault(posted_low() & ~VTD_IRTE_PRESENT, posted_high(), VTD_FAULT_PRESENT);
	expect_fault(0, 0, VTD_FAULT_PRESENT);
}

static void test_silent_faults(void **state __unused)
{
	put(INDEX, VTD_IRTE_FPD, 0);
	expect_nothing(message(INDEX), VTD_FAULT_PRESENT);
	put(INDEX, posted_low() | VTD_IRTE_FPD | BIT64(12), posted_high());
	expect_nothing(message(INDEX), VTD_FAULT_ENTRY);
	assert_int_equal(vtd_read(&vtd, VTD_FSTS), 0);
	assert_int_equal(vtd_read(&vtd, FAULT + 8), 0);
	assert_int_equal(vtd.counts[VTD_REFUSED], 2);
}

/* One is recorded; the next when software has taken that away. */
static void test_record(void **state __unused)
{
	message(INDEX + 1);
	message(INDEX + 2);
	assert_int_equal(vtd_read(&vtd, VTD_FSTS), VTD_FSTS_PENDING | VTD_FSTS_OVERFLOW);
	assert_int_equal(vtd_read(&vtd, FAULT) >> 48, INDEX + 1);
	vtd_write(&vtd, VTD_FSTS, VTD_FSTS_OVERFLOW);
	vtd_write(&vtd, FAULT + 8, VTD_FAULT_VALID);
	assert_int_equal(vtd_read(&vtd, VTD_FSTS), 0);
	message(INDEX + 2);
	assert_int_equal(vtd_read(&vtd, FAULT) >> 48, INDEX + 2);
}

static enum vtd_fault from(u64 verify, u16 source)
{
	setup(NULL);
	put(INDEX, remapped_low(), verify);
	return vtd_message(&vtd, source, VTD_MESSAGE_ADDRESS(INDEX), 0);
}

static void test_source(void **state __unused)
{
	static const u16 ignored[] = {0, 4, 6, 7};

	for (u32 bit = 0; bit < 16; bit++) {
		u16 other = (u16)(SOURCE ^ BIT(bit));

		assert_int_equal(from(VTD_IRTE_VERIFY_NONE, other), VTD_FAULT_NONE);
		for (u32 q = 0; q < 4; q++) {
			bool passes = ignored[q] & BIT(bit);

			assert_int_equal(
			        from(VTD_IRTE_VERIFY_ID | VTD_IRTE_QUALIFY(q) | SOURCE, other),
			        passes ? VTD_FAULT_NONE : VTD_FAULT_SOURCE);
		}
	}
	for (u32 bus = 0; bus < 256; bus++)
		assert_int_equal(from(VTD_IRTE_VERIFY_BUS | 0x2040, (u16)(bus << 8 | 0x18)),
		                 bus >= 0x20 && bus <= 0x40 ? VTD_FAULT_NONE : VTD_FAULT_SOURCE);
}

/* --- the message --- */

static void test_index(void **state __unused)
{
	const u32 entries = 2u << SIZE;

	assert_int_equal(
	        vtd_message(&vtd, SOURCE, VTD_MESSAGE_ADDRESS(INDEX - 2) | VTD_MESSAGE_SHV, 2),
	        VTD_FAULT_NONE);
	assert_true(is_posted(VECTOR));
	setup(NULL);
	put(entries - 1, posted_low(), posted_high());
	assert_int_equal(message(entries - 1), VTD_FAULT_NONE);
	setup(NULL);
	expect_nothing(message(entries), VTD_FAULT_INDEX);
	/* Bit 15 of the handle is elsewhere in the address. */
	expect_nothing(message(0x8000 | INDEX), VTD_FAULT_INDEX);
	expect_nothing(vtd_message(&vtd, SOURCE, VTD_MESSAGE_ADDRESS(INDEX), 1), VTD_FAULT_REQUEST);
	expect_nothing(
	        vtd_message(&vtd, SOURCE, VTD_MESSAGE_ADDRESS(INDEX) | VTD_MESSAGE_SHV, 0x10000),
	        VTD_FAULT_REQUEST);
}

static void test_no_table(void **state __unused)
{
	vtd_write(&vtd, VTD_IRTA, NOWHERE | VTD_IRTA_SIZE(SIZE));
	/* Written, and not taken over yet. */
	assert_int_equal(message(INDEX), VTD_FAULT_NONE);
	setup(NULL);
	vtd_write(&vtd, VTD_IRTA, NOWHERE | VTD_IRTA_SIZE(SIZE));
	vtd_write(&vtd, VTD_GCMD, VTD_SIRTP | VTD_QIE | VTD_IRE);
	expect_nothing(message(INDEX), VTD_FAULT_TABLE);
}

static void test_compatibility_format(void **state __unused)
{
	const u64 address = 0xfee07000u | BIT(3) | BIT(2);

	expect_nothing(vtd_message(&vtd, SOURCE, address, 0x8141), VTD_FAULT_BLOCKED);
	/* Let through, but not where IDs have 32 bits. */
	vtd_write(&vtd, VTD_GCMD, VTD_QIE | VTD_IRE | VTD_CFI);
	expect_nothing(vtd_message(&vtd, SOURCE, address, 0x8141), VTD_FAULT_BLOCKED);
	vtd_write(&vtd, VTD_IRTA, page(TABLE_PAGE) | VTD_IRTA_SIZE(SIZE));
	vtd_write(&vtd, VTD_GCMD, VTD_SIRTP | VTD_QIE | VTD_IRE | VTD_CFI);
	assert_int_equal(vtd_message(&vtd, SOURCE, address, 0x8141), VTD_FAULT_NONE);
	assert_int_equal(sent[0].dest, 7);
	assert_int_equal(sent[0].vector, 0x41);
	assert_int_equal(sent[0].mode, 1);
	assert_true(sent[0].logical && sent[0].redirect && sent[0].level);
	/* Without remapping all are. */
	vtd_write(&vtd, VTD_GCMD, VTD_QIE);
	assert_int_equal(vtd_message(&vtd, SOURCE, 0xfee09000u, 0x42), VTD_FAULT_NONE);
	assert_int_equal(sent[1].dest, 9);
	assert_int_equal(vtd.counts[VTD_PASSED], 2);
}

/* --- the cache, and the queue --- */

static void queue(u32 *tail, u64 low, u64 high)
{
	u64 *at = (u64 *)(void *)(memory[QUEUE_PAGE] + *tail);

	at[0] = low;
	at[1] = high;
	*tail += 16;
}

static void test_stale_until_invalidated(void **state __unused)
{
	u32 tail = 0, *status = (void *)memory[STATUS_PAGE];

	message(INDEX);
	put(INDEX, remapped_low(), 0);
	message(INDEX);
	assert_int_equal(vtd.counts[VTD_POSTED], 2);
	/* Another one's. */
	queue(&tail, VTD_INV_IEC | VTD_IEC_INDEX | VTD_IEC_OF(INDEX + 1), 0);
	vtd_write(&vtd, VTD_IQT, tail);
	message(INDEX);
	assert_int_equal(vtd.counts[VTD_POSTED], 3);
	queue(&tail, VTD_INV_IEC | VTD_IEC_INDEX | VTD_IEC_OF(INDEX), 0);
	queue(&tail, VTD_INV_WAIT | VTD_WAIT_WRITE | VTD_WAIT_VALUE(77), page(STATUS_PAGE));
	vtd_write(&vtd, VTD_IQT, tail);
	assert_int_equal(*status, 77);
	assert_int_equal(vtd_read(&vtd, VTD_IQH), tail);
	message(INDEX);
	assert_int_equal(vtd.counts[VTD_POSTED], 3);
	assert_int_equal(vtd.counts[VTD_REMAPPED], 1);
	/* All of it. */
	put(INDEX, 0, 0);
	queue(&tail, VTD_INV_IEC, 0);
	vtd_write(&vtd, VTD_IQT, tail);
	assert_int_equal(message(INDEX), VTD_FAULT_PRESENT);
	/* One that is not present is not kept. */
	put(INDEX, posted_low(), posted_high());
	assert_int_equal(message(INDEX), VTD_FAULT_NONE);
	assert_int_equal(vtd_read(&vtd, VTD_FSTS) & VTD_FSTS_QUEUE, 0);
}

static void test_queue_wraps(void **state __unused)
{
	u32 tail = PAGE_SIZE - 16, *status = (void *)memory[STATUS_PAGE];

	for (u32 i = 0; i < VTD_QUEUE_ENTRIES - 1; i++) {
		u32 at = i * 16;

		queue(&at, VTD_INV_IEC, 0);
	}
	vtd_write(&vtd, VTD_IQT, tail);
	queue(&tail, VTD_INV_WAIT | VTD_WAIT_WRITE | VTD_WAIT_VALUE(5), page(STATUS_PAGE) + 8);
	vtd_write(&vtd, VTD_IQT, 0);
	assert_int_equal(status[2], 5);
	assert_int_equal(vtd_read(&vtd, VTD_IQH), 0);
}

static void test_queue_errors(void **state __unused)
{
	u32 tail = 0;

	queue(&tail, 0xe, 0);
	vtd_write(&vtd, VTD_IQT, tail);
	assert_int_equal(vtd_read(&vtd, VTD_FSTS), VTD_FSTS_QUEUE);
	assert_int_equal(vtd_read(&vtd, VTD_IQH), 0);
	setup(NULL);
	tail = 0;
	queue(&tail, VTD_INV_WAIT | VTD_WAIT_WRITE, NOWHERE);
	vtd_write(&vtd, VTD_IQT, tail);
	assert_int_equal(vtd_read(&vtd, VTD_FSTS), VTD_FSTS_QUEUE);
	/* A queue that is off does nothing. */
	setup(NULL);
	vtd_write(&vtd, VTD_GCMD, VTD_IRE);
	tail = 0;
	message(INDEX);
	put(INDEX, 0, 0);
	queue(&tail, VTD_INV_IEC, 0);
	vtd_write(&vtd, VTD_IQT, tail);
	assert_int_equal(message(INDEX), VTD_FAULT_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup(test_post, setup),
	        cmocka_unit_test_setup(test_post_again, setup),
	        cmocka_unit_test_setup(test_each_vector, setup),
	        cmocka_unit_test_setup(test_suppressed, setup),
	        cmocka_unit_test_setup(test_urgent, setup),
	        cmocka_unit_test_setup(test_xapic_host, setup),
	        cmocka_unit_test_setup(test_descriptor_faults, setup),
	        cmocka_unit_test_setup(test_remap, setup),
	        cmocka_unit_test_setup(test_reserved, setup),
	        cmocka_unit_test_setup(test_without_posting, setup),
	        cmocka_unit_test_setup(test_not_present, setup),
	        cmocka_unit_test_setup(test_silent_faults, setup),
	        cmocka_unit_test_setup(test_record, setup),
	        cmocka_unit_test_setup(test_source, setup),
	        cmocka_unit_test_setup(test_index, setup),
	        cmocka_unit_test_setup(test_no_table, setup),
	        cmocka_unit_test_setup(test_compatibility_format, setup),
	        cmocka_unit_test_setup(test_stale_until_invalidated, setup),
	        cmocka_unit_test_setup(test_queue_wraps, setup),
	        cmocka_unit_test_setup(test_queue_errors, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
