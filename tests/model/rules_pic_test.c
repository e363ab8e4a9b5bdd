/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The 8259 pair: its INTR by LVT0, its lines driven by the test device, in the core and (split) in
 * the platform. Intel 8259A datasheet, "Interrupt Sequence", "Initialization Command Words",
 * "Operation Command Words", "Priority Cells" and "End of Interrupt"; PIIX datasheet,
 * "Edge/Level Control Registers".
 */
#include "tests/model/rules.h"

#define MASTER 0x20
#define SLAVE  0xa0
#define ELCR   0x4d0
#define BASE   RULES_PIC

/* OCW2 */
#define EOI             0x20
#define EOI_SPECIFIC    0x60
#define ROTATE_EOI      0xa0
#define ROTATE_SPECIFIC 0xe0
#define SET_PRIORITY    0xc0
#define ROTATE_AUTO_ON  0x80
#define ROTATE_AUTO_OFF 0x00
#define POLL            0x0c

static void ocw2(u16 chip, u8 command)
{
	g_out(chip, command, 1);
}

static u8 poll(u16 chip)
{
	g_out(chip, POLL, 1);
	return (u8)g_in(chip, 1);
}

/* Raise, from low. */
static void edge(u32 irq)
{
	rules_line(irq, false);
	rules_line(irq, true);
}

/* Everything unmasked but what devices of the platform use. */
static void begin(void)
{
	rules.hold_pic = true;
	rules_begin();
	rules_pic(0x11, 0x11); /* not the timer, the UART, the clock, the mouse */
}

/* `irq` has come n times since the beginning. */
static void check_come(u32 irq, u32 n)
{
	rules_let_in();
	G_CHECK_EQUAL(rules.total[BASE + irq], n);
}

/* --- initialisation --- */

static void pic_initialisation(void)
{
	begin();
	edge(5);
	check_come(5, 1);
	G_CHECK_EQUAL(rules_pic_isr(MASTER), BIT(5));
	edge(6);
	g_out(MASTER + 1, 0xff, 1);
	ocw2(MASTER, SET_PRIORITY | 3);
	g_out(MASTER, 0x68, 1); /* special mask */
	/* ICW1 clears mask, service, latched edges, rotation and special mask. */
	g_out(MASTER, 0x11, 1);
	G_CHECK_EQUAL(g_in(MASTER + 1, 1), 0);
	G_CHECK_EQUAL(g_in(MASTER, 1), 0); /* and reads IRR */
	G_CHECK_EQUAL(rules_pic_isr(MASTER), 0);
	/* Nothing is asked before the sequence is complete. */
	rules_line(7, true);
	g_out(MASTER + 1, 0x70, 1); /* a base of its own: the low three bits do not count */
	g_out(MASTER + 1, 0x04, 1);
	rules_let_in();
	G_CHECK_EQUAL(rules.logged, 1);
	g_out(MASTER + 1, 0x01, 1);
	rules.hold[0x77] = true;
	rules_let_in();
	G_CHECK_EQUAL(rules.total[0x77], 1);
	/* Priorities begin at 0 again. */
	ocw2(MASTER, EOI);
	g_out(MASTER + 1, 0x11, 1);
	edge(5);
	edge(3);
	rules.hold[0x73] = rules.hold[0x75] = true;
	rules_let_in();
	G_CHECK_EQUAL(rules.total[0x73], 1);
	G_CHECK_EQUAL(rules.total[0x75], 0);
}

/* ICW1 without ICW4, and single: the sequence is shorter. */
static void pic_initialisation_forms(void)
{
	begin();
	g_out(MASTER, 0x12, 1); /* single, no ICW4 */
	g_out(MASTER + 1, BASE, 1);
	g_out(MASTER + 1, 0x11, 1); /* OCW1 already */
	G_CHECK_EQUAL(g_in(MASTER + 1, 1), 0x11);
	edge(5);
	check_come(5, 1);
	ocw2(MASTER, EOI);
	g_out(MASTER, 0x10, 1); /* cascade, no ICW4 */
	g_out(MASTER + 1, BASE, 1);
	g_out(MASTER + 1, 0x04, 1);
	g_out(MASTER + 1, 0x11, 1);
	G_CHECK_EQUAL(g_in(MASTER + 1, 1), 0x11);
	edge(5);
	check_come(5, 2);
}

/* --- requests --- */

