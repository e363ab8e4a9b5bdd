/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * See apicv.h: operations at random. Each is one that VM entry accepts ("Checks on VMX Controls and Host-State Area",
 * "Checks on the Guest State Area"), and has one outcome by the manual: what it leaves open is not drawn, which is an
 * NMI window in the shadow of STI. Nor is an instruction fetched from the page: Bochs panics.
 */
#include "tests/hw/apicv.h"
#include "x86/msr.h"

#define WORDS (PAGE_SIZE / sizeof(u64))

const u8 av_sets[AV_SETS] = {
        0,
        AV_ACCESS,
        AV_SHADOW,
        AV_SHADOW | AV_REGS,
        AV_SHADOW | AV_VID,
        AV_SHADOW | AV_REGS | AV_VID,
        AV_SHADOW | AV_ACCESS,
        AV_SHADOW | AV_ACCESS | AV_REGS,
        AV_SHADOW | AV_ACCESS | AV_VID,
        AV_SHADOW | AV_ACCESS | AV_REGS | AV_VID,
        AV_SHADOW | AV_X2,
        AV_SHADOW | AV_X2 | AV_REGS,
        AV_SHADOW | AV_X2 | AV_VID,
        AV_SHADOW | AV_X2 | AV_REGS | AV_VID,
};

/* "xorshift*", Vigna 2014 */
u64 av_next(struct av_random *random)
{
	u64 x = random->state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	random->state = x;
	return x * 0x2545f4914f6cdd1dull;
}

static u32 below(struct av_random *random, u32 limit)
{
	return (u32)(av_next(random) >> 32) % limit;
}

static bool one_in(struct av_random *random, u32 n)
{
	return below(random, n) == 0;
}

/* --- the page --- */

static u32 *word(u8 *page, u32 offset)
{
	return (u32 *)(void *)(page + offset);
}

/* A few vectors; returns the highest. */
static u8 draw_vectors(struct av_random *random, u8 *page, u32 base)
{
	u32 count = below(random, 5);
	u8 highest = 0;

	for (u32 i = 0; i < 8; i++)
		*word(page, base + i * VAPIC_STRIDE) = 0;
	while (count--) {
		u8 vector = (u8)(one_in(random, 16) ? below(random, 16) : 16 + below(random, 240));

		*word(page, base + vector / 32 * VAPIC_STRIDE) |= BIT(vector % 32);
		highest = vector > highest ? vector : highest;
	}
	return highest;
}

static u32 draw_tpr(struct av_random *random)
{
	switch (below(random, 4)) {
	case 0:
		return 0;
	case 1:
		return below(random, 16) << 4;
	case 2:
		return below(random, 256);
	default:
		return below(random, 64);
	}
}

/* Guest interrupt status: mostly what goes with the page. */
static u16 draw_page(struct av_random *random, u8 *page)
{
	u64 *words = (u64 *)(void *)page;
	u8 rvi, svi;

	for (u32 i = 0; i < WORDS; i += 4) {
		u64 bits = av_next(random);

		words[i] = bits;
		words[i + 1] = ~bits;
		words[i + 2] = bits << 7;
		words[i + 3] = bits * 3;
	}
	*word(page, APIC_TPR) = draw_tpr(random) | (one_in(random, 16) ? 0xabcdef00 : 0);
	svi = draw_vectors(random, page, APIC_ISR);
	rvi = draw_vectors(random, page, APIC_IRR);
	if (one_in(random, 8))
		svi = (u8)below(random, 256);
	if (one_in(random, 8))
		rvi = (u8)below(random, 256);
	return (u16)VMX_INTR_STATUS(rvi, svi);
}

/* --- instructions --- */

static u16 draw_register(struct av_random *random)
{
	static const u16 often[] = {APIC_TPR, APIC_TPR, APIC_EOI, APIC_ICR, APIC_ICR2, APIC_PPR};

	if (one_in(random, 2))
		return often[below(random, ARRAY_SIZE(often))];
	if (one_in(random, 32))
		return (u16)(0x400 + below(random, 0xbf) * VAPIC_STRIDE);
	return (u16)(below(random, 0x40) * VAPIC_STRIDE);
}

