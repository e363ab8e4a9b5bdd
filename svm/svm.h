/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Private to svm/: state of the SVM back end. Tags as in core/vcpu.h.
 */
#ifndef SVM_SVM_H
#define SVM_SVM_H

#include "core/machine.h"
#include "x86/svm.h"

/* Per processor (cpu->arch). */
struct svm_cpu {
	u8 *hsave;      /* (i) the processor's own save area (VM_HSAVE_PA) */
	u8 *host_vmcb;  /* (i) what VMSAVE keeps of the host: FS, GS, TR, LDTR, SYSCALL registers */
	u32 next_asid;  /* [o] */
	u32 max_asid;   /* (i) */
	u64 generation; /* [o] of ASIDs; bumped when they run out */
	const struct vcpu *xavic; /* [o] whose APIC page may be translated here; NULL: unknown */
};

struct svm_avic;

/* Per VM (vm->arch). */
struct svm_vm {
	u8 *msrpm;             /* [all vCPUs outside] MSR permission map, SVM_MSRPM_SIZE */
	u8 *msrpm_x2avic;      /* [all vCPUs outside] the same, for those in x2AVIC mode */
	u8 *iopm;              /* (i) I/O permission map: every port exits */
	struct svm_avic *avic; /* (i) NULL: not used */
};

/* What is stepped over: an instruction that an NMI waits for (svm/intr.c), or a debugger's. */
enum svm_step {
	SVM_STEP_NONE,
	SVM_STEP_SHADOW, /* over the instruction in the interrupt shadow */
	SVM_STEP_IRET,   /* over the IRET that ends the NMI handler */
	SVM_STEP_DEBUG, /* a debugger's; if one of the above begins meanwhile, that one takes its place */
	SVM_STEP_DEBUG_FLAGS, /* the same over an instruction that loads RFLAGS */
};

/*
 * Intercepted exceptions. #DB and #AC are reflected, not left to the guest: delivering them can raise
 * them again without end, inside the processor, where no interrupt gets through. #MC belongs to the
 * host. #UD is reflected for RFLAGS.RF, which QEMU 7.2 does not save (docs/emulators.md). While an instruction is stepped over, all others too; but not #BP and #OF, whose
 * instructions would have to be completed.
 */
#define SVM_EXCEPTIONS      (BIT(VECTOR_DB) | BIT(VECTOR_AC) | BIT(VECTOR_UD) | BIT(VECTOR_MC))
#define SVM_STEP_EXCEPTIONS (~0u & ~(BIT(VECTOR_NMI) | BIT(VECTOR_BP) | BIT(VECTOR_OF)))

/* AVIC's tables, per VM (svm_vm.avic): svm/avic.c. */
struct svm_avic {
	struct atomic64
	        *ids; /* [a] physical table; an entry's RUNNING and host ID: its vCPU's owner */
	struct atomic32 *logical; /* [the APIC-ID map's build lock to write] */
	u32 table_size;           /* (i) bytes of the physical table */
	u32 max_index;            /* (i) */
};

/* Exits that a guest hypervisor asked for: the VMCB's intercept words. All 0 while none of its guests runs. */
struct svm_asked {
	u32 cr, dr, exceptions, misc1, misc2, misc3;
};

/* What looks at an exit, by whose guest it is of: svm_fast_exit() and svm_decode_exit(), or svm/nested.c. */
struct svm_exits {
	bool (*fast)(void *vcpu);
	void (*decode)(struct vcpu *vcpu);
};

struct svm_nested;

