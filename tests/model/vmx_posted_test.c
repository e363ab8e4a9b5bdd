/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Posted-interrupt processing by the model processor with VMX, without the hypervisor: the notification at an entry,
 * between instructions, in HLT, among other events, in root operation; what is no notification. SDM volume 3,
 * "Posted-Interrupt Processing", "Priority Among Concurrent Events". What happens to descriptor and page in detail is
 * in tests/unit/vapic_test.c, who posts in vmx_ipiv_test.c.
 */
#include "tests/model/vmx_apic_guest.h"

#define NV    CPU_VECTOR_KICK
#define OTHER CPU_VECTOR_FORCE /* of the same class */
#define BELOW 0x85
#define ABOVE 0xff

static struct pi_desc *desc;

static struct model_cpu *cpu(void)
{
	return &model()->cpu[0];
}

static void create_posted(u32 controls)
{
	create(controls | VID);
	desc = vmx_page();
	desc->control.v = PI_TO(NV, 0);
	vmx_write(VMCS_PI_VECTOR, NV);
	vmx_write(VMCS_PI_DESC, vmx_hpa(desc));
	vmx_change(VMCS_EXIT_CONTROLS, 0, VMX_EXIT_CTL_ACK_INTR);
	vmx_change(VMCS_PIN, 0, VMX_PIN_POSTED);
}

/* As an agent that does without IPI virtualization. */
static void post(u8 vector)
{
	desc->pir[vector / 64].v |= BIT64(vector % 64);
	desc->control.v |= PI_ON;
}

static void notify(void)
{
	model_apic_raise(cpu(), NV);
}

static void post_and_notify(void)
{
	post(VECTOR);
	notify();
}

static bool is_posted(u8 vector)
{
	return desc->pir[vector / 64].v >> vector % 64 & 1;
}

static bool is_on(void)
{
	return desc->control.v & PI_ON;
}

/* The notification is gone from the physical APIC, and what was posted from the descriptor. */
static void expect_processed(u64 times)
{
	assert_int_equal(vmx_notified(), times);
	assert_int_equal(cpu()->in_service_depth, 0);
	assert_int_equal(model_apic_pending(cpu()), -1);
	assert_false(is_on());
	for (u32 i = 0; i < ARRAY_SIZE(desc->pir); i++)
		assert_int_equal(desc->pir[i].v, 0);
	assert_int_equal(desc->control.v, PI_TO(NV, 0));
}

static void expect_untouched(void)
{
	assert_int_equal(vmx_notified(), 0);
	assert_true(is_on() && is_posted(VECTOR));
	assert_false(is_set(APIC_IRR, VECTOR));
	assert_int_equal(VMX_RVI(status()), 0);
	assert_int_equal(handled, 0);
}

/* An exit for a physical interrupt, which the processor has acknowledged. */
static void expect_external(u8 vector)
{
	expect(VMX_EXIT_EXTERNAL, 0);
	assert_int_equal(vmx_read(VMCS_EXIT_INFO), VMX_EVENT_VALID | VMX_EVENT_EXTERNAL | vector);
	assert_int_equal(cpu()->in_service_depth, 1);
	assert_int_equal(cpu()->in_service[0], vector);
}

/* --- while the guest runs --- */

static u32 countdown; /* instructions of the guest until `event` happens, 0: not any more */
static void (*event)(void);

static void between(struct model_cpu *unused __unused)
{
	if (countdown && !--countdown)
		event();
}

static void after(u32 instructions, void (*what)(void))
{
	countdown = instructions;
	event = what;
	model()->between = between;
}

/* --- delivered without an exit --- */

static void test_notification_at_entry(void **state __unused)
{
	create_posted(0);
	post(LOWER);
	post_and_notify();
	open_interrupts();
	to_hlt();
	expect_processed(1);
	assert_int_equal(handled, 1);
	assert_int_equal(order[0], VECTOR);
	assert_int_equal(status(), VMX_INTR_STATUS(LOWER, VECTOR));
	assert_true(is_set(APIC_IRR, LOWER) && !is_set(APIC_IRR, VECTOR) &&
	            is_set(APIC_ISR, VECTOR));
}

