/* SPDX-License-Identifier: BSD-2-Clause */
/* Shared by core/emulate.c, core/emulate_access.c and core/emulate_exec.c; nobody else's business.
 */
#ifndef CORE_EMULATE_PRIV_H
#define CORE_EMULATE_PRIV_H

#include "core/decode.h"
#include "core/emulate.h"
#include "core/vcpu.h"
#include "mmu/mmu.h"

/* One instruction under emulation. Lives on the stack, for one exit. */
struct emulation {
	struct vcpu *vcpu;
	struct vcpu_state state; /* as it was at the exit */
	struct mmu_view view;
	struct insn insn;
	u32 mode;                        /* code size: 2, 4, 8 */
	const struct emulate_page *page; /* NULL: the local APIC's page is the software APIC's */
};

/* --- core/emulate.c --- */
/* Advance RIP over the instruction: it is complete. */
void emulate_finish(struct emulation *e);
/* After a repetition that is not the last: RIP stays, a single step is still due. */
void emulate_pause(struct emulation *e);
/* Queue what the guest gets for a failed translation of an address in `segment`. */
void emulate_fault(struct emulation *e, const struct mmu_fault *fault, u8 segment);
void emulate_undecoded(struct vcpu *vcpu);

/* --- core/emulate_access.c --- */
/* A memory operand, translated: nothing can fault any more. In two pieces if it crosses a page. */
struct emulate_span {
	gpa_t gpa[2];
	u32 len[2];
};

/* Translate `size` bytes at segment:offset. false: an exception is queued. */
bool emulate_translate(struct emulation *e, u8 segment, u64 offset, u32 size, bool write,
                       struct emulate_span *span);
u64 emulate_read_span(struct emulation *e, const struct emulate_span *span);
void emulate_write_span(struct emulation *e, const struct emulate_span *span, u64 value);

/* General registers by the rules of operand sizes: 32 bits clear the rest, 8 and 16 keep it. */
u64 emulate_read_reg(const struct vcpu *vcpu, u8 reg, u32 size, bool high_byte);
void emulate_write_reg(struct vcpu *vcpu, u8 reg, u32 size, bool high_byte, u64 value);

static inline u64 emulate_mask(u32 size)
{
	return size >= 8 ? ~0ull : (1ull << (size * 8)) - 1;
}

/* --- core/emulate_exec.c --- */
/* Execute the decoded instruction, to its end or to a queued exception. false: not for us. */
bool emulate_execute_memory(struct emulation *e);
void emulate_execute_string_io(struct emulation *e, u16 port);

#endif