static void pic_edge(void)
{
	begin();
	edge(5);
	check_come(5, 1);
	ocw2(MASTER, EOI);
	check_come(5, 1); /* still high: no new edge */
	/* Latched while masked. */
	g_out(MASTER + 1, 0xff, 1);
	edge(5);
	G_CHECK_EQUAL(rules_pic_irr(MASTER), BIT(5));
	check_come(5, 1);
	g_out(MASTER + 1, 0x11, 1);
	check_come(5, 2);
	ocw2(MASTER, EOI);
	/* Forgotten when the line falls before it is taken. */
	edge(5);
	rules_line(5, false);
	G_CHECK_EQUAL(rules_pic_irr(MASTER), 0);
	check_come(5, 2);
}

static void pic_level(void)
{
	begin();
	g_out(ELCR, BIT(5), 1);
	rules_line(5, true);
	check_come(5, 1);
	G_CHECK_EQUAL(rules_pic_irr(MASTER), BIT(5)); /* the line itself */
	check_come(5, 1);
	ocw2(MASTER, EOI);
	check_come(5, 2); /* again, as long as it is high */
	rules_line(5, false);
	G_CHECK_EQUAL(rules_pic_irr(MASTER), 0);
	ocw2(MASTER, EOI);
	check_come(5, 2);
}

static void pic_elcr(void)
{
	begin();
	G_CHECK_EQUAL(g_in(ELCR, 1), 0);
	/* Timer, keyboard, cascade, clock and coprocessor are edges for good. */
	g_out(ELCR, 0xff, 1);
	g_out(ELCR + 1, 0xff, 1);
	G_CHECK_EQUAL(g_in(ELCR, 1), 0xf8);
	G_CHECK_EQUAL(g_in(ELCR + 1, 1), 0xde);
	g_out(ELCR, 0, 1);
	g_out(ELCR + 1, 0, 1);
	G_CHECK_EQUAL(g_in(ELCR, 1), 0);
	/* A line that is high becomes a request with the switch to level, and stops being one. */
	rules_line(5, true);
	check_come(5, 1);
	ocw2(MASTER, EOI);
	g_out(ELCR, BIT(5), 1);
	G_CHECK_EQUAL(rules_pic_irr(MASTER), BIT(5));
	rules_line(5, false);
	G_CHECK_EQUAL(rules_pic_irr(MASTER), 0);
	/* ICW1 does not touch it. */
	rules_pic(0x11, 0x11);
	G_CHECK_EQUAL(g_in(ELCR, 1), BIT(5));
}

static void pic_mask(void)
{
	begin();
	g_out(MASTER + 1, 0xa5, 1);
	G_CHECK_EQUAL(g_in(MASTER + 1, 1), 0xa5);
	g_out(MASTER + 1, 0xff, 1);
	edge(5);
	edge(10);
	check_come(5, 0);
	check_come(10, 0);
	/* The slave comes by input 2 of the master. */
	g_out(MASTER + 1, 0xfb, 1);
	check_come(10, 1);
	check_come(5, 0);
	/* Masking what is in service ends nothing. */
	g_out(SLAVE + 1, 0xff, 1);
	G_CHECK_EQUAL(rules_pic_isr(SLAVE), BIT(2));
}

static void pic_read_registers(void)
{
	begin();
	edge(5);
	edge(6);
	rules_let_in();
	G_CHECK_EQUAL(rules_pic_irr(MASTER), BIT(6));
	G_CHECK_EQUAL(rules_pic_isr(MASTER), BIT(5));
	/* The choice stays; other OCW3 do not change it. */
	G_CHECK_EQUAL(g_in(MASTER, 1), BIT(5));
	g_out(MASTER, 0x08, 1);
	G_CHECK_EQUAL(g_in(MASTER, 1), BIT(5));
	g_out(MASTER, 0x0a, 1);
	G_CHECK_EQUAL(g_in(MASTER, 1), BIT(6));
	/* The slave's request shows at the master's input 2. */
	edge(10);
	G_CHECK_EQUAL(rules_pic_irr(SLAVE), BIT(2));
	G_CHECK_EQUAL(rules_pic_irr(MASTER), BIT(2) | BIT(6));
	check_come(10, 1); /* 2 is above 5 */
	G_CHECK_EQUAL(rules_pic_irr(MASTER), BIT(6));
}

/* --- priorities --- */

static void pic_fully_nested(void)
{
	begin();
	edge(5);
	check_come(5, 1);
	/* Below and equal wait, above comes. */
	edge(6);
	edge(5);
	check_come(6, 0);
	check_come(5, 1);
	edge(3);
	check_come(3, 1);
	G_CHECK_EQUAL(rules_pic_isr(MASTER), BIT(3) | BIT(5));
	/* The slave is between 1 and 3. */
	edge(10);
	check_come(10, 1);
	edge(9);
	check_come(9, 0); /* the master waits for the EOI of its input 2 */
	ocw2(SLAVE, EOI);
	check_come(9, 0);
	ocw2(MASTER, EOI);
	check_come(9, 1);
}

