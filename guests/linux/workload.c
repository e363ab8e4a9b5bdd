/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The demonstration guest's workload: makes interrupts of every kind that an SMP system lives on,
 * and counts what it caused against what came. It is the guest's own witness: a wake-up, a timer
 * tick or a cross-CPU call that the hypervisor loses shows here as an incomplete count.
 *
 * Rules of this file. Amounts of work are fixed counts, never a fixed time, so that a slow emulator
 * changes how long it takes and not what is tested. Each part runs in child processes and counts in
 * shared memory; the parent gives up on them after a deadline, so that a lost interrupt gives a
 * short count instead of a silent hang. Each result is one line "workload: NAME GOT/EXPECTED".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define MAX_CPUS     128
#define MAX_CHILDREN (2 * MAX_CPUS)
#define NS_PER_SEC   1000000000ll
#define NS_PER_MS    1000000ll
#define US_PER_MS    1000

/* Where the machine takes the exit status of the guest (one byte), before it powers off. */
#define STATUS_PORT 0x505

/* Amounts for size 1; the size argument multiplies them. */
#define WAKEUP_ROUNDS    100 /* per pair of processes, two wake-ups each */
#define TIMERFD_TICKS    40  /* per CPU */
#define SLEEPS           20  /* per CPU */
#define ALARMS           20  /* per CPU */
#define HOPS             40  /* per CPU */
#define BARRIERS         60
#define SHOOTDOWN_ROUNDS 40
#define TIMER_PERIOD_MS  2

/* How long the parts may take for each unit of size before they count as stuck. */
#define PATIENCE_SEC 60

#define PARTS(X)                                                                                   \
	X(WAKEUPS, "wake-ups")                                                                     \
	X(TIMERFD, "timer-ticks")                                                                  \
	X(SLEEPS, "sleeps")                                                                        \
	X(ALARMS, "alarms")                                                                        \
	X(HOPS, "cpu-hops")                                                                        \
	X(BARRIERS, "cross-cpu-barriers")                                                          \
	X(SHOOTDOWNS, "tlb-shootdowns")                                                            \
	X(TICKED_CPUS, "cpus-with-timer-interrupts")                                               \
	X(CALLED_CPUS, "cpus-with-call-interrupts")

enum part {
#define X(id, name) PART_##id,
	PARTS(X)
#undef X
	PART_COUNT
};

static const char *const part_names[] = {
#define X(id, name) name,
        PARTS(X)
#undef X
};

/* Rows of /proc/interrupts that the parts are about. */
enum {
	ROW_LOC,
	ROW_RES,
	ROW_CAL,
	ROW_TLB,
	ROW_HVS,
	ROW_COUNT
};
static const char *const row_names[ROW_COUNT] = {"LOC", "RES", "CAL", "TLB", "HVS"};

struct interrupts {
	unsigned long count[ROW_COUNT][MAX_CPUS];
};

/* What parent and children share. */
struct board {
	struct {
		_Atomic unsigned long got;
		_Atomic unsigned long expected;
	} part[PART_COUNT];
	struct {
		_Alignas(64) _Atomic unsigned long loops;
	} spin[MAX_CPUS];
	_Atomic unsigned int spinners_ready;
};

static struct board *board;
static int cpus[MAX_CPUS]; /* the CPUs this process may run on; constant after startup */
static int cpu_count;
static unsigned long size = 1;
static pid_t children[MAX_CHILDREN];
static int child_count;

static void die(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));

static void die(const char *fmt, ...)
{
	int error = errno;
	va_list ap;

	va_start(ap, fmt);
	fputs("workload: ", stderr);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, ": %s\n", strerror(error));
	exit(125);
}

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NS_PER_SEC + ts.tv_nsec;
}

static struct timespec to_timespec(int64_t ns)
{
	return (struct timespec){.tv_sec = ns / NS_PER_SEC, .tv_nsec = ns % NS_PER_SEC};
}

static void expect(enum part part, unsigned long n)
{
	atomic_fetch_add(&board->part[part].expected, n);
}

static void got(enum part part, unsigned long n)
{
	atomic_fetch_add(&board->part[part].got, n);
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) != 0)
		die("cannot move to CPU %d", cpu);
}

