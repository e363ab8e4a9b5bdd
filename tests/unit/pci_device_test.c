/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * platform/pci.c: what functions are made of: base registers, the pin, the MSI capability, DMA. Two
 * functions of the test's own, whose memory records who was asked for what.
 */
#include "platform_fake.h"

#include <string.h>

#define ADDRESS 0xcf8
#define DATA    0xcfc

#define COMMAND    0x04
#define STATUS     0x06
#define BAR0       0x10
#define BAR1       0x14
#define CAPABILITY 0x34
#define LINE       0x3c
#define PIN        0x3d
#define MSI        0x60
#define CONTROL    (MSI + 2)
#define LOW        (MSI + 4)
#define HIGH       (MSI + 8)
#define MESSAGE    (MSI + 12)
#define MASK       (MSI + 16)
#define PENDING    (MSI + 20)

#define MEMORY_SPACE 0x0002
#define MASTER       0x0004
#define INTX_DISABLE 0x0400
#define MSI_ENABLE   0x0001

#define ONE  PCI_DEVFN(3, 0)
#define TWO  PCI_DEVFN(5, 0)
#define BASE 0xe0000000u
#define SIZE 0x1000u
#define GSI  11

struct recorder {
	u64 offset, value;
	u32 size, reads, writes;
};

static struct recorder recorder[2];
static struct pci_function *one, *two;

static u64 record_read(void *device, struct vcpu *vcpu, u64 offset, u32 size)
{
	struct recorder *r = device;

	assert_ptr_equal(vcpu, &fake->vcpu[0]);
	r->offset = offset;
	r->size = size;
	r->reads++;
	return 0x1122334455667788ull;
}

static void record_write(void *device, struct vcpu *vcpu, u64 offset, u32 size, u64 value)
{
	struct recorder *r = device;

	assert_ptr_equal(vcpu, &fake->vcpu[0]);
	r->offset = offset;
	r->size = size;
	r->value = value;
	r->writes++;
}

static const struct bus_ops record_ops = {record_read, record_write};

static int setup(void **state)
{
	struct pci *pci;

	if (fake_setup(state))
		return -1;
	memset(recorder, 0, sizeof(recorder));
	pci = &((struct platform *)fake->vm.platform)->pci;
	one = pci_add(pci, ONE, 0x1234, 0x0001, 0xff0000);
	two = pci_add(pci, TWO, 0x1234, 0x0002, 0xff0000);
	pci_add_memory(one, 0, SIZE, BASE, &record_ops, &recorder[0]);
	pci_add_memory(two, 1, 4 * SIZE, BASE + 0x100000, &record_ops, &recorder[1]);
	pci_add_pin(one, GSI);
	pci_add_pin(two, GSI);
	pci_add_msi(one, MSI, true);
	return 0;
}

static u32 get(u8 devfn, u32 reg, u32 size)
{
	fake_out(ADDRESS, 4, 0x80000000u | (u32)devfn << 8 | (reg & 0xfc));
	return (u32)fake_in((u16)(DATA + reg % 4), size);
}

static void put(u8 devfn, u32 reg, u32 size, u32 value)
{
	fake_out(ADDRESS, 4, 0x80000000u | (u32)devfn << 8 | (reg & 0xfc));
	fake_out((u16)(DATA + reg % 4), size, value);
}

static u64 unknown(void)
{
	return counter_read(&fake->vcpu[0].account.counters[COUNTER_MEMORY_UNKNOWN]);
}

/* --- base registers --- */

static void test_pci_bar_sizing(void **state)
{
	(void)state;
	assert_int_equal(get(ONE, BAR0, 4), BASE);
	put(ONE, BAR0, 4, 0xffffffff);
	assert_int_equal(get(ONE, BAR0, 4), 0u - SIZE);
	put(TWO, BAR1, 4, 0xffffffff);
	assert_int_equal(get(TWO, BAR1, 4), 0u - 4 * SIZE);
	put(TWO, BAR1, 4, 0);
	assert_int_equal(get(TWO, BAR1, 4), 0);
	/* Those that are not there stay zero, the ROM's as well. */
	for (u32 reg = BAR1; reg <= 0x30; reg += 4) {
		put(ONE, reg, 4, 0xffffffff);
		assert_int_equal(get(ONE, reg, 4), 0);
	}
}

