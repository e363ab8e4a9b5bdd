/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Accounts of interrupts from a source that is neither timer nor UART: the PCI test device, by message
 * and by its pin, to scripted guests in xAPIC and in x2APIC mode. First by hand, each message of a
 * guest's own; then from another processor, at random.
 */
#include "msi_guest.h"

/* --- by hand: one vCPU, one device, interrupts off until all is sent --- */

#define VECTOR_A 0x51
#define VECTOR_B 0x61
#define WORD_A   0
#define WORD_B   1
#define NOBODY   9 /* APIC ID that is not there */

static void count_a(u8 vector __unused, u32 error __unused)
{
	msi_add(WORD_A);
	g_apic_eoi();
}

static void count_b(u8 vector __unused, u32 error __unused)
{
	msi_add(WORD_B);
	g_apic_eoi();
}

static void aim(u32 target, u32 vector)
{
	msi_config_put(0, MSIDEV_MSI + 4, 4, 0xfee00000u | target << 12);
	msi_config_put(0, MSIDEV_MSI + 12, 2, vector);
}

static void trigger(u32 count)
{
	g_mmio_write(msi_register(0, MSIDEV_TRIGGER), count);
}

static void mask(bool masked)
{
	msi_config_put(0, MSIDEV_MSI + 16, 4, masked);
}

static void begin(void)
{
	g_set_handler(VECTOR_A, count_a);
	g_set_handler(VECTOR_B, count_b);
	g_apic_enable();
	msi_config_put(0, 4, 2, 0x0006);
	msi_config_put(0, MSIDEV_MSI + 2, 2, 1);
	aim(0, VECTOR_A);
}

static void take_all(void)
{
	g_sti();
	g_nop();
	g_nop();
	g_nop();
	g_cli();
}

struct expected {
	u64 sent, injected, coalesced, pending;
};

/* Messages that the account does not find again: the architecture lost them. */
static void run_by_hand(guest_script script, struct expected expected, u64 lost)
{
	for (u32 xapic = 0; xapic < 2; xapic++) {
		struct msi_sum sum;

		msi_run = (struct msi_run){0};
		harness_create(&(struct harness){.xapic = xapic, .msidevs = 1});
		guest_bind(HARNESS_BSP, script, NULL);
		harness_run_to_end(ENDED_DEBUG_EXIT);
		assert_int_equal(atomic32_read(&harness_vm->exit_code), 1);
		sum = msi_account();
		assert_int_equal(sum.sent, expected.sent);
		assert_int_equal(sum.injected, expected.injected);
		assert_int_equal(sum.coalesced, expected.coalesced);
		assert_int_equal(sum.pending, expected.pending);
		assert_int_equal(sum.sent - sum.injected - sum.coalesced - sum.pending, lost);
		harness_destroy();
	}
}

static void script_each(void *arg __unused)
{
	begin();
	for (u32 i = 1; i <= 10; i++) {
		trigger(1);
		take_all();
		G_CHECK_EQUAL(g_shared(WORD_A), i);
	}
	g_exit(0);
}

static void test_msi_each_transition_is_delivered_once(void **state __unused)
{
	run_by_hand(script_each, (struct expected){10, 10, 0, 0}, 0);
}

static void script_coalesced(void *arg __unused)
{
	begin();
	trigger(5);
	aim(0, VECTOR_B);
	trigger(3);
	take_all();
	G_CHECK_EQUAL(g_shared(WORD_A), 1);
	G_CHECK_EQUAL(g_shared(WORD_B), 1);
	g_exit(0);
}

static void test_msi_coalescing_is_legal_and_counted(void **state __unused)
{
	run_by_hand(script_coalesced, (struct expected){8, 2, 6, 0}, 0);
}

static void script_pending(void *arg __unused)
{
	begin();
	trigger(2);
	aim(0, VECTOR_B);
	trigger(1);
	g_exit(0);
}

static void test_msi_what_is_pending_is_counted(void **state __unused)
{
	run_by_hand(script_pending, (struct expected){3, 0, 1, 2}, 0);
}

static void script_held(void *arg __unused)
{
	begin();
	mask(true);
	trigger(4);
	take_all();
	G_CHECK_EQUAL(g_shared(WORD_A), 0);
	G_CHECK_EQUAL(msi_config_get(0, MSIDEV_MSI + 20), 1);
	aim(0, VECTOR_B);
	mask(false);
	take_all();
	G_CHECK_EQUAL(g_shared(WORD_A), 0);
	G_CHECK_EQUAL(g_shared(WORD_B), 1);
	g_exit(0);
}

static void test_msi_held_goes_once_when_unmasked(void **state __unused)
{
	run_by_hand(script_held, (struct expected){1, 1, 0, 0}, 0);
}

/* A source behind the one in service: a second request of the vector is a transition of its own. */
static void on_first(u8 vector, u32 error)
{
	if (!g_shared(WORD_A))
		trigger(3);
	count_a(vector, error);
}

