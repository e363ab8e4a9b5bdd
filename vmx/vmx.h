/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Private to vmx/: state of the VMX back end. Tags as in core/vcpu.h.
 *
 * A VMCS is read and written by the processor that has it loaded, and slowly; so what is in it is kept here
 * too, in struct vmx_vmcs. Controls: `want` is what the next entry is to have, `have` what the VMCS has;
 * vmx_sync_controls() writes what differs. Guest state: `state`, read when somebody asks and written
 * before the entry if somebody has changed it.
 */
#ifndef VMX_VMX_H
#define VMX_VMX_H

#include "core/machine.h"
#include "insn.h"
#include "postern/port.h"
#include "x86/vmx.h"
#include "x86/vmx_apic.h"

/* Per processor (cpu->arch). */
struct vmx_cpu {
	u8 *vmxon; /* (i) the processor's own region */
	u32 ndst;  /* (i) what it is called in descriptors */
	struct spinlock sleepers_lock;
	struct vcpu *sleepers; /* [sleepers_lock] to be woken by CPU_VECTOR_WAKEUP: vmx/posted.c */
};

/* A vCPU's place on that list. */
struct vmx_sleeper {
	struct vmx_cpu *on; /* [o] whose list; NULL: none */
	struct vcpu *next;  /* [on->sleepers_lock] */
	struct vcpu **link; /* [on->sleepers_lock] what points to it */
};

/* MSR bitmaps of a VM. Without the VM's acceleration, or without IPI virtualization, there are fewer. */
enum vmx_bitmap {
	VMX_BITMAP_PLAIN,
	VMX_BITMAP_X2APIC, /* while x2APIC mode is virtualized */
	VMX_BITMAP_IPIV,   /* and IPIs, too */
	VMX_BITMAPS
};

/* Per VM (vm->arch). */
struct vmx_vm {
	u8 *msr_bitmap[VMX_BITMAPS]; /* [all vCPUs outside] NULL: there is none */
	/* IPI virtualization's PID-pointer table, by APIC ID; NULL: none. */
	struct atomic64 *pi_table; /* (i) [a] entries: written by who rebuilds the APIC-ID map */
	u32 last_pi_index;         /* (i) */
};
static inline u64 vmx_ipiv_table_size(const struct vmx_vm *vmx)
{
	return (vmx->last_pi_index + 1ull) * sizeof(struct atomic64);
}

/*
 * What an entry is controlled by: X(name, VMCS field, type). Each is in `want` and in `have`.
 */
#define VMX_EVENT_CONTROLS(X)                                                                      \
	X(primary, PRIMARY, u32)                                                                   \
	X(entry_info, ENTRY_INFO, u32)                                                             \
	X(entry_error, ENTRY_ERROR, u32)                                                           \
	X(entry_length, ENTRY_LENGTH, u32)                                                         \
	X(tpr_threshold, TPR_THRESHOLD, u32)
#define VMX_CONTROLS(X)                                                                            \
	VMX_EVENT_CONTROLS(X)                                                                      \
	X(pin, PIN, u32)                                                                           \
	X(secondary, SECONDARY, u32)                                                               \
	X(exceptions, EXCEPTIONS, u32)                                                             \
	X(interruptibility, GUEST_INTERRUPTIBILITY, u32)                                           \
	X(tsc_offset, TSC_OFFSET, u64)                                                             \
	X(eptp, EPTP, u64)                                                                         \
	X(rip, GUEST_RIP, u64)                                                                     \
	X(rsp, GUEST_RSP, u64)                                                                     \
	X(rflags, GUEST_RFLAGS, u64)

struct vmx_controls {
#define X(name, field, type) type name;
	VMX_CONTROLS(X)
#undef X
	u32 timer; /* of `have` alone: vmx/timer.c */
};

/*
 * Exceptions that exit whether a debugger wants any or not. #DB and #AC are reflected, not left to the guest:
 * delivering them can raise them again without end, inside the processor, where no interrupt gets through. #MC
 * belongs to the host.
 */
#define VMX_EXCEPTIONS (BIT(VECTOR_DB) | BIT(VECTOR_AC) | BIT(VECTOR_MC))

