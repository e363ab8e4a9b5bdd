/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The rules that VM entry checks, one row each: X(area, name, broken). SDM volume 3, "Checks on VMX Controls and
 * Host-State Area", "Checking and Loading Guest State". `broken` is an expression over `v` (the VMCS) and `c`
 * (the capabilities), in the words of vmx_checks.c.
 *
 * Not here: what the model does not have at all (SMM, dual-monitor treatment, virtual-8086 mode, shadow VMCSs).
 */
#ifndef CPU_MODEL_VMX_RULES_H
#define CPU_MODEL_VMX_RULES_H

/* "VM-Execution Control Fields", "VM-Exit Control Fields", "VM-Entry Control Fields" */
#define VMX_CONTROL_RULES(X)                                                                       \
	X(CONTROLS, "pin-based controls: reserved", reserved(F(PIN), c->pin))                      \
	X(CONTROLS, "primary controls: reserved", reserved(F(PRIMARY), c->primary))                \
	X(CONTROLS, "secondary controls: reserved", reserved(secondary(v), c->secondary))          \
	X(CONTROLS, "tertiary controls: reserved", tertiary(v) & ~c->tertiary)                     \
	X(CONTROLS, "CR3 targets: too many", F(CR3_TARGETS) > 4)                                   \
	X(CONTROLS, "I/O bitmaps: address",                                                        \
	  HAS(PRIMARY, PROC_IO_BITMAPS) && (bad_page(F(IO_BITMAP_A)) || bad_page(F(IO_BITMAP_B)))) \
	X(CONTROLS, "MSR bitmap: address",                                                         \
	  HAS(PRIMARY, PROC_MSR_BITMAPS) && bad_page(F(MSR_BITMAP)))                               \
	X(CONTROLS, "virtual-APIC page: address", tpr_shadow(v) && bad_page(F(VIRTUAL_APIC)))      \
	X(CONTROLS, "TPR threshold: reserved",                                                     \
	  tpr_shadow(v) && !(secondary(v) & VMX_PROC2_VID) && F(TPR_THRESHOLD) & ~0xfu)            \
	X(CONTROLS, "TPR threshold: above the virtual TPR", threshold_above(v))                    \
	X(CONTROLS, "NMI exiting clear, virtual NMIs set",                                         \
	  HAS(PIN, PIN_VIRTUAL_NMI) && !HAS(PIN, PIN_NMI))                                         \
	X(CONTROLS, "virtual NMIs clear, NMI window set",                                          \
	  HAS(PRIMARY, PROC_NMI_WINDOW) && !HAS(PIN, PIN_VIRTUAL_NMI))                             \
	X(CONTROLS, "APIC-access page: address",                                                   \
	  secondary(v) & VMX_PROC2_APIC_ACCESS && bad_page(F(APIC_ACCESS)))                        \
	X(CONTROLS, "APIC virtualization without TPR shadow",                                      \
	  !tpr_shadow(v) &&                                                                        \
	          secondary(v) & (VMX_PROC2_X2APIC | VMX_PROC2_APIC_REGISTER | VMX_PROC2_VID))     \
	X(CONTROLS, "x2APIC virtualization with APIC-access page",                                 \
	  (~secondary(v) & (VMX_PROC2_X2APIC | VMX_PROC2_APIC_ACCESS)) == 0)                       \
	X(CONTROLS, "virtual-interrupt delivery without external-interrupt exiting",               \
	  secondary(v) & VMX_PROC2_VID && !HAS(PIN, PIN_EXTERNAL))                                 \
	X(CONTROLS, "posted interrupts without virtual-interrupt delivery",                        \
	  posted(v) && !(secondary(v) & VMX_PROC2_VID))                                            \
	X(CONTROLS, "posted interrupts without acknowledgement on exit",                           \
	  posted(v) && !HAS(EXIT_CONTROLS, EXIT_CTL_ACK_INTR))                                     \
	X(CONTROLS, "posted-interrupt notification vector: reserved",                              \
	  posted(v) && F(PI_VECTOR) & ~0xffu)                                                      \
	X(CONTROLS, "posted-interrupt descriptor: address",                                        \
	  posted(v) && F(PI_DESC) & ((PI_DESC_SIZE - 1) | BEYOND))                                 \
	X(CONTROLS, "PID-pointer table: address", ipiv(v) && F(PI_TABLE) & (7 | BEYOND))           \
	X(CONTROLS, "PID-pointer table: address of the last entry",                                \
	  ipiv(v) && (F(PI_TABLE) + 8 * F(LAST_PI_INDEX)) & BEYOND)                                \
	X(CONTROLS, "IPI virtualization without TPR shadow",                                       \
	  ipiv(v) && !tpr_shadow(v) && !(c->switches & VAPIC_IPIV_UNSHADOWED))                     \
	X(CONTROLS, "IPI virtualization without posted interrupts",                                \
	  ipiv(v) && !posted(v) && c->switches & VAPIC_IPIV_NEEDS_POSTED)                          \
	X(CONTROLS, "VPID 0", secondary(v) & VMX_PROC2_VPID && !F(VPID))                           \
	X(CONTROLS, "EPT pointer", secondary(v) & VMX_PROC2_EPT && bad_eptp(F(EPTP)))              \
	X(CONTROLS, "unrestricted guest without EPT",                                              \
	  secondary(v) & VMX_PROC2_UNRESTRICTED && !(secondary(v) & VMX_PROC2_EPT))                \
	X(CONTROLS, "exit controls: reserved", reserved(F(EXIT_CONTROLS), c->exit))                \
	X(CONTROLS, "preemption timer saved but not active",                                       \
	  HAS(EXIT_CONTROLS, EXIT_CTL_SAVE_TIMER) && !HAS(PIN, PIN_PREEMPTION_TIMER))              \
	X(CONTROLS, "exit MSR-store list: address",                                                \
	  bad_list(F(EXIT_MSR_STORE_COUNT), F(EXIT_MSR_STORE)))                                    \
	X(CONTROLS, "exit MSR-load list: address",                                                 \
	  bad_list(F(EXIT_MSR_LOAD_COUNT), F(EXIT_MSR_LOAD)))                                      \
	X(CONTROLS, "entry controls: reserved", reserved(F(ENTRY_CONTROLS), c->entry))             \
	X(CONTROLS, "injection: type or reserved bits", bad_event(v))                              \
	X(CONTROLS, "injection: vector does not go with type", bad_event_vector(v))                \
	X(CONTROLS, "injection: error code where there is none, or none where there is",           \
	  bad_event_error(v, c))                                                                   \
	X(CONTROLS, "injection: error code: reserved",                                             \
	  F(ENTRY_INFO) & VMX_EVENT_VALID && F(ENTRY_INFO) & VMX_EVENT_ERROR &&                    \
	          F(ENTRY_ERROR) & ~0xffffu)                                                       \
	X(CONTROLS, "injection: instruction length", bad_event_length(v, c))                       \
	X(CONTROLS, "entry MSR-load list: address",                                                \
	  bad_list(F(ENTRY_MSR_LOAD_COUNT), F(ENTRY_MSR_LOAD)))

