/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What exits cost. Where the TSC counts instructions (postern run --icount; any run on Bochs) each line is
 * exact and repeats: "bench NAME TICKS ROUNDS", the ticks of ROUNDS round trips with the loop around them taken
 * off. That it does is the first line: NOPs. Needs two vCPUs on one processor and --set testdev=on. All that is
 * measured lies in one page, since the hypervisor remembers the last one that it fetched from. Ends: poweroff,
 * status 0.
 */
#include "micro.h"

#define ROUNDS 1000

#define MSR_APIC_BASE    0x1b
#define MSR_MTRRCAP      0xfe
#define MSR_MTRR_BASE0   0x200
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_X2APIC_EOI   0x80b
#define MSR_X2APIC_SVR   0x80f
#define MSR_X2APIC_ICR   0x830
#define MSR_X2APIC_TIMER 0x832
#define MSR_X2APIC_LINT0 0x835
#define MSR_X2APIC_SELF  0x83f
#define APIC_PAGE        0xfee00000ul
#define APIC_ID          0x20
#define APIC_TPR         0x80
#define X2APIC_ENABLED   0xc00
#define LVT_EXTINT       0x700
#define LVT_DEADLINE     0x40000
#define IPI_INIT         0x4500
#define IPI_SIPI         0x4600

#define VECTOR_IPI   0x40
#define VECTOR_TIMER 0x50
#define VECTOR_PIC   0x60
#define PIC_LINE     5
#define LINE_PORT    (0x2000 + PIC_LINE)
#define AP_CODE      0x8000

#define WAIT 100000 /* ticks ahead that a deadline is set */

struct gate {
	uint16_t offset_low, selector;
	uint8_t ist, type;
	uint16_t offset_middle;
	uint32_t offset_high, reserved;
};

static struct gate idt[256] __attribute__((aligned(16)));
static volatile unsigned int taken;
static volatile uint64_t taken_at;
static uint64_t loop_ticks;
static bool intel;

static inline uint64_t rdtsc(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

static inline uint64_t rdmsr(uint32_t msr)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr) : "memory");
	return (uint64_t)high << 32 | low;
}

static inline void wrmsr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr"
	                 :
	                 : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
	                 : "memory");
}

struct interrupt_frame;

__attribute__((interrupt)) static void on_apic(struct interrupt_frame *frame)
{
	(void)frame;
	taken++;
	wrmsr(MSR_X2APIC_EOI, 0);
}

__attribute__((interrupt)) static void on_timer(struct interrupt_frame *frame)
{
	(void)frame;
	taken_at = rdtsc();
	taken++;
	wrmsr(MSR_X2APIC_EOI, 0);
}

__attribute__((interrupt)) static void on_pic(struct interrupt_frame *frame)
{
	(void)frame;
	taken++;
	micro_outb(0x20, 0x20);
}

static void set_gate(unsigned int vector, void (*handler)(struct interrupt_frame *))
{
	uintptr_t at = (uintptr_t)handler;

	idt[vector] = (struct gate){.offset_low = (uint16_t)at,
	                            .selector = 0x08,
	                            .type = 0x8e,
	                            .offset_middle = (uint16_t)(at >> 16),
	                            .offset_high = (uint32_t)((uint64_t)at >> 32)};
}

static void set_gates(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) idtr = {sizeof(idt) - 1, (uintptr_t)idt};

	set_gate(VECTOR_IPI, on_apic);
	set_gate(VECTOR_TIMER, on_timer);
	set_gate(VECTOR_PIC + PIC_LINE, on_pic);
	__asm__ volatile("lidt %0" : : "m"(idtr));
}

static __attribute__((noinline)) void report(const char *name, uint64_t ticks, unsigned int rounds)
{
	micro_print("bench ");
	micro_print(name);
	micro_print(" ");
	micro_print_number(ticks);
	micro_print(" ");
	micro_print_number(rounds);
	micro_print("\n");
}

/* The statement ROUNDS times; one round before, so that caches and hints are as in the long run. */
#define MEASURE(name, statement)                                                                   \
	do {                                                                                       \
		uint64_t start, ticks;                                                             \
                                                                                                   \
		statement;                                                                         \
		start = rdtsc();                                                                   \
		for (unsigned int i = 0; i < ROUNDS; i++) {                                        \
			statement;                                                                 \
			__asm__ volatile("" : : : "memory");                                       \
		}                                                                                  \
		ticks = rdtsc() - start;                                                           \
		report(name, ticks - loop_ticks, ROUNDS);                                          \
	} while (0)

static void measure_loop(void)
{
	uint64_t start = rdtsc();

	for (unsigned int i = 0; i < ROUNDS; i++)
		__asm__ volatile("" : : : "memory");
	loop_ticks = rdtsc() - start;
}

#define NOPS 100

/* What 100 NOPs take more than none. */
static void measure_nops(void)
{
	uint64_t start = rdtsc(), none, some;

	none = rdtsc() - start;
	start = rdtsc();
	__asm__ volatile(".rept %c0; nop; .endr" : : "i"(NOPS));
	some = rdtsc() - start;
	report("nop", some - none, NOPS);
}

static void find_vendor(void)
{
	uint32_t a = 0, b, c = 0, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	intel = b == 0x756e6547; /* "Genu" */
}

static inline void cpuid(void)
{
	uint32_t a = 1, b, c = 0, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d) : : "memory");
}

static inline void vmmcall(void)
{
	uint64_t a = ~0ul;

	__asm__ volatile("vmmcall" : "+a"(a) : : "memory");
}

static inline void vmcall(void)
{
	uint64_t a = ~0ul;

	__asm__ volatile("vmcall" : "+a"(a) : : "memory");
}

