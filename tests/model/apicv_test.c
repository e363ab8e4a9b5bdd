/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * APICv under the back end, on the model with the feature, in both modes of the APIC: what exits and what does not;
 * what the processor is told when acceleration comes and goes; what goes on beside it.
 */
#include "irq/ioapic.h"
#include "tests/model/harness.h"
#include "x86/hyperv.h"
#include "x86/vmx.h"

#define LOW    0x41
#define VECTOR 0x61
#define HIGH   0x91
#define PIC    0x30
#define PIN    10
#define ROUNDS 20
#define ALONE  9 /* an ID that nobody has */
#define IOAPIC 0xfec00000u

static u8 taken[64]; /* in the order in which handlers begin */
static u32 takes;
static u64 noted;
static u64 held; /* a register as found in a handler */

static struct vcpu *vcpu(u32 v)
{
	return harness_vm->vcpu[v];
}

static bool is_on(u32 v)
{
	return accel_is_on(&vcpu(v)->accel);
}

/* All that an APIC without acceleration exits for, and what is left with it. */
static u64 apic_exits(void)
{
	return harness_exits(EXIT_WRMSR) + harness_exits(EXIT_RDMSR) + harness_exits(EXIT_MEMORY) +
	       harness_exits(EXIT_APIC_ACCESS) + harness_exits(EXIT_APIC_WRITE) +
	       harness_exits(EXIT_EOI) + harness_exits(EXIT_TPR) + harness_exits(EXIT_CR);
}

static void take(u8 vector)
{
	G_CHECK(takes < ARRAY_SIZE(taken));
	taken[takes++] = vector;
}

static void handler(u8 vector, u32 error __unused)
{
	take(vector);
	g_apic_eoi();
}

static void self(u8 vector)
{
	if (harness.xapic)
		g_apic_write(APIC_ICR, APIC_DEST_SELF | vector);
	else
		g_wrmsr(MSR_X2APIC_FIRST + APIC_SELF / 16, vector);
}

static void expect_taken(u32 count, const u8 *vectors)
{
	G_CHECK_EQUAL(takes, count);
	for (u32 i = 0; i < count; i++)
		G_CHECK_EQUAL(taken[i], vectors[i]);
	takes = 0;
}

static void enable(void)
{
	g_apic_enable();
	g_set_handler(LOW, handler);
	g_set_handler(VECTOR, handler);
	g_set_handler(HIGH, handler);
	g_apic_read(APIC_TPR); /* the first access maps the page */
	G_CHECK(is_on(0));
	noted = apic_exits();
}

static void run(struct harness config, guest_script bsp, guest_script ap, void (*check)(void))
{
	for (u32 xapic = 0; xapic < 2; xapic++) {
		config.xapic = xapic;
		config.processor = "broadwell";
		takes = 0;
		harness_create(&config);
		guest_bind(HARNESS_BSP, bsp, NULL);
		if (ap)
			guest_bind(HARNESS_AP, ap, NULL);
		harness_run_to_end(ENDED_DEBUG_EXIT);
		assert_int_equal(atomic32_read(&harness_vm->exit_code), 1);
		if (check)
			check();
		harness_destroy();
	}
}

/* --- no exits --- */

static void script_self(void *arg __unused)
{
	enable();
	g_sti();
	for (u32 i = 0; i < ROUNDS; i++) {
		self(VECTOR);
		g_nop();
	}
	G_CHECK_EQUAL(takes, ROUNDS);
	/* Held back by the task priority, by CR8 and by the register; nothing exits when it drops. */
	takes = 0;
	for (u32 i = 0; i < ROUNDS; i++) {
		g_write_cr8(VECTOR >> 4);
		self(VECTOR);
		g_nop();
		G_CHECK_EQUAL(takes, i);
		if (i & 1)
			g_write_cr8(0);
		else
			g_apic_write(APIC_TPR, 0);
		g_nop();
		G_CHECK_EQUAL(takes, i + 1);
	}
	G_CHECK_EQUAL(apic_exits(), noted);
	g_exit(0);
}

static void check_self(void)
{
	assert_int_equal(harness_counter(COUNTER_HW_DELIVERED), 2 * ROUNDS);
	assert_int_equal(harness_counter(COUNTER_HW_EOI), 2 * ROUNDS);
	assert_int_equal(harness_counter(COUNTER_HW_IPI_SELF), 2 * ROUNDS);
	assert_int_equal(harness_counter(COUNTER_EOI), 0);
	assert_int_equal(harness_counter(COUNTER_INJ_IPI), 0);
}

static void test_self_ipi_eoi_and_tpr_do_not_exit(void **state __unused)
{
	run((struct harness){0}, script_self, NULL, check_self);
}

/* --- to another: once apart, harvested, delivered by the processor --- */

