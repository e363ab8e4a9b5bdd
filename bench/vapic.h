/* SPDX-License-Identifier: BSD-2-Clause */
/* Between bench/vapic.c, which counts instructions, and bench/vapic_memory.c, which has the hypervisor's side. */
#ifndef BENCH_VAPIC_H
#define BENCH_VAPIC_H

#include "postern/types.h"

struct vcpu;

/* Of the table, and of page and descriptor for each of so many vCPUs, APIC IDs from 0. */
u64 bench_vapic_bytes(u32 vcpus);

/* A vCPU that is in the guest on another processor, accelerated; physical interrupts to that are bench_rung(). */
struct vcpu *bench_target(void);
void bench_rung(u32 host_id, u8 vector);

#endif
