/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A physical processor. Filled by the port at boot, then used by the scheduler and the back end.
 * Tags: (i) constant after boot; [o] only its own processor; [a] atomic; [lock] that lock.
 */
#ifndef CORE_CPU_H
#define CORE_CPU_H

#include "core/timer.h"
#include "postern/sync.h"

struct vcpu;

#define MAX_CPUS 17 /* 16 that run vCPUs, and one that is reserved */

/* Physical vectors that Postern uses. Nothing else is ever unmasked. */
#define CPU_VECTOR_DEVICE      0xe0 /* and the next ones: assigned devices, irq/assigned.h */
#define CPU_VECTOR_DEVICE_LAST 0xef
#define CPU_VECTOR_TIMER       0xf0 /* this processor's one-shot timer */
#define CPU_VECTOR_KICK        0xf1 /* leave the guest, look at your requests */
#define CPU_VECTOR_FORCE       0xf2 /* self-IPI of a forced immediate exit */
#define CPU_VECTOR_DOORBELL                                                                        \
	0xf3 /* of a modelled processor: cpu_model/assist.h. Means nothing outside */
#define CPU_VECTOR_NOTIFY                                                                          \
	0xf4 /* look at requests apart (irq/accel.h): who is outside does so anyway */
#define CPU_VECTOR_WAKEUP   0xf5 /* somebody who sleeps has such requests */
#define CPU_VECTOR_SPURIOUS 0xff

struct run_queue {
	struct spinlock lock;
	struct vcpu *head, *tail; /* [lock] runnable vCPUs, in order of turn */
	struct atomic32 length;   /* [lock] to write */
};

struct cpu {
	struct cpu *self;     /* (i) first member: the port finds it through a register */
	u32 index;            /* (i) 0 is the boot processor */
	u32 apic_id;          /* (i) physical APIC ID */
	struct vcpu *current; /* [o] the vCPU whose turn it is; NULL: idle */
	/* The vCPU whose FPU, MSRs and back-end state the CPU holds. Others only ask which it is. */
	struct vcpu *loaded; /* [a, by ptr_set()] written by the owner */
	u64 slice_end;       /* [o] TSC at which the turn ends */
	u64 armed_deadline;  /* [o] what the physical timer was last set to */
	u64 armed_timers;    /* [o] timers.next_deadline at that time */
	struct atomic32
	        interrupted; /* [o, and its interrupt handler] look around: sched_has_chores() */
	struct atomic32 wakeups; /* [o, and its interrupt handler] CPU_VECTOR_WAKEUP has come */
	struct atomic32
	        devices; /* [a] CPU_VECTOR_DEVICE + bit has come: set by its interrupt handler */
	struct atomic32 idle;   /* [a] halted or about to halt: needs an IPI to look at its queue */
	struct atomic32 online; /* [a] */
	struct run_queue rq;
	struct timer_queue timers;
	u64 ticks;  /* [o] physical timer interrupts */
	void *arch; /* (i) the back end's per-processor state */
	void *port; /* (i) the port's */
} __cacheline;

/*
 * Called by the port's interrupt handler, interrupts blocked, for each CPU_VECTOR_*. Takes no lock
 * and decides nothing: that the guest exited is the effect.
 */
void cpu_handle_interrupt(struct cpu *cpu, u8 vector);

/*
 * The life of a processor: initialise the back end on it, then schedule vCPUs until the machine
 * stops. Returns when machine->stopping is set and no vCPU is left on it.
 */
void cpu_main(struct cpu *cpu);

/* Make `cpu` look at its run queue and requests: a physical IPI if it is another processor. */
void cpu_kick(struct cpu *cpu);

#endif
