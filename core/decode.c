/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The instruction decoder: two opcode tables, one reader that knows where the bytes end.
 *
 * Rules this file lives by (APM volume 3 and SDM volume 2, "Instruction Format"):
 * - Prefixes come in any order and number, within 15 bytes in all. Of F2 and F3 the last one
 *   counts, of segment overrides too. In 64-bit code an ES, CS, SS or DS override is ignored.
 * - REX counts only directly before the opcode; REX.W beats 66.
 * - LOCK is legal only with a memory destination of ADD, OR, AND, SUB, XOR, XCHG, CMPXCHG, and with
 *   MOV of CR0, where it stands for CR8. On any other form it is #UD, so such a form is unknown.
 * - The bytes are hostile, may be short, and nothing is read beyond `count`.
 */
#include "core/decode.h"

#include "postern/string.h"

/* How an opcode's operands are laid out. */
enum form {
	FORM_UNKNOWN,
	FORM_OTHER,      /* no operands that take bytes */
	FORM_OTHER_IMM8, /* IN, OUT with a port number */
	FORM_OTHER_CR,   /* MOV CRn: ModRM names registers, whatever its mod field */
	FORM_OTHER_DR,
	FORM_OTHER_0F01, /* a group of opcodes, chosen by ModRM */
	FORM_PAUSE,      /* 90: PAUSE with F3 */
	FORM_MEM_REG,    /* memory, register */
	FORM_REG_MEM,    /* register, memory */
	FORM_REG_MEM16,  /* register, 16-bit memory: MOVZX, MOVSX */
	FORM_MOVSXD,
	FORM_GROUP1_IMM8, /* the operation is in ModRM.reg */
	FORM_GROUP1_IMM,
	FORM_MEM_IMM, /* memory, immediate; ModRM.reg selects: 0 */
	FORM_GROUP3,  /* F6, F7: TEST is ModRM.reg 0 and 1 */
	FORM_LOAD_MOFFS,
	FORM_STORE_MOFFS,
	FORM_STRING_SI, /* source DS:rSI, may be overridden */
	FORM_STRING_DI, /* destination ES:rDI */
};

#define OPCODE_BYTE   BIT(0) /* 8-bit operands */
#define OPCODE_ONLY64 BIT(1)
#define OPCODE_NOT64  BIT(2)
#define OPCODE_PORT   BIT(3) /* port I/O: REX.W does not widen */

struct opcode {
	u8 op, form, flags;
};

#define OTHER(f)                                                                                   \
	{                                                                                          \
		INSN_OTHER, f, 0                                                                   \
	}
#define BYTE_MR(op)                                                                                \
	{                                                                                          \
		op, FORM_MEM_REG, OPCODE_BYTE                                                      \
	}
#define WIDE_MR(op)                                                                                \
	{                                                                                          \
		op, FORM_MEM_REG, 0                                                                \
	}
#define BYTE_RM(op)                                                                                \
	{                                                                                          \
		op, FORM_REG_MEM, OPCODE_BYTE                                                      \
	}
#define WIDE_RM(op)                                                                                \
	{                                                                                          \
		op, FORM_REG_MEM, 0                                                                \
	}
#define ALU_MEMORY(base, op)                                                                       \
	[base] = BYTE_MR(op), [(base) + 1] = WIDE_MR(op), [(base) + 2] = BYTE_RM(op),              \
	[(base) + 3] = WIDE_RM(op)

