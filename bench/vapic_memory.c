/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The hypervisor's side of bench/vapic.c: a vCPU that can be posted to, and what memory it takes; allocated by the
 * hypervisor's own code, the table by vmx/ipiv.c, bitmaps by vmx/maps.c and pages by irq/lapic.c, over the unit tests'
 * fakes, whose port counts the bytes. The descriptor is a part of struct vcpu.
 *
 * The size of the table follows from the largest APIC ID, so two vCPUs stand for all.
 */
#include "bench/vapic.h"

#include <stdlib.h>

#include "core/main.h"
#include "core/sched.h"
#include "irq/inhibit.h"
#include "insn.h"
#include "postern/backend.h"
#include "postern/port.h"
#include "tests/unit/irq_fake.h"
#include "vmx/vmx.h"

/* As on metal, where all of memory is where it is. */
void *hpa_to_ptr(hpa_t hpa)
{
	return (void *)hpa.v;
}

hpa_t ptr_to_hpa(const void *p)
{
	return HPA((uintptr_t)p);
}

struct vmx_features vmx_features = {
        .pin = {0, ~0u},
        .secondary = {0, ~0u},
        .exit = {0, ~0u},
        .tertiary = VMX_PROC3_IPIV,
};

struct insn_slots insn_slots; /* of none is made use */

void port_send_ipi(u32 apic_id, u8 vector)
{
	bench_rung(apic_id, vector);
}

struct vcpu *bench_target(void)
{
	static const u32 apic_ids[] = {0, 1};
	struct vcpu *vcpu;

	fake_create_with_ids(ARRAY_SIZE(apic_ids), apic_ids);
	fake.machine->posted = fake.machine->ipiv = true;
	vcpu = fake.vm->vcpu[1];
	fake.vm->accel.notify = vmx_posted_notify;
	vcpu->sched_state.v = VCPU_RUNNING;
	vcpu->mode.v = VCPU_IN_GUEST;
	vcpu->accel.mode.v = ACCEL_X2APIC;
	return vcpu;
}

u64 bench_vapic_bytes(u32 vcpus)
{
	const u32 apic_ids[] = {0, vcpus - 1};
	u64 before, tables, page;
	struct vmx_vm *vmx;

	fake_create_with_ids(ARRAY_SIZE(apic_ids), apic_ids);
	fake.machine->posted = fake.machine->ipiv = true;
	before = fake.allocated;
	if (!vmx_vm_init(fake.vm) || !vmx_create_x2apic_bitmap(fake.vm) ||
	    !vmx_ipiv_vm_init(fake.vm))
		abort();
	vmx = fake.vm->arch;
	if (vmx->last_pi_index < vcpus - 1)
		abort();
	tables = fake.allocated - before;
	vmx_vm_exit(fake.vm);

	lapic_destroy(fake.vm->vcpu[0]);
	before = fake.allocated;
	if (!lapic_create(fake.vm->vcpu[0]))
		abort();
	page = fake.allocated - before;
	fake_destroy();
	return page + sizeof(struct accel_requests) + (tables + vcpus - 1) / vcpus;
}

/* --- what the files that are linked in call elsewhere: not on the ways that are counted --- */

#define NOT_CALLED(ret, name, params)                                                              \
	ret name params                                                                            \
	{                                                                                          \
		abort();                                                                           \
	}

/* No device is assigned. */
void assigned_follow(struct vm *vm __unused)
{
}

NOT_CALLED(bool, vmx_vtd_can_post, (void))
NOT_CALLED(void, vmcs_fail, (u32 field __unused))
NOT_CALLED(void, cpu_kick, (struct cpu * cpu __unused))
NOT_CALLED(void, inhibit_lock_shared, (struct vm * vm __unused))
NOT_CALLED(void, inhibit_unlock_shared, (struct vm * vm __unused))
NOT_CALLED(void, inhibit_note,
           (struct inhibit_account * account __unused, bool stands __unused,
            const struct vcpu *vcpu __unused))
NOT_CALLED(void, intr_before_switch, (struct vcpu * vcpu __unused))
NOT_CALLED(u64, main_housekeeping_due, (void))
NOT_CALLED(const u64 *, port_hw_counts, (void))
NOT_CALLED(void, port_idle, (void))
NOT_CALLED(void, port_irqs_block, (void))
NOT_CALLED(void, port_irqs_unblock, (void))
NOT_CALLED(void, port_timer_arm, (u64 deadline __unused))
NOT_CALLED(bool, vcpu_has_work, (struct vcpu * vcpu __unused))