static void test_pci_bar_answers_where_it_is(void **state)
{
	(void)state;
	assert_int_equal(fake_load(BASE + 0x10, 4), 0x55667788);
	assert_int_equal(recorder[0].offset, 0x10);
	assert_int_equal(recorder[0].size, 4);
	put(ONE, BAR0, 4, 0xd0000000u);
	assert_int_equal(fake_load(BASE + 0x10, 4), 0xffffffff);
	assert_int_equal(unknown(), 1);
	fake_store(0xd0000ffcu, 4, 0xabcd);
	assert_int_equal(recorder[0].offset, 0xffc);
	assert_int_equal(recorder[0].value, 0xabcd);
	assert_int_equal(recorder[0].writes, 1);
	assert_int_equal(recorder[1].reads + recorder[1].writes, 0);
}

static void test_pci_bar_needs_memory_space(void **state)
{
	(void)state;
	assert_true(get(ONE, COMMAND, 2) & MEMORY_SPACE); /* as firmware leaves it */
	put(ONE, COMMAND, 2, 0);
	assert_int_equal(fake_load(BASE, 4), 0xffffffff);
	fake_store(BASE, 4, 1);
	assert_int_equal(recorder[0].reads + recorder[0].writes, 0);
	assert_int_equal(unknown(), 2);
	/* The other one has a register of its own. */
	fake_load(BASE + 0x100000, 1);
	assert_int_equal(recorder[1].reads, 1);
	put(ONE, COMMAND, 2, MEMORY_SPACE);
	fake_load(BASE, 4);
	assert_int_equal(recorder[0].reads, 1);
}

static void test_pci_bar_overlap_first_function_answers(void **state)
{
	(void)state;
	put(TWO, BAR1, 4, BASE);
	fake_load(BASE + 8, 4);
	assert_int_equal(recorder[0].reads, 1);
	assert_int_equal(recorder[1].reads, 0);
	/* Behind the smaller one the larger shows. */
	fake_load(BASE + SIZE, 4);
	assert_int_equal(recorder[0].reads, 1);
	assert_int_equal(recorder[1].reads, 1);
	assert_int_equal(recorder[1].offset, SIZE);
	put(ONE, COMMAND, 2, 0);
	fake_load(BASE + 8, 4);
	assert_int_equal(recorder[1].reads, 2);
	assert_int_equal(recorder[1].offset, 8);
}

/* The bridge forwards the window alone: nobody's RAM or interrupt controller can be covered. */
static void test_pci_bar_outside_the_window_answers_nowhere(void **state)
{
	static const u32 places[] = {0,           0x100000,    0xbffff000u,
	                             0xfec00000u, 0xfee00000u, 0xfffff000u};

	(void)state;
	assert_int_equal(fake->vm.memory.count, 1);
	assert_int_equal(fake->vm.memory.range[0].base, LAYOUT_PCI_WINDOW);
	assert_int_equal(fake->vm.memory.range[0].size, LAYOUT_PCI_WINDOW_END - LAYOUT_PCI_WINDOW);
	for (u32 i = 0; i < ARRAY_SIZE(places); i++) {
		put(ONE, BAR0, 4, places[i]);
		for (u64 at = LAYOUT_PCI_WINDOW; at < LAYOUT_PCI_WINDOW_END; at += 0x100000)
			if (at < BASE + 0x100000 || at >= BASE + 0x100000 + 4 * SIZE)
				assert_int_equal(fake_load(at, 4), 0xffffffff);
	}
	assert_int_equal(recorder[0].reads + recorder[0].writes, 0);
}

