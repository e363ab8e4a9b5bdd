/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An endless loop with interrupts off: takes no exit of its own accord. Only the hypervisor's own
 * timer gets the processor back. Ends: timeout.
 */
#include "micro.h"

int micro_main(unsigned int vcpus)
{
	(void)vcpus;
	micro_print("spinning\n");
	__asm__ volatile("cli\n1:\tjmp 1b");
	return 1;
}
