/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests apart from the page (irq/accel.h, drawn in irq/lapic_accel.c). First the harvest alone, against two
 * senders; then senders against the whole run loop of a vCPU on a processor with APICv, as in avic_loop.c: entered
 * accelerated, switched on or off on the way, or asleep. No timer helps, so an interrupt that is lost is a deadlock.
 *
 * Wrong harvests, wrong senders and a processor that has not been told what the page holds must be found.
 */
#include "tests/race/scenarios.h"
#include "tests/race/stage.h"

#include "cpu_model/model.h"
#include "irq/lapic_priv.h"
#include "vmx/vmx.h"

#define VECTOR 0x41
#define SECOND 0x42 /* in the same word */

static struct vcpu *target;

static void on_stage(struct vm *vm)
{
	target = vm->vcpu[0];
	ASSERT(vm->accel.apart);
}

/* Its first entry switches acceleration on. */
static void setup_on(void)
{
	on_stage(stage_loop(MODEL_BROADWELL, stage_spin_behind_exit, VECTOR));
}

static void setup_spin(void)
{
	on_stage(stage_loop_accelerated(MODEL_BROADWELL, stage_spin_behind_exit, VECTOR));
}

static void setup_sleep(void)
{
	on_stage(stage_loop_accelerated(MODEL_BROADWELL, stage_sleep, VECTOR));
}

static void setup_off(void)
{
	setup_spin();
	stage_off();
}

/* One was requested before acceleration begins. */
static void hold(void)
{
	atomic32_fetch_or(lapic_vector_word(&target->lapic, APIC_IRR, VECTOR),
	                  lapic_vector_bit(VECTOR));
}

static void setup_held(void)
{
	setup_spin();
	hold();
}

/* With posted interrupts there is more to be told than what the page holds. */
static void setup_held_unposted(void)
{
	on_stage(stage_loop_accelerated(MODEL_BROADWELL & ~(u32)MODEL_POSTED,
	                                stage_spin_behind_exit, VECTOR));
	hold();
}

/* --- the harvest alone --- */

static bool missed;

static void setup_harvest(void)
{
	setup_spin();
	atomic32_set(&target->requests, 0);
}

static void begin_harvest(void)
{
	missed = false;
}

static void harvest(void)
{
	lapic_harvest(&target->lapic);
}

static void to_irr(u32 word, u64 bits)
{
	atomic32_fetch_or(lapic_word(&target->lapic, APIC_IRR + 2 * word * LAPIC_STRIDE),
	                  (u32)bits);
}

static void unmark(void)
{
	atomic64_fetch_and(&target->accel.apart.control, ~ACCEL_REQUESTS_ON);
}

static void mark(void)
{
	atomic64_fetch_or(&target->accel.apart.control, ACCEL_REQUESTS_ON);
}

/* What comes between the look and the store is gone. */
static void harvest_drops(void)
{
	struct atomic64 *word = &target->accel.apart.word[VECTOR / 64];

	unmark();
	to_irr(VECTOR / 64, atomic64_read(word));
	atomic64_set(word, 0);
}

/* What comes behind the look has its mark taken away. */
static void harvest_unmarks_last(void)
{
	struct atomic64 *word = &target->accel.apart.word[VECTOR / 64];
	u64 bits = atomic64_read(word);

	to_irr(VECTOR / 64, bits);
	atomic64_fetch_and(word, ~bits);
	unmark();
}

/* For a moment it is in neither. */
static void harvest_with_gap(void)
{
	unmark();
	to_irr(VECTOR / 64, atomic64_xchg(&target->accel.apart.word[VECTOR / 64], 0));
}

static void post(u8 vector)
{
	lapic_post(&target->lapic, vector);
	if (!lapic_holds(&target->lapic, vector))
		missed = true;
}

static void post_first(void)
{
	post(VECTOR);
}

static void post_second(void)
{
	post(SECOND);
}

static const char *check_harvest(void)
{
	const u32 both = lapic_vector_bit(VECTOR) | lapic_vector_bit(SECOND);

	if (missed)
		return "a request was seen nowhere";
	lapic_harvest(&target->lapic);
	if ((lapic_get(&target->lapic, APIC_IRR + VECTOR / 32 * LAPIC_STRIDE) & both) != both)
		return "a request was lost";
	return NULL;
}

