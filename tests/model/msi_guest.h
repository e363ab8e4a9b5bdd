/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guest and device that account for interrupts, for the stepper (msi_test.c) and for real threads
 * (threads.c). The device's side posts numbered events from a processor of its own, by message or by
 * the pin; the guest's vCPUs run, sleep and share processors meanwhile, and the first one moves the
 * interrupts from vCPU to vCPU and vector to vector. What has to hold at the end:
 *
 *  - messages sent = injected + coalesced + pending, and each injection ran its handler once;
 *  - of each device somebody has seen the last number, or the guest never ends;
 *  - each assertion of the pin was acknowledged, and no handler of it ran for nothing.
 *
 * The guest ends when an interrupt of the lowest class, sent after all that, has been handled by
 * every vCPU: nothing that was sent before it can be on its way then.
 */
#ifndef TESTS_MODEL_MSI_GUEST_H
#define TESTS_MODEL_MSI_GUEST_H

#include "tests/model/harness.h"

#include <unistd.h>

#include "core/bus.h"
#include "platform/devices.h"
#include "platform/layout.h"

#define MSI_DEVICES      2
#define MSI_VECTOR       0x50 /* class 5 and up, the device in bit 0 */
#define MSI_CLASSES      10
#define MSI_VECTOR_QUIET 0x21
#define MSI_VECTOR_PIN   0x61

/* Words of g_shared(); those of 0x40 steps have one for each vCPU. */
#define WORD_MSI_UP      0x00
#define WORD_MSI_GO      0x40
#define WORD_MSI_DONE    0x41
#define WORD_MSI_QUIET   0x80
#define WORD_MSI_HANDLED 0x100
#define WORD_MSI_STRAY   0x140
#define WORD_MSI_SEEN    0x180 /* and one such row for each device */
#define WORD_MSI_ACKED   0x280 /* the same */
#define WORD_MSI_DMA     0x400 /* each device's dword on a line of its own */
#define MSI_ROW          0x40

struct msi_run {
	u32 rounds;
	u32 seed;
	bool moves;              /* the guest changes destinations and vectors meanwhile */
	bool pin;                /* INTA#, not messages */
	bool lazy;               /* the pin's handler acknowledges every second time only */
	u32 device[MSI_DEVICES]; /* which ones; twice the same: that one alone */
};

/* Of the run: written before it, read by everybody. */
static struct msi_run msi_run;

