/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A debugger, seen from a vCPU's own processor: stop and go, its state, guest memory, breakpoints, the
 * single step. See core/debugger.h.
 *
 * - Breakpoint: INT3 in guest memory, in place of a byte that is kept. #BP is intercepted as long as there
 *   are any; its exit leaves RIP at the INT3 (APM volume 2, "Exception Intercepts"), where the vCPU stands
 *   until the debugger has taken it away. What a debugger reads does not show it.
 * - An INT3 of the guest's own, or INT n where that exits, is delivered as the software interrupt that it
 *   is, with RIP behind it.
 * - Step: one entry with RFLAGS.TF, or as many as it takes until an instruction has been executed, by the
 *   processor or by emulation, or an event delivered. An event is delivered by an entry of its own without
 *   TF, that leaves at once (requirement S4), so that no TF of ours is saved with the guest's flags: such
 *   a step ends before the handler's first instruction.
 * - Instructions that make TF visible in other ways are looked at before: PUSHF and SYSCALL save it, POPF,
 *   IRET and SYSRET load it (APM volume 3, their descriptions), and put right afterwards.
 * - A vCPU that halts has nothing to step: it sleeps on, and its interrupts are not kept from it. One that
 *   waits for its start-up is where it was.
 */
#include "core/debugger.h"
#include "core/emulate.h"
#include "core/machine.h"
#include "postern/port.h"
#include "postern/string.h"
#include "x86/regs.h"

#define INT3        0xcc
#define INSN_MAX    15
#define MXCSR_AT    24 /* in what FXSAVE stores */
#define MXCSR_MASK  28
#define MXCSR_USUAL 0xffbfu /* where the mask reads 0 */
#define FX_KEPT     416     /* behind x87 and SSE registers: reserved, or the system's */
#define XSTATE_BV   512
#define FLAGS_TAKEN 0x240fd5ull /* CF PF AF ZF SF TF IF DF OF, AC, ID */

/* --- guest memory as the debugger sees it --- */

/* As the vCPU translates, whatever its page tables permit. */
static void look(struct vcpu *vcpu, struct mmu_view *view, struct vcpu_state *state)
{
	backend_op(get_state)(vcpu, state);
	mmu_view_init(view, vcpu, state);
	view->smep = view->smap = view->write_protect = false;
}

/* The byte of guest memory at `linear`; NULL: not mapped, or no memory. */
static u8 *byte_at(const struct mmu_view *view, u64 linear, gpa_t *gpa)
{
	u32 error;

	if (mmu_view_walk(view, GVA(linear), 0, gpa, &error) != MMU_WALK_OK)
		return NULL;
	return vm_memory(view->vm, *gpa, 1);
}

static struct debugger_break *breakpoint_at(struct vm *vm, u64 gpa)
{
	struct debugger *d = &vm->debugger;

	for (u32 i = 0; d->breakpoints && i < DEBUG_BREAKPOINTS; i++)
		if (d->breakpoint[i].used && d->breakpoint[i].gpa == gpa)
			return &d->breakpoint[i];
	return NULL;
}

static u32 read_bytes(const struct mmu_view *view, u64 linear, u8 *to, u32 count)
{
	for (u32 i = 0; i < count; i++) {
		const struct debugger_break *here;
		gpa_t gpa;
		const u8 *from = byte_at(view, linear + i, &gpa);

		if (!from)
			return i;
		here = breakpoint_at(view->vm, gpa.v);
		to[i] = here && *from == INT3 ? here->original : *from;
	}
	return count;
}

/* Two breakpoints at one byte, by different linear addresses, share what it was. */
static void write_byte(struct vm *vm, u8 *to, u64 gpa, u8 value)
{
	struct debugger *d = &vm->debugger;

	if (!breakpoint_at(vm, gpa) || *to != INT3) {
		*to = value;
		return;
	}
	for (u32 i = 0; i < DEBUG_BREAKPOINTS; i++)
		if (d->breakpoint[i].used && d->breakpoint[i].gpa == gpa)
			d->breakpoint[i].original = value;
}

static bool write_bytes(const struct mmu_view *view, u64 linear, const u8 *from, u32 count)
{
	gpa_t gpa;

	for (u32 i = 0; i < count; i++)
		if (!byte_at(view, linear + i, &gpa))
			return false;
	for (u32 i = 0; i < count; i++)
		write_byte(view->vm, byte_at(view, linear + i, &gpa), gpa.v, from[i]);
	return true;
}

