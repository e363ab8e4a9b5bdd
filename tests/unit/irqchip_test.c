/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * All interrupt controllers together, wired up as in a VM: from the 8254 and device lines by the
 * 8259 pair, the I/O APIC and the local APICs to a vCPU that takes interrupts and ends them. Each
 * test runs with the core's own 8259 pair and with the platform's.
 */
#include "tests/unit/lapic_guest.h"

#include "irq/extint.h"
#include "irq/pit.h"
#include "platform/irqchip.h"

#define BASE   0x30 /* of the 8259s' vectors */
#define HZ     1193
#define LEVEL  ((u32)IOAPIC_RTE_LEVEL)
#define MASKED ((u32)IOAPIC_RTE_MASKED)

static struct irqchip split;

static void out(u16 port, u8 value)
{
	assert_true(bus_write(&fake.vm->io, cpu(0), port, 1, value));
}

static void init_pics(void)
{
	static const u8 base[2] = {BASE, BASE + 8}, icw3[2] = {0x04, 0x02};

	for (u32 i = 0; i < 2; i++) {
		u16 port = i ? 0xa0 : 0x20;

		out(port, 0x11);
		out(port + 1, base[i]);
		out(port + 1, icw3[i]);
		out(port + 1, 0x01);
	}
}

static void create(bool platform)
{
	fake_create(3);
	enable_all();
	assert_true(route_create(fake.vm));
	ioapic_init(fake.vm);
	split = (struct irqchip){0};
	if (platform) {
		irqchip_init(&split, fake.vm);
	} else {
		pic_init(&fake.vm->pic, fake.vm);
		pic_attach(fake.vm);
	}
	pit_init(fake.vm);
	init_pics();
}

static int setup(void **state)
{
	(void)state;
	create(false);
	return 0;
}

static int setup_split(void **state)
{
	(void)state;
	create(true);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	pit_reset(fake.vm);
	ioapic_reset(fake.vm);
	route_destroy(fake.vm);
	fake_destroy();
	return 0;
}

static void entry(u32 pin, u32 low, u8 dest)
{
	const u32 value[2] = {low, (u32)dest << 24};

	for (u32 i = 2; i-- > 0;) {
		ioapic_write(fake.vm, 0x00, 4, 0x10 + 2 * pin + i);
		ioapic_write(fake.vm, 0x10, 4, value[i]);
	}
}

/* What vCPU `i` takes at its next entry, -1: nothing; in the order of irq/intr.c. */
static int take(u32 i)
{
	int vector = lapic_deliverable(cpu(i));

	if (extint_has(fake.vm) && lapic_accepts_extint(cpu(i))) {
		vector = extint_ack(fake.vm);
		lapic_ack_extint(cpu(i));
	} else if (vector >= 0) {
		lapic_ack(cpu(i), (u8)vector);
	}
	return vector;
}

static void pass(u64 pit_ticks)
{
	/* A count takes effect one tick after it was written. */
	fake_advance_ns((pit_ticks + 2) * 1000000000 / PIT_HZ);
}

static void start_timer(void)
{
	out(0x43, 0x34);
	out(0x40, HZ & 0xff);
	out(0x40, HZ >> 8);
}

static void pic_eoi(void)
{
	out(0x20, 0x20);
}

/* The timer runs, and nothing of its start is left: OUT's first rise is when it is programmed. */
static void start_timer_by_pic(void)
{
	wr(0, APIC_LVT0, APIC_DM_EXTINT);
	start_timer();
	assert_int_equal(take(0), BASE);
	pic_eoi();
	assert_int_equal(take(0), -1);
}

static void test_irqchip_virtual_wire_by_lvt0(void **state)
{
	(void)state;
	wr(1, APIC_LVT0, APIC_LVT_MASKED | APIC_DM_EXTINT);
	start_timer_by_pic();
	pass(HZ);
	assert_int_equal(take(1), -1); /* masked there */
	assert_int_equal(take(0), BASE);
	pass(HZ); /* not ended: the next one waits behind it */
	assert_int_equal(take(0), -1);
	pic_eoi();
	assert_int_equal(take(0), BASE);
	pic_eoi();
	assert_false(vector_bit(0, APIC_ISR, BASE));
}

