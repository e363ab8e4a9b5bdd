/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The C library's memory and string functions, as far as the image needs them. The bulk of a copy
 * or fill is done by string instructions: vector registers hold the guest's state and are not ours
 * to use.
 */
#include "postern/string.h"

void *memcpy(void *to, const void *from, size_t n)
{
	void *d = to;
	size_t words = n / 8, rest = n % 8;

	__asm__ volatile("rep movsq\n\t"
	                 "mov %3, %%rcx\n\t"
	                 "rep movsb"
	                 : "+D"(d), "+S"(from), "+c"(words)
	                 : "r"(rest)
	                 : "memory");
	return to;
}

void *memmove(void *to, const void *from, size_t n)
{
	u8 *d = (u8 *)to + n;
	const u8 *s = (const u8 *)from + n;

	/* Only a destination inside the source, beyond its start, forbids going upwards. */
	if ((uintptr_t)to - (uintptr_t)from >= n)
		return memcpy(to, from, n);
	while (n--) {
		*--d = *--s;
		/* Keeps the compiler from recognising the loop and calling memmove(). */
		__asm__ volatile("" : : : "memory");
	}
	return to;
}

void *memset(void *to, int c, size_t n)
{
	void *d = to;
	size_t words = n / 8, rest = n % 8;

	__asm__ volatile("rep stosq\n\t"
	                 "mov %3, %%rcx\n\t"
	                 "rep stosb"
	                 : "+D"(d), "+c"(words)
	                 : "a"((u8)c * 0x0101010101010101ull), "r"(rest)
	                 : "memory");
	return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const u8 *x = a, *y = b;

	for (; n; n--, x++, y++) {
		if (*x != *y)
			return *x < *y ? -1 : 1;
	}
	return 0;
}

void *memchr(const void *s, int c, size_t n)
{
	const u8 *p = s;

	for (; n; n--, p++) {
		if (*p == (u8)c)
			return (void *)(uintptr_t)p;
	}
	return NULL;
}

size_t strnlen(const char *s, size_t max)
{
	size_t n = 0;

	while (n < max && s[n])
		n++;
	return n;
}

size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n]) {
		n++;
		/* As in memmove(): this loop is strlen(). */
		__asm__ volatile("" : "+r"(n));
	}
	return n;
}

int strncmp(const char *a, const char *b, size_t n)
{
	for (; n; n--, a++, b++) {
		if (*a != *b)
			return (u8)*a < (u8)*b ? -1 : 1;
		if (!*a)
			break;
	}
	return 0;
}

int strcmp(const char *a, const char *b)
{
	return strncmp(a, b, SIZE_MAX);
}

char *strchr(const char *s, int c)
{
	for (;; s++) {
		if (*s == (char)c)
			return (char *)(uintptr_t)s;
		if (!*s)
			return NULL;
	}
}

char *strrchr(const char *s, int c)
{
	const char *last = NULL;

	for (;; s++) {
		if (*s == (char)c)
			last = s;
		if (!*s)
			return (char *)(uintptr_t)last;
	}
}
