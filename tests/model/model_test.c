/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The processor model itself, without the hypervisor: a VMCB by hand, one VMRUN after another. The
 * rules are APM volume 2's, "Secure Virtual Machine", also where emulators differ.
 */
#include "tests/model/harness.h"

#include "insn.h"

#define ENTRY  0x1000ull
#define MEMORY (2ull << 20)
#define DATA   0x8000ull
#define VECTOR 0x41

static struct {
	struct vmcb *vmcb;
	u64 gpr[GPR_COUNT];
	u64 *root, *level3, *level2;
	u8 *memory, *hsave, *host, *msrpm, *iopm;
} m;

static void *page(u64 pages)
{
	void *p = port_alloc(pages * PAGE_SIZE, PAGE_SIZE);

	assert_non_null(p);
	return p;
}

static u64 hpa(const void *p)
{
	return ptr_to_hpa(p).v;
}

/* Guest-physical 0 .. 2 MiB as one large page; 64-bit code at ENTRY. */
static void create(u32 features, guest_script script)
{
	struct vmcb_control *c;
	struct vmcb_save *s;

	posix_machine_reset(&(struct posix_config){.cpus = 1}, features);
	m.vmcb = page(1);
	m.root = page(1);
	m.level3 = page(1);
	m.level2 = page(1);
	m.hsave = page(1);
	m.host = page(1);
	m.msrpm = page(2);
	m.iopm = page(3);
	m.memory = port_alloc(MEMORY, MEMORY);
	assert_non_null(m.memory);
	m.root[0] = hpa(m.level3) | PTE_P | PTE_W | PTE_U;
	m.level3[0] = hpa(m.level2) | PTE_P | PTE_W | PTE_U;
	m.level2[0] = hpa(m.memory) | PTE_P | PTE_W | PTE_U | PTE_PS;
	/* Another large page that shows the same memory. */
	m.level2[1] = m.level2[0];
	/* Where scripts have their code. */
	m.level2[GUEST_CODE / MEMORY] = m.level2[0];
	c = &m.vmcb->control;
	s = &m.vmcb->save;
	c->asid = 1;
	c->n_cr3 = hpa(m.root);
	c->np_control = SVM_NP_ENABLE;
	c->int_ctl = SVM_V_INTR_MASKING;
	c->intercept_misc1 = SVM_MISC1(SVM_EXIT_INTR) | SVM_MISC1(SVM_EXIT_NMI) |
	                     SVM_MISC1(SVM_EXIT_HLT) | SVM_MISC1(SVM_EXIT_CPUID) |
	                     SVM_MISC1(SVM_EXIT_SHUTDOWN) | SVM_MSR_PROT | SVM_IOIO_PROT;
	c->intercept_misc2 = SVM_MISC2(SVM_EXIT_VMRUN);
	c->msrpm_base = hpa(m.msrpm);
	c->iopm_base = hpa(m.iopm);
	s->efer = EFER_SVME | EFER_LME | EFER_LMA;
	s->cr0 = CR0_PE | CR0_PG | CR0_ET;
	s->cr4 = CR4_PAE;
	s->cs = (struct vmcb_segment){.selector = 8, .attr = 0xa9b, .limit = ~0u};
	s->idtr.limit = 0xfff;
	s->rip = ENTRY;
	s->rflags = RFLAGS_RES1;
	guest_bind(ENTRY, script, NULL);
	insn_wrmsr(MSR_EFER, insn_rdmsr(MSR_EFER) | EFER_SVME);
	insn_wrmsr(MSR_VM_HSAVE_PA, hpa(m.hsave));
	insn_vmsave(ptr_to_hpa(m.host));
	insn_clgi();
}

static bool leave(void *context __unused)
{
	return false;
}

static u64 enter(void)
{
	insn_svm_run(ptr_to_hpa(m.vmcb), m.gpr, ptr_to_hpa(m.host), leave, NULL);
	return m.vmcb->control.exit_code;
}

static void script_cpuid(void *arg __unused)
{
	struct cpuid_regs r;

	for (;;)
		g_cpuid(7, 1, &r);
}

