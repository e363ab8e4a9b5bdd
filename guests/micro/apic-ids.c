/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whatever APIC IDs the machine was given: each processor is known by one ID alone, in CPUID and in its
 * APIC, and each reaches each of the others by it. They take turns: whose turn it is sends, and after each
 * IPI all of those that it names have taken one, and nobody else has; then the next one's turn comes, by an
 * IPI out of HLT. An IPI that does not come leaves the guest waiting for ever.
 *
 * In the mode in which the APICs are found, which is x2APIC mode if an ID demands it. What is in the APIC:
 * SDM volume 3, "Local APIC ID", "x2APIC Register Address Space", "Logical Destination Mode in x2APIC Mode".
 * Prints "id ID" for each processor. Ends: poweroff, status 0.
 */
#include "smp.h"

#define VECTOR 0x51
#define ROUNDS 10

#define LDR         0xd0
#define APIC_PAGE   0xfee00000ul
#define MSR_X2APIC  0x800
#define ICR_LOGICAL 0x800u
#define EVERYBODY   (in_x2apic ? 0xffffffffu : 0xffu)

static bool in_x2apic;
static unsigned int cpus;
static volatile unsigned int present, settled, turn;

/* In the order in which they began. */
static struct {
	volatile uint32_t id, taken;
	uint32_t due; /* of whoever's turn it is */
	bool wrong_id, wrong_ldr, astray;
	uint32_t pad[12];
} of[SMP_MAX] __attribute__((aligned(64)));

static uint32_t apic_read(unsigned int reg)
{
	return in_x2apic ? (uint32_t)micro_rdmsr(MSR_X2APIC + reg / 16) : smp_load(APIC_PAGE + reg);
}

static uint32_t apic_id(void)
{
	return in_x2apic ? apic_read(APIC_ID) : apic_read(APIC_ID) >> 24;
}

static unsigned int my_place(void)
{
	uint32_t id = apic_id();
	unsigned int place = 0;

	while (place + 1 < cpus && of[place].id != id)
		place++;
	return place;
}

__attribute__((interrupt)) static void on_ipi(struct interrupt_frame *frame)
{
	(void)frame;
	__atomic_fetch_add(&of[my_place()].taken, 1, __ATOMIC_SEQ_CST);
	smp_apic_write(APIC_EOI, 0);
}

static uint32_t logical_id(uint32_t id)
{
	return id >> 4 << 16 | 1u << (id & 15);
}

static unsigned int take_place(void)
{
	unsigned int place = __atomic_fetch_add(&present, 1, __ATOMIC_SEQ_CST);

	smp_apic_enable(in_x2apic);
	of[place].id = smp_initial_id();
	of[place].wrong_id = apic_id() != of[place].id;
	of[place].wrong_ldr = in_x2apic && apic_read(LDR) != logical_id(of[place].id);
	__atomic_fetch_add(&settled, 1, __ATOMIC_SEQ_CST);
	return place;
}

/* Interrupts on: until all have taken what they are due; none takes more. */
static void await_all(unsigned int sender)
{
	for (unsigned int i = 0; i < cpus; i++) {
		while (of[i].taken < of[i].due)
			__asm__ volatile("pause" : : : "memory");
		of[sender].astray |= of[i].taken != of[i].due;
	}
}

static void send_to_all(unsigned int sender, uint32_t dest, uint32_t low, bool to_sender)
{
	for (unsigned int i = 0; i < cpus; i++)
		of[i].due += i != sender || to_sender;
	smp_apic_icr(dest, low | VECTOR);
	await_all(sender);
}

static void send_to_each(unsigned int sender)
{
	for (unsigned int i = 0; i < cpus; i++) {
		of[i].due++;
		smp_apic_icr(of[i].id, VECTOR);
		await_all(sender);
		if (!in_x2apic)
			continue;
		of[i].due++;
		smp_apic_icr(logical_id(of[i].id), ICR_LOGICAL | VECTOR);
		await_all(sender);
	}
}

/* IDs that differ from everybody's in one bit are nobody's, unless they are somebody's. */
static void send_to_nobody(unsigned int sender)
{
	for (unsigned int bit = 0; bit < (in_x2apic ? 32 : 7); bit++) {
		uint32_t id = of[sender].id ^ 1u << bit;
		bool somebodys = id == EVERYBODY;

		for (unsigned int i = 0; i < cpus; i++)
			somebodys |= of[i].id == id;
		if (!somebodys)
			smp_apic_icr(id, VECTOR);
	}
	await_all(sender);
}

static void take_turn(unsigned int place)
{
	unsigned int next = (place + 1) % cpus;

	__asm__ volatile("sti" : : : "memory");
	await_all(place);
	send_to_each(place);
	send_to_nobody(place);
	send_to_all(place, 0, ICR_ALL, true);
	send_to_all(place, 0, ICR_OTHERS, false);
	send_to_all(place, EVERYBODY, 0, true);
	__asm__ volatile("cli" : : : "memory");
	of[next].due++;
	__atomic_fetch_add(&turn, 1, __ATOMIC_SEQ_CST);
	smp_apic_icr(of[next].id, VECTOR);
}

static void work(unsigned int place)
{
	for (unsigned int round = 0; round < ROUNDS; round++) {
		while (turn != round * cpus + place)
			__asm__ volatile("sti; hlt; cli" : : : "memory");
		take_turn(place);
	}
}

static void other(unsigned int id)
{
	(void)id;
	work(take_place());
	for (;;)
		__asm__ volatile("sti; hlt" : : : "memory");
}

/* Everybody is one: no ID twice. */
static bool all_differ(void)
{
	for (unsigned int i = 0; i < cpus; i++)
		for (unsigned int j = 0; j < i; j++)
			if (of[i].id == of[j].id)
				return false;
	return true;
}

static void judge(void)
{
	bool wrong_id = false, wrong_ldr = false, astray = false;
	unsigned int taken = 0;

	for (unsigned int i = 0; i < cpus; i++) {
		wrong_id |= of[i].wrong_id;
		wrong_ldr |= of[i].wrong_ldr;
		astray |= of[i].astray || of[i].taken != of[i].due;
		taken += of[i].taken;
		micro_print("id ");
		micro_print_number(of[i].id);
		micro_print("\n");
	}
	micro_check(all_differ(), "no two have one ID");
	micro_check(!wrong_id, "CPUID and the APICs agree about the IDs");
	micro_check(!wrong_ldr, "logical IDs follow from them");
	micro_check(!astray, "each IPI came to whom it names and nobody else");
	micro_print_count("taken", taken);
}

int micro_main(unsigned int vcpus)
{
	cpus = vcpus < SMP_MAX ? vcpus : SMP_MAX;
	in_x2apic = smp_is_x2apic();
	micro_print(in_x2apic ? "x2APIC mode\n" : "xAPIC mode\n");
	smp_set_up_gates();
	smp_set_gate(VECTOR, on_ipi);
	take_place();
	smp_start_all(cpus, other);
	while (settled < cpus)
		__asm__ volatile("pause" : : : "memory");
	work(0);
	/* The last one's turn ends with an IPI to the first. */
	while (turn != ROUNDS * cpus)
		__asm__ volatile("sti; hlt; cli" : : : "memory");
	__asm__ volatile("sti" : : : "memory");
	await_all(0);
	judge();
	return micro_failures() ? 1 : 0;
}
