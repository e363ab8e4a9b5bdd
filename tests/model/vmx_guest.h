/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A VMCS by hand on the model processor, without the hypervisor: what tests/model/vmx_*_test.c begin with. The
 * guest has 2 MiB of memory, in two places and where scripts have their code, and starts in 64-bit mode.
 */
#ifndef TESTS_MODEL_VMX_GUEST_H
#define TESTS_MODEL_VMX_GUEST_H

#include "tests/model/harness.h"

#include "cpu_model/vmx.h"
#include "tests/model/vmx_words.h"

#define MEMORY (2ull << 20)
#define DATA   0x8000ull
#define VECTOR 0x41

/* With this name of a processor's, the assist has what the model lacks of it; NULL: no assist. */
static const char *vmx_assisted;
static struct vcpu vmx_vcpu; /* it has an account */
static u32 vmx_turned;       /* VAPIC_SWITCHES that are the other way round, and */
static u32 vmx_besides;      /* features in addition, of the machines to come */

/* Physical processors; the test is the first. */
#ifndef VMX_CPUS
#define VMX_CPUS 1
#endif

static inline void vmx_map(void)
{
	u64 leaf = vmx_hpa(m.memory) | EPT_READ | EPT_WRITE | EPT_EXEC | EPT_TYPE(6) | EPT_LARGE;

	m.root[0] = vmx_hpa(m.level3) | EPT_READ | EPT_WRITE | EPT_EXEC;
	m.level3[0] = vmx_hpa(m.level2) | EPT_READ | EPT_WRITE | EPT_EXEC;
	m.level2[0] = m.level2[1] = leaf;
	m.level2[GUEST_CODE / MEMORY] = leaf;
}

/* This processor in VMX operation, the region ready for VMCLEAR. */
static inline void vmx_start(void)
{
	u32 revision = VMCS_STORE_REVISION;

	m.vmxon = vmx_page();
	m.vmcs = vmx_page();
	memcpy(m.vmxon, &revision, sizeof(revision));
	memcpy(m.vmcs, &revision, sizeof(revision));
	insn_wrmsr(MSR_FEATURE_CONTROL, FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMXON);
	insn_write_cr4(insn_read_cr4() | CR4_VMXE);
	assert_true(insn_vmxon(ptr_to_hpa(m.vmxon)));
	insn_cli();
}

static inline void vmx_assist(void)
{
	struct assist_processor shown;

	assert_true(assist_find(vmx_assisted, &shown));
	shown.memory = model_memory();
	shown.switches ^= vmx_turned;
	assert_true(assist_start(&shown));
}

static inline void vmx_turn_on(u32 features)
{
	if (vmx_assisted)
		features &= ~(u32)(MODEL_POSTED | MODEL_IPIV);
	posix_machine_reset(&(struct posix_config){.cpus = VMX_CPUS},
	                    MODEL_INTEL | vmx_besides | features);
	model()->vapic_switches ^= vmx_turned;
	if (vmx_assisted)
		vmx_assist();
	memset(&m, 0, sizeof(m));
	memset(&vmx_vcpu.account, 0, sizeof(vmx_vcpu.account));
	vmx_start();
}

/* The region as a VMCS of this processor, which may be entered. */
static inline void vmx_fill(void)
{
	assert_true(insn_vmclear(ptr_to_hpa(m.vmcs)));
	assert_true(insn_vmptrld(ptr_to_hpa(m.vmcs)));
	m.launched = false;
	vmx_write_controls();
	vmx_write_host();
	vmx_write_guest();
}

static inline void vmx_create(u32 features, guest_script script)
{
	vmx_turn_on(features);
	m.root = vmx_page();
	m.level3 = vmx_page();
	m.level2 = vmx_page();
	m.apic = vmx_page();
	m.msr_bitmap = vmx_page();
	m.memory = port_alloc(MEMORY, MEMORY);
	assert_non_null(m.memory);
	vmx_map();
	m.caps = vmx_caps(features);
	vmx_fill();
	guest_bind(ENTRY, script, NULL);
}

/* Whether to enter again at once. */
static inline bool vmx_never(void *context __unused)
{
	return false;
}

/* The exit reason. The entry has to succeed. */
static inline u32 vmx_run_guest(void)
{
	assert_true(insn_enter_vmx(m.gpr, m.launched, vmx_never, &vmx_vcpu));
	m.launched = true;
	return (u32)vmx_read(VMCS_EXIT_REASON);
}

/*
 * Times that there was posted-interrupt processing instead of an exit of this test's processor. With the assist each
 * entry of its own is one, as long as the guest sends nothing.
 */
static inline u64 vmx_notified(void)
{
	return vmx_assisted ? vmx_vcpu.account.model_overhead : model_current()->notified;
}

static inline void vmx_skip(void)
{
	vmx_write(VMCS_GUEST_RIP, vmx_read(VMCS_GUEST_RIP) + vmx_read(VMCS_EXIT_LENGTH));
}

#endif