/* ICR in the form of a self-IPI, or nearly. */
static u32 draw_icr(struct av_random *random)
{
	u32 icr = APIC_DEST_SELF | below(random, 256);

	if (one_in(random, 2))
		icr |= APIC_LEVEL_ASSERT;
	if (one_in(random, 4))
		icr ^= BIT(8 + below(random, 24));
	return icr;
}

static u64 draw_value(struct av_random *random, u32 offset)
{
	if (one_in(random, 8))
		return av_next(random);
	switch (offset) {
	case APIC_TPR:
		return draw_tpr(random);
	case APIC_EOI:
		return 0;
	case APIC_ICR:
		return draw_icr(random);
	case APIC_SELF:
		return one_in(random, 4) ? below(random, 16) : below(random, 256);
	default:
		return av_next(random) >> 32;
	}
}

static void draw_memory(struct av_random *random, struct av_insn *insn)
{
	static const u8 sizes[] = {4, 4, 4, 4, 4, 1, 2, 8};

	insn->at = draw_register(random);
	insn->to = draw_register(random);
	insn->size = sizes[below(random, ARRAY_SIZE(sizes))];
	insn->value = draw_value(random, insn->at);
	if (insn->kind == AV_MOVE || insn->kind == AV_STORES)
		insn->size = 4;
	/* Beside the register's first byte, or across its first four. */
	if (one_in(random, 8))
		insn->at |= below(random, VAPIC_STRIDE - 8);
}

static void draw_msr(struct av_random *random, struct av_insn *insn)
{
	u32 offset = draw_register(random);

	if (one_in(random, 4))
		offset = APIC_SELF;
	insn->value = draw_value(random, offset);
	insn->at = (u16)(MSR_X2APIC_FIRST + offset / VAPIC_STRIDE);
}

static void draw_insn(struct av_random *random, struct av_insn *insn, bool memory, bool msrs)
{
	static const u8 kinds[] = {AV_READ,   AV_READ,     AV_WRITE, AV_WRITE,  AV_WRITE, AV_WRITE,
	                           AV_WRITE,  AV_MODIFY,   AV_MOVE,  AV_STORES, AV_READ,  AV_RDMSR,
	                           AV_RDMSR,  AV_WRMSR,    AV_WRMSR, AV_WRMSR,  AV_WRMSR, AV_TO_CR8,
	                           AV_TO_CR8, AV_FROM_CR8, AV_STI,   AV_STI,    AV_CLI,   AV_HALT};

	do
		insn->kind = kinds[below(random, ARRAY_SIZE(kinds))];
	while (!one_in(random, 8) && ((insn->kind <= AV_STORES && !memory) ||
	                              (insn->kind >= AV_RDMSR && insn->kind <= AV_WRMSR && !msrs)));
	if (insn->kind <= AV_STORES)
		draw_memory(random, insn);
	else if (insn->kind <= AV_WRMSR)
		draw_msr(random, insn);
	else
		insn->value = one_in(random, 16) ? av_next(random) : below(random, 16);
}

/* --- the entry --- */

static void draw_controls(struct av_random *random, struct av_op *op, const struct av_aim *aim)
{
	op->set = aim ? aim->set : below(random, AV_SETS);
	op->controls = av_sets[op->set];
	if (one_in(random, 8))
		op->controls |= AV_INTR_WINDOW;
	if (one_in(random, 16))
		op->controls |= AV_NMI_WINDOW;
	if (one_in(random, 2))
		op->controls |= AV_HLT;
	/* Without a TPR shadow CR8 is the physical APIC's. */
	if (!(op->controls & AV_SHADOW) || one_in(random, 8))
		op->controls |= AV_CR8_LOAD;
	if (!(op->controls & AV_SHADOW) || one_in(random, 8))
		op->controls |= AV_CR8_STORE;
	if (one_in(random, 8))
		op->controls |= AV_MSRS;
	for (u32 i = 0; i < ARRAY_SIZE(op->eoi_exit); i++)
		op->eoi_exit[i] = one_in(random, 2) ? 0 : av_next(random) & av_next(random);
}

