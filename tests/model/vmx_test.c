/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The processor model's VMX itself, without the hypervisor: instructions, exits and what is known of them,
 * events and windows, translations. The rules are SDM volume 3's, "Virtual Machine Extensions", also where
 * emulators differ. Entry checks: vmx_rules_test.c.
 */
#include "tests/model/vmx_guest.h"

static const u64 exit_undefined = 0xdeaddead;

/* `what` ends the run, with `word` in its last words. */
static void expect_panic(void (*what)(void), const char *word)
{
	posix.config.boot = what;
	assert_false(posix_run_stepper());
	if (!strstr(posix_failure(), word))
		fail_msg("%s: not in: %s", word, posix_failure());
}

/* --- instructions --- */

static u64 error(void)
{
	return vmx_read(VMCS_INSTRUCTION_ERROR);
}

static void test_vmxon_wants_its_region(void **state __unused)
{
	u8 *region;

	vmx_turn_on(0);
	insn_vmxoff();
	region = vmx_page();
	assert_false(insn_vmxon(ptr_to_hpa(region))); /* no revision */
	assert_false(insn_vmxon(HPA(vmx_hpa(m.vmxon) + 8)));
	assert_true(insn_vmxon(ptr_to_hpa(m.vmxon)));
	assert_true(insn_vmclear(ptr_to_hpa(m.vmcs)));
	assert_true(insn_vmptrld(ptr_to_hpa(m.vmcs)));
	assert_false(insn_vmxon(ptr_to_hpa(m.vmxon)));
	assert_int_equal(error(), VMX_ERROR_VMXON_IN_ROOT);
}

static void test_vmcs_pointers(void **state __unused)
{
	u64 value;

	vmx_turn_on(0);
	/* No current VMCS: nothing to tell an error in. */
	assert_false(insn_vmread(VMCS_EPTP, &value));
	assert_false(insn_vmwrite(VMCS_EPTP, 0));
	assert_false(insn_vmx_run(m.gpr, false, vmx_never, NULL));
	assert_false(insn_vmptrld(HPA(1)));
	assert_true(insn_vmclear(ptr_to_hpa(m.vmcs)));
	assert_true(insn_vmptrld(ptr_to_hpa(m.vmcs)));
	assert_false(insn_vmptrld(HPA(vmx_hpa(m.vmcs) + 1)));
	assert_int_equal(error(), VMX_ERROR_VMPTRLD_ADDRESS);
	assert_false(insn_vmptrld(ptr_to_hpa(m.vmxon)));
	assert_int_equal(error(), VMX_ERROR_VMPTRLD_VMXON);
	assert_false(insn_vmptrld(ptr_to_hpa(vmx_page())));
	assert_int_equal(error(), VMX_ERROR_VMPTRLD_REVISION);
	assert_false(insn_vmclear(HPA(1)));
	assert_int_equal(error(), VMX_ERROR_VMCLEAR_ADDRESS);
	assert_false(insn_vmclear(ptr_to_hpa(m.vmxon)));
	assert_int_equal(error(), VMX_ERROR_VMCLEAR_VMXON);
	assert_false(insn_vmread(VMCS_EPTP | BIT(12), &value));
	assert_int_equal(error(), VMX_ERROR_FIELD);
	assert_false(insn_vmwrite(VMCS_EXIT_REASON, 0));
	assert_int_equal(error(), VMX_ERROR_READ_ONLY);
	assert_false(insn_invept(INVEPT_SINGLE, 0));
	assert_int_equal(error(), VMX_ERROR_INVALIDATION);
	assert_false(insn_invvpid(INVVPID_SINGLE, 0));
	assert_int_equal(error(), VMX_ERROR_INVALIDATION);
	assert_false(insn_invvpid(0, 1)); /* by address: not offered */
	assert_true(insn_vmclear(ptr_to_hpa(m.vmcs)));
	assert_false(insn_vmread(VMCS_EPTP, &value));
	insn_vmxoff();
}

