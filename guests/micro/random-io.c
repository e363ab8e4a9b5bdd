/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reads and writes ports and device memory at random, from a fixed seed: whatever it does to its
 * own machine, the hypervisor lives and the guest still powers off. Spared are only the ports that
 * end the run by design, and the interrupt command register of the local APIC, through which the
 * guest would stop itself. Ends: poweroff, status 0.
 */
#include "micro.h"

#define ROUNDS       5000
#define LOCAL_APIC   0xfee00000u
#define APIC_ICR_LOW 0x300u
#define IO_APIC      0xfec00000u

static uint64_t seed = 0x9e3779b97f4a7c15;

static uint64_t random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* Whether an access of up to four bytes at `port` could end the run. */
static bool ends_run(uint16_t port)
{
	static const uint16_t ending[] = {0x64,
	                                  0x92,
	                                  MICRO_DEBUG_EXIT_PORT,
	                                  MICRO_DEBUG_EXIT_PORT + 3,
	                                  0xcf9,
	                                  MICRO_STATUS_PORT};

	if (port >= 0x5fd && port <= 0x60f)
		return true;
	for (unsigned int i = 0; i < sizeof(ending) / sizeof(ending[0]); i++) {
		if (port <= ending[i] && port + 3 >= ending[i])
			return true;
	}
	return false;
}

static void random_port(void)
{
	uint64_t dice = random();
	uint16_t port = (uint16_t)(dice & 0x1000 ? random() : random() & 0x3ff);
	uint32_t value = (uint32_t)random();

	if (ends_run(port))
		return;
	switch (dice % 6) {
	case 0:
		micro_outb(port, (uint8_t)value);
		break;
	case 1:
		micro_outw(port, (uint16_t)value);
		break;
	case 2:
		micro_outl(port, value);
		break;
	case 3:
		micro_inb(port);
		break;
	case 4:
		micro_inw(port);
		break;
	default:
		micro_inl(port);
	}
}

static void random_memory(void)
{
	uint64_t dice = random();
	uintptr_t base = dice & 0x1000 ? LOCAL_APIC : IO_APIC;
	uintptr_t offset = random() & (dice & 0x2000 ? 0xffc : 0xff0);
	volatile uint32_t *p = (volatile uint32_t *)(base + offset);

	if (base == LOCAL_APIC && (offset & ~0xfu) == APIC_ICR_LOW)
		return;
	if (dice & 1)
		*p = (uint32_t)random();
	else
		(void)*p;
}

int micro_main(unsigned int vcpus)
{
	(void)vcpus;
	__asm__ volatile("cli");
	for (int i = 0; i < ROUNDS; i++) {
		random_port();
		random_memory();
	}
	return 0;
}
