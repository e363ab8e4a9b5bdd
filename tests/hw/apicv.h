/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * APIC virtualization, the processor's against the model's microcode (cpu_model/vapic*.c): an operation is one VM
 * entry, with controls, a virtual-APIC page, guest interrupt status, perhaps an event that is injected, and a few
 * guest instructions, all at random. What the processor leaves behind at the exit has to be what is computed here.
 *
 *      av_draw()       an operation, by the seed alone           apicv_draw.c
 *      av_assemble()   its machine code, and the same as steps   apicv_code.c
 *      av_expect()     what has to become of it, over vapic.h    apicv_expect.c
 *      hw_apicv()      runs it, compares                         apicv.c
 *
 * All but the last touch no processor.
 */
#ifndef TESTS_HW_APICV_H
#define TESTS_HW_APICV_H

#include "cpu_model/vapic.h"
#include "postern/port.h"
#include "postern/string.h"

/* Controls. Of the first five, all combinations that VM entry allows: AV_SETS. */
enum av_control {
	AV_SHADOW = BIT(0),
	AV_ACCESS = BIT(1), /* virtualize APIC accesses */
	AV_X2 = BIT(2),     /* virtualize x2APIC mode */
	AV_REGS = BIT(3),   /* APIC-register virtualization */
	AV_VID = BIT(4),    /* virtual-interrupt delivery */
	AV_INTR_WINDOW = BIT(5),
	AV_NMI_WINDOW = BIT(6),
	AV_HLT = BIT(7),       /* HLT exits */
	AV_CR8_LOAD = BIT(8),  /* MOV to CR8 exits */
	AV_CR8_STORE = BIT(9), /* MOV from CR8 exits */
	AV_MSRS = BIT(
	        10), /* all of the APIC's MSRs exit, not only those that are the physical APIC's */
};
#define AV_SETS 14
extern const u8 av_sets[AV_SETS];

enum av_kind {
	AV_READ, /* memory, `size` bytes at `at` */
	AV_WRITE,
	AV_MODIFY, /* OR */
	AV_MOVE,   /* MOVS from `at` to `to` */
	AV_STORES, /* REP STOS of two doublewords from `at` on */
	AV_RDMSR,
	AV_WRMSR,
	AV_FROM_CR8,
	AV_TO_CR8,
	AV_STI,
	AV_CLI,
	AV_HALT,
	AV_KINDS,
	/* Steps only. */
	AV_NOTHING = AV_KINDS,
	AV_KEEP,   /* what was read goes to the results */
	AV_LOG,    /* the handler's note of its vector */
	AV_RETURN, /* IRET */
	AV_CALL,   /* VMCALL */
};

struct av_insn {
	u8 kind, size;
	u16 at, to; /* offset in the page, or MSR */
	u64 value;
};

#define AV_INSNS  4
#define AV_STEPS  64
#define AV_LOGGED 16
#define AV_POISON 0x5a5a5a5a5a5a5a5aull

/* What the guest's handler does with an interrupt. */
enum av_handler {
	AV_JUST_RETURN,
	AV_EOI_PAGE,
	AV_EOI_MSR,
	AV_EXIT,
	AV_HANDLERS,
};

/*
 * What Bochs does otherwise than the manual, beside the switches of vapic.h: X(NAME, "key"). docs/model-vs-bochs.md has
 * what each is, and who is right.
 */
#define AV_QUIRKS(X)                                                                               \
	X(NMI_STICKS, "nmi-sticks")                                                                \
	X(PPR_LATE, "ppr-behind-injection")                                                        \
	X(MODIFY_READS, "modify-is-a-read")                                                        \
	X(EOI_HALF, "eoi-msr-clears-half")                                                         \
	X(SLEEPS_ON, "hlt-sleeps-on")                                                              \
	X(WAKES_FIRST, "window-wakes-first")                                                       \
	X(IDT_STALE, "idt-info-stale")

enum av_quirk_index {
#define X(name, key) AV_QUIRK_INDEX_##name,
	AV_QUIRKS(X)
#undef X
	AV_QUIRK_COUNT
};
enum av_quirk {
#define X(name, key) AV_##name = BIT(AV_QUIRK_INDEX_##name),
	AV_QUIRKS(X)
#undef X
};
#define AV_BOCHS (BIT(AV_QUIRK_COUNT) - 1)

