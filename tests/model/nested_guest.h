/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest of the guest on each vCPU of inhibit_guest.h, with a control block and a script of its own. The guest's
 * VMRUN or VMLAUNCH is not emulated; a port stands for it, and the control block that L1 gives is the test's. What
 * follows is what follows for any: nested_enter() and nested_leave() are called as by whoever emulates it.
 *
 * POSTERN_TEST_CPU names the processor; otherwise all that accelerate.
 */
#ifndef TESTS_MODEL_NESTED_GUEST_H
#define TESTS_MODEL_NESTED_GUEST_H

#include "core/nested.h"
#include "tests/model/inhibit_guest.h"
#include "tests/model/nested_vendor.h"

#define VMRUN_PORT 0x9f0
#define L2_START   0x50000u

/* By vCPU: what it does in L2, the control block, and what L1 has seen. */
static struct l2 {
	struct l2_block block;
	bool fresh; /* it is to be made: L2 begins at its start */
	struct l2_asks asks;
	/* Of `block`, when it has been made. */
	void (*adapt)(struct l2_block *block);
	u8 own[PAGE_SIZE];   /* L1's, as it was when L2 was entered */
	bool entered;        /* L1's entry under way has been made, and `own` noted */
	bool nmi_masked;     /* it ends in its handler of an NMI */
	bool closed;         /* L1 does not open its interrupt flag when it has control back */
	u64 gpr[GPR_COUNT];  /* L2's, which L1 keeps while it runs itself */
	void (*order)(void); /* for L2; NULL when it has done it */
	bool up;
	u32 exits[L2_EXITS];
	u8 skip[L2_EXITS]; /* bytes of the instruction that L1 takes over */
	u8 inject;         /* a vector, into L2, at the next exit that L1 handles */
} l2[VCPUS];

static struct vcpu *self(void)
{
	return vcpu((u32)(mine() - seat));
}

/* --- L1's side --- */

static u64 l2_start(u32 v)
{
	return L2_START + v * PAGE_SIZE;
}

static void note_own(u32 v)
{
	u32 size;
	const void *own = vendor()->own(vcpu(v), &size);

	assert_true(size <= PAGE_SIZE);
	memcpy(l2[v].own, own, size);
}

static bool own_is_as_noted(u32 v)
{
	u32 size;
	const void *own = vendor()->own(vcpu(v), &size);

	return !memcmp(l2[v].own, own, size);
}

/* What a test does to an L2 before it runs; NULL: nothing. */
static void (*entered)(struct vcpu *vcpu);

/* The port's write is VMRUN or VMLAUNCH. */
static void vmrun(void *device __unused, struct vcpu *vcpu, u64 offset __unused, u32 size __unused,
                  u64 value __unused)
{
	struct l2 *l = &l2[vcpu->index];

	l->entered = false;
	if (l->fresh) {
		vendor()->prepare(vcpu, &l->block, &l->asks, l2_start(vcpu->index));
		if (l->adapt)
			l->adapt(&l->block);
	}
	l->fresh = false;
	vmx_block_of(&l->block.vmx, HOST_RIP) = vcpu->regs.rip;
	memcpy(vcpu->regs.gpr, l->gpr, sizeof(l->gpr));
	assert_true(nested_enter(vcpu, vendor()->block(&l->block)));
	note_own(vcpu->index);
	if (entered)
		entered(vcpu);
	l->entered = true;
}

static const struct bus_ops port_ops = {.write = vmrun};

static struct l2 *my_l2(void)
{
	return &l2[mine() - seat];
}

/* With an interrupt for L1 pending, which has its flag open from this next instruction on, VMRUN. */
static void inject_into_l2(struct l2 *l)
{
	vendor()->inject(&l->block, l->inject);
	l->inject = 0;
	g_cli();
	apic_icr(0, APIC_DEST_SELF | APIC_LEVEL_ASSERT | PING);
	g_sti();
}

