/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The instruction seam, host side: the functions of port/metal/insn.h, executed by the processor
 * model on the calling thread's or coroutine's processor (cpu_model/insn.c, cpu_model/vmx_insn.c).
 */
#ifndef POSIX_INSN_H
#define POSIX_INSN_H

#include "postern/types.h"
#include "x86/insn_slots.h"
#include "x86/regs.h"
#include "x86/vmx_host.h"

void insn_cpuid(u32 leaf, u32 subleaf, struct cpuid_regs *r);
u64 insn_rdmsr(u32 msr);
void insn_wrmsr(u32 msr, u64 value);
u64 insn_rdtsc(void);
void insn_clgi(void);
void insn_stgi(void);
void insn_cli(void);
void insn_sti(void);
void insn_xsetbv(u32 reg, u64 value);
u64 insn_xgetbv(u32 reg);
void insn_fpu_save(void *area, u64 mask);
void insn_fpu_restore(const void *area, u64 mask);

u64 insn_read_dr0(void);
u64 insn_read_dr1(void);
u64 insn_read_dr2(void);
u64 insn_read_dr3(void);
void insn_write_dr0(u64 v);
void insn_write_dr1(u64 v);
void insn_write_dr2(u64 v);
void insn_write_dr3(u64 v);
u64 insn_read_dr6(void);
void insn_write_dr6(u64 v);
u64 insn_read_cr2(void);
void insn_write_cr2(u64 v);
u64 insn_read_cr4(void);
void insn_write_cr4(u64 v);
void insn_raise_nmi(void);

bool insn_vmxon(hpa_t region);
void insn_vmxoff(void);
bool insn_vmclear(hpa_t vmcs);
bool insn_vmptrld(hpa_t vmcs);
hpa_t insn_vmptrst(void);
bool insn_vmread(u32 field, u64 *value);
bool insn_vmwrite(u32 field, u64 value);
bool insn_invept(u64 how, u64 eptp);
bool insn_invvpid(u64 how, u64 vpid);
void insn_vmx_host(struct vmx_host *host);
bool insn_vmx_run(u64 *gpr, bool launched, bool (*again)(void *), void *context);
bool insn_vmx_floor(u64 *gpr, u64 rounds);

void insn_svm_run(hpa_t vmcb, u64 *gpr, hpa_t host, bool (*again)(void *), void *context);
void insn_svm_floor(hpa_t vmcb, u64 *gpr, hpa_t host, u64 rounds);
void insn_vmsave(hpa_t vmcb);

void insn_take_interrupt(u8 vector);
void insn_apic_send(u32 dest, u32 icr_low);
bool insn_apic_pending(u8 vector);
void insn_apic_eoi(void);
u32 insn_apic_id(void);

#endif
