/* SPDX-License-Identifier: BSD-2-Clause */
/* The local APIC's registers, modes, priorities, acceptance and end of interrupt. */
#include "tests/unit/lapic_guest.h"

/* ---- priorities ---- */

/* TPR 35h, 31h in service: the classes are equal, PPR is TPR. */
static void test_lapic_ppr_is_tpr_when_classes_are_equal(void **state)
{
	(void)state;
	serve(0, 0x31);
	wr(0, APIC_TPR, 0x35);
	assert_int_equal(rd(0, APIC_PPR), 0x35);
}

static void test_lapic_ppr_is_class_in_service_when_above_tpr(void **state)
{
	(void)state;
	serve(0, 0x31);
	wr(0, APIC_TPR, 0x25);
	assert_int_equal(rd(0, APIC_PPR), 0x30);
}

static void test_lapic_equal_class_is_not_delivered(void **state)
{
	(void)state;
	wr(0, APIC_TPR, 0x20);
	accept(0, 0x2f, false);
	assert_int_equal(lapic_deliverable(cpu(0)), -1);
	assert_true(vector_bit(0, APIC_IRR, 0x2f));
}

static void test_lapic_next_class_is_delivered(void **state)
{
	(void)state;
	wr(0, APIC_TPR, 0x20);
	accept(0, 0x30, false);
	assert_int_equal(lapic_deliverable(cpu(0)), 0x30);
	lapic_ack(cpu(0), 0x30);
	assert_true(vector_bit(0, APIC_ISR, 0x30));
	assert_false(vector_bit(0, APIC_IRR, 0x30));
	assert_int_equal(rd(0, APIC_PPR), 0x30);
}

static void test_lapic_highest_vector_first(void **state)
{
	(void)state;
	for (u32 v = 16; v < 256; v++)
		accept(0, (u8)v, false);
	/* One of each class can be in service at a time; each ends before the next is taken. */
	for (int v = 255; v >= 16; v--) {
		assert_int_equal(lapic_deliverable(cpu(0)), v);
		lapic_ack(cpu(0), (u8)v);
		assert_int_equal(lapic_deliverable(cpu(0)), -1);
		wr(0, APIC_EOI, 0);
	}
	assert_int_equal(lapic_deliverable(cpu(0)), -1);
	assert_int_equal(counter(0, COUNTER_EOI), 240);
}

static void test_lapic_higher_class_nests(void **state)
{
	(void)state;
	serve(0, 0x41);
	serve(0, 0x51);
	assert_int_equal(rd(0, APIC_PPR), 0x50);
	wr(0, APIC_EOI, 0);
	assert_int_equal(rd(0, APIC_PPR), 0x40);
	wr(0, APIC_EOI, 0);
	assert_int_equal(rd(0, APIC_PPR), 0);
}

static void test_lapic_lowering_tpr_asks_for_attention(void **state)
{
	(void)state;
	wr(0, APIC_TPR, 0xf0);
	accept(0, 0x80, false);
	fake_take_requests(cpu(0));
	wr(0, APIC_TPR, 0x80);
	assert_int_equal(fake_take_requests(cpu(0)), 0);
	wr(0, APIC_TPR, 0x70);
	assert_int_equal(fake_take_requests(cpu(0)), VCPU_REQUEST_EVENT);
}

static void test_lapic_cr8_is_the_class_of_tpr(void **state)
{
	(void)state;
	wr(0, APIC_TPR, 0x35);
	assert_int_equal(lapic_cr8(cpu(0)), 3);
	lapic_set_cr8(cpu(0), 3); /* the subclass goes */
	assert_int_equal(rd(0, APIC_TPR), 0x30);
	lapic_set_cr8(cpu(0), 0x19);
	assert_int_equal(rd(0, APIC_TPR), 0x90);
	assert_int_equal(rd(0, APIC_PPR), 0x90);
}

