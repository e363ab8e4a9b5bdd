/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Initial APIC IDs that the run chooses: what the guest sees of them, and that IPIs by ID, by logical ID
 * and by shorthand reach whom they name, with and without hardware delivery, whether the processor's
 * table has room for the IDs or not.
 */
#include "irq/inhibit.h"
#include "tests/model/harness.h"

#define VECTOR 0x61
#define ROUNDS 20
#define COUNT  4

#define IDS(...)                                                                                   \
	{                                                                                          \
		.count = COUNT, .id = { __VA_ARGS__ }                                              \
	}

/* In x2APIC mode from the beginning where one of them is beyond xAPIC mode. */
static const struct ids_case {
	struct apic_ids ids;
	u32 core_bits;
	bool small, no_x2apic;
	const char *processor;
	bool delivers; /* by the processor */
	bool too_big;
} cases[] = {
        {IDS(0, 1, 300, 600), 10, false, false, "barcelona", false, false},
        {IDS(0, 1, 300, 600), 10, false, false, "westmere", false, false},
        {IDS(0, 1, 300, 600), 10, false, false, "broadwell", true, false},
        {IDS(0, 1, 300, 600), 10, false, false, "genoa", false, true},
        {IDS(0, 1, 300, 600), 10, false, false, "assist-genoa", false, true},
        {IDS(0, 1, 300, 600), 10, false, false, "milan", false, true},
        {IDS(511, 255, 16, 0), 9, false, false, "barcelona", false, false},
        {IDS(511, 255, 16, 0), 9, false, false, "genoa", true, false},
        {IDS(511, 255, 16, 0), 9, false, false, "assist-genoa", true, false},
        {IDS(0xfffffffe, 0x10000, 0xabcd1234, 256), 31, false, false, "genoa", false, true},
        {IDS(0xfffffffe, 0x10000, 0xabcd1234, 256), 31, false, false, "barcelona", false, false},
        {IDS(0xfffffffe, 0x10000, 0xabcd1234, 256), 31, false, false, "broadwell", true, false},
        {IDS(254, 7, 3, 253), 8, true, true, "broadwell", true, false},
        {IDS(254, 7, 3, 253), 8, true, true, "barcelona", false, false},
        {IDS(254, 7, 3, 253), 8, true, true, "westmere", false, false},
        {IDS(254, 7, 3, 253), 8, true, true, "milan", true, false},
        {IDS(254, 7, 3, 253), 8, true, true, "genoa", true, false},
        {IDS(254, 7, 3, 253), 8, true, false, "genoa", true, false},
};

static const struct ids_case *at;

/* By a vCPU's place in the list. */
enum {
	STARTED,
	TAKEN = STARTED + COUNT, /* interrupts */
};

static u32 own_id(void)
{
	struct cpuid_regs r;

	g_cpuid(0xb, 0, &r);
	return r.edx;
}

static u32 own_place(void)
{
	u32 id = own_id();

	for (u32 i = 0; i < COUNT; i++)
		if (at->ids.id[i] == id)
			return i;
	g_fail(__FILE__, __LINE__, "an ID that is not in the list");
}

static void handler(u8 vector __unused, u32 error __unused)
{
	u32 place = own_place();

	g_set_shared(TAKEN + place, g_shared(TAKEN + place) + 1);
	g_apic_eoi();
}

/* The ID in its places: SDM volume 2, "CPUID"; volume 3, "x2APIC ID", "Logical x2APIC ID". */
static void check_identity(void)
{
	struct cpuid_regs r;
	u32 id = own_id();

	g_cpuid(1, 0, &r);
	G_CHECK_EQUAL(r.ebx >> 24, id & 0xff);
	g_cpuid(0xb, 1, &r);
	G_CHECK_EQUAL(r.edx, id);
	G_CHECK_EQUAL(r.eax, at->core_bits);
	if (!model_has(MODEL_INTEL)) {
		g_cpuid(0x80000008, 0, &r);
		G_CHECK_EQUAL(r.ecx & 0xff, COUNT - 1);
		G_CHECK_EQUAL(r.ecx >> 12 & 0xf, at->core_bits < 15 ? at->core_bits : 15);
	}
	g_cpuid(0x40000000 + KVM_CPUID_FEATURES, 0, &r);
	G_CHECK_EQUAL(r.eax & BIT(KVM_FEATURE_MSI_EXT_DEST_ID),
	              at->small ? 0 : BIT(KVM_FEATURE_MSI_EXT_DEST_ID));
	G_CHECK_EQUAL(g_rdmsr(MSR_APIC_BASE) & (APIC_BASE_EN | APIC_BASE_EXTD),
	              at->small ? APIC_BASE_EN : APIC_BASE_EN | APIC_BASE_EXTD);
	g_apic_enable();
	G_CHECK_EQUAL(g_apic_read(APIC_ID), harness.xapic ? id << 24 : id);
	if (!harness.xapic)
		G_CHECK_EQUAL(g_apic_read(APIC_LDR), id >> 4 << 16 | BIT(id & 15));
}