static void find_cpus(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		die("cannot read the set of CPUs");
	for (int cpu = 0; cpu < CPU_SETSIZE && cpu_count < MAX_CPUS; cpu++) {
		if (CPU_ISSET(cpu, &set))
			cpus[cpu_count++] = cpu;
	}
}

/* Run fn(arg) in a child that lives on `cpu`. */
static void start(int cpu, void (*fn)(int arg), int arg)
{
	pid_t pid;

	if (child_count == MAX_CHILDREN)
		return;
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		pin(cpu);
		fn(arg);
		_exit(0);
	}
	children[child_count++] = pid;
}

/* Wait for all children; those that are not done by the deadline have lost something: end them. */
static void finish(int64_t deadline)
{
	sigset_t chld;
	int left = child_count;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	while (left > 0) {
		int64_t ns = deadline - now_ns();
		struct timespec wait;

		while (left > 0 && waitpid(-1, NULL, WNOHANG) > 0)
			left--;
		if (left == 0)
			break;
		if (ns <= 0) {
			printf("workload: %d processes are stuck\n", left);
			for (int i = 0; i < child_count; i++)
				kill(children[i], SIGKILL);
			while (waitpid(-1, NULL, 0) > 0)
				;
			break;
		}
		wait = to_timespec(ns);
		sigtimedwait(&chld, NULL, &wait);
	}
	child_count = 0;
}

static void finish_part(void)
{
	finish(now_ns() + (int64_t)size * PATIENCE_SEC * NS_PER_SEC);
}

/*
 * Wake-ups: pairs of processes on neighbouring CPUs throw a byte to and fro. Each read that returns
 * is one wake-up; with one byte in flight none can be saved by another.
 */
static int ball[MAX_CPUS][2][2]; /* [pair][direction] */

static void throw_byte(int fd)
{
	if (write(fd, "x", 1) != 1)
		die("pipe write");
}

static void catch_byte(int fd)
{
	char c;

	if (read(fd, &c, 1) != 1)
		die("pipe read");
	got(PART_WAKEUPS, 1);
}

static void wakeups_first(int pair)
{
	for (unsigned long i = 0; i < size * WAKEUP_ROUNDS; i++) {
		throw_byte(ball[pair][0][1]);
		catch_byte(ball[pair][1][0]);
	}
}

static void wakeups_second(int pair)
{
	for (unsigned long i = 0; i < size * WAKEUP_ROUNDS; i++) {
		catch_byte(ball[pair][0][0]);
		throw_byte(ball[pair][1][1]);
	}
}

static void run_wakeups(void)
{
	for (int i = 0; i < cpu_count; i++) {
		if (pipe(ball[i][0]) != 0 || pipe(ball[i][1]) != 0)
			die("pipe");
		expect(PART_WAKEUPS, 2 * size * WAKEUP_ROUNDS);
		start(cpus[i], wakeups_first, i);
		start(cpus[(i + 1) % cpu_count], wakeups_second, i);
	}
	finish_part();
	for (int i = 0; i < cpu_count; i++) {
		for (int end = 0; end < 2; end++) {
			close(ball[i][0][end]);
			close(ball[i][1][end]);
		}
	}
}

/*
 * A periodic timer counts its expiries itself, also those that come while nobody reads. When a read
 * that began at `before` has returned at `after`, it must have told of all periods up to some
 * moment between the two: fewer are lost, more are invented.
 */
static uint64_t periods(int64_t first, int64_t period, int64_t now)
{
	return now < first ? 0 : (uint64_t)((now - first) / period) + 1;
}

static void timer_ticks(void)
{
	const int64_t period = TIMER_PERIOD_MS * NS_PER_MS;
	int64_t first = now_ns() + period;
	struct itimerspec spec = {.it_value = to_timespec(first),
	                          .it_interval = to_timespec(period)};
	uint64_t total = 0, least = 0, most = 0;
	int fd = timerfd_create(CLOCK_MONOTONIC, 0);

	if (fd < 0 || timerfd_settime(fd, TFD_TIMER_ABSTIME, &spec, NULL) != 0)
		die("timerfd");
	while (total < size * TIMERFD_TICKS) {
		int64_t before = now_ns();
		uint64_t ticks;

		if (read(fd, &ticks, sizeof(ticks)) != sizeof(ticks))
			die("timerfd read");
		total += ticks;
		least = periods(first, period, before);
		most = periods(first, period, now_ns());
	}
	expect(PART_TIMERFD, total < least ? least : total > most ? most : total);
	got(PART_TIMERFD, total);
	close(fd);
}