static void test_lapic_waits_for_tpr_only_if_tpr_is_what_holds_it(void **state)
{
	(void)state;
	accept(0, 0x50, false);
	assert_false(lapic_waits_for_tpr(cpu(0))); /* nothing holds it */
	wr(0, APIC_TPR, 0x50);
	assert_true(lapic_waits_for_tpr(cpu(0)));
	wr(0, APIC_TPR, 0);
	serve(0, 0x61);
	wr(0, APIC_TPR, 0x50);
	assert_false(lapic_waits_for_tpr(cpu(0))); /* 61h in service does */
}

/* ---- acceptance and end ---- */

static void test_lapic_accept_asks_for_attention(void **state)
{
	(void)state;
	fake_take_requests(cpu(1));
	accept(1, 0x55, false);
	assert_int_equal(fake_take_requests(cpu(1)), VCPU_REQUEST_EVENT);
}

static void test_lapic_tmr_follows_every_acceptance(void **state)
{
	(void)state;
	accept(0, 0x61, true);
	assert_true(vector_bit(0, APIC_TMR, 0x61));
	accept(0, 0x61, false);
	assert_false(vector_bit(0, APIC_TMR, 0x61));
	assert_false(vector_bit(0, APIC_TMR, 0x60));
}

static void test_lapic_ack_returns_the_source(void **state)
{
	(void)state;
	assert_true(lapic_accept(&cpu(0)->lapic, 0x40, false, IRQ_SOURCE_IPI));
	assert_true(lapic_accept(&cpu(0)->lapic, 0x60, true, IRQ_SOURCE_IOAPIC));
	assert_int_equal(lapic_ack(cpu(0), 0x60), IRQ_SOURCE_IOAPIC);
	wr(0, APIC_EOI, 0);
	assert_int_equal(lapic_ack(cpu(0), 0x40), IRQ_SOURCE_IPI);
}

static void test_lapic_unacknowledged_vector_competes_again(void **state)
{
	(void)state;
	accept(0, 0x41, false);
	lapic_ack(cpu(0), 0x41);
	lapic_unack(cpu(0), 0x41);
	assert_int_equal(rd(0, APIC_PPR), 0);
	assert_int_equal(lapic_deliverable(cpu(0)), 0x41);
	accept(0, 0x61, false);
	assert_int_equal(lapic_deliverable(cpu(0)), 0x61);
}

static u64 coalesced(u32 n)
{
	return counter_read(&cpu(n)->account.counters[COUNTER_COALESCED]);
}

/* What was accepted is what was coalesced, what is taken and what is pending. */
static void test_lapic_coalesced_requests_are_counted(void **state)
{
	(void)state;
	accept(0, 0x41, false);
	assert_int_equal(coalesced(0), 0);
	accept(0, 0x41, false);
	accept(0, 0x41, false);
	accept(0, 0x42, false);
	assert_int_equal(coalesced(0), 2);
	assert_int_equal(coalesced(1), 0);
	/* In service is not pending: a request behind it is one of its own. */
	lapic_ack(cpu(0), 0x41);
	accept(0, 0x41, false);
	assert_int_equal(coalesced(0), 2);
	/* Two become one when what was taken is given back on top of a new one. */
	lapic_unack(cpu(0), 0x41);
	assert_int_equal(coalesced(0), 3);
	lapic_ack(cpu(0), 0x41);
	lapic_unack(cpu(0), 0x41);
	assert_int_equal(coalesced(0), 3);
	/* What is not accepted counts nowhere. */
	wr(0, APIC_SVR, 0xff);
	assert_false(lapic_accept(&cpu(0)->lapic, 0x41, false, IRQ_SOURCE_MSI));
	assert_int_equal(coalesced(0), 3);
}

