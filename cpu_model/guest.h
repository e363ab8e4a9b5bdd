/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Scripted guests. A script is a C function on a coroutine of its own; what it issues are
 * architectural operations. Each lays its real encoding at the guest's RIP first, so that whoever
 * decodes guest memory finds the instruction there, and takes its operands from the guest's
 * registers. Between two of them everything can happen that can happen to a processor: exits,
 * injected events, a move to another processor.
 *
 * Scripts are bound to guest-physical addresses: one starts whenever a virtual processor is entered
 * with CS.base + RIP there (vCPU 0's first RIP; start-up IPI vector << 12), and one that INIT cut
 * off never continues.
 *
 * Interrupt and exception handlers are C functions on the same coroutine, called between two
 * operations; returning from one executes IRET. The interrupt frame is kept by the script engine,
 * not in guest memory; so are the general registers that a handler would push.
 */
#ifndef CPU_MODEL_GUEST_H
#define CPU_MODEL_GUEST_H

#include "coro.h"
#include "postern/types.h"
#include "x86/regs.h"

/* Guest memory that the engine uses; scripts keep away from it. */
#define GUEST_TABLES    0x10000u  /* identity-mapping page tables, six pages */
#define GUEST_CODE      0x400000u /* where instructions are laid: 64 KiB for each processor */
#define GUEST_CODE_SIZE 0x10000u
#define GUEST_FRAMES    12

typedef void (*guest_script)(void *arg);
typedef void (*guest_handler)(u8 vector, u32 error);

/* Start `script` when a virtual processor begins at guest-physical `entry`. Before the run. */
void guest_bind(u64 entry, guest_script script, void *arg);
/* A handler for all virtual processors; NULL: gate not present. Before or during the run. */
void g_set_handler(u8 vector, guest_handler handler);

/* --- operations; only inside scripts and handlers --- */
void g_cpuid(u32 leaf, u32 subleaf, struct cpuid_regs *r);
u64 g_rdmsr(u32 msr);
void g_wrmsr(u32 msr, u64 value);
/* Vector of the exception that the access raised, 0: none. */
u8 g_rdmsr_safe(u32 msr, u64 *value);
u8 g_wrmsr_safe(u32 msr, u64 value);
u32 g_mmio_read(u64 gpa);
void g_mmio_write(u64 gpa, u32 value);
/* MOV of 1, 2, 4 or 8 bytes. */
u64 g_read(u64 gpa, u32 size);
void g_write(u64 gpa, u64 value, u32 size);
u32 g_in(u16 port, u32 size);
void g_out(u16 port, u32 value, u32 size);
void g_cli(void);
void g_sti(void); /* with its shadow: interrupts come after the next operation */
void g_hlt(void);
void g_pause(void);
void g_nop(void);
u64 g_rdtsc(void);
/* The processor's hypercall instruction: VMMCALL or VMCALL. */
void g_vmmcall(void);
/* The same with RAX and RBX, RCX, RDX, RSI; returns RAX. */
u64 g_hypercall(u64 number, u64 a0, u64 a1, u64 a2, u64 a3);
u8 g_vmmcall_safe(void);
u64 g_read_cr8(void);
void g_write_cr8(u64 value);
u64 g_read_cr0(void);
void g_write_cr0(u64 value);
void g_write_cr3(u64 value);
void g_write_cr4(u64 value);
u8 g_write_cr4_safe(u64 value);
void g_wbinvd(void);
u8 g_xsetbv_safe(u32 reg, u64 value);
u8 g_vmrun_safe(void);
u8 g_ud2_safe(void);
/* LIDT of an empty table and an INT3: triple fault. */
void g_triple_fault(void) __noreturn;
/* The first bytes of the register file that FXSAVE stores. */
u64 g_read_fpu(void);
void g_write_fpu(u64 value);
bool g_interrupts_enabled(void);
void g_int3(void);
/* NOP, and what PUSHF stores; POPF of this, with a store and a NOP before it. */
u64 g_pushf(void);
void g_popf(u64 value);
/*
 * NOP and SYSCALL, which must be enabled: the script goes on at LSTAR, which is in its own code. Returns R11.
 * A NOP and SYSRET with this in R11, to somewhere in its own code.
 */
u64 g_syscall(void);
void g_sysret(u64 flags);
/* Leave real mode: identity page tables at GUEST_TABLES, 64-bit code. */
void g_long_mode(void);

/* Which virtual processor this is: the number of its code area, in order of first start. */
u32 g_index(void);
/* Frames of interrupts and exceptions that are not finished. */
u32 g_depth(void);
/* RFLAGS that the handler that runs will return with. */
u64 g_saved_rflags(void);

/* A failed check ends the run and the test with it. */
#define G_CHECK(cond)                                                                              \
	do {                                                                                       \
		if (!(cond))                                                                       \
			g_fail(__FILE__, __LINE__, #cond);                                         \
	} while (0)
#define G_CHECK_EQUAL(a, b) g_check_equal(__FILE__, __LINE__, #a " == " #b, (u64)(a), (u64)(b))
void g_fail(const char *file, int line, const char *what) __noreturn;
void g_check_equal(const char *file, int line, const char *what, u64 a, u64 b);

/* --- between the engine and the processor model --- */

enum guest_op {
	OP_NOP,
	OP_CPUID,
	OP_RDMSR,
	OP_WRMSR,
	OP_LOAD,
	OP_STORE,
	OP_IN,
	OP_OUT,
	OP_CLI,
	OP_STI,
	OP_HLT,
	OP_PAUSE,
	OP_RDTSC,
	OP_VMMCALL,
	OP_READ_CR,
	OP_WRITE_CR,
	OP_WBINVD,
	OP_XSETBV,
	OP_VMRUN,
	OP_UD2,
	OP_IRET,
	OP_TRIPLE_FAULT,
	OP_FAR_JUMP, /* to 64-bit code in the own area; loads the segments as well */
	OP_READ_FPU,
	OP_WRITE_FPU,
	OP_INT3,
	OP_PUSHF,
	OP_POPF,
	OP_SYSCALL,
	OP_SYSRET,
};

struct guest_insn {
	u8 op; /* enum guest_op */
	u8 length;
	u8 bytes[15];
	u8 ahead; /* bytes behind those: the next one's, for who looks at it before it executes */
	u8 size;  /* of the memory or port operand */
	u8 reg;   /* control register */
	bool catch_faults;
	/* Result */
	bool done;
	u8 fault; /* vector that ended it, 0: none */
};

struct guest_frame {
	u8 vector;
	bool exception;
	u32 error;
	u64 rip, rflags;
	u64 gpr[GPR_COUNT];
	struct guest_insn *insn; /* that was about to execute */
};

struct model_cpu;

struct model_guest {
	u64 key; /* VMCB's host-physical address; 0: unused */
	u32 index;
	bool started;
	bool resume; /* the script has to run before the next instruction is known */
	guest_script script;
	void *arg;
	struct coro coro;
	struct coro *processor; /* who resumed it */
	struct model_cpu *cpu;  /* under whose VMRUN it runs */
	struct guest_insn *insn;
	u64 rip, cs_base; /* at the last exit */
	u64 code;         /* base of its code area */
	bool unlaid;      /* the bytes of `insn` are not in memory yet */
	u64 int3;         /* where the script's own INT3 stands, 0: nowhere */
	struct guest_frame frame[GUEST_FRAMES];
	u32 depth;
};

/* Everything that the engine knows; in the arena, so that it is reset and copied with the rest. */
#define GUEST_COUNT    80
#define GUEST_BINDINGS 16
struct guest_engine {
	struct model_guest guest[GUEST_COUNT];
	u32 count;
	struct {
		u64 entry;
		guest_script script;
		void *arg;
	} binding[GUEST_BINDINGS];
	u32 bindings;
	guest_handler handler[256];
};
/* Kept by the port with the rest of the machine. */
struct guest_engine *guest_engine(void);

/* The guest that runs from this VMCB. */
struct model_guest *guest_find(u64 key);
/* VMRUN has loaded the registers: does the guest continue, or start anew? */
void guest_enter(struct model_guest *g);
void guest_leave(struct model_guest *g);
/* Let the script run until it has an instruction to execute; it is then laid at RIP. */
void guest_next(struct model_guest *g);
/*
 * The instruction's first byte in memory, at `p`, has been replaced by INT3; otherwise it is there, even
 * if somebody has put back what was there before an INT3.
 */
bool guest_is_planted(struct model_guest *g, u8 *p);
bool guest_gate_present(struct model_guest *g, u8 vector);
/* Push a frame; the handler runs at the next guest_next(). */
void guest_push_frame(struct model_guest *g, u8 vector, bool exception, u32 error);
void guest_pop_frame(struct model_guest *g);
/* For the operations (guest_ops.c): on a script's coroutine. */
struct model_guest *guest_self(void);
void guest_execute(struct model_guest *g, struct guest_insn *insn);

#endif
