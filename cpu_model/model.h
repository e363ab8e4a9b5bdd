/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A processor with SVM, in software: what port/posix/insn.h executes on. It follows APM volume 2,
 * "Secure Virtual Machine", and not any emulator. Guests are scripts (guest.h). One with VMX shares what is
 * not SVM's own: vmx.h, and virt.h on where the two part.
 *
 * What tests lean on:
 *  - only what a processor really keeps is kept: the VMCB is read at VMRUN and written at #VMEXIT,
 *    FS, GS, TR, LDTR and the system-call registers move by VMLOAD and VMSAVE only;
 *  - translations are cached by ASID until a flush, so that a missing flush uses a stale one;
 *  - next-RIP save, decode assist, clean bits and flush-by-ASID exist only when switched on; with
 *    clean bits on, a field whose bit says "unchanged" is really not read again.
 *
 * One struct model_cpu belongs to the thread or coroutine that is that processor; others touch only
 * its IRR, its pending NMI, and what wakes it.
 */
#ifndef CPU_MODEL_MODEL_H
#define CPU_MODEL_MODEL_H

#include "core/cpu.h"
#include "cpu_model/avic.h"
#include "cpu_model/vapic.h"
#include "postern/sync.h"
#include "x86/regs.h"
#include "x86/svm.h"

enum model_feature {
	MODEL_NRIPS = BIT(0),
	MODEL_DECODE_ASSIST = BIT(1),
	MODEL_CLEAN_BITS = BIT(2),
	MODEL_FLUSH_ASID = BIT(3),
	MODEL_XSAVE = BIT(4),
	MODEL_NO_SVM = BIT(5), /* processor without SVM */
	MODEL_NO_NPT = BIT(6),
	MODEL_SVM_LOCKED = BIT(7), /* firmware has disabled and locked SVM */
	MODEL_PAUSE_FILTER = BIT(8),
	MODEL_FORGETS_SHADOW = BIT(9), /* VMRUN does not load the interrupt shadow, as QEMU 7.2 */
	MODEL_AVIC = BIT(10),
	MODEL_X2AVIC = BIT(11),
	MODEL_X2AVIC_EXT = BIT(12),   /* physical table of up to 4096 entries */
	MODEL_INT3_IS_INTN = BIT(14), /* INT3 exits by INT n's intercept, not #BP's, as QEMU 7.2 */
	MODEL_FAMILY_17H = BIT(13),   /* AVIC with the erratum on IsRunning */
	/* Intel's: VMX in the place of SVM. NO_NPT: no EPT. */
	MODEL_INTEL = BIT(15),
	MODEL_NO_VMX = BIT(16),
	MODEL_VMX_LOCKED = BIT(17), /* firmware has disabled and locked VMX */
	MODEL_NO_UNRESTRICTED = BIT(18),
	MODEL_PREEMPTION_TIMER = BIT(19),
	/* APIC-access page, x2APIC and APIC-register virtualization, virtual-interrupt delivery. */
	MODEL_APICV = BIT(20),
	MODEL_POSTED = BIT(21), /* posted-interrupt processing */
	MODEL_IPIV = BIT(22),   /* IPI virtualization, and tertiary controls for it */
	MODEL_XAPIC = BIT(23),  /* the physical APICs are in xAPIC mode: NDST of a descriptor */
};

/* The processors that --cpu names. */
#define MODEL_BARCELONA       0
#define MODEL_ROME            (MODEL_NRIPS | MODEL_AVIC | MODEL_FAMILY_17H)
#define MODEL_MILAN           (MODEL_NRIPS | MODEL_AVIC)
#define MODEL_GENOA           (MODEL_NRIPS | MODEL_AVIC | MODEL_X2AVIC)
#define MODEL_WESTMERE        (MODEL_INTEL | MODEL_PREEMPTION_TIMER)
#define MODEL_BROADWELL       (MODEL_WESTMERE | MODEL_APICV | MODEL_POSTED)
#define MODEL_SAPPHIRE_RAPIDS (MODEL_BROADWELL | MODEL_IPIV)

#define MODEL_ASIDS    16
#define MODEL_VPIDS    520
#define MODEL_TLB_SIZE 512 /* direct mapped by page and tag */
#define MODEL_FPU_SIZE 1024

struct model_tlb_entry {
	u64 tag;  /* whose translation (virt.h), 0: empty */
	u64 page; /* guest-physical page number */
	u64 frame;
	bool write, exec, large;
	bool apic; /* VMX: the frame was the APIC-access page */
};

/* What the guest's registers are while it runs. */
struct model_regs {
	u64 gpr[GPR_COUNT];
	u64 rip, rflags;
	u64 cr0, cr2, cr3, cr4, efer, dr6, dr7, pat;
	u8 cpl;
	bool shadow; /* STI or MOV SS has just been executed */
	struct x86_segment es, cs, ss, ds, gdtr, idtr;
};

