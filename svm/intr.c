/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The injection primitives on SVM. APM volume 2, "Event Injection", "Virtual Interrupts",
 * "Interrupt Shadows", "NMI Support".
 *
 * - Exceptions and NMIs go through EVENTINJ, one event per entry.
 * - Maskable interrupts go as a virtual interrupt (V_IRQ with the vector, highest priority, TPR
 *   ignored, no VINTR intercept). It is injected only when IF is set and no shadow blocks, so the
 *   processor takes it before the first guest instruction, or exits first for a physical interrupt:
 *   then V_IRQ is still set and it can be taken back. EVENTINJ would do as well on real processors,
 *   and is used where V_IRQ is needed for a window or the exit is forced; but QEMU 7.2 may deliver
 *   such an interrupt twice (docs/emulators.md).
 * - Interrupt window: a virtual interrupt (V_IRQ) of the highest priority that ignores the TPR, with
 *   the VINTR intercept: the processor exits where it would take it, that is, as soon as IF is set
 *   and no shadow blocks. It works behind an injected event, so no forced exit is needed for this
 *   class. irq/intr.c opens it only for an interrupt that the TPR lets through; the other case exits
 *   on the write of CR8. So nothing depends on how a processor compares V_INTR_PRIO with V_TPR.
 * - NMI window: the processor has none. While an NMI handler runs, IRET is intercepted; that exit
 *   comes before the IRET, so one instruction is stepped over (TF, #DB intercept). Likewise over the
 *   instruction behind STI or MOV SS. No event may save the TF that we set: a step is cancelled
 *   before anything is injected, and exceptions exit while one is under way.
 * - Forced immediate exit (requirement S4.2): an IPI to itself while GIF is clear, seen pending in
 *   the physical APIC before VMRUN, so that the exit cannot come late.
 */
#include "insn.h"
#include "postern/port.h"
#include "svm/svm.h"
#include "x86/apic.h"

#define DR6_BS BIT64(14)

/* With the slot free. */
static __inlined enum intr_block blocked_by_state(struct vcpu *vcpu, enum intr_class class)
{
	const struct vmcb_control *control = &svm_vmcb(vcpu)->control;
	const struct svm_vcpu *svm = svm_of(vcpu);

	if (class == INTR_CLASS_EXCEPTION)
		return INTR_BLOCK_NONE;
	if (class == INTR_CLASS_NMI && svm->nmi_masked)
		return INTR_BLOCK_NMI;
	if (class == INTR_CLASS_EXTERNAL && !(vcpu->regs.rflags & RFLAGS_IF))
		return INTR_BLOCK_IF;
	if (control->int_state & SVM_INT_SHADOW)
		return INTR_BLOCK_SHADOW;
	return INTR_BLOCK_NONE;
}

static __noinline enum intr_block blocked_rarely(struct vcpu *vcpu, enum intr_class class)
{
	if (svm_nested_gets(vcpu, class))
		return svm_nested_blocked(vcpu, class);
	if (svm_vmcb(vcpu)->control.event_inj & SVM_EVENT_VALID || svm_of(vcpu)->virq)
		return INTR_BLOCK_SLOT;
	return blocked_by_state(vcpu, class);
}

enum intr_block svm_intr_blocked(struct vcpu *vcpu, enum intr_class class)
{
	const struct svm_vcpu *svm = svm_of(vcpu);

	if (svm->vmcb->control.event_inj & SVM_EVENT_VALID || svm->virq || svm->in_nested)
		return blocked_rarely(vcpu, class);
	return blocked_by_state(vcpu, class);
}

static u64 event_type(u8 type)
{
	switch (type) {
	case INTR_TYPE_NMI:
		return SVM_EVENT_NMI;
	case INTR_TYPE_EXCEPTION:
		return SVM_EVENT_EXCEPTION;
	case INTR_TYPE_SOFTWARE:
		return SVM_EVENT_SOFT;
	default:
		return SVM_EVENT_INTR;
	}
}

static void intercept_iret(struct vcpu *vcpu, bool on)
{
	struct vmcb_control *control = &svm_vmcb(vcpu)->control;

	if (on)
		control->intercept_misc1 |= SVM_MISC1(SVM_EXIT_IRET);
	else
		control->intercept_misc1 &= ~SVM_MISC1(SVM_EXIT_IRET) | svm_of(vcpu)->asked.misc1;
	svm_dirty(vcpu, SVM_CLEAN_INTERCEPTS);
}

void svm_intr_apply_masked(struct vcpu *vcpu)
{
	intercept_iret(vcpu, svm_of(vcpu)->nmi_masked);
}

/* V_IRQ for `vector`, or none. `window`: exit where the processor would take it. */
static void set_virq(struct vcpu *vcpu, bool on, u8 vector, bool window)
{
	struct vmcb_control *control = &svm_vmcb(vcpu)->control;

	control->int_ctl &=
	        ~(SVM_V_IRQ | SVM_V_INTR_PRIO_MASK | SVM_V_IGN_TPR | SVM_V_INTR_VECTOR_MASK);
	control->intercept_misc1 &= ~SVM_MISC1(SVM_EXIT_VINTR);
	if (on)
		control->int_ctl |= SVM_V_IRQ | SVM_V_INTR_PRIO(0xf) | SVM_V_IGN_TPR |
		                    SVM_V_INTR_VECTOR(vector);
	if (window)
		control->intercept_misc1 |= SVM_MISC1(SVM_EXIT_VINTR);
	svm_dirty(vcpu, SVM_CLEAN_INT_CTL | SVM_CLEAN_INTERCEPTS);
}

static bool has_window(struct vcpu *vcpu)
{
	return svm_vmcb(vcpu)->control.intercept_misc1 & SVM_MISC1(SVM_EXIT_VINTR);
}

void svm_intr_inject(struct vcpu *vcpu, const struct intr_event *event)
{
	struct vmcb_control *control = &svm_vmcb(vcpu)->control;
	struct svm_vcpu *svm = svm_of(vcpu);
	u64 slot = event->vector | event_type(event->type) | SVM_EVENT_VALID;

	ASSERT(!(control->event_inj & SVM_EVENT_VALID) && !svm->virq);
	svm_intr_cancel_step(vcpu);
	if (event->type == INTR_TYPE_EXTERNAL && !has_window(vcpu) && !svm->avic_bits) {
		svm->virq = true;
		set_virq(vcpu, true, event->vector, false);
		return;
	}
	if (event->has_error)
		slot |= SVM_EVENT_ERROR | (u64)event->error << 32;
	control->event_inj = slot;
	if (event->type != INTR_TYPE_NMI)
		return;
	svm->nmi_masked = true;
	intercept_iret(vcpu, true);
}

void svm_intr_virq_to_event(struct vcpu *vcpu)
{
	struct vmcb_control *control = &svm_vmcb(vcpu)->control;

	if (!svm_of(vcpu)->virq)
		return;
	control->event_inj = (u8)(control->int_ctl >> 32) | SVM_EVENT_INTR | SVM_EVENT_VALID;
	svm_of(vcpu)->virq = false;
	set_virq(vcpu, false, 0, false);
}

/*
 * V_IRQ still set: not taken, and it stays in the slot. A delivery that began and was interrupted is
 * in EXITINTINFO (vcpu->exit.delivering) and goes again from there, whatever V_IRQ says.
 */
void svm_intr_virq_exit(struct vcpu *vcpu)
{
	struct svm_vcpu *svm = svm_of(vcpu);

	if (!svm->virq || (svm->vmcb->control.int_ctl & SVM_V_IRQ && !vcpu->exit.delivering))
		return;
	svm->virq = false;
	set_virq(vcpu, false, 0, false);
}

bool svm_intr_retract(struct vcpu *vcpu)
{
	struct vmcb_control *control = &svm_vmcb(vcpu)->control;
	u64 slot = control->event_inj & (SVM_EVENT_VALID | SVM_EVENT_TYPE);

	if (svm_of(vcpu)->virq) {
		svm_of(vcpu)->virq = false;
		set_virq(vcpu, false, 0, false);
		return true;
	}
	if (slot != (SVM_EVENT_VALID | SVM_EVENT_INTR))
		return false;
	control->event_inj = 0;
	return true;
}

static void set_interrupt_window(struct vcpu *vcpu, bool open)
{
	svm_intr_virq_to_event(vcpu);
	set_virq(vcpu, open, 0, open);
}

/* --- single step --- */

/*
 * With IRET as the next instruction and IF set, the processor would deliver by itself before it, and
 * save our TF. So it has no AVIC for that one entry; the APIC's page is not IRET's to access. In a
 * shadow nothing can come before the instruction, and behind it the trap is first.
 */
void svm_intr_apply_avic(struct vcpu *vcpu)
{
	struct svm_vcpu *svm = svm_of(vcpu);
	u64 bits = svm->step == SVM_STEP_IRET ? 0 : svm->avic_bits;
	struct vmcb_control *control = &svm->vmcb->control;

	if ((control->int_ctl & (SVM_AVIC_ENABLE | SVM_X2AVIC_ENABLE)) == bits)
		return;
	control->int_ctl &= ~(SVM_AVIC_ENABLE | SVM_X2AVIC_ENABLE);
	control->int_ctl |= bits;
	svm_dirty(vcpu, SVM_CLEAN_INT_CTL | SVM_CLEAN_AVIC);
}

void svm_intr_start_step(struct vcpu *vcpu, enum svm_step step)
{
	struct svm_vcpu *svm = svm_of(vcpu);

	if (svm->step == SVM_STEP_NONE) {
		svm->step_tf = vcpu->regs.rflags & RFLAGS_TF;
		vcpu->regs.rflags |= RFLAGS_TF;
		svm->stepped = false;
		svm->vmcb->control.intercept_exceptions |= SVM_STEP_EXCEPTIONS;
		svm_dirty(vcpu, SVM_CLEAN_INTERCEPTS);
	}
	svm->step = (u8)step;
	svm_intr_apply_avic(vcpu);
}

/* The guest's flags as they would be without our step. IRET has loaded its own: nothing to undo. */
static void end_step(struct vcpu *vcpu)
{
	struct svm_vcpu *svm = svm_of(vcpu);

	if ((svm->step == SVM_STEP_SHADOW || svm->step == SVM_STEP_DEBUG) && !svm->step_tf)
		vcpu->regs.rflags &= ~RFLAGS_TF;
	svm->step = SVM_STEP_NONE;
	svm->vmcb->control.intercept_exceptions = svm->exceptions;
	svm_dirty(vcpu, SVM_CLEAN_INTERCEPTS);
	svm_intr_apply_avic(vcpu);
}

/*
 * An event comes before the instruction to be stepped over has run: it would save our TF with the
 * guest's flags, and the guest would trap when its handler returns. (INT n, INT3 and INTO as the
 * stepped instruction itself still do.)
 */
void svm_intr_cancel_step(struct vcpu *vcpu)
{
	struct svm_vcpu *svm = svm_of(vcpu);
	u8 step = svm->step;

	if (step == SVM_STEP_NONE)
		return;
	if (!svm->step_tf)
		vcpu->regs.rflags &= ~RFLAGS_TF;
	end_step(vcpu);
	if (step == SVM_STEP_IRET)
		intercept_iret(vcpu, true);
}

/* The instruction in the shadow exited and is completed by emulation: the step is over. */
void svm_intr_insn_exit(struct vcpu *vcpu)
{
	u8 step = svm_of(vcpu)->step;

	if (step == SVM_STEP_SHADOW || step == SVM_STEP_DEBUG || step == SVM_STEP_DEBUG_FLAGS)
		svm_intr_cancel_step(vcpu);
}

bool svm_intr_step_exit(struct vcpu *vcpu)
{
	struct svm_vcpu *svm = svm_of(vcpu);
	u8 step = svm->step;

	if (step == SVM_STEP_NONE)
		return false;
	end_step(vcpu);
	svm->stepped = true;
	if (step == SVM_STEP_IRET)
		svm->nmi_masked = false;
	/* The guest was stepping too: its #DB. */
	if (svm_debug_own_trap(svm))
		return false;
	svm->vmcb->save.dr6 &= ~DR6_BS;
	svm_dirty(vcpu, SVM_CLEAN_DR);
	return true;
}

/* IRET is about to run: NMIs are open once it has. Step over it if one waits, else just remember.
 */
void svm_intr_iret_exit(struct vcpu *vcpu)
{
	intercept_iret(vcpu, false);
	svm_intr_start_step(vcpu, SVM_STEP_IRET);
}

/* --- entries in the interrupt shadow --- */

/*
 * With a window for interrupts open such an entry ends behind the instruction in the shadow. Where it
 * has ended before it (shadow_exit), the instruction is stepped over, without the window.
 */
void svm_intr_shadow_enter(struct vcpu *vcpu)
{
	struct svm_vcpu *svm = svm_of(vcpu);

	if (!svm->shadow_lost || !has_window(vcpu) ||
	    svm_intr_blocked(vcpu, INTR_CLASS_EXTERNAL) != INTR_BLOCK_SHADOW)
		return;
	set_virq(vcpu, false, 0, false);
	svm->shadow_window = true;
	if (svm->step == SVM_STEP_NONE)
		svm_intr_start_step(vcpu, SVM_STEP_SHADOW);
}

/*
 * An exit that no instruction has caused, with RIP as it was: nothing has run, and the shadow stands
 * whatever the processor says. For an instruction that jumps to itself it then stands for one turn
 * more, until the step.
 */
void svm_intr_shadow_exit(struct vcpu *vcpu)
{
	struct svm_vcpu *svm = svm_of(vcpu);
	struct vmcb_control *control = &svm->vmcb->control;
	u64 code = control->exit_code;

	if (svm->shadow_window)
		set_virq(vcpu, true, 0, true);
	svm->shadow_window = false;
	if (svm->vmcb->save.rip != vcpu->regs.rip || control->exit_int_info & SVM_EVENT_VALID ||
	    (code != SVM_EXIT_VINTR && code != SVM_EXIT_INTR && code != SVM_EXIT_NMI))
		return;
	if (code == SVM_EXIT_VINTR)
		svm->shadow_lost = true;
	control->int_state |= SVM_INT_SHADOW;
}

void svm_intr_window(struct vcpu *vcpu, enum intr_class class, bool open)
{
	struct svm_vcpu *svm = svm_of(vcpu);

	if (class == INTR_CLASS_EXTERNAL) {
		if (!svm_nested_has_no_window(vcpu))
			set_interrupt_window(vcpu, open);
		return;
	}
	/* Masked: the IRET intercept is on already. Else only a shadow can be in the way. */
	if (open && !svm->nmi_masked && svm->step == SVM_STEP_NONE)
		svm_intr_start_step(vcpu, SVM_STEP_SHADOW);
	else if (!open && svm->step == SVM_STEP_SHADOW)
		svm_intr_cancel_step(vcpu);
}

bool svm_intr_force(struct vcpu *vcpu, enum intr_class class)
{
	return class == INTR_CLASS_NMI || svm_nested_gets(vcpu, class);
}

/* --- exits on demand --- */

void svm_intr_tpr_exit(struct vcpu *vcpu, bool on)
{
	struct vmcb_control *control = &svm_vmcb(vcpu)->control;

	/* Not for a task priority that is not the local APIC's. */
	if (on && svm_of(vcpu)->tpr)
		control->intercept_cr |= SVM_CR_WRITE(8);
	else
		control->intercept_cr &= ~SVM_CR_WRITE(8) | svm_of(vcpu)->asked.cr;
	svm_dirty(vcpu, SVM_CLEAN_INTERCEPTS);
}

void svm_pause_exits(struct vcpu *vcpu, bool on)
{
	struct vmcb_control *control = &svm_vmcb(vcpu)->control;
	u32 bit = SVM_MISC1(SVM_EXIT_PAUSE);

	on |= !!(svm_of(vcpu)->asked.misc1 & bit);
	if (!!(control->intercept_misc1 & bit) == on)
		return;
	control->intercept_misc1 ^= bit;
	/* With a filter, only every so many PAUSEs in a row exit ("Pause Intercept Filtering"). */
	control->pause_filter_count = svm_has(SVM_CPUID_PAUSE_FILTER) ? 1000 : 0;
	svm_dirty(vcpu, SVM_CLEAN_INTERCEPTS);
}
