/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The 8254 and port 61h. Intel 82C54 datasheet, "Mode Definitions", "Read Operations", "Operation
 * Common to All Modes"; 82371 (PIIX) datasheet, "NMI Status and Control Register" for port 61h.
 *
 * A channel is not stepped. It is a function of time: what was loaded, at which tick of the clock,
 * and in which mode, gives its count, its OUT and the number of OUT's rising edges at any later
 * tick. Ticks are counted from the VM's creation, all conversions start from there, so nothing
 * drifts, however long a rate generator runs.
 *
 * A written count reaches the counting element later: at the next tick (modes 0 and 4, and the
 * first count in 2 and 3), at the end of the current period (2) or half period (3), or upon a
 * trigger of the gate (1 and 5). channel_advance() performs such a load when its tick has passed.
 * Channels 0 and 1 have their gate tied high, channel 2's is bit 0 of port 61h.
 *
 * Channel 0's OUT is IRQ 0. Its rising edges are accounted for in channel_advance() and become
 * edges of the line one at a time, at least PIT_SPACING ticks apart: a guest cannot take a host
 * processor by programming a period of two ticks, and edges that the host is late with do not melt
 * into one. A few late edges are caught up with in this way, older ones are given up and counted.
 * A strobe that lasts one tick (modes 2, 4, 5) is shown as a pulse when it ends.
 *
 * With reinjection an edge waits, besides, until the one before it is over: not requested where
 * somebody would take it, and not in service (irq_is_unserved()). That is asked anew whenever the
 * guest ends an interrupt of IRQ 0 and whenever channel 0 does something, and nothing is remembered
 * about "the" acknowledgement: so none can get lost (a mask, a reset, a controller programmed anew,
 * a vector rewritten in service). Where nobody listens an edge is over at once: ticks that a guest
 * does not want are not kept for it. The line does not fall under a request that still waits.
 *
 * pit->lock is held while the line changes, so that changes arrive in order; it comes before the
 * interrupt controllers' locks.
 */
#include "irq/pit.h"

#include "core/bus.h"
#include "core/vm.h"
#include "irq/inhibit.h"
#include "irq/notify.h"
#include "irq/route.h"
#include "postern/port.h"

#define PIT_PORT    0x40
#define PIT_CONTROL 3 /* offset of the control word's port */
#define PIT_PORT_61 0x61

#define PIT_IRQ     0
#define PIT_SPEAKER 2 /* the channel that has a gate */

#define CONTROL_CHANNEL_SHIFT 6
#define CONTROL_READ_BACK     3
#define CONTROL_ACCESS_SHIFT  4
#define CONTROL_MODE_SHIFT    1
#define CONTROL_BCD           BIT(0)
#define CONTROL_STATUS_MASK   0x3f
#define READ_BACK_NO_COUNT    BIT(5)
#define READ_BACK_NO_STATUS   BIT(4)
#define STATUS_OUT            BIT(7)
#define STATUS_NULL_COUNT     BIT(6)

enum pit_access {
	PIT_ACCESS_LATCH, /* not a mode: latches the count */
	PIT_ACCESS_LOW,
	PIT_ACCESS_HIGH,
	PIT_ACCESS_BOTH,
};

enum pit_mode {
	PIT_MODE_TERMINAL_COUNT,
	PIT_MODE_ONE_SHOT,
	PIT_MODE_RATE,
	PIT_MODE_SQUARE,
	PIT_MODE_SOFTWARE_STROBE,
	PIT_MODE_HARDWARE_STROBE,
};

#define PORT_61_GATE     BIT(0)
#define PORT_61_WRITABLE 0x0f /* gate, speaker, two NMI enables whose sources do not exist */
#define PORT_61_REFRESH  BIT(4)
#define PORT_61_OUT2     BIT(5)
#define PIT_REFRESH      18 /* ticks between refreshes of dynamic memory: 15 us */

