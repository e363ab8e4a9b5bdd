/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An interrupt for a vCPU that is going to sleep in HLT is never lost. Two actors over the real
 * code:
 *
 *   sleeper  the processor whose vCPU has executed HLT: requests, then core/sched.c's block path,
 *            and, in the second scenario, on to the processor's own sleep
 *   waker    another processor: irq/lapic.c's lapic_accept() of a fixed interrupt
 *
 * The same two steps of the block path in the other order lose the interrupt; the explorer must
 * find that, or it would prove nothing.
 */
#include "tests/race/scenarios.h"
#include "tests/race/stage.h"

#include "core/machine.h"
#include "core/sched.h"
#include "postern/port.h"
#include "x86/apic.h"

#define VECTOR 0x41

static struct vcpu *vcpu;
static enum {
	UNDECIDED,
	KEPT_RUNNING,
	WENT_TO_SLEEP,
	RUNS_AGAIN
} outcome;

static void setup(void)
{
	const struct vm_config config = {.vcpus = 1, .memory = 16ull << 20, .x2apic = true};
	struct cpu *cpu;
	struct vm *vm;

	vm = stage_vm(2, 0, &config);
	vcpu = vm->vcpu[0];
	cpu = this_cpu();
	/* As it is behind an HLT exit: running, loaded, halted, interrupts on. */
	atomic32_set(&vm->live_vcpus, 1);
	atomic32_set(&vcpu->sched_state, VCPU_RUNNING);
	atomic32_set(&vcpu->on_cpu, 1);
	vcpu->cpu = cpu;
	cpu->current = cpu->loaded = vcpu;
	vcpu->activity = VCPU_HALTED;
	vcpu->regs.rflags |= RFLAGS_IF;
	lapic_mmio_write(vcpu, APIC_SVR, 4, APIC_SVR_ENABLE | 0xff);
}

static void begin(void)
{
	outcome = UNDECIDED;
}

static void waker(void)
{
	stage_accept(vcpu, VECTOR);
}

/* The part of the run loop behind an HLT exit. `block` is sched_block() or the wrong one. */
static void fall_asleep(bool (*block)(struct vcpu *v))
{
	for (;;) {
		vcpu_handle_requests(vcpu);
		if (intr_has_deliverable(vcpu)) {
			outcome = KEPT_RUNNING;
			return;
		}
		if (block(vcpu)) {
			outcome = WENT_TO_SLEEP;
			return;
		}
	}
}

static void sleeper(void)
{
	fall_asleep(sched_block);
}

/* sched_block() with its two steps exchanged: looks first, publishes afterwards. */
static bool block_in_the_wrong_order(struct vcpu *v)
{
	struct cpu *cpu = this_cpu();

	cpu->current = NULL;
	if (vcpu_has_work(v) || sched_block_recheck(v)) {
		cpu->current = v;
		return false;
	}
	sched_block_publish(v);
	return true;
}

static void wrong_sleeper(void)
{
	fall_asleep(block_in_the_wrong_order);
}

/* ... and the processor itself goes to sleep, until there is a vCPU to run. */
static void sleeper_and_processor(void)
{
	struct cpu *cpu = this_cpu();

	fall_asleep(sched_block);
	if (outcome == KEPT_RUNNING)
		return;
	while (sched_pick(cpu) != vcpu)
		sched_idle(cpu);
	outcome = RUNS_AGAIN;
}

static const char *check(void)
{
	u32 state = atomic32_read(&vcpu->sched_state);
	struct cpu *cpu = vcpu->cpu;

	if (lapic_deliverable(vcpu) != VECTOR)
		return "the interrupt is no longer pending";
	switch (outcome) {
	case KEPT_RUNNING:
	case RUNS_AGAIN:
		if (state != VCPU_RUNNING || cpu->current != vcpu)
			return "the vCPU runs, but is not marked so";
		return cpu->rq.head ? "the vCPU runs and is on a queue as well" : NULL;
	case WENT_TO_SLEEP:
		if (state == VCPU_BLOCKED)
			return "the vCPU sleeps with an interrupt pending: lost wake-up";
		if (state != VCPU_RUNNABLE || cpu->rq.head != vcpu)
			return "the vCPU was woken, but is on no queue";
		return NULL;
	default:
		return "the sleeper did not decide";
	}
}

const struct race_scenario race_sleep = {
        .name = "interrupt meets HLT: the vCPU runs or is woken",
        .setup = setup,
        .begin = begin,
        .actor = {sleeper, waker},
        .cpu = {0, 1},
        .check = check,
};

const struct race_scenario race_sleep_processor = {
        .name = "interrupt meets HLT and an idle processor: both wake",
        .setup = setup,
        .begin = begin,
        .actor = {sleeper_and_processor, waker},
        .cpu = {0, 1},
        .check = check,
};

const struct race_scenario race_sleep_wrong = {
        .name = "the two steps of blocking in the wrong order",
        .setup = setup,
        .begin = begin,
        .actor = {wrong_sleeper, waker},
        .cpu = {0, 1},
        .check = check,
};
