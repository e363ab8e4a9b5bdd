/* SPDX-License-Identifier: BSD-2-Clause */
/* See explore.h. */
#include "tests/race/explore.h"

#include "cpu_model/model.h"
#include "posix.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX   4096
#define ADDRESSES   4096
#define ACTOR_STACK (128u << 10)

/* What an actor will do when it is chosen next. */
struct access {
	const volatile void *addr; /* NULL: depends on everything (a wait) */
	bool write;
};

enum actor_state {
	READY,
	BLOCKED,
	FINISHED
};

#define READS 16

/*
 * What it has read since it last wrote or waited: a condition that it waits for is among that. If somebody
 * has written there meanwhile the condition was not what it was found to be, and it looks once more.
 */
struct actor {
	struct coro coro;
	enum actor_state state;
	struct access next;
	const volatile void *read[READS];
	u32 reads;  /* beyond READS: of any place */
	bool stale; /* somebody has */
};

/* One choice on the current path. */
struct node {
	u32 enabled, sleep, done; /* bit per actor; done: already explored from here */
	u32 chosen;
	u32 preemptions; /* made before this choice */
	struct access next[RACE_ACTORS];
};

/* Who touches an address. Outlives executions: this is how shared addresses are found. */
struct address {
	const volatile void *addr;
	u32 readers, writers;
	bool shared;
};

static struct {
	const struct race_scenario *scenario;
	const struct race_limits *limits;
	struct race_result *result;
	struct coro *main;
	struct actor actor[RACE_ACTORS];
	u32 actors; /* the scenario's */
	u32 running;
	struct node path[DEPTH_MAX];
	u32 depth, replay; /* choices made in this execution; those to repeat */
	struct address address[ADDRESSES];
	bool grown; /* a new shared address: start over */
	u64 tsc;
} ex;

static char stacks[RACE_ACTORS][ACTOR_STACK] __aligned(64);

/* --- addresses --- */

static struct address *find_address(const volatile void *addr)
{
	u64 hash = (uintptr_t)addr / 4 * 0x9e3779b97f4a7c15ull >> 52;

	for (u32 i = 0; i < ADDRESSES; i++) {
		struct address *a = &ex.address[(hash + i) % ADDRESSES];

		if (!a->addr)
			a->addr = addr;
		if (a->addr == addr)
			return a;
	}
	fprintf(stderr, "explorer: too many addresses\n");
	abort();
}

/* true: others meet the actor at this address. */
static bool note_access(const volatile void *addr, bool write)
{
	struct address *a = find_address(addr);
	u32 all;

	if (write)
		a->writers |= BIT(ex.running);
	else
		a->readers |= BIT(ex.running);
	all = a->readers | a->writers;
	if (!a->shared && a->writers && (all & (all - 1))) {
		a->shared = true;
		ex.grown = true;
		ex.result->shared++;
	}
	return a->shared;
}

/* --- what the actors call, through the port's hooks --- */

static void give_turn_back(void)
{
	coro_switch(ex.main);
}

static void step(const volatile void *addr, bool write)
{
	ex.actor[ex.running].next = (struct access){addr, write};
	give_turn_back();
}

/*
 * Outside of the guest, interrupts open. The look at what is pending is a step; all vectors that there are, are in one
 * word. Handlers change nothing but what is their processor's own, so what lies between two of its own writes is one.
 */
static void take_interrupts(void)
{
	struct model_cpu *cpu = posix_current();
	const volatile void *irr = &cpu->irr[CPU_VECTOR_KICK / 64];

	if (!ex.scenario->interrupts || !cpu->intr_flag || cpu->in_handler)
		return;
	if (note_access(irr, false))
		step(irr, false);
	model_take_interrupts(cpu);
}

static void point(const volatile void *addr, enum race_kind kind)
{
	bool write = kind == RACE_WRITE || kind == RACE_RMW;

	/* A read of nothing in particular: of several addresses at once. */
	if (kind != RACE_FENCE && (!addr || note_access(addr, write)))
		step(addr, write);
	else if (kind == RACE_FENCE || write)
		take_interrupts();
}

static void relax(void)
{
	struct actor *actor = &ex.actor[ex.running];

	actor->state = actor->stale ? READY : BLOCKED;
	actor->stale = false;
	actor->reads = 0;
	actor->next = (struct access){NULL, false};
	give_turn_back();
}

