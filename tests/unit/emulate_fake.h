/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The world around the emulator under test: one vCPU, a megabyte of RAM with page tables in it, one
 * device, one port range, and recorders in the place of the local APIC and of exception injection.
 */
#ifndef TESTS_UNIT_EMULATE_FAKE_H
#define TESTS_UNIT_EMULATE_FAKE_H

#include "core/vm.h"

#define RAM_SIZE  (1u << 20)
#define FULL      (PTE_P | PTE_W | PTE_U)
#define CODE      0x10000ull
#define DATA      0x20000ull /* RAM, linear = physical */
#define ROM       0xf0000ull /* RAM that is mapped read-only */
#define DEVICE    0xd0000000ull
#define APIC_PAGE 0xfee00000ull
#define HOLE      0xe0000000ull

/* Linear pages behind the first 2 MiB, which are mapped one to one. */
#define LINEAR(n)         (0x200000ull + (n)*0x1000ull)
#define LINEAR_DEVICE     LINEAR(0)
#define LINEAR_RAM        LINEAR(1) /* next to the device: operands cross from one to the other */
#define LINEAR_APIC       LINEAR(2)
#define LINEAR_HOLE       LINEAR(3)
#define LINEAR_ABSENT     LINEAR(4)
#define LINEAR_READ_ONLY  LINEAR(5)
#define LINEAR_SUPERVISOR LINEAR(6)
#define LINEAR_CODE       LINEAR(7) /* the next page is absent */
#define LINEAR_RAM_GPA    0x80000ull
#define LINEAR_CODE_GPA   0x90000ull

extern u8 *ram;
extern struct vm *vm;
extern struct vcpu *vcpu;
extern struct vcpu_state state; /* what get_state and set_state of the back end move */
extern u8 device[0x1000];
extern u8 delivered[16]; /* instruction bytes that the processor gave with the exit */
extern u32 delivered_count;

struct fake_injected {
	u32 count, vector;
	u32 error; /* ones: none */
};
extern struct fake_injected injected;

struct fake_apic {
	u32 reads, writes, offset, size;
	u64 value;
};
extern struct fake_apic apic;

struct fake_port {
	u8 out[256];
	u32 out_count, in_count;
};
extern struct fake_port port;

/* Before and after each test. The vCPU is in 64-bit code at CODE, CPL 0. */
int setup(void **unused);
int teardown(void **unused);

void build_tables(void);
void use_long_mode(void);
/* Flat 16- or 32-bit segments without paging. */
void use_protected_mode(bool wide);

/* Make these bytes the next instruction. */
void put_code(const u8 *bytes, u32 count);
#define PUT_CODE(...) put_code((u8[]){__VA_ARGS__}, sizeof((u8[]){__VA_ARGS__}))

#define RUN(...)                                                                                   \
	do {                                                                                       \
		PUT_CODE(__VA_ARGS__);                                                             \
		emulate_memory(vcpu);                                                              \
	} while (0)

u64 counter(enum counter_id id);
u64 *gpr(enum x86_gpr reg);
/* No exception, and RIP is `length` behind CODE. */
void expect_done(u32 length);
/* One exception (error all ones: without error code), and RIP at CODE. */
void expect_exception(u8 vector, u32 error);
u64 next_random(void);

#endif
