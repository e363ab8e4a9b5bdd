/* SPDX-License-Identifier: BSD-2-Clause */
/* QEMU's debug console at port 402h: what firmware says about itself goes to the hypervisor's log. */
#ifndef PLATFORM_DEBUGCON_H
#define PLATFORM_DEBUGCON_H

#include "postern/sync.h"

struct vm;

#define DEBUGCON_LINE 120

struct debugcon {
	struct spinlock lock;
	struct vm *vm;                /* (i) */
	u32 length;                   /* [lock] */
	char text[DEBUGCON_LINE + 1]; /* [lock] the line so far */
};

void debugcon_init(struct debugcon *debugcon, struct vm *vm);

#endif
