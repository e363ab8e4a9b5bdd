/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Injection, once, for both vendors. Rules it lives by:
 *
 * - One event per entry. Order: the event whose delivery an exit cut short, an exception that
 *   emulation raised, NMI, ExtINT, then the local APIC's highest vector (APM "Exceptions and
 *   Interrupts", priorities; SDM "Priority Among Simultaneous Exceptions and Interrupts").
 * - A maskable interrupt needs RFLAGS.IF, no interrupt shadow, and a free slot; an NMI that no NMI
 *   handler runs. If not: a window, an exit as soon as it can be taken.
 * - What was injected but not delivered (a request or a physical interrupt came first) is taken back
 *   at the next preparation and competes anew, so the slot always holds the best that there is.
 * - An NMI behind another event in the same entry has no window on every processor: then the entry
 *   is a forced immediate exit (requirement S4), and the NMI goes with the next one.
 * - While a guest of the guest runs, what its hypervisor asked for (INTR_BLOCK_NESTED) goes there first,
 *   and then by these rules: core/nested.h.
 * - An interrupt whose priority class is not above the PPR waits for the guest: EOI and writes of
 *   the TPR register exit anyway; CR8 is made to exit while something waits for it (intr_tpr_exit).
 * - So is it while TPR has a subclass, which any write of CR8 clears ("Task Priority Register (TPR)"):
 *   the processor says what CR8 is, and not that the same was written again.
 */
#include "irq/intr.h"
#include "core/machine.h"
#include "core/nested.h"
#include "irq/extint.h"
#include "irq/irq_window.h"
#include "irq/lapic_priv.h"
#include "postern/port.h"
#include "x86/apic.h"

void intr_reset(struct vcpu *vcpu)
{
	irq_window_close(vcpu);
	vcpu->intr = (struct intr_state){0};
}

static enum intr_block blocked(struct vcpu *vcpu, enum intr_class class)
{
	return backend_op(intr_blocked)(vcpu, class);
}

/* --- windows: state kept here, so that opening and closing happen once --- */

static void set_window(struct vcpu *vcpu, bool open)
{
	if (vcpu->intr.window_open == open)
		return;
	vcpu->intr.window_open = open;
	backend_op(intr_window)(vcpu, INTR_CLASS_EXTERNAL, open);
	if (!open)
		return;
	vcpu_count(vcpu, COUNTER_WINDOWS);
	irq_window_open(vcpu);
}

static void set_nmi_window(struct vcpu *vcpu, bool open)
{
	if (vcpu->intr.nmi_window_open == open)
		return;
	vcpu->intr.nmi_window_open = open;
	backend_op(intr_window)(vcpu, INTR_CLASS_NMI, open);
	if (open)
		vcpu_count(vcpu, COUNTER_NMI_WINDOWS);
}

static void set_tpr_exit(struct vcpu *vcpu, bool on)
{
	if (vcpu->intr.tpr_exit == on)
		return;
	vcpu->intr.tpr_exit = on;
	backend_op(intr_tpr_exit)(vcpu, on);
}

/* --- what is pending --- */

static bool has_extint(struct vcpu *vcpu)
{
	return extint_has(vcpu->vm) && lapic_accepts_extint(vcpu);
}

static bool has_external(struct vcpu *vcpu)
{
	return has_extint(vcpu) || lapic_deliverable(vcpu) >= 0;
}

/*
 * The local APIC's vector to inject: the processor delivers those of an accelerated vCPU itself, once they are in
 * its page.
 */
static int injectable(struct vcpu *vcpu)
{
	if (!accel_is_on(&vcpu->accel))
		return lapic_deliverable(vcpu);
	if (vcpu->lapic.by & LAPIC_BY_OWNER)
		lapic_harvest(&vcpu->lapic);
	return -1;
}

