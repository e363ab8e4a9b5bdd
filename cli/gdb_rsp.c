/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The protocol ("Debugging with GDB", "Remote Protocol"). It is spoken here and not in the image, since it
 * is text from outside: here it can be tested by itself, with sanitizers, and a mistake costs a run and
 * not the hypervisor. The image is asked by fixed records (postern/debug.h).
 *
 *   - One packet is worked on at a time; what gdb sends meanwhile waits in the socket, but for the byte
 *     03h, which stops the guest. A packet that needs the image is held, and worked on again from its
 *     beginning when the answer has come: nothing but the answer itself is remembered in between.
 *   - Threads are vCPUs: thread 1 is vCPU 0. All stop together.
 *   - What is not understood gets the empty reply, what is malformed an error; nothing is believed
 *     before it is checked: numbers, lengths, threads.
 *   - Hardware breakpoints and watchpoints are not offered: the debug registers are the guest's.
 */
#include "cli/gdb_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/gdb_regs.h"
#include "postern/account.h"

static const char hex[] = "0123456789abcdef";

/* --- what goes out --- */

static void put_raw(struct rsp *rsp, const void *data, size_t len)
{
	if (len > sizeof(rsp->out) - rsp->out_len) {
		rsp->gone = true; /* gdb does not read what it asks for */
		return;
	}
	memcpy(rsp->out + rsp->out_len, data, len);
	rsp->out_len += len;
}

void rsp_reply_bytes(struct rsp *rsp, const char *text, size_t len)
{
	u8 sum = 0;
	char end[3] = "#";

	put_raw(rsp, "$", 1);
	put_raw(rsp, text, len);
	for (size_t i = 0; i < len; i++)
		sum = (u8)(sum + (u8)text[i]);
	end[1] = hex[sum >> 4];
	end[2] = hex[sum & 15];
	put_raw(rsp, end, sizeof(end));
}

void rsp_reply(struct rsp *rsp, const char *format, ...)
{
	char text[256];
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	rsp_reply_bytes(rsp, text, (size_t)len);
}

void rsp_reply_error(struct rsp *rsp, unsigned int error)
{
	rsp_reply(rsp, "E%02x", error);
}

static char *to_hex(char *to, const u8 *from, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		*to++ = hex[from[i] >> 4];
		*to++ = hex[from[i] & 15];
	}
	return to;
}

void rsp_reply_hex(struct rsp *rsp, const u8 *data, size_t len)
{
	char text[2 * DEBUG_MAX_DATA];

	rsp_reply_bytes(rsp, text, (size_t)(to_hex(text, data, len) - text));
}

/* The guest is over: by itself (W), or ended (X, with the signal that says it best). */
static void reply_ending(struct rsp *rsp)
{
	rsp->listens = false;
	switch (rsp->ending) {
	case ENDED_POWEROFF:
	case ENDED_DEBUG_EXIT:
		rsp_reply(rsp, "W%02x", (u8)rsp->ending_code);
		break;
	case ENDED_TIMEOUT:
	case ENDED_INTERRUPTED:
		rsp_reply(rsp, "X0f");
		break;
	default:
		rsp_reply(rsp, "X06");
		break;
	}
}

static void reply_stop(struct rsp *rsp)
{
	unsigned int signal = rsp->reason == DEBUG_REASON_STOP ? 2 : 5;
	bool breakpoint = rsp->reason == DEBUG_REASON_BREAKPOINT && rsp->swbreak;

	rsp->listens = false;
	rsp_reply(rsp, "T%02xthread:%x;%s", signal, rsp->stopped_by + 1u,
	          breakpoint ? "swbreak:;" : "");
}

/* --- what comes in --- */

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* A hexadecimal number of 1 to 16 digits at *text, which moves behind it. */
bool rsp_take_number(const char **text, u64 *value)
{
	int n = 0;

	for (*value = 0; digit(**text) >= 0; (*text)++, n++)
		*value = *value << 4 | (u64)digit(**text);
	return n >= 1 && n <= 16;
}

