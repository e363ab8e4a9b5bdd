/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requirement S4 on VMX: exits that are forced, and the guest's own deadline, by one timer; each branch of what
 * becomes of its exit, and their order. Single entries by hand, and runs of the whole; these on a processor
 * without that timer, too, where guests have to see the same.
 */
#include "tests/model/harness.h"

#include "core/machine.h"
#include "cpu_model/vmx.h"
#include "irq/extint.h"
#include "irq/intr.h"
#include "vmx/vmx.h"

#define VECTOR   0x61
#define LATE     0x31 /* ExtINT's */
#define DISABLED 0xffffffffu
#define LONGEST  0xfffffffeu
#define AHEAD    40000 /* ticks: a hundred instructions */

#define WORD_TICKS 0
#define WORD_NMI   1
#define WORD_GP    2
#define WORD_SPUN  3
#define WORD_LATE  4

static struct vcpu *vcpu;

/* --- by hand --- */

static void begin(guest_script script)
{
	harness_create(&(struct harness){.processor = "westmere", .by_hand = true});
	guest_bind(HARNESS_BSP, script, NULL);
	vcpu = harness_vm->vcpu[0];
	assert_true(port_machine()->entry_timer);
	assert_true(backend_op(cpu_init)(this_cpu()));
	backend_op(vcpu_load)(vcpu, this_cpu());
	atomic32_set(&vcpu->sched_state, VCPU_RUNNING);
	ptr_set(&vcpu->cpu, this_cpu());
	lapic_timer_on_entry(vcpu, true);
}

static void end(void)
{
	backend_op(vcpu_put)(vcpu);
	backend_op(cpu_exit)(this_cpu());
	harness_destroy();
}

static void enter(bool force)
{
	backend_op(host_irqs_block)();
	atomic32_set(&vcpu->mode, VCPU_IN_GUEST);
	backend_op(run)(vcpu, force);
	atomic32_set(&vcpu->mode, VCPU_OUTSIDE);
	backend_op(host_irqs_unblock)();
}

/* As the run loop does, until the guest exits for `kind`, or has set its deadline. */
static void enter_until(enum exit_kind kind, bool or_deadline)
{
	for (u32 i = 0; i < 50; i++) {
		vcpu_handle_requests(vcpu);
		assert_false(intr_prepare_entry(vcpu));
		enter(false);
		if (vcpu->exit.kind == kind)
			return;
		exit_handle(vcpu);
		if (or_deadline && vcpu->lapic.timer_deadline != TSC_NEVER)
			return;
	}
	fail_msg("no exit %s", exit_kind_name(kind));
}

static u64 field(u32 encoding)
{
	return vmx_field(&model()->cpu[0], encoding);
}

static u64 counted(enum exit_kind kind)
{
	return counter_read(&vcpu->account.exits[kind]);
}

static u64 ticks(void)
{
	return counter_read(&vcpu->account.counters[COUNTER_TIMER_TICKS]);
}

static void handle_tick(u8 vector __unused, u32 error __unused)
{
	g_set_shared(WORD_TICKS, g_shared(WORD_TICKS) + 1);
	g_apic_eoi();
}

static void set_up_deadlines(void)
{
	g_set_handler(VECTOR, handle_tick);
	g_apic_enable();
	g_apic_write(APIC_LVTT, APIC_LVTT_DEADLINE | VECTOR);
}

static void spin_until_tick(void)
{
	while (!g_shared(WORD_TICKS))
		g_set_shared(WORD_SPUN, g_shared(WORD_SPUN) + 1);
	g_hlt();
}

static void script_deadline(void *arg __unused)
{
	set_up_deadlines();
	g_sti();
	g_wrmsr(MSR_TSC_DEADLINE, g_rdtsc() + AHEAD);
	spin_until_tick();
}

static void expect_forced(u64 deadline)
{
	u64 rip = vcpu->regs.rip;

	enter(true);
	assert_int_equal(vcpu->exit.kind, EXIT_INTR);
	assert_int_equal(vcpu->regs.rip, rip);
	assert_int_equal(field(VMCS_PREEMPTION_TIMER), 0);
	assert_true(vcpu->lapic.timer_deadline == deadline);
	exit_handle(vcpu);
}

