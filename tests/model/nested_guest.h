/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest of the guest on each vCPU of inhibit_guest.h, with a VMCB and a script of its own. The guest's VMRUN is not
 * emulated; a port stands for it, and the VMCB that L1 gives is the test's. What follows is what follows for
 * any: nested_enter() and nested_leave() are called as by whoever emulates it.
 */
#ifndef TESTS_MODEL_NESTED_GUEST_H
#define TESTS_MODEL_NESTED_GUEST_H

#include "core/nested.h"
#include "tests/model/inhibit_guest.h"

#include "svm/svm.h"

#define VMRUN_PORT 0x9f0
#define L2_START   0x50000u
#define KVM_LIKE   (SVM_MISC1(SVM_EXIT_INTR) | SVM_MISC1(SVM_EXIT_NMI) | SVM_MISC1(SVM_EXIT_HLT))
#define L1_MSRPM   0x220000u
#define L1_IOPM    0x230000u
#define KINDS      0x100 /* exit codes that are counted */

/* By vCPU: what it does in L2, the control block, and what L1 has seen. */
static struct l2 {
	struct vmcb block;
	struct vmcb own; /* L1's, as it was when L2 was entered */
	u32 misc1;       /* what L1 intercepts besides VMMCALL */
	u32 exceptions;
	bool masking;
	u64 gpr[GPR_COUNT];  /* L2's, which L1 keeps while it runs itself */
	void (*order)(void); /* for L2; NULL when it has done it */
	bool up;
	u32 exits[KINDS];
	u8 skip[KINDS]; /* bytes of the instruction that L1 takes over */
	u64 inject;     /* into L2, at the next exit that L1 handles: EVENTINJ */
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

static void prepare_block(struct vcpu *vcpu, struct l2 *l)
{
	struct vmcb_control *control = &l->block.control;

	memset(&l->block, 0, sizeof(l->block));
	l->block.save = svm_of(vcpu)->own->save;
	l->block.save.rip = l2_start(vcpu->index);
	l->block.save.rflags = RFLAGS_RES1;
	control->intercept_misc1 = l->misc1;
	control->intercept_exceptions = l->exceptions;
	control->iopm_base = L1_IOPM;
	control->msrpm_base = L1_MSRPM;
	control->intercept_misc2 = SVM_MISC2(SVM_EXIT_VMMCALL) | SVM_MISC2(SVM_EXIT_VMRUN);
	control->int_ctl = l->masking ? SVM_V_INTR_MASKING : 0;
}

/* The port's write is VMRUN: of a block with RIP 0 it is the first. */
static void vmrun(void *device __unused, struct vcpu *vcpu, u64 offset __unused, u32 size __unused,
                  u64 value __unused)
{
	struct l2 *l = &l2[vcpu->index];

	if (!l->block.save.rip)
		prepare_block(vcpu, l);
	memcpy(vcpu->regs.gpr, l->gpr, sizeof(l->gpr));
	assert_true(nested_enter(vcpu, &l->block));
	l->own = *svm_of(vcpu)->own;
}

static const struct bus_ops port_ops = {.write = vmrun};

static struct l2 *my_l2(void)
{
	return &l2[mine() - seat];
}

/* With an interrupt for L1 pending, which has its flag open from this next instruction on, VMRUN. */
static void inject_into_l2(struct l2 *l)
{
	l->block.control.event_inj = l->inject | SVM_EVENT_VALID;
	l->inject = 0;
	g_cli();
	apic_icr(0, APIC_DEST_SELF | APIC_LEVEL_ASSERT | PING);
	g_sti();
}

/* Run L2 until it says VMMCALL, as often as it exits for what L1 intercepts; interrupts are taken here. */
static void run_l2(void)
{
	struct l2 *l = my_l2();
	u64 code;

	do {
		g_out(VMRUN_PORT, 0, 1);
		memcpy(l->gpr, guest_self()->cpu->regs.gpr, sizeof(l->gpr));
		code = l->block.control.exit_code;
		G_CHECK(code < KINDS);
		l->exits[code]++;
		l->block.save.rip += l->skip[code];
		if (l->inject)
			inject_into_l2(l);
	} while (code != SVM_EXIT_VMMCALL);
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
	while (!vcpu(v)->guest_mode || accel_is_on(&vcpu(v)->accel))
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
	return model_nested_walk(HPA(root & PAGE_MASK), GPA(APIC_BASE_DEFAULT), MODEL_READ).ok;
}

/* A second VMCB without AVIC, a second root that does not lead to the page; the first ones as they were. */
static void expect_second(u32 v)
{
	const struct svm_vcpu *svm = svm_of(vcpu(v));
	const struct vmcb_control *control = &svm->vmcb->control;

	G_CHECK(svm->vmcb != svm->own);
	G_CHECK(!(control->int_ctl & (SVM_AVIC_ENABLE | SVM_X2AVIC_ENABLE)));
	G_CHECK_EQUAL(control->n_cr3, mmu_root_without_apic(harness_vm).v);
	G_CHECK(!reaches_page(control->n_cr3));
	G_CHECK(reaches_page(mmu_root(harness_vm).v));
	G_CHECK(!memcmp(&l2[v].own, svm->own, sizeof(l2[v].own)));
	G_CHECK(l2[v].own.control.asid != control->asid);
	G_CHECK_EQUAL(vcpu(v)->accel.local, INHIBIT_BIT(NESTED));
	G_CHECK(vcpu(v)->accel.without_page);
}

static void expect_first(u32 v)
{
	const struct svm_vcpu *svm = svm_of(vcpu(v));

	G_CHECK(svm->vmcb == svm->own);
	G_CHECK_EQUAL(svm->avic_bits, SVM_AVIC_ENABLE);
	G_CHECK_EQUAL(svm->root.v, mmu_root(harness_vm).v);
	G_CHECK_EQUAL(vcpu(v)->accel.local, 0);
}

static void halt(void)
{
	g_hlt();
}

/* Each to vCPU 1 takes it out of L2, and is taken in L1, which has acceleration then. */
static void exchange_with_l1(u32 rounds)
{
	u64 incomplete = exits(0, EXIT_IPI_INCOMPLETE), injected_2 = injected(2);
	u32 left = l2[1].exits[SVM_EXIT_INTR];

	for (u32 i = 0; i < rounds; i++) {
		await_l2(1);
		exchange(ALL, i & 1);
	}
	await_l2(1);
	G_CHECK_EQUAL(l2[1].exits[SVM_EXIT_INTR], left + rounds);
	G_CHECK(exits(0, EXIT_IPI_INCOMPLETE) >= incomplete + rounds);
	/* The others do not notice. */
	G_CHECK_EQUAL(injected(2), injected_2);
	G_CHECK(accel_is_on(&vcpu(0)->accel) && accel_is_on(&vcpu(2)->accel));
}

/* --- a run --- */

static u32 run_misc1;
static bool run_masking;

static void create_l2(void)
{
	memset(l2, 0, sizeof(l2));
	bus_register(&harness_vm->io, VMRUN_PORT, 1, &port_ops, NULL);
	for (u32 v = 0; v < VCPUS; v++) {
		l2[v].misc1 = run_misc1;
		l2[v].masking = run_masking;
		l2[v].skip[SVM_EXIT_HLT] = 1;
		l2[v].skip[SVM_EXIT_VMMCALL] = 3;
		guest_bind(l2_start(v), on_l2, (void *)(uintptr_t)v);
	}
}

static void prepare_run(u32 misc1, bool masking)
{
	run_misc1 = misc1;
	run_masking = masking;
	on_create = create_l2;
}

static void run_nested(void (*script)(void), u32 misc1, bool masking)
{
	prepare_run(misc1, masking);
	on_each((struct harness){0}, script);
}

#endif
