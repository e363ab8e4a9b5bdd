/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The APIC-ID map: from what a message says about its destination to a set of vCPUs, in a constant
 * number of loads. Immutable once published; a change of ID, LDR, DFR, mode or enable of any APIC
 * builds the next one.
 *
 * The rules (SDM volume 3 "Determining IPI Destination", "Logical Destination Mode in x2APIC
 * Mode"):
 *  - Each APIC compares by its own mode and DFR. So the tables keep apart APICs in xAPIC and x2APIC
 *    mode, flat and cluster model, and a lookup joins what each table says: mixed machines need no
 *    special case. Every entry is a set, so neither do two APICs with one ID.
 *  - An APIC in xAPIC mode sees the low 8 bits of a destination. FFh means everybody to it.
 *  - An APIC in x2APIC mode compares all 32 bits; of a sender with 8 bits the others are 0.
 * FFFFFFFFh means everybody, and so does FFh from senders that have only 8 bits.
 *  - Logical IDs in x2APIC mode follow from the ID: cluster 19:4 of it, bit 3:0. Those that differ above
 *    bit 19 only share one.
 *  - An APIC disabled by hardware is no destination.
 *
 * Readers take no lock and wait for nobody: irq/publish.h.
 */
#include "irq/route.h"

#include "core/vm.h"
#include "irq/eoi_exit.h"
#include "irq/lapic_priv.h"
#include "postern/port.h"
#include "postern/string.h"

#define SMALL_IDS  256
#define LOGICAL_ID 0xfffffu /* what of an ID its logical ID is made of */

struct apic_map {
	u64 all; /* enabled by hardware */
	u64 software_enabled;
	u64 xapic;         /* in xAPIC mode */
	u64 large;         /* in x2APIC mode, ID beyond SMALL_IDS: found by a scan */
	u32 id[MAX_VCPUS]; /* of vCPUs in x2APIC mode */
	u64 xapic_id[SMALL_IDS];
	u64 x2apic_id[SMALL_IDS];
	u64 flat[8];        /* by bit of LDR */
	u64 cluster[16][4]; /* by cluster and bit of LDR */
};
_Static_assert(MAX_VCPUS <= 64, "a set of vCPUs is one word");

/* ---- building ---- */

static void add_logical_xapic(struct apic_map *map, const struct lapic *lapic, u64 bit)
{
	u32 ldr = lapic_get(lapic, APIC_LDR) >> 24;
	u32 model = lapic_get(lapic, APIC_DFR) >> 28;

	if (model == 0xf) {
		for (u32 i = 0; i < 8; i++)
			map->flat[i] |= ldr & BIT(i) ? bit : 0;
	} else if (model == 0) {
		for (u32 i = 0; i < 4; i++)
			map->cluster[ldr >> 4][i] |= ldr & BIT(i) ? bit : 0;
	} /* other models are not defined: no logical destination */
}

/*
 * Its ID in the mode that it is in: in x2APIC mode its own, whatever the register says. One that changes to
 * that mode meanwhile does so before it changes the register, which is read first here: so the register of one
 * found in xAPIC mode is of that mode.
 */
static u32 current_id(const struct vcpu *vcpu, bool *x2apic)
{
	u32 id = lapic_get(&vcpu->lapic, APIC_ID);

	smp_mb();
	*x2apic = lapic_in_x2apic(&vcpu->lapic);
	return *x2apic ? vcpu->apic_id : id >> 24;
}

static void add_vcpu(struct apic_map *map, const struct vcpu *vcpu)
{
	const struct lapic *lapic = &vcpu->lapic;
	u64 bit = BIT64(vcpu->index);
	bool x2apic;
	u32 id;

	if (!lapic->page || !lapic_hardware_enabled(lapic))
		return;
	id = current_id(vcpu, &x2apic);
	map->all |= bit;
	map->software_enabled |= lapic_software_enabled(lapic) ? bit : 0;
	if (!x2apic) {
		map->xapic |= bit;
		map->xapic_id[id] |= bit;
		add_logical_xapic(map, lapic, bit);
		return;
	}
	map->id[vcpu->index] = id;
	if (id < SMALL_IDS)
		map->x2apic_id[id] |= bit;
	else
		map->large |= bit;
}

static void fill(struct apic_map *map, const struct vm *vm)
{
	memset(map, 0, sizeof(*map));
	for (u32 i = 0; i < vm->vcpu_count; i++) {
		if (vm->vcpu[i])
			add_vcpu(map, vm->vcpu[i]);
	}
}

static u64 with_x2apic_id(const struct apic_map *map, u32 id)
{
	u64 set = 0;

	if (id < SMALL_IDS)
		return map->x2apic_id[id];
	for (u64 rest = map->large; rest; rest &= rest - 1) {
		u32 i = (u32)__builtin_ctzll(rest);

		if (map->id[i] == id)
			set |= BIT64(i);
	}
	return set;
}

/* ---- what it cannot be sent by without an exit ---- */

static bool has_several(u64 set)
{
	return set & (set - 1);
}

static bool is_modified(const struct vcpu *vcpu)
{
	bool x2apic;
	u32 id = current_id(vcpu, &x2apic);

	/* "Local APIC ID": the register in xAPIC mode has 8 bits of an ID. */
	return !x2apic && id != (vcpu->apic_id & 0xff);
}

static bool is_moved(const struct lapic *lapic)
{
	return !lapic_in_x2apic(lapic) &&
	       (atomic64_read_relaxed(&lapic->base) & PAGE_MASK) != APIC_BASE_DEFAULT;
}

/* Whom a physical destination that is this vCPU's ID reaches. */
static u64 with_id_of(const struct apic_map *map, const struct vcpu *vcpu)
{
	bool x2apic;
	u32 id = current_id(vcpu, &x2apic);

	return (id < SMALL_IDS ? map->xapic_id[id] : 0) | with_x2apic_id(map, id);
}

/*
 * One logical ID for two; or some in flat and others in cluster model, or in xAPIC and x2APIC mode: what a
 * logical destination means is up to each receiver then, and a processor goes by the sender alone.
 * Of those whose APIC is enabled by software; the others take no fixed interrupt.
 */
static bool has_logical_alias(const struct apic_map *map, const struct vm *vm)
{
	u64 enabled = map->software_enabled;
	u32 models = 0;

	for (u32 i = 0; i < 8; i++)
		if (has_several(map->flat[i] & enabled))
			return true;
	/* "Cluster Model": fifteen clusters; the sixteenth number is everybody. */
	for (u32 i = 0; i < 15 * 4; i++)
		if (has_several(map->cluster[i / 4][i % 4] & enabled))
			return true;
	for (u64 rest = map->xapic & enabled; rest; rest &= rest - 1)
		models |= BIT(lapic_get(&vm->vcpu[__builtin_ctzll(rest)]->lapic, APIC_DFR) >> 28);
	return has_several(models) || (models && enabled & ~map->xapic);
}

static u32 find_inhibits(const struct apic_map *map, const struct vm *vm)
{
	u32 found = has_logical_alias(map, vm) ? INHIBIT_BIT(LOGICAL_ID_ALIASED) : 0;

	for (u64 rest = map->all; rest; rest &= rest - 1) {
		const struct vcpu *vcpu = vm->vcpu[__builtin_ctzll(rest)];

		found |= is_modified(vcpu) ? INHIBIT_BIT(APIC_ID_MODIFIED) : 0;
		found |= is_moved(&vcpu->lapic) ? INHIBIT_BIT(APIC_BASE_MODIFIED) : 0;
		found |= has_several(with_id_of(map, vcpu)) ? INHIBIT_BIT(PHYSICAL_ID_ALIASED) : 0;
	}
	return found;
}

void apic_map_rebuild(struct vm *vm)
{
	struct apic_map_slot *slot = &vm->apic_map;
	u32 i, found;

	if (!slot->copy[0])
		return; /* the VM is being created: apic_map_create() builds the first one */
	i = publish_begin(&slot->publish);
	fill(slot->copy[i], vm);
	found = find_inhibits(slot->copy[i], vm);
	publish_commit(&slot->publish, i);
	/* Nobody sends by tables that cannot say it: those that come are set before, the others cleared behind. */
	inhibit_change(vm, found, found);
	accel_identify(vm);
	inhibit_change(vm, APIC_MAP_INHIBITS, found);
	publish_end(&slot->publish);
	eoi_exit_changed(vm);
}

bool apic_map_create(struct vm *vm)
{
	struct apic_map_slot *slot = &vm->apic_map;

	for (u32 i = 0; i < PUBLISH_COPIES; i++) {
		slot->copy[i] = port_alloc(sizeof(struct apic_map), CACHE_LINE);
		if (!slot->copy[i]) {
			apic_map_destroy(vm);
			return false;
		}
	}
	apic_map_rebuild(vm);
	return true;
}

void apic_map_destroy(struct vm *vm)
{
	struct apic_map_slot *slot = &vm->apic_map;

	atomic32_set(&slot->publish.current, 0);
	for (u32 i = 0; i < PUBLISH_COPIES; i++) {
		if (slot->copy[i])
			port_free(slot->copy[i], sizeof(struct apic_map));
		slot->copy[i] = NULL;
	}
}

/* ---- reading ---- */

static u64 physical(const struct apic_map *map, u32 dest)
{
	u64 xapic = (dest & 0xff) == 0xff ? map->xapic : map->xapic_id[dest & 0xff];

	return xapic | with_x2apic_id(map, dest);
}

/* `low`: bits 19:0 of the IDs that are meant. */
static u64 with_x2apic_low(const struct apic_map *map, u32 low)
{
	u64 set = low < SMALL_IDS ? map->x2apic_id[low] : 0;

	for (u64 rest = map->large; rest; rest &= rest - 1) {
		u32 i = (u32)__builtin_ctzll(rest);

		if ((map->id[i] & LOGICAL_ID) == low)
			set |= BIT64(i);
	}
	return set;
}

static u64 logical(const struct apic_map *map, u32 dest)
{
	u32 mda = dest & 0xff;
	u64 set = 0;

	if (mda == 0xff) {
		set = map->xapic;
	} else {
		for (u32 bits = mda; bits; bits &= bits - 1)
			set |= map->flat[__builtin_ctz(bits)];
		for (u32 bits = mda & 0xf; bits; bits &= bits - 1)
			set |= map->cluster[mda >> 4][__builtin_ctz(bits)];
	}
	for (u32 bits = dest & 0xffff; bits; bits &= bits - 1)
		set |= with_x2apic_low(map, (dest >> 16 << 4) | (u32)__builtin_ctz(bits));
	return set;
}

static u64 destinations(const struct apic_map *map, const struct irq_message *message)
{
	u32 dest = message->x2apic_format ? message->dest : message->dest & 0xff;
	u32 everybody = message->x2apic_format ? 0xffffffff : 0xff;
	u64 self = message->sender ? map->all & BIT64(message->sender->index) : 0;

	switch (message->shorthand) {
	case APIC_DEST_SELF:
		return self;
	case APIC_DEST_ALL:
		return map->all;
	case APIC_DEST_OTHERS:
		return map->all & ~self;
	default:
		if (dest == everybody)
			return map->all;
		return message->logical ? logical(map, dest) : physical(map, dest);
	}
}

u64 apic_map_destinations(struct vm *vm, const struct irq_message *message)
{
	struct apic_map_slot *slot = &vm->apic_map;
	u32 i = publish_get(&slot->publish);
	u64 set;

	if (i == PUBLISH_COPIES)
		return 0;
	set = destinations(slot->copy[i], message);
	publish_put(&slot->publish, i);
	return set;
}

u64 apic_map_software_enabled(struct vm *vm)
{
	struct apic_map_slot *slot = &vm->apic_map;
	u32 i = publish_get(&slot->publish);
	u64 set;

	if (i == PUBLISH_COPIES)
		return 0;
	set = slot->copy[i]->software_enabled;
	publish_put(&slot->publish, i);
	return set;
}
