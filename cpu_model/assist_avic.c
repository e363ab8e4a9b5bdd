/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * AVIC, on a processor with SVM and without it: see assist.h. One entry of the back end's is a loop of
 * native entries:
 *
 *   modelled VMRUN: take the backing page, evaluate
 *     native VMRUN, without AVIC: with the vector as V_IRQ if one can be delivered, else with a window
 *     native #VMEXIT: is it the assist's? then do what the processor would have done, and again
 *   modelled #VMEXIT: the control block as the back end left it, with the exit it would have seen
 *
 * What the guest runs on differs from what the back end has set up in
 *  - int_ctl: no AVIC. A deliverable vector is taken (IRR to ISR) before the native entry, so that no
 *    sender's request falls between, and put back if the processor exits without having delivered it;
 *  - the interrupt window, if a vector waits for IF, and the intercept of writes to CR8, if for TPR,
 *    or if TPR has a subclass;
 *  - in xAPIC mode a private copy of the nested page tables' path to the APIC's page, which is not
 *    there: accesses exit and are emulated. The copy is made anew when the back end flushes, which is
 *    when a processor must have seen its changes, and when it turns out to be old;
 *  - in x2APIC mode the MSR permission map, in which the APIC's registers exit. The back end does not
 *    change its maps once a VM runs;
 *  - RFLAGS.TF, over an instruction in the interrupt shadow behind which a vector waits: VMRUN of some
 *    processors forgets the shadow, and a window would open before the instruction.
 *
 * A doorbell is a physical interrupt of a vector of its own. It makes the target exit natively; there
 * GIF is opened for a moment. If nothing else was behind it the guest goes on.
 *
 * All of this is with GIF clear, as the back end enters.
 */
#include "cpu_model/assist_kind.h"

#include "core/emulate.h"
#include "core/machine.h"
#include "insn.h"
#include "mmu/mmu.h"
#include "postern/port.h"
#include "postern/string.h"
#include "svm/svm.h"
#include "x86/msr.h"

#define LEVELS        4
#define TABLE_ENTRIES 512
#define ENTRY_PRESENT BIT64(0)
#define ENTRY_WRITE   BIT64(1)
#define ENTRY_LARGE   BIT64(7)
#define ENTRY_ADDRESS 0x000ffffffffff000ull
#define NPF_WRITE     BIT64(1)
#define NPF_FETCH     BIT64(4)
#define MSR_MAP_SIZE  (2 * PAGE_SIZE)
#define MSR_WRITE     1 /* exit_info_1 */
#define MSR_LENGTH    2 /* of the opcode, without prefixes */
#define DR6_BS        BIT64(14)
#define AVIC_BITS     (SVM_AVIC_ENABLE | SVM_X2AVIC_ENABLE)
#define V_INTR_BITS   (SVM_V_IRQ | SVM_V_INTR_PRIO_MASK | SVM_V_IGN_TPR | SVM_V_INTR_VECTOR_MASK)
#define NOT_TAKEN     (-1)
#define OPEN_READS    4 /* of the clock: long enough for the processor to take what is pending */

/* Of one processor; used by that one alone. */
struct assist {
	struct avic avic;
	u64 *path[LEVELS]; /* by level: 0 holds the entry of the APIC's page */
	u64 root;          /* what the path is a copy of */
	u32 asid;
	u8 *msr_map;
	u64 msr_map_of; /* what that is a copy of */

	/* Of the entry that is under way. */
	struct vcpu *vcpu;
	struct vmcb *vmcb;
	bool (*again)(void *);
	struct vmcb_control back_end; /* the control block as it was */
	u64 rip;                      /* of the native entry */
	int taken;                    /* the vector that V_IRQ carries */
	int carried;                  /* the same, of what the back end injects */
	bool shadow;                  /* the native entry was in an interrupt shadow */
	bool steps, guest_tf;         /* TF is the assist's; the guest had it set itself */
	struct avic_result result;    /* of the page access that is emulated */
};

static struct assist_processor shown;
static struct assist *assists; /* by processor; NULL: not started */

static struct assist *own(void)
{
	return &assists[this_cpu()->index];
}

/* --- what the back end has set up: nested page tables and MSR map --- */

static u64 *entry_at(u64 *table, u64 address, u32 level)
{
	return &table[address >> (12 + 9 * level) & (TABLE_ENTRIES - 1)];
}

