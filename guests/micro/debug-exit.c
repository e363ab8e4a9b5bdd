/* SPDX-License-Identifier: BSD-2-Clause */
/* Ends the run by the debug-exit port. Ends: debug-exit, code 42. */
#include "micro.h"

int micro_main(unsigned int vcpus)
{
	(void)vcpus;
	micro_outb(MICRO_DEBUG_EXIT_PORT, 42);
	micro_print("not ok the guest still runs\n");
	return 1;
}
