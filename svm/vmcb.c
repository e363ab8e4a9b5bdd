/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The VMCB: what is intercepted, architectural state in and out. APM volume 2, "VMCB", "Intercept
 * Operation", "Processor Initialization State".
 *
 * EFER.SVME must be 1 in the VMCB (VMRUN refuses it otherwise) though the guest has no SVM: it is
 * added on the way in and hidden on the way out.
 */
#include "host/host.h"
#include "postern/port.h"
#include "postern/string.h"
#include "svm/svm.h"
#include "x86/msr.h"

#define DR6_RESET 0xffff0ff0ull
#define DR7_RESET 0x400ull

/* Attributes of the reset state: present, accessed, read/write data or read/execute code. */
#define ATTR_CODE (SEG_ATTR_P | SEG_ATTR_S | 0xb)
#define ATTR_DATA (SEG_ATTR_P | SEG_ATTR_S | 0x3)
#define ATTR_LDT  (SEG_ATTR_P | 0x2)
#define ATTR_TSS  (SEG_ATTR_P | 0xb)

static const u32 misc1 =
        SVM_MISC1(SVM_EXIT_INTR) | SVM_MISC1(SVM_EXIT_NMI) | SVM_MISC1(SVM_EXIT_SMI) |
        SVM_MISC1(SVM_EXIT_INIT) | SVM_MISC1(SVM_EXIT_RDPMC) | SVM_MISC1(SVM_EXIT_CPUID) |
        SVM_MISC1(SVM_EXIT_INVD) | SVM_MISC1(SVM_EXIT_HLT) | SVM_MISC1(SVM_EXIT_INVLPGA) |
        SVM_IOIO_PROT | SVM_MSR_PROT | SVM_MISC1(SVM_EXIT_SHUTDOWN);

static const u32 misc2 =
        SVM_MISC2(SVM_EXIT_VMRUN) | SVM_MISC2(SVM_EXIT_VMMCALL) | SVM_MISC2(SVM_EXIT_VMLOAD) |
        SVM_MISC2(SVM_EXIT_VMSAVE) | SVM_MISC2(SVM_EXIT_STGI) | SVM_MISC2(SVM_EXIT_CLGI) |
        SVM_MISC2(SVM_EXIT_SKINIT) | SVM_MISC2(SVM_EXIT_WBINVD) | SVM_MISC2(SVM_EXIT_MONITOR) |
        SVM_MISC2(SVM_EXIT_MWAIT) | SVM_MISC2(SVM_EXIT_MWAIT_ARMED) | SVM_MISC2(SVM_EXIT_XSETBV) |
        SVM_MISC2(SVM_EXIT_RDPRU);

static const u32 misc3 = SVM_MISC3(SVM_EXIT_INVLPGB) | SVM_MISC3(SVM_EXIT_MCOMMIT);

bool svm_vcpu_init(struct vcpu *vcpu)
{
	struct svm_vcpu *svm = port_alloc(sizeof(*svm), CACHE_LINE);

	if (!svm)
		return false;
	vcpu->arch = svm;
	svm->own = svm->vmcb = port_alloc(sizeof(*svm->vmcb), PAGE_SIZE);
	if (!svm->vmcb)
		return false;
	svm->vmcb_hpa = ptr_to_hpa(svm->vmcb);
	svm->exits = (struct svm_exits){.fast = svm_fast_exit, .decode = svm_decode_exit};
	svm->tpr = SVM_V_TPR;
	svm->root = mmu_root(vcpu->vm);
	svm->nrips = svm_has(SVM_CPUID_NRIPS);
	svm->exceptions = SVM_EXCEPTIONS;
	host_reset_fpu(vcpu);
	return true;
}

void svm_vcpu_exit(struct vcpu *vcpu)
{
	struct svm_vcpu *svm = svm_of(vcpu);

	svm_nested_exit(vcpu);
	if (svm->own)
		port_free(svm->own, sizeof(*svm->own));
	port_free(svm, sizeof(*svm));
	vcpu->arch = NULL;
}

static void reset_control(struct vcpu *vcpu)
{
	struct vmcb_control *control = &svm_vmcb(vcpu)->control;
	const struct svm_vm *vm = vcpu->vm->arch;

	memset(control, 0, sizeof(*control));
	control->intercept_cr = SVM_CR_WRITE(4); /* core/cr.c */
	control->intercept_misc1 = misc1 | svm_of(vcpu)->traps;
	control->intercept_misc2 = misc2;
	control->intercept_misc3 = misc3;
	control->intercept_exceptions = svm_of(vcpu)->exceptions;
	control->iopm_base = ptr_to_hpa(vm->iopm).v;
	control->msrpm_base = ptr_to_hpa(vm->msrpm).v;
	control->np_control = SVM_NP_ENABLE;
	control->n_cr3 = svm_of(vcpu)->root.v;
	control->int_ctl = SVM_V_INTR_MASKING;
}

