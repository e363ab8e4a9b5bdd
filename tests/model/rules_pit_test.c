/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The 8254 and port 61h. Intel 82C54 datasheet, "Mode Definitions", "Read Operations", "Operation
 * Common to All Modes"; PIIX datasheet, "NMI Status and Control Register". Modes are shown on
 * channel 2, which has a gate and whose OUT port 61h shows.
 *
 * On the model time runs with the guest's instructions, a fifth of a microsecond each, so that a pulse
 * of one tick is seen, and a few ticks more or less are an error. On a processor a look at OUT takes
 * longer than a pulse: counts are RULES_TICKS_SCALE times longer, RULES_TICKS_SLACK is what a few
 * accesses take, and a pulse is told by the count that has gone up behind it.
 */
#include "tests/model/rules.h"

#define CONTROL    0x43
#define PORT_61    0x61
#define GATE       BIT(0)
#define OUT2       0x20
#define BOTH       0x30
#define BCD        1
#define STATUS_OUT BIT(7)
#define NULL_COUNT BIT(6)

#define TICKS(n) ((n)*RULES_TICKS_SCALE)
#define SLACK    RULES_TICKS_SLACK

static void pass_ticks(u64 ticks)
{
	u64 from = g_rdtsc();

	while (g_rdtsc() - from < rules_tsc_of_ticks(ticks))
		g_pause();
}

static u16 port(u32 channel)
{
	return (u16)(0x40 + channel);
}

static void control(u32 channel, u32 mode)
{
	g_out(CONTROL, channel << 6 | BOTH | mode << 1, 1);
}

static void count(u32 channel, u32 value)
{
	g_out(port(channel), value & 0xff, 1);
	g_out(port(channel), value >> 8 & 0xff, 1);
}

static void program(u32 channel, u32 mode, u32 value)
{
	control(channel, mode);
	count(channel, value);
}

static u32 read_both(u32 channel)
{
	u32 low = g_in(port(channel), 1);

	return low | g_in(port(channel), 1) << 8;
}

static u32 latch(u32 channel)
{
	g_out(CONTROL, channel << 6, 1);
	return read_both(channel);
}

static u8 status(u32 channel)
{
	g_out(CONTROL, 0xe0 | 2u << channel, 1);
	return (u8)g_in(port(channel), 1);
}

static void set_gate(bool on)
{
	g_out(PORT_61, on ? GATE : 0, 1);
}

static bool out2(void)
{
	return g_in(PORT_61, 1) & OUT2;
}

/* Until OUT is `level`, looking all the time. TSC when it was seen. */
static u64 await_out(bool level)
{
	while (out2() != level)
		;
	return g_rdtsc();
}

/* As many ticks as that, or a few more for the instructions in between. */
static void check_ticks(u64 tsc, u64 ticks)
{
	G_CHECK(tsc + rules_tsc_of_ticks(SLACK) >= rules_tsc_of_ticks(ticks));
	G_CHECK(tsc <= rules_tsc_of_ticks(ticks + SLACK));
}

/*
 * Until OUT has been low for one tick, as a strobe or at the end of a period; nothing is just being
 * loaded or triggered but what was up to now. TSC when it was seen.
 */
static u64 await_pulse(void)
{
	u32 last, now;
	u64 tsc;

	if (rules_exact()) {
		await_out(false);
		tsc = g_rdtsc();
		check_ticks(await_out(true) - tsc, 1);
		return tsc;
	}
	pass_ticks(2); /* what has been written is loaded by now */
	now = latch(2);
	do {
		last = now;
		now = latch(2);
	} while (now <= last);
	G_CHECK(out2());
	return g_rdtsc();
}

/* OUT stays as it is for so long. */
static void check_steady(bool level, u64 ticks)
{
	u64 from = g_rdtsc();

	while (g_rdtsc() - from < rules_tsc_of_ticks(ticks))
		G_CHECK_EQUAL(out2(), level);
}

/* --- the six modes --- */

