/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The assist for VMX, without the hypervisor: on a model processor without posted interrupts and IPI virtualization
 * it is to be told from one that has them by nothing but the time that it takes. The same operations at random on
 * both: exits, state, guest interrupt status, virtual-APIC page and descriptors are compared, exit by exit. What the
 * features do at all, tests/model/vmx_posted_test.c and tests/unit/vapic_* say.
 */
#include "tests/model/vmx_apic_guest.h"

#include "x86/vmx_apic.h"

#define NOTIFY     0xf4
#define STEPS      60
#define SEEDS      60
#define OTHER_ONES 3 /* descriptors besides the guest's own */
#define LAST_INDEX 5

/* --- what one run leaves behind --- */

struct state {
	u32 reason, status, exit_info, idt_info, blocked, handled, fault;
	u64 qualification, rip, rflags, pending_debug, value;
	u64 pin, primary, msr_bitmap; /* as the hypervisor has written them */
	u32 apic[PAGE_SIZE / 16];
	u64 desc[1 + OTHER_ONES][5];
};

#define MOST 4096
static struct state seen[2][MOST];
static u32 count[2], run; /* run 0: the processor has it; 1: the assist */

static struct pi_desc *desc; /* the guest's own, then the others */
static u64 *table;
static u64 dice;

static u32 roll(u32 sides)
{
	dice = dice * 6364136223846793005ull + 1442695040888963407ull;
	return (u32)(dice >> 33) % sides;
}

static void note(u32 reason)
{
	struct state *s = &seen[run][count[run]++];

	assert_true(count[run] <= MOST);
	memset(s, 0, sizeof(*s));
	s->reason = reason;
	s->qualification = vmx_read(VMCS_QUALIFICATION);
	s->exit_info = (u32)vmx_read(VMCS_EXIT_INFO);
	s->idt_info = (u32)vmx_read(VMCS_IDT_INFO);
	s->status = status();
	s->blocked = (u32)vmx_read(VMCS_GUEST_INTERRUPTIBILITY);
	s->rip = rip();
	s->rflags = vmx_read(VMCS_GUEST_RFLAGS);
	s->pending_debug = vmx_read(VMCS_GUEST_PENDING_DEBUG);
	s->pin = vmx_read(VMCS_PIN);
	s->primary = vmx_read(VMCS_PRIMARY);
	s->msr_bitmap = vmx_read(VMCS_MSR_BITMAP) - vmx_hpa(m.msr_bitmap);
	s->handled = handled;
	s->fault = op.fault;
	s->value = op.value;
	for (u32 i = 0; i < ARRAY_SIZE(s->apic); i++)
		s->apic[i] = *apic(i * 16);
	/* The upper half of x2APIC's ICR, too. */
	s->apic[1] = *apic(APIC_ICR + 4);
	for (u32 i = 0; i <= OTHER_ONES; i++)
		for (u32 word = 0; word < 5; word++)
			s->desc[i][word] = ((const u64 *)(const void *)&desc[i])[word];
}

/* --- the guest --- */

/* What another processor, or a device, does while the guest runs. */
static struct {
	bool posts, kicks;
	u8 vector;
} outside;

static void post(u8 vector)
{
	atomic64_fetch_or(&desc->pir[vector / 64], BIT64(vector % 64));
	if (!(atomic64_fetch_or(&desc->control, PI_ON) & PI_ON))
		model_apic_raise(&model()->cpu[0], NOTIFY);
}

static bool spins;

static void busy(void *arg __unused)
{
	for (;;) {
		g_nop();
		if (outside.posts)
			post(outside.vector);
		if (outside.kicks)
			model_apic_raise(&model()->cpu[0], CPU_VECTOR_KICK);
		outside.posts = outside.kicks = false;
		g_nop();
		operate();
		while (spins)
			g_nop();
		g_hlt();
	}
}

static void answer(u8 vector __unused, u32 error __unused)
{
	handled++;
	g_nop();
}

static const u32 choices[] = {0x30, 0x41, 0x52, 0x63, 0x9e, 0xe1};

static u32 any_vector(void)
{
	return choices[roll(ARRAY_SIZE(choices))];
}

/* --- a machine --- */

