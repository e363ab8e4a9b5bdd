/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The instruction seam's functions on a model processor. What would fault on a real one is a bug of
 * the hypervisor and ends the run.
 */
#include "insn.h"
#include "cpu_model/vmx.h"
#include "postern/port.h"
#include "x86/apic.h"
#include "x86/msr.h"

#include <string.h>

#define MODEL_FXSAVE_SIZE 512
#define MODEL_XSAVE_SIZE  832 /* legacy area, header, AVX */

void insn_cpuid(u32 leaf, u32 subleaf, struct cpuid_regs *r)
{
	model_cpuid(model_current(), leaf, subleaf, r);
}

u64 insn_rdtsc(void)
{
	return port_tsc();
}

/* Where a host register is kept; NULL: it does not exist. */
static u64 *host_msr(struct model_cpu *cpu, u32 msr)
{
	bool intel = model_has(MODEL_INTEL);

	switch (msr) {
	case MSR_EFER:
		return &cpu->efer;
	case MSR_VM_CR:
		return intel ? NULL : &cpu->vm_cr;
	case MSR_VM_HSAVE_PA:
		return intel ? NULL : &cpu->hsave_pa;
	case MSR_FEATURE_CONTROL:
		return intel ? &cpu->vmx.feature_control : NULL;
	case MSR_PAT:
		return &cpu->pat;
	case MSR_TSC_AUX:
		return &cpu->tsc_aux;
	case MSR_STAR:
		return &cpu->hidden.star;
	case MSR_LSTAR:
		return &cpu->hidden.lstar;
	case MSR_CSTAR:
		return &cpu->hidden.cstar;
	case MSR_SFMASK:
		return &cpu->hidden.sfmask;
	case MSR_KERNEL_GS_BASE:
		return &cpu->hidden.kernel_gs_base;
	case MSR_FS_BASE:
		return &cpu->hidden.fs.base;
	case MSR_GS_BASE:
		return &cpu->hidden.gs.base;
	default:
		return NULL;
	}
}

static u64 apic_base(const struct model_cpu *cpu)
{
	return APIC_BASE_DEFAULT | APIC_BASE_EN | (model_has(MODEL_XAPIC) ? 0 : APIC_BASE_EXTD) |
	       (cpu->index ? 0 : APIC_BASE_BSP);
}

u64 insn_rdmsr(u32 msr)
{
	u64 *value = host_msr(model_current(), msr);
	u64 capability;

	if (msr == MSR_TSC)
		return port_tsc();
	if (msr == MSR_APIC_BASE)
		return apic_base(model_current());
	if (model_has(MODEL_INTEL) && vmx_caps_msr(model()->features, msr, &capability))
		return capability;
	if (!value)
		port_panic("RDMSR of %x: #GP on this processor", msr);
	return *value;
}

void insn_wrmsr(u32 msr, u64 value)
{
	struct model_cpu *cpu = model_current();
	u64 *reg = host_msr(cpu, msr);

	if (msr == MSR_AVIC_DOORBELL && model_has(MODEL_AVIC)) {
		model_avic_doorbell(value);
		return;
	}
	if (!reg)
		port_panic("WRMSR of %x: #GP on this processor", msr);
	if (msr == MSR_EFER && (value & EFER_SVME) &&
	    (model_has(MODEL_NO_SVM | MODEL_INTEL) || (cpu->vm_cr & VM_CR_SVMDIS)))
		port_panic("EFER.SVME set where SVM is not available: #GP");
	if (msr == MSR_VM_CR && model_has(MODEL_SVM_LOCKED))
		return; /* locked: SVMDIS keeps its value */
	if (msr == MSR_FEATURE_CONTROL && *reg & FEATURE_CONTROL_LOCK)
		port_panic("WRMSR of IA32_FEATURE_CONTROL, which is locked: #GP");
	if (msr == MSR_VM_HSAVE_PA && (value & ~PAGE_MASK))
		port_panic("VM_HSAVE_PA %llx is not aligned: #GP", (unsigned long long)value);
	*reg = value;
}

void insn_clgi(void)
{
	struct model_cpu *cpu = model_current();

	ASSERT(cpu->efer & EFER_SVME);
	race_point(NULL, RACE_FENCE); /* a pending interrupt comes before it */
	cpu->gif = false;
}

void insn_stgi(void)
{
	struct model_cpu *cpu = model_current();

	ASSERT(cpu->efer & EFER_SVME);
	cpu->gif = true;
	model_take_interrupts(cpu);
}

void insn_xsetbv(u32 reg, u64 value)
{
	struct model_cpu *cpu = model_current();

	ASSERT(model_has(MODEL_XSAVE) && reg == 0 && (value & XCR0_X87));
	ASSERT(!(value & ~(XCR0_X87 | XCR0_SSE | XCR0_AVX)));
	cpu->xcr0 = value;
}

