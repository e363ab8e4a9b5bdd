/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the boot loader hands over, by either multiboot standard, copied into boot_info. After
 * multiboot_parse() the loader's own structures are not needed any more; the files (modules) stay
 * where they are, and memory.c keeps off them.
 *
 * Sources: "Multiboot Specification" 0.6.96, "Boot information format"; "Multiboot2 Specification"
 * 2.0, "Boot information format". A file's name is the last word of its module string: QEMU puts
 * the path before it ("file name"), GRUB leaves the path away.
 */
#include "metal.h"

#define MB1_BOOT_MAGIC 0x2badb002u
#define MB2_BOOT_MAGIC 0x36d76289u

#define MB1_INFO_CMDLINE BIT(2)
#define MB1_INFO_MODULES BIT(3)
#define MB1_INFO_MMAP    BIT(6)

struct mb1_info {
	u32 flags;
	u32 mem_lower, mem_upper;
	u32 boot_device;
	u32 cmdline;
	u32 mods_count, mods_addr;
	u32 syms[4];
	u32 mmap_length, mmap_addr;
} __packed;

struct mb1_module {
	u32 start, end, string, reserved;
} __packed;

struct mb1_range {
	u32 size; /* of the rest */
	u64 base, length;
	u32 type;
} __packed;

enum mb2_type {
	MB2_END = 0,
	MB2_CMDLINE = 1,
	MB2_MODULE = 3,
	MB2_MMAP = 6,
	MB2_FRAMEBUFFER = 8,
	MB2_ACPI_OLD = 14,
	MB2_ACPI_NEW = 15,
};

struct mb2_tag {
	u32 type, size;
	u8 data[];
} __packed;

struct mb2_range {
	u64 base, length;
	u32 type, reserved;
} __packed;

struct mb2_framebuffer {
	u64 address;
	u32 pitch, width, height;
	u8 depth, type;
} __packed;

#define RANGE_USABLE     1
#define FRAMEBUFFER_TEXT 2

struct boot_info boot_info;

static void add_range(u64 base, u64 length, u32 type)
{
	u64 end = base + length;

	if (!length || end < base)
		return;
	if (boot_info.range_count == BOOT_RANGES) {
		port_log("memory map has more than %u entries: the rest is not used", BOOT_RANGES);
		return;
	}
	boot_info.range[boot_info.range_count++] =
	        (struct boot_range){base, end, type == RANGE_USABLE};
}

static void set_cmdline(const char *text, u64 max)
{
	u64 n = strnlen(text, min_u64(max, BOOT_CMDLINE - 1));

	memcpy(boot_info.cmdline, text, n);
	boot_info.cmdline[n] = '\0';
}

static void add_file(u64 start, u64 end, const char *string, u64 max)
{
	struct boot_file *file = &boot_info.file[boot_info.file_count];
	u64 length = strnlen(string, max), first;

	if (boot_info.file_count == BOOT_FILES || end < start) {
		port_log("boot file %u is not used", boot_info.file_count);
		return;
	}
	while (length && string[length - 1] == ' ')
		length--;
	for (first = length; first && string[first - 1] != ' '; first--)
		;
	snprintf(file->name, sizeof(file->name), "%.*s", (int)(length - first), string + first);
	file->start = start;
	file->size = end - start;
	boot_info.file_count++;
}

static void parse_mb1(const struct mb1_info *info)
{
	const struct mb1_module *module = hpa_to_ptr(HPA(info->mods_addr));
	u64 at = info->mmap_addr, end = at + info->mmap_length;

	if (info->flags & MB1_INFO_CMDLINE)
		set_cmdline(hpa_to_ptr(HPA(info->cmdline)), BOOT_CMDLINE);
	if (info->flags & MB1_INFO_MODULES)
		for (u32 i = 0; i < info->mods_count; i++, module++)
			add_file(module->start, module->end, hpa_to_ptr(HPA(module->string)), 4096);
	if (!(info->flags & MB1_INFO_MMAP))
		return;
	while (at + sizeof(struct mb1_range) <= end) {
		const struct mb1_range *range = hpa_to_ptr(HPA(at));

		add_range(range->base, range->length, range->type);
		at += range->size + sizeof(range->size);
	}
}

