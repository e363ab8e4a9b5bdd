/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The interrupt command register and what it sends besides fixed interrupts. SDM volume 3, "Issuing
 * Interprocessor Interrupts", "MP Initialization Protocol", "SELF IPI Register".
 */
#include "tests/model/rules.h"

#define V           0x61
#define SECOND_SIPI 0x50u

static void rest(void)
{
	for (u32 i = 0; i < 60; i++)
		g_pause();
}

static void icr_register(void)
{
	rules_begin();
	rules_let_in();
	if (harness.xapic) {
		g_apic_write(APIC_ICR2, 0x03ffffff);
		G_CHECK_EQUAL(g_apic_read(APIC_ICR2), 0x03000000);
		/* Reserved bits and delivery status are not kept. */
		g_apic_write(APIC_ICR, 0xfff33000 | APIC_LEVEL_ASSERT | V);
		G_CHECK_EQUAL(g_apic_read(APIC_ICR), APIC_LEVEL_ASSERT | V);
		rules_check_reached(V, BIT(3));
		/* The high half stays: each write of the low one sends there. */
		g_apic_write(APIC_ICR2, 2u << 24);
		g_apic_write(APIC_ICR, APIC_LEVEL_ASSERT | V);
		rules_fence(BIT(2));
		G_CHECK_EQUAL(rules.count[2][V], 1);
		return;
	}
	/* One register of 64 bits. */
	g_wrmsr(rules_msr(APIC_ICR), 3ull << 32 | APIC_LEVEL_ASSERT | V);
	G_CHECK_EQUAL(g_rdmsr(rules_msr(APIC_ICR)), 3ull << 32 | APIC_LEVEL_ASSERT | V);
	rules_check_reached(V, BIT(3));
	G_CHECK(!rules_msr_reads(APIC_ICR2));
	G_CHECK(!rules_msr_writes(APIC_ICR2, 0));
}

static void icr_reserved_bits(void)
{
	rules_begin();
	if (harness.xapic) {
		/* Ignored: icr_register. The half that does not send sends nothing. */
		g_apic_write(APIC_ICR2, 1u << 24);
		rules_check_reached(V, 0);
		return;
	}
	for (u32 bit = 0; bit < 32; bit++) {
		bool reserved = bit == 13 || bit == 16 || bit == 17 || bit >= 20;

		if (reserved)
			G_CHECK(!rules_msr_writes(APIC_ICR, 1ull << 32 | V | BIT64(bit)));
	}
	/* A refused write has sent nothing, and is not kept. */
	rules_check_reached(V, 0);
	G_CHECK(g_rdmsr(rules_msr(APIC_ICR)) != (1ull << 32 | V | BIT(13)));
}

/* Read-only, and in x2APIC mode not reserved though there is none. */
static void icr_delivery_status(void)
{
	rules_begin();
	if (harness.xapic) {
		g_apic_write(APIC_ICR2, 1u << 24);
		g_apic_write(APIC_ICR, APIC_LEVEL_ASSERT | APIC_ICR_BUSY | V);
		G_CHECK_EQUAL(g_apic_read(APIC_ICR), APIC_LEVEL_ASSERT | V);
	} else {
		G_CHECK(rules_msr_writes(APIC_ICR,
		                         1ull << 32 | APIC_LEVEL_ASSERT | APIC_ICR_BUSY | V));
		G_CHECK_EQUAL(g_rdmsr(rules_msr(APIC_ICR)), 1ull << 32 | APIC_LEVEL_ASSERT | V);
	}
	rules_check_reached(V, BIT(1));
}

/* Every write sends; what has not been taken yet melts into one. */
static void icr_fixed_coalesces(void)
{
	rules_begin();
	for (u32 i = 0; i < 5; i++)
		rules_fixed(0, V);
	rules_let_in();
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 1);
	for (u32 i = 0; i < 5; i++) {
		rules_fixed(0, V);
		rules_let_in();
	}
	G_CHECK_EQUAL(rules.total[V], 6);
}

static void no_level_in_service(u8 vector)
{
	if (vector == V)
		G_CHECK(!rules_vector_bit(APIC_TMR, V));
}

/* Trigger mode and level are for INIT alone: a fixed interrupt is an edge whatever they say. */
static void icr_trigger_mode_ignored(void)
{
	static const u32 forms[] = {0, APIC_LEVEL_ASSERT, APIC_TRIGGER_LEVEL,
	                            APIC_TRIGGER_LEVEL | APIC_LEVEL_ASSERT};

	rules.hook = no_level_in_service;
	rules_begin();
	for (u32 i = 0; i < ARRAY_SIZE(forms); i++) {
		g_apic_icr(1, forms[i] | V);
		rules_check_reached(V, BIT(1));
	}
}

