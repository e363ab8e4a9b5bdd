/* SPDX-License-Identifier: BSD-2-Clause */
/* Hyper-V's interface: CPUID, which MSRs there are, the reference time, the hypercall page and calls. */
#include "tests/unit/hv_guest.h"

#define OS_ID   0x8100000000000000ull
#define CALL_AT (HV_RAM + 5 * PAGE_SIZE)
#define INPUT   (HV_RAM + 6 * PAGE_SIZE)

static int set_up(void **state)
{
	(void)state;
	hv_fake_create(2);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	hv_fake_destroy();
	return 0;
}

/* ---- CPUID ---- */

static struct cpuid_regs leaf(u32 number)
{
	struct cpuid_regs r = {0};

	hv_cpuid(cpu(0), number, &r);
	return r;
}

static void test_hv_signature(void **state)
{
	struct cpuid_regs r = leaf(0x40000000);
	char name[13] = {0};

	(void)state;
	memcpy(name, &r.ebx, 4);
	memcpy(name + 4, &r.ecx, 4);
	memcpy(name + 8, &r.edx, 4);
	assert_string_equal(name, "Microsoft Hv");
	assert_int_equal(r.eax, 0x40000005);
	r = leaf(0x40000001);
	memcpy(name, &r.eax, 4);
	name[4] = 0;
	assert_string_equal(name, "Hv#1");
	assert_int_equal(leaf(0x40000006).eax | leaf(0x400000ff).eax, 0);
}

static void test_hv_recommendations(void **state)
{
	(void)state;
	assert_int_equal(leaf(0x40000004).eax, BIT(3) | BIT(5) | BIT(9));
	assert_int_equal(leaf(0x40000004).ebx, ~0u);
	fake.vm->config.hv_autoeoi = true;
	assert_int_equal(leaf(0x40000004).eax, BIT(3) | BIT(5));
	/* Where the processor delivers by itself, MSRs would only cost exits. */
	fake.vm->accel.modes = 1;
	assert_int_equal(leaf(0x40000004).eax, BIT(5));
	assert_int_equal(leaf(0x40000005).eax, MAX_VCPUS);
}

/* ---- which MSRs there are ---- */

/* What each privilege announces, and how it may be accessed. */
static const struct access {
	u32 first, last;
	bool read, write;
	u32 privilege;
} accesses[] = {
        {0x40000000, 0x40000001, true, true, BIT(5)},
        {0x40000002, 0x40000002, true, false, BIT(6)},
        {0x40000003, 0x40000003, true, true, BIT(7)},
        {0x40000010, 0x40000010, true, false, BIT(0)},
        {0x40000020, 0x40000020, true, false, BIT(1)},
        {0x40000021, 0x40000021, true, true, BIT(9)},
        {0x40000022, 0x40000023, true, false, BIT(11)},
        {0x40000070, 0x40000070, false, true, BIT(4)},
        {0x40000071, 0x40000073, true, true, BIT(4)},
        {0x40000080, 0x40000080, true, true, BIT(2)},
        {0x40000081, 0x40000081, true, false, BIT(2)},
        {0x40000082, 0x40000084, true, true, BIT(2)},
        {0x40000090, 0x4000009f, true, true, BIT(2)},
        {0x400000b0, 0x400000b7, true, true, BIT(3)},
};

static const struct access *access_of(u32 msr)
{
	for (u32 i = 0; i < ARRAY_SIZE(accesses); i++)
		if (msr >= accesses[i].first && msr <= accesses[i].last)
			return &accesses[i];
	return NULL;
}

