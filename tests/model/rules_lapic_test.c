/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The local APIC's registers as a guest finds them: what each holds, who may write which bits, and
 * what happens to accesses that are not allowed. SDM volume 3, "The Local APIC Register Map",
 * "Error Handling", "Interrupt, Task, and Processor Priority", "Local Vector Table".
 */
#include "tests/model/rules.h"

#define V 0x61

/* Offsets that have no register in either mode. */
static const u16 nowhere[] = {0x000, 0x010, 0x040, 0x050, 0x060, 0x070, 0x290, 0x2a0, 0x2e0,
                              0x2f0, 0x3a0, 0x3b0, 0x3c0, 0x3d0, 0x400, 0x410, 0x500, 0xff0};

static void store(u32 offset, u32 value)
{
	g_mmio_write(APIC_BASE_DEFAULT + offset, value);
}

/* A write is refused: dropped with bit 7 of ESR, or #GP. The register stays as it is. */
static void check_read_only(u32 offset)
{
	u32 before = g_apic_read(offset);

	if (harness.xapic) {
		rules_errors();
		store(offset, ~before);
		G_CHECK_EQUAL(rules_errors(), APIC_ESR_ILLEGAL_REG);
	} else {
		G_CHECK(!rules_msr_writes(offset, 0));
	}
	G_CHECK_EQUAL(g_apic_read(offset), before);
}

/* --- identification --- */

static void lapic_id_register(void)
{
	rules_begin();
	if (harness.xapic) {
		G_CHECK_EQUAL(g_apic_read(APIC_ID), 0);
		store(APIC_ID, 0x55aabbcc);
		G_CHECK_EQUAL(g_apic_read(APIC_ID), 0x55000000);
	} else {
		check_read_only(APIC_ID);
	}
}

static void check_id(u32 id)
{
	G_CHECK_EQUAL(g_apic_read(APIC_ID), harness.xapic ? id << 24 : id);
}

static void lapic_id_initial(void)
{
	rules_begin(); /* each of the others looks: check_id() */
}

static void lapic_version_register(void)
{
	u32 version;

	g_apic_enable();
	version = g_apic_read(APIC_VERSION);
	G_CHECK(((version & 0xff) >= 0x10) && ((version & 0xff) <= 0x15)); /* integrated */
	G_CHECK_EQUAL(version >> 16 & 0xff, 5); /* six entries: no CMCI */
	G_CHECK(version & APIC_VERSION_DIRECTED_EOI);
	check_read_only(APIC_VERSION);
}

static void lapic_reset_values(void)
{
	static const struct {
		u16 offset;
		u32 value;
	} reset[] = {
	        {APIC_TPR, 0},           {APIC_PPR, 0},          {APIC_SVR, 0xff},
	        {APIC_ESR, 0},           {APIC_ICR, 0},          {APIC_LVTT, 0x10000},
	        {APIC_LVTTHMR, 0x10000}, {APIC_LVTPC, 0x10000},  {APIC_LVT0, 0x10000},
	        {APIC_LVT1, 0x10000},    {APIC_LVTERR, 0x10000}, {APIC_TMICT, 0},
	        {APIC_TMCCT, 0},         {APIC_TDCR, 0},
	};

	if (rules_x2apic())
		g_wrmsr(MSR_APIC_BASE, g_rdmsr(MSR_APIC_BASE) | APIC_BASE_EXTD);
	for (u32 i = 0; i < ARRAY_SIZE(reset); i++)
		G_CHECK_EQUAL(g_apic_read(reset[i].offset), reset[i].value);
	for (u32 i = 0; i < 8; i++) {
		G_CHECK_EQUAL(g_apic_read(APIC_ISR + i * 16), 0);
		G_CHECK_EQUAL(g_apic_read(APIC_TMR + i * 16), 0);
		G_CHECK_EQUAL(g_apic_read(APIC_IRR + i * 16), 0);
	}
	/* LDR follows from the ID in x2APIC mode; DFR is not there. */
	G_CHECK_EQUAL(g_apic_read(APIC_LDR), harness.xapic ? 0 : 1);
	if (harness.xapic)
		G_CHECK_EQUAL(g_apic_read(APIC_DFR), 0xffffffff);
}

