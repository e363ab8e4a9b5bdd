/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The partition's reference time: units of 100 ns since the VM was created, which is when its TSC was
 * 0. TLFS "Reference Counter", "Partition Reference Time Enlightenment".
 */
#ifndef CORE_HV_TIME_H
#define CORE_HV_TIME_H

#include "postern/types.h"

struct vcpu;
struct vm;

#define HV_TIME_NS     100 /* a unit */
#define HV_TIME_PER_US 10
#define HV_TIME_PER_MS 10000

/* vm->tsc_base is known. Before vCPUs run. */
void hv_time_create(struct vm *vm);
/* As the counter is read, or computed from the page. Any processor. */
u64 hv_time_now(const struct vm *vm);
/* Host TSC at which the counter has reached `time`; TSC_NEVER: out of reach. */
u64 hv_time_to_tsc(const struct vm *vm, u64 time);

/* WRMSR of REFERENCE_TSC. Any processor, no locks held. */
void hv_time_write_page(struct vm *vm, u64 value);
/* vcpu->tsc_offset has changed. Own processor, no locks held. */
void hv_time_tsc_moved(struct vcpu *vcpu);

#endif
