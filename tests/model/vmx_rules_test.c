/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The checks of VM entry: each rule of cpu_model/vmx_rules.h is broken by itself, and the entry fails in its
 * area's way, with the rule's name; and every rule has a row here that breaks it.
 */
#include "tests/model/vmx_guest.h"

#define ALL (MODEL_APICV | MODEL_PREEMPTION_TIMER)
#define W   vmx_write

static void set(u32 field, u64 bits)
{
	vmx_change(field, 0, bits);
}

static void clear(u32 field, u64 bits)
{
	vmx_change(field, bits, 0);
}

static void secondary(u32 bits)
{
	set(VMCS_SECONDARY, bits);
}

static void exception_13(u32 more)
{
	vmx_inject(VMX_EVENT_EXCEPTION, VECTOR_GP | more);
}

/* Interrupts open, in the shadow of STI. */
static void in_shadow(void)
{
	set(VMCS_GUEST_RFLAGS, RFLAGS_IF);
	W(VMCS_GUEST_INTERRUPTIBILITY, VMX_BLOCKED_STI);
}

static void restricted(void)
{
	clear(VMCS_SECONDARY, VMX_PROC2_UNRESTRICTED);
}

/* 32-bit code. */
static void protected_mode(void)
{
	clear(VMCS_ENTRY_CONTROLS, VMX_ENTRY_CTL_GUEST_64);
	W(VMCS_GUEST_EFER, 0);
	W(VMCS_GUEST_CR0, CR0_PE | CR0_NE | CR0_ET);
	vmx_segment(SEG_CS, 0x08, 0xc09b);
}

static void pae_paging(void)
{
	protected_mode();
	set(VMCS_GUEST_CR0, CR0_PG);
}

/* name of the rule, what breaks it. The last statement does; what comes before is legal. */
#define ROWS(X)                                                                                    \
	X("pin-based controls: reserved", clear(VMCS_PIN, BIT(1)))                                 \
	X("primary controls: reserved", set(VMCS_PRIMARY, BIT(0)))                                 \
	X("secondary controls: reserved", secondary(VMX_PROC2_VMFUNC))                             \
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
	X("EPT pointer", set(VMCS_EPTP, EPTP_AD))                                                  \
	X("unrestricted guest without EPT", clear(VMCS_SECONDARY, VMX_PROC2_EPT))                  \
	X("exit controls: reserved", set(VMCS_EXIT_CONTROLS, BIT(28)))                             \
	X("preemption timer saved but not active",                                                 \
	  set(VMCS_EXIT_CONTROLS, VMX_EXIT_CTL_SAVE_TIMER))                                        \
	X("exit MSR-store list: address", W(VMCS_EXIT_MSR_STORE, 8);                               \
	  W(VMCS_EXIT_MSR_STORE_COUNT, 1))                                                         \
	X("exit MSR-load list: address", W(VMCS_EXIT_MSR_LOAD, 8); W(VMCS_EXIT_MSR_LOAD_COUNT, 1)) \
	X("entry controls: reserved", set(VMCS_ENTRY_CONTROLS, VMX_ENTRY_CTL_SMM))                 \
	X("injection: type or reserved bits", vmx_inject(VMX_EVENT_OTHER, 0))                      \
	X("injection: vector does not go with type", vmx_inject(VMX_EVENT_NMI, 3))                 \
	X("injection: error code where there is none, or none where there is", exception_13(0))    \
	X("injection: error code: reserved", W(VMCS_ENTRY_ERROR, BIT(16));                         \
	  exception_13(VMX_EVENT_ERROR))                                                           \
	X("injection: instruction length", vmx_inject(VMX_EVENT_SOFT_EXC, VECTOR_BP))              \
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
	X("RIP: not canonical", W(VMCS_GUEST_RIP, BIT64(47)))                                      \
	X("RFLAGS: reserved", clear(VMCS_GUEST_RFLAGS, RFLAGS_RES1))                               \
	X("RFLAGS.VM in IA-32e mode or real mode", set(VMCS_GUEST_RFLAGS, RFLAGS_VM))              \
	X("RFLAGS.IF clear, external interrupt injected", vmx_inject(VMX_EVENT_EXTERNAL, VECTOR))  \
	X("activity state", W(VMCS_GUEST_ACTIVITY, VMX_WAIT_SIPI))                                 \
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

static void script(void *arg __unused)
{
	struct cpuid_regs r;

	for (;;)
		g_cpuid(0, 0, &r);
}

static const struct model_vmcs *vmcs(void)
{
	return (const struct model_vmcs *)(const void *)m.vmcs;
}

