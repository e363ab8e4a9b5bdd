/* SPDX-License-Identifier: BSD-2-Clause */
/* Hypercalls of the interface "Hv#1". TLFS "Hypercall Interface". Own processor. */
#ifndef CORE_HV_CALL_H
#define CORE_HV_CALL_H

#include "postern/types.h"

struct vcpu;
struct vm;

/* The guest has its hypercall page, so these are the calls that it makes. */
bool hv_call_enabled(const struct vm *vm);
/* Protected mode, privilege level 0; otherwise #UD. */
bool hv_call_permitted(struct vcpu *vcpu);
/* Perform the call in the registers; RIP is behind the instruction. No locks held. */
void hv_call_handle(struct vcpu *vcpu);

#endif