static void test_lapic_request_while_in_service_waits_behind(void **state)
{
	(void)state;
	serve(0, 0x45);
	accept(0, 0x45, false);
	assert_int_equal(lapic_deliverable(cpu(0)), -1);
	fake_take_requests(cpu(0));
	wr(0, APIC_EOI, 0);
	assert_int_equal(fake_take_requests(cpu(0)), VCPU_REQUEST_EVENT);
	assert_int_equal(lapic_deliverable(cpu(0)), 0x45);
}

static void test_lapic_eoi_of_level_is_broadcast(void **state)
{
	(void)state;
	accept(0, 0x71, true);
	lapic_ack(cpu(0), 0x71);
	wr(0, APIC_EOI, 0);
	assert_int_equal(fake.eoi_count, 1);
	assert_int_equal(fake.eoi_vector, 0x71);
}

static void test_lapic_eoi_of_edge_is_not_broadcast(void **state)
{
	(void)state;
	serve(0, 0x71);
	wr(0, APIC_EOI, 0x1234); /* any value */
	assert_false(vector_bit(0, APIC_ISR, 0x71));
	assert_int_equal(fake.eoi_count, 0);
}

/* Unless somebody listens: then the I/O APIC is told, by another way than the broadcast. */
static void test_lapic_eoi_of_edge_is_told_to_who_listens(void **state)
{
	(void)state;
	serve(0, 0x61);
	wr(0, APIC_EOI, 0);
	assert_int_equal(fake.edge_eoi_count, 0);
	fake.listening = true;
	serve(0, 0x61);
	wr(0, APIC_EOI, 0);
	assert_int_equal(fake.edge_eoi_count, 1);
	assert_int_equal(fake.eoi_count, 0);
	wr(0, APIC_EOI, 0); /* of nothing */
	assert_int_equal(fake.edge_eoi_count, 1);
}

static void test_lapic_eoi_broadcast_can_be_suppressed(void **state)
{
	(void)state;
	assert_true(rd(0, APIC_VERSION) & APIC_VERSION_DIRECTED_EOI);
	wr(0, APIC_SVR, SVR_ON | APIC_SVR_NO_BROADCAST);
	accept(0, 0x71, true);
	lapic_ack(cpu(0), 0x71);
	wr(0, APIC_EOI, 0);
	assert_false(vector_bit(0, APIC_ISR, 0x71));
	assert_int_equal(fake.eoi_count, 0);
}

static void test_lapic_eoi_of_nothing_is_ignored(void **state)
{
	(void)state;
	accept(0, 0x71, true); /* requested, level, but not in service */
	wr(0, APIC_EOI, 0);
	assert_int_equal(fake.eoi_count, 0);
	assert_true(vector_bit(0, APIC_IRR, 0x71));
}

static void test_lapic_illegal_vector_received_sets_esr(void **state)
{
	(void)state;
	for (u32 v = 0; v < 16; v++)
		assert_false(lapic_accept(&cpu(0)->lapic, (u8)v, false, IRQ_SOURCE_MSI));
	assert_int_equal(rd(0, APIC_ESR), 0); /* only a write shows what has gathered */
	wr(0, APIC_ESR, 0);
	assert_int_equal(rd(0, APIC_ESR), APIC_ESR_RECV_ILLEGAL);
	wr(0, APIC_ESR, 0);
	assert_int_equal(rd(0, APIC_ESR), 0);
	accept(0, 16, false);
}

static void test_lapic_first_error_raises_lvt_error(void **state)
{
	(void)state;
	wr(0, APIC_LVTERR, 0xfe);
	wr(0, 0x040, 1);
	assert_int_equal(lapic_deliverable(cpu(0)), 0xfe);
	assert_int_equal(lapic_ack(cpu(0), 0xfe), IRQ_SOURCE_LOCAL);
	wr(0, APIC_EOI, 0);
	wr(0, 0x040, 1); /* disarmed until ESR is written */
	assert_int_equal(lapic_deliverable(cpu(0)), -1);
	wr(0, APIC_ESR, 0);
	assert_int_equal(rd(0, APIC_ESR), APIC_ESR_ILLEGAL_REG);
	wr(0, 0x040, 1);
	assert_int_equal(lapic_deliverable(cpu(0)), 0xfe);
}

