/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * QEMU, for processors of AMD.
 *
 * The channels are named pipes rather than sockets because the image writes single bytes: a pipe
 * packs them into pages, a socket keeps a buffer for each and is full after a few hundred.
 *   console.in/.out  first serial line    commands.in/.out  second serial line
 *   records          the debug console at port E9h, written by the image only
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/emulator.h"
#include "cli/inputs.h"
#include "cli/say.h"
#include "cli/spawn.h"

/* The oldest that Postern has been run on. */
#define VERSION_MAJOR 7
#define VERSION_MINOR 2
#define VERSION_MS    10000

/* The pc machine: as much of its memory as lies below 4 GiB, if there is more than that. */
#define LOW_MEMORY (3ull << 30)

#define MS 1000000ull

/*
 * One host thread for all processors, unless POSTERN_TCG=multi asks for one each: QEMU 7.2's SVM is not
 * safe with several (docs/emulators.md).
 */
static bool wants_threads(const struct options *options)
{
	const char *given = getenv("POSTERN_TCG");

	return given && strcmp(given, "multi") == 0 && !options->icount;
}

static enum status cannot_start(const char *wanted, int error)
{
	say("cannot start QEMU (%s): %s%s", wanted, strerror(error),
	    error == ENOENT ? "; Debian's package is qemu-system-x86" : "");
	return STATUS_NO_QEMU;
}

static const char *find(char path[PATH_MAX], const char **wanted)
{
	return spawn_find("POSTERN_QEMU", "qemu-system-x86_64", path, wanted);
}

static enum status judge_version(const char *wanted, const char *text)
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

/* Is it a QEMU, and new enough? It answers in time or is killed. */
static enum status qemu_check(const struct options *options __unused)
{
	char path[PATH_MAX];
	const char *wanted;
	const char *emulator = find(path, &wanted);
	const char *const arg[] = {emulator, "--version", NULL};
	struct spawn_end end;
	enum status status;

	if (!emulator)
		return cannot_start(wanted, errno);
	status = spawn_tool(arg, NULL, VERSION_MS, &end);
	if (status != STATUS_OK)
		return status;
	if (end.error)
		return cannot_start(wanted, end.error);
	return judge_version(wanted, end.text);
}

static bool open_pipes(struct emulator *qemu)
{
	/* For writing, read-write: it works before QEMU opens its end, and never raises SIGPIPE. */
	qemu->console_in = emulator_open_pipe(qemu, "console.in", O_RDWR);
	qemu->console_out = emulator_open_pipe(qemu, "console.out", O_RDONLY);
	qemu->command_in = emulator_open_pipe(qemu, "commands.in", O_RDWR);
	qemu->command_out = emulator_open_pipe(qemu, "commands.out", O_RDONLY);
	qemu->records = emulator_open_pipe(qemu, "records", O_RDONLY);
	return qemu->console_in >= 0 && qemu->console_out >= 0 && qemu->command_in >= 0 &&
	       qemu->command_out >= 0 && qemu->records >= 0;
}

static enum status qemu_prepare(struct emulator *qemu, const struct options *options)
{
	const struct inputs_needs needs = {.reserve_boot_cpu = wants_threads(options)};
	enum status status = inputs_prepare(qemu->dir, options, &needs);

	if (status == STATUS_OK && !open_pipes(qemu))
		status = emulator_fail("make a temporary pipe");
	return status;
}

struct command_line {
	char cpus[16];
	char icount[32];
	char memory[32];
	char modules[INPUTS_MAX * (2 * sizeof(struct input) + 2)];
	const char *arg[40];
};

/* The list of boot files: "name-in-the-directory name-for-the-image,...". */
static void list_modules(char *modules, size_t size, const struct emulator *qemu,
                         const struct options *options)
{
	struct input list[INPUTS_MAX];
	u32 count = inputs_list(list, qemu->dir, options);
	size_t at = 0;

	for (u32 i = 0; i < count; i++) {
		bool renamed = strcmp(list[i].file, list[i].name) != 0;

		at += (size_t)snprintf(modules + at, size - at, "%s%s%s%s", i ? "," : "",
		                       list[i].file, renamed ? " " : "",
		                       renamed ? list[i].name : "");
	}
}

static void command_line(struct command_line *line, const struct emulator *qemu,
                         const struct options *options, const char *emulator)
{
	const char *const args[] = {
	        emulator,
	        "-accel",
	        wants_threads(options) ? "tcg,thread=multi" : "tcg,thread=single",
	        "-machine",
	        "pc",
	        "-cpu",
	        "max",
	        "-smp",
	        line->cpus,
	        "-m",
	        line->memory,
	        "-display",
	        "none",
	        "-nodefaults",
	        "-no-user-config",
	        "-no-reboot",
	        "-kernel",
	        "postern.elf",
	        "-append",
	        "",
	        "-initrd",
	        line->modules,
	        "-chardev",
	        "pipe,id=console,path=console",
	        "-serial",
	        "chardev:console",
	        "-chardev",
	        "pipe,id=commands,path=commands",
	        "-serial",
	        "chardev:commands",
	        "-chardev",
	        "file,id=records,path=records",
	        "-device",
	        "isa-debugcon,iobase=0xe9,chardev=records",
	        "-device",
	        "isa-debug-exit,iobase=0x501,iosize=2",
	        options->icount ? "-icount" : NULL,
	        line->icount,
	        NULL,
	};

	snprintf(line->icount, sizeof(line->icount), "shift=%u,sleep=off", options->icount_shift);
	/* With threads one more, which runs no vCPU. */
	snprintf(line->cpus, sizeof(line->cpus), "%u", options->pcpus + wants_threads(options));
	snprintf(line->memory, sizeof(line->memory), "%lluM",
	         (unsigned long long)(inputs_memory(qemu->dir, options, LOW_MEMORY) >> 20));
	list_modules(line->modules, sizeof(line->modules), qemu, options);
	_Static_assert(sizeof(args) <= sizeof(line->arg), "room for all arguments");
	memcpy(line->arg, args, sizeof(args));
}

static enum status qemu_start(struct emulator *qemu, const struct options *options)
{
	char path[PATH_MAX];
	const char *wanted;
	const char *emulator = find(path, &wanted);
	struct command_line line;
	enum status status;
	int error;

	if (!emulator)
		return cannot_start(wanted, errno);
	command_line(&line, qemu, options, emulator);
	status = emulator_exec(qemu, line.arg, -1, &error);
	if (status == STATUS_OK && error)
		return cannot_start(wanted, error);
	return status;
}

static char *qemu_why(char *printed)
{
	char *line = emulator_last_line(printed);
	char *colon = strstr(line, ": ");

	return colon && strncmp(line, "qemu", 4) == 0 ? colon + 2 : line;
}

const struct emulator_kind emulator_qemu = {
        .name = "QEMU",
        .grace_ns = 3000 * MS,
        .exit_ns = 2000 * MS,
        .check = qemu_check,
        .prepare = qemu_prepare,
        .start = qemu_start,
        .why = qemu_why,
};