/* --- how many ticks --- */

static void test_rounded_up(void **state __unused)
{
	static const u64 nows[] = {0, 1, 31, 32, 33, 12345678901ull, 1ull << 50};
	static const u64 waits[] = {0, 1, 2, 31, 32, 33, 63, 64, 65, 1000000, 3ull << 31};
	static const u32 rates[] = {0, 1, 5, 7, 31};

	begin(script_deadline);
	for (u32 r = 0; r < ARRAY_SIZE(rates); r++) {
		u64 step = 1ull << rates[r];

		vmx_features.misc = rates[r];
		for (u32 i = 0; i < ARRAY_SIZE(nows) * ARRAY_SIZE(waits); i++) {
			u64 now = nows[i / ARRAY_SIZE(waits)];
			u64 deadline = now + waits[i % ARRAY_SIZE(waits)];
			u64 value = vmx_timer_ticks(now, deadline);
			u64 comes = ((now >> rates[r]) + value) << rates[r];

			if (deadline - now > LONGEST * step) {
				assert_int_equal(value, LONGEST);
				continue;
			}
			/* Not before it, and no later than there is no other way. */
			assert_true(!value || (comes >= deadline && comes - deadline < step));
			assert_int_equal(!value, deadline == now);
		}
		assert_int_equal(vmx_timer_ticks(5, 4), 0);
		assert_int_equal(vmx_timer_ticks(5, TSC_NEVER - 1), LONGEST);
	}
	end();
}

/* --- the branches, in their order --- */

static void script_spurious(void *arg __unused)
{
	struct cpuid_regs r;

	g_sti();
	g_cpuid(0, 0, &r);
	G_CHECK_EQUAL(field(VMCS_PREEMPTION_TIMER), DISABLED);
	model_current()->early_timers = 2;
	g_nop();
	g_hlt();
}

static void test_disabled_softly_and_spurious(void **state __unused)
{
	begin(script_spurious);
	enter_until(EXIT_HLT, false);
	assert_int_equal(model()->cpu[0].early_timers, 0);
	assert_int_equal(counted(EXIT_TIMER), 2);
	assert_int_equal(counted(EXIT_INTR), 0);
	assert_int_equal(ticks(), 0);
	end();
}

/* A request that has come meanwhile: not for the next entry, though it was one for nothing. */
static void script_spurious_and_request(void *arg __unused)
{
	struct cpuid_regs r;

	g_sti();
	g_cpuid(0, 0, &r);
	atomic32_set(&vcpu->requests, VCPU_REQUEST_FLUSH);
	model_current()->early_timers = 1;
	g_nop();
	g_hlt();
}

static void test_spurious_with_a_request_does_not_enter(void **state __unused)
{
	begin(script_spurious_and_request);
	enter_until(EXIT_INTR, false);
	assert_int_equal(counted(EXIT_TIMER), 0);
	assert_int_equal(atomic32_read(&vcpu->requests), VCPU_REQUEST_FLUSH);
	enter_until(EXIT_HLT, false);
	end();
}

static void test_forced_leaves_the_deadline_alone(void **state __unused)
{
	u64 deadline, exits;

	begin(script_deadline);
	enter_until(EXIT_HLT, true);
	deadline = vcpu->lapic.timer_deadline;
	assert_true(deadline > model_time());
	for (u32 i = 0; i < 3; i++)
		expect_forced(deadline);
	exits = counted(EXIT_INTR);
	/* Nothing has been lost: it comes without another exit to the run loop. */
	enter_until(EXIT_HLT, false);
	assert_int_equal(ticks(), 1);
	assert_int_equal(counted(EXIT_TIMER), 1);
	assert_int_equal(counted(EXIT_INTR), exits);
	assert_true(model_time() >= deadline);
	end();
}

