/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Changes its memory types, by MTRRs and by CR0.CD, again and again, while all other processors work in memory
 * of their own and the first takes interrupts and exceptions: through a table of gates, onto a stack and by code
 * that hardly anything else brings back. Nothing may be lost and no word may change; what is reserved in MTRRs
 * takes #GP. Needs 64 MiB. Ends: poweroff, status 0.
 */
#include "smp.h"

#define MIB    (1ul << 20)
#define GATES  (32 * MIB) /* a copy of them, for nothing else's use */
#define OWN    (36 * MIB) /* of each processor: every so many bytes a word */
#define STRIDE (512ul * 1024)
#define WORDS  16u
#define ROUNDS 120u
#define VECTOR 0x41

#define MTRR_BASE0   0x200
#define MTRR_MASK0   0x201
#define MTRR_FIX64K  0x250
#define MTRR_DEFTYPE 0x2ff
#define MTRR_ON      0x800ul
#define MTRR_FIXED   0x400ul
#define MTRR_VALID   0x800ul
#define TYPE_WT      4ul
#define TYPE_WB      6ul
#define CR0_CD       (1ul << 30)

#define ICR_SELF 0x44000u

#define WRMSR_LENGTH 2
#define UD2_LENGTH   2

struct table {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

static volatile uint32_t taken;
static volatile bool over;
static volatile uint64_t turns[SMP_MAX]; /* by processor */
static volatile uint64_t wrong[SMP_MAX];

static uint64_t read_cr0(void)
{
	uint64_t value;

	__asm__ volatile("mov %%cr0, %0" : "=r"(value));
	return value;
}

static void set_cache_disabled(bool disabled)
{
	uint64_t value = disabled ? read_cr0() | CR0_CD : read_cr0() & ~CR0_CD;

	__asm__ volatile("mov %0, %%cr0; wbinvd" : : "r"(value) : "memory");
}

/* --- everybody --- */

static volatile uint64_t *word(unsigned int id, unsigned int i)
{
	return (volatile uint64_t *)(OWN + (i * STRIDE) + id * 4096ul);
}

static void use_memory(unsigned int id)
{
	uint64_t turn = turns[id];

	for (unsigned int i = 0; i < WORDS; i++) {
		if (*word(id, i) != turn * (i + 1))
			wrong[id] = wrong[id] + 1;
		*word(id, i) = (turn + 1) * (i + 1);
	}
	turns[id] = turn + 1;
}

static void other(unsigned int id)
{
	while (!over)
		use_memory(id);
	for (;;)
		__asm__ volatile("cli; hlt");
}

/* --- the first --- */

__attribute__((interrupt)) static void on_vector(struct interrupt_frame *frame)
{
	(void)frame;
	taken = taken + 1;
	smp_apic_write(APIC_EOI, 0);
}

static void move_gates(void)
{
	struct table table;
	const volatile uint8_t *from;

	__asm__ volatile("sidt %0" : "=m"(table));
	from = (const volatile uint8_t *)(uintptr_t)table.base;
	for (unsigned int i = 0; i <= table.limit; i++)
		((volatile uint8_t *)GATES)[i] = from[i];
	table.base = GATES;
	__asm__ volatile("lidt %0" : : "m"(table));
}

static void change(unsigned int round)
{
	switch (round % 6) {
	case 0:
		micro_wrmsr(MTRR_DEFTYPE, MTRR_ON | TYPE_WT);
		break;
	case 1:
		set_cache_disabled(true);
		break;
	case 2:
		set_cache_disabled(false);
		break;
	case 3: /* UC, in the middle of 2 MiB */
		micro_wrmsr(MTRR_BASE0, (OWN + round * 0x10000ul) & ~0xffffull);
		micro_wrmsr(MTRR_MASK0, 0xffffff0000ull | MTRR_VALID);
		break;
	case 4:
		micro_wrmsr(MTRR_FIX64K, 0x0406040604060406ull);
		micro_wrmsr(MTRR_DEFTYPE, MTRR_ON | MTRR_FIXED | TYPE_WB);
		break;
	default:
		micro_wrmsr(MTRR_MASK0, 0);
		micro_wrmsr(MTRR_DEFTYPE, MTRR_ON | TYPE_WB);
	}
}

/* Delivery itself finds the gates gone. */
static bool exception_arrives(void)
{
	micro_trap_expect(MICRO_UD, UD2_LENGTH);
	__asm__ volatile("ud2");
	return micro_trap_taken() == MICRO_UD;
}

static bool software_interrupt_arrives(void)
{
	uint32_t before = taken;

	__asm__ volatile("int %0" : : "i"(VECTOR) : "memory");
	return taken == before + 1;
}

static bool ipi_arrives(void)
{
	uint32_t before = taken;

	smp_apic_icr(0, ICR_SELF | VECTOR);
	for (unsigned int i = 0; taken == before && i < 100000000; i++)
		__asm__ volatile("pause");
	return taken == before + 1;
}

static bool write_faults(uint32_t msr, uint64_t value)
{
	micro_trap_expect(MICRO_GP, WRMSR_LENGTH);
	micro_wrmsr(msr, value);
	return micro_trap_taken() == MICRO_GP;
}

static void check_events(unsigned int rounds)
{
	bool exceptions = true, software = true, ipis = true;

	for (unsigned int i = 0; i < rounds; i++) {
		change(i);
		if (i / 6 % 3 == 0)
			exceptions = exception_arrives() && exceptions;
		else if (i / 6 % 3 == 1)
			software = software_interrupt_arrives() && software;
		else
			ipis = ipi_arrives() && ipis;
		use_memory(0);
	}
	micro_check(exceptions, "exceptions arrive");
	micro_check(software, "software interrupts arrive");
	micro_check(ipis, "interrupts arrive once");
}

int micro_main(unsigned int vcpus)
{
	bool moved = true, whole = true;

	vcpus = vcpus < SMP_MAX ? vcpus : SMP_MAX;
	smp_set_up_gates();
	smp_set_gate(VECTOR, on_vector);
	smp_apic_enable(smp_has_x2apic());
	move_gates();
	micro_check(micro_rdmsr(MTRR_DEFTYPE) == (MTRR_ON | TYPE_WB), "memory is write-back");
	micro_check(!(read_cr0() & CR0_CD), "caches are enabled");
	micro_check(write_faults(MTRR_DEFTYPE, MTRR_ON | 2), "a reserved type takes #GP");
	micro_check(write_faults(MTRR_MASK0, 1), "a reserved bit takes #GP");
	for (unsigned int id = 0; id < vcpus; id++)
		for (unsigned int i = 0; i < WORDS; i++)
			*word(id, i) = 0;
	__asm__ volatile("sti");
	check_events(ROUNDS);
	smp_start(vcpus, other);
	check_events(ROUNDS);
	for (unsigned int id = 1; id < vcpus; id++) {
		uint64_t before = turns[id];

		while (turns[id] < before + 2)
			__asm__ volatile("pause");
	}
	over = true;
	for (unsigned int id = 0; id < vcpus; id++) {
		moved = moved && turns[id] > 1;
		whole = whole && !wrong[id];
	}
	micro_check(moved, "every processor goes on");
	micro_check(whole, "no word changes");
	return micro_failures();
}