static void test_notification_between_instructions(void **state __unused)
{
	const u32 modes[] = {0, ACCESS, ACCESS | REGISTER, X2APIC, X2APIC | REGISTER};

	for (u32 i = 0; i < ARRAY_SIZE(modes); i++) {
		create_posted(modes[i]);
		open_interrupts();
		to_hlt();
		assert_int_equal(handled, 0);
		after(1, post_and_notify);
		to_hlt();
		expect_processed(1);
		assert_int_equal(handled, 1);
		assert_int_equal(status(), VMX_INTR_STATUS(0, VECTOR));
	}
}

/* Interrupts off in the guest hold up the delivery alone. */
static void test_interrupts_off(void **state __unused)
{
	create_posted(0);
	to_hlt();
	after(1, post_and_notify);
	to_hlt();
	expect_processed(1);
	assert_int_equal(handled, 0);
	assert_int_equal(status(), VECTOR);
	assert_true(is_set(APIC_IRR, VECTOR));
	/* It is delivered as soon as they are on, without another notification. */
	quietly(STI, 0, 0);
	assert_int_equal(handled, 1);
	assert_int_equal(status(), VMX_INTR_STATUS(0, VECTOR));
	expect_processed(1);
}

/* So does the shadow of STI. */
static void test_in_a_shadow(void **state __unused)
{
	create_posted(0);
	to_hlt();
	open_interrupts();
	vmx_write(VMCS_GUEST_INTERRUPTIBILITY, VMX_BLOCKED_STI);
	vmx_change(VMCS_PRIMARY, 0, VMX_PROC_MTF);
	post_and_notify();
	expect(VMX_EXIT_MTF, 0);
	expect_processed(1);
	assert_int_equal(depth(), 0);
	expect(VMX_EXIT_MTF, 0);
	assert_int_equal(depth(), 1);
	assert_int_equal(status(), VMX_INTR_STATUS(0, VECTOR));
}

static void test_masked_by_priority(void **state __unused)
{
	create_posted(X2APIC);
	open_interrupts();
	quietly(CR8, 0, VECTOR >> 4);
	after(1, post_and_notify);
	to_hlt();
	expect_processed(1);
	assert_int_equal(handled, 0);
	quietly(CR8, 0, 0);
	assert_int_equal(handled, 1);
	/* What is in service holds up its own class, and the end of it evaluates. */
	post(VECTOR);
	after(1, notify);
	begin(NOTHING, 0, 0, 0);
	to_hlt();
	expect_processed(2);
	assert_int_equal(handled, 1);
	quietly(WRMSR, MSR(APIC_EOI), 0);
	assert_int_equal(handled, 2);
}

static void post_higher(void)
{
	post(HIGHER);
	notify();
}

/* Into the handler of a lower one, whose return lets it come. */
static void test_a_higher_one_joins(void **state __unused)
{
	create_posted(0);
	request(LOWER);
	open_interrupts();
	after(1, post_higher); /* the first instruction is the handler's */
	to_hlt();
	expect_processed(1);
	assert_int_equal(handled, 2);
	assert_int_equal(order[0], LOWER);
	assert_int_equal(order[1], HIGHER);
	assert_int_equal(status(), VMX_INTR_STATUS(0, HIGHER));
}

static void test_coalescing_is_counted(void **state __unused)
{
	u64 before;

	create_posted(0);
	before = port_hw_counts()[HW_COALESCED];
	request(VECTOR);
	post_and_notify();
	to_hlt();
	expect_processed(1);
	assert_int_equal(port_hw_counts()[HW_COALESCED] - before, 1);
	before = port_hw_counts()[HW_DELIVERED];
	open_interrupts();
	to_hlt();
	assert_int_equal(handled, 1);
	assert_int_equal(port_hw_counts()[HW_DELIVERED] - before, 1);
}

/* Nothing was posted: nothing happens, and the guest goes on. */
static void test_an_empty_descriptor(void **state __unused)
{
	create_posted(0);
	open_interrupts();
	notify();
	to_hlt();
	expect_processed(1);
	assert_int_equal(handled, 0);
	assert_int_equal(status(), 0);
	/* SN is the sender's affair. */
	desc->control.v |= PI_SN;
	post_and_notify();
	to_hlt();
	assert_int_equal(desc->control.v, PI_TO(NV, 0) | PI_SN);
	assert_int_equal(handled, 1);
}

/* --- HLT --- */

