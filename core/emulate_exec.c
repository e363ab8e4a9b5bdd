/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the decoded instructions do.
 *
 * Rules this file lives by:
 * - Flags as in APM volume 3, "General-Purpose Instruction Reference"; where they are undefined
 *   (AF of the logical operations) they are cleared.
 * - LOCK needs nothing on device memory: the device serialises accesses itself, and no processor
 *   reads and modifies in one step what it cannot cache. (RAM next to it is reached only by an
 *   operand that crosses the border: split locks of that kind are not atomic here.)
 * - CMPXCHG always writes, TEST and CMP never.
 * - A REP form does a bounded number of iterations, then lets the guest execute the instruction
 *   again; with RFLAGS.TF set, one. Registers are updated after each iteration, so an exception in
 *   the next one finds them right.
 */
#include "core/emulate_priv.h"

#include "core/vm.h"
#include "postern/string.h"

#define REPEAT_LIMIT 64

#define RFLAGS_PF     BIT64(2)
#define RFLAGS_AF     BIT64(4)
#define RFLAGS_SF     BIT64(7)
#define RFLAGS_OF     BIT64(11)
#define RFLAGS_STATUS (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

/* ---- arithmetic ---- */

static u64 sign_bit(u32 size)
{
	return 1ull << (size * 8 - 1);
}

static u64 sign_extend(u64 value, u32 size)
{
	return (value ^ sign_bit(size)) - sign_bit(size);
}

/* Number of ones in the low byte, which is all that PF looks at. */
static bool has_even_parity(u8 byte)
{
	return !(0x6996u >> ((byte ^ byte >> 4) & 0xf) & 1); /* bit n: parity of the number n */
}

static void set_flags(struct vcpu *vcpu, u64 result, u32 size, u64 others)
{
	u64 flags = others;

	if (has_even_parity((u8)result))
		flags |= RFLAGS_PF;
	if (!result)
		flags |= RFLAGS_ZF;
	if (result & sign_bit(size))
		flags |= RFLAGS_SF;
	vcpu->regs.rflags = (vcpu->regs.rflags & ~RFLAGS_STATUS) | flags;
}

static u64 add(struct vcpu *vcpu, u64 a, u64 b, u32 size)
{
	u64 result = (a + b) & emulate_mask(size);
	u64 flags = (a ^ b ^ result) & RFLAGS_AF; /* AF is the carry into bit 4, and is bit 4 */

	if (result < a)
		flags |= RFLAGS_CF;
	if (~(a ^ b) & (a ^ result) & sign_bit(size))
		flags |= RFLAGS_OF;
	set_flags(vcpu, result, size, flags);
	return result;
}

static u64 subtract(struct vcpu *vcpu, u64 a, u64 b, u32 size)
{
	u64 result = (a - b) & emulate_mask(size);
	u64 flags = (a ^ b ^ result) & RFLAGS_AF;

	if (a < b)
		flags |= RFLAGS_CF;
	if ((a ^ b) & (a ^ result) & sign_bit(size))
		flags |= RFLAGS_OF;
	set_flags(vcpu, result, size, flags);
	return result;
}

/* a: first operand, b: second. Sets the flags. */
static u64 compute(struct vcpu *vcpu, u8 op, u64 a, u64 b, u32 size)
{
	u64 result;

	switch (op) {
	case INSN_ADD:
		return add(vcpu, a, b, size);
	case INSN_SUB:
	case INSN_CMP:
		return subtract(vcpu, a, b, size);
	case INSN_OR:
		result = a | b;
		break;
	case INSN_XOR:
		result = a ^ b;
		break;
	default: /* AND, TEST */
		result = a & b;
		break;
	}
	set_flags(vcpu, result, size, 0);
	return result;
}

/* ---- instructions with one memory operand ---- */

static u64 effective_address(const struct emulation *e)
{
	const struct insn *insn = &e->insn;
	const u64 *gpr = e->vcpu->regs.gpr;
	u64 address = (u64)insn->displacement;

	if (insn->rip_relative)
		address += e->vcpu->regs.rip + insn->length;
	if (insn->base < GPR_COUNT)
		address += gpr[insn->base];
	if (insn->index < GPR_COUNT)
		address += gpr[insn->index] * insn->scale;
	return address & emulate_mask(insn->address_size);
}

/* The operand that is not in memory. */
static u64 read_other(const struct emulation *e)
{
	const struct insn *insn = &e->insn;

	if (insn->other == INSN_OPERAND_IMMEDIATE)
		return insn->immediate & emulate_mask(insn->size);
	return emulate_read_reg(e->vcpu, insn->reg, insn->reg_size, insn->high_byte);
}

static void write_other(struct emulation *e, u64 value)
{
	const struct insn *insn = &e->insn;

	emulate_write_reg(e->vcpu, insn->reg, insn->reg_size, insn->high_byte, value);
}

static void execute_cmpxchg(struct emulation *e, const struct emulate_span *span)
{
	u32 size = e->insn.size;
	u64 accumulator = emulate_read_reg(e->vcpu, GPR_RAX, size, false);
	u64 source = read_other(e);
	u64 old = emulate_read_span(e, span);

	subtract(e->vcpu, accumulator, old, size);
	if (old == accumulator) {
		emulate_write_span(e, span, source);
	} else {
		emulate_write_span(e, span, old);
		emulate_write_reg(e->vcpu, GPR_RAX, size, false, old);
	}
}

