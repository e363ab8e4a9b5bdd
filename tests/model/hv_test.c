/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guests that use Hyper-V's interface: synthetic timers and messages by the tick, with AutoEOI and
 * without, on processors that deliver interrupts by themselves and on those that do not. HYPERV stands
 * while a SINT has AutoEOI, and not for SynIC alone.
 */
#include "core/hv_time.h"
#include "irq/inhibit.h"
#include "tests/model/harness.h"
#include "x86/hyperv.h"

#define VECTOR     0x61
#define OTHER      0x51 /* a class below */
#define SINT       2
#define TICKS      20
#define PERIOD     (HV_TIME_PER_MS / 2)
#define PAGES(i)   (0x210000u + (i)*0x4000) /* of vCPU i: messages, flags */
#define SLOT(i)    (PAGES(i) + SINT * HV_MESSAGE_SIZE)
#define FLAGS(i)   (PAGES(i) + 0x1000)
#define CALL_PAGE  0x220000u
#define CLOCK_PAGE 0x221000u
#define INPUT      0x222000u
#define OS_ID      0x8100000000000000ull

enum {
	GO,
	SEEN,
	SEEN_OTHER,
	LAST, /* expiration time of the message before */
	DONE,
};

/* What the test that runs wants of its guest. */
static struct {
	bool auto_eoi;
} want;

static const struct {
	const char *processor;
	bool xapic, accelerated;
} machines[] = {
        {"barcelona", true, false}, {"barcelona", false, false},  {"rome", true, true},
        {"milan", true, true},      {"milan", false, false},      {"genoa", true, true},
        {"genoa", false, true},     {"assist-milan", true, true}, {"assist-genoa", false, true},
        {"westmere", true, false},  {"westmere", false, false},   {"broadwell", true, true},
        {"broadwell", false, true},
};
static u32 machine;

static void on_each(struct harness config, guest_script bsp, guest_script ap, void (*check)(void))
{
	config.hyperv = true;
	for (machine = 0; machine < ARRAY_SIZE(machines); machine++) {
		config.processor = machines[machine].processor;
		config.xapic = machines[machine].xapic;
		harness_create(&config);
		guest_bind(HARNESS_BSP, bsp, NULL);
		if (ap)
			guest_bind(HARNESS_AP, ap, NULL);
		harness_run_to_end(ENDED_DEBUG_EXIT);
		assert_int_equal(atomic32_read(&harness_vm->exit_code), 1);
		check();
		harness_destroy();
	}
}

/* --- on the guest's side --- */

static bool hyperv_stands(void)
{
	return inhibit_stands(harness_vm, INHIBIT_HYPERV);
}

static bool in_service(u8 vector)
{
	return g_apic_read(APIC_ISR + vector / 32 * 16) & BIT(vector % 32);
}

static u64 sint_value(void)
{
	return VECTOR | (want.auto_eoi ? HV_SINT_AUTO_EOI : 0);
}

static void synic_on(u32 i)
{
	g_apic_enable();
	g_wrmsr(MSR_HV_SIMP, PAGES(i) | HV_PAGE_ENABLE);
	g_wrmsr(MSR_HV_SIEFP, FLAGS(i) | HV_PAGE_ENABLE);
	g_wrmsr(MSR_HV_SCONTROL, HV_SCONTROL_ENABLE);
}

/* As the specification recommends: empty the slot, say EOM if something waits, EOI. */
static void take_message(u32 i)
{
	u32 flags;

	g_write(SLOT(i), HV_MESSAGE_NONE, 4);
	flags = (u32)g_read(SLOT(i) + 4, 4);
	if (flags & HV_MESSAGE_PENDING)
		g_wrmsr(MSR_HV_EOM, 0);
	G_CHECK_EQUAL(in_service(VECTOR), !want.auto_eoi);
	if (!want.auto_eoi)
		g_apic_eoi();
}

static void on_tick(u8 vector __unused, u32 error __unused)
{
	u64 expiration = g_read(SLOT(0) + 24, 8);

	G_CHECK_EQUAL(g_read(SLOT(0), 4), HV_MESSAGE_TIMER_EXPIRED);
	G_CHECK_EQUAL(g_read(SLOT(0) + 4, 1), 24);
	G_CHECK_EQUAL(g_read(SLOT(0) + 16, 4), 1); /* timer */
	if (g_shared(LAST))
		G_CHECK_EQUAL(expiration - g_shared(LAST), PERIOD);
	G_CHECK(g_read(SLOT(0) + 32, 8) >= expiration);
	G_CHECK(g_rdmsr(MSR_HV_TIME_REF) >= expiration);
	g_set_shared(LAST, expiration);
	g_set_shared(SEEN, g_shared(SEEN) + 1);
	take_message(0);
}

