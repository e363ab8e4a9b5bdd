/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest of the guest on VMX, what SVM has no counterpart of: state that entry and exit move or leave alone, bits
 * of CR0 and CR4 that L1 owns, the time stamp counter, entries that the processor refuses. And wrong code, found by
 * the processor model: a second VMCS that stays active behind, translations that outlive a switch.
 */
#include "tests/model/nested_guest.h"

#define LOOK_PORT 0x9f8
#define F(name)   vmx_block_of(&l2[1].block.vmx, name)

/* vCPU 1's state, as its own VMCS has it while L1 runs. */
static struct vcpu_state looked;

static void look(void *device __unused, struct vcpu *vcpu, u64 offset __unused, u32 size __unused,
                 u64 value __unused)
{
	assert_false(vcpu->guest_mode);
	backend_op(get_state)(vcpu, &looked);
}

static const struct bus_ops look_ops = {.write = look};

static void create_both(void)
{
	create_l2();
	bus_register(&harness_vm->io, LOOK_PORT, 1, &look_ops, NULL);
}

static void (*adapt_1)(struct l2_block *block);

static void run_westmere(void (*script)(void), u32 what, void (*adapt)(struct l2_block *block))
{
	prepare_run(what, false);
	on_create = create_both;
	adapt_1 = adapt;
	run((struct harness){.processor = "westmere"}, script);
}

/* An L2 of vCPU 1 from its start. */
static void begin_new(void)
{
	l2[1].adapt = adapt_1;
	l2[1].fresh = true;
	l2[1].up = false;
	l2[1].order = NULL;
	begin_l2(1);
	await_l2(1);
}

/* --- state --- */

#define OTHER_PAT 0x0007040600070401ull

static void other_state(struct l2_block *block)
{
	struct vmx_block *b = &block->vmx;

	vmx_block_of(b, GUEST_FS_BASE) = 0x1111000;
	vmx_block_of(b, GUEST_SYSENTER_EIP) = 0x2222000;
	vmx_block_of(b, GUEST_PAT) = OTHER_PAT;
	vmx_block_of(b, GUEST_DR7) = 0x600;
	vmx_block_of(b, HOST_FS_BASE) = 0x3333000;
	vmx_block_of(b, HOST_GS_BASE) = 0x4444000;
	vmx_block_of(b, HOST_SYSENTER_EIP) = 0x5555000;
	vmx_block_of(b, HOST_PAT) = 0x0007040600070405ull;
}

static void use_state(void)
{
	G_CHECK_EQUAL(g_rdmsr(MSR_FS_BASE), 0x1111000);
	G_CHECK_EQUAL(g_rdmsr(MSR_SYSENTER_EIP), 0x2222000);
	g_wrmsr(MSR_FS_BASE, 0x1112000);
	g_wrmsr(MSR_SYSENTER_EIP, 0x2223000);
	g_wrmsr(MSR_LSTAR, 0x6666000);
}

static void ask_l1(void)
{
	g_out(LOOK_PORT, 0, 1);
}

static void look_at_l1(void)
{
	ask_l1();
	G_CHECK_EQUAL(g_rdmsr(MSR_FS_BASE), 0x3333000);
	G_CHECK_EQUAL(g_rdmsr(MSR_GS_BASE), 0x4444000);
	G_CHECK_EQUAL(g_rdmsr(MSR_SYSENTER_EIP), 0x5555000);
	/* No VMCS has it: L2's. */
	G_CHECK_EQUAL(g_rdmsr(MSR_LSTAR), 0x6666000);
}

static void script_state(void)
{
	begin_new();
	in_l2(1, use_state);
	end_l2(1);
	G_CHECK_EQUAL(F(GUEST_FS_BASE), 0x1112000);
	G_CHECK_EQUAL(F(GUEST_SYSENTER_EIP), 0x2223000);
	G_CHECK_EQUAL(F(GUEST_PAT), OTHER_PAT);
	G_CHECK_EQUAL(F(GUEST_DR7), 0x600);
	G_CHECK_EQUAL(F(GUEST_CR0), F(HOST_CR0));
	G_CHECK_EQUAL(F(EXIT_LENGTH), 3);
	do_on(1, look_at_l1);
	G_CHECK_EQUAL(looked.pat, F(HOST_PAT));
	G_CHECK_EQUAL(looked.dr7, 0x400);
	G_CHECK_EQUAL(looked.cr3, F(HOST_CR3));
	G_CHECK_EQUAL(looked.seg[SEG_GS].base, 0x4444000);
	G_CHECK_EQUAL(looked.seg[SEG_TR].limit, 0x67);
	G_CHECK_EQUAL(looked.gdt_limit, 0xffff);
	G_CHECK_EQUAL(looked.efer, F(HOST_EFER));
}