static void count(u8 vector __unused, u32 error __unused)
{
	g_set_shared(0, g_shared(0) + 1);
	g_apic_eoi();
}

static void script_sender(void *arg __unused)
{
	enable();
	g_set_handler(VECTOR, count);
	g_start_aps();
	g_await(1, 1);
	noted = apic_exits();
	for (u32 i = 0; i < ROUNDS; i++) {
		g_apic_icr(1, APIC_LEVEL_ASSERT | VECTOR);
		g_await(0, i + 1);
	}
	/* The sender's, one for each, and not its target's. */
	G_CHECK_EQUAL(apic_exits() - noted, ROUNDS);
	g_exit(0);
}

static void script_spinner(void *arg __unused)
{
	g_apic_enable();
	g_apic_read(APIC_TPR);
	g_sti();
	g_set_shared(1, 1);
	for (;;)
		g_pause();
}

static void script_sleeper(void *arg __unused)
{
	g_apic_enable();
	g_apic_read(APIC_TPR);
	g_set_shared(1, 1);
	for (;;) {
		g_sti();
		g_hlt();
		g_cli();
	}
}

static void check_sender(void)
{
	assert_int_equal(harness_counter(COUNTER_ACCEPTED), ROUNDS);
	assert_int_equal(harness_counter(COUNTER_HW_DELIVERED), ROUNDS);
	assert_int_equal(harness_counter(COUNTER_INJ_IPI), 0);
	assert_int_equal(harness_counter(COUNTER_COALESCED), 0);
}

static void test_ipis_are_harvested(void **state __unused)
{
	run((struct harness){.vcpus = 2, .cpus = 2}, script_sender, script_spinner, check_sender);
	run((struct harness){.vcpus = 2, .cpus = 2}, script_sender, script_sleeper, check_sender);
	run((struct harness){.vcpus = 2, .cpus = 1}, script_sender, script_sleeper, check_sender);
}

/* --- the end of level-triggered interrupts --- */

static void entry(u32 low)
{
	g_mmio_write(IOAPIC, 0x11 + 2 * PIN);
	g_mmio_write(IOAPIC + 0x10, 0);
	g_mmio_write(IOAPIC, 0x10 + 2 * PIN);
	g_mmio_write(IOAPIC + 0x10, low);
}

static void line(bool level)
{
	g_out((u16)(0x2000 + PIN), level, 1);
}

/* Still high at its end: it comes again. */
static void level_handler(u8 vector, u32 error __unused)
{
	take(vector);
	if (takes % 2 == 0)
		line(false);
	g_apic_eoi();
}

static void script_level(void *arg __unused)
{
	enable();
	g_set_handler(VECTOR, level_handler);
	entry((u32)IOAPIC_RTE_LEVEL | VECTOR);
	g_sti();
	for (u32 i = 0; i < ROUNDS / 2; i++) {
		line(true);
		g_nop();
		g_nop();
	}
	G_CHECK_EQUAL(takes, ROUNDS);
	G_CHECK_EQUAL(harness_exits(EXIT_EOI), ROUNDS);
	/* The entry goes elsewhere while its interrupt waits: its end is told all the same. */
	g_cli();
	takes = 0;
	line(true);
	entry((u32)(IOAPIC_RTE_LEVEL | IOAPIC_RTE_MASKED) | HIGH);
	g_sti();
	g_nop();
	g_nop();
	line(false);
	G_CHECK_EQUAL(takes, 1);
	G_CHECK_EQUAL(harness_exits(EXIT_EOI), ROUNDS + 1);
	/* And then no longer; and an edge's never is. */
	g_set_handler(VECTOR, handler);
	entry(HIGH);
	self(VECTOR);
	line(true);
	g_nop();
	g_nop();
	G_CHECK_EQUAL(takes, 3);
	G_CHECK_EQUAL(harness_exits(EXIT_EOI), ROUNDS + 1);
	G_CHECK(is_on(0));
	g_exit(0);
}

static void check_level(void)
{
	assert_int_equal(harness_counter(COUNTER_EOI), ROUNDS + 1);
	assert_int_equal(harness_counter(COUNTER_INJ_IOAPIC), 0);
}

static void test_level_triggered_ends_are_told(void **state __unused)
{
	run((struct harness){.testdev = true}, script_level, NULL, check_level);
}

/* --- ExtINT and NMI beside it --- */

static void tick(u8 vector, u32 error __unused)
{
	take(vector);
	g_out(0x20, 0x20, 1);
}

static void init_pics(void)
{
	g_out(0x20, 0x11, 1);
	g_out(0x21, PIC, 1);
	g_out(0x21, 0x04, 1);
	g_out(0x21, 0x01, 1);
	g_out(0x21, 0xfd, 1); /* input 1 */
}

