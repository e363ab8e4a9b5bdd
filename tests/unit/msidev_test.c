/* SPDX-License-Identifier: BSD-2-Clause */
/* platform/msidev.c: registers, payload numbers, rate, messages and the pin; absent unless asked for. */
#include "platform_fake.h"

#include "platform/msidev.h"

#define ADDRESS 0xcf8
#define DATA    0xcfc

#define COMMAND      0x04
#define MEMORY_SPACE 0x0002
#define MASTER       0x0004
#define INTX_DISABLE 0x0400
#define MSI_CONTROL  (MSIDEV_MSI + 2)
#define MSI_LOW      (MSIDEV_MSI + 4)
#define MSI_DATA     (MSIDEV_MSI + 12)
#define MSI_MASK     (MSIDEV_MSI + 16)

#define TARGET 0x200000u
#define PERIOD 200000u

static int setup_with(void **state, u32 devices)
{
	fake_setup_bare(state);
	fake->vm.config.msidevs = devices;
	return platform_create(&fake->vm) ? 0 : -1;
}

static int setup(void **state)
{
	return setup_with(state, MSIDEV_MAX);
}

static u32 get(u32 device, u32 reg)
{
	return (u32)fake_load(LAYOUT_MSIDEV + device * MSIDEV_SIZE + reg, 4);
}

static void put(u32 device, u32 reg, u32 value)
{
	fake_store(LAYOUT_MSIDEV + device * MSIDEV_SIZE + reg, 4, value);
}

static u32 config_get(u32 device, u32 reg)
{
	fake_out(ADDRESS, 4, 0x80000000u | (MSIDEV_SLOT + device) << 11 | (reg & 0xfc));
	return (u32)fake_in(DATA, 4);
}

static void config_put(u32 device, u32 reg, u32 size, u32 value)
{
	fake_out(ADDRESS, 4, 0x80000000u | (MSIDEV_SLOT + device) << 11 | (reg & 0xfc));
	fake_out((u16)(DATA + reg % 4), size, value);
}

static void enable_msi(u32 device, u32 vector)
{
	config_put(device, MSI_LOW, 4, 0xfee00000u);
	config_put(device, MSI_DATA, 2, vector);
	config_put(device, MSI_CONTROL, 2, 1);
	config_put(device, COMMAND, 2, MEMORY_SPACE | MASTER);
}

static u32 in_memory(void)
{
	return *(u32 *)(void *)(fake->memory + TARGET);
}

static void enable_dma(u32 device)
{
	put(device, MSIDEV_DMA_LOW, TARGET);
	put(device, MSIDEV_DMA_HIGH, 0);
	put(device, MSIDEV_CONTROL, MSIDEV_CONTROL_DMA);
}

/* --- what there is --- */

static void test_msidev_devices_are_found(void **state)
{
	(void)state;
	for (u32 i = 0; i < MSIDEV_MAX; i++) {
		assert_int_equal(config_get(i, 0), MSIDEV_DEVICE << 16 | MSIDEV_VENDOR);
		assert_int_equal(config_get(i, 8) >> 8, MSIDEV_CLASS);
		assert_int_equal(config_get(i, 0x10), LAYOUT_MSIDEV + i * MSIDEV_SIZE);
		assert_int_equal(config_get(i, 0x34) & 0xff, MSIDEV_MSI);
		assert_int_equal(config_get(i, 0x3c) & 0xffff, 0x0100 | (LAYOUT_PCI_IRQ + i % 2));
		assert_int_equal(get(i, MSIDEV_ID), MSIDEV_ID_VALUE);
		assert_int_equal(get(i, MSIDEV_VERSION), 1);
		assert_int_equal(get(i, MSIDEV_PERIOD), MSIDEV_MIN_PERIOD_NS);
		assert_int_equal(get(i, MSIDEV_BURST), 1);
		assert_int_equal(get(i, MSIDEV_NEXT), 1);
		assert_int_equal(get(i, MSIDEV_CONTROL), 0);
		assert_int_equal(get(i, MSIDEV_STATUS), 0);
	}
	/* The pins are level-triggered at the 8259s, too: the last write of the creation. */
	assert_true(fake->chip_write_count > 0);
	assert_int_equal(fake->chip_writes[fake->chip_write_count - 1].port, 0x4d1);
	assert_int_equal(fake->chip_writes[fake->chip_write_count - 1].value, 0x0c);
}

