/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest of the guest on SVM (core/nested.h): the second VMCB. APM volume 2, "VMRUN Instruction", "#VMEXIT",
 * "Nested Paging", "TLB Control", "Virtual Interrupts", "Interrupt and NMI Intercepts".
 *
 * - The second VMCB has L2's state, and intercepts what L1 asks for besides what Postern needs. Which of the two
 *   an exit is for is told by what L1 asked; L1's is EXIT_NESTED. Physical interrupts are Postern's alone.
 * - RAX, RSP, RIP and RFLAGS are in the VMCB, and the other registers are L1's when L2 begins and L2's
 *   when L1 goes on, as with VMRUN itself. What VMLOAD moves is in both VMCBs: a hypervisor that wants L1's
 *   values in L2 moves them, by VMLOAD and VMSAVE.
 * - AVIC is off in the second VMCB and its root is the one without the APIC's page, so that L1's page is never
 *   reached: an access exits, and goes to L1's registers like any that is not accelerated.
 * - Translations are tagged with the ASID, and one ASID must not see two roots ("TLB Control"). So each
 *   switch, in either direction, is to a fresh ASID, like any other flush of svm/run.c.
 * - L1 that has V_INTR_MASKING: L2's V_TPR is apart from L1's task priority, and L1's RFLAGS.IF, which L2
 *   cannot change, is what gates L1's interrupts. Without it both are L2's, and a window is opened in
 *   the second VMCB.
 * - V_IRQ that L1 has set for L2 is passed on if L1 intercepts interrupts and masks them, since then
 *   Postern needs none itself in the second VMCB.
 * - An interrupt that finds the slot of this entry taken waits for one forced exit, so that nothing that
 *   L1 has injected is lost.
 */
#include "core/nested.h"
#include "core/vm.h"
#include "postern/port.h"
#include "postern/string.h"
#include "svm/svm.h"

#define V_INTR (SVM_V_IRQ | SVM_V_INTR_PRIO_MASK | SVM_V_IGN_TPR | SVM_V_INTR_VECTOR_MASK)
/* Exits for these are never L1's: they are of the processor that Postern runs on. */
#define PHYSICAL                                                                                   \
	(SVM_MISC1(SVM_EXIT_INTR) | SVM_MISC1(SVM_EXIT_NMI) | SVM_MISC1(SVM_EXIT_SMI) |            \
	 SVM_MISC1(SVM_EXIT_INIT))

/* What a vCPU has for it; made at the first entry, kept until the vCPU ends. All [o]. */
struct svm_nested {
	struct vmcb vmcb;               /* the second one */
	u8 msrpm[SVM_MSRPM_SIZE];       /* what it exits for: Postern's or L1's */
	u8 asked_msrpm[SVM_MSRPM_SIZE]; /* L1's */
	u64 asked_iopm;                 /* guest-physical */
	struct vmcb *block;
	bool masking;              /* L1's V_INTR_MASKING */
	u64 rax, rsp, rip, rflags; /* L1's */
};

static const struct svm_asked nothing;

/* --- what L1 asked for --- */

static bool takes_virq(const struct svm_vcpu *svm)
{
	return svm->nested->masking && svm->asked.misc1 & SVM_MISC1(SVM_EXIT_INTR);
}

/* A map's bits from `bit` on, at a guest-physical address; what cannot be read exits. */
static bool has_bits(struct vm *vm, u64 map, u32 bit, u32 count)
{
	u8 bytes[2];

	if (!vm_read(vm, GPA(map + bit / 8), bytes, sizeof(bytes)))
		return true;
	return ((u32)bytes[0] | (u32)bytes[1] << 8) >> bit % 8 & (BIT(count) - 1);
}

static bool asked_for_port(struct vcpu *vcpu)
{
	u32 info = (u32)svm_vmcb(vcpu)->control.exit_info_1;

	return has_bits(vcpu->vm, svm_of(vcpu)->nested->asked_iopm, SVM_IOIO_PORT(info),
	                SVM_IOIO_SIZE(info));
}

