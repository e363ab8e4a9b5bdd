/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reasons of postern/inhibits.h that a guest brings about by its local APICs' IDs, places and modes: each
 * set, seen to take acceleration from whom it should and from nobody else, and undone. What is sent
 * reaches whom it should all the while.
 */
#include "tests/model/inhibit_guest.h"

#define NEW_BASE 0xfed10000ull

static void expect_reached(u32 dest, u32 mode, u32 targets)
{
	listen();
	apic_icr(dest, mode | APIC_LEVEL_ASSERT | PING);
	expect_heard(targets);
}

/* --- PHYSICAL_ID_ALIASED, APIC_ID_MODIFIED --- */

static void take_id_2(void)
{
	apic_write(APIC_ID, 2u << 24);
}

static void script_modified(void)
{
	for (u32 i = 0; i < 2; i++)
		set_and_undo(INHIBIT_APIC_ID_MODIFIED, 1, take_id_alone, take_id_1);
	do_on(1, take_id_alone);
	expect_reached(ALONE, 0, BIT(1));
	expect_reached(1, 0, 0);
	expect_reached(2, 0, BIT(2));
	do_on(1, take_id_1);
	expect_reached(ALONE, 0, 0);
	expect_reached(1, 0, BIT(1));
}

static void test_apic_id_modified(void **state __unused)
{
	on_each((struct harness){0}, script_modified);
}

#define ALIASED INHIBIT_BIT(PHYSICAL_ID_ALIASED)

/* An ID that another has is not the own one either, and remains so when no other has it. */
static void script_aliased(void)
{
	const struct inhibit_account *account = account_of(INHIBIT_PHYSICAL_ID_ALIASED);

	for (u32 i = 0; i < 2; i++) {
		note();
		do_on(1, take_id_2);
		expect_mask(MODIFIED | ALIASED);
		expect_changes(1, 1);
		expect_account(account, i + 1, i, 1);
		expect_reached(2, 0, BIT(1) | BIT(2));
		expect_only(0, ALL, false);
		note();
		do_on(1, take_id_alone);
		expect_mask(MODIFIED);
		expect_changes(0, 0);
		expect_account(account, i + 1, i + 1, 1);
		expect_reached(2, 0, BIT(2));
		expect_only(0, ALL, false);
		note();
		do_on(1, take_id_1);
		expect_mask(0);
		expect_changes(1, 0);
		expect_accelerated(ALL);
	}
}

static void test_physical_id_aliased(void **state __unused)
{
	on_each((struct harness){0}, script_aliased);
}

/* --- APIC_BASE_MODIFIED --- */

static void move_to(u64 base)
{
	u64 flags = g_rdmsr(MSR_APIC_BASE) & ~PAGE_MASK;

	g_wrmsr(MSR_APIC_BASE, base | flags);
	mine()->base = base;
}

static void move(void)
{
	move_to(NEW_BASE);
	/* It is where it is said to be, and nowhere else. */
	G_CHECK_EQUAL(g_mmio_read(NEW_BASE + APIC_ID) >> 24, 1);
	G_CHECK_EQUAL(g_mmio_read(APIC_BASE_DEFAULT + APIC_ID), 0xffffffff);
}

static void move_back(void)
{
	move_to(APIC_BASE_DEFAULT);
	G_CHECK_EQUAL(g_mmio_read(APIC_BASE_DEFAULT + APIC_ID) >> 24, 1);
	G_CHECK_EQUAL(g_mmio_read(NEW_BASE + APIC_ID), 0xffffffff);
}

static void script_moved(void)
{
	for (u32 i = 0; i < 2; i++)
		set_and_undo(INHIBIT_APIC_BASE_MODIFIED, 1, move, move_back);
	do_on(1, move);
	expect_only(0, ALL, true);
	do_on(1, move_back);
	expect_accelerated(ALL);
}

static void test_apic_base_modified(void **state __unused)
{
	on_each((struct harness){0}, script_moved);
}

/* --- X2APIC --- */

static void go_x2apic(void)
{
	g_wrmsr(MSR_APIC_BASE, g_rdmsr(MSR_APIC_BASE) | APIC_BASE_EXTD);
	mine()->base = 0;
}

static void disable_by_base(void)
{
	g_wrmsr(MSR_APIC_BASE, g_rdmsr(MSR_APIC_BASE) & ~(u64)(APIC_BASE_EN | APIC_BASE_EXTD));
	G_CHECK_EQUAL(g_mmio_read(APIC_BASE_DEFAULT + APIC_ID), 0xffffffff);
}

