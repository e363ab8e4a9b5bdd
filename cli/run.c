/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The run: one loop over poll(), no threads. The rules:
 *   - Whatever happens, the run ends by the emulator's death, asked for or not; then everything that is
 *     still in the pipes is read, and only then is judged how it went.
 *   - To end it, the image is asked for its last account; the answer is awaited for a grace, then the
 *     emulator is killed. A second signal does not wait.
 *   - Signals come through a descriptor, so that no code here runs at an arbitrary point.
 *   - Nothing waits for a slow reader of the standard output but the guests.
 *   - VM 0's console is passed on as it comes. The lines of other VMs go between its lines, or
 *     break one that does not end for HOLD_NS.
 *   - Records and console are written byte by byte; waking up for each byte would take the
 * processor from the emulator. So after a read the next one waits a little, which the pipes are large
 * enough for.
 */
#include "cli/run_priv.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/channel.h"
#include "cli/console.h"
#include "cli/control.h"
#include "cli/emulator.h"
#include "cli/gdb.h"
#include "cli/json.h"
#include "cli/lines.h"
#include "cli/outcome.h"
#include "cli/report.h"
#include "cli/say.h"

#define MS           1000000ull
#define NEVER        UINT64_MAX
#define DEAF_NS      (3000 * MS) /* the same as a grace, of an image that has not spoken yet */
#define ASK_AGAIN_NS (500 * MS)  /* a command sent before the image listens may be lost */
#define SAMPLE_NS    (20 * MS)
#define CONSOLE_NS   (2 * MS)
#define STATUS_NS    (250 * MS)
#define SILENCE_NS   (150 * MS) /* of the guest before the status line is drawn */
#define HOLD_NS      (500 * MS) /* that other VMs' lines wait for the end of VM 0's */
#define RATE_NS      (500 * MS) /* over which exits per second are taken, at least */
#define READ_MAX     8192

static u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * 1000000000 + (u64)ts.tv_nsec;
}

static void on_text(void *context, enum report_type type, const char *text)
{
	struct run *run = context;
	bool panic = type == REPORT_PANIC;

	if (panic || judge_is_error(text) || !judge_is_error(run->last_log))
		snprintf(run->last_log, sizeof(run->last_log), "%s", text);
	if ((panic || run->options->verbose) && !console_say(&run->console, text) &&
	    errno != EAGAIN && !run->log_errno)
		run->log_errno = errno;
}

static void on_console(void *context, u32 vm, const u8 *data, size_t len)
{
	struct run *run = context;

	lines_feed(&run->lines, vm, data, len);
}

static void on_debug(void *context, const struct report_debug *head, const u8 *data, size_t len)
{
	struct run *run = context;

	rsp_record(&run->gdb.rsp, head, data, len);
}

static u64 grace_ns(const struct run *run)
{
	u64 grace = run->emulator.kind->grace_ns;

	return run->report.has_hello ? grace : min_u64(grace, DEAF_NS);
}

/* Ask the image to end the run. The first reason counts; a second request kills. */
static void ask_end(struct run *run, char command)
{
	u64 now = now_ns();

	if (run->asked) {
		run->kill_at = now;
		return;
	}
	run->asked = command;
	run->ask_at = now;
	run->kill_at = min_u64(run->kill_at, now + grace_ns(run));
}

/* In one piece: others write to the same pipe. It is empty, as one request is under way at a time. */
static void send_request(void *context, const struct debug_request *request, const void *data)
{
	u8 bytes[1 + sizeof(*request) + DEBUG_MAX_DATA] = {REPORT_CMD_DEBUG};
	struct run *run = context;
	size_t len = 1 + sizeof(*request) + request->length;

	memcpy(bytes + 1, request, sizeof(*request));
	if (request->length)
		memcpy(bytes + 1 + sizeof(*request), data, request->length);
	if (write(run->emulator.command_in, bytes, len) != (ssize_t)len)
		run->kill_at = now_ns();
}

