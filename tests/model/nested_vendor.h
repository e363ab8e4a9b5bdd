/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest's control block for its guest, on SVM and on VMX, in one set of words: what L1 asks for, and why it got
 * control back. For nested_guest.h.
 */
#ifndef TESTS_MODEL_NESTED_VENDOR_H
#define TESTS_MODEL_NESTED_VENDOR_H

#include "core/nested.h"
#include "cpu_model/vmx.h"
#include "postern/backend.h"
#include "tests/model/harness.h"

#include "svm/svm.h"
#include "vmx/nested_priv.h"

/* L1's memory for it; MSR bitmap and permission maps are of zeros but for what a test sets in them. */
#define L1_MSR_MAP  0x220000u
#define L1_IO_MAP   0x230000u
#define L1_NO_MSRS  0x240000u
#define L1_TPR_PAGE 0x250000u /* and a page for each vCPU */

/* What L1 asks for. VMX: its processor has more exits that are always L1's, and CPUID is one. */
#define ASK_INTR BIT(0)
#define ASK_NMI  BIT(1)
#define ASK_HLT  BIT(2)
#define ASK_IO   BIT(3) /* by the map */
#define ASK_MSR  BIT(4) /* by the map */
#define KVM_LIKE (ASK_INTR | ASK_NMI | ASK_HLT)

/* Why L1 got control back. */
enum l2_exit {
	L2_INTR,
	L2_NMI,
	L2_INIT,
	L2_HLT,
	L2_CALL, /* the hypercall instruction */
	L2_CPUID,
	L2_IO,
	L2_MSR,
	L2_GP,
	L2_CR,
	L2_WINDOW, /* for interrupts */
	L2_TPR,
	L2_UD,
	L2_FAILED, /* a state that the processor refuses */
	L2_OTHER,
	L2_EXITS
};

/*
 * `masks`: L2's task priority is its own, and on SVM L1's RFLAGS.IF gates L1's interrupts, V_INTR_MASKING. VMX has
 * no such gate, whoever asks for interrupts gets them.
 */
struct l2_asks {
	u32 what;
	u32 exceptions;
	bool masks;
};

struct l2_block {
	struct vmcb vmcb;
	struct vmx_block vmx;
};

struct l2_vendor {
	/* In L1's state, at `rip`; L1 goes on behind the instruction at which it is. */
	void (*prepare)(struct vcpu *vcpu, struct l2_block *block, const struct l2_asks *asks,
	                u64 rip);
	void *(*block)(struct l2_block *block);
	enum l2_exit (*why)(const struct l2_block *block);
	void (*advance)(struct l2_block *block, u64 bytes);
	void (*inject)(struct l2_block *block, u8 vector);
	bool (*has_window)(struct vcpu *vcpu, bool second);
	u64 (*root)(struct vcpu *vcpu, bool second);
	/* Wrong code: the second one gets the root of the first. */
	void (*use_first_root)(struct vcpu *vcpu);
	bool (*is_second)(struct vcpu *vcpu);
	/* Of APIC virtualization, of either: what the one in use has. */
	bool (*is_accelerated)(struct vcpu *vcpu);
	/* Tags of cached translations differ. */
	bool (*has_own_tag)(struct vcpu *vcpu);
	/* A map's bit for writes of an MSR. */
	u32 (*msr_bit)(u32 msr);
	/* L1's own control block, to be compared. */
	const void *(*own)(struct vcpu *vcpu, u32 *size);
	bool (*reaches)(u64 root, gpa_t gpa);
};

/* --- SVM --- */

static void svm_prepare(struct vcpu *vcpu, struct l2_block *block, const struct l2_asks *asks,
                        u64 rip)
{
	struct vmcb_control *control = &block->vmcb.control;
	static const u32 bits[] = {SVM_MISC1(SVM_EXIT_INTR), SVM_MISC1(SVM_EXIT_NMI),
	                           SVM_MISC1(SVM_EXIT_HLT), SVM_IOIO_PROT, SVM_MSR_PROT};

	memset(&block->vmcb, 0, sizeof(block->vmcb));
	block->vmcb.save = svm_of(vcpu)->own->save;
	block->vmcb.save.rip = rip;
	block->vmcb.save.rflags = RFLAGS_RES1;
	for (u32 i = 0; i < ARRAY_SIZE(bits); i++)
		control->intercept_misc1 |= asks->what & BIT(i) ? bits[i] : 0;
	control->intercept_exceptions = asks->exceptions;
	control->iopm_base = L1_IO_MAP;
	control->msrpm_base = L1_MSR_MAP;
	control->intercept_misc2 = SVM_MISC2(SVM_EXIT_VMMCALL) | SVM_MISC2(SVM_EXIT_VMRUN);
	control->int_ctl = asks->masks ? SVM_V_INTR_MASKING : 0;
}

