/* SPDX-License-Identifier: BSD-2-Clause */
/* A debugger at scripted guests: core/debugger.h, by way of the debug channel. */
#include "tests/model/debugger.h"

#include "irq/inhibit.h"

#define VECTOR_A 0x41
#define NOIRQ    (DEBUG_STEP_NOIRQ | DEBUG_STEP_NOTIMER)

/* What scripts and the debugger tell each other: all run on one thread. */
static struct {
	volatile bool done; /* the guest may end */
	volatile bool ready;
	u32 rounds[3], irqs, nmis, traps, breaks, faults, sent;
	bool blockirq; /* seen by the guest while it ran */
	u64 handler_flags;
} seen;

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond))                                                                       \
			posix_fail("debugger: %s:%d: %s", __FILE__, __LINE__, #cond);              \
	} while (0)

static void count_irq(u8 vector __unused, u32 error __unused)
{
	seen.irqs++;
	seen.handler_flags |= g_saved_rflags();
	g_apic_eoi();
}

static void count_nmi(u8 vector __unused, u32 error __unused)
{
	seen.nmis++;
	seen.handler_flags |= g_saved_rflags();
}

static void count_trap(u8 vector __unused, u32 error __unused)
{
	seen.traps++;
}

static void count_break(u8 vector __unused, u32 error __unused)
{
	seen.breaks++;
	seen.handler_flags |= g_saved_rflags();
}

static void count_fault(u8 vector __unused, u32 error __unused)
{
	seen.faults++;
}

/* One instruction of one byte in each place of the code page, in order, again and again. */
static void spin(u32 self)
{
	seen.ready = true;
	while (!seen.done) {
		seen.blockirq |= inhibit_stands(harness_vm, INHIBIT_BLOCKIRQ);
		g_nop();
		seen.rounds[self]++;
	}
}

static void script_spin(void *arg __unused)
{
	g_set_handler(VECTOR_A, count_irq);
	g_set_handler(VECTOR_NMI, count_nmi);
	g_apic_enable();
	spin(0);
	g_exit(0);
}

static void create(const struct harness *config, guest_script script, void (*debugger)(void))
{
	memset(&seen, 0, sizeof(seen));
	harness_create(config);
	guest_bind(HARNESS_BSP, script, NULL);
	dbg_start(debugger);
}

static void run_it(void)
{
	struct vm *vm = harness_vm;

	harness_run_to_end(ENDED_DEBUG_EXIT);
	assert_int_equal(atomic32_read(&vm->exit_code), 1);
	assert_true(dbg_has_ended());
	assert_int_equal(vm->debugger.breakpoints, 0);
	assert_false(inhibit_stands(vm, INHIBIT_BLOCKIRQ));
	harness_destroy();
}

static void await_ready(void)
{
	while (!seen.ready)
		dbg_pass(1);
}

/* --- breakpoints --- */

static void debug_breakpoint(void)
{
	struct report_debug stop;
	u64 at;

	await_ready();
	stop = dbg_stop();
	CHECK(stop.reason == DEBUG_REASON_STOP);
	at = (dbg_regs(0).rip & PAGE_MASK) + 0x800;
	for (u32 round = 0; round < 5; round++) {
		u8 before = dbg_read(at);

		CHECK(dbg_plant(at) == DEBUG_OK && dbg_plant(at) == DEBUG_OK);
		CHECK(dbg_read(at) == before && before != 0xcc);
		dbg_continue();
		stop = dbg_receive();
		CHECK(stop.op == DEBUG_STOPPED && stop.reason == DEBUG_REASON_BREAKPOINT);
		CHECK(stop.vcpu == 0 && dbg_regs(0).rip == at);
		/* As debuggers go on: take it away, one step, put it back. */
		CHECK(dbg_unplant(at) == DEBUG_OK);
		stop = dbg_step(0, NOIRQ);
		CHECK(stop.reason == DEBUG_REASON_STEP && dbg_regs(0).rip == at + 1);
	}
	/* Left in place, it is hit again at once; what goes away takes it with it. */
	CHECK(dbg_plant(at) == DEBUG_OK);
	dbg_continue();
	CHECK(dbg_receive().reason == DEBUG_REASON_BREAKPOINT);
	dbg_continue();
	CHECK(dbg_receive().reason == DEBUG_REASON_BREAKPOINT);
	dbg_detach();
	dbg_pass(20);
	seen.done = true;
}