#define PIT_SPACING           120     /* ticks between two edges of IRQ 0 at least: 100 us */
#define PIT_OWED_MAX          4       /* late edges that are caught up with */
#define PIT_OWED_MAX_REINJECT 1000000 /* ten minutes at 1000 Hz and more */

/* --- time --- */

/*
 * The present tick; the lock is held. Rounded down; pit_tsc() rounds up, so that the tick has come
 * at the TSC value it gives. Never goes back: processors' time stamp counters may differ by a hair,
 * and RDTSC may be executed ahead of the lock.
 */
static u64 pit_tick_locked(struct pit *pit)
{
	u64 hz = port_tsc_khz() * 1000;
	u64 tsc = max_u64(port_tsc(), pit->epoch) - pit->epoch;

	pit->tick = max_u64(pit->tick, tsc / hz * PIT_HZ + tsc % hz * PIT_HZ / hz);
	return pit->tick;
}

static u64 pit_tsc(const struct pit *pit, u64 tick)
{
	u64 hz = port_tsc_khz() * 1000;

	return pit->epoch + tick / PIT_HZ * hz + (tick % PIT_HZ * hz + PIT_HZ - 1) / PIT_HZ;
}

/* --- one channel as a function of time --- */

static bool channel_is_periodic(const struct pit_channel *ch)
{
	return ch->mode == PIT_MODE_RATE || ch->mode == PIT_MODE_SQUARE;
}

/* Counting starts by a rise of the gate, and does not stop when that falls. */
static bool channel_is_triggered(const struct pit_channel *ch)
{
	return ch->mode == PIT_MODE_ONE_SHOT || ch->mode == PIT_MODE_HARDWARE_STROBE;
}

static u64 channel_elapsed(const struct pit_channel *ch, u64 tick)
{
	return (ch->stopped_at == TSC_NEVER ? tick : ch->stopped_at) - ch->start;
}

/* Ticks of the high half of mode 3's period: the longer one if the count is odd. */
static u64 square_high(u32 count)
{
	return (count + 1) / 2;
}

/* Ticks from load to (first) rising edge of OUT. */
static u64 channel_first_rise(u8 mode, u32 count)
{
	bool strobe = mode == PIT_MODE_SOFTWARE_STROBE || mode == PIT_MODE_HARDWARE_STROBE;

	return strobe ? (u64)count + 1 : count;
}

/* Rising edges of OUT since the load. A period of 1 is illegal: OUT stays high. */
static u64 channel_rises(const struct pit_channel *ch, u64 tick)
{
	if (!ch->loaded)
		return 0;
	if (channel_is_periodic(ch))
		return ch->count < 2 ? 0 : channel_elapsed(ch, tick) / ch->count;
	return channel_elapsed(ch, tick) >= channel_first_rise(ch->mode, ch->count);
}

static bool channel_out(const struct pit_channel *ch, u64 tick)
{
	u64 elapsed = channel_elapsed(ch, tick);

	if (!ch->loaded)
		return ch->mode != PIT_MODE_TERMINAL_COUNT;
	switch (ch->mode) {
	case PIT_MODE_TERMINAL_COUNT:
	case PIT_MODE_ONE_SHOT:
		return elapsed >= ch->count;
	case PIT_MODE_RATE:
		return !ch->gate || ch->count < 2 || elapsed % ch->count != ch->count - 1;
	case PIT_MODE_SQUARE:
		return !ch->gate || ch->count < 2 || elapsed % ch->count < square_high(ch->count);
	default:
		return elapsed != ch->count;
	}
}

