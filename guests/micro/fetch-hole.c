/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Executes memory that is not there. A PC would fetch ones, an invalid instruction; whatever
 * exception it is, the guest gets one and nobody else notices. Ends: poweroff, status 0.
 */
#include "micro.h"

#define HOLE 0xe1000000ul

int micro_main(unsigned int vcpus)
{
	void (*nowhere)(void) = (void (*)(void))HOLE;

	(void)vcpus;
	micro_trap_expect(MICRO_ANY_VECTOR, MICRO_RETURN);
	nowhere();
	micro_check(micro_trap_taken() != MICRO_NO_VECTOR, "an exception came");
	return micro_failures();
}
