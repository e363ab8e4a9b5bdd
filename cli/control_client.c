/* SPDX-License-Identifier: BSD-2-Clause */
/* `postern control PATH COMMAND...`: one line to the control socket of a run, and its answer. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/control.h"
#include "cli/say.h"

#define PATIENCE_S 30 /* longer than the run's own: it says what is wrong if it can */

static enum status dial(const char *path, FILE **stream)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval patience = {.tv_sec = PATIENCE_S};
	int fd;

	if (!*path || strlen(path) >= sizeof(address.sun_path)) {
		say("control %s: not the path of a socket: 1 to %zu characters", path,
		    sizeof(address.sun_path) - 1);
		return STATUS_USAGE;
	}
	memcpy(address.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
		say("control %s: %s", path,
		    errno == ECONNREFUSED ? "no run listens there" : strerror(errno));
		if (fd >= 0)
			close(fd);
		return STATUS_NO_INPUT;
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	*stream = fdopen(fd, "r+");
	if (*stream)
		return STATUS_OK;
	say("control %s: %s", path, strerror(errno));
	close(fd);
	return STATUS_SYSTEM;
}

/* The words as a line. false: it is too long, or would be several. */
static bool join(char line[CONTROL_LINE + 1], char *const words[], int count)
{
	size_t len = 0;

	for (int i = 0; i < count; i++) {
		size_t size = strlen(words[i]);

		if (strchr(words[i], '\n') || len + size + 1 >= CONTROL_LINE)
			return false;
		memcpy(line + len, words[i], size);
		len += size;
		line[len++] = i + 1 < count ? ' ' : '\n';
	}
	line[len] = 0;
	return true;
}

/* Lines up to the one that says how it went. */
static enum status listen_to(FILE *stream, bool says_ok)
{
	static const char error[] = "error: ";
	char text[1000];

	while (fgets(text, sizeof(text), stream)) {
		size_t len = strlen(error);

		if (strncmp(text, error, len) == 0) {
			text[strcspn(text, "\n")] = 0;
			say("control: %s", text + len);
			return STATUS_USAGE;
		}
		if (strcmp(text, "ok\n") != 0 || says_ok)
			fputs(text, stdout);
		if (strcmp(text, "ok\n") == 0)
			return STATUS_OK;
	}
	say("control: the run has ended or does not answer");
	return STATUS_LOST;
}

int control_command(int argc, char *argv[])
{
	char line[CONTROL_LINE + 1];
	struct control_ask ask;
	enum status status;
	const char *wrong;
	FILE *stream;

	if (argc < 3) {
		say("control: give the socket's PATH and a command: set KEY=VALUE [vm=N], or account");
		return STATUS_USAGE;
	}
	if (!join(line, argv + 2, argc - 2)) {
		say("control: the command is too long, or no single line");
		return STATUS_USAGE;
	}
	line[strlen(line) - 1] = 0;
	wrong = control_parse(line, MAX_VMS, &ask);
	if (wrong) {
		say("control: %s", wrong);
		return STATUS_USAGE;
	}
	status = dial(argv[1], &stream);
	if (status != STATUS_OK)
		return status;
	signal(SIGPIPE, SIG_IGN);
	/* A run that ends meanwhile shows when the answer is read. */
	if (fprintf(stream, "%s\n", line) > 0 && fflush(stream) == 0)
		status = listen_to(stream, *ask.text);
	else
		status = listen_to(stream, false);
	fclose(stream);
	return status;
}