/* The entry that maps a guest-physical address, 0 if none does. */
static u64 find_entry(u64 root, u64 address)
{
	u64 entry = root;

	for (u32 level = LEVELS; level--;) {
		entry = *entry_at(hpa_to_ptr(HPA(entry & ENTRY_ADDRESS)), address, level);
		if (!(entry & ENTRY_PRESENT))
			return 0;
		if (level && entry & ENTRY_LARGE)
			break;
	}
	return entry;
}

static bool back_end_maps(const struct assist *a, u64 address, bool write)
{
	u64 entry = find_entry(a->back_end.n_cr3 & ENTRY_ADDRESS, address);

	return entry && (entry & ENTRY_WRITE || !write);
}

/* The tables that lead to the APIC's page, and in the last of them no such page. */
static void copy_path(struct assist *a)
{
	u64 from = a->back_end.n_cr3 & ENTRY_ADDRESS;

	for (u32 level = LEVELS; level--;) {
		u64 *entry;

		memcpy(a->path[level], hpa_to_ptr(HPA(from)), PAGE_SIZE);
		entry = entry_at(a->path[level], a->avic.bar, level);
		if (!level || !(*entry & ENTRY_PRESENT) || *entry & ENTRY_LARGE) {
			*entry = 0;
			break;
		}
		from = *entry & ENTRY_ADDRESS;
		*entry = (*entry & ~ENTRY_ADDRESS) | ptr_to_hpa(a->path[level - 1]).v;
	}
	a->root = a->back_end.n_cr3;
	a->asid = a->back_end.asid;
	a->vmcb->control.tlb_control = SVM_TLB_FLUSH_ALL;
}

static void use_path(struct assist *a)
{
	struct vmcb_control *control = &a->vmcb->control;

	if (a->avic.x2)
		return;
	if (a->root != control->n_cr3 || a->asid != control->asid || control->tlb_control)
		copy_path(a);
	control->n_cr3 = ptr_to_hpa(a->path[LEVELS - 1]).v;
}

static u32 map_bit(u32 msr, bool write)
{
	return msr * 2 + write;
}

static bool back_end_intercepts(const struct assist *a, u32 msr, bool write)
{
	const u8 *map = hpa_to_ptr(HPA(a->back_end.msrpm_base));
	u32 bit = map_bit(msr, write);

	return map[bit / 8] >> bit % 8 & 1;
}

static void use_msr_map(struct assist *a)
{
	struct vmcb_control *control = &a->vmcb->control;
	u32 first = map_bit(MSR_X2APIC_FIRST, false), last = map_bit(MSR_X2APIC_LAST, true);

	if (!a->avic.x2)
		return;
	if (a->msr_map_of != control->msrpm_base) {
		memcpy(a->msr_map, hpa_to_ptr(HPA(control->msrpm_base)), MSR_MAP_SIZE);
		memset(a->msr_map + first / 8, 0xff, last / 8 - first / 8 + 1);
		a->msr_map_of = control->msrpm_base;
	}
	control->msrpm_base = ptr_to_hpa(a->msr_map).v;
}

/* --- registers: those that the control block holds, and the emulation's --- */

static void take_regs(struct assist *a)
{
	struct vcpu_regs *regs = &a->vcpu->regs;

	regs->gpr[GPR_RAX] = a->vmcb->save.rax;
	regs->gpr[GPR_RSP] = a->vmcb->save.rsp;
	regs->rip = a->vmcb->save.rip;
	/* A single step is looked at here, not by the emulation. */
	regs->rflags = a->vmcb->save.rflags & ~RFLAGS_TF;
	a->vcpu->exit.next_rip = 0;
}

static void give_regs(struct assist *a)
{
	const struct vcpu_regs *regs = &a->vcpu->regs;

	a->vmcb->save.rax = regs->gpr[GPR_RAX];
	a->vmcb->save.rsp = regs->gpr[GPR_RSP];
	a->vmcb->save.rip = regs->rip;
	a->vmcb->save.rflags = regs->rflags | (a->vmcb->save.rflags & RFLAGS_TF);
}

/* --- leaving, or going on --- */

enum next {
	AGAIN,
	LEAVE,
};

static enum next leave_with(struct assist *a, const struct avic_result *result)
{
	struct vmcb_control *control = &a->vmcb->control;

	control->exit_code = result->exit_code;
	control->exit_info_1 = result->info_1;
	control->exit_info_2 = result->info_2;
	control->exit_int_info = 0;
	return LEAVE;
}

