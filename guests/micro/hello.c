/* SPDX-License-Identifier: BSD-2-Clause */
/* The smallest guest that says something and powers off. Ends: poweroff, status 0. */
#include "micro.h"

int micro_main(unsigned int vcpus)
{
	micro_print("hello from a micro guest, vcpus ");
	micro_print_hex(vcpus);
	micro_print("\n");
	return 0;
}
