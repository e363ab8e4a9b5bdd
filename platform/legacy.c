/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * No device of this machine does ISA DMA. The 8237 pair takes its programming and shows no channel
 * that has requests or has finished; the page registers (and with them port 80h, which software
 * writes for a short delay) keep what is written. They are here so that the count of accesses to
 * unknown ports shows only what is worth looking at.
 */
#include "platform/legacy.h"

#include "core/vm.h"
#include "platform/bytes.h"

#define DMA1_PORT 0x00
#define DMA1_SIZE 0x10
#define PAGE_PORT 0x80
#define DMA2_PORT 0xc0
#define DMA2_SIZE 0x20

static u64 legacy_read_dma(__unused void *device, __unused struct vcpu *vcpu, __unused u64 offset,
                           __unused u32 size)
{
	return 0;
}

static void legacy_write_dma(__unused void *device, __unused struct vcpu *vcpu, __unused u64 offset,
                             __unused u32 size, __unused u64 value)
{
}

static u8 legacy_read_page8(void *device, u32 offset)
{
	struct legacy *legacy = device;

	return (u8)atomic32_read_relaxed(&legacy->page[offset]);
}

static void legacy_write_page8(void *device, u32 offset, u8 value)
{
	struct legacy *legacy = device;

	atomic32_set_relaxed(&legacy->page[offset], value);
}

static u64 legacy_read_page(void *device, __unused struct vcpu *vcpu, u64 offset, u32 size)
{
	return bytes_read(legacy_read_page8, device, offset, size);
}

static void legacy_write_page(void *device, __unused struct vcpu *vcpu, u64 offset, u32 size,
                              u64 value)
{
	bytes_write(legacy_write_page8, device, offset, size, value);
}

static const struct bus_ops legacy_dma_ops = {legacy_read_dma, legacy_write_dma};
static const struct bus_ops legacy_page_ops = {legacy_read_page, legacy_write_page};

void legacy_init(struct legacy *legacy, struct vm *vm)
{
	bus_register(&vm->io, DMA1_PORT, DMA1_SIZE, &legacy_dma_ops, legacy);
	bus_register(&vm->io, PAGE_PORT, LEGACY_PAGES, &legacy_page_ops, legacy);
	bus_register(&vm->io, DMA2_PORT, DMA2_SIZE, &legacy_dma_ops, legacy);
}