static void pit_mode_0_terminal_count(void)
{
	u64 from;

	rules_begin();
	set_gate(true);
	control(2, 0);
	G_CHECK(!out2()); /* low with the control word */
	check_steady(false, TICKS(50));
	from = g_rdtsc();
	count(2, TICKS(200));
	check_ticks(await_out(true) - from, TICKS(200) + 1);
	check_steady(true, TICKS(500)); /* once */
	/* A new count begins low again. */
	count(2, TICKS(100));
	G_CHECK(!out2());
	await_out(true);
	/* Half a count stops it. */
	program(2, 0, TICKS(100));
	g_out(port(2), 50, 1);
	check_steady(false, TICKS(300));
	g_out(port(2), 0, 1); /* 50 in all */
	await_out(true);
	/* The gate holds the count, and lets it go on. */
	program(2, 0, TICKS(100));
	pass_ticks(TICKS(20));
	set_gate(false);
	check_steady(false, TICKS(300));
	from = latch(2);
	G_CHECK(from > TICKS(50) && from < TICKS(100));
	G_CHECK_EQUAL(latch(2), from);
	set_gate(true);
	await_out(true);
}

static void pit_mode_1_one_shot(void)
{
	u64 from;

	rules_begin();
	set_gate(false);
	program(2, 1, TICKS(200));
	check_steady(true, TICKS(500)); /* armed: it waits for the gate */
	from = g_rdtsc();
	set_gate(true);
	await_out(false);
	check_ticks(await_out(true) - from, TICKS(200) + 1);
	check_steady(true, TICKS(300));
	/* A trigger on the way begins anew; the gate's fall does nothing. */
	set_gate(false);
	set_gate(true);
	await_out(false);
	pass_ticks(TICKS(150));
	from = g_rdtsc();
	set_gate(false);
	set_gate(true);
	check_steady(false, TICKS(150));
	check_ticks(await_out(true) - from, TICKS(200) + 2);
	/* A new count is for the next trigger. */
	set_gate(false);
	set_gate(true);
	await_out(false);
	from = g_rdtsc();
	count(2, TICKS(40));
	check_ticks(await_out(true) - from, TICKS(200));
	set_gate(false);
	from = g_rdtsc();
	set_gate(true);
	await_out(false);
	check_ticks(await_out(true) - from, TICKS(40) + 1);
}

static void pit_mode_2_rate(void)
{
	u64 first;

	rules_begin();
	set_gate(true);
	control(2, 2);
	check_steady(true, TICKS(50));
	count(2, TICKS(100));
	/* Low for one tick of every hundred. */
	first = await_pulse();
	for (u32 i = 1; i <= 4; i++)
		check_ticks(await_pulse() - first, i * TICKS(100ull));
	/* The count goes from 100 to 1. */
	for (u32 i = 0; i < 60; i++) {
		u32 now = latch(2);

		G_CHECK(now >= 1 && now <= TICKS(100));
	}
	/* A new count is for the next period. */
	first = await_pulse();
	count(2, TICKS(300));
	check_ticks(await_pulse() - first, TICKS(100));
	check_ticks(await_pulse() - first, TICKS(400));
	/* Without the gate: high and still; its rise begins a period. */
	set_gate(false);
	check_steady(true, TICKS(900));
	first = g_rdtsc();
	set_gate(true);
	check_ticks(await_pulse() - first, TICKS(300) + 1);
}

static void pit_mode_3_square(void)
{
	u64 rise, fall, next;

	rules_begin();
	set_gate(true);
	control(2, 3);
	check_steady(true, TICKS(50));
	count(2, TICKS(200));
	await_out(false);
	rise = await_out(true);
	fall = await_out(false);
	next = await_out(true);
	check_ticks(fall - rise, TICKS(100));
	check_ticks(next - fall, TICKS(100));
	/* An odd count has the longer half high. */
	program(2, 3, TICKS(100) + 1);
	await_out(false);
	rise = await_out(true);
	fall = await_out(false);
	next = await_out(true);
	check_ticks(next - rise, TICKS(100) + 1);
	check_ticks(fall - rise, TICKS(50) + 1);
	/* It counts by two: even numbers only. */
	program(2, 3, TICKS(1000));
	for (u32 i = 0; i < 40; i++)
		G_CHECK_EQUAL(latch(2) & 1, 0);
	/* The gate, low: high at once. */
	await_out(false);
	set_gate(false);
	G_CHECK(out2());
	check_steady(true, TICKS(1200));
}