/* What VMLOAD and VMSAVE move. */
struct model_hidden {
	struct x86_segment fs, gs, ldtr, tr;
	u64 star, lstar, cstar, sfmask, kernel_gs_base;
	u64 sysenter_cs, sysenter_esp, sysenter_eip;
};

struct model_guest;
struct model_virt;

struct model_vmcs;

/* cpu_model/vpid.c */
struct model_vpid {
	u64 used;  /* [a] processors that may have linear translations of it */
	u64 stale; /* [a] those of them whose may be old */
	/* By the processor that runs it: at the last exit. */
	u64 cr0, cr3, cr4, efer;
	bool ran;
};

/* VMX, cpu_model/vmx.h. */
struct model_vmx {
	bool on;                    /* in VMX operation */
	u64 vmxon;                  /* the region */
	u64 cr4, feature_control;   /* the host's */
	struct model_vmcs *current; /* NULL: none */
	u32 active;                 /* VMCSs that are active here */
	u32 host_nmis;              /* NMIs that exits have handed to the host */
	/* Of the entry under way */
	u32 pin, primary, secondary, exit_controls;
	u64 tertiary;
	u64 eptp;
	u16 vpid;
	u32 reason;       /* of its exit */
	bool mov_ss;      /* regs.shadow is MOV SS's */
	bool nmi_blocked; /* virtual-NMI blocking */
	bool mtf_pending;
	u64 timer_start; /* TSC at which the preemption timer was loaded */
	u32 timer_value;
	u64 apic_access; /* frame of the APIC-access page, ~0: none */
	u64 walked;      /* CR3 whose tables have been read, ~0: none */
};

struct model_cpu {
	struct cpu *cpu; /* (i) */
	u32 index;       /* (i) also its APIC ID */

	/* Host state */
	u64 efer, vm_cr, hsave_pa, xcr0, pat, tsc_aux;
	u64 dr[4];
	bool gif, intr_flag, in_handler;
	u8 fpu[MODEL_FPU_SIZE] __aligned(64);
	struct model_hidden hidden;

	/* Physical APIC */
	struct atomic64 irr[4];
	struct atomic32 nmi;
	u8 in_service[256]; /* stack of vectors */
	u32 in_service_depth;
	u64 timer_deadline;
	struct atomic32 asleep; /* threads: waits for a wake-up */

	/* Guest under VMRUN */
	struct model_guest *guest; /* NULL outside VMRUN */
	struct model_regs regs;
	struct vmcb_control control; /* as loaded */
	struct vmcb *vmcb;           /* where it came from */
	u64 exit_code, exit_info_1, exit_info_2, exit_int_info;
	u64 next_rip; /* of the instruction that exits, 0: none */
	u64 v_tpr;
	bool v_irq;
	struct model_vmx vmx;

	/* AVIC */
	struct avic avic;            /* of the guest under VMRUN */
	struct atomic32 doorbell;    /* [any processor] one has come and has not been looked at */
	u64 xavic_table, xavic_page; /* of the guest that last had its APIC page redirected */

	struct vapic vapic; /* APIC virtualization, of the guest in VMX non-root operation */

	/* Copy for clean bits: the control block as last run here. */
	struct vmcb cached;

	struct model_tlb_entry tlb[MODEL_TLB_SIZE];
	u32 pause_left;       /* PAUSEs before the filter lets one exit */
	bool trap_pending;    /* single step */
	bool sti_shadow;      /* the instruction just executed starts a shadow */
	bool halted;          /* the guest has stopped in HLT, and no exit */
	u32 break_deliveries; /* test: so many injections end in EXITINTINFO */
	u32 stale_vectoring; /* test: IDT-vectoring information of a virtual interrupt cut short, as Bochs 2.7; 0: the right one */
	u32 early_timers;    /* test: so many times the preemption timer comes, whatever it has */
	/* Counted for tests */
	u64 vmruns, tlb_flushes, tlb_stale_uses, interrupts;
	u64 notified; /* posted-interrupt processing instead of an exit */
};

struct model {
	u32 features;
	const struct model_virt *virt; /* (i) SVM or VMX */
	u32 avic_switches;             /* enum avic_switch */
	u32 vapic_switches;            /* enum vapic_switch */
	u32 cpu_count;
	/*
	 * Tests: between two instructions of a guest, in it or behind its exit; NULL: nobody cares. On the
	 * guest's processor.
	 */
	void (*between)(struct model_cpu *cpu);
	u64 apic_frame; /* what a guest's APIC page is mapped to: nobody may access it. 0: unknown */
	struct model_cpu cpu[MAX_CPUS];
	struct model_vpid vpid[MODEL_VPIDS];
};

/* --- the machine's side (port/posix) --- */
struct model *model(void);
struct model_cpu *model_current(void);
/* The time stamp counter, without the side effects of asking the port. */
u64 model_time(void);
/* The memory that host-physical addresses name. */
struct avic_memory model_memory(void);
/* The guest has executed an instruction: time passes, the turn may go to another processor. */
void model_elapse(struct model_cpu *cpu);
/* `target` has something new to look at. */
void model_wake(struct model_cpu *target);
/* The processor looks at `addr` by itself. No step of the hypervisor's, but the explorer's business. */
void model_look(const volatile void *addr);

