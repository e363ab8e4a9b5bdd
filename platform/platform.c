/* SPDX-License-Identifier: BSD-2-Clause */
/* The machine around the processors, put together. */
#include "platform/platform.h"

#include "core/vm.h"
#include "platform/acpi.h"
#include "platform/devices.h"
#include "platform/exit.h"
#include "platform/layout.h"
#include "platform/piix.h"
#include "postern/port.h"

/* BIOS data area, offsets from LAYOUT_BIOS_DATA. Kernels reserve memory by these two words. */
#define BIOS_EBDA_SEGMENT 0x0e
#define BIOS_MEMORY_KIB   0x13

static void platform_write_bios_data(struct vm *vm)
{
	const u16 ebda = LAYOUT_EBDA >> 4;
	const u16 kib = LAYOUT_EBDA >> 10;

	vm_write(vm, GPA(LAYOUT_BIOS_DATA + BIOS_EBDA_SEGMENT), &ebda, sizeof(ebda));
	vm_write(vm, GPA(LAYOUT_BIOS_DATA + BIOS_MEMORY_KIB), &kib, sizeof(kib));
}

/* Firmware writes its tables itself, and looks for more chips. Without it, what it would have written. */
static bool platform_add_firmware(struct platform *platform, struct vm *vm)
{
	if (!vm->rom.size) {
		platform_write_bios_data(vm);
		return acpi_build(vm);
	}
	piix_init(&platform->pci);
	firmware_init(&platform->firmware, vm, &platform->pci);
	debugcon_init(&platform->debugcon, vm);
	return true;
}

bool platform_create(struct vm *vm)
{
	struct platform *platform = port_alloc(sizeof(*platform), CACHE_LINE);

	if (!platform)
		return false;
	vm->platform = platform;
	if (vm->config.irqchip_split)
		irqchip_init(&platform->irqchip, vm);
	uart_init(&platform->uart, vm);
	rtc_init(&platform->rtc, vm);
	pm_init(&platform->pm, vm);
	pci_init(&platform->pci, vm);
	kbd_init(&platform->kbd, vm);
	legacy_init(&platform->legacy, vm);
	fw_cfg_init(&platform->fw_cfg, vm);
	guest_exit_init(vm);
	if (!platform_add_firmware(platform, vm) ||
	    (vm->config.testdev && !testdev_init(&platform->testdev, vm)) ||
	    !msidev_create(platform->msidev, vm, &platform->pci)) {
		platform_destroy(vm);
		return false;
	}
	return true;
}

void platform_destroy(struct vm *vm)
{
	struct platform *platform = vm->platform;

	if (!platform)
		return;
	if (vm->config.irqchip_split)
		extint_attach(vm, NULL, NULL);
	uart_flush(&platform->uart);
	rtc_destroy(&platform->rtc);
	pm_destroy(&platform->pm);
	testdev_destroy(&platform->testdev);
	msidev_destroy(platform->msidev);
	vm->platform = NULL;
	port_free(platform, sizeof(*platform));
}

void platform_poll(struct vm *vm)
{
	struct platform *platform = vm->platform;

	uart_poll(&platform->uart);
	rtc_poll(&platform->rtc);
	pm_poll(&platform->pm);
}
