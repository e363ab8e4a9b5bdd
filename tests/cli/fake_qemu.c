/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stands in for an emulator and the image in tests of the host command: started in the same way, it opens
 * the same pipes and speaks the records of postern/report.h. FAKE_MODE names the course it takes.
 * Ends like isa-debug-exit does: 1 for the image's 0, 3 for its 1. It is a Bochs if it is started as one.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "postern/report.h"
#include "postern/settings.h"

static int console_in, console_out, command_in, command_out, records;
static u32 vms;
static u32 vcpus[MAX_VMS];

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

static int must_open(const char *name, int flags)
{
	int fd = open(name, flags);

	must(fd >= 0, name);
	return fd;
}

static void put(int fd, const void *data, size_t len)
{
	must(write(fd, data, len) == (ssize_t)len, "write");
}

static void print(const char *text)
{
	put(console_out, text, strlen(text));
}

static void vm_record(int fd, u8 type, u32 vm, const void *payload, size_t len)
{
	struct report_header h = {
	        .magic = REPORT_MAGIC, .type = type, .vm = (u8)vm, .len = (u16)len};

	put(fd, &h, sizeof(h));
	put(fd, payload, len);
}

static void record(int fd, u8 type, const void *payload, size_t len)
{
	vm_record(fd, type, 0, payload, len);
}

static void hello(u32 more_exit_kinds)
{
	struct report_hello h = {
	        .version = REPORT_VERSION,
	        .pcpus = 2,
	        .vms = (u8)vms,
	        .vcpus = (u8)vcpus[0],
	        .exit_kinds = EXIT_KIND_COUNT + more_exit_kinds,
	        .counters = COUNTER_COUNT,
	        .cpu = "barcelona",
	        .backend = "svm",
	};

	record(records, REPORT_HELLO, &h, sizeof(h));
}

static void status(void)
{
	struct report_status s = {.elapsed_ns = 2000000000,
	                          .exits = 1000,
	                          .phase = REPORT_PHASE_RUNNING,
	                          .vcpus_online = (u8)vcpus[0]};

	record(command_out, REPORT_STATUS, &s, sizeof(s));
}

/* VM n's counts are as VM 0's and a thousand times n, where that matters. */
static void vm_accounts(u32 vm)
{
	for (u16 v = 0; v < vcpus[vm]; v++) {
		struct {
			struct report_account head;
			struct report_item item[9];
		} __packed a = {
		        .head = {.vcpu = v, .count = 9, .elapsed_ns = 2500000000},
		        .item = {{EXIT_CPUID, 1000ull * vm + 100ull * (v + 1)},
		                 {EXIT_HLT, 10},
		                 {EXIT_KIND_COUNT + COUNTER_INJ_TIMER, 50},
		                 {EXIT_KIND_COUNT + COUNTER_IPI_SENT_UNICAST, 7},
		                 {EXIT_KIND_COUNT + COUNTER_IPI_RECEIVED, 6},
		                 {EXIT_KIND_COUNT + COUNTER_TIMER_TICKS, 55},
		                 {EXIT_KIND_COUNT + COUNTER_HLT_NS, 1500000000},
		                 {EXIT_KIND_COUNT + COUNTER_EOI, (1ull << 60) + 1},
		                 {EXIT_KIND_COUNT + COUNTER_COUNT, 3}},
		};

		vm_record(records, REPORT_ACCOUNT, vm, &a, sizeof(a));
	}
}

static void accounts(void)
{
	for (u32 vm = 0; vm < vms; vm++)
		vm_accounts(vm);
}

static void vm_end(u32 vm, u8 ended, s32 code)
{
	struct report_end e = {
	        .ended = ended, .code = code, .elapsed_ns = 3000000000 + vm * 1000000000ull};

	vm_record(records, REPORT_END, vm, &e, sizeof(e));
}

/* Of all VMs alike. */
static void end(u8 ended, s32 code)
{
	accounts();
	for (u32 vm = 0; vm < vms; vm++)
		vm_end(vm, ended, code);
}

static void text(u8 type, const char *line)
{
	record(records, type, line, strlen(line));
}

/* Until the host command asks for the end; 30 s at most, so that a failed test leaves nothing. */
static void obey(void)
{
	char command = 0;

	alarm(30);
	while (command != REPORT_CMD_TIMEOUT && command != REPORT_CMD_INTERRUPT)
		must(read(command_in, &command, 1) == 1, "read");
	end(command == REPORT_CMD_TIMEOUT ? ENDED_TIMEOUT : ENDED_INTERRUPTED, 0);
}