static inline bool model_has(u32 feature)
{
	return model()->features & feature;
}

/* --- cpu.c --- */
void model_cpu_init(struct model_cpu *cpu, struct cpu *host, u32 index);

/* --- apic.c --- */
void model_apic_raise(struct model_cpu *cpu, u8 vector);
/* Highest pending vector, -1: none. Looks at the timer's deadline too. */
int model_apic_pending(struct model_cpu *cpu);
/* Take the vector, which is the highest pending one, into service. */
void model_apic_ack(struct model_cpu *cpu, u8 vector);
/* The host's handler of the vector that is in service. */
void model_apic_handle(struct model_cpu *cpu, u8 vector);
/* Take physical interrupts if GIF and IF allow it: calls cpu_handle_interrupt(). */
void model_take_interrupts(struct model_cpu *cpu);

/* --- vmrun_checks.c: pure --- */
/* NULL, or what makes VMRUN refuse the control block with VMEXIT_INVALID. */
const char *model_vmrun_check(const struct vmcb *vmcb, u64 host_efer, u32 features,
                              const struct avic_memory *memory);

/* --- avic_cpu.c: AVIC as a part of this processor --- */
/* Largest index of the physical table in x2AVIC mode; 0: no x2AVIC. */
u32 model_avic_max_index(u32 features);
/* VMRUN, of a control block with AVIC enabled or not. */
void model_avic_enter(struct model_cpu *cpu);
/* The doorbell register: written by the hypervisor, or in effect by another processor. */
void model_avic_doorbell(u64 value);
/* At an instruction boundary: false, the guest leaves. */
bool model_avic_take_interrupt(struct model_cpu *cpu);
/* Is the access one of the APIC's registers, rather than of memory? */
bool model_avic_has_page(struct model_cpu *cpu, gpa_t gpa);
bool model_avic_has_msr(const struct model_cpu *cpu, u32 msr, bool write);

/* --- intercept.c: pure functions over the control area --- */
bool model_intercepts(const struct vmcb_control *control, u64 exit_code);
bool model_intercepts_msr(const struct vmcb_control *control, u32 msr, bool write);
bool model_intercepts_io(const struct vmcb_control *control, u16 port, u32 size);

/* --- tlb.c, nested.c --- */
enum model_access {
	MODEL_READ,
	MODEL_WRITE,
	MODEL_EXEC
};
struct model_walk {
	bool ok;
	u64 frame; /* host page number */
	bool write, exec;
	bool large; /* VMX: by an entry for more than 4 KiB */
	bool apic;  /* VMX: the frame is the APIC-access page */
	u32 error;  /* SVM: page-fault error code bits 4:0; VMX: see ept.c */
};
struct model_tlb_entry *model_tlb_find(struct model_cpu *cpu, u64 tag, u64 page);
void model_tlb_fill(struct model_cpu *cpu, u64 tag, u64 page, const struct model_walk *walk);
void model_tlb_flush_all(struct model_cpu *cpu);
void model_tlb_flush(struct model_cpu *cpu, u64 tag);
/* Walk the nested tables for one access; sets accessed and dirty bits as the processor does. */
struct model_walk model_nested_walk(hpa_t root, gpa_t gpa, enum model_access access);
/*
 * Host address of a guest-physical byte for this access, through the TLB. NULL: the guest leaves with the
 * nested page fault.
 */
u8 *model_translate(struct model_cpu *cpu, gpa_t gpa, enum model_access access);

/* --- inject.c --- */
/* Vector an event through the guest's IDT. false: shutdown, the guest leaves. */
bool model_deliver(struct model_cpu *cpu, u8 vector, bool exception, bool has_error, u32 error);
/* An exception that the guest's instruction raised. false: the guest leaves. */
bool model_raise(struct model_cpu *cpu, u8 vector, bool has_error, u32 error);

/* --- run.c --- */
/* The guest of this VMCB or VMCS, with the registers that entry has loaded, until it leaves. */
void model_run_guest(struct model_cpu *cpu, hpa_t structure);

/* --- vmrun.c --- */
void model_vmrun(struct model_cpu *cpu, hpa_t vmcb);
void model_vmload(struct model_cpu *cpu, hpa_t vmcb);
void model_vmsave(struct model_cpu *cpu, hpa_t vmcb);

/* --- msr.c --- */
/* Registers that the guest reaches when its access is not intercepted. false: #GP. */
bool model_guest_rdmsr(struct model_cpu *cpu, u32 msr, u64 *value);
bool model_guest_wrmsr(struct model_cpu *cpu, u32 msr, u64 value);

/* --- cpuid.c --- */
void model_cpuid(struct model_cpu *cpu, u32 leaf, u32 subleaf, struct cpuid_regs *r);

#endif
