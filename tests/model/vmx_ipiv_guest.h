/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest whose IPIs are virtualized, by hand: what tests/model/vmx_ipiv_test.c and vmx_posting_test.c have in common.
 * See vmx_apic_guest.h. There are three processors, and a descriptor for each.
 */
#ifndef TESTS_MODEL_VMX_IPIV_GUEST_H
#define TESTS_MODEL_VMX_IPIV_GUEST_H

#define VMX_CPUS 3
#include "tests/model/vmx_apic_guest.h"

#define TARGETS     VMX_CPUS
#define NV(cpu)     ((u8)(CPU_VECTOR_KICK + (cpu)))
#define MEMORY_MODE (ACCESS | REGISTER | VID)
#define MSR_MODE    (X2APIC | REGISTER | VID)

static struct atomic64 *table;
static struct pi_desc
        *descs; /* of APIC IDs 0 to TARGETS - 1, each on the processor of this number */
static bool by_msr;

static inline void add_ipiv(void)
{
	table = vmx_page();
	descs = vmx_page();
	for (u32 i = 0; i < TARGETS; i++) {
		descs[i].control.v = PI_TO(NV(i), i);
		table[i].v = vmx_hpa(&descs[i]) | PI_ENTRY_VALID;
	}
	vmx_write(VMCS_PI_TABLE, vmx_hpa(table));
	vmx_write(VMCS_LAST_PI_INDEX, TARGETS - 1);
	vmx_write(VMCS_TERTIARY, VMX_PROC3_IPIV);
	vmx_change(VMCS_PRIMARY, 0, VMX_PROC_TERTIARY);
}

/* The guest's first instruction is behind it. */
static inline void create_ipiv(u32 controls)
{
	create(controls);
	add_ipiv();
	by_msr = controls & X2APIC;
	to_hlt();
}

static inline void add_posted(u32 own)
{
	vmx_write(VMCS_PI_VECTOR, NV(own));
	vmx_write(VMCS_PI_DESC, vmx_hpa(&descs[own]));
	vmx_change(VMCS_SECONDARY, 0, VID);
	vmx_change(VMCS_EXIT_CONTROLS, 0, VMX_EXIT_CTL_ACK_INTR);
	vmx_change(VMCS_PIN, 0, VMX_PIN_POSTED);
}

static inline struct model_cpu *cpu(u32 i)
{
	return &model()->cpu[i];
}

/* --- one IPI --- */

static inline void begin_ipi(u32 dest, u32 icr)
{
	if (by_msr) {
		begin(WRMSR, MSR(APIC_ICR), 0, (u64)dest << 32 | icr);
	} else {
		*apic(APIC_ICR2) = dest << 24;
		begin(WRITE, APIC + APIC_ICR, 4, icr);
	}
}

static inline u32 stored_dest(void)
{
	return by_msr ? *apic(APIC_ICR + 4) : *apic(APIC_ICR2) >> 24;
}

/* Bits in all descriptors. */
static inline u32 posted_count(void)
{
	u32 count = 0;

	for (u32 i = 0; i < TARGETS; i++)
		for (u32 word = 0; word < ARRAY_SIZE(descs[i].pir); word++)
			count += (u32)__builtin_popcountll(descs[i].pir[word].v);
	return count;
}

static inline bool is_posted(u32 target, u8 vector)
{
	return descs[target].pir[vector / 64].v >> vector % 64 & 1;
}

/* The processor and the vector of the one notification that is pending. 0: there is none. */
#define NOTE(cpu, vector) ((u32)((cpu) + 1) << 8 | (vector))
static inline u32 pending_note(void)
{
	u32 note = 0;

	for (u32 i = 0; i < TARGETS; i++) {
		int vector = model_apic_pending(cpu(i));

		if (vector >= 0) {
			assert_int_equal(note, 0);
			note = NOTE(i, (u32)vector);
			cpu(i)->irr[vector / 64].v &= ~BIT64(vector % 64);
			assert_int_equal(model_apic_pending(cpu(i)), -1);
		}
	}
	return note;
}

static inline void forget(void)
{
	for (u32 i = 0; i < TARGETS; i++) {
		memset(descs[i].pir, 0, sizeof(descs[i].pir));
		descs[i].control.v &= ~PI_ON;
	}
	pending_note();
	*apic(APIC_ICR) = *apic(APIC_ICR + 4) = *apic(APIC_ICR2) = 0;
}

/* Without an exit, into the descriptor of `target`; `note`: who has been told. */
static inline void expect_sent(u32 dest, u32 icr, u32 target, u32 note)
{
	begin_ipi(dest, icr);
	to_hlt();
	assert_int_equal(op.fault, 0);
	assert_int_equal(posted_count(), 1);
	assert_true(is_posted(target, (u8)icr));
	assert_int_equal(*apic(APIC_ICR), icr);
	assert_int_equal(stored_dest(), dest);
	assert_int_equal(pending_note(), note);
}

/* An APIC-write exit behind the instruction: ICR is stored, nobody has anything, and the guest goes on. */
static inline void expect_left(u32 dest, u32 icr)
{
	u64 at = rip();

	begin_ipi(dest, icr);
	expect(VMX_EXIT_APIC_WRITE, APIC_ICR);
	/* The script's engine sees by RIP alone what the assist has executed, at the next entry. */
	assert_true(vmx_assisted || guest_engine()->guest[0].insn->done);
	assert_int_equal(rip(), at + guest_engine()->guest[0].insn->length);
	assert_int_equal(*apic(APIC_ICR), icr);
	assert_int_equal(stored_dest(), dest);
	assert_int_equal(posted_count(), 0);
	assert_int_equal(pending_note(), 0);
	at = rip();
	to_hlt();
	/* The next instruction was executed, and it alone. */
	assert_int_equal(rip(), at + vmx_read(VMCS_EXIT_LENGTH));
	assert_int_equal(handled, 0);
}

static inline void expect_self(u32 dest, u32 icr)
{
	begin_ipi(dest, icr);
	to_hlt();
	assert_int_equal(posted_count(), 0);
	assert_int_equal(pending_note(), 0);
	assert_int_equal(status(), VMX_INTR_STATUS((u8)icr, 0));
	assert_true(is_set(APIC_IRR, (u8)icr));
	vmx_write(VMCS_GUEST_INTR_STATUS, 0);
	*of_vector(APIC_IRR, (u8)icr) = 0;
}

#endif