static void test_vmrun_saves_and_restores(void **state __unused)
{
	create(0, script_cpuid);
	m.gpr[GPR_RSI] = 0x1234;
	assert_int_equal(enter(), SVM_EXIT_CPUID);
	assert_int_equal(m.vmcb->save.rax, 7);
	assert_int_equal(m.gpr[GPR_RCX], 1);
	assert_int_equal(m.gpr[GPR_RSI], 0x1234);
	/* GIF is clear again, the host's own GS is back, nothing of RIP has been completed. */
	assert_false(model()->cpu[0].gif);
	assert_int_equal(model()->cpu[0].hidden.gs.base, 0xffff800000000000ull);
	assert_int_equal(m.memory[m.vmcb->save.rip & (MEMORY - 1)], 0x0f);
	assert_int_equal(m.memory[(m.vmcb->save.rip + 1) & (MEMORY - 1)], 0xa2);
	/* No next-RIP save: not even a plausible value. */
	assert_int_not_equal(m.vmcb->control.next_rip, m.vmcb->save.rip + 2);
}

static void test_vmrun_next_rip_if_it_has_it(void **state __unused)
{
	create(MODEL_NRIPS, script_cpuid);
	assert_int_equal(enter(), SVM_EXIT_CPUID);
	assert_int_equal(m.vmcb->control.next_rip, m.vmcb->save.rip + 2);
}

/* --- checks --- */

static bool is_refused(const struct vmcb *vmcb, u32 features)
{
	struct avic_memory memory = model_memory();

	return model_vmrun_check(vmcb, EFER_SVME, features, &memory);
}

static void expect_invalid(void (*spoil)(struct vmcb *vmcb), u32 features)
{
	struct vmcb vmcb;

	create(features, script_cpuid);
	assert_false(is_refused(m.vmcb, features));
	vmcb = *m.vmcb;
	spoil(&vmcb);
	assert_true(is_refused(&vmcb, features));
	*m.vmcb = vmcb;
	assert_true(enter() == SVM_EXIT_INVALID);
}

#define SPOIL(name, statement)                                                                     \
	static void name(struct vmcb *v)                                                           \
	{                                                                                          \
		statement;                                                                         \
	}
SPOIL(no_svme, v->save.efer &= ~EFER_SVME)
SPOIL(asid_zero, v->control.asid = 0)
SPOIL(asid_large, v->control.asid = MODEL_ASIDS)
SPOIL(no_vmrun_intercept, v->control.intercept_misc2 = 0)
SPOIL(nw_without_cd, v->save.cr0 |= CR0_NW)
SPOIL(cr0_high, v->save.cr0 |= 1ull << 32)
SPOIL(no_pae, v->save.cr4 &= ~CR4_PAE)
SPOIL(no_pe, v->save.cr0 &= ~CR0_PE)
SPOIL(l_and_d, v->save.cs.attr |= SEG_ATTR_DB)
SPOIL(dr7_high, v->save.dr7 = 1ull << 32)
SPOIL(efer_reserved, v->save.efer |= 1ull << 40)
SPOIL(event_type, v->control.event_inj = SVM_EVENT_VALID | 1u << 8)
SPOIL(event_exception_2, v->control.event_inj = SVM_EVENT_VALID | SVM_EVENT_EXCEPTION | 2)
SPOIL(event_exception_32, v->control.event_inj = SVM_EVENT_VALID | SVM_EVENT_EXCEPTION | 32)
SPOIL(flush_asid, v->control.tlb_control = SVM_TLB_FLUSH_ASID)
SPOIL(avic, v->control.int_ctl |= SVM_AVIC_ENABLE)

static void test_vmrun_refuses_what_the_manual_lists(void **state __unused)
{
	static void (*const spoils[])(struct vmcb *) = {
	        no_svme,
	        asid_zero,
	        asid_large,
	        no_vmrun_intercept,
	        nw_without_cd,
	        cr0_high,
	        no_pae,
	        no_pe,
	        l_and_d,
	        dr7_high,
	        event_type,
	        avic,
	        efer_reserved,
	        event_exception_2,
	        event_exception_32,
	        flush_asid,
	};

	for (u32 i = 0; i < ARRAY_SIZE(spoils); i++)
		expect_invalid(spoils[i], 0);
}