static void reply(u16 sequence, const char *wrong)
{
	struct {
		struct report_answer head;
		char text[REPORT_ASK_TEXT];
	} __packed a = {.head = {sequence}};

	memcpy(a.text, wrong, strlen(wrong));
	record(records, REPORT_ANSWER, &a, sizeof(a.head) + strlen(wrong));
}

/* One frame behind REPORT_CMD_ASK, shown on the console. A value of "bad" is not taken. */
static void take_ask(void)
{
	char text[REPORT_ASK_TEXT + 2], line[200];
	struct report_ask ask;

	must(read(command_in, &ask, sizeof(ask)) == sizeof(ask), "read");
	must(read(command_in, text, ask.length + 1u) == ask.length + 1, "read");
	text[ask.length] = 0;
	snprintf(line, sizeof(line), "asked vm%u: %s\r\n", ask.vm, *text ? text : "account");
	print(line);
	if (!*text)
		accounts();
	reply(ask.sequence, strstr(text, "=bad") ? "not a value of this setting" : "");
}

/* As obey(), and answers what is asked meanwhile. */
static void converse(void)
{
	char command = 0;

	alarm(30);
	while (command != REPORT_CMD_TIMEOUT && command != REPORT_CMD_INTERRUPT) {
		must(read(command_in, &command, 1) == 1, "read");
		if (command == REPORT_CMD_ASK)
			take_ask();
	}
	end(command == REPORT_CMD_TIMEOUT ? ENDED_TIMEOUT : ENDED_INTERRUPTED, 0);
}

static void garbage(void)
{
	/* a header that promises more than comes, and one with a wrong length for its type */
	struct report_header promise = {.magic = REPORT_MAGIC, .type = REPORT_LOG, .len = 2000};
	struct report_header wrong = {.magic = REPORT_MAGIC, .type = REPORT_END, .len = 3};
	u32 seed = 12345;

	hello(0);
	for (int i = 0; i < 5000; i++) {
		u8 byte = (u8)((seed = seed * 1103515245 + 12345) >> 16);

		put(records, &byte, 1);
	}
	put(records, &wrong, sizeof(wrong));
	end(ENDED_POWEROFF, 0);
	put(records, &promise, sizeof(promise));
}

static void echo(void)
{
	char buffer[256];
	ssize_t n;

	alarm(30);
	print("ready\r\n");
	do {
		n = read(console_in, buffer, sizeof(buffer));
		must(n > 0, "read");
		put(console_out, buffer, (size_t)n);
	} while (!memchr(buffer, 'q', (size_t)n));
	end(ENDED_POWEROFF, 0);
}

static void show_file(const char *name)
{
	char buffer[4096];
	FILE *file = fopen(name, "r");
	size_t n;

	must(file != NULL, name);
	while ((n = fread(buffer, 1, sizeof(buffer), file)) > 0)
		put(console_out, buffer, n);
	fclose(file);
	print("\n");
}

/* What it was given: the arguments, the configuration, the command line; the initrd to a file. */
static void show_inputs(int argc, char *argv[])
{
	const char *copy = getenv("FAKE_COPY");
	char command[512];

	for (int i = 1; i < argc; i++) {
		print(argv[i]);
		print("\n");
	}
	show_file("config");
	if (access("bochsrc", F_OK) == 0) {
		show_file("bochsrc");
		show_file("grub.cfg");
	}
	for (u32 vm = 0; vm < vms; vm++) {
		char name[32];

		snprintf(name, sizeof(name), "cmdline%u", vm);
		if (access(name, F_OK) == 0) /* firmware has none */
			show_file(name);
	}
	if (copy) {
		snprintf(command, sizeof(command), "cp initrd0 '%s'", copy);
		must(system(command) == 0, "cp");
	}
	end(ENDED_POWEROFF, 0);
}

static void vm_print(u32 vm, const char *text)
{
	vm_record(records, REPORT_CONSOLE, vm, text, strlen(text));
}

/* Several VMs with an ending each, by FAKE_ENDS: "ENDING:CODE" for each, divided by blanks. */
static void end_each(void)
{
	const char *at = getenv("FAKE_ENDS");
	unsigned int ending;
	int code, used;

	accounts();
	for (u32 vm = 0; vm < vms; vm++, at += used) {
		must(at && sscanf(at, "%u:%d%n", &ending, &code, &used) == 2, "FAKE_ENDS");
		vm_end(vm, (u8)ending, code);
	}
}

