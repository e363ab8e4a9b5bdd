/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Destinations of interprocessor interrupts. SDM volume 3, "Determining IPI Destination", "Logical
 * Destination Mode in x2APIC Mode", "Lowest Priority Delivery Mode". Who is reached is told by who
 * takes the interrupt; who is not, by a fence that comes behind it.
 */
#include "tests/model/rules.h"

#define V 0x61

static void logical(u32 mda, u8 vector)
{
	g_apic_icr(mda, APIC_LEVEL_ASSERT | APIC_DEST_LOGICAL | vector);
}

static void set_ldr(u32 id)
{
	if (harness.xapic)
		g_apic_write(APIC_LDR, 1u << (24 + id));
}

/* Cluster 1: vCPUs 0 and 1, cluster 2: 2 and 3. */
static void set_cluster(u32 id)
{
	if (!harness.xapic)
		return;
	g_apic_write(APIC_DFR, 0x0fffffff);
	g_apic_write(APIC_LDR, (1 + id / 2) << 28 | 1u << (24 + id % 2));
}

static void dest_physical(void)
{
	u32 everybody = harness.xapic ? 0xff : 0xffffffff;

	rules_begin();
	rules_fixed(2, V);
	rules_check_reached(V, BIT(2));
	rules_fixed(0, V);
	rules_check_reached(V, BIT(0));
	rules_fixed(9, V); /* nobody */
	rules_check_reached(V, 0);
	rules_fixed(everybody, V);
	rules_check_reached(V, 0xf);
	if (harness.xapic)
		return;
	/* All 32 bits are compared: eight ones are an ID, and so is what differs above them. */
	rules_fixed(0xff, V);
	rules_check_reached(V, 0);
	rules_fixed(0x102, V);
	rules_check_reached(V, 0);
}

static void dest_id_rewritten(void)
{
	rules_begin();
	if (!harness.xapic) {
		/* Read-only in this mode: there is nothing to follow. */
		G_CHECK(!rules_msr_writes(APIC_ID, 7));
		G_CHECK_EQUAL(g_apic_read(APIC_ID), 0);
		return;
	}
	g_apic_write(APIC_ID, 7u << 24);
	G_CHECK_EQUAL(g_apic_read(APIC_ID), 7u << 24);
	rules_fixed(7, V);
	rules_check_reached(V, BIT(0));
	rules_fixed(0, V);
	rules_check_reached(V, 0);
	/* Two with one ID: both. */
	g_apic_write(APIC_ID, 1u << 24);
	rules_fixed(1, V);
	rules_check_reached(V, BIT(0) | BIT(1));
}

static void dest_logical_flat(void)
{
	rules_begin();
	if (!harness.xapic) {
		/* There is no flat model: LDR is read-only and DFR does not exist. */
		G_CHECK(!rules_msr_writes(APIC_LDR, 1));
		G_CHECK(!rules_msr_reads(APIC_DFR));
		G_CHECK(!rules_msr_writes(APIC_DFR, 0xffffffff));
		return;
	}
	set_ldr(0);
	G_CHECK_EQUAL(g_apic_read(APIC_DFR), 0xffffffff);
	logical(0x06, V);
	rules_check_reached(V, BIT(1) | BIT(2));
	logical(0x08, V);
	rules_check_reached(V, BIT(3));
	logical(0xf0, V);
	rules_check_reached(V, 0);
	logical(0xff, V);
	rules_check_reached(V, 0xf);
	/* The change of LDR counts at once; several bits are several names. */
	g_apic_write(APIC_LDR, 0xc0u << 24);
	logical(0x01, V);
	rules_check_reached(V, 0);
	logical(0x40, V);
	rules_check_reached(V, BIT(0));
	/* Without a bit: only by broadcast. */
	g_apic_write(APIC_LDR, 0);
	logical(0x7f, V);
	rules_check_reached(V, 0xe);
	logical(0xff, V);
	rules_check_reached(V, 0xf);
}

static void dest_logical_cluster(void)
{
	rules_begin();
	if (!harness.xapic) {
		/* Clusters have sixteen members here and follow from the ID: dest_x2apic_cluster. */
		logical(0x21, V);
		rules_check_reached(V, BIT(0));
		return;
	}
	set_cluster(0);
	logical(0x12, V);
	rules_check_reached(V, BIT(1));
	logical(0x13, V);
	rules_check_reached(V, BIT(0) | BIT(1));
	logical(0x23, V);
	rules_check_reached(V, BIT(2) | BIT(3));
	logical(0x1c, V); /* the cluster, but none of its members */
	rules_check_reached(V, 0);
	logical(0x33, V); /* nobody's cluster */
	rules_check_reached(V, 0);
	logical(0xff, V);
	rules_check_reached(V, 0xf);
}

/* Each APIC compares by its own model. */
static void other_model(u32 id)
{
	if (id == 1)
		set_cluster(0); /* cluster 1, member 0: 11h */
	else
		set_ldr(id);
}

