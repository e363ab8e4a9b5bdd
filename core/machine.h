/* SPDX-License-Identifier: BSD-2-Clause */
/* The root of all state: processors, VMs, the chosen back end. One per image, one per host test. */
#ifndef CORE_MACHINE_H
#define CORE_MACHINE_H

#include "core/command.h"
#include "core/cpu.h"
#include "core/trace.h"
#include "core/vm.h"
#include "postern/backend.h"

struct machine {
	struct cpu cpu[MAX_CPUS];
	u32 cpu_count;          /* (i) after boot */
	u32 first_cpu;          /* (i) those below it run no vCPU, only housekeeping: 0 or 1 */
	struct vm *vm[MAX_VMS]; /* (i) while VMs run */
	u32 vm_count;
	const struct backend *backend; /* (i) chosen once by machine_init() */
	u64 slice_tsc;                 /* (i) length of a turn */
	u64 xcr0_supported;            /* (i) what the guest may set in XCR0; 0: no XSAVE */
	u32 fpu_size;                  /* (i) bytes of a vCPU's FPU area */
	bool has_tsc_aux;              /* (i) RDTSCP and its MSR exist */
	struct atomic32 stopping;      /* [a] every processor leaves cpu_main() */
	bool debugger_wait;            /* (i) VM 0 starts when a debugger says so */
	bool floor;                    /* (i) measure bare world switches at start */
	u8 debug_panic;                /* (i) enum setting_debug_panic */
	u32 debug_lose_ticks;          /* (i) of each processor's timer interrupts, 0: none */
	bool pause_yield;              /* (i) PAUSE exits while others wait */
	bool entry_timer;              /* (i) a running vCPU's deadline goes with its entry */
	bool posted;          /* (i) the processor may collect posted interrupts: --set posted */
	bool ipiv;            /* (i) the processor may send IPIs by itself: --set ipiv */
	bool stale_vectoring; /* (i) docs/emulators.md: exits while a virtual interrupt is delivered */

	/* Housekeeping, boot processor only: when each is next due (TSC). */
	u64 housekeeping_due;
	u64 status_due;
	u64 account_due;
	struct trace trace;
	struct command_frame command; /* boot processor only: core/command.h */
};

/*
 * Choose the back end by what the boot processor has, and prepare it. cpu[] and cpu_count are
 * filled in by the port. false: no usable virtualization, *why says which requirement is missing,
 * by name.
 */
bool machine_init(struct machine *machine, const char **why);

/*
 * Whether the deadline of a vCPU that runs may go with its entry (backend.h, entry_timer): machine_init() has
 * said so. Before any vCPU is created.
 */
void machine_use_entry_timer(struct machine *machine, bool use);

#endif