static void create_both(bool ipiv, u32 controls)
{
	u32 features = FEATURES | (ipiv ? MODEL_IPIV : 0);

	vmx_assisted = run ? (ipiv ? "sapphire-rapids" : "broadwell") : NULL;
	vmx_create(features, busy);
	desc = port_alloc(sizeof(*desc) * (1 + OTHER_ONES), PAGE_SIZE);
	table = vmx_page();
	access_page = vmx_page();
	level1 = vmx_page();
	m.level2[APIC / MEMORY] = vmx_hpa(level1) | EPT_READ | EPT_WRITE | EPT_EXEC;
	level1[0] = level1[1] =
	        vmx_hpa(access_page) | EPT_READ | EPT_WRITE | EPT_EXEC | EPT_TYPE(6);
	vmx_write(VMCS_APIC_ACCESS, vmx_hpa(access_page));
	vmx_change(VMCS_SECONDARY, 0, REGISTER | VID | controls);
	vmx_change(VMCS_EXIT_CONTROLS, 0, VMX_EXIT_CTL_ACK_INTR);
	vmx_change(VMCS_PIN, 0, VMX_PIN_POSTED);
	vmx_write(VMCS_PI_VECTOR, NOTIFY);
	vmx_write(VMCS_PI_DESC, vmx_hpa(desc));
	atomic64_set(&desc->control, PI_TO(NOTIFY, 0));
	atomic64_set(&desc[1].control, PI_TO(NOTIFY, 7)); /* no such processor */
	atomic64_set(&desc[2].control, PI_TO(NOTIFY, 0) | PI_SN);
	atomic64_set(&desc[3].control, PI_TO(CPU_VECTOR_KICK, 0));
	for (u32 i = 0; i <= OTHER_ONES; i++)
		table[i] = vmx_hpa(&desc[i]) | PI_ENTRY_VALID;
	table[LAST_INDEX - 1] = vmx_hpa(desc); /* not valid */
	table[LAST_INDEX] = 1ull << 50 | PI_ENTRY_VALID;
	memset(&op, 0, sizeof(op));
	memset(&outside, 0, sizeof(outside));
	handled = 0;
	spins = false;
	for (u32 i = 0; i < ARRAY_SIZE(choices); i++)
		g_set_handler((u8)choices[i], answer);
	g_set_handler(VECTOR_DB, answer);
}

static void activate_ipiv(void)
{
	vmx_change(VMCS_PRIMARY, 0, VMX_PROC_TERTIARY);
	vmx_write(VMCS_TERTIARY, VMX_PROC3_IPIV);
	vmx_write(VMCS_PI_TABLE, vmx_hpa(table));
	vmx_write(VMCS_LAST_PI_INDEX, LAST_INDEX);
}

/* --- operations --- */

static u32 any_icr(void)
{
	static const u32 kinds[] = {0,
	                            0,
	                            0,
	                            APIC_LEVEL_ASSERT,
	                            APIC_DEST_SELF,
	                            APIC_DEST_OTHERS,
	                            APIC_DM_NMI,
	                            APIC_DM_LOWEST,
	                            APIC_DEST_LOGICAL,
	                            APIC_TRIGGER_LEVEL,
	                            APIC_ICR_BUSY,
	                            BIT(13),
	                            BIT(16),
	                            BIT(20)};

	return kinds[roll(ARRAY_SIZE(kinds))] | (roll(12) ? any_vector() : roll(18));
}

static void choose_apic(bool x2)
{
	u32 dest = roll(8) ? roll(LAST_INDEX + 2) : 0x10000;

	switch (roll(8)) {
	case 0:
	case 3:
		if (x2)
			begin(WRMSR, MSR(APIC_EOI), 0, 0);
		else
			begin(WRITE, APIC + APIC_EOI, 4, 0);
		break;
	case 1:
		begin(CR8, 0, 0, roll(4) ? 0 : roll(16));
		break;
	case 2:
		if (x2)
			begin(RDMSR, MSR(APIC_ICR), 0, 0);
		else
			begin(WRITE, APIC + APIC_ICR2, 4, (u64)dest << 24 | roll(2));
		break;
	default:
		if (x2)
			begin(WRMSR, MSR(APIC_ICR), 0, (u64)dest << 32 | any_icr());
		else
			begin(WRITE, APIC + APIC_ICR, 4, any_icr());
	}
}

