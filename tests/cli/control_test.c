/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cli/control.c by itself: a socket, clients that are polite and others that are not, a pipe in the place
 * of the image, and a clock that the test moves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/control.h"

#define SECOND 1000000000ull

static char dir[] = "/tmp/postern-control.XXXXXX";
static char path[sizeof(dir) + 8];
static struct control control;
static struct options options;
static struct report report;
static struct outcome outcome;
static int image[2]; /* what is asked of the image can be read from [0] */
static u64 now;

static int setup(void **state)
{
	(void)state;
	options = (struct options){.vms = 2, .pcpus = 1};
	options.vm[0] = options.vm[1] = (struct options_vm){.cpu = "barcelona", .vcpus = 1};
	memset(&report, 0, sizeof(report));
	report.has_hello = true;
	outcome = (struct outcome){.options = &options, .report = &report};
	assert_int_equal(pipe2(image, O_NONBLOCK | O_CLOEXEC), 0);
	now = SECOND;
	control_init(&control);
	assert_int_equal(control_open(&control, path), STATUS_OK);
	return 0;
}

static int teardown(void **state)
{
	struct stat st;

	(void)state;
	control_close(&control);
	assert_int_equal(lstat(path, &st), -1);
	close(image[0]);
	close(image[1]);
	return 0;
}

/* The run's loop, as long as there is something to do. */
static void serve(void)
{
	struct pollfd slots[CONTROL_SLOTS];

	for (u32 i = 0; i < 1000; i++) {
		int ready;

		control_watch(&control, slots);
		ready = poll(slots, CONTROL_SLOTS, 0);
		assert_true(ready >= 0);
		control_serve(&control, slots, image[1], &outcome, now);
		if (!ready)
			return;
	}
	fail_msg("it goes on and on");
}

static int dial(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	memcpy(address.sun_path, path, strlen(path));
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	serve();
	return fd;
}

static void say_to(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
	serve();
}

/* What has come by now; "(end)" behind it if nothing more will. */
static const char *heard(int fd)
{
	static char text[100000];
	size_t len = 0;
	ssize_t n;

	while ((n = recv(fd, text + len, sizeof(text) - len - 10, 0)) > 0) {
		len += (size_t)n;
		serve();
	}
	text[len] = 0;
	if (n == 0 || errno != EAGAIN)
		strcat(text, "(end)");
	return text;
}

/* The image's next question, its sequence number; `vm` and `text` are as expected. */
static u16 asked(u8 vm, const char *text)
{
	struct report_ask head;
	u8 frame[1 + sizeof(head) + REPORT_ASK_TEXT + 1], sum = 0;
	ssize_t n = read(image[0], frame, 1 + sizeof(head) + strlen(text) + 1);

	assert_int_equal(n, 1 + sizeof(head) + strlen(text) + 1);
	for (ssize_t i = 0; i < n; i++)
		sum = (u8)(sum + frame[i]);
	assert_int_equal(sum, 0);
	assert_int_equal(frame[0], REPORT_CMD_ASK);
	memcpy(&head, frame + 1, sizeof(head));
	assert_int_equal(head.vm, vm);
	assert_int_equal(head.length, strlen(text));
	assert_memory_equal(frame + 1 + sizeof(head), text, head.length);
	return head.sequence;
}

static void nothing_asked(void)
{
	u8 byte;

	assert_int_equal(read(image[0], &byte, 1), -1);
}

static void image_says(u16 sequence, const char *wrong)
{
	report.answered = true;
	report.answer_sequence = sequence;
	snprintf(report.answer, sizeof(report.answer), "%s", wrong);
	serve();
}

/* --- the socket itself --- */