/* The deadline has passed, too: forced is forced, and the expiry comes with the next entry. */
static void test_forced_comes_before_an_expiry(void **state __unused)
{
	u64 deadline;

	begin(script_deadline);
	enter_until(EXIT_HLT, true);
	deadline = vcpu->lapic.timer_deadline;
	while (model_time() < deadline)
		port_tsc();
	expect_forced(deadline);
	assert_int_equal(ticks(), 0);
	enter_until(EXIT_HLT, false);
	assert_int_equal(ticks(), 1);
	end();
}

static void test_forced_comes_before_guest_mode(void **state __unused)
{
	begin(script_deadline);
	enter_until(EXIT_HLT, true);
	vcpu->guest_mode = true;
	expect_forced(vcpu->lapic.timer_deadline);
	vcpu->guest_mode = false;
	assert_int_equal(counted(EXIT_TIMER), 0);
	end();
}

static void test_guest_mode_goes_the_slow_path(void **state __unused)
{
	begin(script_deadline);
	enter_until(EXIT_HLT, true);
	vcpu->guest_mode = true;
	enter(false);
	assert_int_equal(vcpu->exit.kind, EXIT_TIMER);
	assert_int_equal(ticks(), 0);
	exit_handle(vcpu);
	assert_int_equal(ticks(), 1);
	assert_int_equal(counted(EXIT_TIMER), 1);
	vcpu->guest_mode = false;
	assert_true(lapic_deliverable(vcpu) == VECTOR);
	end();
}

static u32 exits_seen;

static void disable_softly(struct model_cpu *cpu __unused)
{
	if (!exits_seen++)
		vmx_of(vcpu)->vmcs->have.timer = DISABLED;
}

/* An exit of one that is disabled comes before all others, and the next entry is forced as that one was. */
static void test_entered_again_forced_is_forced(void **state __unused)
{
	u64 rip;

	begin(script_deadline);
	enter_until(EXIT_HLT, true);
	rip = vcpu->regs.rip;
	vcpu->guest_mode = true;
	exits_seen = 0;
	model()->between = disable_softly;
	enter(true);
	model()->between = NULL;
	vcpu->guest_mode = false;
	assert_int_equal(exits_seen, 2);
	assert_int_equal(vcpu->exit.kind, EXIT_INTR);
	assert_int_equal(vcpu->regs.rip, rip);
	assert_int_equal(counted(EXIT_TIMER), 1);
	assert_int_equal(ticks(), 0);
	end();
}

static void script_far(void *arg __unused)
{
	struct cpuid_regs r;

	set_up_deadlines();
	g_sti();
	g_wrmsr(MSR_TSC_DEADLINE, g_rdtsc() + (1ull << 45));
	g_cpuid(0, 0, &r);
	G_CHECK_EQUAL(field(VMCS_PREEMPTION_TIMER), LONGEST);
	model_current()->early_timers = 3;
	g_nop();
	g_hlt();
}

/* Farther than the counter reaches, or it has come too early. */
static void test_not_there_yet(void **state __unused)
{
	begin(script_far);
	enter_until(EXIT_HLT, false);
	assert_int_equal(counted(EXIT_TIMER), 3);
	assert_int_equal(ticks(), 0);
	assert_true(vcpu->lapic.timer_deadline > model_time() + (1ull << 44));
	end();
}

static void script_deaf(void *arg __unused)
{
	for (;;)
		g_nop();
}

/* IF clear, so that Bochs sees no interrupt: no more than a millisecond, and whatever the deadline is. */
static void test_deaf_entries_end(void **state __unused)
{
	u64 begun;

	begin(script_deaf);
	for (u32 i = 0; i < 3; i++) {
		vcpu->lapic.timer_deadline =
		        i ? model_time() + (i == 1 ? AHEAD : 1ull << 45) : TSC_NEVER;
		begun = model_time();
		intr_prepare_entry(vcpu);
		enter(false);
		assert_int_equal(vcpu->exit.kind, EXIT_INTR);
		assert_true(model_time() - begun < HARNESS_TICKS_MS(1) + 10000);
		assert_true(i == 1 || model_time() - begun >= HARNESS_TICKS_MS(1));
		assert_int_equal(ticks(), i > 0);
		atomic32_set(&vcpu->requests, 0);
	}
	end();
}

