/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * irq/intr.c over the real local APIC and a back end that only records: what the next entry injects,
 * when a window opens, when the exit is forced.
 */
#include "irq/accel.h"
#include "irq/extint.h"
#include "irq/intr.h"
#include "irq/irq_window.h"

#include "postern/string.h"

#include "tests/unit/lapic_guest.h"

#define LOW        0x41
#define HIGH       0x61
#define PIC_VECTOR 0x08 /* what the fake 8259 answers */

static struct {
	struct intr_event slot;   /* .valid: taken */
	bool delivered;           /* the processor took what was in the slot */
	enum intr_block external; /* what blocks, besides the slot */
	enum intr_block nmi;
	bool window, nmi_window, tpr_exit;
	u32 injections;
} back;

static enum intr_block blocked(struct vcpu *vcpu, enum intr_class class)
{
	(void)vcpu;
	if (back.slot.valid)
		return INTR_BLOCK_SLOT;
	if (class == INTR_CLASS_EXTERNAL)
		return back.external;
	return class == INTR_CLASS_NMI ? back.nmi : INTR_BLOCK_NONE;
}

static void inject(struct vcpu *vcpu, const struct intr_event *event)
{
	(void)vcpu;
	assert_false(back.slot.valid);
	back.slot = *event;
	back.injections++;
}

static bool retract(struct vcpu *vcpu)
{
	bool left = back.slot.valid && !back.delivered;

	(void)vcpu;
	if (left)
		back.slot.valid = false;
	return left;
}

static void window(struct vcpu *vcpu, enum intr_class class, bool open)
{
	(void)vcpu;
	*(class == INTR_CLASS_NMI ? &back.nmi_window : &back.window) = open;
}

static bool force(struct vcpu *vcpu, enum intr_class class)
{
	(void)vcpu;
	return class == INTR_CLASS_NMI;
}

static void tpr_exit(struct vcpu *vcpu, bool on)
{
	(void)vcpu;
	back.tpr_exit = on;
}

/* As irq/irq_window.c, but for the VM's part. */
void irq_window_open(struct vcpu *vcpu)
{
	vcpu->accel.window = 1;
}

void irq_window_close(struct vcpu *vcpu)
{
	vcpu->accel.window = 0;
}

u8 extint_ack(struct vm *vm)
{
	(void)vm;
	fake.pic_output = false;
	return PIC_VECTOR;
}

static int setup(void **state)
{
	(void)state;
	fake_create(1);
	wr(0, APIC_SVR, SVR_ON);
	memset(&back, 0, sizeof(back));
	backend_table.intr_blocked = blocked;
	backend_table.intr_inject = inject;
	backend_table.intr_retract = retract;
	backend_table.intr_window = window;
	backend_table.intr_force = force;
	backend_table.intr_tpr_exit = tpr_exit;
	return 0;
}

static void arrive(u8 vector)
{
	assert_true(lapic_accept(&cpu(0)->lapic, vector, false, IRQ_SOURCE_IPI));
}

/* The guest was entered, and what was in the slot delivered. */
static void entered(void)
{
	back.delivered = true;
	back.slot.valid = false;
}

static void prepare(bool forced)
{
	back.delivered = false;
	assert_int_equal(intr_prepare_entry(cpu(0)), forced);
}

static void slot_is(enum intr_type type, u8 vector)
{
	assert_true(back.slot.valid);
	assert_int_equal(back.slot.type, type);
	assert_int_equal(back.slot.vector, vector);
}

static void test_intr_nothing_pending_nothing_done(void **state)
{
	(void)state;
	prepare(false);
	assert_int_equal(back.injections, 0);
	assert_false(back.window || back.nmi_window || back.tpr_exit);
}

static void test_intr_highest_vector_is_injected_and_in_service(void **state)
{
	(void)state;
	arrive(LOW);
	arrive(HIGH);
	prepare(false);
	slot_is(INTR_TYPE_EXTERNAL, HIGH);
	assert_int_equal(rd(0, APIC_PPR), HIGH & 0xf0);
	assert_false(back.window); /* LOW waits for the EOI, not for a window */
	assert_int_equal(counter(0, COUNTER_INJ_IPI), 1);
	assert_int_equal(counter(0, COUNTER_IPI_RECEIVED), 1);
}