static void test_msidev_as_many_as_asked_for(void **state)
{
	(void)state;
	for (u32 count = 0; count <= MSIDEV_MAX; count++) {
		assert_int_equal(setup_with(state, count), 0);
		for (u32 i = 0; i < MSIDEV_MAX; i++)
			assert_int_equal(config_get(i, 0) == 0xffffffff, i >= count);
		assert_int_equal(fake->vm.memory.count, count ? 1 : 0);
		fake_teardown(state);
	}
	fake_setup_bare(state);
	fake->vm.config.msidevs = MSIDEV_MAX + 1;
	assert_false(platform_create(&fake->vm));
	fake_teardown(state);
}

/* --- payloads --- */

static void test_msidev_numbers_follow_each_other(void **state)
{
	(void)state;
	enable_msi(0, 0x41);
	put(0, MSIDEV_TRIGGER, 3);
	assert_int_equal(get(0, MSIDEV_LAST), 3);
	assert_int_equal(get(0, MSIDEV_NEXT), 4);
	put(0, MSIDEV_NEXT, 0xffffffff);
	put(0, MSIDEV_TRIGGER, 2);
	assert_int_equal(get(0, MSIDEV_LAST), 0); /* around */
	assert_int_equal(get(0, MSIDEV_EVENTS), 5);
	assert_int_equal(get(0, MSIDEV_MESSAGES), 5);
	assert_int_equal(fake->messages, 5);
	assert_int_equal(get(1, MSIDEV_EVENTS), 0);
	put(0, MSIDEV_LAST, 77); /* only to be read */
	put(0, MSIDEV_EVENTS, 77);
	assert_int_equal(get(0, MSIDEV_LAST), 0);
	assert_int_equal(get(0, MSIDEV_EVENTS), 5);
}

static void test_msidev_trigger_is_bounded(void **state)
{
	(void)state;
	enable_msi(0, 0x41);
	put(0, MSIDEV_TRIGGER, 0);
	assert_int_equal(fake->messages, 0);
	put(0, MSIDEV_TRIGGER, 0xffffffff);
	assert_int_equal(fake->messages, MSIDEV_MAX_BURST);
}

static u32 seen_at_interrupt;

static void look(struct fake *f)
{
	(void)f;
	seen_at_interrupt = in_memory();
}

static void test_msidev_number_is_stored_before_the_interrupt(void **state)
{
	(void)state;
	config_put(0, COMMAND, 2, MEMORY_SPACE | MASTER);
	enable_dma(0);
	put(0, MSIDEV_NEXT, 41);
	fake->in_set_line = look;
	put(0, MSIDEV_TRIGGER, 1);
	assert_int_equal(seen_at_interrupt, 41);
	assert_int_equal(get(0, MSIDEV_DMA_ERRORS), 0);
}

static void test_msidev_dma_errors(void **state)
{
	(void)state;
	enable_msi(0, 0x41);
	enable_dma(0);
	put(0, MSIDEV_DMA_LOW, 0xfee00000u);
	put(0, MSIDEV_DMA_HIGH, 1);
	put(0, MSIDEV_TRIGGER, 1);
	assert_int_equal(get(0, MSIDEV_STATUS), MSIDEV_STATUS_DMA_ERROR);
	assert_int_equal(get(0, MSIDEV_DMA_ERRORS), 1);
	assert_int_equal(fake->messages, 1); /* the interrupt comes all the same */
	put(0, MSIDEV_STATUS, MSIDEV_STATUS_DMA_ERROR);
	assert_int_equal(get(0, MSIDEV_STATUS), 0);
	put(0, MSIDEV_DMA_LOW, TARGET | 3);
	put(0, MSIDEV_DMA_HIGH, 0);
	assert_int_equal(get(0, MSIDEV_DMA_LOW), TARGET); /* an aligned dword */
	config_put(0, COMMAND, 2, MEMORY_SPACE);
	put(0, MSIDEV_NEXT, 99);
	put(0, MSIDEV_TRIGGER, 1);
	assert_int_equal(get(0, MSIDEV_DMA_ERRORS), 2);
	assert_int_not_equal(in_memory(), 99);
}

