/* SPDX-License-Identifier: BSD-2-Clause */
/* A keyboard controller without a keyboard (60h/64h), and system control port A (92h). */
#ifndef PLATFORM_KBD_H
#define PLATFORM_KBD_H

#include "postern/sync.h"

struct vm;

struct kbd {
	struct spinlock lock;
	struct vm *vm; /* (i) */
	/* All [lock]. */
	u8 command; /* command whose parameter is the next byte to port 60h, 0: none */
	u8 config;  /* controller configuration byte */
	u8 output;  /* the output buffer */
	bool full;  /* somebody has to read it */
	u8 port_a;
};

void kbd_init(struct kbd *kbd, struct vm *vm);

#endif
