/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Intel 82371SB (PIIX3) and 82371AB (PIIX4) datasheets, as far as this machine has what their registers
 * switch. Nothing here moves: the power management block answers where platform/pm.c put it, which is
 * where firmware for QEMU's pc machine wants it; PCI interrupts are wired, not routed (all routes read
 * as disabled). There is no system management mode: the enable bit of its interrupt (PIIX4, "DEVACTB -
 * Device Activity B") reads as set, which tells firmware that others have taken care of that.
 */
#include "platform/piix.h"

#include "platform/layout.h"
#include "platform/pci.h"

/* QEMU documentation, "PCI IDs for QEMU": the subsystem of what is emulated without its maker's own. */
#define SUBSYSTEM_AT 0x2c
static const u8 subsystem[] = {0xf4, 0x1a, 0x00, 0x11};

#define INTEL            0x8086
#define ISA_BRIDGE       0x7000 /* 82371SB, function 0 */
#define ISA_BRIDGE_CLASS 0x060100
#define ISA_ROUTES       0x60 /* PIRQRC[A:D] */
#define ISA_ROUTE_OFF    0x80
#define PM               0x7113 /* 82371AB, function 3 */
#define PM_CLASS         0x068000
#define PM_PIN           0x3d
#define PM_LINE          0x3c
#define PM_DEVACTB       0x58
#define PM_DEVACTB_APMC  BIT(25)
#define PM_BASE          0x40
#define PM_BASE_IO       BIT(0)
#define PM_REGMISC       0x80
#define PM_REGMISC_ON    BIT(0)

static void set(struct pci_function *function, u32 at, u32 value, u32 size)
{
	for (u32 i = 0; i < size; i++)
		function->config[at + i] = (u8)(value >> (8 * i));
}

static void name_machine(struct pci_function *function)
{
	for (u32 i = 0; i < sizeof(subsystem); i++)
		function->config[SUBSYSTEM_AT + i] = subsystem[i];
}

void piix_init(struct pci *pci)
{
	struct pci_function *isa =
	        pci_add(pci, PCI_DEVFN(1, 0), INTEL, ISA_BRIDGE, ISA_BRIDGE_CLASS);
	struct pci_function *pm = pci_add(pci, PCI_DEVFN(1, 3), INTEL, PM, PM_CLASS);

	name_machine(&pci->function[0]);
	name_machine(isa);
	for (u32 i = 0; i < 4; i++)
		set(isa, ISA_ROUTES + i, ISA_ROUTE_OFF, 1);
	name_machine(pm);
	set(pm, PM_PIN, 1, 1);
	set(pm, PM_LINE, LAYOUT_SCI_IRQ, 1);
	pm->writable[PM_LINE] = 0;
	set(pm, PM_BASE, LAYOUT_PM_FIRMWARE | PM_BASE_IO, 4);
	set(pm, PM_DEVACTB, PM_DEVACTB_APMC, 4);
	set(pm, PM_REGMISC, PM_REGMISC_ON, 1);
}
