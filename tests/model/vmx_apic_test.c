/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * APIC virtualization of the model processor with VMX, without the hypervisor: which accesses are virtualized under
 * which controls, exits and what they tell, the TPR and its threshold. SDM volume 3, "APIC Virtualization and
 * Virtual Interrupts". Delivery of interrupts is in vmx_vid_test.c, entry checks are in vmx_rules_test.c; what
 * happens to the virtual-APIC page in detail is in tests/unit/vapic_*.
 */
#include "tests/model/vmx_apic_guest.h"

static void enter(void)
{
	vmx_run_guest();
}

/* --- accesses of the page --- */

static void quiet_page(u32 offset, u32 value)
{
	quietly(WRITE, APIC + offset, value);
	assert_int_equal(*apic(offset), value);
	assert_int_equal(quietly(READ, APIC + offset, 0), value);
}

static void test_tpr_shadow_alone(void **state __unused)
{
	create(ACCESS);
	quiet_page(APIC_TPR, 0x51);
	expect_access(READ, APIC_ID, 4);
	expect_access(WRITE, APIC_EOI, 4);
	expect_access(READ, APIC_EOI, 4);
	expect_access(WRITE, APIC_ICR, 4);
	expect_access(READ, APIC_TPR, 8);
	expect_access(READ, APIC_TPR + 4, 4);
	expect_access(WRITE, APIC_PPR, 1);
	/* Nothing goes to the access page itself. */
	for (u32 i = 0; i < PAGE_SIZE; i++)
		assert_int_equal(access_page[i], 0);
}

static void test_register_virtualization(void **state __unused)
{
	create(ACCESS | REGISTER);
	*apic(APIC_VERSION) = 0x60015;
	assert_int_equal(quietly(READ, APIC + APIC_VERSION, 0), 0x60015);
	assert_int_equal(quietly(READ, APIC + APIC_ICR, 0), 0);
	expect_access(READ, APIC_PPR, 4);
	expect_access(READ, APIC_TMCCT, 4);
	expect_access(WRITE, APIC_VERSION, 4);
	expect_trap(WRITE, APIC + APIC_LVTT, 0x20030, VMX_EXIT_APIC_WRITE, APIC_LVTT);
	assert_int_equal(*apic(APIC_LVTT), 0x20030);
	/* Virtualized, and left to the hypervisor. */
	expect_trap(WRITE, APIC + APIC_EOI, 0, VMX_EXIT_APIC_WRITE, APIC_EOI);
	expect_trap(WRITE, APIC + APIC_ICR, APIC_DEST_SELF | VECTOR, VMX_EXIT_APIC_WRITE, APIC_ICR);
	quietly(WRITE, APIC + APIC_ICR2, 0x05ffffff);
	assert_int_equal(*apic(APIC_ICR2), 0x05000000);
}

static void test_delivery_alone_virtualizes_commands(void **state __unused)
{
	create(ACCESS | VID);
	quiet_page(APIC_TPR, 0x20);
	expect_access(READ, APIC_ID, 4);
	expect_access(WRITE, APIC_SVR, 4);
	quietly(WRITE, APIC + APIC_EOI, 0);
	expect_trap(WRITE, APIC + APIC_ICR, APIC_DEST_OTHERS | VECTOR, VMX_EXIT_APIC_WRITE,
	            APIC_ICR);
	assert_int_equal(quietly(READ, APIC + APIC_ICR, 0), APIC_DEST_OTHERS | VECTOR);
	/* The manual's older editions. */
	model()->vapic_switches &= ~VAPIC_VID_READS;
	expect_access(READ, APIC_ICR, 4);
}

static void test_without_tpr_shadow_all_exit(void **state __unused)
{
	create(ACCESS);
	vmx_change(VMCS_PRIMARY, VMX_PROC_TPR_SHADOW, 0);
	expect_access(READ, APIC_TPR, 4);
	expect_access(WRITE, APIC_TPR, 4);
}

