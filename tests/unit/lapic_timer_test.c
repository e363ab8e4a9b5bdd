/* SPDX-License-Identifier: BSD-2-Clause */
/* The local APIC timer: counts, modes, deadlines. The bus clock is 1 GHz, the fake TSC 2 GHz. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/irq_fake.h"
#include "x86/apic.h"
#include "x86/msr.h"

#define VECTOR 0xec

static struct vcpu *cpu(void)
{
	return fake.vm->vcpu[0];
}

static u32 rd(u32 offset)
{
	return (u32)lapic_mmio_read(cpu(), offset, 4);
}

static void wr(u32 offset, u32 value)
{
	lapic_mmio_write(cpu(), offset, 4, value);
}

static u64 ticks(void)
{
	return counter_read(&cpu()->account.counters[COUNTER_TIMER_TICKS]);
}

static u64 lost(void)
{
	return counter_read(&cpu()->account.counters[COUNTER_TIMER_LOST]);
}

/* What the vCPU's processor does before an entry. */
static void handle_requests(void)
{
	if (fake_take_requests(cpu()) & VCPU_REQUEST_TIMER)
		lapic_timer_expired(cpu());
}

static void advance(u64 ns)
{
	fake_advance_ns(ns);
	handle_requests();
}

/* Did the timer interrupt since the last call? Takes and ends it. */
static bool took_interrupt(void)
{
	int vector = lapic_deliverable(cpu());

	if (vector < 0)
		return false;
	assert_int_equal(vector, VECTOR);
	assert_int_equal(lapic_ack(cpu(), VECTOR), IRQ_SOURCE_TIMER);
	wr(APIC_EOI, 0);
	return true;
}

static u64 guest_tsc(void)
{
	return fake.tsc + cpu()->tsc_offset;
}

static void arm_deadline(u64 value)
{
	assert_true(lapic_msr_write(cpu(), MSR_TSC_DEADLINE, value));
}

static u64 read_deadline(void)
{
	u64 value = 0;

	assert_true(lapic_msr_read(cpu(), MSR_TSC_DEADLINE, &value));
	return value;
}

static int setup(void **state)
{
	(void)state;
	fake_create(1);
	wr(APIC_SVR, APIC_SVR_ENABLE | 0xff);
	wr(APIC_TDCR, 0xb);
	fake_take_requests(cpu());
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_destroy();
	return 0;
}

/* TDCR 0xb divides by 1, 0 by 2, and so on. */
static void test_lapic_timer_divide(void **state)
{
	static const struct {
		u32 tdcr, divisor;
	} rows[] = {{0xb, 1},  {0x0, 2},  {0x1, 4},  {0x2, 8},
	            {0x3, 16}, {0x8, 32}, {0x9, 64}, {0xa, 128}};

	(void)state;
	wr(APIC_LVTT, VECTOR);
	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		wr(APIC_TDCR, rows[i].tdcr);
		wr(APIC_TMICT, 1000);
		assert_int_equal(rd(APIC_TMCCT), 1000);
		assert_true(fake_timer_deadline(&cpu()->lapic.timer) ==
		            fake.tsc + FAKE_TICKS(1000 * rows[i].divisor));
		advance(400 * rows[i].divisor);
		assert_int_equal(rd(APIC_TMCCT), 600);
		advance(600 * rows[i].divisor - 1);
		assert_int_equal(rd(APIC_TMCCT), 1);
		assert_false(took_interrupt());
		advance(1);
		assert_true(took_interrupt());
		assert_int_equal(rd(APIC_TMCCT), 0);
	}
}

static void test_lapic_timer_one_shot_fires_once(void **state)
{
	(void)state;
	wr(APIC_LVTT, VECTOR);
	wr(APIC_TMICT, 5000);
	advance(5000);
	assert_true(took_interrupt());
	assert_int_equal(rd(APIC_TMICT), 5000);
	assert_true(fake_timer_deadline(&cpu()->lapic.timer) == TSC_NEVER);
	advance(1000000);
	assert_false(took_interrupt());
	assert_int_equal(ticks(), 1);
	wr(APIC_TMICT, 5000); /* writing it again starts it again */
	advance(5000);
	assert_true(took_interrupt());
}

