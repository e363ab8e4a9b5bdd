/* SPDX-License-Identifier: BSD-2-Clause */
/* A stream of records under construction, for tests. */
#ifndef TESTS_CLI_STREAM_H
#define TESTS_CLI_STREAM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "postern/report.h"

struct stream {
	u8 bytes[65536];
	size_t len;
};

static inline void stream_raw(struct stream *s, const void *data, size_t len)
{
	assert_true(s->len + len <= sizeof(s->bytes));
	memcpy(s->bytes + s->len, data, len);
	s->len += len;
}

static inline void stream_record(struct stream *s, u8 type, const void *payload, size_t len)
{
	struct report_header h = {.magic = REPORT_MAGIC, .type = type, .len = (u16)len};

	stream_raw(s, &h, sizeof(h));
	stream_raw(s, payload, len);
}

static inline void stream_end(struct stream *s, u8 ended, s32 code)
{
	struct report_end e = {.ended = ended, .code = code, .elapsed_ns = 77};

	stream_record(s, REPORT_END, &e, sizeof(e));
}

#endif
