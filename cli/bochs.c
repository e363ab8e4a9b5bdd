/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bochs, for processors of Intel. What is known of it here was found with version 2.7 (docs/emulators.md).
 *
 * It boots no kernel by itself: the image and its files come on a CD with GRUB, made for the run.
 *
 * Of its serial lines the mode "file" sends without a loss, waiting for a pipe that is full, and receives
 * nothing; the mode "term" receives without a loss as long as the image uses no FIFO, and loses what it
 * sends to a terminal that is not read. So each direction has a line of its own:
 *   console.out, a pipe           first serial line
 *   commands, a pseudo-terminal   second, which sends nothing
 *   typed, a pseudo-terminal      third, by the image's option input=com3
 *   records, a pipe               port E9h, which Bochs copies to its standard output
 * A pseudo-terminal loses what comes before Bochs opens it.
 *
 * Bochs's own words: on the standard error why it ends, on the standard output a few lines at the start,
 * which are no records. Its screen is a pseudo-terminal that nobody looks at. It is built with its debugger,
 * which has to be told to let the machine run.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "cli/emulator.h"
#include "cli/inputs.h"
#include "cli/say.h"
#include "cli/spawn.h"

#define HELP_MS 10000
#define ISO_MS  60000

#define MS 1000000ull

/* All of a machine's memory has to be the host's, too, of which Bochs takes no more. */
#define MEMORY_MAX (2048ull << 20)

/* As many as have been tried; for 16 it has not the timers. */
#define PCPUS_MAX 8u

/* Instructions in a second of the guest's, on each processor. */
#define SPEED 50000000

#define GRUB_DIR "/usr/lib/grub/i386-pc"

static const char packages[] =
        "Debian's packages are bochs, bochs-term, bochsbios, vgabios, grub-common, grub-pc-bin and xorriso";

static const char rom[] = "BIOS-bochs-latest";
static const char vga_rom[] = "/usr/share/vgabios/vgabios.bin";

static enum status cannot_start(const char *wanted, int error)
{
	say("cannot start Bochs (%s): %s%s%s", wanted, strerror(error), error == ENOENT ? "; " : "",
	    error == ENOENT ? packages : "");
	return STATUS_NO_QEMU;
}

static const char *find(char path[PATH_MAX], const char **wanted)
{
	return spawn_find("POSTERN_BOCHS", "bochs", path, wanted);
}

static const char *environment_or(const char *variable, const char *usual)
{
	const char *given = getenv(variable);

	return given && *given ? given : usual;
}

static void rom_path(char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/%s", environment_or("BXSHARE", "/usr/share/bochs"), rom);
}

/* Its screen is a module in a package of its own. Where Bochs is not as Debian has it, it says so itself. */
static bool lacks_screen(char path[PATH_MAX])
{
	const char *modules =
	        environment_or("LTDL_LIBRARY_PATH", "/usr/lib/x86_64-linux-gnu/bochs/plugins");

	snprintf(path, PATH_MAX, "%s/libbx_term_gui.so", modules);
	return access(modules, X_OK) == 0 && access(path, R_OK) != 0;
}

static bool is_on_path(const char *name)
{
	const char *at = getenv("PATH");
	char path[PATH_MAX];

	while (at && *at) {
		size_t len = strcspn(at, ":");

		if (snprintf(path, sizeof(path), "%.*s/%s", (int)len, at, name) < PATH_MAX &&
		    access(path, X_OK) == 0)
			return true;
		at += len + (at[len] == ':');
	}
	return false;
}

static enum status lacks(const char *what)
{
	say("cannot run Bochs: %s is missing; %s", what, packages);
	return STATUS_NO_QEMU;
}

/* What it needs beside itself. */
static enum status check_companions(void)
{
	char path[PATH_MAX];

	rom_path(path);
	if (access(path, R_OK) != 0)
		return lacks(path);
	if (lacks_screen(path))
		return lacks(path);
	if (access(vga_rom, R_OK) != 0)
		return lacks(vga_rom);
	if (access(GRUB_DIR "/multiboot2.mod", R_OK) != 0)
		return lacks(GRUB_DIR "/multiboot2.mod");
	if (!is_on_path("grub-mkrescue"))
		return lacks("grub-mkrescue");
	if (!is_on_path("xorriso"))
		return lacks("xorriso");
	return STATUS_OK;
}

static enum status bochs_check(const struct options *options)
{
	char path[PATH_MAX];
	const char *wanted;
	const char *emulator = find(path, &wanted);
	const char *const arg[] = {emulator, "--help", NULL};
	struct spawn_end end;
	enum status status;