static struct vmcb_segment segment(u16 selector, u16 attr, u64 base)
{
	return (struct vmcb_segment){selector, attr, 0xffff, base};
}

static void reset_save(struct vmcb_save *save)
{
	memset(save, 0, sizeof(*save));
	save->cs = segment(0xf000, ATTR_CODE, 0xffff0000);
	save->ds = save->es = save->ss = save->fs = save->gs = segment(0, ATTR_DATA, 0);
	save->ldtr = segment(0, ATTR_LDT, 0);
	save->tr = segment(0, ATTR_TSS, 0);
	save->gdtr.limit = 0xffff;
	save->idtr.limit = 0xffff;
	save->cr0 = CR0_CD | CR0_NW | CR0_ET;
	save->dr6 = DR6_RESET;
	save->dr7 = DR7_RESET;
	save->efer = EFER_SVME;
	save->g_pat = PAT_RESET;
}

/* INIT keeps what "Processor Initialization State" keeps: here the cache controls and PAT. */
void svm_reset(struct vcpu *vcpu, bool init)
{
	struct svm_vcpu *svm = svm_of(vcpu);
	struct vmcb_save *save = &svm->vmcb->save;
	u64 cache = init ? save->cr0 & (CR0_CD | CR0_NW) : CR0_CD | CR0_NW;
	u64 pat = init ? save->g_pat : PAT_RESET;

	reset_control(vcpu);
	reset_save(save);
	save->cr0 = CR0_ET | cache;
	save->g_pat = pat;
	svm->virq = false;
	svm->nmi_masked = false;
	svm->step = SVM_STEP_NONE;
	svm->asid_generation = 0;
	svm->flush = true;
	for (u32 i = 0; i < ARRAY_SIZE(vcpu->dr); i++)
		vcpu->dr[i] = 0;
}

static void get_segment(struct x86_segment *to, const struct vmcb_segment *from)
{
	*to = (struct x86_segment){from->selector, from->attr, from->limit, from->base};
}

static void set_segment(struct vmcb_segment *to, const struct x86_segment *from)
{
	*to = (struct vmcb_segment){from->selector, from->attr, from->limit, from->base};
}

void svm_get_state(struct vcpu *vcpu, struct vcpu_state *state)
{
	const struct vmcb_save *save = &svm_vmcb(vcpu)->save;

	get_segment(&state->seg[SEG_ES], &save->es);
	get_segment(&state->seg[SEG_CS], &save->cs);
	get_segment(&state->seg[SEG_SS], &save->ss);
	get_segment(&state->seg[SEG_DS], &save->ds);
	get_segment(&state->seg[SEG_FS], &save->fs);
	get_segment(&state->seg[SEG_GS], &save->gs);
	get_segment(&state->seg[SEG_LDTR], &save->ldtr);
	get_segment(&state->seg[SEG_TR], &save->tr);
	state->gdt_base = save->gdtr.base;
	state->gdt_limit = save->gdtr.limit;
	state->idt_base = save->idtr.base;
	state->idt_limit = save->idtr.limit;
	state->cr0 = save->cr0;
	state->cr2 = save->cr2;
	state->cr3 = save->cr3;
	state->cr4 = save->cr4;
	state->efer = save->efer & ~EFER_SVME;
	state->dr6 = save->dr6;
	state->dr7 = save->dr7;
	state->pat = save->g_pat;
	state->cpl = save->cpl;
}

void svm_set_state(struct vcpu *vcpu, const struct vcpu_state *state)
{
	struct vmcb_save *save = &svm_vmcb(vcpu)->save;

	set_segment(&save->es, &state->seg[SEG_ES]);
	set_segment(&save->cs, &state->seg[SEG_CS]);
	set_segment(&save->ss, &state->seg[SEG_SS]);
	set_segment(&save->ds, &state->seg[SEG_DS]);
	set_segment(&save->fs, &state->seg[SEG_FS]);
	set_segment(&save->gs, &state->seg[SEG_GS]);
	set_segment(&save->ldtr, &state->seg[SEG_LDTR]);
	set_segment(&save->tr, &state->seg[SEG_TR]);
	save->gdtr.base = state->gdt_base;
	save->gdtr.limit = state->gdt_limit;
	save->idtr.base = state->idt_base;
	save->idtr.limit = state->idt_limit;
	save->cr0 = state->cr0;
	save->cr2 = state->cr2;
	save->cr3 = state->cr3;
	save->cr4 = state->cr4;
	save->efer = state->efer | EFER_SVME;
	save->dr6 = state->dr6;
	save->dr7 = state->dr7;
	save->g_pat = state->pat;
	save->cpl = state->cpl;
	svm_vmcb(vcpu)->control.clean_bits = 0;
}
