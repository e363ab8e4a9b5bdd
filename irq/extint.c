/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * INTR and those it is wired to. SDM volume 3 "Local Vector Table" and "MultiProcessor
 * Specification", "Virtual Wire Mode": INTR reaches LINT0 of every processor, and the I/O APIC's
 * pin 0.
 *
 * LINT0 looks at the level: extint_has() is asked before every entry, and a rise makes the vCPUs
 * that may take it look. Neither side misses the other:
 *
 *      CPU A: source                         CPU B: guest opens LVT0
 *      INTR = 1          (full barrier)      LVT0 = ExtINT     (full barrier)
 *      reads LVT0: open? -> request          asks has(): 1? -> injects
 *
 * Pin 0 wants edges, and INTR changes on several processors at a time with no lock of the source
 * held. One processor at a time carries INTR as it finds it to the pin, after its own change: so the
 * last one leaves the newest level there.
 */
#include "irq/extint.h"

#include "core/vm.h"
#include "x86/apic.h"

#define EXTINT_PIN 0

void extint_attach(struct vm *vm, const struct extint_ops *ops, void *source)
{
	vm->extint.ops = ops;
	vm->extint.source = source;
}

static void tell_pin(struct vm *vm)
{
	spin_lock(&vm->extint.wire);
	/* Perhaps it fell and rose: then that is an edge too. */
	ioapic_set_line(vm, EXTINT_PIN, false);
	if (extint_has(vm))
		ioapic_set_line(vm, EXTINT_PIN, true);
	spin_unlock(&vm->extint.wire);
}

static void tell_lint0(struct vm *vm)
{
	struct vcpu *vcpu;

	for_each_vcpu (vcpu, vm) {
		lapic_local_interrupt(vcpu, APIC_LVT0);
		/* A message waits for INTR whatever LVT0 is for, and keeps nothing from LVT0. */
		if (lapic_waits_for_inta(vcpu))
			vcpu_request(vcpu, VCPU_REQUEST_EVENT);
	}
}

void extint_changed(struct vm *vm)
{
	tell_pin(vm);
	if (extint_has(vm))
		tell_lint0(vm);
}

bool extint_has(struct vm *vm)
{
	return vm->extint.ops && vm->extint.ops->has(vm->extint.source);
}

u8 extint_ack(struct vm *vm)
{
	/* A bus that nobody drives reads as ones. */
	return vm->extint.ops ? vm->extint.ops->ack(vm->extint.source) : 0xff;
}

void extint_set_line(struct vm *vm, u32 input, bool level)
{
	if (vm->extint.ops)
		vm->extint.ops->set_line(vm->extint.source, input, level);
}

void extint_pulse_line(struct vm *vm, u32 input)
{
	if (vm->extint.ops)
		vm->extint.ops->pulse_line(vm->extint.source, input);
}

static bool somebody_listens(struct vm *vm)
{
	struct vcpu *vcpu;

	for_each_vcpu (vcpu, vm) {
		if (lapic_accepts_extint(vcpu))
			return true;
	}
	return false;
}

bool extint_is_unserved(struct vm *vm, u32 input)
{
	u32 state = vm->extint.ops ? vm->extint.ops->state(vm->extint.source, input) : 0;

	return (state & EXTINT_IN_SERVICE) || ((state & EXTINT_REQUESTED) && somebody_listens(vm));
}
