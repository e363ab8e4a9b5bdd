/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who listens for the end of which interrupt. The list is complete before vCPUs run and never
 * changes; listening is a bit. So nothing has to be kept alive for a walk under way.
 */
#include "irq/notify.h"

#include "core/vm.h"
#include "irq/eoi_exit.h"
#include "postern/port.h"

void irq_notify_add(struct vm *vm, struct irq_notifier *notifier)
{
	ASSERT(vm->notify.count < IRQ_NOTIFIERS);
	vm->notify.slot[vm->notify.count++] = notifier;
}

void irq_notify_listen(struct vm *vm, struct irq_notifier *notifier, bool on)
{
	struct irq_notify *notify = &vm->notify;

	for (u32 i = 0; i < notify->count; i++) {
		if (notify->slot[i] != notifier)
			continue;
		if (on)
			atomic32_fetch_or(&notify->listening, BIT(i));
		else
			atomic32_fetch_and(&notify->listening, ~BIT(i));
	}
	eoi_exit_changed(vm);
}

bool irq_notify_active(struct vm *vm)
{
	return atomic32_read_relaxed(&vm->notify.listening);
}

u32 irq_notify_pins(struct vm *vm)
{
	u32 pins = 0;

	for (u32 rest = atomic32_read(&vm->notify.listening); rest; rest &= rest - 1) {
		struct irq_notifier *notifier = vm->notify.slot[__builtin_ctz(rest)];
		struct route_entry entry;

		if (route_find(vm, notifier->gsi, ROUTE_IOAPIC, &entry))
			pins |= BIT(entry.input);
	}
	return pins;
}

/* `ended`: a set of pins or inputs. */
static void fire(struct vm *vm, enum route_kind kind, u32 ended)
{
	for (u32 rest = atomic32_read(&vm->notify.listening); rest; rest &= rest - 1) {
		struct irq_notifier *notifier = vm->notify.slot[__builtin_ctz(rest)];
		struct route_entry entry;

		if (route_find(vm, notifier->gsi, kind, &entry) && (ended & BIT(entry.input)))
			notifier->fire(notifier);
	}
}

void irq_notify_ended_pins(struct vm *vm, u32 pins)
{
	fire(vm, ROUTE_IOAPIC, pins);
}

void irq_notify_ended_inputs(struct vm *vm, u32 inputs)
{
	fire(vm, ROUTE_PIC, inputs);
}
