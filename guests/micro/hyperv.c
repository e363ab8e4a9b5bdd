/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hyper-V's interface as a guest uses it (TLFS "Inter-Partition Communication", "Timers"): on each
 * processor a periodic synthetic timer by message, without AutoEOI, then with it; then a timer in
 * direct mode, and messages to the next processor by HvCallPostMessage. Prints "count NAME VALUE" for
 * what the account has to agree with.
 */
#include "smp.h"

#define VECTOR       0x61
#define AUTO_VECTOR  0x71
#define DIRECT       0x81
#define POST_VECTOR  0x91
#define SINT         2
#define AUTO_SINT    3
#define POST_SINT    4
#define TICKS        50
#define POSTS        20
#define MS           10000 /* units of 100 ns */
#define PAGE         4096
#define MSR_HV(n)    (0x40000000u + (n))
#define GUEST_OS_ID  MSR_HV(0x00)
#define HYPERCALL    MSR_HV(0x01)
#define VP_INDEX     MSR_HV(0x02)
#define REF_COUNT    MSR_HV(0x20)
#define REF_TSC      MSR_HV(0x21)
#define SCONTROL     MSR_HV(0x80)
#define SIEFP        MSR_HV(0x82)
#define SIMP         MSR_HV(0x83)
#define EOM          MSR_HV(0x84)
#define SINTX(n)     MSR_HV(0x90 + (n))
#define STIMER(n)    MSR_HV(0xb0 + 2 * (n)) /* CONFIG; COUNT is the next */
#define ENABLE       1ull
#define PERIODIC     2ull
#define AUTO_ENABLE  8ull
#define DIRECT_MODE  (1ull << 12 | (uint64_t)DIRECT << 4)
#define TO_SINT(n)   ((uint64_t)(n) << 16)
#define MASKED       (1ull << 16)
#define AUTO_EOI     (1ull << 17)
#define EXPIRED      0x80000010u
#define PENDING      1
#define LAPIC_ISR    0x100
#define POST_MESSAGE 0x5c
#define OS_ID        (0x81ull << 56)

struct message {
	volatile uint32_t type;
	volatile uint8_t size, flags, reserved[2];
	uint64_t origin;
	uint64_t payload[30];
};

struct post {
	uint32_t connection, reserved, type, size;
	uint64_t payload[30];
};

/* What each processor has counted; its own line for each. */
static struct counts {
	volatile unsigned int ticks, auto_ticks, direct, posts, wrong, in_service;
	volatile uint64_t last;
	volatile bool ready, done;
} counts[SMP_MAX] __attribute__((aligned(64)));

static uint8_t message_pages[SMP_MAX][PAGE] __attribute__((aligned(PAGE)));
static uint8_t flag_pages[SMP_MAX][PAGE] __attribute__((aligned(PAGE)));
static uint8_t call_page[PAGE] __attribute__((aligned(PAGE)));
static uint8_t clock_page[PAGE] __attribute__((aligned(PAGE)));
static struct post posts[SMP_MAX] __attribute__((aligned(256)));
static unsigned int cpus;
static bool x2apic;
static volatile unsigned int stage;

static unsigned int self(void)
{
	return (unsigned int)micro_rdmsr(VP_INDEX);
}

static struct message *slot(unsigned int cpu, unsigned int sint)
{
	return (struct message *)(void *)(message_pages[cpu] + sint * sizeof(struct message));
}

static bool in_service(unsigned int vector)
{
	unsigned int reg = LAPIC_ISR + vector / 32 * 16;
	uint32_t word =
	        x2apic ? (uint32_t)micro_rdmsr(0x800 + reg / 16) : smp_load(0xfee00000 + reg);

	return word >> vector % 32 & 1;
}

static void release(struct message *message)
{
	message->type = 0;
	__asm__ volatile("mfence" : : : "memory");
	if (message->flags & PENDING)
		micro_wrmsr(EOM, 0);
}

static bool tick(unsigned int cpu, unsigned int sint)
{
	struct message *message = slot(cpu, sint);
	struct counts *own = &counts[cpu];
	uint64_t expiration = message->payload[1];

	if (message->type != EXPIRED || message->size != 24 || expiration <= own->last ||
	    micro_rdmsr(REF_COUNT) < expiration)
		own->wrong++;
	own->last = expiration;
	release(message);
	return true;
}

