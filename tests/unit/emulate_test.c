/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Emulation of instructions with one memory operand. Data movement and arithmetic are compared with
 * the processor that the test runs on: the same bytes are executed there on ordinary memory. The
 * rest (addresses, routing to devices, faults) is checked rule by rule.
 */
#include "core/emulate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "tests/unit/emulate_fake.h"

#define STATUS_FLAGS 0x8d5ull
#define FLAG_AF      0x10ull

/* ---- against the processor underneath ---- */

struct context {
	u64 rax, rdx, flags;
	u8 memory[8];
};

static u8 *host_code;

static void run_on_host(const u8 *bytes, u32 count, struct context *c)
{
	memcpy(host_code, bytes, count);
	host_code[count] = 0xc3;
	__asm__ volatile("subq $256, %%rsp\n\t" /* leave the red zone alone */
	                 "pushq %[flags]\n\t"
	                 "popfq\n\t"
	                 "call *%[code]\n\t"
	                 "pushfq\n\t"
	                 "popq %[flags]\n\t"
	                 "addq $256, %%rsp\n\t"
	                 : "+a"(c->rax), "+d"(c->rdx), [flags] "+r"(c->flags)
	                 : [code] "r"(host_code), "D"(c->memory)
	                 : "memory", "cc");
}

/* Values at which carries, signs and equality happen. */
static u64 interesting(void)
{
	static const u64 values[] = {0,
	                             1,
	                             0x7f,
	                             0x80,
	                             0xff,
	                             0x7fff,
	                             0x8000,
	                             0xffff,
	                             0x7fffffff,
	                             0x80000000,
	                             0xffffffff,
	                             0x7fffffffffffffff,
	                             0x8000000000000000,
	                             ~0ull,
	                             0x0f,
	                             0x10};
	u64 r = next_random();

	return r & 1 ? values[r >> 1 & 15] : next_random();
}

struct host_form {
	u8 count;
	bool logical; /* AF is undefined */
	u8 bytes[8];  /* memory operand [RDI], register RDX */
};
#define HOST(logical, ...)                                                                         \
	{                                                                                          \
		sizeof((u8[]){__VA_ARGS__}), logical,                                              \
		{                                                                                  \
			__VA_ARGS__                                                                \
		}                                                                                  \
	}
#define HOST_WIDE(logical, ...)                                                                    \
	HOST(logical, __VA_ARGS__), HOST(logical, 0x66, __VA_ARGS__),                              \
	        HOST(logical, 0x48, __VA_ARGS__)
#define HOST_ALU(logical, op)                                                                      \
	HOST(logical, op, 0x17), HOST(logical, 0x40, op, 0x17), HOST(logical, op, 0x37),           \
	        HOST(logical, (op) + 2, 0x17), HOST(logical, (op) + 2, 0x37),                      \
	        HOST_WIDE(logical, (op) + 1, 0x17), HOST_WIDE(logical, (op) + 3, 0x17)
#define HOST_GROUP1(logical, n)                                                                    \
	HOST(logical, 0x80, 0x07 | (n) << 3, 0x91),                                                \
	        HOST_WIDE(logical, 0x83, 0x07 | (n) << 3, 0x91),                                   \
	        HOST(logical, 0x81, 0x07 | (n) << 3, 0x11, 0x22, 0x33, 0x84),                      \
	        HOST(logical, 0x66, 0x81, 0x07 | (n) << 3, 0x11, 0x82),                            \
	        HOST(logical, 0x48, 0x81, 0x07 | (n) << 3, 0x11, 0x22, 0x33, 0x84)