static const struct opcode one_byte[256] = {
        ALU_MEMORY(0x00, INSN_ADD),
        ALU_MEMORY(0x08, INSN_OR),
        ALU_MEMORY(0x20, INSN_AND),
        ALU_MEMORY(0x28, INSN_SUB),
        ALU_MEMORY(0x30, INSN_XOR),
        ALU_MEMORY(0x38, INSN_CMP),
        ALU_MEMORY(0x88, INSN_MOV),
        [0x63] = {INSN_MOVSX, FORM_MOVSXD, OPCODE_ONLY64},
        [0x6c] = {INSN_INS, FORM_STRING_DI, OPCODE_PORT | OPCODE_BYTE},
        [0x6d] = {INSN_INS, FORM_STRING_DI, OPCODE_PORT},
        [0x6e] = {INSN_OUTS, FORM_STRING_SI, OPCODE_PORT | OPCODE_BYTE},
        [0x6f] = {INSN_OUTS, FORM_STRING_SI, OPCODE_PORT},
        [0x80] = {INSN_OTHER, FORM_GROUP1_IMM8, OPCODE_BYTE},
        [0x81] = {INSN_OTHER, FORM_GROUP1_IMM, 0},
        [0x82] = {INSN_OTHER, FORM_GROUP1_IMM8, OPCODE_BYTE | OPCODE_NOT64},
        [0x83] = {INSN_OTHER, FORM_GROUP1_IMM8, 0},
        [0x84] = BYTE_MR(INSN_TEST),
        [0x85] = WIDE_MR(INSN_TEST),
        [0x86] = BYTE_MR(INSN_XCHG),
        [0x87] = WIDE_MR(INSN_XCHG),
        [0x90] = OTHER(FORM_PAUSE),
        [0xa0] = {INSN_MOV, FORM_LOAD_MOFFS, OPCODE_BYTE},
        [0xa1] = {INSN_MOV, FORM_LOAD_MOFFS, 0},
        [0xa2] = {INSN_MOV, FORM_STORE_MOFFS, OPCODE_BYTE},
        [0xa3] = {INSN_MOV, FORM_STORE_MOFFS, 0},
        [0xa4] = {INSN_MOVS, FORM_STRING_SI, OPCODE_BYTE},
        [0xa5] = {INSN_MOVS, FORM_STRING_SI, 0},
        [0xaa] = {INSN_STOS, FORM_STRING_DI, OPCODE_BYTE},
        [0xab] = {INSN_STOS, FORM_STRING_DI, 0},
        [0xc6] = {INSN_MOV, FORM_MEM_IMM, OPCODE_BYTE},
        [0xc7] = {INSN_MOV, FORM_MEM_IMM, 0},
        [0xcf] = OTHER(FORM_OTHER),
        [0xe4] = OTHER(FORM_OTHER_IMM8),
        [0xe5] = OTHER(FORM_OTHER_IMM8),
        [0xe6] = OTHER(FORM_OTHER_IMM8),
        [0xe7] = OTHER(FORM_OTHER_IMM8),
        [0xec] = OTHER(FORM_OTHER),
        [0xed] = OTHER(FORM_OTHER),
        [0xee] = OTHER(FORM_OTHER),
        [0xef] = OTHER(FORM_OTHER),
        [0xf4] = OTHER(FORM_OTHER),
        [0xf6] = {INSN_TEST, FORM_GROUP3, OPCODE_BYTE},
        [0xf7] = {INSN_TEST, FORM_GROUP3, 0},
};

/* Opcodes after 0F. */
static const struct opcode two_byte[256] = {
        [0x01] = OTHER(FORM_OTHER_0F01),
        [0x06] = OTHER(FORM_OTHER),
        [0x08] = OTHER(FORM_OTHER),
        [0x09] = OTHER(FORM_OTHER),
        [0x20] = OTHER(FORM_OTHER_CR),
        [0x21] = OTHER(FORM_OTHER_DR),
        [0x22] = {INSN_MOV_TO_CR, FORM_OTHER_CR, 0},
        [0x23] = OTHER(FORM_OTHER_DR),
        [0x30] = OTHER(FORM_OTHER),
        [0x32] = OTHER(FORM_OTHER),
        [0xa2] = OTHER(FORM_OTHER),
        [0xb0] = BYTE_MR(INSN_CMPXCHG),
        [0xb1] = WIDE_MR(INSN_CMPXCHG),
        [0xb6] = {INSN_MOVZX, FORM_REG_MEM, OPCODE_BYTE},
        [0xb7] = {INSN_MOVZX, FORM_REG_MEM16, 0},
        [0xbe] = {INSN_MOVSX, FORM_REG_MEM, OPCODE_BYTE},
        [0xbf] = {INSN_MOVSX, FORM_REG_MEM16, 0},
};

/* ADC and SBB (2, 3) are not supported: INSN_OTHER marks them. */
static const u8 group1_op[8] = {
        INSN_ADD, INSN_OR, INSN_OTHER, INSN_OTHER, INSN_AND, INSN_SUB, INSN_XOR, INSN_CMP,
};

#define NO_REGISTER 0xff
#define NO_OVERRIDE 0xff

#define REX_B BIT(0)
#define REX_X BIT(1)
#define REX_R BIT(2)
#define REX_W BIT(3)

struct decoder {
	const u8 *bytes;
	u32 count, at, mode;
	enum decode_result result; /* DECODE_OK until something stops it */
	bool operand_override, address_override;
	u8 override; /* enum x86_seg */
	u8 rex;      /* 0: none; 4xh otherwise */
	u8 modrm;
	u8 operand_size; /* 2, 4, 8 */
	struct insn *insn;
};

