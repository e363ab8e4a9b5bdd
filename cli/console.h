/* SPDX-License-Identifier: BSD-2-Clause */
/* The user's side of the guest's console: terminal modes, escape keys, the status line. */
#ifndef CLI_CONSOLE_H
#define CLI_CONSOLE_H

#include <termios.h>

#include "postern/types.h"

struct console {
	bool reads;   /* standard input goes to the guest */
	bool escapes; /* it is a terminal: Ctrl-A means something */
	bool raw;
	struct termios saved;
	bool after_escape; /* the last key was Ctrl-A */
	bool shows_status; /* standard error is a terminal and a status line is wanted */
	bool status_drawn;
	bool mixes;   /* the standard output and error are one file, or one terminal */
	bool in_line; /* the guest's last byte did not end a line */
};

/* Look at the standard streams; enter raw mode if the input is a terminal that is ours to use. */
void console_open(struct console *console, bool wants_status);
/* Erase the status line, give the terminal back as it was. Safe to repeat. */
void console_close(struct console *console);
/* Raw mode again after the process was stopped and continued. */
void console_resume(struct console *console);

/*
 * What of the typed `in` goes to the guest: up to `len` bytes to `out`. true: Ctrl-A X was typed.
 */
bool console_filter(struct console *console, const u8 *in, size_t len, u8 *out, size_t *out_len);

/* Guest output: note before writing that it comes; erases the status line. */
void console_note_output(struct console *console, const u8 *data, size_t len);

/* Draw the status line in the terminal's last row; `text` is cut to the terminal's width. */
void console_draw_status(struct console *console, const char *text);
void console_erase_status(struct console *console);

/* A line of the hypervisor's own on standard error, clear of the guest's output. false, with errno: it
 * could not be written. */
bool console_say(struct console *console, const char *text);

#endif
