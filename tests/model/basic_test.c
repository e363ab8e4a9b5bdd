/* SPDX-License-Identifier: BSD-2-Clause */
/* What a guest meets first: CPUID, registers that do not exist, ports, memory holes, ends. */
#include "tests/model/harness.h"

/* --- CPUID --- */

static void script_cpuid(void *arg __unused)
{
	struct cpuid_regs r;

	g_cpuid(0x40000000, 0, &r);
	G_CHECK(r.eax >= 0x40000001);
	G_CHECK_EQUAL(r.ebx, 0x4b4d564b); /* "KVMK" */
	G_CHECK_EQUAL(r.ecx, 0x564b4d56); /* "VMKV" */
	G_CHECK_EQUAL(r.edx, 0x4d);       /* "M" */
	g_cpuid(1, 0, &r);
	G_CHECK_EQUAL(r.ebx >> 24, 0); /* initial APIC ID */
	G_CHECK(r.ecx & BIT(31));      /* hypervisor present */
	G_CHECK(!(r.ecx & BIT(3)));    /* no MONITOR */
	g_cpuid(0x80000001, 0, &r);
	G_CHECK(!(r.ecx & BIT(2))); /* no SVM */
	g_exit(0);
}

static void test_cpuid_signature(void **state __unused)
{
	harness_create(&(struct harness){0});
	guest_bind(HARNESS_BSP, script_cpuid, NULL);
	harness_run();
}

static void script_x2apic_bit(void *arg)
{
	struct cpuid_regs r;

	g_cpuid(1, 0, &r);
	G_CHECK_EQUAL(!!(r.ecx & BIT(21)), arg != NULL);
	g_exit(0);
}

static void test_cpuid_x2apic_as_configured(void **state __unused)
{
	harness_create(&(struct harness){0});
	guest_bind(HARNESS_BSP, script_x2apic_bit, &harness);
	harness_run();
	harness_create(&(struct harness){.no_x2apic = true});
	guest_bind(HARNESS_BSP, script_x2apic_bit, NULL);
	harness_run();
}

/* --- MSRs, ports, memory --- */

static void script_unknown_msr(void *arg __unused)
{
	u64 value;

	G_CHECK_EQUAL(g_rdmsr_safe(0x12345678, &value), VECTOR_GP);
	G_CHECK_EQUAL(g_wrmsr_safe(0x12345678, 1), VECTOR_GP);
	G_CHECK_EQUAL(g_rdmsr_safe(0xc0011fff, &value), VECTOR_GP);
	G_CHECK_EQUAL(g_rdmsr_safe(0x1fff, &value), VECTOR_GP);
	/* A register that exists, a value that does not. */
	G_CHECK_EQUAL(g_wrmsr_safe(MSR_EFER, 1ull << 40), VECTOR_GP);
	G_CHECK_EQUAL(g_wrmsr_safe(MSR_EFER, g_rdmsr(MSR_EFER)), 0);
	g_exit(0);
}

static void test_msr_unknown_is_gp(void **state __unused)
{
	harness_create(&(struct harness){0});
	guest_bind(HARNESS_BSP, script_unknown_msr, NULL);
	harness_run_to_end(ENDED_DEBUG_EXIT);
	assert_int_equal(harness_counter(COUNTER_MSR_UNKNOWN), 5);
	assert_int_equal(harness_counter(COUNTER_GP_INJECTED), 5);
	harness_destroy();
}

/* Intel's, but guests of QEMU and KVM find it on every processor. */
static void script_misc_enable(void *arg __unused)
{
	u64 value = g_rdmsr(MSR_MISC_ENABLE);

	G_CHECK_EQUAL(value, MISC_ENABLE_RESET);
	g_wrmsr(MSR_MISC_ENABLE, value | BIT64(18) | BIT64(34));
	G_CHECK_EQUAL(g_rdmsr(MSR_MISC_ENABLE), value | BIT64(18) | BIT64(34));
	/* Read-only bits neither clear nor set. */
	G_CHECK_EQUAL(g_wrmsr_safe(MSR_MISC_ENABLE, value & ~BIT64(11)), VECTOR_GP);
	G_CHECK_EQUAL(g_wrmsr_safe(MSR_MISC_ENABLE, value | BIT64(7)), VECTOR_GP);
	G_CHECK_EQUAL(g_rdmsr(MSR_MISC_ENABLE), value | BIT64(18) | BIT64(34));
	g_exit(0);
}

static void test_msr_misc_enable_remembers(void **state __unused)
{
	harness_create(&(struct harness){0});
	guest_bind(HARNESS_BSP, script_misc_enable, NULL);
	harness_run();
}

