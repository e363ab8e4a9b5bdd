/* SPDX-License-Identifier: BSD-2-Clause */
/* See assist.h. Which processors there are, and which of the assists makes them. */
#include "cpu_model/assist_kind.h"

#include "core/machine.h"
#include "cpu_model/vapic.h"
#include "insn.h"
#include "postern/port.h"
#include "postern/string.h"

#define FIRST_VECTOR 16

/* docs/model.md: where the signatures come from */
static const struct {
	const char *name;
	struct assist_processor is;
} processors[] = {
        {"rome",
         {.kind = &assist_avic,
          .signature = 0x00830f10,
          .svm_edx = SVM_CPUID_AVIC,
          .switches = AVIC_SWITCH_DEFAULTS | AVIC_STALE_RUNNING}},
        {"milan",
         {.kind = &assist_avic,
          .signature = 0x00a00f11,
          .svm_edx = SVM_CPUID_AVIC,
          .switches = AVIC_SWITCH_DEFAULTS}},
        {"genoa",
         {.kind = &assist_avic,
          .signature = 0x00a10f11,
          .svm_edx = SVM_CPUID_AVIC | SVM_CPUID_X2AVIC,
          .max_index = AVIC_X2APIC_MAX,
          .switches = AVIC_SWITCH_DEFAULTS}},
        {"broadwell", {.kind = &assist_vmx, .switches = VAPIC_SWITCH_DEFAULTS}},
        {"sapphire-rapids", {.kind = &assist_vmx, .ipiv = true, .switches = VAPIC_SWITCH_DEFAULTS}},
};

static const struct assist_kind *started; /* NULL: none */

bool assist_find(const char *name, struct assist_processor *processor)
{
	for (u32 i = 0; i < ARRAY_SIZE(processors); i++) {
		if (strcmp(processors[i].name, name))
			continue;
		*processor = processors[i].is;
		return true;
	}
	return false;
}

const char *assist_models(const struct assist_processor *processor)
{
	return processor->kind->models(processor);
}

bool assist_start(const struct assist_processor *processor)
{
	started = processor->kind;
	return started->start(processor);
}

void assist_stop(void)
{
	insn_slots = insn_native_slots;
	if (started)
		started->stop();
	started = NULL;
}

const u64 *assist_counts(void)
{
	return started ? started->counts() : NULL;
}

bool assist_counts_all(void)
{
	return started && started->complete;
}

void assist_interrupt(u32 host_id, u8 vector)
{
	const struct machine *machine = port_machine();

	for (u32 i = 0; i < machine->cpu_count && vector >= FIRST_VECTOR; i++)
		if (machine->cpu[i].apic_id == host_id)
			port_send_ipi(host_id, vector);
}