/* "VM Entries": "Checks on VMX Controls": without APIC accesses virtualized, it is not above the virtual TPR. */
static void draw_threshold(struct av_random *random, struct av_op *op, const u8 *page)
{
	op->threshold = (u8)(one_in(random, 2) ? 0 : below(random, 16));
	if (!(op->controls & (AV_ACCESS | AV_VID)) && op->threshold > page[APIC_TPR] >> 4)
		op->threshold = page[APIC_TPR] >> 4;
}

static void draw_event(struct av_random *random, struct av_op *op)
{
	static const u8 exceptions[] = {0, 5, 6, VECTOR_GP, VECTOR_PF};
	u32 vector = 16 + below(random, 240);

	switch (below(random, 8)) {
	case 0:
	case 1:
		op->open = true;
		op->interruptibility &= ~(VMX_BLOCKED_STI | VMX_BLOCKED_SS);
		op->entry_info = VMX_EVENT_VALID | VMX_EVENT_EXTERNAL | vector;
		break;
	case 2:
		op->interruptibility = 0;
		op->entry_info = VMX_EVENT_VALID | VMX_EVENT_NMI | VECTOR_NMI;
		break;
	case 3:
		op->activity = VMX_ACTIVE;
		op->entry_info = VMX_EVENT_VALID | VMX_EVENT_EXCEPTION |
		                 exceptions[below(random, ARRAY_SIZE(exceptions))];
		if ((op->entry_info & VMX_EVENT_VECTOR) >= VECTOR_GP)
			op->entry_info |= VMX_EVENT_ERROR;
		op->entry_error = 0x18;
		break;
	case 4:
		op->activity = VMX_ACTIVE;
		op->entry_info = VMX_EVENT_VALID | VMX_EVENT_SOFTWARE | vector;
		op->entry_length = 2;
		break;
	default:
		break;
	}
}

static void draw_guest(struct av_random *random, struct av_op *op)
{
	op->open = !one_in(random, 3);
	if (one_in(random, 8))
		op->interruptibility =
		        op->open && one_in(random, 2) ? VMX_BLOCKED_STI : VMX_BLOCKED_SS;
	if (one_in(random, 16))
		op->interruptibility |= VMX_BLOCKED_NMI;
	if (!(op->interruptibility & (VMX_BLOCKED_STI | VMX_BLOCKED_SS)) && one_in(random, 16))
		op->activity = VMX_HALTED;
	if (one_in(random, 4))
		draw_event(random, op);
	if (op->interruptibility & (VMX_BLOCKED_STI | VMX_BLOCKED_SS))
		op->controls &= ~AV_NMI_WINDOW;
	if (op->controls & AV_ACCESS && one_in(random, 32))
		op->stack = (u16)(VAPIC_STRIDE + below(random, 0x3e) * VAPIC_STRIDE);
	op->handler = (u8)below(random, AV_HANDLERS);
}

static void draw_aimed(struct av_random *random, struct av_insn *insn, const struct av_aim *aim)
{
	*insn = (struct av_insn){.kind = aim->kind};
	if (aim->kind <= AV_STORES) {
		draw_memory(random, insn);
		insn->at = aim->at | (insn->at % VAPIC_STRIDE);
		insn->value = draw_value(random, aim->at);
	} else if (aim->kind <= AV_WRMSR) {
		insn->at = aim->at;
		insn->value = draw_value(random, (aim->at - MSR_X2APIC_FIRST) * VAPIC_STRIDE);
	} else {
		insn->value = below(random, 20);
	}
}

void av_draw(struct av_random *random, struct av_op *op, u8 *page, u16 status,
             const struct av_aim *aim)
{
	memset(op, 0, sizeof(*op));
	draw_controls(random, op, aim);
	op->fresh = one_in(random, 4);
	op->status = op->fresh ? draw_page(random, page) : status;
	draw_threshold(random, op, page);
	draw_guest(random, op);
	op->count = (u8)(1 + below(random, AV_INSNS));
	for (u32 i = 0; i < op->count; i++)
		draw_insn(random, &op->insn[i], op->controls & AV_ACCESS, op->controls & AV_X2);
	if (aim)
		draw_aimed(random, &op->insn[0], aim);
}
