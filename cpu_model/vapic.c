/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * APIC virtualization's core: priorities, recognition, delivery, end of interrupt, posted
 * interrupts. SDM volume 3, "APIC Virtualization and Virtual Interrupts": "Virtual APIC State",
 * "Evaluation and Delivery of Virtual Interrupts", "Posted-Interrupt Processing".
 *
 *  - The processor goes by RVI and SVI, two bytes of its own, and not by VIRR and VISR. It looks
 *    those up only for what is next: VIRR behind a delivery, VISR at EOI. A hypervisor that changes
 *    VIRR or VISR has to change guest interrupt status with it.
 *  - VPPR follows TPR and SVI at VM entry, TPR virtualization and EOI virtualization. Delivery
 *    stores the vector's class, whatever TPR is. Nothing else changes VPPR.
 *  - Evaluation, that is, the decision whether RVI's class is above VPPR's, takes place at VM
 *    entry, TPR virtualization, EOI virtualization without an exit, self-IPI virtualization and
 *    posted-interrupt processing. What it decides, stands until the next, a delivery or an exit:
 *    RFLAGS.IF is asked at delivery alone, and what another processor writes to memory is not
 *    looked at.
 *  - So nothing is recognized behind a delivery until one of these takes place, though VIRR may
 *    hold a class that is higher still.
 */
#include "cpu_model/vapic.h"

#define VECTOR_WORDS 8
#define CR8_BITS     0xfull

/* --- registers of 256 bits --- */

static u32 vector_offset(u32 base, u32 vector)
{
	return base + vector / 32 * VAPIC_STRIDE;
}

/* True: the bit was set already. */
static bool put(struct vapic *vapic, u32 base, u8 vector)
{
	u32 bit = BIT(vector % 32);

	return atomic32_fetch_or(vapic_word(vapic, vector_offset(base, vector)), bit) & bit;
}

static void take(struct vapic *vapic, u32 base, u8 vector)
{
	atomic32_fetch_and(vapic_word(vapic, vector_offset(base, vector)), ~BIT(vector % 32));
}

/* Highest bit that is set; 0 if none is, as RVI and SVI have it. */
static u8 highest(const struct vapic *vapic, u32 base)
{
	for (u32 i = VECTOR_WORDS; i--;) {
		u32 word = atomic32_read_acquire(vapic_word(vapic, base + i * VAPIC_STRIDE));

		if (word)
			return (u8)(i * 32 + 31 - (u32)__builtin_clz(word));
	}
	return 0;
}

/* --- priorities and recognition --- */

/* "PPR Virtualization" */
static void update_ppr(struct vapic *vapic)
{
	u32 tpr = vapic_get(vapic, APIC_TPR) & 0xff;
	u32 service = vapic->svi & VAPIC_CLASS;

	vapic_set(vapic, APIC_PPR, (tpr & VAPIC_CLASS) >= service ? tpr : service);
}

/* "Evaluation of Pending Virtual Interrupts" */
static void evaluate(struct vapic *vapic)
{
	vapic->recognized = !vapic->intr_window &&
	                    (vapic->rvi & VAPIC_CLASS) > (vapic_get(vapic, APIC_PPR) & VAPIC_CLASS);
}

static void raise_rvi(struct vapic *vapic, u8 vector)
{
	if (vector > vapic->rvi)
		vapic->rvi = vector;
}

bool vapic_is_below_threshold(const struct vapic *vapic)
{
	return vapic->tpr_shadow && !vapic->vid &&
	       (vapic_get(vapic, APIC_TPR) >> 4 & 0xf) < (vapic->threshold & 0xf);
}

struct vapic_result vapic_tpr(struct vapic *vapic)
{
	if (vapic_is_below_threshold(vapic))
		return vapic_exit(VAPIC_AFTER, VMX_EXIT_TPR_BELOW_THRESHOLD, 0);
	vapic->counts[HW_TPR]++;
	if (vapic->vid) {
		update_ppr(vapic);
		evaluate(vapic);
	}
	return vapic_done();
}

/* --- delivery and end --- */

bool vapic_can_deliver(const struct vapic *vapic, bool open)
{
	return vapic->recognized && open && !vapic->intr_window;
}

u8 vapic_deliver(struct vapic *vapic)
{
	u8 vector = vapic->rvi;

	put(vapic, APIC_ISR, vector);
	vapic->svi = vector;
	vapic_set(vapic, APIC_PPR, vector & VAPIC_CLASS);
	take(vapic, APIC_IRR, vector);
	vapic->rvi = highest(vapic, APIC_IRR);
	vapic->recognized = false;
	vapic->counts[HW_DELIVERED]++;
	return vector;
}

