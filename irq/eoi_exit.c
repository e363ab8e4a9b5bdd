/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The EOI-exit bitmap. What it must contain and why it may be asked lazily is in eoi_exit.h.
 *
 * A message is sent by an entry as it was at that moment, and the bitmap may be computed only after
 * the entry has been rewritten:
 *
 *      CPU A                                 CPU B: the vCPU
 *      entry: vector 50h, level, to B
 *      line rises: IRR[50h], TMR[50h]
 *      entry: vector 60h, to C
 *                                            enters: computes. No entry says 50h
 *                                            takes 50h, ends it
 *
 * So the vCPU's own registers are asked too. IRR and TMR tell a level that waits or is in service;
 * they are the owner's to look at, since only he moves bits from IRR to ISR.
 */
#include "irq/eoi_exit.h"

#include "core/vm.h"
#include "irq/lapic_priv.h"

static bool test(const u64 set[EOI_EXIT_WORDS], u8 vector)
{
	return set[vector / 64] & BIT64(vector % 64);
}

static void add(u64 set[EOI_EXIT_WORDS], u8 vector)
{
	set[vector / 64] |= BIT64(vector % 64);
}

/* 64 bits of IRR, ISR or TMR. */
static u64 vectors(const struct lapic *lapic, u32 reg, u32 i)
{
	u64 low = atomic32_read_acquire(lapic_word(lapic, reg + 2 * i * LAPIC_STRIDE));
	u64 high = atomic32_read_acquire(lapic_word(lapic, reg + (2 * i + 1) * LAPIC_STRIDE));

	return low | high << 32;
}

/* What entries, routes and the vCPU's own LVT0 say now. */
static void add_routes(struct vcpu *vcpu, u64 set[EOI_EXIT_WORDS])
{
	u32 lvt0 = lapic_get(&vcpu->lapic, APIC_LVT0);

	ioapic_watched_vectors(vcpu, irq_notify_pins(vcpu->vm), set);
	route_level_vectors(vcpu, set);
	if ((lvt0 & APIC_LVT_LEVEL) && (lvt0 & APIC_DM_MASK) == APIC_DM_FIXED)
		add(set, (u8)lvt0);
	for (u32 i = 0; i < EOI_EXIT_WORDS; i++)
		set[i] |= atomic64_read(&vcpu->vm->eoi_exit.level_msi[i]);
}

static void compute(struct vcpu *vcpu)
{
	struct eoi_exit_vcpu *own = &vcpu->eoi_exit;
	u64 fresh[EOI_EXIT_WORDS] = {0};

	own->has_stale = false;
	if (vcpu->lapic.by & LAPIC_BY_OWNER)
		lapic_harvest(&vcpu->lapic);
	add_routes(vcpu, fresh);
	for (u32 i = 0; i < EOI_EXIT_WORDS; i++) {
		u64 held = vectors(&vcpu->lapic, APIC_IRR, i) | vectors(&vcpu->lapic, APIC_ISR, i);
		u64 level = vectors(&vcpu->lapic, APIC_TMR, i);

		own->stale[i] = held & (level | own->bitmap[i]) & ~fresh[i];
		own->bitmap[i] = fresh[i] | own->stale[i];
		own->has_stale |= own->stale[i] != 0;
	}
	own->valid = true;
}

void eoi_exit_bitmap(struct vcpu *vcpu, u64 out[EOI_EXIT_WORDS])
{
	struct eoi_exit_vcpu *own = &vcpu->eoi_exit;
	/* Before the look: a change that comes during it is for the next time. */
	u32 generation = atomic32_read(&vcpu->vm->eoi_exit.generation);

	if (!own->valid || own->generation != generation) {
		compute(vcpu);
		own->generation = generation;
	}
	for (u32 i = 0; i < EOI_EXIT_WORDS; i++)
		out[i] = own->bitmap[i];
}

void eoi_exit_require(struct vm *vm)
{
	atomic32_set(&vm->eoi_exit.required, 1);
	eoi_exit_changed(vm);
}

void eoi_exit_changed(struct vm *vm)
{
	struct vcpu *vcpu;

	atomic32_fetch_add(&vm->eoi_exit.generation, 1);
	if (!atomic32_read(&vm->eoi_exit.required))
		return;
	for_each_vcpu (vcpu, vm)
		vcpu_request_quietly(vcpu, VCPU_REQUEST_EOI_EXIT);
}

void eoi_exit_note_level_msi(struct vm *vm, u8 vector)
{
	struct atomic64 *word = &vm->eoi_exit.level_msi[vector / 64];
	u64 bit = BIT64(vector % 64);

	if (atomic64_read_relaxed(word) & bit)
		return;
	atomic64_fetch_or(word, bit);
	eoi_exit_changed(vm);
}

void eoi_exit_local_changed(struct vcpu *vcpu)
{
	vcpu->eoi_exit.valid = false;
	if (atomic32_read_relaxed(&vcpu->vm->eoi_exit.required))
		vcpu_request_quietly(vcpu, VCPU_REQUEST_EOI_EXIT);
}

void eoi_exit_ended(struct vcpu *vcpu, u8 vector)
{
	struct eoi_exit_vcpu *own = &vcpu->eoi_exit;

	if (own->has_stale && test(own->stale, vector))
		eoi_exit_local_changed(vcpu);
}
