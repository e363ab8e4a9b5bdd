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

static void waker(void)
{
	stage_accept(vcpu, VECTOR);
}

static void sleeper(void)
{
	stage_fall_asleep(vcpu, sched_block);
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
	stage_fall_asleep(vcpu, block_in_the_wrong_order);
}

static void sleeper_and_processor(void)
{
	stage_fall_asleep_with_processor(vcpu, sched_block);
}

static const char *check(void)
{
	return stage_check_sleep(vcpu, VECTOR);
}

const struct race_scenario race_sleep = {
        .name = "interrupt meets HLT: the vCPU runs or is woken",
        .setup = setup,
        .begin = stage_begin,
        .actor = {sleeper, waker},
        .cpu = {0, 1},
        .check = check,
};

const struct race_scenario race_sleep_processor = {
        .name = "interrupt meets HLT and an idle processor: both wake",
        .setup = setup,
        .begin = stage_begin,
        .actor = {sleeper_and_processor, waker},
        .cpu = {0, 1},
        .check = check,
};

const struct race_scenario race_sleep_wrong = {
        .name = "the two steps of blocking in the wrong order",
        .setup = setup,
        .begin = stage_begin,
        .actor = {wrong_sleeper, waker},
        .cpu = {0, 1},
        .check = check,
};
