/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Numbers and layouts of the interface "Hv#1": Hypervisor Top-Level Functional Specification (TLFS),
 * "Feature and Interface Discovery", "Hypercall Interface", "Virtual Interrupt Control",
 * "Inter-Partition Communication", "Timers".
 */
#ifndef X86_HYPERV_H
#define X86_HYPERV_H

#include "postern/types.h"

/* CPUID. */
#define HV_CPUID_VENDOR          0x40000000
#define HV_CPUID_INTERFACE       0x40000001
#define HV_CPUID_VERSION         0x40000002
#define HV_CPUID_FEATURES        0x40000003
#define HV_CPUID_RECOMMENDATIONS 0x40000004
#define HV_CPUID_LIMITS          0x40000005
#define HV_CPUID_LEAVES          0x100 /* what others offer begins behind these */

#define HV_VENDOR_EBX 0x7263694d /* "Microsoft Hv" */
#define HV_VENDOR_ECX 0x666f736f
#define HV_VENDOR_EDX 0x76482074
#define HV_INTERFACE  0x31237648 /* "Hv#1" */

/* HV_PARTITION_PRIVILEGE_MASK: EAX and EBX of the features. */
#define HV_ACCESS_VP_RUNTIME    BIT(0)
#define HV_ACCESS_REF_COUNTER   BIT(1)
#define HV_ACCESS_SYNIC         BIT(2)
#define HV_ACCESS_STIMER        BIT(3)
#define HV_ACCESS_APIC          BIT(4)
#define HV_ACCESS_HYPERCALL     BIT(5)
#define HV_ACCESS_VP_INDEX      BIT(6)
#define HV_ACCESS_RESET         BIT(7)
#define HV_ACCESS_REF_TSC       BIT(9)
#define HV_ACCESS_FREQUENCY     BIT(11)
#define HV_ACCESS_POST_MESSAGES BIT(4) /* EBX */
#define HV_ACCESS_SIGNAL_EVENTS BIT(5) /* EBX */
/* EDX of the features. */
#define HV_FEATURE_FREQUENCY      BIT(8)
#define HV_FEATURE_SINT_POLLING   BIT(17)
#define HV_FEATURE_HYPERCALL_LOCK BIT(18)
#define HV_FEATURE_DIRECT_STIMER  BIT(19)
/* EAX of the recommendations. */
#define HV_RECOMMEND_APIC_MSRS    BIT(3)
#define HV_RECOMMEND_RELAXED      BIT(5)
#define HV_RECOMMEND_NO_AUTO_EOI  BIT(9)
#define HV_RECOMMEND_NEVER_NOTIFY (~0u) /* EBX: of spin loops */

/* MSRs. */
#define MSR_HV_FIRST         0x40000000
#define MSR_HV_GUEST_OS_ID   0x40000000
#define MSR_HV_HYPERCALL     0x40000001
#define MSR_HV_VP_INDEX      0x40000002
#define MSR_HV_RESET         0x40000003
#define MSR_HV_VP_RUNTIME    0x40000010
#define MSR_HV_TIME_REF      0x40000020
#define MSR_HV_REFERENCE_TSC 0x40000021
#define MSR_HV_TSC_FREQUENCY 0x40000022
#define MSR_HV_APIC_FREQ     0x40000023
#define MSR_HV_EOI           0x40000070
#define MSR_HV_ICR           0x40000071
#define MSR_HV_TPR           0x40000072
#define MSR_HV_VP_ASSIST     0x40000073
#define MSR_HV_SCONTROL      0x40000080
#define MSR_HV_SVERSION      0x40000081
#define MSR_HV_SIEFP         0x40000082
#define MSR_HV_SIMP          0x40000083
#define MSR_HV_EOM           0x40000084
#define MSR_HV_SINT0         0x40000090
#define MSR_HV_SINT15        0x4000009f
#define MSR_HV_STIMER0       0x400000b0 /* CONFIG; the next is COUNT, and so for all four */
#define MSR_HV_STIMER3_COUNT 0x400000b7
#define MSR_HV_LAST          0x400000ff

