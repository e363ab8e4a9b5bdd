/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The decoder against an independent one (decode_oracle.h) over random bytes, and over a list of
 * every supported form by hand, so that no form depends on chance. tests/fuzz/decode.c does the same
 * with bytes that follow the decoder's branches.
 */
#include "core/decode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/decode_oracle.h"

#define STRINGS_PER_MODE 1000000u

static const u32 modes[] = {2, 4, 8};

static u64 random_state;

static u64 next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static void fail_at(const char *what, u32 mode, const u8 *bytes)
{
	u32 i;

	print_error("%s; mode %u:", what, mode);
	for (i = 0; i < INSN_MAX_LENGTH; i++)
		print_error(" %02x", bytes[i]);
	print_error("\n");
	fail();
}

/* Plain noise rarely hits a listed opcode behind prefixes: every other string is biased. */
static void make_bytes(u8 *bytes)
{
	static const u8 prefix[] = {0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x26, 0x2e, 0x36,
	                            0x3e, 0x64, 0x65, 0x40, 0x44, 0x48, 0x4f, 0x41};
	static const u8 opcode[] = {
	        0x00, 0x03, 0x09, 0x22, 0x29, 0x33, 0x39, 0x3a, 0x63, 0x6c, 0x6d, 0x6e, 0x6f, 0x80,
	        0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b, 0xa0, 0xa1, 0xa2,
	        0xa3, 0xa4, 0xa5, 0xaa, 0xab, 0xc6, 0xc7, 0xe4, 0xed, 0xf4, 0xf6, 0xf7, 0x90, 0xcf};
	static const u8 opcode_0f[] = {0x01, 0x06, 0x08, 0x09, 0x20, 0x21, 0x22, 0x23, 0x30,
	                               0x32, 0xa2, 0xb0, 0xb1, 0xb6, 0xb7, 0xbe, 0xbf};
	u64 r = next_random();
	u32 at = 0, prefixes, i;

	for (i = 0; i < 16; i += 8) {
		u64 noise = next_random();

		memcpy(bytes + i, &noise, 8);
	}
	if (r & 1)
		return;
	prefixes = (r >> 1) & 3;
	if (((r >> 3) & 0xff) == 0)
		prefixes = 12; /* near the limit of 15 bytes */
	while (at < prefixes)
		bytes[at++] = prefix[next_random() % sizeof(prefix)];
	if ((r >> 11) & 1) {
		bytes[at++] = 0x0f;
		bytes[at] = opcode_0f[next_random() % sizeof(opcode_0f)];
	} else {
		bytes[at] = opcode[next_random() % sizeof(opcode)];
	}
}

static void run_differential(u32 mode, u32 strings)
{
	u8 bytes[16];
	u32 i, count = 0;

	for (i = 0; i < strings; i++) {
		const char *difference;
		bool accepted;

		make_bytes(bytes);
		difference = decode_oracle_check(mode, bytes, INSN_MAX_LENGTH, &accepted);
		if (difference)
			fail_at(difference, mode, bytes);
		count += accepted;
	}
	/* The generator must not have degenerated. */
	assert_true(count > strings / 20);
}

static void test_decode_agrees_with_oracle(void **state)
{
	u32 i;

	(void)state;
	random_state = 0x9e3779b97f4a7c15ull;
	for (i = 0; i < ARRAY_SIZE(modes); i++)
		run_differential(modes[i], STRINGS_PER_MODE);
}

#define IN16   BIT(0)
#define IN32   BIT(1)
#define IN64   BIT(2)
#define LEGACY (IN16 | IN32)
#define ALL    (LEGACY | IN64)

struct form {
	u8 count;
	u8 modes;
	u8 op;
	u8 bytes[INSN_MAX_LENGTH];
};
#define FORM(m, op, ...)                                                                           \
	{                                                                                          \
		sizeof((u8[]){__VA_ARGS__}), m, op,                                                \
		{                                                                                  \
			__VA_ARGS__                                                                \
		}                                                                                  \
	}

/*
 * ModRM 07 is [rDI] or [BX]; immediates are given as 32-bit code has them, where 16-bit code uses
 * the first two bytes.
 */