/* One that the stepper does not know: nothing runs there but this. */
static void use_other_cpu(void)
{
	model_cpu_init(&model()->cpu[1], &port_machine()->cpu[1], 1);
	posix_set_current(&model()->cpu[1]);
	insn_wrmsr(MSR_FEATURE_CONTROL, FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMXON);
	insn_write_cr4(insn_read_cr4() | CR4_VMXE);
	insn_vmxon(ptr_to_hpa(m.vmxon));
	insn_cli();
}

static void load_elsewhere(void)
{
	insn_vmclear(ptr_to_hpa(m.vmcs));
	insn_vmptrld(ptr_to_hpa(m.vmcs));
	use_other_cpu();
	insn_vmptrld(ptr_to_hpa(m.vmcs));
}

static void turn_off_with_vmcs(void)
{
	insn_vmclear(ptr_to_hpa(m.vmcs));
	insn_vmptrld(ptr_to_hpa(m.vmcs));
	insn_vmxoff();
}

static void test_vmcs_is_active_on_one_processor(void **state __unused)
{
	vmx_turn_on(0);
	expect_panic(load_elsewhere, "active on processor 0");
	vmx_turn_on(0);
	expect_panic(turn_off_with_vmcs, "VMCSs are active");
}

static void turn_on_locked(void)
{
	insn_write_cr4(insn_read_cr4() | CR4_VMXE);
	insn_vmxon(ptr_to_hpa(vmx_page()));
}

static void test_vmxon_is_the_firmwares_choice(void **state __unused)
{
	posix_machine_reset(&(struct posix_config){.cpus = 1}, MODEL_INTEL | MODEL_VMX_LOCKED);
	expect_panic(turn_on_locked, "IA32_FEATURE_CONTROL");
}

/* --- exits of instructions --- */

static void script_cpuid(void *arg __unused)
{
	struct cpuid_regs r;

	for (;;)
		g_cpuid(7, 1, &r);
}

static void test_exit_saves_and_loads(void **state __unused)
{
	vmx_create(0, script_cpuid);
	m.gpr[GPR_RSI] = 0x1234;
	insn_write_cr2(0x77);
	assert_int_equal(vmx_run_guest(), VMX_EXIT_CPUID);
	assert_int_equal(m.gpr[GPR_RAX], 7);
	assert_int_equal(m.gpr[GPR_RCX], 1);
	assert_int_equal(m.gpr[GPR_RSI], 0x1234);
	assert_int_equal(vmx_read(VMCS_EXIT_LENGTH), 2);
	assert_int_equal(m.memory[vmx_read(VMCS_GUEST_RIP) & (MEMORY - 1)], 0x0f);
	/* What no exit switches. */
	assert_int_equal(insn_read_cr2(), 0x77);
	assert_int_equal(insn_rdmsr(MSR_EFER) & EFER_SCE, EFER_SCE);
	assert_int_equal(insn_rdmsr(MSR_GS_BASE), vmx_read(VMCS_HOST_GS_BASE));
	/* Launched once: from now on it is resumed, until VMCLEAR. */
	assert_false(insn_vmx_run(m.gpr, false, vmx_never, NULL));
	assert_int_equal(error(), VMX_ERROR_VMLAUNCH_NOT_CLEAR);
	vmx_skip();
	assert_int_equal(vmx_run_guest(), VMX_EXIT_CPUID);
	assert_true(insn_vmclear(ptr_to_hpa(m.vmcs)));
	assert_true(insn_vmptrld(ptr_to_hpa(m.vmcs)));
	assert_false(insn_vmx_run(m.gpr, true, vmx_never, NULL));
	assert_int_equal(error(), VMX_ERROR_VMRESUME_NOT_LAUNCHED);
}

static void script_instructions(void *arg __unused)
{
	u64 value;

	g_in(0x71, 1);
	g_out(0x402, 5, 4);
	g_rdmsr(MSR_LSTAR);
	g_wrmsr(MSR_LSTAR, 5);
	G_CHECK_EQUAL(g_rdmsr(MSR_LSTAR), 5); /* no more exits */
	g_hlt();
	g_pause();
	g_vmmcall();
	G_CHECK_EQUAL(g_vmrun_safe(), VECTOR_UD);
	G_CHECK_EQUAL(g_xsetbv_safe(0, 1), VECTOR_UD); /* CR4.OSXSAVE is clear */
	g_wbinvd();
	G_CHECK_EQUAL(g_rdmsr_safe(0x2000, &value), 0);
	g_write_cr3(GUEST_TABLES);
	g_hlt();
}

