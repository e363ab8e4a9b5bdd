/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control socket of a run (`postern run --control PATH`): lines of text from any number of programs,
 * one after another or several at a time, answered in order (docs/control.md). Driven by the run's loop.
 */
#ifndef CLI_CONTROL_H
#define CLI_CONTROL_H

#include <poll.h>
#include <sys/types.h>

#include "cli/options.h"
#include "cli/outcome.h"
#include "cli/status.h"
#include "postern/report.h"

#define CONTROL_CLIENTS 8
#define CONTROL_SLOTS   (CONTROL_CLIENTS + 1)
#define CONTROL_LINE    160 /* bytes of a line at most, without its end */

/* What the image is asked for by one line. */
struct control_ask {
	u8 vm;
	char text[REPORT_ASK_TEXT + 1]; /* "": the account */
};

struct control_client {
	int fd;                  /* -1: none */
	char line[CONTROL_LINE]; /* what has come of a line */
	size_t line_len;
	bool waits; /* its `ask` is not answered */
	struct control_ask ask;
	char *out; /* the answer, allocated; NULL: nothing to write */
	size_t out_len, out_at;
	bool closes; /* once that is written */
	u64 since;   /* when something last came or went */
};

struct control {
	const char *path; /* NULL: there is no socket */
	int fd;           /* -1 when not open */
	dev_t dev;        /* of the socket in the file system */
	ino_t ino;
	struct control_client client[CONTROL_CLIENTS];
	u32 turn;     /* whose question is next */
	int asking;   /* the client whose question the image has; -1: none, -2: one that is gone */
	u16 sequence; /* of that question */
	u64 give_up;  /* when it counts as not answered */
};

/* Nothing open. */
void control_init(struct control *control);

/* path may be NULL. Anything but STATUS_OK: one line has been printed. */
enum status control_open(struct control *control, const char *path);

/* Fill CONTROL_SLOTS of poll(). Returns when something is due by time. */
u64 control_watch(const struct control *control, struct pollfd *slots);

/*
 * What poll() has found, and what is due by time. Questions go to `image`, a pipe, and what it has said is
 * in outcome->report.
 */
void control_serve(struct control *control, const struct pollfd *slots, int image,
                   const struct outcome *outcome, u64 now);

/* The run is over: whoever waits is told so, the socket is removed. Safe after control_init(), too. */
void control_close(struct control *control);

/* A line in. NULL: *ask is what to ask for; otherwise what is wrong with it. */
const char *control_parse(const char *line, u32 vms, struct control_ask *ask);

/* `postern control PATH COMMAND...`: returns the exit status. */
int control_command(int argc, char *argv[]);

#endif
