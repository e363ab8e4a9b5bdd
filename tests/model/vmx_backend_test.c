/* SPDX-License-Identifier: BSD-2-Clause */
/* What vmx/ does at single entries, by hand: states that scripts do not get into. */
#include "tests/model/harness.h"

#include "cpu_model/vmx.h"
#include "irq/intr.h"
#include "postern/backend.h"
#include "vmx/vmx.h"

#define TABLE 0x8000u

static struct vcpu *vcpu;

static void begin(guest_script script)
{
	harness_create(&(struct harness){.processor = "westmere", .by_hand = true});
	guest_bind(HARNESS_BSP, script, NULL);
	vcpu = harness_vm->vcpu[0];
	assert_true(backend_op(cpu_init)(this_cpu()));
	backend_op(vcpu_load)(vcpu, this_cpu());
}

static void end(void)
{
	backend_op(vcpu_put)(vcpu);
	backend_op(cpu_exit)(this_cpu());
	harness_destroy();
}

static void enter(bool force)
{
	backend_op(host_irqs_block)();
	backend_op(run)(vcpu, force);
	backend_op(host_irqs_unblock)();
}

static u64 field(u32 encoding)
{
	return vmx_field(&model()->cpu[0], encoding);
}

static void nothing(void *arg __unused)
{
	g_nop();
}

static void handle(u8 vector __unused, u32 error __unused)
{
}

/* Flat, without paging: real mode or protected mode. */
static void set_mode(u64 cr0)
{
	struct vcpu_state state;

	backend_op(get_state)(vcpu, &state);
	state.cr0 = cr0;
	state.cr4 = 0;
	state.efer = 0;
	state.seg[SEG_CS].attr = SEG_ATTR_P | SEG_ATTR_S | 0xb;
	state.seg[SEG_CS].limit = 0xffff;
	state.idt_limit = 0xfff;
	backend_op(set_state)(vcpu, &state);
	backend_op(flush)(vcpu);
}

static void test_error_code_in_protected_mode_only(void **state __unused)
{
	static const u64 modes[] = {CR0_ET, CR0_ET | CR0_PE};

	for (u32 i = 0; i < ARRAY_SIZE(modes); i++) {
		begin(nothing);
		g_set_handler(VECTOR_GP, handle);
		set_mode(modes[i]);
		vcpu_inject_gp(vcpu);
		assert_false(intr_prepare_entry(vcpu));
		enter(true);
		/* Delivered, and nothing executed. */
		assert_int_equal(vcpu->exit.kind, EXIT_INTR);
		assert_int_equal(guest_engine()->guest[0].depth, 1);
		assert_int_equal(!!(field(VMCS_ENTRY_INFO) & VMX_EVENT_ERROR), i);
		assert_int_equal(intr_prepare_entry(vcpu), false);
		assert_false(vcpu->intr.exception.valid || vcpu->intr.again.valid);
		end();
	}
}

static void script_shadow(void *arg __unused)
{
	struct cpuid_regs r;

	g_set_handler(VECTOR_DB, handle);
	/* Pending now, so that the guest leaves right behind STI. */
	model_apic_raise(model_current(), CPU_VECTOR_KICK);
	g_sti();
	g_cpuid(0, 0, &r);
	g_hlt();
}

static void enter_until(enum exit_kind kind)
{
	for (u32 i = 0; i < 50; i++) {
		intr_prepare_entry(vcpu);
		enter(false);
		if (vcpu->exit.kind == kind)
			return;
		exit_handle(vcpu);
	}
	fail_msg("no exit %s", exit_kind_name(kind));
}

/* As a debugger may: entry refuses TF in a shadow without a pending trap. */
static void test_trap_flag_set_in_a_shadow(void **state __unused)
{
	begin(script_shadow);
	enter_until(EXIT_INTR);
	assert_int_equal(field(VMCS_GUEST_INTERRUPTIBILITY), VMX_BLOCKED_STI);
	vcpu->regs.rflags |= RFLAGS_TF;
	enter(false);
	assert_int_equal(vcpu->exit.kind, EXIT_CPUID);
	exit_handle(vcpu);
	/* The trap behind the instruction that was emulated. */
	assert_true(vcpu->intr.exception.valid);
	assert_int_equal(vcpu->intr.exception.vector, VECTOR_DB);
	end();
}

/* #DB in a shadow with TF set: what reflects it must leave nothing that entry refuses. */
static void script_traps(void *arg __unused)
{
	g_set_handler(VECTOR_DB, handle);
	g_popf(RFLAGS_RES1 | RFLAGS_TF);
	g_sti(); /* traps, and starts a shadow */
	g_popf(RFLAGS_RES1);
	g_hlt();
}