struct vapic_result vapic_end(struct vapic *vapic)
{
	u8 vector = vapic->svi;

	if (!vector && vapic_is(vapic, VAPIC_EMPTY_EOI_IGNORED))
		return vapic_done();
	take(vapic, APIC_ISR, vector);
	vapic->svi = highest(vapic, APIC_ISR);
	update_ppr(vapic);
	/* What has become deliverable by it, the next VM entry finds. */
	if (vapic->eoi_exit[vector / 64] & BIT64(vector % 64))
		return vapic_exit(VAPIC_AFTER, VMX_EXIT_EOI, vector);
	vapic->counts[HW_EOI]++;
	evaluate(vapic);
	return vapic_done();
}

void vapic_self_ipi(struct vapic *vapic, u8 vector)
{
	if (put(vapic, APIC_IRR, vector))
		vapic->counts[HW_COALESCED]++;
	vapic->counts[HW_REQUESTS]++;
	vapic->counts[HW_IPI_SELF]++;
	raise_rvi(vapic, vector);
	evaluate(vapic);
}

/* --- CR8 --- */

struct vapic_result vapic_write_cr8(struct vapic *vapic, u64 value)
{
	if (value & ~CR8_BITS)
		return (struct vapic_result){.action = VAPIC_GP};
	if (!vapic->tpr_shadow)
		return (struct vapic_result){.action = VAPIC_ORDINARY};
	vapic_set(vapic, APIC_TPR, (u32)value << 4);
	return vapic_tpr(vapic);
}

struct vapic_result vapic_read_cr8(const struct vapic *vapic, u64 *value)
{
	if (!vapic->tpr_shadow)
		return (struct vapic_result){.action = VAPIC_ORDINARY};
	*value = vapic_get(vapic, APIC_TPR) >> 4 & CR8_BITS;
	return vapic_done();
}

/* --- entry and exit --- */

void vapic_enter(struct vapic *vapic, u16 status)
{
	vapic->written = false;
	vapic->recognized = false;
	vapic->rvi = 0;
	vapic->svi = 0;
	if (!vapic->vid)
		return;
	vapic->rvi = (u8)VMX_RVI(status);
	vapic->svi = (u8)VMX_SVI(status);
	update_ppr(vapic);
	evaluate(vapic);
}

u16 vapic_leave(struct vapic *vapic)
{
	vapic->written = false;
	vapic->recognized = false;
	return (u16)VMX_INTR_STATUS(vapic->rvi, vapic->svi);
}

/* --- posted interrupts --- */

/*
 * 64 requests of PIR, which leave it in one step, into two words of VIRR. Returns the highest; 0:
 * none. In between they are in neither place; but nobody except this processor looks for them
 * there.
 */
static u8 collect(struct vapic *vapic, u32 index)
{
	u64 requests = atomic64_xchg(&vapic->pi_desc->pir[index], 0);

	for (u32 half = 0; half < 2; half++) {
		u32 at = vector_offset(APIC_IRR, index * 64 + half * 32);
		u32 word = (u32)(requests >> 32 * half), both;

		if (!word)
			continue;
		both = word & atomic32_fetch_or(vapic_word(vapic, at), word);
		for (; both; both &= both - 1)
			vapic->counts[HW_COALESCED]++;
	}
	return requests ? (u8)(index * 64 + 63 - (u32)__builtin_clzll(requests)) : 0;
}

/*
 * ON is cleared before PIR is read. A sender sets its bit in PIR before it looks at ON, so:
 *
 *      sender                       this processor
 *      ------                       --------------
 *      1 PIR |= bit                 a ON = 0
 *      2 ON was 0? ON = 1, notify   b PIR read and cleared
 *
 * 1 before b: the bit is collected. b before 1: then ON is 0 at 2, and the notification comes.
 */
bool vapic_process_posted(struct vapic *vapic, u8 vector)
{
	if (!vapic->pi_desc || vector != vapic->pi_vector)
		return false;
	atomic64_fetch_and(&vapic->pi_desc->control, ~PI_ON);
	vapic->eoi(vapic->context);
	for (u32 i = 0; i < ARRAY_SIZE(vapic->pi_desc->pir); i++)
		raise_rvi(vapic, collect(vapic, i));
	if (vapic_is(vapic, VAPIC_POSTED_BY_VIRR))
		raise_rvi(vapic, highest(vapic, APIC_IRR));
	evaluate(vapic);
	return true;
}
