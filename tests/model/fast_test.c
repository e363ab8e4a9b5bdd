/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Exits that are completed with GIF clear (svm/fast.c) must be as those that are not: answers of CPUID
 * that change, self-IPIs and EOIs among everything else that decides about interrupts. And what
 * goes with them: CR4, single steps, KVM's hypercall.
 */
#include "irq/inhibit.h"
#include "tests/model/harness.h"

#define VECTOR_A 0x41
#define VECTOR_B 0x91
#define ROUNDS   50

#define WORD_A     0 /* handlers of VECTOR_A that have run */
#define WORD_B     1
#define WORD_NMI   2
#define WORD_STOP  3
#define WORD_TURNS 4 /* of the loop that is interrupted */

#define CPUID_1_ECX_OSXSAVE BIT(27)
#define CPUID_1_EDX_APIC    BIT(9)

/* With and without next-RIP save, in real and in 64-bit mode (the hint is for the latter). */
static void each_processor(guest_script script, guest_script in_long_mode)
{
	static const u32 features[] = {0, MODEL_NRIPS, MODEL_XSAVE, MODEL_NRIPS | MODEL_XSAVE};

	for (u32 i = 0; i < ARRAY_SIZE(features); i++) {
		for (u32 mode = 0; mode < 2; mode++) {
			harness_create(&(struct harness){.features = features[i]});
			guest_bind(HARNESS_BSP, mode ? in_long_mode : script, NULL);
			harness_run();
		}
	}
}

#define IN_LONG_MODE(script)                                                                       \
	static void script##_long(void *arg)                                                       \
	{                                                                                          \
		g_long_mode();                                                                     \
		script(arg);                                                                       \
	}

/* --- CPUID --- */

static u32 cpuid_ecx(u32 leaf)
{
	struct cpuid_regs r;

	g_cpuid(leaf, 0, &r);
	return r.ecx;
}

static u32 cpuid_edx(u32 leaf)
{
	struct cpuid_regs r;

	g_cpuid(leaf, 0, &r);
	return r.edx;
}

static void script_cpuid_changes(void *arg __unused)
{
	bool xsave = harness.features & MODEL_XSAVE;
	u64 cr4 = CR4_PAE | CR4_PGE;
	u64 base = g_rdmsr(MSR_APIC_BASE);

	for (u32 i = 0; i < 3; i++)
		G_CHECK(!(cpuid_ecx(1) & CPUID_1_ECX_OSXSAVE));
	G_CHECK_EQUAL(g_write_cr4_safe(cr4 | CR4_OSXSAVE), xsave ? 0 : VECTOR_GP);
	for (u32 i = 0; i < 3; i++)
		G_CHECK_EQUAL(!!(cpuid_ecx(1) & CPUID_1_ECX_OSXSAVE), xsave);
	G_CHECK_EQUAL(g_write_cr4_safe(cr4), 0);
	G_CHECK(!(cpuid_ecx(1) & CPUID_1_ECX_OSXSAVE));
	for (u32 i = 0; i < 3; i++)
		G_CHECK(cpuid_edx(1) & CPUID_1_EDX_APIC);
	g_wrmsr(MSR_APIC_BASE, base & ~APIC_BASE_EN);
	G_CHECK(!(cpuid_edx(1) & CPUID_1_EDX_APIC));
	g_wrmsr(MSR_APIC_BASE, base);
	G_CHECK(cpuid_edx(1) & CPUID_1_EDX_APIC);
	g_exit(0);
}
IN_LONG_MODE(script_cpuid_changes)

static void test_fast_cpuid_follows_cr4_and_apic_base(void **state __unused)
{
	each_processor(script_cpuid_changes, script_cpuid_changes_long);
}

