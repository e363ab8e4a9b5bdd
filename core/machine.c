/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Choice of the back end: the first whose requirements the boot processor meets. If none does, the refusal that
 * is told is that of the processor's own vendor.
 */
#include "core/machine.h"
#include "host/host.h"
#include "postern/port.h"

struct backend backend_table;

static const struct backend *const backends[] = {&svm_backend, &vmx_backend};

#define DEFAULT_SLICE_NS 2000000ull

/* Of `refusal`, which back ends have given: CPUID 0 has the vendor's name in EBX, EDX, ECX. */
static const char *right_refusal(const char *const *refusal)
{
	struct cpuid_regs r;

	host_cpuid(0, 0, &r);
	for (u32 i = 0; i < ARRAY_SIZE(backends); i++)
		if (r.ebx == backends[i]->signature)
			return refusal[i];
	return refusal[0];
}

void machine_use_entry_timer(struct machine *machine, bool use)
{
	machine->entry_timer = backend_op(entry_timer) && backend_op(entry_timer)(use);
}

bool machine_init(struct machine *machine, const char **why)
{
	const char *refusal[ARRAY_SIZE(backends)];

	for (u32 i = 0; i < machine->cpu_count; i++) {
		timer_queue_init(&machine->cpu[i].timers);
		machine->cpu[i].armed_deadline = TSC_NEVER;
	}
	for (u32 i = 0; i < ARRAY_SIZE(backends); i++) {
		if (!backends[i]->probe(&refusal[i]))
			continue;
		backend_table = *backends[i];
		machine->backend = backends[i];
		machine->slice_tsc = timer_ns_to_tsc(DEFAULT_SLICE_NS);
		host_probe_fpu(machine);
		machine_use_entry_timer(machine, true);
		machine->posted = machine->ipiv = true;
		return true;
	}
	*why = right_refusal(refusal);
	return false;
}
