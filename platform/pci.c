/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * PCI configuration mechanism 1. PCI Local Bus Specification, "Software Generation of Configuration
 * Transactions": CONFIG_ADDRESS is one dword at CF8h that only dword accesses reach; CONFIG_DATA is
 * four byte lanes at CFCh onto the dword that it selects. A function that is absent reads ones.
 * CF9h, inside CONFIG_ADDRESS, is a byte register of the chipset: reset control.
 *
 *  - "Base Addresses": a base register keeps only bits at and above its size, which is how software
 *    finds the size. A function answers there while memory space is enabled in its command register.
 *    The bridge forwards the window alone: a range that is moved over RAM or over an interrupt
 *    controller answers nowhere. Where two ranges overlap the first function answers. An access that
 *    no range holds as a whole reads ones, writes nothing, and is counted as one to no memory.
 *  - "Interrupt Disable", "Interrupt Status": the pin is level, wired-or; status tells the device's
 *    wish, whatever becomes of it. With MSI enabled the pin is silent.
 *  - "MSI Capability Structure": a message is a memory write, so it needs bus mastering. Where it may
 *    not be sent now (that, or the mask bit) it is held, the pending bit shows it, and goes when it
 *    may. Disabling MSI forgets it. Only FEExxxxxh leads to processors; elsewhere it is lost.
 */
#include "platform/pci.h"

#include "core/vm.h"
#include "irq/route.h"
#include "platform/exit.h"
#include "platform/layout.h"
#include "postern/port.h"

#define ADDRESS_ENABLE BIT(31)
#define ADDRESS_MASK   0x80fffffcu
#define RESET_OFFSET   1 /* of CF9h in our range */
#define DATA_OFFSET    4

#define RESET_SYSTEM BIT(1) /* hard, not soft */
#define RESET_CPU    BIT(2) /* going from 0 to 1 resets */

#define CONFIG_VENDOR       0x00
#define CONFIG_DEVICE       0x02
#define CONFIG_COMMAND      0x04
#define CONFIG_STATUS       0x06
#define CONFIG_REVISION     0x08
#define CONFIG_HEADER       0x0e
#define CONFIG_BAR          0x10
#define CONFIG_CAPABILITIES 0x34
#define CONFIG_LINE         0x3c
#define CONFIG_PIN          0x3d

#define COMMAND_MEMORY       BIT(1)
#define COMMAND_MASTER       BIT(2)
#define COMMAND_INTX_DISABLE BIT(10)
#define COMMAND_WRITABLE     0x07 /* I/O, memory, bus master */
#define STATUS_INTERRUPT     BIT(3)
#define STATUS_CAPABILITIES  BIT(4)
#define HEADER_MULTIFUNCTION BIT(7)
#define PIN_A                1

/* Offsets in the MSI capability with a 64-bit address. */
#define MSI_ID      0x05
#define MSI_CONTROL 0x02
#define MSI_ADDRESS 0x04
#define MSI_DATA    0x0c
#define MSI_MASK    0x10
#define MSI_PENDING 0x14

#define MSI_ENABLE   BIT(0)
#define MSI_64BIT    BIT(7)
#define MSI_MASKABLE BIT(8)

#define HOST_BRIDGE_VENDOR 0x8086 /* Intel 82441FX: known everywhere, needs no driver */
#define HOST_BRIDGE_DEVICE 0x1237
#define HOST_BRIDGE_CLASS  0x060000

static void pci_set16(u8 *at, u16 value)
{
	at[0] = (u8)value;
	at[1] = (u8)(value >> 8);
}

static void pci_set32(u8 *at, u32 value)
{
	pci_set16(at, (u16)value);
	pci_set16(at + 2, (u16)(value >> 16));
}

static u16 pci_get16(const u8 *at)
{
	return (u16)(at[0] | at[1] << 8);
}

static u32 pci_get32(const u8 *at)
{
	return pci_get16(at) | (u32)pci_get16(at + 2) << 16;
}

/* --- interrupts; lock held --- */

static bool pci_is_master_locked(const struct pci_function *function)
{
	return pci_get16(function->config + CONFIG_COMMAND) & COMMAND_MASTER;
}

static bool pci_msi_enabled_locked(const struct pci_function *function)
{
	return function->msi && (function->config[function->msi + MSI_CONTROL] & MSI_ENABLE);
}