static void test_control_socket_is_the_users_alone(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void test_control_second_run_is_refused(void **state)
{
	struct control second;
	struct stat st;

	(void)state;
	control_init(&second);
	assert_int_equal(control_open(&second, path), STATUS_NO_OUTPUT);
	control_close(&second);
	assert_int_equal(lstat(path, &st), 0);
}

static void test_control_takes_over_what_is_stale(void **state)
{
	int fd;

	(void)state;
	close(control.fd); /* as if the run had been killed */
	control_init(&control);
	assert_int_equal(control_open(&control, path), STATUS_OK);
	fd = dial();
	say_to(fd, "account\n");
	image_says(asked(0, ""), "");
	assert_non_null(strstr(heard(fd), "ok\n"));
	close(fd);
}

static void test_control_leaves_other_files_alone(void **state)
{
	struct control other;
	char name[sizeof(path) + 2];
	struct stat st;

	(void)state;
	snprintf(name, sizeof(name), "%s.f", path);
	close(open(name, O_CREAT | O_WRONLY, 0600));
	control_init(&other);
	assert_int_equal(control_open(&other, name), STATUS_NO_OUTPUT);
	control_close(&other);
	assert_int_equal(lstat(name, &st), 0);
	assert_int_equal(unlink(name), 0);
	assert_int_equal(symlink(path, name), 0);
	assert_int_equal(control_open(&other, name), STATUS_NO_OUTPUT);
	assert_int_equal(unlink(name), 0);
	/* Somebody has put a file in the socket's place: it is not ours to remove. */
	assert_int_equal(rename(path, name), 0);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	control_close(&control);
	assert_int_equal(lstat(path, &st), 0);
	unlink(path);
	unlink(name);
	/* No such directory. */
	assert_int_equal(control_open(&other, "/nowhere/at/all"), STATUS_NO_OUTPUT);
}

/* --- commands --- */

static void test_control_set(void **state)
{
	int fd = dial();

	(void)state;
	say_to(fd, "set pit.reinject=on\n");
	assert_string_equal(heard(fd), "");
	image_says(asked(0, "pit.reinject=on"), "");
	assert_string_equal(heard(fd), "ok\n");
	say_to(fd, "set inhibit-storm=1000 vm=1\r\n");
	image_says(asked(1, "inhibit-storm=1000"), "");
	assert_string_equal(heard(fd), "ok\n");
	say_to(fd, "set inhibit-storm=1001\n");
	image_says(asked(0, "inhibit-storm=1001"), "out of this setting's range");
	assert_string_equal(heard(fd), "error: out of this setting's range\n");
	close(fd);
}

static void test_control_account(void **state)
{
	int fd = dial();
	const char *text;

	(void)state;
	report.vm[0].vcpus_seen = 1;
	report.vm[0].vcpu[0].exits[EXIT_CPUID] = 4711;
	say_to(fd, "account\n");
	image_says(asked(0, ""), "");
	text = heard(fd);
	assert_non_null(
	        strstr(text, "vm0: barcelona, 1 vCPU on 1 CPU; running; elapsed: 0.000 s\n"));
	assert_non_null(strstr(text, "4711"));
	assert_string_equal(text + strlen(text) - 4, "\nok\n");
	close(fd);
}

static void test_control_parse(void **state)
{
	static const char *const bad[] = {
	        "",
	        "x",
	        "account now",
	        "account ",
	        " account",
	        "set",
	        "set ",
	        "set pit.reinject",
	        "set pit.reinject on",
	        "set =on",
	        "set x2apic=off",
	        "set pit.reinjec=on",
	        "set pit.reinjects=on",
	        "set debug.panic=fault",
	        "set pit.reinject=on vm=2",
	        "set pit.reinject=on vm=-1",
	        "set pit.reinject=on vm=",
	        "set pit.reinject=on vm=11",
	        "set pit.reinject=on vm=1 vm=1",
	        "set pit.reinject=on on",
	        "set pit.reinject=on\t",
	        "set pit.reinject=\x80",
	};
	struct control_ask ask;
	char text[CONTROL_LINE];

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(bad); i++)
		assert_non_null(control_parse(bad[i], 2, &ask));
	memset(text, 'x', sizeof(text));
	memcpy(text, "set inhibit-storm=", 18);
	text[4 + REPORT_ASK_TEXT + 1] = 0;
	assert_non_null(control_parse(text, 2, &ask));
	text[4 + REPORT_ASK_TEXT] = 0;
	assert_null(control_parse(text, 2, &ask));
	assert_string_equal(ask.text, text + 4);
	assert_null(control_parse("set inhibit-storm=7 vm=1", 2, &ask));
	assert_int_equal(ask.vm, 1);
	assert_string_equal(ask.text, "inhibit-storm=7");
	assert_null(control_parse("account", 1, &ask));
	assert_string_equal(ask.text, "");
}

