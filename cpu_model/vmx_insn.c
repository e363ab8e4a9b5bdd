/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The instruction seam's functions for VMX on a model processor: SDM volume 3, "VMX Instruction Reference",
 * volume 2 of the same for the moves to and from CR2, CR4 and DR6. An instruction that fails leaves its number in
 * the current VMCS, if there is one (VMfailValid), or none (VMfailInvalid). What would fault on a real processor
 * is a bug of the hypervisor and ends the run; so does what has no defined outcome:
 *
 *  - a VMCS that is active on one processor is loaded or cleared on another;
 *  - VMXOFF while a VMCS is active.
 */
#include "insn.h"
#include "cpu_model/vmx.h"
#include "postern/port.h"

#include <string.h>

#define HOST_EXIT 0xffffffff80000000ull /* where this host's exits come back */

static struct model_vmx *vmx_operation(const char *what)
{
	struct model_vmx *vmx = &model_current()->vmx;

	if (!vmx->on)
		port_panic("%s outside of VMX operation: #UD", what);
	return vmx;
}

static bool fail(struct model_vmx *vmx, u32 error)
{
	if (vmx->current)
		vmcs_store_set(vmx->current, VMCS_INSTRUCTION_ERROR, error);
	return false;
}

static bool is_region(hpa_t address)
{
	return !(address.v & ~PAGE_MASK);
}

/* --- CR2, CR4, DR6, RFLAGS.IF, NMI --- */

u64 insn_read_cr2(void)
{
	return model_current()->regs.cr2;
}

void insn_write_cr2(u64 v)
{
	model_current()->regs.cr2 = v;
}

u64 insn_read_dr6(void)
{
	return model_current()->regs.dr6;
}

void insn_write_dr6(u64 v)
{
	if (v >> 32)
		port_panic("MOV to DR6 of %llx: #GP", (unsigned long long)v);
	model_current()->regs.dr6 = v;
}

u64 insn_read_cr4(void)
{
	return model_current()->vmx.cr4;
}

void insn_write_cr4(u64 v)
{
	struct model_vmx *vmx = &model_current()->vmx;
	struct vmx_caps caps = vmx_caps(model()->features);

	if (v & CR4_VMXE && (!model_has(MODEL_INTEL) || model_has(MODEL_NO_VMX)))
		port_panic("CR4.VMXE set where VMX is not available: #GP");
	if (vmx->on && (caps.cr4_must & ~v || v & ~caps.cr4_may))
		port_panic("MOV to CR4 of %llx in VMX operation: #GP", (unsigned long long)v);
	vmx->cr4 = v;
}

void insn_cli(void)
{
	race_point(NULL, RACE_FENCE); /* a pending interrupt comes before it */
	model_current()->intr_flag = false;
}

void insn_sti(void)
{
	struct model_cpu *cpu = model_current();

	cpu->intr_flag = true;
	model_take_interrupts(cpu);
}

void insn_raise_nmi(void)
{
	model_current()->vmx.host_nmis++;
}

/* --- VMX operation and the current VMCS --- */

bool insn_vmxon(hpa_t region)
{
	struct model_vmx *vmx = &model_current()->vmx;

	if (!(vmx->cr4 & CR4_VMXE))
		port_panic("VMXON with CR4.VMXE clear: #UD");
	if ((~vmx->feature_control & (FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMXON)))
		port_panic("VMXON that IA32_FEATURE_CONTROL does not allow: #GP");
	if (vmx->on)
		return fail(vmx, VMX_ERROR_VMXON_IN_ROOT);
	if (!is_region(region) || *(const u32 *)hpa_to_ptr(region) != VMCS_STORE_REVISION)
		return false;
	vmx->on = true;
	vmx->vmxon = region.v;
	vmx->current = NULL;
	return true;
}

void insn_vmxoff(void)
{
	struct model_vmx *vmx = vmx_operation("VMXOFF");

	if (vmx->active)
		port_panic("VMXOFF: %u VMCSs are active on the processor", vmx->active);
	vmx->on = false;
	vmx->current = NULL;
}

/* Nobody else may have it in use. */
static bool is_own(struct model_vmcs *vmcs, const char *what)
{
	u32 active = __atomic_load_n(&vmcs->active.v, __ATOMIC_SEQ_CST);
	u32 self = model_current()->index + 1;

	if (active && active != self)
		port_panic("%s of a VMCS that is active on processor %u", what, active - 1);
	return active;
}

static void set_active(struct model_vmcs *vmcs, u32 value)
{
	__atomic_store_n(&vmcs->active.v, value, __ATOMIC_SEQ_CST);
}

bool insn_vmclear(hpa_t region)
{
	struct model_vmx *vmx = vmx_operation("VMCLEAR");
	struct model_vmcs *vmcs;

	if (!is_region(region))
		return fail(vmx, VMX_ERROR_VMCLEAR_ADDRESS);
	if (region.v == vmx->vmxon)
		return fail(vmx, VMX_ERROR_VMCLEAR_VMXON);
	vmcs = hpa_to_ptr(region);
	if (is_own(vmcs, "VMCLEAR"))
		vmx->active--;
	vmcs->launched = 0;
	if (vmx->current == vmcs)
		vmx->current = NULL;
	set_active(vmcs, 0);
	return true;
}

