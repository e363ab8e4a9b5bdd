/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inhibits: why acceleration is off for a VM, and changing that while its vCPUs run (requirement S3). The
 * list of reasons: postern/inhibits.h; what a vCPU does about it: irq/accel.h; windows, which count as
 * one of the reasons: irq/irq_window.h.
 *
 * A mask has a bit for each reason of scope VM that stands; acceleration is on while it is 0. It is changed
 * under the activation lock held exclusively. vCPUs decide, and windows are counted, with the lock held
 * shared. When the mask becomes 0 or is no longer 0:
 *
 *      who changes it                         a vCPU's processor
 *      --------------                         ------------------
 *      1 lock exclusively                     a mode = IN_GUEST; requests? then not
 *      2 request ACCEL of all                 b in the guest
 *      3 wait until all are out               c out; takes the request
 *      4 store the mask                       d lock shared: waits for 6
 *      5 zap the APIC's page                  e decides by the mask, unlock, to a
 *      6 unlock
 *
 * The request comes before the store, the reverse of all other requests: whoever takes it waits at d and
 * so decides by the new mask, and whoever is still in the guest, at b, is right by the old one. So at a,
 * behind the last look, a vCPU's state must be what the mask demands: accel_is_wrong() is asked at each entry.
 *
 * Whoever sleeps when the mask becomes 0 may have fallen asleep in a way that only software finds (irq/accel.h,
 * finds_sleepers). So behind 4, before anybody can be accelerated by the new mask, all who sleep are woken, and fall
 * asleep anew; who is about to fall asleep has the request of 2.
 *
 * The lock is waited for with interrupts open, by vCPUs that are outside of the guest; 3 waits only for
 * those inside, who leave without any lock. So two requesters, or one whose own vCPU is asked, wait for
 * nobody who waits for them (requirement S3.7).
 */
#ifndef IRQ_INHIBIT_H
#define IRQ_INHIBIT_H

#include "postern/inhibits.h"
#include "postern/sync.h"

struct vcpu;
struct vm;

/* One reason's history, with one writer; reports read it at any time. Times in TSC. */
struct inhibit_account {
	u64 sets, clears;
	u64 since; /* it stands since then; 0: it does not stand */
	u64 held;  /* how long it stood before that */
	u64 vcpu;  /* who set it last: that vCPU of the VM, or INHIBIT_BY_HOST */
	u64 rip;   /* where that vCPU was */
};

/* Of a VM. [excl]: written with the lock held exclusively, read by reports at any time. */
struct inhibit_vm {
	/* Read at every entry, and written seldom: on a line of its own (requirement S0.5). */
	struct atomic32 mask __cacheline; /* [a; excl] BIT(enum inhibit_reason) */
	u32 needed; /* (i) reasons that the back end needs; others are ignored */

	/* Written often. */
	struct rwlock lock __cacheline; /* the activation lock */
	struct atomic32 windows;        /* [a; shared] vCPUs whose irq_window flag is set */
	u64 shared, exclusive;          /* [a] acquisitions of the lock */

	struct inhibit_account account[INHIBIT_COUNT] __cacheline; /* [excl] */
	u64 active_since; /* [excl] TSC since which the mask is 0; 0: it is not */
	u64 active;       /* [excl] TSC ticks that it was 0 before that */
	u64 rounds;       /* [excl] updates of all vCPUs */
	u64 kicked;       /* [excl] vCPUs that had to be made to leave the guest for one */
};

/* With no vCPU yet; ABSENT stands. `needed`: what the back end declares. */
void inhibit_create(struct vm *vm, u32 needed);

/*
 * A reason of scope VM begins or ends to stand; to set one that stands, or to clear one that does not,
 * does nothing. When it returns no vCPU runs by the old mask. Whoever changes a reason is the only one who
 * does so at that time. Any processor, outside of any guest, interrupts open; no lock is held that a vCPU might want between leaving the guest and
 * accel_update(): docs/locking.md.
 */
void inhibit_set(struct vm *vm, enum inhibit_reason reason);
void inhibit_clear(struct vm *vm, enum inhibit_reason reason);
/* The same for several: of `reasons`, those in `stand` are set and the others cleared, as one change. */
void inhibit_change(struct vm *vm, u32 reasons, u32 stand);
/* It stands. Any processor; a snapshot. */
bool inhibit_stands(const struct vm *vm, enum inhibit_reason reason);

/* --- for irq/irq_window.c and irq/accel.c --- */
void inhibit_lock_shared(struct vm *vm);
void inhibit_unlock_shared(struct vm *vm);
/* The same without a call; false: somebody changes the mask, and it has not been taken. */
static inline bool inhibit_trylock_shared(struct inhibit_vm *inhibit)
{
	if (!read_trylock(&inhibit->lock))
		return false;
	counter_add_shared(&inhibit->shared, 1);
	return true;
}
void inhibit_lock(struct vm *vm);
void inhibit_unlock(struct vm *vm);
/* inhibit_change() with the lock held exclusively. IRQWIN follows from the count of windows in any case. */
void inhibit_change_locked(struct vm *vm, u32 reasons, u32 stand);

/* Note in an account that its reason begins or ends to stand. `vcpu`: NULL, or who caused it. */
void inhibit_note(struct inhibit_account *account, bool stands, const struct vcpu *vcpu);
/* How long it has stood until now, in nanoseconds. */
u64 inhibit_held_ns(const struct inhibit_account *account);
/* How long acceleration was not inhibited for the VM. */
u64 inhibit_active_ns(const struct vm *vm);

#endif
