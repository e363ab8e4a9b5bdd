/* SPDX-License-Identifier: BSD-2-Clause */
/* The machine a guest sees besides processors and interrupt controllers, and how guests get loaded.
 */
#ifndef PLATFORM_PLATFORM_H
#define PLATFORM_PLATFORM_H

#include "postern/report.h"
#include "postern/types.h"

struct vm;

/*
 * Create the devices of `vm` (UART at 3F8h/IRQ 4, RTC, ACPI PM block, PCI host bridge, keyboard
 * controller's reset, exit port) on its buses and write the ACPI tables into guest memory, or, with
 * firmware, add what that looks for. Before vm_start(). false: out of memory.
 */
bool platform_create(struct vm *vm);
void platform_destroy(struct vm *vm);

/* Look for console input and raise the UART's interrupt if there is some. Any processor, often. */
void platform_poll(struct vm *vm);

/* Why a guest cannot be loaded: "FILE: what is wrong with it", FILE being kernel or initrd. */
struct refusal {
	enum report_refusal kind;
	const char *why;
};

#define REFUSED(class, text) ((struct refusal){REPORT_REFUSED_##class, text})

/*
 * Load a Linux bzImage by the 64-bit boot protocol: kernel, initrd (NULL: none), command line; sets
 * vCPU 0 to the 64-bit entry point. false: *refusal is set.
 */
bool linux_load(struct vm *vm, const void *kernel, u64 kernel_size, const void *initrd,
                u64 initrd_size, const char *cmdline, struct refusal *refusal);

/*
 * Load a flat 64-bit test guest (an ELF64 executable with physical addresses below 4 GiB) with
 * vCPU 0 in long mode, identity-mapped first 4 GiB, RSP at 0x7000, RDI = number of vCPUs.
 */
bool elf_load(struct vm *vm, const void *image, u64 size, struct refusal *refusal);

/*
 * Load a Multiboot 1 kernel (ELF32, or with load addresses in its header): vCPU 0 in 32-bit protected
 * mode, EAX and EBX as that specification says; the initrd (NULL: none) is its one module.
 */
bool multiboot_load(struct vm *vm, const void *file, u64 size, const void *initrd, u64 initrd_size,
                    const char *cmdline, struct refusal *refusal);

/*
 * The port a guest writes its exit status to before it powers off (one byte); vm->exit_code. And
 * the port whose write ends the run at once ("debug-exit", as QEMU's isa-debug-exit).
 */
#define PLATFORM_STATUS_PORT     0x505
#define PLATFORM_DEBUG_EXIT_PORT 0xf4

#endif
