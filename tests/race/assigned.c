/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A message of an assigned device against the whole run loop of a vCPU that goes to sleep (vmx/posted.c), and against
 * what changes the message's way: that the device is assigned, that acceleration goes off and comes back
 * (irq/assigned.h). By an IOMMU whose every access of memory is a step. IPIs are not virtualized, so it is for the device
 * alone that the vCPU can be found; no timer helps, so a wake-up that is lost is a deadlock.
 *
 * Wrong are: an IOMMU that sets ON before the request; assigning a device without waking those who sleep; entries that
 * stay posted while acceleration is off.
 */
#include "tests/race/scenarios.h"
#include "tests/race/stage.h"

#include "core/machine.h"
#include "cpu_model/model.h"
#include "irq/lapic_priv.h"
#include "posix.h"
#include "postern/port.h"
#include "vmx/vmx.h"

#define VECTOR  0x41
#define SOURCE  0x0120
#define ADDRESS 0xfee00000u

static struct vm *vm;
static struct vcpu *target;
static struct assigned *device; /* in the arena */

/* Accelerated, about to be entered for the first time. */
static void create(guest_script script)
{
	vm = stage_loop_accelerated(MODEL_BROADWELL, script, VECTOR);
	target = vm->vcpu[0];
	device = port_alloc(sizeof(*device), CACHE_LINE);
	ASSERT(device);
	/* The others only act: what the IOMMU remaps goes to the one that runs vCPUs. */
	port_machine()->cpu_count = 1;
}

static void setup(void)
{
	create(stage_sleep);
}

static void assign(void)
{
	if (!assigned_add(device, vm, SOURCE))
		posix_fail("the device is not assigned");
	assigned_program(device, true, ADDRESS, VECTOR);
}

static void setup_assigned(void)
{
	setup();
	assign();
	ASSERT(device->to == target);
	atomic32_set(&target->requests, 0);
}

/* By way of the host: its handler notes it, and somebody has to look. */
static void setup_remapped(void)
{
	create(stage_spin);
	port_machine()->iommu_posting = false;
	assign();
	ASSERT(device->present && !device->to);
	atomic32_set(&target->requests, 0);
}

/* Nothing follows it. */
static void setup_forgotten(void)
{
	setup_assigned();
	vm->assigned.list = NULL;
}

/* --- actors --- */

static void message(void)
{
	if (vtd_message(&model()->vtd, SOURCE, device->host_address, device->host_data))
		posix_fail("the message was refused");
}

/* As vtd_message(), the wrong way round. */
static void message_marks_first(void)
{
	struct accel_requests *apart = &target->accel.apart;
	u64 control = atomic64_fetch_or(&apart->control, PI_ON);

	if (!(control & PI_ON))
		port_send_ipi(PI_NDST(control), PI_NV(control));
	atomic64_fetch_or(&apart->word[VECTOR / 64], BIT64(VECTOR % 64));
}

static void assign_and_message(void)
{
	assign();
	message();
}

/* As assigned_add() without its requests. */
static void assign_silently(void)
{
	*device = (struct assigned){.vm = vm, .source = SOURCE};
	if (!vmx_vtd_ops.attach(device))
		posix_fail("the device is not assigned");
	port_machine()->assigned[device->slot] = device;
	atomic32_fetch_add(&vm->assigned.count, 1);
	vm->assigned.list = device;
	assigned_program(device, true, ADDRESS, VECTOR);
	message();
}

static void inhibit_and_message(void)
{
	stage_off();
	message();
}

#define SLEEPS(id, what, prepare, other, most)                                                     \
	const struct race_scenario id = {                                                          \
	        .name = what,                                                                      \
	        .setup = prepare,                                                                  \
	        .begin = stage_begin,                                                              \
	        .actor = {stage_processor, other},                                                 \
	        .cpu = {0, 1},                                                                     \
	        .preemptions = most,                                                               \
	        .check = stage_check_handled,                                                      \
	}

SLEEPS(race_assigned_sleep, "assigned: a device's message meets a vCPU that goes to sleep",
       setup_assigned, message, 0);
SLEEPS(race_assigned_marks_first, "assigned: an IOMMU that sets ON before the request",
       setup_assigned, message_marks_first, 3);
SLEEPS(race_assigned_late, "assigned: assigning a device meets a vCPU that goes to sleep", setup,
       assign_and_message, 3);
SLEEPS(race_assigned_silently, "assigned: nobody who sleeps is told of the device", setup,
       assign_silently, 2);
SLEEPS(race_assigned_off, "assigned: a message behind acceleration meets a vCPU that goes to sleep",
       setup_assigned, inhibit_and_message, 3);
SLEEPS(race_assigned_remapped, "assigned: a message by way of the host meets VM entry",
       setup_remapped, message, 0);
SLEEPS(race_assigned_forgotten, "assigned: entries that do not follow the inhibits",
       setup_forgotten, inhibit_and_message, 2);

const struct race_scenario race_assigned_toggle = {
        .name = "assigned: a message meets switching off and on and a vCPU that goes to sleep",
        .setup = setup_assigned,
        .begin = stage_begin,
        .actor = {stage_processor, message, stage_off_and_on},
        .cpu = {0, 1, 2},
        .preemptions = 1,
        .check = stage_check_handled,
};
