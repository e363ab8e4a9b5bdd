/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Secure Virtual Machine: the virtual machine control block and its codes. APM volume 2, "Secure
 * Virtual Machine" and the appendix "Layout of VMCB". Included by svm/ and cpu_model/ only.
 */
#ifndef X86_SVM_H
#define X86_SVM_H

#include "x86/regs.h"

struct vmcb_control {
	u32 intercept_cr; /* 15:0 reads, 31:16 writes */
	u32 intercept_dr;
	u32 intercept_exceptions;
	u32 intercept_misc1; /* exit codes 0x60 + bit */
	u32 intercept_misc2; /* exit codes 0x80 + bit */
	u32 intercept_misc3; /* exit codes 0xa0 + bit */
	u8 reserved_018[0x3c - 0x18];
	u16 pause_filter_threshold;
	u16 pause_filter_count;
	u64 iopm_base;
	u64 msrpm_base;
	u64 tsc_offset;
	u32 asid;
	u8 tlb_control;
	u8 reserved_05d[3];
	u64 int_ctl;
	u64 int_state; /* 0 interrupt shadow */
	u64 exit_code;
	u64 exit_info_1;
	u64 exit_info_2;
	u64 exit_int_info;
	u64 np_control; /* 0 nested paging enable */
	u64 avic_apic_bar;
	u64 ghcb;
	u64 event_inj;
	u64 n_cr3;
	u64 virt_ext; /* 0 LBR virtualization, 1 virtual VMLOAD/VMSAVE */
	u32 clean_bits;
	u32 reserved_0c4;
	u64 next_rip;
	u8 insn_len;
	u8 insn_bytes[15];
	u64 avic_backing_page;
	u64 reserved_0e8;
	u64 avic_logical_table;
	u64 avic_physical_table;
	u8 reserved_100[0x400 - 0x100];
} __packed;

struct vmcb_segment {
	u16 selector;
	u16 attr;
	u32 limit;
	u64 base;
} __packed;

struct vmcb_save {
	struct vmcb_segment es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
	u8 reserved_4a0[0x4cb - 0x4a0];
	u8 cpl;
	u32 reserved_4cc;
	u64 efer;
	u8 reserved_4d8[0x548 - 0x4d8];
	u64 cr4;
	u64 cr3;
	u64 cr0;
	u64 dr7;
	u64 dr6;
	u64 rflags;
	u64 rip;
	u8 reserved_580[0x5d8 - 0x580];
	u64 rsp;
	u64 s_cet;
	u64 ssp;
	u64 isst_addr;
	u64 rax;
	u64 star;
	u64 lstar;
	u64 cstar;
	u64 sfmask;
	u64 kernel_gs_base;
	u64 sysenter_cs;
	u64 sysenter_esp;
	u64 sysenter_eip;
	u64 cr2;
	u8 reserved_648[0x668 - 0x648];
	u64 g_pat;
	u64 dbgctl;
	u64 br_from;
	u64 br_to;
	u64 last_excp_from;
	u64 last_excp_to;
	u8 reserved_698[0x1000 - 0x698];
} __packed;

struct vmcb {
	struct vmcb_control control;
	struct vmcb_save save;
} __packed __aligned(4096);

_Static_assert(offsetof(struct vmcb_control, iopm_base) == 0x040, "VMCB layout");
_Static_assert(offsetof(struct vmcb_control, int_ctl) == 0x060, "VMCB layout");
_Static_assert(offsetof(struct vmcb_control, avic_apic_bar) == 0x098, "VMCB layout");
_Static_assert(offsetof(struct vmcb_control, event_inj) == 0x0a8, "VMCB layout");
_Static_assert(offsetof(struct vmcb_control, next_rip) == 0x0c8, "VMCB layout");
_Static_assert(offsetof(struct vmcb_control, avic_backing_page) == 0x0e0, "VMCB layout");
_Static_assert(offsetof(struct vmcb_control, avic_physical_table) == 0x0f8, "VMCB layout");
_Static_assert(offsetof(struct vmcb, save.cpl) == 0x4cb, "VMCB layout");
_Static_assert(offsetof(struct vmcb, save.cr4) == 0x548, "VMCB layout");
_Static_assert(offsetof(struct vmcb, save.rsp) == 0x5d8, "VMCB layout");
_Static_assert(offsetof(struct vmcb, save.rax) == 0x5f8, "VMCB layout");
_Static_assert(offsetof(struct vmcb, save.cr2) == 0x640, "VMCB layout");
_Static_assert(offsetof(struct vmcb, save.g_pat) == 0x668, "VMCB layout");
_Static_assert(sizeof(struct vmcb) == 4096, "VMCB layout");