/* The counting element, as it is read: 16 bits, or four decimal digits. */
static u16 channel_value(const struct pit_channel *ch, u64 tick)
{
	u64 modulus = ch->bcd ? 10000 : 0x10000;
	u64 elapsed = channel_elapsed(ch, tick);
	u64 high = square_high(ch->count);
	u64 value, phase;

	if (!ch->loaded)
		return ch->held;
	switch (ch->mode) {
	case PIT_MODE_RATE:
		value = ch->count - elapsed % ch->count;
		break;
	case PIT_MODE_SQUARE: /* by two, twice per period, from an even number */
		phase = elapsed % ch->count;
		value = (ch->count & ~1u) - 2 * (phase < high ? phase : phase - high);
		break;
	default: /* goes on through zero */
		value = ch->count + modulus - elapsed % modulus;
		break;
	}
	value %= modulus;
	if (ch->bcd)
		value = value / 1000 << 12 | value / 100 % 10 << 8 | value / 10 % 10 << 4 |
		        value % 10;
	return value;
}

/* The count register into the counting element, at ch->load_at. */
static void channel_load(struct pit_channel *ch)
{
	u64 tick = ch->load_at;
	bool counts = ch->gate || channel_is_triggered(ch);

	ch->count = ch->reload;
	/* Half way through a square wave: as if the high half of the new period had just ended. */
	ch->start = tick - (ch->load_low ? square_high(ch->count) : 0);
	ch->stopped_at = counts ? TSC_NEVER : tick;
	ch->load_at = TSC_NEVER;
	ch->load_low = false;
	ch->loaded = true;
	ch->null_count = false;
	ch->rises = 0;
}

/* Bring the channel up to `tick`. Returns the rising edges of OUT since the last call. */
static u64 channel_advance(struct pit_channel *ch, u64 tick)
{
	u64 rises = 0, total;

	if (ch->load_at <= tick) {
		rises = channel_rises(ch, ch->load_at) - ch->rises;
		channel_load(ch);
	}
	total = channel_rises(ch, tick);
	rises += total - ch->rises;
	ch->rises = total;
	return rises;
}

/* The next tick after `tick` at which OUT will have risen, or (mode 3) fallen. TSC_NEVER: none. */
static u64 channel_next_change(const struct pit_channel *ch, u64 tick)
{
	u64 elapsed = channel_elapsed(ch, tick);
	u64 phase, change;

	if (ch->load_at != TSC_NEVER) {
		if (ch->loaded && channel_is_periodic(ch))
			return ch->load_at; /* the end of a period or of a half */
		change = ch->mode == PIT_MODE_SQUARE ? square_high(ch->reload)
		                                     : channel_first_rise(ch->mode, ch->reload);
		return ch->load_at + change;
	}
	if (!ch->loaded || ch->stopped_at != TSC_NEVER)
		return TSC_NEVER;
	if (!channel_is_periodic(ch)) {
		change = channel_first_rise(ch->mode, ch->count);
		return elapsed < change ? ch->start + change : TSC_NEVER;
	}
	if (ch->count < 2)
		return TSC_NEVER;
	phase = elapsed % ch->count;
	change = ch->count;
	if (ch->mode == PIT_MODE_SQUARE && phase < square_high(ch->count))
		change = square_high(ch->count);
	return tick - phase + change;
}

/* --- programming; the channel has been advanced to `tick` --- */

static void channel_stop(struct pit_channel *ch, u64 tick)
{
	if (ch->stopped_at == TSC_NEVER)
		ch->stopped_at = tick;
}

static void channel_resume(struct pit_channel *ch, u64 tick)
{
	if (ch->stopped_at == TSC_NEVER)
		return;
	ch->start += tick - ch->stopped_at;
	ch->stopped_at = TSC_NEVER;
}

/* The counting element's value is kept, the rest of the old programming is void. */
static void channel_unload(struct pit_channel *ch, u64 tick)
{
	ch->held = channel_value(ch, tick);
	ch->loaded = false;
	ch->load_at = TSC_NEVER;
	ch->load_low = false;
	ch->rises = 0;
}