struct av_op {
	u32 controls;
	u32 set;    /* which of av_sets[] */
	bool fresh; /* the page is new; else it is as the operation before has left it */
	u8 threshold;
	u8 handler;
	u8 count;
	u16 status;
	bool open; /* RFLAGS.IF */
	u32 interruptibility, activity;
	u32 quirks;
	u32 nmi_blocked; /* VMX_BLOCKED_NMI, if the exit before has left it so */
	u32 entry_info, entry_error, entry_length;
	u16 stack; /* not 0: the stack ends at this offset of the APIC-access page */
	u64 eoi_exit[4];
	struct av_insn insn[AV_INSNS];
};

struct av_step {
	u8 kind;
	u8 insn; /* of op->insn[] */
	u64 rip;
};

/* Addresses in the guest, whose memory is the host's. */
struct av_memory {
	u8 *code;     /* a page: the operation's */
	u8 *stubs;    /* a page: 16 bytes for each vector */
	u8 *handlers; /* a page: AV_HANDLER_SIZE for each of enum av_handler */
	u64 *results; /* AV_INSNS */
	u32 *log;     /* AV_LOGGED */
	u64 page;     /* guest-physical address of the APIC-access page */
};
#define AV_STUB_SIZE    16
#define AV_HANDLER_SIZE 64

struct av_code {
	struct av_step step[AV_STEPS];
	u32 steps;
};

/* As idt_info: an event, and it is not known which. */
#define AV_ANY_EVENT VMX_EVENT_VALID

/* Where the guest was and what it had done when it left. */
struct av_state {
	u64 qualification; /* of reasons that have one */
	u64 rip;
	u64 results[AV_INSNS];
	u32 reason;
	u32 exit_info; /* of an exception */
	u32 idt_info;
	u32 open;
	u32 interruptibility, activity;
	u32 status;
	u32 logged;
	u32 log[AV_LOGGED];
};
_Static_assert(sizeof(struct av_state) == (2 + AV_INSNS) * 8 + (8 + AV_LOGGED) * 4, "no padding");

struct av_random {
	u64 state;
};
u64 av_next(struct av_random *random);

/* Which access an operation begins with, and under which controls; else it is drawn as any other. */
struct av_aim {
	u32 table, reg, set, outcome; /* as apicv_cover.c counts them */
	u8 kind;                      /* enum av_kind */
	u16 at;                       /* offset or MSR */
};

/* `page`: as the operation before has left it; it is filled anew if op->fresh. `aim`: NULL, at nothing. */
void av_draw(struct av_random *random, struct av_op *op, u8 *page, u16 status,
             const struct av_aim *aim);
void av_assemble_handlers(const struct av_memory *memory);
void av_assemble(const struct av_op *op, const struct av_memory *memory, struct av_code *code);
/*
 * `page` becomes what it has to be; `plain` is what the memory behind the APIC-access page has where accesses are
 * not virtualized. `switches`: VAPIC_*.
 */
void av_expect(const struct av_op *op, const struct av_memory *memory, const struct av_code *code,
               u32 switches, u8 *page, u8 *plain, struct av_state *state);
/* Which MSRs the operation's bitmap lets through. */
bool av_msr_passes(u32 controls, u32 msr, bool write);

/* --- apicv_cover.c: register x control x exit --- */

enum av_outcome {
	AV_DONE,
	AV_PLAIN, /* an ordinary access */
	AV_EXIT_TPR,
	AV_EXIT_ACCESS,
	AV_EXIT_EOI,
	AV_EXIT_WRITE,
	AV_GP,
	AV_INTERCEPTED, /* by the MSR bitmap, or CR8's controls */
	AV_OUTCOMES,
};
/* What an instruction has come to; `reg`: offset / 16, the last for all behind. */
void av_cover(u32 kind, u32 reg, u32 set, enum av_outcome outcome);
void av_cover_exit(u32 set, u32 reason);
/*
 * The next combination from `aim` on that can be and was not seen; at first `aim` is all zero. False: there is none.
 * Then whether it has been seen meanwhile.
 */
bool av_cover_missing(struct av_aim *aim);
bool av_cover_has(const struct av_aim *aim);
/* What is computed for comparison only does not count. On at the start. */
void av_cover_switch(bool on);
/* False: a combination that ought not to be was seen, or one was not seen and should have been. */
bool av_cover_print(void);

#endif