bool rsp_take_char(const char **text, char c)
{
	if (**text != c)
		return false;
	(*text)++;
	return true;
}

/* Exactly `len` bytes in hexadecimal, and the end of the text. */
static bool take_bytes(const char *text, u8 *to, size_t len)
{
	for (size_t i = 0; i < len; i++, text += 2) {
		if (digit(text[0]) < 0 || digit(text[1]) < 0)
			return false;
		to[i] = (u8)(digit(text[0]) << 4 | digit(text[1]));
	}
	return !*text;
}

/* A thread's ID: the vCPU; RSP_NONE for any or all (0, -1). */
bool rsp_take_thread(struct rsp *rsp, const char **text, u32 *vcpu)
{
	u64 id;

	if (!strncmp(*text, "-1", 2)) {
		*text += 2;
		*vcpu = RSP_NONE;
		return true;
	}
	if (!rsp_take_number(text, &id) || id > rsp->vcpus)
		return false;
	*vcpu = id ? (u32)id - 1 : RSP_NONE;
	return true;
}

/* --- the image --- */

static void ask(struct rsp *rsp, struct debug_request request, const void *data)
{
	request.sequence = ++rsp->sequence;
	rsp->asked = request;
	rsp->user.request(rsp->user.context, &request, data);
}

/* `op` concerns the thread that gdb has chosen. Its packet is held until the answer is there. */
static void ask_of_thread(struct rsp *rsp, enum debug_op op, u64 address, size_t count,
                          size_t length, const void *data)
{
	rsp->held = true;
	ask(rsp,
	    (struct debug_request){.op = (u8)op,
	                           .vcpu = (u8)rsp->thread,
	                           .address = address,
	                           .count = (u16)count,
	                           .length = (u16)length},
	    data);
}

static void stop(struct rsp *rsp)
{
	rsp->state = RSP_RUNS;
	ask(rsp, (struct debug_request){.op = DEBUG_STOP}, NULL);
}

/* false: there is nobody to ask, and gdb has been told. */
static bool can_ask(struct rsp *rsp)
{
	if (rsp->state == RSP_STOPPED)
		return true;
	if (rsp->state == RSP_OVER)
		rsp_reply_error(rsp, ERROR_REFUSED);
	else
		rsp->held = true; /* until it stops */
	return false;
}

bool rsp_has_regs(struct rsp *rsp)
{
	if (!can_ask(rsp))
		return false;
	if (rsp->regs_of == rsp->thread)
		return true;
	ask_of_thread(rsp, DEBUG_READ_REGS, 0, 0, 0, NULL);
	return false;
}

/* --- registers and memory --- */

static void read_all(struct rsp *rsp)
{
	u8 bytes[GDB_REGS * GDB_REG_BYTES];
	size_t at = 0;

	if (!rsp_has_regs(rsp))
		return;
	for (unsigned int i = 0; i < GDB_REGS; i++) {
		gdb_reg_get(&rsp->regs, i, bytes + at);
		at += gdb_reg_size(i);
	}
	rsp_reply_hex(rsp, bytes, at);
}

static void write_back(struct rsp *rsp, const struct debug_regs *regs)
{
	rsp->regs_of = RSP_NONE;
	ask_of_thread(rsp, DEBUG_WRITE_REGS, 0, 0, sizeof(*regs), regs);
}

static void write_all(struct rsp *rsp, const char *text)
{
	u8 bytes[GDB_REGS * GDB_REG_BYTES];
	struct debug_regs regs;
	size_t size = 0, at = 0;

	for (unsigned int i = 0; i < GDB_REGS; i++)
		size += gdb_reg_size(i);
	if (!take_bytes(text, bytes, size)) {
		rsp_reply_error(rsp, ERROR_BAD);
		return;
	}
	if (!rsp_has_regs(rsp))
		return;
	regs = rsp->regs;
	for (unsigned int i = 0; i < GDB_REGS; at += gdb_reg_size(i), i++) {
		if (!gdb_reg_set(&regs, i, bytes + at)) {
			rsp_reply_error(rsp, ERROR_REFUSED);
			return;
		}
	}
	write_back(rsp, &regs);
}

