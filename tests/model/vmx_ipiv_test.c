/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * IPI virtualization by the model processor with VMX, without the hypervisor: which forms of ICR are virtualized and
 * which exit, defects of the PID-pointer table, the descriptor's ON, SN, NV and NDST, IPIs to oneself. SDM volume 3,
 * "IPI Virtualization", "APIC-Write VM Exits", "Virtualizing MSR-Based APIC Accesses". The target's part is in
 * vmx_posted_test.c; over nothing but memory it is in tests/unit/vapic_ipi_test.c.
 */
#include "tests/model/vmx_ipiv_guest.h"

#define RESERVED (0xfff00000u | BIT(17) | BIT(16) | BIT(13))

/* --- forms of ICR --- */

enum form {
	SENT,
	LEFT,
	SELF,
};

static const struct {
	u32 icr;
	enum form memory, msr;
} forms[] = {
        {VECTOR, SENT, SENT},
        {VECTOR | APIC_LEVEL_ASSERT, SENT, SENT},
        {16, SENT, SENT},
        {255, SENT, SENT},
        {15, LEFT, LEFT},
        {0, LEFT, LEFT},
        {VECTOR | APIC_DEST_LOGICAL, LEFT, LEFT},
        {VECTOR | APIC_TRIGGER_LEVEL, LEFT, LEFT},
        {VECTOR | APIC_TRIGGER_LEVEL | APIC_LEVEL_ASSERT, LEFT, LEFT},
        {VECTOR | APIC_ICR_BUSY, LEFT, LEFT},
        {VECTOR | APIC_DM_LOWEST, LEFT, LEFT},
        {VECTOR | APIC_DM_SMI, LEFT, LEFT},
        {VECTOR | 3u << 8, LEFT, LEFT},
        {VECTOR | APIC_DM_NMI, LEFT, LEFT},
        {VECTOR | APIC_DM_INIT, LEFT, LEFT},
        {VECTOR | APIC_DM_SIPI, LEFT, LEFT},
        {VECTOR | APIC_DM_EXTINT, LEFT, LEFT},
        {VECTOR | APIC_DEST_ALL, LEFT, LEFT},
        {VECTOR | APIC_DEST_OTHERS, LEFT, LEFT},
        /* What virtual-interrupt delivery does by itself: in memory. */
        {VECTOR | APIC_DEST_SELF, SELF, LEFT},
        {VECTOR | APIC_DEST_SELF | APIC_LEVEL_ASSERT, SELF, LEFT},
        {VECTOR | APIC_DEST_SELF | APIC_DEST_LOGICAL, SELF, LEFT},
        {15 | APIC_DEST_SELF, LEFT, LEFT},
        {VECTOR | APIC_DEST_SELF | APIC_TRIGGER_LEVEL, LEFT, LEFT},
        {VECTOR | APIC_DEST_SELF | APIC_DM_NMI, LEFT, LEFT},
        {VECTOR | APIC_DEST_SELF | APIC_ICR_BUSY, LEFT, LEFT},
};

static void run_forms(u32 controls, bool without_delivery)
{
	create_ipiv(without_delivery ? controls & ~VID : controls);
	for (u32 i = 0; i < ARRAY_SIZE(forms); i++) {
		enum form form = by_msr ? forms[i].msr : forms[i].memory;

		forget();
		if (form == SENT)
			expect_sent(1, forms[i].icr, 1, NOTE(1, NV(1)));
		else if (form == SELF && !without_delivery)
			expect_self(1, forms[i].icr);
		else
			expect_left(1, forms[i].icr);
	}
}

static void test_forms_by_memory(void **state __unused)
{
	run_forms(MEMORY_MODE, false);
	run_forms(MEMORY_MODE, true);
}

static void test_forms_by_msr(void **state __unused)
{
	run_forms(MSR_MODE, false);
	run_forms(MSR_MODE, true);
}

static void test_self_form_by_msr_is_a_switch(void **state __unused)
{
	vmx_turned = VAPIC_X2_ICR_SELF;
	create_ipiv(MSR_MODE);
	vmx_turned = 0;
	expect_self(0, VECTOR | APIC_DEST_SELF);
	open_interrupts();
	begin_ipi(0, VECTOR | APIC_DEST_SELF);
	to_hlt();
	assert_int_equal(handled, 1);
}

