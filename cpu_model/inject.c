/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Events into the guest. APM volume 2, "Exceptions", SDM volume 3, "Interrupt 8 - Double Fault
 * Exception": one that cannot be delivered becomes a double fault, a double fault that cannot a
 * shutdown.
 */
#include "cpu_model/guest.h"
#include "cpu_model/virt.h"

static bool gate_present(struct model_cpu *cpu, u8 vector)
{
	u32 entry = (cpu->regs.efer & EFER_LMA) ? 16 : 4;

	return cpu->regs.idtr.limit >= entry * vector + entry - 1 &&
	       guest_gate_present(cpu->guest, vector);
}

bool model_deliver(struct model_cpu *cpu, u8 vector, bool exception, bool has_error, u32 error)
{
	if (!gate_present(cpu, vector)) {
		if (exception && vector == VECTOR_DF) {
			model_virt()->shut_down(cpu);
			return false;
		}
		return model_deliver(cpu, VECTOR_DF, true, true, 0);
	}
	guest_push_frame(cpu->guest, vector, exception, has_error ? error : 0);
	cpu->regs.rflags &= ~(RFLAGS_IF | RFLAGS_TF | RFLAGS_NT | RFLAGS_RF);
	cpu->regs.shadow = false;
	return true;
}

bool model_raise(struct model_cpu *cpu, u8 vector, bool has_error, u32 error)
{
	if (model_virt()->leaves_with(cpu, vector, has_error, error))
		return false;
	return model_deliver(cpu, vector, true, has_error, error);
}
