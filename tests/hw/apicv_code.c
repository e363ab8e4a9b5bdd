/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * See apicv.h: machine code of an operation, each instruction of it with a step that says what it does. Registers of
 * the guest: RBX the APIC-access page, RBP the results, R13 where the next vector is logged, R14 the handler. The
 * handler keeps RAX, RCX and RDX, since it may come between an instruction and what loads its operands.
 *
 *      an interrupt -> its stub: R15D = vector; an error code is dropped; to R14
 *      the handler: R15D is logged; perhaps EOI; IRET, or VMCALL
 */
#include "tests/hw/apicv.h"
#include "x86/msr.h"

#define ERROR_CODES (BIT(8) | BIT(10) | BIT(11) | BIT(12) | BIT(13) | BIT(14))

struct writer {
	u8 *at;
	struct av_code *code; /* NULL: no steps wanted */
	u8 insn;
};

static void bytes(struct writer *w, const char *text, u32 count)
{
	memcpy(w->at, text, count);
	w->at += count;
}
#define CODE(w, text) bytes(w, text, sizeof(text) - 1)

static void number(struct writer *w, u64 value, u32 count)
{
	memcpy(w->at, &value, count);
	w->at += count;
}

static void step(struct writer *w, enum av_kind kind)
{
	struct av_step *step;

	if (!w->code)
		return;
	ASSERT(w->code->steps < AV_STEPS);
	step = &w->code->step[w->code->steps++];
	*step = (struct av_step){.kind = (u8)kind, .insn = w->insn, .rip = (uintptr_t)w->at};
}

static void load_rax(struct writer *w, u64 value)
{
	step(w, AV_NOTHING);
	CODE(w, "\x48\xb8");
	number(w, value, 8);
}

static void load_ecx(struct writer *w, u32 value)
{
	step(w, AV_NOTHING);
	CODE(w, "\xb9");
	number(w, value, 4);
}

/* RAX to the results. */
static void keep(struct writer *w)
{
	step(w, AV_KEEP);
	CODE(w, "\x48\x89\x85");
	number(w, w->insn * 8u, 4);
}

/* [RBX + disp32], with RAX as the other operand. */
static void access(struct writer *w, const struct av_insn *insn, const char *const by_size[4],
                   const u8 length[4])
{
	u32 n = (u32)__builtin_ctz(insn->size);

	step(w, (enum av_kind)insn->kind);
	bytes(w, by_size[n], length[n]);
	number(w, insn->at, 4);
}

static void read(struct writer *w, const struct av_insn *insn)
{
	static const char *const loads[] = {"\x0f\xb6\x83", "\x0f\xb7\x83", "\x8b\x83",
	                                    "\x48\x8b\x83"};

	access(w, insn, loads, (const u8[]){3, 3, 2, 3});
	keep(w);
}

static void write(struct writer *w, const struct av_insn *insn)
{
	static const char *const stores[] = {"\x88\x83", "\x66\x89\x83", "\x89\x83",
	                                     "\x48\x89\x83"};
	static const char *const ors[] = {"\x08\x83", "\x66\x09\x83", "\x09\x83", "\x48\x09\x83"};

	load_rax(w, insn->value);
	access(w, insn, insn->kind == AV_WRITE ? stores : ors, (const u8[]){2, 3, 2, 3});
}

/* RSI or RDI = RBX + offset */
static void point(struct writer *w, const char *lea, u32 offset)
{
	step(w, AV_NOTHING);
	bytes(w, lea, 3);
	number(w, offset, 4);
}

static void string(struct writer *w, const struct av_insn *insn)
{
	if (insn->kind == AV_MOVE) {
		point(w, "\x48\x8d\xb3", insn->at);
		point(w, "\x48\x8d\xbb", insn->to);
		step(w, AV_MOVE);
		CODE(w, "\xa5");
		return;
	}
	load_rax(w, insn->value);
	load_ecx(w, 2);
	point(w, "\x48\x8d\xbb", insn->at);
	step(w, AV_STORES);
	CODE(w, "\xf3\xab");
}

static void rdmsr(struct writer *w, const struct av_insn *insn)
{
	load_ecx(w, insn->at);
	step(w, AV_RDMSR);
	CODE(w, "\x0f\x32");
	step(w, AV_NOTHING);
	CODE(w, "\x48\xc1\xe2\x20"); /* RDX <<= 32 */
	step(w, AV_NOTHING);
	CODE(w, "\x48\x09\xd0"); /* RAX |= RDX */
	keep(w);
}

