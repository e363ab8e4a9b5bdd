/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guest state outside the control block. The hypervisor is compiled without FPU, so the guest's
 * registers stay in the processor across exits and move only when another vCPU is loaded.
 *
 * The whole of the supported state is saved and restored with XCR0 at its maximum, because a
 * component that the guest has switched off in XCR0 keeps its contents (APM "Extended State
 * Management") and must not leak into the next vCPU.
 */
#include "host/host.h"
#include "core/machine.h"
#include "insn.h"
#include "postern/port.h"
#include "postern/string.h"
#include "x86/apic.h"
#include "x86/msr.h"

#define FXSAVE_SIZE  512
#define XSAVE_HEADER 64
/* Components that Postern switches: all with an XCR0 bit that guests here may use. */
#define XCR0_SWITCHED (XCR0_X87 | XCR0_SSE | XCR0_AVX)

#define CPUID_1_ECX_XSAVE         26
#define CPUID_80000001_EDX_RDTSCP 27

void host_cpuid(u32 leaf, u32 subleaf, struct cpuid_regs *r)
{
	insn_cpuid(leaf, subleaf, r);
}

u32 host_cpuid_max(u32 base)
{
	struct cpuid_regs r;

	insn_cpuid(base, 0, &r);
	return r.eax;
}

bool host_has_ecx(u32 leaf, u32 bit)
{
	struct cpuid_regs r;

	insn_cpuid(leaf, 0, &r);
	return r.ecx & BIT(bit);
}

bool host_has_edx(u32 leaf, u32 bit)
{
	struct cpuid_regs r;

	insn_cpuid(leaf, 0, &r);
	return r.edx & BIT(bit);
}

void host_probe_fpu(struct machine *machine)
{
	struct cpuid_regs r;

	machine->xcr0_supported = 0;
	machine->fpu_size = FXSAVE_SIZE + XSAVE_HEADER;
	machine->has_tsc_aux = host_has_edx(0x80000001, CPUID_80000001_EDX_RDTSCP);
	if (!host_has_ecx(1, CPUID_1_ECX_XSAVE))
		return;
	insn_cpuid(0xd, 0, &r);
	machine->xcr0_supported = ((u64)r.edx << 32 | r.eax) & XCR0_SWITCHED;
	if (machine->xcr0_supported & XCR0_AVX) {
		insn_cpuid(0xd, 2, &r); /* EAX size, EBX offset of the AVX component */
		machine->fpu_size = r.eax + r.ebx;
	}
	machine->fpu_size = (u32)ALIGN_UP(machine->fpu_size, CACHE_LINE);
}

void host_cpu_init(struct machine *machine)
{
	if (machine->xcr0_supported)
		insn_xsetbv(0, machine->xcr0_supported);
}

/* APM "FXSAVE / FXRSTOR" image after FNINIT: control word 37Fh, MXCSR 1F80h; XSTATE_BV zero. */
void host_reset_fpu(struct vcpu *vcpu)
{
	u16 fcw = 0x37f;
	u32 mxcsr = 0x1f80;

	memset(vcpu->fpu, 0, vcpu->vm->machine->fpu_size);
	memcpy(vcpu->fpu, &fcw, sizeof(fcw));
	memcpy(vcpu->fpu + 24, &mxcsr, sizeof(mxcsr));
}

static void set_physical_xcr0(struct machine *machine, u64 from, u64 to)
{
	if (machine->xcr0_supported && from != to)
		insn_xsetbv(0, to);
}

void host_load_guest(struct vcpu *vcpu)
{
	struct machine *machine = vcpu->vm->machine;

	/* XCR0 is at its maximum whenever no vCPU is loaded. */
	insn_fpu_restore(vcpu->fpu, machine->xcr0_supported);
	set_physical_xcr0(machine, machine->xcr0_supported, vcpu->xcr0);
	insn_write_dr0(vcpu->dr[0]);
	insn_write_dr1(vcpu->dr[1]);
	insn_write_dr2(vcpu->dr[2]);
	insn_write_dr3(vcpu->dr[3]);
	if (machine->has_tsc_aux)
		insn_wrmsr(MSR_TSC_AUX, vcpu->msrs.tsc_aux);
}

void host_put_guest(struct vcpu *vcpu)
{
	struct machine *machine = vcpu->vm->machine;

	vcpu->xcr0 = host_guest_xcr0(vcpu);
	set_physical_xcr0(machine, vcpu->xcr0, machine->xcr0_supported);
	insn_fpu_save(vcpu->fpu, machine->xcr0_supported);
	vcpu->dr[0] = insn_read_dr0();
	vcpu->dr[1] = insn_read_dr1();
	vcpu->dr[2] = insn_read_dr2();
	vcpu->dr[3] = insn_read_dr3();
}

/*
 * Read back, not remembered: QEMU 7.2 executes XSETBV in the guest whatever the intercept says (APM
 * "Instruction Intercepts" lists it).
 */
u64 host_guest_xcr0(struct vcpu *vcpu)
{
	return vcpu->vm->machine->xcr0_supported ? insn_xgetbv(0) : vcpu->xcr0;
}

void host_set_xcr0(struct vcpu *vcpu, u64 value)
{
	set_physical_xcr0(vcpu->vm->machine, host_guest_xcr0(vcpu), value);
	vcpu->xcr0 = value;
}

void host_set_tsc_aux(struct vcpu *vcpu, u64 value)
{
	vcpu->msrs.tsc_aux = value;
	if (vcpu->vm->machine->has_tsc_aux)
		insn_wrmsr(MSR_TSC_AUX, value);
}

void host_force_exit(void)
{
	insn_apic_send(insn_apic_id(), APIC_DM_FIXED | APIC_LEVEL_ASSERT | CPU_VECTOR_FORCE);
	wait_until(insn_apic_pending(CPU_VECTOR_FORCE));
}
