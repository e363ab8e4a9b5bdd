/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Posted interrupts and IPI virtualization, on a processor with VMX, APIC virtualization and without
 * these: see assist.h. SDM volume 3, "APIC Virtualization and Virtual Interrupts": "Posted-Interrupt
 * Processing", "IPI Virtualization", "APIC-Write Emulation"; "VM Entries"; "VM Exits".
 *
 * An exit that the modelled processor would not take ends in another entry before anything of the back end
 * runs, with interrupts blocked:
 *
 *  - an external interrupt with the notification vector, acknowledged by the exit: the descriptor is
 *    collected and RVI raised; the entry evaluates. One that arrives outside of the guest stays pending, or is an
 *    ordinary interrupt if the host opens interrupts;
 *  - a write of ICR: in xAPIC mode the processor's own APIC-write exit, in x2APIC mode WRMSR, which a copy of
 *    the back end's MSR bitmap makes exit. If the IPI is not virtualized the back end gets the APIC-write
 *    exit, which in x2APIC mode is made up here: exit-information fields are written, which processors
 *    let software do (IA32_VMX_MISC bit 29; those that do not are not helped). So are an intercepted #GP and
 *    the exit of the monitor trap flag behind a write that is completed here.
 *
 * All else remains the processor's: delivery, EOI, TPR, self-IPIs, reads of the page, RDMSR of ICR.
 *
 * The VMCS has what the back end has written, but from a native entry to the exit that is the back end's:
 *
 *  - the two controls that activate the features are off meanwhile. A processor without them keeps the bits,
 *    and refuses entry for them: so one that breaks a rule of the features is left to it to refuse;
 *  - the MSR bitmap's address is the copy's. The back end does not change a bitmap once a VM runs;
 *  - the preemption timer has what is left of it: the modelled processor's would have gone on counting.
 *
 * Fields that the processor lacks are kept here, by the region of the VMCS, as it goes to other processors and a
 * virtual processor may have two.
 *
 * An entry with RFLAGS.IF clear may be deaf to physical interrupts on some processors (docs/emulators.md), and the
 * back end, that had entered with IF set, has not bounded it. Here that is done by the preemption timer, if it is
 * in use: it comes early then, which back ends have to put up with anyway.
 */
#include "cpu_model/assist_kind.h"

#include "core/machine.h"
#include "cpu_model/vapic.h"
#include "insn.h"
#include "postern/port.h"
#include "postern/string.h"
#include "x86/msr.h"

#define CPUID_1_ECX_VMX     BIT(5)
#define CPUID_ADDRESS_SIZES 0x80000008u
#define MSR_ICR             (MSR_X2APIC_FIRST + APIC_ICR / VAPIC_STRIDE)
#define BITMAP_WRITES       0x800u /* of 0000_0000 to 0000_1FFF */
#define BLOCKED_SHADOW      (VMX_BLOCKED_STI | VMX_BLOCKED_SS)
#define APIC_VIRTUALIZATION                                                                        \
	(VMX_PROC2_APIC_ACCESS | VMX_PROC2_X2APIC | VMX_PROC2_APIC_REGISTER | VMX_PROC2_VID)
#define DEAF_MS 1

/* --- fields that the processor lacks --- */

#define FIELDS(X)                                                                                  \
	X(PI_VECTOR, 0xffff, posted)                                                               \
	X(PI_DESC, ~0ull, posted)                                                                  \
	X(TERTIARY, ~0ull, ipiv)                                                                   \
	X(LAST_PI_INDEX, 0xffff, ipiv)                                                             \
	X(PI_TABLE, ~0ull, ipiv)

enum {
#define X(name, mask, of) FIELD_##name,
	FIELDS(X)
#undef X
	FIELD_COUNT
};

/* Of one VMCS. */
struct fields {
	struct atomic64 region; /* [a] 0: of none yet; then the same for good */
	u64 value[FIELD_COUNT]; /* [the processor whose current VMCS it is] */
};

#define TABLE_SIZE 1024u /* a power of 2; twice as many as there can be VMCSs at a time */

