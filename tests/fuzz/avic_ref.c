/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * AVIC by the words of APM volume 2, "Advanced Virtual Interrupt Controller" and its sections, for
 * comparison with cpu_model/avic*.c: written from the manual's tables and lists, as plainly as
 * possible, sharing only the layout of registers and results. What the manual leaves open goes by the
 * switches of docs/model.md.
 *
 *  "Virtual APIC Register Accesses": access_of().
 *  "Interprocessor Interrupts", "AVIC IPI Delivery Not Completed": ref_send(). First the list of all
 *  whom the command names is made, then it is gone through once.
 */
#include "tests/fuzz/avic_fuzz.h"

struct ref ref;

/* --- registers of a page --- */

static u32 *reg(u32 page, u32 offset)
{
	return &ref.word[page][offset / 4];
}

static u32 *own(u32 c, u32 offset)
{
	return reg(ref.cpu[c].page, offset);
}

static bool has(const u32 *page, u32 offset, u32 vector)
{
	return page[(offset + vector / 32 * 16) / 4] >> (vector & 31) & 1;
}

static void put(u32 page, u32 offset, u32 vector, bool on)
{
	u32 *word = reg(page, offset + vector / 32 * 16);

	*word &= ~BIT(vector & 31);
	if (on)
		*word |= BIT(vector & 31);
}

int ref_highest(const u32 *page, u32 offset)
{
	int vector = 255;

	while (vector >= 0 && !has(page, offset, (u32)vector))
		vector -= page[(offset + (u32)vector / 32 * 16) / 4] ? 1 : (vector & 31) + 1;
	return vector;
}

/* --- priorities --- */

u32 ref_ppr(const u32 *page)
{
	u32 tpr = page[APIC_TPR / 4] & 0xff;
	int served = ref_highest(page, APIC_ISR);

	if (served < 0 || tpr >> 4 >= (u32)served >> 4)
		return tpr;
	return (u32)served >> 4 << 4;
}

int ref_deliverable(const u32 *page)
{
	int requested = ref_highest(page, APIC_IRR);

	return requested >= 0 && (u32)requested >> 4 > ref_ppr(page) >> 4 ? requested : -1;
}

static bool is(u32 which)
{
	return ref.switches & which;
}

static void priority_changed(u32 c)
{
	const u32 *page = ref.word[ref.cpu[c].page];

	*own(c, APIC_PPR) = ref_ppr(page);
	ref_evaluate(c);
}

void ref_evaluate(u32 c)
{
	ref.cpu[c].pending = ref_deliverable(ref.word[ref.cpu[c].page]);
}

int ref_take(u32 c)
{
	u32 page = ref.cpu[c].page;
	int vector = ref_deliverable(ref.word[page]);

	ref.cpu[c].pending = vector;
	if (vector < 0)
		return -1;
	put(page, APIC_IRR, (u32)vector, false);
	put(page, APIC_ISR, (u32)vector, true);
	priority_changed(c);
	ref.cpu[c].counts[HW_DELIVERED]++;
	return vector;
}

void ref_untake(u32 c, u32 vector)
{
	u32 page = ref.cpu[c].page;

	if (has(ref.word[page], APIC_IRR, vector))
		ref.cpu[c].counts[HW_COALESCED]++;
	put(page, APIC_ISR, vector, false);
	put(page, APIC_IRR, vector, true);
	priority_changed(c);
	ref.cpu[c].counts[HW_DELIVERED]--;
}

bool ref_waits_for_tpr(u32 c)
{
	const u32 *page = ref.word[ref.cpu[c].page];
	int requested = ref_highest(page, APIC_IRR) >> 4, served = ref_highest(page, APIC_ISR) >> 4;

	/* An empty ISR holds back class 0 only, which is below the legal vectors. */
	return requested > (served < 0 ? 0 : served) &&
	       requested <= (int)(page[APIC_TPR / 4] >> 4 & 0xf);
}

