/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The local APIC's core: priorities, acceptance, acknowledgement, end of interrupt, signals, reset.
 *
 * The rules (SDM volume 3 "Interrupt, Task, and Processor Priority", "Interrupt Acceptance for
 * Fixed Interrupts", "Signaling Interrupt Servicing Completion"):
 *  - The class of a vector is its upper four bits. Vectors 0..15 are illegal.
 *  - PPR is TPR where TPR's class is at least that of the highest vector in service, otherwise that
 *    vector's class. A request is delivered when its class is above PPR's.
 *  - TMR says at acceptance whether the request is level-triggered; EOI of such a vector is told to
 *    the I/O APIC, unless SVR suppresses it.
 *  - An APIC disabled by software (SVR) keeps and delivers what it has accepted, accepts no more
 *    fixed interrupts, and still takes INIT, NMI and SIPI.
 *  - NMI, INIT, SIPI and ExtINT pass by IRR, ISR and TMR.
 *  - A vector with AutoEOI (TLFS "SINTx Registers") ends when it is delivered: it is never in service,
 *    and the PPR stays.
 */
#include "irq/lapic_priv.h"

#include "core/vm.h"
#include "irq/eoi_exit.h"
#include "irq/extint.h"
#include "irq/notify.h"
#include "irq/synic.h"
#include "postern/backend.h"
#include "postern/port.h"

#define IRR_WORDS   8
#define SIGNAL_NMIS (LAPIC_SIGNAL_NMI | LAPIC_SIGNAL_NMI2)
#define SIPI_VECTOR (0xffu << LAPIC_SIGNAL_SIPI_VECTOR_SHIFT)
#define SIGNAL_SIPI (LAPIC_SIGNAL_SIPI | SIPI_VECTOR)
#define FIRST_LEGAL 16 /* vectors below are reserved: "Valid Interrupt Vectors" */
#define CLASS_MASK  0xf0u

u32 lapic_register(const struct lapic *lapic, u32 offset)
{
	return lapic_get(lapic, offset);
}

/* ---- priorities ---- */

static u32 top_bit(u32 word)
{
	return 31 - (u32)__builtin_clz(word);
}

/* Which words of IRR to look at, where not the summary alone says it. What is apart belongs to them, too. */
static __noinline u32 words_to_look_at(struct lapic *lapic)
{
	if (lapic->by & LAPIC_BY_OWNER)
		lapic_harvest(lapic);
	if (lapic_is_accelerated(lapic))
		return BIT(IRR_WORDS) - 1;
	return atomic32_read(&lapic->irr_summary);
}

/* Highest vector requested in these words of IRR, or -1. Owner. */
static __inlined int highest_request(const struct lapic *lapic, u32 words)
{
	while (words) {
		u32 i = top_bit(words);
		u32 word = atomic32_read_acquire(lapic_word(lapic, APIC_IRR + i * LAPIC_STRIDE));

		if (word)
			return (int)(i * 32 + top_bit(word));
		words &= ~BIT(i);
	}
	return -1;
}

/*
 * Not inline, for the sake of those without acceleration. Who asks changes ISR or may have: what the processor
 * has noted of it is to follow.
 */
static __noinline u32 sum_up_isr(struct lapic *lapic)
{
	u32 summary = 0;

	lapic->status_changed = true;
	for (u32 i = 0; i < IRR_WORDS; i++)
		if (lapic_get(lapic, APIC_ISR + i * LAPIC_STRIDE))
			summary |= BIT(i);
	return summary;
}

/* Highest vector in service, or -1. Owner. */
static __inlined int highest_in_service(struct lapic *lapic)
{
	u32 summary = lapic_is_accelerated(lapic) ? sum_up_isr(lapic) : lapic->isr_summary;
	u32 i;

	if (!summary)
		return -1;
	i = top_bit(summary);
	return (int)(i * 32 + top_bit(lapic_get(lapic, APIC_ISR + i * LAPIC_STRIDE)));
}

static void set_in_service(struct lapic *lapic, u8 vector)
{
	struct atomic32 *isr = lapic_vector_word(lapic, APIC_ISR, vector);

	atomic32_set_relaxed(isr, atomic32_read_relaxed(isr) | lapic_vector_bit(vector));
	lapic->isr_summary |= BIT(vector / 32);
}

static void clear_in_service(struct lapic *lapic, u8 vector)
{
	struct atomic32 *isr = lapic_vector_word(lapic, APIC_ISR, vector);
	u32 left = atomic32_read_relaxed(isr) & ~lapic_vector_bit(vector);

	atomic32_set_relaxed(isr, left);
	if (!left)
		lapic->isr_summary &= ~BIT(vector / 32);
}

/* TPR or ISR has changed: the page always holds the PPR that follows from them. */
static void update_ppr(struct lapic *lapic)
{
	u32 tpr = lapic_get(lapic, APIC_TPR) & 0xff;
	int vector = highest_in_service(lapic);
	u32 service = vector < 0 ? 0 : (u32)vector & CLASS_MASK;

	lapic_set(lapic, APIC_PPR, (tpr & CLASS_MASK) >= service ? tpr : service);
}

static __inlined int deliverable(const struct lapic *lapic, u32 words)
{
	int vector = highest_request(lapic, words);

	if (vector < 0 || ((u32)vector & CLASS_MASK) <= (lapic_get(lapic, APIC_PPR) & CLASS_MASK))
		return -1;
	return vector;
}

/* Apart, so that the usual way calls nothing. */
static __noinline int deliverable_specially(struct lapic *lapic)
{
	return deliverable(lapic, words_to_look_at(lapic));
}

int lapic_deliverable(struct vcpu *vcpu)
{
	struct lapic *lapic = &vcpu->lapic;

	if (lapic->by)
		return deliverable_specially(lapic);
	return deliverable(lapic, atomic32_read(&lapic->irr_summary));
}

void lapic_status(struct vcpu *vcpu, u8 *requested, u8 *in_service)
{
	struct lapic *lapic = &vcpu->lapic;
	int request = highest_request(lapic, words_to_look_at(lapic));
	int service = highest_in_service(lapic);

	*requested = request < 0 ? 0 : (u8)request;
	*in_service = service < 0 ? 0 : (u8)service;
	lapic->status_changed = false;
}

bool lapic_waits_for_tpr(struct vcpu *vcpu)
{
	struct lapic *lapic = &vcpu->lapic;
	u32 words = lapic->by ? words_to_look_at(lapic) : atomic32_read(&lapic->irr_summary);
	int vector = highest_request(lapic, words);
	u32 class = (u32)vector & CLASS_MASK;
	int service;

	/* Nearly always nothing is pending, or it is above the TPR. */
	if (vector < 0 || class > (lapic_get(lapic, APIC_TPR) & CLASS_MASK))
		return false;
	service = highest_in_service(lapic);
	return service < 0 || class > ((u32)service & CLASS_MASK);
}

/* PPR may have fallen: what waited for that is looked at before the next entry. */
static void priority_changed(struct lapic *lapic)
{
	update_ppr(lapic);
	if (lapic_deliverable(lapic->vcpu) >= 0)
		vcpu_request(lapic->vcpu, VCPU_REQUEST_EVENT);
}

void lapic_set_tpr(struct lapic *lapic, u8 tpr)
{
	lapic_set(lapic, APIC_TPR, tpr);
	priority_changed(lapic);
}

u8 lapic_cr8(struct vcpu *vcpu)
{
	return (u8)(lapic_get(&vcpu->lapic, APIC_TPR) >> 4 & 0xf);
}

void lapic_set_cr8(struct vcpu *vcpu, u8 cr8)
{
	lapic_set_tpr(&vcpu->lapic, (u8)(cr8 << 4));
}

/* ---- acceptance, acknowledgement, end ---- */

/*
 * A vector that is pending already takes the request in: the two have become one. So what was accepted
 * is what was coalesced, what was injected, and what is still pending.
 */
static void request_vector(struct lapic *lapic, u8 vector)
{
	u32 bit = lapic_vector_bit(vector);

	if (atomic32_fetch_or(lapic_vector_word(lapic, APIC_IRR, vector), bit) & bit)
		counter_add_shared(&lapic->vcpu->account.counters[COUNTER_COALESCED], 1);
	atomic32_fetch_or(&lapic->irr_summary, BIT(vector / 32));
}

/*
 * The processor's deliveries are not told apart by source: their account needs the sum. true: the request is set,
 * apart from the page, and, if it is to be told, the vCPU has been.
 */
static __noinline bool accept_specially(struct lapic *lapic, u8 vector, bool tell)
{
	counter_add_shared(&lapic->vcpu->account.counters[COUNTER_ACCEPTED], 1);
	if (lapic->acceptance != LAPIC_ACCEPT_APART)
		return false;
	if (lapic_post(lapic, vector) && tell)
		accel_posted(lapic->vcpu);
	return true;
}

/*
 * The order of stores: TMR and source before IRR, so that whoever sees the request sees its kind;
 * IRR before the summary, so that whoever sees the summary finds the request; both before
 * vcpu_request(), whose barrier and mode check finish the job (core/vcpu.h). true: it is apart from the page, and
 * nothing is left to be done.
 */
static __inlined bool set_request(struct lapic *lapic, u8 vector, bool level,
                                  enum irq_source source, bool tell)
{
	struct atomic32 *tmr = lapic_vector_word(lapic, APIC_TMR, vector);
	u32 bit = lapic_vector_bit(vector);
	bool was_level = atomic32_read_relaxed(tmr) & bit;

	/* Nearly always right already: then the shared line is not written. */
	if (level && !was_level)
		atomic32_fetch_or(tmr, bit);
	else if (!level && was_level)
		atomic32_fetch_and(tmr, ~bit);

	atomic32_set_relaxed(&lapic->source[vector], source);
	if (lapic->acceptance && accept_specially(lapic, vector, tell))
		return true;
	request_vector(lapic, vector);
	return false;
}

bool lapic_accept(struct lapic *lapic, u8 vector, bool level, enum irq_source source)
{
	if (!lapic_hardware_enabled(lapic) || !lapic_software_enabled(lapic))
		return false;
	if (vector < FIRST_LEGAL) {
		lapic_error(lapic, APIC_ESR_RECV_ILLEGAL);
		return false;
	}
	if (!set_request(lapic, vector, level, source, true))
		lapic_posted(lapic->vcpu);
	return true;
}

bool lapic_accept_own(struct lapic *lapic, u8 vector, enum irq_source source)
{
	if (!lapic_hardware_enabled(lapic) || !lapic_software_enabled(lapic))
		return false;
	set_request(lapic, vector, false, source, false);
	return true;
}

static bool end_at_once(struct lapic *lapic, u8 vector);

/*
 * IRR to ISR. When that empties the IRR word, its summary bit goes too, and may only go first:
 *
 *      acceptance (any processor)         lapic_ack (owner)
 *      --------------------------         -----------------
 *      1 set bit in IRR word              a clear bit in IRR word: word is 0
 *      2 set summary bit                  b clear summary bit
 *                                         c word not 0? set summary bit
 *
 * Invariant: a request whose acceptance has finished is in the summary. 2 after b: 2 itself sees to
 * it. 2 before b: then 1 is before c, which sees the bit and puts the summary back. A summary bit
 * over an empty word is harmless.
 */
enum irq_source lapic_ack(struct vcpu *vcpu, u8 vector)
{
	struct lapic *lapic = &vcpu->lapic;
	struct atomic32 *irr = lapic_vector_word(lapic, APIC_IRR, vector);
	u32 bit = lapic_vector_bit(vector);
	u32 summary = BIT(vector / 32);
	u32 before = atomic32_fetch_and(irr, ~bit);

	ASSERT(before & bit); /* only the owner takes requests away */
	if (before == bit) {
		atomic32_fetch_and(&lapic->irr_summary, ~summary);
		if (atomic32_read(irr))
			atomic32_fetch_or(&lapic->irr_summary, summary);
	}
	if (lapic->auto_eoi && end_at_once(lapic, vector))
		return (enum irq_source)atomic32_read_relaxed(&lapic->source[vector]);
	set_in_service(lapic, vector);
	/* It was deliverable: its class is above the TPR's and that of all else in service. */
	lapic_set(lapic, APIC_PPR, vector & CLASS_MASK);
	return (enum irq_source)atomic32_read_relaxed(&lapic->source[vector]);
}

void lapic_unack(struct vcpu *vcpu, u8 vector)
{
	struct lapic *lapic = &vcpu->lapic;

	if (lapic_has_auto_eoi(lapic, vector))
		vcpu_count_n(vcpu, COUNTER_AUTO_EOI, (u64)-1);
	else
		clear_in_service(lapic, vector);
	request_vector(lapic, vector); /* it may have been requested anew meanwhile */
	update_ppr(lapic);
}

/* In the order in which requests move: none is missed on its way. */
bool lapic_holds(const struct lapic *lapic, u8 vector)
{
	u32 held;

	if (lapic->acceptance == LAPIC_ACCEPT_APART && lapic_is_posted(lapic, vector))
		return true;
	held = atomic32_read_acquire(lapic_vector_word(lapic, APIC_IRR, vector)) |
	       atomic32_read_acquire(lapic_vector_word(lapic, APIC_ISR, vector));

	return held & lapic_vector_bit(vector);
}

/*
 * LVT0, Fixed and level-triggered: the input may ask again now. The 8259's INTR is what is wired to
 * LINT0 of every processor.
 */
static void end_local_level(struct lapic *lapic, u8 vector)
{
	u32 lvt0 = lapic_get(lapic, APIC_LVT0);

	if (!(lvt0 & APIC_LVT_REMOTE_IRR) || (lvt0 & 0xff) != vector)
		return;
	atomic32_fetch_and(lapic_word(lapic, APIC_LVT0), ~APIC_LVT_REMOTE_IRR);
	if (extint_has(lapic->vcpu->vm))
		lapic_local_interrupt(lapic->vcpu, APIC_LVT0);
}

/* It is no longer in service: tell those who wait for that. */
static __inlined void ended(struct lapic *lapic, u8 vector)
{
	eoi_exit_ended(lapic->vcpu, vector);
	if (atomic32_read_relaxed(&lapic->messages_wait))
		synic_scan(lapic->vcpu);
	if (!(lapic_get(lapic, APIC_TMR + vector / 32 * LAPIC_STRIDE) & lapic_vector_bit(vector))) {
		if (irq_notify_active(lapic->vcpu->vm))
			ioapic_eoi_edge(lapic->vcpu->vm, vector);
		return;
	}
	end_local_level(lapic, vector);
	if (!(lapic_get(lapic, APIC_SVR) & APIC_SVR_NO_BROADCAST))
		ioapic_eoi(lapic->vcpu->vm, vector);
}

/*
 * AutoEOI. false: not for this vector. Should it be taken back undelivered (lapic_unack), it is
 * requested anew, and a level that its line has raised meanwhile has become one with it.
 */
static __noinline bool end_at_once(struct lapic *lapic, u8 vector)
{
	if (!lapic_has_auto_eoi(lapic, vector))
		return false;
	vcpu_count(lapic->vcpu, COUNTER_AUTO_EOI);
	ended(lapic, vector);
	return true;
}

void lapic_set_auto_eoi(struct vcpu *vcpu, const u32 vectors[LAPIC_VECTOR_WORDS], bool any)
{
	struct lapic *lapic = &vcpu->lapic;

	for (u32 i = 0; i < LAPIC_VECTOR_WORDS; i++)
		lapic->auto_eoi_vectors[i] = vectors[i];
	lapic->auto_eoi = any;
}

void lapic_eoi(struct lapic *lapic)
{
	int in_service = highest_in_service(lapic);

	vcpu_count(lapic->vcpu, COUNTER_EOI);
	if (in_service < 0)
		return; /* nothing to end: nothing is broadcast either */
	clear_in_service(lapic, (u8)in_service);
	priority_changed(lapic);
	ended(lapic, (u8)in_service);
}

void lapic_eoi_written(struct vcpu *vcpu, u8 vector)
{
	struct lapic *lapic = &vcpu->lapic;

	if (lapic_get(lapic, APIC_ISR + vector / 32 * LAPIC_STRIDE) & lapic_vector_bit(vector)) {
		lapic_eoi(lapic);
		return;
	}
	vcpu_count(vcpu, COUNTER_EOI);
	ended(lapic, vector);
}

bool lapic_fast_eoi(struct vcpu *vcpu)
{
	struct lapic *lapic = &vcpu->lapic;
	int vector;

	if (!lapic_in_x2apic(lapic) || !lapic->isr_summary ||
	    atomic32_read_relaxed(&lapic->irr_summary) || vcpu->eoi_exit.has_stale ||
	    atomic32_read_relaxed(&lapic->messages_wait) || irq_notify_active(vcpu->vm))
		return false;
	vector = highest_in_service(lapic);
	if (lapic_get(lapic, APIC_TMR + (u32)vector / 32 * LAPIC_STRIDE) &
	    lapic_vector_bit((u8)vector))
		return false;
	clear_in_service(lapic, (u8)vector);
	update_ppr(lapic);
	vcpu_count(vcpu, COUNTER_EOI);
	return true;
}

/* ---- the local vector table as a source ---- */

static enum irq_source lvt_source(u32 lvt_register)
{
	return lvt_register == APIC_LVTT ? IRQ_SOURCE_TIMER : IRQ_SOURCE_LOCAL;
}

static void local_fixed(struct lapic *lapic, u32 lvt_register, u32 lvt)
{
	/* LINT1 is edge-triggered whatever its entry says: "Local Vector Table". */
	bool level = lvt_register == APIC_LVT0 && (lvt & APIC_LVT_LEVEL);

	/* Remote IRR: accepted and not yet ended. Set first, the vCPU may end it at any moment. */
	if (level && (atomic32_fetch_or(lapic_word(lapic, APIC_LVT0), APIC_LVT_REMOTE_IRR) &
	              APIC_LVT_REMOTE_IRR))
		return;
	/* The deadline goes with the entry: behind its exit the vCPU looks by itself (vmx/timer.c). */
	if (lvt_register == APIC_LVTT && lapic->timer_on_entry && lapic->by & LAPIC_BY_OWNER &&
	    (lvt & 0xff) >= FIRST_LEGAL) {
		lapic_accept_own(lapic, (u8)lvt, IRQ_SOURCE_TIMER);
		return;
	}
	if (!lapic_accept(lapic, (u8)lvt, level, lvt_source(lvt_register)) && level)
		atomic32_fetch_and(lapic_word(lapic, APIC_LVT0), ~APIC_LVT_REMOTE_IRR);
}

/* Disabled by hardware ("Enabling or Disabling the Local APIC"): LINT0 is INTR then, LINT1 is NMI.
 */
static void bypassed_pin(struct lapic *lapic, u32 lvt_register)
{
	if (lvt_register == APIC_LVT0)
		vcpu_request(lapic->vcpu, VCPU_REQUEST_EVENT);
	else if (lvt_register == APIC_LVT1)
		lapic_signal_nmi(lapic);
}

void lapic_local_interrupt(struct vcpu *vcpu, u32 lvt_register)
{
	struct lapic *lapic = &vcpu->lapic;
	u32 lvt = lapic_get(lapic, lvt_register);

	if (!lapic_hardware_enabled(lapic)) {
		bypassed_pin(lapic, lvt_register);
		return;
	}
	if (lvt & APIC_LVT_MASKED)
		return;
	/* The timer's and the error entry have no delivery mode: the field reads as Fixed. */
	switch (lvt & APIC_DM_MASK) {
	case APIC_DM_FIXED:
		local_fixed(lapic, lvt_register, lvt);
		break;
	case APIC_DM_NMI:
		lapic_signal_nmi(lapic);
		break;
	case APIC_DM_INIT:
		lapic_signal_init(lapic);
		break;
	case APIC_DM_EXTINT:
		/* Not latched: the entry stays open and the 8259 holds its INTR until INTA. */
		vcpu_request(vcpu, VCPU_REQUEST_EVENT);
		break;
	default: /* SMI: there is no system management mode; the rest is reserved */
		break;
	}
}

void lapic_error(struct lapic *lapic, u32 esr_bit)
{
	/* The first error disarms the LVT entry until ESR is written: "Error Handling". */
	if (!atomic32_fetch_or(&lapic->esr_pending, esr_bit))
		lapic_local_interrupt(lapic->vcpu, APIC_LVTERR);
}

bool lapic_accepts_extint(struct vcpu *vcpu)
{
	const struct lapic *lapic = &vcpu->lapic;

	/* Without its APIC the processor's INTR pin is wired straight to the 8259. */
	if (!lapic_hardware_enabled(lapic))
		return true;
	if ((lapic_get(lapic, APIC_LVT0) & (APIC_LVT_MASKED | APIC_DM_MASK)) == APIC_DM_EXTINT)
		return true;
	return lapic_waits_for_inta(vcpu);
}

bool lapic_waits_for_inta(struct vcpu *vcpu)
{
	return atomic32_read(&vcpu->lapic.signals) & LAPIC_SIGNAL_EXTINT;
}

void lapic_ack_extint(struct vcpu *vcpu)
{
	if (atomic32_read(&vcpu->lapic.signals) & LAPIC_SIGNAL_EXTINT)
		atomic32_fetch_and(&vcpu->lapic.signals, ~LAPIC_SIGNAL_EXTINT);
}

/* ---- signals ---- */

void lapic_signal_nmi(struct lapic *lapic)
{
	/*
	 * One is taken, one may wait behind it, more are merged. Should the owner take both bits in
	 * between, the second stands alone: counted as one, which it is.
	 */
	if (atomic32_fetch_or(&lapic->signals, LAPIC_SIGNAL_NMI) & LAPIC_SIGNAL_NMI)
		atomic32_fetch_or(&lapic->signals, LAPIC_SIGNAL_NMI2);
	vcpu_request(lapic->vcpu, VCPU_REQUEST_EVENT);
}

void lapic_signal_extint(struct lapic *lapic)
{
	atomic32_fetch_or(&lapic->signals, LAPIC_SIGNAL_EXTINT);
	vcpu_request(lapic->vcpu, VCPU_REQUEST_EVENT);
}

void lapic_signal_init(struct lapic *lapic)
{
	u32 old;

	/* A start-up IPI from before the INIT is void: only one that follows it may start the vCPU.
	 */
	do {
		old = atomic32_read(&lapic->signals);
	} while (!atomic32_cmpxchg(&lapic->signals, old, (old & ~SIGNAL_SIPI) | LAPIC_SIGNAL_INIT));
	vcpu_request(lapic->vcpu, VCPU_REQUEST_SIGNAL);
}

void lapic_signal_sipi(struct lapic *lapic, u8 vector)
{
	u32 sipi = LAPIC_SIGNAL_SIPI | (u32)vector << LAPIC_SIGNAL_SIPI_VECTOR_SHIFT;
	u32 old;

	/* The first one counts. By the time of a second the vCPU no longer waits. */
	do {
		old = atomic32_read(&lapic->signals);
		if (old & LAPIC_SIGNAL_SIPI)
			return;
	} while (!atomic32_cmpxchg(&lapic->signals, old, old | sipi));
	vcpu_request(lapic->vcpu, VCPU_REQUEST_SIGNAL);
}

u32 lapic_take_nmi(struct vcpu *vcpu)
{
	struct atomic32 *signals = &vcpu->lapic.signals;
	u32 taken;

	if (!(atomic32_read(signals) & SIGNAL_NMIS))
		return 0;
	taken = atomic32_fetch_and(signals, ~SIGNAL_NMIS);
	return (taken & LAPIC_SIGNAL_NMI ? 1 : 0) + (taken & LAPIC_SIGNAL_NMI2 ? 1 : 0);
}

bool lapic_has_signal(struct vcpu *vcpu)
{
	u32 signals = atomic32_read(&vcpu->lapic.signals);

	/* Waiting for SIPI blocks NMIs: one that is latched is no reason to run. */
	if (vcpu->activity == VCPU_WAIT_FOR_SIPI)
		return signals & (LAPIC_SIGNAL_INIT | LAPIC_SIGNAL_SIPI);
	return signals & (SIGNAL_NMIS | LAPIC_SIGNAL_INIT | LAPIC_SIGNAL_SIPI);
}

/* Real mode at vector * 1000h: "Multiple-Processor (MP) Initialization". */
static void start_at(struct vcpu *vcpu, u8 vector)
{
	struct vcpu_state state;

	backend_op(get_state)(vcpu, &state);
	state.seg[SEG_CS].selector = (u16)(vector << 8);
	state.seg[SEG_CS].base = (u64)vector << 12;
	backend_op(set_state)(vcpu, &state);
	vcpu->regs.rip = 0;
	vcpu->activity = VCPU_ACTIVE;
}

static void take_init(struct vcpu *vcpu)
{
	bool boot_processor = atomic64_read_relaxed(&vcpu->lapic.base) & APIC_BASE_BSP;

	/* What was pending belongs to the life that ends here. */
	atomic32_fetch_and(&vcpu->lapic.signals, ~(SIGNAL_NMIS | LAPIC_SIGNAL_EXTINT));
	vcpu_reset(vcpu, true);
	vcpu->activity = boot_processor ? VCPU_ACTIVE : VCPU_WAIT_FOR_SIPI;
}

void lapic_take_signals(struct vcpu *vcpu)
{
	u32 taken = atomic32_fetch_and(&vcpu->lapic.signals, ~(LAPIC_SIGNAL_INIT | SIGNAL_SIPI));

	if (taken & LAPIC_SIGNAL_INIT)
		take_init(vcpu);
	if ((taken & LAPIC_SIGNAL_SIPI) && vcpu->activity == VCPU_WAIT_FOR_SIPI)
		start_at(vcpu, (u8)(taken >> LAPIC_SIGNAL_SIPI_VECTOR_SHIFT));
}

/* ---- life ---- */

static void clear_vectors(struct lapic *lapic)
{
	/*
	 * Summary first: a request that is set in a word already cleared sets its summary bit after
	 * this, so that it stays. One that comes earlier is lost like all that came before the
	 * reset.
	 */
	atomic32_set(&lapic->irr_summary, 0);
	lapic->isr_summary = 0;
	if (lapic->by & LAPIC_BY_OWNER)
		lapic_forget_posted(lapic);
	for (u32 i = 0; i < IRR_WORDS; i++) {
		atomic32_set(lapic_word(lapic, APIC_IRR + i * LAPIC_STRIDE), 0);
		atomic32_set(lapic_word(lapic, APIC_TMR + i * LAPIC_STRIDE), 0);
		lapic_set(lapic, APIC_ISR + i * LAPIC_STRIDE, 0);
	}
}

void lapic_reset_registers(struct lapic *lapic)
{
	static const u16 lvts[] = {APIC_LVTT, APIC_LVTTHMR, APIC_LVTPC,
	                           APIC_LVT0, APIC_LVT1,    APIC_LVTERR};
	static const u16 zeros[] = {APIC_TPR,     APIC_PPR,  APIC_LDR,   APIC_ESR, APIC_ICR,
	                            APIC_ICR + 4, APIC_ICR2, APIC_TMICT, APIC_TDCR};

	lapic_timer_stop(lapic);
	/* Disabled by software first: nothing is accepted while the rest goes. */
	lapic_set(lapic, APIC_SVR, 0xff);
	for (u32 i = 0; i < ARRAY_SIZE(lvts); i++)
		atomic32_set(lapic_word(lapic, lvts[i]), APIC_LVT_MASKED);
	for (u32 i = 0; i < ARRAY_SIZE(zeros); i++)
		lapic_set(lapic, zeros[i], 0);
	lapic_set(lapic, APIC_VERSION, LAPIC_VERSION);
	lapic_set(lapic, APIC_DFR, ~0u);
	atomic32_set(&lapic->esr_pending, 0);
	clear_vectors(lapic);
	eoi_exit_local_changed(lapic->vcpu);
}

void lapic_reset(struct vcpu *vcpu, bool init)
{
	struct lapic *lapic = &vcpu->lapic;
	u32 id = lapic_get(lapic, APIC_ID);

	if (!init) {
		atomic32_set(&lapic->signals, 0);
		atomic64_set(&lapic->base, APIC_BASE_DEFAULT | APIC_BASE_EN |
		                                   (vcpu->index == 0 ? APIC_BASE_BSP : 0));
	}
	lapic_reset_registers(lapic);
	lapic_load_identity(lapic);
	if (init)
		lapic_set(lapic, APIC_ID, id); /* INIT keeps even an ID that software chose */
	lapic_changed_by_reset(lapic);
}

bool lapic_create(struct vcpu *vcpu)
{
	struct lapic *lapic = &vcpu->lapic;

	lapic->vcpu = vcpu;
	lapic->page = port_alloc(PAGE_SIZE, PAGE_SIZE);
	if (!lapic->page)
		return false;
	lapic_timer_init(lapic);
	lapic_reset(vcpu, false);
	return true;
}

void lapic_destroy(struct vcpu *vcpu)
{
	if (!vcpu->lapic.page)
		return;
	timer_cancel(&vcpu->lapic.timer);
	port_free(vcpu->lapic.page, PAGE_SIZE);
	vcpu->lapic.page = NULL;
}