static void test_lapic_timer_zero_count_stops(void **state)
{
	(void)state;
	wr(APIC_LVTT, VECTOR | APIC_LVTT_PERIODIC);
	wr(APIC_TMICT, 50000);
	wr(APIC_TMICT, 0);
	assert_int_equal(rd(APIC_TMCCT), 0);
	advance(1000000);
	assert_false(took_interrupt());
	assert_int_equal(ticks(), 0);
}

static void test_lapic_timer_periodic_does_not_drift(void **state)
{
	u64 start = fake.tsc;

	(void)state;
	wr(APIC_LVTT, VECTOR | APIC_LVTT_PERIODIC);
	wr(APIC_TMICT, 100000);
	for (u32 i = 1; i <= 50; i++) {
		/* Each one is served late, by another amount, never by a whole period. */
		u64 late = i * 1777;

		fake_advance_ns(100000 * i + late - (fake.tsc - start) / 2);
		handle_requests();
		assert_true(took_interrupt());
		assert_true(fake_timer_deadline(&cpu()->lapic.timer) ==
		            start + FAKE_TICKS(100000) * (i + 1));
	}
	assert_int_equal(ticks(), 50);
}

static void test_lapic_timer_missed_periods_are_one_interrupt(void **state)
{
	u64 start = fake.tsc;

	(void)state;
	wr(APIC_LVTT, VECTOR | APIC_LVTT_PERIODIC);
	wr(APIC_TMICT, 100000);
	advance(1050000); /* ten periods and a half, nobody looked */
	assert_true(took_interrupt());
	assert_false(took_interrupt());
	assert_true(fake_timer_deadline(&cpu()->lapic.timer) == start + FAKE_TICKS(1100000));
	assert_int_equal(rd(APIC_TMCCT), 50000);
}

static void test_lapic_timer_short_periods_do_not_storm(void **state)
{
	u64 start = fake.tsc;

	(void)state;
	wr(APIC_LVTT, VECTOR | APIC_LVTT_PERIODIC);
	wr(APIC_TMICT, 7);
	for (u32 i = 0; i < 1000; i++)
		advance(1000);
	assert_true(took_interrupt());
	assert_true(ticks() >= 20 && ticks() <= 51);
	assert_true((fake_timer_deadline(&cpu()->lapic.timer) - start) % FAKE_TICKS(7) == 0);
	assert_in_range(rd(APIC_TMCCT), 1, 7);
}

static void test_lapic_timer_masked_expiry_is_lost(void **state)
{
	(void)state;
	wr(APIC_LVTT, VECTOR | APIC_LVT_MASKED);
	wr(APIC_TMICT, 50000);
	advance(20000);
	assert_int_equal(rd(APIC_TMCCT), 30000); /* counts all the same */
	advance(30000);
	wr(APIC_LVTT, VECTOR);
	assert_false(took_interrupt());
	assert_int_equal(ticks(), 1);
	assert_int_equal(lost(), 1);
}

static void test_lapic_timer_expiry_before_masking_is_kept(void **state)
{
	(void)state;
	wr(APIC_LVTT, VECTOR);
	wr(APIC_TMICT, 50000);
	fake_advance_ns(50000); /* due, but nobody has looked yet */
	wr(APIC_LVTT, VECTOR | APIC_LVT_MASKED);
	handle_requests();
	assert_true(took_interrupt());
	assert_int_equal(lost(), 0);
}

