/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The 8259 pair against the rules in irq/pic.c. Accesses go through the bus, as a guest's do; lines,
 * INTR and INTA through irq/extint.h, as the core's do. So every test runs twice: with the core's
 * own pair and with the platform's (irqchip=split).
 */
#include "tests/unit/irq_fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "platform/irqchip.h"
#include "x86/apic.h"

#define MASTER   0x20
#define SLAVE    0xa0
#define EOI      0x20
#define READ_IRR 0x0a
#define READ_ISR 0x0b
#define POLL     0x0c

/* LVT0 of each vCPU: open as ExtINT, or not; and how often it was told of a rise as a line. */
static bool extint[MAX_VCPUS];
static u32 local_rises[MAX_VCPUS];

bool lapic_accepts_extint(struct vcpu *vcpu)
{
	return extint[vcpu->index];
}

void lapic_local_interrupt(struct vcpu *vcpu, u32 lvt_register)
{
	assert_int_equal(lvt_register, APIC_LVT0);
	if (extint[vcpu->index])
		vcpu_request(vcpu, VCPU_REQUEST_EVENT);
	else
		local_rises[vcpu->index]++;
}

bool lapic_waits_for_inta(struct vcpu *vcpu)
{
	(void)vcpu;
	return false;
}

/* irqchip_hand_over() is for model tests, irqchip_virtual_wire() for irqchip_test.c. */
bool lapic_msr_read(struct vcpu *vcpu, u32 msr, u64 *value)
{
	(void)vcpu;
	(void)msr;
	*value = 0;
	return false;
}

bool lapic_msr_write(struct vcpu *vcpu, u32 msr, u64 value)
{
	(void)vcpu;
	(void)msr;
	(void)value;
	return false;
}

void lapic_mmio_write(struct vcpu *vcpu, u32 offset, u32 size, u64 value)
{
	(void)vcpu;
	(void)offset;
	(void)size;
	(void)value;
}

/* What has reached the I/O APIC's pin 0. */
static bool pin_level;
static u32 pin_rises;

void ioapic_set_line(struct vm *vm, u32 pin, bool level)
{
	assert_ptr_equal(vm, fake.vm);
	assert_int_equal(pin, 0);
	pin_rises += level && !pin_level;
	pin_level = level;
}

static struct irqchip split;
static struct pic *pic; /* the pair under test */

static void out(u16 port, u8 value)
{
	assert_true(bus_write(&fake.vm->io, fake.vm->vcpu[0], port, 1, value));
}

static u8 in(u16 port)
{
	u64 value;

	assert_true(bus_read(&fake.vm->io, fake.vm->vcpu[0], port, 1, &value));
	return value;
}

static void init_chip(u16 port, u8 base, u8 icw3, u8 icw4)
{
	out(port, 0x11);
	out(port + 1, base);
	out(port + 1, icw3);
	out(port + 1, icw4);
}

static void init_pair(u8 master_icw4, u8 slave_icw4)
{
	init_chip(MASTER, 0x30, 0x04, master_icw4);
	init_chip(SLAVE, 0x38, 0x02, slave_icw4);
}

static void setup_world(void)
{
	fake_create(3);
	for (u32 i = 0; i < MAX_VCPUS; i++) {
		extint[i] = i == 0;
		local_rises[i] = 0;
	}
	pin_level = false;
	pin_rises = 0;
}

static int setup(void **state)
{
	(void)state;
	setup_world();
	pic = &fake.vm->pic;
	pic_init(pic, fake.vm);
	pic_attach(fake.vm);
	init_pair(0x01, 0x01);
	return 0;
}

static int setup_split(void **state)
{
	(void)state;
	setup_world();
	split = (struct irqchip){0};
	irqchip_init(&split, fake.vm);
	pic = &split.pic;
	init_pair(0x01, 0x01);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_destroy();
	return 0;
}

static void line(u32 irq, bool level)
{
	extint_set_line(fake.vm, irq, level);
}

static bool intr(void)
{
	return extint_has(fake.vm);
}

static u8 ack(void)
{
	return extint_ack(fake.vm);
}