bool intr_has_deliverable(struct vcpu *vcpu)
{
	struct intr_state *intr = &vcpu->intr;
	u32 signals = atomic32_read(&vcpu->lapic.signals);
	enum intr_block block;

	if (intr->again.valid || intr->exception.valid)
		return true;
	if ((intr->nmi_pending || signals & LAPIC_SIGNAL_NMI) &&
	    blocked(vcpu, INTR_CLASS_NMI) != INTR_BLOCK_NMI)
		return true;
	/* The shadow of STI ends with the HLT that asks. */
	block = blocked(vcpu, INTR_CLASS_EXTERNAL);
	return (block == INTR_BLOCK_NONE || block == INTR_BLOCK_SHADOW ||
	        block == INTR_BLOCK_NESTED) &&
	       has_external(vcpu);
}

/* --- commit --- */

static const enum counter_id source_counter[IRQ_SOURCE_COUNT] = {
        [IRQ_SOURCE_IPI] = COUNTER_INJ_IPI,       [IRQ_SOURCE_MSI] = COUNTER_INJ_MSI,
        [IRQ_SOURCE_IOAPIC] = COUNTER_INJ_IOAPIC, [IRQ_SOURCE_TIMER] = COUNTER_INJ_TIMER,
        [IRQ_SOURCE_LOCAL] = COUNTER_INJ_LOCAL,   [IRQ_SOURCE_SYNIC] = COUNTER_INJ_SYNIC,
};

static void inject(struct vcpu *vcpu, struct intr_event *event, enum counter_id counter)
{
	backend_op(intr_inject)(vcpu, event);
	event->valid = false;
	vcpu_count(vcpu, counter);
}

/* Accounts tell deliveries: what is taken back is not counted. */
static __inlined void count_delivery(struct vcpu *vcpu, u8 source, u64 n)
{
	vcpu_count_n(vcpu, source_counter[source], n);
	if (source == IRQ_SOURCE_IPI)
		vcpu_count_n(vcpu, COUNTER_IPI_RECEIVED, n);
}

static __inlined void take_back(struct vcpu *vcpu)
{
	struct intr_state *intr = &vcpu->intr;

	if (!intr->in_slot)
		return;
	intr->in_slot = false;
	if (!backend_op(intr_retract)(vcpu))
		return;
	lapic_unack(vcpu, intr->slot_vector);
	count_delivery(vcpu, intr->slot_source, (u64)-1);
	vcpu_count(vcpu, COUNTER_INJ_AGAIN);
}

/* `vector`, from lapic_deliverable(), acknowledged, into `event`. */
static void take_lapic(struct vcpu *vcpu, int vector, struct intr_event *event)
{
	struct intr_state *intr = &vcpu->intr;

	event->vector = (u8)vector;
	intr->in_slot = true;
	intr->slot_vector = event->vector;
	intr->slot_source = (u8)lapic_ack(vcpu, event->vector);
	count_delivery(vcpu, intr->slot_source, 1);
}

/*
 * Acknowledge the source and inject its vector: ExtINT, or `vector` of the local APIC. The 8259's INTR
 * may fall at any time (another vCPU masks the line): its answer is then the spurious vector.
 */
static void take_external(struct vcpu *vcpu, bool extint, int vector)
{
	struct intr_event event = {.type = INTR_TYPE_EXTERNAL, .valid = true};

	if (extint) {
		event.vector = extint_ack(vcpu->vm);
		lapic_ack_extint(vcpu);
		vcpu_count(vcpu, COUNTER_INJ_EXTINT);
	} else {
		take_lapic(vcpu, vector, &event);
	}
	backend_op(intr_inject)(vcpu, &event);
}