static void wait_for(u32 index, u64 n)
{
	while (g_shared(index) < n) {
		g_sti();
		g_hlt();
		g_cli();
	}
}

/* --- a timer by message --- */

static void script_ticks(void *arg __unused)
{
	synic_on(0);
	G_CHECK(!hyperv_stands());
	g_set_handler(VECTOR, on_tick);
	g_wrmsr(MSR_HV_SINT0 + SINT, sint_value());
	G_CHECK_EQUAL(hyperv_stands(), want.auto_eoi);
	g_wrmsr(MSR_HV_STIMER0 + 3, PERIOD);
	g_wrmsr(MSR_HV_STIMER0 + 2,
	        HV_STIMER_ENABLED | HV_STIMER_PERIODIC | SINT << HV_STIMER_SINT_SHIFT);
	wait_for(SEEN, TICKS);
	g_wrmsr(MSR_HV_STIMER0 + 2, 0);
	G_CHECK_EQUAL(hyperv_stands(), want.auto_eoi);
	g_wrmsr(MSR_HV_SINT0 + SINT, sint_value() | HV_SINT_MASKED);
	G_CHECK(!hyperv_stands());
	g_exit(0);
}

static void check_ticks(void)
{
	u64 delivered = harness_both(COUNTER_INJ_SYNIC, COUNTER_HW_DELIVERED);

	assert_in_range(delivered, TICKS, TICKS + 1);
	assert_in_range(harness_counter(COUNTER_STIMER_TICKS), TICKS, TICKS + 1);
	assert_int_equal(harness_counter(COUNTER_STIMER_LOST), 0);
	assert_int_equal(harness_counter(COUNTER_SYNIC_MESSAGES),
	                 harness_counter(COUNTER_STIMER_TICKS));
	if (want.auto_eoi)
		assert_int_equal(harness_counter(COUNTER_AUTO_EOI), delivered);
	else
		assert_int_equal(harness_counter(COUNTER_AUTO_EOI), 0);
	/* With AutoEOI it is software that delivers; without, it is the processor, if it can. */
	if (want.auto_eoi || !machines[machine].accelerated)
		assert_int_equal(harness_counter(COUNTER_INJ_SYNIC), delivered);
	else
		assert_int_equal(harness_counter(COUNTER_HW_DELIVERED), delivered);
	assert_false(inhibit_stands(harness_vm, INHIBIT_HYPERV));
}

static void test_timer_messages_leave_acceleration_on(void **state __unused)
{
	want.auto_eoi = false;
	on_each((struct harness){0}, script_ticks, NULL, check_ticks);
}

static void test_timer_messages_with_auto_eoi(void **state __unused)
{
	want.auto_eoi = true;
	on_each((struct harness){0}, script_ticks, NULL, check_ticks);
}

/* --- a timer in direct mode --- */

static void on_direct(u8 vector __unused, u32 error __unused)
{
	g_set_shared(SEEN, g_shared(SEEN) + 1);
	g_apic_eoi();
}

static void script_direct(void *arg __unused)
{
	g_apic_enable();
	g_set_handler(VECTOR, on_direct);
	g_wrmsr(MSR_HV_STIMER0,
	        HV_STIMER_AUTO_ENABLE | HV_STIMER_DIRECT | VECTOR << HV_STIMER_VECTOR_SHIFT);
	for (u32 i = 1; i <= TICKS; i++) {
		u64 time = g_rdmsr(MSR_HV_TIME_REF) + PERIOD;

		g_wrmsr(MSR_HV_STIMER0 + 1, time);
		wait_for(SEEN, i);
		G_CHECK(g_rdmsr(MSR_HV_TIME_REF) >= time);
		G_CHECK_EQUAL(g_rdmsr(MSR_HV_STIMER0) & HV_STIMER_ENABLED, 0);
	}
	g_exit(0);
}

static void check_direct(void)
{
	assert_int_equal(harness_both(COUNTER_INJ_SYNIC, COUNTER_HW_DELIVERED), TICKS);
	assert_int_equal(harness_counter(COUNTER_STIMER_TICKS), TICKS);
	assert_int_equal(harness_counter(COUNTER_SYNIC_MESSAGES), 0);
}

