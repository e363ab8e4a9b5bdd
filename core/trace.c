/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The entry is noted with physical interrupts blocked, where nothing may wait: each claims an element, fills it
 * and says so. The boot processor logs them in the order in which they were claimed, as far as they are filled.
 */
#include "core/trace.h"
#include "core/machine.h"
#include "postern/port.h"
#include "postern/string.h"

struct trace_entry {
	u64 rip;              /* [done] */
	u16 vm, vcpu;         /* [done] */
	bool force;           /* [done] */
	struct atomic32 done; /* [a] set behind the others */
};

static void note(struct trace *trace, const struct vcpu *vcpu, bool force_immediate_exit)
{
	u64 i = atomic64_fetch_add(&trace->claimed, 1);
	struct trace_entry *entry;

	if (i >= trace->size)
		return;
	entry = &trace->entries[i];
	entry->rip = vcpu->regs.rip;
	entry->vm = (u16)vcpu->vm->id;
	entry->vcpu = (u16)vcpu->index;
	entry->force = force_immediate_exit;
	atomic32_set_release(&entry->done, 1);
}

static void run(struct vcpu *vcpu, bool force_immediate_exit)
{
	struct trace *trace = &port_machine()->trace;

	if (atomic64_read_relaxed(&trace->claimed) < trace->size)
		note(trace, vcpu, force_immediate_exit);
	trace->run(vcpu, force_immediate_exit);
}

bool trace_start(u64 entries)
{
	struct trace *trace = &port_machine()->trace;

	if (!entries)
		return true;
	trace->entries = port_alloc(entries * sizeof(*trace->entries), CACHE_LINE);
	if (!trace->entries)
		return false;
	trace->size = entries;
	trace->run = backend_op(run);
	backend_op(run) = run;
	return true;
}

static void log_entry(const struct trace_entry *entry)
{
	char vm[16] = "";

	if (port_machine()->vm_count > 1)
		snprintf(vm, sizeof(vm), "vm %u ", entry->vm);
	port_log("kvm_entry: %svcpu %u, rip 0x%llx%s", vm, entry->vcpu,
	         (unsigned long long)entry->rip, entry->force ? " [immediate exit]" : "");
}

void trace_log(void)
{
	struct trace *trace = &port_machine()->trace;

	while (trace->logged < trace->size &&
	       atomic32_read_acquire(&trace->entries[trace->logged].done))
		log_entry(&trace->entries[trace->logged++]);
}

void trace_end(void)
{
	struct trace *trace = &port_machine()->trace;

	if (!trace->entries)
		return;
	trace_log();
	backend_op(run) = trace->run;
	port_free(trace->entries, trace->size * sizeof(*trace->entries));
	*trace = (struct trace){0};
}
