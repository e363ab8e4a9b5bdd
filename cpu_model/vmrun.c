/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * VMRUN, what happens until the guest exits, and #VMEXIT. APM volume 2, "VMRUN Instruction",
 * "#VMEXIT", "Interrupt and NMI Intercepts", "Virtual Interrupts":
 *
 *  - VMRUN sets GIF, #VMEXIT clears it, with V_IRQ and V_INTR_MASKING of the processor's own.
 *  - Physical interrupts are recognised between two instructions and before virtual ones; an
 * injected event is delivered before the first of these boundaries. That is what makes an injection
 * plus a pending physical interrupt a forced immediate exit.
 *  - V_IRQ is taken if its priority is above V_TPR (or V_IGN_TPR), the guest's IF is set and no
 *    interrupt shadow holds it off.
 */
#include "cpu_model/execute.h"
#include "cpu_model/guest.h"
#include "cpu_model/model.h"
#include "postern/port.h"

/* What a field holds on a processor that does not fill it in: nothing to rely on. */
#define UNDEFINED_RIP 0xdeaddeaddeaddeadull

static struct x86_segment from_vmcb(struct vmcb_segment s)
{
	return (struct x86_segment){s.selector, s.attr, s.limit, s.base};
}

static struct vmcb_segment to_vmcb(struct x86_segment s)
{
	return (struct vmcb_segment){s.selector, s.attr, s.limit, s.base};
}

void model_vmload(struct model_cpu *cpu, hpa_t hpa)
{
	const struct vmcb_save *save = &((const struct vmcb *)hpa_to_ptr(hpa))->save;

	cpu->hidden = (struct model_hidden){
	        .fs = from_vmcb(save->fs),
	        .gs = from_vmcb(save->gs),
	        .ldtr = from_vmcb(save->ldtr),
	        .tr = from_vmcb(save->tr),
	        .star = save->star,
	        .lstar = save->lstar,
	        .cstar = save->cstar,
	        .sfmask = save->sfmask,
	        .kernel_gs_base = save->kernel_gs_base,
	        .sysenter_cs = save->sysenter_cs,
	        .sysenter_esp = save->sysenter_esp,
	        .sysenter_eip = save->sysenter_eip,
	};
}

void model_vmsave(struct model_cpu *cpu, hpa_t hpa)
{
	struct vmcb_save *save = &((struct vmcb *)hpa_to_ptr(hpa))->save;
	const struct model_hidden *hidden = &cpu->hidden;

	save->fs = to_vmcb(hidden->fs);
	save->gs = to_vmcb(hidden->gs);
	save->ldtr = to_vmcb(hidden->ldtr);
	save->tr = to_vmcb(hidden->tr);
	save->star = hidden->star;
	save->lstar = hidden->lstar;
	save->cstar = hidden->cstar;
	save->sfmask = hidden->sfmask;
	save->kernel_gs_base = hidden->kernel_gs_base;
	save->sysenter_cs = hidden->sysenter_cs;
	save->sysenter_esp = hidden->sysenter_esp;
	save->sysenter_eip = hidden->sysenter_eip;
}

/* --- loading --- */