/* Nothing for the back end to do but to look around and to enter again. */
static enum next leave_as_interrupted(struct assist *a)
{
	a->vmcb->control.exit_code = SVM_EXIT_INTR;
	return LEAVE;
}

/* The guest's own single step, behind an instruction that the assist has completed. */
static enum next completed(struct assist *a)
{
	struct vmcb_control *control = &a->vmcb->control;

	control->int_state &= ~SVM_INT_SHADOW;
	if (!(a->vmcb->save.rflags & RFLAGS_TF))
		return AGAIN;
	a->vmcb->save.dr6 |= DR6_BS;
	if (a->back_end.intercept_exceptions & BIT(VECTOR_DB)) {
		control->exit_code = SVM_EXIT_EXCEPTION(VECTOR_DB);
		control->exit_int_info = 0;
		return LEAVE;
	}
	control->event_inj = VECTOR_DB | SVM_EVENT_EXCEPTION | SVM_EVENT_VALID;
	return AGAIN;
}

/* What the emulation has left: an exception of its own is the back end's to inject. */
static enum next after_emulation(struct assist *a, const struct avic_result *result)
{
	give_regs(a);
	if (a->vcpu->intr.exception.valid)
		return leave_as_interrupted(a);
	if (result->action == AVIC_AFTER) {
		a->vmcb->control.int_state &= ~SVM_INT_SHADOW;
		return leave_with(a, result);
	}
	return completed(a);
}

/* --- the APIC's page --- */

static void note_result(struct assist *a, struct avic_result result)
{
	if (result.action != AVIC_DONE && a->result.action == AVIC_DONE)
		a->result = result;
}

static u64 read_page(void *context, u32 offset, u32 size)
{
	struct assist *a = context;
	u64 value = 0;

	if (a->result.action != AVIC_BEFORE)
		note_result(a, avic_page_read(&a->avic, offset, size, &value));
	return value;
}

static void write_page(void *context, u32 offset, u32 size, u64 value)
{
	struct assist *a = context;

	/* What could not be read is not written: the instruction has not run. */
	if (a->result.action != AVIC_BEFORE)
		note_result(a, avic_page_write(&a->avic, offset, size, value));
}

static enum next access_page(struct assist *a)
{
	const struct emulate_page page = {.read = read_page, .write = write_page, .context = a};
	struct vcpu_regs before;

	take_regs(a);
	before = a->vcpu->regs;
	a->result = (struct avic_result){.action = AVIC_DONE};
	emulate_page_access(a->vcpu, &page);
	if (a->result.action == AVIC_BEFORE) {
		a->vcpu->regs = before;
		give_regs(a);
		return leave_with(a, &a->result);
	}
	return after_emulation(a, &a->result);
}

static enum next nested_fault(struct assist *a)
{
	const struct vmcb_control *control = &a->vmcb->control;
	u64 address = control->exit_info_2 & ENTRY_ADDRESS;
	bool write = control->exit_info_1 & NPF_WRITE;

	if (a->avic.x2 || !back_end_maps(a, address, write))
		return LEAVE;
	/* The back end has mapped it meanwhile, or this is the page that is missing on purpose. */
	if (address != a->avic.bar) {
		if (control->exit_int_info & SVM_EVENT_VALID)
			return leave_as_interrupted(a);
		copy_path(a);
		return AGAIN;
	}
	if (control->exit_info_1 & NPF_FETCH || control->exit_int_info & SVM_EVENT_VALID)
		return LEAVE;
	return access_page(a);
}

/* --- the APIC's MSRs --- */

static enum next inject_gp(struct assist *a)
{
	a->vmcb->control.event_inj =
	        VECTOR_GP | SVM_EVENT_EXCEPTION | SVM_EVENT_ERROR | SVM_EVENT_VALID;
	return AGAIN;
}

static enum next access_msr(struct assist *a)
{
	u64 *gpr = a->vcpu->regs.gpr;
	bool write = a->vmcb->control.exit_info_1 & MSR_WRITE;
	u32 msr = (u32)gpr[GPR_RCX];
	struct avic_result result;
	struct vcpu_regs before;
	u64 value = 0;

