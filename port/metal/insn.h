/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The instruction seam, metal side: inline assembly. port/posix/insn.h has the same functions and
 * calls the processor model. Back ends touch the processor only through these.
 */
#ifndef METAL_INSN_H
#define METAL_INSN_H

#include "postern/types.h"
#include "x86/insn_slots.h"
#include "x86/regs.h"
#include "x86/vmx_host.h"

static inline void insn_cpuid(u32 leaf, u32 subleaf, struct cpuid_regs *r)
{
	__asm__ volatile("cpuid"
	                 : "=a"(r->eax), "=b"(r->ebx), "=c"(r->ecx), "=d"(r->edx)
	                 : "a"(leaf), "c"(subleaf));
}

static inline u64 insn_rdmsr(u32 msr)
{
	u32 lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
	return (u64)hi << 32 | lo;
}

static inline void insn_wrmsr(u32 msr, u64 value)
{
	__asm__ volatile("wrmsr" : : "c"(msr), "a"((u32)value), "d"((u32)(value >> 32)) : "memory");
}

static inline u64 insn_rdtsc(void)
{
	u32 lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (u64)hi << 32 | lo;
}

/* Global interrupt flag (SVM). Clear: INTR, NMI, INIT, SMI are held until it is set again. */
static inline void insn_clgi(void)
{
	__asm__ volatile("clgi" : : : "memory");
}

static inline void insn_stgi(void)
{
	__asm__ volatile("stgi" : : : "memory");
}

static inline void insn_cli(void)
{
	__asm__ volatile("cli" : : : "memory");
}

static inline void insn_sti(void)
{
	__asm__ volatile("sti" : : : "memory");
}

static inline u64 insn_xgetbv(u32 reg)
{
	u32 lo, hi;

	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(reg));
	return (u64)hi << 32 | lo;
}

static inline void insn_xsetbv(u32 reg, u64 value)
{
	__asm__ volatile("xsetbv" : : "c"(reg), "a"((u32)value), "d"((u32)(value >> 32)));
}

/*
 * FPU, SSE and AVX state of the guest, which stays in the registers while the hypervisor runs (it
 * uses none). `area` is 64-byte aligned; mask 0: the processor has no XSAVE, FXSAVE is used. XCR0
 * must be the mask's superset.
 */
static inline void insn_fpu_save(void *area, u64 mask)
{
	if (mask)
		__asm__ volatile("xsave64 (%0)"
		                 :
		                 : "r"(area), "a"((u32)mask), "d"((u32)(mask >> 32))
		                 : "memory");
	else
		__asm__ volatile("fxsave64 (%0)" : : "r"(area) : "memory");
}

static inline void insn_fpu_restore(const void *area, u64 mask)
{
	if (mask)
		__asm__ volatile("xrstor64 (%0)"
		                 :
		                 : "r"(area), "a"((u32)mask), "d"((u32)(mask >> 32))
		                 : "memory");
	else
		__asm__ volatile("fxrstor64 (%0)" : : "r"(area) : "memory");
}