static u64 read_bytes(struct decoder *d, u32 size)
{
	u64 value = 0;
	u32 i;

	if (d->result != DECODE_OK)
		return 0;
	if (d->at + size > INSN_MAX_LENGTH) {
		d->result = DECODE_UNKNOWN;
		return 0;
	}
	if (d->at + size > d->count) {
		d->result = DECODE_SHORT;
		return 0;
	}
	for (i = 0; i < size; i++)
		value |= (u64)d->bytes[d->at + i] << (i * 8);
	d->at += size;
	return value;
}

static u64 read_signed(struct decoder *d, u32 size)
{
	u64 value = read_bytes(d, size);
	u32 shift = 64 - size * 8;

	return (u64)((s64)(value << shift) >> shift);
}

static void take_override(struct decoder *d, u8 segment)
{
	if (d->mode != 8 || segment >= SEG_FS)
		d->override = segment;
}

/* true: `byte` was a prefix and has been noted. */
static bool take_prefix(struct decoder *d, u8 byte)
{
	switch (byte) {
	case 0x26:
	case 0x2e:
	case 0x36:
	case 0x3e:
		take_override(d, (byte >> 3) & 3);
		break;
	case 0x64:
	case 0x65:
		take_override(d, byte - 0x64 + SEG_FS);
		break;
	case 0x66:
		d->operand_override = true;
		break;
	case 0x67:
		d->address_override = true;
		break;
	case 0xf0:
		d->insn->lock = true;
		break;
	case 0xf2:
	case 0xf3:
		d->insn->repne = byte == 0xf2;
		d->insn->rep = byte == 0xf3;
		break;
	default:
		if (d->mode != 8 || (byte & 0xf0) != 0x40)
			return false;
		d->rex = byte;
		return true;
	}
	d->rex = 0; /* a REX that is not directly before the opcode has no effect */
	return true;
}

/* Returns the first byte that is not a prefix, with the sizes settled. */
static u8 decode_prefixes(struct decoder *d)
{
	u8 byte;

	do
		byte = (u8)read_bytes(d, 1);
	while (d->result == DECODE_OK && take_prefix(d, byte));

	if (d->mode == 8) {
		d->insn->address_size = d->address_override ? 4 : 8;
		d->operand_size = d->rex & REX_W ? 8 : d->operand_override ? 2 : 4;
	} else {
		d->insn->address_size = (d->mode == 4) != d->address_override ? 4 : 2;
		d->operand_size = (d->mode == 4) != d->operand_override ? 4 : 2;
	}
	return byte;
}

static void set_memory16(struct decoder *d, u32 mod, u32 rm)
{
	static const u8 base[8] = {GPR_RBX, GPR_RBX, GPR_RBP, GPR_RBP,
	                           GPR_RSI, GPR_RDI, GPR_RBP, GPR_RBX};
	static const u8 index[4] = {GPR_RSI, GPR_RDI, GPR_RSI, GPR_RDI};
	struct insn *insn = d->insn;

	if (mod == 0 && rm == 6) {
		insn->displacement = (s64)read_signed(d, 2);
		return;
	}
	insn->base = base[rm];
	if (rm < 4)
		insn->index = index[rm];
	if (mod)
		insn->displacement = (s64)read_signed(d, mod == 1 ? 1 : 2);
}

static void set_memory32(struct decoder *d, u32 mod, u32 rm)
{
	struct insn *insn = d->insn;
	u32 base = rm;

	if (rm == 4) {
		u32 sib = (u32)read_bytes(d, 1);
		u32 index = ((sib >> 3) & 7) | (d->rex & REX_X ? 8 : 0);

		if (index != 4) {
			insn->index = (u8)index;
			insn->scale = (u8)(1u << (sib >> 6));
		}
		base = sib & 7;
	}
	/* Base 5 without displacement stands for: no base, a 32-bit displacement. */
	if (mod == 0 && base == 5) {
		insn->rip_relative = d->mode == 8 && rm != 4;
		insn->displacement = (s64)read_signed(d, 4);
		return;
	}
	insn->base = (u8)(base | (d->rex & REX_B ? 8 : 0));
	if (mod)
		insn->displacement = (s64)read_signed(d, mod == 1 ? 1 : 4);
}