static void test_hv_msrs_that_there_are(void **state)
{
	u32 announced = 0;
	u64 value;

	(void)state;
	for (u32 msr = 0x40000000; msr <= 0x400000ff; msr++) {
		const struct access *access = access_of(msr);
		/* Masked: the only legal value of a SINT with vector 0. */
		u64 legal = msr >= MSR_HV_SINT0 && msr <= MSR_HV_SINT15 ? HV_SINT_MASKED : 0;

		assert_true(hv_is_msr(cpu(0), msr));
		assert_int_equal(hv_msr_read(cpu(0), msr, &value), access && access->read);
		assert_int_equal(hv_msr_write(cpu(0), msr, legal), access && access->write);
		announced |= access ? access->privilege : 0;
	}
	assert_int_equal(leaf(0x40000003).eax, announced);
	assert_int_equal(leaf(0x40000003).ebx, BIT(4) | BIT(5));
	assert_int_equal(leaf(0x40000003).edx, BIT(8) | BIT(17) | BIT(18) | BIT(19));
	assert_false(hv_is_msr(cpu(0), 0x3fffffff));
	assert_false(hv_is_msr(cpu(0), 0x40000100));
}

static void test_hv_not_offered(void **state)
{
	struct hv_vcpu *hv = cpu(0)->hv;

	(void)state;
	cpu(0)->hv = NULL;
	assert_false(hv_is_msr(cpu(0), MSR_HV_VP_INDEX));
	cpu(0)->hv = hv;
}

static void test_hv_plain_msrs(void **state)
{
	(void)state;
	assert_int_equal(hv_rd(0, MSR_HV_VP_INDEX), 0);
	assert_int_equal(hv_rd(1, MSR_HV_VP_INDEX), 1);
	assert_int_equal(hv_rd(0, MSR_HV_TSC_FREQUENCY), 2000000000);
	assert_int_equal(hv_rd(0, MSR_HV_APIC_FREQ), 1000000000);
	hv_wr(0, MSR_HV_VP_ASSIST, NO_RAM | 1);
	assert_int_equal(hv_rd(0, MSR_HV_VP_ASSIST), NO_RAM | 1);
	assert_int_equal(hv_rd(1, MSR_HV_VP_ASSIST), 0);
	hv_reset(cpu(0));
	assert_int_equal(hv_rd(0, MSR_HV_VP_ASSIST), 0);
	/* Units of 100 ns on a processor; 2 GHz. */
	cpu(0)->state_since = fake.tsc - 2000;
	cpu(0)->account.counters[COUNTER_RUN_NS] = 5000;
	assert_int_equal(hv_rd(0, MSR_HV_VP_RUNTIME), 60);
}

static void test_hv_reset_msr(void **state)
{
	(void)state;
	hv_refused_write(0, MSR_HV_RESET, 2);
	hv_refused_write(0, MSR_HV_RESET, BIT64(63) | 1);
	hv_wr(0, MSR_HV_RESET, 0);
	assert_int_equal(hv_fake.ended, ENDED_RUNNING);
	hv_wr(0, MSR_HV_RESET, 1);
	assert_int_equal(hv_fake.ended, ENDED_RESET);
}

/* ---- the local APIC's registers ---- */

static void eoi_and_tpr(void)
{
	serve(0, 0x51);
	hv_refused_write(0, MSR_HV_EOI, BIT64(32));
	assert_true(vector_bit(0, APIC_ISR, 0x51));
	hv_wr(0, MSR_HV_EOI, 0x1234);
	assert_false(vector_bit(0, APIC_ISR, 0x51));
	hv_wr(0, MSR_HV_TPR, 0x45);
	assert_int_equal(hv_rd(0, MSR_HV_TPR), 0x45);
	assert_int_equal(lapic_cr8(cpu(0)), 4);
	hv_refused_write(0, MSR_HV_TPR, 0x100);
	hv_wr(0, MSR_HV_TPR, 0);
}

static void test_hv_apic_msrs_in_xapic_mode(void **state)
{
	(void)state;
	eoi_and_tpr();
	hv_wr(0, MSR_HV_ICR, 1ull << 56 | APIC_LEVEL_ASSERT | 0x61);
	assert_true(vector_bit(1, APIC_IRR, 0x61));
	assert_int_equal(hv_rd(0, MSR_HV_ICR), 1ull << 56 | APIC_LEVEL_ASSERT | 0x61);
}

