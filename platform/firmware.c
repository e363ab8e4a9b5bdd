/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Intel 82441FX datasheet, "PAM - Programmable Attribute Map Registers": 13 segments from C0000h to
 * FFFFFh, each with a read and a write attribute: accesses of that kind go to RAM, otherwise to PCI.
 * There the firmware's ROM answers, with its last 128 KiB below 1 MiB and as a whole below 4 GiB;
 * elsewhere nobody does. All of this is mapped, so that the guest runs in it; the same ranges on the
 * memory bus answer what exits all the same:
 *  - writes to the ROM, which are dropped;
 *  - a segment that is written to RAM and read from ROM (RAM is filled so): it is mapped as ROM;
 *  - accesses that another processor's change of the registers overtakes.
 *
 * Registers change under pci->lock, mappings after it:
 *
 *      CPU A: writes PAM                      CPU B: writes PAM
 *      a register (pci->lock)                 1 register (pci->lock)
 *      b lock, all registers, map, unlock     2 lock, all registers, map, unlock
 *
 * Whoever comes last has seen both registers, and what it finds mapped already it leaves alone. So when
 * the guest's write has returned, it is in effect on its own processor; on others by their next exit,
 * which the flush brings about. What a processor may still see until then is memory of the same VM.
 */
#include "platform/firmware.h"

#include "core/vm.h"
#include "platform/bytes.h"
#include "platform/pci.h"
#include "platform/platform.h"
#include "postern/port.h"

#define PAM0          0x59 /* bits 5:4: F0000h; the others have two segments each */
#define PAM_REGISTERS 7
#define PAM_BITS      0x33 /* the attributes of both */

#define SEGMENT_SIZE 0x4000u
#define SEGMENT_BIOS 12 /* the last, four times as large */

#define ROM_BELOW_1M (128u << 10)

bool firmware_accept(u64 size, struct refusal *refusal)
{
	if (!size)
		*refusal = REFUSED(FILE, "firmware: the file is empty");
	else if (size > VM_ROM_MAX)
		*refusal = REFUSED(FILE, "firmware: larger than 16 MiB");
	else if (size % PAGE_SIZE)
		*refusal = REFUSED(FILE, "firmware: not a multiple of 4 KiB");
	else
		return true;
	return false;
}

/* --- what is where; offsets from VM_SHADOW --- */

static u32 segment_start(u32 segment)
{
	return segment * SEGMENT_SIZE;
}

static u32 segment_end(u32 segment)
{
	return segment == SEGMENT_BIOS ? (u32)VM_SHADOW_SIZE : segment_start(segment + 1);
}

static u32 segment_at(u32 offset)
{
	return (u32)min_u64(offset / SEGMENT_SIZE, SEGMENT_BIOS);
}

static u32 attributes_of(const u8 pam[PAM_REGISTERS], u32 segment)
{
	u8 both = segment == SEGMENT_BIOS ? pam[0] : pam[1 + segment / 2];
	bool high = segment == SEGMENT_BIOS || segment % 2;

	return (high ? both >> 4 : both) & (FIRMWARE_READ | FIRMWARE_WRITE);
}

/* Where the ROM begins to show; it goes on to the end. */
static u32 rom_start(const struct vm *vm)
{
	return (u32)(VM_SHADOW_SIZE - min_u64(vm->rom.size, ROM_BELOW_1M));
}

static u8 *rom_at(const struct vm *vm, u32 offset)
{
	return vm->rom.host + vm->rom.size - (VM_SHADOW_SIZE - offset);
}

/* --- mappings; lock held --- */

/* The tables that this takes exist since the VM was made: below 2 MiB all pages are small. */
static void map(struct vm *vm, u32 from, u32 to, const u8 *host, u32 access)
{
	bool ok = from >= to ||
	          mmu_map(vm, GPA(VM_SHADOW + from), ptr_to_hpa(host), to - from, access);

	ASSERT(ok);
}

