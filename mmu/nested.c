/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Nested page tables: guest-physical to host-physical, four levels.
 *
 * Rules this file lives by:
 * - APM volume 2, "Nested Paging": the table is the host's long-mode format, and every guest access
 *   is a user access to it, so U is set at all levels. Permission is taken away in leaves only.
 * - Processors walk the tables while they change: an entry changes by one 64-bit store, and a new
 *   table is complete before the entry that points to it.
 * - A table page stays where it is until the VM ends. Nothing is freed that a processor's cached
 *   walk might still lead through, and the pool's use is bounded by the address space touched.
 * - Taking away or replacing a translation needs a flush, adding one does not.
 * - The tables that lead to the local APIC's page exist from the start, and twice: a vCPU whose APIC is not
 *   accelerated while others are runs on the second root, where that page is never mapped (requirement
 *   S2.5). Every other entry of those tables is written to both.
 * - A leaf has the guest's memory type for all that it maps (mmu/memory_type.h). Where types change within
 *   2 MiB, that is mapped by 4 KiB. A range that is zapped because types change leaves remnants: entries that
 *   are not present and say what was there. A fault makes leaves of them again, under the lock for read, at
 *   the level at which they are: tables are made under the lock for write, by the zap.
 * - Types take TYPE_SPLITS tables at most, set aside for them: two ends of each variable range. Tables stay, so
 *   a guest that moves its ranges about uses them up. From then on 2 MiB of mixed types are UC as a whole.
 * - What has a level-1 table keeps it, also when one type would do again: a processor may be walking it. So that
 *   this costs no exit for each 4 KiB, a fault brings back all of the FAULT_AROUND entries about it.
 *
 * A fault that decides to map a page meets a zap (requirement S2.2):
 *
 *      zap, lock for write                    fault
 *      -------------------                    -----
 *        (the reason to zap is stored)        a sample the sequence
 *      1 count up                             b decide by what is stored
 *      2 clear entries                        c lock for read
 *      3 all vCPUs out and flushed            d sequence and count as in a? else not
 *      4 sequence up, count down              e install, unlock
 *
 * e before 1: the zap clears it. Otherwise c comes after 4, and d finds the sequence changed, unless a
 * came after 4 as well; then b saw the reason. The vCPU of the fault is out of the guest all the time, so 3
 * does not wait for it, and it holds the lock for no longer than e takes.
 */
#include "mmu/mmu.h"

#include "core/vm.h"
#include "postern/backend.h"
#include "postern/port.h"
#include "postern/string.h"
#include "x86/apic.h"
#include "x86/msr.h"

#define LEVELS        MMU_LEVELS
#define INDEX_BITS    9
#define ENTRIES       (1u << INDEX_BITS)
#define ADDRESS_LIMIT (1ull << (12 + INDEX_BITS * LEVELS))
#define GIB           (1ull << 30)
#define APIC_PAGE     APIC_BASE_DEFAULT
#define APIC_TABLES   2                          /* that lead to the APIC's page and to no RAM */
#define SPARE_PAGES   (APIC_TABLES + MMU_LEVELS) /* and the twins */
#define TYPE_SPLITS   (2 * MTRR_VARIABLE)
#define FAULT_AROUND  32u

/* A remnant: address, and access in bits that no format calls present. Access is never 0. */
#define REMNANT_ACCESS_SHIFT 9
#define REMNANT_ACCESS       ((u64)(MMU_READ | MMU_WRITE | MMU_EXEC) << REMNANT_ACCESS_SHIFT)

const struct mmu_format mmu_format_long_mode = {
        .table = PTE_P | PTE_W | PTE_U | PTE_A,
        .read = PTE_P,
        .write = PTE_W,
        .execute_disable = PTE_NX,
        .execute_enable = 0,
        /* Accessed and dirty from the start: nobody asks, and the processor need not set them. */
        .leaf = PTE_U | PTE_A | PTE_D,
        /*
         * "Combining Memory Types, MTRRs": the nested entry selects from the host's PAT, as it is after reset
         * (port/metal sees to that), and what the guest's own PAT says is combined with it. That PAT has
         * no WC and no WP. UC is right for the first: a guest that asks for WC by PAT gets it. WT for
         * the second: neither keeps a line that is newer than memory.
         */
        .type = {[MEMORY_TYPE_UC] = PTE_PCD | PTE_PWT,
                 [MEMORY_TYPE_WC] = PTE_PCD | PTE_PWT,
                 [MEMORY_TYPE_WT] = PTE_PWT,
                 [MEMORY_TYPE_WP] = PTE_PWT,
                 [MEMORY_TYPE_WB] = 0},
        .large = PTE_PS,
};