static u32 msi_random(u32 *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

static u32 msi_devices(void)
{
	return msi_run.device[0] == msi_run.device[1] ? 1 : MSI_DEVICES;
}

static u32 msi_pin(void)
{
	return LAYOUT_PCI_IRQ + msi_run.device[0] % 2;
}

/* --- the device's side, on processor 0 --- */

static u64 *msi_word(u32 index)
{
	return vm_memory(harness_vm, GPA(HARNESS_SHARED + index * 8), 8);
}

/*
 * Threads sleep: each yield may cost one a whole slice of every other, and a thousand pauses of up to
 * six hundred yields then take longer than anybody waits. On the stepper a turn is a yield.
 */
static void msi_pause(u32 turns)
{
	if (harness.threads) {
		usleep(turns);
		return;
	}
	for (u32 i = 0; i < turns && !vm_has_ended(harness_vm); i++)
		race_relax();
}

static void msi_device(void)
{
	u32 seed = msi_run.seed * 77 + 1;

	while (!__atomic_load_n(msi_word(WORD_MSI_GO), __ATOMIC_ACQUIRE))
		msi_pause(1);
	for (u32 i = 0; i < msi_run.rounds && !vm_has_ended(harness_vm); i++) {
		u32 device = msi_run.device[msi_random(&seed) % msi_devices()];

		bus_write(&harness_vm->memory, harness_vm->vcpu[0],
		          LAYOUT_MSIDEV + device * MSIDEV_SIZE + MSIDEV_TRIGGER, 4,
		          1 + msi_random(&seed) % 3);
		/* Mostly one right after another, sometimes long enough for all to fall asleep. */
		msi_pause(msi_random(&seed) % 8 ? msi_random(&seed) % 30 : 600);
	}
	__atomic_store_n(msi_word(WORD_MSI_DONE), 1, __ATOMIC_RELEASE);
}

/* --- the guest's --- */

static u32 msi_config_get(u32 device, u32 reg)
{
	g_out(0xcf8, 0x80000000u | (MSIDEV_SLOT + device) << 11 | (reg & 0xfc), 4);
	return g_in((u16)(0xcfc + reg % 4), 4);
}

static void msi_config_put(u32 device, u32 reg, u32 size, u32 value)
{
	g_out(0xcf8, 0x80000000u | (MSIDEV_SLOT + device) << 11 | (reg & 0xfc), 4);
	g_out((u16)(0xcfc + reg % 4), value, size);
}

static u64 msi_register(u32 device, u32 reg)
{
	return LAYOUT_MSIDEV + device * MSIDEV_SIZE + reg;
}

static u64 msi_dma_gpa(u32 device)
{
	return HARNESS_SHARED + (WORD_MSI_DMA + 8 * device) * 8;
}

static void msi_note_seen(u32 which)
{
	u32 row = WORD_MSI_SEEN + which * MSI_ROW + g_index();
	u64 number = g_read(msi_dma_gpa(msi_run.device[which]), 4);

	if (number > g_shared(row))
		g_set_shared(row, number);
}

static void msi_add(u32 index)
{
	g_set_shared(index, g_shared(index) + 1);
}

static void msi_on_message(u8 vector, u32 error __unused)
{
	msi_add(WORD_MSI_HANDLED + g_index());
	msi_note_seen(vector & 1);
	g_apic_eoi();
}

/* One at a time on all vCPUs: remote IRR is set until the EOI. */
static void msi_on_pin(u8 vector __unused, u32 error __unused)
{
	u32 handled = WORD_MSI_HANDLED + g_index();
	bool stray = true;

	msi_add(handled);
	for (u32 i = 0; i < msi_devices(); i++) {
		u32 device = msi_run.device[i];

		if (!(g_mmio_read(msi_register(device, MSIDEV_STATUS)) & MSIDEV_STATUS_INTERRUPT))
			continue;
		stray = false;
		if (msi_run.lazy && g_shared(handled) % 2)
			continue;
		g_mmio_write(msi_register(device, MSIDEV_STATUS), MSIDEV_STATUS_INTERRUPT);
		msi_add(WORD_MSI_ACKED + i * MSI_ROW + g_index());
		msi_note_seen(i);
	}
	if (stray)
		msi_add(WORD_MSI_STRAY + g_index());
	g_apic_eoi();
}

static void msi_on_quiet(u8 vector __unused, u32 error __unused)
{
	g_set_shared(WORD_MSI_QUIET + g_index(), 1);
	g_apic_eoi();
}

static void msi_ap(void *arg __unused)
{
	u32 seed = g_index();

	g_apic_enable();
	g_set_shared(WORD_MSI_UP + g_index(), 1);
	for (;;) {
		g_sti();
		if (msi_random(&seed) % 3)
			g_hlt();
		for (u32 i = msi_random(&seed) % 20; i; i--)
			g_nop();
		g_cli();
		for (u32 i = msi_random(&seed) % 20; i; i--)
			g_nop();
	}
}

/* As an operating system moves a message: masked, and what comes meanwhile is held. */
static void msi_aim(u32 which, u32 *seed)
{
	u32 device = msi_run.device[which];
	u32 target = msi_random(seed) % harness.vcpus;
	u32 vector = MSI_VECTOR + 16 * (msi_random(seed) % MSI_CLASSES) + which;

	msi_config_put(device, MSIDEV_MSI + 16, 4, 1);
	for (u32 i = msi_random(seed) % 30; i; i--)
		g_pause();
	msi_config_put(device, MSIDEV_MSI + 4, 4, 0xfee00000u | target << 12);
	msi_config_put(device, MSIDEV_MSI + 12, 2, vector);
	msi_config_put(device, MSIDEV_MSI + 16, 4, 0);
}

static void msi_ioapic(u32 reg, u32 value)
{
	g_mmio_write(0xfec00000u, reg);
	g_mmio_write(0xfec00010u, value);
}

static void msi_aim_pin(u32 *seed)
{
	u32 target = msi_random(seed) % harness.vcpus;

	msi_ioapic(0x10 + 2 * msi_pin(), 0x18000 | MSI_VECTOR_PIN);
	msi_ioapic(0x11 + 2 * msi_pin(), target << 24);
	msi_ioapic(0x10 + 2 * msi_pin(), 0x08000 | MSI_VECTOR_PIN); /* level, unmasked */
}

static void msi_program(u32 *seed)
{
	for (u32 i = 0; i < msi_devices(); i++) {
		u32 device = msi_run.device[i];

		G_CHECK_EQUAL(msi_config_get(device, 0), MSIDEV_DEVICE << 16 | MSIDEV_VENDOR);
		g_mmio_write(msi_register(device, MSIDEV_DMA_LOW), (u32)msi_dma_gpa(device));
		g_mmio_write(msi_register(device, MSIDEV_CONTROL), MSIDEV_CONTROL_DMA);
		msi_config_put(device, 4, 2, 0x0006);
		if (msi_run.pin)
			continue;
		msi_config_put(device, MSIDEV_MSI + 2, 2, 1);
		msi_aim(i, seed);
	}
	if (msi_run.pin)
		msi_aim_pin(seed);
}

static void msi_set_handlers(void)
{
	for (u32 i = 0; i < MSI_CLASSES; i++)
		for (u32 which = 0; which < MSI_DEVICES; which++)
			g_set_handler((u8)(MSI_VECTOR + 16 * i + which), msi_on_message);
	if (msi_run.pin)
		g_set_handler(MSI_VECTOR_PIN, msi_on_pin);
	g_set_handler(MSI_VECTOR_QUIET, msi_on_quiet);
}

static bool msi_was_seen(u32 which, u64 number)
{
	for (u32 id = 0; id < harness.vcpus; id++)
		if (g_shared(WORD_MSI_SEEN + which * MSI_ROW + id) >= number)
			return true;
	return false;
}

/* The heart of it: a lost interrupt and the guest never comes out of here. */
static void msi_await_last(void)
{
	for (u32 i = 0; i < msi_devices(); i++) {
		u32 last = g_mmio_read(msi_register(msi_run.device[i], MSIDEV_LAST));

		/* Numbers start at 1. */
		G_CHECK_EQUAL(last, g_mmio_read(msi_register(msi_run.device[i], MSIDEV_EVENTS)));
		while (!msi_was_seen(i, last))
			g_pause();
		G_CHECK_EQUAL(g_read(msi_dma_gpa(msi_run.device[i]), 4), last);
	}
}

static void msi_bsp(void *arg __unused)
{
	u32 seed = msi_run.seed;

	msi_set_handlers();
	g_apic_enable();
	g_start_aps();
	for (u32 id = 1; id < harness.vcpus; id++)
		g_await(WORD_MSI_UP + id, 1);
	msi_program(&seed);
	g_sti();
	g_set_shared(WORD_MSI_GO, 1);
	while (!g_shared(WORD_MSI_DONE)) {
		for (u32 i = msi_random(&seed) % 10; i; i--)
			g_pause();
		if (msi_run.moves && msi_run.pin)
			msi_aim_pin(&seed);
		else if (msi_run.moves)
			msi_aim(msi_random(&seed) % msi_devices(), &seed);
	}
	msi_await_last();
	g_apic_icr(0, MSI_VECTOR_QUIET | APIC_DEST_ALL | APIC_LEVEL_ASSERT);
	for (u32 id = 0; id < harness.vcpus; id++)
		g_await(WORD_MSI_QUIET + id, 1);
	g_exit(0);
}

/* --- the account, when the VM has ended --- */

struct msi_sum {
	u64 sent, held, injected, coalesced, pending, handled;
	u64 asserted, acked, stray;
};

static u64 msi_sum_words(u32 first)
{
	u64 sum = 0;

	for (u32 id = 0; id < harness.vcpus; id++)
		sum += *msi_word(first + id);
	return sum;
}

/* Requests of the MSI vectors that no vCPU has taken. */
static u64 msi_sum_pending(void)
{
	struct vcpu *vcpu;
	u64 sum = 0;

	for_each_vcpu (vcpu, harness_vm)
		for (u32 vector = MSI_VECTOR; vector < 256; vector++)
			sum += lapic_register(&vcpu->lapic, APIC_IRR + vector / 32 * 16) >>
			               vector % 32 &
			       1;
	return sum;
}

/*
 * What the processor delivered by itself has no source; the IPI of the end, by whomever it was delivered, is
 * no message.
 */
static u64 msi_hw_delivered(void)
{
	return harness_both(COUNTER_INJ_IPI, COUNTER_HW_DELIVERED) - msi_sum_words(WORD_MSI_QUIET);
}

static struct msi_sum msi_account(void)
{
	struct platform *platform = harness_vm->platform;
	struct msi_sum sum = {
	        .injected = harness_counter(msi_run.pin ? COUNTER_INJ_IOAPIC : COUNTER_INJ_MSI) +
	                    msi_hw_delivered(),
	        .coalesced = harness_both(COUNTER_COALESCED, COUNTER_HW_COALESCED),
	        .pending = msi_sum_pending(),
	        .handled = msi_sum_words(WORD_MSI_HANDLED),
	        .stray = msi_sum_words(WORD_MSI_STRAY),
	};

	for (u32 i = 0; i < harness.msidevs; i++) {
		sum.sent += pci_messages_sent(platform->msidev[i].function);
		sum.held += platform->msidev[i].held;
		sum.asserted += platform->msidev[i].asserted;
	}
	for (u32 i = 0; i < msi_devices(); i++)
		sum.acked += msi_sum_words(WORD_MSI_ACKED + i * MSI_ROW);
	return sum;
}

static void msi_check_messages(const struct msi_sum *sum)
{
	assert_int_equal(sum->sent, sum->injected + sum->coalesced + sum->pending);
	assert_int_equal(sum->pending, 0);
	assert_int_equal(sum->handled, sum->injected);
	assert_int_equal(sum->asserted, 0);
}

static void msi_check_pin(const struct msi_sum *sum)
{
	const struct platform *platform = harness_vm->platform;

	assert_int_equal(sum->sent, 0);
	assert_int_equal(sum->acked, sum->asserted);
	assert_int_equal(sum->handled, sum->injected);
	assert_int_equal(sum->pending, 0);
	assert_int_equal(sum->stray, 0);
	assert_false(harness_vm->ioapic.lines & BIT(msi_pin()));
	assert_false(harness_vm->ioapic.rte[msi_pin()] & IOAPIC_RTE_REMOTE_IRR);
	for (u32 i = 0; i < harness.msidevs; i++)
		assert_false(platform->msidev[i].status & MSIDEV_STATUS_INTERRUPT);
}

/* A machine with processor 0 for the device; returns with it still there. */
static struct msi_sum msi_execute(struct harness config, const struct msi_run *run)
{
	msi_run = *run;
	config.cpus++;
	config.msidevs = MSIDEV_MAX;
	config.device = msi_device;
	harness_create(&config);
	guest_bind(HARNESS_BSP, msi_bsp, NULL);
	guest_bind(HARNESS_AP, msi_ap, NULL);
	harness_run_to_end(ENDED_DEBUG_EXIT);
	assert_int_equal(atomic32_read(&harness_vm->exit_code), 1);
	return msi_account();
}

#endif
