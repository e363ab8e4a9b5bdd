/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * APIC virtualization by the words of SDM volume 3, "APIC Virtualization and Virtual Interrupts" and
 * its sections, for comparison with cpu_model/vapic*.c: written from the manual's lists and its
 * pseudo-code, as plainly as possible, over bytes and flags where the code under test has words,
 * sharing only the layout of results. What the manual leaves open goes by the switches of
 * docs/model.md.
 */
#include "tests/fuzz/vapic_fuzz.h"

struct ref ref;

enum {
	BELOW_THRESHOLD = 43,
	ACCESS = 44,
	END = 45,
	WRITE = 56
};

static struct vapic_result result(enum vapic_action action, u32 reason, u64 qualification)
{
	return (struct vapic_result){action, reason, qualification};
}

#define COMPLETED   result(VAPIC_DONE, 0, 0)
#define PROTECTION  result(VAPIC_GP, 0, 0)
#define UNTREATED   result(VAPIC_ORDINARY, 0, 0)
#define TRAP(r, q)  result(VAPIC_AFTER, r, q)
#define FAULT(r, q) result(VAPIC_BEFORE, r, q)

static bool is(u32 c, u32 which)
{
	return ref.cpu[c].set->switches & which;
}

static void count(u32 c, enum hw_count what)
{
	ref.cpu[c].counts[what]++;
}

/* --- "Virtual APIC State" --- */

static u8 *byte_of(u32 c, u32 offset, u32 vector)
{
	return &ref.cpu[c].page[(offset | (vector & 0xe0) >> 1) + vector % 32 / 8];
}

bool ref_has(u32 c, u32 offset, u32 vector)
{
	return *byte_of(c, offset, vector) >> vector % 8 & 1;
}

static void change(u32 c, u32 offset, u32 vector, bool on)
{
	u8 *byte = byte_of(c, offset, vector), bit = (u8)(1 << vector % 8);

	*byte = (u8)(on ? *byte | bit : *byte & ~bit);
}

/* "If any bits set": the highest index, else 0. */
static u32 last_of(u32 c, u32 offset)
{
	u32 found = 0;

	for (u32 vector = 0; vector < VECTORS; vector++)
		if (ref_has(c, offset, vector))
			found = vector;
	return found;
}

static void store(u32 c, u32 offset, u32 length, u64 value)
{
	for (u32 i = 0; i < length; i++)
		ref.cpu[c].page[offset + i] = (u8)(value >> 8 * i);
}

static u64 load(u32 c, u32 offset, u32 length)
{
	u64 value = 0;

	for (u32 i = 0; i < length; i++)
		value |= (u64)ref.cpu[c].page[offset + i] << 8 * i;
	return value;
}

static u32 class_of(u32 priority)
{
	return priority / 16;
}

/* --- the pseudo-code of the sections with these names --- */

static void ppr_virtualization(u32 c)
{
	u32 tpr = ref.cpu[c].page[0x80], svi = ref.cpu[c].svi;

	store(c, 0xa0, 4, class_of(tpr) >= class_of(svi) ? tpr : class_of(svi) * 16);
}

static void evaluation(u32 c)
{
	struct ref_cpu *cpu = &ref.cpu[c];

	cpu->recognized = false;
	if (!cpu->set->intr_window && class_of(cpu->rvi) > class_of(cpu->page[0xa0]))
		cpu->recognized = true;
}

bool ref_is_below(u32 c)
{
	const struct vapic *set = ref.cpu[c].set;

	if (!set->tpr_shadow || set->vid)
		return false;
	return class_of(ref.cpu[c].page[0x80]) < set->threshold % 16u;
}

static struct vapic_result tpr_virtualization(u32 c)
{
	if (ref.cpu[c].set->vid) {
		ppr_virtualization(c);
		evaluation(c);
	} else if (ref_is_below(c)) {
		return TRAP(BELOW_THRESHOLD, 0);
	}
	count(c, HW_TPR);
	return COMPLETED;
}

static struct vapic_result eoi_virtualization(u32 c)
{
	struct ref_cpu *cpu = &ref.cpu[c];
	u32 vector = cpu->svi;

	if (vector == 0 && is(c, VAPIC_EMPTY_EOI_IGNORED))
		return COMPLETED;
	change(c, 0x100, vector, false);
	cpu->svi = last_of(c, 0x100);
	ppr_virtualization(c);
	if (cpu->set->eoi_exit[vector / 64] >> vector % 64 & 1)
		return TRAP(END, vector);
	evaluation(c);
	count(c, HW_EOI);
	return COMPLETED;
}

