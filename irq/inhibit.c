/* SPDX-License-Identifier: BSD-2-Clause */
/* See inhibit.h. */
#include "irq/inhibit.h"

#include "core/machine.h"
#include "core/sched.h"
#include "irq/apic_page.h"
#include "postern/port.h"

/*
 * Requirement S0.5: who enters reads the mask, and nobody who opens a window takes its line away. What a window
 * writes is one line.
 */
#define LINE_OF(field) (offsetof(struct inhibit_vm, field) / CACHE_LINE)
_Static_assert(_Alignof(struct inhibit_vm) == CACHE_LINE, "lines are as counted here");
_Static_assert(LINE_OF(mask) == LINE_OF(needed), "what is only read is together");
_Static_assert(LINE_OF(mask) != LINE_OF(lock) && LINE_OF(mask) != LINE_OF(account),
               "the mask is on a line that nobody writes often");
_Static_assert(LINE_OF(windows) == LINE_OF(lock) && LINE_OF(shared) == LINE_OF(lock) &&
                       LINE_OF(exclusive) == LINE_OF(lock),
               "the count is on the lock's line, and so is the lock's account");
_Static_assert(LINE_OF(account) != LINE_OF(lock), "and nothing else");

void inhibit_create(struct vm *vm, u32 needed)
{
	vm->inhibit.needed = needed;
	vm->inhibit.active_since = port_tsc();
	inhibit_set(vm, INHIBIT_ABSENT);
	/* There was nobody to be accelerated. */
	vm->inhibit.active = 0;
}

/* --- the account --- */

/*
 * A time goes on since `since`, if that is not 0, and has been `before` until then. A reader takes `before`
 * first, and the writer changes it last: what they disagree about is not told, rather than told twice.
 */
static void stop_time(u64 *before, u64 *since)
{
	u64 passed = port_tsc() - counter_read(since);

	counter_set(since, 0);
	counter_add(before, passed);
}

static u64 time_ns(const u64 *before, const u64 *since)
{
	u64 ticks = counter_read(before);
	u64 begun = counter_read(since);

	return timer_tsc_to_ns(ticks + (begun ? port_tsc() - begun : 0));
}

void inhibit_note(struct inhibit_account *account, bool stands, const struct vcpu *vcpu)
{
	if (!stands) {
		counter_add(&account->clears, 1);
		stop_time(&account->held, &account->since);
		return;
	}
	counter_add(&account->sets, 1);
	counter_set(&account->since, port_tsc());
	counter_set(&account->vcpu, vcpu ? vcpu->index : INHIBIT_BY_HOST);
	counter_set(&account->rip, vcpu ? vcpu->regs.rip : 0);
}

u64 inhibit_held_ns(const struct inhibit_account *account)
{
	return time_ns(&account->held, &account->since);
}

u64 inhibit_active_ns(const struct vm *vm)
{
	return time_ns(&vm->inhibit.active, &vm->inhibit.active_since);
}

/* Whose exit is handled on this processor, if it is one of this VM's. */
static const struct vcpu *current_vcpu(const struct vm *vm)
{
	const struct vcpu *vcpu = this_cpu()->current;

	return vcpu && vcpu->vm == vm ? vcpu : NULL;
}

static void note_changes(struct vm *vm, u32 old, u32 new)
{
	struct inhibit_vm *inhibit = &vm->inhibit;
	u32 changed = old ^ new;

	for (; changed; changed &= changed - 1) {
		u32 reason = (u32)__builtin_ctz(changed);

		inhibit_note(&inhibit->account[reason], new &BIT(reason),
		             BIT(reason) & INHIBITS_OF_HOST ? NULL : current_vcpu(vm));
	}
	if (!old == !new)
		return;
	if (new)
		stop_time(&inhibit->active, &inhibit->active_since);
	else
		counter_set(&inhibit->active_since, port_tsc());
}

/* --- the lock --- */

void inhibit_lock_shared(struct vm *vm)
{
	read_lock(&vm->inhibit.lock);
	counter_add_shared(&vm->inhibit.shared, 1);
}

void inhibit_unlock_shared(struct vm *vm)
{
	read_unlock(&vm->inhibit.lock);
}

void inhibit_lock(struct vm *vm)
{
	write_lock(&vm->inhibit.lock);
	counter_add_shared(&vm->inhibit.exclusive, 1);
}

void inhibit_unlock(struct vm *vm)
{
	write_unlock(&vm->inhibit.lock);
}

/* --- changes --- */

static u32 with_windows(const struct vm *vm, u32 mask)
{
	mask &= ~INHIBIT_BIT(IRQWIN);
	return atomic32_read(&vm->inhibit.windows) ? mask | INHIBIT_BIT(IRQWIN) : mask;
}

/* See inhibit.h. Before the VM starts nobody sleeps: none is on a queue yet. */
static void wake_all(struct vm *vm)
{
	struct vcpu *vcpu;

	if (!atomic32_read(&vm->live_vcpus))
		return;
	for_each_vcpu (vcpu, vm)
		sched_wake(vcpu);
}

void inhibit_change_locked(struct vm *vm, u32 reasons, u32 stand)
{
	struct inhibit_vm *inhibit = &vm->inhibit;
	u32 old = atomic32_read(&inhibit->mask);
	u32 new = with_windows(vm, (old & ~reasons) | (stand & reasons & inhibit->needed));

	if (new == old)
		return;
	/* The order: inhibit.h. Changes among masks that are not 0 concern no vCPU (S3.4). */
	if (!old != !new) {
		counter_add(&inhibit->rounds, 1);
		counter_add(&inhibit->kicked, vcpu_request_all(vm, VCPU_REQUEST_ACCEL));
	}
	note_changes(vm, old, new);
	atomic32_set(&inhibit->mask, new);
	if (!old)
		apic_page_zap(vm);
	if (!new && vm->accel.finds_sleepers)
		wake_all(vm);
}

void inhibit_change(struct vm *vm, u32 reasons, u32 stand)
{
	u32 now = atomic32_read(&vm->inhibit.mask);

	if ((now & reasons) == (stand & reasons & vm->inhibit.needed))
		return;
	inhibit_lock(vm);
	inhibit_change_locked(vm, reasons, stand);
	inhibit_unlock(vm);
}

void inhibit_set(struct vm *vm, enum inhibit_reason reason)
{
	inhibit_change(vm, BIT(reason), BIT(reason));
}

void inhibit_clear(struct vm *vm, enum inhibit_reason reason)
{
	inhibit_change(vm, BIT(reason), 0);
}

bool inhibit_stands(const struct vm *vm, enum inhibit_reason reason)
{
	return atomic32_read(&vm->inhibit.mask) & BIT(reason);
}
