/* SPDX-License-Identifier: BSD-2-Clause */
/* Model-specific register numbers. APM volume 2, "MSR Cross-Reference"; SDM volume 4. */
#ifndef X86_MSR_H
#define X86_MSR_H

#define MSR_TSC            0x00000010
#define MSR_APIC_BASE      0x0000001b
#define MSR_TSC_ADJUST     0x0000003b
#define MSR_SPEC_CTRL      0x00000048
#define MSR_PRED_CMD       0x00000049
#define MSR_PATCH_LEVEL    0x0000008b
#define MSR_MTRRCAP        0x000000fe
#define MSR_SYSENTER_CS    0x00000174
#define MSR_SYSENTER_ESP   0x00000175
#define MSR_SYSENTER_EIP   0x00000176
#define MSR_MCG_CAP        0x00000179
#define MSR_MCG_STATUS     0x0000017a
#define MSR_MISC_ENABLE    0x000001a0
#define MSR_DEBUGCTL       0x000001d9
#define MSR_MTRR_PHYSBASE0 0x00000200
#define MSR_MTRR_PHYSMASK7 0x0000020f
#define MSR_MTRR_FIX64K    0x00000250
#define MSR_MTRR_FIX16K_80 0x00000258
#define MSR_MTRR_FIX16K_A0 0x00000259
#define MSR_MTRR_FIX4K_C0  0x00000268
#define MSR_MTRR_FIX4K_F8  0x0000026f
#define MSR_PAT            0x00000277
/* WB, WT, UC-, UC, twice. */
#define PAT_RESET          0x0007040600070406ull
#define MSR_MTRR_DEFTYPE   0x000002ff
#define MSR_TSC_DEADLINE   0x000006e0
#define MSR_X2APIC_FIRST   0x00000800
#define MSR_X2APIC_EOI     0x0000080b
#define MSR_X2APIC_SELF    0x0000083f
#define MSR_X2APIC_LAST    0x000008ff
#define MSR_EFER           0xc0000080
#define MSR_STAR           0xc0000081
#define MSR_LSTAR          0xc0000082
#define MSR_CSTAR          0xc0000083
#define MSR_SFMASK         0xc0000084
#define MSR_FS_BASE        0xc0000100
#define MSR_GS_BASE        0xc0000101
#define MSR_KERNEL_GS_BASE 0xc0000102
#define MSR_TSC_AUX        0xc0000103
#define MSR_TSC_RATIO      0xc0000104
#define MSR_K7_EVNTSEL0    0xc0010000
#define MSR_K7_EVNTSEL3    0xc0010003
#define MSR_K7_PERFCTR0    0xc0010004
#define MSR_K7_PERFCTR3    0xc0010007
#define MSR_SYSCFG         0xc0010010
#define MSR_HWCR           0xc0010015
#define MSR_NB_CFG         0xc001001f
#define MSR_INT_PENDING    0xc0010055
#define MSR_VM_CR          0xc0010114
#define MSR_AVIC_DOORBELL  0xc001011b
#define MSR_VM_HSAVE_PA    0xc0010117
#define MSR_AVIC_DOORBELL  0xc001011b
#define MSR_OSVW_ID_LENGTH 0xc0010140
#define MSR_OSVW_STATUS    0xc0010141
#define MSR_LS_CFG         0xc0011020
#define MSR_IC_CFG         0xc0011021
#define MSR_DC_CFG         0xc0011022
#define MSR_BU_CFG2        0xc001102a
#define MSR_DE_CFG         0xc0011029

#define APIC_BASE_BSP     (1ull << 8)
#define APIC_BASE_EXTD    (1ull << 10)
#define APIC_BASE_EN      (1ull << 11)
#define APIC_BASE_DEFAULT 0xfee00000ull

/* IA32_MISC_ENABLE: fast strings; no branch trace store, no PEBS (read-only, as is bit 7). */
#define MISC_ENABLE_RESET     (1ull << 0 | 1ull << 11 | 1ull << 12)
#define MISC_ENABLE_READ_ONLY (1ull << 7 | 1ull << 11 | 1ull << 12)

#define VM_CR_SVMDIS (1ull << 4)

/* KVM's paravirtual interface (Linux Documentation/virt/kvm/x86/{cpuid,msr}.rst). */
#define KVM_CPUID_SIGNATURE            0 /* from the leaf on at which they begin */
#define KVM_CPUID_FEATURES             1
#define KVM_FEATURE_CLOCKSOURCE2       3
#define KVM_FEATURE_MSI_EXT_DEST_ID    15
#define KVM_FEATURE_CLOCKSOURCE_STABLE 24
#define MSR_KVM_WALL_CLOCK_NEW         0x4b564d00
#define MSR_KVM_SYSTEM_TIME_NEW        0x4b564d01

#endif