/* L1 that neither saves nor loads some of it. */
static void shared_state(struct l2_block *block)
{
	struct vmx_block *b = &block->vmx;

	other_state(block);
	vmx_block_of(b, ENTRY_CONTROLS) = VMX_ENTRY_CTL_GUEST_64;
	vmx_block_of(b, EXIT_CONTROLS) = VMX_EXIT_CTL_HOST_64;
	vmx_block_of(b, GUEST_EFER) = 0;
	vmx_block_of(b, HOST_EFER) = 0;
}

static void script_shared(void)
{
	u64 pat;

	do_on(1, ask_l1);
	pat = looked.pat;
	begin_new();
	in_l2(1, use_state);
	end_l2(1);
	G_CHECK_EQUAL(F(GUEST_PAT), OTHER_PAT); /* as it was */
	G_CHECK_EQUAL(F(GUEST_EFER), 0);
	do_on(1, look_at_l1);
	G_CHECK_EQUAL(looked.pat, pat);
	G_CHECK(looked.efer & EFER_LMA);
}

static void test_state(void **state __unused)
{
	run_westmere(script_state, ASK_INTR, other_state);
	run_westmere(script_shared, ASK_INTR, shared_state);
}

/* --- control registers --- */

/* TS is L1's, and L2 reads it as set; so is DE in CR4. NE in CR0 and PGE in CR4 are Postern's to complete. */
static void own_bits(struct l2_block *block)
{
	struct vmx_block *b = &block->vmx;

	vmx_block_of(b, CR0_MASK) = CR0_TS;
	vmx_block_of(b, CR0_SHADOW) = CR0_TS;
	vmx_block_of(b, CR4_MASK) = CR4_PSE;
	vmx_block_of(b, CR4_SHADOW) = vmx_block_of(b, GUEST_CR4) ^ CR4_PSE;
}

static void write_registers(void)
{
	u64 cr0 = g_read_cr0();

	G_CHECK(cr0 & CR0_TS);
	g_write_cr0(cr0 ^ CR0_NE);
	G_CHECK_EQUAL(g_read_cr0(), cr0 ^ CR0_NE);
	g_write_cr4((F(CR4_SHADOW) & ~(u64)CR4_VMXE) ^ CR4_PGE);
	G_CHECK_EQUAL(l2[1].exits[L2_CR], 0);
	g_write_cr0((cr0 ^ CR0_NE) & ~CR0_TS); /* L1 takes it over */
	g_write_cr4(F(GUEST_CR4) & ~(u64)CR4_VMXE);
	G_CHECK_EQUAL(l2[1].exits[L2_CR], 2);
	G_CHECK(g_read_cr0() & CR0_TS);
}

static void script_registers(void)
{
	u64 cr0, cr4;

	l2[1].skip[L2_CR] = 3;
	begin_new();
	cr0 = F(GUEST_CR0);
	cr4 = F(GUEST_CR4);
	in_l2(1, write_registers);
	end_l2(1);
	G_CHECK_EQUAL(F(GUEST_CR0), cr0 ^ CR0_NE);
	G_CHECK_EQUAL(F(GUEST_CR4), cr4 ^ CR4_PGE);
	G_CHECK(!(cr0 & CR0_TS));
}

/* What L1 asks for that Postern switches on and off for itself. */
static void ask_window_and_cr8(struct l2_block *block)
{
	vmx_block_of(&block->vmx, PRIMARY) |= VMX_PROC_INTR_WINDOW | VMX_PROC_CR8_LOAD;
}

static void open_and_write_cr8(void)
{
	G_CHECK_EQUAL(l2[1].exits[L2_WINDOW], 0);
	g_sti();
	g_nop();
	G_CHECK_EQUAL(l2[1].exits[L2_WINDOW], 1);
	g_write_cr8(3);
	G_CHECK_EQUAL(l2[1].exits[L2_CR], 1);
	G_CHECK_EQUAL(g_read_cr8(), 0);
}

static void script_window_and_cr8(void)
{
	l2[1].skip[L2_CR] = 4;
	begin_new();
	in_l2(1, open_and_write_cr8);
	end_l2(1);
	G_CHECK_EQUAL(lapic_cr8(vcpu(1)), 0);
}