static void test_reserved_bits(void **state __unused)
{
	create_ipiv(MSR_MODE);
	for (u32 bit = 0; bit < 32; bit++) {
		if (!(RESERVED >> bit & 1))
			continue;
		expect_fault(WRMSR, MSR(APIC_ICR), BIT64(32) | BIT(bit) | VECTOR);
		assert_int_equal(*apic(APIC_ICR), 0);
		assert_int_equal(*apic(APIC_ICR + 4), 0);
		assert_int_equal(posted_count(), 0);
	}
	/* Also where no IPI of that form would be virtualized; the bitmap comes before. */
	expect_fault(WRMSR, MSR(APIC_ICR), BIT(20) | APIC_DM_NMI);
	m.msr_bitmap[MSR(APIC_ICR) / 8 + 0x800] |= BIT(MSR(APIC_ICR) % 8);
	begin_ipi(1, RESERVED | VECTOR);
	expect(VMX_EXIT_WRMSR, 0);
	vmx_skip();
	to_hlt();
	begin_ipi(1, VECTOR);
	expect(VMX_EXIT_WRMSR, 0);
	assert_int_equal(posted_count(), 0);
	assert_int_equal(*apic(APIC_ICR), 0);
	/* In memory there is nobody to tell. */
	create_ipiv(MEMORY_MODE);
	for (u32 bit = 0; bit < 32; bit++)
		if (RESERVED >> bit & 1)
			expect_left(1, BIT(bit) | VECTOR);
}

/* The guest writes both halves by itself, and reads what is stored. */
static void test_icr_as_the_guest_sees_it(void **state __unused)
{
	create_ipiv(MEMORY_MODE);
	quietly(WRITE, APIC + APIC_ICR2, 0x02abcdef);
	quietly(WRITE, APIC + APIC_ICR, VECTOR);
	assert_true(is_posted(2, VECTOR));
	assert_int_equal(quietly(READ, APIC + APIC_ICR, 0), VECTOR);
	assert_int_equal(quietly(READ, APIC + APIC_ICR2, 0), 0x02000000);
	create_ipiv(MSR_MODE);
	quietly(WRMSR, MSR(APIC_ICR), BIT64(33) | VECTOR);
	assert_true(is_posted(2, VECTOR));
	assert_int_equal(quietly(RDMSR, MSR(APIC_ICR), 0), BIT64(33) | VECTOR);
	assert_int_equal(*apic(APIC_ICR2), 0);
}

static void test_every_vector(void **state __unused)
{
	const u32 modes[] = {MEMORY_MODE, MSR_MODE};

	for (u32 i = 0; i < ARRAY_SIZE(modes); i++) {
		create_ipiv(modes[i]);
		for (u32 vector = 0; vector < 256; vector++) {
			forget();
			if (vector < 16)
				expect_left(2, vector);
			else
				expect_sent(2, vector, 2, NOTE(2, NV(2)));
		}
	}
}

static void test_the_trap_comes_before_other_events(void **state __unused)
{
	create_ipiv(MEMORY_MODE);
	open_interrupts();
	vmx_change(VMCS_PRIMARY, 0, VMX_PROC_MTF);
	begin_ipi(1, VECTOR | APIC_DM_NMI);
	expect(VMX_EXIT_APIC_WRITE, APIC_ICR);
	vmx_change(VMCS_PRIMARY, VMX_PROC_MTF, 0);
	to_hlt();
	/* One that is sent is an instruction as any other. */
	vmx_change(VMCS_PRIMARY, 0, VMX_PROC_MTF);
	begin_ipi(1, VECTOR);
	expect(VMX_EXIT_MTF, 0);
	assert_true(guest_engine()->guest[0].insn->done);
	assert_true(is_posted(1, VECTOR));
}

/* --- the table --- */

