/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The operations with which tests/hw compares Bochs's APIC virtualization with the model's microcode, on the whole
 * processor model: entry, events and boundaries are then cpu_model/vmx_*.c's, where tests/hw/apicv_expect.c has its
 * own. The three agree: Bochs with that file, and that file with the processor model.
 *
 * Scripts have no read-modify-write, MOVS or REP STOS, their accesses are aligned, their stacks are not in guest memory, and they do not halt
 * without an exit; an injected INT n has no place to return to. Such operations are drawn and then made simpler.
 */
#include "tests/hw/apicv.h"
#include "tests/model/vmx_apic_guest.h"

#define OPERATIONS 30000
#define BEGINNING  (ENTRY + PAGE_SIZE)
#define BOCHS_WAYS                                                                                 \
	((VAPIC_SWITCH_DEFAULTS & ~(u32)VAPIC_VID_READS) | VAPIC_VID_BY_REGISTER |                 \
	 VAPIC_SECOND_BY_OFFSET | VAPIC_SELF_NOT_STORED)

static struct {
	struct av_memory memory;
	struct av_code code;
	struct av_op op;
	struct av_state got;
	u8 *want_page, *want_plain;
	u32 controls; /* of the entry before */
	u32 exits[VMX_EXIT_TPAUSE + 1];
	u32 outcomes[AV_OUTCOMES];
} r;

void av_cover(u32 kind __unused, u32 reg __unused, u32 set __unused, enum av_outcome outcome)
{
	r.outcomes[outcome]++;
}

void av_cover_exit(u32 set __unused, u32 reason)
{
	r.exits[reason]++;
}

/* --- the guest: the operation's steps --- */

static void walk(u32 at, u8 vector)
{
	static const struct av_insn eoi = {.size = 4, .at = APIC_EOI};
	static const struct av_insn eoi_msr = {.at = MSR_X2APIC_EOI};
	u64 value = 0;

	for (;; at++) {
		const struct av_step *step = &r.code.step[at];
		const struct av_insn *insn = step->insn < AV_INSNS    ? &r.op.insn[step->insn]
		                             : step->kind == AV_WRITE ? &eoi
		                                                      : &eoi_msr;

		switch (step->kind) {
		case AV_READ:
			value = g_read(APIC + insn->at, insn->size);
			break;
		case AV_WRITE:
			g_write(APIC + insn->at, insn->value, insn->size);
			break;
		case AV_RDMSR:
			value = g_rdmsr(insn->at);
			break;
		case AV_WRMSR:
			g_wrmsr(insn->at, insn->value);
			break;
		case AV_FROM_CR8:
			value = g_read_cr8();
			break;
		case AV_TO_CR8:
			g_write_cr8(insn->value);
			break;
		case AV_STI:
			g_sti();
			break;
		case AV_CLI:
			g_cli();
			break;
		case AV_HALT:
			g_hlt();
			break;
		case AV_CALL:
			g_vmmcall();
			break;
		case AV_RETURN:
			return;
		case AV_KEEP:
			g_nop();
			r.got.results[step->insn] = value;
			break;
		case AV_LOG:
			g_nop();
			if (r.got.logged < AV_LOGGED)
				r.got.log[r.got.logged] = vector;
			r.got.logged++;
			break;
		default:
			g_nop();
			break;
		}
	}
}

static void replayed(void *arg __unused)
{
	walk(0, 0);
}

/* Its steps are behind the guest's own last. */
static void replayed_handler(u8 vector, u32 error __unused)
{
	u32 at = 0;

	while (r.code.step[at].kind != AV_CALL)
		at++;
	g_nop();
	walk(at + 1, vector);
}

/* --- an operation --- */

static void simplify(void)
{
	r.op.stack = 0;
	r.op.activity = VMX_ACTIVE;
	r.op.controls |= AV_HLT;
	if ((r.op.entry_info & VMX_EVENT_TYPE) == VMX_EVENT_SOFTWARE)
		r.op.entry_info = 0;
	for (u32 i = 0; i < r.op.count; i++) {
		struct av_insn *insn = &r.op.insn[i];

		if (insn->kind == AV_MODIFY || insn->kind == AV_STORES)
			insn->kind = AV_WRITE;
		else if (insn->kind == AV_MOVE)
			insn->kind = AV_READ;
		if (insn->kind <= AV_WRITE)
			insn->at &= (u16) ~(insn->size - 1u);
	}
}

static u32 bit(u32 control, u32 value)
{
	return r.op.controls & control ? value : 0;
}