static u8 ocw3_read(u16 port, u8 command)
{
	out(port, command);
	return in(port);
}

static void test_pic_quiet_before_initialisation(void **state)
{
	(void)state;
	pic_reset(pic);
	line(1, true);
	assert_false(intr());
	out(MASTER, 0x11);
	line(1, false);
	line(1, true);
	out(MASTER + 1, 0x30);
	out(MASTER + 1, 0x04);
	assert_false(intr());
	out(MASTER + 1, 0x01);
	assert_true(intr());
	assert_int_equal(ack(), 0x31);
}

static void test_pic_icw1_single_and_no_icw4(void **state)
{
	(void)state;
	out(MASTER, 0x12); /* single, no ICW4: ICW2 completes it */
	out(MASTER + 1, 0x57);
	out(MASTER + 1, 0xfd); /* OCW1 already */
	assert_int_equal(in(MASTER + 1), 0xfd);
	line(1, true);
	assert_int_equal(ack(), 0x51); /* 2:0 of the base come from the input */
	out(MASTER, 0x10);             /* cascaded, no ICW4 */
	out(MASTER + 1, 0x60);
	out(MASTER + 1, 0x04);
	line(1, false);
	line(1, true);
	assert_int_equal(ack(), 0x61);
}

static void test_pic_icw1_clears(void **state)
{
	(void)state;
	line(3, true);
	assert_int_equal(ack(), 0x33);
	line(4, true);
	out(MASTER + 1, 0xf0);
	out(MASTER, 0x68); /* special mask */
	out(MASTER, 0xc3); /* priority */
	init_chip(MASTER, 0x30, 0x04, 0x01);
	assert_int_equal(in(MASTER + 1), 0);
	assert_int_equal(in(MASTER), 0); /* reads IRR, and that is empty: edges want a new rise */
	assert_int_equal(ocw3_read(MASTER, READ_ISR), 0);
	assert_false(intr());
	line(4, false);
	line(4, true);
	line(0, true);
	assert_int_equal(ack(), 0x30);
}

static void test_pic_priority_and_nesting(void **state)
{
	(void)state;
	line(4, true);
	line(3, true);
	assert_int_equal(ack(), 0x33);
	assert_false(intr()); /* 4 is lower */
	line(1, true);
	assert_int_equal(ack(), 0x31);
	assert_int_equal(ocw3_read(MASTER, READ_ISR), BIT(1) | BIT(3));
	assert_int_equal(ocw3_read(MASTER, READ_IRR), BIT(4));
	out(MASTER, EOI);
	assert_int_equal(ocw3_read(MASTER, READ_ISR), BIT(3));
	assert_false(intr());
	out(MASTER, EOI);
	assert_int_equal(ack(), 0x34);
	out(MASTER, 0x64); /* specific */
	assert_int_equal(ocw3_read(MASTER, READ_ISR), 0);
	out(MASTER, EOI);  /* of nothing */
	out(MASTER, 0x40); /* no operation */
	assert_false(intr());
}

static void test_pic_mask(void **state)
{
	(void)state;
	out(MASTER + 1, BIT(5));
	line(5, true);
	assert_false(intr());
	assert_int_equal(in(MASTER), BIT(5)); /* latched all the same */
	out(MASTER + 1, 0);
	assert_true(intr());
	out(MASTER + 1, BIT(5));
	assert_false(intr());
}

static void test_pic_edge_forgotten_when_line_falls(void **state)
{
	(void)state;
	line(5, true);
	assert_true(intr());
	line(5, false);
	assert_false(intr());
	line(5, true);
	assert_int_equal(ack(), 0x35);
	out(MASTER, EOI);
	line(5, true);
	assert_false(intr()); /* no rise */
}

static void test_pic_level_asks_until_served(void **state)
{
	(void)state;
	out(0x4d0, BIT(5));
	line(5, true);
	assert_int_equal(ack(), 0x35);
	assert_false(intr());
	out(MASTER, EOI);
	assert_true(intr());
	line(5, false);
	assert_false(intr());
}