	if (!a->avic.x2 || msr < MSR_X2APIC_FIRST || msr > MSR_X2APIC_LAST ||
	    back_end_intercepts(a, msr, write))
		return LEAVE;
	take_regs(a);
	before = a->vcpu->regs;
	if (!emulate_skip(a->vcpu, MSR_LENGTH)) {
		give_regs(a);
		return leave_as_interrupted(a);
	}
	if (write)
		result = avic_msr_write(&a->avic, msr, gpr[GPR_RDX] << 32 | (u32)gpr[GPR_RAX]);
	else
		result = avic_msr_read(&a->avic, msr, &value);
	if (result.action == AVIC_GP || result.action == AVIC_BEFORE) {
		a->vcpu->regs = before;
		return result.action == AVIC_GP ? inject_gp(a) : leave_with(a, &result);
	}
	if (!write) {
		gpr[GPR_RAX] = (u32)value;
		gpr[GPR_RDX] = value >> 32;
	}
	return after_emulation(a, &result);
}

/* --- interrupts --- */

/* Physical interrupts are taken. Was one among them that is not a doorbell? */
static bool open_window(void)
{
	struct cpu *cpu = this_cpu();
	u32 before = atomic32_read_relaxed(&cpu->interrupted);
	bool others;

	atomic32_set_relaxed(&cpu->interrupted, 0);
	insn_stgi();
	for (u32 i = 0; i < OPEN_READS; i++)
		insn_rdtsc();
	insn_clgi();
	others = atomic32_read_relaxed(&cpu->interrupted);
	if (before)
		atomic32_set_relaxed(&cpu->interrupted, 1);
	return others;
}

static enum next physical_interrupt(struct assist *a)
{
	/* The back end's own forced exit, or the end of a delivery: its business. */
	if (a->vmcb->control.exit_int_info & SVM_EVENT_VALID || open_window())
		return LEAVE;
	avic_evaluate(&a->avic);
	return AGAIN;
}

/* MOV to CR8, which the back end does not intercept: the core's emulation writes the page's TPR. */
static enum next write_cr8(struct assist *a)
{
	const struct avic_result done = {.action = AVIC_DONE};

	if (a->back_end.intercept_cr & SVM_CR_WRITE(8))
		return LEAVE;
	take_regs(a);
	a->vcpu->exit.cr = (struct exit_cr){.reg = 8, .write = true};
	emulate_mov_to_cr(a->vcpu);
	a->avic.counts[HW_TPR]++;
	avic_evaluate(&a->avic);
	return after_emulation(a, &done);
}

static enum next debug_trap(struct assist *a)
{
	struct vmcb_control *control = &a->vmcb->control;

	if (!a->steps)
		return LEAVE;
	if (!a->guest_tf) {
		a->vmcb->save.dr6 &= ~DR6_BS;
		return AGAIN;
	}
	if (a->back_end.intercept_exceptions & BIT(VECTOR_DB))
		return LEAVE;
	control->event_inj = VECTOR_DB | SVM_EVENT_EXCEPTION | SVM_EVENT_VALID;
	return AGAIN;
}

/* --- a native entry and its exit --- */

/*
 * A request that the task priority alone holds back: a write of CR8 may let it in. Or a subclass, which
 * it clears even if CR8 stays the same.
 */
static bool wants_writes_of_cr8(struct assist *a)
{
	return avic_has_subclass(&a->avic) || (a->avic.pending < 0 && avic_waits_for_tpr(&a->avic));
}

static void open_virtual_window(struct vmcb_control *control)
{
	control->int_ctl |= SVM_V_IRQ | SVM_V_INTR_PRIO(0xf) | SVM_V_IGN_TPR;
	control->intercept_misc1 |= SVM_MISC1(SVM_EXIT_VINTR);
}

static void start_step(struct assist *a)
{
	a->steps = true;
	a->guest_tf = a->vmcb->save.rflags & RFLAGS_TF;
	a->vmcb->save.rflags |= RFLAGS_TF;
	a->vmcb->control.intercept_exceptions |= BIT(VECTOR_DB);
}

static void set_virtual_interrupt(struct vmcb_control *control, int vector)
{
	control->int_ctl |=
	        SVM_V_IRQ | SVM_V_INTR_PRIO(0xf) | SVM_V_IGN_TPR | SVM_V_INTR_VECTOR(vector);
}

/*
 * An interrupt that the back end injects again goes as V_IRQ, too: some processors deliver one that EVENTINJ
 * brings twice (docs/emulators.md). It is rarely that something else waits, and then for a window.
 */
