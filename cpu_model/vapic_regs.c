/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * APIC virtualization's register access: which guest accesses of the APIC become accesses of the
 * virtual-APIC page, and what follows a write. SDM volume 3, "APIC Virtualization and Virtual
 * Interrupts": "Virtualizing Memory-Mapped APIC Accesses", "Virtualizing MSR-Based APIC Accesses".
 *
 *  - Memory: an access of up to four bytes within the first four of a register's sixteen, with a
 *    TPR shadow and not a fetch. Without APIC-register virtualization at the very offset of TPR,
 *    with virtual-interrupt delivery of EOI and ICR, with IPI virtualization of ICR to write; with
 *    it within any of the registers of the table below. All others exit before anything has
 *    happened.
 *  - An operation virtualizes one write. Behind it a read exits, and so does a write at another
 *    offset or of another size.
 *  - A write has its effect, or its exit, not before the operation that it is part of is complete;
 *    if that exits for another cause, the write has reached the page and its effect is lost.
 *  - MSRs: there is nothing between "virtualized" and "the physical APIC's own", so a hypervisor
 *    intercepts whatever the controls do not cover. #GP only for reserved bits of what is
 *    virtualized.
 */
#include "cpu_model/vapic.h"
#include "x86/msr.h"

#define REGISTERS   (0x400 / VAPIC_STRIDE)
#define DWORD       4u
#define MSR(offset) (MSR_X2APIC_FIRST + (offset) / VAPIC_STRIDE)

/* --- memory --- */

enum {
	NEITHER,
	READ,
	BOTH, /* read and write */
};

#define AT(offset)         [(offset) / VAPIC_STRIDE]
#define RANGE(first, last) [(first) / VAPIC_STRIDE...(last) / VAPIC_STRIDE]

/* What APIC-register virtualization covers. */
static const u8 registers[REGISTERS] = {
        AT(APIC_ID) = BOTH,    AT(APIC_VERSION) = READ,
        AT(APIC_TPR) = BOTH,   AT(APIC_EOI) = BOTH,
        AT(APIC_LDR) = BOTH,   AT(APIC_DFR) = BOTH,
        AT(APIC_SVR) = BOTH,   RANGE(APIC_ISR, APIC_IRR + 0x70) = READ, /* and TMR */
        AT(APIC_ESR) = BOTH,   AT(APIC_ICR) = BOTH,
        AT(APIC_ICR2) = BOTH,  RANGE(APIC_LVTT, APIC_LVTERR) = BOTH,
        AT(APIC_TMICT) = BOTH, AT(APIC_TDCR) = BOTH,
};

static u8 covered(u32 offset)
{
	return offset / VAPIC_STRIDE < REGISTERS ? registers[offset / VAPIC_STRIDE] : NEITHER;
}

static bool has_shape(u32 offset, u32 size)
{
	return size && size <= DWORD && offset % VAPIC_STRIDE + size <= DWORD;
}

static bool reads(const struct vapic *vapic, u32 offset)
{
	if (vapic->apic_registers)
		return covered(offset) != NEITHER;
	if (vapic->vid && vapic_is(vapic, VAPIC_VID_READS) &&
	    (offset == APIC_EOI || offset == APIC_ICR))
		return true;
	return offset == APIC_TPR;
}

static bool writes(const struct vapic *vapic, u32 offset)
{
	u32 command = offset;

	if (vapic->apic_registers)
		return covered(offset) == BOTH;
	if (vapic_is(vapic, VAPIC_VID_BY_REGISTER))
		command = ALIGN_DOWN(offset, VAPIC_STRIDE);
	if (vapic->vid && (command == APIC_EOI || command == APIC_ICR))
		return true;
	if (vapic->ipiv && vapic_is(vapic, VAPIC_IPIV_WRITES_ICR) && offset == APIC_ICR)
		return true;
	return offset == APIC_TPR;
}

