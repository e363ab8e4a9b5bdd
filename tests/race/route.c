/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A device changes its line while the routing table changes under it (irq/route.c). Two actors over
 * the real code:
 *
 *   device   irq_set_line(): the line falls, or rises, for good
 *   wiring   route_set(): the line moves from one pin of the I/O APIC to another
 *
 * Afterwards the new pin has the line's level, and the old one nothing.
 */
#include "tests/race/scenarios.h"
#include "tests/race/stage.h"

#include "posix.h"

#define GSI     16 /* beyond the 8259's */
#define OLD_PIN 16
#define NEW_PIN 17

static struct vm *vm;

static void setup(void)
{
	const struct vm_config config = {.vcpus = 1, .memory = 16ull << 20};

	vm = stage_vm(2, 0, &config);
}

static void setup_high(void)
{
	setup();
	irq_set_line(vm, GSI, true);
}

static void falling(void)
{
	irq_set_line(vm, GSI, false);
}

static void rising(void)
{
	irq_set_line(vm, GSI, true);
}

static void wiring(void)
{
	const struct route_entry entry = {.gsi = GSI, .kind = ROUTE_IOAPIC, .input = NEW_PIN};

	if (!route_set(vm, &entry, 1))
		posix_fail("the table was refused");
}

static const char *check_low(void)
{
	return vm->ioapic.lines ? "the line is low, a pin is high" : NULL;
}

static const char *check_high(void)
{
	if (vm->ioapic.lines & BIT(OLD_PIN))
		return "the old pin is still high";
	return vm->ioapic.lines == BIT(NEW_PIN) ? NULL : "the line is high, its pin is low";
}

const struct race_scenario race_route_fall = {
        .name = "a line falls while it is routed elsewhere: no pin stays high",
        .setup = setup_high,
        .actor = {falling, wiring},
        .cpu = {0, 1},
        .check = check_low,
};

const struct race_scenario race_route_rise = {
        .name = "a line rises while it is routed elsewhere: the new pin is high",
        .setup = setup,
        .actor = {rising, wiring},
        .cpu = {0, 1},
        .check = check_high,
};