/* --- messages and the pin --- */

static void test_msidev_masked_events_become_one_message(void **state)
{
	(void)state;
	enable_msi(0, 0x41);
	config_put(0, MSI_MASK, 1, 1);
	put(0, MSIDEV_TRIGGER, 5);
	assert_int_equal(fake->messages, 0);
	assert_int_equal(get(0, MSIDEV_HELD), 5);
	assert_int_equal(get(0, MSIDEV_LAST), 5);
	config_put(0, MSI_MASK, 1, 0);
	assert_int_equal(fake->messages, 1);
	assert_int_equal(get(0, MSIDEV_MESSAGES), 1);
}

static void test_msidev_pin_stays_until_acknowledged(void **state)
{
	(void)state;
	put(1, MSIDEV_TRIGGER, 3);
	assert_true(fake->line[LAYOUT_PCI_IRQ + 1]);
	assert_false(fake->line[LAYOUT_PCI_IRQ]);
	assert_int_equal(fake->rises[LAYOUT_PCI_IRQ + 1], 1);
	assert_int_equal(get(1, MSIDEV_STATUS), MSIDEV_STATUS_INTERRUPT);
	assert_int_equal(get(1, MSIDEV_ASSERTED), 1);
	assert_int_equal(get(1, MSIDEV_MERGED), 2);
	put(1, MSIDEV_STATUS, ~MSIDEV_STATUS_INTERRUPT); /* acknowledges something else */
	assert_true(fake->line[LAYOUT_PCI_IRQ + 1]);
	put(1, MSIDEV_STATUS, MSIDEV_STATUS_INTERRUPT);
	assert_false(fake->line[LAYOUT_PCI_IRQ + 1]);
	put(1, MSIDEV_STATUS, MSIDEV_STATUS_INTERRUPT); /* of nothing */
	assert_int_equal(get(1, MSIDEV_STATUS), 0);
	put(1, MSIDEV_TRIGGER, 1);
	assert_int_equal(fake->rises[LAYOUT_PCI_IRQ + 1], 2);
	assert_int_equal(get(1, MSIDEV_ASSERTED), 2);
	assert_int_equal(fake->messages, 0);
}

static void test_msidev_pin_is_shared_by_every_other_device(void **state)
{
	(void)state;
	put(0, MSIDEV_TRIGGER, 1);
	put(2, MSIDEV_TRIGGER, 1);
	assert_int_equal(fake->rises[LAYOUT_PCI_IRQ], 1);
	put(0, MSIDEV_STATUS, MSIDEV_STATUS_INTERRUPT);
	assert_true(fake->line[LAYOUT_PCI_IRQ]);
	put(2, MSIDEV_STATUS, MSIDEV_STATUS_INTERRUPT);
	assert_false(fake->line[LAYOUT_PCI_IRQ]);
}

static void test_msidev_pin_asserted_while_disabled_is_not_lost(void **state)
{
	(void)state;
	config_put(0, COMMAND, 2, MEMORY_SPACE | INTX_DISABLE);
	put(0, MSIDEV_TRIGGER, 1);
	assert_false(fake->line[LAYOUT_PCI_IRQ]);
	config_put(0, COMMAND, 2, MEMORY_SPACE);
	assert_true(fake->line[LAYOUT_PCI_IRQ]);
}

/* --- rate --- */

static void run(u32 device, u32 period, u32 burst, u32 count)
{
	put(device, MSIDEV_PERIOD, period);
	put(device, MSIDEV_BURST, burst);
	put(device, MSIDEV_COUNT, count);
	put(device, MSIDEV_CONTROL, MSIDEV_CONTROL_RUN);
}

