/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A device's message on its way to a processor. Intel's specification of directed I/O: "Interrupt Requests in
 * Remappable Format", "Interrupt Remap Table Entry (IRTE) for Remapped Interrupts", "Interrupt Remap Table Entry (IRTE)
 * for Posted Interrupts", "Posted Interrupt Descriptor (PID)", "Interrupt-Posting Hardware Operation", "Queued
 * Invalidation Interface".
 *
 *  - While remapping is on, a message names an entry: its handle, and the subhandle if SHV is set. One in compatibility
 *    format is refused, unless software lets it pass (CFI) and IDs have 8 bits.
 *  - The entry is read at once, 128 bits. Not present, reserved bits, a message of somebody else: a fault each; recorded,
 *    if the entry does not say otherwise (FPD), and only one at a time. The message comes to nothing.
 *  - A posted entry's vector is a bit of the descriptor's PIR and no more: the notification has the vector NV, and goes
 *    to NDST. It is sent if ON was 0, and SN was 0 or the entry is urgent; whoever sends it has set ON. Where a message
 *    is posted neither ON nor PIR's having had the bit matters.
 *  - Present entries may be kept (the interrupt-entry cache) until software invalidates them by the queue. When that
 *    is done no message goes by the old entry any more, also none that was under way.
 *
 *      a message                              the queue, behind a change of the entry
 *      ---------                              ---------------------------------------
 *      1 under_way + 1                        a wait until none is under way
 *      2 cached? use it                       b forget what is cached
 *      3 else the entry, cache it             c wait until none is under way
 *      4 PIR, ON, notification
 *      5 under_way - 1
 *
 *    Who has read the old entry at 3, before the change, has cached it at the latest at a; who has found it at 2, before
 *    b, is done at c.
 *
 * Left out: translation of addresses (DMA), register-based and other invalidations, the fault event interrupt, more than
 * one fault recording register, page-request and performance units, the check of bits in the queue's descriptors, and
 * posting from an x2APIC-less host to IDs above 255. The faults' codes for descriptors, and that data without SHV must
 * be 0, are from memory of the specification.
 */
#include "cpu_model/vtd.h"
#include "postern/port.h"
#include "postern/string.h"

#define FAULT_AT 0x200u /* the fault recording register */

#define POSTED_RESERVED   (0x30fcull | 0xff000000ull | 0x3full << 32)
#define REMAPPED_RESERVED (0x7000ull | 0xff000000ull)
#define NO_EIM_RESERVED   (0xffff00ffull << 32)
#define HIGH_RESERVED     0xfff00000ull
#define DESC_RESERVED     0xff00fffcull
#define MODE_RESERVED     (BIT(3) | BIT(6)) /* delivery modes */

void vtd_reset(struct vtd *vtd)
{
	vtd->cap = VTD_CAP_PI | VTD_CAP_FRO(FAULT_AT);
	vtd->ecap = VTD_ECAP_QI | VTD_ECAP_IR | VTD_ECAP_EIM;
	vtd->irta = vtd->iqa = vtd->iqh = vtd->iqt = 0;
	atomic64_set(&vtd->table, 0);
	atomic32_set(&vtd->status, 0);
	atomic32_set(&vtd->fsts, 0);
	atomic64_set(&vtd->fault[0], 0);
	atomic64_set(&vtd->fault[1], 0);
	atomic32_set(&vtd->under_way, 0);
	memset(vtd->cached, 0, sizeof(vtd->cached));
	memset(vtd->counts, 0, sizeof(vtd->counts));
}

static void count(struct vtd *vtd, enum vtd_count which)
{
	counter_add_shared(&vtd->counts[which], 1);
}

/* `size` bytes of memory; NULL: they are not there. */
static void *memory_at(const struct vtd *vtd, u64 address, u64 size)
{
	if (address >> vtd->width || address < vtd->memory_start ||
	    address + size > vtd->memory_end)
		return NULL;
	return hpa_to_ptr(HPA(address));
}

static bool has_status(const struct vtd *vtd, u32 bit)
{
	return atomic32_read(&vtd->status) & bit;
}