static void write_tpr(u32 c, u32 value)
{
	*own(c, APIC_TPR) = value & 0xff;
	priority_changed(c);
	ref.cpu[c].counts[HW_TPR]++;
}

void ref_write_cr8(u32 c, u64 value)
{
	write_tpr(c, (u32)(value & 0xf) << 4);
}

u64 ref_enter(u32 c, u64 v_tpr)
{
	u32 *tpr = own(c, APIC_TPR);

	if (is(AVIC_TAKES_V_TPR) && (*tpr >> 4 & 0xf) != v_tpr)
		*tpr = (u32)v_tpr << 4;
	priority_changed(c);
	return *tpr >> 4 & 0xf;
}

/* --- "VMRUN and #VMEXIT" --- */

static bool is_inside(u64 pointer, u64 size)
{
	u64 first = pointer & 0x000ffffffffff000ull;

	return first >= MEMORY_BASE && first + size <= MEMORY_END;
}

bool ref_check(const struct vmcb_control *control, u32 max_index)
{
	bool avic = control->int_ctl >> 31 & 1, x2 = control->int_ctl >> 30 & 1;
	u64 index = control->avic_physical_table & 0xfff;
	u64 largest = x2 ? max_index : 255;

	return avic && (!x2 || max_index) && (control->np_control & 1) && index <= largest &&
	       is_inside(control->avic_backing_page, 4096) &&
	       is_inside(control->avic_physical_table, (index / 512 + 1) * 4096) &&
	       (x2 || is_inside(control->avic_logical_table, 4096));
}

/* --- register accesses --- */

/*
 * By offset of the first and the last register: read and write in the page, Allowed, Trap or Fault;
 * as an MSR Read, Write, Both or none; bits that WRMSR takes. What is not listed is plain memory.
 */
static const struct row {
	u16 first, last;
	char read, write, msr;
	u32 bits;
} rows[] = {
        {0x020, 0x020, 'A', 'T', 'R', 0},          /* APIC ID */
        {0x030, 0x030, 'A', 'F', 'R', 0},          /* version */
        {0x080, 0x080, 'A', 'A', 'B', 0xff},       /* TPR */
        {0x090, 0x090, 'F', 'F', 'R', 0},          /* APR */
        {0x0a0, 0x0a0, 'A', 'F', 'R', 0},          /* PPR */
        {0x0b0, 0x0b0, 'A', 'A', 'W', 0},          /* EOI */
        {0x0c0, 0x0c0, 'A', 'T', '-', 0},          /* remote read */
        {0x0d0, 0x0d0, 'A', 'T', 'R', 0},          /* LDR */
        {0x0e0, 0x0e0, 'A', 'T', '-', 0},          /* DFR */
        {0x0f0, 0x0f0, 'A', 'T', 'B', 0x13ff},     /* SVR */
        {0x100, 0x270, 'A', 'F', 'R', 0},          /* ISR, TMR, IRR */
        {0x280, 0x280, 'A', 'T', 'B', 0},          /* ESR */
        {0x300, 0x300, 'A', 'A', 'B', 0xcdfff},    /* ICR */
        {0x310, 0x310, 'A', 'A', '-', 0},          /* ICR, high */
        {0x320, 0x320, 'A', 'T', 'B', 0x710ff},    /* timer */
        {0x330, 0x340, 'A', 'T', 'B', 0x117ff},    /* thermal, performance counter */
        {0x350, 0x360, 'A', 'T', 'B', 0x1f7ff},    /* LINT0, LINT1 */
        {0x370, 0x370, 'A', 'T', 'B', 0x110ff},    /* error */
        {0x380, 0x380, 'A', 'T', 'B', 0xffffffff}, /* initial count */
        {0x390, 0x390, 'F', 'F', 'R', 0},          /* current count */
        {0x3e0, 0x3e0, 'A', 'T', 'B', 0xb},        /* divide configuration */
        {0x3f0, 0x3f0, 'A', 'A', 'W', 0xff},       /* self IPI */
        {0x400, 0x400, 'F', 'F', 'R', 0},          /* extended: feature */
        {0x410, 0x420, 'F', 'F', 'B', 0xffffffff}, /* control, specific EOI */
        {0x480, 0x530, 'F', 'F', 'B', 0xffffffff}, /* interrupt enable, LVT */
        {0x540, 0xff0, 'F', 'F', '-', 0},          /* nothing */
};