static void test_page_is_known_by_its_frame(void **state __unused)
{
	create(ACCESS | REGISTER);
	*apic(APIC_ID) = 0x03000000;
	assert_int_equal(quietly(READ, SAME + APIC_ID, 0), 0x03000000);
	level1[1] = vmx_hpa(m.memory) | EPT_READ | EPT_EXEC | EPT_TYPE(6);
	assert_true(insn_invept(INVEPT_ALL, 0));
	assert_int_equal(quietly(READ, APIC + APIC_ID, 0), 0x03000000);
	assert_int_not_equal(quietly(READ, SAME + APIC_ID, 0), 0x03000000);
}

static void test_ept_comes_first(void **state __unused)
{
	create(ACCESS);
	level1[0] &= ~EPT_WRITE;
	begin(WRITE, APIC + APIC_TPR, 4, 0x10);
	expect(VMX_EXIT_EPT_VIOLATION,
	       VMX_EPT_Q_WRITE | 5u << 3 | VMX_EPT_Q_LINEAR | VMX_EPT_Q_TRANSLATED);
	assert_int_equal(vmx_read(VMCS_GUEST_PHYSICAL), APIC + APIC_TPR);
	assert_int_equal(*apic(APIC_TPR), 0);
	level1[0] = 0;
	assert_int_equal(vmx_run_guest(), VMX_EXIT_EPT_VIOLATION);
	level1[0] = level1[1] & ~EPT_WRITE;
	skip_access();
	to_hlt();
	assert_int_equal(quietly(READ, APIC + APIC_TPR, 0), 0);
}

#define ELSEWHERE 0x5000u /* in memory, where the guest has neither code nor tables */

static void map_by_2m(void)
{
	m.level2[APIC / MEMORY] = m.level2[0];
	vmx_write(VMCS_APIC_ACCESS, vmx_hpa(m.memory) + ELSEWHERE);
	enter();
}

static void change_address(void)
{
	vmx_write(VMCS_APIC_ACCESS, vmx_hpa(m.memory) + ELSEWHERE);
	enter();
}

static void change_control(void)
{
	vmx_change(VMCS_SECONDARY, ACCESS, 0);
	enter();
}

static void test_what_has_no_defined_outcome(void **state __unused)
{
	create(ACCESS);
	begin(READ, APIC + ELSEWHERE + APIC_TPR, 4, 0);
	ends_the_run(map_by_2m, "more than 4 KiB");
	create(ACCESS);
	quietly(READ, APIC + APIC_TPR, 0);
	ends_the_run(change_address, "no INVEPT");
	create(ACCESS);
	quietly(READ, APIC + APIC_TPR, 0);
	ends_the_run(change_control, "no INVEPT");
	/* With one it is memory. */
	create(ACCESS);
	quiet_page(APIC_TPR, 0x20);
	vmx_change(VMCS_SECONDARY, ACCESS, 0);
	vmx_write(VMCS_TPR_THRESHOLD, 0);
	assert_true(insn_invept(INVEPT_SINGLE, vmx_read(VMCS_EPTP)));
	quietly(WRITE, APIC + APIC_TPR, 0x77);
	assert_int_equal(access_page[APIC_TPR], 0x77);
	assert_int_equal(*apic(APIC_TPR), 0x20);
}

/* The guest's code by pages of 4 KiB, to have one of them be the APIC-access page. */
static void test_fetch_from_the_page(void **state __unused)
{
	u64 *table, page;

	create(ACCESS | REGISTER);
	table = vmx_page();
	for (u64 i = 0; i < 512; i++)
		table[i] = (vmx_hpa(m.memory) + i * PAGE_SIZE) | EPT_READ | EPT_EXEC | EPT_TYPE(6);
	m.level2[GUEST_CODE / MEMORY] = vmx_hpa(table) | EPT_READ | EPT_WRITE | EPT_EXEC;
	to_hlt();
	page = rip() % MEMORY / PAGE_SIZE;
	vmx_write(VMCS_APIC_ACCESS, vmx_hpa(m.memory) + page * PAGE_SIZE);
	assert_true(insn_invept(INVEPT_ALL, 0));
	expect(VMX_EXIT_APIC_ACCESS, VMX_APIC_QUALIFICATION(rip() % PAGE_SIZE, VMX_APIC_FETCH));
}

