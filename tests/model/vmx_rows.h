/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What breaks each rule of cpu_model/vmx_rules.h, and what is legal beside it: one list for the processor model
 * and for processors that others have made. A row begins at a VMCS as vmx_words.h makes it, which may be entered.
 * Rows about posted interrupts and about IPI virtualization are lists of their own: a processor without the feature
 * has not the fields either, and whoever runs the rows leaves them out there.
 */
#ifndef TESTS_MODEL_VMX_ROWS_H
#define TESTS_MODEL_VMX_ROWS_H

#include "tests/model/vmx_words.h"
#include "x86/apic.h"
#include "x86/vmx_apic.h"

#define W vmx_write

static inline void set(u32 field, u64 bits)
{
	vmx_change(field, 0, bits);
}

static inline void clear(u32 field, u64 bits)
{
	vmx_change(field, bits, 0);
}

static inline void secondary(u32 bits)
{
	set(VMCS_SECONDARY, bits);
}

/* One that the processor does not let be 1. */
static inline u32 may_not(u64 capability)
{
	return VMX_MAY(capability) == ~0u ? 0 : BIT(__builtin_ctz(~VMX_MAY(capability)));
}

static inline void exception_13(u32 more)
{
	vmx_inject(VMX_EVENT_EXCEPTION, VECTOR_GP | more);
}

/* Interrupts open, in the shadow of STI. */
static inline void in_shadow(void)
{
	set(VMCS_GUEST_RFLAGS, RFLAGS_IF);
	W(VMCS_GUEST_INTERRUPTIBILITY, VMX_BLOCKED_STI);
}

static inline void restricted(void)
{
	clear(VMCS_SECONDARY, VMX_PROC2_UNRESTRICTED);
}

/* 32-bit code. */
static inline void protected_mode(void)
{
	clear(VMCS_ENTRY_CONTROLS, VMX_ENTRY_CTL_GUEST_64);
	W(VMCS_GUEST_EFER, 0);
	W(VMCS_GUEST_CR0, CR0_PE | CR0_NE | CR0_ET);
	vmx_segment(SEG_CS, 0x08, 0xc09b);
}

static inline void pae_paging(void)
{
	protected_mode();
	set(VMCS_GUEST_CR0, CR0_PG);
}

