/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hardware delivery of interrupts (AVIC, x2AVIC): for whom it is on, and how a local APIC whose page
 * the processor reads and writes goes together with the software that shares it.
 *
 * A vCPU runs accelerated if nothing inhibits it for the VM (irq/inhibit.h) and it has no reason of its
 * own not to be: its APIC is disabled or in a mode that the processor does not accelerate, or it runs a
 * guest of its guest. It decides when it is asked to (VCPU_REQUEST_ACCEL), on its own processor, outside of
 * the guest. A vCPU that is not accelerated remains a target of those that are: its entry in the tables
 * stays valid and says that it does not run, so the sender exits and the request bit, which is in the page
 * already, is brought to its attention here.
 *
 * With a reason of its own it runs on the nested root without the APIC's page: irq/apic_page.h.
 *
 * Where requests go. AVIC's are set in the page itself, by anybody, whether the vCPU runs or not. On a back end
 * whose processor keeps a second account of what is in the page (Intel: RVI), nobody but the vCPU's own
 * processor may set them there, outside of the guest: so whoever accepts an interrupt puts it into
 * accel_vcpu.apart, in whatever mode the vCPU is, and the owner moves it to the page before he decides anything by
 * that (lapic_harvest()). One rule for all modes, so that a change of mode needs no other. That something is apart
 * is one bit, ON, and who sets it tells the vCPU: irq/lapic_accel.c.
 *
 * Tags as in core/vcpu.h.
 */
#ifndef IRQ_ACCEL_H
#define IRQ_ACCEL_H

#include "irq/inhibit.h"
#include "postern/account.h"
#include "postern/sync.h"

struct cpu;
struct vcpu;
struct vm;

enum accel_mode {
	ACCEL_OFF,
	ACCEL_XAPIC,
	ACCEL_X2APIC,
};
#define ACCEL_MODE(mode) BIT(mode)

/*
 * The second, small table of the back-end seam; NULL in a back end that has none. All own processor
 * and vCPU outside of the guest unless said otherwise.
 *
 * modes      bit mask of the modes that the processor has. Any processor, after probe
 * vm_init    allocate tables for the vCPUs, which exist; the back end's own vm_exit frees them. false: out of memory
 * set        the vCPU's next entries are in this mode, on the nested root with or without the APIC's page.
 *            What software has injected and the processor has not taken goes along
 * running    the vCPU's turn begins on `cpu`, or ends (NULL), and it `sleeps` or others wait: senders look at this.
 *            With requests apart of every vCPU, else of an accelerated one, and when that begins or ends
 * wake       CPU_VECTOR_WAKEUP has come on `cpu`, the own one: wake whom it is for. NULL: it is not used
 * notify     make `cpu`, which runs the vCPU, look at its page, or at what is apart from it. Any processor.
 *            With requests apart the vCPU need not be accelerated. Counts how
 * identify   IDs, logical IDs, modes or enables have changed: bring the tables up to date. Any
 *            processor, the APIC-ID map's build lock held
 * eoi_exits  of these vectors the end is to exit: irq/eoi_exit.h. NULL: the processor goes by TMR
 */
#define ACCEL_OPS(X)                                                                               \
	X(u32, modes, (void))                                                                      \
	X(bool, vm_init, (struct vm * vm))                                                         \
	X(void, set, (struct vcpu * vcpu, enum accel_mode mode, bool with_page))                   \
	X(void, running, (struct vcpu * vcpu, struct cpu * cpu, bool sleeps))                      \
	X(void, wake, (struct cpu * cpu))                                                          \
	X(void, notify, (struct vcpu * vcpu, struct cpu * cpu))                                    \
	X(void, identify, (struct vm * vm))                                                        \
	X(void, eoi_exits, (struct vcpu * vcpu, const u64 *bitmap))

struct accel_ops {
#define X(ret, op, params) ret(*op) params;
	ACCEL_OPS(X)
#undef X
	bool requests_apart; /* requests are not set in the page: see the top */
};