static void write_bitmap(void)
{
	memset(m.msr_bitmap, 0xff, PAGE_SIZE);
	for (u32 msr = MSR_X2APIC_FIRST; msr <= MSR_X2APIC_LAST; msr++) {
		if (av_msr_passes(r.op.controls, msr, false))
			m.msr_bitmap[msr / 8] &= (u8) ~(1u << msr % 8);
		if (av_msr_passes(r.op.controls, msr, true))
			m.msr_bitmap[0x800 + msr / 8] &= (u8) ~(1u << msr % 8);
	}
}

static void write_controls(void)
{
	vmx_change(VMCS_PRIMARY,
	           VMX_PROC_TPR_SHADOW | VMX_PROC_INTR_WINDOW | VMX_PROC_NMI_WINDOW | VMX_PROC_HLT |
	                   VMX_PROC_CR8_LOAD | VMX_PROC_CR8_STORE,
	           bit(AV_SHADOW, VMX_PROC_TPR_SHADOW) | bit(AV_INTR_WINDOW, VMX_PROC_INTR_WINDOW) |
	                   bit(AV_NMI_WINDOW, VMX_PROC_NMI_WINDOW) | bit(AV_HLT, VMX_PROC_HLT) |
	                   bit(AV_CR8_LOAD, VMX_PROC_CR8_LOAD) |
	                   bit(AV_CR8_STORE, VMX_PROC_CR8_STORE));
	vmx_change(VMCS_SECONDARY, ACCESS | X2APIC | REGISTER | VID,
	           bit(AV_ACCESS, ACCESS) | bit(AV_X2, X2APIC) | bit(AV_REGS, REGISTER) |
	                   bit(AV_VID, VID));
	if ((r.op.controls ^ r.controls) & AV_ACCESS)
		assert_true(insn_invept(INVEPT_ALL, 0));
	if (r.op.controls != r.controls)
		write_bitmap();
	r.controls = r.op.controls;
	vmx_write(VMCS_TPR_THRESHOLD, r.op.threshold);
	for (u32 i = 0; i < 4; i++)
		vmx_write((u32)VMCS_EOI_EXIT(i), r.op.eoi_exit[i]);
}

static void write_state(void)
{
	vmx_write(VMCS_GUEST_INTR_STATUS, r.op.status);
	vmx_write(VMCS_ENTRY_INFO, r.op.entry_info);
	vmx_write(VMCS_ENTRY_ERROR, r.op.entry_error);
	vmx_write(VMCS_GUEST_INTERRUPTIBILITY, r.op.interruptibility);
	vmx_write(VMCS_GUEST_ACTIVITY, r.op.activity);
	vmx_write(VMCS_GUEST_PENDING_DEBUG, 0);
	vmx_write(VMCS_GUEST_RFLAGS, RFLAGS_RES1 | (r.op.open ? RFLAGS_IF : 0));
	vmx_write(VMCS_GUEST_RIP, BEGINNING);
}

static bool has_qualification(u32 reason)
{
	return reason == VMX_EXIT_TPR_BELOW_THRESHOLD || reason == VMX_EXIT_APIC_ACCESS ||
	       reason == VMX_EXIT_EOI || reason == VMX_EXIT_APIC_WRITE || reason == VMX_EXIT_CR;
}

static void read_state(struct av_state *got)
{
	got->reason = (u32)vmx_read(VMCS_EXIT_REASON);
	if (has_qualification(got->reason))
		got->qualification = vmx_read(VMCS_QUALIFICATION);
	if (got->reason == VMX_EXIT_EXCEPTION)
		got->exit_info = (u32)vmx_read(VMCS_EXIT_INFO);
	if (vmx_read(VMCS_IDT_INFO) & VMX_EVENT_VALID)
		got->idt_info = (u32)vmx_read(VMCS_IDT_INFO);
	got->open = !!(vmx_read(VMCS_GUEST_RFLAGS) & RFLAGS_IF);
	got->interruptibility = (u32)vmx_read(VMCS_GUEST_INTERRUPTIBILITY);
	got->activity = (u32)vmx_read(VMCS_GUEST_ACTIVITY);
	got->status = (u32)vmx_read(VMCS_GUEST_INTR_STATUS);
}

