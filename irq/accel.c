/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * When acceleration is on, and the way of a request to a vCPU that may be accelerated. Two races, each
 * closed by a store before a look on either side:
 *
 *      a sender, in software                  the vCPU's processor
 *      ---------------------                  --------------------
 *      1 IRR bit in the page                  a mode = off
 *      2 mode? on: doorbell to who runs it,   b IRR summary from the page, look at it before entry
 *        off: request and kick
 *
 * 2 sees "on" only before a, so 1 is before b, which finds the bit. The other way round, switching on,
 * VMRUN itself looks at the page.
 *
 *      a sender's processor                   the vCPU's processor, its turn ends
 *      --------------------                   -----------------------------------
 *      1 IRR bit in the page                  a IsRunning = 0
 *      2 IsRunning? doorbell, else exit:      b asleep? IRR in the page? then not
 *        sched_wake()
 */
#include "irq/accel.h"

#include "core/machine.h"
#include "core/sched.h"
#include "irq/extint.h"
#include "irq/lapic_priv.h"
#include "mmu/mmu.h"
#include "postern/port.h"

static const struct accel_ops *ops_of(const struct vm *vm)
{
	return vm->machine->backend->accel;
}

bool accel_create(struct vm *vm, u32 modes)
{
	const struct accel_ops *ops = ops_of(vm);
	struct vcpu *vcpu;

	modes &= ops ? ops->modes() : 0;
	if (!modes)
		return true;
	vm->accel.page = port_alloc(PAGE_SIZE, PAGE_SIZE);
	if (!vm->accel.page || !ops->vm_init(vm))
		return false;
	vm->accel.modes = modes;
	for_each_vcpu (vcpu, vm)
		vcpu->lapic.counts_accepted = true;
	ops->identify(vm);
	if (modes & ACCEL_MODE(ACCEL_XAPIC))
		return mmu_map(vm, GPA(APIC_BASE_DEFAULT), ptr_to_hpa(vm->accel.page), PAGE_SIZE,
		               MMU_READ | MMU_WRITE);
	return true;
}

void accel_destroy(struct vm *vm)
{
	if (!vm->accel.page)
		return;
	ops_of(vm)->vm_exit(vm);
	port_free(vm->accel.page, PAGE_SIZE);
	vm->accel.page = NULL;
}

/* --- the page --- */

static void set_blocks(struct vcpu *vcpu, bool blocks)
{
	struct vm *vm = vcpu->vm;
	struct accel_vm *accel = &vm->accel;
	u32 before;

	if (vcpu->accel.blocks == blocks || !(accel->modes & ACCEL_MODE(ACCEL_XAPIC)))
		return;
	vcpu->accel.blocks = blocks;
	spin_lock(&accel->lock);
	before = accel->blockers;
	accel->blockers += blocks ? 1u : ~0u;
	if (!before)
		mmu_unmap(vm, GPA(APIC_BASE_DEFAULT), PAGE_SIZE);
	else if (!accel->blockers)
		mmu_map(vm, GPA(APIC_BASE_DEFAULT), ptr_to_hpa(accel->page), PAGE_SIZE,
		        MMU_READ | MMU_WRITE);
	spin_unlock(&accel->lock);
}

/* --- the decision --- */

static enum accel_mode wanted(struct vcpu *vcpu)
{
	const struct lapic *lapic = &vcpu->lapic;
	enum accel_mode mode = ACCEL_X2APIC;
	gpa_t base;

	/* Disabled by software it accepts nothing new, of which the processor knows nothing. */
	if (!lapic_hardware_enabled(lapic) || !lapic_software_enabled(lapic))
		return ACCEL_OFF;
	if (lapic_xapic_base(vcpu, &base)) {
		if (base.v != APIC_BASE_DEFAULT)
			return ACCEL_OFF;
		mode = ACCEL_XAPIC;
	}
	if (!(vcpu->vm->accel.modes & ACCEL_MODE(mode)))
		return ACCEL_OFF;
	if (atomic32_read(&vcpu->vm->accel.unknown_id))
		return ACCEL_OFF;
	/* ExtINT needs injection, and perhaps a window. */
	if (vcpu->intr.window_open || vcpu->intr.in_slot ||
	    (extint_has(vcpu->vm) && lapic_accepts_extint(vcpu)))
		return ACCEL_OFF;
	return mode;
}

static void change(struct vcpu *vcpu, enum accel_mode old, enum accel_mode mode)
{
	if (mode == ACCEL_OFF)
		ops_of(vcpu->vm)->running(vcpu, NULL);
	vcpu_count(vcpu, COUNTER_ACCEL_CHANGES);
	atomic32_set(&vcpu->accel.mode, mode);
	lapic_accelerated(vcpu, mode != ACCEL_OFF);
	ops_of(vcpu->vm)->set(vcpu, mode);
	if (old == ACCEL_OFF)
		ops_of(vcpu->vm)->running(vcpu, this_cpu());
}

bool accel_update(struct vcpu *vcpu)
{
	struct accel_vcpu *accel = &vcpu->accel;
	enum accel_mode mode, old;

	mode = wanted(vcpu);
	old = (enum accel_mode)atomic32_read_relaxed(&accel->mode);
	if (accel->decided && mode == old)
		return false;
	/*
	 * What was injected by software and waits is delivered in the old mode. Not for longer: the reason
	 * to change may be that others are reached by other IDs now.
	 */
	if (mode != old && backend_op(intr_blocked)(vcpu, INTR_CLASS_EXCEPTION) == INTR_BLOCK_SLOT)
		return true;
	accel->decided = true;
	set_blocks(vcpu, mode != ACCEL_XAPIC);
	if (mode != old)
		change(vcpu, old, mode);
	return false;
}

/* What the processor did by itself in this turn. Called when it begins and when it ends. */
static void account(struct vcpu *vcpu, bool begins)
{
	const u64 *counts = port_hw_counts();
	u64 *counted = vcpu->accel.counted;

	for (u32 i = 0; counts && i < HW_COUNT; i++) {
		if (!begins)
			vcpu_count_n(vcpu, (enum counter_id)(COUNTER_HW_DELIVERED + i),
			             counts[i] - counted[i]);
		counted[i] = counts[i];
	}
}

void accel_running(struct vcpu *vcpu, struct cpu *cpu)
{
	if (vcpu->vm->accel.modes)
		account(vcpu, cpu);
	if (accel_is_on(&vcpu->accel))
		ops_of(vcpu->vm)->running(vcpu, cpu);
}

void accel_posted(struct vcpu *vcpu)
{
	struct cpu *cpu;

	if (sched_wake(vcpu))
		return;
	smp_mb();
	if (atomic32_read(&vcpu->mode) != VCPU_IN_GUEST)
		return;
	cpu = ptr_read(&vcpu->cpu);
	if (cpu != this_cpu()) {
		ops_of(vcpu->vm)->notify(cpu);
		counter_add_shared(&vcpu->account.counters[COUNTER_DOORBELLS], 1);
	}
}

void accel_set_unknown_id(struct vm *vm, bool unknown)
{
	struct vcpu *vcpu;

	if (atomic32_xchg(&vm->accel.unknown_id, unknown) == unknown)
		return;
	/* Each decides anew. Whoever is in the guest sends by the old tables until it is out. */
	for_each_vcpu (vcpu, vm)
		vcpu_request(vcpu, VCPU_REQUEST_EVENT);
}

void accel_identify(struct vm *vm)
{
	if (vm->accel.modes)
		ops_of(vm)->identify(vm);
}