#define INSN_DEBUG_REGISTER(n)                                                                     \
	static inline u64 insn_read_dr##n(void)                                                    \
	{                                                                                          \
		u64 v;                                                                             \
		__asm__ volatile("mov %%dr" #n ", %0" : "=r"(v));                                  \
		return v;                                                                          \
	}                                                                                          \
	static inline void insn_write_dr##n(u64 v)                                                 \
	{                                                                                          \
		__asm__ volatile("mov %0, %%dr" #n : : "r"(v));                                    \
	}
INSN_DEBUG_REGISTER(0)
INSN_DEBUG_REGISTER(1)
INSN_DEBUG_REGISTER(2)
INSN_DEBUG_REGISTER(3)
INSN_DEBUG_REGISTER(6)

static inline u64 insn_read_cr2(void)
{
	u64 v;

	__asm__ volatile("mov %%cr2, %0" : "=r"(v));
	return v;
}

static inline void insn_write_cr2(u64 v)
{
	__asm__ volatile("mov %0, %%cr2" : : "r"(v));
}

static inline u64 insn_read_cr4(void)
{
	u64 v;

	__asm__ volatile("mov %%cr4, %0" : "=r"(v));
	return v;
}

static inline void insn_write_cr4(u64 v)
{
	__asm__ volatile("mov %0, %%cr4" : : "r"(v) : "memory");
}

/* The NMI that made a VMX guest exit, for the host's own handler: its IRET opens NMIs again. */
static inline void insn_raise_nmi(void)
{
	__asm__ volatile("int $2" : : : "memory");
}

/* VMX instructions: true, unless they fail (SDM volume 3, "VMX Instruction Reference", "Conventions"). */
static inline bool insn_vmxon(hpa_t region)
{
	bool ok;

	__asm__ volatile("vmxon %1" : "=@cca"(ok) : "m"(region.v) : "memory");
	return ok;
}

static inline void insn_vmxoff(void)
{
	__asm__ volatile("vmxoff" : : : "cc", "memory");
}

static inline bool insn_vmclear(hpa_t vmcs)
{
	bool ok;

	__asm__ volatile("vmclear %1" : "=@cca"(ok) : "m"(vmcs.v) : "memory");
	return ok;
}

static inline bool insn_vmptrld(hpa_t vmcs)
{
	bool ok;

	__asm__ volatile("vmptrld %1" : "=@cca"(ok) : "m"(vmcs.v) : "memory");
	return ok;
}

/* The current VMCS; ~0: none. */
static inline hpa_t insn_vmptrst(void)
{
	u64 region;

	__asm__ volatile("vmptrst %0" : "=m"(region) : : "cc");
	return HPA(region);
}

static inline bool insn_vmread(u32 field, u64 *value)
{
	bool ok;

	__asm__ volatile("vmread %2, %1" : "=@cca"(ok), "=r"(*value) : "r"((u64)field));
	return ok;
}

static inline bool insn_vmwrite(u32 field, u64 value)
{
	bool ok;

	__asm__ volatile("vmwrite %1, %2" : "=@cca"(ok) : "r"(value), "r"((u64)field) : "memory");
	return ok;
}

static inline bool insn_invept(u64 how, u64 eptp)
{
	struct {
		u64 what, address;
	} descriptor = {eptp, 0};
	bool ok;

	__asm__ volatile("invept %1, %2" : "=@cca"(ok) : "m"(descriptor), "r"(how) : "memory");
	return ok;
}

static inline bool insn_invvpid(u64 how, u64 vpid)
{
	struct {
		u64 what, address;
	} descriptor = {vpid, 0};
	bool ok;

	__asm__ volatile("invvpid %1, %2" : "=@cca"(ok) : "m"(descriptor), "r"(how) : "memory");
	return ok;
}

/* What a VMCS has of the calling processor (port/metal/vmx.c). */
void insn_vmx_host(struct vmx_host *host);

/*
 * Enter the guest of the current VMCS and come back at its exit (port/metal/vmx_entry.S): general registers
 * (all but RSP, which the VMCS holds) from gpr[] and back. RFLAGS.IF is clear before and after. false: the
 * entry failed before anything of the guest was loaded. At each exit again(context) says whether to enter
 * again at once.
 *
 * insn_vmx_floor: the least that a world switch can be, for comparison: registers, VM entry, VM exit,
 * registers, and RIP written with 2 (the length of CPUID), `rounds` times, which is not 0. The VMCS has not been
 * launched, and is of no other use: exits come back elsewhere.
 */
bool insn_vmx_run(u64 *gpr, bool launched, bool (*again)(void *), void *context);
bool insn_vmx_floor(u64 *gpr, u64 rounds);

/*
 * Enter an SVM guest and come back at its exit (port/metal/svm_entry.S): VMLOAD guest; general
 * registers (all but RAX and RSP, which the VMCB holds) from gpr[], by enum x86_gpr; VMRUN;
 * registers back; VMSAVE guest; VMLOAD host. GIF is clear before and after; RFLAGS.IF is set during
 * VMRUN, so that physical interrupts make the guest exit. `host` is a page that received VMSAVE on
 * this processor.
 *
 * At each exit, before VMSAVE, again(context) says whether to enter again at once. It runs with the
 * guest's FS, GS, TR and LDTR.
 *
 * insn_svm_floor: the least that a world switch can be, for comparison: VMLOAD, registers, VMRUN,
 * registers, VMSAVE, VMLOAD, and RIP advanced by 2 (the length of CPUID), `rounds` times.
 */
void insn_svm_run(hpa_t vmcb, u64 *gpr, hpa_t host, bool (*again)(void *), void *context);
void insn_svm_floor(hpa_t vmcb, u64 *gpr, hpa_t host, u64 rounds);
static inline void insn_vmsave(hpa_t vmcb)
{
	__asm__ volatile("vmsave %%rax" : : "a"(vmcb.v) : "memory");
}

/*
 * An exit has acknowledged this interrupt of the physical APIC: do what the interrupt descriptor table leads to,
 * its end at the APIC included. Interrupts blocked.
 */
void insn_take_interrupt(u8 vector);

/*
 * The physical local APIC, whatever its mode (port/metal/apic.c).
 * insn_apic_send: write the ICR (destination APIC ID, low half as in APIC_ICR).
 * insn_apic_pending: the vector's IRR bit, read back from the APIC.
 * insn_apic_eoi: end of interrupt.
 */
void insn_apic_send(u32 dest, u32 icr_low);
bool insn_apic_pending(u8 vector);
void insn_apic_eoi(void);
u32 insn_apic_id(void);

#endif
