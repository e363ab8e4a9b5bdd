/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Running QEMU.
 *
 * QEMU works inside a private temporary directory and gets relative names only: symbolic links to
 * the image, the kernel and the initrd, and named pipes. So no path of the user's ever meets QEMU's
 * option syntax (commas) or that of multiboot module lines (blanks).
 *
 * The channels are named pipes rather than sockets because the image writes single bytes: a pipe
 * packs them into pages, a socket keeps a buffer for each and is full after a few hundred.
 *   console.in/.out  first serial line    commands.in/.out  second serial line
 *   records          the debug console at port E9h, written by the image only
 *
 * QEMU dies with this process (PR_SET_PDEATHSIG), and has a process group of its own so that a
 * Ctrl-C meant for this process leaves the image time for its last account.
 */
#include "cli/qemu.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cpio.h"
#include "cli/say.h"

/* Boot files lie below 4 GiB, beside what else lies there. */
#define QEMU_MAX_FILES (2ull << 30)

#define FIRMWARE_MAX  (16ull << 20)
#define FIRMWARE_PAGE 4096

/* What the hypervisor itself needs beside the guests' memory and the boot files. */
#define QEMU_OVERHEAD (96ull << 20)
#define QEMU_VM       (8ull << 20) /* and for each VM but the first */
/* QEMU's pc machine: as much of its memory as lies below 4 GiB, if there is more than that. */
#define QEMU_LOW (3ull << 30)

static const char *const setting_keys[] = {
#define X(id, key, type, def, min, max, what) [SETTING_##id] = key,
        SETTINGS(X)
#undef X
};

static enum status fail(const char *what)
{
	int error = errno;

	say("cannot %s: %s", what, strerror(error));
	return status_of_write(error, STATUS_SYSTEM);
}

/* `name` beside the running executable. */
static bool path_beside(char path[PATH_MAX], const char *name)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (n < 0)
		return false;
	self[n] = 0;
	slash = strrchr(self, '/');
	if (slash)
		slash[1] = 0;
	return snprintf(path, PATH_MAX, "%s%s", self, name) < PATH_MAX;
}

/*
 * Link `name` in the directory to a file that must be there: the one given, or `usual` beside the
 * executable. `hint` tells what to do when the usual one is missing.
 */
static enum status link_input(const char *dir, const char *name, const char *what,
                              const char *given, const char *usual, const char *hint)
{
	char path[PATH_MAX], real[PATH_MAX], link[PATH_MAX + 16];
	struct stat st;

	if (given)
		snprintf(path, sizeof(path), "%s", given);
	else if (!path_beside(path, usual))
		return fail("find the executable's directory");
	if (!realpath(path, real) || access(real, R_OK) != 0) {
		say("%s %s: %s%s", what, path, strerror(errno), given ? "" : hint);
		return STATUS_NO_INPUT;
	}
	if (stat(real, &st) != 0 || !S_ISREG(st.st_mode)) {
		say("%s %s: not a regular file", what, path);
		return STATUS_NO_INPUT;
	}
	if (st.st_size == 0) {
		say("%s %s: the file is empty", what, path);
		return STATUS_NO_INPUT;
	}
	snprintf(link, sizeof(link), "%s/%s", dir, name);
	return symlink(real, link) == 0 ? STATUS_OK : fail("make a temporary link");
}

static FILE *create(const char *dir, const char *name)
{
	char path[PATH_MAX + 16];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return fopen(path, "wxe");
}

static bool close_written(FILE *file)
{
	bool ok = !ferror(file);

	return fclose(file) == 0 && ok;
}

/*
 * One host thread for all processors, unless POSTERN_TCG=multi asks for one each: QEMU 7.2's SVM is not
 * safe with several (docs/emulators.md).
 */
static bool wants_threads(const struct options *options)
{
	const char *given = getenv("POSTERN_TCG");

	return given && strcmp(given, "multi") == 0 && !options->icount;
}

static const char *file_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* The name in the directory of a VM's file: "kernel0", "initrd1" and so on. */
struct vm_file {
	char name[24];
};

static struct vm_file vm_file(const char *what, u32 vm)
{
	struct vm_file file;