/* Returns force_immediate_exit. */
static bool prepare_nmi(struct vcpu *vcpu)
{
	struct intr_state *intr = &vcpu->intr;
	struct intr_event event = {.vector = VECTOR_NMI, .type = INTR_TYPE_NMI, .valid = true};
	enum intr_block block;
	bool force = false;
	u32 limit;

	/* The processor holds one NMI while another is handled; a third is lost (APM "NMI"). */
	intr->nmi_pending += lapic_take_nmi(vcpu);
	limit = blocked(vcpu, INTR_CLASS_NMI) == INTR_BLOCK_NMI ? 1 : 2;
	if (intr->nmi_pending > limit)
		intr->nmi_pending = limit;
	if (intr->nmi_pending) {
		block = blocked(vcpu, INTR_CLASS_NMI);
		if (block == INTR_BLOCK_NONE) {
			inject(vcpu, &event, COUNTER_INJ_NMI);
			intr->nmi_pending--;
		} else if (block == INTR_BLOCK_SLOT) {
			force = backend_op(intr_force)(vcpu, INTR_CLASS_NMI);
		} else if (block == INTR_BLOCK_NESTED) {
			nested_leave(vcpu, NESTED_NMI);
			return false;
		}
	}
	set_nmi_window(vcpu, intr->nmi_pending && !force);
	return force;
}

static bool slot_is_in_service(const struct vcpu *vcpu)
{
	return vcpu->intr.in_slot && !lapic_has_auto_eoi(&vcpu->lapic, vcpu->intr.slot_vector);
}

/*
 * The window counts until what it was for has left the slot: V_IRQ, which carries it, wants acceleration to be
 * off as the window does.
 */
static void close_counted_window(struct vcpu *vcpu)
{
	if (vcpu->accel.window && blocked(vcpu, INTR_CLASS_EXCEPTION) != INTR_BLOCK_SLOT)
		irq_window_close(vcpu);
}

static bool prepare_external(struct vcpu *vcpu)
{
	bool extint = has_extint(vcpu);
	int vector = injectable(vcpu);
	bool pending = extint || vector >= 0;
	enum intr_block block = pending ? blocked(vcpu, INTR_CLASS_EXTERNAL) : INTR_BLOCK_NONE;
	bool taken = pending && block == INTR_BLOCK_NONE, force = false;

	/*
	 * Where a window wants acceleration to be off, so does an ExtINT, which software injects: a request
	 * brings us back.
	 */
	if (extint && accel_is_on(&vcpu->accel) && vcpu->vm->inhibit.needed & INHIBIT_BIT(IRQWIN)) {
		irq_window_open(vcpu);
		return false;
	}
	if (taken) {
		set_window(vcpu, false);
		take_external(vcpu, extint, vector);
		/*
		 * Behind a vector of the local APIC nothing else of it is deliverable, unless that one
		 * has ended already (AutoEOI); a higher one that arrives from here on is a request,
		 * which the entry does not pass.
		 */
		pending = has_extint(vcpu) || (!slot_is_in_service(vcpu) && injectable(vcpu) >= 0);
	} else if (block == INTR_BLOCK_SLOT) {
		force = backend_op(intr_force)(vcpu, INTR_CLASS_EXTERNAL);
	} else if (block == INTR_BLOCK_NESTED) {
		nested_leave(vcpu, NESTED_INTERRUPT);
		return false;
	}
	set_window(vcpu, pending && !force);
	if (!pending && !taken)
		close_counted_window(vcpu);
	return force;
}

void intr_before_switch(struct vcpu *vcpu)
{
	take_back(vcpu);
	set_window(vcpu, false);
}

void intr_before_nested(struct vcpu *vcpu)
{
	intr_before_switch(vcpu);
	set_nmi_window(vcpu, false);
	set_tpr_exit(vcpu, false);
}

void intr_before_wait(struct vcpu *vcpu)
{
	if (!vcpu->accel.window)
		return;
	set_window(vcpu, false);
	close_counted_window(vcpu);
}

static __noinline void prepare_exception(struct vcpu *vcpu)
{
	enum intr_block block = blocked(vcpu, INTR_CLASS_EXCEPTION);

	if (block == INTR_BLOCK_NONE)
		inject(vcpu, &vcpu->intr.exception, COUNTER_INJ_EXCEPTION);
	else if (block == INTR_BLOCK_NESTED)
		nested_leave(vcpu, NESTED_EXCEPTION);
}

