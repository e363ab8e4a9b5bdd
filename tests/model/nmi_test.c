/* SPDX-License-Identifier: BSD-2-Clause */
/* NMIs: delivery, masking until IRET, the interrupt shadow, and forced immediate exits. */
#include "tests/model/harness.h"

#include "insn.h"

#define VECTOR_A    0x41
#define WORD_NMI    0 /* handlers finished */
#define WORD_DEPTH  1 /* NMI handlers running */
#define WORD_SECOND 2 /* sent from within the first */
#define WORD_INTR   3

static void send_nmi_to_self(void)
{
	/* The self shorthand carries fixed interrupts only: by APIC ID. */
	g_apic_icr(0, APIC_DM_NMI | APIC_LEVEL_ASSERT);
}

static void both_modes(guest_script script, u32 features)
{
	for (u32 mode = 0; mode < 2; mode++) {
		harness_create(&(struct harness){.xapic = mode, .features = features});
		guest_bind(HARNESS_BSP, script, NULL);
		harness_run_to_end(ENDED_DEBUG_EXIT);
		assert_int_equal(atomic32_read(&harness_vm->exit_code), 1);
	}
}

static void count_nmi(u8 vector, u32 error __unused)
{
	G_CHECK_EQUAL(vector, VECTOR_NMI);
	G_CHECK_EQUAL(g_shared(WORD_DEPTH), 0);
	g_set_shared(WORD_DEPTH, 1);
	for (u32 i = 0; i < 5; i++)
		g_nop();
	if (g_shared(WORD_SECOND)) {
		/* A second and a third while this one runs: one of them is remembered. */
		g_set_shared(WORD_SECOND, 0);
		send_nmi_to_self();
		for (u32 i = 0; i < 5; i++)
			g_nop();
		send_nmi_to_self();
		for (u32 i = 0; i < 5; i++)
			g_nop();
	}
	g_set_shared(WORD_DEPTH, 0);
	g_set_shared(WORD_NMI, g_shared(WORD_NMI) + 1);
}

static void script_nmi(void *arg __unused)
{
	g_set_handler(VECTOR_NMI, count_nmi);
	g_apic_enable();
	/* IF is clear: NMIs do not care. */
	send_nmi_to_self();
	g_nop();
	G_CHECK_EQUAL(g_shared(WORD_NMI), 1);
	send_nmi_to_self();
	g_nop();
	G_CHECK_EQUAL(g_shared(WORD_NMI), 2);
	g_exit(0);
}

static void test_nmi_ignores_if(void **state __unused)
{
	both_modes(script_nmi, 0);
	assert_int_equal(harness_counter(COUNTER_INJ_NMI), 2);
	harness_destroy();
}

static void script_nmi_masked(void *arg __unused)
{
	g_set_handler(VECTOR_NMI, count_nmi);
	g_apic_enable();
	g_set_shared(WORD_SECOND, 1);
	send_nmi_to_self();
	for (u32 i = 0; i < 5; i++)
		g_nop();
	G_CHECK_EQUAL(g_shared(WORD_NMI), 2);
	g_exit(0);
}

static void test_nmi_masked_until_iret(void **state __unused)
{
	both_modes(script_nmi_masked, 0);
	assert_int_equal(harness_counter(COUNTER_INJ_NMI), 2);
	assert_true(harness_counter(COUNTER_NMI_WINDOWS) >= 1);
	harness_destroy();
}

static void script_nmi_wakes(void *arg __unused)
{
	g_set_handler(VECTOR_NMI, count_nmi);
	g_apic_enable();
	g_set_shared(8, 1);
	g_cli();
	while (!g_shared(WORD_NMI))
		g_hlt();
	g_exit(0);
}

static void ap_sends_nmi(void *arg __unused)
{
	g_apic_enable();
	g_await(8, 1);
	for (u32 i = 0; i < 50; i++)
		g_pause();
	g_apic_icr(0, APIC_DM_NMI | APIC_LEVEL_ASSERT);
	for (;;)
		g_pause();
}

static void script_start_and_wait(void *arg)
{
	g_apic_enable();
	g_start_aps();
	script_nmi_wakes(arg);
}

static void test_nmi_wakes_hlt_with_if_clear(void **state __unused)
{
	for (u32 mode = 0; mode < 4; mode++) {
		harness_create(&(struct harness){
		        .vcpus = 2, .cpus = 1 + mode / 2, .xapic = mode & 1, .seed = mode});
		guest_bind(HARNESS_BSP, script_start_and_wait, NULL);
		guest_bind(HARNESS_AP, ap_sends_nmi, NULL);
		harness_run();
	}
}

/* --- two events at once --- */

static void gp_count(u8 vector __unused, u32 error __unused)
{
	g_set_shared(WORD_INTR, g_shared(WORD_INTR) + 1);
}