static void enable_by_svr(void)
{
	apic_write(APIC_SVR, APIC_SVR_ENABLE | 0xff);
}

static void enable_by_base(void)
{
	g_wrmsr(MSR_APIC_BASE, g_rdmsr(MSR_APIC_BASE) | APIC_BASE_EN);
	mine()->base = APIC_BASE_DEFAULT;
	enable_by_svr();
}

static void back_to_xapic(void)
{
	disable_by_base();
	enable_by_base();
}

/* Reasons of their own that vCPUs have, and whether the root without the page is theirs. */
static void expect_own(u32 v, u32 reasons, bool without_page)
{
	G_CHECK_EQUAL(vcpu(v)->accel.local, reasons);
	G_CHECK_EQUAL(vcpu(v)->accel.without_page, without_page);
}

/* What a vCPU has in x2APIC mode where that is not accelerated; nobody has it where nobody is. */
static u32 own_reason(void)
{
	bool accelerated = harness_vm->accel.modes & ACCEL_MODE(ACCEL_X2APIC);

	return can_accelerate() && !accelerated ? INHIBIT_BIT(X2APIC) : 0;
}

/*
 * One alone. Beside others in xAPIC mode it is also the VM's LOGICAL_ID_ALIASED, by what logical destinations are
 * then, where there is that reason; so what shows its scope is whose account and whose nested root it is.
 */
static void script_one_x2apic(void)
{
	const struct inhibit_account *account = vcpu(1)->accel.account;
	u32 one = has_reason(INHIBIT_LOGICAL_ID_ALIASED), own = own_reason();

	expect_accelerated(ALL);
	note();
	do_on(1, go_x2apic);
	expect_mask(INHIBIT_BIT(LOGICAL_ID_ALIASED));
	expect_changes(one, one);
	expect_account(&account[INHIBIT_X2APIC], own != 0, 0, 1);
	expect_only(one ? 0 : ALL, ALL, true);
	expect_own(0, 0, false);
	expect_own(1, own, can_accelerate());
	expect_own(2, 0, false);
	note();
	do_on(1, back_to_xapic);
	expect_mask(0);
	expect_changes(one, 0);
	expect_account(&account[INHIBIT_X2APIC], own != 0, own != 0, 1);
	expect_accelerated(ALL);
	for (u32 v = 0; v < VCPUS; v++)
		expect_own(v, 0, false);
	for (u32 v = 0; v < VCPUS; v += 2)
		G_CHECK_EQUAL(vcpu(v)->accel.account[INHIBIT_X2APIC].sets, 0);
}

/* All of them, each for itself: nothing is to be said for the VM. */
static void script_all_x2apic(void)
{
	u32 own = own_reason();

	expect_mask(0);
	expect_accelerated(own ? 0 : ALL);
	for (u32 v = 0; v < VCPUS; v++) {
		expect_own(v, own, can_accelerate());
		expect_account(&vcpu(v)->accel.account[INHIBIT_X2APIC], own != 0, 0, v);
	}
	G_CHECK_EQUAL(harness_vm->mmu.counts.zaps, 0);
}

static void test_x2apic_without_x2avic(void **state __unused)
{
	on_each((struct harness){0}, script_one_x2apic);
	for (u32 i = 0; i < ARRAY_SIZE(processors); i++)
		run((struct harness){.processor = processors[i].name}, script_all_x2apic);
}

/* --- LOGICAL_ID_ALIASED --- */

#define FLAT    0xffffffffu
#define CLUSTER 0x0fffffffu

static void take_first_bit(void)
{
	apic_write(APIC_LDR, 1u << 24);
}

static void take_second_bit(void)
{
	apic_write(APIC_LDR, 2u << 24);
}

static void use_clusters(void)
{
	apic_write(APIC_DFR, CLUSTER);
}

static void use_flat(void)
{
	apic_write(APIC_DFR, FLAT);
}

