/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What VMRUN refuses with VMEXIT_INVALID. APM volume 2, "VMRUN Instruction", on the
 * canonicalization and consistency checks; "Event Injection" on what EVENTINJ may hold. Pure.
 */
#include "cpu_model/model.h"

#define AVIC_BITS (SVM_AVIC_ENABLE | SVM_X2AVIC_ENABLE)
#define CR4_KNOWN 0x00f77fffull
#define EFER_KNOWN                                                                                 \
	(EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE | EFER_SVME | BIT64(13) | EFER_FFXSR | BIT64(15))

static const char *check_event(u64 event)
{
	u64 type = event & SVM_EVENT_TYPE;
	u64 vector = event & SVM_EVENT_VECTOR;

	if (!(event & SVM_EVENT_VALID))
		return NULL;
	if (type != SVM_EVENT_INTR && type != SVM_EVENT_NMI && type != SVM_EVENT_EXCEPTION &&
	    type != SVM_EVENT_SOFT)
		return "EVENTINJ: reserved type";
	if (type == SVM_EVENT_EXCEPTION && (vector == VECTOR_NMI || vector > 31))
		return "EVENTINJ: exception with a vector that is none";
	return NULL;
}

static const char *check_long_mode(const struct vmcb_save *save)
{
	bool lme = save->efer & EFER_LME;
	bool pg = save->cr0 & CR0_PG;

	if (lme && pg && !(save->cr4 & CR4_PAE))
		return "EFER.LME and CR0.PG with CR4.PAE clear";
	if (lme && pg && !(save->cr0 & CR0_PE))
		return "EFER.LME and CR0.PG with CR0.PE clear";
	if (lme && pg && (save->cs.attr & SEG_ATTR_L) && (save->cs.attr & SEG_ATTR_DB))
		return "CS.L and CS.D both set in long mode";
	return NULL;
}

static const char *check_state(const struct vmcb_save *save)
{
	if (!(save->efer & EFER_SVME))
		return "EFER.SVME clear";
	if (save->efer & ~EFER_KNOWN)
		return "EFER: reserved bits";
	if (!(save->cr0 & CR0_CD) && (save->cr0 & CR0_NW))
		return "CR0.NW set with CR0.CD clear";
	if (save->cr0 >> 32)
		return "CR0: upper half";
	if (save->cr4 & ~CR4_KNOWN)
		return "CR4: reserved bits";
	if (save->dr6 >> 32)
		return "DR6: upper half";
	if (save->dr7 >> 32)
		return "DR7: upper half";
	return check_long_mode(save);
}

const char *model_vmrun_check(const struct vmcb *vmcb, u64 host_efer, u32 features,
                              const struct avic_memory *memory)
{
	const struct vmcb_control *control = &vmcb->control;
	const char *why;

	if (!(host_efer & EFER_SVME))
		return "host EFER.SVME clear";
	if (!(control->intercept_misc2 & SVM_MISC2(SVM_EXIT_VMRUN)))
		return "VMRUN is not intercepted";
	if (control->asid == 0 || control->asid >= MODEL_ASIDS)
		return "ASID 0 or beyond the processor's";
	if ((control->np_control & SVM_NP_ENABLE) && (features & MODEL_NO_NPT))
		return "nested paging on a processor without";
	if (control->tlb_control != SVM_TLB_NOTHING && control->tlb_control != SVM_TLB_FLUSH_ALL &&
	    !(control->tlb_control == SVM_TLB_FLUSH_ASID && (features & MODEL_FLUSH_ASID)))
		return "TLB_CONTROL: reserved on this processor";
	if (control->int_ctl & (SVM_V_GIF_ENABLE | (features & MODEL_AVIC ? 0 : AVIC_BITS)))
		return "int_ctl: a feature that this processor lacks";
	if (control->int_ctl & AVIC_BITS) {
		why = avic_check(control, memory, model_avic_max_index(features));
		if (why)
			return why;
	}
	why = check_event(control->event_inj);
	return why ? why : check_state(&vmcb->save);
}