static void on_kill(void *context)
{
	struct run *run = context;

	if (!run->asked)
		ask_end(run, REPORT_CMD_INTERRUPT);
}

static bool open_signals(struct run *run)
{
	static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	struct sigaction old;
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes is an error of write() */
	signal(SIGCHLD,
	       SIG_DFL); /* ignored, it would make the kernel reap the emulator before us */
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGCONT);
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		/* What our parent has us ignore (nohup, background jobs) stays ignored. */
		if (sigaction(ends[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			sigaddset(&set, ends[i]);
	}
	if (sigprocmask(SIG_BLOCK, &set, &run->signals_before) == 0)
		run->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (run->signals >= 0)
		return true;
	say("cannot wait for signals: %s", strerror(errno));
	return false;
}

/* true: one of them asks for the end. */
static bool take_signals(struct run *run)
{
	struct signalfd_siginfo info;
	bool ends = false;

	while (read(run->signals, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGCONT) {
			console_resume(&run->console);
		} else if (info.ssi_signo != SIGCHLD) {
			ask_end(run, REPORT_CMD_INTERRUPT);
			ends = true;
		}
	}
	return ends;
}

/* read() for non-blocking pipes: >0 bytes, 0 nothing now; closes at the end of the stream. */
static size_t read_pipe(int *fd, void *buffer, size_t size)
{
	ssize_t n;

	if (*fd < 0)
		return 0;
	n = read(*fd, buffer, size);
	if (n > 0)
		return (size_t)n;
	if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		close(*fd);
		*fd = -1;
	}
	return 0;
}

/* For as much as one look at the records can bring: what is in the channel's buffer counts, too. */
static bool has_room(const struct run *run)
{
	return lines_have_room(&run->lines, READ_MAX + sizeof(run->channel[0].buffer));
}

static void read_records(struct run *run, int *fd, struct channel *channel)
{
	u8 buffer[READ_MAX];
	size_t n, sum = 0;

	while (has_room(run) && (n = read_pipe(fd, buffer, sizeof(buffer))) > 0) {
		channel_feed(channel, buffer, n);
		sum += n;
	}
	/* Much at once is a guest's console: a full pipe would hold up the other guests. */
	run->sample_at = now_ns() + (sum < sizeof(buffer) ? SAMPLE_NS : 0);
	if (run->report.ended || run->report.panicked || run->report.foreign)
		run->kill_at = min_u64(run->kill_at, now_ns() + run->emulator.kind->exit_ns);
}

static void read_guest(struct run *run)
{
	run->out_len = read_pipe(&run->emulator.console_out, run->out, sizeof(run->out));
	if (run->out_len > 0)
		run->output_at = now_ns();
	if (run->out_failed)
		run->out_len = 0;
	console_note_output(&run->console, run->out, run->out_len);
}

/*
 * Lines of the other VMs to the output. `forced`: even if VM 0 is within a line, which then ends
 * here and goes on in the next one.
 */
static void take_lines(struct run *run, bool forced)
{
	const char *end = run->console.raw ? "\r\n" : "\n";

	if (run->out_failed)
		run->lines.len = 0;
	if (run->lines.len == 0 || run->out_len > 0 || (run->console.in_line && !forced))
		return;
	if (run->console.in_line) {
		run->out_len = strlen(end);
		memcpy(run->out, end, run->out_len);
	}
	run->out_len += lines_take(&run->lines, run->out + run->out_len,
	                           sizeof(run->out) - run->out_len, end);
	console_note_output(&run->console, run->out, run->out_len);
}

static void write_stdout(struct run *run)
{
	ssize_t n = write(1, run->out, run->out_len);

	if (n >= 0) {
		run->out_len -= (size_t)n;
		memmove(run->out, run->out + n, run->out_len);
	} else if (errno != EAGAIN && errno != EINTR) {
		run->out_failed = true;
		run->out_errno = errno;
		run->out_len = 0;
		if (!run->asked)
			ask_end(run, REPORT_CMD_INTERRUPT);
	}
}