__attribute__((interrupt)) static void on_tick(struct interrupt_frame *frame)
{
	unsigned int cpu = self();

	(void)frame;
	tick(cpu, SINT);
	counts[cpu].ticks++;
	counts[cpu].in_service += in_service(VECTOR);
	smp_apic_write(APIC_EOI, 0);
}

__attribute__((interrupt)) static void on_auto_tick(struct interrupt_frame *frame)
{
	unsigned int cpu = self();

	(void)frame;
	tick(cpu, AUTO_SINT);
	counts[cpu].auto_ticks++;
	counts[cpu].wrong += in_service(AUTO_VECTOR);
}

__attribute__((interrupt)) static void on_direct(struct interrupt_frame *frame)
{
	(void)frame;
	counts[self()].direct++;
	smp_apic_write(APIC_EOI, 0);
}

__attribute__((interrupt)) static void on_post(struct interrupt_frame *frame)
{
	unsigned int cpu = self();
	struct message *message = slot(cpu, POST_SINT);

	(void)frame;
	/* In their order, none lost: each has its number as its type. */
	if (message->type != counts[cpu].posts + 1 || message->payload[0] != message->type)
		counts[cpu].wrong++;
	counts[cpu].posts++;
	release(message);
	smp_apic_write(APIC_EOI, 0);
}

/* Sleep, with interrupts open, until `*counter` has come to `n`. */
static void await_count(volatile unsigned int *counter, unsigned int n)
{
	while (*counter < n)
		__asm__ volatile("sti; hlt; cli" : : : "memory");
}

static void await_all(unsigned int n)
{
	__atomic_fetch_add(&stage, 1, __ATOMIC_SEQ_CST);
	while (stage < n * cpus)
		__asm__ volatile("pause");
}

static uint64_t hypercall(uint64_t input, uint64_t parameter)
{
	uint64_t result;
	register uint64_t output __asm__("r8") = 0;

	__asm__ volatile("call *%[page]"
	                 : "=a"(result), "+c"(input), "+d"(parameter), "+r"(output)
	                 : [page] "r"((void *)call_page)
	                 : "memory", "cc");
	return result;
}

static void set_up(unsigned int cpu)
{
	smp_apic_enable(x2apic);
	micro_wrmsr(SIMP, (uintptr_t)message_pages[cpu] | ENABLE);
	micro_wrmsr(SIEFP, (uintptr_t)flag_pages[cpu] | ENABLE);
	micro_wrmsr(SCONTROL, ENABLE);
}

static void run_periodic(unsigned int timer, unsigned int sint, volatile unsigned int *ticks)
{
	counts[self()].last = 0;
	micro_wrmsr(STIMER(timer) + 1, MS);
	micro_wrmsr(STIMER(timer), ENABLE | PERIODIC | TO_SINT(sint));
	await_count(ticks, TICKS);
	micro_wrmsr(STIMER(timer), 0);
	/* What may have been on its way. */
	__asm__ volatile("sti; nop; nop; cli" : : : "memory");
}

static void run_direct(struct counts *own)
{
	micro_wrmsr(STIMER(2), AUTO_ENABLE | DIRECT_MODE);
	for (unsigned int i = 1; i <= TICKS; i++) {
		micro_wrmsr(STIMER(2) + 1, micro_rdmsr(REF_COUNT) + MS / 2);
		await_count(&own->direct, i);
	}
}

static void run_posts(unsigned int cpu, struct counts *own)
{
	struct post *post = &posts[cpu];
	unsigned int next = (cpu + 1) % cpus;
	uint64_t status;

	post->connection = 0x010000 | next << 8 | POST_SINT;
	post->size = 8;
	for (unsigned int i = 1; i <= POSTS; i++) {
		post->type = i;
		post->payload[0] = i;
		do {
			status = hypercall(POST_MESSAGE, (uintptr_t)post);
			__asm__ volatile("sti; pause; cli" : : : "memory");
		} while (status == 0x13); /* HV_STATUS_INSUFFICIENT_BUFFERS */
		own->wrong += status != 0;
	}
	await_count(&own->posts, POSTS);
}

