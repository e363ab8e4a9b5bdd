/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory types of guests. APM volume 2, "Memory-Type Range Registers" and "Combining Memory Types, MTRRs":
 * MTRRs are about system-physical addresses, and no processor has any for guest-physical ones; their effect is
 * brought about by the types of nested pages. SDM volume 3, "Memory Type Range Registers (MTRRs)".
 *
 * Rules this file lives by:
 * - MTRRs disabled: everything is UC. Fixed ranges come before variable ones, UC before every other type,
 *   WT before WB. Other overlaps are undefined: here UC, which is never wrong, only slow.
 * - MTRRs belong to a processor, but have to be the same in all ("MTRR Considerations in MP Systems"), and
 *   nested tables belong to the VM. The boot processor's count: firmware and systems program it with or before
 *   the others, which then repeat what is in force already, and change nothing. (Others look at the MTRRs of
 *   whichever vCPU faults; then it is chance whose types a page has while they differ.)
 * - CR0.CD of any vCPU makes all memory of the VM UC. An AMD processor obeys the guest's CD by itself. VMX does
 *   not: entries do not load it ("Loading Guest Control Registers, Debug Registers, and MSRs"), so the tables
 *   have to say it, and tables are the VM's. It is the same on both, and costs a zap at the first CD that is
 *   set and one at the last that is cleared. On SVM what is seen is the CR0 of the next exit; the WBINVD that
 *   has to follow is one.
 * - A change of types asks for WBINVD on every processor, before and after ("Changing Memory Types";
 *   SDM "MTRR Considerations in MP Systems"). Guests do that, and it is left out: host and devices access the
 *   same memory as WB, processors snoop each other whatever the type, so no line is ever out of date for long
 *   enough to be seen.
 *
 * The race of a change with a fault is that of mmu/nested.c, "the reason to zap is stored". Two changes:
 *
 *      vCPU 0: sets CD                        vCPU 1: sets CD
 *      a lock; the first: uncached            1 waits
 *      b zap: waits for who is in the guest   (outside, interrupts open: not waited for)
 *      c unlock                               2 the second: nothing to do
 *
 * so when either goes on, no mapping that is older than its change is left.
 */
#include "mmu/memory_type.h"

#include "core/vm.h"

#define FIXED_END   0x100000ull
#define FIXED_16K   0x80000ull
#define FIXED_4K    0xc0000ull
#define EVERYTHING  (1ull << 48)
#define FIRST_16K   1u /* number of the first register with ranges of that size */
#define FIRST_4K    3u
#define RANGE_TYPES (BIT(MEMORY_TYPE_WT) | BIT(MEMORY_TYPE_WB))

/*
 * A guest that is loaded directly finds what firmware leaves behind, as far as memory goes: write-back by
 * default. What is not memory exits, and has no type.
 */
u64 memory_type_first_deftype(const struct vm *vm)
{
	return vm->config.firmware ? 0 : MTRR_DEFTYPE_ENABLE | MEMORY_TYPE_WB;
}

void memory_type_create(struct vm *vm)
{
	atomic64_set_relaxed(&vm->types.deftype, memory_type_first_deftype(vm));
}

static enum memory_type fixed_type(const struct memory_types *types, u64 gpa)
{
	u32 reg, shift;

	if (gpa < FIXED_16K) {
		reg = 0;
		shift = 16;
	} else if (gpa < FIXED_4K) {
		reg = FIRST_16K + (u32)((gpa - FIXED_16K) >> 17);
		shift = 14;
	} else {
		reg = FIRST_4K + (u32)((gpa - FIXED_4K) >> 15);
		shift = 12;
	}
	return atomic64_read_relaxed(&types->fixed[reg]) >> (gpa >> shift & 7) * 8 & MTRR_TYPE;
}

/* Of all ranges that an address is in, their types as a set. */
static enum memory_type overlap(u32 found)
{
	if (!(found & (found - 1)))
		return (enum memory_type)__builtin_ctz(found);
	return found == RANGE_TYPES ? MEMORY_TYPE_WT : MEMORY_TYPE_UC;
}