static void icr_self_ipi_register(void)
{
	rules_begin();
	if (harness.xapic) {
		rules_errors();
		g_apic_write(APIC_SELF, V); /* there is none in this mode */
		rules_check_reached(V, 0);
		G_CHECK_EQUAL(rules_errors(), APIC_ESR_ILLEGAL_REG);
		return;
	}
	g_apic_write(APIC_SELF, V);
	G_CHECK(rules_vector_bit(APIC_IRR, V));
	G_CHECK(!rules_vector_bit(APIC_TMR, V));
	rules_check_reached(V, BIT(0));
	G_CHECK(!rules_msr_reads(APIC_SELF));
	G_CHECK(!rules_msr_writes(APIC_SELF, 0x100 | V));
	G_CHECK(!rules_msr_writes(APIC_SELF, BIT64(32) | V));
	rules_check_reached(V, 0);
	rules_errors();
	g_apic_write(APIC_SELF, 15);
	G_CHECK_EQUAL(rules_errors(), APIC_ESR_SEND_ILLEGAL);
	/* ICR does not know of it. */
	g_apic_icr(0, APIC_LEVEL_ASSERT | APIC_DEST_SELF | 0x71);
	g_apic_write(APIC_SELF, V);
	G_CHECK_EQUAL((u32)g_rdmsr(rules_msr(APIC_ICR)), APIC_LEVEL_ASSERT | APIC_DEST_SELF | 0x71);
}

static void icr_smi_and_reserved_modes(void)
{
	static const u32 modes[] = {APIC_DM_SMI, 3u << 8, APIC_DM_EXTINT};

	rules_begin();
	for (u32 i = 0; i < ARRAY_SIZE(modes); i++) {
		g_apic_icr(1, APIC_LEVEL_ASSERT | modes[i] | V);
		rules_fence(RULES_ALL);
	}
	G_CHECK_EQUAL(rules.total[V] + rules.total[VECTOR_NMI], 0);
}

/* --- NMI --- */

static void icr_nmi(void)
{
	rules_begin();
	g_apic_icr(1, APIC_LEVEL_ASSERT | APIC_DM_NMI | V); /* its vector is not looked at */
	rules_fence(RULES_ALL);
	G_CHECK_EQUAL(rules.count[1][VECTOR_NMI], 1);
	G_CHECK_EQUAL(rules.total[V], 0);
	/* To itself, with interrupts off and TPR at its highest. */
	g_apic_write(APIC_TPR, 0xff);
	g_apic_icr(0, APIC_LEVEL_ASSERT | APIC_DM_NMI);
	g_nop();
	g_nop();
	G_CHECK_EQUAL(rules.count[0][VECTOR_NMI], 1);
	G_CHECK_EQUAL(rules_errors(), 0);
}

static void two_more(u8 vector)
{
	if (vector != VECTOR_NMI || rules.total[VECTOR_NMI] != 1)
		return;
	for (u32 i = 0; i < 3; i++)
		g_apic_icr(0, APIC_LEVEL_ASSERT | APIC_DM_NMI);
	G_CHECK_EQUAL(g_depth(), 1); /* none nests */
}

static void icr_nmi_one_waits(void)
{
	rules.hook = two_more;
	rules_begin();
	g_apic_icr(0, APIC_LEVEL_ASSERT | APIC_DM_NMI);
	for (u32 i = 0; i < 6; i++)
		g_nop();
	/* Of three during the first one, one is remembered. */
	G_CHECK_EQUAL(rules.total[VECTOR_NMI], 2);
}

/* --- INIT and start-up --- */

static u32 starts[RULES_VCPUS], second_starts;

static void started(void *arg __unused)
{
	g_apic_enable();
	starts[rules_me()]++;
	rules.up[rules_me()] = true;
	for (;;)
		rules_wait();
}

static void started_at_second(void *arg __unused)
{
	second_starts++;
	for (;;)
		g_pause();
}

static void forget_starts(void)
{
	memset(starts, 0, sizeof(starts));
	second_starts = 0;
	guest_bind(SECOND_SIPI << 12, started_at_second, NULL);
}

static void init(u32 dest)
{
	g_apic_icr(dest, APIC_LEVEL_ASSERT | APIC_DM_INIT);
}

static void sipi(u32 dest, u32 vector)
{
	g_apic_icr(dest, APIC_LEVEL_ASSERT | APIC_DM_SIPI | vector);
}

static void await_starts(u32 id, u32 n)
{
	while (starts[id] < n)
		g_pause();
}

static void icr_init_sipi(void)
{
	g_apic_enable();
	/* After power-on the others wait for a start-up IPI already. */
	sipi(1, HARNESS_SIPI);
	await_starts(1, 1);
	/* While it runs, one is ignored. */
	sipi(1, SECOND_SIPI);
	rest();
	G_CHECK_EQUAL(second_starts, 0);
	/* INIT stops it; nothing but a start-up IPI makes it run. */
	init(1);
	rest();
	rules_fixed(1, V);
	g_apic_icr(1, APIC_LEVEL_ASSERT | APIC_DM_NMI);
	rest();
	G_CHECK_EQUAL(rules.total[V] + rules.total[VECTOR_NMI], 0);
	G_CHECK_EQUAL(starts[1], 1);
	/* It starts where the vector says, once. */
	sipi(1, SECOND_SIPI);
	while (!second_starts)
		g_pause();
	sipi(1, HARNESS_SIPI);
	rest();
	G_CHECK_EQUAL(starts[1], 1);
	G_CHECK_EQUAL(second_starts, 1);
	/* vCPU 2 was not concerned in any of it. */
	G_CHECK_EQUAL(starts[2], 0);
	sipi(2, HARNESS_SIPI);
	await_starts(2, 1);
}