static void test_physical_access(void **state __unused)
{
	const u64 what = VMX_APIC_QUALIFICATION(0, VMX_APIC_ACCESS_GPA);
	u64 before;

	create(ACCESS);
	vmx_write(VMCS_GUEST_CR3, APIC);
	expect(VMX_EXIT_APIC_ACCESS, what);
	assert_int_equal(rip(), ENTRY);
	/* Behind the MOV that leads there. */
	create(ACCESS);
	to_hlt();
	before = rip();
	begin(CR3, 0, 0, APIC);
	expect(VMX_EXIT_APIC_ACCESS, what);
	assert_int_not_equal(rip(), before);
	assert_int_equal(vmx_read(VMCS_GUEST_CR3), APIC);
	/* Where the control is off, it is memory. */
	create(0);
	vmx_write(VMCS_GUEST_CR3, APIC);
	to_hlt();
}

/* --- TPR --- */

static void test_threshold_at_entry(void **state __unused)
{
	create(ACCESS);
	to_hlt();
	m.apic[APIC_TPR] = 0x4f;
	vmx_write(VMCS_TPR_THRESHOLD, 5);
	/* Behind the injection, before all else. */
	open_interrupts();
	vmx_inject(VMX_EVENT_EXTERNAL, VECTOR);
	vmx_change(VMCS_PIN, 0, VMX_PIN_PREEMPTION_TIMER);
	vmx_change(VMCS_PRIMARY, 0, VMX_PROC_MTF | VMX_PROC_NMI_WINDOW);
	vmx_write(VMCS_PREEMPTION_TIMER, 0);
	insn_apic_send(0, CPU_VECTOR_FORCE);
	expect(VMX_EXIT_TPR_BELOW_THRESHOLD, 0);
	assert_int_equal(depth(), 1);
	assert_int_equal(handled, 0);
	/* Neither without an injection nor with interrupts off is it held up. */
	expect(VMX_EXIT_TPR_BELOW_THRESHOLD, 0);
	m.apic[APIC_TPR] = 0x50;
	expect(VMX_EXIT_PREEMPTION_TIMER, 0);
	/* With virtual-interrupt delivery it has no meaning. */
	vmx_change(VMCS_SECONDARY, 0, VID);
	m.apic[APIC_TPR] = 0;
	vmx_write(VMCS_TPR_THRESHOLD, 0xff);
	expect(VMX_EXIT_PREEMPTION_TIMER, 0);
}

static void test_threshold_behind_a_write(void **state __unused)
{
	create(ACCESS);
	m.apic[APIC_TPR] = 0x50;
	vmx_write(VMCS_TPR_THRESHOLD, 5);
	begin(WRITE, APIC + APIC_TPR, 4, 0x4f);
	expect(VMX_EXIT_TPR_BELOW_THRESHOLD, 0);
	assert_true(guest_engine()->guest[0].insn->done);
	assert_int_equal(*apic(APIC_TPR), 0x4f);
	vmx_write(VMCS_TPR_THRESHOLD, 4);
	to_hlt();
	begin(CR8, 0, 0, 3);
	expect(VMX_EXIT_TPR_BELOW_THRESHOLD, 0);
	assert_int_equal(*apic(APIC_TPR), 0x30);
}

static void test_tpr_with_delivery(void **state __unused)
{
	create(X2APIC | VID);
	vmx_write(VMCS_TPR_THRESHOLD, 0xf);
	request(VECTOR);
	open_interrupts();
	m.apic[APIC_TPR] = 0x40;
	/* Of its own class: masked. */
	to_hlt();
	assert_int_equal(*apic(APIC_PPR), 0x40);
	assert_int_equal(handled, 0);
	quietly(CR8, 0, 5);
	assert_int_equal(*apic(APIC_PPR), 0x50);
	quietly(WRMSR, MSR_X2APIC_FIRST + APIC_TPR / 16, 0x48);
	assert_int_equal(handled, 0);
	quietly(CR8, 0, 3);
	assert_int_equal(handled, 1);
	assert_int_equal(status(), VMX_INTR_STATUS(0, VECTOR));
	/* An exit of CR8's own comes first, and there is no write. */
	vmx_change(VMCS_PRIMARY, 0, VMX_PROC_CR8_LOAD);
	begin(CR8, 0, 0, 9);
	expect(VMX_EXIT_CR, 8);
	assert_int_equal(*apic(APIC_TPR), 0x30);
}