static void lapic_ldr_dfr_bits(void)
{
	rules_begin();
	if (!harness.xapic) {
		check_read_only(APIC_LDR);
		G_CHECK(!rules_msr_reads(APIC_DFR));
		G_CHECK(!rules_msr_writes(APIC_DFR, 0xffffffff));
		return;
	}
	store(APIC_LDR, 0xa5ffffff);
	G_CHECK_EQUAL(g_apic_read(APIC_LDR), 0xa5000000);
	store(APIC_DFR, 0);
	G_CHECK_EQUAL(g_apic_read(APIC_DFR), 0x0fffffff);
	store(APIC_DFR, 0xf0000000);
	G_CHECK_EQUAL(g_apic_read(APIC_DFR), 0xffffffff);
}

/* --- priorities --- */

static void lapic_tpr_and_cr8(void)
{
	rules_begin();
	for (u32 tpr = 0; tpr < 0x100; tpr += 0x2d) {
		g_apic_write(APIC_TPR, tpr);
		G_CHECK_EQUAL(g_apic_read(APIC_TPR), tpr);
		G_CHECK_EQUAL(g_read_cr8(), tpr >> 4);
		G_CHECK_EQUAL(g_apic_read(APIC_PPR), tpr);
	}
	/* CR8 is the class: the subclass becomes 0, in the same class, too. */
	g_apic_write(APIC_TPR, 0x3f);
	g_write_cr8(7);
	G_CHECK_EQUAL(g_apic_read(APIC_TPR), 0x70);
	g_apic_write(APIC_TPR, 0x7f);
	g_write_cr8(7);
	G_CHECK_EQUAL(g_apic_read(APIC_TPR), 0x70);
	G_CHECK_EQUAL(g_apic_read(APIC_PPR), 0x70);
	if (harness.xapic) {
		store(APIC_TPR, 0xabcdef12);
		G_CHECK_EQUAL(g_apic_read(APIC_TPR), 0x12);
	} else {
		G_CHECK(!rules_msr_writes(APIC_TPR, 0x100));
		G_CHECK(!rules_msr_writes(APIC_TPR, BIT64(32)));
	}
}

static void lapic_tpr_masks_class(void)
{
	rules_begin();
	g_apic_write(APIC_TPR, 0x60); /* V's class: equal is not above */
	rules_self(V);
	rules_self(0x71);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 0);
	G_CHECK_EQUAL(rules.total[0x71], 1);
	G_CHECK(rules_vector_bit(APIC_IRR, V));
	g_apic_write(APIC_TPR, 0x5f);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 1);
	/* The same by CR8. */
	g_write_cr8(6);
	rules_self(V);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 1);
	g_write_cr8(5);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 2);
}

static void ppr_in_service(u8 vector)
{
	if (vector != V)
		return;
	G_CHECK_EQUAL(g_apic_read(APIC_PPR), 0x60);
	g_apic_write(APIC_TPR, 0x5f);
	G_CHECK_EQUAL(g_apic_read(APIC_PPR), 0x60); /* the higher class, without subclass */
	g_apic_write(APIC_TPR, 0x67);
	G_CHECK_EQUAL(g_apic_read(APIC_PPR), 0x67); /* of equal ones TPR, with subclass */
	g_apic_write(APIC_TPR, 0x91);
	G_CHECK_EQUAL(g_apic_read(APIC_PPR), 0x91);
	g_apic_write(APIC_TPR, 0);
	/* Only what is above comes in between. */
	rules_self(0x6f);
	rules_self(0x72);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[0x6f], 0);
	G_CHECK_EQUAL(rules.total[0x72], 1);
}

static void lapic_ppr(void)
{
	rules.hook = ppr_in_service;
	rules_begin();
	rules_self(V);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[0x6f], 1);
	G_CHECK_EQUAL(rules.log[0], V);
	G_CHECK_EQUAL(rules.log[1], 0x72);
	G_CHECK_EQUAL(rules.log[2], 0x6f);
	G_CHECK_EQUAL(g_apic_read(APIC_PPR), 0);
	check_read_only(APIC_PPR);
}

