/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The host command on a terminal: terminal_test POSTERN FAKE_QEMU runs it on a pseudo-terminal,
 * types, and looks at what a user would see.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utmp.h>

#include "cli/status.h"
#include "postern/types.h"

static char *postern;
static char kernel[] = "/tmp/postern-test.XXXXXX";

struct session {
	int terminal;
	pid_t pid;
	char seen[65536];
	size_t len;
	struct termios before;
};

static struct session session;

static void session_start(const char *mode)
{
	struct winsize size = {.ws_row = 24, .ws_col = 80};
	int slave;

	memset(&session, 0, sizeof(session));
	assert_int_equal(openpty(&session.terminal, &slave, NULL, NULL, &size), 0);
	assert_int_equal(tcgetattr(slave, &session.before), 0);
	session.pid = fork();
	assert_true(session.pid >= 0);
	if (session.pid == 0) {
		close(session.terminal);
		setenv("FAKE_MODE", mode, 1);
		if (login_tty(slave) == 0)
			execl(postern, "postern", "run", "-k", kernel, (char *)NULL);
		_exit(127);
	}
	close(slave);
}

/* Read until `text` is seen; fails after 10 s or when the session ends without it. */
static void session_expect(const char *text)
{
	struct pollfd fd = {.fd = session.terminal, .events = POLLIN};

	while (!memmem(session.seen, session.len, text, strlen(text))) {
		ssize_t n;

		if (poll(&fd, 1, 10000) != 1)
			fail_msg("not seen in time: %s", text);
		n = read(session.terminal, session.seen + session.len,
		         sizeof(session.seen) - session.len);
		if (n <= 0)
			fail_msg("ended without: %s", text);
		session.len += (size_t)n;
	}
}

static void session_type(const char *keys, size_t len)
{
	assert_int_equal(write(session.terminal, keys, len), (ssize_t)len);
}

static void session_forget(void)
{
	session.len = 0;
}

/* The exit status; what is still printed is taken in, and the terminal must be as it was. */
static int session_end(void)
{
	struct termios after;
	int status;
	ssize_t n;

	do {
		n = read(session.terminal, session.seen + session.len,
		         sizeof(session.seen) - session.len);
		if (n > 0)
			session.len += (size_t)n;
	} while (n > 0);
	assert_int_equal(waitpid(session.pid, &status, 0), session.pid);
	assert_int_equal(tcgetattr(session.terminal, &after), 0);
	assert_int_equal(after.c_lflag, session.before.c_lflag);
	assert_int_equal(after.c_iflag, session.before.c_iflag);
	assert_int_equal(after.c_oflag, session.before.c_oflag);
	close(session.terminal);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void test_terminal_keys_reach_guest(__unused void **state)
{
	session_start("echo");
	session_expect("ready\r\n");
	session_type("k\x03\x01\x01", 4); /* Ctrl-C and one Ctrl-A go to the guest */
	session_expect("k\x03\x01");
	session_type("q", 1);
	assert_int_equal(session_end(), STATUS_OK);
}

static void test_terminal_escape_ends_run(__unused void **state)
{
	session_start("hang");
	session_expect("guest speaking\r\n");
	session_type("\x01x", 2);
	session_expect("ended: interrupted");
	assert_int_equal(session_end(), STATUS_INTERRUPTED);
}

static void test_terminal_signal_restores_modes(__unused void **state)
{
	session_start("hang");
	session_expect("guest speaking\r\n");
	assert_int_equal(kill(session.pid, SIGTERM), 0);
	session_expect("ended: interrupted");
	assert_int_equal(session_end(), STATUS_INTERRUPTED);
}

/* In the last row, below the guest's output; erased before the guest's next byte. */
static void test_terminal_status_line(__unused void **state)
{
	const char *erase = "\0337\033[999;1H\033[2K\0338";
	char guest[64];

	session_start("echo");
	session_expect("ready\r\n");
	session_expect("\033D\033[A\0337\033[999;1H\033[7m postern: running");
	session_expect("2/2 vCPUs");
	session_forget();
	session_type("w", 1);
	snprintf(guest, sizeof(guest), "%sw", erase);
	session_expect(guest);
	session_type("q", 1);
	assert_int_equal(session_end(), STATUS_OK);
}

int main(int argc, char *argv[])
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_terminal_keys_reach_guest),
	        cmocka_unit_test(test_terminal_escape_ends_run),
	        cmocka_unit_test(test_terminal_signal_restores_modes),
	        cmocka_unit_test(test_terminal_status_line),
	};
	int fd, result;

	if (argc != 3)
		return 2;
	postern = realpath(argv[1], NULL);
	fd = mkstemp(kernel);
	if (!postern || fd < 0 || write(fd, "kernel", 6) != 6)
		return 2;
	close(fd);
	setenv("POSTERN_QEMU", argv[2], 1);
	setenv("POSTERN_IMAGE", kernel, 1);
	alarm(120);
	result = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(kernel);
	free(postern);
	return result;
}
