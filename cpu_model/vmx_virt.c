/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * VMX's answers to virt.h. SDM volume 3, "VMX Non-Root Operation": "Instructions That Cause VM Exits", "Other
 * Causes of VM Exits", "Changes to Instruction Behavior in VMX Non-Root Operation", "Monitor Trap Flag";
 * "VM Entries": "Event Injection", "Interrupt-Window Exiting and Virtual-Interrupt Delivery", "NMI-Window
 * Exiting"; "Priority Among Concurrent Events".
 *
 * Behind an instruction comes first what its write to the APIC does. Then, from the first to the last: monitor
 * trap flag, debug trap, preemption timer, NMI window, NMI, interrupt window or virtual interrupt, external
 * interrupt. An injected event comes before all of these, the TPR threshold's exit right behind it. Delivery of a
 * virtual interrupt is followed by another such boundary, before the handler's first instruction; and so is an
 * external interrupt that was the notification of posted ones, which leaves a halted guest halted.
 *
 * In the shadow of STI neither an NMI nor a window comes: processors may differ in that.
 */
#include "cpu_model/guest.h"
#include "cpu_model/virt.h"
#include "cpu_model/vmx.h"
#include "postern/port.h"

#define MSR_PART     0x2000u
#define MSR_WRITE    (2 * MSR_PART)
#define DEBUG_BS     BIT64(14) /* in DR6 and in a #DB's qualification */
#define EVENT(type)  (VMX_EVENT_VALID | VMX_EVENT_##type)
#define CR_Q(reg, a) ((u64)(reg) | (u64)(a) << 4) /* the operand is RAX */

static bool primary(const struct model_cpu *cpu, u32 bit)
{
	return cpu->vmx.primary & bit;
}

/* --- instructions --- */

/* "MSR-Bitmap Address" */
static bool msr_exits(const struct model_cpu *cpu, u32 msr, bool write)
{
	u32 bit = msr & (MSR_PART - 1);
	const u8 *map;

	if (!primary(cpu, VMX_PROC_MSR_BITMAPS) || (msr - bit != 0 && msr - bit != 0xc0000000))
		return true;
	bit += (msr - bit ? MSR_PART : 0) + (write ? MSR_WRITE : 0);
	map = hpa_to_ptr(HPA(vmx_field(cpu, VMCS_MSR_BITMAP)));
	return map[bit / 8] >> bit % 8 & 1;
}

static bool leaves_for_msr(struct model_cpu *cpu, const struct guest_insn *insn, bool write)
{
	if (!msr_exits(cpu, (u32)cpu->regs.gpr[GPR_RCX], write))
		return false;
	return vmx_exit_insn(cpu, insn, write ? VMX_EXIT_WRMSR : VMX_EXIT_RDMSR, 0);
}

/* "I/O-Bitmap Addresses": with them the other control does not count. */
static bool io_exits(const struct model_cpu *cpu, u32 port, u32 size)
{
	if (!primary(cpu, VMX_PROC_IO_BITMAPS))
		return primary(cpu, VMX_PROC_IO);
	for (u32 p = port; p < port + size; p++) {
		const u8 *map;

		if (p > 0xffff)
			return true;
		map = hpa_to_ptr(
		        HPA(vmx_field(cpu, p & 0x8000 ? VMCS_IO_BITMAP_B : VMCS_IO_BITMAP_A)));
		if (map[(p & 0x7fff) / 8] >> p % 8 & 1)
			return true;
	}
	return false;
}

static bool leaves_for_io(struct model_cpu *cpu, const struct guest_insn *insn, bool in)
{
	u16 port = (u16)cpu->regs.gpr[GPR_RDX];

	if (!io_exits(cpu, port, insn->size))
		return false;
	return vmx_exit_insn(cpu, insn, VMX_EXIT_IO,
	                     (u64)port << 16 | (in ? VMX_IO_IN : 0) | (insn->size - 1u));
}