/* An ExtINT message waits for INTR; LVT0, a line of its own, hears of the same rise. */
static void test_irqchip_extint_message_leaves_lvt0_its_rise(void **state)
{
	(void)state;
	wr(0, APIC_LVT0, 0x55);
	wr(1, APIC_LVT0, APIC_LVT_LEVEL | 0x56);
	msi_deliver(fake.vm, 0xfee00000, APIC_DM_EXTINT);
	msi_deliver(fake.vm, 0xfee01000, APIC_DM_EXTINT);
	fake_take_requests(cpu(0));
	irq_set_line(fake.vm, 5, true);
	assert_true(fake_take_requests(cpu(0)) & VCPU_REQUEST_EVENT);
	assert_true(vector_bit(0, APIC_IRR, 0x55));
	assert_true(vector_bit(1, APIC_IRR, 0x56));
	assert_true(rd(1, APIC_LVT0) & APIC_LVT_REMOTE_IRR);
	assert_int_equal(take(0), BASE + 5); /* the message's INTA cycle */
	assert_int_equal(take(0), 0x55);
	assert_int_equal(take(1), 0x56);
}

/* Only with that message does a masked LVT0 take INTR, and once. */
static void test_irqchip_extint_message_asks_once(void **state)
{
	(void)state;
	msi_deliver(fake.vm, 0xfee00000, APIC_DM_EXTINT);
	fake_take_requests(cpu(0));
	irq_set_line(fake.vm, 5, true);
	assert_true(fake_take_requests(cpu(0)) & VCPU_REQUEST_EVENT);
	assert_int_equal(take(0), BASE + 5);
	pic_eoi();
	irq_pulse_line(fake.vm, 5);
	assert_int_equal(take(0), -1);
	assert_int_equal(fake_take_requests(cpu(0)) & VCPU_REQUEST_EVENT, 0);
}

static void test_irqchip_firmware_leaves_virtual_wire(void **state)
{
	(void)state;
	irqchip_virtual_wire(fake.vm);
	assert_int_equal(rd(0, APIC_LVT0), APIC_DM_EXTINT);
	assert_int_equal(rd(0, APIC_LVT1), APIC_DM_NMI);
	irq_set_line(fake.vm, 9, true);
	assert_int_equal(take(0), BASE + 9);
}

static void test_irqchip_virtual_wire_by_pin_0(void **state)
{
	(void)state;
	entry(0, APIC_DM_EXTINT, 1);
	start_timer();
	assert_int_equal(take(0), -1);
	assert_int_equal(take(1), BASE);
	for (u32 i = 0; i < 5; i++) {
		pic_eoi();
		assert_int_equal(take(1), -1);
		pass(HZ);
		assert_int_equal(take(1), BASE);
	}
	/* Masked: INTR rises, no message goes. Unmasking sends nothing: it is an edge. */
	entry(0, MASKED | APIC_DM_EXTINT, 1);
	pic_eoi();
	pass(HZ);
	assert_true(extint_has(fake.vm));
	assert_int_equal(take(1), -1);
	entry(0, APIC_DM_EXTINT, 2);
	assert_int_equal(take(2), -1);
}

/* One ExtINT message asks for one INTA cycle, whatever INTR does. */
static void test_irqchip_message_is_one_inta_cycle(void **state)
{
	(void)state;
	entry(0, APIC_DM_EXTINT, 1);
	irq_set_line(fake.vm, 3, true);
	assert_int_equal(take(1), BASE + 3);
	assert_int_equal(take(1), -1);
	irq_set_line(fake.vm, 1, true); /* higher: INTR rises again, another message */
	assert_int_equal(take(1), BASE + 1);
	assert_int_equal(take(1), -1);
}

