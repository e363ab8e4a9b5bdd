/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest with a virtual APIC, by hand (vmx_guest.h): what tests/model/vmx_apic_test.c, vmx_vid_test.c,
 * vmx_posted_test.c and vmx_ipiv_test.c have in common. It does one operation at the test's choice, then HLT, then the next.
 */
#ifndef TESTS_MODEL_VMX_APIC_GUEST_H
#define TESTS_MODEL_VMX_APIC_GUEST_H

#include "tests/model/vmx_guest.h"

#define FEATURES (MODEL_SAPPHIRE_RAPIDS & ~(u32)MODEL_INTEL)
#define APIC     (3 * MEMORY) /* guest-physical */
#define SAME     (APIC + PAGE_SIZE)
#define LOWER    0x35
#define HIGHER   0x52
#define ACCESS   VMX_PROC2_APIC_ACCESS
#define X2APIC   VMX_PROC2_X2APIC
#define REGISTER VMX_PROC2_APIC_REGISTER
#define VID      VMX_PROC2_VID

#define MSR(offset) (MSR_X2APIC_FIRST + (offset) / 16)

static u8 *access_page;
static u64 *level1;
static u8 order[8]; /* vectors, as their handlers begin */
static u32 handled;

/* --- the guest --- */

enum kind {
	NOTHING,
	READ,
	WRITE,
	RDMSR,
	WRMSR,
	CR8,
	CR3,
	STI,
};

static struct {
	enum kind kind;
	u32 where, size;
	u64 value;
	u8 fault;
} op;

static inline void operate(void)
{
	op.fault = 0;
	switch (op.kind) {
	case READ:
		op.value = g_read(op.where, op.size);
		break;
	case WRITE:
		g_write(op.where, op.value, op.size);
		break;
	case RDMSR:
		op.fault = g_rdmsr_safe(op.where, &op.value);
		break;
	case WRMSR:
		op.fault = g_wrmsr_safe(op.where, op.value);
		break;
	case CR8:
		g_write_cr8(op.value);
		break;
	case CR3:
		g_write_cr3(op.value);
		break;
	case STI:
		g_sti();
		g_nop();
		break;
	default:
		g_nop();
		break;
	}
}

static inline void script(void *arg __unused)
{
	for (;;) {
		operate();
		g_hlt();
	}
}

static inline void handler(u8 vector, u32 error __unused)
{
	G_CHECK(handled < ARRAY_SIZE(order));
	order[handled++] = vector;
	g_nop();
}

/* With the APIC-access page at APIC and, the same page of the host, behind it; these secondary controls. */
static inline void create(u32 controls)
{
	vmx_create(FEATURES, script);
	access_page = vmx_page();
	level1 = vmx_page();
	m.level2[APIC / MEMORY] = vmx_hpa(level1) | EPT_READ | EPT_WRITE | EPT_EXEC;
	level1[0] = level1[1] =
	        vmx_hpa(access_page) | EPT_READ | EPT_WRITE | EPT_EXEC | EPT_TYPE(6);
	vmx_write(VMCS_APIC_ACCESS, vmx_hpa(access_page));
	vmx_write(VMCS_GUEST_CR3, DATA);
	vmx_change(VMCS_SECONDARY, 0, controls);
	memset(&op, 0, sizeof(op));
	handled = 0;
	g_set_handler(VECTOR, handler);
	g_set_handler(LOWER, handler);
	g_set_handler(HIGHER, handler);
	g_set_handler(VECTOR_NMI, handler);
}

static inline u32 *apic(u32 offset)
{
	return (u32 *)(void *)(m.apic + offset);
}

static inline u32 *of_vector(u32 base, u8 vector)
{
	return apic(base + vector / 32 * 16);
}

static inline bool is_set(u32 base, u8 vector)
{
	return *of_vector(base, vector) >> vector % 32 & 1;
}

static inline u32 status(void)
{
	return (u32)vmx_read(VMCS_GUEST_INTR_STATUS);
}

/* As a hypervisor does it: in the page, and in guest interrupt status. */
static inline void request(u8 vector)
{
	u32 old = status();

	*of_vector(APIC_IRR, vector) |= BIT(vector % 32);
	if (vector > VMX_RVI(old))
		vmx_write(VMCS_GUEST_INTR_STATUS, VMX_INTR_STATUS(vector, VMX_SVI(old)));
}

static inline void open_interrupts(void)
{
	vmx_change(VMCS_GUEST_RFLAGS, 0, RFLAGS_IF);
}

/* --- runs --- */

static inline u64 rip(void)
{
	return vmx_read(VMCS_GUEST_RIP);
}

static inline u32 depth(void)
{
	return guest_engine()->guest[0].depth;
}

/* Behind the instruction that has exited without its length being told. */
static inline void skip_access(void)
{
	vmx_write(VMCS_GUEST_RIP, rip() + guest_engine()->guest[0].insn->length);
}

static inline void expect(u32 reason, u64 qualification)
{
	u32 got = vmx_run_guest();

	if (got != reason || vmx_read(VMCS_QUALIFICATION) != qualification)
		fail_msg("exit %u, %llx instead of %u, %llx", got,
		         (unsigned long long)vmx_read(VMCS_QUALIFICATION), reason,
		         (unsigned long long)qualification);
}

static inline void to_hlt(void)
{
	expect(VMX_EXIT_HLT, 0);
	vmx_skip();
}

static inline void begin(enum kind kind, u32 where, u32 size, u64 value)
{
	op.kind = kind;
	op.where = where;
	op.size = size;
	op.value = value;
}

/* The whole of it without an exit. */
static inline u64 quietly(enum kind kind, u32 where, u64 value)
{
	begin(kind, where, 4, value);
	to_hlt();
	assert_int_equal(op.fault, 0);
	return op.value;
}

static inline void expect_fault(enum kind kind, u32 where, u64 value)
{
	begin(kind, where, 4, value);
	to_hlt();
	assert_int_equal(op.fault, VECTOR_GP);
}

/* What has no defined outcome on a real processor. */
static inline void ends_the_run(void (*what)(void), const char *word)
{
	posix.config.boot = what;
	assert_false(posix_run_stepper());
	if (!strstr(posix_failure(), word))
		fail_msg("%s: not in: %s", word, posix_failure());
}

/* Fault-like: at the instruction, nothing done. Qualification: what the access is, and its offset. */
static inline void expect_access(enum kind kind, u32 offset, u32 size)
{
	u8 before[PAGE_SIZE];

	begin(kind, APIC + offset, size, 0x12345678);
	memcpy(before, m.apic, PAGE_SIZE);
	expect(VMX_EXIT_APIC_ACCESS,
	       VMX_APIC_QUALIFICATION(offset, kind == READ ? VMX_APIC_READ : VMX_APIC_WRITE));
	assert_memory_equal(before, m.apic, PAGE_SIZE);
	assert_int_equal(vmx_read(VMCS_EXIT_INFO), 0);
	assert_int_equal(vmx_read(VMCS_IDT_INFO), 0);
	assert_false(guest_engine()->guest[0].insn->done);
	skip_access();
	to_hlt();
}

/* Trap-like: behind the instruction. */
static inline void expect_trap(enum kind kind, u32 where, u64 value, u32 reason, u64 qualification)
{
	begin(kind, where, 4, value);
	expect(reason, qualification);
	assert_true(guest_engine()->guest[0].insn->done);
	to_hlt();
}

#endif