static void read_one(struct rsp *rsp, const char *text)
{
	u8 bytes[GDB_REG_BYTES];
	u64 n;

	if (!rsp_take_number(&text, &n) || *text || n >= GDB_REGS) {
		rsp_reply_error(rsp, ERROR_BAD);
		return;
	}
	if (!rsp_has_regs(rsp))
		return;
	gdb_reg_get(&rsp->regs, (unsigned int)n, bytes);
	rsp_reply_hex(rsp, bytes, gdb_reg_size((unsigned int)n));
}

static void write_one(struct rsp *rsp, const char *text)
{
	u8 bytes[GDB_REG_BYTES];
	struct debug_regs regs;
	u64 n;

	if (!rsp_take_number(&text, &n) || n >= GDB_REGS || !rsp_take_char(&text, '=') ||
	    !take_bytes(text, bytes, gdb_reg_size((unsigned int)n))) {
		rsp_reply_error(rsp, ERROR_BAD);
		return;
	}
	if (!rsp_has_regs(rsp))
		return;
	regs = rsp->regs;
	if (gdb_reg_set(&regs, (unsigned int)n, bytes))
		write_back(rsp, &regs);
	else
		rsp_reply_error(rsp, ERROR_REFUSED);
}

static void read_memory(struct rsp *rsp, const char *text)
{
	u64 address, count;

	if (!rsp_take_number(&text, &address) || !rsp_take_char(&text, ',') ||
	    !rsp_take_number(&text, &count) || *text)
		rsp_reply_error(rsp, ERROR_BAD);
	else if (can_ask(rsp)) /* gdb asks again for what is left */
		ask_of_thread(rsp, DEBUG_READ, address, min_u64(count, DEBUG_MAX_DATA), 0, NULL);
}

static void write_memory(struct rsp *rsp, const char *text)
{
	u8 bytes[DEBUG_MAX_DATA];
	u64 address, count;

	if (!rsp_take_number(&text, &address) || !rsp_take_char(&text, ',') ||
	    !rsp_take_number(&text, &count) || !rsp_take_char(&text, ':') ||
	    count > sizeof(bytes) || !take_bytes(text, bytes, count))
		rsp_reply_error(rsp, ERROR_BAD);
	else if (can_ask(rsp))
		ask_of_thread(rsp, DEBUG_WRITE, address, 0, count, bytes);
}

static void change_breakpoint(struct rsp *rsp, bool set, const char *text)
{
	u64 address, kind;

	if (*text != '0') {
		rsp_reply_bytes(rsp, "", 0);
		return;
	}
	text++;
	if (!rsp_take_char(&text, ',') || !rsp_take_number(&text, &address) ||
	    !rsp_take_char(&text, ',') || !rsp_take_number(&text, &kind) || *text)
		rsp_reply_error(rsp, ERROR_BAD);
	else if (can_ask(rsp))
		ask_of_thread(rsp, set ? DEBUG_PLANT : DEBUG_UNPLANT, address, 0, 0, NULL);
}

/* --- stop and go --- */

static u8 step_action(const struct rsp *rsp)
{
	return (u8)(DEBUG_STEP | (rsp->sstep & RSP_SSTEP_NOIRQ ? DEBUG_STEP_NOIRQ : 0) |
	            (rsp->sstep & RSP_SSTEP_NOTIMER ? DEBUG_STEP_NOTIMER : 0));
}

static void go(struct rsp *rsp, const u8 actions[DEBUG_MAX_VCPUS])
{
	rsp->state = RSP_RUNS;
	rsp->listens = true;
	rsp->regs_of = RSP_NONE;
	ask(rsp, (struct debug_request){.op = DEBUG_RESUME, .length = DEBUG_MAX_VCPUS}, actions);
}

