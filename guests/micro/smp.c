/* SPDX-License-Identifier: BSD-2-Clause */
/* See smp.h. The first processor starts the others one after another. */
#include "smp.h"

#define SMP_CODE         0x8000 /* as in ap.S; free low memory */
#define STACK_SIZE       0x2000
#define GATES            256
#define MSR_APIC_BASE    0x1b
#define MSR_X2APIC       0x800
#define APIC_PAGE        0xfee00000ul
#define APIC_ICR_HIGH    0x310
#define X2APIC_ENABLE    0xc00
#define SVR_ENABLED      0x1ff
#define CPUID_ECX_X2APIC (1u << 21)

struct gate {
	uint16_t offset_low;
	uint16_t selector;
	uint8_t ist;
	uint8_t type;
	uint16_t offset_middle;
	uint32_t offset_high;
	uint32_t reserved;
};

struct table {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

extern const uint8_t smp_code[], smp_code_end[], smp_code_cr3[];
extern uint8_t smp_stacks[];
extern uint32_t smp_stacks_used;
void smp_enter(void);

static struct gate idt[GATES] __attribute__((aligned(16)));
uint8_t smp_stacks[SMP_MAX * STACK_SIZE] __attribute__((aligned(16)));
uint32_t smp_stacks_used;
static unsigned int begun;
static bool in_x2apic;
static void (*smp_entry)(unsigned int id);

static void cpuid1(uint32_t *ebx, uint32_t *ecx)
{
	uint32_t eax = 1, edx;

	__asm__ volatile("cpuid" : "+a"(eax), "=b"(*ebx), "=c"(*ecx), "=d"(edx));
}

void smp_set_gate(unsigned int vector, smp_handler handler)
{
	uintptr_t at = (uintptr_t)handler;

	idt[vector] = (struct gate){.offset_low = (uint16_t)at,
	                            .selector = 0x08,
	                            .type = 0x8e,
	                            .offset_middle = (uint16_t)(at >> 16),
	                            .offset_high = (uint32_t)((uint64_t)at >> 32)};
}

static void load_gates(void)
{
	struct table table = {sizeof(idt) - 1, (uintptr_t)idt};

	__asm__ volatile("lidt %0" : : "m"(table));
}

void smp_set_up_gates(void)
{
	struct table old;

	__asm__ volatile("sidt %0" : "=m"(old));
	for (unsigned int i = 0; i < 32; i++)
		idt[i] = ((struct gate *)(uintptr_t)old.base)[i];
	load_gates();
}

bool smp_is_x2apic(void)
{
	return (micro_rdmsr(MSR_APIC_BASE) & X2APIC_ENABLE) == X2APIC_ENABLE;
}

/* Without leaf 0xb it has 8 bits: SDM volume 2, "CPUID". */
uint32_t smp_initial_id(void)
{
	uint32_t eax = 0, ebx, ecx = 0, edx;

	__asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
	if (eax < 0xb) {
		cpuid1(&ebx, &ecx);
		return ebx >> 24;
	}
	eax = 0xb;
	ecx = 0;
	__asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
	return edx;
}

bool smp_has_x2apic(void)
{
	uint32_t ebx, ecx;

	cpuid1(&ebx, &ecx);
	return ecx & CPUID_ECX_X2APIC;
}

void smp_apic_enable(bool x2apic)
{
	in_x2apic = x2apic;
	if (x2apic)
		micro_wrmsr(MSR_APIC_BASE, micro_rdmsr(MSR_APIC_BASE) | X2APIC_ENABLE);
	smp_apic_write(APIC_SVR, SVR_ENABLED);
}

void smp_apic_write(unsigned int reg, uint32_t value)
{
	if (in_x2apic)
		micro_wrmsr(MSR_X2APIC + reg / 16, value);
	else
		smp_store(APIC_PAGE + reg, value);
}

void smp_apic_icr(unsigned int dest, uint32_t low)
{
	if (in_x2apic) {
		micro_wrmsr(MSR_X2APIC + APIC_ICR / 16, (uint64_t)dest << 32 | low);
	} else {
		smp_store(APIC_PAGE + APIC_ICR_HIGH, dest << 24);
		smp_store(APIC_PAGE + APIC_ICR, low);
	}
}

void smp_enter(void)
{
	uint32_t ebx, ecx;

	load_gates();
	cpuid1(&ebx, &ecx);
	__atomic_fetch_add(&begun, 1, __ATOMIC_SEQ_CST);
	smp_entry(ebx >> 24);
}

/* Where the others begin, and what they go on with. */
static void set_up_start(void (*entry)(unsigned int id))
{
	volatile uint8_t *to = (volatile uint8_t *)SMP_CODE;
	uint64_t cr3;

	__asm__ volatile("mov %%cr3, %0" : "=r"(cr3));
	for (unsigned int i = 0; smp_code + i < smp_code_end; i++)
		to[i] = smp_code[i];
	*(volatile uint32_t *)(uintptr_t)(SMP_CODE + (smp_code_cr3 - smp_code)) = (uint32_t)cr3;
	smp_entry = entry;
}

void smp_start_all(unsigned int vcpus, void (*entry)(unsigned int id))
{
	set_up_start(entry);
	smp_apic_icr(0, ICR_OTHERS | ICR_INIT);
	smp_apic_icr(0, ICR_OTHERS | ICR_SIPI | SMP_CODE >> 12);
	while (__atomic_load_n(&begun, __ATOMIC_SEQ_CST) + 1 < vcpus)
		__asm__ volatile("pause");
}

void smp_start(unsigned int vcpus, void (*entry)(unsigned int id))
{
	set_up_start(entry);
	for (unsigned int id = 1; id < vcpus && id < SMP_MAX; id++) {
		smp_apic_icr(id, ICR_INIT);
		smp_apic_icr(id, ICR_SIPI | SMP_CODE >> 12);
		while (__atomic_load_n(&begun, __ATOMIC_SEQ_CST) < id)
			__asm__ volatile("pause");
	}
}
