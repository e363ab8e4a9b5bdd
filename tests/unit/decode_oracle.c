/* SPDX-License-Identifier: BSD-2-Clause */
/* See decode_oracle.h. Exceptions to agreement are spelled out here and nowhere else. */
#include "tests/unit/decode_oracle.h"

#include <string.h>

#include <Zydis/Zydis.h>

struct oracle_insn {
	ZydisDecodedInstruction insn;
	ZydisDecodedOperand operand[ZYDIS_MAX_OPERAND_COUNT];
};

/* One for each mode, made at its first use. */
static const ZydisDecoder *oracle_of(u32 mode)
{
	static const struct {
		ZydisMachineMode machine;
		ZydisStackWidth stack;
	} setup[] = {
	        [2] = {ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16},
	        [4] = {ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32},
	        [8] = {ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64},
	};
	static struct {
		bool ready;
		ZydisDecoder decoder;
	} oracle[9];

	if (!oracle[mode].ready)
		ZydisDecoderInit(&oracle[mode].decoder, setup[mode].machine, setup[mode].stack);
	oracle[mode].ready = true;
	return &oracle[mode].decoder;
}

static bool ask_oracle(u32 mode, const u8 *bytes, u32 count, struct oracle_insn *out)
{
	return ZYAN_SUCCESS(
	        ZydisDecoderDecodeFull(oracle_of(mode), bytes, count, &out->insn, out->operand));
}

/* The neutral operation of a Zydis mnemonic, or -1: not in the list. */
static int op_of(ZydisMnemonic mnemonic)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_MOV:
		return INSN_MOV;
	case ZYDIS_MNEMONIC_MOVZX:
		return INSN_MOVZX;
	case ZYDIS_MNEMONIC_MOVSX:
	case ZYDIS_MNEMONIC_MOVSXD:
		return INSN_MOVSX;
	case ZYDIS_MNEMONIC_OR:
		return INSN_OR;
	case ZYDIS_MNEMONIC_AND:
		return INSN_AND;
	case ZYDIS_MNEMONIC_XOR:
		return INSN_XOR;
	case ZYDIS_MNEMONIC_ADD:
		return INSN_ADD;
	case ZYDIS_MNEMONIC_SUB:
		return INSN_SUB;
	case ZYDIS_MNEMONIC_TEST:
		return INSN_TEST;
	case ZYDIS_MNEMONIC_CMP:
		return INSN_CMP;
	case ZYDIS_MNEMONIC_XCHG:
		return INSN_XCHG;
	case ZYDIS_MNEMONIC_CMPXCHG:
		return INSN_CMPXCHG;
	case ZYDIS_MNEMONIC_STOSB:
	case ZYDIS_MNEMONIC_STOSW:
	case ZYDIS_MNEMONIC_STOSD:
	case ZYDIS_MNEMONIC_STOSQ:
		return INSN_STOS;
	case ZYDIS_MNEMONIC_MOVSB:
	case ZYDIS_MNEMONIC_MOVSW:
	case ZYDIS_MNEMONIC_MOVSD:
	case ZYDIS_MNEMONIC_MOVSQ:
		return INSN_MOVS;
	case ZYDIS_MNEMONIC_INSB:
	case ZYDIS_MNEMONIC_INSW:
	case ZYDIS_MNEMONIC_INSD:
		return INSN_INS;
	case ZYDIS_MNEMONIC_OUTSB:
	case ZYDIS_MNEMONIC_OUTSW:
	case ZYDIS_MNEMONIC_OUTSD:
		return INSN_OUTS;
	case ZYDIS_MNEMONIC_CPUID:
	case ZYDIS_MNEMONIC_HLT:
	case ZYDIS_MNEMONIC_RDMSR:
	case ZYDIS_MNEMONIC_WRMSR:
	case ZYDIS_MNEMONIC_PAUSE:
	case ZYDIS_MNEMONIC_VMMCALL:
	case ZYDIS_MNEMONIC_VMCALL:
	case ZYDIS_MNEMONIC_INVD:
	case ZYDIS_MNEMONIC_WBINVD:
	case ZYDIS_MNEMONIC_XSETBV:
	case ZYDIS_MNEMONIC_IN:
	case ZYDIS_MNEMONIC_OUT:
	case ZYDIS_MNEMONIC_CLTS:
	case ZYDIS_MNEMONIC_LMSW:
	case ZYDIS_MNEMONIC_IRET:
	case ZYDIS_MNEMONIC_IRETD:
	case ZYDIS_MNEMONIC_IRETQ:
		return INSN_OTHER;
	default:
		return -1;
	}
}

static bool is_legacy_map(const ZydisDecodedInstruction *insn)
{
	return insn->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
	       (insn->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT ||
	        insn->opcode_map == ZYDIS_OPCODE_MAP_0F);
}

static const ZydisDecodedOperand *memory_operand(const struct oracle_insn *o)
{
	u32 i;

	for (i = 0; i < o->insn.operand_count; i++)
		if (o->operand[i].type == ZYDIS_OPERAND_TYPE_MEMORY)
			return &o->operand[i];
	return NULL;
}

