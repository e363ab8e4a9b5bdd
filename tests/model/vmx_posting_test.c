/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Posting as a whole, on the model processor with VMX and without the hypervisor: IPIs from a guest on one processor to
 * a guest on another, wherever that is, and notifications and ICR under each combination of the controls that take part.
 * SDM volume 3, "APIC Virtualization and Virtual Interrupts", "Checks on VMX Controls and Host-State Area". See
 * vmx_ipiv_test.c and vmx_posted_test.c.
 */
#include "tests/model/vmx_ipiv_guest.h"

/* --- from one guest to another --- */

static __typeof__(m) kept[2]; /* by processor, while the test is the other */

static void change_to(u32 i)
{
	posix_set_current(cpu(i));
	m = kept[i];
}

static void keep(u32 i)
{
	kept[i] = m;
}

/* Guest 0 on processor 0 sends, guest 1 on processor 1 has interrupts posted; the memory is one. */
static void create_two(u32 controls)
{
	create_ipiv(controls);
	keep(0);
	posix_set_current(cpu(1));
	vmx_start();
	m.apic = vmx_page();
	m.msr_bitmap = vmx_page();
	vmx_fill();
	vmx_write(VMCS_VPID, 2);
	vmx_write(VMCS_APIC_ACCESS, vmx_hpa(access_page));
	vmx_write(VMCS_GUEST_CR3, DATA);
	vmx_change(VMCS_SECONDARY, 0, controls);
	add_posted(1);
	begin(NOTHING, 0, 0, 0);
	to_hlt();
	keep(1);
}

static void send(void)
{
	change_to(0);
	begin_ipi(1, VECTOR);
	to_hlt();
	begin(NOTHING, 0, 0, 0);
	keep(0);
	change_to(1);
}

static void expect_arrived(void)
{
	assert_int_equal(cpu(1)->notified, 1);
	assert_int_equal(posted_count(), 0);
	assert_int_equal(descs[1].control.v, PI_TO(NV(1), 1));
}

static void test_to_a_guest_outside(void **state __unused)
{
	const u32 modes[] = {MEMORY_MODE, MSR_MODE};

	for (u32 i = 0; i < ARRAY_SIZE(modes); i++) {
		create_two(modes[i]);
		open_interrupts();
		keep(1);
		send();
		/* The notification waits at the physical APIC, and is processed by the entry. */
		assert_int_equal(handled, 0);
		to_hlt();
		expect_arrived();
		assert_int_equal(handled, 1);
		/* In root operation it is taken by the host, and the descriptor stays as it is. */
		create_two(modes[i]);
		open_interrupts();
		keep(1);
		send();
		insn_sti();
		insn_cli();
		to_hlt();
		assert_int_equal(handled, 0);
		assert_int_equal(descs[1].control.v, PI_TO(NV(1), 1) | PI_ON);
		assert_true(is_posted(1, VECTOR));
	}
}

/* Between two instructions of guest 1, guest 0 sends. */
static u32 countdown;

static void between(struct model_cpu *at)
{
	if (at->index != 1 || !countdown || --countdown)
		return;
	keep(1);
	send();
}

static void test_to_a_guest_that_runs(void **state __unused)
{
	const u32 modes[] = {MEMORY_MODE, MSR_MODE};

	for (u32 i = 0; i < ARRAY_SIZE(modes); i++) {
		create_two(modes[i]);
		open_interrupts();
		countdown = 1;
		model()->between = between;
		to_hlt();
		expect_arrived();
		assert_int_equal(handled, 1);
		/* Interrupts off: posted, and taken when they are on. */
		create_two(modes[i]);
		countdown = 1;
		model()->between = between;
		to_hlt();
		expect_arrived();
		assert_int_equal(handled, 0);
		assert_int_equal(status(), VECTOR);
		quietly(STI, 0, 0);
		assert_int_equal(handled, 1);
		/* Asleep. */
		create_two(modes[i]);
		open_interrupts();
		vmx_change(VMCS_PRIMARY, VMX_PROC_HLT, 0);
		vmx_change(VMCS_PIN, 0, VMX_PIN_PREEMPTION_TIMER);
		vmx_write(VMCS_PREEMPTION_TIMER, 1000);
		countdown = 5;
		model()->between = between;
		expect(VMX_EXIT_PREEMPTION_TIMER, 0);
		expect_arrived();
		assert_int_equal(handled, 1);
	}
}

/* --- under each combination of controls --- */

struct combination {
	bool shadow, access, x2apic, registers, vid, posted, ipiv;
};

