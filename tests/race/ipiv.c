/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * IPI virtualization and posted-interrupt processing as the model processor has them (cpu_model/vmx_apic.c,
 * vmx_virt.c): guests on two processors send, each by WRMSR of ICR, to a guest on a third, which is on its way in,
 * runs, or sleeps in HLT. Each interrupt is delivered, once, and nobody exits. Of a hypervisor there is what enters
 * them. The microcode alone is in vapic.c.
 *
 * A hypervisor that takes a notification as an ordinary interrupt, and enters without a look at the descriptor, loses
 * what was posted: that must be found.
 */
#include "tests/race/scenarios.h"
#include "tests/race/stage.h"

#include "cpu_model/guest.h"
#include "cpu_model/model.h"
#include "cpu_model/vmx.h"
#include "posix.h"
#include "tests/model/vmx_words.h"
#include "x86/apic.h"

#include <string.h>

#define SENDERS     2
#define TARGET      SENDERS
#define CPUS        (SENDERS + 1)
#define NV          CPU_VECTOR_KICK
#define FIRST       0x41 /* the first sender's vector; the second's is above */
#define STEP        0x20
#define MEMORY      (2ull << 20)
#define LEAF        (EPT_READ | EPT_WRITE | EPT_EXEC | EPT_TYPE(6) | EPT_LARGE)
#define BRANCH      (EPT_READ | EPT_WRITE | EPT_EXEC)
#define ENTRY_OF(i) (ENTRY * ((i) + 1ull))
#define MSR(offset) (MSR_X2APIC_FIRST + (offset) / 16)

static struct pi_desc *desc;
static struct atomic64 *table;
static u32 delivered[SENDERS];

/* --- the guests --- */

static void send_0(void *arg __unused)
{
	g_wrmsr(MSR(APIC_ICR), FIRST);
	g_vmmcall();
}

static void send_1(void *arg __unused)
{
	g_wrmsr(MSR(APIC_ICR), FIRST + STEP);
	g_vmmcall();
}

static void handler(u8 vector, u32 error __unused)
{
	delivered[(vector - FIRST) / STEP]++;
	g_wrmsr(MSR(APIC_EOI), 0);
}

static bool has_all(void)
{
	for (u32 i = 0; i < SENDERS; i++)
		if (!delivered[i])
			return false;
	return true;
}

static void spin(void *arg __unused)
{
	g_sti();
	while (!has_all())
		g_pause();
	g_vmmcall();
}

static void sleep(void *arg __unused)
{
	for (;;) {
		g_cli();
		if (has_all())
			break;
		g_sti();
		g_hlt();
	}
	g_vmmcall();
}

/* --- processors, by hand --- */

static void map(void)
{
	m.root = vmx_page();
	m.level3 = vmx_page();
	m.level2 = vmx_page();
	m.memory = port_alloc(MEMORY, MEMORY);
	ASSERT(m.memory);
	m.root[0] = vmx_hpa(m.level3) | BRANCH;
	m.level3[0] = vmx_hpa(m.level2) | BRANCH;
	m.level2[0] = m.level2[GUEST_CODE / MEMORY] = vmx_hpa(m.memory) | LEAF;
}

static u8 *region(void)
{
	u32 revision = VMCS_STORE_REVISION;
	u8 *page = vmx_page();

	memcpy(page, &revision, sizeof(revision));
	return page;
}

static void write_posting(void)
{
	vmx_change(VMCS_SECONDARY, 0, VMX_PROC2_X2APIC | VMX_PROC2_APIC_REGISTER | VMX_PROC2_VID);
	vmx_change(VMCS_PRIMARY, VMX_PROC_HLT, VMX_PROC_TERTIARY);
	vmx_write(VMCS_TERTIARY, VMX_PROC3_IPIV);
	vmx_write(VMCS_PI_TABLE, vmx_hpa(table));
	vmx_write(VMCS_LAST_PI_INDEX, 0);
}

