/* SPDX-License-Identifier: BSD-2-Clause */
/* What a vCPU costs in memory, and that running takes none. */
#include "tests/model/harness.h"

#define VCPU_LIMIT (64u << 10) /* besides page tables */
#define VECTOR     0x60

static u64 live_bytes_with(u32 vcpus)
{
	u64 bytes;

	harness_create(&(struct harness){.vcpus = vcpus});
	bytes = arena_live_bytes();
	harness_destroy();
	return bytes;
}

/* The page tables depend on the guest's memory alone, so the difference is the vCPUs'. */
static void test_vm_bytes_per_vcpu_below_64_kib(void **state __unused)
{
	u64 one = live_bytes_with(1);
	u64 many = live_bytes_with(MAX_VCPUS);
	u64 each = (many - one) / (MAX_VCPUS - 1);

	print_message("# %llu bytes for each vCPU, limit %u\n", (unsigned long long)each,
	              VCPU_LIMIT);
	assert_true(many > one);
	assert_true(each <= VCPU_LIMIT);
}

static void handler(u8 vector __unused, u32 error __unused)
{
	g_apic_eoi();
}

/* Entry, exit, IPIs, timer, HLT and wake-up, I/O, MSRs: none of them allocates. */
static void script_busy(void *arg __unused)
{
	u64 before;

	g_apic_enable();
	g_set_handler(VECTOR, handler);
	g_sti();
	before = arena_allocations();
	for (u32 i = 0; i < 100; i++) {
		g_apic_icr(0, APIC_DEST_SELF | VECTOR);
		g_out(0x80, i, 1);
		g_apic_write(APIC_LVTT, VECTOR);
		g_apic_write(APIC_TMICT, 1000);
		g_hlt();
	}
	G_CHECK_EQUAL(arena_allocations(), before);
	g_exit(0);
}

static void test_vm_running_allocates_nothing(void **state __unused)
{
	for (u32 xapic = 0; xapic < 2; xapic++) {
		harness_create(&(struct harness){.xapic = xapic});
		guest_bind(HARNESS_BSP, script_busy, NULL);
		harness_run();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_vm_bytes_per_vcpu_below_64_kib),
	        cmocka_unit_test(test_vm_running_allocates_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