static void pit_mode_4_software_strobe(void)
{
	u64 from;

	rules_begin();
	set_gate(true);
	control(2, 4);
	check_steady(true, TICKS(50));
	from = g_rdtsc();
	count(2, TICKS(200));
	check_ticks(await_pulse() - from, TICKS(200) + 1);
	check_steady(true, TICKS(500)); /* once: the count goes on through zero */
	G_CHECK(latch(2) > TICKS(200));
	/* Writing the count is the trigger; the gate only holds the counting. */
	count(2, TICKS(100));
	pass_ticks(TICKS(20));
	set_gate(false);
	check_steady(true, TICKS(300));
	G_CHECK(latch(2) < TICKS(100));
	set_gate(true);
	await_pulse();
}

static void pit_mode_5_hardware_strobe(void)
{
	u64 from;

	rules_begin();
	set_gate(false);
	program(2, 5, TICKS(200));
	check_steady(true, TICKS(500));
	from = g_rdtsc();
	set_gate(true);
	check_ticks(await_pulse() - from, TICKS(200) + 1);
	check_steady(true, TICKS(300));
	G_CHECK(latch(2) > TICKS(200));
	/* Triggered anew on the way, and without the gate's level. */
	set_gate(false);
	set_gate(true);
	pass_ticks(TICKS(100));
	set_gate(false);
	from = g_rdtsc();
	set_gate(true);
	set_gate(false);
	check_ticks(await_pulse() - from, TICKS(200) + 1);
}

static void pit_modes_6_7_alias(void)
{
	u64 rise;

	rules_begin();
	set_gate(true);
	program(2, 6, TICKS(100)); /* 2 */
	rise = await_pulse();
	check_ticks(await_pulse() - rise, TICKS(100));
	program(2, 7, TICKS(100)); /* 3 */
	await_out(false);
	rise = await_out(true);
	check_ticks(await_out(false) - rise, TICKS(50));
}

/* --- reading and writing --- */

static void pit_access_modes(void)
{
	rules_begin();
	set_gate(false);         /* mode 0 does not count: what is loaded stays */
	g_out(CONTROL, 0x90, 1); /* low byte only: the high one is 0 */
	g_out(port(2), 0x5a, 1);
	pass_ticks(3);
	G_CHECK_EQUAL(g_in(port(2), 1), 0x5a);
	G_CHECK_EQUAL(g_in(port(2), 1), 0x5a);
	g_out(CONTROL, 0xa0, 1); /* high byte only */
	g_out(port(2), 0x5a, 1);
	pass_ticks(3);
	G_CHECK_EQUAL(g_in(port(2), 1), 0x5a);
	program(2, 0, 0x1234); /* low, then high */
	pass_ticks(3);
	G_CHECK_EQUAL(g_in(port(2), 1), 0x34);
	G_CHECK_EQUAL(g_in(port(2), 1), 0x12);
	/* A control word begins with the low byte again. */
	G_CHECK_EQUAL(g_in(port(2), 1), 0x34);
	program(2, 0, 0x5678);
	pass_ticks(3);
	G_CHECK_EQUAL(g_in(port(2), 1), 0x78);
	G_CHECK_EQUAL(g_in(port(2), 1), 0x56);
	G_CHECK_EQUAL(g_in(CONTROL, 1), 0xff); /* write-only */
}

static u32 from_bcd(u32 value)
{
	u32 number = 0;

	for (u32 shift = 0, unit = 1; shift < 16; shift += 4, unit *= 10) {
		G_CHECK((value >> shift & 0xf) <= 9);
		number += (value >> shift & 0xf) * unit;
	}
	return number;
}

static void pit_zero_and_bcd(void)
{
	u32 now;

	rules_begin();
	set_gate(true);
	/* 0 is the largest count: 10000h, or 10000 in BCD. */
	program(2, 0, 0);
	pass_ticks(10);
	G_CHECK(latch(2) > 0xff00);
	G_CHECK(!out2());
	g_out(CONTROL, 2 << 6 | BOTH | BCD, 1);
	count(2, 0);
	pass_ticks(10);
	now = from_bcd(latch(2));
	G_CHECK(now > 9900 - SLACK && now <= 9999);
	/* Digits: 1000 is followed by 0999. */
	g_out(CONTROL, 2 << 6 | BOTH | BCD, 1);
	count(2, 0x1000);
	pass_ticks(10);
	now = from_bcd(latch(2));
	G_CHECK(now >= 970 - SLACK && now <= 999);
}

