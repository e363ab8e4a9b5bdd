/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * APIC virtualization's register access, a test for each register, direction and combination of
 * controls: SDM volume 3, "Virtualizing Memory-Mapped APIC Accesses". The list of names is the
 * table. Then the same table for every offset and size; what a write of TPR, EOI and ICR does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/vapic_fake.h"

#define VALUE 0x0c441e51u /* in ICR: neither a self-IPI nor an IPI that is virtualized */

enum controls {
	plain = 0,
	vid = FAKE_VID,
	regs = FAKE_REGS,
	both = FAKE_VID | FAKE_REGS,
};

enum expectation {
	exits, /* APIC-access exit, and nothing has happened */
	works, /* a read gives what the page has; a write is in the page, and that is all */
	traps, /* written, then an APIC-write exit */
};

/*
 * Register, offset, then read and write: with a TPR shadow alone; with virtual-interrupt delivery
 * besides; with APIC-register virtualization; with both.
 */
/* clang-format off */
#define ROWS(X) \
	X(reserved_000,  0x000, exits, exits, exits, exits, exits, exits, exits, exits) \
	X(reserved_010,  0x010, exits, exits, exits, exits, exits, exits, exits, exits) \
	X(id,            0x020, exits, exits, exits, exits, works, traps, works, traps) \
	X(version,       0x030, exits, exits, exits, exits, works, exits, works, exits) \
	X(reserved_040,  0x040, exits, exits, exits, exits, exits, exits, exits, exits) \
	X(reserved_070,  0x070, exits, exits, exits, exits, exits, exits, exits, exits) \
	X(tpr,           0x080, works, works, works, works, works, works, works, works) \
	X(apr,           0x090, exits, exits, exits, exits, exits, exits, exits, exits) \
	X(ppr,           0x0a0, exits, exits, exits, exits, exits, exits, exits, exits) \
	X(eoi,           0x0b0, exits, exits, works, works, works, traps, works, works) \
	X(remote_read,   0x0c0, exits, exits, exits, exits, exits, exits, exits, exits) \
	X(ldr,           0x0d0, exits, exits, exits, exits, works, traps, works, traps) \
	X(dfr,           0x0e0, exits, exits, exits, exits, works, traps, works, traps) \
	X(svr,           0x0f0, exits, exits, exits, exits, works, traps, works, traps) \
	X(isr_first,     0x100, exits, exits, exits, exits, works, exits, works, exits) \
	X(isr_last,      0x170, exits, exits, exits, exits, works, exits, works, exits) \
	X(tmr_first,     0x180, exits, exits, exits, exits, works, exits, works, exits) \
	X(tmr_last,      0x1f0, exits, exits, exits, exits, works, exits, works, exits) \
	X(irr_first,     0x200, exits, exits, exits, exits, works, exits, works, exits) \
	X(irr_last,      0x270, exits, exits, exits, exits, works, exits, works, exits) \
	X(esr,           0x280, exits, exits, exits, exits, works, traps, works, traps) \
	X(reserved_290,  0x290, exits, exits, exits, exits, exits, exits, exits, exits) \
	X(lvt_cmci,      0x2f0, exits, exits, exits, exits, exits, exits, exits, exits) \
	X(icr_low,       0x300, exits, exits, works, traps, works, traps, works, traps) \
	X(icr_high,      0x310, exits, exits, exits, exits, works, works, works, works) \
	X(lvt_timer,     0x320, exits, exits, exits, exits, works, traps, works, traps) \
	X(lvt_thermal,   0x330, exits, exits, exits, exits, works, traps, works, traps) \
	X(lvt_counter,   0x340, exits, exits, exits, exits, works, traps, works, traps) \
	X(lvt_lint0,     0x350, exits, exits, exits, exits, works, traps, works, traps) \
	X(lvt_lint1,     0x360, exits, exits, exits, exits, works, traps, works, traps) \
	X(lvt_error,     0x370, exits, exits, exits, exits, works, traps, works, traps) \
	X(initial_count, 0x380, exits, exits, exits, exits, works, traps, works, traps) \
	X(current_count, 0x390, exits, exits, exits, exits, exits, exits, exits, exits) \
	X(reserved_3a0,  0x3a0, exits, exits, exits, exits, exits, exits, exits, exits) \
	X(reserved_3d0,  0x3d0, exits, exits, exits, exits, exits, exits, exits, exits) \
	X(divide,        0x3e0, exits, exits, exits, exits, works, traps, works, traps) \
	X(self_ipi,      0x3f0, exits, exits, exits, exits, exits, exits, exits, exits) \
	X(beyond_400,    0x400, exits, exits, exits, exits, exits, exits, exits, exits) \
	X(beyond_480,    0x480, exits, exits, exits, exits, exits, exits, exits, exits) \
	X(beyond_ff0,    0xff0, exits, exits, exits, exits, exits, exits, exits, exits)
