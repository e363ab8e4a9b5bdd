/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requirement S4: the deadline of a vCPU, which goes with its entries or is on the physical timer, and exits that
 * are forced.
 *
 *   cancel   the processor that served the physical timer finds the deadline due; on another one the vCPU's turn
 *            has begun, and the guest cancels it. No interrupt comes of it, and nothing stays armed.
 *   expiry   the same without a cancel, the deadline being due: one interrupt, not two, not none.
 *   run      the run loop on a VMX processor: a handler that cancels the deadline is kicked in, at any step, while
 *            the preemption timer ends. The timer's handler does not run behind the cancel.
 *   ExtINT   the same, and an ExtINT comes at any step: both are taken, and the 8259 is asked with interrupts open.
 *   force    the run loop on a VMX processor: an NMI comes while an exception is injected, so that an exit has
 *            to be forced. Entries are forced as often as somebody asks, and both handlers run.
 */
#include "tests/race/scenarios.h"
#include "tests/race/stage.h"

#include "core/machine.h"
#include "irq/extint.h"
#include "cpu_model/model.h"
#include "posix.h"
#include "postern/port.h"
#include "x86/apic.h"
#include "x86/msr.h"

#define TICK    0x61
#define OTHER   0x51
#define PIC     0x31
#define FAR     (1ull << 40)
#define ENTRIES 40 /* more than any run needs */

static struct vm *vm;
static struct vcpu *vcpu;

/* --- a vCPU and two processors' timers --- */

static void set_up_deadline(u64 ahead)
{
	const struct vm_config config = {
	        .vcpus = 1, .memory = 16ull << 20, .x2apic = true, .tsc_deadline = true};

	vm = stage_vm(2, MODEL_WESTMERE, &config);
	vcpu = vm->vcpu[0];
	atomic32_set(&vcpu->sched_state, VCPU_RUNNING);
	ptr_set(&vcpu->cpu, &port_machine()->cpu[1]);
	lapic_mmio_write(vcpu, APIC_SVR, 4, APIC_SVR_ENABLE | 0xff);
	lapic_mmio_write(vcpu, APIC_LVTT, 4, APIC_LVTT_DEADLINE | TICK);
	/* It has waited here, and the physical timer has it. */
	lapic_msr_write(vcpu, MSR_TSC_DEADLINE, port_tsc() + vcpu->tsc_offset + FAR);
	vcpu->lapic.timer_deadline -= FAR - ahead;
}

static void setup_far(void)
{
	set_up_deadline(FAR);
}

/* Due at once, and nobody has looked. */
static void setup_due(void)
{
	set_up_deadline(0);
}

/* Its clock is ahead of the other's. */
static void server(void)
{
	timer_run(this_cpu(), TSC_NEVER - 1);
}

static u64 ticks(void)
{
	return counter_read(&vcpu->account.counters[COUNTER_TIMER_TICKS]);
}

static void cancel(void)
{
	if (!lapic_msr_write(vcpu, MSR_TSC_DEADLINE, 0))
		posix_fail("no such register");
}

static void canceller(void)
{
	lapic_timer_on_entry(vcpu, true);
	cancel();
	vcpu_handle_requests(vcpu);
	lapic_timer_on_entry(vcpu, false);
}

/* What the turn began with is armed when it ends. */
static void canceller_from_memory(void)
{
	u64 deadline;

	lapic_timer_on_entry(vcpu, true);
	deadline = lapic_timer_entry_deadline(&vcpu->lapic);
	cancel();
	vcpu_handle_requests(vcpu);
	lapic_timer_on_entry(vcpu, false);
	timer_arm(&vcpu->lapic.timer, deadline);
}

/* A timer that goes on by itself, for the next period, if its owner still wants it. */
static void fire_that_arms(struct timer *timer)
{
	struct lapic *lapic = container_of(timer, struct lapic, timer);

	vcpu_request(lapic->vcpu, VCPU_REQUEST_TIMER);
	if (lapic->timer_deadline != TSC_NEVER)
		timer_arm(timer, timer->deadline + FAR);
}

static void server_that_arms(void)
{
	vcpu->lapic.timer.fire = fire_that_arms;
	timer_run(this_cpu(), vcpu->lapic.timer.deadline);
}

static const char *check_cancelled(void)
{
	vcpu_handle_requests(vcpu);
	if (ticks() || lapic_deliverable(vcpu) >= 0)
		return "an interrupt has come of a deadline that was cancelled";
	if (ptr_read(&vcpu->lapic.timer.queue))
		return "a deadline is armed that was cancelled";
	return NULL;
}

/* An entry whose timer has ended: vmx/timer.c. */
static void one_entry(void)
{
	if (lapic_timer_entry_deadline(&vcpu->lapic) <= port_tsc())
		lapic_timer_expired(vcpu);
}