/* What the vendors tell differently. */
static void script_vendor(void *arg __unused)
{
	struct cpuid_regs r;

	g_cpuid(4, 0, &r);
	if (!model_has(MODEL_INTEL)) {
		G_CHECK_EQUAL(r.eax, 0);
		g_cpuid(0x80000008, 0, &r);
		G_CHECK_EQUAL(r.ecx & 0xff, 2);
		g_exit(0);
	}
	G_CHECK_EQUAL(r.eax,
	              3u << 26 | 1u << 8 | 1 << 5 | 1); /* the first level's data, a core's own */
	g_cpuid(4, 3, &r);
	G_CHECK_EQUAL(r.eax & ~0x3fffu, 3u << 26 | 3u << 14); /* all cores' */
	g_cpuid(4, 4, &r);
	G_CHECK_EQUAL(r.eax, 0);
	g_cpuid(0x80000008, 0, &r);
	G_CHECK_EQUAL(r.ecx, 0);
	g_cpuid(0x80000001, 0, &r);
	G_CHECK(!(r.ecx & BIT(1)));
	g_exit(0);
}

static void test_cpuid_by_vendor(void **state __unused)
{
	harness_create(&(struct harness){.vcpus = 3});
	guest_bind(HARNESS_BSP, script_vendor, NULL);
	harness_run();
}

static void script_no_svm(void *arg __unused)
{
	u64 value;

	/* The guest sees no SVM: neither its bit in EFER nor its instructions. */
	G_CHECK(!(g_rdmsr(MSR_EFER) & EFER_SVME));
	G_CHECK_EQUAL(g_wrmsr_safe(MSR_EFER, g_rdmsr(MSR_EFER) | EFER_SVME), VECTOR_GP);
	G_CHECK_EQUAL(g_rdmsr_safe(MSR_VM_HSAVE_PA, &value), VECTOR_GP);
	G_CHECK_EQUAL(g_vmrun_safe(), VECTOR_UD);
	G_CHECK_EQUAL(g_ud2_safe(), VECTOR_UD);
	g_exit(0);
}

static void test_svm_is_hidden(void **state __unused)
{
	harness_create(&(struct harness){0});
	guest_bind(HARNESS_BSP, script_no_svm, NULL);
	harness_run();
}

static void script_own_msrs(void *arg __unused)
{
	/* Not intercepted: VMLOAD and VMSAVE carry them over the exits in between. */
	struct cpuid_regs r;

	g_wrmsr(MSR_LSTAR, 0x1234);
	g_wrmsr(MSR_KERNEL_GS_BASE, 0x5678);
	g_wrmsr(MSR_FS_BASE, 0x9abc);
	g_cpuid(0, 0, &r);
	G_CHECK_EQUAL(g_rdmsr(MSR_LSTAR), 0x1234);
	G_CHECK_EQUAL(g_rdmsr(MSR_KERNEL_GS_BASE), 0x5678);
	G_CHECK_EQUAL(g_rdmsr(MSR_FS_BASE), 0x9abc);
	g_exit(0);
}

static void test_msr_switched_with_the_guest(void **state __unused)
{
	harness_create(&(struct harness){0});
	guest_bind(HARNESS_BSP, script_own_msrs, NULL);
	harness_run();
	/* The host has its own back. */
	assert_int_equal(model()->cpu[0].hidden.gs.base, 0xffff800000000000ull);
	/* VMX switches no more than the host uses. */
	if (!model_has(MODEL_INTEL))
		assert_int_equal(model()->cpu[0].hidden.lstar, 0);
}

static void script_unknown_ports(void *arg __unused)
{
	G_CHECK_EQUAL(g_in(0x1234, 1), 0xff);
	G_CHECK_EQUAL(g_in(0x1234, 2), 0xffff);
	G_CHECK_EQUAL(g_in(0x1234, 4), 0xffffffff);
	G_CHECK_EQUAL(g_in(0xfffe, 4), 0xffffffff); /* beyond the last port */
	g_out(0x1234, 0, 4);
	g_exit(0);
}

static void test_io_unknown_reads_ones(void **state __unused)
{
	harness_create(&(struct harness){0});
	guest_bind(HARNESS_BSP, script_unknown_ports, NULL);
	harness_run_to_end(ENDED_DEBUG_EXIT);
	assert_true(harness_counter(COUNTER_PORT_UNKNOWN) >= 4);
	harness_destroy();
}

static void script_memory(void *arg __unused)
{
	static const u32 sizes[] = {1, 2, 4, 8};

	for (u32 i = 0; i < ARRAY_SIZE(sizes); i++) {
		u32 size = sizes[i];
		u64 mask = size == 8 ? ~0ull : (1ull << size * 8) - 1;

		/* RAM */
		g_write(HARNESS_SHARED, 0x1122334455667788, size);
		G_CHECK_EQUAL(g_read(HARNESS_SHARED, size), 0x1122334455667788 & mask);
		/* Between RAM and the device area, and the hole of the video memory */
		g_write(0xd0000000, 0, size);
		G_CHECK_EQUAL(g_read(0xd0000000, size), mask);
		G_CHECK_EQUAL(g_read(0xa0000, size), mask);
	}
	g_exit(0);
}