static const struct vmx_rule *broken_rule(void)
{
	struct vmx_caps caps = vmx_caps(model()->features);

	for (u32 area = VMX_AREA_CONTROLS; area <= VMX_AREA_GUEST; area++) {
		const struct vmx_rule *rule = vmx_check(vmcs(), &caps, (enum vmx_area)area);

		if (rule)
			return rule;
	}
	return NULL;
}

static void expect_failure(const struct vmx_rule *rule)
{
	u32 entry_info = (u32)vmx_read(VMCS_ENTRY_INFO);

	if (rule->area == VMX_AREA_GUEST) {
		assert_true(insn_vmx_run(m.gpr, false, vmx_never, NULL));
		assert_true(vmx_read(VMCS_EXIT_REASON) ==
		            (VMX_EXIT_ENTRY_FAILED | VMX_EXIT_ENTRY_GUEST_STATE));
	} else {
		assert_false(insn_vmx_run(m.gpr, false, vmx_never, NULL));
		assert_int_equal(vmx_read(VMCS_INSTRUCTION_ERROR),
		                 rule->area == VMX_AREA_HOST ? VMX_ERROR_ENTRY_HOST
		                                             : VMX_ERROR_ENTRY_CONTROLS);
	}
	/* Nothing was injected, nothing launched. */
	assert_int_equal(vmx_read(VMCS_ENTRY_INFO), entry_info);
	assert_false(insn_vmx_run(m.gpr, true, vmx_never, NULL));
	assert_int_equal(vmx_read(VMCS_INSTRUCTION_ERROR), VMX_ERROR_VMRESUME_NOT_LAUNCHED);
}

static void begin(void)
{
	vmx_create(ALL, script);
	assert_null(broken_rule());
}

static void end(const char *name)
{
	const struct vmx_rule *rule = broken_rule();

	if (!rule || strcmp(rule->name, name))
		fail_msg("%s: refused for: %s", name, rule ? rule->name : "nothing");
	expect_failure(rule);
}

static void test_each_rule_is_applied(void **state __unused)
{
#define X(rule_name, ...)                                                                          \
	begin();                                                                                   \
	__VA_ARGS__;                                                                               \
	end(rule_name);
	ROWS(X)
#undef X
}

/* Rules without a row, for a reason. */
static bool is_excused(const char *name)
{
	/* Reserved where there are no PCIDs, as here: see below. */
	return !strcmp(name, "CR4.PCIDE outside of IA-32e mode");
}

static void test_each_rule_has_a_row(void **state __unused)
{
	static const char *const rows[] = {
#define X(rule_name, ...) rule_name,
	        ROWS(X)
#undef X
	};

	for (u32 i = 0; i < vmx_rule_count; i++) {
		u32 found = 0;

		for (u32 j = 0; j < ARRAY_SIZE(rows); j++)
			found += !strcmp(rows[j], vmx_rules[i].name);
		if (found != !is_excused(vmx_rules[i].name))
			fail_msg("%s: %u rows", vmx_rules[i].name, found);
	}
}

