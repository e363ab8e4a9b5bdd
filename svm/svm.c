/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The SVM back end: what it requires, enabling it on a processor, and its operation table.
 *
 * Required: SVM not disabled by firmware (VM_CR.SVMDIS), nested paging, an ASID besides the host's.
 * Used where the processor has it, never relied on: next-RIP save, decode assists, clean bits,
 * flush by ASID, pause filter. APM volume 2, "Secure Virtual Machine", "Enabling SVM" and "Host
 * State Save Area".
 */
#include "svm/svm.h"
#include "host/host.h"
#include "insn.h"
#include "postern/port.h"
#include "postern/string.h"
#include "x86/msr.h"

#define CPUID_EXTENDED     0x80000000
#define CPUID_FEATURES     0x80000001
#define CPUID_FEATURES_SVM BIT(2) /* ECX */

struct svm_features svm_features;

/*
 * AMD's revision guide for family 17h, erratum 1235: the processor may miss that software has cleared
 * IsRunning. Hygon's family 18h is of the same design.
 */
static bool has_stale_running(void)
{
	struct cpuid_regs r;
	u32 family;

	insn_capability(1, 0, &r);
	family = r.eax >> 8 & 0xf;
	if (family == 0xf)
		family += r.eax >> 20 & 0xff;
	return family == 0x17 || family == 0x18;
}

static bool svm_probe(const char **why)
{
	struct cpuid_regs r;

	insn_capability(CPUID_EXTENDED, 0, &r);
	if (r.eax < CPUID_SVM) {
		*why = "the processor has no SVM (CPUID leaf 8000_000A is missing)";
		return false;
	}
	insn_capability(CPUID_FEATURES, 0, &r);
	if (!(r.ecx & CPUID_FEATURES_SVM)) {
		*why = "the processor has no SVM (CPUID 8000_0001 ECX bit 2)";
		return false;
	}
	if (insn_rdmsr(MSR_VM_CR) & VM_CR_SVMDIS) {
		*why = "SVM is disabled by the firmware (VM_CR.SVMDIS)";
		return false;
	}
	insn_capability(CPUID_SVM, 0, &r);
	svm_features = (struct svm_features){.edx = r.edx,
	                                     .ecx = r.ecx,
	                                     .stale_running = has_stale_running(),
	                                     .asids = r.ebx,
	                                     .revision = r.eax & 0xff};
	if (!svm_has(SVM_CPUID_NP)) {
		*why = "the processor has no nested paging (CPUID 8000_000A EDX bit 0)";
		return false;
	}
	if (svm_features.asids < 2) {
		*why = "the processor has no address-space identifiers (CPUID 8000_000A EBX)";
		return false;
	}
	return true;
}

static bool svm_cpu_init(struct cpu *cpu)
{
	struct svm_cpu *svm = port_alloc(sizeof(*svm), CACHE_LINE);

	if (!svm)
		return false;
	svm->hsave = port_alloc(PAGE_SIZE, PAGE_SIZE);
	svm->host_vmcb = port_alloc(PAGE_SIZE, PAGE_SIZE);
	if (!svm->hsave || !svm->host_vmcb)
		return false;
	svm->max_asid = svm_features.asids - 1;
	svm->next_asid = 1;
	svm->generation = 1;
	cpu->arch = svm;
	host_cpu_init(port_machine());
	insn_wrmsr(MSR_EFER, insn_rdmsr(MSR_EFER) | EFER_SVME);
	insn_wrmsr(MSR_VM_HSAVE_PA, ptr_to_hpa(svm->hsave).v);
	insn_vmsave(ptr_to_hpa(svm->host_vmcb));
	return true;
}