/* Of one processor; used by that one alone. */
struct assist {
	struct vapic vapic;
	u8 *msr_map;
	u64 msr_map_of; /* what that is a copy of */

	/* Of the entry that is under way. */
	struct vcpu *vcpu;
	u64 *gpr;
	bool (*again)(void *);
	const struct fields *fields;
	u32 pin, primary, secondary, exit_controls; /* as the back end has them */
	u64 tertiary;
	u64 msr_bitmap; /* the same, if `by_msr` */
	bool by_msr;    /* WRMSR of ICR is IPI virtualization's */
	u64 timer_from; /* TSC at which the preemption timer began to count */
	u64 timer;      /* what the back end has loaded, if `timer_moved` */
	bool timer_moved;
	u64 deaf_since; /* TSC; 0: the last entry here was with RFLAGS.IF set */
	bool injected;  /* #GP, over these: */
	u64 entry_info, entry_error;
};

struct features {
	bool posted, ipiv;
};

static struct assist_processor shown;
static struct features made; /* here, not by the processor */
static u32 timer_rate;
static struct assist *assists; /* by processor; NULL: not started */
static struct fields *table;

static struct assist *own(void)
{
	return &assists[this_cpu()->index];
}

static u64 get(u32 field)
{
	u64 value = 0;
	bool ok = insn_vmread(field, &value);

	ASSERT(ok);
	return value;
}

static void set(u32 field, u64 value)
{
	bool ok = insn_vmwrite(field, value);

	ASSERT(ok);
}

/*
 * Whoever loads a VMCS first on any processor makes its entry, with one store to the key; nobody looks for it
 * on another processor before it has been cleared and loaded there.
 */
static struct fields *fields_of(u64 region)
{
	u32 at = (u32)(region / PAGE_SIZE * 0x9e3779b1u) % TABLE_SIZE;

	for (u32 i = 0; i < TABLE_SIZE; i++, at = (at + 1) % TABLE_SIZE) {
		struct fields *fields = &table[at];
		u64 key = atomic64_read(&fields->region);

		if (key == region || (!key && atomic64_cmpxchg(&fields->region, 0, region)))
			return fields;
		/* Somebody else may have taken it, for another region. */
	}
	port_panic("more VMCSs than the assist has room for");
}

static struct fields *current_fields(void)
{
	u64 region = insn_vmptrst().v;

	return region == ~0ull ? NULL : fields_of(region);
}

