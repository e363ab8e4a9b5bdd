/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an IPI costs that AVIC's microcode sends, in instructions, by the number of entries in the
 * physical ID table, and what memory the tables take.
 *
 * Counted as bench/trap.h says. The microcode is compiled as it is for the image, without the explorer's hooks, and
 * so is bare_send() beside it: what the processor has to do to memory and to another processor for such an IPI, and nothing
 * that makes it AVIC: no check, no mode, no exit, no counting.
 *
 * Output: one line "avic KIND ENTRIES FIGURE" each.
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench/avic.h"
#include "bench/trap.h"
#include "cpu_model/avic.h"
#include "postern/port.h"
#include "x86/msr.h"

#define VECTOR  0x61
#define HOST_ID 0x25u
#define MSR_ICR (MSR_X2APIC_FIRST + APIC_ICR / 16)
#define PAGES   (2 + (AVIC_X2APIC_EXT_MAX + 1) / AVIC_PHYSICAL_PER_PAGE)

enum kind {
	KIND_NOTHING, /* what the counting itself executes */
	KIND_BARE,
	KIND_PHYSICAL,
	KIND_LOGICAL,
	KIND_WRMSR,
	KIND_COUNT
};

static const char *const names[KIND_COUNT] = {
        [KIND_BARE] = "bare",
        [KIND_PHYSICAL] = "send",
        [KIND_LOGICAL] = "send-logical",
        [KIND_WRMSR] = "wrmsr",
};

static u8 memory[PAGES][PAGE_SIZE] __aligned(4096);
static struct avic avic;
static volatile u32 rung;

static void on_ring(void *context __unused, u32 host_id)
{
	rung = host_id;
}

/* --- the sequence that a send is measured by --- */

static void bare_send(const struct avic *a, u32 index, u32 vector)
{
	u8 *page, *first;
	u64 entry;

	if (index > a->max_index)
		return;
	entry = atomic64_read(&a->ids[index]);
	if (!(entry & AVIC_PHYSICAL_VALID) || (entry & AVIC_PHYSICAL_PAGE) < a->memory.start ||
	    (entry & AVIC_PHYSICAL_PAGE) >= a->memory.end)
		return;
	page = hpa_to_ptr(HPA(entry & AVIC_PHYSICAL_PAGE));
	first = page + vector / 32 * 16;
	if (atomic32_read_relaxed(avic_word(first, APIC_TMR)) >> vector % 32 & 1)
		atomic32_fetch_and(avic_word(first, APIC_TMR), ~BIT(vector % 32));
	atomic32_fetch_or(avic_word(first, APIC_IRR), BIT(vector % 32));
	entry = atomic64_read(&a->ids[index]);
	if (entry & AVIC_PHYSICAL_RUNNING)
		a->doorbell(a->context, (u32)(entry & AVIC_PHYSICAL_HOST_ID));
}

/* Called as what is compared with it: compiled for any arguments. */
static void (*volatile const bare)(const struct avic *a, u32 index, u32 vector) = bare_send;

/* --- counting --- */

static void do_nothing(u32 index __unused)
{
}

static void do_bare(u32 index)
{
	bare(&avic, index, VECTOR);
}

static void do_physical(u32 index)
{
	avic_send(&avic, VECTOR, index);
}

static void do_logical(u32 index)
{
	avic_send(&avic, VECTOR | APIC_DEST_LOGICAL, (index >> 4) << 16 | BIT(index & 15));
}

static void do_wrmsr(u32 index)
{
	avic_msr_write(&avic, MSR_ICR, (u64)index << 32 | VECTOR);
}

static void (*volatile const acts[KIND_COUNT])(u32 index) = {
        [KIND_NOTHING] = do_nothing, [KIND_BARE] = do_bare,   [KIND_PHYSICAL] = do_physical,
        [KIND_LOGICAL] = do_logical, [KIND_WRMSR] = do_wrmsr,
};

static void set_up(u32 entries)
{
	struct atomic64 *ids = (void *)memory[2];
	struct vmcb_control control = {
	        .int_ctl = SVM_AVIC_ENABLE | SVM_X2AVIC_ENABLE,
	        .np_control = SVM_NP_ENABLE,
	        .avic_backing_page = ptr_to_hpa(memory[0]).v,
	        .avic_physical_table = ptr_to_hpa(ids).v | (entries - 1),
	};

	avic = (struct avic){
	        .switches = AVIC_SWITCH_DEFAULTS,
	        .memory = {ptr_to_hpa(memory).v, ptr_to_hpa(memory).v + sizeof(memory)},
	        .doorbell = on_ring};
	for (u32 i = 0; i < entries; i++)
		ids[i].v = AVIC_PHYSICAL_VALID | AVIC_PHYSICAL_RUNNING | HOST_ID |
		           ptr_to_hpa(memory[i == entries - 1]).v;
	if (avic_check(&control, &avic.memory, AVIC_X2APIC_EXT_MAX))
		abort();
	avic_enter(&avic, &control);
}

/* To the last entry, for the first time; the request and the doorbell have to be there. */
static u64 measure(enum kind kind, u32 entries)
{
	struct atomic32 *irr = avic_word(memory[1], APIC_IRR + VECTOR / 32 * 16);
	u64 figure;

	set_up(entries);
	irr->v = 0;
	rung = 0;
	figure = trap_count(acts[kind], entries - 1);
	if (kind != KIND_NOTHING && (irr->v != BIT(VECTOR % 32) || rung != HOST_ID)) {
		fprintf(stderr, "avic: %s did not arrive\n", names[kind]);
		exit(1);
	}
	return figure;
}

int main(void)
{
	if (!trap_begin()) {
		perror("avic");
		return 1;
	}
	for (u32 entries = 2; entries <= AVIC_X2APIC_EXT_MAX + 1; entries *= 2) {
		u64 around = measure(KIND_NOTHING, entries);

		for (u32 kind = KIND_BARE; kind < KIND_COUNT; kind++)
			printf("avic %s %u %llu\n", names[kind], entries,
			       (unsigned long long)(measure(kind, entries) - around));
		printf("avic bytes %u %llu\n", entries,
		       (unsigned long long)bench_avic_bytes(entries));
	}
	return 0;
}