static void test_trap_of_sti_itself(void **state __unused)
{
	begin(script_traps);
	enter_until(EXIT_HLT);
	end();
}

#define DR7_GD  BIT64(13)
#define DR7_ONE BIT64(10)

static void set_dr7(u64 dr7)
{
	struct vcpu_state state;

	backend_op(get_state)(vcpu, &state);
	state.dr7 = dr7;
	backend_op(set_state)(vcpu, &state);
}

/*
 * "Debug Control Register (DR7)": the handler of #DB runs without general detection. Whether the state has been
 * asked for since the exit makes no difference; no other exception changes it.
 */
static void test_debug_exception_ends_general_detection(void **state __unused)
{
	static const struct {
		u8 vector;
		bool asked;
		u64 dr7;
	} rows[] = {
	        {VECTOR_DB, false, DR7_ONE},
	        {VECTOR_DB, true, DR7_ONE},
	        {VECTOR_GP, false, DR7_ONE | DR7_GD},
	};

	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		struct vcpu_state asked;

		begin(nothing);
		g_set_handler(rows[i].vector, handle);
		set_mode(CR0_ET);
		set_dr7(DR7_ONE | DR7_GD);
		enter(true);
		assert_int_equal(field(VMCS_GUEST_DR7), DR7_ONE | DR7_GD);
		vcpu_inject_exception(vcpu, rows[i].vector, false, 0);
		if (rows[i].asked)
			backend_op(get_state)(vcpu, &asked);
		assert_false(intr_prepare_entry(vcpu));
		enter(true);
		assert_int_equal(guest_engine()->guest[0].depth, 1);
		assert_int_equal(field(VMCS_GUEST_DR7), rows[i].dr7);
		backend_op(get_state)(vcpu, &asked);
		assert_int_equal(asked.dr7, rows[i].dr7);
		end();
	}
}

static void set_cr3(u64 cr3, u64 pat)
{
	struct vcpu_state state;

	backend_op(get_state)(vcpu, &state);
	state.cr0 |= CR0_PG;
	state.cr4 |= CR4_PAE;
	state.cr3 = cr3;
	state.pat = pat;
	backend_op(set_state)(vcpu, &state);
	backend_op(flush)(vcpu);
}

static void test_pdptes_come_with_cr3_only(void **state __unused)
{
	const u64 pat = 0x0007040600070406ull;
	u64 *table;

	begin(nothing);
	table = vm_memory(harness_vm, GPA(TABLE), PAGE_SIZE);
	assert_non_null(table);
	table[0] = 0x20000 | PTE_P;
	table[1] = 0x30000 | PTE_P | PTE_W; /* reserved: MOV to CR3 would have faulted */
	table[4] = 0x40000 | PTE_P;
	set_mode(CR0_ET | CR0_PE);
	set_cr3(TABLE, pat);
	enter(true);
	assert_int_equal(vcpu->exit.kind, EXIT_INTR);
	assert_int_equal(field(VMCS_GUEST_PDPTE0), 0x20000 | PTE_P);
	assert_int_equal(field(VMCS_GUEST_PDPTE1), 0);
	/* Memory changes, CR3 does not: the processor's are as they were. */
	table[0] = 0x50000 | PTE_P;
	set_cr3(TABLE, pat ^ 6);
	enter(true);
	assert_int_equal(field(VMCS_GUEST_PDPTE0), 0x20000 | PTE_P);
	set_cr3(TABLE + 32, pat);
	enter(true);
	assert_int_equal(field(VMCS_GUEST_PDPTE0), 0x40000 | PTE_P);
	end();
}

/*
 * "Information for VM Exits Due to Vectored Events", "Exit Qualification for EPT Violations": an IRET that
 * faults has unblocked NMIs already, and runs again. No script's IRET faults, so the exits are written here.
 */