static void runner(void)
{
	lapic_timer_on_entry(vcpu, true);
	vcpu_handle_requests(vcpu);
	one_entry();
	vcpu_handle_requests(vcpu);
	lapic_timer_on_entry(vcpu, false);
}

/* The request is taken for the deadline itself. */
static void runner_that_trusts(void)
{
	lapic_timer_on_entry(vcpu, true);
	one_entry();
	if (atomic32_xchg(&vcpu->requests, 0) & VCPU_REQUEST_TIMER) {
		vcpu_count(vcpu, COUNTER_TIMER_TICKS);
		lapic_local_interrupt(vcpu, APIC_LVTT);
	}
	lapic_timer_on_entry(vcpu, false);
}

static const char *check_expired(void)
{
	vcpu_handle_requests(vcpu);
	if (ticks() > 1)
		return "a deadline has come twice";
	if (!ticks() || lapic_deliverable(vcpu) != TICK)
		return "a deadline has not come: lost";
	return ptr_read(&vcpu->lapic.timer.queue) ? "it is armed still" : NULL;
}

#define DEADLINE(id, text, how, server_, owner, check_)                                            \
	const struct race_scenario id = {                                                          \
	        .name = text,                                                                      \
	        .setup = how,                                                                      \
	        .actor = {server_, owner},                                                         \
	        .cpu = {0, 1},                                                                     \
	        .check = check_,                                                                   \
	}

DEADLINE(race_deadline_cancel, "deadline: its cancel meets the physical timer", setup_far, server,
         canceller, check_cancelled);
DEADLINE(race_deadline_memory, "deadline: a turn's end arms what the turn began with", setup_far,
         server, canceller_from_memory, check_cancelled);
DEADLINE(race_deadline_arms, "deadline: the physical timer arms it again", setup_far,
         server_that_arms, canceller, check_cancelled);
DEADLINE(race_deadline_expiry, "deadline: its expiry with an entry meets the physical timer",
         setup_due, server, runner, check_expired);
DEADLINE(race_deadline_trusts, "deadline: a request is taken for the deadline", setup_due, server,
         runner_that_trusts, check_expired);

/* --- the run loop --- */

static u32 tick_handled, other_handled, wrong_order;
static u32 entries, forced;
static bool asked; /* wrong code's: the field */

static void tick_handler(u8 vector __unused, u32 error __unused)
{
	tick_handled++;
	if (other_handled)
		wrong_order++;
	if (!other_handled)
		g_wrmsr(MSR_X2APIC_EOI, 0);
}

/* Behind the cancel there is time enough for the deadline. */
static void other_handler(u8 vector __unused, u32 error __unused)
{
	g_wrmsr(MSR_TSC_DEADLINE, 0);
	other_handled++;
	g_sti();
	for (u32 i = 0; i < 12; i++)
		g_nop();
	stage_finish();
}

static void script_cancelled(void *arg __unused)
{
	g_wrmsr(MSR_X2APIC_FIRST + APIC_LVTT / 16, APIC_LVTT_DEADLINE | TICK);
	g_sti();
	g_wrmsr(MSR_TSC_DEADLINE, g_rdtsc() + 4000);
	for (u32 i = 0; i < 8; i++)
		g_nop();
	for (;;)
		g_pause();
}

static struct atomic32 intr; /* of an 8259 */

static bool has_extint(void *source __unused)
{
	return atomic32_read(&intr);
}

/* The 8259 has a lock, which nobody may wait for with interrupts blocked: docs/locking.md. */
static u8 answer_extint(void *source __unused)
{
	if (!model_current()->intr_flag)
		posix_fail("an ExtINT is answered with interrupts blocked");
	atomic32_set(&intr, 0);
	return PIC;
}

static const struct extint_ops extint_source = {.has = has_extint, .ack = answer_extint};

static void extint_handler(u8 vector __unused, u32 error __unused)
{
	other_handled++;
}

static void end_tick(u8 vector __unused, u32 error __unused)
{
	tick_handled++;
	g_wrmsr(MSR_X2APIC_EOI, 0);
}

static void script_extint(void *arg __unused)
{
	g_wrmsr(MSR_X2APIC_FIRST + APIC_LVTT / 16, APIC_LVTT_DEADLINE | TICK);
	g_wrmsr(MSR_X2APIC_FIRST + APIC_LVT0 / 16, APIC_DM_EXTINT);
	g_sti();
	g_wrmsr(MSR_TSC_DEADLINE, g_rdtsc() + 2000);
	while (!tick_handled)
		g_nop();
	while (!other_handled)
		g_pause();
	stage_finish();
}

static void nmi_handler(u8 vector __unused, u32 error __unused)
{
	other_handled++;
}

static void script_forced(void *arg __unused)
{
	u64 value;

	if (g_rdmsr_safe(0x12345678, &value) == VECTOR_GP)
		tick_handled++;
	while (!other_handled)
		g_pause();
	stage_finish();
}