/* What vmx/apicv.c tells the processor, and `changed`: it does not know yet. */
struct vmx_apicv {
	bool changed;
	bool x2apic;
	u64 eoi_exit[EOI_EXIT_WORDS];
};

/* MSRs that the guest writes by itself and no VMCS switches: moved when the vCPU is loaded. */
#define VMX_GUEST_MSRS 5

/* A VMCS, and what is known of it. vmx/vmcs.c. */
struct vmx_vmcs {
	u8 *region;               /* (i) */
	u16 vpid;                 /* (i) not 0, of this VMCS alone */
	bool initialised;         /* [o] it has its constants */
	bool active;              /* [o] on the processor where the vCPU is loaded */
	bool launched;            /* [o] VMRESUME, not VMLAUNCH */
	bool state_valid;         /* [o] `state` is what the guest has */
	bool state_dirty;         /* [o] the VMCS is still to get it */
	bool forget_trap;         /* [o] a debug trap that is pending comes no more */
	bool load_pdptes;         /* [o] from guest memory: CR3, or what it means, was written */
	struct vmx_controls want; /* [o] */
	struct vmx_controls have; /* [o] */
	struct vcpu_state state;  /* [o] */
};

/* What a guest hypervisor asked for, as far as it is offered (vmx/nested.h). All 0 while none of its guests runs. */
struct vmx_asked {
	u32 pin, primary, secondary, exceptions;
	u64 cr0_mask, cr0_shadow, cr4_mask, cr4_shadow;
	u64 tsc_offset;
};

struct vmx_nested;

/* Per vCPU (vcpu->arch). */
struct vmx_vcpu {
	struct vmx_vmcs *vmcs;     /* [o] in use; the current one while the vCPU is loaded */
	struct vmx_vmcs own;       /* [o] */
	struct vmx_vmcs *second;   /* [o] that of a guest of the guest; NULL: there has been none */
	struct vmx_nested *nested; /* [o] what belongs to that */
	struct vmx_asked asked;    /* [o] */
	bool flush;                /* [o] before the next entry */
	struct cpu *flushed_on;    /* [o] where it ran last: elsewhere translations may be old */
	bool tpr_exit;             /* [o] the guest is to exit when its task priority drops */
	bool fast;                 /* [o] exits of this entry may be completed by vmx/fast.c */
	u32 deaf_since;            /* [o] TSC 31:0 */
	u32 deaf_ticks; /* [o] physical interrupts may be missed for so long; 0: at no time */
	u32 deaf_alone; /* [o] that, if the preemption timer was loaded for nothing else */
	u32 deaf_most;  /* [o] what it is at most; 0: not known yet */
	u64 msr[VMX_GUEST_MSRS]; /* [o] while not loaded */
	struct vmx_apicv apicv;  /* [o] of its own VMCS */
	struct vmx_sleeper sleeper;
	u32 traps;    /* [o] exceptions that a debugger wants */
	bool steps;   /* [o] a debugger's step is under way */
	bool stepped; /* [o] a debugger's step has executed an instruction */
	u64 dr6, cr2; /* [o] while not loaded */
};

/* Of the controls: what must be 1, and what may be. Found by vmx_probe(), constant afterwards. */
struct vmx_capability {
	u32 must, may;
};
struct vmx_features {
	struct vmx_capability pin, primary, secondary, exit, entry;
	u64 tertiary;
	u64 ept_vpid;
	u64 basic;
	u64 misc;
	u64 cr0_must, cr0_may, cr4_must, cr4_may;
	u64 iommu, iommu_more; /* the IOMMU's capabilities; 0: there is none */
};
extern struct vmx_features vmx_features;

static inline struct vmx_vcpu *vmx_of(struct vcpu *vcpu)
{
	return vcpu->arch;
}

/* A guest of the guest runs. */
static inline bool vmx_in_nested(const struct vmx_vcpu *vmx)
{
	return vmx->vmcs != &vmx->own;
}

/* vmx/capability.c: false, *why names what is missing. */
bool vmx_find_features(const char **why);
static inline bool vmx_may(const struct vmx_capability *capability, u32 bits)
{
	return (capability->may & bits) == bits;
}

