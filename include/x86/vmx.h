/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Virtual Machine Extensions: fields of the virtual-machine control structure, controls, capability
 * MSRs, exit reasons. SDM volume 3, "Virtual Machine Control Structures", "VMX Non-Root Operation",
 * "VM Entries", "VM Exits" and the appendices "VMX Capability Reporting Facility", "Field Encoding in
 * VMCS", "VMX Basic Exit Reasons". Included by vmx/ and cpu_model/ only.
 */
#ifndef X86_VMX_H
#define X86_VMX_H

#include "x86/regs.h"

/*
 * Every field that Postern uses or its processor model has. X(NAME, encoding). An encoding tells width,
 * type and whether it is the high half of a 64-bit field ("Field Encoding in VMCS").
 */
#define VMCS_FIELDS(X)                                                                             \
	/* 16 bits, control */                                                                     \
	X(VPID, 0x0000)                                                                            \
	X(PI_VECTOR, 0x0002) /* posted-interrupt notification vector */                            \
	X(LAST_PI_INDEX, 0x0008)                                                                   \
	/* 16 bits, guest */                                                                       \
	X(GUEST_ES_SELECTOR, 0x0800)                                                               \
	X(GUEST_CS_SELECTOR, 0x0802)                                                               \
	X(GUEST_SS_SELECTOR, 0x0804)                                                               \
	X(GUEST_DS_SELECTOR, 0x0806)                                                               \
	X(GUEST_FS_SELECTOR, 0x0808)                                                               \
	X(GUEST_GS_SELECTOR, 0x080a)                                                               \
	X(GUEST_LDTR_SELECTOR, 0x080c)                                                             \
	X(GUEST_TR_SELECTOR, 0x080e)                                                               \
	X(GUEST_INTR_STATUS, 0x0810) /* 7:0 RVI, 15:8 SVI */                                       \
	/* 16 bits, host */                                                                        \
	X(HOST_ES_SELECTOR, 0x0c00)                                                                \
	X(HOST_CS_SELECTOR, 0x0c02)                                                                \
	X(HOST_SS_SELECTOR, 0x0c04)                                                                \
	X(HOST_DS_SELECTOR, 0x0c06)                                                                \
	X(HOST_FS_SELECTOR, 0x0c08)                                                                \
	X(HOST_GS_SELECTOR, 0x0c0a)                                                                \
	X(HOST_TR_SELECTOR, 0x0c0c)                                                                \
	/* 64 bits, control */                                                                     \
	X(IO_BITMAP_A, 0x2000)                                                                     \
	X(IO_BITMAP_B, 0x2002)                                                                     \
	X(MSR_BITMAP, 0x2004)                                                                      \
	X(EXIT_MSR_STORE, 0x2006)                                                                  \
	X(EXIT_MSR_LOAD, 0x2008)                                                                   \
	X(ENTRY_MSR_LOAD, 0x200a)                                                                  \
	X(EXECUTIVE_VMCS, 0x200c)                                                                  \
	X(TSC_OFFSET, 0x2010)                                                                      \
	X(VIRTUAL_APIC, 0x2012)                                                                    \
	X(APIC_ACCESS, 0x2014)                                                                     \
	X(PI_DESC, 0x2016) /* posted-interrupt descriptor */                                       \
	X(EPTP, 0x201a)                                                                            \
	X(EOI_EXIT_0, 0x201c)                                                                      \
	X(EOI_EXIT_1, 0x201e)                                                                      \
	X(EOI_EXIT_2, 0x2020)                                                                      \
	X(EOI_EXIT_3, 0x2022)                                                                      \
	X(XSS_EXITING, 0x202c)                                                                     \
	X(TERTIARY, 0x2034)                                                                        \
	X(PI_TABLE, 0x2042) /* PID-pointer table */                                                \
	/* 64 bits, read-only */                                                                   \
	X(GUEST_PHYSICAL, 0x2400)                                                                  \
	/* 64 bits, guest */                                                                       \
	X(LINK, 0x2800)                                                                            \
	X(GUEST_DEBUGCTL, 0x2802)                                                                  \
	X(GUEST_PAT, 0x2804)                                                                       \
	X(GUEST_EFER, 0x2806)                                                                      \
	X(GUEST_PDPTE0, 0x280a)                                                                    \
	X(GUEST_PDPTE1, 0x280c)                                                                    \
	X(GUEST_PDPTE2, 0x280e)                                                                    \
	X(GUEST_PDPTE3, 0x2810)                                                                    \
	/* 64 bits, host */                                                                        \
	X(HOST_PAT, 0x2c00)                                                                        \
	X(HOST_EFER, 0x2c02)                                                                       \
	/* 32 bits, control */                                                                     \
	X(PIN, 0x4000)                                                                             \
	X(PRIMARY, 0x4002)                                                                         \
	X(EXCEPTIONS, 0x4004)                                                                      \
	X(PF_ERROR_MASK, 0x4006)                                                                   \
	X(PF_ERROR_MATCH, 0x4008)                                                                  \
	X(CR3_TARGETS, 0x400a)                                                                     \
	X(EXIT_CONTROLS, 0x400c)                                                                   \
	X(EXIT_MSR_STORE_COUNT, 0x400e)                                                            \
	X(EXIT_MSR_LOAD_COUNT, 0x4010)                                                             \
	X(ENTRY_CONTROLS, 0x4012)                                                                  \
	X(ENTRY_MSR_LOAD_COUNT, 0x4014)                                                            \
	X(ENTRY_INFO, 0x4016) /* event to inject */                                                \
	X(ENTRY_ERROR, 0x4018)                                                                     \
	X(ENTRY_LENGTH, 0x401a)                                                                    \
	X(TPR_THRESHOLD, 0x401c)                                                                   \
	X(SECONDARY, 0x401e)                                                                       \
	X(PLE_GAP, 0x4020)                                                                         \
	X(PLE_WINDOW, 0x4022)                                                                      \
	/* 32 bits, read-only */                                                                   \
	X(INSTRUCTION_ERROR, 0x4400)                                                               \
	X(EXIT_REASON, 0x4402)                                                                     \
	X(EXIT_INFO, 0x4404) /* event that exited */                                               \
	X(EXIT_ERROR, 0x4406)                                                                      \
	X(IDT_INFO, 0x4408) /* event whose delivery the exit interrupted */                        \
	X(IDT_ERROR, 0x440a)                                                                       \
	X(EXIT_LENGTH, 0x440c)                                                                     \
	X(EXIT_INSN_INFO, 0x440e)                                                                  \
	/* 32 bits, guest */                                                                       \
	X(GUEST_ES_LIMIT, 0x4800)                                                                  \
	X(GUEST_CS_LIMIT, 0x4802)                                                                  \
	X(GUEST_SS_LIMIT, 0x4804)                                                                  \
	X(GUEST_DS_LIMIT, 0x4806)                                                                  \
	X(GUEST_FS_LIMIT, 0x4808)                                                                  \
	X(GUEST_GS_LIMIT, 0x480a)                                                                  \
	X(GUEST_LDTR_LIMIT, 0x480c)                                                                \
	X(GUEST_TR_LIMIT, 0x480e)                                                                  \
	X(GUEST_GDTR_LIMIT, 0x4810)                                                                \
	X(GUEST_IDTR_LIMIT, 0x4812)                                                                \
	X(GUEST_ES_RIGHTS, 0x4814)                                                                 \
	X(GUEST_CS_RIGHTS, 0x4816)                                                                 \
	X(GUEST_SS_RIGHTS, 0x4818)                                                                 \
	X(GUEST_DS_RIGHTS, 0x481a)                                                                 \
	X(GUEST_FS_RIGHTS, 0x481c)                                                                 \
	X(GUEST_GS_RIGHTS, 0x481e)                                                                 \
	X(GUEST_LDTR_RIGHTS, 0x4820)                                                               \
	X(GUEST_TR_RIGHTS, 0x4822)                                                                 \
	X(GUEST_INTERRUPTIBILITY, 0x4824)                                                          \
	X(GUEST_ACTIVITY, 0x4826)                                                                  \
	X(GUEST_SMBASE, 0x4828)                                                                    \
	X(GUEST_SYSENTER_CS, 0x482a)                                                               \
	X(PREEMPTION_TIMER, 0x482e)                                                                \
	/* 32 bits, host */                                                                        \
	X(HOST_SYSENTER_CS, 0x4c00)                                                                \
	/* natural width, control */                                                               \
	X(CR0_MASK, 0x6000)                                                                        \
	X(CR4_MASK, 0x6002)                                                                        \
	X(CR0_SHADOW, 0x6004)                                                                      \
	X(CR4_SHADOW, 0x6006)                                                                      \
	/* natural width, read-only */                                                             \
	X(QUALIFICATION, 0x6400)                                                                   \
	X(IO_RCX, 0x6402)                                                                          \
	X(IO_RSI, 0x6404)                                                                          \
	X(IO_RDI, 0x6406)                                                                          \
	X(IO_RIP, 0x6408)                                                                          \
	X(GUEST_LINEAR, 0x640a)                                                                    \
	/* natural width, guest */                                                                 \
	X(GUEST_CR0, 0x6800)                                                                       \
	X(GUEST_CR3, 0x6802)                                                                       \
	X(GUEST_CR4, 0x6804)                                                                       \
	X(GUEST_ES_BASE, 0x6806)                                                                   \
	X(GUEST_CS_BASE, 0x6808)                                                                   \
	X(GUEST_SS_BASE, 0x680a)                                                                   \
	X(GUEST_DS_BASE, 0x680c)                                                                   \
	X(GUEST_FS_BASE, 0x680e)                                                                   \
	X(GUEST_GS_BASE, 0x6810)                                                                   \
	X(GUEST_LDTR_BASE, 0x6812)                                                                 \
	X(GUEST_TR_BASE, 0x6814)                                                                   \
	X(GUEST_GDTR_BASE, 0x6816)                                                                 \
	X(GUEST_IDTR_BASE, 0x6818)                                                                 \
	X(GUEST_DR7, 0x681a)                                                                       \
	X(GUEST_RSP, 0x681c)                                                                       \
	X(GUEST_RIP, 0x681e)                                                                       \
	X(GUEST_RFLAGS, 0x6820)                                                                    \
	X(GUEST_PENDING_DEBUG, 0x6822)                                                             \
	X(GUEST_SYSENTER_ESP, 0x6824)                                                              \
	X(GUEST_SYSENTER_EIP, 0x6826)                                                              \
	/* natural width, host */                                                                  \
	X(HOST_CR0, 0x6c00)                                                                        \
	X(HOST_CR3, 0x6c02)                                                                        \
	X(HOST_CR4, 0x6c04)                                                                        \
	X(HOST_FS_BASE, 0x6c06)                                                                    \
	X(HOST_GS_BASE, 0x6c08)                                                                    \
	X(HOST_TR_BASE, 0x6c0a)                                                                    \
	X(HOST_GDTR_BASE, 0x6c0c)                                                                  \
	X(HOST_IDTR_BASE, 0x6c0e)                                                                  \
	X(HOST_SYSENTER_ESP, 0x6c10)                                                               \
	X(HOST_SYSENTER_EIP, 0x6c12)                                                               \
	X(HOST_RSP, 0x6c14)                                                                        \
	X(HOST_RIP, 0x6c16)

