/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Device lines to interrupt controllers. A line reaches the 8259 pair and the I/O APIC at once, as
 * on a board; which of them interrupts is for the guest to choose by their masks and by LVT0.
 *
 * A line has one source (no sharing): its device serialises the changes of its level, usually by
 * calling under its own lock, which therefore comes before the controllers' in docs/locking.md. The
 * controllers are told one after the other and never hold each other's lock.
 */
#include "irq/route.h"

#include "core/vm.h"

#define ROUTE_NONE     0xff
#define ROUTE_ISA_IRQS 16
#define ROUTE_CASCADE  2 /* the 8259s' own connection: no device can have it */

/*
 * The I/O APIC's pin 2 is free for the timer because no device has IRQ 2. ACPI tells the guest by
 * an interrupt source override (IRQ 0 is GSI 2): see platform/'s tables.
 */
void route_init_isa(struct vm *vm)
{
	struct route_table *routes = &vm->routes;

	for (u32 gsi = 0; gsi < ROUTE_GSIS; gsi++) {
		routes->ioapic_pin[gsi] = gsi;
		routes->pic_irq[gsi] = gsi < ROUTE_ISA_IRQS ? gsi : ROUTE_NONE;
	}
	routes->ioapic_pin[0] = 2;
	routes->ioapic_pin[ROUTE_CASCADE] = ROUTE_NONE;
	routes->pic_irq[ROUTE_CASCADE] = ROUTE_NONE;
}

void irq_set_line(struct vm *vm, u32 gsi, bool level)
{
	if (gsi >= ROUTE_GSIS)
		return;
	if (vm->routes.pic_irq[gsi] != ROUTE_NONE)
		pic_set_line(vm, vm->routes.pic_irq[gsi], level);
	if (vm->routes.ioapic_pin[gsi] != ROUTE_NONE)
		ioapic_set_line(vm, vm->routes.ioapic_pin[gsi], level);
}

void irq_pulse_line(struct vm *vm, u32 gsi)
{
	if (gsi >= ROUTE_GSIS)
		return;
	if (vm->routes.pic_irq[gsi] != ROUTE_NONE)
		pic_pulse_line(vm, vm->routes.pic_irq[gsi]);
	if (vm->routes.ioapic_pin[gsi] != ROUTE_NONE) {
		ioapic_set_line(vm, vm->routes.ioapic_pin[gsi], false);
		ioapic_set_line(vm, vm->routes.ioapic_pin[gsi], true);
	}
}
