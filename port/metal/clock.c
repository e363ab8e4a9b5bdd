/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The time stamp counter and its rate, and the time of day.
 *
 * The rate comes from CPUID where the processor or the hypervisor below gives it; else it is
 * measured against a counter of known rate: ACPI's PM timer, or channel 2 of the 8254. On a busy
 * emulator the processor may be stopped anywhere: a reading of the counter is taken between two of
 * the TSC, the tightest of several counts, and the median of five runs.
 *
 * Sources: SDM volume 3, "Determining the Processor Base Frequency"; ACPI Specification, "Power
 * Management Timer"; 8254 data sheet; MC146818 data sheet.
 */
#include "metal.h"

#define PM_TIMER_HZ  3579545u
#define PIT_HZ       1193182u
#define PIT_CHANNEL2 0x42
#define PIT_LATCH2   0x80
#define PIT_MODE0_2                                                                                \
	0xb0 /* channel 2, both bytes, mode 0: counts down from what is written, once              \
	      */
#define PORT_B         0x61
#define PORT_B_GATE2   BIT(0)
#define PORT_B_SPEAKER BIT(1)

#define RUNS   5
#define RUN_MS 10
#define TRIES  8

#define CPUID_TSC_RATIO      0x15
#define CPUID_HYPERVISOR     0x40000000
#define CPUID_HYPERVISOR_TSC 0x40000010

#define RTC_INDEX      0x70
#define RTC_DATA       0x71
#define RTC_A_UPDATING BIT(7)
#define RTC_B_24H      BIT(1)
#define RTC_B_BINARY   BIT(2)
#define RTC_HOUR_PM    BIT(7)

/* A counter of known rate, counting up from 0 after start(). */
struct reference {
	const char *name;
	u32 hz;
	u32 mask;
	void (*start)(void);
	u32 (*read)(void);
};

struct reading {
	u64 tsc;
	u32 count;
};

static u64 clock_tsc_khz;              /* constant after boot */
static struct spinlock clock_rtc_lock; /* the index register and what it selects */

u64 port_tsc(void)
{
	return insn_rdtsc();
}

u64 port_tsc_khz(void)
{
	return clock_tsc_khz;
}

static void pm_start(void)
{
}

static u32 pm_read(void)
{
	return in32((u16)acpi_info.pm_timer_port);
}

static void pit_start(void)
{
	out8(PORT_B, (u8)((in8(PORT_B) & ~PORT_B_SPEAKER) | PORT_B_GATE2));
	out8(PIT_COMMAND, PIT_MODE0_2);
	out8(PIT_CHANNEL2, 0xff);
	out8(PIT_CHANNEL2, 0xff);
}

static u32 pit_read(void)
{
	u32 low;

	out8(PIT_COMMAND, PIT_LATCH2);
	low = in8(PIT_CHANNEL2);
	return 0xffff - (low | (u32)in8(PIT_CHANNEL2) << 8);
}

/* The PM timer has 24 bits, or 32; the lower 24 are enough for a run. */
static const struct reference pm_timer = {"ACPI PM timer", PM_TIMER_HZ, 0xffffff, pm_start,
                                          pm_read};
static const struct reference pit = {"8254", PIT_HZ, 0xffff, pit_start, pit_read};

static struct reading read_both(const struct reference *ref)
{
	struct reading best = {0};
	u64 tightest = ~0ull;

	for (u32 i = 0; i < TRIES; i++) {
		u64 before = insn_rdtsc();
		u32 count = ref->read();
		u64 after = insn_rdtsc();

		if (after - before >= tightest)
			continue;
		tightest = after - before;
		best.tsc = before + tightest / 2;
		best.count = count;
	}
	return best;
}

/* One run; 0: the reference stands still. */
static u64 measure_khz(const struct reference *ref)
{
	struct reading first, last;
	u32 ticks = 0, goal = ref->hz / 1000 * RUN_MS;

	ref->start();
	first = read_both(ref);
	/* At 10 GHz this is two seconds: time enough for any counter that counts at all. */
	while (ticks < goal && insn_rdtsc() - first.tsc < 20000000000ull)
		ticks = (ref->read() - first.count) & ref->mask;
	if (ticks < goal)
		return 0;
	last = read_both(ref);
	ticks = (last.count - first.count) & ref->mask;
	return ticks ? (last.tsc - first.tsc) * ref->hz / 1000 / ticks : 0;
}

u64 clock_median(u64 *v, u32 n)
{
	for (u32 i = 1; i < n; i++) {
		for (u32 k = i; k && v[k - 1] > v[k]; k--) {
			u64 t = v[k];

			v[k] = v[k - 1];
			v[k - 1] = t;
		}
	}
	return v[n / 2];
}

