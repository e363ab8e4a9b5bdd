/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The hypervisor with a thread for each physical processor, under ThreadSanitizer: more virtual
 * processors than physical ones, IPIs in all directions, HLT, timers, bounded. Real time, real
 * interleavings; what ThreadSanitizer has to say ends the program.
 */
#include "msi_guest.h"

#include "platform/longmode.h"
#include "platform/platform.h"

#define VECTOR_IPI   0x41
#define VECTOR_TIMER 0x51
#define WORD_UP      0x00
#define WORD_MAIL    0x40
#define WORD_DONE    0x80

static u64 rounds = 300;
static bool with_timers; /* they would also repair a lost wake-up: not in every test */

static u32 apic_id(void)
{
	struct cpuid_regs r;

	g_cpuid(1, 0, &r);
	return r.ebx >> 24;
}

static void doorbell(u8 vector __unused, u32 error __unused)
{
	g_apic_eoi();
}

static void tick(u8 vector __unused, u32 error __unused)
{
	g_apic_eoi();
	g_wrmsr(MSR_TSC_DEADLINE, g_rdtsc() + HARNESS_TICKS_MS(1));
}

/*
 * Everybody writes a number for the next one, rings, and sleeps until the one before has written
 * its own. Two rings may become one, the number is what counts; a lost one stops everything.
 */
static void ring(u32 id)
{
	u32 next = (id + 1) % harness.vcpus;

	if (with_timers) {
		g_apic_write(APIC_LVTT, VECTOR_TIMER | APIC_LVTT_DEADLINE);
		g_wrmsr(MSR_TSC_DEADLINE, g_rdtsc() + HARNESS_TICKS_MS(1));
	}
	for (u64 round = 1; round <= rounds; round++) {
		g_set_shared(WORD_MAIL + next, round);
		g_apic_icr(next, VECTOR_IPI | APIC_LEVEL_ASSERT);
		while (g_shared(WORD_MAIL + id) < round) {
			g_sti();
			g_hlt();
			g_cli();
		}
	}
	g_set_shared(WORD_DONE + id, 1);
}

static void ap(void *arg __unused)
{
	u32 id = apic_id();

	g_apic_enable();
	g_set_shared(WORD_UP + id, 1);
	g_await(WORD_UP, 1);
	ring(id);
	for (;;) {
		g_sti();
		g_hlt();
		g_cli();
	}
}

static void bsp(void *arg __unused)
{
	g_set_handler(VECTOR_IPI, doorbell);
	g_set_handler(VECTOR_TIMER, tick);
	g_apic_enable();
	g_start_aps();
	for (u32 id = 1; id < harness.vcpus; id++)
		g_await(WORD_UP + id, 1);
	g_set_shared(WORD_UP, 1);
	ring(0);
	for (u32 id = 1; id < harness.vcpus; id++)
		g_await(WORD_DONE + id, 1);
	g_exit(0);
}

static void run_ring(u32 vcpus, u32 cpus, bool xapic, bool timers)
{
	with_timers = timers;
	harness_create(
	        &(struct harness){.vcpus = vcpus, .cpus = cpus, .xapic = xapic, .threads = true});
	guest_bind(HARNESS_BSP, bsp, NULL);
	guest_bind(HARNESS_AP, ap, NULL);
	harness_run_to_end(ENDED_DEBUG_EXIT);
	assert_int_equal(atomic32_read(&harness_vm->exit_code), 1);
	printf("# %u vCPUs on %u threads: %llu IPIs, %llu kicks, %llu migrations, %llu wake-ups\n",
	       vcpus, cpus, (unsigned long long)harness_counter(COUNTER_IPI_SENT_UNICAST),
	       (unsigned long long)harness_counter(COUNTER_KICKS),
	       (unsigned long long)harness_counter(COUNTER_MIGRATIONS),
	       (unsigned long long)harness_counter(COUNTER_WAKEUPS));
	harness_destroy();
}

