/* SPDX-License-Identifier: BSD-2-Clause */
/* The 8254 programmable interval timer and port 61h. Intel 82C54 datasheet. */
#ifndef IRQ_PIT_H
#define IRQ_PIT_H

#include "core/timer.h"
#include "irq/notify.h"
#include "postern/sync.h"

struct vm;

#define PIT_HZ 1193182ull

/* Times in ticks: pulses of the clock input since the VM's creation. */
struct pit_channel {
	/* The counter. */
	u8 mode;    /* 0..5 */
	u8 control; /* 5:0 of the control word, as the status byte shows them */
	bool bcd;
	bool gate;
	bool null_count; /* a count was written and has not reached the counting element */
	bool loaded;     /* the counting element was loaded since the last control word */
	bool load_low;   /* mode 3: the next load begins with the low half */
	u32 reload;      /* count register: what the next load takes; 0: nothing written yet */
	u32 count;       /* what the counting element was loaded with */
	u16 held;        /* what it shows before it is loaded */
	u64 load_at;     /* tick of the next load; TSC_NEVER: none is due */
	u64 start;       /* tick of the last load */
	u64 stopped_at;  /* tick at which counting stopped; TSC_NEVER: it counts */
	u64 rises;       /* rising edges of OUT since `start` that were accounted for */

	/* The bus side. */
	u8 access; /* 1: low byte, 2: high byte, 3: low then high */
	u8 write_low;
	bool write_high_next, read_high_next;
	bool count_latched, status_latched;
	u16 latched_count;
	u8 latched_status;
};

struct pit {
	struct spinlock lock;
	struct spinlock change;        /* one pit_set_reinject() at a time; outside of all others */
	struct vm *vm;                 /* (i) */
	u64 epoch;                     /* (i) TSC of tick 0 */
	u64 tick;                      /* [lock] the present, as last looked at */
	struct pit_channel channel[3]; /* [lock] */
	u8 port_61;                    /* [lock] bits 3:0 as written */
	struct timer timer;            /* arm/cancel: [lock] channel 0's next edge */
	u64 deadline;  /* [lock] tick that `timer` is armed for, TSC_NEVER: not armed */
	bool line;     /* [lock] what IRQ 0's line was last set to */
	u32 owed;      /* [lock] rising edges that wait for their turn */
	bool reinject; /* [lock] see pit_set_reinject() */
	bool waits;    /* [lock] reinject: the last edge has not been ended */
	struct irq_notifier notifier; /* the end of IRQ 0's interrupt */
	u64 last_rise;                /* [lock] tick at which the line last rose */
	u64 skipped;                  /* [lock] rising edges given up: the host was too late */
	struct atomic64 ticks;        /* [a; lock to write] rising edges of IRQ 0 */
};

void pit_init(struct vm *vm); /* registers ports 40-43, 61 on vm->io */
/*
 * Also cancels the timer: before the VM's memory is freed, and when the VM has ended. Reinjection is the
 * host's choice and stays as it is, with its inhibit: the account of a VM that has ended says how it was.
 * Any processor; no locks held.
 */
void pit_reset(struct vm *vm);

/*
 * Reinjection of ticks. Off: a tick that comes before the one before it has been served melts into
 * that, as on a board. On: it waits until the guest has ended that one (8259: EOI; I/O APIC: EOI of
 * the pin's vector), so that the guest counts every tick however late it was run. Programming
 * channel 0 anew drops what waits. Any processor, at any time; no locks held.
 *
 * While it is on the inhibit PIT_REINJ stands: nobody would learn of the end of a tick that the processor
 * has delivered by itself. Calls as inhibit_set() does: outside of any guest.
 */
void pit_set_reinject(struct vm *vm, bool on);

#endif