/*
 * The processor can collect posted interrupts, and may: --set posted. What goes with them, interrupts that exits
 * acknowledge, holds for all VMCSs.
 */
static inline bool vmx_posted_usable(void)
{
	return port_machine()->posted && vmx_may(&vmx_features.pin, VMX_PIN_POSTED) &&
	       vmx_may(&vmx_features.exit, VMX_EXIT_CTL_ACK_INTR);
}

/* vmx/vmcs.c. Fields of the current VMCS; there is none that does not exist. */
__noreturn void vmcs_fail(u32 field);
/*
 * One of those that a processor may lack and be helped out with (x86/insn_slots.h). They are named where they are
 * used, so no other access is longer for this.
 */
static __inlined bool vmcs_is_modelled(u32 field)
{
	return __builtin_constant_p(field) &&
	       (field == VMCS_PI_VECTOR || field == VMCS_PI_DESC || field == VMCS_TERTIARY ||
	        field == VMCS_LAST_PI_INDEX || field == VMCS_PI_TABLE);
}
static __inlined u64 vmcs_read(u32 field)
{
	u64 value = 0;

	if (!(vmcs_is_modelled(field) ? insn_vmread_modelled(field, &value)
	                              : insn_vmread(field, &value)))
		vmcs_fail(field);
	return value;
}
static __inlined void vmcs_write(u32 field, u64 value)
{
	if (!(vmcs_is_modelled(field) ? insn_vmwrite_modelled(field, value)
	                              : insn_vmwrite(field, value)))
		vmcs_fail(field);
}
/* `want` with what must be 1, without what may not. */
u32 vmx_allowed(const struct vmx_capability *capability, u32 want);
/* A VMCS region that holds nothing yet becomes the current VMCS; it is given back to memory. */
void vmx_use_region(u8 *region);
void vmx_release_region(u8 *region);
/* The host-state area: of this processor. */
void vmx_write_host(void);
/* Memory for a VMCS; false: there is none. */
bool vmx_vmcs_init(struct vmx_vmcs *vmcs, u16 vpid);
/* Not active anywhere. */
void vmx_vmcs_exit(struct vmx_vmcs *vmcs);
/* `vmcs`, which has its controls, is the one in use and the current one from now on. */
void vmx_vmcs_use(struct vcpu *vcpu, struct vmx_vmcs *vmcs);
/* As every VMCS of the vCPU has them, with nothing injected and no window. */
void vmx_base_controls(struct vcpu *vcpu, struct vmx_controls *want);
bool vmx_vcpu_init(struct vcpu *vcpu);
void vmx_vcpu_exit(struct vcpu *vcpu);
void vmx_vcpu_load(struct vcpu *vcpu, struct cpu *cpu);
void vmx_vcpu_put(struct vcpu *vcpu);
void vmx_sync_controls(struct vmx_vcpu *vmx);
static inline u64 vmx_eptp(hpa_t root)
{
	return root.v | EPTP_WB | EPTP_4_LEVELS;
}
/* Those that an injection and windows are made of, alone. */
void vmx_sync_events(struct vmx_vcpu *vmx);

/* vmx/state.c */
void vmx_reset(struct vcpu *vcpu, bool init);
void vmx_get_state(struct vcpu *vcpu, struct vcpu_state *state);
void vmx_set_state(struct vcpu *vcpu, const struct vcpu_state *state);
/* Into the VMCS, or out of it. The VMCS is loaded. */
void vmx_store_state(struct vcpu *vcpu);
void vmx_fetch_state(struct vcpu *vcpu);
/* A segment's attributes in a VMCS, and as struct x86_segment has them. */
u32 vmx_rights_of(u16 attr);
u16 vmx_attr_of(u32 rights);
/* The guest is not in real mode. */
bool vmx_is_protected(struct vcpu *vcpu);