	snprintf(file.name, sizeof(file.name), "%s%u", what, vm);
	return file;
}

static void write_apic_ids(FILE *file, const struct apic_ids *ids)
{
#define X(key, what)                                                                               \
	if (ids->count)                                                                            \
		fprintf(file, "set.%s=", key);
	SETTING_APIC_IDS(X)
#undef X
	for (u32 i = 0; i < ids->count; i++)
		fprintf(file, "%u%c", ids->id[i], i + 1 < ids->count ? ',' : '\n');
}

static void write_vm_config(FILE *file, const struct options_vm *vm)
{
	fprintf(file, "cpu=%s\nvcpus=%u\nmemory=%llu\n", vm->cpu, vm->vcpus,
	        (unsigned long long)vm->memory);
	for (u32 i = 0; i < SETTING_COUNT; i++) {
		const char *choice = options_choice(i, vm->setting[i]);

		if (vm->has_setting[i] && choice)
			fprintf(file, "set.%s=%s\n", setting_keys[i], choice);
		else if (vm->has_setting[i])
			fprintf(file, "set.%s=%llu\n", setting_keys[i],
			        (unsigned long long)vm->setting[i]);
	}
	write_apic_ids(file, &vm->apic_ids);
}

static enum status write_config(const char *dir, const struct options *options)
{
	FILE *file = create(dir, "config");

	if (!file)
		return fail("write a temporary file");
	fprintf(file, "reserve-boot-cpu=%d\n", wants_threads(options));
	if (options->gdb_wait)
		fputs("debugger-wait=1\n", file);
	for (u32 i = 0; i < options->vms; i++) {
		if (i > 0)
			fprintf(file, "vm=%u\n", i);
		write_vm_config(file, &options->vm[i]);
	}
	return close_written(file) ? STATUS_OK : fail("write a temporary file");
}

static enum status write_cmdline(const char *dir, const struct options_vm *vm, u32 index)
{
	FILE *file = create(dir, vm_file("cmdline", index).name);

	if (!file)
		return fail("write a temporary file");
	/* A Multiboot kernel's command line begins with the kernel's name. */
	if (vm->multiboot)
		fprintf(file, "%s%s", file_name(vm->kernel), *vm->cmdline ? " " : "");
	fputs(vm->cmdline, file);
	return close_written(file) ? STATUS_OK : fail("write a temporary file");
}

/* The initrd becomes a file: what the link "base" leads to, and the archive with the command. */
static enum status write_command_initrd(const char *dir, const struct options_vm *vm, u32 index)
{
	char *script = cpio_command_script(vm->command, vm->command_words);
	FILE *out = create(dir, vm_file("initrd", index).name);
	char path[PATH_MAX + 16];
	FILE *base;
	bool ok;

	snprintf(path, sizeof(path), "%s/%s", dir, vm_file("base", index).name);
	base = fopen(path, "re");
	ok = script && out && base && cpio_copy_padded(out, base) &&
	     cpio_write_command(out, script);
	if (out)
		ok = close_written(out) && ok;
	if (base)
		fclose(base);
	free(script);
	return ok ? STATUS_OK : fail("write the initrd with the command");
}

static u64 file_size(const char *dir, const char *name)
{
	char path[PATH_MAX + 16];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return stat(path, &st) == 0 ? (u64)st.st_size : 0;
}

/*
 * Files that could never fit are refused here: QEMU would first take as much memory for them. The
 * image knows exactly, and refuses the others.
 */
static enum status check_room(const char *dir, const struct options_vm *vm, u32 index, u64 *all)
{
	const char *const names[] = {"kernel", "initrd"};
	const char *const links[] = {"kernel", vm->command_words ? "base" : "initrd"};
	const char *const given[] = {vm->kernel, vm->initrd};
	u64 files = 0;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		u64 size = file_size(dir, vm_file(links[i], index).name);

		files += size;
		*all += size;
		if (files <= vm->memory && *all <= QEMU_MAX_FILES)
			continue;
		say("%s%s%s: too large for %s", names[i], given[i] ? " " : "",
		    given[i] ? given[i] : "",
		    files > vm->memory ? "the guest's memory (-m)" : "QEMU to hand over");
		return STATUS_NO_ROOM;
	}
	return STATUS_OK;
}

