/* SPDX-License-Identifier: BSD-2-Clause */
/* QEMU's pc-testdev: interrupt lines by port, a port and memory that remember. */
#ifndef PLATFORM_TESTDEV_H
#define PLATFORM_TESTDEV_H

#include "postern/sync.h"

struct vm;

#define TESTDEV_ECHO_PORT   0xe0   /* 4 bytes, keep what is written */
#define TESTDEV_FLUSH_PORT  0xe4   /* guest-physical address of a page to unmap and map again */
#define TESTDEV_LINES_PORT  0x2000 /* one port per line; bit 0 of a byte written is its level */
#define TESTDEV_LINES       24
#define TESTDEV_MEMORY      0xff000000ull
#define TESTDEV_MEMORY_SIZE 0x10000u

struct testdev {
	struct spinlock lock;
	struct vm *vm;  /* (i) */
	u8 echo[4];     /* [lock] */
	u32 line_state; /* [lock] levels, one bit each */
	u8 *memory;     /* (i) TESTDEV_MEMORY_SIZE bytes; the bytes: [lock] */
};

/* Only for VMs that ask for it (setting "testdev"). false: out of memory. */
bool testdev_init(struct testdev *testdev, struct vm *vm);
void testdev_destroy(struct testdev *testdev);

#endif