/* name of the rule, what breaks it. The last statement does; what comes before is legal. */
#define VMX_ROWS(X)                                                                                \
	X("pin-based controls: reserved", clear(VMCS_PIN, BIT(1)))                                 \
	X("primary controls: reserved", set(VMCS_PRIMARY, BIT(0)))                                 \
	X("secondary controls: reserved", secondary(may_not(m.caps.secondary)))                    \
	X("CR3 targets: too many", W(VMCS_CR3_TARGETS, 5))                                         \
	X("I/O bitmaps: address", set(VMCS_PRIMARY, VMX_PROC_IO_BITMAPS); W(VMCS_IO_BITMAP_B, 1))  \
	X("MSR bitmap: address", W(VMCS_MSR_BITMAP, 0x800))                                        \
	X("virtual-APIC page: address", W(VMCS_VIRTUAL_APIC, BIT64(40)))                           \
	X("TPR threshold: reserved", W(VMCS_TPR_THRESHOLD, 0x10))                                  \
	X("TPR threshold: above the virtual TPR", m.apic[APIC_TPR] = 0x30;                         \
	  W(VMCS_TPR_THRESHOLD, 4))                                                                \
	X("NMI exiting clear, virtual NMIs set", clear(VMCS_PIN, VMX_PIN_NMI))                     \
	X("virtual NMIs clear, NMI window set", clear(VMCS_PIN, VMX_PIN_VIRTUAL_NMI);              \
	  set(VMCS_PRIMARY, VMX_PROC_NMI_WINDOW))                                                  \
	X("APIC-access page: address", secondary(VMX_PROC2_APIC_ACCESS);                           \
	  W(VMCS_APIC_ACCESS, 0x10))                                                               \
	X("APIC virtualization without TPR shadow", secondary(VMX_PROC2_APIC_REGISTER);            \
	  clear(VMCS_PRIMARY, VMX_PROC_TPR_SHADOW))                                                \
	X("x2APIC virtualization with APIC-access page",                                           \
	  secondary(VMX_PROC2_X2APIC | VMX_PROC2_APIC_ACCESS))                                     \
	X("virtual-interrupt delivery without external-interrupt exiting",                         \
	  secondary(VMX_PROC2_VID);                                                                \
	  clear(VMCS_PIN, VMX_PIN_EXTERNAL))                                                       \
	X("VPID 0", W(VMCS_VPID, 0))                                                               \
	X("EPT pointer", set(VMCS_EPTP, BIT64(11)))                                                \
	X("unrestricted guest without EPT", clear(VMCS_SECONDARY, VMX_PROC2_EPT))                  \
	X("exit controls: reserved", set(VMCS_EXIT_CONTROLS, may_not(m.caps.exit)))                \
	X("preemption timer saved but not active",                                                 \
	  set(VMCS_EXIT_CONTROLS, VMX_EXIT_CTL_SAVE_TIMER))                                        \
	X("exit MSR-store list: address", W(VMCS_EXIT_MSR_STORE, 8);                               \
	  W(VMCS_EXIT_MSR_STORE_COUNT, 1))                                                         \
	X("exit MSR-load list: address", W(VMCS_EXIT_MSR_LOAD, 8); W(VMCS_EXIT_MSR_LOAD_COUNT, 1)) \
	X("entry controls: reserved", set(VMCS_ENTRY_CONTROLS, may_not(m.caps.entry)))             \
	X("injection: type or reserved bits", vmx_inject(1u << 8, 0))                              \
	X("injection: vector does not go with type", vmx_inject(VMX_EVENT_NMI, 3))                 \
	X("injection: error code where there is none, or none where there is",                     \
	  set(VMCS_GUEST_RFLAGS, RFLAGS_IF);                                                       \
	  vmx_inject(VMX_EVENT_EXTERNAL | VMX_EVENT_ERROR, VECTOR))                                \
	X("injection: error code: reserved", W(VMCS_ENTRY_ERROR, BIT(16));                         \
	  exception_13(VMX_EVENT_ERROR))                                                           \
	X("injection: instruction length", W(VMCS_ENTRY_LENGTH, 16);                               \
	  vmx_inject(VMX_EVENT_SOFT_EXC, VECTOR_BP))                                               \
	X("entry MSR-load list: address", W(VMCS_ENTRY_MSR_LOAD, 8);                               \
	  W(VMCS_ENTRY_MSR_LOAD_COUNT, 1))                                                         \
	/* host */                                                                                 \
	X("host CR0", clear(VMCS_HOST_CR0, CR0_NE))                                                \
	X("host CR4", clear(VMCS_HOST_CR4, CR4_VMXE))                                              \
	X("host CR3: beyond the address width", W(VMCS_HOST_CR3, BIT64(40)))                       \
	X("host SYSENTER address: not canonical", W(VMCS_HOST_SYSENTER_EIP, BIT64(47)))            \
	X("host PAT", W(VMCS_HOST_PAT, 2))                                                         \
	X("host EFER", clear(VMCS_HOST_EFER, EFER_LMA))                                            \
	X("host selector: RPL or TI", W(VMCS_HOST_DS_SELECTOR, 3))                                 \
	X("host CS or TR null", W(VMCS_HOST_TR_SELECTOR, 0))                                       \
	X("host base address: not canonical", W(VMCS_HOST_FS_BASE, BIT64(63)))                     \
	X("host address-space size: 64-bit host", W(VMCS_HOST_EFER, 0);                            \
	  clear(VMCS_EXIT_CONTROLS, VMX_EXIT_CTL_HOST_64 | VMX_EXIT_CTL_LOAD_EFER))                \
	X("host CR4.PAE clear", clear(VMCS_HOST_CR4, CR4_PAE))                                     \
	X("host RIP: not canonical", W(VMCS_HOST_RIP, BIT64(47)))                                  \
	/* guest */                                                                                \
	X("CR0", clear(VMCS_GUEST_CR0, CR0_NE))                                                    \
	X("CR0.PG without PE", clear(VMCS_GUEST_CR0, CR0_PE))                                      \
	X("CR4", clear(VMCS_GUEST_CR4, CR4_VMXE))                                                  \
	X("IA-32e mode without paging or PAE", clear(VMCS_GUEST_CR4, CR4_PAE))                     \
	X("CR3: beyond the address width", W(VMCS_GUEST_CR3, BIT64(40)))                           \
	X("DEBUGCTL: reserved", W(VMCS_GUEST_DEBUGCTL, BIT64(2)))                                  \
	X("DR7: upper half", W(VMCS_GUEST_DR7, BIT64(32)))                                         \
	X("SYSENTER address: not canonical", W(VMCS_GUEST_SYSENTER_ESP, BIT64(47)))                \
	X("PAT", W(VMCS_GUEST_PAT, 3))                                                             \
	X("EFER", clear(VMCS_GUEST_EFER, EFER_LMA))                                                \
	X("TR: unusable or local", W(VMCS_GUEST_TR_RIGHTS, 0x8b | VMX_RIGHTS_UNUSABLE))            \
	X("LDTR: local", vmx_segment(SEG_LDTR, 4, 0x82))                                           \
	X("SS: RPL is not that of CS", restricted(); W(VMCS_GUEST_SS_SELECTOR, 1))                 \
	X("TR, LDTR, FS or GS base: not canonical", W(VMCS_GUEST_GS_BASE, BIT64(47)))              \
	X("CS, SS, DS or ES base: upper half", W(VMCS_GUEST_DS_BASE, BIT64(32)))                   \
	X("CS: type", W(VMCS_GUEST_CS_RIGHTS, 0xa098))                                             \
	X("SS: type", W(VMCS_GUEST_SS_RIGHTS, 0xc091))                                             \
	X("DS, ES, FS or GS: type", W(VMCS_GUEST_FS_RIGHTS, 0xc092))                               \
	X("segment: S clear", W(VMCS_GUEST_ES_RIGHTS, 0xc083))                                     \
	X("CS: DPL", W(VMCS_GUEST_CS_RIGHTS, 0xa0fb))                                              \
	X("SS: DPL", protected_mode(); clear(VMCS_GUEST_CR0, CR0_PE);                              \
	  vmx_segment(SEG_CS, 0x08, 0xc0fb); W(VMCS_GUEST_SS_RIGHTS, 0xc0f3))                      \
	X("segment: not present", W(VMCS_GUEST_DS_RIGHTS, 0xc013))                                 \
	X("segment: access rights: reserved", set(VMCS_GUEST_DS_RIGHTS, BIT(8)))                   \
	X("CS: L and D", W(VMCS_GUEST_CS_RIGHTS, 0xe09b))                                          \
	X("segment: limit and granularity", W(VMCS_GUEST_DS_LIMIT, 0xffffe))                       \
	X("TR: type", W(VMCS_GUEST_TR_RIGHTS, 0x83))                                               \
	X("LDTR: type", vmx_segment(SEG_LDTR, 0, 0x83))                                            \
	X("GDTR or IDTR base: not canonical", W(VMCS_GUEST_IDTR_BASE, BIT64(47)))                  \
	X("GDTR or IDTR limit", W(VMCS_GUEST_GDTR_LIMIT, 0x10000))                                 \
	X("RIP: upper half outside of 64-bit code", protected_mode();                              \
	  W(VMCS_GUEST_RIP, BIT64(32) | ENTRY))                                                    \
	X("RIP: bits beyond linear addresses", W(VMCS_GUEST_RIP, BIT64(48)))                       \
	X("RFLAGS: reserved", clear(VMCS_GUEST_RFLAGS, RFLAGS_RES1))                               \
	X("RFLAGS.VM in IA-32e mode or real mode", set(VMCS_GUEST_RFLAGS, RFLAGS_VM))              \
	X("RFLAGS.IF clear, external interrupt injected", vmx_inject(VMX_EVENT_EXTERNAL, VECTOR))  \
	X("activity state", W(VMCS_GUEST_ACTIVITY, VMX_WAIT_SIPI + 1))                             \
	X("activity state: halted with DPL other than 0", W(VMCS_GUEST_ACTIVITY, VMX_HALTED);      \
	  W(VMCS_GUEST_CS_RIGHTS, 0xa0fb); W(VMCS_GUEST_SS_RIGHTS, 0xc0f3))                        \
	X("activity state: halted in the shadow of STI or MOV SS", in_shadow();                    \
	  W(VMCS_GUEST_ACTIVITY, VMX_HALTED))                                                      \
	X("activity state: halted, event injected that does not wake",                             \
	  W(VMCS_GUEST_ACTIVITY, VMX_HALTED);                                                      \
	  exception_13(VMX_EVENT_ERROR))                                                           \
	X("interruptibility: reserved", W(VMCS_GUEST_INTERRUPTIBILITY, BIT(5)))                    \
	X("interruptibility: STI and MOV SS", in_shadow();                                         \
	  set(VMCS_GUEST_INTERRUPTIBILITY, VMX_BLOCKED_SS))                                        \
	X("interruptibility: STI with RFLAGS.IF clear", in_shadow();                               \
	  clear(VMCS_GUEST_RFLAGS, RFLAGS_IF))                                                     \
	X("interruptibility: shadow, external interrupt injected", in_shadow();                    \
	  vmx_inject(VMX_EVENT_EXTERNAL, VECTOR))                                                  \
	X("interruptibility: shadow, NMI injected", in_shadow();                                   \
	  vmx_inject(VMX_EVENT_NMI, VECTOR_NMI))                                                   \
	X("interruptibility: SMI", W(VMCS_GUEST_INTERRUPTIBILITY, VMX_BLOCKED_SMI))                \
	X("interruptibility: NMI blocked, NMI injected",                                           \
	  W(VMCS_GUEST_INTERRUPTIBILITY, VMX_BLOCKED_NMI);                                         \
	  vmx_inject(VMX_EVENT_NMI, VECTOR_NMI))                                                   \
	X("pending debug exceptions: reserved", W(VMCS_GUEST_PENDING_DEBUG, BIT64(13)))            \
	X("pending debug exceptions: BS is not what TF says", in_shadow();                         \
	  set(VMCS_GUEST_RFLAGS, RFLAGS_TF))                                                       \
	X("VMCS link pointer", W(VMCS_LINK, 0))                                                    \
	X("PDPTE: reserved", pae_paging(); W(VMCS_GUEST_PDPTE2, PTE_P | PTE_W))

