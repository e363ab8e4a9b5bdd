/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The local APIC's timer. SDM volume 3, "APIC Timer", "TSC-Deadline Mode". A count is a nanosecond
 * times the divisor; what is compared is order and the model's own clock, which runs with the
 * instructions; elsewhere only that nothing comes before its time.
 */
#include "tests/model/rules.h"

#define V    0x61
#define BY_1 0xbu
#define LONG 4000000000u /* seconds */
#define FAR  BIT64(50)   /* of TSC deadlines */

/* Long enough to do something first; who may still be late looks: too_late(). */
#define SOON (rules_exact() ? 50000u : 20000000u)

static void start(u32 lvtt, u32 tdcr, u32 count)
{
	g_apic_write(APIC_LVTT, lvtt);
	g_apic_write(APIC_TDCR, tdcr);
	g_apic_write(APIC_TMICT, count);
}

/* Sleep until one more has come. Guest time that has passed since `from`. */
static u64 sleep_from(u64 from)
{
	u32 before = rules.total[V];

	while (rules.total[V] == before)
		rules_wait();
	return g_rdtsc() - from;
}

static void pass(u64 ns)
{
	u64 from = g_rdtsc();

	while (g_rdtsc() - from < rules_tsc_at_most(ns))
		g_pause();
}

/* `vector` is pending already: what was to happen first has not. Then it is taken, for a new try. */
static bool too_late(u8 vector)
{
	if (rules_exact() || !rules_vector_bit(APIC_IRR, vector))
		return false;
	rules_let_in();
	rules_forget();
	return true;
}

static bool is_less(u64 waited, u64 ns)
{
	return !rules_exact() || waited < rules_tsc_at_most(ns);
}

static void timer_one_shot(void)
{
	u64 from, waited;

	rules_begin();
	from = g_rdtsc();
	start(V | APIC_LVTT_ONESHOT, BY_1, 100000);
	waited = sleep_from(from);
	G_CHECK(waited >= rules_tsc_at_least(100000));
	/* Once: the count stays at 0, the initial count stays readable. */
	G_CHECK_EQUAL(g_apic_read(APIC_TMCCT), 0);
	G_CHECK_EQUAL(g_apic_read(APIC_TMICT), 100000);
	pass(300000);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 1);
	/* Writing the count starts it anew, also while it runs. */
	g_apic_write(APIC_TMICT, LONG);
	from = g_rdtsc();
	g_apic_write(APIC_TMICT, 50000);
	G_CHECK(is_less(sleep_from(from), LONG));
	G_CHECK_EQUAL(rules.total[V], 2);
}

static void timer_periodic(void)
{
	u64 from;

	rules_begin();
	from = g_rdtsc();
	start(V | APIC_LVTT_PERIODIC, BY_1, 100000);
	for (u64 i = 1; i <= 5; i++)
		G_CHECK(sleep_from(from) >= rules_tsc_at_least(i * 100000));
	/* The count starts over: it is never above the initial one, and goes on. */
	for (u32 i = 0; i < 20; i++) {
		u32 count = g_apic_read(APIC_TMCCT);

		G_CHECK(count > 0 && count <= 100000);
	}
	/* 0 stops it. */
	g_apic_write(APIC_TMICT, 0);
	rules_let_in();
	rules_forget();
	pass(500000);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 0);
	G_CHECK_EQUAL(g_apic_read(APIC_TMCCT), 0);
}

static void timer_current_count(void)
{
	u32 last;

	rules_begin();
	start(APIC_LVT_MASKED | V, BY_1, LONG);
	last = g_apic_read(APIC_TMCCT);
	G_CHECK(last <= LONG);
	for (u32 i = 0; i < 50; i++) {
		u32 count = g_apic_read(APIC_TMCCT);

		G_CHECK(count < last);
		last = count;
	}
	/* Read-only. */
	if (harness.xapic) {
		rules_errors();
		g_apic_write(APIC_TMCCT, LONG);
		G_CHECK_EQUAL(rules_errors(), APIC_ESR_ILLEGAL_REG);
	} else {
		G_CHECK(!rules_msr_writes(APIC_TMCCT, LONG));
	}
	G_CHECK(g_apic_read(APIC_TMCCT) < last);
}

