/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One arena holds all mutable state of a machine, so that it can be thrown away, copied and put
 * back. A host-physical address is an offset into it, from ARENA_HPA on: address 0 and small
 * integers are never valid, and a pointer mistaken for an address is caught.
 *
 * Two zones. The small one holds everything but guest RAM and is copied whole by a snapshot; of the
 * large one only the pages that are not zero. Memory is handed out once and never again, with a
 * poisoned gap after it, so that AddressSanitizer sees overruns and uses after port_free().
 */
#include "posix.h"
#include "postern/port.h"
#include "sanitize.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ARENA_HPA   0x40000000ull
#define ARENA_SMALL (64ull << 20)
#define ARENA_LARGE (1ull << 30)
#define ARENA_SIZE  (ARENA_SMALL + ARENA_LARGE)
#define ARENA_GAP   64u

struct arena_page {
	u64 offset;
	u8 data[4096];
};

static struct {
	u8 *base;
	u64 small_used, large_used;
	u64 live;
	u64 allocations; /* so far; never goes back */
	pthread_mutex_t lock;
	/* the snapshot */
	u8 *saved_small;
	u64 saved_small_used, saved_large_used, saved_live;
	struct arena_page *saved_page;
	u64 saved_pages;
} arena = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void map(void)
{
	if (arena.base)
		return;
	arena.base = mmap(NULL, ARENA_SIZE + PAGE_SIZE_2M, PROT_READ | PROT_WRITE,
	                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (arena.base == MAP_FAILED) {
		perror("mmap");
		abort();
	}
	arena.base = (u8 *)ALIGN_UP((uintptr_t)arena.base, PAGE_SIZE_2M);
	arena.large_used = ARENA_SMALL;
	sanitize_poison(arena.base, ARENA_SIZE);
}

/* What has not been handed out is poisoned already: all of it would take longer than most tests. */
void arena_reset(void)
{
	map();
	sanitize_poison(arena.base, arena.small_used);
	sanitize_poison(arena.base + ARENA_SMALL, arena.large_used - ARENA_SMALL);
	if (madvise(arena.base, ARENA_SIZE, MADV_DONTNEED) != 0)
		abort();
	arena.live = 0;
	arena.large_used = ARENA_SMALL;
	arena.small_used = ALIGN_UP(sizeof(struct machine), PAGE_SIZE);
	sanitize_unpoison(arena.base, arena.small_used);
}

struct machine *port_machine(void)
{
	return (struct machine *)(void *)arena.base;
}

void *port_alloc(u64 size, u64 align)
{
	bool large = size >= PAGE_SIZE_2M;
	u64 *used = large ? &arena.large_used : &arena.small_used;
	u64 limit = large ? ARENA_SIZE : ARENA_SMALL;
	void *p = NULL;
	u64 start;

	pthread_mutex_lock(&arena.lock);
	start = ALIGN_UP(*used, align < 16 ? 16 : align);
	if (size && start <= limit && size <= limit - start) {
		p = arena.base + start;
		*used = min_u64(start + ALIGN_UP(size, 16) + ARENA_GAP, limit);
		arena.live += size;
		arena.allocations++;
		sanitize_unpoison(p, size);
	}
	pthread_mutex_unlock(&arena.lock);
	return p;
}

void port_free(void *p, u64 size)
{
	if (!p)
		return;
	pthread_mutex_lock(&arena.lock);
	arena.live -= size;
	sanitize_poison(p, size);
	pthread_mutex_unlock(&arena.lock);
}

u64 port_memory_available(void)
{
	return ARENA_SIZE - ALIGN_UP(arena.large_used, PAGE_SIZE_2M);
}

u64 arena_live_bytes(void)
{
	return arena.live;
}

u64 arena_allocations(void)
{
	return arena.allocations;
}

bool arena_contains(const volatile void *p)
{
	return (const volatile u8 *)p >= arena.base &&
	       (const volatile u8 *)p < arena.base + ARENA_SIZE;
}

void *hpa_to_ptr(hpa_t hpa)
{
	if (hpa.v < ARENA_HPA || hpa.v >= ARENA_HPA + ARENA_SIZE)
		port_panic("host-physical address %llx outside of memory",
		           (unsigned long long)hpa.v);
	return arena.base + (hpa.v - ARENA_HPA);
}

void arena_range(u64 *start, u64 *end)
{
	*start = ARENA_HPA;
	*end = ARENA_HPA + ARENA_SIZE;
}

hpa_t ptr_to_hpa(const void *p)
{
	if (!arena_contains(p))
		port_panic("pointer %p is not memory of the machine", p);
	return HPA((u64)((const u8 *)p - arena.base) + ARENA_HPA);
}

/* --- snapshots; the poison stays as it is: nothing is allocated while one is in use --- */

__attribute__((no_sanitize("address"))) static bool page_is_zero(const u64 *page)
{
	for (u32 i = 0; i < PAGE_SIZE / sizeof(u64); i++)
		if (page[i])
			return false;
	return true;
}

/* memcpy() that may cross poisoned gaps: not by a function that AddressSanitizer knows. */
static void copy_words(void *to, const void *from, u64 size)
{
	u64 words = size / sizeof(u64);

	__asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
}

void arena_snapshot(void)
{
	u64 small = ALIGN_UP(arena.small_used, PAGE_SIZE);

	free(arena.saved_small);
	free(arena.saved_page);
	arena.saved_page = NULL;
	arena.saved_pages = 0;
	arena.saved_small = malloc(small);
	if (!arena.saved_small)
		abort();
	copy_words(arena.saved_small, arena.base, small);
	for (u64 at = ARENA_SMALL; at < arena.large_used; at += PAGE_SIZE) {
		struct arena_page *page;

		if (page_is_zero((u64 *)(void *)(arena.base + at)))
			continue;
		arena.saved_page = realloc(arena.saved_page,
		                           (arena.saved_pages + 1) * sizeof(*arena.saved_page));
		if (!arena.saved_page)
			abort();
		page = &arena.saved_page[arena.saved_pages++];
		page->offset = at;
		copy_words(page->data, arena.base + at, PAGE_SIZE);
	}
	arena.saved_small_used = arena.small_used;
	arena.saved_large_used = arena.large_used;
	arena.saved_live = arena.live;
}

void arena_restore(void)
{
	u64 grown = arena.small_used - arena.saved_small_used;

	if (arena.large_used != arena.saved_large_used)
		abort(); /* guest memory, on a path that must not */
	/* What was allocated since (by a processor's start, say) is given out anew, as zeroes. */
	sanitize_unpoison(arena.base + arena.saved_small_used, grown);
	memset(arena.base + arena.saved_small_used, 0, grown);
	sanitize_poison(arena.base + arena.saved_small_used, grown);
	arena.small_used = arena.saved_small_used;
	copy_words(arena.base, arena.saved_small, ALIGN_UP(arena.saved_small_used, PAGE_SIZE));
	if (madvise(arena.base + ARENA_SMALL, ALIGN_UP(arena.large_used, PAGE_SIZE) - ARENA_SMALL,
	            MADV_DONTNEED) != 0)
		abort();
	for (u64 i = 0; i < arena.saved_pages; i++)
		copy_words(arena.base + arena.saved_page[i].offset, arena.saved_page[i].data,
		           PAGE_SIZE);
	arena.live = arena.saved_live;
}
