/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests apart from the page (irq/accel.h): where acceptance puts them, who sees them, how the owner moves them,
 * and that every one is accepted, coalesced or pending. SDM volume 3, "Evaluation and Delivery of Virtual
 * Interrupts", for what the processor is told.
 */
#include "irq/lapic_priv.h"
#include "tests/unit/lapic_guest.h"

#define V     0x61
#define LOWER 0x31

static struct lapic *lapic(void)
{
	return &fake.vm->vcpu[0]->lapic;
}

static u64 counted(enum counter_id id)
{
	return fake.vm->vcpu[0]->account.counters[id];
}

static u32 bits(u32 reg, u8 vector)
{
	return atomic32_read(lapic_vector_word(lapic(), reg, vector)) & lapic_vector_bit(vector);
}

static bool is_apart(u8 vector)
{
	return lapic_is_posted(lapic(), vector);
}

static void arrive(u8 vector)
{
	assert_true(lapic_accept(lapic(), vector, false, IRQ_SOURCE_MSI));
}

static int setup(void **state __unused)
{
	fake_create(1);
	lapic_may_accelerate(fake.vm->vcpu[0], true);
	lapic_set(lapic(), APIC_SVR, APIC_SVR_ENABLE | 0xff);
	return 0;
}

static int teardown(void **state __unused)
{
	fake_destroy();
	return 0;
}

static void test_apart_until_the_owner_looks(void **state __unused)
{
	arrive(V);
	assert_true(is_apart(V) && !bits(APIC_IRR, V));
	assert_true(lapic_has_posted(lapic()) && fake.requests[0] & VCPU_REQUEST_EVENT);
	assert_true(lapic_holds(lapic(), V));
	assert_int_equal(lapic_deliverable(fake.vm->vcpu[0]), V);
	assert_true(!is_apart(V) && bits(APIC_IRR, V));
	assert_true(lapic_holds(lapic(), V));
	assert_int_equal(lapic_ack(fake.vm->vcpu[0], V), IRQ_SOURCE_MSI);
	assert_int_equal(lapic_deliverable(fake.vm->vcpu[0]), -1);
}

/* Who finds the mark set has told nobody: the one who set it does. */
static void test_first_one_tells(void **state __unused)
{
	assert_true(lapic_post(lapic(), V));
	assert_false(lapic_post(lapic(), LOWER));
	assert_false(lapic_post(lapic(), V)); /* coalesced, and still somebody else's to tell */
	assert_true(lapic_harvest(lapic()));
	assert_true(lapic_post(lapic(), V));
	lapic_forget_posted(lapic());
	fake.requests[0] = 0;
	arrive(LOWER);
	assert_int_equal(fake.requests[0], VCPU_REQUEST_EVENT);
	fake.requests[0] = 0;
	arrive(V);
	assert_int_equal(fake.requests[0], 0);
}

/* What a back end keeps beside the mark stays as it is. */
static void test_rest_of_the_word_is_kept(void **state __unused)
{
	struct atomic64 *control = &fake.vm->vcpu[0]->accel.apart.control;
	const u64 rest = 0x1234567800f40002;

	atomic64_set(control, rest);
	arrive(V);
	assert_true(atomic64_read(control) == (rest | ACCEL_REQUESTS_ON));
	lapic_harvest(lapic());
	assert_true(atomic64_read(control) == rest);
	arrive(V);
	lapic_reset(fake.vm->vcpu[0], true);
	assert_true(atomic64_read(control) == rest);
	assert_false(is_apart(V));
}

/* The same vCPU asks itself: it has not been moved yet, either. */
static void test_own_requests_are_no_exception(void **state __unused)
{
	assert_true(lapic_accept_own(lapic(), V, IRQ_SOURCE_IPI));
	assert_true(is_apart(V) && lapic_has_posted(lapic()));
	assert_int_equal(fake.requests[0], 0);
	assert_int_equal(lapic_deliverable(fake.vm->vcpu[0]), V);
}

