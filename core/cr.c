/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CR4 and CR8. APM volume 2, "CR4 Register", "Task Priority (CR8)"; SDM volume 2, "MOV - Move
 * to/from Control Registers".
 *
 * CR4 exits because what may be set depends on the features that the guest is shown: a feature that
 * the processor has and CPUID hides is reserved. And QEMU 7.2 lets a guest set any bit, and then
 * refuses to enter it (docs/emulators.md). Address-space changes flush: the processor would have
 * done so had it run the instruction.
 */
#include "core/cr.h"
#include "core/cpuid.h"
#include "core/vm.h"
#include "postern/backend.h"

#define CR3_PCID 0xfffull

/* Bits whose change invalidates cached translations. */
#define CR4_PAGING                                                                                 \
	(CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCIDE | CR4_LA57 | CR4_SMEP | CR4_SMAP | CR4_PKE)

static bool cr4_is_valid(struct vcpu *vcpu, const struct vcpu_state *state, u64 value)
{
	u64 changed = value ^ state->cr4;

	if (value & ~cpuid_guest_cr4_mask(vcpu))
		return false;
	if (state->efer & EFER_LMA && (!(value & CR4_PAE) || changed & CR4_LA57))
		return false;
	if (value & changed & CR4_PCIDE)
		return state->efer & EFER_LMA && !(state->cr3 & CR3_PCID);
	return true;
}

static bool write_cr4(struct vcpu *vcpu, u64 value)
{
	struct vcpu_state state;
	u64 changed;

	backend_op(get_state)(vcpu, &state);
	value = (value & ~vcpu->exit.cr.kept) | (state.cr4 & vcpu->exit.cr.kept);
	if (!cr4_is_valid(vcpu, &state, value))
		return false;
	changed = value ^ state.cr4;
	state.cr4 = value;
	backend_op(set_state)(vcpu, &state);
	vcpu->fetch_hint.cs_attr = 0;
	vcpu_forget_cpuid(vcpu);
	if (changed & CR4_PAGING)
		backend_op(flush)(vcpu);
	return true;
}

static bool write_cr8(struct vcpu *vcpu, u64 value)
{
	if (value > 0xf)
		return false;
	lapic_set_cr8(vcpu, (u8)value);
	vcpu->regs.cr8 = value;
	return true;
}

#define CR0_RESERVED (~0ull << 32)
#define CR0_PAGING   (CR0_PG | CR0_WP | CR0_CD | CR0_NW)

static bool cr0_is_valid(const struct vcpu_state *state, u64 value)
{
	bool code_64 = state->efer & EFER_LMA && state->seg[SEG_CS].attr & SEG_ATTR_L;
	u64 changed = value ^ state->cr0;

	if (value & CR0_RESERVED || (value & CR0_NW && !(value & CR0_CD)) ||
	    (value & CR0_PG && !(value & CR0_PE)))
		return false;
	if (!(changed & CR0_PG))
		return true;
	if (!(value & CR0_PG))
		return !code_64 && !(state->cr4 & CR4_PCIDE);
	return !(state->efer & EFER_LME) ||
	       (state->cr4 & CR4_PAE && !(state->seg[SEG_CS].attr & SEG_ATTR_L));
}

/* Exits on processors where some of its bits are the hypervisor's own. */
static bool write_cr0(struct vcpu *vcpu, u64 value)
{
	struct vcpu_state state;
	u64 changed;

	backend_op(get_state)(vcpu, &state);
	value = (value & ~vcpu->exit.cr.kept) | (state.cr0 & vcpu->exit.cr.kept);
	if (!cr0_is_valid(&state, value))
		return false;
	value |= CR0_ET;
	changed = value ^ state.cr0;
	state.cr0 = value;
	/* "Extended Feature Enable Register": LMA follows LME and paging. */
	if (changed & CR0_PG && state.efer & EFER_LME)
		state.efer ^= EFER_LMA;
	backend_op(set_state)(vcpu, &state);
	vcpu->fetch_hint.cs_attr = 0;
	if (changed & CR0_PAGING)
		backend_op(flush)(vcpu);
	return true;
}

bool cr_write(struct vcpu *vcpu, u32 reg, u64 value)
{
	switch (reg) {
	case 0:
		return write_cr0(vcpu, value);
	case 4:
		return write_cr4(vcpu, value);
	default:
		return write_cr8(vcpu, value);
	}
}
