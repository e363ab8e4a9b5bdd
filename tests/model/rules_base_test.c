/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * APIC_BASE: modes, their transitions, relocation. SDM volume 3, "Local APIC Status and Location",
 * "x2APIC State Transitions", "Enabling or Disabling the Local APIC". Rules that begin with a mode
 * begin with the one of the run.
 */
#include "tests/model/rules.h"

#define V     0x61
#define OTHER 0xfed40000ull /* nothing else is there */

#define DISABLED 0u
#define INVALID  APIC_BASE_EXTD
#define XAPIC    APIC_BASE_EN
#define X2APIC   (APIC_BASE_EN | APIC_BASE_EXTD)
#define MODE     X2APIC

static u64 base(void)
{
	return g_rdmsr(MSR_APIC_BASE);
}

static u64 with_mode(u64 mode)
{
	return (base() & ~(u64)MODE) | mode;
}

static bool set_mode(u64 mode)
{
	return !g_wrmsr_safe(MSR_APIC_BASE, with_mode(mode));
}

/* By a legal way, from anywhere. */
static void go_to(u64 mode)
{
	G_CHECK(set_mode(DISABLED));
	if (mode != DISABLED)
		G_CHECK(set_mode(XAPIC));
	G_CHECK(set_mode(mode));
}

static void base_transitions(void)
{
	static const struct {
		u64 from, to;
		bool allowed;
	} all[] = {
	        {DISABLED, DISABLED, true}, {DISABLED, XAPIC, true}, {DISABLED, X2APIC, false},
	        {DISABLED, INVALID, false}, {XAPIC, DISABLED, true}, {XAPIC, XAPIC, true},
	        {XAPIC, X2APIC, true},      {XAPIC, INVALID, false}, {X2APIC, DISABLED, true},
	        {X2APIC, XAPIC, false},     {X2APIC, X2APIC, true},  {X2APIC, INVALID, false},
	};

	rules_begin(); /* the first transition: into the mode of the run */
	G_CHECK_EQUAL(base() & MODE, harness.xapic ? XAPIC : X2APIC);
	for (u32 i = 0; i < ARRAY_SIZE(all); i++) {
		go_to(all[i].from);
		G_CHECK_EQUAL(set_mode(all[i].to), all[i].allowed);
		G_CHECK_EQUAL(base() & MODE, all[i].allowed ? all[i].to : all[i].from);
	}
}

static void base_reset_value(void)
{
	G_CHECK_EQUAL(base(), APIC_BASE_DEFAULT | APIC_BASE_EN | APIC_BASE_BSP);
	rules_begin();
	G_CHECK_EQUAL(base() & MODE, harness.xapic ? XAPIC : X2APIC);
}

static void no_bsp_flag(u32 id __unused)
{
	G_CHECK(!(base() & APIC_BASE_BSP));
	/* Software cannot make itself the boot processor, nor stop being it. */
	g_wrmsr(MSR_APIC_BASE, base() | APIC_BASE_BSP);
	G_CHECK(!(base() & APIC_BASE_BSP));
}

static void base_bsp_flag(void)
{
	rules_begin();
	G_CHECK(base() & APIC_BASE_BSP);
	g_wrmsr(MSR_APIC_BASE, base() & ~(u64)APIC_BASE_BSP);
	G_CHECK(base() & APIC_BASE_BSP);
}

static void base_reserved_bits(void)
{
	struct cpuid_regs r;
	u64 before;
	u32 width;

	rules_begin();
	g_cpuid(0x80000008, 0, &r);
	width = r.eax & 0xff;
	before = base();
	for (u32 bit = 0; bit < 64; bit++) {
		if (bit < 8 || bit == 9 || bit >= width) {
			G_CHECK_EQUAL(g_wrmsr_safe(MSR_APIC_BASE, before | BIT64(bit)), VECTOR_GP);
			G_CHECK_EQUAL(base(), before);
		}
	}
}

static void base_x2apic_not_offered(void)
{
	struct cpuid_regs r;

	rules_begin();
	g_cpuid(1, 0, &r);
	G_CHECK(!(r.ecx & BIT(21)));
	G_CHECK(!set_mode(X2APIC));
	G_CHECK_EQUAL(base() & MODE, XAPIC);
	G_CHECK(!rules_msr_reads(APIC_ID));
}

