/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The emulator of a run: its temporary directory, its process, its channels. What QEMU and Bochs do
 * differently is in their kinds (cli/qemu.c, cli/bochs.c); everyone else knows this interface alone.
 */
#ifndef CLI_EMULATOR_H
#define CLI_EMULATOR_H

#include <limits.h>
#include <sys/types.h>

#include "cli/options.h"
#include "cli/status.h"

struct emulator;

/* Functions that return a status: STATUS_OK, or another with one line printed. */
struct emulator_kind {
	const char *name; /* as users know it */
	u64 grace_ns;     /* from asking the image for the end to killing the emulator */
	u64 exit_ns;      /* from the image's last word to that */
	bool drops_input; /* what is written before the image listens is lost */

	/* Is it there, and fit for these options? Asked before anything else is made. */
	enum status (*check)(const struct options *options);
	/* Fill the directory, open the channels. */
	enum status (*prepare)(struct emulator *emulator, const struct options *options);
	/* Start it in the directory. */
	enum status (*start)(struct emulator *emulator, const struct options *options);
	/* Of what it has printed, ended by 0, the line that tells why it has ended. */
	char *(*why)(char *printed);
};

extern const struct emulator_kind emulator_qemu, emulator_bochs;

struct emulator {
	const struct emulator_kind *kind;
	char dir[PATH_MAX]; /* temporary; "" when there is none */
	pid_t pid;          /* 0: not started or reaped */
	int console_in;     /* all are -1 when not open; non-blocking */
	int console_out;
	int command_in;     /* REPORT_CMD_* to the image */
	int command_out;    /* records by way of the second serial line */
	int records;        /* records by way of the debug console */
	int errors;         /* what the emulator itself prints */
	char printed[2048]; /* the end of that */
	size_t printed_len;
	int wait_status; /* once pid is 0 again */
};

/* Nothing open, nothing running. */
#define EMULATOR_NONE                                                                              \
	((struct emulator){.console_in = -1,                                                       \
	                   .console_out = -1,                                                      \
	                   .command_in = -1,                                                       \
	                   .command_out = -1,                                                      \
	                   .records = -1,                                                          \
	                   .errors = -1})

/* The one that has the processors which the options name. */
const struct emulator_kind *emulator_for(const struct options *options);

/* The kind's check(), then with `emulator` of that kind: make the directory and what is in it, start. */
enum status emulator_prepare(struct emulator *emulator, const struct options *options);
enum status emulator_start(struct emulator *emulator, const struct options *options);

/* Keep what it has printed. */
void emulator_read_errors(struct emulator *emulator);

/* The line that tells why it has ended, without its own name; "" if none. Overwritten by the next call. */
const char *emulator_last_error(struct emulator *emulator);

/* Has it ended? Reaps it. */
bool emulator_has_ended(struct emulator *emulator);
void emulator_kill(struct emulator *emulator);

/* Kill and reap what still runs, close everything, remove the directory. Safe on EMULATOR_NONE too. */
void emulator_cleanup(struct emulator *emulator);

/* --- for the kinds --- */

/* "cannot WHAT: " and errno. */
enum status emulator_fail(const char *what);

/* Make a named pipe in the directory and open it; -1 with errno. */
int emulator_open_pipe(const struct emulator *emulator, const char *name, int flags);

/*
 * Start `arg` in the directory. Its standard output goes to `out`, or to `errors` if that is -1. *error: the
 * errno with which it could not be executed, 0 if it was.
 */
enum status emulator_exec(struct emulator *emulator, const char *const *arg, int out, int *error);

/* The last line of a text. */
char *emulator_last_line(char *text);

#endif
