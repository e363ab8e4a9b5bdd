/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Exits of AVIC. APM volume 2, "AVIC IPI Delivery Not Completed" (401h) and "AVIC Access to
 * un-accelerated vAPIC register" (402h).
 *
 *  - 401h comes behind the write of ICR. Of its causes only "target not running" says that every target
 *    has its interrupt; for the others the whole IPI is sent by software.
 *  - 402h comes behind the write of a register in the list below, with the value in the page; for any
 *    other access before the instruction, which is then emulated.
 *  - The manual does not say what next-RIP save holds here: it is not looked at.
 */
#include "postern/port.h"
#include "svm/svm.h"
#include "x86/apic.h"
#include "x86/avic.h"

/* Registers whose writes are traps, a bit for each sixteen bytes of the first kilobyte. */
#define REG(offset) BIT64((offset) / 16)
#define TRAPS                                                                                      \
	(REG(APIC_ID) | REG(APIC_EOI) | REG(APIC_RRD) | REG(APIC_LDR) | REG(APIC_DFR) |            \
	 REG(APIC_SVR) | REG(APIC_ESR) | REG(APIC_ICR) | REG(APIC_LVTT) | REG(APIC_LVTTHMR) |      \
	 REG(APIC_LVTPC) | REG(APIC_LVT0) | REG(APIC_LVT1) | REG(APIC_LVTERR) | REG(APIC_TMICT) |  \
	 REG(APIC_TDCR))

static bool is_x2avic(const struct vmcb_control *control)
{
	return control->int_ctl & SVM_X2AVIC_ENABLE;
}

static void ipi_exit(struct vcpu *vcpu, u64 icr, bool posted)
{
	u32 high = (u32)(icr >> 32);

	vcpu->exit.kind = EXIT_IPI_INCOMPLETE;
	vcpu->exit.apic = (struct exit_apic){
	        .offset = APIC_ICR,
	        .icr = (u32)icr,
	        .dest = is_x2avic(&svm_vmcb(vcpu)->control) ? high : high >> 24,
	        .posted = posted,
	};
}

static void count_cause(struct vcpu *vcpu, u32 cause)
{
	static const u8 counters[] = {
	        [AVIC_IPI_INVALID_TYPE] = COUNTER_IPI_BAD_TYPE,
	        [AVIC_IPI_INVALID_TARGET] = COUNTER_IPI_BAD_TARGET,
	        [AVIC_IPI_INVALID_PAGE] = COUNTER_IPI_BAD_PAGE,
	        [AVIC_IPI_INVALID_VECTOR] = COUNTER_IPI_BAD_VECTOR,
	};

	/* Others count where they are handled. */
	if (cause < ARRAY_SIZE(counters) && cause != AVIC_IPI_NOT_RUNNING)
		vcpu_count(vcpu, (enum counter_id)counters[cause]);
}

/* A trap has completed its instruction, and with it the interrupt shadow. */
static void end_instruction(struct vcpu *vcpu)
{
	svm_vmcb(vcpu)->control.int_state &= ~SVM_INT_SHADOW;
	svm_intr_insn_exit(vcpu);
}

void svm_avic_ipi_exit(struct vcpu *vcpu)
{
	const struct vmcb_control *control = &svm_vmcb(vcpu)->control;
	u32 cause = (u32)(control->exit_info_2 >> 32);

	end_instruction(vcpu);
	if (cause == AVIC_IPI_INVALID_PAGE)
		port_log("vm %u: vCPU %u: AVIC refuses the backing page of index %llu",
		         vcpu->vm->id, vcpu->index,
		         (unsigned long long)(control->exit_info_2 & AVIC_MAX_INDEX));
	count_cause(vcpu, cause);
	ipi_exit(vcpu, control->exit_info_1, cause == AVIC_IPI_NOT_RUNNING);
}

/* Before the instruction: an access of the page is emulated, one by RDMSR or WRMSR is an MSR exit. */
static void fault(struct vcpu *vcpu, u32 offset, bool write)
{
	const struct vmcb_control *control = &svm_vmcb(vcpu)->control;

	if (is_x2avic(control)) {
		vcpu->exit.kind = write ? EXIT_WRMSR : EXIT_RDMSR;
		return;
	}
	vcpu->exit.kind = EXIT_APIC_ACCESS;
	vcpu->exit.memory = (struct exit_memory){
	        .gpa = GPA((control->avic_apic_bar & AVIC_POINTER) | offset),
	        .write = write,
	        .present = true,
	};
}

void svm_avic_noaccel_exit(struct vcpu *vcpu)
{
	const struct vmcb_control *control = &svm_vmcb(vcpu)->control;
	u32 offset = (u32)(control->exit_info_1 & AVIC_NOACCEL_OFFSET);
	bool write = control->exit_info_1 & AVIC_NOACCEL_WRITE;

	end_instruction(vcpu);
	if (!write || offset >= 0x400 || !(TRAPS & REG(offset))) {
		fault(vcpu, offset, write);
		return;
	}
	if (offset == APIC_ICR) {
		ipi_exit(vcpu,
		         (u64)lapic_register(&vcpu->lapic, APIC_ICR2) << 32 |
		                 lapic_register(&vcpu->lapic, APIC_ICR),
		         false);
		return;
	}
	vcpu->exit.kind = EXIT_APIC_WRITE;
	vcpu->exit.apic = (struct exit_apic){.offset = offset, .vector = (u8)control->exit_info_2};
}