/* As the image would refuse it. */
static enum status prepare_firmware(const char *dir, const struct options_vm *vm, u32 index,
                                    u64 *all)
{
	struct vm_file name = vm_file("firmware", index);
	enum status status = link_input(dir, name.name, "firmware", vm->firmware, NULL, "");
	u64 size = file_size(dir, name.name);

	if (status != STATUS_OK)
		return status;
	*all += size;
	if (size > FIRMWARE_MAX) {
		say("firmware %s: larger than 16 MiB", vm->firmware);
		return STATUS_BAD_INPUT;
	}
	if (size % FIRMWARE_PAGE) {
		say("firmware %s: not a multiple of 4 KiB", vm->firmware);
		return STATUS_BAD_INPUT;
	}
	return STATUS_OK;
}

static enum status prepare_vm(const char *dir, const struct options_vm *vm, u32 index, u64 *all)
{
	static const char guest_hint[] = "; 'make guest' makes it";
	bool has_command = vm->command_words > 0;
	enum status status;

	if (vm->firmware)
		return prepare_firmware(dir, vm, index, all);
	status = link_input(dir, vm_file("kernel", index).name, "kernel", vm->kernel,
	                    "guest/vmlinuz", guest_hint);
	if (status == STATUS_OK && (vm->initrd || options_wants_demo_initrd(vm)))
		status = link_input(dir, vm_file(has_command ? "base" : "initrd", index).name,
		                    "initrd", vm->initrd, "guest/initrd.img", guest_hint);
	if (status == STATUS_OK)
		status = check_room(dir, vm, index, all);
	if (status == STATUS_OK && has_command)
		status = write_command_initrd(dir, vm, index);
	if (status == STATUS_OK)
		status = write_cmdline(dir, vm, index);
	return status;
}

static enum status prepare_inputs(const char *dir, const struct options *options)
{
	const char *image = getenv("POSTERN_IMAGE");
	enum status status;
	u64 files = 0;

	status = link_input(dir, "postern.elf", "hypervisor image", image && *image ? image : NULL,
	                    "postern.elf", "; 'make' makes it");
	for (u32 i = 0; status == STATUS_OK && i < options->vms; i++)
		status = prepare_vm(dir, &options->vm[i], i, &files);
	if (status == STATUS_OK)
		status = write_config(dir, options);
	return status;
}

static int open_pipe(const char *dir, const char *name, int flags)
{
	char path[PATH_MAX + 16];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (mkfifo(path, 0600) != 0)
		return -1;
	return open(path, flags | O_NONBLOCK | O_CLOEXEC);
}

static bool open_pipes(struct qemu *qemu)
{
	/* For writing, read-write: it works before QEMU opens its end, and never raises SIGPIPE. */
	qemu->console_in = open_pipe(qemu->dir, "console.in", O_RDWR);
	qemu->console_out = open_pipe(qemu->dir, "console.out", O_RDONLY);
	qemu->command_in = open_pipe(qemu->dir, "commands.in", O_RDWR);
	qemu->command_out = open_pipe(qemu->dir, "commands.out", O_RDONLY);
	qemu->records = open_pipe(qemu->dir, "records", O_RDONLY);
	return qemu->console_in >= 0 && qemu->console_out >= 0 && qemu->command_in >= 0 &&
	       qemu->command_out >= 0 && qemu->records >= 0;
}

enum status qemu_prepare(struct qemu *qemu, const struct options *options)
{
	const char *tmp = getenv("TMPDIR");
	enum status status;

	if (snprintf(qemu->dir, sizeof(qemu->dir), "%s/postern.XXXXXX",
	             tmp && *tmp ? tmp : "/tmp") >= (int)sizeof(qemu->dir)) {
		qemu->dir[0] = 0;
		errno = ENAMETOOLONG;
		return fail("make a temporary directory");
	}
	if (!mkdtemp(qemu->dir)) {
		qemu->dir[0] = 0;
		return fail("make a temporary directory");
	}
	status = prepare_inputs(qemu->dir, options);
	if (status == STATUS_OK && !open_pipes(qemu))
		status = fail("make a temporary pipe");
	return status;
}

