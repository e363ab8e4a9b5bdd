/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Creation and end of a VM. Everything a VM will ever need is allocated here, so that no interrupt,
 * entry or exit path allocates.
 */
#include "core/vm.h"
#include "core/machine.h"
#include "core/sched.h"
#include "host/host.h"
#include "irq/irq_window.h"
#include "postern/port.h"
#include "postern/string.h"

#define LEGACY_HOLE_START 0xa0000ull /* video memory: not RAM */
#define LEGACY_HOLE_END   VM_SHADOW
#define HIGH_RAM_START    (4ull << 30)

static void add_region(struct vm *vm, u64 gpa, u64 size, u8 *host)
{
	vm->region[vm->region_count++] = (struct vm_region){GPA(gpa), size, host};
}

static bool map_region(struct vm *vm, const struct vm_region *region, u32 access)
{
	return mmu_map(vm, region->gpa, ptr_to_hpa(region->host), region->size, access);
}

/* The firmware's ROM, a copy: the file is not the VM's. */
static bool create_rom(struct vm *vm)
{
	u64 size = vm->config.firmware_size;
	u8 *host;

	if (!vm->config.firmware)
		return true;
	host = port_alloc(size, PAGE_SIZE);
	if (!host)
		return false;
	memcpy(host, vm->config.firmware, size);
	vm->rom = (struct vm_region){GPA(VM_ROM_END - size), size, host};
	return true;
}

static bool map_memory(struct vm *vm)
{
	for (u32 i = 0; i < vm->region_count; i++)
		if (!map_region(vm, &vm->region[i], MMU_READ | MMU_WRITE | MMU_EXEC))
			return false;
	return !vm->rom.size || map_region(vm, &vm->rom, MMU_READ | MMU_EXEC);
}

static bool create_memory(struct vm *vm)
{
	u64 low = min_u64(vm->config.memory, VM_LOW_RAM_END);
	u64 high = vm->config.memory - low;
	u8 *host = port_alloc(vm->config.memory, PAGE_SIZE_2M);
	u64 upper = vm->config.firmware ? VM_SHADOW_END : LEGACY_HOLE_END;

	if (!host)
		return false;
	add_region(vm, 0, LEGACY_HOLE_START, host);
	add_region(vm, upper, low - upper, host + upper);
	if (high)
		add_region(vm, HIGH_RAM_START, high, host + low);
	if (vm->config.firmware)
		vm->shadow = host + VM_SHADOW;
	memory_type_create(vm);
	return create_rom(vm) && mmu_create(vm) && map_memory(vm);
}

static void destroy_memory(struct vm *vm)
{
	if (vm->mmu.root)
		mmu_destroy(vm);
	if (vm->rom.size)
		port_free(vm->rom.host, vm->rom.size);
	if (vm->region_count)
		port_free(vm->region[0].host, vm->config.memory);
}

static void destroy_vcpu(struct vcpu *vcpu)
{
	struct vm *vm = vcpu->vm;

	if (vcpu->arch)
		backend_op(vcpu_exit)(vcpu);
	hv_destroy_vcpu(vcpu);
	if (vcpu->lapic.page)
		lapic_destroy(vcpu);
	if (vcpu->fpu)
		port_free(vcpu->fpu, vm->machine->fpu_size);
	port_free(vcpu, sizeof(*vcpu));
}

static bool create_vcpu(struct vm *vm, u32 index)
{
	struct machine *machine = vm->machine;
	u32 guest_cpus = machine->cpu_count - machine->first_cpu;
	struct vcpu *vcpu = port_alloc(sizeof(*vcpu), CACHE_LINE);

	if (!vcpu)
		return false;
	vm->vcpu[index] = vcpu;
	vm->vcpu_count = index + 1;
	vcpu->vm = vm;
	vcpu->index = index;
	vcpu->apic_id = vm->config.apic_ids.count ? vm->config.apic_ids.id[index] : index;
	vm->large_ids |= vcpu->apic_id > APIC_ID_XAPIC_MAX;
	vcpu->cpu = &machine->cpu[machine->first_cpu + (vm->id + index) % guest_cpus];
	atomic32_set(&vcpu->sched_state, VCPU_BLOCKED);
	vcpu->fpu = port_alloc(machine->fpu_size, CACHE_LINE);
	return vcpu->fpu && lapic_create(vcpu) && hv_create_vcpu(vcpu) &&
	       backend_op(vcpu_init)(vcpu);
}

static bool config_is_sane(const struct vm_config *config)
{
	return config->vcpus >= 1 && config->vcpus <= MAX_VCPUS &&
	       config->memory >= (16ull << 20) && config->memory % PAGE_SIZE_2M == 0 &&
	       !apic_ids_check(&config->apic_ids, config->vcpus, config->x2apic) &&
	       config->firmware_size <= VM_ROM_MAX && config->firmware_size % PAGE_SIZE == 0 &&
	       !config->firmware == !config->firmware_size;
}