/* "Checks on Host Control Registers, MSRs, and SSP", "... Segment and Descriptor-Table Registers" */
#define VMX_HOST_RULES(X)                                                                          \
	X(HOST, "host CR0", fixed(F(HOST_CR0), c->cr0_must, c->cr0_may))                           \
	X(HOST, "host CR4", fixed(F(HOST_CR4), c->cr4_must, c->cr4_may))                           \
	X(HOST, "host CR3: beyond the address width", F(HOST_CR3) & BEYOND)                        \
	X(HOST, "host SYSENTER address: not canonical",                                            \
	  !canonical(F(HOST_SYSENTER_ESP)) || !canonical(F(HOST_SYSENTER_EIP)))                    \
	X(HOST, "host PAT", HAS(EXIT_CONTROLS, EXIT_CTL_LOAD_PAT) && bad_pat(F(HOST_PAT)))         \
	X(HOST, "host EFER",                                                                       \
	  HAS(EXIT_CONTROLS, EXIT_CTL_LOAD_EFER) &&                                                \
	          bad_efer(F(HOST_EFER), HAS(EXIT_CONTROLS, EXIT_CTL_HOST_64), true))              \
	X(HOST, "host selector: RPL or TI", host_selectors(v) & 7)                                 \
	X(HOST, "host CS or TR null", !F(HOST_CS_SELECTOR) || !F(HOST_TR_SELECTOR))                \
	X(HOST, "host base address: not canonical",                                                \
	  !canonical(F(HOST_FS_BASE)) || !canonical(F(HOST_GS_BASE)) ||                            \
	          !canonical(F(HOST_TR_BASE)) || !canonical(F(HOST_GDTR_BASE)) ||                  \
	          !canonical(F(HOST_IDTR_BASE)))                                                   \
	X(HOST, "host address-space size: 64-bit host", !HAS(EXIT_CONTROLS, EXIT_CTL_HOST_64))     \
	X(HOST, "host CR4.PAE clear", !(F(HOST_CR4) & CR4_PAE))                                    \
	X(HOST, "host RIP: not canonical", !canonical(F(HOST_RIP)))

