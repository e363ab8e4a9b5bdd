/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest's CPUID: the physical processor's, less what Postern does not virtualise, plus the
 * hypervisor leaves with KVM's signature, and Hyper-V's (core/hv.c). AMD APM volume 3, "Obtaining Processor Information Via
 * the CPUID Instruction"; SDM volume 2, "CPUID - CPU Identification"; Linux Documentation/virt/kvm/x86/cpuid.rst.
 *
 * Topology: one package, one thread per core, as many cores as vCPUs. So the package's ID is what is
 * left of an APIC ID without as many bits as the largest one has, as far as the fields allow.
 */
#include "core/machine.h"
#include "core/cpuid.h"
#include "core/hv.h"
#include "host/host.h"
#include "x86/msr.h"

#define MAX_BASIC       0x0000000du
#define MAX_EXTENDED    0x80000008u
#define HYPERVISOR_BASE 0x40000000u

/* Leaf 1 ECX: hidden or decided elsewhere. */
#define ECX1_MONITOR BIT(3)
#define ECX1_HIDDEN                                                                                \
	(BIT(2) | ECX1_MONITOR | BIT(4) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(11) | BIT(15) |  \
	 BIT(18))
#define ECX1_X2APIC     BIT(21)
#define ECX1_DEADLINE   BIT(24)
#define ECX1_XSAVE      BIT(26)
#define ECX1_OSXSAVE    BIT(27)
#define ECX1_AVX        (BIT(12) | BIT(28) | BIT(29)) /* FMA, AVX, F16C */
#define ECX1_HYPERVISOR BIT(31)
/* Leaf 1 EDX: thermal, debug store and the like are not there. Machine check is, without banks. */
#define EDX1_APIC   BIT(9)
#define EDX1_HTT    BIT(28)
#define EDX1_HIDDEN (BIT(18) | BIT(21) | BIT(22) | BIT(29) | BIT(30) | BIT(31))

/* Leaf 7 subleaf 0: what needs no state beyond AVX and no MSR of its own. */
#define EBX7_KEPT                                                                                  \
	(BIT(0) | BIT(3) | BIT(5) | BIT(7) | BIT(8) | BIT(9) | BIT(10) | BIT(18) | BIT(19) |       \
	 BIT(20) | BIT(23) | BIT(24) | BIT(29))
#define EBX7_AVX  BIT(5)
#define ECX7_KEPT (BIT(2) | BIT(8) | BIT(9) | BIT(10) | BIT(22))
#define ECX7_AVX  (BIT(9) | BIT(10))
#define EDX7_KEPT BIT(4)

/* Leaf 8000_0001. */
#define ECX81_HIDDEN                                                                               \
	(BIT(2) | BIT(3) | BIT(9) | BIT(10) | BIT(12) | BIT(13) | BIT(15) | BIT(19) | BIT(22) |    \
	 BIT(23) | BIT(24) | BIT(26) | BIT(27) | BIT(28) | BIT(29))
#define ECX81_CMP_LEGACY BIT(1)

#define CPUID_APM_INVARIANT_TSC BIT(8)

#define XSAVE_LEGACY_SIZE 576u

/* Bits needed to number `n` cores. */
static u32 id_bits(u32 n)
{
	return n > 1 ? 32 - (u32)__builtin_clz(n - 1) : 0;
}

/* Bits of an APIC ID that name the core; the field that tells them takes `most` at most. */
static u32 core_id_bits(const struct vm *vm, u32 most)
{
	u32 bits = id_bits((u32)min_u64(vm_largest_apic_id(vm), ~0u - 1) + 1);

	return bits < most ? bits : most;
}

static u32 xsave_size(u64 xcr0, u32 full)
{
	return xcr0 & XCR0_AVX ? full : XSAVE_LEGACY_SIZE;
}

