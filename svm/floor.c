/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The floor under every exit: a world switch that does nothing (insn_svm_floor), around a guest that
 * does nothing but CPUID. No nested paging, no virtual interrupts, no hypervisor; what real exits
 * cost is told in multiples of this (docs/performance.md).
 */
#include "insn.h"
#include "postern/port.h"
#include "svm/svm.h"

_Static_assert(offsetof(struct vmcb, save.rip) == 0x578, "VMCB_RIP in svm_entry.S");

/* Real-mode code: CPUID, JMP to it. The loop in the hypervisor advances RIP over the first. */
static const u8 code[] = {0x0f, 0xa2, 0xeb, 0xfc};

static void prepare(struct vmcb *vmcb, const u8 *page)
{
	struct vmcb_save *save = &vmcb->save;
	const u16 data = SEG_ATTR_P | SEG_ATTR_S | 0x3;

	vmcb->control.intercept_misc1 = SVM_MISC1(SVM_EXIT_CPUID);
	vmcb->control.intercept_misc2 = SVM_MISC2(SVM_EXIT_VMRUN);
	vmcb->control.asid = 1;
	vmcb->control.int_ctl = SVM_V_INTR_MASKING;
	save->ds = save->es = save->ss = save->fs = save->gs =
	        (struct vmcb_segment){0, data, 0xffff, 0};
	save->ldtr = (struct vmcb_segment){0, SEG_ATTR_P | 0x2, 0xffff, 0};
	save->tr = (struct vmcb_segment){0, SEG_ATTR_P | 0xb, 0xffff, 0};
	save->cs = (struct vmcb_segment){0, data | 0x8, 0xffff, ptr_to_hpa(page).v};
	save->efer = EFER_SVME;
	save->cr0 = CR0_ET;
	save->rflags = RFLAGS_RES1;
	save->dr6 = 0xffff0ff0;
	save->dr7 = 0x400;
}

u64 svm_floor(struct cpu *cpu, u64 rounds)
{
	struct svm_cpu *svm = cpu->arch;
	u8 *page = port_alloc(PAGE_SIZE, PAGE_SIZE);
	struct vmcb *vmcb = port_alloc(PAGE_SIZE, PAGE_SIZE);
	u64 gpr[GPR_COUNT] = {0};
	u64 start, ticks = 0;

	if (page && vmcb) {
		for (u32 i = 0; i < sizeof(code); i++)
			page[i] = code[i];
		prepare(vmcb, page);
		insn_clgi();
		start = insn_rdtsc();
		insn_svm_floor(ptr_to_hpa(vmcb), gpr, ptr_to_hpa(svm->host_vmcb), rounds);
		ticks = insn_rdtsc() - start;
		insn_stgi();
		ASSERT(vmcb->control.exit_code == SVM_EXIT_CPUID);
	}
	if (page)
		port_free(page, PAGE_SIZE);
	if (vmcb)
		port_free(vmcb, PAGE_SIZE);
	return ticks;
}
