/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Architectural registers common to both vendors: control registers, RFLAGS, EFER, exceptions,
 * segments. Source: AMD APM volume 2, "System Resources"; Intel SDM volume 3, "System Architecture
 * Overview".
 */
#ifndef X86_REGS_H
#define X86_REGS_H

#include "postern/types.h"

#define CR0_PE BIT64(0)
#define CR0_MP BIT64(1)
#define CR0_EM BIT64(2)
#define CR0_TS BIT64(3)
#define CR0_ET BIT64(4)
#define CR0_NE BIT64(5)
#define CR0_WP BIT64(16)
#define CR0_AM BIT64(18)
#define CR0_NW BIT64(29)
#define CR0_CD BIT64(30)
#define CR0_PG BIT64(31)

#define CR4_VME        BIT64(0)
#define CR4_PVI        BIT64(1)
#define CR4_TSD        BIT64(2)
#define CR4_DE         BIT64(3)
#define CR4_PSE        BIT64(4)
#define CR4_PAE        BIT64(5)
#define CR4_MCE        BIT64(6)
#define CR4_PGE        BIT64(7)
#define CR4_PCE        BIT64(8)
#define CR4_OSFXSR     BIT64(9)
#define CR4_OSXMMEXCPT BIT64(10)
#define CR4_UMIP       BIT64(11)
#define CR4_LA57       BIT64(12)
#define CR4_VMXE       BIT64(13)
#define CR4_FSGSBASE   BIT64(16)
#define CR4_PCIDE      BIT64(17)
#define CR4_OSXSAVE    BIT64(18)
#define CR4_SMEP       BIT64(20)
#define CR4_SMAP       BIT64(21)
#define CR4_PKE        BIT64(22)

#define RFLAGS_CF   BIT64(0)
#define RFLAGS_RES1 BIT64(1)
#define RFLAGS_ZF   BIT64(6)
#define RFLAGS_TF   BIT64(8)
#define RFLAGS_IF   BIT64(9)
#define RFLAGS_DF   BIT64(10)
#define RFLAGS_IOPL (3ull << 12)
#define RFLAGS_NT   BIT64(14)
#define RFLAGS_RF   BIT64(16)
#define RFLAGS_VM   BIT64(17)
#define RFLAGS_AC   BIT64(18)

#define EFER_SCE   BIT64(0)
#define EFER_LME   BIT64(8)
#define EFER_LMA   BIT64(10)
#define EFER_NXE   BIT64(11)
#define EFER_SVME  BIT64(12)
#define EFER_FFXSR BIT64(14)

#define XCR0_X87 BIT64(0)
#define XCR0_SSE BIT64(1)
#define XCR0_AVX BIT64(2)

enum x86_vector {
	VECTOR_DE = 0,
	VECTOR_DB = 1,
	VECTOR_NMI = 2,
	VECTOR_BP = 3,
	VECTOR_OF = 4,
	VECTOR_BR = 5,
	VECTOR_UD = 6,
	VECTOR_NM = 7,
	VECTOR_DF = 8,
	VECTOR_TS = 10,
	VECTOR_NP = 11,
	VECTOR_SS = 12,
	VECTOR_GP = 13,
	VECTOR_PF = 14,
	VECTOR_MF = 16,
	VECTOR_AC = 17,
	VECTOR_MC = 18,
	VECTOR_XM = 19,
};

/* #PF error code */
#define PF_PRESENT BIT(0)
#define PF_WRITE   BIT(1)
#define PF_USER    BIT(2)
#define PF_RSVD    BIT(3)
#define PF_FETCH   BIT(4)

/* Order of the general registers, as instruction encodings number them. */
enum x86_gpr {
	GPR_RAX,
	GPR_RCX,
	GPR_RDX,
	GPR_RBX,
	GPR_RSP,
	GPR_RBP,
	GPR_RSI,
	GPR_RDI,
	GPR_R8,
	GPR_R9,
	GPR_R10,
	GPR_R11,
	GPR_R12,
	GPR_R13,
	GPR_R14,
	GPR_R15,
	GPR_COUNT
};

/* Order of the segment registers, as instruction encodings number them. */
enum x86_seg {
	SEG_ES,
	SEG_CS,
	SEG_SS,
	SEG_DS,
	SEG_FS,
	SEG_GS,
	SEG_LDTR,
	SEG_TR,
	SEG_COUNT
};

/*
 * A segment register with its hidden part. attr in SVM's packed form (APM "Segment Registers in the
 * VMCB"): 3:0 type, 4 S, 6:5 DPL, 7 P, 8 AVL, 9 L, 10 D/B, 11 G. limit is the expanded byte limit.
 */
struct x86_segment {
	u16 selector;
	u16 attr;
	u32 limit;
	u64 base;
};
#define SEG_ATTR_TYPE 0xfu
#define SEG_ATTR_S    BIT(4)
#define SEG_ATTR_DPL  (3u << 5)
#define SEG_ATTR_P    BIT(7)
#define SEG_ATTR_AVL  BIT(8)
#define SEG_ATTR_L    BIT(9)
#define SEG_ATTR_DB   BIT(10)
#define SEG_ATTR_G    BIT(11)

/* Page-table entry bits, guest's, host's and SVM's nested ones alike. */
#define PTE_P    BIT64(0)
#define PTE_W    BIT64(1)
#define PTE_U    BIT64(2)
#define PTE_PWT  BIT64(3)
#define PTE_PCD  BIT64(4)
#define PTE_A    BIT64(5)
#define PTE_D    BIT64(6)
#define PTE_PS   BIT64(7)
#define PTE_G    BIT64(8)
#define PTE_NX   BIT64(63)
#define PTE_ADDR 0x000ffffffffff000ull

struct cpuid_regs {
	u32 eax, ebx, ecx, edx;
};

#endif
