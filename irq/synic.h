/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The synthetic interrupt controller of the "Hv#1" interface: sixteen sources (SINT) of a vCPU's
 * local APIC, each with a slot for a message and 2048 event flags, in pages that the guest names.
 * TLFS "Inter-Partition Communication". The rules are in synic.c. Tags as in core/vcpu.h.
 */
#ifndef IRQ_SYNIC_H
#define IRQ_SYNIC_H

#include "postern/sync.h"
#include "x86/hyperv.h"

struct vcpu;
struct vm;

/* Of the messages that wait: one for each synthetic timer, the others for what guests post. */
#define SYNIC_GUEST_BUFFERS 4
#define SYNIC_BUFFERS       (HV_STIMERS + SYNIC_GUEST_BUFFERS)

struct synic_buffer {
	bool queued;
	u8 sint;
	u64 order; /* the lowest one has waited longest */
	struct hv_message message;
};

struct synic {
	struct spinlock lock;
	struct vcpu *vcpu;   /* (i) */
	u64 control;         /* [lock] SCONTROL */
	u64 flags_msr;       /* [lock] SIEFP */
	u64 messages_msr;    /* [lock] SIMP */
	u8 *flags;           /* [lock] the page in host memory; NULL: not enabled, or no RAM */
	u8 *messages;        /* [lock] likewise */
	u64 sint[HV_SINTS];  /* [lock] */
	u64 order;           /* [lock] of the next message */
	bool counts_as_user; /* [o] it is one of vm->hv.auto_eoi_users */
	struct synic_buffer buffer[SYNIC_BUFFERS]; /* [lock] the timers' own first */
};

/* Before the vCPU's first reset. */
void synic_init(struct vcpu *vcpu);
/* Reset or INIT: all registers, and no message waits. Own processor, or before the vCPU runs. */
void synic_reset(struct vcpu *vcpu);

/* SCONTROL .. EOM, SINT0 .. SINT15. false: #GP. Own processor, no locks held. */
bool synic_msr_read(struct vcpu *vcpu, u32 msr, u64 *value);
bool synic_msr_write(struct vcpu *vcpu, u32 msr, u64 value);

/*
 * Deliver what waits, as far as slots are empty: the guest has said EOI or EOM. Own processor, no
 * locks held.
 */
void synic_scan(struct vcpu *vcpu);

/*
 * Synthetic timer `timer` has expired: queue its message for `sint`. false: it was lost, because the
 * one before still waits or the guest has the controller off. Own processor.
 */
bool synic_post_timer(struct vcpu *vcpu, u32 timer, u8 sint,
                      const struct hv_timer_payload *payload);

/*
 * HvCallPostMessage and HvCallSignalEvent, as far as they concern the target. `size` is at most
 * HV_MESSAGE_PAYLOAD, `type` one that guests may post. Any processor, no locks held.
 */
enum hv_status synic_post(struct vcpu *target, u8 sint, u32 type, u64 port, const void *payload,
                          u32 size);
enum hv_status synic_signal(struct vcpu *target, u8 sint, u32 flag);

#endif