static void timer_divide(void)
{
	/* TDCR bits 3, 1, 0. */
	static const struct {
		u32 tdcr, by;
	} divide[] = {{0xb, 1},  {0x0, 2},  {0x1, 4},  {0x2, 8},
	              {0x3, 16}, {0x8, 32}, {0x9, 64}, {0xa, 128}};
	u64 last = 0;

	rules_begin();
	for (u32 i = 0; i < ARRAY_SIZE(divide); i++) {
		u64 from = g_rdtsc();
		u64 waited;

		start(V, divide[i].tdcr, 100000);
		G_CHECK_EQUAL(g_apic_read(APIC_TDCR), divide[i].tdcr);
		waited = sleep_from(from);
		G_CHECK(waited >= rules_tsc_at_least(100000ull * divide[i].by));
		/* Less than the next one will be. */
		G_CHECK(is_less(waited, 200000ull * divide[i].by));
		G_CHECK(!rules_exact() || waited > last);
		last = waited;
	}
	/* Other bits */
	if (harness.xapic) {
		g_apic_write(APIC_TDCR, 0xffffffff);
		G_CHECK_EQUAL(g_apic_read(APIC_TDCR), 0xb);
	} else {
		G_CHECK(!rules_msr_writes(APIC_TDCR, 0x4));
		G_CHECK(!rules_msr_writes(APIC_TDCR, 0x10));
	}
}

/* The count that is left goes on at the new rate. */
static void timer_divide_rescales(void)
{
	u32 before, after;
	u64 from;

	rules_begin();
	start(V, BY_1, LONG);
	pass(1000000);
	before = g_apic_read(APIC_TMCCT);
	g_apic_write(APIC_TDCR, 0xa); /* by 128 */
	after = g_apic_read(APIC_TMCCT);
	G_CHECK(after <= before);
	G_CHECK(!rules_exact() || after > before - 100000);
	from = g_rdtsc();
	g_apic_write(APIC_TMICT, 20000);
	g_apic_write(APIC_TDCR, BY_1); /* shortens what is left */
	G_CHECK(is_less(sleep_from(from), 20000ull * 128));
}

static void timer_masked_expiry_is_lost(void)
{
	rules_begin();
	start(APIC_LVT_MASKED | V, BY_1, LONG);
	G_CHECK(g_apic_read(APIC_TMCCT) > 0); /* it counts all the same */
	g_apic_write(APIC_TMICT, 20000);
	pass(60000);
	G_CHECK_EQUAL(g_apic_read(APIC_TMCCT), 0);
	g_apic_write(APIC_LVTT, V);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 0);
	/* Unmasked before the expiry: it comes. */
	do {
		start(APIC_LVT_MASKED | V, BY_1, SOON);
		g_apic_write(APIC_LVTT, V);
	} while (!g_apic_read(APIC_TMCCT) && !rules_vector_bit(APIC_IRR, V));
	sleep_from(g_rdtsc());
}

static void timer_vector_is_read_at_expiry(void)
{
	rules_begin();
	do {
		start(0x51, BY_1, SOON);
		g_apic_write(APIC_LVTT, V);
	} while (too_late(0x51));
	sleep_from(g_rdtsc());
	G_CHECK_EQUAL(rules.total[0x51], 0);
}

/* --- TSC deadline --- */

static void timer_deadline(void)
{
	u64 from, when;

	rules_begin();
	g_apic_write(APIC_LVTT, V | APIC_LVTT_DEADLINE);
	G_CHECK_EQUAL(g_rdmsr(MSR_TSC_DEADLINE), 0);
	when = g_rdtsc() + FAR;
	g_wrmsr(MSR_TSC_DEADLINE, when);
	G_CHECK_EQUAL(g_rdmsr(MSR_TSC_DEADLINE), when);
	/* A new one replaces the old one. */
	from = g_rdtsc();
	g_wrmsr(MSR_TSC_DEADLINE, from + 200000);
	G_CHECK(sleep_from(from) >= 200000);
	/* Expired: it reads 0, and nothing more comes. */
	G_CHECK_EQUAL(g_rdmsr(MSR_TSC_DEADLINE), 0);
	pass(300000);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 1);
	/* A time that has passed: at once. */
	g_wrmsr(MSR_TSC_DEADLINE, 1);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 2);
	G_CHECK_EQUAL(g_rdmsr(MSR_TSC_DEADLINE), 0);
}

static void timer_deadline_zero_disarms(void)
{
	rules_begin();
	g_apic_write(APIC_LVTT, V | APIC_LVTT_DEADLINE);
	do {
		g_wrmsr(MSR_TSC_DEADLINE, g_rdtsc() + rules_tsc_at_most(SOON));
		g_wrmsr(MSR_TSC_DEADLINE, 0);
	} while (too_late(V));
	G_CHECK_EQUAL(g_rdmsr(MSR_TSC_DEADLINE), 0);
	pass(3 * SOON);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 0);
}

static void timer_deadline_ignores_counts(void)
{
	u64 when;

	rules_begin();
	g_apic_write(APIC_LVTT, V | APIC_LVTT_DEADLINE);
	g_apic_write(APIC_TDCR, BY_1);
	when = g_rdtsc() + FAR;
	g_wrmsr(MSR_TSC_DEADLINE, when);
	g_apic_write(APIC_TMICT, 1000);
	G_CHECK_EQUAL(g_apic_read(APIC_TMCCT), 0);
	pass(20000);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 0);
	G_CHECK_EQUAL(g_rdmsr(MSR_TSC_DEADLINE), when);
}