static void test_pic_elcr_bits(void **state)
{
	u64 value;

	(void)state;
	out(0x4d0, 0xff);
	out(0x4d1, 0xff);
	assert_int_equal(in(0x4d0), 0xf8);
	assert_int_equal(in(0x4d1), 0xde);
	assert_true(bus_write(&fake.vm->io, fake.vm->vcpu[0], 0x4d0, 2, 0x2010));
	assert_true(bus_read(&fake.vm->io, fake.vm->vcpu[0], 0x4d0, 2, &value));
	assert_int_equal(value, 0x0010);
	/* A line that is high becomes a request with its input. */
	line(11, true);
	assert_int_equal(ack(), 0x3b);
	out(SLAVE, EOI);
	out(MASTER, EOI);
	assert_false(intr());
	out(0x4d1, BIT(3));
	assert_true(intr());
}

static void test_pic_slave(void **state)
{
	(void)state;
	line(12, true);
	assert_int_equal(ocw3_read(MASTER, READ_IRR), BIT(2));
	assert_int_equal(ack(), 0x3c);
	assert_int_equal(ocw3_read(MASTER, READ_ISR), BIT(2));
	assert_int_equal(ocw3_read(SLAVE, READ_ISR), BIT(4));
	line(8, true); /* higher, but the master's input 2 is in service */
	assert_false(intr());
	line(3, true);
	assert_false(intr()); /* the slave ranks above 3 */
	line(1, true);
	assert_int_equal(ack(), 0x31);
	out(MASTER, EOI);
	out(SLAVE, EOI);
	out(MASTER, EOI);
	assert_int_equal(ack(), 0x38);
	out(SLAVE, EOI);
	out(MASTER, EOI);
	assert_int_equal(ack(), 0x33);
}

static void test_pic_slave_next_request_is_a_new_edge(void **state)
{
	(void)state;
	init_pair(0x01, 0x03); /* slave: automatic EOI */
	line(9, true);
	line(10, true);
	assert_int_equal(ack(), 0x39);
	out(MASTER, EOI);
	assert_int_equal(ack(), 0x3a);
	out(MASTER, EOI);
	assert_false(intr());
}

static void test_pic_slave_masked_at_master(void **state)
{
	(void)state;
	out(MASTER + 1, BIT(2));
	line(9, true);
	assert_false(intr());
	out(SLAVE + 1, BIT(1));
	out(MASTER + 1, 0);
	assert_false(intr());
	out(SLAVE + 1, 0);
	assert_true(intr());
}

static void test_pic_special_fully_nested(void **state)
{
	(void)state;
	init_pair(0x11, 0x01);
	line(12, true);
	assert_int_equal(ack(), 0x3c);
	line(8, true);
	assert_true(intr()); /* higher within the slave */
	assert_int_equal(ack(), 0x38);
	line(3, true);
	assert_false(intr()); /* still lower than the slave */
}

static void test_pic_auto_eoi_and_rotation(void **state)
{
	(void)state;
	init_pair(0x03, 0x01);
	out(MASTER, 0x80); /* rotate in automatic EOI */
	line(3, true);
	assert_int_equal(ack(), 0x33);
	assert_int_equal(ocw3_read(MASTER, READ_ISR), 0);
	line(3, false);
	line(3, true);
	line(4, true);
	assert_int_equal(ack(), 0x34); /* 4 became the highest, 3 the lowest */
	assert_int_equal(ack(), 0x33);
	out(MASTER, 0x00);
	line(1, true);
	assert_int_equal(ack(), 0x31);
	line(1, false);
	line(1, true);
	line(3, false);
	line(3, true);
	assert_int_equal(ack(), 0x31); /* the order is still 4..7, 0..3: no more rotation */
}

static void test_pic_rotation_by_command(void **state)
{
	(void)state;
	line(3, true);
	assert_int_equal(ack(), 0x33);
	out(MASTER, 0xa0); /* rotate on unspecific EOI: 3 is the lowest */
	line(1, true);
	line(4, true);
	assert_int_equal(ack(), 0x34);
	out(MASTER, 0xe4); /* rotate on specific EOI: 4 is the lowest */
	line(4, false);
	line(4, true);
	assert_int_equal(ack(), 0x31);
	out(MASTER, EOI);
	assert_int_equal(ack(), 0x34);
	out(MASTER, EOI);
	out(MASTER, 0xc7); /* set priority: 7 lowest, the usual order */
	line(0, true);
	line(5, true);
	assert_int_equal(ack(), 0x30);
}