static void lapic_highest_vector_first(void)
{
	static const u8 order[] = {0xf7, 0xa0, 0x81, 0x80, 0x61, 0x40};

	rules_begin();
	for (u32 i = ARRAY_SIZE(order); i--;)
		rules_self(order[i]);
	rules_self(0xa0); /* twice before it is taken: once */
	rules_let_in();
	rules_let_in();
	G_CHECK_EQUAL(rules.logged, ARRAY_SIZE(order));
	for (u32 i = 0; i < ARRAY_SIZE(order); i++)
		G_CHECK_EQUAL(rules.log[i], order[i]);
}

static void lapic_apr_rrd(void)
{
	rules_begin();
	if (harness.xapic) {
		G_CHECK_EQUAL(g_apic_read(APIC_APR), 0);
		G_CHECK_EQUAL(g_apic_read(APIC_RRD), 0);
		check_read_only(APIC_APR);
		check_read_only(APIC_RRD);
	} else {
		G_CHECK(!rules_msr_reads(APIC_APR) && !rules_msr_writes(APIC_APR, 0));
		G_CHECK(!rules_msr_reads(APIC_RRD) && !rules_msr_writes(APIC_RRD, 0));
	}
}

/* --- requests, service, end --- */

static void bits_in_service(u8 vector)
{
	G_CHECK(!rules_vector_bit(APIC_IRR, vector));
	G_CHECK(rules_vector_bit(APIC_ISR, vector));
	/* A second one may wait while the first is in service. */
	if (rules.total[vector] == 1) {
		rules_self(vector);
		G_CHECK(rules_vector_bit(APIC_IRR, vector));
	}
}

static void lapic_irr_isr(void)
{
	rules.hook = bits_in_service;
	rules_begin();
	rules_self(V);
	G_CHECK(rules_vector_bit(APIC_IRR, V));
	G_CHECK(!rules_vector_bit(APIC_ISR, V));
	G_CHECK(!rules_vector_bit(APIC_TMR, V));
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 2);
	G_CHECK(!rules_vector_bit(APIC_ISR, V));
	for (u32 i = 0; i < 8; i++) {
		check_read_only(APIC_ISR + i * 16);
		check_read_only(APIC_TMR + i * 16);
		check_read_only(APIC_IRR + i * 16);
	}
}

static void lapic_eoi_register(void)
{
	rules_begin();
	/* With nothing in service: no effect. */
	g_apic_eoi();
	/* It ends the highest one, whichever came first. */
	rules.hold[0x51] = rules.hold[V] = true;
	rules_self(0x51);
	rules_let_in();
	rules_self(V);
	rules_let_in();
	G_CHECK(rules_vector_bit(APIC_ISR, 0x51) && rules_vector_bit(APIC_ISR, V));
	g_apic_eoi();
	G_CHECK(rules_vector_bit(APIC_ISR, 0x51) && !rules_vector_bit(APIC_ISR, V));
	if (harness.xapic) {
		store(APIC_EOI, 0x12345678);                                 /* any value */
		G_CHECK_EQUAL(g_mmio_read(APIC_BASE_DEFAULT + APIC_EOI), 0); /* write-only */
	} else {
		G_CHECK(!rules_msr_writes(APIC_EOI, 1));
		G_CHECK(!rules_msr_writes(APIC_EOI, BIT64(32)));
		G_CHECK(!rules_msr_reads(APIC_EOI));
		G_CHECK(rules_vector_bit(APIC_ISR, 0x51));
		g_apic_eoi();
	}
	G_CHECK(!rules_vector_bit(APIC_ISR, 0x51));
	G_CHECK_EQUAL(g_apic_read(APIC_PPR), 0);
}

/* --- spurious-interrupt vector register --- */

static void lapic_svr_bits(void)
{
	g_apic_enable();
	if (harness.xapic) {
		store(APIC_SVR, 0xffffffff);
		G_CHECK_EQUAL(g_apic_read(APIC_SVR), 0x13ff);
	} else {
		G_CHECK(!rules_msr_writes(APIC_SVR, 0x5ff));
		G_CHECK(!rules_msr_writes(APIC_SVR, 0x21ff));
		G_CHECK(rules_msr_writes(APIC_SVR, 0x13ff));
	}
	g_apic_write(APIC_SVR, 0x1a3);
	G_CHECK_EQUAL(g_apic_read(APIC_SVR), 0x1a3); /* all eight bits of the vector */
}

