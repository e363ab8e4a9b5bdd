/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Nested paging (mmu/nested.c) and the walk of the guest's own page tables (mmu/walk.c).
 *
 * Table pages come from a pool sized when the VM is created. Mappings of RAM are 2 MiB wherever
 * alignment allows; a page table, once made, stays until the VM ends, so a processor that still
 * walks it never sees it become something else. The entry format is the long-mode page table's,
 * which SVM uses as it is; another format (EPT) is another table of bits, not another walker.
 */
#ifndef MMU_MMU_H
#define MMU_MMU_H

#include "mmu/memory_type.h"
#include "postern/sync.h"

struct vcpu;
struct vcpu_state;
struct vm;

struct mmu_format {
	u64 table; /* bits of an entry that points to a table */
	u64 read, write, execute_disable, execute_enable;
	u64 leaf;               /* bits that every leaf has (accessed, ...) */
	u64 type[MEMORY_TYPES]; /* by enum memory_type */
	u64 large;              /* page-size bit */
};
extern const struct mmu_format mmu_format_long_mode;

#define MMU_LEVELS 4

/* Of what has happened to mappings. [lock for write] but fault_retries, which is [a]. */
struct mmu_counts {
	u64 zaps;           /* ranges that were taken away, or looked at in order to */
	u64 remote_flushes; /* times that all vCPUs were made to flush */
	u64 fault_retries;  /* faults that a zap has overtaken */
	u64 installs;       /* [a] pages that faults have mapped, of whatever size */
};

struct mmu {
	struct rwlock lock;              /* write: change mappings; read: fault path */
	const struct mmu_format *format; /* (i) */
	u64 *root;                       /* (i) level-4 table */
	/*
	 * (i) By level, 0 the level-1 table: those that lead to the local APIC's page, and their twins, which
	 * lead everywhere else but never to that page. twin[MMU_LEVELS - 1] is a root, too.
	 */
	u64 *path[MMU_LEVELS];
	u64 *twin[MMU_LEVELS];
	struct atomic32 invalidate_seq;   /* [a; lock to write] zaps so far */
	struct atomic32 invalidate_count; /* [a; lock to write] zaps under way */
	u8 *pool;                         /* (i) */
	u32 pool_pages;                   /* (i) */
	u32 pool_used;                    /* [lock] */
	u32 splits; /* [lock] tables behind the pool that memory types have taken */
	struct mmu_counts counts;
};

#define MMU_READ  BIT(0)
#define MMU_WRITE BIT(1)
#define MMU_EXEC  BIT(2)

/* Size the pool for vm->config.memory, vm->region[] and vm->rom, build the root. false: out of memory. */
bool mmu_create(struct vm *vm);
void mmu_destroy(struct vm *vm);
/* Page-table pages that mapping `memory` bytes of guest RAM takes at most. */
u32 mmu_pool_pages(u64 memory);

/*
 * Map [gpa, gpa+size) to host memory at `hpa`, all 4 KiB aligned; 2 MiB pages where both are
 * aligned. Takes the lock for write. false: pool exhausted. What it replaces or narrows is flushed
 * everywhere before it returns, as by mmu_zap().
 */
bool mmu_map(struct vm *vm, gpa_t gpa, hpa_t hpa, u64 size, u32 access);

/*
 * Take away what [gpa, gpa+size) is mapped to: the one function for that. When it returns, no vCPU of the VM
 * uses a translation of it, or is about to install one that it decided on before. Waits for vCPUs to leave
 * the guest: any processor, outside of any guest, no lock that a vCPU may want on its way out.
 * false: the pool is exhausted and a 2 MiB page could not be split; that one is still mapped.
 */
bool mmu_zap(struct vm *vm, gpa_t gpa, u64 size);

/*
 * The same for a time: what was mapped comes back by mmu_fault(), with the memory type that it has then. Until
 * then mmu_lookup() goes on finding it. The local APIC's page stays: whose it is does not depend on types.
 */
