/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The record channel between the image and the host command: a second serial line or QEMU's debug
 * console. Little-endian, packed; every record is a header and `len` bytes of payload. A reader
 * that loses step looks for the next REPORT_MAGIC.
 *
 * Image to host command: HELLO once, then LOG, STATUS (about four times a second), ACCOUNT (all of
 * a VM's vCPUs, with APICV and INHIBITS behind them, about once a second and at the end), END last; DEBUG when a debugger asks. Host command to
 * image: single bytes (REPORT_CMD_*), or one of them with a request behind it.
 */
#ifndef POSTERN_REPORT_H
#define POSTERN_REPORT_H

#include "postern/account.h"
#include "postern/inhibits.h"

#define REPORT_MAGIC   0x5250 /* "PR" */
#define REPORT_VERSION 4
#define REPORT_MAX_LEN 2048 /* payload */

enum report_type {
	REPORT_HELLO = 1,     /* struct report_hello */
	REPORT_LOG = 2,       /* text, no newline, no NUL */
	REPORT_STATUS = 3,    /* struct report_status */
	REPORT_ACCOUNT = 4,   /* struct report_account + items */
	REPORT_END = 5,       /* struct report_end */
	REPORT_PANIC = 6,     /* text: one line of a panic message */
	REPORT_CONSOLE = 7,   /* bytes of the console of a VM that is not VM 0 */
	REPORT_ANSWER = 8,    /* struct report_answer, then text: what was wrong; none: nothing */
	REPORT_DEBUG = 9,     /* struct report_debug + data: postern/debug.h */
	REPORT_APICV = 10,    /* struct report_apicv */
	REPORT_INHIBITS = 11, /* struct report_inhibits + items */
};

struct report_header {
	u16 magic;
	u8 type; /* enum report_type */
	u8 vm;   /* VM index; 0 where none is meant */
	u16 len; /* of the payload */
} __packed;

struct report_hello {
	u8 version; /* REPORT_VERSION */
	u8 pcpus;
	u8 vms;
	u8 vcpus; /* of VM 0 */
	u64 tsc_khz;
	u32 exit_kinds; /* EXIT_KIND_COUNT, checked against the host command's own */
	u32 counters;   /* COUNTER_COUNT, likewise */
	char cpu[32];   /* name of the processor model, NUL-terminated */
	char backend[16];
} __packed;

/* Totals over all vCPUs of a VM. */
struct report_status {
	u64 elapsed_ns; /* since the first VM entry */
	u64 exits;
	u64 injected;
	u8 phase;        /* enum report_phase */
	u8 vcpus_online; /* vCPUs that have entered the guest at least once */
} __packed;

enum report_phase {
	REPORT_PHASE_BOOT = 0, /* no VM entry yet */
	REPORT_PHASE_RUNNING = 1,
	REPORT_PHASE_ENDING = 2,
};

/*
 * One vCPU's account: `count` items follow, those that are not zero. Index space: exits first
 * (0 .. EXIT_KIND_COUNT-1), then counters (EXIT_KIND_COUNT + counter), then model overhead
 * (EXIT_KIND_COUNT + COUNTER_COUNT).
 */
struct report_account {
	u16 vcpu;
	u16 count;
	u64 elapsed_ns;
} __packed;

struct report_item {
	u16 index;
	u64 value;
} __packed;

enum report_hw {
	REPORT_HW_NOTHING,
	REPORT_HW_ALL,
	REPORT_HW_SENDS, /* requests, IPIs and notifications; the rest is a processor's that does not tell */
	REPORT_HW_COUNT
};

/* A VM's acceleration, in total. What its vCPUs count themselves is in their accounts. */
struct report_apicv {
	u8 able;       /* its processors have acceleration that it may use */
	u8 hw_counted; /* and tell of what they do by themselves, HW_COUNTERS: enum report_hw */
	u64 active_ns; /* that no reason of scope VM stood */
	u64 lock_shared, lock_exclusive;
	u64 rounds, kicked; /* updates of all vCPUs; vCPUs that had to leave the guest for them */
	u64 zaps, tlb_flushes, fault_retries; /* of the VM's nested page tables */
} __packed;

/*
 * Why acceleration was off: `count` items follow, a reason each, those that have ever been set. One record
 * for the VM with reasons of scope VM, and one for each vCPU with those of scope vCPU.
 */
struct report_inhibits {
	u16 vcpu;   /* or REPORT_OF_VM */
	u8 reasons; /* INHIBIT_COUNT, checked against the host command's own */
	u8 count;
} __packed;

#define REPORT_OF_VM 0xffffu

struct report_inhibit {
	u8 reason; /* enum inhibit_reason */
	u8 stands; /* now */
	u32 vcpu;  /* who set it last: that vCPU, at `rip`, or INHIBIT_BY_HOST */
	u64 rip;
	u64 sets, clears;
	u64 held_ns;
} __packed;

struct report_end {
	u8 ended; /* enum ending */
	s32 code; /* exit status the guest gave, 0 if none; ENDED_REFUSED: enum report_refusal */
	u64 elapsed_ns;
} __packed;

/*
 * The frame behind REPORT_CMD_ASK: this, `length` bytes of text, and a byte that makes the sum of all,
 * itself and REPORT_CMD_ASK included, 0 (mod 256). One that does not add up is dropped without an answer.
 *
 * Text: KEY=VALUE, as in the configuration, of a setting that may change while the guest runs; or nothing:
 * send all accounts now, before the answer.
 */
struct report_ask {
	u16 sequence; /* comes back with the answer */
	u8 vm;
	u8 length;
} __packed;
#define REPORT_ASK_TEXT 80u /* the largest `length` */

struct report_answer {
	u16 sequence;
} __packed;

/* Why the image starts no guest. The line of log before the END record names what and why. */
enum report_refusal {
	REPORT_REFUSED_CONFIG = 1, /* the configuration, or the machine, is not one to run with */
	REPORT_REFUSED_PROCESSOR,  /* it lacks something that the hypervisor needs */
	REPORT_REFUSED_FILE,       /* a guest's kernel is damaged, cut off or of no known kind */
	REPORT_REFUSED_ROOM,       /* a guest's file does not fit into the guest's memory */
};

/* The value that the image writes to QEMU's isa-debug-exit last; QEMU's status is 2 * value + 1. */
#define REPORT_EXIT_OK      0x10
#define REPORT_EXIT_PANIC   0x11
#define REPORT_EXIT_REFUSED 0x12

/*
 * Host command to image. The first two end every VM in order, with final ACCOUNTs and END records; the
 * last two begin requests of more than one byte, and are sent after HELLO only.
 */
#define REPORT_CMD_TIMEOUT   'T' /* the run's time is up */
#define REPORT_CMD_INTERRUPT 'I' /* the user wants it to end */
#define REPORT_CMD_ACCOUNT   'A' /* send ACCOUNT records now */
#define REPORT_CMD_ASK       'Q' /* a frame follows: struct report_ask */
#define REPORT_CMD_DEBUG     'D' /* a struct debug_request follows: postern/debug.h */

#endif
