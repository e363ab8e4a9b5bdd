/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * See apicv.h: operations on the processor. Between two of them the page, guest interrupt status and all guest memory
 * stay, and the controls are others: acceleration going on and off, and the APIC changing its mode, as far as the
 * processor sees it.
 */
#include "tests/hw/apicv.h"
#include "tests/hw/hw.h"

#include "metal.h"

#define TABLES      6 /* root, one table, four directories: 4 GiB by 2 MiB */
#define GUEST_LARGE 0x83
#define GUEST_TABLE 3
#define MIB2        (2ull << 20)
#define EPT_RWX     (EPT_READ | EPT_WRITE | EPT_EXEC)
#define PAGE_AT     0xfee00000ull
#define GATE        0x8e00ull
#define TIMER       3000 /* far more than an operation has instructions */
#define COMPLAINTS  10
#define ENTRIES     (PAGE_SIZE / sizeof(u64))
#define AIMED                                                                                      \
	5000 /* operations for one combination that has not been seen, before it is given up */

/* Bochs, where the manual has it otherwise: docs/model-vs-bochs.md. */
#define BOCHS_SWITCHES                                                                             \
	((VAPIC_SWITCH_DEFAULTS & ~(u32)VAPIC_VID_READS) | VAPIC_VID_BY_REGISTER |                 \
	 VAPIC_SECOND_BY_OFFSET | VAPIC_SELF_NOT_STORED)

static struct {
	struct av_memory memory;
	struct av_code code;
	u64 gpr[GPR_COUNT];
	u8 *page, *plain;             /* the processor's */
	u8 *want_page, *want_plain;   /* the model's */
	u8 *was_page, *was_plain;     /* before the operation */
	u8 *other_page, *other_plain; /* what they would be in another way */
	u8 *bitmap[2][2][2][2];       /* of MSRs, by AV_MSRS, AV_X2, AV_REGS, AV_VID */
	u8 *stack;
	u64 *gdt, *idt, *tables;
	u16 status;
	u32 controls; /* of the entry before */
	u32 quirks, switches;
	u64 ways;        /* operations of which it is asked what of Bochs's ways they show */
	u32 nmi_blocked; /* since the exit before */
	u32 complaints;
} av;

/* --- the guest's surroundings --- */

static u64 *map(u64 table, u64 leaf)
{
	u64 *t = port_alloc(TABLES * PAGE_SIZE, PAGE_SIZE);

	ASSERT(t);
	t[0] = vmx_hpa(t + ENTRIES) | table;
	for (u64 i = 0; i < 4; i++)
		t[ENTRIES + i] = vmx_hpa(t + (2 + i) * ENTRIES) | table;
	for (u64 i = 0; i < 4 * ENTRIES; i++)
		t[2 * ENTRIES + i] = i * MIB2 | leaf;
	return t;
}

/* The APIC-access page's 4 KiB lead to ordinary memory. */
static void map_page(u64 *root)
{
	u64 *directory = root + 5 * ENTRIES, *leaves = vmx_page();
	u64 large = PAGE_AT / MIB2 % ENTRIES;

	for (u64 i = 0; i < ENTRIES; i++)
		leaves[i] = (ALIGN_DOWN(PAGE_AT, MIB2) + i * PAGE_SIZE) | EPT_RWX | EPT_TYPE(6);
	leaves[PAGE_AT / PAGE_SIZE % ENTRIES] = vmx_hpa(av.plain) | EPT_RWX | EPT_TYPE(6);
	directory[large] = vmx_hpa(leaves) | EPT_RWX;
}

static void make_gates(void)
{
	av.gdt = vmx_page();
	av.gdt[1] = 0x00af9b000000ffffull;
	av.gdt[2] = 0x00cf93000000ffffull;
	av.idt = vmx_page();
	for (u64 i = 0; i < 256; i++) {
		u64 at = (uintptr_t)av.memory.stubs + i * AV_STUB_SIZE;

		av.idt[2 * i] = (at & 0xffff) | 8ull << 16 | GATE << 32 | (at >> 16 & 0xffff) << 48;
		av.idt[2 * i + 1] = at >> 32;
	}
}

