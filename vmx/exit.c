/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Exit reasons into neutral exits. SDM volume 3, "VM Exits": "Exit Qualification", "Information for VM Exits
 * Due to Vectored Events", "Information for VM Exits During Event Delivery", "Information for VM Exits Due to
 * Instruction Execution", "Saving Non-Register State".
 *
 * An exit that an instruction caused ends that instruction's part in the interrupt shadow: the hypervisor
 * completes it, so the shadow is cleared here. After an EPT violation it may as well run again, still in the
 * shadow: there vmx_emulating() is called when that is known.
 */
#include "insn.h"
#include "postern/port.h"
#include "vmx/vmx.h"
#include "x86/apic.h"

#define BLOCKED_SHADOW (VMX_BLOCKED_STI | VMX_BLOCKED_SS)

/* Exit reasons that need no more than a kind; everything else is decoded below. */
struct simple_exit {
	u8 kind;          /* enum exit_kind, 1 more: 0 is a reason that is not simple */
	bool instruction; /* completed by emulation */
};

#define EVENT(reason, exit_kind)       [VMX_EXIT_##reason] = {(exit_kind) + 1, false}
#define INSTRUCTION(reason, exit_kind) [VMX_EXIT_##reason] = {(exit_kind) + 1, true}

static const struct simple_exit simple_exits[] = {
        EVENT(EXTERNAL, EXIT_INTR),
        EVENT(PREEMPTION_TIMER, EXIT_INTR), /* as if by one: vmx/timer.c */
        EVENT(TRIPLE_FAULT, EXIT_SHUTDOWN),
        EVENT(INIT, EXIT_INIT),
        EVENT(INTR_WINDOW, EXIT_INTR_WINDOW),
        EVENT(NMI_WINDOW, EXIT_NMI_WINDOW),
        EVENT(TPR_BELOW_THRESHOLD, EXIT_TPR),
        EVENT(TASK_SWITCH, EXIT_TASK_SWITCH),
        EVENT(ENTRY_GUEST_STATE, EXIT_INVALID),
        EVENT(ENTRY_MSR, EXIT_INVALID),
        EVENT(EPT_MISCONFIGURED, EXIT_UNKNOWN),
        EVENT(MTF, EXIT_NMI_WINDOW),
        INSTRUCTION(CPUID, EXIT_CPUID),
        INSTRUCTION(GETSEC, EXIT_VIRT_INSN),
        INSTRUCTION(HLT, EXIT_HLT),
        INSTRUCTION(INVD, EXIT_INVALIDATE),
        INSTRUCTION(WBINVD, EXIT_INVALIDATE),
        INSTRUCTION(RDPMC, EXIT_RDPMC),
        INSTRUCTION(VMCALL, EXIT_VMCALL),
        INSTRUCTION(VMCLEAR, EXIT_VIRT_INSN),
        INSTRUCTION(VMLAUNCH, EXIT_VIRT_INSN),
        INSTRUCTION(VMPTRLD, EXIT_VIRT_INSN),
        INSTRUCTION(VMPTRST, EXIT_VIRT_INSN),
        INSTRUCTION(VMREAD, EXIT_VIRT_INSN),
        INSTRUCTION(VMRESUME, EXIT_VIRT_INSN),
        INSTRUCTION(VMWRITE, EXIT_VIRT_INSN),
        INSTRUCTION(VMXOFF, EXIT_VIRT_INSN),
        INSTRUCTION(VMXON, EXIT_VIRT_INSN),
        INSTRUCTION(INVEPT, EXIT_VIRT_INSN),
        INSTRUCTION(INVVPID, EXIT_VIRT_INSN),
        INSTRUCTION(VMFUNC, EXIT_VIRT_INSN),
        INSTRUCTION(MWAIT, EXIT_VIRT_INSN),
        INSTRUCTION(MONITOR, EXIT_VIRT_INSN),
        INSTRUCTION(RDMSR, EXIT_RDMSR),
        INSTRUCTION(WRMSR, EXIT_WRMSR),
        INSTRUCTION(PAUSE, EXIT_PAUSE),
        INSTRUCTION(XSETBV, EXIT_XSETBV),
};