static void script_cpuid_same(void *arg __unused)
{
	static const u32 leaves[] = {0,    1,          7,          0xb,        0x40000000,
	                             0x15, 0x80000000, 0x80000001, 0x80000008, 0xffffffff};

	for (u32 i = 0; i < ARRAY_SIZE(leaves); i++) {
		for (u32 subleaf = 0; subleaf < 3; subleaf++) {
			struct cpuid_regs first, again;

			g_cpuid(leaves[i], subleaf, &first);
			for (u32 other = 0; other < ARRAY_SIZE(leaves); other++)
				g_cpuid(leaves[other], 0, &again);
			g_cpuid(leaves[i], subleaf, &again);
			g_cpuid(leaves[i], subleaf, &again);
			G_CHECK_EQUAL(first.eax, again.eax);
			G_CHECK_EQUAL(first.ebx, again.ebx);
			G_CHECK_EQUAL(first.ecx, again.ecx);
			G_CHECK_EQUAL(first.edx, again.edx);
		}
	}
	g_exit(0);
}
IN_LONG_MODE(script_cpuid_same)

static void test_fast_cpuid_answers_by_leaf_and_subleaf(void **state __unused)
{
	each_processor(script_cpuid_same, script_cpuid_same_long);
}

/* --- self-IPI and EOI --- */

static void handle_a(u8 vector __unused, u32 error __unused)
{
	g_set_shared(WORD_A, g_shared(WORD_A) + 1);
	g_apic_eoi();
}

static void handle_b(u8 vector __unused, u32 error __unused)
{
	g_set_shared(WORD_B, g_shared(WORD_B) + 1);
	g_apic_eoi();
}

static void self_ipi(u8 vector)
{
	g_wrmsr(MSR_X2APIC_SELF, vector);
}

static void script_self_ipi(void *arg __unused)
{
	g_set_handler(VECTOR_A, handle_a);
	g_apic_enable();
	g_sti();
	g_nop();
	for (u32 i = 1; i <= ROUNDS; i++) {
		self_ipi(VECTOR_A);
		g_nop();
		G_CHECK_EQUAL(g_shared(WORD_A), i);
	}
	g_exit(0);
}
IN_LONG_MODE(script_self_ipi)

static void test_fast_self_ipi_each_is_delivered_once(void **state __unused)
{
	static const u32 features[] = {0, MODEL_NRIPS};

	for (u32 i = 0; i < 2; i++) {
		harness_create(&(struct harness){.features = features[i]});
		guest_bind(HARNESS_BSP, script_self_ipi_long, NULL);
		harness_run_to_end(ENDED_DEBUG_EXIT);
		assert_int_equal(atomic32_read(&harness_vm->exit_code), 1);
		assert_int_equal(harness_both(COUNTER_INJ_IPI, COUNTER_HW_DELIVERED), ROUNDS);
		assert_int_equal(harness_both(COUNTER_IPI_SENT_SELF, COUNTER_HW_IPI_SELF), ROUNDS);
		assert_int_equal(harness_both(COUNTER_EOI, COUNTER_HW_EOI), ROUNDS);
		harness_destroy();
	}
	each_processor(script_self_ipi, script_self_ipi_long);
}

static void script_self_ipi_waits(void *arg __unused)
{
	g_set_handler(VECTOR_A, handle_a);
	g_set_handler(VECTOR_B, handle_b);
	g_apic_enable();
	/* IF clear: both wait, then the higher goes first. */
	self_ipi(VECTOR_A);
	self_ipi(VECTOR_B);
	g_nop();
	G_CHECK_EQUAL(g_shared(WORD_A) + g_shared(WORD_B), 0);
	g_sti();
	g_nop();
	g_nop();
	G_CHECK_EQUAL(g_shared(WORD_A), 1);
	G_CHECK_EQUAL(g_shared(WORD_B), 1);
	/* A task priority set through CR8, which does not exit. */
	g_write_cr8(VECTOR_A >> 4);
	self_ipi(VECTOR_A);
	self_ipi(VECTOR_B);
	g_nop();
	G_CHECK_EQUAL(g_shared(WORD_A), 1);
	G_CHECK_EQUAL(g_shared(WORD_B), 2);
	g_write_cr8((VECTOR_A >> 4) - 1);
	g_nop();
	G_CHECK_EQUAL(g_shared(WORD_A), 2);
	/* Illegal vectors and values. */
	self_ipi(15);
	g_nop();
	G_CHECK_EQUAL(g_wrmsr_safe(MSR_X2APIC_SELF, 0x100), VECTOR_GP);
	G_CHECK_EQUAL(g_wrmsr_safe(MSR_X2APIC_EOI, 1), VECTOR_GP);
	g_wrmsr(MSR_X2APIC_EOI, 0); /* nothing is in service */
	g_exit(0);
}
IN_LONG_MODE(script_self_ipi_waits)

