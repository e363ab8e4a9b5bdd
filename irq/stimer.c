/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The synthetic timers. The rules (TLFS "Timers", "Synthetic Timers"):
 *
 *  - Times are of the partition's reference counter, in units of 100 ns. No signal comes early.
 *  - One-shot: COUNT is a time. When it has come the timer is disabled. A time that has passed is now.
 *  - Periodic: COUNT is the period; the first one begins when the timer is enabled.
 *  - What a late vCPU has missed: a lazy timer skips; another catches up, with periods half as long,
 *    up to CATCH_UP signals; beyond that they are skipped too.
 *  - COUNT = 0 disables. Another COUNT enables if AutoEnable says so, and starts an enabled timer anew.
 *  - A signal is a message to a SINT, or, in direct mode, an interrupt. Without direct mode SINT 0 is
 *    not permitted: the timer is disabled at once.
 *  - RsvdZ bits of CONFIG are #GP.
 *
 * The host's timer is only a hint, as for the local APIC's timer: whatever it brings, `due` decides.
 */
#include "irq/stimer.h"

#include "core/hv.h"
#include "core/hv_time.h"
#include "core/vm.h"

#define CATCH_UP 16

/* Shorter periods are skipped, not served one by one: 20 us, as for the local APIC's timer. */
#define SHORTEST (20 * HV_TIME_PER_US)

static struct stimer *stimer_of(struct vcpu *vcpu, u32 i)
{
	return &vcpu->hv->stimer[i];
}

static u8 sint_of(u64 config)
{
	return (u8)(config >> HV_STIMER_SINT_SHIFT & (HV_SINTS - 1));
}

static u64 add_saturated(u64 a, u64 b)
{
	return a + b < a ? TSC_NEVER : a + b;
}

static void fire(struct timer *timer)
{
	vcpu_request(container_of(timer, struct stimer, timer)->vcpu, VCPU_REQUEST_STIMER);
}

static void stop(struct stimer *stimer)
{
	stimer->due = TSC_NEVER;
	timer_cancel(&stimer->timer);
}

static void arm(struct stimer *stimer, u64 due)
{
	stimer->due = due;
	timer_arm(&stimer->timer, hv_time_to_tsc(stimer->vcpu->vm, due));
}

/* ---- expiry ---- */

static void signal_expiry(struct stimer *stimer, u64 now)
{
	struct vcpu *vcpu = stimer->vcpu;
	struct hv_timer_payload payload = {.timer = (u32)(stimer - stimer_of(vcpu, 0)),
	                                   .expiration = stimer->expiry,
	                                   .delivery = now};
	bool taken;

	vcpu_count(vcpu, COUNTER_STIMER_TICKS);
	if (stimer->config & HV_STIMER_DIRECT)
		taken = lapic_accept(&vcpu->lapic, (u8)(stimer->config >> HV_STIMER_VECTOR_SHIFT),
		                     false, IRQ_SOURCE_SYNIC);
	else
		taken = synic_post_timer(vcpu, payload.timer, sint_of(stimer->config), &payload);
	if (!taken)
		vcpu_count(vcpu, COUNTER_STIMER_LOST);
}

static void next_period(struct stimer *stimer, u64 now)
{
	u64 most = stimer->config & HV_STIMER_LAZY ? 0 : CATCH_UP;
	u64 missed;

	stimer->expiry = add_saturated(stimer->expiry, stimer->count);
	if (stimer->expiry > now) {
		arm(stimer, max_u64(stimer->expiry, now + SHORTEST));
		return;
	}
	missed = (now - stimer->expiry) / stimer->count + 1;
	if (missed > most)
		stimer->expiry += (missed - most) * stimer->count;
	arm(stimer, max_u64(max_u64(stimer->expiry, now + stimer->count / 2), now + SHORTEST));
}

static void expire(struct stimer *stimer, u64 now)
{
	signal_expiry(stimer, now);
	if (stimer->config & HV_STIMER_PERIODIC) {
		next_period(stimer, now);
		return;
	}
	stop(stimer);
	stimer->config &= ~HV_STIMER_ENABLED;
}

void stimer_expired(struct vcpu *vcpu)
{
	u64 now = hv_time_now(vcpu->vm);

	for (u32 i = 0; i < HV_STIMERS; i++) {
		struct stimer *stimer = stimer_of(vcpu, i);

		if (stimer->due == TSC_NEVER)
			continue;
		if (stimer->due <= now)
			expire(stimer, now);
		else
			arm(stimer, stimer->due);
	}
}

/* ---- registers ---- */

/* An enabled timer begins anew; one whose count is 0 does not count. */
static void start(struct stimer *stimer)
{
	u64 now = hv_time_now(stimer->vcpu->vm);

	stop(stimer);
	if (!(stimer->config & HV_STIMER_DIRECT) && !sint_of(stimer->config))
		stimer->config &= ~HV_STIMER_ENABLED;
	if (!(stimer->config & HV_STIMER_ENABLED) || !stimer->count)
		return;
	stimer->expiry = stimer->count;
	if (stimer->config & HV_STIMER_PERIODIC)
		stimer->expiry = add_saturated(now, stimer->count);
	if (stimer->expiry <= now)
		expire(stimer, now);
	else
		arm(stimer, stimer->expiry);
}

static bool write_config(struct stimer *stimer, u64 value)
{
	if (value & ~HV_STIMER_VALID)
		return false;
	stimer->config = value;
	start(stimer);
	return true;
}

static bool write_count(struct stimer *stimer, u64 value)
{
	stimer->count = value;
	if (!value)
		stimer->config &= ~HV_STIMER_ENABLED;
	else if (stimer->config & HV_STIMER_AUTO_ENABLE)
		stimer->config |= HV_STIMER_ENABLED;
	start(stimer);
	return true;
}

bool stimer_msr_read(struct vcpu *vcpu, u32 msr, u64 *value)
{
	const struct stimer *stimer = stimer_of(vcpu, (msr - MSR_HV_STIMER0) / 2);

	*value = (msr - MSR_HV_STIMER0) % 2 ? stimer->count : stimer->config;
	return true;
}

bool stimer_msr_write(struct vcpu *vcpu, u32 msr, u64 value)
{
	struct stimer *stimer = stimer_of(vcpu, (msr - MSR_HV_STIMER0) / 2);

	return (msr - MSR_HV_STIMER0) % 2 ? write_count(stimer, value)
	                                  : write_config(stimer, value);
}

/* ---- life ---- */

void stimer_init(struct vcpu *vcpu)
{
	for (u32 i = 0; i < HV_STIMERS; i++) {
		struct stimer *stimer = stimer_of(vcpu, i);

		stimer->vcpu = vcpu;
		stimer->due = TSC_NEVER;
		timer_init(&stimer->timer, fire);
	}
}

void stimer_reset(struct vcpu *vcpu)
{
	for (u32 i = 0; i < HV_STIMERS; i++) {
		struct stimer *stimer = stimer_of(vcpu, i);

		stop(stimer);
		stimer->config = stimer->count = 0;
	}
}

void stimer_destroy(struct vcpu *vcpu)
{
	for (u32 i = 0; i < HV_STIMERS; i++)
		timer_cancel(&stimer_of(vcpu, i)->timer);
}