void vmx_emulating(struct vcpu *vcpu)
{
	struct vmx_controls *want = &vmx_of(vcpu)->vmcs->want;

	/* MOV SS holds a debug trap back. It comes by the emulation of this instruction instead. */
	if (want->interruptibility & VMX_BLOCKED_SS)
		vmcs_write(VMCS_GUEST_PENDING_DEBUG, 0);
	want->interruptibility &= ~BLOCKED_SHADOW;
}

static void instruction_exit(struct vcpu *vcpu)
{
	vmx_emulating(vcpu);
	vcpu->exit.next_rip = vcpu->regs.rip + vmcs_read(VMCS_EXIT_LENGTH);
}

static void decode_simple(struct vcpu *vcpu, u32 reason)
{
	vcpu->exit.kind = EXIT_UNKNOWN;
	if (reason < ARRAY_SIZE(simple_exits) && simple_exits[reason].kind)
		vcpu->exit.kind = simple_exits[reason].kind - 1;
}

/* Half of what exits. An instruction has begun, so no event was cut short; nothing else is to be read. */
static bool decode_instruction(struct vcpu *vcpu, u32 reason)
{
	if (reason >= ARRAY_SIZE(simple_exits) || !simple_exits[reason].instruction)
		return false;
	vcpu->exit.kind = simple_exits[reason].kind - 1;
	vcpu->exit.raw[1] = 0;
	vcpu->exit.delivering = false;
	vcpu->intr.again.valid = false;
	instruction_exit(vcpu);
	return true;
}

static void decode_io(struct vcpu *vcpu, u64 qualification)
{
	instruction_exit(vcpu);
	vcpu->exit.kind = EXIT_IO;
	/* Address size and segment of the string forms are left to the decoder. */
	vcpu->exit.io = (struct exit_io){
	        .port = VMX_IO_PORT(qualification),
	        .size = (u8)VMX_IO_SIZE(qualification),
	        .in = qualification & VMX_IO_IN,
	        .string = qualification & VMX_IO_STRING,
	        .rep = qualification & VMX_IO_REP,
	        .segment = 0xff,
	};
}

static void decode_memory(struct vcpu *vcpu, u64 qualification)
{
	struct vmx_controls *want = &vmx_of(vcpu)->vmcs->want;

	/* IRET had ended the NMI handler already, and runs again. */
	if (qualification & VMX_EPT_Q_UNBLOCKED && !vcpu->exit.delivering)
		want->interruptibility |= VMX_BLOCKED_NMI;
	vcpu->exit.kind = EXIT_MEMORY;
	vcpu->exit.memory = (struct exit_memory){
	        .gpa = GPA(vmcs_read(VMCS_GUEST_PHYSICAL)),
	        .write = qualification & VMX_EPT_Q_WRITE,
	        .fetch = qualification & VMX_EPT_Q_FETCH,
	        .present = qualification & VMX_EPT_Q_MAPPED,
	        .walk = qualification & VMX_EPT_Q_LINEAR && !(qualification & VMX_EPT_Q_TRANSLATED),
	};
}

#define DR6_BREAKPOINTS 0xfull
#define DR6_CAUSES      (DR6_BREAKPOINTS | BIT64(13) | BIT64(14)) /* B0 to B3, BD, BS */

/*
 * #DB leaves DR6 as it was: the qualification has what would be in it. Delivery would have cleared the
 * breakpoints that were not met, and nothing else ("Debug Status Register (DR6)").
 */
static void note_debug(u64 qualification)
{
	insn_write_dr6((insn_read_dr6() & ~DR6_BREAKPOINTS) | (qualification & DR6_CAUSES));
}

static bool is_software(u32 info)
{
	u32 type = info & VMX_EVENT_TYPE;

	return type == VMX_EVENT_PRIVILEGED || type == VMX_EVENT_SOFT_EXC;
}

