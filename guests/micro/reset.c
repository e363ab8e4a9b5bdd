/* SPDX-License-Identifier: BSD-2-Clause */
/* Resets the machine through the keyboard controller. Ends: reset. */
#include "micro.h"

#define KEYBOARD_COMMAND_PORT 0x64
#define PULSE_RESET           0xfe

int micro_main(unsigned int vcpus)
{
	(void)vcpus;
	micro_outb(KEYBOARD_COMMAND_PORT, PULSE_RESET);
	micro_print("not ok the guest still runs\n");
	return 1;
}