static void pic_end_of_interrupt(void)
{
	begin();
	ocw2(MASTER, EOI); /* of nothing */
	edge(6);
	rules_let_in();
	edge(5);
	rules_let_in();
	edge(3);
	rules_let_in();
	G_CHECK_EQUAL(rules_pic_isr(MASTER), BIT(3) | BIT(5) | BIT(6));
	ocw2(MASTER, EOI); /* the highest */
	G_CHECK_EQUAL(rules_pic_isr(MASTER), BIT(5) | BIT(6));
	ocw2(MASTER, EOI_SPECIFIC | 6);
	G_CHECK_EQUAL(rules_pic_isr(MASTER), BIT(5));
	ocw2(MASTER, 0x40); /* no operation */
	ocw2(MASTER, EOI_SPECIFIC | 3);
	G_CHECK_EQUAL(rules_pic_isr(MASTER), BIT(5));
	ocw2(MASTER, EOI);
	G_CHECK_EQUAL(rules_pic_isr(MASTER), 0);
	rules_let_in();
	G_CHECK_EQUAL(rules.logged, 3);
}

static void pic_rotation(void)
{
	begin();
	/* Set priority: 5 is the lowest now, 6 the highest. */
	ocw2(MASTER, SET_PRIORITY | 5);
	edge(5);
	edge(3);
	edge(6);
	rules_let_in();
	G_CHECK_EQUAL(rules.log[0], BASE + 6);
	G_CHECK_EQUAL(rules.logged, 1);
	/* Rotate on unspecific EOI: what has been served becomes the lowest. */
	ocw2(MASTER, ROTATE_EOI);
	edge(6);
	rules_let_in();
	G_CHECK_EQUAL(rules.log[1], BASE + 3);
	ocw2(MASTER, ROTATE_SPECIFIC | 3);
	rules_let_in();
	G_CHECK_EQUAL(rules.log[2], BASE + 5);
	ocw2(MASTER, EOI);
	rules_let_in();
	G_CHECK_EQUAL(rules.log[3], BASE + 6);
	G_CHECK_EQUAL(rules.logged, 4);
}

static void pic_automatic_eoi(void)
{
	begin();
	rules_pic_chip(MASTER, BASE, 0x04, 0x03);
	g_out(MASTER + 1, 0x11, 1);
	edge(5);
	check_come(5, 1);
	G_CHECK_EQUAL(rules_pic_isr(MASTER), 0);
	edge(6);
	check_come(6, 1); /* nothing is in service to hold it */
	edge(5);
	check_come(5, 2);
}

static void pic_automatic_rotation(void)
{
	begin();
	rules_pic_chip(MASTER, BASE, 0x04, 0x03);
	g_out(MASTER + 1, 0x11, 1);
	ocw2(MASTER, ROTATE_AUTO_ON);
	edge(5);
	check_come(5, 1);
	/* 5 is the lowest now. */
	edge(5);
	edge(6);
	rules_let_in();
	G_CHECK_EQUAL(rules.log[1], BASE + 6);
	G_CHECK_EQUAL(rules.log[2], BASE + 5);
	/* Off: the order stays as it is (5 was last: 6 is the highest). */
	ocw2(MASTER, ROTATE_AUTO_OFF);
	for (u32 i = 0; i < 2; i++) {
		edge(5);
		edge(6);
		rules_let_in();
		G_CHECK_EQUAL(rules.log[3 + 2 * i], BASE + 6);
		G_CHECK_EQUAL(rules.log[4 + 2 * i], BASE + 5);
	}
}

static void pic_special_mask(void)
{
	begin();
	edge(3);
	check_come(3, 1);
	edge(5);
	check_come(5, 0);
	/* Masked in service: it blocks nobody any more, only with the mode. */
	g_out(MASTER + 1, 0x11 | BIT(3), 1);
	check_come(5, 0);
	g_out(MASTER, 0x68, 1);
	check_come(5, 1);
	G_CHECK_EQUAL(rules_pic_isr(MASTER), BIT(3) | BIT(5));
	/* An unspecific EOI passes by what is masked. */
	ocw2(MASTER, EOI);
	G_CHECK_EQUAL(rules_pic_isr(MASTER), BIT(3));
	/* Without the mode it blocks again. */
	g_out(MASTER, 0x48, 1);
	edge(6);
	check_come(6, 0);
	ocw2(MASTER, EOI_SPECIFIC | 3);
	check_come(6, 1);
}

