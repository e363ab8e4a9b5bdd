/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest from its entry to its exit, whichever extension it runs under: what is injected comes first, then
 * boundaries and instructions by turns (virt.h says what the vendors do at each).
 */
#include "cpu_model/guest.h"
#include "cpu_model/virt.h"
#include "postern/port.h"

/* The instruction was executed, with TF as it was before it. */
static void complete(struct model_cpu *cpu, enum model_result result, bool trap)
{
	struct model_guest *g = cpu->guest;

	if (result != MODEL_JUMPED)
		cpu->regs.rip += g->insn->length;
	/* They trap by the flags that they leave. */
	if (g->insn->op == OP_SYSCALL || g->insn->op == OP_SYSRET)
		trap = cpu->regs.rflags & RFLAGS_TF;
	g->insn->done = true;
	g->resume = true;
	cpu->regs.rflags &= ~RFLAGS_RF;
	cpu->regs.shadow = cpu->sti_shadow;
	cpu->sti_shadow = false;
	cpu->trap_pending = trap;
}

/* One instruction, or none in HLT. false: the guest leaves. */
static bool step(struct model_cpu *cpu)
{
	struct model_guest *g = cpu->guest;
	bool trap = cpu->regs.rflags & RFLAGS_TF;
	enum model_result result;
	gpa_t linear;
	u8 *code;

	if (cpu->halted)
		return true;
	guest_next(g);
	linear = GPA(cpu->regs.cs.base + cpu->regs.rip);
	code = model_translate(cpu, linear, MODEL_EXEC);
	if (!code || !model_virt()->fetch(cpu, linear))
		return false;
	if (guest_is_planted(g, code))
		result = model_int3(cpu, true);
	else
		result = model_execute(cpu, g->insn);
	if (result == MODEL_EXIT)
		return false;
	if (result != MODEL_RESTART)
		complete(cpu, result, trap);
	return result != MODEL_TRAP && model_virt()->executed(cpu);
}

static void run(struct model_cpu *cpu)
{
	const struct model_virt *virt = model_virt();

	if (!virt->inject(cpu))
		return;
	while (virt->boundary(cpu) && step(cpu)) {
		if (model()->between)
			model()->between(cpu);
		model_elapse(cpu);
	}
	/* An interrupt came before the instruction: that has not been tried yet. */
	if (model()->between && !virt->left_for_interrupt(cpu))
		model()->between(cpu);
}

void model_run_guest(struct model_cpu *cpu, hpa_t structure)
{
	cpu->guest = guest_find(structure.v);
	cpu->guest->cpu = cpu;
	guest_enter(cpu->guest);
	run(cpu);
	guest_leave(cpu->guest);
}