static void expect_exit(u32 reason, u64 qualification, u32 length)
{
	assert_int_equal(vmx_run_guest(), reason);
	assert_int_equal(vmx_read(VMCS_QUALIFICATION), qualification);
	assert_int_equal(vmx_read(VMCS_EXIT_LENGTH), length);
	assert_int_equal(vmx_read(VMCS_EXIT_INFO), 0);
	assert_int_equal(vmx_read(VMCS_IDT_INFO), 0);
	vmx_skip();
}

static void test_exits_of_instructions(void **state __unused)
{
	const u32 lstar = 0x400 + (MSR_LSTAR & 0x1fff) / 8; /* reads of C000_0000 and on */

	vmx_create(0, script_instructions);
	vmx_change(VMCS_PRIMARY, 0, VMX_PROC_PAUSE);
	vmx_change(VMCS_SECONDARY, 0, VMX_PROC2_WBINVD);
	m.msr_bitmap[lstar] = m.msr_bitmap[lstar + 0x800] = BIT(MSR_LSTAR % 8);
	expect_exit(VMX_EXIT_IO, 0x71ull << 16 | VMX_IO_IN, 1);
	expect_exit(VMX_EXIT_IO, 0x402ull << 16 | 3, 1);
	expect_exit(VMX_EXIT_RDMSR, 0, 2);
	m.msr_bitmap[lstar] = 0;
	expect_exit(VMX_EXIT_WRMSR, 0, 2);
	insn_wrmsr(MSR_LSTAR, 5); /* in the processor all the time */
	expect_exit(VMX_EXIT_HLT, 0, 1);
	expect_exit(VMX_EXIT_PAUSE, 0, 2);
	expect_exit(VMX_EXIT_VMCALL, 0, 3);
	expect_exit(VMX_EXIT_WBINVD, 0, 2);
	expect_exit(VMX_EXIT_RDMSR, 0, 2); /* in neither part of the bitmap */
	vmx_change(VMCS_PRIMARY, 0, VMX_PROC_CR3_LOAD);
	expect_exit(VMX_EXIT_CR, 3, 3);
	expect_exit(VMX_EXIT_HLT, 0, 1);
}

static void script_control_registers(void *arg __unused)
{
	G_CHECK_EQUAL(g_read_cr0() & CR0_NE, 0); /* the shadow's */
	g_write_cr0(g_read_cr0() | CR0_TS);      /* the guest's own bit */
	G_CHECK(g_read_cr0() & CR0_TS);
	g_write_cr0(g_read_cr0() | CR0_NE);
	g_write_cr4(CR4_PAE | CR4_PGE);
	g_hlt();
}

static void test_masks_and_shadows(void **state __unused)
{
	vmx_create(0, script_control_registers);
	vmx_write(VMCS_CR0_MASK, CR0_NE);
	vmx_write(VMCS_CR4_MASK, ~0ull);
	vmx_write(VMCS_CR4_SHADOW, CR4_PAE);
	expect_exit(VMX_EXIT_CR, 0, 3);
	assert_true(vmx_read(VMCS_GUEST_CR0) & CR0_TS);
	assert_true(m.gpr[GPR_RAX] & CR0_NE);
	expect_exit(VMX_EXIT_CR, 4, 3);
	assert_int_equal(vmx_read(VMCS_GUEST_CR4), CR4_PAE | CR4_VMXE);
	expect_exit(VMX_EXIT_HLT, 0, 1);
}

/* --- CR8 --- */

static void script_cr8(void *arg __unused)
{
	g_write_cr8(5);
	G_CHECK_EQUAL(g_read_cr8(), 5);
	g_write_cr8(6);
	g_write_cr8(4); /* below */
	g_nop();
	g_write_cr8(7);
	g_hlt();
}

