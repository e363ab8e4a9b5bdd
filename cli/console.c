/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The terminal.
 *
 * Input: raw mode, so that every key but Ctrl-A goes to the guest. The terminal's modes are changed
 * only by a process that is in the terminal's foreground, and given back by console_close(), also
 * from atexit().
 *
 * The status line lies in the last row, whatever the guest does: before it is drawn the cursor is
 * moved down and up once, which scrolls by one row exactly when the cursor was in the last row.
 * Nothing but VT100 sequences: ESC D (index), ESC 7 and ESC 8 (save, restore), cursor movement,
 * erasing. It is drawn only while the guest is silent, and erased before the guest's next byte.
 */
#include "cli/console.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY_ESCAPE 0x01 /* Ctrl-A */

/* For atexit(), which passes no argument. There is one terminal. */
static struct console *console_to_close;

static void close_at_exit(void)
{
	if (console_to_close)
		console_close(console_to_close);
}

static void enter_raw(struct console *console)
{
	struct termios raw = console->saved;

	cfmakeraw(&raw);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	console->raw = tcsetattr(0, TCSADRAIN, &raw) == 0;
}

static bool streams_are_one(void)
{
	struct stat out, err;

	return fstat(1, &out) == 0 && fstat(2, &err) == 0 && out.st_dev == err.st_dev &&
	       out.st_ino == err.st_ino;
}

void console_open(struct console *console, bool wants_status)
{
	static bool registered;

	*console = (struct console){.reads = true, .mixes = streams_are_one()};
	console->shows_status = wants_status && isatty(2);
	if (!isatty(0))
		return;
	/* In the background the terminal belongs to somebody else: touching it would stop us. */
	if (tcgetpgrp(0) != getpgrp() || tcgetattr(0, &console->saved) != 0) {
		console->reads = false;
		console->shows_status = false;
		return;
	}
	console->escapes = true;
	console_to_close = console;
	if (!registered)
		registered = atexit(close_at_exit) == 0;
	enter_raw(console);
}

void console_close(struct console *console)
{
	console_erase_status(console);
	if (console->raw)
		tcsetattr(0, TCSADRAIN, &console->saved);
	console->raw = false;
	console->shows_status = false;
	if (console_to_close == console)
		console_to_close = NULL;
}

void console_resume(struct console *console)
{
	if (console->raw && tcgetpgrp(0) == getpgrp())
		enter_raw(console);
	console->status_drawn = false;
}

bool console_filter(struct console *console, const u8 *in, size_t len, u8 *out, size_t *out_len)
{
	size_t n = 0;
	bool ends = false;

	for (size_t i = 0; i < len && !ends; i++) {
		if (!console->escapes) {
			out[n++] = in[i];
		} else if (!console->after_escape) {
			console->after_escape = in[i] == KEY_ESCAPE;
			if (!console->after_escape)
				out[n++] = in[i];
		} else {
			/* Any other key after Ctrl-A does nothing, so that a slip does no harm. */
			console->after_escape = false;
			ends = in[i] == 'x' || in[i] == 'X';
			if (in[i] == KEY_ESCAPE)
				out[n++] = KEY_ESCAPE;
		}
	}
	*out_len = n;
	return ends;
}

void console_note_output(struct console *console, const u8 *data, size_t len)
{
	console_erase_status(console);
	if (len > 0)
		console->in_line = data[len - 1] != '\n';
}

/* One write: a status line that is half drawn when the guest speaks would stay on the screen. */
static void put(const char *text)
{
	size_t len = strlen(text);

	while (len > 0) {
		ssize_t n = write(2, text, len);

		if (n <= 0)
			return;
		text += n;
		len -= (size_t)n;
	}
}

void console_draw_status(struct console *console, const char *text)
{
	struct winsize size = {0};
	char line[512];
	int width = 79;

	if (!console->shows_status)
		return;
	if (ioctl(2, TIOCGWINSZ, &size) == 0 && size.ws_col > 1)
		width = size.ws_col - 1;
	if (width > 250)
		width = 250;
	snprintf(line, sizeof(line), "%s\0337\033[999;1H\033[7m%.*s\033[0m\033[K\0338",
	         console->status_drawn ? "" : "\033D\033[A", width, text);
	put(line);
	console->status_drawn = true;
}

void console_erase_status(struct console *console)
{
	if (console->status_drawn)
		put("\0337\033[999;1H\033[2K\0338");
	console->status_drawn = false;
}

bool console_say(struct console *console, const char *text)
{
	const char *end = console->raw ? "\r\n" : "\n";
	bool breaks = console->mixes && console->in_line;
	bool ok;

	console_erase_status(console);
	ok = fprintf(stderr, "%spostern: %s%s", breaks ? end : "", text, end) >= 0;
	if (breaks)
		console->in_line = false;
	return ok;
}
