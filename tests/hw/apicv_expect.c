/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * See apicv.h: what has to become of an operation. APIC virtualization itself is cpu_model/vapic*.c; here is what
 * stands around it, in the order of SDM volume 3: "VM Entries" ("Event Injection", "Special Features of VM Entry"),
 * then at each boundary between instructions "Priority Among Concurrent Events", then the instruction, then the
 * emulation of what it wrote.
 */
#include "tests/hw/apicv.h"
#include "x86/msr.h"

#define SHADOWS (VMX_BLOCKED_STI | VMX_BLOCKED_SS)
#define CR_TO   (VMX_CR_TO << 4)
#define CR_FROM (VMX_CR_FROM << 4)
#define DWORD   4

struct run {
	const struct av_op *op;
	const struct av_memory *memory;
	const struct av_code *code;
	struct av_state *state;
	struct vapic vapic;
	u8 *plain;
	u32 at;         /* step that is next */
	u32 back;       /* where IRET goes to */
	bool back_open; /* and RFLAGS.IF there */
	bool in_stub;   /* the step that is next is the stub of `vector` */
	u8 vector;
	u64 value;  /* what was read */
	u32 stored; /* doublewords of a REP STOS that are done */
	bool left;
};

static u64 rip(const struct run *run)
{
	if (run->in_stub)
		return (uintptr_t)run->memory->stubs + run->vector * AV_STUB_SIZE;
	return run->code->step[run->at].rip;
}

static void leave(struct run *run, u32 reason, u64 qualification)
{
	struct av_state *state = run->state;
	u16 status = vapic_leave(&run->vapic);

	run->left = true;
	state->reason = reason;
	state->qualification = qualification;
	state->rip = rip(run);
	state->status = run->op->controls & AV_VID ? status : run->op->status;
}

static u32 reg_of(u32 offset)
{
	return offset / VAPIC_STRIDE < 0x40 ? offset / VAPIC_STRIDE : 0x40;
}

/* The index of a register in the coverage is the offset's in memory, and the MSR's. */
static void cover(struct run *run, u32 kind, u32 reg, enum av_outcome outcome)
{
	if (run->code->step[run->at].insn < AV_INSNS)
		av_cover(kind, reg, run->op->set, outcome);
}

static enum av_outcome outcome_of(struct vapic_result r)
{
	if (r.action == VAPIC_GP)
		return AV_GP;
	if (r.action == VAPIC_DONE)
		return AV_DONE;
	return r.reason == VMX_EXIT_TPR_BELOW_THRESHOLD ? AV_EXIT_TPR
	       : r.reason == VMX_EXIT_EOI               ? AV_EXIT_EOI
	       : r.reason == VMX_EXIT_APIC_WRITE        ? AV_EXIT_WRITE
	                                                : AV_EXIT_ACCESS;
}

static void protect(struct run *run)
{
	leave(run, VMX_EXIT_EXCEPTION, 0);
	run->state->exit_info = VMX_EVENT_VALID | VMX_EVENT_EXCEPTION | VMX_EVENT_ERROR | VECTOR_GP;
}

static void next(struct run *run)
{
	run->at++;
}

/* An exit in front of the instruction, or behind it. True: there is one. */
static bool exits(struct run *run, struct vapic_result r)
{
	if (r.action == VAPIC_GP)
		protect(run);
	else if (r.action == VAPIC_BEFORE || r.action == VAPIC_AFTER)
		leave(run, r.reason, r.qualification);
	return run->left;
}

/* --- memory --- */

static u64 *plain_at(struct run *run, u32 offset)
{
	return (u64 *)(void *)(run->plain + offset);
}

static u64 mask_of(u32 size)
{
	return size == 8 ? ~0ull : BIT64(size * 8) - 1;
}

static struct vapic_result read(struct run *run, enum vapic_access how, u32 offset, u32 size,
                                u64 *value)
{
	if (run->op->controls & AV_ACCESS)
		return vapic_page_read(&run->vapic, how, offset, size, value);
	*value = 0;
	memcpy(value, plain_at(run, offset), size);
	return vapic_done();
}