/* What the hypervisor wants, once in a while. */
static void choose_rest(void)
{
	outside.posts = !roll(3);
	outside.vector = (u8)any_vector();
	outside.kicks = !roll(8);
	if (!roll(4))
		vmx_change(VMCS_GUEST_RFLAGS, RFLAGS_IF, roll(3) ? RFLAGS_IF : 0);
	if (!roll(8))
		vmx_change(VMCS_GUEST_RFLAGS, RFLAGS_TF, RFLAGS_TF);
	if (!roll(6))
		vmx_change(VMCS_PRIMARY, VMX_PROC_MTF, VMX_PROC_MTF);
	if (!roll(10))
		vmx_change(VMCS_PRIMARY, VMX_PROC_INTR_WINDOW, VMX_PROC_INTR_WINDOW);
	if (!roll(6))
		vmx_change(VMCS_EXCEPTIONS, 0, BIT(VECTOR_GP));
	if (!roll(6))
		vmx_change(VMCS_EXCEPTIONS, 0, BIT(VECTOR_DB));
	if (!roll(6))
		insn_apic_send(0, NOTIFY); /* for nothing */
}

/* Until the guest halts again. What the hypervisor wanted for once is over at each exit. */
static void go(void)
{
	u32 reason;

	do {
		reason = vmx_run_guest();
		note(reason);
		if (reason == VMX_EXIT_EXTERNAL)
			insn_apic_eoi();
		if (reason == VMX_EXIT_EXCEPTION &&
		    (seen[run][count[run] - 1].exit_info & VMX_EVENT_VECTOR) == VECTOR_GP)
			vmx_write(VMCS_GUEST_RIP, rip() + guest_engine()->guest[0].insn->length);
		if (reason == VMX_EXIT_APIC_ACCESS)
			skip_access();
		if (reason == VMX_EXIT_WRMSR)
			vmx_skip();
		vmx_change(VMCS_PRIMARY, VMX_PROC_INTR_WINDOW, 0);
		if (!roll(3))
			vmx_change(VMCS_PRIMARY, VMX_PROC_MTF, 0);
		if (!roll(3))
			vmx_change(VMCS_GUEST_RFLAGS, RFLAGS_TF, 0);
		vmx_write(VMCS_EXCEPTIONS, 0);
	} while (reason != VMX_EXIT_HLT);
	vmx_skip();
}

static void compare(u64 seed)
{
	assert_int_equal(count[0], count[1]);
	for (u32 i = 0; i < count[0]; i++) {
		const struct state *a = &seen[0][i], *b = &seen[1][i];

		if (!memcmp(a, b, sizeof(*a)))
			continue;
		fail_msg("seed %llu, exit %u: reason %u, %u; qualification %llx, %llx; "
		         "RIP %llx, %llx; flags %llx, %llx; status %x, %x; info %x, %x; "
		         "debug %llx, %llx; handled %u, %u; fault %u, %u",
		         (unsigned long long)seed, i, a->reason, b->reason,
		         (unsigned long long)a->qualification, (unsigned long long)b->qualification,
		         (unsigned long long)a->rip, (unsigned long long)b->rip,
		         (unsigned long long)a->rflags, (unsigned long long)b->rflags, a->status,
		         b->status, a->exit_info, b->exit_info,
		         (unsigned long long)a->pending_debug, (unsigned long long)b->pending_debug,
		         a->handled, b->handled, a->fault, b->fault);
	}
}

static u64 hw_counts(enum hw_count which)
{
	return port_hw_counts()[which];
}

static u64 delivered, sent;

static void run_seed(u64 seed, bool ipiv, bool x2)
{
	u64 counts[2][HW_COUNT];

	for (run = 0; run < 2; run++) {
		count[run] = 0;
		dice = seed;
		create_both(ipiv, x2 ? X2APIC : ACCESS);
		if (ipiv)
			activate_ipiv();
		else
			m.msr_bitmap[0x800 + MSR(APIC_ICR) / 8] |= BIT(MSR(APIC_ICR) % 8);
		open_interrupts();
		for (u32 i = 0; i < STEPS; i++) {
			choose_apic(x2);
			choose_rest();
			go();
		}
		for (u32 i = 0; i < HW_COUNT; i++)
			counts[run][i] = hw_counts(i);
	}
	compare(seed);
	assert_memory_equal(counts[0], counts[1], sizeof(counts[0]));
	delivered += counts[1][HW_DELIVERED];
	sent += counts[1][HW_IPI];
	vmx_assisted = NULL;
}