static bool pci_may_send_locked(const struct pci_function *function)
{
	bool masked = function->msi_maskable && (function->config[function->msi + MSI_MASK] & 1);

	return pci_is_master_locked(function) && !masked;
}

static void pci_hold_locked(struct pci_function *function, bool held)
{
	function->msi_held = held;
	if (function->msi_maskable)
		function->config[function->msi + MSI_PENDING] = held;
}

static void pci_deliver_locked(struct pci_function *function)
{
	const u8 *msi = function->config + function->msi;

	function->messages++;
	if (function->is_assigned) {
		port_device_message(function->assigned.source, function->assigned.host_address,
		                    function->assigned.host_data);
		return;
	}
	msi_deliver(function->pci->vm,
	            pci_get32(msi + MSI_ADDRESS) | (u64)pci_get32(msi + MSI_ADDRESS + 4) << 32,
	            pci_get16(msi + MSI_DATA));
}

/* Another function keeps the line of `function` asserted. */
static bool pci_line_is_shared_locked(const struct pci_function *function)
{
	const struct pci *pci = function->pci;

	for (u32 i = 0; i < pci->count; i++) {
		const struct pci_function *other = &pci->function[i];

		if (other != function && other->asserted && other->gsi == function->gsi)
			return true;
	}
	return false;
}

static void pci_update_pin_locked(struct pci_function *function)
{
	u16 command = pci_get16(function->config + CONFIG_COMMAND);
	bool asserted = function->intx && !(command & COMMAND_INTX_DISABLE) &&
	                !pci_msi_enabled_locked(function);

	if (asserted == function->asserted)
		return;
	function->asserted = asserted;
	if (!pci_line_is_shared_locked(function))
		irq_set_line(function->pci->vm, function->gsi, asserted);
}

/* What the device itself is programmed with stays the host's. */
static void pci_program_locked(struct pci_function *function)
{
	const u8 *msi = function->config + function->msi;

	if (function->is_assigned)
		assigned_program(&function->assigned, pci_msi_enabled_locked(function),
		                 pci_get32(msi + MSI_ADDRESS) |
		                         (u64)pci_get32(msi + MSI_ADDRESS + 4) << 32,
		                 pci_get16(msi + MSI_DATA));
}

/* The guest has written to the function's registers: what waited may go now. */
static void pci_config_changed_locked(struct pci_function *function)
{
	pci_update_pin_locked(function);
	pci_program_locked(function);
	if (!function->msi_held)
		return;
	if (!pci_msi_enabled_locked(function)) {
		pci_hold_locked(function, false);
	} else if (pci_may_send_locked(function)) {
		pci_hold_locked(function, false);
		pci_deliver_locked(function);
	}
}

/* --- configuration mechanism 1 --- */

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

/* Returns the function that was written to, NULL: none. */
static struct pci_function *pci_write_config(struct pci *pci, u32 reg, u32 size, u64 value)
{
	struct pci_function *function = pci_selected(pci);

	if (!function)
		return NULL;
	for (u32 i = 0; i < size; i++) {
		u8 mask = function->writable[reg + i];
		u8 byte = (u8)(value >> (8 * i));

		function->config[reg + i] =
		        (u8)((function->config[reg + i] & ~mask) | (byte & mask));
	}
	pci_config_changed_locked(function);
	return function;
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
	struct pci_function *written = NULL;
	struct pci *pci = device;
	bool reset = false;

	spin_lock(&pci->lock);
	if (offset >= DATA_OFFSET)
		written = pci_write_config(pci, (pci->address & 0xfc) + (u32)(offset - DATA_OFFSET),
		                           size, value);
	else if (offset == 0 && size == 4)
		pci->address = (u32)value & ADDRESS_MASK;
	else if (offset == RESET_OFFSET && size == 1)
		reset = pci_write_reset(pci, (u8)value);
	spin_unlock(&pci->lock);
	if (written && written->changed)
		written->changed(written->device);
	if (reset)
		guest_exit_reset(pci->vm);
}

static const struct bus_ops pci_ops = {pci_read, pci_write};

/* --- the memory window --- */

