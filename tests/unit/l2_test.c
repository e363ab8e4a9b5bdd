/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * core/nested.c with irq/intr.c, irq/accel.c and the counted windows, over a back end of two control blocks that
 * only records: what becomes of windows and of what is in the slot when a vCPU begins or ends to run
 * a guest of its guest, requirement S0.1 and S0.2.
 */
#include "core/nested.h"
#include "core/sched.h"
#include "irq/accel_check.h"
#include "irq/extint.h"
#include "irq/irq_window.h"
#include "mmu/mmu.h"
#include "postern/port.h"
#include "postern/string.h"

#include "tests/unit/lapic_guest.h"

#define VECTOR     0x51
#define PIC_VECTOR 0x08

/* L1's and L2's. */
static struct block {
	struct intr_event slot;
	bool window, nmi_window, tpr_exit;
	u32 opened;
} block[2];

static struct {
	u32 now;                  /* the block in use */
	enum intr_block external; /* besides the slot */
	enum intr_block nmi, exception;
	bool refuses; /* nested_enter() */
	u32 left;     /* nested_leave() calls, and the last one's reason */
	enum nested_why why;
	enum accel_mode mode; /* as accel's set() was told; in L1's block */
	u32 set_in_l2;
} back;

/* --- the back end --- */

static enum intr_block blocked(struct vcpu *vcpu __unused, enum intr_class class)
{
	if (block[back.now].slot.valid)
		return INTR_BLOCK_SLOT;
	if (class == INTR_CLASS_EXTERNAL)
		return back.external;
	return class == INTR_CLASS_NMI ? back.nmi : back.exception;
}

static void inject(struct vcpu *vcpu __unused, const struct intr_event *event)
{
	assert_false(block[back.now].slot.valid);
	block[back.now].slot = *event;
}

static bool retract(struct vcpu *vcpu __unused)
{
	bool left = block[back.now].slot.valid;

	block[back.now].slot.valid = false;
	return left;
}

static void window(struct vcpu *vcpu __unused, enum intr_class class, bool open)
{
	struct block *b = &block[back.now];

	*(class == INTR_CLASS_NMI ? &b->nmi_window : &b->window) = open;
	b->opened += open;
}

static bool force(struct vcpu *vcpu __unused, enum intr_class class)
{
	return class == INTR_CLASS_NMI;
}

static void tpr_exit(struct vcpu *vcpu __unused, bool on)
{
	block[back.now].tpr_exit = on;
}

static void expect_empty(u32 which)
{
	const struct block *b = &block[which];

	assert_false(b->slot.valid || b->window || b->nmi_window || b->tpr_exit);
}

static bool enter(struct vcpu *vcpu, void *what)
{
	assert_ptr_equal(what, &block[1]);
	assert_true(vcpu->guest_mode);
	assert_int_equal(back.now, 0);
	expect_empty(0);
	/* What rests is not accelerated, whatever happens until it goes on. */
	assert_int_equal(back.mode, ACCEL_OFF);
	back.now = !back.refuses;
	return !back.refuses;
}

static void leave(struct vcpu *vcpu, enum nested_why why)
{
	assert_true(vcpu->guest_mode);
	assert_int_equal(back.now, 1);
	expect_empty(1);
	back.now = 0;
	back.left++;
	back.why = why;
	if (why == NESTED_EXCEPTION)
		vcpu->intr.exception.valid = false;
}

/* --- acceleration --- */

static u32 modes(void)
{
	return ACCEL_MODE(ACCEL_XAPIC);
}

static bool vm_init(struct vm *vm __unused)
{
	return true;
}

static void set(struct vcpu *vcpu, enum accel_mode mode, bool with_page)
{
	if (vcpu->index)
		return;
	assert_true(with_page || mode == ACCEL_OFF);
	back.mode = mode;
	back.set_in_l2 += back.now;
}

static void running(struct vcpu *vcpu __unused, struct cpu *on __unused, bool sleeps __unused)
{
}

static void notify(struct vcpu *vcpu __unused, struct cpu *on __unused)
{
}

static void identify(struct vm *vm __unused)
{
}

static const struct accel_ops ops = {.modes = modes,
                                     .vm_init = vm_init,
                                     .set = set,
                                     .running = running,
                                     .notify = notify,
                                     .identify = identify};
static struct backend backend = {.accel = &ops};

/* --- around them --- */

bool sched_wake(struct vcpu *vcpu __unused)
{
	return false;
}

bool mmu_zap(struct vm *vm __unused, gpa_t gpa __unused, u64 size __unused)
{
	return true;
}

u32 mmu_invalidate_seq(const struct vm *vm __unused)
{
	return 0;
}