/* In a debugger's step it is the physical timer's, and has to wait. */
static void test_deadline_that_did_not_go_along(void **state __unused)
{
	begin(script_deaf);
	intr_prepare_entry(vcpu);
	lapic_timer_on_entry(vcpu, false);
	vcpu->lapic.timer_deadline = model_time();
	enter(false);
	assert_int_equal(vcpu->exit.kind, EXIT_INTR);
	assert_int_equal(ticks(), 0);
	assert_true(field(VMCS_PREEMPTION_TIMER) > 0);
	end();
}

/* What is to be decided needs more than there is with interrupts blocked: the run loop does it. */
static void test_expiry_that_the_run_loop_has_to_see_to(void **state __unused)
{
	for (u32 i = 0; i < 3; i++) {
		begin(script_deadline);
		enter_until(EXIT_HLT, true);
		if (i == 0)
			lapic_signal_nmi(&vcpu->lapic);
		else if (i == 1)
			vcpu->lapic.auto_eoi = true;
		else
			vcpu->intr.nmi_pending = 1;
		atomic32_set(&vcpu->requests, 0);
		enter(false);
		assert_int_equal(vcpu->exit.kind, EXIT_INTR);
		assert_int_equal(ticks(), 1);
		assert_int_equal(counted(EXIT_TIMER), 0);
		assert_int_equal(atomic32_read(&vcpu->requests), VCPU_REQUEST_EVENT);
		assert_int_equal(lapic_deliverable(vcpu), VECTOR);
		end();
	}
}

/*
 * ExtINT comes right behind the look for it, from another processor: INTR, the request, the interrupt. Its answer
 * takes a lock, so the run loop gives it.
 */
static struct {
	bool comes, intr;
	u32 answers;
} late;

static bool has_late(void *source __unused)
{
	bool intr = late.intr;

	if (late.comes && !model_current()->intr_flag) {
		late.comes = false;
		late.intr = true;
		atomic32_fetch_or(&vcpu->requests, VCPU_REQUEST_EVENT);
		model_apic_raise(model_current(), CPU_VECTOR_KICK);
	}
	return intr;
}

static u8 answer_late(void *source __unused)
{
	assert_true(model_current()->intr_flag);
	late.intr = false;
	late.answers++;
	return LATE;
}

static const struct extint_ops late_ops = {.has = has_late, .ack = answer_late};

static void handle_late(u8 vector __unused, u32 error __unused)
{
	g_set_shared(WORD_LATE, g_shared(WORD_LATE) + 1);
}

static void script_late(void *arg __unused)
{
	g_set_handler(LATE, handle_late);
	set_up_deadlines();
	g_apic_write(APIC_LVT0, APIC_DM_EXTINT);
	g_sti();
	g_wrmsr(MSR_TSC_DEADLINE, g_rdtsc() + AHEAD);
	while (!g_shared(WORD_TICKS) || !g_shared(WORD_LATE))
		g_nop();
	G_CHECK_EQUAL(g_shared(WORD_TICKS), 1);
	G_CHECK_EQUAL(g_shared(WORD_LATE), 1);
	g_hlt();
}

static void test_extint_behind_the_look_for_it(void **state __unused)
{
	memset(&late, 0, sizeof(late));
	begin(script_late);
	extint_attach(harness_vm, &late_ops, NULL);
	enter_until(EXIT_HLT, true);
	late.comes = true;
	enter(false);
	/* The expiry has led to an entry, and that one ended for the interrupt. */
	assert_true(late.intr && !late.comes);
	assert_int_equal(counted(EXIT_TIMER), 1);
	assert_int_equal(vcpu->exit.kind, EXIT_INTR);
	assert_int_equal(ticks(), 1);
	exit_handle(vcpu);
	enter_until(EXIT_HLT, false);
	assert_int_equal(late.answers, 1);
	extint_attach(harness_vm, NULL, NULL);
	end();
}

