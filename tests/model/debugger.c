/* SPDX-License-Identifier: BSD-2-Clause */
/* See debugger.h. */
#include "tests/model/debugger.h"

#include "coro.h"

#define STACK (64u << 10)

static char stack[STACK] __aligned(64);

static struct {
	struct coro coro, *back;
	void (*script)(void);
	u32 passes;
	bool ended;
	u16 sequence;
	u8 out[4096];
	u32 out_length, out_at;
	u8 in[1u << 16]; /* records in order */
	u32 in_length, in_at;
	u8 data[DEBUG_MAX_DATA];
	u32 data_length;
} dbg;

static void let_go_on(void)
{
	dbg.back = coro_self();
	coro_switch(&dbg.coro);
}

static void on_write(const void *data, u32 len)
{
	const struct report_header *h = data;

	if (h->type != REPORT_DEBUG)
		return;
	if (dbg.in_at == dbg.in_length)
		dbg.in_at = dbg.in_length = 0;
	if (len > sizeof(dbg.in) - dbg.in_length)
		posix_fail("debugger: too many records");
	memcpy(dbg.in + dbg.in_length, data, len);
	dbg.in_length += len;
	/* After this nobody looks for commands any more. */
	if (dbg.in[dbg.in_length - len + sizeof(*h)] == DEBUG_ENDED)
		let_go_on();
}

static int on_read(void)
{
	if (dbg.out_at == dbg.out_length && !dbg.ended)
		let_go_on();
	return dbg.out_at < dbg.out_length ? dbg.out[dbg.out_at++] : -1;
}

static void yield(void)
{
	coro_switch(dbg.back);
}

static void body(void *arg __unused)
{
	dbg.script();
	dbg.ended = true;
	for (;;)
		yield();
}

void dbg_start(void (*script)(void))
{
	static const struct posix_channel channel = {on_write, on_read};

	memset(&dbg, 0, sizeof(dbg));
	dbg.script = script;
	coro_init(&dbg.coro, stack, sizeof(stack), body, NULL);
	posix_set_channel(&channel);
}

bool dbg_has_ended(void)
{
	return dbg.ended;
}

void dbg_pass(u32 polls)
{
	while (polls--)
		yield();
}

void dbg_byte(u8 byte)
{
	if (dbg.out_at == dbg.out_length)
		dbg.out_at = dbg.out_length = 0;
	if (dbg.out_length == sizeof(dbg.out))
		posix_fail("debugger: too many bytes at once");
	dbg.out[dbg.out_length++] = byte;
}

void dbg_send(struct debug_request request, const void *data)
{
	const u8 *bytes = (const u8 *)&request;

	request.sequence = ++dbg.sequence;
	dbg_byte(REPORT_CMD_DEBUG);
	for (u32 i = 0; i < sizeof(request); i++)
		dbg_byte(bytes[i]);
	for (u32 i = 0; i < request.length; i++)
		dbg_byte(((const u8 *)data)[i]);
}

struct report_debug dbg_receive(void)
{
	struct report_header h;
	struct report_debug head;

	while (dbg.in_at == dbg.in_length)
		yield();
	memcpy(&h, dbg.in + dbg.in_at, sizeof(h));
	memcpy(&head, dbg.in + dbg.in_at + sizeof(h), sizeof(head));
	dbg.data_length = h.len - (u32)sizeof(head);
	memcpy(dbg.data, dbg.in + dbg.in_at + sizeof(h) + sizeof(head), dbg.data_length);
	dbg.in_at += (u32)sizeof(h) + h.len;
	return head;
}

const u8 *dbg_data(u32 *length)
{
	*length = dbg.data_length;
	return dbg.data;
}

enum debug_result dbg_ask(struct debug_request request, const void *data)
{
	struct report_debug head;

	dbg_send(request, data);
	head = dbg_receive();
	if (head.op != request.op || head.sequence != dbg.sequence)
		posix_fail("debugger: asked %u, told %u", request.op, head.op);
	return head.result;
}

static struct report_debug await_stop(void)
{
	struct report_debug head = dbg_receive();

	if (head.op != DEBUG_STOPPED)
		posix_fail("debugger: no stop, but %u with result %u", head.op, head.result);
	return head;
}

struct report_debug dbg_stop(void)
{
	dbg_send((struct debug_request){.op = DEBUG_STOP}, NULL);
	return await_stop();
}

void dbg_resume(const u8 actions[DEBUG_MAX_VCPUS])
{
	dbg_send((struct debug_request){.op = DEBUG_RESUME, .length = DEBUG_MAX_VCPUS}, actions);
}

void dbg_continue(void)
{
	u8 actions[DEBUG_MAX_VCPUS];

	memset(actions, DEBUG_CONTINUE, sizeof(actions));
	dbg_resume(actions);
}

struct report_debug dbg_step(u32 vcpu, u8 flags)
{
	u8 actions[DEBUG_MAX_VCPUS] = {0};

	actions[vcpu] = DEBUG_STEP | flags;
	dbg_resume(actions);
	return await_stop();
}

void dbg_detach(void)
{
	if (dbg_ask((struct debug_request){.op = DEBUG_DETACH}, NULL) != DEBUG_OK)
		posix_fail("debugger: no detach");
}

struct debug_regs dbg_regs(u32 vcpu)
{
	struct debug_regs regs;

	if (dbg_ask((struct debug_request){.op = DEBUG_READ_REGS, .vcpu = (u8)vcpu}, NULL) !=
	            DEBUG_OK ||
	    dbg.data_length != sizeof(regs))
		posix_fail("debugger: no registers");
	memcpy(&regs, dbg.data, sizeof(regs));
	return regs;
}

enum debug_result dbg_plant(u64 linear)
{
	return dbg_ask((struct debug_request){.op = DEBUG_PLANT, .address = linear}, NULL);
}

enum debug_result dbg_unplant(u64 linear)
{
	return dbg_ask((struct debug_request){.op = DEBUG_UNPLANT, .address = linear}, NULL);
}

u8 dbg_read(u64 linear)
{
	if (dbg_ask((struct debug_request){.op = DEBUG_READ, .address = linear, .count = 1},
	            NULL) != DEBUG_OK ||
	    dbg.data_length != 1)
		posix_fail("debugger: no memory");
	return dbg.data[0];
}