static void test_vmrun_flush_by_asid_only_where_it_exists(void **state __unused)
{
	create(MODEL_FLUSH_ASID, script_cpuid);
	flush_asid(m.vmcb);
	assert_false(is_refused(m.vmcb, MODEL_FLUSH_ASID));
}

/* --- permission maps --- */

static void test_intercept_msr_map(void **state __unused)
{
	static const u32 msrs[] = {0x0, 0x1fff, 0xc0000000, 0xc0001fff, 0xc0010000, 0xc0011fff};

	create(0, script_cpuid);
	for (u32 i = 0; i < ARRAY_SIZE(msrs); i++) {
		u32 bit = (i / 2) * 0x4000 + (msrs[i] & 0x1fff) * 2;

		assert_false(model_intercepts_msr(&m.vmcb->control, msrs[i], false));
		m.msrpm[bit / 8] |= (u8)(1 << bit % 8);
		assert_true(model_intercepts_msr(&m.vmcb->control, msrs[i], false));
		assert_false(model_intercepts_msr(&m.vmcb->control, msrs[i], true));
		m.msrpm[bit / 8] |= (u8)(2 << bit % 8);
		assert_true(model_intercepts_msr(&m.vmcb->control, msrs[i], true));
	}
	/* Beyond the map everything exits. */
	assert_true(model_intercepts_msr(&m.vmcb->control, 0x2000, false));
	assert_true(model_intercepts_msr(&m.vmcb->control, 0xc0002000, true));
	m.vmcb->control.intercept_misc1 &= ~SVM_MSR_PROT;
	assert_false(model_intercepts_msr(&m.vmcb->control, 0x2000, false));
}

static void test_intercept_io_map(void **state __unused)
{
	create(0, script_cpuid);
	m.iopm[0x72 / 8] = 1 << (0x72 % 8);
	assert_false(model_intercepts_io(&m.vmcb->control, 0x71, 1));
	assert_true(model_intercepts_io(&m.vmcb->control, 0x71, 2));
	assert_true(model_intercepts_io(&m.vmcb->control, 0x6f, 4));
	assert_false(model_intercepts_io(&m.vmcb->control, 0x73, 4));
	m.iopm[0x2000] = 1; /* the bits behind the last port */
	assert_true(model_intercepts_io(&m.vmcb->control, 0xffff, 2));
	assert_false(model_intercepts_io(&m.vmcb->control, 0xffff, 1));
}

/* --- events --- */

static u32 handled;

