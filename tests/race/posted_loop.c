/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who posts, against the whole run loop of the target: its processor runs cpu_main() from the scheduler's first choice
 * on, with VM entry, posted-interrupt processing and HLT's exit as the model processor has them. Its guest spins, or
 * sleeps in HLT, until it has been interrupted and ends the VM. Where acceleration is switched meanwhile the sender
 * takes turns, too, since whoever switches waits for it. No timer helps, so an interrupt that is lost is a deadlock.
 *
 * ICR: the guest sends to itself by WRMSR, again and again, while acceleration goes and comes, or switches its own APIC
 * off in between. That no write reaches the APIC of the host is the model processor's to see: it ends the run.
 *
 * Status: the guest has an interrupt in service when acceleration comes. What the processor ends then is what SVI
 * names; by a stale one it stays in service and keeps off what comes next.
 */
#include "tests/race/posted.h"
#include "tests/race/scenarios.h"
#include "tests/race/stage.h"

#include "core/sched.h"
#include "irq/accel_check.h"
#include "irq/lapic_priv.h"
#include "vmx/vmx.h"

#define ICR_SENDS 3

static u32 handled;
static u32 wanted;

static void begin(void)
{
	posted_stage_begin();
	handled = 0;
	wanted = 1;
}

static void begin_two(void)
{
	begin();
	wanted = 2;
}

/* --- guests --- */

/* Behind an exit, at which acceleration may be switched with the interrupt in service. */
static void handler(u8 vector __unused, u32 error __unused)
{
	handled++;
	g_in(STAGE_EXIT_PORT, 1);
	g_wrmsr(MSR_X2APIC_FIRST + APIC_EOI / 16, 0);
	if (handled == wanted)
		stage_finish();
}

static void send_to_itself(void)
{
	g_wrmsr(MSR_X2APIC_FIRST + APIC_ICR / 16,
	        (u64)posted_target->apic_id << 32 | APIC_LEVEL_ASSERT | POSTED_VECTOR);
}

static void send_icr(void *arg __unused)
{
	for (u32 i = 0; i < ICR_SENDS; i++)
		send_to_itself();
	stage_finish();
}

static void send_icr_disabled(void *arg __unused)
{
	send_to_itself();
	g_wrmsr(MSR_X2APIC_FIRST + APIC_SVR / 16, 0xff);
	send_to_itself();
	g_wrmsr(MSR_X2APIC_FIRST + APIC_SVR / 16, APIC_SVR_ENABLE | 0xff);
	send_to_itself();
	stage_finish();
}

/* --- stages --- */

static void create_guest(const struct posted_stage *stage, guest_script script)
{
	posted_stage_create(stage);
	stage_guest(posted_vm, script);
	g_set_handler(POSTED_VECTOR, handler);
	g_set_handler(POSTED_VECTOR_TOO, handler);
	/* vCPU 1 is its processor's alone, and never retires. */
	atomic32_set(&posted_vm->live_vcpus, 1);
}

/* It waits in processor 0's queue. */
static void create(const struct posted_stage *stage, guest_script script)
{
	create_guest(stage, script);
	vcpu_handle_requests(posted_target);
	ASSERT(accel_is_on(&posted_target->accel) == !stage->inhibited);
	sched_wake(posted_target);
}

static void setup_spin(void)
{
	create(&(struct posted_stage){0}, stage_spin_behind_exit);
}

static void setup_sleep(void)
{
	create(&(struct posted_stage){0}, stage_sleep);
}

static void setup_spin_off(void)
{
	create(&(struct posted_stage){.inhibited = true}, stage_spin_behind_exit);
}

static void setup_sleep_off(void)
{
	create(&(struct posted_stage){.inhibited = true}, stage_sleep);
}

/* Nobody is woken when acceleration comes back. */
static void setup_unwoken(void)
{
	setup_sleep_off();
	posted_vm->accel.finds_sleepers = false;
}

/* Not accelerated for a reason of its own, as while it runs a guest of its guest: its entry in the table stays. */
static void switch_off_locally(void)
{
	struct accel_vcpu *accel = &posted_target->accel;

	accel->local = INHIBIT_BIT(NESTED);
	accel->local_mode = ACCEL_OFF;
	accel_note_wrong(accel);
	atomic32_fetch_or(&posted_target->requests, VCPU_REQUEST_ACCEL);
}

