/* SPDX-License-Identifier: BSD-2-Clause */
/* See platform_fake.h. Like core/bus.c this bus never lets an access cross a range. */
#include "platform_fake.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "irq/route.h"
#include "platform/irqchip.h"
#include "postern/backend.h"
#include "postern/port.h"

struct fake *fake;
struct backend backend_table;

/* --- port --- */

void *port_alloc(u64 size, u64 align)
{
	void *p;

	if (fake->out_of_memory)
		return NULL;
	p = aligned_alloc(align, ALIGN_UP(size, align));
	memset(p, 0, size);
	fake->allocated += size;
	return p;
}

void port_free(void *p, u64 size)
{
	fake->allocated -= size;
	free(p);
}

u64 port_tsc(void)
{
	return fake->tsc;
}

/* Host-physical addresses are pointers. */
hpa_t ptr_to_hpa(const void *p)
{
	return HPA((uintptr_t)p);
}

/* One line, without its end. */
void port_log(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(fake->log, sizeof(fake->log), fmt, args);
	va_end(args);
	fake->logs++;
}

u64 port_wallclock(void)
{
	return FAKE_WALLCLOCK;
}

void port_console_write(u32 vm, const u8 *data, u32 len)
{
	assert_int_equal(vm, fake->vm.id);
	assert_true(fake->out_count + len <= sizeof(fake->out));
	memcpy(fake->out + fake->out_count, data, len);
	fake->out_count += len;
	fake->out_writes++;
}

int port_console_read(u32 vm)
{
	assert_int_equal(vm, fake->vm.id);
	return fake->in && *fake->in ? (u8)*fake->in++ : -1;
}

void port_panic(const char *fmt, ...)
{
	fail_msg("panic: %s", fmt);
	abort();
}

/* --- timers: 1 tick is 1 ns --- */

u64 timer_ns_to_tsc(u64 ns)
{
	return ns;
}

u64 timer_tsc_to_ns(u64 tsc)
{
	return tsc;
}

void timer_init(struct timer *timer, void (*fire)(struct timer *timer))
{
	u32 i = 0;

	*timer = (struct timer){.fire = fire, .deadline = TSC_NEVER};
	while (fake->timer[i])
		i++;
	assert_true(i < ARRAY_SIZE(fake->timer));
	fake->timer[i] = timer;
}

void timer_arm(struct timer *timer, u64 deadline)
{
	timer->deadline = deadline;
	if (deadline != TSC_NEVER)
		fake->armed++;
}

void timer_cancel(struct timer *timer)
{
	timer_arm(timer, TSC_NEVER);
}

void fake_advance(u64 ns)
{
	u64 until = fake->tsc + ns;

	for (;;) {
		struct timer *first = NULL;

		for (u32 i = 0; i < ARRAY_SIZE(fake->timer) && fake->timer[i]; i++)
			if (!first || fake->timer[i]->deadline < first->deadline)
				first = fake->timer[i];
		if (!first || first->deadline > until)
			break;
		fake->tsc = max_u64(fake->tsc, first->deadline);
		first->deadline = TSC_NEVER;
		fake->fires++;
		first->fire(first);
	}
	fake->tsc = until;
}

/* --- core --- */

/* Weak, and so is bus_write(): the fuzzer has the real ones. */
__attribute__((weak)) void bus_register(struct bus *bus, u64 base, u64 size,
                                        const struct bus_ops *ops, void *device)
{
	assert_true(bus->count < BUS_RANGES);
	for (u32 i = 0; i < bus->count; i++)
		assert_false(base < bus->range[i].base + bus->range[i].size &&
		             bus->range[i].base < base + size);
	bus->range[bus->count++] = (struct bus_range){base, size, ops, device};
}

static struct bus_range *fake_find(struct bus *bus, u64 addr, u32 size)
{
	for (u32 i = 0; i < bus->count; i++) {
		struct bus_range *range = &bus->range[i];

		if (addr >= range->base && addr + size <= range->base + range->size)
			return range;
	}
	return NULL;
}

static struct bus_range *fake_range(u16 port, u32 size)
{
	return fake_find(&fake->vm.io, port, size);
}

u64 fake_in(u16 port, u32 size)
{
	struct bus_range *range = fake_range(port, size);

	assert_non_null(range);
	return range->ops->read(range->device, &fake->vcpu[0], port - range->base, size) &
	       (BIT64(8 * size) - 1);
}

void fake_out(u16 port, u32 size, u64 value)
{
	struct bus_range *range = fake_range(port, size);

	assert_non_null(range);
	range->ops->write(range->device, &fake->vcpu[0], port - range->base, size, value);
}