/* Every size at both edges: what no range holds as a whole goes nowhere. */
static void test_pci_memory_odd_accesses(void **state)
{
	(void)state;
	for (u32 size = 1; size <= 8; size *= 2) {
		u32 reads = recorder[0].reads;

		assert_int_equal(fake_load(BASE + SIZE - size, size),
		                 size == 8 ? 0x1122334455667788ull
		                           : 0x1122334455667788ull & (BIT64(8 * size) - 1));
		assert_int_equal(recorder[0].reads, reads + 1);
		assert_int_equal(recorder[0].offset, SIZE - size);
		if (size > 1) {
			fake_load(BASE + SIZE - size + 1, size); /* over the end */
			fake_load(BASE - 1, size);               /* over the start */
			fake_store(BASE + SIZE - 1, size, 0);
			assert_int_equal(recorder[0].reads, reads + 1);
			assert_int_equal(recorder[0].writes, 0);
		}
	}
	assert_int_equal(unknown(), 9);
	fake_load(LAYOUT_PCI_WINDOW, 8);
	fake_load(LAYOUT_PCI_WINDOW_END - 8, 8);
	assert_int_equal(unknown(), 11);
}

/* --- functions --- */

static void test_pci_multifunction_is_told_by_function_0(void **state)
{
	struct pci *pci = &((struct platform *)fake->vm.platform)->pci;

	(void)state;
	assert_int_equal(get(ONE, 0x0e, 1), 0);
	pci_add(pci, PCI_DEVFN(3, 4), 0x1234, 3, 0xff0000);
	assert_int_equal(get(ONE, 0x0e, 1), 0x80);
	assert_int_equal(get(TWO, 0x0e, 1), 0);
	/* In the other order as well. */
	pci_add(pci, PCI_DEVFN(9, 1), 0x1234, 4, 0xff0000);
	assert_int_equal(get(PCI_DEVFN(9, 1), 0x0e, 1), 0);
	pci_add(pci, PCI_DEVFN(9, 0), 0x1234, 5, 0xff0000);
	assert_int_equal(get(PCI_DEVFN(9, 0), 0x0e, 1), 0x80);
	put(ONE, 0x0e, 1, 0);
	assert_int_equal(get(ONE, 0x0e, 1), 0x80);
}

/* --- the pin --- */

static void test_pci_pin_is_described(void **state)
{
	(void)state;
	assert_int_equal(get(ONE, PIN, 1), 1);
	assert_int_equal(get(ONE, LINE, 1), GSI);
	put(ONE, LINE, 2, 0x0505); /* the line is scratch, the pin fixed */
	assert_int_equal(get(ONE, LINE, 2), 0x0105);
	pci_set_pin(one, true);
	assert_true(fake->line[GSI]);        /* the wire has not moved */
	assert_int_equal(get(0, PIN, 1), 0); /* the bridge has none */
}

static void test_pci_pin_intx_disable_and_status(void **state)
{
	(void)state;
	assert_int_equal(get(ONE, STATUS, 2), 0x0010); /* a capability list, no interrupt */
	pci_set_pin(one, true);
	assert_true(fake->line[GSI]);
	assert_int_equal(get(ONE, STATUS, 2), 0x0018);
	put(ONE, COMMAND, 2, MEMORY_SPACE | INTX_DISABLE);
	assert_int_equal(get(ONE, COMMAND, 2), MEMORY_SPACE | INTX_DISABLE);
	assert_false(fake->line[GSI]);
	assert_int_equal(get(ONE, STATUS, 2), 0x0018); /* the wish is still there */
	put(ONE, STATUS, 2, 0xffff);
	assert_int_equal(get(ONE, STATUS, 2), 0x0018); /* and not the guest's to clear */
	put(ONE, COMMAND, 2, MEMORY_SPACE);
	assert_true(fake->line[GSI]);
	assert_int_equal(fake->rises[GSI], 2);
	pci_set_pin(one, false);
	assert_false(fake->line[GSI]);
	assert_int_equal(get(ONE, STATUS, 2), 0x0010);
	/* Wished for and given up while disabled: nothing is seen of it. */
	put(ONE, COMMAND, 2, INTX_DISABLE);
	pci_set_pin(one, true);
	pci_set_pin(one, false);
	put(ONE, COMMAND, 2, 0);
	assert_int_equal(fake->rises[GSI], 2);
}