static const struct host_form host_forms[] = {
        HOST_ALU(false, 0x00),
        HOST_ALU(true, 0x08),
        HOST_ALU(true, 0x20),
        HOST_ALU(false, 0x28),
        HOST_ALU(true, 0x30),
        HOST_ALU(false, 0x38),
        HOST_ALU(false, 0x88),
        HOST_GROUP1(false, 0),
        HOST_GROUP1(true, 1),
        HOST_GROUP1(true, 4),
        HOST_GROUP1(false, 5),
        HOST_GROUP1(true, 6),
        HOST_GROUP1(false, 7),
        HOST(true, 0x84, 0x17),
        HOST(true, 0x84, 0x37),
        HOST_WIDE(true, 0x85, 0x17),
        HOST(true, 0xf6, 0x07, 0x81),
        HOST(true, 0xf7, 0x07, 0x11, 0x22, 0x33, 0x84),
        HOST(true, 0x48, 0xf7, 0x07, 0x11, 0x22, 0x33, 0x84),
        HOST(false, 0x86, 0x17),
        HOST(false, 0x86, 0x37),
        HOST_WIDE(false, 0x87, 0x17),
        HOST(false, 0xc6, 0x07, 0x81),
        HOST(false, 0x66, 0xc7, 0x07, 0x11, 0x82),
        HOST(false, 0xc7, 0x07, 0x11, 0x22, 0x33, 0x84),
        HOST(false, 0x48, 0xc7, 0x07, 0x11, 0x22, 0x33, 0x84),
        HOST_WIDE(false, 0x0f, 0xb6, 0x17),
        HOST_WIDE(false, 0x0f, 0xb7, 0x17),
        HOST_WIDE(false, 0x0f, 0xbe, 0x17),
        HOST_WIDE(false, 0x0f, 0xbf, 0x17),
        HOST(false, 0x48, 0x63, 0x17),
        HOST(false, 0x63, 0x17),
        HOST(false, 0xf0, 0x0f, 0xb0, 0x17),
        HOST(false, 0x0f, 0xb0, 0x37),
        HOST_WIDE(false, 0x0f, 0xb1, 0x17),
        HOST(false, 0xf0, 0x01, 0x17),
        HOST(false, 0xf0, 0x87, 0x17),
};

static void compare_with_host(const struct host_form *form)
{
	struct context c = {.rax = interesting(), .rdx = interesting(), .flags = 0x202};
	u64 memory = next_random() & 3 ? interesting() : c.rax, mask = STATUS_FLAGS;

	c.flags |= next_random() & STATUS_FLAGS;
	memcpy(c.memory, &memory, 8);
	memcpy(device, &memory, 8);
	*gpr(GPR_RAX) = c.rax;
	*gpr(GPR_RDX) = c.rdx;
	*gpr(GPR_RDI) = LINEAR_DEVICE;
	vcpu->regs.rflags = c.flags;
	put_code(form->bytes, form->count);
	emulate_memory(vcpu);
	run_on_host(form->bytes, form->count, &c);

	expect_done(form->count);
	if (form->logical)
		mask &= ~FLAG_AF;
	assert_int_equal(*gpr(GPR_RAX), c.rax);
	assert_int_equal(*gpr(GPR_RDX), c.rdx);
	assert_memory_equal(device, c.memory, 8);
	assert_int_equal(vcpu->regs.rflags & mask, c.flags & mask);
}

static void test_emulate_agrees_with_the_processor(void **unused)
{
	u32 i, round;

	(void)unused;
	host_code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
	                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(host_code != MAP_FAILED);
	for (i = 0; i < ARRAY_SIZE(host_forms); i++)
		for (round = 0; round < 300; round++)
			compare_with_host(&host_forms[i]);
	munmap(host_code, 4096);
	assert_int_equal(counter(COUNTER_EMULATED), ARRAY_SIZE(host_forms) * 300);
}

/* ---- addresses ---- */