static const struct form forms[] = {
        FORM(ALL, INSN_ADD, 0x00, 0x07),
        FORM(ALL, INSN_ADD, 0x01, 0x07),
        FORM(ALL, INSN_ADD, 0x02, 0x07),
        FORM(ALL, INSN_ADD, 0x03, 0x07),
        FORM(ALL, INSN_OR, 0x08, 0x07),
        FORM(ALL, INSN_OR, 0x09, 0x07),
        FORM(ALL, INSN_OR, 0x0a, 0x07),
        FORM(ALL, INSN_OR, 0x0b, 0x07),
        FORM(ALL, INSN_AND, 0x20, 0x07),
        FORM(ALL, INSN_AND, 0x21, 0x07),
        FORM(ALL, INSN_AND, 0x22, 0x07),
        FORM(ALL, INSN_AND, 0x23, 0x07),
        FORM(ALL, INSN_SUB, 0x28, 0x07),
        FORM(ALL, INSN_SUB, 0x29, 0x07),
        FORM(ALL, INSN_SUB, 0x2a, 0x07),
        FORM(ALL, INSN_SUB, 0x2b, 0x07),
        FORM(ALL, INSN_XOR, 0x30, 0x07),
        FORM(ALL, INSN_XOR, 0x31, 0x07),
        FORM(ALL, INSN_XOR, 0x32, 0x07),
        FORM(ALL, INSN_XOR, 0x33, 0x07),
        FORM(ALL, INSN_CMP, 0x38, 0x07),
        FORM(ALL, INSN_CMP, 0x39, 0x07),
        FORM(ALL, INSN_CMP, 0x3a, 0x07),
        FORM(ALL, INSN_CMP, 0x3b, 0x07),
        FORM(ALL, INSN_ADD, 0x80, 0x07, 0x11),
        FORM(ALL, INSN_OR, 0x80, 0x0f, 0x11),
        FORM(ALL, INSN_AND, 0x80, 0x27, 0x11),
        FORM(ALL, INSN_SUB, 0x80, 0x2f, 0x11),
        FORM(ALL, INSN_XOR, 0x80, 0x37, 0x11),
        FORM(ALL, INSN_CMP, 0x80, 0x3f, 0x11),
        FORM(ALL, INSN_ADD, 0x83, 0x07, 0x11),
        FORM(ALL, INSN_OR, 0x83, 0x0f, 0x11),
        FORM(ALL, INSN_AND, 0x83, 0x27, 0x11),
        FORM(ALL, INSN_SUB, 0x83, 0x2f, 0x11),
        FORM(ALL, INSN_XOR, 0x83, 0x37, 0x11),
        FORM(ALL, INSN_CMP, 0x83, 0x3f, 0x11),
        FORM(LEGACY, INSN_CMP, 0x82, 0x3f, 0x11),
        FORM(IN16, INSN_ADD, 0x81, 0x07, 0x11, 0x22),
        FORM(IN32 | IN64, INSN_ADD, 0x81, 0x07, 0x11, 0x22, 0x33, 0x44),
        FORM(IN32 | IN64, INSN_OR, 0x81, 0x0f, 0x11, 0x22, 0x33, 0x44),
        FORM(IN32 | IN64, INSN_AND, 0x81, 0x27, 0x11, 0x22, 0x33, 0x44),
        FORM(IN32 | IN64, INSN_SUB, 0x81, 0x2f, 0x11, 0x22, 0x33, 0x44),
        FORM(IN32 | IN64, INSN_XOR, 0x81, 0x37, 0x11, 0x22, 0x33, 0x44),
        FORM(IN32 | IN64, INSN_CMP, 0x81, 0x3f, 0x11, 0x22, 0x33, 0x44),
        FORM(IN64, INSN_OR, 0x48, 0x81, 0x0f, 0x11, 0x22, 0x33, 0x44),
        FORM(ALL, INSN_TEST, 0x84, 0x07),
        FORM(ALL, INSN_TEST, 0x85, 0x07),
        FORM(ALL, INSN_TEST, 0xf6, 0x07, 0x11),
        FORM(ALL, INSN_TEST, 0xf6, 0x0f, 0x11),
        FORM(IN32 | IN64, INSN_TEST, 0xf7, 0x07, 0x11, 0x22, 0x33, 0x44),
        FORM(ALL, INSN_XCHG, 0x86, 0x07),
        FORM(ALL, INSN_XCHG, 0x87, 0x07),
        FORM(ALL, INSN_MOV, 0x88, 0x07),
        FORM(ALL, INSN_MOV, 0x89, 0x07),
        FORM(ALL, INSN_MOV, 0x8a, 0x07),
        FORM(ALL, INSN_MOV, 0x8b, 0x07),
        FORM(IN64, INSN_MOV, 0x4c, 0x8b, 0x07),
        FORM(IN64, INSN_MOV, 0x41, 0x8b, 0x45, 0x10),
        FORM(IN64, INSN_MOV, 0x8b, 0x05, 0x11, 0x22, 0x33, 0x44),
        FORM(IN64, INSN_MOV, 0x8b, 0x04, 0x25, 0xb0, 0x00, 0xd0, 0xfe),
        FORM(IN64, INSN_MOV, 0x65, 0x8b, 0x44, 0xb8, 0x10),
        FORM(IN16, INSN_MOV, 0x67, 0x8b, 0x44, 0xb8, 0x10),
        FORM(IN16, INSN_MOV, 0xa0, 0x11, 0x22),
        FORM(IN32, INSN_MOV, 0xa1, 0x11, 0x22, 0x33, 0x44),
        FORM(IN32, INSN_MOV, 0xa2, 0x11, 0x22, 0x33, 0x44),
        FORM(IN64, INSN_MOV, 0xa3, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88),
        FORM(IN64, INSN_MOV, 0x48, 0xa1, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88),
        FORM(IN64, INSN_MOV, 0x67, 0xa1, 0x11, 0x22, 0x33, 0x44),
        FORM(ALL, INSN_MOV, 0xc6, 0x07, 0x11),
        FORM(IN16, INSN_MOV, 0xc7, 0x07, 0x11, 0x22),
        FORM(IN32 | IN64, INSN_MOV, 0xc7, 0x07, 0x11, 0x22, 0x33, 0x44),
        FORM(IN32 | IN64, INSN_MOV, 0x66, 0xc7, 0x07, 0x11, 0x22),
        FORM(IN64, INSN_MOV, 0x48, 0xc7, 0x07, 0x11, 0x22, 0x33, 0x44),
        FORM(ALL, INSN_MOVZX, 0x0f, 0xb6, 0x07),
        FORM(ALL, INSN_MOVZX, 0x0f, 0xb7, 0x07),
        FORM(ALL, INSN_MOVSX, 0x0f, 0xbe, 0x07),
        FORM(ALL, INSN_MOVSX, 0x0f, 0xbf, 0x07),
        FORM(IN64, INSN_MOVSX, 0x48, 0x63, 0x07),
        FORM(IN64, INSN_MOVSX, 0x63, 0x07),
        FORM(ALL, INSN_CMPXCHG, 0x0f, 0xb0, 0x07),
        FORM(ALL, INSN_CMPXCHG, 0xf0, 0x0f, 0xb1, 0x07),
        FORM(ALL, INSN_XCHG, 0xf0, 0x87, 0x07),
        FORM(ALL, INSN_ADD, 0xf0, 0x01, 0x07),
        FORM(ALL, INSN_OR, 0xf0, 0x83, 0x0f, 0x01),
        FORM(ALL, INSN_MOVS, 0xa4),
        FORM(ALL, INSN_MOVS, 0xf3, 0xa5),
        FORM(IN64, INSN_MOVS, 0xf3, 0x48, 0xa5),
        FORM(ALL, INSN_MOVS, 0x26, 0xa4),
        FORM(ALL, INSN_STOS, 0xaa),
        FORM(ALL, INSN_STOS, 0xf2, 0xab),
        FORM(ALL, INSN_INS, 0x6c),
        FORM(ALL, INSN_INS, 0xf3, 0x6d),
        FORM(ALL, INSN_OUTS, 0x6e),
        FORM(ALL, INSN_OUTS, 0xf3, 0x6f),
        FORM(ALL, INSN_OTHER, 0x0f, 0xa2),
        FORM(ALL, INSN_OTHER, 0xf4),
        FORM(ALL, INSN_OTHER, 0x0f, 0x32),
        FORM(ALL, INSN_OTHER, 0x0f, 0x30),
        FORM(ALL, INSN_OTHER, 0xf3, 0x90),
        FORM(ALL, INSN_OTHER, 0x0f, 0x01, 0xd9),
        FORM(ALL, INSN_OTHER, 0x0f, 0x01, 0xc1),
        FORM(ALL, INSN_OTHER, 0x0f, 0x01, 0xd1),
        FORM(ALL, INSN_OTHER, 0x0f, 0x01, 0xf0),
        FORM(ALL, INSN_OTHER, 0x0f, 0x01, 0x37),
        FORM(ALL, INSN_OTHER, 0x0f, 0x08),
        FORM(ALL, INSN_OTHER, 0x0f, 0x09),
        FORM(ALL, INSN_OTHER, 0x0f, 0x06),
        FORM(ALL, INSN_OTHER, 0x0f, 0x20, 0xc0),
        FORM(ALL, INSN_MOV_TO_CR, 0x0f, 0x22, 0xd8),
        FORM(IN64, INSN_OTHER, 0x44, 0x0f, 0x20, 0xc0),
        FORM(IN64, INSN_MOV_TO_CR, 0x44, 0x0f, 0x22, 0xc0),
        FORM(IN64, INSN_MOV_TO_CR, 0x45, 0x0f, 0x22, 0xc1),
        FORM(ALL, INSN_OTHER, 0x0f, 0x21, 0xf8),
        FORM(ALL, INSN_OTHER, 0x0f, 0x23, 0xf8),
        FORM(ALL, INSN_OTHER, 0xe4, 0x60),
        FORM(ALL, INSN_OTHER, 0xe5, 0x60),
        FORM(ALL, INSN_OTHER, 0xe6, 0x60),
        FORM(ALL, INSN_OTHER, 0xe7, 0x60),
        FORM(ALL, INSN_OTHER, 0xec),
        FORM(ALL, INSN_OTHER, 0xed),
        FORM(ALL, INSN_OTHER, 0xee),
        FORM(ALL, INSN_OTHER, 0xef),
        FORM(ALL, INSN_OTHER, 0xcf),
        FORM(IN64, INSN_OTHER, 0x48, 0xcf),
};
static void test_decode_accepts_every_listed_form(void **state)
{
	u32 i, m;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(forms); i++) {
		const struct form *form = &forms[i];

		for (m = 0; m < ARRAY_SIZE(modes); m++) {
			struct insn insn;
			const char *difference;
			bool accepted;

			if (!(form->modes & BIT(m)))
				continue;
			if (insn_decode(form->bytes, form->count, modes[m], &insn) != DECODE_OK)
				fail_at("not decoded", modes[m], form->bytes);
			assert_int_equal(insn.op, form->op);
			assert_int_equal(insn.length, form->count);
			difference =
			        decode_oracle_check(modes[m], form->bytes, form->count, &accepted);
			if (difference)
				fail_at(difference, modes[m], form->bytes);
		}
	}
}