static void script_gp_storm(void *arg __unused)
{
	u64 value;

	g_set_handler(VECTOR_NMI, count_nmi);
	g_apic_enable();
	g_start_aps();
	g_set_shared(8, 1);
	/* Exceptions by emulation, one after the other: the NMIs meet a taken slot. */
	while (g_shared(WORD_NMI) < 20)
		G_CHECK_EQUAL(g_rdmsr_safe(0x12345678, &value), VECTOR_GP);
	g_exit(0);
}

static void ap_nmi_storm(void *arg __unused)
{
	g_apic_enable();
	g_await(8, 1);
	for (u64 sent = 0; sent < 20; sent++) {
		g_apic_icr(0, APIC_DM_NMI | APIC_LEVEL_ASSERT);
		g_await(WORD_NMI, sent + 1);
	}
}

static void test_nmi_behind_an_exception_forces_an_exit(void **state __unused)
{
	u64 forced = 0;

	for (u32 seed = 0; seed < 8; seed++) {
		harness_create(&(struct harness){.vcpus = 2,
		                                 .cpus = 2,
		                                 .xapic = seed & 1,
		                                 .seed = seed,
		                                 .switch_ppm = 100000});
		guest_bind(HARNESS_BSP, script_gp_storm, NULL);
		guest_bind(HARNESS_AP, ap_nmi_storm, NULL);
		harness_run_to_end(ENDED_DEBUG_EXIT);
		assert_int_equal(harness_counter(COUNTER_INJ_NMI), 20);
		forced += harness_counter(COUNTER_FORCED_EXITS);
		harness_destroy();
	}
	/* Where there is a window behind an injected event, none is needed. */
	assert_int_equal(forced > 0, !model_has(MODEL_INTEL));
	printf("# %llu forced immediate exits\n", (unsigned long long)forced);
}

static void script_forced_order(void *arg __unused)
{
	u64 value;

	g_set_handler(VECTOR_NMI, count_nmi);
	g_set_handler(VECTOR_GP, gp_count);
	g_apic_enable();
	g_rdmsr_safe(0x12345678, &value);
	g_exit(0);
}

/*
 * By hand, to see the entries one by one: #GP is queued and an NMI pending. The first entry injects
 * #GP and comes back before an instruction of its handler, the second injects the NMI.
 */
static void test_forced_exit_runs_no_instruction(void **state __unused)
{
	struct vcpu_state st;
	struct vcpu *vcpu;
	bool window, timer;
	u64 rip;

	harness_create(&(struct harness){0});
	guest_bind(HARNESS_BSP, script_forced_order, NULL);
	vcpu = harness_vm->vcpu[0];
	assert_true(backend_op(cpu_init)(this_cpu()));
	backend_op(vcpu_load)(vcpu, this_cpu());
	g_set_handler(VECTOR_NMI, count_nmi);
	g_set_handler(VECTOR_GP, gp_count);
	/* The table of the guest at this point has no limit yet: give it one. */
	backend_op(get_state)(vcpu, &st);
	st.idt_limit = 0xfff;
	backend_op(set_state)(vcpu, &st);
	vcpu_inject_gp(vcpu);
	lapic_signal_nmi(&vcpu->lapic);
	/*
	 * A window behind an injected event comes before the interrupt that forces the exit, and behind the
	 * preemption timer.
	 */
	window = !backend_op(intr_force)(vcpu, INTR_CLASS_NMI);
	timer = port_machine()->entry_timer;
	assert_int_equal(intr_prepare_entry(vcpu), !window);
	backend_op(host_irqs_block)();
	backend_op(run)(vcpu, true);
	backend_op(host_irqs_unblock)();
	assert_int_equal(vcpu->exit.kind, window && !timer ? EXIT_NMI_WINDOW : EXIT_INTR);
	assert_int_equal(guest_engine()->guest[0].depth, 1);
	rip = vcpu->regs.rip;
	assert_false(intr_prepare_entry(vcpu));
	backend_op(host_irqs_block)();
	insn_apic_send(0, CPU_VECTOR_FORCE); /* see this entry at once, too */
	backend_op(run)(vcpu, false);
	backend_op(host_irqs_unblock)();
	assert_int_equal(guest_engine()->guest[0].depth, 2);
	assert_int_not_equal(vcpu->regs.rip, rip);
	backend_op(vcpu_put)(vcpu);
	backend_op(cpu_exit)(this_cpu());
	harness_destroy();
}

/* --- the shadow of STI, left by physical interrupts --- */

static void nmi_behind_the_shadow(u8 vector __unused, u32 error __unused)
{
	G_CHECK_EQUAL(g_shared(WORD_INTR), 1);
	g_set_shared(WORD_NMI, g_shared(WORD_NMI) + 1);
}

static void script_shadow(void *arg __unused)
{
	g_set_handler(VECTOR_NMI, nmi_behind_the_shadow);
	/* Pending now, so that the guest leaves right behind STI. */
	model_apic_raise(model_current(), CPU_VECTOR_KICK);
	g_sti();
	g_set_shared(WORD_INTR, 1); /* in the shadow */
	g_nop();
	G_CHECK_EQUAL(g_shared(WORD_NMI), 1);
	g_hlt();
}

