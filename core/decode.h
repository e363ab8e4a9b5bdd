/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Decoder for the instructions that touch device memory or that exit without the processor telling
 * their length. Pure: bytes in, description out. Everything not listed is DECODE_UNKNOWN.
 *
 * Memory forms: MOV (all, moffs and immediate included), MOVZX, MOVSX, MOVSXD; OR AND XOR ADD SUB
 * TEST CMP XCHG CMPXCHG on memory (8/16/32/64 bit, LOCK); STOS, MOVS (REP); INS, OUTS (REP).
 * Others, for length only: CPUID HLT RDMSR WRMSR PAUSE VMMCALL VMCALL INVD WBINVD XSETBV IN OUT MOV
 * CRn/DRn CLTS LMSW IRET. LOCK MOV CR0 is MOV CR8 (APM "MOV CRn").
 */
#ifndef CORE_DECODE_H
#define CORE_DECODE_H

#include "postern/types.h"
#include "x86/regs.h"

#define INSN_MAX_LENGTH 15

enum insn_op {
	INSN_MOV, /* destination = source */
	INSN_MOVZX,
	INSN_MOVSX,
	INSN_OR,
	INSN_AND,
	INSN_XOR,
	INSN_ADD,
	INSN_SUB,
	INSN_TEST,
	INSN_CMP,
	INSN_XCHG,
	INSN_CMPXCHG,
	INSN_STOS,
	INSN_MOVS,
	INSN_INS,
	INSN_OUTS,
	INSN_MOV_TO_CR, /* control register insn->control = register insn->reg */
	INSN_OTHER,     /* length only */
};

enum insn_operand {
	INSN_OPERAND_NONE,
	INSN_OPERAND_REGISTER, /* insn->reg */
	INSN_OPERAND_IMMEDIATE,
};

struct insn {
	u8 length;
	u8 op;          /* enum insn_op */
	u8 size;        /* bytes of the memory operand: 1, 2, 4, 8 */
	u8 reg_size;    /* bytes of the register operand (MOVZX, MOVSX: wider) */
	bool to_memory; /* MOV, OR...: memory is the first operand (also of CMP, TEST: not written)
	                 */
	bool lock, rep, repne;
	u8 other;       /* enum insn_operand: what the other operand is */
	u8 reg;         /* enum x86_gpr */
	bool high_byte; /* reg is AH, CH, DH, BH: numbered as AX, CX, DX, BX */
	u8 control;     /* number of the control register */
	u64 immediate;  /* sign-extended as the instruction has it */
	/*
	 * MOVS: base is the source, the destination is always ES:rDI. rip_relative: base is the
	 * next instruction's address. effective address = base + index * scale + displacement,
	 * truncated to address_size
	 */
	u8 segment;     /* enum x86_seg that applies */
	u8 base, index; /* enum x86_gpr, 0xff: none */
	u8 scale;
	bool rip_relative;
	s64 displacement;
	u8 address_size; /* 2, 4, 8 */
};

enum decode_result {
	DECODE_OK,
	DECODE_SHORT,   /* more bytes are needed (fetch the next page) */
	DECODE_UNKNOWN, /* not in the list, or longer than 15 bytes: #UD or #GP for the guest */
};

/* mode: 2, 4 or 8: 16-, 32-, 64-bit code (CS.D, CS.L). */
enum decode_result insn_decode(const u8 *bytes, u32 count, u32 mode, struct insn *insn);

#endif