/* MOV to and from control and debug registers has the mnemonic of every other MOV. */
static bool is_system_move(const ZydisDecodedInstruction *insn)
{
	return insn->opcode_map == ZYDIS_OPCODE_MAP_0F && insn->opcode >= 0x20 &&
	       insn->opcode <= 0x23;
}

/* Listed mnemonics in forms that the decoder's header leaves out on purpose. */
static bool is_exempt(const struct oracle_insn *o)
{
	const ZydisDecodedInstruction *insn = &o->insn;

	/* MOVSD is also the name of a move of vector registers. */
	if (op_of(insn->mnemonic) == INSN_MOVS && insn->opcode_map != ZYDIS_OPCODE_MAP_DEFAULT)
		return true;
	/* Segment register moves: memory that a device never holds. */
	return insn->mnemonic == ZYDIS_MNEMONIC_MOV &&
	       insn->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT &&
	       (insn->opcode == 0x8c || insn->opcode == 0x8e);
}

static bool is_listed(const struct oracle_insn *o)
{
	int op = op_of(o->insn.mnemonic);

	if (op < 0 || !is_legacy_map(&o->insn) || is_exempt(o))
		return false;
	return op == INSN_OTHER || is_system_move(&o->insn) || memory_operand(o);
}

static u8 gpr_of(ZydisRegister reg)
{
	ZyanI8 id;

	if (reg == ZYDIS_REGISTER_NONE || reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP)
		return 0xff;
	id = ZydisRegisterGetId(reg);
	if (ZydisRegisterGetClass(reg) == ZYDIS_REGCLASS_GPR8) {
		/* AL CL DL BL AH CH DH BH SPL BPL SIL DIL R8B... */
		if (reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH)
			return (u8)(reg - ZYDIS_REGISTER_AH);
		if (reg >= ZYDIS_REGISTER_SPL)
			return (u8)(reg - ZYDIS_REGISTER_SPL + 4);
	}
	return (u8)id;
}

static bool is_high_byte(ZydisRegister reg)
{
	return reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH;
}

static u8 segment_of(ZydisRegister reg)
{
	switch (reg) {
	case ZYDIS_REGISTER_ES:
		return SEG_ES;
	case ZYDIS_REGISTER_CS:
		return SEG_CS;
	case ZYDIS_REGISTER_SS:
		return SEG_SS;
	case ZYDIS_REGISTER_DS:
		return SEG_DS;
	case ZYDIS_REGISTER_FS:
		return SEG_FS;
	case ZYDIS_REGISTER_GS:
		return SEG_GS;
	default:
		return 0xff;
	}
}

static u64 address_mask(u32 address_size)
{
	return address_size == 8 ? ~0ull : (1ull << (address_size * 8)) - 1;
}

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond))                                                                       \
			return #cond;                                                              \
	} while (0)

static const char *compare_memory(u32 mode, const struct insn *insn, const ZydisDecodedOperand *m)
{
	u64 mask = address_mask(insn->address_size);
	bool no_base = m->mem.base == ZYDIS_REGISTER_NONE;
	u8 base = gpr_of(m->mem.base), index = gpr_of(m->mem.index);
	u8 scale = m->mem.scale ? m->mem.scale : 1;

	CHECK(insn->rip_relative == (!no_base && base == 0xff));
	/* In 16-bit forms base and index may be told in either order. */
	CHECK((insn->base == base && insn->index == index) ||
	      (insn->scale == 1 && insn->base == index && insn->index == base));
	if (insn->index != 0xff)
		CHECK(insn->scale == scale);
	CHECK(((u64)insn->displacement & mask) == ((u64)m->mem.disp.value & mask));
	/* In 64-bit code only the bases of FS and GS count. */
	if (mode != 8 || insn->segment >= SEG_FS || segment_of(m->mem.segment) >= SEG_FS)
		CHECK(insn->segment == segment_of(m->mem.segment));
	return NULL;
}

static const char *compare_other(const struct insn *insn, const struct oracle_insn *o)
{
	const ZydisDecodedOperand *other =
	        &o->operand[o->operand[0].type == ZYDIS_OPERAND_TYPE_MEMORY ? 1 : 0];
	bool first = o->operand[0].type == ZYDIS_OPERAND_TYPE_MEMORY;

	/* XCHG and TEST are symmetrical: which operand comes first is a matter of taste. */
	if (insn->op != INSN_XCHG && insn->op != INSN_TEST)
		CHECK(insn->to_memory == first);
	if (insn->other == INSN_OPERAND_REGISTER) {
		CHECK(other->type == ZYDIS_OPERAND_TYPE_REGISTER);
		CHECK(insn->reg == gpr_of(other->reg.value));
		CHECK(insn->high_byte == is_high_byte(other->reg.value));
		CHECK(insn->reg_size * 8u == other->size);
	} else {
		CHECK(insn->other == INSN_OPERAND_IMMEDIATE);
		CHECK(other->type == ZYDIS_OPERAND_TYPE_IMMEDIATE);
		CHECK(((insn->immediate ^ other->imm.value.u) & address_mask(insn->size)) == 0);
	}
	return NULL;
}

