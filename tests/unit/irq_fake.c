/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/unit/irq_fake.h"

#include "core/nested.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cpuid.h"
#include "irq/inhibit.h"
#include "irq/irq_window.h"
#include "postern/port.h"

#define __weak __attribute__((weak))

struct fake fake;
struct backend backend_table;

/* ---- port ---- */

__weak struct machine *port_machine(void)
{
	return fake.machine;
}

__weak struct cpu *this_cpu(void)
{
	return &fake.machine->cpu[0];
}

__weak u64 port_tsc(void)
{
	return fake.tsc;
}

__weak u64 port_tsc_khz(void)
{
	return FAKE_TSC_KHZ;
}

__weak void *port_alloc(u64 size, u64 align)
{
	void *p = aligned_alloc(align, ALIGN_UP(size, align));

	if (!p)
		abort();
	memset(p, 0, size);
	fake.allocated += size;
	return p;
}

__weak void port_free(void *p, u64 size)
{
	fake.allocated -= size;
	free(p);
}

__weak void port_log(const char *fmt, ...)
{
	(void)fmt;
}

__weak void port_panic(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	abort();
}

/* ---- timers: a list without order, served by fake_advance_ns() ---- */

static struct timer *armed;

__weak u64 timer_ns_to_tsc(u64 ns)
{
	return ns * 2;
}

__weak u64 timer_tsc_to_ns(u64 tsc)
{
	return tsc / 2;
}

__weak void timer_init(struct timer *timer, void (*fire)(struct timer *timer))
{
	*timer = (struct timer){.deadline = TSC_NEVER, .fire = fire};
}

__weak void timer_cancel(struct timer *timer)
{
	for (struct timer **p = &armed; *p; p = &(*p)->next) {
		if (*p == timer) {
			*p = timer->next;
			break;
		}
	}
	timer->deadline = TSC_NEVER;
}

__weak void timer_arm(struct timer *timer, u64 deadline)
{
	timer_cancel(timer);
	if (deadline == TSC_NEVER)
		return;
	timer->deadline = deadline;
	timer->next = armed;
	armed = timer;
}

u64 fake_timer_deadline(const struct timer *timer)
{
	return timer->deadline;
}

static struct timer *first_due(u64 until)
{
	struct timer *first = NULL;

	for (struct timer *t = armed; t; t = t->next) {
		if (t->deadline <= until && (!first || t->deadline < first->deadline))
			first = t;
	}
	return first;
}

void fake_advance_ns(u64 ns)
{
	u64 end = fake.tsc + FAKE_TICKS(ns);
	struct timer *t;

	while ((t = first_due(end))) {
		fake.tsc = max_u64(fake.tsc, t->deadline);
		timer_cancel(t);
		fake.timer_fires++;
		t->fire(t);
	}
	fake.tsc = end;
}

/* ---- the vCPU and its back end ---- */

__weak void vcpu_request(struct vcpu *vcpu, u32 requests)
{
	/* Also called by the threads of tests that have some. */
	__atomic_fetch_or(&fake.requests[vcpu->index], requests, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&fake.request_calls[vcpu->index], 1, __ATOMIC_SEQ_CST);
}

__weak void vcpu_request_quietly(struct vcpu *vcpu, u32 requests)
{
	vcpu_request(vcpu, requests);
}

__weak u32 vcpu_request_all(struct vm *vm, u32 requests)
{
	struct vcpu *vcpu;

	for_each_vcpu (vcpu, vm)
		vcpu_request(vcpu, requests);
	return 0;
}

/* No acceleration, but in tests that link the real files. */
__weak void accel_local_changed(struct vcpu *vcpu)
{
	(void)vcpu;
}

__weak void inhibit_change(struct vm *vm, u32 reasons, u32 stand)
{
	(void)vm;
	(void)reasons;
	(void)stand;
}

__weak void irq_window_open(struct vcpu *vcpu)
{
	(void)vcpu;
}

__weak void irq_window_close(struct vcpu *vcpu)
{
	(void)vcpu;
}

