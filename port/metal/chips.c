/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The machine's own 8259s and I/O APICs, masked for good: Postern takes interrupts from local APICs
 * only. 8259A data sheet, "Initialization Command Words"; 82093AA data sheet, "Redirection table"; 8254
 * data sheet, "Mode 2: Rate Generator".
 *
 * With one exception: QEMU's TCG now and then loses the interrupt of a local APIC's timer, which then
 * waits in IRR until some other one arrives (docs/emulators.md). A processor whose guest does not exit
 * by itself would stand still for good, since everything it does next hangs on that interrupt. So there
 * the 8254 interrupts all processors every 55 ms.
 */
#include "metal.h"

#define PIC_COMMAND(base) (base)
#define PIC_DATA(base)    ((u16)((base) + 1))
#define PIC_FIRST         0x20
#define PIC_SECOND        0xa0

#define CHIP_IOAPIC_SELECT     0x00
#define CHIP_IOAPIC_WINDOW     0x10
#define CHIP_IOAPIC_VERSION    1
#define CHIP_IOAPIC_ENTRY(pin) (0x10 + 2 * (pin))
#define CHIP_IOAPIC_MASKED     BIT(16)
#define CHIP_IOAPIC_TO_ALL     (0xffu << 24) /* the upper half: physical, everybody */
#define CHIP_IOAPIC_8254       2             /* the input, on QEMU's machines */

#define PIT_CHANNEL0  0x40
#define PIT_PERIODIC0 0x34 /* channel 0, both bytes, mode 2 */

/* Vectors are moved off the exceptions first: a spurious interrupt ignores the mask. */
static void pic_mask(u16 base, u8 vectors, u8 cascade)
{
	out8(PIC_COMMAND(base), 0x11);
	out8(PIC_DATA(base), vectors);
	out8(PIC_DATA(base), cascade);
	out8(PIC_DATA(base), 0x01);
	out8(PIC_DATA(base), 0xff);
}

static void ioapic_mask(u64 address)
{
	volatile u32 *regs = hpa_to_ptr(HPA(address));
	u32 pins;

	paging_set_uncached(address);
	regs[CHIP_IOAPIC_SELECT / 4] = CHIP_IOAPIC_VERSION;
	pins = (regs[CHIP_IOAPIC_WINDOW / 4] >> 16 & 0xff) + 1;
	for (u32 pin = 0; pin < pins; pin++) {
		regs[CHIP_IOAPIC_SELECT / 4] = CHIP_IOAPIC_ENTRY(pin);
		regs[CHIP_IOAPIC_WINDOW / 4] = CHIP_IOAPIC_MASKED;
	}
}

/*
 * Before anything touches the local APIC: an 8259 that drives its output while LINT0 is masked
 * leaves QEMU's processor with an interrupt that has no vector.
 */
void chips_mask_pics(void)
{
	pic_mask(PIC_FIRST, 0x20, BIT(2));
	pic_mask(PIC_SECOND, 0x28, 2);
}

void chips_mask_ioapics(void)
{
	for (u32 i = 0; i < acpi_info.ioapic_count; i++)
		ioapic_mask(acpi_info.ioapic[i]);
}

static bool is_tcg(void)
{
	struct cpuid_regs r;

	return clock_hypervisor(&r) && !memcmp(&r.ebx, "TCGT", 4) && !memcmp(&r.ecx, "CGTC", 4) &&
	       !memcmp(&r.edx, "GTCG", 4);
}

void chips_start_tick(void)
{
	volatile u32 *regs;

	if (!is_tcg() || !acpi_info.ioapic_count)
		return;
	out8(PIT_COMMAND, PIT_PERIODIC0);
	out8(PIT_CHANNEL0, 0); /* twice 0: 65536, the longest */
	out8(PIT_CHANNEL0, 0);
	regs = hpa_to_ptr(HPA(acpi_info.ioapic[0]));
	regs[CHIP_IOAPIC_SELECT / 4] = CHIP_IOAPIC_ENTRY(CHIP_IOAPIC_8254) + 1;
	regs[CHIP_IOAPIC_WINDOW / 4] = CHIP_IOAPIC_TO_ALL;
	regs[CHIP_IOAPIC_SELECT / 4] = CHIP_IOAPIC_ENTRY(CHIP_IOAPIC_8254);
	regs[CHIP_IOAPIC_WINDOW / 4] = CPU_VECTOR_KICK;
	port_log("clock: this emulator loses interrupts: one more every 55 ms");
}