void mmu_zap_until_fault(struct vm *vm, gpa_t gpa, u64 size);
/*
 * A nested fault of a vCPU at `gpa`; `access`: one of MMU_*. true: the page is mapped so that it is allowed, or
 * a zap was faster: let the guest access again. false: nothing is there, or the access is not allowed. Faults
 * do not wait for each other. Any processor, no locks.
 */
bool mmu_fault(struct vm *vm, gpa_t gpa, u32 access);

/*
 * A fault that maps one page, in three steps: take the sequence, decide, install. Others do so at the same
 * time; against a zap see mmu/nested.c. Any processor, no locks.
 */
u32 mmu_invalidate_seq(const struct vm *vm);
/* false: a zap came between; the decision is void, let the guest access again. */
bool mmu_install(struct vm *vm, gpa_t gpa, hpa_t hpa, u32 access, u32 seq);

/* What a guest-physical address translates to; false: not mapped. Lock for read. */
bool mmu_lookup(struct vm *vm, gpa_t gpa, hpa_t *hpa, u32 *access);
/* Level-4 table, and one that differs from it in that nothing is ever mapped at the local APIC's page. */
hpa_t mmu_root(struct vm *vm);
hpa_t mmu_root_without_apic(struct vm *vm);

/* --- the guest's own tables --- */
enum mmu_walk_result {
	MMU_WALK_OK,
	MMU_WALK_FAULT /* *error is the #PF error code */
};

/*
 * Translate a linear address as the vCPU would: paging off, 32-bit, PAE, 4- and 5-level; `access`
 * is PF_WRITE | PF_USER | PF_FETCH as wanted. Reads guest memory with care (hostile tables); sets
 * no accessed bits. Own processor.
 */
enum mmu_walk_result mmu_walk(struct vcpu *vcpu, gva_t gva, u32 access, gpa_t *gpa, u32 *error);
/*
 * Copy from / to linear addresses, page by page. On a fault: false, *fault_gva and *error describe
 * the #PF. Memory that is not RAM reads as ones and drops writes.
 */
bool mmu_read_linear(struct vcpu *vcpu, gva_t gva, u32 access, void *to, u32 len, gva_t *fault_gva,
                     u32 *error);
bool mmu_write_linear(struct vcpu *vcpu, gva_t gva, u32 access, const void *from, u32 len,
                      gva_t *fault_gva, u32 *error);

/*
 * In place of a #PF error code: the address is not canonical, which is #GP (#SS for the stack
 * segment) and not #PF.
 */
#define MMU_ERROR_NONCANONICAL BIT(31)

/*
 * The same in two steps, for callers that translate several addresses at one exit: the paging mode
 * is settled once, from a state that the caller has already got.
 */
struct mmu_view {
	struct vm *vm;
	u64 cr3;
	u64 pdpte_reserved; /* PAE: bits that must be 0 in a level-3 entry */
	u64 reserved;       /* bits that must be 0 in every other entry */
	u8 levels;          /* 0: paging is off */
	u8 entry_size;      /* 4, 8 */
	bool long_mode;
	bool large_2;       /* level-2 entries may map 2 or 4 MiB */
	bool write_protect; /* CR0.WP */
	bool no_execute;    /* NX bits count */
	bool smep, smap;
};

struct mmu_fault {
	gva_t gva;
	u32 error;
};

void mmu_view_init(struct mmu_view *view, struct vcpu *vcpu, const struct vcpu_state *state);
enum mmu_walk_result mmu_view_walk(const struct mmu_view *view, gva_t gva, u32 access, gpa_t *gpa,
                                   u32 *error);
bool mmu_view_read(const struct mmu_view *view, gva_t gva, u32 access, void *to, u32 len,
                   struct mmu_fault *fault);
bool mmu_view_write(const struct mmu_view *view, gva_t gva, u32 access, const void *from, u32 len,
                    struct mmu_fault *fault);

#endif
