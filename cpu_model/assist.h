/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The assist: AVIC on a processor that has none. It stands between the SVM back end and VMRUN
 * (x86/insn_slots.h), shows the back end a processor with the feature, and runs the guest without it:
 * between a native exit and the next native entry it does what the missing hardware would have done,
 * by the microcode of cpu_model/avic.h. Exits that the modelled processor would take come back to the
 * back end; the others are counted apart (struct account, model_overhead).
 *
 * The back end does not know. Nor does it have to: it needs a port that runs on the processor natively,
 * whether that is a real one, an emulated one, or the model processor of the host tests.
 */
#ifndef CPU_MODEL_ASSIST_H
#define CPU_MODEL_ASSIST_H

#include "cpu_model/avic.h"

/* A processor that --cpu names and this one is not. */
struct assist_processor {
	u32 signature;             /* CPUID 1 EAX; 0: as it is */
	u32 svm_edx;               /* CPUID 8000_000A EDX: added */
	u32 svm_ecx;               /* the same of ECX */
	u32 max_index;             /* of the physical table in x2AVIC mode, 0: no x2AVIC */
	u32 switches;              /* AVIC_SWITCHES */
	struct avic_memory memory; /* that tables and pages may be in */
};

/* A processor by its name in CPU_MODELS, without `memory`. false: none that needs an assist. */
bool assist_find(const char *name, struct assist_processor *processor);

/*
 * Take the slots. After port_machine() knows its processors, before the back end probes. false: out of
 * memory.
 */
bool assist_start(const struct assist_processor *processor);
/* Give the slots back. No processor is in a guest. */
void assist_stop(void);

/* What this processor did by itself for guests (port_hw_counts()). NULL: no assist. Own processor. */
const u64 *assist_counts(void);

#endif