/* int_ctl, "Virtual Interrupt Control" */
#define SVM_V_TPR              0x0full
#define SVM_V_IRQ              BIT64(8)
#define SVM_V_GIF              BIT64(9)
#define SVM_V_INTR_PRIO(p)     ((u64)(p) << 16)
#define SVM_V_INTR_PRIO_MASK   SVM_V_INTR_PRIO(0xf)
#define SVM_V_IGN_TPR          BIT64(20)
#define SVM_V_INTR_MASKING     BIT64(24)
#define SVM_V_GIF_ENABLE       BIT64(25)
#define SVM_X2AVIC_ENABLE      BIT64(30)
#define SVM_AVIC_ENABLE        BIT64(31)
#define SVM_V_INTR_VECTOR(v)   ((u64)(v) << 32)
#define SVM_V_INTR_VECTOR_MASK SVM_V_INTR_VECTOR(0xff)

#define SVM_INT_SHADOW BIT64(0)
#define SVM_NP_ENABLE  BIT64(0)

/* event_inj and exit_int_info */
#define SVM_EVENT_VECTOR     0xffull
#define SVM_EVENT_TYPE_SHIFT 8
#define SVM_EVENT_TYPE       (7ull << 8)
#define SVM_EVENT_INTR       (0ull << 8)
#define SVM_EVENT_NMI        (2ull << 8)
#define SVM_EVENT_EXCEPTION  (3ull << 8)
#define SVM_EVENT_SOFT       (4ull << 8)
#define SVM_EVENT_ERROR      BIT64(11)
#define SVM_EVENT_VALID      BIT64(31)

#define SVM_TLB_NOTHING    0
#define SVM_TLB_FLUSH_ALL  1
#define SVM_TLB_FLUSH_ASID 3

/* clean bits: 1 = the processor may use its cached copy */
#define SVM_CLEAN_INTERCEPTS BIT(0)
#define SVM_CLEAN_PERM_MAPS  BIT(1)
#define SVM_CLEAN_ASID       BIT(2)
#define SVM_CLEAN_INT_CTL    BIT(3)
#define SVM_CLEAN_NP         BIT(4)
#define SVM_CLEAN_CR         BIT(5)
#define SVM_CLEAN_DR         BIT(6)
#define SVM_CLEAN_DT         BIT(7)
#define SVM_CLEAN_SEG        BIT(8)
#define SVM_CLEAN_CR2        BIT(9)
#define SVM_CLEAN_AVIC       BIT(11)

