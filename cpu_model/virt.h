/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What SVM and VMX answer differently while a guest runs: which of its instructions and exceptions make it
 * leave, what happens between two of them, and how its memory is found. Everything else about a guest's
 * instructions is common (execute.c, run.c, inject.c).
 *
 * Who answers that the guest leaves has noted the exit, in the words of its vendor.
 */
#ifndef CPU_MODEL_VIRT_H
#define CPU_MODEL_VIRT_H

#include "cpu_model/execute.h"
#include "cpu_model/model.h"

enum model_cause {
	MODEL_ON_CPUID,
	MODEL_ON_RDMSR, /* the operands are in the guest's registers */
	MODEL_ON_WRMSR,
	MODEL_ON_IN,
	MODEL_ON_OUT,
	MODEL_ON_READ_CR,
	MODEL_ON_WRITE_CR,
	MODEL_ON_HLT,
	MODEL_ON_PAUSE,
	MODEL_ON_RDTSC,
	MODEL_ON_HYPERCALL,
	MODEL_ON_WBINVD,
	MODEL_ON_XSETBV,
	MODEL_ON_VMRUN,
	MODEL_ON_IRET,
	MODEL_ON_INT3,
};

struct model_virt {
	u8 hypercall[3]; /* the instruction */
	/* The guest leaves before the instruction; false: it is executed. */
	bool (*leaves)(struct model_cpu *cpu, const struct guest_insn *insn, enum model_cause why);
	/* The guest leaves with an exception that its instruction has raised; false: it is delivered. */
	bool (*leaves_with)(struct model_cpu *cpu, u8 vector, bool has_error, u32 error);
	/* The guest leaves: a double fault cannot be delivered. */
	void (*shut_down)(struct model_cpu *cpu);
	/* Between two instructions: false, the guest leaves. Takes virtual interrupts. */
	bool (*boundary)(struct model_cpu *cpu);
	/* A boundary may have more to do than take physical interrupts. */
	bool (*is_due)(const struct model_cpu *cpu);
	/* Behind an instruction that was executed: false, the guest leaves. */
	bool (*executed)(struct model_cpu *cpu);
	/* What entry injects, if anything: false, the guest leaves. */
	bool (*inject)(struct model_cpu *cpu);
	/* The guest leaves for a physical interrupt. */
	bool (*left_for_interrupt)(const struct model_cpu *cpu);
	/* HLT does not make the guest leave: cpu->halted until a boundary wakes it. */
	void (*halt)(struct model_cpu *cpu);
	/* An instruction is about to come from the page at `gpa`, which is mapped: false, the guest leaves. */
	bool (*fetch)(struct model_cpu *cpu, gpa_t gpa);
	/* IRET was executed. */
	void (*returned)(struct model_cpu *cpu);
	/* To be added to the time stamp counter. */
	u64 (*tsc_offset)(const struct model_cpu *cpu);
	/* Bits of CR0 or CR4 that the guest does not have itself: it reads those of *shadow. */
	u64 (*cr_mask)(const struct model_cpu *cpu, u8 reg, u64 *shadow);
	u64 (*read_cr8)(struct model_cpu *cpu);
	enum model_result (*write_cr8)(struct model_cpu *cpu, u64 value);
	/* Accesses that a virtual APIC answers; `gpa` has just been translated. */
	bool (*has_apic_page)(struct model_cpu *cpu, gpa_t gpa);
	enum model_result (*apic_page)(struct model_cpu *cpu, const struct guest_insn *insn,
	                               u32 offset, bool write);
	bool (*has_apic_msr)(const struct model_cpu *cpu, u32 msr, bool write);
	enum model_result (*apic_msr)(struct model_cpu *cpu, const struct guest_insn *insn, u32 msr,
	                              bool write);
	/* Nested paging: the tag of the translations in use, not 0; a walk; a fault, which leaves. */
	u64 (*tlb_tag)(const struct model_cpu *cpu);
	struct model_walk (*walk)(const struct model_cpu *cpu, gpa_t gpa, enum model_access access);
	void (*nested_fault)(struct model_cpu *cpu, gpa_t gpa, enum model_access access,
	                     const struct model_walk *walk);
};

/* --- avic_cpu.c: SVM's --- */
enum model_result model_avic_page(struct model_cpu *cpu, const struct guest_insn *insn, u32 offset,
                                  bool write);
enum model_result model_avic_msr(struct model_cpu *cpu, const struct guest_insn *insn, u32 msr,
                                 bool write);

extern const struct model_virt model_svm, model_vmx;

static inline const struct model_virt *model_virt(void)
{
	return model()->virt;
}

#endif