static void leaf_1(struct vcpu *vcpu, struct cpuid_regs *r)
{
	const struct vm *vm = vcpu->vm;
	struct vcpu_state state;
	u64 base;

	r->ebx = (r->ebx & 0xff00) | vm->vcpu_count << 16 | vcpu->apic_id << 24;
	r->ecx &= ~(ECX1_HIDDEN | ECX1_X2APIC | ECX1_DEADLINE | ECX1_OSXSAVE);
	if (!(vm->machine->xcr0_supported & XCR0_AVX))
		r->ecx &= ~ECX1_AVX;
	if (!vm->machine->xcr0_supported)
		r->ecx &= ~ECX1_XSAVE;
	r->ecx |= ECX1_HYPERVISOR;
	if (vm->config.x2apic)
		r->ecx |= ECX1_X2APIC;
	if (vm->config.tsc_deadline)
		r->ecx |= ECX1_DEADLINE;
	backend_op(get_state)(vcpu, &state);
	if (state.cr4 & CR4_OSXSAVE)
		r->ecx |= ECX1_OSXSAVE;
	r->edx &= ~(EDX1_HIDDEN | EDX1_HTT | EDX1_APIC);
	base = atomic64_read_relaxed(&vcpu->lapic.base);
	if (base & APIC_BASE_EN)
		r->edx |= EDX1_APIC;
	if (vm->vcpu_count > 1)
		r->edx |= EDX1_HTT;
}

static bool is_intel(const struct vcpu *vcpu)
{
	return vcpu->vm->machine->backend->signature == BACKEND_INTEL;
}

/*
 * SDM volume 2, "Deterministic Cache Parameters Leaf": a cache of each subleaf. AMD's has none. Those of level 3
 * and beyond are the package's, the others a core's.
 */
static void leaf_4(struct vcpu *vcpu, struct cpuid_regs *r)
{
	u32 cores = BIT(core_id_bits(vcpu->vm, 6)) - 1;
	u32 level = r->eax >> 5 & 7;

	if (!is_intel(vcpu) || !(r->eax & 0x1f)) {
		*r = (struct cpuid_regs){0};
		return;
	}
	r->eax = (r->eax & 0x3fff) | cores << 26 | (level >= 3 ? cores << 14 : 0);
}

static void leaf_7(struct vcpu *vcpu, u32 subleaf, struct cpuid_regs *r)
{
	bool avx = vcpu->vm->machine->xcr0_supported & XCR0_AVX;

	if (subleaf) {
		*r = (struct cpuid_regs){0};
		return;
	}
	r->eax = 0;
	r->ebx &= EBX7_KEPT & (avx ? ~0u : ~EBX7_AVX);
	r->ecx &= ECX7_KEPT & (avx ? ~0u : ~ECX7_AVX);
	r->edx &= EDX7_KEPT;
}

/* x2APIC topology: level 0 threads (one), level 1 cores. */
static void leaf_b(struct vcpu *vcpu, u32 subleaf, struct cpuid_regs *r)
{
	*r = (struct cpuid_regs){.ecx = subleaf & 0xff, .edx = vcpu->apic_id};
	if (subleaf == 0) {
		r->ebx = 1;
		r->ecx |= 1 << 8;
	} else if (subleaf == 1) {
		r->eax = core_id_bits(vcpu->vm, 31);
		r->ebx = vcpu->vm->vcpu_count;
		r->ecx |= 2 << 8;
	}
}

static void leaf_d(struct vcpu *vcpu, u32 subleaf, struct cpuid_regs *r)
{
	struct machine *machine = vcpu->vm->machine;
	struct cpuid_regs physical = *r;

	*r = (struct cpuid_regs){0};
	if (!machine->xcr0_supported)
		return;
	if (subleaf == 0) {
		r->eax = (u32)machine->xcr0_supported;
		r->ebx = xsave_size(host_guest_xcr0(vcpu), machine->fpu_size);
		r->ecx = xsave_size(machine->xcr0_supported, machine->fpu_size);
	} else if (subleaf == 1) {
		/* XSAVEOPT, XSAVEC, XGETBV with ECX=1; no XSAVES. With AVX compaction saves
		 * nothing. */
		r->eax = physical.eax & 7;
		r->ebx = xsave_size(host_guest_xcr0(vcpu), machine->fpu_size);
	} else if (subleaf == 2 && machine->xcr0_supported & XCR0_AVX) {
		*r = physical;
	}
}

