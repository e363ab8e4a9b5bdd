/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory, strings and formatted text, with the names and the meaning the C standard gives them. In
 * host programs they are the C library's; in the image port/metal/string.c and print.c.
 *
 * Formats that the image knows: d i u x X p s c %, with the lengths l ll z h hh, a width, a
 * precision (strings: at most so many bytes), 0 and -. Both may be given as *.
 */
#ifndef POSTERN_STRING_H
#define POSTERN_STRING_H

#include <stdarg.h>

#include "postern/types.h"

void *memcpy(void *to, const void *from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
void *memchr(const void *s, int c, size_t n);
size_t strlen(const char *s);
size_t strnlen(const char *s, size_t max);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
char *strchr(const char *s, int c);
char *strrchr(const char *s, int c);

/* Return the length the whole text has; what does not fit into `size` bytes with its NUL is cut. */
int snprintf(char *to, size_t size, const char *fmt, ...) __printf(3, 4);
int vsnprintf(char *to, size_t size, const char *fmt, va_list args) __printf(3, 0);

#endif
