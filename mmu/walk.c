/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The walk of the guest's own page tables.
 *
 * Rules this file lives by (APM volume 2, "Page Translation and Protection"; SDM volume 3,
 * "Paging"):
 * - The mode follows CR0.PG, CR4.PAE, EFER.LMA, CR4.LA57; CR4.PSE counts only for 32-bit paging.
 * - User and write permission is the AND over all levels (a PAE level-3 entry has none), no-execute
 *   the OR. CR0.WP, CR4.SMEP and CR4.SMAP then say what a supervisor may do.
 * - An access from CPL 3 that is not a user access is implicit (descriptor tables, say): RFLAGS.AC
 *   does not exempt it from SMAP.
 * - The guest writes its tables while they are read: every entry is read once, as a whole, and
 *   only the copy is looked at.
 * - A table outside memory counts as not present. A frame outside it is an ordinary result: devices
 *   live there.
 * - Reserved bits are checked as far as they do not depend on the width of physical addresses,
 *   which the processor itself has checked before it came to the address that made it exit.
 * - Accessed and dirty bits are not set: the processor does so when it executes the access.
 */
#include "mmu/mmu.h"

#include "core/vm.h"
#include "postern/backend.h"
#include "postern/port.h"
#include "postern/string.h"

#define PTE_PSE36_SHIFT 13
#define PTE_PSE36_MASK  0xffull

void mmu_view_init(struct mmu_view *view, struct vcpu *vcpu, const struct vcpu_state *state)
{
	bool ac = state->cpl < 3 && vcpu->regs.rflags & RFLAGS_AC;

	memset(view, 0, sizeof(*view));
	view->vm = vcpu->vm;
	view->cr3 = state->cr3;
	if (!(state->cr0 & CR0_PG))
		return;

	view->write_protect = state->cr0 & CR0_WP;
	view->smep = state->cr4 & CR4_SMEP;
	view->smap = state->cr4 & CR4_SMAP && !ac;
	if (!(state->cr4 & CR4_PAE)) {
		view->levels = 2;
		view->entry_size = 4;
		view->large_2 = state->cr4 & CR4_PSE;
		return;
	}
	view->entry_size = 8;
	view->large_2 = true;
	view->no_execute = state->efer & EFER_NXE;
	view->reserved = view->no_execute ? 0 : PTE_NX;
	if (state->efer & EFER_LMA) {
		view->long_mode = true;
		view->levels = state->cr4 & CR4_LA57 ? 5 : 4;
	} else {
		view->levels = 3;
		view->reserved |= ~(PTE_ADDR | 0xfff | PTE_NX);
		view->pdpte_reserved = ~PTE_ADDR & ~0xe19ull; /* P, PWT, PCD, 11:9 */
	}
}

static bool is_canonical(const struct mmu_view *view, u64 address)
{
	u32 unused = view->levels == 5 ? 64 - 57 : 64 - 48;

	return (u64)((s64)(address << unused) >> unused) == address;
}

/*
 * Memory of the guest, within a page: RAM, or what else is mapped to be executed (firmware, RAM that
 * firmware may hide). Pages of devices are not.
 */
static const void *memory_at(struct vm *vm, gpa_t gpa, u64 len)
{
	const void *p = vm_memory(vm, gpa, len);
	u32 access;
	hpa_t hpa;

	if (p)
		return p;
	if (!mmu_lookup(vm, gpa, &hpa, &access) || !(access & MMU_EXEC))
		return NULL;
	return hpa_to_ptr(hpa);
}

static bool read_entry(const struct mmu_view *view, u64 address, u64 *entry)
{
	const void *p = memory_at(view->vm, GPA(address), view->entry_size);

	if (!p)
		return false;
	*entry = view->entry_size == 8 ? atomic64_read_relaxed(p) : atomic32_read_relaxed(p);
	return true;
}

/* Physical address of the entry of `gva` in the table at `table`. */
static u64 entry_address(const struct mmu_view *view, u64 table, u64 gva, u32 level)
{
	u32 bits = view->entry_size == 8 ? 9 : 10;
	u64 index = (gva >> (12 + bits * (level - 1))) & ((1u << bits) - 1);

	return table + index * view->entry_size;
}