static void test_irqchip_disabled_apic_is_wired_to_intr(void **state)
{
	(void)state;
	wrmsr(2, MSR_APIC_BASE, APIC_BASE_DEFAULT);
	irq_set_line(fake.vm, 4, true);
	assert_int_equal(take(0), -1);
	assert_int_equal(take(2), BASE + 4);
}

/* INTR falls between being seen and INTA: the spurious vector, nothing in service. */
static void test_irqchip_spurious_inta(void **state)
{
	(void)state;
	wr(0, APIC_LVT0, APIC_DM_EXTINT);
	irq_set_line(fake.vm, 4, true);
	irq_set_line(fake.vm, 4, false);
	assert_false(extint_has(fake.vm));
	assert_int_equal(extint_ack(fake.vm), BASE + 7);
	assert_int_equal(take(0), -1);
}

/* ---- reinjection with the real controllers ---- */

/* Take and end ticks of vCPU 0 until none comes for a while. Returns how many there were. */
static u32 drain(bool by_pic)
{
	u32 n = 0;

	for (u32 idle = 0; idle < 3; idle++) {
		while (take(0) >= 0) {
			n++;
			idle = 0;
			if (by_pic)
				pic_eoi();
			else
				wr(0, APIC_EOI, 0);
		}
		pass(121);
	}
	return n;
}

static u64 ticks_so_far(void)
{
	return atomic64_read(&fake.vm->pit.ticks) + fake.vm->pit.owed;
}

static void test_irqchip_reinject_by_pic(void **state)
{
	(void)state;
	pit_set_reinject(fake.vm, true);
	start_timer_by_pic();
	pass(HZ * 50);
	assert_in_range(drain(true), 50, 60);
	assert_int_equal(fake.vm->pit.owed, 0);
	assert_int_equal(fake.vm->pit.skipped, 0);
}

static void test_irqchip_no_reinject_by_pic(void **state)
{
	(void)state;
	start_timer_by_pic();
	pass(HZ * 50);
	assert_in_range(drain(true), 1, 10);
}

static void test_irqchip_reinject_by_ioapic(void **state)
{
	(void)state;
	pit_set_reinject(fake.vm, true);
	out(0x21, 0xff);
	entry(2, 0x61, 0);
	start_timer();
	drain(false);
	pass(HZ * 50);
	assert_in_range(drain(false), 50, 60);
}

static void test_irqchip_no_reinject_by_ioapic(void **state)
{
	(void)state;
	out(0x21, 0xff);
	entry(2, 0x61, 0);
	start_timer();
	drain(false);
	pass(HZ * 50);
	assert_in_range(drain(false), 1, 10);
}

/* The 8259 is open but no LVT0 is: its request waits for ever and must not stop the I/O APIC. */
static void test_irqchip_reinject_beside_a_deaf_pic(void **state)
{
	(void)state;
	pit_set_reinject(fake.vm, true);
	entry(2, 0x61, 0);
	start_timer();
	drain(false);
	pass(HZ * 20);
	assert_in_range(drain(false), 20, 25);
}

/* Masked everywhere: no tick is kept for later, and the first one after unmasking comes. */
static void test_irqchip_reinject_masked_ticks_are_gone(void **state)
{
	(void)state;
	pit_set_reinject(fake.vm, true);
	out(0x21, 0xff);
	entry(2, MASKED | 0x61, 0);
	start_timer();
	pass(HZ * 20);
	assert_int_equal(fake.vm->pit.owed, 0);
	entry(2, 0x61, 0);
	assert_int_equal(take(0), -1);
	pass(HZ);
	assert_int_equal(take(0), 0x61);
}

/* In service, then INIT: no EOI will ever come. */
static void test_irqchip_reinject_survives_init(void **state)
{
	(void)state;
	pit_set_reinject(fake.vm, true);
	out(0x21, 0xff);
	entry(2, 0x61, 0);
	start_timer();
	assert_int_equal(take(0), 0x61);
	pass(HZ * 3);
	assert_int_equal(take(0), -1);
	lapic_reset(cpu(0), true);
	wr(0, APIC_SVR, SVR_ON);
	pass(HZ * 2);
	assert_int_equal(take(0), 0x61);
}

