/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stands in for QEMU and the image in tests of the host command: started in the same way, it opens
 * the same pipes and speaks the records of postern/report.h. FAKE_MODE names the course it takes.
 * Ends like isa-debug-exit does: 1 for the image's 0, 3 for its 1.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "postern/report.h"

static int console_in, console_out, command_in, command_out, records;
static u32 vcpus;

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

static void record(int fd, u8 type, const void *payload, size_t len)
{
	struct report_header h = {.magic = REPORT_MAGIC, .type = type, .len = (u16)len};

	put(fd, &h, sizeof(h));
	put(fd, payload, len);
}

static void hello(u32 more_exit_kinds)
{
	struct report_hello h = {
	        .version = REPORT_VERSION,
	        .pcpus = 2,
	        .vms = 1,
	        .vcpus = (u8)vcpus,
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
	                          .vcpus_online = (u8)vcpus};

	record(command_out, REPORT_STATUS, &s, sizeof(s));
}

static void accounts(void)
{
	for (u16 v = 0; v < vcpus; v++) {
		struct {
			struct report_account head;
			struct report_item item[9];
		} __packed a = {
		        .head = {.vcpu = v, .count = 9, .elapsed_ns = 2500000000},
		        .item = {{EXIT_CPUID, 100ull * (v + 1)},
		                 {EXIT_HLT, 10},
		                 {EXIT_KIND_COUNT + COUNTER_INJ_TIMER, 50},
		                 {EXIT_KIND_COUNT + COUNTER_IPI_SENT_UNICAST, 7},
		                 {EXIT_KIND_COUNT + COUNTER_IPI_RECEIVED, 6},
		                 {EXIT_KIND_COUNT + COUNTER_TIMER_TICKS, 55},
		                 {EXIT_KIND_COUNT + COUNTER_HLT_NS, 1500000000},
		                 {EXIT_KIND_COUNT + COUNTER_EOI, (1ull << 60) + 1},
		                 {EXIT_KIND_COUNT + COUNTER_COUNT, 3}},
		};

		record(records, REPORT_ACCOUNT, &a, sizeof(a));
	}
}

static void end(u8 ended, s32 code)
{
	struct report_end e = {.ended = ended, .code = code, .elapsed_ns = 3000000000};

	accounts();
	record(records, REPORT_END, &e, sizeof(e));
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
	show_file("cmdline");
	if (copy) {
		snprintf(command, sizeof(command), "cp initrd '%s'", copy);
		must(system(command) == 0, "cp");
	}
	end(ENDED_POWEROFF, 0);
}

static u32 configured_vcpus(void)
{
	char line[256];
	FILE *file = fopen("config", "r");
	u32 n = 0;

	must(file != NULL, "config");
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "vcpus=%u", &n) == 1)
			break;
	}
	fclose(file);
	return n;
}

static void open_all(void)
{
	console_in = must_open("console.in", O_RDWR);
	console_out = must_open("console.out", O_RDWR);
	command_in = must_open("commands.in", O_RDWR);
	command_out = must_open("commands.out", O_RDWR);
	records = must_open("records", O_WRONLY | O_CREAT | O_TRUNC);
	vcpus = configured_vcpus();
}

int main(int argc, char *argv[])
{
	const char *mode = getenv("FAKE_MODE");
	const char *code = getenv("FAKE_CODE");

	must(mode != NULL, "FAKE_MODE");
	if (strcmp(mode, "refuse") == 0) {
		fputs("qemu-system-x86_64: warning: first\nqemu-system-x86_64: -accel x: boom\n",
		      stderr);
		return 1;
	}
	open_all();
	if (strcmp(mode, "refusal") == 0) {
		text(REPORT_LOG, "error: the kernel is no bzImage");
		end(ENDED_PANIC, 1);
		return 37;
	}
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
		return 3;
	} else if (strcmp(mode, "panic") == 0) {
		text(REPORT_PANIC, "panic: it broke");
		text(REPORT_PANIC, "rip 1234");
		return 3;
	} else if (strcmp(mode, "hang") == 0 || strcmp(mode, "foreign") == 0) {
		obey();
	} else if (strcmp(mode, "linger") == 0) {
		end(ENDED_POWEROFF, 0);
		sleep(30);
	} else if (strcmp(mode, "deaf") == 0) {
		sleep(30);
	} else if (strcmp(mode, "echo") == 0) {
		echo();
	} else if (strcmp(mode, "inputs") == 0) {
		show_inputs(argc, argv);
	} else {
		must(false, mode);
	}
	return 1;
}