/* Posted interrupts are processed, by a descriptor in the virtual-APIC page's unused part. */
static inline void posted(void)
{
	secondary(VMX_PROC2_VID);
	set(VMCS_EXIT_CONTROLS, VMX_EXIT_CTL_ACK_INTR);
	W(VMCS_PI_VECTOR, 0xf1);
	W(VMCS_PI_DESC, vmx_hpa(m.apic) + 0xc00);
	set(VMCS_PIN, VMX_PIN_POSTED);
}

/* IPIs are virtualized, by a table of two entries that are not valid. */
static inline void ipiv(void)
{
	set(VMCS_PRIMARY, VMX_PROC_TERTIARY);
	W(VMCS_PI_TABLE, vmx_hpa(m.apic) + 0xe00);
	W(VMCS_LAST_PI_INDEX, 1);
	W(VMCS_TERTIARY, VMX_PROC3_IPIV);
}

#define VMX_POSTED_ROWS(X)                                                                         \
	X("posted interrupts without virtual-interrupt delivery", posted();                        \
	  clear(VMCS_SECONDARY, VMX_PROC2_VID))                                                    \
	X("posted interrupts without acknowledgement on exit", posted();                           \
	  clear(VMCS_EXIT_CONTROLS, VMX_EXIT_CTL_ACK_INTR))                                        \
	X("posted-interrupt notification vector: reserved", posted(); W(VMCS_PI_VECTOR, 0x1f1))    \
	X("posted-interrupt descriptor: address", posted(); set(VMCS_PI_DESC, 0x20))