/* Sleeps to an absolute time: each must end, and not before its time. */
static void sleeps(void)
{
	for (unsigned long i = 0; i < size * SLEEPS; i++) {
		int64_t until = now_ns() + TIMER_PERIOD_MS * NS_PER_MS;
		struct timespec ts = to_timespec(until);

		if (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == 0 &&
		    now_ns() >= until)
			got(PART_SLEEPS, 1);
	}
}

/* Interval-timer signals, taken one by one. */
static void alarms(void)
{
	const struct timeval period = {.tv_usec = TIMER_PERIOD_MS * US_PER_MS};
	const struct itimerval it = {.it_interval = period, .it_value = period};
	const struct itimerval off = {0};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (setitimer(ITIMER_REAL, &it, NULL) != 0)
		die("setitimer");
	for (unsigned long i = 0; i < size * ALARMS; i++) {
		if (sigwaitinfo(&set, NULL) == SIGALRM)
			got(PART_ALARMS, 1);
	}
	setitimer(ITIMER_REAL, &off, NULL);
}

static void timers_child(int arg)
{
	(void)arg;
	timer_ticks();
	sleeps();
	alarms();
}

static void run_timers(void)
{
	for (int i = 0; i < cpu_count; i++) {
		expect(PART_SLEEPS, size * SLEEPS);
		expect(PART_ALARMS, size * ALARMS);
		start(cpus[i], timers_child, 0);
	}
	finish_part();
	/* A child that died early never said what it expected. */
	if (board->part[PART_TIMERFD].expected < size * TIMERFD_TICKS * cpu_count)
		board->part[PART_TIMERFD].expected = size * TIMERFD_TICKS * cpu_count;
}

/* A running process that moves away needs its old CPU's help, and an interrupt on its new one. */
static void hops_child(int arg)
{
	(void)arg;
	for (unsigned long i = 0; i < size * HOPS * cpu_count; i++) {
		int cpu = cpus[(i + 1) % cpu_count];

		pin(cpu);
		if (sched_getcpu() == cpu)
			got(PART_HOPS, 1);
	}
}

static void run_hops(void)
{
	expect(PART_HOPS, size * HOPS * cpu_count);
	start(cpus[0], hops_child, 0);
	finish_part();
}

/* Threads of one address space, one per further CPU; the child's main thread is on the first. */
static pthread_t threads[MAX_CPUS];
static _Atomic unsigned int threads_ready;

static void start_threads(void *(*fn)(void *))
{
	for (int i = 1; i < cpu_count; i++) {
		if (pthread_create(&threads[i], NULL, fn, (void *)(intptr_t)i) != 0)
			die("pthread_create");
	}
	while (atomic_load(&threads_ready) < (unsigned int)cpu_count - 1)
		sched_yield();
}

static void join_threads(void)
{
	for (int i = 1; i < cpu_count; i++)
		pthread_join(threads[i], NULL);
}

static void spin_hint(void)
{
	__asm__ volatile("pause");
}

/*
 * Cross-CPU barriers: membarrier() interrupts every CPU that runs a thread of this address space
 * and returns when all have answered.
 */
static _Atomic bool barriers_done;

static void *barriers_thread(void *arg)
{
	pin(cpus[(intptr_t)arg]);
	atomic_fetch_add(&threads_ready, 1);
	while (!atomic_load(&barriers_done))
		spin_hint();
	return NULL;
}

static void barriers_child(int arg)
{
	(void)arg;
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) != 0)
		die("membarrier");
	start_threads(barriers_thread);
	for (unsigned long i = 0; i < size * BARRIERS; i++) {
		if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0)
			got(PART_BARRIERS, 1);
	}
	atomic_store(&barriers_done, true);
	join_threads();
}

static void run_barriers(void)
{
	expect(PART_BARRIERS, size * BARRIERS);
	start(cpus[0], barriers_child, 0);
	finish_part();
}

/*
 * TLB shootdowns: round after round the first thread replaces a page that all CPUs have in their
 * TLBs; every other thread must then read the new page. A thread spins for the next round for a
 * while (a CPU that sleeps is spared the interrupt, since it flushes when it wakes), then waits in
 * the kernel, so that many vCPUs on few processors get on.
 */
