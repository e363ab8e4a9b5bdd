/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * For micro guests with several processors and interrupts: the local APIC in either mode, start-up of
 * the others, gates, the I/O APIC, PCI configuration space.
 */
#ifndef SMP_H
#define SMP_H

#include "micro.h"

#define SMP_MAX 16

#define APIC_ID  0x20
#define APIC_EOI 0xb0
#define APIC_SVR 0xf0
#define APIC_ICR 0x300

#define ICR_ALL    0x80000u
#define ICR_OTHERS 0xc0000u
#define ICR_INIT   0x4500u
#define ICR_SIPI   0x4600u

struct interrupt_frame;
typedef void (*smp_handler)(struct interrupt_frame *frame);

/* Gates of all processors. The exceptions' are those of the common part. Before smp_start(). */
void smp_set_up_gates(void);
void smp_set_gate(unsigned int vector, smp_handler handler);

bool smp_has_x2apic(void);
/* The calling processor's APIC: enabled by software, in x2APIC mode if asked for; all in the same. */
void smp_apic_enable(bool x2apic);
void smp_apic_write(unsigned int reg, uint32_t value);
void smp_apic_icr(unsigned int dest, uint32_t low);

/* The calling processor's APIC is in x2APIC mode already. */
bool smp_is_x2apic(void);
/* The calling processor's ID as CPUID has it, all of its bits. */
uint32_t smp_initial_id(void);

/* As smp_start(), whatever their IDs: by one INIT and one start-up IPI to all. They begin side by side. */
void smp_start_all(unsigned int vcpus, void (*entry)(unsigned int id));

/* Start all others; each calls `entry` with its initial APIC ID. Returns when all have begun. */
void smp_start(unsigned int vcpus, void (*entry)(unsigned int id));

static inline void smp_store(uint64_t address, uint32_t value)
{
	__asm__ volatile("movl %0, (%1)" : : "r"(value), "r"(address) : "memory");
}

static inline uint32_t smp_load(uint64_t address)
{
	uint32_t value;

	__asm__ volatile("movl (%1), %0" : "=r"(value) : "r"(address) : "memory");
	return value;
}

static inline void smp_ioapic(unsigned int reg, uint32_t value)
{
	smp_store(0xfec00000, reg);
	smp_store(0xfec00010, value);
}

static inline uint32_t smp_pci_read(unsigned int device, unsigned int reg)
{
	micro_outl(0xcf8, 0x80000000u | device << 11 | (reg & 0xfc));
	return micro_inl(0xcfc);
}

static inline void smp_pci_write(unsigned int device, unsigned int reg, uint32_t value)
{
	micro_outl(0xcf8, 0x80000000u | device << 11 | (reg & 0xfc));
	micro_outl(0xcfc, value);
}

#endif
