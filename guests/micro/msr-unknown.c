/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Model-specific registers that do not exist: RDMSR and WRMSR take #GP in the guest. In and out of
 * the ranges that an MSR permission map covers. Ends: poweroff, status 0.
 */
#include "micro.h"

#define RDMSR_LENGTH 2
#define WRMSR_LENGTH 2

static bool read_faults(uint32_t msr)
{
	uint32_t low, high;

	micro_trap_expect(MICRO_GP, RDMSR_LENGTH);
	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr) : "memory");
	return micro_trap_taken() == MICRO_GP;
}

static bool write_faults(uint32_t msr)
{
	micro_trap_expect(MICRO_GP, WRMSR_LENGTH);
	__asm__ volatile("wrmsr" : : "a"(0), "d"(0), "c"(msr) : "memory");
	return micro_trap_taken() == MICRO_GP;
}

int micro_main(unsigned int vcpus)
{
	(void)vcpus;
	micro_check(read_faults(0x00001fff), "RDMSR of 1FFFh takes #GP");
	micro_check(write_faults(0x00001fff), "WRMSR of 1FFFh takes #GP");
	micro_check(read_faults(0xc0001fff), "RDMSR of C000_1FFFh takes #GP");
	micro_check(write_faults(0xc0001fff), "WRMSR of C000_1FFFh takes #GP");
	micro_check(read_faults(0x12345678), "RDMSR outside the map takes #GP");
	micro_check(write_faults(0x12345678), "WRMSR outside the map takes #GP");
	micro_check(read_faults(0xffffffff), "RDMSR of FFFF_FFFFh takes #GP");
	micro_check(write_faults(0xffffffff), "WRMSR of FFFF_FFFFh takes #GP");
	return micro_failures();
}