/* Several lines at once are answered in order, whoever is wrong at once. */
static void test_control_lines_in_order(void **state)
{
	int fd = dial();

	(void)state;
	say_to(fd, "set pit.reinject=on\nfly\nset pit.reinject=off\n");
	image_says(asked(0, "pit.reinject=on"), "");
	assert_string_equal(heard(fd),
	                    "ok\nerror: no such command: set KEY=VALUE [vm=N], or account\n");
	image_says(asked(0, "pit.reinject=off"), "");
	assert_string_equal(heard(fd), "ok\n");
	nothing_asked();
	close(fd);
}

/* One question at a time, in turns. */
static void test_control_several_clients(void **state)
{
	int a = dial(), b = dial(), c = dial();
	u16 sequence;

	(void)state;
	say_to(a, "set inhibit-storm=1\nset inhibit-storm=4\n");
	say_to(b, "set inhibit-storm=2\n");
	say_to(c, "set inhibit-storm=3\n");
	sequence = asked(0, "inhibit-storm=1");
	nothing_asked();
	image_says((u16)(sequence + 1), "not this one");
	nothing_asked();
	image_says(sequence, "");
	assert_string_equal(heard(a), "ok\n");
	image_says(asked(0, "inhibit-storm=2"), "no");
	image_says(asked(0, "inhibit-storm=3"), "");
	image_says(asked(0, "inhibit-storm=4"), "");
	assert_string_equal(heard(a), "ok\n");
	assert_string_equal(heard(b), "error: no\n");
	assert_string_equal(heard(c), "ok\n");
	close(a);
	close(b);
	close(c);
}

/* --- those that are not polite --- */

static void test_control_waits_for_the_image(void **state)
{
	int fd = dial();

	(void)state;
	report.has_hello = false;
	say_to(fd, "set pit.reinject=on\n");
	nothing_asked();
	now += 20 * SECOND;
	serve();
	nothing_asked();
	report.has_hello = true;
	serve();
	asked(0, "pit.reinject=on");
	now += 9 * SECOND;
	serve();
	assert_string_equal(heard(fd), "");
	now += 2 * SECOND;
	serve();
	assert_string_equal(heard(fd), "error: the hypervisor does not answer\n");
	/* The late answer is nobody's. */
	say_to(fd, "set pit.reinject=off\n");
	image_says((u16)(asked(0, "pit.reinject=off") - 1), "late");
	assert_string_equal(heard(fd), "");
	image_says(control.sequence, "");
	assert_string_equal(heard(fd), "ok\n");
	close(fd);
}

static void test_control_image_that_never_begins(void **state)
{
	int fd = dial();

	(void)state;
	report.has_hello = false;
	say_to(fd, "account\n");
	now += 61 * SECOND;
	serve();
	assert_string_equal(heard(fd), "error: the hypervisor does not answer\n(end)");
	close(fd);
}

static void test_control_long_lines_and_noise(void **state)
{
	char text[CONTROL_LINE + 1];
	int fd = dial(), noise = dial();

	(void)state;
	memset(text, 'x', CONTROL_LINE);
	text[CONTROL_LINE] = 0;
	say_to(fd, text);
	assert_string_equal(heard(fd), "error: the line is too long\n(end)");
	close(fd);
	assert_int_equal(send(noise, "account\0\n\0\n\xff\n", 13, MSG_NOSIGNAL), 13);
	serve();
	assert_string_equal(heard(noise), "error: not a line of text\nerror: not a line of text\n"
	                                  "error: not a line of text\n");
	nothing_asked();
	close(noise);
}

/* Who goes while the image has its question takes nobody's answer and gives it to nobody. */
static void test_control_client_that_goes(void **state)
{
	int fd = dial(), other;
	u16 sequence;

	(void)state;
	say_to(fd, "set inhibit-storm=1\n");
	sequence = asked(0, "inhibit-storm=1");
	close(fd);
	serve();
	other = dial(); /* in its place */
	say_to(other, "set inhibit-storm=2\n");
	nothing_asked();
	image_says(sequence, "not for you");
	assert_string_equal(heard(other), "");
	image_says(asked(0, "inhibit-storm=2"), "");
	assert_string_equal(heard(other), "ok\n");
	close(other);
}

