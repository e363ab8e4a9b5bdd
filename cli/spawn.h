/* SPDX-License-Identifier: BSD-2-Clause */
/* Other programs: the emulator for as long as a run lasts, tools to their end. */
#ifndef CLI_SPAWN_H
#define CLI_SPAWN_H

#include <limits.h>
#include <sys/types.h>

#include "cli/status.h"
#include "postern/types.h"

struct spawn {
	const char *const *arg; /* arg[0] is what to start; NULL ends them */
	const char *dir;        /* where; NULL: here */
	int out, err;           /* its standard output and error. Its input is empty */
};

/*
 * Start it: in a process group of its own, and to be killed when this process ends. *error: 0, or the errno
 * with which it could not be executed; then there is no process. STATUS_OK, or another with one line printed.
 */
enum status spawn_start(const struct spawn *spawn, pid_t *pid, int *error);

/* How a tool has ended. */
struct spawn_end {
	int error;       /* as above; 0 */
	bool late;       /* it was killed, because it did not end in time */
	int wait_status; /* unless `error` */
	/* What it has printed: the beginning, and the last line. */
	char text[1024];
	char last[256];
};

/* Start a tool and wait for its end, for `limit_ms` at most. STATUS_OK, or another with one line printed. */
enum status spawn_tool(const char *const *arg, const char *dir, int limit_ms,
                       struct spawn_end *end);

/*
 * A program by a name that still holds in another directory: what the environment's `variable` says, or else
 * `usual`. NULL with errno: no such file. `wanted` is the name as the user knows it.
 */
const char *spawn_find(const char *variable, const char *usual, char path[PATH_MAX],
                       const char **wanted);

#endif