/* clang-format on */

static void expect_exit(struct vapic_result result, enum vapic_action action, u32 reason,
                        u64 qualification)
{
	assert_int_equal(result.action, action);
	assert_int_equal(result.reason, reason);
	assert_int_equal(result.qualification, qualification);
}

static void expect_done(struct vapic_result result)
{
	expect_exit(result, VAPIC_DONE, 0, 0);
}

static void expect_access(struct vapic_result result, u32 offset, u32 kind)
{
	expect_exit(result, VAPIC_BEFORE, VMX_EXIT_APIC_ACCESS, (u64)kind << 12 | offset);
}

static struct vapic_result read_page(u32 offset, u32 size, u64 *value)
{
	return vapic_page_read(&fake.vapic, VAPIC_DATA, offset, size, value);
}

static struct vapic_result write_page(u32 offset, u32 size, u64 value)
{
	return vapic_page_write(&fake.vapic, VAPIC_DATA, offset, size, value);
}

/* --- the table --- */

static void check_read(u32 controls, u32 offset, enum expectation expected)
{
	u64 value = 0;
	struct vapic_result result;

	vapic_fake_create(FAKE_SHADOW | controls);
	vapic_fake_set(offset, 0xa5b6c7d8);
	vapic_fake_remember();
	result = read_page(offset, 4, &value);
	if (expected == works)
		expect_done(result);
	else
		expect_access(result, offset, 0);
	assert_int_equal(value, expected == works ? 0xa5b6c7d8 : 0);
	assert_false(fake.vapic.written);
	assert_true(vapic_fake_is_untouched());
}

/* What the effect of a virtualized write leaves of it. */
static u32 kept(u32 offset)
{
	if (offset == APIC_EOI)
		return 0;
	return offset == APIC_TPR ? VALUE & 0xff : offset == APIC_ICR2 ? VALUE & 0xff000000 : VALUE;
}

static void check_write(u32 controls, u32 offset, enum expectation expected)
{
	vapic_fake_create(FAKE_SHADOW | controls);
	vapic_fake_remember();
	if (expected == exits) {
		expect_access(write_page(offset, 4, VALUE), offset, 1);
		assert_false(fake.vapic.written);
		expect_done(vapic_emulate_write(&fake.vapic));
		assert_true(vapic_fake_is_untouched());
		return;
	}
	expect_done(write_page(offset, 4, VALUE));
	assert_true(fake.vapic.written);
	assert_int_equal(vapic_fake_get(offset), VALUE);
	if (expected == traps) {
		expect_exit(vapic_emulate_write(&fake.vapic), VAPIC_AFTER, VMX_EXIT_APIC_WRITE,
		            offset);
		assert_int_equal(vapic_fake_get(offset), VALUE);
	} else {
		expect_done(vapic_emulate_write(&fake.vapic));
		assert_int_equal(vapic_fake_get(offset), kept(offset));
	}
	assert_false(fake.vapic.written);
	vapic_fake_set(offset, 0);
	vapic_fake_set(APIC_PPR, 0);
	assert_true(vapic_fake_is_untouched());
}