/* Offset of the access in the range, ~0: the range does not hold it. Lock held. */
static u64 pci_offset_in(const struct pci_function *function, u32 index, u64 address, u32 size)
{
	const struct pci_bar *bar = &function->bar[index];
	u64 offset = address - pci_get32(function->config + CONFIG_BAR + 4 * index);

	return offset < bar->size && size <= bar->size - offset ? offset : ~0ull;
}

/* The range that answers, and the offset in it. {0}: none. */
static struct pci_bar pci_find(struct pci *pci, u64 address, u32 size, u64 *offset)
{
	struct pci_bar found = {0};

	spin_lock(&pci->lock);
	for (u32 i = 0; i < pci->count * PCI_BARS && !found.ops; i++) {
		const struct pci_function *function = &pci->function[i / PCI_BARS];

		if (!(function->config[CONFIG_COMMAND] & COMMAND_MEMORY))
			continue;
		*offset = pci_offset_in(function, i % PCI_BARS, address, size);
		if (*offset != ~0ull)
			found = function->bar[i % PCI_BARS];
	}
	spin_unlock(&pci->lock);
	return found;
}

static u64 pci_read_memory(void *device, struct vcpu *vcpu, u64 offset, u32 size)
{
	struct pci_bar bar = pci_find(device, LAYOUT_PCI_WINDOW + offset, size, &offset);

	if (bar.ops)
		return bar.ops->read(bar.device, vcpu, offset, size);
	vcpu_count(vcpu, COUNTER_MEMORY_UNKNOWN);
	return ~0ull;
}

static void pci_write_memory(void *device, struct vcpu *vcpu, u64 offset, u32 size, u64 value)
{
	struct pci_bar bar = pci_find(device, LAYOUT_PCI_WINDOW + offset, size, &offset);

	if (bar.ops)
		bar.ops->write(bar.device, vcpu, offset, size, value);
	else
		vcpu_count(vcpu, COUNTER_MEMORY_UNKNOWN);
}

static const struct bus_ops pci_window_ops = {pci_read_memory, pci_write_memory};

/* --- what devices do --- */

void pci_set_pin(struct pci_function *function, bool level)
{
	u8 *status = function->config + CONFIG_STATUS;

	spin_lock(&function->pci->lock);
	function->intx = level;
	*status = (u8)(level ? *status | STATUS_INTERRUPT : *status & ~STATUS_INTERRUPT);
	pci_update_pin_locked(function);
	spin_unlock(&function->pci->lock);
}

enum pci_msi pci_send_message(struct pci_function *function)
{
	enum pci_msi result = PCI_MSI_OFF;

	spin_lock(&function->pci->lock);
	if (pci_msi_enabled_locked(function)) {
		if (pci_may_send_locked(function)) {
			pci_deliver_locked(function);
			result = PCI_MSI_SENT;
		} else {
			pci_hold_locked(function, true);
			result = PCI_MSI_HELD;
		}
	}
	spin_unlock(&function->pci->lock);
	return result;
}

/* Bus 0 is each VM's own; among the host's devices they need names of their own. */
static u16 pci_source_id(const struct pci_function *function)
{
	return (u16)((function->pci->vm->id + 1) << 8 | function->devfn);
}

bool pci_assign(struct pci_function *function)
{
	if (!function->msi ||
	    !assigned_add(&function->assigned, function->pci->vm, pci_source_id(function)))
		return false;
	spin_lock(&function->pci->lock);
	function->is_assigned = true;
	pci_program_locked(function);
	spin_unlock(&function->pci->lock);
	return true;
}

void pci_unassign(struct pci_function *function)
{
	bool was;

	spin_lock(&function->pci->lock);
	was = function->is_assigned;
	function->is_assigned = false;
	spin_unlock(&function->pci->lock);
	if (was)
		assigned_remove(&function->assigned);
}

u32 pci_messages_sent(struct pci_function *function)
{
	u32 messages;

	spin_lock(&function->pci->lock);
	messages = function->messages;
	spin_unlock(&function->pci->lock);
	return messages;
}

void pci_read_config(struct pci_function *function, u32 reg, u8 *to, u32 size)
{
	spin_lock(&function->pci->lock);
	for (u32 i = 0; i < size; i++)
		to[i] = function->config[reg + i];
	spin_unlock(&function->pci->lock);
}

enum pci_dma pci_dma_write32(struct pci_function *function, u64 gpa, u32 value)
{
	struct atomic32 *to = vm_memory(function->pci->vm, GPA(gpa & ~3ull), sizeof(*to));
	enum pci_dma result = PCI_DMA_NO_MEMORY;

