/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Entry and exit. APM volume 2, "VMRUN Instruction", "Global Interrupt Flag, STGI and CLGI
 * Instructions", "TLB Control".
 *
 * Physical interrupts: with V_INTR_MASKING the host's RFLAGS.IF at VMRUN (always 1 here) gates them
 * while the guest runs, whatever the guest's IF; and GIF=0 holds them from host_irqs_block() to
 * VMRUN, which sets GIF. So one that arrives after the last look at the requests makes the guest
 * exit at once.
 *
 * ASIDs are handed out per processor. A flush is a new ASID, which works everywhere; when they run
 * out, the generation ends: everything is flushed (TLB control 1, which every processor has) and
 * numbering starts again. AVIC's redirection of the APIC's page wants more, see below.
 */
#include "host/host.h"
#include "insn.h"
#include "postern/port.h"
#include "svm/svm.h"
#include "x86/apic.h"

void svm_vcpu_load(struct vcpu *vcpu, struct cpu *cpu)
{
	struct svm_vcpu *svm = svm_of(vcpu);

	if (svm->asid_cpu != cpu->index)
		svm->asid_generation = 0;
	/* Another processor may have a cached copy of an older state ("VMCB Clean Field"). */
	svm->vmcb->control.clean_bits = 0;
	host_load_guest(vcpu);
}

void svm_vcpu_put(struct vcpu *vcpu)
{
	host_put_guest(vcpu);
}

void svm_host_irqs_block(void)
{
	insn_clgi();
}

void svm_host_irqs_unblock(void)
{
	insn_stgi();
}

void svm_flush(struct vcpu *vcpu)
{
	svm_of(vcpu)->flush = true;
}

/* Give the vCPU an ASID of this processor's current generation, a fresh one if it needs a flush. */
static void assign_asid(struct vcpu *vcpu, struct cpu *cpu)
{
	struct vmcb_control *control = &svm_vmcb(vcpu)->control;
	struct svm_vcpu *svm = svm_of(vcpu);
	struct svm_cpu *processor = cpu->arch;

	control->tlb_control = SVM_TLB_NOTHING;
	if (svm->asid_generation == processor->generation && !svm->flush)
		return;
	if (processor->next_asid > processor->max_asid) {
		processor->generation++;
		processor->next_asid = 1;
		control->tlb_control = SVM_TLB_FLUSH_ALL;
	}
	control->asid = processor->next_asid++;
	svm_dirty(vcpu, SVM_CLEAN_ASID);
	svm->asid_cpu = cpu->index;
	svm->asid_generation = processor->generation;
	svm->flush = false;
	processor->xavic = NULL;
	vcpu_count(vcpu, COUNTER_TLB_FLUSHES);
}

/*
 * "Physical Address Pointer Restrictions": where another vCPU of the VM ran last, its APIC page may
 * still be translated, regardless of the ASIDs.
 */
static void flush_apic_page(struct vcpu *vcpu, struct svm_cpu *processor)
{
	struct vmcb_control *control = &svm_vmcb(vcpu)->control;

	if (processor->xavic == vcpu)
		return;
	processor->xavic = vcpu;
	if (control->tlb_control != SVM_TLB_NOTHING)
		return;
	control->tlb_control =
	        svm_has(SVM_CPUID_FLUSH_ASID) ? SVM_TLB_FLUSH_ASID : SVM_TLB_FLUSH_ALL;
	vcpu_count(vcpu, COUNTER_TLB_FLUSHES);
}

static void store_regs(struct vcpu *vcpu)
{
	struct vmcb *vmcb = svm_vmcb(vcpu);
	const struct vcpu_regs *regs = &vcpu->regs;
	u64 tpr = (vmcb->control.int_ctl ^ regs->cr8) & svm_of(vcpu)->tpr;

	vmcb->save.rax = regs->gpr[GPR_RAX];
	vmcb->save.rsp = regs->gpr[GPR_RSP];
	vmcb->save.rip = regs->rip;
	vmcb->save.rflags = regs->rflags;
	if (tpr) {
		vmcb->control.int_ctl ^= tpr;
		svm_dirty(vcpu, SVM_CLEAN_INT_CTL);
	}
	if (vmcb->control.tsc_offset != vcpu->tsc_offset) {
		vmcb->control.tsc_offset = vcpu->tsc_offset;
		svm_dirty(vcpu, SVM_CLEAN_INTERCEPTS);
	}
}

static void load_regs(struct vcpu *vcpu)
{
	const struct vmcb *vmcb = svm_vmcb(vcpu);
	struct vcpu_regs *regs = &vcpu->regs;

	regs->gpr[GPR_RAX] = vmcb->save.rax;
	regs->gpr[GPR_RSP] = vmcb->save.rsp;
	regs->rip = vmcb->save.rip;
	regs->rflags = vmcb->save.rflags;
	regs->cr8 = vmcb->control.int_ctl & SVM_V_TPR;
}

void svm_run(struct vcpu *vcpu, bool force_immediate_exit)
{
	struct svm_vcpu *svm = svm_of(vcpu);
	struct vmcb_control *control = &svm->vmcb->control;
	struct cpu *cpu = this_cpu();
	struct svm_cpu *processor = cpu->arch;
	bool shadow = control->int_state & SVM_INT_SHADOW;

	if (shadow)
		svm_intr_shadow_enter(vcpu);
	assign_asid(vcpu, cpu);
	if (svm->avic_bits == SVM_AVIC_ENABLE)
		flush_apic_page(vcpu, processor);
	store_regs(vcpu);
	if (force_immediate_exit) {
		/* The self-IPI comes before a virtual interrupt, but behind an injected event. */
		svm_intr_virq_to_event(vcpu);
		host_force_exit();
	}
	svm->fast = !svm->virq && svm->step == SVM_STEP_NONE && !control->event_inj;
	insn_enter_svm(svm->vmcb_hpa, vcpu->regs.gpr, ptr_to_hpa(processor->host_vmcb),
	               svm->exits.fast, vcpu);
	if (shadow)
		svm_intr_shadow_exit(vcpu);
	load_regs(vcpu);
	if (!svm_exit_is_invalid(control->exit_code))
		control->event_inj = 0;
	if (svm_has(SVM_CPUID_CLEAN))
		control->clean_bits = ~0u;
	svm->exits.decode(vcpu);
}