static void test_breakpoint(void **state __unused)
{
	static const u32 features[] = {0, MODEL_INT3_IS_INTN, MODEL_NRIPS};

	for (u32 i = 0; i < ARRAY_SIZE(features); i++) {
		create(&(struct harness){.features = features[i]}, script_spin, debug_breakpoint);
		run_it();
	}
}

/* What is read does not show it, what is written goes beneath it, and there is a limit. */
static void debug_beneath(void)
{
	const u64 at = HARNESS_SHARED + 0x1000;
	const u8 bytes[] = {1, 2, 3};

	dbg_stop();
	CHECK(dbg_ask((struct debug_request){.op = DEBUG_WRITE, .address = at, .length = 3},
	              bytes) == DEBUG_OK);
	CHECK(dbg_plant(at + 1) == DEBUG_OK);
	CHECK(*(u8 *)vm_memory(harness_vm, GPA(at + 1), 1) == 0xcc && dbg_read(at + 1) == 2);
	CHECK(dbg_ask((struct debug_request){.op = DEBUG_WRITE, .address = at + 1, .length = 1},
	              &(u8){9}) == DEBUG_OK);
	CHECK(*(u8 *)vm_memory(harness_vm, GPA(at + 1), 1) == 0xcc && dbg_read(at + 1) == 9);
	CHECK(dbg_unplant(at + 1) == DEBUG_OK && dbg_unplant(at + 1) == DEBUG_OK);
	CHECK(*(u8 *)vm_memory(harness_vm, GPA(at + 1), 1) == 9);
	/* What the guest has put in its place stays. */
	CHECK(dbg_plant(at) == DEBUG_OK);
	*(u8 *)vm_memory(harness_vm, GPA(at), 1) = 0x77;
	CHECK(dbg_unplant(at) == DEBUG_OK && dbg_read(at) == 0x77);
	for (u32 i = 0; i < DEBUG_BREAKPOINTS; i++)
		CHECK(dbg_plant(at + i) == DEBUG_OK);
	CHECK(dbg_plant(at + DEBUG_BREAKPOINTS) == DEBUG_FULL);
	/* Not mapped, not canonical, and no memory: nothing is read, written or planted. */
	CHECK(dbg_plant(1ull << 40) == DEBUG_FAULT && dbg_plant(1ull << 63) == DEBUG_FAULT);
	CHECK(dbg_plant(APIC_BASE_DEFAULT) == DEBUG_FAULT);
	CHECK(dbg_ask((struct debug_request){.op = DEBUG_READ, .address = ~0ull, .count = 8},
	              NULL) == DEBUG_FAULT);
	CHECK(dbg_ask((struct debug_request){.op = DEBUG_WRITE,
	                                     .address = 0xa0000 - 1,
	                                     .length = 3},
	              bytes) == DEBUG_FAULT);
	dbg_detach();
	CHECK(*(u8 *)vm_memory(harness_vm, GPA(at), 1) == 0x77);
	seen.done = true;
}

static void test_memory_beneath_breakpoints(void **state __unused)
{
	create(&(struct harness){0}, script_spin, debug_beneath);
	run_it();
}

/* --- interrupts and the step --- */

/* A neighbour that never stops sending. */
static void ap_sends(void *arg __unused)
{
	g_apic_enable();
	while (!seen.done) {
		g_apic_icr(0, VECTOR_A | APIC_LEVEL_ASSERT);
		g_apic_icr(0, APIC_DM_NMI | APIC_LEVEL_ASSERT);
		seen.sent++;
		g_pause();
	}
	for (;;)
		g_pause();
}

