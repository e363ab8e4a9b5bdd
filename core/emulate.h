/* SPDX-License-Identifier: BSD-2-Clause */
/* Emulation of guest instructions that exit: device memory, string I/O, skipping by length. */
#ifndef CORE_EMULATE_H
#define CORE_EMULATE_H

#include "postern/types.h"

struct vcpu;

/*
 * Execute the instruction at RIP, which faulted on guest-physical `gpa` (vcpu->exit.memory). Its
 * device-memory operand goes to the local APIC page or vm->memory; nobody there: reads ones, writes
 * dropped, counted. Advances RIP, or queues the exception the guest gets (#UD if not decodable, #PF
 * if its own tables fault by now). REP forms do a bounded number of iterations per call. Own
 * processor.
 */
void emulate_memory(struct vcpu *vcpu);

/*
 * The same with accesses of the local APIC's page going to `page` instead of the software APIC, and
 * counted by nobody: for a processor that is modelled (cpu_model/assist.h).
 */
struct emulate_page {
	u64 (*read)(void *context, u32 offset, u32 size);
	void (*write)(void *context, u32 offset, u32 size, u64 value);
	void *context;
};
void emulate_page_access(struct vcpu *vcpu, const struct emulate_page *page);

/* INS / OUTS exit (vcpu->exit.io.string). Same rules. */
void emulate_string_io(struct vcpu *vcpu);

/*
 * Advance RIP over the instruction that exited, clearing the interrupt shadow's effect and
 * RFLAGS.RF: by exit.next_rip if known, else by decoding. `opcode_length` is the length without
 * prefixes (CPUID 2, HLT 1, VMMCALL 3). false: the bytes at RIP could not be fetched or decoded; an
 * exception is queued.
 */
bool emulate_skip(struct vcpu *vcpu, u32 opcode_length);

/* MOV to the control register vcpu->exit.cr.reg that exited: perform it (cr_write), advance RIP. */
void emulate_mov_to_cr(struct vcpu *vcpu);

/* Code size of the vCPU's current mode: 2, 4, 8. */
u32 emulate_code_mode(struct vcpu *vcpu);

#endif
