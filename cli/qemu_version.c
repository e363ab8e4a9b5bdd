/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Is it a QEMU, and new enough? Asked before anything else is made, so that there is nothing to take
 * back; it answers within VERSION_NS or is killed. It dies with this process.
 */
#include "cli/qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/say.h"

/* The oldest that Postern has been run on. */
#define VERSION_MAJOR 7
#define VERSION_MINOR 2
#define VERSION_MS    10000

/* In the child: only async-signal-safe calls. */
static void become_version(const char *emulator, pid_t parent, int answer, int report)
{
	const char *const args[] = {emulator, "--version", NULL};
	int null = open("/dev/null", O_RDWR);
	int error;

	if (null >= 0 && dup2(null, 0) >= 0 && dup2(answer, 1) >= 0 && dup2(answer, 2) >= 0 &&
	    prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent)
		execvp(emulator, (char *const *)args);
	error = errno;
	if (write(report, &error, sizeof(error)) < 0)
		_exit(126);
	_exit(127);
}

static int elapsed_ms(const struct timespec *since)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int)((now.tv_sec - since->tv_sec) * 1000 +
	             (now.tv_nsec - since->tv_nsec) / 1000000);
}

/* What comes until the end of the stream, as text; false: it did not end in time. */
static bool read_answer(int fd, char *text, size_t size)
{
	struct timespec start;
	size_t len = 0;

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (;;) {
		struct pollfd ready = {.fd = fd, .events = POLLIN};
		int left = VERSION_MS - elapsed_ms(&start);
		char more[256];
		ssize_t n;

		if (left <= 0)
			return false;
		if (poll(&ready, 1, left) <= 0)
			continue;
		n = read(fd, more, sizeof(more));
		if (n == 0)
			return true;
		if (n < 0)
			continue;
		/* The beginning is enough. */
		if (n > (ssize_t)(size - 1 - len))
			n = (ssize_t)(size - 1 - len);
		memcpy(text + len, more, (size_t)n);
		len += (size_t)n;
	}
}

static enum status judge(const char *wanted, const char *text)
{
	static const char words[] = "emulator version ";
	const char *at = strstr(text, words);
	unsigned int major, minor;

	if (!at || sscanf(at + strlen(words), "%u.%u", &major, &minor) != 2) {
		say("cannot start QEMU (%s): it does not tell its version, so it is no QEMU",
		    wanted);
		return STATUS_NO_QEMU;
	}
	if (major > VERSION_MAJOR || (major == VERSION_MAJOR && minor >= VERSION_MINOR))
		return STATUS_OK;
	say("QEMU (%s) is version %u.%u: %u.%u or later is needed", wanted, major, minor,
	    VERSION_MAJOR, VERSION_MINOR);
	return STATUS_OLD_QEMU;
}

static enum status ask(const char *emulator, const char *wanted, int answer[2], int report[2])
{
	pid_t parent = getpid(), child = fork();
	char text[512] = "";
	int error = 0;
	bool in_time;

	if (child < 0) {
		say("cannot start a process: %s", strerror(errno));
		return STATUS_SYSTEM;
	}
	if (child == 0)
		become_version(emulator, parent, answer[1], report[1]);
	close(answer[1]);
	close(report[1]);
	answer[1] = report[1] = -1;
	in_time = read_answer(answer[0], text, sizeof(text));
	if (!in_time)
		kill(child, SIGKILL);
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	if (read(report[0], &error, sizeof(error)) == (ssize_t)sizeof(error))
		return qemu_cannot_start(wanted, error);
	return judge(wanted, text);
}

enum status qemu_check_version(void)
{
	int answer[2] = {-1, -1}, report[2] = {-1, -1};
	const char *wanted, *emulator;
	char path[PATH_MAX];
	enum status status;

	emulator = qemu_find(path, &wanted);
	if (!emulator)
		return qemu_cannot_start(wanted, errno);
	signal(SIGCHLD, SIG_DFL); /* ignored, it would make the kernel reap the child before us */
	if (pipe2(answer, O_CLOEXEC) != 0 || pipe2(report, O_CLOEXEC) != 0) {
		say("cannot make a pipe: %s", strerror(errno));
		status = STATUS_SYSTEM;
	} else {
		status = ask(emulator, wanted, answer, report);
	}
	for (int i = 0; i < 2; i++) {
		if (answer[i] >= 0)
			close(answer[i]);
		if (report[i] >= 0)
			close(report[i]);
	}
	return status;
}
