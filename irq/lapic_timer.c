/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The local APIC timer.
 *
 * The rules (SDM volume 3 "APIC Timer"):
 *  - One-shot and periodic: TMICT starts the count, at the bus clock (1 GHz: a count is 1 ns)
 * divided by TDCR. It counts whether or not the LVT entry is masked; an expiry while masked is
 * lost.
 *  - TSC-deadline: the MSR arms, 0 disarms, a time that has passed fires at once, and after the
 * expiry the MSR reads 0. TMICT is ignored and TMCCT reads 0. In the other modes it is the MSR's
 * turn.
 *  - Changing to or from TSC-deadline mode disarms.
 *
 * All of it belongs to the vCPU's processor. The host's timer is only a hint: its callback asks for
 * the vCPU's attention, and lapic_timer_expired() looks at timer_deadline again. So a hint that was
 * under way when the guest wrote a register does no harm.
 *
 * timer_deadline is all that there is of a deadline. Where the processor has a timer for guests, the host's is
 * armed for it while the vCPU does not run, and each entry takes it along while it does; that exit is a
 * hint, too.
 */
#include "irq/lapic_priv.h"

#include "core/vm.h"
#include "postern/port.h"

/*
 * Periods shorter than this are skipped, not served one by one: no guest can make its processor do
 * nothing but expire timers. Expiries stay on multiples of the guest's period.
 */
#define SHORTEST_REARM_NS 20000

static u32 timer_mode(const struct lapic *lapic)
{
	return lapic_get(lapic, APIC_LVTT) & APIC_LVTT_MODE;
}

/* TDCR bits 3, 1, 0: 0 to 6 divide by 2 to 128, 7 by 1. */
static u32 divide_shift(u32 tdcr)
{
	return (((tdcr & 3) | (tdcr & 8) >> 1) + 1) & 7;
}

static void arm(struct lapic *lapic)
{
	if (!lapic->timer_on_entry)
		timer_arm(&lapic->timer, lapic->timer_deadline);
}

static void set_deadline(struct lapic *lapic, u64 deadline)
{
	lapic->timer_deadline = deadline;
	arm(lapic);
}

void lapic_timer_on_entry(struct vcpu *vcpu, bool on)
{
	struct lapic *lapic = &vcpu->lapic;

	if (lapic->timer_on_entry == on)
		return;
	lapic->timer_on_entry = on;
	if (on)
		timer_cancel(&lapic->timer);
	else
		arm(lapic);
}

static void fire(struct timer *timer)
{
	struct lapic *lapic = container_of(timer, struct lapic, timer);

	vcpu_request(lapic->vcpu, VCPU_REQUEST_TIMER);
}

void lapic_timer_init(struct lapic *lapic)
{
	timer_init(&lapic->timer, fire);
	lapic->timer_deadline = TSC_NEVER;
}

void lapic_timer_stop(struct lapic *lapic)
{
	lapic->timer_period = 0;
	lapic->tsc_deadline = 0;
	lapic->timer_deadline = TSC_NEVER;
	timer_cancel(&lapic->timer);
}

/* ---- expiry ---- */

static void raise(struct lapic *lapic)
{
	vcpu_count(lapic->vcpu, COUNTER_TIMER_TICKS);
	if (lapic_get(lapic, APIC_LVTT) & APIC_LVT_MASKED)
		vcpu_count(lapic->vcpu, COUNTER_TIMER_LOST);
	else
		lapic_local_interrupt(lapic->vcpu, APIC_LVTT);
}

/*
 * The next multiple of the period that is worth waiting for. IRR holds one request at most, so what
 * was missed while the vCPU did not run is one interrupt, as on a processor that had them blocked.
 */
static u64 next_period(const struct lapic *lapic, u64 now)
{
	u64 shortest = timer_ns_to_tsc(SHORTEST_REARM_NS);
	u64 after = lapic->timer_period < shortest ? now + shortest : now;
	u64 periods = (after - lapic->timer_deadline) / lapic->timer_period + 1;

	return lapic->timer_deadline + periods * lapic->timer_period;
}

void lapic_timer_expired(struct vcpu *vcpu)
{
	struct lapic *lapic = &vcpu->lapic;
	u64 now = port_tsc();

	if (lapic->timer_deadline == TSC_NEVER)
		return;
	if (lapic->timer_deadline > now) {
		arm(lapic);
		return;
	}
	raise(lapic);
	if (timer_mode(lapic) == APIC_LVTT_PERIODIC)
		set_deadline(lapic, next_period(lapic, now));
	else
		lapic_timer_stop(lapic);
}

