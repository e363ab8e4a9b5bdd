/* SPDX-License-Identifier: BSD-2-Clause */
/* How the tests of the local APIC reach it: as guests on the vCPUs of the fake machine do. */
#ifndef TESTS_UNIT_LAPIC_GUEST_H
#define TESTS_UNIT_LAPIC_GUEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/irq_fake.h"
#include "x86/apic.h"
#include "x86/msr.h"

#define X2MSR(offset) (MSR_X2APIC_FIRST + (offset) / 16)
#define SVR_ON        (APIC_SVR_ENABLE | 0xff)

static inline struct vcpu *cpu(u32 i)
{
	return fake.vm->vcpu[i];
}

static inline u32 rd(u32 i, u32 offset)
{
	return (u32)lapic_mmio_read(cpu(i), offset, 4);
}

static inline void wr(u32 i, u32 offset, u32 value)
{
	lapic_mmio_write(cpu(i), offset, 4, value);
}

static inline u64 rdmsr(u32 i, u32 msr)
{
	u64 value = 0;

	assert_true(lapic_msr_read(cpu(i), msr, &value));
	return value;
}

static inline void wrmsr(u32 i, u32 msr, u64 value)
{
	assert_true(lapic_msr_write(cpu(i), msr, value));
}

static inline void refused_read(u32 i, u32 msr)
{
	u64 value;

	assert_false(lapic_msr_read(cpu(i), msr, &value));
}

static inline void refused_write(u32 i, u32 msr, u64 value)
{
	assert_false(lapic_msr_write(cpu(i), msr, value));
}

static inline u64 counter(u32 i, enum counter_id id)
{
	return counter_read(&cpu(i)->account.counters[id]);
}

static inline void enable_all(void)
{
	for (u32 i = 0; i < fake.vm->vcpu_count; i++)
		wr(i, APIC_SVR, SVR_ON);
}

/* cmocka fixtures: four vCPUs with their local APICs enabled; and nothing left behind. */
static inline int four_vcpus(void **state)
{
	(void)state;
	fake_create(4);
	enable_all();
	return 0;
}

static inline int no_vcpus(void **state)
{
	(void)state;
	fake_destroy();
	return 0;
}

static inline void to_x2apic(u32 i)
{
	wrmsr(i, MSR_APIC_BASE, rdmsr(i, MSR_APIC_BASE) | APIC_BASE_EXTD);
}

static inline void accept(u32 i, u8 vector, bool level)
{
	assert_true(lapic_accept(&cpu(i)->lapic, vector, level, IRQ_SOURCE_MSI));
}

/* Bring `vector` into service. */
static inline void serve(u32 i, u8 vector)
{
	accept(i, vector, false);
	assert_int_equal(lapic_deliverable(cpu(i)), vector);
	lapic_ack(cpu(i), vector);
}

static inline bool vector_bit(u32 i, u32 reg, u8 vector)
{
	return lapic_register(&cpu(i)->lapic, reg + vector / 32 * 16) & BIT(vector % 32);
}

#endif