static void measure_exits(void)
{
	volatile uint32_t *id = (volatile uint32_t *)(APIC_PAGE + APIC_ID);
	volatile uint32_t *tpr = (volatile uint32_t *)(APIC_PAGE + APIC_TPR);

	MEASURE("cpuid", cpuid());
	if (intel)
		MEASURE("hypercall", vmcall());
	else
		MEASURE("hypercall", vmmcall());
	MEASURE("rdmsr", rdmsr(MSR_MTRRCAP));
	MEASURE("wrmsr", wrmsr(MSR_MTRR_BASE0, 0));
	MEASURE("port-in", micro_inb(0x80));
	MEASURE("port-out", micro_outb(0x80, 0));
	MEASURE("xapic-read", (void)*id);
	MEASURE("xapic-write", *tpr = 0);
}

static void measure_uart(void)
{
	uint64_t start = rdtsc(), ticks;

	for (unsigned int i = 0; i < 64; i++)
		micro_outb(MICRO_CONSOLE_PORT, '.');
	ticks = rdtsc() - start;
	micro_print("\n");
	report("uart-write", ticks, 64);
}

static void measure_apic(void)
{
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | X2APIC_ENABLED);
	wrmsr(MSR_X2APIC_SVR, 0x1ff);
	wrmsr(MSR_X2APIC_TIMER, LVT_DEADLINE | VECTOR_TIMER);
	__asm__ volatile("sti");
	taken = 0;
	MEASURE("x2apic-self-ipi-eoi", wrmsr(MSR_X2APIC_SELF, VECTOR_IPI));
	micro_check(taken == ROUNDS + 1, "every self-IPI was delivered");
	taken = 0;
	MEASURE("tsc-deadline-set-and-fire", wrmsr(MSR_TSC_DEADLINE, 1));
	micro_check(taken == ROUNDS + 1, "every deadline fired");
}

/* From the deadline to the handler, awake and asleep. */
static void measure_deadline(const char *name, bool asleep)
{
	uint64_t late = 0;

	taken = 0;
	for (unsigned int i = 0; i < 100; i++) {
		uint64_t deadline = rdtsc() + WAIT;

		__asm__ volatile("cli");
		wrmsr(MSR_TSC_DEADLINE, deadline);
		if (asleep)
			__asm__ volatile("sti; hlt" : : : "memory");
		else
			__asm__ volatile("sti" : : : "memory");
		while (taken != i + 1)
			;
		late += taken_at - deadline;
	}
	report(name, late, 100);
}

/* HLT with an interrupt that waits already: the exit, the wake-up, the delivery, the EOI. */
static void measure_halt(void)
{
	uint64_t ticks = 0;

	for (unsigned int i = 0; i < ROUNDS; i++) {
		uint64_t start;

		__asm__ volatile("cli");
		wrmsr(MSR_X2APIC_SELF, VECTOR_IPI);
		start = rdtsc();
		__asm__ volatile("sti; hlt" : : : "memory");
		ticks += rdtsc() - start;
	}
	report("hlt-wake-up", ticks, ROUNDS);
	measure_deadline("deadline-to-handler-running", false);
	measure_deadline("deadline-to-handler-halted", true);
}

static void program_pic(void)
{
	micro_outb(0x20, 0x11);
	micro_outb(0x21, VECTOR_PIC);
	micro_outb(0x21, 0x04);
	micro_outb(0x21, 0x01);
	micro_outb(0x21, (uint8_t) ~(1u << PIC_LINE));
	wrmsr(MSR_X2APIC_LINT0, LVT_EXTINT);
}

/*
 * The line rises while interrupts are off; from STI on: window, ExtINT, handler, EOI at the 8259. And all of it,
 * from before the line rises, where the window is opened, to behind its fall.
 */
static void measure_extint(void)
{
	uint64_t ticks = 0, all = 0;

	program_pic();
	taken = 0;
	for (unsigned int i = 0; i < ROUNDS; i++) {
		uint64_t rise, start;

		__asm__ volatile("cli");
		rise = rdtsc();
		micro_outb(LINE_PORT, 1);
		start = rdtsc();
		__asm__ volatile("sti; nop" : : : "memory");
		while (taken != i + 1)
			;
		ticks += rdtsc() - start;
		micro_outb(LINE_PORT, 0);
		all += rdtsc() - rise;
	}
	report("extint-through-window", ticks, ROUNDS);
	report("extint-rise-to-fall", all, ROUNDS);
}

/* Two vCPUs that do nothing but PAUSE on one processor: each PAUSE hands it to the other. */
static void measure_switch(void)
{
	static const uint8_t code[] = {0xf3, 0x90, 0xeb, 0xfc}; /* 1: pause; jmp 1b */
	uint64_t start, ticks;

	for (unsigned int i = 0; i < sizeof(code); i++)
		((volatile uint8_t *)AP_CODE)[i] = code[i];
	wrmsr(MSR_X2APIC_ICR, 1ul << 32 | IPI_INIT);
	wrmsr(MSR_X2APIC_ICR, 1ul << 32 | IPI_SIPI | AP_CODE >> 12);
	for (unsigned int i = 0; i < 100; i++)
		__asm__ volatile("pause");
	start = rdtsc();
	for (unsigned int i = 0; i < ROUNDS; i++)
		__asm__ volatile("pause" : : : "memory");
	ticks = rdtsc() - start;
	report("vcpu-switch", ticks - loop_ticks, 2 * ROUNDS);
}

int micro_main(unsigned int vcpus)
{
	set_gates();
	find_vendor();
	measure_nops();
	measure_loop();
	measure_exits();
	measure_uart();
	measure_apic();
	measure_halt();
	measure_extint();
	if (vcpus > 1)
		measure_switch();
	return micro_failures() ? 1 : 0;
}
