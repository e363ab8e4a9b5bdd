/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Device lines to interrupt controllers. A line reaches the 8259 pair and the I/O APIC at once, as
 * on a board; which of them interrupts is for the guest to choose by their masks and by LVT0. A
 * GSI beyond a board's lines is usually a message.
 *
 * A line has one source, and a controller's input one line (no sharing): its device serialises the
 * changes of its level, usually by calling under its own lock, which therefore comes before the
 * controllers' in docs/locking.md. The controllers are told one after the other and never hold each
 * other's lock.
 *
 * The table can be replaced while lines change. Nobody may be left behind with a level that its
 * line no longer has:
 *
 *      device (orders its own changes)       route_set()
 *      -------------------------------       -----------
 *      1 level = new                         a publish the new table
 *      2 hold the table, tell its            b wait until nobody holds the old one
 *        destinations, release               c old destinations fall
 *                                            d l = level, tell the new destinations l
 *                                            e level still l? done, else d
 *
 * A device that used the old table has finished before c undoes what it did. One that uses the new
 * one may cross d; if its 1 came after d's look, e sees that and tells the newest level again. A
 * level that changed twice in between is told as it is in the end. So a rise may be told twice,
 * which is an interrupt more; none is lost and none stays.
 */
#include "irq/route.h"

#include "core/vm.h"
#include "irq/eoi_exit.h"
#include "irq/extint.h"
#include "postern/port.h"
#include "postern/string.h"
#include "x86/apic.h"

#define ROUTE_NONE     0xff
#define ROUTE_ISA_IRQS 16
#define ROUTE_CASCADE  2 /* the 8259s' own connection: no device can have it */
#define ROUTE_TIMER    2 /* the I/O APIC's pin for IRQ 0 */
#define ROUTE_INTR     0 /* the I/O APIC's pin that the 8259s' INTR is wired to */

struct route {
	u8 pic; /* 8259 input, ROUTE_NONE: none */
	u8 pin; /* I/O APIC pin, ROUTE_NONE: none */
	bool msi;
	u32 data;
	u64 address;
};

struct route_table {
	struct route route[ROUTE_GSIS];
};

/* --- building --- */

static bool add_input(u8 *slot, u32 input, u32 *used)
{
	if (*slot != ROUTE_NONE || (*used & BIT(input)))
		return false;
	*slot = (u8)input;
	*used |= BIT(input);
	return true;
}

static bool fill(struct route_table *table, const struct route_entry *entries, u32 count)
{
	u32 pins = BIT(ROUTE_INTR), inputs = BIT(ROUTE_CASCADE);

	memset(table, 0, sizeof(*table));
	for (u32 i = 0; i < ROUTE_GSIS; i++)
		table->route[i].pic = table->route[i].pin = ROUTE_NONE;
	for (u32 i = 0; i < count; i++) {
		const struct route_entry *entry = &entries[i];
		struct route *route;

		if (entry->gsi >= ROUTE_GSIS)
			return false;
		route = &table->route[entry->gsi];
		switch (entry->kind) {
		case ROUTE_PIC:
			if (entry->input >= ROUTE_ISA_IRQS ||
			    !add_input(&route->pic, entry->input, &inputs))
				return false;
			break;
		case ROUTE_IOAPIC:
			if (entry->input >= IOAPIC_PINS ||
			    !add_input(&route->pin, entry->input, &pins))
				return false;
			break;
		case ROUTE_MSI:
			if (route->msi)
				return false;
			route->msi = true;
			route->address = entry->address;
			route->data = entry->data;
			break;
		default:
			return false;
		}
	}
	return true;
}

/* --- telling the destinations --- */

static void tell(struct vm *vm, const struct route *route, bool level)
{
	if (route->pic != ROUTE_NONE)
		extint_set_line(vm, route->pic, level);
	if (route->pin != ROUTE_NONE)
		ioapic_set_line(vm, route->pin, level);
}

static bool line_level(const struct route_slot *slot, u32 gsi)
{
	return atomic32_read(&slot->level[gsi / 32]) & BIT(gsi % 32);
}

/* Returns what it was. */
static bool set_level(struct route_slot *slot, u32 gsi, bool level)
{
	struct atomic32 *word = &slot->level[gsi / 32];
	u32 bit = BIT(gsi % 32);

	return (level ? atomic32_fetch_or(word, bit) : atomic32_fetch_and(word, ~bit)) & bit;
}

void irq_set_line(struct vm *vm, u32 gsi, bool level)
{
	struct route_slot *slot = &vm->routes;
	bool was;
	u32 i;

	if (gsi >= ROUTE_GSIS)
		return;
	was = set_level(slot, gsi, level);
	i = publish_get(&slot->publish);
	if (i == PUBLISH_COPIES)
		return;
	tell(vm, &slot->copy[i]->route[gsi], level);
	if (slot->copy[i]->route[gsi].msi && level && !was)
		msi_deliver(vm, slot->copy[i]->route[gsi].address, slot->copy[i]->route[gsi].data);
	publish_put(&slot->publish, i);
}

void irq_pulse_line(struct vm *vm, u32 gsi)
{
	struct route_slot *slot = &vm->routes;
	const struct route *route;
	u32 i;

	if (gsi >= ROUTE_GSIS)
		return;
	set_level(slot, gsi, true);
	i = publish_get(&slot->publish);
	if (i == PUBLISH_COPIES)
		return;
	route = &slot->copy[i]->route[gsi];
	if (route->pic != ROUTE_NONE)
		extint_pulse_line(vm, route->pic);
	if (route->pin != ROUTE_NONE) {
		ioapic_set_line(vm, route->pin, false);
		ioapic_set_line(vm, route->pin, true);
	}
	if (route->msi)
		msi_deliver(vm, route->address, route->data);
	publish_put(&slot->publish, i);
}

