/* SPDX-License-Identifier: BSD-2-Clause */
/* See stage.h. */
#include "tests/race/stage.h"

#include "core/machine.h"
#include "core/sched.h"
#include "cpu_model/model.h"
#include "platform/longmode.h"
#include "platform/platform.h"
#include "posix.h"
#include "postern/backend.h"
#include "postern/port.h"
#include "x86/apic.h"
#include "x86/msr.h"
#include "x86/vmx_apic.h"

#define CPUS  3
#define ENTRY 0x30000u

static struct vm *guest_vm; /* stage_guest()'s */
static u32 handled;
static enum {
	UNDECIDED,
	KEPT_RUNNING,
	WENT_TO_SLEEP,
	RUNS_AGAIN,
} outcome; /* of falling asleep */

/* --- creation --- */

struct vm *stage_vm(u32 cpus, u32 features, const struct vm_config *config)
{
	const char *why = "";
	struct vm *vm;

	posix_machine_reset(&(struct posix_config){.cpus = cpus}, features);
	if (!machine_init(port_machine(), &why))
		port_panic("machine_init: %s", why);
	vm = vm_create(port_machine(), config);
	ASSERT(vm);
	/* Housekeeping's timer would repair what is lost. */
	port_machine()->housekeeping_due = TSC_NEVER - 1;
	return vm;
}

void stage_enable_x2apic(struct vcpu *vcpu)
{
	u64 base;

	ASSERT(lapic_msr_read(vcpu, MSR_APIC_BASE, &base));
	ASSERT(lapic_msr_write(vcpu, MSR_APIC_BASE, base | APIC_BASE_EXTD));
	ASSERT(lapic_msr_write(vcpu, MSR_X2APIC_FIRST + APIC_SVR / 16, APIC_SVR_ENABLE | 0xff));
}

void stage_run_on(struct vcpu *vcpu, u32 index)
{
	struct cpu *cpu = &port_machine()->cpu[index];

	posix_set_current(&model()->cpu[index]);
	ASSERT(backend_op(cpu_init)(cpu));
	atomic32_set(&vcpu->sched_state, VCPU_RUNNING);
	vcpu->activity = VCPU_ACTIVE;
	vcpu->cpu = cpu;
	cpu->current = vcpu;
	sched_load(cpu, vcpu);
	accel_running(vcpu, cpu);
	vcpu_handle_requests(vcpu);
	ASSERT(accel_is_on(&vcpu->accel) && !atomic32_read(&vcpu->requests));
	posix_set_current(&model()->cpu[0]);
}

struct accel_ops *stage_accel_ops(void)
{
	static struct accel_ops ops;
	static struct backend backend;

	backend = *port_machine()->backend;
	ops = *backend.accel;
	backend.accel = &ops;
	port_machine()->backend = &backend;
	return &ops;
}

void stage_accept(struct vcpu *vcpu, u8 vector)
{
	if (!lapic_accept(&vcpu->lapic, vector, false, IRQ_SOURCE_MSI))
		posix_fail("the interrupt was not accepted");
}

void stage_begin(void)
{
	handled = 0;
	outcome = UNDECIDED;
}

/* --- with the whole run loop --- */

void stage_guest(struct vm *vm, guest_script script)
{
	ASSERT(platform_create(vm) && longmode_start(vm, ENTRY));
	guest_bind(ENTRY, script, NULL);
	guest_vm = vm;
}

struct vm *stage_loop(u32 features, guest_script script, u8 vector)
{
	const struct vm_config config = {
	        .vcpus = 1, .memory = 16ull << 20, .x2apic = true, .accel_modes = ~0u};
	struct vm *vm = stage_vm(CPUS, features, &config);

	stage_guest(vm, script);
	stage_enable_x2apic(vm->vcpu[0]);
	g_set_handler(vector, stage_handler);
	vm_start(vm);
	return vm;
}

struct vm *stage_loop_accelerated(u32 features, guest_script script, u8 vector)
{
	struct vm *vm = stage_loop(features, script, vector);

	vcpu_handle_requests(vm->vcpu[0]);
	ASSERT(accel_is_on(&vm->vcpu[0]->accel));
	return vm;
}

void stage_spin(void *arg __unused)
{
	g_sti();
	for (;;)
		g_pause();
}

/* The entry behind the exit has nothing of its own to tell the processor. */
void stage_spin_behind_exit(void *arg)
{
	g_in(STAGE_EXIT_PORT, 1);
	stage_spin(arg);
}

void stage_sleep(void *arg __unused)
{
	for (;;) {
		g_sti();
		g_hlt();
	}
}

