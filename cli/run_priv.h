/* SPDX-License-Identifier: BSD-2-Clause */
/* What the run and its judgement share: cli/run.c, cli/judge.c, and nobody else. */
#ifndef CLI_RUN_PRIV_H
#define CLI_RUN_PRIV_H

#include <poll.h>
#include <signal.h>

#include "cli/channel.h"
#include "cli/console.h"
#include "cli/control.h"
#include "cli/emulator.h"
#include "cli/gdb.h"
#include "cli/json.h"
#include "cli/lines.h"
#include "cli/outcome.h"
#include "cli/report.h"
#include "cli/run.h"

#define CONSOLE_BUFFER_SIZE 4096 /* PIPE_BUF: never blocks when poll() says it can be written */

enum {
	SIGNALS,
	GUEST_OUT,
	STDOUT,
	RECORDS,
	COMMANDS,
	ERRORS,
	STDIN,
	GUEST_IN,
	GDB,
	CONTROL, /* and those behind it */
	SLOTS = CONTROL + CONTROL_SLOTS
};

struct run {
	const struct options *options;
	struct emulator emulator;
	struct console console;
	struct report report;
	struct channel channel[2]; /* debug console, second serial line */
	struct json_file json;
	struct control control;
	struct gdb gdb;
	int signals;
	sigset_t signals_before;
	struct pollfd slot[SLOTS];

	u8 out[CONSOLE_BUFFER_SIZE]; /* from the guests, not yet written */
	size_t out_len;
	struct lines lines;         /* from the VMs behind the first */
	u8 in[CONSOLE_BUFFER_SIZE]; /* to the guest, not yet written */
	size_t in_len;
	bool out_failed; /* nobody reads the standard output */
	int out_errno;
	int log_errno; /* 0: all messages could be written */

	char asked; /* REPORT_CMD_TIMEOUT, REPORT_CMD_INTERRUPT; 0: nothing */
	u64 start;
	u64 ask_at;
	u64 kill_at;
	u64 sample_at;
	u64 output_at; /* last guest output */
	u64 status_at;

	u64 rate; /* exits per second */
	u64 rate_at;
	u64 rate_exits;
	/* Of the log: the last error, as long as there is none the last line. */
	char last_log[512];
};

/* The image marks a line of its log so: what went wrong. */
bool judge_is_error(const char *text);
/* The image has started no guest; *refusal: enum report_refusal. */
bool judge_is_refused(const struct run *run, s32 *refusal);
/* How it went, once the emulator is gone and the pipes are empty. Says what is to be said. */
void judge_run(struct run *run, struct outcome *outcome);

#endif