	if (options->pcpus > PCPUS_MAX) {
		say("--pcpus %u: at most %u on Bochs", options->pcpus, PCPUS_MAX);
		return STATUS_USAGE;
	}
	if (options_memory(options) >= MEMORY_MAX) {
		say("-m: %lluM are too much for Bochs, whose machine has at most %lluM in all",
		    (unsigned long long)options_memory(options) >> 20, MEMORY_MAX >> 20);
		return STATUS_USAGE;
	}
	if (!emulator)
		return cannot_start(wanted, errno);
	status = spawn_tool(arg, NULL, HELP_MS, &end);
	if (status != STATUS_OK)
		return status;
	if (end.error)
		return cannot_start(wanted, end.error);
	if (!strstr(end.text, "bochsrc")) {
		say("cannot start Bochs (%s): its --help is not Bochs's", wanted);
		return STATUS_NO_QEMU;
	}
	if (!strstr(end.text, "\n  -rc ")) {
		say("Bochs (%s) is built without its debugger; Debian's has it", wanted);
		return STATUS_OLD_QEMU;
	}
	return check_companions();
}

static FILE *create(const struct emulator *bochs, const char *name)
{
	char path[PATH_MAX + 16];

	snprintf(path, sizeof(path), "%s/%s", bochs->dir, name);
	return fopen(path, "wxe");
}

static enum status finish(FILE *file)
{
	bool ok = !ferror(file);

	return fclose(file) == 0 && ok ? STATUS_OK : emulator_fail("write a temporary file");
}

static enum status write_grub_config(const struct emulator *bochs, const struct input *list,
                                     u32 count)
{
	FILE *file = create(bochs, "grub.cfg");

	if (!file)
		return emulator_fail("write a temporary file");
	fputs("multiboot2 /postern.elf input=com3\n", file);
	for (u32 i = 0; i < count; i++)
		fprintf(file, "module2 /%s %s\n", list[i].file, list[i].name);
	fputs("boot\n", file);
	return finish(file);
}

/* The CD. The links are followed: what they lead to gets onto it. */
static enum status make_cd(const struct emulator *bochs, const struct input *list, u32 count)
{
	char graft[INPUTS_MAX][2 * sizeof(list->file)];
	const char *arg[16 + INPUTS_MAX] = {
	        "grub-mkrescue",
	        "-d",
	        GRUB_DIR,
	        "-o",
	        "boot.iso",
	        "--install-modules=multiboot2 iso9660 biosdisk part_msdos normal",
	        "--fonts=",
	        "--locales=",
	        "--themes=",
	        "-f",
	        "-graft-points",
	        "boot/grub/grub.cfg=grub.cfg",
	        "postern.elf=postern.elf",
	};
	struct spawn_end end;
	enum status status;
	u32 at = 0;

	while (arg[at])
		at++;
	for (u32 i = 0; i < count; i++) {
		snprintf(graft[i], sizeof(graft[i]), "%.*s=%.*s", (int)sizeof(list->file) - 1,
		         list[i].file, (int)sizeof(list->file) - 1, list[i].file);
		arg[at++] = graft[i];
	}
	/* What it would leave behind if it were killed. */
	setenv("TMPDIR", bochs->dir, 1);
	status = spawn_tool(arg, bochs->dir, ISO_MS, &end);
	if (status != STATUS_OK)
		return status;
	if (end.error || end.late || end.wait_status != 0) {
		say("cannot make a CD for Bochs: grub-mkrescue: %s", end.error ? strerror(end.error)
		                                                     : end.late ? "it does not end"
		                                                                : end.last);
		return STATUS_SYSTEM;
	}
	return STATUS_OK;
}

/*
 * The master's side of a new pseudo-terminal, whose other side passes every byte on as it is and has the name
 * `slave`.
 */
static int open_terminal(char *slave, size_t size)
{
	int fd = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	struct termios mode;

	if (fd < 0)
		return -1;
	if (grantpt(fd) == 0 && unlockpt(fd) == 0 && ptsname_r(fd, slave, size) == 0 &&
	    tcgetattr(fd, &mode) == 0) {
		cfmakeraw(&mode);
		if (tcsetattr(fd, TCSANOW, &mode) == 0)
			return fd;
	}
	close(fd);
	return -1;
}

