/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kick handshake of core/vcpu.h over the whole run loop: one processor runs cpu_main() with a
 * vCPU whose guest enables interrupts and then spins; another accepts an interrupt for it, at any
 * step from the scheduler's first choice to the guest's loop. The guest must take it, by itself: no
 * timer helps. Its handler ends the VM, and the processor leaves. If the interrupt were lost, all
 * would stand still, and the explorer calls that a deadlock.
 */
#include "tests/race/scenarios.h"
#include "tests/race/stage.h"

#include "cpu_model/model.h"
#include "x86/apic.h"

#define VECTOR 0x41

static struct vm *vm;

static void set_up(u32 features)
{
	const struct vm_config config = {.vcpus = 1, .memory = 16ull << 20, .x2apic = true};

	vm = stage_vm(2, features, &config);
	stage_guest(vm, stage_spin);
	lapic_mmio_write(vm->vcpu[0], APIC_SVR, 4, APIC_SVR_ENABLE | 0xff);
	g_set_handler(VECTOR, stage_handler);
	vm_start(vm);
}

static void setup(void)
{
	set_up(MODEL_BARCELONA);
}

static void setup_vmx(void)
{
	set_up(MODEL_WESTMERE);
}

static void requester(void)
{
	stage_accept(vm->vcpu[0], VECTOR);
}

const struct race_scenario race_kick = {
        .name = "interrupt meets VM entry: the guest takes it",
        .setup = setup,
        .begin = stage_begin,
        .actor = {stage_processor, requester},
        .cpu = {0, 1},
        .check = stage_check_handled,
};

const struct race_scenario race_kick_vmx = {
        .name = "interrupt meets VM entry, VMX: the guest takes it",
        .setup = setup_vmx,
        .begin = stage_begin,
        .actor = {stage_processor, requester},
        .cpu = {0, 1},
        .check = stage_check_handled,
};
