/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The avic fuzzer: AVIC's microcode over backing pages and tables of which anything may be in them.
 *
 * avic.c      the operations that an input consists of, and what is compared after each
 * avic_ref.c  the reference: the same operations by the manual's words, on a memory of its own,
 *             without the code under test
 *
 * Host-physical memory is PAGES backing pages, the physical ID table of eight pages, and the logical
 * one. What the microcode has not been told of is poisoned for AddressSanitizer: entries beyond the
 * maximum index, what no logical ID reaches, and a page behind its last register.
 */
#ifndef TESTS_FUZZ_AVIC_FUZZ_H
#define TESTS_FUZZ_AVIC_FUZZ_H

#include "cpu_model/avic.h"
#include "tests/fuzz/fuzz.h"

#define CPUS         3 /* processors with a guest under VMRUN; that of `c` has page c or c + CPUS */
#define PAGES        8
#define TABLE_PAGE   PAGES /* of the physical ID table, the first */
#define TABLE_PAGES  8
#define LOGICAL_PAGE (TABLE_PAGE + TABLE_PAGES)
#define MEMORY_PAGES (LOGICAL_PAGE + 1)
#define MEMORY_BASE  0x3fff00000ull
#define MEMORY_END   (MEMORY_BASE + MEMORY_PAGES * PAGE_SIZE)

#define INDICES   (AVIC_X2APIC_EXT_MAX + 1)
#define SLOTS     AVIC_LOGICAL_CLUSTER
#define REGISTERS 0x540 /* bytes of a page that are registers */

static inline u64 page_address(u32 page)
{
	return MEMORY_BASE + page * PAGE_SIZE;
}

struct ref_cpu {
	bool x2;
	u32 page, max_index;
	int pending;
	u64 counts[HW_COUNT];
};

/* What should be. */
struct ref {
	u32 switches;
	struct ref_cpu cpu[CPUS];
	u32 word[PAGES][REGISTERS / 4];
	u64 ids[INDICES];
	u32 logical[SLOTS];
	u32 rings, ring[INDICES]; /* of the operation: host APIC IDs */
};
extern struct ref ref;

/* Is this control block one that VMRUN takes? */
bool ref_check(const struct vmcb_control *control, u32 max_index);
/* VMRUN on processor `c`: the page and mode are set already. Returns V_TPR. */
u64 ref_enter(u32 c, u64 v_tpr);
void ref_evaluate(u32 c);
int ref_take(u32 c);
/* What was taken last has not been after all. */
void ref_untake(u32 c, u32 vector);
bool ref_waits_for_tpr(u32 c);
void ref_write_cr8(u32 c, u64 value);
struct avic_result ref_page_read(u32 c, u32 offset, u32 size, u64 *value);
struct avic_result ref_page_write(u32 c, u32 offset, u32 size, u64 value);
struct avic_result ref_msr_read(u32 c, u32 msr, u64 *value);
struct avic_result ref_msr_write(u32 c, u32 msr, u64 value);
struct avic_result ref_send(u32 c, u32 icr, u32 dest);

/* PPR by the words of "Task Priority"; the vector that a page has deliverable, -1: none. */
u32 ref_ppr(const u32 *page);
int ref_deliverable(const u32 *page);
/* Highest of IRR, ISR, TMR; -1: none. */
int ref_highest(const u32 *page, u32 offset);

#endif