static void script_interrupted(void *arg __unused)
{
	g_set_handler(VECTOR_A, count_irq);
	g_set_handler(VECTOR_NMI, count_nmi);
	g_apic_enable();
	g_start_aps();
	g_sti();
	while (!seen.irqs || !seen.nmis)
		g_nop();
	g_nop();
	spin(0);
	g_exit(0);
}

/* Step until vCPU 0 is in the loop, not in a handler: those have pages of their own. */
static u64 leave_handlers(void)
{
	struct debug_regs regs;

	/* An NMI that was on its way when all stopped comes with the first step. */
	dbg_step(0, NOIRQ);
	regs = dbg_regs(0);
	for (u32 i = 0; i < 200; i++, regs = dbg_regs(0)) {
		if ((regs.rip & (GUEST_CODE_SIZE - 1)) < PAGE_SIZE && regs.rflags & RFLAGS_IF)
			break;
		dbg_step(0, NOIRQ);
	}
	CHECK((regs.rip & (GUEST_CODE_SIZE - 1)) < PAGE_SIZE);
	return regs.rip;
}

static void debug_kept_back(void)
{
	u8 actions[DEBUG_MAX_VCPUS] = {DEBUG_STEP | NOIRQ, DEBUG_CONTINUE};
	u32 irqs, nmis, sent;

	await_ready();
	dbg_stop();
	leave_handlers();
	irqs = seen.irqs;
	nmis = seen.nmis;
	sent = seen.sent;
	seen.blockirq = false;
	for (u32 i = 0; i < 100 || seen.sent == sent; i++) {
		u64 rip = dbg_regs(0).rip;

		dbg_resume(actions);
		CHECK(dbg_receive().reason == DEBUG_REASON_STEP);
		CHECK(!inhibit_stands(harness_vm, INHIBIT_BLOCKIRQ));
		CHECK(dbg_regs(0).rip == rip + 1 || (dbg_regs(0).rip & ~PAGE_MASK) == 1);
	}
	CHECK(seen.blockirq);
	/* Pending meanwhile, and neither lost nor delivered. */
	CHECK(seen.sent > sent && seen.irqs == irqs && seen.nmis == nmis);
	CHECK(lapic_deliverable(harness_vm->vcpu[0]) == VECTOR_A);
	/* Let in, they come before the next instruction. */
	dbg_step(0, 0);
	CHECK((dbg_regs(0).rip & (GUEST_CODE_SIZE - 1)) >= PAGE_SIZE);
	dbg_detach();
	while (seen.irqs == irqs || seen.nmis == nmis)
		dbg_pass(1);
	seen.done = true;
	CHECK(!(seen.handler_flags & RFLAGS_TF));
}

static void test_step_keeps_interrupts_back(void **state __unused)
{
	for (u32 seed = 0; seed < 6; seed++) {
		create(&(struct harness){.vcpus = 2,
		                         .cpus = 2,
		                         .seed = seed,
		                         .switch_ppm = 50000,

		                         .features = seed & 2 ? MODEL_NRIPS : 0,
		                         .max_steps = 50000000,
		                         .xapic = seed & 4},
		       script_interrupted, debug_kept_back);
		guest_bind(HARNESS_AP, ap_sends, NULL);
		run_it();
	}
}

/* --- every kind of instruction --- */

#define CODE_CALLED (GUEST_CODE + 0x800)