/* Bytes that one entry of a level-`level` table maps. */
static u64 entry_span(u32 level)
{
	return 1ull << (12 + INDEX_BITS * (level - 1));
}

/* How many aligned pieces of `span` bytes [from, to) touches. */
static u64 pieces(u64 from, u64 to, u64 span)
{
	if (from == to)
		return 0;
	return (to - 1) / span - from / span + 1;
}

u32 mmu_pool_pages(u64 memory)
{
	u64 low = min_u64(memory, VM_LOW_RAM_END);
	u64 high = memory - low;
	u64 directories = pieces(0, low, GIB) + pieces(4 * GIB, 4 * GIB + high, GIB);
	u64 top = high ? 4 * GIB + high : low;

	/* Root, its tables, the directories, one page table for the first 2 MiB. */
	return (u32)(1 + pieces(0, top, entry_span(LEVELS)) + directories + 1 + SPARE_PAGES);
}

/* Tables that mapping one region takes, beyond the root. */
static u64 region_pages(const struct vm_region *region)
{
	u64 from = region->gpa.v, to = from + region->size;
	u64 tables = pieces(from, to, entry_span(4)) + pieces(from, to, entry_span(3));

	/* A region that host and guest do not align alike takes 4 KiB pages throughout. */
	if ((from ^ ptr_to_hpa(region->host).v) & (PAGE_SIZE_2M - 1))
		return tables + pieces(from, to, PAGE_SIZE_2M);
	if (from & (PAGE_SIZE_2M - 1))
		tables++;
	if (to & (PAGE_SIZE_2M - 1))
		tables++;
	return tables;
}

static u64 *pool_take(struct mmu *mmu)
{
	u64 *table;

	if (mmu->pool_used == mmu->pool_pages)
		return NULL;
	table = (u64 *)(mmu->pool + mmu->pool_used * PAGE_SIZE);
	mmu->pool_used++;
	return table; /* zeroed by port_alloc(), and never given back */
}

static u64 *split_take(struct mmu *mmu)
{
	if (mmu->splits == TYPE_SPLITS)
		return NULL;
	return (u64 *)(mmu->pool + (mmu->pool_pages + mmu->splits++) * PAGE_SIZE);
}

void mmu_destroy(struct vm *vm)
{
	struct mmu *mmu = &vm->mmu;

	if (!mmu->pool)
		return;
	port_free(mmu->pool, (mmu->pool_pages + TYPE_SPLITS) * PAGE_SIZE);
	mmu->pool = NULL;
	mmu->root = NULL;
}

hpa_t mmu_root(struct vm *vm)
{
	return ptr_to_hpa(vm->mmu.root);
}

hpa_t mmu_root_without_apic(struct vm *vm)
{
	return ptr_to_hpa(vm->mmu.twin[LEVELS - 1]);
}

static u64 entry_get(const u64 *entry)
{
	return atomic64_read_relaxed((const struct atomic64 *)entry);
}

static void entry_set(u64 *entry, u64 value)
{
	atomic64_set_release((struct atomic64 *)entry, value);
}

static bool is_present(const struct mmu *mmu, u64 entry)
{
	return entry & mmu->format->read;
}

static bool is_table(const struct mmu *mmu, u64 entry, u32 level)
{
	return level > 1 && is_present(mmu, entry) && !(entry & mmu->format->large);
}

/* A processor may yet set the accessed bit of what is not present any more: that alone is nothing. */
static bool is_remnant(const struct mmu *mmu, u64 entry)
{
	return !is_present(mmu, entry) && entry & REMNANT_ACCESS;
}

