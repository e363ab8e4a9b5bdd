/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The local APIC, xAPIC and x2APIC. SDM volume 3 "Advanced Programmable Interrupt Controller
 * (APIC)", APM volume 2 of the same title.
 *
 * Registers live in one 4 KiB page in the architectural layout (IRR, ISR, TMR as eight 32-bit words
 * 16 bytes apart), because processors with interrupt virtualization work on exactly that page. All
 * of its words are accessed as atomics: IRR, TMR and the remote IRR of LVT0 are written by any
 * processor, ID, LDR, DFR, SVR and the LVT are read by any. What remains is written by the
 * processor on which the vCPU is loaded only [o].
 *
 * lapic.c priorities, acceptance, signals, reset; lapic_regs.c who may access what, APIC_BASE;
 * lapic_icr.c interrupt commands; lapic_timer.c the timer; lapic_priv.h what they share.
 */
#ifndef IRQ_LAPIC_H
#define IRQ_LAPIC_H

#include "core/timer.h"
#include "irq/intr.h"
#include "postern/sync.h"

struct vcpu;
struct vm;

/* Bits of lapic->signals: level-less events that bypass IRR. */
#define LAPIC_SIGNAL_NMI               BIT(0)
#define LAPIC_SIGNAL_NMI2              BIT(1) /* a second NMI behind the first */
#define LAPIC_SIGNAL_INIT              BIT(2)
#define LAPIC_SIGNAL_SIPI              BIT(3)
#define LAPIC_SIGNAL_EXTINT            BIT(4) /* an ExtINT message asks for one INTA cycle */
#define LAPIC_SIGNAL_SIPI_VECTOR_SHIFT 8      /* 15:8 */

/* lapic->by: who works on the page. */
#define LAPIC_BY_PROCESSOR BIT(0) /* it is accelerated */
#define LAPIC_BY_OWNER     BIT(1) /* (i) requests are apart, and the owner sets them in the page */

/* What acceptance does besides setting the request in the page. */
enum lapic_acceptance {
	LAPIC_ACCEPT_PLAIN,
	LAPIC_ACCEPT_COUNTED, /* of a VM that may be accelerated: COUNTER_ACCEPTED */
	LAPIC_ACCEPT_APART,   /* the same, and it is not set in the page */
};

#define LAPIC_TIMER_HZ     1000000000ull /* the bus clock that the timer divides */
#define LAPIC_KEPT         16            /* by lapic_accel.c */
#define LAPIC_VECTOR_WORDS 8             /* 32 vectors each */

struct lapic {
	struct vcpu *vcpu;    /* (i) */
	u8 *page;             /* (i) 4 KiB, physically contiguous; words: see above */
	struct atomic64 base; /* [a] APIC_BASE MSR: owner writes, map builder and acceptance read */
	struct atomic32 signals; /* [a] LAPIC_SIGNAL_* */
	/*
	 * [a] Bit i: IRR word i may hold something; clear means that it does not. Asked at every
	 * entry, so that the usual answer, "nothing", costs one load. See lapic_ack() for the race.
	 * What is apart from the page is not in it: irq/accel.h.
	 */
	struct atomic32 irr_summary;
	u32 isr_summary; /* [o] one bit a word of ISR: set where the word is not 0 */
	/*
	 * [o] LAPIC_BY_*. Accelerated, the processor moves requests from IRR to ISR and ends them, and
	 * those of others set IRR: the summaries' bits of words say nothing until acceleration is off
	 * again. `kept`: what the registers held whose writes the processor performs before anybody is
	 * told. status_changed: software has changed IRR or ISR of an accelerated one, or has just
	 * begun to accelerate it: lapic_status().
	 */
	u8 by;
	bool status_changed;
	u8 acceptance; /* (i) enum lapic_acceptance */
	/* (i) In x2APIC mode ICR's upper half is at APIC_ICR + 4, as Intel's processors have it. */
	bool icr_in_one;
	u32 kept[LAPIC_KEPT];
	struct atomic32 esr_pending; /* [a] errors since the last ESR write */

	/* [o] Vectors that end when they are delivered, by irq/synic.h; none, if not `auto_eoi`. */
	bool auto_eoi;
	u32 auto_eoi_vectors[LAPIC_VECTOR_WORDS];
	struct atomic32 messages_wait; /* [a] synic's: an EOI is to call synic_scan() */

