/* SPDX-License-Identifier: BSD-2-Clause */
/* The host command `postern`. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/control.h"
#include "cli/options.h"
#include "cli/run.h"
#include "cli/say.h"
#include "cli/status.h"

/* For what prints and returns: a full disk or a closed pipe is an error like any other. */
static int printed(void)
{
	int error;

	if (fflush(stdout) == 0 && !ferror(stdout))
		return STATUS_OK;
	error = errno;
	say("cannot write the standard output: %s", strerror(error));
	return status_of_write(error, STATUS_NO_OUTPUT);
}

static int command_run(int argc, char *argv[])
{
	struct options options;

	switch (options_parse(&options, argc, argv)) {
	case OPTIONS_OK:
		return run(&options);
	case OPTIONS_HELP:
		options_help_run(stdout);
		return printed();
	default:
		return STATUS_USAGE;
	}
}

static int command_cpus(int argc, char *argv[])
{
	if (argc > 1) {
		say("cpus: unexpected argument '%s'; it takes none", argv[1]);
		return STATUS_USAGE;
	}
	options_list_cpus(stdout);
	return printed();
}

/* A closed standard stream would hand its number to the next file opened. */
static bool open_standard_streams(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= 2);
	return fd > 2 && close(fd) == 0;
}

int main(int argc, char *argv[])
{
	if (!open_standard_streams())
		return STATUS_SYSTEM;
	if (argc < 2) {
		say("no command given; see 'postern --help'");
		return STATUS_USAGE;
	}
	if (strcmp(argv[1], "run") == 0)
		return command_run(argc - 1, argv + 1);
	if (strcmp(argv[1], "cpus") == 0)
		return command_cpus(argc - 1, argv + 1);
	if (strcmp(argv[1], "control") == 0) {
		int status = control_command(argc - 1, argv + 1);

		return status == STATUS_OK ? printed() : status;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		options_help(stdout);
		return printed();
	}
	if (strcmp(argv[1], "--version") == 0) {
		printf("postern %s\n", OPTIONS_VERSION);
		return printed();
	}
	say("unknown command '%s'; see 'postern --help'", argv[1]);
	return STATUS_USAGE;
}
