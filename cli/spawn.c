/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Starting other programs. What is started dies with this process (PR_SET_PDEATHSIG), and has a process
 * group of its own so that a Ctrl-C meant for this process leaves it time. A pipe that exec() closes tells
 * whether it has succeeded.
 */
#include "cli/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/say.h"

/* In the child, between fork() and exec(): only async-signal-safe calls. Returns on failure. */
static void become(const struct spawn *spawn, pid_t parent)
{
	sigset_t none;
	int null = open("/dev/null", O_RDWR);

	if (null < 0 || dup2(null, 0) < 0 || dup2(spawn->out, 1) < 0 || dup2(spawn->err, 2) < 0)
		return;
	if (null > 2)
		close(null);
	sigemptyset(&none);
	signal(SIGPIPE, SIG_DFL);
	signal(SIGXFSZ, SIG_DFL);
	if (setpgid(0, 0) != 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 ||
	    (spawn->dir && chdir(spawn->dir) != 0) || sigprocmask(SIG_SETMASK, &none, NULL) != 0)
		return;
	/* The parent may have died before the request to die with it was made. */
	if (getppid() != parent)
		_exit(1);
	execvp(spawn->arg[0], (char *const *)spawn->arg);
}

/* The errno with which exec() failed; 0: it has succeeded, which closes the pipe. */
static int exec_result(int fd)
{
	int error = 0;
	ssize_t n;

	do
		n = read(fd, &error, sizeof(error));
	while (n < 0 && errno == EINTR);
	return n == sizeof(error) ? error : 0;
}

static void reap(pid_t pid, int *wait_status)
{
	while (waitpid(pid, wait_status, 0) < 0 && errno == EINTR)
		;
}

enum status spawn_start(const struct spawn *spawn, pid_t *pid, int *error)
{
	pid_t parent = getpid(), child;
	int report[2];

	*pid = 0;
	if (pipe2(report, O_CLOEXEC) != 0) {
		say("cannot make a pipe: %s", strerror(errno));
		return STATUS_SYSTEM;
	}
	child = fork();
	if (child == 0) {
		become(spawn, parent);
		*error = errno;
		if (write(report[1], error, sizeof(*error)) < 0)
			_exit(126);
		_exit(127);
	}
	*error = errno;
	close(report[1]);
	if (child > 0) {
		*error = exec_result(report[0]);
		if (*error)
			reap(child, NULL);
		else
			*pid = child;
	}
	close(report[0]);
	if (child > 0)
		return STATUS_OK;
	say("cannot start a process: %s", strerror(*error));
	return STATUS_SYSTEM;
}

static int elapsed_ms(const struct timespec *since)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int)((now.tv_sec - since->tv_sec) * 1000 +
	             (now.tv_nsec - since->tv_nsec) / 1000000);
}

static void keep(struct spawn_end *end, const char *more, size_t n)
{
	size_t len = strlen(end->text), last = strlen(end->last);

	if (len < sizeof(end->text) - 1)
		snprintf(end->text + len, sizeof(end->text) - len, "%.*s", (int)n, more);
	for (size_t i = 0; i < n; i++) {
		bool ends = more[i] == '\n' || more[i] == '\r' || !more[i];

		/* A line's end is forgotten when the next one begins. */
		if (last > 0 && end->last[last - 1] == '\n' && !ends)
			last = 0;
		if (ends ? last > 0 && end->last[last - 1] != '\n' : last < sizeof(end->last) - 2)
			end->last[last++] = ends ? '\n' : more[i];
	}
	end->last[last] = 0;
}

/* What comes until the end of the stream; false: it did not end in time. */
static bool read_all(int fd, struct spawn_end *end, int limit_ms)
{
	struct timespec start;

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (;;) {
		struct pollfd ready = {.fd = fd, .events = POLLIN};
		int left = limit_ms - elapsed_ms(&start);
		char more[512];
		ssize_t n;

		if (left <= 0)
			return false;
		if (poll(&ready, 1, left) <= 0)
			continue;
		n = read(fd, more, sizeof(more));
		if (n == 0)
			return true;
		if (n > 0)
			keep(end, more, (size_t)n);
	}
}

enum status spawn_tool(const char *const *arg, const char *dir, int limit_ms, struct spawn_end *end)
{
	int printed[2];
	enum status status;
	pid_t pid;

	memset(end, 0, sizeof(*end));
	signal(SIGCHLD, SIG_DFL); /* ignored, it would make the kernel reap the child before us */
	if (pipe2(printed, O_CLOEXEC) != 0) {
		say("cannot make a pipe: %s", strerror(errno));
		return STATUS_SYSTEM;
	}
	status = spawn_start(&(struct spawn){arg, dir, printed[1], printed[1]}, &pid, &end->error);
	close(printed[1]);
	if (pid) {
		end->late = !read_all(printed[0], end, limit_ms);
		/* And what it has started itself. */
		if (end->late)
			kill(-pid, SIGKILL);
		reap(pid, &end->wait_status);
	}
	close(printed[0]);
	end->last[strcspn(end->last, "\n")] = 0;
	return status;
}

const char *spawn_find(const char *variable, const char *usual, char path[PATH_MAX],
                       const char **wanted)
{
	const char *given = getenv(variable);

	*wanted = given && *given ? given : usual;
	if (!strchr(*wanted, '/'))
		return *wanted;
	return realpath(*wanted, path);
}