u64 fake_load(u64 gpa, u32 size)
{
	struct bus_range *range = fake_find(&fake->vm.memory, gpa, size);

	assert_non_null(range);
	return range->ops->read(range->device, &fake->vcpu[0], gpa - range->base, size) &
	       (size < 8 ? BIT64(8 * size) - 1 : ~0ull);
}

void fake_store(u64 gpa, u32 size, u64 value)
{
	struct bus_range *range = fake_find(&fake->vm.memory, gpa, size);

	assert_non_null(range);
	range->ops->write(range->device, &fake->vcpu[0], gpa - range->base, size, value);
}

/* The interrupt chips are not here: their programming is recorded. */
static void fake_record(u16 port, u64 value)
{
	assert_true(fake->chip_write_count < ARRAY_SIZE(fake->chip_writes));
	fake->chip_writes[fake->chip_write_count].port = port;
	fake->chip_writes[fake->chip_write_count++].value = (u8)value;
}

__attribute__((weak)) bool bus_write(const struct bus *bus, struct vcpu *vcpu, u64 addr, u32 size,
                                     u64 value)
{
	assert_ptr_equal(bus, &fake->vm.io);
	assert_ptr_equal(vcpu, &fake->vcpu[0]);
	assert_int_equal(size, 1);
	fake_record((u16)addr, value);
	return true;
}

u32 vcpu_request_all(struct vm *vm, u32 requests)
{
	assert_ptr_equal(vm, &fake->vm);
	assert_int_equal(requests, VCPU_REQUEST_FLUSH);
	fake->flushes_of_all++;
	return 0;
}

bool fake_decodes(u16 port)
{
	return fake_range(port, 1);
}

void *vm_memory(struct vm *vm, gpa_t gpa, u64 len)
{
	if (fake->small_firmware && gpa.v == LAYOUT_FIRMWARE)
		return NULL;
	for (u32 i = 0; i < vm->region_count; i++) {
		struct vm_region *region = &vm->region[i];
		u64 offset = gpa.v - region->gpa.v;

		if (offset < region->size && len <= region->size - offset)
			return region->host + offset;
	}
	return NULL;
}

bool vm_write(struct vm *vm, gpa_t gpa, const void *from, u64 len)
{
	void *to = vm_memory(vm, gpa, len);

	if (to)
		memcpy(to, from, len);
	return to;
}

/* Weak, as mmu_zap(): only the pages that firmware can switch, one by one. */
__attribute__((weak)) bool mmu_map(struct vm *vm, gpa_t gpa, hpa_t hpa, u64 size, u32 access)
{
	assert_ptr_equal(vm, &fake->vm);
	assert_false((gpa.v | hpa.v | size) & ~PAGE_MASK);
	assert_true(size && gpa.v >= VM_SHADOW && gpa.v + size <= VM_SHADOW_END);
	for (u64 at = 0; at < size; at += PAGE_SIZE) {
		u64 page = (gpa.v - VM_SHADOW + at) / PAGE_SIZE;

		fake->map[page].host = hpa.v ? (const u8 *)(uintptr_t)(hpa.v + at) : NULL;
		fake->map[page].access = access;
	}
	fake->maps++;
	return true;
}

__attribute__((weak)) bool mmu_zap(struct vm *vm, gpa_t gpa, u64 size)
{
	return mmu_map(vm, gpa, HPA(0), size, 0);
}

void vm_end(struct vm *vm, enum ending ending, u32 code)
{
	assert_ptr_equal(vm, &fake->vm);
	fake->ended = ending;
	fake->end_code = code;
	fake->ends++;
}

void extint_attach(struct vm *vm, const struct extint_ops *ops, void *source)
{
	vm->extint.ops = ops;
	vm->extint.source = source;
}

void irqchip_virtual_wire(struct vm *vm)
{
	assert_ptr_equal(vm, &fake->vm);
	fake->virtual_wires++;
	fake->hand_overs = 0;
}

/* To be called behind the virtual wire, if at all. */
void irqchip_hand_over(struct vm *vm)
{
	assert_ptr_equal(vm, &fake->vm);
	fake->hand_overs++;
}

bool vm_has_ended(struct vm *vm)
{
	assert_ptr_equal(vm, &fake->vm);
	return fake->ends;
}

void irqchip_init(struct irqchip *irqchip, struct vm *vm)
{
	irqchip->pic.vm = vm;
}

void irq_set_line(struct vm *vm, u32 gsi, bool level)
{
	void (*hook)(struct fake *) = fake->in_set_line;

	assert_ptr_equal(vm, &fake->vm);
	assert_true(gsi < FAKE_LINES);
	fake->rises[gsi] += level && !fake->line[gsi];
	fake->line[gsi] = level;
	fake->in_set_line = NULL;
	if (hook)
		hook(fake);
}

