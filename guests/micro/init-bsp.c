/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * INIT to the boot processor: it does not wait for a start-up IPI but runs at once, from the reset
 * vector. There is no firmware: what is fetched there is no instruction, and the exception goes to
 * the handler that the guest has put into the real-mode table. That one is the guest's end; it says
 * whence it came. SDM volume 3, "Processor State After Reset". Ends: poweroff, status 0.
 */
#include "smp.h"

#define ICR_DEASSERT 0x8500u  /* INIT, level-triggered, de-assert */
#define VECTORS      0x00000u /* the real-mode table */
#define HANDLER      0x60000u
#define SEGMENT      (HANDLER >> 4)

/* 16-bit code: pushed were IP and CS of the instruction, and flags. The status is 1 if it was another one. */
__asm__(".code16\n"
        "init_handler:\n\t"
        "mov $1, %bl\n\t"
        "mov $(not_ok - init_handler), %si\n\t"
        "pop %ax\n\t"
        "cmp $0xfff0, %ax\n\t"
        "jne 1f\n\t"
        "pop %ax\n\t"
        "cmp $0xf000, %ax\n\t"
        "jne 1f\n\t"
        "mov $0, %bl\n\t"
        "mov $(ok - init_handler), %si\n"
        "1:\n\t"
        "mov $0x3f8, %dx\n"
        "2:\n\t"
        "mov %cs:(%si), %al\n\t"
        "inc %si\n\t"
        "test %al, %al\n\t"
        "jz 3f\n\t"
        "out %al, %dx\n\t"
        "jmp 2b\n"
        "3:\n\t"
        "mov $0x505, %dx\n\t"
        "mov %bl, %al\n\t"
        "out %al, %dx\n\t"
        "mov $0x604, %dx\n\t"
        "mov $0x3400, %ax\n\t"
        "out %ax, %dx\n"
        "4:\n\t"
        "hlt\n\t"
        "jmp 4b\n"
        "ok: .asciz \"ok INIT: the boot processor runs from the reset vector\\n\"\n"
        "not_ok: .asciz \"not ok INIT: the boot processor runs from elsewhere\\n\"\n"
        "init_handler_end:\n\t"
        ".code64\n");
extern const char init_handler[], init_handler_end[];

int micro_main(unsigned int vcpus)
{
	volatile uint32_t *vector = (volatile uint32_t *)(uintptr_t)VECTORS;
	volatile char *to = (volatile char *)(uintptr_t)HANDLER;

	(void)vcpus;
	for (const char *from = init_handler; from < init_handler_end; from++)
		*to++ = *from;
	__asm__("" : "+r"(vector)); /* address 0 is an address */
	vector[MICRO_UD] = SEGMENT << 16;
	smp_apic_enable(false);
	smp_apic_icr(0, ICR_DEASSERT);
	micro_print("ok INIT level de-assert does nothing\n");
	smp_apic_icr(0, ICR_INIT);
	micro_print("not ok INIT: the boot processor still runs\n");
	return 1;
}
