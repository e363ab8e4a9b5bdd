/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The script engine: which script a VMRUN continues, event frames, and the hand-over between a
 * processor and the script's coroutine.
 *
 * This file and the scripts are never instrumented by ThreadSanitizer: its notion of a call stack
 * does not survive a coroutine that continues on another thread. What they share with the
 * processors is handed over by the hypervisor's own hand-over of the vCPU, which is instrumented.
 */
#include "cpu_model/guest.h"
#include "cpu_model/virt.h"
#include "postern/port.h"

#include <pthread.h>

#define GUEST_STACK   (192u << 10)
#define OPCODE_NOP    0x90
#define OPCODE_INT3   0xcc
#define LONGEST_AHEAD 3u /* bytes */

static char stacks[GUEST_COUNT][GUEST_STACK] __aligned(64);
static pthread_mutex_t find_lock = PTHREAD_MUTEX_INITIALIZER;
/* Read by guest_self() only, which never switches. */
static __thread struct model_guest *current;

__attribute__((noinline)) struct model_guest *guest_self(void)
{
	struct model_guest *g = current;

	if (!g)
		port_panic("an operation of a script outside of a script");
	return g;
}

void guest_bind(u64 entry, guest_script script, void *arg)
{
	struct guest_engine *engine = guest_engine();

	ASSERT(engine->bindings < GUEST_BINDINGS);
	engine->binding[engine->bindings].entry = entry;
	engine->binding[engine->bindings].script = script;
	engine->binding[engine->bindings++].arg = arg;
}

void g_set_handler(u8 vector, guest_handler handler)
{
	__atomic_store_n(&guest_engine()->handler[vector], handler, __ATOMIC_RELEASE);
}

static guest_handler get_handler(u8 vector)
{
	return __atomic_load_n(&guest_engine()->handler[vector], __ATOMIC_ACQUIRE);
}

struct model_guest *guest_find(u64 key)
{
	struct guest_engine *engine = guest_engine();
	struct model_guest *g = NULL;

	pthread_mutex_lock(&find_lock);
	for (u32 i = 0; i < engine->count && !g; i++)
		if (engine->guest[i].key == key)
			g = &engine->guest[i];
	if (!g && engine->count < GUEST_COUNT) {
		g = &engine->guest[engine->count];
		g->key = key;
		g->index = engine->count++;
		g->code = GUEST_CODE + (u64)g->index * GUEST_CODE_SIZE;
	}
	pthread_mutex_unlock(&find_lock);
	if (!g)
		port_panic("more guests than the script engine has room for");
	return g;
}

/* --- on the script's coroutine --- */

static void give_back(struct model_guest *g)
{
	coro_switch(g->processor);
}

/* The frame on top: its handler, then IRET. `insn` is what it interrupted at this level, if any. */
static void run_handler(struct model_guest *g, struct guest_insn *insn)
{
	struct guest_frame *frame = &g->frame[g->depth - 1];
	struct guest_insn iret = {.op = OP_IRET, .length = 2, .bytes = {0x48, 0xcf}};
	guest_handler handler = get_handler(frame->vector);

	if (frame->exception && insn && insn->catch_faults && frame->insn == insn) {
		/* What an exception table does: go on behind the instruction. */
		insn->fault = frame->vector;
		insn->done = true;
		frame->rip += insn->length;
	} else if (handler) {
		handler(frame->vector, frame->error);
	} else {
		port_panic("script: no handler for vector %u any more", frame->vector);
	}
	guest_execute(g, &iret);
	/* The next event may have taken this frame's place already: run_handlers() looks again. */
}

/* Execute what has been delivered beyond `depth`. */
static void run_handlers(struct model_guest *g, u32 depth, struct guest_insn *insn)
{
	while (g->depth > depth)
		run_handler(g, g->depth == depth + 1 ? insn : NULL);
}

static u8 *code_at(struct model_guest *g, u64 linear)
{
	struct model_walk walk;

	walk = model_virt()->walk(g->cpu, GPA(linear), MODEL_EXEC);
	if (!walk.ok)
		return NULL; /* the fetch will fault */
	return (u8 *)hpa_to_ptr(HPA(walk.frame << 12)) + (linear & ~PAGE_MASK);
}

/* The script's own are of one use, so that any other in its code is somebody's breakpoint. */
static void forget_int3(struct model_guest *g)
{
	u8 *p = g->int3 ? code_at(g, g->int3) : NULL;

	if (p)
		__atomic_store_n(p, OPCODE_NOP, __ATOMIC_RELAXED);
	g->int3 = 0;
}

static void lay_at(struct model_guest *g, const struct guest_insn *insn, u64 linear, u8 *p)
{
	g->unlaid = !p;
	if (!p)
		return;
	if (insn->bytes[0] == OPCODE_INT3)
		g->int3 = linear;
	/* A breakpoint stays where it is. */
	for (u32 i = __atomic_load_n(p, __ATOMIC_RELAXED) == OPCODE_INT3;
	     i < insn->length + insn->ahead; i++)
		__atomic_store_n(&p[i], insn->bytes[i], __ATOMIC_RELAXED);
	/* Nor is what stood here before taken for the next one. */
	for (u32 i = insn->length; !insn->ahead && i < insn->length + LONGEST_AHEAD; i++)
		if (__atomic_load_n(&p[i], __ATOMIC_RELAXED) != OPCODE_INT3)
			__atomic_store_n(&p[i], OPCODE_NOP, __ATOMIC_RELAXED);
}