/* Of a VM. */
struct accel_vm {
	u32 modes;  /* (i) what may be used; 0: no acceleration, and nothing below is used */
	bool apart; /* (i) its back end's requests_apart */
	/*
	 * (i) vm_init: processors post by themselves, as devices may (irq/assigned.h), so who falls asleep sees to
	 * it that he is found.
	 */
	bool finds_sleepers;
	/* (i) vm_init: in x2APIC mode the page has ICR's 64 bits together at APIC_ICR. */
	bool icr_in_one;
	/* (i) accel_ops.notify, or what vm_init has put in its place */
	void (*notify)(struct vcpu *vcpu, struct cpu *cpu);
	u8 *page; /* (i) what the guest's APIC page is mapped to: never read */
};

/*
 * Requests apart from the page, a bit for each vector, and whether there may be any. As large and as aligned as the
 * descriptor into which processors post, and in its layout. What else is in `control` is the back end's: whoever
 * changes a part of it keeps the rest.
 */
struct accel_requests {
	struct atomic64 word[4]; /* [a] set by anybody, cleared by the owner */
	struct atomic64 control; /* [a] ACCEL_REQUESTS_ON: likewise; and the back end's */
	u64 reserved[3];
} __aligned(CACHE_LINE);
#define ACCEL_REQUESTS_ON BIT64(0)
_Static_assert(sizeof(struct accel_requests) == 64, "a descriptor's size");

/* Of a vCPU. */
struct accel_vcpu {
	struct atomic32 mode; /* [a] enum accel_mode: owner writes, senders read */
	u32 window;           /* [o] 1: its interrupt window counts, irq/irq_window.h */
	u32 local;            /* [o] INHIBIT_BIT()s of scope VCPU that stand */
	u32 local_mode;       /* [o] enum accel_mode that these leave */
	u32 wrong_from;       /* [o] the first mask by which the mode is wrong: irq/accel_check.h */
	u32 wrong_count;      /* [o] and how many there are */
	bool without_page;    /* [o] it runs on the root without the APIC's page */
	bool told;            /* [o] a mismatch has been logged */
	bool looks;           /* (i) requests are apart: see accel_last_look() */
	u64 fault_rip;        /* [o] whose fault has mapped the APIC's page; ~0: none */
	u64 counted[HW_COUNT]; /* [o] its processor's counts when last added to the account */
	struct inhibit_account account[INHIBIT_COUNT]; /* [o] those of scope VCPU */
	struct accel_requests apart;                   /* of a VM with accel_vm.apart */
};

/* Own processor. */
static inline bool accel_is_on(const struct accel_vcpu *accel)
{
	return atomic32_read_relaxed(&accel->mode) != ACCEL_OFF;
}

/* With the vCPUs in place. `modes`: what the VM is to use, at most. false: out of memory. */
bool accel_create(struct vm *vm, u32 modes);
void accel_destroy(struct vm *vm);

/*
 * Decide anew: VCPU_REQUEST_ACCEL. Own processor, interrupts open, no locks held; waits for whoever
 * changes the VM's mask.
 */
void accel_update(struct vcpu *vcpu);

/*
 * The vCPU's APIC has been enabled, disabled or has changed its mode, or the vCPU begins or ends to run a
 * guest of its guest. Own processor, or before it runs.
 */
void accel_local_changed(struct vcpu *vcpu);

/*
 * What accel_is_wrong() wants looked at closer, interrupts blocked and the vCPU VCPU_IN_GUEST. A state that is not what
 * the reasons demand is counted, and said once. true: requests that were apart have been found, and software
 * delivers them: the entry is to be prepared anew.
 */
bool accel_last_look(struct vcpu *vcpu);

/* The vCPU's turn begins, or ends (NULL). Own processor. */
void accel_running(struct vcpu *vcpu, struct cpu *cpu);
/* It ends, and the vCPU goes to sleep: before it can be found asleep. */
void accel_sleeps(struct vcpu *vcpu);

/* CPU_VECTOR_WAKEUP has come. Own processor, interrupts open, no locks held. */
void accel_wake(struct cpu *cpu);

/* lapic_posted() for one whose mode was seen to be on, or whose requests are apart. */
void accel_posted(struct vcpu *vcpu);

/* VCPU_REQUEST_EOI_EXIT: tell the processor which ends are to exit. Own processor, no locks held. */
void accel_eoi_exits(struct vcpu *vcpu);

/* From apic_map_rebuild(), its build lock held. */
void accel_identify(struct vm *vm);

#endif
