/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SVM's answers to virt.h. APM volume 2, "Instruction Intercepts", "Exception Intercepts", "IOIO Intercepts",
 * "Interrupt and NMI Intercepts", "Virtual Interrupts", "Event Injection":
 *
 *  - Physical interrupts are recognised between two instructions and before virtual ones; an injected event is
 *    delivered before the first of these boundaries. That is what makes an injection plus a pending physical
 *    interrupt a forced immediate exit.
 *  - V_IRQ is taken if its priority is above V_TPR (or V_IGN_TPR), the guest's IF is set and no
 *    interrupt shadow holds it off.
 *  - EVENTINJ is unconditional, whatever IF, GIF, V_TPR and the interrupt shadow say, and exception intercepts
 *    do not apply to it.
 */
#include "cpu_model/guest.h"
#include "cpu_model/virt.h"
#include "postern/port.h"

/* EXITINFO1 of IOIO: address size of the instruction's form, 64 bits here. */
#define IOIO_ADDR64 BIT(9)
/* EXITINFO1 of a nested page fault: at the final access, not while a table was walked. */
#define NPF_FINAL BIT64(32)

static bool intercepted(struct model_cpu *cpu, u64 code)
{
	return model_intercepts(&cpu->control, code);
}

/* Some exits tell where the next instruction is, others do where the feature exists. */
static bool leave(struct model_cpu *cpu, const struct guest_insn *insn, u64 code)
{
	cpu->next_rip = cpu->regs.rip + insn->length;
	cpu->exit_code = code;
	return true;
}

static bool leaves_for_io(struct model_cpu *cpu, const struct guest_insn *insn, bool in)
{
	u16 port = (u16)cpu->regs.gpr[GPR_RDX];

	if (!model_intercepts_io(&cpu->control, port, insn->size))
		return false;
	cpu->exit_info_1 =
	        (u32)port << 16 | IOIO_ADDR64 | (u32)insn->size << 4 | (in ? SVM_IOIO_IN : 0);
	cpu->exit_info_2 = cpu->regs.rip + insn->length;
	return leave(cpu, insn, SVM_EXIT_IOIO);
}

static bool leaves_for_msr(struct model_cpu *cpu, const struct guest_insn *insn, bool write)
{
	if (!model_intercepts_msr(&cpu->control, (u32)cpu->regs.gpr[GPR_RCX], write))
		return false;
	cpu->exit_info_1 = write;
	return leave(cpu, insn, SVM_EXIT_MSR);
}

static bool leaves_for_cr(struct model_cpu *cpu, const struct guest_insn *insn, bool write)
{
	u64 code = write ? SVM_EXIT_CR_WRITE(insn->reg) : SVM_EXIT_CR_READ(insn->reg);
	u64 changed = cpu->regs.gpr[GPR_RAX] ^ cpu->regs.cr0;

	if (intercepted(cpu, code))
		return leave(cpu, insn, code);
	if (write && insn->reg == 0 && changed & ~(CR0_TS | CR0_MP) &&
	    intercepted(cpu, SVM_EXIT_CR0_SEL))
		return leave(cpu, insn, SVM_EXIT_CR0_SEL);
	return false;
}

/* "Pause Intercept Filtering": the count runs down first. */
static bool leaves_for_pause(struct model_cpu *cpu, const struct guest_insn *insn)
{
	if (!intercepted(cpu, SVM_EXIT_PAUSE))
		return false;
	if (!model_has(MODEL_PAUSE_FILTER) || cpu->pause_left == 0)
		return leave(cpu, insn, SVM_EXIT_PAUSE);
	cpu->pause_left--;
	return false;
}

/* An emulator that takes INT3 for an INT n looks at that intercept only. */
static bool leaves_for_int3(struct model_cpu *cpu)
{
	u64 code = model_has(MODEL_INT3_IS_INTN) ? SVM_EXIT_SWINT : SVM_EXIT_EXCEPTION(VECTOR_BP);

	if (!intercepted(cpu, code))
		return false;
	cpu->exit_code = code;
	return true;
}

static bool leaves(struct model_cpu *cpu, const struct guest_insn *insn, enum model_cause why)
{
	static const u8 codes[] = {
	        [MODEL_ON_CPUID] = SVM_EXIT_CPUID,   [MODEL_ON_HLT] = SVM_EXIT_HLT,
	        [MODEL_ON_RDTSC] = SVM_EXIT_RDTSC,   [MODEL_ON_HYPERCALL] = SVM_EXIT_VMMCALL,
	        [MODEL_ON_WBINVD] = SVM_EXIT_WBINVD, [MODEL_ON_XSETBV] = SVM_EXIT_XSETBV,
	        [MODEL_ON_VMRUN] = SVM_EXIT_VMRUN,   [MODEL_ON_IRET] = SVM_EXIT_IRET,
	};

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
	case MODEL_ON_PAUSE:
		return leaves_for_pause(cpu, insn);
	case MODEL_ON_INT3:
		return leaves_for_int3(cpu);
	default:
		return intercepted(cpu, codes[why]) && leave(cpu, insn, codes[why]);
	}
}

static bool leaves_with(struct model_cpu *cpu, u8 vector, bool has_error __unused, u32 error)
{
	if (!intercepted(cpu, SVM_EXIT_EXCEPTION(vector)))
		return false;
	cpu->exit_code = SVM_EXIT_EXCEPTION(vector);
	cpu->exit_info_1 = error;
	cpu->exit_info_2 = vector == VECTOR_PF ? cpu->regs.cr2 : 0;
	return true;
}

