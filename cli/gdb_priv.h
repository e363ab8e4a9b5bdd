/* SPDX-License-Identifier: BSD-2-Clause */
/* Between cli/gdb_rsp.c and cli/gdb_query.c. */
#ifndef CLI_GDB_PRIV_H
#define CLI_GDB_PRIV_H

#include "cli/gdb_rsp.h"

#define RSP_NONE (~0u)

enum errors {
	ERROR_REFUSED = 0x01,
	ERROR_FAULT = 0x0e,
	ERROR_BAD = 0x16,
	ERROR_FULL = 0x1c,
};

/* --- replies --- */
void rsp_reply(struct rsp *rsp, const char *format, ...) __printf(2, 3);
void rsp_reply_bytes(struct rsp *rsp, const char *text, size_t len);
void rsp_reply_error(struct rsp *rsp, unsigned int error);
void rsp_reply_hex(struct rsp *rsp, const u8 *data, size_t len);

/* --- reading a packet: *text moves behind what is there --- */
/* A hexadecimal number of 1 to 16 digits. */
bool rsp_take_number(const char **text, u64 *value);
bool rsp_take_char(const char **text, char c);
/* A thread's ID: the vCPU; RSP_NONE for any or all (0, -1). */
bool rsp_take_thread(struct rsp *rsp, const char **text, u32 *vcpu);
/* What stands behind the prefix; NULL: the text begins otherwise. */
const char *rsp_behind(const char *text, const char *prefix);

/* The chosen thread's registers are there. false: the packet is held or answered. */
bool rsp_has_regs(struct rsp *rsp);

/* q and Q packets, and those that choose or ask about threads. */
void rsp_query(struct rsp *rsp, const char *text);
void rsp_choose_thread(struct rsp *rsp, const char *text);
void rsp_is_alive(struct rsp *rsp, const char *text);

#endif