static struct vapic_result write(struct run *run, enum vapic_access how, u32 offset, u32 size,
                                 u64 value)
{
	if (run->op->controls & AV_ACCESS)
		return vapic_page_write(&run->vapic, how, offset, size, value);
	memcpy(plain_at(run, offset), &value, size);
	return vapic_done();
}

static enum av_outcome memory_outcome(const struct run *run, struct vapic_result r)
{
	return run->op->controls & AV_ACCESS ? outcome_of(r) : AV_PLAIN;
}

static void do_read(struct run *run, const struct av_insn *insn)
{
	struct vapic_result r = read(run, VAPIC_DATA, insn->at, insn->size, &run->value);

	cover(run, AV_READ, reg_of(insn->at), memory_outcome(run, r));
	if (!exits(run, r))
		next(run);
}

/* The page has what was written: the end of the instruction, and what follows it. `more`: of a REP. */
static void written(struct run *run, u32 offset, struct vapic_result r, bool more)
{
	if (r.action == VAPIC_BEFORE) {
		cover(run, AV_WRITE, reg_of(offset), memory_outcome(run, r));
		exits(run, r);
		return;
	}
	run->state->interruptibility &= ~SHADOWS;
	r = vapic_emulate_write(&run->vapic);
	cover(run, AV_WRITE, reg_of(offset), memory_outcome(run, r));
	if (!more)
		next(run);
	exits(run, r);
}

static void do_write(struct run *run, const struct av_insn *insn)
{
	u64 value = insn->value, old = 0;
	struct vapic_result r;

	if (insn->kind == AV_MODIFY) {
		r = read(run, run->op->quirks & AV_MODIFY_READS ? VAPIC_DATA : VAPIC_MODIFY,
		         insn->at, insn->size, &old);
		if (exits(run, r)) {
			cover(run, AV_WRITE, reg_of(insn->at), outcome_of(r));
			return;
		}
		value |= old;
	}
	r = write(run, VAPIC_DATA, insn->at, insn->size, value & mask_of(insn->size));
	written(run, insn->at, r, false);
}

static void do_move(struct run *run, const struct av_insn *insn)
{
	struct vapic_result r = read(run, VAPIC_DATA, insn->at, DWORD, &run->value);

	cover(run, AV_READ, reg_of(insn->at), memory_outcome(run, r));
	if (!exits(run, r))
		written(run, insn->to, write(run, VAPIC_DATA, insn->to, DWORD, run->value), false);
}

static void do_stores(struct run *run, const struct av_insn *insn)
{
	u32 offset = insn->at + DWORD * run->stored;
	struct vapic_result r = write(run, VAPIC_DATA, offset, DWORD, (u32)insn->value);

	if (r.action != VAPIC_BEFORE)
		run->stored++;
	written(run, offset, r, run->stored != 2);
	if (run->stored == 2)
		run->stored = 0;
}

/* --- registers --- */

bool av_msr_passes(u32 controls, u32 msr, bool write)
{
	if (controls & AV_MSRS || !(controls & AV_X2))
		return false;
	if (msr == MSR_X2APIC_FIRST + APIC_TPR / VAPIC_STRIDE)
		return true;
	if (!write)
		return controls & AV_REGS;
	return controls & AV_VID && (msr == MSR_X2APIC_EOI || msr == MSR_X2APIC_SELF);
}

static void do_msr(struct run *run, const struct av_insn *insn)
{
	bool writes = insn->kind == AV_WRMSR;
	u32 reg = reg_of((insn->at - MSR_X2APIC_FIRST) * VAPIC_STRIDE), eoi_high;
	struct vapic_result r;

	if (!av_msr_passes(run->op->controls, insn->at, writes)) {
		cover(run, insn->kind, reg, AV_INTERCEPTED);
		leave(run, writes ? VMX_EXIT_WRMSR : VMX_EXIT_RDMSR, 0);
		return;
	}
	memcpy(&eoi_high, run->vapic.page + APIC_EOI + DWORD, DWORD);
	r = writes ? vapic_msr_write(&run->vapic, insn->at, insn->value)
	           : vapic_msr_read(&run->vapic, insn->at, &run->value);
	if (run->op->quirks & AV_EOI_HALF && r.action != VAPIC_GP)
		memcpy(run->vapic.page + APIC_EOI + DWORD, &eoi_high, DWORD);
	ASSERT(r.action != VAPIC_ORDINARY);
	cover(run, insn->kind, reg, outcome_of(r));
	if (r.action != VAPIC_GP && r.action != VAPIC_BEFORE) {
		run->state->interruptibility &= ~SHADOWS;
		next(run);
	}
	exits(run, r);
}