static void differ(u32 number, const char *what, u64 got, u64 want)
{
	for (u32 i = 0; i < r.op.count; i++)
		print_message("  %u: kind %u size %u at %x value %llx\n", i, r.op.insn[i].kind,
		              r.op.insn[i].size, r.op.insn[i].at,
		              (unsigned long long)r.op.insn[i].value);
	fail_msg(
	        "operation %u, controls %x, status %x, IF %u, blocked %x, event %x: %s is %llx, not %llx "
	        "(exit %u)",
	        number, r.op.controls, r.op.status, r.op.open, r.op.interruptibility,
	        r.op.entry_info, what, (unsigned long long)got, (unsigned long long)want,
	        r.got.reason);
}

static void compare(u32 number, const struct av_state *want)
{
#define SAME_AS(member)                                                                            \
	if (r.got.member != want->member)                                                          \
	differ(number, #member, r.got.member, want->member)
	SAME_AS(reason);
	SAME_AS(qualification);
	SAME_AS(exit_info);
	SAME_AS(idt_info);
	SAME_AS(open);
	SAME_AS(interruptibility);
	SAME_AS(activity);
	SAME_AS(status);
	SAME_AS(logged);
	for (u32 i = 0; i < AV_LOGGED; i++)
		SAME_AS(log[i]);
	for (u32 i = 0; i < AV_INSNS; i++)
		SAME_AS(results[i]);
#undef SAME_AS
	for (u32 i = 0; i < PAGE_SIZE; i++) {
		if (m.apic[i] != r.want_page[i])
			differ(number, "a byte of the page", i << 8 | m.apic[i], r.want_page[i]);
		if (access_page[i] != r.want_plain[i])
			differ(number, "a byte of memory", i << 8 | access_page[i],
			       r.want_plain[i]);
	}
}

static void operate_once(struct av_random *random, u32 number, u32 switches)
{
	struct av_state want;

	av_draw(random, &r.op, m.apic, r.got.status & 0xffff, NULL);
	simplify();
	if (r.op.fresh)
		memcpy(r.want_page, m.apic, PAGE_SIZE);
	av_assemble(&r.op, &r.memory, &r.code);
	av_expect(&r.op, &r.memory, &r.code, switches, r.want_page, r.want_plain, &want);
	memset(&r.got, 0, sizeof(r.got));
	for (u32 i = 0; i < AV_INSNS; i++)
		r.got.results[i] = AV_POISON;
	write_controls();
	write_state();
	vmx_run_guest();
	read_state(&r.got);
	compare(number, &want);
}

static void replay(u64 seed, u32 switches)
{
	struct av_random random = {seed};

	memset(&r, 0, sizeof(r));
	create(0);
	guest_bind(BEGINNING, replayed, NULL);
	model()->vapic_switches = switches;
	for (u32 i = 0; i < 256; i++)
		g_set_handler((u8)i, replayed_handler);
	r.memory = (struct av_memory){vmx_page(), vmx_page(), vmx_page(),
	                              vmx_page(), vmx_page(), APIC};
	r.want_page = vmx_page();
	r.want_plain = vmx_page();
	r.controls = ~0u;
	vmx_write(VMCS_EXCEPTIONS, 0xffffffff);
	for (u32 i = 0; i < OPERATIONS; i++)
		operate_once(&random, i, switches);
}

/* Each exit that is APIC virtualization's, and each outcome of an access. */
static void expect_variety(void)
{
	static const u32 reasons[] = {VMX_EXIT_TPR_BELOW_THRESHOLD,
	                              VMX_EXIT_APIC_ACCESS,
	                              VMX_EXIT_EOI,
	                              VMX_EXIT_APIC_WRITE,
	                              VMX_EXIT_INTR_WINDOW,
	                              VMX_EXIT_NMI_WINDOW,
	                              VMX_EXIT_EXCEPTION,
	                              VMX_EXIT_CR,
	                              VMX_EXIT_RDMSR,
	                              VMX_EXIT_WRMSR,
	                              VMX_EXIT_HLT,
	                              VMX_EXIT_VMCALL};

	for (u32 i = 0; i < ARRAY_SIZE(reasons); i++)
		assert_true(r.exits[reasons[i]] > 0);
	for (u32 i = 0; i < AV_OUTCOMES; i++)
		assert_true(r.outcomes[i] > 0);
}

static void test_by_the_manual(void **state __unused)
{
	replay(11, VAPIC_SWITCH_DEFAULTS);
	expect_variety();
}

static void test_as_bochs(void **state __unused)
{
	replay(12, BOCHS_WAYS);
	expect_variety();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_by_the_manual),
	        cmocka_unit_test(test_as_bochs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