enum vmcs_field {
#define X(name, encoding) VMCS_##name = (encoding),
	VMCS_FIELDS(X)
#undef X
};

/* Segment registers in the order of enum x86_seg: selector, limit, rights and base of SEG_ES + n. */
#define VMCS_GUEST_SELECTOR(seg) (VMCS_GUEST_ES_SELECTOR + 2 * (seg))
#define VMCS_GUEST_LIMIT(seg)    (VMCS_GUEST_ES_LIMIT + 2 * (seg))
#define VMCS_GUEST_RIGHTS(seg)   (VMCS_GUEST_ES_RIGHTS + 2 * (seg))
#define VMCS_GUEST_BASE(seg)     (VMCS_GUEST_ES_BASE + 2 * (seg))
#define VMCS_EOI_EXIT(n)         (VMCS_EOI_EXIT_0 + 2 * (n)) /* vectors 64 n to 64 n + 63 */
#define VMCS_GUEST_PDPTE(n)      (VMCS_GUEST_PDPTE0 + 2 * (n))

/* Parts of an encoding. */
#define VMCS_HIGH(encoding)  ((encoding)&1)
#define VMCS_INDEX(encoding) ((encoding) >> 1 & 0x1ff)
#define VMCS_TYPE(encoding)  ((encoding) >> 10 & 3)
#define VMCS_WIDTH(encoding) ((encoding) >> 13 & 3)
enum vmcs_type {
	VMCS_TYPE_CONTROL,
	VMCS_TYPE_READ_ONLY,
	VMCS_TYPE_GUEST,
	VMCS_TYPE_HOST,
};
enum vmcs_width {
	VMCS_WIDTH_16,
	VMCS_WIDTH_64,
	VMCS_WIDTH_32,
	VMCS_WIDTH_NATURAL,
};