static void ap(void *arg __unused)
{
	check_identity();
	g_sti();
	g_set_shared(STARTED + own_place(), 1);
	for (;;)
		g_hlt();
}

static void await_all(const u64 *want)
{
	for (u32 i = 0; i < COUNT; i++)
		g_await(TAKEN + i, want[i]);
}

static void by_id(u64 *want)
{
	for (u32 round = 0; round < ROUNDS; round++) {
		for (u32 i = 0; i < COUNT; i++) {
			g_apic_icr(at->ids.id[i], APIC_LEVEL_ASSERT | VECTOR);
			want[i]++;
			g_await(TAKEN + i, want[i]);
		}
	}
}

static void by_logical_id(u64 *want)
{
	for (u32 i = 0; i < COUNT && !harness.xapic; i++) {
		u32 id = at->ids.id[i];

		g_apic_icr(id >> 4 << 16 | BIT(id & 15),
		           APIC_LEVEL_ASSERT | APIC_DEST_LOGICAL | VECTOR);
		want[i]++;
		await_all(want);
	}
}

static void by_shorthand(u64 *want)
{
	for (u32 round = 0; round < ROUNDS; round++) {
		g_apic_icr(0, APIC_DEST_OTHERS | APIC_LEVEL_ASSERT | VECTOR);
		for (u32 i = 1; i < COUNT; i++)
			want[i]++;
		await_all(want);
		g_apic_icr(0, APIC_DEST_SELF | APIC_LEVEL_ASSERT | VECTOR);
		want[0]++;
		await_all(want);
		g_apic_icr(0, APIC_DEST_ALL | APIC_LEVEL_ASSERT | VECTOR);
		for (u32 i = 0; i < COUNT; i++)
			want[i]++;
		await_all(want);
	}
}

/* To IDs that nobody has, and to all by the broadcast ID. */
static void by_odd_ids(u64 *want)
{
	static const u32 nobody[] = {2, 44, 88, 301, 512, 0x80000000};

	for (u32 i = 0; i < ARRAY_SIZE(nobody); i++)
		g_apic_icr(nobody[i], APIC_LEVEL_ASSERT | VECTOR);
	g_apic_icr(harness.xapic ? 0xff : 0xffffffff, APIC_LEVEL_ASSERT | VECTOR);
	for (u32 i = 0; i < COUNT; i++)
		want[i]++;
	await_all(want);
}

static void bsp(void *arg __unused)
{
	u64 want[COUNT] = {0};

	g_set_handler(VECTOR, handler);
	check_identity();
	G_CHECK_EQUAL(own_place(), 0);
	g_sti();
	/* One by one, by their IDs. */
	for (u32 i = 1; i < COUNT; i++) {
		g_apic_icr(at->ids.id[i], APIC_DM_INIT | APIC_LEVEL_ASSERT);
		g_apic_icr(at->ids.id[i], APIC_DM_SIPI | APIC_LEVEL_ASSERT | HARNESS_SIPI);
		g_await(STARTED + i, 1);
		for (u32 j = i + 1; j < COUNT; j++)
			G_CHECK_EQUAL(g_shared(STARTED + j), 0);
	}
	by_id(want);
	by_logical_id(want);
	by_shorthand(want);
	by_odd_ids(want);
	by_id(want);
	g_exit(0);
}

