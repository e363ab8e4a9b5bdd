/* SPDX-License-Identifier: BSD-2-Clause */
/* One-line messages to the user: "postern: what and why" on standard error. */
#ifndef CLI_SAY_H
#define CLI_SAY_H

#include "postern/types.h"

void say(const char *format, ...) __printf(1, 2);

#endif