static void test_tpr_below_threshold_is_a_trap(void **state __unused)
{
	u64 rip;

	vmx_create(0, script_cr8);
	m.apic[APIC_TPR] = 0x50;
	vmx_write(VMCS_TPR_THRESHOLD, 5);
	assert_int_equal(vmx_run_guest(), VMX_EXIT_TPR_BELOW_THRESHOLD);
	assert_int_equal(m.apic[APIC_TPR], 0x40);
	/* Behind the MOV: 44 0F 22 C0. */
	rip = vmx_read(VMCS_GUEST_RIP);
	assert_memory_equal(&m.memory[(rip - 4) & (MEMORY - 1)], "\x44\x0f\x22\xc0", 4);
	assert_int_equal(vmx_read(VMCS_EXIT_LENGTH), exit_undefined);
	vmx_write(VMCS_TPR_THRESHOLD, 0);
	vmx_change(VMCS_PRIMARY, 0, VMX_PROC_CR8_LOAD);
	expect_exit(VMX_EXIT_CR, 8, 4);
	assert_int_equal(m.apic[APIC_TPR], 0x40);
	expect_exit(VMX_EXIT_HLT, 0, 1);
}

/* --- events --- */

static u32 handled;

static void count(u8 vector __unused, u32 code __unused)
{
	handled++;
}

static void script_idle(void *arg __unused)
{
	struct cpuid_regs r;

	for (;;) {
		g_sti();
		g_cpuid(0, 0, &r); /* in the shadow */
		g_cpuid(1, 0, &r);
		g_cli();
		g_cpuid(2, 0, &r);
	}
}

/* At the CPUID in the shadow. */
static void create_idle(u32 features)
{
	vmx_create(features, script_idle);
	g_set_handler(VECTOR, count);
	g_set_handler(VECTOR_NMI, count);
	g_set_handler(VECTOR_GP, count);
	handled = 0;
	assert_int_equal(vmx_run_guest(), VMX_EXIT_CPUID);
	assert_int_equal(vmx_read(VMCS_GUEST_INTERRUPTIBILITY), VMX_BLOCKED_STI);
}

static void leave_shadow(void)
{
	vmx_write(VMCS_GUEST_INTERRUPTIBILITY, 0);
}

static void test_interrupt_window(void **state __unused)
{
	create_idle(0);
	vmx_change(VMCS_PRIMARY, 0, VMX_PROC_INTR_WINDOW);
	/* Not in the shadow: the instruction exits first. */
	assert_int_equal(vmx_run_guest(), VMX_EXIT_CPUID);
	leave_shadow();
	assert_int_equal(vmx_run_guest(), VMX_EXIT_INTR_WINDOW);
	assert_int_equal(vmx_read(VMCS_EXIT_LENGTH), exit_undefined);
	/* With IF clear there is none; behind an injected event there is one as soon as IF is set. */
	vmx_inject(VMX_EVENT_EXTERNAL, VECTOR);
	assert_int_equal(vmx_run_guest(), VMX_EXIT_INTR_WINDOW);
	assert_int_equal(handled, 1);
	assert_int_equal(vmx_read(VMCS_ENTRY_INFO) & VMX_EVENT_VALID, 0);
}

static void test_injection_comes_before_everything(void **state __unused)
{
	create_idle(0);
	leave_shadow();
	insn_apic_send(0, CPU_VECTOR_FORCE);
	vmx_inject(VMX_EVENT_EXTERNAL, VECTOR);
	assert_int_equal(vmx_run_guest(), VMX_EXIT_EXTERNAL);
	/* Delivered, but not an instruction of the handler has run; the interrupt still waits. */
	assert_int_equal(handled, 0);
	assert_int_equal(guest_engine()->guest[0].depth, 1);
	assert_int_equal(vmx_read(VMCS_EXIT_INFO), 0);
	assert_int_equal(vmx_read(VMCS_IDT_INFO), 0);
	assert_true(insn_apic_pending(CPU_VECTOR_FORCE));
	/* Whatever the guest's IF says. */
	assert_int_equal(vmx_run_guest(), VMX_EXIT_EXTERNAL);
	insn_sti();
	insn_cli();
	assert_false(insn_apic_pending(CPU_VECTOR_FORCE));
	assert_int_equal(vmx_run_guest(), VMX_EXIT_CPUID);
	assert_int_equal(handled, 1);
}

