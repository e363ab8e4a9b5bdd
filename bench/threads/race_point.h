/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * As on metal, but that processors are threads of which not all run at a time: who waits lets others run, or a lock
 * whose holder does not run would be waited for until the scheduler thinks of it.
 */
#ifndef BENCH_RACE_POINT_H
#define BENCH_RACE_POINT_H

#include <sched.h>

#define race_point(addr, kind) ((void)0)
#define race_relax()           ((void)sched_yield())

#endif