static struct combination combination_of(u32 bits)
{
	return (struct combination){.shadow = bits & 1,
	                            .access = bits & 2,
	                            .x2apic = bits & 4,
	                            .registers = bits & 8,
	                            .vid = bits & 16,
	                            .posted = bits & 32,
	                            .ipiv = bits & 64};
}

/* Entry's rules, in their own words. */
static bool is_legal(const struct combination *c)
{
	if (!c->shadow && (c->x2apic || c->registers || c->vid || c->ipiv))
		return false;
	return !(c->x2apic && c->access) && (c->vid || !c->posted);
}

static void apply(const struct combination *c)
{
	create((c->access ? ACCESS : 0) | (c->x2apic ? X2APIC : 0) | (c->registers ? REGISTER : 0));
	add_ipiv();
	add_posted(0);
	if (!c->shadow)
		vmx_change(VMCS_PRIMARY, VMX_PROC_TPR_SHADOW, 0);
	if (!c->vid)
		vmx_change(VMCS_SECONDARY, VID, 0);
	if (!c->posted)
		vmx_change(VMCS_PIN, VMX_PIN_POSTED, 0);
	if (!c->ipiv)
		vmx_change(VMCS_PRIMARY, VMX_PROC_TERTIARY, 0);
	/* What a hypervisor has to do, since the guest would reach the APIC of the host. */
	if (!c->ipiv)
		m.msr_bitmap[MSR(APIC_ICR) / 8 + 0x800] |= BIT(MSR(APIC_ICR) % 8);
}

static void expect_notification(const struct combination *c)
{
	apply(c);
	open_interrupts();
	descs[0].pir[VECTOR / 64].v = BIT64(VECTOR % 64);
	model_apic_raise(cpu(0), NV(0));
	if (c->posted) {
		to_hlt();
		assert_int_equal(handled, 1);
		return;
	}
	expect(VMX_EXIT_EXTERNAL, 0);
	assert_int_equal(vmx_read(VMCS_EXIT_INFO), VMX_EVENT_VALID | NV(0));
	assert_true(is_posted(0, VECTOR));
	insn_apic_eoi();
	to_hlt();
	assert_int_equal(handled, 0);
}

/* By memory, where APIC accesses are virtualized. */
static void expect_access_of_icr(const struct combination *c)
{
	by_msr = false;
	apply(c);
	to_hlt();
	if (!c->shadow || (!c->registers && !c->vid && !c->ipiv)) {
		expect_access(WRITE, APIC_ICR, 4);
		return;
	}
	if (c->ipiv)
		expect_sent(1, VECTOR, 1, NOTE(1, NV(1)));
	else
		expect_left(1, VECTOR);
	forget();
	if (c->vid)
		expect_self(0, VECTOR | APIC_DEST_SELF);
	else
		expect_left(0, VECTOR | APIC_DEST_SELF);
	forget();
	expect_left(1, VECTOR | APIC_DEST_LOGICAL);
}

static void expect_plain_memory(const struct combination *c)
{
	by_msr = false;
	apply(c);
	to_hlt();
	begin_ipi(1, VECTOR);
	to_hlt();
	assert_int_equal(*(u32 *)(void *)(access_page + APIC_ICR), VECTOR);
	assert_int_equal(*apic(APIC_ICR), 0);
	assert_int_equal(posted_count(), 0);
}

static void expect_msr(const struct combination *c)
{
	by_msr = true;
	apply(c);
	to_hlt();
	if (!c->ipiv) {
		begin_ipi(1, VECTOR);
		expect(VMX_EXIT_WRMSR, 0);
		assert_int_equal(posted_count(), 0);
		return;
	}
	expect_sent(1, VECTOR, 1, NOTE(1, NV(1)));
	forget();
	expect_left(0, VECTOR | APIC_DEST_SELF);
	expect_left(1, VECTOR | APIC_DEST_LOGICAL);
}

static void test_combinations_of_controls(void **state __unused)
{
	u32 legal = 0;

	for (u32 bits = 0; bits < 128; bits++) {
		struct combination c = combination_of(bits);

		if (!is_legal(&c)) {
			apply(&c);
			assert_false(insn_vmx_run(m.gpr, false, vmx_never, NULL));
			assert_int_equal(vmx_read(VMCS_INSTRUCTION_ERROR),
			                 VMX_ERROR_ENTRY_CONTROLS);
			continue;
		}
		legal++;
		expect_notification(&c);
		if (c.access)
			expect_access_of_icr(&c);
		else
			expect_plain_memory(&c);
		if (c.x2apic)
			expect_msr(&c);
	}
	assert_int_equal(legal, 38);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_to_a_guest_outside),
	        cmocka_unit_test(test_to_a_guest_that_runs),
	        cmocka_unit_test(test_combinations_of_controls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
