/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ticks as firmware and early boot use them: 8254 to 8259 to ExtINT, by every way that INTR has to a
 * processor: LVT0, the I/O APIC's pin 0, and the INTR pin of a processor whose local APIC is
 * disabled. Last, how many ticks are left of a time during which none could be taken: the run says
 * what to expect (pit.reinject).
 */
#include "smp.h"

#define VECTOR_BASE  0x30
#define GATES        256
#define PERIOD       1193 /* ticks of the 8254 in a millisecond */
#define MSR_BASE     0x1b
#define BASE_ENABLE  0x800
#define LAPIC        0xfee00000
#define LAPIC_ID     0x20
#define LAPIC_SVR    0xf0
#define LAPIC_ISR    0x100
#define LAPIC_IRR    0x200
#define LAPIC_LVT0   0x350
#define MASKED       0x10000
#define EXTINT       0x700
#define IOAPIC       0xfec00000
#define IOAPIC_ENTRY 0x10
#define TRIES        4  /* to catch up */
#define FEW          15 /* ticks that may be on their way */

static volatile unsigned int ticks;
static volatile unsigned int strays;
static volatile bool automatic_eoi;

__attribute__((interrupt)) static void on_tick(struct interrupt_frame *frame)
{
	(void)frame;
	ticks++;
	if (!automatic_eoi)
		micro_outb(0x20, 0x20);
}

__attribute__((interrupt)) static void on_stray(struct interrupt_frame *frame)
{
	(void)frame;
	strays++;
}

static void set_up_gates(void)
{
	smp_set_up_gates();
	for (unsigned int i = 32; i < GATES; i++)
		smp_set_gate(i, on_stray);
	smp_set_gate(VECTOR_BASE, on_tick);
}

static uint64_t rdtsc(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return low | (uint64_t)high << 32;
}

static void set_apic_enabled(bool on)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(MSR_BASE));
	low = on ? low | BASE_ENABLE : low & ~(uint32_t)BASE_ENABLE;
	__asm__ volatile("wrmsr" : : "a"(low), "d"(high), "c"(MSR_BASE) : "memory");
}

static void set_up_pic(uint8_t icw4)
{
	automatic_eoi = icw4 & 2;
	micro_outb(0x20, 0x11);
	micro_outb(0x21, VECTOR_BASE);
	micro_outb(0x21, 0x04);
	micro_outb(0x21, icw4);
	micro_outb(0xa0, 0x11);
	micro_outb(0xa1, VECTOR_BASE + 8);
	micro_outb(0xa1, 0x02);
	micro_outb(0xa1, 0x01);
	micro_outb(0x21, 0xfe); /* the timer alone */
	micro_outb(0xa1, 0xff);
}

static void set_up_pit(unsigned int mode)
{
	micro_outb(0x43, (uint8_t)(0x30 | mode << 1));
	micro_outb(0x40, PERIOD & 0xff);
	micro_outb(0x40, PERIOD >> 8);
}

static void set_lvt0(uint32_t value)
{
	smp_store(LAPIC + LAPIC_SVR, 0x1ff);
	smp_store(LAPIC + LAPIC_LVT0, value);
}

static void set_pin_0(uint32_t low)
{
	smp_store(IOAPIC, IOAPIC_ENTRY + 1);
	smp_store(IOAPIC + 0x10, smp_load(LAPIC + LAPIC_ID) & 0xff000000);
	smp_store(IOAPIC, IOAPIC_ENTRY);
	smp_store(IOAPIC + 0x10, low);
}

/* Wait by channel 2, which interrupts nobody; at most 54 periods. */
static void wait_periods(unsigned int periods)
{
	unsigned int count = periods * PERIOD;

	micro_outb(0x61, 0x01);
	micro_outb(0x43, 0xb0);
	micro_outb(0x42, count & 0xff);
	micro_outb(0x42, (uint8_t)(count >> 8));
	while (!(micro_inb(0x61) & 0x20))
		;
}

/* Sleep until `n` more ticks have been taken. If none comes, the run ends by its time limit. */
static void take_ticks(unsigned int n, const char *what)
{
	unsigned int end = ticks + n;

	while ((int)(end - ticks) > 0)
		__asm__ volatile("sti; hlt; cli" : : : "memory");
	micro_check(true, what);
}

static bool apic_is_untouched(void)
{
	for (unsigned int i = 0; i < 8; i++) {
		if (smp_load(LAPIC + LAPIC_ISR + i * 16) || smp_load(LAPIC + LAPIC_IRR + i * 16))
			return false;
	}
	return true;
}