static bool is_something(const struct mmu *mmu, u64 entry)
{
	return is_present(mmu, entry) || is_remnant(mmu, entry);
}

static u64 *table_of(u64 entry)
{
	return hpa_to_ptr(HPA(entry & PTE_ADDR));
}

static u64 *entry_of(u64 *table, u64 gpa, u32 level)
{
	return &table[(gpa >> (12 + INDEX_BITS * (level - 1))) & (ENTRIES - 1)];
}

/*
 * The entry for `gpa` at `*level` or, if a leaf or nothing is in the way, higher up: *level then
 * says where.
 */
static u64 *find_entry(const struct mmu *mmu, u64 gpa, u32 *level)
{
	u64 *table = mmu->root;
	u32 at = LEVELS;

	for (;;) {
		u64 *entry = entry_of(table, gpa, at);
		u64 value = entry_get(entry);

		if (at == *level || !is_table(mmu, value, at)) {
			*level = at;
			return entry;
		}
		table = table_of(value);
		at--;
	}
}

/* --- the two ways to the APIC's page --- */

/*
 * All changes of entries go through here. A table of the path has a twin that follows it, except for the
 * entry that leads on to the APIC's page.
 */
static void change_entry(const struct mmu *mmu, u64 *entry, u64 value)
{
	entry_set(entry, value);
	for (u32 i = 0; i < LEVELS; i++) {
		if (!mmu->twin[i] || ALIGN_DOWN((u64)entry, PAGE_SIZE) != (u64)mmu->path[i])
			continue;
		if (entry != entry_of(mmu->path[i], APIC_PAGE, i + 1))
			entry_set(&mmu->twin[i][entry - mmu->path[i]], value);
	}
}

/*
 * Put `table` in the place of a leaf, of a remnant or of nothing. It translates as that did, so nobody who
 * walks at this moment sees a difference.
 */
static void put_table(struct mmu *mmu, u64 *entry, u32 level, u64 *table)
{
	u64 old = entry_get(entry);

	if (is_present(mmu, old) && level == 2)
		old &= ~mmu->format->large;
	for (u32 i = 0; is_something(mmu, old) && i < ENTRIES; i++)
		entry_set(&table[i], old + i * entry_span(level - 1));
	change_entry(mmu, entry, ptr_to_hpa(table).v | mmu->format->table);
}

/* false: pool exhausted. */
static bool make_table(struct mmu *mmu, u64 *entry, u32 level)
{
	u64 *table = pool_take(mmu);

	if (table)
		put_table(mmu, entry, level, table);
	return table;
}

/* The entry for `gpa` at exactly `level`, making tables down to it. NULL: pool exhausted. */
static u64 *get_entry(struct mmu *mmu, u64 gpa, u32 level)
{
	for (;;) {
		u32 at = level;
		u64 *entry = find_entry(mmu, gpa, &at);

		if (at == level)
			return entry;
		if (!make_table(mmu, entry, at))
			return NULL;
	}
}

/* While nothing is mapped yet. */
static void make_twins(struct mmu *mmu)
{
	u64 *table = mmu->root;

	get_entry(mmu, APIC_PAGE, 1);
	for (u32 i = LEVELS; i--;) {
		mmu->path[i] = table;
		mmu->twin[i] = pool_take(mmu);
		if (i)
			table = table_of(entry_get(entry_of(table, APIC_PAGE, i + 1)));
	}
	for (u32 i = LEVELS; --i;)
		entry_set(entry_of(mmu->twin[i], APIC_PAGE, i + 1),
		          ptr_to_hpa(mmu->twin[i - 1]).v | mmu->format->table);
}

bool mmu_create(struct vm *vm)
{
	struct mmu *mmu = &vm->mmu;
	u64 pages = 1 + 1 + SPARE_PAGES;
	u32 i;

	for (i = 0; i < vm->region_count; i++)
		pages += region_pages(&vm->region[i]);
	pages = max_u64(pages, mmu_pool_pages(vm->config.memory));
	if (vm->rom.size)
		pages += region_pages(&vm->rom);

	memset(mmu, 0, sizeof(*mmu));
	mmu->format = backend_table.mmu_format;
	mmu->pool = port_alloc((pages + TYPE_SPLITS) * PAGE_SIZE, PAGE_SIZE);
	if (!mmu->pool)
		return false;
	mmu->pool_pages = (u32)pages;
	mmu->root = pool_take(mmu);
	make_twins(mmu);
	return true;
}