static void run_seeds(bool ipiv, bool x2)
{
	delivered = sent = 0;
	for (u64 seed = 1; seed <= SEEDS; seed++)
		run_seed(seed, ipiv, x2);
	/* There was something to do. */
	assert_true(delivered > SEEDS);
	assert_int_equal(sent > SEEDS, ipiv);
}

static void test_posted_xapic(void **state __unused)
{
	run_seeds(false, false);
}

static void test_posted_x2apic(void **state __unused)
{
	run_seeds(false, true);
}

static void test_ipiv_xapic(void **state __unused)
{
	run_seeds(true, false);
}

static void test_ipiv_x2apic(void **state __unused)
{
	run_seeds(true, true);
}

/* --- the entry --- */

#define UNALIGNED BIT64(3)
#define TOO_FAR   (1ull << 60)

/* X(name, what breaks it) */
#define BREAKERS(X)                                                                                \
	X("tertiary: reserved", vmx_write(VMCS_TERTIARY, VMX_PROC3_IPIV | BIT64(5)))               \
	X("no delivery", vmx_change(VMCS_SECONDARY, VID, 0))                                       \
	X("no acknowledgement", vmx_change(VMCS_EXIT_CONTROLS, VMX_EXIT_CTL_ACK_INTR, 0))          \
	X("vector", vmx_write(VMCS_PI_VECTOR, 0x100 | NOTIFY))                                     \
	X("descriptor: aligned", vmx_write(VMCS_PI_DESC, vmx_hpa(desc) + UNALIGNED))               \
	X("descriptor: width", vmx_write(VMCS_PI_DESC, TOO_FAR))                                   \
	X("table: aligned", vmx_write(VMCS_PI_TABLE, vmx_hpa(table) + 4))                          \
	X("table: width", vmx_write(VMCS_PI_TABLE, TOO_FAR))                                       \
	X("table: last entry", (vmx_write(VMCS_PI_TABLE, BIT64(VMX_ADDRESS_BITS) - 0x1000),        \
	                        vmx_write(VMCS_LAST_PI_INDEX, PI_LAST_INDEX)))                     \
	X("no TPR shadow", (vmx_change(VMCS_PRIMARY, VMX_PROC_TPR_SHADOW, 0),                      \
	                    vmx_change(VMCS_PIN, VMX_PIN_POSTED, 0),                               \
	                    vmx_change(VMCS_SECONDARY, X2APIC | REGISTER | VID, 0)))

static void break_rule(u32 which)
{
	u32 n = 0;
#define X(name, how)                                                                               \
	if (which == n++)                                                                          \
		how;
	BREAKERS(X)
#undef X
}

static void test_entry_is_refused(void **state __unused)
{
	static const char *const names[] = {
#define X(name, how) name,
	        BREAKERS(X)
#undef X
	};

	for (u32 i = 0; i < 2 * ARRAY_SIZE(names); i++) {
		u64 pin, primary;

		run = i & 1;
		create_both(true, X2APIC);
		activate_ipiv();
		to_hlt();
		break_rule(i / 2);
		pin = vmx_read(VMCS_PIN);
		primary = vmx_read(VMCS_PRIMARY);
		if (insn_enter_vmx(m.gpr, m.launched, vmx_never, &vmx_vcpu))
			fail_msg("%s, %u: not refused", names[i / 2], run);
		assert_int_equal(vmx_read(VMCS_INSTRUCTION_ERROR), VMX_ERROR_ENTRY_CONTROLS);
		assert_int_equal(vmx_read(VMCS_PIN), pin);
		assert_int_equal(vmx_read(VMCS_PRIMARY), primary);
	}
	vmx_assisted = NULL;
}

/* Without the controls the fields have no meaning. */
static void test_controls_off(void **state __unused)
{
	for (run = 0; run < 2; run++) {
		create_both(true, X2APIC);
		activate_ipiv();
		vmx_change(VMCS_PIN, VMX_PIN_POSTED, 0);
		vmx_change(VMCS_PRIMARY, VMX_PROC_TERTIARY, 0);
		vmx_write(VMCS_PI_DESC, 1);
		vmx_write(VMCS_TERTIARY, ~0ull);
		vmx_write(VMCS_PI_TABLE, 1);
		to_hlt();
		insn_apic_send(0, NOTIFY);
		expect(VMX_EXIT_EXTERNAL, 0);
		assert_int_equal(vmx_read(VMCS_EXIT_INFO), VMX_EVENT_VALID | NOTIFY);
		insn_apic_eoi();
	}
	assert_int_equal(vmx_vcpu.account.model_overhead, 0);
	vmx_assisted = NULL;
}

