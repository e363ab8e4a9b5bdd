/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vCPU 0 sends the others interrupts, who spin or sleep, and looks at what exits for them: posted_test.c and
 * ipiv_test.c. Scripts run on the stepper, in one thread with the hypervisor, and so look at its state between two
 * operations.
 */
#ifndef TESTS_MODEL_POSTED_GUEST_H
#define TESTS_MODEL_POSTED_GUEST_H

#include "core/machine.h"
#include "irq/inhibit.h"
#include "tests/model/harness.h"
#include "x86/vmx_apic.h"

#define VECTOR 0x61 /* and the target's number */
#define ROUNDS 20
#define MOST   6 /* vCPUs */

static u32 taken[MOST];
static bool up[MOST];
static bool sleeps;                /* the others do, between two interrupts */
static void (*orders[MOST])(void); /* for them; NULL when it is done */
static void (*body)(void);         /* vCPU 0's */
static u64 noted[MOST];            /* exits */

static struct vcpu *vcpu(u32 v)
{
	return harness_vm->vcpu[v];
}

static struct pi_desc *desc(u32 v)
{
	return (struct pi_desc *)(void *)&vcpu(v)->accel.apart;
}

static bool is_on(u32 v)
{
	return accel_is_on(&vcpu(v)->accel);
}

/* All of them, of whatever kind. */
static u64 exits_of(u32 v)
{
	u64 sum = 0;

	for (u32 kind = 0; kind < EXIT_KIND_COUNT; kind++)
		sum += counter_read(&vcpu(v)->account.exits[kind]);
	return sum;
}

static u64 counter_of(u32 v, enum counter_id id)
{
	return counter_read(&vcpu(v)->account.counters[id]);
}

/* What the processors have done by themselves, or the assist: accounts are told when turns end. */
static __unused u64 hw(enum hw_count which)
{
	struct model_cpu *own = posix_current();
	u64 sum = 0;

	for (u32 i = 0; i < model()->cpu_count; i++) {
		posix_set_current(&model()->cpu[i]);
		sum += port_hw_counts()[which];
	}
	posix_set_current(own);
	return sum;
}

static void note(void)
{
	for (u32 v = 0; v < harness_vm->vcpu_count; v++)
		noted[v] = exits_of(v);
}

static void expect_exits(u32 v, u64 n)
{
	G_CHECK_EQUAL(exits_of(v) - noted[v], n);
}

static void handler(u8 vector, u32 error __unused)
{
	taken[vector - VECTOR]++;
	g_apic_eoi();
}

/* Which vCPU runs the script, by its APIC's ID. */
static u32 own_number(void)
{
	u32 id = g_apic_read(APIC_ID), v = 0;

	if (harness.xapic)
		id >>= 24;
	while (vcpu(v)->apic_id != id)
		v++;
	return v;
}

static void target(void *arg __unused)
{
	u32 v;

	g_apic_enable();
	g_apic_read(APIC_TPR); /* the first access maps the page */
	v = own_number();
	g_sti();
	for (up[v] = true;;) {
		if (orders[v]) {
			orders[v]();
			orders[v] = NULL;
		}
		if (sleeps)
			g_hlt();
		else
			g_pause();
	}
}

static void first(void *arg __unused)
{
	g_apic_enable();
	g_apic_read(APIC_TPR);
	for (u32 v = 0; v < harness_vm->vcpu_count; v++)
		g_set_handler((u8)(VECTOR + v), handler);
	g_start_aps();
	for (u32 v = 1; v < harness_vm->vcpu_count; v++)
		while (!up[v])
			g_pause();
	body();
	g_exit(0);
}

/* By a single IPI; does not wait. */
static void send(u32 v)
{
	g_apic_icr(v, APIC_LEVEL_ASSERT | (VECTOR + v));
}

static void await_taken(u32 v, u32 count)
{
	while (taken[v] < count)
		g_pause();
	G_CHECK_EQUAL(taken[v], count);
}

static void ping(u32 v)
{
	u32 before = taken[v];

	send(v);
	await_taken(v, before + 1);
}

static void await_asleep(u32 v)
{
	while (atomic32_read(&vcpu(v)->sched_state) != VCPU_BLOCKED ||
	       vcpu(v)->activity != VCPU_HALTED)
		g_pause();
}

static __unused void do_on(u32 v, void (*order)(void))
{
	orders[v] = order;
	while (orders[v])
		g_pause();
}

/* --- the host switches acceleration: a run's `device` --- */

static bool wanted_off, is_off;

static __unused void switcher(void)
{
	for (; !vm_has_ended(harness_vm); race_relax()) {
		if (wanted_off == is_off)
			continue;
		inhibit_change(harness_vm, INHIBIT_BIT(STORM), wanted_off ? INHIBIT_BIT(STORM) : 0);
		is_off = wanted_off;
	}
}

static __unused void switch_off(bool off)
{
	wanted_off = off;
	while (is_off != off)
		g_pause();
}

/* --- a run --- */

static void create(const struct harness *config, bool xapic, void (*script)(void))
{
	struct harness one = *config;

	one.xapic = xapic;
	if (!one.vcpus)
		one.vcpus = 2;
	if (!one.cpus)
		one.cpus = one.vcpus + (one.device ? 1 : 0);
	memset(taken, 0, sizeof(taken));
	memset(up, 0, sizeof(up));
	memset(orders, 0, sizeof(orders));
	wanted_off = is_off = false;
	body = script;
	harness_create(&one);
	guest_bind(HARNESS_BSP, first, NULL);
	guest_bind(HARNESS_AP, target, NULL);
}

static void run_on(struct harness config, const char *processor, void (*script)(void))
{
	config.processor = processor;
	for (u32 xapic = 0; xapic < 2; xapic++) {
		create(&config, xapic, script);
		harness_run();
	}
}

/* In both modes of the APIC; where the processor has it, and where the assist makes up for one that has not. */
static void run(struct harness config, void (*script)(void))
{
	run_on(config, config.processor, script);
	if (!strcmp(config.processor, "broadwell"))
		run_on(config, "assist-broadwell", script);
	if (!strcmp(config.processor, "sapphire-rapids"))
		run_on(config, "assist-sapphire-rapids", script);
}

#endif