static struct vapic_result self_ipi_virtualization(u32 c, u32 vector)
{
	if (ref_has(c, 0x200, vector))
		count(c, HW_COALESCED);
	change(c, 0x200, vector, true);
	if (ref.cpu[c].rvi < vector)
		ref.cpu[c].rvi = vector;
	evaluation(c);
	count(c, HW_IPI_SELF);
	count(c, HW_REQUESTS);
	return COMPLETED;
}

bool ref_can_deliver(u32 c, bool open)
{
	return open && ref.cpu[c].recognized && !ref.cpu[c].set->intr_window;
}

u32 ref_deliver(u32 c)
{
	struct ref_cpu *cpu = &ref.cpu[c];
	u32 vector = cpu->rvi;

	change(c, 0x100, vector, true);
	cpu->svi = vector;
	store(c, 0xa0, 4, vector & 0xf0);
	change(c, 0x200, vector, false);
	cpu->rvi = last_of(c, 0x200);
	cpu->recognized = false;
	count(c, HW_DELIVERED);
	return vector;
}

void ref_enter(u32 c, u32 status)
{
	struct ref_cpu *cpu = &ref.cpu[c];

	cpu->wrote = cpu->recognized = false;
	cpu->rvi = cpu->svi = 0;
	if (!cpu->set->vid)
		return;
	cpu->rvi = status % 256;
	cpu->svi = status / 256;
	ppr_virtualization(c);
	evaluation(c);
}

u32 ref_leave(u32 c)
{
	ref.cpu[c].wrote = ref.cpu[c].recognized = false;
	return ref.cpu[c].svi * 256 + ref.cpu[c].rvi;
}

/* --- "Virtualizing CR8-Based TPR Accesses" --- */

struct vapic_result ref_write_cr8(u32 c, u64 value)
{
	if (value > 15)
		return PROTECTION;
	if (!ref.cpu[c].set->tpr_shadow)
		return UNTREATED;
	store(c, 0x80, 4, value * 16);
	return tpr_virtualization(c);
}

struct vapic_result ref_read_cr8(u32 c, u64 *value)
{
	if (!ref.cpu[c].set->tpr_shadow)
		return UNTREATED;
	*value = class_of(ref.cpu[c].page[0x80]);
	return COMPLETED;
}

/* --- descriptors --- */

u64 ref_control(const struct ref_desc *desc)
{
	return (u64)desc->on | (u64)desc->sn << 1 | (u64)desc->nv << 16 | (u64)desc->ndst << 32 |
	       desc->other;
}

void ref_set_control(struct ref_desc *desc, u64 control)
{
	desc->on = control & 1;
	desc->sn = control >> 1 & 1;
	desc->nv = control >> 16 & 0xff;
	desc->ndst = (u32)(control >> 32);
	desc->other = control & 0xff00fffc;
}

void ref_post(struct ref_desc *desc, u32 vector, bool on)
{
	desc->pir[vector / 8] &= (u8) ~(1 << vector % 8);
	desc->pir[vector / 8] |= (u8)(on << vector % 8);
}

static bool is_posted(const struct ref_desc *desc, u32 vector)
{
	return desc->pir[vector / 8] >> vector % 8 & 1;
}

/* "Posted-Interrupt Processing", steps 2 to 7 */
bool ref_posted(u32 c, u32 vector)
{
	struct ref_cpu *cpu = &ref.cpu[c];
	struct ref_desc *desc = &ref.desc[c];

	if (!cpu->set->pi_desc || vector != cpu->set->pi_vector)
		return false;
	desc->on = false;
	ref.eois++;
	for (u32 v = 0; v < VECTORS; v++) {
		if (!is_posted(desc, v))
			continue;
		if (ref_has(c, 0x200, v))
			count(c, HW_COALESCED);
		change(c, 0x200, v, true);
		ref_post(desc, v, false);
		if (v > cpu->rvi)
			cpu->rvi = v;
	}
	if (is(c, VAPIC_POSTED_BY_VIRR) && last_of(c, 0x200) > cpu->rvi)
		cpu->rvi = last_of(c, 0x200);
	evaluation(c);
	return true;
}

/* "IPI Virtualization" */
static struct vapic_result ipi_virtualization(u32 c, u32 target, u32 vector)
{
	const struct vapic *set = ref.cpu[c].set;
	struct ref_desc *desc;
	u64 entry;
	bool there;

