/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kick handshake of core/vcpu.h over the whole run loop: one processor runs cpu_main() with a
 * vCPU whose guest enables interrupts and then spins; another accepts an interrupt for it, at any
 * step from the scheduler's first choice to the guest's loop. The guest must take it, by itself: no
 * timer helps. Its handler ends the VM, and the processor leaves. If the interrupt were lost, all
 * would stand still, and the explorer calls that a deadlock.
 */
#include "tests/race/scenarios.h"

#include "core/machine.h"
#include "core/vm.h"
#include "cpu_model/guest.h"
#include "cpu_model/model.h"
#include "posix.h"
#include "platform/longmode.h"
#include "platform/platform.h"
#include "postern/port.h"
#include "x86/apic.h"

#define ENTRY  0x30000u
#define VECTOR 0x41

static struct vm *vm;
static u32 handled;

static void handler(u8 vector __unused, u32 error __unused)
{
	handled++;
	g_out(PLATFORM_DEBUG_EXIT_PORT, 0, 4);
}

static void script(void *arg __unused)
{
	g_sti();
	for (;;)
		g_pause();
}

static void set_up(u32 features)
{
	const struct vm_config config = {.vcpus = 1, .memory = 16ull << 20, .x2apic = true};
	const char *why = "";

	posix_machine_reset(&(struct posix_config){.cpus = 2}, features);
	if (!machine_init(port_machine(), &why))
		port_panic("machine_init: %s", why);
	vm = vm_create(port_machine(), &config);
	ASSERT(vm && platform_create(vm) && longmode_start(vm, ENTRY));
	lapic_mmio_write(vm->vcpu[0], APIC_SVR, 4, APIC_SVR_ENABLE | 0xff);
	guest_bind(ENTRY, script, NULL);
	g_set_handler(VECTOR, handler);
	vm_start(vm);
	/* Housekeeping's timer would repair what is lost. */
	port_machine()->housekeeping_due = TSC_NEVER - 1;
}

static void setup(void)
{
	set_up(MODEL_BARCELONA);
}

static void setup_vmx(void)
{
	set_up(MODEL_WESTMERE);
}

static void begin(void)
{
	handled = 0;
}

static void processor(void)
{
	cpu_main(this_cpu());
}

static void requester(void)
{
	if (!lapic_accept(&vm->vcpu[0]->lapic, VECTOR, false, IRQ_SOURCE_MSI))
		posix_fail("the interrupt was not accepted");
}

static const char *check(void)
{
	if (handled != 1)
		return "the guest's handler has not run once";
	return atomic32_read(&vm->ended) == ENDED_DEBUG_EXIT ? NULL : "the VM has not ended";
}

const struct race_scenario race_kick = {
        .name = "interrupt meets VM entry: the guest takes it",
        .setup = setup,
        .begin = begin,
        .actor = {processor, requester},
        .cpu = {0, 1},
        .check = check,
};

const struct race_scenario race_kick_vmx = {
        .name = "interrupt meets VM entry, VMX: the guest takes it",
        .setup = setup_vmx,
        .begin = begin,
        .actor = {processor, requester},
        .cpu = {0, 1},
        .check = check,
};
