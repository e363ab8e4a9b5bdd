/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * PCI configuration mechanism 1. PCI Local Bus Specification, "Software Generation of Configuration
 * Transactions": CONFIG_ADDRESS is one dword at CF8h that only dword accesses reach; CONFIG_DATA is
 * four byte lanes at CFCh onto the dword that it selects. A function that is absent reads ones.
 * CF9h, inside CONFIG_ADDRESS, is a byte register of the chipset: reset control.
 */
#include "platform/pci.h"

#include "core/vm.h"
#include "platform/exit.h"

#define ADDRESS_ENABLE BIT(31)
#define ADDRESS_MASK   0x80fffffcu
#define RESET_OFFSET   1 /* of CF9h in our range */
#define DATA_OFFSET    4

#define RESET_SYSTEM BIT(1) /* hard, not soft */
#define RESET_CPU    BIT(2) /* going from 0 to 1 resets */

#define CONFIG_VENDOR   0x00
#define CONFIG_DEVICE   0x02
#define CONFIG_COMMAND  0x04
#define CONFIG_REVISION 0x08
#define CONFIG_LINE     0x3c

#define HOST_BRIDGE_VENDOR 0x8086 /* Intel 82441FX: known everywhere, needs no driver */
#define HOST_BRIDGE_DEVICE 0x1237
#define HOST_BRIDGE_CLASS  0x060000
#define COMMAND_WRITABLE   0x07 /* I/O, memory, bus master */

static void pci_set16(u8 *at, u16 value)
{
	at[0] = (u8)value;
	at[1] = (u8)(value >> 8);
}

/* The function that CONFIG_ADDRESS selects, NULL: nobody. Lock held. */
static struct pci_function *pci_selected(struct pci *pci)
{
	u32 bus = pci->address >> 16 & 0xff;
	u8 devfn = (u8)(pci->address >> 8);

	if (!(pci->address & ADDRESS_ENABLE) || bus)
		return NULL;
	for (u32 i = 0; i < pci->count; i++)
		if (pci->function[i].devfn == devfn)
			return &pci->function[i];
	return NULL;
}

static u64 pci_read(void *device, __unused struct vcpu *vcpu, u64 offset, u32 size)
{
	struct pci *pci = device;
	u64 value = ~0ull;

	spin_lock(&pci->lock);
	if (offset >= DATA_OFFSET) {
		const struct pci_function *function = pci_selected(pci);
		u32 reg = (pci->address & 0xfc) + (u32)(offset - DATA_OFFSET);

		if (function) {
			value = 0;
			for (u32 i = 0; i < size; i++)
				value |= (u64)function->config[reg + i] << (8 * i);
		}
	} else if (offset == 0 && size == 4) {
		value = pci->address;
	} else if (offset == RESET_OFFSET && size == 1) {
		value = pci->reset;
	}
	spin_unlock(&pci->lock);
	return value;
}

static void pci_write_config(struct pci *pci, u32 reg, u32 size, u64 value)
{
	struct pci_function *function = pci_selected(pci);

	if (!function)
		return;
	for (u32 i = 0; i < size; i++) {
		u8 mask = function->writable[reg + i];
		u8 byte = (u8)(value >> (8 * i));

		function->config[reg + i] =
		        (u8)((function->config[reg + i] & ~mask) | (byte & mask));
	}
}

/* Returns true if the write resets the machine. */
static bool pci_write_reset(struct pci *pci, u8 value)
{
	bool reset = value & ~pci->reset & RESET_CPU;

	pci->reset = value & (RESET_SYSTEM | RESET_CPU);
	return reset;
}

static void pci_write(void *device, __unused struct vcpu *vcpu, u64 offset, u32 size, u64 value)
{
	struct pci *pci = device;
	bool reset = false;

	spin_lock(&pci->lock);
	if (offset >= DATA_OFFSET)
		pci_write_config(pci, (pci->address & 0xfc) + (u32)(offset - DATA_OFFSET), size,
		                 value);
	else if (offset == 0 && size == 4)
		pci->address = (u32)value & ADDRESS_MASK;
	else if (offset == RESET_OFFSET && size == 1)
		reset = pci_write_reset(pci, (u8)value);
	spin_unlock(&pci->lock);
	if (reset)
		guest_exit_reset(pci->vm);
}

static const struct bus_ops pci_ops = {pci_read, pci_write};

struct pci_function *pci_add(struct pci *pci, u8 devfn, u16 vendor, u16 device, u32 class_code)
{
	struct pci_function *function;

	if (pci->count == PCI_MAX_FUNCTIONS)
		return NULL;
	function = &pci->function[pci->count++];
	function->devfn = devfn;
	pci_set16(function->config + CONFIG_VENDOR, vendor);
	pci_set16(function->config + CONFIG_DEVICE, device);
	function->config[CONFIG_REVISION + 1] = (u8)class_code;
	function->config[CONFIG_REVISION + 2] = (u8)(class_code >> 8);
	function->config[CONFIG_REVISION + 3] = (u8)(class_code >> 16);
	function->writable[CONFIG_COMMAND] = COMMAND_WRITABLE;
	function->writable[CONFIG_LINE] = 0xff;
	return function;
}

void pci_init(struct pci *pci, struct vm *vm)
{
	struct pci_function *bridge;

	pci->vm = vm;
	bridge = pci_add(pci, PCI_DEVFN(0, 0), HOST_BRIDGE_VENDOR, HOST_BRIDGE_DEVICE,
	                 HOST_BRIDGE_CLASS);
	bridge->config[CONFIG_COMMAND] =
	        0x06; /* memory and bus mastering, not to be switched off */
	bridge->writable[CONFIG_COMMAND] = 0;
	bus_register(&vm->io, PCI_PORT, 8, &pci_ops, pci);
}
