/* SPDX-License-Identifier: BSD-2-Clause */
/* See posted.h. */
#include "tests/race/posted.h"
#include "tests/race/stage.h"

#include "core/machine.h"
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

static void enable_apic(struct vcpu *vcpu, bool xapic)
{
	if (xapic)
		lapic_mmio_write(vcpu, APIC_SVR, 4, APIC_SVR_ENABLE | 0xff);
	else
		stage_enable_x2apic(vcpu);
}

void posted_stage_create(const struct posted_stage *stage)
{
	const struct vm_config config = {
	        .vcpus = 2, .memory = 16ull << 20, .x2apic = true, .accel_modes = ~0u};

	posted_vm = stage_vm(CPUS, MODEL_SAPPHIRE_RAPIDS, &config);
	ASSERT(posted_vm->accel.apart && vmx_ipiv_usable());
	posted_right = port_machine()->backend->accel;
	posted_target = posted_vm->vcpu[0];
	posted_sender = posted_vm->vcpu[1];
	enable_apic(posted_target, stage->xapic);
	enable_apic(posted_sender, stage->xapic);
	if (stage->inhibited)
		inhibit_set(posted_vm, INHIBIT_STORM);
	posix_set_current(&model()->cpu[POSTED_SENDER_CPU]);
	atomic32_set(&posted_sender->sched_state, VCPU_RUNNING);
	posted_sender->cpu = &port_machine()->cpu[POSTED_SENDER_CPU];
	vcpu_handle_requests(posted_sender);
	ASSERT(accel_is_on(&posted_sender->accel) == !stage->inhibited);
	posix_set_current(&model()->cpu[0]);
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
	stage_accept(posted_target, POSTED_VECTOR);
}

void posted_send_software_too(void)
{
	stage_accept(posted_target, POSTED_VECTOR_TOO);
}

bool posted_send_in_turn(u32 dest, void (*inside)(void))
{
	bool sent = false;

	do {
		vcpu_handle_requests(posted_sender);
	} while (!stage_enter(posted_sender));
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