/* What L1 has to do itself on VMX: an exit closes its flag, and one for an NMI is the NMI. */
static void go_on(struct l2 *l, enum l2_exit why)
{
	struct cpuid_regs r;

	if (why == L2_CPUID) {
		g_cpuid((u32)l->gpr[GPR_RAX], (u32)l->gpr[GPR_RCX], &r);
		l->gpr[GPR_RAX] = r.eax;
		l->gpr[GPR_RBX] = r.ebx;
		l->gpr[GPR_RCX] = r.ecx;
		l->gpr[GPR_RDX] = r.edx;
	}
	if (!on_vmx())
		return;
	G_CHECK(!g_interrupts_enabled());
	G_CHECK_EQUAL(guest_self()->cpu->vmx.nmi_blocked, why == L2_NMI || l->nmi_masked);
	if (why == L2_NMI)
		g_int3(); /* its handler is that of NMIs, and ends with IRET */
	if (why == L2_WINDOW)
		vmx_block_of(&l->block.vmx, PRIMARY) &= ~(u64)VMX_PROC_INTR_WINDOW;
	if (l->closed)
		return;
	g_sti();
	g_nop();
}

/* Run L2 until it says VMMCALL, as often as it exits for what L1 asks for; interrupts are taken here. */
static void run_l2(void)
{
	struct l2 *l = my_l2();
	enum l2_exit why;

	do {
		g_out(VMRUN_PORT, 0, 1);
		memcpy(l->gpr, guest_self()->cpu->regs.gpr, sizeof(l->gpr));
		why = vendor()->why(&l->block);
		l->exits[why]++;
		if (why == L2_FAILED || why == L2_OTHER)
			return;
		vendor()->advance(&l->block, l->skip[why]);
		go_on(l, why);
		if (l->inject)
			inject_into_l2(l);
	} while (why != L2_CALL);
}

/* --- L2's side --- */

static void on_l2(void *arg)
{
	vcpu_of[g_index()] = (u32)(uintptr_t)arg;
	for (my_l2()->up = true;; g_pause()) {
		if (!my_l2()->order)
			continue;
		my_l2()->order();
		my_l2()->order = NULL;
	}
}

/* --- vCPU `v` in L2, seen from vCPU 0 --- */

static void begin_l2(u32 v)
{
	seat[v].order = run_l2;
	while (!l2[v].up)
		g_pause();
}

/* Inside, and with everything done that belongs to the entry. */
static void await_l2(u32 v)
{
	while (!vcpu(v)->guest_mode || !l2[v].entered || accel_is_on(&vcpu(v)->accel))
		g_pause();
}

/* It halts in L2, by `order`, and goes on where another has its place: on processor 0 or 1 by turns. */
static __unused void move_in_l2(u32 v, u32 round, void (*order)(void))
{
	l2[v].order = order;
	while (vcpu(v)->activity != VCPU_HALTED)
		g_pause();
	/* Until somebody else has its processor. */
	while (atomic32_read(&vcpu(v)->on_cpu))
		g_pause();
	/* Both have one to run: it waits where it has run last, as far as anybody knows. */
	ptr_set(&vcpu(v)->cpu, &port_machine()->cpu[round & 1]);
	apic_icr(v, APIC_LEVEL_ASSERT | PING);
	while (l2[v].order)
		g_pause();
}

static void in_l2(u32 v, void (*order)(void))
{
	l2[v].order = order;
	while (l2[v].order)
		g_pause();
}

/* Its VMMCALL is completed when L2 goes on. */
static void end_l2(u32 v)
{
	while (l2[v].order)
		g_pause();
	l2[v].order = g_vmmcall;
	while (seat[v].order)
		g_pause();
	G_CHECK(!vcpu(v)->guest_mode);
}

static u64 exits(u32 v, enum exit_kind kind)
{
	return counter_read(&vcpu(v)->account.exits[kind]);
}

static bool reaches_page(u64 root)
{
	return vendor()->reaches(root, GPA(APIC_BASE_DEFAULT));
}

/* A second control block, not accelerated, a second root that does not lead to the page; the first as they were. */
static __unused void expect_second(u32 v)
{
	u64 root = vendor()->root(vcpu(v), true);

	G_CHECK(vendor()->is_second(vcpu(v)));
	G_CHECK(!vendor()->is_accelerated(vcpu(v)));
	G_CHECK_EQUAL(root & PAGE_MASK, mmu_root_without_apic(harness_vm).v);
	G_CHECK(!reaches_page(root));
	G_CHECK(own_is_as_noted(v));
	G_CHECK(vendor()->has_own_tag(vcpu(v)));
	if (!can_accelerate() || !harness.xapic)
		return;
	G_CHECK(reaches_page(mmu_root(harness_vm).v));
	G_CHECK_EQUAL(vcpu(v)->accel.local, INHIBIT_BIT(NESTED));
	G_CHECK(vcpu(v)->accel.without_page);
}

