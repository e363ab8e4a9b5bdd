/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The surroundings of platform/ for its unit tests: a VM with memory and buses, a clock that the
 * test moves (one TSC tick is one ns), timers that fire when it does, and records of what devices
 * did.
 */
#ifndef TESTS_UNIT_PLATFORM_FAKE_H
#define TESTS_UNIT_PLATFORM_FAKE_H

/* clang-format off: cmocka needs these four first */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#include "core/vm.h"
#include "platform/devices.h"
#include "platform/layout.h"
#include "platform/platform.h"

#define FAKE_MEMORY    (64ull << 20)
#define FAKE_WALLCLOCK 1709208000ull /* 2024-02-29 12:00:00 UTC, a Thursday */
#define FAKE_LINES     24
#define FAKE_ROM       (256u << 10)
#define FAKE_SECOND    1000000000ull
/* What the host programs into assigned devices. */
#define FAKE_HOST_ADDRESS 0xfee00110ull
#define FAKE_HOST_DATA    0x77

struct fake {
	struct vm vm;
	struct vcpu vcpu[MAX_VCPUS];
	u8 *memory;
	struct vcpu_state state; /* what set_state was last given */
	u64 tsc;
	struct timer *timer[8];
	u64 armed; /* calls of timer_arm() with a deadline */
	u64 fires; /* by fake_advance() */
	bool line[FAKE_LINES];
	u32 rises[FAKE_LINES];
	/* Runs once inside the next irq_set_line(): what another processor does meanwhile. */
	void (*in_set_line)(struct fake *fake);
	struct {
		u64 address;
		u32 data;
	} message[64]; /* the latest ones sent, by number */
	u32 messages;
	u32 device_messages[256]; /* by way of the IOMMU, by function */
	u32 assigned;             /* devices that are */
	bool no_iommu;
	u8 out[8192]; /* console output */
	u32 out_count, out_writes;
	const char *in; /* console input that waits */
	u32 ended, end_code, ends;
	u64 allocated;
	bool out_of_memory;
	struct {
		u16 port;
		u8 value;
	} chip_writes[32]; /* writes of ports that only irq/ has */
	u32 chip_write_count;
	u32 virtual_wires;   /* calls of irqchip_virtual_wire() */
	u32 flushes_of_all;  /* vcpu_request_all() to flush */
	u32 hand_overs;      /* calls of irqchip_hand_over() behind the last of those */
	bool small_firmware; /* no memory at the firmware area */
	u8 *rom;
	/* What is mapped from VM_SHADOW on, page by page; host NULL: nothing. */
	struct {
		const u8 *host;
		u32 access;
	} map[VM_SHADOW_SIZE / PAGE_SIZE];
	u32 maps;      /* calls of mmu_map() and mmu_zap() */
	char log[256]; /* the latest line */
	u32 logs;
};

extern struct fake *fake;

/* cmocka fixtures: a VM with platform_create() done, and without. */
int fake_setup(void **state);
int fake_setup_bare(void **state);
/* The same with firmware of FAKE_ROM bytes. */
int fake_setup_firmware(void **state);
int fake_teardown(void **state);

void fake_set_memory(u64 size, u32 vcpus);
/* Firmware of that size, before platform_create(); fake_rom_byte(1) is its last byte. */
void fake_set_rom(u64 size);
u8 fake_rom_byte(u64 from_end);
/* Let time pass, timers firing in order. */
void fake_advance(u64 ns);

u64 fake_in(u16 port, u32 size);
void fake_out(u16 port, u32 size, u64 value);
/* Device memory; somebody has to decode it. */
u64 fake_load(u64 gpa, u32 size);
void fake_store(u64 gpa, u32 size, u64 value);
/* Does anybody decode the port? */
bool fake_decodes(u16 port);

#endif
