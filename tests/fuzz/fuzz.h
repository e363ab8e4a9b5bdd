/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fuzzing with libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer. Each tests/fuzz/NAME.c
 * with LLVMFuzzerTestOneInput() is one program, BUILD/fuzz/NAME; NAME_*.c belong to it.
 *
 * An input is a program for the thing under test: a few bytes of set-up, then operations until the
 * bytes end. Every input is valid, and the same bytes always do the same: the world is put back to
 * its beginning before each input, time is the input's, nothing is drawn by chance.
 *
 * What is found stays as BUILD/fuzz/NAME-crash-SUM (-timeout-, -leak-) and is printed in hex by the
 * check. To reproduce it:
 *
 *      make BUILD=build build/fuzz/irq && build/fuzz/irq build/fuzz/irq-crash-SUM
 *      printf "$(sed 's/../\\x&/g' <<<HEX)" >input             from the check's output alone
 *      FUZZ_TRACE=1 build/fuzz/irq input                       with each operation named (irq, accel, apicv)
 *      build/fuzz/irq -minimize_crash=1 -runs=100000 input     a shorter one
 *
 * A bug that was found becomes a unit test of the rule that was broken.
 *
 * That the checks see something is shown by mutants: the same program with one line of the
 * hypervisor made wrong (tests/fuzz/mutants), which has to be found within a million executions.
 * docs/fuzzing.md has the rest.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "postern/types.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

struct fuzz_input {
	const u8 *at, *end;
};

static inline bool fuzz_left(const struct fuzz_input *in)
{
	return in->at < in->end;
}

/* Beyond the end an input is zeros. */
static inline u8 fuzz_u8(struct fuzz_input *in)
{
	return in->at < in->end ? *in->at++ : 0;
}

static inline u32 fuzz_u16(struct fuzz_input *in)
{
	u32 low = fuzz_u8(in);

	return low | (u32)fuzz_u8(in) << 8;
}

static inline u32 fuzz_u32(struct fuzz_input *in)
{
	u32 low = fuzz_u16(in);

	return low | fuzz_u16(in) << 16;
}

static inline u64 fuzz_u64(struct fuzz_input *in)
{
	u64 low = fuzz_u32(in);

	return low | (u64)fuzz_u32(in) << 32;
}

/* An access size: 1, 2, 4, 8. */
static inline u32 fuzz_size(u8 choice)
{
	return 1u << (choice & 3);
}

/* What is broken, with the place; ends the program, which libFuzzer takes for a crash. */
#define FUZZ_FAIL(...)                                                                             \
	do {                                                                                       \
		fprintf(stderr, "%s:%d: ", __FILE__, __LINE__);                                    \
		fprintf(stderr, __VA_ARGS__);                                                      \
		fprintf(stderr, "\n");                                                             \
		abort();                                                                           \
	} while (0)
#define FUZZ_CHECK(cond, ...)                                                                      \
	do {                                                                                       \
		if (!(cond))                                                                       \
			FUZZ_FAIL(__VA_ARGS__);                                                    \
	} while (0)

#endif
