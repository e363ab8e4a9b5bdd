/* SPDX-License-Identifier: BSD-2-Clause */
/* Finds the records of postern/report.h in a stream of bytes. */
#ifndef CLI_CHANNEL_H
#define CLI_CHANNEL_H

#include "postern/debug.h"
#include "postern/report.h"

/*
 * Take one record of h->len payload bytes. false: this cannot be a record after all (the bytes only
 * looked like one); the search goes on inside it.
 */
typedef bool (*channel_take_fn)(void *context, const struct report_header *h, const u8 *payload);

struct channel {
	u8 buffer[sizeof(struct report_header) + REPORT_MAX_LEN];
	size_t fill;
	u64 skipped; /* bytes that belonged to no record */
	channel_take_fn take;
	void *context;
};

void channel_init(struct channel *channel, channel_take_fn take, void *context);

/* Feed what has arrived, in pieces of any size; calls take() for each record found. */
void channel_feed(struct channel *channel, const void *data, size_t len);

/* Nothing more will come: look for complete records behind an incomplete one. */
void channel_end(struct channel *channel);

#endif
