/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a guest hypervisor may ask for besides interrupts, and its guest have for itself: permission maps,
 * exceptions, NMIs, HLT, a task priority, an injected event. Each is L1's exit where L1 asked, and
 * is completed for L2 by Postern, or by the processor, where it did not.
 */
#include "tests/model/nested_guest.h"

#define ASKED_PORT 0x71      /* bit 1 of its byte */
#define ASKED_MSR  MSR_LSTAR /* for writes */

static u32 nmis, nmis_in_l2, injected_by_l1;
static bool leave_in_nmi;

static void on_nmi(u8 vector __unused, u32 error __unused)
{
	nmis++;
	nmis_in_l2 += self()->guest_mode;
	if (leave_in_nmi && self()->guest_mode)
		g_vmmcall();
}

static void on_injected(u8 vector __unused, u32 error __unused)
{
	G_CHECK(self()->guest_mode);
	injected_by_l1++;
}

/* Once each for L1, and once for nobody but Postern. */
static void touch_asked(void)
{
	u64 value;

	g_in(ASKED_PORT, 1);
	g_in(ASKED_PORT - 1, 1);
	g_wrmsr(ASKED_MSR, 1);
	g_rdmsr(ASKED_MSR);
	g_rdmsr(MSR_STAR);
	g_rdmsr(MSR_APIC_BASE);
	G_CHECK_EQUAL(g_rdmsr_safe(0x1abc, &value), l2[1].skip[L2_GP] ? 0 : VECTOR_GP);
}

static void use_own_tpr(void)
{
	G_CHECK_EQUAL(g_read_cr8(), 0);
	g_write_cr8(9);
	g_in(0x40, 1);
	G_CHECK_EQUAL(g_read_cr8(), 9);
}

static void keep_own_tpr(void)
{
	G_CHECK_EQUAL(g_read_cr8(), 9);
	g_write_cr8(0);
}

static void set_maps(void)
{
	u32 bit = vendor()->msr_bit(ASKED_MSR);
	const u8 port = BIT(ASKED_PORT % 8), msr = (u8)BIT(bit % 8);

	assert_true(vm_write(harness_vm, GPA(L1_IO_MAP + ASKED_PORT / 8), &port, 1));
	assert_true(vm_write(harness_vm, GPA(L1_MSR_MAP + bit / 8), &msr, 1));
}

static void expect_asked(bool asked)
{
	const u32 *seen = l2[1].exits;

	G_CHECK_EQUAL(seen[L2_IO], asked);
	G_CHECK_EQUAL(seen[L2_MSR], asked);
	G_CHECK_EQUAL(seen[L2_GP], asked);
}

static void ask_nothing(void)
{
	g_nop();
}

static void send_nmi(u32 expected, u32 in_l2_of_them)
{
	await_l2(1);
	apic_icr(1, APIC_DM_NMI | APIC_LEVEL_ASSERT);
	while (nmis != expected)
		g_pause();
	G_CHECK_EQUAL(nmis_in_l2, in_l2_of_them);
	await_l2(1);
}

static void begin_asked(u32 what, u32 exceptions, bool masks)
{
	nmis = nmis_in_l2 = injected_by_l1 = 0;
	g_set_handler(VECTOR_NMI, on_nmi);
	g_set_handler(VECTOR_BP, on_nmi);
	g_set_handler(0x91, on_injected);
	memset(l2[1].exits, 0, sizeof(l2[1].exits));
	l2[1].asks = (struct l2_asks){what, exceptions, masks};
	l2[1].skip[L2_IO] = 1;
	l2[1].skip[L2_MSR] = 2;
	l2[1].skip[L2_GP] = exceptions ? 2 : 0;
	l2[1].fresh = true;
	l2[1].up = false;
	l2[1].order = NULL; /* the VMMCALL that the last one ended with */
	begin_l2(1);
	await_l2(1);
	expect_second(1);
}

