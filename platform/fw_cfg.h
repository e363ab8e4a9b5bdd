/* SPDX-License-Identifier: BSD-2-Clause */
/* QEMU's firmware configuration device, the part that tells a guest what machine it is on. */
#ifndef PLATFORM_FW_CFG_H
#define PLATFORM_FW_CFG_H

#include "postern/sync.h"

struct vm;

#define FW_CFG_PORT 0x510 /* selector, 16 bits; data, bytes, at 511h */

/* Room for the longest item. */
#define FW_CFG_ITEM_SIZE 512

struct fw_cfg {
	struct spinlock lock;
	struct vm *vm;             /* (i) */
	u16 selector;              /* [lock] */
	u32 offset;                /* [lock] bytes of the item already read */
	u32 size;                  /* [lock] of the selected item; 0: there is no such item */
	u8 item[FW_CFG_ITEM_SIZE]; /* [lock] */
};

void fw_cfg_init(struct fw_cfg *fw_cfg, struct vm *vm);

#endif