static void timer_deadline_msr_in_other_modes(void)
{
	rules_begin();
	start(APIC_LVT_MASKED | V, BY_1, LONG);
	g_wrmsr(MSR_TSC_DEADLINE, g_rdtsc() + 1000);
	G_CHECK_EQUAL(g_rdmsr(MSR_TSC_DEADLINE), 0);
	G_CHECK(g_apic_read(APIC_TMCCT) > 0); /* not disturbed */
	pass(20000);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 0);
}

static void timer_mode_change_disarms(void)
{
	rules_begin();
	do {
		start(V, BY_1, SOON);
		g_apic_write(APIC_LVTT, V | APIC_LVTT_DEADLINE);
	} while (too_late(V));
	G_CHECK_EQUAL(g_apic_read(APIC_TMCCT), 0);
	pass(3 * SOON);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 0);
	do {
		g_apic_write(APIC_LVTT, V | APIC_LVTT_DEADLINE);
		g_wrmsr(MSR_TSC_DEADLINE, g_rdtsc() + rules_tsc_at_most(SOON));
		g_apic_write(APIC_LVTT, V);
	} while (too_late(V));
	pass(3 * SOON);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 0);
	/* Back again: nothing of the old deadline is left. */
	g_apic_write(APIC_LVTT, V | APIC_LVTT_DEADLINE);
	G_CHECK_EQUAL(g_rdmsr(MSR_TSC_DEADLINE), 0);
	/* One-shot and periodic share the count: a change between them lets it run. */
	do {
		start(V, BY_1, SOON);
		g_apic_write(APIC_LVTT, V | APIC_LVTT_PERIODIC);
	} while (too_late(V));
	sleep_from(g_rdtsc());
	sleep_from(g_rdtsc());
	g_apic_write(APIC_TMICT, 0);
}

static void timer_deadline_not_offered(void)
{
	struct cpuid_regs r;
	u64 value;

	rules_begin();
	g_cpuid(1, 0, &r);
	G_CHECK(!(r.ecx & BIT(24)));
	G_CHECK_EQUAL(g_rdmsr_safe(MSR_TSC_DEADLINE, &value), VECTOR_GP);
	G_CHECK_EQUAL(g_wrmsr_safe(MSR_TSC_DEADLINE, 0), VECTOR_GP);
	if (harness.xapic) {
		g_apic_write(APIC_LVTT, V | APIC_LVTT_DEADLINE);
		G_CHECK_EQUAL(g_apic_read(APIC_LVTT), V); /* a reserved bit */
	} else {
		G_CHECK(!rules_msr_writes(APIC_LVTT, V | APIC_LVTT_DEADLINE));
	}
}

/* Mode 11 is reserved: no timer runs. */
static void timer_reserved_mode(void)
{
	rules_begin();
	start(V | APIC_LVTT_MODE, BY_1, 1000);
	g_wrmsr(MSR_TSC_DEADLINE, 1);
	pass(20000);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 0);
	G_CHECK_EQUAL(g_apic_read(APIC_TMCCT), 0);
	G_CHECK_EQUAL(g_rdmsr(MSR_TSC_DEADLINE), 0);
}

static void timer_stops_with_software_disable(void)
{
	rules_begin();
	do {
		start(V, BY_1, SOON);
		g_apic_write(APIC_SVR, 0xff); /* masks the entry; the timer counts on */
		if (!rules_vector_bit(APIC_IRR, V))
			break;
		g_apic_write(APIC_SVR, APIC_SVR_ENABLE | 0xff);
	} while (too_late(V));
	pass(3 * SOON);
	g_apic_write(APIC_SVR, APIC_SVR_ENABLE | 0xff);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 0);
	G_CHECK_EQUAL(g_apic_read(APIC_TMCCT), 0);
}

static const struct rule list[] = {
        RULE(timer_one_shot),
        RULE(timer_periodic),
        RULE(timer_current_count),
        RULE(timer_divide),
        RULE(timer_divide_rescales),
        RULE(timer_masked_expiry_is_lost),
        RULE(timer_vector_is_read_at_expiry),
        RULE(timer_deadline, .needs_tsc_deadline = true),
        RULE(timer_deadline_zero_disarms, .needs_tsc_deadline = true),
        RULE(timer_deadline_ignores_counts, .needs_tsc_deadline = true),
        RULE(timer_deadline_msr_in_other_modes, .needs_tsc_deadline = true),
        RULE(timer_mode_change_disarms, .needs_tsc_deadline = true),
        RULE(timer_deadline_not_offered, .no_tsc_deadline = true),
        RULE(timer_reserved_mode, .needs_tsc_deadline = true),
        RULE(timer_stops_with_software_disable),
};

int main(void)
{
	return rules_main(list, ARRAY_SIZE(list));
}