/* Exit codes, "SVM Intercept Codes". Bit n of intercept_misc1 gives code 0x60 + n, and so on. */
#define SVM_EXIT_CR_READ(n)          (0x000 + (n))
#define SVM_CR_WRITE(n)              BIT(16 + (n)) /* in intercept_cr */
#define SVM_EXIT_CR_WRITE(n)         (0x010 + (n))
#define SVM_EXIT_DR_READ(n)          (0x020 + (n))
#define SVM_EXIT_DR_WRITE(n)         (0x030 + (n))
#define SVM_EXIT_EXCEPTION(n)        (0x040 + (n))
#define SVM_EXIT_INTR                0x060
#define SVM_EXIT_NMI                 0x061
#define SVM_EXIT_SMI                 0x062
#define SVM_EXIT_INIT                0x063
#define SVM_EXIT_VINTR               0x064
#define SVM_EXIT_CR0_SEL             0x065
#define SVM_EXIT_RDTSC               0x06e
#define SVM_EXIT_RDPMC               0x06f
#define SVM_EXIT_CPUID               0x072
#define SVM_EXIT_RSM                 0x073
#define SVM_EXIT_IRET                0x074
#define SVM_EXIT_SWINT               0x075
#define SVM_EXIT_INVD                0x076
#define SVM_EXIT_PAUSE               0x077
#define SVM_EXIT_HLT                 0x078
#define SVM_EXIT_INVLPG              0x079
#define SVM_EXIT_INVLPGA             0x07a
#define SVM_EXIT_IOIO                0x07b
#define SVM_EXIT_MSR                 0x07c
#define SVM_EXIT_TASK_SWITCH         0x07d
#define SVM_EXIT_FERR_FREEZE         0x07e
#define SVM_EXIT_SHUTDOWN            0x07f
#define SVM_EXIT_VMRUN               0x080
#define SVM_EXIT_VMMCALL             0x081
#define SVM_EXIT_VMLOAD              0x082
#define SVM_EXIT_VMSAVE              0x083
#define SVM_EXIT_STGI                0x084
#define SVM_EXIT_CLGI                0x085
#define SVM_EXIT_SKINIT              0x086
#define SVM_EXIT_RDTSCP              0x087
#define SVM_EXIT_ICEBP               0x088
#define SVM_EXIT_WBINVD              0x089
#define SVM_EXIT_MONITOR             0x08a
#define SVM_EXIT_MWAIT               0x08b
#define SVM_EXIT_MWAIT_ARMED         0x08c
#define SVM_EXIT_XSETBV              0x08d
#define SVM_EXIT_RDPRU               0x08e
#define SVM_EXIT_INVLPGB             0x0a0
#define SVM_EXIT_INVPCID             0x0a2
#define SVM_EXIT_MCOMMIT             0x0a3
#define SVM_EXIT_NPF                 0x400
#define SVM_EXIT_AVIC_INCOMPLETE_IPI 0x401
#define SVM_EXIT_AVIC_NOACCEL        0x402
#define SVM_EXIT_INVALID             (~0ull)

#define SVM_MISC1(code) BIT((code)-0x60)
#define SVM_MISC2(code) BIT((code)-0x80)
#define SVM_MISC3(code) BIT((code)-0xa0)
/* The two intercepts of misc1 that have no instruction: I/O and MSR protection. */
#define SVM_IOIO_PROT SVM_MISC1(SVM_EXIT_IOIO)
#define SVM_MSR_PROT  SVM_MISC1(SVM_EXIT_MSR)

/* EXITINFO1 of IOIO */
#define SVM_IOIO_IN      BIT(0)
#define SVM_IOIO_STRING  BIT(2)
#define SVM_IOIO_REP     BIT(3)
#define SVM_IOIO_SIZE(i) (((i) >> 4) & 7) /* 1, 2 or 4 bytes */
#define SVM_IOIO_ADDR(i) (((i) >> 7) & 7) /* 1, 2 or 4: 16, 32 or 64 bit */
#define SVM_IOIO_SEG(i)  (((i) >> 10) & 7)
#define SVM_IOIO_PORT(i) ((u16)((i) >> 16))

#define SVM_MSRPM_SIZE 0x2000
#define SVM_IOPM_SIZE  0x3000

#define CPUID_SVM              0x8000000a /* leaf; its EDX: */
#define SVM_CPUID_NP           BIT(0)
#define SVM_CPUID_NRIPS        BIT(3)
#define SVM_CPUID_CLEAN        BIT(5)
#define SVM_CPUID_FLUSH_ASID   BIT(6)
#define SVM_CPUID_DECODE       BIT(7)
#define SVM_CPUID_PAUSE_FILTER BIT(10)
#define SVM_CPUID_AVIC         BIT(13)
#define SVM_CPUID_VGIF         BIT(16)
#define SVM_CPUID_X2AVIC       BIT(18)
/* CPUID 8000_000A ECX */
#define SVM_CPUID_X2AVIC_EXT BIT(6)

#endif
