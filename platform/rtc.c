/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * MC146818A. The clock is a function of the TSC: nothing ticks unless an interrupt is enabled and
 * its flag is clear, and then only until the next moment that sets the flag. Whoever looks first
 * (guest access or timer) accounts for all that has passed since.
 *
 *  - While SET is on or the divider is held in reset the time registers keep what is written;
 *    otherwise they show the running time, encoded by the current DM and 24/12 bits.
 *  - UIP announces an update cycle 244 us ahead; the cycle itself takes 1984 us.
 *  - Reading register C clears its flags and the interrupt.
 *  - An alarm byte of C0h or more matches everything.
 *  - After the divider is released, the first update comes half a second later.
 */
#include "platform/rtc.h"

#include "core/vm.h"
#include "platform/bytes.h"
#include "platform/layout.h"
#include "postern/port.h"
#include "postern/string.h"

#define RTC_SECONDS   0x00
#define RTC_SECONDS_A 0x01 /* _A: of the alarm */
#define RTC_MINUTES   0x02
#define RTC_MINUTES_A 0x03
#define RTC_HOURS     0x04
#define RTC_HOURS_A   0x05
#define RTC_WEEKDAY   0x06
#define RTC_DAY       0x07
#define RTC_MONTH     0x08
#define RTC_YEAR      0x09
#define RTC_A         0x0a
#define RTC_B         0x0b
#define RTC_C         0x0c
#define RTC_D         0x0d
#define RTC_CENTURY   0x32 /* as the FADT says */

#define A_UIP      BIT(7)
#define A_RATE     0x0f
#define A_DIVIDER  0x70
#define A_RESET    0x60 /* divider values from here on hold it in reset */
#define A_POWER_ON 0x26 /* 32.768 kHz time base, 1024 Hz */
#define B_SET      BIT(7)
#define B_PERIODIC BIT(6)
#define B_ALARM    BIT(5)
#define B_UPDATE   BIT(4)
#define B_BINARY   BIT(2)
#define B_24H      BIT(1)
#define C_IRQ      BIT(7)
#define C_FLAGS    (B_PERIODIC | B_ALARM | B_UPDATE) /* same positions as their enables */
#define D_VALID    BIT(7)
#define HOUR_PM    0x80
#define ALARM_ANY  0xc0

#define NS_PER_SECOND    1000000000ull
#define UPDATE_LEAD_NS   (NS_PER_SECOND - 244000 - 1984000)
#define TICKS_PER_SECOND 32768ull
#define DAY              86400ull

/* --- the calendar --- */

static u64 leap_years_before(u64 year)
{
	year--;
	return year / 4 - year / 100 + year / 400;
}

/* Days from 1970-01-01 to the first of January of `year`. */
static u64 days_before_year(u64 year)
{
	return 365 * (year - 1970) + leap_years_before(year) - leap_years_before(1970);
}

/* Days of the year before month 0..11 (12: length of the year). */
static u64 days_before_month(u64 year, u32 month)
{
	static const u16 days[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365};
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	return days[month] + (leap && month > 1);
}

/* --- encoding of the registers --- */

static u8 rtc_encode(const struct rtc *rtc, u32 value)
{
	if (rtc->reg[RTC_B] & B_BINARY)
		return (u8)value;
	return (u8)(value / 10 % 10 << 4 | value % 10);
}

static u32 rtc_decode(const struct rtc *rtc, u8 byte)
{
	if (rtc->reg[RTC_B] & B_BINARY)
		return byte;
	return (byte >> 4) * 10u + (byte & 0xf);
}

static u8 rtc_encode_hour(const struct rtc *rtc, u32 hour)
{
	u8 byte;

	if (rtc->reg[RTC_B] & B_24H)
		return rtc_encode(rtc, hour);
	byte = rtc_encode(rtc, hour % 12 ? hour % 12 : 12);
	return hour >= 12 ? byte | HOUR_PM : byte;
}

static u32 rtc_decode_hour(const struct rtc *rtc, u8 byte)
{
	if (rtc->reg[RTC_B] & B_24H)
		return rtc_decode(rtc, byte);
	return rtc_decode(rtc, byte & ~HOUR_PM) % 12 + (byte & HOUR_PM ? 12 : 0);
}

