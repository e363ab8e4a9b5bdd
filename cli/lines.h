/* SPDX-License-Identifier: BSD-2-Clause */
/* The consoles of the VMs behind the first: whole lines, each with its VM's name before it. */
#ifndef CLI_LINES_H
#define CLI_LINES_H

#include "postern/settings.h"
#include "postern/types.h"

#define LINES_MAX    1000 /* of a line: a longer one is broken */
#define LINES_BUFFER (256u << 10)

struct lines {
	char ready[LINES_BUFFER]; /* whole lines, not yet written */
	size_t len;
	struct {
		char text[LINES_MAX];
		size_t len;
	} vm[MAX_VMS]; /* a line that has begun */
};

/*
 * Bytes that a VM has printed. Carriage returns go, other control characters but tabs become '?', so
 * that no VM can write where another's words stand. Needs lines_have_room().
 */
void lines_feed(struct lines *lines, u32 vm, const u8 *data, size_t len);

/* There is room for what `len` bytes of one or several feeds can become. */
bool lines_have_room(const struct lines *lines, size_t len);

/* Nothing more will come: what has begun is a line, too. */
void lines_end(struct lines *lines);

/* Move whole lines, as many as fit, to `to`. Returns their bytes. `end` ends them: "\n", "\r\n". */
size_t lines_take(struct lines *lines, u8 *to, size_t size, const char *end);

#endif
