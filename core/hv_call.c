/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hypercalls of the interface "Hv#1". The rules (TLFS "Hypercall Interface"; HvCallPostMessage,
 * HvCallSignalEvent):
 *
 *  - The input value is in RCX, parameters are at the address in RDX, 8-byte aligned and within one
 *    page, or, of a fast call, RDX itself; the result is in RAX. Not in 64-bit code: EDX:EAX, EBX:ECX,
 *    and EDX:EAX.
 *  - An unknown call code is INVALID_HYPERCALL_CODE; reserved bits, repetitions or a variable header
 *    where the call has none, INVALID_HYPERCALL_INPUT; parameters elsewhere, INVALID_ALIGNMENT.
 *  - A message or event goes to a connection. There are no other partitions to be connected to, so
 *    every ID is INVALID_CONNECTION_ID, but those of the test device (docs/hyperv.md): they lead to a
 *    SINT of one of the VM's own vCPUs.
 */
#include "core/hv_call.h"

#include "core/emulate.h"
#include "core/hv.h"
#include "core/vm.h"
#include "postern/backend.h"

/* Connections of the test device: 23:16 what goes through, 15:8 VP index, 3:0 SINT. */
#define CONNECTION_MESSAGES 0x010000u
#define CONNECTION_EVENTS   0x020000u
#define CONNECTION_KIND     0xff0000u
#define CONNECTION_RESERVED 0xff0000f0u

struct call {
	u64 input;
	u64 parameter; /* of a fast call; otherwise its address */
};

bool hv_call_enabled(const struct vm *vm)
{
	return atomic64_read(&vm->hv.hypercall) & HV_PAGE_ENABLE;
}

bool hv_call_permitted(struct vcpu *vcpu)
{
	struct vcpu_state state;

	backend_op(get_state)(vcpu, &state);
	return state.cr0 & CR0_PE && !(vcpu->regs.rflags & RFLAGS_VM) && !state.cpl;
}

static u64 pair(const u64 *gpr, u32 high, u32 low)
{
	return gpr[high] << 32 | (u32)gpr[low];
}

static bool get_parameters(struct vcpu *vcpu, const struct call *call, void *to, u64 size)
{
	u64 gpa = call->parameter;

	return !(gpa % 8) && gpa % PAGE_SIZE + size <= PAGE_SIZE &&
	       vm_read(vcpu->vm, GPA(gpa), to, size);
}

/* Whom the connection leads to; NULL: it is none of this kind. */
static struct vcpu *connected(struct vm *vm, u32 connection, u32 kind)
{
	u32 index = connection >> 8 & 0xff;

	if (!vm->config.testdev || connection & CONNECTION_RESERVED & ~CONNECTION_KIND ||
	    (connection & CONNECTION_KIND) != kind || index >= vm->vcpu_count)
		return NULL;
	return vm->vcpu[index];
}

static enum hv_status post_message(struct vcpu *vcpu, const struct call *call)
{
	struct hv_post_message message;
	struct vcpu *target;

	if (call->input & HV_CALL_FAST)
		return HV_STATUS_INVALID_HYPERCALL_INPUT;
	if (!get_parameters(vcpu, call, &message, sizeof(message)))
		return HV_STATUS_INVALID_ALIGNMENT;
	if (message.type == HV_MESSAGE_NONE || message.type & HV_MESSAGE_HYPERVISOR ||
	    message.size > HV_MESSAGE_PAYLOAD)
		return HV_STATUS_INVALID_PARAMETER;
	target = connected(vcpu->vm, message.connection, CONNECTION_MESSAGES);
	if (!target)
		return HV_STATUS_INVALID_CONNECTION_ID;
	return synic_post(target, message.connection % HV_SINTS, message.type, message.connection,
	                  message.payload, message.size);
}

static enum hv_status signal_event(struct vcpu *vcpu, const struct call *call)
{
	struct hv_signal_event event = {.connection = (u32)call->parameter,
	                                .flag = (u16)(call->parameter >> 32)};
	struct vcpu *target;

	if (!(call->input & HV_CALL_FAST) && !get_parameters(vcpu, call, &event, sizeof(event)))
		return HV_STATUS_INVALID_ALIGNMENT;
	target = connected(vcpu->vm, event.connection, CONNECTION_EVENTS);
	if (!target)
		return HV_STATUS_INVALID_CONNECTION_ID;
	return synic_signal(target, event.connection % HV_SINTS, event.flag);
}

static enum hv_status perform(struct vcpu *vcpu, const struct call *call)
{
	u64 code = call->input & HV_CALL_CODE;

	if (code != HV_CALL_POST_MESSAGE && code != HV_CALL_SIGNAL_EVENT)
		return HV_STATUS_INVALID_HYPERCALL_CODE;
	if (call->input & (HV_CALL_RESERVED | HV_CALL_REPS | HV_CALL_VARIABLE))
		return HV_STATUS_INVALID_HYPERCALL_INPUT;
	return code == HV_CALL_POST_MESSAGE ? post_message(vcpu, call) : signal_event(vcpu, call);
}

void hv_call_handle(struct vcpu *vcpu)
{
	u64 *gpr = vcpu->regs.gpr;
	struct call call;

	if (emulate_code_mode(vcpu) == 8) {
		call = (struct call){gpr[GPR_RCX], gpr[GPR_RDX]};
		gpr[GPR_RAX] = perform(vcpu, &call);
		return;
	}
	call = (struct call){pair(gpr, GPR_RDX, GPR_RAX), pair(gpr, GPR_RBX, GPR_RCX)};
	gpr[GPR_RAX] = perform(vcpu, &call);
	gpr[GPR_RDX] = 0;
}