/* clang-format off */
#define READ_TEST(name, controls, offset, is)                                                      \
	static void test_##controls##_read_of_##name##_##is(void **state __unused)              \
	{                                                                                          \
		check_read(controls, offset, is);                                                  \
	}
#define WRITE_TEST(name, controls, offset, is)                                                     \
	static void test_##controls##_write_of_##name##_##is(void **state __unused)             \
	{                                                                                          \
		check_write(controls, offset, is);                                                 \
	}
#define X(name, offset, pr, pw, vr, vw, rr, rw, br, bw)                                            \
	READ_TEST(name, plain, offset, pr)                                                         \
	WRITE_TEST(name, plain, offset, pw)                                                        \
	READ_TEST(name, vid, offset, vr)                                                           \
	WRITE_TEST(name, vid, offset, vw)                                                          \
	READ_TEST(name, regs, offset, rr)                                                          \
	WRITE_TEST(name, regs, offset, rw)                                                         \
	READ_TEST(name, both, offset, br)                                                          \
	WRITE_TEST(name, both, offset, bw)
ROWS(X)
#undef X
/* clang-format on */

/* --- the same for every offset and size --- */

struct row {
	u32 offset;
	enum expectation is[4][2]; /* as in ROWS */
};

static const struct row rows[] = {
#define X(name, offset, pr, pw, vr, vw, rr, rw, br, bw)                                            \
	{offset, {{pr, pw}, {vr, vw}, {rr, rw}, {br, bw}}},
        ROWS(X)
#undef X
};

/*
 * A register that has no row of its own is as the one below it: the rows name both ends of each
 * range.
 */
static const struct row *row_of(u32 offset)
{
	const struct row *row = rows;

	for (u32 i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].offset <= offset)
			row = &rows[i];
	return row;
}

/* Without APIC-register virtualization the manual names offsets, with it ranges of four bytes. */
static bool completes(u32 mode, bool write, u32 offset, u32 size)
{
	const struct row *row = row_of(offset & 0xff0);

	if (size < 1 || size > 4 || (offset & 0xf) + size > 4)
		return false;
	if (mode < 2 && offset & 0xf)
		return false;
	return row->is[mode][write] != exits;
}

static void sweep(u32 mode, u32 controls)
{
	u64 value;

	vapic_fake_create(FAKE_SHADOW | controls);
	for (u32 offset = 0; offset < PAGE_SIZE; offset++)
		for (u32 size = 0; size <= 17; size++) {
			struct vapic_result read = read_page(offset, size, &value), write;

			assert_int_equal(read.action, completes(mode, false, offset, size)
			                                      ? VAPIC_DONE
			                                      : VAPIC_BEFORE);
			write = write_page(offset, size, 0);
			assert_int_equal(write.action, completes(mode, true, offset, size)
			                                       ? VAPIC_DONE
			                                       : VAPIC_BEFORE);
			assert_int_equal(fake.vapic.written, write.action == VAPIC_DONE);
			fake.vapic.written = false;
			if (read.action != VAPIC_DONE)
				expect_access(read, offset, 0);
			if (write.action != VAPIC_DONE)
				expect_access(write, offset, 1);
		}
}

static void test_every_offset_and_size_plain(void **state __unused)
{
	sweep(0, plain);
}

static void test_every_offset_and_size_with_vid(void **state __unused)
{
	sweep(1, vid);
	sweep(1, vid | FAKE_IPIV);
}

static void test_every_offset_and_size_with_registers(void **state __unused)
{
	sweep(2, regs);
}

static void test_every_offset_and_size_with_both(void **state __unused)
{
	sweep(3, both);
	sweep(3, both | FAKE_IPIV);
}

static void test_without_tpr_shadow_every_access_exits(void **state __unused)
{
	u64 value = 0;

	vapic_fake_create(0);
	vapic_fake_remember();
	for (u32 offset = 0; offset < PAGE_SIZE; offset++) {
		expect_access(read_page(offset, 4, &value), offset, 0);
		expect_access(write_page(offset, 4, 1), offset, 1);
	}
	assert_true(vapic_fake_is_untouched());
}