/* Put the time into the registers. */
static void rtc_show(struct rtc *rtc, u64 second)
{
	u64 days = second / DAY;
	u32 of_day = (u32)(second % DAY);
	u64 year = 1970 + days / 365;
	u32 month = 0;

	while (days_before_year(year) > days)
		year--;
	days -= days_before_year(year);
	while (days_before_month(year, month + 1) <= days)
		month++;
	rtc->reg[RTC_SECONDS] = rtc_encode(rtc, of_day % 60);
	rtc->reg[RTC_MINUTES] = rtc_encode(rtc, of_day / 60 % 60);
	rtc->reg[RTC_HOURS] = rtc_encode_hour(rtc, of_day / 3600);
	rtc->reg[RTC_WEEKDAY] = rtc_encode(rtc, (u32)((second / DAY + 4) % 7) + 1);
	rtc->reg[RTC_DAY] = rtc_encode(rtc, (u32)(days - days_before_month(year, month)) + 1);
	rtc->reg[RTC_MONTH] = rtc_encode(rtc, month + 1);
	rtc->reg[RTC_YEAR] = rtc_encode(rtc, (u32)(year % 100));
	rtc->reg[RTC_CENTURY] = rtc_encode(rtc, (u32)(year / 100));
}

/* The time that the registers say, whatever the guest wrote into them. */
static u64 rtc_time_of_registers(const struct rtc *rtc)
{
	u64 year = rtc_decode(rtc, rtc->reg[RTC_CENTURY]) * 100ull +
	           rtc_decode(rtc, rtc->reg[RTC_YEAR]);
	u32 month = rtc_decode(rtc, rtc->reg[RTC_MONTH]);
	u32 day = rtc_decode(rtc, rtc->reg[RTC_DAY]);
	u64 days;

	/* ns since 1970 fit in 64 bits until 2554. */
	if (year < 1970 || year > 2399)
		year = year < 1970 ? 1970 : 2399;
	if (month < 1 || month > 12)
		month = 1;
	if (day < 1 || day > 31)
		day = 1;
	days = days_before_year(year) + days_before_month(year, month - 1) + day - 1;
	return days * DAY + rtc_decode_hour(rtc, rtc->reg[RTC_HOURS]) % 24 * 3600 +
	       rtc_decode(rtc, rtc->reg[RTC_MINUTES]) % 60 * 60 +
	       rtc_decode(rtc, rtc->reg[RTC_SECONDS]) % 60;
}

/* --- running --- */

static bool rtc_divider_reset(const struct rtc *rtc)
{
	return (rtc->reg[RTC_A] & A_DIVIDER) >= A_RESET;
}

static bool rtc_is_stopped(const struct rtc *rtc)
{
	return rtc->reg[RTC_B] & B_SET || rtc_divider_reset(rtc);
}

static u64 rtc_now_ns(const struct rtc *rtc, u64 tsc)
{
	return rtc->base_ns + timer_tsc_to_ns(tsc - rtc->base_tsc);
}

/* Ticks of the 32.768 kHz time base in one period, 0: off. */
static u64 rtc_period(const struct rtc *rtc)
{
	u32 rate = rtc->reg[RTC_A] & A_RATE;

	if (!rate)
		return 0;
	/* The two fastest rates of this time base are those of 8 and 9 once more. */
	return 1ull << (rate <= 2 ? rate + 6 : rate - 1);
}

static u64 rtc_periods_at(const struct rtc *rtc, u64 ns)
{
	u64 period = rtc_period(rtc);
	u64 ticks = ns / NS_PER_SECOND * TICKS_PER_SECOND +
	            ns % NS_PER_SECOND * TICKS_PER_SECOND / NS_PER_SECOND;

	return period ? ticks / period : 0;
}

/* The first ns at which rtc_periods_at() gives `n`. */
static u64 rtc_period_start(const struct rtc *rtc, u64 n)
{
	u64 ticks = n * rtc_period(rtc);

	return ticks / TICKS_PER_SECOND * NS_PER_SECOND +
	       (ticks % TICKS_PER_SECOND * NS_PER_SECOND + TICKS_PER_SECOND - 1) / TICKS_PER_SECOND;
}

static bool rtc_alarm_matches(u8 alarm, u8 now)
{
	return alarm >= ALARM_ANY || alarm == now;
}

/* true: the alarm time lies in (from, to]. Skips whole hours and minutes, so at most a day's steps.
 */
static bool rtc_alarm_between(const struct rtc *rtc, u64 from, u64 to)
{
	u64 t = from + 1;

	for (u32 steps = 0; t <= to && steps < 24 + 60 + 60 + 3; steps++) {
		u32 of_day = (u32)(t % DAY);

		if (!rtc_alarm_matches(rtc->reg[RTC_HOURS_A], rtc_encode_hour(rtc, of_day / 3600)))
			t += 3600 - t % 3600;
		else if (!rtc_alarm_matches(rtc->reg[RTC_MINUTES_A],
		                            rtc_encode(rtc, of_day / 60 % 60)))
			t += 60 - t % 60;
		else if (!rtc_alarm_matches(rtc->reg[RTC_SECONDS_A], rtc_encode(rtc, of_day % 60)))
			t++;
		else
			return true;
	}
	return false;
}

