/* SPDX-License-Identifier: BSD-2-Clause */
/* How a run ended, and everything that is told about it afterwards. */
#ifndef CLI_OUTCOME_H
#define CLI_OUTCOME_H

#include "cli/options.h"
#include "cli/report.h"
#include "cli/status.h"

struct outcome_vm {
	const char *ended; /* a name of ENDINGS, or OUTCOME_LOST; NULL: not yet */
	s32 code;          /* what the guest gave; 0 if nothing */
	u64 elapsed_ns;
};

struct outcome {
	struct outcome_vm vm[MAX_VMS]; /* as many as options->vms */
	enum status status;            /* or a status that a guest chose */
	const struct options *options;
	const struct report *report;
};

/* The emulator ended before the image could say how the guest did. */
#define OUTCOME_LOST "emulator-ended"

/* Number of vCPUs to tell about: what was asked for, or more if the image has more. */
u32 outcome_vcpus(const struct outcome *outcome, u32 vm);

/* The account as a table for each VM: a column for each vCPU up to eight, otherwise smallest and largest. */
void account_print(FILE *out, const struct outcome *outcome);

#endif
