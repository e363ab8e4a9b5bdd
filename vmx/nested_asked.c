/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which exits of a guest of the guest are L1's: those that it asked for, and those that its processor always makes.
 * SDM volume 3, "Instructions That Cause VM Exits", "Other Causes of VM Exits", "Exception Bitmap", "I/O-Bitmap
 * Addresses", "MSR-Bitmap Address", "Guest/Host Masks and Read Shadows for CR0 and CR4". Everything else is
 * completed by Postern, for L2 as for any guest.
 */
#include "core/vm.h"
#include "postern/string.h"
#include "vmx/nested_priv.h"

/* --- what L1 asks for --- */

static void merge_msrs(struct vcpu *vcpu, const struct vmx_block *block)
{
	struct vmx_nested *nested = vmx_of(vcpu)->nested;
	const struct vmx_vm *vm = vcpu->vm->arch;
	gpa_t bitmap = GPA(vmx_block_of(block, MSR_BITMAP) & PAGE_MASK);

	/* Without a bitmap all exit, as those of one that is not to be had. */
	if (!(vmx_of(vcpu)->asked.primary & VMX_PROC_MSR_BITMAPS) ||
	    !vm_read(vcpu->vm, bitmap, nested->asked_msrs, VMX_BITMAP_SIZE))
		memset(nested->asked_msrs, 0xff, VMX_BITMAP_SIZE);
	for (u32 i = 0; i < VMX_BITMAP_SIZE; i++)
		nested->msr_bitmap[i] = vm->msr_bitmap[VMX_BITMAP_PLAIN][i] | nested->asked_msrs[i];
}

void vmx_nested_ask(struct vcpu *vcpu, const struct vmx_block *block)
{
	struct vmx_vcpu *vmx = vmx_of(vcpu);
	struct vmx_nested *nested = vmx->nested;
	u32 primary = (u32)vmx_block_of(block, PRIMARY) & VMX_NESTED_PRIMARY;

	vmx->asked = (struct vmx_asked){
	        .pin = (u32)vmx_block_of(block, PIN) & VMX_NESTED_PIN,
	        .primary = primary,
	        .exceptions = (u32)vmx_block_of(block, EXCEPTIONS),
	        .cr0_mask = vmx_block_of(block, CR0_MASK),
	        .cr0_shadow = vmx_block_of(block, CR0_SHADOW),
	        .cr4_mask = vmx_block_of(block, CR4_MASK),
	        .cr4_shadow = vmx_block_of(block, CR4_SHADOW),
	};
	if (primary & VMX_PROC_SECONDARY)
		vmx->asked.secondary = (u32)vmx_block_of(block, SECONDARY) & VMX_NESTED_SECONDARY;
	if (primary & VMX_PROC_TSC_OFFSET)
		vmx->asked.tsc_offset = vmx_block_of(block, TSC_OFFSET);
	nested->io_bitmap[0] = vmx_block_of(block, IO_BITMAP_A) & PAGE_MASK;
	nested->io_bitmap[1] = vmx_block_of(block, IO_BITMAP_B) & PAGE_MASK;
	nested->pf_mask = (u32)vmx_block_of(block, PF_ERROR_MASK);
	nested->pf_match = (u32)vmx_block_of(block, PF_ERROR_MATCH);
	nested->threshold = vmx_block_of(block, TPR_THRESHOLD) & 0xf;
	merge_msrs(vcpu, block);
}

/* --- exits that it takes more than a control to tell --- */

bool vmx_asked_exception(const struct vmx_vcpu *vmx, u8 vector, u32 error)
{
	bool asked = vmx->asked.exceptions & BIT(vector & 31);
	const struct vmx_nested *nested = vmx->nested;

	if (vector != VECTOR_PF)
		return asked;
	return asked == ((error & nested->pf_mask) == nested->pf_match);
}

