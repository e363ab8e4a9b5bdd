/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Model-specific registers that exit. What the processor switches itself (FS base and the like) is
 * not intercepted and does not come here. An MSR that is not listed does not exist: #GP, counted.
 * APM volume 2, "Model-Specific Registers (MSRs)".
 */
#include "core/msr.h"
#include "core/cpuid.h"
#include "core/hv.h"
#include "core/hv_time.h"
#include "core/kvm_clock.h"
#include "core/machine.h"
#include "core/mtrr.h"
#include "host/host.h"
#include "postern/port.h"
#include "x86/msr.h"

static bool is_apic_msr(u32 msr)
{
	return msr == MSR_APIC_BASE || msr == MSR_TSC_DEADLINE ||
	       (msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST);
}

/*
 * Registers of AMD processors that system software reads without asking CPUID: chip configuration
 * and the four legacy performance counters. They read as zero and forget what is written.
 */
static bool is_quiet_msr(u32 msr)
{
	switch (msr) {
	case MSR_PATCH_LEVEL:
	case MSR_SYSCFG:
	case MSR_NB_CFG:
	case MSR_INT_PENDING:
	case MSR_LS_CFG:
	case MSR_IC_CFG:
	case MSR_DC_CFG:
	case MSR_BU_CFG2:
	case MSR_DE_CFG:
		return true;
	default:
		return msr >= MSR_K7_EVNTSEL0 && msr <= MSR_K7_PERFCTR3;
	}
}

static u64 read_efer(struct vcpu *vcpu)
{
	struct vcpu_state state;

	backend_op(get_state)(vcpu, &state);
	return state.efer;
}

static bool read_stored(struct vcpu *vcpu, u32 msr, u64 *value)
{
	struct vcpu_state state;

	if (mtrr_is_msr(msr))
		return mtrr_read(vcpu, msr, value);
	switch (msr) {
	case MSR_TSC:
		*value = port_tsc() + vcpu->tsc_offset;
		return true;
	case MSR_EFER:
		*value = read_efer(vcpu);
		return true;
	case MSR_PAT:
		backend_op(get_state)(vcpu, &state);
		*value = state.pat;
		return true;
	case MSR_TSC_AUX:
		*value = vcpu->msrs.tsc_aux;
		return vcpu->vm->machine->has_tsc_aux;
	case MSR_HWCR:
		*value = vcpu->msrs.hwcr;
		return true;
	case MSR_MISC_ENABLE:
		*value = vcpu->msrs.misc_enable;
		return true;
	case MSR_VM_CR:
		*value = VM_CR_SVMDIS;
		return true;
	case MSR_DEBUGCTL:
	case MSR_MCG_CAP: /* no banks */
	case MSR_MCG_STATUS:
		*value = 0;
		return true;
	case MSR_KVM_SYSTEM_TIME_NEW:
		*value = vcpu->msrs.kvm_system_time;
		return vcpu->vm->config.kvm_clock;
	default:
		*value = 0;
		return is_quiet_msr(msr);
	}
}

bool msr_read(struct vcpu *vcpu, u32 msr, u64 *value)
{
	if (is_apic_msr(msr))
		return lapic_msr_read(vcpu, msr, value);
	if (hv_is_msr(vcpu, msr) ? hv_msr_read(vcpu, msr, value) : read_stored(vcpu, msr, value))
		return true;
	vcpu_count(vcpu, COUNTER_MSR_UNKNOWN);
	return false;
}

/* APM "Extended Feature Enable Register": #GP for reserved bits, and for LME changed under paging.
 */
static bool write_efer(struct vcpu *vcpu, u64 value)
{
	struct vcpu_state state;
	u64 efer;

	if (value & ~cpuid_guest_efer_mask(vcpu))
		return false;
	backend_op(get_state)(vcpu, &state);
	if (state.cr0 & CR0_PG && (state.efer ^ value) & EFER_LME)
		return false;
	/* LMA follows LME and paging; software cannot set it. */
	efer = (value & ~EFER_LMA) | (state.efer & EFER_LMA);
	if (efer != state.efer) {
		state.efer = efer;
		backend_op(set_state)(vcpu, &state);
		backend_op(flush)(vcpu); /* NXE changes what cached translations mean */
	}
	return true;
}

/* Memory types: 0 UC, 1 WC, 4 WT, 5 WP, 6 WB, 7 UC-. */
static bool pat_is_valid(u64 value)
{
	for (u32 i = 0; i < 8; i++) {
		u8 type = (u8)(value >> i * 8);

		if (type > 7 || type == 2 || type == 3)
			return false;
	}
	return true;
}

static bool write_pat(struct vcpu *vcpu, u64 value)
{
	struct vcpu_state state;

	if (!pat_is_valid(value))
		return false;
	backend_op(get_state)(vcpu, &state);
	state.pat = value;
	backend_op(set_state)(vcpu, &state);
	return true;
}

static bool write_tsc(struct vcpu *vcpu, u64 value)
{
	vcpu->tsc_offset = value - port_tsc();
	lapic_timer_tsc_moved(vcpu);
	kvm_clock_update(vcpu);
	hv_time_tsc_moved(vcpu);
	return true;
}

static bool write_tsc_aux(struct vcpu *vcpu, u64 value)
{
	if (value >> 32 || !vcpu->vm->machine->has_tsc_aux)
		return false;
	host_set_tsc_aux(vcpu, value);
	return true;
}

/*
 * Intel's register (SDM volume 4, "IA32_MISC_ENABLE"). AMD processors have none, but guests of KVM
 * and QEMU find it whatever the vendor, and test kernels count on that: it remembers, and does
 * nothing.
 */
static bool write_misc_enable(struct vcpu *vcpu, u64 value)
{
	if ((value ^ vcpu->msrs.misc_enable) & MISC_ENABLE_READ_ONLY)
		return false;
	vcpu->msrs.misc_enable = value;
	return true;
}

static bool write_stored(struct vcpu *vcpu, u32 msr, u64 value)
{
	if (mtrr_is_msr(msr))
		return mtrr_write(vcpu, msr, value);
	switch (msr) {
	case MSR_TSC:
		return write_tsc(vcpu, value);
	case MSR_EFER:
		return write_efer(vcpu, value);
	case MSR_PAT:
		return write_pat(vcpu, value);
	case MSR_TSC_AUX:
		return write_tsc_aux(vcpu, value);
	case MSR_HWCR:
		vcpu->msrs.hwcr = value;
		return true;
	case MSR_MISC_ENABLE:
		return write_misc_enable(vcpu, value);
	case MSR_DEBUGCTL:
	case MSR_MCG_STATUS:
		return value == 0;
	case MSR_KVM_SYSTEM_TIME_NEW:
		return kvm_clock_write_system_time(vcpu, value);
	case MSR_KVM_WALL_CLOCK_NEW:
		return kvm_clock_write_wall_clock(vcpu, value);
	default:
		return is_quiet_msr(msr);
	}
}

bool msr_write(struct vcpu *vcpu, u32 msr, u64 value)
{
	if (is_apic_msr(msr))
		return lapic_msr_write(vcpu, msr, value);
	if (hv_is_msr(vcpu, msr) ? hv_msr_write(vcpu, msr, value) : write_stored(vcpu, msr, value))
		return true;
	vcpu_count(vcpu, COUNTER_MSR_UNKNOWN);
	return false;
}
