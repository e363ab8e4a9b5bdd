/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Exit codes into neutral exits. APM volume 2, "SVM Intercept Codes", "IOIO Intercepts", "Nested
 * versus Guest Page Faults", "EXITINTINFO", "State Saved on Exit".
 *
 * An exit that an instruction caused ends that instruction's part in the interrupt shadow: the
 * hypervisor completes it, so the shadow is cleared here. After a nested page fault it may as well run again,
 * still in the shadow: there svm_emulating() is called when that is known.
 */
#include "svm/next_rip.h"
#include "postern/port.h"

#define NPF_PRESENT BIT64(0)
#define NPF_WRITE   BIT64(1)
#define NPF_FETCH   BIT64(4)
#define NPF_WALK    BIT64(33)

#define LAST_EXCEPTION 31

/* Exit codes that need no more than a kind; everything else is decoded below. */
struct simple_exit {
	u8 kind;          /* enum exit_kind, 1 more: 0 is a code that is not simple */
	bool instruction; /* completed by emulation */
};

#define EVENT(code, exit_kind)       [code] = {(exit_kind) + 1, false}
#define INSTRUCTION(code, exit_kind) [code] = {(exit_kind) + 1, true}

static const struct simple_exit simple_exits[] = {
        EVENT(SVM_EXIT_INTR, EXIT_INTR),
        EVENT(SVM_EXIT_NMI, EXIT_NMI),
        EVENT(SVM_EXIT_SMI, EXIT_INTR),
        EVENT(SVM_EXIT_INIT, EXIT_INIT),
        EVENT(SVM_EXIT_VINTR, EXIT_INTR_WINDOW),
        EVENT(SVM_EXIT_SWINT, EXIT_SOFTWARE_INT),
        EVENT(SVM_EXIT_TASK_SWITCH, EXIT_TASK_SWITCH),
        EVENT(SVM_EXIT_SHUTDOWN, EXIT_SHUTDOWN),
        INSTRUCTION(SVM_EXIT_RDPMC, EXIT_RDPMC),
        INSTRUCTION(SVM_EXIT_CPUID, EXIT_CPUID),
        INSTRUCTION(SVM_EXIT_INVD, EXIT_INVALIDATE),
        INSTRUCTION(SVM_EXIT_PAUSE, EXIT_PAUSE),
        INSTRUCTION(SVM_EXIT_HLT, EXIT_HLT),
        INSTRUCTION(SVM_EXIT_INVLPGA, EXIT_VIRT_INSN),
        INSTRUCTION(SVM_EXIT_VMRUN, EXIT_VIRT_INSN),
        INSTRUCTION(SVM_EXIT_VMMCALL, EXIT_VMCALL),
        INSTRUCTION(SVM_EXIT_VMLOAD, EXIT_VIRT_INSN),
        INSTRUCTION(SVM_EXIT_VMSAVE, EXIT_VIRT_INSN),
        INSTRUCTION(SVM_EXIT_STGI, EXIT_VIRT_INSN),
        INSTRUCTION(SVM_EXIT_CLGI, EXIT_VIRT_INSN),
        INSTRUCTION(SVM_EXIT_SKINIT, EXIT_VIRT_INSN),
        INSTRUCTION(SVM_EXIT_WBINVD, EXIT_INVALIDATE),
        INSTRUCTION(SVM_EXIT_MONITOR, EXIT_VIRT_INSN),
        INSTRUCTION(SVM_EXIT_MWAIT, EXIT_VIRT_INSN),
        INSTRUCTION(SVM_EXIT_MWAIT_ARMED, EXIT_VIRT_INSN),
        INSTRUCTION(SVM_EXIT_XSETBV, EXIT_XSETBV),
        INSTRUCTION(SVM_EXIT_RDPRU, EXIT_VIRT_INSN),
        INSTRUCTION(SVM_EXIT_INVLPGB, EXIT_VIRT_INSN),
        INSTRUCTION(SVM_EXIT_MCOMMIT, EXIT_VIRT_INSN),
};

