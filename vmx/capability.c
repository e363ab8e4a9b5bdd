/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the processor can do. SDM volume 3, appendix "VMX Capability Reporting Facility", and "Enabling and
 * Entering VMX Operation". Each missing requirement is refused by name.
 *
 * Required: TRUE controls, EPT with four levels, write-back tables and INVEPT, VPID with INVVPID, unrestricted
 * guest, TPR shadow, MSR bitmaps, virtual NMIs. What else there is, is used where it is.
 */
#include "insn.h"
#include "vmx/vmx.h"
#include "x86/msr.h"

#define CPUID_1_ECX_VMX BIT(5)

struct vmx_features vmx_features;

static const struct {
	struct vmx_capability *from;
	u32 bits;
	const char *why;
} required[] = {
        {&vmx_features.pin, VMX_PIN_EXTERNAL | VMX_PIN_NMI, "VMX: no exits for interrupts"},
        {&vmx_features.pin, VMX_PIN_VIRTUAL_NMI, "VMX: no virtual NMIs"},
        {&vmx_features.primary, VMX_PROC_SECONDARY, "VMX: no secondary controls"},
        {&vmx_features.primary, VMX_PROC_TPR_SHADOW, "VMX: no TPR shadow"},
        {&vmx_features.primary, VMX_PROC_MSR_BITMAPS, "VMX: no MSR bitmaps"},
        {&vmx_features.primary,
         VMX_PROC_INTR_WINDOW | VMX_PROC_NMI_WINDOW | VMX_PROC_HLT | VMX_PROC_IO |
                 VMX_PROC_TSC_OFFSET | VMX_PROC_MWAIT | VMX_PROC_MONITOR | VMX_PROC_RDPMC |
                 VMX_PROC_CR8_LOAD | VMX_PROC_MTF,
         "VMX: a processor-based control is missing"},
        {&vmx_features.secondary, VMX_PROC2_EPT, "VMX: no extended page tables (EPT)"},
        {&vmx_features.secondary, VMX_PROC2_VPID, "VMX: no virtual-processor IDs (VPID)"},
        {&vmx_features.secondary, VMX_PROC2_UNRESTRICTED, "VMX: no unrestricted guest"},
        {&vmx_features.secondary, VMX_PROC2_WBINVD, "VMX: no exits for WBINVD"},
        {&vmx_features.exit,
         VMX_EXIT_CTL_HOST_64 | VMX_EXIT_CTL_SAVE_EFER | VMX_EXIT_CTL_LOAD_EFER |
                 VMX_EXIT_CTL_SAVE_PAT | VMX_EXIT_CTL_LOAD_PAT | VMX_EXIT_CTL_SAVE_DEBUG,
         "VMX: an exit control is missing"},
        {&vmx_features.entry,
         VMX_ENTRY_CTL_GUEST_64 | VMX_ENTRY_CTL_LOAD_EFER | VMX_ENTRY_CTL_LOAD_PAT |
                 VMX_ENTRY_CTL_LOAD_DEBUG,
         "VMX: an entry control is missing"},
};

#define EPT_REQUIRED                                                                               \
	(VMX_EPT_4_LEVELS | VMX_EPT_WB | VMX_EPT_2M | VMX_EPT_INVEPT | VMX_EPT_INVEPT_SINGLE)
#define VPID_REQUIRED (VMX_VPID_INVVPID | VMX_VPID_SINGLE)

static struct vmx_capability capability(u32 msr)
{
	u64 value = insn_vmx_capability(msr);

	return (struct vmx_capability){VMX_MUST(value), VMX_MAY(value)};
}

static bool is_enabled(const char **why)
{
	u64 control;
	struct cpuid_regs r;

	insn_capability(1, 0, &r);
	if (!(r.ecx & CPUID_1_ECX_VMX)) {
		*why = "the processor has no VMX (CPUID 1 ECX bit 5)";
		return false;
	}
	control = insn_rdmsr(MSR_FEATURE_CONTROL);
	if (control & FEATURE_CONTROL_LOCK && !(control & FEATURE_CONTROL_VMXON)) {
		*why = "VMX is disabled by the firmware (IA32_FEATURE_CONTROL)";
		return false;
	}
	return true;
}

static void read_features(void)
{
	struct vmx_features *f = &vmx_features;

	f->pin = capability(MSR_VMX_TRUE_PIN);
	f->primary = capability(MSR_VMX_TRUE_PROC);
	f->exit = capability(MSR_VMX_TRUE_EXIT);
	f->entry = capability(MSR_VMX_TRUE_ENTRY);
	f->misc = insn_vmx_capability(MSR_VMX_MISC);
	f->cr0_must = insn_vmx_capability(MSR_VMX_CR0_FIXED0);
	f->cr0_may = insn_vmx_capability(MSR_VMX_CR0_FIXED1);
	f->cr4_must = insn_vmx_capability(MSR_VMX_CR4_FIXED0);
	f->cr4_may = insn_vmx_capability(MSR_VMX_CR4_FIXED1);
	if (f->primary.may & VMX_PROC_SECONDARY)
		f->secondary = capability(MSR_VMX_PROC2);
	if (f->secondary.may & (VMX_PROC2_EPT | VMX_PROC2_VPID))
		f->ept_vpid = insn_vmx_capability(MSR_VMX_EPT_VPID);
	if (f->primary.may & VMX_PROC_TERTIARY)
		f->tertiary = insn_vmx_capability(MSR_VMX_PROC3);
}

bool vmx_find_features(const char **why)
{
	vmx_features = (struct vmx_features){0};
	if (!is_enabled(why))
		return false;
	vmx_features.basic = insn_vmx_capability(MSR_VMX_BASIC);
	if (!(vmx_features.basic & VMX_BASIC_TRUE)) {
		*why = "VMX: no TRUE capability registers (IA32_VMX_BASIC bit 55)";
		return false;
	}
	read_features();
	for (u32 i = 0; i < ARRAY_SIZE(required); i++) {
		if (!vmx_may(required[i].from, required[i].bits)) {
			*why = required[i].why;
			return false;
		}
	}
	if ((vmx_features.ept_vpid & EPT_REQUIRED) != EPT_REQUIRED) {
		*why = "VMX: EPT lacks four levels, write-back tables, 2 MiB pages or INVEPT";
		return false;
	}
	if ((vmx_features.ept_vpid & VPID_REQUIRED) != VPID_REQUIRED) {
		*why = "VMX: VPID lacks INVVPID";
		return false;
	}
	return true;
}
