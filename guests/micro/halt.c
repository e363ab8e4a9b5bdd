/* SPDX-License-Identifier: BSD-2-Clause */
/* Halts with interrupts off: nothing but an NMI or INIT can wake it, and none comes. Ends: timeout.
 */
#include "micro.h"

int micro_main(unsigned int vcpus)
{
	(void)vcpus;
	micro_print("halting\n");
	__asm__ volatile("cli\n\thlt");
	micro_print("not ok the guest still runs\n");
	return 1;
}
