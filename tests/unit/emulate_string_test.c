/* SPDX-License-Identifier: BSD-2-Clause */
/* Emulation: string instructions, skipping by length, MOV to CR8, and hostile code. */
#include "core/emulate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/emulate_fake.h"

/* ---- strings ---- */

static void test_emulate_rep_movs_is_bounded_and_resumes(void **unused)
{
	u32 i, calls = 0;

	(void)unused;
	for (i = 0; i < 600; i++)
		ram[DATA + i] = (u8)(i * 7);
	*gpr(GPR_RSI) = DATA;
	*gpr(GPR_RDI) = LINEAR_DEVICE;
	*gpr(GPR_RCX) = 150;
	PUT_CODE(0xf3, 0xa5);
	vcpu->regs.rflags |= RFLAGS_RF;
	emulate_memory(vcpu);
	assert_int_equal(vcpu->regs.rip, CODE);
	assert_int_equal(*gpr(GPR_RCX), 150 - 64);
	assert_int_equal(*gpr(GPR_RSI), DATA + 256);
	assert_int_equal(*gpr(GPR_RDI), LINEAR_DEVICE + 256);
	for (; vcpu->regs.rip == CODE && calls < 10; calls++)
		emulate_memory(vcpu);
	assert_int_equal(calls, 2);
	expect_done(2);
	assert_int_equal(*gpr(GPR_RCX), 0);
	assert_memory_equal(device, ram + DATA, 600);
	assert_false(vcpu->regs.rflags & RFLAGS_RF);
	/* RCX = 0: nothing happens, and it is over. */
	RUN(0xf3, 0xa5);
	expect_done(2);
	assert_int_equal(*gpr(GPR_RDI), LINEAR_DEVICE + 600);
}

static void test_emulate_movs_backwards_and_overlapping(void **unused)
{
	(void)unused;
	memcpy(device, "abcdefgh", 8);
	*gpr(GPR_RSI) = LINEAR_DEVICE + 7;
	*gpr(GPR_RDI) = LINEAR_DEVICE + 9;
	*gpr(GPR_RCX) = 8;
	vcpu->regs.rflags |= RFLAGS_DF;
	RUN(0xf3, 0xa4);
	expect_done(2);
	assert_memory_equal(device, "ababcdefgh", 10);
	assert_int_equal(*gpr(GPR_RSI), LINEAR_DEVICE - 1);
	assert_int_equal(*gpr(GPR_RDI), LINEAR_DEVICE + 1);
}

static void test_emulate_string_address_sizes(void **unused)
{
	(void)unused;
	*gpr(GPR_RAX) = 0x1122334455667788ull;
	*gpr(GPR_RDI) = 0xabcd000000000000ull | LINEAR_DEVICE;
	*gpr(GPR_RCX) = 0xabcd000000000002ull;
	RUN(0xf3, 0x67, 0x48, 0xab); /* 32-bit registers, which clear the upper halves */
	expect_done(4);
	assert_int_equal(*gpr(GPR_RDI), LINEAR_DEVICE + 16);
	assert_int_equal(*gpr(GPR_RCX), 0);
	assert_memory_equal(device + 8, "\x88\x77\x66\x55\x44\x33\x22\x11", 8);

	use_protected_mode(false);
	state.seg[SEG_ES].base = DEVICE;
	*gpr(GPR_RDI) = 0xabcd0020;
	*gpr(GPR_RCX) = 0xabcd0001;
	RUN(0xf3, 0xaa); /* 16-bit registers, which leave the rest alone */
	expect_done(2);
	assert_int_equal(*gpr(GPR_RDI), 0xabcd0021);
	assert_int_equal(*gpr(GPR_RCX), 0xabcd0000);
	assert_int_equal(device[0x20], 0x88);
}