/* What rules allow next to what they refuse. */
static void test_what_is_legal_enters(void **state __unused)
{
#define LEGAL(...)                                                                                 \
	vmx_create(ALL, script);                                                                   \
	__VA_ARGS__;                                                                               \
	if (broken_rule())                                                                         \
		fail_msg("%s: %s", #__VA_ARGS__, broken_rule()->name);

	LEGAL(m.apic[APIC_TPR] = 0x40; W(VMCS_TPR_THRESHOLD, 4))
	LEGAL(exception_13(VMX_EVENT_ERROR))
	LEGAL(protected_mode(); exception_13(VMX_EVENT_ERROR))
	LEGAL(protected_mode(); clear(VMCS_GUEST_CR0, CR0_PE); exception_13(0))
	LEGAL(in_shadow(); exception_13(VMX_EVENT_ERROR))
	LEGAL(in_shadow(); set(VMCS_GUEST_RFLAGS, RFLAGS_TF);
	      W(VMCS_GUEST_PENDING_DEBUG, VMX_DEBUG_BS))
	LEGAL(set(VMCS_GUEST_RFLAGS, RFLAGS_IF); vmx_inject(VMX_EVENT_EXTERNAL, VECTOR))
	LEGAL(vmx_inject(VMX_EVENT_NMI, VECTOR_NMI))
	LEGAL(W(VMCS_ENTRY_LENGTH, 1); vmx_inject(VMX_EVENT_SOFT_EXC, VECTOR_BP))
	LEGAL(pae_paging(); W(VMCS_GUEST_PDPTE2, PTE_P | 0x5000))
	LEGAL(W(VMCS_GUEST_DS_RIGHTS, VMX_RIGHTS_UNUSABLE))
	LEGAL(secondary(VMX_PROC2_VID | VMX_PROC2_APIC_REGISTER | VMX_PROC2_X2APIC))
	LEGAL(secondary(VMX_PROC2_APIC_ACCESS); W(VMCS_TPR_THRESHOLD, 0xf))
	LEGAL(secondary(VMX_PROC2_VID); W(VMCS_TPR_THRESHOLD, 0x1f))
	LEGAL(secondary(VMX_PROC2_VID | VMX_PROC2_APIC_ACCESS); W(VMCS_GUEST_INTR_STATUS, 0xffff))
	LEGAL(W(VMCS_GUEST_ACTIVITY, VMX_HALTED); vmx_inject(VMX_EVENT_NMI, VECTOR_NMI))
	LEGAL(W(VMCS_GUEST_ACTIVITY, VMX_HALTED); vmx_inject(VMX_EVENT_EXCEPTION, VECTOR_DB))
	LEGAL(set(VMCS_PIN, VMX_PIN_PREEMPTION_TIMER);
	      set(VMCS_EXIT_CONTROLS, VMX_EXIT_CTL_SAVE_TIMER))
	LEGAL(clear(VMCS_PRIMARY, VMX_PROC_TPR_SHADOW); W(VMCS_TPR_THRESHOLD, 0xff))
#undef LEGAL
}

static void test_pcids_are_of_ia32e_mode(void **state __unused)
{
	struct vmx_caps caps;
	const struct vmx_rule *rule;

	vmx_create(ALL, script);
	caps = vmx_caps(model()->features);
	caps.cr4_may |= CR4_PCIDE;
	set(VMCS_GUEST_CR4, CR4_PCIDE);
	assert_null(vmx_check(vmcs(), &caps, VMX_AREA_GUEST));
	protected_mode();
	rule = vmx_check(vmcs(), &caps, VMX_AREA_GUEST);
	assert_non_null(rule);
	assert_string_equal(rule->name, "CR4.PCIDE outside of IA-32e mode");
}

/* Controls that the processor does not have. */
static void test_controls_by_feature(void **state __unused)
{
	static const u32 bits[] = {VMX_PROC2_APIC_ACCESS, VMX_PROC2_X2APIC, VMX_PROC2_APIC_REGISTER,
	                           VMX_PROC2_VID};

	for (u32 i = 0; i < ARRAY_SIZE(bits); i++) {
		vmx_create(0, script);
		secondary(bits[i]);
		assert_string_equal(broken_rule()->name, "secondary controls: reserved");
	}
	vmx_create(0, script);
	set(VMCS_PIN, VMX_PIN_PREEMPTION_TIMER);
	assert_string_equal(broken_rule()->name, "pin-based controls: reserved");
}

/* The rules of APIC virtualization that join several controls: each of these. */
static void test_controls_of_the_apic(void **state __unused)
{
	static const u32 need_shadow[] = {VMX_PROC2_X2APIC, VMX_PROC2_APIC_REGISTER, VMX_PROC2_VID};

	for (u32 i = 0; i < ARRAY_SIZE(need_shadow); i++) {
		begin();
		secondary(need_shadow[i]);
		assert_null(broken_rule());
		clear(VMCS_PRIMARY, VMX_PROC_TPR_SHADOW);
		end("APIC virtualization without TPR shadow");
	}
	begin();
	secondary(VMX_PROC2_APIC_ACCESS);
	W(VMCS_APIC_ACCESS, BIT64(40));
	end("APIC-access page: address");
	begin();
	W(VMCS_VIRTUAL_APIC, 0x10);
	end("virtual-APIC page: address");
	begin();
	secondary(VMX_PROC2_APIC_ACCESS | VMX_PROC2_VID | VMX_PROC2_X2APIC);
	end("x2APIC virtualization with APIC-access page");
	/* Register virtualization alone leaves the threshold's rules as they are. */
	begin();
	secondary(VMX_PROC2_APIC_REGISTER | VMX_PROC2_X2APIC);
	W(VMCS_TPR_THRESHOLD, 1);
	end("TPR threshold: above the virtual TPR");
	begin();
	secondary(VMX_PROC2_APIC_ACCESS);
	W(VMCS_TPR_THRESHOLD, 0x10);
	end("TPR threshold: reserved");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_each_rule_is_applied),
	        cmocka_unit_test(test_each_rule_has_a_row),
	        cmocka_unit_test(test_what_is_legal_enters),
	        cmocka_unit_test(test_pcids_are_of_ia32e_mode),
	        cmocka_unit_test(test_controls_by_feature),
	        cmocka_unit_test(test_controls_of_the_apic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
