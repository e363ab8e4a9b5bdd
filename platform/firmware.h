/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Firmware in the place of a kernel: its ROM below 4 GiB, and what is seen from C0000h to FFFFFh, RAM
 * or ROM, by the host bridge's attribute registers (PAM).
 */
#ifndef PLATFORM_FIRMWARE_H
#define PLATFORM_FIRMWARE_H

#include "postern/sync.h"

struct pci;
struct pci_function;
struct refusal;
struct vm;

#define FIRMWARE_SEGMENTS 13

struct firmware {
	struct spinlock
	        lock;  /* held across a change of mappings, so that they follow the registers */
	struct vm *vm; /* (i) */
	struct pci_function *bridge; /* (i) */
	struct atomic32
	        attributes[FIRMWARE_SEGMENTS]; /* [a; lock to write] as mapped: FIRMWARE_* */
};

/* Of a segment, as in its register. */
#define FIRMWARE_READ  BIT(0) /* reads see RAM, else the ROM */
#define FIRMWARE_WRITE BIT(1) /* writes reach RAM, else nothing */

/* Is this a file that can be a ROM? false: *refusal is set. */
bool firmware_accept(u64 size, struct refusal *refusal);

/*
 * In a VM with vm->rom: map the ROM's end below 1 MiB, let the host bridge's registers switch it, answer
 * accesses that exit. vCPU 0 stays as reset left it: at the ROM's last 16 bytes. After pci_init().
 */
void firmware_init(struct firmware *firmware, struct vm *vm, struct pci *pci);

#endif