bool irq_is_unserved(struct vm *vm, u32 gsi)
{
	struct route_entry entry;

	return (route_find(vm, gsi, ROUTE_PIC, &entry) && extint_is_unserved(vm, entry.input)) ||
	       (route_find(vm, gsi, ROUTE_IOAPIC, &entry) && ioapic_is_unserved(vm, entry.input));
}

/* --- the table --- */

bool route_find(struct vm *vm, u32 gsi, enum route_kind kind, struct route_entry *entry)
{
	struct route_slot *slot = &vm->routes;
	struct route route;
	u32 i;

	if (gsi >= ROUTE_GSIS)
		return false;
	i = publish_get(&slot->publish);
	if (i == PUBLISH_COPIES)
		return false;
	route = slot->copy[i]->route[gsi];
	publish_put(&slot->publish, i);
	*entry = (struct route_entry){
	        .gsi = gsi,
	        .kind = kind,
	        .input = kind == ROUTE_PIC ? route.pic : route.pin,
	        .address = route.address,
	        .data = route.data,
	};
	return kind == ROUTE_MSI ? route.msi : entry->input != ROUTE_NONE;
}

void route_level_vectors(struct vcpu *vcpu, u64 vectors[4])
{
	struct route_slot *slot = &vcpu->vm->routes;
	u32 i = publish_get(&slot->publish);

	if (i == PUBLISH_COPIES)
		return;
	for (u32 gsi = 0; gsi < ROUTE_GSIS; gsi++) {
		const struct route *route = &slot->copy[i]->route[gsi];
		struct irq_message message;

		if (!route->msi || !msi_decode(vcpu->vm, route->address, route->data, &message))
			continue;
		if (message.level &&
		    (apic_map_destinations(vcpu->vm, &message) & BIT64(vcpu->index)))
			vectors[message.vector / 64] |= BIT64(message.vector % 64);
	}
	publish_put(&slot->publish, i);
}

/* What of `old` is not in `new`. */
static struct route left_behind(const struct route *old, const struct route *new)
{
	struct route left = *old;

	if (old->pic == new->pic)
		left.pic = ROUTE_NONE;
	if (old->pin == new->pin)
		left.pin = ROUTE_NONE;
	return left;
}

/* Steps c to e above; all falls before the first rise, since destinations may change hands. */
static void move_lines(struct vm *vm, const struct route *old, const struct route *new)
{
	for (u32 gsi = 0; gsi < ROUTE_GSIS; gsi++) {
		struct route left = left_behind(&old[gsi], &new[gsi]);

		tell(vm, &left, false);
	}
	for (u32 gsi = 0; gsi < ROUTE_GSIS; gsi++) {
		struct route joined = left_behind(&new[gsi], &old[gsi]);
		bool level;

		if (joined.pic == ROUTE_NONE && joined.pin == ROUTE_NONE)
			continue;
		do {
			level = line_level(&vm->routes, gsi);
			tell(vm, &joined, level);
		} while (line_level(&vm->routes, gsi) != level);
	}
}

bool route_set(struct vm *vm, const struct route_entry *entries, u32 count)
{
	struct route_slot *slot = &vm->routes;
	u32 i = publish_begin(&slot->publish);
	u32 before = atomic32_read(&slot->publish.current);
	bool valid = fill(slot->copy[i], entries, count);

	if (valid) {
		publish_commit(&slot->publish, i);
		publish_drain(&slot->publish);
		if (before)
			move_lines(vm, slot->copy[before - 1]->route, slot->copy[i]->route);
	}
	publish_end(&slot->publish);
	if (valid)
		eoi_exit_changed(vm);
	return valid;
}

/*
 * The I/O APIC's pin 2 is free for the timer because no device has IRQ 2. ACPI tells the guest by
 * an interrupt source override (IRQ 0 is GSI 2): see platform/'s tables. Pin 0 is the 8259s' INTR:
 * irq/extint.c.
 */
void route_set_isa(struct vm *vm)
{
	struct route_entry entries[ROUTE_ISA_IRQS + IOAPIC_PINS];
	u32 count = 0;

	for (u32 gsi = 0; gsi < IOAPIC_PINS; gsi++) {
		if (gsi == ROUTE_CASCADE)
			continue;
		if (gsi < ROUTE_ISA_IRQS)
			entries[count++] = (struct route_entry){gsi, ROUTE_PIC, gsi, 0, 0};
		entries[count++] =
		        (struct route_entry){gsi, ROUTE_IOAPIC, gsi ? gsi : ROUTE_TIMER, 0, 0};
	}
	route_set(vm, entries, count);
}

bool route_create(struct vm *vm)
{
	struct route_slot *slot = &vm->routes;

	for (u32 i = 0; i < PUBLISH_COPIES; i++) {
		slot->copy[i] = port_alloc(sizeof(struct route_table), CACHE_LINE);
		if (!slot->copy[i]) {
			route_destroy(vm);
			return false;
		}
	}
	route_set_isa(vm);
	return true;
}

void route_destroy(struct vm *vm)
{
	struct route_slot *slot = &vm->routes;

	atomic32_set(&slot->publish.current, 0);
	for (u32 i = 0; i < PUBLISH_COPIES; i++) {
		if (slot->copy[i])
			port_free(slot->copy[i], sizeof(struct route_table));
		slot->copy[i] = NULL;
	}
}
