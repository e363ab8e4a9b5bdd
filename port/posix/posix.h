/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The host port as tests use it: a machine whose processors are models (cpu_model/), in one arena.
 *
 * Two ways to run the processors. Stepper: each is a coroutine of one thread, time is virtual,
 * every choice comes from a seed, so that a run repeats exactly. Threads: each is a thread and time
 * is real. The hypervisor's sources cannot tell the difference.
 */
#ifndef POSIX_POSIX_H
#define POSIX_POSIX_H

#include "core/machine.h"
#include "coro.h"
#include "race_point.h"

#define POSIX_TSC_KHZ   2000000ull
#define POSIX_MAX_CPUS  MAX_CPUS
#define POSIX_CPU_STACK (256u << 10)
#define POSIX_FILES     8
#define POSIX_CONSOLE   65536

/* --- the arena: all mutable state of a machine (arena.c) --- */

/* Forget everything; the machine structure is zero again. */
void arena_reset(void);
/* Remember the arena as it is now; go back to it as often as wanted. One snapshot at a time. */
void arena_snapshot(void);
void arena_restore(void);
/* Bytes handed out and not given back. */
u64 arena_live_bytes(void);
/* Calls of port_alloc() so far. */
u64 arena_allocations(void);
/* true: `p` lies in the arena. */
bool arena_contains(const volatile void *p);
/* The host-physical addresses of all that it may hold. */
void arena_range(u64 *start, u64 *end);

/* --- a machine (machine.c) --- */

struct posix_config {
	u32 cpus;
	u64 seed;       /* stepper: order of the processors and where they are interleaved */
	u32 switch_ppm; /* stepper: chance per million that an atomic access hands over the turn */
	u64 max_steps;  /* stepper: more means that something hangs; 0: a default */
	void (*boot)(void); /* what processor 0 runs; NULL: all run cpu_main() at once */
};

/*
 * Start over: arena, processor models, scripts. `features` is enum model_feature. The calling
 * thread is processor 0 from here on.
 */
void posix_machine_reset(const struct posix_config *config, u32 features);

/*
 * Run all processors until each has left cpu_main(), i.e. until somebody sets machine->stopping.
 * true: so it ended. false: a panic, a failed check of a script, a deadlock, or too many steps;
 * posix_failure() says which.
 */
bool posix_run_stepper(void);
bool posix_run_threads(u32 timeout_ms);
const char *posix_failure(void);

/* Record a failure and leave the run at once. Does not return inside a run. */
void posix_fail(const char *fmt, ...) __noreturn __printf(1, 2);

/* A name by which port_file() finds `data`. */
void posix_add_file(const char *name, const void *data, u64 size);
const char *posix_console(u32 *len);
void posix_console_input(const char *text);
/* The other end of the record channel, on the boot processor; until the next reset. */
struct posix_channel {
	void (*write)(const void *data, u32 len);
	int (*read)(void);
};
void posix_set_channel(const struct posix_channel *channel);
/* What the hypervisor sent as records, in order. */
const u8 *posix_records(u32 *len);

/* --- for the port's own files and the explorer --- */

struct model_cpu;

enum posix_mode {
	POSIX_OUTSIDE,
	POSIX_STEPPER,
	POSIX_THREADS,
	POSIX_EXPLORER
};

struct posix_machine {
	enum posix_mode mode;
	struct posix_config config;
	u64 random;
	u64 tsc; /* stepper: virtual time */
	u64 steps;
	bool released; /* the other processors may start */
	struct coro *main;
	struct coro cpu_coro[POSIX_MAX_CPUS];
	bool cpu_done[POSIX_MAX_CPUS];
	bool cpu_idle[POSIX_MAX_CPUS];
	bool failed;
	char failure[512];
	void (*log)(
	        const char *
	                line); /* a test's: it gets the lines of port_log(), until the next reset */
	/* The explorer's, called in POSIX_EXPLORER mode only. */
	void (*explorer_point)(const volatile void *addr, enum race_kind kind);
	void (*explorer_relax)(void);
	void (*explorer_fail)(void) __noreturn;
};
extern struct posix_machine posix;

/* Which processor the calling thread is. */
void posix_set_current(struct model_cpu *cpu);
struct model_cpu *posix_current(void);
u32 posix_random(void);

/* Hand over the turn (stepper), or be polite (threads). */
void posix_yield(void);
void posix_stepper_idle(struct model_cpu *cpu);
void posix_explorer_elapse(struct model_cpu *cpu);
void posix_threads_idle(struct model_cpu *cpu);
void posix_threads_wake(struct model_cpu *cpu);
void posix_threads_release(void);
u64 posix_real_tsc(void);

#endif