static bool is_cr3_target(const struct model_cpu *cpu)
{
	/* The fields of the values do not exist here: a count of 0 is all that is used. */
	if (vmx_field(cpu, VMCS_CR3_TARGETS))
		port_panic("CR3-target values, which the model does not have");
	return false;
}

static u64 cr_mask(const struct model_cpu *cpu, u8 reg, u64 *shadow)
{
	*shadow = 0;
	if (reg != 0 && reg != 4)
		return 0;
	*shadow = vmx_field(cpu, reg ? VMCS_CR4_SHADOW : VMCS_CR0_SHADOW);
	return vmx_field(cpu, reg ? VMCS_CR4_MASK : VMCS_CR0_MASK);
}

static bool leaves_for_write(const struct model_cpu *cpu, u8 reg)
{
	u64 shadow, mask = cr_mask(cpu, reg, &shadow);

	if (reg == 3)
		return primary(cpu, VMX_PROC_CR3_LOAD) && !is_cr3_target(cpu);
	if (reg == 8)
		return primary(cpu, VMX_PROC_CR8_LOAD);
	return (cpu->regs.gpr[GPR_RAX] ^ shadow) & mask;
}

static bool leaves_for_cr(struct model_cpu *cpu, const struct guest_insn *insn, bool write)
{
	bool out = write ? leaves_for_write(cpu, insn->reg)
	                 : primary(cpu, insn->reg == 3   ? VMX_PROC_CR3_STORE
	                                : insn->reg == 8 ? VMX_PROC_CR8_STORE
	                                                 : 0);

	return out && vmx_exit_insn(cpu, insn, VMX_EXIT_CR,
	                            CR_Q(insn->reg, write ? VMX_CR_TO : VMX_CR_FROM));
}

/* A software exception; RIP is the instruction's. */
static bool leaves_for_int3(struct model_cpu *cpu)
{
	if (!(vmx_field(cpu, VMCS_EXCEPTIONS) & BIT(VECTOR_BP)))
		return false;
	vmx_exit(cpu, VMX_EXIT_EXCEPTION, 0);
	vmx_set_field(cpu, VMCS_EXIT_INFO, EVENT(SOFT_EXC) | VECTOR_BP);
	vmx_set_field(cpu, VMCS_EXIT_LENGTH, 1);
	return true;
}

static bool leaves(struct model_cpu *cpu, const struct guest_insn *insn, enum model_cause why)
{
	switch (why) {
	case MODEL_ON_RDMSR:
	case MODEL_ON_WRMSR:
		return leaves_for_msr(cpu, insn, why == MODEL_ON_WRMSR);
	case MODEL_ON_IN:
	case MODEL_ON_OUT:
		return leaves_for_io(cpu, insn, why == MODEL_ON_IN);
	case MODEL_ON_READ_CR:
	case MODEL_ON_WRITE_CR:
		return leaves_for_cr(cpu, insn, why == MODEL_ON_WRITE_CR);
	case MODEL_ON_INT3:
		return leaves_for_int3(cpu);
	case MODEL_ON_CPUID:
		return vmx_exit_insn(cpu, insn, VMX_EXIT_CPUID, 0);
	case MODEL_ON_HYPERCALL:
		return vmx_exit_insn(cpu, insn, VMX_EXIT_VMCALL, 0);
	case MODEL_ON_XSETBV:
		return vmx_exit_insn(cpu, insn, VMX_EXIT_XSETBV, 0);
	case MODEL_ON_HLT:
		return primary(cpu, VMX_PROC_HLT) && vmx_exit_insn(cpu, insn, VMX_EXIT_HLT, 0);
	case MODEL_ON_PAUSE:
		return primary(cpu, VMX_PROC_PAUSE) && vmx_exit_insn(cpu, insn, VMX_EXIT_PAUSE, 0);
	case MODEL_ON_RDTSC:
		return primary(cpu, VMX_PROC_RDTSC) && vmx_exit_insn(cpu, insn, VMX_EXIT_RDTSC, 0);
	case MODEL_ON_WBINVD:
		return cpu->vmx.secondary & VMX_PROC2_WBINVD &&
		       vmx_exit_insn(cpu, insn, VMX_EXIT_WBINVD, 0);
	default: /* VMRUN does not exist, IRET does not exit */
		return false;
	}
}