static void test_pic_special_mask(void **state)
{
	(void)state;
	line(1, true);
	assert_int_equal(ack(), 0x31);
	line(5, true);
	assert_false(intr());
	out(MASTER + 1, BIT(1));
	assert_false(intr());
	out(MASTER, 0x68);
	assert_int_equal(ack(), 0x35);
	/* An unspecific EOI does not end the level that is masked. */
	out(MASTER, EOI);
	assert_int_equal(ocw3_read(MASTER, READ_ISR), BIT(1));
	out(MASTER, 0x48); /* off: blocks again */
	line(6, true);
	assert_false(intr());
}

static void test_pic_spurious(void **state)
{
	(void)state;
	line(4, true);
	line(4, false);
	assert_int_equal(ack(), 0x37);
	assert_int_equal(ocw3_read(MASTER, READ_ISR), 0);
	/* The slave's: its request has gone when the second chip is asked. */
	line(12, true);
	pic->chip[1].irr = 0;
	assert_int_equal(ack(), 0x3f);
	assert_int_equal(ocw3_read(MASTER, READ_ISR), BIT(2));
	assert_int_equal(ocw3_read(SLAVE, READ_ISR), 0);
}

static void test_pic_poll(void **state)
{
	(void)state;
	out(MASTER, POLL);
	assert_int_equal(in(MASTER), 0);
	line(12, true);
	out(MASTER, POLL);
	assert_int_equal(in(MASTER), 0x82);
	out(SLAVE, POLL);
	assert_int_equal(in(SLAVE + 1), 0x84); /* any read of the chip */
	assert_int_equal(in(SLAVE + 1), 0);    /* the mask again */
	assert_int_equal(ocw3_read(MASTER, READ_ISR), BIT(2));
	assert_int_equal(ocw3_read(SLAVE, READ_ISR), BIT(4));
	assert_false(intr());
}

static void test_pic_wide_access_is_bytes(void **state)
{
	u64 value;

	(void)state;
	line(6, true);
	assert_true(bus_write(&fake.vm->io, fake.vm->vcpu[0], MASTER, 2, 0x4020));
	assert_int_equal(in(MASTER + 1), 0x40);
	assert_true(bus_read(&fake.vm->io, fake.vm->vcpu[0], MASTER, 2, &value));
	assert_int_equal(value, 0x4040);
}

static void test_pic_rise_asks_who_accepts(void **state)
{
	struct vm *vm = fake.vm;

	(void)state;
	line(4, true);
	assert_int_equal(fake_take_requests(vm->vcpu[0]), VCPU_REQUEST_EVENT);
	assert_int_equal(fake_take_requests(vm->vcpu[1]), 0);
	assert_int_equal(local_rises[0], 0);
	assert_int_equal(local_rises[1], 1);
	assert_int_equal(local_rises[2], 1);
	line(3, true); /* INTR is high already */
	assert_int_equal(fake_take_requests(vm->vcpu[0]), 0);
	/* After INTA it rises again for what remains. */
	init_pair(0x03, 0x03);
	line(4, false);
	line(4, true);
	line(3, false);
	line(3, true);
	fake_take_requests(vm->vcpu[0]);
	assert_int_equal(ack(), 0x33);
	assert_int_equal(fake_take_requests(vm->vcpu[0]), VCPU_REQUEST_EVENT);
	assert_int_equal(ack(), 0x34);
	assert_int_equal(fake_take_requests(vm->vcpu[0]), 0);
}

/* Virtual wire with a Fixed LVT0: no INTA, so each tick has to be a rise of INTR. */
static void test_pic_pulse_is_a_rise(void **state)
{
	(void)state;
	extint_pulse_line(fake.vm, 0);
	assert_true(intr());
	assert_int_equal(local_rises[1], 1);
	extint_pulse_line(fake.vm, 0);
	assert_true(intr());
	assert_int_equal(local_rises[1], 2);
	line(1, true);
	extint_pulse_line(fake.vm, 0); /* INTR is high for another reason */
	assert_int_equal(local_rises[1], 2);
}

