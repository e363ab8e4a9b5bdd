/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * AVIC and x2AVIC under the back end: what exits and what does not, by processor and by the guest's
 * mode; that nothing is lost between vCPUs that are accelerated and those that are not. Each on the
 * model with the feature, and on the model without, shown as one that has it by the assist: the counts
 * must be the same.
 */
#include "svm/svm.h"
#include "tests/model/harness.h"

#define VECTOR 0x61
#define OTHER  0x71
#define ROUNDS 80

enum {
	GO,
	SEEN,
	SEEN_OTHER,
};

static const struct machine_case {
	const char *processor;
	bool xapic;
	bool accelerated; /* the guest's mode is one that the processor has */
	bool stale;       /* with the erratum: each IPI exits */
} machines[] = {
        {"barcelona", true, false, false},   {"barcelona", false, false, false},
        {"rome", true, true, true},          {"rome", false, false, true},
        {"milan", true, true, false},        {"milan", false, false, false},
        {"genoa", true, true, false},        {"genoa", false, true, false},
        {"assist-rome", true, true, true},   {"assist-rome", false, false, true},
        {"assist-milan", true, true, false}, {"assist-milan", false, false, false},
        {"assist-genoa", true, true, false}, {"assist-genoa", false, true, false},
};

static const struct machine_case *machine;

/* What is counted begins here: start-up is over. */
static u64 exits_before, writes_before;

static u64 apic_exits(void)
{
	return harness_exits(EXIT_WRMSR) + harness_exits(EXIT_RDMSR) + harness_exits(EXIT_MEMORY) +
	       harness_exits(EXIT_APIC_ACCESS) + harness_exits(EXIT_APIC_WRITE);
}

static void begin_count(void)
{
	exits_before = apic_exits();
	writes_before = harness_exits(EXIT_IPI_INCOMPLETE);
}

static u64 counted_exits(void)
{
	return apic_exits() - exits_before;
}

static u64 counted_incomplete(void)
{
	return harness_exits(EXIT_IPI_INCOMPLETE) - writes_before;
}

static void on_each(struct harness config, guest_script bsp, guest_script ap, void (*check)(void))
{
	for (u32 i = 0; i < ARRAY_SIZE(machines); i++) {
		machine = &machines[i];
		config.processor = machine->processor;
		config.xapic = machine->xapic;
		exits_before = writes_before = 0;
		harness_create(&config);
		guest_bind(HARNESS_BSP, bsp, NULL);
		if (ap)
			guest_bind(HARNESS_AP, ap, NULL);
		harness_run_to_end(ENDED_DEBUG_EXIT);
		assert_int_equal(atomic32_read(&harness_vm->exit_code), 1);
		if (!strncmp(machine->processor, "assist-", 7) && machine->accelerated)
			assert_true(harness_overhead() > 0);
		else
			assert_int_equal(harness_overhead(), 0);
		check();
		harness_destroy();
	}
}

static void handler(u8 vector __unused, u32 error __unused)
{
	g_set_shared(SEEN, g_shared(SEEN) + 1);
	g_apic_eoi();
}

static void other_handler(u8 vector __unused, u32 error __unused)
{
	g_set_shared(SEEN_OTHER, g_shared(SEEN_OTHER) + 1);
	g_apic_eoi();
}

/* --- to itself --- */

static void begin_alone(void)
{
	g_apic_enable();
	g_set_handler(VECTOR, handler);
	g_sti();
	g_nop();
	g_apic_read(APIC_TPR); /* the first access maps the page */
	begin_count();
}

static void script_self(void *arg __unused)
{
	begin_alone();
	for (u32 i = 0; i < ROUNDS; i++) {
		if (i & 1 && !harness.xapic)
			g_wrmsr(MSR_X2APIC_SELF, VECTOR);
		else
			g_apic_icr(0, APIC_DEST_SELF | APIC_LEVEL_ASSERT | VECTOR);
		g_nop();
		G_CHECK_EQUAL(g_shared(SEEN), i + 1);
	}
	g_exit(0);
}

static void check_self(void)
{
	if (machine->accelerated) {
		assert_int_equal(counted_exits() + counted_incomplete(), 0);
		assert_int_equal(harness_counter(COUNTER_HW_IPI_SELF), ROUNDS);
		assert_int_equal(harness_counter(COUNTER_HW_DELIVERED), ROUNDS);
		assert_int_equal(harness_counter(COUNTER_HW_EOI), ROUNDS);
	} else {
		assert_true(counted_exits() >= 2 * ROUNDS);
		assert_int_equal(harness_counter(COUNTER_HW_DELIVERED), 0);
	}
}

static void test_self_ipi_and_edge_eoi_do_not_exit(void **state __unused)
{
	on_each((struct harness){0}, script_self, NULL, check_self);
}

/* --- the task priority --- */

