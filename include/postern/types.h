/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Integer, address and helper types shared by every part of Postern.
 *
 * The three address spaces of a virtualised machine are distinct types, so that the
 * compiler refuses a guest-physical address where a host-physical one is wanted:
 *   gva_t  guest-virtual (linear)   translated by the guest's own page tables
 *   gpa_t  guest-physical           translated by the nested page tables
 *   hpa_t  host-physical            what the processor and its structures hold
 */
#ifndef POSTERN_TYPES_H
#define POSTERN_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;
typedef int64_t s64;

typedef struct {
	u64 v;
} gva_t;
typedef struct {
	u64 v;
} gpa_t;
typedef struct {
	u64 v;
} hpa_t;

#define GVA(x) ((gva_t){(u64)(x)})
#define GPA(x) ((gpa_t){(u64)(x)})
#define HPA(x) ((hpa_t){(u64)(x)})

#define PAGE_SIZE    4096ull
#define PAGE_MASK    (~(PAGE_SIZE - 1))
#define PAGE_SIZE_2M (2ull << 20)
#define CACHE_LINE   64

#define BIT(n)                          (1u << (n))
#define BIT64(n)                        (1ull << (n))
#define ARRAY_SIZE(a)                   (sizeof(a) / sizeof((a)[0]))
#define ALIGN_UP(x, a)                  (((x) + (a)-1) & ~((a)-1))
#define ALIGN_DOWN(x, a)                ((x) & ~((a)-1))
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define __packed       __attribute__((packed))
#define __aligned(n)   __attribute__((aligned(n)))
#define __noreturn     __attribute__((noreturn))
#define __printf(f, a) __attribute__((format(printf, f, a)))
#define __unused       __attribute__((unused))
#define __noinline     __attribute__((noinline))
#define __inlined      inline __attribute__((always_inline)) /* hot, and used in few places */
#define __cacheline    __aligned(CACHE_LINE)

static inline u64 min_u64(u64 a, u64 b)
{
	return a < b ? a : b;
}

static inline u64 max_u64(u64 a, u64 b)
{
	return a > b ? a : b;
}

/* Deadline value that never comes; every timer field uses it for "not armed". */
#define TSC_NEVER (~0ull)

#endif