/* --- MSRs --- */

static void intercept(u32 msr, bool write)
{
	m.msr_bitmap[msr / 8 + (write ? 0x800 : 0)] |= BIT(msr % 8);
}

static void test_msrs(void **state __unused)
{
	create(X2APIC | REGISTER | VID);
	*apic(APIC_PPR + 4) = 0x1234; /* all eight bytes are read */
	assert_int_equal(quietly(RDMSR, MSR(APIC_PPR), 0), 0x123400000000);
	quietly(WRMSR, MSR(APIC_TPR), 0x31);
	assert_int_equal(quietly(RDMSR, MSR(APIC_TPR), 0), 0x31);
	expect_fault(WRMSR, MSR(APIC_TPR), 0x100);
	expect_fault(WRMSR, MSR(APIC_TPR), BIT64(32));
	expect_fault(WRMSR, MSR(APIC_EOI), 1);
	expect_fault(WRMSR, MSR(APIC_SELF), 0x100);
	assert_int_equal(*apic(APIC_TPR), 0x31);
	expect_trap(WRMSR, MSR(APIC_SELF), 0xf, VMX_EXIT_APIC_WRITE, APIC_SELF);
	/* The bitmap comes first. */
	intercept(MSR(APIC_TPR), true);
	begin(WRMSR, MSR(APIC_TPR), 0, 0x100);
	expect(VMX_EXIT_WRMSR, 0);
	vmx_skip();
	to_hlt();
	assert_int_equal(quietly(RDMSR, MSR(APIC_TPR), 0), 0x31);
	intercept(MSR(APIC_TPR), false);
	begin(RDMSR, MSR(APIC_TPR), 0, 0);
	expect(VMX_EXIT_RDMSR, 0);
}

static void test_msrs_that_reach_the_host(void **state __unused)
{
	create(X2APIC); /* without register virtualization TPR is all there is */
	quietly(WRMSR, MSR(APIC_TPR), 0x20);
	assert_int_equal(quietly(RDMSR, MSR(APIC_TPR), 0), 0x20);
	begin(RDMSR, MSR(APIC_ID), 0, 0);
	ends_the_run(enter, "the APIC of the host");
	create(X2APIC | REGISTER);
	begin(WRMSR, MSR(APIC_EOI), 0, 0);
	ends_the_run(enter, "the APIC of the host");
	create(X2APIC | REGISTER | VID);
	begin(WRMSR, MSR(APIC_ICR), 0, VECTOR);
	ends_the_run(enter, "the APIC of the host");
	create(REGISTER | VID); /* not in x2APIC mode */
	begin(RDMSR, MSR(APIC_TPR), 0, 0);
	ends_the_run(enter, "the host's register 808");
}

/* --- the processor --- */

static void test_counts(void **state __unused)
{
	u64 before[HW_COUNT];

	create(X2APIC | VID);
	open_interrupts();
	memcpy(before, port_hw_counts(), sizeof(before));
	quietly(WRMSR, MSR(APIC_SELF), VECTOR);
	quietly(WRMSR, MSR(APIC_EOI), 0);
	quietly(CR8, 0, 2);
	assert_int_equal(port_hw_counts()[HW_IPI_SELF] - before[HW_IPI_SELF], 1);
	assert_int_equal(port_hw_counts()[HW_DELIVERED] - before[HW_DELIVERED], 1);
	assert_int_equal(port_hw_counts()[HW_EOI] - before[HW_EOI], 1);
	assert_int_equal(port_hw_counts()[HW_TPR] - before[HW_TPR], 1);
	/* A processor without it does nothing by itself. */
	vmx_create(0, script);
	assert_null(port_hw_counts());
}

static void read_tertiary(void)
{
	insn_rdmsr(MSR_VMX_PROC3);
}

