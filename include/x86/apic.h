/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The local APIC's registers: page offsets (xAPIC), MSR = 0x800 + offset / 16 (x2APIC), fields.
 * SDM volume 3 "Advanced Programmable Interrupt Controller (APIC)", APM volume 2 of the same title.
 */
#ifndef X86_APIC_H
#define X86_APIC_H

#include "postern/types.h"

#define APIC_ID      0x020
#define APIC_VERSION 0x030
#define APIC_TPR     0x080
#define APIC_APR     0x090
#define APIC_PPR     0x0a0
#define APIC_EOI     0x0b0
#define APIC_RRD     0x0c0
#define APIC_LDR     0x0d0
#define APIC_DFR     0x0e0
#define APIC_SVR     0x0f0
#define APIC_ISR     0x100 /* 8 registers, 16 bytes apart */
#define APIC_TMR     0x180
#define APIC_IRR     0x200
#define APIC_ESR     0x280
#define APIC_CMCI    0x2f0
#define APIC_ICR     0x300
#define APIC_ICR2    0x310
#define APIC_LVTT    0x320
#define APIC_LVTTHMR 0x330
#define APIC_LVTPC   0x340
#define APIC_LVT0    0x350
#define APIC_LVT1    0x360
#define APIC_LVTERR  0x370
#define APIC_TMICT   0x380
#define APIC_TMCCT   0x390
#define APIC_TDCR    0x3e0
#define APIC_SELF    0x3f0

#define APIC_SVR_ENABLE           BIT(8)
#define APIC_SVR_FOCUS            BIT(9)
#define APIC_SVR_NO_BROADCAST     BIT(12)
#define APIC_VERSION_DIRECTED_EOI BIT(24)

#define APIC_DM_FIXED       (0u << 8)
#define APIC_DM_LOWEST      (1u << 8)
#define APIC_DM_SMI         (2u << 8)
#define APIC_DM_NMI         (4u << 8)
#define APIC_DM_INIT        (5u << 8)
#define APIC_DM_SIPI        (6u << 8)
#define APIC_DM_EXTINT      (7u << 8)
#define APIC_DM_MASK        (7u << 8)
#define APIC_DEST_LOGICAL   BIT(11)
#define APIC_ICR_BUSY       BIT(12)
#define APIC_LEVEL_ASSERT   BIT(14)
#define APIC_TRIGGER_LEVEL  BIT(15)
#define APIC_DEST_FIELD     (0u << 18)
#define APIC_DEST_SELF      (1u << 18)
#define APIC_DEST_ALL       (2u << 18)
#define APIC_DEST_OTHERS    (3u << 18)
#define APIC_DEST_SHORTHAND (3u << 18)

#define APIC_LVT_BUSY       BIT(12)
#define APIC_LVT_POLARITY   BIT(13)
#define APIC_LVT_REMOTE_IRR BIT(14)
#define APIC_LVT_LEVEL      BIT(15)
#define APIC_LVT_MASKED     BIT(16)
#define APIC_LVTT_ONESHOT   (0u << 17)
#define APIC_LVTT_PERIODIC  (1u << 17)
#define APIC_LVTT_DEADLINE  (2u << 17)
#define APIC_LVTT_MODE      (3u << 17)

#define APIC_ESR_SEND_ACCEPT  BIT(2)
#define APIC_ESR_RECV_ACCEPT  BIT(3)
#define APIC_ESR_REDIRECTABLE BIT(4)
#define APIC_ESR_SEND_ILLEGAL BIT(5)
#define APIC_ESR_RECV_ILLEGAL BIT(6)
#define APIC_ESR_ILLEGAL_REG  BIT(7)

#endif