static void test_direct_timer(void **state __unused)
{
	on_each((struct harness){0}, script_direct, NULL, check_direct);
}

/* --- AutoEOI holds nothing back --- */

static void on_other(u8 vector __unused, u32 error __unused)
{
	g_set_shared(SEEN_OTHER, g_shared(SEEN_OTHER) + 1);
	g_apic_eoi();
}

/* Two at once: the higher one ends at its delivery, and the lower one comes behind it, without an EOI. */
static void on_higher(u8 vector __unused, u32 error __unused)
{
	G_CHECK(!in_service(VECTOR));
	G_CHECK_EQUAL(g_apic_read(APIC_PPR), 0);
	g_set_shared(SEEN, g_shared(SEEN) + 1);
}

static void script_two(void *arg __unused)
{
	g_apic_enable();
	g_set_handler(VECTOR, on_higher);
	g_set_handler(OTHER, on_other);
	g_wrmsr(MSR_HV_SINT0 + SINT, VECTOR | HV_SINT_AUTO_EOI);
	for (u32 i = 1; i <= TICKS; i++) {
		g_apic_icr(0, APIC_DEST_SELF | APIC_LEVEL_ASSERT | VECTOR);
		g_apic_icr(0, APIC_DEST_SELF | APIC_LEVEL_ASSERT | OTHER);
		g_sti();
		g_nop();
		g_nop();
		g_cli();
		G_CHECK_EQUAL(g_shared(SEEN), i);
		G_CHECK_EQUAL(g_shared(SEEN_OTHER), i);
	}
	g_exit(0);
}

static void check_two(void)
{
	assert_int_equal(harness_counter(COUNTER_AUTO_EOI), TICKS);
	assert_int_equal(harness_counter(COUNTER_INJ_IPI), 2 * TICKS);
	assert_true(inhibit_stands(harness_vm, INHIBIT_HYPERV));
}

static void test_auto_eoi_holds_nothing_back(void **state __unused)
{
	on_each((struct harness){0}, script_two, NULL, check_two);
}

/* --- the use count --- */

static void ap_uses(void *arg __unused)
{
	g_apic_enable();
	g_wrmsr(MSR_HV_SINT0 + SINT, VECTOR | HV_SINT_AUTO_EOI);
	G_CHECK(hyperv_stands());
	g_set_shared(GO, g_shared(GO) + 1);
	for (;;)
		g_hlt();
}

/* Two users; one goes by itself, one by INIT. */
static void script_users(void *arg __unused)
{
	g_apic_enable();
	g_start_aps();
	g_await(GO, 1);
	g_wrmsr(MSR_HV_SINT0, VECTOR | HV_SINT_AUTO_EOI);
	g_wrmsr(MSR_HV_SINT0, HV_SINT_MASKED);
	G_CHECK(hyperv_stands()); /* the other one's */
	g_apic_icr(0, APIC_DM_INIT | APIC_LEVEL_ASSERT | APIC_DEST_OTHERS);
	while (hyperv_stands())
		g_pause();
	/* It comes back, and starts anew. */
	g_apic_icr(0, APIC_DM_SIPI | APIC_LEVEL_ASSERT | APIC_DEST_OTHERS | HARNESS_SIPI);
	g_await(GO, 2);
	G_CHECK(hyperv_stands());
	g_exit(0);
}

static void check_users(void)
{
	assert_int_equal(atomic32_read(&harness_vm->hv.auto_eoi_users), 1);
}

static void test_the_last_user_ends_the_inhibit(void **state __unused)
{
	on_each((struct harness){.vcpus = 2, .cpus = 2}, script_users, ap_uses, check_users);
}

/* All of them come and go all the time; whoever has AutoEOI finds the inhibit standing. */
static void come_and_go(void)
{
	for (u32 i = 0; i < 30; i++) {
		g_wrmsr(MSR_HV_SINT0 + i % HV_SINTS, VECTOR | HV_SINT_AUTO_EOI);
		G_CHECK(hyperv_stands());
		g_pause();
		G_CHECK(hyperv_stands());
		g_wrmsr(MSR_HV_SINT0 + i % HV_SINTS, HV_SINT_MASKED);
	}
}

static void ap_comes_and_goes(void *arg __unused)
{
	g_apic_enable();
	come_and_go();
	g_set_shared(DONE + g_index(), 1);
	for (;;)
		g_hlt();
}

