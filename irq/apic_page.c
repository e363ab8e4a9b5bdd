/* SPDX-License-Identifier: BSD-2-Clause */
/* See apic_page.h; the race of a fault and a zap is drawn in mmu/nested.c. */
#include "irq/apic_page.h"

#include "core/vm.h"
#include "postern/port.h"
#include "x86/msr.h"

bool apic_page_fault(struct vcpu *vcpu, gpa_t gpa)
{
	struct vm *vm = vcpu->vm;
	u32 seq;

	if ((gpa.v & PAGE_MASK) != APIC_BASE_DEFAULT || !vm->accel.page)
		return false;
	/* The sequence first: what is decided by an older mask is void after the zap. */
	seq = mmu_invalidate_seq(vm);
	if (atomic32_read(&vm->inhibit.mask) ||
	    atomic32_read_relaxed(&vcpu->accel.mode) != ACCEL_XAPIC)
		return false;
	/* Zapped again before it could be used: who toggles all the time must not keep us from going on. */
	if (vcpu->accel.fault_rip == vcpu->regs.rip) {
		vcpu->accel.fault_rip = ~0ull;
		return false;
	}
	vcpu->accel.fault_rip = vcpu->regs.rip;
	mmu_install(vm, GPA(APIC_BASE_DEFAULT), ptr_to_hpa(vm->accel.page), MMU_READ | MMU_WRITE,
	            seq);
	return true;
}

void apic_page_zap(struct vm *vm)
{
	if (vm->accel.page)
		mmu_zap(vm, GPA(APIC_BASE_DEFAULT), PAGE_SIZE);
}
