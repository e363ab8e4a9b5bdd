/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory-type range registers: which there are, and what may be written. APM volume 2, "MTRRs"; SDM volume 3,
 * "MTRR Feature Identification", "Setting Memory Ranges with MTRRs": reserved bits and types are #GP, and so
 * are addresses beyond the width that CPUID gives. The extended types of fixed ranges (RdMem, WrMem) have to
 * be enabled in SYSCFG, which is not offered: these bits are reserved.
 */
#include "core/mtrr.h"
#include "core/cpuid.h"
#include "core/vm.h"
#include "x86/msr.h"

/* 8 variable ranges, fixed ones, and the type WC. */
#define MTRRCAP_VALUE (MTRR_VARIABLE | BIT64(8) | BIT64(10))

#define ADDRESS_SIZES  0x80000008u
#define BASE_RESERVED  0xf00ull
#define MASK_RESERVED  0x7ffull
#define DEFTYPE_FIELDS (MTRR_DEFTYPE_ENABLE | MTRR_DEFTYPE_FIXED | MTRR_TYPE)

/* Index of a fixed-range MTRR, -1 for another MSR. */
static int fixed_index(u32 msr)
{
	if (msr == MSR_MTRR_FIX64K)
		return 0;
	if (msr >= MSR_MTRR_FIX16K_80 && msr <= MSR_MTRR_FIX16K_A0)
		return 1 + (int)(msr - MSR_MTRR_FIX16K_80);
	if (msr >= MSR_MTRR_FIX4K_C0 && msr <= MSR_MTRR_FIX4K_F8)
		return 3 + (int)(msr - MSR_MTRR_FIX4K_C0);
	return -1;
}

static bool is_variable(u32 msr)
{
	return msr >= MSR_MTRR_PHYSBASE0 && msr <= MSR_MTRR_PHYSMASK7;
}

bool mtrr_is_msr(u32 msr)
{
	return msr == MSR_MTRRCAP || msr == MSR_MTRR_DEFTYPE || fixed_index(msr) >= 0 ||
	       is_variable(msr);
}

static u64 *slot(struct vcpu *vcpu, u32 msr)
{
	struct mtrrs *mtrrs = &vcpu->msrs.mtrr;
	u32 n = (msr - MSR_MTRR_PHYSBASE0) / 2;

	if (msr == MSR_MTRR_DEFTYPE)
		return &mtrrs->deftype;
	if (is_variable(msr))
		return msr & 1 ? &mtrrs->mask[n] : &mtrrs->base[n];
	return &mtrrs->fixed[fixed_index(msr)];
}

bool mtrr_read(struct vcpu *vcpu, u32 msr, u64 *value)
{
	*value = msr == MSR_MTRRCAP ? MTRRCAP_VALUE : *slot(vcpu, msr);
	return true;
}

static u64 address_reserved(struct vcpu *vcpu)
{
	struct cpuid_regs r;
	u32 width;

	cpuid_guest(vcpu, ADDRESS_SIZES, 0, &r);
	width = r.eax & 0xff;
	return width < 64 ? ~((1ull << width) - 1) : 0;
}

static bool fixed_is_valid(u64 value)
{
	for (u32 i = 0; i < 8; i++)
		if (!memory_type_is_valid(value >> i * 8 & MTRR_TYPE))
			return false;
	return true;
}

static bool is_valid(struct vcpu *vcpu, u32 msr, u64 value)
{
	if (msr == MSR_MTRR_DEFTYPE)
		return !(value & ~DEFTYPE_FIELDS) && memory_type_is_valid(value & MTRR_TYPE);
	if (!is_variable(msr))
		return fixed_is_valid(value);
	if (value & address_reserved(vcpu))
		return false;
	if (msr & 1)
		return !(value & MASK_RESERVED);
	return !(value & BASE_RESERVED) && memory_type_is_valid(value & MTRR_TYPE);
}

bool mtrr_write(struct vcpu *vcpu, u32 msr, u64 value)
{
	u64 *stored = msr == MSR_MTRRCAP ? NULL : slot(vcpu, msr);

	if (stored && *stored == value)
		return true;
	if (!stored || !is_valid(vcpu, msr, value))
		return false;
	*stored = value;
	memory_type_mtrrs_changed(vcpu);
	return true;
}