/* Forget what has passed: the time base or the rate has changed. */
static void rtc_rebase(struct rtc *rtc, u64 tsc)
{
	u64 ns = rtc_now_ns(rtc, tsc);

	rtc->last_second = ns / NS_PER_SECOND;
	rtc->last_tick = rtc_periods_at(rtc, ns);
}

/* Account for all that has happened until `tsc`. */
static void rtc_advance(struct rtc *rtc, u64 tsc)
{
	u64 ns = rtc_now_ns(rtc, tsc);
	u64 second = ns / NS_PER_SECOND;
	u64 tick = rtc_periods_at(rtc, ns);

	if (rtc_is_stopped(rtc))
		return;
	if (second > rtc->last_second) {
		rtc->reg[RTC_C] |= B_UPDATE;
		if (rtc_alarm_between(rtc, rtc->last_second, second))
			rtc->reg[RTC_C] |= B_ALARM;
		rtc->last_second = second;
		rtc_show(rtc, second);
	}
	if (tick > rtc->last_tick) {
		rtc->reg[RTC_C] |= B_PERIODIC;
		rtc->last_tick = tick;
	}
}

/* Set the interrupt output from the flags, and the timer for the next moment that can raise it. */
static void rtc_update(struct rtc *rtc, u64 tsc)
{
	u8 enabled = rtc->reg[RTC_B] & C_FLAGS;
	u8 waiting = enabled & (u8)~rtc->reg[RTC_C];
	u64 now = rtc_now_ns(rtc, tsc);
	u64 next = TSC_NEVER;

	if (rtc->reg[RTC_C] & enabled)
		rtc->reg[RTC_C] |= C_IRQ;
	line_want(&rtc->line, rtc->reg[RTC_C] & C_IRQ);

	if (!rtc_is_stopped(rtc)) {
		if (waiting & (B_UPDATE | B_ALARM))
			next = (rtc->last_second + 1) * NS_PER_SECOND;
		if (waiting & B_PERIODIC && rtc_period(rtc))
			next = min_u64(next, rtc_period_start(rtc, rtc->last_tick + 1));
	}
	rtc->deadline = next;
	if (next != TSC_NEVER) /* one tick more, because the conversion rounds down */
		rtc->deadline = tsc + timer_ns_to_tsc(next > now ? next - now : 0) + 1;
	timer_arm(&rtc->timer, rtc->deadline);
}

static void rtc_timer_fire(struct timer *timer)
{
	struct rtc *rtc = container_of(timer, struct rtc, timer);
	u64 tsc = port_tsc();

	spin_lock(&rtc->lock);
	/* Re-armed or cancelled in the meantime: this expiry is nobody's. */
	if (rtc->deadline <= tsc) {
		rtc_advance(rtc, tsc);
		rtc_update(rtc, tsc);
	}
	line_unlock(&rtc->line, &rtc->lock);
}

/* --- guest accesses --- */

static void rtc_start_from_registers(struct rtc *rtc, u64 tsc, u64 fraction_ns)
{
	rtc->base_ns = rtc_time_of_registers(rtc) * NS_PER_SECOND + fraction_ns;
	rtc->base_tsc = tsc;
	rtc_rebase(rtc, tsc);
}

/* Registers A and B: what stops or starts the clock, and what changes how it counts. */
static void rtc_write_control(struct rtc *rtc, u32 index, u8 value, u64 tsc)
{
	bool was_stopped = rtc_is_stopped(rtc);
	bool was_reset = rtc_divider_reset(rtc);

	if (index == RTC_A)
		rtc->reg[RTC_A] = value & ~A_UIP;
	else /* SET clears the update interrupt's enable */
		rtc->reg[RTC_B] = value & B_SET ? value & ~B_UPDATE : value;

	if (rtc_is_stopped(rtc))
		return;
	if (was_stopped) {
		rtc_start_from_registers(rtc, tsc, was_reset ? NS_PER_SECOND / 2 : 0);
	} else {
		rtc->last_tick = rtc_periods_at(rtc, rtc_now_ns(rtc, tsc));
	}
	rtc_show(rtc, rtc->last_second);
}

static bool rtc_is_time(u32 index)
{
	return index == RTC_SECONDS || index == RTC_MINUTES || index == RTC_HOURS ||
	       (index >= RTC_WEEKDAY && index <= RTC_YEAR) || index == RTC_CENTURY;
}

static void rtc_write_register(struct rtc *rtc, u8 value, u64 tsc)
{
	u32 index = rtc->index;

	if (index == RTC_A || index == RTC_B) {
		rtc_write_control(rtc, index, value, tsc);
	} else if (index != RTC_C && index != RTC_D) {
		rtc->reg[index] = value;
		if (rtc_is_time(index) && !rtc_is_stopped(rtc)) {
			u64 fraction = rtc_now_ns(rtc, tsc) % NS_PER_SECOND;

			rtc_start_from_registers(rtc, tsc, fraction);
		}
	}
}

