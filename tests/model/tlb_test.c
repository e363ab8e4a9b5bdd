/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Nested translations: the model keeps them until they are flushed, so what the hypervisor forgets
 * to flush is used again here and caught.
 */
#include "tests/model/harness.h"

#define PAGE_A    0x280000u /* whose mapping changes */
#define CONTROL   0x700     /* test's own port: value selects what to do */
#define WORD_STOP 0
#define WORD_GO   1

enum {
	DO_UNMAP,
	DO_MAP_OTHER,
	DO_MAP_READ_ONLY,
	DO_UNMAP_APIC
};

static u8 *other_page;

static u64 control_read(void *device __unused, struct vcpu *vcpu __unused, u64 offset __unused,
                        u32 size __unused)
{
	return 0;
}

static void control_write(void *device __unused, struct vcpu *vcpu, u64 offset __unused,
                          u32 size __unused, u64 value)
{
	struct vm *vm = vcpu->vm;

	if (value == DO_UNMAP)
		mmu_zap(vm, GPA(PAGE_A), PAGE_SIZE);
	else if (value == DO_UNMAP_APIC)
		mmu_zap(vm, GPA(APIC_BASE_DEFAULT), PAGE_SIZE);
	else if (value == DO_MAP_OTHER)
		mmu_map(vm, GPA(PAGE_A), ptr_to_hpa(other_page), PAGE_SIZE,
		        MMU_READ | MMU_WRITE | MMU_EXEC);
	else
		mmu_map(vm, GPA(PAGE_A), ptr_to_hpa(other_page), PAGE_SIZE, MMU_READ);
}

static const struct bus_ops control_ops = {control_read, control_write};

static void create(const struct harness *config)
{
	harness_create(config);
	bus_register(&harness_vm->io, CONTROL, 4, &control_ops, NULL);
	other_page = port_alloc(PAGE_SIZE, PAGE_SIZE);
	assert_non_null(other_page);
}

static void finish(void)
{
	harness_run_to_end(ENDED_DEBUG_EXIT);
	assert_int_equal(atomic32_read(&harness_vm->exit_code), 1);
	port_free(other_page, PAGE_SIZE);
	harness_destroy();
}

static void script_remap(void *arg __unused)
{
	g_write(PAGE_A, 0x1111, 4);
	G_CHECK_EQUAL(g_read(PAGE_A, 4), 0x1111);
	g_out(CONTROL, DO_MAP_OTHER, 4);
	G_CHECK_EQUAL(g_read(PAGE_A, 4), 0);
	g_write(PAGE_A, 0x2222, 4);
	g_out(CONTROL, DO_MAP_READ_ONLY, 4);
	G_CHECK_EQUAL(g_read(PAGE_A, 4), 0x2222);
	g_write(PAGE_A, 0x3333, 4); /* dropped */
	G_CHECK_EQUAL(g_read(PAGE_A, 4), 0x2222);
	g_out(CONTROL, DO_UNMAP, 4);
	G_CHECK_EQUAL(g_read(PAGE_A, 4), 0xffffffff);
	g_exit(0);
}

static void test_tlb_removed_mapping_is_not_used_again(void **state __unused)
{
	static const u32 features[] = {0, MODEL_FLUSH_ASID, MODEL_CLEAN_BITS,
	                               MODEL_CLEAN_BITS | MODEL_FLUSH_ASID | MODEL_NRIPS};

	for (u32 i = 0; i < ARRAY_SIZE(features); i++) {
		create(&(struct harness){.features = features[i]});
		guest_bind(HARNESS_BSP, script_remap, NULL);
		finish();
	}
}

/* Another processor reads the page all the time while its mapping goes. */
static void ap_reads(void *arg __unused)
{
	bool was_stopped = false;

	for (u64 n = 1;; n++) {
		bool stopped = g_shared(WORD_STOP);
		u64 value = g_read(PAGE_A, 4);

		/* Stopped before the read: the old page is out of reach. */
		if (stopped)
			G_CHECK_EQUAL(value, 0xffffffff);
		else
			G_CHECK(value == 0x1111 || value == 0xffffffff);
		G_CHECK(!was_stopped || stopped);
		was_stopped = stopped;
		g_set_shared(WORD_GO, n);
	}
}

static void script_unmap_under(void *arg __unused)
{
	u64 seen;

	g_apic_enable();
	g_write(PAGE_A, 0x1111, 4);
	g_start_aps();
	g_await(WORD_GO, 5);
	g_out(CONTROL, DO_UNMAP, 4);
	/*
	 * The hypervisor asks the others to flush and does not wait: they are out of the guest
	 * before they can have seen much. What is promised is the end of the old translation once
	 * the other has taken the request, which its next few exits and ours make sure of.
	 */
	seen = g_shared(WORD_GO);
	g_await(WORD_GO, seen + 3);
	g_set_shared(WORD_STOP, 1);
	g_await(WORD_GO, seen + 20);
	g_exit(0);
}