static void channel_write_control(struct pit_channel *ch, u8 control, u64 tick)
{
	channel_unload(ch, tick);
	ch->control = control & CONTROL_STATUS_MASK;
	ch->access = (control >> CONTROL_ACCESS_SHIFT) & 3;
	ch->mode = (control >> CONTROL_MODE_SHIFT) & 7;
	if (ch->mode > PIT_MODE_HARDWARE_STROBE)
		ch->mode -= 4; /* 6 and 7 are 2 and 3 */
	ch->bcd = control & CONTROL_BCD;
	ch->reload = 0;
	ch->null_count = true;
	ch->write_high_next = false;
	ch->read_high_next = false;
	ch->count_latched = false;
	ch->status_latched = false;
}

/* When a running rate or square wave takes its next count: the end of the period or the half. */
static void channel_schedule_reload(struct pit_channel *ch, u64 tick)
{
	u64 phase = channel_elapsed(ch, tick) % ch->count;
	u64 high = square_high(ch->count);

	ch->load_low = ch->mode == PIT_MODE_SQUARE && phase < high;
	ch->load_at = tick - phase + (ch->load_low ? high : ch->count);
}

/* A complete count has been written. */
static void channel_write_count(struct pit_channel *ch, u16 value, u64 tick)
{
	u32 count = value;

	if (ch->bcd) /* a digit above 9 is illegal, and counts as what it is worth */
		count = (value >> 12) * 1000 + (value >> 8 & 15) * 100 + (value >> 4 & 15) * 10 +
		        (value & 15);
	if (!count)
		count = ch->bcd ? 10000 : 0x10000;
	ch->reload = count;
	ch->null_count = true;

	if (channel_is_triggered(ch))
		return;
	if (!channel_is_periodic(ch)) {
		if (ch->mode == PIT_MODE_TERMINAL_COUNT)
			channel_unload(ch, tick); /* OUT falls at once */
		ch->load_at = tick + 1;
	} else if (!ch->loaded) {
		ch->load_at = tick + 1;
	} else if (ch->gate && ch->load_at == TSC_NEVER) {
		channel_schedule_reload(ch, tick);
	}
}

static void channel_write(struct pit_channel *ch, u8 value, u64 tick)
{
	switch (ch->access) {
	case PIT_ACCESS_LOW:
		channel_write_count(ch, value, tick);
		return;
	case PIT_ACCESS_HIGH:
		channel_write_count(ch, value << 8, tick);
		return;
	default:
		ch->write_high_next = !ch->write_high_next;
		if (!ch->write_high_next) {
			channel_write_count(ch, value << 8 | ch->write_low, tick);
			return;
		}
		ch->write_low = value;
		/* Mode 0: half a count stops the counting and pulls OUT low. */
		if (ch->mode == PIT_MODE_TERMINAL_COUNT)
			channel_unload(ch, tick);
		return;
	}
}

static void channel_latch_count(struct pit_channel *ch, u64 tick)
{
	if (ch->count_latched)
		return; /* the first latch command counts, until it has been read */
	ch->latched_count = channel_value(ch, tick);
	ch->count_latched = true;
}

static void channel_latch_status(struct pit_channel *ch, u64 tick)
{
	if (ch->status_latched)
		return;
	ch->latched_status = ch->control | (ch->null_count ? STATUS_NULL_COUNT : 0) |
	                     (channel_out(ch, tick) ? STATUS_OUT : 0);
	ch->status_latched = true;
}

static u8 channel_read(struct pit_channel *ch, u64 tick)
{
	u16 value = ch->count_latched ? ch->latched_count : channel_value(ch, tick);
	bool high = ch->access == PIT_ACCESS_HIGH;

	if (ch->status_latched) {
		ch->status_latched = false;
		return ch->latched_status;
	}
	if (ch->access == PIT_ACCESS_BOTH) {
		high = ch->read_high_next;
		ch->read_high_next = !high;
	}
	if (ch->access != PIT_ACCESS_BOTH || high)
		ch->count_latched = false;
	return high ? value >> 8 : value;
}