static void test_intr_blocked_opens_window_once_and_closes_it(void **state)
{
	(void)state;
	arrive(LOW);
	back.external = INTR_BLOCK_IF;
	prepare(false);
	prepare(false);
	assert_int_equal(back.injections, 0);
	assert_true(back.window);
	assert_int_equal(counter(0, COUNTER_WINDOWS), 1);
	back.external = INTR_BLOCK_NONE;
	prepare(false);
	slot_is(INTR_TYPE_EXTERNAL, LOW);
	assert_false(back.window);
}

static void test_intr_undelivered_is_taken_back_for_a_higher_one(void **state)
{
	(void)state;
	arrive(LOW);
	prepare(false);
	arrive(HIGH); /* before the entry */
	prepare(false);
	slot_is(INTR_TYPE_EXTERNAL, HIGH);
	entered();
	prepare(false);
	assert_int_equal(back.injections, 2);
	wr(0, APIC_EOI, 0);
	prepare(false);
	slot_is(INTR_TYPE_EXTERNAL, LOW); /* not lost */
	assert_int_equal(counter(0, COUNTER_INJ_IPI), 2);
	assert_int_equal(counter(0, COUNTER_INJ_AGAIN), 1);
}

static void test_intr_delivered_is_not_taken_back(void **state)
{
	(void)state;
	arrive(LOW);
	prepare(false);
	entered();
	prepare(false);
	assert_false(back.slot.valid);
	assert_int_equal(back.injections, 1);
	assert_int_equal(rd(0, APIC_PPR), LOW & 0xf0);
}

/* What has ended already holds nothing back: the next one is wanted as soon as it can be taken. */
static void test_intr_behind_an_auto_eoi_there_is_a_window(void **state)
{
	u32 vectors[LAPIC_VECTOR_WORDS] = {[HIGH / 32] = BIT(HIGH % 32)};

	(void)state;
	lapic_set_auto_eoi(cpu(0), vectors, true);
	arrive(LOW);
	arrive(HIGH);
	prepare(false);
	slot_is(INTR_TYPE_EXTERNAL, HIGH);
	assert_true(back.window);
	assert_int_equal(rd(0, APIC_PPR), 0);
	prepare(false); /* not delivered: taken back, and the same again */
	slot_is(INTR_TYPE_EXTERNAL, HIGH);
	assert_true(back.window);
	entered();
	prepare(false);
	slot_is(INTR_TYPE_EXTERNAL, LOW);
	assert_false(back.window);
	entered();
	prepare(false);
	assert_int_equal(rd(0, APIC_PPR), LOW & 0xf0);
	assert_int_equal(counter(0, COUNTER_AUTO_EOI), 1);
}

static void test_intr_interrupted_delivery_goes_first(void **state)
{
	struct intr_event again = {.vector = 0x33, .type = INTR_TYPE_EXTERNAL, .valid = true};

	(void)state;
	arrive(HIGH);
	cpu(0)->intr.again = again;
	prepare(false);
	slot_is(INTR_TYPE_EXTERNAL, 0x33);
	assert_false(cpu(0)->intr.again.valid);
	assert_true(back.window); /* HIGH */
}

static void test_intr_exception_before_nmi_before_interrupt(void **state)
{
	struct intr_event gp = {
	        .vector = VECTOR_GP, .type = INTR_TYPE_EXCEPTION, .valid = true, .has_error = true};

	(void)state;
	arrive(LOW);
	lapic_signal_nmi(&cpu(0)->lapic);
	cpu(0)->intr.exception = gp;
	prepare(true); /* the NMI has no window behind the exception */
	slot_is(INTR_TYPE_EXCEPTION, VECTOR_GP);
	entered();
	prepare(false);
	slot_is(INTR_TYPE_NMI, VECTOR_NMI);
	assert_true(back.window);
	entered();
	prepare(false);
	slot_is(INTR_TYPE_EXTERNAL, LOW);
}

static void test_intr_nmi_displaces_an_undelivered_interrupt(void **state)
{
	(void)state;
	arrive(LOW);
	prepare(false);
	lapic_signal_nmi(&cpu(0)->lapic);
	prepare(false);
	slot_is(INTR_TYPE_NMI, VECTOR_NMI);
	assert_true(back.window);
}