static void lapic_svr_software_disable(void)
{
	static const u16 lvts[] = {APIC_LVTT, APIC_LVTTHMR, APIC_LVTPC,
	                           APIC_LVT0, APIC_LVT1,    APIC_LVTERR};

	rules_begin();
	for (u32 i = 0; i < ARRAY_SIZE(lvts); i++) {
		g_apic_write(lvts[i], 0x50 + i);
		G_CHECK_EQUAL(g_apic_read(lvts[i]), 0x50 + i);
	}
	rules_self(V);
	g_apic_write(APIC_SVR, 0xff);
	for (u32 i = 0; i < ARRAY_SIZE(lvts); i++) {
		G_CHECK_EQUAL(g_apic_read(lvts[i]), APIC_LVT_MASKED | (0x50 + i));
		g_apic_write(lvts[i], 0x50 + i); /* cannot be unmasked */
		G_CHECK_EQUAL(g_apic_read(lvts[i]), APIC_LVT_MASKED | (0x50 + i));
	}
	/* What was accepted stays and is delivered; nothing new is accepted but NMI. */
	G_CHECK(rules_vector_bit(APIC_IRR, V));
	rules_self(0x71);
	G_CHECK(!rules_vector_bit(APIC_IRR, 0x71));
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 1);
	G_CHECK_EQUAL(rules.total[0x71], 0);
	rules_fixed(0, 0x71);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[0x71], 0);
	g_apic_icr(0, APIC_LEVEL_ASSERT | APIC_DM_NMI);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[VECTOR_NMI], 1);
	/* Enabling does not unmask. */
	g_apic_write(APIC_SVR, APIC_SVR_ENABLE | 0xff);
	for (u32 i = 0; i < ARRAY_SIZE(lvts); i++)
		G_CHECK_EQUAL(g_apic_read(lvts[i]), APIC_LVT_MASKED | (0x50 + i));
	rules_self(0x71);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[0x71], 1);
}

/* --- errors --- */

static void lapic_esr_write_latches(void)
{
	rules_begin();
	rules_errors();
	rules_self(3);
	G_CHECK_EQUAL(g_apic_read(APIC_ESR), 0); /* not before a write */
	g_apic_write(APIC_ESR, 0);
	G_CHECK_EQUAL(g_apic_read(APIC_ESR), APIC_ESR_SEND_ILLEGAL);
	G_CHECK_EQUAL(g_apic_read(APIC_ESR), APIC_ESR_SEND_ILLEGAL); /* stays */
	g_apic_write(APIC_ESR, 0);
	G_CHECK_EQUAL(g_apic_read(APIC_ESR), 0);
	if (!harness.xapic) {
		G_CHECK(!rules_msr_writes(APIC_ESR, 1));
		G_CHECK(!rules_msr_writes(APIC_ESR, BIT64(40)));
	}
}

static void lapic_esr_send_illegal_vector(void)
{
	rules_begin();
	for (u32 vector = 0; vector < 16; vector++) {
		rules_errors();
		rules_self((u8)vector);
		G_CHECK_EQUAL(rules_errors(), APIC_ESR_SEND_ILLEGAL);
		g_apic_icr(0, APIC_LEVEL_ASSERT | APIC_DM_LOWEST | vector);
		G_CHECK_EQUAL(rules_errors(), APIC_ESR_SEND_ILLEGAL);
		G_CHECK(!rules_vector_bit(APIC_IRR, (u8)vector));
	}
	/* 16 is legal for the APIC. */
	g_write_cr8(15);
	rules_self(16);
	G_CHECK_EQUAL(rules_errors(), 0);
	G_CHECK(rules_vector_bit(APIC_IRR, 16));
}