static void carry_interrupt(struct assist *a)
{
	struct vmcb_control *control = &a->vmcb->control;
	u64 event = control->event_inj;

	if ((event & (SVM_EVENT_VALID | SVM_EVENT_TYPE)) != (SVM_EVENT_VALID | SVM_EVENT_INTR) ||
	    !(a->vmcb->save.rflags & RFLAGS_IF) || a->shadow)
		return;
	a->carried = (int)(event & SVM_EVENT_VECTOR);
	set_virtual_interrupt(control, a->carried);
	control->event_inj = 0;
}

static void prepare(struct assist *a)
{
	struct vmcb_control *control = &a->vmcb->control;

	a->taken = a->carried = NOT_TAKEN;
	a->steps = false;
	a->shadow = control->int_state & SVM_INT_SHADOW;
	a->rip = a->vmcb->save.rip;
	control->int_ctl = (a->back_end.int_ctl & ~(AVIC_BITS | V_INTR_BITS | SVM_V_TPR)) |
	                   avic_read_cr8(&a->avic);
	control->intercept_misc1 = a->back_end.intercept_misc1;
	control->intercept_exceptions = a->back_end.intercept_exceptions;
	control->intercept_cr = a->back_end.intercept_cr;
	control->clean_bits = 0;
	if (wants_writes_of_cr8(a))
		control->intercept_cr |= SVM_CR_WRITE(8);
	if (a->avic.pending < 0) {
		carry_interrupt(a);
		return;
	}
	if (control->event_inj & SVM_EVENT_VALID || !(a->vmcb->save.rflags & RFLAGS_IF)) {
		open_virtual_window(control);
	} else if (a->shadow) {
		start_step(a);
	} else {
		a->taken = avic_take(&a->avic);
		if (a->taken >= 0)
			set_virtual_interrupt(control, a->taken);
	}
}

/* An exit began while it was being delivered: it goes on from EXITINTINFO, whatever V_IRQ says. */
static bool was_delivered(const struct assist *a)
{
	const struct vmcb_control *control = &a->vmcb->control;

	return control->exit_int_info & SVM_EVENT_VALID || !(control->int_ctl & SVM_V_IRQ);
}

static bool comes_before_an_instruction(u64 code)
{
	return code == SVM_EXIT_INTR || code == SVM_EXIT_NMI || code == SVM_EXIT_VINTR;
}

static void look(struct assist *a)
{
	struct vmcb_control *control = &a->vmcb->control;

	if (a->taken >= 0 && !was_delivered(a))
		avic_untake(&a->avic, (u8)a->taken);
	/* EVENTINJ comes before anything else: its delivery has begun. */
	if (a->carried >= 0 && (control->exit_int_info & SVM_EVENT_VALID || !was_delivered(a)))
		control->exit_int_info = (u64)a->carried | SVM_EVENT_INTR | SVM_EVENT_VALID;
	if ((control->int_ctl & SVM_V_TPR) != avic_read_cr8(&a->avic))
		avic_write_cr8(&a->avic, control->int_ctl & SVM_V_TPR);
	if (a->steps && !a->guest_tf)
		a->vmcb->save.rflags &= ~RFLAGS_TF;
	/* Nothing has run: the shadow stands, whatever a processor says that forgets it. */
	if (a->shadow && comes_before_an_instruction(control->exit_code) &&
	    a->vmcb->save.rip == a->rip && !(control->exit_int_info & SVM_EVENT_VALID))
		control->int_state |= SVM_INT_SHADOW;
	control->event_inj = 0;
	control->tlb_control = SVM_TLB_NOTHING;
}

static enum next handle(struct assist *a)
{
	switch (a->vmcb->control.exit_code) {
	case SVM_EXIT_VINTR:
		return AGAIN;
	case SVM_EXIT_INTR:
		return physical_interrupt(a);
	case SVM_EXIT_NPF:
		return nested_fault(a);
	case SVM_EXIT_MSR:
		return access_msr(a);
	case SVM_EXIT_CR_WRITE(8):
		return write_cr8(a);
	case SVM_EXIT_EXCEPTION(VECTOR_DB):
		return debug_trap(a);
	default:
		return LEAVE;
	}
}

/* The back end's quick answers, but for those to exits that are the assist's to look at first. */
static bool enter_again(void *context)
{
	struct assist *a = context;

	return a->vmcb->control.exit_code == SVM_EXIT_CPUID && a->again(a->vcpu);
}