static void test_windows_of_l1(void **state __unused)
{
	run_westmere(script_window_and_cr8, ASK_INTR, ask_window_and_cr8);
}

/* Of L2's own task priority, and where it is above that to begin with: which entry refuses. */
static void ask_threshold(struct l2_block *block)
{
	vmx_block_of(&block->vmx, PRIMARY) |= VMX_PROC_TPR_SHADOW;
	vmx_block_of(&block->vmx, TPR_THRESHOLD) = 5;
}

static void drop_tpr(void)
{
	G_CHECK_EQUAL(g_read_cr8(), 0);
	g_write_cr8(8);
	g_in(0x40, 1);
	g_write_cr8(6);
	G_CHECK_EQUAL(l2[1].exits[L2_TPR], 0);
	g_write_cr8(4);
	G_CHECK_EQUAL(l2[1].exits[L2_TPR], 1);
	G_CHECK_EQUAL(g_read_cr8(), 4);
}

static void script_threshold(void)
{
	u8 tpr;

	begin_new();
	in_l2(1, drop_tpr);
	end_l2(1);
	assert_true(vm_read(harness_vm, GPA(F(VIRTUAL_APIC) + APIC_TPR), &tpr, 1));
	G_CHECK_EQUAL(tpr, 0x40);
	G_CHECK_EQUAL(lapic_cr8(vcpu(1)), 0);
}

static void test_threshold(void **state __unused)
{
	run_westmere(script_threshold, ASK_INTR, ask_threshold);
}

/* Exceptions of the processor's: the one that L1 asked for is L1's, the other is L2's. */
static void ask_ud(struct l2_block *block)
{
	vmx_block_of(&block->vmx, EXCEPTIONS) = BIT(VECTOR_UD);
}

static void raise_ud(void)
{
	G_CHECK_EQUAL(g_ud2_safe(), l2[1].skip[L2_UD] ? 0 : VECTOR_UD);
}

static void script_exceptions(void)
{
	l2[1].skip[L2_UD] = 2;
	begin_new();
	in_l2(1, raise_ud);
	G_CHECK_EQUAL(l2[1].exits[L2_UD], 1);
	end_l2(1);
	l2[1].skip[L2_UD] = 0;
	adapt_1 = NULL;
	begin_new();
	in_l2(1, raise_ud);
	G_CHECK_EQUAL(l2[1].exits[L2_UD], 1);
	end_l2(1);
	adapt_1 = ask_ud;
}

static void test_exceptions(void **state __unused)
{
	run_westmere(script_exceptions, ASK_INTR, ask_ud);
}

/* "Exception Bitmap": bit 14 says whether page faults exit that match, or those that do not. */
static void test_page_faults_by_their_error_code(void **state __unused)
{
	static const struct {
		bool bit;
		u32 mask, match, error;
		bool exits;
	} rows[] = {
	        {true, 0, 0, 0, true},
	        {true, 0, 0, PF_WRITE, true},
	        {true, 0, 1, 0, false},
	        {false, 0, 0, PF_WRITE, false},
	        {false, 0, 1, PF_WRITE, true},
	        {true, PF_WRITE, PF_WRITE, PF_WRITE | PF_USER, true},
	        {true, PF_WRITE, PF_WRITE, PF_USER, false},
	        {false, PF_WRITE, PF_WRITE, PF_WRITE, false},
	        {false, PF_WRITE, PF_WRITE, PF_USER, true},
	};
	static struct vmx_nested nested;
	struct vmx_vcpu vmx = {.nested = &nested};

	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		nested.pf_mask = rows[i].mask;
		nested.pf_match = rows[i].match;
		vmx.asked.exceptions = rows[i].bit ? BIT(VECTOR_PF) : BIT(VECTOR_GP);
		assert_int_equal(vmx_asked_exception(&vmx, VECTOR_PF, rows[i].error),
		                 rows[i].exits);
		assert_int_equal(vmx_asked_exception(&vmx, VECTOR_GP, rows[i].error), !rows[i].bit);
	}
}

static void test_control_registers(void **state __unused)
{
	run_westmere(script_registers, ASK_INTR, own_bits);
}

/* --- time --- */

static void offset_tsc(struct l2_block *block)
{
	vmx_block_of(&block->vmx, PRIMARY) |= VMX_PROC_TSC_OFFSET;
	vmx_block_of(&block->vmx, TSC_OFFSET) = BIT64(40);
}