/* A message with such a vector can come from the I/O APIC only: nothing sends it by ICR. */
static void lapic_esr_received_illegal_vector(void)
{
	rules_begin();
	rules_errors();
	rules_entry(10, 0, 0x0c);
	rules_line(10, true);
	G_CHECK_EQUAL(rules_errors(), APIC_ESR_RECV_ILLEGAL);
	G_CHECK(!rules_vector_bit(APIC_IRR, 0x0c));
	/* And a local one. */
	g_apic_write(APIC_LVTT, 0x05);
	g_apic_write(APIC_TMICT, 1);
	g_nop();
	g_nop();
	G_CHECK_EQUAL(rules_errors(), APIC_ESR_RECV_ILLEGAL);
	rules_let_in();
	G_CHECK_EQUAL(rules.logged, 0);
}

static void lapic_esr_illegal_register(void)
{
	rules_begin();
	rules_errors();
	for (u32 i = 0; i < ARRAY_SIZE(nowhere); i++) {
		if (!harness.xapic) {
			/* #GP instead, and ESR is not told. */
			G_CHECK(!rules_msr_reads(nowhere[i]));
			G_CHECK(!rules_msr_writes(nowhere[i], 0));
			G_CHECK_EQUAL(rules_errors(), 0);
			continue;
		}
		G_CHECK_EQUAL(g_mmio_read(APIC_BASE_DEFAULT + nowhere[i]), 0);
		G_CHECK_EQUAL(rules_errors(), APIC_ESR_ILLEGAL_REG);
		store(nowhere[i], 0);
		G_CHECK_EQUAL(rules_errors(), APIC_ESR_ILLEGAL_REG);
	}
	if (!harness.xapic)
		return;
	store(APIC_SELF, V); /* belongs to the other mode */
	G_CHECK_EQUAL(rules_errors(), APIC_ESR_ILLEGAL_REG);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 0);
}

static void lapic_esr_interrupt(void)
{
	rules_begin();
	g_apic_write(APIC_LVTERR, V);
	rules_errors();
	rules_self(3);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 1);
	/* Only the first raises it until ESR is written. */
	rules_self(4);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 1);
	rules_errors();
	rules_self(5);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 2);
	/* Masked: told by ESR alone. */
	g_apic_write(APIC_LVTERR, APIC_LVT_MASKED | V);
	rules_errors();
	rules_self(6);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 2);
	G_CHECK_EQUAL(rules_errors(), APIC_ESR_SEND_ILLEGAL);
}

/* --- local vector table --- */

static void lapic_lvt_bits(void)
{
	static const struct {
		u16 offset;
		u32 writable, read_only;
	} lvts[] = {
	        {APIC_LVTT, 0x700ff, 0x1000},  {APIC_LVTTHMR, 0x107ff, 0x1000},
	        {APIC_LVTPC, 0x107ff, 0x1000}, {APIC_LVT0, 0x1a7ff, 0x5000},
	        {APIC_LVT1, 0x1a7ff, 0x5000},  {APIC_LVTERR, 0x100ff, 0x1000},
	};

	rules_begin();
	for (u32 i = 0; i < ARRAY_SIZE(lvts); i++) {
		u32 ones = lvts[i].writable;

		if (harness.xapic) {
			/* Masked, so that nothing comes of the nonsense. */
			store(lvts[i].offset, 0xffffffff);
			G_CHECK_EQUAL(g_apic_read(lvts[i].offset), ones);
			continue;
		}
		G_CHECK(rules_msr_writes(lvts[i].offset, ones | lvts[i].read_only));
		G_CHECK_EQUAL(g_apic_read(lvts[i].offset), ones);
		for (u32 bit = 0; bit < 64; bit++) {
			bool known = bit < 32 && ((ones | lvts[i].read_only) >> bit & 1);

			if (!known)
				G_CHECK(!rules_msr_writes(lvts[i].offset,
				                          APIC_LVT_MASKED | BIT64(bit)));
		}
	}
}

static void lapic_lvt_cmci_absent(void)
{
	rules_begin();
	rules_errors();
	if (!harness.xapic) {
		G_CHECK(!rules_msr_reads(APIC_CMCI) && !rules_msr_writes(APIC_CMCI, 0x10000));
		return;
	}
	store(APIC_CMCI, 0x10000);
	G_CHECK_EQUAL(rules_errors(), APIC_ESR_ILLEGAL_REG);
	G_CHECK_EQUAL(g_mmio_read(APIC_BASE_DEFAULT + APIC_CMCI), 0);
}

