/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * All free memory, as a list of blocks in order of address, each described by a header at its own
 * start. First fit keeps small things together at the low end, and neighbours are joined when
 * they are freed, so that large pieces stay whole. Allocation happens only while machine, VMs and
 * vCPUs are created: a walk of the list is good enough.
 *
 * Memory is zeroed when it is handed out, by looking first: under an emulator or another hypervisor
 * most of it has never been written, and stays unallocated there as long as it is only read.
 *
 * Never handed out: the first MiB, the image, the boot files, and whatever the memory map does not
 * call usable.
 */
#include "metal.h"

#define GRANULE        64ull /* of sizes and addresses: a cache line, and room for the header */
#define SIZE_MAX_ALLOC BIT64(46)

struct free_block {
	u64 size;
	struct free_block *next;
};
_Static_assert(sizeof(struct free_block) <= GRANULE, "a header fits into the smallest block");

static struct spinlock memory_lock;    /* protects the list; no lock is taken inside */
static struct free_block *memory_free; /* [memory_lock] */

void *hpa_to_ptr(hpa_t hpa)
{
	return (void *)hpa.v;
}

hpa_t ptr_to_hpa(const void *p)
{
	return HPA((uintptr_t)p);
}

/* Cut [start, start + size) out of the block that *link points to. */
static void take(struct free_block **link, u64 start, u64 size)
{
	struct free_block *block = *link;
	u64 begin = (uintptr_t)block, end = begin + block->size;
	struct free_block *next = block->next;

	if (start + size < end) {
		struct free_block *after = (void *)(start + size);

		after->size = end - (start + size);
		after->next = next;
		next = after;
	}
	if (start > begin) {
		block->size = start - begin;
		block->next = next;
	} else {
		*link = next;
	}
}

/* `size` is a multiple of GRANULE. */
static void *zero(void *p, u64 size)
{
	u64 *line = p, *end = line + size / sizeof(u64);

	for (; line < end; line += GRANULE / sizeof(u64)) {
		if (line[0] | line[1] | line[2] | line[3] | line[4] | line[5] | line[6] | line[7])
			memset(line, 0, GRANULE);
	}
	return p;
}

void *port_alloc(u64 size, u64 align)
{
	struct free_block **link;
	u64 start = 0;

	ASSERT(align && !(align & (align - 1)));
	if (!size || size > SIZE_MAX_ALLOC)
		return NULL;
	size = ALIGN_UP(size, GRANULE);
	align = max_u64(align, GRANULE);

	spin_lock(&memory_lock);
	for (link = &memory_free; *link; link = &(*link)->next) {
		u64 begin = (uintptr_t)*link, end = begin + (*link)->size;

		start = ALIGN_UP(begin, align);
		if (start >= begin && start < end && end - start >= size)
			break;
	}
	if (*link)
		take(link, start, size);
	else
		start = 0;
	spin_unlock(&memory_lock);

	return start ? zero((void *)start, size) : NULL;
}

void port_free(void *p, u64 size)
{
	struct free_block *block = p, *prev = NULL, *next;

	if (!p)
		return;
	size = ALIGN_UP(size, GRANULE);
	ASSERT(size && !((uintptr_t)p & (GRANULE - 1)));

	spin_lock(&memory_lock);
	for (next = memory_free; next && next < block; next = next->next)
		prev = next;
	/* Freed twice, or with another size than it was allocated with. */
	ASSERT(!prev || (u8 *)prev + prev->size <= (u8 *)block);
	ASSERT(!next || (u8 *)block + size <= (u8 *)next);

	block->size = size;
	block->next = next;
	if (next && (u8 *)block + size == (u8 *)next) {
		block->size += next->size;
		block->next = next->next;
	}
	if (prev && (u8 *)prev + prev->size == (u8 *)block) {
		prev->size += block->size;
		prev->next = block->next;
	} else if (prev) {
		prev->next = block;
	} else {
		memory_free = block;
	}
	spin_unlock(&memory_lock);
}

u64 port_memory_available(void)
{
	u64 most = 0;

	spin_lock(&memory_lock);
	for (struct free_block *block = memory_free; block; block = block->next) {
		u64 start = ALIGN_UP((uintptr_t)block, PAGE_SIZE_2M);
		u64 end = (uintptr_t)block + block->size;

		if (end > start)
			most = max_u64(most, ALIGN_DOWN(end - start, PAGE_SIZE_2M));
	}
	spin_unlock(&memory_lock);
	return most;
}

/* Of all that must not be handed out: what begins lowest within [start, end). */
static bool first_hole(u64 start, u64 end, struct boot_range *hole)
{
	struct boot_range candidate;
	u32 ranges = boot_info.range_count, files = boot_info.file_count;
	bool found = false;

	for (u32 i = 0; i < ranges + files + 2; i++) {
		if (i < ranges) {
			candidate = boot_info.range[i];
			if (candidate.usable)
				continue;
		} else if (i < ranges + files) {
			candidate.start = boot_info.file[i - ranges].start;
			candidate.end = candidate.start + boot_info.file[i - ranges].size;
		} else if (i == ranges + files) {
			candidate.start = 0;
			candidate.end = 1 << 20;
		} else {
			candidate.start = (uintptr_t)image_start;
			candidate.end = (uintptr_t)image_end;
		}
		if (candidate.start >= end || candidate.end <= start)
			continue;
		if (!found || candidate.start < hole->start)
			*hole = candidate;
		found = true;
	}
	return found;
}

static void free_pages(u64 start, u64 end)
{
	start = ALIGN_UP(start, PAGE_SIZE);
	end = ALIGN_DOWN(end, PAGE_SIZE);
	if (start < end)
		port_free((void *)start, end - start);
}

void memory_add(u64 start, u64 end)
{
	struct boot_range hole = {0};

	for (u32 i = 0; i < boot_info.range_count; i++) {
		u64 at = max_u64(boot_info.range[i].start, start);
		u64 stop = min_u64(boot_info.range[i].end, end);

		if (!boot_info.range[i].usable)
			continue;
		while (at < stop && first_hole(at, stop, &hole)) {
			if (hole.start > at)
				free_pages(at, hole.start);
			at = hole.end;
		}
		if (at < stop)
			free_pages(at, stop);
	}
}