/* --- controls --- */

#define VMX_PIN_EXTERNAL         BIT(0)
#define VMX_PIN_NMI              BIT(3)
#define VMX_PIN_VIRTUAL_NMI      BIT(5)
#define VMX_PIN_PREEMPTION_TIMER BIT(6)
#define VMX_PIN_POSTED           BIT(7)

#define VMX_PROC_INTR_WINDOW BIT(2)
#define VMX_PROC_TSC_OFFSET  BIT(3)
#define VMX_PROC_HLT         BIT(7)
#define VMX_PROC_INVLPG      BIT(9)
#define VMX_PROC_MWAIT       BIT(10)
#define VMX_PROC_RDPMC       BIT(11)
#define VMX_PROC_RDTSC       BIT(12)
#define VMX_PROC_CR3_LOAD    BIT(15)
#define VMX_PROC_CR3_STORE   BIT(16)
#define VMX_PROC_TERTIARY    BIT(17)
#define VMX_PROC_CR8_LOAD    BIT(19)
#define VMX_PROC_CR8_STORE   BIT(20)
#define VMX_PROC_TPR_SHADOW  BIT(21)
#define VMX_PROC_NMI_WINDOW  BIT(22)
#define VMX_PROC_MOV_DR      BIT(23)
#define VMX_PROC_IO          BIT(24)
#define VMX_PROC_IO_BITMAPS  BIT(25)
#define VMX_PROC_MTF         BIT(27)
#define VMX_PROC_MSR_BITMAPS BIT(28)
#define VMX_PROC_MONITOR     BIT(29)
#define VMX_PROC_PAUSE       BIT(30)
#define VMX_PROC_SECONDARY   BIT(31)

