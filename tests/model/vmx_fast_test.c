/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which exits vmx/fast.c completes and which it leaves alone, by single entries: what enter() comes back with
 * is the first exit that went the long way. That the guest sees no difference: fast_test.
 */
#include "tests/model/harness.h"

#include "core/cpuid.h"
#include "cpu_model/vmx.h"
#include "irq/intr.h"
#include "postern/backend.h"
#include "vmx/vmx.h"

#define VECTOR_A 0x41
#define LEAF     0x80000001u

#define LONG_TSC 1000000000ull

static struct vcpu *vcpu;
static u32 features = MODEL_PREEMPTION_TIMER;
static u32 handled;

static void handle(u8 vector __unused, u32 error __unused)
{
	handled++;
	g_wrmsr(MSR_X2APIC_EOI, 0);
}

static void handle_trap(u8 vector __unused, u32 error __unused)
{
	handled++;
}

/* The answer is at hand before the first entry. */
static void begin(guest_script script)
{
	struct cpuid_regs r;

	harness_create(
	        &(struct harness){.processor = "westmere", .features = features, .by_hand = true});
	g_set_handler(VECTOR_A, handle);
	g_set_handler(VECTOR_DB, handle_trap);
	guest_bind(HARNESS_BSP, script, NULL);
	vcpu = harness_vm->vcpu[0];
	assert_true(backend_op(cpu_init)(this_cpu()));
	backend_op(vcpu_load)(vcpu, this_cpu());
	cpuid_guest(vcpu, LEAF, 0, &r);
	handled = 0;
}

static void end(void)
{
	backend_op(vcpu_put)(vcpu);
	backend_op(cpu_exit)(this_cpu());
	harness_destroy();
}

/* Enter once; the kind of the exit that came out. */
static enum exit_kind enter(bool force)
{
	force |= intr_prepare_entry(vcpu);
	vcpu->regs.cr8 = lapic_cr8(vcpu);
	backend_op(host_irqs_block)();
	backend_op(run)(vcpu, force);
	backend_op(host_irqs_unblock)();
	return vcpu->exit.kind;
}

static enum exit_kind go_on(void)
{
	exit_handle(vcpu);
	return enter(false);
}

static u64 exits(enum exit_kind kind)
{
	return vcpu->account.exits[kind];
}

static void cpuid(void)
{
	struct cpuid_regs r;

	g_cpuid(LEAF, 0, &r);
}

static void script_cpuids(void *arg __unused)
{
	struct cpuid_regs r;

	for (u32 i = 0; i < 5; i++)
		cpuid();
	g_cpuid(LEAF, 1, &r);
	g_hlt();
}

/* Five that are at hand, with IF clear, then one that is not. */
static void test_cpuid_does_not_come_out(void **state __unused)
{
	begin(script_cpuids);
	assert_int_equal(enter(false), EXIT_CPUID);
	assert_int_equal(exits(EXIT_CPUID), 5);
	assert_int_equal(go_on(), EXIT_HLT);
	assert_int_equal(exits(EXIT_CPUID), 6);
	assert_int_equal(vcpu->account.counters[COUNTER_ENTRIES], 5);
	end();
}

static void script_shadow(void *arg __unused)
{
	g_sti();
	cpuid();
	cpuid();
	g_popf(RFLAGS_RES1 | RFLAGS_TF);
	cpuid(); /* traps */
	g_popf(RFLAGS_RES1);
	cpuid();
	g_hlt();
}

static void test_shadow_and_trap_go_the_long_way(void **state __unused)
{
	begin(script_shadow);
	assert_int_equal(enter(false), EXIT_CPUID);
	assert_int_equal(exits(EXIT_CPUID), 0);
	/* The second is completed; so is no other until the trap has been taken. */
	assert_int_equal(go_on(), EXIT_CPUID);
	assert_int_equal(exits(EXIT_CPUID), 2);
	assert_true(vcpu->regs.rflags & RFLAGS_TF);
	for (u32 i = 0; i < 10 && vcpu->exit.kind != EXIT_HLT; i++)
		go_on();
	assert_int_equal(vcpu->exit.kind, EXIT_HLT);
	assert_int_equal(exits(EXIT_CPUID), 4);
	assert_int_not_equal(handled, 0);
	end();
}

