/* SPDX-License-Identifier: BSD-2-Clause */
/* Many virtual processors on few physical ones: fairness, hand-over, what moves with a vCPU. */
#include "tests/model/harness.h"

#define WORD_UP    0x00
#define WORD_COUNT 0x40

static u32 apic_id(void)
{
	struct cpuid_regs r;

	g_cpuid(1, 0, &r);
	return r.ebx >> 24;
}

/* --- fairness --- */

static void spin(u32 id, bool pause)
{
	for (u64 n = 1;; n++) {
		g_set_shared(WORD_COUNT + id, n);
		if (pause)
			g_pause();
	}
}

static void ap_spins(void *arg)
{
	u32 id = apic_id();

	g_apic_enable();
	g_set_shared(WORD_UP + id, 1);
	spin(id, arg != NULL);
}

static void script_spin(void *arg)
{
	u64 end;
	u64 n = 0;

	g_apic_enable();
	g_start_aps();
	for (u32 id = 1; id < harness.vcpus; id++)
		g_await(WORD_UP + id, 1);
	end = g_rdtsc() + HARNESS_TICKS_MS(200);
	while (g_rdtsc() < end) {
		g_set_shared(WORD_COUNT, ++n);
		if (arg)
			g_pause();
	}
	g_exit(0);
}

static void run_spread(u32 vcpus, u32 cpus, bool pause)
{
	u64 least = ~0ull, most = 0;
	struct vcpu *vcpu;

	harness_create(&(struct harness){.vcpus = vcpus, .cpus = cpus});
	guest_bind(HARNESS_BSP, script_spin, pause ? &harness : NULL);
	guest_bind(HARNESS_AP, ap_spins, pause ? &harness : NULL);
	harness_run_to_end(ENDED_DEBUG_EXIT);
	for_each_vcpu (vcpu, harness_vm) {
		u64 ns = counter_read(&vcpu->account.counters[COUNTER_RUN_NS]);

		least = min_u64(least, ns);
		most = max_u64(most, ns);
	}
	printf("# %u vCPUs on %u processors%s: %llu to %llu us each\n", vcpus, cpus,
	       pause ? ", pausing" : "", (unsigned long long)least / 1000,
	       (unsigned long long)most / 1000);
	assert_true(least > 0);
	if (!pause)
		assert_true(most < 2 * least);
	assert_true(harness_counter(COUNTER_PREEMPTED) > vcpus);
	harness_destroy();
}

static void test_sched_eight_spinning_share_one_processor(void **state __unused)
{
	run_spread(8, 1, false);
}

static void test_sched_pausing_guests_all_progress(void **state __unused)
{
	run_spread(8, 1, true);
}

static void test_sched_six_on_two_processors(void **state __unused)
{
	run_spread(6, 2, false);
}

/* --- what belongs to a vCPU stays with it --- */

static void own_state(u32 id)
{
	u64 mine = 0x1000000ull + id;

	g_write_fpu(mine);
	g_wrmsr(MSR_LSTAR, mine);
	g_wrmsr(MSR_GS_BASE, mine);
	for (u32 i = 0; i < 300; i++) {
		struct cpuid_regs r;

		G_CHECK_EQUAL(g_read_fpu(), mine);
		G_CHECK_EQUAL(g_rdmsr(MSR_LSTAR), mine);
		G_CHECK_EQUAL(g_rdmsr(MSR_GS_BASE), mine);
		g_cpuid(1, 0, &r);
		G_CHECK_EQUAL(r.ebx >> 24, id);
		if (i % 50 == 49)
			for (u32 j = 0; j < 6000; j++)
				g_nop();
	}
	g_set_shared(WORD_COUNT + id, 1);
}

static void ap_own_state(void *arg __unused)
{
	own_state(apic_id());
}

static void script_own_state(void *arg __unused)
{
	g_apic_enable();
	g_start_aps();
	own_state(0);
	for (u32 id = 1; id < harness.vcpus; id++)
		g_await(WORD_COUNT + id, 1);
	g_exit(0);
}

static void test_sched_state_moves_with_the_vcpu(void **state __unused)
{
	static const u32 features[] = {0, MODEL_XSAVE, MODEL_CLEAN_BITS | MODEL_FLUSH_ASID};
	u64 migrations = 0;

	for (u32 i = 0; i < ARRAY_SIZE(features); i++) {
		harness_create(&(struct harness){.vcpus = 5,
		                                 .cpus = 2,
		                                 .features = features[i],
		                                 .seed = i,
		                                 .switch_ppm = 10000});
		guest_bind(HARNESS_BSP, script_own_state, NULL);
		guest_bind(HARNESS_AP, ap_own_state, NULL);
		harness_run_to_end(ENDED_DEBUG_EXIT);
		migrations += harness_counter(COUNTER_MIGRATIONS);
		harness_destroy();
	}
	assert_true(migrations > 0);
}