#define VMX_PROC2_APIC_ACCESS   BIT(0)
#define VMX_PROC2_EPT           BIT(1)
#define VMX_PROC2_DESC_TABLE    BIT(2)
#define VMX_PROC2_RDTSCP        BIT(3)
#define VMX_PROC2_X2APIC        BIT(4)
#define VMX_PROC2_VPID          BIT(5)
#define VMX_PROC2_WBINVD        BIT(6)
#define VMX_PROC2_UNRESTRICTED  BIT(7)
#define VMX_PROC2_APIC_REGISTER BIT(8)
#define VMX_PROC2_VID           BIT(9) /* virtual-interrupt delivery */
#define VMX_PROC2_PLE           BIT(10)
#define VMX_PROC2_RDRAND        BIT(11)
#define VMX_PROC2_INVPCID       BIT(12)
#define VMX_PROC2_VMFUNC        BIT(13)
#define VMX_PROC2_SHADOWING     BIT(14)
#define VMX_PROC2_RDSEED        BIT(16)
#define VMX_PROC2_PML           BIT(17)
#define VMX_PROC2_XSAVES        BIT(20)
#define VMX_PROC2_TSC_SCALING   BIT(25)

#define VMX_PROC3_IPIV BIT64(4) /* IPI virtualization */

#define VMX_EXIT_CTL_SAVE_DEBUG BIT(2)
#define VMX_EXIT_CTL_HOST_64    BIT(9)
#define VMX_EXIT_CTL_ACK_INTR   BIT(15)
#define VMX_EXIT_CTL_SAVE_PAT   BIT(18)
#define VMX_EXIT_CTL_LOAD_PAT   BIT(19)
#define VMX_EXIT_CTL_SAVE_EFER  BIT(20)
#define VMX_EXIT_CTL_LOAD_EFER  BIT(21)
#define VMX_EXIT_CTL_SAVE_TIMER BIT(22)

#define VMX_ENTRY_CTL_LOAD_DEBUG BIT(2)
#define VMX_ENTRY_CTL_GUEST_64   BIT(9) /* IA-32e mode guest */
#define VMX_ENTRY_CTL_SMM        BIT(10)
#define VMX_ENTRY_CTL_DUAL_SMM   BIT(11)
#define VMX_ENTRY_CTL_LOAD_PAT   BIT(14)
#define VMX_ENTRY_CTL_LOAD_EFER  BIT(15)