static void expect_unknown(u32 mode, const u8 *bytes, u32 count)
{
	struct insn insn;

	if (insn_decode(bytes, count, mode, &insn) != DECODE_UNKNOWN)
		fail_at("decoded, but must not be", mode, bytes);
}
#define EXPECT_UNKNOWN(mode, ...)                                                                  \
	expect_unknown(mode, (u8[INSN_MAX_LENGTH]){__VA_ARGS__}, sizeof((u8[]){__VA_ARGS__}))

static void test_decode_refuses_lock_on_illegal_forms(void **state)
{
	(void)state;
	EXPECT_UNKNOWN(8, 0xf0, 0x89, 0x07);       /* MOV */
	EXPECT_UNKNOWN(8, 0xf0, 0x03, 0x07);       /* ADD to a register */
	EXPECT_UNKNOWN(8, 0xf0, 0x39, 0x07);       /* CMP */
	EXPECT_UNKNOWN(8, 0xf0, 0x84, 0x07);       /* TEST */
	EXPECT_UNKNOWN(8, 0xf0, 0x83, 0x3f, 0x01); /* CMP immediate */
	EXPECT_UNKNOWN(8, 0xf0, 0xa4);             /* MOVS */
	EXPECT_UNKNOWN(8, 0xf0, 0x0f, 0xa2);       /* CPUID */
	EXPECT_UNKNOWN(8, 0xf0, 0x0f, 0xb6, 0x07); /* MOVZX */
}