static void read_late(void)
{
	G_CHECK(g_rdtsc() >= BIT64(40));
}

static void read_early(void)
{
	G_CHECK(g_rdtsc() < BIT64(40));
}

static void script_tsc(void)
{
	begin_new();
	in_l2(1, read_late);
	end_l2(1);
	do_on(1, read_early);
}

static void test_tsc_offset(void **state __unused)
{
	run_westmere(script_tsc, ASK_INTR, offset_tsc);
}

/* --- entries that fail are L1's exits, and the VMCS is none the worse for it --- */

static void bad_flags(struct l2_block *block)
{
	vmx_block_of(&block->vmx, GUEST_RFLAGS) |= BIT64(3);
}

static void bad_event(struct l2_block *block)
{
	vmx_block_of(&block->vmx, ENTRY_INFO) = VECTOR_GP | 1u << 8 | VMX_EVENT_VALID;
}

static void enter_badly(u32 times)
{
	l2[1].adapt = adapt_1;
	l2[1].fresh = true;
	do_on(1, run_l2);
	G_CHECK_EQUAL(l2[1].exits[L2_FAILED], times);
	G_CHECK_EQUAL(F(EXIT_REASON), VMX_EXIT_ENTRY_GUEST_STATE | VMX_EXIT_ENTRY_FAILED);
	do_on(1, g_sti);
	exchange(ALL, true);
	expect_first(1);
}

static void script_failing(void)
{
	u64 info;

	for (u32 i = 0; i < 2; i++) {
		enter_badly(2 * i + 1);
		info = F(ENTRY_INFO);
		enter_badly(2 * i + 2);
		G_CHECK_EQUAL(F(ENTRY_INFO), info); /* nothing was injected */
		l2[1].adapt = NULL;
		l2[1].fresh = true;
		l2[1].up = false;
		begin_l2(1);
		await_l2(1);
		in_l2(1, g_nop);
		end_l2(1);
		l2[1].order = NULL;
	}
}

static void test_failing_entries(void **state __unused)
{
	run_westmere(script_failing, ASK_INTR, bad_flags);
	run_westmere(script_failing, ASK_INTR, bad_event);
}

/* --- L1's deadline comes while L2 runs: requirement S4.3 --- */

#define TIMER_VECTOR 0x81
#define AHEAD        400000 /* ticks: a thousand instructions */

static u32 timer_ticks, timer_ticks_in_l2;
static bool timer_masked;

static void on_timer(u8 vector __unused, u32 error __unused)
{
	timer_ticks++;
	timer_ticks_in_l2 += self()->guest_mode;
	apic_write(APIC_EOI, 0);
}

static void arm_and_run(void)
{
	apic_write(APIC_LVTT,
	           APIC_LVTT_DEADLINE | (timer_masked ? APIC_LVT_MASKED : 0) | TIMER_VECTOR);
	g_wrmsr(MSR_TSC_DEADLINE, g_rdtsc() + AHEAD);
	run_l2();
}

/* It has been armed, and comes, by an exit of L2's, which does nothing that makes it exit: the slow path. */
static void expire_in_l2(u32 what, bool masked)
{
	u64 slow = exits(1, EXIT_TIMER),
	    ticked = counter_read(&vcpu(1)->account.counters[COUNTER_TIMER_TICKS]);

	timer_ticks = timer_ticks_in_l2 = 0;
	timer_masked = masked;
	l2[1].asks.what = what;
	l2[1].fresh = true;
	l2[1].up = false;
	l2[1].order = g_sti;
	memset(l2[1].exits, 0, sizeof(l2[1].exits));
	seat[1].order = arm_and_run;
	while (!l2[1].up || l2[1].order)
		g_pause();
	while (exits(1, EXIT_TIMER) == slow)
		g_pause();
	while (timer_ticks != !masked || vcpu(1)->lapic.timer_deadline != TSC_NEVER)
		g_pause();
	while (!vcpu(1)->guest_mode)
		g_pause();
	G_CHECK_EQUAL(counter_read(&vcpu(1)->account.counters[COUNTER_TIMER_TICKS]), ticked + 1);
	end_l2(1);
}