static void run(unsigned int cpu)
{
	struct counts *own = &counts[cpu];

	micro_wrmsr(SINTX(SINT), VECTOR);
	run_periodic(0, SINT, &own->ticks);
	await_all(1);
	micro_wrmsr(SINTX(AUTO_SINT), AUTO_VECTOR | AUTO_EOI);
	run_periodic(1, AUTO_SINT, &own->auto_ticks);
	micro_wrmsr(SINTX(AUTO_SINT), AUTO_VECTOR | AUTO_EOI | MASKED);
	await_all(2);
	run_direct(own);
	await_all(3);
	micro_wrmsr(SINTX(POST_SINT), POST_VECTOR);
	await_all(4);
	run_posts(cpu, own);
	own->done = true;
}

static void entry(unsigned int cpu)
{
	set_up(cpu);
	run(cpu);
	for (;;)
		__asm__ volatile("cli; hlt");
}

/* The clock's page and the counter tell the same. */
static bool clocks_agree(void)
{
	volatile uint64_t *page = (volatile uint64_t *)(void *)clock_page;
	uint64_t before, time, after;
	uint32_t low, high;

	micro_wrmsr(REF_TSC, (uintptr_t)clock_page | ENABLE);
	if (!(uint32_t)page[0])
		return false;
	before = micro_rdmsr(REF_COUNT);
	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	time = (uint64_t)((unsigned __int128)((uint64_t)high << 32 | low) * page[1] >> 64) +
	       page[2];
	after = micro_rdmsr(REF_COUNT);
	return before <= time && time <= after;
}

static bool is_offered(void)
{
	uint32_t eax = 0x40000001, ebx, ecx = 0, edx;

	__asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
	return eax == 0x31237648; /* "Hv#1" */
}

static void report(void)
{
	struct counts sum = {0};

	for (unsigned int i = 0; i < cpus; i++) {
		sum.ticks += counts[i].ticks;
		sum.auto_ticks += counts[i].auto_ticks;
		sum.direct += counts[i].direct;
		sum.posts += counts[i].posts;
		sum.wrong += counts[i].wrong;
		sum.in_service += counts[i].in_service;
	}
	micro_check(sum.ticks >= cpus * TICKS, "ticks by message");
	micro_check(sum.in_service == sum.ticks, "they are in service until their EOI");
	micro_check(sum.auto_ticks >= cpus * TICKS, "ticks by message, with AutoEOI");
	micro_check(sum.direct == cpus * TICKS, "ticks in direct mode");
	micro_check(sum.posts == cpus * POSTS, "messages from the processor before");
	micro_check(!sum.wrong, "nothing was out of order");
	micro_print_count("ticks", sum.ticks);
	micro_print_count("auto-eoi", sum.auto_ticks);
	micro_print_count("direct", sum.direct);
	micro_print_count("posts", sum.posts);
}

int micro_main(unsigned int vcpus)
{
	micro_check(is_offered(), "the interface is offered");
	if (micro_failures())
		return 1;
	cpus = vcpus;
	x2apic = smp_has_x2apic();
	micro_print(x2apic ? "x2APIC mode\n" : "xAPIC mode\n");
	smp_set_up_gates();
	smp_set_gate(VECTOR, on_tick);
	smp_set_gate(AUTO_VECTOR, on_auto_tick);
	smp_set_gate(DIRECT, on_direct);
	smp_set_gate(POST_VECTOR, on_post);
	set_up(0);
	micro_check(clocks_agree(), "clock page and counter agree");
	micro_wrmsr(GUEST_OS_ID, OS_ID);
	micro_wrmsr(HYPERCALL, (uintptr_t)call_page | ENABLE);
	micro_check(hypercall(2, 0) == 2, "an unknown hypercall is refused");
	smp_start(vcpus, entry);
	run(0);
	for (unsigned int i = 0; i < cpus; i++)
		while (!counts[i].done)
			__asm__ volatile("sti; pause; cli" : : : "memory");
	report();
	return micro_failures() ? 1 : 0;
}