	if (vector < 16 || target > set->last_index)
		return TRAP(WRITE, 0x300);
	entry = ref.table[target];
	if (entry % 64 != 1 || entry >= BIT64(set->width) || entry < MEMORY_BASE ||
	    entry >= MEMORY_END)
		return TRAP(WRITE, 0x300);
	desc = &ref.desc[(entry - MEMORY_BASE) / 64];
	there = is_posted(desc, vector);
	ref_post(desc, vector, true);
	count(c, HW_IPI);
	count(c, HW_REQUESTS);
	if (there)
		count(c, HW_COALESCED);
	if (desc->on || desc->sn || (there && is(c, VAPIC_COALESCED_SILENT)))
		return COMPLETED;
	desc->on = true;
	count(c, HW_DOORBELLS);
	ref.notice[ref.notices++] =
	        (struct notice){set->host_x2 ? desc->ndst : desc->ndst / 256 % 256, desc->nv};
	return COMPLETED;
}

/* The fields of ICR's low half. */
struct command {
	u32 vector, mode, logical, busy, zero_13, level, trigger, zero_17_16, shorthand, zero_31_20;
};

static struct command decode(u32 icr)
{
	return (struct command){icr & 0xff,    icr >> 8 & 7,  icr >> 11 & 1, icr >> 12 & 1,
	                        icr >> 13 & 1, icr >> 14 & 1, icr >> 15 & 1, icr >> 16 & 3,
	                        icr >> 18 & 3, icr >> 20};
}

static bool is_self(struct command icr)
{
	return !icr.zero_31_20 && !icr.zero_17_16 && !icr.zero_13 && !icr.busy &&
	       icr.shorthand == 1 && !icr.trigger && !icr.mode && icr.vector >= 16;
}

static bool is_one(struct command icr)
{
	return !icr.zero_31_20 && !icr.zero_17_16 && !icr.zero_13 && !icr.busy &&
	       icr.shorthand == 0 && !icr.trigger && !icr.mode && !icr.logical;
}

/* --- "Virtualizing Memory-Mapped APIC Accesses" --- */

/*
 * Ranges of registers, and with which controls an access is virtualized: T, a TPR shadow alone; V,
 * virtual-interrupt delivery without APIC-register virtualization; R, with that.
 */
static const struct {
	u16 first, last;
	const char *read, *write;
} rows[] = {
        {0x020, 0x020, "R", "R"},     /* ID */
        {0x030, 0x030, "R", ""},      /* version */
        {0x080, 0x080, "TVR", "TVR"}, /* TPR */
        {0x0b0, 0x0b0, "R", "VR"},    /* EOI */
        {0x0d0, 0x0f0, "R", "R"},     /* LDR, DFR, SVR */
        {0x100, 0x270, "R", ""},      /* ISR, TMR, IRR */
        {0x280, 0x280, "R", "R"},     /* ESR */
        {0x300, 0x300, "R", "VR"},    /* ICR, low */
        {0x310, 0x310, "R", "R"},     /* ICR, high */
        {0x320, 0x370, "R", "R"},     /* LVT */
        {0x380, 0x380, "R", "R"},     /* initial count */
        {0x3e0, 0x3e0, "R", "R"},     /* divide configuration */
};

static bool is_virtualized(u32 c, u32 offset, u32 size, bool write)
{
	const struct vapic *set = ref.cpu[c].set;
	u32 where = offset % 16, reg = offset - where;
	char mode = set->apic_registers ? 'R' : set->vid ? 'V' : 'T';

	if (!set->tpr_shadow || size == 0 || size > 4 || where + size > 4)
		return false;
	if (mode != 'R' && where) /* an offset, not a range */
		return mode == 'V' && write && is(c, VAPIC_VID_BY_REGISTER) &&
		       (reg == 0x0b0 || reg == 0x300);
	if (mode == 'V' && !write && is(c, VAPIC_VID_READS) && (reg == 0x0b0 || reg == 0x300))
		return true;
	if (mode == 'T' && write && set->ipiv && is(c, VAPIC_IPIV_WRITES_ICR) && reg == 0x300)
		return true;
	for (u32 i = 0; i < ARRAY_SIZE(rows); i++)
		if (reg >= rows[i].first && reg <= rows[i].last)
			return strchr(write ? rows[i].write : rows[i].read, mode);
	return false;
}

static struct vapic_result access_exit(enum vapic_access how, u32 offset, bool write)
{
	u32 kind = write || how == VAPIC_MODIFY ? 1 : 0;