static void test_lapic_error_with_illegal_error_vector_ends(void **state)
{
	(void)state;
	wr(0, APIC_LVTERR, 3);
	wr(0, 0x040, 1);
	wr(0, APIC_ESR, 0);
	assert_int_equal(rd(0, APIC_ESR), APIC_ESR_ILLEGAL_REG | APIC_ESR_RECV_ILLEGAL);
}

/* ---- software enable ---- */

static void test_lapic_software_disabled_accepts_no_fixed(void **state)
{
	(void)state;
	accept(0, 0x50, false);
	wr(0, APIC_SVR, 0xff);
	assert_false(lapic_accept(&cpu(0)->lapic, 0x60, false, IRQ_SOURCE_IPI));
	assert_int_equal(lapic_deliverable(cpu(0)), 0x50); /* what was accepted is kept */
	lapic_signal_nmi(&cpu(0)->lapic);
	assert_int_equal(lapic_take_nmi(cpu(0)), 1);
}

static void test_lapic_software_disabled_forces_lvt_masks(void **state)
{
	static const u32 lvts[] = {APIC_LVTT, APIC_LVTTHMR, APIC_LVTPC,
	                           APIC_LVT0, APIC_LVT1,    APIC_LVTERR};

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(lvts); i++) {
		wr(0, APIC_SVR, SVR_ON);
		wr(0, lvts[i], 0x40);
		assert_int_equal(rd(0, lvts[i]), 0x40);
		wr(0, APIC_SVR, 0xff);
		assert_int_equal(rd(0, lvts[i]), APIC_LVT_MASKED | 0x40);
		wr(0, lvts[i], 0x41);
		assert_int_equal(rd(0, lvts[i]), APIC_LVT_MASKED | 0x41);
		wr(0, APIC_SVR, SVR_ON); /* does not unmask */
		assert_int_equal(rd(0, lvts[i]), APIC_LVT_MASKED | 0x41);
	}
}

/* ---- the register page ---- */

static void test_lapic_reset_values(void **state)
{
	(void)state;
	lapic_reset(cpu(2), false);
	assert_int_equal(rd(2, APIC_ID), 2u << 24);
	assert_int_equal(rd(2, APIC_VERSION) & 0xff, 0x14);
	assert_int_equal(rd(2, APIC_VERSION) >> 16 & 0xff, 5);
	assert_int_equal(rd(2, APIC_SVR), 0xff);
	assert_int_equal(rd(2, APIC_DFR), 0xffffffff);
	assert_int_equal(rd(2, APIC_LDR), 0);
	for (u32 lvt = APIC_LVTT; lvt <= APIC_LVTERR; lvt += 16)
		assert_int_equal(rd(2, lvt), APIC_LVT_MASKED);
	assert_int_equal(rdmsr(0, MSR_APIC_BASE), 0xfee00000 | APIC_BASE_EN | APIC_BASE_BSP);
	assert_int_equal(rdmsr(2, MSR_APIC_BASE), 0xfee00000 | APIC_BASE_EN);
}

static void test_lapic_page_write_masks(void **state)
{
	static const struct {
		u32 offset, expected;
	} rows[] = {
	        {APIC_ID, 0xff000000},  {APIC_TPR, 0xff},        {APIC_LDR, 0xff000000},
	        {APIC_DFR, 0xffffffff}, {APIC_SVR, 0x13ff},      {APIC_ICR2, 0xff000000},
	        {APIC_LVTT, 0x700ff},   {APIC_LVTTHMR, 0x107ff}, {APIC_LVTPC, 0x107ff},
	        {APIC_LVT0, 0x1a7ff},   {APIC_LVT1, 0x1a7ff},    {APIC_LVTERR, 0x100ff},
	        {APIC_TDCR, 0xb},
	};

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		wr(0, rows[i].offset, ~0u);
		assert_int_equal(rd(0, rows[i].offset), rows[i].expected);
	}
	wr(0, APIC_DFR, 0);
	assert_int_equal(rd(0, APIC_DFR), 0x0fffffff);
}

