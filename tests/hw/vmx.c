/* SPDX-License-Identifier: BSD-2-Clause */
/* See hw.h: the way into VMX operation, and a VMCS as a whole. SDM volume 3, "Introduction to VMX Operation". */
#include "tests/hw/hw.h"

#include "cpu_model/vapic.h"
#include "metal.h"

#define CPUID_1_ECX_VMX BIT(5)

static const u32 fields[] = {
#define X(name, encoding) encoding,
        VMCS_FIELDS(X)
#undef X
};

static struct vmx_caps read_caps(void)
{
	bool exact = insn_rdmsr(MSR_VMX_BASIC) & VMX_BASIC_TRUE;
	u64 primary = insn_rdmsr(exact ? MSR_VMX_TRUE_PROC : MSR_VMX_PROC);

	return (struct vmx_caps){
	        .basic = insn_rdmsr(MSR_VMX_BASIC),
	        .pin = insn_rdmsr(exact ? MSR_VMX_TRUE_PIN : MSR_VMX_PIN),
	        .primary = primary,
	        .exit = insn_rdmsr(exact ? MSR_VMX_TRUE_EXIT : MSR_VMX_EXIT),
	        .entry = insn_rdmsr(exact ? MSR_VMX_TRUE_ENTRY : MSR_VMX_ENTRY),
	        .secondary = VMX_MAY(primary) & VMX_PROC_SECONDARY ? insn_rdmsr(MSR_VMX_PROC2) : 0,
	        .tertiary = VMX_MAY(primary) & VMX_PROC_TERTIARY ? insn_rdmsr(MSR_VMX_PROC3) : 0,
	        .misc = insn_rdmsr(MSR_VMX_MISC),
	        .ept_vpid = insn_rdmsr(MSR_VMX_EPT_VPID),
	        .cr0_must = insn_rdmsr(MSR_VMX_CR0_FIXED0),
	        .cr0_may = insn_rdmsr(MSR_VMX_CR0_FIXED1),
	        .cr4_must = insn_rdmsr(MSR_VMX_CR4_FIXED0),
	        .cr4_may = insn_rdmsr(MSR_VMX_CR4_FIXED1),
	        .switches = VAPIC_SWITCH_DEFAULTS,
	};
}

u8 *hw_region(void)
{
	u32 revision = (u32)insn_rdmsr(MSR_VMX_BASIC) & VMX_BASIC_REVISION;
	u8 *region = vmx_page();

	memcpy(region, &revision, sizeof(revision));
	return region;
}

bool hw_turn_on(struct vmx_caps *caps)
{
	struct cpuid_regs r;

	insn_cpuid(1, 0, &r);
	if (!(r.ecx & CPUID_1_ECX_VMX)) {
		hw_say("not ok: the processor has no VMX");
		return false;
	}
	if (!(insn_rdmsr(MSR_FEATURE_CONTROL) & FEATURE_CONTROL_LOCK))
		insn_wrmsr(MSR_FEATURE_CONTROL, FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMXON);
	*caps = read_caps();
	write_cr0(read_cr0() | caps->cr0_must);
	insn_write_cr4(insn_read_cr4() | CR4_VMXE);
	if (!insn_vmxon(ptr_to_hpa(hw_region()))) {
		hw_say("not ok: VMXON fails");
		return false;
	}
	return true;
}

/* Fields that not every processor has fail to be read: they stay 0. */
void hw_copy_vmcs(struct model_vmcs *copy)
{
	for (u32 i = 0; i < ARRAY_SIZE(fields); i++) {
		u64 value = 0;

		if (insn_vmread(fields[i], &value))
			vmcs_store_set(copy, fields[i], value);
	}
}

void hw_clear_vmcs(void)
{
	for (u32 i = 0; i < ARRAY_SIZE(fields); i++)
		if (VMCS_TYPE(fields[i]) != VMCS_TYPE_READ_ONLY)
			insn_vmwrite(fields[i], 0);
}

static bool never(void *context __unused)
{
	return false;
}

bool hw_enter(u64 *gpr, bool launched)
{
	return insn_vmx_run(gpr, launched, never, NULL);
}