static void test_emulate_string_fault_in_the_middle(void **unused)
{
	(void)unused;
	*gpr(GPR_RAX) = 0x55;
	*gpr(GPR_RDI) = LINEAR_ABSENT - 3;
	*gpr(GPR_RCX) = 10;
	RUN(0xf3, 0xaa);
	expect_exception(VECTOR_PF, PF_WRITE);
	assert_int_equal(state.cr2, LINEAR_ABSENT);
	assert_int_equal(*gpr(GPR_RCX), 7);
	assert_int_equal(*gpr(GPR_RDI), LINEAR_ABSENT);
}

static void test_emulate_string_single_step(void **unused)
{
	(void)unused;
	*gpr(GPR_RDI) = LINEAR_DEVICE;
	*gpr(GPR_RCX) = 2;
	vcpu->regs.rflags |= RFLAGS_TF;
	RUN(0xf3, 0xaa);
	expect_exception(VECTOR_DB, 0xffffffff);
	assert_int_equal(*gpr(GPR_RCX), 1);
	assert_true(state.dr6 & BIT(14));
	injected.count = 0;
	emulate_memory(vcpu);
	assert_int_equal(injected.vector, VECTOR_DB);
	assert_int_equal(vcpu->regs.rip, CODE + 2);
}

static void set_io(bool in, u8 size, bool rep)
{
	vcpu->exit.next_rip = 0;
	vcpu->exit.io = (struct exit_io){.port = 0x1f0,
	                                 .size = size,
	                                 .in = in,
	                                 .string = true,
	                                 .rep = rep,
	                                 .address_size = 8,
	                                 .segment = 0xff};
}

static void test_emulate_string_io(void **unused)
{
	(void)unused;
	*gpr(GPR_RDI) = DATA;
	*gpr(GPR_RCX) = 3;
	PUT_CODE(0xf3, 0x66, 0x6d);
	set_io(true, 2, true);
	emulate_string_io(vcpu);
	expect_done(3);
	assert_memory_equal(ram + DATA, "\1\1\2\2\3\3", 6);
	assert_int_equal(*gpr(GPR_RDI), DATA + 6);

	*gpr(GPR_RSI) = DATA;
	PUT_CODE(0x6f);
	set_io(false, 4, false);
	emulate_string_io(vcpu);
	expect_done(1);
	assert_int_equal(port.out_count, 4);
	assert_memory_equal(port.out, "\1\1\2\2", 4);
	assert_int_equal(*gpr(GPR_RSI), DATA + 4);

	/* The bytes at RIP are no longer what exited. */
	PUT_CODE(0x6e);
	emulate_string_io(vcpu);
	expect_exception(VECTOR_UD, 0xffffffff);

	/* A port that nobody has. */
	PUT_CODE(0x6e);
	set_io(false, 1, false);
	vcpu->exit.io.port = 0x80;
	emulate_string_io(vcpu);
	expect_done(1);
	assert_int_equal(counter(COUNTER_PORT_UNKNOWN), 1);
}

static void test_emulate_string_io_without_looking_at_the_code(void **unused)
{
	(void)unused;
	PUT_CODE(0x0f, 0x0b); /* would be #UD */
	set_io(false, 1, true);
	vcpu->exit.next_rip = CODE + 2;
	vcpu->exit.io.segment = SEG_FS;
	state.seg[SEG_FS].base = DATA;
	memcpy(ram + DATA + 1, "xyz", 3);
	*gpr(GPR_RSI) = 1;
	*gpr(GPR_RCX) = 3;
	emulate_string_io(vcpu);
	expect_done(2);
	assert_memory_equal(port.out, "xyz", 3);
}

static void test_emulate_ins_faults_before_the_port_is_read(void **unused)
{
	(void)unused;
	*gpr(GPR_RDI) = LINEAR_READ_ONLY;
	PUT_CODE(0x6c);
	set_io(true, 1, false);
	emulate_string_io(vcpu);
	expect_exception(VECTOR_PF, PF_PRESENT | PF_WRITE);
	assert_int_equal(port.in_count, 0);
}

