/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Lines wait as text ended by '\n'. A byte of a guest's can become no more than LINES_WORST bytes
 * here: a line end that is all there is of its line, and the name before it.
 */
#include "cli/lines.h"

#include <stdio.h>
#include <string.h>

#define LINES_NAME  "[vm%u] "
#define LINES_WORST 8

static void end_line(struct lines *lines, u32 vm)
{
	char name[16];
	size_t n = (size_t)snprintf(name, sizeof(name), LINES_NAME, vm);

	memcpy(lines->ready + lines->len, name, n);
	lines->len += n;
	memcpy(lines->ready + lines->len, lines->vm[vm].text, lines->vm[vm].len);
	lines->len += lines->vm[vm].len;
	lines->ready[lines->len++] = '\n';
	lines->vm[vm].len = 0;
}

static bool is_control(u8 byte)
{
	return (byte < ' ' && byte != '\t') || byte == 0x7f;
}

void lines_feed(struct lines *lines, u32 vm, const u8 *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (data[i] == '\n') {
			end_line(lines, vm);
			continue;
		}
		if (data[i] == '\r')
			continue;
		if (lines->vm[vm].len == LINES_MAX)
			end_line(lines, vm);
		lines->vm[vm].text[lines->vm[vm].len++] = is_control(data[i]) ? '?' : (char)data[i];
	}
}

bool lines_have_room(const struct lines *lines, size_t len)
{
	size_t most = len * LINES_WORST + MAX_VMS * (LINES_MAX + LINES_WORST);

	return most <= sizeof(lines->ready) - lines->len;
}

void lines_end(struct lines *lines)
{
	for (u32 vm = 0; vm < MAX_VMS; vm++)
		if (lines->vm[vm].len > 0)
			end_line(lines, vm);
}

size_t lines_take(struct lines *lines, u8 *to, size_t size, const char *end)
{
	size_t from = 0, at = 0, more = strlen(end);

	while (from < lines->len) {
		const char *line = lines->ready + from;
		size_t n = (size_t)((const char *)memchr(line, '\n', lines->len - from) - line);

		if (n + more > size - at)
			break;
		memcpy(to + at, line, n);
		memcpy(to + at + n, end, more);
		at += n + more;
		from += n + 1;
	}
	lines->len -= from;
	memmove(lines->ready, lines->ready + from, lines->len);
	return at;
}