static void test_entries_that_are_none(void **state __unused)
{
	const u32 modes[] = {MEMORY_MODE, MSR_MODE};
	u64 start, end;

	arena_range(&start, &end);
	for (u32 i = 0; i < ARRAY_SIZE(modes); i++) {
		u64 good;

		create_ipiv(modes[i]);
		good = table[1].v;
		table[1].v = 0;
		expect_left(1, VECTOR);
		table[1].v = good & ~PI_ENTRY_VALID;
		expect_left(1, VECTOR);
		for (u32 bit = 1; bit < 64; bit++) {
			if (bit >= 6 && bit < 40)
				continue;
			table[1].v = good | BIT64(bit);
			expect_left(1, VECTOR);
		}
		/* Within the address's width, but no memory. */
		table[1].v = end | PI_ENTRY_VALID;
		expect_left(1, VECTOR);
		table[1].v = (start - PI_DESC_SIZE) | PI_ENTRY_VALID;
		expect_left(1, VECTOR);
		table[1].v = BIT64(39) | PI_ENTRY_VALID;
		expect_left(1, VECTOR);
		/* It is read for each IPI. */
		table[1].v = good;
		expect_sent(1, VECTOR, 1, NOTE(1, NV(1)));
		forget();
		table[1].v = table[2].v;
		expect_sent(1, VECTOR, 2, NOTE(2, NV(2)));
	}
}

static void test_the_last_index(void **state __unused)
{
	const u32 modes[] = {MEMORY_MODE, MSR_MODE};

	for (u32 i = 0; i < ARRAY_SIZE(modes); i++) {
		create_ipiv(modes[i]);
		for (u32 last = 0; last < TARGETS; last++) {
			vmx_write(VMCS_LAST_PI_INDEX, last);
			for (u32 dest = 0; dest < TARGETS; dest++) {
				forget();
				/* By itself: an IPI to oneself would exit for its notification. */
				descs[0].control.v = PI_TO(NV(0), 1);
				if (dest <= last)
					expect_sent(dest, VECTOR, dest,
					            NOTE(dest ? dest : 1, NV(dest)));
				else
					expect_left(dest, VECTOR);
			}
		}
	}
	/* By MSR all 32 bits are the index. */
	for (u32 bit = 2; bit < 32; bit++) {
		forget();
		expect_left(BIT(bit), VECTOR);
		expect_left(BIT(bit) | 1, VECTOR);
	}
	expect_left(0xffffffff, VECTOR);
	/* The last entry of a page. */
	table[511].v = table[2].v;
	vmx_write(VMCS_LAST_PI_INDEX, 511);
	expect_sent(511, VECTOR, 2, NOTE(2, NV(2)));
	forget();
	vmx_write(VMCS_LAST_PI_INDEX, 510);
	expect_left(511, VECTOR);
}

/* FFh is broadcast to an APIC and an index to the table: that entry has to be invalid. */
static void test_destination_ff_by_memory(void **state __unused)
{
	create_ipiv(MEMORY_MODE);
	expect_left(0xff, VECTOR);
	vmx_write(VMCS_LAST_PI_INDEX, 255);
	expect_left(0xff, VECTOR);
	table[255].v = table[1].v;
	expect_sent(0xff, VECTOR, 1, NOTE(1, NV(1)));
	/* Of the last index no more than one entry is looked up. */
	create_ipiv(MSR_MODE);
	vmx_write(VMCS_LAST_PI_INDEX, 255);
	table[255].v = table[1].v;
	expect_left(0xffffffff, VECTOR);
}

static void enter(void)
{
	vmx_run_guest();
}

static void test_a_table_outside_of_memory(void **state __unused)
{
	u64 start, end;

	arena_range(&start, &end);
	create_ipiv(MEMORY_MODE);
	vmx_write(VMCS_PI_TABLE, end - 8 * (TARGETS - 1));
	ends_the_run(enter, "PID-pointer table");
	create_ipiv(MEMORY_MODE);
	vmx_write(VMCS_PI_TABLE, start - 8);
	ends_the_run(enter, "not in memory");
}

/* --- ON, SN, NV, NDST --- */