static void dest_logical_mixed_models(void)
{
	rules_begin();
	if (!harness.xapic) {
		G_CHECK(!rules_msr_writes(APIC_DFR, 0x0fffffff)); /* one model only */
		return;
	}
	g_apic_write(APIC_LDR, 0x10u << 24);
	logical(0x11, V);
	rules_check_reached(V, BIT(0) | BIT(1));
	logical(0x31, V);
	rules_check_reached(V, BIT(0));
	logical(0x1c, V);
	rules_check_reached(V, BIT(0) | BIT(2) | BIT(3));
}

/* Twenty vCPUs: two clusters of x2APIC IDs. */
static void dest_x2apic_cluster(void)
{
	rules_begin();
	if (harness.xapic) {
		/* LDR does not follow from the ID in this mode. */
		G_CHECK_EQUAL(g_apic_read(APIC_LDR), 0);
		return;
	}
	G_CHECK_EQUAL(g_apic_read(APIC_LDR), 1);
	logical(0x0000000a, V);
	rules_check_reached(V, BIT(1) | BIT(3));
	logical(0x00010005, V);
	rules_check_reached(V, BIT(16) | BIT(18));
	logical(0x00018000, V); /* ID 31: absent */
	rules_check_reached(V, 0);
	logical(0x00020001, V);
	rules_check_reached(V, 0);
	logical(0x0000ffff, V);
	rules_check_reached(V, 0xffff);
	logical(0xffffffff, V);
	rules_check_reached(V, RULES_ALL);
}

static void check_derived(u32 id)
{
	if (harness.xapic)
		G_CHECK_EQUAL(g_apic_read(APIC_ID), id << 24);
	else
		G_CHECK_EQUAL(g_apic_read(APIC_LDR), id >> 4 << 16 | 1u << (id & 15));
}

static void dest_x2apic_ldr_derived(void)
{
	rules_begin();
}

/* --- lowest priority --- */

static u32 who_took(u8 vector)
{
	u32 who = ~0u;

	rules_fence(RULES_ALL);
	G_CHECK_EQUAL(rules.total[vector], 1);
	for (u32 id = 0; id < harness.vcpus; id++)
		if (rules.count[id][vector])
			who = id;
	rules_forget();
	return who;
}

static void dest_lowest_priority(void)
{
	u32 seen = 0;

	rules_begin();
	set_ldr(0);
	for (u8 vector = 0x60; vector < 0x70; vector++) {
		u32 first;

		/* One of 1, 2 and 3; the same one each time. */
		g_apic_icr(0x0e, APIC_LEVEL_ASSERT | APIC_DEST_LOGICAL | APIC_DM_LOWEST | vector);
		first = who_took(vector);
		g_apic_icr(0x0e, APIC_LEVEL_ASSERT | APIC_DEST_LOGICAL | APIC_DM_LOWEST | vector);
		G_CHECK_EQUAL(who_took(vector), first);
		seen |= BIT(first);
	}
	G_CHECK_EQUAL(seen, 0x0e); /* and spread over all of them */
	/* Physically addressed: the one. */
	g_apic_icr(2, APIC_LEVEL_ASSERT | APIC_DM_LOWEST | V);
	G_CHECK_EQUAL(who_took(V), 2);
}

static void two_is_off(u32 id)
{
	set_ldr(id);
	if (id == 2)
		g_apic_write(APIC_SVR, 0xff);
}

static void dest_lowest_priority_skips_disabled(void)
{
	rules_begin();
	for (u8 vector = 0x60; vector < 0x70; vector++) {
		g_apic_icr(0x0e, APIC_LEVEL_ASSERT | APIC_DEST_LOGICAL | APIC_DM_LOWEST | vector);
		rules_fence(BIT(1) | BIT(3));
		G_CHECK_EQUAL(rules.count[1][vector] + rules.count[3][vector], 1);
		G_CHECK_EQUAL(rules.count[2][vector], 0);
	}
	/* Nobody is left: nothing happens. */
	g_apic_icr(0x04, APIC_LEVEL_ASSERT | APIC_DEST_LOGICAL | APIC_DM_LOWEST | V);
	rules_fence(BIT(1) | BIT(3));
	G_CHECK_EQUAL(rules.count[2][V], 0);
}

/* --- shorthands --- */

static void dest_shorthands(void)
{
	rules_begin();
	/* The destination field is not looked at. */
	g_apic_icr(2, APIC_LEVEL_ASSERT | APIC_DEST_SELF | V);
	rules_check_reached(V, BIT(0));
	g_apic_icr(2, APIC_LEVEL_ASSERT | APIC_DEST_ALL | V);
	rules_check_reached(V, 0xf);
	g_apic_icr(2, APIC_LEVEL_ASSERT | APIC_DEST_OTHERS | V);
	rules_check_reached(V, 0xe);
	g_apic_icr(2, APIC_LEVEL_ASSERT | APIC_DEST_OTHERS | APIC_DEST_LOGICAL | V);
	rules_check_reached(V, 0xe);
}

