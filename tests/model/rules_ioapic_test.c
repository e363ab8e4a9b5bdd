/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The I/O APIC, driven by the test device's lines. 82093AA datasheet, "I/O APIC Registers",
 * "Interrupt Delivery"; I/O Controller Hub datasheet, "EOI Register"; SDM volume 3, "Signaling
 * Interrupt Servicing Completion", "Spurious Interrupt Vector Register" for the broadcast of EOI.
 */
#include "tests/model/rules.h"

#define V      0x61
#define PIN    10 /* no device but the test device is on it */
#define LEVEL  ((u32)IOAPIC_RTE_LEVEL)
#define MASKED ((u32)IOAPIC_RTE_MASKED)
#define STORM  10000 /* re-deliveries in a row until the guard waits */

static void eoi_register(u8 vector)
{
	g_mmio_write(IOAPIC_BASE + 0x40, vector);
}

static void check_come(u32 n)
{
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], n);
}

/* --- registers --- */

static void ioapic_registers(void)
{
	rules_begin();
	rules_ioapic_write(0, 0xf5ffffff);
	G_CHECK_EQUAL(rules_ioapic_read(0), 0x05000000);
	G_CHECK_EQUAL(rules_ioapic_read(2), 0x05000000); /* the ID loads the arbitration ID */
	rules_ioapic_write(2, 0x0a000000);               /* read-only */
	G_CHECK_EQUAL(rules_ioapic_read(2), 0x05000000);
	G_CHECK_EQUAL(rules_ioapic_read(1), 23u << 16 | 0x20); /* 24 entries, with EOI register */
	rules_ioapic_write(1, 0);
	G_CHECK_EQUAL(rules_ioapic_read(1), 23u << 16 | 0x20);
	/* The select register is eight bits that read back. */
	g_mmio_write(IOAPIC_BASE, 0xffffff12);
	G_CHECK_EQUAL(g_mmio_read(IOAPIC_BASE), 0x12);
	/* Beyond the table; the page's other offsets. */
	rules_ioapic_write(0x40, 0);
	G_CHECK_EQUAL(rules_ioapic_read(0x40), 0xffffffff);
	G_CHECK_EQUAL(rules_ioapic_read(0x03), 0);
	G_CHECK_EQUAL(g_mmio_read(IOAPIC_BASE + 0x20), 0);
	g_mmio_write(IOAPIC_BASE + 0x20, 0xffffffff);
}

static void ioapic_entry_bits(void)
{
	rules_begin();
	for (u32 pin = 0; pin < IOAPIC_PINS; pin++) {
		G_CHECK_EQUAL(rules_entry_low(pin), MASKED); /* after reset */
		G_CHECK_EQUAL(rules_ioapic_read((u8)(0x11 + 2 * pin)), 0);
		/* Delivery status and remote IRR are read-only, the rest of the bits reserved. */
		rules_ioapic_write((u8)(0x10 + 2 * pin), 0xffffffff);
		G_CHECK_EQUAL(rules_entry_low(pin), 0x1afff);
		rules_ioapic_write((u8)(0x11 + 2 * pin), 0xffffffff);
		G_CHECK_EQUAL(rules_ioapic_read((u8)(0x11 + 2 * pin)), 0xff000000);
		rules_entry(pin, 0, MASKED);
	}
}

static void ioapic_access_sizes(void)
{
	rules_begin();
	rules_entry(PIN, 0, MASKED | 0x2000 | V);
	g_write(IOAPIC_BASE, 0x10 + 2 * PIN, 1);
	G_CHECK_EQUAL(g_read(IOAPIC_BASE, 1), 0x10 + 2 * PIN);
	G_CHECK_EQUAL(g_read(IOAPIC_BASE + 0x10, 1), V);
	G_CHECK_EQUAL(g_read(IOAPIC_BASE + 0x10, 2), 0x2000 | V);
	G_CHECK_EQUAL(g_mmio_read(IOAPIC_BASE + 0x14), 0);
}

/* --- edges --- */

static void ioapic_edge(void)
{
	rules_begin();
	rules_entry(PIN, 0, V);
	check_come(0);
	rules_line(PIN, true);
	check_come(1);
	G_CHECK(!rules_remote_irr(PIN));
	G_CHECK(!rules_vector_bit(APIC_TMR, V));
	/* Staying high, or falling, is nothing new. */
	rules_line(PIN, true);
	rules_line(PIN, false);
	check_come(1);
	rules_line(PIN, true);
	check_come(2);
	/* Two before the first is taken: one. */
	rules_line(PIN, false);
	rules_line(PIN, true);
	rules_line(PIN, false);
	rules_line(PIN, true);
	check_come(3);
}