#define VMX_IPIV_ROWS(X)                                                                           \
	X("tertiary controls: reserved", ipiv();                                                   \
	  set(VMCS_TERTIARY, BIT64(__builtin_ctzll(~m.caps.tertiary))))                            \
	X("PID-pointer table: address", ipiv(); set(VMCS_PI_TABLE, 4))                             \
	X("PID-pointer table: address of the last entry", ipiv();                                  \
	  W(VMCS_PI_TABLE, BIT64(40) - 16); W(VMCS_LAST_PI_INDEX, 2))                              \
	X("IPI virtualization without TPR shadow", ipiv(); clear(VMCS_PRIMARY, VMX_PROC_TPR_SHADOW))

#define VMX_POSTED_LEGAL_ROWS(X)                                                                   \
	X(posted())                                                                                \
	X(posted(); secondary(VMX_PROC2_APIC_ACCESS))                                              \
	X(posted(); secondary(VMX_PROC2_X2APIC | VMX_PROC2_APIC_REGISTER))                         \
	X(posted(); W(VMCS_PI_VECTOR, 0))                                                          \
	X(posted(); W(VMCS_PI_VECTOR, 0xff))                                                       \
	/* Without the control its fields are not looked at, and the other one is free. */         \
	X(posted(); clear(VMCS_PIN, VMX_PIN_POSTED); W(VMCS_PI_VECTOR, 0xffff);                    \
	  W(VMCS_PI_DESC, ~0ull))                                                                  \
	X(set(VMCS_EXIT_CONTROLS, VMX_EXIT_CTL_ACK_INTR))