/* --- breakpoints --- */

static enum debug_result plant(struct vcpu *vcpu, const struct mmu_view *view, u64 linear)
{
	struct debugger *d = &vcpu->vm->debugger;
	struct debugger_break *shared, *free = NULL;
	gpa_t gpa;
	u8 *byte = byte_at(view, linear, &gpa);

	if (!byte)
		return DEBUG_FAULT;
	for (u32 i = 0; i < DEBUG_BREAKPOINTS; i++) {
		struct debugger_break *at = &d->breakpoint[i];

		if (at->used && at->linear == linear && at->gpa == gpa.v)
			return DEBUG_OK;
		if (!at->used && !free)
			free = at;
	}
	if (!free)
		return DEBUG_FULL;
	shared = breakpoint_at(vcpu->vm, gpa.v);
	*free = (struct debugger_break){.used = true,
	                                .original = shared ? shared->original : *byte,
	                                .linear = linear,
	                                .gpa = gpa.v};
	d->breakpoints++;
	*byte = INT3;
	return DEBUG_OK;
}

/* By the linear address alone: the guest may have mapped something else there meanwhile. */
static enum debug_result unplant(struct vcpu *vcpu, u64 linear)
{
	struct debugger *d = &vcpu->vm->debugger;

	for (u32 i = 0; i < DEBUG_BREAKPOINTS; i++) {
		struct debugger_break *at = &d->breakpoint[i];
		u8 *byte;

		if (!at->used || at->linear != linear)
			continue;
		at->used = false;
		d->breakpoints--;
		byte = vm_memory(vcpu->vm, GPA(at->gpa), 1);
		/* The guest may have put something else there, too. */
		if (byte && *byte == INT3 && !breakpoint_at(vcpu->vm, at->gpa))
			*byte = at->original;
	}
	return DEBUG_OK;
}

/* --- registers --- */

/* The FPU's are in the processor while the vCPU is loaded, and in vcpu->fpu between these two. */
static void unload_fpu(struct vcpu *vcpu)
{
	backend_op(vcpu_put)(vcpu);
}

static void load_fpu(struct vcpu *vcpu)
{
	backend_op(vcpu_load)(vcpu, this_cpu());
}

static void read_regs(struct vcpu *vcpu, const struct vcpu_state *state, struct debug_regs *regs)
{
	const struct vcpu_regs *from = &vcpu->regs;

	memset(regs, 0, sizeof(*regs));
	for (u32 i = 0; i < GPR_COUNT; i++)
		regs->gpr[i] = from->gpr[i];
	regs->rip = from->rip;
	regs->rflags = from->rflags;
	for (u32 i = 0; i < DEBUG_SEGMENTS; i++) {
		regs->selector[i] = state->seg[i].selector;
		regs->base[i] = state->seg[i].base;
	}
	regs->cr0 = state->cr0;
	regs->cr2 = state->cr2;
	regs->cr3 = state->cr3;
	regs->cr4 = state->cr4;
	regs->cr8 = lapic_cr8(vcpu);
	regs->efer = state->efer;
	regs->cpl = state->cpl;
	regs->code_size = (u8)emulate_code_mode(vcpu);
	regs->activity = vcpu->debugger.activity;
	unload_fpu(vcpu);
	memcpy(regs->fx, vcpu->fpu, DEBUG_FX_SIZE);
	load_fpu(vcpu);
}

/* MXCSR with a bit that the processor does not have would be a fault of the hypervisor's own. */
static u32 mxcsr(const struct vcpu *vcpu, const u8 *fx)
{
	u32 value, mask;

	memcpy(&value, fx + MXCSR_AT, sizeof(value));
	memcpy(&mask, vcpu->fpu + MXCSR_MASK, sizeof(mask));
	return value & (mask ? mask & 0xffff : MXCSR_USUAL);
}

static void write_fpu(struct vcpu *vcpu, const u8 *fx)
{
	u64 components;
	u32 checked;

	unload_fpu(vcpu);
	checked = mxcsr(vcpu, fx);
	memcpy(vcpu->fpu, fx, MXCSR_AT);
	memcpy(vcpu->fpu + MXCSR_AT, &checked, sizeof(checked));
	memcpy(vcpu->fpu + MXCSR_MASK + 4, fx + MXCSR_MASK + 4, FX_KEPT - MXCSR_MASK - 4);
	if (vcpu->vm->machine->xcr0_supported) {
		memcpy(&components, vcpu->fpu + XSTATE_BV, sizeof(components));
		components |= XCR0_X87 | XCR0_SSE;
		memcpy(vcpu->fpu + XSTATE_BV, &components, sizeof(components));
	}
	load_fpu(vcpu);
}

