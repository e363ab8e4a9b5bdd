/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Formatted text without a C library; the formats are those listed in postern/string.h. Writes
 * through a bounded buffer only, so that it works in the middle of a panic.
 */
#include "postern/string.h"

struct output {
	char *to;
	size_t size;
	size_t length; /* what the text would have without a bound */
};

struct spec {
	bool left;
	bool zero;
	bool has_precision;
	u32 width;
	u32 precision;
	u32 bytes; /* of an integer argument */
};

static void put(struct output *out, char c)
{
	if (out->length + 1 < out->size)
		out->to[out->length] = c;
	out->length++;
}

static void put_padded(struct output *out, const struct spec *spec, const char *text, u32 length)
{
	u32 pad = spec->width > length ? spec->width - length : 0;

	if (!spec->left)
		for (; pad; pad--)
			put(out, ' ');
	for (; length; length--)
		put(out, *text++);
	for (; pad; pad--)
		put(out, ' ');
}

static void put_string(struct output *out, const struct spec *spec, const char *s)
{
	if (!s)
		s = "(null)";
	put_padded(out, spec, s, strnlen(s, spec->has_precision ? spec->precision : 4096));
}

/* `sign` is '-' or 0; digits are written from the end of a buffer that holds any 64-bit number. */
static void put_number(struct output *out, const struct spec *spec, u64 v, u32 base, bool upper,
                       char sign)
{
	const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
	char buffer[72];
	u32 at = sizeof(buffer), least = 1;

	if (spec->has_precision)
		least = spec->precision;
	else if (spec->zero && !spec->left)
		least = spec->width - (sign && spec->width ? 1 : 0);
	if (least > 64)
		least = 64;
	for (; v || sizeof(buffer) - at < (least ? least : 1); v /= base)
		buffer[--at] = digits[v % base];
	if (sign)
		buffer[--at] = sign;
	put_padded(out, spec, buffer + at, sizeof(buffer) - at);
}

static const char *parse_count(const char *fmt, u32 *count, va_list *args)
{
	if (*fmt == '*') {
		int n = va_arg(*args, int);

		*count = n > 0 ? (u32)n : 0;
		return fmt + 1;
	}
	for (*count = 0; *fmt >= '0' && *fmt <= '9'; fmt++)
		*count = *count * 10 + (u32)(*fmt - '0');
	return fmt;
}

static const char *parse_spec(const char *fmt, struct spec *spec, va_list *args)
{
	*spec = (struct spec){.bytes = sizeof(int)};
	for (;; fmt++) {
		if (*fmt == '-')
			spec->left = true;
		else if (*fmt == '0')
			spec->zero = true;
		else
			break;
	}
	fmt = parse_count(fmt, &spec->width, args);
	if (*fmt == '.') {
		spec->has_precision = true;
		fmt = parse_count(fmt + 1, &spec->precision, args);
	}
	for (;; fmt++) {
		if (*fmt == 'l' || *fmt == 'z')
			spec->bytes = 8;
		else if (*fmt == 'h')
			spec->bytes /= 2;
		else
			return fmt;
	}
}

static u64 unsigned_arg(const struct spec *spec, va_list *args)
{
	switch (spec->bytes) {
	case 8:
		return va_arg(*args, u64);
	case 2:
		return (u16)va_arg(*args, u32);
	case 1:
		return (u8)va_arg(*args, u32);
	default:
		return va_arg(*args, u32);
	}
}

static s64 signed_arg(const struct spec *spec, va_list *args)
{
	switch (spec->bytes) {
	case 8:
		return va_arg(*args, s64);
	case 2:
		return (int16_t)va_arg(*args, int);
	case 1:
		return (int8_t)va_arg(*args, int);
	default:
		return va_arg(*args, int);
	}
}

static void put_conversion(struct output *out, struct spec *spec, char conversion, va_list *args)
{
	char c;
	s64 v;

	switch (conversion) {
	case 'd':
	case 'i':
		v = signed_arg(spec, args);
		put_number(out, spec, v < 0 ? -(u64)v : (u64)v, 10, false, v < 0 ? '-' : 0);
		break;
	case 'u':
		put_number(out, spec, unsigned_arg(spec, args), 10, false, 0);
		break;
	case 'x':
	case 'X':
		put_number(out, spec, unsigned_arg(spec, args), 16, conversion == 'X', 0);
		break;
	case 'p':
		put(out, '0');
		put(out, 'x');
		put_number(out, spec, (u64)va_arg(*args, void *), 16, false, 0);
		break;
	case 's':
		put_string(out, spec, va_arg(*args, const char *));
		break;
	case 'c':
		c = (char)va_arg(*args, int);
		put_padded(out, spec, &c, 1);
		break;
	default: /* "%%", or a format the compiler has complained about */
		put(out, conversion);
		break;
	}
}

int vsnprintf(char *to, size_t size, const char *fmt, va_list args)
{
	struct output out = {.to = to, .size = size};
	struct spec spec;
	va_list copy;

	/* va_list is an array type here: only a copy of one's own can be passed on by address. */
	va_copy(copy, args);
	for (; *fmt; fmt++) {
		if (*fmt != '%') {
			put(&out, *fmt);
			continue;
		}
		fmt = parse_spec(fmt + 1, &spec, &copy);
		if (!*fmt)
			break;
		put_conversion(&out, &spec, *fmt, &copy);
	}
	va_end(copy);
	if (size)
		to[out.length < size ? out.length : size - 1] = '\0';
	return (int)out.length;
}

int snprintf(char *to, size_t size, const char *fmt, ...)
{
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(to, size, fmt, args);
	va_end(args);
	return n;
}