static void setup_spin_locally(void)
{
	setup_spin();
	switch_off_locally();
}

static void setup_sleep_locally(void)
{
	setup_sleep();
	switch_off_locally();
}

static void setup_move(void)
{
	create_guest(&(struct posted_stage){0}, stage_spin_behind_exit);
	stage_run_on(posted_target, POSTED_OTHER_CPU);
}

static void setup_icr(void)
{
	create(&(struct posted_stage){0}, send_icr);
}

static void setup_icr_disabled(void)
{
	create(&(struct posted_stage){0}, send_icr_disabled);
}

/* --- wrong back ends --- */

/* Acceleration goes, and what is passed through stays as it was. */
static void leaves_bitmap(struct vcpu *vcpu, enum accel_mode mode, bool with_page)
{
	struct vmx_vm *vmx = vcpu->vm->arch;

	if (mode == ACCEL_OFF)
		vmx->msr_bitmap[VMX_BITMAP_PLAIN] = vmx->msr_bitmap[VMX_BITMAP_IPIV];
	posted_right->set(vcpu, mode, with_page);
}

/* ... when the guest has switched its APIC off, by itself. */
static void leaves_bitmap_locally(struct vcpu *vcpu, enum accel_mode mode, bool with_page)
{
	if (vcpu->accel.local)
		leaves_bitmap(vcpu, mode, with_page);
	else
		posted_right->set(vcpu, mode, with_page);
}

/* Whether somebody posts to a vCPU that sleeps is made to depend on its own acceleration, not on the VM's. */
static void asks_itself(struct vcpu *vcpu, struct cpu *cpu, bool sleeps)
{
	posted_right->running(vcpu, cpu, sleeps && accel_is_on(&vcpu->accel));
}

/* RVI follows the page when acceleration comes, and SVI is what it was when it went: nothing was in service. */
static void leaves_svi(struct vcpu *vcpu, enum accel_mode mode, bool with_page)
{
	struct atomic32 *isr = lapic_vector_word(&vcpu->lapic, APIC_ISR, POSTED_VECTOR);
	u32 in_service = atomic32_read(isr);

	posted_right->set(vcpu, mode, with_page);
	if (mode == ACCEL_OFF)
		return;
	atomic32_set(isr, 0);
	vmx_apicv_store(vcpu);
	atomic32_set(isr, in_service);
}

static void setup_icr_left(void)
{
	setup_icr();
	stage_accel_ops()->set = leaves_bitmap;
}

static void setup_icr_left_locally(void)
{
	setup_icr_disabled();
	stage_accel_ops()->set = leaves_bitmap_locally;
}

static void setup_asks_itself(void)
{
	setup_sleep_locally();
	stage_accel_ops()->running = asks_itself;
}

static void setup_svi(void)
{
	setup_spin_off();
	stage_accel_ops()->set = leaves_svi;
}

/* --- actors --- */

static void other(void)
{
	stage_end_turn(posted_target);
}

/* One behind the other: the second is of the class that the first, in service, keeps off. */
static void send_twice(void)
{
	posted_send_software();
	posted_send_software_too();
}

/* --- the end --- */

static const char *check(void)
{
	return handled == wanted ? stage_check_ended()
	                         : "the guest's handler has not run as often as it should";
}

#define SCENARIO_WITH(taken, id, what, bound, prepare, start, judge, ...)                          \
	const struct race_scenario id = {                                                          \
	        .name = "posted: " what,                                                           \
	        .setup = prepare,                                                                  \
	        .begin = start,                                                                    \
	        .actor = {__VA_ARGS__},                                                            \
	        .cpu = {0, POSTED_SENDER_CPU, POSTED_OTHER_CPU},                                   \
	        .preemptions = bound,                                                              \
	        .interrupts = taken,                                                               \
	        .check = judge,                                                                    \
	}
#define SCENARIO(id, what, bound, prepare, start, judge, ...)                                      \
	SCENARIO_WITH(true, id, what, bound, prepare, start, judge, __VA_ARGS__)
