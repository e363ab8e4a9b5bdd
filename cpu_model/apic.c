/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The physical local APIC, as far as the hypervisor uses it: fixed edge-triggered interrupts, a
 * one-shot timer by TSC deadline, end of interrupt. IRR is set by any processor; all else is the
 * processor's own.
 */
#include "cpu_model/model.h"
#include "postern/port.h"

void model_apic_raise(struct model_cpu *cpu, u8 vector)
{
	atomic64_fetch_or(&cpu->irr[vector / 64], BIT64(vector % 64));
	model_wake(cpu);
}

static u64 irr_word(struct model_cpu *cpu, u32 word)
{
	/* Not a step of the hypervisor's: the processor looks at every instruction boundary. */
	return __atomic_load_n(&cpu->irr[word].v, __ATOMIC_SEQ_CST);
}

int model_apic_pending(struct model_cpu *cpu)
{
	int in_service = -1;
	u32 word;

	if (cpu->timer_deadline != TSC_NEVER && model_time() >= cpu->timer_deadline) {
		cpu->timer_deadline = TSC_NEVER;
		__atomic_fetch_or(&cpu->irr[CPU_VECTOR_TIMER / 64].v, BIT64(CPU_VECTOR_TIMER % 64),
		                  __ATOMIC_SEQ_CST);
	}
	if (cpu->in_service_depth)
		in_service = cpu->in_service[cpu->in_service_depth - 1];
	for (word = 4; word--;) {
		u64 bits = irr_word(cpu, word);
		int vector;

		if (!bits)
			continue;
		vector = (int)(word * 64) + 63 - __builtin_clzll(bits);
		return vector >> 4 > in_service >> 4 ? vector : -1;
	}
	return -1;
}

void model_apic_ack(struct model_cpu *cpu, u8 vector)
{
	__atomic_fetch_and(&cpu->irr[vector / 64].v, ~BIT64(vector % 64), __ATOMIC_SEQ_CST);
	ASSERT(cpu->in_service_depth < ARRAY_SIZE(cpu->in_service));
	cpu->in_service[cpu->in_service_depth++] = vector;
}

void model_apic_handle(struct model_cpu *cpu, u8 vector)
{
	cpu->in_handler = true;
	cpu_handle_interrupt(cpu->cpu, vector);
	cpu->in_handler = false;
	cpu->in_service_depth--; /* the port's handler ends with EOI */
	cpu->interrupts++;
}

void model_take_interrupts(struct model_cpu *cpu)
{
	int vector;

	/* Outside of the guest only: there the boundary checks of VMRUN decide. */
	while (cpu->gif && cpu->intr_flag && !cpu->guest && !cpu->in_handler &&
	       (vector = model_apic_pending(cpu)) >= 0) {
		model_apic_ack(cpu, (u8)vector);
		model_apic_handle(cpu, (u8)vector);
	}
}