/* The ModRM byte and the memory operand that it describes; register forms are not for us. */
static void decode_memory(struct decoder *d)
{
	struct insn *insn = d->insn;
	u32 mod = d->modrm >> 6, rm = d->modrm & 7;

	if (mod == 3) {
		d->result = DECODE_UNKNOWN;
		return;
	}
	if (insn->address_size == 2)
		set_memory16(d, mod, rm);
	else
		set_memory32(d, mod, rm);

	insn->segment = insn->base == GPR_RSP || insn->base == GPR_RBP ? SEG_SS : SEG_DS;
	if (d->override != NO_OVERRIDE)
		insn->segment = d->override;
}

static void set_register(struct decoder *d)
{
	struct insn *insn = d->insn;
	u8 reg = (d->modrm >> 3) & 7;

	insn->other = INSN_OPERAND_REGISTER;
	if (insn->reg_size == 1 && !d->rex && reg >= 4) {
		insn->high_byte = true;
		insn->reg = reg - 4;
	} else {
		insn->reg = reg | (d->rex & REX_R ? 8 : 0);
	}
}

/* Immediates are as wide as the operand, but never wider than 32 bits. */
static void read_immediate(struct decoder *d, u32 size)
{
	d->insn->other = INSN_OPERAND_IMMEDIATE;
	d->insn->immediate = read_signed(d, size > 4 ? 4 : size);
}

static void decode_moffs(struct decoder *d, bool store)
{
	struct insn *insn = d->insn;

	insn->to_memory = store;
	insn->other = INSN_OPERAND_REGISTER;
	insn->reg = GPR_RAX;
	insn->displacement = (s64)read_bytes(d, insn->address_size);
	insn->segment = d->override != NO_OVERRIDE ? d->override : SEG_DS;
}

static void decode_string(struct decoder *d, const struct opcode *opcode)
{
	struct insn *insn = d->insn;

	if (opcode->flags & OPCODE_PORT && insn->size == 8)
		insn->size = insn->reg_size = 4;
	insn->to_memory = insn->op != INSN_OUTS;
	if (opcode->form == FORM_STRING_DI) {
		insn->base = GPR_RDI;
		insn->segment = SEG_ES;
	} else {
		insn->base = GPR_RSI;
		insn->segment = d->override != NO_OVERRIDE ? d->override : SEG_DS;
	}
	if (insn->op == INSN_STOS) {
		insn->other = INSN_OPERAND_REGISTER;
		insn->reg = GPR_RAX;
	}
}

/* MOV CRn. LOCK MOV CR0 is AMD's way to name CR8 where there is no REX. */
static void decode_control(struct decoder *d)
{
	struct insn *insn = d->insn;
	u8 control = ((d->modrm >> 3) & 7) | (d->rex & REX_R ? 8 : 0);

	if (insn->lock)
		control = control == 0 ? 8 : NO_REGISTER;
	if (control > 8 || !(BIT(control) & 0x11d)) /* CR0, CR2, CR3, CR4, CR8 */
		d->result = DECODE_UNKNOWN;
	insn->control = control;
	insn->reg = (d->modrm & 7) | (d->rex & REX_B ? 8 : 0);
}

/* Forms of which only the length is wanted. */
static void decode_other(struct decoder *d, u8 form)
{
	bool plain = !d->operand_override && !d->insn->rep && !d->insn->repne;

	switch (form) {
	case FORM_OTHER_IMM8:
		read_bytes(d, 1);
		break;
	case FORM_OTHER_CR:
		decode_control(d);
		break;
	case FORM_OTHER_DR:
		if (d->rex & REX_R)
			d->result = DECODE_UNKNOWN;
		break;
	case FORM_OTHER_0F01:
		if (d->modrm == 0xc1 || d->modrm == 0xd1) { /* VMCALL, XSETBV: no prefixes */
			if (!plain)
				d->result = DECODE_UNKNOWN;
		} else if (d->modrm == 0xd9) {
			/* VMMCALL. With F2 or F3 VMGEXIT, which is VMMCALL in ordinary guests. */
		} else if (((d->modrm >> 3) & 7) != 6) { /* LMSW */
			d->result = DECODE_UNKNOWN;
		} else if (d->modrm < 0xc0) {
			decode_memory(d);
		}
		break;
	case FORM_PAUSE: /* without F3 it is NOP */
		if (!d->insn->rep)
			d->result = DECODE_UNKNOWN;
		break;
	default:
		break;
	}
}