static void ioapic_edge_while_masked_is_lost(void)
{
	rules_begin();
	rules_entry(PIN, 0, MASKED | V);
	rules_line(PIN, true);
	rules_entry(PIN, 0, V);
	check_come(0);
	rules_line(PIN, false);
	rules_line(PIN, true);
	check_come(1);
	/* Masking takes nothing back that was accepted. */
	rules_line(PIN, false);
	rules_line(PIN, true);
	rules_entry(PIN, 0, MASKED | V);
	check_come(2);
}

/* --- levels --- */

static u32 serve_at; /* how many times the device is asked before it lowers its line */

static void serve(u8 vector)
{
	if (vector != V)
		return;
	G_CHECK(rules_remote_irr(PIN));
	G_CHECK(rules_vector_bit(APIC_TMR, V));
	if (rules.total[V] == serve_at)
		rules_line(PIN, false);
}

static void ioapic_level_redelivered(void)
{
	serve_at = 3;
	rules.hook = serve;
	rules_begin();
	rules_entry(PIN, 0, LEVEL | V);
	G_CHECK(!rules_remote_irr(PIN));
	rules_line(PIN, true);
	G_CHECK(rules_remote_irr(PIN)); /* accepted */
	rules_let_in();
	rules_let_in();
	rules_let_in();
	check_come(3); /* after each EOI, until it is served */
	G_CHECK(!rules_remote_irr(PIN));
	/* A fall before it is taken does not take the request back. */
	serve_at = 4;
	rules_line(PIN, true);
	rules_line(PIN, false);
	check_come(4);
	G_CHECK(!rules_remote_irr(PIN));
}

static void ioapic_remote_irr_holds_back(void)
{
	rules.hold[V] = true;
	rules_begin();
	rules_entry(PIN, 0, LEVEL | V);
	rules_line(PIN, true);
	check_come(1);
	/* Not ended: whatever the line does, nothing more is sent. */
	rules_line(PIN, false);
	rules_line(PIN, true);
	G_CHECK(!rules_vector_bit(APIC_IRR, V));
	rules_entry(PIN, 0, LEVEL | V);
	G_CHECK(!rules_vector_bit(APIC_IRR, V));
	G_CHECK(rules_remote_irr(PIN));
	/* Low at the EOI: over. */
	rules_line(PIN, false);
	g_apic_eoi();
	G_CHECK(!rules_remote_irr(PIN));
	check_come(1);
}

static void ioapic_level_masked(void)
{
	rules.hold[V] = true;
	rules_begin();
	rules_entry(PIN, 0, MASKED | LEVEL | V);
	rules_line(PIN, true);
	G_CHECK(!rules_remote_irr(PIN));
	check_come(0);
	/* Unmasking a line that is high sends. */
	rules_entry(PIN, 0, LEVEL | V);
	check_come(1);
	/* Masked during service: the EOI clears remote IRR and sends nothing. */
	rules_entry(PIN, 0, MASKED | LEVEL | V);
	g_apic_eoi();
	G_CHECK(!rules_remote_irr(PIN));
	check_come(1);
	rules_entry(PIN, 0, LEVEL | V);
	check_come(2);
	/* Low by then: nothing. */
	rules_entry(PIN, 0, MASKED | LEVEL | V);
	rules_line(PIN, false);
	g_apic_eoi();
	rules_entry(PIN, 0, LEVEL | V);
	check_come(2);
}

static void ioapic_switch_to_edge_clears_remote_irr(void)
{
	rules.hold[V] = true;
	rules_begin();
	rules_entry(PIN, 0, LEVEL | V);
	rules_line(PIN, true);
	check_come(1);
	G_CHECK(rules_remote_irr(PIN));
	rules_entry(PIN, 0, MASKED | V);
	G_CHECK(!rules_remote_irr(PIN));
	rules_entry(PIN, 0, MASKED | LEVEL | V);
	G_CHECK(!rules_remote_irr(PIN));
}

static void ioapic_eoi_matches_vector(void)
{
	rules.hold[V] = rules.hold[0x51] = true;
	rules_begin();
	rules_entry(PIN, 0, LEVEL | V);
	rules_entry(11, 0, LEVEL | V); /* two pins with one vector: ended together */
	rules_entry(5, 0, LEVEL | 0x51);
	rules_line(5, true);
	rules_let_in();
	rules_line(PIN, true);
	rules_line(11, true);
	rules_let_in();
	G_CHECK(rules_remote_irr(5) && rules_remote_irr(PIN) && rules_remote_irr(11));
	rules_line(PIN, false);
	rules_line(11, false);
	g_apic_eoi();
	G_CHECK(rules_remote_irr(5) && !rules_remote_irr(PIN) && !rules_remote_irr(11));
	rules_line(5, false);
	g_apic_eoi();
	G_CHECK(!rules_remote_irr(5));
}

