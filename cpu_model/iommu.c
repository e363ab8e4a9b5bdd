/* SPDX-License-Identifier: BSD-2-Clause */
/* The model machine's IOMMU: the microcode of vtd.c among the model's processors. Machines with SVM have none yet. */
#include "cpu_model/model.h"
#include "insn.h"
#include "postern/port.h"

#define WIDTH 52

/* As a processor's local APIC takes it. What no entry of Postern's says is a bug. */
static void deliver(void *context, const struct vtd_interrupt *interrupt)
{
	struct model *m = context;

	if (interrupt->mode || interrupt->logical || interrupt->level ||
	    interrupt->dest >= m->cpu_count || interrupt->vector < 16)
		port_panic("a device's interrupt that nobody has asked for: vector %x to %u",
		           interrupt->vector, interrupt->dest);
	model_apic_raise(&m->cpu[interrupt->dest], interrupt->vector);
}

void model_iommu_init(struct model *m)
{
	struct avic_memory memory = model_memory();

	vtd_reset(&m->vtd);
	m->vtd.width = WIDTH;
	m->vtd.memory_start = memory.start;
	m->vtd.memory_end = memory.end;
	m->vtd.deliver = deliver;
	m->vtd.context = m;
}

u64 insn_iommu_read(u32 reg)
{
	return model_has(MODEL_INTEL) ? vtd_read(&model()->vtd, reg) : 0;
}

void insn_iommu_write(u32 reg, u64 value)
{
	vtd_write(&model()->vtd, reg, value);
}
