/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A second witness of interrupt acceleration: what a scripted guest sees, entry by entry, so that a run
 * on a processor with AVIC or APICv can be compared with the same script on the software's local APIC.
 *
 * There is a trace for each vCPU: what it read, what it wrote and with which exception, which handlers
 * were entered. Only what the architecture determines may go in: no counts of a running timer, no order
 * between vCPUs, nothing that another vCPU changes at a time of its own. A script that wants to note
 * such a thing waits first until it is determined.
 *
 * The functions w_*() are for scripts; those named raw leave no entry. Each vCPU has its own mode, so
 * that a script can change it, and its own random numbers, which must not depend on anything else.
 */
#ifndef TESTS_MODEL_WITNESS_H
#define TESTS_MODEL_WITNESS_H

#include "tests/model/harness.h"

#define WITNESS_VCPUS   18 /* most: two clusters in x2APIC mode */
#define WITNESS_ENTRIES 16384

enum witness_mode {
	WITNESS_FLAT,    /* xAPIC, flat logical destinations */
	WITNESS_CLUSTER, /* xAPIC, cluster model */
	WITNESS_X2APIC,
	WITNESS_SWITCH, /* from xAPIC, flat, to x2APIC halfway */
	WITNESS_MODES
};

enum witness_kind {
	WITNESS_STEP,      /* the script's own, for the reader: `value` counts, `name` says what */
	WITNESS_INTERRUPT, /* `what`: vector */
	WITNESS_READ, /* `what`: register's offset in the page; MSR number from 800h on: see w_read() */
	WITNESS_WRITE,
	WITNESS_READ_MSR,
	WITNESS_WRITE_MSR,
	WITNESS_READ_CR8,
	WITNESS_WRITE_CR8,
	WITNESS_VALUE, /* `name` */
};

struct witness_entry {
	u8 kind;
	u8 fault; /* vector of the exception, 0: none */
	u32 what;
	u64 value;
	const char *name;
};

struct witness_trace {
	u32 count;
	struct witness_entry entry[WITNESS_ENTRIES];
};

struct witness {
	struct witness_trace vcpu[WITNESS_VCPUS];
};

/* What a script is to do. */
struct witness_plan {
	enum witness_mode mode;
	u64 seed;
	u32 steps;
	/*
	 * For a processor whose own requests leave TMR as it was (witness_known.c), which shows at the end of the
	 * interrupt, too: none is made of a vector whose bit is set there.
	 */
	bool spares_tmr;
	/* At this step the script breaks the APIC behind the hypervisor's back; 0: never. */
	u32 plant;
};
extern struct witness_plan witness_plan;

/* The run's traces begin: empty, all vCPUs in xAPIC mode. */
void witness_start(struct witness *into, const struct witness_plan *plan);
/*
 * true: the same. Else `why` says in words where the first difference is, and what stands at that place
 * in either.
 */
bool witness_equal(const struct witness *expected, const struct witness *seen, char *why,
                   size_t size);

/* --- for scripts --- */

void w_step(const char *name, u64 number);
void w_interrupt(u8 vector);
void w_value(const char *name, u64 value);
/* The APIC's registers, in this vCPU's mode: ICR in x2APIC mode is one register of 64 bits. */
u64 w_read(u32 reg);
void w_write(u32 reg, u64 value);
void w_icr(u32 dest, u32 low);
u64 w_raw_read(u32 reg);
void w_raw_write(u32 reg, u64 value);
void w_raw_icr(u32 dest, u32 low);
/* ID, as destinations have it. */
u32 w_raw_id(void);
/* Bit of a vector in ISR, TMR or IRR. */
bool w_raw_bit(u32 reg, u8 vector);
u64 w_rdmsr(u32 msr);
void w_wrmsr(u32 msr, u64 value);
u64 w_read_cr8(void);
void w_write_cr8(u64 value);
/* All registers, those that are not there too where every processor gives the same for them. */
void w_dump(void);
/* Offset without a register, but within the page that xAPIC mode shows: see docs/model.md. */
bool w_is_hole(u32 offset);
bool w_in_x2apic(void);
/* To x2APIC mode; an entry. */
void w_switch(void);
/* LDR and DFR as the plan's mode has them at first; entries. */
void w_logical(void);
/* As a vCPU begins: everything it finds, the plan's mode, the APIC on. */
void w_begin(void);
/* Interrupts on for a few instructions, then as before. */
void w_window(void);
/* 0 to n - 1 */
u32 w_random(u32 n);

/* What a script may do next, and how often against the others. */
struct w_choice {
	const char *name;
	void (*act)(void);
	u32 weight;
};
const struct w_choice *w_pick(const struct w_choice *choices, u32 count);

/*
 * --- where a guest does see a difference: tests/model/witness_known.c ---
 * docs/model.md, "What a guest sees". No other script goes there.
 */
enum witness_by { /* who keeps the local APIC */
	WITNESS_SOFTWARE,
	WITNESS_AVIC,
	WITNESS_APICV,
	WITNESS_BY
};

struct witness_known {
	const char *name;
	const char *
	        manual; /* section of AMD's chapter "Advanced Virtual Interrupt Controller", or of Intel's */
	bool x2apic;
	u64 (*probe)(void);  /* what the guest sees there */
	u64 see[WITNESS_BY]; /* and should */
};
extern const struct witness_known witness_known[];
extern const u32 witness_known_count;
/* The probes of the plan's mode, each an entry by its name. */
void witness_known_script(void *arg);
void witness_known_prepare(void);

/* --- the scripts: tests/model/witness_one.c, witness_many.c --- */

#define WITNESS_GSIS 2 /* lines of the test device */

/* All operations at random on one vCPU. */
void witness_one(void *arg);
/* IPIs between all: the first vCPU's, the others'. */
void witness_many(void *arg);
void witness_many_ap(void *arg);
/* Handlers for all vectors. */
void witness_one_prepare(void);
void witness_many_prepare(void);

#endif