static void test_who_is_told(void **state __unused)
{
	const u32 modes[] = {MEMORY_MODE, MSR_MODE};

	for (u32 i = 0; i < ARRAY_SIZE(modes); i++) {
		const u64 to = PI_TO(NV(1), 1);

		create_ipiv(modes[i]);
		/* SN: the bit, and nobody. */
		descs[1].control.v = to | PI_SN;
		expect_sent(1, VECTOR, 1, 0);
		assert_int_equal(descs[1].control.v, to | PI_SN);
		/* ON: somebody has been told. */
		forget();
		descs[1].control.v = to | PI_ON;
		expect_sent(1, VECTOR, 1, 0);
		assert_int_equal(descs[1].control.v, to | PI_ON);
		forget();
		descs[1].control.v = to | PI_ON | PI_SN;
		expect_sent(1, VECTOR, 1, 0);
		/* Neither. */
		forget();
		descs[1].control.v = to;
		expect_sent(1, VECTOR, 1, NOTE(1, NV(1)));
		assert_int_equal(descs[1].control.v, to | PI_ON);
		/* Another one, while ON stands. */
		begin_ipi(1, HIGHER);
		to_hlt();
		assert_true(is_posted(1, HIGHER) && is_posted(1, VECTOR));
		assert_int_equal(pending_note(), 0);
		/* The bit is there already: they are told all the same, */
		descs[1].control.v = to;
		descs[1].pir[HIGHER / 64].v &= ~BIT64(HIGHER % 64);
		expect_sent(1, VECTOR, 1, NOTE(1, NV(1)));
		/* unless switched otherwise. */
		vmx_turned = VAPIC_COALESCED_SILENT;
		create_ipiv(modes[i]);
		vmx_turned = 0;
		expect_sent(1, VECTOR, 1, NOTE(1, NV(1)));
		descs[1].control.v = to;
		expect_sent(1, VECTOR, 1, 0);
		assert_int_equal(descs[1].control.v, to);
	}
}

static void test_vector_and_destination_are_the_descriptors(void **state __unused)
{
	create_ipiv(MSR_MODE);
	expect_sent(1, VECTOR, 1, NOTE(1, NV(1)));
	/* Changed while ON stands: nobody is told anew. */
	descs[1].control.v = PI_TO(0x95, 2) | PI_ON;
	expect_sent(1, VECTOR, 1, 0);
	/* It has been processed: the next goes by what is there now. */
	forget();
	expect_sent(1, VECTOR, 1, NOTE(2, 0x95));
	assert_int_equal(descs[1].control.v, PI_TO(0x95, 2) | PI_ON);
	/* Nobody: a processor that is not there, a vector that no interrupt has. */
	forget();
	descs[1].control.v = PI_TO(NV(1), TARGETS);
	expect_sent(1, VECTOR, 1, 0);
	forget();
	descs[1].control.v = PI_TO(15, 1);
	expect_sent(1, VECTOR, 1, 0);
	forget();
	descs[1].control.v = PI_TO(16, 1);
	expect_sent(1, VECTOR, 1, NOTE(1, 16));
}

static void test_destination_by_the_hosts_mode(void **state __unused)
{
	create_ipiv(MSR_MODE);
	assert_true(insn_rdmsr(MSR_APIC_BASE) & APIC_BASE_EXTD);
	/* x2APIC: all of NDST. */
	descs[1].control.v = PI_TO(NV(1), 2);
	expect_sent(1, VECTOR, 1, NOTE(2, NV(1)));
	forget();
	descs[1].control.v = PI_TO(NV(1), PI_XAPIC_ID(2));
	expect_sent(1, VECTOR, 1, 0);
	/* xAPIC: bits 15:8. */
	vmx_besides = MODEL_XAPIC;
	create_ipiv(MSR_MODE);
	vmx_besides = 0;
	assert_false(insn_rdmsr(MSR_APIC_BASE) & APIC_BASE_EXTD);
	descs[1].control.v = PI_TO(NV(1), PI_XAPIC_ID(2));
	expect_sent(1, VECTOR, 1, NOTE(2, NV(1)));
	forget();
	descs[1].control.v = PI_TO(NV(1), 0x12340000u | PI_XAPIC_ID(2) | 1);
	expect_sent(1, VECTOR, 1, NOTE(2, NV(1)));
}

/* As a write of the physical ICR has it. */
static void test_a_notification_to_all(void **state __unused)
{
	const u64 controls[] = {PI_TO(NV(1), 0xffffffff), PI_TO(NV(1), 0x12ff),
	                        PI_TO(NV(1), PI_XAPIC_ID(0xff))};

	for (u32 i = 0; i < 2 * ARRAY_SIZE(controls); i++) {
		bool xapic = i % 2;
		u64 form = controls[i / 2];
		bool all =
		        xapic ? (PI_NDST(form) >> 8 & 0xff) == 0xff : PI_NDST(form) == 0xffffffff;

		vmx_besides = xapic ? MODEL_XAPIC : 0;
		create_ipiv(MSR_MODE);
		vmx_besides = 0;
		descs[1].control.v = form;
		begin_ipi(1, VECTOR);
		/* The sender's own processor is one of all. */
		assert_int_equal(vmx_run_guest(), all ? VMX_EXIT_EXTERNAL : VMX_EXIT_HLT);
		assert_true(is_posted(1, VECTOR));
		for (u32 cpu_index = 0; cpu_index < TARGETS; cpu_index++)
			assert_int_equal(model_apic_pending(cpu(cpu_index)), all ? NV(1) : -1);
	}
}

