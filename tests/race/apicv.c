/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests apart from the page (irq/accel.h, drawn in irq/lapic_accel.c). First the harvest alone, against two
 * senders; then senders against the whole run loop of a vCPU on a processor with APICv, as in avic_loop.c: entered
 * accelerated, switched on or off on the way, or asleep. No timer helps, so an interrupt that is lost is a deadlock.
 *
 * Wrong harvests, wrong senders and a processor that has not been told what the page holds must be found.
 */
#include "tests/race/scenarios.h"

#include "core/machine.h"
#include "core/vm.h"
#include "cpu_model/guest.h"
#include "cpu_model/model.h"
#include "irq/lapic_priv.h"
#include "platform/longmode.h"
#include "platform/platform.h"
#include "posix.h"
#include "postern/port.h"
#include "vmx/vmx.h"

#define ENTRY  0x30000u
#define VECTOR 0x41
#define SECOND 0x42 /* in the same word */
#define CPUS   3

static struct vm *vm;
static struct vcpu *target;
static u32 handled;

static void handler(u8 vector __unused, u32 error __unused)
{
	handled++;
	g_out(PLATFORM_DEBUG_EXIT_PORT, 0, 4);
}

/* With an exit first: the entry behind it has nothing of its own to tell the processor. */
static void spin(void *arg __unused)
{
	g_in(0x80, 1);
	g_sti();
	for (;;)
		g_pause();
}

static void sleep(void *arg __unused)
{
	for (;;) {
		g_sti();
		g_hlt();
	}
}

/* Its APIC is enabled; its first entry switches acceleration on. */
static void create_on(u32 features, guest_script script)
{
	const struct vm_config config = {
	        .vcpus = 1, .memory = 16ull << 20, .x2apic = true, .accel_modes = ~0u};
	const char *why = "";
	u64 base;

	posix_machine_reset(&(struct posix_config){.cpus = CPUS}, features);
	if (!machine_init(port_machine(), &why))
		port_panic("machine_init: %s", why);
	vm = vm_create(port_machine(), &config);
	ASSERT(vm && platform_create(vm) && longmode_start(vm, ENTRY));
	target = vm->vcpu[0];
	ASSERT(vm->accel.apart && lapic_msr_read(target, MSR_APIC_BASE, &base) &&
	       lapic_msr_write(target, MSR_APIC_BASE, base | APIC_BASE_EXTD) &&
	       lapic_msr_write(target, MSR_X2APIC_FIRST + APIC_SVR / 16, APIC_SVR_ENABLE | 0xff));
	guest_bind(ENTRY, script, NULL);
	g_set_handler(VECTOR, handler);
	vm_start(vm);
	port_machine()->housekeeping_due = TSC_NEVER - 1;
}

static void create(guest_script script)
{
	create_on(MODEL_BROADWELL, script);
}

static void setup_on(void)
{
	create(spin);
}

/* Its acceleration is on. */
static void begin_on(void)
{
	posix_set_current(&model()->cpu[0]);
	vcpu_handle_requests(target);
	ASSERT(accel_is_on(&target->accel));
}

static void ready(guest_script script)
{
	create(script);
	begin_on();
}

static void setup_spin(void)
{
	ready(spin);
}

static void setup_sleep(void)
{
	ready(sleep);
}

static void setup_off(void)
{
	ready(spin);
	inhibit_set(vm, INHIBIT_STORM);
}

/* One was requested before acceleration begins. */
static void hold(void)
{
	atomic32_fetch_or(lapic_vector_word(&target->lapic, APIC_IRR, VECTOR),
	                  lapic_vector_bit(VECTOR));
}

static void setup_held(void)
{
	ready(spin);
	hold();
}

/* With posted interrupts there is more to be told than what the page holds. */
static void setup_held_unposted(void)
{
	create_on(MODEL_BROADWELL & ~(u32)MODEL_POSTED, spin);
	begin_on();
	hold();
}

static void begin(void)
{
	handled = 0;
}

/* --- the harvest alone --- */

static bool missed;

static void setup_harvest(void)
{
	ready(spin);
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

static void processor(void)
{
	cpu_main(this_cpu());
}

/* Acceleration begins, and the processor is not told what the page holds. */
static void processor_untold(void)
{
	vmx_of(target)->apicv.changed = false;
	target->lapic.status_changed = false;
	cpu_main(this_cpu());
}

static void send(void)
{
	if (!lapic_accept(&target->lapic, VECTOR, false, IRQ_SOURCE_MSI))
		posix_fail("the interrupt was not accepted");
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

static void toggle(void)
{
	inhibit_set(vm, INHIBIT_STORM);
	inhibit_clear(vm, INHIBIT_STORM);
}

static const char *check(void)
{
	if (handled != 1)
		return "the guest's handler has not run once";
	return atomic32_read(&vm->ended) == ENDED_DEBUG_EXIT ? NULL : "the VM has not ended";
}

#define LOOP(id, what, prepare, owner, sender)                                                     \
	const struct race_scenario id = {                                                          \
	        .name = what,                                                                      \
	        .setup = prepare,                                                                  \
	        .begin = begin,                                                                    \
	        .actor = {owner, sender},                                                          \
	        .cpu = {0, 1},                                                                     \
	        .check = check,                                                                    \
	}

LOOP(race_apicv_entry, "APICv: an interrupt meets VM entry: the guest takes it", setup_spin,
     processor, send);
LOOP(race_apicv_on, "APICv: an interrupt meets switching on and VM entry", setup_on, processor,
     send);
LOOP(race_apicv_off, "APICv: an interrupt meets switching off and VM entry", setup_off, processor,
     send);
LOOP(race_apicv_sleep, "APICv: an interrupt meets the run loop of a vCPU that sleeps", setup_sleep,
     processor, send);
LOOP(race_apicv_held, "APICv: what the page held is delivered", setup_held, processor,
     send_nothing);
LOOP(race_apicv_untold, "APICv: RVI and SVI as they were when acceleration begins",
     setup_held_unposted, processor_untold, send_nothing);
LOOP(race_apicv_marks_first, "APICv: a sender that marks before it requests", setup_spin, processor,
     send_marks_first);
LOOP(race_apicv_tells_first, "APICv: a sender that tells before it requests", setup_spin, processor,
     send_tells_first);
LOOP(race_apicv_no_mark, "APICv: a sender that tells and does not mark", setup_spin, processor,
     send_without_mark);
LOOP(race_apicv_to_page, "APICv: a sender that writes the page", setup_spin, processor,
     send_to_page);

const struct race_scenario race_apicv_toggle = {
        .name = "APICv: an interrupt meets switching off and on and VM entry",
        .setup = setup_spin,
        .begin = begin,
        .actor = {processor, send, toggle},
        .cpu = {0, 1, 2},
        .preemptions = 1,
        .check = check,
};