static void __noreturn give_up(void)
{
	coro_switch(ex.main);
	abort();
}

static void actor_main(void *arg)
{
	u32 index = (u32)(uintptr_t)arg;

	ex.scenario->actor[index]();
	ex.actor[index].state = FINISHED;
	give_turn_back();
}

/* Let an actor run up to its next choice. */
static void run_actor(u32 index)
{
	ex.running = index;
	posix_set_current(&model()->cpu[ex.scenario->cpu[index]]);
	coro_switch(&ex.actor[index].coro);
}

/* --- choices --- */

static bool independent(const struct access *a, const struct access *b)
{
	if (!a->addr || !b->addr)
		return false;
	return a->addr != b->addr || (!a->write && !b->write);
}

static u32 enabled_actors(void)
{
	u32 mask = 0;

	for (u32 i = 0; i < ex.actors; i++)
		if (ex.actor[i].state == READY)
			mask |= BIT(i);
	return mask;
}

static bool bounded(void)
{
	return ex.limits->preemptions != RACE_UNBOUNDED;
}

/* The actor that made the previous step could go on, so that another one now is a preemption. */
static u32 previous_if_enabled(u32 enabled)
{
	u32 previous = ex.depth ? BIT(ex.path[ex.depth - 1].chosen) : 0;

	return previous & enabled;
}

/* Those that may be chosen at a node and have not been. */
static u32 candidates(const struct node *node)
{
	u32 mask = node->enabled & ~node->done & ~node->sleep;
	u32 previous;

	if (bounded() && node->preemptions >= ex.limits->preemptions) {
		previous = previous_if_enabled(node->enabled);
		if (previous)
			mask &= previous;
	}
	return mask;
}

/* A node that this path meets for the first time. */
static void new_node(struct node *node)
{
	const struct node *parent = ex.depth ? node - 1 : NULL;

	*node = (struct node){.enabled = enabled_actors()};
	for (u32 i = 0; i < ex.actors; i++)
		node->next[i] = ex.actor[i].next;
	ex.result->states++;
	if (!parent)
		return;
	node->preemptions = parent->preemptions;
	if (ex.depth > 1 && parent->chosen != (parent - 1)->chosen &&
	    (parent->enabled & BIT((parent - 1)->chosen)))
		node->preemptions++;
	if (bounded())
		return; /* sleep sets assume that nothing is left out */
	for (u32 i = 0; i < ex.actors; i++)
		if (((parent->sleep | parent->done) & BIT(i)) && i != parent->chosen &&
		    independent(&parent->next[i], &parent->next[parent->chosen]))
			node->sleep |= BIT(i);
}

/* Whose turn it is; -1: this path is equivalent to one that was explored. */
static int choose(void)
{
	struct node *node = &ex.path[ex.depth];
	u32 mask;

	if (ex.depth < ex.replay)
		return (int)node->chosen;
	if (ex.depth == DEPTH_MAX - 1) {
		fprintf(stderr, "explorer: an execution without end\n");
		abort();
	}
	new_node(node);
	mask = candidates(node);
	if (!mask)
		return -1;
	/* Stay with the one that ran: the first path has no preemptions. */
	if (mask & previous_if_enabled(mask))
		mask = previous_if_enabled(mask);
	node->chosen = (u32)__builtin_ctz(mask);
	return (int)node->chosen;
}

/* Back to the deepest choice with an alternative. false: everything has been explored. */
static bool backtrack(void)
{
	while (ex.depth) {
		struct node *node = &ex.path[--ex.depth];
		u32 mask;

		node->done |= BIT(node->chosen);
		mask = candidates(node);
		if (!mask)
			continue;
		node->chosen = (u32)__builtin_ctz(mask);
		ex.replay = ex.depth + 1;
		return true;
	}
	return false;
}

/* --- one execution --- */

static void wake_blocked(u32 except)
{
	for (u32 i = 0; i < ex.actors; i++)
		if (i != except && ex.actor[i].state == BLOCKED)
			ex.actor[i].state = READY;
}

static bool has_read(const struct actor *actor, const volatile void *addr)
{
	for (u32 i = 0; i < actor->reads && i < READS; i++)
		if (actor->read[i] == addr)
			return true;
	return actor->reads > READS;
}