static void ways_to_the_processor(void)
{
	set_up_pic(0x01);
	set_lvt0(EXTINT);
	set_up_pit(2);
	take_ticks(50, "ticks by LVT0, rate generator");
	micro_check(apic_is_untouched(), "ExtINT passes by the local APIC's registers");
	set_up_pit(3);
	take_ticks(50, "ticks by LVT0, square wave");
	set_up_pic(0x03);
	take_ticks(50, "ticks with automatic EOI");
	set_up_pic(0x01);

	set_apic_enabled(false);
	take_ticks(50, "ticks with the local APIC disabled");
	set_apic_enabled(true);

	set_lvt0(MASKED | EXTINT);
	set_up_pic(0x01);
	set_pin_0(EXTINT);
	set_up_pit(2);
	take_ticks(50, "ticks by the I/O APIC's pin 0");
	set_pin_0(MASKED | EXTINT);
}

static void nobody_listens(void)
{
	unsigned int before = ticks;

	/* What was sent before the entry was masked may still come once. */
	__asm__ volatile("sti; nop; cli" : : : "memory");
	micro_check(ticks - before <= 1, "at most one message was under way");
	before = ticks;
	__asm__ volatile("sti" : : : "memory");
	wait_periods(10);
	__asm__ volatile("cli" : : : "memory");
	micro_check(ticks == before, "no ticks while LVT0 and pin 0 are masked");
	set_lvt0(EXTINT);
	__asm__ volatile("sti; nop; cli" : : : "memory");
	micro_check(ticks != before, "the 8259 held a request meanwhile");
}

/* ---- what is lost ---- */

struct moment {
	uint64_t tsc;
	unsigned int count; /* of channel 2 */
};

/* Both clocks at once: the closest of a few tries, should something come between. */
static struct moment look(void)
{
	uint64_t closest = ~0ull;
	struct moment best = {0, 0};

	for (int i = 0; i < 8; i++) {
		uint64_t before = rdtsc(), after;
		unsigned int count;

		micro_outb(0x43, 0x80);
		after = rdtsc();
		count = micro_inb(0x42);
		count |= (unsigned int)micro_inb(0x42) << 8;
		if (after - before < closest) {
			closest = after - before;
			best = (struct moment){before + (after - before) / 2, count};
		}
	}
	return best;
}

/* TSC of a period of channel 0: both follow from one clock, so a short look is exact. */
static uint64_t measure_period(void)
{
	struct moment from, to;

	do {
		micro_outb(0x61, 0x01);
		micro_outb(0x43, 0xb0);
		micro_outb(0x42, 0xff);
		micro_outb(0x42, 0xff);
		from = look();
		do {
			to = look();
		} while (from.count - to.count < 30 * PERIOD && !(micro_inb(0x61) & 0x20));
	} while (micro_inb(0x61) & 0x20); /* it has run down: the count means nothing */
	return (to.tsc - from.tsc) * PERIOD / (from.count - to.count);
}

/*
 * Forty periods with interrupts off, then a hundred ticks to catch up, and more if the machine is slow: the
 * time that they take has ticks of its own. Without reinjection at most the one that the 8259 holds is left
 * of the forty, however many come behind.
 */
static void blocked_time(void)
{
	uint64_t start, period;
	unsigned int before, due, taken, tries = 0;

	set_up_pic(0x01);
	set_up_pit(2);
	take_ticks(2, "ticks again");
	period = measure_period();
	set_up_pit(2);
	__asm__ volatile("sti; nop; cli" : : : "memory");
	before = ticks;
	start = rdtsc();
	wait_periods(40);
	do {
		take_ticks(100, "ticks after a long time with interrupts off");
		due = (unsigned int)((rdtsc() - start) / period);
		taken = ticks - before;
	} while (taken + FEW < due && ++tries < TRIES);
	micro_print(taken + FEW >= due ? "every tick came\n" : "ticks were lost\n");
	micro_print("ticks due, taken: ");
	micro_print_hex(due);
	micro_print(" ");
	micro_print_hex(taken);
	micro_print("\n");
}

int micro_main(unsigned int vcpus)
{
	(void)vcpus;
	set_up_gates();
	ways_to_the_processor();
	nobody_listens();
	micro_check(strays == 0, "no other interrupt came");
	blocked_time();
	return micro_failures() ? 1 : 0;
}
