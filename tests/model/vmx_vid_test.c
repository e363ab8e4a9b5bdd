/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Virtual-interrupt delivery by the model processor with VMX, without the hypervisor: at entry, behind instructions
 * and among other events, end of interrupt, self-IPIs, HLT. SDM volume 3, "Evaluation and Delivery of Virtual
 * Interrupts", "Priority Among Concurrent Events". See vmx_apic_test.c.
 */
#include "tests/model/vmx_apic_guest.h"

/* --- delivery --- */

static void test_entry_with_a_pending_interrupt(void **state __unused)
{
	create(VID);
	request(LOWER);
	request(VECTOR);
	open_interrupts();
	to_hlt();
	/* One, and it is in service; the lower one waits for its end. */
	assert_int_equal(handled, 1);
	assert_int_equal(order[0], VECTOR);
	assert_int_equal(status(), VMX_INTR_STATUS(LOWER, VECTOR));
	assert_true(is_set(APIC_ISR, VECTOR) && !is_set(APIC_IRR, VECTOR) &&
	            is_set(APIC_IRR, LOWER));
	assert_int_equal(*apic(APIC_PPR), 0x40);
	/* Guest interrupt status is what counts, not what else the page has. */
	create(VID);
	*of_vector(APIC_IRR, VECTOR) |= BIT(VECTOR % 32);
	open_interrupts();
	to_hlt();
	assert_int_equal(handled, 0);
	/* And without the control the field is as it was. */
	create(0);
	vmx_write(VMCS_GUEST_INTR_STATUS, VECTOR);
	open_interrupts();
	to_hlt();
	assert_int_equal(handled, 0);
	assert_int_equal(status(), VECTOR);
	assert_int_equal(*apic(APIC_PPR), 0);
}

static void test_interrupts_have_to_be_open(void **state __unused)
{
	create(VID);
	request(VECTOR);
	to_hlt();
	assert_int_equal(handled, 0);
	assert_int_equal(status(), VECTOR);
	open_interrupts();
	vmx_write(VMCS_GUEST_INTERRUPTIBILITY, VMX_BLOCKED_STI);
	vmx_change(VMCS_PRIMARY, 0, VMX_PROC_MTF);
	/* An instruction in the shadow; then delivery, with a boundary before the handler's first one. */
	expect(VMX_EXIT_MTF, 0);
	assert_int_equal(depth(), 0);
	expect(VMX_EXIT_MTF, 0);
	assert_int_equal(depth(), 1);
	assert_int_equal(handled, 0);
	assert_int_equal(status(), VMX_INTR_STATUS(0, VECTOR));
}

static void test_injected_event_comes_first(void **state __unused)
{
	create(VID);
	to_hlt();
	request(VECTOR);
	open_interrupts();
	vmx_inject(VMX_EVENT_EXTERNAL, HIGHER);
	vmx_change(VMCS_PRIMARY, 0, VMX_PROC_MTF);
	expect(VMX_EXIT_MTF, 0);
	assert_int_equal(depth(), 1);
	/* An injection is nothing to the page. */
	assert_int_equal(status(), VECTOR);
	assert_false(is_set(APIC_ISR, HIGHER));
	vmx_change(VMCS_PRIMARY, VMX_PROC_MTF, 0);
	to_hlt();
	assert_int_equal(handled, 2);
	assert_int_equal(order[0], HIGHER);
	assert_int_equal(order[1], VECTOR);
}

