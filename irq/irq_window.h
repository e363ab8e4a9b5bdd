/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Interrupt windows as a reason for which acceleration is off (requirement S0), on back ends that need
 * IRQWIN: SVM makes a window of V_IRQ, which a processor whose AVIC is active ignores (APM volume 2, "Advanced
 * Virtual Interrupt Controller").
 *
 * One count per VM, one flag per vCPU; count = number of flags set. IRQWIN is in the mask if the count is
 * not 0; it is brought up to date whenever the mask is changed for any reason. A window brings that about by
 * itself only if it takes the count from 0 to 1 or back and no other reason stands:
 *
 *      a window                               another reason comes or goes
 *      --------                               ----------------------------
 *      1 lock shared                          a lock exclusively
 *      2 another reason stands, or the        b mask = that, and IRQWIN by the count
 *        count stays above 0?                 c unlock
 *      3 yes: count; unlock. Done.
 *      4 no: unlock, lock exclusively,
 *        count and mask, unlock
 *
 * Either 2 sees that nothing stands and goes on to 4, or b sees what 3 has counted. At 4 the count and the
 * mask change under one hold: a second vCPU that counts in between would not find its window in the mask.
 */
#ifndef IRQ_IRQ_WINDOW_H
#define IRQ_IRQ_WINDOW_H

#include "postern/types.h"

struct vcpu;

/*
 * The vCPU needs a window, or has an ExtINT to inject, which needs the same. Counts if its VM may be
 * accelerated at all, it has no reason of its own to be unaccelerated, and it is not counted yet. It is not
 * yet unaccelerated when this returns: a request says so. Own processor, interrupts open, no locks held.
 */
void irq_window_open(struct vcpu *vcpu);
/* It needs none any more, for whatever reason: undo what its irq_window_open() did. As above. */
void irq_window_close(struct vcpu *vcpu);

#endif