static void count(u8 vector, u32 error __unused)
{
	assert_int_equal(vector, VECTOR);
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

static void skip_insn(void)
{
	m.vmcb->save.rip += 2;
	m.vmcb->control.int_state = 0;
}

static void create_idle(void)
{
	create(0, script_idle);
	g_set_handler(VECTOR, count);
	handled = 0;
	assert_int_equal(enter(), SVM_EXIT_CPUID);
	assert_int_equal(m.vmcb->save.rax, 0);
}

static void test_inject_is_unconditional(void **state __unused)
{
	create_idle();
	m.vmcb->save.rflags &= ~RFLAGS_IF;
	m.vmcb->control.event_inj = SVM_EVENT_VALID | SVM_EVENT_INTR | VECTOR;
	assert_int_equal(enter(), SVM_EXIT_CPUID);
	assert_int_equal(handled, 1);
	/* The field's valid bit is clear after #VMEXIT: the same event does not come twice. */
	assert_int_equal(m.vmcb->control.event_inj & SVM_EVENT_VALID, 0);
	assert_int_equal(enter(), SVM_EXIT_CPUID);
	assert_int_equal(handled, 1);
}

static void test_inject_then_physical_interrupt(void **state __unused)
{
	create_idle();
	insn_apic_send(0, CPU_VECTOR_FORCE);
	assert_true(insn_apic_pending(CPU_VECTOR_FORCE));
	m.vmcb->control.event_inj = SVM_EVENT_VALID | SVM_EVENT_INTR | VECTOR;
	assert_int_equal(enter(), SVM_EXIT_INTR);
	/* Delivered, but not an instruction of the handler has run; the interrupt still waits. */
	assert_int_equal(handled, 0);
	assert_int_equal(guest_engine()->guest[0].depth, 1);
	assert_true(insn_apic_pending(CPU_VECTOR_FORCE));
	assert_false(m.vmcb->control.exit_int_info & SVM_EVENT_VALID);
	insn_stgi();
	assert_false(insn_apic_pending(CPU_VECTOR_FORCE));
	insn_clgi();
	assert_int_equal(enter(), SVM_EXIT_CPUID);
	assert_int_equal(handled, 1);
}

static void test_gif_holds_interrupts(void **state __unused)
{
	u64 taken;

	create_idle();
	taken = model()->cpu[0].interrupts;
	insn_apic_send(0, CPU_VECTOR_KICK);
	assert_int_equal(model()->cpu[0].interrupts, taken);
	insn_stgi();
	assert_int_equal(model()->cpu[0].interrupts, taken + 1);
}

static void virq(u64 priority, u64 tpr, bool ignore_tpr)
{
	m.vmcb->control.int_ctl = SVM_V_INTR_MASKING | SVM_V_IRQ | SVM_V_INTR_PRIO(priority) |
	                          SVM_V_INTR_VECTOR(VECTOR) | tpr |
	                          (ignore_tpr ? SVM_V_IGN_TPR : 0);
}

static void test_virtual_interrupt_priority(void **state __unused)
{
	create_idle();
	m.vmcb->control.int_state = 0;
	assert_true(m.vmcb->save.rflags & RFLAGS_IF);
	/* Equal is not above: not taken. */
	virq(5, 5, false);
	assert_int_equal(enter(), SVM_EXIT_CPUID);
	assert_int_equal(handled, 0);
	assert_true(m.vmcb->control.int_ctl & SVM_V_IRQ);
	virq(5, 4, false);
	assert_int_equal(enter(), SVM_EXIT_CPUID);
	assert_int_equal(handled, 1);
	assert_false(m.vmcb->control.int_ctl & SVM_V_IRQ);
	virq(0, 15, true);
	assert_int_equal(enter(), SVM_EXIT_CPUID);
	assert_int_equal(handled, 2);
}

static void test_virtual_interrupt_window(void **state __unused)
{
	create_idle();
	/* In the shadow of STI. */
	assert_true(m.vmcb->control.int_state & SVM_INT_SHADOW);
	m.vmcb->control.intercept_misc1 |= SVM_MISC1(SVM_EXIT_VINTR);
	virq(15, 0, true);
	assert_int_equal(enter(), SVM_EXIT_CPUID);
	assert_int_equal(m.vmcb->save.rax, 0);
	skip_insn();
	assert_int_equal(enter(), SVM_EXIT_VINTR);
	assert_true(m.vmcb->control.int_ctl & SVM_V_IRQ);
	assert_int_equal(handled, 0);
	/* Without the request: on to the next exit; with IF clear: no window. */
	virq(15, 0, true);
	m.vmcb->save.rflags &= ~RFLAGS_IF;
	assert_int_equal(enter(), SVM_EXIT_CPUID);
	assert_int_equal(m.vmcb->save.rax, 1);
}

/* --- translations --- */

static void script_reads(void *arg __unused)
{
	struct cpuid_regs r;

	for (;;) {
		u32 value = g_mmio_read(MEMORY + DATA);

		g_cpuid(value, 0, &r);
	}
}

static void test_tlb_keeps_stale_translations(void **state __unused)
{
	create(0, script_reads);
	m.memory[DATA] = 0x11;
	assert_int_equal(enter(), SVM_EXIT_CPUID);
	assert_int_equal(m.vmcb->save.rax, 0x11);
	skip_insn();
	/* Unmapped without a flush: still used. */
	m.level2[1] = 0;
	assert_int_equal(enter(), SVM_EXIT_CPUID);
	assert_true(model()->cpu[0].tlb_stale_uses > 0);
	skip_insn();
	m.vmcb->control.tlb_control = SVM_TLB_FLUSH_ALL;
	assert_int_equal(enter(), SVM_EXIT_NPF);
	assert_int_equal(m.vmcb->control.exit_info_2, MEMORY + DATA);
	assert_int_equal((u32)m.vmcb->control.exit_info_1, PF_USER);
	assert_true(m.vmcb->control.exit_info_1 & BIT64(32));
	/* Another ASID sees what is there now, without any flush. */
	m.vmcb->control.tlb_control = 0;
	m.level2[1] = m.level2[0];
	assert_int_equal(enter(), SVM_EXIT_CPUID);
	skip_insn();
	m.level2[1] = 0;
	m.vmcb->control.asid = 2;
	assert_int_equal(enter(), SVM_EXIT_NPF);
}

static void test_nested_permissions(void **state __unused)
{
	struct model_walk walk;

	create(0, script_cpuid);
	m.level2[3] = (m.level2[0] & ~PTE_W) | PTE_NX;
	walk = model_nested_walk(ptr_to_hpa(m.root), GPA(3 * MEMORY + 0x5000), MODEL_READ);
	assert_true(walk.ok);
	assert_int_equal(walk.frame, (hpa(m.memory) >> 12) + 5);
	assert_true(m.level2[3] & PTE_A);
	assert_false(m.level2[3] & PTE_D);
	walk = model_nested_walk(ptr_to_hpa(m.root), GPA(3 * MEMORY), MODEL_WRITE);
	assert_false(walk.ok);
	assert_int_equal(walk.error, PF_USER | PF_PRESENT | PF_WRITE);
	walk = model_nested_walk(ptr_to_hpa(m.root), GPA(3 * MEMORY), MODEL_EXEC);
	assert_false(walk.ok);
	assert_int_equal(walk.error, PF_USER | PF_PRESENT | PF_FETCH);
	/* A supervisor page is out of a guest's reach. */
	m.level2[3] = m.level2[0] & ~PTE_U;
	walk = model_nested_walk(ptr_to_hpa(m.root), GPA(3 * MEMORY), MODEL_READ);
	assert_false(walk.ok);
	assert_int_equal(walk.error, PF_USER | PF_PRESENT);
}

/* A field whose clean bit is set is not read again, whatever memory says now. */
static void test_clean_bits_are_believed(void **state __unused)
{
	create(MODEL_CLEAN_BITS, script_cpuid);
	assert_int_equal(enter(), SVM_EXIT_CPUID);
	m.vmcb->control.intercept_misc1 &= ~SVM_MISC1(SVM_EXIT_CPUID);
	m.vmcb->control.clean_bits = SVM_CLEAN_INTERCEPTS;
	assert_int_equal(enter(), SVM_EXIT_CPUID);
	m.vmcb->control.clean_bits = 0;
	model()->cpu[0].timer_deadline = port_tsc() + 100000;
	assert_int_equal(enter(), SVM_EXIT_INTR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_vmrun_saves_and_restores),
	        cmocka_unit_test(test_vmrun_next_rip_if_it_has_it),
	        cmocka_unit_test(test_vmrun_refuses_what_the_manual_lists),
	        cmocka_unit_test(test_vmrun_flush_by_asid_only_where_it_exists),
	        cmocka_unit_test(test_intercept_msr_map),
	        cmocka_unit_test(test_intercept_io_map),
	        cmocka_unit_test(test_inject_is_unconditional),
	        cmocka_unit_test(test_inject_then_physical_interrupt),
	        cmocka_unit_test(test_gif_holds_interrupts),
	        cmocka_unit_test(test_virtual_interrupt_priority),
	        cmocka_unit_test(test_virtual_interrupt_window),
	        cmocka_unit_test(test_tlb_keeps_stale_translations),
	        cmocka_unit_test(test_nested_permissions),
	        cmocka_unit_test(test_clean_bits_are_believed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