/* --- capability MSRs --- */

#define MSR_FEATURE_CONTROL   0x003a
#define FEATURE_CONTROL_LOCK  BIT64(0)
#define FEATURE_CONTROL_VMXON BIT64(2) /* outside of SMX operation */
#define MSR_VMX_BASIC         0x0480
#define MSR_VMX_PIN           0x0481
#define MSR_VMX_PROC          0x0482
#define MSR_VMX_EXIT          0x0483
#define MSR_VMX_ENTRY         0x0484
#define MSR_VMX_MISC          0x0485
#define MSR_VMX_CR0_FIXED0    0x0486
#define MSR_VMX_CR0_FIXED1    0x0487
#define MSR_VMX_CR4_FIXED0    0x0488
#define MSR_VMX_CR4_FIXED1    0x0489
#define MSR_VMX_VMCS_ENUM     0x048a
#define MSR_VMX_PROC2         0x048b
#define MSR_VMX_EPT_VPID      0x048c
#define MSR_VMX_TRUE_PIN      0x048d
#define MSR_VMX_TRUE_PROC     0x048e
#define MSR_VMX_TRUE_EXIT     0x048f
#define MSR_VMX_TRUE_ENTRY    0x0490
#define MSR_VMX_PROC3         0x0492 /* bits that may be 1; none must be */

#define VMX_BASIC_REVISION       0x7fffffffu
#define VMX_BASIC_TRUE           BIT64(55) /* the TRUE MSRs exist */
#define VMX_BASIC_ANY_ERROR      BIT64(56) /* exceptions are injected with an error code or without */
#define VMX_BASIC_MEMORY_TYPE(v) ((v) >> 50 & 0xf)
#define VMX_MISC_TIMER_RATE      0x1full /* the preemption timer counts TSC >> rate */
#define VMX_MISC_HLT             BIT64(6)
#define VMX_MISC_WAIT_SIPI       BIT64(8)
#define VMX_MISC_WRITE_ALL       BIT64(29) /* VMWRITE writes the read-only fields, too */
#define VMX_MISC_NO_LENGTH       BIT64(30) /* software events are injected with length 0, too */
/* A control's MSR: 31:0 those that must be 1, 63:32 those that may be. */
#define VMX_MUST(msr) ((u32)(msr))
#define VMX_MAY(msr)  ((u32)((msr) >> 32))

#define VMX_EPT_4_LEVELS      BIT64(6)
#define VMX_EPT_WB            BIT64(14)
#define VMX_EPT_2M            BIT64(16)
#define VMX_EPT_INVEPT        BIT64(20)
#define VMX_EPT_AD            BIT64(21)
#define VMX_EPT_INVEPT_SINGLE BIT64(25)
#define VMX_EPT_INVEPT_ALL    BIT64(26)
#define VMX_VPID_INVVPID      BIT64(32)
#define VMX_VPID_SINGLE       BIT64(41)
#define VMX_VPID_ALL          BIT64(42)

/* EPT pointer: 2:0 memory type of the tables, 5:3 levels - 1, 6 accessed and dirty flags. */
#define EPTP_WB       6ull
#define EPTP_4_LEVELS (3ull << 3)
#define EPTP_AD       BIT64(6)

/* EPT entries. */
#define EPT_READ       BIT64(0)
#define EPT_WRITE      BIT64(1)
#define EPT_EXEC       BIT64(2)
#define EPT_TYPE(type) ((u64)(type) << 3)
#define EPT_IGNORE_PAT BIT64(6)
#define EPT_LARGE      BIT64(7)
#define EPT_ACCESSED   BIT64(8)
#define EPT_DIRTY      BIT64(9)

/* INVEPT and INVVPID */
#define INVEPT_SINGLE  1
#define INVEPT_ALL     2
#define INVVPID_SINGLE 1
#define INVVPID_ALL    2
struct vmx_invalidation {
	u64 what; /* EPT pointer, or VPID */
	u64 address;
};
_Static_assert(sizeof(struct vmx_invalidation) == 16, "descriptor of INVEPT and INVVPID");

/* --- guest state that is not in registers --- */