/* --- kinds of access --- */

static void test_a_fetch_exits_even_of_tpr(void **state __unused)
{
	u64 value = 0;

	vapic_fake_create(FAKE_SHADOW | both);
	expect_access(vapic_page_read(&fake.vapic, VAPIC_FETCH, APIC_TPR, 1, &value), APIC_TPR, 2);
}

static void test_a_read_before_a_write_exits_as_a_write(void **state __unused)
{
	u64 value = 0;

	vapic_fake_create(FAKE_SHADOW);
	expect_access(vapic_page_read(&fake.vapic, VAPIC_MODIFY, APIC_SVR, 4, &value), APIC_SVR, 1);
	expect_done(vapic_page_read(&fake.vapic, VAPIC_MODIFY, APIC_TPR, 4, &value));
}

static void test_event_delivery_is_virtualized_or_says_so(void **state __unused)
{
	u64 value = 0;

	vapic_fake_create(FAKE_SHADOW);
	vapic_fake_set(APIC_TPR, 0x31);
	expect_done(vapic_page_read(&fake.vapic, VAPIC_EVENT, APIC_TPR, 4, &value));
	assert_int_equal(value, 0x31);
	expect_access(vapic_page_read(&fake.vapic, VAPIC_EVENT, APIC_TPR, 8, &value), APIC_TPR, 3);
	expect_access(vapic_page_write(&fake.vapic, VAPIC_EVENT, APIC_ID, 4, 0), APIC_ID, 3);
	expect_done(vapic_page_write(&fake.vapic, VAPIC_EVENT, APIC_TPR, 4, 0));
}

static void test_an_access_without_linear_address_exits(void **state __unused)
{
	vapic_fake_create(FAKE_SHADOW | both);
	expect_exit(vapic_physical_access(VAPIC_DATA), VAPIC_BEFORE, VMX_EXIT_APIC_ACCESS,
	            15 << 12);
	expect_exit(vapic_physical_access(VAPIC_FETCH), VAPIC_BEFORE, VMX_EXIT_APIC_ACCESS,
	            15 << 12);
	expect_exit(vapic_physical_access(VAPIC_EVENT), VAPIC_BEFORE, VMX_EXIT_APIC_ACCESS,
	            10 << 12);
}

static void test_parts_of_a_register(void **state __unused)
{
	u64 value = 0;

	vapic_fake_create(FAKE_SHADOW | both);
	vapic_fake_set(APIC_SVR, 0x44332211);
	expect_done(read_page(APIC_SVR + 1, 2, &value));
	assert_int_equal(value, 0x3322);
	expect_done(read_page(APIC_SVR + 3, 1, &value));
	assert_int_equal(value, 0x44);
	expect_done(read_page(APIC_SVR, 3, &value));
	assert_int_equal(value, 0x332211);
	expect_done(write_page(APIC_SVR + 1, 2, 0xffffffffffffabcd));
	assert_int_equal(vapic_fake_get(APIC_SVR), 0x44abcd11);
	expect_exit(vapic_emulate_write(&fake.vapic), VAPIC_AFTER, VMX_EXIT_APIC_WRITE,
	            APIC_SVR + 1);
}

static void test_a_byte_of_tpr_is_tpr(void **state __unused)
{
	vapic_fake_create(FAKE_SHADOW | vid);
	vapic_fake_set(APIC_TPR, 0x11223344);
	expect_done(write_page(APIC_TPR, 1, 0x5a));
	assert_int_equal(vapic_fake_get(APIC_TPR), 0x1122335a);
	expect_done(vapic_emulate_write(&fake.vapic));
	assert_int_equal(vapic_fake_get(APIC_TPR), 0x5a);
	assert_int_equal(vapic_fake_get(APIC_PPR), 0x5a);
}