struct command_line {
	char cpus[16];
	char icount[32];
	char memory[32];
	char modules[64 * (MAX_VMS + 1)];
	const char *arg[40];
};

/*
 * How much memory QEMU must have for each VM's to lie in one piece, as the image needs it. The image
 * takes the first piece that is large enough; the machine's memory is in two, below 4 GiB and above.
 */
static u64 machine_memory(const struct qemu *qemu, const struct options *options)
{
	u64 low = QEMU_OVERHEAD + (options->vms - 1) * QEMU_VM;
	u64 high = 0;

	for (u32 i = 0; i < options->vms; i++)
		low += file_size(qemu->dir, vm_file("kernel", i).name) +
		       2 * file_size(qemu->dir, vm_file("firmware", i).name) + /* and a copy */
		       file_size(qemu->dir, vm_file("initrd", i).name);
	for (u32 i = 0; i < options->vms; i++) {
		if (low + options->vm[i].memory <= QEMU_LOW)
			low += options->vm[i].memory;
		else
			high += options->vm[i].memory;
	}
	return ALIGN_UP(high ? QEMU_LOW + high : low, 16ull << 20);
}

/* The list of boot files: "name-in-the-directory name-for-the-image,...". */
static void list_modules(char *modules, size_t size, const struct qemu *qemu,
                         const struct options *options)
{
	size_t at = (size_t)snprintf(modules, size, "config");

	for (u32 i = 0; i < options->vms; i++) {
		if (options->vm[i].firmware) {
			at += (size_t)snprintf(modules + at, size - at, ",firmware%u", i);
			continue;
		}
		at += (size_t)snprintf(modules + at, size - at, ",kernel%u %s%u,cmdline%u", i,
		                       options->vm[i].multiboot ? "multiboot" : "kernel", i, i);
		if (file_size(qemu->dir, vm_file("initrd", i).name))
			at += (size_t)snprintf(modules + at, size - at, ",initrd%u", i);
	}
}

static void command_line(struct command_line *line, const struct qemu *qemu,
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
	         (unsigned long long)(machine_memory(qemu, options) >> 20));
	list_modules(line->modules, sizeof(line->modules), qemu, options);
	_Static_assert(sizeof(args) <= sizeof(line->arg), "room for all arguments");
	memcpy(line->arg, args, sizeof(args));
}

/* In the child, between fork() and exec(): only async-signal-safe calls. Returns on failure. */
static void become_qemu(const struct qemu *qemu, const struct command_line *line, pid_t parent,
                        int errors)
{
	sigset_t none;
	int null = open("/dev/null", O_RDWR);

	if (null < 0 || dup2(null, 0) < 0 || dup2(errors, 1) < 0 || dup2(errors, 2) < 0)
		return;
	if (null > 2)
		close(null);
	sigemptyset(&none);
	signal(SIGPIPE, SIG_DFL);
	signal(SIGXFSZ, SIG_DFL);
	if (setpgid(0, 0) != 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || chdir(qemu->dir) != 0 ||
	    sigprocmask(SIG_SETMASK, &none, NULL) != 0)
		return;
	/* The parent may have died before the request to die with it was made. */
	if (getppid() != parent)
		_exit(1);
	execvp(line->arg[0], (char *const *)line->arg);
}