static bool leaves_with(struct model_cpu *cpu, u8 vector, bool has_error, u32 error)
{
	u64 qualification = vector == VECTOR_PF   ? cpu->regs.cr2
	                    : vector == VECTOR_DB ? DEBUG_BS
	                                          : 0;

	if (!(vmx_field(cpu, VMCS_EXCEPTIONS) & BIT(vector)))
		return false;
	vmx_exit(cpu, VMX_EXIT_EXCEPTION, qualification);
	vmx_set_field(cpu, VMCS_EXIT_INFO,
	              EVENT(EXCEPTION) | vector | (has_error ? VMX_EVENT_ERROR : 0));
	if (has_error)
		vmx_set_field(cpu, VMCS_EXIT_ERROR, error);
	return true;
}

static void shut_down(struct model_cpu *cpu)
{
	vmx_exit(cpu, VMX_EXIT_TRIPLE_FAULT, 0);
}

/* --- events --- */

/* A test wants delivery to be cut short, as by a fault on the guest's stack. */
static bool is_cut_short(struct model_cpu *cpu, u32 info)
{
	if (!cpu->break_deliveries)
		return false;
	cpu->break_deliveries--;
	vmx_exit(cpu, VMX_EXIT_EXTERNAL, 0);
	vmx_set_field(cpu, VMCS_IDT_INFO, info);
	if (info & VMX_EVENT_ERROR)
		vmx_set_field(cpu, VMCS_IDT_ERROR, vmx_field(cpu, VMCS_ENTRY_ERROR));
	return true;
}

/* Those that an instruction would have caused push the address behind it: for the script it is executed. */
static void skip_software(struct model_cpu *cpu, u32 type)
{
	struct guest_insn *insn = cpu->guest->insn;
	u64 length = vmx_field(cpu, VMCS_ENTRY_LENGTH);

	if (type < VMX_EVENT_SOFTWARE)
		return;
	cpu->regs.rip += length;
	if (insn && !insn->done && insn->length == length)
		insn->done = true;
}

static bool inject_event(struct model_cpu *cpu)
{
	u32 info = (u32)vmx_field(cpu, VMCS_ENTRY_INFO);
	u32 type = info & VMX_EVENT_TYPE;
	bool exception = type == VMX_EVENT_EXCEPTION || type == VMX_EVENT_SOFT_EXC ||
	                 type == VMX_EVENT_PRIVILEGED;

	if (!(info & VMX_EVENT_VALID))
		return true;
	if (type == VMX_EVENT_NMI && cpu->vmx.pin & VMX_PIN_VIRTUAL_NMI)
		cpu->vmx.nmi_blocked = true;
	if (is_cut_short(cpu, info))
		return false;
	skip_software(cpu, type);
	/* A debug trap goes with the exception that is injected in its place. */
	if (exception)
		cpu->trap_pending = false;
	cpu->halted = false;
	cpu->vmx.mtf_pending = primary(cpu, VMX_PROC_MTF);
	return model_deliver(cpu, (u8)(info & VMX_EVENT_VECTOR), exception, info & VMX_EVENT_ERROR,
	                     (u32)vmx_field(cpu, VMCS_ENTRY_ERROR));
}

static bool inject(struct model_cpu *cpu)
{
	return inject_event(cpu) && !vmx_apic_below_threshold(cpu);
}

static bool leave(struct model_cpu *cpu, u32 reason)
{
	vmx_exit(cpu, reason, 0);
	return false;
}

