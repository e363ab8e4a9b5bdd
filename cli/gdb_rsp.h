/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * gdb's remote serial protocol: bytes of gdb in, bytes for gdb and requests for the image out. No
 * sockets, no clock; cli/gdb.c has those. What it does with each packet: cli/gdb_rsp.c.
 */
#ifndef CLI_GDB_RSP_H
#define CLI_GDB_RSP_H

#include <stddef.h>

#include "postern/debug.h"

#define RSP_PACKET 2064 /* of gdb's, at most: DEBUG_MAX_DATA in hexadecimal, with an address */
#define RSP_OUT    16384

struct rsp_user {
	/* To the image. Its answer and what happens come by rsp_record(). */
	void (*request)(void *context, const struct debug_request *request, const void *data);
	void (*kill)(void *context); /* gdb wants the guest to end */
	void *context;
};

enum rsp_state {
	RSP_CLOSED,
	RSP_OPEN, /* gdb is there, the image has not been asked yet */
	RSP_RUNS, /* the guest does, or is about to stop */
	RSP_STOPPED,
	RSP_LEAVING, /* the image has been told to go on without us */
	RSP_OVER,    /* the guest is */
};

struct rsp {
	struct rsp_user user;
	u32 vcpus;
	enum rsp_state state;

	/* A packet as it comes in. */
	enum {
		RSP_BETWEEN,
		RSP_DATA,
		RSP_ESCAPED,
		RSP_SUM1,
		RSP_SUM2
	} at;
	char packet[RSP_PACKET + 1];
	size_t length;
	bool too_long;
	u8 sum, given;
	bool held;    /* it waits for the image: for a stop, or for what it was asked */
	bool no_ack;  /* agreed upon */
	bool listens; /* gdb waits for the guest to stop, or to be over */
	bool gone;    /* gdb has taken its leave: close when all is written */
	bool swbreak;

	struct debug_request asked; /* op 0: nothing */
	u16 sequence;
	struct debug_regs regs; /* of vCPU regs_of, while stopped */
	u32 regs_of;            /* none: ~0 */
	u32 thread;             /* the vCPU that registers and memory are asked of */
	u32 sstep;              /* RSP_SSTEP_* */
	u8 reason, stopped_by;
	u8 ending;
	s32 ending_code;

	u8 out[RSP_OUT];
	size_t out_len;
};

#define RSP_SSTEP_ENABLE  1u
#define RSP_SSTEP_NOIRQ   2u
#define RSP_SSTEP_NOTIMER 4u

void rsp_init(struct rsp *rsp, u32 vcpus, const struct rsp_user *user);
/* gdb has come. The image is asked to stop, at once or, unless it is `ready`, by rsp_ready(). */
void rsp_open(struct rsp *rsp, bool ready);
void rsp_ready(struct rsp *rsp);
/* Returns how much has been taken: the rest waits while a packet is held. */
size_t rsp_feed(struct rsp *rsp, const void *data, size_t len);
/* A REPORT_DEBUG record. */
void rsp_record(struct rsp *rsp, const struct report_debug *head, const u8 *data, size_t len);
/* gdb has gone, however: the guest goes on. */
void rsp_close(struct rsp *rsp);
/* An answer of the image is awaited. */
bool rsp_waits(const struct rsp *rsp);

#endif
