/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guest-physical memory that is not there, as on a PC: reads give ones, writes go nowhere, in every
 * width and by each common form of MOV. Ends: poweroff, status 0.
 */
#include "micro.h"

/* Between the top of any guest's low memory and the I/O APIC. */
#define HOLE 0xe1000000ul

static uint64_t read_zero_extended(volatile void *p)
{
	uint64_t value;

	__asm__ volatile("movzbl %1, %k0" : "=r"(value) : "m"(*(volatile uint8_t *)p));
	return value;
}

static uint64_t read_sign_extended(volatile void *p)
{
	uint64_t value;

	__asm__ volatile("movswq %1, %0" : "=r"(value) : "m"(*(volatile uint16_t *)p));
	return value;
}

int micro_main(unsigned int vcpus)
{
	volatile uint8_t *hole8 = (volatile uint8_t *)HOLE;
	volatile uint16_t *hole16 = (volatile uint16_t *)HOLE;
	volatile uint32_t *hole32 = (volatile uint32_t *)HOLE;
	volatile uint64_t *hole64 = (volatile uint64_t *)HOLE;

	(void)vcpus;
	micro_check(*hole8 == 0xff, "1-byte read gives ones");
	micro_check(*hole16 == 0xffff, "2-byte read gives ones");
	micro_check(*hole32 == 0xffffffff, "4-byte read gives ones");
	micro_check(*hole64 == ~0ull, "8-byte read gives ones");
	micro_check(read_zero_extended(hole8) == 0xff, "zero-extending read");
	micro_check(read_sign_extended(hole16) == ~0ull, "sign-extending read");
	*hole8 = 0x12;
	*hole16 = 0x1234;
	*hole32 = 0x12345678;
	*hole64 = 0x123456789abcdef0;
	micro_check(*hole64 == ~0ull, "writes go nowhere");
	micro_check(*(volatile uint32_t *)(HOLE + 0xffd) == 0xffffffff,
	            "a read across a page boundary gives ones");
	return micro_failures();
}
