/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Linux unpacks an initrd that is several archives one behind the other, compressed or not, if each
 * starts at a multiple of four bytes; zeros between them are skipped (Linux documentation,
 * "initramfs buffer format"). So the command travels in an archive of its own behind the initrd,
 * whatever the initrd is.
 *
 * newc: a header of "070701" and thirteen 8-digit hexadecimal numbers, the name with its NUL, zeros
 * to a multiple of four, the data, zeros to a multiple of four. "TRAILER!!!" is the last entry.
 */
#include "cli/cpio.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool write_padding(FILE *out)
{
	long at = ftell(out);

	if (at < 0)
		return false;
	for (; at % 4 != 0; at++) {
		if (putc(0, out) == EOF)
			return false;
	}
	return true;
}

static bool write_entry(FILE *out, u32 inode, u32 mode, const char *name, const char *data)
{
	size_t size = strlen(data);
	size_t name_size = strlen(name) + 1;

	if (size > UINT32_MAX) {
		errno = EFBIG;
		return false;
	}
	/* inode, mode, uid, gid, links, mtime, size, device (2), rdev (2), name size, check */
	if (fprintf(out, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", inode, mode,
	            0u, 0u, 1u, 0u, (u32)size, 0u, 0u, 0u, 0u, (u32)name_size, 0u) < 0)
		return false;
	if (fwrite(name, 1, name_size, out) != name_size || !write_padding(out))
		return false;
	return fwrite(data, 1, size, out) == size && write_padding(out);
}

bool cpio_write_command(FILE *out, const char *script)
{
	return write_padding(out) && write_entry(out, 1, S_IFDIR | 0755, CPIO_COMMAND_DIR, "") &&
	       write_entry(out, 2, S_IFREG | 0755, CPIO_COMMAND_FILE, script) &&
	       write_entry(out, 0, 0, "TRAILER!!!", "");
}

/* Append `word` in single quotes; a quote within becomes '\'' (close, literal quote, open). */
static char *append_quoted(char *to, const char *word)
{
	*to++ = '\'';
	for (; *word; word++) {
		if (*word == '\'')
			to = stpcpy(to, "'\\''");
		else
			*to++ = *word;
	}
	*to++ = '\'';
	return to;
}

char *cpio_command_script(char *const words[], int count)
{
	static const char intro[] = "#!/bin/sh\n";
	size_t size = sizeof(intro) + 1;
	char *script, *to;

	for (int i = 0; i < count; i++)
		size += 4 * strlen(words[i]) + 3;
	script = malloc(size);
	if (!script)
		return NULL;
	to = stpcpy(script, intro);
	if (count == 1)
		to = stpcpy(to, words[0]);
	for (int i = 0; count > 1 && i < count; i++) {
		if (i > 0)
			*to++ = ' ';
		to = append_quoted(to, words[i]);
	}
	strcpy(to, "\n");
	return script;
}

bool cpio_copy_padded(FILE *out, FILE *from)
{
	char buffer[65536];
	size_t n;

	while ((n = fread(buffer, 1, sizeof(buffer), from)) > 0) {
		if (fwrite(buffer, 1, n, out) != n)
			return false;
	}
	return !ferror(from) && write_padding(out);
}
