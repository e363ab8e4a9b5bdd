/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * I/O ports that nobody decodes: IN gives ones, OUT goes nowhere, in every width, also where the
 * access runs over the last port. Ends: poweroff, status 0.
 */
#include "micro.h"

#define NOBODY    0xe000
#define LAST_PORT 0xffff

int micro_main(unsigned int vcpus)
{
	uint8_t bytes[4] = {0, 0, 0, 0};
	void *p = bytes;
	uint64_t count = sizeof(bytes);

	(void)vcpus;
	micro_check(micro_inb(NOBODY) == 0xff, "1-byte IN gives ones");
	micro_check(micro_inw(NOBODY) == 0xffff, "2-byte IN gives ones");
	micro_check(micro_inl(NOBODY) == 0xffffffff, "4-byte IN gives ones");
	micro_outb(NOBODY, 0);
	micro_outw(NOBODY, 0);
	micro_outl(NOBODY, 0);
	micro_check(micro_inl(NOBODY) == 0xffffffff, "OUT goes nowhere");
	micro_check(micro_inb(LAST_PORT) == 0xff, "the last port gives ones");
	__asm__ volatile("rep insb" : "+D"(p), "+c"(count) : "d"(NOBODY) : "memory");
	micro_check(bytes[0] == 0xff && bytes[3] == 0xff && count == 0, "REP INSB gives ones");
	return micro_failures();
}