/* Where it is kept; NULL: by the processor. */
static u64 *kept(u32 field, u64 *mask)
{
	struct fields *fields;

	switch (field) {
#define X(name, bits, of)                                                                          \
	case VMCS_##name:                                                                          \
		fields = made.of ? current_fields() : NULL;                                        \
		*mask = (bits);                                                                    \
		return fields ? &fields->value[FIELD_##name] : NULL;
		FIELDS(X)
#undef X
	default:
		return NULL;
	}
}

static bool read_field(u32 field, u64 *value)
{
	u64 mask;
	const u64 *at = kept(field, &mask);

	if (!at)
		return insn_vmread(field, value);
	*value = *at;
	return true;
}

static bool write_field(u32 field, u64 value)
{
	u64 mask;
	u64 *at = kept(field, &mask);

	if (!at)
		return insn_vmwrite(field, value);
	*at = value & mask;
	return true;
}

/* --- an entry: what it is controlled by --- */

static u64 field(const struct assist *a, u32 encoding, u32 index)
{
	/* One that the processor has may be of a feature that is in use together with the modelled one. */
	return made.posted || index >= FIELD_TERTIARY ? a->fields->value[index] : get(encoding);
}
#define F(a, name) field(a, VMCS_##name, FIELD_##name)

static bool is_posted(const struct assist *a)
{
	return a->pin & VMX_PIN_POSTED;
}

/* The assist's are in use, of either feature. */
static bool is_concerned(const struct assist *a)
{
	return (made.posted && is_posted(a)) || (made.ipiv && a->primary & VMX_PROC_TERTIARY);
}

/* NULL, or the rule of VM entry that the VMCS breaks: cpu_model/vmx_rules.h. */
static const char *broken_rule(const struct assist *a)
{
	const struct vapic *vapic = &a->vapic;
	u64 beyond = ~0ull << vapic->width;

	if (a->tertiary & ~VMX_PROC3_IPIV)
		return "tertiary controls: reserved";
	if (is_posted(a)) {
		if (!vapic->vid)
			return "posted interrupts without virtual-interrupt delivery";
		if (!(a->exit_controls & VMX_EXIT_CTL_ACK_INTR))
			return "posted interrupts without acknowledgement on exit";
		if (F(a, PI_VECTOR) & ~0xffull)
			return "posted-interrupt notification vector: reserved";
		if (F(a, PI_DESC) & ((PI_DESC_SIZE - 1) | beyond))
			return "posted-interrupt descriptor: address";
	}
	if (!vapic->ipiv)
		return NULL;
	if (F(a, PI_TABLE) & (7 | beyond))
		return "PID-pointer table: address";
	if ((F(a, PI_TABLE) + F(a, LAST_PI_INDEX) * sizeof(u64)) & beyond)
		return "PID-pointer table: address of the last entry";
	if (!vapic->tpr_shadow && !vapic_is(vapic, VAPIC_IPIV_UNSHADOWED))
		return "IPI virtualization without TPR shadow";
	if (!is_posted(a) && vapic_is(vapic, VAPIC_IPIV_NEEDS_POSTED))
		return "IPI virtualization without posted interrupts";
	return NULL;
}

static void *memory_at(u64 address, u64 size, const char *what)
{
	if (!avic_is_memory(&shown.memory, address, size))
		port_panic("VM entry: the %s at %llx is not in memory", what,
		           (unsigned long long)address);
	return hpa_to_ptr(HPA(address));
}

static void load_controls(struct assist *a)
{
	struct vapic *vapic = &a->vapic;

	a->secondary = a->primary & VMX_PROC_SECONDARY ? (u32)get(VMCS_SECONDARY) : 0;
	a->exit_controls = (u32)get(VMCS_EXIT_CONTROLS);
	a->tertiary = made.ipiv && a->primary & VMX_PROC_TERTIARY ? F(a, TERTIARY) : 0;
	vapic->tpr_shadow = a->primary & VMX_PROC_TPR_SHADOW;
	vapic->x2apic = a->secondary & VMX_PROC2_X2APIC;
	vapic->apic_registers = a->secondary & VMX_PROC2_APIC_REGISTER;
	vapic->vid = a->secondary & VMX_PROC2_VID;
	vapic->ipiv = a->tertiary & VMX_PROC3_IPIV;
	vapic->intr_window = false; /* the processor's own evaluation is what counts */
}

static void load_pointers(struct assist *a)
{
	struct vapic *vapic = &a->vapic;

	vapic->pi_desc = NULL;
	if (made.posted && is_posted(a)) {
		vapic->pi_vector = (u8)F(a, PI_VECTOR);
		vapic->pi_desc =
		        memory_at(F(a, PI_DESC), PI_DESC_SIZE, "posted-interrupt descriptor");
	}
	vapic->pi_table = NULL;
	if (!vapic->ipiv)
		return;
	/* Then writes of ICR to the page exit before they are virtualized. */
	if (a->secondary & VMX_PROC2_APIC_ACCESS && !vapic->vid && !vapic->apic_registers)
		port_panic("VM entry: IPI virtualization alone, which the assist does not have");
	vapic->last_index = (u16)F(a, LAST_PI_INDEX);
	vapic->pi_table = memory_at(F(a, PI_TABLE), (vapic->last_index + 1ull) * sizeof(u64),
	                            "PID-pointer table");
}

static bool lets_through(const u8 *bitmap, u32 msr)
{
	return !(bitmap[BITMAP_WRITES + msr / 8] >> msr % 8 & 1);
}

/* Does the back end leave ICR to IPI virtualization? Then the native processor has to leave it to this. */
static void use_msr_map(struct assist *a)
{
	const u8 *bitmap;

	a->by_msr = false;
	if (!a->vapic.ipiv || !a->vapic.x2apic || !(a->primary & VMX_PROC_MSR_BITMAPS))
		return;
	a->msr_bitmap = get(VMCS_MSR_BITMAP);
	bitmap = hpa_to_ptr(HPA(a->msr_bitmap));
	if (!lets_through(bitmap, MSR_ICR))
		return;
	if (a->msr_map_of != a->msr_bitmap) {
		memcpy(a->msr_map, bitmap, VMX_BITMAP_SIZE);
		a->msr_map[BITMAP_WRITES + MSR_ICR / 8] |= BIT(MSR_ICR % 8);
		a->msr_map_of = a->msr_bitmap;
	}
	set(VMCS_MSR_BITMAP, ptr_to_hpa(a->msr_map).v);
	a->by_msr = true;
}

/* --- the VMCS between native entry and exit --- */

static u32 native_pin(const struct assist *a)
{
	return made.posted ? a->pin & ~VMX_PIN_POSTED : a->pin;
}

static u32 native_primary(const struct assist *a)
{
	return made.ipiv ? a->primary & ~VMX_PROC_TERTIARY : a->primary;
}

static void hide_controls(const struct assist *a)
{
	if (native_pin(a) != a->pin)
		set(VMCS_PIN, native_pin(a));
	if (native_primary(a) != a->primary)
		set(VMCS_PRIMARY, native_primary(a));
}

static void restore_controls(const struct assist *a)
{
	if (native_pin(a) != a->pin)
		set(VMCS_PIN, a->pin);
	if (native_primary(a) != a->primary)
		set(VMCS_PRIMARY, a->primary);
	if (a->by_msr)
		set(VMCS_MSR_BITMAP, a->msr_bitmap);
}

/* The back end has entered again by itself: a window may have opened. It activates no controls there. */
static void follow_controls(struct assist *a)
{
	u32 primary = (u32)get(VMCS_PRIMARY);

	a->primary = primary | (a->primary & VMX_PROC_TERTIARY);
	if (primary != native_primary(a))
		set(VMCS_PRIMARY, native_primary(a));
}

/* --- the preemption timer --- */

static bool has_timer(const struct assist *a)
{
	return a->pin & VMX_PIN_PREEMPTION_TIMER;
}

static void start_timer(struct assist *a)
{
	a->timer_from = insn_rdtsc();
	a->timer_moved = false;
	a->deaf_since = 0;
}

/* What the processor may miss physical interrupts for, in the timer's ticks. */
static u64 deaf_ticks(struct assist *a, u64 now)
{
	u64 longest = port_tsc_khz() * DEAF_MS, gone;

	if (get(VMCS_GUEST_RFLAGS) & RFLAGS_IF) {
		a->deaf_since = 0;
		return ~0ull;
	}
	if (!a->deaf_since)
		a->deaf_since = now;
	gone = now - a->deaf_since;
	return gone < longest ? (longest - gone) >> timer_rate : 0;
}

static void keep_timer(struct assist *a)
{
	u64 now, gone, left;

	if (!has_timer(a))
		return;
	if (!a->timer_moved)
		a->timer = get(VMCS_PREEMPTION_TIMER);
	a->timer_moved = true;
	now = insn_rdtsc();
	gone = (now >> timer_rate) - (a->timer_from >> timer_rate);
	left = gone < a->timer ? a->timer - gone : 0;
	set(VMCS_PREEMPTION_TIMER, min_u64(left, deaf_ticks(a, now)));
}

static void restore_timer(struct assist *a)
{
	if (a->timer_moved)
		set(VMCS_PREEMPTION_TIMER, a->timer);
	a->timer_moved = false;
}

/* --- exits --- */

enum next {
	AGAIN,
	LEAVE,
};

/* Another one than the processor's, which came with no event and behind no delivery. */
static enum next leave_with(u32 reason, u64 qualification)
{
	set(VMCS_EXIT_REASON, reason);
	set(VMCS_QUALIFICATION, qualification);
	set(VMCS_EXIT_INFO, 0);
	set(VMCS_IDT_INFO, 0);
	return LEAVE;
}

/* What has to come behind a completed instruction before the next one, and an entry would not bring. */
static enum next completed(const struct assist *a)
{
	return a->primary & VMX_PROC_MTF ? leave_with(VMX_EXIT_MTF, 0) : AGAIN;
}

/* The instruction that has exited is executed. */
static void skip(void)
{
	u64 flags = get(VMCS_GUEST_RFLAGS), blocked = get(VMCS_GUEST_INTERRUPTIBILITY);

	set(VMCS_GUEST_RIP, get(VMCS_GUEST_RIP) + get(VMCS_EXIT_LENGTH));
	if (blocked & BLOCKED_SHADOW)
		set(VMCS_GUEST_INTERRUPTIBILITY, blocked & ~(u64)BLOCKED_SHADOW);
	if (flags & RFLAGS_RF)
		set(VMCS_GUEST_RFLAGS, flags & ~(u64)RFLAGS_RF);
	if (flags & RFLAGS_TF)
		set(VMCS_GUEST_PENDING_DEBUG, get(VMCS_GUEST_PENDING_DEBUG) | VMX_DEBUG_BS);
}

/* #GP, error code 0; to the back end if it intercepts that. */
static enum next raise_gp(struct assist *a)
{
	bool protected = get(VMCS_GUEST_CR0) & CR0_PE;
	u32 error = protected ? VMX_EVENT_ERROR : 0;
	u32 info = VMX_EVENT_VALID | VMX_EVENT_EXCEPTION | error | VECTOR_GP;

	if (get(VMCS_EXCEPTIONS) & BIT(VECTOR_GP)) {
		leave_with(VMX_EXIT_EXCEPTION, 0);
		set(VMCS_EXIT_INFO, info);
		set(VMCS_EXIT_ERROR, 0);
		return LEAVE;
	}
	a->entry_info = get(VMCS_ENTRY_INFO);
	a->entry_error = get(VMCS_ENTRY_ERROR);
	a->injected = true;
	set(VMCS_ENTRY_INFO, info);
	set(VMCS_ENTRY_ERROR, 0);
	return AGAIN;
}

/* The back end knows what it has written there last. */
static void end_injection(struct assist *a)
{
	if (!a->injected)
		return;
	a->injected = false;
	set(VMCS_ENTRY_INFO, a->entry_info);
	set(VMCS_ENTRY_ERROR, a->entry_error);
}

/* The virtual APIC as the exit has left it; and as the next entry, or the back end, is to find it. */
static void open_apic(struct assist *a)
{
	struct vapic *vapic = &a->vapic;

	vapic->page = hpa_to_ptr(HPA(get(VMCS_VIRTUAL_APIC)));
	vapic_enter(vapic, (u16)(vapic->vid ? get(VMCS_GUEST_INTR_STATUS) : 0));
}

static void close_apic(struct assist *a)
{
	u16 status = vapic_leave(&a->vapic);

	if (a->vapic.vid)
		set(VMCS_GUEST_INTR_STATUS, status);
}

static enum next external_interrupt(struct assist *a)
{
	u32 info = (u32)get(VMCS_EXIT_INFO);
	bool processed;

	if (!a->vapic.pi_desc || !(info & VMX_EVENT_VALID) ||
	    (info & VMX_EVENT_VECTOR) != a->vapic.pi_vector)
		return LEAVE;
	open_apic(a);
	processed = vapic_process_posted(&a->vapic, (u8)(info & VMX_EVENT_VECTOR));
	close_apic(a);
	return processed ? AGAIN : LEAVE;
}

/* The processor has emulated no more of it than that ICR has its value. */
static enum next written_page(struct assist *a)
{
	struct vapic *vapic = &a->vapic;
	struct vapic_result result;

	if (!vapic->ipiv || get(VMCS_QUALIFICATION) != APIC_ICR)
		return LEAVE;
	open_apic(a);
	vapic->written = true;
	vapic->write_offset = APIC_ICR;
	result = vapic_emulate_write(vapic);
	close_apic(a);
	return result.action == VAPIC_DONE ? completed(a) : LEAVE;
}

static enum next written_msr(struct assist *a)
{
	struct vapic_result result;

	if (!a->by_msr || (u32)a->gpr[GPR_RCX] != MSR_ICR)
		return LEAVE;
	open_apic(a);
	result = vapic_msr_write(&a->vapic, MSR_ICR, a->gpr[GPR_RDX] << 32 | (u32)a->gpr[GPR_RAX]);
	close_apic(a);
	if (result.action == VAPIC_GP)
		return raise_gp(a);
	ASSERT(result.action == VAPIC_DONE || result.action == VAPIC_AFTER);
	skip();
	return result.action == VAPIC_DONE ? completed(a)
	                                   : leave_with(result.reason, result.qualification);
}

static enum next handle(struct assist *a)
{
	switch ((u32)get(VMCS_EXIT_REASON)) {
	case VMX_EXIT_EXTERNAL:
		return external_interrupt(a);
	case VMX_EXIT_APIC_WRITE:
		return written_page(a);
	case VMX_EXIT_WRMSR:
		return written_msr(a);
	default:
		return LEAVE;
	}
}

/* Behind each native exit: is there to be an entry at once? */
static bool enter_again(void *context)
{
	struct assist *a = context;

	end_injection(a);
	if (handle(a) == AGAIN) {
		a->vcpu->account.model_overhead++;
		keep_timer(a);
		return true;
	}
	restore_timer(a);
	if (!a->again(a->vcpu))
		return false;
	follow_controls(a);
	start_timer(a);
	return true;
}

static bool run(u64 *gpr, bool launched, bool (*again)(void *), void *context)
{
	struct assist *a = own();
	const char *rule;
	bool entered;

	a->fields = current_fields();
	a->pin = (u32)get(VMCS_PIN);
	a->primary = (u32)get(VMCS_PRIMARY);
	if (!is_concerned(a))
		return insn_vmx_run(gpr, launched, again, context);
	load_controls(a);
	rule = broken_rule(a);
	if (rule) {
		port_log("VM entry refused: %s", rule);
		return insn_vmx_run(gpr, launched, again, context);
	}
	load_pointers(a);
	a->vcpu = context;
	a->gpr = gpr;
	a->again = again;
	a->injected = false;
	hide_controls(a);
	use_msr_map(a);
	start_timer(a);
	entered = insn_vmx_run(gpr, launched, enter_again, a);
	restore_controls(a);
	return entered;
}

/* --- what the processor is said to be --- */

static bool has_vmx(void)
{
	struct cpuid_regs r;

	insn_cpuid(1, 0, &r);
	return r.ecx & CPUID_1_ECX_VMX;
}

static bool may(u32 msr, u32 controls)
{
	return !(controls & ~VMX_MAY(insn_rdmsr(msr)));
}

static bool has_ipiv(void)
{
	return may(MSR_VMX_PROC, VMX_PROC_TERTIARY) && insn_rdmsr(MSR_VMX_PROC3) & VMX_PROC3_IPIV;
}

/* What the assist needs of the processor. */
static bool can_post(void)
{
	return may(MSR_VMX_PROC, VMX_PROC_SECONDARY | VMX_PROC_TPR_SHADOW) &&
	       may(MSR_VMX_PROC2, APIC_VIRTUALIZATION) && may(MSR_VMX_EXIT, VMX_EXIT_CTL_ACK_INTR);
}

static bool can_send(void)
{
	return can_post() && insn_rdmsr(MSR_VMX_MISC) & VMX_MISC_WRITE_ALL;
}

static struct features lacking(const struct assist_processor *processor)
{
	if (!has_vmx())
		return (struct features){0};
	return (struct features){
	        .posted = !may(MSR_VMX_PIN, VMX_PIN_POSTED) && can_post(),
	        .ipiv = processor->ipiv && !has_ipiv() && can_send(),
	};
}

static const char *models(const struct assist_processor *processor)
{
	struct features lacks = lacking(processor);

	if (lacks.posted)
		return lacks.ipiv ? "posted interrupts and IPI virtualization"
		                  : "posted interrupts";
	return lacks.ipiv ? "IPI virtualization" : NULL;
}

static u64 of_control(u32 msr, u32 bit, bool offered)
{
	u64 value = insn_rdmsr(msr), may_be = (u64)bit << 32;

	return offered ? value | may_be : value & ~may_be;
}

static bool offers_ipiv(void)
{
	return made.ipiv || (shown.ipiv && has_ipiv());
}

/* Tertiary controls of no other feature are known here: they are hidden, and so is IPI virtualization if it is beyond. */
static u64 capability(u32 msr)
{
	switch (msr) {
	case MSR_VMX_PIN:
	case MSR_VMX_TRUE_PIN:
		return made.posted ? of_control(msr, VMX_PIN_POSTED, true) : insn_rdmsr(msr);
	case MSR_VMX_PROC:
	case MSR_VMX_TRUE_PROC:
		return of_control(msr, VMX_PROC_TERTIARY, offers_ipiv());
	case MSR_VMX_PROC3:
		return offers_ipiv() ? VMX_PROC3_IPIV : 0;
	default:
		return insn_rdmsr(msr);
	}
}

/* As by a write of the physical ICR, in the mode that the APICs are in. */
static void notify(void *context, u32 host_id, u8 vector)
{
	const struct assist *a = context;
	const struct machine *machine = port_machine();

	if (host_id != (a->vapic.host_x2 ? 0xffffffff : 0xff)) {
		assist_interrupt(host_id, vector);
		return;
	}
	for (u32 i = 0; i < machine->cpu_count; i++)
		assist_interrupt(machine->cpu[i].apic_id, vector);
}

static void end_interrupt(void *context __unused)
{
	insn_apic_eoi();
}

static u8 address_width(void)
{
	struct cpuid_regs r;

	insn_cpuid(CPUID_ADDRESS_SIZES, 0, &r);
	return (u8)r.eax;
}

static bool create(struct assist *a)
{
	a->msr_map = port_alloc(VMX_BITMAP_SIZE, PAGE_SIZE);
	a->vapic.host_x2 = insn_rdmsr(MSR_APIC_BASE) & APIC_BASE_EXTD;
	a->vapic.width = address_width();
	a->vapic.switches = shown.switches;
	a->vapic.memory_start = shown.memory.start;
	a->vapic.memory_end = shown.memory.end;
	a->vapic.notify = notify;
	a->vapic.eoi = end_interrupt;
	a->vapic.context = a;
	return a->msr_map;
}

static bool create_all(void)
{
	u32 count = port_machine()->cpu_count;

	table = port_alloc(TABLE_SIZE * sizeof(*table), CACHE_LINE);
	assists = port_alloc(count * sizeof(*assists), CACHE_LINE);
	if (!table || !assists)
		return false;
	for (u32 i = 0; i < count; i++)
		if (!create(&assists[i]))
			return false;
	return true;
}

static bool start(const struct assist_processor *processor)
{
	if (!has_vmx())
		return true;
	shown = *processor;
	made = lacking(processor);
	timer_rate = insn_rdmsr(MSR_VMX_MISC) & VMX_MISC_TIMER_RATE;
	insn_slots.vmx_capability = capability;
	if (!made.posted && !made.ipiv)
		return true;
	if (!create_all())
		return false;
	insn_slots.vmx_run = run;
	insn_slots.vmread = read_field;
	insn_slots.vmwrite = write_field;
	return true;
}

static void stop(void)
{
	u32 count = port_machine()->cpu_count;

	for (u32 i = 0; assists && i < count; i++)
		if (assists[i].msr_map)
			port_free(assists[i].msr_map, VMX_BITMAP_SIZE);
	if (assists)
		port_free(assists, count * sizeof(*assists));
	if (table)
		port_free(table, TABLE_SIZE * sizeof(*table));
	assists = NULL;
	table = NULL;
}

static const u64 *counts(void)
{
	return assists ? own()->vapic.counts : NULL;
}

const struct assist_kind assist_vmx = {
        .models = models,
        .start = start,
        .stop = stop,
        .counts = counts,
};