/* "Checks on the Guest State Area" */
#define VMX_GUEST_RULES(X)                                                                         \
	X(GUEST, "CR0", bad_guest_cr0(v, c))                                                       \
	X(GUEST, "CR0.PG without PE", F(GUEST_CR0) & CR0_PG && !(F(GUEST_CR0) & CR0_PE))           \
	X(GUEST, "CR4", fixed(F(GUEST_CR4), c->cr4_must, c->cr4_may))                              \
	X(GUEST, "IA-32e mode without paging or PAE",                                              \
	  ia32e(v) && !(F(GUEST_CR0) & CR0_PG && F(GUEST_CR4) & CR4_PAE))                          \
	X(GUEST, "CR4.PCIDE outside of IA-32e mode", !ia32e(v) && F(GUEST_CR4) & CR4_PCIDE)        \
	X(GUEST, "CR3: beyond the address width", F(GUEST_CR3) & BEYOND)                           \
	X(GUEST, "DEBUGCTL: reserved",                                                             \
	  HAS(ENTRY_CONTROLS, ENTRY_CTL_LOAD_DEBUG) && F(GUEST_DEBUGCTL) & ~0x1fc3ull)             \
	X(GUEST, "DR7: upper half",                                                                \
	  HAS(ENTRY_CONTROLS, ENTRY_CTL_LOAD_DEBUG) && F(GUEST_DR7) >> 32)                         \
	X(GUEST, "SYSENTER address: not canonical",                                                \
	  !canonical(F(GUEST_SYSENTER_ESP)) || !canonical(F(GUEST_SYSENTER_EIP)))                  \
	X(GUEST, "PAT", HAS(ENTRY_CONTROLS, ENTRY_CTL_LOAD_PAT) && bad_pat(F(GUEST_PAT)))          \
	X(GUEST, "EFER",                                                                           \
	  HAS(ENTRY_CONTROLS, ENTRY_CTL_LOAD_EFER) &&                                              \
	          bad_efer(F(GUEST_EFER), ia32e(v), F(GUEST_CR0) & CR0_PG))                        \
	X(GUEST, "TR: unusable or local", F(GUEST_TR_SELECTOR) & 4 || !usable(v, SEG_TR))          \
	X(GUEST, "LDTR: local", usable(v, SEG_LDTR) && F(GUEST_LDTR_SELECTOR) & 4)                 \
	X(GUEST, "SS: RPL is not that of CS",                                                      \
	  !unrestricted(v) && (F(GUEST_SS_SELECTOR) ^ F(GUEST_CS_SELECTOR)) & 3)                   \
	X(GUEST, "TR, LDTR, FS or GS base: not canonical", bad_wide_base(v))                       \
	X(GUEST, "CS, SS, DS or ES base: upper half", bad_narrow_base(v))                          \
	X(GUEST, "CS: type", bad_cs_type(v))                                                       \
	X(GUEST, "SS: type", usable(v, SEG_SS) && type(v, SEG_SS) != 3 && type(v, SEG_SS) != 7)    \
	X(GUEST, "DS, ES, FS or GS: type", bad_data_type(v))                                       \
	X(GUEST, "segment: S clear", bad_code_or_data(v))                                          \
	X(GUEST, "CS: DPL", bad_cs_dpl(v))                                                         \
	X(GUEST, "SS: DPL", bad_ss_dpl(v))                                                         \
	X(GUEST, "segment: not present", not_present(v))                                           \
	X(GUEST, "segment: access rights: reserved", bad_rights(v))                                \
	X(GUEST, "CS: L and D",                                                                    \
	  ia32e(v) && (rights(v, SEG_CS) & (RIGHTS_L | RIGHTS_D)) == (RIGHTS_L | RIGHTS_D))        \
	X(GUEST, "segment: limit and granularity", bad_granularity(v))                             \
	X(GUEST, "TR: type",                                                                       \
	  rights(v, SEG_TR) & SEG_ATTR_S ||                                                        \
	          (type(v, SEG_TR) != 11 && (ia32e(v) || type(v, SEG_TR) != 3)))                   \
	X(GUEST, "LDTR: type",                                                                     \
	  usable(v, SEG_LDTR) && (rights(v, SEG_LDTR) & SEG_ATTR_S || type(v, SEG_LDTR) != 2))     \
	X(GUEST, "GDTR or IDTR base: not canonical",                                               \
	  !canonical(F(GUEST_GDTR_BASE)) || !canonical(F(GUEST_IDTR_BASE)))                        \
	X(GUEST, "GDTR or IDTR limit", (F(GUEST_GDTR_LIMIT) | F(GUEST_IDTR_LIMIT)) & ~0xffffull)   \
	X(GUEST, "RIP: upper half outside of 64-bit code",                                         \
	  !(ia32e(v) && rights(v, SEG_CS) & RIGHTS_L) && F(GUEST_RIP) >> 32)                       \
	X(GUEST, "RIP: bits beyond linear addresses", !is_linear(F(GUEST_RIP)))                    \
	X(GUEST, "RFLAGS: reserved",                                                               \
	  F(GUEST_RFLAGS) & RFLAGS_RESERVED || !(F(GUEST_RFLAGS) & RFLAGS_RES1))                   \
	X(GUEST, "RFLAGS.VM in IA-32e mode or real mode",                                          \
	  F(GUEST_RFLAGS) & RFLAGS_VM && (ia32e(v) || !(F(GUEST_CR0) & CR0_PE)))                   \
	X(GUEST, "RFLAGS.IF clear, external interrupt injected",                                   \
	  injects(v, VMX_EVENT_EXTERNAL) && !(F(GUEST_RFLAGS) & RFLAGS_IF))                        \
	X(GUEST, "activity state", bad_activity(F(GUEST_ACTIVITY), c))                             \
	X(GUEST, "activity state: halted with DPL other than 0",                                   \
	  F(GUEST_ACTIVITY) == VMX_HALTED && rights(v, SEG_SS) & SEG_ATTR_DPL)                     \
	X(GUEST, "activity state: halted in the shadow of STI or MOV SS",                          \
	  F(GUEST_ACTIVITY) != VMX_ACTIVE && shadow(v))                                            \
	X(GUEST, "activity state: halted, event injected that does not wake", does_not_wake(v))    \
	X(GUEST, "interruptibility: reserved", F(GUEST_INTERRUPTIBILITY) & ~0xfu)                  \
	X(GUEST, "interruptibility: STI and MOV SS",                                               \
	  shadow(v) == (VMX_BLOCKED_STI | VMX_BLOCKED_SS))                                         \
	X(GUEST, "interruptibility: STI with RFLAGS.IF clear",                                     \
	  shadow(v) & VMX_BLOCKED_STI && !(F(GUEST_RFLAGS) & RFLAGS_IF))                           \
	X(GUEST, "interruptibility: shadow, external interrupt injected",                          \
	  injects(v, VMX_EVENT_EXTERNAL) && shadow(v))                                             \
	X(GUEST, "interruptibility: shadow, NMI injected", injects(v, VMX_EVENT_NMI) && shadow(v)) \
	X(GUEST, "interruptibility: SMI", F(GUEST_INTERRUPTIBILITY) & VMX_BLOCKED_SMI)             \
	X(GUEST, "interruptibility: NMI blocked, NMI injected",                                    \
	  injects(v, VMX_EVENT_NMI) && HAS(PIN, PIN_VIRTUAL_NMI) &&                                \
	          F(GUEST_INTERRUPTIBILITY) & VMX_BLOCKED_NMI)                                     \
	X(GUEST, "pending debug exceptions: reserved",                                             \
	  F(GUEST_PENDING_DEBUG) & ~(0xfull | VMX_DEBUG_ENABLED | VMX_DEBUG_BS))                   \
	X(GUEST, "pending debug exceptions: BS is not what TF says", bad_pending_debug(v))         \
	X(GUEST, "VMCS link pointer", F(LINK) != ~0ull)                                            \
	X(GUEST, "PDPTE: reserved", bad_pdptes(v))

#define VMX_RULES(X) VMX_CONTROL_RULES(X) VMX_HOST_RULES(X) VMX_GUEST_RULES(X)

#endif
