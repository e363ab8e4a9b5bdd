/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The PCI test device: an interrupt source that is neither timer nor UART. A guest sets how often it
 * interrupts and what numbers it hands out; docs/testdev.md describes the registers for guests.
 */
#ifndef PLATFORM_MSIDEV_H
#define PLATFORM_MSIDEV_H

#include "core/timer.h"
#include "postern/sync.h"

struct pci;
struct pci_function;
struct vm;

#define MSIDEV_MAX    4 /* devices of a VM: 00:04.0 and the next ones */
#define MSIDEV_SLOT   4
#define MSIDEV_VENDOR 0x5053 /* not assigned to anybody we know of */
#define MSIDEV_DEVICE 0x4d53
#define MSIDEV_CLASS  0xff0000 /* "does not fit any defined class" */
#define MSIDEV_SIZE   0x1000u
#define MSIDEV_MSI    0x50 /* offset of its MSI capability */

/* Registers: aligned dwords. */
#define MSIDEV_ID         0x00
#define MSIDEV_VERSION    0x04
#define MSIDEV_CONTROL    0x08
#define MSIDEV_STATUS     0x0c
#define MSIDEV_PERIOD     0x10 /* nanoseconds */
#define MSIDEV_BURST      0x14 /* events each period */
#define MSIDEV_COUNT      0x18 /* events until it stops; 0: never */
#define MSIDEV_NEXT       0x1c /* payload of the next event */
#define MSIDEV_LAST       0x20 /* payload of the last event */
#define MSIDEV_DMA_LOW    0x24
#define MSIDEV_DMA_HIGH   0x28
#define MSIDEV_TRIGGER    0x2c /* that many events at once */
#define MSIDEV_EVENTS     0x40 /* counts from here on */
#define MSIDEV_MESSAGES   0x44
#define MSIDEV_HELD       0x48
#define MSIDEV_ASSERTED   0x4c
#define MSIDEV_MERGED     0x50
#define MSIDEV_MISSED     0x54
#define MSIDEV_DMA_ERRORS 0x58

#define MSIDEV_ID_VALUE         0x4449534du /* "MSID" */
#define MSIDEV_CONTROL_RUN      BIT(0)
#define MSIDEV_CONTROL_DMA      BIT(1)
#define MSIDEV_STATUS_INTERRUPT BIT(0)
#define MSIDEV_STATUS_DMA_ERROR BIT(1)

#define MSIDEV_MIN_PERIOD_NS 100000u
#define MSIDEV_MAX_BURST     16u

struct msidev {
	struct spinlock lock;
	struct vm *vm;                 /* (i) */
	struct pci_function *function; /* (i) */
	struct timer timer;            /* arm/cancel: [lock] */
	u64 deadline;                  /* [lock] of the next period, TSC_NEVER: does not run */
	/* Registers. All [lock]. */
	u32 control, status;
	u32 period_ns, burst;
	u32 left; /* events until it stops, while `counted` */
	bool counted;
	u32 next, last;
	u64 dma; /* guest-physical address */
	/* Counts. */
	u32 events, held, asserted, merged, missed, dma_errors;
};

/*
 * As many devices as the VM's configuration says, on `pci`. Before vm_start(), with the interrupt
 * controllers in place. false: the bus has no room for them.
 */
bool msidev_create(struct msidev msidev[MSIDEV_MAX], struct vm *vm, struct pci *pci);
void msidev_destroy(struct msidev msidev[MSIDEV_MAX]);

#endif
