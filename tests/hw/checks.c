/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Entry checks on the processor: the rows that tests/model/vmx_rules_test.c runs on the model, and what the model's
 * rules say of the same VMCS, field by field. A row's guest, if it is entered after all, comes back by VMCALL, by an
 * exception or by a triple fault.
 */
#include "tests/hw/hw.h"
#include "tests/model/vmx_rows.h"

#include "metal.h"

#define VECTOR  0x41
#define TABLES  6 /* root, one table, four directories: 4 GiB by 2 MiB */
#define LARGE   0x83
#define TABLE   3
#define GIB     (1ull << 30)
#define MIB2    (2ull << 20)
#define EPT_RWX (EPT_READ | EPT_WRITE | EPT_EXEC)

static u8 *code;
static u64 *guest_tables;
static struct model_vmcs copy;
static u32 rows, left_out, differences;

/* An identity map. `table`, `leaf`: bits of entries. */
static u64 *map(u64 table, u64 leaf)
{
	u64 *t = port_alloc(TABLES * PAGE_SIZE, PAGE_SIZE);
	u64 per = PAGE_SIZE / sizeof(u64);

	ASSERT(t);
	t[0] = vmx_hpa(t + per) | table;
	for (u64 i = 0; i < 4; i++)
		t[per + i] = vmx_hpa(t + (2 + i) * per) | table;
	for (u64 i = 0; i < 4 * per; i++)
		t[2 * per + i] = i * MIB2 | leaf;
	return t;
}

static void begin(void)
{
	m.apic[APIC_TPR] = 0;
	ASSERT(insn_vmclear(ptr_to_hpa(m.vmcs)) && insn_vmptrld(ptr_to_hpa(m.vmcs)));
	hw_clear_vmcs();
	vmx_write_controls();
	vmx_write_host();
	vmx_write_guest();
	vmx_write(VMCS_EXCEPTIONS, 0xffffffff);
	vmx_write(VMCS_GUEST_CR3, vmx_hpa(guest_tables));
	vmx_write(VMCS_GUEST_RIP, (uintptr_t)code);
	vmx_write(VMCS_GUEST_RSP, (uintptr_t)code + PAGE_SIZE);
}

static const struct vmx_rule *broken_rule(void)
{
	hw_copy_vmcs(&copy);
	for (u32 area = VMX_AREA_CONTROLS; area <= VMX_AREA_GUEST; area++) {
		const struct vmx_rule *rule = vmx_check(&copy, &m.caps, (enum vmx_area)area);

		if (rule)
			return rule;
	}
	return NULL;
}

/* What became of an entry: the area whose checks refuse, or that the guest was there. */
enum outcome {
	REFUSED_CONTROLS, /* as enum vmx_area */
	REFUSED_HOST,
	REFUSED_GUEST,
	ENTERED,
	OTHER,
};
static const char *const outcomes[] = {"VMfail 7", "VMfail 8", "exit 33", "entered",
                                       "something else"};

static enum outcome enter(u64 *detail)
{
	u64 gpr[GPR_COUNT] = {0};

	if (!hw_enter(gpr, false)) {
		*detail = vmx_read(VMCS_INSTRUCTION_ERROR);
		return *detail == VMX_ERROR_ENTRY_CONTROLS ? REFUSED_CONTROLS
		       : *detail == VMX_ERROR_ENTRY_HOST   ? REFUSED_HOST
		                                           : OTHER;
	}
	*detail = vmx_read(VMCS_EXIT_REASON);
	if (!(*detail & VMX_EXIT_ENTRY_FAILED))
		return ENTERED;
	return *detail == (VMX_EXIT_ENTRY_FAILED | VMX_EXIT_ENTRY_GUEST_STATE) ? REFUSED_GUEST
	                                                                       : OTHER;
}

/* A refusal injects nothing and launches nothing. */
static bool left_alone(u64 entry_info)
{
	u64 gpr[GPR_COUNT] = {0};

	return vmx_read(VMCS_ENTRY_INFO) == entry_info && !hw_enter(gpr, true) &&
	       vmx_read(VMCS_INSTRUCTION_ERROR) == VMX_ERROR_VMRESUME_NOT_LAUNCHED;
}

static void differ(const char *name, const char *model, const char *processor, u64 detail)
{
	differences++;
	hw_say("differs | %s | %s | %s |", name, model, processor);
	hw_say("# detail: %lx", detail);
}

