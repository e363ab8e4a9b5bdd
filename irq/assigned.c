/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Devices that are assigned, and which way their messages go. What may be posted is what a descriptor can say: a fixed
 * interrupt, edge-triggered, for one vCPU whose APIC takes it. A message to several, to the lowest priority of several, of
 * another delivery mode or level-triggered goes to the host and is delivered by software, as it is while the IOMMU or the
 * processors cannot post.
 *
 * The host's interrupt says nothing but whose it is, by its vector. Several that its APIC has become one of become one
 * here, as with any edge. What is delivered is what the device is programmed with by then; where the guest has moved it
 * meanwhile, it comes to the new place, once.
 */
#include "irq/assigned.h"

#include "core/machine.h"
#include "irq/route.h"
#include "postern/port.h"
#include "x86/apic.h"

#define FIRST_LEGAL 16

static const struct assigned_ops *ops_of(const struct vm *vm)
{
	return vm->machine->backend->assigned;
}

/* --- which way; vm->assigned.lock held --- */

/* The vCPU that the message may be posted to; NULL: none. */
static struct vcpu *posted_to(const struct assigned *device, u8 *vector)
{
	struct vm *vm = device->vm;
	struct irq_message message;
	u64 set;

	if (atomic32_read(&vm->inhibit.mask) || !ops_of(vm)->posts() ||
	    !msi_decode(vm, device->address, device->data, &message))
		return NULL;
	if (message.level || message.vector < FIRST_LEGAL ||
	    (message.delivery != APIC_DM_FIXED && message.delivery != APIC_DM_LOWEST))
		return NULL;
	set = apic_map_destinations(vm, &message);
	if (!set || set & (set - 1) || !(set & apic_map_software_enabled(vm)))
		return NULL;
	*vector = message.vector;
	return vm->vcpu[__builtin_ctzll(set)];
}

static void aim(struct assigned *device)
{
	u8 vector = 0;
	struct vcpu *to = device->on ? posted_to(device, &vector) : NULL;

	if (device->present == device->on && device->to == to && device->vector == vector)
		return;
	device->present = device->on;
	device->to = to;
	device->vector = vector;
	ops_of(device->vm)->aim(device);
}

static void aim_all(struct vm *vm)
{
	for (struct assigned *device = vm->assigned.list; device; device = device->next)
		aim(device);
}

void assigned_program(struct assigned *device, bool on, u64 address, u32 data)
{
	struct assigned_vm *assigned = &device->vm->assigned;

	spin_lock(&assigned->lock);
	device->on = on;
	device->address = address;
	device->data = data;
	aim(device);
	spin_unlock(&assigned->lock);
}

void assigned_follow(struct vm *vm)
{
	/* Whoever comes to be one behind this look is programmed behind it, and by what has changed. */
	if (!atomic32_read(&vm->assigned.count))
		return;
	spin_lock(&vm->assigned.lock);
	aim_all(vm);
	spin_unlock(&vm->assigned.lock);
}

/* --- coming and going --- */

/* Those who sleep are to ask anew who has to find them. Before the VM starts nobody sleeps. */
static void wake_all(struct vm *vm)
{
	struct vcpu *vcpu;

	if (!atomic32_read(&vm->live_vcpus))
		return;
	for_each_vcpu (vcpu, vm)
		vcpu_request(vcpu, VCPU_REQUEST_EVENT);
}

static void set_slot(struct machine *machine, u32 slot, struct assigned *device)
{
	spin_lock(&machine->assigned_lock);
	machine->assigned[slot] = device;
	spin_unlock(&machine->assigned_lock);
}

bool assigned_add(struct assigned *device, struct vm *vm, u16 source)
{
	const struct assigned_ops *ops = ops_of(vm);

	*device = (struct assigned){.vm = vm, .source = source};
	if (!ops || !ops->attach(device)) {
		device->vm = NULL;
		return false;
	}
	set_slot(vm->machine, device->slot, device);
	atomic32_fetch_add(&vm->assigned.count, 1);
	wake_all(vm);
	spin_lock(&vm->assigned.lock);
	device->next = vm->assigned.list;
	vm->assigned.list = device;
	spin_unlock(&vm->assigned.lock);
	return true;
}

void assigned_remove(struct assigned *device)
{
	struct vm *vm = device->vm;
	struct assigned **link;

	if (!vm)
		return;
	assigned_program(device, false, 0, 0);
	spin_lock(&vm->assigned.lock);
	for (link = &vm->assigned.list; *link != device;)
		link = &(*link)->next;
	*link = device->next;
	spin_unlock(&vm->assigned.lock);
	atomic32_fetch_sub(&vm->assigned.count, 1);
	set_slot(vm->machine, device->slot, NULL);
	ops_of(vm)->detach(device);
	device->vm = NULL;
}

/* --- by software --- */

static void deliver(struct assigned *device)
{
	struct assigned_vm *assigned = &device->vm->assigned;
	u64 address;
	u32 data;
	bool on;

	spin_lock(&assigned->lock);
	on = device->on;
	address = device->address;
	data = device->data;
	spin_unlock(&assigned->lock);
	if (!on)
		return;
	counter_add(&device->delivered, 1);
	msi_deliver(device->vm, address, data);
}

void assigned_deliver(struct cpu *cpu)
{
	struct machine *machine = port_machine();
	u32 slots = atomic32_xchg(&cpu->devices, 0);

	/* Held, so that none of them goes meanwhile. One that has gone before has left its interrupt behind. */
	spin_lock(&machine->assigned_lock);
	for (; slots; slots &= slots - 1) {
		struct assigned *device = machine->assigned[__builtin_ctz(slots)];

		if (device)
			deliver(device);
	}
	spin_unlock(&machine->assigned_lock);
}
