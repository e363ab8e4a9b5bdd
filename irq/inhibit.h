/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef IRQ_INHIBIT_H
#define IRQ_INHIBIT_H

#include "postern/inhibits.h"

struct vm;

/*
 * A reason of scope VM begins or ends to stand; to set one that stands, or to clear one that does not,
 * does nothing. When it returns no vCPU runs by the old mask. Any processor, outside of any guest,
 * interrupts open; no lock is held that a vCPU might wait for on its way out of the guest or in
 * vcpu_handle_requests().
 */
void inhibit_set(struct vm *vm, enum inhibit_reason reason);
void inhibit_clear(struct vm *vm, enum inhibit_reason reason);
/* It stands. Any processor; a snapshot. */
bool inhibit_stands(const struct vm *vm, enum inhibit_reason reason);

#endif