static const struct row *access_of(u32 offset)
{
	static const struct row memory = {0, 0, 'A', 'A', '-', 0}, none = {0, 0, 'F', 'F', '-', 0};

	for (u32 i = 0; i < ARRAY_SIZE(rows); i++)
		if (offset >= rows[i].first && offset <= rows[i].last)
			return &rows[i];
	return offset < 0x540 ? &memory : &none;
}

static struct avic_result completed(void)
{
	return (struct avic_result){.action = AVIC_DONE};
}

static struct avic_result protection(void)
{
	return (struct avic_result){.action = AVIC_GP};
}

/* "AVIC Access to un-accelerated vAPIC register": 11:4 of the offset, 32 a write; EOI's vector. */
static struct avic_result noaccel(bool after, u32 offset, bool write, u32 vector)
{
	return (struct avic_result){.action = after ? AVIC_AFTER : AVIC_BEFORE,
	                            .exit_code = 0x402,
	                            .info_1 = (offset & 0xff0) | (write ? 1ull << 32 : 0),
	                            .info_2 = vector};
}

static struct avic_result write_eoi(u32 c)
{
	u32 page = ref.cpu[c].page;
	int served = ref_highest(ref.word[page], APIC_ISR);
	bool level;

	if (served < 0)
		return completed();
	level = has(ref.word[page], APIC_TMR, (u32)served);
	if (!level)
		ref.cpu[c].counts[HW_EOI]++;
	if (level && !is(AVIC_LEVEL_EOI_CLEARS))
		return noaccel(true, APIC_EOI, true, (u32)served);
	put(page, APIC_ISR, (u32)served, false);
	priority_changed(c);
	return level ? noaccel(true, APIC_EOI, true, (u32)served) : completed();
}

static struct avic_result write_icr(u32 c, u32 value)
{
	u32 dest = *own(c, APIC_ICR2) >> 24;
	struct avic_result result = ref_send(c, value, dest);
	bool busy = result.action != AVIC_DONE && is(AVIC_BUSY_ON_EXIT);

	*own(c, APIC_ICR) = (value & ~BIT(12)) | (busy ? BIT(12) : 0);
	result.info_1 |= busy ? BIT(12) : 0;
	return result;
}

static struct avic_result write_reg(u32 c, u32 offset, u32 value)
{
	char class = access_of(offset)->write;

	if (class == 'F')
		return noaccel(false, offset, true, 0);
	if (offset == 0x0b0)
		return write_eoi(c);
	if (offset == 0x300)
		return write_icr(c, value);
	if (offset == 0x3f0 && ref.cpu[c].x2)
		return ref_send(c, (value & 0xff) | BIT(14) | BIT(18), 0);
	if (offset == 0x080) {
		write_tpr(c, value);
		return completed();
	}
	*own(c, offset) = value;
	return class == 'T' ? noaccel(true, offset, true, 0) : completed();
}

/* Aligned, of 1, 2 or 4 bytes, and in the first four of the sixteen that a register has. */
static bool is_plain(u32 offset, u32 size)
{
	return (size == 1 || size == 2 || size == 4) && offset % size == 0 && offset % 16 < 4;
}

struct avic_result ref_page_read(u32 c, u32 offset, u32 size, u64 *value)
{
	u32 first = offset / 16 * 16;
	u8 bytes[8] = {0};

