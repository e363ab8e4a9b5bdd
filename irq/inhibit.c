/* SPDX-License-Identifier: BSD-2-Clause */
/* See inhibit.h. */
#include "irq/inhibit.h"

#include "core/vm.h"

void inhibit_set(struct vm *vm, enum inhibit_reason reason)
{
	atomic32_fetch_or(&vm->inhibits, BIT(reason));
}

void inhibit_clear(struct vm *vm, enum inhibit_reason reason)
{
	atomic32_fetch_and(&vm->inhibits, ~BIT(reason));
}

bool inhibit_stands(const struct vm *vm, enum inhibit_reason reason)
{
	return atomic32_read(&vm->inhibits) & BIT(reason);
}