static void pic_special_fully_nested(void)
{
	begin();
	rules_pic_chip(MASTER, BASE, 0x04, 0x11);
	g_out(MASTER + 1, 0x11, 1);
	edge(11);
	check_come(11, 1);
	/* A higher one of the slave comes while the slave is in service at the master. */
	edge(10);
	check_come(10, 1);
	G_CHECK_EQUAL(rules_pic_isr(SLAVE), BIT(2) | BIT(3));
	G_CHECK_EQUAL(rules_pic_isr(MASTER), BIT(2));
	edge(13);
	check_come(13, 0); /* a lower one does not */
	/* On the master's own inputs nothing is different. */
	edge(5);
	check_come(5, 0);
	edge(1);
	check_come(1, 1);
	edge(1);
	check_come(1, 1);
}

static void pic_poll(void)
{
	begin();
	g_apic_write(APIC_LVT0, APIC_LVT_MASKED | APIC_DM_EXTINT); /* nobody else asks */
	G_CHECK_EQUAL(poll(MASTER), 0);
	edge(6);
	edge(5);
	G_CHECK_EQUAL(poll(MASTER), 0x85);
	G_CHECK_EQUAL(rules_pic_isr(MASTER), BIT(5)); /* the read was the acknowledgement */
	G_CHECK_EQUAL(poll(MASTER), 0);               /* 6 waits */
	/* One read only, and of either port. */
	ocw2(MASTER, EOI);
	g_out(MASTER, POLL, 1);
	G_CHECK_EQUAL(g_in(MASTER + 1, 1), 0x86);
	G_CHECK_EQUAL(g_in(MASTER + 1, 1), 0x11);
	/* Each chip for itself. */
	edge(10);
	G_CHECK_EQUAL(poll(MASTER), 0x82);
	G_CHECK_EQUAL(poll(SLAVE), 0x82);
	G_CHECK_EQUAL(rules_pic_isr(SLAVE), BIT(2));
}

/* --- the pair --- */

static void pic_cascade(void)
{
	begin();
	edge(10);
	check_come(10, 1);
	G_CHECK_EQUAL(rules_pic_isr(MASTER), BIT(2));
	G_CHECK_EQUAL(rules_pic_isr(SLAVE), BIT(2));
	/* Both want their EOI; a second request of the slave is a new edge at the master. */
	edge(11);
	ocw2(SLAVE, EOI);
	check_come(11, 0);
	ocw2(MASTER, EOI);
	check_come(11, 1);
	/* Input 2 is the slave's alone. */
	ocw2(SLAVE, EOI);
	ocw2(MASTER, EOI);
	edge(2);
	G_CHECK_EQUAL(rules_pic_irr(MASTER), 0);
}

static void pic_accepted_by_either_path(void)
{
	begin();
	/* LVT0 and pin 0 of the I/O APIC at once: INTR is acknowledged once. */
	rules_entry(0, 0, APIC_DM_EXTINT);
	edge(5);
	check_come(5, 1);
	rules_let_in();
	G_CHECK_EQUAL(rules.logged, 1);
	ocw2(MASTER, EOI);
	/* By the pin alone. */
	g_apic_write(APIC_LVT0, APIC_LVT_MASKED);
	edge(5);
	check_come(5, 2);
	G_CHECK_EQUAL(rules.logged, 2);
}

static const struct rule list[] = {
        RULE(pic_initialisation, .both_pics = true),
        RULE(pic_initialisation_forms, .both_pics = true),
        RULE(pic_edge, .both_pics = true),
        RULE(pic_level, .both_pics = true),
        RULE(pic_elcr, .both_pics = true),
        RULE(pic_mask, .both_pics = true),
        RULE(pic_read_registers, .both_pics = true),
        RULE(pic_fully_nested, .both_pics = true),
        RULE(pic_end_of_interrupt, .both_pics = true),
        RULE(pic_rotation, .both_pics = true),
        RULE(pic_automatic_eoi, .both_pics = true),
        RULE(pic_automatic_rotation, .both_pics = true),
        RULE(pic_special_mask, .both_pics = true),
        RULE(pic_special_fully_nested, .both_pics = true),
        RULE(pic_poll, .both_pics = true),
        RULE(pic_cascade, .both_pics = true),
        RULE(pic_accepted_by_either_path, .both_pics = true),
};

int main(void)
{
	return rules_main(list, ARRAY_SIZE(list));
}