/* 0: not known, the instruction will be looked at. */
static u64 hinted_next_rip(struct vcpu *vcpu)
{
	const struct vmcb_save *save = &svm_vmcb(vcpu)->save;
	u32 length = next_rip_length(next_rip_bytes(vcpu, save));

	return length ? save->rip + length : 0;
}

void svm_emulating(struct vcpu *vcpu)
{
	svm_vmcb(vcpu)->control.int_state &= ~SVM_INT_SHADOW;
	svm_intr_insn_exit(vcpu);
}

static void instruction_exit(struct vcpu *vcpu)
{
	struct vmcb_control *control = &svm_vmcb(vcpu)->control;

	svm_emulating(vcpu);
	if (svm_has(SVM_CPUID_NRIPS))
		vcpu->exit.next_rip = control->next_rip;
	else
		vcpu->exit.next_rip = hinted_next_rip(vcpu);
}

static void decode_simple(struct vcpu *vcpu, u64 code)
{
	if (code < ARRAY_SIZE(simple_exits) && simple_exits[code].kind) {
		vcpu->exit.kind = simple_exits[code].kind - 1;
		if (simple_exits[code].instruction)
			instruction_exit(vcpu);
		return;
	}
	vcpu->exit.kind = svm_exit_is_invalid(code) ? EXIT_INVALID : EXIT_UNKNOWN;
}

static void decode_io(struct vcpu *vcpu)
{
	const struct vmcb_control *control = &svm_vmcb(vcpu)->control;
	u32 info = (u32)control->exit_info_1;
	u32 address = SVM_IOIO_ADDR(info);

	instruction_exit(vcpu);
	vcpu->exit.kind = EXIT_IO;
	/* The address of the next instruction comes with this exit on every processor. */
	vcpu->exit.next_rip = control->exit_info_2;
	vcpu->exit.io = (struct exit_io){
	        .port = SVM_IOIO_PORT(info),
	        .size = (u8)SVM_IOIO_SIZE(info),
	        .in = info & SVM_IOIO_IN,
	        .string = info & SVM_IOIO_STRING,
	        .rep = info & SVM_IOIO_REP,
	        .address_size = (u8)(address * 2),
	        /* Valid with decode assists only. */
	        .segment = svm_has(SVM_CPUID_DECODE) ? (u8)SVM_IOIO_SEG(info) : 0xff,
	};
}

static void decode_memory(struct vcpu *vcpu)
{
	const struct vmcb_control *control = &svm_vmcb(vcpu)->control;
	u64 info = control->exit_info_1;

	vcpu->exit.kind = EXIT_MEMORY;
	vcpu->exit.memory = (struct exit_memory){
	        .gpa = GPA(control->exit_info_2),
	        .write = info & NPF_WRITE,
	        .fetch = info & NPF_FETCH,
	        .present = info & NPF_PRESENT,
	        .walk = info & NPF_WALK,
	};
}

/* Exceptions with an error code: #DF, #TS, #NP, #SS, #GP, #PF, #AC. */
#define ERROR_CODES                                                                                \
	(BIT(VECTOR_DF) | BIT(VECTOR_TS) | BIT(VECTOR_NP) | BIT(VECTOR_SS) | BIT(VECTOR_GP) |      \
	 BIT(VECTOR_PF) | BIT(VECTOR_AC))

static void decode_exception(struct vcpu *vcpu, u8 vector)
{
	const struct vmcb_control *control = &svm_vmcb(vcpu)->control;

	/* The guest's single step, or ours? */
	if (vector == VECTOR_DB && svm_intr_step_exit(vcpu)) {
		vcpu->exit.kind = EXIT_NMI_WINDOW;
		return;
	}
	/* The stepped instruction faults: the guest's handler sees its own flags. */
	svm_intr_cancel_step(vcpu);
	if (vector == VECTOR_PF) {
		svm_vmcb(vcpu)->save.cr2 = control->exit_info_2;
		svm_dirty(vcpu, SVM_CLEAN_CR2);
	}
	vcpu->exit.kind = EXIT_EXCEPTION;
	vcpu->exit.exception = (struct exit_exception){
	        .vector = vector,
	        .has_error = BIT(vector) & ERROR_CODES,
	        .error = (u32)control->exit_info_1,
	};
}

