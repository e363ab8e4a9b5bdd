/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * AVIC and x2AVIC as microcode: what the processor does to a backing page, the two ID tables and
 * other processors, as functions over plain memory. APM volume 2, "Advanced Virtual Interrupt
 * Controller". Used by the model processor and, on metal, by the assist; neither svm/ nor irq/
 * includes this.
 *
 * No globals, no locks, no waiting: every touch of a table or of IRR is one atomic step of
 * postern/sync.h, so that the explorer can interleave the hardware too. Tables are the hypervisor's
 * and pages are partly the guest's: whatever they hold, a function returns what the architecture says
 * and touches nothing outside of the memory it was told of.
 */
#ifndef CPU_MODEL_AVIC_H
#define CPU_MODEL_AVIC_H

#include "postern/account.h"
#include "postern/sync.h"
#include "x86/apic.h"
#include "x86/avic.h"
#include "x86/svm.h"

/*
 * What the manual leaves open, and the erratum. X(name, "key", default, what it means when on).
 * docs/model.md has who says what; scripts/check-model-doc compares.
 */
#define AVIC_SWITCHES(X)                                                                           \
	X(LEVEL_EOI_CLEARS, "level-eoi-clears-isr", 0,                                             \
	  "EOI of a level-triggered vector clears ISR before its exit")                            \
	X(DOORBELL_8, "doorbell-8-bits", 0, "the doorbell register has 8 bits of APIC ID, not 12") \
	X(INDEX_12, "index-12-bits", 0,                                                            \
	  "EXITINFO2 has 12 bits of index in every mode, not 8 in xAVIC and 9 in x2AVIC")          \
	X(INDEX_PHYSICAL, "index-is-physical", 0,                                                  \
	  "xAVIC, logical destination: EXITINFO2 has the physical table's index, not the "         \
	  "logical's")                                                                             \
	X(X2_BROADCAST_INDEX, "x2-broadcast-is-index", 0,                                          \
	  "x2AVIC: destination FFFFFFFFh is an index like any other, not broadcast")               \
	X(LOGICAL_FF_LOOKUP, "logical-ff-is-looked-up", 0,                                         \
	  "xAVIC: logical destination FFh goes by the logical table, and is not broadcast")        \
	X(LOW_VECTOR_TYPE, "low-vector-is-type", 0,                                                \
	  "a vector below 16 exits as invalid type (id 0), not as invalid vector (id 4)")          \
	X(CHECK_FIRST, "check-targets-first", 1,                                                   \
	  "an invalid target exits before any target has been given its interrupt")                \
	X(X2_READ_ONLY_EXITS, "x2-read-only-exits", 0,                                             \
	  "x2AVIC: WRMSR of a read-only register goes by the access table, instead of #GP")        \
	X(X2_BUSY_IGNORED, "x2-delivery-status-ignored", 0,                                        \
	  "x2AVIC: bit 12 of ICR is ignored when written, instead of #GP")                         \
	X(NO_NEXT_RIP, "trap-without-next-rip", 1, "the exits of AVIC leave next-RIP save zero")   \
	X(TAKES_V_TPR, "vmrun-takes-v-tpr", 0, "VMRUN writes V_TPR to the page, not the reverse")  \
	X(IPI_KEEPS_TMR, "ipi-keeps-tmr", 0, "an IPI leaves the target's TMR bit as it was")       \
	X(BUSY_ON_EXIT, "busy-on-exit", 1,                                                         \
	  "xAVIC: ICR's delivery status reads as 1 after an incomplete IPI, and in EXITINFO1")     \
	X(STALE_RUNNING, "stale-running", 0,                                                       \
	  "erratum: IsRunning is read before IRR is set, so that a sender may miss its clearing")

enum avic_switch_index {
#define X(name, key, def, what) AVIC_SWITCH_INDEX_##name,
	AVIC_SWITCHES(X)
#undef X
	AVIC_SWITCH_COUNT
};

enum avic_switch {
#define X(name, key, def, what) AVIC_##name = BIT(AVIC_SWITCH_INDEX_##name),
	AVIC_SWITCHES(X)
#undef X
#define X(name, key, def, what) | (def) << AVIC_SWITCH_INDEX_##name
	AVIC_SWITCH_DEFAULTS = 0 AVIC_SWITCHES(X)
#undef X
};

/* What another processor is told: look at your backing page. `host_id`: a physical APIC ID. */
typedef void avic_doorbell_fn(void *context, u32 host_id);

/* Host-physical memory, whole pages: a table or page that is not in it is not valid. */
struct avic_memory {
	u64 start, end;
};