/* Of TPR, EOI and ICR only the offset itself has the effect. */
static void test_inner_bytes_have_no_effect_but_an_exit(void **state __unused)
{
	static const u32 offsets[] = {APIC_TPR, APIC_EOI, APIC_ICR};

	for (u32 i = 0; i < ARRAY_SIZE(offsets); i++)
		for (u32 byte = 1; byte < 4; byte++) {
			vapic_fake_create(FAKE_SHADOW | both | FAKE_IPIV);
			vapic_fake_put(APIC_ISR, 0x41);
			vapic_fake_enter(0, 0x41);
			vapic_fake_set(APIC_ICR, APIC_DEST_SELF | 0x51);
			expect_done(write_page(offsets[i] + byte, 1, byte == 2 ? 4 : 0));
			expect_exit(vapic_emulate_write(&fake.vapic), VAPIC_AFTER,
			            VMX_EXIT_APIC_WRITE, offsets[i] + byte);
			assert_true(vapic_fake_has(APIC_ISR, 0x41));
			assert_int_equal(fake.vapic.rvi, 0);
		}
}

static void test_icr_high_keeps_its_last_byte(void **state __unused)
{
	for (u32 byte = 0; byte < 4; byte++) {
		vapic_fake_create(FAKE_SHADOW | regs);
		vapic_fake_set(APIC_ICR2, 0x11223344);
		expect_done(write_page(APIC_ICR2 + byte, 1, 0x77));
		expect_done(vapic_emulate_write(&fake.vapic));
		assert_int_equal(vapic_fake_get(APIC_ICR2), byte == 3 ? 0x77000000 : 0x11000000);
	}
}

static void test_worked_svr_without_registers_exits(void **state __unused)
{
	vapic_fake_create(FAKE_SHADOW | vid);
	expect_exit(write_page(APIC_SVR, 4, 0x1ff), VAPIC_BEFORE, VMX_EXIT_APIC_ACCESS, 0x10f0);
}

static void test_worked_svr_with_registers_is_reported(void **state __unused)
{
	vapic_fake_create(FAKE_SHADOW | regs);
	expect_done(write_page(APIC_SVR, 4, 0x1ff));
	expect_exit(vapic_emulate_write(&fake.vapic), VAPIC_AFTER, VMX_EXIT_APIC_WRITE, 0xf0);
	assert_int_equal(vapic_fake_get(APIC_SVR), 0x1ff);
}

/* --- several accesses of one operation --- */

static void test_behind_a_write_a_read_exits(void **state __unused)
{
	u64 value = 0;

	vapic_fake_create(FAKE_SHADOW | both);
	expect_done(write_page(APIC_TPR, 4, 0x50));
	expect_access(read_page(APIC_TPR, 4, &value), APIC_TPR, 0);
	expect_access(read_page(APIC_ID, 4, &value), APIC_ID, 0);
	/* It ends with the operation. */
	expect_done(vapic_emulate_write(&fake.vapic));
	expect_done(read_page(APIC_TPR, 4, &value));
}

static void test_behind_a_write_another_one_exits(void **state __unused)
{
	vapic_fake_create(FAKE_SHADOW | both);
	expect_done(write_page(APIC_TPR, 4, 0x50));
	expect_access(write_page(APIC_EOI, 4, 0), APIC_EOI, 1);
	expect_access(write_page(APIC_TPR, 1, 0), APIC_TPR, 1);
	/* The same again is the last one's. */
	expect_done(write_page(APIC_TPR, 4, 0x60));
	expect_done(vapic_emulate_write(&fake.vapic));
	assert_int_equal(vapic_fake_get(APIC_PPR), 0x60);
	assert_int_equal(fake.vapic.counts[HW_TPR], 1);
}

static void test_behind_a_write_its_offset_is_open_if_switched_so(void **state __unused)
{
	u64 value = 0;

	vapic_fake_create(FAKE_SHADOW | both);
	fake.vapic.switches |= VAPIC_SECOND_BY_OFFSET;
	expect_done(write_page(APIC_TPR, 4, 0x50));
	expect_done(read_page(APIC_TPR, 1, &value));
	assert_int_equal(value, 0x50);
	expect_done(write_page(APIC_TPR, 1, 0x60));
	expect_access(read_page(APIC_ID, 4, &value), APIC_ID, 0);
	expect_access(write_page(APIC_EOI, 4, 0), APIC_EOI, 1);
}