static void test_interrupt_acknowledged_by_the_exit(void **state __unused)
{
	create_idle(0);
	vmx_change(VMCS_EXIT_CONTROLS, 0, VMX_EXIT_CTL_ACK_INTR);
	insn_apic_send(0, CPU_VECTOR_KICK);
	assert_int_equal(vmx_run_guest(), VMX_EXIT_EXTERNAL);
	assert_int_equal(vmx_read(VMCS_EXIT_INFO), VMX_EVENT_VALID | CPU_VECTOR_KICK);
	assert_false(insn_apic_pending(CPU_VECTOR_KICK));
	insn_apic_eoi();
}

static void test_delivery_cut_short(void **state __unused)
{
	create_idle(0);
	leave_shadow();
	model()->cpu[0].break_deliveries = 1;
	vmx_write(VMCS_ENTRY_ERROR, 0x18);
	vmx_inject(VMX_EVENT_EXCEPTION | VMX_EVENT_ERROR, VECTOR_GP);
	vmx_run_guest();
	assert_int_equal(vmx_read(VMCS_IDT_INFO),
	                 VMX_EVENT_VALID | VMX_EVENT_EXCEPTION | VMX_EVENT_ERROR | VECTOR_GP);
	assert_int_equal(vmx_read(VMCS_IDT_ERROR), 0x18);
	assert_int_equal(guest_engine()->guest[0].depth, 0);
}

static void test_physical_nmi_is_taken_by_the_exit(void **state __unused)
{
	create_idle(0);
	insn_apic_send(0, APIC_DM_NMI);
	assert_int_equal(vmx_run_guest(), VMX_EXIT_EXCEPTION);
	assert_int_equal(vmx_read(VMCS_EXIT_INFO), VMX_EVENT_VALID | VMX_EVENT_NMI | VECTOR_NMI);
	/* The guest's own are not blocked by it. */
	assert_int_equal(vmx_read(VMCS_GUEST_INTERRUPTIBILITY), VMX_BLOCKED_STI);
	assert_int_equal(vmx_run_guest(), VMX_EXIT_CPUID);
}

static void test_virtual_nmis(void **state __unused)
{
	create_idle(0);
	leave_shadow();
	vmx_inject(VMX_EVENT_NMI, VECTOR_NMI);
	insn_apic_send(0, CPU_VECTOR_FORCE);
	assert_int_equal(vmx_run_guest(), VMX_EXIT_EXTERNAL);
	assert_int_equal(vmx_read(VMCS_GUEST_INTERRUPTIBILITY), VMX_BLOCKED_NMI);
	insn_sti();
	insn_cli();
	/* The window opens behind the IRET of the handler. */
	vmx_change(VMCS_PRIMARY, 0, VMX_PROC_NMI_WINDOW);
	assert_int_equal(vmx_run_guest(), VMX_EXIT_NMI_WINDOW);
	assert_int_equal(handled, 1);
	assert_int_equal(guest_engine()->guest[0].depth, 0);
	assert_int_equal(vmx_read(VMCS_GUEST_INTERRUPTIBILITY), 0);
	/* Before a physical interrupt, and before the instruction. */
	insn_apic_send(0, CPU_VECTOR_FORCE);
	assert_int_equal(vmx_run_guest(), VMX_EXIT_NMI_WINDOW);
}

static void script_faults(void *arg __unused)
{
	G_CHECK_EQUAL(g_ud2_safe(), VECTOR_UD);
	g_ud2_safe();
	g_int3();
	g_triple_fault();
}