/* A debugger's breakpoint, and what exits while it steps, go first: it passes on what is not its own. */
static bool asked_for_exception(struct vcpu *vcpu)
{
	const struct vmx_vcpu *vmx = vmx_of(vcpu);
	u32 info = (u32)vmcs_read(VMCS_EXIT_INFO);
	u8 vector = info & VMX_EVENT_VECTOR;

	if ((info & VMX_EVENT_TYPE) == VMX_EVENT_NMI || vmx->steps || vmx->traps & BIT(vector & 31))
		return false;
	return vmx_asked_exception(vmx, vector,
	                           info & VMX_EVENT_ERROR ? (u32)vmcs_read(VMCS_EXIT_ERROR) : 0);
}

static bool asked_for_cr(struct vcpu *vcpu, u64 qualification)
{
	const struct vmx_asked *asked = &vmx_of(vcpu)->asked;
	u32 reg = VMX_CR_NUMBER(qualification), access = VMX_CR_ACCESS(qualification);
	u64 value = vcpu->regs.gpr[VMX_CR_GPR(qualification)];

	if (access != VMX_CR_TO && access != VMX_CR_FROM)
		return true; /* CLTS and LMSW: no bit of theirs is Postern's */
	if (reg == 3)
		return asked->primary &
		       (access == VMX_CR_TO ? VMX_PROC_CR3_LOAD : VMX_PROC_CR3_STORE);
	if (reg == 8)
		return asked->primary &
		       (access == VMX_CR_TO ? VMX_PROC_CR8_LOAD : VMX_PROC_CR8_STORE);
	if (reg == 0)
		return (value ^ asked->cr0_shadow) & asked->cr0_mask;
	return (value ^ asked->cr4_shadow) & asked->cr4_mask;
}

static bool asked_for_port(struct vcpu *vcpu, u64 qualification)
{
	const struct vmx_vcpu *vmx = vmx_of(vcpu);
	u32 port = VMX_IO_PORT(qualification);
	u8 byte;

	if (!(vmx->asked.primary & VMX_PROC_IO_BITMAPS))
		return vmx->asked.primary & VMX_PROC_IO;
	for (u32 p = port; p < port + VMX_IO_SIZE(qualification); p++) {
		gpa_t at = GPA(vmx->nested->io_bitmap[p >> 15 & 1] + (p & 0x7fff) / 8);

		if (p > 0xffff || !vm_read(vcpu->vm, at, &byte, 1) || byte >> p % 8 & 1)
			return true;
	}
	return false;
}

static bool asked_for_msr(struct vcpu *vcpu, bool write)
{
	s32 bit = vmx_msr_bit((u32)vcpu->regs.gpr[GPR_RCX], write);

	return bit < 0 || vmx_of(vcpu)->nested->asked_msrs[bit / 8] >> bit % 8 & 1;
}

/* --- all the others: by a control, or always --- */

enum word {
	NEVER, /* the processor's that Postern runs on, or Postern's own: nested paging */
	ALWAYS,
	PRIMARY,
	SECONDARY,
};

struct row {
	u8 word;
	u32 bit;
};

#define IS(reason, word, bit) [VMX_EXIT_##reason] = {(word), (bit)}