static void do_cr8(struct run *run, const struct av_insn *insn)
{
	bool writes = insn->kind == AV_TO_CR8;
	struct vapic_result r;

	if (run->op->controls & (writes ? AV_CR8_LOAD : AV_CR8_STORE)) {
		cover(run, insn->kind, 0, AV_INTERCEPTED);
		leave(run, VMX_EXIT_CR, 8 | (writes ? CR_TO : CR_FROM));
		return;
	}
	r = writes ? vapic_write_cr8(&run->vapic, insn->value)
	           : vapic_read_cr8(&run->vapic, &run->value);
	ASSERT(r.action != VAPIC_ORDINARY);
	cover(run, insn->kind, 0, outcome_of(r));
	if (r.action != VAPIC_GP) {
		run->state->interruptibility &= ~SHADOWS;
		next(run);
	}
	exits(run, r);
}

/* --- instructions --- */

static void do_return(struct run *run)
{
	run->at = run->back;
	run->state->open = run->back_open;
	run->state->interruptibility &= ~VMX_BLOCKED_NMI;
}

/* True: the instruction is what comes next is in the shadow of. */
static bool do_other(struct run *run, const struct av_step *step)
{
	struct av_state *state = run->state;
	bool shadows = false;

	switch (step->kind) {
	case AV_KEEP:
		state->results[step->insn] = run->value;
		break;
	case AV_LOG:
		if (state->logged < AV_LOGGED)
			state->log[state->logged] = run->vector;
		state->logged++;
		break;
	case AV_STI:
		shadows = !state->open;
		state->open = true;
		break;
	case AV_CLI:
		state->open = false;
		break;
	case AV_HALT:
		if (run->op->controls & AV_HLT) {
			leave(run, VMX_EXIT_HLT, 0);
			return false;
		}
		state->activity = VMX_HALTED;
		break;
	case AV_RETURN:
		do_return(run);
		return false;
	case AV_CALL:
		leave(run, VMX_EXIT_VMCALL, 0);
		return false;
	default:
		break;
	}
	next(run);
	return shadows;
}

static void execute(struct run *run)
{
	static const struct av_insn eoi_page = {AV_WRITE, DWORD, APIC_EOI, 0, 0};
	static const struct av_insn eoi_msr = {AV_WRMSR, 0, MSR_X2APIC_EOI, 0, 0};
	const struct av_step *step = &run->code->step[run->at];
	const struct av_insn *insn = step->insn < AV_INSNS    ? &run->op->insn[step->insn]
	                             : step->kind == AV_WRITE ? &eoi_page
	                                                      : &eoi_msr;
	bool shadows = false;

	switch (step->kind) {
	case AV_READ:
		do_read(run, insn);
		break;
	case AV_WRITE:
	case AV_MODIFY:
		do_write(run, insn);
		break;
	case AV_MOVE:
		do_move(run, insn);
		break;
	case AV_STORES:
		do_stores(run, insn);
		break;
	case AV_RDMSR:
	case AV_WRMSR:
		do_msr(run, insn);
		break;
	case AV_FROM_CR8:
	case AV_TO_CR8:
		do_cr8(run, insn);
		break;
	default:
		shadows = do_other(run, step);
		break;
	}
	if (!run->left)
		run->state->interruptibility =
		        (run->state->interruptibility & ~SHADOWS) | (shadows ? VMX_BLOCKED_STI : 0);
}

/* --- events --- */