#define HARVEST(id, what, owner)                                                                   \
	const struct race_scenario id = {                                                          \
	        .name = what,                                                                      \
	        .setup = setup_harvest,                                                            \
	        .begin = begin_harvest,                                                            \
	        .actor = {owner, post_first, post_second},                                         \
	        .cpu = {0, 1, 2},                                                                  \
	        .check = check_harvest,                                                            \
	}

HARVEST(race_harvest, "requests apart: two senders meet the harvest", harvest);
HARVEST(race_harvest_drops, "requests apart: the harvest drops what it has not seen",
        harvest_drops);
HARVEST(race_harvest_unmarks_last, "requests apart: the mark is taken away behind the harvest",
        harvest_unmarks_last);
HARVEST(race_harvest_gap, "requests apart: taken away before it is in the page", harvest_with_gap);

/* --- the run loop --- */

/* Acceleration begins, and the processor is not told what the page holds. */
static void processor_untold(void)
{
	vmx_of(target)->apicv.changed = false;
	target->lapic.status_changed = false;
	stage_processor();
}

static void send(void)
{
	stage_accept(target, VECTOR);
}

static void send_nothing(void)
{
}

static void send_marks_first(void)
{
	mark();
	atomic64_fetch_or(&target->accel.apart.word[VECTOR / 64], BIT64(VECTOR % 64));
	accel_posted(target);
}

static void send_tells_first(void)
{
	accel_posted(target);
	lapic_post(&target->lapic, VECTOR);
}

/* It is told, and finds nothing marked. */
static void send_without_mark(void)
{
	atomic64_fetch_or(&target->accel.apart.word[VECTOR / 64], BIT64(VECTOR % 64));
	accel_posted(target);
}

/* As to an APIC whose processor goes by the page. */
static void send_to_page(void)
{
	atomic32_fetch_or(lapic_vector_word(&target->lapic, APIC_IRR, VECTOR),
	                  lapic_vector_bit(VECTOR));
	vcpu_request(target, VCPU_REQUEST_EVENT);
}

#define LOOP(id, what, prepare, owner, sender)                                                     \
	const struct race_scenario id = {                                                          \
	        .name = what,                                                                      \
	        .setup = prepare,                                                                  \
	        .begin = stage_begin,                                                              \
	        .actor = {owner, sender},                                                          \
	        .cpu = {0, 1},                                                                     \
	        .check = stage_check_handled,                                                      \
	}

LOOP(race_apicv_entry, "APICv: an interrupt meets VM entry: the guest takes it", setup_spin,
     stage_processor, send);
LOOP(race_apicv_on, "APICv: an interrupt meets switching on and VM entry", setup_on,
     stage_processor, send);
LOOP(race_apicv_off, "APICv: an interrupt meets switching off and VM entry", setup_off,
     stage_processor, send);
LOOP(race_apicv_sleep, "APICv: an interrupt meets the run loop of a vCPU that sleeps", setup_sleep,
     stage_processor, send);
LOOP(race_apicv_held, "APICv: what the page held is delivered", setup_held, stage_processor,
     send_nothing);
LOOP(race_apicv_untold, "APICv: RVI and SVI as they were when acceleration begins",
     setup_held_unposted, processor_untold, send_nothing);
LOOP(race_apicv_marks_first, "APICv: a sender that marks before it requests", setup_spin,
     stage_processor, send_marks_first);
LOOP(race_apicv_tells_first, "APICv: a sender that tells before it requests", setup_spin,
     stage_processor, send_tells_first);
LOOP(race_apicv_no_mark, "APICv: a sender that tells and does not mark", setup_spin,
     stage_processor, send_without_mark);
LOOP(race_apicv_to_page, "APICv: a sender that writes the page", setup_spin, stage_processor,
     send_to_page);

const struct race_scenario race_apicv_toggle = {
        .name = "APICv: an interrupt meets switching off and on and VM entry",
        .setup = setup_spin,
        .begin = stage_begin,
        .actor = {stage_processor, send, stage_off_and_on},
        .cpu = {0, 1, 2},
        .preemptions = 1,
        .check = stage_check_handled,
};
