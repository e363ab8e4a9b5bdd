/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * APIC virtualization as microcode: what Intel's processor does to a virtual-APIC page, to guest
 * interrupt status, to posted-interrupt descriptors and to other processors, as functions over
 * plain memory. SDM volume 3, "APIC Virtualization and Virtual Interrupts". Used by the model
 * processor and, on metal, by the assist; neither vmx/ nor irq/ includes this.
 *
 * No globals, no locks, no waiting: every touch of the page, of a descriptor or of the table that
 * finds them is one atomic step of postern/sync.h, so that the explorer can interleave the hardware
 * too. Tables are the hypervisor's and pages are partly the guest's: whatever they hold, a function
 * returns what the architecture says and touches nothing outside of the memory it was told of.
 *
 * How a processor uses it, in the order of a guest's turn:
 *
 *      VM entry       the controls, vapic_enter(), event injection, vapic_is_below_threshold()
 *      instruction    vapic_page_read(), vapic_page_write(), vapic_write_cr8(), vapic_msr_read() ...
 *      behind it      vapic_emulate_write(), if `written` says so; before every other event
 *      boundary       vapic_can_deliver(), vapic_deliver(); vapic_process_posted() for an interrupt
 *      VM exit        vapic_leave()
 *
 * VM-entry checks, the MSR bitmap, CR8's exiting controls and the comparison of an address with the
 * APIC-access address come before any of this, and are the processor's own.
 */
#ifndef CPU_MODEL_VAPIC_H
#define CPU_MODEL_VAPIC_H

#include "postern/account.h"
#include "postern/sync.h"
#include "x86/apic.h"
#include "x86/vmx.h"
#include "x86/vmx_apic.h"

/*
 * What the manual leaves open, or where its editions and Bochs differ. X(name, "key", default, what
 * it means when on). docs/model.md has who says what; scripts/check-model-doc compares.
 */
#define VAPIC_SWITCHES(X)                                                                          \
	X(VID_READS, "vid-reads-eoi-and-icr", 1,                                                   \
	  "virtual-interrupt delivery alone virtualizes reads of EOI and ICR, too")                \
	X(VID_BY_REGISTER, "vid-by-register", 0,                                                   \
	  "virtual-interrupt delivery alone virtualizes writes within EOI and ICR, not only at "   \
	  "their offsets")                                                                         \
	X(SECOND_BY_OFFSET, "second-access-by-offset", 0,                                          \
	  "behind a write, its operation may read, or write in another size, at the same offset")  \
	X(EMPTY_EOI_IGNORED, "empty-eoi-ignored", 0,                                               \
	  "EOI with SVI zero does nothing, instead of ending vector 0")                            \
	X(SELF_NOT_STORED, "self-ipi-not-stored", 0,                                               \
	  "x2APIC: SELF IPI is not stored in the page if it is virtualized")                       \
	X(POSTED_BY_VIRR, "posted-by-virr", 0,                                                     \
	  "posted-interrupt processing raises RVI to the highest of VIRR, not of PIR")             \
	X(IPIV_WRITES_ICR, "ipiv-writes-icr", 1,                                                   \
	  "IPI virtualization alone virtualizes writes of ICR in memory")                          \
	X(X2_ICR_SELF, "x2-icr-self", 0,                                                           \
	  "x2APIC, IPI virtualization: WRMSR of ICR in the self form is a self-IPI, not an exit")  \
	X(COALESCED_SILENT, "coalesced-ipi-silent", 0,                                             \
	  "an IPI whose bit is in PIR already notifies nobody")                                    \
	X(IPIV_UNSHADOWED, "ipiv-unshadowed", 0,                                                   \
	  "VM entry accepts IPI virtualization without a TPR shadow; it has no effect then")       \
	X(IPIV_NEEDS_POSTED, "ipiv-needs-posted", 0,                                               \
	  "VM entry refuses IPI virtualization where posted interrupts are not processed")

enum vapic_switch_index {
#define X(name, key, def, what) VAPIC_SWITCH_INDEX_##name,
	VAPIC_SWITCHES(X)
#undef X
	VAPIC_SWITCH_COUNT
};

enum vapic_switch {
#define X(name, key, def, what) VAPIC_##name = BIT(VAPIC_SWITCH_INDEX_##name),
	VAPIC_SWITCHES(X)
#undef X
#define X(name, key, def, what) | (def) << VAPIC_SWITCH_INDEX_##name
	VAPIC_SWITCH_DEFAULTS = 0 VAPIC_SWITCHES(X)
#undef X
};

/*
 * A physical IPI, fixed and edge-triggered, with a descriptor's NV to the APIC ID that its NDST
 * names.
 */
typedef void vapic_notify_fn(void *context, u32 host_id, u8 vector);
/* End of interrupt at the physical APIC of the processor that this is. */
typedef void vapic_eoi_fn(void *context);

