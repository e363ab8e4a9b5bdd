/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the host command asks for while the guests run: settings of RUNTIME_SETTINGS, accounts. Frames of
 * postern/report.h, byte by byte. Boot processor's housekeeping only.
 */
#ifndef CORE_COMMAND_H
#define CORE_COMMAND_H

#include "postern/report.h"

struct machine;

/* The frame under way. */
struct command_frame {
	u8 byte[sizeof(struct report_ask) + REPORT_ASK_TEXT + 1];
	u32 have;  /* bytes of it */
	u8 sum;    /* of all of them, and of what began it */
	bool open; /* it has begun */
};

/*
 * The next byte from the host command; a frame that it completes is obeyed and answered. false: it belongs
 * to none. Outside of any guest, no locks held.
 */
bool command_take(struct machine *machine, u8 byte);

#endif