/* false, with gdb told: it is over, or the packet is held. */
static bool can_go(struct rsp *rsp)
{
	if (rsp->state == RSP_OVER)
		reply_ending(rsp);
	else if (rsp->state == RSP_STOPPED)
		return true;
	else
		rsp->held = true;
	return false;
}

/* The old commands: of the chosen thread the step, of all the rest. No other address, no signal. */
static void go_simply(struct rsp *rsp, bool step)
{
	u8 actions[DEBUG_MAX_VCPUS];

	if (rsp->packet[1]) {
		rsp_reply_error(rsp, ERROR_BAD);
		return;
	}
	if (!can_go(rsp))
		return;
	memset(actions, DEBUG_CONTINUE, sizeof(actions));
	if (step)
		actions[rsp->thread] = step_action(rsp);
	go(rsp, actions);
}

/* One of vCont's actions, with whom it is for. */
static bool take_action(struct rsp *rsp, const char **text, u8 *action, u32 *vcpu)
{
	char verb = **text;
	u64 signal;

	if (!verb || !strchr("cCsS", verb))
		return false;
	(*text)++;
	if ((verb == 'C' || verb == 'S') && !rsp_take_number(text, &signal))
		return false; /* a signal says nothing to a processor */
	*action = verb == 's' || verb == 'S' ? step_action(rsp) : DEBUG_CONTINUE;
	*vcpu = RSP_NONE;
	return !rsp_take_char(text, ':') || rsp_take_thread(rsp, text, vcpu);
}

static void go_by_list(struct rsp *rsp, const char *text)
{
	u8 actions[DEBUG_MAX_VCPUS] = {DEBUG_STAY};
	bool moves = false;

	while (rsp_take_char(&text, ';')) {
		u32 vcpu;
		u8 action;

		if (!take_action(rsp, &text, &action, &vcpu)) {
			rsp_reply_error(rsp, ERROR_BAD);
			return;
		}
		/* The first action that fits a thread is its. */
		for (u32 i = 0; i < rsp->vcpus; i++)
			if ((vcpu == RSP_NONE || vcpu == i) && actions[i] == DEBUG_STAY)
				actions[i] = action;
		moves = true;
	}
	if (*text || !moves)
		rsp_reply_error(rsp, ERROR_BAD);
	else if (can_go(rsp))
		go(rsp, actions);
}

static void detach(struct rsp *rsp)
{
	rsp_reply(rsp, "OK");
	rsp->gone = true;
}

const char *rsp_behind(const char *text, const char *prefix)
{
	size_t len = strlen(prefix);

	return strncmp(text, prefix, len) ? NULL : text + len;
}

static void handle_verbose(struct rsp *rsp, const char *text)
{
	const char *rest;

	if (!strcmp(text, "vCont?"))
		rsp_reply(rsp, "vCont;c;C;s;S");
	else if ((rest = rsp_behind(text, "vCont")))
		go_by_list(rsp, rest);
	else if (rsp_behind(text, "vKill;")) {
		rsp_reply(rsp, "OK");
		rsp->user.kill(rsp->user.context);
	} else {
		rsp_reply_bytes(rsp, "", 0);
	}
}

