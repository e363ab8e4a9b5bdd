/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Posted interrupts as the processor itself does them: IPIs that two processors send by the
 * microcode (cpu_model/vapic_ipi.c) meet the third, which is in the guest and processes them
 * (cpu_model/vapic.c). Every interrupt is delivered, once. Nothing of the hypervisor takes part.
 *
 * Physical IPIs are a bit of the target's IRR, which two notifications share.
 *
 * A processor that clears ON behind PIR, or a sender that looks at ON before its bit is in PIR, loses
 * interrupts. The explorer must find both, or it would prove nothing.
 */
#include "tests/race/scenarios.h"
#include "tests/race/stage.h"

#include "cpu_model/vapic.h"
#include "posix.h"
#include "postern/port.h"

#define SENDERS 2
#define TARGET  SENDERS
#define NV      0xf2
#define FIRST   0x41 /* the first sender's vector; the second's is above */
#define STEP    0x20

/* In the arena: part of what is put back before each execution. */
struct world {
	u8 page[PAGE_SIZE];
	struct pi_desc desc;
	struct atomic64 table[1];
	struct vapic vapic[SENDERS + 1];
	struct atomic32 irr; /* [a] of the target's physical APIC: NV is requested */
	u32 delivered[SENDERS];
};

static struct world *world;

static void on_notify(void *context __unused, u32 host_id, u8 vector)
{
	if (host_id != TARGET || vector != NV)
		posix_fail("a notification to somebody else");
	atomic32_fetch_or(&world->irr, 1);
}

static void on_eoi(void *context __unused)
{
}

static void setup(void)
{
	posix_machine_reset(&(struct posix_config){.cpus = SENDERS + 1}, 0);
	world = port_alloc(ALIGN_UP(sizeof(*world), PAGE_SIZE), PAGE_SIZE);
	ASSERT(world);
	world->desc.control.v = PI_TO(NV, TARGET);
	world->table[0].v = ptr_to_hpa(&world->desc).v | PI_ENTRY_VALID;
	for (u32 i = 0; i <= SENDERS; i++) {
		world->vapic[i] = (struct vapic){
		        .page = world->page,
		        .tpr_shadow = true,
		        .vid = true,
		        .ipiv = true,
		        .pi_vector = NV,
		        .pi_desc = &world->desc,
		        .pi_table = world->table,
		        .host_x2 = true,
		        .width = 52,
		        .switches = VAPIC_SWITCH_DEFAULTS,
		        .memory_end = ~0ull,
		        .notify = on_notify,
		        .eoi = on_eoi,
		};
		vapic_enter(&world->vapic[i], 0);
	}
}

static void sends(u32 sender)
{
	u8 vector = (u8)(FIRST + sender * STEP);

	if (vapic_send(&world->vapic[sender], 0, vector).action != VAPIC_DONE)
		posix_fail("an IPI was not sent");
}

static void sender_0(void)
{
	sends(0);
}

static void sender_1(void)
{
	sends(1);
}

/* ON is looked at while PIR has nothing yet. */
static void looks_at_on_first(void)
{
	bool tell = !(atomic64_fetch_or(&world->desc.control, PI_ON) & PI_ON);

	atomic64_fetch_or(&world->desc.pir[FIRST / 64], BIT64(FIRST % 64));
	if (tell)
		on_notify(NULL, TARGET, NV);
}

/* An instruction boundary: everything that can be delivered is, and ended at once. */
static void deliver_all(struct vapic *target)
{
	while (vapic_can_deliver(target, true)) {
		world->delivered[(vapic_deliver(target) - FIRST) / STEP]++;
		vapic_end(target);
	}
}

static bool has_all(void)
{
	for (u32 i = 0; i < SENDERS; i++)
		if (!world->delivered[i])
			return false;
	return true;
}

static void runs_the_guest(bool (*process)(struct vapic *vapic, u8 vector))
{
	struct vapic *target = &world->vapic[TARGET];

	while (!has_all()) {
		wait_until(atomic32_read(&world->irr));
		atomic32_set(&world->irr, 0); /* acknowledged */
		if (!process(target, NV))
			posix_fail("the notification was none");
		deliver_all(target);
	}
}

static void target(void)
{
	runs_the_guest(vapic_process_posted);
}

/* vapic_process_posted() with its two steps exchanged. */
static bool clears_on_last(struct vapic *vapic, u8 vector)
{
	u64 control = atomic64_read(&vapic->pi_desc->control);
	struct pi_desc aside = {.control.v = control}, *desc = vapic->pi_desc;
	bool is;

	for (u32 i = 0; i < ARRAY_SIZE(aside.pir); i++)
		aside.pir[i].v = atomic64_xchg(&desc->pir[i], 0);
	vapic->pi_desc = &aside;
	is = vapic_process_posted(vapic, vector);
	vapic->pi_desc = desc;
	atomic64_fetch_and(&desc->control, ~PI_ON);
	return is;
}

static void target_clears_on_last(void)
{
	runs_the_guest(clears_on_last);
}

static const char *check(void)
{
	const struct vapic *target = &world->vapic[TARGET];

	for (u32 i = 0; i < SENDERS; i++)
		if (world->delivered[i] != 1)
			return "an interrupt was not delivered once";
	if (!stage_pir_is_empty(&world->desc))
		return "PIR is not empty";
	return target->rvi || target->svi ? "guest interrupt status is not empty" : NULL;
}

#define SCENARIO(id, what, first, second, third)                                                   \
	const struct race_scenario id = {                                                          \
	        .name = (what),                                                                    \
	        .setup = setup,                                                                    \
	        .actor = {first, second, third},                                                   \
	        .cpu = {0, 1, 2},                                                                  \
	        .check = check,                                                                    \
	}

SCENARIO(race_posted, "IPI virtualization: two IPIs meet posted-interrupt processing", sender_0,
         sender_1, target);
SCENARIO(race_posted_on_last, "posted-interrupt processing clears ON behind PIR", sender_0,
         sender_1, target_clears_on_last);
SCENARIO(race_posted_on_first, "an IPI looks at ON before its bit is in PIR", looks_at_on_first,
         sender_1, target);