static void test_counts(void **state __unused)
{
	u64 before[HW_COUNT];
	const u64 *counts;

	create_ipiv(MSR_MODE);
	memcpy(before, port_hw_counts(), sizeof(before));
	expect_sent(1, VECTOR, 1, NOTE(1, NV(1)));
	expect_sent(1, VECTOR, 1, 0);
	counts = port_hw_counts();
	assert_int_equal(counts[HW_IPI] - before[HW_IPI], 2);
	assert_int_equal(counts[HW_REQUESTS] - before[HW_REQUESTS], 2);
	assert_int_equal(counts[HW_COALESCED] - before[HW_COALESCED], 1);
	assert_int_equal(counts[HW_DOORBELLS] - before[HW_DOORBELLS], 1);
	assert_int_equal(counts[HW_IPI_SELF] - before[HW_IPI_SELF], 0);
	forget();
	expect_left(1, VECTOR | APIC_DM_NMI);
	assert_int_equal(port_hw_counts()[HW_IPI] - before[HW_IPI], 2);
}

/* --- to oneself, by one's own ID --- */

static void test_to_oneself(void **state __unused)
{
	const u32 modes[] = {MEMORY_MODE, MSR_MODE};

	for (u32 i = 0; i < ARRAY_SIZE(modes); i++) {
		create_ipiv(modes[i]);
		add_posted(0);
		open_interrupts();
		begin_ipi(0, VECTOR);
		to_hlt();
		assert_int_equal(handled, 1);
		/* With the assist the write was an entry of its own, too. */
		assert_int_equal(vmx_notified(), vmx_assisted ? 2 : 1);
		assert_int_equal(descs[0].control.v, PI_TO(NV(0), 0));
		assert_int_equal(status(), VMX_INTR_STATUS(0, VECTOR));
		/* With interrupts off it waits. */
		create_ipiv(modes[i]);
		add_posted(0);
		begin_ipi(0, VECTOR);
		to_hlt();
		assert_int_equal(handled, 0);
		assert_int_equal(status(), VECTOR);
		quietly(STI, 0, 0);
		assert_int_equal(handled, 1);
		/* Where posted interrupts are not processed, its notification exits behind the instruction. */
		create_ipiv(modes[i]);
		begin_ipi(0, VECTOR);
		expect(VMX_EXIT_EXTERNAL, 0);
		assert_true(vmx_assisted || guest_engine()->guest[0].insn->done);
		assert_true(is_posted(0, VECTOR));
		assert_int_equal(pending_note(), NOTE(0, NV(0)));
		to_hlt();
		assert_int_equal(handled, 0);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_forms_by_memory),
	        cmocka_unit_test(test_forms_by_msr),
	        cmocka_unit_test(test_self_form_by_msr_is_a_switch),
	        cmocka_unit_test(test_reserved_bits),
	        cmocka_unit_test(test_icr_as_the_guest_sees_it),
	        cmocka_unit_test(test_every_vector),
	        cmocka_unit_test(test_the_trap_comes_before_other_events),
	        cmocka_unit_test(test_entries_that_are_none),
	        cmocka_unit_test(test_the_last_index),
	        cmocka_unit_test(test_destination_ff_by_memory),
	        cmocka_unit_test(test_a_table_outside_of_memory),
	        cmocka_unit_test(test_who_is_told),
	        cmocka_unit_test(test_vector_and_destination_are_the_descriptors),
	        cmocka_unit_test(test_destination_by_the_hosts_mode),
	        cmocka_unit_test(test_a_notification_to_all),
	        cmocka_unit_test(test_counts),
	        cmocka_unit_test(test_to_oneself),
	};
	int failed;

	/* By the processor itself, and by the assist. */
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	vmx_assisted = "sapphire-rapids";
	return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