static void make_bitmaps(void)
{
	for (u32 i = 0; i < 16; i++) {
		u32 controls = (i & 8 ? AV_MSRS : 0) | (i & 4 ? AV_X2 : 0) | (i & 2 ? AV_REGS : 0) |
		               (i & 1 ? AV_VID : 0);
		u8 *bitmap = vmx_page();

		memset(bitmap, 0xff, PAGE_SIZE);
		for (u32 msr = MSR_X2APIC_FIRST; msr <= MSR_X2APIC_LAST; msr++) {
			if (av_msr_passes(controls, msr, false))
				bitmap[msr / 8] &= (u8) ~(1u << msr % 8);
			if (av_msr_passes(controls, msr, true))
				bitmap[0x800 + msr / 8] &= (u8) ~(1u << msr % 8);
		}
		av.bitmap[i >> 3][i >> 2 & 1][i >> 1 & 1][i & 1] = bitmap;
	}
}

static void make_memory(void)
{
	av.memory = (struct av_memory){
	        .code = vmx_page(),
	        .stubs = vmx_page(),
	        .handlers = vmx_page(),
	        .results = vmx_page(),
	        .log = vmx_page(),
	        .page = PAGE_AT,
	};
	av.page = vmx_page();
	av.plain = vmx_page();
	av.want_page = vmx_page();
	av.want_plain = vmx_page();
	av.was_page = vmx_page();
	av.was_plain = vmx_page();
	av.other_page = vmx_page();
	av.other_plain = vmx_page();
	av.stack = vmx_page();
	av.tables = map(GUEST_TABLE, GUEST_LARGE);
	m.root = map(EPT_RWX, EPT_RWX | EPT_TYPE(6) | EPT_LARGE);
	map_page(m.root);
	m.apic = av.page;
	m.msr_bitmap = vmx_page();
	av_assemble_handlers(&av.memory);
	make_gates();
	make_bitmaps();
}

static bool make_vmcs(void)
{
	m.vmcs = hw_region();
	if (!insn_vmclear(ptr_to_hpa(m.vmcs)) || !insn_vmptrld(ptr_to_hpa(m.vmcs)))
		return false;
	hw_clear_vmcs();
	vmx_write_controls();
	vmx_write_host();
	vmx_write_guest();
	vmx_change(VMCS_PIN, 0, VMX_PIN_PREEMPTION_TIMER);
	vmx_write(VMCS_EXCEPTIONS, 0xffffffff);
	vmx_write(VMCS_APIC_ACCESS, vmx_hpa(av.plain));
	vmx_write(VMCS_GUEST_CR3, vmx_hpa(av.tables));
	vmx_write(VMCS_GUEST_GDTR_BASE, (uintptr_t)av.gdt);
	vmx_write(VMCS_GUEST_GDTR_LIMIT, 3 * 8 - 1);
	vmx_write(VMCS_GUEST_IDTR_BASE, (uintptr_t)av.idt);
	return true;
}

/* --- one operation --- */

static u32 bit(u32 controls, u32 control, u32 value)
{
	return controls & control ? value : 0;
}

static void write_controls(const struct av_op *op)
{
	const u32 primary = VMX_PROC_TPR_SHADOW | VMX_PROC_INTR_WINDOW | VMX_PROC_NMI_WINDOW |
	                    VMX_PROC_HLT | VMX_PROC_CR8_LOAD | VMX_PROC_CR8_STORE;
	const u32 secondary =
	        VMX_PROC2_APIC_ACCESS | VMX_PROC2_X2APIC | VMX_PROC2_APIC_REGISTER | VMX_PROC2_VID;
	u32 c = op->controls;

	if (c != av.controls) {
		vmx_change(VMCS_PRIMARY, primary,
		           bit(c, AV_SHADOW, VMX_PROC_TPR_SHADOW) |
		                   bit(c, AV_INTR_WINDOW, VMX_PROC_INTR_WINDOW) |
		                   bit(c, AV_NMI_WINDOW, VMX_PROC_NMI_WINDOW) |
		                   bit(c, AV_HLT, VMX_PROC_HLT) |
		                   bit(c, AV_CR8_LOAD, VMX_PROC_CR8_LOAD) |
		                   bit(c, AV_CR8_STORE, VMX_PROC_CR8_STORE));
		vmx_change(VMCS_SECONDARY, secondary,
		           bit(c, AV_ACCESS, VMX_PROC2_APIC_ACCESS) |
		                   bit(c, AV_X2, VMX_PROC2_X2APIC) |
		                   bit(c, AV_REGS, VMX_PROC2_APIC_REGISTER) |
		                   bit(c, AV_VID, VMX_PROC2_VID));
		vmx_write(VMCS_MSR_BITMAP, vmx_hpa(av.bitmap[!!(c & AV_MSRS)][!!(c & AV_X2)]
		                                            [!!(c & AV_REGS)][!!(c & AV_VID)]));
	}
	/* "Virtualizing Memory-Mapped APIC Accesses": translations may be older than the control. */
	if ((c ^ av.controls) & AV_ACCESS)
		ASSERT(insn_invept(INVEPT_ALL, 0) && insn_invvpid(INVVPID_ALL, 0));
	av.controls = c;
	vmx_write(VMCS_TPR_THRESHOLD, op->threshold);
	for (u32 i = 0; i < 4; i++)
		vmx_write((u32)VMCS_EOI_EXIT(i), op->eoi_exit[i]);
}

