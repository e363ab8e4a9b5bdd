/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Accounts of interrupts (docs/testdev.md). Four PCI test devices send numbered events, by message and
 * by the pin, at random rates, to vCPUs that run, sleep and are busy with interrupts off, while the
 * first one moves destinations and vectors. Coalescing is legal, loss is not: of each device the last
 * number has to be seen, or the guest never ends. What was sent, handled and lost on purpose is
 * printed, for the run to compare with the account. In x2APIC mode if that is offered. Needs --set
 * msidev=4 and two vCPUs at least. Ends: poweroff, status 0.
 */
#include "smp.h"

#define DEVICES   4
#define SLOT      4
#define BAR       0x10
#define COMMAND   0x04
#define MSI       0x50
#define MSI_LOW   (MSI + 4)
#define MSI_HIGH  (MSI + 8)
#define MSI_DATA  (MSI + 12)
#define MSI_MASK  (MSI + 16)
#define MSI_WAITS (MSI + 20)

#define MEMORY_AND_MASTER 0x006
#define INTX_DISABLE      0x400
#define MSI_ENABLE        0x10000 /* in the dword at MSI */

#define ID       0x00
#define CONTROL  0x08
#define STATUS   0x0c
#define PERIOD   0x10
#define BURST    0x14
#define COUNT    0x18
#define LAST     0x20
#define DMA_LOW  0x24
#define TRIGGER  0x2c
#define EVENTS   0x40
#define MESSAGES 0x44
#define ASSERTED 0x4c
#define RUN      1
#define DMA      2

#define ID_VALUE     0x4449534du
#define VECTOR       0x50 /* the device in the low bits, ten classes */
#define CLASSES      10
#define VECTOR_PIN   0x48
#define VECTOR_QUIET 0x21
#define PIN          10 /* of devices 0 and 2 */
#define NOBODY       0xfd
#define LEVEL        0x8000
#define MASKED       0x10000
#define ROUNDS       400
#define PIN_ROUNDS   150

static struct {
	volatile uint32_t number;
	uint32_t pad[15];
} dma[DEVICES] __attribute__((aligned(64)));

static uint32_t base[DEVICES];
static uint32_t seen[DEVICES];
static unsigned int cpus, quiet, ready, acked, strays;
static uint32_t handled, handled_pin;
static bool x2apic;

