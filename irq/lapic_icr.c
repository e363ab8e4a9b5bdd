/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sending interprocessor interrupts: ICR and SELF IPI.
 *
 * The rules (SDM volume 3 "Issuing Interprocessor Interrupts"):
 *  - The write of ICR's low half sends; the destination was written before.
 *  - A shorthand names the destination by itself, and not every delivery mode goes with each.
 *  - A fixed or lowest-priority message with a vector below 16 is not sent and sets bit 5 of ESR.
 *  - The trigger mode means something for the INIT level de-assert only, which does nothing since
 *    the APICs have fixed arbitration IDs; all that is sent is edge-triggered.
 */
#include "irq/lapic_priv.h"

#include "core/vm.h"

#define DELIVERY_INDEX(icr) (((icr)&APIC_DM_MASK) >> 8)
#define MODE(dm)            BIT(DELIVERY_INDEX(dm))
#define MODES_TO_OTHERS                                                                            \
	(MODE(APIC_DM_FIXED) | MODE(APIC_DM_LOWEST) | MODE(APIC_DM_SMI) | MODE(APIC_DM_NMI) |      \
	 MODE(APIC_DM_INIT) | MODE(APIC_DM_SIPI))

/* "Valid Combinations for the APIC Interrupt Command Register" */
static const u8 valid_modes[4] = {
        [APIC_DEST_FIELD >> 18] = MODES_TO_OTHERS,
        [APIC_DEST_SELF >> 18] = MODE(APIC_DM_FIXED),
        [APIC_DEST_ALL >> 18] = MODE(APIC_DM_FIXED),
        [APIC_DEST_OTHERS >> 18] = MODES_TO_OTHERS,
};

static bool is_deassert(u32 icr)
{
	return (icr & APIC_DM_MASK) == APIC_DM_INIT && (icr & APIC_TRIGGER_LEVEL) &&
	       !(icr & APIC_LEVEL_ASSERT);
}

static bool has_vector_below_16(u32 icr)
{
	return ((icr & APIC_DM_MASK) == APIC_DM_FIXED || (icr & APIC_DM_MASK) == APIC_DM_LOWEST) &&
	       (icr & 0xff) < 16;
}

void lapic_send(struct lapic *lapic, u32 icr_low, u32 dest)
{
	struct irq_message message = {
	        .dest = dest,
	        .delivery = icr_low & APIC_DM_MASK,
	        .shorthand = icr_low & APIC_DEST_SHORTHAND,
	        .vector = (u8)icr_low,
	        .logical = icr_low & APIC_DEST_LOGICAL,
	        .assert = true,
	        .x2apic_format = lapic_in_x2apic(lapic),
	        .source = IRQ_SOURCE_IPI,
	        .sender = lapic->vcpu,
	};

	if (!(valid_modes[message.shorthand >> 18] & MODE(icr_low)) || is_deassert(icr_low)) {
		vcpu_count(lapic->vcpu, COUNTER_IPI_SENT_OTHER);
		return;
	}
	if (has_vector_below_16(icr_low)) {
		vcpu_count(lapic->vcpu, COUNTER_IPI_SENT_OTHER);
		lapic_error(lapic, APIC_ESR_SEND_ILLEGAL);
		return;
	}
	irq_deliver(lapic->vcpu->vm, &message);
}

bool lapic_fast_self_ipi(struct vcpu *vcpu, u8 vector)
{
	/* With AutoEOI the interrupt's end comes at once, and that may need locks. */
	if (!lapic_in_x2apic(&vcpu->lapic) || vector < 16 || vcpu->lapic.auto_eoi ||
	    !lapic_accept_own(&vcpu->lapic, vector, IRQ_SOURCE_IPI))
		return false;
	vcpu_count(vcpu, COUNTER_IPI_SENT_SELF);
	return true;
}

void lapic_send_self(struct lapic *lapic, u8 vector)
{
	if (vector < 16) {
		lapic_send(lapic, APIC_DEST_SELF | APIC_LEVEL_ASSERT | APIC_DM_FIXED | vector, 0);
		return;
	}
	vcpu_count(lapic->vcpu, COUNTER_IPI_SENT_SELF);
	lapic_accept_own(lapic, vector, IRQ_SOURCE_IPI);
}