static void test_pci_pin_is_shared(void **state)
{
	(void)state;
	pci_set_pin(one, true);
	pci_set_pin(two, true);
	assert_int_equal(fake->rises[GSI], 1);
	pci_set_pin(one, false);
	assert_true(fake->line[GSI]);
	put(TWO, COMMAND, 2, INTX_DISABLE);
	assert_false(fake->line[GSI]);
	pci_set_pin(one, true);
	assert_true(fake->line[GSI]);
	pci_set_pin(two, false); /* disabled: it holds nothing */
	assert_true(fake->line[GSI]);
	pci_set_pin(one, false);
	assert_false(fake->line[GSI]);
}

static void test_pci_pin_is_silent_with_msi(void **state)
{
	(void)state;
	pci_set_pin(one, true);
	put(ONE, CONTROL, 2, MSI_ENABLE);
	assert_false(fake->line[GSI]);
	assert_int_equal(fake->messages, 0);
	put(ONE, CONTROL, 2, 0);
	assert_true(fake->line[GSI]); /* still wished for */
}

/* --- messages --- */

static void program(u32 low, u32 high, u32 data)
{
	put(ONE, LOW, 4, low);
	put(ONE, HIGH, 4, high);
	put(ONE, MESSAGE, 2, data);
	put(ONE, CONTROL, 2, MSI_ENABLE);
	put(ONE, COMMAND, 2, MEMORY_SPACE | MASTER);
}

static void test_pci_msi_capability_is_found(void **state)
{
	(void)state;
	assert_int_equal(get(ONE, CAPABILITY, 1), MSI);
	assert_int_equal(get(ONE, MSI, 2), 0x0005);     /* MSI, the last of the list */
	assert_int_equal(get(ONE, CONTROL, 2), 0x0180); /* 64-bit, maskable, one message */
	assert_int_equal(get(TWO, STATUS, 2) & 0x10, 0);
	assert_int_equal(get(TWO, CAPABILITY, 1), 0);
	pci_add_msi(two, 0x80, false);
	assert_int_equal(get(TWO, CAPABILITY, 1), 0x80);
	assert_int_equal(get(TWO, 0x82, 2), 0x0080);
	put(TWO, 0x90, 4, 0xffffffff); /* no mask register */
	assert_int_equal(get(TWO, 0x90, 4), 0);
}

static void test_pci_msi_writable_bits(void **state)
{
	(void)state;
	for (u32 reg = MSI; reg <= PENDING; reg += 4)
		put(ONE, reg, 4, 0xffffffff);
	assert_int_equal(get(ONE, MSI, 4),
	                 0x01810005); /* enabled; several messages are not offered */
	assert_int_equal(get(ONE, LOW, 4), 0xfffffffc);
	assert_int_equal(get(ONE, HIGH, 4), 0xffffffff);
	assert_int_equal(get(ONE, MESSAGE, 4), 0x0000ffff);
	assert_int_equal(get(ONE, MASK, 4), 1);
	assert_int_equal(get(ONE, PENDING, 4), 0);
}

