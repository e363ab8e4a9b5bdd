/* SPDX-License-Identifier: BSD-2-Clause */
/* One QEMU: its temporary directory, its command line, its process, its channels. */
#ifndef CLI_QEMU_H
#define CLI_QEMU_H

#include <limits.h>
#include <sys/types.h>

#include "cli/options.h"
#include "cli/status.h"

struct qemu {
	char dir[PATH_MAX]; /* temporary; "" when there is none */
	pid_t pid;          /* 0: not started or reaped */
	int console_in;     /* all are -1 when not open; non-blocking */
	int console_out;
	int command_in;     /* REPORT_CMD_* to the image */
	int command_out;    /* records by way of the second serial line */
	int records;        /* records by way of the debug console */
	int errors;         /* what QEMU itself prints */
	char printed[2048]; /* the end of that */
	size_t printed_len;
	int wait_status; /* once pid is 0 again */
};

/* Nothing open, nothing running. */
#define QEMU_NONE                                                                                  \
	((struct qemu){.console_in = -1,                                                           \
	               .console_out = -1,                                                          \
	               .command_in = -1,                                                           \
	               .command_out = -1,                                                          \
	               .records = -1,                                                              \
	               .errors = -1})

/* Make the directory and the files in it; `qemu` was QEMU_NONE. STATUS_OK, or another with one line
 * printed. */
enum status qemu_prepare(struct qemu *qemu, const struct options *options);

/* Ask it for its version. STATUS_OK if that will do, or another with one line printed. */
enum status qemu_check_version(void);

/*
 * The emulator by a name that still holds in another directory; NULL with errno: no such file.
 * `wanted` is the name as the user knows it.
 */
const char *qemu_find(char path[PATH_MAX], const char **wanted);
/* Say so; `error` is the errno that exec gave. */
enum status qemu_cannot_start(const char *wanted, int error);

/* Start it. STATUS_OK, or another with one line printed. */
enum status qemu_start(struct qemu *qemu, const struct options *options);

/* Keep what QEMU has printed. */
void qemu_read_errors(struct qemu *qemu);

/* The last line that QEMU has printed, without its own name; "" if none. Overwritten by the next
 * call. */
const char *qemu_last_error(struct qemu *qemu);

/* Has it ended? Reaps it. */
bool qemu_has_ended(struct qemu *qemu);
void qemu_kill(struct qemu *qemu);

/* Kill and reap what still runs, close everything, remove the directory. Safe on QEMU_NONE too. */
void qemu_cleanup(struct qemu *qemu);

#endif
