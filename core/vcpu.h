/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A virtual processor: neutral state, requests, and the handshake between those who want its
 * attention and the processor that runs it.
 *
 * Tags: (i) constant after creation; [o] only the processor on which the vCPU is loaded; [a]
 * atomic, any processor; [lock] that lock.
 *
 * The kick handshake (who sees what):
 *
 *      requester                          vCPU's processor
 *      ---------                          ----------------
 *      set IRR bit / request              mode = IN_GUEST
 *      full barrier                       full barrier
 *      read mode: IN_GUEST? -> IPI        read requests: any? -> do not enter
 *
 * One of the two sees the other's store. The IPI cannot come too early: interrupts are blocked from
 * before the second column until the guest runs, where a pending one causes an exit.
 */
#ifndef CORE_VCPU_H
#define CORE_VCPU_H

#include "core/debugger.h"
#include "core/exit.h"
#include "core/timer.h"
#include "irq/accel.h"
#include "irq/eoi_exit.h"
#include "irq/intr.h"
#include "irq/lapic.h"
#include "mmu/memory_type.h"
#include "postern/account.h"
#include "postern/sync.h"
#include "x86/regs.h"

struct cpu;
struct hv_vcpu;
struct vm;

#define MAX_VCPUS 64

/* What a vCPU has to do before it enters the guest again. All consumed in vcpu_handle_requests().
 */
enum vcpu_request {
	VCPU_REQUEST_EVENT = BIT(0),    /* look at interrupts again */
	VCPU_REQUEST_TIMER = BIT(1),    /* the local APIC timer's deadline has come */
	VCPU_REQUEST_SIGNAL = BIT(2),   /* INIT or SIPI is latched in the local APIC */
	VCPU_REQUEST_FLUSH = BIT(3),    /* flush this vCPU's guest translations */
	VCPU_REQUEST_STOP = BIT(4),     /* the VM has ended: leave the guest, see vm_has_ended() */
	VCPU_REQUEST_STIMER = BIT(8),   /* a synthetic timer's deadline has come */
	VCPU_REQUEST_EOI_EXIT = BIT(5), /* the EOI-exit bitmap may have changed: irq/eoi_exit.h */
	VCPU_REQUEST_ACCEL = BIT(6),    /* acceleration is to be decided anew: irq/accel.h */
	VCPU_REQUEST_DEBUG = BIT(7),    /* a debugger wants something: core/debugger.h */
};

enum vcpu_mode {
	VCPU_OUTSIDE, /* not in the guest: looks at its requests before it enters */
	VCPU_IN_GUEST /* in the guest, or past its last look: needs an IPI */
};

enum vcpu_sched_state {
	VCPU_BLOCKED,  /* in HLT or waiting for SIPI: on no queue */
	VCPU_RUNNABLE, /* on a run queue */
	VCPU_RUNNING,  /* a processor's current vCPU */
	VCPU_DEAD      /* its VM has ended */
};

/* Architectural activity, as the guest sees it. */
enum vcpu_activity {
	VCPU_ACTIVE,
	VCPU_HALTED,
	VCPU_WAIT_FOR_SIPI,
	VCPU_STOPPED, /* by a debugger; what the guest sees is in core/debugger.h */
};

/* Registers that every exit brings and every entry takes. The rest: struct vcpu_state. */
struct vcpu_regs {
	u64 gpr[GPR_COUNT]; /* by enum x86_gpr */
	u64 rip;
	u64 rflags;
	u64 cr8; /* 3:0, the task priority class as the guest last set it through CR8 */
};

/* Everything else of the architectural state, moved by get_state/set_state of the back end. */
struct vcpu_state {
	struct x86_segment seg[SEG_COUNT];
	u64 gdt_base, idt_base;
	u32 gdt_limit, idt_limit;
	u64 cr0, cr2, cr3, cr4, efer;
	u64 dr6, dr7;
	u64 pat;
	u8 cpl;
};

/* Where the page of the last skipped instruction was found: core/emulate.c. */
struct vcpu_fetch_hint {
	u64 cr0, cr3, cr4;
	u64 page;       /* linear */
	const u8 *host; /* NULL: none */
	u16 cs_attr;    /* of 64-bit code, where RIP is the linear address; 0: not that */
};

/* Answers of CPUID as last given, by leaf: core/cpuid.h. */
#define VCPU_CPUID_KNOWN 16
struct cpuid_answer {
	u32 leaf, subleaf;
	struct cpuid_regs regs;
} __attribute__((aligned(32)));