/* --- fields that the processor lacks --- */

static void test_fields_are_the_vmcs_s(void **state __unused)
{
	static const struct {
		u32 field;
		u64 mask;
	} fields[] = {{VMCS_PI_VECTOR, 0xffff},
	              {VMCS_PI_DESC, ~0ull},
	              {VMCS_TERTIARY, ~0ull},
	              {VMCS_LAST_PI_INDEX, 0xffff},
	              {VMCS_PI_TABLE, ~0ull}};
	u8 *other;

	run = 1;
	create_both(true, X2APIC);
	other = vmx_page();
	memcpy(other, m.vmcs, sizeof(u32));
	assert_true(insn_vmclear(ptr_to_hpa(other)));
	for (u32 i = 0; i < ARRAY_SIZE(fields); i++) {
		u64 value = 0;

		vmx_write(fields[i].field, 0xabcdef0123456789 + i);
		assert_true(insn_vmptrld(ptr_to_hpa(other)));
		vmx_write(fields[i].field, i);
		assert_true(insn_vmptrld(ptr_to_hpa(m.vmcs)));
		assert_int_equal(vmx_read(fields[i].field),
		                 (0xabcdef0123456789 + i) & fields[i].mask);
		/* The processor itself has none. */
		assert_false(insn_vmread(fields[i].field, &value));
	}
	/* VMCLEAR, as for another processor, changes nothing. */
	assert_true(insn_vmclear(ptr_to_hpa(m.vmcs)));
	assert_true(insn_vmptrld(ptr_to_hpa(m.vmcs)));
	assert_int_equal(vmx_read(VMCS_TERTIARY), 0xabcdef0123456789 + 2);
	assert_true(insn_vmptrld(ptr_to_hpa(other)));
	assert_int_equal(vmx_read(VMCS_TERTIARY), 2);
	vmx_assisted = NULL;
}

/* --- capabilities --- */

static u32 may_be(u32 msr, u32 bit)
{
	return VMX_MAY(insn_vmx_capability(msr)) & bit;
}

static const char *start_on(u32 features, const char *name)
{
	struct assist_processor shown;
	const char *models;

	posix_machine_reset(&(struct posix_config){.cpus = 1}, features);
	assert_true(assist_find(name, &shown));
	shown.memory = model_memory();
	models = assist_models(&shown);
	assert_true(assist_start(&shown));
	return models;
}

static void expect_shown(bool posted, bool ipiv)
{
	assert_int_equal(!!may_be(MSR_VMX_PIN, VMX_PIN_POSTED), posted);
	assert_int_equal(!!may_be(MSR_VMX_TRUE_PIN, VMX_PIN_POSTED), posted);
	assert_int_equal(!!may_be(MSR_VMX_PROC, VMX_PROC_TERTIARY), ipiv);
	assert_int_equal(!!may_be(MSR_VMX_TRUE_PROC, VMX_PROC_TERTIARY), ipiv);
	if (ipiv)
		assert_int_equal(insn_vmx_capability(MSR_VMX_PROC3), VMX_PROC3_IPIV);
	assert_int_equal(insn_vmx_capability(MSR_VMX_PROC2), insn_rdmsr(MSR_VMX_PROC2));
}