static void ioapic_eoi_of_edge_is_not_broadcast(void)
{
	rules.hold[V] = true;
	rules_begin();
	rules_entry(PIN, 0, LEVEL | V);
	rules_line(PIN, true);
	rules_let_in();
	g_apic_eoi();
	G_CHECK(rules_remote_irr(PIN)); /* sent again at once: the line is high */
	rules_let_in();
	/* An edge of the same vector, on another processor: its EOI is not this pin's. */
	rules.hold[V] = false;
	rules_fixed(1, V);
	rules_fence(BIT(1));
	G_CHECK_EQUAL(rules.count[1][V], 1);
	G_CHECK(rules_remote_irr(PIN));
}

static void ioapic_eoi_register(void)
{
	rules.hold[V] = true;
	rules_begin();
	rules_entry(PIN, 0, LEVEL | V);
	rules_line(PIN, true);
	rules_let_in();
	rules_line(PIN, false);
	eoi_register(0x51); /* another vector */
	G_CHECK(rules_remote_irr(PIN));
	eoi_register(V);
	G_CHECK(!rules_remote_irr(PIN));
	/* Of a line that is high: sent again, though the first is still in service. */
	rules_line(PIN, true);
	eoi_register(V);
	G_CHECK(rules_vector_bit(APIC_IRR, V) && rules_vector_bit(APIC_ISR, V));
	G_CHECK_EQUAL(g_mmio_read(IOAPIC_BASE + 0x40), 0); /* write-only */
}

static void ioapic_eoi_broadcast_suppressed(void)
{
	rules.hold[V] = true;
	rules_begin();
	g_apic_write(APIC_SVR, APIC_SVR_NO_BROADCAST | APIC_SVR_ENABLE | 0xff);
	rules_entry(PIN, 0, LEVEL | V);
	rules_line(PIN, true);
	check_come(1);
	rules_line(PIN, false);
	g_apic_eoi();
	G_CHECK(!rules_vector_bit(APIC_ISR, V));
	G_CHECK(rules_remote_irr(PIN)); /* the I/O APIC was not told */
	rules_line(PIN, true);
	check_come(1);
	eoi_register(V);
	check_come(2);
}

/* --- whom it reaches, and how --- */

static void set_ldr(u32 id)
{
	if (harness.xapic)
		g_apic_write(APIC_LDR, 1u << (24 + id));
}

static void pulse(void)
{
	rules_line(PIN, false);
	rules_line(PIN, true);
}

static void ioapic_destinations(void)
{
	rules_begin();
	set_ldr(0);
	rules_entry(PIN, 2, V);
	pulse();
	rules_check_reached(V, BIT(2));
	rules_entry(PIN, 0xff, V); /* everybody, whatever the mode: the field has eight bits */
	pulse();
	rules_check_reached(V, 0xf);
	rules_entry(PIN, 0x0a, (u32)IOAPIC_RTE_LOGICAL | V);
	pulse();
	rules_check_reached(V, BIT(1) | BIT(3));
	rules_entry(PIN, 9, V); /* nobody */
	pulse();
	rules_check_reached(V, 0);
	/* Lowest priority: one of them. */
	rules_entry(PIN, 0x0e, (u32)IOAPIC_RTE_LOGICAL | APIC_DM_LOWEST | V);
	pulse();
	rules_fence(RULES_ALL);
	G_CHECK_EQUAL(rules.total[V], 1);
	G_CHECK_EQUAL(rules.count[0][V], 0);
}

static void ioapic_level_nobody_accepts(void)
{
	rules_begin();
	rules_entry(PIN, 9, LEVEL | V);
	rules_line(PIN, true);
	G_CHECK(!rules_remote_irr(PIN));
	rules_entry(PIN, 0, LEVEL | V); /* somebody: the level is still there */
	G_CHECK(rules_remote_irr(PIN));
	rules.hold[V] = true;
	check_come(1);
}

static void ioapic_nmi(void)
{
	rules_begin();
	/* An edge whatever the entry says: there is no EOI for it. */
	rules_entry(PIN, 0, LEVEL | APIC_DM_NMI | V);
	rules_line(PIN, true);
	g_nop();
	g_nop();
	G_CHECK_EQUAL(rules.total[VECTOR_NMI], 1);
	G_CHECK(!rules_remote_irr(PIN));
	check_come(0);
}