/* --- faults --- */

static void record(struct vtd *vtd, enum vtd_fault fault, u16 source, u32 index)
{
	u64 what = VTD_FAULT_VALID | (u64)fault << 32 | source;

	/* It is software that makes room for the next. */
	if (atomic32_fetch_or(&vtd->fsts, VTD_FSTS_PENDING) & VTD_FSTS_PENDING) {
		atomic32_fetch_or(&vtd->fsts, VTD_FSTS_OVERFLOW);
		return;
	}
	atomic64_set(&vtd->fault[0], (u64)index << 48);
	atomic64_set(&vtd->fault[1], what);
}

/* --- the entry --- */

/* A message in remappable format: what it names. ~0: it has bits that must be 0. */
static u32 index_of(u64 address, u32 data)
{
	u32 index = (u32)(address >> 5 & 0x7fff) | (u32)(address >> 2 & 1) << 15;

	if (!(address & VTD_MESSAGE_SHV))
		return data ? ~0u : index;
	return data >> 16 ? ~0u : index + data;
}

static enum vtd_fault fetch(struct vtd *vtd, u32 index, u64 entry[2])
{
	u64 table = atomic64_read(&vtd->table);
	const struct atomic128 *at;

	if (index >= 2u << (table & 0xf))
		return VTD_FAULT_INDEX;
	if (index < VTD_CACHED) {
		atomic128_read(&vtd->cached[index], entry);
		if (entry[0])
			return VTD_FAULT_NONE;
	}
	at = memory_at(vtd, (table & PAGE_MASK) + index * sizeof(*at), sizeof(*at));
	if (!at)
		return VTD_FAULT_TABLE;
	atomic128_read(at, entry);
	if (!(entry[0] & VTD_IRTE_PRESENT))
		return VTD_FAULT_PRESENT;
	if (index < VTD_CACHED)
		atomic128_set(&vtd->cached[index], entry[0], entry[1]);
	return VTD_FAULT_NONE;
}

static bool has_reserved(const struct vtd *vtd, const u64 entry[2])
{
	bool posted = entry[0] & VTD_IRTE_POSTED;
	u64 low = posted ? POSTED_RESERVED : REMAPPED_RESERVED;
	u64 high = posted ? HIGH_RESERVED : ~0xfffffull;

	if (posted && !(vtd->cap & VTD_CAP_PI))
		return true;
	if (!posted && !(atomic64_read(&vtd->table) & VTD_IRTA_EIME))
		low |= NO_EIM_RESERVED;
	if (!posted && MODE_RESERVED & BIT(VTD_IRTE_MODE(entry[0])))
		return true;
	/* The source validation type 3, too. */
	return entry[0] & low || entry[1] & high || (entry[1] >> 18 & 3) == 3;
}

static bool is_from(u64 high, u16 source)
{
	static const u16 ignored[] = {0, 4, 6, 7};
	u32 bus = source >> 8;

	switch (high >> 18 & 3) {
	case 1:
		return !((high ^ source) & 0xffffu & ~(u32)ignored[high >> 16 & 3]);
	case 2:
		return bus >= (high >> 8 & 0xff) && bus <= (high & 0xff);
	default:
		return true;
	}
}

/* --- what becomes of it --- */

static u32 host_id(const struct vtd *vtd, u32 dest)
{
	return atomic64_read(&vtd->table) & VTD_IRTA_EIME ? dest : dest >> 8 & 0xff;
}

/* One locked operation: ON. True: we are to notify, as `control` says. */
static bool claim(struct pi_desc *desc, bool urgent, u64 *control)
{
	do {
		*control = atomic64_read(&desc->control);
		if (*control & PI_ON || (*control & PI_SN && !urgent))
			return false;
	} while (!atomic64_cmpxchg(&desc->control, *control, *control | PI_ON));
	return true;
}

static enum vtd_fault post(struct vtd *vtd, const u64 entry[2])
{
	u64 address = (entry[0] & VTD_IRTE_DESC_LOW(~0ull)) >> 32 |
	              (entry[1] & VTD_IRTE_DESC_HIGH(~0ull));
	struct pi_desc *desc = memory_at(vtd, address, sizeof(*desc));
	u8 vector = (u8)(entry[0] >> 16);
	u64 bit = BIT64(vector % 64), control;

