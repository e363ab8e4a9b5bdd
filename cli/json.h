/* SPDX-License-Identifier: BSD-2-Clause */
/* The report as JSON (schema postern.report/1, docs/report.md), in a file that is whole or absent.
 */
#ifndef CLI_JSON_H
#define CLI_JSON_H

#include "cli/outcome.h"

#define JSON_SCHEMA "postern.report/1"

struct json_file {
	const char *name; /* as given; NULL: no report wanted */
	char *target;     /* symbolic links resolved */
	char *temporary;  /* NULL: a device or pipe, written directly */
	int fd;
};

/*
 * Before the run, so that a place that cannot be written is found out before the guest is booted.
 * name may be NULL. Anything but STATUS_OK: one line has been printed.
 */
enum status json_open(struct json_file *file, const char *name);

/* Write and close; on failure the target is as it was and one line has been printed. */
enum status json_commit(struct json_file *file, const struct outcome *outcome);

/* Give up: nothing stays behind. Also after json_commit(). */
void json_discard(struct json_file *file);

/* The report's text, to be freed; NULL: out of memory. */
char *json_text(const struct outcome *outcome);

#endif