/* false: the guest leaves. */
static bool take_traps(struct model_cpu *cpu)
{
	if (cpu->vmx.mtf_pending)
		return leave(cpu, VMX_EXIT_MTF);
	if (!cpu->trap_pending)
		return true;
	cpu->trap_pending = false;
	if (model_virt()->leaves_with(cpu, VECTOR_DB, false, 0))
		return false;
	cpu->halted = false;
	cpu->regs.dr6 |= DEBUG_BS;
	return model_deliver(cpu, VECTOR_DB, true, false, 0);
}

static bool take_nmi(struct model_cpu *cpu)
{
	if (primary(cpu, VMX_PROC_NMI_WINDOW) && !cpu->vmx.nmi_blocked && !cpu->regs.shadow)
		return leave(cpu, VMX_EXIT_NMI_WINDOW);
	if (!__atomic_load_n(&cpu->nmi.v, __ATOMIC_SEQ_CST))
		return true;
	ASSERT(cpu->vmx.pin & VMX_PIN_NMI);
	__atomic_store_n(&cpu->nmi.v, 0, __ATOMIC_SEQ_CST);
	vmx_exit(cpu, VMX_EXIT_EXCEPTION, 0);
	vmx_set_field(cpu, VMCS_EXIT_INFO, EVENT(NMI) | VECTOR_NMI);
	return false;
}

static bool is_open(const struct model_cpu *cpu)
{
	return cpu->regs.rflags & RFLAGS_IF && !cpu->regs.shadow;
}

/* "Virtual-Interrupt Delivery": the page has it in service by now, also if it does not get through the IDT. */
static bool take_virtual(struct model_cpu *cpu)
{
	u8 vector = vapic_deliver(&cpu->vapic);

	cpu->halted = false;
	if (is_cut_short(cpu,
	                 cpu->stale_vectoring ? cpu->stale_vectoring : EVENT(EXTERNAL) | vector))
		return false;
	cpu->vmx.mtf_pending = primary(cpu, VMX_PROC_MTF);
	return model_deliver(cpu, vector, false, false, 0);
}

/* The look at the physical APIC is a step where it does more than make the guest leave. -1: nothing pending. */
static int external(struct model_cpu *cpu)
{
	if (cpu->vapic.pi_desc)
		model_look(&cpu->irr[cpu->vapic.pi_vector / 64]);
	return model_apic_pending(cpu);
}

/* The guest leaves, or it was the notification of posted interrupts. */
static bool take_external(struct model_cpu *cpu, u8 vector)
{
	bool acknowledges = cpu->vmx.exit_controls & VMX_EXIT_CTL_ACK_INTR;

	ASSERT(cpu->vmx.pin & VMX_PIN_EXTERNAL);
	if (acknowledges)
		model_apic_ack(cpu, vector);
	if (acknowledges && vapic_process_posted(&cpu->vapic, vector)) {
		cpu->notified++;
		return true;
	}
	vmx_exit(cpu, VMX_EXIT_EXTERNAL, 0);
	if (acknowledges)
		vmx_set_field(cpu, VMCS_EXIT_INFO, EVENT(EXTERNAL) | vector);
	return false;
}

static bool comes_early(struct model_cpu *cpu)
{
	if (!cpu->early_timers || !(cpu->vmx.pin & VMX_PIN_PREEMPTION_TIMER))
		return false;
	cpu->early_timers--;
	return true;
}

static bool boundary(struct model_cpu *cpu)
{
	for (;;) {
		int vector;

		if (!take_traps(cpu))
			return false;
		if (vmx_timer_expired(cpu) || comes_early(cpu))
			return leave(cpu, VMX_EXIT_PREEMPTION_TIMER);
		if (!take_nmi(cpu))
			return false;
		if (primary(cpu, VMX_PROC_INTR_WINDOW) && is_open(cpu))
			return leave(cpu, VMX_EXIT_INTR_WINDOW);
		if (vapic_can_deliver(&cpu->vapic, is_open(cpu))) {
			/* IF is clear behind it: not a second one. */
			if (!take_virtual(cpu))
				return false;
			continue;
		}
		vector = external(cpu);
		if (vector < 0)
			return true;
		if (!take_external(cpu, (u8)vector))
			return false;
	}
}