static enum memory_type variable_type(const struct memory_types *types, u64 gpa, u64 size,
                                      enum memory_type none)
{
	u32 found = 0;

	for (u32 i = 0; i < MTRR_VARIABLE; i++) {
		u64 valid_mask = atomic64_read_relaxed(&types->mask[i]);
		u64 base = atomic64_read_relaxed(&types->base[i]);
		u64 mask = valid_mask & PAGE_MASK;

		if (!(valid_mask & MTRR_MASK_VALID) || (gpa ^ base) & mask & ~(size - 1))
			continue;
		/* The mask distinguishes addresses within the page. */
		if (mask & (size - 1))
			return MEMORY_TYPE_MIXED;
		found |= BIT(base & MTRR_TYPE & 7);
	}
	return found ? overlap(found) : none;
}

enum memory_type memory_type_of(const struct vm *vm, u64 gpa, u64 size)
{
	const struct memory_types *types = &vm->types;
	u64 deftype = atomic64_read_relaxed(&types->deftype);

	if (!(deftype & MTRR_DEFTYPE_ENABLE) || atomic32_read_relaxed(&types->uncached))
		return MEMORY_TYPE_UC;
	if (deftype & MTRR_DEFTYPE_FIXED && gpa < FIXED_END)
		return size > PAGE_SIZE ? MEMORY_TYPE_MIXED : fixed_type(types, gpa);
	return variable_type(types, gpa, size, deftype & MTRR_TYPE);
}

/* --- changes; lock held --- */

static bool all_uncached(const struct memory_types *types)
{
	return atomic32_read_relaxed(&types->uncached) ||
	       !(atomic64_read_relaxed(&types->deftype) & MTRR_DEFTYPE_ENABLE);
}

static bool store(struct atomic64 *to, u64 value)
{
	if (atomic64_read_relaxed(to) == value)
		return false;
	atomic64_set_relaxed(to, value);
	return true;
}

/* What is not enabled reads as 0, so that a change of it is none. */
static bool publish(struct memory_types *types, const struct mtrrs *mtrrs)
{
	bool enabled = mtrrs->deftype & MTRR_DEFTYPE_ENABLE;
	bool fixed = enabled && mtrrs->deftype & MTRR_DEFTYPE_FIXED;
	bool changed = store(&types->deftype, enabled ? mtrrs->deftype : 0);

	for (u32 i = 0; i < MTRR_FIXED; i++)
		changed |= store(&types->fixed[i], fixed ? mtrrs->fixed[i] : 0);
	for (u32 i = 0; i < MTRR_VARIABLE; i++) {
		bool valid = enabled && mtrrs->mask[i] & MTRR_MASK_VALID;

		changed |= store(&types->base[i], valid ? mtrrs->base[i] : 0);
		changed |= store(&types->mask[i], valid ? mtrrs->mask[i] : 0);
	}
	return changed;
}

static void zap(struct vm *vm)
{
	mmu_zap_until_fault(vm, GPA(0), EVERYTHING);
}

void memory_type_mtrrs_changed(struct vcpu *vcpu)
{
	struct memory_types *types = &vcpu->vm->types;
	bool was;

	if (vcpu->index)
		return;
	spin_lock(&types->lock);
	was = all_uncached(types);
	if (publish(types, &vcpu->msrs.mtrr) && !(was && all_uncached(types)))
		zap(vcpu->vm);
	spin_unlock(&types->lock);
}

void memory_type_cache_disabled(struct vcpu *vcpu, bool disabled)
{
	struct memory_types *types = &vcpu->vm->types;
	u64 bit = BIT64(vcpu->index);
	bool was;

	vcpu->cache_disabled = disabled;
	spin_lock(&types->lock);
	was = all_uncached(types);
	types->cache_disabled =
	        disabled ? types->cache_disabled | bit : types->cache_disabled & ~bit;
	atomic32_set_relaxed(&types->uncached, types->cache_disabled != 0);
	if (was != all_uncached(types))
		zap(vcpu->vm);
	spin_unlock(&types->lock);
}