static void test_memory_unmapped_reads_ones(void **state __unused)
{
	harness_create(&(struct harness){0});
	guest_bind(HARNESS_BSP, script_memory, NULL);
	harness_run_to_end(ENDED_DEBUG_EXIT);
	assert_int_equal(harness_counter(COUNTER_MEMORY_UNKNOWN), 12);
	assert_int_equal(harness_counter(COUNTER_UNDECODED), 0);
	harness_destroy();
}

/* The same with what a processor may have and Postern must not need. */
static void test_memory_by_feature(void **state __unused)
{
	static const u32 features[] = {MODEL_NRIPS,      MODEL_DECODE_ASSIST, MODEL_CLEAN_BITS,
	                               MODEL_FLUSH_ASID, MODEL_XSAVE,         MODEL_PAUSE_FILTER};
	u32 all = 0;

	for (u32 i = 0; i <= ARRAY_SIZE(features); i++) {
		u32 set = i < ARRAY_SIZE(features) ? features[i] : all;

		all |= set;
		harness_create(&(struct harness){.features = set});
		guest_bind(HARNESS_BSP, script_memory, NULL);
		harness_run();
		harness_create(&(struct harness){.features = set});
		guest_bind(HARNESS_BSP, script_no_svm, NULL);
		harness_run();
	}
}

/* --- ends --- */

static void script_triple_fault(void *arg __unused)
{
	g_triple_fault();
}

static void test_vm_triple_fault_ends_it(void **state __unused)
{
	harness_create(&(struct harness){.vcpus = 2, .cpus = 2});
	guest_bind(HARNESS_BSP, script_triple_fault, NULL);
	harness_run_to_end(ENDED_TRIPLE_FAULT);
	assert_int_equal(harness_exits(EXIT_SHUTDOWN), 1);
	harness_destroy();
}

static void script_hypercall(void *arg __unused)
{
	/* No hypercall is offered: neither a crash nor an endless loop, whatever it returns. */
	g_vmmcall_safe();
	g_wbinvd();
	g_exit(0);
}

static void test_exit_hypercall_and_wbinvd(void **state __unused)
{
	harness_create(&(struct harness){0});
	guest_bind(HARNESS_BSP, script_hypercall, NULL);
	harness_run_to_end(ENDED_DEBUG_EXIT);
	assert_int_equal(harness_exits(EXIT_VMCALL), 1);
	assert_int_equal(harness_exits(EXIT_INVALIDATE), 1);
	harness_destroy();
}

/* --- what the processor must have --- */

static void expect_refusal(u32 features, const char *word)
{
	const char *why = "";

	posix_machine_reset(&(struct posix_config){.cpus = 1}, features);
	assert_false(machine_init(port_machine(), &why));
	assert_non_null(strstr(why, word));
}

static void test_svm_refuses_processors_by_name(void **state __unused)
{
	expect_refusal(MODEL_NO_SVM, "no SVM");
	expect_refusal(MODEL_SVM_LOCKED, "disabled");
	expect_refusal(MODEL_NO_NPT, "nested paging");
}

static void test_vmx_refuses_processors_by_name(void **state __unused)
{
	expect_refusal(MODEL_INTEL | MODEL_NO_VMX, "no VMX");
	expect_refusal(MODEL_INTEL | MODEL_VMX_LOCKED, "disabled");
	expect_refusal(MODEL_INTEL | MODEL_NO_NPT, "EPT");
	expect_refusal(MODEL_INTEL | MODEL_NO_UNRESTRICTED, "unrestricted");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_cpuid_signature),
	        cmocka_unit_test(test_cpuid_x2apic_as_configured),
	        cmocka_unit_test(test_cpuid_by_vendor),
	        cmocka_unit_test(test_msr_unknown_is_gp),
	        cmocka_unit_test(test_msr_misc_enable_remembers),
	        cmocka_unit_test(test_svm_is_hidden),
	        cmocka_unit_test(test_msr_switched_with_the_guest),
	        cmocka_unit_test(test_io_unknown_reads_ones),
	        cmocka_unit_test(test_memory_unmapped_reads_ones),
	        cmocka_unit_test(test_memory_by_feature),
	        cmocka_unit_test(test_vm_triple_fault_ends_it),
	        cmocka_unit_test(test_exit_hypercall_and_wbinvd),
	        cmocka_unit_test(test_svm_refuses_processors_by_name),
	        cmocka_unit_test(test_vmx_refuses_processors_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