static void write_state(const struct av_op *op)
{
	vmx_write(VMCS_GUEST_INTR_STATUS, op->status);
	vmx_write(VMCS_ENTRY_INFO, op->entry_info);
	vmx_write(VMCS_ENTRY_ERROR, op->entry_error);
	vmx_write(VMCS_ENTRY_LENGTH, op->entry_length);
	vmx_write(VMCS_GUEST_INTERRUPTIBILITY, op->interruptibility);
	vmx_write(VMCS_GUEST_ACTIVITY, op->activity);
	vmx_write(VMCS_GUEST_PENDING_DEBUG, 0);
	vmx_write(VMCS_PREEMPTION_TIMER, TIMER);
	vmx_write(VMCS_GUEST_RFLAGS, RFLAGS_RES1 | (op->open ? RFLAGS_IF : 0));
	vmx_write(VMCS_GUEST_RIP, (uintptr_t)av.memory.code);
	vmx_write(VMCS_GUEST_RSP,
	          op->stack ? PAGE_AT + op->stack : (uintptr_t)av.stack + PAGE_SIZE);
	av.gpr[GPR_RBX] = PAGE_AT;
	av.gpr[GPR_RBP] = (uintptr_t)av.memory.results;
	av.gpr[GPR_R13] = (uintptr_t)av.memory.log;
	av.gpr[GPR_R14] = (uintptr_t)av.memory.handlers + op->handler * AV_HANDLER_SIZE;
	for (u32 i = 0; i < AV_INSNS; i++)
		av.memory.results[i] = AV_POISON;
}

static bool has_qualification(u32 reason)
{
	return reason == VMX_EXIT_TPR_BELOW_THRESHOLD || reason == VMX_EXIT_APIC_ACCESS ||
	       reason == VMX_EXIT_EOI || reason == VMX_EXIT_APIC_WRITE || reason == VMX_EXIT_CR;
}

static void read_state(struct av_state *state)
{
	*state = (struct av_state){
	        .reason = (u32)vmx_read(VMCS_EXIT_REASON),
	        .idt_info = (u32)vmx_read(VMCS_IDT_INFO),
	        .rip = vmx_read(VMCS_GUEST_RIP),
	        .open = !!(vmx_read(VMCS_GUEST_RFLAGS) & RFLAGS_IF),
	        .interruptibility = (u32)vmx_read(VMCS_GUEST_INTERRUPTIBILITY),
	        .activity = (u32)vmx_read(VMCS_GUEST_ACTIVITY),
	        .status = (u32)vmx_read(VMCS_GUEST_INTR_STATUS),
	        .logged = (u32)(av.gpr[GPR_R13] - (uintptr_t)av.memory.log) / sizeof(u32),
	};
	if (has_qualification(state->reason))
		state->qualification = vmx_read(VMCS_QUALIFICATION);
	if (state->reason == VMX_EXIT_EXCEPTION)
		state->exit_info = (u32)vmx_read(VMCS_EXIT_INFO);
	if (!(state->idt_info & VMX_EVENT_VALID))
		state->idt_info = 0;
	for (u32 i = 0; i < state->logged && i < AV_LOGGED; i++)
		state->log[i] = av.memory.log[i];
	for (u32 i = 0; i < AV_INSNS; i++)
		state->results[i] = av.memory.results[i];
}

