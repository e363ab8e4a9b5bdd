/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How the tests of the 8254 reach it: through the bus, as a guest does, with a clock that they move
 * by ticks of the chip, and with the interrupt controllers played by the test.
 */
#ifndef TESTS_UNIT_PIT_GUEST_H
#define TESTS_UNIT_PIT_GUEST_H

#include "tests/unit/irq_fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define CONTROL 0x43
#define TSC_HZ  (FAKE_TSC_KHZ * 1000ull)
#define SPACING 120 /* ticks between two edges of IRQ 0 at least */

#define BINARY_BOTH(channel, mode) ((channel) << 6 | 3 << 4 | (mode) << 1)

/* IRQ 0 as the controllers see it. */
static bool irq_level;
static bool unserved; /* the tick's request is at a controller and not ended */
static bool taken;    /* somebody takes ticks at all */
static bool listening;
static u32 irq_rises;
static u64 irq_last_rise; /* TSC */

static inline void rose(void)
{
	irq_rises++;
	irq_last_rise = fake.tsc;
	irq_level = true;
	unserved = taken;
}

void irq_set_line(struct vm *vm, u32 gsi, bool level)
{
	assert_ptr_equal(vm, fake.vm);
	assert_int_equal(gsi, 0);
	assert_true(irq_level != level); /* told of changes only */
	if (level)
		rose();
	irq_level = level;
}

void irq_pulse_line(struct vm *vm, u32 gsi)
{
	assert_ptr_equal(vm, fake.vm);
	assert_int_equal(gsi, 0);
	assert_true(irq_level);
	rose();
}

bool irq_is_unserved(struct vm *vm, u32 gsi)
{
	assert_ptr_equal(vm, fake.vm);
	assert_int_equal(gsi, 0);
	return unserved;
}

void irq_notify_add(struct vm *vm, struct irq_notifier *notifier)
{
	assert_ptr_equal(notifier, &vm->pit.notifier);
	assert_int_equal(notifier->gsi, 0);
}

void irq_notify_listen(struct vm *vm, struct irq_notifier *notifier, bool on)
{
	assert_ptr_equal(notifier, &vm->pit.notifier);
	listening = on;
}

static u64 epoch;

static inline int setup(void **state)
{
	(void)state;
	fake_create(1);
	irq_level = false;
	irq_rises = 0;
	unserved = taken = listening = false;
	epoch = fake.tsc;
	pit_init(fake.vm);
	return 0;
}

static inline int teardown(void **state)
{
	(void)state;
	pit_reset(fake.vm);
	assert_int_equal(fake_timer_deadline(&fake.vm->pit.timer), TSC_NEVER);
	fake_destroy();
	return 0;
}

static inline u64 tick_now(void)
{
	return (u64)((unsigned __int128)(fake.tsc - epoch) * PIT_HZ / TSC_HZ);
}

/* The first TSC value of a tick. */
static inline u64 tick_tsc(u64 tick)
{
	return epoch + (u64)(((unsigned __int128)tick * TSC_HZ + PIT_HZ - 1) / PIT_HZ);
}

static inline void pass(u64 ticks)
{
	u64 target = tick_tsc(tick_now() + ticks);

	fake_advance_ns((target - fake.tsc + 1) / 2);
}

/* The host does not run: time passes, no timer is served. */
static inline void sleep_ticks(u64 ticks)
{
	fake.tsc = tick_tsc(tick_now() + ticks);
}

static inline void out(u16 port, u8 value)
{
	assert_true(bus_write(&fake.vm->io, fake.vm->vcpu[0], port, 1, value));
}

static inline u8 in(u16 port)
{
	u64 value;

	assert_true(bus_read(&fake.vm->io, fake.vm->vcpu[0], port, 1, &value));
	return value;
}

static inline void load(u32 channel, u32 mode, u16 count)
{
	out(CONTROL, BINARY_BOTH(channel, mode));
	out(0x40 + channel, count);
	out(0x40 + channel, count >> 8);
}

static inline u16 read_both(u32 channel)
{
	u16 low = in(0x40 + channel);

	return low | in(0x40 + channel) << 8;
}

static inline u8 status(u32 channel)
{
	out(CONTROL, 0xe0 | BIT(channel + 1));
	return in(0x40 + channel);
}

static inline bool out_of(u32 channel)
{
	return status(channel) & BIT(7);
}

static inline void gate2(bool open)
{
	out(0x61, (in(0x61) & 0x0e) | open);
}

#endif
