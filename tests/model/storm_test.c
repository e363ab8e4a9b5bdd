/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * core/storm.c: an inhibit that comes and goes while vCPUs send each other IPIs. None is lost, acceleration
 * follows where there is one, and nothing is left behind.
 */
#include "core/storm.h"

#include "irq/inhibit.h"
#include "tests/model/harness.h"

#define VECTOR 0x61
#define PORT   0x80
#define STORMS 40 /* pairs of set and clear that the guest waits for */

enum {
	GO,
	SEEN,
};

static u32 rate, sent;

static void handler(u8 vector __unused, u32 error __unused)
{
	g_set_shared(SEEN, g_shared(SEEN) + 1);
	g_apic_eoi();
}

static void ap(void *arg __unused)
{
	g_apic_enable();
	g_sti();
	g_set_shared(GO, 1);
	for (;;)
		g_pause();
}

static void bsp(void *arg __unused)
{
	g_apic_enable();
	g_set_handler(VECTOR, handler);
	g_start_aps();
	g_await(GO, 1);
	for (sent = 0; harness_counter(COUNTER_INHIBIT_STORMS) < STORMS; sent++) {
		g_apic_icr(1, APIC_LEVEL_ASSERT | VECTOR);
		g_await(SEEN, sent + 1);
		g_out(PORT, 0, 1); /* an exit of its own now and then, as guests have */
	}
	g_exit(0);
}

/* On the boot processor, as housekeeping is. */
static void begin(void)
{
	storm_set(harness_vm, 1);
	storm_set(harness_vm, 0);
	storm_set(harness_vm, 0);
	storm_set(harness_vm, rate);
}

static void test_ipis_arrive_in_a_storm(void **state __unused)
{
	static const struct {
		const char *processor;
		bool xapic, accelerated;
		u32 rate;
	} runs[] = {
	        {"barcelona", false, false, 1000}, {"genoa", false, true, 1000},
	        {"genoa", true, true, 500},        {"assist-genoa", false, true, 1000},
	        {"milan", true, true, 1000},       {"westmere", false, false, 1000},
	        {"broadwell", false, true, 1000},  {"broadwell", true, true, 500},
	};

	for (u32 i = 0; i < ARRAY_SIZE(runs); i++) {
		rate = runs[i].rate;
		harness_create(&(struct harness){.vcpus = 2,
		                                 .cpus = 3,
		                                 .processor = runs[i].processor,
		                                 .xapic = runs[i].xapic,
		                                 .device = begin});
		guest_bind(HARNESS_BSP, bsp, NULL);
		guest_bind(HARNESS_AP, ap, NULL);
		harness_run_to_end(ENDED_DEBUG_EXIT);
		assert_int_equal(atomic32_read(&harness_vm->exit_code), 1);
		assert_true(harness_counter(COUNTER_INHIBIT_STORMS) >= STORMS);
		if (runs[i].accelerated)
			assert_true(harness_counter(COUNTER_ACCEL_CHANGES) >= STORMS);
		else
			assert_int_equal(harness_counter(COUNTER_ACCEL_CHANGES), 0);
		assert_false(inhibit_stands(harness_vm, INHIBIT_STORM));
		assert_false(harness_vm->storm.stands);
		harness_destroy();
	}
}

/* --- as often as was asked for --- */

static void script_wait(void *arg __unused)
{
	u64 end = g_rdtsc() + HARNESS_TICKS_MS(100);

	while (g_rdtsc() < end)
		g_pause();
	g_exit(0);
}

static void test_storm_keeps_its_rate(void **state __unused)
{
	static const u32 rates[] = {0, 10, 100, 1000};

	for (u32 i = 0; i < ARRAY_SIZE(rates); i++) {
		u64 pairs;

		rate = rates[i];
		harness_create(&(struct harness){.cpus = 2, .device = begin});
		guest_bind(HARNESS_BSP, script_wait, NULL);
		harness_run_to_end(ENDED_DEBUG_EXIT);
		pairs = harness_counter(COUNTER_INHIBIT_STORMS);
		/* A tenth of a second by the model's clock; the end ends one that stands. */
		assert_in_range(pairs, rate / 10 - rate / 100, rate / 10 + rate / 100 + 1);
		harness_destroy();
	}
}

/* --- the library's defaults: ticks are reinjected, which is an inhibit --- */

static void test_default_reinjects(void **state __unused)
{
	struct vm_config config = VM_CONFIG_DEFAULT;
	struct vm *vm;

	harness_create(&(struct harness){.vcpus = 1});
	assert_false(inhibit_stands(harness_vm, INHIBIT_PIT_REINJ));
	config.vcpus = 1;
	config.memory = 16ull << 20;
	config.cpu = "barcelona";
	vm = vm_create(port_machine(), &config);
	assert_non_null(vm);
	assert_true(vm->pit.reinject);
	/* With acceleration that does without EOIs it is none (requirement S0.6). */
	assert_int_equal(inhibit_stands(vm, INHIBIT_PIT_REINJ),
	                 !!(port_machine()->backend->inhibits & INHIBIT_BIT(PIT_REINJ)));
	pit_set_reinject(vm, false);
	assert_false(inhibit_stands(vm, INHIBIT_PIT_REINJ));
	vm_destroy(vm);
	harness_destroy();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_ipis_arrive_in_a_storm),
	        cmocka_unit_test(test_storm_keeps_its_rate),
	        cmocka_unit_test(test_default_reinjects),
	};

	return cmocka_run_group_tests_name("storm", tests, NULL, NULL);
}