static void test_capabilities(void **state __unused)
{
	const u32 unposted = MODEL_WESTMERE | MODEL_APICV;

	assert_string_equal(start_on(unposted, "broadwell"), "posted interrupts");
	expect_shown(true, false);
	assert_string_equal(start_on(unposted, "sapphire-rapids"),
	                    "posted interrupts and IPI virtualization");
	expect_shown(true, true);
	assert_string_equal(start_on(MODEL_BROADWELL, "sapphire-rapids"), "IPI virtualization");
	expect_shown(true, true);
	/* What the processor has is its own, */
	assert_null(start_on(MODEL_BROADWELL, "broadwell"));
	expect_shown(true, false);
	assert_null(start_on(MODEL_SAPPHIRE_RAPIDS, "sapphire-rapids"));
	expect_shown(true, true);
	assert_ptr_equal(insn_slots.vmx_run, insn_native_slots.vmx_run);
	/* and what is beyond the named one is hidden. */
	assert_null(start_on(MODEL_SAPPHIRE_RAPIDS, "broadwell"));
	expect_shown(true, false);
	/* There is no help for one without the rest of APIC virtualization, or without VMX. */
	assert_null(start_on(MODEL_WESTMERE, "sapphire-rapids"));
	expect_shown(false, false);
	assert_null(start_on(MODEL_BARCELONA, "sapphire-rapids"));
	assert_null(assist_counts());
}

/* --- what goes on beside it --- */

#define TICKS 4000u

/* The preemption timer counts on, however often the assist enters, and the field has what was written. */
static void test_the_timer_goes_on(void **state __unused)
{
	u64 passed[2], start;

	for (run = 0; run < 2; run++) {
		create_both(false, X2APIC);
		open_interrupts();
		vmx_change(VMCS_PIN, 0, VMX_PIN_PREEMPTION_TIMER);
		vmx_write(VMCS_PREEMPTION_TIMER, TICKS);
		start = model_time();
		/* Each HLT is one more notification. */
		vmx_change(VMCS_PRIMARY, VMX_PROC_HLT, 0);
		model()->between = NULL;
		begin(NOTHING, 0, 0, 0);
		outside.posts = true;
		outside.vector = 0x41;
		expect(VMX_EXIT_PREEMPTION_TIMER, 0);
		passed[run] = model_time() - start;
		assert_int_equal(vmx_read(VMCS_PREEMPTION_TIMER), TICKS);
		assert_int_equal(handled, 1);
	}
	assert_true(vmx_vcpu.account.model_overhead > 0);
	assert_true(passed[0] >= (TICKS - 1) << 5 && passed[0] <= (TICKS + 4) << 5);
	assert_true(passed[1] >= (TICKS - 8) << 5 && passed[1] <= (TICKS + 4) << 5);
	vmx_assisted = NULL;
}

/* A forced exit: the event is injected, the timer is 0, and a notification is no reason to go on. */
static void test_a_forced_exit_stays_forced(void **state __unused)
{
	for (run = 0; run < 2; run++) {
		create_both(false, X2APIC);
		to_hlt();
		open_interrupts();
		post(0x41);
		vmx_change(VMCS_PIN, 0, VMX_PIN_PREEMPTION_TIMER);
		vmx_write(VMCS_PREEMPTION_TIMER, 0);
		vmx_inject(VMX_EVENT_EXTERNAL, 0x52);
		expect(VMX_EXIT_PREEMPTION_TIMER, 0);
		assert_int_equal(depth(), 1);
		assert_int_equal(handled, 0);
		assert_int_equal(vmx_read(VMCS_PREEMPTION_TIMER), 0);
	}
	vmx_assisted = NULL;
}

/* Entered with RFLAGS.IF clear by the assist, for the hypervisor had it set: bounded. */
static void test_deaf_entries_are_bounded(void **state __unused)
{
	u64 start;

	run = 1;
	create_both(true, X2APIC);
	activate_ipiv();
	begin(WRMSR, MSR(APIC_ICR), 0, 0x41);
	spins = true;
	vmx_change(VMCS_PIN, 0, VMX_PIN_PREEMPTION_TIMER);
	vmx_write(VMCS_PREEMPTION_TIMER, ~0u);
	start = model_time();
	expect(VMX_EXIT_PREEMPTION_TIMER, 0);
	assert_true(model_time() - start <= 2 * POSIX_TSC_KHZ);
	assert_int_equal(vmx_read(VMCS_PREEMPTION_TIMER), ~0u);
	vmx_assisted = NULL;
}

/* The hypervisor enters again by itself, and opens a window there. */
static bool open_window_again(void *context)
{
	assert_ptr_equal(context, &vmx_vcpu);
	if (vmx_read(VMCS_EXIT_REASON) != VMX_EXIT_HLT)
		return false;
	vmx_skip();
	vmx_change(VMCS_PRIMARY, 0, VMX_PROC_INTR_WINDOW);
	return true;
}

