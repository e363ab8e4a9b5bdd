/* SPDX-License-Identifier: BSD-2-Clause */
/* RDMSR and WRMSR of the guest. Own processor, no locks held. */
#ifndef CORE_MSR_H
#define CORE_MSR_H

#include "postern/types.h"
#include "x86/regs.h"

struct vcpu;

/* false: the register does not exist or the value is refused: #GP for the guest, counted. */
bool msr_read(struct vcpu *vcpu, u32 msr, u64 *value);
bool msr_write(struct vcpu *vcpu, u32 msr, u64 value);

#endif