static void test_priorities(void **state __unused)
{
	create(VID);
	to_hlt();
	request(VECTOR);
	open_interrupts();
	insn_apic_send(0, CPU_VECTOR_FORCE);
	/* One by one what comes before a virtual interrupt, the highest first. */
	vmx_write(VMCS_EXCEPTIONS, BIT(VECTOR_DB));
	vmx_write(VMCS_GUEST_PENDING_DEBUG, VMX_DEBUG_BS);
	vmx_change(VMCS_PIN, 0, VMX_PIN_PREEMPTION_TIMER);
	vmx_change(VMCS_PRIMARY, 0, VMX_PROC_NMI_WINDOW | VMX_PROC_INTR_WINDOW);
	vmx_write(VMCS_PREEMPTION_TIMER, 0);
	insn_apic_send(0, APIC_DM_NMI);
	assert_int_equal(vmx_run_guest(), VMX_EXIT_EXCEPTION);
	assert_int_equal(vmx_read(VMCS_EXIT_INFO) & VMX_EVENT_VECTOR, VECTOR_DB);
	expect(VMX_EXIT_PREEMPTION_TIMER, 0);
	vmx_change(VMCS_PIN, VMX_PIN_PREEMPTION_TIMER, 0);
	expect(VMX_EXIT_NMI_WINDOW, 0);
	vmx_change(VMCS_PRIMARY, VMX_PROC_NMI_WINDOW, 0);
	assert_int_equal(vmx_run_guest(), VMX_EXIT_EXCEPTION);
	assert_int_equal(vmx_read(VMCS_EXIT_INFO) & VMX_EVENT_VECTOR, VECTOR_NMI);
	/* The window in its place. */
	expect(VMX_EXIT_INTR_WINDOW, 0);
	vmx_change(VMCS_PRIMARY, VMX_PROC_INTR_WINDOW, 0);
	assert_int_equal(status(), VECTOR);
	assert_int_equal(depth(), 0);
	/* A physical interrupt comes behind it, and before the handler. */
	expect(VMX_EXIT_EXTERNAL, 0);
	assert_int_equal(status(), VMX_INTR_STATUS(0, VECTOR));
	assert_int_equal(depth(), 1);
	assert_int_equal(handled, 0);
}

static void test_delivery_cut_short(void **state __unused)
{
	create(VID);
	to_hlt();
	request(VECTOR);
	open_interrupts();
	model()->cpu[0].break_deliveries = 1;
	vmx_run_guest();
	assert_int_equal(vmx_read(VMCS_IDT_INFO), VMX_EVENT_VALID | VMX_EVENT_EXTERNAL | VECTOR);
	assert_int_equal(depth(), 0);
	/* To the page it is delivered: it is for the hypervisor to inject it. */
	assert_int_equal(status(), VMX_INTR_STATUS(0, VECTOR));
	assert_true(is_set(APIC_ISR, VECTOR));
	vmx_inject(VMX_EVENT_EXTERNAL, VECTOR);
	to_hlt();
	assert_int_equal(handled, 1);
	assert_int_equal(status(), VMX_INTR_STATUS(0, VECTOR));
}

/* --- end of interrupt --- */

static void in_service(u32 controls)
{
	create(controls);
	request(LOWER);
	request(VECTOR);
	open_interrupts();
	to_hlt();
	assert_int_equal(handled, 1);
}

static void test_eoi_without_an_exit(void **state __unused)
{
	const u32 modes[] = {ACCESS | VID, ACCESS | VID | REGISTER, X2APIC | VID};

	for (u32 i = 0; i < ARRAY_SIZE(modes); i++) {
		in_service(modes[i]);
		if (modes[i] & X2APIC)
			quietly(WRMSR, MSR(APIC_EOI), 0);
		else
			quietly(WRITE, APIC + APIC_EOI, 0x1234);
		assert_int_equal(*apic(APIC_EOI), 0);
		assert_int_equal(handled, 2);
		assert_int_equal(order[1], LOWER);
		assert_int_equal(status(), VMX_INTR_STATUS(0, LOWER));
	}
}

static void test_eoi_by_the_bitmap(void **state __unused)
{
	const u32 modes[] = {ACCESS | VID, X2APIC | VID};

	for (u32 i = 0; i < ARRAY_SIZE(modes); i++) {
		in_service(modes[i]);
		vmx_write((u32)VMCS_EOI_EXIT(VECTOR / 64), BIT64(VECTOR % 64));
		begin(modes[i] & X2APIC ? WRMSR : WRITE,
		      modes[i] & X2APIC ? MSR(APIC_EOI) : APIC + APIC_EOI, 4, 0);
		expect(VMX_EXIT_EOI, VECTOR);
		/* Ended; the next is recognized by the entry. */
		assert_true(guest_engine()->guest[0].insn->done);
		assert_int_equal(status(), LOWER);
		assert_int_equal(handled, 1);
		to_hlt();
		assert_int_equal(handled, 2);
		assert_int_equal(status(), VMX_INTR_STATUS(0, LOWER));
	}
}