static void test_exceptions_exit_by_the_bitmap(void **state __unused)
{
	vmx_create(0, script_faults);
	g_set_handler(VECTOR_BP, count);
	vmx_write(VMCS_EXCEPTIONS, BIT(VECTOR_BP));
	vmx_change(VMCS_PRIMARY, 0, VMX_PROC_MTF);
	/* The flag: behind the first instruction, which the fault has ended. */
	assert_int_equal(vmx_run_guest(), VMX_EXIT_MTF);
	vmx_change(VMCS_PRIMARY, VMX_PROC_MTF, 0);
	assert_int_equal(vmx_run_guest(), VMX_EXIT_EXCEPTION);
	assert_int_equal(vmx_read(VMCS_EXIT_INFO),
	                 VMX_EVENT_VALID | VMX_EVENT_SOFT_EXC | VECTOR_BP);
	assert_int_equal(vmx_read(VMCS_EXIT_LENGTH), 1);
	/* Injected as what it is, with the length: it goes on behind. */
	handled = 0;
	vmx_write(VMCS_ENTRY_LENGTH, 1);
	vmx_inject(VMX_EVENT_SOFT_EXC, VECTOR_BP);
	g_set_handler(VECTOR_UD, NULL);
	assert_int_equal(vmx_run_guest(), VMX_EXIT_EXCEPTION); /* the INT3 without a table */
	assert_int_equal(handled, 1);
	vmx_write(VMCS_EXCEPTIONS, 0);
	assert_int_equal(vmx_run_guest(), VMX_EXIT_TRIPLE_FAULT);
	assert_int_equal(vmx_read(VMCS_IDT_INFO), 0);
}

static void script_traps(void *arg __unused)
{
	g_popf(RFLAGS_RES1 | RFLAGS_TF);
	g_nop();
	g_hlt();
}

static void test_debug_trap_and_monitor_trap(void **state __unused)
{
	vmx_create(0, script_traps);
	insn_write_dr6(0xffff0ff0);
	vmx_write(VMCS_EXCEPTIONS, BIT(VECTOR_DB));
	/* The NOP behind POPF traps; DR6 is told, not changed. */
	assert_int_equal(vmx_run_guest(), VMX_EXIT_EXCEPTION);
	assert_int_equal(vmx_read(VMCS_EXIT_INFO),
	                 VMX_EVENT_VALID | VMX_EVENT_EXCEPTION | VECTOR_DB);
	assert_int_equal(vmx_read(VMCS_QUALIFICATION), BIT(14));
	assert_int_equal(insn_read_dr6(), 0xffff0ff0);
	vmx_create(0, script_traps);
	vmx_write(VMCS_EXCEPTIONS, BIT(VECTOR_DB));
	vmx_change(VMCS_PRIMARY, 0, VMX_PROC_MTF);
	while (!(vmx_read(VMCS_GUEST_RFLAGS) & RFLAGS_TF))
		assert_int_equal(vmx_run_guest(), VMX_EXIT_MTF);
	assert_int_equal(vmx_read(VMCS_GUEST_PENDING_DEBUG), 0); /* POPF itself does not trap */
	/* The flag's exit comes first, and the trap stays pending. */
	assert_int_equal(vmx_run_guest(), VMX_EXIT_MTF);
	assert_int_equal(vmx_read(VMCS_GUEST_PENDING_DEBUG), VMX_DEBUG_BS);
	assert_int_equal(vmx_run_guest(), VMX_EXIT_EXCEPTION);
	assert_int_equal(vmx_read(VMCS_GUEST_PENDING_DEBUG), 0);
}

static void test_monitor_trap_behind_an_injection(void **state __unused)
{
	create_idle(0);
	leave_shadow();
	vmx_change(VMCS_PRIMARY, 0, VMX_PROC_MTF);
	vmx_inject(VMX_EVENT_EXTERNAL, VECTOR);
	assert_int_equal(vmx_run_guest(), VMX_EXIT_MTF);
	assert_int_equal(guest_engine()->guest[0].depth, 1);
	assert_int_equal(handled, 0);
}

/* --- the preemption timer --- */

static void script_spin(void *arg __unused)
{
	for (;;)
		g_nop();
}