struct vcpu_msrs {
	struct mtrrs mtrr; /* through core/mtrr.h */
	u64 tsc_aux;
	u64 kvm_system_time;
	u64 tsc_adjust;
	u64 hwcr;
	u64 misc_enable;
};

struct vcpu {
	struct vm *vm; /* (i) */
	u32 index;     /* (i) within the VM */
	u32 apic_id;   /* (i) initial APIC ID */
	void *arch;    /* (i) the back end's state */

	/* Read and written by the owner at every entry and exit. */
	struct vcpu_regs regs;             /* [o] */
	struct exit_info exit;             /* [o] */
	struct intr_state intr;            /* [o] events waiting for injection: irq/intr.c */
	struct eoi_exit_vcpu eoi_exit;     /* [o] */
	enum vcpu_activity activity;       /* [o] */
	struct vcpu_fetch_hint fetch_hint; /* [o] */
	struct cpuid_answer cpuid_known[VCPU_CPUID_KNOWN]; /* [o] */
	u64 tsc_offset; /* [o] guest TSC = TSC + offset; vm->tsc_base until the guest writes */

	/* Written by anybody. */
	struct atomic32 requests __cacheline; /* [a] enum vcpu_request */
	struct atomic32 mode;                 /* [a] enum vcpu_mode */
	struct atomic32 sched_state;          /* [a] enum vcpu_sched_state */
	struct atomic32 on_cpu; /* [a] a processor still uses its state, whatever sched_state */
	struct vcpu *rq_next;   /* [rq->lock of the queue it is on] */
	struct cpu *cpu;        /* [a, by ptr_read()] where it runs, or ran last */

	struct accel_vcpu accel; /* hardware delivery: irq/accel.h */
	bool guest_mode;         /* [o] it runs a guest of its guest: core/nested.h */
	bool cache_disabled;     /* [o] CR0.CD as the VM's memory types have it */

	struct lapic lapic __cacheline;

	struct hv_vcpu *hv; /* (i) core/hv.h; NULL: the interface is not offered */

	u64 xcr0;              /* [o] */
	u64 dr[4];             /* [o] while not loaded */
	u8 *fpu;               /* (i) XSAVE area, valid while not loaded */
	struct vcpu_msrs msrs; /* [o] */

	struct debugger_vcpu debugger; /* core/debugger.h */

	u64 state_since; /* [o] TSC of the last change of what it does, for hlt_ns and its like */
	struct account account;
};

/* Ask for attention; wakes or kicks as needed. Any processor, no lock order constraint. */
void vcpu_request(struct vcpu *vcpu, u32 requests);

/* The same, and one that sleeps sleeps on: it is for when it enters the guest again. */
void vcpu_request_quietly(struct vcpu *vcpu, u32 requests);

/*
 * Ask all vCPUs of `vm` for attention, wake none, and wait until each that was in the guest has left it.
 * None enters again before it has seen the requests. The others may be anywhere, on processors that wait
 * for locks of the caller's included: nothing in the way out of the guest takes one (requirement S3.7).
 * Returns how many were made to leave. Any processor, outside of any guest, interrupts open.
 */
u32 vcpu_request_all(struct vm *vm, u32 requests);

/* Consume all requests. Own processor, no locks held. */
void vcpu_handle_requests(struct vcpu *vcpu);

/* true: a blocked vCPU has a reason to run (deliverable interrupt, NMI, request, INIT/SIPI). */
bool vcpu_has_work(struct vcpu *vcpu);

/* Queue an exception for the next entry (merged into #DF / triple fault by the manual's rules). */
void vcpu_inject_exception(struct vcpu *vcpu, u8 vector, bool has_error, u32 error);
void vcpu_inject_gp(struct vcpu *vcpu);
void vcpu_inject_ud(struct vcpu *vcpu);

/* Architectural reset: power-on (init false) or INIT. Own processor, or before the vCPU runs. */
void vcpu_reset(struct vcpu *vcpu, bool init);

/* What CPUID shows has changed. The marker's leaf is one that has no answer but zeros. */
static inline void vcpu_forget_cpuid(struct vcpu *vcpu)
{
	for (u32 i = 0; i < VCPU_CPUID_KNOWN; i++)
		vcpu->cpuid_known[i] = (struct cpuid_answer){~0u, ~0u, {0}};
}

static inline void vcpu_count(struct vcpu *vcpu, enum counter_id id)
{
	counter_add(&vcpu->account.counters[id], 1);
}

static inline void vcpu_count_n(struct vcpu *vcpu, enum counter_id id, u64 n)
{
	counter_add(&vcpu->account.counters[id], n);
}

#endif