static void wrmsr(struct writer *w, const struct av_insn *insn)
{
	load_ecx(w, insn->at);
	load_rax(w, insn->value >> 32);
	step(w, AV_NOTHING);
	CODE(w, "\x89\xc2"); /* EDX = EAX */
	load_rax(w, (u32)insn->value);
	step(w, AV_WRMSR);
	CODE(w, "\x0f\x30");
}

static void cr8(struct writer *w, const struct av_insn *insn)
{
	if (insn->kind == AV_TO_CR8) {
		load_rax(w, insn->value);
		step(w, AV_TO_CR8);
		CODE(w, "\x44\x0f\x22\xc0");
		return;
	}
	step(w, AV_FROM_CR8);
	CODE(w, "\x44\x0f\x20\xc0");
	keep(w);
}

static void other(struct writer *w, const struct av_insn *insn)
{
	step(w, (enum av_kind)insn->kind);
	if (insn->kind == AV_STI)
		CODE(w, "\xfb");
	else if (insn->kind == AV_CLI)
		CODE(w, "\xfa");
	else
		CODE(w, "\xf4");
}

static void assemble(struct writer *w, const struct av_insn *insn)
{
	switch (insn->kind) {
	case AV_READ:
		return read(w, insn);
	case AV_WRITE:
	case AV_MODIFY:
		return write(w, insn);
	case AV_MOVE:
	case AV_STORES:
		return string(w, insn);
	case AV_RDMSR:
		return rdmsr(w, insn);
	case AV_WRMSR:
		return wrmsr(w, insn);
	case AV_TO_CR8:
	case AV_FROM_CR8:
		return cr8(w, insn);
	default:
		return other(w, insn);
	}
}

/* Three instructions of three bytes. */
static void each(struct writer *w, const char *text)
{
	for (u32 i = 0; i < 3; i++) {
		step(w, AV_NOTHING);
		bytes(w, text + 3 * i, 3);
	}
}

/* Its steps may be taken in any operation: the instructions of an EOI are op->insn[AV_INSNS] on. */
static void handler(struct writer *w, enum av_handler which)
{
	step(w, AV_NOTHING);
	CODE(w, "\x45\x89\x7d\x00"); /* log */
	step(w, AV_LOG);
	CODE(w, "\x49\x83\xc5\x04");
	w->insn = AV_INSNS;
	if (which == AV_EOI_PAGE) {
		step(w, AV_WRITE);
		CODE(w, "\xc7\x83");
		number(w, APIC_EOI, 4);
		number(w, 0, 4);
	} else if (which == AV_EOI_MSR) {
		each(w, "\x49\x89\xc0\x49\x89\xc9\x49\x89\xd2"); /* R8 = RAX, R9 = RCX, R10 = RDX */
		load_ecx(w, MSR_X2APIC_EOI);
		load_rax(w, 0);
		step(w, AV_NOTHING);
		CODE(w, "\x31\xd2");
		step(w, AV_WRMSR);
		CODE(w, "\x0f\x30");
		each(w, "\x4c\x89\xc0\x4c\x89\xc9\x4c\x89\xd2"); /* and back */
	} else if (which == AV_EXIT) {
		step(w, AV_CALL);
		CODE(w, "\x0f\x01\xc1");
	}
	step(w, AV_RETURN);
	CODE(w, "\x48\xcf");
}

void av_assemble_handlers(const struct av_memory *memory)
{
	for (u32 vector = 0; vector < 256; vector++) {
		struct writer w = {.at = memory->stubs + vector * AV_STUB_SIZE};

		CODE(&w, "\x41\xbf");
		number(&w, vector, 4);
		if (vector < 32 && ERROR_CODES >> vector & 1)
			CODE(&w, "\x48\x83\xc4\x08");
		CODE(&w, "\x41\xff\xe6");
	}
	for (u32 which = 0; which < AV_HANDLERS; which++) {
		struct writer w = {.at = memory->handlers + which * AV_HANDLER_SIZE};

		handler(&w, (enum av_handler)which);
	}
}

/*
 * The steps of the operation's own instructions, then VMCALL, then those of its handler. A stub is one step, whose
 * address is the vector's business.
 */
void av_assemble(const struct av_op *op, const struct av_memory *memory, struct av_code *code)
{
	struct writer w = {.at = memory->code, .code = code};

	code->steps = 0;
	step(&w, AV_NOTHING);
	CODE(&w, "\x66\x90"); /* as long as the INT that may be injected */
	for (w.insn = 0; w.insn < op->count; w.insn++)
		assemble(&w, &op->insn[w.insn]);
	step(&w, AV_CALL);
	CODE(&w, "\x0f\x01\xc1");
	w.at = memory->handlers + op->handler * AV_HANDLER_SIZE;
	handler(&w, (enum av_handler)op->handler);
}