static u64 calibrate(const struct reference *ref)
{
	u64 khz[RUNS];

	for (u32 i = 0; i < RUNS; i++)
		khz[i] = measure_khz(ref);
	return clock_median(khz, RUNS);
}

bool clock_hypervisor(struct cpuid_regs *r)
{
	insn_cpuid(1, 0, r);
	if (!(r->ecx & BIT(31)))
		return false;
	insn_cpuid(CPUID_HYPERVISOR, 0, r);
	return true;
}

static u64 khz_from_cpuid(void)
{
	struct cpuid_regs r;

	if (clock_hypervisor(&r) && r.eax >= CPUID_HYPERVISOR_TSC &&
	    r.eax < CPUID_HYPERVISOR + 0x1000) {
		insn_cpuid(CPUID_HYPERVISOR_TSC, 0, &r);
		if (r.eax)
			return r.eax;
	}
	insn_cpuid(0, 0, &r);
	if (r.eax < CPUID_TSC_RATIO)
		return 0;
	insn_cpuid(CPUID_TSC_RATIO, 0, &r);
	return r.eax && r.ebx && r.ecx ? (u64)r.ecx * r.ebx / r.eax / 1000 : 0;
}

void clock_init(void)
{
	const char *source = "CPUID";

	clock_tsc_khz = khz_from_cpuid();
	if (!clock_tsc_khz && acpi_info.pm_timer_port) {
		source = pm_timer.name;
		clock_tsc_khz = calibrate(&pm_timer);
	}
	if (!clock_tsc_khz) {
		source = pit.name;
		clock_tsc_khz = calibrate(&pit);
	}
	if (!clock_tsc_khz)
		port_panic("neither the ACPI PM timer nor the 8254 counts: no clock");
	port_log("clock: TSC at %llu kHz, from %s", (unsigned long long)clock_tsc_khz, source);
}

void clock_wait_us(u64 us)
{
	u64 start = insn_rdtsc(), ticks = us * clock_tsc_khz / 1000;

	wait_until(insn_rdtsc() - start >= ticks);
}

static u8 rtc_read(u8 reg)
{
	out8(RTC_INDEX, reg);
	return in8(RTC_DATA);
}

struct rtc_time {
	u8 second, minute, hour, day, month, year;
};

/* A consistent set: no update under way, and the same twice. Bounded: the chip may not be there. */
static struct rtc_time rtc_read_time(void)
{
	struct rtc_time t = {0}, again;
	u32 equal = 0;

	for (u32 tries = 0; tries < 100000 && equal < 2; tries++) {
		if (rtc_read(0x0a) & RTC_A_UPDATING)
			continue;
		again = (struct rtc_time){rtc_read(0), rtc_read(2), rtc_read(4),
		                          rtc_read(7), rtc_read(8), rtc_read(9)};
		equal = memcmp(&t, &again, sizeof(t)) ? 1 : equal + 1;
		t = again;
	}
	return t;
}

static u32 rtc_number(u8 v, u8 mode)
{
	return mode & RTC_B_BINARY ? v : (u32)(v >> 4) * 10 + (v & 15);
}

/* Days since 1970-01-01 of a date of the Gregorian calendar. */
static u64 days_since_epoch(u32 year, u32 month, u32 day)
{
	/* A year that begins in March has its leap day at the end. */
	u32 y = month > 2 ? year : year - 1, m = (month + 9) % 12;
	u64 days = (u64)y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1;

	return days - 719468; /* the same sum for 1970-01-01 */
}

u64 port_wallclock(void)
{
	struct rtc_time t;
	u32 hour, month;
	u8 mode;

	spin_lock(&clock_rtc_lock);
	t = rtc_read_time();
	mode = rtc_read(0x0b);
	spin_unlock(&clock_rtc_lock);

	hour = rtc_number(mode & RTC_B_24H ? t.hour : t.hour & (u8)~RTC_HOUR_PM, mode);
	if (!(mode & RTC_B_24H))
		hour = hour % 12 + (t.hour & RTC_HOUR_PM ? 12 : 0);
	month = rtc_number(t.month, mode);
	/* The chip has no century of its own; it was not in use by Postern before 2000. */
	return days_since_epoch(2000 + rtc_number(t.year, mode), month ? month : 1,
	                        rtc_number(t.day, mode)) *
	               86400 +
	       hour * 3600 + rtc_number(t.minute, mode) * 60 + rtc_number(t.second, mode);
}