static void create(u32 i, guest_script script)
{
	posix_set_current(&model()->cpu[i]);
	insn_wrmsr(MSR_FEATURE_CONTROL, FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMXON);
	insn_write_cr4(insn_read_cr4() | CR4_VMXE);
	ASSERT(insn_vmxon(ptr_to_hpa(region())));
	insn_cli();
	m.vmcs = region();
	m.apic = vmx_page();
	m.msr_bitmap = vmx_page();
	ASSERT(insn_vmclear(ptr_to_hpa(m.vmcs)) && insn_vmptrld(ptr_to_hpa(m.vmcs)));
	vmx_write_controls();
	vmx_write_host();
	vmx_write_guest();
	vmx_write(VMCS_VPID, i + 1);
	vmx_write(VMCS_GUEST_RIP, ENTRY_OF(i));
	write_posting();
	guest_bind(ENTRY_OF(i), script, NULL);
}

/* The last of them has interrupts posted. */
static void set_up(guest_script script)
{
	posix_machine_reset(&(struct posix_config){.cpus = CPUS}, MODEL_SAPPHIRE_RAPIDS);
	memset(&m, 0, sizeof(m));
	m.caps = vmx_caps(MODEL_SAPPHIRE_RAPIDS);
	map();
	desc = vmx_page();
	table = vmx_page();
	desc->control.v = PI_TO(NV, TARGET);
	table[0].v = vmx_hpa(desc) | PI_ENTRY_VALID;
	create(0, send_0);
	create(1, send_1);
	create(TARGET, script);
	vmx_write(VMCS_PI_VECTOR, NV);
	vmx_write(VMCS_PI_DESC, vmx_hpa(desc));
	vmx_change(VMCS_EXIT_CONTROLS, 0, VMX_EXIT_CTL_ACK_INTR);
	vmx_change(VMCS_PIN, 0, VMX_PIN_POSTED);
	for (u32 i = 0; i < SENDERS; i++)
		g_set_handler((u8)(FIRST + i * STEP), handler);
}

static void setup_spin(void)
{
	set_up(spin);
}

static void setup_sleep(void)
{
	set_up(sleep);
}

static void begin(void)
{
	memset(delivered, 0, sizeof(delivered));
}

/* --- actors --- */

static bool never(void *context __unused)
{
	return false;
}

static void runs(void)
{
	u64 gpr[GPR_COUNT] = {0};

	if (!insn_vmx_run(gpr, false, never, NULL))
		posix_fail("the entry was refused");
	if (vmx_read(VMCS_EXIT_REASON) != VMX_EXIT_VMCALL)
		posix_fail("exit %llu", (unsigned long long)vmx_read(VMCS_EXIT_REASON));
}

/* The host takes what has come so far. */
static void takes_interrupts(void)
{
	if (!insn_apic_pending(NV))
		return;
	insn_sti();
	insn_cli();
}

static void runs_behind_interrupts(void)
{
	takes_interrupts();
	/* ON is set: it was told, or will be. The processor is to look by itself. */
	if (atomic64_read(&desc->control) & PI_ON)
		insn_apic_send(TARGET, NV);
	runs();
}

static void runs_without_a_look(void)
{
	takes_interrupts();
	runs();
}

static const char *check(void)
{
	const struct model_cpu *target = &model()->cpu[TARGET];

	for (u32 i = 0; i < SENDERS; i++)
		if (delivered[i] != 1)
			return "an interrupt was not delivered once";
	if (!stage_pir_is_empty(desc))
		return "PIR is not empty";
	return target->in_service_depth ? "a notification is in service" : NULL;
}

#define SCENARIO(id, what, prepare, target)                                                        \
	const struct race_scenario id = {                                                          \
	        .name = (what),                                                                    \
	        .setup = prepare,                                                                  \
	        .begin = begin,                                                                    \
	        .actor = {runs, runs, target},                                                     \
	        .cpu = {0, 1, TARGET},                                                             \
	        .check = check,                                                                    \
	}

SCENARIO(race_ipiv_spin, "IPI virtualization: two guests' IPIs meet entry, and a guest that runs",
         setup_spin, runs);
SCENARIO(race_ipiv_sleep, "IPI virtualization: two guests' IPIs meet entry, and a guest in HLT",
         setup_sleep, runs);
SCENARIO(race_ipiv_root, "IPI virtualization: the host takes notifications, then looks at ON",
         setup_sleep, runs_behind_interrupts);
SCENARIO(race_ipiv_no_look, "IPI virtualization: the host takes notifications and does not look",
         setup_sleep, runs_without_a_look);