static void test_lapic_timer_divide_change_keeps_the_count(void **state)
{
	(void)state;
	wr(APIC_LVTT, VECTOR);
	wr(APIC_TMICT, 100000);
	advance(40000);
	wr(APIC_TDCR, 0x1); /* by 4 */
	assert_int_equal(rd(APIC_TMCCT), 60000);
	advance(60000 * 4 - 1);
	assert_false(took_interrupt());
	advance(1);
	assert_true(took_interrupt());
}

static void test_lapic_timer_divide_change_scales_the_period(void **state)
{
	(void)state;
	wr(APIC_LVTT, VECTOR | APIC_LVTT_PERIODIC);
	wr(APIC_TMICT, 100000);
	advance(40000);
	wr(APIC_TDCR, 0x0); /* by 2 */
	advance(120000);
	assert_true(took_interrupt());
	advance(199999);
	assert_false(took_interrupt());
	advance(1);
	assert_true(took_interrupt());
}

static void test_lapic_timer_periodic_turned_one_shot(void **state)
{
	(void)state;
	wr(APIC_LVTT, VECTOR | APIC_LVTT_PERIODIC);
	wr(APIC_TMICT, 100000);
	advance(100000);
	assert_true(took_interrupt());
	advance(30000);
	wr(APIC_LVTT, VECTOR);
	assert_int_equal(rd(APIC_TMCCT), 70000);
	advance(70000);
	assert_true(took_interrupt());
	advance(1000000);
	assert_false(took_interrupt());
}

static void test_lapic_timer_stale_hint_does_nothing(void **state)
{
	(void)state;
	wr(APIC_LVTT, VECTOR);
	wr(APIC_TMICT, 50000);
	fake_advance_ns(49999);
	lapic_timer_expired(cpu()); /* too early: armed again */
	assert_false(took_interrupt());
	assert_true(fake_timer_deadline(&cpu()->lapic.timer) != TSC_NEVER);
	wr(APIC_TMICT, 0);
	lapic_timer_expired(cpu()); /* cancelled meanwhile */
	assert_false(took_interrupt());
	assert_int_equal(ticks(), 0);
}

static void test_lapic_timer_longest_count(void **state)
{
	(void)state;
	wr(APIC_LVTT, VECTOR);
	wr(APIC_TDCR, 0xa); /* by 128 */
	wr(APIC_TMICT, 0xffffffff);
	assert_int_equal(rd(APIC_TMCCT), 0xffffffff);
	advance(0xffffffffull * 128 - 1);
	assert_false(took_interrupt());
	advance(1);
	assert_true(took_interrupt());
}

/* ---- TSC deadline ---- */

static void test_lapic_timer_deadline_fires_and_clears(void **state)
{
	(void)state;
	cpu()->tsc_offset = 0 - fake.tsc; /* the guest's TSC starts at 0 */
	wr(APIC_LVTT, VECTOR | APIC_LVTT_DEADLINE);
	arm_deadline(guest_tsc() + FAKE_TICKS(1000));
	assert_true(read_deadline() == FAKE_TICKS(1000));
	assert_int_equal(rd(APIC_TMCCT), 0);
	advance(999);
	assert_false(took_interrupt());
	advance(1);
	assert_true(took_interrupt());
	assert_true(read_deadline() == 0);
	assert_true(fake_timer_deadline(&cpu()->lapic.timer) == TSC_NEVER);
}

static void test_lapic_timer_deadline_in_the_past_fires_at_once(void **state)
{
	(void)state;
	wr(APIC_LVTT, VECTOR | APIC_LVTT_DEADLINE);
	arm_deadline(1);
	assert_true(took_interrupt());
	assert_true(read_deadline() == 0);
	arm_deadline(guest_tsc());
	assert_true(took_interrupt());
}

static void test_lapic_timer_deadline_zero_disarms(void **state)
{
	(void)state;
	wr(APIC_LVTT, VECTOR | APIC_LVTT_DEADLINE);
	arm_deadline(guest_tsc() + 1000);
	arm_deadline(0);
	assert_true(read_deadline() == 0);
	advance(1000000);
	assert_false(took_interrupt());
}