/* `base`: where these leaves begin. */
static void leaf_kvm(struct vcpu *vcpu, u32 base, u32 leaf, struct cpuid_regs *r)
{
	*r = (struct cpuid_regs){0};
	leaf -= base;
	if (leaf == KVM_CPUID_SIGNATURE) {
		r->eax = base + KVM_CPUID_FEATURES;
		r->ebx = 0x4b4d564b; /* "KVMKVMKVM\0\0\0" */
		r->ecx = 0x564b4d56;
		r->edx = 0x4d;
	} else if (leaf == KVM_CPUID_FEATURES) {
		if (vcpu->vm->config.kvm_clock)
			r->eax =
			        BIT(KVM_FEATURE_CLOCKSOURCE2) | BIT(KVM_FEATURE_CLOCKSOURCE_STABLE);
		if (vcpu->vm->large_ids)
			r->eax |= BIT(KVM_FEATURE_MSI_EXT_DEST_ID);
	}
}

/*
 * Hyper-V's leaves are where its guests look for them; KVM's guests look at every 100h, and find the
 * clock behind them, if there is one to be found.
 */
static void leaf_hypervisor(struct vcpu *vcpu, u32 leaf, struct cpuid_regs *r)
{
	*r = (struct cpuid_regs){0};
	if (!vcpu->hv)
		leaf_kvm(vcpu, HYPERVISOR_BASE, leaf, r);
	else if (leaf < HYPERVISOR_BASE + HV_CPUID_LEAVES)
		hv_cpuid(vcpu, leaf, r);
	else if (vcpu->vm->config.kvm_clock)
		leaf_kvm(vcpu, HYPERVISOR_BASE + HV_CPUID_LEAVES, leaf, r);
}

static void leaf_extended(struct vcpu *vcpu, u32 leaf, struct cpuid_regs *r)
{
	u32 cores = vcpu->vm->vcpu_count;

	switch (leaf) {
	case 0x80000000:
		r->eax = r->eax < MAX_EXTENDED ? r->eax : MAX_EXTENDED;
		break;
	case 0x80000001:
		r->ecx &= ~(ECX81_HIDDEN | ECX81_CMP_LEGACY);
		if (cores > 1 && !is_intel(vcpu))
			r->ecx |= ECX81_CMP_LEGACY;
		r->edx &= ~EDX1_APIC;
		if (atomic64_read_relaxed(&vcpu->lapic.base) & APIC_BASE_EN)
			r->edx |= EDX1_APIC;
		break;
	case 0x80000007:
		*r = (struct cpuid_regs){.edx = r->edx & CPUID_APM_INVARIANT_TSC};
		break;
	case 0x80000008:
		/* Address sizes are the processor's; AMD: number of cores and width of the core's ID. */
		*r = (struct cpuid_regs){.eax = r->eax & 0xffff};
		if (!is_intel(vcpu))
			r->ecx = (cores - 1) | core_id_bits(vcpu->vm, 15) << 12;
		break;
	default: /* names and caches, 8000_0002 .. 8000_0006 */
		break;
	}
}

static void leaf_basic(struct vcpu *vcpu, u32 leaf, u32 subleaf, struct cpuid_regs *r)
{
	switch (leaf) {
	case 0:
		r->eax = r->eax < MAX_BASIC ? r->eax : MAX_BASIC;
		break;
	case 1:
		leaf_1(vcpu, r);
		break;
	case 2:
		break;
	case 4:
		leaf_4(vcpu, r);
		break;
	case 6: /* ARAT: the local APIC timer never stops */
		*r = (struct cpuid_regs){.eax = BIT(2)};
		break;
	case 7:
		leaf_7(vcpu, subleaf, r);
		break;
	case 0xb:
		leaf_b(vcpu, subleaf, r);
		break;
	case 0xd:
		leaf_d(vcpu, subleaf, r);
		break;
	default:
		*r = (struct cpuid_regs){0};
		break;
	}
}