static void script_in_service(void *arg __unused)
{
	begin();
	g_set_handler(VECTOR_A, on_first);
	trigger(1);
	take_all();
	G_CHECK_EQUAL(g_shared(WORD_A), 2);
	g_exit(0);
}

static void test_msi_request_behind_its_own_service(void **state __unused)
{
	run_by_hand(script_in_service, (struct expected){4, 2, 2, 0}, 0);
}

/* The account notices what is lost: to nobody, to no local APIC's address, to one that is disabled. */
static void script_lost(void *arg __unused)
{
	begin();
	aim(NOBODY, VECTOR_A);
	trigger(2);
	aim(0, VECTOR_A);
	msi_config_put(0, MSIDEV_MSI + 4, 4, 0xfed00000u);
	trigger(3);
	aim(0, VECTOR_A);
	msi_config_put(0, MSIDEV_MSI + 8, 4, 1); /* above 4 GiB */
	trigger(4);
	msi_config_put(0, MSIDEV_MSI + 8, 4, 0);
	g_apic_write(APIC_SVR, 0xff);
	trigger(5);
	g_apic_write(APIC_SVR, APIC_SVR_ENABLE | 0xff);
	aim(0, 3); /* a reserved vector */
	trigger(6);
	aim(0, VECTOR_A);
	trigger(1);
	take_all();
	G_CHECK_EQUAL(g_shared(WORD_A), 1);
	g_exit(0);
}

static void test_msi_account_notices_a_loss(void **state __unused)
{
	run_by_hand(script_lost, (struct expected){21, 1, 0, 0}, 20);
}

/* --- by hand: the pin by the 8259 pair, whose input is level-triggered (ELCR) --- */

#define PIC_BASE    0x30
#define PIC_VECTOR  (PIC_BASE + LAYOUT_PCI_IRQ)
#define PIN_ROUNDS  20
#define WORD_STRAYS 2

/* Serves the device every second time; the level has to come again after the EOI in between. */
static void on_pic(u8 vector __unused, u32 error __unused)
{
	msi_add(WORD_A);
	if (!(g_mmio_read(msi_register(0, MSIDEV_STATUS)) & MSIDEV_STATUS_INTERRUPT))
		msi_add(WORD_STRAYS);
	else if (g_shared(WORD_A) % 2 == 0)
		g_mmio_write(msi_register(0, MSIDEV_STATUS), MSIDEV_STATUS_INTERRUPT);
	g_out(0xa0, 0x20, 1);
	g_out(0x20, 0x20, 1);
}

static void init_pics(void)
{
	static const u8 first[] = {PIC_BASE, 0x04, 0x01, 0xfb};
	static const u8 second[] = {PIC_BASE + 8, 0x02, 0x01, (u8)~BIT(LAYOUT_PCI_IRQ - 8)};

	g_out(0x20, 0x11, 1);
	g_out(0xa0, 0x11, 1);
	for (u32 i = 0; i < ARRAY_SIZE(first); i++) {
		g_out(0x21, first[i], 1);
		g_out(0xa1, second[i], 1);
	}
}

static void script_pic(void *arg __unused)
{
	g_set_handler(PIC_VECTOR, on_pic);
	g_apic_enable();
	g_apic_write(APIC_LVT0, APIC_DM_EXTINT);
	init_pics();
	G_CHECK_EQUAL(g_in(0x4d1, 1), 0x0c); /* IRQ 10 and 11 */
	for (u32 i = 1; i <= PIN_ROUNDS; i++) {
		trigger(1 + i % 3);
		g_sti();
		while (g_shared(WORD_A) < 2 * i)
			g_nop();
		for (u32 j = 0; j < 10; j++)
			g_nop();
		g_cli();
	}
	g_exit(0);
}

static void test_msi_pin_by_the_8259s(void **state __unused)
{
	for (u32 i = 0; i < 4; i++) {
		struct platform *platform;

		harness_create(&(struct harness){.xapic = i & 1, .split = i & 2, .msidevs = 1});
		guest_bind(HARNESS_BSP, script_pic, NULL);
		harness_run_to_end(ENDED_DEBUG_EXIT);
		assert_int_equal(atomic32_read(&harness_vm->exit_code), 1);
		platform = harness_vm->platform;
		assert_int_equal(platform->msidev[0].asserted, PIN_ROUNDS);
		assert_int_equal(harness_counter(COUNTER_INJ_EXTINT), 2 * PIN_ROUNDS);
		assert_int_equal(*msi_word(WORD_A), 2 * PIN_ROUNDS);
		assert_int_equal(*msi_word(WORD_STRAYS), 0);
		harness_destroy();
	}
}

/* --- from another processor --- */

static u32 seeds(void)
{
	return harness_full() ? 40 : 6;
}

static u32 switch_ppm(u32 seed)
{
	return 1000u << seed % 9;
}