static void test_hv_apic_msrs_in_x2apic_mode(void **state)
{
	(void)state;
	to_x2apic(0);
	eoi_and_tpr();
	hv_wr(0, MSR_HV_ICR, 1ull << 32 | APIC_LEVEL_ASSERT | 0x61);
	assert_true(vector_bit(1, APIC_IRR, 0x61));
	assert_int_equal(hv_rd(0, MSR_HV_ICR), 1ull << 32 | APIC_LEVEL_ASSERT | 0x61);
	hv_refused_write(0, MSR_HV_ICR, BIT64(31)); /* as the register itself */
}

static void test_hv_apic_msrs_of_a_disabled_apic(void **state)
{
	(void)state;
	wrmsr(0, MSR_APIC_BASE, rdmsr(0, MSR_APIC_BASE) & ~APIC_BASE_EN);
	hv_refused_write(0, MSR_HV_EOI, 0);
	hv_refused_write(0, MSR_HV_ICR, 0x61);
	hv_refused_read(0, MSR_HV_TPR);
	hv_refused_read(0, MSR_HV_ICR);
}

/* ---- the reference time ---- */

static u64 by_page(u32 i)
{
	const struct hv_reference_tsc *page = hv_ram(OTHER_PAGE);
	u64 tsc = fake.tsc + cpu(i)->tsc_offset;

	assert_int_not_equal(page->sequence, 0);
	return (u64)((unsigned __int128)tsc * page->scale >> 64) + (u64)page->offset;
}

static void test_hv_reference_counter(void **state)
{
	(void)state;
	assert_int_equal(hv_rd(0, MSR_HV_TIME_REF), 0);
	fake_advance_ns(1000000);
	assert_in_range(hv_rd(0, MSR_HV_TIME_REF), 9999, 10000);
	fake_advance_ns(100000000000ull);
	assert_in_range(hv_rd(0, MSR_HV_TIME_REF), 1000009999, 1000010000);
	hv_refused_write(0, MSR_HV_TIME_REF, 0);
}

static void test_hv_reference_page(void **state)
{
	const struct hv_reference_tsc *page = hv_ram(OTHER_PAGE);
	u32 sequence;

	(void)state;
	hv_wr(0, MSR_HV_REFERENCE_TSC, OTHER_PAGE);
	assert_int_equal(page->sequence, 0);
	hv_wr(0, MSR_HV_REFERENCE_TSC, OTHER_PAGE | 0xffe | HV_PAGE_ENABLE);
	assert_int_equal(hv_rd(1, MSR_HV_REFERENCE_TSC), OTHER_PAGE | 0xfff); /* RsvdP is kept */
	for (u32 i = 0; i < 5; i++) {
		fake_advance_ns(123456789);
		assert_int_equal(by_page(i % 2), hv_rd(0, MSR_HV_TIME_REF));
	}
	/* Written anew it has another number. */
	sequence = page->sequence;
	hv_wr(1, MSR_HV_REFERENCE_TSC, OTHER_PAGE | HV_PAGE_ENABLE);
	assert_int_not_equal(page->sequence, sequence);
	fake.vm->hv.sequence = ~0u;
	hv_wr(1, MSR_HV_REFERENCE_TSC, OTHER_PAGE | HV_PAGE_ENABLE);
	assert_int_not_equal(page->sequence, 0);
}

static void test_hv_reference_page_outside_memory(void **state)
{
	static const u64 pages[] = {NO_RAM, HV_RAM + HV_RAM_SIZE, ~0ull & PAGE_MASK, 0};

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(pages); i++) {
		hv_wr(0, MSR_HV_REFERENCE_TSC, pages[i] | HV_PAGE_ENABLE);
		assert_int_equal(hv_rd(0, MSR_HV_REFERENCE_TSC), pages[i] | HV_PAGE_ENABLE);
	}
}