static void test_a_write_has_its_effect_at_the_end_and_once(void **state __unused)
{
	vapic_fake_create(FAKE_SHADOW | both);
	vapic_fake_put(APIC_ISR, 0x41);
	vapic_fake_put(APIC_ISR, 0x31);
	vapic_fake_enter(0, 0x41);
	expect_done(write_page(APIC_EOI, 4, 7));
	assert_true(vapic_fake_has(APIC_ISR, 0x41));
	expect_done(vapic_emulate_write(&fake.vapic));
	assert_false(vapic_fake_has(APIC_ISR, 0x41));
	expect_done(vapic_emulate_write(&fake.vapic));
	assert_true(vapic_fake_has(APIC_ISR, 0x31));
}

/* --- switches of the page --- */

static void test_vid_reads_no_eoi_and_icr_if_switched_so(void **state __unused)
{
	u64 value = 0;

	vapic_fake_create(FAKE_SHADOW | vid);
	fake.vapic.switches &= ~VAPIC_VID_READS;
	expect_access(read_page(APIC_ICR, 4, &value), APIC_ICR, 0);
	expect_access(read_page(APIC_EOI, 4, &value), APIC_EOI, 0);
	expect_done(read_page(APIC_TPR, 4, &value));
	fake.vapic.apic_registers = true;
	expect_done(read_page(APIC_ICR, 4, &value));
}

static void test_vid_writes_within_eoi_and_icr_if_switched_so(void **state __unused)
{
	vapic_fake_create(FAKE_SHADOW | vid);
	fake.vapic.switches |= VAPIC_VID_BY_REGISTER;
	expect_done(write_page(APIC_EOI + 1, 1, 0));
	expect_exit(vapic_emulate_write(&fake.vapic), VAPIC_AFTER, VMX_EXIT_APIC_WRITE,
	            APIC_EOI + 1);
	expect_done(write_page(APIC_ICR + 2, 2, 0));
	expect_exit(vapic_emulate_write(&fake.vapic), VAPIC_AFTER, VMX_EXIT_APIC_WRITE,
	            APIC_ICR + 2);
	expect_access(write_page(APIC_TPR + 1, 1, 0), APIC_TPR + 1, 1);
}

/* --- self-IPIs --- */

static struct vapic_result write_icr(u32 icr)
{
	expect_done(write_page(APIC_ICR, 4, icr));
	assert_int_equal(vapic_fake_get(APIC_ICR), icr);
	return vapic_emulate_write(&fake.vapic);
}

static void expect_icr_exit(struct vapic_result result)
{
	expect_exit(result, VAPIC_AFTER, VMX_EXIT_APIC_WRITE, APIC_ICR);
	assert_int_equal(fake.vapic.counts[HW_REQUESTS], 0);
	assert_int_equal(fake.notices, 0);
}

static void test_worked_self_ipi(void **state __unused)
{
	vapic_fake_create(FAKE_SHADOW | vid);
	expect_done(write_icr(0x00040041));
	assert_true(vapic_fake_has(APIC_IRR, 0x41));
	assert_int_equal(fake.vapic.rvi, 0x41);
	assert_true(fake.vapic.recognized);
	assert_int_equal(fake.vapic.counts[HW_IPI_SELF], 1);
	assert_int_equal(fake.vapic.counts[HW_REQUESTS], 1);
}

static void test_worked_self_ipi_of_a_low_vector_exits(void **state __unused)
{
	for (u32 vector = 0; vector < 16; vector++) {
		vapic_fake_create(FAKE_SHADOW | vid);
		expect_icr_exit(write_icr(0x00040000 | vector));
	}
	expect_done(write_icr(0x00040010));
}

