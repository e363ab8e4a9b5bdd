/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Linux Documentation/virt/kvm/x86/hypercalls.rst: number in RAX, arguments in RBX, RCX, RDX, RSI,
 * result in RAX; 32 bits wide outside 64-bit code; privilege level 0 only. An unknown number returns
 * -KVM_ENOSYS.
 *
 * KVM_HC_SEND_IPI: a bitmap of two words (one half as wide outside 64-bit code) over APIC IDs from
 * a lowest one on, and the low half of an ICR; returns how many vCPUs it was delivered to.
 */
#include "core/hypercall.h"
#include "core/emulate.h"
#include "core/vm.h"
#include "postern/backend.h"
#include "x86/apic.h"

#define KVM_EPERM  1
#define KVM_EINVAL 22
#define KVM_ENOSYS 1000

#define KVM_HC_SEND_IPI 10

struct arguments {
	u64 number;
	u64 arg[4];
	u32 width; /* bits of a register */
};

static void get_arguments(struct vcpu *vcpu, struct arguments *a)
{
	static const u8 reg[4] = {GPR_RBX, GPR_RCX, GPR_RDX, GPR_RSI};
	const u64 *gpr = vcpu->regs.gpr;
	u64 mask;

	a->width = emulate_code_mode(vcpu) == 8 ? 64 : 32;
	mask = a->width == 64 ? ~0ull : ~0u;
	a->number = gpr[GPR_RAX] & mask;
	for (u32 i = 0; i < ARRAY_SIZE(reg); i++)
		a->arg[i] = gpr[reg[i]] & mask;
}

static s64 send_ipi(struct vcpu *vcpu, const struct arguments *a)
{
	u32 icr = (u32)a->arg[3];
	struct irq_message message = {
	        .delivery = icr & APIC_DM_MASK,
	        .vector = (u8)icr,
	        .assert = true,
	        .x2apic_format = true,
	        .source = IRQ_SOURCE_IPI,
	        .sender = vcpu,
	};
	s64 count = 0;

	if (icr & (APIC_DEST_SHORTHAND | APIC_DEST_LOGICAL) ||
	    (message.delivery != APIC_DM_FIXED && message.delivery != APIC_DM_NMI))
		return -KVM_EINVAL;
	for (u32 i = 0; i < 2 * a->width; i++) {
		u64 id = a->arg[2] + i;

		/* Nobody has an ID of more than 8 bits; all ones would be broadcast. */
		if (!(a->arg[i / a->width] >> i % a->width & 1) || id < i || id >= 0xff)
			continue;
		message.dest = (u32)id;
		count += irq_deliver(vcpu->vm, &message);
	}
	return count;
}

static s64 perform(struct vcpu *vcpu)
{
	struct vcpu_state state;
	struct arguments a;

	backend_op(get_state)(vcpu, &state);
	if (state.cpl)
		return -KVM_EPERM;
	get_arguments(vcpu, &a);
	return a.number == KVM_HC_SEND_IPI ? send_ipi(vcpu, &a) : -KVM_ENOSYS;
}

void hypercall_handle(struct vcpu *vcpu)
{
	u64 result = (u64)perform(vcpu);

	vcpu->regs.gpr[GPR_RAX] = emulate_code_mode(vcpu) == 8 ? result : (u32)result;
}