static void decode_exception(struct vcpu *vcpu, u64 qualification)
{
	u32 info = (u32)vmcs_read(VMCS_EXIT_INFO);
	u8 vector = info & VMX_EVENT_VECTOR;

	if ((info & VMX_EVENT_TYPE) == VMX_EVENT_NMI) {
		vcpu->exit.kind = EXIT_NMI;
		insn_raise_nmi();
		return;
	}
	if (info & VMX_EVENT_UNBLOCKED && !vcpu->exit.delivering && vector != VECTOR_DF)
		vmx_of(vcpu)->vmcs->want.interruptibility |= VMX_BLOCKED_NMI;
	if (vector == VECTOR_DB)
		note_debug(qualification);
	/* INTO and INT1 are traps, but RIP is theirs; that of INT3 stays there (core/debugger.h). */
	if (vector != VECTOR_BP && is_software(info))
		vcpu->regs.rip += vmcs_read(VMCS_EXIT_LENGTH);
	if (vector == VECTOR_PF)
		insn_write_cr2(qualification);
	vcpu->exit.kind = EXIT_EXCEPTION;
	vcpu->exit.exception = (struct exit_exception){
	        .vector = vector,
	        .has_error = info & VMX_EVENT_ERROR,
	        .error = info & VMX_EVENT_ERROR ? (u32)vmcs_read(VMCS_EXIT_ERROR) : 0,
	};
}

static void decode_cr(struct vcpu *vcpu, u64 qualification)
{
	instruction_exit(vcpu);
	vcpu->exit.kind = EXIT_CR;
	vcpu->exit.cr = (struct exit_cr){
	        .reg = (u8)VMX_CR_NUMBER(qualification),
	        .write = VMX_CR_ACCESS(qualification) != VMX_CR_FROM,
	};
}

/*
 * The event whose delivery the exit interrupted. INT n, INT3 and INTO leave RIP at the instruction,
 * which simply runs again; everything else must be injected again. So must an NMI whose handler the
 * processor takes for begun.
 */
static void decode_interrupted_event(struct vcpu *vcpu)
{
	u32 info = (u32)vmcs_read(VMCS_IDT_INFO);
	struct intr_event *again = &vcpu->intr.again;

	vcpu->exit.delivering = info & VMX_EVENT_VALID;
	again->valid = false;
	if (!vcpu->exit.delivering)
		return;
	info = vmx_apicv_cut_short(vcpu, info);
	switch (info & VMX_EVENT_TYPE) {
	case VMX_EVENT_EXTERNAL:
		again->type = INTR_TYPE_EXTERNAL;
		break;
	case VMX_EVENT_NMI:
		again->type = INTR_TYPE_NMI;
		vmx_of(vcpu)->vmcs->want.interruptibility &= ~VMX_BLOCKED_NMI;
		break;
	case VMX_EVENT_EXCEPTION:
		again->type = INTR_TYPE_EXCEPTION;
		break;
	default:
		return;
	}
	again->vector = info & VMX_EVENT_VECTOR;
	again->has_error = info & VMX_EVENT_ERROR;
	again->error = again->has_error ? (u32)vmcs_read(VMCS_IDT_ERROR) : 0;
	again->valid = true;
}

void vmx_decode_exit(struct vcpu *vcpu, u32 reason)
{
	u64 qualification;

	vcpu->exit.next_rip = 0;
	/* The hypervisor's own bit: the guest cannot have changed it. */
	vcpu->exit.cache_disabled = vmx_of(vcpu)->vmcs->state.cr0 & CR0_CD;
	vcpu->exit.raw[0] = reason;
	vcpu->exit.raw[2] = 0;
	if (decode_instruction(vcpu, reason))
		return;
	qualification = vmcs_read(VMCS_QUALIFICATION);
	vcpu->exit.raw[1] = qualification;
	decode_interrupted_event(vcpu);
	switch (reason & VMX_EXIT_BASIC) {
	case VMX_EXIT_EXCEPTION:
		decode_exception(vcpu, qualification);
		break;
	case VMX_EXIT_IO:
		decode_io(vcpu, qualification);
		break;
	case VMX_EXIT_EPT_VIOLATION:
		decode_memory(vcpu, qualification);
		break;
	case VMX_EXIT_CR:
		decode_cr(vcpu, qualification);
		break;
	case VMX_EXIT_APIC_ACCESS:
		vmx_apicv_access_exit(vcpu, qualification);
		break;
	case VMX_EXIT_APIC_WRITE:
		vmx_apicv_write_exit(vcpu, qualification);
		break;
	case VMX_EXIT_EOI:
		vmx_apicv_eoi_exit(vcpu, qualification);
		break;
	default:
		decode_simple(vcpu, reason & VMX_EXIT_BASIC);
		break;
	}
}