/* vmx/maps.c */
/* An MSR's bit in a bitmap; -1: it has none. */
s32 vmx_msr_bit(u32 msr, bool write);
bool vmx_vm_init(struct vm *vm);
void vmx_vm_exit(struct vm *vm);
void vmx_msr_intercept(struct vm *vm, u32 msr, bool read, bool write);
/* VMX_BITMAP_X2APIC, and VMX_BITMAP_IPIV, each from the one before. false: out of memory. */
bool vmx_create_x2apic_bitmap(struct vm *vm);
bool vmx_create_ipiv_bitmap(struct vm *vm);

/* vmx/run.c */
void vmx_host_irqs_block(void);
void vmx_host_irqs_unblock(void);
void vmx_run(struct vcpu *vcpu, bool force_immediate_exit);
void vmx_flush(struct vcpu *vcpu);
/* The valid bit is cleared by an exit, not by an entry that has failed. */
static inline void vmx_note_injection(struct vmx_vcpu *vmx)
{
	struct vmx_vmcs *vmcs = vmx->vmcs;

	vmcs->have.entry_info &= ~VMX_EVENT_VALID;
	vmcs->want.entry_info = vmcs->have.entry_info;
}

/* vmx/fast.c: an exit, interrupts blocked. true: it is completed, enter again. `context`: the vCPU. */
bool vmx_fast_exit(void *context);

/* vmx/exit.c: VMCS exit fields to vcpu->exit and vcpu->intr.again. */
void vmx_decode_exit(struct vcpu *vcpu, u32 reason);
void vmx_emulating(struct vcpu *vcpu);

/* vmx/intr.c */
enum intr_block vmx_intr_blocked(struct vcpu *vcpu, enum intr_class class);
void vmx_intr_inject(struct vcpu *vcpu, const struct intr_event *event);
bool vmx_intr_retract(struct vcpu *vcpu);
void vmx_intr_window(struct vcpu *vcpu, enum intr_class class, bool open);
bool vmx_intr_force(struct vcpu *vcpu, enum intr_class class);
void vmx_intr_tpr_exit(struct vcpu *vcpu, bool on);
void vmx_pause_exits(struct vcpu *vcpu, bool on);
/* What the entry's event, if there is one, adds to RIP before it pushes it. */
u32 vmx_intr_length(struct vcpu *vcpu);
/* Before an entry: the threshold that goes with vmx_intr_tpr_exit(). */
void vmx_intr_set_threshold(struct vcpu *vcpu);

/* vmx/nested.c, for the rest of vmx/; who begins such a guest: vmx/nested.h. */
bool vmx_nested_enter(struct vcpu *vcpu, void *block);
void vmx_nested_leave(struct vcpu *vcpu, enum nested_why why);
/* Free what it has. */
void vmx_nested_exit(struct vcpu *vcpu);
/* While such a guest runs: vmx_decode_exit() then. */
void vmx_nested_decode(struct vcpu *vcpu, u32 reason);
/* An event of this class is for the guest hypervisor and not for its guest, which runs. */
bool vmx_nested_gets(struct vcpu *vcpu, enum intr_class class);
/* Why that is not so now, INTR_BLOCK_NESTED: it is. */
enum intr_block vmx_nested_blocked(struct vcpu *vcpu, enum intr_class class);
/* Its guest has a task priority of its own: the threshold for that. false: it has not. */
bool vmx_nested_threshold(struct vmx_vcpu *vmx, u32 *threshold);

/* vmx/timer.c. What becomes of an exit for the preemption timer: */
enum vmx_timer_exit {
	VMX_TIMER_AGAIN, /* nothing: enter again, with the same force_immediate_exit */
	VMX_TIMER_DONE,  /* nothing but what the run loop does between any two entries */
	VMX_TIMER_SLOW,  /* EXIT_TIMER */
};
bool vmx_entry_timer(bool use);
static inline bool vmx_timer_is_usable(void)
{
	return vmx_may(&vmx_features.pin, VMX_PIN_PREEMPTION_TIMER);
}
/* What makes a timer that runs from `now` on end at `deadline`, or as late as it can. */
u32 vmx_timer_ticks(u64 now, u64 deadline);
#define VMX_TIMER_DISABLED 0xffffffffu
/* A VMCS that has nothing yet, the current one. */
void vmx_timer_reset(struct vmx_vcpu *vmx);
/* Before an entry, want.rflags being the guest's. */
void vmx_timer_load(struct vcpu *vcpu, bool force_immediate_exit);
/*
 * The same before another entry with these flags, nothing having been decided in between (vmx/fast.c). false: first
 * somebody has to look for physical interrupts.
 */