static void test_pic_no_such_line(void **state)
{
	(void)state;
	line(2, true);
	line(16, true);
	line(~0u, true);
	extint_pulse_line(fake.vm, 2);
	extint_pulse_line(fake.vm, 16);
	assert_false(intr());
	assert_int_equal(in(MASTER), 0);
}

static void test_pic_reset_keeps_lines(void **state)
{
	(void)state;
	out(0x4d0, BIT(5));
	line(5, true);
	pic_reset(pic);
	assert_false(intr());
	assert_int_equal(in(0x4d0), 0);
	init_pair(0x01, 0x01);
	assert_false(intr());
	out(0x4d0, BIT(5));
	assert_true(intr());
}

/* INTR is wired to the I/O APIC's pin 0 as well: level, and a rise for each rise. */
static void test_pic_intr_drives_ioapic_pin_0(void **state)
{
	(void)state;
	line(3, true);
	assert_true(pin_level);
	assert_int_equal(pin_rises, 1);
	line(4, true); /* INTR is high already */
	assert_int_equal(pin_rises, 1);
	assert_int_equal(ack(), 0x33);
	assert_false(pin_level);
	out(MASTER, EOI); /* IRQ 4 is next */
	assert_int_equal(pin_rises, 2);
	assert_int_equal(ack(), 0x34);
	out(MASTER, EOI);
	assert_false(pin_level);
	/* Low during INTA: what remains is a new rise, though nobody saw INTR low. */
	init_pair(0x03, 0x03);
	line(3, false);
	line(3, true);
	line(4, false);
	line(4, true);
	pin_rises = 0;
	assert_int_equal(ack(), 0x33);
	assert_true(pin_level);
	assert_int_equal(pin_rises, 1);
	out(MASTER + 1, 0xff);
	assert_false(pin_level);
}

/* The end of service is told for every way in which it ends; not before, and not for nothing. */
static void test_pic_end_of_service_is_told(void **state)
{
	(void)state;
	fake.listening = true;
	line(0, true);
	line(1, true);
	assert_int_equal(ack(), 0x30);
	assert_int_equal(fake.ended_inputs, 0);
	out(MASTER, EOI);
	assert_int_equal(fake.ended_inputs, BIT(0));
	fake.ended_inputs = 0;
	out(MASTER, EOI); /* nothing in service */
	assert_int_equal(fake.ended_inputs, 0);
	assert_int_equal(ack(), 0x31);
	out(MASTER, 0x60 | 1); /* specific */
	assert_int_equal(fake.ended_inputs, BIT(1));
	fake.ended_inputs = 0;
	line(9, true);
	assert_int_equal(ack(), 0x39);
	out(SLAVE, 0xa0); /* rotating */
	assert_int_equal(fake.ended_inputs, BIT(9));
	out(MASTER, EOI);
	assert_int_equal(fake.ended_inputs, BIT(9) | BIT(2));
	fake.ended_inputs = 0;
	line(3, true);
	assert_int_equal(ack(), 0x33);
	init_pair(0x03, 0x01); /* ICW1 ends what is in service */
	assert_int_equal(fake.ended_inputs, BIT(3));
	fake.ended_inputs = 0;
	line(3, false);
	line(3, true);
	assert_int_equal(ack(), 0x33); /* automatic EOI */
	assert_int_equal(fake.ended_inputs, BIT(3));
}

static void test_pic_end_of_service_untold_if_nobody_listens(void **state)
{
	(void)state;
	line(0, true);
	assert_int_equal(ack(), 0x30);
	out(MASTER, EOI);
	assert_int_equal(fake.ended_inputs, 0);
}

