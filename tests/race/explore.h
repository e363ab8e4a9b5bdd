/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The race explorer: runs a small scenario of two or more actors over the real code in every order
 * that can make a difference.
 *
 * Actors are coroutines, each on a processor of its own. Every atomic access (sync.h calls
 * race_point() before it) is a choice: who makes the next one. Choices are walked depth first; each
 * execution starts over from a snapshot of the arena and repeats the choices so far. Only
 * sequentially consistent orders are explored, so a missing barrier is not found, a wrong order is.
 *
 * Two reductions, neither of which loses an outcome:
 *  - an address that only one actor touches, or that none writes, is no choice. Which those are is
 *    found while exploring; when a new shared one turns up, exploration starts over.
 *  - sleep sets (Godefroid, "Partial-Order Methods for the Verification of Concurrent Systems"):
 * two accesses that do not depend on each other are explored in one order only.
 *
 * An actor that waits (race_relax()) is blocked until another actor writes something, unless one has
 * already written to what the actor has just looked at. All actors finished or blocked, and one of them
 * blocked: a deadlock, which is a failure.
 */
#ifndef TESTS_RACE_EXPLORE_H
#define TESTS_RACE_EXPLORE_H

#include "postern/types.h"

#define RACE_ACTORS    3
#define RACE_UNBOUNDED (~0u)

struct race_scenario {
	const char *name;
	void (*setup)(void); /* once: create the machine; what it leaves is where all start */
	void (*begin)(void); /* before each execution: state outside of the arena; NULL: none */
	void (*actor[RACE_ACTORS])(void); /* NULL behind the last */
	u32 cpu[RACE_ACTORS];             /* on which processor */
	u32 preemptions; /* too large without a bound: at most so many, one more in check-full; 0: no bound */
	bool interrupts; /* they are taken at any step outside of the guest, not only when they are let in */
	/* After each execution: NULL, or what is wrong. */
	const char *(*check)(void);
};

struct race_limits {
	u32 preemptions; /* switches away from an actor that could go on, at most */
	u64 executions;  /* give up after so many; 0: never */
};

struct race_result {
	u64 executions;      /* complete interleavings */
	u64 pruned;          /* cut short: equivalent to one that was explored */
	u64 states;          /* choices met, each once */
	u32 depth;           /* choices of the longest execution */
	u32 shared;          /* addresses at which the actors meet */
	bool complete;       /* everything within the bound was explored */
	const char *failure; /* NULL: none found */
	char trace[4096];    /* of the failing execution */
};

void race_explore(const struct race_scenario *scenario, const struct race_limits *limits,
                  struct race_result *result);

#endif