#define HV_PAGE_ENABLE      BIT64(0) /* of the MSRs that place a page */
#define HV_HYPERCALL_LOCKED BIT64(1)
#define HV_SCONTROL_ENABLE  BIT64(0)
#define HV_SVERSION         1

/* SINTx. */
#define HV_SINTS         16
#define HV_SINT_VECTOR   0xffull
#define HV_SINT_MASKED   BIT64(16)
#define HV_SINT_AUTO_EOI BIT64(17)
#define HV_SINT_POLLING  BIT64(18)
#define HV_SINT_RESET    HV_SINT_MASKED

/* STIMERx_CONFIG. */
#define HV_STIMERS             4
#define HV_STIMER_ENABLED      BIT64(0)
#define HV_STIMER_PERIODIC     BIT64(1)
#define HV_STIMER_LAZY         BIT64(2)
#define HV_STIMER_AUTO_ENABLE  BIT64(3)
#define HV_STIMER_VECTOR_SHIFT 4
#define HV_STIMER_DIRECT       BIT64(12)
#define HV_STIMER_SINT_SHIFT   16
#define HV_STIMER_VALID        0xf1fffull

/* A slot of the message page, and what is in it. */
#define HV_MESSAGE_SIZE          256
#define HV_MESSAGE_PAYLOAD       240
#define HV_MESSAGE_NONE          0
#define HV_MESSAGE_TIMER_EXPIRED 0x80000010
#define HV_MESSAGE_HYPERVISOR    BIT(31) /* types that no guest may post */
#define HV_MESSAGE_PENDING       BIT(8)  /* in hv_message.size_flags: MessagePending */

struct hv_message {
	u32 type;
	u32 size_flags; /* 7:0 PayloadSize, 15:8 MessageFlags */
	u64 origin;     /* sender, or port */
	u8 payload[HV_MESSAGE_PAYLOAD];
};
_Static_assert(sizeof(struct hv_message) == HV_MESSAGE_SIZE, "HV_MESSAGE");

struct hv_timer_payload {
	u32 timer;
	u32 reserved;
	u64 expiration; /* reference time that was asked for */
	u64 delivery;   /* and when the message was made */
};
_Static_assert(sizeof(struct hv_timer_payload) == 24, "HV_TIMER_MESSAGE_PAYLOAD");

#define HV_EVENT_FLAGS       2048 /* of each SINT */
#define HV_EVENT_FLAGS_BYTES 256

struct hv_reference_tsc {
	u32 sequence; /* 0: not to be used */
	u32 reserved;
	u64 scale;
	s64 offset;
};

/* Hypercalls: the input value, call codes, their parameters, HV_STATUS. */
#define HV_CALL_CODE     0xffffull
#define HV_CALL_FAST     BIT64(16)
#define HV_CALL_VARIABLE (0x3ffull << 17) /* size of a variable header */
#define HV_CALL_REPS     (0xfffull << 32 | 0xfffull << 48)
#define HV_CALL_RESERVED (0x1full << 27 | 0xfull << 44 | 0xfull << 60)

#define HV_CALL_POST_MESSAGE 0x5c
#define HV_CALL_SIGNAL_EVENT 0x5d

struct hv_post_message {
	u32 connection;
	u32 reserved;
	u32 type;
	u32 size;
	u8 payload[HV_MESSAGE_PAYLOAD];
};
_Static_assert(sizeof(struct hv_post_message) == 256, "HvCallPostMessage");

struct hv_signal_event {
	u32 connection;
	u16 flag;
	u16 reserved;
};
_Static_assert(sizeof(struct hv_signal_event) == 8, "HvCallSignalEvent, in a register too");

enum hv_status {
	HV_STATUS_SUCCESS = 0,
	HV_STATUS_INVALID_HYPERCALL_CODE = 2,
	HV_STATUS_INVALID_HYPERCALL_INPUT = 3,
	HV_STATUS_INVALID_ALIGNMENT = 4,
	HV_STATUS_INVALID_PARAMETER = 5,
	HV_STATUS_INVALID_CONNECTION_ID = 0x12,
	HV_STATUS_INSUFFICIENT_BUFFERS = 0x13,
	HV_STATUS_INVALID_SYNIC_STATE = 0x18,
};

#endif
