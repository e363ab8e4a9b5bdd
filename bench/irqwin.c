/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What IRQ windows cost while another reason keeps acceleration off (requirement S0), and the look at each entry:
 * irq/irq_window.c and irq/inhibit.c as they are in the image, without the explorer's hooks, and beside them the two
 * other ways to count windows (tests/race/irq_window_variants.h).
 *
 * Threads play processors, as many as there are here, each with its share of both VMs' vCPUs; a processor opens
 * a window of each of these, then closes them. A million windows in each VM by each way, for the lock's account; the
 * naive way on one thread, since its lock would go from thread to thread for minutes where there are other programs. Then fewer
 * by all threads and all ways by turns, for times; with acceleration disabled for good, opening and closing return
 * at once, so those are of nothing but the windows' own instructions. In the end no window is left over.
 *
 * Instructions as in bench/avic.c: each under the trap flag is a SIGTRAP, and those are counted.
 *
 * Output: lines "irqwin NAME VALUE UNIT" and "activation NAME VALUE UNIT".
 */
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "core/machine.h"
#include "irq/accel_check.h"
#include "irq/apic_page.h"
#include "irq/irq_window.h"
#include "postern/port.h"
#include "tests/race/irq_window_variants.h"

#define RFLAGS_TRAP "0x100"
#define ALT_STACK   (64u << 10)
#define VMS         2
#define VCPUS       16u
#define ROUNDS      9
#define WINDOWS     1000000u /* of each VM */
#define PASSES      (WINDOWS / VCPUS)
#define PASSES_TIME 250u /* of a round: 4,000 windows of each VM */
#define THREADS_MAX VCPUS
_Static_assert(PASSES *VCPUS == WINDOWS, "none is left over");

static const struct code {
	const char *name;
	void (*open)(struct vcpu *vcpu);
	void (*close)(struct vcpu *vcpu);
	bool disabled, one_thread;
} codes[] = {
        {"disabled", irq_window_open, irq_window_close, true, false},
        {"right", irq_window_open, irq_window_close, false, false},
        {"naive", irq_window_naive_open, irq_window_naive_close, false, true},
        {"sketch", irq_window_sketch_open, irq_window_sketch_close, false, false},
};
#define CODES ARRAY_SIZE(codes)

static struct vm *vms[VMS];
static struct cpu cpus[THREADS_MAX];
static __thread struct cpu *current_cpu = &cpus[0];

static __attribute__((format(printf, 1, 2))) void fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("irqwin: ", stderr);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

/* --- what the linked files ask for --- */

struct cpu *this_cpu(void)
{
	return current_cpu;
}

u64 port_tsc(void)
{
	return __builtin_ia32_rdtsc();
}

u64 timer_tsc_to_ns(u64 tsc)
{
	return tsc;
}

/* Nobody is in a guest. */
u32 vcpu_request_all(struct vm *vm, u32 requests)
{
	struct vcpu *vcpu;

	for_each_vcpu (vcpu, vm)
		atomic32_fetch_or(&vcpu->requests, requests);
	return 0;
}

void apic_page_zap(struct vm *vm __unused)
{
}

static u32 mismatches;

/* A call as it is in the image, which comes back. */
__noinline bool accel_last_look(struct vcpu *vcpu __unused)
{
	mismatches++;
	return false;
}

/* --- VMs --- */

static void *allocate(size_t size)
{
	void *p = aligned_alloc(CACHE_LINE, ALIGN_UP(size, CACHE_LINE));

	if (!p)
		fail("out of memory");
	return __builtin_memset(p, 0, size);
}

static struct vm *create(void)
{
	struct vm *vm = allocate(sizeof(*vm));

	inhibit_create(vm, ~0u);
	for (u32 i = 0; i < VCPUS; i++) {
		struct vcpu *vcpu = allocate(sizeof(*vcpu));

		vcpu->vm = vm;
		vcpu->index = i;
		vm->vcpu[i] = vcpu;
		vm->vcpu_count = i + 1;
	}
	return vm;
}

