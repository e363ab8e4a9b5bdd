/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * AVIC as a part of the model processor: VMRUN, doorbells between processors, delivery at an
 * instruction boundary, and which of the guest's accesses it answers. APM volume 2, "Advanced Virtual
 * Interrupt Controller".
 *
 * A doorbell is a flag that the processor looks at between two instructions of a guest. One that comes
 * while the processor is outside has no effect: VMRUN evaluates the page in any case ("Doorbell
 * Mechanism", "Additional VMRUN Handling").
 *
 * In xAVIC mode the APIC's page is redirected by a translation that outlives the guest's turn, whatever
 * its ASID: another vCPU of the same VM has to flush ("Physical Address Pointer Restrictions"). What
 * would happen otherwise is not modelled; that the hypervisor forgot it is found.
 */
#include "cpu_model/guest.h"
#include "cpu_model/virt.h"
#include "postern/port.h"
#include "x86/msr.h"

#define DOORBELL_8_BITS  0xffu
#define DOORBELL_12_BITS 0xfffu

u32 model_avic_max_index(u32 features)
{
	if (!(features & MODEL_X2AVIC))
		return 0;
	return features & MODEL_X2AVIC_EXT ? AVIC_X2APIC_EXT_MAX : AVIC_X2APIC_MAX;
}

/* Not a step of the hypervisor's: the processor looks at every boundary. */
static bool is_rung(const struct model_cpu *cpu)
{
	model_look(&cpu->doorbell);
	return __atomic_load_n(&cpu->doorbell.v, __ATOMIC_RELAXED);
}

/* To a processor that is not there: nobody hears it. */
static void ring(void *context, u32 host_id)
{
	struct model *m = context;

	if (host_id >= m->cpu_count)
		return;
	atomic32_set(&m->cpu[host_id].doorbell, 1);
}

void model_avic_doorbell(u64 value)
{
	u32 mask = model()->avic_switches & AVIC_DOORBELL_8 ? DOORBELL_8_BITS : DOORBELL_12_BITS;

	if (value & ~(u64)mask)
		port_panic("doorbell %llx: reserved bits: #GP", (unsigned long long)value);
	ring(model(), (u32)value);
}

static void check_translation(struct model_cpu *cpu)
{
	const struct vmcb_control *control = &cpu->control;
	u64 table = control->avic_physical_table & AVIC_POINTER;
	u64 page = control->avic_backing_page & AVIC_POINTER;

	if ((control->int_ctl & (SVM_AVIC_ENABLE | SVM_X2AVIC_ENABLE)) != SVM_AVIC_ENABLE)
		return;
	if (control->tlb_control == SVM_TLB_NOTHING && table == cpu->xavic_table &&
	    page != cpu->xavic_page)
		port_panic("xAVIC: another vCPU of the VM ran here, and nothing was flushed");
	cpu->xavic_table = table;
	cpu->xavic_page = page;
}

void model_avic_enter(struct model_cpu *cpu)
{
	struct avic *avic = &cpu->avic;

	avic->switches = model()->avic_switches;
	avic->memory = model_memory();
	avic->doorbell = ring;
	avic->context = model();
	/* Taken back before the page is looked at: one that comes from here on is heard. */
	if (is_rung(cpu))
		atomic32_set(&cpu->doorbell, 0);
	check_translation(cpu);
	cpu->v_tpr = avic_enter(avic, &cpu->control);
}

bool model_avic_take_interrupt(struct model_cpu *cpu)
{
	struct avic *avic = &cpu->avic;
	int vector;

	if (is_rung(cpu)) {
		atomic32_xchg(&cpu->doorbell, 0);
		avic_evaluate(avic);
	}
	if (avic->pending < 0 || !(cpu->regs.rflags & RFLAGS_IF) || cpu->regs.shadow)
		return true;
	vector = avic_take(avic);
	if (vector < 0)
		return true;
	return model_deliver(cpu, (u8)vector, false, false, 0);
}

/* --- accesses --- */

/* What AVIC made of one. */
static enum model_result end(struct model_cpu *cpu, const struct guest_insn *insn,
                             struct avic_result result)
{
	if (result.action == AVIC_DONE)
		return MODEL_DONE;
	if (result.action == AVIC_GP)
		return model_raise(cpu, VECTOR_GP, true, 0) ? MODEL_RESTART : MODEL_EXIT;
	cpu->exit_code = result.exit_code;
	cpu->exit_info_1 = result.info_1;
	cpu->exit_info_2 = result.info_2;
	if (result.action == AVIC_BEFORE)
		return MODEL_EXIT;
	if (!avic_is(&cpu->avic, AVIC_NO_NEXT_RIP))
		cpu->next_rip = cpu->regs.rip + insn->length;
	return MODEL_TRAP;
}

enum model_result model_avic_msr(struct model_cpu *cpu, const struct guest_insn *insn, u32 msr,
                                 bool write)
{
	u64 *gpr = cpu->regs.gpr;
	struct avic_result result;
	u64 value = 0;

	if (write) {
		value = gpr[GPR_RDX] << 32 | (u32)gpr[GPR_RAX];
		result = avic_msr_write(&cpu->avic, msr, value);
		cpu->v_tpr = avic_read_cr8(&cpu->avic);
		return end(cpu, insn, result);
	}
	result = avic_msr_read(&cpu->avic, msr, &value);
	if (result.action == AVIC_DONE) {
		gpr[GPR_RAX] = (u32)value;
		gpr[GPR_RDX] = value >> 32;
	}
	return end(cpu, insn, result);
}

enum model_result model_avic_page(struct model_cpu *cpu, const struct guest_insn *insn, u32 offset,
                                  bool write)
{
	struct avic_result result;
	u64 value = 0;

	if (write) {
		result = avic_page_write(&cpu->avic, offset, insn->size, cpu->regs.gpr[GPR_RAX]);
		cpu->v_tpr = avic_read_cr8(&cpu->avic);
		return end(cpu, insn, result);
	}
	result = avic_page_read(&cpu->avic, offset, insn->size, &value);
	if (result.action == AVIC_DONE)
		model_set_rax(cpu->regs.gpr, value, insn->size);
	return end(cpu, insn, result);
}

bool model_avic_has_page(struct model_cpu *cpu, gpa_t gpa)
{
	return cpu->avic.enabled && !cpu->avic.x2 && (gpa.v & AVIC_POINTER) == cpu->avic.bar;
}

bool model_avic_has_msr(const struct model_cpu *cpu, u32 msr, bool write __unused)
{
	return cpu->avic.enabled && cpu->avic.x2 && msr >= MSR_X2APIC_FIRST &&
	       msr <= MSR_X2APIC_LAST;
}
