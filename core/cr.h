/* SPDX-License-Identifier: BSD-2-Clause */
/* Control registers whose writes exit. */
#ifndef CORE_CR_H
#define CORE_CR_H

#include "postern/types.h"

struct vcpu;

/*
 * MOV to CR0, CR4 or CR8, the value as the instruction gives it, in an EXIT_CR; the caller has checked the
 * privilege (the exit did) and advances RIP. false: #GP. Own processor, between exits.
 */
bool cr_write(struct vcpu *vcpu, u32 reg, u64 value);

#endif