static void test_pci_msi_sends_what_is_programmed(void **state)
{
	(void)state;
	assert_int_equal(pci_send_message(one), PCI_MSI_OFF);
	assert_int_equal(pci_send_message(two), PCI_MSI_OFF); /* has none */
	program(0xfee03004u, 0, 0x4051);
	assert_int_equal(pci_send_message(one), PCI_MSI_SENT);
	assert_int_equal(fake->messages, 1);
	assert_int_equal(fake->message[0].address, 0xfee03004u);
	assert_int_equal(fake->message[0].data, 0x4051);
	put(ONE, HIGH, 4, 0x12);
	assert_int_equal(pci_send_message(one), PCI_MSI_SENT);
	assert_true(fake->message[1].address == 0x12fee03004ull);
	assert_int_equal(pci_messages_sent(one), 2);
}

static void test_pci_msi_masked_is_pending_once(void **state)
{
	(void)state;
	program(0xfee00000u, 0, 0x41);
	put(ONE, MASK, 4, 1);
	for (u32 i = 0; i < 3; i++)
		assert_int_equal(pci_send_message(one), PCI_MSI_HELD);
	assert_int_equal(get(ONE, PENDING, 4), 1);
	assert_int_equal(fake->messages, 0);
	/* By what is programmed at the moment of unmasking. */
	put(ONE, MESSAGE, 2, 0x42);
	put(ONE, LOW, 4, 0xfee01000u);
	assert_int_equal(fake->messages, 0);
	put(ONE, MASK, 1, 0);
	assert_int_equal(fake->messages, 1);
	assert_int_equal(fake->message[0].address, 0xfee01000u);
	assert_int_equal(fake->message[0].data, 0x42);
	assert_int_equal(get(ONE, PENDING, 4), 0);
	put(ONE, MASK, 1, 1);
	put(ONE, MASK, 1, 0); /* nothing came meanwhile */
	assert_int_equal(fake->messages, 1);
}

static void test_pci_msi_needs_bus_mastering(void **state)
{
	(void)state;
	program(0xfee00000u, 0, 0x41);
	put(ONE, COMMAND, 2, MEMORY_SPACE);
	assert_int_equal(pci_send_message(one), PCI_MSI_HELD);
	assert_int_equal(get(ONE, PENDING, 4), 1);
	/* Masked when mastering comes back: it goes on waiting. */
	put(ONE, MASK, 1, 1);
	put(ONE, COMMAND, 2, MASTER);
	assert_int_equal(fake->messages, 0);
	put(ONE, MASK, 1, 0);
	assert_int_equal(fake->messages, 1);
	/* Without a mask register there is nothing to show it, and it is held all the same. */
	pci_add_msi(two, 0x80, false);
	put(TWO, 0x84, 4, 0xfee02000u);
	put(TWO, 0x82, 2, MSI_ENABLE);
	assert_int_equal(pci_send_message(two), PCI_MSI_HELD);
	put(TWO, COMMAND, 1, MASTER);
	assert_int_equal(fake->messages, 2);
	assert_int_equal(fake->message[1].address, 0xfee02000u);
}

static void test_pci_msi_disabling_forgets(void **state)
{
	(void)state;
	program(0xfee00000u, 0, 0x41);
	put(ONE, MASK, 1, 1);
	assert_int_equal(pci_send_message(one), PCI_MSI_HELD);
	put(ONE, CONTROL, 2, 0);
	assert_int_equal(get(ONE, PENDING, 4), 0);
	put(ONE, CONTROL, 2, MSI_ENABLE);
	put(ONE, MASK, 1, 0);
	assert_int_equal(fake->messages, 0);
}

/* Writes to another function or to other registers send nothing. */
static void test_pci_msi_is_held_until_its_own_condition(void **state)
{
	(void)state;
	program(0xfee00000u, 0, 0x41);
	put(ONE, MASK, 1, 1);
	pci_send_message(one);
	put(TWO, COMMAND, 2, 0xffff);
	put(ONE, LINE, 1, 3);
	put(ONE, BAR0, 4, BASE);
	put(ONE, PENDING, 4, 0); /* read-only */
	assert_int_equal(get(ONE, PENDING, 4), 1);
	assert_int_equal(fake->messages, 0);
}

