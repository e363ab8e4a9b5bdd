/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A boot as firmware and its successor go through it, on several processors. First the 8254 ticks through
 * the 8259 and the first processor's LVT0, taken out of HLT, and held back by CLI until they wait, while
 * the others hand a token round by IPIs. Then the 8259 is masked, the ticks come by the I/O APIC, and the
 * first processor calls each of the others and is answered. Nothing may get lost: a token, a call or a
 * tick that does not come leaves the guest waiting for ever. In xAPIC mode. Needs three vCPUs at least.
 * Ends: poweroff, status 0.
 */
#include "smp.h"

#define VECTOR_PIC    0x30
#define VECTOR_TOKEN  0x41
#define VECTOR_CALL   0x52
#define VECTOR_ANSWER 0x63
#define VECTOR_TICK   0x74
#define GATES         256

#define LVT0     0x350
#define EXTINT   0x700
#define MASKED   0x10000
#define PIN_TICK 2    /* of the I/O APIC: the 8254, as firmware's tables say */
#define PERIOD   1193 /* of the 8254 in a millisecond */

#define TICKS 100
#define CALLS 200
#define HOPS  50 /* of the token, that each part at least waits for */

static unsigned int cpus;
static volatile unsigned int ticks, pic_ticks, strays, ready, answers;
static volatile bool stopped;
static struct {
	volatile unsigned int hops, calls;
	unsigned int pad[14];
} of[SMP_MAX] __attribute__((aligned(64)));

static unsigned int my_id(void)
{
	return smp_load(0xfee00000 + APIC_ID) >> 24;
}

__attribute__((interrupt)) static void on_stray(struct interrupt_frame *frame)
{
	(void)frame;
	__atomic_fetch_add(&strays, 1, __ATOMIC_SEQ_CST);
}

__attribute__((interrupt)) static void on_pic_tick(struct interrupt_frame *frame)
{
	(void)frame;
	pic_ticks++;
	micro_outb(0x20, 0x20);
}

__attribute__((interrupt)) static void on_tick(struct interrupt_frame *frame)
{
	(void)frame;
	ticks++;
	smp_apic_write(APIC_EOI, 0);
}

/* To the next processor; the first one takes no part. */
__attribute__((interrupt)) static void on_token(struct interrupt_frame *frame)
{
	unsigned int id = my_id();

	(void)frame;
	of[id].hops++;
	smp_apic_write(APIC_EOI, 0);
	if (!stopped)
		smp_apic_icr(id + 1 < cpus ? id + 1 : 1, VECTOR_TOKEN);
}

__attribute__((interrupt)) static void on_call(struct interrupt_frame *frame)
{
	(void)frame;
	of[my_id()].calls++;
	smp_apic_write(APIC_EOI, 0);
	smp_apic_icr(0, VECTOR_ANSWER);
}

__attribute__((interrupt)) static void on_answer(struct interrupt_frame *frame)
{
	(void)frame;
	answers++;
	smp_apic_write(APIC_EOI, 0);
}

static void others(unsigned int id)
{
	(void)id;
	smp_apic_enable(false);
	__atomic_fetch_add(&ready, 1, __ATOMIC_SEQ_CST);
	__asm__ volatile("sti" : : : "memory");
	/* Half of them asleep between two tokens, half awake. */
	while (!stopped) {
		if (id % 2)
			__asm__ volatile("pause" : : : "memory");
		else
			__asm__ volatile("hlt" : : : "memory");
	}
	for (;;)
		__asm__ volatile("hlt" : : : "memory");
}

static void set_up_gates(void)
{
	smp_set_up_gates();
	for (unsigned int i = 32; i < GATES; i++)
		smp_set_gate(i, on_stray);
	smp_set_gate(VECTOR_PIC, on_pic_tick);
	smp_set_gate(VECTOR_TICK, on_tick);
	smp_set_gate(VECTOR_TOKEN, on_token);
	smp_set_gate(VECTOR_CALL, on_call);
	smp_set_gate(VECTOR_ANSWER, on_answer);
}

static void set_up_pic(void)
{
	micro_outb(0x20, 0x11);
	micro_outb(0x21, VECTOR_PIC);
	micro_outb(0x21, 0x04);
	micro_outb(0x21, 0x01);
	micro_outb(0xa0, 0x11);
	micro_outb(0xa1, VECTOR_PIC + 8);
	micro_outb(0xa1, 0x02);
	micro_outb(0xa1, 0x01);
	micro_outb(0x21, 0xfe); /* the timer alone */
	micro_outb(0xa1, 0xff);
}