/* While it does not run, the physical timer has the deadline; never both, never none. */
static void test_one_timer_at_a_time(void **state __unused)
{
	struct timer_queue *queue = &this_cpu()->timers;
	struct lapic *lapic;
	u64 deadline;

	begin(script_deadline);
	lapic = &vcpu->lapic;
	enter_until(EXIT_HLT, true);
	deadline = lapic->timer_deadline;
	assert_null(ptr_read(&lapic->timer.queue));
	assert_true(lapic_timer_entry_deadline(lapic) == deadline);
	lapic_timer_on_entry(vcpu, false);
	assert_ptr_equal(ptr_read(&lapic->timer.queue), queue);
	assert_true(lapic->timer.deadline == deadline);
	assert_true(lapic_timer_entry_deadline(lapic) == TSC_NEVER);
	lapic_timer_on_entry(vcpu, true);
	assert_null(ptr_read(&lapic->timer.queue));
	/* What is not armed is not armed. */
	lapic_timer_on_entry(vcpu, false);
	lapic->timer_deadline = TSC_NEVER;
	timer_cancel(&lapic->timer);
	lapic_timer_on_entry(vcpu, true);
	lapic_timer_on_entry(vcpu, false);
	assert_null(ptr_read(&lapic->timer.queue));
	end();
}

static void slow_path_of_l1(void)
{
	harness_vm->vcpu[0]->exit.kind = EXIT_TIMER;
	exit_handle(harness_vm->vcpu[0]);
}

static void test_slow_path_is_for_guest_mode_only(void **state __unused)
{
	harness_create(&(struct harness){
	        .processor = "westmere", .cpus = 2, .device = slow_path_of_l1, .by_hand = true});
	guest_bind(HARNESS_BSP, script_deaf, NULL);
	vm_start(harness_vm);
	assert_false(posix_run_stepper());
	assert_non_null(strstr(posix_failure(), "guest_mode"));
}

/* --- whole runs, with the timer and without --- */

static const char *const processors[] = {"westmere", "westmere-untimed"};

#define ROUNDS 40

static bool force_always(struct vcpu *v __unused, enum intr_class class __unused)
{
	return true;
}

static void handle_nmi(u8 vector __unused, u32 error __unused)
{
	g_set_shared(WORD_NMI, g_shared(WORD_NMI) + 1);
}

static void handle_deadline(u8 vector __unused, u32 error __unused)
{
	u64 ticks_seen = g_shared(WORD_TICKS) + 1;

	g_set_shared(WORD_TICKS, ticks_seen);
	if (ticks_seen < ROUNDS)
		g_wrmsr(MSR_TSC_DEADLINE, g_rdtsc() + AHEAD);
	g_apic_eoi();
}

/* Exceptions by emulation, NMIs behind them from another vCPU, and deadlines all the while. */
static void script_all(void *arg __unused)
{
	u64 value;

	g_set_handler(VECTOR_NMI, handle_nmi);
	set_up_deadlines();
	g_set_handler(VECTOR, handle_deadline);
	g_sti();
	g_start_aps();
	g_set_shared(8, 1);
	g_wrmsr(MSR_TSC_DEADLINE, g_rdtsc() + AHEAD);
	while (g_shared(WORD_NMI) < ROUNDS || g_shared(WORD_TICKS) < ROUNDS)
		G_CHECK_EQUAL(g_rdmsr_safe(0x12345678, &value), VECTOR_GP);
	G_CHECK_EQUAL(g_shared(WORD_TICKS), ROUNDS);
	g_exit(0);
}

static void ap_sends_nmis(void *arg __unused)
{
	g_apic_enable();
	g_await(8, 1);
	for (u64 sent = 0; sent < ROUNDS; sent++) {
		g_apic_icr(0, APIC_DM_NMI | APIC_LEVEL_ASSERT);
		g_await(WORD_NMI, sent + 1);
	}
}