static bool is_due(const struct model_cpu *cpu)
{
	return cpu->vmx.mtf_pending || vmx_timer_expired(cpu) || cpu->early_timers ||
	       primary(cpu, VMX_PROC_INTR_WINDOW | VMX_PROC_NMI_WINDOW) ||
	       vapic_can_deliver(&cpu->vapic, is_open(cpu));
}

static bool executed(struct model_cpu *cpu)
{
	cpu->vmx.mov_ss = false;
	if (!vmx_apic_emulate(cpu))
		return false;
	cpu->vmx.mtf_pending = primary(cpu, VMX_PROC_MTF);
	return true;
}

static bool left_for_interrupt(const struct model_cpu *cpu)
{
	return cpu->vmx.reason == VMX_EXIT_EXTERNAL;
}

static void halt(struct model_cpu *cpu)
{
	cpu->halted = true;
}

static void returned(struct model_cpu *cpu)
{
	cpu->vmx.nmi_blocked = false;
}

static u64 tsc_offset(const struct model_cpu *cpu)
{
	return primary(cpu, VMX_PROC_TSC_OFFSET) ? vmx_field(cpu, VMCS_TSC_OFFSET) : 0;
}

/* --- memory --- */

static u64 tlb_tag(const struct model_cpu *cpu)
{
	return cpu->vmx.eptp & PAGE_MASK;
}

static struct model_walk walk(const struct model_cpu *cpu, gpa_t gpa, enum model_access access)
{
	struct model_walk result = vmx_ept_walk(cpu->vmx.eptp, gpa, access);

	result.apic = result.ok && vmx_apic_is_page(cpu, result.frame);
	return result;
}

static void nested_fault(struct model_cpu *cpu, gpa_t gpa, enum model_access access,
                         const struct model_walk *result)
{
	static const u64 kind[] = {[MODEL_READ] = VMX_EPT_Q_READ,
	                           [MODEL_WRITE] = VMX_EPT_Q_WRITE,
	                           [MODEL_EXEC] = VMX_EPT_Q_FETCH};

	if (result->error & VMX_EPT_MISCONFIGURED) {
		vmx_exit(cpu, VMX_EXIT_EPT_MISCONFIGURED, 0);
	} else {
		vmx_exit(cpu, VMX_EXIT_EPT_VIOLATION,
		         kind[access] | result->error | VMX_EPT_Q_LINEAR | VMX_EPT_Q_TRANSLATED);
		vmx_set_field(cpu, VMCS_GUEST_LINEAR, gpa.v);
	}
	vmx_set_field(cpu, VMCS_GUEST_PHYSICAL, gpa.v);
}

const struct model_virt model_vmx = {
        .hypercall = {0x0f, 0x01, 0xc1}, /* VMCALL */
        .leaves = leaves,
        .leaves_with = leaves_with,
        .shut_down = shut_down,
        .boundary = boundary,
        .is_due = is_due,
        .executed = executed,
        .inject = inject,
        .left_for_interrupt = left_for_interrupt,
        .halt = halt,
        .fetch = vmx_apic_fetch,
        .returned = returned,
        .tsc_offset = tsc_offset,
        .cr_mask = cr_mask,
        .read_cr8 = vmx_apic_read_cr8,
        .write_cr8 = vmx_apic_write_cr8,
        .has_apic_page = vmx_apic_has_page,
        .apic_page = vmx_apic_page,
        .has_apic_msr = vmx_apic_has_msr,
        .apic_msr = vmx_apic_msr,
        .tlb_tag = tlb_tag,
        .walk = walk,
        .nested_fault = nested_fault,
};