/* Each instruction of the guest is a step, before which an interrupt may have come. */
static void between(struct model_cpu *cpu)
{
	model_look(&cpu->irr[CPU_VECTOR_KICK / 64]);
}

static bool force_always(struct vcpu *v __unused, enum intr_class class __unused)
{
	asked = true;
	return true;
}

static void run_counting(struct vcpu *v, bool force)
{
	if (++entries > ENTRIES)
		posix_fail("the guest does not get ahead");
	forced += force;
	vmx_backend.run(v, force);
}

/* The run loop's flag is a field instead, cleared behind an exit unless a request leads elsewhere. */
static void run_by_field(struct vcpu *v, bool force __unused)
{
	run_counting(v, asked);
	if (!atomic32_read(&v->requests))
		asked = false;
}

static void run_by_kept_field(struct vcpu *v, bool force __unused)
{
	run_counting(v, asked);
}

/* An NMI may come before the guest has a table. */
static void let_in_nmis(void)
{
	struct vcpu_state state;

	backend_op(get_state)(vcpu, &state);
	state.idt_limit = 0xfff;
	backend_op(set_state)(vcpu, &state);
}

static void set_up_run(guest_script script, void (*run)(struct vcpu *v, bool force))
{
	const struct vm_config config = {
	        .vcpus = 1, .memory = 16ull << 20, .x2apic = true, .tsc_deadline = true};

	vm = stage_vm(2, MODEL_WESTMERE, &config);
	backend_table.run = run;
	backend_table.intr_force = force_always;
	stage_guest(vm, script);
	vcpu = vm->vcpu[0];
	stage_enable_x2apic(vcpu);
	g_set_handler(TICK, tick_handler);
	g_set_handler(OTHER, other_handler);
	g_set_handler(VECTOR_NMI, nmi_handler);
	model()->between = between;
	let_in_nmis();
	vm_start(vm);
}

static void setup_run(void)
{
	set_up_run(script_cancelled, run_counting);
}

static void setup_extint(void)
{
	set_up_run(script_extint, run_counting);
	extint_attach(vm, &extint_source, NULL);
	g_set_handler(TICK, end_tick);
	g_set_handler(PIC, extint_handler);
}

static void setup_force(void)
{
	set_up_run(script_forced, run_counting);
}

static void setup_force_field(void)
{
	set_up_run(script_forced, run_by_field);
}

static void setup_force_kept(void)
{
	set_up_run(script_forced, run_by_kept_field);
}

static void begin(void)
{
	tick_handled = other_handled = wrong_order = entries = forced = 0;
	asked = false;
	atomic32_set_relaxed(&intr, 0);
}

static void kicker(void)
{
	stage_accept(vcpu, OTHER);
}

static void extint_raiser(void)
{
	atomic32_set(&intr, 1);
	extint_changed(vm);
}

static void nmi_sender(void)
{
	lapic_signal_nmi(&vcpu->lapic);
}

static const char *check_run(void)
{
	if (atomic32_read(&vm->ended) != ENDED_DEBUG_EXIT || other_handled != 1)
		return "the guest's handler has not run once";
	if (wrong_order)
		return "an interrupt has come of a deadline that was cancelled";
	if (tick_handled > 1)
		return "a deadline has come twice";
	return ptr_read(&vcpu->lapic.timer.queue) ? "a deadline is armed that was cancelled" : NULL;
}

static const char *check_extint(void)
{
	if (atomic32_read(&vm->ended) != ENDED_DEBUG_EXIT || other_handled != 1 ||
	    tick_handled != 1)
		return "a handler has not run once";
	return NULL;
}

static const char *check_force(void)
{
	if (atomic32_read(&vm->ended) != ENDED_DEBUG_EXIT || other_handled != 1 ||
	    tick_handled != 1)
		return "a handler has not run once";
	if (forced != counter_read(&vcpu->account.counters[COUNTER_FORCED_EXITS]))
		return "an entry was forced that nobody asked for";
	return NULL;
}

#define RUN(id, text, how, sender, check_, bound)                                                  \
	const struct race_scenario id = {                                                          \
	        .name = text,                                                                      \
	        .setup = how,                                                                      \
	        .begin = begin,                                                                    \
	        .actor = {stage_processor, sender},                                                \
	        .cpu = {0, 1},                                                                     \
	        .preemptions = bound,                                                              \
	        .check = check_,                                                                   \
	}

RUN(race_deadline_run, "deadline: its cancel by a handler meets the preemption timer", setup_run,
    kicker, check_run, 0);
RUN(race_deadline_extint, "deadline: its expiry meets an ExtINT", setup_extint, extint_raiser,
    check_extint, 0);
RUN(race_force, "forced exit meets an NMI's kick", setup_force, nmi_sender, check_force, 0);
RUN(race_force_field, "forced exit: a field that a request leaves set", setup_force_field,
    nmi_sender, check_force, 0);
RUN(race_force_kept, "forced exit: a field that is not cleared", setup_force_kept, nmi_sender,
    check_force, 0);
