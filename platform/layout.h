/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the platform and the loaders put things in guest-physical memory and on guest ports. One
 * table, so that two users cannot claim the same bytes.
 */
#ifndef PLATFORM_LAYOUT_H
#define PLATFORM_LAYOUT_H

#include "postern/types.h"

struct vm;

/* Memory below 640 KiB. Everything here but the BIOS data is free once the guest has started. */
#define LAYOUT_BIOS_DATA     0x400ull   /* the two words that kernels read: EBDA, memory size */
#define LAYOUT_GDT           0x1000ull  /* boot GDT, 4 entries */
#define LAYOUT_STACK_TOP     0x7000ull  /* RSP of a flat test guest; grows down to 2000h */
#define LAYOUT_BOOT_PARAMS   0x7000ull  /* Linux' zero page */
#define LAYOUT_PAGE_TABLES   0x10000ull /* identity map of 4 GiB: 6 pages */
#define LAYOUT_TABLES_END    0x16000ull
#define LAYOUT_CMDLINE       0x20000ull
#define LAYOUT_CMDLINE_SIZE  0x10000ull
#define LAYOUT_MULTIBOOT     0x90000ull /* Multiboot information, memory map, command line */
#define LAYOUT_MULTIBOOT_END 0x9f000ull
#define LAYOUT_EBDA          0x9fc00ull /* end of usable conventional memory */
#define LAYOUT_VGA_HOLE      0xa0000ull

/* The firmware's area: reserved in the memory map, searched for the RSDP. */
#define LAYOUT_FIRMWARE     0xe0000ull
#define LAYOUT_FIRMWARE_END 0x100000ull
#define LAYOUT_RSDP         LAYOUT_FIRMWARE
#define LAYOUT_FACS         0xe0040ull /* aligned to 64 */
#define LAYOUT_ACPI_TABLES  0xe0100ull

#define LAYOUT_POST_CODE 0xff000ull /* handlers of the real-mode vectors */

#define LAYOUT_HIGH_RAM 0x100000ull

/* What the host bridge forwards to PCI: between any guest's low memory and the I/O APIC. */
#define LAYOUT_PCI_WINDOW     0xc0000000ull
#define LAYOUT_PCI_WINDOW_END 0xfec00000ull
#define LAYOUT_MSIDEV         0xfeb00000u /* registers of the test devices, a page each */

/* Ports that are Postern's own choice; the others are where PCs have them. */
#define LAYOUT_PM_BASE     0x600
#define LAYOUT_PM_FIRMWARE 0xb000 /* in its place with firmware, which puts it there on QEMU */
#define LAYOUT_PM_SIZE     0x10

/* ISA interrupt lines. */
#define LAYOUT_UART_IRQ 4
#define LAYOUT_RTC_IRQ  8
#define LAYOUT_SCI_IRQ  9
#define LAYOUT_PCI_IRQ  10 /* of even PCI devices; the next one of odd ones: see dsdt.asl */

/* End of the RAM below 4 GiB, from vm->region[]. */
u64 layout_low_ram_end(const struct vm *vm);

/*
 * The memory map as firmware reports it (ACPI specification, "System Address Map Interfaces"):
 * conventional memory, the firmware's areas, RAM from 1 MiB up. For firmware itself: the RAM, what lies
 * below 4 GiB as one range. Ascending; entries with nothing in them are left out. Returns how many; at
 * most LAYOUT_RANGES.
 */
#define LAYOUT_RANGES         16
#define LAYOUT_RANGE_RAM      1
#define LAYOUT_RANGE_RESERVED 2
struct layout_range {
	u64 base;
	u64 size;
	u32 type; /* LAYOUT_RANGE_* */
} __packed;
u32 layout_memory_map(const struct vm *vm, struct layout_range map[LAYOUT_RANGES]);

#endif
