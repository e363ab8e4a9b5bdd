/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Running an emulator.
 *
 * It works inside a private temporary directory and gets relative names only: symbolic links to the image,
 * the kernel and the initrd, and named pipes. So no path of the user's ever meets the emulator's option
 * syntax or that of multiboot module lines.
 */
#include "cli/emulator.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/say.h"
#include "cli/spawn.h"

const struct emulator_kind *emulator_for(const struct options *options)
{
	return strcmp(options_vendor(options), "Intel") == 0 ? &emulator_bochs : &emulator_qemu;
}

enum status emulator_fail(const char *what)
{
	int error = errno;

	say("cannot %s: %s", what, strerror(error));
	return status_of_write(error, STATUS_SYSTEM);
}

int emulator_open_pipe(const struct emulator *emulator, const char *name, int flags)
{
	char path[PATH_MAX + 16];

	snprintf(path, sizeof(path), "%s/%s", emulator->dir, name);
	if (mkfifo(path, 0600) != 0)
		return -1;
	return open(path, flags | O_NONBLOCK | O_CLOEXEC);
}

enum status emulator_prepare(struct emulator *emulator, const struct options *options)
{
	const char *tmp = getenv("TMPDIR");

	if (snprintf(emulator->dir, sizeof(emulator->dir), "%s/postern.XXXXXX",
	             tmp && *tmp ? tmp : "/tmp") >= (int)sizeof(emulator->dir)) {
		emulator->dir[0] = 0;
		errno = ENAMETOOLONG;
		return emulator_fail("make a temporary directory");
	}
	if (!mkdtemp(emulator->dir)) {
		emulator->dir[0] = 0;
		return emulator_fail("make a temporary directory");
	}
	return emulator->kind->prepare(emulator, options);
}

enum status emulator_start(struct emulator *emulator, const struct options *options)
{
	return emulator->kind->start(emulator, options);
}

enum status emulator_exec(struct emulator *emulator, const char *const *arg, int out, int *error)
{
	enum status status;
	int errors[2];

	if (pipe2(errors, O_CLOEXEC) != 0)
		return emulator_fail("make a pipe");
	status = spawn_start(
	        &(struct spawn){arg, emulator->dir, out < 0 ? errors[1] : out, errors[1]},
	        &emulator->pid, error);
	close(errors[1]);
	emulator->errors = errors[0];
	fcntl(emulator->errors, F_SETFL, O_NONBLOCK);
	return status;
}

void emulator_read_errors(struct emulator *emulator)
{
	const size_t half = sizeof(emulator->printed) / 2;
	ssize_t n;

	while (emulator->errors >= 0) {
		if (emulator->printed_len > half) {
			memmove(emulator->printed, emulator->printed + emulator->printed_len - half,
			        half);
			emulator->printed_len = half;
		}
		n = read(emulator->errors, emulator->printed + emulator->printed_len, half - 1);
		if (n > 0) {
			emulator->printed_len += (size_t)n;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0) {
			close(emulator->errors);
			emulator->errors = -1;
		}
		return;
	}
}

char *emulator_last_line(char *text)
{
	size_t len = strlen(text);
	char *line;

	while (len > 0 && strchr("\r\n \t", text[len - 1]))
		len--;
	text[len] = 0;
	line = strrchr(text, '\n');
	return line ? line + 1 : text;
}

const char *emulator_last_error(struct emulator *emulator)
{
	emulator->printed[emulator->printed_len] = 0;
	return emulator->kind->why(emulator->printed);
}

bool emulator_has_ended(struct emulator *emulator)
{
	if (emulator->pid > 0 &&
	    waitpid(emulator->pid, &emulator->wait_status, WNOHANG) == emulator->pid)
		emulator->pid = 0;
	return emulator->pid == 0;
}

void emulator_kill(struct emulator *emulator)
{
	if (emulator->pid > 0)
		kill(emulator->pid, SIGKILL);
}

/* `name` in the directory `at`, and what is in it. */
static void remove_tree(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;

	if (stream) {
		while ((entry = readdir(stream)) != NULL) {
			if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
				continue;
			if (unlinkat(fd, entry->d_name, 0) != 0 && errno == EISDIR)
				remove_tree(fd, entry->d_name);
		}
		closedir(stream);
	} else if (fd >= 0) {
		close(fd);
	}
	unlinkat(at, name, AT_REMOVEDIR);
}

void emulator_cleanup(struct emulator *emulator)
{
	int *const fds[] = {&emulator->console_in,  &emulator->console_out, &emulator->command_in,
	                    &emulator->command_out, &emulator->records,     &emulator->errors};

	if (emulator->pid > 0) {
		emulator_kill(emulator);
		while (waitpid(emulator->pid, &emulator->wait_status, 0) < 0 && errno == EINTR)
			;
		emulator->pid = 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
	if (emulator->dir[0])
		remove_tree(AT_FDCWD, emulator->dir);
	emulator->dir[0] = 0;
}
