/* SPDX-License-Identifier: BSD-2-Clause */
/* The archive that carries COMMAND into the guest, in cpio's "newc" format. */
#ifndef CLI_CPIO_H
#define CLI_CPIO_H

#include <stdio.h>

#include "postern/types.h"

/* Where the guest's /init finds the command. */
#define CPIO_COMMAND_DIR  "postern"
#define CPIO_COMMAND_FILE "postern/command"

/*
 * Write an archive with one executable file, CPIO_COMMAND_FILE, that holds `script`. The archive
 * starts at a multiple of four of the file position. false: errno says why.
 */
bool cpio_write_command(FILE *out, const char *script);

/*
 * The shell script that runs `words`. One word is shell text as it stands ("ls | wc -l"); of
 * several, each is quoted, so that it reaches the command unchanged. NULL: out of memory.
 */
char *cpio_command_script(char *const words[], int count);

/* Copy `from` to `out`, then pad with zeros to a multiple of four. false: errno says why. */
bool cpio_copy_padded(FILE *out, FILE *from);

#endif