/* Until the file of that name, which the host command writes, holds the word; 30 s at most. */
static void await_word(const char *name, const char *word)
{
	static char text[65536];

	must(name != NULL, "FAKE_COPY");
	for (;;) {
		FILE *file = fopen(name, "r");
		size_t n = 0;

		if (file) {
			n = fread(text, 1, sizeof(text) - 1, file);
			fclose(file);
		}
		text[n] = 0;
		if (strstr(text, word))
			return;
		usleep(10000);
	}
}

/* Consoles: pieces of lines, control characters, a line of VM 0's that is interrupted. */
static void talk(void)
{
	const char *copy = getenv("FAKE_COPY");
	char long_line[1501];

	alarm(30);
	vm_print(1, "first\r\nsec");
	vm_print(1, "ond\033[2J\rover\n");
	print("zero hangs");
	await_word(copy, "zero hangs");
	vm_print(2, "\n\tthird\r\n");
	await_word(copy, "third"); /* VM 0's line ends only then */
	print(" and ends\r\n");
	memset(long_line, 'x', sizeof(long_line) - 1);
	long_line[sizeof(long_line) - 1] = 0;
	vm_print(3, long_line);
	end(ENDED_POWEROFF, 0);
}

/* More than any buffer holds, and a false END in it. */
static void flood(void)
{
	struct report_header h = {.magic = REPORT_MAGIC, .type = REPORT_END, .len = 13};
	struct report_header last = {
	        .magic = REPORT_MAGIC, .type = REPORT_CONSOLE, .vm = 1, .len = 500};
	struct report_end e = {.ended = ENDED_RESET};
	char text[64];

	for (u32 i = 0; i < 50000; i++) {
		snprintf(text, sizeof(text), "%u\n", i);
		vm_print(1, text);
	}
	vm_accounts(0);
	vm_accounts(1);
	/* Dies within a console record that holds what looks like the end. */
	put(records, &last, sizeof(last));
	put(records, &h, sizeof(h));
	put(records, &e, sizeof(e));
	raise(SIGKILL);
}

static void read_config(void)
{
	char line[256];
	FILE *file = fopen("config", "r");
	u32 vm = 0;

	must(file != NULL, "config");
	while (fgets(line, sizeof(line), file)) {
		must(sscanf(line, "vm=%u", &vm) < 2 && vm < MAX_VMS, "vm=");
		sscanf(line, "vcpus=%u", &vcpus[vm]);
	}
	fclose(file);
	vms = vm + 1;
}

static void open_all(void)
{
	console_in = must_open("console.in", O_RDWR);
	console_out = must_open("console.out", O_RDWR);
	command_in = must_open("commands.in", O_RDWR);
	command_out = must_open("commands.out", O_RDWR);
	records = must_open("records", O_WRONLY | O_CREAT | O_TRUNC);
	read_config();
}

/* What bochsrc says of a serial line: mode=MODE, dev=NAME. */
static void find_line(const char *line, const char *mode, char device[64])
{
	char text[256], want[64], found = 0;
	FILE *file = fopen("bochsrc", "r");

	must(file != NULL, "bochsrc");
	snprintf(want, sizeof(want), "%s: enabled=1, mode=%s, dev=%%63s", line, mode);
	while (fgets(text, sizeof(text), file))
		found |= sscanf(text, want, device) == 1;
	fclose(file);
	must(found, line);
}

/* As Bochs's mode "term": in raw mode, and what has come before is thrown away. */
static int open_term(const char *line)
{
	struct termios mode;
	char device[64];
	int fd;

	find_line(line, "term", device);
	fd = must_open(device, O_RDWR | O_NOCTTY);
	must(tcgetattr(fd, &mode) == 0, device);
	must((mode.c_lflag & (ICANON | ECHO | ISIG)) == 0, "a terminal that is not raw");
	must(tcsetattr(fd, TCSAFLUSH, &mode) == 0, device);
	return fd;
}

/* What it says on both streams is as the real one's; the CD is looked at by its size only. */
static void open_as_bochs(void)
{
	char device[64];

	must(access("boot.iso", R_OK) == 0, "boot.iso");
	find_line("com1", "file", device);
	puts("Bochs x86 Emulator 2.7 (stand-in)\nNext at t=0");
	fflush(stdout);
	fputs("Bochs connected to screen \"nowhere\"\n", stderr);
	usleep(300000); /* its firmware: what is typed now must not be lost */
	console_out = must_open(device, O_WRONLY | O_CREAT | O_TRUNC);
	command_in = open_term("com2");
	console_in = open_term("com3");
	records = command_out = 1;
	read_config();
}