static void test_the_hypervisor_enters_again(void **state __unused)
{
	u64 primary;

	for (run = 0; run < 2; run++) {
		create_both(true, X2APIC);
		activate_ipiv();
		open_interrupts();
		primary = vmx_read(VMCS_PRIMARY);
		assert_true(insn_enter_vmx(m.gpr, false, open_window_again, &vmx_vcpu));
		assert_int_equal(vmx_read(VMCS_EXIT_REASON), VMX_EXIT_INTR_WINDOW);
		assert_int_equal(vmx_read(VMCS_PRIMARY), primary | VMX_PROC_INTR_WINDOW);
	}
	vmx_assisted = NULL;
}

/* What a #GP of the assist's was injected over is there again: the hypervisor knows what it wrote. */
static void test_injection_leaves_no_trace(void **state __unused)
{
	for (run = 0; run < 2; run++) {
		create_both(true, X2APIC);
		activate_ipiv();
		to_hlt();
		vmx_write(VMCS_ENTRY_INFO, 0x55);
		vmx_write(VMCS_ENTRY_ERROR, 0x1234);
		expect_fault(WRMSR, MSR(APIC_ICR), BIT(20));
		assert_int_equal(vmx_read(VMCS_ENTRY_INFO), 0x55);
		assert_int_equal(vmx_read(VMCS_ENTRY_ERROR), 0x1234);
	}
	vmx_assisted = NULL;
}

/* What is completed by the assist ends the shadow that it was in, as any instruction. */
static void test_the_shadow_ends(void **state __unused)
{
	for (run = 0; run < 2; run++) {
		create_both(true, X2APIC);
		activate_ipiv();
		to_hlt();
		open_interrupts();
		begin(WRMSR, MSR(APIC_ICR), 0, APIC_DEST_OTHERS | 0x41);
		vmx_change(VMCS_PRIMARY, 0, VMX_PROC_MTF);
		expect(VMX_EXIT_MTF, 0);
		expect(VMX_EXIT_MTF, 0);
		vmx_change(VMCS_PRIMARY, VMX_PROC_MTF, 0);
		vmx_write(VMCS_GUEST_INTERRUPTIBILITY, VMX_BLOCKED_STI);
		expect(VMX_EXIT_APIC_WRITE, APIC_ICR);
		assert_int_equal(vmx_read(VMCS_GUEST_INTERRUPTIBILITY), 0);
	}
	vmx_assisted = NULL;
}

/* --- accounts --- */

static void test_overhead(void **state __unused)
{
	run = 1;
	create_both(true, X2APIC);
	activate_ipiv();
	open_interrupts();
	vmx_vcpu.account.model_overhead = 0;
	/* To itself: the write, and the notification. */
	quietly(WRMSR, MSR(APIC_ICR), 0x41);
	assert_int_equal(vmx_vcpu.account.model_overhead, 2);
	assert_int_equal(handled, 1);
	assert_int_equal(hw_counts(HW_IPI), 1);
	assert_int_equal(hw_counts(HW_DOORBELLS), 1);
	assert_int_equal(hw_counts(HW_DELIVERED), 1);
	/* An exit of the modelled processor is none. */
	begin(WRMSR, MSR(APIC_ICR), 4, APIC_DEST_OTHERS | 0x41);
	expect(VMX_EXIT_APIC_WRITE, APIC_ICR);
	to_hlt();
	assert_int_equal(vmx_vcpu.account.model_overhead, 2);
	vmx_assisted = NULL;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_posted_xapic),
	        cmocka_unit_test(test_posted_x2apic),
	        cmocka_unit_test(test_ipiv_xapic),
	        cmocka_unit_test(test_ipiv_x2apic),
	        cmocka_unit_test(test_entry_is_refused),
	        cmocka_unit_test(test_controls_off),
	        cmocka_unit_test(test_fields_are_the_vmcs_s),
	        cmocka_unit_test(test_capabilities),
	        cmocka_unit_test(test_the_timer_goes_on),
	        cmocka_unit_test(test_a_forced_exit_stays_forced),
	        cmocka_unit_test(test_deaf_entries_are_bounded),
	        cmocka_unit_test(test_the_hypervisor_enters_again),
	        cmocka_unit_test(test_injection_leaves_no_trace),
	        cmocka_unit_test(test_the_shadow_ends),
	        cmocka_unit_test(test_overhead),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