/* SYSCALL masks TF as operating systems want it; what SYSRET loads holds behind it. */
static void system_calls(void)
{
	u32 traps = seen.traps;

	g_wrmsr(MSR_EFER, g_rdmsr(MSR_EFER) | EFER_SCE);
	g_wrmsr(MSR_STAR, 0x1bull << 48 | 0x08ull << 32);
	g_wrmsr(MSR_LSTAR, CODE_CALLED);
	g_wrmsr(MSR_SFMASK, RFLAGS_TF | RFLAGS_IF | RFLAGS_AC);
	for (u32 i = 0; i < 3; i++) {
		g_popf(RFLAGS_RES1 | RFLAGS_AC);
		G_CHECK_EQUAL(g_syscall() & (RFLAGS_TF | RFLAGS_AC), RFLAGS_AC);
		G_CHECK(!(g_pushf() & (RFLAGS_TF | RFLAGS_AC)));
		g_sysret(RFLAGS_RES1 | RFLAGS_AC);
		G_CHECK_EQUAL(g_pushf() & (RFLAGS_TF | RFLAGS_AC), RFLAGS_AC);
		g_syscall();
	}
	G_CHECK_EQUAL(seen.traps, traps);
	/* The guest's own TF: not behind SYSCALL, which masks it, but behind the SYSRET that loads it. */
	g_popf(RFLAGS_RES1 | RFLAGS_TF);
	G_CHECK(g_syscall() & RFLAGS_TF);
	G_CHECK_EQUAL(seen.traps, traps + 1);
	G_CHECK(!(g_pushf() & RFLAGS_TF));
	g_sysret(RFLAGS_RES1 | RFLAGS_TF);
	G_CHECK_EQUAL(seen.traps, traps + 2);
	g_syscall();
	G_CHECK_EQUAL(seen.traps, traps + 3);
	/* Behind SYSCALL, too, if it is not masked; then until POPF, of which there is one more. */
	g_wrmsr(MSR_SFMASK, 0);
	g_popf(RFLAGS_RES1 | RFLAGS_TF);
	g_syscall();
	G_CHECK_EQUAL(seen.traps, traps + 5);
	g_popf(RFLAGS_RES1);
	G_CHECK_EQUAL(seen.traps, traps + 8);
	seen.traps = traps;
}

static void script_mixture(void *arg __unused)
{
	struct cpuid_regs r;
	u64 value;

	g_set_handler(VECTOR_A, count_irq);
	g_set_handler(VECTOR_DB, count_trap);
	g_set_handler(VECTOR_BP, count_break);
	g_set_handler(VECTOR_GP, count_fault);
	g_apic_enable();
	seen.ready = true;
	while (!seen.done)
		g_nop();
	for (u32 i = 0; i < 3; i++) {
		g_cpuid(0, 0, &r);
		g_mmio_write(0xfd000000, 1); /* nothing is there */
		g_in(0x80, 1);
		G_CHECK_EQUAL(g_rdmsr_safe(0x12345678, &value), VECTOR_GP);
		/* Our TF is nowhere to be seen. */
		G_CHECK(!(g_pushf() & RFLAGS_TF));
		g_int3();
		g_popf(RFLAGS_RES1);
		G_CHECK(!(g_pushf() & RFLAGS_TF));
	}
	system_calls();
	G_CHECK_EQUAL(seen.breaks, 3);
	G_CHECK_EQUAL(seen.traps, 0);
	/* The guest's own: one trap behind each instruction while it is set. */
	g_popf(RFLAGS_RES1 | RFLAGS_TF);
	g_nop();
	G_CHECK_EQUAL(seen.traps, 1);
	g_cpuid(0, 0, &r);
	G_CHECK_EQUAL(seen.traps, 2);
	G_CHECK(g_pushf() & RFLAGS_TF);
	g_popf(RFLAGS_RES1);
	/* NOP, PUSHF, the load of what it stored, the store for POPF, NOP, and POPF itself. */
	G_CHECK_EQUAL(seen.traps, 8);
	g_nop();
	G_CHECK_EQUAL(seen.traps, 8);
	/* Asleep, a step waits for what wakes the vCPU, and ends in its handler. */
	g_apic_icr(0, VECTOR_A | APIC_LEVEL_ASSERT);
	g_sti();
	g_hlt();
	G_CHECK_EQUAL(seen.irqs, 1);
	G_CHECK(!(seen.handler_flags & RFLAGS_TF));
	g_exit(0);
}

static u8 mixture_flags;
static u32 calls_stepped;

/*
 * Behind SYSCALL nothing has been executed yet. `rip`: before the step; a trap of the guest's own that is
 * due there comes first, in a step of its own.
 */