static void test_self_ipi_forms(void **state __unused)
{
	/* Free: vector, destination mode, level. */
	for (u32 bit = 8; bit < 32; bit++) {
		vapic_fake_create(FAKE_SHADOW | both);
		if (bit == 11 || bit == 14)
			expect_done(write_icr(0x00040041 | BIT(bit)));
		else if (bit == 18)
			expect_icr_exit(write_icr(0x00000041));
		else
			expect_icr_exit(write_icr(0x00040041 | BIT(bit)));
	}
}

static void test_self_ipi_needs_vid(void **state __unused)
{
	vapic_fake_create(FAKE_SHADOW | regs | FAKE_IPIV);
	expect_icr_exit(write_icr(0x00040041));
}

static void test_self_ipi_raises_rvi_only(void **state __unused)
{
	vapic_fake_create(FAKE_SHADOW | vid);
	expect_done(write_icr(0x00040091));
	expect_done(write_icr(0x00040041));
	expect_done(write_icr(0x00040041));
	assert_int_equal(fake.vapic.rvi, 0x91);
	assert_true(vapic_fake_has(APIC_IRR, 0x41));
	assert_int_equal(fake.vapic.counts[HW_COALESCED], 1);
	assert_int_equal(vapic_fake_get(APIC_PPR), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
/* clang-format off */
#define READ_UNIT(name, controls, is) cmocka_unit_test(test_##controls##_read_of_##name##_##is)
#define WRITE_UNIT(name, controls, is) cmocka_unit_test(test_##controls##_write_of_##name##_##is)
#define X(name, offset, pr, pw, vr, vw, rr, rw, br, bw)                                            \
	READ_UNIT(name, plain, pr), WRITE_UNIT(name, plain, pw), READ_UNIT(name, vid, vr),         \
	WRITE_UNIT(name, vid, vw), READ_UNIT(name, regs, rr), WRITE_UNIT(name, regs, rw),          \
	READ_UNIT(name, both, br), WRITE_UNIT(name, both, bw),
	ROWS(X)
#undef X
	        /* clang-format on */
	        cmocka_unit_test(test_every_offset_and_size_plain),
	        cmocka_unit_test(test_every_offset_and_size_with_vid),
	        cmocka_unit_test(test_every_offset_and_size_with_registers),
	        cmocka_unit_test(test_every_offset_and_size_with_both),
	        cmocka_unit_test(test_without_tpr_shadow_every_access_exits),
	        cmocka_unit_test(test_a_fetch_exits_even_of_tpr),
	        cmocka_unit_test(test_a_read_before_a_write_exits_as_a_write),
	        cmocka_unit_test(test_event_delivery_is_virtualized_or_says_so),
	        cmocka_unit_test(test_an_access_without_linear_address_exits),
	        cmocka_unit_test(test_parts_of_a_register),
	        cmocka_unit_test(test_a_byte_of_tpr_is_tpr),
	        cmocka_unit_test(test_inner_bytes_have_no_effect_but_an_exit),
	        cmocka_unit_test(test_icr_high_keeps_its_last_byte),
	        cmocka_unit_test(test_worked_svr_without_registers_exits),
	        cmocka_unit_test(test_worked_svr_with_registers_is_reported),
	        cmocka_unit_test(test_behind_a_write_a_read_exits),
	        cmocka_unit_test(test_behind_a_write_another_one_exits),
	        cmocka_unit_test(test_behind_a_write_its_offset_is_open_if_switched_so),
	        cmocka_unit_test(test_a_write_has_its_effect_at_the_end_and_once),
	        cmocka_unit_test(test_vid_reads_no_eoi_and_icr_if_switched_so),
	        cmocka_unit_test(test_vid_writes_within_eoi_and_icr_if_switched_so),
	        cmocka_unit_test(test_worked_self_ipi),
	        cmocka_unit_test(test_worked_self_ipi_of_a_low_vector_exits),
	        cmocka_unit_test(test_self_ipi_forms),
	        cmocka_unit_test(test_self_ipi_needs_vid),
	        cmocka_unit_test(test_self_ipi_raises_rvi_only),
	};

	return cmocka_run_group_tests_name("vapic_regs", tests, NULL, NULL);
}
