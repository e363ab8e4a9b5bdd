/* SPDX-License-Identifier: BSD-2-Clause */
/* The hypervisor's course on the boot processor, from configuration to the final report. */
#ifndef CORE_MAIN_H
#define CORE_MAIN_H

#include "postern/types.h"

/* How the image's run ended, for the port: what it turns into an exit code of the machine. */
enum main_result {
	MAIN_OK,      /* every VM ended and was reported */
	MAIN_REFUSED, /* no VM was started; one line has been logged, and reported */
};

/*
 * Read the boot files, create and start the VMs, run until all have ended, report. Called by the
 * port on the boot processor once port_machine()->cpu[] is filled in and the other processors are
 * parked; calls port_release_cpus().
 */
enum main_result postern_main(void);

/* Supplied by the port: let the parked processors call cpu_main(). */
void port_release_cpus(void);

/*
 * Called by the processors' run loops a few times per millisecond at most: reads commands from the
 * record channel, sends status and accounts when they are due. Boot processor only.
 */
void main_housekeeping(u64 now);
/* TSC when housekeeping is next due. */
u64 main_housekeeping_due(void);

#endif