static void read_stdin(struct run *run)
{
	u8 typed[CONSOLE_BUFFER_SIZE];
	ssize_t n = read(0, typed, sizeof(typed));

	if (n <= 0) {
		run->console.reads = n < 0 && (errno == EAGAIN || errno == EINTR);
		return;
	}
	if (console_filter(&run->console, typed, (size_t)n, run->in, &run->in_len))
		ask_end(run, REPORT_CMD_INTERRUPT);
}

static void write_guest(struct run *run)
{
	ssize_t n = write(run->emulator.console_in, run->in, run->in_len);

	if (n > 0) {
		run->in_len -= (size_t)n;
		memmove(run->in, run->in + n, run->in_len);
	} else if (n < 0 && errno != EAGAIN && errno != EINTR) {
		run->in_len = 0;
		run->console.reads = false;
	}
}

/* By the guests' clock: STATUS records come late when the host is busy. */
static void update_rate(struct run *run, const struct report_status *sum)
{
	if (sum->elapsed_ns < run->rate_at + RATE_NS)
		return;
	run->rate = (u64)((double)(sum->exits - run->rate_exits) * 1e9 /
	                  (double)(sum->elapsed_ns - run->rate_at));
	run->rate_at = sum->elapsed_ns;
	run->rate_exits = sum->exits;
}

/* All VMs in one: the phase is that of one that runs, if there is such a one. */
static struct report_status sum_status(const struct run *run)
{
	struct report_status sum = run->report.vm[0].status;

	for (u32 i = 1; i < run->options->vms; i++) {
		const struct report_status *status = &run->report.vm[i].status;

		sum.exits += status->exits;
		sum.vcpus_online = (u8)(sum.vcpus_online + status->vcpus_online);
		sum.elapsed_ns = max_u64(sum.elapsed_ns, status->elapsed_ns);
		if (status->phase == REPORT_PHASE_RUNNING)
			sum.phase = REPORT_PHASE_RUNNING;
	}
	return sum;
}

static void draw_status(struct run *run, u64 now)
{
	static const char *const phases[] = {
	        [REPORT_PHASE_BOOT] = "starting",
	        [REPORT_PHASE_RUNNING] = "running",
	        [REPORT_PHASE_ENDING] = "ending",
	};
	struct report_status sum = sum_status(run);
	char text[200];

	update_rate(run, &sum);
	snprintf(text, sizeof(text), " postern: %s %llu.%llu s, %u/%u vCPUs, %llu exits/s%s",
	         run->asked ? "ending" : phases[sum.phase],
	         (unsigned long long)((now - run->start) / 1000000000),
	         (unsigned long long)((now - run->start) / 100000000 % 10), sum.vcpus_online,
	         options_vcpus(run->options), (unsigned long long)run->rate,
	         run->console.escapes ? " | Ctrl-A X ends the run " : " ");
	console_draw_status(&run->console, text);
}

/* What is due by time. Returns when something next is. */
static u64 do_timed(struct run *run, u64 now)
{
	u64 due = NEVER;
	char command = run->asked;

	if (run->options->timeout_ns && !run->asked) {
		due = run->start + run->options->timeout_ns;
		if (now >= due)
			ask_end(run, REPORT_CMD_TIMEOUT);
	}
	if (run->asked && !run->report.ended) {
		if (now >= run->ask_at) {
			command = run->asked;
			/* A full pipe holds earlier ones: nothing is lost. */
			if (write(run->emulator.command_in, &command, 1) < 0 && errno != EAGAIN)
				run->kill_at = now;
			run->ask_at = now + ASK_AGAIN_NS;
		}
		due = run->ask_at;
	}
	if (now >= run->kill_at)
		emulator_kill(&run->emulator);
	else
		due = min_u64(due, run->kill_at);
	if (run->console.shows_status) {
		run->status_at = max_u64(run->status_at, run->output_at + SILENCE_NS);
		if (now >= run->status_at && run->out_len == 0) {
			draw_status(run, now);
			run->status_at = now + STATUS_NS;
		}
		due = min_u64(due, max_u64(run->status_at, now + 10 * MS));
	}
	if (run->lines.len > 0 && run->out_len == 0) {
		take_lines(run, now >= run->output_at + HOLD_NS);
		due = min_u64(due, run->output_at + HOLD_NS);
	}
	return due;
}