static void pit_count_latch(void)
{
	u32 latched, low;

	rules_begin();
	set_gate(true);
	program(2, 2, 50000);
	pass_ticks(10);
	g_out(CONTROL, 0x80, 1);
	pass_ticks(100);
	g_out(CONTROL, 0x80, 1); /* the first one counts until it has been read */
	latched = read_both(2);
	G_CHECK(latched > 50000 - 24 - SLACK);
	G_CHECK(latch(2) < latched - 90);
	/* Read as it is, without the latch, it goes on in between. */
	low = latch(2);
	pass_ticks(20);
	G_CHECK(latch(2) < low);
	/* The latch is for one channel. */
	g_out(CONTROL, 0x80, 1);
	program(0, 2, 30000);
	pass_ticks(50);
	latched = read_both(2);
	G_CHECK(latch(2) < latched - 40);
	/* A control word drops what is latched. */
	g_out(CONTROL, 0x80, 1);
	program(2, 0, TICKS(0x100));
	pass_ticks(3);
	G_CHECK(read_both(2) <= TICKS(0x100));
}

static void pit_read_back(void)
{
	u32 first, second;

	rules_begin();
	set_gate(true);
	control(2, 3);
	G_CHECK_EQUAL(status(2), STATUS_OUT | NULL_COUNT | BOTH | 3 << 1);
	count(2, 10000);
	pass_ticks(3);
	G_CHECK_EQUAL(status(2), STATUS_OUT | BOTH | 3 << 1);
	/* Null count again, until the next half takes a new count. */
	count(2, 10000);
	G_CHECK(status(2) & NULL_COUNT);
	await_out(false);
	G_CHECK(!(status(2) & NULL_COUNT));
	G_CHECK(!(status(2) & STATUS_OUT));
	g_out(CONTROL, 2 << 6 | 0x10 | 4 << 1 | BCD, 1);
	G_CHECK_EQUAL(status(2), STATUS_OUT | NULL_COUNT | 0x10 | 4 << 1 | BCD);
	/* Count and status at once: status is read first. Several channels at once. */
	program(2, 2, 40000);
	program(0, 2, 20000);
	pass_ticks(10);
	g_out(CONTROL, 0xc0 | 2 << 0 | 2 << 2, 1);
	pass_ticks(100);
	G_CHECK_EQUAL(g_in(port(0), 1) & 0x3f, BOTH | 2 << 1);
	G_CHECK_EQUAL(g_in(port(2), 1) & 0x3f, BOTH | 2 << 1);
	first = read_both(0);
	second = read_both(2);
	G_CHECK(first > 20000 - 54 - SLACK && first <= 20000);
	G_CHECK(second > 40000 - 54 - SLACK && second <= 40000);
	/* Count alone. */
	g_out(CONTROL, 0xd0 | 2 << 2, 1);
	pass_ticks(50);
	first = read_both(2);
	G_CHECK(latch(2) < first - 40);
}

static void pit_port_61(void)
{
	u32 changes = 0, last;

	rules_begin();
	G_CHECK_EQUAL(g_in(PORT_61, 1) & 0x0f, 0);
	g_out(PORT_61, 0xff, 1);
	G_CHECK_EQUAL(g_in(PORT_61, 1) & 0xcf, 0x0f); /* four bits are writable */
	g_out(PORT_61, 0x02, 1);
	G_CHECK_EQUAL(g_in(PORT_61, 1) & 0xcf, 0x02);
	/* The refresh bit toggles by itself. */
	last = g_in(PORT_61, 1);
	for (u32 i = 0; i < 400; i++) {
		u32 now = g_in(PORT_61, 1);

		changes += (now ^ last) >> 4 & 1;
		last = now;
	}
	G_CHECK(changes >= 2);
	/* OUT2 follows the channel. */
	program(2, 0, 0x10);
	G_CHECK(!out2());
	program(2, 4, 0x10);
	G_CHECK(out2());
}

/* --- IRQ 0 --- */

static void take_ticks(u32 n)
{
	while (rules.total[RULES_PIC] < n)
		rules_wait();
}

