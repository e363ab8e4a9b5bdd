/* SPDX-License-Identifier: BSD-2-Clause */
/* Faults on request, so that what follows a fault can be tested. No guest can ask for one. */
#ifndef CORE_DEBUG_H
#define CORE_DEBUG_H

#include "postern/settings.h"
#include "postern/types.h"

struct cpu;

/* Break the hypervisor in the way that `how` names; with DEBUG_PANIC_OFF, do nothing. */
void debug_panic(enum setting_debug_panic how);

/* Is this interrupt of `cpu`'s timer to be lost (debug.lose-ticks)? Its interrupt handler. */
bool debug_loses_tick(const struct cpu *cpu);

#endif
