/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Record framing. The stream may start in the middle of a record, may carry firmware's or a dying
 * image's stray bytes, and may stop anywhere. The rules:
 *   - bytes are skipped one at a time until they read as a plausible header;
 *   - a header is plausible when magic, type and the length that its type demands agree;
 *   - what take() refuses is skipped by one byte as well, so that a false header never hides the
 *     true record inside what it claimed;
 *   - the rest of an incomplete CONSOLE record is the guest's words, and not searched for records;
 *   - the buffer holds the longest record, so a full buffer always makes progress.
 */
#include "cli/channel.h"

#include <string.h>

void channel_init(struct channel *channel, channel_take_fn take, void *context)
{
	memset(channel, 0, sizeof(*channel));
	channel->take = take;
	channel->context = context;
}

static bool header_plausible(const struct report_header *h)
{
	if (h->magic != REPORT_MAGIC || h->len > REPORT_MAX_LEN)
		return false;
	switch (h->type) {
	case REPORT_HELLO:
		return h->len == sizeof(struct report_hello);
	case REPORT_STATUS:
		return h->len == sizeof(struct report_status);
	case REPORT_END:
		return h->len == sizeof(struct report_end);
	case REPORT_ACCOUNT:
		return h->len >= sizeof(struct report_account) &&
		       (h->len - sizeof(struct report_account)) % sizeof(struct report_item) == 0;
	case REPORT_ANSWER:
		return h->len >= sizeof(struct report_answer) &&
		       h->len - sizeof(struct report_answer) <= REPORT_ASK_TEXT;
	case REPORT_APICV:
		return h->len == sizeof(struct report_apicv);
	case REPORT_INHIBITS:
		return h->len >= sizeof(struct report_inhibits) &&
		       (h->len - sizeof(struct report_inhibits)) % sizeof(struct report_inhibit) ==
		               0;
	case REPORT_LOG:
	case REPORT_PANIC:
		return true;
	case REPORT_DEBUG:
		return h->len >= sizeof(struct report_debug);
	case REPORT_CONSOLE:
		return h->vm != 0;
	default:
		return false;
	}
}

/* How many bytes at `pos` are done with; 0: more must arrive first. */
static size_t channel_step(struct channel *channel, size_t pos, bool last, bool *taken)
{
	const u8 *at = channel->buffer + pos;
	size_t avail = channel->fill - pos;
	size_t incomplete = last ? 1 : 0;
	struct report_header h;
	const u8 *next;

	if (avail == 0)
		return 0;
	next = memchr(at, REPORT_MAGIC & 0xff, avail);
	if (next != at)
		return next ? (size_t)(next - at) : avail;
	if (avail < sizeof(h))
		return incomplete;
	memcpy(&h, at, sizeof(h));
	if (!header_plausible(&h))
		return 1;
	if (avail < sizeof(h) + h.len)
		return last && h.type == REPORT_CONSOLE ? avail : incomplete;
	if (!channel->take(channel->context, &h, at + sizeof(h)))
		return 1;
	*taken = true;
	return sizeof(h) + h.len;
}

static void channel_scan(struct channel *channel, bool last)
{
	size_t pos = 0;
	size_t n;

	for (;;) {
		bool taken = false;

		n = channel_step(channel, pos, last, &taken);
		if (n == 0)
			break;
		pos += n;
		if (!taken)
			channel->skipped += n;
	}
	channel->fill -= pos;
	memmove(channel->buffer, channel->buffer + pos, channel->fill);
}

void channel_feed(struct channel *channel, const void *data, size_t len)
{
	const u8 *from = data;

	while (len > 0) {
		size_t room = sizeof(channel->buffer) - channel->fill;
		size_t n = len < room ? len : room;

		memcpy(channel->buffer + channel->fill, from, n);
		channel->fill += n;
		from += n;
		len -= n;
		channel_scan(channel, false);
	}
}

void channel_end(struct channel *channel)
{
	channel_scan(channel, true);
}