static const char *compare_string(u32 mode, const struct insn *insn, const struct oracle_insn *o)
{
	const ZydisDecodedOperand *m = NULL;
	u32 i;

	for (i = 0; i < o->insn.operand_count; i++)
		if (o->operand[i].type == ZYDIS_OPERAND_TYPE_MEMORY &&
		    gpr_of(o->operand[i].mem.base) == insn->base)
			m = &o->operand[i];
	CHECK(m != NULL);
	CHECK(insn->size * 8u == m->size);
	return compare_memory(mode, insn, m);
}

static const char *compare_system_move(const struct insn *insn, const struct oracle_insn *o)
{
	if (o->insn.opcode != 0x22) {
		CHECK(insn->op == INSN_OTHER);
		return NULL;
	}
	CHECK(insn->op == INSN_MOV_TO_CR);
	CHECK(insn->control == o->operand[0].reg.value - ZYDIS_REGISTER_CR0);
	CHECK(insn->reg == gpr_of(o->operand[1].reg.value));
	return NULL;
}

/*
 * Zydis 4.0 takes SIB base 5 with mod 0 and REX.B for R13 without displacement. By the manuals
 * REX.B does not change that this means: no base, 32-bit displacement (objdump agrees).
 */
static bool is_base_misread(const ZydisDecodedInstruction *insn)
{
	return insn->attributes & ZYDIS_ATTRIB_HAS_SIB && insn->raw.modrm.mod == 0 &&
	       (insn->raw.sib.base & 7) == 5 && insn->raw.rex.B;
}

/* NULL, or which property differs. */
static const char *compare(u32 mode, const struct insn *insn, const struct oracle_insn *o)
{
	const ZydisDecodedOperand *m = memory_operand(o);
	const char *difference;

	CHECK(insn->length == o->insn.length);
	CHECK(is_legacy_map(&o->insn));
	if (is_system_move(&o->insn))
		return compare_system_move(insn, o);
	CHECK(insn->op == op_of(o->insn.mnemonic));
	if (insn->op == INSN_OTHER)
		return NULL;
	CHECK(m != NULL);
	CHECK(insn->address_size * 8u == o->insn.address_width);
	CHECK(insn->lock == !!(o->insn.attributes & ZYDIS_ATTRIB_HAS_LOCK));
	if (insn->op >= INSN_STOS) {
		CHECK((insn->rep || insn->repne) ==
		      !!(o->insn.attributes &
		         (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)));
		return compare_string(mode, insn, o);
	}
	/* The manuals differ on MOVSXD to 16 bits: SDM 16 bits of memory, Zydis as AMD 32. */
	if (o->insn.mnemonic == ZYDIS_MNEMONIC_MOVSXD && insn->reg_size == 2)
		CHECK(insn->size == 2 && m->size == 32);
	else
		CHECK(insn->size * 8u == m->size);
	if (is_base_misread(&o->insn)) {
		CHECK(insn->base == 0xff && !insn->rip_relative);
		CHECK(insn->displacement == o->insn.raw.disp.value);
		return compare_other(insn, o);
	}
	difference = compare_memory(mode, insn, m);
	return difference ? difference : compare_other(insn, o);
}

/* LOCK MOV CR0 for CR8: Zydis does not know it. Its fields are checked by a test of its own. */
static bool is_alternate_cr8(const struct insn *insn)
{
	return insn->lock && insn->control == 8;
}

/* A decoder that sees fewer bytes asks for more, and never decides otherwise. */
static const char *check_truncations(u32 mode, const u8 *bytes, const struct insn *whole)
{
	struct insn again;
	u32 count;

	for (count = 0; count < whole->length; count++)
		if (insn_decode(bytes, count, mode, &again) != DECODE_SHORT)
			return "truncated, but not short";
	if (insn_decode(bytes, whole->length, mode, &again) != DECODE_OK ||
	    memcmp(&again, whole, sizeof(again)) != 0)
		return "exact count gives another result";
	return NULL;
}

const char *decode_oracle_check(u32 mode, const u8 *bytes, u32 count, bool *accepted)
{
	struct oracle_insn o;
	struct insn insn;
	enum decode_result result = insn_decode(bytes, count, mode, &insn);
	bool known = ask_oracle(mode, bytes, count, &o);
	const char *difference;

	*accepted = result == DECODE_OK;
	if (result == DECODE_SHORT)
		return count >= INSN_MAX_LENGTH ? "short with 15 bytes"
		       : known && is_listed(&o) ? "short, but the oracle has enough"
		                                : NULL;
	if (result == DECODE_UNKNOWN)
		return known && is_listed(&o) ? "listed, but not decoded" : NULL;
	if (is_alternate_cr8(&insn) && !known)
		return check_truncations(mode, bytes, &insn);
	if (!known)
		return "the oracle refuses it";
	difference = compare(mode, &insn, &o);
	return difference ? difference : check_truncations(mode, bytes, &insn);
}