/* --- many --- */

static void ap_once(void *arg __unused)
{
	g_set_shared(WORD_COUNT + apic_id(), 1);
}

static void script_many(void *arg __unused)
{
	g_apic_enable();
	g_start_aps();
	for (u32 id = 1; id < harness.vcpus; id++)
		g_await(WORD_COUNT + id, 1);
	g_exit(0);
}

static void test_sched_sixty_four_vcpus(void **state __unused)
{
	harness_create(&(struct harness){.vcpus = 64, .cpus = 1});
	guest_bind(HARNESS_BSP, script_many, NULL);
	guest_bind(HARNESS_AP, ap_once, NULL);
	harness_run();
	harness_create(&(struct harness){.vcpus = 32, .cpus = 16, .seed = 1});
	guest_bind(HARNESS_BSP, script_many, NULL);
	guest_bind(HARNESS_AP, ap_once, NULL);
	harness_run();
}

/* Host processors: a woken vCPU goes to one that sleeps, and an idle machine stays idle. */
static void script_sleepy(void *arg __unused)
{
	g_apic_enable();
	g_set_handler(0x41, NULL);
	g_apic_write(APIC_LVTT, 0x41 | APIC_LVTT_DEADLINE | APIC_LVT_MASKED);
	g_wrmsr(MSR_TSC_DEADLINE, g_rdtsc() + HARNESS_TICKS_MS(50));
	while (g_rdmsr(MSR_TSC_DEADLINE))
		g_pause();
	g_exit(0);
}

static void test_timer_masked_expires_silently(void **state __unused)
{
	harness_create(&(struct harness){0});
	guest_bind(HARNESS_BSP, script_sleepy, NULL);
	harness_run_to_end(ENDED_DEBUG_EXIT);
	assert_int_equal(harness_counter(COUNTER_INJ_TIMER), 0);
	assert_int_equal(harness_counter(COUNTER_TIMER_LOST), 1);
	harness_destroy();
}

/*
 * A vCPU that wants to sleep and is woken at that moment goes on in its turn; others who came to its
 * processor meanwhile have theirs. The start-up IPI comes right behind the INIT that woke the vCPU.
 */
static void ap_counts_for_ever(void *arg __unused)
{
	u32 mine = g_index();

	for (u64 n = 1;; n++) {
		g_set_shared(mine, n);
		g_out(0x80, 0, 1);
	}
}

static void script_awaits_all(void *arg __unused)
{
	g_apic_enable();
	g_start_aps();
	for (u32 i = 1; i < harness.vcpus; i++)
		g_await(i, 20);
	g_exit(0);
}

static void test_sched_turns_begin_though_somebody_could_not_sleep(void **state __unused)
{
	for (u32 seed = 0; seed < 40; seed++) {
		harness_create(&(struct harness){
		        .vcpus = 3, .cpus = 2, .seed = seed, .switch_ppm = 5000 * (1 + seed % 8)});
		guest_bind(HARNESS_BSP, script_awaits_all, NULL);
		guest_bind(HARNESS_AP, ap_counts_for_ever, NULL);
		harness_run();
	}
}

/* --- the boot processor --- */

static void script_end_at_once(void *arg __unused)
{
	g_apic_enable();
	g_start_aps();
	g_exit(0);
}

static void device_until_the_end(void)
{
	while (!vm_has_ended(harness_vm))
		race_relax();
}

/* Busy elsewhere until the VM ends, it sees that all vCPUs have, whenever the last one does, and stops the rest. */
static void test_sched_first_sleep_of_the_boot_processor(void **state __unused)
{
	for (u32 seed = 0; seed < 300; seed++) {
		harness_create(&(struct harness){.vcpus = 3,
		                                 .cpus = 4,
		                                 .seed = seed,
		                                 .switch_ppm = 1000u << seed % 9,
		                                 .device = device_until_the_end});
		guest_bind(HARNESS_BSP, script_end_at_once, NULL);
		guest_bind(HARNESS_AP, ap_spins, NULL);
		harness_run();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_sched_eight_spinning_share_one_processor),
	        cmocka_unit_test(test_sched_pausing_guests_all_progress),
	        cmocka_unit_test(test_sched_six_on_two_processors),
	        cmocka_unit_test(test_sched_state_moves_with_the_vcpu),
	        cmocka_unit_test(test_sched_sixty_four_vcpus),
	        cmocka_unit_test(test_timer_masked_expires_silently),
	        cmocka_unit_test(test_sched_turns_begin_though_somebody_could_not_sleep),
	        cmocka_unit_test(test_sched_first_sleep_of_the_boot_processor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