static void sleep(void)
{
	vmx_change(VMCS_PRIMARY, VMX_PROC_HLT, 0);
	vmx_change(VMCS_PIN, 0, VMX_PIN_PREEMPTION_TIMER);
	vmx_write(VMCS_PREEMPTION_TIMER, 1000);
	expect(VMX_EXIT_PREEMPTION_TIMER, 0);
	assert_int_equal(vmx_read(VMCS_GUEST_ACTIVITY), VMX_HALTED);
}

static void test_wakes_from_hlt(void **state __unused)
{
	create_posted(0);
	open_interrupts();
	sleep();
	after(3, post_and_notify);
	expect(VMX_EXIT_PREEMPTION_TIMER, 0);
	expect_processed(1);
	assert_int_equal(handled, 1);
	/* Behind the handler it has come to the next HLT. */
	assert_int_equal(vmx_read(VMCS_GUEST_ACTIVITY), VMX_HALTED);
	assert_int_equal(status(), VMX_INTR_STATUS(0, VECTOR));
}

static void test_goes_back_to_hlt(void **state __unused)
{
	u64 at;

	create_posted(0);
	sleep();
	at = rip();
	after(3, post_and_notify);
	expect(VMX_EXIT_PREEMPTION_TIMER, 0);
	expect_processed(1);
	assert_int_equal(handled, 0);
	assert_int_equal(status(), VECTOR);
	assert_int_equal(rip(), at);
	assert_int_equal(vmx_read(VMCS_GUEST_ACTIVITY), VMX_HALTED);
	/* Nor is one delivered that priority forbids. */
	create_posted(0);
	open_interrupts();
	sleep();
	m.apic[APIC_TPR] = VECTOR;
	after(3, post_and_notify);
	expect(VMX_EXIT_PREEMPTION_TIMER, 0);
	expect_processed(1);
	assert_int_equal(handled, 0);
	assert_int_equal(vmx_read(VMCS_GUEST_ACTIVITY), VMX_HALTED);
}

/* --- what is no notification --- */

static void test_another_vector_exits(void **state __unused)
{
	const u8 vectors[] = {BELOW, NV - 1, NV + 1, ABOVE};

	for (u32 i = 0; i < ARRAY_SIZE(vectors); i++) {
		create_posted(0);
		open_interrupts();
		post(VECTOR);
		model_apic_raise(cpu(), vectors[i]);
		expect_external(vectors[i]);
		expect_untouched();
		insn_apic_eoi();
		to_hlt();
		expect_untouched();
	}
}

static void test_of_two_the_higher_comes_first(void **state __unused)
{
	/* Above the notification, which has to wait for its end where it is of the same class. */
	create_posted(0);
	open_interrupts();
	post_and_notify();
	model_apic_raise(cpu(), OTHER);
	expect_external(OTHER);
	expect_untouched();
	to_hlt();
	expect_untouched();
	insn_apic_eoi();
	to_hlt();
	expect_processed(1);
	assert_int_equal(handled, 1);
	/* Below it: the same boundary has both, the delivery between them. */
	create_posted(0);
	open_interrupts();
	post_and_notify();
	model_apic_raise(cpu(), BELOW);
	expect_external(BELOW);
	assert_int_equal(vmx_notified(), 1);
	assert_false(is_on() || is_posted(VECTOR));
	assert_int_equal(status(), VMX_INTR_STATUS(0, VECTOR));
	assert_int_equal(depth(), 1);
	assert_int_equal(handled, 0);
}

/* The processor asks its VMCS for the vector, not the descriptor. */
static void test_the_vector_is_that_of_the_vmcs(void **state __unused)
{
	create_posted(0);
	open_interrupts();
	vmx_write(VMCS_PI_VECTOR, OTHER);
	post_and_notify();
	expect_external(NV);
	expect_untouched();
	insn_apic_eoi();
	model_apic_raise(cpu(), OTHER);
	to_hlt();
	expect_processed(1);
	assert_int_equal(handled, 1);
}

static void test_without_the_control(void **state __unused)
{
	/* An interrupt as any other: acknowledged, */
	create_posted(0);
	vmx_change(VMCS_PIN, VMX_PIN_POSTED, 0);
	open_interrupts();
	post_and_notify();
	expect_external(NV);
	expect_untouched();
	insn_apic_eoi();
	/* or left to the host. */
	vmx_change(VMCS_EXIT_CONTROLS, VMX_EXIT_CTL_ACK_INTR, 0);
	notify();
	expect(VMX_EXIT_EXTERNAL, 0);
	assert_int_equal(vmx_read(VMCS_EXIT_INFO), 0);
	assert_int_equal(model_apic_pending(cpu()), NV);
	assert_int_equal(cpu()->in_service_depth, 0);
	expect_untouched();
}