static void create_all(void)
{
	for (u32 i = 0; i < VMS; i++) {
		vms[i] = create();
		inhibit_set(vms[i], INHIBIT_PIT_REINJ);
		inhibit_clear(vms[i], INHIBIT_ABSENT);
	}
}

static void choose(const struct code *code)
{
	for (u32 i = 0; i < VMS; i++)
		vms[i]->accel.modes = code->disabled ? 0 : ACCEL_MODE(ACCEL_XAPIC);
}

/* --- instructions --- */

static volatile u64 steps;

static void on_trap(int signal __unused)
{
	steps++;
}

static __noinline u64 count(void (*act)(struct vcpu *vcpu))
{
	struct vcpu *vcpu = vms[0]->vcpu[0];

	steps = 0;
	__asm__ volatile("pushfq; orq $" RFLAGS_TRAP ", (%%rsp); popfq" ::: "cc", "memory");
	act(vcpu);
	__asm__ volatile("pushfq; andq $~" RFLAGS_TRAP ", (%%rsp); popfq" ::: "cc", "memory");
	return steps;
}

static void no_check(struct vcpu *vcpu __unused)
{
}

static void check(struct vcpu *vcpu)
{
	if (accel_is_wrong(vcpu))
		accel_last_look(vcpu);
}

/* The same call for all, so that what is around them is subtracted with no_check()'s. */
static void (*volatile const nothing)(struct vcpu *vcpu) = no_check;
static void (*volatile const checking)(struct vcpu *vcpu) = check;

static void measure_windows(void)
{
	for (u32 i = 0; i < CODES; i++) {
		u64 figure;

		choose(&codes[i]);
		figure = count(codes[i].open);
		if (vms[0]->vcpu[0]->accel.window == codes[i].disabled)
			fail("%s: open did not do what it is for", codes[i].name);
		figure += count(codes[i].close) - 2 * count(nothing);
		printf("irqwin open-close.%s %llu instructions\n", codes[i].name,
		       (unsigned long long)figure);
	}
}

/* An entry with acceleration inhibited, and one with it on. */
static void measure_check(void)
{
	struct accel_vcpu *accel = &vms[0]->vcpu[0]->accel;
	u64 off, on;

	accel->local_mode = ACCEL_XAPIC;
	accel_note_wrong(accel);
	off = count(checking) - count(nothing);
	inhibit_clear(vms[0], INHIBIT_PIT_REINJ);
	atomic32_set(&accel->mode, ACCEL_XAPIC);
	accel_note_wrong(accel);
	on = count(checking) - count(nothing);
	inhibit_set(vms[0], INHIBIT_PIT_REINJ);
	if (mismatches)
		fail("a mismatch at an entry where there is none");
	/* The same check finds what is wrong: on, and inhibited. */
	check(vms[0]->vcpu[0]);
	if (mismatches != 1)
		fail("a mismatch was not found");
	printf("activation entry-check.inhibited %llu instructions\n", (unsigned long long)off);
	printf("activation entry-check.accelerated %llu instructions\n", (unsigned long long)on);
	atomic32_set(&accel->mode, ACCEL_OFF);
	accel_note_wrong(accel);
}

/* --- a million windows --- */

/* A processor, and when it began and ended its part of a round. */
struct worker {
	pthread_t thread;
	double begin, end;
};

static u32 threads, passes;
static struct worker workers[THREADS_MAX];
static const struct code *running;
static pthread_barrier_t barrier;

static void pass(u32 first)
{
	for (u32 i = first; i < VCPUS; i += threads)
		for (u32 v = 0; v < VMS; v++)
			running->open(vms[v]->vcpu[i]);
	for (u32 i = first; i < VCPUS; i += threads)
		for (u32 v = 0; v < VMS; v++)
			running->close(vms[v]->vcpu[i]);
}

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void *processor(void *arg)
{
	struct worker *self = arg;
	u32 number = (u32)(self - workers);

	current_cpu = &cpus[number];
	pthread_barrier_wait(&barrier);
	self->begin = now_ns();
	for (u32 i = 0; i < passes; i++)
		pass(number);
	self->end = now_ns();
	return NULL;
}