static void test_lapic_page_takes_aligned_32_bit_writes_only(void **state)
{
	(void)state;
	wr(0, APIC_TPR, 0x20);
	lapic_mmio_write(cpu(0), APIC_TPR, 1, 0x30);
	lapic_mmio_write(cpu(0), APIC_TPR, 8, 0x30);
	lapic_mmio_write(cpu(0), APIC_TPR + 4, 4, 0x30);
	lapic_mmio_write(cpu(0), APIC_TPR + 1, 4, 0x30);
	assert_int_equal(rd(0, APIC_TPR), 0x20);
	wr(0, APIC_ESR, 0);
	assert_int_equal(rd(0, APIC_ESR), 0);
}

static void test_lapic_page_reads_inside_a_register(void **state)
{
	(void)state;
	u32 version = rd(0, APIC_VERSION);

	assert_int_equal(lapic_mmio_read(cpu(0), APIC_VERSION, 1), version & 0xff);
	assert_int_equal(lapic_mmio_read(cpu(0), APIC_VERSION + 2, 1), version >> 16 & 0xff);
	assert_int_equal(lapic_mmio_read(cpu(0), APIC_VERSION + 2, 2), version >> 16);
	assert_int_equal(lapic_mmio_read(cpu(0), APIC_VERSION + 2, 4), 0);
	assert_int_equal(lapic_mmio_read(cpu(0), APIC_VERSION, 8), 0);
	assert_int_equal(lapic_mmio_read(cpu(0), APIC_VERSION + 4, 4), 0);
	assert_int_equal(lapic_mmio_read(cpu(0), 0xfff, 4), 0);
}

static void test_lapic_page_unknown_or_read_only_sets_esr(void **state)
{
	static const u32 unwritable[] = {
	        0x000,           0x040,    APIC_VERSION, APIC_APR,  APIC_PPR,  APIC_RRD, APIC_ISR,
	        APIC_TMR + 0x70, APIC_IRR, APIC_TMCCT,   APIC_CMCI, APIC_SELF, 0x400,    0xff0};
	static const u32 unreadable[] = {0x000, 0x040, APIC_CMCI, APIC_SELF, 0x400, 0xff0};

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(unwritable); i++) {
		wr(0, unwritable[i], 0x12345678);
		wr(0, APIC_ESR, 0);
		assert_int_equal(rd(0, APIC_ESR), APIC_ESR_ILLEGAL_REG);
	}
	assert_int_equal(rd(0, APIC_VERSION) & 0xff, 0x14);
	for (u32 i = 0; i < ARRAY_SIZE(unreadable); i++) {
		assert_int_equal(rd(0, unreadable[i]), 0);
		wr(0, APIC_ESR, 0);
		assert_int_equal(rd(0, APIC_ESR), APIC_ESR_ILLEGAL_REG);
	}
}

static void test_lapic_page_silent_in_other_modes(void **state)
{
	(void)state;
	wr(1, APIC_TPR, 0x20);
	to_x2apic(1);
	wr(1, APIC_TPR, 0x30);
	assert_int_equal(rd(1, APIC_TPR), 0xffffffff);
	assert_int_equal(rdmsr(1, X2MSR(APIC_TPR)), 0x20);
	wrmsr(2, MSR_APIC_BASE, APIC_BASE_DEFAULT);
	assert_int_equal(rd(2, APIC_VERSION), 0xffffffff);
}

/* ---- x2APIC registers ---- */