static void test_fast_self_ipi_obeys_if_shadow_and_priority(void **state __unused)
{
	each_processor(script_self_ipi_waits, script_self_ipi_waits_long);
}

/* The handler of A sends B, whose handler nests; both end by fast EOIs or slow ones. */
static void nest(u8 vector __unused, u32 error __unused)
{
	g_set_shared(WORD_A, g_shared(WORD_A) + 1);
	g_sti();
	self_ipi(VECTOR_B);
	g_nop();
	g_nop();
	G_CHECK_EQUAL(g_shared(WORD_B), g_shared(WORD_A));
	g_cli();
	g_apic_eoi();
}

static void script_nest(void *arg __unused)
{
	g_set_handler(VECTOR_A, nest);
	g_set_handler(VECTOR_B, handle_b);
	g_apic_enable();
	g_sti();
	g_nop();
	for (u32 i = 1; i <= ROUNDS; i++) {
		self_ipi(VECTOR_A);
		g_nop();
		G_CHECK_EQUAL(g_shared(WORD_A), i);
	}
	g_exit(0);
}
IN_LONG_MODE(script_nest)

static void test_fast_self_ipi_nests(void **state __unused)
{
	each_processor(script_nest, script_nest_long);
}

/* --- self-IPIs while acceleration comes and goes --- */

/*
 * Who switches an inhibit waits until all vCPUs are out of the guest, with a lock held that a window takes to be
 * counted. A self-IPI that is completed with the vCPU still in the guest may not wait for it.
 */
#define SWITCH_PORT 0x9f0
#define SWITCHES    12

/* The port's write sets and clears a reason. */
static void switch_inhibit(void *device __unused, struct vcpu *vcpu, u64 offset __unused,
                           u32 size __unused, u64 value)
{
	inhibit_change(vcpu->vm, INHIBIT_BIT(STORM), value ? INHIBIT_BIT(STORM) : 0);
}

static const struct bus_ops switch_ops = {.write = switch_inhibit};

/* By seed. */
static bool sends_nmis(void)
{
	return harness.seed & 1;
}

static bool sends_with_if(void)
{
	return harness.seed & 2;
}

/* Against another who sends to itself without end. */
static void script_switcher(void *arg __unused)
{
	g_apic_enable();
	g_start_aps();
	g_await(WORD_TURNS, 1);
	for (u32 i = 1; i <= SWITCHES; i++) {
		if (sends_nmis())
			g_apic_icr(1, APIC_DM_NMI | APIC_LEVEL_ASSERT);
		g_out(SWITCH_PORT, i & 1, 1);
		g_await(WORD_TURNS, 3 * i);
	}
	g_set_shared(WORD_STOP, 1);
	g_await(WORD_STOP, 2);
	if (sends_nmis())
		G_CHECK(g_shared(WORD_NMI));
	g_exit(0);
}

static void count_nmi(u8 vector __unused, u32 error __unused)
{
	g_set_shared(WORD_NMI, g_shared(WORD_NMI) + 1);
}