/* What a write does comes behind it, and before all other events. */
static void test_emulation_comes_before_other_events(void **state __unused)
{
	in_service(ACCESS | VID);
	vmx_write((u32)VMCS_EOI_EXIT(VECTOR / 64), BIT64(VECTOR % 64));
	vmx_change(VMCS_PRIMARY, 0, VMX_PROC_MTF);
	begin(WRITE, APIC + APIC_EOI, 4, 0);
	expect(VMX_EXIT_EOI, VECTOR);
	begin(WRITE, APIC + APIC_ICR, 4, APIC_DEST_OTHERS | VECTOR);
	while (vmx_run_guest() == VMX_EXIT_MTF || vmx_read(VMCS_EXIT_REASON) == VMX_EXIT_HLT)
		if (vmx_read(VMCS_EXIT_REASON) == VMX_EXIT_HLT)
			vmx_skip();
	assert_int_equal(vmx_read(VMCS_EXIT_REASON), VMX_EXIT_APIC_WRITE);
}

/* --- self-IPIs --- */

static void test_self_ipi(void **state __unused)
{
	create(ACCESS | VID);
	open_interrupts();
	quietly(WRITE, APIC + APIC_ICR, APIC_DEST_SELF | VECTOR);
	assert_int_equal(handled, 1);
	assert_int_equal(status(), VMX_INTR_STATUS(0, VECTOR));
	/* Below what is in service: pending, until its end. */
	quietly(WRITE, APIC + APIC_ICR, APIC_DEST_SELF | LOWER);
	assert_int_equal(handled, 1);
	quietly(WRITE, APIC + APIC_EOI, 0);
	assert_int_equal(handled, 2);
	create(X2APIC | VID);
	open_interrupts();
	quietly(WRMSR, MSR(APIC_SELF), VECTOR);
	quietly(WRMSR, MSR(APIC_SELF), HIGHER);
	assert_int_equal(handled, 2);
	assert_int_equal(order[1], HIGHER);
	assert_int_equal(status(), VMX_INTR_STATUS(0, HIGHER));
}

/* --- HLT --- */

static void do_not_exit_by_hlt(void)
{
	vmx_change(VMCS_PRIMARY, VMX_PROC_HLT, 0);
	vmx_change(VMCS_PIN, 0, VMX_PIN_PREEMPTION_TIMER);
	vmx_write(VMCS_PREEMPTION_TIMER, 1000);
}

static u64 activity(void)
{
	return vmx_read(VMCS_GUEST_ACTIVITY);
}

static void test_halted(void **state __unused)
{
	create(VID);
	do_not_exit_by_hlt();
	expect(VMX_EXIT_PREEMPTION_TIMER, 0);
	assert_int_equal(activity(), VMX_HALTED);
	/* With interrupts off it sleeps on, and is left as it is by what exits. */
	request(VECTOR);
	insn_apic_send(0, CPU_VECTOR_FORCE);
	expect(VMX_EXIT_EXTERNAL, 0);
	assert_int_equal(activity(), VMX_HALTED);
	insn_sti();
	insn_cli();
	/* An interrupt that is there at the entry wakes. */
	open_interrupts();
	vmx_change(VMCS_PRIMARY, 0, VMX_PROC_MTF);
	expect(VMX_EXIT_MTF, 0);
	assert_int_equal(activity(), VMX_ACTIVE);
	assert_int_equal(depth(), 1);
	vmx_change(VMCS_PRIMARY, VMX_PROC_MTF, 0);
	/* Back to sleep behind the next HLT. */
	expect(VMX_EXIT_PREEMPTION_TIMER, 0);
	assert_int_equal(activity(), VMX_HALTED);
	assert_int_equal(handled, 1);
	/* So does an event that is injected. */
	vmx_inject(VMX_EVENT_NMI, VECTOR_NMI);
	expect(VMX_EXIT_PREEMPTION_TIMER, 0);
	assert_int_equal(handled, 2);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_entry_with_a_pending_interrupt),
	        cmocka_unit_test(test_interrupts_have_to_be_open),
	        cmocka_unit_test(test_injected_event_comes_first),
	        cmocka_unit_test(test_priorities),
	        cmocka_unit_test(test_delivery_cut_short),
	        cmocka_unit_test(test_eoi_without_an_exit),
	        cmocka_unit_test(test_eoi_by_the_bitmap),
	        cmocka_unit_test(test_emulation_comes_before_other_events),
	        cmocka_unit_test(test_self_ipi),
	        cmocka_unit_test(test_halted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