static void test_lapic_msrs_answer_in_x2apic_mode_only(void **state)
{
	(void)state;
	for (u32 msr = MSR_X2APIC_FIRST; msr <= MSR_X2APIC_LAST; msr++) {
		refused_read(0, msr);
		refused_write(0, msr, 0);
	}
	to_x2apic(0);
	assert_int_equal(rdmsr(0, X2MSR(APIC_ID)), 0);
}

static void test_lapic_msr_access_rules(void **state)
{
	/* R: readable, W: 0 may be written; every index of the range not listed has neither. */
	static const struct {
		u16 offset;
		bool r, w;
	} rows[] = {
	        {APIC_ID, 1, 0},   {APIC_VERSION, 1, 0}, {APIC_TPR, 1, 1},   {APIC_PPR, 1, 0},
	        {APIC_EOI, 0, 1},  {APIC_LDR, 1, 0},     {APIC_SVR, 1, 1},   {APIC_ESR, 1, 1},
	        {APIC_LVTT, 1, 1}, {APIC_LVTTHMR, 1, 1}, {APIC_LVTPC, 1, 1}, {APIC_LVT0, 1, 1},
	        {APIC_LVT1, 1, 1}, {APIC_LVTERR, 1, 1},  {APIC_TMICT, 1, 1}, {APIC_TMCCT, 1, 0},
	        {APIC_TDCR, 1, 1}, {APIC_SELF, 0, 1},    {APIC_ICR, 1, 1},
	};

	(void)state;
	to_x2apic(0);
	for (u32 index = 0; index < 0x100; index++) {
		u32 offset = index * 16;
		bool r = offset >= APIC_ISR && offset < APIC_ESR, w = false;
		u64 value;

		for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
			if (rows[i].offset == offset) {
				r = rows[i].r;
				w = rows[i].w;
			}
		}
		assert_int_equal(lapic_msr_read(cpu(0), X2MSR(offset), &value), r);
		assert_int_equal(lapic_msr_write(cpu(0), X2MSR(offset), 0), w);
	}
}

static void test_lapic_msr_reserved_bits_refused(void **state)
{
	static const struct {
		u32 offset;
		u64 reserved;
	} rows[] = {
	        {APIC_TPR, ~0xffull},         {APIC_EOI, ~0ull},
	        {APIC_SVR, ~0x13ffull},       {APIC_ESR, ~0ull},
	        {APIC_LVTT, ~0x710ffull},     {APIC_LVTTHMR, ~0x117ffull},
	        {APIC_LVTPC, ~0x117ffull},    {APIC_LVT0, ~0x1f7ffull},
	        {APIC_LVT1, ~0x1f7ffull},     {APIC_LVTERR, ~0x110ffull},
	        {APIC_TMICT, ~0xffffffffull}, {APIC_TDCR, ~0xbull},
	        {APIC_SELF, ~0xffull},        {APIC_ICR, 0xfff32000ull},
	};

	(void)state;
	to_x2apic(0);
	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		for (u32 bit = 0; bit < 64; bit++) {
			bool refused = rows[i].reserved & BIT64(bit);

			assert_int_equal(lapic_msr_write(cpu(0), X2MSR(rows[i].offset), BIT64(bit)),
			                 !refused);
		}
	}
}

static void test_lapic_msr_icr_reads_back(void **state)
{
	(void)state;
	to_x2apic(0);
	wrmsr(0, X2MSR(APIC_ICR), 0x0000007700004841);
	assert_true(rdmsr(0, X2MSR(APIC_ICR)) == 0x0000007700004841);
	wrmsr(0, X2MSR(APIC_ICR), 0x0000007700004841 | APIC_ICR_BUSY);
	assert_true(rdmsr(0, X2MSR(APIC_ICR)) == 0x0000007700004841);
}

static void test_lapic_unknown_msr_refused(void **state)
{
	(void)state;
	refused_read(0, MSR_X2APIC_LAST + 1);
	refused_write(0, MSR_X2APIC_LAST + 1, 0);
}

/* ---- APIC_BASE ---- */