/* APM "VMCB Clean Bits": a set bit lets the processor use what it kept of the last run. */
static void apply_clean_bits(struct model_cpu *cpu, struct vmcb *vmcb)
{
	const struct vmcb *old = &cpu->cached;
	struct vmcb_control *c = &vmcb->control;
	struct vmcb_save *s = &vmcb->save;
	u32 clean = c->clean_bits;

	if (!model_has(MODEL_CLEAN_BITS))
		return;
	if (clean & SVM_CLEAN_INTERCEPTS) {
		c->intercept_cr = old->control.intercept_cr;
		c->intercept_dr = old->control.intercept_dr;
		c->intercept_exceptions = old->control.intercept_exceptions;
		c->intercept_misc1 = old->control.intercept_misc1;
		c->intercept_misc2 = old->control.intercept_misc2;
		c->intercept_misc3 = old->control.intercept_misc3;
		c->tsc_offset = old->control.tsc_offset;
		c->pause_filter_count = old->control.pause_filter_count;
	}
	if (clean & SVM_CLEAN_PERM_MAPS) {
		c->iopm_base = old->control.iopm_base;
		c->msrpm_base = old->control.msrpm_base;
	}
	if (clean & SVM_CLEAN_ASID)
		c->asid = old->control.asid;
	if (clean & SVM_CLEAN_INT_CTL)
		c->int_ctl = old->control.int_ctl;
	if (clean & SVM_CLEAN_NP) {
		c->n_cr3 = old->control.n_cr3;
		s->g_pat = old->save.g_pat;
	}
	if (clean & SVM_CLEAN_CR) {
		s->cr0 = old->save.cr0;
		s->cr3 = old->save.cr3;
		s->cr4 = old->save.cr4;
		s->efer = old->save.efer;
	}
	if (clean & SVM_CLEAN_DR) {
		s->dr6 = old->save.dr6;
		s->dr7 = old->save.dr7;
	}
	if (clean & SVM_CLEAN_DT) {
		s->gdtr = old->save.gdtr;
		s->idtr = old->save.idtr;
	}
	if (clean & SVM_CLEAN_SEG) {
		s->cs = old->save.cs;
		s->ds = old->save.ds;
		s->es = old->save.es;
		s->ss = old->save.ss;
		s->cpl = old->save.cpl;
	}
	if (clean & SVM_CLEAN_AVIC) {
		c->avic_apic_bar = old->control.avic_apic_bar;
		c->avic_backing_page = old->control.avic_backing_page;
		c->avic_logical_table = old->control.avic_logical_table;
		c->avic_physical_table = old->control.avic_physical_table;
	}
	if (clean & SVM_CLEAN_CR2)
		s->cr2 = old->save.cr2;
}

static void load_state(struct model_cpu *cpu, const struct vmcb *vmcb)
{
	const struct vmcb_save *save = &vmcb->save;
	struct model_regs *regs = &cpu->regs;

	regs->gpr[GPR_RAX] = save->rax;
	regs->gpr[GPR_RSP] = save->rsp;
	regs->rip = save->rip;
	regs->rflags = save->rflags | RFLAGS_RES1;
	regs->cr0 = save->cr0;
	regs->cr2 = save->cr2;
	regs->cr3 = save->cr3;
	regs->cr4 = save->cr4;
	regs->efer = save->efer;
	regs->dr6 = save->dr6;
	regs->dr7 = save->dr7;
	regs->pat = save->g_pat;
	regs->cpl = save->cpl;
	regs->es = save->es;
	regs->cs = save->cs;
	regs->ss = save->ss;
	regs->ds = save->ds;
	regs->gdtr = save->gdtr;
	regs->idtr = save->idtr;
	regs->shadow = vmcb->control.int_state & SVM_INT_SHADOW && !model_has(MODEL_FORGETS_SHADOW);
}

static void load_control(struct model_cpu *cpu, const struct vmcb *vmcb)
{
	cpu->control = vmcb->control;
	cpu->v_irq = cpu->control.int_ctl & SVM_V_IRQ;
	cpu->v_tpr = cpu->control.int_ctl & SVM_V_TPR;
	cpu->pause_left = cpu->control.pause_filter_count;
	cpu->exit_info_1 = cpu->exit_info_2 = cpu->exit_int_info = cpu->next_rip = 0;
	cpu->trap_pending = cpu->sti_shadow = false;
	if (cpu->control.tlb_control == SVM_TLB_FLUSH_ALL)
		model_tlb_flush_all(cpu);
	else if (cpu->control.tlb_control == SVM_TLB_FLUSH_ASID)
		model_tlb_flush_asid(cpu, cpu->control.asid);
	model_avic_enter(cpu);
}

/* --- storing --- */

