/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A VM exit in neutral words. The back end decodes its vendor's codes into this; core/exit.c acts.
 */
#ifndef CORE_EXIT_H
#define CORE_EXIT_H

#include "postern/account.h"
#include "postern/types.h"

struct vcpu;

struct exit_io {
	u16 port;
	u8 size; /* 1, 2, 4 */
	bool in;
	bool string;
	bool rep;
	u8 address_size; /* 2, 4, 8: string forms only */
	u8 segment;      /* enum x86_seg; OUTS only, 0xff: the back end cannot tell (decode) */
};

struct exit_memory {
	gpa_t gpa;
	bool write;
	bool fetch;
	bool present; /* the nested mapping exists, the access is not permitted */
	bool walk;    /* while the processor walked the guest's own page tables */
};

struct exit_exception {
	u8 vector;
	bool has_error;
	u32 error;
};

struct exit_cr {
	u8 reg;
	bool write;
	u64 kept; /* bits that a write of this guest leaves as they are */
};

/* An accelerated APIC's write, access or IPI. */
struct exit_apic {
	u32 offset; /* the register */
	u32 icr, dest;
	bool posted; /* see lapic_ipi_incomplete() */
	u8 vector;   /* of an EOI */
};

struct exit_info {
	enum exit_kind kind;
	/*
	 * Address of the next instruction for exits that an instruction caused, when the back end
	 * knows it without decoding; 0: unknown, use insn_skip() with the opcode.
	 */
	u64 next_rip;
	bool cache_disabled; /* the guest has CR0.CD set */
	bool delivering;     /* it interrupted the delivery of an event, now in vcpu->intr.again */
	union {
		struct exit_io io;
		struct exit_memory memory;
		struct exit_exception exception;
		struct exit_cr cr;
		struct exit_apic apic;
	};
	u64 raw[3]; /* the vendor's code and informations, for logs only */
};

/* What the run loop does after an exit has been handled. HLT and endings show in the vCPU's state.
 */
enum exit_action {
	EXIT_ACTION_RESUME, /* go on with this vCPU */
	EXIT_ACTION_YIELD,  /* it spins: let another one run, if one waits */
};

/*
 * Handle vcpu->exit. Called by the vCPU's own processor, interrupts open, no locks held. Accounts
 * the exit.
 */
enum exit_action exit_handle(struct vcpu *vcpu);

/* Name of an exit kind as in reports. */
const char *exit_kind_name(enum exit_kind kind);

#endif