static void script_come_and_go(void *arg __unused)
{
	g_apic_enable();
	g_start_aps();
	come_and_go();
	for (u32 i = 1; i < harness.vcpus; i++)
		g_await(DONE + i, 1);
	g_exit(0);
}

static void check_nothing_left(void)
{
	assert_int_equal(atomic32_read(&harness_vm->hv.auto_eoi_users), 0);
	assert_int_equal(atomic32_read(&harness_vm->inhibit.mask) & INHIBIT_BIT(HYPERV), 0);
}

static void test_users_come_and_go(void **state __unused)
{
	for (u64 seed = 1; seed <= 3; seed++)
		on_each((struct harness){.vcpus = 4, .cpus = 4, .seed = seed, .switch_ppm = 200000},
		        script_come_and_go, ap_comes_and_goes, check_nothing_left);
}

/* --- messages between vCPUs, by hypercalls --- */

static void on_message(u8 vector __unused, u32 error __unused)
{
	u32 type = (u32)g_read(SLOT(1), 4);

	G_CHECK(type > g_shared(LAST)); /* in their order; the last one is TICKS */
	g_set_shared(LAST, type);
	take_message(1);
	g_set_shared(SEEN, type);
}

static void ap_receives(void *arg __unused)
{
	g_set_handler(VECTOR, on_message);
	synic_on(1);
	g_wrmsr(MSR_HV_SINT0 + SINT, sint_value());
	g_set_shared(GO, 1);
	for (;;) {
		g_sti();
		g_hlt();
		g_cli();
	}
}

static u64 call(u64 input, u64 parameter)
{
	return g_hypercall(0, 0, input, parameter, 0);
}

static void script_posts(void *arg __unused)
{
	u64 status;

	g_apic_enable();
	G_CHECK_EQUAL(call(HV_CALL_POST_MESSAGE, INPUT), (u64)-1000); /* not Hyper-V's yet */
	g_wrmsr(MSR_HV_GUEST_OS_ID, OS_ID);
	g_wrmsr(MSR_HV_HYPERCALL, CALL_PAGE | HV_PAGE_ENABLE);
	/* VMCALL or VMMCALL, RET */
	G_CHECK_EQUAL(g_read(CALL_PAGE, 4), model_has(MODEL_INTEL) ? 0xc3c1010f : 0xc3d9010f);
	G_CHECK_EQUAL(call(0x2, 0), HV_STATUS_INVALID_HYPERCALL_CODE);
	g_start_aps();
	g_await(GO, 1);
	g_write(INPUT, 0x010100 | SINT, 8);
	for (u32 i = 1; i <= TICKS; i++) {
		g_write(INPUT + 8, i | 8ull << 32, 8);
		while ((status = call(HV_CALL_POST_MESSAGE, INPUT)) ==
		       HV_STATUS_INSUFFICIENT_BUFFERS)
			g_pause();
		G_CHECK_EQUAL(status, HV_STATUS_SUCCESS);
	}
	g_await(SEEN, TICKS);
	g_exit(0);
}

static void check_posts(void)
{
	assert_int_equal(harness_counter(COUNTER_SYNIC_MESSAGES), TICKS);
}

static void test_messages_between_vcpus(void **state __unused)
{
	for (u32 i = 0; i < 4; i++) {
		want.auto_eoi = i & 1;
		on_each((struct harness){.vcpus = 2,
		                         .cpus = 2,
		                         .testdev = true,
		                         .seed = i,
		                         .switch_ppm = i & 2 ? 300000 : 0},
		        script_posts, ap_receives, check_posts);
	}
}

/* --- a vCPU that is reset forgets --- */

static void ap_arms(void *arg __unused)
{
	u64 life = g_shared(DONE);

	synic_on(1);
	if (life) {
		G_CHECK_EQUAL(g_rdmsr(MSR_HV_STIMER0), 0);
		G_CHECK_EQUAL(g_rdmsr(MSR_HV_SINT0 + SINT), HV_SINT_RESET);
		g_set_shared(DONE, 2);
	} else {
		g_wrmsr(MSR_HV_STIMER0 + 1, 1);
		g_wrmsr(MSR_HV_STIMER0, HV_STIMER_ENABLED | HV_STIMER_PERIODIC | HV_STIMER_DIRECT |
		                                VECTOR << HV_STIMER_VECTOR_SHIFT);
		g_wrmsr(MSR_HV_SINT0 + SINT, VECTOR);
		g_set_shared(GO, 1);
	}
	for (;;)
		g_hlt();
}

