/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ACPI fixed hardware. There is no SMI command port and SCI_EN is always set, so the system is in
 * ACPI mode from the start. The PM timer has 32 bits; TMR_STS is set whenever its top bit changes,
 * which is computed from the TSC like the count itself. There are no buttons and no GPEs.
 */
#include "platform/pm.h"

#include "core/vm.h"
#include "platform/exit.h"
#include "platform/layout.h"
#include "postern/port.h"

#define STS_TIMER      BIT(0)
#define EN_TIMER       BIT(0)
#define EN_ALL         0x0721 /* timer, global lock, power and sleep button, RTC */
#define CNT_SCI_EN     BIT(0)
#define CNT_STORED     (BIT(1) | 7u << 10) /* bus-master reload, SLP_TYP */
#define CNT_SLP_TYP(c) ((c) >> 10 & 7)
#define CNT_SLP_EN     BIT(13)

#define NS_PER_SECOND 1000000000ull
#define TIMER_HALF    (1ull << 31) /* counts between changes of the top bit */

static u64 pm_count(const struct pm *pm, u64 tsc)
{
	u64 ns = timer_tsc_to_ns(tsc - pm->base_tsc);

	return ns / NS_PER_SECOND * PM_TIMER_HZ + ns % NS_PER_SECOND * PM_TIMER_HZ / NS_PER_SECOND;
}

static u16 pm_status(const struct pm *pm, u64 tsc)
{
	return pm_count(pm, tsc) / TIMER_HALF != pm->carries_seen ? STS_TIMER : 0;
}

/* Set the SCI from status and enable, and the timer for the next change of the top bit. */
static void pm_update(struct pm *pm, u64 tsc)
{
	u16 status = pm_status(pm, tsc);

	line_want(&pm->line, status & pm->enable);
	pm->deadline = TSC_NEVER;
	if (pm->enable & EN_TIMER && !status) {
		u64 left = TIMER_HALF - pm_count(pm, tsc) % TIMER_HALF;

		pm->deadline = tsc + timer_ns_to_tsc(left * NS_PER_SECOND / PM_TIMER_HZ + 1) + 1;
	}
	timer_arm(&pm->timer, pm->deadline);
}

static void pm_timer_fire(struct timer *timer)
{
	struct pm *pm = container_of(timer, struct pm, timer);
	u64 tsc = port_tsc();

	spin_lock(&pm->lock);
	if (pm->deadline <= tsc)
		pm_update(pm, tsc);
	line_unlock(&pm->line, &pm->lock);
}

static u64 pm_read(void *device, __unused struct vcpu *vcpu, u64 offset, u32 size)
{
	struct pm *pm = device;
	u64 tsc = port_tsc();
	u64 block[2];
	u64 value;

	/* The timer's four bytes must come from one look at the clock. */
	spin_lock(&pm->lock);
	block[0] = pm_status(pm, tsc) | (u64)pm->enable << 16 |
	           (u64)(pm->control | CNT_SCI_EN) << (8 * PM_CONTROL);
	block[1] = pm_count(pm, tsc) & 0xffffffff;
	line_unlock(&pm->line, &pm->lock);

	value = block[offset / 8] >> (8 * (offset % 8));
	if (offset < 8 && offset + size > 8)
		value |= block[1] << (8 * (8 - offset));
	return value;
}

/* Returns true if the byte asks for soft-off. */
static bool pm_write8(struct pm *pm, u64 offset, u8 value, u64 tsc)
{
	switch (offset) {
	case PM_EVENT: /* status: ones clear */
		if (value & STS_TIMER)
			pm->carries_seen = pm_count(pm, tsc) / TIMER_HALF;
		break;
	case PM_EVENT + 2:
		pm->enable = (u16)((pm->enable & 0xff00) | value) & EN_ALL;
		break;
	case PM_EVENT + 3:
		pm->enable = (u16)((pm->enable & 0x00ff) | value << 8) & EN_ALL;
		break;
	case PM_CONTROL:
		pm->control = (u16)((pm->control & 0xff00) | value) & CNT_STORED;
		break;
	case PM_CONTROL + 1: /* SLP_EN reads as zero */
		pm->control = (u16)((pm->control & 0x00ff) | value << 8) & CNT_STORED;
		return value << 8 & CNT_SLP_EN && CNT_SLP_TYP(pm->control) == PM_SLEEP_S5;
	default:
		break;
	}
	return false;
}

static void pm_write(void *device, __unused struct vcpu *vcpu, u64 offset, u32 size, u64 value)
{
	struct pm *pm = device;
	u64 tsc = port_tsc();
	bool off = false;

	spin_lock(&pm->lock);
	for (u32 i = 0; i < size; i++)
		off |= pm_write8(pm, offset + i, (u8)(value >> (8 * i)), tsc);
	pm_update(pm, tsc);
	line_unlock(&pm->line, &pm->lock);
	if (off)
		guest_exit_poweroff(pm->vm);
}

static const struct bus_ops pm_ops = {pm_read, pm_write};

void pm_init(struct pm *pm, struct vm *vm)
{
	pm->vm = vm;
	pm->base_tsc = port_tsc();
	pm->deadline = TSC_NEVER;
	timer_init(&pm->timer, pm_timer_fire);
	line_init(&pm->line, vm, LAYOUT_SCI_IRQ);
	bus_register(&vm->io, vm->rom.size ? LAYOUT_PM_FIRMWARE : LAYOUT_PM_BASE, LAYOUT_PM_SIZE,
	             &pm_ops, pm);
}

void pm_destroy(struct pm *pm)
{
	spin_lock(&pm->lock);
	pm->deadline = TSC_NEVER;
	timer_cancel(&pm->timer);
	spin_unlock(&pm->lock);
}

void pm_poll(struct pm *pm)
{
	if (spin_trylock(&pm->lock))
		line_unlock(&pm->line, &pm->lock);
}
