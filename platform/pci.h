/* SPDX-License-Identifier: BSD-2-Clause */
/* PCI bus 0 behind configuration mechanism 1 (CF8h/CFCh), and the reset register inside it (CF9h).
 */
#ifndef PLATFORM_PCI_H
#define PLATFORM_PCI_H

#include "postern/sync.h"

struct vm;

#define PCI_PORT           0xcf8
#define PCI_CONFIG_SIZE    256
#define PCI_MAX_FUNCTIONS  8
#define PCI_DEVFN(dev, fn) ((u8)((dev) << 3 | (fn)))

/* One function of bus 0. Present if it is below pci->count. */
struct pci_function {
	u8 devfn;                     /* (i) after creation */
	u8 config[PCI_CONFIG_SIZE];   /* [pci->lock] */
	u8 writable[PCI_CONFIG_SIZE]; /* (i) after creation: bits that the guest may change */
};

struct pci {
	struct spinlock lock;
	struct vm *vm; /* (i) */
	u32 address;   /* [lock] CONFIG_ADDRESS */
	u8 reset;      /* [lock] reset control register */
	u32 count;     /* (i) after creation */
	struct pci_function function[PCI_MAX_FUNCTIONS];
};

/* Creates the host bridge at 00:00.0. */
void pci_init(struct pci *pci, struct vm *vm);

/*
 * Add a function with its identification; the caller fills in the rest of config[] and writable[].
 * Before vm_start(). NULL: the table is full.
 */
struct pci_function *pci_add(struct pci *pci, u8 devfn, u16 vendor, u16 device, u32 class_code);

#endif