	/* Timer: SDM "APIC Timer". Times in host TSC. */
	struct timer timer;  /* arm/cancel: [o] */
	u64 timer_deadline;  /* [o] next expiry, TSC_NEVER if none */
	u64 timer_period;    /* [o] TSC ticks of a full count; 0: not counting, or TSC deadline */
	u64 tsc_deadline;    /* [o] guest's MSR value */
	bool timer_on_entry; /* [o] the deadline goes with the entry: `timer` is not armed */

	struct atomic32 source[256]; /* [a, relaxed] enum irq_source of the last acceptance */
};

/*
 * Allocate the page; state of power-on. vcpu->apic_id is set. false: out of memory. The APIC
 * appears in the VM's map with the next rebuild: apic_map_create() comes after the last vCPU.
 */
bool lapic_create(struct vcpu *vcpu);
void lapic_destroy(struct vcpu *vcpu);
/* Power-on reset, or INIT (keeps mode, base, ID). Own processor or before it runs. */
void lapic_reset(struct vcpu *vcpu, bool init);

/* --- hardware delivery; own processor, outside of the guest (irq/lapic_accel.c) --- */
/* The VM may be accelerated; requests are set in the page, or apart from it. Before it runs. */
void lapic_may_accelerate(struct vcpu *vcpu, bool apart);
/* Where the page has ICR in x2APIC mode goes by lapic->icr_in_one. Before it runs. */
void lapic_keep_icr_in_one(struct vcpu *vcpu);
/* Acceleration begins or ends. */
void lapic_accelerated(struct vcpu *vcpu, bool on);
/*
 * The highest vector requested and the highest in service, 0 for none, for a processor that keeps them beside the
 * page (lapic->status_changed, which is clear afterwards).
 */
void lapic_status(struct vcpu *vcpu, u8 *requested, u8 *in_service);
/* The guest has written this register, whose value is in the page: what follows from it. */
void lapic_written(struct vcpu *vcpu, u32 offset);
/* The guest has written EOI for this level-triggered vector; the processor may have cleared ISR. */
void lapic_eoi_written(struct vcpu *vcpu, u8 vector);
/*
 * The guest has written ICR and the processor has not, or not completely, sent it. `posted`: all
 * targets have the request in their pages already, and those that did not run may not know.
 */
void lapic_ipi_incomplete(struct vcpu *vcpu, u32 icr, u32 dest, bool posted);

/*
 * Interrupts of these vectors end when they are delivered, whoever sends them, and are never in
 * service (TLFS "SINTx Registers", AutoEOI). `any`: there is one. Only with acceleration off. Own
 * processor, outside of the guest, or before it runs.
 */
void lapic_set_auto_eoi(struct vcpu *vcpu, const u32 vectors[LAPIC_VECTOR_WORDS], bool any);

/* --- guest accesses; own processor, no locks held --- */
/*
 * Access of the register page at `offset`, in xAPIC mode (lapic_xapic_base). Reads of nothing give
 * 0, writes to nothing are dropped. In the other modes nobody answers.
 */
u64 lapic_mmio_read(struct vcpu *vcpu, u32 offset, u32 size);
void lapic_mmio_write(struct vcpu *vcpu, u32 offset, u32 size, u64 value);
/*
 * WRMSR of the EOI register with 0, if that is all there is to it: x2APIC mode, an edge-triggered
 * vector in service, nothing requested, nobody who wants to know. false: nothing was done. Uses
 * neither locks nor this_cpu().
 */
bool lapic_fast_eoi(struct vcpu *vcpu);
/* WRMSR of the self-IPI register, if it is there and the vector is accepted: as lapic_fast_eoi(). */
bool lapic_fast_self_ipi(struct vcpu *vcpu, u8 vector);
/* MSR 800h..8FFh, 1Bh, 6E0h; false: #GP. */
bool lapic_msr_read(struct vcpu *vcpu, u32 msr, u64 *value);
bool lapic_msr_write(struct vcpu *vcpu, u32 msr, u64 value);
/* Where the register page answers: true and *base if the APIC is in xAPIC mode. */
bool lapic_xapic_base(struct vcpu *vcpu, gpa_t *base);
bool lapic_is_x2apic(struct vcpu *vcpu);
/*
 * Task priority class 3:0 (CR8). Writing CR8 clears TPR's subclass: whoever only reports a CR8 that
 * may have changed without an exit compares it with lapic_cr8() first.
 */