static u64 root_table(const struct mmu_view *view)
{
	if (view->entry_size == 4)
		return view->cr3 & 0xfffff000ull;
	/* With PAE the four level-3 entries stand anywhere on a 32-byte boundary below 4 GiB. */
	if (!view->long_mode)
		return view->cr3 & 0xffffffe0ull;
	return view->cr3 & PTE_ADDR;
}

static u32 page_shift(const struct mmu_view *view, u32 level)
{
	return 12 + (view->entry_size == 8 ? 9 : 10) * (level - 1);
}

static bool is_leaf(const struct mmu_view *view, u64 entry, u32 level)
{
	if (level == 1)
		return true;
	if (!(entry & PTE_PS))
		return false;
	return level == 2 ? view->large_2 : level == 3 && view->long_mode;
}

static bool has_reserved_bits(const struct mmu_view *view, u64 entry, u32 level)
{
	if (level == 3 && !view->long_mode)
		return entry & view->pdpte_reserved;
	if (entry & view->reserved)
		return true;
	if (level >= 4)
		return entry & PTE_PS;
	if (level == 1 || !is_leaf(view, entry, level))
		return false;
	if (view->entry_size == 4)
		return entry & BIT64(21); /* 20:13 are address bits 39:32 */
	/* Between the frame's address and the PAT bit. */
	return entry & ((1ull << page_shift(view, level)) - 1) & ~0x1fffull;
}

static u64 leaf_address(const struct mmu_view *view, u64 entry, u64 gva, u32 level)
{
	u64 offset_mask = (1ull << page_shift(view, level)) - 1;
	u64 frame = (view->entry_size == 8 ? entry & PTE_ADDR : entry & 0xfffff000ull);

	frame &= ~offset_mask;
	if (view->entry_size == 4 && level == 2)
		frame |= ((entry >> PTE_PSE36_SHIFT) & PTE_PSE36_MASK) << 32;
	return frame | (gva & offset_mask);
}

/*
 * `rights`: U and W as the AND over the levels, NX as the OR (where NX does not count, it is a
 * reserved bit or there is none).
 */
static bool is_permitted(const struct mmu_view *view, u64 rights, u32 access)
{
	bool user_page = rights & PTE_U;

	if (access & PF_FETCH && rights & PTE_NX)
		return false;
	if (access & PF_USER)
		return user_page && (!(access & PF_WRITE) || rights & PTE_W);
	if (user_page && (access & PF_FETCH ? view->smep : view->smap))
		return false;
	return !(access & PF_WRITE) || rights & PTE_W || !view->write_protect;
}

/* Error code of the #PF: the fetch bit is reported only if the mode has no-execute or SMEP. */
static u32 fault_error(const struct mmu_view *view, u32 access, u32 cause)
{
	u32 error = cause | (access & (PF_WRITE | PF_USER));

	if (access & PF_FETCH && (view->no_execute || view->smep))
		error |= PF_FETCH;
	return error;
}

enum mmu_walk_result mmu_view_walk(const struct mmu_view *view, gva_t gva, u32 access, gpa_t *gpa,
                                   u32 *error)
{
	u64 address = view->long_mode ? gva.v : gva.v & 0xffffffff;
	u64 rights = PTE_U | PTE_W;
	u64 table = root_table(view);
	u64 entry = 0;
	u32 level;

	if (!view->levels) {
		*gpa = GPA(address);
		return MMU_WALK_OK;
	}
	if (view->long_mode && !is_canonical(view, address)) {
		*error = MMU_ERROR_NONCANONICAL;
		return MMU_WALK_FAULT;
	}
	for (level = view->levels;; level--) {
		if (!read_entry(view, entry_address(view, table, address, level), &entry) ||
		    !(entry & PTE_P)) {
			*error = fault_error(view, access, 0);
			return MMU_WALK_FAULT;
		}
		if (has_reserved_bits(view, entry, level)) {
			*error = fault_error(view, access, PF_PRESENT | PF_RSVD);
			return MMU_WALK_FAULT;
		}
		if (level != 3 || view->long_mode)
			rights = (rights & (entry | PTE_NX)) | (entry & PTE_NX);
		if (is_leaf(view, entry, level))
			break;
		table = view->entry_size == 8 ? entry & PTE_ADDR : entry & 0xfffff000ull;
	}
	if (!is_permitted(view, rights, access)) {
		*error = fault_error(view, access, PF_PRESENT);
		return MMU_WALK_FAULT;
	}
	*gpa = GPA(leaf_address(view, entry, address, level));
	return MMU_WALK_OK;
}

