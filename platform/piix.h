/* SPDX-License-Identifier: BSD-2-Clause */
/* What firmware for QEMU's pc machine looks for on the PCI bus: who the machine is, and its PIIX. */
#ifndef PLATFORM_PIIX_H
#define PLATFORM_PIIX_H

struct pci;

/* Name the machine in the host bridge; add ISA bridge and power management function, 00:01. */
void piix_init(struct pci *pci);

#endif
