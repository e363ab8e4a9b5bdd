/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the model's processors with VMX can do. SDM volume 3, appendix "VMX Capability Reporting Facility". Of
 * a control's register bits 31:0 have what must be 1, bits 63:32 what may be; that of the tertiary controls has
 * 64 bits that may be 1, and exists where these controls can be activated.
 */
#include "cpu_model/vmx.h"

#define CAPABILITY(must, may) ((u64)((must) | (may)) << 32 | (u32)(must))

/* The default1 classes, without what the TRUE registers take out of them. */
#define PIN_MUST     0x16u
#define PRIMARY_MUST 0x04006172u
#define EXIT_MUST    0x00036dfbu
#define ENTRY_MUST   0x000011fbu
/* What the old registers have in addition. */
#define PRIMARY_DEFAULT1 (VMX_PROC_CR3_LOAD | VMX_PROC_CR3_STORE)
#define EXIT_DEFAULT1    VMX_EXIT_CTL_SAVE_DEBUG
#define ENTRY_DEFAULT1   VMX_ENTRY_CTL_LOAD_DEBUG

#define PIN_MAY (VMX_PIN_EXTERNAL | VMX_PIN_NMI | VMX_PIN_VIRTUAL_NMI)
#define PRIMARY_MAY                                                                                \
	(VMX_PROC_INTR_WINDOW | VMX_PROC_TSC_OFFSET | VMX_PROC_HLT | VMX_PROC_INVLPG |             \
	 VMX_PROC_MWAIT | VMX_PROC_RDPMC | VMX_PROC_RDTSC | PRIMARY_DEFAULT1 | VMX_PROC_CR8_LOAD | \
	 VMX_PROC_CR8_STORE | VMX_PROC_TPR_SHADOW | VMX_PROC_NMI_WINDOW | VMX_PROC_MOV_DR |        \
	 VMX_PROC_IO | VMX_PROC_IO_BITMAPS | VMX_PROC_MTF | VMX_PROC_MSR_BITMAPS |                 \
	 VMX_PROC_MONITOR | VMX_PROC_PAUSE | VMX_PROC_SECONDARY)
#define SECONDARY_MAY                                                                              \
	(VMX_PROC2_EPT | VMX_PROC2_DESC_TABLE | VMX_PROC2_RDTSCP | VMX_PROC2_VPID |                \
	 VMX_PROC2_WBINVD | VMX_PROC2_UNRESTRICTED)
#define SECONDARY_APICV                                                                            \
	(VMX_PROC2_APIC_ACCESS | VMX_PROC2_X2APIC | VMX_PROC2_APIC_REGISTER | VMX_PROC2_VID)
#define EXIT_MAY                                                                                   \
	(EXIT_DEFAULT1 | VMX_EXIT_CTL_HOST_64 | VMX_EXIT_CTL_ACK_INTR | VMX_EXIT_CTL_SAVE_PAT |    \
	 VMX_EXIT_CTL_LOAD_PAT | VMX_EXIT_CTL_SAVE_EFER | VMX_EXIT_CTL_LOAD_EFER)
#define ENTRY_MAY                                                                                  \
	(ENTRY_DEFAULT1 | VMX_ENTRY_CTL_GUEST_64 | VMX_ENTRY_CTL_LOAD_PAT | VMX_ENTRY_CTL_LOAD_EFER)

#define ENUM(field) ((u64)VMCS_INDEX(field) << 1) /* the field with the highest index */
#define TIMER_RATE  5ull
#define CR3_TARGETS (4ull << 16)
#define CR4_MAY                                                                                    \
	(CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE | CR4_PCE |  \
	 CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_VMXE)

static u64 secondary(u32 features)
{
	return CAPABILITY(0u,
	                  (SECONDARY_MAY | (features & MODEL_APICV ? SECONDARY_APICV : 0)) &
	                          ~(features & MODEL_NO_UNRESTRICTED ? VMX_PROC2_UNRESTRICTED : 0) &
	                          ~(features & MODEL_NO_NPT ? VMX_PROC2_EPT : 0));
}