static void test_step_and_nested_guest_come_out(void **state __unused)
{
	begin(script_cpuids);
	backend_op(debug)(vcpu, BACKEND_STEP);
	/* Behind the instructions before it, each a step. */
	for (u32 i = 0; i < 10 && enter(false) != EXIT_CPUID; i++)
		assert_int_equal(vcpu->exit.raw[0], VMX_EXIT_MTF);
	assert_int_equal(vcpu->exit.kind, EXIT_CPUID);
	assert_int_equal(exits(EXIT_CPUID), 0);
	backend_op(debug)(vcpu, BACKEND_STEP_END);
	vcpu->guest_mode = true;
	backend_op(host_irqs_block)();
	backend_op(run)(vcpu, false);
	backend_op(host_irqs_unblock)();
	vcpu->guest_mode = false;
	assert_int_equal(vcpu->exit.kind, EXIT_CPUID);
	assert_int_equal(exits(EXIT_CPUID), 0);
	end();
}

static void script_long(void *arg __unused)
{
	g_popf(RFLAGS_RES1 | RFLAGS_IF);
	posix.tsc += LONG_TSC;
	cpuid();
	g_cli();
	cpuid(); /* entered with IF set */
	cpuid();
	posix.tsc += LONG_TSC;
	cpuid();
	g_hlt();
}

/* The same without the timer, which bounds it. */
static void test_cpuid_without_the_timer(void **state)
{
	features = 0;
	test_cpuid_does_not_come_out(state);
	features = MODEL_PREEMPTION_TIMER;
}

/* With IF clear a processor may be deaf to physical interrupts: then for no longer than the bound. */
static void test_no_endless_deafness(void **state __unused)
{
	begin(script_long);
	vcpu->regs.rflags |= RFLAGS_IF;
	/* Bounded from the first with IF clear on. Then the timer, or what came out behind it. */
	assert_int_not_equal(enter(false), EXIT_HLT);
	assert_int_equal(exits(EXIT_CPUID), 3);
	end();
}

static void script_interrupts(void *arg __unused)
{
	g_apic_enable();
	g_sti();
	g_nop();
	g_hlt();
	for (u32 i = 0; i < 4; i++) {
		g_wrmsr(MSR_X2APIC_SELF, VECTOR_A);
		g_nop();
	}
	g_hlt();
	g_wrmsr(MSR_X2APIC_SELF, VECTOR_A);
	g_hlt();
}

static void go_to_halt(void)
{
	for (u32 i = 0; i < 50; i++)
		if (go_on() == EXIT_HLT)
			return;
	fail_msg("it does not halt");
}

/* Self-IPIs and their ends: none comes out, each is delivered and counted. */
static void test_interrupts_without_coming_out(void **state __unused)
{
	u64 before;

	begin(script_interrupts);
	enter(false);
	go_to_halt();
	before = exits(EXIT_WRMSR);
	assert_int_equal(go_on(), EXIT_HLT);
	assert_int_equal(handled, 4);
	assert_int_equal(exits(EXIT_WRMSR), before + 8);
	assert_int_equal(vcpu->account.counters[COUNTER_INJ_IPI], 4);
	assert_int_equal(vcpu->account.counters[COUNTER_IPI_SENT_SELF], 4);
	assert_int_equal(vcpu->account.counters[COUNTER_EOI], 4);
	assert_int_equal(vcpu->account.counters[COUNTER_INJ_AGAIN], 0);
	/* The handlers' IF was clear, behind an entry with IF set. */
	assert_true(vmx_of(vcpu)->vmcs->have.timer != VMX_TIMER_DISABLED);
	/* An NMI that waits is decided upon by the long way. */
	exit_handle(vcpu);
	vcpu->intr.nmi_pending = 1;
	backend_op(host_irqs_block)();
	backend_op(run)(vcpu, false);
	backend_op(host_irqs_unblock)();
	assert_int_equal(vcpu->exit.kind, EXIT_WRMSR);
	assert_int_equal(exits(EXIT_WRMSR), before + 8);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_cpuid_does_not_come_out),
	        cmocka_unit_test(test_shadow_and_trap_go_the_long_way),
	        cmocka_unit_test(test_step_and_nested_guest_come_out),
	        cmocka_unit_test(test_cpuid_without_the_timer),
	        cmocka_unit_test(test_no_endless_deafness),
	        cmocka_unit_test(test_interrupts_without_coming_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