static void map_rom(struct vm *vm, u32 from, u32 to)
{
	u32 start = (u32)max_u64(from, rom_start(vm));

	if (from < start)
		mmu_zap(vm, GPA(VM_SHADOW + from), min_u64(start, to) - from);
	if (start < to)
		map(vm, start, to, rom_at(vm, start), MMU_READ | MMU_EXEC);
}

static void apply(struct firmware *firmware, u32 segment, u32 attributes)
{
	struct vm *vm = firmware->vm;
	u32 from = segment_start(segment), to = segment_end(segment);
	u32 write = attributes & FIRMWARE_WRITE ? MMU_WRITE : 0;

	/* Stored first: an access that the new mapping makes exit is answered by it. */
	atomic32_set(&firmware->attributes[segment], attributes);
	if (attributes & FIRMWARE_READ)
		map(vm, from, to, vm->shadow + from, MMU_READ | MMU_EXEC | write);
	else
		map_rom(vm, from, to);
}

/* The guest has written to the host bridge's registers. */
static void firmware_changed(void *device)
{
	struct firmware *firmware = device;
	u8 pam[PAM_REGISTERS];

	spin_lock(&firmware->lock);
	pci_read_config(firmware->bridge, PAM0, pam, sizeof(pam));
	for (u32 i = 0; i < FIRMWARE_SEGMENTS; i++) {
		u32 attributes = attributes_of(pam, i);

		if (attributes != atomic32_read_relaxed(&firmware->attributes[i]))
			apply(firmware, i, attributes);
	}
	spin_unlock(&firmware->lock);
}

/* --- accesses that exit --- */

static u8 shadow_read8(void *device, u32 offset)
{
	struct firmware *firmware = device;
	struct vm *vm = firmware->vm;

	if (atomic32_read(&firmware->attributes[segment_at(offset)]) & FIRMWARE_READ)
		return vm->shadow[offset];
	return offset < rom_start(vm) ? 0xff : *rom_at(vm, offset);
}

static void shadow_write8(void *device, u32 offset, u8 value)
{
	struct firmware *firmware = device;

	if (atomic32_read(&firmware->attributes[segment_at(offset)]) & FIRMWARE_WRITE)
		firmware->vm->shadow[offset] = value;
}

static u64 shadow_read(void *device, __unused struct vcpu *vcpu, u64 offset, u32 size)
{
	return bytes_read(shadow_read8, device, offset, size);
}

static void shadow_write(void *device, __unused struct vcpu *vcpu, u64 offset, u32 size, u64 value)
{
	bytes_write(shadow_write8, device, offset, size, value);
}

static u8 rom_read8(void *device, u32 offset)
{
	struct firmware *firmware = device;

	return firmware->vm->rom.host[offset];
}

static u64 rom_read(void *device, __unused struct vcpu *vcpu, u64 offset, u32 size)
{
	return bytes_read(rom_read8, device, offset, size);
}

static void rom_write(__unused void *device, __unused struct vcpu *vcpu, __unused u64 offset,
                      __unused u32 size, __unused u64 value)
{
}

static const struct bus_ops shadow_ops = {shadow_read, shadow_write};
static const struct bus_ops rom_ops = {rom_read, rom_write};

/* --- creation --- */

void firmware_init(struct firmware *firmware, struct vm *vm, struct pci *pci)
{
	const u8 writable[PAM_REGISTERS] = {PAM_BITS & 0xf0, PAM_BITS, PAM_BITS, PAM_BITS,
	                                    PAM_BITS,        PAM_BITS, PAM_BITS};

	ASSERT(vm->rom.size && vm->shadow);
	firmware->vm = vm;
	firmware->bridge = &pci->function[0];
	for (u32 i = 0; i < PAM_REGISTERS; i++)
		firmware->bridge->writable[PAM0 + i] = writable[i];
	firmware->bridge->changed = firmware_changed;
	firmware->bridge->device = firmware;
	for (u32 i = 0; i < FIRMWARE_SEGMENTS; i++)
		apply(firmware, i, 0);
	bus_register(&vm->memory, VM_SHADOW, VM_SHADOW_SIZE, &shadow_ops, firmware);
	bus_register(&vm->memory, vm->rom.gpa.v, vm->rom.size, &rom_ops, firmware);
}