static void test_forced_and_deadline_together(void **state __unused)
{
	for (u32 i = 0; i < ARRAY_SIZE(processors); i++) {
		u64 forced = 0, timer = 0;

		for (u32 seed = 0; seed < 6; seed++) {
			harness_create(&(struct harness){.processor = processors[i],
			                                 .vcpus = 2,
			                                 .cpus = 2,
			                                 .seed = seed,
			                                 .switch_ppm = 100000});
			/* VMX has a window for all that the run loop injects: here it has none. */
			backend_table.intr_force = force_always;
			guest_bind(HARNESS_BSP, script_all, NULL);
			guest_bind(HARNESS_AP, ap_sends_nmis, NULL);
			harness_run_to_end(ENDED_DEBUG_EXIT);
			assert_int_equal(harness_counter(COUNTER_INJ_NMI), ROUNDS);
			assert_int_equal(harness_counter(COUNTER_TIMER_TICKS), ROUNDS);
			forced += harness_counter(COUNTER_FORCED_EXITS);
			timer += harness_exits(EXIT_TIMER);
			harness_destroy();
		}
		printf("# %s: %llu forced exits, %llu of the preemption timer\n", processors[i],
		       (unsigned long long)forced, (unsigned long long)timer);
		assert_true(forced > 0);
		assert_int_equal(timer > 0, !i);
	}
}

/* Requirement S4.4: entries that are forced say so, and no others, by either way to force them. */
#define TRACED 3000

static u64 lines, forced_lines;

static void count_line(const char *line)
{
	static const char mark[] = " [immediate exit]";
	size_t length = strlen(line);

	if (strncmp(line, "kvm_entry: vcpu ", 16))
		return;
	lines++;
	forced_lines += length > strlen(mark) && !strcmp(line + length - strlen(mark), mark);
}

static void test_trace_tells_which_are_forced(void **state __unused)
{
	for (u32 i = 0; i < ARRAY_SIZE(processors); i++) {
		u64 forced, entries;

		harness_create(&(struct harness){
		        .processor = processors[i],
		        .vcpus = 2,
		        .cpus = 2,
		        .switch_ppm = 100000,
		        /* whose EOIs the back end does not complete by itself: it enters again untraced */
		        .xapic = true,
		});
		backend_table.intr_force = force_always;
		lines = forced_lines = 0;
		posix.log = count_line;
		assert_true(trace_start(TRACED));
		guest_bind(HARNESS_BSP, script_all, NULL);
		guest_bind(HARNESS_AP, ap_sends_nmis, NULL);
		harness_run_to_end(ENDED_DEBUG_EXIT);
		forced = harness_counter(COUNTER_FORCED_EXITS);
		entries = harness_counter(COUNTER_ENTRIES) - harness_exits(EXIT_TIMER);
		trace_end();
		harness_destroy();
		assert_true(forced > 0 && entries < TRACED);
		assert_int_equal(lines, entries);
		assert_int_equal(forced_lines, forced);
	}
}

static void script_cpuid(void *arg __unused)
{
	struct cpuid_regs r;

	for (u32 i = 0; i < 100; i++)
		g_cpuid(1, i, &r);
	g_exit(0);
}

/* Nor does one that ends before the run leave anything behind, or one of nothing begin. */
static void test_trace_ends(void **state __unused)
{
	for (u64 size = 0; size < 3; size++) {
		harness_create(&(struct harness){.processor = "westmere"});
		lines = 0;
		posix.log = count_line;
		assert_true(trace_start(size));
		guest_bind(HARNESS_BSP, script_cpuid, NULL);
		harness_run_to_end(ENDED_DEBUG_EXIT);
		trace_log();
		assert_int_equal(lines, size);
		trace_end();
		assert_int_equal(lines, size);
		assert_ptr_equal(backend_op(run), vmx_backend.run);
		harness_destroy();
	}
}

/* Each vCPU waits for its deadlines by turns in HLT and in a loop; there are fewer processors than vCPUs. */
static void ticks_of_one(void)
{
	g_apic_write(APIC_LVTT, APIC_LVTT_DEADLINE | VECTOR);
	for (u64 i = 0; i < ROUNDS; i++) {
		u32 word = 16 + g_index();

		g_cli();
		g_wrmsr(MSR_TSC_DEADLINE, g_rdtsc() + AHEAD + 1000 * g_index());
		g_sti();
		if (i & 1)
			g_hlt();
		while (g_shared(word) <= i)
			g_nop();
		G_CHECK_EQUAL(g_shared(word), i + 1);
		G_CHECK_EQUAL(g_rdmsr(MSR_TSC_DEADLINE), 0);
	}
	g_set_shared(32 + g_index(), 1);
}

