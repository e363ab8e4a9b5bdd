/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The places where a guest sees that the processor, and not software, keeps its local APIC. Each is
 * looked for on purpose: a row that is no longer true fails, as one that is missing does in the other
 * scripts.
 */
#include "tests/model/witness.h"

#include "irq/ioapic.h"
#include "platform/testdev.h"

#define VECTOR       0x61
#define HOLE         0x3a0
#define ICR_RESERVED (0xfff00000u | BIT(13) | BIT(16) | BIT(17))
#define ICR2_VALUE   0x01abcdefu

static u32 errors(void)
{
	w_raw_write(APIC_ESR, 0);
	return (u32)w_raw_read(APIC_ESR);
}

static u64 hole_keeps(void)
{
	w_raw_write(HOLE, 0x12345678);
	return w_raw_read(HOLE);
}

static u64 hole_is_an_error(void)
{
	errors();
	w_raw_write(HOLE, 0);
	w_raw_read(HOLE);
	return errors();
}

static u64 icr_high_reserved(void)
{
	w_raw_write(APIC_ICR2, ICR2_VALUE);
	return w_raw_read(APIC_ICR2);
}

static u64 icr_low_reserved(void)
{
	w_raw_write(APIC_ICR, ICR_RESERVED | APIC_DEST_SELF | APIC_LEVEL_ASSERT | VECTOR);
	return w_raw_read(APIC_ICR) & ICR_RESERVED;
}

static u64 byte_write(void)
{
	u64 tpr;

	w_raw_write(APIC_TPR, 0);
	g_write(APIC_BASE_DEFAULT + APIC_TPR, 0x50, 1);
	tpr = w_raw_read(APIC_TPR);
	w_raw_write(APIC_TPR, 0);
	return tpr;
}

static u64 self_ipi_register(void)
{
	w_raw_write(APIC_SELF, VECTOR);
	return w_raw_read(APIC_SELF);
}

static u64 icr_delivery_status(void)
{
	return g_wrmsr_safe(MSR_X2APIC_FIRST + APIC_ICR / 16,
	                    APIC_ICR_BUSY | APIC_DEST_SELF | APIC_LEVEL_ASSERT | VECTOR);
}

#define LINE_GSI    20
#define LINE_VECTOR 0x71

static void end_line(u8 vector __unused, u32 error __unused)
{
	g_out((u16)(TESTDEV_LINES_PORT + LINE_GSI), 0, 1);
	w_raw_write(APIC_EOI, 0);
}

/* The vector comes as a level, is ended, and comes again from the vCPU itself. */
static u64 tmr_behind_self_ipi(void)
{
	u64 first;

	g_mmio_write(IOAPIC_BASE, 0x11 + 2 * LINE_GSI);
	g_mmio_write(IOAPIC_BASE + 0x10, w_raw_id() << 24);
	g_mmio_write(IOAPIC_BASE, 0x10 + 2 * LINE_GSI);
	g_mmio_write(IOAPIC_BASE + 0x10, IOAPIC_RTE_LEVEL | LINE_VECTOR);
	g_out((u16)(TESTDEV_LINES_PORT + LINE_GSI), 1, 1);
	w_window();
	first = w_raw_bit(APIC_TMR, LINE_VECTOR);
	if (w_in_x2apic())
		w_raw_write(APIC_SELF, LINE_VECTOR);
	else
		w_raw_icr(0, APIC_DEST_SELF | APIC_LEVEL_ASSERT | LINE_VECTOR);
	return first << 4 | w_raw_bit(APIC_TMR, LINE_VECTOR);
}

/*
 * APICv: a place that is not a register exits ("Virtualizing Memory-Mapped APIC Accesses"), an IPI to itself with
 * reserved bits is software's, and bytes 2:0 of ICR's high half are cleared ("APIC-Write Emulation"); in x2APIC mode
 * ICR is software's. Within 32 bits of TPR any size is virtualized; and of a self-IPI that the processor carries out
 * it does not tell TMR, which means nothing to it.
 */
const struct witness_known witness_known[] = {
        {"a place without a register",
         "Virtual APIC Register Accesses",
         false,
         hole_keeps,
         {0, 0x12345678, 0}},
        {"errors of a place without a register",
         "Virtual APIC Register Accesses",
         false,
         hole_is_an_error,
         {APIC_ESR_ILLEGAL_REG, 0, APIC_ESR_ILLEGAL_REG}},
        {"SELF IPI in xAPIC mode",
         "Virtual APIC Register Accesses",
         false,
         self_ipi_register,
         {0, VECTOR, 0}},
        {"reserved bits of ICR, high",
         "Virtual APIC Register Accesses",
         false,
         icr_high_reserved,
         {ICR2_VALUE & 0xff000000, ICR2_VALUE, ICR2_VALUE & 0xff000000}},
        {"reserved bits of ICR, low",
         "Interprocessor Interrupts",
         false,
         icr_low_reserved,
         {0, ICR_RESERVED, 0}},
        {"a byte of TPR", "Virtual APIC Register Accesses", false, byte_write, {0, 0x50, 0x50}},
        {"TMR behind a self-IPI",
         "Self-IPI Virtualization",
         false,
         tmr_behind_self_ipi,
         {0x10, 0x10, 0x11}},
        {"TMR behind SELF IPI",
         "Self-IPI Virtualization",
         true,
         tmr_behind_self_ipi,
         {0x10, 0x10, 0x11}},
        {"delivery status of ICR as an MSR",
         "x2AVIC",
         true,
         icr_delivery_status,
         {0, VECTOR_GP, 0}},
};
const u32 witness_known_count = ARRAY_SIZE(witness_known);

static void handler(u8 vector, u32 error __unused)
{
	w_interrupt(vector);
	w_raw_write(APIC_EOI, 0);
}

void witness_known_prepare(void)
{
	g_set_handler(VECTOR, handler);
	g_set_handler(LINE_VECTOR, end_line);
}

void witness_known_script(void *arg __unused)
{
	if (witness_plan.mode == WITNESS_X2APIC)
		w_switch();
	w_raw_write(APIC_SVR, APIC_SVR_ENABLE | 0xff);
	for (u32 i = 0; i < witness_known_count; i++)
		if (witness_known[i].x2apic == w_in_x2apic())
			w_value(witness_known[i].name, witness_known[i].probe());
	g_exit(0);
}
