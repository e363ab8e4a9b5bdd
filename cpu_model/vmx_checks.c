/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The words of vmx_rules.h, and the rules as functions. Pure, but for the virtual task priority, which is in
 * memory. SDM volume 3, "Checks on VMX Controls and Host-State Area", "Checks on the Guest State Area".
 *
 * Where the manual leaves a choice, the stricter one: no NMI may be injected in the shadow of STI. An event that
 * may be injected with an error code only has one in protected mode, whatever unrestricted guests are ("VM-Entry
 * Interruption-Information Field").
 */
#include "cpu_model/vmx_checks.h"
#include "cpu_model/vapic.h"
#include "cpu_model/vmx_rules.h"
#include "postern/port.h"
#include "x86/apic.h"

#define F(name)           vmcs_store_get(v, VMCS_##name)
#define HAS(field, bit)   ((F(field) & VMX_##bit) != 0)
#define BEYOND            (~0ull << VMX_ADDRESS_BITS)
#define RIGHTS_L          BIT(13)
#define RIGHTS_D          BIT(14)
#define RIGHTS_G          BIT(15)
#define RIGHTS_RESERVED   0xfffe0f00u
#define RFLAGS_RESERVED   (~0x3fffffull | BIT64(15) | BIT64(5) | BIT64(3))
#define EFER_KNOWN        (EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE)
#define PDPTE_RESERVED    0x1e6ull
#define ERROR_CODE_VECTOR (BIT(8) | BIT(10) | BIT(11) | BIT(12) | BIT(13) | BIT(14) | BIT(17))

static bool reserved(u64 value, u64 capability)
{
	return VMX_MUST(capability) & ~value || value & ~(u64)VMX_MAY(capability);
}

static bool fixed(u64 value, u64 must, u64 may)
{
	return must & ~value || value & ~may;
}

static bool canonical(u64 address)
{
	return (u64)((s64)(address << 16) >> 16) == address;
}

/* An address that is next to be used, as RIP: bits 63:48 are identical, and bit 47 need not be the same. */
static bool is_linear(u64 address)
{
	return address >> 48 == 0 || address >> 48 == 0xffff;
}

static bool bad_page(u64 address)
{
	return address & (~PAGE_MASK | BEYOND);
}

static bool bad_list(u64 count, u64 address)
{
	return count && address & (0xf | BEYOND);
}

static bool bad_pat(u64 value)
{
	for (u32 i = 0; i < 8; i++) {
		u8 type = (u8)(value >> i * 8);

		if (type > 7 || type == 2 || type == 3)
			return true;
	}
	return false;
}

static bool bad_efer(u64 value, bool long_mode, bool paging)
{
	if (value & ~EFER_KNOWN || !!(value & EFER_LMA) != long_mode)
		return true;
	return paging && !!(value & EFER_LME) != long_mode;
}

/* --- controls --- */

static u32 secondary(const struct model_vmcs *v)
{
	return HAS(PRIMARY, PROC_SECONDARY) ? (u32)F(SECONDARY) : 0;
}

static bool unrestricted(const struct model_vmcs *v)
{
	return secondary(v) & VMX_PROC2_UNRESTRICTED;
}

static bool tpr_shadow(const struct model_vmcs *v)
{
	return HAS(PRIMARY, PROC_TPR_SHADOW);
}

static bool posted(const struct model_vmcs *v)
{
	return HAS(PIN, PIN_POSTED);
}

static u64 tertiary(const struct model_vmcs *v)
{
	return HAS(PRIMARY, PROC_TERTIARY) ? F(TERTIARY) : 0;
}

static bool ipiv(const struct model_vmcs *v)
{
	return tertiary(v) & VMX_PROC3_IPIV;
}

static bool threshold_above(const struct model_vmcs *v)
{
	const u8 *page;

	if (!tpr_shadow(v) || bad_page(F(VIRTUAL_APIC)) ||
	    secondary(v) & (VMX_PROC2_APIC_ACCESS | VMX_PROC2_VID))
		return false;
	page = hpa_to_ptr(HPA(F(VIRTUAL_APIC)));
	return (F(TPR_THRESHOLD) & 0xf) > (u64)page[APIC_TPR] >> 4;
}

static bool bad_eptp(u64 eptp)
{
	return (eptp & 0xfff) != (EPTP_WB | EPTP_4_LEVELS) || eptp & BEYOND;
}

static bool injects(const struct model_vmcs *v, u32 event)
{
	return (F(ENTRY_INFO) & (VMX_EVENT_VALID | VMX_EVENT_TYPE)) == (VMX_EVENT_VALID | event);
}

/* The monitor trap flag may be injected where it exists: not by this model. */
static bool bad_event(const struct model_vmcs *v)
{
	u64 info = F(ENTRY_INFO);

	if (!(info & VMX_EVENT_VALID))
		return false;
	return info & 0x7ffff000u || (info & VMX_EVENT_TYPE) == 1u << 8 ||
	       (info & VMX_EVENT_TYPE) == VMX_EVENT_OTHER;
}

static bool bad_event_vector(const struct model_vmcs *v)
{
	u32 vector = F(ENTRY_INFO) & VMX_EVENT_VECTOR;

	return (injects(v, VMX_EVENT_NMI) && vector != VECTOR_NMI) ||
	       (injects(v, VMX_EVENT_EXCEPTION) && vector > 31);
}

/* A hardware exception has one if its vector says so; or, with a newer processor, as the event says. */
static bool bad_event_error(const struct model_vmcs *v, const struct vmx_caps *c)
{
	u32 vector = F(ENTRY_INFO) & VMX_EVENT_VECTOR;
	bool has = F(ENTRY_INFO) & VMX_EVENT_ERROR;
	bool protected_mode = !unrestricted(v) || F(GUEST_CR0) & CR0_PE;

	if (!(F(ENTRY_INFO) & VMX_EVENT_VALID))
		return false;
	if (!injects(v, VMX_EVENT_EXCEPTION) || !protected_mode)
		return has;
	if (c->basic & VMX_BASIC_ANY_ERROR)
		return false;
	return has != (vector < 32 && ERROR_CODE_VECTOR >> vector & 1);
}

static bool bad_event_length(const struct model_vmcs *v, const struct vmx_caps *c)
{
	if (!injects(v, VMX_EVENT_SOFTWARE) && !injects(v, VMX_EVENT_PRIVILEGED) &&
	    !injects(v, VMX_EVENT_SOFT_EXC))
		return false;
	return F(ENTRY_LENGTH) > 15 || (!F(ENTRY_LENGTH) && !(c->misc & VMX_MISC_NO_LENGTH));
}

/* Into a halted guest: interrupts, NMIs, #DB and #MC. */
static bool does_not_wake(const struct model_vmcs *v)
{
	u32 vector = F(ENTRY_INFO) & VMX_EVENT_VECTOR;

	if (F(GUEST_ACTIVITY) != VMX_HALTED || !(F(ENTRY_INFO) & VMX_EVENT_VALID))
		return false;
	if (injects(v, VMX_EVENT_EXCEPTION))
		return vector != VECTOR_DB && vector != VECTOR_MC;
	return !injects(v, VMX_EVENT_EXTERNAL) && !injects(v, VMX_EVENT_NMI);
}

static u64 host_selectors(const struct model_vmcs *v)
{
	return F(HOST_CS_SELECTOR) | F(HOST_SS_SELECTOR) | F(HOST_DS_SELECTOR) |
	       F(HOST_ES_SELECTOR) | F(HOST_FS_SELECTOR) | F(HOST_GS_SELECTOR) |
	       F(HOST_TR_SELECTOR);
}

/* --- guest state --- */

static bool ia32e(const struct model_vmcs *v)
{
	return HAS(ENTRY_CONTROLS, ENTRY_CTL_GUEST_64);
}

/* CD and NW are never checked. */
static bool bad_guest_cr0(const struct model_vmcs *v, const struct vmx_caps *c)
{
	u64 must = c->cr0_must & ~(unrestricted(v) ? CR0_PE | CR0_PG : 0);

	return fixed(F(GUEST_CR0) & ~(CR0_CD | CR0_NW), must, c->cr0_may);
}

static u32 rights(const struct model_vmcs *v, u32 seg)
{
	return (u32)vmcs_store_get(v, (u32)VMCS_GUEST_RIGHTS(seg));
}

static u32 type(const struct model_vmcs *v, u32 seg)
{
	return rights(v, seg) & SEG_ATTR_TYPE;
}

static bool usable(const struct model_vmcs *v, u32 seg)
{
	return !(rights(v, seg) & VMX_RIGHTS_UNUSABLE);
}

/* CS and TR are checked whatever their rights say. */
static bool counts(const struct model_vmcs *v, u32 seg)
{
	return seg == SEG_CS || seg == SEG_TR || usable(v, seg);
}

static u64 base(const struct model_vmcs *v, u32 seg)
{
	return vmcs_store_get(v, (u32)VMCS_GUEST_BASE(seg));
}

static u64 limit(const struct model_vmcs *v, u32 seg)
{
	return vmcs_store_get(v, (u32)VMCS_GUEST_LIMIT(seg));
}

static bool bad_wide_base(const struct model_vmcs *v)
{
	return !canonical(base(v, SEG_TR)) || !canonical(base(v, SEG_FS)) ||
	       !canonical(base(v, SEG_GS)) ||
	       (usable(v, SEG_LDTR) && !canonical(base(v, SEG_LDTR)));
}

static bool bad_narrow_base(const struct model_vmcs *v)
{
	for (u32 seg = SEG_ES; seg <= SEG_DS; seg++)
		if (counts(v, seg) && base(v, seg) >> 32)
			return true;
	return false;
}

static bool bad_cs_type(const struct model_vmcs *v)
{
	u32 t = type(v, SEG_CS);

	return !(t == 9 || t == 11 || t == 13 || t == 15 || (t == 3 && unrestricted(v)));
}

/* Accessed, and code readable. */
static bool bad_data_type(const struct model_vmcs *v)
{
	static const u8 segs[] = {SEG_DS, SEG_ES, SEG_FS, SEG_GS};

	for (u32 i = 0; i < ARRAY_SIZE(segs); i++) {
		u32 t = type(v, segs[i]);

		if (usable(v, segs[i]) && (!(t & 1) || (t & 8 && !(t & 2))))
			return true;
	}
	return false;
}

static bool bad_code_or_data(const struct model_vmcs *v)
{
	for (u32 seg = SEG_ES; seg <= SEG_GS; seg++)
		if (counts(v, seg) && !(rights(v, seg) & SEG_ATTR_S))
			return true;
	return false;
}

static u32 dpl(const struct model_vmcs *v, u32 seg)
{
	return (rights(v, seg) & SEG_ATTR_DPL) >> 5;
}

static bool bad_cs_dpl(const struct model_vmcs *v)
{
	switch (type(v, SEG_CS)) {
	case 3:
		return dpl(v, SEG_CS) != 0;
	case 9:
	case 11:
		return dpl(v, SEG_CS) != dpl(v, SEG_SS);
	default:
		return dpl(v, SEG_CS) > dpl(v, SEG_SS);
	}
}

static bool bad_ss_dpl(const struct model_vmcs *v)
{
	if (!unrestricted(v) && dpl(v, SEG_SS) != (F(GUEST_SS_SELECTOR) & 3))
		return true;
	return (type(v, SEG_CS) == 3 || !(F(GUEST_CR0) & CR0_PE)) && dpl(v, SEG_SS);
}

static bool not_present(const struct model_vmcs *v)
{
	for (u32 seg = SEG_ES; seg < SEG_COUNT; seg++)
		if (counts(v, seg) && !(rights(v, seg) & SEG_ATTR_P))
			return true;
	return false;
}

static bool bad_rights(const struct model_vmcs *v)
{
	for (u32 seg = SEG_ES; seg < SEG_COUNT; seg++)
		if (counts(v, seg) && rights(v, seg) & RIGHTS_RESERVED)
			return true;
	return false;
}

static bool bad_granularity(const struct model_vmcs *v)
{
	for (u32 seg = SEG_ES; seg < SEG_COUNT; seg++) {
		bool pages = rights(v, seg) & RIGHTS_G;

		if (!counts(v, seg))
			continue;
		if ((pages && (limit(v, seg) & 0xfff) != 0xfff) ||
		    (!pages && limit(v, seg) & 0xfff00000))
			return true;
	}
	return false;
}

/* Which there are, IA32_VMX_MISC says from bit 6 on. */
static bool bad_activity(u64 state, const struct vmx_caps *c)
{
	return state > VMX_WAIT_SIPI || (state && !(c->misc & VMX_MISC_HLT << (state - 1)));
}

static u32 shadow(const struct model_vmcs *v)
{
	return F(GUEST_INTERRUPTIBILITY) & (VMX_BLOCKED_STI | VMX_BLOCKED_SS);
}

/* DEBUGCTL.BTF is bit 1. */
static bool bad_pending_debug(const struct model_vmcs *v)
{
	bool steps = F(GUEST_RFLAGS) & RFLAGS_TF && !(F(GUEST_DEBUGCTL) & BIT64(1));

	if (!shadow(v) && F(GUEST_ACTIVITY) != VMX_HALTED)
		return false;
	return steps != !!(F(GUEST_PENDING_DEBUG) & VMX_DEBUG_BS);
}

static bool bad_pdptes(const struct model_vmcs *v)
{
	if (!(F(GUEST_CR0) & CR0_PG) || !(F(GUEST_CR4) & CR4_PAE) || ia32e(v))
		return false;
	for (u32 i = 0; i < 4; i++) {
		u64 entry = vmcs_store_get(v, (u32)VMCS_GUEST_PDPTE(i));

		if (entry & PTE_P && entry & (PDPTE_RESERVED | BEYOND))
			return true;
	}
	return false;
}

/* --- the rules --- */

const struct vmx_rule vmx_rules[] = {
#define X(area, name, broken) {name, VMX_AREA_##area},
        VMX_RULES(X)
#undef X
};
const u32 vmx_rule_count = ARRAY_SIZE(vmx_rules);

const struct vmx_rule *vmx_check(const struct model_vmcs *v, const struct vmx_caps *c,
                                 enum vmx_area wanted)
{
	const struct vmx_rule *rule = vmx_rules;

#define X(area, name, broken)                                                                      \
	if (wanted == VMX_AREA_##area && (broken))                                                 \
		return rule;                                                                       \
	rule++;
	VMX_RULES(X)
#undef X
	return NULL;
}