static void watch(struct run *run, int slot, bool wanted, int fd, short events)
{
	run->slot[slot] = (struct pollfd){.fd = wanted ? fd : -1, .events = events};
}

static bool is_ready(const struct run *run, int slot)
{
	return run->slot[slot].fd >= 0 && run->slot[slot].revents != 0;
}

static void wait_ready(struct run *run, u64 now, u64 due)
{
	/* Who sits at a debugger waits for each record. */
	bool samples = now >= run->sample_at || rsp_waits(&run->gdb.rsp);
	bool listens = now >= run->output_at + CONSOLE_NS;
	bool room = has_room(run);
	struct timespec ts;

	if (!samples)
		due = min_u64(due, run->sample_at);
	if (!listens)
		due = min_u64(due, run->output_at + CONSOLE_NS);
	watch(run, SIGNALS, true, run->signals, POLLIN);
	watch(run, GUEST_OUT, listens && run->out_len == 0, run->emulator.console_out, POLLIN);
	watch(run, STDOUT, run->out_len > 0, 1, POLLOUT);
	watch(run, RECORDS, samples && room, run->emulator.records, POLLIN);
	watch(run, COMMANDS, samples && room, run->emulator.command_out, POLLIN);
	watch(run, ERRORS, true, run->emulator.errors, POLLIN);
	watch(run, STDIN, run->console.reads && run->in_len == 0, 0, POLLIN);
	watch(run, GUEST_IN,
	      run->in_len > 0 && (run->report.has_hello || !run->emulator.kind->drops_input),
	      run->emulator.console_in, POLLOUT);
	due = min_u64(due, control_watch(&run->control, &run->slot[CONTROL]));
	run->slot[GDB] = gdb_watch(&run->gdb);
	due = due > now ? due - now : 0;
	ts.tv_sec = (time_t)(due / 1000000000);
	ts.tv_nsec = (long)(due % 1000000000);
	if (ppoll(run->slot, SLOTS, due > 3600 * 1000 * MS ? NULL : &ts, NULL) <= 0) {
		for (int i = 0; i < SLOTS; i++)
			run->slot[i].revents = 0;
	}
}

static void serve_control(struct run *run)
{
	struct outcome outcome = {.options = run->options, .report = &run->report};

	for (u32 i = 0; i < run->options->vms; i++) {
		const struct report_vm *vm = &run->report.vm[i];

		outcome.vm[i].elapsed_ns = vm->elapsed_ns;
		if (!vm->ended)
			continue;
		outcome.vm[i].ended = report_ending_name(vm->ending);
		outcome.vm[i].code = vm->code;
	}
	control_serve(&run->control, &run->slot[CONTROL], run->emulator.command_in, &outcome,
	              now_ns());
}

static void loop(struct run *run)
{
	while (!emulator_has_ended(&run->emulator)) {
		u64 now = now_ns();

		wait_ready(run, now, do_timed(run, now));
		if (is_ready(run, SIGNALS))
			take_signals(run);
		if (is_ready(run, RECORDS))
			read_records(run, &run->emulator.records, &run->channel[0]);
		if (is_ready(run, COMMANDS))
			read_records(run, &run->emulator.command_out, &run->channel[1]);
		if (is_ready(run, STDOUT))
			write_stdout(run);
		if (is_ready(run, GUEST_OUT))
			read_guest(run);
		if (is_ready(run, ERRORS))
			emulator_read_errors(&run->emulator);
		if (is_ready(run, GUEST_IN))
			write_guest(run);
		if (is_ready(run, STDIN))
			read_stdin(run);
		serve_control(run);
		gdb_work(&run->gdb, run->report.has_hello && !run->report.foreign);
	}
}