	if (!desc)
		return VTD_FAULT_DESCRIPTOR;
	if (atomic64_read(&desc->control) & DESC_RESERVED)
		return VTD_FAULT_RESERVED;
	count(vtd, VTD_POSTED);
	if (atomic64_fetch_or(&desc->pir[vector / 64], bit) & bit)
		count(vtd, VTD_COALESCED);
	if (claim(desc, entry[0] & VTD_IRTE_URGENT, &control)) {
		count(vtd, VTD_NOTIFIED);
		vtd->deliver(vtd->context,
		             &(struct vtd_interrupt){.dest = host_id(vtd, PI_NDST(control)),
		                                     .vector = PI_NV(control)});
	}
	return VTD_FAULT_NONE;
}

static enum vtd_fault remap(struct vtd *vtd, const u64 entry[2])
{
	count(vtd, VTD_REMAPPED);
	vtd->deliver(vtd->context, &(struct vtd_interrupt){
	                                   .dest = host_id(vtd, (u32)(entry[0] >> 32)),
	                                   .mode = VTD_IRTE_MODE(entry[0]),
	                                   .vector = (u8)(entry[0] >> 16),
	                                   .logical = entry[0] & VTD_IRTE_LOGICAL,
	                                   .redirect = entry[0] & VTD_IRTE_REDIRECT,
	                                   .level = entry[0] & VTD_IRTE_LEVEL,
	                           });
	return VTD_FAULT_NONE;
}

/* As without such a unit. */
static enum vtd_fault pass(struct vtd *vtd, u64 address, u32 data)
{
	count(vtd, VTD_PASSED);
	vtd->deliver(vtd->context, &(struct vtd_interrupt){
	                                   .dest = (u32)(address >> 12 & 0xff),
	                                   .mode = data >> 8 & 7,
	                                   .vector = (u8)data,
	                                   .logical = address & BIT(2),
	                                   .redirect = address & BIT(3),
	                                   .level = data & BIT(15),
	                           });
	return VTD_FAULT_NONE;
}

static enum vtd_fault remappable(struct vtd *vtd, u16 source, u32 index, bool *silent)
{
	enum vtd_fault fault;
	u64 entry[2];

	if (index == ~0u)
		return VTD_FAULT_REQUEST;
	entry[0] = 0;
	fault = fetch(vtd, index, entry);
	/* Of one that is not present it counts, too. */
	*silent = entry[0] & VTD_IRTE_FPD;
	if (fault)
		return fault;
	if (has_reserved(vtd, entry))
		return VTD_FAULT_ENTRY;
	if (!is_from(entry[1], source))
		return VTD_FAULT_SOURCE;
	return entry[0] & VTD_IRTE_POSTED ? post(vtd, entry) : remap(vtd, entry);
}

enum vtd_fault vtd_message(struct vtd *vtd, u16 source, u64 address, u32 data)
{
	u32 index = index_of(address, data);
	enum vtd_fault fault;
	bool silent = false;

	if (!has_status(vtd, VTD_IRE))
		return pass(vtd, address, data);
	if (!(address & VTD_MESSAGE_FORMAT)) {
		if (has_status(vtd, VTD_CFI) && !(atomic64_read(&vtd->table) & VTD_IRTA_EIME))
			return pass(vtd, address, data);
		fault = VTD_FAULT_BLOCKED;
		index = 0;
	} else {
		atomic32_fetch_add(&vtd->under_way, 1);
		fault = remappable(vtd, source, index, &silent);
		atomic32_fetch_sub(&vtd->under_way, 1);
	}
	if (fault) {
		count(vtd, VTD_REFUSED);
		if (!silent)
			record(vtd, fault, source, index & 0xffff);
	}
	return fault;
}

/* --- registers --- */

