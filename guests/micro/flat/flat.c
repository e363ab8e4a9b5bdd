/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A flat 32-bit test kernel in miniature (postern run --multiboot): what kernels written for QEMU's pc
 * machine rely on. Needs at least two vCPUs. Ends: debug-exit with 21 if all is well, with 1 if not.
 */
#include "flat.h"
#include "micro.h"

#define GATES       256
#define SELECTOR    0x08
#define GATE_TYPE   0x8e
#define VECTOR_EDGE 0x40
#define VECTOR_AP   0x41
#define VECTOR_LVL  0x42

#define LAPIC         0xfee00000u
#define LAPIC_ID      0x20
#define LAPIC_EOI     0xb0
#define LAPIC_SVR     0xf0
#define LAPIC_ICR     0x300
#define LAPIC_ICR_BIT 0x1000 /* delivery pending */
#define SVR_ENABLED   0x1ff
#define ICR_INIT      0xc4500 /* all others */
#define ICR_SIPI      0xc4600

#define IOAPIC       0xfec00000u
#define IOAPIC_DATA  0x10
#define IOAPIC_ENTRY 0x10
#define LEVEL        0x8000
#define MASKED       0x10000

#define ECHO_PORT 0xe0   /* of pc-testdev */
#define LINE_PORT 0x2000 /* likewise, one for each line */
#define LINE_EDGE 5
#define LINE_AP   6
#define LINE_LVL  10

#define FW_CFG_SELECT    0x510
#define FW_CFG_DATA      0x511
#define FW_CFG_SIGNATURE 0
#define FW_CFG_CPUS      5

#define LOADER_MAGIC 0x2badb002u
#define INFO_CMDLINE 4u
#define END_GOOD     21
#define END_BAD      1

struct gate {
	uint16_t offset_low;
	uint16_t selector;
	uint8_t reserved;
	uint8_t type;
	uint16_t offset_high;
};

struct multiboot_info {
	uint32_t flags;
	uint32_t memory[2];
	uint32_t device;
	uint32_t cmdline;
};

struct frame;

extern const uint8_t flat_trampoline[], flat_trampoline_end[];
extern const uint8_t flat_trampoline_cs[], flat_trampoline_cr0[];
void flat_main(uint32_t magic, const struct multiboot_info *info);
void flat_ap(void);

static struct gate idt[GATES] __attribute__((aligned(16)));
static unsigned int failures;
static volatile unsigned int ready;
static volatile unsigned int taken[GATES];
static volatile uint32_t taken_by[GATES]; /* APIC ID */
static volatile uint32_t ap_id;

/* ---- console ---- */

static void print(const char *text)
{
	for (; *text; text++) {
		while (!(micro_inb(MICRO_CONSOLE_PORT + 5) & 0x20))
			;
		micro_outb(MICRO_CONSOLE_PORT, (uint8_t)*text);
	}
}

static void check(bool ok, const char *what)
{
	print(ok ? "ok " : "not ok ");
	print(what);
	print("\n");
	failures += !ok;
}

static void print_number(const char *what, unsigned int value)
{
	char digits[11];
	char *at = digits + sizeof(digits) - 1;

	for (*at = 0; value || !*at; value /= 10)
		*--at = (char)('0' + value % 10);
	print(what);
	print(at);
	print("\n");
}

/* ---- chips ---- */

static uint32_t load(uint32_t address)
{
	return *(volatile uint32_t *)address;
}

static void store(uint32_t address, uint32_t value)
{
	*(volatile uint32_t *)address = value;
}

static uint32_t apic_id(void)
{
	return load(LAPIC + LAPIC_ID) >> 24;
}

static void apic_send(uint32_t command)
{
	store(LAPIC + LAPIC_ICR, command);
	while (load(LAPIC + LAPIC_ICR) & LAPIC_ICR_BIT)
		;
}

static void ioapic_route(unsigned int line, uint32_t low, uint32_t destination)
{
	store(IOAPIC, IOAPIC_ENTRY + line * 2 + 1);
	store(IOAPIC + IOAPIC_DATA, destination << 24);
	store(IOAPIC, IOAPIC_ENTRY + line * 2);
	store(IOAPIC + IOAPIC_DATA, low);
}

static void line(unsigned int n, uint8_t level)
{
	micro_outb((uint16_t)(LINE_PORT + n), level);
}

/* ---- interrupts ---- */

static void note(unsigned int vector)
{
	taken_by[vector] = apic_id();
	taken[vector]++;
}

__attribute__((interrupt)) static void on_edge(struct frame *frame)
{
	(void)frame;
	note(VECTOR_EDGE);
	store(LAPIC + LAPIC_EOI, 0);
}

__attribute__((interrupt)) static void on_ap(struct frame *frame)
{
	(void)frame;
	note(VECTOR_AP);
	store(LAPIC + LAPIC_EOI, 0);
}

/* The first time the line stays up over the EOI, so that it comes again. */
__attribute__((interrupt)) static void on_level(struct frame *frame)
{
	(void)frame;
	note(VECTOR_LVL);
	if (taken[VECTOR_LVL] == 2)
		line(LINE_LVL, 0);
	store(LAPIC + LAPIC_EOI, 0);
}

__attribute__((interrupt)) static void on_other(struct frame *frame)
{
	(void)frame;
	print("not ok unexpected exception or interrupt\n");
	micro_outb(MICRO_DEBUG_EXIT_PORT, END_BAD);
}

