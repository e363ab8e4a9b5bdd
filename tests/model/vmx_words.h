/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A VMCS by hand: words for tests of a processor itself, of the model and, from a machine's own image, of one
 * that others have made. They write to the current VMCS, fields that the assist has included. The guest starts in
 * 64-bit mode at ENTRY.
 */
#ifndef TESTS_MODEL_VMX_WORDS_H
#define TESTS_MODEL_VMX_WORDS_H

#include "cpu_model/vmx_checks.h"
#include "insn.h"
#include "postern/port.h"
#include "x86/msr.h"

#ifndef ENTRY
#define ENTRY 0x1000ull
#endif

static struct {
	u64 gpr[GPR_COUNT];
	u64 *root, *level3, *level2;
	u8 *memory, *vmxon, *vmcs, *apic, *msr_bitmap, *io_bitmap;
	bool launched;
	struct vmx_caps caps; /* the processor's */
} m;

static inline void *vmx_page(void)
{
	void *p = port_alloc(PAGE_SIZE, PAGE_SIZE);

	ASSERT(p);
	return p;
}

static inline u64 vmx_hpa(const void *p)
{
	return ptr_to_hpa(p).v;
}

static inline void vmx_write(u32 field, u64 value)
{
	ASSERT(insn_vmwrite_modelled(field, value));
}

static inline u64 vmx_read(u32 field)
{
	u64 value = 0;

	ASSERT(insn_vmread_modelled(field, &value));
	return value;
}

static inline void vmx_segment(u32 seg, u16 selector, u32 rights)
{
	vmx_write((u32)VMCS_GUEST_SELECTOR(seg), selector);
	vmx_write((u32)VMCS_GUEST_RIGHTS(seg), rights);
	vmx_write((u32)VMCS_GUEST_LIMIT(seg), rights & BIT(15) ? 0xffffffff : 0xffff);
	vmx_write((u32)VMCS_GUEST_BASE(seg), 0);
}

static inline void vmx_write_controls(void)
{
	vmx_write(VMCS_PIN,
	          VMX_MUST(m.caps.pin) | VMX_PIN_EXTERNAL | VMX_PIN_NMI | VMX_PIN_VIRTUAL_NMI);
	vmx_write(VMCS_PRIMARY, VMX_MUST(m.caps.primary) | VMX_PROC_HLT | VMX_PROC_IO |
	                                VMX_PROC_MSR_BITMAPS | VMX_PROC_TPR_SHADOW |
	                                VMX_PROC_TSC_OFFSET | VMX_PROC_SECONDARY);
	vmx_write(VMCS_SECONDARY, VMX_PROC2_EPT | VMX_PROC2_VPID | VMX_PROC2_UNRESTRICTED);
	vmx_write(VMCS_EXIT_CONTROLS, VMX_MUST(m.caps.exit) | VMX_EXIT_CTL_HOST_64 |
	                                      VMX_EXIT_CTL_SAVE_DEBUG | VMX_EXIT_CTL_SAVE_PAT |
	                                      VMX_EXIT_CTL_LOAD_PAT | VMX_EXIT_CTL_SAVE_EFER |
	                                      VMX_EXIT_CTL_LOAD_EFER);
	vmx_write(VMCS_ENTRY_CONTROLS, VMX_MUST(m.caps.entry) | VMX_ENTRY_CTL_GUEST_64 |
	                                       VMX_ENTRY_CTL_LOAD_DEBUG | VMX_ENTRY_CTL_LOAD_PAT |
	                                       VMX_ENTRY_CTL_LOAD_EFER);
	vmx_write(VMCS_VPID, 1);
	vmx_write(VMCS_EPTP, vmx_hpa(m.root) | EPTP_WB | EPTP_4_LEVELS);
	vmx_write(VMCS_VIRTUAL_APIC, vmx_hpa(m.apic));
	vmx_write(VMCS_MSR_BITMAP, vmx_hpa(m.msr_bitmap));
	vmx_write(VMCS_LINK, ~0ull);
}

static inline void vmx_write_host(void)
{
	struct vmx_host host;

	insn_vmx_host(&host);
	vmx_write(VMCS_HOST_CR0, host.cr0);
	vmx_write(VMCS_HOST_CR3, host.cr3);
	vmx_write(VMCS_HOST_CR4, host.cr4);
	vmx_write(VMCS_HOST_EFER, host.efer & ~EFER_SVME);
	vmx_write(VMCS_HOST_PAT, host.pat);
	vmx_write(VMCS_HOST_CS_SELECTOR, host.cs);
	vmx_write(VMCS_HOST_SS_SELECTOR, host.ss);
	vmx_write(VMCS_HOST_TR_SELECTOR, host.tr);
	vmx_write(VMCS_HOST_GS_BASE, host.gs_base);
	vmx_write(VMCS_HOST_TR_BASE, host.tr_base);
	vmx_write(VMCS_HOST_GDTR_BASE, host.gdt_base);
	vmx_write(VMCS_HOST_IDTR_BASE, host.idt_base);
	vmx_write(VMCS_HOST_RIP, host.rip);
}

static inline void vmx_write_guest(void)
{
	for (u32 seg = SEG_ES; seg <= SEG_GS; seg++)
		vmx_segment(seg, 0x10, 0xc093);
	vmx_segment(SEG_CS, 0x08, 0xa09b);
	vmx_segment(SEG_LDTR, 0, VMX_RIGHTS_UNUSABLE);
	vmx_segment(SEG_TR, 0x28, 0x8b);
	vmx_write(VMCS_GUEST_IDTR_LIMIT, 0xfff);
	vmx_write(VMCS_GUEST_CR0, CR0_PE | CR0_PG | CR0_NE | CR0_ET);
	vmx_write(VMCS_GUEST_CR4, CR4_PAE | CR4_VMXE);
	vmx_write(VMCS_GUEST_EFER, EFER_LME | EFER_LMA);
	vmx_write(VMCS_GUEST_PAT, insn_rdmsr(MSR_PAT));
	vmx_write(VMCS_GUEST_DR7, 0x400);
	vmx_write(VMCS_GUEST_RIP, ENTRY);
	vmx_write(VMCS_GUEST_RFLAGS, RFLAGS_RES1);
}

static inline void vmx_change(u32 field, u64 clear, u64 set)
{
	vmx_write(field, (vmx_read(field) & ~clear) | set);
}

static inline void vmx_inject(u32 type, u32 vector)
{
	vmx_write(VMCS_ENTRY_INFO, VMX_EVENT_VALID | type | vector);
}

#endif
