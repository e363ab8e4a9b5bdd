/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control socket's side of the run. The rules:
 *   - Nothing here waits: a client that is silent, does not read or sends nonsense costs a descriptor and
 *     a buffer until it has been idle for IDLE_NS, and nobody else anything.
 *   - A client's next line is read when the answer to the last one is written.
 *   - The image has one question at a time, so the clients take turns; it has ANSWER_NS for each.
 *   - The socket is the user's alone, from its first moment: umask, not chmod. It is removed if it still is
 *     the one that was made.
 */
#include "cli/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/say.h"

#define SECOND    1000000000ull
#define ANSWER_NS (10 * SECOND)
#define IDLE_NS   (60 * SECOND)
#define NEVER     UINT64_MAX
#define NOBODY    (-1)
#define GONE      (-2)

void control_init(struct control *control)
{
	*control = (struct control){.fd = -1, .asking = NOBODY};
	for (u32 i = 0; i < CONTROL_CLIENTS; i++)
		control->client[i].fd = -1;
}

/* --- the socket --- */

/* A socket of a run that is gone refuses connections; it makes room. */
static bool make_room(const struct sockaddr_un *address)
{
	struct stat st;
	int fd, error = 0;

	if (lstat(address->sun_path, &st) != 0)
		return true; /* bind() will say what is wrong, if not that there is none */
	if (!S_ISSOCK(st.st_mode)) {
		say("--control %s: there is something that is no socket", address->sun_path);
		return false;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof(*address)) != 0)
		error = errno;
	if (fd >= 0)
		close(fd);
	if (error == ECONNREFUSED) {
		if (unlink(address->sun_path) == 0)
			return true;
		error = errno;
	}
	/* EAGAIN: it has more callers than it accepts. */
	say("--control %s: %s", address->sun_path,
	    error && error != EAGAIN ? strerror(error) : "another run listens there");
	return false;
}

static bool listen_at(struct control *control, const struct sockaddr_un *address)
{
	mode_t mask = umask(0177);
	bool bound;
	struct stat st;

	control->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	bound = control->fd >= 0 &&
	        bind(control->fd, (const struct sockaddr *)address, sizeof(*address)) == 0;
	umask(mask);
	if (!bound || listen(control->fd, CONTROL_CLIENTS) != 0 ||
	    lstat(address->sun_path, &st) != 0) {
		say("--control %s: cannot make the socket: %s", address->sun_path, strerror(errno));
		if (bound)
			unlink(address->sun_path);
		return false;
	}
	control->dev = st.st_dev;
	control->ino = st.st_ino;
	return true;
}

enum status control_open(struct control *control, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (!path)
		return STATUS_OK;
	/* options.c has seen that it fits */
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (!make_room(&address) || !listen_at(control, &address)) {
		if (control->fd >= 0)
			close(control->fd);
		control->fd = -1;
		return STATUS_NO_OUTPUT;
	}
	control->path = path;
	return STATUS_OK;
}

/* --- lines --- */

static const char not_text[] = "not a line of text";

static bool can_change(const char *key, size_t len)
{
	for (u32 i = 0; i < SETTING_COUNT; i++)
		if (options_is_runtime_setting(i) && strlen(options_key(i)) == len &&
		    strncmp(options_key(i), key, len) == 0)
			return true;
	return false;
}

/* KEY=VALUE, and perhaps the VM behind it. */
static const char *parse_set(const char *text, u32 vms, struct control_ask *ask)
{
	const char *equals = strchr(text, '=');
	size_t len = strcspn(text, " ");
	unsigned int vm = 0;
	int used = 0;

	if (!equals || equals >= text + len)
		return "set takes KEY=VALUE";
	if (!can_change(text, (size_t)(equals - text)))
		return "no setting that can be changed while the guest runs";
	if (len > REPORT_ASK_TEXT)
		return "the value is too long";
	if (text[len] &&
	    (sscanf(text + len, " vm=%1u%n", &vm, &used) != 1 || text[len + (size_t)used]))
		return "behind the setting only vm=N may follow";
	if (vm >= vms)
		return "no such VM";
	ask->vm = (u8)vm;
	memcpy(ask->text, text, len);
	return NULL;
}