static bool tpr_has_subclass(const struct vcpu *vcpu)
{
	return lapic_get(&vcpu->lapic, APIC_TPR) & 0xf;
}

/*
 * The usual case: nothing was injected, is open or pending. Each of the rest looks closer. Of an APIC that is
 * the processor's, software looks at nothing but what is apart.
 */
static __inlined bool is_idle(struct vcpu *vcpu)
{
	const struct intr_state *intr = &vcpu->intr;

	if (intr->in_slot | intr->again.valid | intr->exception.valid | intr->window_open |
	            intr->nmi_window_open | intr->tpr_exit ||
	    intr->nmi_pending)
		return false;
	if (atomic32_read(&vcpu->lapic.signals))
		return false;
	if (vcpu->lapic.by != LAPIC_BY_PROCESSOR &&
	    (atomic32_read(&vcpu->lapic.irr_summary) || tpr_has_subclass(vcpu)))
		return false;
	return !extint_has(vcpu->vm);
}

static __inlined void update_tpr_exit(struct vcpu *vcpu)
{
	set_tpr_exit(vcpu, !accel_is_on(&vcpu->accel) &&
	                           (tpr_has_subclass(vcpu) || lapic_waits_for_tpr(vcpu)));
}

/* Not inline: the usual case saves no registers. */
static __noinline bool prepare(struct vcpu *vcpu)
{
	struct intr_state *intr = &vcpu->intr;
	bool force = false;

	take_back(vcpu);
	if (intr->again.valid && blocked(vcpu, INTR_CLASS_EXCEPTION) == INTR_BLOCK_NONE)
		inject(vcpu, &intr->again, COUNTER_INJ_AGAIN);
	if (intr->exception.valid)
		prepare_exception(vcpu);
	if (intr->nmi_pending || intr->nmi_window_open || lapic_has_signal(vcpu))
		force |= prepare_nmi(vcpu);
	force |= prepare_external(vcpu);
	update_tpr_exit(vcpu);
	return force;
}

bool intr_prepare_entry(struct vcpu *vcpu)
{
	if (!is_idle(vcpu))
		return prepare(vcpu);
	/* All that is left of an interrupt that went through a window. */
	close_counted_window(vcpu);
	return false;
}

/* As prepare_external(), with nothing else that could be in the slot. */
void intr_prepare_local(struct vcpu *vcpu)
{
	int vector;

	take_back(vcpu);
	vector = injectable(vcpu);
	if (vector >= 0 && blocked(vcpu, INTR_CLASS_EXTERNAL) == INTR_BLOCK_NONE) {
		set_window(vcpu, false);
		take_external(vcpu, false, vector);
	} else {
		set_window(vcpu, vector >= 0);
	}
	update_tpr_exit(vcpu);
}

/* --- for a debugger: apart from the above, which is on every way into a guest --- */

static __noinline void put_exception(struct vcpu *vcpu, struct intr_event *event,
                                     enum counter_id counter)
{
	if (!event->valid || blocked(vcpu, INTR_CLASS_EXCEPTION) != INTR_BLOCK_NONE)
		return;
	backend_op(intr_inject)(vcpu, event);
	event->valid = false;
	vcpu_count(vcpu, counter);
}

/* What was in the slot waits in IRR again, and no window is wanted. */
static void prepare_kept(struct vcpu *vcpu)
{
	intr_before_switch(vcpu);
	put_exception(vcpu, &vcpu->intr.again, COUNTER_INJ_AGAIN);
	put_exception(vcpu, &vcpu->intr.exception, COUNTER_INJ_EXCEPTION);
	set_nmi_window(vcpu, false);
}

bool intr_prepare_step(struct vcpu *vcpu, enum intr_block why)
{
	if (why != INTR_BLOCK_DEBUG)
		return intr_prepare_entry(vcpu);
	prepare_kept(vcpu);
	return false;
}
