/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The debug channel: what the host command, which speaks with a debugger, asks of the image, and what
 * the image answers. Requests go over the command channel as REPORT_CMD_DEBUG and a struct
 * debug_request, answers and events come as REPORT_DEBUG records with a struct report_debug
 * (postern/report.h); all little-endian and packed.
 *
 * There is one request under way at a time, about VM 0. Each is answered by a record of the same
 * operation and sequence number, but for DEBUG_STOP and DEBUG_RESUME: what follows them is
 * DEBUG_STOPPED, once all vCPUs stand still. A RESUME is answered if it is refused. With every vCPU
 * stopped, and only then, all else is allowed; DEBUG_DETACH always is.
 */
#ifndef POSTERN_DEBUG_H
#define POSTERN_DEBUG_H

#include "postern/types.h"

#define DEBUG_MAX_VCPUS   64
#define DEBUG_MAX_DATA    1024 /* payload of either side */
#define DEBUG_BREAKPOINTS 128
#define DEBUG_FX_SIZE     512

enum debug_op {
	DEBUG_STOP = 1,  /* stop all vCPUs */
	DEBUG_RESUME,    /* data: DEBUG_MAX_VCPUS bytes, each vCPU's enum debug_action */
	DEBUG_READ_REGS, /* answer's data: struct debug_regs of `vcpu` */
	DEBUG_WRITE_REGS, /* data: likewise; of it GPRs, RIP, the usual flags, x87 and SSE are taken */
	DEBUG_READ,       /* `count` bytes at linear `address` of `vcpu`; fewer if they end */
	DEBUG_WRITE,      /* data: likewise */
	DEBUG_PLANT,      /* a breakpoint at linear `address` of `vcpu` */
	DEBUG_UNPLANT,    /* it is no longer wanted */
	DEBUG_DETACH,     /* forget all breakpoints and let all vCPUs run */
	DEBUG_STOPPED,    /* event: all stand still; `vcpu` and `reason` say why */
	DEBUG_ENDED,      /* event: the VM is over; `reason`: enum ending, `detail`: its status */
	DEBUG_OP_COUNT
};

/* What a vCPU does when others are resumed. */
enum debug_action {
	DEBUG_STAY,
	DEBUG_CONTINUE,
	DEBUG_STEP, /* one instruction */
};
/* With DEBUG_STEP: interrupts and NMIs wait; so does what its own timer has to say. */
#define DEBUG_STEP_NOIRQ   BIT(2)
#define DEBUG_STEP_NOTIMER BIT(3)
#define DEBUG_ACTION_MASK  (BIT(0) | BIT(1))

enum debug_reason {
	DEBUG_REASON_STOP = 1,   /* as asked */
	DEBUG_REASON_BREAKPOINT, /* RIP is at it */
	DEBUG_REASON_STEP,
};

enum debug_result {
	DEBUG_OK,
	DEBUG_BAD,     /* no such operation, vCPU or length */
	DEBUG_RUNNING, /* the VM is not stopped */
	DEBUG_FAULT,   /* nothing is mapped there, or no memory */
	DEBUG_FULL,    /* no room for another breakpoint */
};

struct debug_request {
	u8 op;   /* enum debug_op */
	u8 vcpu; /* by its number in the VM */
	u16 sequence;
	u16 length; /* of the data behind this */
	u16 count;
	u64 address;
} __packed;

struct report_debug {
	u8 op;
	u8 result; /* enum debug_result */
	u8 vcpu;
	u8 reason;
	u16 sequence;
	u16 spare;
	s32 detail;
} __packed;

/* In the order of their hardware encoding: ES, CS, SS, DS, FS, GS. */
#define DEBUG_SEGMENTS 6

struct debug_regs {
	u64 gpr[16]; /* by enum x86_gpr */
	u64 rip, rflags;
	u64 base[DEBUG_SEGMENTS];
	u64 cr0, cr2, cr3, cr4, cr8, efer;
	u16 selector[DEBUG_SEGMENTS];
	u8 cpl, code_size; /* bytes: 2, 4 or 8 */
	u8 activity;       /* 0 runs, 1 halted, 2 waits for start-up */
	u8 spare;
	u8 fx[DEBUG_FX_SIZE]; /* what FXSAVE stores */
} __packed;
_Static_assert(sizeof(struct debug_regs) <= DEBUG_MAX_DATA, "one record holds all registers");

#endif
