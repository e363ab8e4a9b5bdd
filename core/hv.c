/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the interface "Hv#1" shows and keeps. The rules (TLFS "Feature and Interface Discovery",
 * "Virtual Interrupt Control", "Reporting the Guest OS Identity", "Establishing the Hypercall
 * Interface"):
 *
 *  - Every MSR that a privilege of leaf 4000_0003h announces is there; all others are #GP.
 *  - The hypercall page needs a guest OS identity: without it Enable stays 0, and goes with it. Locked,
 *    the MSR does not change any more. A page where there is no memory is #GP.
 *  - RsvdP bits are kept as written; an RsvdZ bit that is set is #GP.
 *  - EOI, ICR and TPR are the local APIC's, in either mode. With hardware delivery they would only cost
 *    exits, and are not recommended.
 *  - Pages are the guest's own memory: they are not laid over it, so what was there is gone.
 *  - The VP assist page's "No EOI Required" is never set.
 */
#include "core/hv.h"

#include "core/hv_time.h"
#include "core/machine.h"
#include "postern/port.h"
#include "postern/string.h"
#include "x86/apic.h"
#include "x86/msr.h"

#define LIMIT_NOT_TOLD 0
#define RET            0xc3

/* ---- CPUID ---- */

static void cpuid_features(struct cpuid_regs *r)
{
	r->eax = HV_ACCESS_VP_RUNTIME | HV_ACCESS_REF_COUNTER | HV_ACCESS_SYNIC | HV_ACCESS_STIMER |
	         HV_ACCESS_APIC | HV_ACCESS_HYPERCALL | HV_ACCESS_VP_INDEX | HV_ACCESS_RESET |
	         HV_ACCESS_REF_TSC | HV_ACCESS_FREQUENCY;
	r->ebx = HV_ACCESS_POST_MESSAGES | HV_ACCESS_SIGNAL_EVENTS;
	r->edx = HV_FEATURE_FREQUENCY | HV_FEATURE_SINT_POLLING | HV_FEATURE_HYPERCALL_LOCK |
	         HV_FEATURE_DIRECT_STIMER;
}

static void cpuid_recommendations(const struct vm *vm, struct cpuid_regs *r)
{
	r->eax = HV_RECOMMEND_RELAXED;
	if (!vm->accel.modes)
		r->eax |= HV_RECOMMEND_APIC_MSRS;
	if (!vm->config.hv_autoeoi)
		r->eax |= HV_RECOMMEND_NO_AUTO_EOI;
	r->ebx = HV_RECOMMEND_NEVER_NOTIFY;
}

void hv_cpuid(struct vcpu *vcpu, u32 leaf, struct cpuid_regs *r)
{
	switch (leaf) {
	case HV_CPUID_VENDOR:
		*r = (struct cpuid_regs){HV_CPUID_LIMITS, HV_VENDOR_EBX, HV_VENDOR_ECX,
		                         HV_VENDOR_EDX};
		break;
	case HV_CPUID_INTERFACE:
		r->eax = HV_INTERFACE;
		break;
	case HV_CPUID_FEATURES:
		cpuid_features(r);
		break;
	case HV_CPUID_RECOMMENDATIONS:
		cpuid_recommendations(vcpu->vm, r);
		break;
	case HV_CPUID_LIMITS:
		r->eax = MAX_VCPUS;
		r->ebx = LIMIT_NOT_TOLD; /* logical processors */
		break;
	default: /* HV_CPUID_VERSION: of a product that this is not */
		break;
	}
}

/* ---- the partition's MSRs ---- */

static void write_guest_os_id(struct vm *vm, u64 value)
{
	struct hv_vm *hv = &vm->hv;

	spin_lock(&hv->lock);
	hv->guest_os_id = value;
	if (!value)
		atomic64_fetch_and(&hv->hypercall, ~HV_PAGE_ENABLE);
	spin_unlock(&hv->lock);
}

/* The hypercall instruction and a near return, and nothing else. */
static bool fill_hypercall_page(struct vm *vm, u64 value)
{
	const u8 *insn = vm->machine->backend->hypercall;
	u8 *page = vm_memory(vm, GPA(value & PAGE_MASK), PAGE_SIZE);

	if (!page)
		return false;
	memset(page, 0, PAGE_SIZE);
	memcpy(page, insn, sizeof(vm->machine->backend->hypercall));
	page[sizeof(vm->machine->backend->hypercall)] = RET;
	return true;
}

static bool write_hypercall(struct vm *vm, u64 value)
{
	struct hv_vm *hv = &vm->hv;
	bool ok = true;

	spin_lock(&hv->lock);
	if (!hv->guest_os_id)
		value &= ~HV_PAGE_ENABLE;
	if (!(atomic64_read(&hv->hypercall) & HV_HYPERCALL_LOCKED)) {
		ok = !(value & HV_PAGE_ENABLE) || fill_hypercall_page(vm, value);
		if (ok)
			atomic64_set(&hv->hypercall, value);
	}
	spin_unlock(&hv->lock);
	return ok;
}

static bool write_reset(struct vm *vm, u64 value)
{
	if (value & ~1ull)
		return false;
	if (value)
		vm_end(vm, ENDED_RESET, 0);
	return true;
}

static u64 runtime(struct vcpu *vcpu)
{
	u64 ns = counter_read(&vcpu->account.counters[COUNTER_RUN_NS]);

	return (ns + timer_tsc_to_ns(port_tsc() - vcpu->state_since)) / HV_TIME_NS;
}

/* ---- the local APIC's ---- */

static bool read_apic(struct vcpu *vcpu, u32 offset, u64 *value)
{
	gpa_t base;

	if (lapic_is_x2apic(vcpu))
		return lapic_msr_read(vcpu, MSR_X2APIC_FIRST + offset / 16, value);
	if (!lapic_xapic_base(vcpu, &base))
		return false;
	*value = lapic_mmio_read(vcpu, offset, sizeof(u32));
	if (offset == APIC_ICR)
		*value |= lapic_mmio_read(vcpu, APIC_ICR2, sizeof(u32)) << 32;
	return true;
}

static bool write_apic(struct vcpu *vcpu, u32 offset, u64 value)
{
	gpa_t base;

	if (lapic_is_x2apic(vcpu))
		return lapic_msr_write(vcpu, MSR_X2APIC_FIRST + offset / 16, value);
	if (!lapic_xapic_base(vcpu, &base))
		return false;
	if (offset == APIC_ICR)
		lapic_mmio_write(vcpu, APIC_ICR2, sizeof(u32), value >> 32);
	lapic_mmio_write(vcpu, offset, sizeof(u32), (u32)value);
	return true;
}

/* ---- RDMSR, WRMSR ---- */

bool hv_is_msr(struct vcpu *vcpu, u32 msr)
{
	return vcpu->hv && msr >= MSR_HV_FIRST && msr <= MSR_HV_LAST;
}

static bool read_of_vm(struct vcpu *vcpu, u32 msr, u64 *value)
{
	const struct hv_vm *hv = &vcpu->vm->hv;

	switch (msr) {
	case MSR_HV_GUEST_OS_ID:
		*value = hv->guest_os_id;
		return true;
	case MSR_HV_HYPERCALL:
		*value = atomic64_read(&hv->hypercall);
		return true;
	case MSR_HV_RESET:
		*value = 0;
		return true;
	case MSR_HV_TIME_REF:
		*value = hv_time_now(vcpu->vm);
		return true;
	case MSR_HV_REFERENCE_TSC:
		*value = hv->reference_tsc;
		return true;
	case MSR_HV_TSC_FREQUENCY:
		*value = port_tsc_khz() * 1000;
		return true;
	case MSR_HV_APIC_FREQ:
		*value = LAPIC_TIMER_HZ;
		return true;
	default:
		return false;
	}
}

bool hv_msr_read(struct vcpu *vcpu, u32 msr, u64 *value)
{
	switch (msr) {
	case MSR_HV_VP_INDEX:
		*value = vcpu->index;
		return true;
	case MSR_HV_VP_RUNTIME:
		*value = runtime(vcpu);
		return true;
	case MSR_HV_ICR:
		return read_apic(vcpu, APIC_ICR, value);
	case MSR_HV_TPR:
		return read_apic(vcpu, APIC_TPR, value);
	case MSR_HV_VP_ASSIST:
		*value = vcpu->hv->assist;
		return true;
	case MSR_HV_SCONTROL ... MSR_HV_EOM:
	case MSR_HV_SINT0 ... MSR_HV_SINT15:
		return synic_msr_read(vcpu, msr, value);
	case MSR_HV_STIMER0 ... MSR_HV_STIMER3_COUNT:
		return stimer_msr_read(vcpu, msr, value);
	default:
		return read_of_vm(vcpu, msr, value);
	}
}

static bool write_of_vm(struct vcpu *vcpu, u32 msr, u64 value)
{
	switch (msr) {
	case MSR_HV_GUEST_OS_ID:
		write_guest_os_id(vcpu->vm, value);
		return true;
	case MSR_HV_HYPERCALL:
		return write_hypercall(vcpu->vm, value);
	case MSR_HV_RESET:
		return write_reset(vcpu->vm, value);
	case MSR_HV_REFERENCE_TSC:
		hv_time_write_page(vcpu->vm, value);
		return true;
	default: /* the others are read-only, or not there */
		return false;
	}
}

bool hv_msr_write(struct vcpu *vcpu, u32 msr, u64 value)
{
	switch (msr) {
	case MSR_HV_EOI:
		return !(value >> 32) && write_apic(vcpu, APIC_EOI, 0);
	case MSR_HV_ICR:
		return write_apic(vcpu, APIC_ICR, value);
	case MSR_HV_TPR:
		return !(value >> 8) && write_apic(vcpu, APIC_TPR, value);
	case MSR_HV_VP_ASSIST:
		vcpu->hv->assist = value;
		return true;
	case MSR_HV_SCONTROL ... MSR_HV_EOM:
	case MSR_HV_SINT0 ... MSR_HV_SINT15:
		return synic_msr_write(vcpu, msr, value);
	case MSR_HV_STIMER0 ... MSR_HV_STIMER3_COUNT:
		return stimer_msr_write(vcpu, msr, value);
	default:
		return write_of_vm(vcpu, msr, value);
	}
}

/* ---- life ---- */

void hv_create(struct vm *vm)
{
	if (vm->config.hyperv)
		hv_time_create(vm);
}

bool hv_create_vcpu(struct vcpu *vcpu)
{
	if (!vcpu->vm->config.hyperv)
		return true;
	vcpu->hv = port_alloc(sizeof(*vcpu->hv), CACHE_LINE);
	if (!vcpu->hv)
		return false;
	synic_init(vcpu);
	stimer_init(vcpu);
	return true;
}

void hv_destroy_vcpu(struct vcpu *vcpu)
{
	if (!vcpu->hv)
		return;
	stimer_destroy(vcpu);
	port_free(vcpu->hv, sizeof(*vcpu->hv));
	vcpu->hv = NULL;
}

void hv_reset(struct vcpu *vcpu)
{
	if (!vcpu->hv)
		return;
	stimer_reset(vcpu);
	synic_reset(vcpu);
	vcpu->hv->assist = 0;
}