#define SPINS_BEFORE_WAIT 2000

static _Atomic unsigned int shoot_round;
static _Atomic unsigned int shoot_acks;
static volatile unsigned int *shoot_page;

static void futex_wait(_Atomic unsigned int *word, unsigned int value)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(_Atomic unsigned int *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, MAX_CPUS, NULL, NULL, 0);
}

static void wait_change(_Atomic unsigned int *word, unsigned int value)
{
	for (int i = 0; i < SPINS_BEFORE_WAIT; i++) {
		if (atomic_load(word) != value)
			return;
		spin_hint();
	}
	while (atomic_load(word) == value)
		futex_wait(word, value);
}

static void *shootdowns_thread(void *arg)
{
	unsigned int rounds = size * SHOOTDOWN_ROUNDS;

	pin(cpus[(intptr_t)arg]);
	atomic_fetch_add(&threads_ready, 1);
	for (unsigned int round = 1; round <= rounds; round++) {
		wait_change(&shoot_round, round - 1);
		if (*shoot_page == round)
			got(PART_SHOOTDOWNS, 1);
		atomic_fetch_add(&shoot_acks, 1);
		futex_wake(&shoot_acks);
	}
	return NULL;
}

static void shootdowns_child(int arg)
{
	unsigned int others = cpu_count - 1;
	long page = sysconf(_SC_PAGESIZE);
	void *where = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)arg;
	if (where == MAP_FAILED)
		die("mmap");
	shoot_page = where;
	start_threads(shootdowns_thread);
	for (unsigned int round = 1; round <= size * SHOOTDOWN_ROUNDS; round++) {
		unsigned int acks;

		if (mmap(where, page, PROT_READ | PROT_WRITE,
		         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != where)
			die("mmap");
		*shoot_page = round;
		atomic_store(&shoot_round, round);
		futex_wake(&shoot_round);
		while ((acks = atomic_load(&shoot_acks)) < round * others)
			wait_change(&shoot_acks, acks);
	}
	join_threads();
}

static void run_shootdowns(void)
{
	expect(PART_SHOOTDOWNS, size * SHOOTDOWN_ROUNDS * (cpu_count - 1));
	start(cpus[0], shootdowns_child, 0);
	finish_part();
}

/* One row of /proc/interrupts, "LOC:  12  34 ...  Local timer interrupts". */
static void parse_row(char *line, struct interrupts *out)
{
	char *colon = strchr(line, ':');

	if (!colon)
		return;
	*colon = 0;
	line += strspn(line, " ");
	for (int row = 0; row < ROW_COUNT; row++) {
		char *p = colon + 1;

		if (strcmp(line, row_names[row]) != 0)
			continue;
		for (int i = 0; i < cpu_count; i++)
			out->count[row][i] = strtoul(p, &p, 10);
	}
}

static void read_interrupts(struct interrupts *out)
{
	FILE *f = fopen("/proc/interrupts", "r");
	char *line = NULL;
	size_t room = 0;

	memset(out, 0, sizeof(*out));
	if (!f)
		die("/proc/interrupts");
	while (getline(&line, &room, f) > 0)
		parse_row(line, out);
	free(line);
	fclose(f);
}

static void report_interrupts(const struct interrupts *from, const struct interrupts *to)
{
	printf("workload: interrupts");
	for (int i = 0; i < cpu_count; i++)
		printf(" %8s%-3d", "CPU", cpus[i]);
	putchar('\n');
	for (int row = 0; row < ROW_COUNT; row++) {
		printf("workload: %-10s", row_names[row]);
		for (int i = 0; i < cpu_count; i++)
			printf(" %11lu", to->count[row][i] - from->count[row][i]);
		putchar('\n');
	}
}

/*
 * The kernel's own counters must agree in kind: every CPU had timer interrupts, its local APIC's or
 * Hyper-V's, and every CPU but the caller's had cross-CPU calls.
 */
