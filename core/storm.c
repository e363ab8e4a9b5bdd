/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * See storm.h. A timer of the boot processor sets and clears by turns; it fires with no locks held and
 * outside of any guest, which is what inhibit_set() asks for. Arming, cancelling and firing are all that
 * one processor's, so they need no lock.
 *
 * A processor that is late makes up for it, at four times the pace at most, so that vCPUs get into the
 * guest in between; what is more than a second late is given up.
 */
#include "core/storm.h"

#include "core/vm.h"
#include "irq/inhibit.h"
#include "postern/port.h"

#define SECOND_NS 1000000000ull
#define HASTE     4

static void storm_change(struct vm *vm, bool on)
{
	vm->storm.stands = on;
	if (on) {
		inhibit_set(vm, INHIBIT_STORM);
		return;
	}
	inhibit_clear(vm, INHIBIT_STORM);
	counter_add_shared(&vm->vcpu[0]->account.counters[COUNTER_INHIBIT_STORMS], 1);
}

static void storm_fire(struct timer *timer)
{
	struct vm *vm = container_of(timer, struct vm, storm.timer);
	struct storm *storm = &vm->storm;
	u64 now;

	if (vm_has_ended(vm)) {
		storm_set(vm, 0);
		return;
	}
	storm_change(vm, !storm->stands);
	now = port_tsc();
	storm->deadline += storm->half;
	if (storm->deadline + timer_ns_to_tsc(SECOND_NS) < now)
		storm->deadline = now;
	timer_arm(timer, max_u64(storm->deadline, now + storm->half / HASTE));
}

void storm_init(struct vm *vm)
{
	timer_init(&vm->storm.timer, storm_fire);
}

void storm_set(struct vm *vm, u32 rate)
{
	struct storm *storm = &vm->storm;

	storm->half = rate ? timer_ns_to_tsc(SECOND_NS / 2 / rate) : 0;
	if (!rate) {
		timer_cancel(&storm->timer);
		if (storm->stands)
			storm_change(vm, false);
		return;
	}
	storm->deadline = port_tsc() + storm->half;
	timer_arm(&storm->timer, storm->deadline);
}

void storm_destroy(struct vm *vm)
{
	timer_cancel(&vm->storm.timer);
}