	spin_lock(&function->pci->lock);
	if (!pci_is_master_locked(function)) {
		result = PCI_DMA_NOT_MASTER;
	} else if (to) {
		atomic32_set(to, value);
		result = PCI_DMA_DONE;
	}
	spin_unlock(&function->pci->lock);
	return result;
}

/* --- creation --- */

/* Function 0 says whether software has to look for others of its device. */
static void pci_mark_multifunction(struct pci *pci, u8 devfn)
{
	struct pci_function *first = NULL;
	bool others = false;

	for (u32 i = 0; i < pci->count; i++) {
		if (pci->function[i].devfn == PCI_DEVFN(devfn >> 3, 0))
			first = &pci->function[i];
		else if (pci->function[i].devfn >> 3 == devfn >> 3)
			others = true;
	}
	if (first && others)
		first->config[CONFIG_HEADER] |= HEADER_MULTIFUNCTION;
}

struct pci_function *pci_add(struct pci *pci, u8 devfn, u16 vendor, u16 device, u32 class_code)
{
	struct pci_function *function;

	if (pci->count == PCI_MAX_FUNCTIONS)
		return NULL;
	function = &pci->function[pci->count++];
	function->pci = pci;
	function->devfn = devfn;
	pci_set16(function->config + CONFIG_VENDOR, vendor);
	pci_set16(function->config + CONFIG_DEVICE, device);
	function->config[CONFIG_REVISION + 1] = (u8)class_code;
	function->config[CONFIG_REVISION + 2] = (u8)(class_code >> 8);
	function->config[CONFIG_REVISION + 3] = (u8)(class_code >> 16);
	function->writable[CONFIG_COMMAND] = COMMAND_WRITABLE;
	function->writable[CONFIG_LINE] = 0xff;
	pci_mark_multifunction(pci, devfn);
	return function;
}

void pci_add_memory(struct pci_function *function, u32 index, u32 size, u32 base,
                    const struct bus_ops *ops, void *device)
{
	struct pci *pci = function->pci;
	u32 at = CONFIG_BAR + 4 * index;

	ASSERT(index < PCI_BARS && size >= 16 && !(size & (size - 1)));
	ASSERT(base >= LAYOUT_PCI_WINDOW && base + size <= LAYOUT_PCI_WINDOW_END &&
	       base % size == 0);
	function->bar[index] = (struct pci_bar){size, ops, device};
	pci_set32(function->config + at, base);
	pci_set32(function->writable + at, ~(size - 1));
	function->config[CONFIG_COMMAND] |= COMMAND_MEMORY;
	if (!pci->window)
		bus_register(&pci->vm->memory, LAYOUT_PCI_WINDOW,
		             LAYOUT_PCI_WINDOW_END - LAYOUT_PCI_WINDOW, &pci_window_ops, pci);
	pci->window = true;
}

void pci_add_pin(struct pci_function *function, u8 gsi)
{
	function->gsi = gsi;
	function->config[CONFIG_LINE] = gsi;
	function->config[CONFIG_PIN] = PIN_A;
	function->writable[CONFIG_COMMAND + 1] |= COMMAND_INTX_DISABLE >> 8;
}

void pci_add_msi(struct pci_function *function, u8 offset, bool maskable)
{
	u8 *config = function->config + offset;
	u8 *writable = function->writable + offset;

	ASSERT(offset >= 0x40 && offset % 4 == 0 && offset <= PCI_CONFIG_SIZE - 0x18);
	config[0] = MSI_ID;
	config[1] = function->config[CONFIG_CAPABILITIES];
	pci_set16(config + MSI_CONTROL, MSI_64BIT | (maskable ? MSI_MASKABLE : 0));
	writable[MSI_CONTROL] = MSI_ENABLE;
	pci_set32(writable + MSI_ADDRESS, ~3u);
	pci_set32(writable + MSI_ADDRESS + 4, ~0u);
	pci_set16(writable + MSI_DATA, 0xffff);
	if (maskable)
		writable[MSI_MASK] = 1;
	function->config[CONFIG_CAPABILITIES] = offset;
	function->config[CONFIG_STATUS] |= STATUS_CAPABILITIES;
	function->msi = offset;
	function->msi_maskable = maskable;
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