/* What makes a state that a processor refuses, or does without saying how, is not taken over. */
static void write_regs(struct vcpu *vcpu, const struct debug_regs *regs)
{
	struct vcpu_regs *to = &vcpu->regs;

	for (u32 i = 0; i < GPR_COUNT; i++)
		to->gpr[i] = regs->gpr[i];
	to->rip = emulate_code_mode(vcpu) == 8 ? regs->rip : regs->rip & 0xffffffff;
	to->rflags = (to->rflags & ~FLAGS_TAKEN) | (regs->rflags & FLAGS_TAKEN);
	write_fpu(vcpu, regs->fx);
}

/* --- requests --- */

void debugger_execute(struct vcpu *vcpu)
{
	struct debugger *d = &vcpu->vm->debugger;
	const struct debug_request *request = &d->request;
	struct debug_regs regs;
	struct vcpu_state state;
	struct mmu_view view;

	look(vcpu, &view, &state);
	switch (request->op) {
	case DEBUG_READ_REGS:
		read_regs(vcpu, &state, &regs);
		memcpy(d->data, &regs, sizeof(regs));
		d->answer_length = sizeof(regs);
		break;
	case DEBUG_WRITE_REGS:
		memcpy(&regs, d->data, sizeof(regs));
		write_regs(vcpu, &regs);
		break;
	case DEBUG_READ:
		d->answer_length = read_bytes(&view, request->address, d->data, request->count);
		if (!d->answer_length && request->count)
			d->answer.result = DEBUG_FAULT;
		break;
	case DEBUG_WRITE:
		if (!write_bytes(&view, request->address, d->data, request->length))
			d->answer.result = DEBUG_FAULT;
		break;
	case DEBUG_PLANT:
		d->answer.result = (u8)plant(vcpu, &view, request->address);
		break;
	default:
		d->answer.result = (u8)unplant(vcpu, request->address);
		break;
	}
}

/* --- stop and go --- */

static void park(struct vcpu *vcpu)
{
	struct debugger_vcpu *dv = &vcpu->debugger;

	if (dv->state == DEBUGGER_PARKED)
		return;
	if (dv->state == DEBUGGER_RUNS) {
		dv->activity = (u8)vcpu->activity;
		vcpu->activity = VCPU_STOPPED;
	}
	dv->state = DEBUGGER_PARKED;
	atomic32_fetch_add(&vcpu->vm->debugger.parked, 1);
}

static void go(struct vcpu *vcpu, u32 action)
{
	struct debugger_vcpu *dv = &vcpu->debugger;

	backend_op(debug)(vcpu,
	                  vcpu->vm->debugger.breakpoints ? BACKEND_TRAPS_ON : BACKEND_TRAPS_OFF);
	dv->how = (u8)action;
	if ((action & DEBUG_ACTION_MASK) == DEBUG_STEP) {
		dv->state = DEBUGGER_STEPS;
		return;
	}
	dv->state = DEBUGGER_RUNS;
	vcpu->activity = dv->activity;
	/* Nobody needs to be woken for these: they are its own. */
	atomic32_fetch_or(&vcpu->requests, dv->deferred);
	dv->deferred = 0;
}

/* This vCPU stops all. The first of several is the one that is told of. */
static void stop_all(struct vcpu *self, enum debug_reason reason)
{
	struct debugger *d = &self->vm->debugger;
	struct vcpu *vcpu;

	atomic32_cmpxchg(&d->trigger, 0, self->index << 8 | reason);
	atomic32_set(&d->stop, 1);
	for_each_vcpu (vcpu, self->vm)
		if (vcpu != self)
			vcpu_request(vcpu, VCPU_REQUEST_DEBUG);
	park(self);
}