static void base_cpuid_follows_enable(void)
{
	struct cpuid_regs r;

	rules_begin();
	g_cpuid(1, 0, &r);
	G_CHECK(r.edx & BIT(9));
	G_CHECK(set_mode(DISABLED));
	g_cpuid(1, 0, &r);
	G_CHECK(!(r.edx & BIT(9)));
	G_CHECK(set_mode(XAPIC));
	g_cpuid(1, 0, &r);
	G_CHECK(r.edx & BIT(9));
}

/* --- what a transition keeps --- */

static void base_entering_x2apic_keeps_state(void)
{
	if (harness.xapic) {
		/* There is no way into xAPIC mode but from reset or disabled: the next rule. */
		rules_begin();
		G_CHECK(set_mode(XAPIC));
		return;
	}
	harness.xapic = true;
	g_apic_enable();
	g_apic_write(APIC_SVR, 0x1a5);
	g_apic_write(APIC_TPR, 0x35);
	g_apic_write(APIC_LVT1, 0x12345 & 0x107ff);
	g_apic_write(APIC_TDCR, 0xb);
	g_apic_write(APIC_ID, 9u << 24);
	g_apic_write(APIC_LDR, 0x44u << 24);
	g_apic_write(APIC_ICR2, 7u << 24);
	rules_self(V);
	harness.xapic = false;
	G_CHECK(set_mode(X2APIC));
	G_CHECK_EQUAL(g_apic_read(APIC_SVR), 0x1a5);
	G_CHECK_EQUAL(g_apic_read(APIC_TPR), 0x35);
	G_CHECK_EQUAL(g_apic_read(APIC_LVT1), 0x12345 & 0x107ff);
	G_CHECK_EQUAL(g_apic_read(APIC_TDCR), 0xb);
	G_CHECK(rules_vector_bit(APIC_IRR, V));
	/* The ID is the initial one again, LDR follows from it, ICR is 0. */
	G_CHECK_EQUAL(g_apic_read(APIC_ID), 0);
	G_CHECK_EQUAL(g_apic_read(APIC_LDR), 1);
	G_CHECK_EQUAL(g_rdmsr(rules_msr(APIC_ICR)), 0);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 1);
}

static void base_disabling_loses_state(void)
{
	bool xapic = harness.xapic;

	rules_begin();
	g_apic_write(APIC_TPR, 0x35);
	g_apic_write(APIC_LVT0, APIC_DM_EXTINT);
	g_apic_write(APIC_TDCR, 0xb);
	rules_self(V);
	G_CHECK(set_mode(DISABLED));
	G_CHECK(set_mode(XAPIC));
	harness.xapic = true;
	G_CHECK_EQUAL(g_apic_read(APIC_TPR), 0);
	G_CHECK_EQUAL(g_apic_read(APIC_SVR), 0xff);
	G_CHECK_EQUAL(g_apic_read(APIC_LVT0), APIC_LVT_MASKED);
	G_CHECK_EQUAL(g_apic_read(APIC_TDCR), 0);
	G_CHECK_EQUAL(g_apic_read(APIC_ID), 0);
	G_CHECK_EQUAL(g_apic_read(APIC_LDR), 0);
	G_CHECK(!rules_vector_bit(APIC_IRR, V));
	harness.xapic = xapic;
	g_apic_enable();
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 0);
	/* And works again. */
	rules_self(V);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 1);
}

/* --- disabled --- */

static void base_disabled_is_no_destination(void)
{
	rules_begin();
	G_CHECK(set_mode(DISABLED));
	/* Its registers are gone. */
	G_CHECK_EQUAL(g_mmio_read(APIC_BASE_DEFAULT + APIC_VERSION), 0xffffffff);
	G_CHECK(!rules_msr_reads(APIC_VERSION));
	g_mmio_write(APIC_BASE_DEFAULT + APIC_ICR, APIC_LEVEL_ASSERT | APIC_DEST_ALL | V);
	/* A pin that sends to it reaches nobody. */
	rules_entry(10, 0, V);
	rules_line(10, true);
	G_CHECK(set_mode(XAPIC));
	if (!harness.xapic)
		G_CHECK(set_mode(X2APIC));
	g_apic_enable();
	rules_check_reached(V, 0);
}

/* INTR and NMI pins go straight to the processor. */
static void base_disabled_takes_extint(void)
{
	rules_begin();
	rules_pic(0xdf, 0xff);
	g_apic_write(APIC_LVT0, APIC_LVT_MASKED);
	rules_line(5, true);
	rules_let_in();
	G_CHECK_EQUAL(rules.logged, 0);
	G_CHECK(set_mode(DISABLED));
	rules_let_in();
	G_CHECK_EQUAL(rules.total[RULES_PIC + 5], 1);
}