static void test_lapic_timer_deadline_beyond_the_end_of_time(void **state)
{
	static const u64 offsets[] = {0, 1000, ~0ull - 5, 1ull << 63};

	(void)state;
	wr(APIC_LVTT, VECTOR | APIC_LVTT_DEADLINE);
	for (u32 i = 0; i < ARRAY_SIZE(offsets); i++) {
		cpu()->tsc_offset = offsets[i];
		arm_deadline(~0ull);
		assert_false(took_interrupt());
		assert_true(read_deadline() == ~0ull);
		arm_deadline(0);
	}
}

static void test_lapic_timer_deadline_follows_the_offset(void **state)
{
	(void)state;
	wr(APIC_LVTT, VECTOR | APIC_LVTT_DEADLINE);
	arm_deadline(guest_tsc() + FAKE_TICKS(1000));
	cpu()->tsc_offset += FAKE_TICKS(600);
	lapic_timer_tsc_moved(cpu());
	advance(399);
	assert_false(took_interrupt());
	advance(1);
	assert_true(took_interrupt());
}

static void test_lapic_timer_deadline_msr_needs_its_mode(void **state)
{
	(void)state;
	wr(APIC_LVTT, VECTOR);
	arm_deadline(guest_tsc() + 100);
	assert_true(read_deadline() == 0);
	advance(1000);
	assert_false(took_interrupt());
}

static void test_lapic_timer_deadline_mode_ignores_initial_count(void **state)
{
	(void)state;
	wr(APIC_LVTT, VECTOR | APIC_LVTT_DEADLINE);
	wr(APIC_TMICT, 1000);
	assert_int_equal(rd(APIC_TMICT), 0);
	advance(5000);
	assert_false(took_interrupt());
}

static void test_lapic_timer_mode_change_disarms(void **state)
{
	(void)state;
	wr(APIC_LVTT, VECTOR | APIC_LVTT_DEADLINE);
	arm_deadline(guest_tsc() + FAKE_TICKS(1000));
	wr(APIC_LVTT, VECTOR);
	advance(5000);
	assert_false(took_interrupt());
	wr(APIC_TMICT, 1000);
	wr(APIC_LVTT, VECTOR | APIC_LVTT_DEADLINE);
	advance(5000);
	assert_false(took_interrupt());
	arm_deadline(guest_tsc() + FAKE_TICKS(1000));
	wr(APIC_LVTT, VECTOR | APIC_LVTT_MODE); /* reserved: stands still */
	wr(APIC_TMICT, 1000);
	advance(5000);
	assert_false(took_interrupt());
	assert_int_equal(ticks(), 0);
}

static void test_lapic_timer_deadline_not_offered(void **state)
{
	u64 value;

	(void)state;
	fake.vm->config.tsc_deadline = false;
	assert_false(lapic_msr_read(cpu(), MSR_TSC_DEADLINE, &value));
	assert_false(lapic_msr_write(cpu(), MSR_TSC_DEADLINE, 1));
	wr(APIC_LVTT, VECTOR | APIC_LVTT_DEADLINE);
	assert_int_equal(rd(APIC_LVTT), VECTOR);
	assert_true(lapic_msr_write(cpu(), MSR_APIC_BASE,
	                            APIC_BASE_DEFAULT | APIC_BASE_EN | APIC_BASE_EXTD));
	assert_false(lapic_msr_write(cpu(), MSR_X2APIC_FIRST + APIC_LVTT / 16,
	                             VECTOR | APIC_LVTT_DEADLINE));
}

static void test_lapic_timer_stopped_by_reset(void **state)
{
	(void)state;
	wr(APIC_LVTT, VECTOR | APIC_LVTT_DEADLINE);
	arm_deadline(guest_tsc() + 1000);
	lapic_reset(cpu(), true);
	assert_true(fake_timer_deadline(&cpu()->lapic.timer) == TSC_NEVER);
	assert_true(read_deadline() == 0);
	advance(5000);
	assert_int_equal(ticks(), 0);
}