/* In the mode of the APIC. */
static bool mode_is_accelerated(void)
{
	return harness_vm->accel.modes & ACCEL_MODE(harness.xapic ? ACCEL_XAPIC : ACCEL_X2APIC);
}

static void expect_first(u32 v)
{
	bool on = mode_is_accelerated();

	G_CHECK(!vendor()->is_second(vcpu(v)));
	G_CHECK_EQUAL(vendor()->is_accelerated(vcpu(v)), on);
	G_CHECK_EQUAL(vendor()->root(vcpu(v), false) & PAGE_MASK,
	              (vcpu(v)->accel.without_page ? mmu_root_without_apic(harness_vm)
	                                           : mmu_root(harness_vm))
	                      .v);
	G_CHECK_EQUAL(vcpu(v)->accel.local, can_accelerate() && !on ? INHIBIT_BIT(X2APIC) : 0);
}

/* All are accelerated where anybody can be, and hear each other. */
static __unused void expect_l1(void)
{
	if (can_accelerate())
		expect_accelerated(ALL);
	else
		exchange(ALL, true);
}

static __unused void halt(void)
{
	g_hlt();
}

/* Each to vCPU 1 takes it out of L2, and is taken in L1, which has acceleration then. */
static __unused void exchange_with_l1(u32 rounds)
{
	/* How an IPI of an accelerated vCPU exits: its target does not run, or the processor sends none. */
	const enum exit_kind sent = on_vmx() ? EXIT_APIC_WRITE : EXIT_IPI_INCOMPLETE;
	u64 incomplete = exits(0, sent), injected_2 = injected(2);
	u32 left = l2[1].exits[L2_INTR];

	for (u32 i = 0; i < rounds; i++) {
		await_l2(1);
		exchange(ALL, i & 1);
	}
	await_l2(1);
	G_CHECK_EQUAL(l2[1].exits[L2_INTR], left + rounds);
	if (!can_accelerate())
		return;
	/* With IPI virtualization a target in L2 is one like any other: its own exit is all there is. */
	if (!model_has(MODEL_IPIV))
		G_CHECK(exits(0, sent) >= incomplete + rounds);
	/* The others do not notice. */
	G_CHECK_EQUAL(injected(2), injected_2);
	G_CHECK(accel_is_on(&vcpu(0)->accel) && accel_is_on(&vcpu(2)->accel));
}

/* --- a run --- */

static struct l2_asks run_asks;

static void create_l2(void)
{
	memset(l2, 0, sizeof(l2));
	bus_register(&harness_vm->io, VMRUN_PORT, 1, &port_ops, NULL);
	for (u32 v = 0; v < VCPUS; v++) {
		l2[v].fresh = true;
		l2[v].asks = run_asks;
		l2[v].skip[L2_HLT] = 1;
		l2[v].skip[L2_CPUID] = 2;
		l2[v].skip[L2_CALL] = 3;
		guest_bind(l2_start(v), on_l2, (void *)(uintptr_t)v);
	}
}

static void prepare_run(u32 what, bool masks)
{
	run_asks = (struct l2_asks){.what = what, .masks = masks};
	on_create = create_l2;
}

/* In xAPIC mode, on those that accelerate. */
static __unused void run_nested(void (*script)(void), u32 what, bool masks)
{
	const char *only = getenv("POSTERN_TEST_CPU");

	prepare_run(what, masks);
	if (only)
		run((struct harness){.xapic = true, .processor = only}, script);
	else
		on_some(MODES_BOTH, (struct harness){0}, script);
}

static __unused void run_x2apic(void (*script)(void), u32 what, bool masks)
{
	const char *only = getenv("POSTERN_TEST_CPU");

	prepare_run(what, masks);
	if (only) {
		run((struct harness){.processor = only}, script);
		return;
	}
	/* On the assist, which is between the same two, in check-full. */
	for (u32 i = 0; i < ARRAY_SIZE(processors); i++)
		if (harness_full() || strncmp(processors[i].name, "assist-", 7))
			run((struct harness){.processor = processors[i].name}, script);
}

#endif
