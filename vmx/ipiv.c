/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * IPI virtualization as a user: the table by which a sender's processor finds descriptors. SDM volume 3, "IPI
 * Virtualization", "Virtualizing MSR-Based APIC Accesses", "APIC-Write Emulation".
 *
 *  - The processor sends an IPI by itself if it is fixed, edge-triggered, by physical destination without a shorthand, of
 *    vector 16 and above, to somebody whom the table has. All else is an APIC-write exit behind the write of ICR, which
 *    is then sent by software as a whole; the instruction is complete.
 *  - The table goes by the APIC ID that a vCPU was created with. Where a guest has given an APIC another ID, or two
 *    APICs the same, acceleration is inhibited (APIC_ID_MODIFIED, PHYSICAL_ID_ALIASED). IDs beyond the largest index
 *    have no entry: their IPIs exit.
 *  - An entry is valid while the APIC accepts fixed interrupts. Index 255 is what a sender in xAPIC mode calls
 *    everybody: it is not valid while one is in that mode.
 *  - Entries are read by processors while they change: each is stored at once.
 *  - In x2APIC mode WRMSR of ICR reaches the processor's virtualization only if it does not exit, and without that
 *    control it would reach the host's APIC. So both follow from one question, vmx_ipiv_active(), whenever
 *    acceleration goes on or off. RDMSR goes along: the page then has what was written last, as 64 bits in one place,
 *    which is where the local APIC keeps it on such a host (irq/lapic_regs.c).
 */
#include "core/vm.h"
#include "irq/lapic_priv.h"
#include "postern/port.h"
#include "vmx/vmx.h"

#define PER_PAGE  ((u32)(PAGE_SIZE / sizeof(struct atomic64)))
#define BROADCAST 0xffu /* of senders in xAPIC mode */

_Static_assert(PER_PAGE == 512, "a table for IDs below 512 is one page");

bool vmx_ipiv_usable(void)
{
	return port_machine()->ipiv && vmx_posted_usable() &&
	       vmx_features.tertiary & VMX_PROC3_IPIV;
}

bool vmx_ipiv_active(const struct vcpu *vcpu)
{
	const struct vmx_vcpu *vmx = vcpu->arch;

	return vmx_ipiv_usable() && vmx->own.want.secondary & VMX_PROC2_VID;
}

/* --- the table --- */

static bool has_entry(const struct vmx_vm *vmx, const struct vcpu *vcpu)
{
	return vcpu->apic_id <= vmx->last_pi_index;
}

bool vmx_ipiv_vm_init(struct vm *vm)
{
	struct vmx_vm *vmx = vm->arch;
	u32 largest = 0;

	if (!vmx_ipiv_usable())
		return true;
	for (u32 i = 0; i < vm->vcpu_count; i++)
		if (vm->vcpu[i]->apic_id <= PI_LAST_INDEX && vm->vcpu[i]->apic_id > largest)
			largest = vm->vcpu[i]->apic_id;
	vmx->last_pi_index = ALIGN_UP(largest + 1, PER_PAGE) - 1;
	vmx->pi_table = port_alloc(vmx_ipiv_table_size(vmx), PAGE_SIZE);
	/* Who sleeps while it is off has to be found by senders' processors when it is on again. */
	vm->accel.finds_sleepers = true;
	vm->accel.icr_in_one = true;
	return vmx->pi_table && vmx_create_ipiv_bitmap(vm);
}

void vmx_ipiv_vm_exit(struct vmx_vm *vmx)
{
	if (vmx->pi_table)
		port_free(vmx->pi_table, vmx_ipiv_table_size(vmx));
	vmx->pi_table = NULL;
}

static bool has_xapic(const struct vm *vm)
{
	for (u32 i = 0; i < vm->vcpu_count; i++) {
		const struct lapic *lapic = &vm->vcpu[i]->lapic;

		if (lapic_hardware_enabled(lapic) && !lapic_in_x2apic(lapic))
			return true;
	}
	return false;
}

static bool is_valid(const struct vcpu *vcpu, bool xapic)
{
	return lapic_hardware_enabled(&vcpu->lapic) && lapic_software_enabled(&vcpu->lapic) &&
	       !(xapic && vcpu->apic_id == BROADCAST);
}

void vmx_ipiv_identify(struct vm *vm)
{
	const struct vmx_vm *vmx = vm->arch;
	bool xapic = has_xapic(vm);
	struct vcpu *vcpu;

	if (!vmx->pi_table)
		return;
	for_each_vcpu (vcpu, vm) {
		u64 address = ptr_to_hpa(&vcpu->accel.apart).v;

		if (has_entry(vmx, vcpu))
			atomic64_set(&vmx->pi_table[vcpu->apic_id],
			             is_valid(vcpu, xapic) ? address | PI_ENTRY_VALID : 0);
	}
}

/* --- what the processor is told --- */

u32 vmx_ipiv_primary(void)
{
	return vmx_ipiv_usable() ? VMX_PROC_TERTIARY : 0;
}

void vmx_ipiv_store(struct vcpu *vcpu)
{
	const struct vmx_vm *vmx = vcpu->vm->arch;

	if (!vmx->pi_table)
		return;
	vmcs_write(VMCS_TERTIARY, vmx_ipiv_active(vcpu) ? VMX_PROC3_IPIV : 0);
	vmcs_write(VMCS_PI_TABLE, ptr_to_hpa(vmx->pi_table).v);
	vmcs_write(VMCS_LAST_PI_INDEX, vmx->last_pi_index);
}
