/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The nested page walk. APM volume 2, "Nested Paging": host-format long-mode tables at N_CR3, every
 * guest access is a user access; "Nested Paging Faults".
 */
#include "cpu_model/model.h"
#include "postern/port.h"

/* A step of its own to the explorer: entries change while processors walk. */
static u64 load_entry(const u64 *entry)
{
	model_look(entry);
	return __atomic_load_n(entry, __ATOMIC_ACQUIRE);
}

/* The processor sets accessed and dirty bits atomically. */
static void mark(u64 *entry, u64 bits)
{
	if ((load_entry(entry) & bits) != bits)
		__atomic_fetch_or(entry, bits, __ATOMIC_SEQ_CST);
}

static u32 error_code(enum model_access access, bool present)
{
	return PF_USER | (present ? PF_PRESENT : 0) | (access == MODEL_WRITE ? PF_WRITE : 0) |
	       (access == MODEL_EXEC ? PF_FETCH : 0);
}

struct model_walk model_nested_walk(hpa_t root, gpa_t gpa, enum model_access access)
{
	struct model_walk walk = {.write = true, .exec = true};
	u64 *table = hpa_to_ptr(root);
	u64 *path[4];

	for (u32 level = 4; level--;) {
		u64 *entry = &table[gpa.v >> (12 + 9 * level) & 511];
		u64 value = load_entry(entry);
		bool leaf = level == 0 || (level < 3 && (value & PTE_PS));

		if (!(value & PTE_P)) {
			walk.error = error_code(access, false);
			return walk;
		}
		path[level] = entry;
		walk.write = walk.write && (value & PTE_W);
		walk.exec = walk.exec && !(value & PTE_NX);
		if (!(value & PTE_U) || (access == MODEL_WRITE && !walk.write) ||
		    (access == MODEL_EXEC && !walk.exec)) {
			walk.error = error_code(access, true);
			return walk;
		}
		if (!leaf) {
			table = hpa_to_ptr(HPA(value & PTE_ADDR));
			continue;
		}
		walk.ok = true;
		walk.frame = (value & PTE_ADDR & ~((PAGE_SIZE << 9 * level) - 1)) >> 12;
		walk.frame |= gpa.v >> 12 & ((1ull << 9 * level) - 1);
		for (u32 i = 3; i > level; i--)
			mark(path[i], PTE_A);
		mark(entry, access == MODEL_WRITE ? PTE_A | PTE_D : PTE_A);
		return walk;
	}
	return walk;
}