static void execute_arithmetic(struct emulation *e, const struct emulate_span *span)
{
	const struct insn *insn = &e->insn;
	u64 memory = emulate_read_span(e, span);
	u64 other = read_other(e);
	u64 result;

	if (insn->to_memory)
		result = compute(e->vcpu, insn->op, memory, other, insn->size);
	else
		result = compute(e->vcpu, insn->op, other, memory, insn->size);

	if (insn->op == INSN_CMP || insn->op == INSN_TEST)
		return;
	if (insn->to_memory)
		emulate_write_span(e, span, result);
	else
		write_other(e, result);
}

static void execute_single(struct emulation *e)
{
	const struct insn *insn = &e->insn;
	bool write = insn->to_memory && insn->op != INSN_CMP && insn->op != INSN_TEST;
	struct emulate_span span;
	u64 value;

	if (!emulate_translate(e, insn->segment, effective_address(e), insn->size, write, &span))
		return;
	switch (insn->op) {
	case INSN_MOV:
		if (insn->to_memory)
			emulate_write_span(e, &span, read_other(e));
		else
			write_other(e, emulate_read_span(e, &span));
		break;
	case INSN_MOVZX:
		write_other(e, emulate_read_span(e, &span));
		break;
	case INSN_MOVSX:
		write_other(e, sign_extend(emulate_read_span(e, &span), insn->size));
		break;
	case INSN_XCHG:
		value = emulate_read_span(e, &span);
		emulate_write_span(e, &span, read_other(e));
		write_other(e, value);
		break;
	case INSN_CMPXCHG:
		execute_cmpxchg(e, &span);
		break;
	default:
		execute_arithmetic(e, &span);
		break;
	}
	emulate_finish(e);
}

/* ---- string instructions ---- */

static u64 string_pointer(const struct emulation *e, u8 reg)
{
	return emulate_read_reg(e->vcpu, reg, e->insn.address_size, false);
}

static void move_pointer(struct emulation *e, u8 reg)
{
	u64 step = e->vcpu->regs.rflags & RFLAGS_DF ? (u64)0 - e->insn.size : e->insn.size;

	emulate_write_reg(e->vcpu, reg, e->insn.address_size, false, string_pointer(e, reg) + step);
}

static bool translate_source(struct emulation *e, struct emulate_span *span)
{
	return emulate_translate(e, e->insn.segment, string_pointer(e, GPR_RSI), e->insn.size,
	                         false, span);
}

static bool translate_destination(struct emulation *e, struct emulate_span *span)
{
	return emulate_translate(e, SEG_ES, string_pointer(e, GPR_RDI), e->insn.size, true, span);
}

/* One iteration. false: an exception is queued, nothing has happened. */
static bool string_step(struct emulation *e, u16 port)
{
	const struct bus *io = &e->vcpu->vm->io;
	bool source = e->insn.op == INSN_MOVS || e->insn.op == INSN_OUTS;
	bool destination = e->insn.op != INSN_OUTS;
	struct emulate_span from, to;
	u64 value;

	if (source && !translate_source(e, &from))
		return false;
	if (destination && !translate_destination(e, &to))
		return false;

	if (source)
		value = emulate_read_span(e, &from);
	else if (e->insn.op == INSN_STOS)
		value = emulate_read_reg(e->vcpu, GPR_RAX, e->insn.size, false);
	else if (!bus_read(io, e->vcpu, port, e->insn.size, &value))
		vcpu_count(e->vcpu, COUNTER_PORT_UNKNOWN);

	if (destination)
		emulate_write_span(e, &to, value);
	else if (!bus_write(io, e->vcpu, port, e->insn.size, value))
		vcpu_count(e->vcpu, COUNTER_PORT_UNKNOWN);

	if (source)
		move_pointer(e, GPR_RSI);
	if (destination)
		move_pointer(e, GPR_RDI);
	return true;
}

static void execute_string(struct emulation *e, u16 port)
{
	struct vcpu *vcpu = e->vcpu;
	u32 limit = vcpu->regs.rflags & RFLAGS_TF ? 1 : REPEAT_LIMIT;
	u64 left;

	if (!e->insn.rep && !e->insn.repne) {
		if (string_step(e, port))
			emulate_finish(e);
		return;
	}
	for (left = string_pointer(e, GPR_RCX); left && limit; limit--) {
		if (!string_step(e, port))
			return;
		left--;
		emulate_write_reg(vcpu, GPR_RCX, e->insn.address_size, false, left);
	}
	if (left)
		emulate_pause(e);
	else
		emulate_finish(e);
}

bool emulate_execute_memory(struct emulation *e)
{
	switch (e->insn.op) {
	case INSN_STOS:
	case INSN_MOVS:
		execute_string(e, 0);
		return true;
	case INSN_INS: /* exits for its port, if at all: here it was not checked for privilege */
	case INSN_OUTS:
	case INSN_MOV_TO_CR:
	case INSN_OTHER:
		return false;
	default:
		execute_single(e);
		return true;
	}
}

void emulate_execute_string_io(struct emulation *e, u16 port)
{
	execute_string(e, port);
}