static void extint_line(bool level)
{
	g_out(0x2001, level, 1);
}

static void script_extint(void *arg __unused)
{
	u64 changes;

	enable();
	g_set_handler(PIC + 1, tick);
	g_apic_write(APIC_LVT0, APIC_DM_EXTINT);
	init_pics();
	changes = harness_counter(COUNTER_ACCEL_CHANGES);
	for (u32 i = 0; i < ROUNDS; i++) {
		/* Both wait for IF: a window, and meanwhile the processor delivers nothing. */
		g_cli();
		self(VECTOR);
		extint_line(true);
		g_nop();
		g_sti();
		g_nop();
		g_nop();
		extint_line(false);
		expect_taken(2, (const u8[]){PIC + 1, VECTOR});
		G_CHECK(is_on(0) && !atomic32_read(&harness_vm->inhibit.mask));
	}
	G_CHECK_EQUAL(harness_counter(COUNTER_ACCEL_CHANGES), changes);
	g_exit(0);
}

static void check_extint(void)
{
	assert_int_equal(harness_counter(COUNTER_INJ_EXTINT), ROUNDS);
	assert_int_equal(harness_counter(COUNTER_WINDOWS), ROUNDS);
	assert_int_equal(harness_counter(COUNTER_IRQ_WINDOWS), 0);
	assert_int_equal(harness_counter(COUNTER_HW_DELIVERED), ROUNDS);
}

static void test_extint_beside_acceleration(void **state __unused)
{
	run((struct harness){.testdev = true}, script_extint, NULL, check_extint);
}

/* --- off and on --- */

/* By a reason of the VM, or by one of this vCPU's own. */
static void off(bool local)
{
	if (local)
		g_apic_write(APIC_SVR, 0xff);
	else
		g_apic_write(APIC_ID, ALONE << 24);
	G_CHECK(!is_on(0));
}

static void on(bool local)
{
	if (local)
		g_apic_write(APIC_SVR, APIC_SVR_ENABLE | 0xff);
	else
		g_apic_write(APIC_ID, 0);
	G_CHECK(is_on(0));
}

static bool locally;
static u32
        steps; /* of the test below: bit 0: off in the handler, 1: on again there, 2: off behind its end */

/* In service when acceleration goes and comes. */
static void low_handler(u8 vector, u32 error __unused)
{
	take(vector);
	if (steps & BIT(0))
		off(locally);
	if (steps & BIT(1))
		on(locally);
	held = g_apic_read(APIC_PPR);
	G_CHECK_EQUAL(held, LOW & 0xf0);
	g_sti();
	g_nop(); /* one that waited, and is higher */
	if (is_on(0) || !locally)
		self(LOW + 1); /* the same class: waits */
	g_nop();
	g_cli();
	g_apic_eoi();
}

static void script_hand_over(void *arg __unused)
{
	enable();
	g_set_handler(LOW, low_handler);
	g_set_handler(LOW + 1, handler);
	for (steps = 0; steps < 8; steps++) {
		if (locally && steps & BIT(0) && !(steps & BIT(1)))
			continue; /* it would accept nothing more */
		/* Requested; switched off and on again before it is taken. */
		self(LOW);
		off(locally);
		on(locally);
		g_sti();
		g_nop();
		g_nop();
		g_cli();
		if (!is_on(0))
			on(locally);
		if (steps & BIT(2)) {
			off(locally);
			on(locally);
		}
		expect_taken(2, (const u8[]){LOW, LOW + 1});
		/* Several at once: the highest first, and each once. */
		self(VECTOR);
		self(HIGH);
		off(locally);
		if (steps & BIT(2))
			on(locally);
		g_sti();
		g_nop();
		g_nop();
		g_cli();
		if (!is_on(0))
			on(locally);
		expect_taken(2, (const u8[]){HIGH, VECTOR});
	}
	g_exit(0);
}

/* In xAPIC mode, whose ID a guest may change. */
static void run_hand_over(bool own)
{
	locally = own;
	takes = 0;
	harness_create(&(struct harness){.processor = "broadwell", .xapic = true});
	guest_bind(HARNESS_BSP, script_hand_over, NULL);
	harness_run();
}

static void test_hand_over(void **state __unused)
{
	run_hand_over(false);
	run_hand_over(true);
}

/* --- an exit while the processor delivers --- */

static u32 stale; /* what the processor says of it instead */

