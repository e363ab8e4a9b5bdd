/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who answers at an address: I/O ports and device memory of one VM.
 *
 * Rules this file lives by:
 * - The table is sorted by base and never changes once the VM runs, so lookups take no lock.
 * - An access that lies in one range goes to its handler as it is. One that does not (it straddles
 *   the end of a range, or touches two) is split into single bytes, each decoded for itself, as a
 *   bridge does with an access wider than what its target claims. Bytes that nobody claims read as
 *   ones. Such an access counts as decoded if at least one of its bytes was.
 */
#include "core/bus.h"

#include "postern/port.h"

static bool range_contains(const struct bus_range *range, u64 addr, u32 size)
{
	return addr >= range->base && addr - range->base < range->size &&
	       size <= range->size - (addr - range->base);
}

/* Index of the first range whose base is above `addr`. */
static u32 upper_bound(const struct bus *bus, u64 addr)
{
	u32 low = 0, high = bus->count;

	while (low < high) {
		u32 middle = (low + high) / 2;

		if (bus->range[middle].base <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The range that holds all of the access, or NULL. */
static const struct bus_range *find(const struct bus *bus, u64 addr, u32 size)
{
	u32 i = upper_bound(bus, addr);

	if (i == 0 || !range_contains(&bus->range[i - 1], addr, size))
		return NULL;
	return &bus->range[i - 1];
}

void bus_register(struct bus *bus, u64 base, u64 size, const struct bus_ops *ops, void *device)
{
	u32 at = upper_bound(bus, base);
	u32 i;

	ASSERT(bus->count < BUS_RANGES);
	ASSERT(size && base + (size - 1) >= base);
	ASSERT(at == 0 || base - bus->range[at - 1].base >= bus->range[at - 1].size);
	ASSERT(at == bus->count || bus->range[at].base - base >= size);

	for (i = bus->count; i > at; i--)
		bus->range[i] = bus->range[i - 1];
	bus->range[at] = (struct bus_range){
	        .base = base,
	        .size = size,
	        .ops = ops,
	        .device = device,
	};
	bus->count++;
}

static u64 ones(u32 size)
{
	return size >= 8 ? ~0ull : (1ull << (size * 8)) - 1;
}

static bool read_bytes(const struct bus *bus, struct vcpu *vcpu, u64 addr, u32 size, u64 *value)
{
	bool decoded = false;
	u32 i;

	for (i = 0; i < size; i++) {
		const struct bus_range *range = find(bus, addr + i, 1);
		u64 byte;

		if (!range)
			continue;
		byte = range->ops->read(range->device, vcpu, addr + i - range->base, 1) & 0xff;
		*value = (*value & ~(0xffull << (i * 8))) | byte << (i * 8);
		decoded = true;
	}
	return decoded;
}

static bool write_bytes(const struct bus *bus, struct vcpu *vcpu, u64 addr, u32 size, u64 value)
{
	bool decoded = false;
	u32 i;

	for (i = 0; i < size; i++) {
		const struct bus_range *range = find(bus, addr + i, 1);

		if (!range)
			continue;
		range->ops->write(range->device, vcpu, addr + i - range->base, 1,
		                  (value >> (i * 8)) & 0xff);
		decoded = true;
	}
	return decoded;
}

bool bus_read(const struct bus *bus, struct vcpu *vcpu, u64 addr, u32 size, u64 *value)
{
	const struct bus_range *range = find(bus, addr, size);

	*value = ones(size);
	if (!range)
		return size > 1 && read_bytes(bus, vcpu, addr, size, value);
	*value &= range->ops->read(range->device, vcpu, addr - range->base, size);
	return true;
}

bool bus_write(const struct bus *bus, struct vcpu *vcpu, u64 addr, u32 size, u64 value)
{
	const struct bus_range *range = find(bus, addr, size);

	value &= ones(size);
	if (!range)
		return size > 1 && write_bytes(bus, vcpu, addr, size, value);
	range->ops->write(range->device, vcpu, addr - range->base, size, value);
	return true;
}