static void enter_by_hand(struct vcpu *vcpu)
{
	bool force = intr_prepare_entry(vcpu);

	backend_op(host_irqs_block)();
	backend_op(run)(vcpu, force);
	backend_op(host_irqs_unblock)();
}

/*
 * Twice the guest leaves before the instruction in the shadow has run; an NMI that comes then still
 * waits for it. On the second exit only a processor that loads the shadow at VMRUN can say so.
 */
static void test_nmi_waits_for_a_shadow_that_two_exits_left(void **state __unused)
{
	static const u32 features[] = {0, MODEL_FORGETS_SHADOW};

	for (u32 i = 0; i < ARRAY_SIZE(features); i++) {
		struct vcpu_state st;
		struct vcpu *vcpu;

		harness_create(&(struct harness){.features = features[i], .by_hand = true});
		guest_bind(HARNESS_BSP, script_shadow, NULL);
		vcpu = harness_vm->vcpu[0];
		assert_true(backend_op(cpu_init)(this_cpu()));
		backend_op(vcpu_load)(vcpu, this_cpu());
		/* The table of the guest at this point has no limit yet: give it one. */
		backend_op(get_state)(vcpu, &st);
		st.idt_limit = 0xfff;
		backend_op(set_state)(vcpu, &st);
		enter_by_hand(vcpu);
		assert_int_equal(vcpu->exit.kind, EXIT_INTR);
		assert_int_equal(backend_op(intr_blocked)(vcpu, INTR_CLASS_NMI), INTR_BLOCK_SHADOW);
		backend_op(host_irqs_block)();
		insn_apic_send(0, CPU_VECTOR_FORCE);
		backend_op(run)(vcpu, false);
		backend_op(host_irqs_unblock)();
		assert_int_equal(vcpu->exit.kind, EXIT_INTR);
		assert_int_equal(backend_op(intr_blocked)(vcpu, INTR_CLASS_NMI), INTR_BLOCK_SHADOW);
		lapic_signal_nmi(&vcpu->lapic);
		for (u32 n = 0; n < 10 && vcpu->exit.kind != EXIT_HLT; n++)
			enter_by_hand(vcpu);
		assert_int_equal(vcpu->exit.kind, EXIT_HLT);
		/* The instruction has run: the shadow is over. */
		assert_int_equal(backend_op(intr_blocked)(vcpu, INTR_CLASS_NMI), INTR_BLOCK_NONE);
		backend_op(vcpu_put)(vcpu);
		backend_op(cpu_exit)(this_cpu());
		harness_destroy();
	}
}

/* --- delivery cut short by an exit --- */

static void count_intr(u8 vector __unused, u32 error __unused)
{
	g_set_shared(WORD_INTR, g_shared(WORD_INTR) + 1);
	g_apic_eoi();
}

static void script_again(void *arg __unused)
{
	u64 value;

	g_set_handler(VECTOR_NMI, count_nmi);
	g_set_handler(VECTOR_A, count_intr);
	g_apic_enable();
	g_sti();
	for (u64 i = 1; i <= 4; i++) {
		g_apic_icr(0, VECTOR_A | APIC_DEST_SELF | APIC_LEVEL_ASSERT);
		g_nop();
		G_CHECK_EQUAL(g_shared(WORD_INTR), i);
		send_nmi_to_self();
		g_nop();
		G_CHECK_EQUAL(g_shared(WORD_NMI), i);
		G_CHECK_EQUAL(g_rdmsr_safe(0x12345678, &value), VECTOR_GP);
	}
	g_exit(0);
}

/* EXITINTINFO: what was being delivered is delivered again, once. */
static void test_intr_interrupted_delivery_is_repeated(void **state __unused)
{
	for (u32 broken = 1; broken <= 12; broken++) {
		harness_create(&(struct harness){.xapic = broken & 1});
		guest_bind(HARNESS_BSP, script_again, NULL);
		model()->cpu[0].break_deliveries = broken;
		harness_run_to_end(ENDED_DEBUG_EXIT);
		assert_int_equal(atomic32_read(&harness_vm->exit_code), 1);
		assert_int_equal(harness_counter(COUNTER_INJ_AGAIN), broken);
		assert_int_equal(harness_counter(COUNTER_INJ_NMI), 4);
		assert_int_equal(harness_both(COUNTER_IPI_RECEIVED, COUNTER_HW_DELIVERED), 4);
		harness_destroy();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_nmi_ignores_if),
	        cmocka_unit_test(test_nmi_masked_until_iret),
	        cmocka_unit_test(test_nmi_wakes_hlt_with_if_clear),
	        cmocka_unit_test(test_nmi_behind_an_exception_forces_an_exit),
	        cmocka_unit_test(test_forced_exit_runs_no_instruction),
	        cmocka_unit_test(test_nmi_waits_for_a_shadow_that_two_exits_left),
	        cmocka_unit_test(test_intr_interrupted_delivery_is_repeated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
