/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Rules as a micro guest: the operations that tests/model/rules.h is written in, as instructions.
 * See there. A check that fails ends the guest with status 1.
 */
#ifndef MICRO_RULES_GUEST_H
#define MICRO_RULES_GUEST_H

#include "micro.h"

#include "postern/types.h"
#include "x86/apic.h"
#include "x86/msr.h"
#include "x86/regs.h"

#define HARNESS_SIPI 0x40u /* start-up vector of the other vCPUs */
#define HARNESS_AP   (HARNESS_SIPI << 12)

/* The platform's; what the rules' own headers say about it is the hypervisor's side. */
#define IOAPIC_BASE           0xfec00000ull
#define IOAPIC_PINS           24
#define IOAPIC_RTE_LOGICAL    BIT64(11)
#define IOAPIC_RTE_POLARITY   BIT64(13)
#define IOAPIC_RTE_REMOTE_IRR BIT64(14)
#define IOAPIC_RTE_LEVEL      BIT64(15)
#define IOAPIC_RTE_MASKED     BIT64(16)
#define TESTDEV_LINES_PORT    0x2000
#define PIT_HZ                1193182ull

struct harness {
	u32 vcpus;
	bool xapic; /* the guest's choice, for g_apic_*() */
};
extern struct harness harness;

typedef void (*guest_script)(void *arg);

/* Who starts there (a page below 1 MiB, by a start-up IPI) runs `script`. */
void guest_bind(u64 entry, guest_script script, void *arg);

void g_apic_enable(void);
u32 g_apic_read(u32 reg);
void g_apic_write(u32 reg, u32 value);
void g_apic_eoi(void);
void g_apic_icr(u32 dest, u32 low);
void g_start_aps(void);

u8 g_rdmsr_safe(u32 msr, u64 *value);
u8 g_wrmsr_safe(u32 msr, u64 value);
/* Handlers that have not returned, on this vCPU. */
u32 g_depth(void);

#define G_CHECK(cond)                                                                              \
	do {                                                                                       \
		if (!(cond))                                                                       \
			g_fail(__FILE__, __LINE__, #cond);                                         \
	} while (0)
#define G_CHECK_EQUAL(a, b) g_check_equal(__FILE__, __LINE__, #a " == " #b, (u64)(a), (u64)(b))
void g_fail(const char *file, int line, const char *what) __noreturn;
void g_check_equal(const char *file, int line, const char *what, u64 a, u64 b);

void *memset(void *to, int value, size_t length);
void *memcpy(void *to, const void *from, size_t length);

/* Clocks tell an order, and no more. */
static inline bool rules_exact(void)
{
	return false;
}

/* By the 8254, with a margin to either side: measured under a hypervisor, on a busy machine. */
u64 rules_tsc_at_least(u64 ns);
u64 rules_tsc_at_most(u64 ns);

/*
 * The 8254's rules are about ticks: an access of a port takes a few here, so counts are longer. That
 * an access takes no more than that needs a clock that counts instructions (--icount).
 */
#define RULES_TICKS_SCALE 20
#define RULES_TICKS_SLACK 60

/* Of so many ticks of the 8254: measured. */
u64 rules_tsc_of_ticks(u64 ticks);

/* --- one instruction each --- */

static inline void g_cpuid(u32 leaf, u32 subleaf, struct cpuid_regs *r)
{
	__asm__ volatile("cpuid"
	                 : "=a"(r->eax), "=b"(r->ebx), "=c"(r->ecx), "=d"(r->edx)
	                 : "a"(leaf), "c"(subleaf)
	                 : "memory");
}

static inline u64 g_rdmsr(u32 msr)
{
	u32 low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr) : "memory");
	return low | (u64)high << 32;
}

static inline void g_wrmsr(u32 msr, u64 value)
{
	__asm__ volatile("wrmsr" : : "c"(msr), "a"((u32)value), "d"((u32)(value >> 32)) : "memory");
}

static inline u64 g_read(u64 gpa, u32 size)
{
	u64 value = 0;

	if (size == 1)
		__asm__ volatile("movb (%1), %b0" : "+q"(value) : "r"(gpa) : "memory");
	else if (size == 2)
		__asm__ volatile("movw (%1), %w0" : "+r"(value) : "r"(gpa) : "memory");
	else if (size == 4)
		__asm__ volatile("movl (%1), %k0" : "=r"(value) : "r"(gpa) : "memory");
	else
		__asm__ volatile("movq (%1), %0" : "=r"(value) : "r"(gpa) : "memory");
	return value;
}

static inline void g_write(u64 gpa, u64 value, u32 size)
{
	if (size == 1)
		__asm__ volatile("movb %b0, (%1)" : : "q"(value), "r"(gpa) : "memory");
	else if (size == 2)
		__asm__ volatile("movw %w0, (%1)" : : "r"(value), "r"(gpa) : "memory");
	else if (size == 4)
		__asm__ volatile("movl %k0, (%1)" : : "r"(value), "r"(gpa) : "memory");
	else
		__asm__ volatile("movq %0, (%1)" : : "r"(value), "r"(gpa) : "memory");
}

static inline u32 g_mmio_read(u64 gpa)
{
	return (u32)g_read(gpa, 4);
}

static inline void g_mmio_write(u64 gpa, u32 value)
{
	g_write(gpa, value, 4);
}

static inline u32 g_in(u16 port, u32 size)
{
	return size == 1 ? micro_inb(port) : size == 2 ? micro_inw(port) : micro_inl(port);
}

static inline void g_out(u16 port, u32 value, u32 size)
{
	if (size == 1)
		micro_outb(port, (u8)value);
	else if (size == 2)
		micro_outw(port, (u16)value);
	else
		micro_outl(port, value);
}

static inline void g_nop(void)
{
	__asm__ volatile("nop" : : : "memory");
}

static inline void g_pause(void)
{
	__asm__ volatile("pause" : : : "memory");
}

static inline u64 g_rdtsc(void)
{
	u32 low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return low | (u64)high << 32;
}

static inline u64 g_read_cr8(void)
{
	u64 value;

	__asm__ volatile("mov %%cr8, %0" : "=r"(value) : : "memory");
	return value;
}

static inline void g_write_cr8(u64 value)
{
	__asm__ volatile("mov %0, %%cr8" : : "r"(value) : "memory");
}

/* Nothing between STI and HLT: an interrupt that comes before wakes it. */
static inline void rules_wait(void)
{
	__asm__ volatile("sti; hlt; cli" : : : "memory");
}

static inline void rules_window(void)
{
	__asm__ volatile("sti; nop; nop; nop; nop; nop; nop; nop; nop; cli" : : : "memory");
}

#endif