static void test_decode_lock_mov_cr0_is_cr8(void **state)
{
	static const u8 bytes[] = {0xf0, 0x0f, 0x22, 0xc3};
	struct insn insn;

	(void)state;
	assert_int_equal(insn_decode(bytes, sizeof(bytes), 4, &insn), DECODE_OK);
	assert_int_equal(insn.op, INSN_MOV_TO_CR);
	assert_int_equal(insn.control, 8);
	assert_int_equal(insn.reg, GPR_RBX);
	assert_int_equal(insn.length, 4);
	EXPECT_UNKNOWN(4, 0xf0, 0x0f, 0x22, 0xd8);       /* CR3 */
	EXPECT_UNKNOWN(8, 0xf0, 0x44, 0x0f, 0x22, 0xc0); /* CR8 already */
}

static void test_decode_refuses_what_is_not_listed(void **state)
{
	(void)state;
	EXPECT_UNKNOWN(8, 0x89, 0xc0);             /* register to register */
	EXPECT_UNKNOWN(8, 0x10, 0x07);             /* ADC */
	EXPECT_UNKNOWN(8, 0x80, 0x17, 0x01);       /* ADC */
	EXPECT_UNKNOWN(8, 0x82, 0x07, 0x01);       /* not in 64-bit code */
	EXPECT_UNKNOWN(4, 0x63, 0x07);             /* ARPL */
	EXPECT_UNKNOWN(8, 0xc7, 0x0f, 0, 0, 0, 0); /* no such group member */
	EXPECT_UNKNOWN(8, 0xf7, 0x17);             /* NOT */
	EXPECT_UNKNOWN(8, 0x90);                   /* NOP */
	EXPECT_UNKNOWN(8, 0x0f, 0x20, 0xc8);       /* CR1 */
	EXPECT_UNKNOWN(8, 0x0f, 0x01, 0x17);       /* LGDT */
	EXPECT_UNKNOWN(8, 0x66, 0x0f, 0x01, 0xd1); /* XSETBV takes no 66 */
}