static void test_intr_nmi_in_handler_opens_nmi_window_and_holds_one(void **state)
{
	(void)state;
	back.nmi = INTR_BLOCK_NMI;
	lapic_signal_nmi(&cpu(0)->lapic);
	lapic_signal_nmi(&cpu(0)->lapic);
	prepare(false);
	assert_true(back.nmi_window);
	back.nmi = INTR_BLOCK_NONE;
	prepare(false);
	slot_is(INTR_TYPE_NMI, VECTOR_NMI);
	entered();
	prepare(false);
	assert_false(back.slot.valid || back.nmi_window); /* the second was merged */
	assert_int_equal(counter(0, COUNTER_INJ_NMI), 1);
}

static void test_intr_extint_before_local_apic(void **state)
{
	(void)state;
	wr(0, APIC_LVT0, APIC_DM_EXTINT);
	fake.pic_output = true;
	arrive(HIGH);
	prepare(false);
	slot_is(INTR_TYPE_EXTERNAL, PIC_VECTOR);
	assert_true(back.window); /* HIGH is deliverable: ExtINT sets no ISR bit */
	assert_int_equal(counter(0, COUNTER_INJ_EXTINT), 1);
	entered();
	prepare(false);
	slot_is(INTR_TYPE_EXTERNAL, HIGH);
	assert_false(back.window);
}

static void test_intr_masked_extint_is_left_alone(void **state)
{
	(void)state;
	wr(0, APIC_LVT0, APIC_DM_EXTINT | APIC_LVT_MASKED);
	fake.pic_output = true;
	prepare(false);
	assert_int_equal(back.injections, 0);
	assert_false(back.window);
}

static void test_intr_waiting_for_tpr_makes_cr8_exit(void **state)
{
	(void)state;
	wr(0, APIC_TPR, 0x50);
	arrive(LOW);
	prepare(false);
	assert_true(back.tpr_exit);
	assert_false(back.slot.valid || back.window);
	lapic_set_cr8(cpu(0), 3);
	prepare(false);
	slot_is(INTR_TYPE_EXTERNAL, LOW);
	assert_false(back.tpr_exit);
}

/* MOV to CR8 of the class that TPR has: no other CR8, but another TPR. */
static void test_intr_subclass_of_tpr_makes_cr8_exit(void **state)
{
	(void)state;
	wr(0, APIC_TPR, 0x51);
	prepare(false);
	assert_true(back.tpr_exit);
	lapic_set_cr8(cpu(0), 5);
	assert_int_equal(rd(0, APIC_TPR), 0x50);
	prepare(false);
	assert_false(back.tpr_exit);
	/* Without one, and nothing that waits, CR8 is the guest's own. */
	wr(0, APIC_TPR, 0xf0);
	prepare(false);
	assert_false(back.tpr_exit);
}

static void test_intr_hlt_wakes_for_what_if_and_masks_allow(void **state)
{
	(void)state;
	assert_false(intr_has_deliverable(cpu(0)));
	arrive(LOW);
	assert_true(intr_has_deliverable(cpu(0)));
	back.external = INTR_BLOCK_SHADOW; /* STI; HLT */
	assert_true(intr_has_deliverable(cpu(0)));
	back.external = INTR_BLOCK_IF;
	assert_false(intr_has_deliverable(cpu(0)));
	lapic_signal_nmi(&cpu(0)->lapic);
	assert_true(intr_has_deliverable(cpu(0)));
	back.nmi = INTR_BLOCK_NMI;
	assert_false(intr_has_deliverable(cpu(0)));
}

static void test_intr_reset_forgets_everything(void **state)
{
	(void)state;
	arrive(LOW);
	prepare(false);
	cpu(0)->intr.nmi_pending = 1;
	intr_reset(cpu(0));
	assert_false(cpu(0)->intr.in_slot);
	assert_int_equal(cpu(0)->intr.nmi_pending, 0);
}