/* The entry's vector is rewritten while a tick is in service under the old one. */
static void test_irqchip_reinject_survives_a_new_vector(void **state)
{
	(void)state;
	pit_set_reinject(fake.vm, true);
	out(0x21, 0xff);
	entry(2, 0x61, 0);
	start_timer();
	assert_int_equal(take(0), 0x61);
	entry(2, 0x71, 0);
	pass(HZ * 2);
	assert_int_equal(take(0), 0x71);
	wr(0, APIC_EOI, 0);
	wr(0, APIC_EOI, 0);
	pass(HZ * 10);
	assert_in_range(drain(false), 9, 14);
}

/* The route of GSI 0 moves to another pin with a tick in service. */
static void test_irqchip_reinject_follows_the_route(void **state)
{
	const struct route_entry moved = {.gsi = 0, .kind = ROUTE_IOAPIC, .input = 20};
	u64 before;

	(void)state;
	pit_set_reinject(fake.vm, true);
	entry(2, 0x61, 0);
	entry(20, 0x81, 0);
	start_timer();
	drain(false);
	assert_true(route_set(fake.vm, &moved, 1));
	drain(false);
	before = ticks_so_far();
	pass(HZ * 10);
	assert_in_range(drain(false), 10, 13);
	assert_true(ticks_so_far() >= before + 10);
	assert_false(vector_bit(0, APIC_ISR, 0x61));
}

/* The guest that ends every interrupt at once cannot make ticks come faster than they are due. */
static void test_irqchip_reinject_is_not_a_storm(void **state)
{
	(void)state;
	pit_set_reinject(fake.vm, true);
	start_timer_by_pic();
	for (u32 i = 0; i < 1000; i++)
		pic_eoi();
	assert_int_equal(take(0), -1);
	pass(HZ - 10);
	assert_int_equal(take(0), -1);
}

/* ---- lines to MSI ---- */

static void test_irqchip_gsi_as_message(void **state)
{
	const struct route_entry routes[] = {
	        {.gsi = 100, .kind = ROUTE_MSI, .address = 0xfee02000, .data = 0x91},
	};

	(void)state;
	assert_true(route_set(fake.vm, routes, 1));
	irq_set_line(fake.vm, 100, true);
	assert_int_equal(take(2), 0x91);
	wr(2, APIC_EOI, 0);
	assert_int_equal(take(2), -1); /* an edge: still high, not sent again */
}

int main(void)
{
#define T(f)                                                                                       \
	cmocka_unit_test_setup_teardown(f, setup, teardown),                                       \
	{                                                                                          \
#f "_split", f, setup_split, teardown, NULL                                        \
	}
	const struct CMUnitTest tests[] = {
	        T(test_irqchip_virtual_wire_by_lvt0),
	        T(test_irqchip_extint_message_leaves_lvt0_its_rise),
	        T(test_irqchip_extint_message_asks_once),
	        T(test_irqchip_firmware_leaves_virtual_wire),
	        T(test_irqchip_virtual_wire_by_pin_0),
	        T(test_irqchip_message_is_one_inta_cycle),
	        T(test_irqchip_disabled_apic_is_wired_to_intr),
	        T(test_irqchip_spurious_inta),
	        T(test_irqchip_reinject_by_pic),
	        T(test_irqchip_no_reinject_by_pic),
	        T(test_irqchip_reinject_by_ioapic),
	        T(test_irqchip_no_reinject_by_ioapic),
	        T(test_irqchip_reinject_beside_a_deaf_pic),
	        T(test_irqchip_reinject_masked_ticks_are_gone),
	        T(test_irqchip_reinject_survives_init),
	        T(test_irqchip_reinject_survives_a_new_vector),
	        T(test_irqchip_reinject_follows_the_route),
	        T(test_irqchip_reinject_is_not_a_storm),
	        T(test_irqchip_gsi_as_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