static void script_sender(void *arg __unused)
{
	u64 turns = 0;

	g_set_handler(VECTOR_NMI, count_nmi);
	g_set_handler(VECTOR_A, handle_a);
	g_apic_enable();
	g_sti();
	while (g_shared(WORD_STOP) != 1) {
		if (!sends_with_if())
			g_cli();
		self_ipi(VECTOR_A);
		g_sti();
		g_nop();
		G_CHECK_EQUAL(g_shared(WORD_A), ++turns);
		g_set_shared(WORD_TURNS, turns);
		g_in(0x40, 1); /* goes the long way, and ends a window that counts */
	}
	g_set_shared(WORD_STOP, 2);
	g_hlt();
}

static void run_switched(const char *processor, u64 seed)
{
	harness_create(&(struct harness){.processor = processor,
	                                 .vcpus = 2,
	                                 .cpus = 2,
	                                 .seed = seed,
	                                 .switch_ppm = 1000u << seed % 9,
	                                 .by_hand = true});
	bus_register(&harness_vm->io, SWITCH_PORT, 1, &switch_ops, NULL);
	guest_bind(HARNESS_BSP, script_switcher, NULL);
	guest_bind(HARNESS_AP, script_sender, NULL);
	harness_run_to_end(ENDED_DEBUG_EXIT);
	assert_int_equal(atomic32_read(&harness_vm->exit_code), 1);
	assert_int_equal(harness_vm->inhibit.account[INHIBIT_STORM].sets, SWITCHES / 2);
	if (!sends_with_if())
		assert_true(harness_counter(COUNTER_WINDOWS));
	/* On VMX a window is no reason against acceleration. */
	if (!strcmp(processor, "broadwell"))
		assert_int_equal(harness_counter(COUNTER_IRQ_WINDOWS), 0);
	else if (!sends_with_if())
		assert_true(harness_counter(COUNTER_IRQ_WINDOWS));
	harness_destroy();
}

static void test_fast_self_ipi_waits_for_no_inhibit(void **state __unused)
{
	u32 orders = harness_full() ? 400 : 60;

	for (u64 seed = 0; seed < orders; seed++) {
		run_switched("genoa", seed);
		run_switched("broadwell", seed);
	}
}

/* --- single steps --- */

static void handle_nmi(u8 vector __unused, u32 error __unused)
{
	/* What is saved is the guest's: it does not step itself. */
	G_CHECK(!(g_saved_rflags() & RFLAGS_TF));
	g_set_shared(WORD_NMI, g_shared(WORD_NMI) + 1);
}

/* With IF set, so that an interrupt may come when its IRET is about to be stepped over. */
static void handle_nmi_open(u8 vector, u32 error)
{
	handle_nmi(vector, error);
	g_sti();
	g_nop();
}

static void handle_a_unstepped(u8 vector, u32 error)
{
	G_CHECK(!(g_saved_rflags() & RFLAGS_TF));
	handle_a(vector, error);
}

static void script_shadows(void *arg __unused)
{
	g_set_handler(VECTOR_NMI, harness.seed & 8 ? handle_nmi_open : handle_nmi);
	g_set_handler(VECTOR_A, handle_a_unstepped);
	g_apic_enable();
	g_start_aps();
	while (g_shared(WORD_NMI) < ROUNDS) {
		g_sti();
		g_nop();
		g_cli();
		g_set_shared(WORD_TURNS, g_shared(WORD_TURNS) + 1);
	}
	g_set_shared(WORD_STOP, 1);
	g_exit(0);
}

static void script_nmi_sender(void *arg __unused)
{
	g_apic_enable();
	while (!g_shared(WORD_STOP)) {
		u64 before = g_shared(WORD_TURNS);

		g_apic_icr(0, APIC_DM_NMI | APIC_LEVEL_ASSERT);
		g_apic_icr(0, APIC_DM_FIXED | APIC_LEVEL_ASSERT | VECTOR_A);
		for (u32 i = 0; i < 400 && g_shared(WORD_TURNS) <= before + 1; i++)
			g_nop();
	}
	g_hlt();
}

