/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A processor with VMX, in software: the other half of model.h. It follows SDM volume 3, "Virtual Machine
 * Extensions", and not any emulator.
 *
 * What tests lean on, besides what model.h says:
 *  - a VMCS lives in its region; it is active on one processor from VMPTRLD to VMCLEAR, and loading it on
 *    another meanwhile, which has no defined outcome on a real one, ends the run;
 *  - fields are those of the processor's features, with their widths; every rule of the entry checks that
 *    vmx_rules.h lists is applied, and the log names the one that was broken;
 *  - exits load the host state that the VMCS has. One that is another processor's ends the run;
 *  - guest-physical translations stay until INVEPT, and linear ones have to be given up by INVVPID where the
 *    hypervisor has changed what they depend on.
 */
#ifndef CPU_MODEL_VMX_H
#define CPU_MODEL_VMX_H

#include "cpu_model/execute.h"
#include "cpu_model/model.h"
#include "cpu_model/vmcs_store.h"
#include "x86/vmx_host.h"

/* --- vmx_caps.c: the capability registers, by features --- */

struct vmx_caps {
	u64 basic, pin, primary, exit, entry, secondary, misc, ept_vpid;
	u64 cr0_must, cr0_may, cr4_must, cr4_may;
};
struct vmx_caps vmx_caps(u32 features);
/* false: no such register. */
bool vmx_caps_msr(u32 features, u32 msr, u64 *value);

/* --- vmx_checks.c: pure --- */

enum vmx_area {
	VMX_AREA_CONTROLS,
	VMX_AREA_HOST,
	VMX_AREA_GUEST,
};
struct vmx_rule {
	const char *name;
	enum vmx_area area;
};
extern const struct vmx_rule vmx_rules[];
extern const u32 vmx_rule_count;
/* The first rule of the area that the VMCS breaks, NULL: none. */
const struct vmx_rule *vmx_check(const struct model_vmcs *vmcs, const struct vmx_caps *caps,
                                 enum vmx_area area);

/* --- ept.c --- */

/* struct model_walk.error of a walk that fails. */
#define VMX_EPT_MISCONFIGURED BIT(31)
#define VMX_EPT_ALLOWED       (7u << 3) /* as in the exit qualification */
/* Walk for one access. There are no accessed and dirty flags: IA32_VMX_EPT_VPID_CAP does not offer them. */
struct model_walk vmx_ept_walk(u64 eptp, gpa_t gpa, enum model_access access);

/* --- vpid.c: linear translations --- */

/* Entry: ends the run if the processor may use an old translation of the VPID in use. */
void vmx_vpid_enter(struct model_cpu *cpu, u16 vpid);
void vmx_vpid_leave(struct model_cpu *cpu, u16 vpid);
/* INVVPID; 0: all VPIDs. */
void vmx_vpid_invalidate(struct model_cpu *cpu, u16 vpid);

/* --- vmx_exit.c --- */

/* The guest leaves: note why. Further words of information are put into their fields behind this. */
void vmx_exit(struct model_cpu *cpu, u32 reason, u64 qualification);
/* The same for an instruction, whose length is noted too. Returns true, for struct model_virt.leaves. */
bool vmx_exit_insn(struct model_cpu *cpu, const struct guest_insn *insn, u32 reason,
                   u64 qualification);
/* Store the guest's state, load the host's. */
void vmx_leave(struct model_cpu *cpu);
void vmx_load_host(struct model_cpu *cpu);

/* --- vmx_entry.c --- */

/* VMLAUNCH or VMRESUME, until the guest leaves. false: it failed before anything was loaded. */
bool vmx_enter(struct model_cpu *cpu, bool launched);
/* A field of the current VMCS. */
u64 vmx_field(const struct model_cpu *cpu, u32 encoding);
void vmx_set_field(struct model_cpu *cpu, u32 encoding, u64 value);

/* --- vmx_timer.c: the preemption timer --- */

void vmx_timer_start(struct model_cpu *cpu);
bool vmx_timer_expired(const struct model_cpu *cpu);
/* What is left of it. */
u32 vmx_timer_value(const struct model_cpu *cpu);

/* --- vmx_insn.c --- */

/* The host's state as software on this processor finds it. */
void vmx_own_host(struct model_cpu *cpu, struct vmx_host *host);

/* --- vmx_apic.c: the virtual APIC --- */

/* VM entry: takes its controls and guest interrupt status, and evaluates. */
void vmx_apic_enter(struct model_cpu *cpu);
/* Behind what entry injects: the virtual TPR is below its threshold, and the guest leaves. */
bool vmx_apic_below_threshold(struct model_cpu *cpu);
/* VM exit: stores guest interrupt status. */
void vmx_apic_leave(struct model_cpu *cpu);
/* Behind an instruction, before all else: what its write to the APIC does. false: the guest leaves. */
bool vmx_apic_emulate(struct model_cpu *cpu);
/* Is this frame of the host the APIC-access page? */
bool vmx_apic_is_page(const struct model_cpu *cpu, u64 frame);
u64 vmx_apic_read_cr8(struct model_cpu *cpu);
enum model_result vmx_apic_write_cr8(struct model_cpu *cpu, u64 value);
/* See struct model_virt. */
bool vmx_apic_has_page(struct model_cpu *cpu, gpa_t gpa);
enum model_result vmx_apic_page(struct model_cpu *cpu, const struct guest_insn *insn, u32 offset,
                                bool write);
bool vmx_apic_fetch(struct model_cpu *cpu, gpa_t gpa);
bool vmx_apic_has_msr(const struct model_cpu *cpu, u32 msr, bool write);
enum model_result vmx_apic_msr(struct model_cpu *cpu, const struct guest_insn *insn, u32 msr,
                               bool write);

#endif
