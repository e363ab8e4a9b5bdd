/* SPDX-License-Identifier: BSD-2-Clause */
/* Takes an exception without an interrupt descriptor table. Ends: triple-fault. */
#include "micro.h"

int micro_main(unsigned int vcpus)
{
	static const struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) none = {0, 0};

	(void)vcpus;
	micro_print("triple fault\n");
	__asm__ volatile("lidt %0\n\tud2" : : "m"(none));
	micro_print("not ok the guest still runs\n");
	return 1;
}
