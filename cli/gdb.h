/* SPDX-License-Identifier: BSD-2-Clause */
/* gdb at a port of this machine: cli/gdb.c. */
#ifndef CLI_GDB_H
#define CLI_GDB_H

#include <poll.h>

#include "cli/gdb_rsp.h"
#include "cli/status.h"

struct gdb {
	int listener, client; /* -1: none */
	struct rsp rsp;
	u8 in[RSP_PACKET]; /* from gdb, not yet taken */
	size_t in_len;
};

#define GDB_NONE ((struct gdb){.listener = -1, .client = -1})

/* Listen at the port, on 127.0.0.1 only. STATUS_OK, or another with one line printed. */
enum status gdb_listen(struct gdb *gdb, u32 port, u32 vcpus, const struct rsp_user *user);
/* What to wait for. `ready`: the image listens. */
struct pollfd gdb_watch(const struct gdb *gdb);
void gdb_work(struct gdb *gdb, bool ready);
/* Close everything, with what gdb is still to be told written if it reads. */
void gdb_end(struct gdb *gdb);

#endif
