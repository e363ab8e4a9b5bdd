/* SPDX-License-Identifier: BSD-2-Clause */
/* What of the layout depends on the VM. */
#include "platform/layout.h"

#include "core/vm.h"

u64 layout_low_ram_end(const struct vm *vm)
{
	u64 end = 0;

	for (u32 i = 0; i < vm->region_count; i++) {
		const struct vm_region *region = &vm->region[i];

		if (region->gpa.v < VM_LOW_RAM_END)
			end = max_u64(end, region->gpa.v + region->size);
	}
	return min_u64(end, VM_LOW_RAM_END);
}