	if (how == VAPIC_EVENT)
		kind = 3;
	else if (how == VAPIC_FETCH && !write)
		kind = 2;
	return FAULT(ACCESS, kind * 4096 + offset);
}

struct vapic_result ref_page_read(u32 c, enum vapic_access how, u32 offset, u32 size, u64 *value)
{
	const struct ref_cpu *cpu = &ref.cpu[c];
	bool second = cpu->wrote && !(is(c, VAPIC_SECOND_BY_OFFSET) && cpu->at == offset);

	if (how == VAPIC_FETCH || second || !is_virtualized(c, offset, size, false))
		return access_exit(how, offset, false);
	*value = load(c, offset, size);
	return COMPLETED;
}

struct vapic_result ref_page_write(u32 c, enum vapic_access how, u32 offset, u32 size, u64 value)
{
	struct ref_cpu *cpu = &ref.cpu[c];
	bool same = cpu->at == offset && (cpu->length == size || is(c, VAPIC_SECOND_BY_OFFSET));

	if ((cpu->wrote && !same) || !is_virtualized(c, offset, size, true))
		return access_exit(how, offset, true);
	store(c, offset, size, value);
	cpu->wrote = true;
	cpu->at = offset;
	cpu->length = size;
	return COMPLETED;
}

/* "APIC-Write Emulation" */
struct vapic_result ref_emulate(u32 c)
{
	struct ref_cpu *cpu = &ref.cpu[c];
	u32 icr = (u32)load(c, 0x300, 4);

	if (!cpu->wrote)
		return COMPLETED;
	cpu->wrote = false;
	if (cpu->at == 0x080) {
		store(c, 0x081, 3, 0);
		return tpr_virtualization(c);
	}
	if (cpu->at == 0x0b0 && cpu->set->vid) {
		store(c, 0x0b0, 4, 0);
		return eoi_virtualization(c);
	}
	if (cpu->at == 0x300 && cpu->set->vid && is_self(decode(icr)))
		return self_ipi_virtualization(c, icr & 0xff);
	if (cpu->at == 0x300 && cpu->set->ipiv && is_one(decode(icr)))
		return ipi_virtualization(c, cpu->page[0x313], icr & 0xff);
	if (cpu->at >= 0x310 && cpu->at <= 0x313) {
		store(c, 0x310, 3, 0);
		return COMPLETED;
	}
	return TRAP(WRITE, cpu->at);
}

/* --- "Virtualizing MSR-Based APIC Accesses" --- */

struct vapic_result ref_msr_read(u32 c, u32 msr, u64 *value)
{
	const struct vapic *set = ref.cpu[c].set;

	if (!set->x2apic || msr < 0x800 || msr > 0x8ff)
		return UNTREATED;
	if (!set->apic_registers && msr != 0x808)
		return UNTREATED;
	*value = load(c, (msr & 0xff) << 4, 8);
	return COMPLETED;
}

static struct vapic_result write_icr(u32 c, u64 value)
{
	struct command icr = decode((u32)value);

	if (icr.zero_31_20 || icr.zero_17_16 || icr.zero_13)
		return PROTECTION;
	store(c, 0x300, 8, value);
	if (is_one(icr))
		return ipi_virtualization(c, (u32)(value >> 32), icr.vector);
	if (is_self(icr) && ref.cpu[c].set->vid && is(c, VAPIC_X2_ICR_SELF))
		return self_ipi_virtualization(c, icr.vector);
	return TRAP(WRITE, 0x300);
}

struct vapic_result ref_msr_write(u32 c, u32 msr, u64 value)
{
	const struct vapic *set = ref.cpu[c].set;
	bool special = msr == 0x808 || (set->vid && (msr == 0x80b || msr == 0x83f)) ||
	               (set->ipiv && msr == 0x830);

	if (!set->x2apic || !special)
		return UNTREATED;
	switch (msr) {
	case 0x808:
		if (value >> 8)
			return PROTECTION;
		store(c, 0x080, 8, value);
		return tpr_virtualization(c);
	case 0x80b:
		if (value)
			return PROTECTION;
		store(c, 0x0b0, 8, 0);
		return eoi_virtualization(c);
	case 0x83f:
		if (value >> 8)
			return PROTECTION;
		if (value >= 16 && is(c, VAPIC_SELF_NOT_STORED))
			return self_ipi_virtualization(c, (u32)value);
		store(c, 0x3f0, 8, value);
		return value < 16 ? TRAP(WRITE, 0x3f0) : self_ipi_virtualization(c, (u32)value);
	default:
		return write_icr(c, value);
	}
}
