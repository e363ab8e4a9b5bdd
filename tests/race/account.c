/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests that meet their vector's acknowledgement at a local APIC (irq/lapic.c). Two or three actors
 * over the real code:
 *
 *   owner    the vCPU's processor: takes what is deliverable, gives it back once as it does with
 *            what was injected and not delivered, and takes it again
 *   posters  other processors: lapic_accept() of fixed interrupts
 *
 * Whatever the order, each request that was accepted was taken, was coalesced, or is pending, and what is
 * pending is found by who looks for it. An acknowledgement that looks at the word before it clears the
 * summary, the obvious order, hides a request; the explorer must find that.
 */
#include "tests/race/scenarios.h"
#include "tests/race/stage.h"

#include "irq/lapic_priv.h"
#include "x86/apic.h"

#define VECTOR    0x41
#define NEIGHBOUR 0x51 /* in the same word of IRR, of another class */
#define TURNS     3

static struct vcpu *vcpu;
static u32 accepted; /* by posters: each adds its own when it is done */
static u32 taken;

static void setup(void)
{
	const struct vm_config config = {.vcpus = 1, .memory = 16ull << 20, .x2apic = true};
	struct vm *vm;

	vm = stage_vm(3, 0, &config);
	vcpu = vm->vcpu[0];
	atomic32_set(&vcpu->sched_state, VCPU_RUNNING);
	lapic_mmio_write(vcpu, APIC_SVR, 4, APIC_SVR_ENABLE | 0xff);
}

static void begin(void)
{
	accepted = taken = 0;
}

static void post(u8 vector)
{
	stage_accept(vcpu, vector);
	accepted++;
}

static void poster(void)
{
	post(VECTOR);
	post(VECTOR);
}

static void neighbour(void)
{
	post(NEIGHBOUR);
}

static void once(void)
{
	post(VECTOR);
}

/* `ack` is lapic_ack() or the wrong one. The taken one stays in service: EOI is another story. */
static void take(void (*ack)(u8 vector))
{
	bool gave_back = false;

	for (u32 i = 0; i < TURNS; i++) {
		int vector = lapic_deliverable(vcpu);

		if (vector < 0)
			continue;
		ack((u8)vector);
		taken++;
		if (gave_back)
			continue;
		lapic_unack(vcpu, (u8)vector);
		taken--;
		gave_back = true;
	}
}

static void right_ack(u8 vector)
{
	lapic_ack(vcpu, vector);
}

static void owner(void)
{
	take(right_ack);
}

/* Looks at the word, and only then clears the summary: what comes in between is in no summary. */
static void wrong_ack(u8 vector)
{
	struct lapic *lapic = &vcpu->lapic;
	struct atomic32 *irr = lapic_vector_word(lapic, APIC_IRR, vector);
	struct atomic32 *isr = lapic_vector_word(lapic, APIC_ISR, vector);

	atomic32_fetch_and(irr, ~lapic_vector_bit(vector));
	if (!atomic32_read(irr))
		atomic32_fetch_and(&lapic->irr_summary, ~BIT(vector / 32));
	atomic32_set_relaxed(isr, atomic32_read_relaxed(isr) | lapic_vector_bit(vector));
	lapic->isr_summary |= BIT(vector / 32);
	lapic_set(lapic, APIC_PPR, vector & 0xf0u);
}

static void wrong_owner(void)
{
	take(wrong_ack);
}

static const char *check(void)
{
	struct lapic *lapic = &vcpu->lapic;
	u32 word = lapic_register(lapic, APIC_IRR + VECTOR / 32 * LAPIC_STRIDE);
	u32 pending = (u32)__builtin_popcount(word);
	u64 coalesced = counter_read(&vcpu->account.counters[COUNTER_COALESCED]);

	if (word && !(atomic32_read(&lapic->irr_summary) & BIT(VECTOR / 32)))
		return "a request is pending and not in the summary: lost";
	if (accepted < taken + coalesced + pending)
		return "more was taken, coalesced and pending than accepted";
	if (accepted > taken + coalesced + pending)
		return "less was taken, coalesced and pending than accepted";
	return NULL;
}

const struct race_scenario race_account = {
        .name = "two requests meet their acknowledgement: none lost, none twice",
        .setup = setup,
        .begin = begin,
        .actor = {owner, poster},
        .cpu = {0, 1},
        .check = check,
};

const struct race_scenario race_account_neighbour = {
        .name = "requests of two vectors in one word meet an acknowledgement",
        .setup = setup,
        .begin = begin,
        .actor = {owner, once, neighbour},
        .cpu = {0, 1, 2},
        .check = check,
};

const struct race_scenario race_account_wrong = {
        .name = "an acknowledgement that looks before it clears the summary",
        .setup = setup,
        .begin = begin,
        .actor = {wrong_owner, poster},
        .cpu = {0, 1},
        .check = check,
};