__weak void nested_leave(struct vcpu *vcpu, enum nested_why why)
{
	(void)vcpu;
	(void)why;
}

__weak void accel_posted(struct vcpu *vcpu)
{
	vcpu_request(vcpu, VCPU_REQUEST_EVENT);
}

__weak void accel_identify(struct vm *vm)
{
	(void)vm;
}

u32 fake_take_requests(struct vcpu *vcpu)
{
	return __atomic_exchange_n(&fake.requests[vcpu->index], 0, __ATOMIC_SEQ_CST);
}

/* The real files, where they are linked in. */
extern bool lapic_create(struct vcpu *vcpu) __weak;
extern void lapic_destroy(struct vcpu *vcpu) __weak;
extern void lapic_reset(struct vcpu *vcpu, bool init) __weak;
extern bool apic_map_create(struct vm *vm) __weak;
extern void apic_map_destroy(struct vm *vm) __weak;

__weak void vcpu_reset(struct vcpu *vcpu, bool init)
{
	fake.resets++;
	fake.reset_was_init = init;
	if (lapic_reset)
		lapic_reset(vcpu, init);
}

__weak void cpuid_guest(struct vcpu *vcpu, u32 leaf, u32 subleaf, struct cpuid_regs *r)
{
	(void)vcpu;
	(void)subleaf;
	*r = (struct cpuid_regs){.eax = leaf == 0x80000008 ? FAKE_MAXPHYADDR : 0};
}

static void fake_get_state(struct vcpu *vcpu, struct vcpu_state *state)
{
	*state = fake.state[vcpu->index];
}

static void fake_set_state(struct vcpu *vcpu, const struct vcpu_state *state)
{
	fake.state[vcpu->index] = *state;
}

/* ---- buses and neighbours ---- */

__weak void bus_register(struct bus *bus, u64 base, u64 size, const struct bus_ops *ops,
                         void *device)
{
	if (bus->count == BUS_RANGES)
		abort();
	bus->range[bus->count++] = (struct bus_range){base, size, ops, device};
}

static const struct bus_range *bus_find(const struct bus *bus, u64 addr, u32 size)
{
	for (u32 i = 0; i < bus->count; i++) {
		const struct bus_range *r = &bus->range[i];

		if (addr >= r->base && addr - r->base + size <= r->size)
			return r;
	}
	return NULL;
}

__weak bool bus_read(const struct bus *bus, struct vcpu *vcpu, u64 addr, u32 size, u64 *value)
{
	const struct bus_range *r = bus_find(bus, addr, size);

	*value = r ? r->ops->read(r->device, vcpu, addr - r->base, size) : ~0ull;
	return r != NULL;
}

__weak bool bus_write(const struct bus *bus, struct vcpu *vcpu, u64 addr, u32 size, u64 value)
{
	const struct bus_range *r = bus_find(bus, addr, size);

	if (r)
		r->ops->write(r->device, vcpu, addr - r->base, size, value);
	return r != NULL;
}

__weak void ioapic_eoi(struct vm *vm, u8 vector)
{
	(void)vm;
	fake.eoi_count++;
	fake.eoi_vector = vector;
}

__weak void ioapic_eoi_edge(struct vm *vm, u8 vector)
{
	(void)vm;
	(void)vector;
	fake.edge_eoi_count++;
}

__weak bool extint_has(struct vm *vm)
{
	(void)vm;
	return fake.pic_output;
}

__weak bool irq_notify_active(struct vm *vm)
{
	(void)vm;
	return fake.listening;
}

__weak u32 irq_notify_pins(struct vm *vm)
{
	(void)vm;
	return fake.listening ? BIT(IOAPIC_PINS) - 1 : 0;
}

__weak void irq_notify_ended_pins(struct vm *vm, u32 pins)
{
	(void)vm;
	fake.ended_pins |= pins;
}

__weak void irq_notify_ended_inputs(struct vm *vm, u32 inputs)
{
	(void)vm;
	fake.ended_inputs |= inputs;
}

__weak void eoi_exit_changed(struct vm *vm)
{
	(void)vm;
	__atomic_fetch_add(&fake.eoi_exit_changes, 1, __ATOMIC_SEQ_CST);
}