bool mmu_install(struct vm *vm __unused, gpa_t gpa __unused, hpa_t hpa __unused,
                 u32 access __unused, u32 seq __unused)
{
	return true;
}

hpa_t ptr_to_hpa(const void *p)
{
	return HPA((uintptr_t)p);
}

const u64 *port_hw_counts(void)
{
	return NULL;
}

u8 extint_ack(struct vm *vm __unused)
{
	fake.pic_output = false;
	return PIC_VECTOR;
}

/* --- a vCPU of two, in L1 and accelerated --- */

/* What the run loop does before an entry. */
static void take_requests(void)
{
	struct vcpu *vcpu;

	for_each_vcpu (vcpu, fake.vm) {
		u32 mine = fake_take_requests(vcpu) | atomic32_xchg(&vcpu->requests, 0);

		if (mine & VCPU_REQUEST_ACCEL)
			accel_update(vcpu);
	}
}

static void prepare(void)
{
	take_requests();
	assert_false(intr_prepare_entry(cpu(0)));
	/* An ExtINT asks for it, and so does leaving: as often as somebody asks. */
	while (atomic32_read(&cpu(0)->requests) || fake.requests[0]) {
		take_requests();
		assert_false(intr_prepare_entry(cpu(0)));
	}
	assert_false(accel_is_wrong(cpu(0)));
}

static int setup(void **state __unused)
{
	fake_create(2);
	memset(block, 0, sizeof(block));
	memset(&back, 0, sizeof(back));
	fake.vm->inhibit.needed = ~0u;
	fake.machine->backend = &backend;
	backend_table.intr_blocked = blocked;
	backend_table.intr_inject = inject;
	backend_table.intr_retract = retract;
	backend_table.intr_window = window;
	backend_table.intr_force = force;
	backend_table.intr_tpr_exit = tpr_exit;
	backend_table.nested_enter = enter;
	backend_table.nested_leave = leave;
	assert_true(accel_create(fake.vm, ~0u));
	for (u32 i = 0; i < 2; i++)
		wr(i, APIC_SVR, SVR_ON);
	wr(0, APIC_LVT0, APIC_DM_EXTINT);
	prepare();
	assert_true(accel_is_on(&cpu(0)->accel) && accel_is_on(&cpu(1)->accel));
	return 0;
}

static int teardown(void **state __unused)
{
	assert_int_equal(back.set_in_l2, 0);
	accel_destroy(fake.vm);
	fake_destroy();
	return 0;
}

/* Requirement S0.1. */
static void expect_windows(u32 flag)
{
	assert_int_equal(cpu(0)->accel.window, flag);
	assert_int_equal(cpu(1)->accel.window, 0);
	assert_int_equal(atomic32_read(&fake.vm->inhibit.windows), flag);
	assert_int_equal(inhibit_stands(fake.vm, INHIBIT_IRQWIN), flag);
	take_requests();
	assert_int_equal(accel_is_on(&cpu(1)->accel), !flag);
}

static void go_in(void)
{
	assert_true(nested_enter(cpu(0), &block[1]));
	assert_true(cpu(0)->guest_mode);
	assert_int_equal(back.now, 1);
	assert_int_equal(cpu(0)->accel.local, INHIBIT_BIT(NESTED));
	expect_empty(0);
}

static void go_out(void)
{
	nested_leave(cpu(0), NESTED_EXIT);
	assert_false(cpu(0)->guest_mode);
	assert_int_equal(cpu(0)->accel.local, 0);
	expect_empty(1);
}

/* In L1, which does not take it yet. */
static void open_window(void)
{
	fake.pic_output = true;
	back.external = INTR_BLOCK_IF;
	prepare();
	assert_true(block[0].window);
	expect_windows(1);
}

/* --- windows --- */

static void test_l2_window_of_l1_is_closed_in_l2(void **state __unused)
{
	open_window();
	go_in();
	expect_windows(1);
	prepare();
	expect_windows(1);
	assert_false(block[0].window);
	fake.pic_output = false;
	prepare();
	expect_windows(0);
	assert_false(block[1].window);
	assert_false(accel_is_on(&cpu(0)->accel));
	go_out();
	prepare();
	expect_windows(0);
	assert_true(accel_is_on(&cpu(0)->accel));
	assert_int_equal(fake.vm->inhibit.account[INHIBIT_IRQWIN].sets, 1);
	assert_int_equal(fake.vm->inhibit.account[INHIBIT_IRQWIN].clears, 1);
}