static void handle_own(u8 vector __unused, u32 error __unused)
{
	g_set_shared(16 + g_index(), g_shared(16 + g_index()) + 1);
	g_apic_eoi();
}

static void script_own(void *arg __unused)
{
	g_set_handler(VECTOR, handle_own);
	g_apic_enable();
	if (!g_index() && harness.vcpus > 1)
		g_start_aps();
	ticks_of_one();
	if (g_index())
		for (;;)
			g_hlt();
	for (u32 i = 0; i < harness.vcpus; i++)
		g_await(32 + i, 1);
	g_exit(0);
}

/* Returns the physical timer's interrupts. */
static u64 run_own(const char *processor, u32 vcpus, u32 cpus, u64 seed, u64 *timer, u64 *all)
{
	u64 physical = 0;

	harness_create(&(struct harness){
	        .processor = processor, .vcpus = vcpus, .cpus = cpus, .seed = seed});
	guest_bind(HARNESS_BSP, script_own, NULL);
	guest_bind(HARNESS_AP, script_own, NULL);
	harness_run_to_end(ENDED_DEBUG_EXIT);
	assert_int_equal(harness_counter(COUNTER_TIMER_TICKS), (u64)vcpus * ROUNDS);
	assert_int_equal(harness_counter(COUNTER_INJ_TIMER), (u64)vcpus * ROUNDS);
	*timer = harness_exits(EXIT_TIMER);
	*all = harness_counter(COUNTER_ENTRIES);
	for (u32 i = 0; i < cpus; i++)
		physical += counter_read(&port_machine()->cpu[i].ticks);
	harness_destroy();
	return physical;
}

static void test_no_deadline_is_lost(void **state __unused)
{
	static const u32 sizes[][2] = {{1, 1}, {2, 1}, {2, 2}, {5, 2}};

	for (u32 i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (u64 seed = 0; seed < 3; seed++) {
			u64 timer[2], all[2], physical[2];

			for (u32 p = 0; p < 2; p++)
				physical[p] = run_own(processors[p], sizes[i][0], sizes[i][1], seed,
				                      &timer[p], &all[p]);
			assert_true(timer[0] > 0);
			assert_int_equal(timer[1], 0);
			assert_true(physical[0] < physical[1]);
			if (!seed)
				printf("# %u vCPUs, %u CPUs: %llu physical timer interrupts, "
				       "without %llu; %llu entries, without %llu\n",
				       sizes[i][0], sizes[i][1], (unsigned long long)physical[0],
				       (unsigned long long)physical[1], (unsigned long long)all[0],
				       (unsigned long long)all[1]);
		}
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_rounded_up),
	        cmocka_unit_test(test_disabled_softly_and_spurious),
	        cmocka_unit_test(test_spurious_with_a_request_does_not_enter),
	        cmocka_unit_test(test_forced_leaves_the_deadline_alone),
	        cmocka_unit_test(test_forced_comes_before_an_expiry),
	        cmocka_unit_test(test_forced_comes_before_guest_mode),
	        cmocka_unit_test(test_guest_mode_goes_the_slow_path),
	        cmocka_unit_test(test_entered_again_forced_is_forced),
	        cmocka_unit_test(test_not_there_yet),
	        cmocka_unit_test(test_deaf_entries_end),
	        cmocka_unit_test(test_deadline_that_did_not_go_along),
	        cmocka_unit_test(test_expiry_that_the_run_loop_has_to_see_to),
	        cmocka_unit_test(test_extint_behind_the_look_for_it),
	        cmocka_unit_test(test_one_timer_at_a_time),
	        cmocka_unit_test(test_slow_path_is_for_guest_mode_only),
	        cmocka_unit_test(test_forced_and_deadline_together),
	        cmocka_unit_test(test_trace_tells_which_are_forced),
	        cmocka_unit_test(test_trace_ends),
	        cmocka_unit_test(test_no_deadline_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
