/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The order and the names are those that gdb wants of an x86-64 target (its features i386.core, i386.sse
 * and i386.segments); behind them a feature of our own with what else there is to see. The description
 * is the same whatever mode a vCPU is in: gdb asks for it once, and a guest changes its mode as it likes.
 *
 * Selectors, bases and control registers are shown and not written: a selector without its descriptor
 * would be a lie, and a wrong control register the end of the guest.
 */
#include "cli/gdb_regs.h"

#include <stdio.h>
#include <string.h>

#include "x86/regs.h"

struct reg {
	const char *name, *type;
	unsigned short at;         /* in struct debug_regs */
	unsigned char width, size; /* there, and for gdb, which gets it extended by zeros */
	bool writable;
};

#define AT(member) offsetof(struct debug_regs, member)
#define GPR(name, index)                                                                           \
	{                                                                                          \
		name, "int64", AT(gpr) + 8 * (index), 8, 8, true                                   \
	}
#define SEG(name, index)                                                                           \
	{                                                                                          \
		name, "int32", AT(selector) + 2 * (index), 2, 4, false                             \
	}
#define FPU(name, offset, width)                                                                   \
	{                                                                                          \
		name, "int", AT(fx) + (offset), width, 4, true                                     \
	}
#define ST(name, index)                                                                            \
	{                                                                                          \
		name, "i387_ext", AT(fx) + 32 + 16 * (index), 10, 10, true                         \
	}
#define XMM(name, index)                                                                           \
	{                                                                                          \
		name, "uint128", AT(fx) + 160 + 16 * (index), 16, 16, true                         \
	}
#define SEEN(name, type, member)                                                                   \
	{                                                                                          \
		name, type, AT(member), 8, 8, false                                                \
	}
#define BASE(name, index)                                                                          \
	{                                                                                          \
		name, "data_ptr", AT(base) + 8 * (index), 8, 8, false                              \
	}

enum {
	FIRST_FTAG = 34,
	FIRST_SSE = 40,
	FIRST_BASE = 57,
	FIRST_OWN = 59,
};

static const struct reg table[GDB_REGS] = {
        GPR("rax", GPR_RAX),
        GPR("rbx", GPR_RBX),
        GPR("rcx", GPR_RCX),
        GPR("rdx", GPR_RDX),
        GPR("rsi", GPR_RSI),
        GPR("rdi", GPR_RDI),
        {"rbp", "data_ptr", AT(gpr) + 8 * GPR_RBP, 8, 8, true},
        {"rsp", "data_ptr", AT(gpr) + 8 * GPR_RSP, 8, 8, true},
        GPR("r8", GPR_R8),
        GPR("r9", GPR_R9),
        GPR("r10", GPR_R10),
        GPR("r11", GPR_R11),
        GPR("r12", GPR_R12),
        GPR("r13", GPR_R13),
        GPR("r14", GPR_R14),
        GPR("r15", GPR_R15),
        {"rip", "code_ptr", AT(rip), 8, 8, true},
        {"eflags", "int32", AT(rflags), 4, 4, true},
        SEG("cs", SEG_CS),
        SEG("ss", SEG_SS),
        SEG("ds", SEG_DS),
        SEG("es", SEG_ES),
        SEG("fs", SEG_FS),
        SEG("gs", SEG_GS),
        ST("st0", 0),
        ST("st1", 1),
        ST("st2", 2),
        ST("st3", 3),
        ST("st4", 4),
        ST("st5", 5),
        ST("st6", 6),
        ST("st7", 7),
        FPU("fctrl", 0, 2),
        FPU("fstat", 2, 2),
        FPU("ftag", 4, 1),
        FPU("fiseg", 12, 2),
        FPU("fioff", 8, 4),
        FPU("foseg", 20, 2),
        FPU("fooff", 16, 4),
        FPU("fop", 6, 2),
        XMM("xmm0", 0),
        XMM("xmm1", 1),
        XMM("xmm2", 2),
        XMM("xmm3", 3),
        XMM("xmm4", 4),
        XMM("xmm5", 5),
        XMM("xmm6", 6),
        XMM("xmm7", 7),
        XMM("xmm8", 8),
        XMM("xmm9", 9),
        XMM("xmm10", 10),
        XMM("xmm11", 11),
        XMM("xmm12", 12),
        XMM("xmm13", 13),
        XMM("xmm14", 14),
        XMM("xmm15", 15),
        FPU("mxcsr", 24, 4),
        BASE("fs_base", SEG_FS),
        BASE("gs_base", SEG_GS),
        BASE("cs_base", SEG_CS),
        BASE("ss_base", SEG_SS),
        BASE("ds_base", SEG_DS),
        BASE("es_base", SEG_ES),
        SEEN("cr0", "int64", cr0),
        SEEN("cr2", "data_ptr", cr2),
        SEEN("cr3", "int64", cr3),
        SEEN("cr4", "int64", cr4),
        SEEN("cr8", "int64", cr8),
        SEEN("efer", "int64", efer),
};

