/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the lines of an ISA machine go. MultiProcessor Specification, "Assignment of System Interrupts
 * to the APIC Local Interrupts".
 */
#include "tests/model/rules.h"

#define V      0x61
#define MASKED ((u32)IOAPIC_RTE_MASKED)

static void pulse(u32 gsi)
{
	rules_line(gsi, false);
	rules_line(gsi, true);
}

static void route_isa_wiring(void)
{
	rules.hold_pic = true;
	rules_begin();
	rules_pic(0x00, 0x00);
	g_apic_write(APIC_LVT0, APIC_LVT_MASKED);
	for (u32 pin = 0; pin < IOAPIC_PINS; pin++)
		rules_entry(pin, 0, MASKED | (0x60 + pin));
	for (u32 irq = 1; irq < 16; irq++) {
		u16 chip = irq < 8 ? 0x20 : 0xa0;
		bool wired = irq != 2;

		rules_entry(irq, 0, 0x60 + irq);
		pulse(irq);
		G_CHECK_EQUAL(rules_pic_irr(chip) >> (irq & 7) & 1, wired);
		rules_let_in();
		G_CHECK_EQUAL(rules.total[0x60 + irq], wired);
		rules_line(irq, false);
		rules_entry(irq, 0, MASKED);
	}
	/* IRQ 0: input 0, and pin 2 of the I/O APIC. */
	rules_entry(0, 0, 0x60);
	rules_entry(2, 0, 0x82);
	pulse(0);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[0x82], 1);
	G_CHECK_EQUAL(rules_pic_irr(0x20) & 1, 1);
	/* Pin 0 carries INTR instead: the request of input 0 has raised it, as a plain edge. */
	G_CHECK_EQUAL(rules.total[0x60], 1);
	/* 16 to 23: the I/O APIC alone. */
	for (u32 gsi = 16; gsi < 24; gsi++) {
		rules_entry(gsi, 0, 0x90 + gsi);
		pulse(gsi);
		rules_let_in();
		G_CHECK_EQUAL(rules.total[0x90 + gsi], 1);
	}
}

/* The guest chooses by masks which of the two controllers interrupts; a line reaches both. */
static void route_line_reaches_both(void)
{
	rules_begin();
	rules_pic(0xdf, 0xff);
	rules_entry(5, 0, V);
	pulse(5);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 1);
	G_CHECK_EQUAL(rules.total[RULES_PIC + 5], 1);
	rules_entry(5, 0, MASKED | V);
	pulse(5);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 1);
	G_CHECK_EQUAL(rules.total[RULES_PIC + 5], 2);
	g_out(0x21, 0xff, 1);
	rules_entry(5, 0, V);
	pulse(5);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 2);
	G_CHECK_EQUAL(rules.total[RULES_PIC + 5], 2);
}

static const struct rule list[] = {
        RULE(route_isa_wiring, .both_pics = true),
        RULE(route_line_reaches_both, .both_pics = true),
};

int main(void)
{
	return rules_main(list, ARRAY_SIZE(list));
}
