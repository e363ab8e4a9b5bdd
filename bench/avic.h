/* SPDX-License-Identifier: BSD-2-Clause */
/* Between bench/avic.c, which counts instructions, and bench/avic_memory.c, which counts bytes. */
#ifndef BENCH_AVIC_H
#define BENCH_AVIC_H

#include "postern/types.h"

/* Of AVIC's tables and backing page for each of so many vCPUs, APIC IDs from 0. */
u64 bench_avic_bytes(u32 vcpus);

#endif