static void leave_guest(struct assist *a)
{
	struct vmcb_control *control = &a->vmcb->control;
	const struct vmcb_control *back_end = &a->back_end;

	control->int_ctl = (back_end->int_ctl & ~SVM_V_TPR) | avic_read_cr8(&a->avic);
	control->intercept_cr = back_end->intercept_cr;
	control->intercept_misc1 = back_end->intercept_misc1;
	control->intercept_exceptions = back_end->intercept_exceptions;
	control->msrpm_base = back_end->msrpm_base;
	control->n_cr3 = back_end->n_cr3;
}

static void run(hpa_t vmcb, u64 *gpr, hpa_t host, bool (*again)(void *), void *context)
{
	struct vmcb_control *control = &((struct vmcb *)hpa_to_ptr(vmcb))->control;
	struct assist *a = own();
	struct vcpu *vcpu = context;
	u64 rip = vcpu->regs.rip;

	if (!(control->int_ctl & AVIC_BITS)) {
		insn_svm_run(vmcb, gpr, host, again, context);
		return;
	}
	if (avic_check(control, &shown.memory, shown.max_index)) {
		control->exit_code = SVM_EXIT_INVALID;
		return;
	}
	a->vcpu = vcpu;
	a->vmcb = hpa_to_ptr(vmcb);
	a->again = again;
	a->back_end = *control;
	avic_enter(&a->avic, control);
	use_path(a);
	use_msr_map(a);
	for (;;) {
		prepare(a);
		insn_svm_run(vmcb, gpr, host, enter_again, a);
		look(a);
		if (handle(a) == LEAVE)
			break;
		vcpu->account.model_overhead++;
	}
	leave_guest(a);
	/* The back end compares where it entered with where it is now. */
	vcpu->regs.rip = rip;
}

/* --- what the processor is said to be --- */

static void doorbell(u64 value)
{
	assist_interrupt((u32)value, CPU_VECTOR_DOORBELL);
}

static void ring(void *context __unused, u32 host_id)
{
	doorbell(host_id);
}

static void capability(u32 leaf, u32 subleaf, struct cpuid_regs *r)
{
	insn_cpuid(leaf, subleaf, r);
	if (leaf == 1 && shown.signature)
		r->eax = shown.signature;
	if (leaf != CPUID_SVM)
		return;
	r->edx |= shown.svm_edx;
	r->ecx |= shown.svm_ecx;
}

static const char *models(const struct assist_processor *processor)
{
	struct cpuid_regs r;

	insn_cpuid(CPUID_SVM, 0, &r);
	if ((r.edx & processor->svm_edx) == processor->svm_edx)
		return NULL;
	return processor->svm_edx & SVM_CPUID_X2AVIC ? "AVIC and x2AVIC" : "AVIC";
}

static bool create(struct assist *a)
{
	for (u32 level = 0; level < LEVELS; level++) {
		a->path[level] = port_alloc(PAGE_SIZE, PAGE_SIZE);
		if (!a->path[level])
			return false;
	}
	a->msr_map = port_alloc(MSR_MAP_SIZE, PAGE_SIZE);
	a->avic.switches = shown.switches;
	a->avic.memory = shown.memory;
	a->avic.doorbell = ring;
	return a->msr_map;
}

static bool start(const struct assist_processor *processor)
{
	u32 count = port_machine()->cpu_count;

	if (!models(processor))
		return true;
	shown = *processor;
	assists = port_alloc(count * sizeof(*assists), CACHE_LINE);
	if (!assists)
		return false;
	for (u32 i = 0; i < count; i++)
		if (!create(&assists[i]))
			return false;
	insn_slots.svm_run = run;
	insn_slots.doorbell = doorbell;
	insn_slots.capability = capability;
	return true;
}

static void destroy(struct assist *a)
{
	for (u32 level = 0; level < LEVELS; level++)
		port_free(a->path[level], PAGE_SIZE);
	port_free(a->msr_map, MSR_MAP_SIZE);
}

static void stop(void)
{
	u32 count = port_machine()->cpu_count;

	if (!assists)
		return;
	for (u32 i = 0; i < count; i++)
		destroy(&assists[i]);
	port_free(assists, count * sizeof(*assists));
	assists = NULL;
}

static const u64 *counts(void)
{
	return assists ? own()->avic.counts : NULL;
}

const struct assist_kind assist_avic = {
        .models = models,
        .start = start,
        .stop = stop,
        .counts = counts,
        .complete = true,
};
