/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * PCI bus 0: configuration mechanism 1 (CF8h/CFCh) with the reset register inside it (CF9h), and
 * what every function is made of: base addresses in the memory window, an interrupt pin, messages.
 *
 * A device's lock may be held around every call here; `pci->lock` is inside of it. It is held across
 * irq_set_line() and msi_deliver(), so that configuration is a fence: once a guest's write that masks a
 * message, takes away bus mastering or disables the pin has returned, nothing of the kind comes.
 */
#ifndef PLATFORM_PCI_H
#define PLATFORM_PCI_H

#include "core/bus.h"
#include "irq/assigned.h"
#include "postern/sync.h"

struct pci;
struct vm;

#define PCI_PORT           0xcf8
#define PCI_CONFIG_SIZE    256
#define PCI_MAX_FUNCTIONS  8
#define PCI_BARS           6
#define PCI_DEVFN(dev, fn) ((u8)((dev) << 3 | (fn)))

/* A range of the memory window that a function answers in, at the address in its base register. */
struct pci_bar {
	u32 size; /* (i) 0: none */
	const struct bus_ops *ops;
	void *device;
};

/* One function of bus 0. Present if it is below pci->count. */
struct pci_function {
	struct pci *pci;              /* (i) */
	u8 devfn;                     /* (i) after creation */
	u8 config[PCI_CONFIG_SIZE];   /* [pci->lock] */
	u8 writable[PCI_CONFIG_SIZE]; /* (i) after creation: bits that the guest may change */
	struct pci_bar bar[PCI_BARS]; /* (i) after creation */
	u8 gsi;                       /* (i) of its pin, if it has one */
	u8 msi;                       /* (i) offset of its MSI capability, 0: none */
	bool msi_maskable;            /* (i) */
	bool intx;                    /* [pci->lock] the device asks for its pin to be asserted */
	bool asserted;                /* [pci->lock] it is: neither disabled nor replaced by MSI */
	bool msi_held;                /* [pci->lock] a message waits until it may be sent */
	u32 messages;                 /* [pci->lock] sent */
	bool is_assigned;             /* [pci->lock] and go through the IOMMU */
	struct assigned assigned;     /* by this: irq/assigned.h */
	/* (i) Called with no lock held after a guest's write to config[]; NULL: nobody wants to know. */
	void (*changed)(void *device);
	void *device; /* (i) its argument */
};

struct pci {
	struct spinlock lock;
	struct vm *vm; /* (i) */
	u32 address;   /* [lock] CONFIG_ADDRESS */
	u8 reset;      /* [lock] reset control register */
	bool window;   /* (i) after creation: the memory window is on the bus */
	u32 count;     /* (i) after creation */
	struct pci_function function[PCI_MAX_FUNCTIONS];
};

/* Creates the host bridge at 00:00.0. */
void pci_init(struct pci *pci, struct vm *vm);

/*
 * Add a function with its identification; the caller fills in the rest of config[] and writable[].
 * Before vm_start(), as the three below. NULL: the table is full.
 */
struct pci_function *pci_add(struct pci *pci, u8 devfn, u16 vendor, u16 device, u32 class_code);

/*
 * Give it memory: base register `index`, `size` bytes (a power of two, at least 16), at `base` in the
 * window to begin with, as firmware would leave it: assigned, and memory accesses enabled. `ops` are
 * called with offsets into the range and no locks held.
 */
void pci_add_memory(struct pci_function *function, u32 index, u32 size, u32 base,
                    const struct bus_ops *ops, void *device);

/* Give it pin INTA#, wired to `gsi`. Several functions may share a GSI. */
void pci_add_pin(struct pci_function *function, u8 gsi);

/* Give it an MSI capability at `offset`: one message, 64-bit address, with a mask bit or without. */
void pci_add_msi(struct pci_function *function, u8 offset, bool maskable);

/*
 * Assign it to its VM, as if it were a device of the host's: from now on its messages go through the IOMMU. false: they
 * cannot. As assigned_add(); then pci_unassign(), before the VM goes.
 */
bool pci_assign(struct pci_function *function);
void pci_unassign(struct pci_function *function);

/* Any processor; the device's lock may be held. The pin: asserted until taken back. */
void pci_set_pin(struct pci_function *function, bool level);

enum pci_msi {
	PCI_MSI_OFF,  /* not enabled: use the pin */
	PCI_MSI_SENT, /* delivered */
	PCI_MSI_HELD, /* masked, or no bus master: sent as soon as that ends, once however often held */
};

/* Any processor; the device's lock may be held. */
enum pci_msi pci_send_message(struct pci_function *function);
u32 pci_messages_sent(struct pci_function *function);

enum pci_dma {
	PCI_DMA_DONE,
	PCI_DMA_NOT_MASTER, /* bus mastering is off */
	PCI_DMA_NO_MEMORY,  /* no RAM at that address */
};

/* Bytes of its configuration space. Any processor; the device's lock may be held. */
void pci_read_config(struct pci_function *function, u32 reg, u8 *to, u32 size);

/* One aligned dword into guest memory, in one piece. Any processor; the device's lock may be held. */
enum pci_dma pci_dma_write32(struct pci_function *function, u64 gpa, u32 value);

#endif