static void test_what_is_offered(void **state __unused)
{
	const u32 all = ACCESS | X2APIC | REGISTER | VID;
	u64 value;

	vmx_create(0, script);
	assert_int_equal(VMX_MAY(insn_rdmsr(MSR_VMX_PROC2)) & all, 0);
	assert_false(insn_vmread(VMCS_GUEST_INTR_STATUS, &value));
	assert_int_equal(vmx_read(VMCS_INSTRUCTION_ERROR), VMX_ERROR_FIELD);
	vmx_create(FEATURES, script);
	assert_int_equal(VMX_MAY(insn_rdmsr(MSR_VMX_PROC2)) & all, all);
	assert_true(insn_vmread(VMCS_GUEST_INTR_STATUS, &value));
	/* Posting, each part by its feature. */
	vmx_create(MODEL_APICV, script);
	assert_int_equal(VMX_MAY(insn_rdmsr(MSR_VMX_TRUE_PIN)) & VMX_PIN_POSTED, 0);
	assert_false(insn_vmread(VMCS_PI_DESC, &value));
	vmx_create(MODEL_APICV | MODEL_POSTED, script);
	assert_int_equal(VMX_MAY(insn_rdmsr(MSR_VMX_TRUE_PIN)) & VMX_PIN_POSTED, VMX_PIN_POSTED);
	assert_int_equal(VMX_MUST(insn_rdmsr(MSR_VMX_TRUE_PIN)) & VMX_PIN_POSTED, 0);
	assert_true(insn_vmread(VMCS_PI_DESC, &value) && insn_vmread(VMCS_PI_VECTOR, &value));
	assert_int_equal(VMX_MAY(insn_rdmsr(MSR_VMX_TRUE_PROC)) & VMX_PROC_TERTIARY, 0);
	assert_false(insn_vmread(VMCS_TERTIARY, &value) || insn_vmread(VMCS_PI_TABLE, &value));
	assert_int_equal(insn_rdmsr(MSR_VMX_VMCS_ENUM), 0x2e);
	ends_the_run(read_tertiary, "RDMSR of 492");
	vmx_create(MODEL_APICV | MODEL_POSTED | MODEL_IPIV, script);
	assert_int_equal(VMX_MAY(insn_rdmsr(MSR_VMX_PROC)) & VMX_PROC_TERTIARY, VMX_PROC_TERTIARY);
	assert_int_equal(insn_rdmsr(MSR_VMX_PROC3), VMX_PROC3_IPIV);
	assert_true(insn_vmread(VMCS_TERTIARY, &value) && insn_vmread(VMCS_PI_TABLE, &value) &&
	            insn_vmread(VMCS_LAST_PI_INDEX, &value));
	assert_int_equal(insn_rdmsr(MSR_VMX_VMCS_ENUM), 0x42);
}

/* An entry that fails has not looked at the page. */
static void test_entry_that_fails_evaluates_nothing(void **state __unused)
{
	create(VID);
	request(VECTOR);
	open_interrupts();
	m.apic[APIC_TPR] = 0x20;
	vmx_write(VMCS_GUEST_ACTIVITY, VMX_SHUTDOWN);
	assert_true(insn_vmx_run(m.gpr, false, vmx_never, NULL));
	assert_true(vmx_read(VMCS_EXIT_REASON) & VMX_EXIT_ENTRY_FAILED);
	assert_int_equal(*apic(APIC_PPR), 0);
	assert_int_equal(status(), VECTOR);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_tpr_shadow_alone),
	        cmocka_unit_test(test_register_virtualization),
	        cmocka_unit_test(test_delivery_alone_virtualizes_commands),
	        cmocka_unit_test(test_without_tpr_shadow_all_exit),
	        cmocka_unit_test(test_page_is_known_by_its_frame),
	        cmocka_unit_test(test_ept_comes_first),
	        cmocka_unit_test(test_what_has_no_defined_outcome),
	        cmocka_unit_test(test_fetch_from_the_page),
	        cmocka_unit_test(test_physical_access),
	        cmocka_unit_test(test_threshold_at_entry),
	        cmocka_unit_test(test_threshold_behind_a_write),
	        cmocka_unit_test(test_tpr_with_delivery),
	        cmocka_unit_test(test_msrs),
	        cmocka_unit_test(test_msrs_that_reach_the_host),
	        cmocka_unit_test(test_counts),
	        cmocka_unit_test(test_what_is_offered),
	        cmocka_unit_test(test_entry_that_fails_evaluates_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