/* One scale and offset cannot be right for two TSCs: the page says so. */
static void test_hv_reference_page_with_another_tsc(void **state)
{
	const struct hv_reference_tsc *page = hv_ram(OTHER_PAGE);

	(void)state;
	hv_wr(0, MSR_HV_REFERENCE_TSC, OTHER_PAGE | HV_PAGE_ENABLE);
	hv_time_tsc_moved(cpu(1)); /* to what it was */
	assert_int_not_equal(page->sequence, 0);
	cpu(1)->tsc_offset += 1;
	hv_time_tsc_moved(cpu(1));
	assert_int_equal(page->sequence, 0);
	hv_wr(0, MSR_HV_REFERENCE_TSC, OTHER_PAGE | HV_PAGE_ENABLE);
	assert_int_equal(page->sequence, 0);
}

static void test_hv_deadlines(void **state)
{
	static const u64 times[] = {0, 1, 9999, 10000, 123456789, BIT64(40)};

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(times); i++) {
		u64 tsc = hv_time_to_tsc(fake.vm, times[i]);

		fake.tsc = tsc;
		assert_in_range(hv_rd(0, MSR_HV_TIME_REF), times[i], times[i] + 3);
	}
	assert_int_equal(hv_time_to_tsc(fake.vm, ~0ull), TSC_NEVER);
	assert_int_equal(hv_time_to_tsc(fake.vm, ~0ull - 5), TSC_NEVER);
	assert_int_equal(hv_time_to_tsc(fake.vm, BIT64(63)), TSC_NEVER);
}

/* ---- the hypercall page ---- */

static void page_on(void)
{
	hv_wr(0, MSR_HV_GUEST_OS_ID, OS_ID);
	hv_wr(0, MSR_HV_HYPERCALL, CALL_AT | HV_PAGE_ENABLE);
}

static void test_hv_page_needs_an_identity(void **state)
{
	static const u8 code[] = {0x0f, 0x01, 0xd9, 0xc3};

	(void)state;
	hv_wr(0, MSR_HV_HYPERCALL, CALL_AT | 0xffc | HV_PAGE_ENABLE);
	assert_int_equal(hv_rd(1, MSR_HV_HYPERCALL), CALL_AT | 0xffc);
	assert_false(hv_call_enabled(fake.vm));
	memset(hv_ram(CALL_AT), 0xcc, PAGE_SIZE);
	page_on();
	assert_true(hv_call_enabled(fake.vm));
	assert_memory_equal(hv_ram(CALL_AT), code, sizeof(code));
	assert_int_equal(*(u8 *)hv_ram(CALL_AT + PAGE_SIZE - 1), 0);
	assert_int_equal(hv_rd(1, MSR_HV_GUEST_OS_ID), OS_ID);
	hv_wr(1, MSR_HV_GUEST_OS_ID, 0);
	assert_int_equal(hv_rd(0, MSR_HV_HYPERCALL), CALL_AT);
	assert_false(hv_call_enabled(fake.vm));
}

static void test_hv_page_outside_memory(void **state)
{
	(void)state;
	page_on();
	hv_refused_write(0, MSR_HV_HYPERCALL, NO_RAM | HV_PAGE_ENABLE);
	hv_refused_write(0, MSR_HV_HYPERCALL, (~0ull & PAGE_MASK) | HV_PAGE_ENABLE);
	assert_int_equal(hv_rd(0, MSR_HV_HYPERCALL), CALL_AT | HV_PAGE_ENABLE);
	hv_wr(0, MSR_HV_HYPERCALL, NO_RAM); /* not enabled: any address */
}

static void test_hv_page_locked(void **state)
{
	(void)state;
	hv_wr(0, MSR_HV_GUEST_OS_ID, OS_ID);
	hv_wr(0, MSR_HV_HYPERCALL, CALL_AT | HV_HYPERCALL_LOCKED | HV_PAGE_ENABLE);
	hv_wr(0, MSR_HV_HYPERCALL, 0);
	hv_wr(0, MSR_HV_HYPERCALL, NO_RAM | HV_PAGE_ENABLE);
	assert_int_equal(hv_rd(0, MSR_HV_HYPERCALL), CALL_AT | 3);
}

