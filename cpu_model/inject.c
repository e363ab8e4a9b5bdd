/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Events into the guest. APM volume 2, "Event Injection": EVENTINJ is unconditional, whatever IF,
 * GIF, V_TPR and the interrupt shadow say, and exception intercepts do not apply to it.
 * "Exceptions": one that cannot be delivered becomes a double fault, a double fault that cannot a
 * shutdown.
 */
#include "cpu_model/guest.h"
#include "cpu_model/model.h"
#include "postern/port.h"

/* A shutdown of the guest: an exit if intercepted. On a real machine all would end otherwise. */
static bool shut_down(struct model_cpu *cpu)
{
	if (!model_intercepts(&cpu->control, SVM_EXIT_SHUTDOWN))
		port_panic("guest shutdown that the hypervisor does not intercept");
	cpu->exit_code = SVM_EXIT_SHUTDOWN;
	return false;
}

static bool gate_present(struct model_cpu *cpu, u8 vector)
{
	u32 entry = (cpu->regs.efer & EFER_LMA) ? 16 : 4;

	return cpu->regs.idtr.limit >= entry * vector + entry - 1 &&
	       guest_gate_present(cpu->guest, vector);
}

bool model_deliver(struct model_cpu *cpu, u8 vector, bool exception, bool has_error, u32 error)
{
	if (!gate_present(cpu, vector)) {
		if (exception && vector == VECTOR_DF)
			return shut_down(cpu);
		return model_deliver(cpu, VECTOR_DF, true, true, 0);
	}
	guest_push_frame(cpu->guest, vector, exception, has_error ? error : 0);
	cpu->regs.rflags &= ~(RFLAGS_IF | RFLAGS_TF | RFLAGS_NT | RFLAGS_RF);
	cpu->regs.shadow = false;
	return true;
}

bool model_raise(struct model_cpu *cpu, u8 vector, bool has_error, u32 error)
{
	if (model_intercepts(&cpu->control, SVM_EXIT_EXCEPTION(vector))) {
		cpu->exit_code = SVM_EXIT_EXCEPTION(vector);
		cpu->exit_info_1 = error;
		cpu->exit_info_2 = vector == VECTOR_PF ? cpu->regs.cr2 : 0;
		return false;
	}
	return model_deliver(cpu, vector, true, has_error, error);
}

bool model_inject(struct model_cpu *cpu, u64 event)
{
	bool exception = (event & SVM_EVENT_TYPE) == SVM_EVENT_EXCEPTION;
	u8 vector = (u8)(event & SVM_EVENT_VECTOR);

	if ((event & SVM_EVENT_TYPE) == SVM_EVENT_NMI)
		vector = VECTOR_NMI;
	if (cpu->break_deliveries) {
		/* A test wants delivery to be cut short, as by a fault on the guest's stack. */
		cpu->break_deliveries--;
		cpu->exit_code = SVM_EXIT_INTR;
		cpu->exit_int_info = event;
		return false;
	}
	return model_deliver(cpu, vector, exception, event & SVM_EVENT_ERROR, (u32)(event >> 32));
}
