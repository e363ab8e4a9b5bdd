/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The socket that gdb comes to. The rules:
 *   - 127.0.0.1 only: whoever speaks this protocol may do as he likes with the guest;
 *   - one gdb at a time; the next one waits until the image has let the guest go on;
 *   - nothing is read while the image is asked something, so nothing piles up here;
 *   - a gdb that dies, or does not read, is one that has taken its leave.
 */
#include "cli/gdb.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/say.h"

enum status gdb_listen(struct gdb *gdb, u32 port, u32 vcpus, const struct rsp_user *user)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
	                              .sin_port = htons((unsigned short)port),
	                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int on = 1;

	gdb->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (gdb->listener >= 0 &&
	    setsockopt(gdb->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
	    bind(gdb->listener, (struct sockaddr *)&address, sizeof(address)) == 0 &&
	    listen(gdb->listener, 1) == 0) {
		rsp_init(&gdb->rsp, vcpus, user);
		return STATUS_OK;
	}
	say("--gdb %u: cannot listen on 127.0.0.1: %s", port, strerror(errno));
	return STATUS_SYSTEM;
}

static void drop(struct gdb *gdb)
{
	close(gdb->client);
	gdb->client = -1;
	gdb->in_len = 0;
	rsp_close(&gdb->rsp);
}

struct pollfd gdb_watch(const struct gdb *gdb)
{
	const struct rsp *rsp = &gdb->rsp;
	short events = 0;

	if (gdb->client < 0)
		return (struct pollfd){.fd = rsp->state == RSP_CLOSED ? gdb->listener : -1,
		                       .events = POLLIN};
	if (gdb->in_len < sizeof(gdb->in) && !rsp->gone)
		events |= POLLIN;
	if (rsp->out_len > 0)
		events |= POLLOUT;
	return (struct pollfd){.fd = gdb->client, .events = events};
}

static void receive(struct gdb *gdb)
{
	ssize_t n = recv(gdb->client, gdb->in + gdb->in_len, sizeof(gdb->in) - gdb->in_len, 0);

	if (n > 0)
		gdb->in_len += (size_t)n;
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		drop(gdb);
}

static void transmit(struct gdb *gdb)
{
	struct rsp *rsp = &gdb->rsp;
	ssize_t n = send(gdb->client, rsp->out, rsp->out_len, MSG_NOSIGNAL);

	if (n >= 0) {
		rsp->out_len -= (size_t)n;
		memmove(rsp->out, rsp->out + n, rsp->out_len);
	} else if (errno != EAGAIN && errno != EINTR) {
		drop(gdb);
	}
}

static void take_in(struct gdb *gdb)
{
	size_t n = rsp_feed(&gdb->rsp, gdb->in, gdb->in_len);

	gdb->in_len -= n;
	memmove(gdb->in, gdb->in + n, gdb->in_len);
}

static void greet(struct gdb *gdb, bool ready)
{
	int on = 1;

	gdb->client = accept4(gdb->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (gdb->client < 0)
		return;
	setsockopt(gdb->client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	rsp_open(&gdb->rsp, ready);
}

void gdb_work(struct gdb *gdb, bool ready)
{
	if (gdb->listener < 0)
		return;
	if (gdb->client < 0) {
		if (gdb->rsp.state == RSP_CLOSED)
			greet(gdb, ready);
		return;
	}
	if (ready)
		rsp_ready(&gdb->rsp);
	if (gdb->in_len < sizeof(gdb->in) && !gdb->rsp.gone)
		receive(gdb);
	if (gdb->client >= 0)
		take_in(gdb);
	if (gdb->client >= 0 && gdb->rsp.out_len > 0)
		transmit(gdb);
	if (gdb->client >= 0 && gdb->rsp.gone && gdb->rsp.out_len == 0)
		drop(gdb);
}

void gdb_end(struct gdb *gdb)
{
	if (gdb->client >= 0 && gdb->rsp.out_len > 0)
		transmit(gdb);
	if (gdb->client >= 0)
		close(gdb->client);
	if (gdb->listener >= 0)
		close(gdb->listener);
	gdb->listener = gdb->client = -1;
}
