/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two other ways to count windows, with the interface of irq/irq_window.h, for tests and figures:
 *
 *   naive    the lock is taken exclusively at each open and close. Right, and what it costs is the reason
 *            for irq/irq_window.c.
 *   sketch   the fix as it was first published: counts under the lock held shared, decides by what it saw
 *            there, and changes the mask under a second hold. Wrong: in between another vCPU counts a second
 *            window, leaves the mask to the first, and enters with its window ignored.
 */
#ifndef TESTS_RACE_IRQ_WINDOW_VARIANTS_H
#define TESTS_RACE_IRQ_WINDOW_VARIANTS_H

struct vcpu;

void irq_window_naive_open(struct vcpu *vcpu);
void irq_window_naive_close(struct vcpu *vcpu);

void irq_window_sketch_open(struct vcpu *vcpu);
void irq_window_sketch_close(struct vcpu *vcpu);

#endif
