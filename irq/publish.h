/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Publication of immutable tables. Readers take no lock and wait for nobody; a builder fills one of
 * three copies and makes it the current one. Which copy is an index here: the copies themselves,
 * all alike and allocated ahead, belong to the user.
 *
 *      reader                               builder (holds `build`)
 *      ------                               -------
 *      1 m = current                        a pick a copy that is not current
 *      2 readers[m]++                       b wait until its readers are 0
 *      3 current still m? use it            c fill it
 *        else readers[m]--, again           d current = it
 *      4 readers[m]--
 *
 * A reader that uses m has seen 3: m was current after 2. If a later builder fills m, then another
 * table was published (d) between that and its b. 2 and 3, d and b are sequentially consistent: 3
 * saw m, so it came before that d, hence 2 before b, which waits for 4. That m may have been filled
 * and published anew between 1 and 3 does not matter: 3 saw the new one, complete.
 *
 * A reader holds a copy for a few loads, a builder waits only if both copies that are not current
 * are being read, and a reader goes round again only if a whole rebuild fell between 1 and 3.
 */
#ifndef IRQ_PUBLISH_H
#define IRQ_PUBLISH_H

#include "postern/sync.h"

#define PUBLISH_COPIES 3

struct publish {
	struct atomic32 current; /* [a] 1 + index of the published copy, 0: none yet */
	struct spinlock build;   /* one builder at a time */
	struct atomic32 readers[PUBLISH_COPIES]; /* [a] who looks at which copy now */
};

/* Hold the current copy: its index, PUBLISH_COPIES if there is none yet. */
static inline u32 publish_get(struct publish *publish)
{
	for (;;) {
		u32 current = atomic32_read(&publish->current);

		if (!current)
			return PUBLISH_COPIES;
		atomic32_fetch_add(&publish->readers[current - 1], 1);
		if (atomic32_read(&publish->current) == current)
			return current - 1;
		atomic32_fetch_sub(&publish->readers[current - 1], 1);
	}
}

static inline void publish_put(struct publish *publish, u32 i)
{
	atomic32_fetch_sub(&publish->readers[i], 1);
}

/* A copy that is not current and that nobody reads now; PUBLISH_COPIES if there is none. */
static inline u32 publish_find_free(const struct publish *publish)
{
	u32 current = atomic32_read(&publish->current);
	u32 i;

	for (i = 0; i < PUBLISH_COPIES; i++) {
		if (i + 1 != current && !atomic32_read(&publish->readers[i]))
			break;
	}
	return i;
}

/* Begin to build: takes `build`. Returns the copy to fill. */
static inline u32 publish_begin(struct publish *publish)
{
	u32 i;

	spin_lock(&publish->build);
	wait_until((i = publish_find_free(publish)) < PUBLISH_COPIES);
	return i;
}

/* Copy `i` is complete: readers see it from here on. Keeps `build`. */
static inline void publish_commit(struct publish *publish, u32 i)
{
	/* Sequentially consistent, not only release: see the race above. */
	atomic32_set(&publish->current, i + 1);
}

/* Wait until nobody uses anything older than the current copy. `build` is held. */
static inline void publish_drain(struct publish *publish)
{
	u32 current = atomic32_read(&publish->current);

	for (u32 i = 0; i < PUBLISH_COPIES; i++) {
		if (i + 1 != current)
			wait_until(!atomic32_read(&publish->readers[i]));
	}
}

static inline void publish_end(struct publish *publish)
{
	spin_unlock(&publish->build);
}

#endif
