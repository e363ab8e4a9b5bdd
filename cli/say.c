/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages to the user. Words that came from outside (arguments, file names, QEMU's own messages)
 * may hold anything: control characters are replaced, so that a message stays one line and cannot
 * drive the terminal.
 */
#include "cli/say.h"

#include <stdarg.h>
#include <stdio.h>

void say(const char *format, ...)
{
	char line[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	for (char *c = line; *c; c++) {
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	}
	fprintf(stderr, "postern: %s\n", line);
}