static void test_pic_unserved_until_eoi(void **state)
{
	(void)state;
	assert_false(extint_is_unserved(fake.vm, 0));
	line(0, true);
	assert_true(extint_is_unserved(fake.vm, 0));
	out(MASTER + 1, 0x01); /* masked: nobody will take it */
	assert_false(extint_is_unserved(fake.vm, 0));
	out(MASTER + 1, 0x00);
	extint[0] = false; /* no vCPU takes ExtINT */
	assert_false(extint_is_unserved(fake.vm, 0));
	extint[2] = true;
	assert_true(extint_is_unserved(fake.vm, 0));
	assert_int_equal(ack(), 0x30);
	extint[2] = false; /* in service counts, whoever listens */
	assert_true(extint_is_unserved(fake.vm, 0));
	out(MASTER + 1, 0x01);
	assert_true(extint_is_unserved(fake.vm, 0));
	out(MASTER, EOI);
	assert_false(extint_is_unserved(fake.vm, 0));
	/* The slave's: masked at the master is masked. */
	out(MASTER + 1, 0x00);
	extint[2] = true;
	line(8, true);
	assert_true(extint_is_unserved(fake.vm, 8));
	out(MASTER + 1, 0x04);
	assert_false(extint_is_unserved(fake.vm, 8));
	assert_false(extint_is_unserved(fake.vm, 2));
	assert_false(extint_is_unserved(fake.vm, 16));
}

static void test_split_pair_is_the_platforms(void **state)
{
	(void)state;
	line(3, true);
	assert_int_equal(atomic32_read(&split.lines), 1);
	assert_true(extint_has(fake.vm));
	assert_null(fake.vm->pic.vm); /* the core's is not there */
	assert_int_equal(ack(), 0x33);
	assert_int_equal(atomic32_read(&split.acks), 1);
	extint_pulse_line(fake.vm, 3);
	assert_int_equal(atomic32_read(&split.lines), 2);
}

/* A machine without any 8259: nothing is pending, INTA reads an undriven bus. */
static void test_extint_without_a_source(void **state)
{
	(void)state;
	extint_attach(fake.vm, NULL, NULL);
	assert_false(extint_has(fake.vm));
	assert_int_equal(extint_ack(fake.vm), 0xff);
	extint_set_line(fake.vm, 0, true);
	extint_pulse_line(fake.vm, 0);
	assert_false(extint_is_unserved(fake.vm, 0));
}

int main(void)
{
#define TEST(f)                                                                                    \
	cmocka_unit_test_setup_teardown(f, setup, teardown),                                       \
	{                                                                                          \
#f "_split", f, setup_split, teardown, NULL                                        \
	}
	const struct CMUnitTest tests[] = {
	        TEST(test_pic_quiet_before_initialisation),
	        TEST(test_pic_icw1_single_and_no_icw4),
	        TEST(test_pic_icw1_clears),
	        TEST(test_pic_priority_and_nesting),
	        TEST(test_pic_mask),
	        TEST(test_pic_edge_forgotten_when_line_falls),
	        TEST(test_pic_level_asks_until_served),
	        TEST(test_pic_elcr_bits),
	        TEST(test_pic_slave),
	        TEST(test_pic_slave_next_request_is_a_new_edge),
	        TEST(test_pic_slave_masked_at_master),
	        TEST(test_pic_special_fully_nested),
	        TEST(test_pic_auto_eoi_and_rotation),
	        TEST(test_pic_rotation_by_command),
	        TEST(test_pic_special_mask),
	        TEST(test_pic_spurious),
	        TEST(test_pic_poll),
	        TEST(test_pic_wide_access_is_bytes),
	        TEST(test_pic_rise_asks_who_accepts),
	        TEST(test_pic_pulse_is_a_rise),
	        TEST(test_pic_no_such_line),
	        TEST(test_pic_reset_keeps_lines),
	        TEST(test_pic_intr_drives_ioapic_pin_0),
	        TEST(test_pic_end_of_service_is_told),
	        TEST(test_pic_end_of_service_untold_if_nobody_listens),
	        TEST(test_pic_unserved_until_eoi),
	        cmocka_unit_test_setup_teardown(test_split_pair_is_the_platforms, setup_split,
	                                        teardown),
	        cmocka_unit_test_setup_teardown(test_extint_without_a_source, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