static void run_messages(u32 vcpus, u32 cpus, bool moves)
{
	struct msi_sum total = {0};
	u64 wakeups = 0, migrations = 0;

	for (u32 seed = 0; seed < seeds(); seed++) {
		struct harness config = {.vcpus = vcpus,
		                         .cpus = cpus,
		                         .seed = seed,
		                         .switch_ppm = switch_ppm(seed),
		                         .max_steps = 50000000,
		                         .xapic = seed & 1};
		struct msi_run run = {
		        .rounds = 400, .seed = seed, .moves = moves, .device = {0, 1}};
		struct msi_sum sum = msi_execute(config, &run);

		msi_check_messages(&sum);
		assert_true(sum.sent > run.rounds / 2);
		total.sent += sum.sent;
		total.held += sum.held;
		total.injected += sum.injected;
		total.coalesced += sum.coalesced;
		wakeups += harness_counter(COUNTER_WAKEUPS);
		migrations += harness_counter(COUNTER_MIGRATIONS);
		harness_destroy();
	}
	printf("# %u vCPUs on %u processors: %llu messages (%llu events held), %llu injected, "
	       "%llu coalesced; %llu wake-ups, %llu migrations\n",
	       vcpus, cpus, (unsigned long long)total.sent, (unsigned long long)total.held,
	       (unsigned long long)total.injected, (unsigned long long)total.coalesced,
	       (unsigned long long)wakeups, (unsigned long long)migrations);
	assert_true(total.coalesced > 0);
	assert_true(total.held > 0 || !moves);
	assert_true(wakeups > 0);
	assert_true(migrations > 0 || cpus == 1 || vcpus <= cpus);
}

static void test_msi_account_one_processor(void **state __unused)
{
	run_messages(4, 1, true);
}

static void test_msi_account_several_processors(void **state __unused)
{
	run_messages(3, 3, true);
	run_messages(5, 2, true);
}

static void test_msi_account_fixed_destination(void **state __unused)
{
	run_messages(2, 2, false);
}

static void run_pin(u32 vcpus, u32 cpus, struct msi_run run)
{
	struct msi_sum total = {0};

	for (u32 seed = 0; seed < seeds(); seed++) {
		struct harness config = {.vcpus = vcpus,
		                         .cpus = cpus,
		                         .seed = seed,
		                         .switch_ppm = switch_ppm(seed),
		                         .max_steps = 50000000,
		                         .xapic = seed & 1};
		struct msi_sum sum;

		run.seed = seed;
		sum = msi_execute(config, &run);
		msi_check_pin(&sum);
		assert_true(sum.asserted > 1);
		if (run.lazy && !run.moves)
			assert_int_equal(sum.handled, 2 * sum.asserted);
		total.asserted += sum.asserted;
		total.acked += sum.acked;
		total.injected += sum.injected;
		harness_destroy();
	}
	printf("# pin, %u vCPUs on %u processors: %llu assertions, %llu acknowledged, %llu "
	       "injected\n",
	       vcpus, cpus, (unsigned long long)total.asserted, (unsigned long long)total.acked,
	       (unsigned long long)total.injected);
	assert_true(total.asserted > 5 * seeds());
}

static void test_msi_pin_every_assertion_is_served(void **state __unused)
{
	run_pin(2, 1, (struct msi_run){.rounds = 600, .pin = true, .device = {1, 1}});
	run_pin(4, 2,
	        (struct msi_run){.rounds = 200, .pin = true, .moves = true, .device = {0, 0}});
}

static void test_msi_pin_is_shared(void **state __unused)
{
	run_pin(3, 2,
	        (struct msi_run){.rounds = 200, .pin = true, .moves = true, .device = {0, 2}});
}

/* EOI without service: the line is still high, and is delivered again until it is served. */
static void test_msi_pin_is_delivered_until_served(void **state __unused)
{
	run_pin(3, 2, (struct msi_run){.rounds = 200, .pin = true, .lazy = true, .device = {0, 0}});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_msi_each_transition_is_delivered_once),
	        cmocka_unit_test(test_msi_coalescing_is_legal_and_counted),
	        cmocka_unit_test(test_msi_what_is_pending_is_counted),
	        cmocka_unit_test(test_msi_held_goes_once_when_unmasked),
	        cmocka_unit_test(test_msi_request_behind_its_own_service),
	        cmocka_unit_test(test_msi_account_notices_a_loss),
	        cmocka_unit_test(test_msi_pin_by_the_8259s),
	        cmocka_unit_test(test_msi_account_one_processor),
	        cmocka_unit_test(test_msi_account_several_processors),
	        cmocka_unit_test(test_msi_account_fixed_destination),
	        cmocka_unit_test(test_msi_pin_every_assertion_is_served),
	        cmocka_unit_test(test_msi_pin_is_shared),
	        cmocka_unit_test(test_msi_pin_is_delivered_until_served),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