/* What was due before a register changes happens before it. */
static void catch_up(struct lapic *lapic)
{
	if (lapic->timer_deadline <= port_tsc())
		lapic_timer_expired(lapic->vcpu);
}

/* ---- one-shot and periodic ---- */

/* Ticks until the count is 0; 0 when it is not counting. */
static u64 remaining_ticks(const struct lapic *lapic, u64 now)
{
	u64 deadline = lapic->timer_deadline;
	u64 period = lapic->timer_period;

	if (!period)
		return 0;
	if (timer_mode(lapic) != APIC_LVTT_PERIODIC)
		return deadline > now ? deadline - now : 0;
	/* The deadline may be several short periods ahead, or passed and not yet looked at. */
	if (deadline > now)
		return (deadline - now - 1) % period + 1;
	return period - (now - deadline) % period;
}

static u64 count_to_ticks(u32 count, u32 tdcr)
{
	return max_u64(timer_ns_to_tsc((u64)count << divide_shift(tdcr)), 1);
}

u32 lapic_timer_current_count(struct lapic *lapic)
{
	u64 ticks = remaining_ticks(lapic, port_tsc());
	u32 shift = divide_shift(lapic_get(lapic, APIC_TDCR));
	u64 count;

	if (!ticks)
		return 0;
	/* Rounded up: the count is 0 when the time has come and not before, and TMICT at its start.
	 */
	count = (timer_tsc_to_ns(ticks) + BIT64(shift) - 1) >> shift;
	return (u32)min_u64(max_u64(count, 1), lapic_get(lapic, APIC_TMICT));
}

void lapic_timer_write_initial_count(struct lapic *lapic, u32 count)
{
	u32 mode = timer_mode(lapic);

	if (mode != APIC_LVTT_ONESHOT && mode != APIC_LVTT_PERIODIC)
		return;
	catch_up(lapic);
	lapic_set(lapic, APIC_TMICT, count);
	if (!count) {
		lapic_timer_stop(lapic);
		return;
	}
	lapic->timer_period = count_to_ticks(count, lapic_get(lapic, APIC_TDCR));
	set_deadline(lapic, port_tsc() + lapic->timer_period);
}

/* The count that is left goes on at the new rate. */
void lapic_timer_write_divide(struct lapic *lapic, u32 tdcr)
{
	u32 left;

	catch_up(lapic);
	left = lapic_timer_current_count(lapic);
	if (left && divide_shift(tdcr) != divide_shift(lapic_get(lapic, APIC_TDCR))) {
		lapic->timer_period = count_to_ticks(lapic_get(lapic, APIC_TMICT), tdcr);
		set_deadline(lapic, port_tsc() + count_to_ticks(left, tdcr));
	}
	lapic_set(lapic, APIC_TDCR, tdcr);
}

void lapic_timer_write_lvt(struct lapic *lapic, u32 lvtt)
{
	u32 old;

	catch_up(lapic);
	old = lapic_get(lapic, APIC_LVTT);
	lapic_set(lapic, APIC_LVTT, lvtt);
	if (((old ^ lvtt) & APIC_LVTT_MODE) && ((old | lvtt) & APIC_LVTT_DEADLINE)) {
		lapic_timer_stop(lapic);
		lapic_set(lapic, APIC_TMICT, 0);
	}
}

/* ---- TSC deadline ---- */

/* Guest time to host time. What lies beyond the end of host time never comes. */
static u64 host_deadline(const struct lapic *lapic, u64 guest_tsc)
{
	u64 now = port_tsc();
	u64 guest_now = now + lapic->vcpu->tsc_offset;

	if (guest_tsc <= guest_now)
		return now;
	if (guest_tsc - guest_now >= TSC_NEVER - now)
		return TSC_NEVER - 1;
	return now + (guest_tsc - guest_now);
}

u64 lapic_timer_read_deadline(struct lapic *lapic)
{
	/* One whose time has come reads 0 even if nobody has looked at it yet. */
	catch_up(lapic);
	return lapic->tsc_deadline;
}

void lapic_timer_write_deadline(struct lapic *lapic, u64 guest_tsc)
{
	if (timer_mode(lapic) != APIC_LVTT_DEADLINE)
		return;
	catch_up(lapic);
	if (!guest_tsc) {
		lapic_timer_stop(lapic);
		return;
	}
	lapic->tsc_deadline = guest_tsc;
	set_deadline(lapic, host_deadline(lapic, guest_tsc));
	catch_up(lapic);
}

void lapic_timer_tsc_moved(struct vcpu *vcpu)
{
	struct lapic *lapic = &vcpu->lapic;

	if (!lapic->tsc_deadline)
		return;
	set_deadline(lapic, host_deadline(lapic, lapic->tsc_deadline));
	catch_up(lapic);
}
