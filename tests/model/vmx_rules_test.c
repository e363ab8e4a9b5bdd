/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The checks of VM entry: each rule of cpu_model/vmx_rules.h is broken by itself, and the entry fails in its
 * area's way, with the rule's name; and every rule has a row here that breaks it.
 */
#include "tests/model/vmx_guest.h"
#include "tests/model/vmx_rows.h"

#define ALL (MODEL_SAPPHIRE_RAPIDS & ~(u32)MODEL_INTEL)

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

	caps.switches = model()->vapic_switches;
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
	VMX_ROWS(X)
	VMX_POSTED_ROWS(X)
	VMX_IPIV_ROWS(X)
#undef X
}

/* This processor is an old one. */
static void test_what_old_processors_refuse(void **state __unused)
{
#define X(rule_name, ...)                                                                          \
	begin();                                                                                   \
	__VA_ARGS__;                                                                               \
	end(rule_name);
	VMX_OLD_ROWS(X)
	X("activity state", W(VMCS_GUEST_ACTIVITY, VMX_WAIT_SIPI))
#undef X
}

/* And a newer one does not. */
static void test_what_newer_processors_allow(void **state __unused)
{
#define X(rule_name, ...)                                                                          \
	begin();                                                                                   \
	m.caps.basic |= VMX_BASIC_ANY_ERROR;                                                       \
	m.caps.misc |= VMX_MISC_NO_LENGTH | VMX_MISC_WAIT_SIPI;                                    \
	__VA_ARGS__;                                                                               \
	assert_null(vmx_check(vmcs(), &m.caps, VMX_AREA_CONTROLS));                                \
	assert_null(vmx_check(vmcs(), &m.caps, VMX_AREA_GUEST));
	VMX_OLD_ROWS(X)
	X("activity state", W(VMCS_GUEST_ACTIVITY, VMX_WAIT_SIPI))
#undef X
}

/* Rules without a row, for a reason. */
static bool is_excused(const char *name)
{
	/* Reserved where there are no PCIDs, as here; and a rule that is switched off: see below. */
	return !strcmp(name, "CR4.PCIDE outside of IA-32e mode") ||
	       !strcmp(name, "IPI virtualization without posted interrupts");
}

static void test_each_rule_has_a_row(void **state __unused)
{
	static const char *const rows[] = {
#define X(rule_name, ...) rule_name,
	        VMX_ROWS(X) VMX_POSTED_ROWS(X) VMX_IPIV_ROWS(X)
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
#define X(...)                                                                                     \
	begin();                                                                                   \
	__VA_ARGS__;                                                                               \
	if (broken_rule())                                                                         \
		fail_msg("%s: %s", #__VA_ARGS__, broken_rule()->name);
	VMX_LEGAL_ROWS(X)
	VMX_POSTED_LEGAL_ROWS(X)
	VMX_IPIV_LEGAL_ROWS(X)
#undef X
}

static void test_pcids_are_of_ia32e_mode(void **state __unused)
{
	const struct vmx_rule *rule;
	const char *want;

	vmx_create(ALL, script);
	m.caps.cr4_may |= CR4_PCIDE;
	set(VMCS_GUEST_CR4, CR4_PCIDE);
	assert_null(vmx_check(vmcs(), &m.caps, VMX_AREA_GUEST));
#define X(rule_name, ...)                                                                          \
	want = rule_name;                                                                          \
	__VA_ARGS__;
	VMX_PCID_ROW(X)
#undef X
	rule = vmx_check(vmcs(), &m.caps, VMX_AREA_GUEST);
	assert_non_null(rule);
	assert_string_equal(rule->name, want);
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
	vmx_create(ALL & ~(u32)MODEL_POSTED, script);
	set(VMCS_PIN, VMX_PIN_POSTED);
	assert_string_equal(broken_rule()->name, "pin-based controls: reserved");
	vmx_create(ALL & ~(u32)MODEL_IPIV, script);
	set(VMCS_PRIMARY, VMX_PROC_TERTIARY);
	assert_string_equal(broken_rule()->name, "primary controls: reserved");
}

/* Each bit of an address that has to be 0, and none below it. */
static void test_addresses_of_posting(void **state __unused)
{
	for (u32 bit = 0; bit < 64; bit++) {
		begin();
		posted();
		set(VMCS_PI_DESC, BIT64(bit));
		if (bit < 6 || bit >= 40)
			end("posted-interrupt descriptor: address");
		else
			assert_null(broken_rule());
		begin();
		ipiv();
		set(VMCS_PI_TABLE, BIT64(bit));
		if (bit < 3 || bit >= 40)
			end("PID-pointer table: address");
		else
			assert_null(broken_rule());
		begin();
		ipiv();
		W(VMCS_TERTIARY, BIT64(bit));
		if (bit != 4)
			end("tertiary controls: reserved");
		else
			assert_null(broken_rule());
		begin();
		posted();
		set(VMCS_PI_VECTOR, bit < 16 ? BIT64(bit) : 0);
		if (bit >= 8 && bit < 16)
			end("posted-interrupt notification vector: reserved");
		else
			assert_null(broken_rule());
	}
	/* The table's end may be anywhere in the address's width, its last entry may not be beyond. */
	for (u64 last = 0; last <= PI_LAST_INDEX; last = last * 2 + 1) {
		begin();
		ipiv();
		W(VMCS_LAST_PI_INDEX, last);
		W(VMCS_PI_TABLE, BIT64(40) - 8 * (last + 1));
		assert_null(broken_rule());
		if (!last)
			continue;
		W(VMCS_PI_TABLE, BIT64(40) - 8 * last);
		end("PID-pointer table: address of the last entry");
	}
}

/* What the sources leave open is a switch. */
static void test_switched_rules(void **state __unused)
{
	begin();
	ipiv();
	clear(VMCS_PRIMARY, VMX_PROC_TPR_SHADOW);
	model()->vapic_switches |= VAPIC_IPIV_UNSHADOWED;
	assert_null(broken_rule());
	begin();
	model()->vapic_switches |= VAPIC_IPIV_NEEDS_POSTED;
	ipiv();
	posted();
	assert_null(broken_rule());
	clear(VMCS_PIN, VMX_PIN_POSTED);
	end("IPI virtualization without posted interrupts");
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
	        cmocka_unit_test(test_what_old_processors_refuse),
	        cmocka_unit_test(test_what_newer_processors_allow),
	        cmocka_unit_test(test_what_is_legal_enters),
	        cmocka_unit_test(test_pcids_are_of_ia32e_mode),
	        cmocka_unit_test(test_controls_by_feature),
	        cmocka_unit_test(test_addresses_of_posting),
	        cmocka_unit_test(test_switched_rules),
	        cmocka_unit_test(test_controls_of_the_apic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
