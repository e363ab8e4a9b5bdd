/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Interrupts of scripted guests through the real local APIC, injection and scheduler: every test in
 * xAPIC and in x2APIC mode.
 */
#include "tests/model/harness.h"

#define VECTOR_A 0x41
#define VECTOR_B 0x51
#define VECTOR_C 0x61

/* One run, with `ap` on all virtual processors but the first. */
static void run_one(const struct harness *config, guest_script script, guest_script ap,
                    void (*check)(void))
{
	harness_create(config);
	guest_bind(HARNESS_BSP, script, NULL);
	if (ap)
		guest_bind(HARNESS_AP, ap, NULL);
	if (!check) {
		harness_run();
		return;
	}
	harness_run_to_end(ENDED_DEBUG_EXIT);
	check();
	harness_destroy();
}

/* In both modes, on one and on two processors, in several orders. */
static void both_modes(struct harness config, guest_script script, guest_script ap,
                       void (*check)(void))
{
	u32 seeds = harness_full() ? 40 : 4;

	for (u32 i = 0; i < 4 * seeds; i++) {
		struct harness h = config;

		h.xapic = i & 1;
		h.cpus = 1 + (i >> 1 & 1);
		h.seed = i;
		/* From rarely to at every second step. */
		h.switch_ppm = h.cpus == 2 ? 1000u << (i >> 2) % 10 : 0;
		run_one(&h, script, ap, check);
	}
}

/* Handlers count in guest memory, by vector. */
static void count_and_eoi(u8 vector, u32 error __unused)
{
	g_set_shared(vector, g_shared(vector) + 1);
	g_apic_eoi();
}

/* --- timer --- */

static void script_oneshot(void *arg __unused)
{
	u64 start, waited;

	g_set_handler(VECTOR_A, count_and_eoi);
	g_apic_enable();
	g_apic_write(APIC_LVTT, VECTOR_A | APIC_LVTT_ONESHOT);
	g_apic_write(APIC_TDCR, 0xb); /* divide by 1 */
	start = g_rdtsc();
	g_apic_write(APIC_TMICT, 1000000);
	G_CHECK(g_apic_read(APIC_TMCCT) > 0);
	g_sti();
	g_hlt();
	waited = g_rdtsc() - start;
	G_CHECK_EQUAL(g_shared(VECTOR_A), 1);
	G_CHECK(waited >= 1000000);
	G_CHECK_EQUAL(g_apic_read(APIC_TMCCT), 0);
	g_exit(0);
}

static void check_hlt_accounted(void)
{
	assert_int_equal(harness_counter(COUNTER_TIMER_TICKS), 1);
	assert_int_equal(harness_both(COUNTER_INJ_TIMER, COUNTER_HW_DELIVERED), 1);
	assert_true(harness_counter(COUNTER_WAKEUPS) >= 1);
	assert_true(harness_counter(COUNTER_HLT_NS) > 0);
}

static void test_timer_oneshot_wakes_hlt(void **state __unused)
{
	both_modes((struct harness){0}, script_oneshot, NULL, check_hlt_accounted);
}

static void script_periodic(void *arg __unused)
{
	g_set_handler(VECTOR_A, count_and_eoi);
	g_apic_enable();
	g_apic_write(APIC_TDCR, 0xb);
	g_apic_write(APIC_LVTT, VECTOR_A | APIC_LVTT_PERIODIC);
	g_apic_write(APIC_TMICT, 500000);
	g_sti();
	while (g_shared(VECTOR_A) < 5)
		g_hlt();
	g_apic_write(APIC_TMICT, 0);
	g_exit(0);
}

static void test_timer_periodic(void **state __unused)
{
	both_modes((struct harness){0}, script_periodic, NULL, NULL);
}

static void script_deadline(void *arg __unused)
{
	u64 deadline;

	g_set_handler(VECTOR_A, count_and_eoi);
	g_apic_enable();
	g_apic_write(APIC_LVTT, VECTOR_A | APIC_LVTT_DEADLINE);
	deadline = g_rdtsc() + HARNESS_TICKS_MS(3);
	g_wrmsr(MSR_TSC_DEADLINE, deadline);
	G_CHECK_EQUAL(g_rdmsr(MSR_TSC_DEADLINE), deadline);
	g_sti();
	g_hlt();
	G_CHECK(g_rdtsc() >= deadline);
	G_CHECK_EQUAL(g_shared(VECTOR_A), 1);
	G_CHECK_EQUAL(g_rdmsr(MSR_TSC_DEADLINE), 0);
	/* In the past: at once. */
	g_cli();
	g_wrmsr(MSR_TSC_DEADLINE, 1);
	g_sti();
	g_hlt();
	G_CHECK_EQUAL(g_shared(VECTOR_A), 2);
	g_exit(0);
}