static void end(const char *name)
{
	const struct vmx_rule *rule = broken_rule();
	u64 entry_info = vmx_read(VMCS_ENTRY_INFO), detail;
	enum outcome outcome;

	rows++;
	if (!rule || strcmp(rule->name, name)) {
		differ(name, rule ? rule->name : "nothing is broken", "not tried", 0);
		return;
	}
	outcome = enter(&detail);
	if ((u32)outcome != rule->area)
		differ(name, outcomes[rule->area], outcomes[outcome], detail);
	else if (!left_alone(entry_info))
		differ(name, "no more than a refusal", "changed something", detail);
	else
		hw_say("ok %s: %s", name, outcomes[outcome]);
}

static void end_legal(const char *what)
{
	const struct vmx_rule *rule = broken_rule();
	enum outcome outcome;
	u64 detail;

	rows++;
	if (rule) {
		differ(what, rule->name, "not tried", 0);
		return;
	}
	outcome = enter(&detail);
	if (outcome != ENTERED)
		differ(what, "legal", outcomes[outcome], detail);
	else
		hw_say("ok legal: %s: exit %lu", what, detail);
}

/* What each row comes to. */
#define BREAKS(rule_name, ...)                                                                     \
	begin();                                                                                   \
	__VA_ARGS__;                                                                               \
	end(rule_name);
#define IS_LEGAL(...)                                                                              \
	begin();                                                                                   \
	__VA_ARGS__;                                                                               \
	end_legal(#__VA_ARGS__);
/* Broken or not, by what the processor has. */
#define MAY_BREAK(rule_name, ...)                                                                  \
	begin();                                                                                   \
	__VA_ARGS__;                                                                               \
	if (broken_rule())                                                                         \
		end(rule_name);                                                                    \
	else                                                                                       \
		end_legal(#__VA_ARGS__);
#define IS_LEFT_OUT(...) left_out++;

static void run_rows(void)
{
	VMX_ROWS(BREAKS)
	VMX_PCID_ROW(BREAKS)
}

static void run_old_rows(void)
{
	VMX_OLD_ROWS(MAY_BREAK)
}

static void run_legal_rows(void)
{
	begin();
	end_legal("as it is");
	VMX_LEGAL_ROWS(IS_LEGAL)
}

/*
 * Rows of features that the processor may not have: it has not their fields then, and they are left out, and
 * counted as such.
 */
static void run_posted_rows(void)
{
	if (VMX_MAY(m.caps.pin) & VMX_PIN_POSTED) {
		VMX_POSTED_ROWS(BREAKS)
		VMX_POSTED_LEGAL_ROWS(IS_LEGAL)
	} else {
		VMX_POSTED_ROWS(IS_LEFT_OUT)
		VMX_POSTED_LEGAL_ROWS(IS_LEFT_OUT)
	}
}

static void run_ipiv_rows(void)
{
	if (m.caps.tertiary & VMX_PROC3_IPIV) {
		VMX_IPIV_ROWS(BREAKS)
		VMX_IPIV_LEGAL_ROWS(IS_LEGAL)
	} else {
		VMX_IPIV_ROWS(IS_LEFT_OUT)
		VMX_IPIV_LEGAL_ROWS(IS_LEFT_OUT)
	}
}

bool hw_checks(void)
{
	static const u8 vmcall[] = {0x0f, 0x01, 0xc1};

	if (!hw_turn_on(&m.caps))
		return false;
	m.vmcs = hw_region();
	m.apic = vmx_page();
	m.msr_bitmap = vmx_page();
	m.root = map(EPT_RWX, EPT_RWX | EPT_TYPE(6) | EPT_LARGE);
	guest_tables = map(TABLE, LARGE);
	code = vmx_page();
	for (u32 i = 0; i + sizeof(vmcall) <= PAGE_SIZE; i += sizeof(vmcall))
		memcpy(code + i, vmcall, sizeof(vmcall));
	hw_say("# IA32_VMX_BASIC %lx, MISC %lx, EPT_VPID_CAP %lx", m.caps.basic, m.caps.misc,
	       m.caps.ept_vpid);
	hw_say("# pin %lx, primary %lx, secondary %lx, exit %lx, entry %lx", m.caps.pin,
	       m.caps.primary, m.caps.secondary, m.caps.exit, m.caps.entry);
	run_rows();
	run_old_rows();
	run_legal_rows();
	run_posted_rows();
	run_ipiv_rows();
	hw_say("# entry checks: %u rows, %u differences; left out: %u rows of features that it has not",
	       rows, differences, left_out);
	return true;
}