static void script_asked(void)
{
	set_maps();
	expect_l1();
	begin_asked(KVM_LIKE | ASK_IO | ASK_MSR, BIT(VECTOR_GP), true);
	in_l2(1, touch_asked);
	expect_asked(true);
	send_nmi(1, 0);
	G_CHECK_EQUAL(l2[1].exits[L2_NMI], 1);
	in_l2(1, g_sti); /* which is what VMX wants for an interrupt to be injected */
	/* An interrupt that waits for L1 does not cost L2 what L1 injects at that moment. */
	listen();
	l2[1].inject = 0x91;
	in_l2(1, halt);
	expect_heard(BIT(1));
	G_CHECK_EQUAL(injected_by_l1, 1);
	G_CHECK_EQUAL(l2[1].exits[L2_INTR], 1);
	G_CHECK_EQUAL(l2[1].exits[L2_HLT], 1);
	await_l2(1);
	in_l2(1, use_own_tpr);
	exchange_with_l1(1);
	G_CHECK_EQUAL(lapic_cr8(vcpu(1)), 0);
	in_l2(1, keep_own_tpr);
	end_l2(1);
	expect_l1();
	expect_first(1);
}

static void script_not_asked(void)
{
	set_maps();
	expect_l1();
	begin_asked(0, 0, false);
	in_l2(1, touch_asked);
	expect_asked(false);
	send_nmi(1, 1);
	in_l2(1, g_sti);
	/* Its own HLT, and an interrupt of its own that ends it. */
	l2[1].order = halt;
	while (vcpu(1)->activity != VCPU_HALTED)
		g_pause();
	exchange(ALL, true);
	while (l2[1].order)
		g_pause();
	in_l2(1, g_cli);
	end_l2(1);
	expect_l1();
	/* HLT that only Postern sees, and an interrupt that L1 does. */
	begin_asked(ASK_INTR, 0, true);
	l2[1].order = halt;
	while (vcpu(1)->activity != VCPU_HALTED)
		g_pause();
	exchange_with_l1(1);
	end_l2(1);
	expect_l1();
	expect_first(1);
}

/* L2 ends in its handler of an NMI: the processor goes on masking them, until an IRET of L1's. */
static void script_masked(void)
{
	expect_l1();
	begin_asked(0, 0, false);
	leave_in_nmi = l2[1].nmi_masked = true;
	apic_icr(1, APIC_DM_NMI | APIC_LEVEL_ASSERT);
	while (seat[1].order)
		g_pause();
	leave_in_nmi = l2[1].nmi_masked = false;
	apic_icr(1, APIC_DM_NMI | APIC_LEVEL_ASSERT);
	while (!vcpu(1)->intr.nmi_pending)
		g_pause();
	G_CHECK_EQUAL(nmis, 1);
	exchange(ALL, true);
	while (nmis != 2)
		g_pause();
	G_CHECK_EQUAL(nmis_in_l2, 1);
	begin_l2(1);
	await_l2(1);
	in_l2(1, ask_nothing);
	send_nmi(3, 2);
	end_l2(1);
	expect_l1();
	expect_first(1);
}

static void test_nmis_stay_masked(void **state __unused)
{
	run_nested(script_masked, 0, false);
}

/* An exit that Postern completes at once where L1 has nothing to say: an interrupt to itself in x2APIC mode. */
static void send_self(void)
{
	g_wrmsr(MSR_X2APIC_SELF, PING);
}

static void script_fast(void)
{
	const u32 bit = vendor()->msr_bit(MSR_X2APIC_SELF);
	const u8 msr = (u8)BIT(bit % 8);

	assert_true(vm_write(harness_vm, GPA(L1_MSR_MAP + bit / 8), &msr, 1));
	l2[1].skip[L2_MSR] = 2;
	begin_l2(1);
	await_l2(1);
	listen();
	in_l2(1, send_self);
	in_l2(1, send_self);
	await_l2(1);
	expect_heard(0);
	G_CHECK_EQUAL(l2[1].exits[L2_MSR], 2);
	G_CHECK_EQUAL(l2[1].exits[L2_INTR], 0);
	end_l2(1);
}

static void test_fast_exits_are_asked_for(void **state __unused)
{
	run_x2apic(script_fast, KVM_LIKE | ASK_MSR, true);
}

static void test_what_l1_asks_for(void **state __unused)
{
	run_nested(script_asked, 0, false);
}

static void test_what_l1_does_not_ask_for(void **state __unused)
{
	run_nested(script_not_asked, 0, false);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_what_l1_asks_for),
	        cmocka_unit_test(test_what_l1_does_not_ask_for),
	        cmocka_unit_test(test_nmis_stay_masked),
	        cmocka_unit_test(test_fast_exits_are_asked_for),
	};

	return cmocka_run_group_tests_name("nested_asks", tests, NULL, NULL);
}
