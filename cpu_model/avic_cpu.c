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
#include "cpu_model/model.h"
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

bool model_avic_has_page(const struct model_cpu *cpu, gpa_t gpa)
{
	return cpu->avic.enabled && !cpu->avic.x2 && (gpa.v & AVIC_POINTER) == cpu->avic.bar;
}

bool model_avic_has_msr(const struct model_cpu *cpu, u32 msr)
{
	return cpu->avic.enabled && cpu->avic.x2 && msr >= MSR_X2APIC_FIRST &&
	       msr <= MSR_X2APIC_LAST;
}