static bool asked_for_msr(struct vcpu *vcpu)
{
	s32 bit = svm_msrpm_bit((u32)vcpu->regs.gpr[GPR_RCX]);
	const u8 *map = svm_of(vcpu)->nested->asked_msrpm;

	if (bit < 0)
		return true;
	bit += svm_vmcb(vcpu)->control.exit_info_1 & 1;
	return map[bit / 8] & BIT(bit % 8);
}

static bool asked_for(struct vcpu *vcpu, u64 code)
{
	const struct svm_vcpu *svm = svm_of(vcpu);
	const u32 intercepts[] = {svm->asked.cr,    svm->asked.dr,    svm->asked.exceptions,
	                          svm->asked.misc1, svm->asked.misc2, svm->asked.misc3};

	if (svm_exit_is_invalid(code))
		return true;
	if (code / 32 >= ARRAY_SIZE(intercepts) || !(intercepts[code / 32] & BIT(code % 32)))
		return false;
	if (code / 32 == SVM_EXIT_INTR / 32 && BIT(code % 32) & PHYSICAL)
		return false;
	if (code == SVM_EXIT_VINTR)
		return takes_virq(svm);
	if (code == SVM_EXIT_IOIO)
		return asked_for_port(vcpu);
	return code != SVM_EXIT_MSR || asked_for_msr(vcpu);
}

/* --- exits --- */

/* Nothing is completed on the way out: it may be L1's. */
static bool fast_exit(void *vcpu __unused)
{
	return false;
}

static void decode(struct vcpu *vcpu)
{
	const struct vmcb_control *control = &svm_vmcb(vcpu)->control;
	u64 code = control->exit_code;

	/* A #DB may be of a step of Postern's: that goes first. */
	if (code != SVM_EXIT_EXCEPTION(VECTOR_DB) && asked_for(vcpu, code)) {
		svm_decode_event(vcpu);
		vcpu->exit.kind = EXIT_NESTED;
	} else {
		svm_decode_exit(vcpu);
		if (vcpu->exit.kind == EXIT_EXCEPTION && asked_for(vcpu, code))
			vcpu->exit.kind = EXIT_NESTED;
	}
	/* What is L2's own must not be taken for L1's. */
	if (svm_of(vcpu)->nested->masking)
		vcpu->regs.cr8 = lapic_cr8(vcpu);
}

/* --- what irq/intr.c asks, while L2 runs --- */

bool svm_nested_gets(struct vcpu *vcpu, enum intr_class class)
{
	const struct svm_vcpu *svm = svm_of(vcpu);

	if (!svm->in_nested)
		return false;
	if (class == INTR_CLASS_EXCEPTION)
		return vcpu->intr.exception.valid && !vcpu->intr.again.valid &&
		       svm->asked.exceptions & BIT(vcpu->intr.exception.vector & 31);
	return svm->asked.misc1 & SVM_MISC1(class == INTR_CLASS_NMI ? SVM_EXIT_NMI : SVM_EXIT_INTR);
}

bool svm_nested_has_no_window(struct vcpu *vcpu)
{
	const struct svm_vcpu *svm = svm_of(vcpu);

	return svm->in_nested && takes_virq(svm);
}

enum intr_block svm_nested_blocked(struct vcpu *vcpu, enum intr_class class)
{
	const struct svm_vcpu *svm = svm_of(vcpu);
	u64 rflags = svm->nested->masking ? svm->nested->rflags : vcpu->regs.rflags;

	if (class == INTR_CLASS_NMI && svm->nmi_masked)
		return INTR_BLOCK_NMI;
	if (class == INTR_CLASS_EXTERNAL && !(rflags & RFLAGS_IF))
		return INTR_BLOCK_IF;
	if (svm->vmcb->control.event_inj & SVM_EVENT_VALID || svm->virq)
		return INTR_BLOCK_SLOT;
	return INTR_BLOCK_NESTED;
}

/* --- entry --- */