static void set_gate(unsigned int vector, void (*handler)(struct frame *frame))
{
	uint32_t address = (uint32_t)handler;

	idt[vector] = (struct gate){.offset_low = (uint16_t)address,
	                            .selector = SELECTOR,
	                            .type = GATE_TYPE,
	                            .offset_high = (uint16_t)(address >> 16)};
}

static void load_gates(void)
{
	struct {
		uint16_t limit;
		uint32_t base;
	} __attribute__((packed)) idtr = {sizeof(idt) - 1, (uint32_t)idt};

	__asm__ volatile("lidt %0" : : "m"(idtr));
	store(LAPIC + LAPIC_SVR, SVR_ENABLED);
}

/* Sleep until `vector` has been taken `n` times; if it never is, the run ends by its time limit. */
static void await(unsigned int vector, unsigned int n)
{
	while (taken[vector] < n)
		__asm__ volatile("sti; hlt; cli" : : : "memory");
}

/* ---- the course ---- */

static void boot_information(uint32_t magic, const struct multiboot_info *info)
{
	uint32_t cr0;

	__asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
	check(magic == LOADER_MAGIC, "loaded by a multiboot loader");
	check((cr0 & 0x80000001u) == 1, "32-bit protected mode, no paging");
	check(info->flags & INFO_CMDLINE, "a command line was given");
	print("command line: ");
	print((const char *)info->cmdline);
	print("\n");
}

static unsigned int count_cpus(void)
{
	static const char signature[] = "QEMU";
	bool ok = true;
	unsigned int cpus;

	micro_outw(FW_CFG_SELECT, FW_CFG_SIGNATURE);
	for (int i = 0; i < 4; i++)
		ok = micro_inb(FW_CFG_DATA) == (uint8_t)signature[i] && ok;
	check(ok, "fw_cfg is there");
	micro_outw(FW_CFG_SELECT, FW_CFG_CPUS);
	cpus = micro_inb(FW_CFG_DATA);
	cpus |= (unsigned int)micro_inb(FW_CFG_DATA) << 8;
	print_number("CPUs: ", cpus);
	return cpus;
}

void flat_ap(void)
{
	load_gates();
	ap_id = apic_id();
	__atomic_fetch_add(&ready, 1, __ATOMIC_SEQ_CST);
	for (;;)
		__asm__ volatile("sti; hlt" : : : "memory");
}

static void start_others(unsigned int cpus)
{
	volatile uint8_t *to = (volatile uint8_t *)FLAT_AP_CODE;

	for (const uint8_t *from = flat_trampoline; from < flat_trampoline_end; from++)
		*to++ = *from;
	apic_send(ICR_INIT);
	apic_send(ICR_SIPI | FLAT_AP_CODE >> 12);
	while (ready < cpus - 1)
		__asm__ volatile("pause");
	check(true, "all other processors came to 32-bit code");
	check((uint16_t)load(FLAT_AP_CODE + (uint32_t)(flat_trampoline_cs - flat_trampoline)) ==
	              FLAT_AP_CODE >> 4,
	      "they began at the vector of the SIPI");
	check(!(load(FLAT_AP_CODE + (uint32_t)(flat_trampoline_cr0 - flat_trampoline)) & 1),
	      "in real mode");
}

static void lines(void)
{
	micro_outl(ECHO_PORT, 0x12345678);
	check(micro_inl(ECHO_PORT) == 0x12345678, "the test device's port keeps what is written");
	ioapic_route(LINE_EDGE, VECTOR_EDGE, apic_id());
	line(LINE_EDGE, 1);
	await(VECTOR_EDGE, 1);
	line(LINE_EDGE, 0);
	line(LINE_EDGE, 1);
	await(VECTOR_EDGE, 2);
	line(LINE_EDGE, 0);
	__asm__ volatile("sti; nop; nop; cli" : : : "memory");
	check(taken[VECTOR_EDGE] == 2, "one interrupt for each edge");

	ioapic_route(LINE_AP, VECTOR_AP, ap_id);
	line(LINE_AP, 1);
	while (!taken[VECTOR_AP])
		__asm__ volatile("pause");
	line(LINE_AP, 0);
	check(taken_by[VECTOR_AP] == ap_id && ap_id != apic_id(),
	      "another processor took the interrupt sent to it");

	ioapic_route(LINE_LVL, VECTOR_LVL | LEVEL, apic_id());
	line(LINE_LVL, 1);
	await(VECTOR_LVL, 2);
	__asm__ volatile("sti; nop; nop; cli" : : : "memory");
	check(taken[VECTOR_LVL] == 2, "a level comes again until it is taken down, and no more");
	ioapic_route(LINE_LVL, MASKED, 0);
}

void flat_main(uint32_t magic, const struct multiboot_info *info)
{
	unsigned int cpus;

	for (unsigned int i = 0; i < GATES; i++)
		set_gate(i, on_other);
	set_gate(VECTOR_EDGE, on_edge);
	set_gate(VECTOR_AP, on_ap);
	set_gate(VECTOR_LVL, on_level);
	/* The firmware left the tick of the 8254 open. */
	micro_outb(0x21, 0xff);
	micro_outb(0xa1, 0xff);
	load_gates();
	boot_information(magic, info);
	cpus = count_cpus();
	check(cpus >= 2 && cpus <= FLAT_MAX_CPUS, "between two and eight processors");
	if (!failures) {
		start_others(cpus);
		lines();
	}
	micro_outb(MICRO_DEBUG_EXIT_PORT, failures ? END_BAD : END_GOOD);
	print("not ok the guest still runs\n");
}
