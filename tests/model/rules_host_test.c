/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Rules that a guest sees but cannot bring about: the host lends a hand. SDM volume 3, "Processor
 * State After Reset"; Intel 8259A datasheet, "Interrupt Sequence".
 */
#include "tests/model/rules.h"

#include "postern/backend.h"

#define MASTER       0x20
#define SLAVE        0xa0
#define BASE         RULES_PIC
#define RESET_VECTOR 0xfffffff0u

/* --- INIT to the boot processor --- */

/*
 * It does not wait for a start-up IPI but runs at once, from the reset vector. There is no firmware
 * here: the fetch faults, and a processor just reset has no handlers.
 */
static void icr_init_of_boot_processor(void)
{
	g_apic_enable();
	g_apic_write(APIC_TPR, 0x40);
	g_apic_icr(0, APIC_LEVEL_ASSERT | APIC_DM_INIT);
	for (;;)
		g_nop();
}

static void runs_without_firmware(void *arg __unused)
{
	G_CHECK(false);
}

static void bind_reset_vector(void)
{
	guest_bind(RESET_VECTOR, runs_without_firmware, NULL);
}

static void check_reset_vector(void)
{
	struct vcpu *vcpu = harness_vm->vcpu[0];
	struct vcpu_state state;

	backend_op(get_state)(vcpu, &state);
	/* The script engine lays instructions from the beginning of that page. */
	assert_int_equal((state.seg[SEG_CS].base + vcpu->regs.rip) & PAGE_MASK,
	                 RESET_VECTOR & PAGE_MASK);
	assert_int_equal(vcpu->activity == VCPU_WAIT_FOR_SIPI, false);
	assert_int_equal(lapic_cr8(vcpu), 0);
}

/* --- spurious interrupts of the 8259 pair --- */

static void edge(u32 irq)
{
	rules_line(irq, false);
	rules_line(irq, true);
}

/*
 * A device that takes its request back between INTR and the first INTA, and one of the slave's that
 * does between the first and the second. The pair does both of them at once, so the test stands in
 * between: it owns INTR here.
 */
static void (*at_inta)(struct pic *pic);

static bool between_has(void *source)
{
	return pic_has_interrupt(source);
}

static u8 between_ack(void *source)
{
	if (at_inta)
		at_inta(source);
	return pic_ack(source);
}

static void between_set_line(void *source, u32 input, bool level)
{
	pic_set_line(source, input, level);
}

static void between_pulse_line(void *source, u32 input)
{
	pic_pulse_line(source, input);
}

static u32 between_state(void *source, u32 input)
{
	return pic_state(source, input);
}

static const struct extint_ops between = {
        .has = between_has,
        .ack = between_ack,
        .set_line = between_set_line,
        .pulse_line = between_pulse_line,
        .state = between_state,
};

static void stand_between(void)
{
	at_inta = NULL;
	extint_attach(harness_vm, &between, &harness_vm->pic);
}

static void lower_5(struct pic *pic)
{
	pic_set_line(pic, 5, false);
}

static void lower_10(struct pic *pic)
{
	pic_set_line(pic, 10, false);
}

static void forget_slave(struct pic *pic)
{
	pic->chip[1].irr = 0;
}

static void pic_spurious(void)
{
	rules.hold_pic = true;
	rules_begin();
	rules_pic(0x11, 0x11);
	at_inta = lower_5;
	edge(5);
	rules_let_in();
	at_inta = NULL;
	G_CHECK_EQUAL(rules.logged, 1);
	G_CHECK_EQUAL(rules.log[0], BASE + 7);
	G_CHECK_EQUAL(rules_pic_isr(MASTER), 0); /* nothing is in service: no EOI is due */
	/* One of the slave's that falls before the first INTA is the master's spurious one. */
	at_inta = lower_10;
	edge(10);
	rules_let_in();
	at_inta = NULL;
	G_CHECK_EQUAL(rules.log[1], BASE + 7);
	G_CHECK_EQUAL(rules_pic_isr(MASTER), 0);
	/* After it, the slave's; the master has its input 2 in service and wants an EOI. */
	at_inta = forget_slave;
	edge(10);
	rules_let_in();
	at_inta = NULL;
	G_CHECK_EQUAL(rules.log[2], BASE + 15);
	G_CHECK_EQUAL(rules_pic_isr(MASTER), BIT(2));
	G_CHECK_EQUAL(rules_pic_isr(SLAVE), 0);
	G_CHECK_EQUAL(rules.logged, 3);
	/* A real one of the same number is told from it by ISR. */
	g_out(MASTER, 0x20, 1);
	edge(7);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[BASE + 7], 3);
	G_CHECK_EQUAL(rules_pic_isr(MASTER), BIT(7));
}

static const struct rule list[] = {
        RULE(icr_init_of_boot_processor, .prepare = bind_reset_vector, .ending = ENDED_TRIPLE_FAULT,
             .check = check_reset_vector, .guest = "init-bsp"),
        RULE(pic_spurious, .prepare = stand_between),
};

int main(void)
{
	return rules_main(list, ARRAY_SIZE(list));
}