#define VMX_IPIV_LEGAL_ROWS(X)                                                                     \
	X(ipiv())                                                                                  \
	X(ipiv(); secondary(VMX_PROC2_APIC_ACCESS))                                                \
	X(ipiv(); secondary(VMX_PROC2_X2APIC | VMX_PROC2_APIC_REGISTER | VMX_PROC2_VID))           \
	X(ipiv(); set(VMCS_PI_TABLE, 8))                                                           \
	X(ipiv(); W(VMCS_PI_TABLE, BIT64(40) - 16))                                                \
	X(ipiv(); W(VMCS_LAST_PI_INDEX, PI_LAST_INDEX))                                            \
	X(ipiv(); W(VMCS_TERTIARY, 0); W(VMCS_PI_TABLE, ~0ull))                                    \
	X(ipiv(); clear(VMCS_PRIMARY, VMX_PROC_TERTIARY); W(VMCS_TERTIARY, ~0ull);                 \
	  W(VMCS_PI_TABLE, ~0ull))

/* Broken only on processors without some feature: IA32_VMX_BASIC bit 56, IA32_VMX_MISC bits 30 and 8. */
#define VMX_OLD_ROWS(X)                                                                            \
	X("injection: error code where there is none, or none where there is", exception_13(0))    \
	X("injection: error code where there is none, or none where there is",                     \
	  vmx_inject(VMX_EVENT_EXCEPTION | VMX_EVENT_ERROR, VECTOR_UD))                            \
	X("injection: instruction length", vmx_inject(VMX_EVENT_SOFT_EXC, VECTOR_BP))

/* Broken only where there are PCIDs, which the processor model has not. */
#define VMX_PCID_ROW(X)                                                                            \
	X("CR4.PCIDE outside of IA-32e mode", protected_mode(); set(VMCS_GUEST_CR4, CR4_PCIDE))

/* What rules allow next to what they refuse. */
#define VMX_LEGAL_ROWS(X)                                                                          \
	X(m.apic[APIC_TPR] = 0x40; W(VMCS_TPR_THRESHOLD, 4))                                       \
	X(exception_13(VMX_EVENT_ERROR))                                                           \
	X(protected_mode(); exception_13(VMX_EVENT_ERROR))                                         \
	X(protected_mode(); clear(VMCS_GUEST_CR0, CR0_PE); exception_13(0))                        \
	X(W(VMCS_GUEST_RIP, BIT64(47)))                                                            \
	X(W(VMCS_ENTRY_LENGTH, 15); vmx_inject(VMX_EVENT_SOFTWARE, VECTOR))                        \
	X(in_shadow(); exception_13(VMX_EVENT_ERROR))                                              \
	X(in_shadow(); set(VMCS_GUEST_RFLAGS, RFLAGS_TF);                                          \
	  W(VMCS_GUEST_PENDING_DEBUG, VMX_DEBUG_BS))                                               \
	X(set(VMCS_GUEST_RFLAGS, RFLAGS_IF); vmx_inject(VMX_EVENT_EXTERNAL, VECTOR))               \
	X(vmx_inject(VMX_EVENT_NMI, VECTOR_NMI))                                                   \
	X(W(VMCS_ENTRY_LENGTH, 1); vmx_inject(VMX_EVENT_SOFT_EXC, VECTOR_BP))                      \
	X(pae_paging(); W(VMCS_GUEST_PDPTE2, PTE_P | 0x5000))                                      \
	X(W(VMCS_GUEST_DS_RIGHTS, VMX_RIGHTS_UNUSABLE))                                            \
	X(secondary(VMX_PROC2_VID | VMX_PROC2_APIC_REGISTER | VMX_PROC2_X2APIC))                   \
	X(secondary(VMX_PROC2_APIC_ACCESS); W(VMCS_TPR_THRESHOLD, 0xf))                            \
	X(secondary(VMX_PROC2_VID); W(VMCS_TPR_THRESHOLD, 0x1f))                                   \
	X(secondary(VMX_PROC2_VID | VMX_PROC2_APIC_ACCESS); W(VMCS_GUEST_INTR_STATUS, 0xffff))     \
	X(W(VMCS_GUEST_ACTIVITY, VMX_HALTED); vmx_inject(VMX_EVENT_NMI, VECTOR_NMI))               \
	X(W(VMCS_GUEST_ACTIVITY, VMX_HALTED); vmx_inject(VMX_EVENT_EXCEPTION, VECTOR_DB))          \
	X(set(VMCS_PIN, VMX_PIN_PREEMPTION_TIMER);                                                 \
	  set(VMCS_EXIT_CONTROLS, VMX_EXIT_CTL_SAVE_TIMER))                                        \
	X(clear(VMCS_PRIMARY, VMX_PROC_TPR_SHADOW); W(VMCS_TPR_THRESHOLD, 0xff))

#endif