static void script_logical(void)
{
	do_on(0, take_first_bit);
	do_on(1, take_second_bit);
	expect_mask(0);
	expect_reached(1, APIC_DEST_LOGICAL, BIT(0));
	expect_reached(3, APIC_DEST_LOGICAL, BIT(0) | BIT(1));
	for (u32 i = 0; i < 2; i++) {
		set_and_undo(INHIBIT_LOGICAL_ID_ALIASED, 1, take_first_bit, take_second_bit);
		set_and_undo(INHIBIT_LOGICAL_ID_ALIASED, 1, use_clusters, use_flat);
	}
	do_on(1, take_first_bit);
	expect_reached(1, APIC_DEST_LOGICAL, BIT(0) | BIT(1));
	expect_reached(2, APIC_DEST_LOGICAL, 0);
	do_on(1, take_second_bit);
	do_on(1, use_clusters);
	/* To that one it is cluster 0 and its second member, or cluster 1, where it is not. */
	expect_reached(0x02, APIC_DEST_LOGICAL, BIT(1));
	expect_reached(0x12, APIC_DEST_LOGICAL, 0);
	expect_reached(0x11, APIC_DEST_LOGICAL, BIT(0));
	do_on(1, use_flat);
	expect_reached(0x13, APIC_DEST_LOGICAL, BIT(0) | BIT(1));
	expect_accelerated(ALL);
}

static void test_logical_id_aliased(void **state __unused)
{
	on_each((struct harness){0}, script_logical);
}

/* --- APIC_DISABLED --- */

static void disable_by_svr(void)
{
	apic_write(APIC_SVR, 0xff);
	/* It has registers nonetheless, its own. */
	apic_write(APIC_TPR, 0x20);
	G_CHECK_EQUAL(g_mmio_read(APIC_BASE_DEFAULT + APIC_TPR), 0x20);
	apic_write(APIC_TPR, 0);
	G_CHECK_EQUAL(g_mmio_read(APIC_BASE_DEFAULT + APIC_ID) >> 24, 1);
}

static u64 faults(u32 v)
{
	return counter_read(&vcpu(v)->account.exits[EXIT_MEMORY]);
}

/*
 * vCPU 1 does without, the others go on with the page that they have. Where nobody is accelerated there is no page,
 * and all accesses exit as before.
 */
static void disable_and_enable(void (*disable)(void), u32 intercepted, void (*again)(void))
{
	const struct inhibit_account *account = &vcpu(1)->accel.account[INHIBIT_APIC_DISABLED];
	u32 sets = (u32)account->sets, rest = ALL & ~BIT(1), one = can_accelerate();
	struct mmu_counts mmu = harness_vm->mmu.counts;
	u64 before_rounds, before_faults[VCPUS];

	before_rounds = harness_vm->inhibit.rounds;
	for (u32 v = 0; v < VCPUS; v++)
		before_faults[v] = faults(v);
	do_on(1, disable);
	expect_mask(0);
	expect_account(account, sets + one, sets, 1);
	expect_only(rest, rest, true);
	expect_own(0, 0, false);
	expect_own(1, one ? INHIBIT_BIT(APIC_DISABLED) : 0, one);
	expect_own(2, 0, false);
	if (one) {
		G_CHECK_EQUAL(faults(0), before_faults[0]);
		G_CHECK_EQUAL(faults(1), before_faults[1] + intercepted);
		G_CHECK_EQUAL(faults(2), before_faults[2]);
	}
	do_on(1, again);
	expect_account(account, sets + one, sets + one, 1);
	expect_accelerated(ALL);
	expect_own(1, 0, false);
	expect_mask(0);
	G_CHECK_EQUAL(harness_vm->mmu.counts.installs, mmu.installs);
	G_CHECK_EQUAL(harness_vm->mmu.counts.zaps, mmu.zaps);
	G_CHECK_EQUAL(harness_vm->mmu.counts.remote_flushes, mmu.remote_flushes);
	G_CHECK_EQUAL(harness_vm->inhibit.rounds, before_rounds);
}

static void script_disable_apic(void)
{
	expect_accelerated(ALL);
	for (u32 i = 0; i < 3; i++) {
		disable_and_enable(disable_by_svr, 4, enable_by_svr);
		disable_and_enable(disable_by_base, 1, enable_by_base);
	}
}

static void test_apic_disabled(void **state __unused)
{
	on_each((struct harness){0}, script_disable_apic);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_physical_id_aliased),
	        cmocka_unit_test(test_apic_id_modified),
	        cmocka_unit_test(test_apic_base_modified),
	        cmocka_unit_test(test_x2apic_without_x2avic),
	        cmocka_unit_test(test_logical_id_aliased),
	        cmocka_unit_test(test_apic_disabled),
	};

	return cmocka_run_group_tests_name("inhibit_apic", tests, NULL, NULL);
}