static void invalidate(struct vtd *vtd, u64 what)
{
	u32 first = 0, end = VTD_CACHED;

	if (what & VTD_IEC_INDEX) {
		first = (u32)(what >> 32 & 0xffff);
		end = first + (1u << (what >> 27 & 0x1f));
	}
	wait_until(!atomic32_read(&vtd->under_way));
	for (u32 i = first; i < end && i < VTD_CACHED; i++)
		atomic128_set(&vtd->cached[i], 0, 0);
	wait_until(!atomic32_read(&vtd->under_way));
}

/* One descriptor; false: it is none. */
static bool obey(struct vtd *vtd, const u64 *descriptor)
{
	struct atomic32 *to;

	switch (descriptor[0] & VTD_INV_TYPE) {
	case VTD_INV_IEC:
		invalidate(vtd, descriptor[0]);
		return true;
	case VTD_INV_WAIT:
		to = memory_at(vtd, descriptor[1] & ~3ull, sizeof(*to));
		if (descriptor[0] & VTD_WAIT_WRITE && to)
			atomic32_set(to, (u32)(descriptor[0] >> 32));
		return to || !(descriptor[0] & VTD_WAIT_WRITE);
	default:
		return false;
	}
}

static void work_off_queue(struct vtd *vtd)
{
	u64 size = PAGE_SIZE << (vtd->iqa & 7);
	const u8 *queue = memory_at(vtd, vtd->iqa & PAGE_MASK, size);

	while (has_status(vtd, VTD_QIE) && vtd->iqh != vtd->iqt) {
		if (!queue || vtd->iqt >= size ||
		    !obey(vtd, (const u64 *)(const void *)(queue + vtd->iqh))) {
			atomic32_fetch_or(&vtd->fsts, VTD_FSTS_QUEUE);
			return;
		}
		vtd->iqh = (vtd->iqh + 16) % size;
	}
}

static void command(struct vtd *vtd, u32 value)
{
	if (value & VTD_SIRTP) {
		atomic64_set(&vtd->table, vtd->irta);
		atomic32_fetch_or(&vtd->status, VTD_SIRTP);
	}
	/* One of them is changed at a time; what is not meant has to be written as it was. */
	atomic32_set(&vtd->status, (atomic32_read(&vtd->status) & VTD_SIRTP) |
	                                   (value & (VTD_CFI | VTD_IRE | VTD_QIE)));
	if (!(value & VTD_QIE))
		vtd->iqh = 0;
}

u64 vtd_read(const struct vtd *vtd, u32 reg)
{
	switch (reg) {
	case VTD_CAP:
		return vtd->cap;
	case VTD_ECAP:
		return vtd->ecap;
	case VTD_GSTS:
		return atomic32_read(&vtd->status);
	case VTD_FSTS:
		return atomic32_read(&vtd->fsts);
	case VTD_IQH:
		return vtd->iqh;
	case VTD_IQT:
		return vtd->iqt;
	case VTD_IQA:
		return vtd->iqa;
	case VTD_IRTA:
		return vtd->irta;
	case FAULT_AT:
	case FAULT_AT + 8:
		return atomic64_read(&vtd->fault[(reg - FAULT_AT) / 8]);
	default:
		return 0;
	}
}

void vtd_write(struct vtd *vtd, u32 reg, u64 value)
{
	switch (reg) {
	case VTD_GCMD:
		command(vtd, (u32)value);
		break;
	case VTD_FSTS: /* ones clear, but what follows from the recording register */
		atomic32_fetch_and(&vtd->fsts,
		                   ~((u32)value & (VTD_FSTS_OVERFLOW | VTD_FSTS_QUEUE)));
		break;
	case VTD_IQT:
		vtd->iqt = value & 0x7fff0;
		work_off_queue(vtd);
		break;
	case VTD_IQA:
		vtd->iqa = value;
		vtd->iqt = 0;
		break;
	case VTD_IRTA:
		vtd->irta = value;
		break;
	case FAULT_AT + 8:
		if (value & VTD_FAULT_VALID) {
			atomic64_set(&vtd->fault[1], 0);
			atomic32_fetch_and(&vtd->fsts, ~VTD_FSTS_PENDING);
		}
		break;
	default:
		break;
	}
}