static void script_deadline(void)
{
	g_set_handler(TIMER_VECTOR, on_timer);
	for (u32 i = 0; i < 2; i++) {
		expire_in_l2(ASK_INTR, false);
		G_CHECK_EQUAL(l2[1].exits[L2_INTR], 1);
		G_CHECK_EQUAL(timer_ticks_in_l2, 0);
		expire_in_l2(0, false);
		G_CHECK_EQUAL(l2[1].exits[L2_INTR], 0);
		G_CHECK_EQUAL(timer_ticks_in_l2, 1);
		/* Not every expiry ends L2. */
		expire_in_l2(ASK_INTR, true);
		G_CHECK_EQUAL(l2[1].exits[L2_INTR], 0);
	}
}

static void test_deadline_of_l1(void **state __unused)
{
	run_westmere(script_deadline, ASK_INTR, NULL);
}

/* An event that L1 injects, and an interrupt for L1: the exit behind it is forced, and keeps the deadline. */
static u32 injected_by_l1;

static void on_injected(u8 vector __unused, u32 error __unused)
{
	G_CHECK(self()->guest_mode);
	injected_by_l1++;
}

static void arm_far_and_run(void)
{
	timer_masked = true;
	apic_write(APIC_LVTT, APIC_LVTT_DEADLINE | APIC_LVT_MASKED | TIMER_VECTOR);
	g_wrmsr(MSR_TSC_DEADLINE, g_rdtsc() + 1000 * AHEAD);
	run_l2();
}

static void script_forced(void)
{
	u64 forced = harness_counter(COUNTER_FORCED_EXITS);

	injected_by_l1 = 0;
	g_set_handler(0x91, on_injected);
	seat[1].order = arm_far_and_run;
	l2[1].order = g_sti;
	while (!l2[1].up || l2[1].order)
		g_pause();
	listen();
	l2[1].inject = 0x91;
	in_l2(1, halt);
	expect_heard(BIT(1));
	await_l2(1);
	G_CHECK_EQUAL(injected_by_l1, 1);
	G_CHECK_EQUAL(l2[1].exits[L2_INTR], 1);
	G_CHECK_EQUAL(harness_counter(COUNTER_FORCED_EXITS), forced + 1);
	G_CHECK(vcpu(1)->lapic.timer_deadline != TSC_NEVER);
	end_l2(1);
}

static void test_forced_exit_keeps_the_deadline(void **state __unused)
{
	run_westmere(script_forced, KVM_LIKE, NULL);
}

/* --- wrong code --- */

static void run_wrong(void (*script)(void), const char *what)
{
	prepare_run(ASK_INTR, false);
	create((struct harness){.processor = "westmere", .cpus = 2}, script);
	vm_start(harness_vm);
	assert_false(posix_run_stepper());
	assert_non_null(strstr(posix_failure(), what));
	harness_vm = NULL;
	entered = NULL;
}

/* The second VMCS is left active where its vCPU was. */
static void leave_active(void)
{
	vmx_of(self())->second->active = false;
	g_sti();
	g_hlt();
}

static void script_active(void)
{
	begin_l2(1);
	for (u32 r = 0;; r++) {
		await_l2(1);
		move_in_l2(1, r, leave_active);
	}
}

static void keep_translations(struct vcpu *vcpu)
{
	vmx_of(vcpu)->flush = false;
}

static void other_tables(struct l2_block *block)
{
	vmx_block_of(&block->vmx, GUEST_CR3) += PAGE_SIZE;
}

static void script_translations(void)
{
	adapt_1 = NULL;
	begin_new();
	end_l2(1);
	adapt_1 = other_tables;
	entered = keep_translations;
	begin_new();
	g_exit(0);
}

static void test_wrong_code_is_found(void **state __unused)
{
	run_wrong(script_active, "of a VMCS that is active on processor");
	run_wrong(script_translations, "translations may be old, and there was no INVVPID");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_state),
	        cmocka_unit_test(test_control_registers),
	        cmocka_unit_test(test_windows_of_l1),
	        cmocka_unit_test(test_threshold),
	        cmocka_unit_test(test_exceptions),
	        cmocka_unit_test(test_page_faults_by_their_error_code),
	        cmocka_unit_test(test_tsc_offset),
	        cmocka_unit_test(test_failing_entries),
	        cmocka_unit_test(test_deadline_of_l1),
	        cmocka_unit_test(test_forced_exit_keeps_the_deadline),
	        cmocka_unit_test(test_wrong_code_is_found),
	};

	return cmocka_run_group_tests_name("nested_vmx", tests, NULL, NULL);
}
