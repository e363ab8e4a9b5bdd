/* SPDX-License-Identifier: BSD-2-Clause */
/* The memory-type range registers as MSRs. What they do: mmu/memory_type.h. */
#ifndef CORE_MTRR_H
#define CORE_MTRR_H

#include "postern/types.h"

struct vcpu;

bool mtrr_is_msr(u32 msr);
/* Own processor, no locks held. false: #GP. `msr` is one. */
bool mtrr_read(struct vcpu *vcpu, u32 msr, u64 *value);
bool mtrr_write(struct vcpu *vcpu, u32 msr, u64 value);

#endif
