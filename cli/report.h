/* SPDX-License-Identifier: BSD-2-Clause */
/* What the records of a run add up to: the state that the status line and the account show. */
#ifndef CLI_REPORT_H
#define CLI_REPORT_H

#include "postern/debug.h"
#include "postern/report.h"
#include "postern/settings.h"

#define REPORT_MAX_VCPUS 64

/* A LOG or PANIC line has come: text is NUL-terminated and free of control characters. */
typedef void (*report_text_fn)(void *context, enum report_type type, const char *text);
/* A VM other than VM 0 has printed something: bytes as the guest sent them. */
typedef void (*report_console_fn)(void *context, u32 vm, const u8 *data, size_t len);

/* An answer or an event of the debug channel, with `len` bytes of data. */
typedef void (*report_debug_fn)(void *context, const struct report_debug *head, const u8 *data,
                                size_t len);

struct report_vm {
	struct report_status status;
	struct account vcpu[REPORT_MAX_VCPUS]; /* the last ACCOUNT of each */
	u32 vcpus_seen;                        /* highest vCPU number with an ACCOUNT, plus one */
	struct report_apicv apicv;             /* the last APICV, all 0 without one */
	/* By reason, the last INHIBITS: those of the VM, and each vCPU's own. sets == 0: it was never set. */
	struct report_inhibit inhibit[INHIBIT_COUNT];
	struct report_inhibit vcpu_inhibit[REPORT_MAX_VCPUS][INHIBIT_COUNT];
	u64 elapsed_ns; /* the latest that any record told */
	bool ended;
	enum ending ending;
	s32 code;
};

struct report {
	bool has_hello;
	bool foreign; /* the image was built from other lists of exits and counters */
	struct report_hello hello;
	struct report_vm vm[MAX_VMS];
	bool panicked;
	bool answered; /* an ANSWER has come; the last one: */
	u16 answer_sequence;
	char answer[REPORT_ASK_TEXT +
	            1]; /* what was wrong, "" if nothing was; text as of on_text */
	bool ended;     /* an END has come; those of all VMs come together, last of all */
	report_text_fn on_text;
	report_console_fn on_console; /* NULL: nobody listens */
	report_debug_fn on_debug;     /* likewise */
	void *context;
};

void report_init(struct report *report, report_text_fn on_text, void *context);

/* A channel_take_fn; context is the struct report. */
bool report_take(void *context, const struct report_header *h, const u8 *payload);

/* Names as in reports; index below EXIT_KIND_COUNT, COUNTER_COUNT, ENDING_COUNT. */
const char *report_exit_name(u32 kind);
const char *report_counter_name(u32 counter);
const char *report_ending_name(u32 ending);

/* Of a reason below INHIBIT_COUNT: its name, whether it is a vCPU's own, who sets it. */
const char *report_inhibit_name(u32 reason);
bool report_inhibit_is_vcpus(u32 reason);
const char *report_inhibit_set_by(u32 reason);
/*
 * What a reason comes to: the VM's own, or, if it is the vCPUs', the sums over the first `vcpus` of them,
 * and who set that of the one that held it longest.
 */
struct report_inhibit report_inhibit_total(const struct report_vm *vm, u32 vcpus, u32 reason);

/* The group that a counter belongs to by its name: "inj-", "ipi-"; received IPIs are in none. */
bool report_counter_is_route(u32 counter);
bool report_counter_is_ipi(u32 counter);

/* Sums over one account. */
u64 report_exits(const struct account *account);
u64 report_injected(const struct account *account); /* interrupts: no exceptions, no repetitions */
u64 report_ipis_sent(const struct account *account);

void report_total(const struct report_vm *vm, u32 vcpus, struct account *total);

#endif
