/* SPDX-License-Identifier: BSD-2-Clause */
/* Between cpu_model/assist.c and the assists that it chooses from: one for each vendor. */
#ifndef CPU_MODEL_ASSIST_KIND_H
#define CPU_MODEL_ASSIST_KIND_H

#include "cpu_model/assist.h"

struct assist_kind {
	/* assist_models() */
	const char *(*models)(const struct assist_processor *processor);
	/* Put what is needed into insn_slots, which are the processor's own. false: out of memory. */
	bool (*start)(const struct assist_processor *processor);
	/* Free what start() has made, also if it was out of memory. */
	void (*stop)(void);
	/* assist_counts(), assist_counts_all() */
	const u64 *(*counts)(void);
	bool complete;
};

extern const struct assist_kind assist_avic, assist_vmx;

/* A physical interrupt to the processor of this APIC ID. There is none, or the vector is none of an interrupt: nothing. */
void assist_interrupt(u32 host_id, u8 vector);

#endif