static inline bool avic_is_memory(const struct avic_memory *memory, u64 address, u64 size)
{
	return address >= memory->start && address < memory->end && memory->end - address >= size;
}

/* One virtual processor's AVIC, as VMRUN has loaded it. */
struct avic {
	u8 *page;                   /* backing page */
	const struct atomic64 *ids; /* physical ID table */
	const struct atomic32 *logical;
	u32 max_index; /* the last entry that can be a target */
	bool enabled, x2;
	u32 short_way; /* IPIs to physical APIC IDs below this take it: avic_ipi.c */
	s32 pending;   /* the vector that the last evaluation found deliverable, -1: none */
	u64 bar;       /* guest-physical address of the APIC's page */

	/* Of the processor. */
	u32 switches;
	struct avic_memory memory;
	avic_doorbell_fn *doorbell;
	void *context;

	u64 counts[HW_COUNT]; /* since the processor was started */
};

enum avic_action {
	AVIC_DONE,   /* completed */
	AVIC_BEFORE, /* #VMEXIT, nothing has happened: fault-like */
	AVIC_AFTER,  /* #VMEXIT behind the instruction: trap-like */
	AVIC_GP,     /* x2AVIC: general protection */
};

struct avic_result {
	enum avic_action action;
	u32 exit_code; /* SVM_EXIT_AVIC_* */
	u64 info_1, info_2;
};

/* --- avic.c --- */
/*
 * The checks of VMRUN on a control block with AVIC enabled. `max_index`: the largest that the
 * processor takes in x2AVIC mode (511, or 4095 with the extension); 0: it has no x2AVIC. NULL: good.
 */
const char *avic_check(const struct vmcb_control *control, const struct avic_memory *memory,
                       u32 max_index);
/*
 * VMRUN: take the pointers of a checked control block, bring TPR, V_TPR and PPR in step, evaluate.
 * Returns V_TPR.
 */
u64 avic_enter(struct avic *avic, const struct vmcb_control *control);
/* What is deliverable by now: at VMRUN, on a doorbell, after TPR, EOI, self-IPI and a delivery. */
void avic_evaluate(struct avic *avic);
/* A request is above what is in service, and only TPR holds it back. */
bool avic_waits_for_tpr(const struct avic *avic);
/* TPR has bits that CR8 does not show, and that a write of CR8 clears. */
bool avic_has_subclass(const struct avic *avic);
/* The processor takes the interrupt: IRR to ISR. -1: it has gone meanwhile. Evaluates. */
int avic_take(struct avic *avic);
/* It has not been taken after all: ISR to IRR, where it may have been requested anew. Evaluates. */
void avic_untake(struct avic *avic, u8 vector);
/* MOV to CR8, MOV from CR8. */
void avic_write_cr8(struct avic *avic, u64 value);
u64 avic_read_cr8(const struct avic *avic);

/* --- avic_regs.c --- */
/* The guest accesses its APIC page at `offset`, `size` bytes. */
struct avic_result avic_page_read(struct avic *avic, u32 offset, u32 size, u64 *value);
struct avic_result avic_page_write(struct avic *avic, u32 offset, u32 size, u64 value);
/* x2AVIC: an MSR of 800h..8FFh that the permission map lets through. */
struct avic_result avic_msr_read(struct avic *avic, u32 msr, u64 *value);
struct avic_result avic_msr_write(struct avic *avic, u32 msr, u64 value);

/* --- avic_ipi.c --- */
/* The ICR has been written: its low half, and the destination as the mode has it. */
struct avic_result avic_send(struct avic *avic, u32 icr, u32 dest);

/* --- between these files --- */
static inline struct atomic32 *avic_word(u8 *page, u32 offset)
{
	return (struct atomic32 *)(void *)(page + offset);
}

static inline u32 avic_get(const struct avic *avic, u32 offset)
{
	return atomic32_read_relaxed(avic_word(avic->page, offset));
}

static inline void avic_set(struct avic *avic, u32 offset, u32 value)
{
	atomic32_set_relaxed(avic_word(avic->page, offset), value);
}

static inline bool avic_is(const struct avic *avic, enum avic_switch which)
{
	return avic->switches & which;
}

static inline struct avic_result avic_done(void)
{
	return (struct avic_result){.action = AVIC_DONE};
}

void avic_set_tpr(struct avic *avic, u8 tpr);
/* EOI. `vector`: the level-triggered one that must exit; false: completed. */
bool avic_eoi(struct avic *avic, u8 *vector);

#endif