	if (!is_plain(offset, size) || access_of(first)->read == 'F')
		return noaccel(false, offset, false, 0);
	memcpy(bytes, (const u8 *)own(c, first) + offset % 16, size);
	memcpy(value, bytes, sizeof(*value));
	return completed();
}

struct avic_result ref_page_write(u32 c, u32 offset, u32 size, u64 value)
{
	u32 first = offset / 16 * 16, merged;

	if (!is_plain(offset, size) || access_of(first)->write == 'F')
		return noaccel(false, offset, true, 0);
	merged = *own(c, first);
	memcpy((u8 *)&merged + offset % 16, &value, size);
	return write_reg(c, first, merged);
}

struct avic_result ref_msr_read(u32 c, u32 msr, u64 *value)
{
	u32 offset = (msr & 0xff) * 16;
	const struct row *row = access_of(offset);

	if (row->msr == '-' || row->msr == 'W')
		return protection();
	if (row->read == 'F')
		return noaccel(false, offset, false, 0);
	*value = *own(c, offset);
	if (offset == 0x300)
		*value += (u64)*own(c, 0x310) << 32;
	return completed();
}

struct avic_result ref_msr_write(u32 c, u32 msr, u64 value)
{
	u32 offset = (msr & 0xff) * 16;
	const struct row *row = access_of(offset);
	u64 bits = row->bits | (offset == 0x300 ? 0xffffffff00000000ull : 0);

	if (row->msr == 'R' && is(AVIC_X2_READ_ONLY_EXITS))
		return write_reg(c, offset, (u32)value);
	if (row->msr == '-' || row->msr == 'R' || value & ~bits)
		return protection();
	if (offset != 0x300)
		return write_reg(c, offset, (u32)value);
	if (value >> 12 & 1 && !is(AVIC_X2_BUSY_IGNORED))
		return protection();
	*own(c, 0x300) = (u32)value & ~BIT(12);
	*own(c, 0x310) = (u32)(value >> 32);
	return ref_send(c, *own(c, 0x300), *own(c, 0x310));
}

/* --- IPIs --- */

/* Whom a command names, in the order in which the processor goes through them. */
#define NOBODY (~0ull) /* a logical entry that is not valid */
static struct {
	u32 count;
	u32 name[INDICES];  /* what an exit reports */
	u64 index[INDICES]; /* of the physical table, or NOBODY */
} named;

static void name(u32 reported, u64 index)
{
	named.name[named.count] = reported;
	named.index[named.count++] = index;
}

static bool is_valid(u64 index)
{
	return ref.ids[index] >> 63;
}

static u64 page_of(u64 index)
{
	return ref.ids[index] & 0x000ffffffffff000ull;
}

static void name_everybody(u32 c, bool but_self)
{
	const struct ref_cpu *cpu = &ref.cpu[c];

	for (u32 i = 0; i <= cpu->max_index; i++)
		if (is_valid(i) && !(but_self && page_of(i) == page_address(cpu->page)))
			name(i, i);
}

static void name_logical_xapic(u32 c, u32 dest)
{
	bool cluster = !(*own(c, APIC_DFR) & 0xf0000000);

	/* Cluster 15 has no entries. */
	if (cluster && dest >> 4 == 15)
		name(60, NOBODY);
	else
		for (u32 i = 0; i < (cluster ? 4 : 8); i++) {
			u32 slot = cluster ? (dest >> 4) * 4 + i : i;

			if (!(dest >> i & 1))
				continue;
			if (ref.logical[slot] >> 31)
				name(is(AVIC_INDEX_PHYSICAL) ? ref.logical[slot] & 0xff : slot,
				     ref.logical[slot] & 0xff);
			else
				name(slot, NOBODY);
		}
}

static void name_logical_x2apic(u32 dest)
{
	for (u32 i = 0; i < 16; i++)
		if (dest >> i & 1)
			name((dest >> 16) * 16 + i, (dest >> 16) * 16 + i);
}

