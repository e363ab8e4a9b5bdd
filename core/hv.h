/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The interface "Hv#1" (Hyper-V's) for guests that know it: CPUID leaves, MSRs and what is the whole
 * VM's. The clock is in hv_time.h, hypercalls in hv_call.h, SynIC and synthetic timers in irq/synic.h
 * and irq/stimer.h. Offered by --set hyperv=on; otherwise vcpu->hv is NULL and none of it exists.
 *
 * Tags as in core/vcpu.h.
 */
#ifndef CORE_HV_H
#define CORE_HV_H

#include "irq/stimer.h"
#include "irq/synic.h"
#include "postern/sync.h"
#include "x86/hyperv.h"
#include "x86/regs.h"

struct vcpu;
struct vm;

/* Of a VM. */
struct hv_vm {
	struct spinlock lock;
	u64 guest_os_id;           /* [lock] */
	struct atomic64 hypercall; /* [a] the MSR; written under the lock */
	u64 reference_tsc;         /* [lock] the MSR */
	u32 sequence;     /* [lock] of the reference TSC page, the last one that was used */
	bool tsc_differs; /* [lock] a vCPU's TSC is not the VM's: hv_time.h */
	u64 tsc_scale;    /* (i) units of 100 ns in 2^64 ticks of the TSC */

	struct atomic32 auto_eoi_users; /* [a] vCPUs that have a SINT with AutoEOI */
	struct spinlock auto_eoi_lock;  /* INHIBIT_HYPERV follows that: irq/synic.c */
};

/* Of a vCPU. */
struct hv_vcpu {
	struct synic synic;
	struct stimer stimer[HV_STIMERS]; /* [o] */
	u64 assist;                       /* [o] VP_ASSIST_PAGE */
};

/* vm->tsc_base is known. */
void hv_create(struct vm *vm);
/* false: out of memory. */
bool hv_create_vcpu(struct vcpu *vcpu);
void hv_destroy_vcpu(struct vcpu *vcpu);
/* Reset or INIT; what is the VM's stays. Own processor, or before the vCPU runs. */
void hv_reset(struct vcpu *vcpu);

/* A leaf from HV_CPUID_VENDOR on, HV_CPUID_LEAVES of them. *r is zero. */
void hv_cpuid(struct vcpu *vcpu, u32 leaf, struct cpuid_regs *r);

bool hv_is_msr(struct vcpu *vcpu, u32 msr);
/* Only those of which hv_is_msr() says so. false: #GP. Own processor, no locks held. */
bool hv_msr_read(struct vcpu *vcpu, u32 msr, u64 *value);
bool hv_msr_write(struct vcpu *vcpu, u32 msr, u64 value);

#endif