static void channel_set_gate(struct pit_channel *ch, bool gate, u64 tick)
{
	bool rose = gate && !ch->gate;
	bool fell = !gate && ch->gate;

	ch->gate = gate;
	if (rose && !channel_is_triggered(ch) && !channel_is_periodic(ch))
		channel_resume(ch, tick);
	else if (rose && ch->reload)
		ch->load_at = tick + 1;
	if (!fell || channel_is_triggered(ch))
		return;
	channel_stop(ch, tick);
	/* A period cut short does not end: the next trigger begins a new one. */
	if (channel_is_periodic(ch) && ch->loaded) {
		ch->load_at = TSC_NEVER;
		ch->load_low = false;
	}
}

/* --- IRQ 0 --- */

static void pit_owe(struct pit *pit, u64 rises)
{
	u64 most = pit->reinject ? PIT_OWED_MAX_REINJECT : PIT_OWED_MAX;
	u64 owed = pit->owed + rises;

	if (owed > most) {
		pit->skipped += owed - most;
		owed = most;
	}
	pit->owed = (u32)owed;
}

static bool pit_wants_fall(const struct pit *pit, u64 tick)
{
	return pit->line && !pit->owed && !channel_out(&pit->channel[0], tick);
}

/* The line wants to move and may not: the guest has not ended what its last rise brought. */
static bool pit_must_wait(const struct pit *pit, u64 tick)
{
	return pit->reinject && (pit->owed || pit_wants_fall(pit, tick)) &&
	       irq_is_unserved(pit->vm, PIT_IRQ);
}

/* Show the line's next edge, if there is one and it is not too close to the last rise. */
static void pit_drive_line(struct pit *pit, u64 tick)
{
	pit->waits = false;
	if (tick - pit->last_rise < PIT_SPACING)
		return;
	pit->waits = pit_must_wait(pit, tick);
	if (pit->waits)
		return;
	if (pit->owed) {
		pit->owed--;
		pit->last_rise = tick;
		atomic64_fetch_add(&pit->ticks, 1);
		if (pit->line)
			irq_pulse_line(pit->vm, PIT_IRQ);
		else
			irq_set_line(pit->vm, PIT_IRQ, true);
		pit->line = true;
	} else if (pit_wants_fall(pit, tick)) {
		pit->line = false;
		irq_set_line(pit->vm, PIT_IRQ, false);
	}
}

static void pit_arm(struct pit *pit, u64 tick)
{
	u64 next = channel_next_change(&pit->channel[0], tick);

	/* What waits for the guest goes on by pit_ended(), or with channel 0's next change. */
	if (!pit->waits && (pit->owed || pit_wants_fall(pit, tick)))
		next = tick;
	/* What only counts ticks that wait need not look at each of them, however short they are. */
	if (next != TSC_NEVER)
		next = max_u64(next, (pit->waits ? tick : pit->last_rise) + PIT_SPACING);
	if (next == pit->deadline)
		return;
	pit->deadline = next;
	timer_arm(&pit->timer, next == TSC_NEVER ? TSC_NEVER : pit_tsc(pit, next));
}

/* Bring channel 0, its line and its timer up to `tick`. */
static void pit_sync_locked(struct pit *pit, u64 tick)
{
	pit_owe(pit, channel_advance(&pit->channel[0], tick));
	pit_drive_line(pit, tick);
	pit_arm(pit, tick);
}

/* Whatever the deadline was meant for: what is due by now is done, the rest armed again. */
static void pit_fire(struct timer *timer)
{
	struct pit *pit = container_of(timer, struct pit, timer);

	spin_lock(&pit->lock);
	pit->deadline = TSC_NEVER;
	pit_sync_locked(pit, pit_tick_locked(pit));
	spin_unlock(&pit->lock);
}

/* An interrupt of IRQ 0 has been ended: perhaps the next tick may go. */
static void pit_ended(struct irq_notifier *notifier)
{
	struct pit *pit = container_of(notifier, struct pit, notifier);

	spin_lock(&pit->lock);
	/* Not the line only: the timer has to know too. */
	if (pit->reinject)
		pit_sync_locked(pit, pit_tick_locked(pit));
	spin_unlock(&pit->lock);
}

