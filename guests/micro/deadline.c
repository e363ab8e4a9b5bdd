/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * TSC deadlines by turns awake with interrupts on, and asleep: each comes once, and not before its time. Last, one
 * that is cancelled. Prints how many there were, and how late their handlers began, on the average. Where the processor has a timer for guests, those awake come by
 * it, and those asleep by the physical one: the account tells.
 */
#include "smp.h"

#define ROUNDS     200
#define AHEAD      20000 /* ticks */
#define VECTOR     0x60
#define DEADLINE   0x40000 /* of the LVT entry: the mode */
#define MSR_BASE   0x1b
#define X2APIC     0xc00
#define MSR_TARGET 0x6e0
#define MSR_EOI    0x80b
#define MSR_SVR    0x80f
#define MSR_TIMER  0x832

static volatile unsigned int taken;
static volatile uint64_t taken_at;
static uint64_t late[2];

static uint64_t rdtsc(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return low | (uint64_t)high << 32;
}

__attribute__((interrupt)) static void on_deadline(struct interrupt_frame *frame)
{
	(void)frame;
	taken_at = rdtsc();
	taken++;
	micro_wrmsr(MSR_EOI, 0);
}

/* true: it came once and in time. */
static bool wait_for_one(bool asleep)
{
	unsigned int before = taken;
	uint64_t deadline = rdtsc() + AHEAD;

	__asm__ volatile("cli" : : : "memory");
	micro_wrmsr(MSR_TARGET, deadline);
	if (asleep)
		__asm__ volatile("sti; hlt" : : : "memory");
	else
		__asm__ volatile("sti" : : : "memory");
	while (taken == before)
		;
	late[asleep] += taken_at - deadline;
	return taken == before + 1 && taken_at >= deadline && !micro_rdmsr(MSR_TARGET);
}

int micro_main(unsigned int vcpus)
{
	unsigned int good[2] = {0, 0};
	uint64_t end;

	(void)vcpus;
	smp_set_up_gates();
	smp_set_gate(VECTOR, on_deadline);
	micro_wrmsr(MSR_BASE, micro_rdmsr(MSR_BASE) | X2APIC);
	micro_wrmsr(MSR_SVR, 0x1ff);
	micro_wrmsr(MSR_TIMER, DEADLINE | VECTOR);
	for (unsigned int i = 0; i < 2 * ROUNDS; i++)
		good[i & 1] += wait_for_one(i & 1);
	micro_check(good[0] == ROUNDS, "deadlines awake");
	micro_check(good[1] == ROUNDS, "deadlines asleep");
	micro_wrmsr(MSR_TARGET, rdtsc() + 100 * AHEAD);
	micro_wrmsr(MSR_TARGET, 0);
	for (end = rdtsc() + 200 * AHEAD; rdtsc() < end;)
		;
	micro_check(taken == 2 * ROUNDS, "a cancelled one does not come");
	micro_print_count("deadlines", taken);
	micro_print_count("late-awake", late[0] / ROUNDS);
	micro_print_count("late-asleep", late[1] / ROUNDS);
	return micro_failures() ? 1 : 0;
}
