/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What micro guests share: console, checks, and exceptions that are expected. A micro guest is one
 * C file with micro_main(); what it returns becomes the guest's exit status, and the guest powers
 * off.
 */
#ifndef MICRO_H
#define MICRO_H

#include <stdbool.h>
#include <stdint.h>

#define MICRO_CONSOLE_PORT    0x3f8
#define MICRO_STATUS_PORT     0x505
#define MICRO_DEBUG_EXIT_PORT 0xf4
#define MICRO_PM1_CONTROL     0x604

enum {
	MICRO_UD = 6,
	MICRO_GP = 13,
	MICRO_ANY_VECTOR = -1,
	MICRO_NO_VECTOR = -2,
};

/* Where to go on after an expected exception; otherwise the length of the instruction to skip. */
#define MICRO_RETURN 0

int micro_main(unsigned int vcpus);

void micro_set_up(void);
void micro_power_off(int status) __attribute__((noreturn));
void micro_print(const char *s);
void micro_print_hex(uint64_t value);
void micro_print_number(uint64_t value); /* decimal */
/* "count NAME VALUE": what a test holds against the account. */
void micro_print_count(const char *name, uint64_t value);

/* Print "ok WHAT" or "not ok WHAT"; micro_failures() counts the latter. */
void micro_check(bool ok, const char *what);
int micro_failures(void);

/*
 * Expect exception `vector` (or MICRO_ANY_VECTOR) at the next instruction, and go on behind it:
 * `length` bytes further, or, with MICRO_RETURN, as if the function that was called had returned.
 * micro_trap_taken() then gives the vector that came, MICRO_NO_VECTOR if none did. An exception
 * that nobody expects ends the guest with status 99.
 */
void micro_trap_expect(int vector, unsigned int length);
int micro_trap_taken(void);

static inline uint64_t micro_rdmsr(uint32_t msr)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr) : "memory");
	return (uint64_t)high << 32 | low;
}

static inline void micro_wrmsr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr"
	                 :
	                 : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
	                 : "memory");
}

static inline void micro_outb(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void micro_outw(uint16_t port, uint16_t value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void micro_outl(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline uint8_t micro_inb(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

static inline uint16_t micro_inw(uint16_t port)
{
	uint16_t value;

	__asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

static inline uint32_t micro_inl(uint16_t port)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

#endif