static void store_state(struct model_cpu *cpu, struct vmcb *vmcb)
{
	struct vmcb_save *save = &vmcb->save;
	const struct model_regs *regs = &cpu->regs;

	save->rax = regs->gpr[GPR_RAX];
	save->rsp = regs->gpr[GPR_RSP];
	save->rip = regs->rip;
	save->rflags = regs->rflags;
	save->cr0 = regs->cr0;
	save->cr2 = regs->cr2;
	save->cr3 = regs->cr3;
	save->cr4 = regs->cr4;
	save->efer = regs->efer;
	save->dr6 = regs->dr6;
	save->dr7 = regs->dr7;
	save->g_pat = regs->pat;
	save->cpl = regs->cpl;
	save->es = regs->es;
	save->cs = regs->cs;
	save->ss = regs->ss;
	save->ds = regs->ds;
	save->gdtr = regs->gdtr;
	save->idtr = regs->idtr;
}

/* APM "Decode Assists": the instruction's bytes, on a nested page fault of a data access. */
static void store_insn_bytes(struct model_cpu *cpu, struct vmcb_control *control)
{
	const struct guest_insn *insn = cpu->guest->insn;

	if (!model_has(MODEL_DECODE_ASSIST)) {
		control->insn_len = sizeof(control->insn_bytes);
		for (u32 i = 0; i < sizeof(control->insn_bytes); i++)
			control->insn_bytes[i] = 0x06; /* no instruction in 64-bit mode */
		return;
	}
	control->insn_len = 0;
	if (cpu->exit_code != SVM_EXIT_NPF || (cpu->exit_info_1 & PF_FETCH))
		return;
	control->insn_len = insn->length;
	for (u32 i = 0; i < insn->length; i++)
		control->insn_bytes[i] = insn->bytes[i];
}

static void store_control(struct model_cpu *cpu, struct vmcb *vmcb)
{
	struct vmcb_control *control = &vmcb->control;

	control->exit_code = cpu->exit_code;
	control->exit_info_1 = cpu->exit_info_1;
	control->exit_info_2 = cpu->exit_info_2;
	control->exit_int_info = cpu->exit_int_info;
	control->event_inj &= ~SVM_EVENT_VALID;
	control->int_ctl = (cpu->control.int_ctl & ~(SVM_V_IRQ | SVM_V_TPR)) | cpu->v_tpr |
	                   (cpu->v_irq ? SVM_V_IRQ : 0);
	control->int_state =
	        (control->int_state & ~SVM_INT_SHADOW) | (cpu->regs.shadow ? SVM_INT_SHADOW : 0);
	control->next_rip = model_has(MODEL_NRIPS) ? cpu->next_rip : UNDEFINED_RIP;
	store_insn_bytes(cpu, control);
}

/* --- running --- */

/* false: the guest leaves. */
static bool take_v_irq(struct model_cpu *cpu)
{
	u64 int_ctl = cpu->control.int_ctl;
	u64 priority = (int_ctl & SVM_V_INTR_PRIO_MASK) >> 16;

	if (!cpu->v_irq || !(cpu->regs.rflags & RFLAGS_IF) || cpu->regs.shadow)
		return true;
	if (priority <= cpu->v_tpr && !(int_ctl & SVM_V_IGN_TPR))
		return true;
	if (model_intercepts(&cpu->control, SVM_EXIT_VINTR)) {
		cpu->exit_code = SVM_EXIT_VINTR;
		return false;
	}
	cpu->v_irq = false;
	return model_deliver(cpu, (u8)(int_ctl >> 32), false, false, 0);
}

/* false: the guest leaves. V_IRQ is ignored while AVIC is on ("Additional VMRUN Handling"). */
static bool take_virtual_interrupt(struct model_cpu *cpu)
{
	if (cpu->avic.enabled)
		return model_avic_take_interrupt(cpu);
	return take_v_irq(cpu);
}