static void dest_shorthand_others_modes(void)
{
	rules_begin();
	g_apic_icr(0, APIC_LEVEL_ASSERT | APIC_DEST_OTHERS | APIC_DM_NMI);
	rules_check_reached(VECTOR_NMI, 0xe);
	g_apic_icr(0, APIC_LEVEL_ASSERT | APIC_DEST_OTHERS | APIC_DM_LOWEST | V);
	rules_fence(RULES_ALL);
	G_CHECK_EQUAL(rules.total[V], 1);
	G_CHECK_EQUAL(rules.count[0][V], 0);
}

/* "Valid Combinations": what a shorthand does not carry is not sent. */
static void dest_shorthand_invalid_modes(void)
{
	static const u32 modes[] = {APIC_DM_LOWEST, APIC_DM_SMI, APIC_DM_NMI, APIC_DM_INIT,
	                            APIC_DM_SIPI};

	rules_begin();
	for (u32 i = 0; i < ARRAY_SIZE(modes); i++) {
		g_apic_icr(0, APIC_LEVEL_ASSERT | APIC_DEST_SELF | modes[i] | V);
		rules_check_reached(V, 0);
		g_apic_icr(0, APIC_LEVEL_ASSERT | APIC_DEST_ALL | modes[i] | V);
		rules_check_reached(V, 0);
	}
	g_apic_icr(0, APIC_LEVEL_ASSERT | APIC_DEST_ALL | APIC_DM_NMI);
	rules_check_reached(VECTOR_NMI, 0);
}

/* A mixed machine: vCPU 1 stays in xAPIC mode, vCPU 2 goes to x2APIC mode, whatever the sender. */
static void mixed_ap(void *arg __unused)
{
	u32 me = rules_me();
	u64 base = g_rdmsr(MSR_APIC_BASE);

	if (me == 1) {
		g_mmio_write(APIC_BASE_DEFAULT + APIC_SVR, APIC_SVR_ENABLE | 0xff);
		g_mmio_write(APIC_BASE_DEFAULT + APIC_LDR, 0x42u << 24);
	} else {
		g_wrmsr(MSR_APIC_BASE, base | APIC_BASE_EXTD);
		g_wrmsr(rules_msr(APIC_SVR), APIC_SVR_ENABLE | 0xff);
	}
	rules.up[me] = true;
	for (;;)
		rules_wait();
}

static void mixed_eoi(u8 vector)
{
	u32 me = rules_me();

	if (me == 0)
		return;
	rules.hold[vector] = true; /* ended here, in the mode of the vCPU that took it */
	if (me == 1)
		g_mmio_write(APIC_BASE_DEFAULT + APIC_EOI, 0);
	else
		g_wrmsr(rules_msr(APIC_EOI), 0);
}

static void mixed_reached(u8 vector, u32 set)
{
	for (u32 id = 1; id < 3; id++)
		while ((set >> id & 1) && !rules.count[id][vector])
			g_pause();
	for (u32 i = 0; i < 50; i++)
		g_pause();
	for (u32 id = 1; id < 3; id++)
		G_CHECK_EQUAL(rules.count[id][vector], set >> id & 1);
	rules_forget();
}

static void dest_mixed_modes(void)
{
	rules.hook = mixed_eoi;
	rules_begin();
	rules_fixed(1, V);
	mixed_reached(V, BIT(1));
	rules_fixed(2, V);
	mixed_reached(V, BIT(2));
	/* 02h: member 1 of x2APIC cluster 0, which is ID 1 and absent; a bit of the xAPIC's LDR. */
	logical(0x02, V);
	mixed_reached(V, BIT(1));
	logical(0x04, V);
	mixed_reached(V, BIT(2));
	/* An xAPIC sees the low eight bits. */
	if (!harness.xapic) {
		rules_fixed(0x101, V);
		mixed_reached(V, BIT(1));
		rules_fixed(0xff, V);
		mixed_reached(V, BIT(1));
	}
	rules_fixed(harness.xapic ? 0xff : 0xffffffff, V);
	mixed_reached(V, BIT(1) | BIT(2));
}

static const struct rule list[] = {
        RULE(dest_physical, .vcpus = 4),
        RULE(dest_id_rewritten, .vcpus = 2),
        RULE(dest_logical_flat, .vcpus = 4, .other = set_ldr),
        RULE(dest_logical_cluster, .vcpus = 4, .other = set_cluster),
        RULE(dest_logical_mixed_models, .vcpus = 4, .other = other_model),
        RULE(dest_x2apic_cluster, .vcpus = 20),
        RULE(dest_x2apic_ldr_derived, .vcpus = 20, .other = check_derived),
        RULE(dest_lowest_priority, .vcpus = 4, .other = set_ldr),
        RULE(dest_lowest_priority_skips_disabled, .vcpus = 4, .other = two_is_off),
        RULE(dest_shorthands, .vcpus = 4),
        RULE(dest_shorthand_others_modes, .vcpus = 4),
        RULE(dest_shorthand_invalid_modes, .vcpus = 4),
        RULE(dest_mixed_modes, .vcpus = 3, .ap = mixed_ap, .needs_x2apic = true),
};

int main(void)
{
	return rules_main(list, ARRAY_SIZE(list));
}
