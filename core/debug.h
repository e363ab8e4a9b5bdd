/* SPDX-License-Identifier: BSD-2-Clause */
/* Faults on request, so that what follows a fault can be tested. */
#ifndef CORE_DEBUG_H
#define CORE_DEBUG_H

#include "postern/settings.h"

/* Break the hypervisor in the way that `how` names; with DEBUG_PANIC_OFF, do nothing. */
void debug_panic(enum setting_debug_panic how);

#endif
