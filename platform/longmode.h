/* SPDX-License-Identifier: BSD-2-Clause */
/* Start vCPU 0 in 64-bit mode: what both loaders need. */
#ifndef PLATFORM_LONGMODE_H
#define PLATFORM_LONGMODE_H

#include "postern/types.h"

struct vm;

/* Selectors of the boot GDT, as the Linux boot protocol names them. */
#define LONGMODE_CS 0x10
#define LONGMODE_DS 0x18

/*
 * Write the boot GDT and an identity map of the first 4 GiB into guest memory and give vCPU 0 the
 * state of 64-bit code at `rip`, interrupts off. General registers: the caller's. The APICs
 * are handed over: irqchip_hand_over(). Before vm_start(). false: the VM has no memory there.
 */
bool longmode_start(struct vm *vm, u64 rip);

#endif