static void test_timer_tsc_deadline(void **state __unused)
{
	both_modes((struct harness){0}, script_deadline, NULL, NULL);
}

/* A guest that never exits by itself still gets its timer interrupt, in time. */
static void script_busy(void *arg __unused)
{
	u64 deadline;

	g_set_handler(VECTOR_A, count_and_eoi);
	g_apic_enable();
	g_apic_write(APIC_LVTT, VECTOR_A | APIC_LVTT_DEADLINE);
	g_sti();
	for (u64 i = 1; i <= 50; i++) {
		deadline = g_rdtsc() + 20000 + i * 997;
		g_wrmsr(MSR_TSC_DEADLINE, deadline);
		while (g_shared(VECTOR_A) < i) {
			g_nop();
			G_CHECK(g_rdtsc() < deadline + HARNESS_TICKS_MS(1));
		}
	}
	g_exit(0);
}

static void test_timer_reaches_a_busy_guest(void **state __unused)
{
	both_modes((struct harness){0}, script_busy, NULL, NULL);
}

/* Deadlines that come while the hypervisor is on its way back into the guest. */
static void script_short(void *arg __unused)
{
	u64 deadline;

	g_set_handler(VECTOR_A, count_and_eoi);
	g_apic_enable();
	g_apic_write(APIC_LVTT, VECTOR_A | APIC_LVTT_DEADLINE);
	g_sti();
	for (u64 i = 1; i <= 400; i++) {
		deadline = g_rdtsc() + i * 7;
		g_wrmsr(MSR_TSC_DEADLINE, deadline);
		while (g_shared(VECTOR_A) < i)
			G_CHECK(g_rdtsc() < deadline + HARNESS_TICKS_MS(1));
	}
	g_exit(0);
}

static void test_timer_short_deadlines_are_not_lost(void **state __unused)
{
	both_modes((struct harness){0}, script_short, NULL, NULL);
}

/* --- IPIs --- */

static void script_self_ipi(void *arg __unused)
{
	g_set_handler(VECTOR_A, count_and_eoi);
	g_apic_enable();
	g_sti();
	g_nop();
	g_apic_icr(0, VECTOR_A | APIC_DEST_SELF | APIC_LEVEL_ASSERT);
	g_nop();
	G_CHECK_EQUAL(g_shared(VECTOR_A), 1);
	if (!harness.xapic) {
		g_wrmsr(MSR_X2APIC_FIRST + APIC_SELF / 16, VECTOR_A);
		g_nop();
		G_CHECK_EQUAL(g_shared(VECTOR_A), 2);
	}
	g_exit(0);
}

static void check_self_ipi(void)
{
	u64 expected = harness.xapic ? 1 : 2;

	assert_int_equal(harness_both(COUNTER_IPI_SENT_SELF, COUNTER_HW_IPI_SELF), expected);
	assert_int_equal(harness_both(COUNTER_IPI_RECEIVED, COUNTER_HW_DELIVERED), expected);
	assert_int_equal(harness_both(COUNTER_EOI, COUNTER_HW_EOI), expected);
}

static void test_ipi_self(void **state __unused)
{
	both_modes((struct harness){0}, script_self_ipi, NULL, check_self_ipi);
}

/* Shared words: 0 processors that are up, 1 how many are done, 0x100 + n interrupts seen by n. */
#define WORD_UP    0
#define WORD_SEEN  0x100
#define IPI_ROUNDS 20

static u32 apic_id(void)
{
	struct cpuid_regs r;

	g_cpuid(1, 0, &r);
	return r.ebx >> 24;
}

static void seen(u8 vector __unused, u32 error __unused)
{
	u32 id = apic_id();

	g_set_shared(WORD_SEEN + id, g_shared(WORD_SEEN + id) + 1);
	g_apic_eoi();
}