/* Another VMCS of the same processor, that of a guest of the guest say, has no part in it. */
static void test_another_vmcs(void **state __unused)
{
	u8 *own;

	create_posted(0);
	open_interrupts();
	to_hlt();
	own = m.vmcs;
	m.vmcs = vmx_page();
	memcpy(m.vmcs, own, sizeof(u32));
	vmx_fill();
	vmx_write(VMCS_VPID, 2);
	vmx_change(VMCS_EXIT_CONTROLS, 0, VMX_EXIT_CTL_ACK_INTR);
	post_and_notify();
	expect_external(NV);
	insn_apic_eoi();
	assert_true(insn_vmptrld(ptr_to_hpa(own)));
	expect_untouched();
	notify();
	to_hlt();
	expect_processed(1);
	assert_int_equal(handled, 1);
}

/* --- root operation --- */

static void test_in_root_operation(void **state __unused)
{
	create_posted(0);
	open_interrupts();
	post_and_notify();
	insn_sti();
	insn_cli();
	assert_int_equal(cpu()->interrupts, 1);
	assert_int_equal(model_apic_pending(cpu()), -1);
	/* Nobody looks at the descriptor by itself, at the entry neither. */
	to_hlt();
	expect_untouched();
	/* A notification of the processor to itself makes it do so. */
	insn_apic_send(0, NV);
	to_hlt();
	expect_processed(1);
	assert_int_equal(handled, 1);
}

/* --- among other events --- */

static void test_priorities(void **state __unused)
{
	create_posted(0);
	to_hlt();
	post_and_notify();
	open_interrupts();
	/* One by one what comes before, the highest first. */
	vmx_write(VMCS_EXCEPTIONS, BIT(VECTOR_DB));
	vmx_write(VMCS_GUEST_PENDING_DEBUG, VMX_DEBUG_BS);
	vmx_change(VMCS_PIN, 0, VMX_PIN_PREEMPTION_TIMER);
	vmx_change(VMCS_PRIMARY, 0, VMX_PROC_NMI_WINDOW | VMX_PROC_INTR_WINDOW);
	vmx_write(VMCS_PREEMPTION_TIMER, 0);
	insn_apic_send(0, APIC_DM_NMI);
	assert_int_equal(vmx_run_guest(), VMX_EXIT_EXCEPTION);
	expect_untouched();
	expect(VMX_EXIT_PREEMPTION_TIMER, 0);
	vmx_change(VMCS_PIN, VMX_PIN_PREEMPTION_TIMER, 0);
	expect(VMX_EXIT_NMI_WINDOW, 0);
	vmx_change(VMCS_PRIMARY, VMX_PROC_NMI_WINDOW, 0);
	assert_int_equal(vmx_run_guest(), VMX_EXIT_EXCEPTION);
	assert_int_equal(vmx_read(VMCS_EXIT_INFO) & VMX_EVENT_VECTOR, VECTOR_NMI);
	expect(VMX_EXIT_INTR_WINDOW, 0);
	expect_untouched();
	vmx_change(VMCS_PRIMARY, VMX_PROC_INTR_WINDOW, 0);
	/* Then it is processed, and delivered before the next instruction. */
	vmx_change(VMCS_PRIMARY, 0, VMX_PROC_MTF);
	expect(VMX_EXIT_MTF, 0);
	expect_processed(1);
	assert_int_equal(depth(), 1);
	assert_int_equal(handled, 0);
	assert_int_equal(status(), VMX_INTR_STATUS(0, VECTOR));
}

/* A window that cannot open yet lets it be processed, but not recognized. */
static void test_with_a_window(void **state __unused)
{
	create_posted(0);
	to_hlt();
	vmx_change(VMCS_PRIMARY, 0, VMX_PROC_INTR_WINDOW);
	post_and_notify();
	to_hlt();
	expect_processed(1);
	open_interrupts();
	expect(VMX_EXIT_INTR_WINDOW, 0);
	assert_int_equal(status(), VECTOR);
	assert_int_equal(handled, 0);
}

