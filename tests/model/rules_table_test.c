/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the embedding program sets and sees: the routing table, and the EOI-exit bitmap. SDM volume 3,
 * "EOI Virtualization"; MultiProcessor Specification, "Assignment of System Interrupts to the APIC
 * Local Interrupts".
 *
 * A guest does not see the bitmap, nor change the table; so the tests put two ports into the machine,
 * the embedding program's own: one replaces the table, the other tells whether a vector is in the
 * bitmap of the vCPU that asks.
 */
#include "tests/model/rules.h"

#include "core/bus.h"
#include "irq/eoi_exit.h"
#include "irq/route.h"

#define V           0x61
#define PIN         10
#define LEVEL       ((u32)IOAPIC_RTE_LEVEL)
#define MASKED      ((u32)IOAPIC_RTE_MASKED)
#define TABLE_PORT  0x5600
#define BITMAP_PORT 0x5601

static u64 table_read(void *device __unused, struct vcpu *vcpu __unused, u64 offset __unused,
                      u32 size __unused)
{
	return 0;
}

/* 0: the ISA wiring; 1: line 10 goes to pin 11 and input 11, line 11 to nobody. 2: an invalid one. */
static void table_write(void *device __unused, struct vcpu *vcpu __unused, u64 offset __unused,
                        u32 size __unused, u64 value)
{
	static const struct route_entry moved[] = {
	        {PIN, ROUTE_PIC, 11, 0, 0},
	        {PIN, ROUTE_IOAPIC, 11, 0, 0},
	        {5, ROUTE_PIC, 5, 0, 0},
	};
	static const struct route_entry twice[] = {
	        {PIN, ROUTE_IOAPIC, 11, 0, 0},
	        {12, ROUTE_IOAPIC, 11, 0, 0},
	};

	if (value == 0)
		route_set_isa(harness_vm);
	else if (value == 1)
		G_CHECK(route_set(harness_vm, moved, ARRAY_SIZE(moved)));
	else
		G_CHECK(!route_set(harness_vm, twice, ARRAY_SIZE(twice)));
}

static u8 asked;

static u64 bitmap_read(void *device __unused, struct vcpu *vcpu, u64 offset __unused,
                       u32 size __unused)
{
	u64 bitmap[EOI_EXIT_WORDS];

	eoi_exit_bitmap(vcpu, bitmap);
	return bitmap[asked / 64] >> asked % 64 & 1;
}

static void bitmap_write(void *device __unused, struct vcpu *vcpu __unused, u64 offset __unused,
                         u32 size __unused, u64 value)
{
	asked = (u8)value;
}

static const struct bus_ops table_ops = {table_read, table_write};
static const struct bus_ops bitmap_ops = {bitmap_read, bitmap_write};

static void add_ports(void)
{
	bus_register(&harness_vm->io, TABLE_PORT, 1, &table_ops, harness_vm);
	bus_register(&harness_vm->io, BITMAP_PORT, 1, &bitmap_ops, harness_vm);
}

static void set_table(u8 which)
{
	g_out(TABLE_PORT, which, 1);
}

static bool in_bitmap(u8 vector)
{
	g_out(BITMAP_PORT, vector, 1);
	return g_in(BITMAP_PORT, 1);
}

static void pulse(u32 gsi)
{
	rules_line(gsi, false);
	rules_line(gsi, true);
}

/* --- replacing the table --- */

enum {
	MESSAGE, /* by line */
	ELSEWHERE,
	LEVEL_MESSAGE,
	MESSAGES
};

static void route_messages(void)
{
	static const struct route_entry entries[MESSAGES] = {
	        {.gsi = MESSAGE, .kind = ROUTE_MSI, .address = 0xfee02000, .data = V},
	        {.gsi = ELSEWHERE, .kind = ROUTE_MSI, .address = 0xfed01000, .data = V},
	        {.gsi = LEVEL_MESSAGE,
	         .kind = ROUTE_MSI,
	         .address = 0xfee00000,
	         .data = APIC_TRIGGER_LEVEL | APIC_LEVEL_ASSERT | V},
	};

	add_ports();
	assert_true(route_set(harness_vm, entries, MESSAGES));
}