/* Per vCPU (vcpu->arch). */
struct svm_vcpu {
	struct vmcb *vmcb;         /* [o] in use: `own`, or that of a guest of the guest */
	hpa_t vmcb_hpa;            /* [o] */
	struct vmcb *own;          /* (i) */
	struct svm_nested *nested; /* [o] svm/nested.c; NULL: it has never run one */
	struct svm_asked asked;    /* [o] */
	struct svm_exits exits;    /* [o] */
	u64 tpr;                   /* [o] bits of V_TPR that are the local APIC's: all, or none */
	hpa_t root;                /* [o] nested page tables: with or without the APIC's page */
	u32 asid_cpu;              /* [o] processor that gave the ASID */
	u64 asid_generation;       /* [o] 0: none yet */
	bool flush;                /* [o] before the next entry */
	/* Two bits, for one test of both at svm_intr_blocked(). */
	bool virq : 1;      /* [o] V_IRQ carries an injected interrupt, not a window */
	bool in_nested : 1; /* [o] a guest of the guest runs, from the second VMCB */
	bool nmi_masked;    /* [o] an NMI handler runs, until its IRET */
	u8 step;            /* [o] enum svm_step */
	u64 avic_bits;    /* [o] int_ctl: how AVIC is enabled, if at all; not while stepping IRET */
	bool shadow_lost; /* [o] VMRUN has been seen to forget the interrupt shadow */
	bool shadow_window; /* [o] this entry has no window because of that; put back behind it */
	bool fast;          /* [o] nothing is under way that the next exit has to look after */
	bool nrips;         /* (i) the processor gives the next RIP */
	bool step_tf;       /* [o] the guest's own RFLAGS.TF while stepping */
	bool stepped; /* [o] such an instruction has been executed: svm/debug.c, with these: */
	bool debug_syscall; /* [o] SFMASK is without TF for the time of the step */
	u64 debug_sfmask;   /* [o] what it was */
	bool debug_sysret;  /* [o] R11 has TF for the time of the step */
	u64 debug_r11;      /* [o] what it was */
	u32 exceptions;     /* [o] those that are intercepted while nothing is stepped over */
	u32 traps;          /* [o] more of intercept_misc1 */
};

/* What the processor has, found by svm_probe(). Constant afterwards. */
struct svm_features {
	u32 edx; /* CPUID 8000_000A */
	u32 ecx;
	bool stale_running; /* AVIC's erratum: svm/avic.c */
	u32 asids;
	u32 revision;
};
extern struct svm_features svm_features;

static inline bool svm_has(u32 feature)
{
	return svm_features.edx & feature;
}

static inline struct svm_vcpu *svm_of(struct vcpu *vcpu)
{
	return vcpu->arch;
}

static inline struct vmcb *svm_vmcb(struct vcpu *vcpu)
{
	return svm_of(vcpu)->vmcb;
}

/* The VMCB field group changed: the processor must not use its cached copy (SVM_CLEAN_*). */
static inline void svm_dirty(struct vcpu *vcpu, u32 group)
{
	svm_vmcb(vcpu)->control.clean_bits &= ~group;
}

/* svm/vmcb.c */
bool svm_vcpu_init(struct vcpu *vcpu);
void svm_vcpu_exit(struct vcpu *vcpu);
void svm_reset(struct vcpu *vcpu, bool init);
void svm_get_state(struct vcpu *vcpu, struct vcpu_state *state);
void svm_set_state(struct vcpu *vcpu, const struct vcpu_state *state);

/* svm/nested.c */
bool svm_nested_enter(struct vcpu *vcpu, void *block);
void svm_nested_leave(struct vcpu *vcpu, enum nested_why why);
/* Free what it has. */
void svm_nested_exit(struct vcpu *vcpu);
/* An event of this class is for the guest hypervisor and not for its guest, which runs. */
bool svm_nested_gets(struct vcpu *vcpu, enum intr_class class);
/* Why that is not so now, INTR_BLOCK_NESTED: it is. */
enum intr_block svm_nested_blocked(struct vcpu *vcpu, enum intr_class class);
/* Nothing that the guest's guest does lets its hypervisor take an interrupt: there is nothing to wait for. */
bool svm_nested_has_no_window(struct vcpu *vcpu);

/* svm/maps.c */
/* Index of an MSR's read bit in the map, that of writes is the next; -1: the map does not cover it. */
s32 svm_msrpm_bit(u32 msr);
bool svm_vm_init(struct vm *vm);
void svm_vm_exit(struct vm *vm);
void svm_msr_intercept(struct vm *vm, u32 msr, bool read, bool write);

