/* SPDX-License-Identifier: BSD-2-Clause */
/* A vCPU's registers as gdb numbers and describes them. */
#ifndef CLI_GDB_REGS_H
#define CLI_GDB_REGS_H

#include <stddef.h>

#include "postern/debug.h"

#define GDB_REGS      69
#define GDB_REG_BYTES 16 /* of the widest */

/* The target description, NUL-terminated. */
const char *gdb_regs_xml(void);
/* Bytes of register `n` (below GDB_REGS). */
size_t gdb_reg_size(unsigned int n);
void gdb_reg_get(const struct debug_regs *regs, unsigned int n, unsigned char *to);
/* false: it cannot be written and has another value. */
bool gdb_reg_set(struct debug_regs *regs, unsigned int n, const unsigned char *from);

#endif