static void pit_irq_0(void)
{
	rules_begin();
	rules_pic(0xfe, 0xff);
	/* Rate and square wave go on ... */
	program(0, 2, TICKS(500));
	take_ticks(5);
	program(0, 3, TICKS(500));
	take_ticks(10);
	/* ... modes 0 and 4 end. */
	program(0, 0, TICKS(500));
	rules_let_in();
	rules_forget();
	take_ticks(1);
	pass_ticks(TICKS(2000));
	rules_let_in();
	G_CHECK_EQUAL(rules.total[RULES_PIC], 1);
	program(0, 4, TICKS(500));
	rules_let_in();
	rules_forget();
	take_ticks(1);
	pass_ticks(TICKS(2000));
	rules_let_in();
	G_CHECK_EQUAL(rules.total[RULES_PIC], 1);
	/* Channel 0 has no gate to trigger it. */
	program(0, 5, TICKS(100));
	rules_let_in();
	rules_forget();
	pass_ticks(TICKS(1000));
	rules_let_in();
	G_CHECK_EQUAL(rules.total[RULES_PIC], 0);
}

/* Without reinjection a tick that comes before the last was served melts into it. */
static void pit_ticks_coalesce(void)
{
	rules_begin();
	rules_pic(0xfe, 0xff);
	program(0, 2, TICKS(500));
	take_ticks(1);
	pass_ticks(TICKS(5000)); /* ten of them, with interrupts off */
	program(0, 4, 0);        /* no more */
	rules_forget();
	for (u32 i = 0; i < 4; i++)
		rules_let_in();
	G_CHECK(rules.total[RULES_PIC] <= 1);
}

static void pit_ticks_reinjected(void)
{
	u64 from;
	u32 due;

	rules_begin();
	rules_pic(0xfe, 0xff);
	program(0, 2, TICKS(500));
	from = g_rdtsc();
	take_ticks(1);
	pass_ticks(TICKS(5000));
	take_ticks(20);
	/* None was lost: as many have come as periods have passed, but for those still spaced out. */
	due = (u32)((g_rdtsc() - from) / rules_tsc_of_ticks(TICKS(500)));
	G_CHECK(due <= 20 + 1);
	/* By the I/O APIC's pin 2 the end is the EOI of an edge. */
	g_out(0x21, 0xff, 1);
	rules_let_in();
	rules_forget();
	rules_entry(2, 0, 0x61);
	program(0, 2, TICKS(500));
	from = g_rdtsc();
	while (!rules.total[0x61])
		rules_let_in();
	pass_ticks(TICKS(5000));
	while (rules.total[0x61] < 20)
		rules_wait();
	due = (u32)((g_rdtsc() - from) / rules_tsc_of_ticks(TICKS(500)));
	G_CHECK(due <= 20 + 1);
}

static void pit_reinjection_waits_for_eoi(void)
{
	rules.hold_pic = true;
	rules_begin();
	rules_pic(0xfe, 0xff);
	program(0, 2, TICKS(500));
	take_ticks(1);
	pass_ticks(TICKS(5000));
	rules_let_in();
	G_CHECK_EQUAL(rules.total[RULES_PIC], 1);
	G_CHECK_EQUAL(rules_pic_irr(0x20), 0); /* not even requested: the next waits for the EOI */
	for (u32 i = 2; i <= 6; i++) {
		g_out(0x20, 0x20, 1);
		pass_ticks(124 + SLACK); /* two are 100 us apart at least */
		rules_let_in();
		G_CHECK_EQUAL(rules.total[RULES_PIC], i);
	}
	/* Programming the channel anew drops what waits. */
	program(0, 4, 0);
	g_out(0x20, 0x20, 1);
	pass_ticks(124 + SLACK);
	rules_let_in();
	g_out(0x20, 0x20, 1);
	pass_ticks(124 + SLACK);
	rules_let_in();
	G_CHECK(rules.total[RULES_PIC] <= 7);
}

static const struct rule list[] = {
        RULE(pit_mode_0_terminal_count),
        RULE(pit_mode_1_one_shot),
        RULE(pit_mode_2_rate),
        RULE(pit_mode_3_square),
        RULE(pit_mode_4_software_strobe),
        RULE(pit_mode_5_hardware_strobe),
        RULE(pit_modes_6_7_alias),
        RULE(pit_access_modes),
        RULE(pit_zero_and_bcd),
        RULE(pit_count_latch),
        RULE(pit_read_back),
        RULE(pit_port_61),
        RULE(pit_irq_0, .both_pics = true),
        RULE(pit_ticks_coalesce, .both_pics = true, .no_reinject = true),
        RULE(pit_ticks_reinjected, .both_pics = true, .reinject = true),
        RULE(pit_reinjection_waits_for_eoi, .both_pics = true, .reinject = true),
};

int main(void)
{
	return rules_main(list, ARRAY_SIZE(list));
}
