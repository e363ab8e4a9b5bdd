/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The software's part in a local APIC that the processor accelerates. The page is common to both:
 *
 *  - The processor sets IRR bits of other APICs, moves its own from IRR to ISR, keeps PPR, ends
 *    edge-triggered interrupts. The summaries of irq/lapic.c are set up anew when that is over.
 *  - Some registers it writes and then tells (trap). Their handlers compare with what was there before,
 *    so that is kept here, put back, and the write made again as software would have made it.
 *  - Of an IPI that it could not finish either nothing has happened, or all targets have their request
 *    bit and those that did not run may not know. The first is sent as by software; sending again to
 *    somebody who has the bit does no harm, since it is the same bit.
 *
 * Requests apart from the page (irq/accel.h), in all modes of the vCPU:
 *
 *      a sender                               the vCPU's processor
 *      --------                               --------------------
 *      1 bit apart                            a mode = IN_GUEST
 *      2 ON; it was set? then done            b ON? clear it: else to d
 *      3 asleep? wake it, done                c bits apart to IRR; decide by IRR, then to a
 *      4 in the guest? notify its processor   d in the guest
 *
 * Whoever sets ON tells the vCPU: those who find it set rely on him. 2 before b: it is seen there. 2 behind b: 4 sees a.
 * A bit that c has not seen is 1 behind c, so that 2 is behind b's clearing, and the next look finds it. An
 * accelerated vCPU decides nothing by software: the back end looks (b) and moves (c) while it prepares the entry. One that
 * goes to sleep has BLOCKED in a's place, and does not sleep if it finds ON.
 *
 * At c each bit is set in IRR before it is cleared apart, so that nobody who looks for it (lapic_holds()) finds it in
 * neither; a sender that finds it still apart has become one with a request that nobody has taken yet. Processors that
 * collect by themselves do it the other way round.
 */
#include "irq/lapic_priv.h"

#include "core/vm.h"
#include "irq/accel.h"
#include "irq/route.h"

#define WORDS 8

static const u16 kept[] = {
        APIC_ID,    APIC_LDR,  APIC_DFR,  APIC_SVR,    APIC_ESR,   APIC_LVTT, APIC_LVTTHMR,
        APIC_LVTPC, APIC_LVT0, APIC_LVT1, APIC_LVTERR, APIC_TMICT, APIC_TDCR, APIC_RRD,
};
_Static_assert(ARRAY_SIZE(kept) <= LAPIC_KEPT, "all have a place");

void lapic_keep(struct lapic *lapic)
{
	for (u32 i = 0; i < ARRAY_SIZE(kept); i++)
		lapic->kept[i] = lapic_get(lapic, kept[i]);
}

/* --- requests apart from the page --- */

static void count_coalesced(struct lapic *lapic, u64 n)
{
	counter_add_shared(&lapic->vcpu->account.counters[COUNTER_COALESCED], n);
}

bool lapic_is_posted(const struct lapic *lapic, u8 vector)
{
	return atomic64_read_acquire(&lapic->vcpu->accel.apart.word[vector / 64]) &
	       BIT64(vector % 64);
}

/* Word `i` of IRR. One that was requested there already has taken the other in. */
static void request_word(struct lapic *lapic, u32 i, u32 bits)
{
	u32 both;

	if (!bits)
		return;
	both = atomic32_fetch_or(lapic_word(lapic, APIC_IRR + i * LAPIC_STRIDE), bits) & bits;
	for (; both; both &= both - 1)
		count_coalesced(lapic, 1);
	if (lapic_is_accelerated(lapic))
		lapic->status_changed = true;
	else
		atomic32_fetch_or(&lapic->irr_summary, BIT(i));
}

bool lapic_harvest(struct lapic *lapic)
{
	struct atomic64 *word = lapic->vcpu->accel.apart.word;

	if (!lapic_has_posted(lapic))
		return false;
	atomic64_fetch_and(&lapic->vcpu->accel.apart.control, ~ACCEL_REQUESTS_ON);
	for (u32 i = 0; i < WORDS / 2; i++) {
		u64 bits = atomic64_read(&word[i]);

		if (!bits)
			continue;
		request_word(lapic, 2 * i, (u32)bits);
		request_word(lapic, 2 * i + 1, (u32)(bits >> 32));
		atomic64_fetch_and(&word[i], ~bits);
	}
	return true;
}