const char *control_parse(const char *line, u32 vms, struct control_ask *ask)
{
	*ask = (struct control_ask){0};
	for (const char *c = line; *c; c++)
		if (*c < ' ' || *c > '~')
			return not_text;
	if (strcmp(line, "account") == 0)
		return NULL;
	if (strncmp(line, "set ", 4) == 0)
		return parse_set(line + 4, vms, ask);
	return "no such command: set KEY=VALUE [vm=N], or account";
}

/* --- clients --- */

static void drop(struct control *control, struct control_client *client)
{
	if (control->asking == client - control->client)
		control->asking = GONE; /* its answer is still to come */
	if (client->fd >= 0)
		close(client->fd);
	free(client->out);
	*client = (struct control_client){.fd = -1};
}

/* As much of the answer as the client takes now. */
static void flush(struct control *control, struct control_client *client, u64 now)
{
	ssize_t n;

	if (!client->out)
		return;
	n = send(client->fd, client->out + client->out_at, client->out_len - client->out_at,
	         MSG_NOSIGNAL);
	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		drop(control, client);
		return;
	}
	if (n <= 0)
		return;
	client->since = now;
	client->out_at += (size_t)n;
	if (client->out_at < client->out_len)
		return;
	free(client->out);
	client->out = NULL;
	if (client->closes)
		drop(control, client);
}

/* "ok", behind the account if `outcome` is given; or what is wrong. */
static void answer(struct control *control, struct control_client *client, const char *wrong,
                   const struct outcome *outcome, u64 now)
{
	FILE *out;

	client->waits = false;
	client->out_at = 0;
	out = open_memstream(&client->out, &client->out_len);
	if (out) {
		if (outcome && !*wrong)
			account_print(out, outcome);
		if (*wrong)
			fprintf(out, "error: %s\n", wrong);
		else
			fputs("ok\n", out);
	}
	if (!out || fclose(out) != 0) {
		drop(control, client); /* no memory for it */
		return;
	}
	flush(control, client, now);
}

static void take_line(struct control *control, struct control_client *client,
                      const struct outcome *outcome, u64 now)
{
	const char *wrong;

	if (client->line_len > 0 && client->line[client->line_len - 1] == '\r')
		client->line_len--;
	client->line[client->line_len] = 0;
	if (memchr(client->line, 0, client->line_len))
		wrong = not_text;
	else
		wrong = control_parse(client->line, outcome->options->vms, &client->ask);
	client->line_len = 0;
	if (wrong)
		answer(control, client, wrong, NULL, now);
	else
		client->waits = true;
}

/* Byte by byte, so that what stands behind a line is still there when that has been answered. */
static void read_line(struct control *control, struct control_client *client,
                      const struct outcome *outcome, u64 now)
{
	char byte;

	/* One line at a time: a client that goes on and on is not the only one. */
	for (bool whole = false; client->fd >= 0 && !client->out && !whole;) {
		ssize_t n = recv(client->fd, &byte, 1, 0);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			drop(control, client);
			return;
		}
		client->since = now;
		if (byte == '\n') {
			whole = true;
			take_line(control, client, outcome, now);
		} else if (client->line_len == CONTROL_LINE - 1) {
			client->closes = true;
			answer(control, client, "the line is too long", NULL, now);
		} else {
			client->line[client->line_len++] = byte;
		}
	}
}