static void switch_reinject(struct vm *vm, bool on)
{
	struct pit *pit = &vm->pit;

	spin_lock(&pit->lock);
	pit->reinject = on;
	pit->waits = false;
	pit_owe(pit, 0); /* what is too much now is given up */
	pit_sync_locked(pit, pit_tick_locked(pit));
	spin_unlock(&pit->lock);
	/* An end that is missed until here is looked for at the next tick. */
	irq_notify_listen(vm, &pit->notifier, on);
}

/* The inhibit stands before anybody waits for an end, and until nobody does any more. */
void pit_set_reinject(struct vm *vm, bool on)
{
	spin_lock(&vm->pit.change);
	if (on)
		inhibit_set(vm, INHIBIT_PIT_REINJ);
	switch_reinject(vm, on);
	if (!on)
		inhibit_clear(vm, INHIBIT_PIT_REINJ);
	spin_unlock(&vm->pit.change);
}

/* --- ports --- */

static void pit_advance(struct pit *pit, u32 which, u64 tick)
{
	if (which == 0)
		pit_sync_locked(pit, tick);
	else
		channel_advance(&pit->channel[which], tick);
}

/* Channel 0 was programmed while OUT was `before`: that alone may have raised it. */
static void pit_after_write(struct pit *pit, u32 which, bool before, u64 tick)
{
	if (which != 0)
		return;
	if (!before && channel_out(&pit->channel[0], tick))
		pit_owe(pit, 1);
	pit_sync_locked(pit, tick);
}

static void pit_read_back(struct pit *pit, u8 command, u64 tick)
{
	for (u32 i = 0; i < ARRAY_SIZE(pit->channel); i++) {
		if (!(command & BIT(i + 1)))
			continue;
		pit_advance(pit, i, tick);
		if (!(command & READ_BACK_NO_COUNT))
			channel_latch_count(&pit->channel[i], tick);
		if (!(command & READ_BACK_NO_STATUS))
			channel_latch_status(&pit->channel[i], tick);
	}
}

static void pit_write_control(struct pit *pit, u8 control, u64 tick)
{
	u32 which = control >> CONTROL_CHANNEL_SHIFT;
	struct pit_channel *ch;
	bool before;

	if (which == CONTROL_READ_BACK) {
		pit_read_back(pit, control, tick);
		return;
	}
	ch = &pit->channel[which];
	pit_advance(pit, which, tick);
	if ((control >> CONTROL_ACCESS_SHIFT & 3) == PIT_ACCESS_LATCH) {
		channel_latch_count(ch, tick);
		return;
	}
	before = channel_out(ch, tick);
	channel_write_control(ch, control, tick);
	if (which == 0 && pit->reinject)
		pit->owed = 0;
	pit_after_write(pit, which, before, tick);
}

static void pit_write_byte(struct pit *pit, u32 offset, u8 value, u64 tick)
{
	struct pit_channel *ch = &pit->channel[offset];
	bool before;

	if (offset == PIT_CONTROL) {
		pit_write_control(pit, value, tick);
		return;
	}
	pit_advance(pit, offset, tick);
	before = channel_out(ch, tick);
	channel_write(ch, value, tick);
	pit_after_write(pit, offset, before, tick);
}

/* Bytes of a wider access go to successive ports: these are 8-bit devices. */
static void pit_write(void *device, struct vcpu *vcpu, u64 offset, u32 size, u64 value)
{
	struct pit *pit = &((struct vm *)device)->pit;
	u64 tick;

	(void)vcpu;
	spin_lock(&pit->lock);
	tick = pit_tick_locked(pit);
	for (u32 i = 0; i < size; i++)
		pit_write_byte(pit, offset + i, value >> (i * 8), tick);
	spin_unlock(&pit->lock);
}

