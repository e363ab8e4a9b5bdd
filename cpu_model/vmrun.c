/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * VMRUN and #VMEXIT: what is loaded and stored. APM volume 2, "VMRUN Instruction", "#VMEXIT". VMRUN sets
 * GIF, #VMEXIT clears it, with V_IRQ and V_INTR_MASKING of the processor's own. What happens between the two:
 * run.c, svm_virt.c.
 */
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
	regs->es = from_vmcb(save->es);
	regs->cs = from_vmcb(save->cs);
	regs->ss = from_vmcb(save->ss);
	regs->ds = from_vmcb(save->ds);
	regs->gdtr = from_vmcb(save->gdtr);
	regs->idtr = from_vmcb(save->idtr);
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
		model_tlb_flush(cpu, cpu->control.asid);
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
	save->es = to_vmcb(regs->es);
	save->cs = to_vmcb(regs->cs);
	save->ss = to_vmcb(regs->ss);
	save->ds = to_vmcb(regs->ds);
	save->gdtr = to_vmcb(regs->gdtr);
	save->idtr = to_vmcb(regs->idtr);
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
	model_run_guest(cpu, hpa);
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
