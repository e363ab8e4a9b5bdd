/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The back-end seam: what core/, irq/ and mmu/ ask of a vendor's virtualization. One list; svm/ and
 * vmx/ each fill a table from it, machine_init() picks one at boot. All operations are mandatory but those of
 * which it says otherwise.
 *
 * X(return type, name, (parameters))
 *
 * Unless said otherwise a vCPU operation runs on the processor where the vCPU is loaded, interrupts
 * open, no locks held.
 *
 * probe             this processor can run it; else *why names the missing requirement
 * cpu_init          enable it on the calling processor
 * cpu_exit          disable it again
 * vm_init           allocate per-VM structures (permission maps); false: out of memory
 * vm_exit           free them
 * vcpu_init         allocate per-vCPU structures; false: out of memory
 * vcpu_exit         free them
 * vcpu_load         make `vcpu` the one this processor runs (another ran here, or it ran elsewhere)
 * vcpu_put          it no longer is
 * reset             control structures and state of power-on or INIT
 * get_state         architectural state outside vcpu_regs; valid between exits
 * set_state
 * host_irqs_block   from here to host_irqs_unblock no physical interrupt is taken: one that is
 *                   pending makes the guest exit at once instead
 * host_irqs_unblock
 * run               enter the guest, return at the next exit with vcpu->regs and vcpu->exit filled
 *                   in and the event that the exit interrupted in vcpu->intr.again. Interrupts
 *                   blocked by host_irqs_block. force_immediate_exit (requirement S4.1): inject what
 *                   is to be injected, but leave before the first guest instruction; a parameter and
 *                   never a field, so that nothing can forget to clear it.
 *
 * What irq/intr.c asks (interrupts open or blocked, own processor):
 * intr_blocked      why an event of this class cannot be injected now (INTR_BLOCK_NONE: it can). Pure.
 * intr_inject       put the event into the entry's injection slot. The slot must be free.
 * intr_retract      take an external interrupt out of the slot again if the processor has not
 *                   delivered it (nothing was entered since, or it exited first). false: it was
 *                   delivered.
 * intr_window       exit as soon as an event of this class can be injected (open), or no longer
 * intr_force        a pending event that finds the slot taken needs a forced immediate exit (true), or
 *                   there is a window for this class that works behind an injected event (false). Pure.
 * intr_tpr_exit     exit when the guest writes its task priority (CR8), because a pending interrupt
 *                   waits for it to drop; off: guest CR8 accesses run without exit
 *
 * nested_enter      the second control block, made from L1's `block`, is the one in use: core/nested.h. In the
 *                   first one nothing is in the slot, no window is open, and the vCPU is unaccelerated.
 *                   false: out of memory. NULL, as nested_leave: this back end runs no guests of guests
 * nested_leave      the first one is again; L2's state and the reason are in `block`
 *
 * debug             for a debugger; true only in answer to BACKEND_STEP_END
 * pause_exits       whether PAUSE (or a loop of them) exits: on while others wait for the processor
 * floor             TSC ticks of `rounds` world switches that do nothing, for comparison; 0: no
 *                   memory. After cpu_init on this processor, before any vCPU runs on it
 * emulating         the instruction of an EXIT_MEMORY is not run again but completed by emulation: it ends
 *                   its part in the interrupt shadow, and a step over it
 * flush             the next entry must not use cached guest translations of this vCPU
 * msr_intercept     whether the guest's RDMSR / WRMSR of `msr` exit, for the whole VM. Before it runs,
 *                   or with all vCPUs outside.
 * insn_bytes        the bytes of the instruction that exited, if the processor delivered them; count
 * features          text for the boot log: what it found
 * entry_timer       whether run() leaves the guest at lapic_timer_entry_deadline() by a timer of the processor's,
 *                   and completes that exit (requirement S4.3). Once after probe, and again to say that this
 *                   timer is not to be used for anything (`use` false). NULL: there is none
 */
#ifndef POSTERN_BACKEND_H
#define POSTERN_BACKEND_H

#include "core/nested.h"
#include "core/vcpu.h"

struct cpu;
struct vm;

/*
 * What a debugger wants of a vCPU. A step: entered with an empty injection slot, the vCPU leaves behind
 * one instruction at the latest. RFLAGS.TF and what the processor needs besides are set until END, and
 * the guest's own TF is as it should be from then on; END tells whether an instruction was executed
 * since, in the guest, to its end. In a step every exception exits before it is delivered.
 */