/* Mixed types: the strongest, which is right for all. */
static u64 make_leaf(const struct mmu_format *format, hpa_t hpa, u32 access, u32 level,
                     enum memory_type type)
{
	u64 entry = hpa.v | format->leaf | format->read;

	entry |= format->type[type == MEMORY_TYPE_MIXED ? MEMORY_TYPE_UC : type];

	entry |= access & MMU_WRITE ? format->write : 0;
	entry |= access & MMU_EXEC ? format->execute_enable : format->execute_disable;
	return level > 1 ? entry | format->large : entry;
}

static u32 leaf_access(const struct mmu_format *format, u64 entry)
{
	u32 access = MMU_READ;

	if (entry & format->write)
		access |= MMU_WRITE;
	if (!(entry & format->execute_disable) &&
	    (entry & format->execute_enable) == format->execute_enable)
		access |= MMU_EXEC;
	return access;
}

static u64 make_remnant(const struct mmu_format *format, u64 leaf)
{
	return (leaf & PTE_ADDR) | (u64)leaf_access(format, leaf) << REMNANT_ACCESS_SHIFT;
}

static u32 entry_access(const struct mmu *mmu, u64 entry)
{
	if (is_remnant(mmu, entry))
		return (u32)((entry & REMNANT_ACCESS) >> REMNANT_ACCESS_SHIFT);
	return leaf_access(mmu->format, entry);
}

/* Whether processors that hold `old` may go on using it when the entry is `new`. */
static bool narrows(const struct mmu *mmu, u64 old, u64 new)
{
	u32 lost;

	if (!is_present(mmu, old))
		return false;
	if (!is_present(mmu, new) || (old & PTE_ADDR) != (new &PTE_ADDR))
		return true;
	lost = leaf_access(mmu->format, old) & ~leaf_access(mmu->format, new);
	return lost != 0;
}

/* Level of the page that maps the start of the range: 2 MiB if it fits and no table is there yet.
 */
static u32 choose_level(const struct mmu *mmu, u64 gpa, u64 hpa, u64 size)
{
	u32 level = 2;
	u64 *entry;

	if ((gpa | hpa) & (PAGE_SIZE_2M - 1) || size < PAGE_SIZE_2M)
		return 1;
	entry = find_entry(mmu, gpa, &level);
	return is_table(mmu, entry_get(entry), level) ? 1 : 2;
}

static bool map_locked(struct vm *vm, u64 gpa, u64 hpa, u64 size, u32 access, bool *narrowed)
{
	struct mmu *mmu = &vm->mmu;

	while (size) {
		u32 level = choose_level(mmu, gpa, hpa, size);
		u64 *entry = get_entry(mmu, gpa, level);
		u64 leaf, span = entry_span(level);

		if (!entry)
			return false;
		leaf = make_leaf(mmu->format, HPA(hpa), access, level,
		                 memory_type_of(vm, gpa, span));
		*narrowed |= narrows(mmu, entry_get(entry), leaf);
		change_entry(mmu, entry, leaf);
		gpa += span;
		hpa += span;
		size -= span;
	}
	return true;
}

static void begin_zap(struct mmu *mmu)
{
	atomic32_set(&mmu->invalidate_count, atomic32_read_relaxed(&mmu->invalidate_count) + 1);
}

/* `narrowed`: some processor may hold a translation that is no longer so. */
static void end_zap(struct vm *vm, bool narrowed)
{
	struct mmu *mmu = &vm->mmu;

	if (narrowed) {
		counter_add(&mmu->counts.remote_flushes, 1);
		vcpu_request_all(vm, VCPU_REQUEST_FLUSH);
	}
	atomic32_set(&mmu->invalidate_seq, atomic32_read_relaxed(&mmu->invalidate_seq) + 1);
	atomic32_set(&mmu->invalidate_count, atomic32_read_relaxed(&mmu->invalidate_count) - 1);
}