static void ask(struct vcpu *vcpu, struct svm_nested *nested, const struct vmcb_control *block)
{
	struct svm_vcpu *svm = svm_of(vcpu);
	const struct svm_vm *vm = vcpu->vm->arch;

	nested->masking = block->int_ctl & SVM_V_INTR_MASKING;
	nested->asked_iopm = block->iopm_base & PAGE_MASK;
	svm->asked = (struct svm_asked){
	        .cr = block->intercept_cr,
	        .dr = block->intercept_dr,
	        .exceptions = block->intercept_exceptions,
	        .misc1 = block->intercept_misc1,
	        .misc2 = block->intercept_misc2,
	        .misc3 = block->intercept_misc3,
	};
	if (!(svm->asked.misc1 & SVM_MSR_PROT))
		return;
	if (!vm_read(vcpu->vm, GPA(block->msrpm_base & PAGE_MASK), nested->asked_msrpm,
	             SVM_MSRPM_SIZE))
		memset(nested->asked_msrpm, 0xff, SVM_MSRPM_SIZE);
	for (u32 i = 0; i < SVM_MSRPM_SIZE; i++)
		nested->msrpm[i] = vm->msrpm[i] | nested->asked_msrpm[i];
}

static void build_control(struct vcpu *vcpu, const struct vmcb_control *block)
{
	struct svm_vcpu *svm = svm_of(vcpu);
	const struct svm_vm *vm = vcpu->vm->arch;
	const struct vmcb_control *own = &svm->own->control;
	const struct svm_asked *asked = &svm->asked;
	const u8 *msrpm = asked->misc1 & SVM_MSR_PROT ? svm->nested->msrpm : vm->msrpm;

	svm->nested->vmcb.control = (struct vmcb_control){
	        .intercept_cr = own->intercept_cr | asked->cr,
	        .intercept_dr = own->intercept_dr | asked->dr,
	        .intercept_exceptions = own->intercept_exceptions | asked->exceptions,
	        .intercept_misc1 = own->intercept_misc1 | asked->misc1,
	        .intercept_misc2 = own->intercept_misc2 | asked->misc2,
	        .intercept_misc3 = own->intercept_misc3 | asked->misc3,
	        .pause_filter_count = own->pause_filter_count,
	        .iopm_base = own->iopm_base,
	        .msrpm_base = ptr_to_hpa(msrpm).v,
	        .int_ctl = SVM_V_INTR_MASKING |
	                   (svm->nested->masking ? block->int_ctl & SVM_V_TPR : 0) |
	                   (takes_virq(svm) ? block->int_ctl & V_INTR : 0),
	        .int_state = block->int_state & SVM_INT_SHADOW,
	        .np_control = SVM_NP_ENABLE,
	        .event_inj = block->event_inj,
	        .n_cr3 = mmu_root_without_apic(vcpu->vm).v,
	};
}

/* `svm->vmcb` becomes another one. What is kept of that elsewhere may be old. */
static void use_vmcb(struct vcpu *vcpu, struct vmcb *vmcb)
{
	struct svm_vcpu *svm = svm_of(vcpu);

	svm->vmcb = vmcb;
	svm->vmcb_hpa = ptr_to_hpa(vmcb);
	svm->in_nested = vmcb != svm->own;
	svm->tpr = svm->in_nested && svm->nested->masking ? 0 : SVM_V_TPR;
	svm->exits.fast = svm->in_nested ? fast_exit : svm_fast_exit;
	svm->exits.decode = svm->in_nested ? decode : svm_decode_exit;
	svm->exceptions =
	        SVM_EXCEPTIONS | (svm->traps ? BIT(VECTOR_BP) : 0) | svm->asked.exceptions;
	svm_intr_apply_masked(vcpu);
	vmcb->control.clean_bits = 0;
	svm_flush(vcpu);
}

bool svm_nested_enter(struct vcpu *vcpu, void *block)
{
	const struct vmcb *asked = block;
	struct svm_vcpu *svm = svm_of(vcpu);
	struct vcpu_regs *regs = &vcpu->regs;

	if (!svm->nested)
		svm->nested = port_alloc(sizeof(*svm->nested), PAGE_SIZE);
	if (!svm->nested)
		return false;
	ASSERT(!svm->avic_bits && !svm->virq && svm->step == SVM_STEP_NONE);
	svm->nested->block = block;
	ask(vcpu, svm->nested, &asked->control);
	build_control(vcpu, &asked->control);
	svm->nested->vmcb.save = asked->save;
	svm->nested->rax = regs->gpr[GPR_RAX];
	svm->nested->rsp = regs->gpr[GPR_RSP];
	svm->nested->rip = regs->rip;
	svm->nested->rflags = regs->rflags;
	regs->gpr[GPR_RAX] = asked->save.rax;
	regs->gpr[GPR_RSP] = asked->save.rsp;
	regs->rip = asked->save.rip;
	regs->rflags = asked->save.rflags;
	use_vmcb(vcpu, &svm->nested->vmcb);
	return true;
}