struct vmx_caps vmx_caps(u32 features)
{
	bool timer = features & MODEL_PREEMPTION_TIMER, ipiv = features & MODEL_IPIV;
	bool posted = features & MODEL_POSTED;

	return (struct vmx_caps){
	        .basic = VMCS_STORE_REVISION | (u64)VMX_REGION_SIZE << 32 | 6ull << 50 | BIT64(54) |
	                 VMX_BASIC_TRUE,
	        .pin = CAPABILITY(PIN_MUST, PIN_MAY | (timer ? VMX_PIN_PREEMPTION_TIMER : 0) |
	                                            (posted ? VMX_PIN_POSTED : 0)),
	        .primary = CAPABILITY(PRIMARY_MUST, PRIMARY_MAY | (ipiv ? VMX_PROC_TERTIARY : 0)),
	        .exit = CAPABILITY(EXIT_MUST, EXIT_MAY | (timer ? VMX_EXIT_CTL_SAVE_TIMER : 0)),
	        .entry = CAPABILITY(ENTRY_MUST, ENTRY_MAY),
	        .secondary = secondary(features),
	        .tertiary = ipiv ? VMX_PROC3_IPIV : 0,
	        .misc = TIMER_RATE | BIT64(5) | VMX_MISC_HLT | CR3_TARGETS |
	                (features & MODEL_APICV ? VMX_MISC_WRITE_ALL : 0),
	        .ept_vpid = features & MODEL_NO_NPT
	                            ? 0
	                            : VMX_EPT_4_LEVELS | VMX_EPT_WB | VMX_EPT_2M | VMX_EPT_INVEPT |
	                                      VMX_EPT_INVEPT_SINGLE | VMX_EPT_INVEPT_ALL |
	                                      VMX_VPID_INVVPID | VMX_VPID_SINGLE | VMX_VPID_ALL,
	        .cr0_must = CR0_PE | CR0_NE | CR0_PG,
	        .cr0_may = 0xffffffff,
	        .cr4_must = CR4_VMXE,
	        .cr4_may = CR4_MAY | (features & MODEL_XSAVE ? CR4_OSXSAVE : 0),
	        .switches = VAPIC_SWITCH_DEFAULTS,
	};
}

bool vmx_caps_msr(u32 features, u32 msr, u64 *value)
{
	struct vmx_caps caps = vmx_caps(features);
	const struct {
		u32 msr;
		u64 value;
	} registers[] = {
	        {MSR_VMX_BASIC, caps.basic},
	        {MSR_VMX_PIN, caps.pin},
	        {MSR_VMX_PROC, caps.primary | PRIMARY_DEFAULT1},
	        {MSR_VMX_EXIT, caps.exit | EXIT_DEFAULT1},
	        {MSR_VMX_ENTRY, caps.entry | ENTRY_DEFAULT1},
	        {MSR_VMX_TRUE_PIN, caps.pin},
	        {MSR_VMX_TRUE_PROC, caps.primary},
	        {MSR_VMX_TRUE_EXIT, caps.exit},
	        {MSR_VMX_TRUE_ENTRY, caps.entry},
	        {MSR_VMX_PROC2, caps.secondary},
	        {MSR_VMX_MISC, caps.misc},
	        {MSR_VMX_EPT_VPID, caps.ept_vpid},
	        {MSR_VMX_CR0_FIXED0, caps.cr0_must},
	        {MSR_VMX_CR0_FIXED1, caps.cr0_may},
	        {MSR_VMX_CR4_FIXED0, caps.cr4_must},
	        {MSR_VMX_CR4_FIXED1, caps.cr4_may},
	        {MSR_VMX_VMCS_ENUM,
	         features & MODEL_IPIV ? ENUM(VMCS_PI_TABLE) : ENUM(VMCS_PREEMPTION_TIMER)},
	        {MSR_VMX_PROC3, caps.tertiary},
	};

	if (msr == MSR_VMX_PROC3 && !(VMX_MAY(caps.primary) & VMX_PROC_TERTIARY))
		return false;
	for (u32 i = 0; i < ARRAY_SIZE(registers); i++) {
		if (registers[i].msr != msr)
			continue;
		*value = registers[i].value;
		return true;
	}
	return false;
}