u8 lapic_cr8(struct vcpu *vcpu);
void lapic_set_cr8(struct vcpu *vcpu, u8 cr8);

/* --- acceptance; any processor, no locks --- */
/*
 * Accept a fixed interrupt: set TMR as `level` says, then IRR, then ask for the vCPU's attention
 * (vcpu_request). false: APIC disabled, not accepted. Vectors 0..15 set ESR and are dropped.
 */
bool lapic_accept(struct lapic *lapic, u8 vector, bool level, enum irq_source source);
/* `vector` is requested or in service here. A snapshot; any processor. */
bool lapic_holds(const struct lapic *lapic, u8 vector);
/*
 * The same, edge-triggered, by the vCPU itself while its exit is handled: nobody needs to be told,
 * intr_prepare_entry() comes before the next entry anyhow. `vector` is legal. Own processor.
 */
bool lapic_accept_own(struct lapic *lapic, u8 vector, enum irq_source source);
void lapic_signal_nmi(struct lapic *lapic);
void lapic_signal_extint(struct lapic *lapic);
void lapic_signal_init(struct lapic *lapic);
void lapic_signal_sipi(struct lapic *lapic, u8 vector);

/* --- what irq/intr.c and the run loop ask; own processor --- */
/* Highest pending vector whose class exceeds PPR's and that the APIC may deliver, or -1. Pure. */
int lapic_deliverable(struct vcpu *vcpu);
/* A pending vector is held back by the TPR alone: it becomes deliverable when the TPR drops. Pure.
 */
bool lapic_waits_for_tpr(struct vcpu *vcpu);
/* Acknowledge `vector` (from lapic_deliverable): IRR to ISR, PPR. Returns where it came from. */
enum irq_source lapic_ack(struct vcpu *vcpu, u8 vector);
/* Undo lapic_ack(): the vector was not delivered and competes again. */
void lapic_unack(struct vcpu *vcpu, u8 vector);
/*
 * true: this vCPU takes the 8259's INTR (LVT0 ExtINT unmasked, APIC hardware-disabled, or an ExtINT
 * message has come). Pure; any processor.
 */
bool lapic_accepts_extint(struct vcpu *vcpu);
/* An ExtINT message has not had its INTA cycle yet. Pure. Any processor. */
bool lapic_waits_for_inta(struct vcpu *vcpu);
/* The INTA cycle has been made (extint_ack): an ExtINT message that asked for it is served. */
void lapic_ack_extint(struct vcpu *vcpu);
/* Move latched NMIs out (0..2). */
u32 lapic_take_nmi(struct vcpu *vcpu);
bool lapic_has_signal(struct vcpu *vcpu); /* NMI, INIT or SIPI latched. Pure. */
/* Consume INIT / SIPI by the manual's rules: resets or starts the vCPU. From vcpu_handle_requests.
 */
void lapic_take_signals(struct vcpu *vcpu);
/*
 * The timer's deadline has come (VCPU_REQUEST_TIMER): expire, account, re-arm if periodic. Takes no lock while
 * the deadline goes with the entry.
 */
void lapic_timer_expired(struct vcpu *vcpu);
/*
 * The vCPU begins to run where its own deadline goes with each entry (machine->entry_timer), or it is going
 * to wait, and the physical timer has to do it. Nothing is armed twice, and nothing is lost between the two.
 */
void lapic_timer_on_entry(struct vcpu *vcpu, bool on);
/* Host TSC at which the next entry is to end, by lapic_timer_expired(); TSC_NEVER: for no deadline. */
static inline u64 lapic_timer_entry_deadline(const struct lapic *lapic)
{
	return lapic->timer_on_entry ? lapic->timer_deadline : TSC_NEVER;
}
/* vcpu->tsc_offset has changed: a TSC deadline is due at another host time now. */
void lapic_timer_tsc_moved(struct vcpu *vcpu);
/*
 * An LVT entry's event: LVT0 when the 8259's INTR rises, LVT1 for an NMI button, and those inside.
 * Delivered as the entry says, if it is not masked. Any processor.
 */
void lapic_local_interrupt(struct vcpu *vcpu, u32 lvt_register);

/* 32-bit register of the page, owner's view. */
u32 lapic_register(const struct lapic *lapic, u32 offset);

#endif
