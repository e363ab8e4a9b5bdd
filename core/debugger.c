/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The boot processor's part of a debugger: requests from the command channel, and the state of the VM as
 * a whole. See core/debugger.h.
 *
 * What comes from the channel is checked here, all of it: operation, vCPU, lengths. What concerns one
 * vCPU is handed to it; its own processor executes it, and there is one at a time.
 *
 * While a vCPU is stepped, hardware delivery is off for the VM (BLOCKIRQ): a processor that delivers
 * would not know that the vCPU is to be left alone, and would save our TF with the guest's flags.
 */
#include "core/debugger.h"
#include "core/machine.h"
#include "irq/inhibit.h"
#include "postern/port.h"
#include "postern/report.h"
#include "postern/string.h"

static void send_record(struct vm *vm, const struct report_debug *head, const void *data,
                        u32 length)
{
	struct {
		struct report_header header;
		struct report_debug head;
		u8 data[DEBUG_MAX_DATA];
	} __packed record;

	_Static_assert(sizeof(record) - sizeof(record.header) <= REPORT_MAX_LEN, "fits a record");
	record.header = (struct report_header){.magic = REPORT_MAGIC,
	                                       .type = REPORT_DEBUG,
	                                       .vm = (u8)vm->id,
	                                       .len = (u16)(sizeof(*head) + length)};
	record.head = *head;
	memcpy(record.data, data, length);
	port_report_write(&record, (u32)(sizeof(record.header) + sizeof(*head) + length));
}

static void answer(struct vm *vm, enum debug_result result)
{
	const struct debug_request *request = &vm->debugger.request;
	struct report_debug head = {.op = request->op,
	                            .result = (u8)result,
	                            .vcpu = request->vcpu,
	                            .sequence = request->sequence};

	send_record(vm, &head, "", 0);
}

static void tell_stopped(struct vm *vm)
{
	u32 trigger = atomic32_read(&vm->debugger.trigger);
	struct report_debug head = {.op = DEBUG_STOPPED,
	                            .vcpu = (u8)(trigger >> 8),
	                            .reason = trigger ? (u8)trigger : DEBUG_REASON_STOP};

	send_record(vm, &head, "", 0);
}

/* --- stop and go --- */

void debugger_stop_at_start(struct vm *vm)
{
	struct debugger *d = &vm->debugger;
	struct vcpu *vcpu;

	d->state = DEBUGGER_STOPPING;
	atomic32_set(&d->stop, 1);
	/* Not vcpu_request(), which would wake them. */
	for_each_vcpu (vcpu, vm)
		atomic32_fetch_or(&vcpu->requests, VCPU_REQUEST_DEBUG);
}

static void stop(struct vm *vm)
{
	struct debugger *d = &vm->debugger;
	struct vcpu *vcpu;

	d->state = DEBUGGER_STOPPING;
	atomic32_set(&d->stop, 1);
	for_each_vcpu (vcpu, vm)
		vcpu_request(vcpu, VCPU_REQUEST_DEBUG);
}

static void set_steps(struct vm *vm, bool on)
{
	if (vm->debugger.steps == on)
		return;
	vm->debugger.steps = on;
	if (on)
		inhibit_set(vm, INHIBIT_BLOCKIRQ);
	else
		inhibit_clear(vm, INHIBIT_BLOCKIRQ);
}

static bool is_action(u8 action)
{
	u8 flags = action & (u8)~DEBUG_ACTION_MASK;

	if ((action & DEBUG_ACTION_MASK) == DEBUG_STEP)
		return !(flags & ~(DEBUG_STEP_NOIRQ | DEBUG_STEP_NOTIMER));
	return action <= DEBUG_CONTINUE;
}

/* All vCPUs are parked. `actions`: one for each. false: nobody is to move, or not so. */
static bool resume(struct vm *vm, const u8 *actions)
{
	struct debugger *d = &vm->debugger;
	struct vcpu *vcpu;
	bool steps = false;
	u32 movers = 0;

	for_each_vcpu (vcpu, vm) {
		if (!is_action(actions[vcpu->index]))
			return false;
		movers += actions[vcpu->index] != DEBUG_STAY;
		steps |= (actions[vcpu->index] & DEBUG_ACTION_MASK) == DEBUG_STEP;
	}
	if (!movers)
		return false;
	set_steps(vm, steps);
	d->state = DEBUGGER_RUNNING;
	atomic32_set(&d->trigger, 0);
	atomic32_set(&d->stop, 0);
	atomic32_fetch_sub(&d->parked, movers);
	for_each_vcpu (vcpu, vm) {
		if (actions[vcpu->index] == DEBUG_STAY)
			continue;
		atomic32_set(&vcpu->debugger.action, actions[vcpu->index]);
		vcpu_request(vcpu, VCPU_REQUEST_DEBUG);
	}
	return true;
}

static void unplant_all(struct vm *vm)
{
	struct debugger *d = &vm->debugger;

	for (u32 i = 0; i < DEBUG_BREAKPOINTS; i++) {
		u8 *byte = vm_memory(vm, GPA(d->breakpoint[i].gpa), 1);

		if (d->breakpoint[i].used && byte && *byte == 0xcc)
			*byte = d->breakpoint[i].original;
		d->breakpoint[i].used = false;
	}
	d->breakpoints = 0;
}

/* Breakpoints are changed while all vCPUs stand, so first they have to. */
static void detach(struct vm *vm)
{
	struct debugger *d = &vm->debugger;
	u8 actions[DEBUG_MAX_VCPUS];

	if (d->state == DEBUGGER_RUNNING)
		stop(vm);
	if (d->state == DEBUGGER_STOPPING)
		return; /* told_stopped() comes back here */
	if (d->state == DEBUGGER_STOPPED) {
		unplant_all(vm);
		memset(actions, DEBUG_CONTINUE, sizeof(actions));
		resume(vm, actions);
		d->state = DEBUGGER_DETACHED;
	}
	answer(vm, DEBUG_OK);
	d->request.op = 0;
}