static void test_l2_window_of_l1_is_closed_after_it(void **state __unused)
{
	open_window();
	go_in();
	prepare();
	expect_windows(1);
	go_out();
	expect_windows(1);
	prepare();
	expect_windows(1);
	assert_true(block[0].window);
	back.external = INTR_BLOCK_NONE;
	prepare();
	assert_int_equal(block[0].slot.vector, PIC_VECTOR);
	expect_windows(1); /* until it has been delivered */
	block[0].slot.valid = false;
	prepare();
	expect_windows(0);
	assert_int_equal(counter(0, COUNTER_IRQ_WINDOWS), 1);
}

static void test_l2_several_times_with_one_window(void **state __unused)
{
	open_window();
	for (u32 i = 0; i < 3; i++) {
		go_in();
		prepare();
		expect_windows(1);
		go_out();
		prepare();
		expect_windows(1);
	}
	assert_int_equal(counter(0, COUNTER_IRQ_WINDOWS), 1);
	irq_window_close(cpu(0));
	expect_windows(0);
	irq_window_close(cpu(0));
	expect_windows(0);
}

static void test_l2_own_window_does_not_count(void **state __unused)
{
	go_in();
	fake.pic_output = true;
	back.external = INTR_BLOCK_IF;
	prepare();
	assert_true(block[1].window);
	assert_false(block[0].window);
	expect_windows(0);
	/* Still wanted in L1: there it does. */
	go_out();
	prepare();
	assert_true(block[0].window);
	expect_windows(1);
	fake.pic_output = false;
	prepare();
	expect_windows(0);
}

static void test_l2_takes_what_l1_has_a_window_for(void **state __unused)
{
	open_window();
	go_in();
	back.external = INTR_BLOCK_NONE;
	prepare();
	assert_int_equal(block[1].slot.vector, PIC_VECTOR);
	expect_windows(1);
	block[1].slot.valid = false;
	prepare();
	expect_windows(0);
	go_out();
	expect_windows(0);
}

static void test_l2_reset_and_init_close_the_window(void **state __unused)
{
	for (u32 init = 0; init < 2; init++) {
		open_window();
		go_in();
		prepare();
		/* vcpu_reset() */
		nested_leave(cpu(0), NESTED_INIT);
		intr_reset(cpu(0));
		lapic_reset(cpu(0), init);
		expect_windows(0);
		expect_empty(0);
		expect_empty(1);
		assert_false(cpu(0)->guest_mode);
		fake.pic_output = false;
		wr(0, APIC_SVR, SVR_ON);
		wr(0, APIC_LVT0, APIC_DM_EXTINT);
		prepare();
		expect_windows(0);
		assert_true(accel_is_on(&cpu(0)->accel));
	}
}

/* The other vCPU's window is not touched by what this one does in L2. */
static void test_l2_end_leaves_the_count_with_the_flags(void **state __unused)
{
	open_window();
	irq_window_open(cpu(1));
	go_in();
	prepare();
	assert_int_equal(atomic32_read(&fake.vm->inhibit.windows), 2);
	intr_before_switch(cpu(0)); /* core/run.c, retire() */
	assert_int_equal(atomic32_read(&fake.vm->inhibit.windows), 2);
	fake.pic_output = false;
	prepare();
	assert_int_equal(atomic32_read(&fake.vm->inhibit.windows), 1);
	assert_true(inhibit_stands(fake.vm, INHIBIT_IRQWIN));
	irq_window_close(cpu(1));
	expect_windows(0);
}

/* --- the slot, and who gets what --- */

static void arrive(void)
{
	assert_true(lapic_accept(&cpu(0)->lapic, VECTOR, false, IRQ_SOURCE_IPI));
}

/* Something stands: L1 is injected into. */
static void inhibit(void)
{
	inhibit_set(fake.vm, INHIBIT_STORM);
	prepare();
}

static void test_l2_slot_competes_anew_and_goes_to_l1(void **state __unused)
{
	inhibit();
	arrive();
	prepare();
	assert_int_equal(block[0].slot.vector, VECTOR);
	go_in();
	assert_int_equal(counter(0, COUNTER_INJ_IPI), 0);
	back.external = INTR_BLOCK_NESTED;
	assert_true(intr_has_deliverable(cpu(0)));
	assert_false(intr_prepare_entry(cpu(0)));
	assert_int_equal(back.left, 1);
	assert_int_equal(back.why, NESTED_INTERRUPT);
	assert_false(cpu(0)->guest_mode);
	expect_empty(0);
	expect_empty(1);
	/* No entry before this is decided anew. */
	assert_true(atomic32_read(&cpu(0)->requests));
	back.external = INTR_BLOCK_NONE;
	prepare();
	assert_int_equal(block[0].slot.vector, VECTOR);
	assert_int_equal(counter(0, COUNTER_INJ_IPI), 1);
}

