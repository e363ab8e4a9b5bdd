/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The few operations of the instruction seam that a model of a missing feature has to come between
 * (cpu_model/assist.h): chosen at boot, the processor's own until then. All others are inline in the
 * port's insn.h, which includes this.
 */
#ifndef X86_INSN_SLOTS_H
#define X86_INSN_SLOTS_H

#include "postern/types.h"
#include "x86/regs.h"

struct insn_slots {
	void (*svm_run)(hpa_t vmcb, u64 *gpr, hpa_t host, bool (*again)(void *), void *context);
	void (*doorbell)(u64 value); /* MSR_AVIC_DOORBELL */
	void (*capability)(u32 leaf, u32 subleaf, struct cpuid_regs *r);
	bool (*vmx_run)(u64 *gpr, bool launched, bool (*again)(void *), void *context);
	u64 (*vmx_capability)(u32 msr);
	bool (*vmread)(u32 field, u64 *value);
	bool (*vmwrite)(u32 field, u64 value);
};

/* (i) once processors run */
extern struct insn_slots insn_slots;
extern const struct insn_slots insn_native_slots;

/* As insn_svm_run(). */
static inline void insn_enter_svm(hpa_t vmcb, u64 *gpr, hpa_t host, bool (*again)(void *),
                                  void *context)
{
	insn_slots.svm_run(vmcb, gpr, host, again, context);
}

/* AVIC's doorbell register: make the processor `value`, an APIC ID, look at its backing page. */
static inline void insn_doorbell(u64 value)
{
	insn_slots.doorbell(value);
}

/* CPUID, asked for what the back end may use. */
static inline void insn_capability(u32 leaf, u32 subleaf, struct cpuid_regs *r)
{
	insn_slots.capability(leaf, subleaf, r);
}

/* As insn_vmx_run(). */
static inline bool insn_enter_vmx(u64 *gpr, bool launched, bool (*again)(void *), void *context)
{
	return insn_slots.vmx_run(gpr, launched, again, context);
}

/* RDMSR of a register of the VMX capability reporting facility that exists, or is said to. */
static inline u64 insn_vmx_capability(u32 msr)
{
	return insn_slots.vmx_capability(msr);
}

/* As insn_vmread() and insn_vmwrite(), of a field that the processor may lack and the assist have. */
static inline bool insn_vmread_modelled(u32 field, u64 *value)
{
	return insn_slots.vmread(field, value);
}

static inline bool insn_vmwrite_modelled(u32 field, u64 value)
{
	return insn_slots.vmwrite(field, value);
}

#endif