static void svm_cpu_exit(struct cpu *cpu)
{
	struct svm_cpu *svm = cpu->arch;

	insn_wrmsr(MSR_VM_HSAVE_PA, 0);
	insn_wrmsr(MSR_EFER, insn_rdmsr(MSR_EFER) & ~EFER_SVME);
	port_free(svm->host_vmcb, PAGE_SIZE);
	port_free(svm->hsave, PAGE_SIZE);
	port_free(svm, sizeof(*svm));
	cpu->arch = NULL;
}

/* Decode assist delivers them for nested page faults only; `count` 0: none. */
static u32 svm_insn_bytes(struct vcpu *vcpu, const u8 **bytes)
{
	const struct vmcb_control *control = &svm_vmcb(vcpu)->control;

	if (!svm_has(SVM_CPUID_DECODE) || control->exit_code != SVM_EXIT_NPF)
		return 0;
	*bytes = control->insn_bytes;
	return control->insn_len <= sizeof(control->insn_bytes) ? control->insn_len : 0;
}

static void svm_features_text(char *text, u32 size)
{
	static const struct {
		u32 bit;
		const char *name;
	} names[] = {
	        {SVM_CPUID_NP, "nested-paging"},
	        {SVM_CPUID_NRIPS, "next-rip"},
	        {SVM_CPUID_CLEAN, "clean-bits"},
	        {SVM_CPUID_FLUSH_ASID, "flush-by-asid"},
	        {SVM_CPUID_DECODE, "decode-assist"},
	        {SVM_CPUID_PAUSE_FILTER, "pause-filter"},
	        {SVM_CPUID_VGIF, "vgif"},
	        {SVM_CPUID_AVIC, "avic"},
	        {SVM_CPUID_X2AVIC, "x2avic"},
	};
	u32 used = 0;

	for (u32 i = 0; i < ARRAY_SIZE(names); i++) {
		u32 length = (u32)strlen(names[i].name);

		if (!svm_has(names[i].bit) || used + length + 2 > size)
			continue;
		if (used)
			text[used++] = ' ';
		memcpy(text + used, names[i].name, length);
		used += length;
	}
	text[used] = 0;
}

#define X(id, name, scope, needed, what, set_by, cleared_by, test)                                 \
	(INHIBIT_ON_##needed & INHIBIT_ON_SVM ? INHIBIT_BIT(id) : 0) |
#define SVM_INHIBITS (INHIBITS(X) 0)

const struct backend svm_backend = {
        .name = "svm",
        .vendor = "AMD",
        .signature = BACKEND_AMD,
        .hypercall = {0x0f, 0x01, 0xd9}, /* VMMCALL */
        .mmu_format = &mmu_format_long_mode,
        .accel = &svm_avic_ops,
        .inhibits = SVM_INHIBITS,
        .probe = svm_probe,
        .cpu_init = svm_cpu_init,
        .cpu_exit = svm_cpu_exit,
        .vm_init = svm_vm_init,
        .vm_exit = svm_vm_exit,
        .vcpu_init = svm_vcpu_init,
        .vcpu_exit = svm_vcpu_exit,
        .vcpu_load = svm_vcpu_load,
        .vcpu_put = svm_vcpu_put,
        .reset = svm_reset,
        .get_state = svm_get_state,
        .set_state = svm_set_state,
        .host_irqs_block = svm_host_irqs_block,
        .host_irqs_unblock = svm_host_irqs_unblock,
        .run = svm_run,
        .intr_blocked = svm_intr_blocked,
        .intr_inject = svm_intr_inject,
        .intr_retract = svm_intr_retract,
        .intr_window = svm_intr_window,
        .intr_force = svm_intr_force,
        .intr_tpr_exit = svm_intr_tpr_exit,
        .nested_enter = svm_nested_enter,
        .nested_leave = svm_nested_leave,
        .debug = svm_debug,
        .pause_exits = svm_pause_exits,
        .emulating = svm_emulating,
        .flush = svm_flush,
        .msr_intercept = svm_msr_intercept,
        .insn_bytes = svm_insn_bytes,
        .features = svm_features_text,
        .floor = svm_floor,
};