static void script_cut_short(void *arg __unused)
{
	enable();
	for (u32 i = 0; i < ROUNDS; i++) {
		g_cli();
		self(VECTOR);
		model()->cpu[0].break_deliveries = 1;
		model()->cpu[0].stale_vectoring = stale;
		g_sti();
		g_nop();
		g_nop();
		G_CHECK_EQUAL(model()->cpu[0].break_deliveries, 0);
		expect_taken(1, (const u8[]){VECTOR});
		/* Nothing is left in service. */
		self(LOW);
		g_nop();
		expect_taken(1, (const u8[]){LOW});
	}
	g_exit(0);
}

static void run_cut_short(u32 said, bool known)
{
	stale = said;
	for (u32 xapic = 0; xapic < 2; xapic++) {
		takes = 0;
		harness_create(&(struct harness){.processor = "broadwell", .xapic = xapic});
		port_machine()->stale_vectoring = known;
		guest_bind(HARNESS_BSP, script_cut_short, NULL);
		harness_run();
	}
}

/* Also by a processor that says an interrupt that has been taken, an exception, or an NMI. */
static void test_cut_short_comes_again(void **state __unused)
{
	run_cut_short(0, false);
	run_cut_short(0, true);
	run_cut_short(VMX_EVENT_VALID | VMX_EVENT_EXTERNAL | LOW, true);
	run_cut_short(VMX_EVENT_VALID | VMX_EVENT_EXCEPTION | VECTOR_UD, true);
	run_cut_short(VMX_EVENT_VALID | VMX_EVENT_NMI | VECTOR_NMI, true);
	run_cut_short(VMX_EVENT_VALID | VMX_EVENT_SOFTWARE | 0x80, true);
}

/* --- from one mode to the other --- */

static void script_modes(void *arg __unused)
{
	u64 base = g_rdmsr(MSR_APIC_BASE);

	enable();
	G_CHECK_EQUAL(atomic32_read(&vcpu(0)->accel.mode), ACCEL_XAPIC);
	self(VECTOR); /* waits */
	g_wrmsr(MSR_APIC_BASE, base | APIC_BASE_EXTD);
	harness.xapic = false;
	G_CHECK_EQUAL(atomic32_read(&vcpu(0)->accel.mode), ACCEL_X2APIC);
	g_sti();
	g_nop();
	expect_taken(1, (const u8[]){VECTOR});
	noted = apic_exits();
	self(HIGH);
	g_nop();
	expect_taken(1, (const u8[]){HIGH});
	G_CHECK_EQUAL(apic_exits(), noted);
	/* The page is no APIC's any more, and for no register that is missing does the processor answer. */
	G_CHECK_EQUAL(g_mmio_read(APIC_BASE_DEFAULT + APIC_TPR), 0xffffffff);
	g_wrmsr(MSR_X2APIC_FIRST + APIC_ICR / 16, 5ull << 32 | APIC_LEVEL_ASSERT | HIGH);
	G_CHECK_EQUAL(g_rdmsr(MSR_X2APIC_FIRST + APIC_ICR / 16) >> 32, 5);
	g_wrmsr(MSR_APIC_BASE, base & ~(u64)APIC_BASE_EN);
	G_CHECK(!is_on(0));
	g_wrmsr(MSR_APIC_BASE, base);
	harness.xapic = true;
	enable();
	G_CHECK_EQUAL(atomic32_read(&vcpu(0)->accel.mode), ACCEL_XAPIC);
	self(LOW);
	g_nop();
	expect_taken(1, (const u8[]){LOW});
	g_exit(0);
}

static void test_change_of_mode(void **state __unused)
{
	takes = 0;
	harness_create(&(struct harness){.processor = "broadwell", .xapic = true});
	guest_bind(HARNESS_BSP, script_modes, NULL);
	harness_run();
}

/* --- software that ends an interrupt of an accelerated APIC --- */

static void end_by_software(u8 vector, u32 error __unused)
{
	take(vector);
	g_wrmsr(MSR_HV_EOI, 0);
}

static void script_software_end(void *arg __unused)
{
	enable();
	g_set_handler(VECTOR, end_by_software);
	g_sti();
	for (u32 i = 0; i < ROUNDS; i++) {
		self(VECTOR);
		g_nop();
		self(LOW); /* SVI is not the ended vector any more, or this would wait */
		g_nop();
		expect_taken(2, (const u8[]){VECTOR, LOW});
	}
	g_exit(0);
}

static void test_software_ends_it(void **state __unused)
{
	run((struct harness){.hyperv = true}, script_software_end, NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_self_ipi_eoi_and_tpr_do_not_exit),
	        cmocka_unit_test(test_ipis_are_harvested),
	        cmocka_unit_test(test_level_triggered_ends_are_told),
	        cmocka_unit_test(test_extint_beside_acceleration),
	        cmocka_unit_test(test_hand_over),
	        cmocka_unit_test(test_cut_short_comes_again),
	        cmocka_unit_test(test_change_of_mode),
	        cmocka_unit_test(test_software_ends_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