/* TMR is software's, and right before the request can be seen. */
static void test_level_is_noted(void **state __unused)
{
	assert_true(lapic_accept(lapic(), V, true, IRQ_SOURCE_IOAPIC));
	assert_true(bits(APIC_TMR, V) != 0);
	arrive(V);
	assert_false(bits(APIC_TMR, V));
}

static void test_every_request_is_accounted_for(void **state __unused)
{
	arrive(V);
	arrive(V); /* apart already */
	assert_int_equal(counted(COUNTER_COALESCED), 1);
	lapic_harvest(lapic());
	arrive(V); /* in the page already: found out when it gets there */
	arrive(LOWER);
	assert_int_equal(counted(COUNTER_COALESCED), 1);
	lapic_harvest(lapic());
	assert_int_equal(counted(COUNTER_COALESCED), 2);
	assert_int_equal(counted(COUNTER_ACCEPTED), 4);
	assert_true(bits(APIC_IRR, V) && bits(APIC_IRR, LOWER));
	/* Nothing is left, and it is not looked for. */
	assert_false(lapic_has_posted(lapic()));
	assert_false(lapic_harvest(lapic()));
}

static void test_reset_forgets(void **state __unused)
{
	arrive(V);
	lapic_reset(fake.vm->vcpu[0], true);
	assert_false(is_apart(V) || lapic_holds(lapic(), V));
	assert_int_equal(lapic_deliverable(fake.vm->vcpu[0]), -1);
}

/* What is taken back goes to the page, from where it came. */
static void test_taken_back(void **state __unused)
{
	arrive(V);
	assert_int_equal(lapic_deliverable(fake.vm->vcpu[0]), V);
	lapic_ack(fake.vm->vcpu[0], V);
	arrive(V);
	lapic_unack(fake.vm->vcpu[0], V);
	lapic_harvest(lapic());
	assert_int_equal(counted(COUNTER_COALESCED), 1);
	assert_int_equal(lapic_deliverable(fake.vm->vcpu[0]), V);
}

static void expect_status(u8 want_requested, u8 want_in_service)
{
	u8 requested = 1, in_service = 1;

	assert_true(lapic()->status_changed);
	lapic_status(fake.vm->vcpu[0], &requested, &in_service);
	assert_int_equal(requested, want_requested);
	assert_int_equal(in_service, want_in_service);
	assert_false(lapic()->status_changed);
}

/* What the processor has to know, whenever software has changed it. */
static void test_status(void **state __unused)
{
	arrive(V);
	lapic_deliverable(fake.vm->vcpu[0]);
	lapic_ack(fake.vm->vcpu[0], V);
	arrive(LOWER);
	assert_false(lapic()->status_changed);
	lapic_accelerated(fake.vm->vcpu[0], true);
	expect_status(LOWER, V);
	arrive(V + 1);
	assert_false(lapic()->status_changed); /* it is apart */
	lapic_harvest(lapic());
	expect_status(V + 1, V);
	lapic_eoi(lapic());
	expect_status(V + 1, 0);
	/* Off again: the page is all there is, and the summaries say so. */
	lapic_accelerated(fake.vm->vcpu[0], false);
	assert_int_equal(lapic_deliverable(fake.vm->vcpu[0]), V + 1);
	lapic_ack(fake.vm->vcpu[0], V + 1);
	lapic_eoi(lapic());
	assert_int_equal(lapic_deliverable(fake.vm->vcpu[0]), LOWER);
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        T(test_apart_until_the_owner_looks),
	        T(test_first_one_tells),
	        T(test_rest_of_the_word_is_kept),
	        T(test_own_requests_are_no_exception),
	        T(test_level_is_noted),
	        T(test_every_request_is_accounted_for),
	        T(test_reset_forgets),
	        T(test_taken_back),
	        T(test_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