static void set_up_pit(void)
{
	micro_outb(0x43, 0x34);
	micro_outb(0x40, PERIOD & 0xff);
	micro_outb(0x40, PERIOD >> 8);
}

static unsigned int hops(void)
{
	unsigned int sum = 0;

	for (unsigned int id = 1; id < cpus; id++)
		sum += of[id].hops;
	return sum;
}

/* The others have gone on meanwhile, or they do now. */
static void check_hops(unsigned int before, const char *what)
{
	while (hops() - before < HOPS)
		__asm__ volatile("pause" : : : "memory");
	micro_check(true, what);
}

static void sleep_for(volatile unsigned int *count)
{
	unsigned int end = *count + TICKS;

	while ((int)(end - *count) > 0)
		__asm__ volatile("sti; hlt; cli" : : : "memory");
}

/* Is the 8259 asking? */
static bool pic_asks(void)
{
	micro_outb(0x20, 0x0a);
	return micro_inb(0x20) & 1;
}

/* Each tick waits behind CLI before it may come, and then comes at once. */
static void hold_back(void)
{
	bool at_once = true, early = false;

	for (unsigned int i = 0; i < TICKS; i++) {
		unsigned int before = pic_ticks;

		while (!pic_asks())
			__asm__ volatile("pause" : : : "memory");
		for (unsigned int j = 0; j < 10; j++)
			early |= !pic_asks() || pic_ticks != before;
		__asm__ volatile("sti; nop; cli" : : : "memory");
		at_once &= pic_ticks != before;
	}
	micro_check(!early, "no tick comes while interrupts are off");
	micro_check(at_once, "each comes as soon as they are on");
}

static void by_virtual_wire(void)
{
	unsigned int before = hops();

	smp_apic_write(LVT0, EXTINT);
	set_up_pic();
	set_up_pit();
	sleep_for(&pic_ticks);
	check_hops(before, "ticks out of HLT, the token goes round");
	before = hops();
	hold_back();
	check_hops(before, "ticks held back, the token goes round");
}

static void by_apics(void)
{
	unsigned int before, end;

	micro_outb(0x21, 0xff);
	smp_apic_write(LVT0, MASKED | EXTINT);
	__asm__ volatile("sti; nop; cli" : : : "memory");
	end = pic_ticks;
	before = hops();
	smp_ioapic(0x10 + 2 * PIN_TICK + 1, 0);
	smp_ioapic(0x10 + 2 * PIN_TICK, VECTOR_TICK);
	sleep_for(&ticks);
	micro_check(pic_ticks == end, "the 8259 is silent");
	check_hops(before, "ticks by the I/O APIC, the token goes round");
}

static void call_each(void)
{
	unsigned int right = 0;

	__asm__ volatile("sti" : : : "memory");
	for (unsigned int i = 0; i < CALLS; i++)
		for (unsigned int id = 1; id < cpus; id++) {
			unsigned int before = answers;

			smp_apic_icr(id, VECTOR_CALL);
			while (answers == before)
				__asm__ volatile("pause" : : : "memory");
		}
	__asm__ volatile("cli" : : : "memory");
	for (unsigned int id = 1; id < cpus; id++)
		right += of[id].calls == CALLS;
	micro_check(right + 1 == cpus && answers == CALLS * (cpus - 1),
	            "each call is answered once");
}

int micro_main(unsigned int vcpus)
{
	cpus = vcpus < SMP_MAX ? vcpus : SMP_MAX;
	micro_check(cpus >= 3, "three processors are there");
	if (cpus < 3)
		return 1;
	set_up_gates();
	smp_apic_enable(false);
	smp_start(cpus, others);
	while (__atomic_load_n(&ready, __ATOMIC_SEQ_CST) < cpus - 1)
		__asm__ volatile("pause" : : : "memory");
	smp_apic_icr(1, VECTOR_TOKEN);
	by_virtual_wire();
	by_apics();
	call_each();
	stopped = true;
	micro_check(strays == 0, "no other interrupt came");
	micro_print_count("pic-ticks", pic_ticks);
	micro_print_count("ticks", ticks);
	micro_print_count("answers", answers);
	micro_print_count("hops", hops());
	return micro_failures() ? 1 : 0;
}
