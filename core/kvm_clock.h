/* SPDX-License-Identifier: BSD-2-Clause */
/* The paravirtual clock of KVM's interface: the TSC's rate and epoch, published in guest memory. */
#ifndef CORE_KVM_CLOCK_H
#define CORE_KVM_CLOCK_H

#include "postern/types.h"

struct vcpu;

/* WRMSR of MSR_KVM_SYSTEM_TIME_NEW and MSR_KVM_WALL_CLOCK_NEW. false: #GP. Own processor. */
bool kvm_clock_write_system_time(struct vcpu *vcpu, u64 value);
bool kvm_clock_write_wall_clock(struct vcpu *vcpu, u64 value);
/* The vCPU's TSC offset has changed: publish again. */
void kvm_clock_update(struct vcpu *vcpu);

#endif