static void check_call(u64 rip, bool is_call)
{
	struct debug_regs regs = dbg_regs(0);

	if (!is_call)
		return;
	if (regs.rip != CODE_CALLED) {
		CHECK(regs.rip == GUEST_CODE + PAGE_SIZE);
		return;
	}
	calls_stepped++;
	CHECK(regs.gpr[GPR_RCX] == rip + 2);
}

/* Every step is one: RIP is never where it was, but at the end. */
static void debug_mixture(void)
{
	calls_stepped = 0;
	await_ready();
	dbg_stop();
	dbg_plant(HARNESS_SHARED);
	seen.done = true;
	for (u32 i = 0; i < 20000; i++) {
		u8 actions[DEBUG_MAX_VCPUS] = {(u8)(DEBUG_STEP | mixture_flags)};
		struct report_debug told;
		u64 rip = dbg_regs(0).rip;
		bool is_call = dbg_read(rip) == 0x0f && dbg_read(rip + 1) == 0x05;

		dbg_resume(actions);
		told = dbg_receive();
		if (told.op == DEBUG_ENDED) {
			CHECK(told.reason == ENDED_DEBUG_EXIT && calls_stepped == 9);
			harness_vm->debugger.breakpoints = 0;
			return;
		}
		CHECK(told.op == DEBUG_STOPPED && told.reason == DEBUG_REASON_STEP);
		check_call(rip, is_call);
	}
	CHECK(!"the guest's end");
}

static void test_step_any_instruction(void **state __unused)
{
	static const u32 features[] = {0, MODEL_INT3_IS_INTN, MODEL_NRIPS, MODEL_CLEAN_BITS};

	for (u32 i = 0; i < 2 * ARRAY_SIZE(features); i++) {
		mixture_flags = i & 1 ? NOIRQ : 0;
		create(&(struct harness){.features = features[i / 2]}, script_mixture,
		       debug_mixture);
		run_it();
	}
}

/* Without a debugger that steps, INT3 and TF are the guest's. */
static void debug_own_traps(void)
{
	await_ready();
	dbg_stop();
	CHECK(dbg_plant(HARNESS_SHARED) == DEBUG_OK);
	seen.done = true;
	dbg_continue();
	CHECK(dbg_receive().op == DEBUG_ENDED);
	harness_vm->debugger.breakpoints = 0;
}

static void test_guests_own_traps(void **state __unused)
{
	static const u32 features[] = {0, MODEL_INT3_IS_INTN, MODEL_NRIPS};

	for (u32 i = 0; i < ARRAY_SIZE(features); i++) {
		create(&(struct harness){.features = features[i]}, script_mixture, debug_own_traps);
		run_it();
	}
}

/* --- several vCPUs --- */

static void ap_spins(void *arg __unused)
{
	u32 self = 1 + (u32)seen.rounds[1];

	g_apic_enable();
	spin(self > 1 ? 2 : 1);
	for (;;)
		g_pause();
}

static void script_starts(void *arg __unused)
{
	g_apic_enable();
	seen.ready = true;
	for (u32 i = 0; i < 300; i++)
		g_nop();
	g_start_aps();
	spin(0);
	g_exit(0);
}

static void debug_stop_and_go(void)
{
	await_ready();
	for (u32 i = 0; i < 15; i++) {
		u32 rounds[3];
		u8 actions[DEBUG_MAX_VCPUS] = {0};

		dbg_stop();
		memcpy(rounds, seen.rounds, sizeof(rounds));
		dbg_pass(5);
		CHECK(!memcmp(rounds, seen.rounds, sizeof(rounds)));
		/* Of three one goes on alone; then all. */
		actions[i % 3] = DEBUG_CONTINUE;
		dbg_resume(actions);
		dbg_pass(2);
		dbg_stop();
		for (u32 vcpu = 0; vcpu < 3; vcpu++)
			if (!vcpu && i % 3)
				CHECK(rounds[0] == seen.rounds[0]);
		dbg_continue();
		dbg_pass(1);
	}
	dbg_stop();
	dbg_detach();
	while (!seen.rounds[1])
		dbg_pass(1);
	seen.done = true;
}