void msi_deliver(struct vm *vm, u64 address, u32 data)
{
	u32 i = fake->messages++ % ARRAY_SIZE(fake->message);

	assert_ptr_equal(vm, &fake->vm);
	fake->message[i].address = address;
	fake->message[i].data = data;
}

bool assigned_add(struct assigned *device, struct vm *vm, u16 source)
{
	if (fake->no_iommu)
		return false;
	*device = (struct assigned){.vm = vm,
	                            .source = source,
	                            .host_address = FAKE_HOST_ADDRESS,
	                            .host_data = FAKE_HOST_DATA};
	fake->assigned++;
	return true;
}

void assigned_remove(struct assigned *device)
{
	assert_ptr_equal(device->vm, &fake->vm);
	device->vm = NULL;
	fake->assigned--;
}

void assigned_program(struct assigned *device, bool on, u64 address, u32 data)
{
	device->on = on;
	device->address = address;
	device->data = data;
}

void port_device_message(u16 source, u64 address, u32 data)
{
	assert_int_equal(source >> 8, fake->vm.id + 1);
	assert_int_equal(address, FAKE_HOST_ADDRESS);
	assert_int_equal(data, FAKE_HOST_DATA);
	fake->device_messages[source & 0xff]++;
}

static void fake_get_state(struct vcpu *vcpu, struct vcpu_state *state)
{
	assert_ptr_equal(vcpu, fake->vm.vcpu[0]);
	*state = fake->state;
}

static void fake_set_state(struct vcpu *vcpu, const struct vcpu_state *state)
{
	assert_ptr_equal(vcpu, fake->vm.vcpu[0]);
	fake->state = *state;
}

/* --- fixtures --- */

void fake_set_memory(u64 size, u32 vcpus)
{
	struct vm *vm = &fake->vm;

	free(fake->memory);
	fake->memory = aligned_alloc(PAGE_SIZE, size);
	memset(fake->memory, 0xa5, size);
	vm->config.memory = size;
	vm->region_count = 2;
	vm->region[0] = (struct vm_region){GPA(0), 0xa0000, fake->memory};
	vm->region[1] = (struct vm_region){GPA(0xc0000), size - 0xc0000, fake->memory + 0xc0000};
	vm->vcpu_count = vcpus;
	for (u32 i = 0; i < vcpus; i++) {
		vm->vcpu[i] = &fake->vcpu[i];
		fake->vcpu[i].vm = vm;
		fake->vcpu[i].index = i;
		fake->vcpu[i].apic_id = i;
	}
}

int fake_setup_bare(void **state)
{
	(void)state;
	fake = aligned_alloc(CACHE_LINE, ALIGN_UP(sizeof(*fake), CACHE_LINE));
	memset(fake, 0, sizeof(*fake));
	fake->vm.id = 3;
	fake->tsc = 12345; /* no device may think that time starts at 0 */
	backend_table.get_state = fake_get_state;
	backend_table.set_state = fake_set_state;
	fake_set_memory(FAKE_MEMORY, 4);
	return 0;
}

int fake_setup(void **state)
{
	fake_setup_bare(state);
	return platform_create(&fake->vm) ? 0 : -1;
}

int fake_setup_firmware(void **state)
{
	fake_setup_bare(state);
	fake_set_rom(FAKE_ROM);
	return platform_create(&fake->vm) ? 0 : -1;
}

/* As core/vm.c does with firmware. Byte n of the ROM, from its end, follows from n. */
void fake_set_rom(u64 size)
{
	struct vm *vm = &fake->vm;

	free(fake->rom);
	fake->rom = aligned_alloc(PAGE_SIZE, size);
	for (u64 i = 0; i < size; i++)
		fake->rom[i] = fake_rom_byte(size - i);
	vm->rom = (struct vm_region){GPA(VM_ROM_END - size), size, fake->rom};
	vm->shadow = fake->memory + VM_SHADOW;
	vm->region[1] = (struct vm_region){GPA(VM_SHADOW_END), vm->config.memory - VM_SHADOW_END,
	                                   fake->memory + VM_SHADOW_END};
}

u8 fake_rom_byte(u64 from_end)
{
	return (u8)(from_end * 7 + (from_end >> 12) * 31 + 1);
}

int fake_teardown(void **state)
{
	(void)state;
	platform_destroy(&fake->vm);
	assert_int_equal(fake->allocated, 0);
	free(fake->memory);
	free(fake->rom);
	free(fake);
	fake = NULL;
	return 0;
}