static void handle(struct rsp *rsp)
{
	const char *rest = rsp->packet + 1;

	switch (rsp->packet[0]) {
	case '?':
		if (rsp->state == RSP_OVER)
			reply_ending(rsp);
		else if (can_ask(rsp))
			reply_stop(rsp);
		break;
	case 'g':
		read_all(rsp);
		break;
	case 'G':
		write_all(rsp, rest);
		break;
	case 'p':
		read_one(rsp, rest);
		break;
	case 'P':
		write_one(rsp, rest);
		break;
	case 'm':
		read_memory(rsp, rest);
		break;
	case 'M':
		write_memory(rsp, rest);
		break;
	case 'Z':
	case 'z':
		change_breakpoint(rsp, rsp->packet[0] == 'Z', rest);
		break;
	case 'c':
	case 's':
		go_simply(rsp, rsp->packet[0] == 's');
		break;
	case 'H':
		rsp_choose_thread(rsp, rest);
		break;
	case 'T':
		rsp_is_alive(rsp, rest);
		break;
	case 'D':
		detach(rsp);
		break;
	case 'k':
		rsp->user.kill(rsp->user.context);
		break;
	case 'q':
	case 'Q':
		rsp_query(rsp, rsp->packet);
		break;
	case 'v':
		handle_verbose(rsp, rsp->packet);
		break;
	default:
		rsp_reply_bytes(rsp, "", 0);
		break;
	}
}

/* --- framing --- */

/* '}' and the next byte: a byte that means something to the framing, with bit 5 turned. */
static void take_data(struct rsp *rsp, u8 byte)
{
	rsp->sum = (u8)(rsp->sum + byte);
	if (rsp->at == RSP_ESCAPED) {
		rsp->at = RSP_DATA;
		byte ^= 0x20;
	} else if (byte == '}') {
		rsp->at = RSP_ESCAPED;
		return;
	}
	if (rsp->length == RSP_PACKET)
		rsp->too_long = true;
	else
		rsp->packet[rsp->length++] = (char)byte;
}

static void end_packet(struct rsp *rsp)
{
	rsp->at = RSP_BETWEEN;
	if (rsp->given != rsp->sum && !rsp->no_ack) {
		put_raw(rsp, "-", 1);
		return;
	}
	if (!rsp->no_ack)
		put_raw(rsp, "+", 1);
	rsp->packet[rsp->length] = 0;
	if (rsp->too_long || strlen(rsp->packet) != rsp->length || rsp->given != rsp->sum)
		rsp_reply_error(rsp, ERROR_BAD);
	else
		handle(rsp);
}

static void feed_byte(struct rsp *rsp, u8 byte)
{
	switch (rsp->at) {
	case RSP_BETWEEN:
		if (byte == 0x03 && rsp->state == RSP_RUNS && rsp->asked.op != DEBUG_STOP)
			stop(rsp);
		if (byte != '$')
			return; /* acknowledgements: a stream loses nothing */
		rsp->at = RSP_DATA;
		rsp->length = 0;
		rsp->sum = 0;
		rsp->too_long = false;
		return;
	case RSP_SUM1:
	case RSP_SUM2:
		rsp->given = (u8)(rsp->given << 4 | (digit((char)byte) & 15));
		if (rsp->at == RSP_SUM2)
			end_packet(rsp);
		else
			rsp->at = RSP_SUM2;
		return;
	default:
		if (byte != '#' || rsp->at == RSP_ESCAPED) {
			take_data(rsp, byte);
			return;
		}
		rsp->given = 0;
		rsp->at = RSP_SUM1;
		return;
	}
}

size_t rsp_feed(struct rsp *rsp, const void *data, size_t len)
{
	const u8 *bytes = data;
	size_t i;

	for (i = 0; i < len && !rsp->gone && !rsp->held; i++)
		feed_byte(rsp, bytes[i]);
	return i;
}

/* --- from the image --- */

static unsigned int error_of(u8 result)
{
	return result == DEBUG_FAULT  ? ERROR_FAULT
	       : result == DEBUG_FULL ? ERROR_FULL
	                              : ERROR_REFUSED;
}

/* What was asked for the packet that is held has come. */
static void take_answer(struct rsp *rsp, const struct report_debug *head, const u8 *data,
                        size_t len)
{
	rsp->held = false;
	if (head->result != DEBUG_OK) {
		rsp_reply_error(rsp, error_of(head->result));
	} else if (head->op == DEBUG_READ) {
		rsp_reply_hex(rsp, data, min_u64(len, DEBUG_MAX_DATA));
	} else if (head->op == DEBUG_READ_REGS) {
		if (len != sizeof(rsp->regs)) {
			rsp_reply_error(rsp, ERROR_REFUSED);
			return;
		}
		memcpy(&rsp->regs, data, sizeof(rsp->regs));
		rsp->regs_of = head->vcpu;
		handle(rsp);
	} else {
		rsp_reply(rsp, "OK");
	}
}