/* ---- skip ---- */

static void test_emulate_skip_lengths(void **unused)
{
	(void)unused;
	PUT_CODE(0x0f, 0xa2);
	assert_true(emulate_skip(vcpu, 2));
	expect_done(2);
	PUT_CODE(0x66, 0x48, 0x0f, 0xa2);
	assert_true(emulate_skip(vcpu, 2));
	expect_done(4);
	PUT_CODE(0xf3, 0x90); /* PAUSE, whichever way its length is counted */
	assert_true(emulate_skip(vcpu, 1));
	expect_done(2);
	PUT_CODE(0xf3, 0x90);
	assert_true(emulate_skip(vcpu, 2));
	expect_done(2);
	PUT_CODE(0xe4, 0x60);
	assert_true(emulate_skip(vcpu, 0));
	expect_done(2);
	/* In 32-bit code 48h is an opcode and no prefix. */
	use_protected_mode(true);
	PUT_CODE(0x48, 0x0f, 0xa2);
	assert_true(emulate_skip(vcpu, 1));
	expect_done(1);
}

static void test_emulate_skip_trusts_the_processor(void **unused)
{
	(void)unused;
	state.cr3 = RAM_SIZE; /* no look at memory */
	vcpu->regs.rip = CODE;
	vcpu->exit.next_rip = CODE + 9;
	assert_true(emulate_skip(vcpu, 2));
	expect_done(9);
}

static void test_emulate_skip_wraps_eip_outside_64_bit_code(void **unused)
{
	(void)unused;
	use_protected_mode(true);
	state.seg[SEG_CS].base = CODE;
	PUT_CODE(0xf4);
	ram[CODE - 1] = 0xf4;
	vcpu->regs.rip = 0xffffffff;
	assert_true(emulate_skip(vcpu, 1));
	assert_int_equal(vcpu->regs.rip, 0);
}

static void test_emulate_skip_ends_the_instruction(void **unused)
{
	(void)unused;
	PUT_CODE(0x0f, 0xa2);
	vcpu->regs.rflags |= RFLAGS_RF;
	assert_true(emulate_skip(vcpu, 2));
	assert_int_equal(vcpu->regs.rflags, RFLAGS_RES1);
	PUT_CODE(0x0f, 0xa2);
	vcpu->regs.rflags |= RFLAGS_TF;
	assert_true(emulate_skip(vcpu, 2));
	assert_int_equal(injected.vector, VECTOR_DB);
	assert_int_equal(state.dr6, BIT(14));
	assert_int_equal(vcpu->regs.rip, CODE + 2);
}

static void test_emulate_skip_faults(void **unused)
{
	(void)unused;
	vcpu->regs.rip = LINEAR_ABSENT;
	state.cpl = 3;
	assert_false(emulate_skip(vcpu, 2));
	assert_int_equal(injected.vector, VECTOR_PF);
	assert_int_equal(injected.error, PF_FETCH | PF_USER);
	assert_int_equal(vcpu->regs.rip, LINEAR_ABSENT);
	state.cpl = 0;
	PUT_CODE(0xf0, 0x0f, 0xa2);
	assert_false(emulate_skip(vcpu, 2));
	expect_exception(VECTOR_UD, 0xffffffff);
}

static void test_emulate_code_mode(void **unused)
{
	(void)unused;
	assert_int_equal(emulate_code_mode(vcpu), 8);
	state.seg[SEG_CS].attr = SEG_ATTR_P | SEG_ATTR_S | SEG_ATTR_DB | 0xb;
	assert_int_equal(emulate_code_mode(vcpu), 4);
	state.efer = 0;
	state.seg[SEG_CS].attr = SEG_ATTR_P | SEG_ATTR_S | SEG_ATTR_L | 0xb;
	assert_int_equal(emulate_code_mode(vcpu), 2);
}