static void test_emulate_addressing(void **unused)
{
	(void)unused;
	memset(device, 0, sizeof(device));
	device[0x58] = 0xa1;
	device[0x59] = 0xa2;
	*gpr(GPR_RBX) = LINEAR_DEVICE;
	*gpr(GPR_R12) = 8;
	RUN(0x42, 0x0f, 0xb6, 0x44, 0xe3, 0x18); /* movzx eax, byte [rbx + r12 * 8 + 18h] */
	expect_done(6);
	assert_int_equal(*gpr(GPR_RAX), 0xa1);
	/* RIP-relative counts from the next instruction, behind the immediate. */
	RUN(0xc6, 0x05, 0x39, 0x00, 0x1f, 0x00, 0x77); /* 10007h + 1f0039h = 200040h */
	expect_done(7);
	assert_int_equal(device[0x40], 0x77);
	state.seg[SEG_GS].base = LINEAR_DEVICE;
	state.seg[SEG_DS].base = 0x5555; /* does not count in 64-bit code */
	RUN(0x65, 0x8a, 0x04, 0x25, 0x59, 0x00, 0x00, 0x00);
	assert_int_equal(*gpr(GPR_RAX) & 0xff, 0xa2);
	RUN(0xa0, 0x58, 0x00, 0x20, 0x00, 0x00, 0x00, 0x00, 0x00); /* moffs */
	expect_done(9);
	assert_int_equal(*gpr(GPR_RAX) & 0xff, 0xa1);
	*gpr(GPR_RBX) = 0xffffffff00000000ull | LINEAR_DEVICE;
	RUN(0x67, 0x8a, 0x43, 0x59); /* address size 32 */
	expect_done(4);
	assert_int_equal(*gpr(GPR_RAX) & 0xff, 0xa2);
}

static void test_emulate_16_and_32_bit_addresses(void **unused)
{
	(void)unused;
	use_protected_mode(true);
	state.seg[SEG_DS].base = DEVICE + 0x40;
	*gpr(GPR_RBX) = 0xfffffff0;
	device[0x38] = 0x5a;
	RUN(0x8a, 0x43, 0x08);
	expect_done(3);
	assert_int_equal(*gpr(GPR_RAX), 0x5a);
	use_protected_mode(false);
	state.seg[SEG_DS].base = DEVICE;
	*gpr(GPR_RBX) = 0xffff0010;
	*gpr(GPR_RSI) = 0xfff8;
	device[8] = 0x5b;
	RUN(0x8a, 0x00); /* [bx + si] wraps at 64 KiB */
	expect_done(2);
	assert_int_equal(*gpr(GPR_RAX), 0x5b);
}

static void test_emulate_cmpxchg_always_writes(void **unused)
{
	(void)unused;
	*gpr(GPR_RDI) = LINEAR_APIC;
	*gpr(GPR_RAX) = 0;
	RUN(0x0f, 0xb1, 0x17);
	expect_done(3);
	assert_int_equal(*gpr(GPR_RAX), 0x55667788); /* not equal */
	assert_int_equal(apic.reads, 1);
	assert_int_equal(apic.writes, 1);
	assert_int_equal(apic.value, 0x55667788);
	RUN(0x85, 0x17); /* TEST never does */
	RUN(0x39, 0x17); /* nor CMP */
	assert_int_equal(apic.writes, 1);
}

/* ---- who answers ---- */

static void test_emulate_local_apic_page(void **unused)
{
	(void)unused;
	*gpr(GPR_RDI) = LINEAR_APIC;
	*gpr(GPR_RAX) = ~0ull;
	RUN(0x8b, 0x87, 0x20, 0x00, 0x00, 0x00);
	expect_done(6);
	assert_int_equal(*gpr(GPR_RAX), 0x55667788);
	assert_int_equal(apic.offset, 0x20);
	assert_int_equal(apic.size, 4);
	*gpr(GPR_RAX) = 0xabcdef0112345678ull;
	RUN(0x89, 0x87, 0xb0, 0x00, 0x00, 0x00);
	assert_int_equal(apic.writes, 1);
	assert_int_equal(apic.offset, 0xb0);
	assert_int_equal(apic.value, 0x12345678);
}