/* The first that is pushed is SS. False: that exits. */
static bool deliver(struct run *run, u8 vector, u32 idt_info, u32 advance)
{
	if (run->op->stack) {
		struct vapic_result r =
		        vapic_page_write(&run->vapic, VAPIC_EVENT, run->op->stack - 8u, 8, 0);

		run->state->idt_info = run->op->quirks & AV_IDT_STALE && !run->op->entry_info
		                               ? AV_ANY_EVENT
		                               : idt_info;
		exits(run, r);
		return false;
	}
	run->vector = vector;
	run->back = run->at + advance;
	run->back_open = run->state->open;
	run->state->open = false;
	run->state->interruptibility &= ~SHADOWS;
	run->state->activity = VMX_ACTIVE;
	run->in_stub = true;
	while (run->code->step[run->at].kind != AV_LOG)
		run->at++;
	run->at--;
	return true;
}

static void inject(struct run *run)
{
	u32 info = run->op->entry_info, type = info & VMX_EVENT_TYPE;

	run->state->activity = VMX_ACTIVE;
	run->state->interruptibility &= ~SHADOWS;
	if (type == VMX_EVENT_NMI)
		run->state->interruptibility |= VMX_BLOCKED_NMI;
	deliver(run, (u8)info, info, type == VMX_EVENT_SOFTWARE);
}

/* What comes before the next instruction. */
static void boundary(struct run *run)
{
	struct av_state *state = run->state;
	bool sleeps = run->op->quirks & AV_SLEEPS_ON && state->activity == VMX_HALTED;
	bool open = state->open && !(state->interruptibility & SHADOWS) && !sleeps;

	if (run->op->controls & AV_NMI_WINDOW &&
	    !(state->interruptibility & (VMX_BLOCKED_NMI | VMX_BLOCKED_SS))) {
		if (run->op->quirks & AV_WAKES_FIRST)
			state->activity = VMX_ACTIVE;
		leave(run, VMX_EXIT_NMI_WINDOW, 0);
	} else if (run->op->controls & AV_INTR_WINDOW && open) {
		leave(run, VMX_EXIT_INTR_WINDOW, 0);
	} else if (vapic_can_deliver(&run->vapic, open)) {
		u8 vector = vapic_deliver(&run->vapic);

		state->activity = VMX_ACTIVE;
		deliver(run, vector, VMX_EVENT_VALID | VMX_EVENT_EXTERNAL | vector, 0);
	} else if (state->activity == VMX_HALTED) {
		leave(run, VMX_EXIT_PREEMPTION_TIMER, 0);
	}
}

static void enter(struct run *run, u32 switches, u8 *page)
{
	const struct av_op *op = run->op;
	u32 ppr;

	run->vapic = (struct vapic){
	        .page = page,
	        .tpr_shadow = op->controls & AV_SHADOW,
	        .x2apic = op->controls & AV_X2,
	        .apic_registers = op->controls & AV_REGS,
	        .vid = op->controls & AV_VID,
	        .intr_window = op->controls & AV_INTR_WINDOW,
	        .threshold = op->threshold,
	        .switches = switches,
	};
	memcpy(run->vapic.eoi_exit, op->eoi_exit, sizeof(op->eoi_exit));
	memcpy(&ppr, page + APIC_PPR, DWORD);
	vapic_enter(&run->vapic, op->status);
	if (op->entry_info)
		inject(run);
	if (run->left && op->quirks & AV_PPR_LATE)
		memcpy(page + APIC_PPR, &ppr, DWORD);
	if (!run->left && op->controls & AV_ACCESS && vapic_is_below_threshold(&run->vapic))
		leave(run, VMX_EXIT_TPR_BELOW_THRESHOLD, 0);
}

void av_expect(const struct av_op *op, const struct av_memory *memory, const struct av_code *code,
               u32 switches, u8 *page, u8 *plain, struct av_state *state)
{
	struct run run = {.op = op, .memory = memory, .code = code, .state = state, .plain = plain};

	*state = (struct av_state){
	        .open = op->open,
	        .interruptibility =
	                op->interruptibility | (op->quirks & AV_NMI_STICKS ? op->nmi_blocked : 0),
	        .activity = op->activity,
	};
	for (u32 i = 0; i < AV_INSNS; i++)
		state->results[i] = AV_POISON;
	enter(&run, switches, page);
	while (!run.left) {
		boundary(&run);
		if (run.left)
			break;
		if (run.in_stub) {
			run.in_stub = false;
			run.state->interruptibility &= ~SHADOWS;
		} else {
			execute(&run);
		}
	}
	av_cover_exit(op->set, state->reason);
}