bool insn_vmptrld(hpa_t region)
{
	struct model_vmx *vmx = vmx_operation("VMPTRLD");
	struct model_vmcs *vmcs;

	if (!is_region(region))
		return fail(vmx, VMX_ERROR_VMPTRLD_ADDRESS);
	if (region.v == vmx->vmxon)
		return fail(vmx, VMX_ERROR_VMPTRLD_VMXON);
	vmcs = hpa_to_ptr(region);
	if (vmcs->revision != VMCS_STORE_REVISION)
		return fail(vmx, VMX_ERROR_VMPTRLD_REVISION);
	if (!is_own(vmcs, "VMPTRLD"))
		vmx->active++;
	set_active(vmcs, model_current()->index + 1);
	vmx->current = vmcs;
	return true;
}

hpa_t insn_vmptrst(void)
{
	const struct model_vmx *vmx = vmx_operation("VMPTRST");

	return vmx->current ? ptr_to_hpa(vmx->current) : HPA(~0ull);
}

bool insn_vmread(u32 field, u64 *value)
{
	struct model_vmx *vmx = vmx_operation("VMREAD");
	u32 error;

	if (!vmx->current)
		return false;
	error = vmcs_store_read(vmx->current, model()->features, field, value);
	return error ? fail(vmx, error) : true;
}

bool insn_vmwrite(u32 field, u64 value)
{
	struct model_vmx *vmx = vmx_operation("VMWRITE");
	u32 error;

	if (!vmx->current)
		return false;
	error = vmcs_store_write(vmx->current, model()->features, field, value);
	return error ? fail(vmx, error) : true;
}

/* --- translations --- */

bool insn_invept(u64 how, u64 eptp)
{
	struct model_vmx *vmx = vmx_operation("INVEPT");
	struct model_cpu *cpu = model_current();

	if (how == INVEPT_SINGLE && (eptp & 0xfff) == (EPTP_WB | EPTP_4_LEVELS))
		model_tlb_flush(cpu, eptp & PAGE_MASK);
	else if (how == INVEPT_ALL)
		model_tlb_flush_all(cpu);
	else
		return fail(vmx, VMX_ERROR_INVALIDATION);
	return true;
}

bool insn_invvpid(u64 how, u64 vpid)
{
	struct model_vmx *vmx = vmx_operation("INVVPID");
	struct model_cpu *cpu = model_current();

	if (how == INVVPID_SINGLE && vpid && vpid <= 0xffff)
		vmx_vpid_invalidate(cpu, (u16)vpid);
	else if (how == INVVPID_ALL)
		vmx_vpid_invalidate(cpu, 0);
	else
		return fail(vmx, VMX_ERROR_INVALIDATION);
	return true;
}

/* --- the host's state, entry --- */

void vmx_own_host(struct model_cpu *cpu, struct vmx_host *host)
{
	*host = (struct vmx_host){
	        .cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG,
	        .cr3 = 0x1000,
	        .cr4 = cpu->vmx.cr4,
	        .efer = cpu->efer,
	        .pat = cpu->pat,
	        .gs_base = 0xffff800000000000ull + cpu->index * PAGE_SIZE,
	        .tr_base = 0xffff800000100000ull + cpu->index * PAGE_SIZE,
	        .gdt_base = 0xffff800000200000ull + cpu->index * PAGE_SIZE,
	        .idt_base = 0xffff800000300000ull,
	        .rip = HOST_EXIT,
	        .cs = 0x08,
	        .ss = 0x10,
	        .ds = 0x10,
	        .es = 0x10,
	        .tr = 0x28,
	};
}

void insn_vmx_host(struct vmx_host *host)
{
	vmx_own_host(model_current(), host);
}

static bool enter(struct model_cpu *cpu, u64 *gpr, bool launched)
{
	if (cpu->intr_flag)
		port_panic("VM entry with RFLAGS.IF set");
	memcpy(cpu->regs.gpr, gpr, sizeof(cpu->regs.gpr));
	if (!vmx_enter(cpu, launched))
		return false;
	for (u32 i = 0; i < GPR_COUNT; i++)
		if (i != GPR_RSP)
			gpr[i] = cpu->regs.gpr[i];
	return true;
}

/* What the software writes before it enters. */
static struct model_cpu *own_stack(void)
{
	struct model_vmx *vmx = vmx_operation("VM entry");

	if (vmx->current)
		vmcs_store_set(vmx->current, VMCS_HOST_RSP, (uintptr_t)&vmx);
	return model_current();
}

bool insn_vmx_run(u64 *gpr, bool launched, bool (*again)(void *), void *context)
{
	struct model_cpu *cpu = own_stack();

	do {
		if (!enter(cpu, gpr, launched))
			return false;
		launched = true;
	} while (again(context));
	return true;
}

bool insn_vmx_floor(u64 *gpr, u64 rounds)
{
	struct model_cpu *cpu = own_stack();

	for (u64 i = 0; i < rounds; i++) {
		if (!enter(cpu, gpr, i))
			return false;
		vmx_set_field(cpu, VMCS_GUEST_RIP, 2);
	}
	return true;
}