static int show_help(void)
{
	const char *help = getenv("FAKE_HELP");

	puts(help ? help : "Usage: bochs [flags] [bochsrc options]\n  -rc filename     commands");
	return 0;
}

/* Bochs's last words. */
static int exit_as_bochs(const char *why)
{
	fprintf(stderr, "====\nBochs is exiting with the following message:\n[UNMAP ] %s\n====\n",
	        why);
	return 1;
}

static int show_version(void)
{
	const char *version = getenv("FAKE_VERSION");

	if (version && strcmp(version, "never") == 0)
		sleep(30);
	printf("%s\nCopyright (c) nobody\n",
	       version ? version : "QEMU emulator version 7.2.0 (stand-in)");
	return 0;
}

static int refusal(const char *line, int kind)
{
	struct report_end e = {.ended = ENDED_REFUSED, .code = kind};

	must(line != NULL, "FAKE_LINE");
	text(REPORT_LOG, line);
	record(records, REPORT_END, &e, sizeof(e));
	return 2 * REPORT_EXIT_REFUSED + 1;
}

int main(int argc, char *argv[])
{
	const char *mode = getenv("FAKE_MODE");
	const char *code = getenv("FAKE_CODE");

	if (argc == 2 && strncmp(argv[1], "--", 2) == 0)
		return strcmp(argv[1], "--help") == 0 ? show_help() : show_version();
	must(mode != NULL, "FAKE_MODE");
	if (strcmp(mode, "bochs-refuse") == 0)
		return exit_as_bochs("boom");
	if (strcmp(mode, "refuse") == 0) {
		fputs("qemu-system-x86_64: warning: first\nqemu-system-x86_64: -accel x: boom\n",
		      stderr);
		return 1;
	}
	if (strcmp(mode, "vanish") == 0)
		return 0;
	if (strcmp(mode, "crash") == 0)
		return raise(SIGKILL);
	if (strcmp(argv[1], "-q") == 0)
		open_as_bochs();
	else
		open_all();
	if (strcmp(mode, "refusal") == 0)
		return refusal(getenv("FAKE_LINE"), code ? atoi(code) : 0);
	if (strcmp(mode, "garbage") == 0) {
		garbage();
		return 1;
	}
	hello(strcmp(mode, "foreign") == 0);
	print("guest speaking\r\n");
	status();
	accounts();
	if (strcmp(mode, "normal") == 0) {
		text(REPORT_LOG, "a line of the log\033[2J");
		end(ENDED_POWEROFF, code ? atoi(code) : 0);
	} else if (strcmp(mode, "triple") == 0) {
		end(ENDED_TRIPLE_FAULT, 0);
	} else if (strcmp(mode, "reset") == 0) {
		end(ENDED_RESET, 0);
	} else if (strcmp(mode, "debug-exit") == 0) {
		end(ENDED_DEBUG_EXIT, code ? atoi(code) : 0);
	} else if (strcmp(mode, "die") == 0) {
		raise(SIGKILL);
	} else if (strcmp(mode, "config") == 0) {
		text(REPORT_LOG, "config: unknown key 'x'");
		return 2 * REPORT_EXIT_REFUSED + 1;
	} else if (strcmp(mode, "silent-panic") == 0) {
		return 2 * REPORT_EXIT_PANIC + 1;
	} else if (strcmp(mode, "ended-guest") == 0) {
		text(REPORT_LOG, "vm 0: vCPU 0: exit invalid-state");
		end(ENDED_PANIC, 0);
	} else if (strcmp(mode, "panic") == 0) {
		print("half a line");
		usleep(300000); /* shown before the records are read */
		text(REPORT_PANIC, "panic: it broke");
		text(REPORT_PANIC, "rip 1234");
		return 2 * REPORT_EXIT_PANIC + 1;
	} else if (strcmp(mode, "hang") == 0 || strcmp(mode, "foreign") == 0) {
		obey();
	} else if (strcmp(mode, "converse") == 0) {
		converse();
	} else if (strcmp(mode, "linger") == 0) {
		end(ENDED_POWEROFF, 0);
		sleep(30);
	} else if (strcmp(mode, "deaf") == 0) {
		sleep(30);
	} else if (strcmp(mode, "echo") == 0) {
		echo();
	} else if (strcmp(mode, "ends") == 0) {
		end_each();
	} else if (strcmp(mode, "talk") == 0) {
		talk();
	} else if (strcmp(mode, "flood") == 0) {
		flood();
	} else if (strcmp(mode, "inputs") == 0) {
		show_inputs(argc, argv);
	} else {
		must(false, mode);
	}
	return 1;
}