static bool same(const void *a, const void *b, u64 size)
{
	const u64 *x = a, *y = b;
	u64 differences = 0;

	for (u64 i = 0; i < size / sizeof(u64); i += 4)
		differences |= (x[i] ^ y[i]) | (x[i + 1] ^ y[i + 1]) | (x[i + 2] ^ y[i + 2]) |
		               (x[i + 3] ^ y[i + 3]);
	return !differences;
}

/* --- what is not the same --- */

static void print_op(const struct av_op *op)
{
	hw_say("#   controls %x (set %u), threshold %x, status %x, IF %u, blocked %x, activity %u",
	       op->controls, op->set, op->threshold, op->status, op->open, op->interruptibility,
	       op->activity);
	hw_say("#   event %x error %x length %u, stack %x, handler %u, EOI exits %lx %lx %lx %lx",
	       op->entry_info, op->entry_error, op->entry_length, op->stack, op->handler,
	       op->eoi_exit[0], op->eoi_exit[1], op->eoi_exit[2], op->eoi_exit[3]);
	for (u32 i = 0; i < op->count; i++)
		hw_say("#   %u: kind %u size %u at %x to %x value %lx", i, op->insn[i].kind,
		       op->insn[i].size, op->insn[i].at, op->insn[i].to, op->insn[i].value);
}

static void print_state(const char *whose, const struct av_state *s)
{
	hw_say("#   %s: exit %x qualification %lx info %x IDT %x RIP %lx IF %u blocked %x activity %u "
	       "status %x",
	       whose, s->reason, s->qualification, s->exit_info, s->idt_info, s->rip, s->open,
	       s->interruptibility, s->activity, s->status);
	hw_say("#   %s: vectors %u: %x %x %x, results %lx %lx %lx %lx", whose, s->logged, s->log[0],
	       s->log[1], s->log[2], s->results[0], s->results[1], s->results[2], s->results[3]);
}

static void print_pages(const char *name, const u8 *got, const u8 *want)
{
	for (u32 i = 0; i < PAGE_SIZE; i += sizeof(u32)) {
		u32 a, b;

		memcpy(&a, got + i, sizeof(a));
		memcpy(&b, want + i, sizeof(b));
		if (a != b)
			hw_say("#   %s %x: processor %x, model %x", name, i, a, b);
	}
}

static void complain(u64 number, const struct av_op *op, const struct av_state *got,
                     const struct av_state *want)
{
	if (av.complaints++ >= COMPLAINTS)
		return;
	hw_say("not ok operation %lu", number);
	print_op(op);
	print_state("processor", got);
	print_state("model", want);
	print_pages("page", av.page, av.want_page);
	print_pages("plain", av.plain, av.want_plain);
}

/* False: it was not entered. */
static bool run(const struct av_op *op, struct av_state *got)
{
	write_controls(op);
	write_state(op);
	if (!hw_enter(av.gpr, m.launched)) {
		got->reason = VMX_EXIT_ENTRY_FAILED | (u32)vmx_read(VMCS_INSTRUCTION_ERROR);
		return false;
	}
	m.launched = true;
	read_state(got);
	return true;
}

/* --- what of it is Bochs's own way --- */

/* Switches of vapic.h and quirks as one list: bit i of `ways`. */
static const struct way {
	const char *key;
	u32 vapic; /* the switch, or */
	u32 quirk;
} way[] = {
#define X(name, key, def, what) {key, VAPIC_##name, 0},
        VAPIC_SWITCHES(X)
#undef X
#define X(name, key) {key, 0, AV_##name},
                AV_QUIRKS(X)
#undef X
};
static u32 shown[ARRAY_SIZE(way)];

/* Is it otherwise if these are as the manual has them? */
static bool matters(const struct av_op *op, const struct av_state *want, u32 vapic, u32 quirks)
{
	static struct av_state other;
	static struct av_op changed;
	u32 switches = (av.switches & ~vapic) | (VAPIC_SWITCH_DEFAULTS & vapic);

	changed = *op;
	changed.quirks &= ~quirks;
	memcpy(av.other_page, av.was_page, PAGE_SIZE);
	memcpy(av.other_plain, av.was_plain, PAGE_SIZE);
	av_expect(&changed, &av.memory, &av.code, switches, av.other_page, av.other_plain, &other);
	return memcmp(&other, want, sizeof(other)) ||
	       !same(av.other_page, av.want_page, PAGE_SIZE) ||
	       !same(av.other_plain, av.want_plain, PAGE_SIZE);
}

