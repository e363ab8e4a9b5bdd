/* SPDX-License-Identifier: BSD-2-Clause */
/* Hypercalls of KVM's paravirtual interface. */
#ifndef CORE_HYPERCALL_H
#define CORE_HYPERCALL_H

struct vcpu;

/* The hypercall in the vCPU's registers; RAX gets the result. RIP is the caller's. Own processor. */
void hypercall_handle(struct vcpu *vcpu);

#endif
