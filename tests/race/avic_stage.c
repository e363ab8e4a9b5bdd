/* SPDX-License-Identifier: BSD-2-Clause */
/* See avic.h. */
#include "tests/race/avic.h"

#include "core/machine.h"
#include "core/sched.h"
#include "cpu_model/model.h"
#include "posix.h"
#include "postern/port.h"
#include "svm/svm.h"
#include "x86/apic.h"
#include "x86/msr.h"

#define CPUS 3

struct vm *avic_vm;
struct vcpu *avic_target;

static struct avic sender; /* vCPU 1's AVIC, as VMRUN has loaded it */

static void on_cpu(u32 index)
{
	posix_set_current(&model()->cpu[index]);
}

static void enable_apic(struct vcpu *vcpu)
{
	u64 base;

	ASSERT(lapic_msr_read(vcpu, MSR_APIC_BASE, &base));
	ASSERT(lapic_msr_write(vcpu, MSR_APIC_BASE, base | APIC_BASE_EXTD));
	ASSERT(lapic_msr_write(vcpu, MSR_X2APIC_FIRST + APIC_SVR / 16, APIC_SVR_ENABLE | 0xff));
}

void avic_stage_create(const struct avic_stage *stage)
{
	const struct vm_config config = {.vcpus = 2,
	                                 .memory = 16ull << 20,
	                                 .x2apic = true,
	                                 .accel_modes = ACCEL_MODE(ACCEL_X2APIC)};
	const char *why = "";

	posix_machine_reset(&(struct posix_config){.cpus = CPUS}, MODEL_GENOA);
	if (stage->erratum)
		model()->avic_switches |= AVIC_STALE_RUNNING;
	if (!machine_init(port_machine(), &why))
		port_panic("machine_init: %s", why);
	svm_features.stale_running = stage->workaround;
	avic_vm = vm_create(port_machine(), &config);
	ASSERT(avic_vm);
	avic_target = avic_vm->vcpu[0];
	enable_apic(avic_vm->vcpu[0]);
	enable_apic(avic_vm->vcpu[1]);
	on_cpu(AVIC_SENDER_CPU);
	vcpu_handle_requests(avic_vm->vcpu[1]);
	ASSERT(accel_is_on(&avic_vm->vcpu[1]->accel));
	on_cpu(0);
	/* Housekeeping's timer would repair what is lost. */
	port_machine()->housekeeping_due = TSC_NEVER - 1;
}

void avic_stage_run_on(u32 index)
{
	struct cpu *cpu = &port_machine()->cpu[index];

	on_cpu(index);
	ASSERT(backend_op(cpu_init)(cpu));
	atomic32_set(&avic_target->sched_state, VCPU_RUNNING);
	avic_target->cpu = cpu;
	cpu->current = avic_target;
	sched_load(cpu, avic_target);
	vcpu_handle_requests(avic_target);
	ASSERT(accel_is_on(&avic_target->accel));
	on_cpu(0);
}

static void ring(void *context __unused, u32 host_id)
{
	model_avic_doorbell(host_id);
}

void avic_stage_begin(void)
{
	struct vcpu *vcpu = avic_vm->vcpu[1];

	sender = (struct avic){
	        .switches = model()->avic_switches, .memory = model_memory(), .doorbell = ring};
	avic_enter(&sender, &svm_vmcb(vcpu)->control);
}

void avic_send_ipi(void)
{
	const u32 icr = APIC_LEVEL_ASSERT | AVIC_VECTOR;
	struct avic_result result = avic_send(&sender, icr, avic_target->apic_id);
	u32 cause = (u32)(result.info_2 >> 32);

	if (result.action == AVIC_DONE)
		return;
	if (result.action != AVIC_AFTER || cause != AVIC_IPI_NOT_RUNNING)
		posix_fail("the IPI ends in action %u, cause %u", result.action, cause);
	lapic_ipi_incomplete(avic_vm->vcpu[1], icr, avic_target->apic_id, true);
}

void avic_post(void)
{
	if (!lapic_accept(&avic_target->lapic, AVIC_VECTOR_POST, false, IRQ_SOURCE_MSI))
		posix_fail("the interrupt was not accepted");
}