static void test_msidev_rate(void **state)
{
	(void)state;
	enable_msi(0, 0x41);
	run(0, PERIOD, 2, 0);
	fake_advance(PERIOD - 1);
	assert_int_equal(fake->messages, 0);
	fake_advance(1);
	assert_int_equal(fake->messages, 2);
	fake_advance(10 * PERIOD);
	assert_int_equal(fake->messages, 22);
	assert_int_equal(get(0, MSIDEV_LAST), 22);
	assert_int_equal(get(0, MSIDEV_MISSED), 0);
	put(0, MSIDEV_CONTROL, 0);
	fake_advance(10 * PERIOD);
	assert_int_equal(fake->messages, 22);
	assert_int_equal(get(0, MSIDEV_CONTROL), 0);
}

static void test_msidev_stops_at_its_count(void **state)
{
	(void)state;
	enable_msi(0, 0x41);
	run(0, PERIOD, 4, 10);
	fake_advance(2 * PERIOD);
	assert_int_equal(get(0, MSIDEV_COUNT), 2);
	assert_int_equal(get(0, MSIDEV_CONTROL), MSIDEV_CONTROL_RUN);
	fake_advance(10 * PERIOD);
	assert_int_equal(fake->messages, 10);
	assert_int_equal(get(0, MSIDEV_CONTROL), 0);
	/* Runs again, from where the numbers are. */
	run(0, PERIOD, 4, 1);
	fake_advance(10 * PERIOD);
	assert_int_equal(get(0, MSIDEV_LAST), 11);
}

static void test_msidev_rate_is_bounded(void **state)
{
	(void)state;
	enable_msi(0, 0x41);
	run(0, 0, 0xffffffff, 0);
	assert_int_equal(get(0, MSIDEV_PERIOD), MSIDEV_MIN_PERIOD_NS);
	assert_int_equal(get(0, MSIDEV_BURST), MSIDEV_MAX_BURST);
	fake_advance(10 * MSIDEV_MIN_PERIOD_NS);
	assert_int_equal(fake->messages, 10 * MSIDEV_MAX_BURST);
	put(0, MSIDEV_CONTROL, 0);
	run(0, 0xffffffff, 0, 0); /* no burst is a burst of one */
	assert_int_equal(get(0, MSIDEV_BURST), 1);
	fake_advance(0xffffffff);
	assert_int_equal(fake->messages, 10 * MSIDEV_MAX_BURST + 1);
}

/* A processor that comes late makes up for nothing, and says so. */
static void test_msidev_late_periods_are_missed(void **state)
{
	struct timer *timer = &((struct platform *)fake->vm.platform)->msidev[0].timer;

	(void)state;
	enable_msi(0, 0x41);
	run(0, PERIOD, 1, 0);
	fake->tsc += 4 * PERIOD + PERIOD / 2;
	timer->fire(timer);
	assert_int_equal(fake->messages, 1);
	assert_int_equal(get(0, MSIDEV_MISSED), 3);
	/* Still in step with the first period. */
	fake_advance(PERIOD / 2);
	assert_int_equal(fake->messages, 2);
}

/* An expiry that was already under way when the guest stopped the device, or set it anew. */
static void test_msidev_stale_expiry_does_nothing(void **state)
{
	struct timer *timer = &((struct platform *)fake->vm.platform)->msidev[0].timer;

	(void)state;
	enable_msi(0, 0x41);
	run(0, PERIOD, 1, 0);
	fake->tsc += PERIOD;
	put(0, MSIDEV_CONTROL, 0);
	timer->fire(timer);
	assert_int_equal(fake->messages, 0);
	put(0, MSIDEV_CONTROL, MSIDEV_CONTROL_RUN);
	timer->fire(timer);
	assert_int_equal(fake->messages, 0);
	fake_advance(PERIOD);
	assert_int_equal(fake->messages, 1);
}

static void test_msidev_stops_when_the_vm_ends(void **state)
{
	(void)state;
	enable_msi(0, 0x41);
	run(0, PERIOD, 1, 0);
	vm_end(&fake->vm, ENDED_POWEROFF, 0);
	fake_advance(10 * PERIOD);
	assert_int_equal(fake->messages, 0);
	assert_int_equal(get(0, MSIDEV_CONTROL), 0);
}

