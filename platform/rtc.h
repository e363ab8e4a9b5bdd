/* SPDX-License-Identifier: BSD-2-Clause */
/* The real-time clock and its battery-backed memory at 70h/71h, IRQ 8. Motorola MC146818A. */
#ifndef PLATFORM_RTC_H
#define PLATFORM_RTC_H

#include "core/timer.h"
#include "platform/line.h"
#include "postern/sync.h"

struct vm;

#define RTC_PORT 0x70
#define RTC_SIZE 128

struct rtc {
	struct spinlock lock;
	struct vm *vm; /* (i) */
	/* All [lock]. */
	struct irq_line line;
	u8 index;
	u8 reg[RTC_SIZE];
	u64 base_ns; /* the guest's time, ns since 1970, at base_tsc */
	u64 base_tsc;
	u64 last_second; /* seconds whose update cycle has been accounted for */
	u64 last_tick;   /* periodic ticks likewise */
	u64 deadline;    /* what `timer` is armed for */
	struct timer timer;
};

/* Time from port_wallclock(); memory size bytes from vm->region[]. */
void rtc_init(struct rtc *rtc, struct vm *vm);
void rtc_destroy(struct rtc *rtc);
/* Apply a line change that was left over. Any processor, no locks held. */
void rtc_poll(struct rtc *rtc);

#endif