static void *svm_block(struct l2_block *block)
{
	return &block->vmcb;
}

static enum l2_exit svm_why(const struct l2_block *block)
{
	static const struct {
		u64 code;
		enum l2_exit why;
	} codes[] = {{SVM_EXIT_INTR, L2_INTR},
	             {SVM_EXIT_NMI, L2_NMI},
	             {SVM_EXIT_INIT, L2_INIT},
	             {SVM_EXIT_HLT, L2_HLT},
	             {SVM_EXIT_VMMCALL, L2_CALL},
	             {SVM_EXIT_CPUID, L2_CPUID},
	             {SVM_EXIT_IOIO, L2_IO},
	             {SVM_EXIT_MSR, L2_MSR},
	             {SVM_EXIT_EXCEPTION(VECTOR_GP), L2_GP}};

	for (u32 i = 0; i < ARRAY_SIZE(codes); i++)
		if (codes[i].code == block->vmcb.control.exit_code)
			return codes[i].why;
	return svm_exit_is_invalid(block->vmcb.control.exit_code) ? L2_FAILED : L2_OTHER;
}

static void svm_advance(struct l2_block *block, u64 bytes)
{
	block->vmcb.save.rip += bytes;
}

static void svm_inject(struct l2_block *block, u8 vector)
{
	block->vmcb.control.event_inj = vector | SVM_EVENT_VALID;
}

static struct vmcb *svm_of_both(struct vcpu *vcpu, bool second)
{
	return second ? svm_of(vcpu)->vmcb : svm_of(vcpu)->own;
}

static bool svm_has_window(struct vcpu *vcpu, bool second)
{
	return svm_of_both(vcpu, second)->control.int_ctl & SVM_V_IRQ;
}

static u64 svm_root(struct vcpu *vcpu, bool second)
{
	/* The assist puts another root into the first one. */
	return second ? svm_vmcb(vcpu)->control.n_cr3 : svm_of(vcpu)->root.v;
}

static void svm_use_first_root(struct vcpu *vcpu)
{
	svm_vmcb(vcpu)->control.n_cr3 = mmu_root(harness_vm).v;
	svm_dirty(vcpu, SVM_CLEAN_NP);
	svm_flush(vcpu);
}

static bool svm_is_second(struct vcpu *vcpu)
{
	return svm_of(vcpu)->vmcb != svm_of(vcpu)->own;
}

/* The first one is not for the time of a step over IRET. */
static bool svm_is_accelerated(struct vcpu *vcpu)
{
	if (!svm_is_second(vcpu))
		return svm_of(vcpu)->avic_bits;
	return svm_vmcb(vcpu)->control.int_ctl & (SVM_AVIC_ENABLE | SVM_X2AVIC_ENABLE);
}

static bool svm_has_own_tag(struct vcpu *vcpu)
{
	return svm_vmcb(vcpu)->control.asid != svm_of(vcpu)->own->control.asid;
}

static u32 svm_msr_bit(u32 msr)
{
	return (u32)svm_msrpm_bit(msr) + 1;
}

static const void *svm_own(struct vcpu *vcpu, u32 *size)
{
	*size = sizeof(struct vmcb);
	return svm_of(vcpu)->own;
}

static bool svm_reaches(u64 root, gpa_t gpa)
{
	return model_nested_walk(HPA(root & PAGE_MASK), gpa, MODEL_READ).ok;
}

/* --- VMX --- */

