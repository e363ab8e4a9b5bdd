/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages to the user. Words that came from outside (arguments, file names, QEMU's own messages)
 * may hold anything: control characters are replaced, so that a message stays one line and cannot
 * drive the terminal.
 */
#include "cli/say.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Of a longer line its beginning, which says what, and its end, which says why. */
#define LINE_SHOWN 1000

void say(const char *format, ...)
{
	char line[PATH_MAX + 1024]; /* any file's name, and the reason behind it */
	int len;
	va_list args;

	va_start(args, format);
	len = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	for (char *c = line; *c; c++) {
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	}
	if (len < LINE_SHOWN)
		fprintf(stderr, "postern: %s\n", line);
	else
		fprintf(stderr, "postern: %.*s...%s\n", LINE_SHOWN / 2, line,
		        line + strlen(line) - LINE_SHOWN / 2);
}