static void test_iret_that_faults_blocks_nmis_again(void **state __unused)
{
	static const struct {
		u32 reason;
		u64 qualification;
		u32 info, delivering;
		bool blocks;
	} rows[] = {
	        {VMX_EXIT_EPT_VIOLATION, VMX_EPT_Q_READ | VMX_EPT_Q_UNBLOCKED, 0, 0, true},
	        {VMX_EXIT_EPT_VIOLATION, VMX_EPT_Q_READ, 0, 0, false},
	        {VMX_EXIT_EPT_VIOLATION, VMX_EPT_Q_READ | VMX_EPT_Q_UNBLOCKED, 0,
	         VMX_EVENT_VALID | VMX_EVENT_EXTERNAL | 0x41, false},
	        {VMX_EXIT_EXCEPTION, 0,
	         VMX_EVENT_VALID | VMX_EVENT_EXCEPTION | VMX_EVENT_UNBLOCKED | VECTOR_AC, 0, true},
	        {VMX_EXIT_EXCEPTION, 0, VMX_EVENT_VALID | VMX_EVENT_EXCEPTION | VECTOR_AC, 0,
	         false},
	        {VMX_EXIT_EXCEPTION, 0,
	         VMX_EVENT_VALID | VMX_EVENT_EXCEPTION | VMX_EVENT_UNBLOCKED | VECTOR_DF, 0, false},
	};

	begin(nothing);
	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		struct model_cpu *cpu = &model()->cpu[0];

		vmx_of(vcpu)->vmcs->want.interruptibility = 0;
		vmx_exit(cpu, rows[i].reason, rows[i].qualification);
		vmx_set_field(cpu, VMCS_EXIT_INFO, rows[i].info);
		vmx_set_field(cpu, VMCS_IDT_INFO, rows[i].delivering);
		vmx_decode_exit(vcpu, rows[i].reason);
		assert_int_equal(vmx_of(vcpu)->vmcs->want.interruptibility,
		                 rows[i].blocks ? VMX_BLOCKED_NMI : 0);
		assert_int_equal(vcpu->intr.again.valid, !!rows[i].delivering);
	}
	end();
}

/* An NMI whose delivery was cut short: it is delivered again, so its handler has not begun. */
static void test_nmi_cut_short_is_injected_again(void **state __unused)
{
	begin(nothing);
	set_mode(CR0_ET | CR0_PE);
	g_set_handler(VECTOR_NMI, handle);
	lapic_signal_nmi(&vcpu->lapic);
	model()->cpu[0].break_deliveries = 1;
	intr_prepare_entry(vcpu);
	enter(false);
	assert_true(vcpu->exit.delivering && vcpu->intr.again.valid);
	assert_int_equal(backend_op(intr_blocked)(vcpu, INTR_CLASS_NMI), INTR_BLOCK_NONE);
	intr_prepare_entry(vcpu);
	enter(true);
	assert_int_equal(guest_engine()->guest[0].depth, 1);
	assert_int_equal(backend_op(intr_blocked)(vcpu, INTR_CLASS_NMI), INTR_BLOCK_NMI);
	end();
}

/* INIT: irq/intr.c takes everything for closed, and nothing of before may come out of the processor. */
static void test_reset_closes_windows_and_forgets_traps(void **state __unused)
{
	const u32 windows = VMX_PROC_INTR_WINDOW | VMX_PROC_NMI_WINDOW;

	begin(nothing);
	g_set_handler(VECTOR_NMI, handle);
	enter(true);
	backend_op(intr_window)(vcpu, INTR_CLASS_EXTERNAL, true);
	backend_op(intr_window)(vcpu, INTR_CLASS_NMI, true);
	vmx_set_field(&model()->cpu[0], VMCS_GUEST_PENDING_DEBUG, VMX_DEBUG_BS);
	vmx_of(vcpu)->vmcs->want.interruptibility = VMX_BLOCKED_NMI;
	vcpu_reset(vcpu, true);
	set_mode(CR0_ET | CR0_PE);
	vcpu->regs.rip = 0;
	vcpu->regs.rflags |= RFLAGS_IF;
	guest_bind(0xffff0000u, nothing, NULL);
	assert_false(intr_prepare_entry(vcpu));
	enter(true);
	assert_int_equal(vcpu->exit.kind, EXIT_INTR);
	assert_int_equal(field(VMCS_PRIMARY) & windows, 0);
	assert_int_equal(field(VMCS_GUEST_INTERRUPTIBILITY), 0);
	assert_int_equal(guest_engine()->guest[0].depth, 0);
	end();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_error_code_in_protected_mode_only),
	        cmocka_unit_test(test_trap_flag_set_in_a_shadow),
	        cmocka_unit_test(test_trap_of_sti_itself),
	        cmocka_unit_test(test_debug_exception_ends_general_detection),
	        cmocka_unit_test(test_pdptes_come_with_cr3_only),
	        cmocka_unit_test(test_iret_that_faults_blocks_nmis_again),
	        cmocka_unit_test(test_nmi_cut_short_is_injected_again),
	        cmocka_unit_test(test_reset_closes_windows_and_forgets_traps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