/* ExtINT is not injected before acceleration is off; and that lasts until it has left the slot. */
static void test_intr_extint_waits_for_acceleration_to_be_off(void **state)
{
	(void)state;
	wr(0, APIC_LVT0, APIC_DM_EXTINT);
	atomic32_set(&cpu(0)->accel.mode, ACCEL_X2APIC);
	cpu(0)->vm->inhibit.needed = INHIBIT_BIT(IRQWIN);
	fake.pic_output = true;
	prepare(false);
	assert_int_equal(back.injections, 0);
	assert_false(back.window);
	assert_int_equal(cpu(0)->accel.window, 1);
	atomic32_set(&cpu(0)->accel.mode, ACCEL_OFF);
	prepare(false);
	slot_is(INTR_TYPE_EXTERNAL, PIC_VECTOR);
	assert_int_equal(cpu(0)->accel.window, 1);
	/* A request came first: it is still there at the next preparation. */
	prepare(false);
	slot_is(INTR_TYPE_EXTERNAL, PIC_VECTOR);
	assert_int_equal(cpu(0)->accel.window, 1);
	entered();
	prepare(false);
	assert_int_equal(back.injections, 1);
	assert_int_equal(cpu(0)->accel.window, 0);
}

/* Where a window goes together with acceleration, ExtINT is injected meanwhile; what the local APIC has is not. */
static void test_intr_extint_beside_acceleration(void **state)
{
	(void)state;
	lapic_may_accelerate(cpu(0), true);
	wr(0, APIC_LVT0, APIC_DM_EXTINT);
	lapic_accelerated(cpu(0), true);
	atomic32_set(&cpu(0)->accel.mode, ACCEL_X2APIC);
	arrive(HIGH);
	fake.pic_output = true;
	back.external = INTR_BLOCK_IF;
	prepare(false);
	assert_true(back.window);
	assert_int_equal(back.injections, 0);
	back.external = INTR_BLOCK_NONE;
	prepare(false);
	slot_is(INTR_TYPE_EXTERNAL, PIC_VECTOR);
	assert_false(back.window);
	fake.pic_output = false;
	entered();
	prepare(false);
	assert_int_equal(back.injections, 1);
	/* It is in the page, for the processor. */
	assert_int_equal(lapic_deliverable(cpu(0)), HIGH);
	atomic32_set(&cpu(0)->accel.mode, ACCEL_OFF);
}

/* A window of any kind counts while it is open, and no longer than that if the vCPU goes to sleep. */
static void test_intr_an_open_window_counts(void **state)
{
	(void)state;
	back.external = INTR_BLOCK_IF;
	arrive(LOW);
	prepare(false);
	assert_true(back.window);
	assert_int_equal(cpu(0)->accel.window, 1);
	intr_before_wait(cpu(0));
	assert_false(back.window);
	assert_int_equal(cpu(0)->accel.window, 0);
	prepare(false);
	assert_int_equal(cpu(0)->accel.window, 1);
	intr_before_switch(cpu(0));
	assert_false(back.window);
	intr_reset(cpu(0));
	assert_int_equal(cpu(0)->accel.window, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, no_vcpus)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        T(test_intr_nothing_pending_nothing_done),
	        T(test_intr_highest_vector_is_injected_and_in_service),
	        T(test_intr_blocked_opens_window_once_and_closes_it),
	        T(test_intr_undelivered_is_taken_back_for_a_higher_one),
	        T(test_intr_delivered_is_not_taken_back),
	        T(test_intr_behind_an_auto_eoi_there_is_a_window),
	        T(test_intr_interrupted_delivery_goes_first),
	        T(test_intr_exception_before_nmi_before_interrupt),
	        T(test_intr_nmi_displaces_an_undelivered_interrupt),
	        T(test_intr_nmi_in_handler_opens_nmi_window_and_holds_one),
	        T(test_intr_extint_before_local_apic),
	        T(test_intr_masked_extint_is_left_alone),
	        T(test_intr_waiting_for_tpr_makes_cr8_exit),
	        T(test_intr_subclass_of_tpr_makes_cr8_exit),
	        T(test_intr_hlt_wakes_for_what_if_and_masks_allow),
	        T(test_intr_reset_forgets_everything),
	        T(test_intr_extint_waits_for_acceleration_to_be_off),
	        T(test_intr_extint_beside_acceleration),
	        T(test_intr_an_open_window_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