/* Memory forms whose ModRM byte has been read. */
static void decode_modrm_form(struct decoder *d, const struct opcode *opcode)
{
	struct insn *insn = d->insn;
	u32 reg = (d->modrm >> 3) & 7;

	switch (opcode->form) {
	case FORM_MEM_REG:
	case FORM_REG_MEM:
		insn->to_memory = opcode->form == FORM_MEM_REG;
		if (insn->op == INSN_MOVZX || insn->op == INSN_MOVSX)
			insn->reg_size = d->operand_size;
		set_register(d);
		break;
	case FORM_REG_MEM16:
		insn->size = 2;
		set_register(d);
		break;
	case FORM_MOVSXD:
		/* Without REX.W source and destination are equally wide (SDM "MOVSX/MOVSXD"). */
		insn->size = d->operand_size == 8 ? 4 : d->operand_size;
		set_register(d);
		break;
	case FORM_GROUP1_IMM8:
	case FORM_GROUP1_IMM:
		insn->op = group1_op[reg];
		break;
	case FORM_MEM_IMM:
		if (reg != 0)
			insn->op = INSN_OTHER;
		break;
	case FORM_GROUP3:
		if (reg > 1)
			insn->op = INSN_OTHER;
		break;
	default:
		break;
	}
	if (insn->op == INSN_OTHER) { /* a member of a group that is not supported */
		d->result = DECODE_UNKNOWN;
		return;
	}
	decode_memory(d);
	if (insn->other == INSN_OPERAND_NONE) {
		insn->to_memory = true;
		read_immediate(d, opcode->form == FORM_GROUP1_IMM8 ? 1 : insn->size);
	}
}

static void decode_operands(struct decoder *d, const struct opcode *opcode)
{
	struct insn *insn = d->insn;

	insn->op = opcode->op;
	insn->size = insn->reg_size = opcode->flags & OPCODE_BYTE ? 1 : d->operand_size;

	switch (opcode->form) {
	case FORM_UNKNOWN:
		d->result = DECODE_UNKNOWN;
		return;
	case FORM_LOAD_MOFFS:
	case FORM_STORE_MOFFS:
		decode_moffs(d, opcode->form == FORM_STORE_MOFFS);
		return;
	case FORM_STRING_SI:
	case FORM_STRING_DI:
		decode_string(d, opcode);
		return;
	case FORM_OTHER:
	case FORM_OTHER_IMM8:
	case FORM_PAUSE:
		insn->size = insn->reg_size = 0;
		decode_other(d, opcode->form);
		return;
	default:
		break;
	}

	d->modrm = (u8)read_bytes(d, 1);
	if (d->result != DECODE_OK)
		return;
	if (opcode->form <= FORM_PAUSE) {
		insn->size = insn->reg_size = 0;
		decode_other(d, opcode->form);
	} else {
		decode_modrm_form(d, opcode);
	}
}

static bool lock_is_legal(const struct insn *insn)
{
	if (insn->control == 8)
		return true;
	switch (insn->op) {
	case INSN_ADD:
	case INSN_OR:
	case INSN_AND:
	case INSN_SUB:
	case INSN_XOR:
	case INSN_XCHG:
	case INSN_CMPXCHG:
		return insn->to_memory;
	default:
		return false;
	}
}

enum decode_result insn_decode(const u8 *bytes, u32 count, u32 mode, struct insn *insn)
{
	struct decoder d = {
	        .bytes = bytes,
	        .count = count,
	        .mode = mode,
	        .result = DECODE_OK,
	        .override = NO_OVERRIDE,
	        .insn = insn,
	};
	const struct opcode *opcode;
	u8 byte;

	memset(insn, 0, sizeof(*insn));
	insn->base = insn->index = NO_REGISTER;
	insn->scale = 1;
	insn->segment = SEG_DS;

	byte = decode_prefixes(&d);
	opcode = &one_byte[byte];
	if (byte == 0x0f)
		opcode = &two_byte[(u8)read_bytes(&d, 1)];
	if (d.result != DECODE_OK)
		return d.result;

	if ((mode == 8 && opcode->flags & OPCODE_NOT64) ||
	    (mode != 8 && opcode->flags & OPCODE_ONLY64))
		return DECODE_UNKNOWN;
	decode_operands(&d, opcode);
	if (d.result == DECODE_OK && insn->lock && !lock_is_legal(insn))
		d.result = DECODE_UNKNOWN;
	insn->length = (u8)d.at;
	return d.result;
}
