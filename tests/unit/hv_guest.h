/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fake machine of lapic_guest.h with Hyper-V's interface on all vCPUs and a little memory, and how
 * the tests of that interface reach it. What stands in for the rest of the machine: hv_fake.c.
 */
#ifndef TESTS_UNIT_HV_GUEST_H
#define TESTS_UNIT_HV_GUEST_H

#include <string.h>

#include "core/hv.h"
#include "core/hv_call.h"
#include "core/hv_time.h"
#include "tests/unit/lapic_guest.h"

#define HV_RAM      0x100000ull /* the guest's memory begins here */
#define HV_RAM_SIZE (8 * PAGE_SIZE)
#define MESSAGES(i) (HV_RAM + (i)*PAGE_SIZE) /* pages of vCPU i, of two at most */
#define FLAGS(i)    (HV_RAM + (2 + (i)) * PAGE_SIZE)
#define OTHER_PAGE  (HV_RAM + 4 * PAGE_SIZE)
#define NO_RAM      0xfd000000ull
#define UNITS(ms)   ((u64)(ms)*HV_TIME_PER_MS)
#define SINT        2
#define SINT_VECTOR 0x51

struct hv_fake {
	u8 ram[HV_RAM_SIZE];
	u32 sets, clears; /* inhibit_set(), inhibit_clear() */
	u32 standing;     /* of inhibits */
	u32 code_mode;    /* emulate_code_mode() */
	enum ending ended;
};
extern struct hv_fake hv_fake;

/* As fake_create() and fake_destroy(), with APICs enabled in xAPIC mode. */
void hv_fake_create(u32 vcpus);
void hv_fake_destroy(void);

static inline u64 hv_rd(u32 i, u32 msr)
{
	u64 value = 0;

	assert_true(hv_is_msr(cpu(i), msr));
	assert_true(hv_msr_read(cpu(i), msr, &value));
	return value;
}

static inline void hv_wr(u32 i, u32 msr, u64 value)
{
	assert_true(hv_is_msr(cpu(i), msr));
	assert_true(hv_msr_write(cpu(i), msr, value));
}

static inline void hv_refused_read(u32 i, u32 msr)
{
	u64 value;

	assert_false(hv_msr_read(cpu(i), msr, &value));
}

static inline void hv_refused_write(u32 i, u32 msr, u64 value)
{
	assert_false(hv_msr_write(cpu(i), msr, value));
}

/* SynIC on, both pages in place. */
static inline void hv_synic_on(u32 i)
{
	hv_wr(i, MSR_HV_SCONTROL, HV_SCONTROL_ENABLE);
	hv_wr(i, MSR_HV_SIMP, MESSAGES(i) | HV_PAGE_ENABLE);
	hv_wr(i, MSR_HV_SIEFP, FLAGS(i) | HV_PAGE_ENABLE);
}

static inline void *hv_ram(u64 gpa)
{
	return hv_fake.ram + (gpa - HV_RAM);
}

static inline struct hv_message *hv_slot(u32 i, u32 sint)
{
	return hv_ram(MESSAGES(i) + sint * HV_MESSAGE_SIZE);
}

/* The vector that the vCPU takes next, acknowledged; -1: none. */
static inline int hv_take(u32 i)
{
	int vector = lapic_deliverable(cpu(i));

	if (vector >= 0)
		lapic_ack(cpu(i), (u8)vector);
	return vector;
}

/* What the vCPU's processor does before an entry. */
static inline void hv_requests(u32 i)
{
	if (fake_take_requests(cpu(i)) & VCPU_REQUEST_STIMER)
		stimer_expired(cpu(i));
}

/* Time passes for vCPU 0, `units` of 100 ns. */
static inline void hv_advance(u64 units)
{
	fake_advance_ns(units * HV_TIME_NS);
	hv_requests(0);
}

#endif