static void take_stop(struct rsp *rsp, const struct report_debug *head)
{
	if (rsp->state != RSP_RUNS)
		return;
	rsp->asked.op = 0;
	rsp->state = RSP_STOPPED;
	rsp->reason = head->reason;
	rsp->stopped_by = head->vcpu < rsp->vcpus ? head->vcpu : 0;
	rsp->thread = rsp->stopped_by;
	rsp->regs_of = RSP_NONE;
	if (rsp->listens)
		reply_stop(rsp);
	if (rsp->held) {
		rsp->held = false;
		handle(rsp);
	}
}

static void take_ending(struct rsp *rsp, const struct report_debug *head)
{
	bool listens = rsp->listens;

	rsp->state = RSP_OVER;
	rsp->ending = head->reason;
	rsp->ending_code = head->detail;
	rsp->asked.op = 0;
	if (rsp->held) {
		rsp->held = false;
		handle(rsp);
	} else if (listens) {
		reply_ending(rsp);
	}
}

void rsp_record(struct rsp *rsp, const struct report_debug *head, const u8 *data, size_t len)
{
	if (head->op == DEBUG_ENDED) {
		if (rsp->state != RSP_CLOSED && rsp->state != RSP_LEAVING)
			take_ending(rsp, head);
		else
			rsp->state = RSP_CLOSED;
	} else if (head->op == DEBUG_STOPPED) {
		take_stop(rsp, head);
	} else if (rsp->asked.op && head->op == rsp->asked.op &&
	           head->sequence == rsp->asked.sequence) {
		rsp->asked.op = 0;
		if (head->op == DEBUG_DETACH)
			rsp->state = RSP_CLOSED;
		else if (rsp->held)
			take_answer(rsp, head, data, len);
		else if (head->op == DEBUG_RESUME && rsp->listens) {
			/* It was refused: the guest stands where it was. */
			rsp->state = RSP_STOPPED;
			rsp->listens = false;
			rsp_reply_error(rsp, ERROR_REFUSED);
		}
	}
}

/* --- life --- */

void rsp_init(struct rsp *rsp, u32 vcpus, const struct rsp_user *user)
{
	memset(rsp, 0, sizeof(*rsp));
	rsp->user = *user;
	rsp->vcpus = vcpus;
}

void rsp_open(struct rsp *rsp, bool ready)
{
	u16 sequence = rsp->sequence;

	rsp_init(rsp, rsp->vcpus,
	         &(struct rsp_user){rsp->user.request, rsp->user.kill, rsp->user.context});
	rsp->sequence = sequence;
	rsp->sstep = RSP_SSTEP_ENABLE | RSP_SSTEP_NOIRQ | RSP_SSTEP_NOTIMER;
	rsp->regs_of = RSP_NONE;
	rsp->state = RSP_OPEN;
	if (ready)
		rsp_ready(rsp);
}

void rsp_ready(struct rsp *rsp)
{
	if (rsp->state == RSP_OPEN)
		stop(rsp);
}

void rsp_close(struct rsp *rsp)
{
	bool told = rsp->state == RSP_RUNS || rsp->state == RSP_STOPPED;

	rsp->held = rsp->listens = false;
	rsp->out_len = 0;
	rsp->state = told ? RSP_LEAVING : RSP_CLOSED;
	if (told)
		ask(rsp, (struct debug_request){.op = DEBUG_DETACH}, NULL);
}

bool rsp_waits(const struct rsp *rsp)
{
	return rsp->asked.op && rsp->asked.op != DEBUG_RESUME;
}
