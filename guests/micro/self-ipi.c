/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * IPIs to itself in x2APIC mode: taken at once, and held back by CR8 until it drops. Everything is done so often as
 * is printed, which is what exits are held against: with interrupt virtualization there are none for any of it,
 * with a TPR shadow alone one for each write of a register, and one for each time that the task priority falls
 * below an interrupt that waits. Needs one vCPU. Ends: poweroff, status 0.
 */
#include "smp.h"

#define APIC_SELF 0x3f0
#define VECTOR    0x61
#define CLASS     (VECTOR >> 4)
#define ROUNDS    1000

static volatile unsigned int taken;

__attribute__((interrupt)) static void on_self(struct interrupt_frame *frame)
{
	(void)frame;
	taken++;
	smp_apic_write(APIC_EOI, 0);
}

static void write_cr8(uint64_t value)
{
	__asm__ volatile("mov %0, %%cr8" : : "r"(value) : "memory");
}

int micro_main(unsigned int vcpus)
{
	unsigned int early = 0, late = 0;

	(void)vcpus;
	smp_set_up_gates();
	smp_set_gate(VECTOR, on_self);
	smp_apic_enable(true);
	__asm__ volatile("sti" : : : "memory");
	for (unsigned int i = 0; i < ROUNDS; i++) {
		smp_apic_write(APIC_SELF, VECTOR);
		late += taken != i + 1;
	}
	for (unsigned int i = 0; i < ROUNDS; i++) {
		write_cr8(CLASS);
		smp_apic_write(APIC_SELF, VECTOR);
		early += taken != ROUNDS + i;
		write_cr8(0);
		late += taken != ROUNDS + i + 1;
	}
	micro_check(!early, "an IPI waits while the task priority is as high");
	micro_check(!late, "an IPI is taken when nothing holds it back");
	micro_print_count("self-ipis", 2 * ROUNDS);
	micro_print_count("ends", taken);
	micro_print_count("drops", ROUNDS);
	return micro_failures() != 0;
}
