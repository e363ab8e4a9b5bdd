/* SPDX-License-Identifier: BSD-2-Clause */
/* See avic.h. */
#include "tests/race/avic.h"
#include "tests/race/stage.h"

#include "cpu_model/model.h"
#include "posix.h"
#include "postern/port.h"
#include "svm/svm.h"
#include "x86/apic.h"

#define CPUS 3

struct vm *avic_vm;
struct vcpu *avic_target;

static struct avic sender; /* vCPU 1's AVIC, as VMRUN has loaded it */

void avic_stage_create(const struct avic_stage *stage)
{
	const struct vm_config config = {.vcpus = 2,
	                                 .memory = 16ull << 20,
	                                 .x2apic = true,
	                                 .accel_modes = ACCEL_MODE(ACCEL_X2APIC)};

	avic_vm = stage_vm(CPUS, MODEL_GENOA, &config);
	if (stage->erratum)
		model()->avic_switches |= AVIC_STALE_RUNNING;
	svm_features.stale_running = stage->workaround;
	avic_target = avic_vm->vcpu[0];
	stage_enable_x2apic(avic_vm->vcpu[0]);
	stage_enable_x2apic(avic_vm->vcpu[1]);
	posix_set_current(&model()->cpu[AVIC_SENDER_CPU]);
	vcpu_handle_requests(avic_vm->vcpu[1]);
	ASSERT(accel_is_on(&avic_vm->vcpu[1]->accel));
	posix_set_current(&model()->cpu[0]);
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
	stage_accept(avic_target, AVIC_VECTOR_POST);
}