/* A message is an edge of its line: one for each rise. */
static void route_line_as_message(void)
{
	rules_begin();
	for (u32 i = 1; i <= 5; i++) {
		pulse(MESSAGE);
		rules_line(MESSAGE, true);
		rules_fence(RULES_ALL);
		G_CHECK_EQUAL(rules.count[2][V], i);
	}
	pulse(ELSEWHERE); /* not a message at all */
	rules_fence(RULES_ALL);
	G_CHECK_EQUAL(rules.total[V], 5);
}

/* A line that is high moves along with its route; nothing is left where it was. */
static void route_replaced_under_a_level(void)
{
	rules.hold[V] = rules.hold[0x71] = true;
	rules_begin();
	rules_entry(PIN, 0, LEVEL | V);
	rules_entry(11, 0, LEVEL | 0x71);
	rules_line(PIN, true);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 1);
	set_table(1);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[0x71], 1);
	/* The old pin's interrupt ends, and does not come again. */
	g_apic_eoi();
	g_apic_eoi();
	G_CHECK(!rules_remote_irr(PIN));
	G_CHECK(rules_remote_irr(11));
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 1);
	G_CHECK_EQUAL(rules.total[0x71], 2);
	/* A line without a route is nobody's. */
	rules_line(PIN, false);
	rules_line(11, true);
	g_apic_eoi();
	rules_let_in();
	G_CHECK_EQUAL(rules.total[0x71], 2);
	/* With its route it brings the level that it has. */
	rules_line(PIN, false);
	set_table(0);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[0x71], 3);
}

static void route_invalid_table_is_refused(void)
{
	rules_begin();
	rules_entry(PIN, 0, V);
	set_table(2);
	pulse(PIN);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 1); /* by the old one */
}

/* --- EOI-exit bitmap --- */

static void set_ldr(u32 id)
{
	if (harness.xapic)
		g_apic_write(APIC_LDR, 1u << (24 + id));
}

static bool answer[RULES_VCPUS];
static u32 answers[RULES_VCPUS];

static void answer_by_interrupt(u8 vector)
{
	if (vector != 0x22)
		return;
	answer[rules_me()] = in_bitmap(asked);
	__atomic_fetch_add(&answers[rules_me()], 1, __ATOMIC_SEQ_CST);
}

/* Set of vCPUs whose bitmap has `vector`; each looks itself. */
static u64 who_watches(u8 vector)
{
	u64 set = 0;

	for (u32 id = 1; id < harness.vcpus; id++) {
		u32 before = answers[id];

		asked = vector;
		rules_fixed(id, 0x22);
		while (__atomic_load_n(&answers[id], __ATOMIC_SEQ_CST) == before)
			g_pause();
		set |= answer[id] ? BIT64(id) : 0;
	}
	return set | (in_bitmap(vector) ? 1 : 0);
}

static void eoi_exit_level_entries(void)
{
	rules.hook = answer_by_interrupt;
	rules_begin();
	set_ldr(0);
	G_CHECK_EQUAL(who_watches(V), 0);
	rules_entry(PIN, 2, LEVEL | V);
	G_CHECK_EQUAL(who_watches(V), BIT(2));
	G_CHECK_EQUAL(who_watches(0x71), 0);
	rules_entry(PIN, 0x0a, LEVEL | (u32)IOAPIC_RTE_LOGICAL | V);
	G_CHECK_EQUAL(who_watches(V), BIT(1) | BIT(3));
	rules_entry(PIN, 0x0e, LEVEL | (u32)IOAPIC_RTE_LOGICAL | APIC_DM_LOWEST | V);
	G_CHECK_EQUAL(who_watches(V), BIT(1) | BIT(2) | BIT(3)); /* whoever it may be */
	rules_entry(PIN, 0xff, LEVEL | V);
	G_CHECK_EQUAL(who_watches(V), 0xf);
	/* Edges, NMI and masked entries: nobody's end is waited for. */
	rules_entry(PIN, 0xff, V);
	G_CHECK_EQUAL(who_watches(V), 0);
	rules_entry(PIN, 0xff, LEVEL | APIC_DM_NMI | V);
	G_CHECK_EQUAL(who_watches(V), 0);
	rules_entry(PIN, 0xff, MASKED | LEVEL | V);
	G_CHECK_EQUAL(who_watches(V), 0);
	/* A change of the names counts as well. */
	rules_entry(PIN, 9, LEVEL | V);
	G_CHECK_EQUAL(who_watches(V), 0);
	if (harness.xapic) {
		g_apic_write(APIC_ID, 9u << 24);
		G_CHECK_EQUAL(who_watches(V), BIT(0));
	}
}