/* LINT0 is wired to the 8259 pair's INTR: a line of it drives the entry. */
static void lapic_lvt0_fixed_edge(void)
{
	rules_begin();
	rules_pic(0xdf, 0xff); /* IRQ 5 */
	g_apic_write(APIC_LVT0, V);
	rules_line(5, true);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 1);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 1); /* INTR is still high: no new edge */
	G_CHECK(!rules_vector_bit(APIC_TMR, V));
}

static void lvt0_level_served(u8 vector)
{
	if (vector != V)
		return;
	G_CHECK(g_apic_read(APIC_LVT0) & APIC_LVT_REMOTE_IRR);
	G_CHECK(rules_vector_bit(APIC_TMR, V));
	if (rules.total[V] == 3)
		rules_line(5, false);
}

static void lapic_lvt0_fixed_level(void)
{
	rules.hook = lvt0_level_served;
	rules_begin();
	rules_pic(0xdf, 0xff);
	g_apic_write(APIC_LVT0, APIC_LVT_LEVEL | V);
	rules_line(5, true);
	rules_let_in();
	rules_let_in();
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 3); /* again after each EOI, until it falls */
	G_CHECK(!(g_apic_read(APIC_LVT0) & APIC_LVT_REMOTE_IRR));
}

static void lapic_lvt0_extint(void)
{
	rules_begin();
	rules_pic(0xdf, 0xff);
	rules.hold_pic = true;
	rules_line(5, true);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[RULES_PIC + 5], 1);
	/* It has passed by the APIC, and left the pair in service. */
	for (u32 i = 0; i < 8; i++) {
		G_CHECK_EQUAL(g_apic_read(APIC_ISR + i * 16), 0);
		G_CHECK_EQUAL(g_apic_read(APIC_IRR + i * 16), 0);
	}
	G_CHECK_EQUAL(rules_pic_isr(0x20), 0x20);
	/* TPR does not hold it back. */
	g_out(0x20, 0x20, 1);
	rules_line(5, false);
	g_apic_write(APIC_TPR, 0xff);
	rules_line(5, true);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[RULES_PIC + 5], 2);
	/* Masked, it waits; unmasked, it comes. */
	g_out(0x20, 0x20, 1);
	g_apic_write(APIC_LVT0, APIC_LVT_MASKED | APIC_DM_EXTINT);
	rules_line(5, false);
	rules_line(5, true);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[RULES_PIC + 5], 2);
	g_apic_write(APIC_LVT0, APIC_DM_EXTINT);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[RULES_PIC + 5], 3);
}

static void lapic_lvt0_nmi(void)
{
	rules_begin();
	rules_pic(0xdf, 0xff);
	g_apic_write(APIC_LVT0, APIC_DM_NMI);
	rules_line(5, true);
	g_nop(); /* with IF clear */
	g_nop();
	G_CHECK_EQUAL(rules.total[VECTOR_NMI], 1);
	G_CHECK_EQUAL(rules.logged, 1);
}

/* SMI: no guest here has the mode. The reserved modes do nothing either. */
static void lapic_lvt0_other_modes(void)
{
	static const u32 modes[] = {APIC_DM_SMI, APIC_DM_LOWEST, 3u << 8, APIC_DM_SIPI};

	rules_begin();
	rules_pic(0xdf, 0xff);
	for (u32 i = 0; i < ARRAY_SIZE(modes); i++) {
		g_apic_write(APIC_LVT0, modes[i] | V);
		rules_line(5, true);
		rules_let_in();
		rules_line(5, false);
		G_CHECK_EQUAL(rules.logged, 0);
		G_CHECK(!rules_vector_bit(APIC_IRR, V));
	}
}

/* --- accesses that are not a 32-bit word --- */