static void test_stop_and_go(void **state __unused)
{
	for (u32 seed = 0; seed < 6; seed++) {
		create(&(struct harness){.vcpus = 3,
		                         .cpus = 1 + seed % 3,
		                         .seed = seed,
		                         .switch_ppm = 100000,
		                         .max_steps = 50000000},
		       script_starts, debug_stop_and_go);
		guest_bind(HARNESS_AP, ap_spins, NULL);
		run_it();
	}
}

/* A request to stop crosses the word of a stop, and what is asked next is right behind it. */
static void debug_crossing(void)
{
	struct report_debug told = dbg_receive();

	CHECK(told.op == DEBUG_STOPPED);
	for (u32 i = 0; i < 3; i++) {
		dbg_send((struct debug_request){.op = DEBUG_STOP}, NULL);
		dbg_send((struct debug_request){.op = DEBUG_READ_REGS}, NULL);
		CHECK(dbg_receive().op == DEBUG_STOPPED);
		told = dbg_receive();
		CHECK(told.op == DEBUG_READ_REGS && told.result == DEBUG_OK);
	}
	dbg_detach();
	seen.done = true;
}

static void test_requests_cross_stops(void **state __unused)
{
	create(&(struct harness){.vcpus = 2}, script_spin, debug_crossing);
	debugger_stop_at_start(harness_vm);
	run_it();
}

/* The guest does nothing before it is let go. */
static void debug_from_the_start(void)
{
	struct report_debug stop = dbg_receive();

	CHECK(stop.op == DEBUG_STOPPED && stop.reason == DEBUG_REASON_STOP);
	CHECK(dbg_regs(0).rip == HARNESS_BSP && dbg_regs(1).activity == VCPU_WAIT_FOR_SIPI);
	CHECK(!seen.ready && !harness_counter(COUNTER_ENTRIES));
	/* What waits for its start-up has nothing to step. */
	CHECK(dbg_step(1, NOIRQ).reason == DEBUG_REASON_STEP);
	CHECK(dbg_regs(1).activity == VCPU_WAIT_FOR_SIPI);
	dbg_detach();
	seen.done = true;
}

static void test_from_the_start(void **state __unused)
{
	create(&(struct harness){.vcpus = 2}, script_spin, debug_from_the_start);
	debugger_stop_at_start(harness_vm);
	run_it();
}

/* --- registers --- */

static void script_registers(void *arg __unused)
{
	g_write_fpu(0x1122334455667788);
	seen.ready = true;
	while (!seen.done)
		g_nop();
	G_CHECK_EQUAL(g_read_fpu(), 0x1122334455667799);
	g_exit(0);
}

static void debug_registers(void)
{
	struct debug_regs regs, again;

	await_ready();
	dbg_stop();
	regs = dbg_regs(0);
	CHECK(regs.code_size == 8 && regs.cr0 & CR0_PG && regs.efer & EFER_LMA);
	CHECK(!memcmp(regs.fx, (u8[]){0x88, 0x77, 0x66, 0x55}, 4));
	regs.fx[0] = 0x99;
	regs.gpr[GPR_R15] = 0x1234;
	regs.rflags |= RFLAGS_ZF | RFLAGS_VM | BIT64(40);
	memset(regs.fx + 24, 0xff, 4); /* MXCSR, with bits that there are not */
	regs.cr3 = 1;                  /* not taken */
	CHECK(dbg_ask((struct debug_request){.op = DEBUG_WRITE_REGS, .length = sizeof(regs)},
	              &regs) == DEBUG_OK);
	again = dbg_regs(0);
	CHECK(again.gpr[GPR_R15] == 0x1234 && again.fx[0] == 0x99 && again.cr3 != 1);
	CHECK(again.rflags & RFLAGS_ZF && !(again.rflags & (RFLAGS_VM | BIT64(40))));
	CHECK(!again.fx[26] && !again.fx[27]);
	dbg_detach();
	seen.done = true;
}

static void test_registers(void **state __unused)
{
	for (u32 i = 0; i < 2; i++) {
		create(&(struct harness){.features = i ? MODEL_XSAVE : 0}, script_registers,
		       debug_registers);
		run_it();
	}
}