bool vmx_timer_reload(struct vcpu *vcpu, u64 rflags);
/* Behind an exit for it, interrupts blocked, vcpu->regs being the guest's. */
enum vmx_timer_exit vmx_timer_exited(struct vcpu *vcpu, bool force_immediate_exit);

/* vmx/apicv.c */
extern const struct accel_ops vmx_apicv_ops;
void vmx_apicv_store(struct vcpu *vcpu);
/*
 * Before an entry: what has changed of what the processor is to know, and what has come apart from the page, which
 * is known to nobody else for an accelerated vCPU. It is all in the vCPU's own VMCS.
 */
static inline void vmx_apicv_sync(struct vcpu *vcpu)
{
	const struct vmx_vcpu *vmx = vmx_of(vcpu);

	if (vmx->vmcs == &vmx->own && (vmx->apicv.changed | vcpu->lapic.status_changed |
	                               (atomic64_read(&vcpu->accel.apart.control) & PI_ON)))
		vmx_apicv_store(vcpu);
}

/* vmx/posted.c */
void vmx_posted_cpu_init(struct cpu *cpu);
void vmx_posted_vm_init(struct vm *vm);
void vmx_posted_running(struct vcpu *vcpu, struct cpu *cpu, bool sleeps);
void vmx_posted_wake(struct cpu *cpu);
/* Where posted interrupts are used; else vm_init has put a kick in its place. */
void vmx_posted_notify(struct vcpu *vcpu, struct cpu *cpu);
/* Of the pin-based controls, that of its own VMCS which goes with this mode. */
u32 vmx_posted_pin(enum accel_mode mode);
/* The fields that go with it. */
void vmx_posted_store(struct vcpu *vcpu);

/* vmx/ipiv.c */
/* The processor can send IPIs by itself, and may: --set ipiv. */
bool vmx_ipiv_usable(void);
/* The same, and this vCPU, which is accelerated, does: as its controls are to be computed. */
bool vmx_ipiv_active(const struct vcpu *vcpu);
bool vmx_ipiv_vm_init(struct vm *vm);
void vmx_ipiv_vm_exit(struct vmx_vm *vmx);
void vmx_ipiv_identify(struct vm *vm);
/* Of the primary controls, that which goes with the fields; and these. */
u32 vmx_ipiv_primary(void);
void vmx_ipiv_store(struct vcpu *vcpu);

/* vmx/vtd.c */
extern const struct assigned_ops vmx_vtd_ops;
/* The IOMMU can post, and may: --set iommu.posting; and the processors take it. */
bool vmx_vtd_can_post(void);
/* And a device is assigned to the VM. */
static inline bool vmx_vtd_posts_for(const struct vm *vm)
{
	return atomic32_read(&vm->assigned.count) && vmx_vtd_can_post();
}

/* vmx/apicv_exit.c */
void vmx_apicv_access_exit(struct vcpu *vcpu, u64 qualification);
void vmx_apicv_write_exit(struct vcpu *vcpu, u64 qualification);
void vmx_apicv_eoi_exit(struct vcpu *vcpu, u64 qualification);
/* The event whose delivery an exit has cut short, which the processor says is `info`. */
u32 vmx_apicv_cut_short(struct vcpu *vcpu, u32 info);

/* vmx/debug.c */
/* Exceptions that exit while nothing is stepped. */
static inline u32 vmx_exceptions(const struct vmx_vcpu *vmx)
{
	return VMX_EXCEPTIONS | vmx->traps | vmx->asked.exceptions;
}
bool vmx_debug(struct vcpu *vcpu, enum backend_debug what);
/* An exit of an entry that steps: was it the end of the step? */
void vmx_debug_exited(struct vmx_vcpu *vmx, u32 reason);

/* vmx/floor.c */
u64 vmx_floor(struct cpu *cpu, u64 rounds);

extern const struct mmu_format vmx_mmu_format;

#endif