/* One that is recognized already is delivered before the notification is looked at. */
static void test_a_recognized_one_comes_first(void **state __unused)
{
	create_posted(0);
	request(LOWER);
	post_and_notify();
	open_interrupts();
	to_hlt();
	expect_processed(1);
	assert_int_equal(handled, 2);
	assert_int_equal(order[0], LOWER);
	assert_int_equal(order[1], VECTOR);
}

static void test_injection_comes_first(void **state __unused)
{
	create_posted(0);
	to_hlt();
	post_and_notify();
	open_interrupts();
	vmx_inject(VMX_EVENT_EXTERNAL, HIGHER);
	vmx_change(VMCS_PRIMARY, 0, VMX_PROC_MTF);
	expect(VMX_EXIT_MTF, 0);
	expect_untouched();
	assert_int_equal(depth(), 1);
	vmx_change(VMCS_PRIMARY, VMX_PROC_MTF, 0);
	to_hlt();
	expect_processed(1);
	assert_int_equal(handled, 2);
	assert_int_equal(order[0], HIGHER);
}

static void test_delivery_cut_short(void **state __unused)
{
	create_posted(0);
	to_hlt();
	post_and_notify();
	open_interrupts();
	cpu()->break_deliveries = 1;
	vmx_run_guest();
	assert_int_equal(vmx_read(VMCS_IDT_INFO), VMX_EVENT_VALID | VMX_EVENT_EXTERNAL | VECTOR);
	/* To descriptor and page it is done. */
	expect_processed(1);
	assert_int_equal(status(), VMX_INTR_STATUS(0, VECTOR));
	assert_int_equal(handled, 0);
}

/* What a write does comes before: an exit there leaves the notification pending. */
static void test_emulation_comes_first(void **state __unused)
{
	create_posted(ACCESS);
	open_interrupts();
	to_hlt();
	after(1, post_and_notify);
	begin(WRITE, APIC + APIC_ICR, 4, APIC_DEST_OTHERS | VECTOR);
	expect(VMX_EXIT_APIC_WRITE, APIC_ICR);
	expect_untouched();
	assert_int_equal(model_apic_pending(cpu()), NV);
	to_hlt();
	expect_processed(1);
	assert_int_equal(handled, 1);
}

/* --- no defined outcome --- */

static void enter(void)
{
	vmx_run_guest();
}

static void test_a_descriptor_outside_of_memory(void **state __unused)
{
	u64 start, end;

	arena_range(&start, &end);
	create_posted(0);
	vmx_write(VMCS_PI_DESC, end);
	ends_the_run(enter, "posted-interrupt descriptor");
	create_posted(0);
	vmx_write(VMCS_PI_DESC, start - PI_DESC_SIZE);
	ends_the_run(enter, "not in memory");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_notification_at_entry),
	        cmocka_unit_test(test_notification_between_instructions),
	        cmocka_unit_test(test_interrupts_off),
	        cmocka_unit_test(test_in_a_shadow),
	        cmocka_unit_test(test_masked_by_priority),
	        cmocka_unit_test(test_a_higher_one_joins),
	        cmocka_unit_test(test_coalescing_is_counted),
	        cmocka_unit_test(test_an_empty_descriptor),
	        cmocka_unit_test(test_wakes_from_hlt),
	        cmocka_unit_test(test_goes_back_to_hlt),
	        cmocka_unit_test(test_another_vector_exits),
	        cmocka_unit_test(test_of_two_the_higher_comes_first),
	        cmocka_unit_test(test_the_vector_is_that_of_the_vmcs),
	        cmocka_unit_test(test_without_the_control),
	        cmocka_unit_test(test_another_vmcs),
	        cmocka_unit_test(test_in_root_operation),
	        cmocka_unit_test(test_priorities),
	        cmocka_unit_test(test_with_a_window),
	        cmocka_unit_test(test_a_recognized_one_comes_first),
	        cmocka_unit_test(test_injection_comes_first),
	        cmocka_unit_test(test_delivery_cut_short),
	        cmocka_unit_test(test_emulation_comes_first),
	        cmocka_unit_test(test_a_descriptor_outside_of_memory),
	};
	int failed;

	/* By the processor itself, and by the assist. */
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	vmx_assisted = "broadwell";
	return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