/* Bring-up one after another would need INIT/SIPI by ID; here all set a flag of their own. */
static void ap_halts(void *arg __unused)
{
	g_apic_enable();
	g_set_shared(WORD_UP + apic_id(), 1);
	for (;;) {
		g_sti();
		g_hlt();
		g_cli();
	}
}

static void script_ipis(void *arg __unused)
{
	g_set_handler(VECTOR_A, seen);
	g_apic_enable();
	g_start_aps();
	for (u32 id = 1; id < harness.vcpus; id++)
		g_await(WORD_UP + id, 1);
	/* One by one: each waits for HLT or catches the target on its way there. */
	for (u64 round = 1; round <= IPI_ROUNDS; round++) {
		for (u32 id = 1; id < harness.vcpus; id++)
			g_apic_icr(id, VECTOR_A | APIC_LEVEL_ASSERT);
		for (u32 id = 1; id < harness.vcpus; id++)
			g_await(WORD_SEEN + id, round);
	}
	/* To all at once */
	g_apic_icr(0, VECTOR_A | APIC_LEVEL_ASSERT | APIC_DEST_OTHERS);
	for (u32 id = 1; id < harness.vcpus; id++)
		g_await(WORD_SEEN + id, IPI_ROUNDS + 1);
	G_CHECK_EQUAL(g_shared(WORD_SEEN), 0);
	g_exit(0);
}

static void test_ipi_wakes_others(void **state __unused)
{
	for (u32 vcpus = 2; vcpus <= 4; vcpus++)
		both_modes((struct harness){.vcpus = vcpus}, script_ipis, ap_halts, NULL);
}

/* Two processors hand one token to and fro; each sleeps in between. */
static void pass_on(u8 vector __unused, u32 error __unused)
{
	u32 id = apic_id();

	g_set_shared(WORD_SEEN + id, g_shared(WORD_SEEN + id) + 1);
	g_apic_eoi();
	if (g_shared(WORD_SEEN + id) <= IPI_ROUNDS)
		g_apic_icr(!id, VECTOR_B | APIC_LEVEL_ASSERT);
}

static void script_ping(void *arg __unused)
{
	g_set_handler(VECTOR_B, pass_on);
	g_apic_enable();
	g_start_aps();
	g_await(WORD_UP + 1, 1);
	g_apic_icr(1, VECTOR_B | APIC_LEVEL_ASSERT);
	while (g_shared(WORD_SEEN) < IPI_ROUNDS) {
		g_sti();
		g_hlt();
		g_cli();
	}
	g_exit(0);
}

static void test_ipi_ping_pong_in_hlt(void **state __unused)
{
	both_modes((struct harness){.vcpus = 2}, script_ping, ap_halts, NULL);
}

/* --- INIT and start-up --- */

static void ap_counts(void *arg __unused)
{
	g_apic_enable();
	g_set_shared(WORD_UP + 1, g_shared(WORD_UP + 1) + 1);
	for (;;)
		g_pause();
}

static void script_init_again(void *arg __unused)
{
	g_apic_enable();
	/* A start-up IPI without INIT is ignored while running; the second after INIT, too. */
	g_start_aps();
	g_await(WORD_UP + 1, 1);
	g_apic_icr(1, APIC_DM_SIPI | APIC_LEVEL_ASSERT | HARNESS_SIPI);
	for (u32 i = 0; i < 20; i++)
		g_pause();
	G_CHECK_EQUAL(g_shared(WORD_UP + 1), 1);
	/* INIT stops it wherever it is; only then a start-up IPI starts it anew. */
	g_apic_icr(1, APIC_DM_INIT | APIC_LEVEL_ASSERT);
	for (u32 i = 0; i < 20; i++)
		g_pause();
	G_CHECK_EQUAL(g_shared(WORD_UP + 1), 1);
	g_apic_icr(1, APIC_DM_SIPI | APIC_LEVEL_ASSERT | HARNESS_SIPI);
	g_await(WORD_UP + 1, 2);
	g_exit(0);
}

static void test_init_and_startup(void **state __unused)
{
	both_modes((struct harness){.vcpus = 2}, script_init_again, ap_counts, NULL);
}

/* --- windows and priorities --- */