/* ---- calls ---- */

static u64 call(u64 input, u64 parameter)
{
	u64 *gpr = cpu(0)->regs.gpr;

	gpr[GPR_RCX] = input;
	gpr[GPR_RDX] = parameter;
	gpr[GPR_RAX] = ~0ull;
	hv_call_handle(cpu(0));
	return gpr[GPR_RAX];
}

static struct hv_post_message *message(u32 connection)
{
	struct hv_post_message *m = hv_ram(INPUT);

	*m = (struct hv_post_message){.connection = connection, .type = 7, .size = 3};
	memcpy(m->payload, "abc", 3);
	return m;
}

static void test_hv_unknown_calls(void **state)
{
	(void)state;
	for (u32 code = 0; code <= 0xffff; code++) {
		if (code != 0x5c && code != 0x5d)
			assert_int_equal(call(code, INPUT), 2);
	}
	assert_int_equal(call(0x8001 | BIT64(16), 0), 2);
	assert_int_equal(call(0xb | BIT64(32), INPUT), 2); /* HvCallSendSyntheticClusterIpi */
}

static void test_hv_bad_input_values(void **state)
{
	static const u32 bits[] = {17, 26, 27, 31, 32, 43, 44, 47, 48, 59, 60, 63};

	(void)state;
	message(1);
	for (u32 i = 0; i < ARRAY_SIZE(bits); i++) {
		assert_int_equal(call(0x5c | BIT64(bits[i]), INPUT), 3);
		assert_int_equal(call(0x5d | BIT64(bits[i]), INPUT), 3);
	}
	assert_int_equal(call(0x5c | HV_CALL_FAST, INPUT), 3);
}

static void test_hv_bad_parameter_addresses(void **state)
{
	static const u64 bad[] = {INPUT + 1, INPUT + 4,  INPUT + PAGE_SIZE - 248, NO_RAM, ~0ull,
	                          ~0ull - 7, HV_RAM - 8, HV_RAM + HV_RAM_SIZE};

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(call(0x5c, bad[i]), 4);
	assert_int_equal(call(0x5d, INPUT + 4), 4);
	assert_int_equal(call(0x5d, NO_RAM), 4);
	/* The last place in the page. */
	assert_int_equal(call(0x5d, INPUT + PAGE_SIZE - 8), HV_STATUS_INVALID_CONNECTION_ID);
}

static void test_hv_bad_messages(void **state)
{
	(void)state;
	fake.vm->config.testdev = true;
	message(0x010000)->type = 0;
	assert_int_equal(call(0x5c, INPUT), 5);
	message(0x010000)->type = BIT(31) | 1;
	assert_int_equal(call(0x5c, INPUT), 5);
	message(0x010000)->size = 241;
	assert_int_equal(call(0x5c, INPUT), 5);
	message(0x010000)->size = ~0u;
	assert_int_equal(call(0x5c, INPUT), 5);
}

static void test_hv_nobody_is_connected(void **state)
{
	(void)state;
	hv_synic_on(0);
	hv_wr(0, MSR_HV_SINT0 + SINT, SINT_VECTOR);
	message(0x010000 | SINT);
	assert_int_equal(call(0x5c, INPUT), 0x12);
	assert_int_equal(call(0x5d | HV_CALL_FAST, 0x020000 | SINT), 0x12);
	assert_int_equal(hv_slot(0, SINT)->type, 0);
}