#define VMX_BLOCKED_STI   BIT(0)
#define VMX_BLOCKED_SS    BIT(1)
#define VMX_BLOCKED_SMI   BIT(2)
#define VMX_BLOCKED_NMI   BIT(3)
#define VMX_ACTIVE        0
#define VMX_HALTED        1
#define VMX_SHUTDOWN      2
#define VMX_WAIT_SIPI     3
#define VMX_DEBUG_ENABLED BIT64(12) /* pending debug exceptions: a breakpoint that is enabled */
#define VMX_DEBUG_BS      BIT64(14)

/* Access rights: 3:0 type, 4 S, 6:5 DPL, 7 P, 12 AVL, 13 L, 14 D/B, 15 G. */
#define VMX_RIGHTS_UNUSABLE BIT(16)

/* --- events: ENTRY_INFO, EXIT_INFO, IDT_INFO --- */

#define VMX_EVENT_VECTOR     0xffu
#define VMX_EVENT_TYPE       (7u << 8)
#define VMX_EVENT_EXTERNAL   (0u << 8)
#define VMX_EVENT_NMI        (2u << 8)
#define VMX_EVENT_EXCEPTION  (3u << 8)
#define VMX_EVENT_SOFTWARE   (4u << 8)
#define VMX_EVENT_PRIVILEGED (5u << 8) /* INT1 */
#define VMX_EVENT_SOFT_EXC   (6u << 8) /* INT3, INTO */
#define VMX_EVENT_OTHER      (7u << 8)
#define VMX_EVENT_ERROR      BIT(11)
#define VMX_EVENT_UNBLOCKED  BIT(12) /* exits: IRET had unblocked NMIs */
#define VMX_EVENT_VALID      BIT(31)

/* --- exit reasons: X(NAME, number) --- */

#define VMX_EXITS(X)                                                                               \
	X(EXCEPTION, 0)                                                                            \
	X(EXTERNAL, 1)                                                                             \
	X(TRIPLE_FAULT, 2)                                                                         \
	X(INIT, 3)                                                                                 \
	X(SIPI, 4)                                                                                 \
	X(IO_SMI, 5)                                                                               \
	X(OTHER_SMI, 6)                                                                            \
	X(INTR_WINDOW, 7)                                                                          \
	X(NMI_WINDOW, 8)                                                                           \
	X(TASK_SWITCH, 9)                                                                          \
	X(CPUID, 10)                                                                               \
	X(GETSEC, 11)                                                                              \
	X(HLT, 12)                                                                                 \
	X(INVD, 13)                                                                                \
	X(INVLPG, 14)                                                                              \
	X(RDPMC, 15)                                                                               \
	X(RDTSC, 16)                                                                               \
	X(RSM, 17)                                                                                 \
	X(VMCALL, 18)                                                                              \
	X(VMCLEAR, 19)                                                                             \
	X(VMLAUNCH, 20)                                                                            \
	X(VMPTRLD, 21)                                                                             \
	X(VMPTRST, 22)                                                                             \
	X(VMREAD, 23)                                                                              \
	X(VMRESUME, 24)                                                                            \
	X(VMWRITE, 25)                                                                             \
	X(VMXOFF, 26)                                                                              \
	X(VMXON, 27)                                                                               \
	X(CR, 28)                                                                                  \
	X(DR, 29)                                                                                  \
	X(IO, 30)                                                                                  \
	X(RDMSR, 31)                                                                               \
	X(WRMSR, 32)                                                                               \
	X(ENTRY_GUEST_STATE, 33)                                                                   \
	X(ENTRY_MSR, 34)                                                                           \
	X(MWAIT, 36)                                                                               \
	X(MTF, 37)                                                                                 \
	X(MONITOR, 39)                                                                             \
	X(PAUSE, 40)                                                                               \
	X(ENTRY_MACHINE_CHECK, 41)                                                                 \
	X(TPR_BELOW_THRESHOLD, 43)                                                                 \
	X(APIC_ACCESS, 44)                                                                         \
	X(EOI, 45)                                                                                 \
	X(GDTR_IDTR, 46)                                                                           \
	X(LDTR_TR, 47)                                                                             \
	X(EPT_VIOLATION, 48)                                                                       \
	X(EPT_MISCONFIGURED, 49)                                                                   \
	X(INVEPT, 50)                                                                              \
	X(RDTSCP, 51)                                                                              \
	X(PREEMPTION_TIMER, 52)                                                                    \
	X(INVVPID, 53)                                                                             \
	X(WBINVD, 54)                                                                              \
	X(XSETBV, 55)                                                                              \
	X(APIC_WRITE, 56)                                                                          \
	X(RDRAND, 57)                                                                              \
	X(INVPCID, 58)                                                                             \
	X(VMFUNC, 59)                                                                              \
	X(ENCLS, 60)                                                                               \
	X(RDSEED, 61)                                                                              \
	X(PML_FULL, 62)                                                                            \
	X(XSAVES, 63)                                                                              \
	X(XRSTORS, 64)                                                                             \
	X(PCONFIG, 65)                                                                             \
	X(UMWAIT, 67)                                                                              \
	X(TPAUSE, 68)

