/* SPDX-License-Identifier: BSD-2-Clause */
/* `postern run`: from checked options to the exit status. */
#ifndef CLI_RUN_H
#define CLI_RUN_H

#include "cli/options.h"

int run(const struct options *options);

#endif