/* Everything that can fail for want of memory. */
static bool allocate(struct vm *vm)
{
	if (!create_memory(vm) || !apic_map_create(vm) || !route_create(vm) ||
	    !backend_op(vm_init)(vm))
		return false;
	for (u32 i = 0; i < vm->config.vcpus; i++)
		if (!create_vcpu(vm, i))
			return false;
	return accel_create(vm, vm->config.accel_modes);
}

struct vm *vm_create(struct machine *machine, const struct vm_config *config)
{
	struct vm *vm;

	if (!config_is_sane(config) || machine->vm_count == MAX_VMS) {
		port_log("error: vm %u: configuration out of range: %u vCPUs, %llu bytes",
		         machine->vm_count, config->vcpus, (unsigned long long)config->memory);
		return NULL;
	}
	vm = port_alloc(sizeof(*vm), CACHE_LINE);
	if (!vm) {
		port_log("error: vm %u: not enough memory", machine->vm_count);
		return NULL;
	}
	vm->machine = machine;
	vm->id = machine->vm_count;
	vm->config = *config;
	inhibit_create(vm, backend_table.inhibits);
	if (!allocate(vm)) {
		port_log("error: vm %u: not enough memory for %llu MiB and %u vCPUs (%llu MiB are "
		         "free)",
		         vm->id, (unsigned long long)(config->memory >> 20), config->vcpus,
		         (unsigned long long)(port_memory_available() >> 20));
		vm_destroy(vm);
		return NULL;
	}
	machine->vm[machine->vm_count++] = vm;
	vm->tsc_base = (u64)0 - port_tsc();
	hv_create(vm);
	ioapic_init(vm);
	if (!config->irqchip_split) {
		pic_init(&vm->pic, vm);
		pic_attach(vm);
	}
	storm_init(vm);
	pit_init(vm);
	pit_set_reinject(vm, config->pit_reinject);
	for (u32 i = 0; i < vm->vcpu_count; i++) {
		vm->vcpu[i]->tsc_offset = vm->tsc_base;
		vcpu_reset(vm->vcpu[i], false);
		if (i)
			vm->vcpu[i]->activity = VCPU_WAIT_FOR_SIPI;
	}
	apic_map_rebuild(vm);
	inhibit_clear(vm, INHIBIT_ABSENT);
	return vm;
}

void vm_destroy(struct vm *vm)
{
	struct machine *machine = vm->machine;
	struct vcpu *vcpu;

	/* No device posts into what is freed here. */
	ASSERT(!atomic32_read(&vm->assigned.count));
	storm_destroy(vm);
	pit_reset(vm);
	ioapic_reset(vm);
	for_each_vcpu (vcpu, vm)
		irq_window_close(vcpu);
	ASSERT(!atomic32_read(&vm->inhibit.windows));
	for (u32 i = 0; i < vm->vcpu_count; i++)
		destroy_vcpu(vm->vcpu[i]);
	accel_destroy(vm);
	if (vm->arch)
		backend_op(vm_exit)(vm);
	apic_map_destroy(vm);
	route_destroy(vm);
	destroy_memory(vm);
	if (machine->vm_count && machine->vm[machine->vm_count - 1] == vm)
		machine->vm[--machine->vm_count] = NULL;
	port_free(vm, sizeof(*vm));
}

void vm_start(struct vm *vm)
{
	atomic32_set(&vm->live_vcpus, vm->vcpu_count);
	for (u32 i = 0; i < vm->vcpu_count; i++) {
		vm->vcpu[i]->state_since = port_tsc();
		sched_wake(vm->vcpu[i]);
	}
}

bool vm_has_ended(struct vm *vm)
{
	return atomic32_read_acquire(&vm->ended) != ENDED_RUNNING;
}

void vm_end(struct vm *vm, enum ending ending, u32 code)
{
	struct vcpu *vcpu;

	if (!atomic32_cmpxchg(&vm->ended, ENDED_RUNNING, ending))
		return;
	if (code)
		atomic32_set(&vm->exit_code, code);
	atomic64_set(&vm->end_time, port_tsc());
	for_each_vcpu (vcpu, vm)
		vcpu_request(vcpu, VCPU_REQUEST_STOP);
}

void *vm_memory(struct vm *vm, gpa_t gpa, u64 len)
{
	for (u32 i = 0; i < vm->region_count; i++) {
		const struct vm_region *region = &vm->region[i];
		u64 offset = gpa.v - region->gpa.v; /* wraps for addresses below: then too large */

		if (offset < region->size && len <= region->size - offset)
			return region->host + offset;
	}
	return NULL;
}

bool vm_read(struct vm *vm, gpa_t gpa, void *to, u64 len)
{
	const void *from = vm_memory(vm, gpa, len);

	if (from)
		memcpy(to, from, len);
	return from != NULL;
}

bool vm_write(struct vm *vm, gpa_t gpa, const void *from, u64 len)
{
	void *to = vm_memory(vm, gpa, len);

	if (to)
		memcpy(to, from, len);
	return to != NULL;
}

u64 vm_elapsed_ns(struct vm *vm)
{
	u64 first = atomic64_read_relaxed(&vm->first_entry);
	u64 end = atomic64_read_relaxed(&vm->end_time);

	if (!first)
		return 0;
	return timer_tsc_to_ns((end ? end : port_tsc()) - first);
}
