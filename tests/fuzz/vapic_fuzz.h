/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The vapic fuzzer: APIC virtualization's microcode over virtual-APIC pages, posted-interrupt
 * descriptors and a table of which anything may be in them.
 *
 * vapic.c      the operations that an input consists of, and what is compared after each
 * vapic_ref.c  the reference: the same operations by the manual's words, on a memory of its own,
 *              without the code under test
 *
 * Host-physical memory is one page with DESCS descriptors at its beginning; virtual-APIC pages and
 * the table are known to the microcode by pointers. Poisoned for AddressSanitizer are what follows
 * the descriptors and entries beyond the last index.
 */
#ifndef TESTS_FUZZ_VAPIC_FUZZ_H
#define TESTS_FUZZ_VAPIC_FUZZ_H

#include "cpu_model/vapic.h"
#include "tests/fuzz/fuzz.h"

#define CPUS        2 /* with a guest; that of `c` has descriptor c */
#define DESCS       4
#define ENTRIES     64
#define MEMORY_BASE 0x3fff00000ull
#define MEMORY_END  (MEMORY_BASE + PAGE_SIZE)
#define VECTORS     256
#define NOTICES     8

static inline u64 desc_address(u32 desc)
{
	return MEMORY_BASE + desc * sizeof(struct pi_desc);
}

/* A virtual processor as it should be. What the VMCS says is in `set`, as the microcode has it. */
struct ref_cpu {
	const struct vapic *set;
	u8 page[PAGE_SIZE];
	u32 rvi, svi;
	bool recognized;
	bool wrote; /* emulation to follow: of a write of `length` bytes at `at` */
	u32 at, length;
	u64 counts[HW_COUNT];
};

struct ref_desc {
	u8 pir[VECTORS / 8];
	bool on, sn;
	u32 nv, ndst;
	u64 other;       /* of the control word: the bits that have no name */
	u64 reserved[3]; /* behind it */
};

struct notice {
	u32 host_id, vector;
};

struct ref {
	struct ref_cpu cpu[CPUS];
	struct ref_desc desc[DESCS];
	u64 table[ENTRIES];
	u32 notices, eois; /* of the operation */
	struct notice notice[NOTICES];
};
extern struct ref ref;

void ref_enter(u32 c, u32 status);
u32 ref_leave(u32 c);
bool ref_is_below(u32 c);
bool ref_can_deliver(u32 c, bool open);
u32 ref_deliver(u32 c);
struct vapic_result ref_write_cr8(u32 c, u64 value);
struct vapic_result ref_read_cr8(u32 c, u64 *value);
bool ref_posted(u32 c, u32 vector);
struct vapic_result ref_page_read(u32 c, enum vapic_access how, u32 offset, u32 size, u64 *value);
struct vapic_result ref_page_write(u32 c, enum vapic_access how, u32 offset, u32 size, u64 value);
struct vapic_result ref_emulate(u32 c);
struct vapic_result ref_msr_read(u32 c, u32 msr, u64 *value);
struct vapic_result ref_msr_write(u32 c, u32 msr, u64 value);

/* A bit of PIR. */
void ref_post(struct ref_desc *desc, u32 vector, bool on);

/* A bit of VIRR, VISR; a descriptor's control word from its fields, and back. */
bool ref_has(u32 c, u32 offset, u32 vector);
u64 ref_control(const struct ref_desc *desc);
void ref_set_control(struct ref_desc *desc, u64 control);

#endif