static void test_threads_one_each(void **state __unused)
{
	run_ring(2, 2, false, false);
}

static void test_threads_shared(void **state __unused)
{
	run_ring(4, 2, false, false);
}

static void test_threads_shared_xapic(void **state __unused)
{
	run_ring(4, 3, true, false);
}

static void test_threads_with_timers(void **state __unused)
{
	run_ring(4, 2, false, true);
}

/* A device on a thread of its own, against vCPUs that run, sleep and move. */
static void run_device(struct harness config, struct msi_run run)
{
	struct msi_sum sum;

	config.threads = true;
	run.rounds = (u32)rounds * 4;
	sum = msi_execute(config, &run);
	if (run.pin)
		msi_check_pin(&sum);
	else
		msi_check_messages(&sum);
	printf("# %u vCPUs on %u threads and a device: %llu messages, %llu assertions, %llu "
	       "injected, %llu coalesced, %llu wake-ups, %llu migrations\n",
	       config.vcpus, config.cpus, (unsigned long long)sum.sent,
	       (unsigned long long)sum.asserted, (unsigned long long)sum.injected,
	       (unsigned long long)sum.coalesced,
	       (unsigned long long)harness_counter(COUNTER_WAKEUPS),
	       (unsigned long long)harness_counter(COUNTER_MIGRATIONS));
	harness_destroy();
}

static void test_threads_device_messages(void **state __unused)
{
	run_device((struct harness){.vcpus = 3, .cpus = 3},
	           (struct msi_run){.seed = 1, .moves = true, .device = {0, 1}});
	run_device((struct harness){.vcpus = 5, .cpus = 2, .xapic = true},
	           (struct msi_run){.seed = 2, .moves = true, .device = {0, 1}});
}

static void test_threads_device_pin(void **state __unused)
{
	run_device((struct harness){.vcpus = 2, .cpus = 2},
	           (struct msi_run){.seed = 3, .pin = true, .lazy = true, .device = {1, 1}});
	run_device((struct harness){.vcpus = 4, .cpus = 2, .xapic = true},
	           (struct msi_run){.seed = 4, .pin = true, .moves = true, .device = {0, 2}});
}

/* Two VMs with more virtual processors than there are threads: each vCPU goes to either. */
static void test_threads_two_vms(void **state __unused)
{
	struct vm_config config = {.vcpus = 3,
	                           .memory = 16ull << 20,
	                           .cpu = "barcelona",
	                           .x2apic = true,
	                           .accel_modes = ~0u};
	struct vm *other;

	with_timers = false;
	harness_create(&(struct harness){.vcpus = 3, .cpus = 2, .threads = true});
	other = vm_create(port_machine(), &config);
	assert_non_null(other);
	assert_true(platform_create(other));
	assert_true(longmode_start(other, HARNESS_BSP));
	guest_bind(HARNESS_BSP, bsp, NULL);
	guest_bind(HARNESS_AP, ap, NULL);
	vm_start(other);
	harness_run_to_end(ENDED_DEBUG_EXIT);
	assert_int_equal(atomic32_read(&harness_vm->exit_code), 1);
	assert_int_equal(atomic32_read(&other->ended), ENDED_DEBUG_EXIT);
	assert_int_equal(atomic32_read(&other->exit_code), 1);
	assert_int_equal(atomic32_read(&other->live_vcpus), 0);
	platform_destroy(other);
	vm_destroy(other);
	harness_destroy();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_threads_one_each),
	        cmocka_unit_test(test_threads_shared),
	        cmocka_unit_test(test_threads_shared_xapic),
	        cmocka_unit_test(test_threads_with_timers),
	        cmocka_unit_test(test_threads_device_messages),
	        cmocka_unit_test(test_threads_device_pin),
	        cmocka_unit_test(test_threads_two_vms),
	};

	if (harness_full())
		rounds *= 20;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