static void script_tpr(void *arg __unused)
{
	begin_alone();
	for (u32 i = 0; i < ROUNDS; i++) {
		g_apic_write(APIC_TPR, 0x70);
		g_apic_icr(0, APIC_DEST_SELF | APIC_LEVEL_ASSERT | VECTOR);
		g_nop();
		G_CHECK_EQUAL(g_shared(SEEN), i);
		G_CHECK_EQUAL(g_read_cr8(), 7);
		if (i & 1)
			g_write_cr8(0);
		else
			g_apic_write(APIC_TPR, 0);
		g_nop();
		G_CHECK_EQUAL(g_shared(SEEN), i + 1);
		G_CHECK_EQUAL(g_apic_read(APIC_TPR), 0);
	}
	g_exit(0);
}

static void check_tpr(void)
{
	if (machine->accelerated) {
		assert_int_equal(counted_exits() + counted_incomplete(), 0);
		assert_int_equal(harness_exits(EXIT_CR), 0);
		assert_int_equal(harness_counter(COUNTER_HW_DELIVERED), ROUNDS);
	} else {
		assert_true(counted_exits() >= 3 * ROUNDS);
	}
}

static void test_task_priority_does_not_exit(void **state __unused)
{
	on_each((struct harness){0}, script_tpr, NULL, check_tpr);
}

/* --- to another that runs --- */

static void ap_runs(void *arg __unused)
{
	g_apic_enable();
	g_sti();
	g_set_shared(GO, 1);
	for (;;)
		g_pause();
}

static void script_sender(void *arg __unused)
{
	g_apic_enable();
	g_set_handler(VECTOR, handler);
	g_set_handler(OTHER, other_handler);
	g_start_aps();
	g_await(GO, 1);
	begin_count();
	for (u32 i = 0; i < ROUNDS; i++) {
		g_apic_icr(1, APIC_LEVEL_ASSERT | VECTOR);
		g_await(SEEN, i + 1);
	}
	g_exit(0);
}

static void check_running(void)
{
	if (!machine->accelerated) {
		/* The last EOI may not have come before the end. */
		assert_true(counted_exits() >= 2 * ROUNDS - 1);
		assert_int_equal(counted_incomplete(), 0);
	} else if (machine->stale) {
		assert_int_equal(counted_exits(), 0);
		assert_int_equal(counted_incomplete(), ROUNDS);
		assert_int_equal(harness_counter(COUNTER_IPI_STOPPED), ROUNDS);
		assert_int_equal(harness_counter(COUNTER_HW_DELIVERED), ROUNDS);
	} else {
		/* Preemption is the only thing that may have stopped it: here there is none. */
		assert_int_equal(counted_exits() + counted_incomplete(), 0);
		assert_int_equal(harness_counter(COUNTER_HW_IPI), ROUNDS);
		assert_int_equal(harness_counter(COUNTER_HW_DOORBELLS), ROUNDS);
		assert_int_equal(harness_counter(COUNTER_HW_DELIVERED), ROUNDS);
	}
}

static void test_ipi_to_a_running_vcpu_does_not_exit(void **state __unused)
{
	on_each((struct harness){.vcpus = 2, .cpus = 2}, script_sender, ap_runs, check_running);
}

/* --- to another that sleeps --- */

static void ap_sleeps(void *arg __unused)
{
	g_apic_enable();
	g_set_shared(GO, 1);
	for (;;) {
		g_sti();
		g_hlt();
	}
}

/* It is asleep again some time after its handler has been seen. */
static void script_waker(void *arg __unused)
{
	g_apic_enable();
	g_set_handler(VECTOR, handler);
	g_start_aps();
	g_await(GO, 1);
	begin_count();
	for (u32 i = 0; i < ROUNDS; i++) {
		for (u32 pause = 0; pause < 300; pause++)
			g_pause();
		g_apic_icr(1, APIC_LEVEL_ASSERT | VECTOR);
		g_await(SEEN, i + 1);
	}
	g_exit(0);
}

static void check_sleeping(void)
{
	if (!machine->accelerated) {
		assert_true(counted_exits() >= 2 * ROUNDS - 1);
		return;
	}
	/* One for each, at the sender, or none if the target was not yet asleep. */
	assert_int_equal(counted_exits(), 0);
	assert_int_equal(counted_incomplete() + harness_counter(COUNTER_HW_IPI), ROUNDS);
	assert_true(counted_incomplete() >= ROUNDS * 9 / 10);
	assert_int_equal(harness_counter(COUNTER_IPI_STOPPED), counted_incomplete());
	assert_int_equal(harness_counter(COUNTER_HW_DELIVERED), ROUNDS);
}

static void test_ipi_to_a_sleeping_vcpu_exits_once(void **state __unused)
{
	on_each((struct harness){.vcpus = 2, .cpus = 2}, script_waker, ap_sleeps, check_sleeping);
}

static void check_arrived(void)
{
	assert_int_equal(harness_both(COUNTER_INJ_IPI, COUNTER_HW_DELIVERED), ROUNDS);
}