/* An exit if intercepted. On a real machine all would end otherwise. */
static void shut_down(struct model_cpu *cpu)
{
	if (!intercepted(cpu, SVM_EXIT_SHUTDOWN))
		port_panic("guest shutdown that the hypervisor does not intercept");
	cpu->exit_code = SVM_EXIT_SHUTDOWN;
}

static bool inject(struct model_cpu *cpu)
{
	u64 event = cpu->control.event_inj;
	bool exception = (event & SVM_EVENT_TYPE) == SVM_EVENT_EXCEPTION;
	u8 vector = (u8)(event & SVM_EVENT_VECTOR);

	if (!(event & SVM_EVENT_VALID))
		return true;
	if ((event & SVM_EVENT_TYPE) == SVM_EVENT_NMI)
		vector = VECTOR_NMI;
	if (cpu->break_deliveries) {
		/* A test wants delivery to be cut short, as by a fault on the guest's stack. */
		cpu->break_deliveries--;
		cpu->exit_code = SVM_EXIT_INTR;
		cpu->exit_int_info = event;
		return false;
	}
	return model_deliver(cpu, vector, exception, event & SVM_EVENT_ERROR, (u32)(event >> 32));
}

/* false: the guest leaves. */
static bool take_v_irq(struct model_cpu *cpu)
{
	u64 int_ctl = cpu->control.int_ctl;
	u64 priority = (int_ctl & SVM_V_INTR_PRIO_MASK) >> 16;

	if (!cpu->v_irq || !(cpu->regs.rflags & RFLAGS_IF) || cpu->regs.shadow)
		return true;
	if (priority <= cpu->v_tpr && !(int_ctl & SVM_V_IGN_TPR))
		return true;
	if (intercepted(cpu, SVM_EXIT_VINTR)) {
		cpu->exit_code = SVM_EXIT_VINTR;
		return false;
	}
	cpu->v_irq = false;
	return model_deliver(cpu, (u8)(int_ctl >> 32), false, false, 0);
}

/* V_IRQ is ignored while AVIC is on ("Additional VMRUN Handling"). */
static bool take_virtual_interrupt(struct model_cpu *cpu)
{
	return cpu->avic.enabled ? model_avic_take_interrupt(cpu) : take_v_irq(cpu);
}

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
		ASSERT(intercepted(cpu, SVM_EXIT_NMI));
		cpu->exit_code = SVM_EXIT_NMI;
		return false;
	}
	if (open && model_apic_pending(cpu) >= 0) {
		ASSERT(intercepted(cpu, SVM_EXIT_INTR));
		cpu->exit_code = SVM_EXIT_INTR;
		return false;
	}
	return take_virtual_interrupt(cpu);
}

static bool is_due(const struct model_cpu *cpu)
{
	return cpu->v_irq;
}

static bool executed(struct model_cpu *cpu __unused)
{
	return true;
}

static bool left_for_interrupt(const struct model_cpu *cpu)
{
	return cpu->exit_code == SVM_EXIT_INTR;
}

static void halt(struct model_cpu *cpu __unused)
{
	port_panic("HLT is not intercepted: the guest would stop the processor");
}

static bool fetch(struct model_cpu *cpu __unused, gpa_t gpa __unused)
{
	return true;
}

static void returned(struct model_cpu *cpu __unused)
{
}

static u64 tsc_offset(const struct model_cpu *cpu)
{
	return cpu->control.tsc_offset;
}

static u64 cr_mask(const struct model_cpu *cpu __unused, u8 reg __unused, u64 *shadow)
{
	return *shadow = 0;
}

static u64 read_cr8(struct model_cpu *cpu)
{
	ASSERT(cpu->control.int_ctl & SVM_V_INTR_MASKING);
	return cpu->v_tpr;
}

static enum model_result write_cr8(struct model_cpu *cpu, u64 value)
{
	ASSERT(cpu->control.int_ctl & SVM_V_INTR_MASKING);
	cpu->v_tpr = value;
	if (cpu->avic.enabled)
		avic_write_cr8(&cpu->avic, value);
	return MODEL_DONE;
}

static u64 tlb_tag(const struct model_cpu *cpu)
{
	return cpu->control.asid;
}

static struct model_walk walk(const struct model_cpu *cpu, gpa_t gpa, enum model_access access)
{
	return model_nested_walk(HPA(cpu->control.n_cr3 & PAGE_MASK), gpa, access);
}

/* "Nested Paging Faults": EXITINFO1 has the page-fault error code, EXITINFO2 the guest-physical address. */
static void nested_fault(struct model_cpu *cpu, gpa_t gpa, enum model_access access __unused,
                         const struct model_walk *result)
{
	cpu->exit_code = SVM_EXIT_NPF;
	cpu->exit_info_1 = NPF_FINAL | result->error;
	cpu->exit_info_2 = gpa.v;
}

const struct model_virt model_svm = {
        .hypercall = {0x0f, 0x01, 0xd9}, /* VMMCALL */
        .leaves = leaves,
        .leaves_with = leaves_with,
        .shut_down = shut_down,
        .boundary = boundary,
        .is_due = is_due,
        .executed = executed,
        .inject = inject,
        .left_for_interrupt = left_for_interrupt,
        .halt = halt,
        .fetch = fetch,
        .returned = returned,
        .tsc_offset = tsc_offset,
        .cr_mask = cr_mask,
        .read_cr8 = read_cr8,
        .write_cr8 = write_cr8,
        .has_apic_page = model_avic_has_page,
        .apic_page = model_avic_page,
        .has_apic_msr = model_avic_has_msr,
        .apic_msr = model_avic_msr,
        .tlb_tag = tlb_tag,
        .walk = walk,
        .nested_fault = nested_fault,
};