enum backend_debug {
	BACKEND_TRAPS_OFF,
	BACKEND_TRAPS_ON,     /* INT3 exits, before it is executed, and perhaps INT n does, too */
	BACKEND_STEP,         /* with BACKEND_TRAPS_ON until END */
	BACKEND_STEP_FLAGS,   /* the same for one that loads RFLAGS: POPF, IRET */
	BACKEND_STEP_SYSCALL, /* the same for SYSCALL, whose flag mask must not take TF away */
	BACKEND_STEP_SYSRET,  /* the same for SYSRET, whose trap comes by the TF that R11 has */
	BACKEND_STEP_END,
};

#define BACKEND_OPS(X)                                                                             \
	X(bool, probe, (const char **why))                                                         \
	X(bool, cpu_init, (struct cpu * cpu))                                                      \
	X(void, cpu_exit, (struct cpu * cpu))                                                      \
	X(bool, vm_init, (struct vm * vm))                                                         \
	X(void, vm_exit, (struct vm * vm))                                                         \
	X(bool, vcpu_init, (struct vcpu * vcpu))                                                   \
	X(void, vcpu_exit, (struct vcpu * vcpu))                                                   \
	X(void, vcpu_load, (struct vcpu * vcpu, struct cpu * cpu))                                 \
	X(void, vcpu_put, (struct vcpu * vcpu))                                                    \
	X(void, reset, (struct vcpu * vcpu, bool init))                                            \
	X(void, get_state, (struct vcpu * vcpu, struct vcpu_state * state))                        \
	X(void, set_state, (struct vcpu * vcpu, const struct vcpu_state *state))                   \
	X(void, host_irqs_block, (void))                                                           \
	X(void, host_irqs_unblock, (void))                                                         \
	X(void, run, (struct vcpu * vcpu, bool force_immediate_exit))                              \
	X(enum intr_block, intr_blocked, (struct vcpu * vcpu, enum intr_class class))              \
	X(void, intr_inject, (struct vcpu * vcpu, const struct intr_event *event))                 \
	X(bool, intr_retract, (struct vcpu * vcpu))                                                \
	X(void, intr_window, (struct vcpu * vcpu, enum intr_class class, bool open))               \
	X(bool, intr_force, (struct vcpu * vcpu, enum intr_class class))                           \
	X(void, intr_tpr_exit, (struct vcpu * vcpu, bool on))                                      \
	X(bool, nested_enter, (struct vcpu * vcpu, void *block))                                   \
	X(void, nested_leave, (struct vcpu * vcpu, enum nested_why why))                           \
	X(bool, debug, (struct vcpu * vcpu, enum backend_debug what))                              \
	X(void, pause_exits, (struct vcpu * vcpu, bool on))                                        \
	X(u64, floor, (struct cpu * cpu, u64 rounds))                                              \
	X(void, emulating, (struct vcpu * vcpu))                                                   \
	X(void, flush, (struct vcpu * vcpu))                                                       \
	X(void, msr_intercept, (struct vm * vm, u32 msr, bool read, bool write))                   \
	X(u32, insn_bytes, (struct vcpu * vcpu, const u8 **bytes))                                 \
	X(void, features, (char *text, u32 size))                                                  \
	X(bool, entry_timer, (bool use))

/* A vendor: EBX of its CPUID 0. */
#define BACKEND_AMD   0x68747541u /* "Auth" */
#define BACKEND_INTEL 0x756e6547u /* "Genu" */

struct accel_ops;    /* irq/accel.h */
struct assigned_ops; /* irq/assigned.h */
struct mmu_format;   /* mmu/mmu.h */

struct backend {
	const char *name;                    /* "svm", "vmx" */
	const char *vendor;                  /* of its processors, as in CPU_MODELS */
	u32 signature;                       /* of theirs, BACKEND_AMD or BACKEND_INTEL */
	u8 hypercall[3];                     /* the instruction that exits as EXIT_VMCALL */
	const struct mmu_format *mmu_format; /* entries of its nested page tables */
	const struct accel_ops *accel;       /* hardware delivery of interrupts; NULL: none */
	const struct assigned_ops *assigned; /* what assigned devices need; NULL: there are none */
	u32 inhibits;                        /* INHIBIT_BIT()s of the reasons that concern it */
#define X(ret, op, params) ret(*op) params;
	BACKEND_OPS(X)
#undef X
};

extern const struct backend svm_backend;
extern const struct backend vmx_backend;

/* The chosen back end's operation: backend_op(run)(vcpu, false). */
extern struct backend backend_table;
#define backend_op(op) backend_table.op

#endif