/* Does the write that came before in this operation forbid this access? `size` 0: a read. */
static bool is_second(const struct vapic *vapic, u32 offset, u32 size)
{
	if (!vapic->written)
		return false;
	if (vapic_is(vapic, VAPIC_SECOND_BY_OFFSET))
		return offset != vapic->write_offset;
	return offset != vapic->write_offset || size != vapic->write_size;
}

static struct vapic_result refuse(enum vapic_access how, u32 kind, u32 offset)
{
	if (how == VAPIC_EVENT)
		kind = VMX_APIC_EVENT;
	return vapic_exit(VAPIC_BEFORE, VMX_EXIT_APIC_ACCESS, VMX_APIC_QUALIFICATION(offset, kind));
}

static u32 mask_of(u32 size)
{
	return size < DWORD ? BIT(size * 8) - 1 : ~0u;
}

struct vapic_result vapic_page_read(const struct vapic *vapic, enum vapic_access how, u32 offset,
                                    u32 size, u64 *value)
{
	u32 shift = offset % DWORD * 8;

	if (how == VAPIC_FETCH)
		return refuse(how, VMX_APIC_FETCH, offset);
	if (!vapic->tpr_shadow || !has_shape(offset, size) || is_second(vapic, offset, 0) ||
	    !reads(vapic, offset))
		return refuse(how, how == VAPIC_MODIFY ? VMX_APIC_WRITE : VMX_APIC_READ, offset);
	*value = vapic_get(vapic, ALIGN_DOWN(offset, DWORD)) >> shift & mask_of(size);
	return vapic_done();
}

struct vapic_result vapic_page_write(struct vapic *vapic, enum vapic_access how, u32 offset,
                                     u32 size, u64 value)
{
	u32 base = ALIGN_DOWN(offset, DWORD), shift = offset % DWORD * 8, mask;

	if (!vapic->tpr_shadow || !has_shape(offset, size) || is_second(vapic, offset, size) ||
	    !writes(vapic, offset))
		return refuse(how, VMX_APIC_WRITE, offset);
	/* Nobody else writes to the registers that can be written. */
	mask = mask_of(size) << shift;
	vapic_set(vapic, base, (vapic_get(vapic, base) & ~mask) | ((u32)value << shift & mask));
	vapic->written = true;
	vapic->write_offset = (u16)offset;
	vapic->write_size = (u8)size;
	return vapic_done();
}

struct vapic_result vapic_physical_access(enum vapic_access how)
{
	u32 kind = how == VAPIC_EVENT ? VMX_APIC_EVENT_GPA : VMX_APIC_ACCESS_GPA;

	return vapic_exit(VAPIC_BEFORE, VMX_EXIT_APIC_ACCESS, VMX_APIC_QUALIFICATION(0, kind));
}

/* --- what follows a write --- */

static struct vapic_result write_exit(u32 offset)
{
	return vapic_exit(VAPIC_AFTER, VMX_EXIT_APIC_WRITE, offset);
}

/*
 * Fixed, edge, to oneself, a legal vector, and nothing set that is reserved; bits 11 and 14 are
 * free.
 */
static bool is_self(u32 icr)
{
	const u32 fixed = 0xfff00000u | APIC_DEST_SHORTHAND | BIT(17) | BIT(16) |
	                  APIC_TRIGGER_LEVEL | BIT(13) | APIC_ICR_BUSY | APIC_DM_MASK;

	return (icr & fixed) == APIC_DEST_SELF && (icr & VAPIC_CLASS);
}

static struct vapic_result write_icr(struct vapic *vapic)
{
	u32 icr = vapic_get(vapic, APIC_ICR);

	if (vapic->vid && is_self(icr)) {
		vapic_self_ipi(vapic, (u8)icr);
		return vapic_done();
	}
	if (vapic->ipiv && vapic_is_ipi(icr))
		return vapic_send(vapic, vapic_get(vapic, APIC_ICR2) >> 24, (u8)icr);
	return write_exit(APIC_ICR);
}

struct vapic_result vapic_emulate_write(struct vapic *vapic)
{
	u32 offset = vapic->write_offset;

