/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The split interrupt controller (irqchip=split): the platform owns the 8259 pair and is the core's
 * ExtINT source through irq/extint.h, as any program that embeds the core could be.
 */
#ifndef PLATFORM_IRQCHIP_H
#define PLATFORM_IRQCHIP_H

#include "irq/pic.h"

struct irqchip {
	struct pic pic;
	/* What the platform was asked, so that tests can tell whose pair it was. */
	struct atomic32 lines; /* [a] changes of lines that were routed here */
	struct atomic32 acks;  /* [a] INTA cycles */
};

/*
 * Leave the boot processor's local APIC as firmware does, in virtual wire mode: enabled, LVT0 open
 * for ExtINT, LVT1 for NMI. A system that does not use its APICs gets the 8259's interrupts by that.
 * Before vCPUs run.
 */
void irqchip_virtual_wire(struct vm *vm);

/*
 * Firmware hands over in xAPIC mode if all APIC IDs are below 255, and in x2APIC mode, all processors
 * alike, if one is not: SDM volume 3, "Initialization by System Software". Of the latter this takes care.
 * (In xAPIC mode the ID register of such an APIC would show the low 8 bits of its ID.) Before vCPUs run,
 * behind irqchip_virtual_wire().
 */
void irqchip_hand_over(struct vm *vm);

/* Before vCPUs run, in a VM that has no ExtINT source. */
void irqchip_init(struct irqchip *irqchip, struct vm *vm);

#endif