static enum status write_bochsrc(const struct emulator *bochs, const struct options *options,
                                 const char *commands, const char *typed)
{
	u64 memory = inputs_memory(bochs->dir, options, MEMORY_MAX);
	FILE *file = create(bochs, "bochsrc");
	char path[PATH_MAX];

	if (!file)
		return emulator_fail("write a temporary file");
	rom_path(path);
	fprintf(file,
	        "display_library: term, options=\"hideIPS\"\n"
	        "config_interface: textconfig\n"
	        "plugin_ctrl: sb16=0, es1370=0, speaker=0, gameport=0, parallel=0\n"
	        "sound: driver=dummy, waveout=/dev/null\n"
	        "clock: sync=none, time0=local\n"
	        "cpu: model=tigerlake, count=%u, ips=%u, reset_on_triple_fault=0\n"
	        "memory: guest=%llu, host=%llu\n",
	        options->pcpus, SPEED, (unsigned long long)memory >> 20,
	        (unsigned long long)memory >> 20);
	fprintf(file,
	        "romimage: file=\"%s\"\n"
	        "vgaromimage: file=%s\n"
	        "ata0-master: type=cdrom, path=boot.iso, status=inserted\n"
	        "boot: cdrom\n"
	        "com1: enabled=1, mode=file, dev=console.out\n"
	        "com2: enabled=1, mode=term, dev=%s\n"
	        "com3: enabled=1, mode=term, dev=%s\n"
	        "port_e9_hack: enabled=1\n"
	        "log: /dev/null\n"
	        "panic: action=fatal\n"
	        "error: action=ignore\n"
	        "info: action=ignore\n"
	        "debug: action=ignore\n",
	        path, vga_rom, commands, typed);
	return finish(file);
}

/* The debugger's first and only command: to continue. */
static enum status write_rc(const struct emulator *bochs)
{
	FILE *file = create(bochs, "rc");

	if (!file)
		return emulator_fail("write a temporary file");
	fputs("c\n", file);
	return finish(file);
}

static enum status check_memory(const struct emulator *bochs, const struct options *options)
{
	u64 memory = inputs_memory(bochs->dir, options, MEMORY_MAX);

	if (memory <= MEMORY_MAX)
		return STATUS_OK;
	say("-m: with Postern and its files it takes %lluM; Bochs's machine has at most %lluM",
	    (unsigned long long)memory >> 20, MEMORY_MAX >> 20);
	return STATUS_USAGE;
}

static enum status bochs_prepare(struct emulator *bochs, const struct options *options)
{
	static const struct inputs_needs needs = {.stale_vectoring = true};
	enum status status = inputs_prepare(bochs->dir, options, &needs);
	struct input list[INPUTS_MAX];
	char commands[64], typed[64];
	u32 count;

	if (status == STATUS_OK)
		status = check_memory(bochs, options);
	if (status != STATUS_OK)
		return status;
	count = inputs_list(list, bochs->dir, options);
	status = write_grub_config(bochs, list, count);
	if (status == STATUS_OK)
		status = make_cd(bochs, list, count);
	if (status != STATUS_OK)
		return status;
	bochs->console_in = open_terminal(typed, sizeof(typed));
	bochs->command_in = open_terminal(commands, sizeof(commands));
	if (bochs->console_in < 0 || bochs->command_in < 0)
		return emulator_fail("make a pseudo-terminal");
	bochs->console_out = emulator_open_pipe(bochs, "console.out", O_RDONLY);
	if (bochs->console_out < 0)
		return emulator_fail("make a temporary pipe");
	status = write_bochsrc(bochs, options, commands, typed);
	if (status == STATUS_OK)
		status = write_rc(bochs);
	return status;
}

static enum status bochs_start(struct emulator *bochs, const struct options *options __unused)
{
	char path[PATH_MAX];
	const char *wanted;
	const char *emulator = find(path, &wanted);
	const char *const arg[] = {emulator, "-q", "-f", "bochsrc", "-rc", "rc", NULL};
	enum status status;
	int records[2], error;

	if (!emulator)
		return cannot_start(wanted, errno);
	if (pipe2(records, O_CLOEXEC) != 0)
		return emulator_fail("make a pipe");
	bochs->records = records[0];
	fcntl(bochs->records, F_SETFL, O_NONBLOCK);
	/* Its screen is of a kind that every system knows. */
	setenv("TERM", "dumb", 1);
	status = emulator_exec(bochs, arg, records[1], &error);
	close(records[1]);
	if (status == STATUS_OK && error)
		return cannot_start(wanted, error);
	return status;
}

/* "Bochs is exiting with the following message:", the message behind its source in brackets, a rule. */
static char *bochs_why(char *printed)
{
	static const char words[] = "the following message:\n";
	char *line = strstr(printed, words);
	char *source_end;

	if (!line)
		return emulator_last_line(printed);
	line += strlen(words);
	line[strcspn(line, "\r\n")] = 0;
	source_end = *line == '[' ? strchr(line, ']') : NULL;
	return source_end ? source_end + 1 + strspn(source_end + 1, " ") : line;
}

const struct emulator_kind emulator_bochs = {
        .name = "Bochs",
        .grace_ns = 20000 * MS,
        .exit_ns = 5000 * MS,
        .drops_input = true,
        .check = bochs_check,
        .prepare = bochs_prepare,
        .start = bochs_start,
        .why = bochs_why,
};