	if (!vapic->written)
		return vapic_done();
	vapic->written = false;
	switch (offset) {
	case APIC_TPR:
		vapic_set(vapic, APIC_TPR, vapic_get(vapic, APIC_TPR) & 0xff);
		return vapic_tpr(vapic);
	case APIC_EOI:
		if (!vapic->vid)
			return write_exit(offset);
		vapic_set(vapic, APIC_EOI, 0);
		return vapic_end(vapic);
	case APIC_ICR:
		return write_icr(vapic);
	case APIC_ICR2 ... APIC_ICR2 + DWORD - 1:
		vapic_set(vapic, APIC_ICR2, vapic_get(vapic, APIC_ICR2) & 0xff000000);
		return vapic_done();
	default:
		return write_exit(offset);
	}
}

/* --- MSRs --- */

static struct vapic_result protect(void)
{
	return (struct vapic_result){.action = VAPIC_GP};
}

static struct vapic_result ordinary(void)
{
	return (struct vapic_result){.action = VAPIC_ORDINARY};
}

static u32 offset_of(u32 msr)
{
	return (msr & 0xff) * VAPIC_STRIDE;
}

static bool is_apic_msr(const struct vapic *vapic, u32 msr)
{
	return vapic->x2apic && msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST;
}

static void store(struct vapic *vapic, u32 msr, u64 value)
{
	vapic_set(vapic, offset_of(msr), (u32)value);
	vapic_set(vapic, offset_of(msr) + DWORD, (u32)(value >> 32));
}

/* The page is read as it is: there are no registers that are missing or may not be read. */
struct vapic_result vapic_msr_read(const struct vapic *vapic, u32 msr, u64 *value)
{
	if (!is_apic_msr(vapic, msr) || (!vapic->apic_registers && msr != MSR(APIC_TPR)))
		return ordinary();
	*value = vapic_get(vapic, offset_of(msr)) | (u64)vapic_get(vapic, offset_of(msr) + DWORD)
	                                                    << 32;
	return vapic_done();
}

static struct vapic_result write_msr_self(struct vapic *vapic, u64 value)
{
	bool legal = value & VAPIC_CLASS;

	if (value > 0xff)
		return protect();
	if (!legal || !vapic_is(vapic, VAPIC_SELF_NOT_STORED))
		store(vapic, MSR(APIC_SELF), value);
	if (!legal)
		return write_exit(APIC_SELF);
	vapic_self_ipi(vapic, (u8)value);
	return vapic_done();
}

static __noinline struct vapic_result write_msr_icr(struct vapic *vapic, u64 value)
{
	u32 icr = (u32)value;

	if (icr & (0xfff00000u | BIT(17) | BIT(16) | BIT(13)))
		return protect();
	store(vapic, MSR(APIC_ICR), value);
	if (vapic_is_ipi(icr))
		return vapic_send(vapic, (u32)(value >> 32), (u8)icr);
	if (vapic->vid && vapic_is(vapic, VAPIC_X2_ICR_SELF) && is_self(icr)) {
		vapic_self_ipi(vapic, (u8)icr);
		return vapic_done();
	}
	return write_exit(APIC_ICR);
}

/* ICR first: with IPI virtualization it is the one that counts (bench/vapic.c). */
struct vapic_result vapic_msr_write(struct vapic *vapic, u32 msr, u64 value)
{
	if (!vapic->x2apic)
		return ordinary();
	if (msr == MSR(APIC_ICR))
		return vapic->ipiv ? write_msr_icr(vapic, value) : ordinary();
	if (msr == MSR(APIC_TPR)) {
		if (value > 0xff)
			return protect();
		store(vapic, msr, value);
		return vapic_tpr(vapic);
	}
	if (msr == MSR(APIC_EOI) && vapic->vid) {
		if (value)
			return protect();
		store(vapic, msr, 0);
		return vapic_end(vapic);
	}
	if (msr == MSR(APIC_SELF) && vapic->vid)
		return write_msr_self(vapic, value);
	return ordinary();
}
