/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tries to reach the memory of another VM that runs the same guest, with all of its vCPUs at once:
 * each fills its share of the memory with a pattern that no other VM has, then reads and writes all
 * over the rest of the guest-physical address space, and looks at its share again. Nothing but ones
 * may be found where there is no memory, nobody else's pattern anywhere, and no word of the share may
 * change. The VMs must differ in their size of memory, which is what tells the patterns apart.
 * Ends: poweroff, status 0.
 */
#include "smp.h"

#define ROUNDS     3
#define MIB        (1ul << 20)
#define STEP       (2 * MIB)
#define LOW_END    0xa0000ul
#define HOLE_END   0xc0000ul
#define DEVICES    0xfe000000ul /* I/O APIC, local APIC, firmware */
#define FOUR_GIB   (1ul << 32)
#define DENSE_END  (512 * MIB) /* the memory of a small machine: every page */
#define PLANTED    0x18000ul   /* nobody else's use */
#define SHARE_FROM (4 * MIB)   /* below it: this image */

#define PAGE_PRESENT 0x03ul /* and writable */
#define PAGE_LARGE   0x80ul
#define WINDOW_BASE  (1ul << 39) /* the second entry of the level-4 table */

/* What each vCPU has to say; written by that one alone, read when it is done. */
struct result {
	volatile uint32_t done;
	uint64_t probes;
	uint64_t seen;     /* words that are not ones where there is no memory */
	uint64_t foreign;  /* another VM's pattern, anywhere */
	uint64_t changed;  /* words of the share that are not as they were written */
	uint64_t first_at; /* address of the first of these */
};

static struct result results[SMP_MAX];
static unsigned int vcpu_count;
static uint64_t memory_end;
static uint64_t window_level3[512] __attribute__((aligned(4096)));
static uint64_t window_level2[512] __attribute__((aligned(4096)));

/* --- addresses beyond 4 GiB: a window of 2 MiB for each vCPU --- */

static void open_windows(void)
{
	uint64_t *level4;

	__asm__ volatile("mov %%cr3, %0" : "=r"(level4));
	level4[WINDOW_BASE >> 39] = (uintptr_t)window_level3 | PAGE_PRESENT;
	window_level3[0] = (uintptr_t)window_level2 | PAGE_PRESENT;
}

static volatile uint64_t *at_address(unsigned int index, uint64_t gpa)
{
	uint64_t linear = WINDOW_BASE + index * STEP;

	if (gpa < FOUR_GIB)
		return (volatile uint64_t *)gpa;
	*(volatile uint64_t *)&window_level2[index] =
	        (gpa & ~(STEP - 1)) | PAGE_PRESENT | PAGE_LARGE;
	__asm__ volatile("invlpg (%0)" : : "r"(linear) : "memory");
	return (volatile uint64_t *)(linear + (gpa & (STEP - 1)));
}

static unsigned int physical_bits(void)
{
	uint32_t eax = 0x80000008, ebx, ecx = 0, edx;

	__asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
	return eax & 0xff;
}

/* --- patterns --- */

/* In the top 16 bits of every word. Kept inverted, so that no code or data looks like a pattern. */
static const volatile uint64_t inverted_mark = ~0x5afeul;

static uint64_t pattern(uint64_t gpa, unsigned int round)
{
	return ~inverted_mark << 48 | memory_end / STEP << 36 | (uint64_t)round << 32 | gpa >> 3;
}

static bool is_foreign(uint64_t value)
{
	return value >> 48 == (~inverted_mark & 0xffff) &&
	       (value >> 36 & 0xfff) != memory_end / STEP;
}

static void note(struct result *result, uint64_t *counter, uint64_t gpa)
{
	if (!result->seen && !result->foreign && !result->changed)
		result->first_at = gpa;
	++*counter;
}

/* The first 2 MiB that do not keep what is written there. */
static uint64_t find_memory_end(void)
{
	uint64_t gpa = STEP;

	for (; gpa < DEVICES; gpa += STEP) {
		volatile uint64_t *word = (volatile uint64_t *)gpa;

		*word = 0x123456789abcdef0;
		if (*word != 0x123456789abcdef0)
			break;
	}
	return gpa;
}

/* --- one vCPU's work --- */

static void probe(struct result *result, unsigned int index, uint64_t gpa, bool write)
{
	volatile uint64_t *word = at_address(index, gpa);
	uint64_t value = *word;

	result->probes++;
	if (is_foreign(value))
		note(result, &result->foreign, gpa);
	else if (value != ~0ul)
		note(result, &result->seen, gpa);
	if (!write)
		return;
	*word = pattern(gpa, 0);
	if (*word != ~0ul)
		note(result, &result->seen, gpa);
}