static void eoi_exit_stale_routes(void)
{
	rules.hold[V] = true;
	rules_begin();
	/* In service as a level when its entry is given to another vector. */
	rules_entry(PIN, 0, LEVEL | V);
	rules_line(PIN, true);
	rules_let_in();
	rules_line(PIN, false);
	rules_entry(PIN, 0, LEVEL | 0x71);
	G_CHECK(in_bitmap(V));
	G_CHECK(in_bitmap(0x71));
	g_apic_eoi();
	G_CHECK(!in_bitmap(V)); /* ended: no more */
	/* The entry's vector is another one: that EOI was not for it. */
	G_CHECK(rules_remote_irr(PIN));
	rules_entry(PIN, 0, MASKED | V);
	/* Pending, and the entry is masked and an edge by now. */
	rules_entry(PIN, 0, LEVEL | V);
	rules_line(PIN, true);
	rules_entry(PIN, 0, MASKED | 0x71);
	G_CHECK(in_bitmap(V));
	G_CHECK(!in_bitmap(0x71));
	rules_let_in();
	G_CHECK(in_bitmap(V));
	g_apic_eoi();
	G_CHECK(!in_bitmap(V));
}

static void eoi_exit_local_level(void)
{
	rules_begin();
	g_apic_write(APIC_LVT0, APIC_LVT_LEVEL | V);
	G_CHECK(in_bitmap(V));
	g_apic_write(APIC_LVT0, V);
	G_CHECK(!in_bitmap(V));
	g_apic_write(APIC_LVT0, APIC_LVT_LEVEL | APIC_DM_EXTINT | V);
	G_CHECK(!in_bitmap(V));
}

/* A message that says level may become one in service: from the table on, and after it was sent. */
static void eoi_exit_level_message(void)
{
	rules_begin();
	G_CHECK(in_bitmap(V));
	pulse(LEVEL_MESSAGE);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 1);
	G_CHECK(in_bitmap(V));
	G_CHECK(!in_bitmap(0x62));
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 1);
}

/* The 8254 wants to know the end of its ticks, which are edges. */
static void eoi_exit_listeners(void)
{
	rules_begin();
	rules_entry(2, 0, V);
	G_CHECK(in_bitmap(V));
	rules_entry(PIN, 0, 0x71);
	G_CHECK(!in_bitmap(0x71));
}

static const struct rule list[] = {
        RULE(route_line_as_message, .vcpus = 3, .prepare = route_messages),
        RULE(route_replaced_under_a_level, .prepare = add_ports),
        RULE(route_invalid_table_is_refused, .prepare = add_ports),
        RULE(eoi_exit_level_entries, .vcpus = 4, .other = set_ldr, .prepare = add_ports),
        RULE(eoi_exit_stale_routes, .prepare = add_ports),
        RULE(eoi_exit_local_level, .prepare = add_ports),
        RULE(eoi_exit_level_message, .prepare = route_messages),
        RULE(eoi_exit_listeners, .prepare = add_ports, .reinject = true),
};

int main(void)
{
	return rules_main(list, ARRAY_SIZE(list));
}
