/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From the boot loader to postern_main(), and back to an exit status. The order is forced by what
 * each step needs: the serial ports nothing; a panic the IDT; the maps the loader's information;
 * page tables memory; the local APIC its page uncached; ACPI's tables the APIC's mode; timers the
 * TSC's rate; and the other processors all of that.
 */
#include "core/machine.h"
#include "core/main.h"
#include "metal.h"
#include "postern/report.h"

void metal_exit(u8 code)
{
	serial_drain(); /* the end of the machine would be that of its lines, too */
	/*
	 * Bochs's first: what QEMU takes for the exit device is a port there by which the firmware of the display
	 * reports that it has failed. A real machine may have anything at these ports.
	 */
	if (serial_has_debugcon())
		out8_string(METAL_SHUTDOWN_PORT, "Shutdown", 8);
	out8(METAL_EXIT_PORT, code);
	/* Still here: no such device. */
	panic_halt();
}

void metal_main(u32 magic, u64 info)
{
	u64 four_gib = 4ull << 30;
	enum main_result result;

	serial_init();
	chips_mask_pics();
	smp_init_boot();
	multiboot_parse(magic, info);
	serial_set_log(multiboot_has_option("log=console"));
	if (multiboot_has_option("console=screen"))
		serial_use_screen();
	if (multiboot_has_option("input=com3"))
		serial_take_input_apart();
	acpi_find_root();

	memory_add(0, four_gib);
	paging_init();
	memory_add(four_gib, paging_top());

	apic_init_boot();
	port_machine()->cpu[0].apic_id = insn_apic_id();
	acpi_init();
	chips_mask_ioapics();
	clock_init();
	apic_init_timer();
	port_irqs_unblock();
	smp_start();
	chips_start_tick();
	port_log("memory: %lu MiB in one piece", port_memory_available() >> 20);

	result = postern_main();
	metal_exit(result == MAIN_OK ? REPORT_EXIT_OK : REPORT_EXIT_REFUSED);
}
