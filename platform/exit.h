/* SPDX-License-Identifier: BSD-2-Clause */
/* How a guest ends its own run: the exit ports, and what power-off and reset do. */
#ifndef PLATFORM_EXIT_H
#define PLATFORM_EXIT_H

#include "postern/types.h"

struct vm;

void guest_exit_init(struct vm *vm);

/* End the run; console output that still waits goes out first. Any processor, no locks held. */
void guest_exit_poweroff(struct vm *vm);
void guest_exit_reset(struct vm *vm);

#endif