static void lapic_access_sizes(void)
{
	u64 tpr = APIC_BASE_DEFAULT + APIC_TPR;

	rules_begin();
	if (!harness.xapic) {
		/* The page is not decoded: nobody answers, nothing is written. */
		G_CHECK_EQUAL(g_mmio_read(tpr), 0xffffffff);
		g_mmio_write(tpr, 0x40);
		G_CHECK_EQUAL(g_apic_read(APIC_TPR), 0);
		g_mmio_write(APIC_BASE_DEFAULT + APIC_ICR, APIC_DEST_SELF | V);
		rules_let_in();
		G_CHECK_EQUAL(rules.total[V], 0);
		return;
	}
	store(APIC_SVR, 0x1a5);
	G_CHECK_EQUAL(g_read(APIC_BASE_DEFAULT + APIC_SVR, 1), 0xa5);
	G_CHECK_EQUAL(g_read(APIC_BASE_DEFAULT + APIC_SVR + 1, 1), 0x01);
	G_CHECK_EQUAL(g_read(APIC_BASE_DEFAULT + APIC_SVR, 2), 0x1a5);
	G_CHECK_EQUAL(g_mmio_read(APIC_BASE_DEFAULT + APIC_SVR + 4), 0);
	/* Other writes are dropped. */
	store(APIC_TPR, 0x40);
	g_write(tpr, 0x50, 1);
	g_write(tpr, 0x50, 2);
	g_write(tpr, 0x50, 8);
	g_write(tpr + 4, 0x50, 4);
	G_CHECK_EQUAL(g_apic_read(APIC_TPR), 0x40);
}

static void lapic_msr_access(void)
{
	static const u16 present[] = {
	        APIC_ID,      APIC_VERSION, APIC_TPR,  APIC_PPR,  APIC_EOI,
	        APIC_LDR,     APIC_SVR,     APIC_ESR,  APIC_ICR,  APIC_LVTT,
	        APIC_LVTTHMR, APIC_LVTPC,   APIC_LVT0, APIC_LVT1, APIC_LVTERR,
	        APIC_TMICT,   APIC_TMCCT,   APIC_TDCR, APIC_SELF,
	};

	rules_begin();
	for (u32 msr = MSR_X2APIC_FIRST; msr < MSR_X2APIC_FIRST + 0x100; msr++) {
		u32 offset = (msr - MSR_X2APIC_FIRST) * 16;
		bool reads = offset >= APIC_ISR && offset < APIC_ESR;
		bool exists = reads;

		for (u32 i = 0; i < ARRAY_SIZE(present); i++)
			exists |= present[i] == offset;
		/* Of the other mode: none of them answers. */
		if (harness.xapic)
			exists = false;
		reads = exists && offset != APIC_EOI && offset != APIC_SELF;
		G_CHECK_EQUAL(rules_msr_reads(offset), reads);
		if (!exists)
			G_CHECK(!rules_msr_writes(offset, 0));
	}
}

static const struct rule list[] = {
        RULE(lapic_id_register),
        RULE(lapic_id_initial, .vcpus = 20, .other = check_id),
        RULE(lapic_version_register),
        RULE(lapic_reset_values),
        RULE(lapic_ldr_dfr_bits),
        RULE(lapic_tpr_and_cr8),
        RULE(lapic_tpr_masks_class),
        RULE(lapic_ppr),
        RULE(lapic_highest_vector_first),
        RULE(lapic_apr_rrd),
        RULE(lapic_irr_isr),
        RULE(lapic_eoi_register),
        RULE(lapic_svr_bits),
        RULE(lapic_svr_software_disable),
        RULE(lapic_esr_write_latches),
        RULE(lapic_esr_send_illegal_vector),
        RULE(lapic_esr_received_illegal_vector),
        RULE(lapic_esr_illegal_register, .no_avic_page = true),
        RULE(lapic_esr_interrupt),
        RULE(lapic_lvt_bits),
        RULE(lapic_lvt_cmci_absent, .no_avic_page = true),
        RULE(lapic_lvt0_fixed_edge, .both_pics = true),
        RULE(lapic_lvt0_fixed_level, .both_pics = true),
        RULE(lapic_lvt0_extint, .both_pics = true),
        RULE(lapic_lvt0_nmi, .both_pics = true),
        RULE(lapic_lvt0_other_modes, .both_pics = true),
        RULE(lapic_access_sizes, .no_avic_page = true, .no_apicv = true),
        RULE(lapic_msr_access),
};

int main(void)
{
	return rules_main(list, ARRAY_SIZE(list));
}
