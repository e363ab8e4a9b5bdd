/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * APIC virtualization (vapic.h) as a part of the processor with VMX: what entry gives to it and exit takes back,
 * and which of the guest's accesses it answers. SDM volume 3, "APIC Virtualization and Virtual Interrupts". Where it
 * stands among events is vmx_virt.c's.
 *
 *  - The APIC-access page is a page of the host: an access is one of the APIC's by the frame that EPT gives, so
 *    that there is a translation, with the right, or an EPT violation ("Priority of APIC-Access VM Exits").
 *  - What a cached translation leads to stays what it was: the run ends where the page's address or its control
 *    has changed, the guest gets there and there was no INVEPT. So it does where the page is mapped by more than
 *    4 KiB ("Other Accesses to the APIC-Access Page"), and where an access that is not virtualized, of CR8 or of
 *    an MSR, would reach the APIC of the host.
 *  - Accesses that no linear address leads to: the processor's walk of the guest's own tables, of which it reads
 *    here the page that CR3 names, once for each value.
 *
 *  - Notifications are physical interrupts: an IPI of this processor's to whom a descriptor names, and, when one
 *    is acknowledged here that has the notification vector, no exit ("Posted-Interrupt Processing"; vmx_virt.c).
 *  - A descriptor or a PID-pointer table that is not in memory ends the run; an entry of the table that leads
 *    outside of it is the microcode's to refuse.
 */
#include "cpu_model/execute.h"
#include "cpu_model/vmx.h"
#include "postern/port.h"
#include "x86/apic.h"
#include "x86/msr.h"

#define NO_PAGE      (~0ull)
#define NO_CR3       (~0ull)
#define FIRST_VECTOR 16

static bool secondary(const struct model_cpu *cpu, u32 bit)
{
	return cpu->vmx.secondary & bit;
}

/* --- entry and exit --- */

static void load_page(struct model_cpu *cpu)
{
	cpu->vmx.walked = NO_CR3;
	cpu->vmx.apic_access = NO_PAGE;
	if (secondary(cpu, VMX_PROC2_APIC_ACCESS))
		cpu->vmx.apic_access = vmx_field(cpu, VMCS_APIC_ACCESS) / PAGE_SIZE;
}

/*
 * A physical IPI, as by a write of ICR in the mode that the APICs are in. For a processor that is not there, or of a
 * vector that no interrupt has: none.
 */
static void notify(void *context __unused, u32 host_id, u8 vector)
{
	u32 broadcast = model_has(MODEL_XAPIC) ? 0xff : 0xffffffff;
	struct model *m = model();

	for (u32 i = 0; i < m->cpu_count && vector >= FIRST_VECTOR; i++)
		if (host_id == i || host_id == broadcast)
			model_apic_raise(&m->cpu[i], vector);
}

static void end_notification(void *context)
{
	struct model_cpu *cpu = context;

	ASSERT(cpu->in_service_depth);
	cpu->in_service_depth--;
}

/* What does not come from the VMCS. */
static void load_processor(struct model_cpu *cpu)
{
	struct vapic *vapic = &cpu->vapic;
	struct avic_memory memory = model_memory();

	vapic->switches = model()->vapic_switches;
	vapic->host_x2 = !model_has(MODEL_XAPIC);
	vapic->width = VMX_ADDRESS_BITS;
	vapic->memory_start = memory.start;
	vapic->memory_end = memory.end;
	vapic->notify = notify;
	vapic->eoi = end_notification;
	vapic->context = cpu;
}

static void *memory_at(const struct vapic *vapic, u64 address, u64 size, const char *what)
{
	if (address < vapic->memory_start || address + size > vapic->memory_end)
		port_panic("VM entry: the %s at %llx is not in memory", what,
		           (unsigned long long)address);
	return hpa_to_ptr(HPA(address));
}

static void load_posting(struct model_cpu *cpu)
{
	struct vapic *vapic = &cpu->vapic;

	vapic->pi_vector = (u8)vmx_field(cpu, VMCS_PI_VECTOR);
	vapic->pi_desc = NULL;
	if (cpu->vmx.pin & VMX_PIN_POSTED)
		vapic->pi_desc = memory_at(vapic, vmx_field(cpu, VMCS_PI_DESC), PI_DESC_SIZE,
		                           "posted-interrupt descriptor");
	vapic->ipiv = cpu->vmx.tertiary & VMX_PROC3_IPIV;
	vapic->last_index = (u16)vmx_field(cpu, VMCS_LAST_PI_INDEX);
	vapic->pi_table = NULL;
	if (vapic->ipiv)
		vapic->pi_table =
		        memory_at(vapic, vmx_field(cpu, VMCS_PI_TABLE),
		                  (vapic->last_index + 1ull) * sizeof(u64), "PID-pointer table");
}

void vmx_apic_enter(struct model_cpu *cpu)
{
	struct vapic *vapic = &cpu->vapic;

	load_processor(cpu);
	load_posting(cpu);
	vapic->tpr_shadow = cpu->vmx.primary & VMX_PROC_TPR_SHADOW;
	vapic->page = NULL;
	if (vapic->tpr_shadow)
		vapic->page = hpa_to_ptr(HPA(vmx_field(cpu, VMCS_VIRTUAL_APIC)));
	vapic->threshold = vmx_field(cpu, VMCS_TPR_THRESHOLD) & 0xf;
	vapic->x2apic = secondary(cpu, VMX_PROC2_X2APIC);
	vapic->apic_registers = secondary(cpu, VMX_PROC2_APIC_REGISTER);
	vapic->vid = secondary(cpu, VMX_PROC2_VID);
	vapic->intr_window = cpu->vmx.primary & VMX_PROC_INTR_WINDOW;
	for (u32 i = 0; i < ARRAY_SIZE(vapic->eoi_exit); i++)
		vapic->eoi_exit[i] = vmx_field(cpu, (u32)VMCS_EOI_EXIT(i));
	load_page(cpu);
	vapic_enter(vapic, (u16)vmx_field(cpu, VMCS_GUEST_INTR_STATUS));
}