/* For the sake of those who wait for several things. */
static void note_step(u32 index, const struct access *access)
{
	struct actor *actor = &ex.actor[index];

	if (!access->write) {
		if (access->addr && actor->reads < READS)
			actor->read[actor->reads] = access->addr;
		actor->reads += access->addr != NULL;
		return;
	}
	actor->reads = 0;
	actor->stale = false;
	for (u32 i = 0; i < ex.actors; i++)
		ex.actor[i].stale |= i != index && has_read(&ex.actor[i], access->addr);
}

static void start(void)
{
	arena_restore();
	posix.tsc = ex.tsc;
	posix.failed = false;
	ex.depth = 0;
	if (ex.scenario->begin)
		ex.scenario->begin();
	posix.mode = POSIX_EXPLORER;
	for (u32 i = 0; i < ex.actors; i++) {
		ex.actor[i].state = READY;
		ex.actor[i].reads = 0;
		ex.actor[i].stale = false;
		coro_init(&ex.actor[i].coro, stacks[i], ACTOR_STACK, actor_main,
		          (void *)(uintptr_t)i);
	}
	/* Up to the first shared access of each, which depends on nobody. */
	for (u32 i = 0; i < ex.actors && !posix.failed; i++)
		run_actor(i);
}

static const char *finish(void)
{
	posix.mode = POSIX_OUTSIDE;
	if (posix.failed)
		return posix.failure;
	for (u32 i = 0; i < ex.actors; i++)
		if (ex.actor[i].state != FINISHED)
			return "deadlock: an actor waits for what nobody will do any more";
	return ex.scenario->check();
}

/* NULL, or what is wrong; *pruned: nothing was executed to its end. */
static const char *execute(bool *pruned)
{
	*pruned = false;
	start();
	while (!posix.failed && enabled_actors()) {
		int next = choose();
		struct access access;

		if (next < 0) {
			*pruned = true;
			posix.mode = POSIX_OUTSIDE;
			return NULL;
		}
		access = ex.actor[next].next;
		ex.depth++;
		note_step((u32)next, &access);
		run_actor((u32)next);
		if (access.write)
			wake_blocked((u32)next);
	}
	return finish();
}

/* --- exploration --- */

static void describe(char *text, size_t size)
{
	size_t used = 0;

	for (u32 i = 0; i < ex.depth && used < size - 64; i++) {
		const struct access *a = &ex.path[i].next[ex.path[i].chosen];

		used += (size_t)snprintf(text + used, size - used, "#     actor %u: %s %p\n",
		                         ex.path[i].chosen,
		                         !a->addr   ? "goes on"
		                         : a->write ? "writes"
		                                    : "reads",
		                         (const void *)a->addr);
	}
}

/* false: a new shared address was found, what has been explored so far does not count. */
static bool explore_once(void)
{
	struct race_result *result = ex.result;
	bool pruned;

	result->executions = result->pruned = result->states = 0;
	result->depth = ex.replay = 0;
	ex.grown = false;
	do {
		const char *failure = execute(&pruned);

		if (ex.grown)
			return false;
		result->depth = ex.depth > result->depth ? ex.depth : result->depth;
		if (pruned)
			result->pruned++;
		else
			result->executions++;
		if (failure) {
			result->failure = failure;
			describe(result->trace, sizeof(result->trace));
			return true;
		}
		if (ex.limits->executions && result->executions >= ex.limits->executions)
			return true;
	} while (backtrack());
	result->complete = true;
	return true;
}

void race_explore(const struct race_scenario *scenario, const struct race_limits *limits,
                  struct race_result *result)
{
	memset(&ex, 0, sizeof(ex));
	memset(result, 0, sizeof(*result));
	ex.scenario = scenario;
	ex.limits = limits;
	ex.result = result;
	ex.main = coro_self();
	while (ex.actors < RACE_ACTORS && scenario->actor[ex.actors])
		ex.actors++;
	scenario->setup();
	posix.explorer_point = point;
	posix.explorer_relax = relax;
	posix.explorer_fail = give_up;
	ex.tsc = posix.tsc;
	arena_snapshot();
	while (!explore_once())
		;
	posix_set_current(&model()->cpu[0]);
}