static void test_emulate_nobody_answers(void **unused)
{
	(void)unused;
	*gpr(GPR_RDI) = LINEAR_HOLE;
	RUN(0x48, 0x8b, 0x07);
	expect_done(3);
	assert_true(*gpr(GPR_RAX) == ~0ull);
	assert_int_equal(counter(COUNTER_MEMORY_UNKNOWN), 1);
	RUN(0x48, 0x89, 0x07);
	expect_done(3);
	assert_int_equal(counter(COUNTER_MEMORY_UNKNOWN), 2);
}

static void test_emulate_operand_across_device_and_ram(void **unused)
{
	(void)unused;
	*gpr(GPR_RDI) = LINEAR_RAM - 3;
	*gpr(GPR_RAX) = 0x8877665544332211ull;
	RUN(0x48, 0x87, 0x07); /* xchg */
	expect_done(3);
	assert_int_equal(*gpr(GPR_RAX), 0);
	assert_memory_equal(device + 0xffd, "\x11\x22\x33", 3);
	assert_memory_equal(ram + LINEAR_RAM_GPA, "\x44\x55\x66\x77\x88", 5);
	RUN(0x48, 0x8b, 0x07);
	assert_true(*gpr(GPR_RAX) == 0x8877665544332211ull);
}

static void test_emulate_read_only_ram_keeps_its_bytes(void **unused)
{
	(void)unused;
	ram[ROM + 4] = 0x42;
	*gpr(GPR_RDI) = ROM + 4;
	*gpr(GPR_RAX) = 0;
	RUN(0x88, 0x07);
	expect_done(2);
	assert_int_equal(ram[ROM + 4], 0x42);
	RUN(0x8a, 0x07);
	assert_int_equal(*gpr(GPR_RAX), 0x42);
	assert_int_equal(counter(COUNTER_MEMORY_UNKNOWN), 1);
}

/* ---- faults ---- */

static void test_emulate_page_faults_of_the_guest(void **unused)
{
	(void)unused;
	*gpr(GPR_RDI) = LINEAR_ABSENT + 8;
	RUN(0x8b, 0x07);
	expect_exception(VECTOR_PF, 0);
	assert_int_equal(state.cr2, LINEAR_ABSENT + 8);
	*gpr(GPR_RDI) = LINEAR_ABSENT - 2; /* the second page of the operand */
	RUN(0x89, 0x07);
	expect_exception(VECTOR_PF, PF_WRITE);
	assert_int_equal(state.cr2, LINEAR_ABSENT);
	*gpr(GPR_RDI) = LINEAR_READ_ONLY;
	RUN(0x00, 0x07);
	expect_exception(VECTOR_PF, PF_PRESENT | PF_WRITE);
	RUN(0x38, 0x07); /* CMP only reads */
	expect_done(2);
	state.cpl = 3;
	*gpr(GPR_RDI) = LINEAR_SUPERVISOR;
	RUN(0x8b, 0x07);
	expect_exception(VECTOR_PF, PF_PRESENT | PF_USER);
}

static void test_emulate_noncanonical_addresses(void **unused)
{
	(void)unused;
	*gpr(GPR_RDI) = 1ull << 47;
	RUN(0x8b, 0x07);
	expect_exception(VECTOR_GP, 0);
	*gpr(GPR_RBP) = 1ull << 47;
	RUN(0x8b, 0x45, 0x00);
	expect_exception(VECTOR_SS, 0);
	assert_int_equal(state.cr2, 0);
}