static void judge_interrupts(const struct interrupts *from, const struct interrupts *to)
{
	expect(PART_TICKED_CPUS, cpu_count);
	expect(PART_CALLED_CPUS, cpu_count - 1);
	for (int i = 0; i < cpu_count; i++) {
		unsigned long calls = to->count[ROW_CAL][i] - from->count[ROW_CAL][i] +
		                      to->count[ROW_TLB][i] - from->count[ROW_TLB][i];

		if (to->count[ROW_LOC][i] > from->count[ROW_LOC][i] ||
		    to->count[ROW_HVS][i] > from->count[ROW_HVS][i])
			got(PART_TICKED_CPUS, 1);
		if (i > 0 && calls > 0)
			got(PART_CALLED_CPUS, 1);
	}
}

static bool report_parts(void)
{
	bool complete = true;

	for (int i = 0; i < PART_COUNT; i++) {
		unsigned long have = board->part[i].got, want = board->part[i].expected;

		printf("workload: %s %lu/%lu\n", part_names[i], have, want);
		complete = complete && have == want;
	}
	return complete;
}

static int run_all(void)
{
	struct interrupts before, after;
	int64_t begin = now_ns();
	bool complete;

	read_interrupts(&before);
	run_wakeups();
	run_timers();
	run_hops();
	run_barriers();
	run_shootdowns();
	read_interrupts(&after);
	judge_interrupts(&before, &after);

	report_interrupts(&before, &after);
	complete = report_parts();
	printf("workload: CPUs %d, size %lu, %lld ms: %s\n", cpu_count, size,
	       (long long)((now_ns() - begin) / NS_PER_MS), complete ? "complete" : "INCOMPLETE");
	return complete ? 0 : 1;
}

/*
 * Fairness: one busy process per CPU counts loops for `seconds` from the moment when all of them
 * run. The time is looked at between batches, so that a count is in batches of equal work.
 */
#define SPIN_BATCH 20000

static int spin_seconds;

static void spin_child(int slot)
{
	int64_t end;

	atomic_fetch_add(&board->spinners_ready, 1);
	while (atomic_load(&board->spinners_ready) < (unsigned int)cpu_count)
		sched_yield();
	end = now_ns() + spin_seconds * NS_PER_SEC;
	while (now_ns() < end) {
		for (volatile int i = 0; i < SPIN_BATCH; i++)
			;
		atomic_fetch_add(&board->spin[slot].loops, 1);
	}
}

static int run_spin(int seconds)
{
	unsigned long least = ~0ul, most = 0;

	spin_seconds = seconds;
	for (int i = 0; i < cpu_count; i++)
		start(cpus[i], spin_child, i);
	finish(now_ns() + (seconds + PATIENCE_SEC) * NS_PER_SEC);
	for (int i = 0; i < cpu_count; i++) {
		unsigned long loops = board->spin[i].loops;

		printf("workload: spin CPU%d %lu\n", cpus[i], loops);
		least = loops < least ? loops : least;
		most = loops > most ? loops : most;
	}
	if (least == 0) {
		printf("workload: spin INCOMPLETE\n");
		return 1;
	}
	printf("workload: spin spread %lu.%02lu\n", most / least, most % least * 100 / least);
	return 0;
}

static int write_status(int status)
{
	/* What follows is power-off: let the console send what the terminal still holds. */
	if (isatty(STDOUT_FILENO) && tcdrain(STDOUT_FILENO) != 0)
		die("cannot drain the console");
	if (ioperm(STATUS_PORT, 1, 1) != 0)
		die("ioperm");
	outb(status, STATUS_PORT);
	return 0;
}

static void set_up(void)
{
	sigset_t chld;

	/* Blocked, so that finish() can wait for it with a deadline. */
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, NULL);
	board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
	             0);
	if (board == MAP_FAILED)
		die("mmap");
	find_cpus();
}

static int usage(void)
{
	fputs("usage: workload [run [SIZE]] | spin SECONDS | exit N | status N\n", stderr);
	return 2;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "run";
	int arg = argc > 2 ? atoi(argv[2]) : -1;

	if (!strcmp(mode, "exit") && arg >= 0)
		return arg;
	if (!strcmp(mode, "status") && arg >= 0)
		return write_status(arg);
	set_up();
	if (!strcmp(mode, "spin") && arg > 0)
		return run_spin(arg);
	if (strcmp(mode, "run") != 0 || arg == 0 || arg < -1)
		return usage();
	size = arg > 0 ? (unsigned long)arg : 1;
	return run_all();
}
