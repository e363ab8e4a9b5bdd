/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a guest does with its APICs, as the input says, and how the exits are handled that its accesses cause.
 */
#include "tests/fuzz/delivery_fuzz.h"
#include "x86/msr.h"

u8 vector_of(u8 choice)
{
	return (u8)(0x10 + (choice & 7) * 0x1f);
}

u8 any_vector(void)
{
	return vector_of(fuzz_u8(&in));
}

u32 any_offset(void)
{
	return (u32)(fuzz_u8(&in) & 0x3f) << 4;
}

u32 any_value(void)
{
	u8 choice = fuzz_u8(&in);

	if (choice < 0x80)
		return choice & 1 ? (u32)choice << 1 : 0x1ff;
	return choice < 0xc0 ? (u32)choice << 24 : fuzz_u32(&in);
}

void handle_exit(u32 i, u32 offset, u64 value)
{
	struct vcpu *vcpu = cpu(i);

	switch (vcpu->exit.kind) {
	case EXIT_IPI_INCOMPLETE:
		FUZZ_CHECK(offset == APIC_ICR || offset == APIC_SELF, "%s: exit for an IPI",
		           operation);
		lapic_ipi_incomplete(vcpu, vcpu->exit.apic.icr, vcpu->exit.apic.dest,
		                     vcpu->exit.apic.posted);
		break;
	case EXIT_EOI:
		FUZZ_CHECK(offset == APIC_EOI, "%s: exit for another write", operation);
		lapic_eoi_written(vcpu, vcpu->exit.apic.vector);
		break;
	case EXIT_APIC_WRITE:
		FUZZ_CHECK(vcpu->exit.apic.offset == offset, "%s: exit for another write",
		           operation);
		if (offset == APIC_EOI)
			lapic_eoi_written(vcpu, vcpu->exit.apic.vector);
		else
			lapic_written(vcpu, offset);
		break;
	case EXIT_APIC_ACCESS:
		FUZZ_CHECK(vcpu->exit.memory.write &&
		                   vcpu->exit.memory.gpa.v == APIC_BASE_DEFAULT + offset,
		           "%s: exit for another access", operation);
		lapic_mmio_write(vcpu, offset, 4, value);
		break;
	case EXIT_WRMSR:
		lapic_msr_write(vcpu, MSR_X2APIC_FIRST + offset / 16, value);
		break;
	default:
		FUZZ_FAIL("%s: exit %u", operation, vcpu->exit.kind);
	}
}

void program(bool enabled, bool x2apic)
{
	for (u32 i = 0; i < VCPUS && enabled; i++) {
		act(i);
		hw_write(i, APIC_SVR, APIC_SVR_ENABLE | 0xff);
		hw_write(i, APIC_LDR, BIT(i) << 24);
		leave(i);
		if (x2apic)
			lapic_msr_write(cpu(i), MSR_APIC_BASE, apic(i)->base.v | APIC_BASE_EXTD);
	}
}

static void write_dfr_of_all(u32 value)
{
	operation = "DFR of all";
	for (u32 i = 0; i < VCPUS; i++) {
		act(i);
		hw_write(i, APIC_DFR, value);
	}
}

/* Who is reached by what: the registers that the tables follow. */
void identity(u32 i)
{
	static const u32 dfr[] = {0xffffffff, 0x0fffffff, 0xffffffff, 0x5fffffff};
	u8 choice = fuzz_u8(&in), value = fuzz_u8(&in);

	switch (choice & 7) {
	case 0:
		operation = "write of ID";
		hw_write(i, APIC_ID, (value & 1 ? cpu(i)->apic_id : (u32)value & 3) << 24);
		break;
	case 1:
		operation = "write of DFR";
		hw_write(i, APIC_DFR, dfr[value & 3]);
		break;
	case 2:
		operation = "write of SVR";
		hw_write(i, APIC_SVR, value & 3 ? APIC_SVR_ENABLE | value : value);
		break;
	case 3:
		write_dfr_of_all(dfr[value & 1]);
		break;
	default:
		operation = "write of LDR";
		hw_write(i, APIC_LDR,
		         (choice & 8 ? (u32)value : BIT(value & 3) | (value & 0xf0)) << 24);
		break;
	}
}

void apic_base(u32 i)
{
	u8 choice = fuzz_u8(&in);
	u64 value = choice & 0x80 ? (u64)choice << 12 : APIC_BASE_DEFAULT;

	operation = "WRMSR APIC_BASE";
	leave(i);
	lapic_msr_write(cpu(i), MSR_APIC_BASE, value | (choice & 3) * APIC_BASE_EXTD);
	forget_requests(i);
}

void end_of_interrupt(u32 i)
{
	operation = "EOI";
	hw_write(i, APIC_EOI, 0);
}

/* Whatever comes meanwhile. */
void reset(u32 i)
{
	static const struct model_vectors none;

	operation = "reset";
	leave(i);
	lapic_reset(cpu(i), fuzz_u8(&in) & 1);
	forget_requests(i);
	FUZZ_CHECK(!memcmp(&seat[i].wanted, &none, sizeof(none)), "%s: requests are left",
	           operation);
}

/* --- IPIs --- */

static u32 any_dest(u32 i, bool logical)
{
	u8 choice = fuzz_u8(&in);

	if (choice >= 0xf0)
		return is_x2apic(i) ? ~0u : 0xff;
	if (choice >= 0xc0)
		return fuzz_u8(&in) | (choice & 1 ? fuzz_u16(&in) << 8 : 0);
	if (!logical)
		return cpu(choice % VCPUS)->apic_id;
	return is_x2apic(i) ? apic_reg(choice % VCPUS, APIC_LDR)
	                    : apic_reg(choice % VCPUS, APIC_LDR) >> 24;
}

static void write_icr(u32 i, u32 icr, u32 dest)
{
	if (is_x2apic(i)) {
		hw_write(i, APIC_ICR, (u64)dest << 32 | icr);
		return;
	}
	hw_write(i, APIC_ICR2, dest << 24);
	act(i);
	hw_write(i, APIC_ICR, icr);
}

void send(u32 i, u32 delivery_mode)
{
	u8 how = fuzz_u8(&in);
	struct irq_message message = {.sender = cpu(i),
	                              .vector = any_vector(),
	                              .shorthand = how & 0x10 ? (u32)(how & 3) << 18 : 0,
	                              .logical = how & 4,
	                              .x2apic_format = is_x2apic(i)};
	u32 dest = any_dest(i, message.logical);
	u64 reached = 0;

	operation = "IPI";
	if (!is_xapic(i) && !is_x2apic(i))
		return;
	message.dest = is_x2apic(i) ? dest : dest & 0xff;
	if (delivery_mode == APIC_DM_FIXED)
		reached = model_accepting(model_destinations(&message), message.vector);
	write_icr(i,
	          message.vector | message.shorthand | (message.logical ? APIC_DEST_LOGICAL : 0) |
	                  APIC_LEVEL_ASSERT | delivery_mode,
	          message.dest);
	want_all(reached, message.vector);
}