static void ioapic_extint(void)
{
	rules_begin();
	/* Pin 0 is the 8259 pair's INTR; the vector is the pair's, not the entry's. */
	rules_pic(0xdf, 0xff);
	g_apic_write(APIC_LVT0, APIC_LVT_MASKED);
	rules_entry(0, 1, APIC_DM_EXTINT | V);
	rules_line(5, true);
	while (!rules.count[1][RULES_PIC + 5])
		g_pause();
	G_CHECK_EQUAL(rules.total[RULES_PIC + 5], 1);
	check_come(0);
	G_CHECK(!rules_remote_irr(0));
}

static u32 ap_starts;

static void count_start(void *arg __unused)
{
	g_apic_enable();
	ap_starts++;
	rules.up[1] = true;
	for (;;)
		g_pause();
}

static void forget_starts(void)
{
	ap_starts = 0;
}

static void ioapic_init_mode(void)
{
	rules_begin();
	rules_entry(PIN, 1, APIC_DM_INIT | V);
	rules_line(PIN, true);
	/* It waits for a start-up IPI now. */
	g_apic_icr(1, APIC_LEVEL_ASSERT | APIC_DM_SIPI | HARNESS_SIPI);
	while (ap_starts < 2)
		g_pause();
}

static void ioapic_invalid_modes(void)
{
	static const u32 modes[] = {APIC_DM_SMI, 3u << 8, APIC_DM_SIPI};

	rules_begin();
	for (u32 i = 0; i < ARRAY_SIZE(modes); i++) {
		rules_entry(PIN, 0xff, modes[i] | V);
		pulse();
		rules_entry(PIN, 0xff, LEVEL | modes[i] | V);
		pulse();
		rules_fence(RULES_ALL);
		G_CHECK_EQUAL(rules.total[V] + rules.total[VECTOR_NMI], 0);
		G_CHECK(!rules_remote_irr(PIN));
	}
}

/* Stored, and no more: a line is asserted or not, however the wire carries that. */
static void ioapic_polarity(void)
{
	rules_begin();
	rules_entry(PIN, 0, (u32)IOAPIC_RTE_POLARITY | V);
	G_CHECK_EQUAL(rules_entry_low(PIN), (u32)IOAPIC_RTE_POLARITY | V);
	check_come(0);
	rules_line(PIN, true);
	check_come(1);
}

/* --- livelock guard --- */

static bool guest_serves;

static void serve_at_last(u8 vector)
{
	if (vector == V && guest_serves)
		rules_line(PIN, false);
}

static void ioapic_livelock_guard(void)
{
	guest_serves = true;
	rules.hook = serve_at_last;
	rules_begin();
	rules_entry(PIN, 0, LEVEL | V);
	/* One that is served ends what was in a row before it. */
	rules_line(PIN, true);
	check_come(1);
	rules_forget();
	guest_serves = false;
	rules_line(PIN, true);
	/* Each EOI brings the next one, before an instruction of the guest: for ever, but for the guard. */
	rules_let_in();
	G_CHECK(rules.total[V] >= STORM);
	if (rules_exact()) {
		G_CHECK_EQUAL(rules.total[V], STORM);
		G_CHECK(!rules_remote_irr(PIN));
	}
	/* It goes on a while later, since the line is still high. */
	guest_serves = true;
	rules_forget();
	while (!rules.total[V])
		rules_let_in();
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 1);
	G_CHECK(!rules_remote_irr(PIN));
}

static const struct rule list[] = {
        RULE(ioapic_registers),
        RULE(ioapic_entry_bits),
        RULE(ioapic_access_sizes),
        RULE(ioapic_edge),
        RULE(ioapic_edge_while_masked_is_lost),
        RULE(ioapic_level_redelivered),
        RULE(ioapic_remote_irr_holds_back),
        RULE(ioapic_level_masked),
        RULE(ioapic_switch_to_edge_clears_remote_irr),
        RULE(ioapic_eoi_matches_vector),
        RULE(ioapic_eoi_of_edge_is_not_broadcast, .vcpus = 2),
        RULE(ioapic_eoi_register),
        RULE(ioapic_eoi_broadcast_suppressed),
        RULE(ioapic_destinations, .vcpus = 4, .other = set_ldr),
        RULE(ioapic_level_nobody_accepts),
        RULE(ioapic_nmi),
        RULE(ioapic_extint, .vcpus = 2, .both_pics = true),
        RULE(ioapic_init_mode, .vcpus = 2, .ap = count_start, .prepare = forget_starts),
        RULE(ioapic_invalid_modes, .vcpus = 2),
        RULE(ioapic_polarity),
        RULE(ioapic_livelock_guard),
};

int main(void)
{
	return rules_main(list, ARRAY_SIZE(list));
}