/* --- return --- */

static u64 code_of(struct vcpu *vcpu, enum nested_why why)
{
	switch (why) {
	case NESTED_INTERRUPT:
		return SVM_EXIT_INTR;
	case NESTED_NMI:
		return SVM_EXIT_NMI;
	case NESTED_INIT:
		return SVM_EXIT_INIT;
	default:
		return SVM_EXIT_EXCEPTION(vcpu->intr.exception.vector & 31);
	}
}

/* An exit that the processor has not made: as it would have. */
static void tell(struct vcpu *vcpu, enum nested_why why)
{
	struct vmcb *vmcb = svm_vmcb(vcpu);
	struct intr_event *exception = &vcpu->intr.exception;

	vmcb->control.exit_code = code_of(vcpu, why);
	vmcb->control.exit_info_1 = 0;
	vmcb->control.exit_info_2 = 0;
	vmcb->control.exit_int_info = 0;
	if (why != NESTED_EXCEPTION)
		return;
	vmcb->control.exit_info_1 = exception->error;
	if (exception->vector == VECTOR_PF)
		vmcb->control.exit_info_2 = vmcb->save.cr2;
	exception->valid = false;
}

static void write_back(struct vcpu *vcpu, struct vmcb *block)
{
	const struct vmcb *vmcb = svm_vmcb(vcpu);
	const struct vmcb_control *from = &vmcb->control;
	const struct svm_vcpu *svm = svm_of(vcpu);
	u64 kept = (svm->nested->masking ? SVM_V_TPR : 0) | (takes_virq(svm) ? SVM_V_IRQ : 0);

	block->save = vmcb->save;
	block->save.rax = vcpu->regs.gpr[GPR_RAX];
	block->save.rsp = vcpu->regs.gpr[GPR_RSP];
	block->save.rip = vcpu->regs.rip;
	block->save.rflags = vcpu->regs.rflags;
	block->control.int_ctl = (block->control.int_ctl & ~kept) | (from->int_ctl & kept);
	block->control.int_state = from->int_state;
	block->control.exit_code = from->exit_code;
	block->control.exit_info_1 = from->exit_info_1;
	block->control.exit_info_2 = from->exit_info_2;
	block->control.exit_int_info = from->exit_int_info;
	block->control.event_inj &= ~SVM_EVENT_VALID;
	block->control.next_rip = from->next_rip;
	block->control.insn_len = from->insn_len;
	memcpy(block->control.insn_bytes, from->insn_bytes, sizeof(from->insn_bytes));
}

void svm_nested_leave(struct vcpu *vcpu, enum nested_why why)
{
	struct svm_vcpu *svm = svm_of(vcpu);
	struct vcpu_regs *regs = &vcpu->regs;

	svm_intr_cancel_step(vcpu);
	if (why != NESTED_EXIT)
		tell(vcpu, why);
	write_back(vcpu, svm->nested->block);
	/* Of an event that was interrupted L1 hears by EXITINTINFO, and does what it likes. */
	vcpu->intr.again.valid = false;
	svm->virq = false;
	svm->asked = nothing;
	regs->gpr[GPR_RAX] = svm->nested->rax;
	regs->gpr[GPR_RSP] = svm->nested->rsp;
	regs->rip = svm->nested->rip;
	regs->rflags = svm->nested->rflags;
	use_vmcb(vcpu, svm->own);
}

void svm_nested_exit(struct vcpu *vcpu)
{
	struct svm_vcpu *svm = svm_of(vcpu);

	if (svm->nested)
		port_free(svm->nested, sizeof(*svm->nested));
}