/* ON first: who has it set from here on finds what it was set for. */
void lapic_forget_posted(struct lapic *lapic)
{
	atomic64_fetch_and(&lapic->vcpu->accel.apart.control, ~ACCEL_REQUESTS_ON);
	for (u32 i = 0; i < WORDS / 2; i++)
		atomic64_set(&lapic->vcpu->accel.apart.word[i], 0);
}

void lapic_may_accelerate(struct vcpu *vcpu, bool apart)
{
	vcpu->lapic.acceptance = apart ? LAPIC_ACCEPT_APART : LAPIC_ACCEPT_COUNTED;
	vcpu->lapic.by = apart ? LAPIC_BY_OWNER : 0;
}

void lapic_keep_icr_in_one(struct vcpu *vcpu)
{
	vcpu->lapic.icr_in_one = true;
}

/* --- on and off --- */

/* One too many in the summary of IRR is harmless. A bit that others set meanwhile they also put there. */
static void summarize(struct lapic *lapic)
{
	lapic->isr_summary = 0;
	for (u32 i = 0; i < WORDS; i++) {
		if (atomic32_read(lapic_word(lapic, APIC_IRR + i * LAPIC_STRIDE)))
			atomic32_fetch_or(&lapic->irr_summary, BIT(i));
		if (lapic_get(lapic, APIC_ISR + i * LAPIC_STRIDE))
			lapic->isr_summary |= BIT(i);
	}
}

void lapic_accelerated(struct vcpu *vcpu, bool on)
{
	struct lapic *lapic = &vcpu->lapic;

	if (!on) {
		lapic->by &= (u8)~LAPIC_BY_PROCESSOR;
		summarize(lapic);
		return;
	}
	lapic->by |= LAPIC_BY_PROCESSOR;
	lapic->status_changed = true;
	/* From here on the summary says nothing, and is not looked at closer for that. */
	if (lapic->by & LAPIC_BY_OWNER)
		atomic32_set(&lapic->irr_summary, 0);
	lapic_keep(lapic);
}

void lapic_written(struct vcpu *vcpu, u32 offset)
{
	struct lapic *lapic = &vcpu->lapic;
	u32 value = lapic_get(lapic, offset);

	for (u32 i = 0; i < ARRAY_SIZE(kept); i++)
		if (kept[i] == offset)
			lapic_set(lapic, offset, lapic->kept[i]);
	lapic_write_again(lapic, offset, value);
	lapic_keep(lapic);
}

/* See to it that these look at their requests, which may have come without their knowledge. */
static void tell(struct vcpu *vcpu, u64 set, u8 vector)
{
	for (; set; set &= set - 1) {
		struct vcpu *target = vcpu->vm->vcpu[__builtin_ctzll(set)];

		/* For one that is not accelerated: its requests are found by the summary. */
		atomic32_fetch_or(&target->lapic.irr_summary, BIT(vector / 32));
		/* The sender is outside of the guest, and looks before it enters again. */
		if (target != vcpu)
			lapic_posted(target);
	}
}

static u64 destinations(struct vcpu *vcpu, u32 icr, u32 dest)
{
	struct irq_message message = {
	        .dest = dest,
	        .delivery = icr & APIC_DM_MASK,
	        .shorthand = icr & APIC_DEST_SHORTHAND,
	        .vector = (u8)icr,
	        .logical = icr & APIC_DEST_LOGICAL,
	        .x2apic_format = lapic_in_x2apic(&vcpu->lapic),
	        .sender = vcpu,
	};

	return apic_map_destinations(vcpu->vm, &message);
}

void lapic_ipi_incomplete(struct vcpu *vcpu, u32 icr, u32 dest, bool posted)
{
	struct lapic *lapic = &vcpu->lapic;

	icr &= ~APIC_ICR_BUSY;
	if (!lapic_in_x2apic(lapic))
		lapic_set(lapic, APIC_ICR, icr);
	if (posted) {
		vcpu_count(vcpu, COUNTER_IPI_STOPPED);
		tell(vcpu, destinations(vcpu, icr, dest), (u8)icr);
	} else {
		vcpu_count(vcpu, COUNTER_IPI_EMULATED);
		lapic_send(lapic, icr, dest);
	}
	/* Sent by tables that were no longer right, some of it may be with anybody. */
	if (atomic32_read(&vcpu->vm->inhibit.mask) & APIC_MAP_INHIBITS)
		tell(vcpu, ~0ull >> (64 - vcpu->vm->vcpu_count), (u8)icr);
}