static void test_ipis_reach_whom_they_name(void **state __unused)
{
	for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
		at = &cases[i];
		harness_create(&(struct harness){.vcpus = COUNT,
		                                 .cpus = 2,
		                                 .processor = at->processor,
		                                 .apic_ids = at->ids,
		                                 .no_x2apic = at->no_x2apic,
		                                 .xapic = at->no_x2apic});
		assert_int_equal(inhibit_stands(harness_vm, INHIBIT_PHYSICAL_ID_TOO_BIG),
		                 at->too_big);
		guest_bind(HARNESS_BSP, bsp, NULL);
		guest_bind(HARNESS_AP, ap, NULL);
		harness_run_to_end(ENDED_DEBUG_EXIT);
		assert_int_equal(atomic32_read(&harness_vm->exit_code), 1);
		if (at->delivers)
			assert_true(harness_counter(COUNTER_HW_DELIVERED) > 0);
		else
			assert_int_equal(harness_counter(COUNTER_HW_DELIVERED), 0);
		harness_destroy();
	}
}

/* --- back in xAPIC mode: the low 8 bits --- */

static void script_back(void *arg __unused)
{
	u64 base = g_rdmsr(MSR_APIC_BASE);

	G_CHECK(base & APIC_BASE_EXTD);
	G_CHECK(g_wrmsr_safe(MSR_APIC_BASE, base & ~(u64)APIC_BASE_EXTD)); /* not in one step */
	g_wrmsr(MSR_APIC_BASE, base & ~(u64)(APIC_BASE_EXTD | APIC_BASE_EN));
	g_wrmsr(MSR_APIC_BASE, base & ~(u64)APIC_BASE_EXTD);
	G_CHECK_EQUAL(g_apic_read(APIC_ID), (300u & 0xff) << 24);
	G_CHECK_EQUAL(own_id(), 300);
	g_apic_write(APIC_SVR, APIC_SVR_ENABLE | 0xff);
	g_set_handler(VECTOR, handler);
	g_sti();
	g_apic_icr(300 & 0xff, APIC_LEVEL_ASSERT | VECTOR);
	g_nop();
	G_CHECK_EQUAL(g_shared(TAKEN), 1);
	harness.xapic = false;
	g_apic_enable();
	G_CHECK_EQUAL(g_apic_read(APIC_ID), 300);
	g_apic_icr(300, APIC_LEVEL_ASSERT | VECTOR);
	g_nop();
	G_CHECK_EQUAL(g_shared(TAKEN), 2);
	g_exit(0);
}

static void test_xapic_mode_shows_the_low_bits(void **state __unused)
{
	static const struct ids_case alone = {IDS(300, 301, 302, 303), 9, false, false, "", 0, 0};
	static const char *const processors[] = {"barcelona", "milan", "genoa", "westmere",
	                                         "broadwell"};

	at = &alone;
	for (u32 i = 0; i < ARRAY_SIZE(processors); i++) {
		harness_create(&(struct harness){.vcpus = COUNT,
		                                 .processor = processors[i],
		                                 .apic_ids = alone.ids,
		                                 .xapic = true});
		guest_bind(HARNESS_BSP, script_back, NULL);
		harness_run();
	}
}

/* --- what vm_create() refuses, whoever asks --- */

static void test_bad_lists_are_refused(void **state __unused)
{
	static const struct apic_ids bad[] = {
	        {.count = 1, .id = {0}},
	        {.count = 3, .id = {0, 1, 2}},
	        {.count = 2, .id = {5, 5}},
	        {.count = 2, .id = {0, 0xffffffff}},
	};
	struct vm_config config;

	harness_create(&(struct harness){.vcpus = 2});
	for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
		config = harness_vm->config;
		config.apic_ids = bad[i];
		assert_null(vm_create(port_machine(), &config));
	}
	config = harness_vm->config;
	config.x2apic = false;
	config.apic_ids = (struct apic_ids){.count = 2, .id = {0, 255}};
	assert_null(vm_create(port_machine(), &config));
	harness_destroy();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_ipis_reach_whom_they_name),
	        cmocka_unit_test(test_xapic_mode_shows_the_low_bits),
	        cmocka_unit_test(test_bad_lists_are_refused),
	};

	return cmocka_run_group_tests_name("apic_ids", tests, NULL, NULL);
}