/* --- requests --- */

_Static_assert(DEBUG_MAX_VCPUS >= MAX_VCPUS, "an action for each vCPU");

static bool is_sane(struct vm *vm, const struct debug_request *request)
{
	if (request->vcpu >= vm->vcpu_count || request->count > DEBUG_MAX_DATA)
		return false;
	switch (request->op) {
	case DEBUG_RESUME:
		return request->length == DEBUG_MAX_VCPUS;
	case DEBUG_WRITE_REGS:
		return request->length == sizeof(struct debug_regs);
	case DEBUG_WRITE:
		return true;
	case DEBUG_STOP:
	case DEBUG_READ_REGS:
	case DEBUG_READ:
	case DEBUG_PLANT:
	case DEBUG_UNPLANT:
	case DEBUG_DETACH:
		return !request->length;
	default:
		return false;
	}
}

static void hand_over(struct vm *vm)
{
	struct debugger *d = &vm->debugger;

	d->answer = (struct report_debug){.op = d->request.op,
	                                  .result = DEBUG_OK,
	                                  .vcpu = d->request.vcpu,
	                                  .sequence = d->request.sequence};
	d->answer_length = 0;
	atomic32_set(&d->job, d->request.vcpu + 1u);
	vcpu_request(vm->vcpu[d->request.vcpu], VCPU_REQUEST_DEBUG);
}

static void begin(struct vm *vm)
{
	struct debugger *d = &vm->debugger;

	if (vm_has_ended(vm) || !is_sane(vm, &d->request)) {
		answer(vm, DEBUG_BAD);
	} else if (d->request.op == DEBUG_STOP) {
		/*
		 * One that stands still already is told of once more, at once: the request and our own
		 * word of the stop have crossed, and behind it come others that want the vCPUs to stand.
		 */
		if (d->state == DEBUGGER_STOPPED)
			tell_stopped(vm);
		else
			stop(vm);
	} else if (d->request.op == DEBUG_DETACH) {
		detach(vm);
	} else if (d->state != DEBUGGER_STOPPED) {
		answer(vm, DEBUG_RUNNING);
	} else if (d->request.op == DEBUG_RESUME) {
		if (!resume(vm, d->data))
			answer(vm, DEBUG_BAD);
	} else {
		hand_over(vm);
	}
}

void debugger_begin(struct vm *vm)
{
	vm->debugger.fill = 0;
	vm->debugger.expected = sizeof(struct debug_request);
}

bool debugger_wants(const struct vm *vm)
{
	return vm->debugger.expected;
}

/* A length that is too large is not believed: what follows is taken for what it looks like. */
void debugger_feed(struct vm *vm, u8 byte)
{
	struct debugger *d = &vm->debugger;
	u32 header = sizeof(d->request);

	if (d->fill < header)
		((u8 *)&d->request)[d->fill] = byte;
	else
		d->data[d->fill - header] = byte;
	d->fill++;
	if (d->fill == header && d->request.length <= sizeof(d->data))
		d->expected = header + d->request.length;
	if (d->fill < d->expected)
		return;
	d->expected = 0;
	if (d->request.length > sizeof(d->data))
		answer(vm, DEBUG_BAD);
	else
		begin(vm);
}

bool debugger_is_ready(struct vm *vm)
{
	const struct debugger *d = &vm->debugger;

	return vm_has_ended(vm) ||
	       (!atomic32_read_relaxed(&d->job) &&
	        !(d->state == DEBUGGER_STOPPING && d->request.op == DEBUG_DETACH));
}

/* --- what is to be told --- */

static void finish_job(struct vm *vm)
{
	struct debugger *d = &vm->debugger;

	if (atomic32_read_acquire(&d->job) != DEBUGGER_JOB_DONE)
		return;
	send_record(vm, &d->answer, d->data, d->answer_length);
	atomic32_set(&d->job, 0);
}

static void told_stopped(struct vm *vm)
{
	struct debugger *d = &vm->debugger;

	set_steps(vm, false);
	d->state = DEBUGGER_STOPPED;
	if (d->request.op == DEBUG_DETACH)
		detach(vm);
	else
		tell_stopped(vm);
}

static void tell_end(struct vm *vm)
{
	struct debugger *d = &vm->debugger;
	struct report_debug head = {.op = DEBUG_ENDED,
	                            .reason = (u8)atomic32_read(&vm->ended),
	                            .detail = (s32)atomic32_read(&vm->exit_code)};

	if (d->told_end || d->state == DEBUGGER_DETACHED)
		return;
	d->told_end = true;
	atomic32_set(&d->job, 0);
	set_steps(vm, false);
	send_record(vm, &head, "", 0);
}

void debugger_poll(struct vm *vm)
{
	struct debugger *d = &vm->debugger;

	if (vm_has_ended(vm)) {
		if (!atomic32_read(&vm->live_vcpus))
			tell_end(vm);
		return;
	}
	finish_job(vm);
	/* A vCPU may have stopped the others by itself. */
	if (d->state == DEBUGGER_RUNNING && atomic32_read(&d->stop))
		d->state = DEBUGGER_STOPPING;
	if (d->state == DEBUGGER_STOPPING && atomic32_read(&d->parked) == vm->vcpu_count)
		told_stopped(vm);
}

bool debugger_is_busy(const struct vm *vm)
{
	const struct debugger *d = &vm->debugger;

	return d->expected || d->state == DEBUGGER_STOPPING || d->state == DEBUGGER_STOPPED;
}