static void check_left_over(void)
{
	for (u32 v = 0; v < VMS; v++)
		if (atomic32_read(&vms[v]->inhibit.windows) ||
		    atomic32_read(&vms[v]->inhibit.mask) != INHIBIT_BIT(PIT_REINJ))
			fail("%s: windows are left over", running->name);
}

/* How long a window took, opened and closed, of all together. */
static double run(const struct code *code, u32 run_passes, u32 run_threads)
{
	double begin = 1e300, end = 0;

	running = code;
	passes = run_passes;
	threads = run_threads;
	choose(code);
	pthread_barrier_init(&barrier, NULL, threads);
	for (u32 i = 0; i < threads; i++)
		if (pthread_create(&workers[i].thread, NULL, processor, &workers[i]))
			fail("no thread");
	for (u32 i = 0; i < threads; i++) {
		pthread_join(workers[i].thread, NULL);
		begin = workers[i].begin < begin ? workers[i].begin : begin;
		end = workers[i].end > end ? workers[i].end : end;
	}
	pthread_barrier_destroy(&barrier);
	check_left_over();
	return (end - begin) / (passes * VCPUS * VMS);
}

struct lock_use {
	u64 windows, shared, exclusive;
};

static struct lock_use sum(void)
{
	struct lock_use total = {.windows = 0};

	for (u32 v = 0; v < VMS; v++) {
		total.shared += counter_read(&vms[v]->inhibit.shared);
		total.exclusive += counter_read(&vms[v]->inhibit.exclusive);
		for (u32 i = 0; i < VCPUS; i++)
			total.windows += counter_read(
			        &vms[v]->vcpu[i]->account.counters[COUNTER_IRQ_WINDOWS]);
	}
	return total;
}

static void tell(const char *what, const struct code *code, u64 value, const char *unit)
{
	printf("irqwin %s.%s %llu %s\n", what, code->name, (unsigned long long)value, unit);
}

static void measure_lock(u32 processors)
{
	for (u32 i = 0; i < CODES; i++) {
		const struct code *code = &codes[i];
		struct lock_use before = sum(), after;

		run(code, PASSES, code->one_thread ? 1 : processors);
		after = sum();
		tell("threads", code, threads, "threads");
		tell("windows", code, after.windows - before.windows, "windows");
		tell("lock.exclusive", code, after.exclusive - before.exclusive, "acquisitions");
		tell("lock.shared", code, after.shared - before.shared, "acquisitions");
	}
}

static int by_size(const void *a, const void *b)
{
	return (*(const double *)a > *(const double *)b) -
	       (*(const double *)a < *(const double *)b);
}

static void measure_time(u32 processors)
{
	static double ns[CODES][ROUNDS];

	for (u32 round = 0; round < ROUNDS; round++)
		for (u32 i = 0; i < CODES; i++)
			ns[i][round] = run(&codes[i], PASSES_TIME, processors);
	for (u32 i = 0; i < CODES; i++) {
		qsort(ns[i], ROUNDS, sizeof(double), by_size);
		printf("irqwin bare.%s.min %.1f ns\n", codes[i].name, ns[i][0]);
		printf("irqwin bare.%s.median %.1f ns\n", codes[i].name, ns[i][ROUNDS / 2]);
		printf("irqwin bare.%s.max %.1f ns\n", codes[i].name, ns[i][ROUNDS - 1]);
	}
}

int main(void)
{
	static char stack[ALT_STACK];
	stack_t alternate = {.ss_sp = stack, .ss_size = sizeof(stack)};
	struct sigaction action = {.sa_handler = on_trap, .sa_flags = SA_ONSTACK};
	long online = sysconf(_SC_NPROCESSORS_ONLN);
	u32 processors;

	if (sigaltstack(&alternate, NULL) || sigaction(SIGTRAP, &action, NULL)) {
		perror("irqwin");
		return 1;
	}
	processors = online < 1 ? 1 : online > (long)THREADS_MAX ? THREADS_MAX : (u32)online;
	create_all();
	measure_check();
	measure_windows();
	measure_lock(processors);
	measure_time(processors);
	return 0;
}
