/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Interrupt injection: the one place that decides what a vCPU takes at its next entry, for both
 * vendors, over four back-end primitives (postern/backend.h: intr_blocked, intr_inject,
 * intr_window, intr_force). Asking is pure (has_, is_), committing is named (ack_, take_).
 */
#ifndef IRQ_INTR_H
#define IRQ_INTR_H

#include "postern/types.h"

struct vcpu;

/* What an interrupt's arrival at the local APIC is accounted as. */
enum irq_source {
	IRQ_SOURCE_IPI,
	IRQ_SOURCE_MSI,
	IRQ_SOURCE_IOAPIC,
	IRQ_SOURCE_TIMER,
	IRQ_SOURCE_LOCAL, /* other LVT entries */
	IRQ_SOURCE_SYNIC, /* SINTs and synthetic timers: irq/synic.h, irq/stimer.h */
	IRQ_SOURCE_COUNT
};

enum intr_class {
	INTR_CLASS_EXTERNAL, /* maskable: from the local APIC, or ExtINT */
	INTR_CLASS_NMI,
	INTR_CLASS_EXCEPTION,
};

enum intr_type {
	INTR_TYPE_EXTERNAL,
	INTR_TYPE_NMI,
	INTR_TYPE_EXCEPTION,
	INTR_TYPE_SOFTWARE, /* INT n: only as an event delivered again */
};

/* Why an event cannot be injected now. */
enum intr_block {
	INTR_BLOCK_NONE,
	INTR_BLOCK_SLOT,   /* another event occupies this entry */
	INTR_BLOCK_IF,     /* RFLAGS.IF is clear */
	INTR_BLOCK_SHADOW, /* STI or MOV SS, one instruction */
	INTR_BLOCK_NMI,    /* an NMI handler runs, until IRET */
	INTR_BLOCK_DEBUG,  /* a debugger keeps interrupts and NMIs from the vCPU while it steps */
	INTR_BLOCK_GIF,    /* SVM guest hypervisor: global interrupt flag clear */
	/* It is not for the guest of the guest that runs, but for its hypervisor, which can take it now. */
	INTR_BLOCK_NESTED,
};

struct intr_event {
	u8 vector;
	u8 type; /* enum intr_type */
	bool valid;
	bool has_error;
	u32 error;
};

/* [o] Owned by the vCPU's processor. */
struct intr_state {
	struct intr_event again;     /* delivery was cut short by an exit: goes first */
	struct intr_event exception; /* raised by emulation */
	bool in_slot; /* slot_vector came from the local APIC, perhaps not delivered */
	u8 slot_vector;
	u8 slot_source;   /* enum irq_source */
	bool window_open; /* the external-interrupt window is requested */
	bool nmi_window_open;
	bool tpr_exit;   /* guest writes of CR8 exit */
	u32 nmi_pending; /* NMIs taken over from the local APIC: 0, 1 or 2 */
};

/*
 * Decide what the next entry injects and arrange for the rest: inject, open a window, or ask for a
 * forced immediate exit. Commits (acknowledges the APIC or PIC) what it injects. Own processor, no
 * locks held. Returns force_immediate_exit. Idempotent while nothing new arrives.
 */
bool intr_prepare_entry(struct vcpu *vcpu);

/* An event is left that goes before all vectors of the local APIC. Own processor. */
static inline bool intr_has_event(const struct intr_state *intr)
{
	return intr->nmi_pending | intr->again.valid | intr->exception.valid;
}

/*
 * The same for an entry before which the vCPU does not leave VCPU_IN_GUEST: by the vectors of its local APIC
 * alone. Whoever brings an NMI or ExtINT meanwhile has that entry ended at once, and the run loop decides. No
 * event is left, no vector has AutoEOI, no guest of the guest runs. It waits for no lock unless it counts a
 * window (irq/irq_window.h): if one counts already, or if IF is clear.
 */
void intr_prepare_local(struct vcpu *vcpu);

/*
 * The same for an entry that a debugger steps. `why` INTR_BLOCK_DEBUG: external interrupts and NMIs wait,
 * without a window, whatever the guest allows; what else there is comes as ever. INTR_BLOCK_NONE: nothing
 * is kept back.
 */
bool intr_prepare_step(struct vcpu *vcpu, enum intr_block why);

/* true: something is pending that HLT must wake for (IF considered, as the manual has it). Pure. */
bool intr_has_deliverable(struct vcpu *vcpu);

/*
 * Acceleration is about to be switched: what software has put into the slot for the local APIC competes
 * anew, and its window is closed. From accel_update(), and when the vCPU leaves for good.
 */
void intr_before_switch(struct vcpu *vcpu);
/*
 * The vCPU begins or ends to run a guest of its guest: the same, and nothing is left in the control block that
 * will rest. A window that counts goes on counting.
 */
void intr_before_nested(struct vcpu *vcpu);
/*
 * The vCPU does not run for a while: it goes to sleep, or its turn ends. Nothing can be taken meanwhile, so it
 * needs no window, and others may be accelerated. One that is needed is opened when it runs again.
 */
void intr_before_wait(struct vcpu *vcpu);

/* Forget all that waits (INIT, reset). */
void intr_reset(struct vcpu *vcpu);

#endif
