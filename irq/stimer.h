/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The four synthetic timers of a vCPU, of the "Hv#1" interface: TLFS "Timers", "Synthetic Timers".
 * The rules are in stimer.c. All of it belongs to the vCPU's processor [o].
 */
#ifndef IRQ_STIMER_H
#define IRQ_STIMER_H

#include "core/timer.h"
#include "x86/hyperv.h"

struct vcpu;

struct stimer {
	struct vcpu *vcpu;  /* (i) */
	struct timer timer; /* a hint: its callback asks for the vCPU's attention */
	u64 config;
	u64 count;
	u64 expiry; /* reference time of the next expiration, as the guest wants it */
	u64 due;    /* and when it will be signalled; TSC_NEVER: the timer does not count */
};

/* Before the vCPU's first reset. */
void stimer_init(struct vcpu *vcpu);
void stimer_reset(struct vcpu *vcpu);
/* No callback is armed afterwards. The vCPU does not run any more. */
void stimer_destroy(struct vcpu *vcpu);

/* STIMER0_CONFIG .. STIMER3_COUNT. false: #GP. Own processor, no locks held. */
bool stimer_msr_read(struct vcpu *vcpu, u32 msr, u64 *value);
bool stimer_msr_write(struct vcpu *vcpu, u32 msr, u64 value);

/* VCPU_REQUEST_STIMER: signal what is due. Own processor, no locks held. */
void stimer_expired(struct vcpu *vcpu);

#endif