static u8 pit_read_byte(struct pit *pit, u32 offset, u64 tick)
{
	if (offset == PIT_CONTROL)
		return 0xff; /* write-only: nobody drives the bus */
	pit_advance(pit, offset, tick);
	return channel_read(&pit->channel[offset], tick);
}

static u64 pit_read(void *device, struct vcpu *vcpu, u64 offset, u32 size)
{
	struct pit *pit = &((struct vm *)device)->pit;
	u64 value = 0;
	u64 tick;

	(void)vcpu;
	spin_lock(&pit->lock);
	tick = pit_tick_locked(pit);
	for (u32 i = 0; i < size; i++)
		value |= (u64)pit_read_byte(pit, offset + i, tick) << (i * 8);
	spin_unlock(&pit->lock);
	return value;
}

static void pit_write_61(void *device, struct vcpu *vcpu, u64 offset, u32 size, u64 value)
{
	struct pit *pit = &((struct vm *)device)->pit;
	u64 tick;

	(void)vcpu;
	(void)offset;
	(void)size;
	spin_lock(&pit->lock);
	tick = pit_tick_locked(pit);
	pit_advance(pit, PIT_SPEAKER, tick);
	pit->port_61 = value & PORT_61_WRITABLE;
	channel_set_gate(&pit->channel[PIT_SPEAKER], value & PORT_61_GATE, tick);
	spin_unlock(&pit->lock);
}

static u64 pit_read_61(void *device, struct vcpu *vcpu, u64 offset, u32 size)
{
	struct pit *pit = &((struct vm *)device)->pit;
	u64 tick, value;

	(void)vcpu;
	(void)offset;
	(void)size;
	spin_lock(&pit->lock);
	tick = pit_tick_locked(pit);
	pit_advance(pit, PIT_SPEAKER, tick);
	value = pit->port_61;
	if (tick / PIT_REFRESH & 1)
		value |= PORT_61_REFRESH;
	if (channel_out(&pit->channel[PIT_SPEAKER], tick))
		value |= PORT_61_OUT2;
	spin_unlock(&pit->lock);
	return value;
}

static const struct bus_ops pit_ops = {.read = pit_read, .write = pit_write};
static const struct bus_ops pit_61_ops = {.read = pit_read_61, .write = pit_write_61};

/* --- life --- */

/*
 * The chip's state at power-on is undefined. Here: mode 0 without a count, OUT low, so that IRQ 0
 * is quiet until somebody programs it.
 */
void pit_reset(struct vm *vm)
{
	struct pit *pit = &vm->pit;

	spin_lock(&pit->lock);
	for (u32 i = 0; i < ARRAY_SIZE(pit->channel); i++) {
		pit->channel[i] = (struct pit_channel){
		        .gate = i != PIT_SPEAKER,
		        .null_count = true,
		        .load_at = TSC_NEVER,
		        .stopped_at = TSC_NEVER,
		        .access = PIT_ACCESS_BOTH,
		        .control = PIT_ACCESS_BOTH << CONTROL_ACCESS_SHIFT,
		};
	}
	pit->port_61 = 0;
	pit->owed = 0;
	pit->waits = false;
	pit->last_rise = pit_tick_locked(pit) - PIT_SPACING;
	pit->deadline = TSC_NEVER;
	timer_cancel(&pit->timer);
	if (pit->line)
		irq_set_line(vm, PIT_IRQ, false);
	pit->line = false;
	spin_unlock(&pit->lock);
}

void pit_init(struct vm *vm)
{
	struct pit *pit = &vm->pit;

	*pit = (struct pit){
	        .vm = vm, .epoch = port_tsc(), .notifier = {.gsi = PIT_IRQ, .fire = pit_ended}};
	irq_notify_add(vm, &pit->notifier);
	timer_init(&pit->timer, pit_fire);
	pit_reset(vm);
	bus_register(&vm->io, PIT_PORT, 4, &pit_ops, vm);
	bus_register(&vm->io, PIT_PORT_61, 1, &pit_61_ops, vm);
}