__weak void eoi_exit_require(struct vm *vm)
{
	(void)vm;
}

__weak void eoi_exit_bitmap(struct vcpu *vcpu, u64 out[EOI_EXIT_WORDS])
{
	(void)vcpu;
	memset(out, 0, EOI_EXIT_WORDS * sizeof(out[0]));
}

__weak void eoi_exit_local_changed(struct vcpu *vcpu)
{
	(void)vcpu;
}

__weak void eoi_exit_note_level_msi(struct vm *vm, u8 vector)
{
	(void)vm;
	(void)vector;
}

__weak void eoi_exit_ended(struct vcpu *vcpu, u8 vector)
{
	(void)vcpu;
	(void)vector;
}

__weak void synic_scan(struct vcpu *vcpu)
{
	(void)vcpu;
}

__weak bool lapic_holds(const struct lapic *lapic, u8 vector)
{
	(void)lapic;
	(void)vector;
	return false;
}

__weak u64 apic_map_destinations(struct vm *vm, const struct irq_message *message)
{
	(void)vm;
	(void)message;
	return 0;
}

__weak u32 irq_deliver(struct vm *vm, const struct irq_message *message)
{
	(void)vm;
	if (fake.message_count == FAKE_MESSAGES)
		abort();
	fake.message[fake.message_count++] = *message;
	return 1;
}

/* ---- inhibits, of programs that do not have irq/inhibit.c ---- */

__attribute__((weak)) void inhibit_set(struct vm *vm, enum inhibit_reason reason)
{
	vm->inhibit.mask.v |= BIT(reason);
}

__attribute__((weak)) void inhibit_clear(struct vm *vm, enum inhibit_reason reason)
{
	vm->inhibit.mask.v &= ~BIT(reason);
}

/* ---- the world ---- */

void fake_create_with_ids(u32 vcpus, const u32 *apic_ids)
{
	struct vm *vm;

	memset(&fake, 0, sizeof(fake));
	armed = NULL;
	fake.tsc = 1ull << 40;
	backend_table.get_state = fake_get_state;
	backend_table.set_state = fake_set_state;

	fake.machine = port_alloc(sizeof(*fake.machine), CACHE_LINE);
	fake.vm = vm = port_alloc(sizeof(*vm), CACHE_LINE);
	fake.machine->cpu_count = 1;
	fake.machine->vm[0] = vm;
	fake.machine->vm_count = 1;
	vm->machine = fake.machine;
	vm->config.vcpus = vcpus;
	vm->config.x2apic = true;
	vm->config.tsc_deadline = true;

	for (u32 i = 0; i < vcpus; i++) {
		struct vcpu *vcpu = port_alloc(sizeof(*vcpu), CACHE_LINE);

		vcpu->vm = vm;
		vcpu->index = i;
		vcpu->apic_id = apic_ids ? apic_ids[i] : i;
		vcpu->cpu = &fake.machine->cpu[0];
		vcpu->activity = i == 0 ? VCPU_ACTIVE : VCPU_WAIT_FOR_SIPI;
		vm->vcpu[i] = vcpu;
		vm->vcpu_count = i + 1;
		if (lapic_create && !lapic_create(vcpu))
			abort();
	}
	if (apic_map_create && !apic_map_create(vm))
		abort();
}

void fake_create(u32 vcpus)
{
	fake_create_with_ids(vcpus, NULL);
}

void fake_destroy(void)
{
	struct vm *vm = fake.vm;

	if (apic_map_destroy)
		apic_map_destroy(vm);
	for (u32 i = 0; i < vm->vcpu_count; i++) {
		if (lapic_destroy)
			lapic_destroy(vm->vcpu[i]);
		port_free(vm->vcpu[i], sizeof(struct vcpu));
	}
	port_free(vm, sizeof(*vm));
	port_free(fake.machine, sizeof(*fake.machine));
	if (fake.allocated) {
		fprintf(stderr, "%llu bytes not freed\n", (unsigned long long)fake.allocated);
		abort();
	}
}