const char *qemu_find(char path[PATH_MAX], const char **wanted)
{
	const char *given = getenv("POSTERN_QEMU");

	*wanted = given && *given ? given : "qemu-system-x86_64";
	if (!strchr(*wanted, '/'))
		return *wanted;
	return realpath(*wanted, path);
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

static enum status fork_qemu(struct qemu *qemu, const struct command_line *line, int errors,
                             int report[2], int *error)
{
	pid_t parent = getpid();

	qemu->pid = fork();
	if (qemu->pid < 0) {
		qemu->pid = 0;
		return fail("start a process");
	}
	if (qemu->pid == 0) {
		become_qemu(qemu, line, parent, errors);
		*error = errno;
		if (write(report[1], error, sizeof(*error)) < 0)
			_exit(126);
		_exit(127);
	}
	close(report[1]);
	report[1] = -1;
	*error = exec_result(report[0]);
	return STATUS_OK;
}

enum status qemu_cannot_start(const char *wanted, int error)
{
	say("cannot start QEMU (%s): %s%s", wanted, strerror(error),
	    error == ENOENT ? "; Debian's package is qemu-system-x86" : "");
	return STATUS_NO_QEMU;
}

enum status qemu_start(struct qemu *qemu, const struct options *options)
{
	char path[PATH_MAX];
	const char *wanted;
	const char *emulator = qemu_find(path, &wanted);
	int report[2] = {-1, -1}, errors[2] = {-1, -1};
	struct command_line line;
	enum status status;
	int error = errno;

	if (emulator) {
		command_line(&line, qemu, options, emulator);
		if (pipe2(report, O_CLOEXEC) != 0 || pipe2(errors, O_CLOEXEC) != 0)
			status = fail("make a pipe");
		else
			status = fork_qemu(qemu, &line, errors[1], report, &error);
	} else {
		status = STATUS_OK;
	}
	for (int i = 0; i < 2; i++) {
		if (report[i] >= 0)
			close(report[i]);
	}
	if (errors[1] >= 0)
		close(errors[1]);
	qemu->errors = errors[0];
	if (qemu->errors >= 0)
		fcntl(qemu->errors, F_SETFL, O_NONBLOCK);
	if (status == STATUS_OK && (!emulator || error != 0))
		return qemu_cannot_start(wanted, error);
	return status;
}

void qemu_read_errors(struct qemu *qemu)
{
	const size_t half = sizeof(qemu->printed) / 2;
	ssize_t n;

	while (qemu->errors >= 0) {
		if (qemu->printed_len > half) {
			memmove(qemu->printed, qemu->printed + qemu->printed_len - half, half);
			qemu->printed_len = half;
		}
		n = read(qemu->errors, qemu->printed + qemu->printed_len, half - 1);
		if (n > 0) {
			qemu->printed_len += (size_t)n;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0) {
			close(qemu->errors);
			qemu->errors = -1;
		}
		return;
	}
}

const char *qemu_last_error(struct qemu *qemu)
{
	char *text = qemu->printed;
	char *line, *colon;

	while (qemu->printed_len > 0 && strchr("\r\n \t", text[qemu->printed_len - 1]))
		qemu->printed_len--;
	text[qemu->printed_len] = 0;
	line = strrchr(text, '\n');
	line = line ? line + 1 : text;
	colon = strstr(line, ": ");
	if (colon && strncmp(line, "qemu", 4) == 0)
		line = colon + 2;
	return line;
}

bool qemu_has_ended(struct qemu *qemu)
{
	if (qemu->pid > 0 && waitpid(qemu->pid, &qemu->wait_status, WNOHANG) == qemu->pid)
		qemu->pid = 0;
	return qemu->pid == 0;
}

void qemu_kill(struct qemu *qemu)
{
	if (qemu->pid > 0)
		kill(qemu->pid, SIGKILL);
}

static void remove_directory(const char *dir)
{
	DIR *stream = opendir(dir);
	struct dirent *entry;

	if (stream) {
		while ((entry = readdir(stream)) != NULL) {
			if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
				unlinkat(dirfd(stream), entry->d_name, 0);
		}
		closedir(stream);
	}
	rmdir(dir);
}

void qemu_cleanup(struct qemu *qemu)
{
	int *const fds[] = {&qemu->console_in,  &qemu->console_out, &qemu->command_in,
	                    &qemu->command_out, &qemu->records,     &qemu->errors};

	if (qemu->pid > 0) {
		qemu_kill(qemu);
		while (waitpid(qemu->pid, &qemu->wait_status, 0) < 0 && errno == EINTR)
			;
		qemu->pid = 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
	if (qemu->dir[0])
		remove_directory(qemu->dir);
	qemu->dir[0] = 0;
}