static void test_l2_takes_what_l1_does_not_want(void **state __unused)
{
	go_in();
	arrive();
	prepare();
	assert_int_equal(block[1].slot.vector, VECTOR);
	expect_empty(0);
	/* Not delivered when L2 ends: it is L1's APIC's. */
	go_out();
	inhibit();
	assert_int_equal(block[0].slot.vector, VECTOR);
	assert_int_equal(counter(0, COUNTER_INJ_IPI), 1);
}

static void test_l2_nmi_goes_to_l1(void **state __unused)
{
	go_in();
	atomic32_fetch_or(&cpu(0)->lapic.signals, LAPIC_SIGNAL_NMI);
	cpu(0)->intr.nmi_pending = 1;
	back.nmi = INTR_BLOCK_NESTED;
	assert_false(intr_prepare_entry(cpu(0)));
	assert_int_equal(back.why, NESTED_NMI);
	back.nmi = INTR_BLOCK_NONE;
	prepare();
	assert_int_equal(block[0].slot.type, INTR_TYPE_NMI);
	assert_false(block[1].nmi_window || block[1].slot.valid);
}

static void test_l2_nmi_window_is_opened_again(void **state __unused)
{
	cpu(0)->intr.nmi_pending = 1;
	back.nmi = INTR_BLOCK_NMI;
	prepare();
	assert_true(block[0].nmi_window);
	go_in();
	prepare();
	assert_true(block[1].nmi_window);
	go_out();
	prepare();
	assert_true(block[0].nmi_window);
}

static void test_l2_exception_goes_to_l1_or_l2(void **state __unused)
{
	const struct intr_event gp = {
	        .vector = VECTOR_GP, .type = INTR_TYPE_EXCEPTION, .valid = true};

	go_in();
	cpu(0)->intr.exception = gp;
	prepare();
	assert_int_equal(block[1].slot.vector, VECTOR_GP);
	block[1].slot.valid = false;
	cpu(0)->intr.exception = gp;
	back.exception = INTR_BLOCK_NESTED;
	assert_false(intr_prepare_entry(cpu(0)));
	assert_int_equal(back.why, NESTED_EXCEPTION);
	back.exception = INTR_BLOCK_NONE;
	prepare();
	expect_empty(0);
}

static void test_l2_that_has_no_memory_changes_nothing(void **state __unused)
{
	open_window();
	back.refuses = true;
	assert_false(nested_enter(cpu(0), &block[1]));
	assert_false(cpu(0)->guest_mode);
	assert_int_equal(cpu(0)->accel.local, 0);
	prepare();
	assert_true(block[0].window);
	expect_windows(1);
	fake.pic_output = false;
	prepare();
	expect_windows(0);
	assert_true(accel_is_on(&cpu(0)->accel));
}

/* --- acceleration --- */

static void test_l2_is_unaccelerated_whatever_else_stands(void **state __unused)
{
	go_in();
	prepare();
	assert_int_equal(accel_demanded(cpu(0)), ACCEL_OFF);
	assert_true(accel_is_on(&cpu(1)->accel));
	assert_int_equal(atomic32_read(&fake.vm->inhibit.mask), 0);
	inhibit_set(fake.vm, INHIBIT_STORM);
	prepare();
	inhibit_clear(fake.vm, INHIBIT_STORM);
	prepare();
	assert_int_equal(accel_demanded(cpu(0)), ACCEL_OFF);
	assert_true(accel_is_on(&cpu(1)->accel));
	/* Without the request that leaving raises the entry would be wrong, and is seen to be. */
	go_out();
	assert_true(accel_is_wrong(cpu(0)));
	prepare();
	assert_int_equal(back.mode, ACCEL_XAPIC);
	assert_int_equal(cpu(0)->accel.account[INHIBIT_NESTED].sets, 1);
	assert_int_equal(cpu(0)->accel.account[INHIBIT_NESTED].clears, 1);
	assert_int_equal(cpu(1)->accel.account[INHIBIT_NESTED].sets, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        T(test_l2_window_of_l1_is_closed_in_l2),
	        T(test_l2_window_of_l1_is_closed_after_it),
	        T(test_l2_several_times_with_one_window),
	        T(test_l2_own_window_does_not_count),
	        T(test_l2_takes_what_l1_has_a_window_for),
	        T(test_l2_reset_and_init_close_the_window),
	        T(test_l2_end_leaves_the_count_with_the_flags),
	        T(test_l2_slot_competes_anew_and_goes_to_l1),
	        T(test_l2_takes_what_l1_does_not_want),
	        T(test_l2_nmi_goes_to_l1),
	        T(test_l2_nmi_window_is_opened_again),
	        T(test_l2_exception_goes_to_l1_or_l2),
	        T(test_l2_that_has_no_memory_changes_nothing),
	        T(test_l2_is_unaccelerated_whatever_else_stands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