static void vmx_prepare_state(struct vcpu *vcpu, struct vmx_block *block, u64 rip)
{
	struct vcpu_state state;

	backend_op(get_state)(vcpu, &state);
	for (u32 i = 0; i < SEG_COUNT; i++) {
		block->field[VMX_BLOCK_GUEST_ES_SELECTOR + i] = state.seg[i].selector;
		block->field[VMX_BLOCK_GUEST_ES_RIGHTS + i] = vmx_rights_of(state.seg[i].attr);
		block->field[VMX_BLOCK_GUEST_ES_LIMIT + i] = state.seg[i].limit;
		block->field[VMX_BLOCK_GUEST_ES_BASE + i] = state.seg[i].base;
	}
	for (u32 i = SEG_ES; i <= SEG_GS; i++)
		block->field[VMX_BLOCK_HOST_ES_SELECTOR + i] = state.seg[i].selector;
	vmx_block_of(block, HOST_TR_SELECTOR) = state.seg[SEG_TR].selector;
	vmx_block_of(block, HOST_TR_BASE) = state.seg[SEG_TR].base;
	vmx_block_of(block, GUEST_GDTR_LIMIT) = state.gdt_limit;
	vmx_block_of(block, GUEST_IDTR_LIMIT) = state.idt_limit;
	vmx_block_of(block, GUEST_GDTR_BASE) = vmx_block_of(block, HOST_GDTR_BASE) = state.gdt_base;
	vmx_block_of(block, GUEST_IDTR_BASE) = vmx_block_of(block, HOST_IDTR_BASE) = state.idt_base;
	vmx_block_of(block, GUEST_CR0) = vmx_block_of(block, HOST_CR0) = state.cr0;
	vmx_block_of(block, GUEST_CR3) = vmx_block_of(block, HOST_CR3) = state.cr3;
	vmx_block_of(block, GUEST_CR4) = vmx_block_of(block, HOST_CR4) = state.cr4;
	vmx_block_of(block, GUEST_EFER) = vmx_block_of(block, HOST_EFER) = state.efer;
	vmx_block_of(block, GUEST_PAT) = vmx_block_of(block, HOST_PAT) = state.pat;
	vmx_block_of(block, GUEST_DR7) = state.dr7;
	vmx_block_of(block, GUEST_RFLAGS) = RFLAGS_RES1;
	vmx_block_of(block, GUEST_RSP) = vmx_block_of(block, HOST_RSP) = vcpu->regs.gpr[GPR_RSP];
	vmx_block_of(block, GUEST_RIP) = rip;
}

static void vmx_prepare(struct vcpu *vcpu, struct l2_block *both, const struct l2_asks *asks,
                        u64 rip)
{
	struct vmx_block *block = &both->vmx;
	u32 what = asks->what;

	memset(block, 0, sizeof(*block));
	vmx_prepare_state(vcpu, block, rip);
	vmx_block_of(block, PIN) = (what & ASK_INTR ? VMX_PIN_EXTERNAL : 0) |
	                           (what & ASK_NMI ? VMX_PIN_NMI | VMX_PIN_VIRTUAL_NMI : 0);
	vmx_block_of(block, PRIMARY) =
	        (what & ASK_HLT ? VMX_PROC_HLT : 0) | (what & ASK_IO ? VMX_PROC_IO_BITMAPS : 0) |
	        (asks->masks ? VMX_PROC_TPR_SHADOW : 0) | VMX_PROC_MSR_BITMAPS;
	vmx_block_of(block, MSR_BITMAP) = what & ASK_MSR ? L1_MSR_MAP : L1_NO_MSRS;
	vmx_block_of(block, IO_BITMAP_A) = L1_IO_MAP;
	vmx_block_of(block, IO_BITMAP_B) = L1_IO_MAP + PAGE_SIZE;
	vmx_block_of(block, VIRTUAL_APIC) = L1_TPR_PAGE + vcpu->index * PAGE_SIZE;
	vmx_block_of(block, EXCEPTIONS) = asks->exceptions;
	vmx_block_of(block, EXIT_CONTROLS) = VMX_EXIT_CTL_HOST_64 | VMX_EXIT_CTL_SAVE_DEBUG |
	                                     VMX_EXIT_CTL_SAVE_PAT | VMX_EXIT_CTL_LOAD_PAT |
	                                     VMX_EXIT_CTL_SAVE_EFER | VMX_EXIT_CTL_LOAD_EFER;
	vmx_block_of(block, ENTRY_CONTROLS) = VMX_ENTRY_CTL_GUEST_64 | VMX_ENTRY_CTL_LOAD_DEBUG |
	                                      VMX_ENTRY_CTL_LOAD_PAT | VMX_ENTRY_CTL_LOAD_EFER;
}

static void *vmx_block_in(struct l2_block *block)
{
	return &block->vmx;
}

static enum l2_exit vmx_why_exception(u64 info)
{
	if ((info & VMX_EVENT_TYPE) == VMX_EVENT_NMI)
		return L2_NMI;
	switch (info & VMX_EVENT_VECTOR) {
	case VECTOR_GP:
		return L2_GP;
	case VECTOR_UD:
		return L2_UD;
	default:
		return L2_OTHER;
	}
}

