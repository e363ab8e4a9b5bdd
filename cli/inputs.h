/* SPDX-License-Identifier: BSD-2-Clause */
/* The files that the image is started with, in an emulator's directory. */
#ifndef CLI_INPUTS_H
#define CLI_INPUTS_H

#include "cli/options.h"
#include "cli/status.h"

/* A boot file: its name in the directory, and the one by which the image knows it. */
struct input {
	char file[24];
	char name[24];
};

#define INPUTS_MAX (1 + 3 * MAX_VMS)

/* What an emulator needs of the image. */
struct inputs_needs {
	bool reserve_boot_cpu;
	bool stale_vectoring; /* unless the options say otherwise */
};

/*
 * Put the image ("postern.elf") and the boot files into the directory. STATUS_OK, or another with one line
 * printed.
 */
enum status inputs_prepare(const char *dir, const struct options *options,
                           const struct inputs_needs *needs);

/* The boot files that are there; returns how many. */
u32 inputs_list(struct input list[INPUTS_MAX], const char *dir, const struct options *options);

/*
 * How many bytes of memory the machine must have for each VM's to lie in one piece, as the image needs it.
 * The image takes the first piece that is large enough; the machine's memory is in two, of which the first
 * has `first_piece` bytes if there is more than that.
 */
u64 inputs_memory(const char *dir, const struct options *options, u64 first_piece);

#endif