u64 insn_xgetbv(u32 reg)
{
	struct model_cpu *cpu = model_current();

	ASSERT(model_has(MODEL_XSAVE) && reg == 0);
	return cpu->xcr0;
}

static size_t fpu_size(struct model_cpu *cpu, u64 mask)
{
	if (!mask)
		return MODEL_FXSAVE_SIZE;
	ASSERT(model_has(MODEL_XSAVE) && (cpu->xcr0 & mask) == mask);
	return MODEL_XSAVE_SIZE;
}

void insn_fpu_save(void *area, u64 mask)
{
	struct model_cpu *cpu = model_current();

	ASSERT(!((uintptr_t)area & 63));
	memcpy(area, cpu->fpu, fpu_size(cpu, mask));
}

void insn_fpu_restore(const void *area, u64 mask)
{
	struct model_cpu *cpu = model_current();

	ASSERT(!((uintptr_t)area & 63));
	memcpy(cpu->fpu, area, fpu_size(cpu, mask));
}

#define INSN_DEBUG_REGISTER(n)                                                                     \
	u64 insn_read_dr##n(void)                                                                  \
	{                                                                                          \
		return model_current()->dr[n];                                                     \
	}                                                                                          \
	void insn_write_dr##n(u64 v)                                                               \
	{                                                                                          \
		model_current()->dr[n] = v;                                                        \
	}
INSN_DEBUG_REGISTER(0)
INSN_DEBUG_REGISTER(1)
INSN_DEBUG_REGISTER(2)
INSN_DEBUG_REGISTER(3)

static void enter(struct model_cpu *cpu, hpa_t vmcb, u64 *gpr)
{
	bool flag = cpu->intr_flag;

	memcpy(cpu->regs.gpr, gpr, sizeof(cpu->regs.gpr));
	cpu->intr_flag = true;
	model_vmrun(cpu, vmcb);
	cpu->intr_flag = flag;
	for (u32 i = 0; i < GPR_COUNT; i++)
		if (i != GPR_RAX && i != GPR_RSP)
			gpr[i] = cpu->regs.gpr[i];
}

void insn_svm_run(hpa_t vmcb, u64 *gpr, hpa_t host, bool (*again)(void *), void *context)
{
	struct model_cpu *cpu = model_current();

	if (cpu->gif)
		port_panic("VM entry with GIF set");
	model_vmload(cpu, vmcb);
	do
		enter(cpu, vmcb, gpr);
	while (again(context));
	model_vmsave(cpu, vmcb);
	model_vmload(cpu, host);
}

void insn_svm_floor(hpa_t vmcb, u64 *gpr, hpa_t host, u64 rounds)
{
	struct model_cpu *cpu = model_current();
	struct vmcb *block = hpa_to_ptr(vmcb);

	for (; rounds; rounds--) {
		model_vmload(cpu, vmcb);
		enter(cpu, vmcb, gpr);
		model_vmsave(cpu, vmcb);
		model_vmload(cpu, host);
		block->save.rip += 2;
	}
}

void insn_vmsave(hpa_t vmcb)
{
	model_vmsave(model_current(), vmcb);
}

void insn_apic_send(u32 dest, u32 icr_low)
{
	struct model *m = model();

	/* What the hypervisor sends: fixed or NMI, physical destination or self. */
	if ((icr_low & APIC_DEST_SHORTHAND) == APIC_DEST_SELF)
		dest = model_current()->index;
	if (dest >= m->cpu_count)
		port_panic("physical IPI to APIC ID %u, which does not exist", dest);
	switch (icr_low & APIC_DM_MASK) {
	case APIC_DM_FIXED:
		ASSERT((icr_low & 0xff) >= 16);
		model_apic_raise(&m->cpu[dest], (u8)icr_low);
		break;
	case APIC_DM_NMI:
		atomic32_set(&m->cpu[dest].nmi, 1);
		model_wake(&m->cpu[dest]);
		break;
	default:
		port_panic("physical IPI of delivery mode %x", icr_low & APIC_DM_MASK);
	}
}

void insn_take_interrupt(u8 vector)
{
	struct model_cpu *cpu = model_current();

	ASSERT(!cpu->intr_flag && cpu->in_service_depth &&
	       cpu->in_service[cpu->in_service_depth - 1] == vector);
	model_apic_handle(cpu, vector);
}

bool insn_apic_pending(u8 vector)
{
	struct model_cpu *cpu = model_current();

	return atomic64_read(&cpu->irr[vector / 64]) & BIT64(vector % 64);
}

void insn_apic_eoi(void)
{
	struct model_cpu *cpu = model_current();

	ASSERT(cpu->in_service_depth);
	cpu->in_service_depth--;
}

u32 insn_apic_id(void)
{
	return model_current()->index;
}