static void script_window(void *arg __unused)
{
	g_set_handler(VECTOR_A, count_and_eoi);
	g_apic_enable();
	g_apic_icr(0, VECTOR_A | APIC_DEST_SELF | APIC_LEVEL_ASSERT);
	for (u32 i = 0; i < 10; i++) {
		g_nop();
		G_CHECK_EQUAL(g_shared(VECTOR_A), 0);
	}
	g_sti();
	/* The instruction behind STI is in its shadow: this read comes before the handler. */
	G_CHECK_EQUAL(g_shared(VECTOR_A), 0);
	G_CHECK_EQUAL(g_shared(VECTOR_A), 1);
	/* STI; CLI opens nothing. */
	g_cli();
	g_apic_icr(0, VECTOR_A | APIC_DEST_SELF | APIC_LEVEL_ASSERT);
	g_sti();
	g_cli();
	for (u32 i = 0; i < 10; i++)
		g_nop();
	G_CHECK_EQUAL(g_shared(VECTOR_A), 1);
	g_sti();
	g_nop();
	g_nop();
	G_CHECK_EQUAL(g_shared(VECTOR_A), 2);
	/* An exit within the shadow does not end it: a physical interrupt right behind STI. */
	g_cli();
	g_apic_icr(0, VECTOR_A | APIC_DEST_SELF | APIC_LEVEL_ASSERT);
	g_nop();
	for (u32 i = 0; i < model()->cpu_count; i++)
		model_apic_raise(&model()->cpu[i], CPU_VECTOR_KICK);
	g_sti();
	G_CHECK_EQUAL(g_shared(VECTOR_A), 2);
	G_CHECK_EQUAL(g_shared(VECTOR_A), 3);
	/* The same with HLT there, which sleeps for ever if the handler has run before it. */
	g_cli();
	g_apic_icr(0, VECTOR_A | APIC_DEST_SELF | APIC_LEVEL_ASSERT);
	g_nop();
	for (u32 i = 0; i < model()->cpu_count; i++)
		model_apic_raise(&model()->cpu[i], CPU_VECTOR_KICK);
	g_sti();
	g_hlt();
	G_CHECK_EQUAL(g_shared(VECTOR_A), 4);
	g_exit(0);
}

static void check_window(void)
{
	assert_true(harness_counter(COUNTER_WINDOWS) >= 2);
	assert_true(harness_exits(EXIT_INTR_WINDOW) >= 2);
}

static void test_window_opens_exactly_with_sti(void **state __unused)
{
	both_modes((struct harness){.no_accel = true}, script_window, NULL, check_window);
	both_modes((struct harness){0}, script_window, NULL, NULL);
}

static void test_window_where_vmrun_forgets_the_shadow(void **state __unused)
{
	/* No processor with AVIC does. */
	both_modes((struct harness){.features = MODEL_FORGETS_SHADOW, .no_accel = true},
	           script_window, NULL, check_window);
	both_modes(
	        (struct harness){.features = MODEL_FORGETS_SHADOW | MODEL_NRIPS, .no_accel = true},
	        script_window, NULL, check_window);
}

static void script_tpr(void *arg __unused)
{
	g_set_handler(VECTOR_A, count_and_eoi); /* class 4 */
	g_set_handler(VECTOR_B, count_and_eoi); /* class 5 */
	g_apic_enable();
	g_sti();
	g_write_cr8(4);
	G_CHECK_EQUAL(g_read_cr8(), 4);
	G_CHECK_EQUAL(g_apic_read(APIC_TPR), 0x40);
	g_apic_icr(0, VECTOR_A | APIC_DEST_SELF | APIC_LEVEL_ASSERT);
	g_apic_icr(0, VECTOR_B | APIC_DEST_SELF | APIC_LEVEL_ASSERT);
	g_nop();
	G_CHECK_EQUAL(g_shared(VECTOR_A), 0); /* not above the TPR's class */
	G_CHECK_EQUAL(g_shared(VECTOR_B), 1);
	g_write_cr8(3);
	g_nop();
	G_CHECK_EQUAL(g_shared(VECTOR_A), 1);
	/* The same by the register. */
	g_apic_write(APIC_TPR, 0x50);
	G_CHECK_EQUAL(g_read_cr8(), 5);
	g_apic_icr(0, VECTOR_B | APIC_DEST_SELF | APIC_LEVEL_ASSERT);
	g_nop();
	G_CHECK_EQUAL(g_shared(VECTOR_B), 1);
	g_apic_write(APIC_TPR, 0);
	g_nop();
	G_CHECK_EQUAL(g_shared(VECTOR_B), 2);
	g_exit(0);
}