/* Who says no more but listens gets its answer. */
static void test_control_half_closed(void **state)
{
	int fd = dial();

	(void)state;
	say_to(fd, "set inhibit-storm=1\n");
	shutdown(fd, SHUT_WR);
	serve();
	image_says(asked(0, "inhibit-storm=1"), "");
	assert_string_equal(heard(fd), "ok\n(end)");
	close(fd);
}

static void test_control_full_house(void **state)
{
	int silent[CONTROL_CLIENTS], fd;

	(void)state;
	for (u32 i = 0; i < CONTROL_CLIENTS; i++)
		silent[i] = dial();
	fd = dial();
	assert_string_equal(heard(fd), "error: too many clients\n(end)");
	close(fd);
	/* Half a line is nothing, either. */
	now += 30 * SECOND;
	say_to(silent[0], "acc");
	now += 31 * SECOND;
	serve();
	for (u32 i = 1; i < CONTROL_CLIENTS; i++) {
		assert_string_equal(heard(silent[i]), "(end)");
		close(silent[i]);
	}
	assert_string_equal(heard(silent[0]), "");
	fd = dial();
	say_to(fd, "set inhibit-storm=1\n");
	image_says(asked(0, "inhibit-storm=1"), "");
	assert_string_equal(heard(fd), "ok\n");
	close(fd);
	close(silent[0]);
}

/* Never reads, and asks for accounts that fill its buffers: it waits, others do not. */
static void test_control_client_that_does_not_read(void **state)
{
	int deaf = dial(), fd = dial(), size = 4096;
	u32 answers = 0;

	(void)state;
	report.vm[0].vcpus_seen = 1;
	setsockopt(control.client[0].fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	while (!control.client[0].out && answers < 1000) {
		say_to(deaf, "account\n");
		image_says(asked(0, ""), "");
		answers++;
	}
	assert_non_null(control.client[0].out);
	say_to(deaf, "account\naccount\n");
	nothing_asked();
	say_to(fd, "set inhibit-storm=1\n");
	image_says(asked(0, "inhibit-storm=1"), "");
	assert_string_equal(heard(fd), "ok\n");
	now += 61 * SECOND;
	serve();
	assert_int_equal(control.client[0].fd, -1);
	close(deaf);
	close(fd);
}

/* A pipe that nobody empties: the question waits. */
static void test_control_pipe_is_full(void **state)
{
	static const u8 zeros[4096];
	u8 buffer[4096];
	int fd = dial();

	(void)state;
	while (write(image[1], zeros, sizeof(zeros)) > 0)
		;
	say_to(fd, "set inhibit-storm=1\n");
	assert_int_equal(control.asking, -1);
	while (read(image[0], buffer, sizeof(buffer)) > 0)
		;
	serve();
	image_says(asked(0, "inhibit-storm=1"), "");
	assert_string_equal(heard(fd), "ok\n");
	close(fd);
}

static void test_control_end_of_the_run(void **state)
{
	int fd = dial(), idle = dial();

	(void)state;
	say_to(fd, "account\n");
	control_close(&control);
	control_init(&control);
	assert_int_equal(control_open(&control, path), STATUS_OK);
	assert_string_equal(heard(fd), "error: the run has ended\n(end)");
	assert_string_equal(heard(idle), "(end)");
	close(fd);
	close(idle);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
	        TEST(test_control_socket_is_the_users_alone),
	        TEST(test_control_second_run_is_refused),
	        TEST(test_control_takes_over_what_is_stale),
	        cmocka_unit_test_setup(test_control_leaves_other_files_alone, setup),
	        TEST(test_control_set),
	        TEST(test_control_account),
	        TEST(test_control_parse),
	        TEST(test_control_lines_in_order),
	        TEST(test_control_several_clients),
	        TEST(test_control_waits_for_the_image),
	        TEST(test_control_image_that_never_begins),
	        TEST(test_control_long_lines_and_noise),
	        TEST(test_control_client_that_goes),
	        TEST(test_control_half_closed),
	        TEST(test_control_full_house),
	        TEST(test_control_client_that_does_not_read),
	        TEST(test_control_pipe_is_full),
	        TEST(test_control_end_of_the_run),
	};
	int failed;

	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof(path), "%s/s", dir);
	failed = cmocka_run_group_tests_name("control", tests, NULL, NULL);
	rmdir(dir);
	return failed;
}
