/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The common part of the micro guests. The console is a 16550 that is written byte by byte once it
 * says that it is ready; power-off is the ACPI sleep-control write that the firmware tables name.
 */
#include "micro.h"

#define LINE_STATUS       5
#define LINE_STATUS_READY 0x20
#define SLEEP_TYPE_OFF    (5 << 10)
#define SLEEP_ENABLE      (1 << 13)
#define GATE_INTERRUPT    0x8e
#define CODE_SELECTOR     0x08
#define STUB_SIZE         16
#define EXCEPTIONS        32

struct gate {
	uint16_t offset_low;
	uint16_t selector;
	uint8_t ist;
	uint8_t type;
	uint16_t offset_middle;
	uint32_t offset_high;
	uint32_t reserved;
};

/* As start.S and the processor push it. */
struct frame {
	uint64_t vector;
	uint64_t error_code;
	uint64_t rip;
	uint64_t cs;
	uint64_t rflags;
	uint64_t rsp;
	uint64_t ss;
};

extern const char micro_stubs[];
void micro_exception(struct frame *frame);

static struct gate idt[EXCEPTIONS] __attribute__((aligned(16)));
static volatile int trap_expected = MICRO_NO_VECTOR;
static volatile int trap_taken = MICRO_NO_VECTOR;
static volatile unsigned int trap_length;
static int failures;

void micro_set_up(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) idtr = {sizeof(idt) - 1, (uintptr_t)idt};

	for (unsigned int i = 0; i < EXCEPTIONS; i++) {
		uintptr_t stub = (uintptr_t)micro_stubs + i * STUB_SIZE;

		idt[i] = (struct gate){.offset_low = (uint16_t)stub,
		                       .selector = CODE_SELECTOR,
		                       .type = GATE_INTERRUPT,
		                       .offset_middle = (uint16_t)(stub >> 16),
		                       .offset_high = (uint32_t)((uint64_t)stub >> 32)};
	}
	__asm__ volatile("lidt %0" : : "m"(idtr));
}

void micro_power_off(int status)
{
	micro_outb(MICRO_STATUS_PORT, (uint8_t)status);
	micro_outw(MICRO_PM1_CONTROL, SLEEP_TYPE_OFF | SLEEP_ENABLE);
	for (;;)
		__asm__ volatile("cli; hlt");
}

void micro_print(const char *s)
{
	for (; *s; s++) {
		while (!(micro_inb(MICRO_CONSOLE_PORT + LINE_STATUS) & LINE_STATUS_READY))
			;
		micro_outb(MICRO_CONSOLE_PORT, (uint8_t)*s);
	}
}

void micro_print_hex(uint64_t value)
{
	char text[17];

	for (int i = 0; i < 16; i++)
		text[i] = "0123456789abcdef"[value >> (60 - 4 * i) & 15];
	text[16] = 0;
	micro_print(text);
}

void micro_print_number(uint64_t value)
{
	char text[21];
	int at = 20;

	text[at] = 0;
	do
		text[--at] = (char)('0' + value % 10);
	while (value /= 10);
	micro_print(text + at);
}

void micro_print_count(const char *name, uint64_t value)
{
	micro_print("count ");
	micro_print(name);
	micro_print(" ");
	micro_print_number(value);
	micro_print("\n");
}

void micro_check(bool ok, const char *what)
{
	micro_print(ok ? "ok " : "not ok ");
	micro_print(what);
	micro_print("\n");
	failures += !ok;
}

int micro_failures(void)
{
	return failures;
}

void micro_trap_expect(int vector, unsigned int length)
{
	trap_taken = MICRO_NO_VECTOR;
	trap_length = length;
	trap_expected = vector;
}

int micro_trap_taken(void)
{
	trap_expected = MICRO_NO_VECTOR;
	return trap_taken;
}

void micro_exception(struct frame *frame)
{
	int vector = (int)frame->vector;

	if (trap_expected != MICRO_ANY_VECTOR && trap_expected != vector) {
		micro_print("unexpected exception, vector ");
		micro_print_hex(frame->vector);
		micro_print(" at ");
		micro_print_hex(frame->rip);
		micro_print("\n");
		micro_power_off(99);
	}
	trap_expected = MICRO_NO_VECTOR;
	trap_taken = vector;
	if (trap_length != MICRO_RETURN) {
		frame->rip += trap_length;
	} else {
		frame->rip = *(uint64_t *)(uintptr_t)frame->rsp;
		frame->rsp += sizeof(uint64_t);
	}
}
