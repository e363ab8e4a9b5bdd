/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Coroutine switch by hand, because ucontext's makes two system calls for a signal mask that nobody
 * here changes, and the explorer switches millions of times.
 *
 * The System V ABI for x86-64 preserves RBX, RBP, R12..R15 and RSP over a call; the floating-point
 * control words never change here.
 */
#define _GNU_SOURCE
#include "coro.h"
#include "sanitize.h"

#include <pthread.h>

void coro_swap(void **save_sp, void *load_sp);
void coro_first(void);
void coro_main(struct coro *co);

__asm__(".text\n"
        ".globl coro_swap\n"
        ".type coro_swap, @function\n"
        "coro_swap:\n"
        "	pushq %rbp\n"
        "	pushq %rbx\n"
        "	pushq %r12\n"
        "	pushq %r13\n"
        "	pushq %r14\n"
        "	pushq %r15\n"
        "	movq %rsp, (%rdi)\n"
        "	movq %rsi, %rsp\n"
        "	popq %r15\n"
        "	popq %r14\n"
        "	popq %r13\n"
        "	popq %r12\n"
        "	popq %rbx\n"
        "	popq %rbp\n"
        "	ret\n"
        ".size coro_swap, . - coro_swap\n"
        ".globl coro_first\n"
        ".type coro_first, @function\n"
        "coro_first:\n"
        "	movq %r12, %rdi\n"
        "	xorl %ebp, %ebp\n"
        "	call coro_main\n"
        "	ud2\n"
        ".size coro_first, . - coro_first\n");

/* Per thread, not per coroutine: only functions that do not switch in between look at them. */
static __thread struct coro *running;
static __thread struct coro thread;

struct coro *coro_self(void)
{
	pthread_attr_t attr;

	if (running)
		return running;
	if (pthread_getattr_np(pthread_self(), &attr) == 0) {
		pthread_attr_getstack(&attr, &thread.stack, &thread.size);
		pthread_attr_destroy(&attr);
	}
	running = &thread;
	return running;
}

void coro_init(struct coro *co, void *stack, size_t size, void (*fn)(void *arg), void *arg)
{
	u64 *sp = (u64 *)((char *)stack + size);

	/* An abandoned coroutine left its frames' red zones behind. */
	sanitize_unpoison(stack, size);
	*co = (struct coro){.stack = stack, .size = size, .fn = fn, .arg = arg};
	*--sp = 0; /* keeps the ABI's alignment at the call in coro_first */
	*--sp = 0;
	*--sp = (u64)(uintptr_t)coro_first;
	*--sp = 0;                  /* rbp */
	*--sp = 0;                  /* rbx */
	*--sp = (u64)(uintptr_t)co; /* r12 */
	*--sp = 0;                  /* r13 */
	*--sp = 0;                  /* r14 */
	*--sp = 0;                  /* r15 */
	co->sp = sp;
}

void coro_main(struct coro *co)
{
	sanitize_switch_finish(NULL);
	co->fn(co->arg);
}

void coro_switch(struct coro *to)
{
	struct coro *from = coro_self();

	running = to;
	sanitize_switch_start(&from->fake_stack, to->stack, to->size);
	coro_swap(&from->sp, to->sp);
	sanitize_switch_finish(from->fake_stack);
}
