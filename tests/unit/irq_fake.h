/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The world around one interrupt controller under test: a machine with one VM and N vCPUs, a clock
 * that only the test moves, and recorders in the place of everything that is not linked in.
 *
 * Every fake function is weak: a test that links the real module gets the real module.
 */
#ifndef TESTS_UNIT_IRQ_FAKE_H
#define TESTS_UNIT_IRQ_FAKE_H

#include "core/machine.h"

/* Not 1 GHz, so that mixing up nanoseconds and TSC ticks shows. */
#define FAKE_TSC_KHZ    2000000u
#define FAKE_TICKS(ns)  ((u64)(ns)*2)
#define FAKE_MESSAGES   64
#define FAKE_MAXPHYADDR 40

struct fake {
	struct machine *machine;
	struct vm *vm;
	u64 tsc;         /* what port_tsc() returns; starts far from 0 */
	u64 timer_fires; /* by fake_advance_ns() */
	u64 allocated;   /* bytes that port_alloc() has given and not got back */

	u32 requests[MAX_VCPUS]; /* all bits asked for since the last fake_take_requests() */
	u32 request_calls[MAX_VCPUS];

	u32 eoi_count; /* ioapic_eoi() */
	u8 eoi_vector;
	u32 edge_eoi_count; /* ioapic_eoi_edge() */
	bool pic_output;    /* extint_has() */

	bool listening; /* irq_notify_active(), irq_notify_pins(): all of them */
	u32 ended_pins, ended_inputs;
	u32 eoi_exit_changes;

	u32 message_count; /* irq_deliver(), when the real one is not linked */
	struct irq_message message[FAKE_MESSAGES];

	u32 resets; /* vcpu_reset() calls, and the last one's */
	bool reset_was_init;
	struct vcpu_state state[MAX_VCPUS]; /* backend_op(get_state), backend_op(set_state) */
};
extern struct fake fake;

/*
 * A fresh world with `vcpus` vCPUs, APIC ID = index, x2APIC and TSC deadline offered. Local APICs
 * and the APIC-ID map are created if their files are linked in. fake_destroy() checks for leaks.
 */
void fake_create(u32 vcpus);
/* The same with APIC IDs of the test's choice. */
void fake_create_with_ids(u32 vcpus, const u32 *apic_ids);
void fake_destroy(void);

/* Move the clock, firing what comes due on the way, each timer at its deadline. */
void fake_advance_ns(u64 ns);
/* Deadline of an armed timer, TSC_NEVER if idle. */
u64 fake_timer_deadline(const struct timer *timer);

/* Requests of a vCPU since the last call. */
u32 fake_take_requests(struct vcpu *vcpu);

#endif