void debugger_attend(struct vcpu *vcpu)
{
	struct debugger *d = &vcpu->vm->debugger;
	u32 action;

	if (atomic32_read_acquire(&d->job) == vcpu->index + 1) {
		debugger_execute(vcpu);
		atomic32_set(&d->job, DEBUGGER_JOB_DONE);
	}
	action = atomic32_xchg(&vcpu->debugger.action, 0);
	if (action)
		go(vcpu, action);
	if (atomic32_read(&d->stop))
		park(vcpu);
}

bool debugger_defers(struct vcpu *vcpu, u32 request)
{
	struct debugger_vcpu *dv = &vcpu->debugger;

	if (request == VCPU_REQUEST_TIMER &&
	    (dv->state != DEBUGGER_STEPS || !(dv->how & DEBUG_STEP_NOTIMER)))
		return false;
	dv->deferred |= request;
	return true;
}

/* --- the guest's own INT3 --- */

static u32 code_bytes(struct vcpu *vcpu, u8 bytes[INSN_MAX], u64 *linear)
{
	struct vcpu_state state;
	struct mmu_view view;

	look(vcpu, &view, &state);
	*linear = vcpu->regs.rip;
	if (emulate_code_mode(vcpu) != 8)
		*linear = (state.seg[SEG_CS].base + (u32)vcpu->regs.rip) & 0xffffffff;
	return read_bytes(&view, *linear, bytes, INSN_MAX);
}

static bool is_prefix(u8 byte, u32 mode)
{
	static const u8 prefixes[] = {0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x2e,
	                              0x36, 0x3e, 0x26, 0x64, 0x65};

	for (u32 i = 0; i < sizeof(prefixes); i++)
		if (byte == prefixes[i])
			return true;
	return mode == 8 && (byte & 0xf0) == 0x40;
}

/* Where the opcode stands. */
static u32 prefix_length(const u8 *bytes, u32 count, u32 mode)
{
	u32 at = 0;

	while (at < count && is_prefix(bytes[at], mode))
		at++;
	return at;
}

static bool is_planted(struct vcpu *vcpu, u64 linear)
{
	struct vcpu_state state;
	struct mmu_view view;
	gpa_t gpa;
	const u8 *byte;

	look(vcpu, &view, &state);
	byte = byte_at(&view, linear, &gpa);
	return byte && *byte == INT3 && breakpoint_at(vcpu->vm, gpa.v);
}

void debugger_software_int(struct vcpu *vcpu)
{
	u32 mode = emulate_code_mode(vcpu);
	u8 bytes[INSN_MAX], vector;
	u64 linear, rip;
	u32 count = code_bytes(vcpu, bytes, &linear);
	u32 at = prefix_length(bytes, count, mode);

	if (is_planted(vcpu, linear)) {
		stop_all(vcpu, DEBUG_REASON_BREAKPOINT);
		return;
	}
	if (at < count && bytes[at] == INT3) {
		vector = VECTOR_BP;
		rip = vcpu->regs.rip + at + 1;
	} else if (at + 1 < count && bytes[at] == 0xcd) {
		vector = bytes[at + 1];
		rip = vcpu->regs.rip + at + 2;
	} else {
		return; /* it has changed since: execute what is there now */
	}
	vcpu->regs.rip = mode == 8 ? rip : rip & 0xffffffff;
	vcpu->regs.rflags &= ~RFLAGS_RF;
	vcpu->intr.exception =
	        (struct intr_event){.vector = vector, .type = INTR_TYPE_SOFTWARE, .valid = true};
}

/* --- the step --- */

bool debugger_steps(struct vcpu *vcpu)
{
	struct debugger_vcpu *dv = &vcpu->debugger;

	if (vcpu->activity != VCPU_STOPPED || dv->state != DEBUGGER_STEPS)
		return false;
	if (dv->activity == VCPU_WAIT_FOR_SIPI) {
		stop_all(vcpu, DEBUG_REASON_STEP);
		return false;
	}
	if (dv->activity == VCPU_HALTED) {
		if (!intr_has_deliverable(vcpu))
			return false;
		dv->how &= (u8)~DEBUG_STEP_NOIRQ;
	}
	vcpu->activity = VCPU_ACTIVE;
	return true;
}

/* What the instruction at RIP does with RFLAGS, and how it is to be stepped therefore. */
static enum backend_debug classify(struct vcpu *vcpu)
{
	struct debugger_vcpu *dv = &vcpu->debugger;
	u8 bytes[INSN_MAX];
	u64 linear;
	u32 count = code_bytes(vcpu, bytes, &linear);
	u32 at = prefix_length(bytes, count, emulate_code_mode(vcpu));
	u8 opcode = at < count ? bytes[at] : 0;
	u8 second = at + 1 < count ? bytes[at + 1] : 0;