/* gdb knows the tag word of FSAVE, two bits for each register; FXSAVE keeps one: empty or not. */
static unsigned int full_tag(const struct debug_regs *regs)
{
	unsigned int top = regs->fx[3] >> 3 & 7, tag = 0;

	for (unsigned int i = 0; i < 8; i++) {
		const unsigned char *st = regs->fx + 32 + 16 * ((i - top) & 7);
		unsigned int exponent = (st[8] | st[9] << 8) & 0x7fff, kind;
		bool zero = !(st[0] | st[1] | st[2] | st[3] | st[4] | st[5] | st[6] | st[7]);

		if (!(regs->fx[4] >> i & 1))
			kind = 3;
		else if (exponent == 0x7fff || !(st[7] >> 7))
			kind = !exponent && zero ? 1 : 2;
		else
			kind = 0;
		tag |= kind << 2 * i;
	}
	return tag;
}

static unsigned char short_tag(unsigned int tag)
{
	unsigned char bits = 0;

	for (unsigned int i = 0; i < 8; i++)
		if ((tag >> 2 * i & 3) != 3)
			bits |= (unsigned char)(1u << i);
	return bits;
}

size_t gdb_reg_size(unsigned int n)
{
	return table[n].size;
}

void gdb_reg_get(const struct debug_regs *regs, unsigned int n, unsigned char *to)
{
	unsigned int tag;

	memset(to, 0, table[n].size);
	if (n != FIRST_FTAG) {
		memcpy(to, (const unsigned char *)regs + table[n].at, table[n].width);
		return;
	}
	tag = full_tag(regs);
	to[0] = (unsigned char)tag;
	to[1] = (unsigned char)(tag >> 8);
}

bool gdb_reg_set(struct debug_regs *regs, unsigned int n, const unsigned char *from)
{
	unsigned char now[GDB_REG_BYTES];

	gdb_reg_get(regs, n, now);
	if (!memcmp(now, from, table[n].size))
		return true;
	if (!table[n].writable)
		return false;
	if (n == FIRST_FTAG)
		regs->fx[4] = short_tag((unsigned int)(from[0] | from[1] << 8));
	else
		memcpy((unsigned char *)regs + table[n].at, from, table[n].width);
	return true;
}

static const char *feature_at(unsigned int n)
{
	switch (n) {
	case 0:
		return "org.gnu.gdb.i386.core";
	case FIRST_SSE:
		return "org.gnu.gdb.i386.sse";
	case FIRST_BASE:
		return "org.gnu.gdb.i386.segments";
	case FIRST_OWN:
		return "org.postern.system";
	default:
		return NULL;
	}
}

const char *gdb_regs_xml(void)
{
	static char xml[8192];
	size_t at;

	if (*xml)
		return xml;
	at = (size_t)snprintf(xml, sizeof(xml),
	                      "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\">"
	                      "<target><architecture>i386:x86-64</architecture>");
	for (unsigned int i = 0; i < GDB_REGS; i++) {
		const char *feature = feature_at(i);

		if (feature)
			at += (size_t)snprintf(xml + at, sizeof(xml) - at,
			                       "%s<feature name=\"%s\">", i ? "</feature>" : "",
			                       feature);
		at += (size_t)snprintf(
		        xml + at, sizeof(xml) - at,
		        "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\" regnum=\"%u\"/>",
		        table[i].name, table[i].size * 8u, table[i].type, i);
	}
	snprintf(xml + at, sizeof(xml) - at, "</feature></target>");
	return xml;
}