/* --- hostile accesses --- */

static void test_msidev_takes_aligned_dwords_only(void **state)
{
	(void)state;
	for (u32 size = 1; size <= 8; size *= 2)
		for (u32 offset = 0; offset + size <= MSIDEV_SIZE; offset++) {
			u64 value = fake_load(LAYOUT_MSIDEV + offset, size);

			if (size != 4 || offset % 4) {
				assert_true(value == (size < 8 ? BIT64(8 * size) - 1 : ~0ull));
				fake_store(LAYOUT_MSIDEV + offset, size, ~0ull);
			}
		}
	assert_int_equal(get(0, MSIDEV_CONTROL), 0);
	assert_int_equal(get(0, MSIDEV_EVENTS), 0);
	assert_int_equal(get(0, MSIDEV_NEXT), 1);
	/* Registers that are not there read zero and keep nothing. */
	for (u32 offset = MSIDEV_DMA_ERRORS + 4; offset < MSIDEV_SIZE; offset += 4) {
		put(0, offset, ~0u);
		assert_int_equal(get(0, offset), 0);
	}
	put(0, MSIDEV_CONTROL, ~0u);
	assert_int_equal(get(0, MSIDEV_CONTROL), MSIDEV_CONTROL_RUN | MSIDEV_CONTROL_DMA);
	assert_int_equal(get(0, MSIDEV_ID), MSIDEV_ID_VALUE);
}

static u32 next_random(u32 *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

/* Any register, any value, any mode, time passing: every event is one of the kinds that are counted. */
static void test_msidev_random_accesses(void **state)
{
	u32 seed = 7, sent = 0;

	(void)state;
	for (u32 i = 0; i < 20000; i++) {
		u32 device = next_random(&seed) % MSIDEV_MAX;

		switch (next_random(&seed) % 4) {
		case 0:
			fake_advance(next_random(&seed) % 300000);
			break;
		case 1:
			config_put(device, COMMAND, 2, next_random(&seed) | MEMORY_SPACE);
			config_put(device, MSI_CONTROL, 2, next_random(&seed));
			config_put(device, MSI_MASK, 1, next_random(&seed));
			break;
		default:
			put(device, next_random(&seed) % 0x60 & ~3u,
			    next_random(&seed) << 8 ^ next_random(&seed));
		}
	}
	for (u32 i = 0; i < MSIDEV_MAX; i++) {
		u32 at_once = get(i, MSIDEV_EVENTS) - get(i, MSIDEV_HELD) -
		              get(i, MSIDEV_ASSERTED) - get(i, MSIDEV_MERGED);

		assert_true(get(i, MSIDEV_EVENTS) > 100);
		assert_in_range(get(i, MSIDEV_MESSAGES), at_once, at_once + get(i, MSIDEV_HELD));
		sent += get(i, MSIDEV_MESSAGES);
	}
	assert_int_equal(sent, fake->messages);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_msidev_as_many_as_asked_for),
	        TEST(test_msidev_devices_are_found),
	        TEST(test_msidev_numbers_follow_each_other),
	        TEST(test_msidev_trigger_is_bounded),
	        TEST(test_msidev_number_is_stored_before_the_interrupt),
	        TEST(test_msidev_dma_errors),
	        TEST(test_msidev_masked_events_become_one_message),
	        TEST(test_msidev_pin_stays_until_acknowledged),
	        TEST(test_msidev_pin_is_shared_by_every_other_device),
	        TEST(test_msidev_pin_asserted_while_disabled_is_not_lost),
	        TEST(test_msidev_rate),
	        TEST(test_msidev_stops_at_its_count),
	        TEST(test_msidev_rate_is_bounded),
	        TEST(test_msidev_late_periods_are_missed),
	        TEST(test_msidev_stale_expiry_does_nothing),
	        TEST(test_msidev_stops_when_the_vm_ends),
	        TEST(test_msidev_takes_aligned_dwords_only),
	        TEST(test_msidev_random_accesses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