static void test_lapic_base_transitions(void **state)
{
	enum {
		OFF = 0,
		BAD = 1,
		XAPIC = 2,
		X2APIC = 3
	}; /* EN, EXTD */
	static const bool allowed[4][4] = {
	        [OFF] = {[OFF] = 1, [XAPIC] = 1},
	        [XAPIC] = {[OFF] = 1, [XAPIC] = 1, [X2APIC] = 1},
	        [X2APIC] = {[OFF] = 1, [X2APIC] = 1},
	};

	(void)state;
	for (u32 from = 0; from < 4; from++) {
		for (u32 to = 0; to < 4 && from != BAD; to++) {
			u64 start = APIC_BASE_DEFAULT | from * APIC_BASE_EXTD;
			u64 end = APIC_BASE_DEFAULT | to * APIC_BASE_EXTD;

			lapic_reset(cpu(1), false);
			wrmsr(1, MSR_APIC_BASE, start);
			assert_int_equal(lapic_msr_write(cpu(1), MSR_APIC_BASE, end),
			                 allowed[from][to]);
			assert_true(rdmsr(1, MSR_APIC_BASE) == (allowed[from][to] ? end : start));
		}
	}
}

static void test_lapic_base_reserved_bits_refused(void **state)
{
	u64 base = APIC_BASE_DEFAULT | APIC_BASE_EN;

	(void)state;
	for (u32 bit = 0; bit < 64; bit++) {
		if (bit < 8 || bit == 9 || bit >= FAKE_MAXPHYADDR)
			refused_write(1, MSR_APIC_BASE, base | BIT64(bit));
	}
	fake.vm->config.x2apic = false;
	refused_write(1, MSR_APIC_BASE, base | APIC_BASE_EXTD);
}

static void test_lapic_base_can_move(void **state)
{
	gpa_t base;

	(void)state;
	assert_true(lapic_xapic_base(cpu(1), &base));
	assert_true(base.v == 0xfee00000);
	wrmsr(1, MSR_APIC_BASE, 0x1234567000 | APIC_BASE_EN);
	assert_true(lapic_xapic_base(cpu(1), &base));
	assert_true(base.v == 0x1234567000);
	to_x2apic(1);
	assert_false(lapic_xapic_base(cpu(1), &base));
	assert_true(lapic_is_x2apic(cpu(1)));
}

static void test_lapic_base_bsp_bit_is_read_only(void **state)
{
	(void)state;
	wrmsr(1, MSR_APIC_BASE, APIC_BASE_DEFAULT | APIC_BASE_EN | APIC_BASE_BSP);
	assert_false(rdmsr(1, MSR_APIC_BASE) & APIC_BASE_BSP);
	wrmsr(0, MSR_APIC_BASE, APIC_BASE_DEFAULT | APIC_BASE_EN);
	assert_true(rdmsr(0, MSR_APIC_BASE) & APIC_BASE_BSP);
}

static void test_lapic_to_x2apic_keeps_tpr_and_drops_identity(void **state)
{
	(void)state;
	wr(3, APIC_ID, 0x77000000);
	wr(3, APIC_TPR, 0x42);
	wr(3, APIC_ICR2, 0x55000000);
	to_x2apic(3);
	assert_int_equal(rdmsr(3, X2MSR(APIC_ID)), 3);
	assert_int_equal(rdmsr(3, X2MSR(APIC_LDR)), 8);
	assert_int_equal(rdmsr(3, X2MSR(APIC_TPR)), 0x42);
	assert_int_equal(rdmsr(3, X2MSR(APIC_SVR)), SVR_ON);
	assert_true(rdmsr(3, X2MSR(APIC_ICR)) == 0);
}

static void test_lapic_x2apic_ldr_is_derived(void **state)
{
	static const u32 ids[] = {0x123};

	(void)state;
	fake_destroy();
	fake_create_with_ids(1, ids);
	to_x2apic(0);
	assert_int_equal(rdmsr(0, X2MSR(APIC_ID)), 0x123);
	assert_int_equal(rdmsr(0, X2MSR(APIC_LDR)), 0x00120008);
}