/* More to write of what the emulator left in the pipes: VM 0's first, then whatever others have said. */
static bool refill(struct run *run)
{
	read_records(run, &run->emulator.records, &run->channel[0]);
	read_records(run, &run->emulator.command_out, &run->channel[1]);
	if (run->out_len == 0)
		read_guest(run);
	if (run->out_len == 0)
		take_lines(run, true);
	return run->out_len > 0;
}

/* The pipes are empty for good. */
static bool refill_last(struct run *run)
{
	channel_end(&run->channel[0]);
	channel_end(&run->channel[1]);
	lines_end(&run->lines);
	take_lines(run, true);
	return run->out_len > 0;
}

/* The emulator is gone: what it left in the pipes. A signal gives up on a reader that does not read. */
static void drain(struct run *run)
{
	emulator_read_errors(&run->emulator);
	while (refill(run) || refill_last(run)) {
		struct pollfd fds[] = {{.fd = 1, .events = POLLOUT},
		                       {.fd = run->signals, .events = POLLIN}};

		if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
			return;
		if (fds[1].revents && take_signals(run))
			return;
		if (fds[0].revents)
			write_stdout(run);
	}
}

static enum status prepare(struct run *run)
{
	enum status status;

	status = run->emulator.kind->check(run->options);
	if (status == STATUS_OK)
		status = json_open(&run->json, run->options->json);
	if (status != STATUS_OK)
		return status;
	if (run->options->gdb_port)
		status = gdb_listen(&run->gdb, run->options->gdb_port, run->options->vm[0].vcpus,
		                    &(struct rsp_user){send_request, on_kill, run});
	if (status != STATUS_OK)
		return status;
	if (!open_signals(run))
		return STATUS_SYSTEM;
	status = control_open(&run->control, run->options->control);
	if (status == STATUS_OK)
		status = emulator_prepare(&run->emulator, run->options);
	if (status == STATUS_OK)
		status = emulator_start(&run->emulator, run->options);
	return status;
}

static enum status tell(struct run *run, const struct outcome *outcome)
{
	enum status status = json_commit(&run->json, outcome);
	s32 refusal;
	int error;

	if (status == STATUS_OK)
		status = outcome->status;
	sigprocmask(SIG_SETMASK, &run->signals_before, NULL);
	/* Of a guest that was refused there is nothing to account for. */
	if (run->options->quiet || run->out_failed || judge_is_refused(run, &refusal))
		return status;
	if (run->console.in_line)
		putchar('\n');
	account_print(stdout, outcome);
	if (fflush(stdout) != 0) {
		error = errno;
		say("cannot write the standard output: %s", strerror(error));
		status = status_of_write(error, STATUS_NO_OUTPUT);
	}
	return status;
}

int run(const struct options *options)
{
	/* not on the stack: it holds the accounts and buffers of a whole run */
	static struct run state;
	struct outcome outcome;
	enum status status;

	state = (struct run){.options = options,
	                     .emulator = EMULATOR_NONE,
	                     .json.fd = -1,
	                     .gdb = GDB_NONE,
	                     .signals = -1,
	                     .kill_at = NEVER};
	state.emulator.kind = emulator_for(options);
	control_init(&state.control);
	report_init(&state.report, on_text, &state);
	state.report.on_console = on_console;
	state.report.on_debug = on_debug;
	channel_init(&state.channel[0], report_take, &state.report);
	channel_init(&state.channel[1], report_take, &state.report);
	status = prepare(&state);
	if (status == STATUS_OK) {
		state.start = now_ns();
		console_open(&state.console, !options->quiet);
		loop(&state);
		drain(&state);
		control_close(&state.control);
		gdb_end(&state.gdb);
		console_close(&state.console);
		emulator_cleanup(&state.emulator);
		judge_run(&state, &outcome);
		status = tell(&state, &outcome);
	}
	gdb_end(&state.gdb);
	emulator_cleanup(&state.emulator);
	control_close(&state.control);
	json_discard(&state.json);
	return status;
}