void stage_handler(u8 vector __unused, u32 error __unused)
{
	handled++;
	stage_finish();
}

void stage_finish(void)
{
	g_out(PLATFORM_DEBUG_EXIT_PORT, 0, 4);
}

void stage_processor(void)
{
	cpu_main(this_cpu());
}

void stage_off(void)
{
	inhibit_set(guest_vm, INHIBIT_STORM);
}

void stage_on(void)
{
	inhibit_clear(guest_vm, INHIBIT_STORM);
}

void stage_off_and_on(void)
{
	stage_off();
	stage_on();
}

const char *stage_check_ended(void)
{
	struct vcpu *vcpu;

	for_each_vcpu (vcpu, guest_vm)
		if (counter_read(&vcpu->account.counters[COUNTER_ACCEL_MISMATCHES]))
			return "a vCPU entered in a state that the mask does not demand";
	return atomic32_read(&guest_vm->ended) == ENDED_DEBUG_EXIT ? NULL : "the VM has not ended";
}

const char *stage_check_handled(void)
{
	return handled == 1 ? stage_check_ended() : "the guest's handler has not run once";
}

/* --- parts of the run loop --- */

bool stage_enter(struct vcpu *vcpu)
{
	atomic32_set(&vcpu->mode, VCPU_IN_GUEST);
	smp_mb();
	if (!atomic32_read(&vcpu->requests))
		return true;
	atomic32_set_release(&vcpu->mode, VCPU_OUTSIDE);
	return false;
}

void stage_end_turn(struct vcpu *vcpu)
{
	struct cpu *cpu = this_cpu();

	sched_end_turn(cpu, vcpu);
	sched_unload(cpu);
	cpu_kick(&port_machine()->cpu[0]);
}

void stage_give(struct vcpu *vcpu)
{
	struct cpu *cpu = this_cpu();

	cpu->current = NULL;
	accel_running(vcpu, NULL);
	sched_unload(cpu);
}

void stage_take(struct vcpu *vcpu)
{
	struct cpu *cpu = this_cpu();

	wait_until(!atomic32_read_acquire(&vcpu->on_cpu));
	ptr_set(&vcpu->cpu, cpu);
	sched_load(cpu, vcpu);
	accel_running(vcpu, cpu);
}

void stage_fall_asleep(struct vcpu *vcpu, bool (*block)(struct vcpu *vcpu))
{
	do {
		vcpu_handle_requests(vcpu);
		if (intr_has_deliverable(vcpu)) {
			outcome = KEPT_RUNNING;
			return;
		}
	} while (!block(vcpu));
	outcome = WENT_TO_SLEEP;
}

void stage_fall_asleep_with_processor(struct vcpu *vcpu, bool (*block)(struct vcpu *vcpu))
{
	struct cpu *cpu = this_cpu();

	stage_fall_asleep(vcpu, block);
	if (outcome == KEPT_RUNNING)
		return;
	while (sched_pick(cpu) != vcpu)
		sched_idle(cpu);
	outcome = RUNS_AGAIN;
}

const char *stage_check_sleep(struct vcpu *vcpu, u8 vector)
{
	u32 state = atomic32_read(&vcpu->sched_state);
	const struct cpu *cpu = vcpu->cpu;

	if (lapic_deliverable(vcpu) < vector)
		return "the interrupt is no longer pending";
	switch (outcome) {
	case KEPT_RUNNING:
	case RUNS_AGAIN:
		if (state != VCPU_RUNNING || cpu->current != vcpu)
			return "the vCPU runs, but is not marked so";
		return cpu->rq.head ? "the vCPU runs and is on a queue as well" : NULL;
	case WENT_TO_SLEEP:
		if (state == VCPU_BLOCKED)
			return "the vCPU sleeps with an interrupt pending: lost wake-up";
		if (state != VCPU_RUNNABLE || cpu->rq.head != vcpu)
			return "the vCPU was woken, but is on no queue";
		return NULL;
	default:
		return "the sleeper did not decide";
	}
}

bool stage_block_tells_last(struct vcpu *vcpu)
{
	struct cpu *cpu = this_cpu();

	cpu->current = NULL;
	sched_block_publish(vcpu);
	if (sched_block_recheck(vcpu)) {
		cpu->current = vcpu;
		return false;
	}
	accel_sleeps(vcpu);
	return true;
}

bool stage_pir_is_empty(const struct pi_desc *desc)
{
	for (u32 i = 0; i < ARRAY_SIZE(desc->pir); i++)
		if (desc->pir[i].v)
			return false;
	return true;
}