static void accept_client(struct control *control, u64 now)
{
	static const char full[] = "error: too many clients\n";
	int fd = accept4(control->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return;
	for (u32 i = 0; i < CONTROL_CLIENTS; i++) {
		if (control->client[i].fd >= 0)
			continue;
		control->client[i] = (struct control_client){.fd = fd, .since = now};
		return;
	}
	send(fd, full, sizeof(full) - 1, MSG_NOSIGNAL);
	close(fd);
}

/* --- the image --- */

/* The frame of postern/report.h. false: the pipe has no room, or nobody reads it. */
static bool send_ask(int image, u16 sequence, const struct control_ask *ask)
{
	struct report_ask head = {sequence, ask->vm, (u8)strlen(ask->text)};
	u8 frame[1 + sizeof(head) + REPORT_ASK_TEXT + 1] = {REPORT_CMD_ASK};
	size_t len = 1 + sizeof(head) + head.length;
	u8 sum = 0;

	memcpy(frame + 1, &head, sizeof(head));
	memcpy(frame + 1 + sizeof(head), ask->text, head.length);
	for (size_t i = 0; i < len; i++)
		sum = (u8)(sum + frame[i]);
	frame[len++] = (u8)-sum;
	return write(image, frame, len) == (ssize_t)len; /* whole or not at all: PIPE_BUF */
}

/* Somebody's turn. Before the image has said hello it may not listen: what is sent then is lost. */
static void ask_next(struct control *control, int image, const struct report *report, u64 now)
{
	for (u32 n = 0; n < CONTROL_CLIENTS && control->asking == NOBODY && report->has_hello;
	     n++) {
		u32 i = (control->turn + n) % CONTROL_CLIENTS;
		struct control_client *client = &control->client[i];

		if (client->fd < 0 || !client->waits)
			continue;
		if (!send_ask(image, (u16)(control->sequence + 1), &client->ask))
			return;
		control->sequence++;
		control->asking = (int)i;
		control->turn = i + 1;
		control->give_up = now + ANSWER_NS;
		client->since = now;
	}
}

static void take_answer(struct control *control, const struct outcome *outcome, u64 now)
{
	const struct report *report = outcome->report;
	bool answered = report->answered && report->answer_sequence == control->sequence;
	const char *wrong = answered ? report->answer : "the hypervisor does not answer";
	int who = control->asking;
	struct control_client *client;

	if (who == NOBODY || (!answered && now < control->give_up))
		return;
	control->asking = NOBODY;
	if (who == GONE)
		return;
	client = &control->client[who];
	answer(control, client, wrong, *client->ask.text ? NULL : outcome, now);
}

/* --- the loop's side --- */

u64 control_watch(const struct control *control, struct pollfd *slots)
{
	u64 due = control->asking == NOBODY ? NEVER : control->give_up;

	for (u32 i = 0; i < CONTROL_CLIENTS; i++) {
		const struct control_client *client = &control->client[i];
		bool reads = !client->waits && !client->out;

		slots[i] = (struct pollfd){
		        .fd = client->fd,
		        .events = (short)((reads ? POLLIN : 0) | (client->out ? POLLOUT : 0))};
		if (client->fd >= 0)
			due = min_u64(due, client->since + IDLE_NS);
	}
	slots[CONTROL_CLIENTS] = (struct pollfd){.fd = control->fd, .events = POLLIN};
	return due;
}

static void serve_client(struct control *control, struct control_client *client, short events,
                         const struct outcome *outcome, u64 now)
{
	if (client->fd < 0)
		return;
	if ((events & (POLLERR | POLLHUP)) && !(events & POLLIN)) {
		drop(control, client); /* nobody is there to read an answer */
		return;
	}
	if (events & POLLOUT)
		flush(control, client, now);
	if (events & POLLIN)
		read_line(control, client, outcome, now);
	if (client->fd < 0 || now < client->since + IDLE_NS)
		return;
	if (client->waits) /* since before the image was there */
		answer(control, client, "the hypervisor does not answer", NULL, now);
	drop(control, client);
}

void control_serve(struct control *control, const struct pollfd *slots, int image,
                   const struct outcome *outcome, u64 now)
{
	if (control->fd < 0)
		return;
	take_answer(control, outcome, now);
	for (u32 i = 0; i < CONTROL_CLIENTS; i++)
		serve_client(control, &control->client[i], slots[i].fd >= 0 ? slots[i].revents : 0,
		             outcome, now);
	if (slots[CONTROL_CLIENTS].fd >= 0 && slots[CONTROL_CLIENTS].revents)
		accept_client(control, now);
	ask_next(control, image, outcome->report, now);
}

void control_close(struct control *control)
{
	struct stat st;

	control->asking = NOBODY;
	for (u32 i = 0; i < CONTROL_CLIENTS; i++) {
		struct control_client *client = &control->client[i];

		if (client->fd >= 0 && client->waits)
			answer(control, client, "the run has ended", NULL, 0);
		drop(control, client);
	}
	if (control->fd >= 0)
		close(control->fd);
	if (control->path && lstat(control->path, &st) == 0 && st.st_dev == control->dev &&
	    st.st_ino == control->ino)
		unlink(control->path);
	control_init(control);
}