/*
 * QEMU 7.2 calls an interrupt that V_IRQ has brought an exception (docs/emulators.md): which would be refused
 * when it is injected again, or be another event, with an error code.
 */
static u64 interrupted_type(struct vcpu *vcpu, u64 info)
{
	const struct svm_vcpu *svm = svm_of(vcpu);
	u8 vector = (u8)(info & SVM_EVENT_VECTOR);
	bool virq = svm->virq && vector == (u8)(svm->vmcb->control.int_ctl >> 32);

	if ((info & SVM_EVENT_TYPE) == SVM_EVENT_EXCEPTION && (virq || vector > LAST_EXCEPTION))
		return SVM_EVENT_INTR;
	return info & SVM_EVENT_TYPE;
}

/*
 * The event whose delivery the exit interrupted. INT n, INT3 and INTO leave RIP at the instruction,
 * which simply runs again; everything else must be injected again.
 */
static __inlined void decode_event(struct vcpu *vcpu)
{
	u64 info = svm_vmcb(vcpu)->control.exit_int_info;
	struct intr_event *again = &vcpu->intr.again;
	u8 vector = (u8)(info & SVM_EVENT_VECTOR);
	u64 type = interrupted_type(vcpu, info);

	vcpu->exit.delivering = info & SVM_EVENT_VALID;
	svm_intr_virq_exit(vcpu);
	again->valid = false;
	if (!vcpu->exit.delivering)
		return;
	switch (type) {
	case SVM_EVENT_INTR:
		again->type = INTR_TYPE_EXTERNAL;
		break;
	case SVM_EVENT_NMI:
		again->type = INTR_TYPE_NMI;
		break;
	case SVM_EVENT_EXCEPTION:
		if (vector == VECTOR_BP || vector == VECTOR_OF)
			return;
		again->type = INTR_TYPE_EXCEPTION;
		break;
	default:
		return;
	}
	again->vector = vector;
	again->has_error = type == SVM_EVENT_EXCEPTION && info & SVM_EVENT_ERROR;
	again->error = (u32)(info >> 32);
	again->valid = true;
}

void svm_decode_event(struct vcpu *vcpu)
{
	decode_event(vcpu);
}

void svm_decode_exit(struct vcpu *vcpu)
{
	const struct vmcb_control *control = &svm_vmcb(vcpu)->control;
	u64 code = control->exit_code;

	vcpu->exit.next_rip = 0;
	vcpu->exit.cache_disabled = svm_vmcb(vcpu)->save.cr0 & CR0_CD;
	vcpu->exit.raw[0] = code;
	vcpu->exit.raw[1] = control->exit_info_1;
	vcpu->exit.raw[2] = control->exit_info_2;
	decode_event(vcpu);
	if (code == SVM_EXIT_MSR) {
		instruction_exit(vcpu);
		vcpu->exit.kind = control->exit_info_1 & 1 ? EXIT_WRMSR : EXIT_RDMSR;
	} else if (code == SVM_EXIT_IOIO) {
		decode_io(vcpu);
	} else if (code == SVM_EXIT_NPF) {
		decode_memory(vcpu);
	} else if (code == SVM_EXIT_AVIC_INCOMPLETE_IPI) {
		svm_avic_ipi_exit(vcpu);
	} else if (code == SVM_EXIT_AVIC_NOACCEL) {
		svm_avic_noaccel_exit(vcpu);
	} else if (code == SVM_EXIT_IRET) {
		vcpu->exit.kind = EXIT_NMI_WINDOW;
		svm_intr_iret_exit(vcpu);
	} else if (code == SVM_EXIT_CR_WRITE(4) || code == SVM_EXIT_CR_WRITE(8)) {
		instruction_exit(vcpu);
		vcpu->exit.kind = EXIT_CR;
		vcpu->exit.cr =
		        (struct exit_cr){.reg = (u8)(code - SVM_EXIT_CR_WRITE(0)), .write = true};
	} else if (code >= SVM_EXIT_EXCEPTION(0) && code <= SVM_EXIT_EXCEPTION(31)) {
		decode_exception(vcpu, (u8)(code - SVM_EXIT_EXCEPTION(0)));
	} else {
		decode_simple(vcpu, code);
	}
}
