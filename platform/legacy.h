/* SPDX-License-Identifier: BSD-2-Clause */
/* Ports that PC software writes out of habit: the 8237 pair, its page registers, port 80h. */
#ifndef PLATFORM_LEGACY_H
#define PLATFORM_LEGACY_H

#include "postern/sync.h"

struct vm;

#define LEGACY_PAGES 16

struct legacy {
	struct atomic32 page[LEGACY_PAGES]; /* [a] ports 80h to 8Fh; one byte each */
};

void legacy_init(struct legacy *legacy, struct vm *vm);

#endif
