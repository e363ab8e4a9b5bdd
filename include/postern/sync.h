/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every atomic access, lock and wait of Postern goes through this header.
 *
 * One place, because the race explorer has to see each step: race_point() is called before each
 * atomic access (nothing on metal; a scheduling decision under the explorer), and every wait is
 * wait_until(), never a bare spin, so that the explorer knows an actor is blocked.
 *
 * Memory order is in the name: no suffix on a read-modify-write means sequentially consistent;
 * _relaxed, _acquire, _release say otherwise.
 *
 * On metal a lock spins with interrupts open. Interrupt handlers take no lock, so a processor that
 * waits still answers its interrupts (requirement S3.7); no lock is taken between
 * host_irqs_block() and host_irqs_unblock(). Order of locks: docs/locking.md.
 */
#ifndef POSTERN_SYNC_H
#define POSTERN_SYNC_H

#include "postern/types.h"
#include "race_point.h" /* chosen by include path: port/metal or port/posix */

struct atomic32 {
	u32 v;
};
struct atomic64 {
	u64 v;
};
_Static_assert(sizeof(struct atomic32) == 4, "atomics overlay hardware structures");
_Static_assert(sizeof(struct atomic64) == 8, "atomics overlay hardware structures");

#define SYNC_DEFINE_ATOMIC(bits)                                                                   \
	static inline u##bits atomic##bits##_read_relaxed(const struct atomic##bits *a)            \
	{                                                                                          \
		race_point(a, RACE_READ);                                                          \
		return __atomic_load_n(&a->v, __ATOMIC_RELAXED);                                   \
	}                                                                                          \
	static inline u##bits atomic##bits##_read_acquire(const struct atomic##bits *a)            \
	{                                                                                          \
		race_point(a, RACE_READ);                                                          \
		return __atomic_load_n(&a->v, __ATOMIC_ACQUIRE);                                   \
	}                                                                                          \
	static inline u##bits atomic##bits##_read(const struct atomic##bits *a)                    \
	{                                                                                          \
		race_point(a, RACE_READ);                                                          \
		return __atomic_load_n(&a->v, __ATOMIC_SEQ_CST);                                   \
	}                                                                                          \
	static inline void atomic##bits##_set_relaxed(struct atomic##bits *a, u##bits v)           \
	{                                                                                          \
		race_point(a, RACE_WRITE);                                                         \
		__atomic_store_n(&a->v, v, __ATOMIC_RELAXED);                                      \
	}                                                                                          \
	static inline void atomic##bits##_set_release(struct atomic##bits *a, u##bits v)           \
	{                                                                                          \
		race_point(a, RACE_WRITE);                                                         \
		__atomic_store_n(&a->v, v, __ATOMIC_RELEASE);                                      \
	}                                                                                          \
	static inline void atomic##bits##_set(struct atomic##bits *a, u##bits v)                   \
	{                                                                                          \
		race_point(a, RACE_WRITE);                                                         \
		__atomic_store_n(&a->v, v, __ATOMIC_SEQ_CST);                                      \
	}                                                                                          \
	static inline u##bits atomic##bits##_xchg(struct atomic##bits *a, u##bits v)               \
	{                                                                                          \
		race_point(a, RACE_RMW);                                                           \
		return __atomic_exchange_n(&a->v, v, __ATOMIC_SEQ_CST);                            \
	}                                                                                          \
	/* true: *a was `old` and is now `v` */                                                    \
	static inline bool atomic##bits##_cmpxchg(struct atomic##bits *a, u##bits old, u##bits v)  \
	{                                                                                          \
		race_point(a, RACE_RMW);                                                           \
		return __atomic_compare_exchange_n(&a->v, &old, v, false, __ATOMIC_SEQ_CST,        \
		                                   __ATOMIC_SEQ_CST);                              \
	}                                                                                          \
	static inline u##bits atomic##bits##_fetch_add(struct atomic##bits *a, u##bits v)          \
	{                                                                                          \
		race_point(a, RACE_RMW);                                                           \
		return __atomic_fetch_add(&a->v, v, __ATOMIC_SEQ_CST);                             \
	}                                                                                          \
	static inline u##bits atomic##bits##_fetch_sub(struct atomic##bits *a, u##bits v)          \
	{                                                                                          \
		race_point(a, RACE_RMW);                                                           \
		return __atomic_fetch_sub(&a->v, v, __ATOMIC_SEQ_CST);                             \
	}                                                                                          \
	static inline u##bits atomic##bits##_fetch_or(struct atomic##bits *a, u##bits v)           \
	{                                                                                          \
		race_point(a, RACE_RMW);                                                           \
		return __atomic_fetch_or(&a->v, v, __ATOMIC_SEQ_CST);                              \
	}                                                                                          \
	static inline u##bits atomic##bits##_fetch_and(struct atomic##bits *a, u##bits v)          \
	{                                                                                          \
		race_point(a, RACE_RMW);                                                           \
		return __atomic_fetch_and(&a->v, v, __ATOMIC_SEQ_CST);                             \
	}

SYNC_DEFINE_ATOMIC(32)
SYNC_DEFINE_ATOMIC(64)

