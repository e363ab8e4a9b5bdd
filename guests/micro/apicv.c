/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest of tests/model/apicv_guest.h on a machine. Prints what the account is to have on each processor:
 * "count PROCESSOR.EXIT-KIND NUMBER". Needs --set testdev=on. Ends: poweroff, status 0.
 */
#include "smp.h"

/* The registers' names are the architecture's own there. */
#undef APIC_ID
#undef APIC_EOI
#undef APIC_SVR
#undef APIC_ICR
#include "tests/model/apicv_guest.h"

static const char *const processor_names[APICV_PROCESSORS] = {
        [APICV_WESTMERE] = "westmere",
        [APICV_BROADWELL] = "broadwell",
};

static const char *const kind_names[] = {
#define X(id, name, what) name,
        EXIT_KINDS(X)
#undef X
};

void g_sti(void)
{
	__asm__ volatile("sti" : : : "memory");
}

void g_cli(void)
{
	__asm__ volatile("cli" : : : "memory");
}

void g_fail(const char *file, int line, const char *what)
{
	micro_print(file);
	micro_print(":");
	micro_print_number((unsigned int)line);
	micro_print("\n");
	micro_check(false, what);
	micro_power_off(1);
}

void g_check_equal(const char *file, int line, const char *what, u64 a, u64 b)
{
	if (a != b)
		g_fail(file, line, what);
}

__attribute__((interrupt)) static void on_vector(struct interrupt_frame *frame)
{
	(void)frame;
	apicv_interrupt(APICV_VECTOR);
}

__attribute__((interrupt)) static void on_level(struct interrupt_frame *frame)
{
	(void)frame;
	apicv_interrupt(APICV_LEVEL);
}

static void print_expected(enum apicv_processor processor)
{
	for (u32 i = 0; i < ARRAY_SIZE(apicv_kinds); i++) {
		micro_print("count ");
		micro_print(processor_names[processor]);
		micro_print(".");
		micro_print(kind_names[apicv_kinds[i]]);
		micro_print(" ");
		micro_print_number(apicv_expected(processor, apicv_kinds[i]));
		micro_print("\n");
	}
}

int micro_main(unsigned int vcpus)
{
	(void)vcpus;
	smp_set_up_gates();
	smp_set_gate(APICV_VECTOR, on_vector);
	smp_set_gate(APICV_LEVEL, on_level);
	for (u32 processor = 0; processor < APICV_PROCESSORS; processor++)
		print_expected(processor);
	apicv_run();
	micro_check(true, "every interrupt was taken, in each step");
	return micro_failures() ? 1 : 0;
}
