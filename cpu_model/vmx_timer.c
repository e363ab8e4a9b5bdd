/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The preemption timer. SDM volume 3, "VMX-Preemption Timer": it counts down each time that the bit of the time
 * stamp counter that IA32_VMX_MISC names changes, from the value of the VMCS, not below 0.
 */
#include "cpu_model/vmx.h"

static u64 ticks(void)
{
	u64 misc = vmx_caps(model()->features).misc;

	return model_time() >> (misc & VMX_MISC_TIMER_RATE);
}

void vmx_timer_start(struct model_cpu *cpu)
{
	cpu->vmx.timer_start = ticks();
	cpu->vmx.timer_value = 0;
	if (cpu->vmx.pin & VMX_PIN_PREEMPTION_TIMER)
		cpu->vmx.timer_value = (u32)vmx_field(cpu, VMCS_PREEMPTION_TIMER);
}

u32 vmx_timer_value(const struct model_cpu *cpu)
{
	u64 passed = ticks() - cpu->vmx.timer_start;

	return passed < cpu->vmx.timer_value ? cpu->vmx.timer_value - (u32)passed : 0;
}

bool vmx_timer_expired(const struct model_cpu *cpu)
{
	return cpu->vmx.pin & VMX_PIN_PREEMPTION_TIMER && !vmx_timer_value(cpu);
}
