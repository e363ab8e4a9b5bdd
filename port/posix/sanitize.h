/* SPDX-License-Identifier: BSD-2-Clause */
/* What AddressSanitizer has to be told: stack switches, and memory that is not allocated now. */
#ifndef POSIX_SANITIZE_H
#define POSIX_SANITIZE_H

#include "postern/types.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZE_ADDRESS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZE_ADDRESS 1
#endif
#endif
#ifndef SANITIZE_ADDRESS
#define SANITIZE_ADDRESS 0
#endif

#if SANITIZE_ADDRESS
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>

static inline void sanitize_poison(const void *p, size_t size)
{
	__asan_poison_memory_region(p, size);
}

static inline void sanitize_unpoison(const void *p, size_t size)
{
	__asan_unpoison_memory_region(p, size);
}

static inline void sanitize_switch_start(void **fake_stack, const void *stack, size_t size)
{
	__sanitizer_start_switch_fiber(fake_stack, stack, size);
}

static inline void sanitize_switch_finish(void *fake_stack)
{
	__sanitizer_finish_switch_fiber(fake_stack, NULL, NULL);
}
#else
static inline void sanitize_poison(const void *p, size_t size)
{
	(void)p;
	(void)size;
}

static inline void sanitize_unpoison(const void *p, size_t size)
{
	(void)p;
	(void)size;
}

static inline void sanitize_switch_start(void **fake_stack, const void *stack, size_t size)
{
	(void)fake_stack;
	(void)stack;
	(void)size;
}

static inline void sanitize_switch_finish(void *fake_stack)
{
	(void)fake_stack;
}
#endif

#endif