static void test_tpr_masks_by_class(void **state __unused)
{
	both_modes((struct harness){0}, script_tpr, NULL, NULL);
}

/* Handlers note their order; the one of class 4 is interrupted by class 6, not by its own class. */
static void note(u8 vector, u32 error __unused)
{
	u64 n = g_shared(0);

	g_set_shared(1 + (u32)n, vector);
	g_set_shared(0, n + 1);
	if (vector == VECTOR_A) {
		g_apic_icr(0, VECTOR_C | APIC_DEST_SELF | APIC_LEVEL_ASSERT);
		g_apic_icr(0, (VECTOR_A + 1) | APIC_DEST_SELF | APIC_LEVEL_ASSERT);
		g_sti();
		g_nop();
		g_nop();
		g_cli();
		G_CHECK_EQUAL(g_shared(0), n + 2);
	}
	g_apic_eoi();
}

static void script_nesting(void *arg __unused)
{
	g_set_handler(VECTOR_A, note);
	g_set_handler(VECTOR_A + 1, note);
	g_set_handler(VECTOR_C, note);
	g_apic_enable();
	g_sti();
	g_nop();
	g_apic_icr(0, VECTOR_A | APIC_DEST_SELF | APIC_LEVEL_ASSERT);
	g_nop();
	g_nop();
	G_CHECK_EQUAL(g_shared(0), 3);
	G_CHECK_EQUAL(g_shared(1), VECTOR_A);
	G_CHECK_EQUAL(g_shared(2), VECTOR_C);
	G_CHECK_EQUAL(g_shared(3), VECTOR_A + 1);
	g_exit(0);
}

static void test_intr_nesting_by_class(void **state __unused)
{
	both_modes((struct harness){0}, script_nesting, NULL, NULL);
}

/* --- ExtINT --- */

#define PIC_VECTOR 0x30
#define PIT_IRQ    0

static void pic_tick(u8 vector, u32 error __unused)
{
	g_set_shared(vector, g_shared(vector) + 1);
	g_out(0x20, 0x20, 1); /* EOI */
}

static void script_extint(void *arg __unused)
{
	g_set_handler(PIC_VECTOR + PIT_IRQ, pic_tick);
	g_apic_enable();
	g_apic_write(APIC_LVT0, APIC_DM_EXTINT);
	g_out(0x20, 0x11, 1);
	g_out(0x21, PIC_VECTOR, 1);
	g_out(0x21, 0x04, 1);
	g_out(0x21, 0x01, 1);
	g_out(0x21, 0xfe, 1); /* only IRQ 0 */
	g_out(0x43, 0x34, 1); /* channel 0, rate generator */
	g_out(0x40, 0x9c, 1); /* 1180 / 1193182 s */
	g_out(0x40, 0x04, 1);
	while (g_shared(PIC_VECTOR) < 3) {
		g_sti();
		g_hlt();
		g_cli();
	}
	g_exit(0);
}

static void check_extint(void)
{
	assert_true(harness_counter(COUNTER_INJ_EXTINT) >= 3);
}

static void test_extint_from_the_pit(void **state __unused)
{
	both_modes((struct harness){0}, script_extint, NULL, check_extint);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_timer_oneshot_wakes_hlt),
	        cmocka_unit_test(test_timer_periodic),
	        cmocka_unit_test(test_timer_tsc_deadline),
	        cmocka_unit_test(test_timer_reaches_a_busy_guest),
	        cmocka_unit_test(test_timer_short_deadlines_are_not_lost),
	        cmocka_unit_test(test_ipi_self),
	        cmocka_unit_test(test_ipi_wakes_others),
	        cmocka_unit_test(test_ipi_ping_pong_in_hlt),
	        cmocka_unit_test(test_init_and_startup),
	        cmocka_unit_test(test_window_opens_exactly_with_sti),
	        cmocka_unit_test(test_window_where_vmrun_forgets_the_shadow),
	        cmocka_unit_test(test_tpr_masks_by_class),
	        cmocka_unit_test(test_intr_nesting_by_class),
	        cmocka_unit_test(test_extint_from_the_pit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