/* svm/run.c */
void svm_vcpu_load(struct vcpu *vcpu, struct cpu *cpu);
void svm_vcpu_put(struct vcpu *vcpu);
void svm_host_irqs_block(void);
void svm_host_irqs_unblock(void);
void svm_run(struct vcpu *vcpu, bool force_immediate_exit);
void svm_flush(struct vcpu *vcpu);

/* VMEXIT_INVALID. QEMU 7.2 stores its low half only (docs/emulators.md). */
static inline bool svm_exit_is_invalid(u64 exit_code)
{
	return (u32)exit_code == (u32)SVM_EXIT_INVALID;
}

/*
 * svm/fast.c: called at each exit, with GIF clear and the guest's FS, GS and TR still loaded; true: the
 * exit is completed, enter again. `vcpu`: struct vcpu.
 */
bool svm_fast_exit(void *vcpu);

/* svm/avic.c */
extern const struct accel_ops svm_avic_ops;
/* Free what acceleration has of a VM, if anything. */
void svm_avic_vm_exit(struct svm_vm *svm);
/* Exits of AVIC (svm/avic_exit.c), decoded into vcpu->exit. */
void svm_avic_ipi_exit(struct vcpu *vcpu);
void svm_avic_noaccel_exit(struct vcpu *vcpu);

/* svm/debug.c */
bool svm_debug(struct vcpu *vcpu, enum backend_debug what);
/* Without our step, too, there would be a trap behind the stepped instruction: the guest's own. */
static inline bool svm_debug_own_trap(const struct svm_vcpu *svm)
{
	if (svm->debug_sysret)
		return svm->debug_r11 & RFLAGS_TF;
	return svm->step_tf && !(svm->debug_syscall && svm->debug_sfmask & RFLAGS_TF);
}

/* svm/floor.c */
u64 svm_floor(struct cpu *cpu, u64 rounds);

/* svm/exit.c: VMCB exit fields to vcpu->exit and vcpu->intr.again. */
void svm_decode_exit(struct vcpu *vcpu);
void svm_emulating(struct vcpu *vcpu);
/* Of that the event whose delivery the exit interrupted, and what has become of V_IRQ. */
void svm_decode_event(struct vcpu *vcpu);

/* svm/intr.c */
enum intr_block svm_intr_blocked(struct vcpu *vcpu, enum intr_class class);
void svm_intr_inject(struct vcpu *vcpu, const struct intr_event *event);
bool svm_intr_retract(struct vcpu *vcpu);
void svm_intr_window(struct vcpu *vcpu, enum intr_class class, bool open);
bool svm_intr_force(struct vcpu *vcpu, enum intr_class class);
void svm_intr_tpr_exit(struct vcpu *vcpu, bool on);
void svm_pause_exits(struct vcpu *vcpu, bool on);
/* An interrupt injected as V_IRQ: what has become of it after an exit; move it to EVENTINJ. */
void svm_intr_virq_exit(struct vcpu *vcpu);
void svm_intr_virq_to_event(struct vcpu *vcpu);
/* AVIC as in `avic_bits`, or not at all while IRET is stepped over. */
void svm_intr_apply_avic(struct vcpu *vcpu);
/* IRET exits if NMIs are masked: for the VMCB that is in use from now on. */
void svm_intr_apply_masked(struct vcpu *vcpu);
/* Undo a step that is under way: an event comes first. */
void svm_intr_cancel_step(struct vcpu *vcpu);
void svm_intr_start_step(struct vcpu *vcpu, enum svm_step step);
/* Exits of the single step and of IRET: true if they were ours and the guest does not see them. */
bool svm_intr_step_exit(struct vcpu *vcpu);
void svm_intr_iret_exit(struct vcpu *vcpu);
/*
 * Around an entry in the interrupt shadow: some processors forget it (docs/emulators.md). exit: as long
 * as vcpu->regs has the state of the entry.
 */
void svm_intr_shadow_enter(struct vcpu *vcpu);
void svm_intr_shadow_exit(struct vcpu *vcpu);
void svm_intr_insn_exit(struct vcpu *vcpu);

#endif