/*
 * Two words that change as one, which hardware beside the processors asks for. Reading writes what was there: it is
 * the same instruction.
 */
struct atomic128 {
	u64 v[2];
} __aligned(16);
__extension__ typedef unsigned __int128 sync_u128;

static inline sync_u128 sync_cmpxchg128(struct atomic128 *a, sync_u128 old, sync_u128 v)
{
	return __sync_val_compare_and_swap((sync_u128 *)(void *)a, old, v);
}

static inline void atomic128_read(const struct atomic128 *a, u64 v[2])
{
	sync_u128 found;

	race_point(a, RACE_READ);
	found = sync_cmpxchg128((struct atomic128 *)(uintptr_t)a, 0, 0);
	v[0] = (u64)found;
	v[1] = (u64)(found >> 64);
}

static inline void atomic128_set(struct atomic128 *a, u64 low, u64 high)
{
	sync_u128 v = (sync_u128)high << 64 | low, old = 0, found;

	race_point(a, RACE_WRITE);
	while ((found = sync_cmpxchg128(a, old, v)) != old)
		old = found;
}

/* Pointers that other processors read without the lock that guards their change. */
#define ptr_read(pp)                                                                               \
	({                                                                                         \
		race_point((pp), RACE_READ);                                                       \
		__atomic_load_n((pp), __ATOMIC_ACQUIRE);                                           \
	})
#define ptr_set(pp, v)                                                                             \
	do {                                                                                       \
		race_point((pp), RACE_WRITE);                                                      \
		__atomic_store_n((pp), (v), __ATOMIC_RELEASE);                                     \
	} while (0)

/*
 * Counters of accounts: one writer (the owner), any reader. Not a scheduling point for the
 * explorer, since no decision ever depends on one.
 */
static inline void counter_add(u64 *c, u64 n)
{
	__atomic_store_n(c, __atomic_load_n(c, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

/* The same for a counter with several writers. */
static inline void counter_add_shared(u64 *c, u64 n)
{
	__atomic_fetch_add(c, n, __ATOMIC_RELAXED);
}

/* Whoever adds to it gives it another value. */
static inline void counter_set(u64 *c, u64 v)
{
	__atomic_store_n(c, v, __ATOMIC_RELAXED);
}

static inline u64 counter_read(const u64 *c)
{
	return __atomic_load_n(c, __ATOMIC_RELAXED);
}

/* Full barrier: everything before is visible before anything after. */
static inline void smp_mb(void)
{
	race_point(NULL, RACE_FENCE);
#ifdef __SANITIZE_THREAD__
	/* TSan does not model stand-alone fences; the accesses around ours are atomic anyway. */
	static u32 fence;
	__atomic_fetch_add(&fence, 1, __ATOMIC_SEQ_CST);
#else
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

/*
 * Wait for `cond`, re-evaluated until it is true. race_relax() is PAUSE on metal, and under the
 * explorer hands the turn to another actor.
 */
#define wait_until(cond)                                                                           \
	do {                                                                                       \
		while (!(cond))                                                                    \
			race_relax();                                                              \
	} while (0)

/* Ticket lock: fair, one line, holders are served in order of arrival. */
struct spinlock {
	struct atomic32 next;
	struct atomic32 owner;
};

static inline void spin_lock(struct spinlock *l)
{
	u32 ticket = atomic32_fetch_add(&l->next, 1);

	wait_until(atomic32_read_acquire(&l->owner) == ticket);
}

static inline bool spin_trylock(struct spinlock *l)
{
	u32 owner = atomic32_read_acquire(&l->owner);

	return atomic32_cmpxchg(&l->next, owner, owner + 1);
}

static inline void spin_unlock(struct spinlock *l)
{
	atomic32_set_release(&l->owner, atomic32_read_relaxed(&l->owner) + 1);
}

/*
 * Reader/writer lock. state: bit 31 a writer holds or waits, lower bits count readers. A waiting
 * writer keeps new readers out, so that it is not starved.
 */
struct rwlock {
	struct atomic32 state;
	struct spinlock writers; /* one writer at a time may hold or wait */
};
#define RWLOCK_WRITER BIT(31)

/* false: a writer holds or waits. */
static inline bool read_trylock(struct rwlock *l)
{
	if (!(atomic32_fetch_add(&l->state, 1) & RWLOCK_WRITER))
		return true;
	atomic32_fetch_sub(&l->state, 1);
	return false;
}

static inline void read_lock(struct rwlock *l)
{
	do
		wait_until(!(atomic32_read_relaxed(&l->state) & RWLOCK_WRITER));
	while (!read_trylock(l));
}

static inline void read_unlock(struct rwlock *l)
{
	atomic32_fetch_sub(&l->state, 1);
}

static inline void write_lock(struct rwlock *l)
{
	spin_lock(&l->writers);
	atomic32_fetch_or(&l->state, RWLOCK_WRITER);
	wait_until(atomic32_read_acquire(&l->state) == RWLOCK_WRITER);
}

static inline void write_unlock(struct rwlock *l)
{
	atomic32_fetch_and(&l->state, ~RWLOCK_WRITER);
	spin_unlock(&l->writers);
}

#endif