/* While the deadline goes with the entry nothing is armed, and it is the deadline all the same. */
static void test_lapic_timer_deadline_goes_with_the_entry(void **state)
{
	struct lapic *lapic = &cpu()->lapic;

	(void)state;
	lapic_timer_on_entry(cpu(), true);
	assert_true(lapic_timer_entry_deadline(lapic) == TSC_NEVER);
	wr(APIC_LVTT, VECTOR | APIC_LVTT_PERIODIC);
	wr(APIC_TMICT, 50000);
	assert_true(fake_timer_deadline(&lapic->timer) == TSC_NEVER);
	for (u32 i = 0; i < 3; i++) {
		assert_true(lapic_timer_entry_deadline(lapic) == fake.tsc + FAKE_TICKS(50000));
		advance(49999);
		/* Too early, as it may be. */
		lapic_timer_expired(cpu());
		assert_false(took_interrupt());
		advance(1);
		assert_int_equal(fake.timer_fires, 0);
		lapic_timer_expired(cpu());
		assert_true(took_interrupt());
		assert_true(fake_timer_deadline(&lapic->timer) == TSC_NEVER);
	}
	/* The vCPU waits: where it is now, the physical timer has it. */
	advance(20000);
	lapic_timer_on_entry(cpu(), false);
	assert_true(lapic_timer_entry_deadline(lapic) == TSC_NEVER);
	assert_true(fake_timer_deadline(&lapic->timer) == fake.tsc + FAKE_TICKS(30000));
	advance(30000);
	assert_true(took_interrupt());
	lapic_timer_on_entry(cpu(), true);
	assert_true(fake_timer_deadline(&lapic->timer) == TSC_NEVER);
	assert_true(lapic_timer_entry_deadline(lapic) == fake.tsc + FAKE_TICKS(50000));
	wr(APIC_TMICT, 0);
	assert_true(lapic_timer_entry_deadline(lapic) == TSC_NEVER);
	lapic_timer_on_entry(cpu(), false);
	assert_true(fake_timer_deadline(&lapic->timer) == TSC_NEVER);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	/* clang-format off */
	static const struct CMUnitTest tests[] = {
		T(test_lapic_timer_divide),
		T(test_lapic_timer_one_shot_fires_once),
		T(test_lapic_timer_zero_count_stops),
		T(test_lapic_timer_periodic_does_not_drift),
		T(test_lapic_timer_missed_periods_are_one_interrupt),
		T(test_lapic_timer_short_periods_do_not_storm),
		T(test_lapic_timer_masked_expiry_is_lost),
		T(test_lapic_timer_expiry_before_masking_is_kept),
		T(test_lapic_timer_divide_change_keeps_the_count),
		T(test_lapic_timer_divide_change_scales_the_period),
		T(test_lapic_timer_periodic_turned_one_shot),
		T(test_lapic_timer_stale_hint_does_nothing),
		T(test_lapic_timer_longest_count),
		T(test_lapic_timer_deadline_fires_and_clears),
		T(test_lapic_timer_deadline_in_the_past_fires_at_once),
		T(test_lapic_timer_deadline_zero_disarms),
		T(test_lapic_timer_deadline_beyond_the_end_of_time),
		T(test_lapic_timer_deadline_follows_the_offset),
		T(test_lapic_timer_deadline_msr_needs_its_mode),
		T(test_lapic_timer_deadline_mode_ignores_initial_count),
		T(test_lapic_timer_mode_change_disarms),
		T(test_lapic_timer_deadline_not_offered),
		T(test_lapic_timer_stopped_by_reset),
		T(test_lapic_timer_deadline_goes_with_the_entry),
	};
	/* clang-format on */

	return cmocka_run_group_tests(tests, NULL, NULL);
}