static void test_timer_of_0_runs_no_instruction(void **state __unused)
{
	create_idle(MODEL_PREEMPTION_TIMER);
	leave_shadow();
	vmx_change(VMCS_PIN, 0, VMX_PIN_PREEMPTION_TIMER);
	vmx_write(VMCS_PREEMPTION_TIMER, 0);
	vmx_inject(VMX_EVENT_EXTERNAL, VECTOR);
	/* Before a window and before a physical interrupt. */
	vmx_change(VMCS_PRIMARY, 0, VMX_PROC_INTR_WINDOW);
	insn_apic_send(0, CPU_VECTOR_FORCE);
	assert_int_equal(vmx_run_guest(), VMX_EXIT_PREEMPTION_TIMER);
	assert_int_equal(handled, 0);
	assert_int_equal(guest_engine()->guest[0].depth, 1);
}

static void test_timer_counts_and_is_saved(void **state __unused)
{
	u32 rate;
	u64 begin, ticks;

	vmx_create(MODEL_PREEMPTION_TIMER, script_spin);
	rate = vmx_caps(model()->features).misc & VMX_MISC_TIMER_RATE;
	vmx_change(VMCS_PIN, 0, VMX_PIN_PREEMPTION_TIMER);
	vmx_write(VMCS_PREEMPTION_TIMER, 1000);
	begin = model_time();
	assert_int_equal(vmx_run_guest(), VMX_EXIT_PREEMPTION_TIMER);
	ticks = (model_time() - begin) >> rate;
	assert_in_range(ticks, 1000, 1100);
	/* Without the control the field is as it was. */
	assert_int_equal(vmx_read(VMCS_PREEMPTION_TIMER), 1000);
	vmx_change(VMCS_EXIT_CONTROLS, 0, VMX_EXIT_CTL_SAVE_TIMER);
	assert_int_equal(vmx_run_guest(), VMX_EXIT_PREEMPTION_TIMER);
	assert_int_equal(vmx_read(VMCS_PREEMPTION_TIMER), 0);
	vmx_write(VMCS_PREEMPTION_TIMER, 1000);
	insn_apic_send(0, CPU_VECTOR_FORCE);
	assert_int_equal(vmx_run_guest(), VMX_EXIT_EXTERNAL);
	assert_int_equal(vmx_read(VMCS_PREEMPTION_TIMER), 1000);
}

/* --- translations --- */

static void script_memory(void *arg __unused)
{
	for (;;) {
		g_write(MEMORY + DATA, 0x1111, 4);
		g_hlt();
	}
}

static void test_ept_violation_and_misconfiguration(void **state __unused)
{
	vmx_create(0, script_memory);
	m.level2[1] &= ~EPT_WRITE;
	assert_int_equal(vmx_run_guest(), VMX_EXIT_EPT_VIOLATION);
	assert_int_equal(vmx_read(VMCS_QUALIFICATION),
	                 VMX_EPT_Q_WRITE | 5u << 3 | VMX_EPT_Q_LINEAR | VMX_EPT_Q_TRANSLATED);
	assert_int_equal(vmx_read(VMCS_GUEST_PHYSICAL), MEMORY + DATA);
	assert_int_equal(vmx_read(VMCS_GUEST_LINEAR), MEMORY + DATA);
	m.level2[1] = 0;
	assert_int_equal(vmx_run_guest(), VMX_EXIT_EPT_VIOLATION);
	assert_int_equal(vmx_read(VMCS_QUALIFICATION) & VMX_EPT_Q_MAPPED, 0);
	m.level2[1] = m.level2[0] & ~EPT_READ; /* writable, not readable */
	assert_int_equal(vmx_run_guest(), VMX_EXIT_EPT_MISCONFIGURED);
	assert_int_equal(vmx_read(VMCS_GUEST_PHYSICAL), MEMORY + DATA);
	m.level2[1] = (m.level2[0] & ~EPT_TYPE(7)) | EPT_TYPE(2);
	assert_int_equal(vmx_run_guest(), VMX_EXIT_EPT_MISCONFIGURED);
	m.level2[1] = m.level2[0];
	assert_int_equal(vmx_run_guest(), VMX_EXIT_HLT);
}

