/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What Postern asks of the world it runs in. Two implementations: port/metal (the image) and
 * port/posix (host tests, explorer). A port holds memory, boot, console, threads and time, and
 * decides nothing. The processor itself is reached through insn.h (the instruction seam).
 *
 * Unless a line says otherwise every function may be called on any processor, with or without
 * locks held, and does not block.
 */
#ifndef POSTERN_PORT_H
#define POSTERN_PORT_H

#include "postern/types.h"

struct cpu;
struct machine;

/* The machine: all mutable state of core/, irq/, mmu/, svm/, vmx/ and platform/ hangs off it. */
struct machine *port_machine(void);

/* The processor that executes the caller. Never cached across a point where the caller sleeps. */
struct cpu *this_cpu(void);

/*
 * Memory. port_alloc() returns zeroed memory aligned to `align` (a power of two), or NULL. Taken
 * while machine, VMs and vCPUs are created, never on an interrupt, entry or exit path. Memory that
 * the processor addresses physically (VMCBs, page tables, guest RAM) comes from here too, is
 * physically contiguous, and is translated by the two functions below. port_free() returns what
 * port_alloc() gave, `size` as given then. Both take the port's own lock: no other lock is taken
 * inside it.
 */
void *port_alloc(u64 size, u64 align);
void port_free(void *p, u64 size);
/* Bytes that port_alloc() can still give in one piece (2 MiB aligned). */
u64 port_memory_available(void);
void *hpa_to_ptr(hpa_t hpa);
hpa_t ptr_to_hpa(const void *p);

/* The time stamp counter, and its rate in kHz (same on all processors; constant after boot). */
u64 port_tsc(void);
u64 port_tsc_khz(void);
/* Seconds since 1970-01-01 UTC, for the guest's clock chip. */
u64 port_wallclock(void);

/*
 * Physical interrupts. Vectors are those of core/cpu.h (CPU_VECTOR_*); the port's handlers call
 * cpu_handle_interrupt(vector) and acknowledge the physical APIC.
 * port_send_ipi: fixed, edge, to one processor (also oneself).
 * port_timer_arm: one-shot timer of this processor at TSC `deadline` (TSC_NEVER disarms); a
 *   deadline in the past fires at once. The interrupt is CPU_VECTOR_TIMER.
 * port_idle: called with interrupts blocked by port_irqs_block(); unblocks and halts in one step,
 *   so that an interrupt that is already pending ends it at once; returns with interrupts open.
 */
void port_send_ipi(u32 apic_id, u8 vector);
/*
 * Make the processors be the one of this name in CPU_MODELS, as far as they lack something of it, with
 * the help of a model. Once, by the boot processor, when all processors are known and before the back
 * end asks what there is. false: out of memory.
 */
bool port_show_processor(const char *name);
/*
 * What this processor did by itself for guests, by enum hw_count, since it was started. NULL: it does
 * not tell. Own processor.
 */
const u64 *port_hw_counts(void);
/* If it does: that is all. false: a part of it is another's, who does not tell; what is sent is known. */
bool port_hw_counts_all(void);
void port_timer_arm(u64 deadline);
void port_irqs_block(void);
void port_irqs_unblock(void);
void port_idle(void);

/*
 * Guest console of VM `vm`: bytes out (may wait for the device), one byte in (-1: none; what is
 * typed goes to VM 0).
 */
void port_console_write(u32 vm, const u8 *data, u32 len);
int port_console_read(u32 vm);

/* Binary records for the host command (postern/report.h), whole record per call; bytes back. */
void port_report_write(const void *data, u32 len);
int port_report_read(void);

/* One line of log, printf-like (d i u x X p s c l ll z 0 width - and %% ). */
void port_log(const char *fmt, ...) __printf(1, 2);
/* A bug of Postern's own: prints registers and stack, ends the run with a failure code. */
void port_panic(const char *fmt, ...) __noreturn __printf(1, 2);

/*
 * Where the loader may find files handed over at boot (kernel, initrd, configuration). NULL when
 * there is no file of that name. The memory stays valid for the life of the machine.
 */
const void *port_file(const char *name, u64 *size);

/* A broken invariant of Postern's own (never something that a guest can cause). */
#define ASSERT(cond)                                                                               \
	do {                                                                                       \
		if (!(cond))                                                                       \
			port_panic("%s:%d: assertion failed: %s", __FILE__, __LINE__, #cond);      \
	} while (0)

#endif