/* --- what nobody should send, and ends --- */

static void debug_nonsense(void)
{
	u8 bytes[DEBUG_MAX_DATA] = {0};

	/* Running: nothing but a stop. */
	CHECK(dbg_ask((struct debug_request){.op = DEBUG_READ, .count = 4}, NULL) == DEBUG_RUNNING);
	CHECK(dbg_ask((struct debug_request){.op = DEBUG_RESUME, .length = DEBUG_MAX_VCPUS},
	              bytes) == DEBUG_RUNNING);
	dbg_detach();
	dbg_stop();
	dbg_stop(); /* once more is told once more */
	for (u32 op = 0; op < 256; op++)
		if (!op || op >= DEBUG_STOPPED)
			CHECK(dbg_ask((struct debug_request){.op = (u8)op}, NULL) == DEBUG_BAD);
	CHECK(dbg_ask((struct debug_request){.op = DEBUG_READ, .vcpu = 1, .count = 1}, NULL) ==
	      DEBUG_BAD);
	CHECK(dbg_ask((struct debug_request){.op = DEBUG_READ, .count = DEBUG_MAX_DATA + 1},
	              NULL) == DEBUG_BAD);
	CHECK(dbg_ask((struct debug_request){.op = DEBUG_READ, .length = 1}, bytes) == DEBUG_BAD);
	CHECK(dbg_ask((struct debug_request){.op = DEBUG_WRITE_REGS, .length = 7}, bytes) ==
	      DEBUG_BAD);
	CHECK(dbg_ask((struct debug_request){.op = DEBUG_RESUME, .length = 3}, bytes) == DEBUG_BAD);
	/* Nobody is to move; no such action. */
	CHECK(dbg_ask((struct debug_request){.op = DEBUG_RESUME, .length = DEBUG_MAX_VCPUS},
	              bytes) == DEBUG_BAD);
	for (u32 action = 3; action < 256; action++) {
		bytes[0] = (u8)action;
		if ((action & 3) != DEBUG_STEP || action >> 4)
			CHECK(dbg_ask((struct debug_request){.op = DEBUG_RESUME,
			                                     .length = DEBUG_MAX_VCPUS},
			              bytes) == DEBUG_BAD);
	}
	/* A length that nobody can mean: the data is not waited for. */
	dbg_byte(REPORT_CMD_DEBUG);
	for (u32 i = 0; i < sizeof(struct debug_request); i++)
		dbg_byte(0xff);
	CHECK(dbg_receive().result == DEBUG_BAD);
	CHECK(dbg_regs(0).rip != 0);
	dbg_detach();
	dbg_detach();
	seen.done = true;
}

static void test_nonsense(void **state __unused)
{
	create(&(struct harness){0}, script_spin, debug_nonsense);
	run_it();
}

static void debug_timeout(void)
{
	await_ready();
	dbg_stop();
	dbg_byte(REPORT_CMD_TIMEOUT);
	CHECK(dbg_receive().op == DEBUG_ENDED);
}

/* A VM that stands still is ended like any other. */
static void test_ends_while_stopped(void **state __unused)
{
	for (u32 seed = 0; seed < 4; seed++) {
		create(&(struct harness){.vcpus = 3, .cpus = 1 + seed % 2, .seed = seed},
		       script_spin, debug_timeout);
		harness_run_to_end(ENDED_TIMEOUT);
		assert_true(dbg_has_ended());
		harness_destroy();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_step_any_instruction),
	        cmocka_unit_test(test_breakpoint),
	        cmocka_unit_test(test_memory_beneath_breakpoints),
	        cmocka_unit_test(test_step_keeps_interrupts_back),
	        cmocka_unit_test(test_guests_own_traps),
	        cmocka_unit_test(test_stop_and_go),
	        cmocka_unit_test(test_requests_cross_stops),
	        cmocka_unit_test(test_from_the_start),
	        cmocka_unit_test(test_registers),
	        cmocka_unit_test(test_nonsense),
	        cmocka_unit_test(test_ends_while_stopped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