/* One virtual processor's APIC, as VM entry has loaded it. */
struct vapic {
	/* Of the VMCS, filled in before vapic_enter(); they stay until the exit. */
	u8 *page;                /* virtual-APIC page; without `tpr_shadow` it is not touched */
	bool tpr_shadow;         /* use TPR shadow: without it, none of the others below */
	bool x2apic;             /* virtualize x2APIC mode */
	bool apic_registers;     /* APIC-register virtualization */
	bool vid;                /* virtual-interrupt delivery */
	bool ipiv;               /* IPI virtualization */
	bool intr_window;        /* interrupt-window exiting */
	u8 threshold;            /* TPR threshold, bits 3:0; has no effect with `vid` */
	u8 pi_vector;            /* posted-interrupt notification vector */
	u16 last_index;          /* last PID-pointer index */
	u64 eoi_exit[4];         /* EOI-exit bitmap */
	struct pi_desc *pi_desc; /* NULL: posted interrupts are not processed */
	const struct atomic64 *pi_table; /* PID-pointer table; touched only with `ipiv` */

	/* In VMX non-root operation. */
	u8 rvi, svi;     /* guest interrupt status */
	bool recognized; /* a pending virtual interrupt is; until delivery, evaluation or exit */
	bool written; /* the operation under way has virtualized a write: emulation is to follow */
	u16 write_offset;
	u8 write_size;

	/* Of the processor. */
	bool host_x2; /* its own APIC is in x2APIC mode: says how NDST is read */
	u8 width;     /* bits of a physical address */
	u32 switches;
	u64 memory_start,
	        memory_end; /* host-physical: a descriptor that is not in it is not there */
	vapic_notify_fn *notify;
	vapic_eoi_fn *eoi;
	void *context;

	u64 counts[HW_COUNT]; /* since the processor was started */
};

enum vapic_action {
	VAPIC_DONE,     /* completed, without an exit */
	VAPIC_BEFORE,   /* VM exit, and nothing has happened: fault-like */
	VAPIC_AFTER,    /* VM exit behind the instruction: trap-like */
	VAPIC_GP,       /* general protection, error code 0; nothing has happened */
	VAPIC_ORDINARY, /* not virtualized: CR8 or the MSR is the physical APIC's */
};

struct vapic_result {
	enum vapic_action action;
	u32 reason; /* VMX_EXIT_*, of an exit; else 0 */
	u64 qualification;
};

/* How memory is accessed: "Exit Qualification for APIC-Access VM Exits". */
enum vapic_access {
	VAPIC_DATA,   /* a read or a write by an instruction */
	VAPIC_MODIFY, /* a read by an instruction that is going to write there */
	VAPIC_FETCH,  /* of an instruction */
	VAPIC_EVENT,  /* while an event is delivered through the IDT */
};

/* --- vapic.c --- */
/*
 * VM entry has loaded guest state: takes RVI and SVI from `status`, the VMCS's guest interrupt
 * status, and with virtual-interrupt delivery virtualizes PPR and evaluates. "VM Entries":
 * "Updating Non-Register State". An event that is injected by the entry comes first, whatever is
 * recognized here.
 */
void vapic_enter(struct vapic *vapic, u16 status);
/*
 * VM exit, of any cause: what to save as guest interrupt status, if virtual-interrupt delivery is
 * on (without, the field stays). Recognition ends, and a write that waits for its emulation is
 * forgotten ("APIC-Write Emulation"). "VM Exits": "Saving Non-Register State".
 */
u16 vapic_leave(struct vapic *vapic);
/*
 * Without virtual-interrupt delivery: VTPR's class is below the threshold. VM entry asks, behind
 * the injection of an event and if "virtualize APIC accesses" is 1, and exits with reason 43. "VM
 * Entries": "VM Exits Induced by the TPR Threshold".
 */
bool vapic_is_below_threshold(const struct vapic *vapic);
/*
 * At an instruction boundary, above external interrupts and below NMIs: is there a virtual
 * interrupt to be delivered? `open`: RFLAGS.IF is 1, and STI, MOV SS or POP SS do not block. It
 * wakes from HLT, but not from shutdown or wait-for-SIPI. "Virtual-Interrupt Delivery".
 */
bool vapic_can_deliver(const struct vapic *vapic, bool open);
/*
 * Delivers what vapic_can_deliver() has said is there: VIRR to VISR, RVI to SVI; PPR becomes the
 * vector's class; recognition ends. Returns the vector to go through the IDT. An exit on that way
 * undoes none of it: the vector is then in the VMCS's IDT-vectoring information.
 */
u8 vapic_deliver(struct vapic *vapic);
/*
 * MOV to CR8 and from CR8 that the CR8-load and CR8-store exiting controls let through.
 * VAPIC_ORDINARY without a TPR shadow; VAPIC_GP for reserved bits; exit 43 behind the instruction.
 * "Virtualizing CR8-Based TPR Accesses".
 */