static u8 rtc_read_register(struct rtc *rtc, u64 tsc)
{
	u8 value = rtc->reg[rtc->index];

	if (rtc->index == RTC_A && !rtc_is_stopped(rtc) &&
	    rtc_now_ns(rtc, tsc) % NS_PER_SECOND >= UPDATE_LEAD_NS)
		value |= A_UIP;
	if (rtc->index == RTC_C)
		rtc->reg[RTC_C] = 0;
	return value;
}

static u64 rtc_read(void *device, __unused struct vcpu *vcpu, u64 offset, u32 size)
{
	struct rtc *rtc = device;
	u64 tsc = port_tsc();
	u64 value = ~0ull;

	/* The index port cannot be read. */
	if (offset + size < 2)
		return value;
	spin_lock(&rtc->lock);
	rtc_advance(rtc, tsc);
	value = rtc_read_register(rtc, tsc);
	rtc_update(rtc, tsc);
	line_unlock(&rtc->line, &rtc->lock);
	return offset ? value : value << 8 | 0xff;
}

static void rtc_write8(void *device, u32 offset, u8 value)
{
	struct rtc *rtc = device;

	if (offset == 0) /* bit 7 is the NMI gate of the AT, which nothing here drives */
		rtc->index = value & (RTC_SIZE - 1);
	else
		rtc_write_register(rtc, value, port_tsc());
}

static void rtc_write(void *device, __unused struct vcpu *vcpu, u64 offset, u32 size, u64 value)
{
	struct rtc *rtc = device;
	u64 tsc = port_tsc();

	spin_lock(&rtc->lock);
	rtc_advance(rtc, tsc);
	bytes_write(rtc_write8, rtc, offset, size, value);
	rtc_update(rtc, port_tsc());
	line_unlock(&rtc->line, &rtc->lock);
}

static const struct bus_ops rtc_ops = {rtc_read, rtc_write};

/* --- creation --- */

static void rtc_set16(struct rtc *rtc, u32 index, u64 value)
{
	value = min_u64(value, 0xffff);
	rtc->reg[index] = (u8)value;
	rtc->reg[index + 1] = (u8)(value >> 8);
}

/* RAM from 4 GiB up. */
static u64 rtc_high_memory(const struct vm *vm)
{
	u64 size = 0;

	for (u32 i = 0; i < vm->region_count; i++)
		if (vm->region[i].gpa.v >= VM_ROM_END)
			size += vm->region[i].size;
	return size;
}

/* Memory sizes where firmware of the PC/AT and its successors keeps them, and as QEMU's looks for. */
static void rtc_set_memory(struct rtc *rtc, const struct vm *vm)
{
	u64 low = layout_low_ram_end(vm);
	u64 above_1m = low > (1 << 20) ? low - (1 << 20) : 0;
	u64 above_16m = low > (16 << 20) ? low - (16 << 20) : 0;
	u64 high = rtc_high_memory(vm);

	rtc_set16(rtc, 0x15, 640);
	rtc_set16(rtc, 0x17, above_1m >> 10);
	rtc_set16(rtc, 0x30, above_1m >> 10);
	rtc_set16(rtc, 0x34, above_16m >> 16);
	rtc_set16(rtc, 0x5b, high >> 16 & 0xffff);
	rtc->reg[0x5d] = (u8)(high >> 32);
	rtc->reg[0x5f] = (u8)(vm->vcpu_count - 1);
}

void rtc_init(struct rtc *rtc, struct vm *vm)
{
	rtc->vm = vm;
	rtc->base_tsc = port_tsc();
	rtc->base_ns = port_wallclock() * NS_PER_SECOND;
	rtc->reg[RTC_A] = A_POWER_ON;
	rtc->reg[RTC_B] = B_24H;
	rtc->reg[RTC_D] = D_VALID;
	rtc_set_memory(rtc, vm);
	rtc_rebase(rtc, rtc->base_tsc);
	rtc_show(rtc, rtc->last_second);
	rtc->deadline = TSC_NEVER;
	timer_init(&rtc->timer, rtc_timer_fire);
	line_init(&rtc->line, vm, LAYOUT_RTC_IRQ);
	bus_register(&vm->io, RTC_PORT, 2, &rtc_ops, rtc);
}

void rtc_destroy(struct rtc *rtc)
{
	spin_lock(&rtc->lock);
	rtc->deadline = TSC_NEVER;
	timer_cancel(&rtc->timer);
	spin_unlock(&rtc->lock);
}

void rtc_poll(struct rtc *rtc)
{
	if (spin_trylock(&rtc->lock))
		line_unlock(&rtc->line, &rtc->lock);
}