static void test_emulate_mov_cr8(void **unused)
{
	(void)unused;
	vcpu->exit.cr.reg = 8;
	*gpr(GPR_R9) = 7;
	PUT_CODE(0x45, 0x0f, 0x22, 0xc1);
	emulate_mov_to_cr(vcpu);
	expect_done(4);
	assert_int_equal(apic.value, 7);
	assert_int_equal(vcpu->regs.cr8, 7);
	*gpr(GPR_R9) = 16;
	PUT_CODE(0x45, 0x0f, 0x22, 0xc1);
	emulate_mov_to_cr(vcpu);
	expect_exception(VECTOR_GP, 0);
	assert_int_equal(vcpu->regs.cr8, 7);
	PUT_CODE(0x0f, 0x22, 0xd8); /* CR3 by now */
	emulate_mov_to_cr(vcpu);
	expect_exception(VECTOR_UD, 0xffffffff);
}

/* ---- hostile ---- */

static void random_bytes(u8 *to, u32 count)
{
	u32 i;

	for (i = 0; i < count; i++)
		to[i] = (u8)(next_random() >> 13);
}

/*
 * Whatever stands at RIP and in the registers: each call either moves RIP, queues an exception, or
 * counts a repetition down.
 */
static void test_emulate_random_code_makes_progress(void **unused)
{
	static const u64 places[] = {LINEAR_DEVICE,     LINEAR_RAM - 3, LINEAR_APIC, LINEAR_HOLE,
	                             LINEAR_ABSENT - 1, DATA,           ~0ull,       1ull << 47};
	u32 round, i, done = 0;

	(void)unused;
	for (round = 0; round < 100000; round++) {
		u32 mode = next_random() % 3;
		u64 rcx;

		if (mode == 2)
			use_long_mode();
		else
			use_protected_mode(mode);
		for (i = 0; i < GPR_COUNT; i++)
			*gpr(i) = places[next_random() % 8] + next_random() % 8;
		*gpr(GPR_RCX) = next_random() % 100;
		vcpu->regs.rflags = RFLAGS_RES1 | (next_random() & (RFLAGS_DF | RFLAGS_TF));
		random_bytes(ram + CODE, 16);
		if (next_random() & 1) /* string instructions are rare among random bytes */
			memcpy(ram + CODE, &"\xf3\xa4\xf3\xaa"[next_random() & 2], 2);
		build_tables();
		vcpu->regs.rip = CODE;
		injected.count = 0;
		rcx = *gpr(GPR_RCX);
		emulate_memory(vcpu);
		if (injected.count == 0 && vcpu->regs.rip == CODE)
			assert_true(*gpr(GPR_RCX) < rcx && *gpr(GPR_RCX) != 0);
		assert_in_range(vcpu->regs.rip, CODE, CODE + 15);
		assert_in_range(injected.count, 0, 1);
		done += vcpu->regs.rip != CODE;
	}
	assert_true(done > 1000);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	        TEST(test_emulate_rep_movs_is_bounded_and_resumes),
	        TEST(test_emulate_movs_backwards_and_overlapping),
	        TEST(test_emulate_string_address_sizes),
	        TEST(test_emulate_string_fault_in_the_middle),
	        TEST(test_emulate_string_single_step),
	        TEST(test_emulate_string_io),
	        TEST(test_emulate_string_io_without_looking_at_the_code),
	        TEST(test_emulate_ins_faults_before_the_port_is_read),
	        TEST(test_emulate_skip_lengths),
	        TEST(test_emulate_skip_trusts_the_processor),
	        TEST(test_emulate_skip_wraps_eip_outside_64_bit_code),
	        TEST(test_emulate_skip_ends_the_instruction),
	        TEST(test_emulate_skip_faults),
	        TEST(test_emulate_code_mode),
	        TEST(test_emulate_mov_cr8),
	        TEST(test_emulate_random_code_makes_progress),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