static void icr_init_deassert(void)
{
	g_apic_enable();
	sipi(1, HARNESS_SIPI);
	await_starts(1, 1);
	/* The level de-assert does nothing; the vCPU goes on. */
	g_apic_icr(1, APIC_DM_INIT | APIC_TRIGGER_LEVEL);
	g_apic_icr(0, APIC_DM_INIT | APIC_TRIGGER_LEVEL | APIC_DEST_ALL);
	g_apic_icr(0, APIC_DM_INIT | APIC_TRIGGER_LEVEL | APIC_DEST_OTHERS);
	rest();
	rules_fixed(1, V);
	while (!rules.count[1][V])
		g_pause();
	G_CHECK_EQUAL(starts[1], 1);
	/* With level-assert it is an INIT, whatever the trigger mode. */
	g_apic_icr(1, APIC_LEVEL_ASSERT | APIC_DM_INIT | APIC_TRIGGER_LEVEL);
	rest();
	rules_fixed(1, V);
	rest();
	G_CHECK_EQUAL(rules.count[1][V], 1);
}

/* A disabled APIC, and one without the software enable, still take INIT and SIPI. */
static void icr_init_reaches_software_disabled(void)
{
	g_apic_enable();
	sipi(1, HARNESS_SIPI);
	await_starts(1, 1);
	init(1);
	sipi(1, HARNESS_SIPI); /* its SVR is at reset */
	await_starts(1, 2);
}

/* --- what INIT leaves and what it resets --- */

static void change_much(void *arg __unused)
{
	u32 me = rules_me();

	if (++starts[me] == 1) {
		g_apic_enable();
		if (harness.xapic) {
			g_apic_write(APIC_ID, 9u << 24);
			g_apic_write(APIC_LDR, 0x55u << 24);
			g_apic_write(APIC_DFR, 0x0fffffff);
		}
		g_apic_write(APIC_TPR, 0xf0);
		g_apic_write(APIC_LVT0, 0x55);
		g_apic_write(APIC_TDCR, 0xb);
		rules_self(V); /* pending at the INIT */
		rules.up[me] = true;
		for (;;)
			g_pause();
	}
	/* The mode and the ID stay, all else is as after a reset. */
	G_CHECK_EQUAL(!!(g_rdmsr(MSR_APIC_BASE) & APIC_BASE_EXTD), rules_x2apic());
	G_CHECK(g_rdmsr(MSR_APIC_BASE) & APIC_BASE_EN);
	G_CHECK_EQUAL(g_apic_read(APIC_ID), harness.xapic ? 9u << 24 : 1);
	G_CHECK_EQUAL(g_apic_read(APIC_LDR), harness.xapic ? 0 : 2);
	if (harness.xapic)
		G_CHECK_EQUAL(g_apic_read(APIC_DFR), 0xffffffff);
	G_CHECK_EQUAL(g_apic_read(APIC_TPR), 0);
	G_CHECK_EQUAL(g_apic_read(APIC_SVR), 0xff);
	G_CHECK_EQUAL(g_apic_read(APIC_LVT0), APIC_LVT_MASKED);
	G_CHECK_EQUAL(g_apic_read(APIC_TDCR), 0);
	G_CHECK(!rules_vector_bit(APIC_IRR, V));
	rules.up[2] = true;
	for (;;)
		g_pause();
}

static void icr_init_resets_registers(void)
{
	g_apic_enable();
	sipi(1, HARNESS_SIPI);
	while (!rules.up[1])
		g_pause();
	init(harness.xapic ? 9 : 1);
	sipi(harness.xapic ? 9 : 1, HARNESS_SIPI);
	while (!rules.up[2])
		g_pause();
}

static const struct rule list[] = {
        RULE(icr_register, .vcpus = 4, .no_avic_page = true),
        RULE(icr_reserved_bits, .vcpus = 2),
        RULE(icr_delivery_status, .vcpus = 4, .no_x2avic = true),
        RULE(icr_fixed_coalesces),
        RULE(icr_trigger_mode_ignored, .vcpus = 2),
        RULE(icr_self_ipi_register, .vcpus = 2, .no_avic_page = true),
        RULE(icr_smi_and_reserved_modes, .vcpus = 2),
        RULE(icr_nmi, .vcpus = 2),
        RULE(icr_nmi_one_waits),
        RULE(icr_init_sipi, .vcpus = 3, .ap = started, .prepare = forget_starts),
        RULE(icr_init_deassert, .vcpus = 2, .ap = started, .prepare = forget_starts),
        RULE(icr_init_reaches_software_disabled, .vcpus = 2, .ap = started,
             .prepare = forget_starts),
        RULE(icr_init_resets_registers, .vcpus = 2, .ap = change_much, .prepare = forget_starts),
};

int main(void)
{
	return rules_main(list, ARRAY_SIZE(list));
}