/* With the test device every SINT has a connection. */
static void test_hv_connections(void **state)
{
	static const u32 bad[] = {0x000002,   0x020102,   0x010202, 0x010012,
	                          0x01010102, 0x80010002, 0x030002, 0x01ff02};

	(void)state;
	fake.vm->config.testdev = true;
	message(0x010102);
	assert_int_equal(call(0x5c, INPUT), HV_STATUS_INVALID_SYNIC_STATE);
	hv_synic_on(1);
	hv_wr(1, MSR_HV_SINT0 + 2, SINT_VECTOR);
	assert_int_equal(call(0x5c, INPUT), HV_STATUS_SUCCESS);
	assert_int_equal(hv_slot(1, 2)->type, 7);
	assert_int_equal(hv_slot(1, 2)->size_flags, 3);
	assert_int_equal(hv_slot(1, 2)->origin, 0x010102);
	assert_memory_equal(hv_slot(1, 2)->payload, "abc", 4);
	assert_int_equal(hv_take(1), SINT_VECTOR);
	assert_int_equal(hv_take(0), -1);
	for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
		message(bad[i]);
		assert_int_equal(call(0x5c, INPUT), HV_STATUS_INVALID_CONNECTION_ID);
	}
	assert_int_equal(call(0x5d | HV_CALL_FAST, 5ull << 32 | 0x020102), HV_STATUS_SUCCESS);
	assert_int_equal(*(u32 *)hv_ram(FLAGS(1) + 2 * HV_EVENT_FLAGS_BYTES), BIT(5));
	assert_int_equal(call(0x5d | HV_CALL_FAST, 2048ull << 32 | 0x020102),
	                 HV_STATUS_INVALID_PARAMETER);
	assert_int_equal(call(0x5d | HV_CALL_FAST, 0x010102), HV_STATUS_INVALID_CONNECTION_ID);
	*(struct hv_signal_event *)hv_ram(INPUT) = (struct hv_signal_event){0x020102, 6, 0};
	assert_int_equal(call(0x5d, INPUT), HV_STATUS_SUCCESS);
	assert_int_equal(*(u32 *)hv_ram(FLAGS(1) + 2 * HV_EVENT_FLAGS_BYTES), BIT(5) | BIT(6));
}

static void test_hv_calls_from_32_bit_code(void **state)
{
	u64 *gpr = cpu(0)->regs.gpr;

	(void)state;
	fake.vm->config.testdev = true;
	hv_synic_on(0);
	hv_fake.code_mode = 4;
	message(0x010000 | SINT);
	gpr[GPR_RAX] = 0xdead00000000005cull;
	gpr[GPR_RDX] = 0xdead000000000000ull;
	gpr[GPR_RBX] = 0xdead000000000000ull;
	gpr[GPR_RCX] = 0xdead000000000000ull | INPUT;
	hv_call_handle(cpu(0));
	assert_int_equal(gpr[GPR_RAX], HV_STATUS_SUCCESS);
	assert_int_equal(gpr[GPR_RDX], 0);
	assert_int_equal(hv_slot(0, SINT)->type, 7);
}

static void test_hv_calls_are_for_the_kernel(void **state)
{
	(void)state;
	fake.state[0].cr0 = CR0_PE;
	assert_true(hv_call_permitted(cpu(0)));
	fake.state[0].cpl = 3;
	assert_false(hv_call_permitted(cpu(0)));
	fake.state[0].cpl = 0;
	fake.state[0].cr0 = 0;
	assert_false(hv_call_permitted(cpu(0)));
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_hv_##name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(signature),
	        TEST(recommendations),
	        TEST(msrs_that_there_are),
	        TEST(not_offered),
	        TEST(plain_msrs),
	        TEST(reset_msr),
	        TEST(apic_msrs_in_xapic_mode),
	        TEST(apic_msrs_in_x2apic_mode),
	        TEST(apic_msrs_of_a_disabled_apic),
	        TEST(reference_counter),
	        TEST(reference_page),
	        TEST(reference_page_outside_memory),
	        TEST(reference_page_with_another_tsc),
	        TEST(deadlines),
	        TEST(page_needs_an_identity),
	        TEST(page_outside_memory),
	        TEST(page_locked),
	        TEST(unknown_calls),
	        TEST(bad_input_values),
	        TEST(bad_parameter_addresses),
	        TEST(bad_messages),
	        TEST(nobody_is_connected),
	        TEST(connections),
	        TEST(calls_from_32_bit_code),
	        TEST(calls_are_for_the_kernel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