static void test_ipi_on_one_processor_arrives(void **state __unused)
{
	on_each((struct harness){.vcpus = 2, .cpus = 1}, script_sender, ap_sleeps, check_arrived);
	on_each((struct harness){.vcpus = 2, .cpus = 1}, script_sender, ap_runs, check_arrived);
}

/* The price of the workaround, and what the processor would do without: nothing sleeps here. */
static void test_ipi_of_rome_without_its_workaround_does_not_exit(void **state __unused)
{
	static const struct machine_case rome = {"rome", true, true, false};

	machine = &rome;
	exits_before = writes_before = 0;
	harness_create(&(struct harness){
	        .vcpus = 2, .cpus = 2, .xapic = true, .processor = machine->processor});
	assert_true(svm_features.stale_running);
	svm_features.stale_running = false;
	guest_bind(HARNESS_BSP, script_sender, NULL);
	guest_bind(HARNESS_AP, ap_runs, NULL);
	harness_run_to_end(ENDED_DEBUG_EXIT);
	check_running();
	harness_destroy();
}

/* --- why one is not completed --- */

#define NOBODY 9

static void script_incomplete(void *arg __unused)
{
	g_apic_enable();
	g_apic_write(APIC_TPR, 0); /* the assist has something to do */
	g_apic_icr(NOBODY, APIC_DM_NMI | APIC_LEVEL_ASSERT);
	g_apic_icr(NOBODY, APIC_LEVEL_ASSERT | VECTOR);
	g_apic_icr(NOBODY, APIC_LEVEL_ASSERT | VECTOR);
	g_apic_icr(0, APIC_LEVEL_ASSERT | 0xf);
	g_exit(0);
}

static void check_incomplete(void)
{
	u64 each = machine->accelerated;

	assert_int_equal(harness_counter(COUNTER_IPI_BAD_TYPE), each);
	assert_int_equal(harness_counter(COUNTER_IPI_BAD_TARGET), 2 * each);
	assert_int_equal(harness_counter(COUNTER_IPI_BAD_VECTOR), each);
	assert_int_equal(harness_counter(COUNTER_IPI_BAD_PAGE), 0);
	assert_int_equal(harness_counter(COUNTER_IPI_EMULATED), 4 * each);
	assert_int_equal(harness_exits(EXIT_IPI_INCOMPLETE), 4 * each);
}

static void test_incomplete_ipis_are_counted_by_cause(void **state __unused)
{
	on_each((struct harness){0}, script_incomplete, NULL, check_incomplete);
}

/* --- modes that change while others send --- */

static void ap_changes(void *arg __unused)
{
	u64 base;

	g_apic_enable();
	g_sti();
	g_set_shared(GO, 1);
	for (;;) {
		/* By software off and on: not accelerated meanwhile, and nothing is accepted. */
		g_cli();
		base = g_shared(SEEN);
		g_apic_write(APIC_SVR, 0xff);
		g_pause();
		g_apic_write(APIC_SVR, 0x1ff);
		g_sti();
		for (u32 i = 0; i < 50 && g_shared(SEEN) == base; i++)
			g_pause();
	}
}

/* What is sent while the target accepts nothing is lost by the architecture: it is sent again. */
static void script_persistent(void *arg __unused)
{
	g_apic_enable();
	g_set_handler(VECTOR, handler);
	g_start_aps();
	g_await(GO, 1);
	for (u32 i = 0; i < ROUNDS; i++) {
		while (g_shared(SEEN) < i + 1) {
			g_apic_icr(1, APIC_LEVEL_ASSERT | VECTOR);
			for (u32 pause = 0; pause < 100 && g_shared(SEEN) < i + 1; pause++)
				g_pause();
		}
	}
	g_exit(0);
}

static void check_changes(void)
{
	if (machine->accelerated)
		assert_true(harness_counter(COUNTER_ACCEL_CHANGES) > 10);
}

static void test_acceleration_changes_under_a_sender(void **state __unused)
{
	on_each((struct harness){.vcpus = 2, .cpus = 2}, script_persistent, ap_changes,
	        check_changes);
	on_each((struct harness){.vcpus = 2, .cpus = 1}, script_persistent, ap_changes,
	        check_changes);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_self_ipi_and_edge_eoi_do_not_exit),
	        cmocka_unit_test(test_task_priority_does_not_exit),
	        cmocka_unit_test(test_ipi_to_a_running_vcpu_does_not_exit),
	        cmocka_unit_test(test_ipi_to_a_sleeping_vcpu_exits_once),
	        cmocka_unit_test(test_ipi_on_one_processor_arrives),
	        cmocka_unit_test(test_ipi_of_rome_without_its_workaround_does_not_exit),
	        cmocka_unit_test(test_incomplete_ipis_are_counted_by_cause),
	        cmocka_unit_test(test_acceleration_changes_under_a_sender),
	};

	return cmocka_run_group_tests_name("avic_model", tests, NULL, NULL);
}