/* --- DMA --- */

static void test_pci_dma_needs_bus_mastering_and_memory(void **state)
{
	u32 *memory = (u32 *)(void *)(fake->memory + 0x200000);

	(void)state;
	memory[0] = memory[1] = 7;
	assert_int_equal(pci_dma_write32(one, 0x200000, 1), PCI_DMA_NOT_MASTER);
	assert_int_equal(memory[0], 7);
	put(ONE, COMMAND, 2, MASTER);
	assert_int_equal(pci_dma_write32(one, 0x200000, 0x12345678), PCI_DMA_DONE);
	assert_int_equal(memory[0], 0x12345678);
	assert_int_equal(memory[1], 7);
	assert_int_equal(pci_dma_write32(one, 0x200003, 5), PCI_DMA_DONE); /* aligned down */
	assert_int_equal(memory[0], 5);
	assert_int_equal(pci_dma_write32(one, FAKE_MEMORY, 1), PCI_DMA_NO_MEMORY);
	assert_int_equal(pci_dma_write32(one, 0xa0000, 1), PCI_DMA_NO_MEMORY);
	assert_int_equal(pci_dma_write32(one, LAYOUT_PCI_WINDOW, 1), PCI_DMA_NO_MEMORY);
	assert_int_equal(pci_dma_write32(one, ~0ull, 1), PCI_DMA_NO_MEMORY);
	assert_int_equal(pci_dma_write32(one, 0x100000000ull, 1), PCI_DMA_NO_MEMORY);
}

/* --- anything a guest can write, in any order --- */