static void test_step_over_shadow_never_leaks_tf(void **state __unused)
{
	for (u64 seed = 1; seed <= 40; seed++) {
		harness_create(&(struct harness){.vcpus = 2,
		                                 .cpus = 1 + seed % 2,
		                                 .seed = seed,
		                                 .switch_ppm = 300000,
		                                 .features = seed & 4 ? MODEL_NRIPS : 0});
		guest_bind(HARNESS_BSP, script_shadows, NULL);
		guest_bind(HARNESS_AP, script_nmi_sender, NULL);
		harness_run();
	}
}

/* --- CR4 --- */

static void script_cr4(void *arg __unused)
{
	u64 cr4 = CR4_PAE;

	G_CHECK_EQUAL(g_write_cr4_safe(cr4 | BIT64(63)), VECTOR_GP);
	G_CHECK_EQUAL(g_write_cr4_safe(cr4 | CR4_VMXE), VECTOR_GP);
	G_CHECK_EQUAL(g_write_cr4_safe(0), VECTOR_GP); /* PAE, in long mode */
	G_CHECK_EQUAL(g_write_cr4_safe(cr4 | CR4_LA57), VECTOR_GP);
	G_CHECK_EQUAL(g_write_cr4_safe(cr4 | CR4_PGE), 0);
	G_CHECK_EQUAL(g_write_cr4_safe(cr4), 0);
	g_exit(0);
}
IN_LONG_MODE(script_cr4)

static void test_cr4_reserved_bits_and_long_mode_rules(void **state __unused)
{
	each_processor(script_cr4_long, script_cr4_long);
}

/* --- KVM's hypercalls --- */

static void script_hypercall_ipi(void *arg __unused)
{
	g_set_handler(VECTOR_A, handle_a);
	g_apic_enable();
	g_start_aps();
	g_await(WORD_STOP, 1);
	/* APIC IDs 0 and 1 by bitmap; bit 5 is nobody. */
	G_CHECK_EQUAL(g_hypercall(10, 0x23, 0, 0, VECTOR_A), 2);
	g_sti();
	g_nop();
	g_await(WORD_A, 2);
	/* Nobody there; all ones are no broadcast; a shorthand; a number that is none. */
	G_CHECK_EQUAL(g_hypercall(10, ~0ull, ~0ull, 0xffffffff, VECTOR_A), 0);
	G_CHECK_EQUAL((u32)g_hypercall(10, 1, 0, 0, APIC_DEST_ALL | VECTOR_A), (u32)-22);
	G_CHECK_EQUAL((u32)g_hypercall(10, 1, 0, 0, APIC_DM_INIT), (u32)-22);
	G_CHECK_EQUAL((u32)g_hypercall(4711, 0, 0, 0, 0), (u32)-1000);
	G_CHECK_EQUAL(g_shared(WORD_A), 2);
	g_exit(0);
}

static void script_hypercall_receiver(void *arg __unused)
{
	g_apic_enable();
	g_sti();
	g_set_shared(WORD_STOP, 1);
	for (;;)
		g_hlt();
}

static void test_hypercall_send_ipi(void **state __unused)
{
	for (u32 xapic = 0; xapic < 2; xapic++) {
		harness_create(&(struct harness){.vcpus = 2, .cpus = 2, .xapic = xapic});
		guest_bind(HARNESS_BSP, script_hypercall_ipi, NULL);
		guest_bind(HARNESS_AP, script_hypercall_receiver, NULL);
		harness_run();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_fast_cpuid_follows_cr4_and_apic_base),
	        cmocka_unit_test(test_fast_cpuid_answers_by_leaf_and_subleaf),
	        cmocka_unit_test(test_fast_self_ipi_each_is_delivered_once),
	        cmocka_unit_test(test_fast_self_ipi_obeys_if_shadow_and_priority),
	        cmocka_unit_test(test_fast_self_ipi_nests),
	        cmocka_unit_test(test_fast_self_ipi_waits_for_no_inhibit),
	        cmocka_unit_test(test_step_over_shadow_never_leaks_tf),
	        cmocka_unit_test(test_cr4_reserved_bits_and_long_mode_rules),
	        cmocka_unit_test(test_hypercall_send_ipi),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