static void name_all(u32 c, u32 icr, u32 dest)
{
	bool logical = icr >> 11 & 1, x2 = ref.cpu[c].x2;
	u32 shorthand = icr >> 18 & 3;

	named.count = 0;
	if (shorthand)
		name_everybody(c, shorthand == 3);
	else if (x2 && dest == 0xffffffff && !is(AVIC_X2_BROADCAST_INDEX))
		name_everybody(c, false);
	else if (!x2 && dest == 0xff && !(logical && is(AVIC_LOGICAL_FF_LOOKUP)))
		name_everybody(c, false);
	else if (!logical)
		name(dest, dest);
	else if (x2)
		name_logical_x2apic(dest);
	else
		name_logical_xapic(c, dest);
}

static struct avic_result incomplete(u32 c, u32 icr, u32 dest, u64 id, u32 index)
{
	const struct ref_cpu *cpu = &ref.cpu[c];
	u32 bits = 0xff;

	if (cpu->x2)
		bits = 0x1ff;
	if (cpu->max_index >= 512 || is(AVIC_INDEX_12))
		bits = 0xfff;
	if (!cpu->x2)
		dest <<= 24;
	return (struct avic_result){.action = AVIC_AFTER,
	                            .exit_code = 0x401,
	                            .info_1 = (u64)dest << 32 | icr,
	                            .info_2 = id << 32 | (index & bits)};
}

/* 0: can be delivered; else the id of the exit that it causes. */
static u32 refusal(u32 c, u64 index)
{
	if (index > ref.cpu[c].max_index || !is_valid(index))
		return 2;
	return is_inside(page_of(index), 4096) ? 0 : 3;
}

static void request(u32 c, u32 page, u32 vector)
{
	ref.cpu[c].counts[HW_REQUESTS]++;
	if (has(ref.word[page], APIC_IRR, vector))
		ref.cpu[c].counts[HW_COALESCED]++;
	put(page, APIC_IRR, vector, true);
	if (!is(AVIC_IPI_KEEPS_TMR))
		put(page, APIC_TMR, vector, false);
}

static void to_target(u32 c, u64 index, u32 vector)
{
	u32 page = (u32)((page_of(index) - MEMORY_BASE) / PAGE_SIZE);

	request(c, page, vector);
	if (!(ref.ids[index] >> 62 & 1))
		return;
	if (page == ref.cpu[c].page) {
		ref_evaluate(c);
		return;
	}
	ref.ring[ref.rings++] = ref.ids[index] & 0xfff;
	ref.cpu[c].counts[HW_DOORBELLS]++;
}

struct avic_result ref_send(u32 c, u32 icr, u32 dest)
{
	u32 vector = icr & 0xff, refused = 0, end = 0, stopped = ~0u;

	if ((icr >> 8 & 7) != 0 || icr >> 15 & 1)
		return incomplete(c, icr, dest, 0, 0);
	if (vector < 16)
		return incomplete(c, icr, dest, is(AVIC_LOW_VECTOR_TYPE) ? 0 : 4, 0);
	if ((icr >> 18 & 3) == 1) {
		request(c, ref.cpu[c].page, vector);
		ref_evaluate(c);
		ref.cpu[c].counts[HW_IPI_SELF]++;
		return completed();
	}
	name_all(c, icr, dest);
	while (end < named.count && !(refused = refusal(c, named.index[end])))
		end++;
	if (!refused || !is(AVIC_CHECK_FIRST))
		for (u32 i = 0; i < end; i++) {
			to_target(c, named.index[i], vector);
			if (!(ref.ids[named.index[i]] >> 62 & 1))
				stopped = named.name[i];
		}
	if (refused)
		return incomplete(c, icr, dest, refused, named.name[end]);
	if (stopped != ~0u)
		return incomplete(c, icr, dest, 1, stopped);
	ref.cpu[c].counts[HW_IPI]++;
	return completed();
}