static u32 next_random(u32 *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

/*
 * The invariants after each step: the line is the wired-or of those that may assert it, and what is
 * pending is really held back by something.
 */
static void check_invariants(const bool wish[2])
{
	bool msi = get(ONE, CONTROL, 2) & MSI_ENABLE;
	bool master = get(ONE, COMMAND, 2) & MASTER;
	bool masked = get(ONE, MASK, 1) & 1;
	bool pending = get(ONE, PENDING, 1) & 1;
	bool one_may = !msi && !(get(ONE, COMMAND, 2) & INTX_DISABLE);
	bool two_may = !(get(TWO, COMMAND, 2) & INTX_DISABLE);

	assert_int_equal(fake->line[GSI], (wish[0] && one_may) || (wish[1] && two_may));
	assert_int_equal(get(ONE, STATUS, 1) & 8, wish[0] ? 8 : 0);
	assert_true(!pending || (msi && (masked || !master)));
	assert_int_equal(get(ONE, 0, 4), 0x00011234);
	assert_int_equal(get(ONE, BAR0, 4) % SIZE, 0);
	assert_int_equal(pci_messages_sent(one), fake->messages);
}

static void test_pci_random_configuration(void **state)
{
	bool wish[2] = {false, false};
	u32 seed = 1, sent = 0, held = 0;

	(void)state;
	for (u32 i = 0; i < 100000; i++) {
		u8 devfn = next_random(&seed) & 1 ? ONE : TWO;
		u32 size = 1u << next_random(&seed) % 3;
		u32 reg = next_random(&seed) % 256 & ~(size - 1);
		u32 which = next_random(&seed) & 1;

		switch (next_random(&seed) % 4) {
		case 0:
			wish[which] = next_random(&seed) & 1;
			pci_set_pin(which ? two : one, wish[which]);
			break;
		case 1:
			switch (pci_send_message(one)) {
			case PCI_MSI_SENT:
				sent++;
				break;
			case PCI_MSI_HELD:
				held++;
				break;
			default:
				break;
			}
			break;
		default:
			put(devfn, next_random(&seed) & 1 ? reg : reg % 32 + (reg & 64), size,
			    next_random(&seed) << 8 ^ next_random(&seed));
		}
		check_invariants(wish);
	}
	assert_true(sent > 1000 && held > 1000);
	/* Each was sent at once, or was one of those that a later write let go. */
	assert_in_range(fake->messages, sent, sent + held);
}

/* --- assigned: what is sent is what the host has programmed, and the guest's goes to whom it concerns --- */

static void test_pci_assigned_message(void **state)
{
	const u32 *sent = &fake->device_messages[ONE];

	(void)state;
	put(ONE, COMMAND, 2, MASTER);
	put(ONE, LOW, 4, 0xfee01000u);
	assert_true(pci_assign(one));
	/* What was there before is known at once. */
	assert_false(one->assigned.on);
	assert_int_equal(one->assigned.address, 0xfee01000u);
	put(ONE, HIGH, 4, 2);
	put(ONE, MESSAGE, 2, 0x4a);
	put(ONE, CONTROL, 2, MSI_ENABLE);
	assert_true(one->assigned.on);
	assert_int_equal(one->assigned.address, 0x2fee01000ull);
	assert_int_equal(one->assigned.data, 0x4a);
	assert_int_equal(pci_send_message(one), PCI_MSI_SENT);
	assert_int_equal(*sent, 1);
	/* Masked it is the device that keeps it, and it goes by the new address. */
	put(ONE, MASK, 4, 1);
	assert_int_equal(pci_send_message(one), PCI_MSI_HELD);
	put(ONE, MESSAGE, 2, 0x4b);
	assert_true(one->assigned.on);
	assert_int_equal(*sent, 1);
	put(ONE, MASK, 4, 0);
	assert_int_equal(one->assigned.data, 0x4b);
	assert_int_equal(*sent, 2);
	put(ONE, CONTROL, 2, 0);
	assert_false(one->assigned.on);
	assert_int_equal(fake->messages, 0);
	assert_int_equal(pci_messages_sent(one), 2);
	/* Its own again, and once. */
	pci_unassign(one);
	pci_unassign(one);
	assert_int_equal(fake->assigned, 0);
	put(ONE, CONTROL, 2, MSI_ENABLE);
	assert_int_equal(pci_send_message(one), PCI_MSI_SENT);
	assert_int_equal(*sent, 2);
	assert_int_equal(fake->messages, 1);
}

static void test_pci_not_assigned(void **state)
{
	(void)state;
	/* Without messages, and without an IOMMU. */
	assert_false(pci_assign(two));
	fake->no_iommu = true;
	assert_false(pci_assign(one));
	put(ONE, COMMAND, 2, MASTER);
	put(ONE, CONTROL, 2, MSI_ENABLE);
	assert_int_equal(pci_send_message(one), PCI_MSI_SENT);
	assert_int_equal(fake->messages, 1);
	pci_unassign(one);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(test_pci_bar_sizing),
	        TEST(test_pci_bar_answers_where_it_is),
	        TEST(test_pci_bar_needs_memory_space),
	        TEST(test_pci_bar_overlap_first_function_answers),
	        TEST(test_pci_bar_outside_the_window_answers_nowhere),
	        TEST(test_pci_memory_odd_accesses),
	        TEST(test_pci_multifunction_is_told_by_function_0),
	        TEST(test_pci_pin_is_described),
	        TEST(test_pci_pin_intx_disable_and_status),
	        TEST(test_pci_pin_is_shared),
	        TEST(test_pci_pin_is_silent_with_msi),
	        TEST(test_pci_msi_capability_is_found),
	        TEST(test_pci_msi_writable_bits),
	        TEST(test_pci_msi_sends_what_is_programmed),
	        TEST(test_pci_msi_masked_is_pending_once),
	        TEST(test_pci_msi_needs_bus_mastering),
	        TEST(test_pci_msi_disabling_forgets),
	        TEST(test_pci_msi_is_held_until_its_own_condition),
	        TEST(test_pci_dma_needs_bus_mastering_and_memory),
	        TEST(test_pci_assigned_message),
	        TEST(test_pci_not_assigned),
	        TEST(test_pci_random_configuration),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
