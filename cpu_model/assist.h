/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The assist: interrupt virtualization on a processor that lacks it, or some of it. It stands between a
 * back end and the processor (x86/insn_slots.h), shows the back end a processor with the feature, and
 * runs the guest without it: between a native exit and the next native entry it does what the missing
 * hardware would have done, by the same microcode that the model processor of the host tests has. Exits
 * that the modelled processor would take come back to the back end; the others are counted apart (struct
 * account, model_overhead).
 *
 *  - assist_avic.c: AVIC and x2AVIC, all of it, where there is SVM (avic.h);
 *  - assist_vmx.c: posted interrupts and IPI virtualization, where there is VMX with the rest of APIC
 *    virtualization, which remains the processor's own (vapic.h).
 *
 * The back end does not know. Nor does it have to: it needs a port that runs on the processor natively,
 * whether that is a real one, an emulated one, or the model processor of the host tests.
 */
#ifndef CPU_MODEL_ASSIST_H
#define CPU_MODEL_ASSIST_H

#include "cpu_model/avic.h"

struct assist_kind;

/* A processor that --cpu names and this one is not. */
struct assist_processor {
	const struct assist_kind *kind;
	u32 switches;              /* AVIC_SWITCHES, or VAPIC_SWITCHES */
	struct avic_memory memory; /* that tables and pages may be in */
	/* AMD's */
	u32 signature; /* CPUID 1 EAX; 0: as it is */
	u32 svm_edx;   /* CPUID 8000_000A EDX: added */
	u32 svm_ecx;   /* the same of ECX */
	u32 max_index; /* of the physical table in x2AVIC mode, 0: no x2AVIC */
	/* Intel's, which have posted interrupts */
	bool ipiv; /* and IPI virtualization */
};

/* A processor by its name in CPU_MODELS, without `memory`. false: none that needs an assist. */
bool assist_find(const char *name, struct assist_processor *processor);

/* What of it this processor lacks and the assist has, in words. NULL: nothing. */
const char *assist_models(const struct assist_processor *processor);

/*
 * Take the slots that are needed, if any: for what assist_models() names, and, of Intel's processors, to hide
 * what is beyond the named one. After port_machine() knows its processors, before the back end probes.
 * false: out of memory.
 */
bool assist_start(const struct assist_processor *processor);
/* Give the slots back. No processor is in a guest. */
void assist_stop(void);

/*
 * What the assist did for guests on this processor (port_hw_counts()): if it has only a part of interrupt
 * virtualization, that part. NULL: no assist. Own processor.
 */
const u64 *assist_counts(void);
/* If there is one: it has all of interrupt virtualization. */
bool assist_counts_all(void);

#endif