static void test_emulate_segment_checks(void **unused)
{
	(void)unused;
	use_protected_mode(true);
	state.seg[SEG_DS].base = DEVICE;
	state.seg[SEG_DS].limit = 0x103;
	*gpr(GPR_RDI) = 0x100;
	RUN(0x8b, 0x07);
	expect_done(2);
	*gpr(GPR_RDI) = 0x101;
	RUN(0x8b, 0x07);
	expect_exception(VECTOR_GP, 0);
	*gpr(GPR_RDI) = 0x10;
	state.seg[SEG_DS].attr &= ~2; /* not writable */
	RUN(0x89, 0x07);
	expect_exception(VECTOR_GP, 0);
	RUN(0x2e, 0x89, 0x07); /* code is never writable */
	expect_exception(VECTOR_GP, 0);
	state.seg[SEG_SS].base = DEVICE;
	state.seg[SEG_SS].attr |= 4; /* expands down: above the limit is valid */
	state.seg[SEG_SS].limit = 0xff;
	*gpr(GPR_RBP) = 0x100;
	RUN(0x8b, 0x45, 0x00);
	expect_done(3);
	RUN(0x8b, 0x45, 0xff);
	expect_exception(VECTOR_SS, 0);
	state.cr0 = 0; /* real mode has no types */
	*gpr(GPR_RDI) = 0x10;
	RUN(0x89, 0x07);
	expect_done(2);
}

static void test_emulate_undecodable(void **unused)
{
	(void)unused;
	RUN(0x0f, 0x0b);
	expect_exception(VECTOR_UD, 0xffffffff);
	assert_int_equal(counter(COUNTER_UNDECODED), 1);
	RUN(0x0f, 0xa2); /* CPUID touches no memory: the code has changed under way */
	expect_exception(VECTOR_UD, 0xffffffff);
	RUN(0x6e); /* OUTS exits for its port; here nobody checked its privilege */
	expect_exception(VECTOR_UD, 0xffffffff);
	assert_int_equal(port.out_count, 0);
	assert_int_equal(counter(COUNTER_UNDECODED), 3);
	assert_int_equal(counter(COUNTER_EMULATED), 0);
}

static void test_emulate_fetch_crosses_pages_only_if_needed(void **unused)
{
	u64 end = LINEAR_CODE + 0x1000;

	(void)unused;
	*gpr(GPR_RDI) = LINEAR_DEVICE;
	memcpy(ram + LINEAR_CODE_GPA + 0xffe, "\x89\x07", 2);
	vcpu->regs.rip = end - 2;
	emulate_memory(vcpu);
	assert_int_equal(injected.count, 0);
	assert_int_equal(vcpu->regs.rip, end);
	memcpy(ram + LINEAR_CODE_GPA + 0xffe, "\x89\x87", 2);
	vcpu->regs.rip = end - 2;
	emulate_memory(vcpu);
	assert_int_equal(injected.vector, VECTOR_PF);
	assert_int_equal(injected.error, PF_FETCH);
	assert_int_equal(state.cr2, end);
	assert_int_equal(vcpu->regs.rip, end - 2);
}

static void test_emulate_uses_delivered_bytes(void **unused)
{
	(void)unused;
	PUT_CODE(0x0f, 0x0b);
	*gpr(GPR_RDI) = LINEAR_DEVICE;
	*gpr(GPR_RAX) = 0x99;
	memcpy(delivered, "\x88\x07", 2);
	delivered_count = 2;
	emulate_memory(vcpu);
	expect_done(2);
	assert_int_equal(device[0], 0x99);
	/* Too few of them: memory has the rest. */
	PUT_CODE(0x88, 0x47, 0x01);
	memcpy(delivered, "\x88\x47", 2);
	emulate_memory(vcpu);
	expect_done(3);
	assert_int_equal(device[1], 0x99);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	        TEST(test_emulate_agrees_with_the_processor),
	        TEST(test_emulate_addressing),
	        TEST(test_emulate_16_and_32_bit_addresses),
	        TEST(test_emulate_cmpxchg_always_writes),
	        TEST(test_emulate_local_apic_page),
	        TEST(test_emulate_nobody_answers),
	        TEST(test_emulate_operand_across_device_and_ram),
	        TEST(test_emulate_read_only_ram_keeps_its_bytes),
	        TEST(test_emulate_page_faults_of_the_guest),
	        TEST(test_emulate_noncanonical_addresses),
	        TEST(test_emulate_segment_checks),
	        TEST(test_emulate_undecodable),
	        TEST(test_emulate_fetch_crosses_pages_only_if_needed),
	        TEST(test_emulate_uses_delivered_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