static void test_tlb_other_processors_flush_too(void **state __unused)
{
	for (u32 seed = 0; seed < 6; seed++) {
		create(&(struct harness){
		        .vcpus = 2, .cpus = 1 + seed % 2, .seed = seed, .switch_ppm = 20000});
		guest_bind(HARNESS_BSP, script_unmap_under, NULL);
		guest_bind(HARNESS_AP, ap_reads, NULL);
		finish();
	}
}

/* More flushes than there are address-space identifiers: numbering starts again, with a flush. */
static void script_many_flushes(void *arg __unused)
{
	for (u32 i = 0; i < 10 * MODEL_ASIDS; i++) {
		g_out(CONTROL, i % 2 ? DO_UNMAP : DO_MAP_OTHER, 4);
		G_CHECK_EQUAL(g_read(PAGE_A, 4), i % 2 ? 0xffffffff : 0);
	}
	g_exit(0);
}

static void test_tlb_asids_run_out(void **state __unused)
{
	create(&(struct harness){0});
	guest_bind(HARNESS_BSP, script_many_flushes, NULL);
	finish();
	assert_true(model()->cpu[0].tlb_flushes >= 4);
}

/* More vCPUs than identifiers, each with a page of its own through the same address space. */
#define WORD_MINE 0x40

static u32 apic_id(void)
{
	struct cpuid_regs r;

	g_cpuid(1, 0, &r);
	return r.ebx >> 24;
}

static void ap_own_words(void *arg __unused)
{
	u32 id = apic_id();

	for (u64 i = 1; i <= 40; i++) {
		g_set_shared(WORD_MINE + id, i);
		for (u32 j = 0; j < 400; j++)
			g_nop();
		G_CHECK_EQUAL(g_shared(WORD_MINE + id), i);
	}
	g_set_shared(WORD_MINE + id, 1000);
}

static void script_own_words(void *arg)
{
	g_apic_enable();
	g_start_aps();
	ap_own_words(arg);
	for (u32 id = 1; id < harness.vcpus; id++)
		g_await(WORD_MINE + id, 1000);
	g_exit(0);
}

static void test_tlb_more_vcpus_than_asids(void **state __unused)
{
	create(&(struct harness){.vcpus = MODEL_ASIDS + 4, .cpus = 2});
	guest_bind(HARNESS_BSP, script_own_words, NULL);
	guest_bind(HARNESS_AP, ap_own_words, NULL);
	finish();
}

/* The instruction behind STI faults, and runs again: what is pending still comes behind it. */
#define VECTOR 0x51

static u32 taken;

static void on_vector(u8 vector __unused, u32 error __unused)
{
	taken++;
	g_apic_eoi();
}

static void script_shadow(void *arg __unused)
{
	g_apic_enable();
	g_set_handler(VECTOR, on_vector);
	taken = 0;
	for (u32 i = 1; i <= 3; i++) {
		u32 faults, pending;

		g_cli();
		g_apic_icr(0, APIC_DEST_SELF | APIC_LEVEL_ASSERT | VECTOR);
		g_out(CONTROL, DO_UNMAP_APIC, 4);
		faults = (u32)harness_exits(EXIT_MEMORY);
		g_sti();
		pending = g_apic_read(APIC_IRR + VECTOR / 32 * 16);
		G_CHECK_EQUAL(harness_exits(EXIT_MEMORY), faults + 1);
		G_CHECK_EQUAL(pending, 1u << VECTOR % 32);
		g_nop();
		G_CHECK_EQUAL(taken, i);
	}
	g_exit(0);
}

static void test_tlb_fault_that_maps_keeps_the_shadow(void **state __unused)
{
	static const char *const processors[] = {"milan", "broadwell"};

	for (u32 i = 0; i < ARRAY_SIZE(processors); i++) {
		create(&(struct harness){
		        .processor = processors[i], .xapic = true, .by_hand = true});
		guest_bind(HARNESS_BSP, script_shadow, NULL);
		finish();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_tlb_removed_mapping_is_not_used_again),
	        cmocka_unit_test(test_tlb_other_processors_flush_too),
	        cmocka_unit_test(test_tlb_asids_run_out),
	        cmocka_unit_test(test_tlb_more_vcpus_than_asids),
	        cmocka_unit_test(test_tlb_fault_that_maps_keeps_the_shadow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