static enum l2_exit vmx_why(const struct l2_block *block)
{
	static const u8 codes[] = {
	        [VMX_EXIT_EXTERNAL] = L2_INTR + 1,
	        [VMX_EXIT_INIT] = L2_INIT + 1,
	        [VMX_EXIT_HLT] = L2_HLT + 1,
	        [VMX_EXIT_VMCALL] = L2_CALL + 1,
	        [VMX_EXIT_CPUID] = L2_CPUID + 1,
	        [VMX_EXIT_IO] = L2_IO + 1,
	        [VMX_EXIT_RDMSR] = L2_MSR + 1,
	        [VMX_EXIT_WRMSR] = L2_MSR + 1,
	        [VMX_EXIT_CR] = L2_CR + 1,
	        [VMX_EXIT_INTR_WINDOW] = L2_WINDOW + 1,
	        [VMX_EXIT_TPR_BELOW_THRESHOLD] = L2_TPR + 1,
	};
	u64 reason = vmx_block_of(&block->vmx, EXIT_REASON);

	if (reason & VMX_EXIT_ENTRY_FAILED)
		return L2_FAILED;
	if (reason == VMX_EXIT_EXCEPTION)
		return vmx_why_exception(vmx_block_of(&block->vmx, EXIT_INFO));
	return reason < ARRAY_SIZE(codes) && codes[reason] ? codes[reason] - 1 : L2_OTHER;
}

static void vmx_advance(struct l2_block *block, u64 bytes)
{
	vmx_block_of(&block->vmx, GUEST_RIP) += bytes;
}

static void vmx_inject(struct l2_block *block, u8 vector)
{
	vmx_block_of(&block->vmx, ENTRY_INFO) = vector | VMX_EVENT_EXTERNAL | VMX_EVENT_VALID;
}

static const struct vmx_vmcs *vmx_of_both(struct vcpu *vcpu, bool second)
{
	return second ? vmx_of(vcpu)->second : &vmx_of(vcpu)->own;
}

static bool vmx_has_window(struct vcpu *vcpu, bool second)
{
	return vmx_of_both(vcpu, second)->want.primary & VMX_PROC_INTR_WINDOW;
}

static u64 vmx_root(struct vcpu *vcpu, bool second)
{
	return vmx_of_both(vcpu, second)->want.eptp;
}

static void vmx_use_first_root(struct vcpu *vcpu)
{
	vmx_of(vcpu)->second->want.eptp = vmx_eptp(mmu_root(harness_vm));
	vmx_flush(vcpu);
}

static bool vmx_is_second(struct vcpu *vcpu)
{
	return vmx_in_nested(vmx_of(vcpu));
}

static bool vmx_is_accelerated(struct vcpu *vcpu)
{
	return vmx_of(vcpu)->vmcs->want.secondary &
	       (VMX_PROC2_APIC_ACCESS | VMX_PROC2_X2APIC | VMX_PROC2_APIC_REGISTER | VMX_PROC2_VID);
}

static bool vmx_has_own_tag(struct vcpu *vcpu)
{
	return vmx_of(vcpu)->second->vpid != vmx_of(vcpu)->own.vpid;
}

static u32 vmx_msr_write_bit(u32 msr)
{
	return (u32)vmx_msr_bit(msr, true);
}

static const void *vmx_own(struct vcpu *vcpu, u32 *size)
{
	*size = VMX_REGION_SIZE;
	return vmx_of(vcpu)->own.region;
}

static bool vmx_reaches(u64 root, gpa_t gpa)
{
	return vmx_ept_walk(root, gpa, MODEL_READ).ok;
}

/* --- the one that the processor has --- */

static const struct l2_vendor l2_svm = {
        svm_prepare,   svm_block,          svm_why,         svm_advance,
        svm_inject,    svm_has_window,     svm_root,        svm_use_first_root,
        svm_is_second, svm_is_accelerated, svm_has_own_tag, svm_msr_bit,
        svm_own,       svm_reaches,
};
static const struct l2_vendor l2_vmx = {
        vmx_prepare,   vmx_block_in,       vmx_why,         vmx_advance,
        vmx_inject,    vmx_has_window,     vmx_root,        vmx_use_first_root,
        vmx_is_second, vmx_is_accelerated, vmx_has_own_tag, vmx_msr_write_bit,
        vmx_own,       vmx_reaches,
};

static bool on_vmx(void)
{
	return model_has(MODEL_INTEL);
}

static const struct l2_vendor *vendor(void)
{
	return on_vmx() ? &l2_vmx : &l2_svm;
}

#endif