/* --- where the page is --- */

static void base_relocation(void)
{
	u64 value;

	rules_begin();
	value = (base() & ~(u64)APIC_BASE_DEFAULT) | OTHER;
	g_wrmsr(MSR_APIC_BASE, value);
	G_CHECK_EQUAL(base(), value);
	if (!harness.xapic) {
		/* No page in this mode: neither place answers, the MSRs do. */
		G_CHECK_EQUAL(g_mmio_read(OTHER + APIC_VERSION), 0xffffffff);
		G_CHECK_EQUAL(g_mmio_read(APIC_BASE_DEFAULT + APIC_VERSION), 0xffffffff);
		rules_self(V);
		rules_let_in();
		G_CHECK_EQUAL(rules.total[V], 1);
		return;
	}
	G_CHECK_EQUAL(g_mmio_read(OTHER + APIC_VERSION) & 0xff, 0x14);
	G_CHECK_EQUAL(g_mmio_read(APIC_BASE_DEFAULT + APIC_VERSION), 0xffffffff);
	g_mmio_write(OTHER + APIC_TPR, 0x40);
	G_CHECK_EQUAL(g_read_cr8(), 4);
	g_mmio_write(APIC_BASE_DEFAULT + APIC_TPR, 0x50); /* nobody's */
	G_CHECK_EQUAL(g_read_cr8(), 4);
	/* State came along. */
	G_CHECK_EQUAL(g_mmio_read(OTHER + APIC_SVR), 0x1ff);
	rules.hold[V] = true;
	g_mmio_write(OTHER + APIC_ICR, APIC_LEVEL_ASSERT | APIC_DEST_SELF | V);
	rules_let_in();
	G_CHECK_EQUAL(rules.total[V], 1);
	g_mmio_write(OTHER + APIC_EOI, 0);
	G_CHECK_EQUAL(g_mmio_read(OTHER + APIC_PPR), 0x40);
	/* And back. */
	g_wrmsr(MSR_APIC_BASE, (value & ~OTHER) | APIC_BASE_DEFAULT);
	G_CHECK_EQUAL(g_apic_read(APIC_TPR), 0x40);
	G_CHECK_EQUAL(g_mmio_read(OTHER + APIC_VERSION), 0xffffffff);
}

static void move_own_page(u32 id)
{
	if (id == 1)
		g_wrmsr(MSR_APIC_BASE, (base() & ~(u64)APIC_BASE_DEFAULT) | OTHER);
	rules.hold[V] = true; /* ended where the page is */
}

static void end_where_page_is(u8 vector)
{
	if (vector == V && rules_me() == 1 && harness.xapic)
		g_mmio_write(OTHER + APIC_EOI, 0);
	else if (vector == V)
		g_apic_eoi();
}

/* The page is each vCPU's own: one that moves its page moves nobody else's, and is still reached. */
static void base_relocation_is_per_processor(void)
{
	rules.hook = end_where_page_is;
	rules_begin();
	if (harness.xapic) {
		G_CHECK_EQUAL(g_apic_read(APIC_VERSION) & 0xff, 0x14);
		G_CHECK_EQUAL(g_mmio_read(OTHER + APIC_VERSION), 0xffffffff);
	}
	for (u32 i = 1; i <= 3; i++) {
		rules_fixed(1, V);
		while (rules.count[1][V] < i)
			g_pause();
	}
}

static const struct rule list[] = {
        RULE(base_reset_value),
        RULE(base_transitions, .needs_x2apic = true),
        RULE(base_bsp_flag, .vcpus = 2, .other = no_bsp_flag),
        RULE(base_reserved_bits),
        RULE(base_x2apic_not_offered, .no_x2apic = true),
        RULE(base_cpuid_follows_enable),
        RULE(base_entering_x2apic_keeps_state),
        RULE(base_disabling_loses_state),
        RULE(base_disabled_is_no_destination, .vcpus = 2),
        RULE(base_disabled_takes_extint, .both_pics = true),
        RULE(base_relocation),
        RULE(base_relocation_is_per_processor, .vcpus = 2, .other = move_own_page),
};

int main(void)
{
	return rules_main(list, ARRAY_SIZE(list));
}