/* The kick stands for what is in the target's queue otherwise: the processor that idles is not to take it before. */
#define MOVE(id, what, bound, sender)                                                              \
	SCENARIO_WITH(false, id, what, bound, setup_move, begin, check, stage_processor, sender,   \
	              other)
#define LOOP(id, what, bound, prepare, ...)                                                        \
	SCENARIO(id, what, bound, prepare, begin, check, stage_processor, __VA_ARGS__)

LOOP(race_posted_loop, "an IPI meets VM entry: the guest takes it", 0, setup_spin, posted_send_ipi);
LOOP(race_posted_loop_software, "software's interrupt meets VM entry: the guest takes it", 0,
     setup_spin, posted_send_software);
LOOP(race_posted_loop_sleep, "an IPI meets the run loop of a vCPU that sleeps", 0, setup_sleep,
     posted_send_ipi);
LOOP(race_posted_loop_sleep_device, "a device's interrupt meets the run loop of a vCPU that sleeps",
     0, setup_sleep, posted_send_device);
LOOP(race_posted_loop_sleep_software,
     "software's interrupt meets the run loop of a vCPU that sleeps", 0, setup_sleep,
     posted_send_software);
LOOP(race_posted_local, "an IPI meets VM entry, not accelerated for a reason of its own", 0,
     setup_spin_locally, posted_send_ipi);
LOOP(race_posted_local_sleep, "an IPI meets HLT, not accelerated for a reason of its own", 0,
     setup_sleep_locally, posted_send_ipi);
LOOP(race_posted_local_asks_itself, "HLT: the wakeup vector only if the vCPU itself is accelerated",
     0, setup_asks_itself, posted_send_ipi);
MOVE(race_posted_loop_move, "an IPI meets the run loop that a vCPU moves to", 2, posted_send_ipi);
MOVE(race_posted_loop_move_software, "software's interrupt meets the run loop that a vCPU moves to",
     2, posted_send_software);
LOOP(race_posted_off, "an IPI meets switching off and VM entry", 1, setup_spin, posted_send_turn,
     stage_off);
LOOP(race_posted_off_device, "a device's interrupt meets switching off and VM entry", 1, setup_spin,
     posted_send_device, stage_off);
LOOP(race_posted_off_software, "software's interrupt meets switching off and VM entry", 1,
     setup_spin, posted_send_software, stage_off);
LOOP(race_posted_off_sleep, "an IPI meets switching off and HLT", 1, setup_sleep, posted_send_turn,
     stage_off);
LOOP(race_posted_on_sleep, "an IPI meets switching on and HLT", 1, setup_sleep_off,
     posted_send_turn, stage_on);
LOOP(race_posted_off_on_sleep, "an IPI meets switching off and on and HLT", 1, setup_sleep,
     posted_send_turn, stage_off_and_on);
LOOP(race_posted_on_sleep_software, "software's interrupt meets switching on and HLT", 1,
     setup_sleep_off, posted_send_software, stage_on);
LOOP(race_posted_unwoken, "acceleration comes back, and who sleeps is not woken", 1, setup_unwoken,
     posted_send_turn, stage_on);
SCENARIO(race_posted_icr, "ICR is written while acceleration goes and comes", 2, setup_icr, begin,
         stage_check_ended, stage_processor, stage_off_and_on);
SCENARIO(race_posted_icr_disabled, "ICR is written, the APIC is disabled, acceleration goes", 2,
         setup_icr_disabled, begin, stage_check_ended, stage_processor, stage_off);
SCENARIO(race_posted_icr_left, "ICR stays passed through when acceleration goes", 2, setup_icr_left,
         begin, stage_check_ended, stage_processor, stage_off_and_on);
SCENARIO(race_posted_icr_left_locally, "ICR stays passed through when the APIC is disabled", 2,
         setup_icr_left_locally, begin, stage_check_ended, stage_processor, stage_off);
SCENARIO(race_posted_status, "an interrupt is in service when acceleration comes", 1,
         setup_spin_off, begin_two, check, stage_processor, send_twice, stage_on);
SCENARIO(race_posted_status_stale, "SVI as it was when acceleration comes", 1, setup_svi, begin_two,
         check, stage_processor, send_twice, stage_on);