/* Leaf Dh depends on XCR0, which may change without an exit. */
static void remember(struct vcpu *vcpu, u32 leaf, u32 subleaf, const struct cpuid_regs *r)
{
	struct cpuid_answer *answer = cpuid_slot(vcpu, leaf);

	if (leaf != 0xd)
		*answer = (struct cpuid_answer){leaf, subleaf, *r};
}

void cpuid_guest(struct vcpu *vcpu, u32 leaf, u32 subleaf, struct cpuid_regs *r)
{
	if (leaf >= HYPERVISOR_BASE && leaf < HYPERVISOR_BASE + 0x10000) {
		leaf_hypervisor(vcpu, leaf, r);
	} else if (leaf <= MAX_BASIC) {
		host_cpuid(leaf, subleaf, r);
		leaf_basic(vcpu, leaf, subleaf, r);
	} else if (leaf >= 0x80000000 && leaf <= MAX_EXTENDED) {
		host_cpuid(leaf, subleaf, r);
		leaf_extended(vcpu, leaf, r);
	} else {
		/* APM: undefined functions return zero (Intel returns the highest basic leaf). */
		*r = (struct cpuid_regs){0};
	}
	remember(vcpu, leaf, subleaf, r);
}

enum cpuid_reg {
	EBX,
	ECX,
	EDX
};

static const struct {
	u32 leaf;
	enum cpuid_reg reg;
	u32 bit;
	u64 allows;
} cr4_features[] = {
        {1, EDX, 1, CR4_VME | CR4_PVI}, {1, EDX, 2, CR4_DE},       {1, EDX, 3, CR4_PSE},
        {1, EDX, 4, CR4_TSD},           {1, EDX, 6, CR4_PAE},      {1, EDX, 7, CR4_MCE},
        {1, EDX, 13, CR4_PGE},          {1, EDX, 24, CR4_OSFXSR},  {1, EDX, 25, CR4_OSXMMEXCPT},
        {1, ECX, 17, CR4_PCIDE},        {1, ECX, 26, CR4_OSXSAVE}, {7, EBX, 0, CR4_FSGSBASE},
        {7, EBX, 7, CR4_SMEP},          {7, EBX, 20, CR4_SMAP},    {7, ECX, 2, CR4_UMIP},
        {7, ECX, 3, CR4_PKE},           {7, ECX, 16, CR4_LA57},
};

u64 cpuid_guest_cr4_mask(struct vcpu *vcpu)
{
	struct cpuid_regs leaf_1_regs, leaf_7_regs;
	u64 mask = CR4_PCE;

	cpuid_guest(vcpu, 1, 0, &leaf_1_regs);
	cpuid_guest(vcpu, 7, 0, &leaf_7_regs);
	for (u32 i = 0; i < ARRAY_SIZE(cr4_features); i++) {
		const struct cpuid_regs *r =
		        cr4_features[i].leaf == 1 ? &leaf_1_regs : &leaf_7_regs;
		const u32 value[] = {[EBX] = r->ebx, [ECX] = r->ecx, [EDX] = r->edx};

		if (value[cr4_features[i].reg] & BIT(cr4_features[i].bit))
			mask |= cr4_features[i].allows;
	}
	return mask;
}

u64 cpuid_guest_efer_mask(struct vcpu *vcpu __unused)
{
	u64 mask = EFER_SCE | EFER_LME | EFER_LMA;

	if (host_has_edx(0x80000001, 20))
		mask |= EFER_NXE;
	if (host_has_edx(0x80000001, 25))
		mask |= EFER_FFXSR;
	return mask;
}
