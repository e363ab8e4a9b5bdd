/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The EOI-exit bitmap over the real local APICs, I/O APIC, map and routing table: what is in it and
 * what is not; then at random, that no EOI for which software has something to do is ever missing
 * from the bitmap of the vCPU that does it.
 */
#include "tests/unit/lapic_guest.h"

#include "irq/eoi_exit.h"
#include "irq/notify.h"

#define REGSEL 0x00
#define IOWIN  0x10

#define LEVEL  ((u32)IOAPIC_RTE_LEVEL)
#define MASKED ((u32)IOAPIC_RTE_MASKED)
#define LOGIC  ((u32)IOAPIC_RTE_LOGICAL)

static void fired(struct irq_notifier *notifier);
static struct irq_notifier notifier = {.gsi = 0, .fire = fired}; /* I/O APIC pin 2 */
static u32 fires;

static void fired(struct irq_notifier *which)
{
	assert_ptr_equal(which, &notifier);
	fires++;
}

static void create(u32 vcpus, const u32 *ids)
{
	fake_create_with_ids(vcpus, ids);
	enable_all();
	assert_true(route_create(fake.vm));
	ioapic_init(fake.vm);
	irq_notify_add(fake.vm, &notifier);
	fires = 0;
}

static int setup(void **state)
{
	(void)state;
	create(4, NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	ioapic_reset(fake.vm);
	route_destroy(fake.vm);
	fake_destroy();
	return 0;
}

static void reg(u8 index, u32 value)
{
	ioapic_write(fake.vm, REGSEL, 4, index);
	ioapic_write(fake.vm, IOWIN, 4, value);
}

static void entry(u32 pin, u32 low, u8 dest)
{
	reg(0x10 + 2 * pin, MASKED);
	reg(0x11 + 2 * pin, (u32)dest << 24);
	reg(0x10 + 2 * pin, low);
}

static bool has(u32 i, u8 vector)
{
	u64 set[EOI_EXIT_WORDS];

	eoi_exit_bitmap(cpu(i), set);
	return set[vector / 64] & BIT64(vector % 64);
}

/* The vCPUs whose bitmap has `vector`. */
static u32 who(u8 vector)
{
	u32 set = 0;

	for (u32 i = 0; i < fake.vm->vcpu_count; i++)
		set |= has(i, vector) ? BIT(i) : 0;
	return set;
}

static u32 size(u32 i)
{
	u64 set[EOI_EXIT_WORDS];
	u32 n = 0;

	eoi_exit_bitmap(cpu(i), set);
	for (u32 k = 0; k < EOI_EXIT_WORDS; k++)
		n += (u32)__builtin_popcountll(set[k]);
	return n;
}

static void take(u32 i, u8 vector)
{
	assert_int_equal(lapic_deliverable(cpu(i)), vector);
	lapic_ack(cpu(i), vector);
}

static void test_eoi_exit_empty_after_reset(void **state)
{
	(void)state;
	for (u32 i = 0; i < 4; i++)
		assert_int_equal(size(i), 0);
}

static void test_eoi_exit_level_entries_by_destination(void **state)
{
	(void)state;
	for (u32 i = 0; i < 4; i++)
		wr(i, APIC_LDR, 0x01000000u << i);
	entry(3, LEVEL | 0x31, 2);
	entry(4, LEVEL | 0x32, 0xff);
	entry(5, LEVEL | LOGIC | 0x33, 0x05);
	entry(6, LEVEL | APIC_DM_LOWEST | LOGIC | 0x34, 0x0e);
	entry(7, 0x35, 0xff);                    /* edge */
	entry(8, LEVEL | MASKED | 0x36, 1);      /* sends nothing */
	entry(9, LEVEL | APIC_DM_NMI | 0x37, 1); /* not a level: nobody ends it */
	assert_int_equal(who(0x31), BIT(2));
	assert_int_equal(who(0x32), 0xf);
	assert_int_equal(who(0x33), BIT(0) | BIT(2));
	assert_int_equal(who(0x34), BIT(1) | BIT(2) | BIT(3)); /* any of them may get it */
	assert_int_equal(who(0x35), 0);
	assert_int_equal(who(0x36), 0);
	assert_int_equal(who(0x37), 0);
	assert_int_equal(size(0), 2);
}

static void test_eoi_exit_follows_the_map(void **state)
{
	(void)state;
	entry(3, LEVEL | 0x31, 9);
	assert_int_equal(who(0x31), 0);
	wr(1, APIC_ID, 9u << 24);
	assert_int_equal(who(0x31), BIT(1));
	to_x2apic(1); /* back to its own ID */
	assert_int_equal(who(0x31), 0);
	entry(3, LEVEL | LOGIC | 0x31, 0x10);
	wr(2, APIC_LDR, 0x10000000);
	assert_int_equal(who(0x31), BIT(2));
	wr(2, APIC_DFR, 0x0fffffff); /* cluster 1, member 0 */
	assert_int_equal(who(0x31), 0);
	wr(3, APIC_DFR, 0x0fffffff);
	wr(3, APIC_LDR, 0x11000000);
	entry(3, LEVEL | LOGIC | 0x31, 0x11);
	assert_int_equal(who(0x31), BIT(3));
}

static void test_eoi_exit_unmasking_is_a_change(void **state)
{
	(void)state;
	entry(3, LEVEL | MASKED | 0x31, 1);
	assert_int_equal(who(0x31), 0);
	reg(0x10 + 6, LEVEL | 0x31);
	assert_int_equal(who(0x31), BIT(1));
	/* Masked again with the message under way: its end must be seen, for remote IRR. */
	ioapic_set_line(fake.vm, 3, true);
	reg(0x10 + 6, LEVEL | MASKED | 0x31);
	assert_int_equal(who(0x31), BIT(1));
	take(1, 0x31);
	wr(1, APIC_EOI, 0);
	reg(0x11 + 6, 2u << 24);
	assert_int_equal(who(0x31), 0);
}

/* The entry's destination changes while its message waits, then while it is in service. */
static void test_eoi_exit_stale_until_ended(void **state)
{
	(void)state;
	entry(3, LEVEL | 0x31, 1);
	ioapic_set_line(fake.vm, 3, true);
	reg(0x11 + 6, 2u << 24);
	assert_int_equal(who(0x31), BIT(1) | BIT(2));
	take(1, 0x31);
	reg(0x11 + 6, 3u << 24);
	assert_int_equal(who(0x31), BIT(1) | BIT(3));
	/* Another vector: the old one is still on its way. */
	reg(0x10 + 6, LEVEL | 0x41);
	assert_int_equal(who(0x31), BIT(1));
	assert_int_equal(who(0x41), BIT(3));
	wr(1, APIC_EOI, 0);
	assert_int_equal(who(0x31), 0);
	assert_int_equal(who(0x41), BIT(3));
}

/* Never computed while the entry was there: the local APIC still knows that it is a level. */
static void test_eoi_exit_stale_without_an_earlier_bitmap(void **state)
{
	(void)state;
	entry(3, LEVEL | 0x31, 1);
	ioapic_set_line(fake.vm, 3, true);
	entry(3, MASKED, 0);
	assert_int_equal(who(0x31), BIT(1));
	take(1, 0x31);
	assert_int_equal(who(0x31), BIT(1));
	wr(1, APIC_EOI, 0);
	assert_int_equal(who(0x31), 0);
}

static void test_eoi_exit_entries_that_somebody_listens_to(void **state)
{
	(void)state;
	entry(2, 0x30, 1); /* edge: GSI 0 */
	entry(3, 0x31, 1);
	assert_int_equal(who(0x30), 0);
	irq_notify_listen(fake.vm, &notifier, true);
	assert_int_equal(who(0x30), BIT(1));
	assert_int_equal(who(0x31), 0);
	ioapic_set_line(fake.vm, 2, true);
	take(1, 0x30);
	entry(2, 0x30, 2); /* elsewhere, with one in service here */
	assert_int_equal(who(0x30), BIT(1) | BIT(2));
	wr(1, APIC_EOI, 0);
	assert_int_equal(fires, 1);
	irq_notify_listen(fake.vm, &notifier, false);
	assert_int_equal(who(0x30), 0);
	serve(2, 0x30);
	wr(2, APIC_EOI, 0);
	assert_int_equal(fires, 1);
}

static void test_eoi_exit_lvt0_level(void **state)
{
	(void)state;
	wr(1, APIC_LVT0, APIC_LVT_LEVEL | 0x51);
	assert_int_equal(who(0x51), BIT(1));
	wr(1, APIC_LVT0, 0x51);
	assert_int_equal(who(0x51), 0);
	wr(1, APIC_LVT0, APIC_LVT_LEVEL | APIC_DM_EXTINT | 0x51);
	assert_int_equal(who(0x51), 0);
}

static void test_eoi_exit_level_msi(void **state)
{
	const struct route_entry routes[] = {
	        {.gsi = 40, .kind = ROUTE_MSI, .address = 0xfee02000, .data = 0xc061},
	        {.gsi = 41, .kind = ROUTE_MSI, .address = 0xfee02000, .data = 0x4062}, /* edge */
	};

	(void)state;
	assert_true(route_set(fake.vm, routes, ARRAY_SIZE(routes)));
	assert_int_equal(who(0x61), BIT(2));
	assert_int_equal(who(0x62), 0);
	msi_deliver(fake.vm, 0xfee01000, 0xc063);
	assert_int_equal(who(0x63), 0xf); /* in no table: known by having come */
	msi_deliver(fake.vm, 0xfee01000, 0x4064);
	assert_int_equal(who(0x64), 0);
}

/* Nobody programs a bitmap: a change asks nobody. Somebody does: every vCPU, at every change. */
static void test_eoi_exit_changes_are_requests_where_required(void **state)
{
	(void)state;
	for (u32 i = 0; i < 4; i++)
		fake_take_requests(cpu(i));
	entry(3, LEVEL | 0x31, 1);
	for (u32 i = 0; i < 4; i++)
		assert_int_equal(fake_take_requests(cpu(i)), 0);
	eoi_exit_require(fake.vm);
	for (u32 i = 0; i < 4; i++)
		assert_int_equal(fake_take_requests(cpu(i)), VCPU_REQUEST_EOI_EXIT);
	reg(0x10 + 6, LEVEL | 0x31); /* no change */
	assert_int_equal(fake_take_requests(cpu(1)), 0);
	reg(0x10 + 6, LEVEL | 0x32);
	for (u32 i = 0; i < 4; i++)
		assert_int_equal(fake_take_requests(cpu(i)), VCPU_REQUEST_EOI_EXIT);
	wr(2, APIC_LDR, 0x40000000);
	assert_int_equal(fake_take_requests(cpu(0)), VCPU_REQUEST_EOI_EXIT);
	irq_notify_listen(fake.vm, &notifier, true);
	assert_int_equal(fake_take_requests(cpu(3)), VCPU_REQUEST_EOI_EXIT);
}

/* ---- at random ---- */

#define VCPUS 5
static u32 random_state;

static u32 below(u32 n)
{
	random_state = random_state * 1664525 + 1013904223;
	return (random_state >> 8) % n;
}

static u8 any_vector(void)
{
	static const u8 few[] = {0x31, 0x32, 0x45, 0x52, 0x91, 0xe1}; /* so that they meet */

	return few[below(ARRAY_SIZE(few))];
}

static void change_entry(void)
{
	static const u32 modes[] = {0, 0, 0, APIC_DM_LOWEST, APIC_DM_NMI, APIC_DM_EXTINT};
	static const u8 dests[] = {0, 1, 2, 3, 4, 0x13, 0xff, 0x21};
	u32 pin = 1 + below(6);

	if (below(2))
		reg((u8)(0x11 + 2 * pin), (u32)dests[below(ARRAY_SIZE(dests))] << 24);
	else
		reg((u8)(0x10 + 2 * pin), any_vector() | modes[below(ARRAY_SIZE(modes))] |
		                                  (below(4) ? LEVEL : 0) | (below(4) ? 0 : LOGIC) |
		                                  (below(5) ? 0 : MASKED));
}

static void change_apic(u32 i)
{
	switch (below(8)) {
	case 0:
		wr(i, APIC_ID, below(8) << 24);
		break;
	case 1:
		wr(i, APIC_LDR, BIT(24 + below(8)));
		break;
	case 2:
		wr(i, APIC_DFR, below(2) ? ~0u : 0x0fffffff);
		break;
	case 3:
		if (!below(4))
			(void)!lapic_msr_write(cpu(i), MSR_APIC_BASE,
			                       APIC_BASE_DEFAULT | below(4) * APIC_BASE_EXTD);
		break;
	case 4:
		if (!below(20))
			lapic_reset(cpu(i), true);
		break;
	default:
		break;
	}
	if (lapic_is_x2apic(cpu(i)))
		(void)!lapic_msr_write(cpu(i), X2MSR(APIC_SVR), SVR_ON);
	else
		wr(i, APIC_SVR, SVR_ON);
}

static void change_routes(void)
{
	struct route_entry routes[8];
	u32 count = 0;

	for (u32 gsi = 0; gsi < 6; gsi++) {
		if (below(4))
			routes[count++] = (struct route_entry){gsi, ROUTE_IOAPIC, gsi + 1, 0, 0};
	}
	routes[count++] = (struct route_entry){50, ROUTE_MSI, 0, 0xfee00000 | below(5) << 12,
	                                       any_vector() | (below(2) ? 0xc000 : 0)};
	assert_true(route_set(fake.vm, routes, count));
}

static void change_something(void)
{
	switch (below(10)) {
	case 0 ... 2:
		change_entry();
		break;
	case 3 ... 5:
		irq_set_line(fake.vm, below(2) ? below(6) : 50, below(2));
		break;
	case 6:
		change_apic(below(VCPUS));
		break;
	case 7:
		if (below(2))
			lapic_accept(&cpu(below(VCPUS))->lapic, any_vector(), false,
			             IRQ_SOURCE_IPI);
		else
			msi_deliver(fake.vm, 0xfee00000 | below(5) << 12,
			            any_vector() | (below(8) ? 0 : 0xc000));
		break;
	case 8:
		if (!below(8))
			change_routes();
		break;
	default:
		if (!below(8))
			irq_notify_listen(fake.vm, &notifier, below(2));
		break;
	}
}

/* The I/O APIC waits for this EOI, by its registers as they are read. */
static bool is_waited_for(u8 vector)
{
	for (u32 pin = 0; pin < IOAPIC_PINS; pin++) {
		u64 rte = fake.vm->ioapic.rte[pin];

		if ((rte & IOAPIC_RTE_REMOTE_IRR) && (rte & IOAPIC_RTE_VECTOR) == vector)
			return true;
	}
	return false;
}

static int in_service(u32 i)
{
	for (int vector = 255; vector >= 0; vector--) {
		if (vector_bit(i, APIC_ISR, (u8)vector))
			return vector;
	}
	return -1;
}

static struct {
	u64 eois, levels, waited_for, seen, unseen;
} found;

static void step(u32 i)
{
	int vector = lapic_deliverable(cpu(i));

	has(i, 0); /* the entry: a bitmap that is too old is computed */
	if (vector >= 0 && below(3)) {
		lapic_ack(cpu(i), (u8)vector);
		return;
	}
	vector = in_service(i);
	if (vector < 0 || below(2))
		return;
	found.eois++;
	if (has(i, (u8)vector))
		found.seen++;
	else
		found.unseen++;
	if (vector_bit(i, APIC_TMR, (u8)vector)) {
		found.levels++;
		if (is_waited_for((u8)vector)) {
			found.waited_for++;
			assert_true(has(i, (u8)vector));
		}
	}
	if (lapic_is_x2apic(cpu(i)))
		wrmsr(i, X2MSR(APIC_EOI), 0);
	else
		wr(i, APIC_EOI, 0);
}

static void test_eoi_exit_no_level_eoi_is_missed(void **state)
{
	static const u32 ids[VCPUS] = {0, 1, 2, 3, 0x13};

	(void)state;
	random_state = 7;
	found = (typeof(found)){0};
	/* Many short lives: what has once come as a level MSI is in every bitmap from then on. */
	for (u32 life = 0; life < 300; life++) {
		teardown(NULL);
		create(VCPUS, ids);
		for (u32 i = 0; i < 500; i++) {
			change_something();
			step(below(VCPUS));
		}
	}
	print_message(
	        "# %llu EOIs, %llu of levels, %llu that the I/O APIC waited for; bitmaps would "
	        "have passed %llu, not %llu\n",
	        (unsigned long long)found.eois, (unsigned long long)found.levels,
	        (unsigned long long)found.waited_for, (unsigned long long)found.seen,
	        (unsigned long long)found.unseen);
	assert_true(found.waited_for > 1000);
	assert_true(found.unseen > 1000); /* a bitmap of ones would be no test */
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	        T(test_eoi_exit_empty_after_reset),
	        T(test_eoi_exit_level_entries_by_destination),
	        T(test_eoi_exit_follows_the_map),
	        T(test_eoi_exit_unmasking_is_a_change),
	        T(test_eoi_exit_stale_until_ended),
	        T(test_eoi_exit_stale_without_an_earlier_bitmap),
	        T(test_eoi_exit_entries_that_somebody_listens_to),
	        T(test_eoi_exit_lvt0_level),
	        T(test_eoi_exit_level_msi),
	        T(test_eoi_exit_changes_are_requests_where_required),
	        T(test_eoi_exit_no_level_eoi_is_missed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
