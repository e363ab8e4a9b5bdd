/* SPDX-License-Identifier: BSD-2-Clause */
/* See posted.h. */
#include "tests/race/posted.h"

#include "core/machine.h"
#include "core/sched.h"
#include "cpu_model/model.h"
#include "cpu_model/vapic.h"
#include "irq/lapic_priv.h"
#include "posix.h"
#include "postern/port.h"
#include "vmx/vmx.h"

#define CPUS  3
#define WIDTH 52

struct vm *posted_vm;
struct vcpu *posted_target, *posted_sender;
const struct accel_ops *posted_right;

static struct vapic sender; /* vCPU 1's, as VM entry has loaded it */

struct pi_desc *posted_desc(struct vcpu *vcpu)
{
	return (struct pi_desc *)(void *)&vcpu->accel.apart;
}

/* --- creation --- */

static void on_cpu(u32 index)
{
	posix_set_current(&model()->cpu[index]);
}

static void enable_apic(struct vcpu *vcpu, bool xapic)
{
	u64 base;

	if (xapic) {
		lapic_mmio_write(vcpu, APIC_SVR, 4, APIC_SVR_ENABLE | 0xff);
		return;
	}
	ASSERT(lapic_msr_read(vcpu, MSR_APIC_BASE, &base));
	ASSERT(lapic_msr_write(vcpu, MSR_APIC_BASE, base | APIC_BASE_EXTD));
	ASSERT(lapic_msr_write(vcpu, MSR_X2APIC_FIRST + APIC_SVR / 16, APIC_SVR_ENABLE | 0xff));
}

void posted_stage_create(const struct posted_stage *stage)
{
	const struct vm_config config = {
	        .vcpus = 2, .memory = 16ull << 20, .x2apic = true, .accel_modes = ~0u};
	const char *why = "";

	posix_machine_reset(&(struct posix_config){.cpus = CPUS}, MODEL_SAPPHIRE_RAPIDS);
	if (!machine_init(port_machine(), &why))
		port_panic("machine_init: %s", why);
	posted_vm = vm_create(port_machine(), &config);
	ASSERT(posted_vm && posted_vm->accel.apart && vmx_ipiv_usable());
	posted_right = port_machine()->backend->accel;
	posted_target = posted_vm->vcpu[0];
	posted_sender = posted_vm->vcpu[1];
	enable_apic(posted_target, stage->xapic);
	enable_apic(posted_sender, stage->xapic);
	if (stage->inhibited)
		inhibit_set(posted_vm, INHIBIT_STORM);
	on_cpu(POSTED_SENDER_CPU);
	atomic32_set(&posted_sender->sched_state, VCPU_RUNNING);
	posted_sender->cpu = &port_machine()->cpu[POSTED_SENDER_CPU];
	vcpu_handle_requests(posted_sender);
	ASSERT(accel_is_on(&posted_sender->accel) == !stage->inhibited);
	on_cpu(0);
	/* Housekeeping's timer would repair what is lost. */
	port_machine()->housekeeping_due = TSC_NEVER - 1;
}

void posted_stage_run_on(u32 index)
{
	struct cpu *cpu = &port_machine()->cpu[index];

	on_cpu(index);
	ASSERT(backend_op(cpu_init)(cpu));
	atomic32_set(&posted_target->sched_state, VCPU_RUNNING);
	posted_target->cpu = cpu;
	cpu->current = posted_target;
	sched_load(cpu, posted_target);
	accel_running(posted_target, cpu);
	vcpu_handle_requests(posted_target);
	on_cpu(0);
}

struct accel_ops *posted_stage_ops(void)
{
	static struct accel_ops ops;
	static struct backend backend;

	backend = *port_machine()->backend;
	ops = *posted_right;
	backend.accel = &ops;
	port_machine()->backend = &backend;
	return &ops;
}

/* --- microcode --- */

static void notify(void *context __unused, u32 host_id, u8 vector)
{
	model_apic_raise(&model()->cpu[host_id], vector);
}

static void on_eoi(void *context __unused)
{
}

void posted_stage_load(struct vapic *vapic, struct vcpu *vcpu)
{
	const struct vmx_vm *vmx = posted_vm->arch;
	struct avic_memory memory = model_memory();

	*vapic = (struct vapic){
	        .page = vcpu->lapic.page,
	        .tpr_shadow = true,
	        .x2apic = lapic_in_x2apic(&vcpu->lapic),
	        .apic_registers = true,
	        .vid = true,
	        .ipiv = true,
	        .pi_vector = CPU_VECTOR_NOTIFY,
	        .pi_desc = posted_desc(vcpu),
	        .pi_table = vmx->pi_table,
	        .last_index = (u16)vmx->last_pi_index,
	        .host_x2 = true,
	        .width = WIDTH,
	        .switches = VAPIC_SWITCH_DEFAULTS,
	        .memory_start = memory.start,
	        .memory_end = memory.end,
	        .notify = notify,
	        .eoi = on_eoi,
	};
}

void posted_stage_begin(void)
{
	posted_stage_load(&sender, posted_sender);
	vapic_enter(&sender, 0);
}

/* --- senders --- */

void posted_send_ipi(void)
{
	if (vapic_send(&sender, posted_target->apic_id, POSTED_VECTOR).action != VAPIC_DONE)
		posix_fail("an IPI was not sent");
}

static void device(u8 vector)
{
	struct pi_desc *desc = posted_desc(posted_target);
	u64 control;

	atomic64_fetch_or(&desc->pir[vector / 64], BIT64(vector % 64));
	do {
		control = atomic64_read(&desc->control);
		if (control & (PI_ON | PI_SN))
			return;
	} while (!atomic64_cmpxchg(&desc->control, control, control | PI_ON));
	notify(NULL, PI_NDST(control), PI_NV(control));
}

static void software(u8 vector)
{
	if (!lapic_accept(&posted_target->lapic, vector, false, IRQ_SOURCE_MSI))
		posix_fail("the interrupt was not accepted");
}

void posted_send_device(void)
{
	device(POSTED_VECTOR);
}

void posted_send_device_too(void)
{
	device(POSTED_VECTOR_TOO);
}

void posted_send_software(void)
{
	software(POSTED_VECTOR);
}

void posted_send_software_too(void)
{
	software(POSTED_VECTOR_TOO);
}

/* core/run.c, enter(), to the last look. */
static bool enter(struct vcpu *vcpu)
{
	atomic32_set(&vcpu->mode, VCPU_IN_GUEST);
	smp_mb();
	if (!atomic32_read(&vcpu->requests))
		return true;
	atomic32_set_release(&vcpu->mode, VCPU_OUTSIDE);
	return false;
}

bool posted_send_in_turn(u32 dest, void (*inside)(void))
{
	bool sent = false;

	do {
		vcpu_handle_requests(posted_sender);
	} while (!enter(posted_sender));
	if (inside)
		inside();
	if (accel_is_on(&posted_sender->accel))
		sent = vapic_send(&sender, dest, POSTED_VECTOR).action == VAPIC_DONE;
	atomic32_set_release(&posted_sender->mode, VCPU_OUTSIDE);
	if (!sent)
		lapic_send(&posted_sender->lapic, APIC_LEVEL_ASSERT | POSTED_VECTOR, dest);
	return sent;
}

void posted_send_turn(void)
{
	posted_send_in_turn(posted_target->apic_id, NULL);
}