struct vapic_result vapic_write_cr8(struct vapic *vapic, u64 value);
struct vapic_result vapic_read_cr8(const struct vapic *vapic, u64 *value);
/*
 * The physical APIC has been acknowledged, and gave `vector`. False: exit with reason 1, as always.
 * True: it was the notification vector; ON is clear, the physical APIC has had its EOI, PIR is in
 * VIRR, RVI is raised and evaluated; no exit. RFLAGS.IF does not matter; a processor in HLT goes
 * back to it. "Posted-Interrupt Processing".
 */
bool vapic_process_posted(struct vapic *vapic, u8 vector);

/* --- vapic_regs.c --- */
/*
 * The guest reads or writes the APIC-access page at `offset`, `size` bytes. VAPIC_DONE, or
 * VAPIC_BEFORE: an APIC-access exit. A write has then written the page, and nothing else: `written`
 * says that at the end of the operation (an instruction, an iteration of a repeated one, or the
 * delivery of an event) there is its emulation to be done. "Virtualizing Reads from the APIC-Access
 * Page", "Virtualizing Writes to the APIC-Access Page".
 */
struct vapic_result vapic_page_read(const struct vapic *vapic, enum vapic_access how, u32 offset,
                                    u32 size, u64 *value);
struct vapic_result vapic_page_write(struct vapic *vapic, enum vapic_access how, u32 offset,
                                     u32 size, u64 value);
/*
 * An access of that page which no linear address leads to (a paging structure, say): always an exit
 * here, though the manual permits others. "APIC Accesses Not Directly Resulting From Linear
 * Addresses".
 */
struct vapic_result vapic_physical_access(enum vapic_access how);
/*
 * The operation that wrote is complete: APIC-write emulation. Before SMIs, INIT and all that comes
 * after them; RFLAGS.IF and blocking do not matter. VAPIC_DONE, or VAPIC_AFTER: exit 43, 45 or 56.
 * Nothing, if nothing was written. "APIC-Write Emulation".
 */
struct vapic_result vapic_emulate_write(struct vapic *vapic);
/*
 * RDMSR and WRMSR of 800h..8FFh that the MSR bitmap and the privilege level let through.
 * VAPIC_ORDINARY: the access is the physical APIC's, whatever it does there. "Virtualizing
 * MSR-Based APIC Accesses".
 */
struct vapic_result vapic_msr_read(const struct vapic *vapic, u32 msr, u64 *value);
struct vapic_result vapic_msr_write(struct vapic *vapic, u32 msr, u64 value);

/* --- vapic_ipi.c --- */
/*
 * IPI virtualization of `vector` to the virtual processor with APIC ID `dest`: VAPIC_DONE, posted
 * in its descriptor, and its processor notified unless ON or SN was set; or VAPIC_AFTER, an
 * APIC-write exit for offset 300h. "IPI Virtualization".
 */
struct vapic_result vapic_send(struct vapic *vapic, u32 dest, u8 vector);
/*
 * Is this low half of ICR one that goes to vapic_send()? Its vector and destination are not looked
 * at.
 */
static inline bool vapic_is_ipi(u32 icr)
{
	/* All but vector and level (14), which is free. */
	const u32 zero = 0xfff00000u | APIC_DEST_SHORTHAND | BIT(17) | BIT(16) |
	                 APIC_TRIGGER_LEVEL | BIT(13) | APIC_ICR_BUSY | APIC_DEST_LOGICAL |
	                 APIC_DM_MASK;

	return !(icr & zero);
}

/* --- between these files --- */
#define VAPIC_STRIDE 16u /* from one register to the next */
#define VAPIC_CLASS  0xf0u

static inline struct atomic32 *vapic_word(const struct vapic *vapic, u32 offset)
{
	return (struct atomic32 *)(void *)(vapic->page + offset);
}

static inline u32 vapic_get(const struct vapic *vapic, u32 offset)
{
	return atomic32_read_relaxed(vapic_word(vapic, offset));
}

static inline void vapic_set(struct vapic *vapic, u32 offset, u32 value)
{
	atomic32_set_relaxed(vapic_word(vapic, offset), value);
}

static inline bool vapic_is(const struct vapic *vapic, enum vapic_switch which)
{
	return vapic->switches & which;
}

static inline struct vapic_result vapic_done(void)
{
	return (struct vapic_result){.action = VAPIC_DONE};
}

static inline struct vapic_result vapic_exit(enum vapic_action action, enum vmx_exit reason,
                                             u64 qualification)
{
	return (struct vapic_result){
	        .action = action, .reason = reason, .qualification = qualification};
}

/* "TPR Virtualization": the page has the new VTPR. */
struct vapic_result vapic_tpr(struct vapic *vapic);
/* "EOI Virtualization": VEOI has been seen to. Only with virtual-interrupt delivery. */
struct vapic_result vapic_end(struct vapic *vapic);
/* "Self-IPI Virtualization". Only with virtual-interrupt delivery. */
void vapic_self_ipi(struct vapic *vapic, u8 vector);

#endif
