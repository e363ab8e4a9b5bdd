/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The walk of the extended page tables. SDM volume 3, "The Extended Page Table Mechanism (EPT)", "EPT
 * Misconfigurations", "EPT Violations". Four levels, pages of 4 KiB and 2 MiB, neither accessed and dirty
 * flags nor execute-only pages.
 */
#include "cpu_model/vmx.h"
#include "postern/port.h"

#define RIGHTS       (EPT_READ | EPT_WRITE | EPT_EXEC)
#define ADDRESS      0x000000fffffff000ull /* 40 bits */
#define RESERVED     0x000fff0000000000ull
#define TYPE(entry)  ((u32)((entry) >> 3) & 7)
#define TABLE_ZERO   0x78ull /* in entries that point to a table */
#define LARGE_LEVEL  1
#define LARGE_OFFSET (PAGE_SIZE_2M - PAGE_SIZE)

/* A step of its own to the explorer: entries change while processors walk. */
static u64 load_entry(const u64 *entry)
{
	model_look(entry);
	return __atomic_load_n(entry, __ATOMIC_ACQUIRE);
}

static bool is_leaf(u64 entry, u32 level)
{
	return level == 0 || (level == LARGE_LEVEL && entry & EPT_LARGE);
}

static bool is_misconfigured(u64 entry, u32 level)
{
	u32 type = TYPE(entry);

	if (!(entry & EPT_READ) || entry & RESERVED)
		return true;
	if (!is_leaf(entry, level))
		return entry & TABLE_ZERO || entry & EPT_LARGE;
	return type == 2 || type == 3 || type == 7 || (level && entry & LARGE_OFFSET);
}

static bool permits(u64 rights, enum model_access access)
{
	static const u64 needed[] = {
	        [MODEL_READ] = EPT_READ, [MODEL_WRITE] = EPT_WRITE, [MODEL_EXEC] = EPT_EXEC};

	return rights & needed[access];
}

struct model_walk vmx_ept_walk(u64 eptp, gpa_t gpa, enum model_access access)
{
	struct model_walk walk = {0};
	const u64 *table = hpa_to_ptr(HPA(eptp & ADDRESS));
	u64 rights = RIGHTS;

	for (u32 level = 4; level--;) {
		u64 entry = load_entry(&table[gpa.v >> (12 + 9 * level) & 511]);

		rights &= entry;
		if (entry & RIGHTS && is_misconfigured(entry, level)) {
			walk.error = VMX_EPT_MISCONFIGURED;
			return walk;
		}
		if (!(entry & RIGHTS) || (is_leaf(entry, level) && !permits(rights, access))) {
			walk.error = (u32)(rights & RIGHTS) << 3;
			return walk;
		}
		if (!is_leaf(entry, level)) {
			table = hpa_to_ptr(HPA(entry & ADDRESS));
			continue;
		}
		walk.ok = true;
		walk.frame = (entry & ADDRESS) >> 12;
		walk.frame |= gpa.v >> 12 & ((1ull << 9 * level) - 1);
		walk.write = rights & EPT_WRITE;
		walk.exec = rights & EPT_EXEC;
		walk.large = level;
		return walk;
	}
	return walk;
}