static void attribute(const struct av_op *op, const struct av_state *want)
{
	bool others;

	av_cover_switch(false);
	others = matters(op, want, ~0u, ~(u32)AV_NMI_STICKS);
	for (u32 i = 0; i < ARRAY_SIZE(way); i++)
		if (way[i].quirk == AV_NMI_STICKS ? op->nmi_blocked != 0 : others)
			shown[i] += matters(op, want, way[i].vapic, way[i].quirk);
	av_cover_switch(true);
}

static void print_ways(u64 ops)
{
	if (!av.ways)
		return;
	hw_say("# what is not the manual's way, of %lu operations:", ops < av.ways ? ops : av.ways);
	for (u32 i = 0; i < ARRAY_SIZE(way); i++)
		if (shown[i])
			hw_say("differs %s %u", way[i].key, shown[i]);
}

static void operate(struct av_random *random, u64 number, const struct av_aim *aim)
{
	static struct av_state got, want;
	static struct av_op op;
	bool entered;

	av_draw(random, &op, av.page, av.status, aim);
	op.quirks = av.quirks;
	op.nmi_blocked = av.nmi_blocked;
	if (op.fresh)
		memcpy(av.want_page, av.page, PAGE_SIZE);
	av_assemble(&op, &av.memory, &av.code);
	memcpy(av.was_page, av.want_page, PAGE_SIZE);
	memcpy(av.was_plain, av.want_plain, PAGE_SIZE);
	av_expect(&op, &av.memory, &av.code, av.switches, av.want_page, av.want_plain, &want);
	if (number < av.ways)
		attribute(&op, &want);
	memset(&got, 0, sizeof(got));
	entered = run(&op, &got);
	if (want.idt_info == AV_ANY_EVENT && got.idt_info)
		got.idt_info = AV_ANY_EVENT;
	if (!entered || memcmp(&got, &want, sizeof(got)) ||
	    !same(av.page, av.want_page, PAGE_SIZE) || !same(av.plain, av.want_plain, PAGE_SIZE)) {
		complain(number, &op, &got, &want);
		memcpy(av.want_page, av.page, PAGE_SIZE);
		memcpy(av.want_plain, av.plain, PAGE_SIZE);
	}
	av.status = (u16)got.status;
	av.nmi_blocked = got.interruptibility & VMX_BLOCKED_NMI;
}

/* What chance has missed. Returns the number of operations that it took. */
static u64 fill_gaps(struct av_random *random, u64 number)
{
	struct av_aim aim = {0};
	u64 first = number;

	while (av_cover_missing(&aim)) {
		for (u32 i = 0; i < AIMED && !av_cover_has(&aim); i++)
			operate(random, number++, &aim);
		if (!av_cover_has(&aim))
			break;
	}
	return number - first;
}

bool hw_apicv(u64 ops, u64 seed)
{
	struct av_random random = {seed * 0x9e3779b97f4a7c15ull | 1};
	u64 aimed;
	bool covered;

	av.ways = hw_option("ways", 0);
	av.quirks = hw_option("manual", 0) ? 0 : AV_BOCHS;
	av.switches = hw_option("manual", 0) ? VAPIC_SWITCH_DEFAULTS : BOCHS_SWITCHES;
	if (!hw_turn_on(&m.caps))
		return false;
	make_memory();
	if (!make_vmcs())
		return false;
	av.controls = AV_SHADOW | AV_HLT; /* as vmx_write_controls() has it */
	for (u64 i = 0; i < ops; i++)
		operate(&random, i, NULL);
	aimed = hw_option("manual", 0) ? 0 : fill_gaps(&random, ops);
	print_ways(ops);
	covered = av_cover_print();
	hw_say("# APIC virtualization: %lu operations from seed %lu, %lu more for the coverage, %u differences",
	       ops, seed, aimed, av.complaints);
	return covered && !av.complaints;
}