static void test_ept_translations_stay_until_invept(void **state __unused)
{
	vmx_create(0, script_memory);
	assert_int_equal(vmx_run_guest(), VMX_EXIT_HLT);
	vmx_skip();
	m.level2[1] = 0;
	assert_true(insn_invvpid(INVVPID_SINGLE, 1)); /* not what is needed */
	assert_int_equal(vmx_run_guest(), VMX_EXIT_HLT);
	assert_true(model()->cpu[0].tlb_stale_uses > 0);
	vmx_skip();
	assert_true(insn_invept(INVEPT_SINGLE, vmx_read(VMCS_EPTP)));
	assert_int_equal(vmx_run_guest(), VMX_EXIT_EPT_VIOLATION);
}

static void enter(void)
{
	vmx_run_guest();
}

static void test_changed_paging_wants_invvpid(void **state __unused)
{
	vmx_create(0, script_memory);
	assert_int_equal(vmx_run_guest(), VMX_EXIT_HLT);
	vmx_skip();
	vmx_write(VMCS_GUEST_CR3, 0x5000);
	assert_true(insn_invept(INVEPT_ALL, 0)); /* not what is needed */
	assert_true(insn_invvpid(INVVPID_SINGLE, 1));
	assert_int_equal(vmx_run_guest(), VMX_EXIT_HLT);
	vmx_skip();
	vmx_write(VMCS_GUEST_CR3, 0x6000);
	expect_panic(enter, "no INVVPID");
}

static void move_to_other_cpu(void)
{
	insn_vmclear(ptr_to_hpa(m.vmcs));
	use_other_cpu();
	insn_vmptrld(ptr_to_hpa(m.vmcs));
	m.launched = false;
}

static void enter_elsewhere(void)
{
	move_to_other_cpu();
	enter();
}

/* Forth and back: what the first processor kept may be old. */
static void come_back(void)
{
	move_to_other_cpu();
	vmx_write_host();
	enter();
	insn_vmclear(ptr_to_hpa(m.vmcs));
	posix_set_current(&model()->cpu[0]);
	insn_vmptrld(ptr_to_hpa(m.vmcs));
	vmx_write_host();
	m.launched = false;
	enter();
}

static void create_movable(void)
{
	vmx_create(0, script_memory);
	assert_int_equal(vmx_run_guest(), VMX_EXIT_HLT);
	vmx_skip();
}

static void test_moving_a_vmcs(void **state __unused)
{
	create_movable();
	expect_panic(enter_elsewhere, "host state is not that of processor 1");
	create_movable();
	expect_panic(come_back, "no INVVPID");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_vmxon_wants_its_region),
	        cmocka_unit_test(test_vmcs_pointers),
	        cmocka_unit_test(test_vmcs_is_active_on_one_processor),
	        cmocka_unit_test(test_vmxon_is_the_firmwares_choice),
	        cmocka_unit_test(test_exit_saves_and_loads),
	        cmocka_unit_test(test_exits_of_instructions),
	        cmocka_unit_test(test_masks_and_shadows),
	        cmocka_unit_test(test_tpr_below_threshold_is_a_trap),
	        cmocka_unit_test(test_interrupt_window),
	        cmocka_unit_test(test_injection_comes_before_everything),
	        cmocka_unit_test(test_interrupt_acknowledged_by_the_exit),
	        cmocka_unit_test(test_delivery_cut_short),
	        cmocka_unit_test(test_physical_nmi_is_taken_by_the_exit),
	        cmocka_unit_test(test_virtual_nmis),
	        cmocka_unit_test(test_exceptions_exit_by_the_bitmap),
	        cmocka_unit_test(test_debug_trap_and_monitor_trap),
	        cmocka_unit_test(test_monitor_trap_behind_an_injection),
	        cmocka_unit_test(test_timer_of_0_runs_no_instruction),
	        cmocka_unit_test(test_timer_counts_and_is_saved),
	        cmocka_unit_test(test_ept_violation_and_misconfiguration),
	        cmocka_unit_test(test_ept_translations_stay_until_invept),
	        cmocka_unit_test(test_changed_paging_wants_invvpid),
	        cmocka_unit_test(test_moving_a_vmcs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