/* "VM Exits Induced by the TPR Threshold" */
bool vmx_apic_below_threshold(struct model_cpu *cpu)
{
	if (!secondary(cpu, VMX_PROC2_APIC_ACCESS) || !vapic_is_below_threshold(&cpu->vapic))
		return false;
	vmx_exit(cpu, VMX_EXIT_TPR_BELOW_THRESHOLD, 0);
	return true;
}

void vmx_apic_leave(struct model_cpu *cpu)
{
	u16 status = vapic_leave(&cpu->vapic);

	if (cpu->vapic.vid)
		vmx_set_field(cpu, VMCS_GUEST_INTR_STATUS, status);
}

/* --- accesses --- */

/* What the virtual APIC made of one. */
static enum model_result end(struct model_cpu *cpu, struct vapic_result result)
{
	switch (result.action) {
	case VAPIC_DONE:
		return MODEL_DONE;
	case VAPIC_GP:
		return model_raise(cpu, VECTOR_GP, true, 0) ? MODEL_RESTART : MODEL_EXIT;
	case VAPIC_ORDINARY:
		port_panic("the guest reaches the APIC of the host");
	default:
		vmx_exit(cpu, result.reason, result.qualification);
		return result.action == VAPIC_BEFORE ? MODEL_EXIT : MODEL_TRAP;
	}
}

bool vmx_apic_emulate(struct model_cpu *cpu)
{
	return end(cpu, vapic_emulate_write(&cpu->vapic)) == MODEL_DONE;
}

u64 vmx_apic_read_cr8(struct model_cpu *cpu)
{
	u64 value = 0;

	end(cpu, vapic_read_cr8(&cpu->vapic, &value));
	return value;
}

enum model_result vmx_apic_write_cr8(struct model_cpu *cpu, u64 value)
{
	return end(cpu, vapic_write_cr8(&cpu->vapic, value));
}

bool vmx_apic_is_page(const struct model_cpu *cpu, u64 frame)
{
	return frame == cpu->vmx.apic_access;
}

/* By the translation that the access has just used. */
bool vmx_apic_has_page(struct model_cpu *cpu, gpa_t gpa)
{
	u64 page = gpa.v / PAGE_SIZE;
	const struct model_tlb_entry *used = model_tlb_find(cpu, cpu->vmx.eptp & PAGE_MASK, page);

	ASSERT(used);
	if (used->apic != vmx_apic_is_page(cpu, used->frame))
		port_panic(
		        "access at %llx: the APIC-access page has changed, and there was no INVEPT",
		        (unsigned long long)gpa.v);
	if (used->apic && used->large)
		port_panic("the APIC-access page is mapped by more than 4 KiB");
	return used->apic;
}

enum model_result vmx_apic_page(struct model_cpu *cpu, const struct guest_insn *insn, u32 offset,
                                bool write)
{
	u64 *gpr = cpu->regs.gpr;
	struct vapic_result result;
	u64 value = 0;

	if (write)
		return end(cpu, vapic_page_write(&cpu->vapic, VAPIC_DATA, offset, insn->size,
		                                 gpr[GPR_RAX]));
	result = vapic_page_read(&cpu->vapic, VAPIC_DATA, offset, insn->size, &value);
	if (result.action == VAPIC_DONE)
		model_set_rax(gpr, value, insn->size);
	return end(cpu, result);
}

/* The walk of the guest's tables ends in the APIC-access page. */
static bool walks_into_page(struct model_cpu *cpu)
{
	struct model_walk walk;

	if (!(cpu->regs.cr0 & CR0_PG) || cpu->regs.cr3 == cpu->vmx.walked)
		return false;
	cpu->vmx.walked = cpu->regs.cr3;
	walk = vmx_ept_walk(cpu->vmx.eptp, GPA(cpu->regs.cr3 & PTE_ADDR), MODEL_READ);
	return walk.ok && vmx_apic_is_page(cpu, walk.frame);
}

bool vmx_apic_fetch(struct model_cpu *cpu, gpa_t gpa)
{
	u64 value;

	if (cpu->vmx.apic_access != NO_PAGE && walks_into_page(cpu)) {
		end(cpu, vapic_physical_access(VAPIC_FETCH));
		return false;
	}
	if (!vmx_apic_has_page(cpu, gpa))
		return true;
	end(cpu, vapic_page_read(&cpu->vapic, VAPIC_FETCH, gpa.v & ~PAGE_MASK, 1, &value));
	return false;
}

bool vmx_apic_has_msr(const struct model_cpu *cpu, u32 msr, bool write __unused)
{
	return cpu->vapic.x2apic && msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST;
}

enum model_result vmx_apic_msr(struct model_cpu *cpu, const struct guest_insn *insn __unused,
                               u32 msr, bool write)
{
	u64 *gpr = cpu->regs.gpr;
	struct vapic_result result;
	u64 value = 0;

	if (write)
		return end(cpu, vapic_msr_write(&cpu->vapic, msr,
		                                gpr[GPR_RDX] << 32 | (u32)gpr[GPR_RAX]));
	result = vapic_msr_read(&cpu->vapic, msr, &value);
	if (result.action == VAPIC_DONE) {
		gpr[GPR_RAX] = (u32)value;
		gpr[GPR_RDX] = value >> 32;
	}
	return end(cpu, result);
}