enum vmx_exit {
#define X(name, number) VMX_EXIT_##name = (number),
	VMX_EXITS(X)
#undef X
};
#define VMX_EXIT_BASIC        0xffffu
#define VMX_EXIT_ENTRY_FAILED BIT(31)

/* Exit qualifications. */
#define VMX_APIC_OFFSET(q)    ((u32)(q)&0xfff)
#define VMX_APIC_KIND(q)      ((u32)(q) >> 12 & 0xf)
#define VMX_APIC_READ         0
#define VMX_APIC_WRITE        1
#define VMX_APIC_FETCH        2
#define VMX_APIC_EVENT        3 /* during delivery of an event */
#define VMX_APIC_EVENT_GPA    10
#define VMX_APIC_ACCESS_GPA   15
#define VMX_CR_NUMBER(q)      ((u32)(q)&0xf)
#define VMX_CR_ACCESS(q)      ((u32)(q) >> 4 & 3)
#define VMX_CR_TO             0
#define VMX_CR_FROM           1
#define VMX_CR_CLTS           2
#define VMX_CR_LMSW           3
#define VMX_CR_GPR(q)         ((u32)(q) >> 8 & 0xf)
#define VMX_CR_LMSW_SOURCE(q) ((u16)((q) >> 16))
#define VMX_IO_SIZE(q)        (((u32)(q)&7) + 1)
#define VMX_IO_IN             BIT64(3)
#define VMX_IO_STRING         BIT64(4)
#define VMX_IO_REP            BIT64(5)
#define VMX_IO_PORT(q)        ((u16)((q) >> 16))
#define VMX_EPT_Q_READ        BIT64(0)
#define VMX_EPT_Q_WRITE       BIT64(1)
#define VMX_EPT_Q_FETCH       BIT64(2)
#define VMX_EPT_Q_MAPPED      (7ull << 3) /* what the entries allow: 0, not mapped */
#define VMX_EPT_Q_LINEAR      BIT64(7)
#define VMX_EPT_Q_TRANSLATED  BIT64(8) /* 0: the access was to a guest page table */
#define VMX_EPT_Q_UNBLOCKED   BIT64(12)

/* VM-instruction errors, "VM-Instruction Error Numbers". */
enum vmx_error {
	VMX_ERROR_VMCALL_IN_ROOT = 1,
	VMX_ERROR_VMCLEAR_ADDRESS = 2,
	VMX_ERROR_VMCLEAR_VMXON = 3,
	VMX_ERROR_VMLAUNCH_NOT_CLEAR = 4,
	VMX_ERROR_VMRESUME_NOT_LAUNCHED = 5,
	VMX_ERROR_VMRESUME_AFTER_VMXOFF = 6,
	VMX_ERROR_ENTRY_CONTROLS = 7,
	VMX_ERROR_ENTRY_HOST = 8,
	VMX_ERROR_VMPTRLD_ADDRESS = 9,
	VMX_ERROR_VMPTRLD_VMXON = 10,
	VMX_ERROR_VMPTRLD_REVISION = 11,
	VMX_ERROR_FIELD = 12,
	VMX_ERROR_READ_ONLY = 13,
	VMX_ERROR_VMXON_IN_ROOT = 15,
	VMX_ERROR_ENTRY_MOV_SS = 26,
	VMX_ERROR_INVALIDATION = 28,
};

#define VMX_BITMAP_SIZE 0x1000
#define VMX_REGION_SIZE 0x1000

#endif