bool mmu_map(struct vm *vm, gpa_t gpa, hpa_t hpa, u64 size, u32 access)
{
	struct mmu *mmu = &vm->mmu;
	bool narrowed = false, ok;

	ASSERT(!((gpa.v | hpa.v | size) & ~PAGE_MASK));
	ASSERT(access & MMU_READ);
	if (gpa.v >= ADDRESS_LIMIT || size > ADDRESS_LIMIT - gpa.v)
		return false;

	write_lock(&mmu->lock);
	begin_zap(mmu);
	ok = map_locked(vm, gpa.v, hpa.v, size, access, &narrowed);
	end_zap(vm, narrowed);
	write_unlock(&mmu->lock);
	return ok;
}

static bool unmap_locked(struct mmu *mmu, u64 gpa, u64 end, bool *narrowed)
{
	bool ok = true;

	while (gpa < end) {
		u32 level = 1;
		u64 *entry = find_entry(mmu, gpa, &level);
		u64 span = entry_span(level);
		bool whole = !(gpa & (span - 1)) && end - gpa >= span;
		u64 old = entry_get(entry);

		/* A large page that is to go in part only becomes small pages, and is looked at
		 * again. */
		if (is_something(mmu, old) && !whole) {
			if (make_table(mmu, entry, level))
				continue;
			ok = false;
		} else if (is_something(mmu, old)) {
			change_entry(mmu, entry, 0);
			*narrowed |= is_present(mmu, old);
		}
		gpa = ALIGN_DOWN(gpa, span) + span;
	}
	return ok;
}

/* Whole pages only: what the range covers in part goes, too. */
static void retire_locked(struct vm *vm, u64 gpa, u64 end, bool *narrowed)
{
	struct mmu *mmu = &vm->mmu;

	while (gpa < end) {
		u32 level = 1;
		u64 *entry = find_entry(mmu, gpa, &level);
		u64 old = entry_get(entry), span = entry_span(level);
		u64 *table = NULL;

		gpa = ALIGN_DOWN(gpa, span);
		if (is_something(mmu, old) && level == 2 &&
		    memory_type_of(vm, gpa, span) == MEMORY_TYPE_MIXED)
			table = split_take(mmu);
		if (table) {
			put_table(mmu, entry, level, table);
			continue;
		}
		if (is_present(mmu, old) && gpa != APIC_PAGE) {
			change_entry(mmu, entry, make_remnant(mmu->format, old));
			*narrowed = true;
		}
		gpa += span;
	}
}

/* The one way to take something away. `for_good`, or until the next fault. */
static bool zap(struct vm *vm, gpa_t gpa, u64 size, bool for_good)
{
	struct mmu *mmu = &vm->mmu;
	bool narrowed = false, ok = true;

	ASSERT(!((gpa.v | size) & ~PAGE_MASK));
	if (gpa.v >= ADDRESS_LIMIT)
		return true;
	size = min_u64(size, ADDRESS_LIMIT - gpa.v);

	write_lock(&mmu->lock);
	counter_add(&mmu->counts.zaps, 1);
	begin_zap(mmu);
	if (for_good)
		ok = unmap_locked(mmu, gpa.v, gpa.v + size, &narrowed);
	else
		retire_locked(vm, gpa.v, gpa.v + size, &narrowed);
	end_zap(vm, narrowed);
	write_unlock(&mmu->lock);
	return ok;
}

bool mmu_zap(struct vm *vm, gpa_t gpa, u64 size)
{
	return zap(vm, gpa, size, true);
}

void mmu_zap_until_fault(struct vm *vm, gpa_t gpa, u64 size)
{
	zap(vm, gpa, size, false);
}

/* --- faults --- */

u32 mmu_invalidate_seq(const struct vm *vm)
{
	return atomic32_read(&vm->mmu.invalidate_seq);
}

/*
 * Two faults on one page install the same; whose entry stays does not matter. A page in a part that has no
 * table yet is mapped by mmu_map(), not from here: tables are made under the lock for write.
 */
