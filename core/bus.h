/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * I/O ports and device memory of one VM: ranges with a handler each. Registered while the VM is
 * created, read without locks afterwards.
 */
#ifndef CORE_BUS_H
#define CORE_BUS_H

#include "postern/types.h"

struct vcpu;
struct vm;

/*
 * Handlers run on the accessing vCPU's processor with no locks held and take their device's lock
 * themselves. `offset` is relative to the range; `size` is 1, 2, 4 (memory: also 8). A read handler
 * returns the value in the low `size` bytes. An access never crosses the end of a range.
 */
struct bus_ops {
	u64 (*read)(void *device, struct vcpu *vcpu, u64 offset, u32 size);
	void (*write)(void *device, struct vcpu *vcpu, u64 offset, u32 size, u64 value);
};

struct bus_range {
	u64 base;
	u64 size;
	const struct bus_ops *ops;
	void *device;
};

#define BUS_RANGES 32
struct bus {
	struct bus_range range[BUS_RANGES]; /* (i) after the VM's creation */
	u32 count;
};

/* Add a range; panics if the table is full or ranges overlap (a bug of the platform's). */
void bus_register(struct bus *bus, u64 base, u64 size, const struct bus_ops *ops, void *device);

/* false: nobody decodes the address. *value is then all ones. */
bool bus_read(const struct bus *bus, struct vcpu *vcpu, u64 addr, u32 size, u64 *value);
bool bus_write(const struct bus *bus, struct vcpu *vcpu, u64 addr, u32 size, u64 value);

#endif