/* Bytes of an access of `len` at `gva` that lie in its first page. */
static u32 bytes_in_page(gva_t gva, u32 len)
{
	return (u32)min_u64(len, PAGE_SIZE - (gva.v & ~PAGE_MASK));
}

static bool translate(const struct mmu_view *view, gva_t gva, u32 access, gpa_t *gpa,
                      struct mmu_fault *fault)
{
	if (mmu_view_walk(view, gva, access, gpa, &fault->error) == MMU_WALK_OK)
		return true;
	fault->gva = view->long_mode ? gva : GVA(gva.v & 0xffffffff);
	return false;
}

bool mmu_view_read(const struct mmu_view *view, gva_t gva, u32 access, void *to, u32 len,
                   struct mmu_fault *fault)
{
	u8 *out = to;

	while (len) {
		u32 part = bytes_in_page(gva, len);
		const void *from;
		gpa_t gpa;

		if (!translate(view, gva, access, &gpa, fault))
			return false;
		from = memory_at(view->vm, gpa, part);
		if (from)
			memcpy(out, from, part);
		else
			memset(out, 0xff, part);
		out += part;
		len -= part;
		gva.v += part;
	}
	return true;
}

bool mmu_view_write(const struct mmu_view *view, gva_t gva, u32 access, const void *from, u32 len,
                    struct mmu_fault *fault)
{
	const u8 *in = from;
	gva_t at = gva;
	gpa_t gpa;
	u32 left, part;

	access |= PF_WRITE;
	/* An access that faults has written nothing: look at every page before the first byte. */
	for (left = len; left; left -= part, at.v += part) {
		part = bytes_in_page(at, left);
		if (!translate(view, at, access, &gpa, fault))
			return false;
	}
	for (left = len, at = gva; left; left -= part, at.v += part, in += part) {
		part = bytes_in_page(at, left);
		/* The guest may have changed its tables meanwhile; it then gets half a write. */
		if (!translate(view, at, access, &gpa, fault))
			return false;
		vm_write(view->vm, gpa, in, part);
	}
	return true;
}

static void current_view(struct mmu_view *view, struct vcpu *vcpu)
{
	struct vcpu_state state;

	backend_op(get_state)(vcpu, &state);
	mmu_view_init(view, vcpu, &state);
}

enum mmu_walk_result mmu_walk(struct vcpu *vcpu, gva_t gva, u32 access, gpa_t *gpa, u32 *error)
{
	struct mmu_view view;

	current_view(&view, vcpu);
	return mmu_view_walk(&view, gva, access, gpa, error);
}

bool mmu_read_linear(struct vcpu *vcpu, gva_t gva, u32 access, void *to, u32 len, gva_t *fault_gva,
                     u32 *error)
{
	struct mmu_fault fault;
	struct mmu_view view;

	current_view(&view, vcpu);
	if (mmu_view_read(&view, gva, access, to, len, &fault))
		return true;
	*fault_gva = fault.gva;
	*error = fault.error;
	return false;
}

bool mmu_write_linear(struct vcpu *vcpu, gva_t gva, u32 access, const void *from, u32 len,
                      gva_t *fault_gva, u32 *error)
{
	struct mmu_fault fault;
	struct mmu_view view;

	current_view(&view, vcpu);
	if (mmu_view_write(&view, gva, access, from, len, &fault))
		return true;
	*fault_gva = fault.gva;
	*error = fault.error;
	return false;
}