static void test_lapic_disabling_loses_the_state(void **state)
{
	(void)state;
	wr(1, APIC_ID, 0x77000000);
	wr(1, APIC_TPR, 0x42);
	accept(1, 0x99, false);
	wrmsr(1, MSR_APIC_BASE, APIC_BASE_DEFAULT);
	assert_false(lapic_accept(&cpu(1)->lapic, 0x99, false, IRQ_SOURCE_IPI));
	assert_int_equal(lapic_deliverable(cpu(1)), -1);
	wrmsr(1, MSR_APIC_BASE, APIC_BASE_DEFAULT | APIC_BASE_EN);
	assert_int_equal(rd(1, APIC_ID), 1u << 24);
	assert_int_equal(rd(1, APIC_TPR), 0);
	assert_int_equal(rd(1, APIC_SVR), 0xff);
}

#define T(name) cmocka_unit_test_setup_teardown(name, four_vcpus, no_vcpus)

int main(void)
{
	/* clang-format off */
	static const struct CMUnitTest tests[] = {
		T(test_lapic_ppr_is_tpr_when_classes_are_equal),
		T(test_lapic_ppr_is_class_in_service_when_above_tpr),
		T(test_lapic_equal_class_is_not_delivered),
		T(test_lapic_next_class_is_delivered),
		T(test_lapic_highest_vector_first),
		T(test_lapic_higher_class_nests),
		T(test_lapic_lowering_tpr_asks_for_attention),
		T(test_lapic_cr8_is_the_class_of_tpr),
		T(test_lapic_waits_for_tpr_only_if_tpr_is_what_holds_it),
		T(test_lapic_accept_asks_for_attention),
		T(test_lapic_tmr_follows_every_acceptance),
		T(test_lapic_ack_returns_the_source),
		T(test_lapic_unacknowledged_vector_competes_again),
		T(test_lapic_coalesced_requests_are_counted),
		T(test_lapic_request_while_in_service_waits_behind),
		T(test_lapic_eoi_of_level_is_broadcast),
		T(test_lapic_eoi_of_edge_is_not_broadcast),
		T(test_lapic_eoi_of_edge_is_told_to_who_listens),
		T(test_lapic_eoi_broadcast_can_be_suppressed),
		T(test_lapic_eoi_of_nothing_is_ignored),
		T(test_lapic_illegal_vector_received_sets_esr),
		T(test_lapic_first_error_raises_lvt_error),
		T(test_lapic_error_with_illegal_error_vector_ends),
		T(test_lapic_software_disabled_accepts_no_fixed),
		T(test_lapic_software_disabled_forces_lvt_masks),
		T(test_lapic_reset_values),
		T(test_lapic_page_write_masks),
		T(test_lapic_page_takes_aligned_32_bit_writes_only),
		T(test_lapic_page_reads_inside_a_register),
		T(test_lapic_page_unknown_or_read_only_sets_esr),
		T(test_lapic_page_silent_in_other_modes),
		T(test_lapic_msrs_answer_in_x2apic_mode_only),
		T(test_lapic_msr_access_rules),
		T(test_lapic_msr_reserved_bits_refused),
		T(test_lapic_msr_icr_reads_back),
		T(test_lapic_unknown_msr_refused),
		T(test_lapic_base_transitions),
		T(test_lapic_base_reserved_bits_refused),
		T(test_lapic_base_can_move),
		T(test_lapic_base_bsp_bit_is_read_only),
		T(test_lapic_to_x2apic_keeps_tpr_and_drops_identity),
		T(test_lapic_x2apic_ldr_is_derived),
		T(test_lapic_disabling_loses_the_state),
	};
	/* clang-format on */

	return cmocka_run_group_tests(tests, NULL, NULL);
}