	dv->guest_tf = vcpu->regs.rflags & RFLAGS_TF;
	dv->pushes = opcode == 0x9c;
	dv->saves = opcode == 0x0f && second == 0x05;
	if (dv->saves)
		return BACKEND_STEP_SYSCALL;
	if (opcode == 0x0f && second == 0x07)
		return BACKEND_STEP_SYSRET;
	return opcode == 0x9d || opcode == 0xcf ? BACKEND_STEP_FLAGS : BACKEND_STEP;
}

bool debugger_prepare(struct vcpu *vcpu)
{
	struct debugger_vcpu *dv = &vcpu->debugger;
	bool kept = dv->how & DEBUG_STEP_NOIRQ;
	bool force = intr_prepare_step(vcpu, kept ? INTR_BLOCK_DEBUG : INTR_BLOCK_NONE);

	for (u32 i = 0; i < GPR_COUNT; i++)
		dv->before[i] = vcpu->regs.gpr[i];
	dv->before[GPR_COUNT] = vcpu->regs.rip;
	dv->pushes = dv->saves = false;
	dv->injects = backend_op(intr_blocked)(vcpu, INTR_CLASS_EXCEPTION) == INTR_BLOCK_SLOT;
	if (dv->injects)
		return true;
	backend_op(debug)(vcpu, classify(vcpu));
	return force;
}

static bool has_moved(const struct vcpu *vcpu)
{
	const struct debugger_vcpu *dv = &vcpu->debugger;

	for (u32 i = 0; i < GPR_COUNT; i++)
		if (dv->before[i] != vcpu->regs.gpr[i])
			return true;
	return dv->before[GPR_COUNT] != vcpu->regs.rip || vcpu->activity != VCPU_ACTIVE;
}

/* The stepped instruction has been executed by the processor: no TF of ours remains anywhere. */
static void put_right(struct vcpu *vcpu)
{
	const struct debugger_vcpu *dv = &vcpu->debugger;
	struct vcpu_state state;
	struct mmu_view view;
	u64 linear;
	u8 byte;

	if (dv->guest_tf)
		return;
	if (dv->saves)
		vcpu->regs.gpr[GPR_R11] &= ~RFLAGS_TF;
	if (!dv->pushes)
		return;
	look(vcpu, &view, &state);
	linear = vcpu->regs.gpr[GPR_RSP] + 1; /* of the flags' second byte */
	if (emulate_code_mode(vcpu) != 8) {
		bool big = state.seg[SEG_SS].attr & SEG_ATTR_DB;

		linear = big ? (u32)linear : (u16)linear;
		linear = (u32)(linear + state.seg[SEG_SS].base);
	}
	if (read_bytes(&view, linear, &byte, 1)) {
		byte &= (u8) ~(RFLAGS_TF >> 8);
		write_bytes(&view, linear, &byte, 1);
	}
}

/* Of the entry that has been: has it made the step complete? */
static bool is_complete(struct vcpu *vcpu, bool executed)
{
	const struct intr_state *intr = &vcpu->intr;

	if (vcpu->debugger.injects)
		return !intr->again.valid &&
		       backend_op(intr_blocked)(vcpu, INTR_CLASS_EXCEPTION) != INTR_BLOCK_SLOT;
	if (executed)
		return true;
	/* Emulation raised an exception, which is delivered first, or a trap behind the instruction. */
	if (intr->again.valid || (intr->exception.valid && intr->exception.vector != VECTOR_DB))
		return false;
	return has_moved(vcpu);
}

void debugger_after(struct vcpu *vcpu, bool entered)
{
	struct debugger_vcpu *dv = &vcpu->debugger;
	bool executed = backend_op(debug)(vcpu, BACKEND_STEP_END);

	if (executed)
		put_right(vcpu);
	/* INIT is not taken meanwhile, so this is HLT's doing or nobody's. */
	if (vcpu->activity != VCPU_STOPPED) {
		bool complete = entered && is_complete(vcpu, executed);

		dv->activity = (u8)vcpu->activity;
		vcpu->activity = VCPU_STOPPED;
		if (complete)
			stop_all(vcpu, DEBUG_REASON_STEP);
	}
}