static void lay(struct model_guest *g, const struct guest_insn *insn)
{
	u64 linear = g->cpu->regs.cs.base + g->cpu->regs.rip;

	forget_int3(g);
	lay_at(g, insn, linear, code_at(g, linear));
}

bool guest_is_planted(struct model_guest *g, u8 *p)
{
	const struct guest_insn *insn = g->insn;
	u8 byte;

	/* Its page was not mapped then. */
	if (g->unlaid)
		lay_at(g, insn, g->cpu->regs.cs.base + g->cpu->regs.rip, p);
	byte = __atomic_load_n(p, __ATOMIC_RELAXED);
	if (byte == insn->bytes[0])
		return false;
	if (byte == OPCODE_INT3)
		return true;
	lay(g, insn);
	return false;
}

void guest_execute(struct model_guest *g, struct guest_insn *insn)
{
	u32 depth = g->depth;
	struct model_regs *regs = &g->cpu->regs;

	/* A straight line of instructions starts over before its page ends. */
	if ((regs->rip & ~PAGE_MASK) > PAGE_SIZE - 64)
		regs->rip &= PAGE_MASK;
	lay(g, insn);
	for (;;) {
		g->insn = insn;
		give_back(g);
		run_handlers(g, depth, insn);
		/* The IRET of a handler has left its own popped frame behind. */
		if (insn->done)
			return;
	}
}

static void script_main(void *arg)
{
	struct model_guest *g = arg;
	struct guest_insn jump = {.op = OP_FAR_JUMP, .length = 2, .bytes = {0xff, 0x2b}};

	run_handlers(g, 0, NULL);
	guest_execute(g, &jump);
	if (!(g->cpu->regs.efer & EFER_LMA))
		g_long_mode();
	g->script(g->arg);
	/* A script that ends leaves its processor halted for good. */
	for (;;) {
		g_cli();
		g_hlt();
	}
}

/* --- on the processor --- */

static bool find_binding(struct model_guest *g, u64 entry)
{
	struct guest_engine *engine = guest_engine();

	for (u32 i = 0; i < engine->bindings; i++) {
		if (engine->binding[i].entry != entry)
			continue;
		g->script = engine->binding[i].script;
		g->arg = engine->binding[i].arg;
		return true;
	}
	return false;
}

void guest_enter(struct model_guest *g)
{
	const struct model_regs *regs = &g->cpu->regs;

	if (g->started && regs->cs.base == g->cs_base) {
		if (regs->rip == g->rip)
			return;
		if (g->insn && !g->insn->done && regs->rip == g->rip + g->insn->length) {
			g->insn->done = true; /* by the hypervisor */
			g->resume = true;
			return;
		}
	}
	if (!find_binding(g, regs->cs.base + regs->rip))
		port_panic("virtual processor %u is entered at %llx:%llx; it left at %llx:%llx",
		           g->index, (unsigned long long)regs->cs.base,
		           (unsigned long long)regs->rip, (unsigned long long)g->cs_base,
		           (unsigned long long)g->rip);
	coro_init(&g->coro, stacks[g->index], GUEST_STACK, script_main, g);
	g->started = g->resume = true;
	g->insn = NULL;
	g->depth = 0;
}

void guest_leave(struct model_guest *g)
{
	g->rip = g->cpu->regs.rip;
	g->cs_base = g->cpu->regs.cs.base;
}

void guest_next(struct model_guest *g)
{
	if (!g->resume)
		return;
	g->resume = false;
	g->processor = coro_self();
	current = g;
	coro_switch(&g->coro);
}

bool guest_gate_present(struct model_guest *g, u8 vector)
{
	return get_handler(vector) ||
	       (vector < 32 && g->insn && !g->insn->done && g->insn->catch_faults);
}

void guest_push_frame(struct model_guest *g, u8 vector, bool exception, u32 error)
{
	struct model_regs *regs = &g->cpu->regs;
	struct guest_frame *frame;
	u64 base = (regs->efer & EFER_LMA) ? g->code : 0;

	if (g->depth == GUEST_FRAMES)
		port_panic("script: interrupt handlers nested too deep");
	frame = &g->frame[g->depth++];
	*frame = (struct guest_frame){
	        .vector = vector,
	        .exception = exception,
	        .error = error,
	        .rip = regs->rip,
	        .rflags = regs->rflags,
	        .insn = g->insn && !g->insn->done ? g->insn : NULL,
	};
	for (u32 i = 0; i < GPR_COUNT; i++)
		frame->gpr[i] = regs->gpr[i];
	regs->rip = base + (u64)g->depth * PAGE_SIZE;
	g->resume = true;
}

void guest_pop_frame(struct model_guest *g)
{
	struct model_regs *regs = &g->cpu->regs;
	const struct guest_frame *frame = &g->frame[--g->depth];

	regs->rip = frame->rip;
	regs->rflags = frame->rflags;
	for (u32 i = 0; i < GPR_COUNT; i++)
		regs->gpr[i] = frame->gpr[i];
}