static void set_rsdp(const u8 *data, u32 size)
{
	memcpy(boot_info.rsdp, data, min_u64(size, sizeof(boot_info.rsdp)));
	boot_info.has_rsdp = true;
}

/* Of a screen in graphics mode there is nothing that this project could write on. */
static void set_text(const u8 *data, u32 size)
{
	struct mb2_framebuffer found;

	if (size < sizeof(found))
		return;
	memcpy(&found, data, sizeof(found));
	if (found.type == FRAMEBUFFER_TEXT)
		boot_info.text =
		        (struct boot_text){found.address, found.width, found.height, found.pitch};
}

static void parse_mb2_tag(const struct mb2_tag *tag, u32 size)
{
	u32 entry_size, start, end;

	switch (tag->type) {
	case MB2_CMDLINE:
		set_cmdline((const char *)tag->data, size);
		break;
	case MB2_MODULE:
		if (size < 8)
			break;
		memcpy(&start, tag->data, 4);
		memcpy(&end, tag->data + 4, 4);
		add_file(start, end, (const char *)tag->data + 8, size - 8);
		break;
	case MB2_MMAP:
		if (size < 8)
			break;
		memcpy(&entry_size, tag->data, 4);
		if (entry_size < sizeof(struct mb2_range))
			break;
		for (u32 at = 8; at + entry_size <= size; at += entry_size) {
			const struct mb2_range *range = (const void *)(tag->data + at);

			add_range(range->base, range->length, range->type);
		}
		break;
	case MB2_FRAMEBUFFER:
		set_text(tag->data, size);
		break;
	case MB2_ACPI_OLD:
		if (!boot_info.has_rsdp) /* the new one knows more */
			set_rsdp(tag->data, size);
		break;
	case MB2_ACPI_NEW:
		set_rsdp(tag->data, size);
		break;
	}
}

static void parse_mb2(u64 info)
{
	const u32 *header = hpa_to_ptr(HPA(info));
	u64 at = info + 8, end = info + *header;

	while (at + sizeof(struct mb2_tag) <= end) {
		const struct mb2_tag *tag = hpa_to_ptr(HPA(at));

		if (tag->type == MB2_END || tag->size < sizeof(*tag) || at + tag->size > end)
			break;
		parse_mb2_tag(tag, tag->size - (u32)sizeof(*tag));
		at += ALIGN_UP((u64)tag->size, 8);
	}
}

void multiboot_parse(u32 magic, u64 info)
{
	if (magic == MB1_BOOT_MAGIC)
		parse_mb1(hpa_to_ptr(HPA(info)));
	else if (magic == MB2_BOOT_MAGIC)
		parse_mb2(info);
	else
		port_panic("not started by a multiboot loader (magic %08x)", magic);
	if (!boot_info.range_count)
		port_panic("the boot loader gave no memory map");
}

bool multiboot_has_option(const char *word)
{
	const char *at = boot_info.cmdline;
	u64 length = strlen(word);

	while (*at) {
		const char *end = strchr(at, ' ');
		u64 n = end ? (u64)(end - at) : strlen(at);

		if (n == length && !memcmp(at, word, n))
			return true;
		at += n + (end ? 1 : 0);
	}
	return false;
}

const void *port_file(const char *name, u64 *size)
{
	for (u32 i = 0; i < boot_info.file_count; i++) {
		if (strcmp(boot_info.file[i].name, name))
			continue;
		*size = boot_info.file[i].size;
		return hpa_to_ptr(HPA(boot_info.file[i].start));
	}
	return NULL;
}
