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

static u32 layout_add(struct layout_range *map, u32 count, u64 base, u64 end, u32 type)
{
	if (base >= end || count == LAYOUT_RANGES)
		return count;
	map[count] = (struct layout_range){base, end - base, type};
	return count + 1;
}

u32 layout_memory_map(const struct vm *vm, struct layout_range map[LAYOUT_RANGES])
{
	u64 from = LAYOUT_HIGH_RAM;
	u32 n = 0;

	if (vm->rom.size) {
		n = layout_add(map, n, 0, layout_low_ram_end(vm), LAYOUT_RANGE_RAM);
		from = VM_ROM_END;
	} else {
		n = layout_add(map, n, 0, LAYOUT_EBDA, LAYOUT_RANGE_RAM);
		n = layout_add(map, n, LAYOUT_EBDA, LAYOUT_VGA_HOLE, LAYOUT_RANGE_RESERVED);
		n = layout_add(map, n, LAYOUT_FIRMWARE, LAYOUT_FIRMWARE_END, LAYOUT_RANGE_RESERVED);
	}
	for (u32 i = 0; i < vm->region_count; i++) {
		const struct vm_region *region = &vm->region[i];

		n = layout_add(map, n, max_u64(region->gpa.v, from), region->gpa.v + region->size,
		               LAYOUT_RANGE_RAM);
	}
	return n;
}