/* Between two instructions. false: the guest leaves. */
static bool boundary(struct model_cpu *cpu)
{
	bool open = (cpu->control.int_ctl & SVM_V_INTR_MASKING) ? cpu->intr_flag
	                                                        : cpu->regs.rflags & RFLAGS_IF;

	if (cpu->trap_pending) {
		cpu->trap_pending = false;
		cpu->regs.dr6 |= BIT64(14); /* BS */
		if (!model_raise(cpu, VECTOR_DB, false, 0))
			return false;
	}
	if (__atomic_load_n(&cpu->nmi.v, __ATOMIC_SEQ_CST)) {
		ASSERT(model_intercepts(&cpu->control, SVM_EXIT_NMI));
		cpu->exit_code = SVM_EXIT_NMI;
		return false;
	}
	if (open && model_apic_pending(cpu) >= 0) {
		ASSERT(model_intercepts(&cpu->control, SVM_EXIT_INTR));
		cpu->exit_code = SVM_EXIT_INTR;
		return false;
	}
	return take_virtual_interrupt(cpu);
}

/* One instruction. false: the guest leaves. */
static bool step(struct model_cpu *cpu)
{
	struct model_guest *g = cpu->guest;
	bool trap = cpu->regs.rflags & RFLAGS_TF;
	enum model_result result;
	u8 *code;

	guest_next(g);
	code = model_translate(cpu, GPA(cpu->regs.cs.base + cpu->regs.rip), MODEL_EXEC);
	if (!code)
		return false;
	if (guest_is_planted(g, code))
		result = model_int3(cpu, true);
	else
		result = model_execute(cpu, g->insn);
	if (result == MODEL_EXIT)
		return false;
	if (result == MODEL_RESTART)
		return true;
	if (result != MODEL_JUMPED)
		cpu->regs.rip += g->insn->length;
	if (g->insn->op == OP_SYSCALL || g->insn->op == OP_SYSRET)
		trap = cpu->regs.rflags & RFLAGS_TF;
	g->insn->done = true;
	g->resume = true;
	cpu->regs.rflags &= ~RFLAGS_RF;
	cpu->regs.shadow = cpu->sti_shadow;
	cpu->sti_shadow = false;
	cpu->trap_pending = trap;
	return result != MODEL_TRAP;
}

static void run(struct model_cpu *cpu)
{
	u64 event = cpu->control.event_inj;

	if ((event & SVM_EVENT_VALID) && !model_inject(cpu, event))
		return;
	while (boundary(cpu) && step(cpu)) {
		if (model()->between)
			model()->between(cpu);
		model_elapse(cpu);
	}
	/* An interrupt came before the instruction: that has not been tried yet. */
	if (model()->between && cpu->exit_code != SVM_EXIT_INTR)
		model()->between(cpu);
}

void model_vmrun(struct model_cpu *cpu, hpa_t hpa)
{
	struct vmcb *vmcb = hpa_to_ptr(hpa);
	struct vmcb loaded = *vmcb;
	struct avic_memory memory = model_memory();
	const char *why;

	if (!cpu->hsave_pa)
		port_panic("VMRUN without VM_HSAVE_PA");
	apply_clean_bits(cpu, &loaded);
	why = model_vmrun_check(&loaded, cpu->efer, model()->features, &memory);
	if (why) {
		port_log("VMRUN refused: %s", why);
		vmcb->control.exit_code = SVM_EXIT_INVALID;
		return;
	}
	load_state(cpu, &loaded);
	load_control(cpu, &loaded);
	cpu->vmruns++;
	cpu->gif = true;
	cpu->guest = guest_find(hpa.v);
	cpu->guest->cpu = cpu;
	guest_enter(cpu->guest);
	run(cpu);
	guest_leave(cpu->guest);
	store_state(cpu, vmcb);
	store_control(cpu, vmcb);
	if (model_has(MODEL_CLEAN_BITS)) {
		loaded.save = vmcb->save;
		loaded.control.int_ctl = vmcb->control.int_ctl;
		cpu->cached = loaded;
	}
	cpu->guest = NULL;
	cpu->gif = false;
}