static const struct row rows[] = {
        IS(TRIPLE_FAULT, ALWAYS, 0),
        IS(INTR_WINDOW, PRIMARY, VMX_PROC_INTR_WINDOW),
        IS(NMI_WINDOW, PRIMARY, VMX_PROC_NMI_WINDOW),
        IS(TASK_SWITCH, ALWAYS, 0),
        IS(CPUID, ALWAYS, 0),
        IS(GETSEC, ALWAYS, 0),
        IS(HLT, PRIMARY, VMX_PROC_HLT),
        IS(INVD, ALWAYS, 0),
        IS(INVLPG, PRIMARY, VMX_PROC_INVLPG),
        IS(RDPMC, PRIMARY, VMX_PROC_RDPMC),
        IS(RDTSC, PRIMARY, VMX_PROC_RDTSC),
        IS(VMCALL, ALWAYS, 0),
        IS(VMCLEAR, ALWAYS, 0),
        IS(VMLAUNCH, ALWAYS, 0),
        IS(VMPTRLD, ALWAYS, 0),
        IS(VMPTRST, ALWAYS, 0),
        IS(VMREAD, ALWAYS, 0),
        IS(VMRESUME, ALWAYS, 0),
        IS(VMWRITE, ALWAYS, 0),
        IS(VMXOFF, ALWAYS, 0),
        IS(VMXON, ALWAYS, 0),
        IS(DR, PRIMARY, VMX_PROC_MOV_DR),
        IS(ENTRY_GUEST_STATE, ALWAYS, 0),
        IS(ENTRY_MSR, ALWAYS, 0),
        IS(MWAIT, PRIMARY, VMX_PROC_MWAIT),
        IS(MTF, PRIMARY, VMX_PROC_MTF),
        IS(MONITOR, PRIMARY, VMX_PROC_MONITOR),
        IS(PAUSE, PRIMARY, VMX_PROC_PAUSE),
        IS(TPR_BELOW_THRESHOLD, PRIMARY, VMX_PROC_TPR_SHADOW),
        IS(GDTR_IDTR, SECONDARY, VMX_PROC2_DESC_TABLE),
        IS(LDTR_TR, SECONDARY, VMX_PROC2_DESC_TABLE),
        IS(INVEPT, ALWAYS, 0),
        IS(RDTSCP, PRIMARY, VMX_PROC_RDTSC),
        IS(INVVPID, ALWAYS, 0),
        IS(WBINVD, SECONDARY, VMX_PROC2_WBINVD),
        IS(XSETBV, ALWAYS, 0),
        IS(INVPCID, PRIMARY, VMX_PROC_INVLPG),
        IS(VMFUNC, ALWAYS, 0),
};

static bool asked_for_row(const struct vmx_vcpu *vmx, u32 reason)
{
	const struct row *row = &rows[reason];

	if (reason >= ARRAY_SIZE(rows))
		return false;
	switch (row->word) {
	case PRIMARY:
		return vmx->asked.primary & row->bit;
	case SECONDARY:
		return vmx->asked.secondary & row->bit;
	default:
		return row->word == ALWAYS;
	}
}

static bool asked_for(struct vcpu *vcpu, u32 reason, u64 qualification)
{
	const struct vmx_vcpu *vmx = vmx_of(vcpu);

	switch (reason) {
	case VMX_EXIT_EXCEPTION:
		return asked_for_exception(vcpu);
	case VMX_EXIT_CR:
		return asked_for_cr(vcpu, qualification);
	case VMX_EXIT_IO:
		return asked_for_port(vcpu, qualification);
	case VMX_EXIT_RDMSR:
	case VMX_EXIT_WRMSR:
		return asked_for_msr(vcpu, reason == VMX_EXIT_WRMSR);
	case VMX_EXIT_MTF:
		return !vmx->steps && asked_for_row(vmx, reason);
	default:
		return asked_for_row(vmx, reason);
	}
}

void vmx_nested_decode(struct vcpu *vcpu, u32 reason)
{
	const struct vmx_vcpu *vmx = vmx_of(vcpu);
	u64 qualification = vmcs_read(VMCS_QUALIFICATION);
	struct exit_info *exit = &vcpu->exit;

	if (!asked_for(vcpu, reason & VMX_EXIT_BASIC, qualification)) {
		vmx_decode_exit(vcpu, reason);
		if (exit->kind == EXIT_CR && exit->cr.reg != 8)
			exit->cr.kept = exit->cr.reg ? vmx->asked.cr4_mask : vmx->asked.cr0_mask;
		return;
	}
	/* Whatever else there is to know of it L1 reads in its block. */
	exit->kind = EXIT_NESTED;
	exit->next_rip = 0;
	exit->delivering = false;
	exit->cache_disabled = vmx->vmcs->state.cr0 & CR0_CD;
	exit->raw[0] = reason;
	exit->raw[1] = qualification;
	exit->raw[2] = 0;
}
