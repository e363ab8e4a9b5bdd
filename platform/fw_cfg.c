/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * QEMU documentation, "QEMU Firmware Configuration (fw_cfg) Device": a 16-bit selector at port 510h
 * and byte reads of the item's data at 511h; numbers are little-endian, the file directory and what
 * belongs to it big-endian; an item that does not exist, and what lies behind an item's end, reads
 * as zeros. Writing data has had no effect since QEMU 2.4. The ID says "traditional interface only":
 * there is no DMA.
 *
 * Files that say how firmware has to go on are there only for it: docs/boot.md lists them.
 */
#include "platform/fw_cfg.h"

#include "core/vm.h"
#include "platform/layout.h"
#include "platform/uart.h"
#include "postern/string.h"

#define DATA_OFFSET 1

#define KEY_SIGNATURE 0x00
#define KEY_ID        0x01
#define KEY_RAM_SIZE  0x03
#define KEY_NOGRAPHIC 0x04
#define KEY_NB_CPUS   0x05
#define KEY_MAX_CPUS  0x0f
#define KEY_FILE_DIR  0x19
#define KEY_FILE      0x20 /* the first file */

#define ID_TRADITIONAL 1

struct fw_cfg_file {
	u32 size;   /* big-endian */
	u16 select; /* big-endian */
	u16 reserved;
	char name[56];
};

static void put_number(struct fw_cfg *fw_cfg, u64 value, u32 size)
{
	memcpy(fw_cfg->item, &value, size);
	fw_cfg->size = size;
}

static void put_memory_map(struct fw_cfg *fw_cfg)
{
	struct layout_range map[LAYOUT_RANGES];

	_Static_assert(sizeof(map) <= FW_CFG_ITEM_SIZE, "the map fits");
	fw_cfg->size = (u32)(layout_memory_map(fw_cfg->vm, map) * sizeof(map[0]));
	memcpy(fw_cfg->item, map, fw_cfg->size);
}

/* Nothing to boot: stop there, instead of starting again after a while. */
static void put_no_retry(struct fw_cfg *fw_cfg)
{
	put_number(fw_cfg, 0xffffffff, 4);
}

/* Where the screen's text goes, and keys come from. */
static void put_console(struct fw_cfg *fw_cfg)
{
	put_number(fw_cfg, UART_PORT, 2);
}

/* Files, in the directory's order: sorted by name. The first one's selector is KEY_FILE. */
static const struct {
	const char *name;
	bool firmware; /* for firmware only */
	void (*put)(struct fw_cfg *fw_cfg);
} files[] = {
        {"etc/boot-fail-wait", true, put_no_retry},
        {"etc/e820", false, put_memory_map},
        {"etc/sercon-port", true, put_console},
};

static bool has_file(const struct fw_cfg *fw_cfg, u32 index)
{
	return index < ARRAY_SIZE(files) && (!files[index].firmware || fw_cfg->vm->rom.size);
}

static void put_directory(struct fw_cfg *fw_cfg)
{
	struct fw_cfg_file file[ARRAY_SIZE(files)] = {0};
	u32 count = 0;

	_Static_assert(4 + sizeof(file) <= FW_CFG_ITEM_SIZE, "the directory fits");
	for (u32 i = 0; i < ARRAY_SIZE(files); i++) {
		if (!has_file(fw_cfg, i))
			continue;
		files[i].put(fw_cfg);
		file[count].size = __builtin_bswap32(fw_cfg->size);
		file[count].select = __builtin_bswap16((u16)(KEY_FILE + i));
		memcpy(file[count].name, files[i].name, strlen(files[i].name));
		count++;
	}
	put_number(fw_cfg, __builtin_bswap32(count), 4);
	memcpy(fw_cfg->item + 4, file, count * sizeof(file[0]));
	fw_cfg->size += (u32)(count * sizeof(file[0]));
}

static void select_item(struct fw_cfg *fw_cfg, u16 selector)
{
	fw_cfg->selector = selector;
	fw_cfg->offset = 0;
	fw_cfg->size = 0;
	switch (selector) {
	case KEY_SIGNATURE:
		memcpy(fw_cfg->item, "QEMU", 4);
		fw_cfg->size = 4;
		break;
	case KEY_ID:
		put_number(fw_cfg, ID_TRADITIONAL, 4);
		break;
	case KEY_RAM_SIZE:
		put_number(fw_cfg, fw_cfg->vm->config.memory, 8);
		break;
	case KEY_NOGRAPHIC:
		put_number(fw_cfg, 1, 2);
		break;
	case KEY_NB_CPUS:
	case KEY_MAX_CPUS:
		put_number(fw_cfg, fw_cfg->vm->vcpu_count, 2);
		break;
	case KEY_FILE_DIR:
		put_directory(fw_cfg);
		break;
	default:
		if (selector >= KEY_FILE && has_file(fw_cfg, selector - KEY_FILE))
			files[selector - KEY_FILE].put(fw_cfg);
		break;
	}
}

static u64 fw_cfg_read(void *device, __unused struct vcpu *vcpu, u64 offset, u32 size)
{
	struct fw_cfg *fw_cfg = device;
	u64 value = 0;

	if (offset != DATA_OFFSET || size != 1)
		return 0; /* the selector is write-only */
	spin_lock(&fw_cfg->lock);
	if (fw_cfg->offset < fw_cfg->size)
		value = fw_cfg->item[fw_cfg->offset++];
	spin_unlock(&fw_cfg->lock);
	return value;
}

static void fw_cfg_write(void *device, __unused struct vcpu *vcpu, u64 offset, u32 size, u64 value)
{
	struct fw_cfg *fw_cfg = device;

	if (offset != 0 || size != 2)
		return;
	spin_lock(&fw_cfg->lock);
	select_item(fw_cfg, (u16)value);
	spin_unlock(&fw_cfg->lock);
}

static const struct bus_ops fw_cfg_ops = {fw_cfg_read, fw_cfg_write};

void fw_cfg_init(struct fw_cfg *fw_cfg, struct vm *vm)
{
	fw_cfg->vm = vm;
	select_item(fw_cfg, KEY_SIGNATURE);
	bus_register(&vm->io, FW_CFG_PORT, 2, &fw_cfg_ops, fw_cfg);
}