static bool install_locked(struct mmu *mmu, u64 gpa, u64 hpa, u32 access)
{
	u32 level = 1;
	u64 *entry = find_entry(mmu, gpa, &level);
	u64 old = entry_get(entry);

	if (level != 1 || is_present(mmu, old))
		return level == 1;
	change_entry(mmu, entry, make_leaf(mmu->format, HPA(hpa), access, 1, MEMORY_TYPE_WB));
	counter_add_shared(&mmu->counts.installs, 1);
	return true;
}

/* Lock for read. false: a zap came since `seq` was taken. */
static bool still_holds(struct mmu *mmu, u32 seq)
{
	if (!atomic32_read(&mmu->invalidate_count) && atomic32_read(&mmu->invalidate_seq) == seq)
		return true;
	counter_add_shared(&mmu->counts.fault_retries, 1);
	return false;
}

bool mmu_install(struct vm *vm, gpa_t gpa, hpa_t hpa, u32 access, u32 seq)
{
	struct mmu *mmu = &vm->mmu;
	bool ok;

	ASSERT(!((gpa.v | hpa.v) & ~PAGE_MASK) && gpa.v < ADDRESS_LIMIT);
	read_lock(&mmu->lock);
	ok = still_holds(mmu, seq);
	if (ok)
		ASSERT(install_locked(mmu, gpa.v, hpa.v, access));
	read_unlock(&mmu->lock);
	return ok;
}

/* Remnants about a fault, and the leaves that they are to become. */
struct refault {
	u64 *entry[FAULT_AROUND];
	u64 leaf[FAULT_AROUND];
	u32 count;
};

/* No lock: tables stay, and what has changed until there is one is noticed by the sequence. */
static void decide_refault(struct vm *vm, u64 gpa, u32 level, struct refault *refault)
{
	struct mmu *mmu = &vm->mmu;
	u64 span = entry_span(level);

	gpa = ALIGN_DOWN(gpa, span * FAULT_AROUND);
	refault->count = 0;
	for (u32 i = 0; i < FAULT_AROUND; i++, gpa += span) {
		u32 at = level;
		u64 *entry = find_entry(mmu, gpa, &at);
		u64 old = entry_get(entry);

		if (at != level || !is_remnant(mmu, old))
			continue;
		refault->entry[refault->count] = entry;
		refault->leaf[refault->count++] =
		        make_leaf(mmu->format, HPA(old & PTE_ADDR), entry_access(mmu, old), level,
		                  memory_type_of(vm, gpa, span));
	}
}

bool mmu_fault(struct vm *vm, gpa_t gpa, u32 access)
{
	struct mmu *mmu = &vm->mmu;
	struct refault refault;
	u32 seq, level = 1;
	u64 value;

	if (gpa.v >= ADDRESS_LIMIT || (gpa.v & PAGE_MASK) == APIC_PAGE)
		return false;
	/* The sequence first: what is decided by older types is void after the zap. */
	seq = mmu_invalidate_seq(vm);
	value = entry_get(find_entry(mmu, gpa.v, &level));
	if (!is_something(mmu, value) || !(entry_access(mmu, value) & access))
		return false;
	if (is_present(mmu, value))
		return true;
	decide_refault(vm, gpa.v, level, &refault);
	read_lock(&mmu->lock);
	if (still_holds(mmu, seq)) {
		for (u32 i = 0; i < refault.count; i++)
			change_entry(mmu, refault.entry[i], refault.leaf[i]);
		counter_add_shared(&mmu->counts.installs, refault.count);
	}
	read_unlock(&mmu->lock);
	return true;
}

bool mmu_lookup(struct vm *vm, gpa_t gpa, hpa_t *hpa, u32 *access)
{
	struct mmu *mmu = &vm->mmu;
	u64 entry, offset;
	u32 level = 1;

	if (gpa.v >= ADDRESS_LIMIT)
		return false;
	read_lock(&mmu->lock);
	entry = entry_get(find_entry(mmu, gpa.v, &level));
	read_unlock(&mmu->lock);
	if (!is_something(mmu, entry))
		return false;
	offset = entry_span(level) - 1;
	*hpa = HPA((entry & PTE_ADDR & ~offset) | (gpa.v & offset));
	*access = entry_access(mmu, entry);
	return true;
}