/* Where there is nothing, this vCPU's part of it, another one in each round. */
static void probe_nothing(struct result *result, unsigned int index, unsigned int round)
{
	unsigned int parts = vcpu_count * ROUNDS, part = round * vcpu_count + index;
	uint64_t gpa;

	for (gpa = LOW_END + index * 4096ul; gpa < HOLE_END; gpa += vcpu_count * 4096ul)
		probe(result, index, gpa, true);
	for (gpa = memory_end + part * 4096ul; gpa < DENSE_END; gpa += parts * 4096ul)
		probe(result, index, gpa, !(gpa & 0xf000));
	for (gpa = DENSE_END + part * STEP; gpa < DEVICES; gpa += parts * STEP)
		probe(result, index, gpa, true);
	for (gpa = FOUR_GIB + part * 32 * MIB; gpa < 4 * FOUR_GIB; gpa += parts * 32 * MIB)
		probe(result, index, gpa, true);
	for (unsigned int bit = 34 + index; bit < physical_bits(); bit += vcpu_count) {
		probe(result, index, 1ul << bit, true);
		probe(result, index, (1ul << bit) - 8, true);
		/* As VM 0's or VM 1's memory, if the upper bits were lost. */
		probe(result, index, (1ul << bit) + SHARE_FROM + 64 * MIB, true);
	}
}

static void look_at_low_memory(struct result *result)
{
	for (uint64_t gpa = 0x16000; gpa < SHARE_FROM; gpa += 8) {
		if (gpa == LOW_END)
			gpa = HOLE_END;
		if (is_foreign(*(volatile uint64_t *)gpa))
			note(result, &result->foreign, gpa);
	}
}

static void work(unsigned int index)
{
	struct result *result = &results[index];
	uint64_t share = (memory_end - SHARE_FROM) / vcpu_count & ~4095ul;
	uint64_t from = SHARE_FROM + index * share;

	for (unsigned int round = 0; round < ROUNDS; round++) {
		for (uint64_t gpa = from; gpa < from + share; gpa += 8)
			*(volatile uint64_t *)gpa = pattern(gpa, round);
		probe_nothing(result, index, round);
		for (uint64_t gpa = from; gpa < from + share; gpa += 8) {
			uint64_t value = *(volatile uint64_t *)gpa;

			if (is_foreign(value))
				note(result, &result->foreign, gpa);
			else if (value != pattern(gpa, round))
				note(result, &result->changed, gpa);
		}
		look_at_low_memory(result);
	}
	__atomic_store_n(&result->done, 1, __ATOMIC_RELEASE);
}

static void work_as(unsigned int index)
{
	if (index < vcpu_count)
		work(index);
}

/* The search itself: it finds a pattern of another VM's if there is one. */
static bool finds_what_is_planted(void)
{
	volatile uint64_t *word = (volatile uint64_t *)PLANTED;
	struct result result = {0};

	*word = pattern(PLANTED, 0) ^ 1ul << 36;
	look_at_low_memory(&result);
	*word = pattern(PLANTED, 0);
	look_at_low_memory(&result);
	return result.foreign == 1 && result.first_at == PLANTED;
}

static void print_count(const char *what, uint64_t value)
{
	micro_print(what);
	micro_print_hex(value);
	micro_print("\n");
}

int micro_main(unsigned int vcpus)
{
	struct result sum = {0};

	vcpu_count = vcpus < SMP_MAX ? vcpus : SMP_MAX;
	memory_end = find_memory_end();
	micro_check(finds_what_is_planted(), "a planted pattern is found");
	open_windows();
	smp_set_up_gates();
	smp_apic_enable(false);
	smp_start(vcpu_count, work_as);
	work(0);
	for (unsigned int i = 0; i < vcpu_count; i++) {
		while (!__atomic_load_n(&results[i].done, __ATOMIC_ACQUIRE))
			__asm__ volatile("pause");
		sum.done++;
		sum.probes += results[i].probes;
		sum.seen += results[i].seen;
		sum.foreign += results[i].foreign;
		sum.changed += results[i].changed;
		if (results[i].seen | results[i].foreign | results[i].changed)
			print_count("first found at ", results[i].first_at);
	}
	print_count("memory ", memory_end);
	print_count("vcpus ", sum.done);
	print_count("probes ", sum.probes);
	micro_check(sum.done == vcpus, "all vCPUs have tried");
	micro_check(sum.probes > 1000, "many addresses were tried");
	micro_check(!sum.seen, "nothing but ones where there is no memory");
	micro_check(!sum.foreign, "no other VM's pattern anywhere");
	micro_check(!sum.changed, "the own pattern is as it was written");
	return micro_failures();
}