static uint32_t random_number(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

static uint32_t get(unsigned int device, unsigned int reg)
{
	return smp_load(base[device] + reg);
}

static void put(unsigned int device, unsigned int reg, uint32_t value)
{
	smp_store(base[device] + reg, value);
}

/* --- handlers --- */

static void note(unsigned int device)
{
	uint32_t number = dma[device].number;
	uint32_t old = __atomic_load_n(&seen[device], __ATOMIC_SEQ_CST);

	while (old < number && !__atomic_compare_exchange_n(&seen[device], &old, number, false,
	                                                    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		;
}

static void take_message(unsigned int device)
{
	__atomic_fetch_add(&handled, 1, __ATOMIC_SEQ_CST);
	note(device);
	smp_apic_write(APIC_EOI, 0);
}

#define MESSAGE_HANDLER(device)                                                                    \
	__attribute__((interrupt)) static void on_message_##device(struct interrupt_frame *frame)  \
	{                                                                                          \
		(void)frame;                                                                       \
		take_message(device);                                                              \
	}
MESSAGE_HANDLER(0)
MESSAGE_HANDLER(1)
MESSAGE_HANDLER(2)
MESSAGE_HANDLER(3)

/*
 * One at a time on all processors, since the I/O APIC waits for the EOI. Serves the devices every
 * second time only: a line that is still high at the EOI has to be delivered again.
 */
__attribute__((interrupt)) static void on_pin(struct interrupt_frame *frame)
{
	bool lazy = ++handled_pin % 2;
	bool stray = true;

	(void)frame;
	for (unsigned int device = 0; device < DEVICES; device += 2) {
		if (!(get(device, STATUS) & 1))
			continue;
		stray = false;
		if (lazy)
			continue;
		put(device, STATUS, 1);
		acked++;
		note(device);
	}
	strays += stray;
	smp_apic_write(APIC_EOI, 0);
}

__attribute__((interrupt)) static void on_quiet(struct interrupt_frame *frame)
{
	(void)frame;
	/* Counted when it is over: at the end nobody is to be left in here. */
	smp_apic_write(APIC_EOI, 0);
	__atomic_fetch_add(&quiet, 1, __ATOMIC_SEQ_CST);
}

static void set_gates(void)
{
	static const smp_handler handler[DEVICES] = {on_message_0, on_message_1, on_message_2,
	                                             on_message_3};

	smp_set_up_gates();
	for (unsigned int i = 0; i < CLASSES; i++)
		for (unsigned int device = 0; device < DEVICES; device++)
			smp_set_gate(VECTOR + 16 * i + device, handler[device]);
	smp_set_gate(VECTOR_PIN, on_pin);
	smp_set_gate(VECTOR_QUIET, on_quiet);
}

/* --- the other processors: asleep, busy, busy with interrupts off; never twice the same --- */

static void be_busy(uint32_t turns)
{
	for (; turns; turns--)
		__asm__ volatile("" : : : "memory");
}

static void other(unsigned int id)
{
	uint32_t seed = id;

	smp_apic_enable(x2apic);
	__atomic_fetch_add(&ready, 1, __ATOMIC_SEQ_CST);
	for (;;) {
		if (random_number(&seed) % 3)
			__asm__ volatile("sti; hlt; cli" : : : "memory");
		be_busy(random_number(&seed) % 20000);
		__asm__ volatile("sti" : : : "memory");
		be_busy(random_number(&seed) % 20000);
		__asm__ volatile("cli" : : : "memory");
	}
}

/* --- the first one --- */

/* As operating systems do it: masked; what comes meanwhile is held. */
static void aim(unsigned int device, uint32_t target, uint32_t vector, uint32_t busy)
{
	smp_pci_write(SLOT + device, MSI_MASK, 1);
	be_busy(busy);
	smp_pci_write(SLOT + device, MSI_LOW, 0xfee00000u | target << 12);
	smp_pci_write(SLOT + device, MSI_DATA, vector);
	smp_pci_write(SLOT + device, MSI_MASK, 0);
}

static void aim_anywhere(unsigned int device, uint32_t *seed)
{
	uint32_t vector = VECTOR + 16 * (random_number(seed) % CLASSES) + device;

	aim(device, random_number(seed) % cpus, vector, random_number(seed) % 200000);
}

static void aim_pin_anywhere(uint32_t *seed)
{
	smp_ioapic(0x10 + 2 * PIN, MASKED | LEVEL | VECTOR_PIN);
	smp_ioapic(0x11 + 2 * PIN, random_number(seed) % cpus << 24);
	smp_ioapic(0x10 + 2 * PIN, LEVEL | VECTOR_PIN);
}

/* 100 to 600 us between, one to four at a time: each device otherwise. */
static void let_run(unsigned int device, uint32_t events, uint32_t *seed)
{
	put(device, PERIOD, 100000 + random_number(seed) % 500000);
	put(device, BURST, 1 + random_number(seed) % 4);
	put(device, COUNT, events);
	put(device, CONTROL, RUN | DMA);
}

static bool runs(void)
{
	for (unsigned int device = 0; device < DEVICES; device++)
		if (get(device, CONTROL) & RUN)
			return true;
	return false;
}

/* The heart of it: whoever loses an interrupt never comes out of here. */
static void await_last(unsigned int step)
{
	for (unsigned int device = 0; device < DEVICES; device += step) {
		uint32_t last = get(device, LAST);

		while (__atomic_load_n(&seen[device], __ATOMIC_SEQ_CST) < last)
			__asm__ volatile("pause");
		micro_check(seen[device] == last && last == get(device, EVENTS),
		            "the last number was seen");
	}
}

/* An interrupt of the lowest class everywhere: nothing that came before it is left then. */
static void await_quiet(void)
{
	quiet = 0;
	smp_apic_icr(0, VECTOR_QUIET | ICR_ALL);
	while (__atomic_load_n(&quiet, __ATOMIC_SEQ_CST) < cpus)
		__asm__ volatile("pause");
}

static uint32_t sum(unsigned int reg)
{
	uint32_t n = 0;

	for (unsigned int device = 0; device < DEVICES; device++)
		n += get(device, reg);
	return n;
}

static void test_messages(uint32_t seed)
{
	uint32_t events = sum(EVENTS);

	for (unsigned int device = 0; device < DEVICES; device++) {
		smp_pci_write(SLOT + device, MSI, MSI_ENABLE);
		aim_anywhere(device, &seed);
		let_run(device, ROUNDS, &seed);
	}
	while (runs()) {
		aim_anywhere(random_number(&seed) % DEVICES, &seed);
		be_busy(random_number(&seed) % 100000);
	}
	await_last(1);
	await_quiet();
	micro_check(sum(EVENTS) == events + DEVICES * ROUNDS, "every event took a number");
	micro_check(handled_pin == 0, "no interrupt by a pin");
}

static void test_pin(uint32_t seed)
{
	uint32_t asserted = sum(ASSERTED), messages = sum(MESSAGES);

	acked = strays = 0;
	for (unsigned int device = 0; device < DEVICES; device++)
		smp_pci_write(SLOT + device, MSI, 0);
	aim_pin_anywhere(&seed);
	for (unsigned int device = 0; device < DEVICES; device += 2)
		let_run(device, PIN_ROUNDS, &seed);
	while (runs()) {
		aim_pin_anywhere(&seed);
		be_busy(random_number(&seed) % 100000);
	}
	await_last(2);
	await_quiet();
	asserted = sum(ASSERTED) - asserted;
	micro_check(asserted > 0 && acked == asserted, "every assertion was served");
	micro_check(handled_pin > acked, "what was not served was delivered again");
	micro_check(strays == 0, "no interrupt for nothing");
	micro_check(sum(STATUS) == 0, "nothing is left");
	micro_check(sum(MESSAGES) == messages, "no message without MSI");
	smp_ioapic(0x10 + 2 * PIN, MASKED | LEVEL | VECTOR_PIN);
}

/* What must not come. Returns how many messages were lost on purpose. */
static uint32_t test_silence(void)
{
	uint32_t before = handled, by_pin = handled_pin, lost;

	smp_pci_write(SLOT, MSI, MSI_ENABLE);
	aim(0, cpus - 1, VECTOR, 0);
	smp_pci_write(SLOT, MSI_MASK, 1);
	put(0, TRIGGER, 5);
	await_quiet();
	micro_check(handled == before, "a masked message does not come");
	micro_check(smp_pci_read(SLOT, MSI_WAITS) == 1, "it is pending");
	smp_pci_write(SLOT, MSI_MASK, 0);
	await_quiet();
	micro_check(handled == before + 1, "it comes once when unmasked");
	lost = sum(MESSAGES);
	aim(0, NOBODY, VECTOR, 0);
	put(0, TRIGGER, 3);
	aim(0, cpus - 1, VECTOR, 0);
	smp_pci_write(SLOT, MSI_HIGH, 1);
	put(0, TRIGGER, 4);
	smp_pci_write(SLOT, MSI_HIGH, 0);
	await_quiet();
	micro_check(handled == before + 1, "messages to nobody do not come");
	lost = sum(MESSAGES) - lost;
	micro_check(lost == 7, "they count as sent");
	smp_pci_write(SLOT, MSI, 0);
	smp_pci_write(SLOT, COMMAND, MEMORY_AND_MASTER | INTX_DISABLE);
	smp_ioapic(0x10 + 2 * PIN, LEVEL | VECTOR_PIN);
	put(0, TRIGGER, 1);
	await_quiet();
	micro_check(handled_pin == by_pin, "a disabled pin does not interrupt");
	put(0, STATUS, 1);
	smp_pci_write(SLOT, COMMAND, MEMORY_AND_MASTER);
	await_quiet();
	micro_check(handled_pin == by_pin, "what was given up does not, either");
	smp_ioapic(0x10 + 2 * PIN, MASKED | LEVEL | VECTOR_PIN);
	return lost;
}

static bool find_devices(void)
{
	bool all = true;

	for (unsigned int device = 0; device < DEVICES; device++) {
		base[device] = smp_pci_read(SLOT + device, BAR) & ~15u;
		all = all && smp_pci_read(SLOT + device, 0) == 0x4d535053u &&
		      get(device, ID) == ID_VALUE;
		if (!all)
			break;
		smp_pci_write(SLOT + device, COMMAND, MEMORY_AND_MASTER);
		put(device, DMA_LOW, (uint32_t)(uintptr_t)&dma[device]);
	}
	micro_check(all, "the devices are there");
	return all;
}

int micro_main(unsigned int vcpus)
{
	uint32_t lost;

	cpus = vcpus;
	set_gates();
	x2apic = smp_has_x2apic();
	smp_apic_enable(x2apic);
	micro_print(x2apic ? "x2APIC mode\n" : "xAPIC mode\n");
	micro_check(cpus > 1 && cpus <= SMP_MAX, "there are several processors");
	if (!find_devices() || micro_failures())
		return 1;
	smp_start(cpus, other);
	while (__atomic_load_n(&ready, __ATOMIC_SEQ_CST) < cpus - 1)
		__asm__ volatile("pause");
	__asm__ volatile("sti");
	test_messages(1);
	test_pin(2);
	lost = test_silence();
	micro_print_count("messages", sum(MESSAGES));
	micro_print_count("handled", handled);
	micro_print_count("lost", lost);
	micro_print_count("assertions", sum(ASSERTED));
	micro_print_count("handled-pin", handled_pin);
	return micro_failures() ? 1 : 0;
}