static void script_init(void *arg __unused)
{
	g_apic_enable();
	g_start_aps();
	g_await(GO, 1);
	g_set_shared(DONE, 1);
	g_start_aps();
	g_await(DONE, 2);
	g_exit(0);
}

static void check_nothing(void)
{
}

static void test_init_resets(void **state __unused)
{
	on_each((struct harness){.vcpus = 2, .cpus = 2}, script_init, ap_arms, check_nothing);
}

/* --- what is offered, and where --- */

static void leaf_is(u32 number, u32 eax, u32 ebx)
{
	struct cpuid_regs r;

	g_cpuid(number, 0, &r);
	G_CHECK_EQUAL(r.eax, eax);
	G_CHECK_EQUAL(r.ebx, ebx);
}

#define KVM 0x4b4d564b

static void script_cpuid(void *arg __unused)
{
	bool both = harness.hyperv && harness.kvm_clock;
	u64 value;

	if (harness.hyperv)
		leaf_is(0x40000000, 0x40000005, HV_VENDOR_EBX);
	else
		leaf_is(0x40000000, 0x40000001, KVM);
	leaf_is(0x40000100, both ? 0x40000101 : 0, both ? KVM : 0);
	if (harness.kvm_clock)
		leaf_is(both ? 0x40000101 : 0x40000001, BIT(3) | BIT(24), 0);
	/* And none of it elsewhere. */
	leaf_is(0x40000200, 0, 0);
	G_CHECK_EQUAL(g_rdmsr_safe(MSR_HV_VP_INDEX, &value), harness.hyperv ? 0 : VECTOR_GP);
	G_CHECK_EQUAL(g_wrmsr_safe(MSR_HV_SINT0, HV_SINT_MASKED), harness.hyperv ? 0 : VECTOR_GP);
	G_CHECK_EQUAL(g_wrmsr_safe(MSR_HV_SVERSION, 1), VECTOR_GP);
	G_CHECK_EQUAL(g_wrmsr_safe(MSR_HV_SINT0, 15), VECTOR_GP);
	G_CHECK_EQUAL(g_wrmsr_safe(MSR_HV_STIMER0, BIT64(20)), VECTOR_GP);
	g_exit(0);
}

static void test_leaves_do_not_meet(void **state __unused)
{
	for (u32 i = 0; i < 4; i++) {
		harness_create(&(struct harness){.hyperv = i & 1, .kvm_clock = i & 2});
		guest_bind(HARNESS_BSP, script_cpuid, NULL);
		harness_run();
	}
}

/* The page, read as the specification recommends, and the counter tell the same time. */
static void script_clock(void *arg __unused)
{
	g_wrmsr(MSR_HV_REFERENCE_TSC, CLOCK_PAGE | HV_PAGE_ENABLE);
	for (u32 i = 0; i < TICKS; i++) {
		u64 before = g_rdmsr(MSR_HV_TIME_REF), time;

		G_CHECK(g_read(CLOCK_PAGE, 4));
		time = (u64)((unsigned __int128)g_rdtsc() * g_read(CLOCK_PAGE + 8, 8) >> 64) +
		       g_read(CLOCK_PAGE + 16, 8);
		G_CHECK(before <= time);
		G_CHECK(time <= g_rdmsr(MSR_HV_TIME_REF));
	}
	g_wrmsr(MSR_TSC, 0);
	G_CHECK_EQUAL(g_read(CLOCK_PAGE, 4), 0);
	g_exit(0);
}

static void test_clock_page(void **state __unused)
{
	harness_create(&(struct harness){.hyperv = true});
	guest_bind(HARNESS_BSP, script_clock, NULL);
	harness_run();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_timer_messages_leave_acceleration_on),
	        cmocka_unit_test(test_timer_messages_with_auto_eoi),
	        cmocka_unit_test(test_direct_timer),
	        cmocka_unit_test(test_auto_eoi_holds_nothing_back),
	        cmocka_unit_test(test_the_last_user_ends_the_inhibit),
	        cmocka_unit_test(test_users_come_and_go),
	        cmocka_unit_test(test_messages_between_vcpus),
	        cmocka_unit_test(test_init_resets),
	        cmocka_unit_test(test_leaves_do_not_meet),
	        cmocka_unit_test(test_clock_page),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