static void test_decode_refuses_more_than_15_bytes(void **state)
{
	u8 bytes[32];
	struct insn insn;

	(void)state;
	memset(bytes, 0x66, sizeof(bytes));
	bytes[13] = 0x89;
	bytes[14] = 0x07;
	assert_int_equal(insn_decode(bytes, sizeof(bytes), 4, &insn), DECODE_OK);
	assert_int_equal(insn.length, 15);
	bytes[13] = 0x66;
	bytes[14] = 0x89;
	bytes[15] = 0x07;
	assert_int_equal(insn_decode(bytes, sizeof(bytes), 4, &insn), DECODE_UNKNOWN);
	memset(bytes, 0x66, sizeof(bytes));
	assert_int_equal(insn_decode(bytes, 15, 4, &insn), DECODE_UNKNOWN);
	assert_int_equal(insn_decode(bytes, 14, 4, &insn), DECODE_SHORT);
}

static void test_decode_rex_counts_only_before_the_opcode(void **state)
{
	static const u8 dead[] = {0x48, 0x66, 0x89, 0x07};
	static const u8 both[] = {0x66, 0x48, 0x89, 0x07};
	struct insn insn;

	(void)state;
	assert_int_equal(insn_decode(dead, sizeof(dead), 8, &insn), DECODE_OK);
	assert_int_equal(insn.size, 2);
	assert_int_equal(insn_decode(both, sizeof(both), 8, &insn), DECODE_OK);
	assert_int_equal(insn.size, 8);
}

static void test_decode_ignores_old_overrides_in_64_bit_code(void **state)
{
	static const u8 bytes[] = {0x65, 0x2e, 0x8b, 0x07};
	struct insn insn;

	(void)state;
	assert_int_equal(insn_decode(bytes, sizeof(bytes), 8, &insn), DECODE_OK);
	assert_int_equal(insn.segment, SEG_GS);
	assert_int_equal(insn_decode(bytes, sizeof(bytes), 4, &insn), DECODE_OK);
	assert_int_equal(insn.segment, SEG_CS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_decode_accepts_every_listed_form),
	        cmocka_unit_test(test_decode_refuses_lock_on_illegal_forms),
	        cmocka_unit_test(test_decode_lock_mov_cr0_is_cr8),
	        cmocka_unit_test(test_decode_refuses_what_is_not_listed),
	        cmocka_unit_test(test_decode_refuses_more_than_15_bytes),
	        cmocka_unit_test(test_decode_rex_counts_only_before_the_opcode),
	        cmocka_unit_test(test_decode_ignores_old_overrides_in_64_bit_code),
	        cmocka_unit_test(test_decode_agrees_with_oracle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
